//! Who decides what runs here? The control plane: membership, placing of tasks, the app's state.
//!
//! It never touches a record. A rebalance only sends commands; heartbeats go on behind the
//! membership port whatever a worker or a restore does.
//!
//! # Invariants
//!
//! - A live task is in exactly one hand: the restorer's or a worker's.
//! - What [`Rebalance`] counts as alive is in a hand, and it hears of each closing exactly once.
//! - The application has ended only when each of its threads has dropped its stores, clients and
//!   membership: whoever hears of the end may let the process end.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Receiver;

use crate::error::{Error, ErrorKind, Result};
use crate::group::{Rebalance, TaskCommand, TaskPlace, WorkerId, place};
use crate::log::{GroupEvent, Membership, PartitionId};
use crate::runtime::command::{Command, MemberView, OpenedTask, Report};
use crate::runtime::failure::{self, FailureAction, FailureHandler};
use crate::runtime::instance::Parts;
use crate::runtime::lifecycle::{AppState, Lifecycle};
use crate::runtime::mailbox::Mailbox;
use crate::runtime::meters::AppMeters;
use crate::runtime::restorer::RestoreCommand;
use crate::state::Backend;
use crate::time::Instant;
use crate::topology::TaskId;

/// How often committed repartition records are given up.
const PURGE_INTERVAL: Duration = Duration::from_secs(1);

/// How long the control plane sleeps at most, so that a membership can be polled.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// What the handle of the application asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Close,
    AddWorker,
    RemoveWorker,
}

/// What the control plane hears.
pub(crate) enum Message {
    Report(Report),
    Request(Request),
}

/// In whose hands a live task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hand {
    Restorer,
    Worker(WorkerId),
}

/// Starts a worker: on a thread of its own, or wherever a simulation turns it.
pub(crate) type StartWorker = Box<dyn FnMut(WorkerId) -> Result<(Mailbox<Command>, Join)> + Send>;

/// Waits until a worker or the restorer, which has been told to end, is gone with all that it held.
pub(crate) type Join = Box<dyn FnOnce() + Send>;

/// A running worker.
struct RunningWorker {
    mailbox: Mailbox<Command>,
    join: Join,
    /// Whether it was told to end, so that no task goes to it any more.
    is_leaving: bool,
}

/// What the control plane is made of.
pub(crate) struct ControlSetup {
    pub(crate) parts: Parts,
    pub(crate) membership: Box<dyn Membership>,
    pub(crate) rebalance: Rebalance,
    pub(crate) restorer: Mailbox<RestoreCommand>,
    pub(crate) join_restorer: Join,
    pub(crate) inbox: Receiver<Message>,
    pub(crate) start_worker: StartWorker,
    pub(crate) lifecycle: Arc<Lifecycle>,
    pub(crate) on_failure: FailureHandler,
}

/// The control plane of one process.
pub(crate) struct Control {
    setup: ControlSetup,
    hands: BTreeMap<TaskId, Hand>,
    /// Tasks that were told to close, so that none of them is handed to a worker any more.
    closing: BTreeSet<TaskId>,
    workers: BTreeMap<WorkerId, RunningWorker>,
    /// The next worker's number; numbers are not used twice, but by a replacement.
    next_worker: u32,
    purge: BTreeMap<PartitionId, i64>,
    purged_at: Instant,
    is_stopping: bool,
    events: Vec<GroupEvent>,
    meters: AppMeters,
}

impl Control {
    pub(crate) fn new(setup: ControlSetup) -> Self {
        let purged_at = setup.parts.clock.instant();
        let meters = AppMeters::new(&setup.parts.environment.metrics, &setup.parts.config);
        Self {
            setup,
            hands: BTreeMap::new(),
            closing: BTreeSet::new(),
            workers: BTreeMap::new(),
            next_worker: 0,
            purge: BTreeMap::new(),
            purged_at,
            is_stopping: false,
            events: Vec::new(),
            meters,
        }
    }

    /// Starts one more worker.
    pub(crate) fn add_worker(&mut self) -> Result<()> {
        let id = WorkerId(self.next_worker);
        self.next_worker += 1;
        self.start_worker(id)
    }

    fn start_worker(&mut self, id: WorkerId) -> Result<()> {
        let (mailbox, join) = (self.setup.start_worker)(id)?;
        self.workers.insert(id, RunningWorker { mailbox, join, is_leaving: false });
        Ok(())
    }

    /// Ends what runs already, when the start has failed.
    pub(crate) fn give_up(mut self) {
        for (_, worker) in std::mem::take(&mut self.workers) {
            worker.mailbox.send(Command::Stop);
            (worker.join)();
        }
        self.end();
    }

    /// Turns until the application has ended.
    pub(crate) fn run(mut self) {
        let turned = catch_unwind(AssertUnwindSafe(|| {
            while !self.turn() {
                self.setup.membership.wait(POLL_INTERVAL);
            }
        }));
        match turned {
            Ok(()) => self.finish(),
            Err(panic) => self.break_off(&*panic),
        }
    }

    /// Closes what still runs when this itself has gone wrong: whoever waits for the end hears of
    /// it.
    fn break_off(self, panic: &(dyn Any + Send)) {
        let lifecycle = Arc::clone(&self.setup.lifecycle);
        let error = failure::panicked(ErrorKind::Bug, "the control plane", panic);
        tracing::error!(error = %error.without_content(), "the application stops");
        lifecycle.fail_with(error);
        lifecycle.enter(AppState::Closing);
        if catch_unwind(AssertUnwindSafe(|| self.give_up())).is_err() {
            tracing::error!("not all that ran could be closed");
        }
        lifecycle.enter(AppState::Failed);
    }

    /// What comes after the last turn.
    pub(crate) fn finish(self) {
        let lifecycle = Arc::clone(&self.setup.lifecycle);
        self.end();
        let has_failed = lifecycle.error().is_some();
        lifecycle.enter(if has_failed { AppState::Failed } else { AppState::Closed });
    }

    /// Ends what still runs when the workers are gone, and drops what they shared.
    fn end(self) {
        let ControlSetup { restorer, join_restorer, mut membership, .. } = self.setup;
        restorer.send(RestoreCommand::Stop);
        membership.leave();
        drop(membership);
        join_restorer();
    }

    /// One turn; true once everything is closed.
    pub(crate) fn turn(&mut self) -> bool {
        if self.setup.lifecycle.state() == AppState::Created {
            self.setup.lifecycle.enter(AppState::Rebalancing);
        }
        self.take_group_events();
        let membership = &self.setup.membership;
        let view = MemberView { token: membership.token(), lease: Some(membership.lease()) };
        *self.setup.parts.member.lock().expect("no panic while held") = view;
        while let Ok(message) = self.setup.inbox.try_recv() {
            match message {
                Message::Report(report) => self.take_report(report),
                Message::Request(request) => self.take_request(request),
            }
        }
        self.purge_committed();
        self.update_state();
        self.is_stopping && self.workers.is_empty() && self.hands.is_empty()
    }

    fn take_group_events(&mut self) {
        let mut events = std::mem::take(&mut self.events);
        let now = self.setup.parts.clock.instant();
        self.setup.membership.poll(now, &mut events);
        for event in events.drain(..) {
            self.note(&event);
            if let GroupEvent::Failed(why) = &event {
                let message = format!("the group membership has ended: {why}");
                self.fail(Error::new(ErrorKind::Fatal, message));
            }
            self.obey_after(None, |rebalance, commands| rebalance.on_event(&event, commands));
        }
        self.events = events;
    }

    fn note(&self, event: &GroupEvent) {
        let (change, partitions) = match event {
            GroupEvent::Assigned(partitions) => ("assigned", partitions),
            GroupEvent::Revoking(partitions) => ("revoking", partitions),
            GroupEvent::Lost(partitions) => ("lost", partitions),
            GroupEvent::Failed(_) => return,
        };
        self.meters.rebalances.increment(1);
        let ids = self.setup.parts.environment.catalog.ids();
        let partitions: Vec<String> =
            partitions.iter().map(|partition| ids.name(*partition).to_string()).collect();
        tracing::info!(change, ?partitions, "rebalance");
    }

    /// Lets the rebalance decide, then does what it says. `spare` is the state of a task that has
    /// just been closed: it is opened again with it, or its files are closed.
    fn obey_after(
        &mut self,
        spare: Option<(TaskId, Box<dyn Backend>)>,
        decide: impl FnOnce(&mut Rebalance, &mut Vec<TaskCommand>),
    ) {
        let mut commands = Vec::new();
        decide(&mut self.setup.rebalance, &mut commands);
        self.obey_all(spare, commands, true);
    }

    /// `is_anew` is false for a task that ended by itself, and goes on without a word of the group.
    fn obey_all(
        &mut self,
        mut spare: Option<(TaskId, Box<dyn Backend>)>,
        commands: Vec<TaskCommand>,
        is_anew: bool,
    ) {
        // A restart comes right behind its closing, and must find the files.
        for command in &commands {
            if let TaskCommand::Start(task) = command {
                let backend = spare.take_if(|(closed, _)| closed == task).map(|(_, held)| held);
                self.open(*task, backend, is_anew);
            }
        }
        if let Some((task, backend)) = spare {
            self.setup.restorer.send(RestoreCommand::Close { task, backend });
        }
        for command in commands {
            self.obey(command);
        }
    }

    fn open(&mut self, task: TaskId, backend: Option<Box<dyn Backend>>, is_anew: bool) {
        let owned_since = is_anew.then(|| self.setup.parts.clock.instant());
        let before = self.hands.insert(task, Hand::Restorer);
        assert!(before.is_none(), "a task is opened only where it is in no hand");
        self.setup.restorer.send(RestoreCommand::Open { task, backend, owned_since });
    }

    fn obey(&mut self, command: TaskCommand) {
        match command {
            TaskCommand::Start(_) => {}
            TaskCommand::Close(task) => self.close_task(task, Command::Close(task)),
            TaskCommand::Abandon(task) => self.close_task(task, Command::Abandon(task)),
            TaskCommand::GiveUp(partition) => self.setup.membership.give_up(&[partition]),
            TaskCommand::NoTask(partition) => {
                let name = self.setup.parts.environment.catalog.ids().name(partition);
                let message = format!(
                    "the group assigned `{name}`, which had no task at the start; its topic has \
                     grown: start the application anew"
                );
                self.fail(Error::new(ErrorKind::Fatal, message));
            }
        }
    }

    fn close_task(&mut self, task: TaskId, command: Command) {
        self.closing.insert(task);
        match self.hands.get(&task) {
            Some(Hand::Restorer) => self.setup.restorer.send(RestoreCommand::Cancel(task)),
            Some(Hand::Worker(worker)) => self.tell(*worker, command),
            None => {}
        }
    }

    fn tell(&self, worker: WorkerId, command: Command) {
        if let Some(worker) = self.workers.get(&worker) {
            worker.mailbox.send(command);
        }
    }

    fn take_report(&mut self, report: Report) {
        match report {
            Report::Opened(opened) => self.hand_on(opened),
            Report::OpenFailed { task, error } => {
                self.fail(error);
                self.closed(task, None);
            }
            Report::Closed { task, backend } | Report::Lost { task, backend, .. } => {
                self.closed(task, backend);
            }
            Report::Committed(offsets) => self.note_committed(offsets),
            Report::CloseAsked => self.fail(Error::new(
                ErrorKind::Fatal,
                "another process of the application has failed and closes all of them",
            )),
            Report::Failed { worker, error } => self.worker_failed(worker, error),
            Report::RestorerFailed(error) => {
                self.fail(error);
                self.let_go(Hand::Restorer);
            }
            Report::Stopped(worker) => self.join(worker),
        }
    }

    /// Hands a restored task to its worker, unless it was told to close meanwhile.
    fn hand_on(&mut self, opened: Box<OpenedTask>) {
        let task = opened.id;
        let worker = self.place_for(task);
        match worker.filter(|_| !self.closing.contains(&task)) {
            Some(worker) => {
                self.hands.insert(task, Hand::Worker(worker));
                self.tell(worker, Command::Start(opened));
            }
            None => self.closed(task, Some(opened.backend)),
        }
    }

    /// A task is in no one's hands any more.
    fn closed(&mut self, task: TaskId, backend: Option<Box<dyn Backend>>) {
        self.closing.remove(&task);
        if self.hands.remove(&task).is_none() {
            return;
        }
        let mut commands = Vec::new();
        let rebalance = &mut self.setup.rebalance;
        rebalance.closed(task, &mut commands);
        // One that ended by itself is ours still; one that was closed is decided on already.
        let has_ended_by_itself = commands.is_empty();
        if has_ended_by_itself {
            rebalance.restart(task, &mut commands);
        }
        self.obey_all(backend.map(|backend| (task, backend)), commands, !has_ended_by_itself);
    }

    /// Where a task is to run, with all the others staying where they are.
    fn place_for(&self, task: TaskId) -> Option<WorkerId> {
        self.places(Some(task)).remove(&task)
    }

    fn places(&self, newcomer: Option<TaskId>) -> BTreeMap<TaskId, WorkerId> {
        let environment = &self.setup.parts.environment;
        let is_stateful = |task| !environment.part(task).stores.is_empty();
        let running = self.hands.iter().filter_map(|(task, hand)| match hand {
            Hand::Worker(worker) => Some((*task, Some(*worker))),
            Hand::Restorer => None,
        });
        let newcomer = newcomer.into_iter().map(|task| (task, None));
        let tasks: Vec<_> = running
            .chain(newcomer)
            .map(|(task, current)| TaskPlace { task, is_stateful: is_stateful(task), current })
            .collect();
        let staying = self.workers.iter().filter(|(_, worker)| !worker.is_leaving);
        let workers: Vec<_> = staying.map(|(id, _)| *id).collect();
        place(&tasks, &workers)
    }

    fn take_request(&mut self, request: Request) {
        match request {
            Request::Close => self.stop(),
            Request::AddWorker => match self.add_worker() {
                Ok(()) => self.move_tasks(),
                Err(error) => self.fail(error),
            },
            Request::RemoveWorker => self.remove_worker(),
        }
    }

    /// Moves tasks to the workers on which they would be placed now.
    fn move_tasks(&mut self) {
        for (task, worker) in self.places(None) {
            if self.hands.get(&task) != Some(&Hand::Worker(worker)) {
                self.obey_after(None, |rebalance, commands| rebalance.restart(task, commands));
            }
        }
    }

    fn remove_worker(&mut self) {
        let mut staying = self.workers.iter_mut().filter(|(_, worker)| !worker.is_leaving);
        let last = staying.next_back();
        if staying.next().is_none() {
            tracing::warn!("the last worker stays; close the application to end it");
            return;
        }
        if let Some((_, worker)) = last {
            worker.is_leaving = true;
            worker.mailbox.send(Command::Stop);
        }
    }

    fn worker_failed(&mut self, worker: WorkerId, error: Error) {
        self.meters.worker_failures.increment(1);
        tracing::error!(worker = worker.0, error = %error.without_content(), "a worker has failed");
        self.join(worker);
        let action = failure::decide(&self.setup.on_failure, &error);
        let replaced = match action {
            _ if self.is_stopping => Ok(()),
            FailureAction::ReplaceWorker => self.start_worker(worker),
            FailureAction::Close => Err(error),
            FailureAction::CloseAll => {
                self.setup.restorer.send(RestoreCommand::CloseAll);
                Err(error)
            }
        };
        if let Err(error) = replaced {
            self.fail(error);
        }
        // What was handed to it and crossed its end has died with its mailbox.
        self.let_go(Hand::Worker(worker));
    }

    /// Closes the tasks that were in a hand which is gone.
    fn let_go(&mut self, hand: Hand) {
        let held = self.hands.iter().filter(|(_, other)| **other == hand);
        for task in held.map(|(task, _)| *task).collect::<Vec<_>>() {
            self.closed(task, None);
        }
    }

    fn join(&mut self, worker: WorkerId) {
        if let Some(worker) = self.workers.remove(&worker) {
            (worker.join)();
        }
    }

    fn fail(&mut self, error: Error) {
        tracing::error!(error = %error.without_content(), "the application stops");
        self.setup.lifecycle.fail_with(error);
        self.stop();
    }

    fn stop(&mut self) {
        if self.is_stopping {
            return;
        }
        self.is_stopping = true;
        self.setup.lifecycle.enter(AppState::Closing);
        self.obey_after(None, Rebalance::stop);
        for worker in self.workers.values_mut() {
            worker.is_leaving = true;
            worker.mailbox.send(Command::Stop);
        }
    }

    fn note_committed(&mut self, offsets: Vec<(PartitionId, i64)>) {
        let environment = &self.setup.parts.environment;
        for (partition, offset) in offsets {
            let name = environment.catalog.ids().name(partition);
            if environment.is_repartition(&name.topic) {
                self.purge.insert(partition, offset);
            }
        }
    }

    /// Gives up repartition records that every reader has committed beyond.
    fn purge_committed(&mut self) {
        let now = self.setup.parts.clock.instant();
        if !self.purge.is_empty() && now.since(self.purged_at) >= PURGE_INTERVAL {
            self.purged_at = now;
            let purge = std::mem::take(&mut self.purge).into_iter().collect();
            self.setup.restorer.send(RestoreCommand::Purge(purge));
        }
    }

    fn update_state(&mut self) {
        let is_running = |hand: &&Hand| matches!(hand, Hand::Worker(_));
        let running = self.hands.values().filter(is_running).count();
        self.meters.tasks(self.hands.len() - running, running);
        let Parts { directory, clock, .. } = &self.setup.parts;
        self.meters.disk_cache(|| directory.disk_cache_bytes(), clock.instant());
        if self.is_stopping {
            return;
        }
        let is_running = self.hands.values().all(|hand| matches!(hand, Hand::Worker(_)));
        // A member may have a name of its own before the group has heard of it.
        let has_joined = self.setup.membership.token().generation > 0;
        let state =
            if is_running && has_joined { AppState::Running } else { AppState::Rebalancing };
        if self.setup.lifecycle.state() != state {
            self.setup.lifecycle.enter(state);
        }
    }
}
