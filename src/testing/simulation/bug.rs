//! Can the simulator fail? Bugs that are put on purpose between a process and its log, its group,
//! its disk or its clock, one at a time.
//!
//! Each stands for a mistake of the engine or of a port. Production code is left as it is: a bug is
//! a wrapper around what production code calls, outside of the faults, so that it sees every call
//! and every answer. `tests/sim` shows that each is caught.

mod admin;
mod client;
mod membership;
mod store;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::disk::Disk;
use super::fault::StateLoss;
use super::random::Random;
use crate::log::memory::MemoryLog;
use crate::log::{
    Admin, ClientConfig, CommittedOffset, GroupProtocol, Isolation, Log, LogClient, MemberToken,
    Membership, MembershipConfig, OffsetSpec, PartitionId, TopicPartition,
};
use crate::state::OpenStores;
use crate::time::{Clock, Instant, Timestamp};

/// Longer than any run.
const FOR_EVER: Duration = Duration::from_secs(1_000_000);

macro_rules! seeded_bugs {
    (
        caught: $($(#[doc = $text:literal])+ $name:ident,)+
        borne: $($(#[doc = $borne_text:literal])+ $borne:ident,)+
    ) => {
        /// A bug that a simulation can be given, to see that it is caught.
        #[doc(hidden)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum SeededBug {
            $($(#[doc = $text])+ $name,)+
            $($(#[doc = $borne_text])+ $borne,)+
        }

        impl SeededBug {
            /// Those that must be caught.
            pub const CAUGHT: &[Self] = &[$(Self::$name,)+];

            /// Those that the engine is made to bear.
            pub const BORNE: &[Self] = &[$(Self::$borne,)+];

            /// What it does, in one line.
            pub fn text(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($text),+).trim_ascii(),)+
                    $(Self::$borne => concat!($($borne_text),+).trim_ascii(),)+
                }
            }
        }
    };
}

seeded_bugs! {
    caught:
    // Writing.
    /// A send is acknowledged and never happens.
    SendSkipped,
    /// A send happens twice.
    SendTwice,
    /// A send is acknowledged at once, and happens with the next commit.
    SendLingers,
    /// Two sends to one partition change places.
    SendsReordered,
    /// A send goes to the next partition of its topic.
    SendElsewhere,
    /// A send does not belong to the transaction that is open.
    SendOutsideTransaction,
    /// The last record of a batch is not written.
    RecordLost,
    /// The first record of a batch is written twice.
    RecordDoubled,
    /// Records without a value are not written.
    TombstonesLost,
    /// Now and then records are written without their times.
    TimesLost,
    /// The offset behind a send is told too large.
    SendEndTooFar,
    /// A send whose outcome is unknown is taken as done.
    UnknownSendDone,
    /// A send whose outcome is unknown is taken as failed and repeated.
    UnknownSendRepeated,
    /// An offset commit whose outcome is unknown is taken as done.
    UnknownOffsetsDone,
    /// An end of a transaction whose outcome is unknown is taken as done.
    UnknownEndDone,
    /// Now and then the end of an effect is never told.
    AnswerLost,
    /// Of two sends, each is told the outcome of the other.
    AnswersSwapped,
    /// A new epoch commits the transaction that the last one has left open.
    InitCommits,
    /// A new epoch is not taken, and what is open stays open.
    InitSkipped,
    /// A transaction is not ended, but told to be committed.
    EndSkipped,
    /// A transaction is aborted, but told to be committed.
    EndAborts,
    /// A transaction is told to be committed before it is.
    EndToldEarly,
    /// Offsets are told to be committed and are not.
    OffsetsSkipped,
    /// An offset is committed one too far.
    OffsetsTooFar,
    /// An offset is committed one too little.
    OffsetsTooLittle,
    /// The offset of one of several partitions is not committed.
    OffsetsIncomplete,
    /// Two partitions change offsets in a commit.
    OffsetsMixedUp,
    /// Offsets are committed at once, not with their transaction.
    OffsetsAtOnce,
    /// Offsets are committed without what is written beside them, such as the stream time.
    MetadataLost,
    /// Whoever has been expelled from the group may go on committing.
    AnyMemberCommits,
    // Reading.
    /// Reading begins one record too far.
    ReadTooFar,
    /// A batch is not delivered.
    BatchSkipped,
    /// A batch is delivered twice.
    BatchTwice,
    /// Two batches of a changelog change places.
    BatchesReordered,
    /// Records of open and aborted transactions are delivered.
    UncommittedRead,
    /// A reader is told to have seen all when it has begun.
    CaughtUpEarly,
    /// Now and then nothing of a partition is delivered any more.
    ReadingStops,
    // Asking.
    /// Committed offsets are those that were asked for the time before.
    CommittedStale,
    /// Committed offsets are told though a transaction is open on them, and not who wrote them.
    CommittedThoughOpen,
    /// Now and then no offset is told to be committed.
    CommittedNothing,
    /// The high watermark is told one too little.
    EndTooLittle,
    /// The high watermark is told to be where the partition begins.
    EndIsEarliest,
    /// A partition is told to begin later than it does.
    EarliestTooLate,
    /// The offset of a time is said to be the end, though records are as young.
    AtTimeIsEnd,
    /// A purge takes one record too many.
    PurgeTooFar,
    /// A purge takes everything that is there.
    PurgeAll,
    /// Transactions that were left open never end, neither by their timeout nor by fencing.
    TransactionsNeverEnd,
    // The group.
    /// A process does not hear that it has lost its partitions.
    LostUntold,
    /// A process does not hear of partitions that it is given.
    AssignedUntold,
    /// A partition is given to a process while another has it.
    AssignedToTwo,
    /// A partition is given up before its task is closed.
    GivenUpEarly,
    /// The group does not hear that a partition is given up.
    GiveUpLost,
    /// A process takes its membership to last for ever.
    LeaseForEver,
    // The disk.
    /// A write is reported done and not made.
    WriteSkipped,
    /// The offset of a write is kept without its rows.
    WriteWithoutRows,
    /// The last row of a write is left out.
    WriteIncomplete,
    /// The changelog offset of a write is too large.
    StoreOffsetTooFar,
    /// Deletions are not written.
    DeletionsIgnored,
    /// What was not committed reaches the disk.
    UncommittedOnDisk,
    /// The last row of a restored run is left out.
    RestoreIncomplete,
    /// Rows that were deleted are not deleted when a store is restored.
    RestoreKeepsDeleted,
    /// A task is given the stores of another.
    OtherTasksStores,
    /// A disk that has lost its rows still has their offset.
    LossKeepsOffset,
    /// What was written last is gone when a store is closed.
    CloseForgets,
    /// Files that are damaged are used again.
    DamageKept,
    /// Now and then a row is not found.
    GetMisses,
    /// A scan ends before its last row.
    ScanTooShort,
    /// A scan goes the other way.
    ScanReversed,
    // The clock.
    /// The clock of a process stands still.
    ClockStands,
    borne:
    /// The end of an effect is told twice.
    AnswerTwice,
    /// Reading begins a few records too early.
    ReadTooEarly,
    /// It is not told whose transaction was open on a task's offsets before.
    LastOwnerUntold,
    /// Fencing does nothing.
    FenceSkipped,
    /// An assignment is told twice.
    AssignedTwice,
    /// The group does not hear that a member leaves.
    LeaveUntold,
    /// The wall clock of a process jumps back and forth.
    WallClockJumps,
}

/// The bug of one process.
pub(super) struct Bug {
    kind: SeededBug,
    log: MemoryLog,
    disk: Arc<Disk>,
    group: String,
    state: Mutex<BugState>,
}

struct BugState {
    random: Random,
    /// What was told to be committed, the time before and the last time.
    told: BTreeMap<PartitionId, [Option<CommittedOffset>; 2]>,
    /// A member that has no partitions and is never expelled.
    bystander: Box<dyn Membership>,
}

impl Bug {
    /// A bug for the process with this disk.
    pub(super) fn new(kind: SeededBug, group: &str, disk: &Arc<Disk>, seed: u64) -> Arc<Self> {
        let log = disk.log.clone();
        let membership = MembershipConfig {
            group: group.to_owned(),
            instance_id: None,
            topics: Vec::new(),
            session_timeout: FOR_EVER,
            heartbeat_interval: FOR_EVER,
            rebalance_timeout: FOR_EVER,
            protocol: GroupProtocol::default(),
        };
        let state = BugState {
            random: Random::new(seed),
            told: BTreeMap::new(),
            bystander: log.join(membership).expect("memory does not fail"),
        };
        let (group, state) = (group.to_owned(), Mutex::new(state));
        Arc::new(Self { kind, log, disk: Arc::clone(disk), group, state })
    }

    fn with<R>(&self, act: impl FnOnce(&mut BugState) -> R) -> R {
        act(&mut self.state.lock().expect("no panic while held"))
    }

    fn is(&self, kind: SeededBug) -> bool {
        self.kind == kind
    }

    /// Whether this bug strikes now, as it does once in `n` times.
    fn strikes(&self, kind: SeededBug, n: u64) -> bool {
        self.is(kind) && self.with(|state| state.random.one_in(n))
    }

    /// Writes outside of transactions.
    fn outsider(&self) -> Box<dyn LogClient> {
        let config = ClientConfig {
            client_id: "outsider".to_owned(),
            isolation: Isolation::ReadCommitted,
            transactional_id: None,
            transaction_timeout: FOR_EVER,
            group: self.group.clone(),
            fetch_bytes_max: usize::MAX,
            batch_bytes_max: usize::MAX,
        };
        self.log.client(config).expect("memory does not fail")
    }

    /// The token of a member that is never expelled.
    fn token(&self) -> MemberToken {
        self.with(|state| state.bystander.token())
    }

    fn end_of(&self, partition: PartitionId) -> i64 {
        self.offset_of(partition, OffsetSpec::End)
    }

    fn earliest_of(&self, partition: PartitionId) -> i64 {
        self.offset_of(partition, OffsetSpec::Earliest)
    }

    fn offset_of(&self, partition: PartitionId, spec: OffsetSpec) -> i64 {
        self.log.admin().offsets(&[(partition, spec)]).map_or(0, |offsets| offsets[0])
    }

    fn is_changelog(&self, partition: PartitionId) -> bool {
        self.log.partitions().name(partition).topic.ends_with("-changelog")
    }

    /// The next partition of the same topic.
    fn neighbour(&self, partition: PartitionId) -> PartitionId {
        let ids = self.log.partitions();
        let TopicPartition { topic, partition } = ids.name(partition);
        let found = self.log.topics().into_iter().find(|info| info.name == *topic);
        let count = found.map_or(1, |info| info.partitions);
        ids.id(&TopicPartition::new(topic, (partition + 1) % count))
    }
}

/// What a client is made with.
pub(super) fn client_config(bug: Option<&Arc<Bug>>, mut config: ClientConfig) -> ClientConfig {
    match bug.map(|bug| bug.kind) {
        Some(SeededBug::UncommittedRead) => config.isolation = Isolation::ReadUncommitted,
        Some(SeededBug::TransactionsNeverEnd) => config.transaction_timeout = FOR_EVER,
        _ => {}
    }
    config
}

/// A client with the bug in it.
pub(super) fn client(bug: Option<&Arc<Bug>>, inner: Box<dyn LogClient>) -> Box<dyn LogClient> {
    match bug {
        Some(bug) => Box::new(client::BuggyClient::new(inner, Arc::clone(bug))),
        None => inner,
    }
}

/// Administrative calls with the bug in them.
pub(super) fn admin(bug: Option<&Arc<Bug>>, inner: Arc<dyn Admin>) -> Arc<dyn Admin> {
    match bug {
        Some(bug) => Arc::new(admin::BuggyAdmin { inner, bug: Arc::clone(bug) }),
        None => inner,
    }
}

/// A membership with the bug in it.
pub(super) fn membership(
    bug: Option<&Arc<Bug>>,
    inner: Box<dyn Membership>,
) -> Box<dyn Membership> {
    match bug {
        Some(bug) => Box::new(membership::BuggyMembership { inner, bug: Arc::clone(bug) }),
        None => inner,
    }
}

/// Stores with the bug in them.
pub(super) fn stores(bug: Option<&Arc<Bug>>, disk: &Arc<Disk>) -> Arc<dyn OpenStores> {
    match bug {
        Some(bug) => Arc::new(store::BuggyStores { bug: Arc::clone(bug) }),
        None => Arc::new(Arc::clone(disk)),
    }
}

/// What a kill does to the files, with the bug in it.
pub(super) fn lose(bug: Option<&Arc<Bug>>, disk: &Disk, loss: StateLoss) {
    let is_kept = bug.is_some_and(|bug| bug.is(SeededBug::LossKeepsOffset));
    if is_kept && loss == StateLoss::Everything {
        store::lose_rows(disk);
    } else {
        disk.lose(loss);
    }
}

/// A clock with the bug in it.
pub(super) fn clock(bug: Option<&Arc<Bug>>, inner: Arc<dyn Clock>) -> Arc<dyn Clock> {
    match bug {
        Some(bug) if bug.strikes(SeededBug::ClockStands, 2) => {
            Arc::new(StandingClock(inner.timestamp(), inner.instant()))
        }
        Some(bug) if bug.is(SeededBug::WallClockJumps) => {
            Arc::new(JumpingClock { inner, bug: Arc::clone(bug) })
        }
        _ => inner,
    }
}

struct JumpingClock {
    inner: Arc<dyn Clock>,
    bug: Arc<Bug>,
}

impl Clock for JumpingClock {
    fn timestamp(&self) -> Timestamp {
        let jump = self.bug.with(|state| state.random.below(20_000)) as i64 - 10_000;
        self.inner.timestamp().plus_millis(jump)
    }

    fn instant(&self) -> Instant {
        self.inner.instant()
    }
}

struct StandingClock(Timestamp, Instant);

impl Clock for StandingClock {
    fn timestamp(&self) -> Timestamp {
        self.0
    }

    fn instant(&self) -> Instant {
        self.1
    }
}
