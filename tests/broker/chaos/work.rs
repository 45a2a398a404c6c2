//! What do the applications do with what they are fed?
//!
//! Records have a number as key and a word as value. Each result holds a count, the number of the
//! record that caused it, the names of the processes that sent the record to its partition and that
//! worked on it there, and perhaps a series. The counts of a key and series begin at one and have
//! no gap; so results alone tell whether something is missing, double or out of order, and who ran
//! which task.

use std::str::FromStr;
use std::time::Duration;

use millstream::{
    JoinWindows, Materialized, StreamJoined, StreamsBuilder, TimeWindows, Topic, Topology, Windowed,
};
use serde::{Deserialize, Serialize};

use super::PARTITIONS;
use super::application::{Mistake, Settings};
use super::feeder::WORDS;

/// What an application does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// A running count of each word.
    Tally,
    /// Records of words change their shape and their partition, and nothing is remembered.
    Transform,
    /// A running count of each word in each second.
    Window,
    /// Two streams of the same numbers meet, one of them a second late.
    Join,
}

impl FromStr for Work {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let all = [Self::Tally, Self::Transform, Self::Window, Self::Join];
        all.into_iter().find(|work| format!("{work:?}") == text).ok_or(())
    }
}

/// The number that an application which loses one loses.
const LOST: u64 = 77;
/// How long the windows of counts are.
const SECOND: Duration = Duration::from_secs(1);
/// Later than any record is, and longer than two that belong together are apart: a process may be
/// away for that long.
const LATE: Duration = Duration::from_secs(120);

/// How many numbers the right side of a join is behind the left one: about a second, so that many
/// a record waits for its partner while its process dies.
const BEHIND: u64 = 2_400;
/// How far apart partners may be: further than they are while the feeder keeps its pace.
const TOGETHER: Duration = Duration::from_secs(20);

impl Work {
    /// How many numbers have their whole effect, if all below `fed` were fed.
    pub(crate) fn effective(self, fed: u64) -> u64 {
        if self == Self::Join { fed.saturating_sub(BEHIND) } else { fed }
    }
}

/// What an application with these settings runs.
pub(crate) fn topology(settings: &Settings) -> Topology {
    match settings.work {
        Work::Tally => tally(settings),
        Work::Transform => transform(settings),
        Work::Window => window(settings),
        Work::Join => join(settings),
    }
}

fn numbers(settings: &Settings) -> Topic<u64, String> {
    Topic::plain(settings.input())
}

fn results(settings: &Settings) -> Topic<String, String> {
    Topic::plain(settings.output())
}

/// What is remembered of a word.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Tally {
    count: u64,
    /// The latest number, and who sent it here.
    latest: String,
}

/// One running tally per word, in one series.
fn tally(settings: &Settings) -> Topology {
    let builder = StreamsBuilder::new();
    let (sender, counter) = (settings.name.clone(), settings.name.clone());
    let (loses, store) = (settings.mistake == Mistake::Loses, Materialized::named("tallies"));
    let store = match settings.mistake {
        Mistake::Forgets => store.in_memory().without_changelog(),
        _ => store,
    };
    let words = builder
        .stream(&numbers(settings))
        .filter(move |number, _| !(loses && *number == LOST))
        .map(move |number, word: String| (word, format!("{number} {sender}")));
    let words = if settings.has_ballast {
        let rows = builder.table(&Topic::<String, String>::plain(settings.ballast()), "ballast");
        words.left_join_table(&rows, |number, _: Option<String>| number)
    } else {
        words
    };
    words
        .group_by_key()
        .aggregate_with(store, Tally::default, |_, number: String, tally: &mut Tally| {
            tally.count += 1;
            tally.latest = number;
        })
        .to_stream()
        .flatten_values()
        .map_values(move |tally: Tally| format!("{} {} {counter}", tally.count, tally.latest))
        .to(&results(settings));
    builder.build().expect("a valid pipeline")
}

/// The count is the number's place among those of its word and partition, which are a series: they
/// keep their order.
fn transform(settings: &Settings) -> Topology {
    let builder = StreamsBuilder::new();
    let (sender, worker) = (settings.name.clone(), settings.name.clone());
    builder
        .stream(&numbers(settings))
        .map(move |number, word: String| (word, format!("{number} {sender}")))
        .repartition("shuffled")
        .map_values(move |sent: String| {
            let number: u64 = sent.split(' ').next().and_then(|n| n.parse().ok()).expect("sent so");
            let (partitions, words) = (u64::from(PARTITIONS), WORDS);
            format!("{} {sent} {worker} {}", number / partitions / words + 1, number % partitions)
        })
        .to(&results(settings));
    builder.build().expect("a valid pipeline")
}

/// Each window is a series.
fn window(settings: &Settings) -> Topology {
    let builder = StreamsBuilder::new();
    let (sender, counter) = (settings.name.clone(), settings.name.clone());
    let store = Materialized::named("windows");
    let store = match settings.mistake {
        Mistake::Forgets => store.in_memory().without_changelog(),
        _ => store,
    };
    builder
        .stream(&numbers(settings))
        .map(move |number, word: String| (word, format!("{number} {sender}")))
        .group_by_key()
        .windowed_by(TimeWindows::tumbling(SECOND).grace(LATE))
        .aggregate_with(store, Tally::default, |_, number: String, tally: &mut Tally| {
            tally.count += 1;
            tally.latest = number;
        })
        .to_stream()
        .flatten_values()
        .map(move |word: Windowed<String>, tally: Tally| {
            let begin = word.window.start.as_millis();
            let result = format!("{} {} {counter} {begin}", tally.count, tally.latest);
            (word.key, result)
        })
        .to(&results(settings));
    builder.build().expect("a valid pipeline")
}

/// Each number meets itself, once: on the right it comes with the one that is fed so much later.
fn join(settings: &Settings) -> Topology {
    let builder = StreamsBuilder::new();
    let (sender, worker) = (settings.name.clone(), settings.name.clone());
    let numbers = builder.stream(&numbers(settings));
    let left = numbers.map(move |number, _| (number.to_string(), sender.clone()));
    let right = numbers
        .filter(|number, _| *number >= BEHIND)
        .map(|number, _| ((number - BEHIND).to_string(), number - BEHIND));
    let together = JoinWindows::within(TOGETHER).grace(LATE);
    let store = match settings.mistake {
        Mistake::Forgets => StreamJoined::named("met").in_memory().without_changelog(),
        _ => StreamJoined::named("met"),
    };
    let (left, right) = (left.repartition("left"), right.repartition("right"));
    left.join_with(&right, together, store, move |sender: String, number: u64| {
        format!("1 {number} {sender} {worker}")
    })
    .to(&results(settings));
    builder.build().expect("a valid pipeline")
}
