//! How does a case drive a log without caring how fast it is?

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use millstream::log::{
    ClientConfig, CommittedOffset, EffectId, EncodedHeaders, GroupEvent, GroupProtocol, Isolation,
    Log, LogClient, LogError, LogEvent, MemberToken, Membership, MembershipConfig, NewTopic,
    OffsetSpec, OpenBatch, Outcome, PartitionId, ReadError, RecordCursor, TopicPartition,
    WriteError,
};
use millstream::time::{Clock, SystemClock};
use millstream::{Headers, Timestamp};

/// How long anything may take. A broker on a loaded machine needs some seconds for a rebalance.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a step waits for news.
const STEP: Duration = Duration::from_millis(50);

/// Distinguishes the names that one test process uses.
static NAMES: AtomicU32 = AtomicU32::new(0);

/// A log under test.
pub(crate) struct Subject {
    pub(crate) log: Arc<dyn Log>,
    /// Makes the log forget what it may: a broker does so by itself, the in-process log when told.
    pub(crate) tend: Box<dyn Fn()>,
    name: String,
}

impl Subject {
    pub(crate) fn new(log: Arc<dyn Log>, tend: impl Fn() + 'static) -> Self {
        let number = NAMES.fetch_add(1, Ordering::Relaxed);
        let name = format!("contract-{}-{number}", std::process::id());
        Self { log, tend: Box::new(tend), name }
    }

    /// A name that no other case uses.
    pub(crate) fn name(&self, what: &str) -> String {
        format!("{}-{what}", self.name)
    }

    /// A new topic; its partitions in order.
    pub(crate) fn topic(&self, what: &str, partitions: u32) -> Vec<PartitionId> {
        self.topic_with(what, partitions, &[])
    }

    /// A new topic with settings. Times of test records are old, so nothing expires.
    pub(crate) fn topic_with(
        &self,
        what: &str,
        partitions: u32,
        configs: &[(&str, &str)],
    ) -> Vec<PartitionId> {
        let name = self.name(what);
        let given = [("retention.ms", "-1")].into_iter().chain(configs.iter().copied());
        let configs: BTreeMap<_, _> = given.collect();
        let configs = configs.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        let topic = NewTopic { name: name.clone(), partitions, replication: None, configs };
        let admin = self.log.admin();
        admin.create_topics(&[topic]).expect("the topic is created");
        let deadline = Deadline::new();
        loop {
            let known = admin.topics(std::slice::from_ref(&name)).expect("topics are told");
            let ready = known[0].as_ref().is_some_and(|info| info.partitions == partitions);
            let ids = self.ids(what, partitions);
            let asked: Vec<_> = ids.iter().map(|id| (*id, OffsetSpec::End)).collect();
            if ready && admin.offsets(&asked).is_ok() {
                return ids;
            }
            deadline.check("the new topic is there");
        }
    }

    /// The ids of a topic's partitions, whether it exists or not.
    pub(crate) fn ids(&self, what: &str, partitions: u32) -> Vec<PartitionId> {
        let name: Arc<str> = self.name(what).into();
        let id = |index| self.log.partitions().id(&TopicPartition::new(Arc::clone(&name), index));
        (0..partitions).map(id).collect()
    }

    pub(crate) fn config(&self) -> ClientConfig {
        ClientConfig {
            client_id: self.name("client"),
            isolation: Isolation::ReadCommitted,
            transactional_id: None,
            transaction_timeout: Duration::from_secs(50),
            group: self.name("group"),
            fetch_bytes_max: 1 << 20,
            batch_bytes_max: 1024 * 1024,
        }
    }

    pub(crate) fn client(&self, config: ClientConfig) -> Driver {
        let client = self.log.client(config).expect("a client is made");
        Driver::new(client)
    }

    /// A client that writes outside of transactions and reads what is committed.
    pub(crate) fn plain(&self) -> Driver {
        self.client(self.config())
    }

    /// A reader that sees everything.
    pub(crate) fn uncommitted(&self) -> Driver {
        self.client(ClientConfig { isolation: Isolation::ReadUncommitted, ..self.config() })
    }

    /// A transactional writer that is ready to begin.
    pub(crate) fn writer(&self, id: &str) -> Driver {
        let transactional_id = Some(self.name(id));
        let mut writer = self.client(ClientConfig { transactional_id, ..self.config() });
        let effect = writer.client.init_producer();
        writer.done(effect);
        writer
    }

    pub(crate) fn offset(&self, partition: PartitionId, spec: OffsetSpec) -> i64 {
        let offsets = self.log.admin().offsets(&[(partition, spec)]);
        offsets.expect("offsets are told")[0]
    }

    /// What the subject's group has committed, once no transaction is open on it.
    pub(crate) fn committed(&self, partition: PartitionId) -> Option<CommittedOffset> {
        let deadline = Deadline::new();
        loop {
            match self.log.admin().committed(&self.name("group"), &[partition]) {
                Ok(mut offsets) => return offsets.remove(0),
                Err(LogError::Unstable | LogError::Unavailable(_)) => {}
                Err(error) => panic!("committed offsets are told: {error}"),
            }
            deadline.check("no transaction is open on the offsets");
        }
    }

    /// All that a read-committed reader sees of a partition now.
    pub(crate) fn read_all(&self, partition: PartitionId) -> Vec<Rec> {
        self.read_up_to(partition, 0)
    }

    /// All that a read-committed reader sees of a partition once no transaction that has ended
    /// hides any of it: the end is decided a little before a partition is told of it.
    pub(crate) fn read_decided(&self, partition: PartitionId) -> Vec<Rec> {
        self.read_up_to(partition, self.offset(partition, OffsetSpec::End))
    }

    /// Reads until the reader is caught up, not before this offset.
    fn read_up_to(&self, partition: PartitionId, end: i64) -> Vec<Rec> {
        let mut reader = self.plain();
        reader.read_from(partition, self.offset(partition, OffsetSpec::Earliest));
        reader.until("the reader is caught up", |r| {
            r.last_caught_up(partition).is_some_and(|position| position >= end)
        });
        reader.read.remove(&partition).unwrap_or_default()
    }

    /// Joins the subject's group for these topics.
    pub(crate) fn member(&self, topics: &[&str]) -> Member {
        self.member_as(self.membership(topics))
    }

    pub(crate) fn member_as(&self, config: MembershipConfig) -> Member {
        let membership = self.log.join(config).expect("the group is joined");
        Member {
            membership,
            clock: SystemClock::default(),
            owned: BTreeSet::new(),
            revoking: BTreeSet::new(),
            lost: BTreeSet::new(),
            failed: None,
        }
    }

    /// A membership of the subject's group.
    pub(crate) fn membership(&self, topics: &[&str]) -> MembershipConfig {
        MembershipConfig {
            group: self.name("group"),
            instance_id: None,
            topics: topics.iter().map(|what| self.name(what)).collect(),
            session_timeout: Duration::from_secs(10),
            heartbeat_interval: Duration::from_millis(500),
            rebalance_timeout: Duration::from_secs(30),
            protocol: GroupProtocol::CooperativeSticky,
        }
    }

    /// As [`membership`](Self::membership), of a member that is soon missed.
    /// Ends whatever is open under a transactional id.
    pub(crate) fn fence(&self, id: &str) {
        let answers = self.log.admin().fence(&[self.name(id)]);
        assert!(matches!(answers[..], [Ok(())]), "{answers:?}");
    }

    pub(crate) fn short_membership(&self, topics: &[&str]) -> MembershipConfig {
        MembershipConfig {
            session_timeout: Duration::from_secs(2),
            rebalance_timeout: Duration::from_secs(3),
            ..self.membership(topics)
        }
    }
}

/// When to stop waiting.
pub(crate) struct Deadline(SystemClock);

impl Deadline {
    pub(crate) fn new() -> Self {
        Self(SystemClock::default())
    }

    pub(crate) fn check(&self, what: &str) {
        let waited = self.0.instant().since(millstream::time::Instant::default());
        assert!(waited < PATIENCE, "after {} s: {what}", waited.as_secs());
    }
}

/// A record as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rec {
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Headers,
}

/// A client and all that it has reported.
pub(crate) struct Driver {
    pub(crate) client: Box<dyn LogClient>,
    clock: SystemClock,
    /// Where each partition's reader was last told to begin: what a batch holds before is left out.
    from: BTreeMap<PartitionId, i64>,
    pub(crate) read: BTreeMap<PartitionId, Vec<Rec>>,
    pub(crate) caught_up: BTreeMap<PartitionId, Vec<i64>>,
    pub(crate) failed: BTreeMap<PartitionId, ReadError>,
    ended: HashMap<EffectId, Outcome>,
}

impl Driver {
    fn new(client: Box<dyn LogClient>) -> Self {
        Self {
            client,
            clock: SystemClock::default(),
            from: BTreeMap::new(),
            read: BTreeMap::new(),
            caught_up: BTreeMap::new(),
            failed: BTreeMap::new(),
            ended: HashMap::new(),
        }
    }

    pub(crate) fn read_from(&mut self, partition: PartitionId, offset: i64) {
        self.from.insert(partition, offset);
        self.client.read_from(partition, offset);
    }

    pub(crate) fn poll(&mut self) {
        let mut events = Vec::new();
        self.client.poll(self.clock.instant(), &mut events);
        for event in events {
            self.note(event);
        }
    }

    fn note(&mut self, event: LogEvent) {
        match event {
            LogEvent::Fetched(batch) => {
                let partition = batch.partition();
                let from = *self.from.get(&partition).expect("only what was asked for is read");
                let mut cursor = RecordCursor::new(batch);
                cursor.skip_to(from);
                let read = self.read.entry(partition).or_default();
                while let Some(record) = cursor.next() {
                    let record = record.expect("the batch is whole");
                    read.push(Rec {
                        offset: record.offset,
                        timestamp: record.timestamp.as_millis(),
                        key: record.key.map(<[u8]>::to_vec),
                        value: record.value.map(<[u8]>::to_vec),
                        headers: record.headers.to_headers().expect("names are text"),
                    });
                }
            }
            LogEvent::CaughtUp { partition, position } => {
                self.caught_up.entry(partition).or_default().push(position);
            }
            LogEvent::ReadFailed { partition, error } => {
                self.failed.insert(partition, error);
            }
            LogEvent::Ended { effect, outcome } => {
                let earlier = self.ended.insert(effect, outcome);
                assert!(earlier.is_none(), "an effect ends once");
            }
        }
    }

    /// Polls and waits until this holds.
    pub(crate) fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let deadline = Deadline::new();
        loop {
            self.poll();
            if holds(self) {
                return;
            }
            deadline.check(what);
            self.client.wait(STEP);
        }
    }

    /// How an effect ended.
    pub(crate) fn outcome(&mut self, effect: EffectId) -> Outcome {
        self.until("the effect ends", |driver| driver.ended.contains_key(&effect));
        self.ended.remove(&effect).expect("it has ended")
    }

    /// Waits for an effect that must succeed; a send tells the offset behind its batch.
    pub(crate) fn done(&mut self, effect: EffectId) -> Option<i64> {
        match self.outcome(effect) {
            Outcome::Done { next_offset } => next_offset,
            other => panic!("the effect must be done, but: {other:?}"),
        }
    }

    /// Waits for an effect that must be refused because someone newer is there.
    pub(crate) fn fenced(&mut self, effect: EffectId) {
        let outcome = self.outcome(effect);
        let is_fenced = matches!(outcome, Outcome::Failed(WriteError::Fenced(_)));
        assert!(is_fenced, "the effect must be fenced, but: {outcome:?}");
    }

    pub(crate) fn begin(&mut self) {
        self.client.begin_transaction();
    }

    /// Sends values as one batch, the value being its own key, and waits for the acknowledgement.
    pub(crate) fn write(&mut self, partition: PartitionId, values: &[&str]) {
        let effect = self.client.send(partition, batch(values));
        self.done(effect);
    }

    pub(crate) fn end(&mut self, end: millstream::log::End) {
        let effect = self.client.end_transaction(end);
        self.done(effect);
    }

    /// The values read so far.
    pub(crate) fn values(&self, partition: PartitionId) -> Vec<String> {
        let read = self.read.get(&partition).map_or(&[][..], Vec::as_slice);
        let text = |value: &Vec<u8>| String::from_utf8_lossy(value).into_owned();
        read.iter().filter_map(|record| record.value.as_ref()).map(text).collect()
    }

    /// Reads on until this value has come, and tells all values so far.
    pub(crate) fn values_to(&mut self, partition: PartitionId, last: &str) -> Vec<String> {
        let what = format!("`{last}` is read");
        self.until(&what, |driver| driver.values(partition).iter().any(|value| value == last));
        self.values(partition)
    }

    /// Reads on until the reader has said that it has seen all up to here.
    pub(crate) fn caught_up_to(&mut self, partition: PartitionId, position: i64) {
        let what = format!("the reader is caught up to {position}");
        self.until(&what, |driver| driver.last_caught_up(partition) == Some(position));
    }

    pub(crate) fn last_caught_up(&self, partition: PartitionId) -> Option<i64> {
        self.caught_up.get(&partition)?.last().copied()
    }

    /// Waits until reading of a partition has ended.
    pub(crate) fn read_error(&mut self, partition: PartitionId) -> ReadError {
        self.until("reading ends", |driver| driver.failed.contains_key(&partition));
        self.failed.remove(&partition).expect("it has ended")
    }
}

/// A member of a group and what it owns.
pub(crate) struct Member {
    pub(crate) membership: Box<dyn Membership>,
    pub(crate) clock: SystemClock,
    pub(crate) owned: BTreeSet<PartitionId>,
    /// Those it has been asked to give up and has not.
    pub(crate) revoking: BTreeSet<PartitionId>,
    /// Those that were taken away.
    pub(crate) lost: BTreeSet<PartitionId>,
    /// Why the membership has ended.
    pub(crate) failed: Option<String>,
}

impl Member {
    pub(crate) fn poll(&mut self) {
        let mut events = Vec::new();
        self.membership.poll(self.clock.instant(), &mut events);
        for event in events {
            match event {
                GroupEvent::Assigned(partitions) => {
                    for id in partitions {
                        assert!(self.owned.insert(id), "nothing is assigned twice");
                    }
                }
                GroupEvent::Revoking(partitions) => {
                    for id in &partitions {
                        assert!(self.owned.contains(id), "only what is owned is revoked");
                    }
                    self.revoking.extend(partitions);
                }
                GroupEvent::Lost(partitions) => {
                    for id in partitions {
                        assert!(self.owned.remove(&id), "only what is owned is lost");
                        self.revoking.remove(&id);
                        self.lost.insert(id);
                    }
                }
                GroupEvent::Failed(text) => self.failed = Some(text),
            }
        }
    }

    /// Polls and waits a little.
    pub(crate) fn step(&mut self) {
        self.poll();
        self.membership.wait(STEP);
        self.poll();
    }

    /// Gives up all that it was asked to.
    pub(crate) fn give_up(&mut self) {
        let revoking: Vec<PartitionId> = std::mem::take(&mut self.revoking).into_iter().collect();
        for id in &revoking {
            self.owned.remove(id);
        }
        if !revoking.is_empty() {
            self.membership.give_up(&revoking);
        }
    }

    /// Waits until it owns exactly that many partitions and none is being revoked.
    pub(crate) fn owns(&mut self, count: usize) {
        let deadline = Deadline::new();
        while self.owned.len() != count || !self.revoking.is_empty() {
            self.step();
            assert_eq!(self.failed, None, "the membership goes on");
            deadline.check("the member owns its share");
        }
    }
}

/// A batch of these values, each its own key, at time 1000 and on.
pub(crate) fn batch(values: &[&str]) -> OpenBatch {
    let mut batch = OpenBatch::new();
    let none = EncodedHeaders::new();
    for (millis, value) in (1_000..).zip(values) {
        let bytes = Some(value.as_bytes());
        batch.append(Timestamp::from_millis(millis), bytes, bytes, none.view());
    }
    batch
}

/// An offset to be committed.
pub(crate) fn at(partition: PartitionId, offset: i64) -> CommittedOffset {
    CommittedOffset { partition, offset, metadata: format!("up to {offset}") }
}

/// A writer that is no member of the group.
pub(crate) fn outsider(group: &str) -> MemberToken {
    let group = group.to_owned();
    MemberToken { group, member_id: String::new(), generation: -1, instance_id: None }
}

/// Drives a whole group until this holds; whoever is asked to gives up at once.
pub(crate) fn settle(
    group: &mut [&mut Member],
    what: &str,
    holds: impl Fn(&[&mut Member]) -> bool,
) {
    let deadline = Deadline::new();
    while !holds(group) {
        for member in &mut *group {
            member.step();
            member.give_up();
        }
        deadline.check(what);
    }
}

/// One record at this time.
pub(crate) fn record(millis: i64, key: Option<&str>, value: Option<&str>) -> OpenBatch {
    let mut batch = OpenBatch::new();
    let none = EncodedHeaders::new();
    let (key, value) = (key.map(str::as_bytes), value.map(str::as_bytes));
    batch.append(Timestamp::from_millis(millis), key, value, none.view());
    batch
}
