//! Can an application move between Kafka Streams and millstream, with its state and its offsets?
//!
//! One pipeline is written twice, in `java/Takeover.java` and in `takeover/twin.rs`, with the same
//! names. The input comes in three parts; after each part the application is stopped, and the next
//! is run by the other library. What lies in the topics at the end is compared, byte for byte, with
//! what Kafka Streams alone has made of the same input.
//!
//! Nothing local is shared: each side finds in the topics what the other has left, and the
//! directory of Kafka Streams, where it comes back, holds what it knew two parts ago.

#![expect(clippy::print_stdout, reason = "how far the parts of a test have come is shown")]

mod input;
mod jvm;
mod outcome;
mod topics;
mod twin;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use millstream::Guarantee;
use millstream::log::GroupProtocol;
use millstream::time::{Clock, SystemClock};

use crate::kafka::Broker;
use input::{PARTS, Parts};
use jvm::Jvm;
use outcome::Outcome;
use topics::{Logged, Reader};
use twin::Twin;

const PARTITIONS: i32 = 3;
const PATIENCE: Duration = Duration::from_secs(150);

const INPUTS: [&str; 3] = ["clicks", "in", "rows"];
const REPARTITIONS: [&str; 3] =
    ["by-letter-repartition", "by-name-repartition", "by-word-repartition"];
const STORES: [&str; 13] = [
    "either-outer-shared-join-store",
    "perhaps-left-shared-join-store",
    "closed",
    "ended",
    "hops",
    "holders",
    "latest",
    "lengths",
    "minutes",
    "names",
    "slides",
    "visits",
    "words",
];
/// Their records are in the order of one input partition, so every intermediate result is the same
/// in each run.
const ORDERED: [&str; 8] =
    ["closed", "ended", "hops", "joined", "latest", "minutes", "slides", "visits"];
/// The stores behind them, and the table: each row goes through the same values in each run.
const ORDERED_STORES: [&str; 8] =
    ["closed", "ended", "hops", "latest", "minutes", "names", "slides", "visits"];
/// Results without a match leave a little later or earlier; which there are is the same.
const JOINED: [&str; 3] = ["either", "pairs", "perhaps"];
/// Each record of a join's side is kept under a number, which counts differently.
const SIDES: [&str; 6] = [
    "either-outer-other-join-store",
    "either-outer-this-join-store",
    "pairs-other-join-store",
    "pairs-this-join-store",
    "perhaps-outer-other-join-store",
    "perhaps-this-join-store",
];
/// Behind a repartition the inputs of several tasks meet in any order; only the last results are
/// the same.
const MIXED: [&str; 3] = ["holders", "lengths", "words"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Jvm,
    Ours,
}
use Side::{Jvm as J, Ours as O};

/// What both sides promise, and how ours shares its tasks out; theirs has a way of its own.
#[derive(Clone, Copy, Debug)]
struct Setup {
    guarantee: Guarantee,
    protocol: GroupProtocol,
}

const EXACTLY_ONCE: Setup =
    Setup { guarantee: Guarantee::ExactlyOnce, protocol: GroupProtocol::CooperativeSticky };
const AT_LEAST_ONCE: Setup = Setup { guarantee: Guarantee::AtLeastOnce, ..EXACTLY_ONCE };
const CONSUMER_PROTOCOL: Setup = Setup { protocol: GroupProtocol::Consumer, ..EXACTLY_ONCE };

#[test]
fn an_application_moves_here_and_back_exactly_once() {
    moves("eos-there", EXACTLY_ONCE, [J, O, J]);
}

#[test]
fn an_application_moves_to_kafka_streams_and_back_exactly_once() {
    moves("eos-back", EXACTLY_ONCE, [O, J, O]);
}

#[test]
fn an_application_moves_here_and_back_at_least_once() {
    moves("alo-there", AT_LEAST_ONCE, [J, O, J]);
}

#[test]
fn an_application_moves_to_kafka_streams_and_back_at_least_once() {
    moves("alo-back", AT_LEAST_ONCE, [O, J, O]);
}

/// Both changes of the protocol that a group goes by: to the classic one, and from it.
#[test]
fn an_application_moves_to_kafka_streams_and_back_by_the_consumer_protocol() {
    moves("consumer-back", CONSUMER_PROTOCOL, [O, J, O]);
}

#[test]
fn an_application_moves_after_kafka_streams_was_killed() {
    let run = Run::new("killed-there", EXACTLY_ONCE);
    run.after_a_killed_jvm();
    run.outcome().check_equals(alone(EXACTLY_ONCE.guarantee));
}

#[test]
fn what_is_written_to_repartition_topics_is_what_kafka_streams_writes() {
    let ours = Run::new("eos-ours", EXACTLY_ONCE);
    ours.at_once_and_unpurged();
    ours.outcome().check_repartitions_equal(alone(EXACTLY_ONCE.guarantee));
}

fn moves(app: &str, setup: Setup, sides: [Side; PARTS]) {
    let run = Run::new(app, setup);
    run.all(sides);
    run.outcome().check_equals(alone(setup.guarantee));
}

/// What Kafka Streams alone makes of the input in one run, for all tests to compare with.
fn alone(guarantee: Guarantee) -> &'static Outcome {
    static EXACTLY: OnceLock<Outcome> = OnceLock::new();
    static AT_LEAST: OnceLock<Outcome> = OnceLock::new();
    let (shared, app) = match guarantee {
        Guarantee::ExactlyOnce => (&EXACTLY, "eos-jvm"),
        Guarantee::AtLeastOnce => (&AT_LEAST, "alo-jvm"),
    };
    shared.get_or_init(|| {
        let run = Run::new(app, Setup { guarantee, ..EXACTLY_ONCE });
        run.at_once();
        let outcome = run.outcome();
        outcome.check_is_whole();
        outcome
    })
}

/// One application on the shared broker.
struct Run {
    broker: &'static Broker,
    app: String,
    setup: Setup,
    directory: PathBuf,
    topics: Reader,
}

impl Run {
    fn new(app: &str, setup: Setup) -> Self {
        let broker = Broker::shared();
        for topic in INPUTS.iter().chain(&ORDERED).chain(&MIXED).chain(&JOINED) {
            broker.create_topic(&format!("{app}-{topic}"), PARTITIONS, &[]);
        }
        let process = std::process::id();
        let directory = std::env::temp_dir().join(format!("millstream-takeover-{process}-{app}"));
        let topics = Reader::new(&broker.bootstrap(), app);
        Self { broker, app: app.to_owned(), setup, directory, topics }
    }

    /// Runs all of the input on Kafka Streams.
    fn at_once(&self) {
        self.feed_all();
        self.on_jvm(false);
    }

    /// Runs all of the input here, and keeps what goes through repartition topics, so that it can
    /// be read at the end: nothing is purged of a topic that is only compacted.
    fn at_once_and_unpurged(&self) {
        let brokers = self.broker.bootstrap();
        let twin = Twin::start(&brokers, &self.app, self.setup, &self.directory.join("ours"));
        for topic in REPARTITIONS {
            self.topics.only_compact(&format!("{}-{topic}", self.app));
        }
        self.feed_all();
        self.wait_until_all_is_read(|| twin.failure());
        twin.stop();
    }

    fn feed_all(&self) {
        (0..PARTS).for_each(|part| self.feed(part));
    }

    fn feed(&self, part: usize) {
        Parts::shared().write(&self.broker.bootstrap(), &self.app, part);
    }

    /// Runs the parts of the input, one after the other, each on its side.
    fn all(&self, sides: [Side; PARTS]) {
        for (part, side) in sides.into_iter().enumerate() {
            self.feed(part);
            println!("{}: part {part} on {side:?}", self.app);
            match side {
                J => self.on_jvm(sides.get(part + 1) == Some(&O)),
                O => self.on_ours(part),
            }
        }
    }

    /// Kills Kafka Streams as soon as it has committed something, and goes on here.
    fn after_a_killed_jvm(&self) {
        self.feed_all();
        let jvm = self.start_jvm(false);
        self.wait_until("nothing is committed", || self.committed_of_input() > 0);
        drop(jvm);
        println!("{}: killed when {} were read", self.app, self.committed_of_input());
        self.on_ours(PARTS - 1);
        println!("{}: ended when {} were read", self.app, self.committed_of_input());
    }

    fn on_jvm(&self, in_bursts: bool) {
        let mut jvm = self.start_jvm(in_bursts);
        self.wait_until_all_is_read(|| jvm.failure());
        jvm.stop();
    }

    /// `in_bursts`: final results leave once a second, as is the default, so that some that are due
    /// are left to the other side. Otherwise they leave as soon as stream time allows it.
    fn start_jvm(&self, in_bursts: bool) -> Jvm {
        let guarantee = match self.setup.guarantee {
            Guarantee::ExactlyOnce => "exactly_once_v2",
            Guarantee::AtLeastOnce => "at_least_once",
        };
        let interval = if in_bursts { 1_000 } else { 0 };
        let settings = [
            "main.consumer.session.timeout.ms=3000",
            "main.consumer.heartbeat.interval.ms=500",
            &format!("__emit.interval.ms.kstreams.windowed.aggregation__={interval}"),
            &format!("__emit.interval.ms.kstreams.outer.join.spurious.results.fix__={interval}"),
        ];
        let state = self.directory.join("jvm");
        let brokers = self.broker.bootstrap();
        Jvm::start(&brokers, &self.app, guarantee, &state, &settings)
    }

    fn on_ours(&self, part: usize) {
        let state = self.directory.join(format!("ours-{part}"));
        let twin = Twin::start(&self.broker.bootstrap(), &self.app, self.setup, &state);
        self.wait_until_all_is_read(|| twin.failure());
        twin.stop();
    }

    /// First the topics that come from outside: what they lead to is in the others by then.
    fn wait_until_all_is_read(&self, mut failure: impl FnMut() -> Option<String>) {
        for topic in INPUTS.into_iter().chain(REPARTITIONS) {
            let ends = self.ends(topic);
            self.wait_until(&format!("`{topic}` is not read"), || {
                if let Some(failure) = failure() {
                    panic!("{}: {failure}", self.app);
                }
                self.is_read(topic, &ends)
            });
        }
    }

    fn wait_until(&self, otherwise: &str, mut is_so: impl FnMut() -> bool) {
        let clock = SystemClock::default();
        let begun = clock.instant();
        while !is_so() {
            let waited = clock.instant().since(begun);
            assert!(waited < PATIENCE, "{}: {otherwise}", self.app);
            pause();
        }
    }

    /// The sum of the offsets that are committed for the largest input.
    fn committed_of_input(&self) -> i64 {
        let topic = format!("{}-in", self.app);
        let committed = self.topics.committed(&topic);
        committed.values().map(|(offset, _)| offset).sum()
    }

    /// The offset behind the last record of each partition that has any.
    fn ends(&self, topic: &str) -> BTreeMap<i32, i64> {
        let mut ends = BTreeMap::new();
        let topic = format!("{}-{topic}", self.app);
        for (offset, record) in self.topics.records(&topic) {
            let end = ends.entry(record.partition).or_insert(0);
            *end = offset.max(*end) + 1;
        }
        ends
    }

    /// Whether what is committed lies behind every record of the topic.
    fn is_read(&self, topic: &str, ends: &BTreeMap<i32, i64>) -> bool {
        let topic = format!("{}-{topic}", self.app);
        let committed = self.topics.committed(&topic);
        ends.iter().all(|(partition, end)| {
            committed.get(partition).is_some_and(|(offset, _)| offset >= end)
        })
    }

    fn records(&self, topic: &str) -> Vec<Logged> {
        let topic = format!("{}-{topic}", self.app);
        let records = self.topics.records(&topic);
        records.into_iter().map(|(_, record)| record).collect()
    }

    fn outcome(&self) -> Outcome {
        let full = |name: &str| format!("{}-{name}", self.app);
        let changelogs = STORES
            .iter()
            .chain(&SIDES)
            .map(|store| (*store, self.records(&format!("{store}-changelog"))));
        let outputs =
            ORDERED.iter().chain(&MIXED).chain(&JOINED).map(|topic| (*topic, self.records(topic)));
        let names = self.topics.names(&format!("{}-", self.app));
        let settings =
            names.into_iter().map(|name| (name.clone(), self.topics.settings(&full(&name))));
        let read = INPUTS.into_iter().chain(REPARTITIONS);
        let committed = read.map(|topic| (topic, self.topics.committed(&full(topic))));
        Outcome {
            app: self.app.clone(),
            changelogs: changelogs.collect(),
            repartitions: REPARTITIONS.map(|topic| (topic, self.records(topic))).into(),
            outputs: outputs.collect(),
            settings: settings.collect(),
            committed: committed.collect(),
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

#[expect(clippy::disallowed_methods, reason = "a broker is asked again a little later")]
fn pause() {
    std::thread::sleep(Duration::from_millis(200));
}
