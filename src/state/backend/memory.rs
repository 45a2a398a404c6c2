//! Rows in memory: for stores that ask for it, and wherever there is no disk backend.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

use super::{Backend, ByteRange, Direction, StateError, StoreIndex, StoreSize, WriteBatch};

/// A backend whose rows die with it; they come back from the changelogs.
#[derive(Clone, Debug, Default)]
pub struct MemoryBackend {
    stores: Vec<MemoryStore>,
}

#[derive(Clone, Debug, Default)]
struct MemoryStore {
    rows: BTreeMap<Box<[u8]>, Box<[u8]>>,
    offset: Option<i64>,
    /// Of keys and values.
    bytes: usize,
}

impl MemoryBackend {
    /// A backend without rows.
    pub fn new() -> Self {
        Self::default()
    }

    /// The stores that it may hold rows of.
    pub(crate) fn stores(&self) -> impl Iterator<Item = StoreIndex> + use<> {
        (0..self.stores.len() as u32).map(StoreIndex)
    }

    /// Has of a store what another backend has.
    pub(crate) fn copy_store(&mut self, index: StoreIndex, from: &Self) {
        *self.store_mut(index) = from.store(index).cloned().unwrap_or_default();
    }

    fn store(&self, index: StoreIndex) -> Option<&MemoryStore> {
        self.stores.get(index.0 as usize)
    }

    fn store_mut(&mut self, index: StoreIndex) -> &mut MemoryStore {
        let index = index.0 as usize;
        if index >= self.stores.len() {
            self.stores.resize_with(index + 1, MemoryStore::default);
        }
        &mut self.stores[index]
    }
}

impl MemoryStore {
    fn put(&mut self, key: &[u8], value: Option<&[u8]>) {
        match (value, self.rows.get_mut(key)) {
            (Some(value), Some(row)) => {
                self.bytes = self.bytes + value.len() - row.len();
                if row.len() == value.len() {
                    row.copy_from_slice(value);
                } else {
                    *row = value.into();
                }
            }
            (Some(value), None) => {
                self.bytes += key.len() + value.len();
                self.rows.insert(key.into(), value.into());
            }
            (None, Some(row)) => {
                self.bytes -= key.len() + row.len();
                self.rows.remove(key);
            }
            (None, None) => {}
        }
    }
}

impl Backend for MemoryBackend {
    fn get(&self, store: StoreIndex, key: &[u8], value: &mut Vec<u8>) -> Result<bool, StateError> {
        let row = self.store(store).and_then(|store| store.rows.get(key));
        row.into_iter().for_each(|row| value.extend_from_slice(row));
        Ok(row.is_some())
    }

    fn scan(
        &self,
        store: StoreIndex,
        range: ByteRange<'_>,
        direction: Direction,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StateError> {
        let Some(store) = self.store(store) else { return Ok(()) };
        if is_void(range) {
            return Ok(());
        }
        let mut rows = store.rows.range::<[u8], _>(range);
        let _ = match direction {
            Direction::Ascending => rows.try_for_each(|(key, value)| visit(key, value)),
            Direction::Descending => rows.rev().try_for_each(|(key, value)| visit(key, value)),
        };
        Ok(())
    }

    fn write(&mut self, batch: &WriteBatch) -> Result<(), StateError> {
        batch.rows().for_each(|(store, key, value)| self.store_mut(store).put(key, value));
        for (store, offset) in batch.offsets() {
            self.store_mut(*store).offset = Some(*offset);
        }
        Ok(())
    }

    fn changelog_offset(&self, store: StoreIndex) -> Result<Option<i64>, StateError> {
        Ok(self.store(store).and_then(|store| store.offset))
    }

    fn load(
        &mut self,
        store: StoreIndex,
        rows: &mut dyn Iterator<Item = (&[u8], Option<&[u8]>)>,
        offset: i64,
    ) -> Result<(), StateError> {
        let store = self.store_mut(store);
        rows.for_each(|(key, value)| store.put(key, value));
        store.offset = Some(offset);
        Ok(())
    }

    fn clear(&mut self, store: StoreIndex) -> Result<(), StateError> {
        *self.store_mut(store) = MemoryStore::default();
        Ok(())
    }

    fn distrust(&self) {}

    fn is_damaged(&self) -> bool {
        false
    }

    fn size(&self, store: StoreIndex) -> StoreSize {
        let size = |store: &MemoryStore| StoreSize {
            rows: store.rows.len() as u64,
            bytes: store.bytes as u64,
        };
        self.store(store).map(size).unwrap_or_default()
    }

    fn close(self: Box<Self>) -> Result<(), StateError> {
        Ok(())
    }
}

/// Whether no key can lie in a range; `BTreeMap::range` panics on such ranges.
pub(in crate::state) fn is_void((from, to): ByteRange<'_>) -> bool {
    match (from, to) {
        (Bound::Included(from), Bound::Included(to)) => from > to,
        (
            Bound::Included(from) | Bound::Excluded(from),
            Bound::Included(to) | Bound::Excluded(to),
        ) => from >= to,
        _ => false,
    }
}
