//! When does it run? Workers, the control plane over them, and the handle that the user holds.

mod answers;
pub(crate) mod app;
pub(crate) mod close_all;
pub(crate) mod command;
pub(crate) mod control;
pub(crate) mod failure;
mod fencing;
mod give_back;
pub(crate) mod instance;
pub(crate) mod lifecycle;
pub(crate) mod mailbox;
pub(crate) mod meters;
pub(crate) mod positions;
mod restore_range;
pub(crate) mod restorer;
mod standstill;
pub(crate) mod start;
pub(crate) mod task_setup;
pub(crate) mod threads;
pub(crate) mod worker;

pub use app::{App, AppBuilder};
pub use failure::FailureAction;
pub use lifecycle::{AppState, Ended, StateListener};

#[cfg(test)]
mod tests;
