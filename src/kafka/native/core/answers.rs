//! What follows from an answer, and from none?

use std::sync::Arc;
use std::time::Duration;

use super::{Core, Purpose};
use crate::kafka::native::connection::{Answer, Broken};
use crate::kafka::native::errors::{self, Verdict, verdict};
use crate::kafka::native::link::Lane;
use crate::kafka::native::messages::metadata::{self, Coordinated, Coordinates};
use crate::kafka::native::messages::{Code, Node, fetch, positions, produce, transaction};
use crate::kafka::native::reader::{Mistrust, Ticket};
use crate::kafka::native::transactor::{Step, Then};
use crate::kafka::native::wire::{Malformed, Read, Reader};
use crate::kafka::native::writer;
use crate::log::{LogEvent, Outcome};
use crate::time::Instant;

impl Core {
    pub(super) fn answered(
        &mut self,
        lane: Lane,
        answer: Answer<Purpose>,
        now: Instant,
    ) -> Result<(), Broken> {
        let Answer { purpose, .. } = &answer;
        match purpose {
            Purpose::Metadata => {
                let told = metadata::read(&mut answer.reader(), answer.version)?;
                self.cluster.told(told, now);
            }
            Purpose::Coordinator(whom) => {
                let found = metadata::read_coordinator(&mut answer.reader())?;
                self.found(whom, found, now);
            }
            Purpose::Step(number) => {
                self.step_answered(*number, &mut answer.reader(), answer.version, now)?;
            }
            Purpose::Fetch(ticket) => self.fetched(lane, ticket, &answer, now)?,
            Purpose::Produce(ticket) => {
                let (answers, throttle) = produce::read(&mut answer.reader())?;
                self.keep_quiet(lane, throttle, now);
                self.produced(ticket, &answers, now);
            }
            Purpose::Limit { .. } => {
                let limit = read_limit(&mut answer.reader())?;
                self.limit(answer.purpose, limit, now);
            }
            Purpose::Questions(numbers) => {
                self.questions_answered(numbers, &mut answer.reader(), now)?;
            }
        }
        Ok(())
    }

    /// A broker that asks for less is left alone for so many milliseconds.
    fn keep_quiet(&mut self, lane: Lane, throttle_ms: i32, now: Instant) {
        let throttle = Duration::from_millis(u64::try_from(throttle_ms).unwrap_or(0));
        if let Some(link) = self.links.get_mut(&lane).filter(|_| !throttle.is_zero()) {
            link.keep_quiet(now + throttle);
        }
    }

    fn found(
        &mut self,
        whom: &Coordinated,
        found: Result<(Node, metadata::Address), (i16, String)>,
        now: Instant,
    ) {
        self.looking.remove(whom);
        match found {
            Ok(found) => self.cluster.set_coordinator(whom.clone(), found),
            Err((code, text)) => {
                tracing::debug!(target: "millstream::kafka", "{}: {text}", errors::name(code));
                self.questions.not_found(whom, code, now);
                if self.whom(whom.of).as_ref() == Some(whom) {
                    // The step is taken, and fails, as if the coordinator had said so itself.
                    let then = self.transactor.not_found(whom.of, code, now, &mut self.events);
                    self.then(then);
                }
            }
        }
    }

    /// Whom a coordinator of this client coordinates.
    pub(super) fn whom(&self, of: Coordinates) -> Option<Coordinated> {
        let id = match of {
            Coordinates::Group => Some(Arc::clone(&self.group)),
            Coordinates::Transaction => self.transactional_id.clone(),
        };
        id.map(|id| Coordinated { of, id })
    }

    fn step_answered(
        &mut self,
        number: u64,
        reader: &mut Reader<'_>,
        version: i16,
        now: Instant,
    ) -> Result<(), Broken> {
        let Some(step) = self.transactor.in_hand(number) else { return Ok(()) };
        let events = &mut self.events;
        let then = match step {
            Step::Init => match transaction::read_producer(reader)? {
                Ok(producer) => {
                    let is_v2 = self.transactional_id.is_some() && self.has_transactions_v2();
                    self.transactor.initialised(producer, is_v2, &mut self.events)
                }
                Err(code) => self.transactor.answered(code, now, events),
            },
            Step::End(_) => match transaction::read_end(reader, version)? {
                Ok(next) => self.transactor.ended(next, events),
                Err(code) => self.transactor.answered(code, now, events),
            },
            Step::AddGroup(_) => {
                let code = transaction::read_code(reader)?;
                self.transactor.answered(code, now, events)
            }
            Step::AddPartitions(_) | Step::Offsets(_) => {
                let code = transaction::read_codes_by_partition(reader)?;
                self.transactor.answered(code, now, events)
            }
        };
        self.then(then);
        Ok(())
    }

    /// Whether the coordinator's broker has transactions of version 2.
    fn has_transactions_v2(&mut self) -> bool {
        let coordinator = self.whom(Coordinates::Transaction);
        let coordinator = coordinator.and_then(|whom| self.cluster.coordinator(&whom));
        let Some(node) = coordinator else { return false };
        let connection = self.links.get_mut(&Lane::Calls(node)).and_then(|link| link.up());
        let versions = connection.and_then(|connection| connection.versions().cloned());
        versions.is_some_and(|versions| versions.has_transactions_v2())
    }

    fn then(&mut self, then: Then) {
        match then {
            Then::Nothing => {}
            Then::Renumber { is_other_id } => self.writer.renumber(is_other_id),
            Then::Refuse(partitions, outcome) => {
                self.writer.fail(&partitions, &outcome, &mut self.events);
            }
            Then::Forget(of) => {
                if let Some(whom) = self.whom(of) {
                    self.cluster.forget_coordinator(&whom);
                }
            }
        }
    }

    fn fetched(
        &mut self,
        lane: Lane,
        ticket: &Ticket,
        answer: &Answer<Purpose>,
        now: Instant,
    ) -> Result<(), Broken> {
        let fetched = fetch::read(&mut answer.reader())?;
        self.keep_quiet(lane, fetched.throttle_ms, now);
        self.reader.unanswered(ticket);
        if let Some(node) = lane.node() {
            self.reader.told(node, answer.frame.len());
        }
        let session = self.sessions.entry(lane).or_default();
        if verdict(fetched.code) != Verdict::Done {
            session.reset();
            self.reader.put_off(ticket, now);
            return Ok(());
        }
        session.answered(fetched.session);
        for (topic, parts) in fetched.topics {
            for part in parts {
                let Some(partition) = self.reader.find(ticket, topic, part.partition) else {
                    continue;
                };
                let frame = &answer.frame;
                let events = &mut self.events;
                if let Mistrust::Leader(name) =
                    self.reader.answered(partition, &part, frame, now, events)
                {
                    self.cluster.forget(&name);
                }
            }
        }
        Ok(())
    }

    fn produced(&mut self, ticket: &writer::Ticket, answers: &[produce::Answer], now: Instant) {
        let before = self.events.len();
        let mistrusted = self.writer.answered(ticket, answers, now, &mut self.events);
        for name in mistrusted {
            self.cluster.forget(&name);
        }
        let is_failed = |event: &LogEvent| match event {
            LogEvent::Ended { outcome, .. } => !matches!(outcome, Outcome::Done { .. }),
            _ => false,
        };
        if self.events[before..].iter().any(is_failed) {
            self.transactor.broken();
        }
    }

    fn limit(&mut self, purpose: Purpose, limit: Result<i64, i16>, now: Instant) {
        let Purpose::Limit { lost, earliest } = purpose else { return };
        match (limit, earliest) {
            (Ok(first), None) => self.half_lost.push((lost, first)),
            (Ok(end), Some(first)) => self.reader.limits(&lost, (first, end), &mut self.events),
            (Err(code), _) => {
                if verdict(code) == Verdict::AskLeader {
                    self.cluster.forget(&lost.name);
                }
                self.unanswered(Purpose::Limit { lost, earliest: None }, now);
            }
        }
    }

    /// Gives back what was asked for and not answered.
    pub(super) fn unanswered(&mut self, purpose: Purpose, now: Instant) {
        match purpose {
            Purpose::Metadata => self.cluster.not_told(now),
            Purpose::Coordinator(whom) => {
                self.looking.remove(&whom);
            }
            Purpose::Step(number) => {
                if self.transactor.in_hand(number).is_some() {
                    self.transactor.unanswered(now, &mut self.events);
                }
            }
            Purpose::Limit { lost, .. } => self.reader.still_lost(lost, now),
            Purpose::Fetch(ticket) => {
                self.reader.unanswered(&ticket);
                self.reader.put_off(&ticket, now);
            }
            Purpose::Produce(ticket) => self.writer.unanswered(&ticket, now),
            Purpose::Questions(numbers) => self.questions.unanswered(&numbers, now),
        }
    }
}

/// The one offset that was asked for, or an error's code.
fn read_limit(reader: &mut Reader<'_>) -> Read<Result<i64, Code>> {
    let answers = positions::read_offsets(reader)?;
    answers.into_iter().next().map(|part| part.answer).ok_or(Malformed("offset"))
}
