//! What does it cost to read and write, with nothing kept?

use millstream::{StreamsBuilder, Topic};

use super::{Pace, Workload, input};
use crate::input::{Input, Keys};
use crate::outcome::Check;
use crate::settings::Settings;

const RECORDS: Input = Input { topic: "uniform-100k", ..Input::PLAIN };

const PASS: Workload = Workload {
    group: "W1",
    name: "pass",
    question: "what does a record cost that goes through as it is?",
    inputs: &[RECORDS],
    java: "Stateless",
    settings: &[("kept-of-256", "256")],
    build: pass,
    is_stateful: false,
    ..Workload::PLAIN
};
const FILTER: Workload = Workload {
    name: "filter",
    question: "what does a record cost that is read and dropped, but for one in a hundred?",
    settings: &[("kept-of-256", "3")],
    ..PASS
};
const PASS_OFTEN: Workload = Workload {
    group: "W10",
    name: "pass-alo-100",
    question: "the same, in commits of 100 ms, to compare those with that are exactly once",
    commit_ms: 100,
    ..PASS
};
const EXACTLY_ONCE: Workload = Workload {
    group: "W10",
    name: "pass-eos-100",
    question: "the same, exactly once, in transactions of 100 ms",
    is_exactly_once: true,
    commit_ms: 100,
    ..PASS
};
const EXACTLY_ONCE_OFTEN: Workload = Workload {
    name: "pass-eos-20",
    question: "the same, exactly once, in transactions of 20 ms",
    commit_ms: 20,
    ..EXACTLY_ONCE
};

/// Ten keys, so that no more than ten partitions have anything to do.
const MANY_PARTITIONS: Workload = Workload {
    group: "W16",
    name: "pass-1024-partitions",
    question: "what does a record cost at 1,000/s where 10 partitions out of 1,024 are active?",
    inputs: &[Input { topic: "ten", keys: Keys::Uniform(10), ..Input::PLAIN }],
    pace: Pace::Rate(1_000),
    check: Check::Count,
    partitions: Some(1_024),
    ..PASS
};

pub(super) const ALL: &[Workload] =
    &[PASS, FILTER, PASS_OFTEN, EXACTLY_ONCE, EXACTLY_ONCE_OFTEN, MANY_PARTITIONS];

/// Keeps the records whose first byte is below a number.
fn pass(builder: &StreamsBuilder, settings: &Settings) {
    let kept = settings.number("kept-of-256");
    let output = Topic::plain(settings.text("output"));
    let records = builder.stream(&input(settings));
    if kept == 256 {
        return records.to(&output);
    }
    records.filter(move |_, value| value.first().is_some_and(|&b| u64::from(b) < kept)).to(&output);
}
