//! Every store against a naive model, over seeded random operations.

mod directory;
#[cfg(feature = "rocksdb")]
mod disk;
mod key_value;
mod key_value_model;
mod restore;
#[cfg(feature = "encryption")]
mod sealed;
mod timed;
mod timed_model;

use std::cell::RefCell;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::state::backend::MemoryBackend;
use crate::state::{Backend, SharedBackend, Store, StoreHandle, StoreIndex, WriteBatch};
use crate::time::Timestamp;

/// The store under test is not the first of its task, so that an index is never zero by chance.
pub(super) const INDEX: StoreIndex = StoreIndex(1);

/// A record that a flush sent to the changelog.
pub(super) type Sent = (Timestamp, Vec<u8>, Option<Vec<u8>>);

pub(super) fn memory() -> SharedBackend {
    shared(Box::new(MemoryBackend::new()))
}

pub(super) fn shared(backend: Box<dyn Backend>) -> SharedBackend {
    Rc::new(RefCell::new(backend))
}

pub(super) fn handle(backend: &SharedBackend, cache_bytes: usize) -> StoreHandle {
    StoreHandle {
        index: INDEX,
        name: Arc::from("rows"),
        backend: Rc::clone(backend),
        changelog: true,
        cache_limit: crate::state::BytesLimit::Fixed(cache_bytes),
    }
}

/// Flushes a store; the batch is not written yet.
pub(super) fn flush(store: &mut dyn Store) -> (Vec<Sent>, WriteBatch) {
    let (mut sent, mut batch) = (Vec::new(), WriteBatch::default());
    let changelog = &mut |timestamp, key: &[u8], value: Option<&[u8]>| {
        sent.push((timestamp, key.to_vec(), value.map(<[u8]>::to_vec)));
    };
    store.flush(changelog, &mut batch).unwrap();
    (sent, batch)
}

/// A whole commit; returns what the changelog got.
pub(super) fn commit(store: &mut dyn Store, backend: &SharedBackend) -> Vec<Sent> {
    let (sent, batch) = flush(store);
    backend.borrow_mut().write(&batch).unwrap();
    store.settled();
    sent
}

/// A directory that goes with the test.
pub(super) struct ScratchDir(PathBuf);

impl ScratchDir {
    pub(super) fn new() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("millstream-test-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for ScratchDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// `SplitMix64`: a seeded sequence that is the same everywhere.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

pub(super) fn contains<K: Ord>((from, to): (Bound<&K>, Bound<&K>), key: &K) -> bool {
    let above = match from {
        Bound::Unbounded => true,
        Bound::Included(from) => key >= from,
        Bound::Excluded(from) => key > from,
    };
    above
        && match to {
            Bound::Unbounded => true,
            Bound::Included(to) => key <= to,
            Bound::Excluded(to) => key < to,
        }
}
