//! Folds the records of each key and each sliding window into one value.
//!
//! - Stored: under key and window start the aggregate, stamped with the largest timestamp of its
//!   records. The changelog holds the same, once per dirty row and commit.
//! - A record is late when every window that could hold it is closed. Closed windows of a record in
//!   time are updated in the store, since later windows are made from them, but not sent.

use std::cell::{Cell, RefCell};
use std::hash::Hash;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{BoxError, Result};
use crate::operator::build::{Build, FlushResults, Output, Shared, TaskBuilder};
use crate::operator::push::{Cx, Drop, Edge, FailureStage, Push};
use crate::operator::window_aggregate::list_open_windows;
use crate::operator::window_lookup::WindowedStore;
use crate::operator::windowed_results::{Folded, Wanted, WindowedResults};
use crate::record::{Change, Data, Record};
use crate::state::{Direction, Duplicates, Stamped, WindowStore};
use crate::time::Timestamp;
use crate::topology::NodeId;
use crate::window::sliding::{SlidingBase, SlidingRow, SlidingUpdate};
use crate::window::{Emit, SlidingWindows, Windowed};

/// Factory of an aggregation by key and sliding window.
pub(crate) struct SlidingAggregate<F, K, A> {
    pub(crate) windows: SlidingWindows,
    pub(crate) store: WindowedStore<K, A>,
    pub(crate) retention: Duration,
    pub(crate) emit: Emit,
    pub(crate) fold: Arc<F>,
    pub(crate) output: Arc<Output<Windowed<K>, Change<A>>>,
}

struct SlidingAggregateOp<F, K, A> {
    windows: SlidingWindows,
    retention: Duration,
    node: NodeId,
    fold: Arc<F>,
    store: Shared<WindowStore<K, A>>,
    results: WindowedResults<K, A>,
    /// The largest timestamp that has come here; survives with the commit.
    time: Rc<Cell<Timestamp>>,
}

impl<F, K: Data + Eq + Hash, V: Data, A: Data> Build<K, V> for SlidingAggregate<F, K, A>
where
    F: Fn(&K, V, &mut Option<A>) -> Result<(), BoxError> + Send + Sync + 'static,
{
    fn build(&self, task: &mut TaskBuilder) -> Edge<K, V> {
        let node = self.output.node();
        let store = self.store.windows(task, Duplicates::Replaced);
        let rows = Box::new(Rc::clone(&store));
        let results = WindowedResults::new(task, &self.output, rows, &self.store, self.emit);
        let time = task.observed_time(node);
        let (windows, retention) = (self.windows, self.retention);
        let fold = Arc::clone(&self.fold);
        let operator = SlidingAggregateOp { windows, retention, node, fold, store, results, time };
        let operator = Rc::new(RefCell::new(operator));
        task.flush_at_commit(node, Rc::clone(&operator) as Shared<dyn FlushResults>);
        Box::new(operator)
    }
}

impl<F, K: Data + Eq + Hash, V: Data, A: Data> Push<K, V> for SlidingAggregateOp<F, K, A>
where
    F: Fn(&K, V, &mut Option<A>) -> Result<(), BoxError>,
{
    fn push(&mut self, cx: &mut Cx<'_>, record: Record<K, V>) -> Result<()> {
        self.list_open_windows()?;
        let now = self.time.get().max(record.timestamp);
        self.time.set(now);
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

impl<F, K: Data + Eq + Hash, A: Data> SlidingAggregateOp<F, K, A> {
    fn list_open_windows(&mut self) -> Result<()> {
        let closed_until = self.windows.closed_until(self.time.get());
        list_open_windows(&self.store, &mut self.results, closed_until, |start| {
            self.windows.window_at(start)
        })
    }

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
        let is_closed = self.windows.is_closed(window, self.time.get());
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
            Ok(folded)
        })?;
        Ok(folded.map(|folded| (!is_closed).then_some(folded)))
    }
}

impl<F, K: Data + Eq + Hash, A: Data> FlushResults for SlidingAggregateOp<F, K, A> {
    fn flush_results(&mut self, cx: &mut Cx<'_>) -> Result<()> {
        self.results.flush(cx)?;
        self.store.borrow_mut().expire(self.time.get() - self.retention, None)
    }
}
