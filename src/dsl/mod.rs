//! What do users write? The typed language of pipelines.
//!
//! A call writes two things in one function: a node in the plan, which is plain data, and a typed
//! factory on the output it reads from. Nothing runs here.

pub(crate) mod attach;
mod builder;
mod grouped;
mod options;
mod stream;
mod table;

pub use builder::{StreamsBuilder, Topology};
pub use grouped::KGroupedStream;
pub use options::{Grouped, Materialized};
pub use stream::KStream;
pub use table::KTable;
