//! Joins two tables by key: a change on either side meets the current row of the other.
//!
//! Nothing is stored: both sides are read where their rows are. A result's time is the later one
//! of its two rows; a row that was deleted has none. Old values are always asked for, so that a row
//! which neither side has ever had is not deleted downstream.

use std::sync::Arc;

use crate::error::Result;
use crate::operator::build::{Build, Output, Shared, TaskBuilder};
use crate::operator::lookup::{BuildLookup, Lookup};
use crate::operator::merge::Junction;
use crate::operator::push::{Cx, Edge, Push};
use crate::record::{Change, Data, Record};
use crate::time::Timestamp;

/// Makes a row out of two, of which at least one is there.
pub(crate) type JoinRows<V, V2, R> = Arc<dyn Fn(Option<V>, Option<V2>) -> R + Send + Sync>;

/// Which side has to be there for a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    Both,
    Left,
    Right,
    Either,
}

impl Needs {
    /// The same, seen from the other side.
    const fn mirrored(self) -> Self {
        match self {
            Self::Left => Self::Right,
            Self::Right => Self::Left,
            same => same,
        }
    }

    const fn met_by(self, left: bool, right: bool) -> bool {
        match self {
            Self::Both => left && right,
            Self::Left => left,
            Self::Right => right,
            Self::Either => left || right,
        }
    }
}

/// What is made of two rows, and when; seen from one of the sides, which is called left.
pub(crate) struct JoinRule<V, V2, R> {
    pub(crate) needs: Needs,
    pub(crate) join: JoinRows<V, V2, R>,
}

impl<V, V2, R> Clone for JoinRule<V, V2, R> {
    fn clone(&self) -> Self {
        Self { needs: self.needs, join: Arc::clone(&self.join) }
    }
}

impl<V: 'static, V2: 'static, R: 'static> JoinRule<V, V2, R> {
    /// The same rule, seen from the other side.
    pub(crate) fn mirrored(&self) -> JoinRule<V2, V, R> {
        let join = Arc::clone(&self.join);
        JoinRule {
            needs: self.needs.mirrored(),
            join: Arc::new(move |right, left| join(left, right)),
        }
    }

    fn row(&self, left: Option<V>, right: Option<V2>) -> Option<R> {
        self.needs.met_by(left.is_some(), right.is_some()).then(|| (self.join)(left, right))
    }
}

/// Factory of one side.
pub(crate) struct TableJoin<K, V, V2, R> {
    pub(crate) rule: JoinRule<V, V2, R>,
    pub(crate) other: Arc<dyn BuildLookup<K, V2>>,
    pub(crate) output: Arc<Output<K, Change<R>>>,
}

struct TableJoinOp<K, V, V2, R> {
    rule: JoinRule<V, V2, R>,
    other: Box<dyn Lookup<K, V2>>,
    wants_old: bool,
    next: Shared<Junction<K, Change<R>>>,
}

impl<K: Data, V: Data, V2: Data, R: Data> Build<K, Change<V>> for TableJoin<K, V, V2, R> {
    fn build(&self, task: &mut TaskBuilder) -> Edge<K, Change<V>> {
        Box::new(TableJoinOp {
            rule: self.rule.clone(),
            other: self.other.build(task),
            wants_old: self.output.wants_old(),
            next: Junction::of(&self.output, task),
        })
    }

    fn wants_old(&self) -> bool {
        true
    }
}

impl<K: Data, V: Data, V2: Data, R: Data> Push<K, Change<V>> for TableJoinOp<K, V, V2, R> {
    fn push(&mut self, cx: &mut Cx<'_>, record: Record<K, Change<V>>) -> Result<()> {
        let Record { key, value: change, timestamp } = record;
        let other = self.other.get(&key)?;
        let Some((row, time)) = other else {
            return self.push_alone(cx, Record { key, value: change, timestamp });
        };
        let old = if self.wants_old { self.rule.row(change.old, Some(row.clone())) } else { None };
        let new = self.rule.row(change.new, Some(row));
        let timestamp = timestamp.max(time);
        self.next.push(cx, Record { key, value: Change { old, new }, timestamp })
    }
}

impl<K: Data, V: Data, V2: Data, R: Data> TableJoinOp<K, V, V2, R> {
    /// Pushes what a change becomes where the other side has no row.
    fn push_alone(&mut self, cx: &mut Cx<'_>, record: Record<K, Change<V>>) -> Result<()> {
        let Record { key, value: change, timestamp } = record;
        let was_or_is = change.old.is_some() || change.new.is_some();
        if !was_or_is || !self.rule.needs.met_by(true, false) {
            return Ok(());
        }
        let old = if self.wants_old { self.rule.row(change.old, None) } else { None };
        let new = self.rule.row(change.new, None);
        self.next.push(cx, Record { key, value: Change { old, new }, timestamp })
    }
}

/// Factory of the reader of a joined table.
pub(crate) struct JoinedRows<K, V, V2, R> {
    pub(crate) rule: JoinRule<V, V2, R>,
    pub(crate) left: Arc<dyn BuildLookup<K, V>>,
    pub(crate) right: Arc<dyn BuildLookup<K, V2>>,
}

struct JoinedLookup<K, V, V2, R> {
    rule: JoinRule<V, V2, R>,
    left: Box<dyn Lookup<K, V>>,
    right: Box<dyn Lookup<K, V2>>,
}

impl<K: Data, V: Data, V2: Data, R: Data> BuildLookup<K, R> for JoinedRows<K, V, V2, R> {
    fn build(&self, task: &mut TaskBuilder) -> Box<dyn Lookup<K, R>> {
        let (left, right) = (self.left.build(task), self.right.build(task));
        Box::new(JoinedLookup { rule: self.rule.clone(), left, right })
    }
}

impl<K, V: 'static, V2: 'static, R: 'static> Lookup<K, R> for JoinedLookup<K, V, V2, R> {
    fn get(&mut self, key: &K) -> Result<Option<(R, Timestamp)>> {
        let (left, left_time) = unzip(self.left.get(key)?);
        let (right, right_time) = unzip(self.right.get(key)?);
        let row = self.rule.row(left, right);
        Ok(row.map(|row| (row, left_time.max(right_time))))
    }
}

fn unzip<V>(row: Option<(V, Timestamp)>) -> (Option<V>, Timestamp) {
    match row {
        Some((row, timestamp)) => (Some(row), timestamp),
        None => (None, Timestamp::UNKNOWN),
    }
}
