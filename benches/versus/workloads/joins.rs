//! What does it cost to bring two inputs together? A stream with a stream, and with a table.

use std::time::Duration;

use millstream::serde::Canonical;
use millstream::{JoinWindows, Joined, StreamJoined, StreamsBuilder, Topic};

use super::{Lines, Workload, input, store};
use crate::input::{Input, Keys};
use crate::outcome::Check;
use crate::settings::Settings;

/// At 20 records per ms a key of 100,000 is seen every 5 s: two matches within 10 s.
const LEFT: Input = Input { topic: "left-100k", records_per_ms: 20, ..Input::PLAIN };
const RIGHT: Input = Input { topic: "right-100k", ..LEFT };
const STREAM: Input = Input { topic: "uniform-100k", ..Input::PLAIN };
/// Before everything that is joined with it.
const ROWS: Input =
    Input { topic: "rows-100k", keys: Keys::Each(100_000), hours_earlier: 24, ..Input::PLAIN };

const STREAMS: Workload = Workload {
    group: "W6",
    name: "join-streams",
    question: "what does a record cost that meets those of another stream within five seconds?",
    inputs: &[LEFT, RIGHT],
    java: "JoinStreams",
    build: join_streams,
    settings: &[("within-ms", "5000"), ("grace-ms", "60000")],
    records_divided_by: 4,
    ..Workload::PLAIN
};
const TABLE: Workload = Workload {
    group: "W7",
    name: "join-table",
    question: "what does a record cost that is joined with one of 100,000 rows?",
    inputs: &[STREAM, ROWS],
    java: "JoinTable",
    build: join_table,
    settings: &[],
    check: Check::Records,
    records_divided_by: 1,
    ..STREAMS
};

pub(super) const ALL: &[Workload] = &[STREAMS, TABLE];

/// The first eight bytes of each.
fn both(left: &[u8], right: &[u8]) -> Vec<u8> {
    [&left[..8], &right[..8]].concat()
}

fn join_streams(builder: &StreamsBuilder, settings: &Settings) {
    let millis = |name| Duration::from_millis(settings.number(name));
    let right: Lines = Topic::plain(settings.text("input-1"));
    let (left, right) = (builder.stream(&input(settings)), builder.stream(&right));
    let windows = JoinWindows::within(millis("within-ms")).grace(millis("grace-ms"));
    let joined = StreamJoined::with_codecs("join", Canonical, Canonical, Canonical);
    let joined = if settings.text("store") == "memory" { joined.in_memory() } else { joined };
    let results = left
        .join_with(&right, windows, joined, |left: Vec<u8>, right: Vec<u8>| both(&left, &right));
    results.to(&Topic::plain(settings.text("output")));
}

fn join_table(builder: &StreamsBuilder, settings: &Settings) {
    let rows: Lines = Topic::plain(settings.text("input-1"));
    let table = builder.table_with(&rows, store(settings, "rows"));
    let joined = Joined::with_codecs(Canonical, Canonical);
    let join = |record: Vec<u8>, row: Vec<u8>| both(&record, &row);
    let results = builder.stream(&input(settings)).join_table_with(&table, join, joined);
    results.to(&Topic::plain(settings.text("output")));
}
