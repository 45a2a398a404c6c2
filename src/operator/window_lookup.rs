//! How does an operator read the current row of a windowed table? From its window or session store.

use std::hash::Hash;
use std::sync::Arc;

use crate::error::Result;
use crate::operator::build::{Shared, TaskBuilder};
use crate::operator::lookup::{BuildLookup, Lookup};
use crate::record::Data;
use crate::serde::SharedCodec;
use crate::state::{Duplicates, SessionStore, WindowStore};
use crate::time::Timestamp;
use crate::window::Windowed;

/// The store of a windowed operator: its name and codecs.
pub(crate) struct WindowedStore<K, V> {
    pub(crate) name: Arc<str>,
    pub(crate) key: SharedCodec<K>,
    pub(crate) value: SharedCodec<V>,
}

impl<K, V> Clone for WindowedStore<K, V> {
    fn clone(&self) -> Self {
        Self {
            name: Arc::clone(&self.name),
            key: Arc::clone(&self.key),
            value: Arc::clone(&self.value),
        }
    }
}

impl<K: Data + Eq + Hash, V: Data> WindowedStore<K, V> {
    /// Opens it as a window store.
    pub(crate) fn windows(
        &self,
        task: &mut TaskBuilder,
        duplicates: Duplicates,
    ) -> Shared<WindowStore<K, V>> {
        task.open_store(&self.name, |handle| {
            WindowStore::new(handle, duplicates, Arc::clone(&self.key), Arc::clone(&self.value))
        })
    }

    /// Opens it as a session store.
    pub(crate) fn sessions(&self, task: &mut TaskBuilder) -> Shared<SessionStore<K, V>> {
        task.open_store(&self.name, |handle| {
            SessionStore::new(handle, Arc::clone(&self.key), Arc::clone(&self.value))
        })
    }
}

/// Rows that are in a window store.
pub(crate) struct WindowLookup<K, V>(pub(crate) WindowedStore<K, V>);

/// Rows that are in a session store.
pub(crate) struct SessionLookup<K, V>(pub(crate) WindowedStore<K, V>);

impl<K: Data + Eq + Hash, V: Data> BuildLookup<Windowed<K>, V> for WindowLookup<K, V> {
    fn build(&self, task: &mut TaskBuilder) -> Box<dyn Lookup<Windowed<K>, V>> {
        Box::new(self.0.windows(task, Duplicates::Replaced))
    }
}

impl<K: Data + Eq + Hash, V: Data> BuildLookup<Windowed<K>, V> for SessionLookup<K, V> {
    fn build(&self, task: &mut TaskBuilder) -> Box<dyn Lookup<Windowed<K>, V>> {
        Box::new(self.0.sessions(task))
    }
}

impl<K: Data + Eq + Hash, V: Data> Lookup<Windowed<K>, V> for Shared<WindowStore<K, V>> {
    fn get(&mut self, windowed: &Windowed<K>) -> Result<Option<(V, Timestamp)>> {
        let mut store = self.borrow_mut();
        let row = store.get(&windowed.key, windowed.window.start)?;
        Ok(row.map(|(value, timestamp)| (value.clone(), timestamp)))
    }
}

impl<K: Data + Eq + Hash, V: Data> Lookup<Windowed<K>, V> for Shared<SessionStore<K, V>> {
    fn get(&mut self, windowed: &Windowed<K>) -> Result<Option<(V, Timestamp)>> {
        let mut store = self.borrow_mut();
        let row = store.get(&windowed.key, windowed.window)?;
        // What leaves has the time of the session's end, whatever record was the last to change it.
        Ok(row.map(|(value, _)| (value.clone(), windowed.window.end)))
    }
}
