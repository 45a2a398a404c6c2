//! How is the cost of one record told from that of setting up? Pipelines that are filled and run
//! in turns, and only the running is timed.
//!
//! A pipeline is the production code from fetched batches to sealed batches and committed stores,
//! over the in-process log, on one thread. What the log itself costs is in the figure. Times are
//! the thread's processor time: waiting for a processor does not count.

#![allow(dead_code, reason = "each benchmark uses a part")]

use std::cell::Cell;
use std::path::PathBuf;
use std::time::Duration;

use criterion::{BenchmarkGroup, SamplingMode, measurement::WallTime};
use millstream::log::{
    ClientConfig, HeadersView, Isolation, Log, LogClient, OffsetSpec, OpenBatch, PartitionId,
    TopicPartition,
};
use millstream::state::{MemoryBudget, StateDirectory};
use millstream::testing::TopologyTestDriver;
use millstream::time::{Clock, SystemClock};
use millstream::{Config, Data, StateEncryption, Timestamp, Topic, Topology};
use rustix::time::{ClockId, clock_gettime};

/// About what arrives between two commits, 100 ms apart, at the speed that is aimed at.
pub(crate) const RECORDS_PER_COMMIT: u64 = 400_000;

/// The same where instructions are counted, which takes fifty times as long.
const COUNTED_RECORDS_PER_COMMIT: u64 = 5_000;

/// Records of one fetched batch.
const RECORDS_PER_BATCH: u64 = 500;

/// A record as it lies in the log.
#[derive(Default)]
pub(crate) struct Line {
    pub(crate) timestamp: Timestamp,
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
}

/// A topology with one partition per topic, run over the in-process log.
pub(crate) struct Pipeline {
    pub(crate) driver: TopologyTestDriver,
    writer: Box<dyn LogClient>,
    clock: SystemClock,
}

impl Pipeline {
    pub(crate) fn new(topology: &Topology) -> Self {
        Self::driven_by(TopologyTestDriver::new(topology))
    }

    /// With a state directory below `scratch`: on disk if RocksDB is built in, else in memory;
    /// sealed if that can be.
    pub(crate) fn with_state(topology: &Topology, scratch: &Scratch, memory_bytes: usize) -> Self {
        let config = Config::builder("test", "in-process").memory_bytes(memory_bytes).build();
        let budget = MemoryBudget::new(memory_bytes);
        let key = cfg!(feature = "encryption").then(|| StateEncryption::new(|| Ok([7; 32])));
        let directory =
            StateDirectory::open_with(&scratch.fresh(), "test", "bench", budget, key.as_ref());
        let driver = TopologyTestDriver::with_config(topology, config.expect("it is sound"));
        Self::driven_by(driver.state_directory(directory.expect("a new directory is free")))
    }

    fn driven_by(driver: TopologyTestDriver) -> Self {
        let mut driver = driver.manual_commit();
        driver.commit().expect("an empty pipeline commits");
        let writer = driver.log().client(ClientConfig {
            client_id: "bench".to_owned(),
            isolation: Isolation::ReadUncommitted,
            transactional_id: None,
            transaction_timeout: Duration::from_secs(60),
            group: "bench".to_owned(),
            fetch_bytes_max: 1024 * 1024,
            batch_bytes_max: 1024 * 1024,
        });
        let writer = writer.expect("the in-process log always answers");
        Self { driver, writer, clock: SystemClock::default() }
    }

    /// Appends records to a topic.
    pub(crate) fn fill<K: Data, V: Data>(
        &mut self,
        topic: &Topic<K, V>,
        count: u64,
        mut next: impl FnMut(&mut Line),
    ) {
        let partition = self.partition(topic.name());
        let mut line = Line::default();
        let mut left = count;
        while left > 0 {
            let records = left.min(RECORDS_PER_BATCH);
            let mut batch = OpenBatch::new();
            for _ in 0..records {
                line.key.clear();
                line.value.clear();
                next(&mut line);
                let (key, value) = (Some(line.key.as_slice()), Some(line.value.as_slice()));
                batch.append(line.timestamp, key, value, HeadersView::default());
            }
            self.writer.send(partition, batch);
            left -= records;
        }
        self.writer.poll(self.clock.instant(), &mut Vec::new());
    }

    /// Processes and commits what was filled in; returns how long that took.
    pub(crate) fn run(&mut self) -> Duration {
        timed(|| self.driver.commit().expect("nothing in a benchmark fails"))
    }

    /// Processes what was filled in and commits nothing; returns how long that took.
    pub(crate) fn process(&mut self) -> Duration {
        timed(|| self.driver.advance(Duration::ZERO).expect("nothing in a benchmark fails"))
    }

    /// Gives up the records of all topics, so that memory stays bounded.
    pub(crate) fn trim(&mut self) {
        let admin = self.driver.log().admin();
        for topic in self.driver.log().topics() {
            let partition = self.partition(&topic.name);
            let end = admin.offsets(&[(partition, OffsetSpec::End)]).expect("the topic is there");
            admin.delete_records(&[(partition, end[0])]).expect("the topic is there");
        }
    }

    fn partition(&self, topic: &str) -> PartitionId {
        self.driver.log().partitions().id(&TopicPartition::new(topic, 0))
    }
}

/// Processor time that this thread takes for something.
pub(crate) fn timed(run: impl FnOnce()) -> Duration {
    timed_by(ClockId::ThreadCPUTime, run)
}

/// Processor time that all threads take meanwhile: RocksDB has threads of its own.
pub(crate) fn timed_with_background(run: impl FnOnce()) -> Duration {
    timed_by(ClockId::ProcessCPUTime, run)
}

/// Its name is known to `benches/instructions.sh`, which counts what is executed inside.
#[inline(never)]
fn timed_by(clock: ClockId, run: impl FnOnce()) -> Duration {
    let time = || {
        let time = clock_gettime(clock);
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    };
    let begun = time();
    run();
    time().saturating_sub(begun)
}

/// A directory of this process's own, deleted when it is dropped.
pub(crate) struct Scratch {
    path: PathBuf,
    used: Cell<u32>,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        let path = std::env::temp_dir().join(format!("millstream-bench-{}", std::process::id()));
        Self { path, used: Cell::new(0) }
    }

    /// A directory that was not handed out before.
    fn fresh(&self) -> PathBuf {
        self.used.set(self.used.get() + 1);
        self.path.join(self.used.get().to_string())
    }

    /// Deletes what lies in directories that are not used any more.
    pub(crate) fn empty(&self) {
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{error}");
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.empty();
    }
}

/// Measures the time per record of a pipeline into which `fill` appends that many records.
///
/// One iteration is one record, so what is reported is the time of one.
pub(crate) fn per_record(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    pipeline: &mut Pipeline,
    mut fill: impl FnMut(&mut Pipeline, u64),
) {
    group.sampling_mode(SamplingMode::Flat).sample_size(10);
    group.measurement_time(Duration::from_secs(4)).warm_up_time(Duration::from_secs(1));
    by_commit(group, name, pipeline, RECORDS_PER_COMMIT, |pipeline, count| {
        fill(pipeline, count);
        pipeline.run()
    });
}

/// Measures the time per record of what `run` does with so many records between two commits.
pub(crate) fn by_commit(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    pipeline: &mut Pipeline,
    records_per_commit: u64,
    mut run: impl FnMut(&mut Pipeline, u64) -> Duration,
) {
    let counted = counted_commits();
    let records_per_commit = counted.map_or(records_per_commit, |_| COUNTED_RECORDS_PER_COMMIT);
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|records| {
            let mut taken = Duration::ZERO;
            let mut left = counted.map_or(records, |commits| commits * records_per_commit);
            while left > 0 {
                let count = left.min(records_per_commit);
                taken += run(pipeline, count);
                pipeline.trim();
                left -= count;
            }
            taken
        });
    });
}

/// Of how many commits instructions are counted, by `benches/instructions.sh`; `None` where time is
/// measured.
fn counted_commits() -> Option<u64> {
    let commits = std::env::var("MILLSTREAM_BENCH_COMMITS").ok()?;
    Some(commits.parse().expect("`MILLSTREAM_BENCH_COMMITS` is a number"))
}

/// `SplitMix64`: a seeded sequence that is the same everywhere.
#[derive(Default)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}
