//! What a record does to an aggregation by sliding windows.
//!
//! A record is late when every window that could hold it is closed. Closed windows of a record in
//! time are updated in the store, since later windows are made from them, but not sent.

use std::hash::Hash;
use std::ops::ControlFlow;

use crate::error::{BoxError, Result};
use crate::operator::push::{Cx, Drop, FailureStage, Push};
use crate::operator::window_aggregate::{WindowAggregateOp, is_restorable};
use crate::operator::windowed_results::{Folded, Wanted};
use crate::record::{Data, Record};
use crate::state::{Direction, Stamped};
use crate::time::Timestamp;
use crate::window::sliding::{SlidingBase, SlidingRow, SlidingUpdate};
use crate::window::{SlidingWindows, Windowed};

impl<F, K: Data + Eq + Hash, V: Data, A: Data> Push<K, V>
    for WindowAggregateOp<SlidingWindows, F, K, A>
where
    F: Fn(&K, V, &mut Option<A>) -> Result<(), BoxError>,
{
    fn push(&mut self, cx: &mut Cx<'_>, record: Record<K, V>) -> Result<()> {
        self.list_open_windows()?;
        let now = self.advance(record.timestamp);
        if self.windows.is_late(record.timestamp, now) {
            cx.count_drop(Drop::Late);
        } else {
            self.fold_in(cx, record)?;
        }
        self.results.release_closed(cx, self.windows.closed_until(now))
    }

    fn warm(&self, records: &[Record<K, V>]) {
        self.store.borrow().warm(records.iter().map(|record| &record.key));
    }
}

impl<F, K: Data + Eq + Hash, A: Data> WindowAggregateOp<SlidingWindows, F, K, A> {
    /// Folds a record into all its windows, those that are there and those that it creates.
    fn fold_in<V: Data>(&mut self, cx: &mut Cx<'_>, record: Record<K, V>) -> Result<()>
    where
        F: Fn(&K, V, &mut Option<A>) -> Result<(), BoxError>,
    {
        let Record { key, value, timestamp } = record;
        let rows = self.rows_around(&key, timestamp)?;
        let updates = self.windows.updates(timestamp, &rows);
        // A copy is of what was there before the record: made before anything is updated.
        let bases: Result<Vec<_>> = updates.iter().map(|u| self.copied_base(&key, u)).collect();
        for (update, base) in updates.iter().zip(bases?) {
            let value = update.adds_record.then(|| value.clone());
            match self.update(&key, update, base, value, timestamp)? {
                Ok(None) => cx.count_drop(Drop::Late),
                Ok(Some(folded)) => {
                    let windowed = Windowed::new(key.clone(), update.window);
                    self.results.updated(cx, windowed, folded)?;
                }
                Err(error) => {
                    cx.fail(self.node, FailureStage::Process, error);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Start and latest timestamp of the windows that decide what a record does.
    fn rows_around(&self, key: &K, timestamp: Timestamp) -> Result<Vec<SlidingRow>> {
        let starts = self.windows.starts_around(timestamp);
        let mut rows = Vec::new();
        let mut store = self.store.borrow_mut();
        store.fetch(key, starts, Direction::Ascending, &mut |start, _, latest| {
            rows.push(SlidingRow { start, latest });
            ControlFlow::Continue(())
        })?;
        Ok(rows)
    }

    fn copied_base(&self, key: &K, update: &SlidingUpdate) -> Result<Option<Stamped<A>>> {
        let SlidingBase::CopyOf(start) = update.base else { return Ok(None) };
        let mut store = self.store.borrow_mut();
        let row = store.get(key, start)?;
        Ok(row.map(|(value, timestamp)| Stamped { value: value.clone(), timestamp }))
    }

    /// Updates or creates one window; nothing to send of a window that is closed.
    fn update<V>(
        &mut self,
        key: &K,
        update: &SlidingUpdate,
        base: Option<Stamped<A>>,
        value: Option<V>,
        timestamp: Timestamp,
    ) -> Result<Result<Option<Folded<A>>, BoxError>>
    where
        F: Fn(&K, V, &mut Option<A>) -> Result<(), BoxError>,
    {
        let window = update.window;
        let is_closed = self.windows.is_closed(window, self.now());
        let wanted = if is_closed {
            Wanted::NOTHING
        } else {
            self.results.wanted(&Windowed::new(key.clone(), window))
        };
        let folded = self.store.borrow_mut().update(key, window.start, |row| {
            let is_own = update.base == SlidingBase::Own;
            let before = if is_own { None } else { std::mem::replace(row, base) };
            let mut folded = self.results.fold_row(row, timestamp, wanted, |total| {
                value.map_or(Ok(()), |value| (self.fold)(key, value, total))
            })?;
            if !is_own {
                folded.existed = before.is_some();
                folded.old = before.filter(|_| wanted.old).map(|row| row.value);
            }
            debug_assert!(is_restorable(row.as_ref(), window), "no row is older than its window");
            Ok(folded)
        })?;
        Ok(folded.map(|folded| (!is_closed).then_some(folded)))
    }
}
