//! What does a keyed count cost from end to end? From fetched batches to the sealed batches of
//! output and changelog and the committed store, as production runs it.
//!
//! 100,000 keys in random order, a commit every 400,000 records, each update sent downstream. The
//! aim is 250 ns per record. Run it with `cargo bench --no-default-features --bench keyed_count`.

mod common;

use common::{Line, Pipeline, Random, per_record};
use criterion::Criterion;
use millstream::serde::Key;
use millstream::{Emit, Materialized, StreamsBuilder, Timestamp, Topic, Topology, Value};

const KEYS: u64 = 100_000;

/// With the key, a record of about 100 bytes.
const VALUE: [u8; 86] = [b'v'; 86];

fn topology<K: Key + Value, V: Key + Value>(input: &Topic<K, V>, emit: Emit) -> Topology {
    let counts = Topic::<K, i64>::plain("counts");
    let builder = StreamsBuilder::new();
    let grouped = builder.stream(input).group_by_key();
    grouped.count_with(Materialized::named("count").emit(emit)).updates().to(&counts);
    builder.build().expect("the topology is sound")
}

fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("keyed count");
    let mut random = Random::default();
    let mut number = 0_i64;
    let mut stamp = move |line: &mut Line| {
        number += 1;
        line.timestamp = Timestamp::from_millis(number / 4_000);
        random.below(KEYS)
    };

    let texts = Topic::<String, String>::plain("texts");
    let mut with_text = |pipeline: &mut Pipeline, count: u64| {
        pipeline.fill(&texts, count, |line| {
            let key = stamp(line);
            line.key.extend_from_slice(format!("user-{key:08}").as_bytes());
            line.value.extend_from_slice(&VALUE);
        });
    };
    for (name, emit) in [("text", Emit::EachUpdate), ("text, emit on commit", Emit::OnCommit)] {
        let mut pipeline = Pipeline::new(&topology(&texts, emit));
        per_record(&mut group, name, &mut pipeline, &mut with_text);
    }

    let numbers = Topic::<u64, u64>::plain("numbers");
    let mut pipeline = Pipeline::new(&topology(&numbers, Emit::EachUpdate));
    per_record(&mut group, "numbers", &mut pipeline, |pipeline, count| {
        pipeline.fill(&numbers, count, |line| {
            let key = stamp(line);
            line.key.extend_from_slice(&key.to_be_bytes());
            line.value.extend_from_slice(&key.to_be_bytes());
        });
    });
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    bench(&mut criterion);
    criterion.final_summary();
}
