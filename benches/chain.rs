//! What does an operator cost? Five of them, and the way in alone to compare them with.
//!
//! The aim is 15 ns per record for the five: the difference between the two figures. Run it with
//! `cargo bench --no-default-features --bench chain`.

mod common;

use std::hint::black_box;

use common::{Pipeline, per_record};
use criterion::Criterion;
use millstream::{StreamsBuilder, Timestamp, Topic, Topology};

fn numbers() -> Topic<u64, u64> {
    Topic::plain("numbers")
}

fn way_in() -> Topology {
    let builder = StreamsBuilder::new();
    builder.stream(&numbers()).for_each(|key, value| {
        black_box((key, value));
    });
    builder.build().expect("the topology is sound")
}

fn five_operators() -> Topology {
    let builder = StreamsBuilder::new();
    builder
        .stream(&numbers())
        .filter(|_, value| *value != 7)
        .map_values(|value| value ^ 0x55)
        .peek(|key, _| {
            black_box(*key);
        })
        .map(|key, value| (key.rotate_left(3), value))
        .filter_not(|key, _| *key == 7)
        .for_each(|key, value| {
            black_box((key, value));
        });
    builder.build().expect("the topology is sound")
}

fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("chain");
    for (name, topology) in [("way in", way_in()), ("five operators", five_operators())] {
        let mut number = 8_u64;
        per_record(&mut group, name, &mut Pipeline::new(&topology), |pipeline, count| {
            pipeline.fill(&numbers(), count, |line| {
                number += 1;
                line.timestamp = Timestamp::from_millis((number / 1_000) as i64);
                line.key.extend_from_slice(&number.to_be_bytes());
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
