//! Who owns one sub-topology of one partition? A task: its queues, operators, stores and timers.
//!
//! A task is built, run and dropped on one thread, so nothing in it is shared or locked. It does no
//! I/O of its own: batches are handed to it, and what leaves is in the outbox.
//!
//! # Invariants
//!
//! - Records are taken in the order of their timestamps across the task's partitions, as far as
//!   records are there; within a partition in the order of offsets.
//! - Stream time never goes back.
//! - Between `prepare_commit` and `settle` of one commit there is no second `prepare_commit`.

mod failures;
mod saving;

use std::sync::Arc;
use std::time::Duration;

use crate::error::Result;
use crate::log::{EncodedHeaders, PartitionId, RecordBatch, TopicPartition};
use crate::operator::build::TaskParts;
use crate::operator::punctuation::{Due, PunctuationType};
use crate::operator::push::{Cx, DropCounts, Failure, Origin};
use crate::state::{SharedBackend, StoreIndex};
use crate::task::dead_letter::{Refused, RefusedCounts, Stage, refuse};
use crate::task::environment::TaskEnvironment;
use crate::task::meters::{SourceCounts, StoreCounts, TaskCounts, TaskMeters, Written};
use crate::task::outbox::{Outbox, Targets, TaskOutbox};
use crate::task::partition_queue::PartitionQueue;
use crate::time::{Instant, Timestamp};
use crate::topology::TaskId;

use saving::Claim;
pub(crate) use saving::Prepared;

/// After how many records a task looks at what it has not committed.
const RECORDS_PER_LOOK: usize = 64;

/// A record that is further ahead of the wall clock is told of. Clocks of producers differ by less.
const FAR_AHEAD: Duration = Duration::from_secs(24 * 3_600);

/// How far a task may process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowance {
    pub(crate) records: usize,
    /// Beyond so many uncommitted bytes it waits for the next commit to begin.
    pub(crate) uncommitted: usize,
}

/// A running task.
pub(crate) struct Task {
    pub(crate) id: TaskId,
    environment: Arc<TaskEnvironment>,
    queues: Vec<PartitionQueue>,
    parts: TaskParts,
    /// The changelog's partition of each store that has one.
    changelogs: Vec<Changelog>,
    targets: Targets,
    backend: SharedBackend,
    stream_time: Timestamp,
    headers: EncodedHeaders,
    failures: Vec<Failure>,
    pub(crate) drops: DropCounts,
    refused: RefusedCounts,
    /// Timers that have fired, on stream time and on the wall clock.
    punctuations: [u64; 2],
    /// By place in `parts.stores`.
    changelogged: Vec<Written>,
    pub(crate) meters: TaskMeters,
    /// Whether anything has happened since the last commit that the next must carry.
    is_dirty: bool,
    commit_requested: bool,
    claim: Claim,
    /// Whether the committed offsets name an owner: this one, or one before it.
    is_named: bool,
    /// Records processed in all.
    pub(crate) processed: u64,
}

/// Where the changes of a store go.
pub(crate) struct Changelog {
    pub(crate) store: StoreIndex,
    pub(crate) partition: PartitionId,
    /// The largest record that it takes, in bytes of a batch that holds it alone.
    pub(crate) limit: usize,
}

/// What a task is made of.
pub(crate) struct TaskBlueprint {
    pub(crate) id: TaskId,
    pub(crate) queues: Vec<PartitionQueue>,
    pub(crate) parts: TaskParts,
    pub(crate) changelogs: Vec<Changelog>,
    pub(crate) targets: Targets,
    pub(crate) backend: SharedBackend,
}

/// The clocks of one turn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    pub(crate) wall_clock: Timestamp,
    pub(crate) instant: Instant,
}

impl Task {
    pub(crate) fn new(blueprint: TaskBlueprint, environment: Arc<TaskEnvironment>) -> Self {
        let TaskBlueprint { id, queues, parts, changelogs, targets, backend } = blueprint;
        let times = queues.iter().map(|queue| queue.partition_time);
        let sources = queues.iter().map(|queue| (queue.topic(), queue.name.partition));
        let specs = environment.stores(id);
        let name_of = |store: &StoreIndex| Arc::clone(&specs[store.0 as usize].name);
        let stores = parts.stores.iter().map(|(store, _)| name_of(store));
        let meters = TaskMeters::new(&environment.metrics, id, sources, stores);
        Self {
            id,
            environment,
            stream_time: times.max().unwrap_or(Timestamp::UNKNOWN),
            queues,
            parts,
            changelogs,
            targets,
            backend,
            headers: EncodedHeaders::new(),
            failures: Vec::new(),
            drops: DropCounts::default(),
            refused: RefusedCounts::default(),
            punctuations: [0; 2],
            changelogged: Vec::new(),
            meters,
            is_dirty: false,
            commit_requested: false,
            claim: Claim::Unneeded,
            is_named: false,
            processed: 0,
        }
    }

    /// Notes that an input, by its place, begins elsewhere than where it was committed. The next
    /// commit says so, though nothing may have been processed till then.
    pub(crate) fn source_reset(&mut self, input: usize, lost: u64) {
        self.meters.source_reset(input, lost);
        self.is_dirty = true;
    }

    /// Whether the log knows whose task it is, or need not know.
    pub(crate) fn may_process(&self) -> bool {
        !matches!(self.claim, Claim::Wanted(_))
    }

    pub(crate) fn queues(&self) -> &[PartitionQueue] {
        &self.queues
    }

    pub(crate) fn queues_mut(&mut self) -> &mut [PartitionQueue] {
        &mut self.queues
    }

    /// A store of this task, to look into.
    pub(crate) fn store<S: 'static>(
        &self,
        name: &str,
    ) -> Option<std::rc::Rc<std::cell::RefCell<S>>> {
        self.parts.store(name)
    }

    /// Takes a fetched batch of one of the task's partitions.
    pub(crate) fn enqueue(&mut self, batch: RecordBatch) {
        let partition = batch.partition();
        if let Some(queue) = self.queues.iter_mut().find(|queue| queue.partition == partition) {
            queue.push(batch);
        }
    }

    /// Notes that the log holds no more of a partition.
    pub(crate) fn caught_up(&mut self, partition: PartitionId, position: i64) {
        if let Some(queue) = self.queues.iter_mut().find(|queue| queue.partition == partition) {
            queue.caught_up_at(position);
        }
    }

    /// Processes what the allowance permits; returns how many records that were.
    pub(crate) fn process(
        &mut self,
        outbox: &mut Outbox,
        now: Now,
        allowance: Allowance,
    ) -> Result<usize> {
        let processed = self.process_run(outbox, now, allowance);
        processed.map_err(|error| error.in_task(self.id))
    }

    fn process_run(
        &mut self,
        outbox: &mut Outbox,
        now: Now,
        allowance: Allowance,
    ) -> Result<usize> {
        self.initialise(outbox, now)?;
        let mut count = 0;
        while count < allowance.records && !outbox.is_full() {
            if count % RECORDS_PER_LOOK == 0 && self.uncommitted_bytes() > allowance.uncommitted {
                break;
            }
            let Some(index) = self.next_queue(outbox, now)? else { break };
            self.process_one(outbox, now, index)?;
            count += 1;
        }
        self.processed += count as u64;
        Ok(count)
    }

    /// Lets operators do what they have to do before the first record.
    fn initialise(&mut self, outbox: &mut Outbox, now: Now) -> Result<()> {
        for operator in std::mem::take(&mut self.parts.inits).into_iter().rev() {
            self.is_dirty = true;
            self.with_cx(outbox, now, |cx| operator.borrow_mut().initialise(cx))?;
        }
        Ok(())
    }

    /// The queue whose head has the smallest timestamp, if the task may go on now.
    fn next_queue(&mut self, outbox: &mut Outbox, now: Now) -> Result<Option<usize>> {
        let mut next: Option<(Timestamp, usize)> = None;
        for index in 0..self.queues.len() {
            if self.queues[index].head().is_none() {
                self.load(outbox, index)?;
            }
            match self.queues[index].head() {
                Some(time) if next.is_none_or(|(least, _)| time < least) => {
                    next = Some((time, index));
                }
                _ => {}
            }
        }
        Ok(next.filter(|_| !self.must_wait(now)).map(|(_, index)| index))
    }

    /// Whether records of an empty partition may still come before those that wait.
    ///
    /// A partition is idle from when something first waits for it: one that ran empty long before
    /// may have had records since that only have not been fetched yet. One that has been idle for
    /// long enough is not waited for again before it has had a record.
    fn must_wait(&mut self, now: Now) -> bool {
        let Some(max_idle) = self.environment.max_task_idle else { return false };
        let mut waits = false;
        for queue in self.queues.iter_mut().filter(|queue| queue.head().is_none()) {
            waits |= !queue.is_drained()
                || now.instant.since(*queue.idle_since.get_or_insert(now.instant)) < max_idle;
        }
        waits
    }

    /// When the task goes on with what it has, if it waits for an idle partition.
    pub(crate) fn idle_until(&self) -> Option<Instant> {
        let max_idle = self.environment.max_task_idle?;
        let waits = self.queues.iter().any(|queue| !queue.is_empty());
        let since = self.queues.iter().filter_map(|queue| queue.idle_since).max();
        since.filter(|_| waits).map(|since| since + max_idle)
    }

    fn load(&mut self, outbox: &mut Outbox, index: usize) -> Result<()> {
        let environment = Arc::as_ref(&self.environment);
        let mut collector = TaskOutbox::new(outbox, &mut self.targets, environment, self.id);
        let (is_dirty, refused) = (&mut self.is_dirty, &mut self.refused);
        self.queues[index].load(&mut |partition, undecodable| {
            *is_dirty = true;
            let policy = environment.policies.decoding(&partition.topic);
            let (view, error) = (undecodable.view, undecodable.error);
            let stage = Stage::Decode;
            let failed = Refused { partition, view, error, stage, node: None };
            refuse(policy, failed, &mut collector, refused)
        })
    }

    fn process_one(&mut self, outbox: &mut Outbox, now: Now, index: usize) -> Result<()> {
        let queue = &mut self.queues[index];
        let (timestamp, offset) = queue.take_head();
        if timestamp > self.stream_time {
            // Told once: where stream time gets there, not of every record behind it.
            let far = now.wall_clock + FAR_AHEAD;
            if timestamp > far && self.stream_time <= far {
                tell_far_ahead(self.id, &queue.name, offset, timestamp);
            }
            self.stream_time = timestamp;
        }
        self.is_dirty = true;
        let environment = Arc::as_ref(&self.environment);
        let mut collector = TaskOutbox::new(outbox, &mut self.targets, environment, self.id);
        let PartitionQueue { source, headers, name, .. } = queue;
        let origin = Origin { topic: &name.topic, partition: name.partition, offset };
        let mut cx = Cx {
            collector: &mut collector,
            stream_time: self.stream_time,
            wall_clock: now.wall_clock,
            origin: Some(origin),
            headers,
            failures: &mut self.failures,
            drops: &mut self.drops,
            commit_requested: &mut self.commit_requested,
        };
        let forwarded = source.forward(&mut cx);
        forwarded.map_err(|error| error.at_position(queue.name.clone(), offset))?;
        if !self.failures.is_empty() {
            self.settle_failures(outbox, index, offset)?;
        }
        self.punctuate(outbox, now, PunctuationType::StreamTime)
    }

    /// Fires the timers of one kind that are due, one after the other: each may set or cancel
    /// others.
    pub(crate) fn punctuate(
        &mut self,
        outbox: &mut Outbox,
        now: Now,
        kind: PunctuationType,
    ) -> Result<()> {
        let time = match kind {
            PunctuationType::StreamTime => self.stream_time,
            PunctuationType::WallClock => now.wall_clock,
        };
        while let Some(Due { punctuation, target }) = self.take_due(kind, time) {
            self.is_dirty = true;
            self.punctuations[kind as usize] += 1;
            let fired =
                self.with_cx(outbox, now, |cx| target.borrow_mut().punctuate(cx, punctuation));
            fired.map_err(|error| error.in_task(self.id))?;
        }
        Ok(())
    }

    /// The next timer that is due; the queue is free again for what the timer does.
    fn take_due(&mut self, kind: PunctuationType, time: Timestamp) -> Option<Due> {
        self.parts.punctuations.borrow_mut().take_due(kind, time)
    }

    /// When the next wall-clock timer fires.
    pub(crate) fn next_wall_clock_timer(&self) -> Option<Timestamp> {
        self.parts.punctuations.borrow().next_wall_clock()
    }

    /// Runs an operator outside of a source record. What fails there fails the task, unless the
    /// policy is to go on: there is no source record to set aside.
    fn with_cx(
        &mut self,
        outbox: &mut Outbox,
        now: Now,
        run: impl FnOnce(&mut Cx<'_>) -> Result<()>,
    ) -> Result<()> {
        let environment = Arc::as_ref(&self.environment);
        let mut collector = TaskOutbox::new(outbox, &mut self.targets, environment, self.id);
        self.headers.clear();
        let mut cx = Cx {
            collector: &mut collector,
            stream_time: self.stream_time,
            wall_clock: now.wall_clock,
            origin: None,
            headers: &mut self.headers,
            failures: &mut self.failures,
            drops: &mut self.drops,
            commit_requested: &mut self.commit_requested,
        };
        run(&mut cx)?;
        self.settle_outside()
    }

    /// Whether the next commit has anything to carry for this task.
    pub(crate) fn is_dirty(&self) -> bool {
        self.is_dirty
    }

    /// Whether a processor asked for a commit since the last one.
    pub(crate) fn wants_commit(&self) -> bool {
        self.commit_requested
    }

    /// What changes that are not committed yet take in memory, roughly; without those that a
    /// commit under way carries.
    pub(crate) fn uncommitted_bytes(&self) -> usize {
        self.parts.stores.iter().map(|(_, store)| store.borrow().dirty_bytes()).sum()
    }

    /// Hands what was counted over to the metrics; `end_of` knows where a partition ends.
    pub(crate) fn tell_metrics(&mut self, end_of: impl Fn(PartitionId) -> Option<i64>) {
        let (drops, refused) = (self.drops, self.refused);
        self.meters.tell(&TaskCounts {
            records: self.processed,
            punctuations: self.punctuations,
            drops,
            refused,
            uncommitted_bytes: self.uncommitted_bytes(),
        });
        for (index, queue) in self.queues.iter().enumerate() {
            let (records, bytes) = (queue.taken, queue.fetched_bytes);
            let lag = end_of(queue.partition).map(|end| queue.lag(end));
            let counts = SourceCounts { records, bytes, lag };
            self.meters.tell_source(index, &counts);
        }
        for (index, target) in self.targets.iter().enumerate() {
            self.meters.tell_sink(index, &target.topic, target.written);
        }
        let backend = self.backend.borrow();
        for (index, (store, cached)) in self.parts.stores.iter().enumerate() {
            let counts = StoreCounts {
                changelog: self.changelogged.get(index).copied().unwrap_or_default(),
                cache: cached.borrow().cache_counts(),
                size: backend.size(*store),
            };
            self.meters.tell_store(index, &counts);
        }
    }

    /// Drops the operators and everything uncommitted; what is left is the committed state.
    pub(crate) fn into_backend(self) -> SharedBackend {
        self.backend
    }
}

/// Stream time does not come back from there: windows close, and records with the right time are
/// late.
#[cold]
fn tell_far_ahead(task: TaskId, partition: &TopicPartition, offset: i64, timestamp: Timestamp) {
    tracing::warn!(
        %task,
        %partition,
        offset,
        %timestamp,
        "a record is more than a day ahead of the wall clock, and stream time follows it: records \
         with the right time are late from here on; if this time is wrong, refuse such records in \
         `Topic::timestamps` with `Timestamp::UNKNOWN`, or at the broker with \
         `message.timestamp.after.max.ms`"
    );
}
