//! What lies between a client and its brokers, and what goes wrong on the way?
//!
//! # Invariants
//!
//! - A broker reads the requests of a connection one after the other.
//! - What a broker has read of a connection that is gone may still be done, long after.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};

use super::cluster::Cluster;
use super::random::Random;
use super::requests::{At, head};
use crate::kafka::native::api::Api;
use crate::kafka::native::connection::Broken;
use crate::kafka::native::core::{Core, Order};
use crate::kafka::native::link::Lane;
use crate::kafka::native::messages::metadata::Address;
use crate::kafka::native::terms::Terms;
use crate::kafka::native::wire::Reader;
use crate::log::{ClientConfig, EffectId, LogEvent};
use crate::time::Instant;

/// A client does not turn more often than this in a second without anything to show for it.
const IDLE_TURNS_MAX: u64 = 200;
const PRODUCE_IN_FLIGHT_MAX: usize = 5;

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Answered,
    /// It is done, and the connection is cut.
    Unheard,
    /// The connection is cut before it is done.
    Lost,
    /// It is done when nobody waits for it any more.
    Late,
}

#[derive(Debug)]
struct Request {
    at: Instant,
    bytes: Bytes,
    fate: Fate,
    has_waited: bool,
}

/// A connection.
#[derive(Debug)]
struct Wire {
    node: i32,
    /// When it is made; `None` once it is.
    made_at: Option<Instant>,
    is_refused: bool,
    requests: VecDeque<Request>,
    answers: VecDeque<(Instant, Bytes)>,
    /// Batches that have not been answered.
    producing: VecDeque<Api>,
}

/// A client and its connections.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) core: Core,
    wires: BTreeMap<Lane, Wire>,
    /// Requests without a connection.
    ghosts: Vec<(Instant, i32, Bytes)>,
    random: Random,
    request_timeout: Duration,
    ended: BTreeSet<EffectId>,
    /// The second, and the turns of it that were due and led to nothing.
    idle: (u64, u64),
    /// When the client has asked for its next turn.
    due: Option<Instant>,
    /// When its owner lets it turn again.
    pub(super) again_at: Option<Instant>,
    /// When its owner has something to do.
    pub(super) acts_at: Option<Instant>,
    /// When anything happens next.
    pub(super) next_at: Option<Instant>,
    /// Whether answers are damaged on their way.
    pub(super) garbles: bool,
    pub(super) violations: Vec<String>,
    pub(super) turns: u64,
}

impl Host {
    pub(super) fn new(terms: Terms, config: &ClientConfig, random: Random) -> Self {
        Self {
            request_timeout: terms.request_timeout,
            core: Core::new(terms, config),
            wires: BTreeMap::new(),
            ghosts: Vec::new(),
            random,
            ended: BTreeSet::new(),
            idle: (0, 0),
            due: None,
            again_at: None,
            acts_at: None,
            next_at: Some(Instant::default()),
            garbles: false,
            violations: Vec::new(),
            turns: 0,
        }
    }

    /// When something happens next.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        let wires = self.wires.values().filter_map(Wire::deadline);
        let ghosts = self.ghosts.iter().map(|(at, ..)| *at);
        wires
            .chain(ghosts)
            .chain(self.again_at)
            .chain(self.acts_at)
            .chain(self.core.deadline(now))
            .min()
    }

    /// Carries what has arrived by now, lets the client do what it can, and tells what happened.
    pub(super) fn turn(&mut self, cluster: &mut Cluster, now: Instant) -> Vec<LogEvent> {
        let mut is_busy = self.serve(cluster, now);
        self.core.turn(now);
        is_busy |= self.obey(cluster, now);
        is_busy |= self.send(cluster, now);
        let mut events = Vec::new();
        self.core.take_events(&mut events);
        self.note(&events);
        self.count(is_busy || !events.is_empty(), now);
        events
    }

    fn count(&mut self, is_busy: bool, now: Instant) {
        self.turns += 1;
        let second = now.since(Instant::from_origin(Duration::ZERO)).as_secs();
        if self.idle.0 != second {
            self.idle = (second, 0);
        }
        let is_own = self.due.is_some_and(|due| due <= now);
        self.idle.1 += u64::from(is_own && !is_busy);
        self.due = self.core.deadline(now);
        if self.idle.1 == IDLE_TURNS_MAX {
            self.violations.push(format!("a busy loop at {now:?}"));
        }
    }

    fn note(&mut self, events: &[LogEvent]) {
        for event in events {
            if let LogEvent::Ended { effect, outcome } = event
                && !self.ended.insert(*effect)
            {
                self.violations.push(format!("{effect:?} has ended twice, now {outcome:?}"));
            }
        }
    }

    /// Whether every effect up to this one has ended.
    pub(super) fn has_ended_all(&self, last: u64) -> bool {
        self.ended.len() as u64 == last
    }

    /// Lets brokers do and answer what is due.
    fn serve(&mut self, cluster: &mut Cluster, now: Instant) -> bool {
        let mut is_busy = self.haunt(cluster, now);
        for lane in self.wires.keys().copied().collect::<Vec<_>>() {
            is_busy |= self.make(lane, cluster, now);
            while self.execute(lane, cluster, now) {
                is_busy = true;
            }
            while let Some(answer) = self.arrived(lane, now) {
                is_busy = true;
                self.core.received(lane, answer, now);
            }
        }
        is_busy
    }

    /// Does what comes late.
    fn haunt(&mut self, cluster: &mut Cluster, now: Instant) -> bool {
        let (due, waiting): (Vec<_>, Vec<_>) =
            self.ghosts.drain(..).partition(|(at, ..)| *at <= now);
        self.ghosts = waiting;
        for (_, node, bytes) in &due {
            if cluster.up[node] {
                cluster.happened("late");
                cluster.execute(bytes, At { node: *node, now, has_waited: true });
            }
        }
        !due.is_empty()
    }

    fn make(&mut self, lane: Lane, cluster: &Cluster, now: Instant) -> bool {
        let Some(wire) = self.wires.get_mut(&lane) else { return false };
        if wire.made_at.is_none_or(|at| at > now) {
            return false;
        }
        wire.made_at = None;
        if wire.is_refused || !cluster.up[&wire.node] {
            self.wires.remove(&lane);
            self.core.lost(lane, &Broken::Lost("refused".into()), now);
        } else {
            self.core.connected(lane, now);
        }
        true
    }

    /// Lets the broker do the first request of a connection.
    fn execute(&mut self, lane: Lane, cluster: &mut Cluster, now: Instant) -> bool {
        let Some(wire) = self.wires.get_mut(&lane) else { return false };
        let Some(first) = wire.requests.front_mut().filter(|first| first.at <= now) else {
            return false;
        };
        let at = At { node: wire.node, now, has_waited: first.has_waited };
        match first.fate {
            Fate::Late => return false,
            Fate::Lost => {
                wire.requests.pop_front();
                self.cut(lane, now);
                return true;
            }
            Fate::Answered | Fate::Unheard => {}
        }
        let Some(answer) = cluster.execute(&first.bytes, at) else {
            first.has_waited = true;
            first.at = now + Duration::from_millis(100);
            return false;
        };
        let is_unheard = first.fate == Fate::Unheard;
        wire.requests.pop_front();
        if is_unheard {
            self.cut(lane, now);
            return true;
        }
        let after = self.random.millis(0, if cluster.is_calm { 2 } else { 30 });
        let earliest = wire.answers.back().map_or(now, |(at, _)| *at);
        wire.answers.push_back((earliest.max(now + after), answer));
        true
    }

    fn arrived(&mut self, lane: Lane, now: Instant) -> Option<Bytes> {
        let wire = self.wires.get_mut(&lane)?;
        wire.answers.front().filter(|(at, _)| *at <= now)?;
        wire.producing.pop_front();
        let (_, answer) = wire.answers.pop_front()?;
        if self.garbles && self.random.one_in(4) {
            return Some(garbled(answer, &mut self.random));
        }
        Some(answer)
    }

    /// Ends a connection from outside.
    fn cut(&mut self, lane: Lane, now: Instant) {
        self.drop_wire(lane, now);
        self.core.lost(lane, &Broken::Lost("cut".into()), now);
    }

    /// The first request may have been read by the broker; it does it some time.
    fn drop_wire(&mut self, lane: Lane, now: Instant) {
        let Some(wire) = self.wires.remove(&lane) else { return };
        let Some(first) = wire.requests.into_iter().next() else { return };
        if first.fate == Fate::Late || self.random.one_in(2) {
            let at = now + self.random.millis(0, 1500);
            self.ghosts.push((at, wire.node, first.bytes));
        }
    }

    /// A broker has gone, and what it had read with it.
    pub(super) fn broker_down(&mut self, node: i32, now: Instant) {
        let lanes: Vec<Lane> = self
            .wires
            .iter()
            .filter(|(_, wire)| wire.node == node)
            .map(|(lane, _)| *lane)
            .collect();
        for lane in lanes {
            self.wires.remove(&lane);
            self.core.lost(lane, &Broken::Lost("the broker has gone".into()), now);
        }
        self.ghosts.retain(|(_, at, _)| *at != node);
    }

    fn obey(&mut self, cluster: &mut Cluster, now: Instant) -> bool {
        let orders = self.core.take_orders();
        let is_busy = !orders.is_empty();
        for order in orders {
            match order {
                Order::Close(lane) => self.drop_wire(lane, now),
                Order::Connect(lane, address) => self.connect(lane, &address, cluster, now),
            }
        }
        is_busy
    }

    fn connect(&mut self, lane: Lane, address: &Address, cluster: &mut Cluster, now: Instant) {
        let mut after = self.random.millis(0, 5);
        let mut is_refused = false;
        if !cluster.is_calm {
            is_refused = self.random.one_in(30);
            if self.random.one_in(60) {
                // Nothing comes back at all.
                cluster.happened("silence");
                after = Duration::from_secs(3600);
            }
        }
        let node = i32::from(address.port) - 9000;
        is_refused |= !cluster.up.contains_key(&node);
        let wire = Wire {
            node,
            made_at: Some(now + after),
            is_refused,
            requests: VecDeque::new(),
            answers: VecDeque::new(),
            producing: VecDeque::new(),
        };
        if self.wires.insert(lane, wire).is_some() {
            self.violations.push(format!("{lane:?} is connected twice"));
        }
    }

    /// Takes what goes out.
    fn send(&mut self, cluster: &mut Cluster, now: Instant) -> bool {
        let mut is_busy = false;
        for (lane, wire) in &mut self.wires {
            let Some(connection) = self.core.connection(*lane) else { continue };
            let mut bytes = BytesMut::new();
            connection.outgoing().drain(..).for_each(|segment| bytes.extend_from_slice(&segment));
            let mut bytes = bytes.freeze();
            while !bytes.is_empty() {
                is_busy = true;
                let length = bytes.get_i32() as usize;
                let request = bytes.split_to(length);
                wire.take(request, cluster, &mut self.random, self.request_timeout, now);
            }
            let producing = wire.producing.iter().filter(|api| **api == Api::Produce).count();
            if producing > PRODUCE_IN_FLIGHT_MAX {
                self.violations.push(format!("{producing} batches are under way on {lane:?}"));
            }
        }
        is_busy
    }
}

/// Cuts an answer short, or changes some of its bytes behind the number that it goes by.
fn garbled(answer: Bytes, random: &mut Random) -> Bytes {
    let mut bytes = answer.to_vec();
    if random.one_in(3) {
        bytes.truncate(random.below(bytes.len() as u64 + 1) as usize);
    }
    for _ in 0..=random.below(3) {
        let at = 4 + random.below(bytes.len() as u64 + 1) as usize;
        if let Some(byte) = bytes.get_mut(at) {
            *byte = random.pick(&[0, 1, 0x7f, 0x80, 0xff, random.clone().next() as u8]);
        }
    }
    Bytes::from(bytes)
}

impl Wire {
    fn take(
        &mut self,
        bytes: Bytes,
        cluster: &mut Cluster,
        random: &mut Random,
        timeout: Duration,
        now: Instant,
    ) {
        let head = head(&mut Reader::new(&bytes)).expect("the client's heads are whole");
        let is_rare = cluster.is_calm || head.api == Api::Hello;
        let odds = match head.api {
            // There are fewer of them, and more follows.
            Api::EndTxn | Api::TxnOffsetCommit | Api::AddPartitionsToTxn => 30,
            _ => 120,
        };
        let fate = match random.below(odds) {
            0 if !is_rare => Fate::Lost,
            1 if !is_rare => Fate::Unheard,
            2 if !is_rare => Fate::Late,
            _ => Fate::Answered,
        };
        match fate {
            Fate::Answered => {}
            Fate::Unheard => cluster.happened("unheard"),
            Fate::Lost => cluster.happened("lost"),
            Fate::Late => cluster.happened("silent"),
        }
        let slow = if !cluster.is_calm && random.one_in(50) { timeout / 3 } else { Duration::ZERO };
        let earliest = self.requests.back().map_or(now, |last| last.at);
        let at = earliest.max(now + slow + random.millis(0, 3));
        self.producing.push_back(head.api);
        self.requests.push_back(Request { at, bytes, fate, has_waited: false });
    }

    /// When something happens on it.
    fn deadline(&self) -> Option<Instant> {
        if self.made_at.is_some() {
            return self.made_at;
        }
        let first = self.requests.front().filter(|first| first.fate != Fate::Late);
        let answer = self.answers.front().map(|(at, _)| *at);
        first.map(|first| first.at).into_iter().chain(answer).min()
    }
}
