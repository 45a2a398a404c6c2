//! How does a store get its rows back from its changelog?
//!
//! The restorer reads; this takes what was read, without any I/O but the backend's. Records are
//! collected up to a bound, sorted, and loaded in one run, where the last record of a key wins; a
//! run that is loaded moves the store's offset along. So a restore that is interrupted goes on
//! where it was, and never needs more memory than the bound: the part of the memory for live values
//! that the store will have when it is open.
//!
//! A store is restored to the *end offset* of its changelog as it was when the task was taken over:
//! the high watermark, also where only committed records are read. Its reader is there once it has
//! passed every transaction that was still open then.
//!
//! # Invariants
//!
//! - A position never exceeds what was read, and an offset never what was loaded.
//! - Rows of windows and sessions come with their entry in the time index. What had expired before
//!   the newest record of the changelog, or is known to have, is left out.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::log::{RecordBatch, RecordView};
use crate::state::key_codec::{
    Layout, SortedKeys, begin_row, row_prefix, row_suffix, time_key, write_escaped,
};
use crate::state::{Backend, BytesLimit, StateError, StoreIndex, WriteBatch};
use crate::time::{Timestamp, millis};
use crate::topology::StoreSpec;

/// How many bytes of rows a store collects before they are loaded. Within that its part of the
/// memory decides: shorter runs would be a file for every batch, longer ones gain nothing.
const RUN_BYTES: RangeInclusive<usize> = 256 * 1024..=32 * 1024 * 1024;

/// A store and the part of its changelog that it lacks.
#[derive(Debug)]
pub(crate) struct StoreToRestore {
    pub(crate) index: StoreIndex,
    pub(crate) spec: StoreSpec,
    pub(crate) start: i64,
    pub(crate) end: i64,
    /// Rows of places before this are known to have expired.
    pub(crate) kept_since: Option<Timestamp>,
    /// How much of it may wait in memory to be loaded.
    pub(crate) run_limit: BytesLimit,
}

/// The restoring of one task's stores.
pub(crate) struct Restore {
    backend: Box<dyn Backend>,
    stores: BTreeMap<StoreIndex, RestoringStore>,
    restored: u64,
    run_bytes: RangeInclusive<usize>,
}

struct RestoringStore {
    index: StoreIndex,
    name: String,
    /// Of a store with a time: how its changelog's keys end, and how long its rows are kept.
    timed: Option<(Layout, Duration)>,
    start: i64,
    end: i64,
    /// The offset of the next record to take.
    position: i64,
    run: Run,
    run_limit: BytesLimit,
    /// The latest place seen: it says what has expired.
    latest: i64,
    kept_since: i64,
    escaped: Vec<u8>,
}

/// Rows on their way to a load.
#[derive(Default)]
struct Run {
    keys: SortedKeys,
    values: Vec<u8>,
    /// By item of `keys`.
    rows: Vec<RunRow>,
}

struct RunRow {
    /// Where the row begins in `values`, and its length; `None` deletes.
    value: Option<(usize, usize)>,
    /// The time of its place; nothing for rows that do not expire.
    time: Option<i64>,
}

impl Restore {
    pub(crate) fn new(backend: Box<dyn Backend>, stores: Vec<StoreToRestore>) -> Self {
        Self::with_run_bytes(backend, stores, RUN_BYTES)
    }

    pub(super) fn with_run_bytes(
        backend: Box<dyn Backend>,
        stores: Vec<StoreToRestore>,
        run_bytes: RangeInclusive<usize>,
    ) -> Self {
        let stores = stores.into_iter().map(|store| (store.index, RestoringStore::new(store)));
        Self { backend, stores: stores.collect(), restored: 0, run_bytes }
    }

    /// The offset of the next record that a store needs.
    #[cfg(test)]
    pub(super) fn next_position(&self, store: StoreIndex) -> Option<i64> {
        self.stores.get(&store).map(|store| store.position)
    }

    /// Takes a fetched batch of a store's changelog. What is behind the end is taken too: it is
    /// committed, and the task's own writes come after it.
    pub(crate) fn batch(
        &mut self,
        store: StoreIndex,
        batch: &RecordBatch,
    ) -> Result<(), StateError> {
        let Some(store) = self.stores.get_mut(&store) else { return Ok(()) };
        for record in batch.records() {
            let record = record.map_err(|error| {
                StateError::Changelog(format!("store `{}`: {error}", store.name))
            })?;
            if record.offset >= store.position {
                self.restored += 1;
                store.take(&record)?;
            }
        }
        store.position = store.position.max(batch.next_offset());
        let part = store.run_limit.bytes();
        if store.run.size_bytes() >= part.clamp(*self.run_bytes.start(), *self.run_bytes.end()) {
            store.load(&mut *self.backend)?;
        }
        Ok(())
    }

    /// The reader has seen everything before `position`, control records among it.
    pub(crate) fn caught_up(&mut self, store: StoreIndex, position: i64) {
        if let Some(store) = self.stores.get_mut(&store) {
            store.position = store.position.max(position);
        }
    }

    /// Whether every store is where its changelog ended when the restore began.
    pub(crate) fn is_done(&self) -> bool {
        self.stores.values().all(|store| store.position >= store.end)
    }

    /// Bytes that a store has collected and not loaded.
    #[cfg(test)]
    pub(super) fn collected_bytes(&self, store: StoreIndex) -> usize {
        self.stores.get(&store).map_or(0, |store| store.run.size_bytes())
    }

    /// How many records have been taken.
    pub(crate) fn restored(&self) -> u64 {
        self.restored
    }

    /// How many offsets a store still lacks.
    pub(crate) fn remaining(&self, store: StoreIndex) -> u64 {
        let left = |store: &RestoringStore| store.end.saturating_sub(store.position).max(0);
        self.stores.get(&store).map_or(0, left) as u64
    }

    /// How many offsets lie behind the restore, and how many there are in all.
    pub(crate) fn progress(&self) -> (u64, u64) {
        let behind = |store: &RestoringStore| store.position.min(store.end) - store.start;
        let stores = self.stores.values();
        let passed: i64 = stores.clone().map(|store| behind(store).max(0)).sum();
        let total: i64 = stores.map(|store| (store.end - store.start).max(0)).sum();
        (passed as u64, total as u64)
    }

    /// Loads what has been taken and gives the backend back, whether the restore is done or not.
    pub(crate) fn finish(mut self) -> Result<Box<dyn Backend>, StateError> {
        let mut offsets = WriteBatch::default();
        for (index, store) in &mut self.stores {
            store.load(&mut *self.backend)?;
            offsets.set_offset(*index, store.position);
        }
        self.backend.write(&offsets)?;
        Ok(self.backend)
    }
}

impl RestoringStore {
    fn new(store: StoreToRestore) -> Self {
        let StoreToRestore { index, spec, start, end, kept_since, run_limit } = store;
        let timed = Layout::of(spec.kind);
        Self {
            index,
            name: spec.name.to_string(),
            timed,
            start,
            end,
            position: start,
            run: Run::default(),
            run_limit,
            latest: i64::MIN,
            kept_since: kept_since.map_or(i64::MIN, Timestamp::as_millis),
            escaped: Vec::new(),
        }
    }

    fn take(&mut self, record: &RecordView<'_>) -> Result<(), StateError> {
        let key = record.key.unwrap_or_default();
        let value = record.value.map(|value| self.run.stamp(record, value));
        let Some((layout, _)) = self.timed else {
            self.run.push(RunRow { value, time: None }, |out| out.extend_from_slice(key));
            return Ok(());
        };
        let Some((key, place)) = layout.split_place(key) else {
            let name = &self.name;
            return Err(StateError::Changelog(format!(
                "the changelog of store `{name}` has a key without a time at offset {}; does the \
                 topic belong to another store?",
                record.offset
            )));
        };
        self.latest = self.latest.max(place.time);
        self.escaped.clear();
        write_escaped(key, &mut self.escaped);
        let (escaped, time) = (&self.escaped, Some(place.time));
        self.run.push(RunRow { value, time }, |out| {
            row_prefix(key, out);
            row_suffix(place, out);
        });
        let entry = value.map(|(start, _)| (start, 0));
        self.run.push(RunRow { value: entry, time }, |out| time_key(escaped, place, out));
        Ok(())
    }

    /// Loads the collected rows, and the offset behind them.
    fn load(&mut self, backend: &mut dyn Backend) -> Result<(), StateError> {
        if self.run.rows.is_empty() {
            return Ok(());
        }
        let expired = match self.timed {
            Some((_, retention)) => {
                self.latest.saturating_sub(millis(retention)).max(self.kept_since)
            }
            None => i64::MIN,
        };
        self.run.keys.sort();
        backend.load(self.index, &mut self.run.newest(expired), self.position)?;
        self.run.clear();
        Ok(())
    }
}

impl RunRow {
    /// A deletion is kept always: an earlier run may have loaded the row.
    fn is_kept(&self, expired: i64) -> bool {
        self.value.is_none() || self.time.is_none_or(|time| time >= expired)
    }
}

impl Run {
    /// Appends a backend row; returns where it is.
    fn stamp(&mut self, record: &RecordView<'_>, value: &[u8]) -> (usize, usize) {
        let start = self.values.len();
        begin_row(record.timestamp, &mut self.values);
        self.values.extend_from_slice(value);
        (start, self.values.len() - start)
    }

    fn push(&mut self, row: RunRow, key: impl FnOnce(&mut Vec<u8>)) {
        let item = u32::try_from(self.rows.len()).expect("a run is loaded before it is that long");
        self.rows.push(row);
        let Ok(()) = self.keys.push(item, |out| {
            key(out);
            Ok::<_, Infallible>(())
        });
    }

    /// The last row of each key, ascending by key, without those that have expired.
    fn newest(&self, expired: i64) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        let mut keys = self.keys.iter().peekable();
        let newest = std::iter::from_fn(move || {
            let mut newest = keys.next()?;
            while let Some(later) = keys.next_if(|(_, key)| *key == newest.1) {
                newest = later;
            }
            Some(newest)
        });
        let rows = newest.map(|(item, key)| (&self.rows[item as usize], key));
        let rows = rows.filter(move |(row, _)| row.is_kept(expired));
        rows.map(|(row, key)| {
            (key, row.value.map(|(start, length)| &self.values[start..start + length]))
        })
    }

    fn size_bytes(&self) -> usize {
        self.keys.size_bytes() + self.values.len() + self.rows.len() * size_of::<RunRow>()
    }

    fn clear(&mut self) {
        self.keys.clear();
        self.values.clear();
        self.rows.clear();
    }
}
