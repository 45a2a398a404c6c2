//! How does a store get its rows back from its changelog?

use std::collections::BTreeMap;

use crate::log::RecordBatch;
use crate::state::{Backend, StateError, StoreIndex, WriteBatch};
use crate::topology::StoreSpec;

/// A store and the part of its changelog that it lacks.
#[derive(Debug)]
pub(crate) struct StoreToRestore {
    pub(crate) index: StoreIndex,
    pub(crate) spec: StoreSpec,
    pub(crate) start: i64,
    pub(crate) end: i64,
}

/// The restoring of one task's stores.
pub(crate) struct Restore {
    backend: Box<dyn Backend>,
    stores: BTreeMap<StoreIndex, (StoreToRestore, i64)>,
    restored: u64,
}

impl Restore {
    pub(crate) fn new(backend: Box<dyn Backend>, stores: Vec<StoreToRestore>) -> Self {
        let stores = stores.into_iter().map(|store| (store.index, (store.start, store)));
        let stores = stores.map(|(index, (start, store))| (index, (store, start))).collect();
        Self { backend, stores, restored: 0 }
    }

    pub(crate) fn batch(
        &mut self,
        store: StoreIndex,
        batch: &RecordBatch,
    ) -> Result<(), StateError> {
        let Some((_, position)) = self.stores.get_mut(&store) else { return Ok(()) };
        let mut rows = WriteBatch::default();
        for view in batch.records() {
            let view = view.map_err(|error| StateError::Corrupt(error.to_string()))?;
            if view.offset < *position {
                continue;
            }
            self.restored += 1;
            let mut stamped = view.timestamp.as_millis().to_be_bytes().to_vec();
            stamped.extend_from_slice(view.value.unwrap_or_default());
            rows.put(store, view.key.unwrap_or_default(), view.value.map(|_| &stamped[..]));
        }
        *position = batch.next_offset();
        rows.set_offset(store, *position);
        self.backend.write(&rows)
    }

    pub(crate) fn caught_up(&mut self, store: StoreIndex, position: i64) {
        if let Some((_, known)) = self.stores.get_mut(&store) {
            *known = (*known).max(position);
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.stores.values().all(|(store, position)| *position >= store.end)
    }

    pub(crate) fn restored(&self) -> u64 {
        self.restored
    }

    pub(crate) fn finish(mut self) -> Result<Box<dyn Backend>, StateError> {
        let mut offsets = WriteBatch::default();
        for (index, (_, position)) in &self.stores {
            offsets.set_offset(*index, *position);
        }
        self.backend.write(&offsets)?;
        Ok(self.backend)
    }
}
