//! How is the cost of one record told from that of setting up? Pipelines that are filled and run
//! in turns, and only the running is timed.
//!
//! A pipeline is the production code from fetched batches to sealed batches and committed stores,
//! over the in-process log, on one thread. What the log itself costs is in the figure. Times are
//! the thread's processor time: waiting for a processor does not count.

#![allow(dead_code, reason = "each benchmark uses a part")]

use std::time::Duration;

use criterion::{BenchmarkGroup, SamplingMode, measurement::WallTime};
use millstream::log::{
    ClientConfig, HeadersView, Isolation, Log, LogClient, OffsetSpec, OpenBatch, PartitionId,
    TopicPartition,
};
use millstream::testing::TopologyTestDriver;
use millstream::time::{Clock, SystemClock};
use millstream::{Data, Timestamp, Topic, Topology};

/// About what arrives between two commits, 100 ms apart, at the speed that is aimed at.
pub(crate) const RECORDS_PER_COMMIT: u64 = 400_000;

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
        let mut driver = TopologyTestDriver::new(topology).manual_commit();
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
    let time = || {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    };
    let begun = time();
    run();
    time().saturating_sub(begun)
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
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|records| {
            let mut taken = Duration::ZERO;
            let mut left = records;
            while left > 0 {
                let count = left.min(RECORDS_PER_COMMIT);
                fill(pipeline, count);
                taken += pipeline.run();
                pipeline.trim();
                left -= count;
            }
            taken
        });
    });
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
