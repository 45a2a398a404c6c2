//! What does a commit write? Dirty rows, the time index, and the deletion of what has expired.

use std::hash::Hash;
use std::ops::{Bound, ControlFlow};

use crate::error::{Error, Result};
use crate::record::Data;
use crate::state::cache::SlotId;
use crate::state::key_codec::{
    SortedKeys, begin_row, row_prefix, row_suffix, row_value, split_row_key, split_time_key,
    time_key, time_prefix, unescape,
};
use crate::state::{Changelog, Direction, Store, WriteBatch};

use super::{Row, TimedStore, find};
use crate::state::CacheCounts;

/// Rows that one flush deletes at most because they have expired; the next goes on behind them.
const SWEEP_ROWS_MAX: usize = 65_536;

/// What becomes of a key of the second half of a flush.
const DELETE: u32 = 0;
const INDEX: u32 = 1;

impl<K: Data + Eq + Hash, V: Data> TimedStore<K, V> {
    fn sort_dirty(&self, sorted: &mut SortedKeys) -> Result<()> {
        sorted.clear();
        let mut key = Vec::new();
        for (item, (id, place)) in self.dirty.iter().enumerate() {
            key.clear();
            self.encode_key(&self.cache.slot(*id).key, &mut key)?;
            sorted.push(item as u32, |out| {
                row_prefix(&key, out);
                row_suffix(*place, out);
                Ok::<_, Error>(())
            })?;
        }
        sorted.sort();
        Ok(())
    }

    /// Writes one dirty row and notes what its place in the time index needs.
    fn flush_row(
        &mut self,
        item: u32,
        row_key: &[u8],
        index_keys: &mut SortedKeys,
        changelog: &mut Changelog<'_>,
        batch: &mut WriteBatch,
    ) -> Result<()> {
        let (id, place) = self.dirty[item as usize];
        let is_visible = place.time >= self.floor;
        let rows = &mut self.cache.slot_mut(id).payload;
        let Ok(index) = find(rows, place) else { return Ok(()) };
        let row = &mut rows[index];
        row.dirty = false;
        if row.content.is_none() && !row.is_stored {
            return Ok(());
        }
        if let Some(content) = &row.content {
            self.scratch.clear();
            begin_row(content.timestamp, &mut self.scratch);
            self.value
                .encode(&content.value, &mut self.scratch)
                .map_err(|cause| self.handle.codec_error("a value cannot be serialised", cause))?;
            self.typical.note(row_key.len() + self.scratch.len());
        }
        let row_bytes = row.content.is_some().then_some(self.scratch.as_slice());
        let (escaped, _) = split_row_key(row_key).expect("a flush makes whole keys");
        if self.handle.changelog {
            let timestamp = row.content.as_ref().map_or(row.deleted_at, |row| row.timestamp);
            let key = &mut self.changelog_key;
            key.clear();
            unescape(escaped, key).expect("a flush escapes its keys");
            self.layout.write_place(place, key);
            changelog(timestamp, key, row_bytes.map(row_value));
        }
        if !is_visible {
            return Ok(());
        }
        batch.put(self.handle.index, row_key, row_bytes);
        if row.is_stored != row.content.is_some() {
            row.is_stored = row.content.is_some();
            index_keys.push(if row.is_stored { INDEX } else { DELETE }, |out| {
                time_key(escaped, place, out);
                Ok::<_, Error>(())
            })?;
        }
        Ok(())
    }

    /// Notes the deletion of the backend's rows below the floor.
    fn sweep(&mut self, deletions: &mut SortedKeys) -> Result<()> {
        let mut to = Vec::new();
        time_prefix(self.floor, &mut to);
        if self.swept >= to {
            return Ok(());
        }
        let from = std::mem::take(&mut self.swept);
        let range = (Bound::Excluded(from.as_slice()), Bound::Excluded(to.as_slice()));
        let mut expired = Vec::new();
        let backend = self.handle.backend.borrow();
        backend.scan(self.handle.index, range, Direction::Ascending, &mut |time_key, _| {
            expired.push(time_key.to_vec());
            if expired.len() < SWEEP_ROWS_MAX {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        })?;
        drop(backend);
        for time_key in &expired {
            self.forget_expired(time_key, deletions)?;
        }
        let is_done = expired.len() < SWEEP_ROWS_MAX;
        self.swept = if is_done { to } else { expired.pop().expect("the sweep met its bound") };
        Ok(())
    }

    fn forget_expired(&mut self, time_key: &[u8], deletions: &mut SortedKeys) -> Result<()> {
        let damaged = || self.handle.damaged("the time index holds what is no key");
        let (escaped, place) = split_time_key(time_key).ok_or_else(damaged)?;
        let mut key = Vec::new();
        unescape(escaped, &mut key).ok_or_else(damaged)?;
        deletions.push(DELETE, |out| {
            out.extend_from_slice(time_key);
            Ok::<_, Error>(())
        })?;
        deletions.push(DELETE, |out| {
            row_prefix(&key, out);
            row_suffix(place, out);
            Ok::<_, Error>(())
        })?;
        let key = self.decode_key(&key)?;
        if let Some(id) = self.cache.find(&key) {
            self.trim(id);
        }
        Ok(())
    }

    /// Drops the rows below the floor from a slot; a change that is not flushed yet stays for its
    /// changelog.
    fn trim(&mut self, id: SlotId) {
        let floor = self.floor;
        let rows = &mut self.cache.slot_mut(id).payload;
        while rows.front().is_some_and(|row| row.place.time < floor && !row.dirty) {
            rows.pop_front();
        }
    }

    /// What the cached rows of a key take, roughly.
    fn measure(&mut self, id: SlotId) {
        let rows = self.cache.slot(id).payload.len();
        let row_bytes = self.typical.bytes();
        self.cache.measured(id, row_bytes + rows * (row_bytes + size_of::<Row<V>>()));
    }

    fn move_fresh_to_flight(&mut self) {
        if self.fresh_in_flight.is_empty() {
            std::mem::swap(&mut self.fresh, &mut self.fresh_in_flight);
            return;
        }
        for (time, mut rows) in std::mem::take(&mut self.fresh) {
            self.fresh_in_flight.entry(time).or_default().append(&mut rows);
        }
    }
}

impl<K: Data + Eq + Hash, V: Data> Store for TimedStore<K, V> {
    fn flush(&mut self, changelog: &mut Changelog<'_>, batch: &mut WriteBatch) -> Result<()> {
        let mut sorted = std::mem::take(&mut self.sorted);
        let mut index_keys = SortedKeys::default();
        self.sort_dirty(&mut sorted)?;
        for (item, row_key) in sorted.iter() {
            self.flush_row(item, row_key, &mut index_keys, changelog, batch)?;
        }
        self.sorted = sorted;
        self.sweep(&mut index_keys)?;
        index_keys.sort();
        for (kind, key) in index_keys.iter() {
            batch.put(self.handle.index, key, (kind == INDEX).then_some(&[]));
        }
        self.in_flight.append(&mut self.dirty);
        self.move_fresh_to_flight();
        Ok(())
    }

    fn settled(&mut self) {
        self.fresh_in_flight.clear();
        let mut touched = std::mem::take(&mut self.in_flight);
        touched.sort_unstable();
        for rows_of_key in touched.chunk_by(|(a, _), (b, _)| a == b) {
            let id = rows_of_key[0].0;
            let slot = self.cache.slot_mut(id);
            let unpinned = rows_of_key.len() as u32;
            slot.pins = slot.pins.checked_sub(unpinned).expect("a flushed row pins its slot");
            for (_, place) in rows_of_key {
                if let Ok(index) = find(&slot.payload, *place)
                    && slot.payload[index].content.is_none()
                    && !slot.payload[index].dirty
                {
                    slot.payload.remove(index);
                }
            }
            self.trim(id);
            self.measure(id);
        }
        touched.clear();
        self.in_flight = touched;
        self.cache.evict_all_due();
    }

    fn dirty_bytes(&self) -> usize {
        self.dirty.len() * (size_of::<Row<V>>() + self.typical.bytes())
    }

    fn cache_counts(&self) -> CacheCounts {
        self.cache.counts()
    }
}
