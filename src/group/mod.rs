//! Who runs which task? What follows from what the group says, without a thread or a clock.
//!
//! Two questions, two modules, neither of which knows the other:
//!
//! - [`rebalance`]: which tasks does this *process* run, and when may it give one up?
//! - [`assignment`]: on which *worker* of the process does each of them run?

pub mod assignment;
pub mod rebalance;

pub use assignment::{TaskPlace, WorkerId, place};
pub use rebalance::{Rebalance, TaskCommand};
