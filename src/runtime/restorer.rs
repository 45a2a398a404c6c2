//! How does a task get its state back? The restorer opens tasks, off the workers' threads.
//!
//! For each task, in this order, where tasks that are as far ask the log together (see
//! [`answers`](crate::runtime::answers)):
//!
//! 1. End what previous owners may have left open (see [`fencing`](crate::runtime::fencing)), then
//!    read the committed offsets, once no transaction is open on them any more. So a task never
//!    overtakes the last commit of its previous owner.
//! 2. Take the *high watermark* of each changelog. The last stable offset would not do: a foreign
//!    open transaction may hide committed records behind it.
//! 3. Read each changelog, committed records only, from what the local store holds up to there.
//! 4. Read the committed offsets again. If they have moved, someone has committed meanwhile: go
//!    back to 2.
//!
//! # Invariants
//!
//! - A task is handed on only when each of its stores holds its whole changelog.
//! - A local store that is ahead of its changelog, or behind its beginning, is dropped and restored
//!   whole.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Receiver;

use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};
use crate::log::{CommittedOffset, LogClient, LogError, LogEvent, PartitionId, ReadError};
use crate::runtime::answers::Answers;
use crate::runtime::close_all::CloseAll;
use crate::runtime::command::{OpenedTask, Report, ReportTo};
use crate::runtime::fencing::{Fencing, TakenIds};
use crate::runtime::meters::RestoreMeters;
use crate::runtime::positions::{self, Positions, unanswered};
use crate::runtime::restore_range::{self, logged_stores, stores_to_restore};
use crate::runtime::worker::Next;
use crate::runtime::worker::reading::reading_failed;
use crate::state::{Backend, Restore, StateDirectory, StoreIndex};
use crate::task::environment::TaskEnvironment;
use crate::time::{Clock, Instant, Timestamp};
use crate::topology::TaskId;

/// How long to wait before a call that the log could not answer is tried again.
const RETRY: Duration = Duration::from_millis(50);

/// After how long without a task that came or went the restorer has settled: what came has caught
/// up with its input by then, or takes long.
const SETTLED: Duration = Duration::from_secs(10);

/// How often the user is told that the log does not answer.
const WARN_INTERVAL: Duration = Duration::from_secs(10);

/// What the restorer is told.
pub(crate) enum RestoreCommand {
    /// Open this task; the backend is there if this process held the task a moment ago, and
    /// `owned_since` unless the task has just failed here: then the group has given it to us.
    Open { task: TaskId, backend: Option<Box<dyn Backend>>, owned_since: Option<Instant> },
    /// Stop opening this task and report it closed.
    Cancel(TaskId),
    /// Close the files of a task that has ended here.
    Close { task: TaskId, backend: Box<dyn Backend> },
    /// Give up records before these offsets: every reader has committed beyond them.
    Purge(Vec<(PartitionId, i64)>),
    /// Tell every process of the application to close.
    CloseAll,
    /// End.
    Stop,
}

/// What the restorer needs to know of its application.
pub(crate) struct RestorerSetup {
    pub(crate) config: Arc<Config>,
    pub(crate) environment: Arc<TaskEnvironment>,
    pub(crate) directory: Arc<StateDirectory>,
    pub(crate) clock: Arc<dyn Clock>,
    /// The transactional ids of this process's own workers.
    pub(crate) taken_ids: TakenIds,
    pub(crate) commands: Receiver<RestoreCommand>,
    pub(crate) reports: ReportTo,
}

/// Opens tasks, several at a time.
pub(crate) struct Restorer {
    setup: RestorerSetup,
    client: Box<dyn LogClient>,
    jobs: BTreeMap<TaskId, Job>,
    fencing: Fencing,
    /// Which store of which task a changelog partition belongs to.
    routes: HashMap<PartitionId, (TaskId, StoreIndex)>,
    events: Vec<LogEvent>,
    /// When the user was last told that the log does not answer.
    warned_at: Option<Instant>,
    /// When a task last came or went; `None` once that has settled.
    moved_at: Option<Instant>,
    close_all: CloseAll,
}

enum Job {
    /// To be begun, or begun again, at a time.
    Waiting { backend: Option<Box<dyn Backend>>, until: Instant },
    Restoring {
        restore: Box<Restore>,
        meters: Box<RestoreMeters>,
        committed: Vec<Option<CommittedOffset>>,
    },
}

impl Restorer {
    pub(crate) fn new(setup: RestorerSetup, client: Box<dyn LogClient>) -> Self {
        let fencing = Fencing::new(
            Arc::clone(&setup.config),
            Arc::clone(&setup.environment),
            Arc::clone(&setup.clock),
            Arc::clone(&setup.taken_ids),
        );
        Self {
            setup,
            client,
            jobs: BTreeMap::new(),
            fencing,
            routes: HashMap::new(),
            events: Vec::new(),
            warned_at: None,
            moved_at: None,
            close_all: CloseAll::default(),
        }
    }

    pub(crate) fn waker(&self) -> crate::log::Waker {
        self.client.waker()
    }

    pub(crate) fn wait(&mut self, at_most: Duration) {
        self.client.wait(at_most);
    }

    /// Whether tasks have come or gone, a while ago and none since; says so once.
    pub(crate) fn has_settled(&mut self) -> bool {
        let now = self.setup.clock.instant();
        let is_over = |moved: &mut Instant| now.since(*moved) >= SETTLED;
        self.jobs.is_empty() && self.moved_at.take_if(is_over).is_some()
    }

    /// One turn.
    pub(crate) fn turn(&mut self) -> Next {
        if !self.take_commands() {
            return Next::Stop;
        }
        let now = self.setup.clock.instant();
        if self.close_all.is_asked(&self.setup.environment, now) {
            self.report(Report::CloseAsked);
        }
        let due: Vec<TaskId> =
            self.jobs.iter().filter(|(_, job)| job.is_due(now)).map(|(task, _)| *task).collect();
        self.begin_all(&due, now);
        let moved = self.poll(now);
        self.tell_progress(now);
        let finished: Vec<TaskId> =
            self.jobs.iter().filter(|(_, job)| job.is_restored()).map(|(task, _)| *task).collect();
        self.finish_all(&finished, now);
        if moved || !due.is_empty() || !finished.is_empty() {
            return Next::Again;
        }
        Next::Wait(if self.jobs.is_empty() { Duration::from_secs(1) } else { RETRY })
    }

    fn take_commands(&mut self) -> bool {
        while let Ok(command) = self.setup.commands.try_recv() {
            match command {
                RestoreCommand::Open { task, backend, owned_since } => {
                    self.fencing.note_ownership(task, owned_since);
                    let until = Instant::default();
                    self.jobs.insert(task, Job::Waiting { backend, until });
                }
                RestoreCommand::Cancel(task) => {
                    // A task that was opened a moment ago is not here any more: its report says so.
                    if let Some(job) = self.jobs.remove(&task) {
                        self.stop_reading(task);
                        self.close(task, job.into_backend());
                        self.report(Report::Closed { task, backend: None });
                    }
                }
                RestoreCommand::Close { task, backend } => self.close(task, Some(backend)),
                RestoreCommand::Purge(before) => self.purge(&before),
                RestoreCommand::CloseAll => self.close_all.ask(&self.setup.environment),
                RestoreCommand::Stop => return false,
            }
        }
        true
    }

    fn close(&mut self, task: TaskId, backend: Option<Box<dyn Backend>>) {
        let Some(backend) = backend else { return };
        self.moved_at = Some(self.setup.clock.instant());
        let is_damaged = backend.is_damaged();
        if let Err(error) = backend.close() {
            tracing::warn!(%task, %error, "local state was not closed cleanly");
        }
        if is_damaged && let Err(error) = self.set_aside(task) {
            tracing::warn!(%task, %error, "damage will be met again");
        }
    }

    /// Takes the files of a task that is closed out of use, so that it begins empty.
    fn set_aside(&self, task: TaskId) -> Result<()> {
        tracing::warn!(%task, "local state is damaged: set aside and restored whole");
        self.setup.directory.set_aside_task(&task.to_string()).map_err(|error| {
            let message = "damaged local state cannot be set aside";
            Error::new(ErrorKind::Fatal, message).caused_by(error)
        })
    }

    /// The backend that a task was held with, if its files can be used on.
    fn trusted(
        &self,
        task: TaskId,
        backend: Option<Box<dyn Backend>>,
    ) -> Result<Option<Box<dyn Backend>>> {
        if !backend.as_ref().is_some_and(|backend| backend.is_damaged()) {
            return Ok(backend);
        }
        drop(backend);
        self.set_aside(task)?;
        Ok(None)
    }

    fn purge(&self, before: &[(PartitionId, i64)]) {
        if let Err(error) = self.setup.environment.catalog.admin().delete_records(before) {
            tracing::warn!(%error, "repartition records could not be purged; tried again");
        }
    }

    /// Runs one step of a job; on an error the job is tried again, or reported.
    fn step(
        &mut self,
        task: TaskId,
        now: Instant,
        step: impl FnOnce(&mut Self, TaskId, &mut Option<Job>) -> Result<()>,
    ) {
        let mut job = self.jobs.remove(&task);
        let outcome = step(self, task, &mut job);
        if let Err(error) = outcome {
            self.stop_reading(task);
            let mut backend = job.and_then(Job::into_backend);
            let is_tried_again = match error.kind() {
                ErrorKind::Retriable => {
                    self.tell_retry(task, &error, now);
                    Ok(())
                }
                ErrorKind::Corrupted => {
                    drop(backend.take());
                    self.set_aside(task)
                }
                _ => Err(error),
            };
            if let Err(error) = is_tried_again {
                self.close(task, backend);
                return self.report(Report::OpenFailed { task, error: error.in_task(task) });
            }
            job = Some(Job::Waiting { backend, until: now + RETRY });
        }
        if let Some(job) = job {
            self.jobs.insert(task, job);
        }
    }

    /// Says why a task cannot be opened yet. Of a log that does not answer the user hears now and
    /// then.
    fn tell_retry(&mut self, task: TaskId, error: &Error, now: Instant) {
        use std::error::Error as _;
        let cause = error.source().and_then(|cause| cause.downcast_ref::<LogError>());
        let is_unreachable = matches!(cause, Some(LogError::Unavailable(_)));
        let is_due = self.warned_at.is_none_or(|warned| now.since(warned) >= WARN_INTERVAL);
        if is_unreachable && is_due {
            self.warned_at = Some(now);
            tracing::warn!(%task, %error, "a task cannot be opened yet: it is tried again");
        } else {
            tracing::debug!(%task, %error, "opening is tried again");
        }
    }

    fn answers(&self) -> Answers {
        Answers::new(&self.setup.environment)
    }

    fn begin_all(&mut self, due: &[TaskId], now: Instant) {
        let mut answers = self.answers();
        let mut due = due.to_vec();
        if self.setup.config.is_exactly_once() {
            answers.ask_committed_so_far(&due);
            for task in &due {
                self.step(*task, now, |restorer, task, _| {
                    restorer.fencing.end_previous_owners(task, &due, now, &answers)
                });
            }
            due.retain(|task| self.jobs.get(task).is_some_and(|job| job.is_due(now)));
        }
        // Not before all of their previous owners can commit no more.
        answers.ask_committed(&due);
        let environment = &self.setup.environment;
        let wanted = due.iter().filter_map(|task| {
            let committed = answers.known_committed(*task)?;
            Some(restore_range::wanted(&logged_stores(environment, *task, &committed).ok()?))
        });
        answers.ask_offsets(wanted.collect());
        for task in &due {
            self.step(*task, now, |restorer, task, job| restorer.begin(task, now, &answers, job));
        }
    }

    fn begin(
        &mut self,
        task: TaskId,
        now: Instant,
        answers: &Answers,
        job: &mut Option<Job>,
    ) -> Result<()> {
        let Some(Job::Waiting { backend, .. }) = job else { return Ok(()) };
        let committed = self.fencing.stable_offsets(task, now, answers)?;
        let backend = match self.trusted(task, backend.take())? {
            Some(backend) => backend,
            None => self.open(task)?,
        };
        let restore = Box::new(self.start_restoring(task, backend, &committed, answers)?);
        let meters = Box::new(self.meters(task)?);
        tracing::info!(%task, records = restore.progress().1, "task begins to restore");
        *job = Some(Job::Restoring { restore, meters, committed });
        Ok(())
    }

    fn meters(&self, task: TaskId) -> Result<RestoreMeters> {
        let environment = &self.setup.environment;
        let changelogs = environment.changelogs(task)?;
        let stores = changelogs.iter().map(|(index, _, spec)| (*index, &*spec.name));
        let now = self.setup.clock.instant();
        Ok(RestoreMeters::new(&environment.metrics, task, stores, now))
    }

    fn tell_progress(&mut self, now: Instant) {
        for job in self.jobs.values_mut() {
            if let Job::Restoring { restore, meters, .. } = job {
                meters.tell(restore, now);
            }
        }
    }

    fn open(&self, task: TaskId) -> Result<Box<dyn Backend>> {
        let stores = self.setup.environment.stores(task);
        self.setup.directory.open_task(&task.to_string(), &stores).map_err(|error| {
            Error::new(ErrorKind::Fatal, "local state cannot be opened").caused_by(error)
        })
    }

    fn start_restoring(
        &mut self,
        task: TaskId,
        mut backend: Box<dyn Backend>,
        committed: &[Option<CommittedOffset>],
        answers: &Answers,
    ) -> Result<Restore> {
        let environment = &self.setup.environment;
        let logged = logged_stores(environment, task, committed)?;
        let stores = stores_to_restore(environment, logged, answers, &mut *backend)?;
        for (partition, store) in &stores {
            if store.start < store.end {
                self.routes.insert(*partition, (task, store.index));
                self.client.read_from(*partition, store.start);
            }
        }
        Ok(Restore::new(backend, stores.into_iter().map(|(_, store)| store).collect()))
    }

    fn poll(&mut self, now: Instant) -> bool {
        let mut events = std::mem::take(&mut self.events);
        self.client.poll(now, &mut events);
        let moved = !events.is_empty();
        for event in events.drain(..) {
            let partition = match &event {
                LogEvent::Fetched(batch) => batch.partition(),
                LogEvent::CaughtUp { partition, .. } | LogEvent::ReadFailed { partition, .. } => {
                    *partition
                }
                LogEvent::Ended { .. } => continue,
            };
            if let Some((task, store)) = self.routes.get(&partition).copied() {
                self.step(task, now, |restorer, _, job| restorer.take_event(job, store, event));
            }
        }
        self.events = events;
        moved
    }

    fn take_event(
        &mut self,
        job: &mut Option<Job>,
        store: StoreIndex,
        event: LogEvent,
    ) -> Result<()> {
        let Some(Job::Restoring { restore, .. }) = job else { return Ok(()) };
        match event {
            LogEvent::Fetched(batch) => Ok(restore.batch(store, &batch)?),
            LogEvent::CaughtUp { position, .. } => {
                restore.caught_up(store, position);
                Ok(())
            }
            LogEvent::ReadFailed { partition, error: error @ ReadError::Fatal(_) } => {
                let ids = self.setup.environment.catalog.ids();
                Err(reading_failed(&ids.name(partition), error))
            }
            LogEvent::ReadFailed { error, .. } => {
                let message = "a changelog cannot be read; opening is tried again";
                Err(Error::new(ErrorKind::Retriable, message).caused_by(error))
            }
            LogEvent::Ended { .. } => Ok(()),
        }
    }

    fn finish_all(&mut self, restored: &[TaskId], now: Instant) {
        let mut answers = self.answers();
        answers.ask_committed(restored);
        let (environment, at) = (&self.setup.environment, self.setup.clock.timestamp());
        let wanted = restored.iter().filter_map(|task| {
            let committed = answers.known_committed(*task)?;
            positions::wanted(environment, *task, &committed, at).ok()
        });
        answers.ask_offsets(wanted.collect());
        for task in restored {
            self.step(*task, now, |restorer, task, job| restorer.finish(task, at, &answers, job));
        }
    }

    fn finish(
        &mut self,
        task: TaskId,
        now: Timestamp,
        answers: &Answers,
        job: &mut Option<Job>,
    ) -> Result<()> {
        self.stop_reading(task);
        let Some(Job::Restoring { restore, meters, committed }) = job.take() else { return Ok(()) };
        let (restored, backend) = (restore.restored(), restore.finish()?);
        let again = answers.committed(task).and_then(|again| again.map_err(unanswered));
        let is_settled = again.as_ref().is_ok_and(|again| *again == committed);
        if !is_settled {
            *job = Some(Job::Waiting { backend: Some(backend), until: Instant::default() });
            return again.map(|_| ());
        }
        let environment = &*self.setup.environment;
        let inputs = Positions { environment, answers, now }.inputs(task, &committed)?;
        let now = self.setup.clock.instant();
        self.moved_at = Some(now);
        meters.end(restored, now);
        self.report(Report::Opened(Box::new(OpenedTask { id: task, backend, inputs })));
        Ok(())
    }

    fn stop_reading(&mut self, task: TaskId) {
        let client = &mut self.client;
        self.routes.retain(|partition, (owner, _)| {
            if *owner == task {
                client.stop_reading(*partition);
            }
            *owner != task
        });
    }

    fn report(&self, report: Report) {
        (self.setup.reports)(report);
    }
}

impl Job {
    fn is_due(&self, now: Instant) -> bool {
        matches!(self, Self::Waiting { until, .. } if *until <= now)
    }

    fn is_restored(&self) -> bool {
        matches!(self, Self::Restoring { restore, .. } if restore.is_done())
    }

    fn into_backend(self) -> Option<Box<dyn Backend>> {
        match self {
            Self::Waiting { backend, .. } => backend,
            // Half a restore is no state: the backend's offsets say how far it really is.
            Self::Restoring { restore, .. } => restore.finish().ok(),
        }
    }
}
