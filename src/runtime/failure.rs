//! Who decides what becomes of an application whose worker has failed? Its user.
//!
//! # Invariants
//!
//! - Without a word of the user the application closes: a record that fails would fail again.
//! - Damaged local state is no question to the user: its files are set aside before the task is
//!   opened anew, so that it is not met again.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::error::{Error, ErrorKind};

/// What becomes of an application whose worker has failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum FailureAction {
    /// Commit and close what still runs, then end as failed.
    #[default]
    Close,
    /// Start the worker anew; its tasks go on from their last commit. A record that always fails
    /// will fail again.
    ReplaceWorker,
    /// As `Close`, and every other process of the application does so too, within seconds. Those
    /// end as failed. A process that is started afterwards runs.
    #[doc(alias = "SHUTDOWN_APPLICATION")]
    CloseAll,
}

/// Decides over a failed worker.
pub(crate) type FailureHandler = Arc<dyn Fn(&Error) -> FailureAction + Send + Sync>;

/// What the user's handler says, where it is asked. One that panics has no say.
pub(crate) fn decide(handler: &FailureHandler, error: &Error) -> FailureAction {
    if error.kind() == ErrorKind::Corrupted {
        return FailureAction::ReplaceWorker;
    }
    catch_unwind(AssertUnwindSafe(|| handler(error))).unwrap_or_else(|_| {
        tracing::error!("the failure handler panicked; the application closes");
        FailureAction::Close
    })
}

/// The error that a caught panic amounts to.
pub(crate) fn panicked(kind: ErrorKind, who: &str, panic: &(dyn Any + Send)) -> Error {
    Error::new(kind, format!("{who} panicked")).caused_by_record(said(panic))
}

/// What a panic said.
pub(crate) fn said(panic: &(dyn Any + Send)) -> String {
    let said = panic.downcast_ref::<&str>().map(|said| (*said).to_owned());
    let said = said.or_else(|| panic.downcast_ref::<String>().cloned());
    said.unwrap_or_else(|| "no message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handler_that_panics_closes_the_application() {
        let error = Error::new(ErrorKind::Data, "a record failed");
        let handler: FailureHandler = Arc::new(|_| panic!("the handler fails, too"));
        assert_eq!(decide(&handler, &error), FailureAction::Close);
        let handler: FailureHandler = Arc::new(|_| FailureAction::ReplaceWorker);
        assert_eq!(decide(&handler, &error), FailureAction::ReplaceWorker);
    }
}
