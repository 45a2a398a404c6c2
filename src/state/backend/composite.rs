//! Some stores on disk, some in memory: one backend over two.

use std::ops::ControlFlow;

use super::{
    Backend, ByteRange, Direction, MemoryBackend, StateError, StoreIndex, StoreSize, WriteBatch,
};

/// Keeps the stores that ask for it in memory, and the others in the backend below.
///
/// Invariant: the disk is written before the memory, so that a write that fails changes nothing.
pub(in crate::state) struct CompositeBackend {
    disk: Box<dyn Backend>,
    memory: MemoryBackend,
    /// By store index: whether the store is held in memory.
    in_memory: Vec<bool>,
}

impl CompositeBackend {
    pub(in crate::state) fn new(disk: Box<dyn Backend>, in_memory: Vec<bool>) -> Self {
        Self { disk, memory: MemoryBackend::new(), in_memory }
    }

    fn is_in_memory(&self, store: StoreIndex) -> bool {
        self.in_memory.get(store.0 as usize).copied().unwrap_or(false)
    }

    fn of(&self, store: StoreIndex) -> &dyn Backend {
        if self.is_in_memory(store) { &self.memory } else { &*self.disk }
    }

    fn of_mut(&mut self, store: StoreIndex) -> &mut dyn Backend {
        if self.is_in_memory(store) { &mut self.memory } else { &mut *self.disk }
    }

    fn part(&self, batch: &WriteBatch, in_memory: bool) -> WriteBatch {
        let mut part = WriteBatch::default();
        let rows = batch.rows().filter(|(store, ..)| self.is_in_memory(*store) == in_memory);
        rows.for_each(|(store, key, value)| part.put(store, key, value));
        let offsets = batch.offsets().iter();
        let offsets = offsets.filter(|(store, _)| self.is_in_memory(*store) == in_memory);
        offsets.for_each(|(store, offset)| part.set_offset(*store, *offset));
        part
    }
}

impl Backend for CompositeBackend {
    fn get(&self, store: StoreIndex, key: &[u8], value: &mut Vec<u8>) -> Result<bool, StateError> {
        self.of(store).get(store, key, value)
    }

    fn scan(
        &self,
        store: StoreIndex,
        range: ByteRange<'_>,
        direction: Direction,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StateError> {
        self.of(store).scan(store, range, direction, visit)
    }

    fn write(&mut self, batch: &WriteBatch) -> Result<(), StateError> {
        self.disk.write(&self.part(batch, false))?;
        let memory = self.part(batch, true);
        self.memory.write(&memory)
    }

    fn changelog_offset(&self, store: StoreIndex) -> Result<Option<i64>, StateError> {
        self.of(store).changelog_offset(store)
    }

    fn load(
        &mut self,
        store: StoreIndex,
        rows: &mut dyn Iterator<Item = (&[u8], Option<&[u8]>)>,
        offset: i64,
    ) -> Result<(), StateError> {
        self.of_mut(store).load(store, rows, offset)
    }

    fn clear(&mut self, store: StoreIndex) -> Result<(), StateError> {
        self.of_mut(store).clear(store)
    }

    fn distrust(&self) {
        self.disk.distrust();
    }

    fn is_damaged(&self) -> bool {
        self.disk.is_damaged()
    }

    fn size(&self, store: StoreIndex) -> StoreSize {
        self.of(store).size(store)
    }

    fn close(self: Box<Self>) -> Result<(), StateError> {
        self.disk.close()
    }
}
