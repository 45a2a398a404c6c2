//! As whom does this client write, and how far is its transaction?
//!
//! What a transaction is made of is asked for one after the other; only the batches themselves go
//! out beside each other. There are two kinds of transactions: in the classic kind partitions and
//! groups are added before they are written to, and the epoch stays; since version 2 (KIP-890)
//! writing adds them, and each end brings another epoch, so that nothing late can slip into a later
//! transaction.
//!
//! # Invariants
//!
//! - Nothing is written as part of a classic transaction before the coordinator knows of it.
//! - The end is asked for once nothing is under way any more.
//! - A classic end whose answer is lost is unknown, since asking again could end what comes later
//!   (KAFKA-17754); so are offsets, which could come into what comes later and take it back. With
//!   version 2 the epoch says which transaction is meant, so both are asked for again.

mod step;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

pub(super) use self::step::{Job, Offsets, Step};
use super::errors::{self, DONE, Verdict, verdict};
use super::messages::Code;
use super::messages::metadata::Coordinates;
use super::messages::transaction::ProducerId;
use crate::log::{EffectId, LogEvent, Outcome, PartitionId, WriteError};
use crate::time::Instant;

/// Before a step is taken again.
const PAUSE: Duration = Duration::from_millis(20);
/// How long a step is taken again and again.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a topic may be unknown to a coordinator.
const PROPAGATION: Duration = Duration::from_secs(5);

const REQUEST_TIMED_OUT: Code = 7;
const INVALID_TXN_STATE: Code = 48;

/// What is to be done about the rest of the client once a step has been answered.
#[derive(Debug)]
pub(super) enum Then {
    Nothing,
    /// Another epoch, perhaps of another id: batches are numbered anew.
    Renumber {
        is_other_id: bool,
    },
    /// These cannot be written to as part of the transaction.
    Refuse(Vec<PartitionId>, Outcome),
    /// Whoever coordinates is to be asked for anew.
    Forget(Coordinates),
}

/// A transaction that has begun and not ended.
#[derive(Debug, Default)]
struct Transaction {
    /// A write of it has failed, so that it can only be aborted.
    is_broken: bool,
    /// Whether the coordinator may know of it.
    is_known: bool,
    /// What the coordinator knows that is written to, where it has to be told.
    partitions: BTreeSet<PartitionId>,
    groups: BTreeSet<String>,
    /// Batches of these wait for it to be told.
    wanted: BTreeSet<PartitionId>,
}

/// The writing side of a client.
#[derive(Debug)]
pub(super) struct Transactor {
    transactional_id: Option<Arc<str>>,
    producer: Option<ProducerId>,
    is_v2: bool,
    open: Option<Transaction>,
    jobs: VecDeque<Job>,
    asked: Option<Step>,
    /// Tells the step in hand from those that were given up.
    number: u64,
    not_before: Instant,
}

impl Transactor {
    pub(super) fn new(transactional_id: Option<Arc<str>>) -> Self {
        Self {
            transactional_id,
            producer: None,
            is_v2: false,
            open: None,
            jobs: VecDeque::new(),
            asked: None,
            number: 0,
            not_before: Instant::from_origin(Duration::ZERO),
        }
    }

    /// As whom batches leave; `None` as long as none may.
    pub(super) const fn producer(&self) -> Option<ProducerId> {
        self.producer
    }

    pub(super) const fn is_v2(&self) -> bool {
        self.is_v2
    }

    /// Why nothing can be written now by a client that writes in transactions.
    pub(super) fn refusal(&self) -> Option<WriteError> {
        self.transactional_id.as_ref()?;
        let why = match (self.producer, self.is_open()) {
            (None, _) => "the producer has not been initialised",
            (Some(_), false) => "no transaction has begun",
            (Some(_), true) => return None,
        };
        Some(WriteError::Fatal(why.to_owned()))
    }

    pub(super) const fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Takes another epoch. Whatever was under way is given up.
    pub(super) fn init(&mut self, effect: EffectId, now: Instant, events: &mut Vec<LogEvent>) {
        self.give_up(events);
        self.producer = None;
        self.open = None;
        self.jobs.push_back(Job::Init { effect: Some(effect), since: now });
    }

    /// A client without transactions gets its epoch at the first need.
    pub(super) fn init_if_needed(&mut self, now: Instant) {
        let is_asked = self.jobs.iter().any(|job| matches!(job, Job::Init { .. }));
        if self.transactional_id.is_none() && self.producer.is_none() && !is_asked {
            self.jobs.push_back(Job::Init { effect: None, since: now });
        }
    }

    /// Ends what has not ended: it may have happened, or may yet.
    fn give_up(&mut self, events: &mut Vec<LogEvent>) {
        self.asked = None;
        let given_up = std::mem::take(&mut self.jobs);
        events.extend(given_up.into_iter().filter_map(|job| job.end(Outcome::Unknown)));
    }

    pub(super) fn begin(&mut self) {
        self.open = Some(Transaction::default());
    }

    /// A write of this client has failed.
    pub(super) fn broken(&mut self) {
        if let Some(open) = &mut self.open {
            open.is_broken = true;
        }
    }

    pub(super) fn commit_offsets(&mut self, effect: EffectId, offsets: Offsets, now: Instant) {
        self.jobs.push_back(Job::Offsets { effect, offsets, since: now });
    }

    /// Ends the transaction, or says why it cannot be ended so.
    pub(super) fn end(&mut self, effect: EffectId, commits: bool, now: Instant) -> Option<Outcome> {
        if commits && self.is_broken() {
            let why = "a write of the transaction has failed".to_owned();
            return Some(Outcome::Failed(WriteError::Abort(why)));
        }
        self.jobs.push_back(Job::End { effect, commits, since: now });
        None
    }

    fn is_broken(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.is_broken)
    }

    /// Whether a batch of this partition may leave; one that may not yet is added.
    pub(super) fn may_write(&self, partition: PartitionId) -> bool {
        let is_added = |open: &Transaction| open.partitions.contains(&partition);
        self.transactional_id.is_none() || self.is_v2 || self.open.as_ref().is_some_and(is_added)
    }

    /// Batches of these partitions wait.
    pub(super) fn want(&mut self, partitions: impl Iterator<Item = PartitionId>) {
        let is_classic = self.transactional_id.is_some() && !self.is_v2;
        if let Some(open) = self.open.as_mut().filter(|_| is_classic) {
            open.wanted.extend(partitions.filter(|partition| !open.partitions.contains(partition)));
        }
    }

    /// A batch has left: the coordinator may have heard of the transaction.
    pub(super) fn has_written(&mut self) {
        if let Some(open) = &mut self.open {
            open.is_known = true;
        }
    }

    /// The next step, if one can be taken now. `is_quiet` says that no batch is under way.
    pub(super) fn next(&mut self, now: Instant, is_quiet: bool) -> Option<Step> {
        if self.asked.is_some() || now < self.not_before {
            return None;
        }
        if let Some(job) = self.jobs.front_mut() {
            job.count_from(now);
        }
        let wanted = self.open.as_ref().map(|open| &open.wanted);
        if let Some(wanted) = wanted.filter(|wanted| !wanted.is_empty()) {
            return Some(Step::AddPartitions(wanted.iter().copied().collect()));
        }
        match self.jobs.front()? {
            Job::Init { .. } => Some(Step::Init),
            Job::Offsets { offsets, .. } if self.is_group_to_be_added(offsets) => {
                Some(Step::AddGroup(offsets.member.group.clone()))
            }
            Job::Offsets { offsets, .. } => Some(Step::Offsets(offsets.clone())),
            Job::End { commits, .. } => is_quiet.then_some(Step::End(*commits)),
        }
    }

    /// Ends what needs no broker: a transaction of which none knows.
    pub(super) fn end_unknown_to_brokers(&mut self, is_quiet: bool, events: &mut Vec<LogEvent>) {
        let is_end = matches!(self.jobs.front(), Some(Job::End { .. }));
        let is_idle = self.asked.is_none() && is_quiet;
        let is_unknown =
            self.open.as_ref().is_some_and(|open| !open.is_known && open.wanted.is_empty());
        if is_end && is_idle && is_unknown {
            self.open = None;
            events.extend(self.jobs.pop_front().and_then(|job| job.end(DONE)));
        }
    }

    fn is_group_to_be_added(&self, offsets: &Offsets) -> bool {
        let is_added = |open: &Transaction| open.groups.contains(&offsets.member.group);
        offsets.is_inside && !self.is_v2 && !self.open.as_ref().is_some_and(is_added)
    }

    /// A step is being taken; its answer goes by this number.
    pub(super) fn asked(&mut self, step: Step) -> u64 {
        // From here on the coordinator may know of the transaction.
        if !matches!(step, Step::Init) {
            self.has_written();
        }
        self.asked = Some(step);
        self.number += 1;
        self.number
    }

    /// The step in hand, if it goes by this number.
    pub(super) fn in_hand(&self, number: u64) -> Option<&Step> {
        self.asked.as_ref().filter(|_| self.number == number)
    }

    /// The step in hand was not answered. It may have happened.
    pub(super) fn unanswered(&mut self, now: Instant, events: &mut Vec<LogEvent>) {
        let Some(step) = self.asked.take() else { return };
        self.not_before = now + PAUSE;
        let is_inside = match &step {
            Step::End(_) => true,
            Step::Offsets(offsets) => offsets.is_inside,
            Step::Init | Step::AddPartitions(_) | Step::AddGroup(_) => false,
        };
        if is_inside && !self.is_v2 {
            self.end_front(Outcome::Unknown, events);
        } else {
            self.lose_patience(now, events);
        }
    }

    /// The epoch that was asked for has come.
    pub(super) fn initialised(
        &mut self,
        producer: ProducerId,
        is_v2: bool,
        events: &mut Vec<LogEvent>,
    ) -> Then {
        if self.asked.take() != Some(Step::Init) {
            return Then::Nothing;
        }
        self.producer = Some(producer);
        self.is_v2 = is_v2;
        self.end_front(DONE, events);
        Then::Renumber { is_other_id: true }
    }

    /// The transaction has ended; `next` is the epoch of the one to come, if each has its own.
    pub(super) fn ended(&mut self, next: Option<ProducerId>, events: &mut Vec<LogEvent>) -> Then {
        if !matches!(self.asked.take(), Some(Step::End(_))) {
            return Then::Nothing;
        }
        let (was_broken, is_classic) = (self.is_broken(), next.is_none());
        self.open = None;
        // What was refused has left a gap in the numbers that only another epoch closes.
        if was_broken && is_classic {
            let effect = self.jobs.pop_front().map(|job| job.effect());
            let since = self.not_before;
            self.jobs.push_front(Job::Init { effect: effect.flatten(), since });
            self.producer = None;
            return Then::Nothing;
        }
        self.end_front(DONE, events);
        let Some(next) = next else { return Then::Nothing };
        let before = self.producer.replace(next);
        Then::Renumber { is_other_id: before.is_none_or(|before| before.id != next.id) }
    }

    /// The step in hand has been answered by this code.
    pub(super) fn answered(
        &mut self,
        code: Code,
        now: Instant,
        events: &mut Vec<LogEvent>,
    ) -> Then {
        let Some(step) = self.asked.take() else { return Then::Nothing };
        match verdict(code) {
            Verdict::Done => self.step_done(step, events),
            Verdict::Retry | Verdict::AskLeader => self.try_again(&step, code, now, events),
            Verdict::AskCoordinator => {
                self.not_before = now + PAUSE;
                self.lose_patience(now, events);
                Then::Forget(step.coordinator())
            }
            // The coordinator has ended the transaction by itself, since it was open for too long.
            Verdict::Unknown
                if code == INVALID_TXN_STATE && self.is_v2 && step == Step::End(true) =>
            {
                self.step_failed(&step, Verdict::Fenced, code, events)
            }
            verdict => self.step_failed(&step, verdict, code, events),
        }
    }

    /// Nobody coordinates, or the broker does not say who.
    pub(super) fn not_found(
        &mut self,
        of: Coordinates,
        code: Code,
        now: Instant,
        events: &mut Vec<LogEvent>,
    ) -> Then {
        self.not_before = now + PAUSE;
        match self.next(now + PAUSE, true) {
            Some(step) if step.coordinator() == of && verdict(code) == Verdict::Fatal => {
                self.step_failed(&step, Verdict::Fatal, code, events)
            }
            _ => Then::Nothing,
        }
    }

    fn step_done(&mut self, step: Step, events: &mut Vec<LogEvent>) -> Then {
        match step {
            Step::AddPartitions(partitions) => {
                if let Some(open) = &mut self.open {
                    open.wanted.retain(|partition| !partitions.contains(partition));
                    open.partitions.extend(partitions);
                }
            }
            Step::AddGroup(group) => {
                if let Some(open) = &mut self.open {
                    open.groups.insert(group);
                }
            }
            Step::Offsets(_) => self.end_front(DONE, events),
            Step::Init | Step::End(_) => unreachable!("they are answered by more than a code"),
        }
        Then::Nothing
    }

    fn try_again(
        &mut self,
        step: &Step,
        code: Code,
        now: Instant,
        events: &mut Vec<LogEvent>,
    ) -> Then {
        self.not_before = now + PAUSE;
        // Nothing is known of what a classic end has done that has taken too long.
        if code == REQUEST_TIMED_OUT && matches!(step, Step::End(_)) && !self.is_v2 {
            self.end_front(Outcome::Unknown, events);
            return Then::Nothing;
        }
        let since = self.jobs.front().map_or(now, Job::since);
        let is_missing = verdict(code) == Verdict::AskLeader && now.since(since) >= PROPAGATION;
        if is_missing && matches!(step, Step::Offsets(_)) {
            return self.step_failed(step, Verdict::Fatal, code, events);
        }
        self.lose_patience(now, events);
        Then::Nothing
    }

    fn step_failed(
        &mut self,
        step: &Step,
        verdict: Verdict,
        code: Code,
        events: &mut Vec<LogEvent>,
    ) -> Then {
        let text = format!("{}: {}", step.text(), errors::name(code));
        let outcome = errors::outcome(verdict, text);
        self.broken();
        if let Step::AddPartitions(partitions) = step {
            if let Some(open) = &mut self.open {
                open.wanted.clear();
            }
            return Then::Refuse(partitions.clone(), outcome);
        }
        self.end_front(outcome, events);
        Then::Nothing
    }

    fn end_front(&mut self, outcome: Outcome, events: &mut Vec<LogEvent>) {
        if !matches!(outcome, Outcome::Done { .. }) {
            self.broken();
        }
        events.extend(self.jobs.pop_front().and_then(|job| job.end(outcome)));
    }

    /// Gives up what has been tried for too long.
    fn lose_patience(&mut self, now: Instant, events: &mut Vec<LogEvent>) {
        if self.jobs.front().is_some_and(|job| now.since(job.since()) >= PATIENCE) {
            self.end_front(Outcome::Unknown, events);
        }
    }

    /// When a step that has to wait may be taken.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        let is_wanted = self.open.as_ref().is_some_and(|open| !open.wanted.is_empty());
        let is_waiting = !self.jobs.is_empty() || is_wanted;
        (is_waiting && self.not_before > now).then_some(self.not_before)
    }
}
