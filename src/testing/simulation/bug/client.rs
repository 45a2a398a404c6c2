//! How do reading and writing go wrong that have a bug?

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{Bug, SeededBug, store};
use crate::log::{
    CommittedOffset, EffectId, EncodedHeaders, End, Log, LogClient, LogEvent, MemberToken,
    OpenBatch, Outcome, PartitionId, RecordBatch, RecordView, Waker,
};
use crate::testing::simulation::fault::Effect;
use crate::time::{Instant, Timestamp};

/// Polls after which what was kept back happens.
const KEPT_POLLS: u32 = 6;

pub(super) struct BuggyClient {
    inner: Box<dyn LogClient>,
    /// Writes outside of transactions.
    outsider: Box<dyn LogClient>,
    bug: Arc<Bug>,
    effects: u64,
    /// The effects that the log knows.
    known: BTreeMap<EffectId, Known>,
    /// The ends of effects that the log does not know.
    ended: Vec<LogEvent>,
    /// Whether a producer epoch was ever taken.
    is_initialised: bool,
    in_transaction: bool,
    /// Sends that are kept back.
    kept: Vec<(EffectId, PartitionId, OpenBatch)>,
    /// The end of a transaction that is kept back.
    kept_end: Option<End>,
    /// Polls since something was kept back.
    polls: u32,
    /// A batch that changes places, and an answer.
    passed_over: Option<RecordBatch>,
    answer: Option<(EffectId, Outcome)>,
    /// Of which nothing is delivered.
    silent: BTreeSet<PartitionId>,
}

/// An effect as the process knows it.
struct Known {
    own: EffectId,
    effect: Effect,
    partition: Option<PartitionId>,
    /// What was sent, if it may be sent again.
    copy: Option<Bytes>,
}

const DONE: Outcome = Outcome::Done { next_offset: None };

impl BuggyClient {
    pub(super) fn new(inner: Box<dyn LogClient>, bug: Arc<Bug>) -> Self {
        Self {
            inner,
            outsider: bug.outsider(),
            bug,
            effects: 0,
            known: BTreeMap::new(),
            ended: Vec::new(),
            is_initialised: false,
            in_transaction: false,
            kept: Vec::new(),
            kept_end: None,
            polls: 0,
            passed_over: None,
            answer: None,
            silent: BTreeSet::new(),
        }
    }

    fn next_effect(&mut self) -> EffectId {
        self.effects += 1;
        EffectId(self.effects)
    }

    /// An effect that the log is asked for.
    fn real(&mut self, effect: Effect, id: EffectId) -> EffectId {
        let own = self.next_effect();
        self.known.insert(id, Known { own, effect, partition: None, copy: None });
        own
    }

    /// An effect that the log does not hear of.
    fn pretended(&mut self, outcome: Outcome) -> EffectId {
        let effect = self.next_effect();
        self.ended.push(LogEvent::Ended { effect, outcome });
        effect
    }

    fn send_as(&mut self, own: EffectId, partition: PartitionId, batch: OpenBatch) {
        let is_copied = self.bug.is(SeededBug::UnknownSendRepeated);
        let (copy, batch) = if is_copied {
            let copy = batch.seal();
            (Some(copy.clone()), rebuilt(partition, copy, append))
        } else {
            (None, batch)
        };
        let id = self.inner.send(partition, batch);
        let known = Known { own, effect: Effect::Send, partition: Some(partition), copy };
        self.known.insert(id, known);
    }

    /// Does what was kept back.
    fn release(&mut self) {
        self.polls = 0;
        if let Some(end) = self.kept_end.take() {
            self.inner.end_transaction(end);
        }
        for (own, partition, batch) in std::mem::take(&mut self.kept) {
            self.send_as(own, partition, batch);
        }
    }

    /// What is written in place of a batch.
    fn written(&self, partition: PartitionId, batch: OpenBatch) -> OpenBatch {
        let count = batch.count();
        let mut index = 0;
        match self.bug.kind {
            SeededBug::RecordLost if count > 1 => {
                rebuilt(partition, batch.seal(), |out, record| {
                    index += 1;
                    if index < count {
                        append(out, record);
                    }
                })
            }
            SeededBug::RecordDoubled => rebuilt(partition, batch.seal(), |out, record| {
                if out.is_empty() {
                    append(out, record);
                }
                append(out, record);
            }),
            SeededBug::TombstonesLost => rebuilt(partition, batch.seal(), |out, record| {
                if record.value.is_some() {
                    append(out, record);
                }
            }),
            SeededBug::TimesLost if self.bug.strikes(SeededBug::TimesLost, 8) => {
                rebuilt(partition, batch.seal(), |out, record| {
                    append(out, &RecordView { timestamp: Timestamp::ZERO, ..*record });
                })
            }
            SeededBug::UncommittedOnDisk => {
                let name = self.bug.log.partitions().name(partition);
                rebuilt(partition, batch.seal(), |out, record| {
                    store::write_at_once(&self.bug, &name, record);
                    append(out, record);
                })
            }
            _ => batch,
        }
    }

    fn send_outside(&mut self, partition: PartitionId, batch: OpenBatch) -> EffectId {
        self.outsider.send(partition, batch);
        let mut events = Vec::new();
        self.outsider.poll(Instant::default(), &mut events);
        let outcome = events.into_iter().find_map(|event| match event {
            LogEvent::Ended { outcome, .. } => Some(outcome),
            _ => None,
        });
        self.pretended(outcome.expect("memory answers at once"))
    }

    fn commit_outside(&mut self, offsets: &[CommittedOffset]) -> EffectId {
        let token = self.bug.token();
        self.outsider.commit_offsets(offsets, &token);
        self.outsider.poll(Instant::default(), &mut Vec::new());
        self.pretended(DONE)
    }

    /// What is committed in place of these offsets.
    fn committed(&self, offsets: &[CommittedOffset]) -> Vec<CommittedOffset> {
        let mut offsets = offsets.to_vec();
        match self.bug.kind {
            SeededBug::OffsetsTooFar => offsets.iter_mut().for_each(|offset| {
                offset.offset = (offset.offset + 1).min(self.bug.end_of(offset.partition));
            }),
            SeededBug::OffsetsTooLittle => offsets.iter_mut().for_each(|offset| {
                offset.offset = (offset.offset - 1).max(0);
            }),
            SeededBug::OffsetsIncomplete if offsets.len() > 1 => drop(offsets.pop()),
            SeededBug::OffsetsMixedUp if offsets.len() > 1 => {
                let (first, second) = (offsets[0].offset, offsets[1].offset);
                offsets[0].offset = second.min(self.bug.end_of(offsets[0].partition));
                offsets[1].offset = first.min(self.bug.end_of(offsets[1].partition));
            }
            SeededBug::MetadataLost => {
                offsets.iter_mut().for_each(|offset| offset.metadata.clear());
            }
            _ => {}
        }
        offsets
    }

    fn end(&mut self, id: EffectId, outcome: Outcome, events: &mut Vec<LogEvent>) {
        let Some(known) = self.known.remove(&id) else { return };
        let Known { own, effect, partition, copy } = known;
        let outcome = match (self.bug.kind, effect, outcome) {
            (SeededBug::UnknownSendDone, Effect::Send, Outcome::Unknown) => {
                Outcome::Done { next_offset: partition.map(|id| self.bug.end_of(id)) }
            }
            (SeededBug::UnknownOffsetsDone, Effect::Offsets, Outcome::Unknown)
            | (SeededBug::UnknownEndDone, Effect::End, Outcome::Unknown) => DONE,
            (SeededBug::SendEndTooFar, _, Outcome::Done { next_offset: Some(offset) }) => {
                Outcome::Done { next_offset: Some(offset + 2) }
            }
            (SeededBug::UnknownSendRepeated, Effect::Send, Outcome::Unknown) => {
                let (Some(partition), Some(copy)) = (partition, copy) else { return };
                return self.send_as(own, partition, rebuilt(partition, copy, append));
            }
            (SeededBug::AnswersSwapped, Effect::Send, outcome) => {
                match self.answer.take() {
                    None => self.answer = Some((own, outcome)),
                    Some((other, answer)) => {
                        events.push(LogEvent::Ended { effect: own, outcome: answer });
                        events.push(LogEvent::Ended { effect: other, outcome });
                    }
                }
                return;
            }
            (_, _, outcome) => outcome,
        };
        if let (SeededBug::AnswerTwice, &Outcome::Done { next_offset }) = (self.bug.kind, &outcome)
        {
            let outcome = Outcome::Done { next_offset };
            events.push(LogEvent::Ended { effect: own, outcome });
        }
        if !self.bug.strikes(SeededBug::AnswerLost, 100) {
            events.push(LogEvent::Ended { effect: own, outcome });
        }
    }

    fn fetched(&mut self, batch: RecordBatch, events: &mut Vec<LogEvent>) {
        let partition = batch.partition();
        if self.silent.contains(&partition) || self.bug.strikes(SeededBug::BatchSkipped, 30) {
            return;
        }
        if self.bug.is(SeededBug::CaughtUpEarly) {
            let position = self.bug.end_of(partition);
            events.push(LogEvent::CaughtUp { partition, position });
        }
        if self.bug.is(SeededBug::BatchesReordered) && self.bug.is_changelog(partition) {
            match self.passed_over.replace(batch) {
                Some(earlier) if earlier.partition() == partition => {
                    events.extend(self.passed_over.take().map(LogEvent::Fetched));
                    events.push(LogEvent::Fetched(earlier));
                }
                earlier => events.extend(earlier.map(LogEvent::Fetched)),
            }
            return;
        }
        if self.bug.strikes(SeededBug::BatchTwice, 4) {
            events.push(LogEvent::Fetched(batch.clone()));
        }
        events.push(LogEvent::Fetched(batch));
    }

    fn take_event(&mut self, event: LogEvent, events: &mut Vec<LogEvent>) {
        match event {
            LogEvent::Ended { effect, outcome } => self.end(effect, outcome, events),
            LogEvent::Fetched(batch) => self.fetched(batch, events),
            LogEvent::CaughtUp { partition, .. } if self.silent.contains(&partition) => {}
            event => {
                events.extend(self.passed_over.take().map(LogEvent::Fetched));
                events.push(event);
            }
        }
    }
}

impl LogClient for BuggyClient {
    fn read_from(&mut self, partition: PartitionId, offset: i64) {
        self.silent.remove(&partition);
        if self.bug.strikes(SeededBug::ReadingStops, 20) {
            self.silent.insert(partition);
        }
        let too_far = i64::from(self.bug.strikes(SeededBug::ReadTooFar, 4));
        let too_early = if self.bug.is(SeededBug::ReadTooEarly) { 5 } else { 0 };
        let earliest = self.bug.earliest_of(partition).min(offset);
        self.inner.read_from(partition, (offset - too_early).max(earliest) + too_far);
    }

    fn stop_reading(&mut self, partition: PartitionId) {
        self.inner.stop_reading(partition);
    }

    fn pause(&mut self, partition: PartitionId, paused: bool) {
        self.inner.pause(partition, paused);
    }

    fn init_producer(&mut self) -> EffectId {
        let in_transaction = std::mem::take(&mut self.in_transaction);
        let is_first = !std::mem::replace(&mut self.is_initialised, true);
        if self.bug.is(SeededBug::InitSkipped) && !is_first {
            return self.pretended(DONE);
        }
        if self.bug.is(SeededBug::InitCommits) && in_transaction {
            self.inner.end_transaction(End::Commit);
        }
        let id = self.inner.init_producer();
        self.real(Effect::Init, id)
    }

    fn begin_transaction(&mut self) {
        self.in_transaction = true;
        if self.kept_end.is_some() {
            self.release();
        }
        self.inner.begin_transaction();
    }

    fn send(&mut self, partition: PartitionId, batch: OpenBatch) -> EffectId {
        if self.bug.strikes(SeededBug::SendSkipped, 20) {
            let next_offset = Some(self.bug.end_of(partition));
            return self.pretended(Outcome::Done { next_offset });
        }
        if self.bug.strikes(SeededBug::SendOutsideTransaction, 8) {
            return self.send_outside(partition, batch);
        }
        let own = self.next_effect();
        let batch = self.written(partition, batch);
        if self.bug.is(SeededBug::SendLingers) {
            self.ended.push(LogEvent::Ended { effect: own, outcome: DONE });
            self.kept.push((own, partition, batch));
        } else if self.bug.is(SeededBug::SendsReordered) {
            let earlier = self.kept.iter().position(|(_, of, _)| *of == partition);
            match earlier.map(|index| self.kept.remove(index)) {
                None => self.kept.push((own, partition, batch)),
                Some((earlier, _, first)) => {
                    self.send_as(own, partition, batch);
                    self.send_as(earlier, partition, first);
                }
            }
        } else if self.bug.strikes(SeededBug::SendElsewhere, 20) {
            self.send_as(own, self.bug.neighbour(partition), batch);
        } else if self.bug.strikes(SeededBug::SendTwice, 20) {
            let sealed = batch.seal();
            self.inner.send(partition, rebuilt(partition, sealed.clone(), append));
            self.send_as(own, partition, rebuilt(partition, sealed, append));
        } else {
            self.send_as(own, partition, batch);
        }
        own
    }

    fn commit_offsets(&mut self, offsets: &[CommittedOffset], member: &MemberToken) -> EffectId {
        if self.bug.strikes(SeededBug::OffsetsSkipped, 4) {
            return self.pretended(DONE);
        }
        if self.bug.is(SeededBug::OffsetsAtOnce) {
            return self.commit_outside(offsets);
        }
        let anyone = self.bug.is(SeededBug::AnyMemberCommits).then(|| self.bug.token());
        let offsets = self.committed(offsets);
        let id = self.inner.commit_offsets(&offsets, anyone.as_ref().unwrap_or(member));
        self.real(Effect::Offsets, id)
    }

    fn end_transaction(&mut self, end: End) -> EffectId {
        if self.bug.strikes(SeededBug::EndSkipped, 4) {
            return self.pretended(DONE);
        }
        self.in_transaction = false;
        if self.bug.is(SeededBug::EndToldEarly) {
            (self.kept_end, self.polls) = (Some(end), 0);
            return self.pretended(DONE);
        }
        let is_aborted = self.bug.strikes(SeededBug::EndAborts, 4);
        let id = self.inner.end_transaction(if is_aborted { End::Abort } else { end });
        self.real(Effect::End, id)
    }

    fn poll(&mut self, now: Instant, events: &mut Vec<LogEvent>) {
        self.polls += 1;
        if self.polls >= KEPT_POLLS {
            self.release();
        }
        let mut new = Vec::new();
        self.inner.poll(now, &mut new);
        new.into_iter().for_each(|event| self.take_event(event, events));
        events.extend(self.passed_over.take().map(LogEvent::Fetched));
        let answer = self.answer.take();
        events.extend(answer.map(|(effect, outcome)| LogEvent::Ended { effect, outcome }));
        events.append(&mut self.ended);
    }

    fn wait(&mut self, at_most: Duration) {
        self.inner.wait(at_most);
    }

    fn waker(&self) -> Waker {
        self.inner.waker()
    }

    fn end_of(&self, partition: PartitionId) -> Option<i64> {
        self.inner.end_of(partition)
    }
}

/// A batch made of the records of another.
fn rebuilt(
    partition: PartitionId,
    sealed: Bytes,
    mut take: impl FnMut(&mut OpenBatch, &RecordView<'_>),
) -> OpenBatch {
    let mut batch = OpenBatch::new();
    let sealed = RecordBatch::new(partition, sealed).expect("it was sealed here");
    for record in sealed.records() {
        take(&mut batch, &record.expect("it was sealed here"));
    }
    batch
}

fn append(batch: &mut OpenBatch, record: &RecordView<'_>) {
    let mut headers = EncodedHeaders::new();
    headers.copy_from(record.headers);
    batch.append(record.timestamp, record.key, record.value, headers.view());
}
