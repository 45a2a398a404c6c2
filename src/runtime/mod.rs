//! When does it run? Workers, the control plane over them, and the handle that the user holds.

pub(crate) mod command;
pub(crate) mod instance;
pub(crate) mod restorer;
pub(crate) mod task_setup;
pub(crate) mod worker;
