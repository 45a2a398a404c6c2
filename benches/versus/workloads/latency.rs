//! How long does a record take, how soon does an application begin, what does it hold while idle?

use millstream::{StreamsBuilder, Topic};

use super::{Pace, Workload, input, store};
use crate::input::{Input, Keys};
use crate::outcome::Check;
use crate::settings::Settings;

const FEW: Input = Input { topic: "uniform-5k", keys: Keys::Uniform(5_000), ..Input::PLAIN };

/// Keeps the last value of each key, which carries the time at which it was sent.
const LATEST: Workload = Workload {
    group: "W13",
    name: "latency-5k",
    question: "how long does a record take at 5,000/s, through a store with a changelog?",
    inputs: &[FEW],
    pace: Pace::Rate(5_000),
    java: "Latest",
    build: latest,
    commit_ms: 100,
    check: Check::Count,
    ..Workload::PLAIN
};
const LATEST_FAST: Workload = Workload {
    name: "latency-50k",
    question: "how long does a record take at 50,000/s, through a store with a changelog?",
    pace: Pace::Rate(50_000),
    ..LATEST
};
const LATEST_EXACTLY_ONCE: Workload = Workload {
    name: "latency-5k-eos-100",
    question: "how long does a record take at 5,000/s, in transactions of 100 ms?",
    is_exactly_once: true,
    ..LATEST
};
const LATEST_EXACTLY_ONCE_OFTEN: Workload = Workload {
    name: "latency-5k-eos-20",
    question: "how long does a record take at 5,000/s, in transactions of 20 ms?",
    commit_ms: 20,
    ..LATEST_EXACTLY_ONCE
};
/// Under load the peak memory of every other workload tells.
const IDLE: Workload = Workload {
    group: "W14",
    name: "idle",
    question: "what does an application hold that has nothing to do?",
    pace: Pace::Idle,
    ..LATEST
};
const START: Workload = Workload {
    group: "W15",
    name: "start",
    question: "how long does it take from the start of the process to the first result?",
    pace: Pace::Start,
    check: Check::Records,
    records_divided_by: 20_000,
    ..LATEST
};

pub(super) const ALL: &[Workload] =
    &[LATEST, LATEST_FAST, LATEST_EXACTLY_ONCE, LATEST_EXACTLY_ONCE_OFTEN, IDLE, START];

fn latest(builder: &StreamsBuilder, settings: &Settings) {
    let grouped = builder.stream(&input(settings)).group_by_key_with(super::grouped());
    let latest = grouped.reduce_with(store(settings, "latest"), |kept, value| *kept = value);
    latest.to(&Topic::plain(settings.text("output")));
}
