//! The one place that starts threads.

use std::thread::{Builder, JoinHandle};

/// Starts a named thread.
///
/// # Panics
///
/// The operating system refuses a thread: nothing can run then.
pub(crate) fn spawn_named(name: String, body: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    Builder::new().name(name).spawn(body).expect("the operating system grants a thread")
}
