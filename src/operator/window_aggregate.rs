//! What aggregations by tumbling, hopping and sliding windows have in common.
//!
//! - Stored: under key and window start the aggregate, stamped with the largest timestamp of its
//!   records. The changelog holds the same, once per dirty row and commit.
//! - The stream time that the operator has seen survives with the commit.
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
use crate::operator::push::{Cx, Edge, Push};
use crate::operator::window_lookup::WindowedStore;
use crate::operator::windowed_results::WindowedResults;
use crate::record::{Change, Data};
use crate::state::{Duplicates, Stamped, WindowStore};
use crate::time::Timestamp;
use crate::topology::NodeId;
use crate::window::{Emit, SlidingWindows, TimeWindows, Window, Windowed};

/// Windows that are told apart by their start.
pub(crate) trait FixedSize: Copy + 'static {
    /// The window that starts then.
    fn window_at(&self, start: Timestamp) -> Window;

    /// Windows that end then or before are closed.
    fn closed_until(&self, now: Timestamp) -> Timestamp;

    /// How far behind the time windows are closed.
    fn closes_after(&self) -> Duration;

    /// The earliest start of a row that is still kept.
    fn oldest_kept(&self, now: Timestamp, retention: Duration) -> Option<Timestamp>;
}

impl FixedSize for TimeWindows {
    fn window_at(&self, start: Timestamp) -> Window {
        Window::new(start, start + self.size())
    }

    fn closed_until(&self, now: Timestamp) -> Timestamp {
        Self::closed_until(self, now)
    }

    fn closes_after(&self) -> Duration {
        Self::closes_after(self)
    }

    /// Kept is what begins less than the retention before the latest window.
    fn oldest_kept(&self, now: Timestamp, retention: Duration) -> Option<Timestamp> {
        let latest = self.windows_for(now).last()?;
        Some((latest.start - retention).plus_millis(1))
    }
}

impl FixedSize for SlidingWindows {
    fn window_at(&self, start: Timestamp) -> Window {
        Self::window_at(self, start)
    }

    fn closed_until(&self, now: Timestamp) -> Timestamp {
        Self::closed_until(self, now)
    }

    fn closes_after(&self) -> Duration {
        Self::closes_after(self)
    }

    fn oldest_kept(&self, now: Timestamp, retention: Duration) -> Option<Timestamp> {
        Some(now - retention)
    }
}

/// Whether a restore that passes over what is older than a window finds its row.
pub(super) fn is_restorable<A>(row: Option<&Stamped<A>>, window: Window) -> bool {
    row.is_none_or(|row| row.timestamp >= window.start)
}

/// Factory of an aggregation by key and window.
pub(crate) struct WindowAggregate<W, F, K, A> {
    pub(crate) windows: W,
    pub(crate) store: WindowedStore<K, A>,
    pub(crate) retention: Duration,
    pub(crate) emit: Emit,
    pub(crate) fold: Arc<F>,
    pub(crate) output: Arc<Output<Windowed<K>, Change<A>>>,
}

/// The aggregation; what a record does to it is said beside each kind of window.
pub(super) struct WindowAggregateOp<W, F, K, A> {
    pub(super) windows: W,
    retention: Duration,
    pub(super) node: NodeId,
    pub(super) fold: Arc<F>,
    pub(super) store: Shared<WindowStore<K, A>>,
    pub(super) results: WindowedResults<K, A>,
    /// The largest timestamp that has come here; survives with the commit.
    time: Rc<Cell<Timestamp>>,
}

impl<W: FixedSize, F, K: Data + Eq + Hash, V: Data, A: Data> Build<K, V>
    for WindowAggregate<W, F, K, A>
where
    F: Fn(&K, V, &mut Option<A>) -> Result<(), BoxError> + Send + Sync + 'static,
    WindowAggregateOp<W, F, K, A>: Push<K, V>,
    Self: Send + Sync,
{
    fn build(&self, task: &mut TaskBuilder) -> Edge<K, V> {
        let node = self.output.node();
        let store = self.store.windows(task, Duplicates::Replaced);
        let rows = Box::new(Rc::clone(&store));
        let results = WindowedResults::new(task, &self.output, rows, &self.store, self.emit);
        let time = task.observed_time(node);
        if self.emit == Emit::OnWindowClose {
            task.sends_final_results(node, &time, self.windows.closes_after());
        }
        let (windows, retention) = (self.windows, self.retention);
        let fold = Arc::clone(&self.fold);
        let operator = WindowAggregateOp { windows, retention, node, fold, store, results, time };
        let operator = Rc::new(RefCell::new(operator));
        task.flush_at_commit(node, Rc::clone(&operator) as Shared<dyn FlushResults>);
        Box::new(operator)
    }
}

impl<W: FixedSize, F, K: Data + Eq + Hash, A: Data> WindowAggregateOp<W, F, K, A> {
    /// The largest timestamp that has come here.
    pub(super) fn now(&self) -> Timestamp {
        self.time.get()
    }

    /// Takes a record's timestamp; returns the largest that has come here.
    pub(super) fn advance(&mut self, timestamp: Timestamp) -> Timestamp {
        let now = self.time.get().max(timestamp);
        self.time.set(now);
        now
    }

    /// Lists, before the first record, the stored windows whose results are still to leave.
    pub(super) fn list_open_windows(&mut self) -> Result<()> {
        if !self.results.must_list_open_windows() {
            return Ok(());
        }
        let closed_until = self.windows.closed_until(self.now());
        let mut listed = Ok(());
        let all = (Bound::Unbounded, Bound::Unbounded);
        self.store.borrow().scan(all, &mut |key, start, _, _| {
            let window = self.windows.window_at(start);
            if window.end > closed_until {
                listed = self.results.owe(key, window);
            }
            if listed.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        listed
    }
}

impl<W: FixedSize, F, K: Data + Eq + Hash, A: Data> FlushResults for WindowAggregateOp<W, F, K, A> {
    fn flush_results(&mut self, cx: &mut Cx<'_>) -> Result<()> {
        self.results.flush(cx)?;
        let oldest = self.windows.oldest_kept(self.now(), self.retention);
        let Some(oldest) = oldest else { return Ok(()) };
        self.store.borrow_mut().expire(oldest, None)
    }
}
