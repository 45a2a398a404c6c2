//! What is the value of a key in a window? A store of stamped values by key and window start.
//!
//! In the changelog a row is `key | start (8 bytes) | sequence number (4 bytes) -> value`, as in
//! Kafka Streams; the sequence number is 0 where duplicates are not retained.

use std::hash::Hash;
use std::ops::{Bound, ControlFlow};

use crate::error::Result;
use crate::record::Data;
use crate::serde::SharedCodec;
use crate::time::Timestamp;

use super::key_codec::{Layout, Place};
use super::timed::TimedStore;
use super::{CacheCounts, Changelog, Direction, Stamped, Store, StoreHandle, WriteBatch};

/// Shows one window of one key: start, value, time of the value.
pub(crate) type VisitWindow<'a, V> = dyn FnMut(Timestamp, &V, Timestamp) -> ControlFlow<()> + 'a;
/// Shows one window: key, start, value, time of the value.
pub(crate) type VisitKeyWindow<'a, K, V> =
    dyn FnMut(&K, Timestamp, &V, Timestamp) -> ControlFlow<()> + 'a;
/// Shows a window that leaves the store: key, start, value, time of the value.
pub(crate) type VisitExpired<'a, K, V> = dyn FnMut(&K, Timestamp, &V, Timestamp) + 'a;

/// Whether several values of one key and start are kept side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Duplicates {
    /// A key has one value per start.
    Replaced,
    /// Values are added and never changed, as a join needs it.
    Retained,
}

/// A store of stamped values by key and window start.
///
/// Windows leave by [`expire`](Self::expire) alone, which the operator calls as stream time moves;
/// below the last `before` nothing is found and nothing is kept.
pub(crate) struct WindowStore<K, V> {
    rows: TimedStore<K, V>,
    duplicates: Duplicates,
}

const fn window(start: Timestamp) -> Place {
    Place { time: start.as_millis(), second: 0 }
}

const fn start_of(place: Place) -> Timestamp {
    Timestamp::from_millis(place.time)
}

impl<K: Data + Eq + Hash, V: Data> WindowStore<K, V> {
    pub(crate) fn new(
        handle: StoreHandle,
        duplicates: Duplicates,
        key: SharedCodec<K>,
        value: SharedCodec<V>,
    ) -> Self {
        Self { rows: TimedStore::new(handle, Layout::Window, key, value), duplicates }
    }

    /// Changes the value of a window in place, with one hash look-up where the key is cached.
    #[inline]
    pub(crate) fn update<R>(
        &mut self,
        key: &K,
        start: Timestamp,
        change: impl FnOnce(&mut Option<Stamped<V>>) -> R,
    ) -> Result<R> {
        debug_assert_eq!(self.duplicates, Duplicates::Replaced, "duplicates are added");
        self.rows.update(key, window(start), change)
    }

    /// Sets, or with `None` deletes, the value of a window.
    pub(crate) fn put(
        &mut self,
        key: &K,
        start: Timestamp,
        value: Option<V>,
        timestamp: Timestamp,
    ) -> Result<()> {
        debug_assert_eq!(self.duplicates, Duplicates::Replaced, "duplicates are added");
        self.rows.put(key, window(start), value, timestamp)
    }

    /// Adds a value beside those of the same key and start.
    pub(crate) fn add(&mut self, key: &K, start: Timestamp, value: V) -> Result<()> {
        debug_assert_eq!(self.duplicates, Duplicates::Retained, "others are put");
        let last = self.rows.last_second(key, start.as_millis())?;
        let place = Place { time: start.as_millis(), second: last.map_or(1, |last| last + 1) };
        self.rows.put(key, place, Some(value), start)
    }

    /// Reads the rows of keys that are soon to be looked up.
    pub(crate) fn warm<'k>(&self, keys: impl Iterator<Item = &'k K>) {
        self.rows.warm(keys);
    }

    /// The value of a window.
    pub(crate) fn get(&mut self, key: &K, start: Timestamp) -> Result<Option<(&V, Timestamp)>> {
        self.rows.get(key, window(start))
    }

    /// Shows the windows of a key whose starts lie in a range, both ends included, ascending or
    /// descending in start, until the visitor breaks.
    pub(crate) fn fetch(
        &mut self,
        key: &K,
        (from, to): (Timestamp, Timestamp),
        direction: Direction,
        visit: &mut VisitWindow<'_, V>,
    ) -> Result<()> {
        let range = (from.as_millis(), to.as_millis());
        self.rows.fetch(key, range, direction, &mut |place, value, timestamp| {
            visit(start_of(place), value, timestamp)
        })
    }

    /// Windows whose start lies before leave the store, in the order of start and key bytes.
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
                    visit(key, start_of(place), value, timestamp);
                };
                self.rows.expire(before, Some(show))
            }
        }
    }

    /// The latest start of a committed window.
    pub(crate) fn latest_stored(&self) -> Result<Option<Timestamp>> {
        Ok(self.rows.latest_stored()?.map(Timestamp::from_millis))
    }

    /// Shows the windows whose starts lie in a range, both ends included, in the order of start
    /// and key bytes, until the visitor breaks.
    pub(crate) fn scan_by_time(
        &self,
        (from, to): (Timestamp, Timestamp),
        visit: &mut VisitKeyWindow<'_, K, V>,
    ) -> Result<()> {
        let range = (from.as_millis(), to.as_millis());
        self.rows.scan_by_time(range, &mut |key, place, value, timestamp| {
            visit(key, start_of(place), value, timestamp)
        })
    }

    /// Shows the windows of a range of keys, in the order of key bytes and start, until the
    /// visitor breaks.
    pub(crate) fn scan(
        &self,
        keys: (Bound<&K>, Bound<&K>),
        visit: &mut VisitKeyWindow<'_, K, V>,
    ) -> Result<()> {
        self.rows.scan(keys, &mut |key, place, value, timestamp| {
            visit(key, start_of(place), value, timestamp)
        })
    }
}

impl<K: Data + Eq + Hash, V: Data> Store for WindowStore<K, V> {
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
