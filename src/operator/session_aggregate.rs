//! Folds the records of each key and each session into one value.
//!
//! - Stored: under key, session end and start the aggregate, stamped with the time of the record
//!   that changed it last. The changelog holds the same, once per dirty row and commit. A result
//!   has the time of the session's end.
//! - A record that touches open sessions merges them: each is deleted, with a tombstone at its own
//!   end, before the merged session is written, also if its bounds are those of one of them. Only a
//!   session of a single point of time is overwritten.
//! - A record is late when the merged session is closed; closed sessions are not merged.

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
use crate::operator::windowed_results::{Folded, WindowedResults};
use crate::record::{Change, Data, Record};
use crate::state::SessionStore;
use crate::time::Timestamp;
use crate::topology::NodeId;
use crate::window::{Emit, SessionMerge, SessionWindows, Window, Windowed};

/// The user's functions of a session aggregation.
pub(crate) struct SessionFold<K, V, A> {
    /// Makes the aggregate that sessions are merged into, for each record.
    pub(crate) begin: Box<dyn Fn() -> Option<A> + Send + Sync>,
    /// Merges an earlier session into the aggregate.
    pub(crate) merge: Box<dyn Fn(&K, &mut Option<A>, A) + Send + Sync>,
    /// Folds the record in.
    pub(crate) fold: FoldFn<K, V, A>,
}

type FoldFn<K, V, A> = Box<dyn Fn(&K, V, &mut Option<A>) -> Result<(), BoxError> + Send + Sync>;

/// Factory of an aggregation by key and session.
pub(crate) struct SessionAggregate<K, V, A> {
    pub(crate) windows: SessionWindows,
    pub(crate) store: WindowedStore<K, A>,
    pub(crate) retention: Duration,
    pub(crate) emit: Emit,
    pub(crate) functions: Arc<SessionFold<K, V, A>>,
    pub(crate) output: Arc<Output<Windowed<K>, Change<A>>>,
}

struct SessionAggregateOp<K, V, A> {
    windows: SessionWindows,
    retention: Duration,
    node: NodeId,
    functions: Arc<SessionFold<K, V, A>>,
    store: Shared<SessionStore<K, A>>,
    results: WindowedResults<K, A>,
    /// The largest timestamp that has come here; survives with the commit.
    time: Rc<Cell<Timestamp>>,
}

impl<K: Data + Eq + Hash, V: Data, A: Data> Build<K, V> for SessionAggregate<K, V, A>
where
    Self: Send + Sync,
{
    fn build(&self, task: &mut TaskBuilder) -> Edge<K, V> {
        let node = self.output.node();
        let store = self.store.sessions(task);
        let rows = Box::new(Rc::clone(&store));
        let results = WindowedResults::new(task, &self.output, rows, &self.store, self.emit);
        let time = task.observed_time(node);
        if self.emit == Emit::OnWindowClose {
            task.sends_final_results(node, &time, self.windows.closes_after());
        }
        let operator = Rc::new(RefCell::new(SessionAggregateOp {
            windows: self.windows,
            retention: self.retention,
            node,
            functions: Arc::clone(&self.functions),
            store,
            results,
            time,
        }));
        task.flush_at_commit(node, Rc::clone(&operator) as Shared<dyn FlushResults>);
        Box::new(operator)
    }
}

impl<K: Data + Eq + Hash, V: Data, A: Data> Push<K, V> for SessionAggregateOp<K, V, A> {
    fn push(&mut self, cx: &mut Cx<'_>, record: Record<K, V>) -> Result<()> {
        self.list_open_sessions()?;
        let now = self.time.get().max(record.timestamp);
        self.time.set(now);
        let sessions = self.sessions_around(&record.key, record.timestamp)?;
        match self.windows.merge(record.timestamp, sessions, now) {
            Some(merge) => self.fold_in(cx, record, merge)?,
            None => cx.count_drop(Drop::Late),
        }
        self.results.release_closed(cx, self.windows.closed_until(now))
    }

    fn warm(&self, records: &[Record<K, V>]) {
        self.store.borrow().warm(records.iter().map(|record| &record.key));
    }
}

impl<K: Data + Eq + Hash, V: Data, A: Data> SessionAggregateOp<K, V, A> {
    /// Lists, before the first record, the stored sessions whose results are still to leave.
    fn list_open_sessions(&mut self) -> Result<()> {
        if !self.results.must_list_open_windows() {
            return Ok(());
        }
        let closed_until = self.windows.closed_until(self.time.get());
        let mut listed = Ok(());
        let all = (Bound::Unbounded, Bound::Unbounded);
        self.store.borrow().scan(all, &mut |key, session, _, _| {
            if session.end > closed_until {
                listed = self.results.owe(key, session);
            }
            if listed.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        listed
    }

    fn sessions_around(&self, key: &K, timestamp: Timestamp) -> Result<Vec<Window>> {
        let reach = self.windows.reach(timestamp);
        let mut sessions = Vec::new();
        self.store.borrow_mut().find(key, reach.start, reach.end, &mut |session, _, _| {
            sessions.push(session);
            ControlFlow::Continue(())
        })?;
        Ok(sessions)
    }

    /// Replaces the absorbed sessions by the merged one. If the record fails, nothing has changed.
    fn fold_in(
        &mut self,
        cx: &mut Cx<'_>,
        record: Record<K, V>,
        merge: SessionMerge,
    ) -> Result<()> {
        let Record { key, value, timestamp } = record;
        let functions = Arc::clone(&self.functions);
        let mut total = (functions.begin)();
        for session in &merge.absorbed {
            if let Some(earlier) = self.value_of(&key, *session)? {
                (functions.merge)(&key, &mut total, earlier);
            }
        }
        if let Err(error) = (functions.fold)(&key, value, &mut total) {
            cx.fail(self.node, FailureStage::Process, error);
            return Ok(());
        }
        let total = self.results.row_of(total);
        let (existed, old) = if merge.replaces() {
            self.remove_absorbed(cx, &key, &merge.absorbed, timestamp)?;
            (false, None)
        } else {
            self.value_before(&key, &merge)?
        };
        let windowed = Windowed::new(key, merge.window);
        let wanted = self.results.wanted(&windowed);
        let new = if wanted.new { total.clone() } else { None };
        let session = merge.window;
        self.store.borrow_mut().put(&windowed.key, session, total, timestamp)?;
        let folded = Folded { existed, old, new, timestamp: session.end };
        self.results.updated(cx, windowed, folded)
    }

    fn value_of(&self, key: &K, session: Window) -> Result<Option<A>> {
        let mut store = self.store.borrow_mut();
        Ok(store.get(key, session)?.map(|(value, _)| value.clone()))
    }

    /// What a session of a single point of time was before the record: it is overwritten.
    fn value_before(&self, key: &K, merge: &SessionMerge) -> Result<(bool, Option<A>)> {
        let existed = !merge.absorbed.is_empty();
        let wanted = self.results.wanted(&Windowed::new(key.clone(), merge.window));
        let old = if wanted.old { self.value_of(key, merge.window)? } else { None };
        Ok((existed, old))
    }

    fn remove_absorbed(
        &mut self,
        cx: &mut Cx<'_>,
        key: &K,
        absorbed: &[Window],
        timestamp: Timestamp,
    ) -> Result<()> {
        for session in absorbed {
            let windowed = Windowed::new(key.clone(), *session);
            let wanted = self.results.wanted(&windowed);
            let old = if wanted.old { self.value_of(key, *session)? } else { None };
            self.store.borrow_mut().put(key, *session, None, timestamp)?;
            self.results.removed(cx, windowed, old, session.end)?;
        }
        Ok(())
    }
}

impl<K: Data + Eq + Hash, V: Data, A: Data> FlushResults for SessionAggregateOp<K, V, A> {
    fn flush_results(&mut self, cx: &mut Cx<'_>) -> Result<()> {
        self.results.flush(cx)?;
        self.store.borrow_mut().expire(self.time.get() - self.retention, None)
    }
}
