//! What does a processor remember? Its handles on the stores of its task.
//!
//! A handle is cheap to clone; all handles on one store in a task see the same rows. Changes are
//! committed with everything else that the task did; after a crash a store is as the last commit
//! left it. A visitor of a scan must not use the store that it is shown: that is an error.

use std::cell::{Cell, RefCell, RefMut};
use std::fmt;
use std::hash::Hash;
use std::ops::{Bound, ControlFlow, RangeBounds};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::operator::build::Shared;
use crate::operator::lookup::Lookup;
use crate::record::Data;
use crate::state::{self, Direction, Stamped};
use crate::time::Timestamp;
use crate::window::{Window, Windowed};

/// A row of a store: key, value and the time of the value.
pub type Row<K, V> = (K, V, Timestamp);

/// Key to value. Declared with [`StreamsBuilder::add_store`](crate::StreamsBuilder::add_store).
pub struct KeyValueStore<K, V>(Handle<state::KeyValueStore<K, V>>);

/// Key and window start to value, kept for a retention. Declared with
/// [`StreamsBuilder::add_window_store`](crate::StreamsBuilder::add_window_store).
pub struct WindowStore<K, V> {
    handle: Handle<state::WindowStore<K, V>>,
    retention: Duration,
    /// Whether what the retention has ended in an earlier run of the task has left.
    is_swept: Cell<bool>,
}

/// Key and session to value, kept for a retention. Declared with
/// [`StreamsBuilder::add_session_store`](crate::StreamsBuilder::add_session_store).
pub struct SessionStore<K, V> {
    handle: Handle<state::SessionStore<K, V>>,
    retention: Duration,
    /// Whether what the retention has ended in an earlier run of the task has left.
    is_swept: Cell<bool>,
}

/// The rows of a table, to read. Declared with [`KTable::rows`](crate::KTable::rows).
pub struct TableRows<K, V>(Rc<RefCell<Box<dyn Lookup<K, V>>>>);

struct Handle<S> {
    name: Arc<str>,
    store: Shared<S>,
}

impl<S> Handle<S> {
    fn get(&self) -> Result<RefMut<'_, S>> {
        self.store.try_borrow_mut().map_err(|_| self.is_in_use())
    }

    #[cold]
    fn is_in_use(&self) -> Error {
        let message = format!(
            "store `{}` is used while one of its scans is under way; collect what the scan shows",
            self.name
        );
        Error::new(ErrorKind::Fatal, message)
    }
}

impl<S> Clone for Handle<S> {
    fn clone(&self) -> Self {
        Self { name: Arc::clone(&self.name), store: Rc::clone(&self.store) }
    }
}

impl<K: Data + Eq + Hash, V: Data> KeyValueStore<K, V> {
    pub(crate) fn new(name: Arc<str>, store: Shared<state::KeyValueStore<K, V>>) -> Self {
        Self(Handle { name, store })
    }

    /// The value of a key.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub fn get(&self, key: &K) -> Result<Option<V>> {
        Ok(self.get_with_time(key)?.map(|(value, _)| value))
    }

    /// The value of a key and its time.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub fn get_with_time(&self, key: &K) -> Result<Option<(V, Timestamp)>> {
        let mut store = self.0.get()?;
        Ok(store.get(key)?.map(|(value, timestamp)| (value.clone(), timestamp)))
    }

    /// What `look` makes of the value of a key, which is not cloned.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub fn look_at<R>(&self, key: &K, look: impl FnOnce(Option<&V>) -> R) -> Result<R> {
        let mut store = self.0.get()?;
        Ok(look(store.get(key)?.map(|(value, _)| value)))
    }

    /// Sets the value of a key, at a time that is usually the record's.
    ///
    /// # Errors
    ///
    /// The store cannot be changed.
    pub fn put(&self, key: K, value: V, timestamp: Timestamp) -> Result<()> {
        self.0.get()?.put(key, Some(value), timestamp)
    }

    /// Changes the value of a key in place; `None` is no row, before and after.
    ///
    /// # Errors
    ///
    /// The store cannot be changed.
    pub fn update<R>(
        &self,
        key: &K,
        timestamp: Timestamp,
        change: impl FnOnce(&mut Option<V>) -> R,
    ) -> Result<R> {
        self.0.get()?.update(key, |row| change_row(row, timestamp, change))
    }

    /// Deletes the row of a key; returns the value it had.
    ///
    /// # Errors
    ///
    /// The store cannot be changed.
    #[doc(alias = "delete")]
    pub fn remove(&self, key: &K) -> Result<Option<V>> {
        self.0.get()?.update(key, |row| row.take().map(|row| row.value))
    }

    /// Shows the rows of a range of keys, in the order of their serialised keys, until the visitor
    /// breaks.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    #[doc(alias = "range")]
    #[doc(alias = "reverseRange")]
    pub fn scan(
        &self,
        keys: impl RangeBounds<K>,
        direction: Direction,
        mut visit: impl FnMut(&K, &V, Timestamp) -> ControlFlow<()>,
    ) -> Result<()> {
        self.0.get()?.scan((keys.start_bound(), keys.end_bound()), direction, &mut visit)
    }

    /// A copy of all rows, in the order of their serialised keys.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub fn all(&self) -> Result<Vec<Row<K, V>>> {
        let mut rows = Vec::new();
        self.scan(.., Direction::Ascending, |key, value, timestamp| {
            rows.push((key.clone(), value.clone(), timestamp));
            ControlFlow::Continue(())
        })?;
        Ok(rows)
    }

    /// How many rows there are, roughly.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    #[doc(alias = "approximateNumEntries")]
    pub fn approximate_len(&self) -> Result<usize> {
        self.0.get()?.approximate_len()
    }
}

/// Changes a row and stamps it; a row that is no more is deleted with its own time.
fn change_row<V, R>(
    row: &mut Option<Stamped<V>>,
    timestamp: Timestamp,
    change: impl FnOnce(&mut Option<V>) -> R,
) -> R {
    let mut value = row.take().map(|row| row.value);
    let result = change(&mut value);
    *row = value.map(|value| Stamped { value, timestamp });
    result
}

/// The earliest time that is kept once `latest` has been seen.
fn floor(latest: Timestamp, retention: Duration) -> Timestamp {
    (latest - retention).plus_millis(1)
}

/// Rows leave when a window that starts a retention later is put; what comes for them after that
/// is dropped.
impl<K: Data + Eq + Hash, V: Data> WindowStore<K, V> {
    pub(crate) fn new(
        name: Arc<str>,
        store: Shared<state::WindowStore<K, V>>,
        retention: Duration,
    ) -> Self {
        Self { handle: Handle { name, store }, retention, is_swept: Cell::new(false) }
    }

    fn readable(&self) -> Result<RefMut<'_, state::WindowStore<K, V>>> {
        let mut store = self.handle.get()?;
        if !self.is_swept.replace(true)
            && let Some(latest) = store.latest_stored()?
        {
            store.expire(floor(latest, self.retention), None)?;
        }
        Ok(store)
    }

    fn writable(&self, start: Timestamp) -> Result<RefMut<'_, state::WindowStore<K, V>>> {
        let mut store = self.readable()?;
        store.expire(floor(start, self.retention), None)?;
        Ok(store)
    }

    /// The value of a window.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub fn get(&self, key: &K, start: Timestamp) -> Result<Option<V>> {
        Ok(self.readable()?.get(key, start)?.map(|(value, _)| value.clone()))
    }

    /// Sets the value of a window.
    ///
    /// # Errors
    ///
    /// The store cannot be changed.
    pub fn put(&self, key: &K, start: Timestamp, value: V, timestamp: Timestamp) -> Result<()> {
        self.writable(start)?.put(key, start, Some(value), timestamp)
    }

    /// Changes the value of a window in place; `None` is no row, before and after.
    ///
    /// # Errors
    ///
    /// The store cannot be changed.
    pub fn update<R>(
        &self,
        key: &K,
        start: Timestamp,
        timestamp: Timestamp,
        change: impl FnOnce(&mut Option<V>) -> R,
    ) -> Result<R> {
        self.writable(start)?.update(key, start, |row| change_row(row, timestamp, change))
    }

    /// Deletes the row of a window; returns the value it had.
    ///
    /// # Errors
    ///
    /// The store cannot be changed.
    pub fn remove(&self, key: &K, start: Timestamp) -> Result<Option<V>> {
        self.writable(start)?.update(key, start, |row| row.take().map(|row| row.value))
    }

    /// Start and value of a key's windows that start in a range, both ends included, ascending.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub fn fetch(&self, key: &K, from: Timestamp, to: Timestamp) -> Result<Vec<(Timestamp, V)>> {
        let mut windows = Vec::new();
        let mut store = self.readable()?;
        store.fetch(key, (from, to), Direction::Ascending, &mut |start, value, _| {
            windows.push((start, value.clone()));
            ControlFlow::Continue(())
        })?;
        Ok(windows)
    }

    /// Shows the windows of all keys that start in a range, both ends included, in the order of
    /// start and serialised key, until the visitor breaks: key, start, value, time of the value.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    #[doc(alias = "fetchAll")]
    pub fn scan(
        &self,
        from: Timestamp,
        to: Timestamp,
        mut visit: impl FnMut(&K, Timestamp, &V, Timestamp) -> ControlFlow<()>,
    ) -> Result<()> {
        self.readable()?.scan_by_time((from, to), &mut visit)
    }
}

/// Rows leave when a session that ends a retention later is put; what comes for them after that is
/// dropped.
impl<K: Data + Eq + Hash, V: Data> SessionStore<K, V> {
    pub(crate) fn new(
        name: Arc<str>,
        store: Shared<state::SessionStore<K, V>>,
        retention: Duration,
    ) -> Self {
        Self { handle: Handle { name, store }, retention, is_swept: Cell::new(false) }
    }

    fn readable(&self) -> Result<RefMut<'_, state::SessionStore<K, V>>> {
        let mut store = self.handle.get()?;
        if !self.is_swept.replace(true)
            && let Some(latest) = store.latest_stored()?
        {
            store.expire(floor(latest, self.retention), None)?;
        }
        Ok(store)
    }

    /// The value of a session.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub fn get(&self, key: &K, session: Window) -> Result<Option<V>> {
        Ok(self.readable()?.get(key, session)?.map(|(value, _)| value.clone()))
    }

    /// Sets the value of a session.
    ///
    /// # Errors
    ///
    /// The store cannot be changed, or the session ends before it starts.
    pub fn put(&self, key: &K, session: Window, value: V, timestamp: Timestamp) -> Result<()> {
        if session.end < session.start {
            let Window { start, end } = session;
            let message = format!("a session from {start} to {end} ends before it starts");
            return Err(Error::new(ErrorKind::Fatal, message));
        }
        let mut store = self.readable()?;
        store.expire(floor(session.end, self.retention), None)?;
        store.put(key, session, Some(value), timestamp)
    }

    /// Deletes a session; returns the value it had.
    ///
    /// # Errors
    ///
    /// The store cannot be changed.
    pub fn remove(&self, key: &K, session: Window) -> Result<Option<V>> {
        let mut store = self.readable()?;
        let value = store.get(key, session)?.map(|(value, _)| value.clone());
        if value.is_some() {
            store.remove(key, session)?;
        }
        Ok(value)
    }

    /// The sessions of a key that end at `earliest_end` or after and start at `latest_start` or
    /// before, ascending in end and start.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    #[doc(alias = "findSessions")]
    pub fn find(
        &self,
        key: &K,
        earliest_end: Timestamp,
        latest_start: Timestamp,
    ) -> Result<Vec<(Window, V)>> {
        let mut sessions = Vec::new();
        let mut store = self.readable()?;
        store.find(key, earliest_end, latest_start, &mut |session, value, _| {
            sessions.push((session, value.clone()));
            ControlFlow::Continue(())
        })?;
        Ok(sessions)
    }

    /// A copy of all sessions, in the order of serialised key, end and start.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub fn all(&self) -> Result<Vec<Row<Windowed<K>, V>>> {
        let mut rows = Vec::new();
        let all = (Bound::Unbounded, Bound::Unbounded);
        self.readable()?.scan(all, &mut |key, session, value, timestamp| {
            rows.push((Windowed::new(key.clone(), session), value.clone(), timestamp));
            ControlFlow::Continue(())
        })?;
        Ok(rows)
    }
}

impl<K: 'static, V: 'static> TableRows<K, V> {
    pub(crate) fn new(rows: Box<dyn Lookup<K, V>>) -> Self {
        Self(Rc::new(RefCell::new(rows)))
    }

    /// The current row of a key.
    ///
    /// # Errors
    ///
    /// The table cannot be read.
    pub fn get(&self, key: &K) -> Result<Option<V>> {
        Ok(self.0.borrow_mut().get(key)?.map(|(value, _)| value))
    }
}

impl<K, V> Clone for KeyValueStore<K, V> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K, V> Clone for WindowStore<K, V> {
    fn clone(&self) -> Self {
        Self {
            handle: self.handle.clone(),
            retention: self.retention,
            is_swept: self.is_swept.clone(),
        }
    }
}

impl<K, V> Clone for SessionStore<K, V> {
    fn clone(&self) -> Self {
        Self {
            handle: self.handle.clone(),
            retention: self.retention,
            is_swept: self.is_swept.clone(),
        }
    }
}

impl<K, V> Clone for TableRows<K, V> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<K, V> fmt::Debug for KeyValueStore<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyValueStore({})", self.0.name)
    }
}

impl<K, V> fmt::Debug for WindowStore<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WindowStore({})", self.handle.name)
    }
}

impl<K, V> fmt::Debug for SessionStore<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionStore({})", self.handle.name)
    }
}

impl<K, V> fmt::Debug for TableRows<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TableRows")
    }
}
