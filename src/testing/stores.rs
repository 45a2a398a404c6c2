//! What do the stores hold? Their rows, read out of the running tasks of a driver.

use std::cell::RefCell;
use std::hash::Hash;
use std::ops::{Bound, ControlFlow};
use std::rc::Rc;

use crate::error::{Error, ErrorKind, Result};
use crate::record::Data;
use crate::state::{Direction, KeyValueStore, SessionStore, WindowStore};
use crate::testing::TopologyTestDriver;
use crate::time::Timestamp;
use crate::window::Windowed;

impl TopologyTestDriver {
    /// The rows of a key-value store, over all partitions, by partition and serialised key: key,
    /// value, time of the value.
    ///
    /// # Errors
    ///
    /// The topology holds no such store.
    pub fn store<K: Data + Eq + Hash, V: Data>(
        &mut self,
        name: &str,
    ) -> Result<Vec<(K, V, Timestamp)>> {
        let mut rows = Vec::new();
        for store in self.stores::<KeyValueStore<K, V>>(name)? {
            let all = (Bound::Unbounded, Bound::Unbounded);
            store.borrow_mut().scan(all, Direction::Ascending, &mut |key, value, timestamp| {
                rows.push((key.clone(), value.clone(), timestamp));
                ControlFlow::Continue(())
            })?;
        }
        Ok(rows)
    }

    /// The rows of a window store, over all partitions, by partition, serialised key and start:
    /// key, start of the window, value, time of the value.
    ///
    /// Rows behind the retention are there until the next commit.
    ///
    /// # Errors
    ///
    /// The topology holds no such store.
    pub fn window_store<K: Data + Eq + Hash, V: Data>(
        &mut self,
        name: &str,
    ) -> Result<Vec<(K, Timestamp, V, Timestamp)>> {
        let mut rows = Vec::new();
        for store in self.stores::<WindowStore<K, V>>(name)? {
            let all = (Bound::Unbounded, Bound::Unbounded);
            store.borrow().scan(all, &mut |key, start, value, timestamp| {
                rows.push((key.clone(), start, value.clone(), timestamp));
                ControlFlow::Continue(())
            })?;
        }
        Ok(rows)
    }

    /// The rows of a session store, over all partitions, by partition, serialised key, end and
    /// start: key and session, value, time of the value.
    ///
    /// Rows behind the retention are there until the next commit.
    ///
    /// # Errors
    ///
    /// The topology holds no such store.
    pub fn session_store<K: Data + Eq + Hash, V: Data>(
        &mut self,
        name: &str,
    ) -> Result<Vec<(Windowed<K>, V, Timestamp)>> {
        let mut rows = Vec::new();
        for store in self.stores::<SessionStore<K, V>>(name)? {
            let all = (Bound::Unbounded, Bound::Unbounded);
            store.borrow().scan(all, &mut |key, session, value, timestamp| {
                rows.push((Windowed::new(key.clone(), session), value.clone(), timestamp));
                ControlFlow::Continue(())
            })?;
        }
        Ok(rows)
    }

    /// The stores of this name and type in all running tasks.
    fn stores<S: 'static>(&mut self, name: &str) -> Result<Vec<Rc<RefCell<S>>>> {
        let instance = self.started()?;
        let tasks = instance.worker().tasks();
        let stores: Vec<_> = tasks.filter_map(|task| task.store::<S>(name)).collect();
        if stores.is_empty() {
            let message = format!("no running task holds a store `{name}` of this type");
            return Err(Error::new(ErrorKind::Fatal, message));
        }
        Ok(stores)
    }
}
