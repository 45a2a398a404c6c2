//! When does it run? Workers, the control plane over them, and the handle that the user holds.

pub(crate) mod command;
pub(crate) mod instance;
pub(crate) mod restorer;
mod spawn;
pub(crate) mod task_setup;
pub(crate) mod worker;

#[cfg(feature = "kafka")]
pub(crate) use spawn::spawn_named;
