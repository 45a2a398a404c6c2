//! What do windows cost? Counts by key and window, with records that are late.

use std::sync::Arc;
use std::time::Duration;

use millstream::serde::Canonical;
use millstream::window::key::{SessionWindowedCodec, TimeWindowedCodec};
use millstream::{SessionWindows, StreamsBuilder, TimeWindows, Topic};

use super::{Workload, input, store};
use crate::input::{Input, Keys};
use crate::settings::Settings;

/// At 1 record per ms a key of 10,000 is seen every 10 s, and one in a hundred is too late or in
/// time for an earlier window.
const RECORDS: Input = Input {
    topic: "late-10k",
    keys: Keys::Uniform(10_000),
    records_per_ms: 1,
    late_per_mille: 10,
    ..Input::PLAIN
};

const TUMBLING: Workload = Workload {
    group: "W5",
    name: "tumbling",
    question: "what does a count per minute cost?",
    inputs: &[RECORDS],
    java: "Windows",
    build: tumbling,
    settings: &[("size-ms", "60000"), ("advance-ms", "60000"), ("grace-ms", "5000")],
    records_divided_by: 2,
    ..Workload::PLAIN
};
const HOPPING: Workload = Workload {
    name: "hopping",
    question: "what does a count per minute cost, begun each second?",
    settings: &[("size-ms", "60000"), ("advance-ms", "1000"), ("grace-ms", "5000")],
    records_divided_by: 40,
    ..TUMBLING
};
const SESSION: Workload = Workload {
    name: "session",
    question: "what does a count per visit cost, which a pause of ten seconds ends?",
    java: "Sessions",
    build: session,
    settings: &[("gap-ms", "10000"), ("grace-ms", "5000")],
    ..TUMBLING
};

pub(super) const ALL: &[Workload] = &[TUMBLING, HOPPING, SESSION];

fn millis(settings: &Settings, name: &str) -> Duration {
    Duration::from_millis(settings.number(name))
}

fn tumbling(builder: &StreamsBuilder, settings: &Settings) {
    let size = millis(settings, "size-ms");
    let windows = TimeWindows::hopping(size, millis(settings, "advance-ms"));
    let windows = windows.grace(millis(settings, "grace-ms"));
    let grouped = builder.stream(&input(settings)).group_by_key_with(super::grouped());
    let counts = grouped.windowed_by(windows).count_with(store(settings, "windows"));
    let key = TimeWindowedCodec::new(size, Arc::new(Canonical));
    counts.to(&Topic::new(settings.text("output"), key, Canonical));
}

fn session(builder: &StreamsBuilder, settings: &Settings) {
    let windows = SessionWindows::gap(millis(settings, "gap-ms"));
    let windows = windows.grace(millis(settings, "grace-ms"));
    let grouped = builder.stream(&input(settings)).group_by_key_with(super::grouped());
    let counts = grouped.windowed_by(windows).count_with(store(settings, "sessions"));
    let key = SessionWindowedCodec::new(Arc::new(Canonical));
    let nullable = Topic::new(settings.text("output"), key, Canonical);
    counts.to(&nullable);
}
