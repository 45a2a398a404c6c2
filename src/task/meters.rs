//! What does a task tell the outside? Its instruments, made when the task is built.
//!
//! The task counts in plain numbers; [`TaskMeters`] hands their sums over now and then.

use std::sync::Arc;
use std::time::Duration;

use ::metrics::Counter;

use crate::metrics::{self, LevelGauge, Metrics, Times, Total};
use crate::operator::push::DropCounts;
use crate::state::{CacheCounts, StoreSize};
use crate::task::dead_letter::RefusedCounts;
use crate::topology::TaskId;

/// The instruments of one task.
pub(crate) struct TaskMeters {
    metrics: Metrics,
    task: String,
    records: Total,
    process_seconds: Times,
    uncommitted_bytes: LevelGauge,
    punctuations: [Total; 2],
    late: Total,
    null_key: Total,
    /// By stage.
    skipped: [Total; 3],
    dead_letters: [Total; 3],
    sources: Vec<SourceMeters>,
    sinks: Vec<SinkMeters>,
    stores: Vec<StoreMeters>,
}

/// What a task has counted.
pub(crate) struct TaskCounts {
    pub(crate) records: u64,
    /// On stream time, and on the wall clock.
    pub(crate) punctuations: [u64; 2],
    pub(crate) drops: DropCounts,
    pub(crate) refused: RefusedCounts,
    pub(crate) uncommitted_bytes: usize,
}

/// What an input partition has counted.
pub(crate) struct SourceCounts {
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    /// Nothing while the log has not said where the partition ends.
    pub(crate) lag: Option<u64>,
}

/// Records and bytes that have left for one place.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Written {
    pub(crate) records: u64,
    pub(crate) bytes: u64,
}

impl Written {
    #[inline]
    pub(crate) fn add(&mut self, key: Option<&[u8]>, value: Option<&[u8]>) {
        self.records += 1;
        self.bytes += (key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len)) as u64;
    }
}

/// What a store has counted.
pub(crate) struct StoreCounts {
    pub(crate) changelog: Written,
    pub(crate) cache: CacheCounts,
    pub(crate) size: StoreSize,
}

struct SourceMeters {
    records: Total,
    bytes: Total,
    lag: LevelGauge,
    resets: Counter,
    lost: Counter,
}

struct SinkMeters {
    records: Total,
    bytes: Total,
}

struct StoreMeters {
    changelog_records: Total,
    changelog_bytes: Total,
    rows: LevelGauge,
    bytes: LevelGauge,
    cached_keys: LevelGauge,
    cached_bytes: LevelGauge,
    cached_bytes_max: LevelGauge,
    hits: Total,
    misses: Total,
}

impl TaskMeters {
    pub(crate) fn new<'a>(
        metrics: &Metrics,
        task: TaskId,
        sources: impl Iterator<Item = (&'a Arc<str>, u32)>,
        stores: impl Iterator<Item = Arc<str>>,
    ) -> Self {
        let task = task.to_string();
        let by = |metric, label| metrics.total(metric, &[&task, label]);
        let by_stage = |metric| ["decode", "process", "produce"].map(|stage| by(metric, stage));
        Self {
            records: metrics.total(&metrics::TASK_RECORDS, &[&task]),
            process_seconds: metrics.times(&metrics::PROCESS_SECONDS, &[&task]),
            uncommitted_bytes: metrics.gauge(&metrics::UNCOMMITTED_BYTES, &[&task]),
            punctuations: ["stream_time", "wall_clock"]
                .map(|kind| by(&metrics::PUNCTUATIONS, kind)),
            late: by(&metrics::DROPPED_RECORDS, "late"),
            null_key: by(&metrics::DROPPED_RECORDS, "null_key"),
            skipped: by_stage(&metrics::DROPPED_RECORDS),
            dead_letters: by_stage(&metrics::DEAD_LETTERS),
            sources: sources
                .map(|(topic, partition)| SourceMeters::new(metrics, &task, topic, partition))
                .collect(),
            sinks: Vec::new(),
            stores: stores.map(|store| StoreMeters::new(metrics, &task, &store)).collect(),
            metrics: metrics.clone(),
            task,
        }
    }

    /// How long the task has just processed.
    pub(crate) fn processed_for(&self, time: Duration) {
        self.process_seconds.record(time);
    }

    /// Hands over what the task has counted.
    pub(crate) fn tell(&mut self, counts: &TaskCounts) {
        self.records.tell(counts.records);
        self.uncommitted_bytes.set(counts.uncommitted_bytes);
        self.late.tell(counts.drops.late);
        self.null_key.tell(counts.drops.null_key);
        tell_each(&mut self.punctuations, counts.punctuations);
        tell_each(&mut self.skipped, counts.refused.skipped);
        tell_each(&mut self.dead_letters, counts.refused.dead_lettered);
    }

    /// Hands over what an input partition has counted, by its place among the task's inputs.
    pub(crate) fn tell_source(&mut self, index: usize, counts: &SourceCounts) {
        let meters = &mut self.sources[index];
        meters.records.tell(counts.records);
        meters.bytes.tell(counts.bytes);
        if let Some(lag) = counts.lag {
            meters.lag.set(lag as usize);
        }
    }

    /// Tells that an input partition begins elsewhere than at its committed offset, which is out of
    /// range; `lost` offsets are passed over.
    pub(crate) fn source_reset(&self, index: usize, lost: u64) {
        self.sources[index].resets.increment(1);
        self.sources[index].lost.increment(lost);
    }

    /// Hands over what has been written to a topic, by its place among the task's topics. A topic
    /// that a record chose gets its instruments here.
    pub(crate) fn tell_sink(&mut self, index: usize, topic: &str, written: Written) {
        if index == self.sinks.len() {
            let total = |metric| self.metrics.total(metric, &[&self.task, topic]);
            let (records, bytes) = (total(&metrics::SINK_RECORDS), total(&metrics::SINK_BYTES));
            self.sinks.push(SinkMeters { records, bytes });
        }
        let meters = &mut self.sinks[index];
        meters.records.tell(written.records);
        meters.bytes.tell(written.bytes);
    }

    /// Hands over what a store has counted, by its place among the task's stores.
    pub(crate) fn tell_store(&mut self, index: usize, counts: &StoreCounts) {
        let Some(meters) = self.stores.get_mut(index) else { return };
        meters.changelog_records.tell(counts.changelog.records);
        meters.changelog_bytes.tell(counts.changelog.bytes);
        meters.rows.set(counts.size.rows as usize);
        meters.bytes.set(counts.size.bytes as usize);
        meters.cached_keys.set(counts.cache.keys);
        meters.cached_bytes.set(counts.cache.bytes);
        meters.cached_bytes_max.set(counts.cache.bytes_max);
        meters.hits.tell(counts.cache.hits);
        meters.misses.tell(counts.cache.misses);
    }
}

fn tell_each<const N: usize>(totals: &mut [Total; N], counts: [u64; N]) {
    for (total, count) in totals.iter_mut().zip(counts) {
        total.tell(count);
    }
}

impl SourceMeters {
    fn new(metrics: &Metrics, task: &str, topic: &str, partition: u32) -> Self {
        let partition = partition.to_string();
        let labels = [task, topic, &partition];
        Self {
            records: metrics.total(&metrics::SOURCE_RECORDS, &labels),
            bytes: metrics.total(&metrics::SOURCE_BYTES, &labels),
            lag: metrics.gauge(&metrics::SOURCE_LAG, &labels),
            resets: metrics.counter(&metrics::SOURCE_RESETS, &labels),
            lost: metrics.counter(&metrics::SOURCE_LOST, &labels),
        }
    }
}

impl StoreMeters {
    fn new(metrics: &Metrics, task: &str, store: &str) -> Self {
        let total = |metric| metrics.total(metric, &[task, store]);
        let gauge = |metric| metrics.gauge(metric, &[task, store]);
        Self {
            changelog_records: total(&metrics::CHANGELOG_RECORDS),
            changelog_bytes: total(&metrics::CHANGELOG_BYTES),
            rows: gauge(&metrics::STORE_ROWS),
            bytes: gauge(&metrics::STORE_BYTES),
            cached_keys: gauge(&metrics::CACHED_KEYS),
            cached_bytes: gauge(&metrics::CACHED_BYTES),
            cached_bytes_max: gauge(&metrics::CACHED_BYTES_MAX),
            hits: total(&metrics::CACHE_HITS),
            misses: total(&metrics::CACHE_MISSES),
        }
    }
}
