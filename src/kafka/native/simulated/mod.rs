//! Does the client keep its promises whatever the network and the brokers do? By seed.
//!
//! A cluster is simulated at the level of requests: it reads the bytes that the client writes and
//! answers in bytes. Between the two lies a network that loses, delays and cuts, on a clock that
//! jumps to whatever happens next. Over it work a transactional worker, as the engine drives one,
//! a plain one, and readers; what they saw is compared with what the cluster holds.
//!
//! `MILLSTREAM_SEEDS` is the number of seeds, `MILLSTREAM_FROM` the first one.
//!
//! # Invariants
//!
//! - One seed is one history, on every machine.
//! - What goes wrong ends at a fixed time; from then on everything has to come to its end.

mod cluster;
mod engine;
mod host;
mod partition;
mod plain;
mod random;
mod requests;
mod transactions;
mod watcher;

use std::collections::BTreeMap;
use std::time::Duration;

use self::cluster::{Cluster, Release};
use self::engine::{Engine, INPUT, OUTPUT};
use self::host::Host;
use self::partition::batch_of;
use self::plain::{PLAIN, Plain};
use self::random::Random;
use self::transactions::Place;
use self::watcher::Watcher;
use super::messages::metadata::Address;
use super::terms::Terms;
use crate::log::batch::ProducerStamp;
use crate::log::{ClientConfig, Isolation, LogEvent};
use crate::time::Instant;

const GROUP: &str = "group";
/// When everything is well again.
const CALM_AT: Duration = Duration::from_secs(5);
/// How long it may take from then on.
const PATIENCE: Duration = Duration::from_secs(90);
/// Violations of one seed that are shown.
const VIOLATIONS_TOLD: usize = 5;
/// Between two turns of a worker that has something to do.
const AGAIN: Duration = Duration::from_micros(300);
/// Turns at one instant.
const AT_ONCE_MAX: u32 = 300;

fn place(topic: &str, index: u32) -> Place {
    (topic.to_owned(), index)
}

/// Who uses a client.
trait Player {
    /// Takes what has happened, and does what is due.
    fn play(&mut self, host: &mut Host, cluster: &Cluster, events: Vec<LogEvent>, now: Instant);
    fn deadline(&self, now: Instant) -> Option<Instant>;
    fn is_done(&self, cluster: &Cluster) -> bool;
    /// The last effect that was begun.
    fn last_effect(&self) -> u64;
    /// What is wrong with what has become of it all.
    fn check(&self, cluster: &Cluster) -> Vec<String>;
    /// How much was done, and how often all over again.
    fn tells(&self) -> (u64, u64);
}

struct World {
    now: Instant,
    cluster: Cluster,
    hosts: Vec<(Host, Box<dyn Player>)>,
    random: Random,
    /// When the next broker goes or comes, or something moves.
    change_at: Instant,
    down: Option<i32>,
    /// What is known to have happened, in order.
    trace: Vec<(Instant, usize)>,
}

/// How a seed went.
#[derive(Debug, Default, PartialEq, Eq)]
struct Story {
    violations: Vec<String>,
    trace: Vec<(Instant, usize)>,
    faults: BTreeMap<&'static str, u64>,
    turns: u64,
    commits: u64,
    restarts: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let release = random.pick(&[Release::New, Release::New, Release::Classic, Release::Old]);
        let brokers = 1 + random.below(3) as i32;
        let mut cluster = Cluster::new(release, brokers, random.fork());
        for (topic, width) in [(INPUT, engine::WIDTH), (OUTPUT, engine::WIDTH), (PLAIN, 3)] {
            cluster.create(topic, width);
        }
        fill(&mut cluster, &mut random);
        let mut world = Self {
            now: Instant::default(),
            cluster,
            hosts: Vec::new(),
            change_at: Instant::from_origin(random.millis(0, 1000)),
            random,
            down: None,
            trace: Vec::new(),
        };
        world.people(brokers);
        world
    }

    fn people(&mut self, brokers: i32) {
        let engine = Box::new(Engine::new(&self.cluster, self.random.fork()));
        self.host(brokers, Some("id"), Isolation::ReadCommitted, engine);
        let plain = Box::new(Plain::new(120, self.random.fork()));
        self.host(brokers, None, Isolation::ReadCommitted, plain);
        let topics = [(INPUT, engine::WIDTH), (OUTPUT, engine::WIDTH), (PLAIN, 3)];
        for isolation in [Isolation::ReadCommitted, Isolation::ReadUncommitted] {
            let is_committed_only = isolation == Isolation::ReadCommitted;
            let watcher = Watcher::new(&topics, is_committed_only, self.random.fork());
            self.host(brokers, None, isolation, Box::new(watcher));
        }
    }

    fn host(
        &mut self,
        brokers: i32,
        id: Option<&str>,
        isolation: Isolation,
        player: Box<dyn Player>,
    ) {
        let config = ClientConfig {
            client_id: "simulated".into(),
            isolation,
            transactional_id: id.map(str::to_owned),
            transaction_timeout: Duration::from_secs(4),
            group: GROUP.into(),
            fetch_bytes_max: 1024 * 1024,
            batch_bytes_max: 400,
        };
        let first = 1 + self.random.below(brokers as u64) as i32;
        let terms = terms(&config, [first, 1], &mut self.random);
        let host = Host::new(terms, &config, self.random.fork());
        self.hosts.push((host, player));
    }

    fn deadline(&self) -> Instant {
        let hosts = self.hosts.iter().filter_map(|(host, _)| host.next_at);
        let change = (!self.cluster.is_calm).then_some(self.change_at);
        let next = hosts.chain(self.cluster.deadline()).chain(change).min();
        next.unwrap_or(self.now).max(self.now)
    }

    /// Lets everybody do what can be done.
    fn turn(&mut self) {
        let is_changed = self.change();
        self.cluster.tick(self.now);
        for (at, (host, player)) in self.hosts.iter_mut().enumerate() {
            if !is_changed && host.next_at.is_some_and(|due| due > self.now) {
                continue;
            }
            let acts = host.acts_at.is_some_and(|due| due <= self.now);
            let events = host.turn(&mut self.cluster, self.now);
            if !events.is_empty() {
                self.trace.push((self.now, at * 1000 + events.len()));
            }
            // What follows from it leaves with the next turn, which comes at once.
            host.again_at = (acts || !events.is_empty()).then_some(self.now + AGAIN);
            player.play(host, &self.cluster, events, self.now);
            host.acts_at = player.deadline(self.now);
            host.next_at = host.deadline(self.now);
        }
    }

    /// Brokers go and come, and partitions move.
    fn change(&mut self) -> bool {
        if self.now >= Instant::from_origin(CALM_AT) && !self.cluster.is_calm {
            self.cluster.is_calm = true;
            self.come_back();
            return true;
        }
        if self.cluster.is_calm || self.now < self.change_at {
            return false;
        }
        self.change_at = self.now + self.random.millis(50, 900);
        if self.down.is_some() {
            self.come_back();
        } else if self.random.one_in(3) {
            let nodes: Vec<i32> = self.cluster.up.keys().copied().collect();
            let node = self.random.pick(&nodes);
            self.cluster.happened("restart");
            self.cluster.up.insert(node, false);
            self.cluster.leave(node);
            self.down = Some(node);
            for (host, _) in &mut self.hosts {
                host.broker_down(node, self.now);
            }
        } else {
            self.cluster.shuffle();
        }
        true
    }

    fn come_back(&mut self) {
        if let Some(node) = self.down.take() {
            self.cluster.up.insert(node, true);
        }
    }

    fn run(mut self) -> Story {
        let mut at_once = 0;
        let mut is_over = false;
        while !is_over {
            let next = self.deadline();
            at_once = if next > self.now { 0 } else { at_once + 1 };
            if at_once > AT_ONCE_MAX {
                self.cluster.violations.push(format!("time stands still at {next:?}"));
                break;
            }
            self.now = next;
            self.turn();
            is_over = self.now > Instant::from_origin(CALM_AT + PATIENCE)
                || self.hosts.iter().any(|(host, _)| !host.violations.is_empty())
                || (self.cluster.is_calm
                    && self.hosts.iter().all(|(_, player)| player.is_done(&self.cluster)));
        }
        self.story()
    }

    fn story(self) -> Story {
        let mut story = Story { trace: self.trace, ..Story::default() };
        story.violations.extend(self.cluster.violations.iter().cloned());
        for (at, (host, player)) in self.hosts.iter().enumerate() {
            if !player.is_done(&self.cluster) {
                story.violations.push(format!("client {at} does not come to its end"));
            } else if !host.has_ended_all(player.last_effect()) {
                story.violations.push(format!("effects of client {at} have not ended"));
            }
            story.violations.extend(host.violations.iter().cloned());
            story.turns += host.turns;
            if player.is_done(&self.cluster) {
                story.violations.extend(player.check(&self.cluster));
            }
            if player.last_effect() > 0 {
                let (commits, restarts) = player.tells();
                (story.commits, story.restarts) =
                    (story.commits + commits, story.restarts + restarts);
            }
        }
        story.faults = self.cluster.faults;
        story
    }
}

/// What a client keeps to that can reach two brokers, and what else it may keep to.
pub(super) fn terms_of(config: &ClientConfig, seed: u64) -> Terms {
    terms(config, [1, 2], &mut Random::new(seed))
}

fn terms(config: &ClientConfig, brokers: [i32; 2], random: &mut Random) -> Terms {
    let address = |node| Address { host: "broker".into(), port: 9000 + node as u16 };
    Terms {
        client_id: config.client_id.as_str().into(),
        bootstrap: brokers.map(address).to_vec(),
        sasl: None,
        isolation: config.isolation,
        rack: String::new(),
        fetch_wait: Duration::from_millis(100),
        fetch_bytes_min: 1,
        fetch_bytes_max: 1024 * 1024,
        partition_bytes_max: 1024 * 1024,
        unpacked_bytes_max: 1024 * 1024,
        batch_bytes_max: config.batch_bytes_max,
        request_bytes_max: random.pick(&[1, 1024 * 1024]),
        packing: None,
        delivery_timeout: random.pick(&[None, Some(Duration::from_secs(5))]),
        transaction_timeout: config.transaction_timeout,
        in_flight_max: 5,
        replicas_timeout: Duration::from_secs(1),
        request_timeout: Duration::from_secs(1),
        setup_timeout: Duration::from_secs(1),
        topic_patience: Duration::from_secs(60),
        reconnect_pauses: (Duration::from_millis(50), Duration::from_millis(500)),
        retry_pause: Duration::from_millis(50),
        fetch_pause: Duration::from_millis(50),
        idle_max: random.pick(&[None, Some(Duration::from_millis(500))]),
        metadata_age_max: Duration::from_secs(3),
    }
}

/// Fills the input: plain batches, transactions of two producers that overlap, holes, and one
/// transaction that never ends.
fn fill(cluster: &mut Cluster, random: &mut Random) {
    for index in 0..engine::WIDTH {
        let partition = cluster.partitions.get_mut(&place(INPUT, index)).expect("it was created");
        let mut sequences: BTreeMap<i64, i32> = BTreeMap::new();
        for number in 0..60 + random.below(40) {
            let producer = random.below(3) as i64;
            let sequence = sequences.entry(producer).or_default();
            let values = [format!("{index}:{number:04}0"), format!("{index}:{number:04}1")];
            let values = &values[..=random.below(2) as usize];
            let stamp = ProducerStamp {
                producer_id: producer,
                epoch: 0,
                base_sequence: *sequence,
                is_transactional: producer > 0,
                is_control: false,
            };
            *sequence += values.len() as i32;
            partition.append(&batch_of(values).seal_by(stamp)).expect("it is in order");
            if producer > 0 && random.one_in(2) {
                partition.mark(producer, 0, random.one_in(2));
            }
        }
        for producer in 1..=2 {
            partition.mark(producer, 0, true);
        }
        for _ in 0..5 {
            let at = 1 + random.below(partition.batches.len() as u64 - 2) as usize;
            let batch = &partition.batches[at];
            if batch.marker.is_none() && !batch.is_transactional {
                partition.forget(at);
            }
        }
        let stamp = ProducerStamp {
            producer_id: 9,
            epoch: 0,
            base_sequence: 0,
            is_transactional: true,
            is_control: false,
        };
        let values = [format!("{index}:open")];
        partition.append(&batch_of(&values).seal_by(stamp)).expect("it is in order");
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

#[test]
fn whatever_goes_wrong_each_record_takes_effect_once() {
    let from = number("MILLSTREAM_FROM").unwrap_or(0);
    let count = number("MILLSTREAM_SEEDS").unwrap_or(100);
    let mut sum = Story::default();
    let mut failed = Vec::new();
    for seed in from..from + count {
        let story = World::new(seed).run();
        if !story.violations.is_empty() {
            let told: Vec<_> = story.violations.iter().take(VIOLATIONS_TOLD).cloned().collect();
            failed.push(format!("MILLSTREAM_FROM={seed} MILLSTREAM_SEEDS=1: {}", told.join("\n")));
        }
        for (fault, times) in story.faults {
            *sum.faults.entry(fault).or_default() += times;
        }
        sum.turns += story.turns;
        sum.commits += story.commits;
        sum.restarts += story.restarts;
    }
    assert!(failed.is_empty(), "{} of {count} seeds: {}", failed.len(), failed.join("\n"));
    assert!(sum.commits > 3 * count, "enough has been done: {sum:?}");
    if count >= 50 {
        for fault in ["error", "late", "lost", "move", "restart", "silence", "silent", "unheard"] {
            let times = sum.faults.get(fault).copied().unwrap_or(0);
            assert!(times > 0, "{fault} has happened: {sum:?}");
        }
    }
}

/// Whatever a broker answers, the client neither panics nor turns in a circle. What it believes
/// then is another matter.
#[test]
fn damaged_answers_are_survived() {
    for seed in 0..20 {
        let mut world = World::new(seed);
        world.hosts.iter_mut().for_each(|(host, _)| host.garbles = true);
        let mut turns = 0;
        while world.now < Instant::from_origin(CALM_AT / 2) && turns < 100_000 {
            world.now = world.deadline();
            world.turn();
            turns += 1;
        }
        assert!(turns < 100_000, "seed {seed} goes on");
    }
}

#[test]
fn where_nothing_goes_wrong_nothing_is_done_twice() {
    for seed in 0..12 {
        let mut world = World::new(seed);
        world.cluster.is_calm = true;
        let story = world.run();
        assert_eq!((story.violations, story.restarts), (Vec::new(), 0), "seed {seed}");
    }
}

#[test]
fn one_seed_is_one_history() {
    for seed in 0..4 {
        assert_eq!(World::new(seed).run(), World::new(seed).run(), "{seed}");
    }
}
