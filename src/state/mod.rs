//! What is remembered? Typed stores over bytes on disk or in memory.
//!
//! # Invariants
//!
//! - Uncommitted state never reaches the backend: a store buffers what changed since the last
//!   commit as live typed values; [`Store::flush`] serialises each dirty key once, into the
//!   changelog and into a [`WriteBatch`], which the task writes only after the commit is done.
//! - A backend's changelog offset `n` of a store means: it holds exactly the changelog's records
//!   before `n`. Data and offset are written in one atomic batch.
//! - No borrow of a store is held across a push: what downstream does may read the same store.

pub mod backend;

use crate::error::Result;
use crate::time::Timestamp;

pub use backend::{
    Backend, ByteRange, Direction, SharedBackend, StateError, StoreIndex, WriteBatch,
};

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
}
