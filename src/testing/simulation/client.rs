//! How does a process read and write under faults? Answers come late, mixed or not at all.
//!
//! # Invariants
//!
//! - Of one partition, what is read arrives in its order.
//! - Every effect ends with one outcome, which may be told twice; what is reported as unknown has
//!   happened or never will.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::fault::Effect;
use super::port::Port;
use crate::log::{
    CommittedOffset, EffectId, End, LogClient, LogEvent, MemberToken, OpenBatch, Outcome,
    PartitionId, Waker,
};
use crate::time::Instant;

/// Events that are there, with the time at which each is seen.
type Held = VecDeque<(Instant, LogEvent)>;

pub(super) struct FaultyClient {
    inner: Box<dyn LogClient>,
    port: Arc<Port>,
    effects: u64,
    /// Our ids of the effects that the log knows, and whether their outcome stays unknown.
    known: BTreeMap<EffectId, (EffectId, bool)>,
    reads: BTreeMap<PartitionId, Held>,
    answers: Held,
}

impl FaultyClient {
    pub(super) fn new(inner: Box<dyn LogClient>, port: Arc<Port>) -> Self {
        let (known, reads) = (BTreeMap::new(), BTreeMap::new());
        Self { inner, port, effects: 0, known, reads, answers: Held::new() }
    }

    /// Does something, unless its fate is to be unknown and not to happen.
    fn effect(
        &mut self,
        kind: Effect,
        act: impl FnOnce(&mut dyn LogClient) -> EffectId,
    ) -> EffectId {
        self.port.call();
        let own = EffectId(self.effects);
        self.effects += 1;
        let fate = if self.port.is_available() { self.port.unknown(kind) } else { Some(false) };
        if fate == Some(false) {
            let ended = LogEvent::Ended { effect: own, outcome: Outcome::Unknown };
            self.hold_answer(ended);
            return own;
        }
        let id = act(&mut *self.inner);
        self.known.insert(id, (own, fate.is_some()));
        own
    }

    fn hold_answer(&mut self, event: LogEvent) {
        let due = self.answers.back().map_or(Instant::default(), |(due, _)| *due);
        let due = due.max(self.port.answered_at());
        if let LogEvent::Ended { effect, outcome } = &event
            && self.port.is_doubled()
        {
            let again = LogEvent::Ended { effect: *effect, outcome: outcome.clone() };
            self.answers.push_back((due, again));
        }
        self.answers.push_back((due, event));
    }

    fn hold(&mut self, event: LogEvent) {
        let partition = match event {
            LogEvent::Ended { effect, outcome } => {
                let Some((own, is_unknown)) = self.known.remove(&effect) else { return };
                let outcome = if is_unknown { Outcome::Unknown } else { outcome };
                return self.hold_answer(LogEvent::Ended { effect: own, outcome });
            }
            LogEvent::Fetched(ref batch) => batch.partition(),
            LogEvent::CaughtUp { partition, .. } | LogEvent::ReadFailed { partition, .. } => {
                partition
            }
        };
        let held = self.reads.entry(partition).or_default();
        let due = held.back().map_or(Instant::default(), |(due, _)| *due);
        held.push_back((due.max(self.port.arrives_at()), event));
    }
}

fn release(held: &mut Held, now: Instant, events: &mut Vec<LogEvent>) {
    while held.front().is_some_and(|(due, _)| *due <= now) {
        events.extend(held.pop_front().map(|(_, event)| event));
    }
}

impl LogClient for FaultyClient {
    fn read_from(&mut self, partition: PartitionId, offset: i64) {
        self.port.call();
        self.reads.remove(&partition);
        self.inner.read_from(partition, offset);
    }

    fn stop_reading(&mut self, partition: PartitionId) {
        self.port.call();
        self.reads.remove(&partition);
        self.inner.stop_reading(partition);
    }

    fn pause(&mut self, partition: PartitionId, paused: bool) {
        self.port.call();
        self.inner.pause(partition, paused);
    }

    fn init_producer(&mut self) -> EffectId {
        self.effect(Effect::Init, |inner| inner.init_producer())
    }

    fn begin_transaction(&mut self) {
        self.port.call();
        self.inner.begin_transaction();
    }

    fn send(&mut self, partition: PartitionId, batch: OpenBatch) -> EffectId {
        self.port.writes(partition);
        self.effect(Effect::Send, |inner| inner.send(partition, batch))
    }

    fn commit_offsets(&mut self, offsets: &[CommittedOffset], member: &MemberToken) -> EffectId {
        self.effect(Effect::Offsets, |inner| inner.commit_offsets(offsets, member))
    }

    fn end_transaction(&mut self, end: End) -> EffectId {
        self.effect(Effect::End, |inner| inner.end_transaction(end))
    }

    fn poll(&mut self, now: Instant, events: &mut Vec<LogEvent>) {
        self.port.call();
        if self.port.is_available() {
            let mut new = Vec::new();
            self.inner.poll(now, &mut new);
            new.into_iter().for_each(|event| self.hold(event));
            let now = self.port.now();
            self.reads.values_mut().for_each(|held| release(held, now, events));
            release(&mut self.answers, now, events);
        }
    }

    fn wait(&mut self, at_most: Duration) {
        self.inner.wait(at_most);
    }

    fn waker(&self) -> Waker {
        self.inner.waker()
    }
}
