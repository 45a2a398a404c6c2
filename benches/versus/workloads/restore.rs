//! How soon is state back that was lost? A row for each record, and another topic to wake it by.

use millstream::{StreamsBuilder, Topic};

use super::{Lines, Pace, Workload, input, store};
use crate::input::{Input, Keys};
use crate::settings::Settings;

/// With its key and its place in the log a row takes about 125 bytes.
const ROWS: Input = Input { topic: "new", keys: Keys::New, ..Input::PLAIN };

const RESTORE: Workload = Workload {
    group: "W11",
    name: "restore",
    question: "how long is an application away that must restore 10,000,000 rows, 1.2 GB?",
    inputs: &[ROWS],
    pace: Pace::Restore,
    java: "Restored",
    build: restored,
    records_divided_by: 2,
    ..Workload::PLAIN
};
const EXACTLY_ONCE: Workload = Workload {
    name: "restore-eos",
    question: "and if they were written in transactions of 100 ms?",
    is_exactly_once: true,
    commit_ms: 100,
    ..RESTORE
};

pub(super) const ALL: &[Workload] = &[RESTORE, EXACTLY_ONCE];

fn restored(builder: &StreamsBuilder, settings: &Settings) {
    let wake: Lines = Topic::plain(settings.text("wake"));
    let all = builder.stream(&input(settings)).merge(&builder.stream(&wake));
    let grouped = all.group_by_key_with(super::grouped());
    let rows = grouped.reduce_with(store(settings, "rows"), |kept, value| *kept = value);
    rows.to(&Topic::plain(settings.text("output")));
}
