//! How does one record move? Along typed edges, by one virtual call per hop.
//!
//! # Invariants
//!
//! - Operators are synchronous and run to completion; forwarding is depth-first in the order in
//!   which consumers were attached.
//! - An operator writes to the outside only through [`Cx::collector`].
//! - A record that fails is dropped at the failing node only: [`Cx::fail`] notes the failure and
//!   the task applies the error policy after the source record is through.

use std::cell::RefCell;
use std::rc::Rc;

use crate::error::{BoxError, Result};
use crate::log::{EncodedHeaders, HeadersView};
use crate::record::Record;
use crate::time::Timestamp;
use crate::topology::NodeId;

/// The receiving end of one edge in a running task. Lives on one thread, so it is not `Send`.
pub(crate) trait Push<K, V> {
    /// Takes one record, and everything that follows from it, to the end.
    fn push(&mut self, cx: &mut Cx<'_>, record: Record<K, V>) -> Result<()>;

    /// Shows records that are soon to be pushed. An operator with a store touches their rows, one
    /// after the other: memory answers several such reads at a time, and records find it warm.
    fn warm(&self, _records: &[Record<K, V>]) {}
}

/// An edge: what an operator pushes its results into.
pub(crate) type Edge<K, V> = Box<dyn Push<K, V>>;

/// Lets several edges lead to one operator: merges, joins, processors with timers.
impl<K, V, P: Push<K, V> + ?Sized> Push<K, V> for Rc<RefCell<P>> {
    fn push(&mut self, cx: &mut Cx<'_>, record: Record<K, V>) -> Result<()> {
        // A plan is acyclic, so an operator is never pushed into while it pushes.
        self.borrow_mut().push(cx, record)
    }

    fn warm(&self, records: &[Record<K, V>]) {
        self.borrow().warm(records);
    }
}

/// Which of a task's sinks: an index into the targets that its builder collected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SinkTarget(pub(crate) u32);

/// A record on its way out, as bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OutRecord<'a> {
    pub(crate) timestamp: Timestamp,
    pub(crate) key: Option<&'a [u8]>,
    /// The bytes that choose the partition; `None` with a null key.
    pub(crate) partition_by: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) headers: HeadersView<'a>,
}

/// Where sinks put their records: the task's outbox. An error of kind `Data` is about this record,
/// which was not appended.
pub(crate) trait Collector {
    /// Appends to a topic that was known when the task was built.
    fn append(&mut self, target: SinkTarget, record: OutRecord<'_>) -> Result<()>;
    /// Appends to a topic that this record chose.
    fn append_to(&mut self, topic: &str, record: OutRecord<'_>) -> Result<()>;
}

/// A record that failed at a node.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) node: NodeId,
    pub(crate) stage: FailureStage,
    pub(crate) error: BoxError,
}

/// Which policy decides over a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FailureStage {
    Process,
    Produce,
}

/// Why records were dropped without a failure; one counter each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Drop {
    /// Behind its window's grace.
    Late,
    /// A null key where an operation needs one.
    NullKey,
}

/// What surrounds a record on its way: time, origin, headers, and the ways out.
pub(crate) struct Cx<'a> {
    /// The way out.
    pub(crate) collector: &'a mut dyn Collector,
    /// The largest timestamp that this task has processed, this record's included.
    pub(crate) stream_time: Timestamp,
    /// The wall clock, as of this turn.
    pub(crate) wall_clock: Timestamp,
    /// The source record's place; `None` in a punctuation or flush.
    pub(crate) origin: Option<Origin<'a>>,
    /// The headers that leave with whatever this record becomes.
    pub(crate) headers: &'a mut EncodedHeaders,
    /// What failed, for the task to deal with.
    pub(crate) failures: &'a mut Vec<Failure>,
    /// How many records were dropped late and for null keys.
    pub(crate) drops: &'a mut DropCounts,
    /// Set by a processor that asks for a commit.
    pub(crate) commit_requested: &'a mut bool,
}

/// Where a source record lies in the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: u32,
    pub(crate) offset: i64,
}

/// Records that were dropped, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DropCounts {
    pub(crate) late: u64,
    pub(crate) null_key: u64,
}

impl Cx<'_> {
    /// The same for a shorter time.
    pub(crate) fn reborrow(&mut self) -> Cx<'_> {
        Cx {
            collector: &mut *self.collector,
            stream_time: self.stream_time,
            wall_clock: self.wall_clock,
            origin: self.origin,
            headers: &mut *self.headers,
            failures: &mut *self.failures,
            drops: &mut *self.drops,
            commit_requested: &mut *self.commit_requested,
        }
    }

    /// Notes that the record failed at this node; the caller drops it and goes on.
    #[cold]
    pub(crate) fn fail(&mut self, node: NodeId, stage: FailureStage, error: impl Into<BoxError>) {
        self.failures.push(Failure { node, stage, error: error.into() });
    }

    /// Counts a record that is dropped by a rule of its operator.
    #[cold]
    pub(crate) fn count_drop(&mut self, reason: Drop) {
        match reason {
            Drop::Late => self.drops.late += 1,
            Drop::NullKey => self.drops.null_key += 1,
        }
    }
}
