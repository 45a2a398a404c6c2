//! Which rows does a key have, and when do they leave? What window and session stores share.
//!
//! A key has rows at places: of a window its start and sequence number, of a session its end and
//! its start. All rows of a key are loaded together on the first touch and kept in order, so that
//! every fetch is a walk over memory.
//!
//! # Expiry
//!
//! Rows leave in the order of their time. [`TimedStore::expire`] raises a *floor* below which
//! nothing is visible; the next flush deletes what lies below it from the backend, finding it by a
//! time index that is written beside the rows. The changelog is told nothing: its topic's retention
//! does the same there. A crash before the commit forgets the floor along with the rest.
//!
//! # Invariants
//!
//! - The backend's time index has exactly one entry for each row of the backend.
//! - A row that the backend's index does not know is in `fresh` or `fresh_in_flight`.
//! - The floor never falls.

mod flush;
mod scan;

use std::collections::{BTreeMap, VecDeque};
use std::hash::Hash;
use std::ops::{Bound, ControlFlow};

use crate::error::{Error, Result};
use crate::record::Data;
use crate::serde::SharedCodec;
use crate::time::Timestamp;

use super::cache::{Cache, ROWS_PER_SAMPLE, SlotId, TypicalBytes};
use super::key_codec::{
    Layout, Place, SortedKeys, begin_row, row_prefix, row_suffix, split_row, split_row_key,
};
use super::{Direction, Stamped, StoreHandle, is_empty_store};

/// Rows that are not in the backend's time index, by time: the key's slot and the place's second.
type FreshRows = BTreeMap<i64, Vec<(SlotId, i64)>>;

/// Rows at the end of a key's that are looked at before all of them are searched.
const ROWS_TRIED: usize = 6;

/// A store of stamped values by key and place.
pub(super) struct TimedStore<K, V> {
    handle: StoreHandle,
    layout: Layout,
    key: SharedCodec<K>,
    value: SharedCodec<V>,
    cache: Cache<K, Rows<V>>,
    /// Rows that changed since the last flush, each once.
    dirty: Vec<(SlotId, Place)>,
    /// Rows that were flushed and have not reached the backend.
    in_flight: Vec<(SlotId, Place)>,
    fresh: FreshRows,
    fresh_in_flight: FreshRows,
    /// Rows with an earlier time are gone.
    floor: i64,
    /// The key of the time index behind which the next sweep begins.
    swept: Vec<u8>,
    /// The serialised bytes of a row.
    typical: TypicalBytes,
    sorted: SortedKeys,
    scratch: Vec<u8>,
    changelog_key: Vec<u8>,
}

/// All rows of a key, ascending by place.
type Rows<V> = VecDeque<Row<V>>;

struct Row<V> {
    place: Place,
    content: Option<Stamped<V>>,
    /// When the row was deleted: the time of its tombstone.
    deleted_at: Timestamp,
    dirty: bool,
    /// Whether the backend has it, once everything flushed has settled.
    is_stored: bool,
}

impl<V> Row<V> {
    const fn absent(place: Place) -> Self {
        Self { place, content: None, deleted_at: Timestamp::ZERO, dirty: false, is_stored: false }
    }
}

impl<K: Data + Eq + Hash, V: Data> TimedStore<K, V> {
    pub(super) fn new(
        handle: StoreHandle,
        layout: Layout,
        key: SharedCodec<K>,
        value: SharedCodec<V>,
    ) -> Self {
        let complete = is_empty_store(&handle);
        let cache = Cache::new(handle.cache_limit.clone(), complete);
        Self {
            handle,
            layout,
            key,
            value,
            cache,
            dirty: Vec::new(),
            in_flight: Vec::new(),
            fresh: FreshRows::new(),
            fresh_in_flight: FreshRows::new(),
            floor: i64::MIN,
            swept: super::key_codec::TIMES_FROM.to_vec(),
            typical: TypicalBytes::default(),
            sorted: SortedKeys::default(),
            scratch: Vec::new(),
            changelog_key: Vec::new(),
        }
    }

    /// Changes the content of a row in place; see [`KeyValueStore::update`].
    /// Below the floor nothing is found and nothing is kept.
    ///
    /// [`KeyValueStore::update`]: super::KeyValueStore::update
    #[inline]
    pub(super) fn update<R>(
        &mut self,
        key: &K,
        place: Place,
        change: impl FnOnce(&mut Option<Stamped<V>>) -> R,
    ) -> Result<R> {
        self.change(key, place, None, change)
    }

    #[inline]
    fn change<R>(
        &mut self,
        key: &K,
        place: Place,
        deleted_at: Option<Timestamp>,
        change: impl FnOnce(&mut Option<Stamped<V>>) -> R,
    ) -> Result<R> {
        if place.time < self.floor {
            return Ok(change(&mut None));
        }
        let id = self.touch(key)?;
        let rows = &mut self.cache.slot_mut(id).payload;
        let index = match find(rows, place) {
            Ok(index) => index,
            Err(index) => {
                rows.insert(index, Row::absent(place));
                index
            }
        };
        let row = &mut rows[index];
        let before = row.content.as_ref().map(|content| content.timestamp);
        let result = change(&mut row.content);
        match (before, &row.content) {
            (None, None) if !row.dirty && !row.is_stored => drop(rows.remove(index)),
            (None, None) => {}
            (Some(timestamp), None) => {
                row.deleted_at = deleted_at.unwrap_or(timestamp);
                self.changed(id, index);
            }
            (None, Some(_)) if !row.is_stored => {
                self.fresh.entry(place.time).or_default().push((id, place.second));
                self.changed(id, index);
            }
            (_, Some(_)) if row.dirty => {}
            (_, Some(_)) => self.changed(id, index),
        }
        Ok(result)
    }

    /// Reads the last rows of keys that are soon to be looked up.
    pub(super) fn warm<'k>(&self, keys: impl Iterator<Item = &'k K>) {
        self.cache.warm(keys, |rows| rows.back().map_or(0, |row| row.place.time as u64));
    }

    /// Sets, or with `None` deletes, a row.
    pub(super) fn put(
        &mut self,
        key: &K,
        place: Place,
        value: Option<V>,
        timestamp: Timestamp,
    ) -> Result<()> {
        let content = value.map(|value| Stamped { value, timestamp });
        self.change(key, place, Some(timestamp), |row| *row = content)
    }

    /// The content of a row.
    pub(super) fn get(&mut self, key: &K, place: Place) -> Result<Option<(&V, Timestamp)>> {
        if place.time < self.floor {
            return Ok(None);
        }
        let Some(rows) = self.rows(key)? else { return Ok(None) };
        let Ok(index) = find(rows, place) else { return Ok(None) };
        Ok(rows[index].content.as_ref().map(|content| (&content.value, content.timestamp)))
    }

    /// Shows the visible rows of a key whose times lie in a range, until the visitor breaks.
    pub(super) fn fetch(
        &mut self,
        key: &K,
        (from, to): (i64, i64),
        direction: Direction,
        visit: &mut dyn FnMut(Place, &V, Timestamp) -> ControlFlow<()>,
    ) -> Result<()> {
        let from = from.max(self.floor);
        let Some(rows) = self.rows(key)? else { return Ok(()) };
        let begin = point(rows, |row| row.place.time < from);
        let end = point(rows, |row| row.place.time <= to).max(begin);
        let mut show = |row: &Row<V>| match &row.content {
            Some(content) => visit(row.place, &content.value, content.timestamp),
            None => ControlFlow::Continue(()),
        };
        let _ = match direction {
            Direction::Ascending => rows.range(begin..end).try_for_each(&mut show),
            Direction::Descending => rows.range(begin..end).rev().try_for_each(&mut show),
        };
        Ok(())
    }

    /// The largest second of a key's rows at a time.
    pub(super) fn last_second(&mut self, key: &K, time: i64) -> Result<Option<i64>> {
        let Some(rows) = self.rows(key)? else { return Ok(None) };
        let end = match rows.back() {
            Some(last) if last.place.time <= time => rows.len(),
            _ => rows.partition_point(|row| row.place.time <= time),
        };
        let at_time = rows.range(..end).rev().take_while(|row| row.place.time == time);
        let last = at_time.into_iter().find(|row| row.content.is_some());
        Ok(last.map(|row| row.place.second))
    }

    /// All rows of a key, those below the floor among them.
    fn rows(&mut self, key: &K) -> Result<Option<&Rows<V>>> {
        let id = match self.cache.find(key) {
            Some(id) => id,
            None if self.cache.is_complete() => return Ok(None),
            None => self.load(key)?,
        };
        Ok(Some(&self.cache.slot(id).payload))
    }

    #[inline]
    fn touch(&mut self, key: &K) -> Result<SlotId> {
        match self.cache.find(key) {
            Some(id) => Ok(id),
            None => self.load(key),
        }
    }

    /// Caches a key that is not cached, with all rows that the backend has of it.
    #[cold]
    #[inline(never)]
    fn load(&mut self, key: &K) -> Result<SlotId> {
        if self.cache.is_complete() {
            return Ok(self.cache.insert(key.clone(), Rows::new(), None));
        }
        self.cache.missed();
        let mut from = Vec::new();
        row_prefix(&self.key_bytes(key)?, &mut from);
        let mut to = from.clone();
        row_suffix(Place { time: self.floor, second: i64::MIN }, &mut from);
        row_suffix(Place { time: i64::MAX, second: i64::MAX }, &mut to);
        let range = (Bound::Included(from.as_slice()), Bound::Included(to.as_slice()));
        let (mut rows, mut bytes, mut failed) = (Rows::new(), from.len(), None);
        let backend = self.handle.backend.borrow();
        backend.scan(self.handle.index, range, Direction::Ascending, &mut |key, row| {
            bytes += row.len() + size_of::<Row<V>>();
            match self.decode_row(key, row) {
                Ok(row) => rows.push_back(row),
                Err(error) => {
                    failed = Some(error);
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        })?;
        drop(backend);
        if let Some(error) = failed {
            return Err(error);
        }
        Ok(self.cache.insert(key.clone(), rows, Some(bytes)))
    }

    fn decode_row(&self, key: &[u8], row: &[u8]) -> Result<Row<V>> {
        let damaged = || self.handle.damaged("a row's key is no key");
        let (_, place) = split_row_key(key).ok_or_else(damaged)?;
        let content = Some(self.decode_content(row)?);
        Ok(Row { content, is_stored: true, ..Row::absent(place) })
    }

    fn decode_content(&self, row: &[u8]) -> Result<Stamped<V>> {
        let (timestamp, value) =
            split_row(row).ok_or_else(|| self.handle.damaged("a row is too short"))?;
        let value = self.value.decode(value).map_err(|cause| {
            self.handle.codec_error("a stored value cannot be read by its codec", cause)
        })?;
        Ok(Stamped { value, timestamp })
    }

    fn key_bytes(&self, key: &K) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.encode_key(key, &mut bytes)?;
        Ok(bytes)
    }

    fn encode_key(&self, key: &K, out: &mut Vec<u8>) -> Result<(), Error> {
        self.key
            .encode(key, out)
            .map_err(|cause| self.handle.codec_error("a key cannot be serialised", cause))
    }

    /// Marks a row as changed, unless it is marked already.
    fn changed(&mut self, id: SlotId, index: usize) {
        let slot = self.cache.slot_mut(id);
        let row = &mut slot.payload[index];
        if !row.dirty {
            row.dirty = true;
            slot.pins += 1;
            self.dirty.push((id, row.place));
            if self.dirty.len() % ROWS_PER_SAMPLE == 1 {
                self.sample(id, index);
            }
        }
    }

    /// Measures a row. One that cannot be serialised fails the flush.
    #[cold]
    fn sample(&mut self, id: SlotId, index: usize) {
        let slot = self.cache.slot(id);
        self.scratch.clear();
        row_suffix(slot.payload[index].place, &mut self.scratch);
        let measured = self.key.encode(&slot.key, &mut self.scratch).and_then(|()| {
            let Some(content) = &slot.payload[index].content else { return Ok(()) };
            begin_row(content.timestamp, &mut self.scratch);
            self.value.encode(&content.value, &mut self.scratch)
        });
        if measured.is_ok() {
            self.typical.note(self.scratch.len());
        }
    }
}

/// Where a place is among a key's rows, or where it would be.
#[inline]
fn find<V>(rows: &Rows<V>, place: Place) -> Result<usize, usize> {
    let index = point(rows, |row| row.place < place);
    let is_there = rows.get(index).is_some_and(|row| row.place == place);
    if is_there { Ok(index) } else { Err(index) }
}

/// How many rows, the first ones, are before. The last rows are tried first: time mostly goes on.
#[inline]
fn point<V>(rows: &Rows<V>, is_before: impl Fn(&Row<V>) -> bool) -> usize {
    let last = rows.iter().rev().take(ROWS_TRIED);
    match last.take_while(|row| !is_before(row)).count() {
        ROWS_TRIED => rows.partition_point(is_before),
        behind => rows.len() - behind,
    }
}
