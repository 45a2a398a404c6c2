//! What does a worker thread do? It runs tasks: one turn after another.
//!
//! A turn takes commands, polls the log, advances the commit, processes a bounded number of
//! records,
//! fires timers, and begins a commit when one is due. It never blocks; between turns the caller
//! waits on
//! the log client. Production calls it on a thread of its own, tests and simulations call it from
//! wherever they like.
//!
//! # Invariants
//!
//! - A task belongs to the worker from `Start` until the worker reports it closed or lost.
//! - Where no transaction fences it, a worker takes nothing in and sends nothing once the lease of
//!   the process's membership is over: its tasks may have new owners.
//! - A failed commit closes every task of the worker without a commit: their work since the last
//!   one is gone together with the transaction, and they start again from the committed offsets.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crossbeam_channel::Receiver;

use crate::config::Config;
use crate::dsl::Topology;
use crate::error::{Error, ErrorKind, Result};
use crate::group::WorkerId;
use crate::log::{LogClient, LogEvent, Outcome, PartitionId, ReadError, WriteError};
use crate::operator::punctuation::PunctuationType;
use crate::runtime::command::{Command, MemberView, OpenedTask, Report, ReportTo};
use crate::runtime::meters::{TELL_INTERVAL, WorkerMeters};
use crate::runtime::task_setup;
use crate::state::{BytesLimit, SharedBackend};
use crate::task::active::{Allowance, Now, Task};
use crate::task::commit::{CommitFailure, Committed, Committer};
use crate::task::environment::TaskEnvironment;
use crate::task::outbox::Outbox;
use crate::time::{Clock, Instant};
use crate::topology::TaskId;

/// How often a worker that may not send looks whether it may again.
const LEASE_POLL: Duration = Duration::from_millis(50);

/// What a worker needs to know of its application.
pub(crate) struct WorkerSetup {
    pub(crate) id: WorkerId,
    pub(crate) config: Arc<Config>,
    pub(crate) topology: Topology,
    pub(crate) environment: Arc<TaskEnvironment>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) member: Arc<Mutex<MemberView>>,
    /// Under which the worker writes, where transactions tie effects together.
    pub(crate) transactional_id: Option<Arc<str>>,
    pub(crate) commands: Receiver<Command>,
    pub(crate) reports: ReportTo,
}

/// A worker: tasks, the client they share, and the way out.
pub(crate) struct Worker {
    setup: WorkerSetup,
    client: Box<dyn LogClient>,
    tasks: BTreeMap<TaskId, Task>,
    /// The task of each partition that is read.
    routes: HashMap<PartitionId, TaskId>,
    outbox: Outbox,
    committer: Committer,
    last_commit: Instant,
    /// Uncommitted bytes at which it commits early.
    uncommitted_limit: BytesLimit,
    /// Whether the control plane asked for a commit before the interval is over.
    commit_asked: bool,
    /// Tasks that close as soon as their work is committed.
    closing: BTreeSet<TaskId>,
    /// Partitions that are read no further, since the log does not hold what comes next. Their
    /// tasks close once they have processed what was fetched, and are opened anew.
    out_of_range: BTreeSet<PartitionId>,
    /// Whether the worker ends once its tasks are closed.
    stopping: bool,
    events: Vec<LogEvent>,
    meters: WorkerMeters,
}

/// What comes after a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// There is more to do now.
    Again,
    /// Nothing to do before something happens, or that long.
    Wait(Duration),
    /// The worker has ended.
    Stop,
}

impl Worker {
    pub(crate) fn new(setup: WorkerSetup, mut client: Box<dyn LogClient>) -> Self {
        let mut committer = Committer::new(setup.transactional_id.is_some());
        // What an earlier life of this process has left open ends now, whatever runs here.
        committer.ensure_producer(&mut *client);
        let last_commit = setup.clock.instant();
        let metrics = &setup.environment.metrics;
        let meters = WorkerMeters::new(metrics, setup.id.0, last_commit);
        let uncommitted_limit = setup.environment.uncommitted.part();
        Self {
            setup,
            client,
            tasks: BTreeMap::new(),
            routes: HashMap::new(),
            outbox: Outbox::default(),
            committer,
            last_commit,
            uncommitted_limit,
            commit_asked: false,
            closing: BTreeSet::new(),
            out_of_range: BTreeSet::new(),
            stopping: false,
            events: Vec::new(),
            meters,
        }
    }

    /// One turn.
    ///
    /// # Errors
    ///
    /// What the worker cannot deal with; its tasks must then be closed by [`Worker::abandon_all`].
    pub(crate) fn turn(&mut self) -> Result<Next> {
        let clock = &self.setup.clock;
        let now = Now { wall_clock: clock.timestamp(), instant: clock.instant() };
        self.take_commands()?;
        self.poll(now)?;
        self.close_out_of_range();
        self.stop_if_lapsed();
        self.advance_commit(now)?;
        let processed = self.process(now)?;
        self.send(processed == 0);
        let has_begun = self.begin_commit_if_due(now)?;
        self.close_settled();
        self.tell_metrics(now);
        if self.stopping && self.tasks.is_empty() {
            self.report(Report::Stopped(self.setup.id));
            return Ok(Next::Stop);
        }
        // What waited for the commit to begin can go on.
        let again = processed > 0 || has_begun;
        Ok(if again { Next::Again } else { Next::Wait(self.time_to_next(now)) })
    }

    /// Sleeps until something may have happened.
    pub(crate) fn wait(&mut self, at_most: Duration) {
        self.client.wait(at_most);
    }

    pub(crate) fn waker(&self) -> crate::log::Waker {
        self.client.waker()
    }

    /// Whether nothing is under way: nothing waits to be sent, acknowledged or committed.
    pub(crate) fn is_idle(&self) -> bool {
        let may_process = self.tasks.values().all(Task::may_process);
        may_process && self.committer.is_idle() && self.outbox.is_empty()
    }

    /// Whether a commit would carry anything.
    pub(crate) fn is_dirty(&self) -> bool {
        self.tasks.values().any(Task::is_dirty)
    }

    pub(crate) fn environment(&self) -> &TaskEnvironment {
        &self.setup.environment
    }

    pub(crate) fn tasks(&self) -> impl Iterator<Item = &Task> {
        self.tasks.values()
    }

    fn take_commands(&mut self) -> Result<()> {
        while let Ok(command) = self.setup.commands.try_recv() {
            match command {
                Command::Start(opened) => self.start(*opened)?,
                Command::Close(task) => self.close(task),
                Command::Abandon(task) => self.abandon(task),
                Command::Commit => self.commit_asked = true,
                Command::Stop => {
                    self.stopping = true;
                    let tasks: Vec<TaskId> = self.tasks.keys().copied().collect();
                    tasks.into_iter().for_each(|task| self.close(task));
                }
            }
        }
        Ok(())
    }

    /// Begins to close a task. If it is not here, the report of its end has crossed the command.
    fn close(&mut self, id: TaskId) {
        if let Some(task) = self.tasks.get_mut(&id) {
            task.release();
            self.closing.insert(id);
        }
    }

    fn start(&mut self, opened: OpenedTask) -> Result<()> {
        let id = opened.id;
        assert!(!self.tasks.contains_key(&id), "a task is started once");
        let is_named = opened.inputs.iter().any(|input| input.metadata.writer.is_some());
        let mut task = task_setup::build(&self.setup.topology, &self.setup.environment, opened)?;
        for queue in task.queues() {
            self.routes.insert(queue.partition, id);
            self.client.read_from(queue.partition, queue.position());
        }
        if let Some(writer) = &self.setup.transactional_id {
            task.claim(Arc::clone(writer), is_named);
        }
        self.tasks.insert(id, task);
        tracing::info!(task = %id, "task running");
        Ok(())
    }

    fn poll(&mut self, now: Now) -> Result<()> {
        let mut events = std::mem::take(&mut self.events);
        self.client.poll(now.instant, &mut events);
        self.meters.poll_seconds.record(self.setup.clock.instant().since(now.instant));
        for event in events.drain(..) {
            self.take_event(event)?;
        }
        self.events = events;
        Ok(())
    }

    fn take_event(&mut self, event: LogEvent) -> Result<()> {
        match event {
            LogEvent::Fetched(batch) => {
                let partition = batch.partition();
                if let Some(task) = self.task_of(partition) {
                    task.enqueue(batch);
                    self.hold_back(partition);
                }
            }
            LogEvent::CaughtUp { partition, position } => {
                if let Some(task) = self.task_of(partition) {
                    task.caught_up(partition, position);
                }
            }
            LogEvent::ReadFailed { partition, error: ReadError::OutOfRange { .. } } => {
                self.out_of_range.insert(partition);
            }
            LogEvent::ReadFailed { partition, error } => {
                return Err(self.reading_failed(partition, error));
            }
            LogEvent::Ended { effect, outcome } => {
                if matches!(outcome, Outcome::Done { next_offset: Some(_) }) && self.is_lapsed() {
                    self.meters.late_sends.increment(1);
                }
                self.committer.ended(effect, outcome);
            }
        }
        Ok(())
    }

    /// Closes tasks that have processed all that could be fetched of a partition which is out of
    /// range. Whoever opens them again decides where they go on.
    fn close_out_of_range(&mut self) {
        for partition in std::mem::take(&mut self.out_of_range) {
            let Some(id) = self.routes.get(&partition).copied() else { continue };
            let queues = self.tasks.get(&id).map_or(&[][..], Task::queues);
            if queues.iter().any(|queue| queue.partition == partition && !queue.is_empty()) {
                self.out_of_range.insert(partition);
            } else {
                tracing::info!(task = %id, "a position is out of range: the task is opened anew");
                self.close(id);
            }
        }
    }

    fn task_of(&mut self, partition: PartitionId) -> Option<&mut Task> {
        let id = self.routes.get(&partition)?;
        self.tasks.get_mut(id)
    }

    /// Stops fetching of a partition whose queue is full.
    fn hold_back(&mut self, partition: PartitionId) {
        let limit = self.setup.config.fetch_bytes_max;
        let Some(task) = self.routes.get(&partition).and_then(|id| self.tasks.get_mut(id)) else {
            return;
        };
        let queue = task.queues_mut().iter_mut().find(|queue| queue.partition == partition);
        if let Some(queue) = queue.filter(|queue| !queue.is_paused && queue.bytes() > limit) {
            queue.is_paused = true;
            self.client.pause(partition, true);
        }
    }

    fn resume_drained(&mut self) {
        let limit = self.setup.config.fetch_bytes_max / 2;
        for queue in self.tasks.values_mut().flat_map(Task::queues_mut) {
            if queue.is_paused && queue.bytes() <= limit {
                queue.is_paused = false;
                self.client.pause(queue.partition, false);
            }
        }
    }

    #[cold]
    fn reading_failed(&self, partition: PartitionId, error: ReadError) -> Error {
        let name = self.setup.environment.catalog.ids().name(partition);
        let fix = match &error {
            ReadError::NotFound => "create the topic again, or reset the application",
            ReadError::Corrupt(_) => "check the broker's disks and the network",
            ReadError::OutOfRange { .. } | ReadError::Fatal(_) => {
                "grant the principal READ on the topic, or see what the broker's log says"
            }
        };
        let message = format!("`{name}` cannot be read any further; {fix}");
        Error::new(ErrorKind::Fatal, message).caused_by(error)
    }

    #[cold]
    fn commit_failed(&self, why: &str) -> Error {
        let id = &self.setup.config.application_id;
        let message = format!(
            "{why}; see that this principal may READ the group `{id}`, and may WRITE under \
             transactional ids that begin with `{id}-`"
        );
        Error::new(ErrorKind::Fatal, message)
    }

    #[cold]
    fn writing_failed(&self, partition: PartitionId, error: WriteError) -> Error {
        let name = self.setup.environment.catalog.ids().name(partition);
        let topic = &name.topic;
        let fix = match &error {
            WriteError::Record(_) => format!(
                "if they are too large, raise `max.message.bytes` of topic `{topic}` or keep them \
                 smaller; if it is compacted, give each a key"
            ),
            _ => format!("see that topic `{topic}` exists and that this principal may WRITE to it"),
        };
        let message = format!("records for `{name}` are refused; {fix}");
        Error::new(ErrorKind::Fatal, message).caused_by(error)
    }

    /// Whether others may own these tasks by now, and nothing but this worker itself keeps it from
    /// writing for them. The clock is read anew: the process may have slept in the midst of a turn.
    fn is_lapsed(&self) -> bool {
        if self.setup.transactional_id.is_some() {
            return false;
        }
        let lease = self.setup.member.lock().expect("no panic while held").lease;
        lease.is_some_and(|until| self.setup.clock.instant() >= until)
    }

    fn may_send(&self) -> bool {
        self.committer.can_send() && !self.is_lapsed()
    }

    /// Takes back what has not been acknowledged when the lease ends: it would be sent again and
    /// again, beside what a new owner writes.
    fn stop_if_lapsed(&mut self) {
        let sending = self.committer.sending();
        if sending == 0 || !self.is_lapsed() {
            return;
        }
        tracing::warn!(
            worker = self.setup.id.0,
            sending,
            "the group has not heard of this process for a session: tasks start again"
        );
        self.meters.late_sends.increment(sending as u64);
        self.committer.reset();
        self.lose_all();
        self.committer.ensure_producer(&mut *self.client);
    }

    fn process(&mut self, now: Now) -> Result<usize> {
        let mut processed = 0;
        if self.is_lapsed() {
            return Ok(processed);
        }
        let (mut uncommitted, limit) = (self.uncommitted_bytes(), self.uncommitted_limit.bytes());
        let share = (self.setup.config.records_per_turn / self.tasks.len().max(1)).max(64);
        for (id, task) in &mut self.tasks {
            if self.closing.contains(id) || !task.may_process() {
                continue;
            }
            let begun = self.setup.clock.instant();
            let others = uncommitted - task.uncommitted_bytes();
            let room = limit.saturating_sub(others);
            let allowance = Allowance { records: share, uncommitted: room };
            let count = task.process(&mut self.outbox, now, allowance)?;
            uncommitted = others + task.uncommitted_bytes();
            if count > 0 {
                task.meters.processed_for(self.setup.clock.instant().since(begun));
            }
            processed += count;
            task.punctuate(&mut self.outbox, now, PunctuationType::WallClock)?;
        }
        self.resume_drained();
        Ok(processed)
    }

    /// What changes that no commit carries yet take in memory, roughly.
    fn uncommitted_bytes(&self) -> usize {
        self.tasks.values().map(Task::uncommitted_bytes).sum()
    }

    /// Sends what is full, or everything when there is nothing else to do.
    fn send(&mut self, is_idle: bool) {
        if self.outbox.is_empty() || !self.may_send() {
            return;
        }
        let batches = if is_idle { self.outbox.take_all() } else { self.outbox.take_full() };
        self.committer.send(&mut *self.client, batches);
    }

    /// Whether a commit has begun.
    fn begin_commit_if_due(&mut self, now: Now) -> Result<bool> {
        if !self.may_send() {
            return Ok(false);
        }
        let config = &self.setup.config;
        let elapsed = now.instant.since(self.last_commit);
        let is_due = elapsed >= config.commit_interval
            || self.commit_asked
            || self.closing.iter().any(|id| self.tasks.get(id).is_some_and(Task::is_dirty))
            || !self.tasks.values().all(Task::may_process)
            || self.tasks.values().any(Task::wants_commit)
            || self.outbox.is_full()
            || self.uncommitted_bytes() >= self.uncommitted_limit.bytes();
        if !is_due {
            return Ok(false);
        }
        let token = self.setup.member.lock().expect("no panic while held").token.clone();
        // What was lost is known before the token that follows the loss: it is looked at first.
        if !self.setup.commands.is_empty() {
            return Ok(false);
        }
        self.last_commit = now.instant;
        self.commit_asked = false;
        let mut prepared = BTreeMap::new();
        for (id, task) in self.tasks.iter_mut().filter(|(_, task)| task.is_dirty()) {
            prepared.insert(*id, task.prepare_commit(&mut self.outbox, now)?);
        }
        if prepared.is_empty() {
            return Ok(false);
        }
        self.meters.commit_begun = Some(now.instant);
        let batches = self.outbox.take_all();
        self.committer.begin(&mut *self.client, prepared, batches, token);
        Ok(true)
    }

    fn advance_commit(&mut self, now: Now) -> Result<()> {
        let advanced = self.committer.advance(&mut *self.client);
        if let Err(failure) = &advanced {
            self.meters.commit_failed(failure);
        }
        match advanced {
            Ok(None) => return Ok(()),
            Ok(Some(committed)) => return self.settle(committed),
            Err(CommitFailure::Fatal(why)) => return Err(self.commit_failed(&why)),
            Err(CommitFailure::Refused { partition, error }) => {
                return Err(self.writing_failed(partition, error));
            }
            Err(CommitFailure::Fenced(why)) => {
                tracing::warn!(worker = self.setup.id.0, why, "fenced: tasks are given up");
            }
            Err(CommitFailure::Restart(why)) => {
                tracing::warn!(worker = self.setup.id.0, why, "tasks start again");
            }
        }
        self.last_commit = now.instant;
        self.lose_all();
        // Ends the transaction that is left open, behind which no one could read on: tasks would
        // wait for it to be restored, here or elsewhere.
        self.committer.ensure_producer(&mut *self.client);
        Ok(())
    }

    fn settle(&mut self, committed: Committed) -> Result<()> {
        let Committed { tasks, ends } = committed;
        let mut purge = Vec::new();
        for (id, prepared) in tasks {
            purge.extend(prepared.offsets.iter().map(|offset| (offset.partition, offset.offset)));
            if let Some(task) = self.tasks.get_mut(&id) {
                task.settle(prepared, |partition| ends.get(&partition).copied())?;
            }
        }
        self.meters.committed(self.setup.clock.instant());
        tracing::debug!(worker = self.setup.id.0, partitions = purge.len(), "committed");
        self.report(Report::Committed(purge));
        Ok(())
    }

    /// Closes tasks that are to close and have nothing uncommitted. They do not wait until the
    /// other tasks have nothing to commit either, which may be never.
    fn close_settled(&mut self) {
        for id in std::mem::take(&mut self.closing) {
            match self.tasks.get(&id) {
                Some(task) if task.is_dirty() || self.committer.has_prepared(id) => {
                    self.closing.insert(id);
                }
                Some(_) => {
                    let backend = self.remove(id);
                    self.report(Report::Closed { task: id, backend });
                }
                None => {}
            }
        }
    }

    fn remove(&mut self, id: TaskId) -> Option<Box<dyn crate::state::Backend>> {
        let mut task = self.tasks.remove(&id)?;
        task.tell_metrics(|partition| self.client.end_of(partition));
        tracing::info!(task = %id, "task closed");
        for queue in task.queues() {
            self.routes.remove(&queue.partition);
            self.client.stop_reading(queue.partition);
        }
        unshare(task.into_backend())
    }

    /// Closes a task without a commit: it is another process's already. What it has written since
    /// the last commit lies in one transaction with the work of the worker's other tasks, which
    /// therefore start again, too.
    fn abandon(&mut self, id: TaskId) {
        let Some(task) = self.tasks.get(&id) else { return };
        if task.is_dirty() || self.committer.has_prepared(id) {
            self.closing.insert(id);
            self.committer.reset();
            self.lose_all();
            return self.committer.ensure_producer(&mut *self.client);
        }
        self.closing.remove(&id);
        let backend = self.remove(id);
        self.report(Report::Closed { task: id, backend });
    }

    /// Closes every task without a commit, to be started again, here or elsewhere.
    fn lose_all(&mut self) {
        self.outbox.discard();
        let closing = std::mem::take(&mut self.closing);
        for id in self.tasks.keys().copied().collect::<Vec<_>>() {
            let backend = self.remove(id);
            if closing.contains(&id) {
                self.report(Report::Closed { task: id, backend });
            } else {
                self.report(Report::Lost { task: id, backend });
            }
        }
    }

    /// Closes every task without a commit after the worker has failed.
    pub(crate) fn abandon_all(&mut self) {
        self.committer.reset();
        self.lose_all();
    }

    /// Hands over, once in a while, what the tasks have counted.
    fn tell_metrics(&mut self, now: Now) {
        if now.instant.since(self.meters.told_at) < TELL_INTERVAL {
            return;
        }
        self.meters.told_at = now.instant;
        for task in self.tasks.values_mut() {
            task.tell_metrics(|partition| self.client.end_of(partition));
        }
    }

    fn report(&self, report: Report) {
        (self.setup.reports)(report);
    }

    fn time_to_next(&self, now: Now) -> Duration {
        let is_dirty = self.tasks.values().any(Task::is_dirty);
        let until_commit = match () {
            () if self.is_lapsed() => LEASE_POLL,
            () if is_dirty && self.committer.can_send() => {
                let interval = self.setup.config.commit_interval;
                interval.saturating_sub(now.instant.since(self.last_commit))
            }
            () => Duration::from_secs(1),
        };
        let timers = self.tasks.values().filter_map(Task::next_wall_clock_timer);
        let until_timer = timers.min().map_or(Duration::from_secs(1), |due| {
            let millis = due.as_millis().saturating_sub(now.wall_clock.as_millis()).max(0);
            Duration::from_millis(millis as u64)
        });
        let idle = self.tasks.values().filter_map(Task::idle_until);
        let idle = idle.filter(|until| *until > now.instant).min();
        let until_idle = idle.map_or(Duration::from_secs(1), |until| until.since(now.instant));
        until_commit.min(until_timer).min(until_idle)
    }
}

/// Takes a backend back from stores that are gone.
fn unshare(backend: SharedBackend) -> Option<Box<dyn crate::state::Backend>> {
    std::rc::Rc::into_inner(backend).map(std::cell::RefCell::into_inner)
}
