//! What is asked for in a turn, and of whom?

use std::collections::BTreeSet;

use bytes::Bytes;

use super::{Core, Order, Purpose};
use crate::kafka::native::api::{Api, END_TXN_CLASSIC, PRODUCE_CLASSIC, TXN_OFFSET_COMMIT_CLASSIC};
use crate::kafka::native::cluster::Led;
use crate::kafka::native::connection::Connection;
use crate::kafka::native::link::{Lane, Link};
use crate::kafka::native::messages::metadata::{self, Coordinated};
use crate::kafka::native::messages::transaction::{self, ProducerId};
use crate::kafka::native::messages::{Node, fetch, offsets, positions, produce};
use crate::kafka::native::reader::Due;
use crate::kafka::native::transactor::Step;
use crate::kafka::native::wire::Writer as Out;
use crate::kafka::native::writer::As;
use crate::kafka::places::{EARLIEST, END};
use crate::log::TopicPartition;
use crate::time::{Instant, millis};

/// A request of one segment.
pub(super) fn whole(out: Out) -> Vec<Bytes> {
    vec![Bytes::from(out.bytes)]
}

impl Core {
    /// A lane on which something can be asked now. One that is not there is made.
    pub(super) fn ready(&mut self, lane: Lane, now: Instant) -> Option<&mut Connection<Purpose>> {
        let pauses = self.terms.reconnect_pauses;
        let setup_timeout = self.terms.setup_timeout;
        let link = self.links.entry(lane).or_insert_with(|| Link::new(pauses, setup_timeout));
        if link.may_connect(now) {
            let bootstrap = &self.terms.bootstrap;
            let address = match lane.node() {
                Some(node) => self.cluster.address(node)?.clone(),
                None => bootstrap.get(self.attempts % bootstrap.len().max(1))?.clone(),
            };
            self.attempts += 1;
            link.connecting(now);
            self.orders.push(Order::Connect(lane, address));
        }
        self.links.get_mut(&lane)?.ready(now)
    }

    /// A lane to whichever broker answers.
    fn any_lane(&mut self, now: Instant) -> Option<Lane> {
        let known = self.cluster.brokers().map(|(node, _)| Lane::Calls(node));
        let lanes: Vec<Lane> = known.chain([Lane::Bootstrap]).collect();
        let is_ready =
            |lane: &&Lane| self.links.get_mut(lane).is_some_and(|link| link.ready(now).is_some());
        if let Some(lane) = lanes.iter().find(is_ready) {
            return Some(*lane);
        }
        let is_under_way = |lane: &Lane| {
            self.links.get_mut(lane).is_some_and(|l| l.is_connecting() || l.up().is_some())
        };
        if !lanes.iter().any(is_under_way) {
            let count = lanes.len();
            for turn in 0..count {
                let lane = lanes[(self.attempts + turn) % count];
                let may_connect = self.links.get(&lane).is_none_or(|link| link.may_connect(now));
                if may_connect {
                    self.ready(lane, now);
                    break;
                }
            }
        }
        None
    }

    /// Asks who leads and who coordinates, where that is not known.
    pub(super) fn ask_cluster(&mut self, now: Instant) {
        if self.cluster.is_due(now)
            && let Some(lane) = self.any_lane(now)
            && let Some(connection) = self.links.get_mut(&lane).and_then(|link| link.ready(now))
        {
            let topics = self.cluster.asking();
            let deadline = now + self.terms.request_timeout;
            connection.ask(Api::Metadata, None, Purpose::Metadata, deadline, |mut out, version| {
                metadata::ask(&mut out, version, topics);
                whole(out)
            });
        }
    }

    /// Whoever coordinates, once it is known and can be asked.
    pub(super) fn coordinator(&mut self, whom: &Coordinated, now: Instant) -> Option<Lane> {
        if let Some(node) = self.cluster.coordinator(whom) {
            let lane = Lane::Calls(node);
            return self.ready(lane, now).is_some().then_some(lane);
        }
        if self.looking.contains(whom) {
            return None;
        }
        let lane = self.any_lane(now)?;
        let deadline = now + self.terms.request_timeout;
        let connection = self.ready(lane, now)?;
        let purpose = Purpose::Coordinator(whom.clone());
        connection.ask(Api::FindCoordinator, None, purpose, deadline, |mut out, _| {
            metadata::ask_coordinator(&mut out, whom);
            whole(out)
        });
        self.looking.insert(whom.clone());
        None
    }

    /// Takes the next step of the transaction, or of what stands in its place.
    pub(super) fn take_steps(&mut self, now: Instant) {
        self.transactor.want(self.writer.waiting().map(|(partition, _)| partition));
        let is_quiet = self.writer.is_quiet() && self.writer.is_empty();
        self.transactor.end_unknown_to_brokers(is_quiet, &mut self.events);
        let Some(step) = self.transactor.next(now, is_quiet) else { return };
        let lane = match self.whom(step.coordinator()) {
            // Without transactions any broker gives an epoch.
            None => self.any_lane(now),
            Some(whom) => self.coordinator(&whom, now),
        };
        if let Some(lane) = lane {
            self.take_step(lane, step, now);
        }
    }

    fn take_step(&mut self, lane: Lane, step: Step, now: Instant) {
        let id = self.transactional_id.clone();
        let id = id.as_deref();
        let producer = self.transactor.producer().unwrap_or(ProducerId::NONE);
        let is_v2 = self.transactor.is_v2();
        let (api, at_most) = match &step {
            Step::Init => (Api::InitProducerId, None),
            Step::AddPartitions(_) => (Api::AddPartitionsToTxn, None),
            Step::AddGroup(_) => (Api::AddOffsetsToTxn, None),
            Step::Offsets(offsets) if offsets.is_inside => {
                (Api::TxnOffsetCommit, (!is_v2).then_some(TXN_OFFSET_COMMIT_CLASSIC))
            }
            Step::Offsets(_) => (Api::OffsetCommit, None),
            Step::End(_) => (Api::EndTxn, (!is_v2).then_some(END_TXN_CLASSIC)),
        };
        let names = match &step {
            Step::AddPartitions(partitions) => self.names_of(partitions),
            _ => Vec::new(),
        };
        let timeout_ms = millis(self.terms.transaction_timeout) as i32;
        let deadline = now + self.terms.request_timeout;
        let purpose = Purpose::Step(self.transactor.asked(step.clone()));
        let Some(connection) = self.ready(lane, now) else { return };
        connection.ask(api, at_most, purpose, deadline, |mut out, _| {
            let name = id.unwrap_or_default();
            match &step {
                Step::Init => transaction::ask_producer(&mut out, id, timeout_ms, ProducerId::NONE),
                Step::AddPartitions(_) => {
                    transaction::add_partitions(&mut out, name, producer, &names);
                }
                Step::AddGroup(group) => transaction::add_offsets(&mut out, name, producer, group),
                Step::Offsets(all) if all.is_inside => {
                    offsets::commit_inside(&mut out, name, producer, &all.member, &all.offsets);
                }
                Step::Offsets(all) => offsets::commit_outside(&mut out, &all.member, &all.offsets),
                Step::End(commits) => transaction::end(&mut out, name, producer, *commits),
            }
            whole(out)
        });
    }

    fn names_of(&self, partitions: &[crate::log::PartitionId]) -> Vec<TopicPartition> {
        let waiting = self.writer.waiting();
        let named = waiting.filter(|(partition, _)| partitions.contains(partition));
        let mut names: Vec<_> = named.map(|(_, name)| name.clone()).collect();
        names.sort();
        names
    }

    /// Asks for the limits of partitions whose positions they do not include.
    pub(super) fn ask_limits(&mut self, now: Instant) {
        let lost = self.reader.take_lost(now).into_iter().map(|lost| (lost, None));
        let half = std::mem::take(&mut self.half_lost).into_iter();
        let half = half.map(|(lost, earliest)| (lost, Some(earliest)));
        for (lost, earliest) in lost.chain(half).collect::<Vec<_>>() {
            let name = lost.name.clone();
            let purpose = Purpose::Limit { lost, earliest };
            let lane = match self.cluster.led(&name, now) {
                Led::By(leader) => Some(Lane::Calls(leader.node)),
                Led::NotYet | Led::Refused(_) => None,
                Led::Missing => {
                    self.end_missing(purpose);
                    continue;
                }
            };
            let deadline = now + self.terms.request_timeout;
            let is_ready = lane.is_some_and(|lane| self.ready(lane, now).is_some());
            match lane.filter(|_| is_ready).and_then(|lane| self.ready(lane, now)) {
                Some(connection) => {
                    let limit = if earliest.is_some() { END } else { EARLIEST };
                    connection.ask(Api::ListOffsets, None, purpose, deadline, |mut out, _| {
                        positions::ask_offsets(&mut out, &[(&name, limit)]);
                        whole(out)
                    });
                }
                None => self.unanswered(purpose, now),
            }
        }
    }

    fn end_missing(&mut self, purpose: Purpose) {
        if let Purpose::Limit { lost, .. } = purpose {
            self.reader.missing(&lost, &mut self.events);
        }
    }

    /// Sends what waits, each broker's in one request.
    pub(super) fn write(&mut self, now: Instant) {
        let Some(producer) = self.transactor.producer() else { return };
        if self.writer.is_empty() {
            return;
        }
        let is_transactional = self.transactional_id.is_some();
        let by = As { producer, is_transactional, packing: self.terms.packing };
        let (in_flight_max, mut closed) = (self.terms.in_flight_max, BTreeSet::new());
        let may_write = |partition, node| {
            if !self.transactor.may_write(partition) {
                return false;
            }
            let link = self.links.get_mut(&Lane::Calls(node));
            let ready = link.and_then(|link| link.ready(now));
            let is_open = ready.is_some_and(|connection| connection.in_flight() < in_flight_max);
            if !is_open {
                closed.insert(node);
            }
            is_open
        };
        let due = self.writer.due(&mut self.cluster, now, by, may_write, &mut self.events);
        for node in closed {
            self.ready(Lane::Calls(node), now);
        }
        for (node, due) in due {
            self.transactor.has_written();
            self.produce(node, due.split(), now);
        }
    }

    fn produce(
        &mut self,
        node: Node,
        (parts, ticket): (Vec<produce::Part>, crate::kafka::native::writer::Ticket),
        now: Instant,
    ) {
        let id = self.transactional_id.clone();
        let at_most = (id.is_some() && !self.transactor.is_v2()).then_some(PRODUCE_CLASSIC);
        let timeout = self.terms.request_timeout;
        let timeout_ms = millis(self.terms.replicas_timeout) as i32;
        let Some(connection) = self.ready(Lane::Calls(node), now) else {
            return self.writer.unanswered(&ticket, now);
        };
        let purpose = Purpose::Produce(ticket);
        connection.ask(Api::Produce, at_most, purpose, now + timeout, |out, _| {
            produce::ask(out, id.as_deref(), timeout_ms, &parts)
        });
    }

    /// Asks for records, each broker for all that it leads and that is not asked for already.
    pub(super) fn read(&mut self, now: Instant) {
        let due = self.reader.due(&mut self.cluster, now, &mut self.events);
        for (node, due) in due {
            if let Some(lane) = self.free_lane(node, now) {
                self.fetch(node, lane, due, now);
            }
        }
    }

    fn fetch(&mut self, node: Node, lane: Lane, due: Due, now: Instant) {
        let terms = &self.terms;
        let Some(connection) = self.links.get_mut(&lane).and_then(|link| link.ready(now)) else {
            return;
        };
        let (wanted, ticket) = due.split();
        self.reader.asked(node, &ticket, now);
        let plan = self.sessions.entry(lane).or_default().plan(wanted);
        let deadline = now + terms.request_timeout + terms.fetch_wait;
        connection.ask(Api::Fetch, None, Purpose::Fetch(ticket), deadline, |mut out, _| {
            let asked = fetch::Terms {
                wait_ms: millis(terms.fetch_wait) as i32,
                bytes_min: terms.fetch_bytes_min as i32,
                bytes_max: terms.fetch_bytes_max as i32,
                partition_bytes_max: terms.partition_bytes_max as i32,
                isolation: terms.isolation,
                rack: &terms.rack,
            };
            fetch::ask(&mut out, asked, plan.session, &plan.parts, &plan.forgotten);
            whole(out)
        });
    }

    /// A lane on which no records are being waited for.
    fn free_lane(&mut self, node: Node, now: Instant) -> Option<Lane> {
        for number in 0..2 {
            let lane = Lane::Fetch(node, number);
            match self.ready(lane, now).map(|connection| connection.in_flight()) {
                Some(0) => return Some(lane),
                // The second is for when the first one waits, not for when it is being made.
                None => return None,
                Some(_) => {}
            }
        }
        None
    }
}
