//! How does a client sleep until something may have happened, whichever thread made it happen?

use std::sync::{Condvar, Mutex};
use std::time::Duration;

/// A flag that one thread sleeps on and any thread raises.
///
/// Invariant: a raise that no wait has taken ends the next wait at once, so none is missed.
#[derive(Debug, Default)]
pub(super) struct Signal {
    is_raised: Mutex<bool>,
    raised: Condvar,
}

impl Signal {
    /// Ends the wait, or the next one.
    pub(super) fn raise(&self) {
        *self.is_raised.lock().expect("no panic while the flag is held") = true;
        self.raised.notify_one();
    }

    /// Sleeps until the flag is raised, or that long, and lowers it.
    pub(super) fn wait(&self, at_most: Duration) {
        let held = self.is_raised.lock().expect("no panic while the flag is held");
        let (mut held, _) = self
            .raised
            .wait_timeout_while(held, at_most, |is_raised| !*is_raised)
            .expect("no panic while the flag is held");
        *held = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_raise_before_the_wait_ends_it_at_once() {
        let signal = Signal::default();
        signal.raise();
        signal.wait(Duration::from_secs(3_600));
    }
}
