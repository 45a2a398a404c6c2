//! In which state is an application? The states, their order, and who is told.
//!
//! ```text
//! Created -> Rebalancing <-> Running
//!                 |             |
//!                 +--> Closing <+
//!                         |
//!                 Closed or Failed
//! ```

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::error::Error;

/// The state of an application.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AppState {
    /// Nothing runs yet.
    Created,
    /// Tasks are being assigned or restored. Those that do not move go on.
    Rebalancing,
    /// Every task that this process owns is running.
    Running,
    /// Tasks commit and close.
    Closing,
    /// Everything is committed and closed.
    Closed,
    /// Stopped by an error.
    Failed,
}

impl AppState {
    /// Whether the application has ended.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Closed | Self::Failed)
    }

    const fn can_follow(self, before: Self) -> bool {
        use AppState::{Closed, Closing, Created, Failed, Rebalancing, Running};
        match before {
            Created => matches!(self, Rebalancing | Closing | Failed),
            Rebalancing => matches!(self, Running | Closing | Failed),
            Running => matches!(self, Rebalancing | Closing | Failed),
            Closing => matches!(self, Closed | Failed),
            Closed | Failed => false,
        }
    }
}

/// Called at each change of state with the state before and after.
pub type StateListener = Arc<dyn Fn(AppState, AppState) + Send + Sync>;

/// The state as everyone reads it.
pub(crate) struct Lifecycle {
    shared: Mutex<Shared>,
    changed: Condvar,
    listener: Option<StateListener>,
}

struct Shared {
    state: AppState,
    /// The latest state of which the listener has been told. Those who wait go by it: when they
    /// hear of the end, nothing of the application runs any more, the listener included.
    told: AppState,
    error: Option<Arc<Error>>,
    waiting: VecDeque<Waker>,
}

impl Lifecycle {
    pub(crate) fn new(listener: Option<StateListener>) -> Self {
        let (state, told) = (AppState::Created, AppState::Created);
        let shared = Shared { state, told, error: None, waiting: VecDeque::new() };
        Self { shared: Mutex::new(shared), changed: Condvar::new(), listener }
    }

    pub(crate) fn state(&self) -> AppState {
        self.lock().state
    }

    /// The error that stopped the application.
    pub(crate) fn error(&self) -> Option<Arc<Error>> {
        self.lock().error.clone()
    }

    /// Moves on to a state; a step that is not in the diagram is left out.
    pub(crate) fn enter(&self, state: AppState) {
        let mut shared = self.lock();
        let before = shared.state;
        if !state.can_follow(before) {
            return;
        }
        shared.state = state;
        drop(shared);
        tracing::info!(?before, ?state, "application state");
        if let Some(listener) = &self.listener
            && catch_unwind(AssertUnwindSafe(|| listener(before, state))).is_err()
        {
            tracing::error!(?state, "the state listener panicked");
        }
        let mut shared = self.lock();
        shared.told = state;
        let waiting = std::mem::take(&mut shared.waiting);
        drop(shared);
        self.changed.notify_all();
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Keeps the first error that stops the application.
    pub(crate) fn fail_with(&self, error: Error) {
        self.lock().error.get_or_insert_with(|| Arc::new(error));
    }

    /// Waits on this thread until a state is reached that `is_wanted`; false after the timeout.
    pub(crate) fn wait_until(
        &self,
        is_wanted: impl Fn(AppState) -> bool,
        at_most: Duration,
    ) -> bool {
        let shared = self.lock();
        let waited = self.changed.wait_timeout_while(shared, at_most, |s| !is_wanted(s.told));
        is_wanted(waited.expect("no panic while the state is held").0.told)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Shared> {
        self.shared.lock().expect("no panic while the state is held")
    }
}

/// Ends when the application has ended; yields the error that stopped it, if one did.
#[must_use = "a future does nothing unless it is awaited"]
pub struct Ended(pub(crate) Arc<Lifecycle>);

impl fmt::Debug for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ended")
    }
}

impl Future for Ended {
    type Output = Result<(), Arc<Error>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut shared = self.0.lock();
        if !shared.told.is_terminal() {
            if !shared.waiting.iter().any(|waiting| waiting.will_wake(cx.waker())) {
                shared.waiting.push_back(cx.waker().clone());
            }
            return Poll::Pending;
        }
        Poll::Ready(shared.error.clone().map_or(Ok(()), Err))
    }
}
