//! What does a join cost? A stream with a table of 100,000 rows, and two streams, end to end.
//!
//! Of the two streams each has a record of each of 10,000 keys every 200 ms, and matches those of
//! the other that are at most 200 ms apart: about two each.
//!
//! Run it with `cargo bench --no-default-features --bench joins`.

mod common;

use std::time::Duration;

use common::{Pipeline, Random, per_record};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion};
use millstream::{JoinWindows, StreamsBuilder, Timestamp, Topic, Topology};

const ROWS: u64 = 100_000;
const KEYS: u64 = 10_000;

fn rows() -> Topic<u64, u64> {
    Topic::plain("rows")
}

fn others() -> Topic<u64, u64> {
    Topic::plain("others")
}

fn numbers() -> Topic<u64, u64> {
    Topic::plain("numbers")
}

fn with_table() -> Topology {
    let builder = StreamsBuilder::new();
    let table = builder.table::<_, Option<u64>, u64>(&rows().nullable_values(), "rows");
    let joined = builder.stream(&numbers()).join_table(&table, |value, row| value ^ row);
    joined.to(&Topic::<u64, u64>::plain("joined"));
    builder.build().expect("the topology is sound")
}

fn two_streams() -> Topology {
    let builder = StreamsBuilder::new();
    let windows = JoinWindows::within(Duration::from_millis(200));
    let others = builder.stream(&others());
    let joined = builder.stream(&numbers()).join(&others, windows, "joined", |a, b| a ^ b);
    joined.to(&Topic::<u64, u64>::plain("joined"));
    builder.build().expect("the topology is sound")
}

fn bench_two_streams(group: &mut BenchmarkGroup<'_, WallTime>) {
    let mut pipeline = Pipeline::new(&two_streams());
    let (mut random, mut number) = (Random::default(), 0_u64);
    per_record(group, "two streams", &mut pipeline, |pipeline, count| {
        let begin = number;
        for (topic, count) in [(numbers(), count / 2), (others(), count - count / 2)] {
            number = begin;
            pipeline.fill(&topic, count, |line| {
                number += 1;
                line.timestamp = Timestamp::from_millis((number / 50) as i64);
                line.key.extend_from_slice(&random.below(KEYS).to_be_bytes());
                line.value.extend_from_slice(&number.to_be_bytes());
            });
        }
    });
}

fn bench_table(group: &mut BenchmarkGroup<'_, WallTime>) {
    let mut pipeline = Pipeline::new(&with_table());
    let mut row = 0_u64;
    pipeline.fill(&rows(), ROWS, |line| {
        line.key.extend_from_slice(&row.to_be_bytes());
        line.value.extend_from_slice(&row.to_be_bytes());
        row += 1;
    });
    pipeline.run();
    let (mut random, mut number) = (Random::default(), 0_i64);
    per_record(group, "stream with table", &mut pipeline, |pipeline, count| {
        pipeline.fill(&numbers(), count, |line| {
            number += 1;
            line.timestamp = Timestamp::from_millis(number / 4_000);
            line.key.extend_from_slice(&random.below(ROWS).to_be_bytes());
            line.value.extend_from_slice(&number.to_be_bytes());
        });
    });
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("join");
    bench_table(&mut group);
    bench_two_streams(&mut group);
    group.finish();
    criterion.final_summary();
}
