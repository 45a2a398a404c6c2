//! Where do a task's stores keep their bytes? The port, and what crosses it.

#[cfg(feature = "rocksdb")]
mod composite;
mod memory;
#[cfg(feature = "rocksdb")]
mod rocksdb;
#[cfg(feature = "encryption")]
mod sealed;

use std::cell::RefCell;
use std::ops::{Bound, ControlFlow};
use std::rc::Rc;

#[cfg(feature = "rocksdb")]
pub(in crate::state) use composite::CompositeBackend;
pub use memory::MemoryBackend;
pub(in crate::state) use memory::is_void;
#[cfg(feature = "rocksdb")]
pub(in crate::state) use rocksdb::{RocksBackend, SharedCaches};
#[cfg(feature = "encryption")]
pub(in crate::state) use sealed::{RowCipher, SealedBackend};

/// Which store of a task: its place in the task's list of stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StoreIndex(pub u32);

/// A range of keys.
pub type ByteRange<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

/// In which order a scan goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the smallest key up.
    Ascending,
    /// From the largest key down.
    Descending,
}

/// The stores of one task, as bytes. Opened and restored on any thread, used on one.
pub trait Backend: Send {
    /// Appends the value of a key to `value`; false if there is none.
    fn get(&self, store: StoreIndex, key: &[u8], value: &mut Vec<u8>) -> Result<bool, StateError>;

    /// Shows the rows of a range in order, until the visitor breaks.
    fn scan(
        &self,
        store: StoreIndex,
        range: ByteRange<'_>,
        direction: Direction,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StateError>;

    /// Writes rows and offsets as one atom.
    fn write(&mut self, batch: &WriteBatch) -> Result<(), StateError>;

    /// The changelog offset up to which the store holds everything; `None` for an empty store.
    fn changelog_offset(&self, store: StoreIndex) -> Result<Option<i64>, StateError>;

    /// Takes a run of rows, ascending in key and each key once, and the offset behind them.
    fn load(
        &mut self,
        store: StoreIndex,
        rows: &mut dyn Iterator<Item = (&[u8], Option<&[u8]>)>,
        offset: i64,
    ) -> Result<(), StateError>;

    /// Drops all rows and the offset of a store.
    fn clear(&mut self, store: StoreIndex) -> Result<(), StateError>;

    /// Notes that what the files say cannot be true: they are not used again.
    fn distrust(&self);

    /// Whether damage was met. Then [`close`](Self::close) saves nothing, and whoever holds the
    /// files sets them aside.
    fn is_damaged(&self) -> bool;

    /// How much the store holds: estimated, and never by a scan.
    fn size(&self, store: StoreIndex) -> StoreSize;

    /// Makes what was written durable and closes the files; the offsets survive with the rows.
    fn close(self: Box<Self>) -> Result<(), StateError>;
}

/// How much a store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreSize {
    /// Rows.
    pub rows: u64,
    /// Bytes.
    pub bytes: u64,
}

/// A backend as the stores of a task share it.
pub type SharedBackend = Rc<RefCell<Box<dyn Backend>>>;

/// Why local state could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The files are damaged; they are set aside and the store is restored from its changelog.
    #[error("local state is damaged: {0}")]
    Corrupt(String),
    /// A changelog holds what no store has written; local state is as good as before.
    #[error("a changelog is damaged: {0}")]
    Changelog(String),
    /// The disk refuses: full, read-only, gone.
    #[error("local state cannot be accessed: {0}")]
    Io(String),
    /// Another process, or another application, holds the directory.
    #[error("{0}")]
    Occupied(String),
}

/// Rows and changelog offsets that reach a backend together.
#[derive(Clone, Debug, Default)]
pub struct WriteBatch {
    bytes: Vec<u8>,
    rows: Vec<BatchRow>,
    offsets: Vec<(StoreIndex, i64)>,
}

#[derive(Clone, Copy, Debug)]
struct BatchRow {
    store: StoreIndex,
    start: usize,
    key_length: usize,
    /// `None` deletes.
    value_length: Option<usize>,
}

impl WriteBatch {
    /// Sets, or with `None` deletes, a row.
    pub fn put(&mut self, store: StoreIndex, key: &[u8], value: Option<&[u8]>) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value.unwrap_or_default());
        let value_length = value.map(<[u8]>::len);
        self.rows.push(BatchRow { store, start, key_length: key.len(), value_length });
    }

    /// Sets the changelog offset of a store.
    pub fn set_offset(&mut self, store: StoreIndex, offset: i64) {
        self.offsets.push((store, offset));
    }

    /// Store, key and new value of each row, in the order in which they were put.
    pub fn rows(&self) -> impl Iterator<Item = (StoreIndex, &[u8], Option<&[u8]>)> {
        self.rows.iter().map(|row| {
            let key_end = row.start + row.key_length;
            let value = row.value_length.map(|length| &self.bytes[key_end..key_end + length]);
            (row.store, &self.bytes[row.start..key_end], value)
        })
    }

    /// The offsets that were set.
    pub fn offsets(&self) -> &[(StoreIndex, i64)] {
        &self.offsets
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.offsets.is_empty()
    }

    /// Forgets everything and keeps the buffers.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.rows.clear();
        self.offsets.clear();
    }

    /// Bytes of keys and values.
    pub fn size_bytes(&self) -> usize {
        self.bytes.len()
    }
}
