//! The data plane over librdkafka: one consumer, one producer, and a thread for the calls that
//! block.

mod pack;
mod reader;
mod writer;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use self::reader::{OutOfRange, Reader};
use self::writer::Writer;
use super::calls::Calls;
use super::errors::{Call, DONE, Verdict, outcome, verdict};
use super::members::Members;
use super::properties::Properties;
use super::signal::Signal;
use super::sys::{Administer, Code, Fault, GroupMetadata, Handle, PartitionList, code};
use crate::log::{
    ClientConfig, CommittedOffset, EffectId, End, Isolation, LogClient, LogError, LogEvent,
    MemberToken, OpenBatch, Outcome, PartitionId, Partitions, ReadError, Waker, WriteError,
};
use crate::time::{Instant, millis};

/// How long the broker may take to answer a call.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a call may take that does not keep to its timeout.
const CALL_PATIENCE: Duration = Duration::from_secs(60);

/// How long the end of a rebalance is waited for, between two attempts to commit and in all.
const REBALANCE_POLL: Duration = Duration::from_millis(20);
const REBALANCE_POLLS_MAX: usize = 500;

/// What a call answered.
#[derive(Debug)]
enum Answer {
    Ended(EffectId, Outcome),
    Limits(OutOfRange, Result<(i64, i64), Fault>),
    /// How many partitions a topic has; none if it does not exist.
    Count(Arc<str>, Result<Option<u32>, Fault>),
}

/// Reads and writes over librdkafka.
pub(super) struct Client {
    config: ClientConfig,
    properties: Properties,
    partitions: Partitions,
    members: Members,
    signal: Arc<Signal>,
    reader: Reader,
    /// Made at the first need; made anew by `init_producer`.
    writer: Option<Writer>,
    /// An instance of the group that is not a member of it, for commits outside of transactions.
    committer: Option<Arc<Handle>>,
    is_in_transaction: bool,
    /// What ends the transaction.
    ending: Option<EffectId>,
    /// Why the transaction could not begin; its effects end with it.
    not_begun: Option<Fault>,
    calls: Calls<Answer>,
    answers: Vec<Answer>,
    /// Ended without the broker.
    ended: Vec<LogEvent>,
    next_effect: u64,
    /// Whether the last poll left something behind.
    is_more: bool,
}

impl Client {
    /// A client for one worker or restorer.
    pub(super) fn new(
        config: ClientConfig,
        properties: &Properties,
        partitions: &Partitions,
        members: &Members,
    ) -> Result<Self, LogError> {
        let signal = Arc::new(Signal::default());
        let reader = Reader::new(&reading(properties, &config), partitions, &signal)?;
        let calls = Calls::new(format!("{}-calls", config.client_id), &signal, CALL_PATIENCE);
        Ok(Self {
            config,
            properties: properties.clone(),
            partitions: partitions.clone(),
            members: members.clone(),
            signal,
            reader,
            writer: None,
            committer: None,
            is_in_transaction: false,
            ending: None,
            not_begun: None,
            calls,
            answers: Vec::new(),
            ended: Vec::new(),
            next_effect: 0,
            is_more: false,
        })
    }

    fn effect(&mut self) -> EffectId {
        self.next_effect += 1;
        EffectId(self.next_effect)
    }

    /// Ends an effect without the broker.
    fn end_now(&mut self, effect: EffectId, outcome: Outcome) {
        self.ended.push(LogEvent::Ended { effect, outcome });
        self.signal.raise();
    }

    /// Makes a call that waits for the broker.
    fn call(
        &mut self,
        effect: EffectId,
        kind: Call,
        call: impl FnOnce() -> Result<(), Fault> + Send + 'static,
    ) {
        self.calls.ask(
            move || Answer::Ended(effect, outcome(call(), kind)),
            move || Answer::Ended(effect, Outcome::Unknown),
        );
    }

    /// Puts a new producer in the place of the present one.
    fn replace_writer(&mut self) -> Result<(), LogError> {
        if let Some(writer) = self.writer.take() {
            let retired = writer.retire(&mut self.ended);
            self.calls.tell(move || retired.end());
        }
        let properties = writing(&self.properties, &self.config);
        self.writer = Some(Writer::new(&properties, &self.signal)?);
        Ok(())
    }

    /// The producer; made now if it needs no epoch and is not there yet.
    fn writer(&mut self) -> Result<&mut Writer, WriteError> {
        if self.writer.is_none() && self.config.transactional_id.is_none() {
            self.replace_writer().map_err(|error| WriteError::Fatal(error.to_string()))?;
        }
        let missing = || WriteError::Fatal("the producer has not been initialised".into());
        self.writer.as_mut().ok_or_else(missing)
    }

    /// Whoever commits offsets outside of a transaction: the member itself, or nobody's member.
    fn committer(&mut self, member: &MemberToken) -> Result<Arc<Handle>, WriteError> {
        if !member.member_id.is_empty() {
            return self.members.current(member);
        }
        if self.committer.is_none() {
            let group = if member.group.is_empty() { &self.config.group } else { &member.group };
            let owned = [
                ("client.id", self.config.client_id.as_str()),
                ("group.id", group.as_str()),
                ("enable.auto.commit", "false"),
            ];
            let made = Handle::new(super::sys::Kind::Consumer, &self.properties.plain(&owned));
            self.committer = Some(made.map_err(|error| WriteError::Fatal(error.to_string()))?);
        }
        Ok(Arc::clone(self.committer.as_ref().expect("it was made above")))
    }

    fn commit_outside(&mut self, effect: EffectId, offsets: PartitionList, member: &MemberToken) {
        match self.committer(member) {
            Ok(handle) => {
                let (members, member) = (self.members.clone(), member.clone());
                self.call(effect, Call::Offsets, move || {
                    commit_patiently(&handle, &offsets, || members.current(&member).is_ok())
                });
            }
            Err(error) => self.end_now(effect, Outcome::Failed(error)),
        }
    }

    fn commit_inside(&mut self, effect: EffectId, offsets: PartitionList, member: &MemberToken) {
        if let Some(fault) = self.not_begun.clone() {
            return self.end_now(effect, outcome(Err(fault), Call::Offsets));
        }
        let (members, mut member) = (self.members.clone(), member.clone());
        if member.group.is_empty() {
            member.group.clone_from(&self.config.group);
        }
        match self.writer() {
            Ok(writer) => {
                let handle = Arc::clone(writer.handle());
                self.call(effect, Call::Offsets, move || {
                    let member = GroupMetadata::of(&members.renewed(&member));
                    handle.send_offsets(&offsets, &member, CALL_TIMEOUT)
                });
            }
            Err(error) => self.end_now(effect, Outcome::Failed(error)),
        }
    }

    /// Turns answers into events.
    fn take_answers(&mut self, now: Instant, events: &mut Vec<LogEvent>) {
        self.calls.poll(now, &mut self.answers);
        for answer in std::mem::take(&mut self.answers) {
            match answer {
                Answer::Ended(effect, outcome) => {
                    if self.ending == Some(effect) && matches!(outcome, Outcome::Done { .. }) {
                        self.is_in_transaction = false;
                    }
                    events.push(LogEvent::Ended { effect, outcome });
                }
                Answer::Limits(lost, limits) => self.out_of_range(&lost, limits, events),
                Answer::Count(topic, Ok(count)) => {
                    self.reader.end_missing(&topic, count.unwrap_or(0), events);
                }
                // The library looks again, and says so again.
                Answer::Count(_, Err(fault)) => {
                    tracing::warn!(target: "millstream::kafka", "{}", fault.text);
                }
            }
        }
    }

    /// Why nothing can be written now by a client that writes in transactions.
    fn refusal(&self) -> Option<WriteError> {
        self.config.transactional_id.as_ref()?;
        let why = match (&self.writer, self.is_in_transaction) {
            (None, _) => "the producer has not been initialised",
            (Some(_), false) => "no transaction has begun",
            (Some(_), true) => return None,
        };
        Some(WriteError::Fatal(why.to_owned()))
    }

    fn out_of_range(
        &mut self,
        lost: &OutOfRange,
        limits: Result<(i64, i64), Fault>,
        events: &mut Vec<LogEvent>,
    ) {
        if !self.reader.is_lost(lost.partition, lost.reading) {
            return;
        }
        match limits {
            // The log has grown, or its leader has come back: the position is in range after all.
            Ok((earliest, end)) if (earliest..=end).contains(&lost.offset) => {
                self.reader.read_from(lost.partition, lost.offset);
            }
            Ok((earliest, end)) => {
                self.reader.stop(lost.partition);
                let error = ReadError::OutOfRange { offset: lost.offset, earliest, end };
                events.push(LogEvent::ReadFailed { partition: lost.partition, error });
            }
            Err(fault) => {
                tracing::warn!(target: "millstream::kafka", "{}", fault.text);
                self.reader.read_from(lost.partition, lost.offset);
            }
        }
    }

    /// Asks for the limits of a partition whose position they do not include.
    fn ask_limits(&mut self, lost: OutOfRange) {
        let handle = Arc::clone(self.reader.handle());
        let late = lost.clone();
        self.calls.ask(
            move || {
                let name = &lost.name;
                let limits = handle.watermarks(&name.topic, name.partition, CALL_TIMEOUT);
                Answer::Limits(lost, limits)
            },
            move || Answer::Limits(late, Err(Fault::of(TIMED_OUT))),
        );
    }

    /// Asks which of the topics that are being read exist.
    fn ask_counts(&mut self) {
        for topic in self.reader.topics_read() {
            let handle = Arc::clone(self.reader.handle());
            let late = Arc::clone(&topic);
            self.calls.ask(
                move || {
                    let count = handle.partition_count(&topic, CALL_TIMEOUT);
                    Answer::Count(topic, count)
                },
                move || Answer::Count(late, Err(Fault::of(TIMED_OUT))),
            );
        }
    }

    /// Finds out why records were given up that had not been sent: the library then says no more
    /// than that they were, and what would never succeed would be tried again and again.
    fn tell_why(&self, events: &mut [LogEvent]) {
        let Some(writer) = self.writer.as_ref().filter(|_| self.is_in_transaction) else { return };
        // A transaction that ends could be over by now, and another would begin.
        if self.ending.is_some() || self.not_begun.is_some() {
            return;
        }
        for event in events {
            if let LogEvent::Ended { outcome, .. } = event
                && matches!(outcome, Outcome::Failed(WriteError::Abort(_)))
                && let Err(fault) = writer.handle().begin_transaction()
                && verdict(fault.code, Call::Produce) == Verdict::Fatal
            {
                *outcome = Outcome::Failed(WriteError::Fatal(fault.text));
            }
        }
    }

    /// Aborts the transaction of a producer that has left a gap in its sequence, and puts another
    /// in its place: the broker refuses what follows a gap, and librdkafka 2.12 keeps its epoch.
    fn abort_and_replace(&mut self, effect: EffectId) {
        let Some(writer) = self.writer.take() else { return };
        let old = Arc::clone(writer.handle());
        let retired = writer.retire(&mut self.ended);
        match Writer::new(&writing(&self.properties, &self.config), &self.signal) {
            Ok(writer) => {
                let new = Arc::clone(writer.handle());
                self.writer = Some(writer);
                self.call(effect, Call::End, move || {
                    old.abort_transaction(CALL_TIMEOUT)?;
                    new.init_transactions(CALL_TIMEOUT)
                });
            }
            Err(error) => {
                let error = WriteError::Fatal(error.to_string());
                self.end_now(effect, Outcome::Failed(error));
            }
        }
        self.calls.tell(move || retired.end());
    }
}

const TIMED_OUT: Code = super::sys::code!(RD_KAFKA_RESP_ERR__TIMED_OUT);

impl LogClient for Client {
    fn read_from(&mut self, partition: PartitionId, offset: i64) {
        // To the library, negative offsets are names of places.
        if offset < 0 {
            let lost = self.reader.lose(partition, offset);
            return self.ask_limits(lost);
        }
        self.reader.read_from(partition, offset);
    }

    fn stop_reading(&mut self, partition: PartitionId) {
        self.reader.stop(partition);
    }

    fn pause(&mut self, partition: PartitionId, paused: bool) {
        self.reader.pause(partition, paused);
    }

    fn init_producer(&mut self) -> EffectId {
        let effect = self.effect();
        self.is_in_transaction = false;
        self.ending = None;
        self.not_begun = None;
        let is_transactional = self.config.transactional_id.is_some();
        match self.replace_writer().and(self.writer().map_err(fatal)) {
            Ok(writer) if is_transactional => {
                let handle = Arc::clone(writer.handle());
                self.call(effect, Call::Init, move || handle.init_transactions(CALL_TIMEOUT));
            }
            Ok(_) => self.end_now(effect, DONE),
            Err(error) => {
                let error = WriteError::Fatal(error.to_string());
                self.end_now(effect, Outcome::Failed(error));
            }
        }
        effect
    }

    fn begin_transaction(&mut self) {
        self.is_in_transaction = true;
        self.ending = None;
        let begun = match self.writer.as_ref() {
            Some(writer) => writer.handle().begin_transaction(),
            None => Err(Fault::of(super::sys::code!(RD_KAFKA_RESP_ERR__STATE))),
        };
        self.not_begun = begun.err();
    }

    fn send(&mut self, partition: PartitionId, batch: OpenBatch) -> EffectId {
        let effect = self.effect();
        if let Some(error) = self.refusal() {
            self.end_now(effect, Outcome::Failed(error));
            return effect;
        }
        if let Some(fault) = self.not_begun.clone() {
            self.end_now(effect, outcome(Err(fault), Call::Produce));
            return effect;
        }
        let name = self.partitions.name(partition);
        match self.writer() {
            Ok(writer) => writer.send(effect, partition, &name, batch),
            Err(error) => self.end_now(effect, Outcome::Failed(error)),
        }
        effect
    }

    fn commit_offsets(&mut self, offsets: &[CommittedOffset], member: &MemberToken) -> EffectId {
        let effect = self.effect();
        let mut list = PartitionList::new();
        for committed in offsets {
            let name = self.partitions.name(committed.partition);
            list.add_at(&name, committed.offset, &committed.metadata);
        }
        if self.is_in_transaction {
            self.commit_inside(effect, list, member);
        } else {
            self.commit_outside(effect, list, member);
        }
        effect
    }

    fn end_transaction(&mut self, end: End) -> EffectId {
        let effect = self.effect();
        if let Some(error) = self.refusal() {
            self.end_now(effect, Outcome::Failed(error));
            return effect;
        }
        self.ending = Some(effect);
        if let Some(fault) = self.not_begun.take() {
            self.is_in_transaction = false;
            self.end_now(effect, outcome(Err(fault), Call::End));
            return effect;
        }
        match self.writer() {
            Ok(writer) if end == End::Abort && writer.has_gap() => self.abort_and_replace(effect),
            Ok(writer) => {
                let handle = Arc::clone(writer.handle());
                self.call(effect, Call::End, move || match end {
                    End::Commit => handle.commit_transaction(CALL_TIMEOUT),
                    End::Abort => handle.abort_transaction(CALL_TIMEOUT),
                });
            }
            Err(error) => self.end_now(effect, Outcome::Failed(error)),
        }
        effect
    }

    fn poll(&mut self, now: Instant, events: &mut Vec<LogEvent>) {
        let mut lost = Vec::new();
        let is_more_to_read = self.reader.poll(events, &mut lost);
        lost.into_iter().for_each(|lost| self.ask_limits(lost));
        if self.reader.handle().take_missing() {
            self.ask_counts();
        }
        let begun = events.len();
        let is_more_written = self.writer.as_mut().is_some_and(|writer| writer.poll(events));
        self.tell_why(&mut events[begun..]);
        self.take_answers(now, events);
        events.append(&mut self.ended);
        self.is_more = is_more_to_read || is_more_written;
    }

    fn wait(&mut self, at_most: Duration) {
        if !self.is_more {
            self.signal.wait(at_most);
        }
    }

    fn waker(&self) -> Waker {
        let signal = Arc::clone(&self.signal);
        Waker::new(move || signal.raise())
    }

    fn end_of(&self, partition: PartitionId) -> Option<i64> {
        self.reader.handle().known_end(&self.partitions.name(partition))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if let Some(writer) = self.writer.take() {
            let retired = writer.retire(&mut self.ended);
            self.calls.tell(move || retired.end());
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("id", &self.config.client_id).finish_non_exhaustive()
    }
}

/// Commits as soon as the group is between two rebalances. A commit that comes into one is refused
/// though its member keeps all that it has, and nothing has happened then.
fn commit_patiently(
    handle: &Handle,
    offsets: &PartitionList,
    is_member: impl Fn() -> bool,
) -> Result<(), Fault> {
    const REBALANCING: [Code; 2] = [
        code!(RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS),
        code!(RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION),
    ];
    let nobody = Signal::default();
    for _ in 0..REBALANCE_POLLS_MAX {
        match handle.commit_offsets(offsets) {
            Err(fault) if REBALANCING.contains(&fault.code) && is_member() => {
                nobody.wait(REBALANCE_POLL);
            }
            outcome => return outcome,
        }
    }
    handle.commit_offsets(offsets)
}

fn fatal(error: WriteError) -> LogError {
    LogError::Fatal(error.to_string())
}

fn reading(properties: &Properties, config: &ClientConfig) -> Vec<(String, String)> {
    let isolation = match config.isolation {
        Isolation::ReadCommitted => "read_committed",
        Isolation::ReadUncommitted => "read_uncommitted",
    };
    // What is fetched at once comes on top of what waits already.
    let fetched = config.fetch_bytes_max.clamp(FETCHED_BYTES_MIN, FETCHED_BYTES_MAX).to_string();
    let kilobytes = config.fetch_bytes_max.div_ceil(1024).clamp(1, 2_097_151).to_string();
    properties.reading(&[
        ("client.id", &config.client_id),
        ("isolation.level", isolation),
        ("queued.max.messages.kbytes", &kilobytes),
        ("fetch.message.max.bytes", &fetched),
        ("enable.partition.eof", "true"),
        ("enable.auto.commit", "false"),
        ("enable.auto.offset.store", "false"),
        ("auto.offset.reset", "error"),
    ])
}

const FETCHED_BYTES_MIN: usize = 16 * 1024;
/// What the library fetches of a partition at once unless it is told otherwise.
const FETCHED_BYTES_MAX: usize = 1024 * 1024;

fn writing(properties: &Properties, config: &ClientConfig) -> Vec<(String, String)> {
    let timeout = millis(config.transaction_timeout).to_string();
    let batch = properties.batch_size(config.batch_bytes_max).to_string();
    let mut owned = vec![("client.id", config.client_id.as_str()), ("batch.size", &batch)];
    if let Some(id) = &config.transactional_id {
        owned.push(("transactional.id", id));
        owned.push(("transaction.timeout.ms", &timeout));
    }
    properties.writing(&owned)
}
