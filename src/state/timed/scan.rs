//! What lies in a stretch of time, or in a stretch of keys? Scans over the rows of many keys.

use std::hash::Hash;
use std::ops::{Bound, ControlFlow};

use crate::error::{Error, Result};
use crate::record::Data;
use crate::state::Direction;
use crate::state::cache::SlotId;
use crate::state::key_codec::{
    Place, ROWS_FROM, SortedKeys, TIMES_FROM, row_prefix, row_suffix, split_row_key,
    split_time_key, time_key, time_prefix, unescape, write_escaped,
};
use crate::state::merge::{Merged, merged_scan};
use crate::time::Timestamp;

use super::{Stamped, TimedStore, find};

/// Shows one row of a scan over keys.
pub(in crate::state) type VisitTimed<'a, K, V> =
    dyn FnMut(&K, Place, &V, Timestamp) -> ControlFlow<()> + 'a;

impl<K: Data + Eq + Hash, V: Data> TimedStore<K, V> {
    /// Raises the floor: rows with an earlier time leave the store. They are shown to `visit`, in
    /// the order of time and key bytes.
    pub(in crate::state) fn expire(
        &mut self,
        before: i64,
        visit: Option<&mut dyn FnMut(&K, Place, &V, Timestamp)>,
    ) -> Result<()> {
        if before <= self.floor {
            return Ok(());
        }
        if let Some(visit) = visit {
            let to = before - 1;
            self.scan_by_time((self.floor, to), &mut |key, place, value, timestamp| {
                visit(key, place, value, timestamp);
                ControlFlow::Continue(())
            })?;
        }
        self.floor = before;
        Ok(())
    }

    /// The largest time of a row in the backend.
    pub(in crate::state) fn latest_stored(&self) -> Result<Option<i64>> {
        let mut latest = Ok(None);
        let times = (Bound::Included(TIMES_FROM), Bound::Unbounded);
        let backend = self.handle.backend.borrow();
        backend.scan(self.handle.index, times, Direction::Descending, &mut |time_key, _| {
            latest = split_time_key(time_key)
                .map(|(_, place)| Some(place.time))
                .ok_or_else(|| self.handle.damaged("the time index holds what is no key"));
            ControlFlow::Break(())
        })?;
        latest
    }

    /// Shows the visible rows whose times lie in a range, both ends included, in the order of time
    /// and key bytes.
    pub(in crate::state) fn scan_by_time(
        &self,
        (from, to): (i64, i64),
        visit: &mut VisitTimed<'_, K, V>,
    ) -> Result<()> {
        let from = from.max(self.floor);
        if from > to {
            return Ok(());
        }
        let fresh = self.fresh_by_time(from, to)?;
        let (mut from_key, mut to_key) = (Vec::new(), Vec::new());
        time_prefix(from, &mut from_key);
        let to_bound = if to == i64::MAX {
            Bound::Unbounded
        } else {
            time_prefix(to + 1, &mut to_key);
            Bound::Excluded(to_key.as_slice())
        };
        let range = (Bound::Included(from_key.as_slice()), to_bound);
        let backend = self.handle.backend.borrow();
        let memory = fresh.iter().map(|(_, key)| (key, ()));
        let mut last = Vec::new();
        merged_scan((&**backend, self.handle.index), range, Direction::Ascending, memory, |row| {
            let (Merged::Memory(time_key, ()) | Merged::Backend(time_key, _)) = row;
            // A row that was created, deleted and created again stands twice among the fresh.
            if last == time_key {
                return ControlFlow::Continue(());
            }
            time_key.clone_into(&mut last);
            done(self.show_by_time(time_key, visit))
        })
    }

    fn show_by_time(
        &self,
        time_key: &[u8],
        visit: &mut VisitTimed<'_, K, V>,
    ) -> Result<ControlFlow<()>> {
        let damaged = || self.handle.damaged("the time index holds what is no key");
        let (escaped, place) = split_time_key(time_key).ok_or_else(damaged)?;
        let mut bytes = Vec::new();
        unescape(escaped, &mut bytes).ok_or_else(damaged)?;
        let key = self.decode_key(&bytes)?;
        if let Some(id) = self.cache.find(&key) {
            return Ok(self.show_cached(id, place, visit));
        }
        let (mut row_key, mut row) = (Vec::new(), Vec::new());
        row_prefix(&bytes, &mut row_key);
        row_suffix(place, &mut row_key);
        if !self.handle.backend.borrow().get(self.handle.index, &row_key, &mut row)? {
            return Err(self.handle.damaged("the time index names a row that is not there"));
        }
        let Stamped { value, timestamp } = self.decode_content(&row)?;
        Ok(visit(&key, place, &value, timestamp))
    }

    fn show_cached(
        &self,
        id: SlotId,
        place: Place,
        visit: &mut VisitTimed<'_, K, V>,
    ) -> ControlFlow<()> {
        let slot = self.cache.slot(id);
        let row = find(&slot.payload, place).ok().map(|index| &slot.payload[index]);
        match row.and_then(|row| row.content.as_ref()) {
            Some(content) => visit(&slot.key, place, &content.value, content.timestamp),
            None => ControlFlow::Continue(()),
        }
    }

    /// The time-index keys of rows that the backend's index may not have.
    fn fresh_by_time(&self, from: i64, to: i64) -> Result<SortedKeys> {
        let mut keys = SortedKeys::default();
        let mut escaped = Vec::new();
        let rows = self.fresh_in_flight.range(from..=to).chain(self.fresh.range(from..=to));
        for (time, rows) in rows {
            for (id, second) in rows {
                let bytes = self.key_bytes(&self.cache.slot(*id).key)?;
                escaped.clear();
                write_escaped(&bytes, &mut escaped);
                keys.push(*id, |out| {
                    time_key(&escaped, Place { time: *time, second: *second }, out);
                    Ok::<_, Error>(())
                })?;
            }
        }
        keys.sort();
        Ok(keys)
    }

    /// Shows the visible rows of a range of keys, in the order of key bytes and place.
    pub(in crate::state) fn scan(
        &self,
        (from, to): (Bound<&K>, Bound<&K>),
        visit: &mut VisitTimed<'_, K, V>,
    ) -> Result<()> {
        let (from, to) = (self.start_bound(from)?, self.to_bound(to)?);
        let range = (Bound::Included(from.as_slice()), Bound::Excluded(to.as_slice()));
        if from >= to {
            return Ok(());
        }
        let changed = self.changed_by_key()?;
        let memory = changed.iter().filter(|(_, key)| (from.as_slice()..&to).contains(key));
        let memory = memory.map(|(id, key)| (key, id));
        let backend = self.handle.backend.borrow();
        let mut last = Vec::new();
        merged_scan((&**backend, self.handle.index), range, Direction::Ascending, memory, |row| {
            done(match row {
                Merged::Memory(row_key, _) if last == row_key => Ok(ControlFlow::Continue(())),
                Merged::Memory(row_key, id) => {
                    row_key.clone_into(&mut last);
                    let (_, place) = split_row_key(row_key).expect("made from a place");
                    if place.time < self.floor {
                        Ok(ControlFlow::Continue(()))
                    } else {
                        Ok(self.show_cached(id, place, visit))
                    }
                }
                Merged::Backend(row_key, row) => self.show_by_key(row_key, row, visit),
            })
        })
    }

    fn show_by_key(
        &self,
        row_key: &[u8],
        row: &[u8],
        visit: &mut VisitTimed<'_, K, V>,
    ) -> Result<ControlFlow<()>> {
        let damaged = || self.handle.damaged("a row's key is no key");
        let (escaped, place) = split_row_key(row_key).ok_or_else(damaged)?;
        if place.time < self.floor {
            return Ok(ControlFlow::Continue(()));
        }
        let mut bytes = Vec::new();
        unescape(escaped, &mut bytes).ok_or_else(damaged)?;
        let Stamped { value, timestamp } = self.decode_content(row)?;
        Ok(visit(&self.decode_key(&bytes)?, place, &value, timestamp))
    }

    /// The backend keys of all rows that changed since the last settled commit.
    fn changed_by_key(&self) -> Result<SortedKeys> {
        let mut keys = SortedKeys::default();
        for (id, place) in self.in_flight.iter().chain(&self.dirty) {
            let bytes = self.key_bytes(&self.cache.slot(*id).key)?;
            keys.push(*id, |out| {
                row_prefix(&bytes, out);
                row_suffix(*place, out);
                Ok::<_, Error>(())
            })?;
        }
        keys.sort();
        Ok(keys)
    }

    fn start_bound(&self, bound: Bound<&K>) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        match bound {
            Bound::Unbounded => bytes.extend_from_slice(ROWS_FROM),
            Bound::Included(key) => row_prefix(&self.key_bytes(key)?, &mut bytes),
            Bound::Excluded(key) => self.behind_rows_of(key, &mut bytes)?,
        }
        Ok(bytes)
    }

    fn to_bound(&self, bound: Bound<&K>) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        match bound {
            Bound::Unbounded => bytes.extend_from_slice(TIMES_FROM),
            Bound::Included(key) => self.behind_rows_of(key, &mut bytes)?,
            Bound::Excluded(key) => row_prefix(&self.key_bytes(key)?, &mut bytes),
        }
        Ok(bytes)
    }

    /// The smallest bytes behind every row of a key.
    fn behind_rows_of(&self, key: &K, out: &mut Vec<u8>) -> Result<()> {
        row_prefix(&self.key_bytes(key)?, out);
        row_suffix(Place { time: i64::MAX, second: i64::MAX }, out);
        out.push(0);
        Ok(())
    }

    pub(super) fn decode_key(&self, bytes: &[u8]) -> Result<K> {
        self.key.decode(bytes).map_err(|cause| {
            self.handle.codec_error("a stored key cannot be read by its codec", cause)
        })
    }
}

/// A visitor's answer as a merged scan takes it.
fn done(shown: Result<ControlFlow<()>>) -> ControlFlow<Result<()>> {
    match shown {
        Ok(ControlFlow::Continue(())) => ControlFlow::Continue(()),
        Ok(ControlFlow::Break(())) => ControlFlow::Break(Ok(())),
        Err(error) => ControlFlow::Break(Err(error)),
    }
}
