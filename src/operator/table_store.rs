//! Keeps the rows of a table in a store of its own.
//!
//! - Stored: under the record's key its value, stamped with the record's time; an update that is
//!   out of order overwrites, and the time goes back. A null deletes.
//! - The old value of a change is the row that was stored.

use std::hash::Hash;
use std::sync::Arc;

use crate::error::Result;
use crate::operator::build::{Build, Output, Shared, TaskBuilder};
use crate::operator::push::{Cx, Edge, Push};
use crate::record::{Change, Data, Record};
use crate::serde::SharedCodec;
use crate::state::KeyValueStore;

/// Factory of a table whose rows come as values of type `T`.
pub(crate) struct TableStore<K, V, T> {
    pub(crate) store: Arc<str>,
    pub(crate) key: SharedCodec<K>,
    pub(crate) value: SharedCodec<V>,
    pub(crate) into_row: fn(T) -> Option<V>,
    /// Whether a deletion ends here if there is no such row.
    pub(crate) knows_downstream: bool,
    pub(crate) output: Arc<Output<K, Change<V>>>,
}

struct TableStoreOp<K, V, T> {
    store: Shared<KeyValueStore<K, V>>,
    into_row: fn(T) -> Option<V>,
    knows_downstream: bool,
    wants_old: bool,
    next: Edge<K, Change<V>>,
}

impl<K: Data + Eq + Hash, V: Data, T: Data> Build<K, T> for TableStore<K, V, T> {
    fn build(&self, task: &mut TaskBuilder) -> Edge<K, T> {
        let next = self.output.build(task);
        let store = task.key_value_store(&self.store, &self.key, &self.value);
        Box::new(TableStoreOp {
            store,
            into_row: self.into_row,
            knows_downstream: self.knows_downstream,
            wants_old: self.output.wants_old(),
            next,
        })
    }
}

impl<K: Data + Eq + Hash, V: Data, T> TableStoreOp<K, V, T> {
    /// Replaces the row; the change to hand on, if there is one.
    fn replace(&mut self, record: Record<K, T>) -> Result<Option<Record<K, Change<V>>>> {
        let Record { key, value, timestamp } = record;
        let new = (self.into_row)(value);
        let mut store = self.store.borrow_mut();
        let swallows = self.knows_downstream && new.is_none();
        let mut old = None;
        if self.wants_old || swallows {
            old = store.get(&key)?.map(|(old, _)| old.clone());
        }
        if swallows && old.is_none() {
            return Ok(None);
        }
        store.put(key.clone(), new.clone(), timestamp)?;
        Ok(Some(Record { key, value: Change { old, new }, timestamp }))
    }
}

impl<K: Data + Eq + Hash, V: Data, T> Push<K, T> for TableStoreOp<K, V, T> {
    fn push(&mut self, cx: &mut Cx<'_>, record: Record<K, T>) -> Result<()> {
        match self.replace(record)? {
            Some(change) => self.next.push(cx, change),
            None => Ok(()),
        }
    }

    fn warm(&self, records: &[Record<K, T>]) {
        self.store.borrow().warm(records.iter().map(|record| &record.key));
    }
}
