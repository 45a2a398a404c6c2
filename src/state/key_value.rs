//! What is the value of a key? A store of one stamped value per key.
//!
//! A row in the backend is `key -> timestamp (8 bytes) | value`; in the changelog it is
//! `key -> value`, with the timestamp as the record's.

use std::collections::BTreeMap;
use std::hash::Hash;
use std::ops::{Bound, ControlFlow};

use crate::error::Result;
use crate::record::Data;
use crate::serde::SharedCodec;
use crate::time::Timestamp;

use super::cache::{Cache, CacheCounts, ROWS_PER_SAMPLE, Slot, SlotId};
use super::key_codec::{SortedKeys, begin_row, row_value, split_row};
use super::merge::{Merged, merged_scan};
use super::{Changelog, Direction, Stamped, Store, StoreHandle, WriteBatch, is_empty_store};

/// Shows one row of a scan.
pub(crate) type VisitRow<'a, K, V> = dyn FnMut(&K, &V, Timestamp) -> ControlFlow<()> + 'a;

/// A store of one stamped value per key.
pub(crate) struct KeyValueStore<K, V> {
    handle: StoreHandle,
    codecs: Codecs<K, V>,
    cache: Cache<K, Cell<V>>,
    /// Slots that changed since the last flush, each once.
    dirty: Vec<SlotId>,
    /// What the dirty rows take in memory, roughly.
    dirty_bytes: usize,
    /// Slots whose change was flushed and has not reached the backend.
    in_flight: Vec<SlotId>,
    /// All pinned slots by serialised key, from the first scan after a commit to the next commit.
    overlay: Option<BTreeMap<Vec<u8>, SlotId>>,
    sorted: SortedKeys,
    scratch: Vec<u8>,
}

/// What the cache holds of a key.
struct Cell<V> {
    row: Option<Stamped<V>>,
    /// When the row was deleted: the time of its tombstone.
    deleted_at: Timestamp,
    dirty: bool,
    /// Set by an operator that has taken note of a change; cleared when the row is flushed.
    noted: bool,
}

struct Codecs<K, V> {
    key: SharedCodec<K>,
    value: SharedCodec<V>,
}

impl<K: Data + Eq + Hash, V: Data> KeyValueStore<K, V> {
    pub(crate) fn new(handle: StoreHandle, key: SharedCodec<K>, value: SharedCodec<V>) -> Self {
        let complete = is_empty_store(&handle);
        let cache = Cache::new(handle.cache_limit.clone(), complete);
        Self {
            handle,
            codecs: Codecs { key, value },
            cache,
            dirty: Vec::new(),
            dirty_bytes: 0,
            in_flight: Vec::new(),
            overlay: None,
            sorted: SortedKeys::default(),
            scratch: Vec::new(),
        }
    }

    /// The value of a key and its time.
    pub(crate) fn get(&mut self, key: &K) -> Result<Option<(&V, Timestamp)>> {
        let id = match self.cache.find(key) {
            Some(id) => id,
            None if self.cache.is_complete() => return Ok(None),
            None => self.load(key)?,
        };
        let cell = &self.cache.slot_mut(id).payload;
        Ok(cell.row.as_ref().map(|row| (&row.value, row.timestamp)))
    }

    /// Sets, or with `None` deletes, the value of a key, without reading it.
    pub(crate) fn put(&mut self, key: K, value: Option<V>, timestamp: Timestamp) -> Result<()> {
        let id = match self.cache.find(&key) {
            Some(id) => id,
            None => self.cache.insert(key, Cell::empty(), None),
        };
        let cell = &mut self.cache.slot_mut(id).payload;
        cell.row = value.map(|value| Stamped { value, timestamp });
        cell.deleted_at = timestamp;
        if cell.dirty { Ok(()) } else { self.mark_dirty(id) }
    }

    /// Changes the value of a key in place. What turns from a value into `None` is deleted, with
    /// the value's own time; what stays `None` is no change.
    #[inline]
    pub(crate) fn update<R>(
        &mut self,
        key: &K,
        change: impl FnOnce(&mut Option<Stamped<V>>) -> R,
    ) -> Result<R> {
        Ok(self.update_noted(key, |row, _| change(row))?.0)
    }

    /// As [`update`](Self::update), with a mark that stays with the key until it is flushed. The
    /// row can be read again, without a look-up, by the id that is returned, until the next flush.
    #[inline]
    pub(crate) fn update_noted<R>(
        &mut self,
        key: &K,
        change: impl FnOnce(&mut Option<Stamped<V>>, &mut bool) -> R,
    ) -> Result<(R, SlotId)> {
        let id = match self.cache.find(key) {
            Some(id) => id,
            None => self.load(key)?,
        };
        let cell = &mut self.cache.slot_mut(id).payload;
        let before = cell.row.as_ref().map(|row| row.timestamp);
        let result = change(&mut cell.row, &mut cell.noted);
        if let (Some(timestamp), None) = (before, &cell.row) {
            cell.deleted_at = timestamp;
        }
        if !cell.dirty && (before.is_some() || cell.row.is_some()) {
            self.mark_dirty(id)?;
        }
        Ok((result, id))
    }

    /// A key that was changed since the last flush, and its row.
    pub(crate) fn changed_row(&self, id: SlotId) -> (&K, Option<&Stamped<V>>) {
        let slot = self.cache.slot(id);
        debug_assert!(slot.payload.dirty, "the row of a key that has not changed may be evicted");
        (&slot.key, slot.payload.row.as_ref())
    }

    /// Reads the rows of keys that are soon to be looked up.
    pub(crate) fn warm<'k>(&self, keys: impl Iterator<Item = &'k K>) {
        self.cache.warm(keys, |cell| u64::from(cell.dirty));
    }

    /// Shows the rows of a range in the order of their serialised keys, until the visitor breaks.
    pub(crate) fn scan(
        &mut self,
        (from, to): (Bound<&K>, Bound<&K>),
        direction: Direction,
        visit: &mut VisitRow<'_, K, V>,
    ) -> Result<()> {
        let (mut from_bytes, mut to_bytes) = (Vec::new(), Vec::new());
        let from = self.encode_bound(from, &mut from_bytes)?;
        let to = self.encode_bound(to, &mut to_bytes)?;
        self.scan_bytes((from, to), direction, visit)
    }

    /// As [`scan`](Self::scan), of a range of serialised keys.
    pub(crate) fn scan_bytes(
        &mut self,
        range: (Bound<&[u8]>, Bound<&[u8]>),
        direction: Direction,
        visit: &mut VisitRow<'_, K, V>,
    ) -> Result<()> {
        if super::backend::is_void(range) {
            return Ok(());
        }
        if self.overlay.is_none() {
            self.overlay = Some(self.pinned_by_key()?);
        }
        let overlay = self.overlay.iter().flat_map(|overlay| overlay.range::<[u8], _>(range));
        let memory = overlay.map(|(key, id)| (key.as_slice(), *id));
        match direction {
            Direction::Ascending => self.scan_over(range, direction, memory, visit),
            Direction::Descending => {
                let reversed: Vec<_> = memory.collect();
                self.scan_over(range, direction, reversed.into_iter().rev(), visit)
            }
        }
    }

    fn scan_over<'m>(
        &self,
        range: (Bound<&[u8]>, Bound<&[u8]>),
        direction: Direction,
        memory: impl Iterator<Item = (&'m [u8], SlotId)>,
        visit: &mut VisitRow<'_, K, V>,
    ) -> Result<()> {
        let backend = self.handle.backend.borrow();
        let source = (&**backend, self.handle.index);
        merged_scan(source, range, direction, memory, |row| {
            let flow = match row {
                Merged::Memory(_, id) => {
                    let slot = self.cache.slot(id);
                    let Some(row) = &slot.payload.row else { return ControlFlow::Continue(()) };
                    visit(&slot.key, &row.value, row.timestamp)
                }
                Merged::Backend(key, row) => match self.decode(key, row) {
                    Ok((key, row)) => visit(&key, &row.value, row.timestamp),
                    Err(error) => return ControlFlow::Break(Err(error)),
                },
            };
            if flow.is_break() { ControlFlow::Break(Ok(())) } else { ControlFlow::Continue(()) }
        })
    }

    /// How many keys there are, roughly: exact while all of them are cached, else those that are
    /// committed, which takes a scan.
    pub(crate) fn approximate_len(&self) -> Result<usize> {
        if self.cache.is_complete() {
            return Ok(self.cache.len());
        }
        let mut count = 0;
        let all = (Bound::Unbounded, Bound::Unbounded);
        let backend = self.handle.backend.borrow();
        backend.scan(self.handle.index, all, Direction::Ascending, &mut |_, _| {
            count += 1;
            ControlFlow::Continue(())
        })?;
        Ok(count)
    }

    #[cfg(test)]
    pub(super) fn cache_is_complete(&self) -> bool {
        self.cache.is_complete()
    }

    #[cfg(test)]
    pub(super) fn cached_keys(&self) -> usize {
        self.cache.len()
    }

    /// Caches a key that is not cached, with its row in the backend if it has one.
    #[cold]
    #[inline(never)]
    fn load(&mut self, key: &K) -> Result<SlotId> {
        if self.cache.is_complete() {
            return Ok(self.cache.insert(key.clone(), Cell::empty(), None));
        }
        self.cache.missed();
        let mut key_bytes = std::mem::take(&mut self.scratch);
        key_bytes.clear();
        self.encode_key(key, &mut key_bytes)?;
        let mut row_bytes = Vec::new();
        let backend = self.handle.backend.borrow();
        let found = backend.get(self.handle.index, &key_bytes, &mut row_bytes)?;
        drop(backend);
        let bytes = key_bytes.len() + row_bytes.len();
        self.scratch = key_bytes;
        let row = if found { Some(self.decode_row(&row_bytes)?) } else { None };
        Ok(self.cache.insert(key.clone(), Cell { row, ..Cell::empty() }, Some(bytes)))
    }

    #[cold]
    #[inline(never)]
    fn mark_dirty(&mut self, id: SlotId) -> Result<()> {
        if self.dirty.len().is_multiple_of(ROWS_PER_SAMPLE) {
            self.sample(id);
        }
        if self.cache.slot(id).payload.row.is_some() {
            self.cache.assumed_typical(id);
        }
        let slot = self.cache.slot_mut(id);
        slot.payload.dirty = true;
        slot.pins += 1;
        self.dirty_bytes += Cache::<K, Cell<V>>::cost(slot.bytes);
        self.dirty.push(id);
        if self.overlay.is_some() {
            let key = self.key_of(id)?;
            self.overlay.as_mut().map(|overlay| overlay.insert(key, id));
        }
        Ok(())
    }

    /// Measures a row. One that cannot be serialised fails the flush.
    fn sample(&mut self, id: SlotId) {
        let Slot { key, payload, .. } = self.cache.slot(id);
        self.scratch.clear();
        let measured = self.codecs.key.encode(key, &mut self.scratch).and_then(|()| {
            let Some(row) = &payload.row else { return Ok(()) };
            begin_row(row.timestamp, &mut self.scratch);
            self.codecs.value.encode(&row.value, &mut self.scratch)
        });
        if measured.is_ok() {
            self.cache.measured(id, self.scratch.len());
        }
    }

    fn pinned_by_key(&self) -> Result<BTreeMap<Vec<u8>, SlotId>> {
        let pinned = self.dirty.iter().chain(&self.in_flight);
        pinned.map(|id| Ok((self.key_of(*id)?, *id))).collect()
    }

    fn key_of(&self, id: SlotId) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.encode_key(&self.cache.slot(id).key, &mut bytes)?;
        Ok(bytes)
    }

    fn encode_bound<'a>(
        &self,
        bound: Bound<&K>,
        bytes: &'a mut Vec<u8>,
    ) -> Result<Bound<&'a [u8]>> {
        let (Bound::Included(key) | Bound::Excluded(key)) = bound else {
            return Ok(Bound::Unbounded);
        };
        self.encode_key(key, bytes)?;
        Ok(bound.map(|_| bytes.as_slice()))
    }

    fn encode_key(&self, key: &K, out: &mut Vec<u8>) -> Result<()> {
        self.codecs
            .key
            .encode(key, out)
            .map_err(|cause| self.handle.codec_error("a key cannot be serialised", cause))
    }

    fn decode(&self, key: &[u8], row: &[u8]) -> Result<(K, Stamped<V>)> {
        let key = self.codecs.key.decode(key).map_err(|cause| {
            self.handle.codec_error("a stored key cannot be read by its codec", cause)
        })?;
        Ok((key, self.decode_row(row)?))
    }

    fn decode_row(&self, row: &[u8]) -> Result<Stamped<V>> {
        let (timestamp, value) =
            split_row(row).ok_or_else(|| self.handle.damaged("a row is too short"))?;
        let value = self.codecs.value.decode(value).map_err(|cause| {
            self.handle.codec_error("a stored value cannot be read by its codec", cause)
        })?;
        Ok(Stamped { value, timestamp })
    }

    fn sort_dirty(&self, sorted: &mut SortedKeys) -> Result<()> {
        sorted.clear();
        for id in &self.dirty {
            sorted.push(*id, |out| self.encode_key(&self.cache.slot(*id).key, out))?;
        }
        sorted.sort();
        Ok(())
    }
}

impl<V> Cell<V> {
    const fn empty() -> Self {
        Self { row: None, deleted_at: Timestamp::ZERO, dirty: false, noted: false }
    }
}

impl<K: Data + Eq + Hash, V: Data> Store for KeyValueStore<K, V> {
    fn flush(&mut self, changelog: &mut Changelog<'_>, batch: &mut WriteBatch) -> Result<()> {
        let mut sorted = std::mem::take(&mut self.sorted);
        self.sort_dirty(&mut sorted)?;
        for (id, key) in sorted.iter() {
            let cell = &mut self.cache.slot_mut(id).payload;
            cell.dirty = false;
            cell.noted = false;
            let row = if let Some(row) = &cell.row {
                self.scratch.clear();
                begin_row(row.timestamp, &mut self.scratch);
                self.codecs.value.encode(&row.value, &mut self.scratch).map_err(|cause| {
                    self.handle.codec_error("a value cannot be serialised", cause)
                })?;
                Some(self.scratch.as_slice())
            } else {
                None
            };
            if self.handle.changelog {
                let timestamp = cell.row.as_ref().map_or(cell.deleted_at, |row| row.timestamp);
                changelog(timestamp, key, row.map(row_value));
            }
            batch.put(self.handle.index, key, row);
            self.cache.measured(id, key.len() + row.map_or(0, <[u8]>::len));
        }
        self.sorted = sorted;
        self.in_flight.append(&mut self.dirty);
        self.dirty_bytes = 0;
        Ok(())
    }

    fn settled(&mut self) {
        for id in self.in_flight.drain(..) {
            let slot = self.cache.slot_mut(id);
            slot.pins = slot.pins.checked_sub(1).expect("a flushed slot is pinned");
        }
        self.overlay = None;
        self.cache.evict_all_due();
    }

    fn dirty_bytes(&self) -> usize {
        self.dirty_bytes
    }

    fn cache_counts(&self) -> CacheCounts {
        self.cache.counts()
    }
}
