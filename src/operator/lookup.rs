//! How does an operator read a table's current row? From the store of the table, or of its parent.

use std::hash::Hash;
use std::sync::Arc;

use crate::error::Result;
use crate::operator::build::{Shared, TaskBuilder};
use crate::record::Data;
use crate::serde::SharedCodec;
use crate::state::KeyValueStore;
use crate::time::Timestamp;

/// Reads the current row of a key in a running task.
pub(crate) trait Lookup<K, V> {
    /// The row and its timestamp.
    fn get(&mut self, key: &K) -> Result<Option<(V, Timestamp)>>;

    /// Reads the rows of keys that are soon to be looked up, so that they are near.
    fn warm(&self, _keys: &mut dyn Iterator<Item = &K>) {}
}

/// Builds the reader of a table, in the task that holds the table.
pub(crate) trait BuildLookup<K, V>: Send + Sync {
    /// The reader.
    fn build(&self, task: &mut TaskBuilder) -> Box<dyn Lookup<K, V>>;
}

/// Rows that are in a key-value store.
pub(crate) struct StoreLookup<K, V> {
    pub(crate) store: Arc<str>,
    pub(crate) key: SharedCodec<K>,
    pub(crate) value: SharedCodec<V>,
}

impl<K: Data + Eq + Hash, V: Data> BuildLookup<K, V> for StoreLookup<K, V> {
    fn build(&self, task: &mut TaskBuilder) -> Box<dyn Lookup<K, V>> {
        Box::new(task.key_value_store(&self.store, &self.key, &self.value))
    }
}

impl<K: Data + Eq + Hash, V: Data> Lookup<K, V> for Shared<KeyValueStore<K, V>> {
    fn get(&mut self, key: &K) -> Result<Option<(V, Timestamp)>> {
        let mut store = self.borrow_mut();
        Ok(store.get(key)?.map(|(value, timestamp)| (value.clone(), timestamp)))
    }

    fn warm(&self, keys: &mut dyn Iterator<Item = &K>) {
        self.borrow().warm(keys);
    }
}
