//! Joins two streams: records of one key that are near in time meet, once each pair.
//!
//! - Stored: every record of each side, under key and timestamp, for as long as the windows and
//!   their grace last behind that side's time; of left and outer joins also the records that wait
//!   for a match. The changelogs hold the same.
//! - The time of the join is the largest timestamp that has come here on either side.
//! - Matches leave at once, in the order of the other record's timestamp and arrival, with the
//!   later one of the two timestamps. There is no lateness check: what is still stored is matched.
//! - A record without a match leaves alone when its window and grace have passed, with its own
//!   timestamp, before anything that the record makes which moved the time.

mod waiting;

use std::cell::{Cell, RefCell};
use std::ops::ControlFlow;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::error::Result;
use crate::operator::build::{Build, Output, Shared, TaskBuilder};
use crate::operator::push::{Cx, Edge, Push};
use crate::operator::window_lookup::WindowedStore;
use crate::record::{Data, Record};
use crate::serde::Key;
use crate::state::{Direction, Duplicates, WindowStore};
use crate::time::Timestamp;
use crate::topology::NodeId;
use crate::window::{JoinSide, JoinWindows};

use waiting::{OneOf, Waiting};

pub(crate) use waiting::WaitingStore;

/// Makes a result out of two values, of which at least one is there.
pub(crate) type JoinValues<V, V2, R> = Arc<dyn Fn(Option<V>, Option<V2>) -> R + Send + Sync>;

/// Whose records leave alone if nothing matches them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unmatched {
    /// Nobody's: an inner join.
    Dropped,
    /// The left stream's: a left join.
    Left,
    /// Those of both: an outer join.
    Both,
}

impl Unmatched {
    fn keeps(self, side: JoinSide) -> bool {
        self == Self::Both || (self == Self::Left && side == JoinSide::Left)
    }
}

/// Which records meet, and what becomes of them.
pub(crate) struct Rule<V, V2, R> {
    pub(crate) windows: JoinWindows,
    pub(crate) unmatched: Unmatched,
    pub(crate) join: JoinValues<V, V2, R>,
}

/// What both ends of a join share.
pub(crate) struct StreamJoin<K, V, V2, R> {
    pub(crate) rule: Rule<V, V2, R>,
    /// The node of each end, under which its time survives, and its records.
    pub(crate) left: (NodeId, WindowedStore<K, V>),
    pub(crate) right: (NodeId, WindowedStore<K, V2>),
    /// Where the records of left and outer joins wait.
    pub(crate) waiting: WaitingStore<K, V, V2>,
    pub(crate) output: Arc<Output<K, R>>,
}

/// Factory of the end that reads the left stream.
pub(crate) struct LeftEnd<K, V, V2, R>(pub(crate) Arc<StreamJoin<K, V, V2, R>>);

/// Factory of the end that reads the right stream.
pub(crate) struct RightEnd<K, V, V2, R>(pub(crate) Arc<StreamJoin<K, V, V2, R>>);

struct LeftEdge<K, V, V2, R>(Shared<StreamJoinOp<K, V, V2, R>>);
struct RightEdge<K, V, V2, R>(Shared<StreamJoinOp<K, V, V2, R>>);

struct StreamJoinOp<K, V, V2, R> {
    rule: Rule<V, V2, R>,
    left: End<K, V>,
    right: End<K, V2>,
    /// Absent in an inner join.
    waiting: Option<Waiting<K, V, V2>>,
    next: Edge<K, R>,
    /// Whether what survived in the stores has been looked through.
    is_open: bool,
}

/// One side of a running join.
struct End<K, V> {
    side: JoinSide,
    records: Shared<WindowStore<K, V>>,
    /// The largest timestamp of this side; survives with the commit.
    time: Rc<Cell<Timestamp>>,
    retention: Duration,
}

impl<K: Key, V: Data, V2: Data, R: Data> StreamJoin<K, V, V2, R> {
    fn build(&self, task: &mut TaskBuilder) -> Shared<StreamJoinOp<K, V, V2, R>> {
        task.once(self.output.node(), |task| Rc::new(RefCell::new(self.build_once(task))))
    }

    fn build_once(&self, task: &mut TaskBuilder) -> StreamJoinOp<K, V, V2, R> {
        let Rule { windows, unmatched, join } = &self.rule;
        let waits = *unmatched != Unmatched::Dropped;
        StreamJoinOp {
            rule: Rule { windows: *windows, unmatched: *unmatched, join: Arc::clone(join) },
            left: End::open(JoinSide::Left, &self.left, *windows, task),
            right: End::open(JoinSide::Right, &self.right, *windows, task),
            waiting: waits.then(|| self.waiting.open(task, *windows)),
            next: self.output.build(task),
            is_open: false,
        }
    }
}

impl<K: Key, V: Data, V2: Data, R: Data> Build<K, V> for LeftEnd<K, V, V2, R> {
    fn build(&self, task: &mut TaskBuilder) -> Edge<K, V> {
        Box::new(LeftEdge(self.0.build(task)))
    }
}

impl<K: Key, V: Data, V2: Data, R: Data> Build<K, V2> for RightEnd<K, V, V2, R> {
    fn build(&self, task: &mut TaskBuilder) -> Edge<K, V2> {
        Box::new(RightEdge(self.0.build(task)))
    }
}

impl<K: Key, V: Data, V2: Data, R: Data> Push<K, V> for LeftEdge<K, V, V2, R> {
    fn push(&mut self, cx: &mut Cx<'_>, record: Record<K, V>) -> Result<()> {
        let mut operator = self.0.borrow_mut();
        operator.advance(cx, JoinSide::Left, record.timestamp)?;
        let StreamJoinOp { rule, left: own, right: other, waiting, next, .. } = &mut *operator;
        let join = Arc::clone(&rule.join);
        let meeting = Meeting { rule, own, other, waiting, next };
        meeting.run(cx, record, |left, right| join(left, right), OneOf::Left)
    }
}

impl<K: Key, V: Data, V2: Data, R: Data> Push<K, V2> for RightEdge<K, V, V2, R> {
    fn push(&mut self, cx: &mut Cx<'_>, record: Record<K, V2>) -> Result<()> {
        let mut operator = self.0.borrow_mut();
        operator.advance(cx, JoinSide::Right, record.timestamp)?;
        let StreamJoinOp { rule, left: other, right: own, waiting, next, .. } = &mut *operator;
        let join = Arc::clone(&rule.join);
        let meeting = Meeting { rule, own, other, waiting, next };
        meeting.run(cx, record, |right, left| join(left, right), OneOf::Right)
    }
}

impl<K: Key, V: Data, V2: Data, R: Data> StreamJoinOp<K, V, V2, R> {
    fn now(&self) -> Timestamp {
        self.left.time.get().max(self.right.time.get())
    }

    /// Moves the time of a side, and lets those leave alone that have expired by it.
    fn advance(&mut self, cx: &mut Cx<'_>, side: JoinSide, timestamp: Timestamp) -> Result<()> {
        if !std::mem::replace(&mut self.is_open, true) {
            self.left.forget_old()?;
            self.right.forget_old()?;
            self.waiting.as_mut().map_or(Ok(()), Waiting::list)?;
        }
        let time = match side {
            JoinSide::Left => &self.left.time,
            JoinSide::Right => &self.right.time,
        };
        time.set(time.get().max(timestamp));
        let now = self.now();
        let Some(waiting) = &mut self.waiting else { return Ok(()) };
        while let Some((key, values, timestamp)) = waiting.next_expired(now)? {
            for value in values {
                let value = match value {
                    OneOf::Left(left) => (self.rule.join)(Some(left), None),
                    OneOf::Right(right) => (self.rule.join)(None, Some(right)),
                };
                self.next.push(cx, Record { key: key.clone(), value, timestamp })?;
            }
        }
        Ok(())
    }
}

/// One record of one side, and everything that it meets.
struct Meeting<'a, K, V, O, L, R2, R> {
    rule: &'a Rule<L, R2, R>,
    own: &'a mut End<K, V>,
    other: &'a mut End<K, O>,
    waiting: &'a mut Option<Waiting<K, L, R2>>,
    next: &'a mut Edge<K, R>,
}

impl<K: Key, V: Data, O: Data, L: Data, R2: Data, R: Data> Meeting<'_, K, V, O, L, R2, R> {
    fn run(
        self,
        cx: &mut Cx<'_>,
        record: Record<K, V>,
        join: impl Fn(Option<V>, Option<O>) -> R,
        one_of: impl FnOnce(V) -> OneOf<L, R2>,
    ) -> Result<()> {
        let Record { key, value, timestamp } = record;
        let Self { rule, own, other, waiting, next } = self;
        own.add(&key, &value, timestamp)?;
        let now = own.time.get().max(other.time.get());
        let matches = rule.windows.matches_of(own.side, timestamp);
        let (mut has_match, mut outcome) = (false, Ok(()));
        let range = (matches.start, matches.end);
        other.records.borrow_mut().fetch(
            &key,
            range,
            Direction::Ascending,
            &mut |time, o, _| {
                has_match = true;
                let joined = join(Some(value.clone()), Some(o.clone()));
                outcome = match waiting {
                    Some(waiting) => waiting.matched(other.side, &key, time),
                    None => Ok(()),
                };
                if outcome.is_ok() {
                    let timestamp = timestamp.max(time);
                    outcome = next.push(cx, Record { key: key.clone(), value: joined, timestamp });
                }
                if outcome.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            },
        )?;
        outcome?;
        match waiting {
            Some(waiting) if !has_match && rule.unmatched.keeps(own.side) => {
                if rule.windows.is_expired(own.side, timestamp, now) {
                    let value = join(Some(value), None);
                    return next.push(cx, Record { key, value, timestamp });
                }
                waiting.add(own.side, key, one_of(value), timestamp)
            }
            _ => Ok(()),
        }
    }
}

impl<K: Key, V: Data> End<K, V> {
    fn open(
        side: JoinSide,
        (node, store): &(NodeId, WindowedStore<K, V>),
        windows: JoinWindows,
        task: &mut TaskBuilder,
    ) -> Self {
        let records = store.windows(task, Duplicates::Retained);
        let time = task.observed_time(*node);
        Self { side, records, time, retention: windows.retention() }
    }

    /// Stores a record, unless it is behind the retention already.
    fn add(&mut self, key: &K, value: &V, timestamp: Timestamp) -> Result<()> {
        self.forget_old()?;
        if timestamp < self.oldest() {
            return Ok(());
        }
        self.records.borrow_mut().add(key, timestamp, value.clone())
    }

    fn oldest(&self) -> Timestamp {
        (self.time.get() - self.retention).plus_millis(1)
    }

    fn forget_old(&mut self) -> Result<()> {
        self.records.borrow_mut().expire(self.oldest(), None)
    }
}
