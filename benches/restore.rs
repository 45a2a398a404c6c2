//! How fast does a store come back from its changelog? Bytes of keys and values per second of
//! processor time, RocksDB's own threads included.
//!
//! The store's directory is empty, and its changelog has 500,000 records of 100 bytes for 250,000
//! keys, in random order: half of them are overtaken by later ones. Rows of windows are written
//! twice, once into the time index. A restore does not look into values.
//!
//! The aim is 100 MB/s per core. Run it with `cargo bench --no-default-features --bench restore`
//! over memory, and with `--features rocksdb` over RocksDB.

mod common;

use std::time::Duration;

use common::{Pipeline, Random, Scratch, timed_with_background};
use criterion::{Criterion, SamplingMode, Throughput};
use millstream::{KGroupedStream, StreamsBuilder, TimeWindows, Timestamp, Topic, Topology};

const RECORDS: u64 = 500_000;
const KEYS: u64 = 250_000;
const RECORD_BYTES: usize = 100;
const MEMORY_BYTES: usize = 512 * 1024 * 1024;
const BACKEND: &str = if cfg!(feature = "rocksdb") { "RocksDB" } else { "memory" };

fn topology(count: impl Fn(&KGroupedStream<u64, u64>)) -> Topology {
    let builder = StreamsBuilder::new();
    count(&builder.stream(&Topic::<u64, u64>::plain("numbers")).group_by_key());
    builder.build().expect("the topology is sound")
}

/// How the changelog's keys end, beside the pipeline that has it.
fn variants() -> [(&'static str, Topology, Vec<u8>); 2] {
    let windows = TimeWindows::tumbling(Duration::from_secs(60));
    let windowed = topology(|grouped| drop(grouped.windowed_by(windows).count("rows")));
    let window = [60_000_u64.to_be_bytes().as_slice(), &[0; 4]].concat();
    let keyed = topology(|grouped| drop(grouped.count("rows")));
    [("key-value", keyed, Vec::new()), ("window", windowed, window)]
}

fn fill(pipeline: &mut Pipeline, key_end: &[u8]) {
    let changelog = Topic::<u64, u64>::plain("test-rows-changelog");
    let (mut random, value) = (Random::default(), [7; RECORD_BYTES]);
    pipeline.fill(&changelog, RECORDS, |line| {
        line.timestamp = Timestamp::from_millis(60_000);
        line.key.extend_from_slice(&random.below(KEYS).to_be_bytes());
        line.key.extend_from_slice(key_end);
        let rest = RECORD_BYTES - line.key.len();
        line.value.extend_from_slice(&value[..rest]);
    });
}

fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group(format!("restore to {BACKEND}"));
    group.sampling_mode(SamplingMode::Flat).sample_size(10);
    group.measurement_time(Duration::from_secs(8)).warm_up_time(Duration::from_secs(1));
    group.throughput(Throughput::BytesDecimal(RECORDS * RECORD_BYTES as u64));
    let scratch = Scratch::new();
    for (name, topology, key_end) in variants() {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|restores| {
                let mut taken = Duration::ZERO;
                for _ in 0..restores {
                    let mut pipeline = Pipeline::with_state(&topology, &scratch, MEMORY_BYTES);
                    fill(&mut pipeline, &key_end);
                    taken += timed_with_background(|| {
                        pipeline.driver.crash().expect("nothing in a benchmark fails");
                    });
                    drop(pipeline);
                    scratch.empty();
                }
                taken
            });
        });
    }
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    bench(&mut criterion);
    criterion.final_summary();
}
