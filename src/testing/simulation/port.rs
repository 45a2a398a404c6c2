//! What stands between a simulated process and the world? The log's ports, with faults in them.
//!
//! Every call passes [`Port::call`], which may end the process there and then: it unwinds, so that
//! not a line of the process runs behind the call at which it was killed.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::bug::{self, Bug};
use super::client::FaultyClient;
use super::fault::{Effect, Strike};
use super::owners::Owners;
use super::random::Random;
use crate::log::memory::MemoryLog;
use crate::log::{
    Admin, ClientConfig, CommittedOffset, GroupEvent, Log, LogClient, LogError, MemberToken,
    Membership, MembershipConfig, NewTopic, OffsetSpec, PartitionId, Partitions, TopicInfo, Waker,
};
use crate::time::{Clock, Instant, ManualClock};

/// What a kill unwinds with.
pub(super) struct Killed;

/// The faults under which one process stands, and its clock.
pub(super) struct Port {
    clock: Arc<ManualClock>,
    /// Which process it is.
    index: usize,
    owners: Arc<Owners>,
    state: Mutex<PortState>,
}

struct PortState {
    random: Random,
    /// Calls until the process dies.
    kill_in: Option<u32>,
    /// Disk operations until one fails, and how many do so.
    disk_fails_in: Option<(u32, u32)>,
    /// Reads of a store until one panics.
    panics_in: Option<u32>,
    /// Reads of a store until one finds its files damaged.
    damaged_in: Option<u32>,
    unknown: Vec<(Effect, bool)>,
    late_until: Instant,
    unavailable_until: Instant,
    slow_until: Instant,
    member: Option<MemberToken>,
}

impl Port {
    pub(super) fn new(
        clock: Arc<ManualClock>,
        index: usize,
        owners: Arc<Owners>,
        seed: u64,
    ) -> Arc<Self> {
        let never = Instant::default();
        let state = PortState {
            random: Random::new(seed),
            kill_in: None,
            disk_fails_in: None,
            panics_in: None,
            damaged_in: None,
            unknown: Vec::new(),
            late_until: never,
            unavailable_until: never,
            slow_until: never,
            member: None,
        };
        Arc::new(Self { clock, index, owners, state: Mutex::new(state) })
    }

    fn with<R>(&self, act: impl FnOnce(&mut PortState) -> R) -> R {
        act(&mut self.state.lock().expect("no panic while held"))
    }

    /// Lets a fault act on what follows.
    pub(super) fn strike(&self, strike: Strike) {
        let now = self.clock.instant();
        self.with(|state| match strike {
            Strike::Kill { after_calls, .. } => state.kill_in = Some(after_calls),
            Strike::UnknownOutcome { effect, happens } => state.unknown.push((effect, happens)),
            Strike::LateAnswers { lasting } => state.late_until = now + lasting,
            Strike::Unavailable { lasting } => state.unavailable_until = now + lasting,
            Strike::SlowReads { lasting } => state.slow_until = now + lasting,
            Strike::DiskFailure { after_calls, times } => {
                state.disk_fails_in = Some((after_calls, times));
            }
            Strike::Panic { after_reads } => state.panics_in = Some(after_reads),
            Strike::Damage { after_reads } => state.damaged_in = Some(after_reads),
            Strike::Stop { .. }
            | Strike::Join
            | Strike::Expel
            | Strike::Freeze { .. }
            | Strike::ClockJump { .. } => {}
        });
    }

    /// Ends every fault that still acts.
    pub(super) fn heal(&self) {
        self.with(|state| {
            let never = Instant::default();
            state.kill_in = None;
            state.disk_fails_in = None;
            state.panics_in = None;
            state.damaged_in = None;
            state.unknown.clear();
            state.late_until = never;
            state.unavailable_until = never;
            state.slow_until = never;
        });
    }

    /// A call of the process; it dies here if it is its time.
    pub(super) fn call(&self) {
        if self.with(|state| is_due(&mut state.kill_in)) {
            std::panic::resume_unwind(Box::new(Killed));
        }
    }

    /// A disk operation; whether it fails.
    pub(super) fn disk_fails(&self) -> bool {
        self.call();
        self.with(|state| match &mut state.disk_fails_in {
            Some((0, 0)) | None => false,
            Some((0, times)) => {
                *times -= 1;
                true
            }
            Some((calls, _)) => {
                *calls -= 1;
                false
            }
        })
    }

    /// A read of a store, which is in the middle of a record; whether it fails.
    pub(super) fn read_fails(&self) -> bool {
        if self.with(|state| is_due(&mut state.panics_in)) {
            std::panic::resume_unwind(Box::new("a simulated panic of user code"));
        }
        self.disk_fails()
    }

    /// Whether the files that are being read are damaged from now on.
    pub(super) fn damages(&self) -> bool {
        self.with(|state| is_due(&mut state.damaged_in))
    }

    /// Whether this answer is reported a second time.
    pub(super) fn is_doubled(&self) -> bool {
        let now = self.clock.instant();
        self.with(|state| now < state.late_until && state.random.one_in(4))
    }

    /// The process writes to a partition.
    pub(super) fn writes(&self, partition: PartitionId) {
        self.owners.writes(self.index, partition);
    }

    /// Whether the outcome of this effect is to be unknown; if so, whether it happens.
    pub(super) fn unknown(&self, effect: Effect) -> Option<bool> {
        self.with(|state| {
            let index = state.unknown.iter().position(|(kind, _)| *kind == effect)?;
            Some(state.unknown.remove(index).1)
        })
    }

    pub(super) fn now(&self) -> Instant {
        self.clock.instant()
    }

    pub(super) fn is_available(&self) -> bool {
        self.with(|state| state.unavailable_until <= self.clock.instant())
    }

    /// When an answer that is there now is reported.
    pub(super) fn answered_at(&self) -> Instant {
        let now = self.clock.instant();
        self.with(|state| delayed(&mut state.random, now, state.late_until))
    }

    /// When records that are there now arrive.
    pub(super) fn arrives_at(&self) -> Instant {
        let now = self.clock.instant();
        self.with(|state| delayed(&mut state.random, now, state.slow_until))
    }

    /// Who the process is in its group.
    pub(super) fn member(&self) -> Option<MemberToken> {
        self.with(|state| state.member.clone())
    }

    /// An error if the log does not answer.
    fn ask(&self) -> Result<(), LogError> {
        self.call();
        if self.is_available() {
            return Ok(());
        }
        Err(LogError::Unavailable("a simulated outage".to_owned()))
    }
}

/// Counts down to what happens once.
fn is_due(calls: &mut Option<u32>) -> bool {
    match calls {
        Some(0) => calls.take().is_some(),
        Some(left) => {
            *left -= 1;
            false
        }
        None => false,
    }
}

fn delayed(random: &mut Random, now: Instant, until: Instant) -> Instant {
    if now >= until { now } else { now + Duration::from_millis(random.below(80)) }
}

/// The log as one process reaches it.
pub(super) struct FaultyLog {
    pub(super) inner: MemoryLog,
    pub(super) port: Arc<Port>,
    pub(super) bug: Option<Arc<Bug>>,
}

impl Log for FaultyLog {
    fn partitions(&self) -> &Partitions {
        self.inner.partitions()
    }

    fn client(&self, config: ClientConfig) -> Result<Box<dyn LogClient>, LogError> {
        self.port.call();
        let inner = self.inner.client(bug::client_config(self.bug.as_ref(), config))?;
        let client = FaultyClient::new(inner, Arc::clone(&self.port));
        Ok(bug::client(self.bug.as_ref(), Box::new(client)))
    }

    fn admin(&self) -> Arc<dyn Admin> {
        let admin = FaultyAdmin { inner: self.inner.admin(), port: Arc::clone(&self.port) };
        bug::admin(self.bug.as_ref(), Arc::new(admin))
    }

    fn join(&self, config: MembershipConfig) -> Result<Box<dyn Membership>, LogError> {
        self.port.ask()?;
        let inner = self.inner.join(config)?;
        let membership = FaultyMembership { inner, port: Arc::clone(&self.port) };
        Ok(bug::membership(self.bug.as_ref(), Box::new(membership)))
    }
}

struct FaultyAdmin {
    inner: Arc<dyn Admin>,
    port: Arc<Port>,
}

impl Admin for FaultyAdmin {
    fn cluster_id(&self) -> Result<String, LogError> {
        self.port.ask()?;
        self.inner.cluster_id()
    }

    fn topics(&self, names: &[String]) -> Result<Vec<Option<TopicInfo>>, LogError> {
        self.port.ask()?;
        self.inner.topics(names)
    }

    fn topic_configs(&self, names: &[String]) -> Result<Vec<Vec<(String, String)>>, LogError> {
        self.port.ask()?;
        self.inner.topic_configs(names)
    }

    fn topic_names(&self) -> Result<Vec<String>, LogError> {
        self.port.ask()?;
        self.inner.topic_names()
    }

    fn groups(&self) -> Result<Vec<String>, LogError> {
        self.port.ask()?;
        self.inner.groups()
    }

    fn create_topics(&self, topics: &[NewTopic]) -> Result<(), LogError> {
        self.port.ask()?;
        self.inner.create_topics(topics)
    }

    fn committed(
        &self,
        group: &str,
        partitions: &[PartitionId],
    ) -> Result<Vec<Option<CommittedOffset>>, LogError> {
        self.port.ask()?;
        self.inner.committed(group, partitions)
    }

    fn committed_so_far(
        &self,
        group: &str,
        partitions: &[PartitionId],
    ) -> Result<Vec<Option<CommittedOffset>>, LogError> {
        self.port.ask()?;
        self.inner.committed_so_far(group, partitions)
    }

    fn commit(&self, group: &str, offsets: &[CommittedOffset]) -> Result<(), LogError> {
        self.port.ask()?;
        self.inner.commit(group, offsets)
    }

    fn offsets(&self, wanted: &[(PartitionId, OffsetSpec)]) -> Result<Vec<i64>, LogError> {
        self.port.ask()?;
        self.inner.offsets(wanted)
    }

    fn delete_records(&self, before: &[(PartitionId, i64)]) -> Result<(), LogError> {
        self.port.ask()?;
        self.inner.delete_records(before)
    }

    fn fence(&self, transactional_ids: &[String]) -> Vec<Result<(), LogError>> {
        let fence = |id| {
            self.port.ask()?;
            self.inner.fence(std::slice::from_ref(id)).into_iter().collect()
        };
        transactional_ids.iter().map(fence).collect()
    }
}

struct FaultyMembership {
    inner: Box<dyn Membership>,
    port: Arc<Port>,
}

impl Membership for FaultyMembership {
    fn poll(&mut self, now: Instant, events: &mut Vec<GroupEvent>) {
        self.port.call();
        if self.port.is_available() {
            let known = events.len();
            self.inner.poll(now, events);
            self.port.owners.told(self.port.index, &events[known..]);
        }
    }

    fn give_up(&mut self, partitions: &[PartitionId]) {
        self.port.call();
        self.inner.give_up(partitions);
    }

    fn token(&self) -> MemberToken {
        let token = self.inner.token();
        self.port.with(|state| state.member = Some(token.clone()));
        token
    }

    fn lease(&self) -> Instant {
        self.inner.lease()
    }

    fn wait(&mut self, at_most: Duration) {
        self.inner.wait(at_most);
    }

    fn waker(&self) -> Waker {
        self.inner.waker()
    }

    fn leave(&mut self) {
        self.port.call();
        self.inner.leave();
    }
}
