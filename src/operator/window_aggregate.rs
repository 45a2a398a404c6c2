//! Folds the records of each key and each tumbling or hopping window into one value.
//!
//! - Stored: under key and window start the aggregate, stamped with the largest timestamp of its
//!   records. The changelog holds the same, once per dirty row and commit.
//! - A record is dropped from each window that is closed once the record itself has moved the time
//!   (`end + grace <= stream time`), and counted as late for each.
//! - Rows are dropped at a commit, when they are older than the retention and their result has
//!   left.

use std::cell::{Cell, RefCell};
use std::hash::Hash;
use std::ops::{Bound, ControlFlow};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{BoxError, Result};
use crate::operator::build::{Build, FlushResults, Output, Shared, TaskBuilder};
use crate::operator::push::{Cx, Drop, Edge, FailureStage, Push};
use crate::operator::window_lookup::WindowedStore;
use crate::operator::windowed_results::WindowedResults;
use crate::record::{Change, Data, Record};
use crate::state::{Duplicates, WindowStore};
use crate::time::Timestamp;
use crate::topology::NodeId;
use crate::window::{Emit, TimeWindows, Window, Windowed};

/// Factory of an aggregation by key and tumbling or hopping window.
pub(crate) struct WindowAggregate<F, K, A> {
    pub(crate) windows: TimeWindows,
    pub(crate) store: WindowedStore<K, A>,
    pub(crate) retention: Duration,
    pub(crate) emit: Emit,
    pub(crate) fold: Arc<F>,
    pub(crate) output: Arc<Output<Windowed<K>, Change<A>>>,
}

struct WindowAggregateOp<F, K, A> {
    windows: TimeWindows,
    retention: Duration,
    node: NodeId,
    fold: Arc<F>,
    store: Shared<WindowStore<K, A>>,
    results: WindowedResults<K, A>,
    /// The largest timestamp that has come here; survives with the commit.
    time: Rc<Cell<Timestamp>>,
}

impl<F, K: Data + Eq + Hash, V: Data, A: Data> Build<K, V> for WindowAggregate<F, K, A>
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
        let operator = WindowAggregateOp { windows, retention, node, fold, store, results, time };
        let operator = Rc::new(RefCell::new(operator));
        task.flush_at_commit(node, Rc::clone(&operator) as Shared<dyn FlushResults>);
        Box::new(operator)
    }
}

/// Lists, before the first record, the stored windows whose results are still to leave.
pub(crate) fn list_open_windows<K: Data + Eq + Hash, A: Data>(
    store: &Shared<WindowStore<K, A>>,
    results: &mut WindowedResults<K, A>,
    closed_until: Timestamp,
    window_at: impl Fn(Timestamp) -> Window,
) -> Result<()> {
    if !results.must_list_open_windows() {
        return Ok(());
    }
    let mut listed = Ok(());
    let all = (Bound::Unbounded, Bound::Unbounded);
    store.borrow().scan(all, &mut |key, start, _, _| {
        let window = window_at(start);
        if window.end > closed_until {
            listed = results.owe(key, window);
        }
        if listed.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    listed
}

impl<F, K: Data + Eq + Hash, V: Data, A: Data> Push<K, V> for WindowAggregateOp<F, K, A>
where
    F: Fn(&K, V, &mut Option<A>) -> Result<(), BoxError>,
{
    fn push(&mut self, cx: &mut Cx<'_>, record: Record<K, V>) -> Result<()> {
        let Record { key, value, timestamp } = record;
        self.list_open_windows()?;
        let now = self.time.get().max(timestamp);
        self.time.set(now);
        let mut value = Some(value);
        let mut windows = self.windows.windows_for(timestamp).peekable();
        while let Some(window) = windows.next() {
            if self.windows.is_closed(window, now) {
                cx.count_drop(Drop::Late);
                continue;
            }
            let is_last = windows.peek().is_none();
            let value = if is_last { value.take() } else { value.clone() };
            let value = value.expect("the value is taken for the last window only");
            let windowed = Windowed::new(key.clone(), window);
            if !self.update(cx, windowed, value, timestamp)? {
                break;
            }
        }
        self.results.release_closed(cx, self.windows.closed_until(now))
    }

    fn warm(&self, records: &[Record<K, V>]) {
        self.store.borrow().warm(records.iter().map(|record| &record.key));
    }
}

impl<F, K: Data + Eq + Hash, A: Data> WindowAggregateOp<F, K, A> {
    fn list_open_windows(&mut self) -> Result<()> {
        let closed_until = self.windows.closed_until(self.time.get());
        list_open_windows(&self.store, &mut self.results, closed_until, |start| {
            Window::new(start, start + self.windows.size())
        })
    }

    /// Folds a record into one window; false if it failed.
    fn update<V>(
        &mut self,
        cx: &mut Cx<'_>,
        windowed: Windowed<K>,
        value: V,
        timestamp: Timestamp,
    ) -> Result<bool>
    where
        F: Fn(&K, V, &mut Option<A>) -> Result<(), BoxError>,
    {
        let wanted = self.results.wanted(&windowed);
        let Windowed { key, window } = &windowed;
        let folded = self.store.borrow_mut().update(key, window.start, |row| {
            self.results.fold_row(row, timestamp, wanted, |total| (self.fold)(key, value, total))
        })?;
        match folded {
            Ok(folded) => self.results.updated(cx, windowed, folded).map(|()| true),
            Err(error) => {
                cx.fail(self.node, FailureStage::Process, error);
                Ok(false)
            }
        }
    }
}

impl<F, K: Data + Eq + Hash, A: Data> FlushResults for WindowAggregateOp<F, K, A> {
    fn flush_results(&mut self, cx: &mut Cx<'_>) -> Result<()> {
        self.results.flush(cx)?;
        // Kept is what begins less than the retention before the latest window.
        let latest = self.windows.windows_for(self.time.get()).last();
        let Some(latest) = latest else { return Ok(()) };
        let oldest = (latest.start - self.retention).plus_millis(1);
        self.store.borrow_mut().expire(oldest, None)
    }
}
