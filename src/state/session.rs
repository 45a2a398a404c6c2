//! Which sessions does a key have? A store of stamped values by key, session end and start.
//!
//! In the changelog a row is `key | end (8 bytes) | start (8 bytes) -> value`, as in Kafka Streams.

use std::hash::Hash;
use std::ops::{Bound, ControlFlow};

use crate::error::Result;
use crate::record::Data;
use crate::serde::SharedCodec;
use crate::time::Timestamp;
use crate::window::Window;

use super::key_codec::{Layout, Place};
use super::timed::TimedStore;
use super::{CacheCounts, Changelog, Direction, Store, StoreHandle, WriteBatch};

/// Shows one session of one key: its bounds, its value, the time of the value.
pub(crate) type VisitSession<'a, V> = dyn FnMut(Window, &V, Timestamp) -> ControlFlow<()> + 'a;
/// Shows one session: key, bounds, value, time of the value.
pub(crate) type VisitKeySession<'a, K, V> =
    dyn FnMut(&K, Window, &V, Timestamp) -> ControlFlow<()> + 'a;
/// Shows a session that leaves the store: key, bounds, value, time of the value.
pub(crate) type VisitExpired<'a, K, V> = dyn FnMut(&K, Window, &V, Timestamp) + 'a;

/// A store of stamped values by key and session.
///
/// A session that is merged into another is deleted with a tombstone. Old sessions leave by
/// [`expire`](Self::expire), of which the changelog is told nothing.
pub(crate) struct SessionStore<K, V> {
    rows: TimedStore<K, V>,
}

const fn place_of(session: Window) -> Place {
    Place { time: session.end.as_millis(), second: session.start.as_millis() }
}

const fn session_of(place: Place) -> Window {
    let (start, end) = (place.second, place.time);
    Window { start: Timestamp::from_millis(start), end: Timestamp::from_millis(end) }
}

impl<K: Data + Eq + Hash, V: Data> SessionStore<K, V> {
    pub(crate) fn new(handle: StoreHandle, key: SharedCodec<K>, value: SharedCodec<V>) -> Self {
        Self { rows: TimedStore::new(handle, Layout::Session, key, value) }
    }

    /// Shows the sessions of a key that end at `earliest_end` or after and start at `latest_start`
    /// or before, ascending in end and start, until the visitor breaks.
    pub(crate) fn find(
        &mut self,
        key: &K,
        earliest_end: Timestamp,
        latest_start: Timestamp,
        visit: &mut VisitSession<'_, V>,
    ) -> Result<()> {
        let range = (earliest_end.as_millis(), i64::MAX);
        self.rows.fetch(key, range, Direction::Ascending, &mut |place, value, timestamp| {
            let session = session_of(place);
            if session.start > latest_start {
                return ControlFlow::Continue(());
            }
            visit(session, value, timestamp)
        })
    }

    /// Reads the rows of keys that are soon to be looked up.
    pub(crate) fn warm<'k>(&self, keys: impl Iterator<Item = &'k K>) {
        self.rows.warm(keys);
    }

    /// The value of a session.
    pub(crate) fn get(&mut self, key: &K, session: Window) -> Result<Option<(&V, Timestamp)>> {
        self.rows.get(key, place_of(session))
    }

    /// Sets, or with `None` deletes, the value of a session.
    pub(crate) fn put(
        &mut self,
        key: &K,
        session: Window,
        value: Option<V>,
        timestamp: Timestamp,
    ) -> Result<()> {
        debug_assert!(session.start <= session.end, "a session ends at or after its start");
        self.rows.put(key, place_of(session), value, timestamp)
    }

    /// Deletes a session; its tombstone has the time of its value.
    pub(crate) fn remove(&mut self, key: &K, session: Window) -> Result<()> {
        self.rows.update(key, place_of(session), |row| *row = None)
    }

    /// Sessions whose end lies before leave the store, in the order of end and key bytes.
    pub(crate) fn expire(
        &mut self,
        before: Timestamp,
        visit: Option<&mut VisitExpired<'_, K, V>>,
    ) -> Result<()> {
        let before = before.as_millis();
        match visit {
            None => self.rows.expire(before, None),
            Some(visit) => {
                let show = &mut |key: &K, place, value: &V, timestamp| {
                    visit(key, session_of(place), value, timestamp);
                };
                self.rows.expire(before, Some(show))
            }
        }
    }

    /// The latest end of a committed session.
    pub(crate) fn latest_stored(&self) -> Result<Option<Timestamp>> {
        Ok(self.rows.latest_stored()?.map(Timestamp::from_millis))
    }

    /// Shows the sessions of a range of keys, in the order of key bytes, end and start, until the
    /// visitor breaks.
    pub(crate) fn scan(
        &self,
        keys: (Bound<&K>, Bound<&K>),
        visit: &mut VisitKeySession<'_, K, V>,
    ) -> Result<()> {
        self.rows.scan(keys, &mut |key, place, value, timestamp| {
            visit(key, session_of(place), value, timestamp)
        })
    }
}

impl<K: Data + Eq + Hash, V: Data> Store for SessionStore<K, V> {
    fn flush(&mut self, changelog: &mut Changelog<'_>, batch: &mut WriteBatch) -> Result<()> {
        self.rows.flush(changelog, batch)
    }

    fn settled(&mut self) {
        self.rows.settled();
    }

    fn dirty_bytes(&self) -> usize {
        self.rows.dirty_bytes()
    }

    fn cache_counts(&self) -> CacheCounts {
        self.rows.cache_counts()
    }
}
