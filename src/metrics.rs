//! What can be seen from outside? The metrics of a running application, over the `metrics` facade.
//!
//! [`ALL`] is the whole list: name, kind, unit, labels and meaning of each. They go to the recorder
//! that the application was given ([`AppBuilder::recorder`]), else to the one that the program has
//! installed. Nothing here is global, so two applications of one process can be told apart, by
//! their recorders or by the label `application`.
//!
//! # Invariants
//!
//! - A record costs an addition to a plain number in its task. What has been counted is handed over
//!   once a second, and when a task closes.
//! - A level (a gauge) of a task that has left this process is 0, so that sums over processes are
//!   right.
//! - Labels hold names and numbers of the topology, never anything of a record.
//!
//! [`AppBuilder::recorder`]: crate::AppBuilder::recorder

use std::sync::Arc;
use std::time::Duration;

use ::metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, SharedString, Unit};

/// What a recorder makes of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A number that only grows.
    Counter,
    /// A level.
    Gauge,
    /// Values of which the distribution matters.
    Histogram,
}

/// A metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// What it counts.
    pub unit: Unit,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it says.
    pub meaning: &'static str,
}

/// Where an application's metrics go.
pub(crate) type SharedRecorder = Arc<dyn ::metrics::Recorder + Send + Sync>;

macro_rules! metrics {
    ($($id:ident = $kind:ident $name:literal $unit:ident [$first:literal $(, $label:literal)*]
        $meaning:literal;)*) => {
        $(
            #[doc = $meaning]
            pub const $id: Metric = Metric {
                name: $name,
                kind: Kind::$kind,
                unit: Unit::$unit,
                labels: &[$first $(, $label)*],
                meaning: $meaning,
            };
        )*

        /// Every metric there is.
        ///
        /// | name | kind | unit | labels | meaning |
        /// |---|---|---|---|---|
        $(#[doc = concat!(
            "| `", $name, "` | ", stringify!($kind), " | ", stringify!($unit), " | `", $first, "`",
            $(", `", $label, "`",)* " | ", $meaning, " |"
        )])*
        pub const ALL: &[Metric] = &[$($id),*];
    };
}

metrics! {
    REBALANCES = Counter "millstream_rebalances_total" Count ["application"]
        "Times that the group gave partitions to this process or took some away.";
    TASKS = Gauge "millstream_tasks" Count ["application", "state"]
        "Tasks that this process owns, by state: `restoring`, `running`.";
    WORKER_FAILURES = Counter "millstream_worker_failures_total" Count ["application"]
        "Workers that have ended by an error or a panic.";

    MEMORY_BUDGET = Gauge "millstream_memory_budget_bytes" Bytes ["application"]
        "Memory that the state of this process may take together.";
    MEMORY_SHARE = Gauge "millstream_memory_share_bytes" Bytes ["application", "share"]
        "Parts of the budget: `cached` values, `uncommitted` ones, and caches of the `disk`.";
    DISK_CACHE_BYTES = Gauge "millstream_memory_disk_bytes" Bytes ["application"]
        "Memory that cached blocks and write buffers of state on disk take.";

    POLL_SECONDS = Histogram "millstream_worker_poll_seconds" Seconds ["application", "worker"]
        "Time that a worker's poll of the log took.";
    COMMIT_SECONDS = Histogram "millstream_worker_commit_seconds" Seconds ["application", "worker"]
        "Time from the beginning of a commit until its state was written.";
    COMMITS = Counter "millstream_worker_commits_total" Count ["application", "worker"]
        "Commits that have succeeded.";
    COMMIT_FAILURES = Counter
        "millstream_worker_commit_failures_total" Count ["application", "worker", "reason"]
        "Commits that have failed: `fenced`, `restart` (tried again from the last), `fatal`.";
    LATE_SENDS = Counter "millstream_worker_late_sends_total" Count ["application", "worker"]
        "Batches, at least once, that may have been written after another process had taken over.";

    TASK_RECORDS = Counter "millstream_task_records_total" Count ["application", "task"]
        "Source records that have been processed.";
    PROCESS_SECONDS = Histogram "millstream_task_process_seconds" Seconds ["application", "task"]
        "Time that a task's share of a turn took, timers not included.";
    UNCOMMITTED_BYTES = Gauge "millstream_task_uncommitted_bytes" Bytes ["application", "task"]
        "Memory of changed state that the next commit will carry, roughly.";
    PUNCTUATIONS = Counter
        "millstream_task_punctuations_total" Count ["application", "task", "kind"]
        "Timers that have fired: `stream_time`, `wall_clock`.";
    DROPPED_RECORDS = Counter
        "millstream_task_dropped_records_total" Count ["application", "task", "reason"]
        "Records dropped: `late`, `null_key`; skipped by policy: `decode`, `process`, `produce`.";
    DEAD_LETTERS = Counter
        "millstream_task_dead_letters_total" Count ["application", "task", "reason"]
        "Records sent to a dead-letter topic, by what failed: `decode`, `process`, `produce`.";

    SOURCE_RECORDS = Counter
        "millstream_source_records_total" Count ["application", "task", "topic", "partition"]
        "Records taken from an input partition.";
    SOURCE_BYTES = Counter
        "millstream_source_bytes_total" Bytes ["application", "task", "topic", "partition"]
        "Bytes of record batches fetched from an input partition, uncompressed.";
    SOURCE_LAG = Gauge
        "millstream_source_lag" Count ["application", "task", "topic", "partition"]
        "Offsets between the next record to process and the partition's end.";
    SOURCE_RESETS = Counter
        "millstream_source_resets_total" Count ["application", "task", "topic", "partition"]
        "Times that the committed offset of an input partition was out of range.";
    SOURCE_LOST = Counter
        "millstream_source_lost_offsets_total" Count ["application", "task", "topic", "partition"]
        "Offsets passed over since the committed one was out of range.";

    SINK_RECORDS = Counter
        "millstream_sink_records_total" Count ["application", "task", "topic"]
        "Records produced to a topic, dead letters included; visible once they are committed.";
    SINK_BYTES = Counter
        "millstream_sink_bytes_total" Bytes ["application", "task", "topic"]
        "Bytes of keys and values produced to a topic.";

    CHANGELOG_RECORDS = Counter
        "millstream_changelog_records_total" Count ["application", "task", "store"]
        "Records produced to the changelog of a store.";
    CHANGELOG_BYTES = Counter
        "millstream_changelog_bytes_total" Bytes ["application", "task", "store"]
        "Bytes of keys and values produced to the changelog of a store.";
    STORE_ROWS = Gauge "millstream_store_rows" Count ["application", "task", "store"]
        "Committed rows of a store, its time index included; estimated where they are on disk.";
    STORE_BYTES = Gauge "millstream_store_bytes" Bytes ["application", "task", "store"]
        "Bytes of the committed rows of a store, as they lie in memory or on disk.";
    CACHED_KEYS = Gauge "millstream_store_cached_keys" Count ["application", "task", "store"]
        "Keys of a store that are live in memory.";
    CACHED_BYTES = Gauge "millstream_store_cached_bytes" Bytes ["application", "task", "store"]
        "Memory that a store's live keys take, roughly.";
    CACHED_BYTES_MAX = Gauge
        "millstream_store_cached_bytes_max" Bytes ["application", "task", "store"]
        "Memory at which committed keys are evicted: the share `cached` over all open stores.";
    CACHE_HITS = Counter "millstream_store_cache_hits_total" Count ["application", "task", "store"]
        "Look-ups of a key that were answered from memory.";
    CACHE_MISSES = Counter
        "millstream_store_cache_misses_total" Count ["application", "task", "store"]
        "Look-ups of a key that had to read the committed rows.";

    RESTORED_RECORDS = Counter
        "millstream_restore_records_total" Count ["application", "task"]
        "Changelog records read to restore a task.";
    RESTORE_REMAINING = Gauge
        "millstream_restore_remaining" Count ["application", "task", "store"]
        "Changelog offsets that a store still lacks.";
    RESTORE_SECONDS = Histogram "millstream_restore_seconds" Seconds ["application", "task"]
        "Time from the beginning of a task's restore until the task could run.";
}

/// Makes an application's instruments. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Metrics {
    recorder: Option<SharedRecorder>,
    application: SharedString,
}

impl Metrics {
    /// The instruments of an application; without a recorder they are those of the program.
    pub(crate) fn new(application: &str, recorder: Option<SharedRecorder>) -> Self {
        Self { recorder, application: SharedString::from_owned(application.to_owned()) }
    }

    /// Tells the recorder what each metric means.
    pub(crate) fn describe(&self) {
        self.with_recorder(|recorder| {
            for metric in ALL {
                let (name, unit) = (metric.name.into(), Some(metric.unit));
                match metric.kind {
                    Kind::Counter => recorder.describe_counter(name, unit, metric.meaning.into()),
                    Kind::Gauge => recorder.describe_gauge(name, unit, metric.meaning.into()),
                    Kind::Histogram => {
                        recorder.describe_histogram(name, unit, metric.meaning.into());
                    }
                }
            }
        });
    }

    /// A counter. `labels` stand for the metric's own but the first, in its order.
    pub(crate) fn total(&self, metric: &Metric, labels: &[&str]) -> Total {
        Total { counter: self.counter(metric, labels), told: 0 }
    }

    /// As [`total`](Self::total), for what is counted one by one.
    pub(crate) fn counter(&self, metric: &Metric, labels: &[&str]) -> Counter {
        assert_eq!(metric.kind, Kind::Counter, "`{}` is no counter", metric.name);
        self.register(metric, labels, |recorder, key| recorder.register_counter(key, &METADATA))
    }

    /// A gauge.
    pub(crate) fn gauge(&self, metric: &Metric, labels: &[&str]) -> LevelGauge {
        assert_eq!(metric.kind, Kind::Gauge, "`{}` is no gauge", metric.name);
        let gauge =
            self.register(metric, labels, |recorder, key| recorder.register_gauge(key, &METADATA));
        LevelGauge(gauge)
    }

    /// A histogram of times.
    pub(crate) fn times(&self, metric: &Metric, labels: &[&str]) -> Times {
        assert_eq!(metric.kind, Kind::Histogram, "`{}` is no histogram", metric.name);
        Times(
            self.register(metric, labels, |recorder, key| {
                recorder.register_histogram(key, &METADATA)
            }),
        )
    }

    fn register<T>(
        &self,
        metric: &Metric,
        values: &[&str],
        register: impl FnOnce(&dyn ::metrics::Recorder, &Key) -> T,
    ) -> T {
        assert_eq!(metric.labels.len(), values.len() + 1, "`{}` has other labels", metric.name);
        let values = values.iter().map(|value| SharedString::from_owned((*value).to_owned()));
        let values = std::iter::once(self.application.clone()).chain(values);
        let labels = metric.labels.iter().zip(values);
        let labels: Vec<Label> = labels.map(|(name, value)| Label::new(*name, value)).collect();
        let key = Key::from_parts(metric.name, labels);
        self.with_recorder(|recorder| register(recorder, &key))
    }

    fn with_recorder<T>(&self, act: impl FnOnce(&dyn ::metrics::Recorder) -> T) -> T {
        match &self.recorder {
            Some(recorder) => act(&**recorder),
            None => ::metrics::with_recorder(act),
        }
    }
}

static METADATA: Metadata<'static> =
    Metadata::new("millstream", Level::INFO, Some("millstream::metrics"));

/// A counter that is told sums.
pub(crate) struct Total {
    counter: Counter,
    told: u64,
}

impl Total {
    /// Hands over what has come since the last call.
    pub(crate) fn tell(&mut self, total: u64) {
        let news = total.saturating_sub(self.told);
        if news > 0 {
            self.counter.increment(news);
            self.told = total;
        }
    }
}

/// A gauge that falls to 0 with its owner.
pub(crate) struct LevelGauge(Gauge);

impl LevelGauge {
    pub(crate) fn set(&self, level: usize) {
        self.0.set(level as f64);
    }
}

impl Drop for LevelGauge {
    fn drop(&mut self) {
        self.0.set(0.0);
    }
}

/// A histogram of times.
pub(crate) struct Times(Histogram);

impl Times {
    pub(crate) fn record(&self, time: Duration) {
        self.0.record(time.as_secs_f64());
    }
}
