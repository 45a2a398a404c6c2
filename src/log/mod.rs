//! Where do bytes come from and where do they go? What the engine asks of a log.
//!
//! Implementations: in-process ([`memory`]), librdkafka (`crate::kafka`); one contract suite over
//! them (`tests/contract/`, run by `tests/it` and `tests/broker`).
//!
//! - **Nothing blocks but `wait`.** A call acts at once or starts something whose end `poll`
//!   reports. So one worker's waiting never delays another task, a commit overlaps with processing,
//!   and a simulation may interleave anything between any two steps.
//! - **Bytes cross in batches**, in Kafka's record-batch format: read as borrowed slices, written
//!   by
//!   sealing an open batch.
//! - **Every effect ends once**: done, failed or *unknown*. Unknown is never retried by hand and
//!   never taken for failed.
//! - **One client per worker** for reading and writing. Restoring has its own.
//! - [`Admin`] may block, so only the control plane and the restorer call it, never a worker.

pub(crate) mod batch;
pub(crate) mod catalog;
pub mod memory;
pub(crate) mod partitioner;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub use batch::{
    BatchError, EncodedHeaders, HeaderIter, HeadersView, OpenBatch, RecordBatch, RecordCursor,
    RecordView, Records,
};
pub use partitioner::{murmur2, partition_for_key};

use crate::time::{Instant, Timestamp};

/// A partition of a topic, by name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's index, from 0.
    pub partition: u32,
}

impl TopicPartition {
    /// That partition of that topic.
    pub fn new(topic: impl Into<Arc<str>>, partition: u32) -> Self {
        Self { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// A topic's partition, resolved once; the hot path never sees a topic's name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct PartitionId(u32);

impl PartitionId {
    /// A small dense number, fit to index a table with.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// The partitions that one [`Log`] has handed out ids for. Cheap to clone: it is shared.
#[derive(Clone, Debug, Default)]
pub struct Partitions(Arc<Mutex<PartitionTable>>);

#[derive(Debug, Default)]
struct PartitionTable {
    ids: HashMap<TopicPartition, PartitionId>,
    names: Vec<TopicPartition>,
}

impl Partitions {
    /// The id of this partition; the same for the life of the log.
    pub fn id(&self, partition: &TopicPartition) -> PartitionId {
        let mut table = self.0.lock().expect("no panic while the table is held");
        if let Some(id) = table.ids.get(partition) {
            return *id;
        }
        let id = PartitionId(table.names.len() as u32);
        table.names.push(partition.clone());
        table.ids.insert(partition.clone(), id);
        id
    }

    /// The partition of this id.
    pub fn name(&self, id: PartitionId) -> TopicPartition {
        let table = self.0.lock().expect("no panic while the table is held");
        table.names.get(id.index()).expect("an id comes from this table").clone()
    }
}

/// What a reader may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Records of committed transactions and of none.
    ReadCommitted,
    /// Every record.
    ReadUncommitted,
}

/// What a client is for.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Shown in the broker's logs and metrics.
    pub client_id: String,
    /// What this client's reads may see.
    pub isolation: Isolation,
    /// Present for a transactional writer: the id that fences its own past.
    pub transactional_id: Option<String>,
    /// How long a transaction may stay open before the log aborts it.
    pub transaction_timeout: Duration,
    /// The group whose offsets `commit_offsets` writes.
    pub group: String,
    /// How many fetched bytes per partition may wait to be polled.
    pub fetch_bytes_max: usize,
    /// No batch of several records is larger when it is written.
    pub batch_bytes_max: usize,
}

/// A log: what a process connects to.
pub trait Log: Send + Sync + 'static {
    /// The ids of this log's partitions, shared by everything made from it.
    fn partitions(&self) -> &Partitions;

    /// A client for one worker or restorer. It is used on one thread only.
    fn client(&self, config: ClientConfig) -> Result<Box<dyn LogClient>, LogError>;

    /// The administrative calls.
    fn admin(&self) -> Arc<dyn Admin>;

    /// Joins a group.
    fn join(&self, config: MembershipConfig) -> Result<Box<dyn Membership>, LogError>;
}

/// Names one effect of one client.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct EffectId(pub u64);

/// An offset to be committed: the next one to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    /// Of which partition.
    pub partition: PartitionId,
    /// The offset of the next record to read.
    pub offset: i64,
    /// Free text stored beside it.
    pub metadata: String,
}

/// Reads and writes records; used by one thread.
pub trait LogClient {
    /// Starts, or moves, reading of a partition.
    fn read_from(&mut self, partition: PartitionId, offset: i64);
    /// Ends reading of a partition. Nothing of it is reported any more.
    fn stop_reading(&mut self, partition: PartitionId);
    /// Back-pressure: a paused partition keeps its position and is not fetched.
    fn pause(&mut self, partition: PartitionId, paused: bool);

    /// Takes a new producer epoch for the transactional id, which fences every earlier one.
    /// Needed once before the first transaction, and again after an unknown outcome.
    fn init_producer(&mut self) -> EffectId;
    /// From here on, sends and offset commits belong to a transaction.
    fn begin_transaction(&mut self);
    /// Appends a batch. Within one partition, batches arrive in the order in which they were sent.
    fn send(&mut self, partition: PartitionId, batch: OpenBatch) -> EffectId;
    /// Inside a transaction: part of it. Outside: an ordinary offset commit.
    fn commit_offsets(&mut self, offsets: &[CommittedOffset], member: &MemberToken) -> EffectId;
    /// Ends the transaction. All its sends and offset commits must have ended before.
    fn end_transaction(&mut self, end: End) -> EffectId;

    /// Appends what has happened since the last call, in order.
    fn poll(&mut self, now: Instant, events: &mut Vec<LogEvent>);
    /// Sleeps until something may have happened, a waker of this client was used, or that long.
    /// The only call that blocks.
    fn wait(&mut self, at_most: Duration);
    /// Ends a `wait` from another thread, also one that begins later.
    fn waker(&self) -> Waker;

    /// Whether what is sent now has to wait for what was sent before. It may be sent all the same;
    /// but what is kept back until then leaves in larger batches.
    fn is_busy(&self) -> bool {
        false
    }

    /// The end of a partition that is being read, as far as this client has heard of it. Asks no
    /// one.
    fn end_of(&self, _partition: PartitionId) -> Option<i64> {
        None
    }
}

/// Ends a client's `wait` from another thread.
#[derive(Clone)]
pub struct Waker(Arc<dyn Fn() + Send + Sync>);

impl Waker {
    /// A waker that calls `wake`.
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(wake))
    }

    /// Ends the wait.
    pub fn wake(&self) {
        (self.0)();
    }
}

impl fmt::Debug for Waker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Waker")
    }
}

/// What a client reports.
#[derive(Debug)]
pub enum LogEvent {
    /// Records of a partition that is being read, ascending in offset. The first batch after
    /// `read_from` may begin before the offset that was asked for.
    Fetched(RecordBatch),
    /// The reader has seen all there is (under read-committed: up to the last stable offset).
    /// `position` is the offset of the next record that may come.
    CaughtUp {
        /// The partition.
        partition: PartitionId,
        /// The next offset.
        position: i64,
    },
    /// Reading of a partition has ended.
    ReadFailed {
        /// The partition.
        partition: PartitionId,
        /// Why.
        error: ReadError,
    },
    /// An effect has ended.
    Ended {
        /// Which.
        effect: EffectId,
        /// How.
        outcome: Outcome,
    },
}

/// How a transaction is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// All of it becomes visible.
    Commit,
    /// None of it does.
    Abort,
}

/// How an effect ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It has happened.
    Done {
        /// Of a send: the offset behind the batch's last record.
        next_offset: Option<i64>,
    },
    /// It has not happened and will not.
    Failed(WriteError),
    /// It may have happened, or may yet. The client's producer must be initialised anew and
    /// committed offsets read again; nothing may be concluded from it.
    Unknown,
}

/// Why a write did not happen; each variant has another next step.
#[derive(Clone, Debug, thiserror::Error)]
pub enum WriteError {
    /// Someone newer owns the transactional id, or the member is not part of its group any more:
    /// close the tasks without a commit.
    #[error("fenced: {0}")]
    Fenced(String),
    /// The transaction cannot commit; abort it and go on from the committed offsets.
    #[error("the transaction must be aborted: {0}")]
    Abort(String),
    /// One record cannot be written: too large, or refused by the topic's rules.
    #[error("the record is refused: {0}")]
    Record(String),
    /// Nothing that this process can do helps: not authorised, unsupported.
    #[error("{0}")]
    Fatal(String),
}

/// Why reading of a partition ended.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The position lies outside of what the log holds: truncated, expired or recreated.
    #[error("offset {offset} is out of range; the log holds {earliest} to {end}")]
    OutOfRange {
        /// The position.
        offset: i64,
        /// The oldest offset that is there.
        earliest: i64,
        /// The end.
        end: i64,
    },
    /// The topic or partition does not exist.
    #[error("the partition does not exist")]
    NotFound,
    /// A batch is damaged.
    #[error("a batch is damaged: {0}")]
    Corrupt(String),
    /// Nothing that this process can do helps.
    #[error("{0}")]
    Fatal(String),
}

/// Why a call to the log failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The log does not answer; trying again may help.
    #[error("the log does not answer: {0}")]
    Unavailable(String),
    /// Transactions are still open on the offsets asked for; try again soon.
    #[error("a transaction is still open on the offsets")]
    Unstable,
    /// The principal may not do this.
    #[error("not authorised: {0}")]
    NotAuthorised(String),
    /// Wrong settings, or something the log cannot do.
    #[error("{0}")]
    Fatal(String),
}

/// What is known of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicInfo {
    /// Its name.
    pub name: String,
    /// How many partitions it has.
    pub partitions: u32,
}

/// A topic to be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// How many partitions it gets.
    pub partitions: u32,
    /// Copies of each partition; `None` takes the cluster's default.
    pub replication: Option<u16>,
    /// Settings, such as `cleanup.policy`.
    pub configs: Vec<(String, String)>,
}

/// What a principal may do with a topic, of what an application does with topics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TopicRights {
    /// Read records, and commit offsets of it.
    pub read: bool,
    /// Write records.
    pub write: bool,
    /// Delete records.
    pub delete: bool,
}

/// Which offset is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum OffsetSpec {
    /// Of the oldest record that is there.
    Earliest,
    /// Behind the newest record, open transactions included: the high watermark.
    End,
    /// Of the first record that is not older than this; the end if there is none.
    AtTime(Timestamp),
}

/// Administrative calls. They may block, up to a timeout of the implementation's.
pub trait Admin: Send + Sync {
    /// An id of the cluster, stable over its life.
    fn cluster_id(&self) -> Result<String, LogError>;
    /// What is known of these topics, in this order; `None` for one that does not exist.
    fn topics(&self, names: &[String]) -> Result<Vec<Option<TopicInfo>>, LogError>;
    /// The settings of these topics, in this order; empty for one whose settings are not told.
    fn topic_configs(&self, names: &[String]) -> Result<Vec<Vec<(String, String)>>, LogError> {
        Ok(names.iter().map(|_| Vec::new()).collect())
    }
    /// What this principal may do with these topics, in this order; `None` for one of which the
    /// log does not say.
    fn topic_rights(&self, names: &[String]) -> Result<Vec<Option<TopicRights>>, LogError> {
        Ok(names.iter().map(|_| None).collect())
    }
    /// The names of all topics that this principal may see; empty where that is not told.
    fn topic_names(&self) -> Result<Vec<String>, LogError> {
        Ok(Vec::new())
    }
    /// The ids of all groups that this principal may see; empty where that is not told.
    fn groups(&self) -> Result<Vec<String>, LogError> {
        Ok(Vec::new())
    }
    /// Creates topics. One that exists already is left as it is.
    fn create_topics(&self, topics: &[NewTopic]) -> Result<(), LogError>;
    /// What a group has committed; waits for no open transaction but says `Unstable`.
    fn committed(
        &self,
        group: &str,
        partitions: &[PartitionId],
    ) -> Result<Vec<Option<CommittedOffset>>, LogError>;
    /// What a group has committed, not counting transactions that are still open.
    fn committed_so_far(
        &self,
        group: &str,
        partitions: &[PartitionId],
    ) -> Result<Vec<Option<CommittedOffset>>, LogError>;
    /// Commits offsets for a group that has no members.
    fn commit(&self, group: &str, _offsets: &[CommittedOffset]) -> Result<(), LogError> {
        Err(LogError::Fatal(format!("this log cannot commit offsets for group `{group}`")))
    }
    /// Offsets of partitions, in this order.
    fn offsets(&self, wanted: &[(PartitionId, OffsetSpec)]) -> Result<Vec<i64>, LogError>;
    /// Gives up the records before these offsets.
    fn delete_records(&self, before: &[(PartitionId, i64)]) -> Result<(), LogError>;
    /// Ends whatever transactions are open under these ids, by taking the next epoch of each; the
    /// answers are in their order.
    fn fence(&self, transactional_ids: &[String]) -> Vec<Result<(), LogError>>;
}

/// What a member says when it joins.
#[derive(Clone, Debug)]
pub struct MembershipConfig {
    /// The group: the application's id.
    pub group: String,
    /// Keeps the member's partitions over a restart.
    pub instance_id: Option<String>,
    /// The topics whose partitions are shared out.
    pub topics: Vec<String>,
    /// A member not heard of for that long is expelled.
    pub session_timeout: Duration,
    /// How often a member is heard of.
    pub heartbeat_interval: Duration,
    /// How long a member may take to give partitions up.
    pub rebalance_timeout: Duration,
    /// How partitions are shared out.
    pub protocol: GroupProtocol,
}

/// How a group shares its partitions out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GroupProtocol {
    /// The classic protocol with cooperative-sticky assignment: brokers since 2.4.
    #[default]
    CooperativeSticky,
    /// The consumer protocol, where the broker assigns: brokers since 4.0.
    Consumer,
}

/// Identifies a member of a group; fences a commit by one that has been expelled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberToken {
    /// The group.
    pub group: String,
    /// The member; empty for none.
    pub member_id: String,
    /// Generation or member epoch; -1 for none.
    pub generation: i32,
    /// The static member's name.
    pub instance_id: Option<String>,
}

/// Which partitions this process owns. Heartbeats go on behind it, whatever user code does.
pub trait Membership: Send {
    /// Appends what has happened since the last call, in order.
    fn poll(&mut self, now: Instant, events: &mut Vec<GroupEvent>);
    /// Said once the tasks of these partitions have committed and closed: only then may another
    /// process have them.
    fn give_up(&mut self, partitions: &[PartitionId]);
    /// Fences a commit by a member that has been expelled.
    fn token(&self) -> MemberToken;
    /// Until when what this member has can have no other owner, unless it was expelled for another
    /// reason than silence; the clock's origin for one that is no member.
    fn lease(&self) -> Instant;
    /// Sleeps until something may have happened, the waker was used, or that long.
    fn wait(&mut self, at_most: Duration);
    /// Ends a `wait` from another thread.
    fn waker(&self) -> Waker;
    /// Leaves the group; a static member stays until its session ends.
    fn leave(&mut self);
}

/// What a member is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupEvent {
    /// These are yours now, beside those that you have.
    Assigned(Vec<PartitionId>),
    /// Commit, close, then `give_up`.
    Revoking(Vec<PartitionId>),
    /// Already someone else's: close without committing.
    Lost(Vec<PartitionId>),
    /// The membership has ended and will not come back by itself.
    Failed(String),
}
