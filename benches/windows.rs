//! What does a windowed count cost? Tumbling, hopping and session windows, end to end.
//!
//! 10,000 keys in random order and 100,000 records per second of stream time, so a key has a
//! record every 100 ms. Run it with `cargo bench --no-default-features --bench windows`.

mod common;

use std::time::Duration;

use common::{Pipeline, Random, per_record};
use criterion::Criterion;
use millstream::{
    KGroupedStream, KTable, SessionWindows, StreamsBuilder, TimeWindows, Timestamp, Topic,
    Topology, Windowed,
};

const KEYS: u64 = 10_000;
const RECORDS_PER_MILLI: u64 = 100;

type Counts = KTable<Windowed<u64>, i64>;

fn numbers() -> Topic<u64, u64> {
    Topic::plain("numbers")
}

fn topology(count: impl Fn(KGroupedStream<u64, u64>) -> Counts) -> Topology {
    let builder = StreamsBuilder::new();
    let counts = count(builder.stream(&numbers()).group_by_key());
    let latest = counts.updates().map(|window, count| (window.key, count));
    latest.to(&Topic::<u64, i64>::plain("counts"));
    builder.build().expect("the topology is sound")
}

fn bench(criterion: &mut Criterion) {
    let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
    let tumbling = TimeWindows::tumbling(minute);
    let hopping = TimeWindows::hopping(5 * second, second);
    let sessions = SessionWindows::gap(Duration::from_millis(100));
    let variants = [
        ("tumbling", topology(|grouped| grouped.windowed_by(tumbling).count("count"))),
        ("hopping, 5 windows", topology(|grouped| grouped.windowed_by(hopping).count("count"))),
        ("session", topology(|grouped| grouped.windowed_by(sessions).count("count"))),
    ];
    let mut group = criterion.benchmark_group("windowed count");
    for (name, topology) in variants {
        let (mut random, mut number) = (Random::default(), 0);
        per_record(&mut group, name, &mut Pipeline::new(&topology), |pipeline, count| {
            pipeline.fill(&numbers(), count, |line| {
                number += 1;
                line.timestamp = Timestamp::from_millis((number / RECORDS_PER_MILLI) as i64);
                line.key.extend_from_slice(&random.below(KEYS).to_be_bytes());
                line.value.extend_from_slice(&number.to_be_bytes());
            });
        });
    }
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    bench(&mut criterion);
    criterion.final_summary();
}
