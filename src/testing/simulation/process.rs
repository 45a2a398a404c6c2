//! What is a simulated process? The production parts of an application, turned by hand.
//!
//! Control plane, restorer and workers are those that `App` spreads over threads; here each takes
//! its turn when the simulation says so. A panic of user code ends a worker, as it does there.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use crossbeam_channel::Receiver;

use super::port::{FaultyLog, Killed};
use crate::config::Config;
use crate::dsl::Topology;
use crate::error::{BoxError, Error, ErrorKind};
use crate::group::{Rebalance, WorkerId};
use crate::log::Log;
use crate::log::catalog::Catalog;
use crate::runtime::app::membership_config;
use crate::runtime::command::{Command, Report};
use crate::runtime::control::{Control, ControlSetup, Join, Message, Request};
use crate::runtime::failure::FailureAction;
use crate::runtime::failure::said;
use crate::runtime::instance::Parts;
use crate::runtime::lifecycle::Lifecycle;
use crate::runtime::mailbox::Mailbox;
use crate::runtime::restorer::Restorer;
use crate::runtime::start::prepare_topics;
use crate::runtime::worker::{Next, Worker};
use crate::state::StateDirectory;
use crate::task::environment::TaskEnvironment;
use crate::time::Clock;
use crate::topology::TaskId;

/// Workers that the control plane has asked for and that are not made yet.
type Starting = Arc<Mutex<Vec<(WorkerId, Receiver<Command>)>>>;

/// One process of the application.
pub(super) struct Process {
    parts: Parts,
    control: Option<Control>,
    restorer: Restorer,
    workers: BTreeMap<WorkerId, Worker>,
    starting: Starting,
    own: Mailbox<Message>,
    lifecycle: Arc<Lifecycle>,
    /// What the control plane or the restorer panicked with.
    panicked: Option<String>,
}

/// What a process is started with.
pub(super) struct ProcessSetup {
    pub(super) config: Arc<Config>,
    pub(super) topology: Topology,
    pub(super) directory: Arc<StateDirectory>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) log: FaultyLog,
    pub(super) workers: usize,
}

/// How a turn of one part ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Turned {
    Busy,
    /// Something is under way, and nothing to be done for it now.
    Waiting,
    Idle,
    /// The process has closed everything, or has failed.
    Ended,
    Killed,
    /// A part without which the process is nothing has panicked.
    Panicked,
}

/// Runs a part; `Err` if the process was killed in it, else what it panicked with.
fn guarded<R>(run: impl FnOnce() -> R) -> Result<Result<R, Box<dyn Any + Send>>, Killed> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(result) => Ok(Ok(result)),
        Err(payload) => match payload.downcast::<Killed>() {
            Ok(killed) => Err(*killed),
            Err(panic) => Ok(Err(panic)),
        },
    }
}

impl Process {
    /// Starts a process; `None` if it was killed on the way.
    pub(super) fn start(setup: ProcessSetup) -> Result<Option<Self>, BoxError> {
        match guarded(|| Self::assemble(setup)) {
            Ok(Ok(process)) => process.map(Some),
            Ok(Err(panic)) => Err(said(&*panic).into()),
            Err(Killed) => Ok(None),
        }
    }

    fn assemble(setup: ProcessSetup) -> Result<Self, BoxError> {
        let ProcessSetup { config, topology, directory, clock, log, workers } = setup;
        let log: Arc<dyn Log> = Arc::new(log);
        let layout = prepare_topics(&topology, &config, &*log.admin())?;
        let catalog = Arc::new(Catalog::new(log.partitions().clone(), log.admin()));
        let environment = Arc::new(TaskEnvironment::new(&config, topology.plan(), catalog));
        let (member, taken_ids) = (Arc::default(), Arc::default());
        let parts =
            Parts { config, topology, environment, directory, clock, log, member, taken_ids };
        let rebalance = Rebalance::of_layout(&layout, parts.log.partitions());
        let membership = parts.log.join(membership_config(&parts.config, &layout))?;
        let (own, inbox) = Mailbox::new();
        let (restorer, commands) = Mailbox::new();
        let reports = own.clone();
        let reports = Box::new(move |report| reports.send(Message::Report(report)));
        let running = parts.restorer(commands, reports)?;
        let starting = Starting::default();
        let to_start = Arc::clone(&starting);
        let start_worker = move |id| {
            let (mailbox, commands) = Mailbox::new();
            to_start.lock().expect("no panic while held").push((id, commands));
            Ok((mailbox, Box::new(|| ()) as Join))
        };
        let lifecycle = Arc::new(Lifecycle::new(None));
        let mut control = Control::new(ControlSetup {
            parts: parts.clone(),
            membership,
            rebalance,
            restorer,
            join_restorer: Box::new(|| ()),
            inbox,
            start_worker: Box::new(start_worker),
            lifecycle: Arc::clone(&lifecycle),
            on_failure: Arc::new(|_| FailureAction::ReplaceWorker),
        });
        for _ in 0..workers {
            control.add_worker()?;
        }
        let (control, workers) = (Some(control), BTreeMap::new());
        let panicked = None;
        Ok(Self { parts, control, restorer: running, workers, starting, own, lifecycle, panicked })
    }

    /// The tasks that run here.
    pub(super) fn tasks(&self) -> impl Iterator<Item = TaskId> {
        self.workers.values().flat_map(Worker::tasks).map(|task| task.id)
    }

    /// How many parts can be turned.
    pub(super) fn parts(&self) -> u64 {
        2 + self.workers.len() as u64
    }

    /// Turns one part.
    pub(super) fn turn(&mut self, part: u64) -> Turned {
        match part {
            0 => self.turn_control(),
            1 => self.turn_restorer(),
            _ => self.turn_worker(part as usize - 2),
        }
    }

    fn turn_control(&mut self) -> Turned {
        let Some(mut control) = self.control.take() else { return Turned::Ended };
        match guarded(|| control.turn()) {
            Ok(Ok(false)) => self.control = Some(control),
            Ok(Ok(true)) => {
                return match guarded(|| control.finish()) {
                    Err(Killed) => Turned::Killed,
                    Ok(_) => Turned::Ended,
                };
            }
            Ok(Err(panic)) => return self.panicked("control plane", &*panic),
            Err(Killed) => return Turned::Killed,
        }
        match guarded(|| self.make_workers()) {
            Err(Killed) => Turned::Killed,
            Ok(made) => {
                if made.expect("making a worker does not panic") {
                    Turned::Busy
                } else {
                    Turned::Idle
                }
            }
        }
    }

    fn panicked(&mut self, part: &str, panic: &(dyn Any + Send)) -> Turned {
        self.panicked = Some(format!("the {part} panicked: {}", said(panic)));
        Turned::Panicked
    }

    fn make_workers(&mut self) -> bool {
        let starting = std::mem::take(&mut *self.starting.lock().expect("no panic while held"));
        let any = !starting.is_empty();
        for (id, commands) in starting {
            let own = self.own.clone();
            let reports = Box::new(move |report| own.send(Message::Report(report)));
            match self.parts.worker(id, commands, reports) {
                Ok(worker) => drop(self.workers.insert(id, worker)),
                Err(error) => self.own.send(Message::Report(Report::Failed { worker: id, error })),
            }
        }
        any
    }

    fn turn_restorer(&mut self) -> Turned {
        match guarded(|| self.restorer.turn()) {
            Ok(Ok(Next::Again)) => Turned::Busy,
            Ok(Ok(_)) => Turned::Idle,
            Ok(Err(panic)) => self.panicked("restorer", &*panic),
            Err(Killed) => Turned::Killed,
        }
    }

    fn turn_worker(&mut self, index: usize) -> Turned {
        let Some(id) = self.workers.keys().nth(index).copied() else { return Turned::Idle };
        let mut worker = self.workers.remove(&id).expect("it is listed");
        let error = match guarded(|| worker.turn()) {
            Ok(Ok(Ok(Next::Again))) => {
                self.workers.insert(id, worker);
                return Turned::Busy;
            }
            Ok(Ok(Ok(Next::Wait(_)))) => {
                let is_quiet = worker.is_idle() && !worker.is_dirty();
                self.workers.insert(id, worker);
                return if is_quiet { Turned::Idle } else { Turned::Waiting };
            }
            Ok(Ok(Ok(Next::Stop))) => return Turned::Busy,
            Ok(Ok(Err(error))) => error,
            Ok(Err(panic)) => Error::new(ErrorKind::Panic, said(&*panic)),
            Err(Killed) => return Turned::Killed,
        };
        if guarded(|| worker.abandon_all()).is_err() {
            return Turned::Killed;
        }
        self.own.send(Message::Report(Report::Failed { worker: id, error }));
        Turned::Busy
    }

    /// Asks the process to close gracefully.
    pub(super) fn close(&self) {
        self.own.send(Message::Request(Request::Close));
    }

    /// What it panicked with.
    pub(super) fn panic(&self) -> Option<&str> {
        self.panicked.as_deref()
    }

    /// The error that ended it.
    pub(super) fn error(&self) -> Option<Arc<Error>> {
        self.lifecycle.error()
    }
}
