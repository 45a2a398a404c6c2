//! What does a join cost? A stream with a table of 100,000 rows, end to end.
//!
//! Run it with `cargo bench --no-default-features --bench joins`.

mod common;

use common::{Pipeline, Random, per_record};
use criterion::Criterion;
use millstream::{StreamsBuilder, Timestamp, Topic, Topology};

const ROWS: u64 = 100_000;

fn rows() -> Topic<u64, u64> {
    Topic::plain("rows")
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

fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("join");
    let mut pipeline = Pipeline::new(&with_table());
    let mut row = 0_u64;
    pipeline.fill(&rows(), ROWS, |line| {
        line.key.extend_from_slice(&row.to_be_bytes());
        line.value.extend_from_slice(&row.to_be_bytes());
        row += 1;
    });
    pipeline.run();
    let (mut random, mut number) = (Random::default(), 0_i64);
    per_record(&mut group, "stream with table", &mut pipeline, |pipeline, count| {
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
    bench(&mut criterion);
    criterion.final_summary();
}
