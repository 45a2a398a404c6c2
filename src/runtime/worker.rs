//! What does a worker thread do? It runs tasks: one turn after another.
//!
//! A turn takes commands, polls the log ([`reading`]), advances the commit, processes a bounded
//! number of records, fires timers, and begins a commit when one is due ([`committing`]). It never
//! blocks; between turns the caller waits on the log client. Production calls it on a thread of its
//! own, tests and simulations call it from wherever they like.
//!
//! # Invariants
//!
//! - A task belongs to the worker from `Start` until the worker reports it closed or lost.
//! - Where no transaction fences it, a worker takes nothing in and sends nothing once the lease of
//!   the process's membership is over: its tasks may have new owners.
//! - A failed commit closes every task of the worker without a commit: their work since the last
//!   one is gone together with the transaction, and they start again from the committed offsets.

mod committing;
pub(crate) mod reading;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crossbeam_channel::Receiver;

use crate::config::Config;
use crate::dsl::Topology;
use crate::error::Result;
use crate::group::WorkerId;
use crate::log::{LogClient, LogEvent, PartitionId};
use crate::operator::punctuation::PunctuationType;
use crate::runtime::command::{Command, MemberView, OpenedTask, Report, ReportTo};
use crate::runtime::meters::{TELL_INTERVAL, WorkerMeters};
use crate::runtime::task_setup;
use crate::state::{BytesLimit, SharedBackend};
use crate::task::active::{Allowance, Now, Task};
use crate::task::commit::Committer;
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
            return self.start_over();
        }
        self.closing.remove(&id);
        let backend = self.remove(id);
        self.report(Report::Closed { task: id, backend });
    }

    /// Gives up all that is under way, and closes every task without a commit.
    fn start_over(&mut self) {
        self.abandon_all();
        self.committer.ensure_producer(&mut *self.client);
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
