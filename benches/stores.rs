//! What does a row cost in a store of 1,000,000 keys? Looking it up, changing it, committing it.
//!
//! Each record of 100 bytes looks up one row, or changes it, in scattered order, and 40,000 come
//! between two commits. Way in and processor are in the figures of `get` and `put`; a commit is
//! shown per changed row, with its record in the changelog. *Warm* is a budget that holds all rows
//! as live values; *cold* one whose caches hold about a tenth, so that nine of ten look-ups go to
//! the files of the store, which the operating system has in memory. Times are those of the thread:
//! RocksDB's own threads flush and compact beside it.
//!
//! Run it with `cargo bench --no-default-features --features rocksdb --bench stores`; without the
//! feature it measures stores that are kept in memory, and with the feature `encryption` sealed
//! ones.

mod common;

use std::hint::black_box;
use std::time::Duration;

use common::{Line, Pipeline, Scratch, by_commit};
use criterion::{BenchmarkGroup, Criterion, SamplingMode, measurement::WallTime};
use millstream::processor::{KeyValueStore, Processor, ProcessorContext};
use millstream::{
    BoxError, Materialized, Processed, Record, StreamsBuilder, Timestamp, Topic, Topology,
};

const KEYS: u64 = 1_000_000;
/// A step through the keys that meets each of them once: it has no factor in common with `KEYS`.
const STEP: u64 = 618_033;
const RECORDS_PER_COMMIT: u64 = 40_000;
const VALUE: [u8; 86] = [b'v'; 86];
const MIB: usize = 1024 * 1024;
const BACKEND: &str = match () {
    () if cfg!(feature = "encryption") => "sealed RocksDB",
    () if cfg!(feature = "rocksdb") => "RocksDB",
    () => "memory",
};

fn changes() -> Topic<u64, String> {
    Topic::plain("changes")
}

/// Puts a value, and looks the row up where the value is empty.
struct Change {
    rows: KeyValueStore<u64, String>,
}

impl Processor<u64, String, u64, u64> for Change {
    fn process(
        &mut self,
        _cx: &mut ProcessorContext<'_, u64, u64>,
        Record { key, value, timestamp }: Record<u64, String>,
    ) -> Result<(), BoxError> {
        if value.is_empty() {
            black_box(self.rows.look_at(&key, |row| row.map(String::len))?);
        } else {
            self.rows.put(key, value, timestamp)?;
        }
        Ok(())
    }
}

fn topology() -> Topology {
    let builder = StreamsBuilder::new();
    let rows = builder.add_store(Materialized::<u64, String>::named("rows"));
    let options = Processed::new().stores(rows);
    let changed = builder.stream(&changes()).process_with(options, |rows| Change { rows });
    changed.for_each(|_, _| {});
    builder.build().expect("the topology is sound")
}

/// Scatters the keys.
#[derive(Default)]
struct Keys(u64);

impl Keys {
    fn next(&mut self) -> u64 {
        self.0 = (self.0 + STEP) % KEYS;
        self.0
    }

    fn put(&mut self, pipeline: &mut Pipeline, count: u64) {
        self.fill(pipeline, count, |line| line.value.extend_from_slice(&VALUE));
    }

    fn get(&mut self, pipeline: &mut Pipeline, count: u64) {
        self.fill(pipeline, count, |_| {});
    }

    fn fill(&mut self, pipeline: &mut Pipeline, count: u64, value: impl Fn(&mut Line)) {
        pipeline.fill(&changes(), count, |line| {
            line.timestamp = Timestamp::from_millis(1);
            line.key.extend_from_slice(&self.next().to_be_bytes());
            value(line);
        });
    }
}

fn bench_with(group: &mut BenchmarkGroup<'_, WallTime>, cache: &str, memory_bytes: usize) {
    let scratch = Scratch::new();
    let mut pipeline = Pipeline::with_state(&topology(), &scratch, memory_bytes);
    let mut keys = Keys::default();
    for _ in 0..KEYS / RECORDS_PER_COMMIT {
        keys.put(&mut pipeline, RECORDS_PER_COMMIT);
        pipeline.run();
        pipeline.trim();
    }
    by_commit(
        group,
        &format!("get, {cache}"),
        &mut pipeline,
        RECORDS_PER_COMMIT,
        |pipeline, count| {
            keys.get(pipeline, count);
            pipeline.run()
        },
    );
    by_commit(
        group,
        &format!("put, {cache}"),
        &mut pipeline,
        RECORDS_PER_COMMIT,
        |pipeline, count| {
            keys.put(pipeline, count);
            let taken = pipeline.process();
            pipeline.run();
            taken
        },
    );
    by_commit(
        group,
        &format!("commit, {cache}"),
        &mut pipeline,
        RECORDS_PER_COMMIT,
        |pipeline, count| {
            keys.put(pipeline, count);
            pipeline.process();
            pipeline.run()
        },
    );
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group(format!("store in {BACKEND}"));
    group.sampling_mode(SamplingMode::Flat).sample_size(10);
    group.measurement_time(Duration::from_secs(4)).warm_up_time(Duration::from_secs(1));
    bench_with(&mut group, "warm", 2048 * MIB);
    bench_with(&mut group, "cold", 64 * MIB);
    group.finish();
    criterion.final_summary();
}
