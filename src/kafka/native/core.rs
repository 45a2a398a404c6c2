//! What follows from what has happened? The whole client but for its sockets.
//!
//! It is told that a connection was made or lost, and which answers came; it tells which
//! connections it wants, and which bytes go out on them. Nothing in here waits, reads a clock or
//! touches the network, so a simulation can put anything between any two steps.
//!
//! # Invariants
//!
//! - One turn asks for all that can be had, each broker once for all that it leads.
//! - What was asked on a connection that is lost goes back to who asked. Whether it is asked again
//!   is decided there.

mod answers;
mod asked;
mod asks;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use super::cluster::Cluster;
use super::connection::{Broken, Connection};
use super::link::{Lane, Link};
use super::messages::metadata::{Address, Coordinated};
use super::questions::{Question, Questions, Reply};
use super::reader::{self, Lost, Reader, Session};
use super::terms::Terms;
use super::transactor::{Offsets, Transactor};
use super::writer::{self, Writer};
use crate::log::{
    ClientConfig, EffectId, End, LogError, LogEvent, OpenBatch, Outcome, PartitionId,
    TopicPartition,
};
use crate::time::Instant;

/// What a request was for.
#[derive(Debug)]
pub(super) enum Purpose {
    Metadata,
    Coordinator(Coordinated),
    /// A step of the transaction, by its number.
    Step(u64),
    /// The limits of a position that is not in the log; the first one, once it is known.
    Limit {
        lost: Lost,
        earliest: Option<i64>,
    },
    Fetch(reader::Ticket),
    Produce(writer::Ticket),
    /// Questions of the control plane, by their numbers.
    Questions(Vec<u64>),
}

/// What the owner of the sockets is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Connect(Lane, Address),
    Close(Lane),
}

/// A client without its sockets.
#[derive(Debug)]
pub(super) struct Core {
    terms: Terms,
    transactional_id: Option<Arc<str>>,
    group: Arc<str>,
    cluster: Cluster,
    links: BTreeMap<Lane, Link<Purpose>>,
    /// What brokers remember of what is read on a lane.
    sessions: BTreeMap<Lane, Session>,
    reader: Reader,
    writer: Writer,
    transactor: Transactor,
    questions: Questions,
    /// Whose coordinators are being asked for.
    looking: BTreeSet<Coordinated>,
    /// Positions whose first offset is known and whose end is to be asked for.
    half_lost: Vec<(Lost, i64)>,
    orders: Vec<Order>,
    events: Vec<LogEvent>,
    /// How many attempts there were to reach any broker.
    attempts: usize,
    next_effect: u64,
}

impl Core {
    pub(super) fn new(terms: Terms, config: &ClientConfig) -> Self {
        let transactional_id: Option<Arc<str>> = config.transactional_id.as_deref().map(Arc::from);
        Self {
            cluster: Cluster::new(terms.metadata_age_max, terms.topic_patience),
            links: BTreeMap::new(),
            sessions: BTreeMap::new(),
            reader: Reader::new(&terms),
            writer: Writer::new(&terms),
            transactor: Transactor::new(transactional_id.clone()),
            questions: Questions::default(),
            looking: BTreeSet::new(),
            half_lost: Vec::new(),
            orders: Vec::new(),
            events: Vec::new(),
            attempts: 0,
            next_effect: 0,
            group: config.group.as_str().into(),
            transactional_id,
            terms,
        }
    }

    fn effect(&mut self) -> EffectId {
        self.next_effect += 1;
        EffectId(self.next_effect)
    }

    fn end_now(&mut self, effect: EffectId, outcome: Outcome) -> EffectId {
        self.events.push(LogEvent::Ended { effect, outcome });
        effect
    }

    // --- what the user of the client says ---

    pub(super) fn read_from(&mut self, partition: PartitionId, name: TopicPartition, offset: i64) {
        self.reader.read_from(partition, name, offset);
    }

    pub(super) fn stop_reading(&mut self, partition: PartitionId) {
        self.reader.stop(partition);
    }

    pub(super) fn pause(&mut self, partition: PartitionId, is_paused: bool) {
        self.reader.pause(partition, is_paused, &mut self.events);
    }

    pub(super) fn end_of(&self, partition: PartitionId) -> Option<i64> {
        self.reader.end_of(partition)
    }

    pub(super) fn init_producer(&mut self, now: Instant) -> EffectId {
        let effect = self.effect();
        self.hold_back(now);
        self.writer.give_up(&mut self.events);
        self.transactor.init(effect, now, &mut self.events);
        effect
    }

    /// What has not left a client without transactions must not leave any more: nothing fences it,
    /// and what it is for may have another owner.
    fn hold_back(&mut self, now: Instant) {
        if self.transactional_id.is_some() {
            return;
        }
        let links = self.links.iter_mut().filter(|(lane, _)| matches!(lane, Lane::Calls(_)));
        let is_loaded = |link: &mut Link<Purpose>| {
            link.up().is_some_and(|connection| !connection.outgoing().is_empty())
        };
        let loaded = links.filter_map(|(lane, link)| is_loaded(link).then_some(*lane));
        for lane in loaded.collect::<Vec<_>>() {
            self.orders.push(Order::Close(lane));
            self.lost(lane, &Broken::Lost("what was to leave is held back".into()), now);
        }
    }

    pub(super) fn begin_transaction(&mut self) {
        self.transactor.begin();
    }

    pub(super) fn send(
        &mut self,
        partition: PartitionId,
        name: impl FnOnce() -> TopicPartition,
        batch: OpenBatch,
        now: Instant,
    ) -> EffectId {
        let effect = self.effect();
        if let Some(error) = self.transactor.refusal() {
            return self.end_now(effect, Outcome::Failed(error));
        }
        self.transactor.init_if_needed(now);
        self.writer.send((effect, now), partition, name, batch, &mut self.events);
        effect
    }

    /// Whether what is sent now has to wait for what was sent before.
    pub(super) fn is_busy(&self) -> bool {
        self.writer.is_waiting()
    }

    /// Whether offsets that are committed now are part of a transaction.
    pub(super) const fn is_in_transaction(&self) -> bool {
        self.transactor.is_open()
    }

    pub(super) fn commit_offsets(&mut self, mut offsets: Offsets, now: Instant) -> EffectId {
        let effect = self.effect();
        if let Some(error) = self.transactor.refusal().filter(|_| offsets.is_inside) {
            return self.end_now(effect, Outcome::Failed(error));
        }
        if offsets.member.group.is_empty() {
            offsets.member.group = self.group.to_string();
        }
        self.transactor.commit_offsets(effect, offsets, now);
        effect
    }

    pub(super) fn end_transaction(&mut self, end: End, now: Instant) -> EffectId {
        let effect = self.effect();
        if let Some(error) = self.transactor.refusal() {
            return self.end_now(effect, Outcome::Failed(error));
        }
        if end == End::Abort {
            self.writer.drop_waiting(&mut self.events);
        }
        let refused = self.transactor.end(effect, end == End::Commit, now);
        refused.map_or(effect, |outcome| self.end_now(effect, outcome))
    }

    /// Asks what the control plane wants to know. The reply is there at the deadline at the latest.
    pub(super) fn ask(&mut self, question: Question, deadline: Instant) -> u64 {
        self.questions.put(question, deadline)
    }

    /// What was replied to a question, once.
    pub(super) fn take_reply(&mut self, number: u64) -> Option<Result<Reply, LogError>> {
        self.questions.take_reply(number)
    }

    // --- what the network says ---

    /// A connection was made.
    pub(super) fn connected(&mut self, lane: Lane, now: Instant) {
        let deadline = now + self.terms.setup_timeout;
        let connection = Connection::new(&self.terms.client_id, self.terms.sasl.clone(), deadline);
        if let Some(link) = self.links.get_mut(&lane) {
            link.connected(connection);
        }
    }

    /// A connection was lost, or could not be made.
    pub(super) fn lost(&mut self, lane: Lane, why: &Broken, now: Instant) {
        let Some(link) = self.links.get_mut(&lane) else { return };
        let was_asked = link.up().is_some_and(|connection| connection.in_flight() > 0);
        let is_useful = link.up().is_some_and(|connection| connection.is_ready());
        if (is_useful && was_asked) || why.is_permanent() {
            tracing::warn!(target: "millstream::kafka", ?lane, "{why}");
        } else {
            tracing::debug!(target: "millstream::kafka", ?lane, "{why}");
        }
        self.questions.hinder(why);
        let connection = link.lost(now, is_useful);
        self.sessions.remove(&lane);
        if let Some(node) = lane.node() {
            self.cluster.lost(node, !is_useful || why.is_silence());
        }
        for purpose in connection.into_iter().flat_map(Connection::abandon) {
            self.unanswered(purpose, now);
        }
    }

    /// An answer came.
    pub(super) fn received(&mut self, lane: Lane, frame: Bytes, now: Instant) {
        let Some(link) = self.links.get_mut(&lane) else { return };
        link.useful(self.terms.reconnect_pauses.0);
        let Some(connection) = link.up() else { return };
        let taken = match connection.received(frame, now) {
            Ok(Some(answer)) => self.answered(lane, answer, now),
            Ok(None) => Ok(()),
            Err(broken) => Err(broken),
        };
        if let Err(broken) = taken {
            self.orders.push(Order::Close(lane));
            self.lost(lane, &broken, now);
        }
    }

    /// Does what can be done now.
    pub(super) fn turn(&mut self, now: Instant) {
        self.leave_the_silent(now);
        self.leave_bootstrap(now);
        self.writer.expire(now, &mut self.events);
        self.take_steps(now);
        self.ask_limits(now);
        self.ask_questions(now);
        self.write(now);
        self.read(now);
        // After those that need to know who leads, so that none of them waits for another turn.
        self.ask_cluster(now);
    }

    fn leave_the_silent(&mut self, now: Instant) {
        let mut silent = Vec::new();
        for (lane, link) in &mut self.links {
            if link.is_late(now) {
                silent.push((*lane, Broken::Lost("it could not be made in time".into())));
            } else if let Some(Err(broken)) = link.up().map(|connection| connection.check(now)) {
                silent.push((*lane, broken));
            } else if link.up().is_some_and(|connection| connection.is_spent(now)) {
                silent.push((*lane, Broken::Spent));
            } else if link.is_idle(now, self.terms.idle_max) {
                silent.push((*lane, Broken::Idle));
            }
        }
        for (lane, broken) in silent {
            self.orders.push(Order::Close(lane));
            self.lost(lane, &broken, now);
        }
    }

    /// Once a broker that is known by its number can be asked, the first connection is not needed.
    fn leave_bootstrap(&mut self, now: Instant) {
        let mut others = self.links.iter_mut().filter(|(lane, _)| lane.node().is_some());
        let is_replaced = others.any(|(_, link)| link.ready(now).is_some());
        let link = self.links.get_mut(&Lane::Bootstrap).and_then(|link| link.ready(now));
        if is_replaced && link.is_some_and(|connection| connection.in_flight() == 0) {
            self.links.remove(&Lane::Bootstrap);
            self.orders.push(Order::Close(Lane::Bootstrap));
        }
    }

    /// What the owner of the sockets is to do, in order.
    pub(super) fn take_orders(&mut self) -> Vec<Order> {
        std::mem::take(&mut self.orders)
    }

    /// What has happened, in order.
    pub(super) fn take_events(&mut self, events: &mut Vec<LogEvent>) {
        events.append(&mut self.events);
    }

    /// Whether something has happened that has not been taken.
    pub(super) fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// The connection of a lane, to take from it what goes out.
    pub(super) fn connection(&mut self, lane: Lane) -> Option<&mut Connection<Purpose>> {
        self.links.get_mut(&lane)?.up()
    }

    /// When a turn is due, if nothing happens before.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        let links = self.links.values().filter_map(|link| link.deadline(now));
        let links = links.filter(|deadline| *deadline > now).min();
        [
            links,
            self.cluster.deadline(),
            self.reader.deadline(now),
            self.writer.deadline(now),
            self.transactor.deadline(now),
            self.questions.deadline(now),
        ]
        .into_iter()
        .flatten()
        // What is due and has not been done waits for a connection, not for the clock.
        .filter(|deadline| *deadline > now)
        .min()
    }
}
