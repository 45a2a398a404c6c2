//! What is being written, and which of it has been acknowledged?
//!
//! # Invariants
//!
//! - Batches of one partition are appended in the order in which they were sent, each once: they
//!   are numbered as they leave, and the broker refuses what is out of turn or there already.
//! - A batch that comes back is sent again before any that comes behind it, and not before
//!   everything that was under way has come back.
//! - A refusal counts for nothing once an attempt was not answered: the batch may be there, so its
//!   end is unknown, and its number is not given to another.
//! - A send ends once, when all its batches have; its outcome is the worst of theirs.

mod partition;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use self::partition::{Fate, Queue};
use super::cluster::{Cluster, Led};
use super::errors::{self, DONE, Verdict, verdict};
use super::messages::transaction::ProducerId;
use super::messages::{Node, produce};
use super::terms::{Packing, Terms};
use crate::log::batch::split;
use crate::log::{EffectId, LogEvent, OpenBatch, Outcome, PartitionId, TopicPartition, WriteError};
use crate::time::Instant;

/// Which batches a request carries: each a partition, and the batch's number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ticket(Vec<(PartitionId, u64)>);

/// A send that has not ended.
#[derive(Debug)]
struct Sending {
    /// Batches that have not ended.
    left: u32,
    /// Behind the last record that was acknowledged.
    next_offset: Option<i64>,
    failed: Option<Outcome>,
    since: Instant,
}

/// What can be sent to one broker.
#[derive(Debug, Default)]
pub(super) struct Due {
    parts: Vec<(produce::Part, (PartitionId, u64))>,
    bytes: usize,
}

impl Due {
    fn push(&mut self, part: produce::Part, ticket: (PartitionId, u64)) {
        self.bytes += part.batch.len();
        self.parts.push((part, ticket));
    }

    /// What to write into the request, and what to keep.
    pub(super) fn split(mut self) -> (Vec<produce::Part>, Ticket) {
        self.parts.sort_by(|(a, _), (b, _)| a.partition.cmp(&b.partition));
        let (parts, ticket) = self.parts.into_iter().unzip();
        (parts, Ticket(ticket))
    }
}

/// As whom batches are written.
#[derive(Clone, Copy, Debug)]
pub(super) struct As {
    pub(super) producer: ProducerId,
    pub(super) is_transactional: bool,
    pub(super) packing: Option<Packing>,
}

/// Everything that has been sent and not been acknowledged.
#[derive(Debug)]
pub(super) struct Writer {
    queues: BTreeMap<PartitionId, Queue>,
    sending: BTreeMap<EffectId, Sending>,
    next_number: u64,
    /// No batch of several records is larger.
    bytes_max: usize,
    /// Batches of one partition that may be under way; not more than a broker remembers.
    in_flight_max: usize,
    /// How long a send may wait to be acknowledged.
    timeout: Option<Duration>,
    /// Before a batch leaves again.
    pause: Duration,
    /// Of all batches in one request.
    request_bytes_max: usize,
}

/// Brokers remember so many batches of a producer and partition: a retry of one of them is known.
const REMEMBERED: usize = 5;

impl Writer {
    pub(super) fn new(terms: &Terms) -> Self {
        let in_flight_max = terms.in_flight_max;
        assert!((1..=REMEMBERED).contains(&in_flight_max), "a broker knows what comes twice");
        Self {
            queues: BTreeMap::new(),
            sending: BTreeMap::new(),
            next_number: 0,
            bytes_max: terms.batch_bytes_max,
            in_flight_max,
            timeout: terms.delivery_timeout,
            pause: terms.retry_pause,
            request_bytes_max: terms.request_bytes_max,
        }
    }

    /// Takes a batch to be written.
    pub(super) fn send(
        &mut self,
        (effect, now): (EffectId, Instant),
        partition: PartitionId,
        name: impl FnOnce() -> TopicPartition,
        batch: OpenBatch,
        events: &mut Vec<LogEvent>,
    ) {
        if batch.is_empty() {
            events.push(LogEvent::Ended { effect, outcome: DONE });
            return;
        }
        let batches = if batch.size_bytes() > self.bytes_max && batch.count() > 1 {
            split(&batch.seal(), self.bytes_max).expect("records that were just written are whole")
        } else {
            vec![batch]
        };
        let left = batches.len() as u32;
        self.sending.insert(effect, Sending { left, next_offset: None, failed: None, since: now });
        let queue = self.queues.entry(partition).or_insert_with(|| Queue::new(name()));
        for batch in batches {
            queue.push(self.next_number, effect, batch);
            self.next_number += 1;
        }
    }

    /// Whether everything has been acknowledged.
    pub(super) fn is_empty(&self) -> bool {
        self.sending.is_empty()
    }

    /// Whether something waits for a broker to take it.
    pub(super) fn is_waiting(&self) -> bool {
        self.waiting().next().is_some()
    }

    /// Whether nothing is under way to a broker.
    pub(super) fn is_quiet(&self) -> bool {
        self.queues.values().all(|queue| queue.in_flight() == 0)
    }

    /// The partitions for which something waits.
    pub(super) fn waiting(&self) -> impl Iterator<Item = (PartitionId, &TopicPartition)> {
        let waiting = self.queues.iter().filter(|(_, queue)| queue.has_waiting());
        waiting.map(|(partition, queue)| (*partition, queue.name()))
    }

    /// What can leave now, by broker: one batch of each partition that `may_write`. Each that is
    /// taken counts as under way.
    pub(super) fn due(
        &mut self,
        cluster: &mut Cluster,
        now: Instant,
        by: As,
        mut may_write: impl FnMut(PartitionId, Node) -> bool,
        events: &mut Vec<LogEvent>,
    ) -> BTreeMap<Node, Due> {
        let mut due: BTreeMap<Node, Due> = BTreeMap::new();
        let mut refused = Vec::new();
        for (partition, queue) in &mut self.queues {
            if !queue.is_due(now, self.in_flight_max) {
                continue;
            }
            match cluster.led(queue.name(), now) {
                Led::By(leader) if may_write(*partition, leader.node) => {
                    let due = due.entry(leader.node).or_default();
                    // The rest leaves in the next request.
                    if due.bytes < self.request_bytes_max {
                        let (number, batch) = queue.take(by);
                        let part = produce::Part { partition: queue.name().clone(), batch };
                        due.push(part, (*partition, number));
                    }
                }
                Led::By(_) | Led::NotYet => {}
                Led::Missing => refused.push((*partition, "there is no such partition".into())),
                Led::Refused(code) => refused.push((*partition, errors::name(code))),
            }
        }
        for (partition, why) in refused {
            self.refuse(partition, &why, events);
        }
        due
    }

    /// Nothing of this partition can be written.
    fn refuse(&mut self, partition: PartitionId, why: &str, events: &mut Vec<LogEvent>) {
        let Some(queue) = self.queues.get_mut(&partition) else { return };
        let text = format!("{}: {why}", queue.name());
        for dropped in queue.drop_waiting() {
            let outcome = Outcome::Failed(WriteError::Fatal(text.clone()));
            self.dropped(dropped, outcome, events);
        }
    }

    /// The request was not answered: its batches go out again, and are there once.
    pub(super) fn unanswered(&mut self, ticket: &Ticket, now: Instant) {
        for (partition, number) in &ticket.0 {
            if let Some(queue) = self.queues.get_mut(partition) {
                queue.doubt(*number);
                queue.came_back(*number, now + self.pause);
            }
        }
    }

    /// A batch that was not under way is given up.
    fn dropped(
        &mut self,
        (effect, is_doubtful): (EffectId, bool),
        outcome: Outcome,
        events: &mut Vec<LogEvent>,
    ) {
        let outcome = if is_doubtful { Outcome::Unknown } else { outcome };
        self.batch_ended(effect, None, Some(outcome), events);
    }

    /// Takes what became of a request's batches. The partitions whose leaders are to be asked for
    /// are returned, and how many batches have failed.
    pub(super) fn answered(
        &mut self,
        ticket: &Ticket,
        answers: &[produce::Answer],
        now: Instant,
        events: &mut Vec<LogEvent>,
    ) -> Vec<TopicPartition> {
        let mut mistrusted = Vec::new();
        for (partition, number) in &ticket.0 {
            let Some(queue) = self.queues.get_mut(partition) else { continue };
            let name = queue.name();
            let answer = answers
                .iter()
                .find(|answer| answer.partition == name.partition && *answer.topic == *name.topic);
            let Some(answer) = answer else {
                // A broker that says nothing of a batch may have taken it.
                queue.doubt(*number);
                queue.came_back(*number, now + self.pause);
                continue;
            };
            if verdict(answer.code) == Verdict::AskLeader {
                mistrusted.push(name.clone());
            }
            self.settle(*partition, *number, answer, now, events);
        }
        mistrusted
    }

    /// Draws the consequence of one batch's answer.
    fn settle(
        &mut self,
        partition: PartitionId,
        number: u64,
        answer: &produce::Answer,
        now: Instant,
        events: &mut Vec<LogEvent>,
    ) {
        let Some(queue) = self.queues.get_mut(&partition) else { return };
        let verdict = verdict(answer.code);
        if verdict == Verdict::Retry {
            queue.doubt(number);
        }
        match queue.fate(number, verdict) {
            Fate::Gone => {}
            Fate::Again => queue.came_back(number, now + self.pause),
            Fate::Split => self.split(partition, number, now),
            Fate::Done => {
                let Some((effect, count)) = queue.remove(number) else { return };
                let base = answer.base_offset;
                let next = (base >= 0).then(|| base + i64::from(count));
                self.batch_ended(effect, next, None, events);
            }
            Fate::Failed => {
                let text = format!("{}: {}", queue.name(), text_of(answer));
                let is_doubtful = queue.is_doubtful(number);
                let Some(effect) = queue.give_up(number) else { return };
                self.dropped((effect, is_doubtful), errors::outcome(verdict, text), events);
            }
        }
    }

    /// A batch that the broker found too large goes out in pieces: one record of it may be the one
    /// that is too large, and the others are not to suffer for it.
    fn split(&mut self, partition: PartitionId, number: u64, now: Instant) {
        let Some(queue) = self.queues.get_mut(&partition) else { return };
        let first = self.next_number;
        let Some((effect, pieces)) = queue.replace_by_pieces(number, first, now) else { return };
        self.next_number += u64::from(pieces);
        if let Some(sending) = self.sending.get_mut(&effect) {
            sending.left += pieces - 1;
        }
    }

    fn batch_ended(
        &mut self,
        effect: EffectId,
        next_offset: Option<i64>,
        failed: Option<Outcome>,
        events: &mut Vec<LogEvent>,
    ) {
        let Some(sending) = self.sending.get_mut(&effect) else { return };
        sending.left -= 1;
        sending.next_offset = sending.next_offset.max(next_offset);
        // What may have happened outweighs what has not.
        if sending.failed.is_none() || matches!(failed, Some(Outcome::Unknown)) {
            sending.failed = failed.or(sending.failed.take());
        }
        if sending.left == 0
            && let Some(Sending { next_offset, failed, .. }) = self.sending.remove(&effect)
        {
            let outcome = failed.unwrap_or(Outcome::Done { next_offset });
            events.push(LogEvent::Ended { effect, outcome });
        }
    }

    /// Gives everything up: what has left may have been appended, and what has not is not.
    pub(super) fn give_up(&mut self, events: &mut Vec<LogEvent>) {
        self.queues.clear();
        for effect in std::mem::take(&mut self.sending).into_keys() {
            events.push(LogEvent::Ended { effect, outcome: Outcome::Unknown });
        }
    }

    /// Gives up what has not left yet: the transaction that it was for will not be committed.
    pub(super) fn drop_waiting(&mut self, events: &mut Vec<LogEvent>) {
        let mut dropped = Vec::new();
        for queue in self.queues.values_mut() {
            dropped.extend(queue.drop_waiting());
        }
        for dropped in dropped {
            let error = WriteError::Abort("the transaction is being aborted".into());
            self.dropped(dropped, Outcome::Failed(error), events);
        }
    }

    /// Sends of these partitions cannot be part of the transaction.
    pub(super) fn fail(
        &mut self,
        partitions: &[PartitionId],
        outcome: &Outcome,
        events: &mut Vec<LogEvent>,
    ) {
        let mut dropped = Vec::new();
        for partition in partitions {
            if let Some(queue) = self.queues.get_mut(partition) {
                dropped.extend(queue.drop_waiting());
            }
        }
        for dropped in dropped {
            self.dropped(dropped, outcome.clone(), events);
        }
    }

    /// Numbers begin anew with every epoch.
    pub(super) fn renumber(&mut self, is_other_id: bool) {
        self.queues.values_mut().for_each(|queue| queue.renumber(is_other_id));
    }

    /// Ends what has waited for too long. It may be there, or may yet be.
    pub(super) fn expire(&mut self, now: Instant, events: &mut Vec<LogEvent>) {
        let Some(timeout) = self.timeout else { return };
        let is_late = |sending: &Sending| now.since(sending.since) >= timeout;
        // Effects are numbered as they are sent: the first is the oldest.
        while self.sending.first_key_value().is_some_and(|(_, sending)| is_late(sending))
            && let Some((effect, _)) = self.sending.pop_first()
        {
            events.push(LogEvent::Ended { effect, outcome: Outcome::Unknown });
        }
    }

    /// When a batch that has to wait may leave.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        self.queues.values().filter_map(|queue| queue.deadline(now)).min()
    }
}

fn text_of(answer: &produce::Answer) -> String {
    let name = errors::name(answer.code);
    if answer.text.is_empty() { name } else { format!("{name}: {}", answer.text) }
}

/// A batch as it leaves.
type Leaving = (u64, Bytes);
