//! What is remembered? Typed stores over bytes on disk or in memory.
//!
//! A typed store (`key_value`, `window`, `session`) is a cache of live values over a [`Backend`]
//! that holds bytes. Reading and changing what is cached is one hash look-up; a miss
//! reads the backend; changes are serialised once, when the task commits.
//!
//! # Invariants
//!
//! - Uncommitted state never reaches the backend: a store buffers what changed since the last
//!   commit as live typed values; `Store::flush` serialises each dirty key once, into the
//!   changelog and into a [`WriteBatch`], which the task writes only after the commit is done.
//! - A backend's changelog offset `n` of a store means: it holds exactly the changelog's records
//!   before `n`. Data and offset are written in one atomic batch.
//! - No borrow of a store is held across a push: what downstream does may read the same store.

pub mod backend;
mod cache;
mod directory;
mod key_codec;
pub(crate) mod key_value;
mod memory_budget;
mod merge;
mod restore;
pub(crate) mod session;
#[cfg(test)]
mod tests;
mod timed;
pub(crate) mod window;

use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use crate::error::{BoxError, Error, ErrorKind, Result};
use crate::time::Timestamp;

pub use backend::{
    Backend, ByteRange, Direction, SharedBackend, StateError, StoreIndex, StoreSize, WriteBatch,
};
pub(crate) use cache::{CacheCounts, SlotId};
pub(crate) use directory::OpenStores;
pub use directory::StateDirectory;
pub(crate) use key_codec::{changelog_key, changelog_time};
pub(crate) use key_value::KeyValueStore;
pub use memory_budget::MemoryBudget;
pub(crate) use memory_budget::{BytesLimit, DividedBytes};
pub(crate) use restore::{Restore, StoreToRestore};
pub(crate) use session::SessionStore;
pub(crate) use window::{Duplicates, WindowStore};

/// Where a flush sends the new value of each dirty key; `None` is a tombstone.
pub(crate) type Changelog<'a> = dyn FnMut(Timestamp, &[u8], Option<&[u8]>) + 'a;

/// What a task asks of each of its stores around a commit, whatever its types.
pub(crate) trait Store {
    /// Serialises each dirty key once, to `changelog` and to `batch`. The keys stay readable and
    /// count as clean from here on; they must not be evicted before `settled`.
    fn flush(&mut self, changelog: &mut Changelog<'_>, batch: &mut WriteBatch) -> Result<()>;

    /// The batch of the last flush has reached the backend: clean entries may be evicted now.
    fn settled(&mut self);

    /// Bytes, roughly, of changes that are not flushed yet.
    fn dirty_bytes(&self) -> usize;

    /// What its cache holds and has answered.
    fn cache_counts(&self) -> CacheCounts;
}

/// What a typed store is opened with.
#[derive(Clone)]
pub(crate) struct StoreHandle {
    /// The store's place in the backend.
    pub(crate) index: StoreIndex,
    /// The user's name for it.
    pub(crate) name: Arc<str>,
    /// Where its bytes lie.
    pub(crate) backend: SharedBackend,
    /// Whether a flush reports changes to the changelog.
    pub(crate) changelog: bool,
    /// Bytes, roughly, that clean entries may take in memory.
    pub(crate) cache_limit: BytesLimit,
}

impl StoreHandle {
    /// An error of a codec: no restart and no restore helps, only another codec or another type.
    #[cold]
    fn codec_error(&self, what: &str, cause: BoxError) -> Error {
        let message = format!("store `{}`: {what}", self.name);
        Error::new(ErrorKind::Fatal, message).caused_by_record(cause)
    }

    #[cold]
    fn damaged(&self, what: &str) -> Error {
        self.backend.borrow().distrust();
        StateError::Corrupt(format!("store `{}`: {what}", self.name)).into()
    }
}

/// Whether the backend is known to hold no row of a store, so that a cache of it begins complete.
fn is_empty_store(handle: &StoreHandle) -> bool {
    let mut is_empty = true;
    let all = (Bound::Unbounded, Bound::Unbounded);
    let backend = handle.backend.borrow();
    let scanned = backend.scan(handle.index, all, Direction::Ascending, &mut |_, _| {
        is_empty = false;
        ControlFlow::Break(())
    });
    is_empty && scanned.is_ok()
}

/// A value with the time of the record that it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stamped<V> {
    pub(crate) value: V,
    pub(crate) timestamp: Timestamp,
}

impl StateError {
    /// What happens next: only damage is mended by beginning anew.
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            Self::Corrupt(_) => ErrorKind::Corrupted,
            Self::Changelog(_) | Self::Io(_) | Self::Occupied(_) => ErrorKind::Fatal,
        }
    }
}

impl From<StateError> for Error {
    #[cold]
    fn from(error: StateError) -> Self {
        let message = match &error {
            StateError::Corrupt(_) => "a store cannot be trusted",
            StateError::Changelog(_) => "a changelog cannot be restored",
            StateError::Io(_) => "a store cannot be reached",
            StateError::Occupied(_) => "the state directory is not free",
        };
        Self::new(error.kind(), message).caused_by(error)
    }
}
