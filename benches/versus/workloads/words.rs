//! What does it cost to bring records of one key together? Words of lines, through a repartition.

use millstream::serde::Canonical;
use millstream::{Grouped, StreamsBuilder, Topic};

use super::{Workload, store};
use crate::input::{Input, Values};
use crate::outcome::Check;
use crate::settings::Settings;

const LINES: Input = Input { topic: "lines", values: Values::Words(5_000), ..Input::PLAIN };

const WORDS: Workload = Workload {
    group: "W4",
    name: "words",
    question: "what does a line of five words cost, each counted behind a repartition?",
    inputs: &[LINES],
    java: "Words",
    build: words,
    check: Check::RecordsWithoutTime,
    records_divided_by: 5,
    ..Workload::PLAIN
};
const EXACTLY_ONCE: Workload = Workload {
    group: "W10",
    name: "words-eos-100",
    question: "the same, exactly once, in transactions of 100 ms",
    is_exactly_once: true,
    commit_ms: 100,
    ..WORDS
};

pub(super) const ALL: &[Workload] = &[WORDS, EXACTLY_ONCE];

fn words(builder: &StreamsBuilder, settings: &Settings) {
    let lines = Topic::<String, String>::plain(settings.text("input-0"));
    let words = builder
        .stream(&lines)
        .flat_map_values(|line| line.split(' ').map(str::to_owned).collect::<Vec<_>>())
        .select_key(|_, word| word.clone());
    let by_word = Grouped::with_codecs(Canonical, Canonical).with_name("by-word");
    let counts = words.group_by_key_with(by_word).count_with(store(settings, "words"));
    counts.to(&Topic::plain(settings.text("output")));
}
