//! What do the threads of an application tell the outside? Their instruments.

use std::time::Duration;

use ::metrics::Counter;

use crate::config::Config;
use crate::metrics::{self, LevelGauge, Metrics, Times};
use crate::runtime::standstill::{HELP, Standstill};
use crate::state::{MemoryBudget, Restore, StoreIndex};
use crate::task::commit::CommitFailure;
use crate::time::Instant;
use crate::topology::TaskId;

/// How often running sums are handed over.
pub(crate) const TELL_INTERVAL: Duration = Duration::from_secs(1);

/// How often the progress of a restore is logged.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// The instruments of a worker.
pub(crate) struct WorkerMeters {
    pub(crate) poll_seconds: Times,
    pub(crate) commit_seconds: Times,
    pub(crate) commits: Counter,
    fenced: Counter,
    restarts: Counter,
    fatal: Counter,
    /// Sends that were under way when the lease ended.
    pub(crate) late_sends: Counter,
    /// When the commit under way began.
    pub(crate) commit_begun: Option<Instant>,
    /// When sums were last handed over.
    pub(crate) told_at: Instant,
}

impl WorkerMeters {
    pub(crate) fn new(metrics: &Metrics, worker: u32, now: Instant) -> Self {
        let worker = worker.to_string();
        let failed = |reason| metrics.counter(&metrics::COMMIT_FAILURES, &[&worker, reason]);
        Self {
            poll_seconds: metrics.times(&metrics::POLL_SECONDS, &[&worker]),
            commit_seconds: metrics.times(&metrics::COMMIT_SECONDS, &[&worker]),
            commits: metrics.counter(&metrics::COMMITS, &[&worker]),
            fenced: failed("fenced"),
            restarts: failed("restart"),
            fatal: failed("fatal"),
            late_sends: metrics.counter(&metrics::LATE_SENDS, &[&worker]),
            commit_begun: None,
            told_at: now,
        }
    }

    pub(crate) fn commit_failed(&mut self, failure: &CommitFailure) {
        self.commit_begun = None;
        match failure {
            CommitFailure::Fenced(_) => self.fenced.increment(1),
            CommitFailure::Restart(_) => self.restarts.increment(1),
            CommitFailure::Fatal(_) | CommitFailure::Refused { .. } => self.fatal.increment(1),
        }
    }

    pub(crate) fn committed(&mut self, now: Instant) {
        self.commits.increment(1);
        if let Some(begun) = self.commit_begun.take() {
            self.commit_seconds.record(now.since(begun));
        }
    }
}

/// The instruments of the control plane.
pub(crate) struct AppMeters {
    pub(crate) rebalances: Counter,
    pub(crate) worker_failures: Counter,
    restoring: LevelGauge,
    running: LevelGauge,
    told: Option<(usize, usize)>,
    disk_cache: LevelGauge,
    /// When what the disk's caches take was last told.
    disk_told_at: Option<Instant>,
    /// Told once; held so that they fall with the application.
    _budget: Vec<LevelGauge>,
}

impl AppMeters {
    pub(crate) fn new(metrics: &Metrics, config: &Config) -> Self {
        Self {
            rebalances: metrics.counter(&metrics::REBALANCES, &[]),
            worker_failures: metrics.counter(&metrics::WORKER_FAILURES, &[]),
            restoring: metrics.gauge(&metrics::TASKS, &["restoring"]),
            running: metrics.gauge(&metrics::TASKS, &["running"]),
            told: None,
            disk_cache: metrics.gauge(&metrics::DISK_CACHE_BYTES, &[]),
            disk_told_at: None,
            _budget: tell_budget(metrics, config),
        }
    }

    /// Tells, now and then, what state on disk takes of the memory.
    pub(crate) fn disk_cache(&mut self, bytes: impl FnOnce() -> usize, now: Instant) {
        if self.disk_told_at.is_none_or(|told_at| now.since(told_at) >= TELL_INTERVAL) {
            self.disk_told_at = Some(now);
            self.disk_cache.set(bytes());
        }
    }

    pub(crate) fn tasks(&mut self, restoring: usize, running: usize) {
        if self.told.replace((restoring, running)) != Some((restoring, running)) {
            self.restoring.set(restoring);
            self.running.set(running);
        }
    }
}

/// Says how much memory state may take, and which parts of it are for what.
fn tell_budget(metrics: &Metrics, config: &Config) -> Vec<LevelGauge> {
    let budget = MemoryBudget::of(config);
    let shares = [
        ("cached", budget.cached_bytes(config)),
        ("uncommitted", budget.live_bytes() - budget.cached_bytes(config)),
        ("disk", budget.disk_cache_bytes()),
    ];
    let shares = shares.map(|(share, bytes)| {
        let gauge = metrics.gauge(&metrics::MEMORY_SHARE, &[share]);
        gauge.set(bytes);
        gauge
    });
    let whole = metrics.gauge(&metrics::MEMORY_BUDGET, &[]);
    whole.set(budget.total_bytes());
    shares.into_iter().chain([whole]).collect()
}

/// How far the restore of one task is, for metrics and log.
pub(crate) struct RestoreMeters {
    task: TaskId,
    records: metrics::Total,
    seconds: Times,
    remaining: Vec<(StoreIndex, LevelGauge)>,
    begun: Instant,
    told_at: Instant,
    logged_at: Instant,
    standstill: Standstill,
}

impl RestoreMeters {
    /// The instruments of a restore that begins now; `stores` are those that have a changelog.
    pub(crate) fn new<'a>(
        metrics: &Metrics,
        task: TaskId,
        stores: impl Iterator<Item = (StoreIndex, &'a str)>,
        now: Instant,
    ) -> Self {
        let name = task.to_string();
        let gauge = |store: &str| metrics.gauge(&metrics::RESTORE_REMAINING, &[&name, store]);
        Self {
            task,
            records: metrics.total(&metrics::RESTORED_RECORDS, &[&name]),
            seconds: metrics.times(&metrics::RESTORE_SECONDS, &[&name]),
            remaining: stores.map(|(index, store)| (index, gauge(store))).collect(),
            begun: now,
            told_at: Instant::default(),
            logged_at: now,
            standstill: Standstill::new(0, now),
        }
    }

    /// Says where the restore is, now and then.
    pub(crate) fn tell(&mut self, restore: &Restore, now: Instant) {
        if now.since(self.told_at) < TELL_INTERVAL {
            return;
        }
        self.told_at = now;
        self.records.tell(restore.restored());
        for (store, gauge) in &self.remaining {
            gauge.set(restore.remaining(*store) as usize);
        }
        let (passed, total) = restore.progress();
        if now.since(self.logged_at) >= LOG_INTERVAL {
            self.logged_at = now;
            self.log((passed, total), now);
        }
        if let Some(lasted) = self.standstill.at(passed, now) {
            let task = self.task;
            tracing::warn!(
                %task, passed, total, ?lasted,
                "restoring stands still: nothing committed comes; {HELP}"
            );
        }
    }

    fn log(&self, (passed, total): (u64, u64), now: Instant) {
        let elapsed = now.since(self.begun).as_secs_f64();
        let left_seconds = elapsed * (total - passed) as f64 / passed.max(1) as f64;
        let (task, left_seconds) = (self.task, left_seconds.round());
        tracing::info!(%task, passed, total, left_seconds, "task restoring");
    }

    /// Says that the task can run.
    pub(crate) fn end(mut self, restored: u64, now: Instant) {
        self.records.tell(restored);
        self.seconds.record(now.since(self.begun));
        let elapsed = now.since(self.begun);
        tracing::info!(task = %self.task, restored, ?elapsed, "task restored");
    }
}
