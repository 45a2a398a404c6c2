//! What does keyed state cost? Counts by key, few keys and many, with every update sent on and not.

use millstream::{StreamsBuilder, Topic};

use super::{Workload, input, store};
use crate::input::{Input, Keys};
use crate::outcome::Check;
use crate::settings::Settings;

const CACHE_BYTES: u64 = 64 << 20;

const FEW: Input = Input { topic: "uniform-5k", keys: Keys::Uniform(5_000), ..Input::PLAIN };
const MANY: Input = Input { topic: "uniform-100k", ..Input::PLAIN };
const FEW_ZIPF: Input = Input { topic: "zipf-5k", keys: Keys::Zipf(5_000, 1.1), ..Input::PLAIN };
const MANY_ZIPF: Input =
    Input { topic: "zipf-100k", keys: Keys::Zipf(100_000, 1.1), ..Input::PLAIN };
const SCATTERED: Input =
    Input { topic: "scattered-20m", keys: Keys::Scattered(20_000_000), ..Input::PLAIN };

const COUNT: Workload = Workload {
    group: "W2",
    name: "count-5k",
    question: "what does a count cost, over 5,000 keys?",
    inputs: &[FEW],
    java: "Count",
    build: count,
    ..Workload::PLAIN
};
const COUNT_MANY: Workload = Workload {
    name: "count-100k",
    question: "what does a count cost, over 100,000 keys?",
    inputs: &[MANY],
    ..COUNT
};
const COUNT_ZIPF: Workload = Workload {
    name: "count-5k-zipf",
    question: "and if some of 5,000 keys are far more frequent than others?",
    inputs: &[FEW_ZIPF],
    ..COUNT
};
const COUNT_MANY_ZIPF: Workload = Workload {
    name: "count-100k-zipf",
    question: "and if some of 100,000 keys are far more frequent than others?",
    inputs: &[MANY_ZIPF],
    ..COUNT
};
const CACHED: Workload = Workload {
    name: "count-5k-cached",
    question: "and if a key's count leaves once per commit, over 5,000 keys?",
    cache_bytes: CACHE_BYTES,
    check: Check::LastValues,
    ..COUNT
};
const CACHED_MANY: Workload = Workload {
    name: "count-100k-cached",
    question: "and if a key's count leaves once per commit, over 100,000 keys?",
    inputs: &[MANY],
    ..CACHED
};
const CAPPED: Workload = Workload {
    group: "W3",
    name: "count-20m-capped",
    question: "what does a count cost over 20,000,000 keys, in 256 MiB of memory?",
    inputs: &[SCATTERED],
    cap_mb: Some(256),
    ..COUNT
};
const COUNT_OFTEN: Workload = Workload {
    group: "W10",
    name: "count-5k-alo-100",
    question: "a count over 5,000 keys, in commits of 100 ms, to compare those with that follow",
    commit_ms: 100,
    ..COUNT
};
const COUNT_MANY_OFTEN: Workload = Workload {
    name: "count-100k-alo-100",
    question: "the same over 100,000 keys",
    inputs: &[MANY],
    ..COUNT_OFTEN
};
const EXACTLY_ONCE: Workload = Workload {
    group: "W10",
    name: "count-5k-eos-100",
    question: "a count over 5,000 keys, exactly once, in transactions of 100 ms",
    is_exactly_once: true,
    commit_ms: 100,
    ..COUNT
};
const EXACTLY_ONCE_OFTEN: Workload = Workload {
    name: "count-5k-eos-20",
    question: "a count over 5,000 keys, exactly once, in transactions of 20 ms",
    commit_ms: 20,
    ..EXACTLY_ONCE
};
const EXACTLY_ONCE_MANY: Workload = Workload {
    name: "count-100k-eos-100",
    question: "a count over 100,000 keys, exactly once, in transactions of 100 ms",
    inputs: &[MANY],
    ..EXACTLY_ONCE
};
const EXACTLY_ONCE_MANY_OFTEN: Workload = Workload {
    name: "count-100k-eos-20",
    question: "a count over 100,000 keys, exactly once, in transactions of 20 ms",
    commit_ms: 20,
    ..EXACTLY_ONCE_MANY
};

pub(super) const ALL: &[Workload] = &[
    COUNT,
    COUNT_MANY,
    COUNT_ZIPF,
    COUNT_MANY_ZIPF,
    CACHED,
    CACHED_MANY,
    CAPPED,
    COUNT_OFTEN,
    COUNT_MANY_OFTEN,
    EXACTLY_ONCE,
    EXACTLY_ONCE_OFTEN,
    EXACTLY_ONCE_MANY,
    EXACTLY_ONCE_MANY_OFTEN,
];

fn count(builder: &StreamsBuilder, settings: &Settings) {
    let grouped = builder.stream(&input(settings)).group_by_key_with(super::grouped());
    let counts = grouped.count_with(store(settings, "counts"));
    counts.to(&Topic::plain(settings.text("output")));
}
