//! One process of an application without its threads: a restorer and workers, turned by hand.
//!
//! Tests and simulations drive it from one thread; `app` spreads the same parts over threads.

use std::sync::{Arc, Mutex};

use crossbeam_channel::{Receiver, Sender, unbounded};

use crate::config::Config;
use crate::dsl::Topology;
use crate::error::{Error, Result};
use crate::group::WorkerId;
use crate::log::{ClientConfig, Isolation, Log};
use crate::runtime::command::{Command, MemberView, Report, ReportTo};
use crate::runtime::fencing::TakenIds;
use crate::runtime::restorer::{RestoreCommand, Restorer, RestorerSetup};
use crate::runtime::worker::{Next, Worker, WorkerSetup};
use crate::state::StateDirectory;
use crate::task::environment::TaskEnvironment;
use crate::time::Clock;
use crate::topology::TaskId;

/// What the parts of one process share.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) config: Arc<Config>,
    pub(crate) topology: Topology,
    pub(crate) environment: Arc<TaskEnvironment>,
    pub(crate) directory: Arc<StateDirectory>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) member: Arc<Mutex<MemberView>>,
    pub(crate) taken_ids: TakenIds,
}

impl Parts {
    /// A worker; made on the thread that will turn it.
    ///
    /// # Errors
    ///
    /// The log refuses the client.
    pub(crate) fn worker(
        &self,
        id: WorkerId,
        commands: Receiver<Command>,
        reports: ReportTo,
    ) -> Result<Worker> {
        let transactional_id = self.config.is_exactly_once().then(|| self.transactional_id(id));
        let client = self.log.client(self.client_config(
            format!("{}-worker-{}", self.config.application_id, id.0),
            transactional_id.as_deref().map(str::to_owned),
        ));
        let client = client.map_err(|error| {
            let message = "a worker cannot connect to the log";
            Error::new(crate::error::ErrorKind::Fatal, message).caused_by(error)
        })?;
        if let Some(taken) = &transactional_id {
            self.taken_ids.lock().expect("no panic while held").insert(Arc::clone(taken));
        }
        let setup = WorkerSetup {
            id,
            transactional_id,
            config: Arc::clone(&self.config),
            topology: self.topology.clone(),
            environment: Arc::clone(&self.environment),
            clock: Arc::clone(&self.clock),
            member: Arc::clone(&self.member),
            commands,
            reports,
        };
        Ok(Worker::new(setup, client))
    }

    /// The restorer; made on the thread that will turn it.
    ///
    /// # Errors
    ///
    /// The log refuses the client.
    pub(crate) fn restorer(
        &self,
        commands: Receiver<RestoreCommand>,
        reports: ReportTo,
    ) -> Result<Restorer> {
        let name = format!("{}-restorer", self.config.application_id);
        let client = self.log.client(self.client_config(name, None)).map_err(|error| {
            let message = "the restorer cannot connect to the log";
            Error::new(crate::error::ErrorKind::Fatal, message).caused_by(error)
        })?;
        let setup = RestorerSetup {
            config: Arc::clone(&self.config),
            environment: Arc::clone(&self.environment),
            directory: Arc::clone(&self.directory),
            clock: Arc::clone(&self.clock),
            taken_ids: Arc::clone(&self.taken_ids),
            commands,
            reports,
        };
        Ok(Restorer::new(setup, client))
    }

    /// The id that fences this worker's own past after a restart of the process.
    fn transactional_id(&self, worker: WorkerId) -> Arc<str> {
        let (application, process) = (&self.config.application_id, self.directory.process_id());
        format!("{application}-{process}-{}", worker.0).into()
    }

    fn client_config(&self, client_id: String, transactional_id: Option<String>) -> ClientConfig {
        let isolation = if self.config.is_exactly_once() {
            Isolation::ReadCommitted
        } else {
            Isolation::ReadUncommitted
        };
        ClientConfig {
            client_id,
            isolation,
            transactional_id,
            transaction_timeout: self.config.transaction_timeout,
            group: self.config.application_id.clone(),
            fetch_bytes_max: self.config.fetch_bytes_max,
            batch_bytes_max: self.environment.batch_bytes_max(),
        }
    }
}

/// One worker and a restorer that run every task of an application, on the caller's thread.
pub(crate) struct Instance {
    worker: Worker,
    restorer: Restorer,
    to_worker: Sender<Command>,
    to_restorer: Sender<RestoreCommand>,
    reports: Receiver<Report>,
    /// Tasks that were asked for and do not run yet.
    opening: usize,
}

impl Instance {
    /// Opens these tasks; they run after enough turns.
    pub(crate) fn start(parts: &Parts, tasks: &[TaskId]) -> Result<Self> {
        let (sender, reports) = unbounded();
        let report_to = |sender: Sender<Report>| -> ReportTo {
            Box::new(move |report| drop(sender.send(report)))
        };
        let (to_worker, commands) = unbounded();
        let worker = parts.worker(WorkerId(0), commands, report_to(sender.clone()))?;
        let (to_restorer, commands) = unbounded();
        let restorer = parts.restorer(commands, report_to(sender))?;
        let owned_since = Some(parts.clock.instant());
        for task in tasks {
            let command = RestoreCommand::Open { task: *task, backend: None, owned_since };
            to_restorer.send(command).expect("the restorer is held here");
        }
        Ok(Self { worker, restorer, to_worker, to_restorer, reports, opening: tasks.len() })
    }

    /// Turns everything until nothing moves any more.
    pub(crate) fn run(&mut self) -> Result<()> {
        let mut quiet = 0;
        while quiet < 2 {
            let restoring = self.restorer.turn() == Next::Again;
            let reported = self.take_reports()?;
            let working = self.worker.turn()? == Next::Again;
            let waits = self.opening > 0 || !self.worker.is_idle();
            let moved = restoring || reported || working || waits;
            quiet = if moved { 0 } else { quiet + 1 };
        }
        Ok(())
    }

    /// Commits what has been processed, and runs until nothing moves any more.
    pub(crate) fn commit(&mut self) -> Result<()> {
        self.run()?;
        while self.worker.is_dirty() {
            self.to_worker.send(Command::Commit).expect("the worker is held here");
            self.run()?;
        }
        Ok(())
    }

    /// The running worker.
    pub(crate) fn worker(&self) -> &Worker {
        &self.worker
    }

    fn take_reports(&mut self) -> Result<bool> {
        let mut any = false;
        while let Ok(report) = self.reports.try_recv() {
            any = true;
            match report {
                Report::Opened(task) => {
                    self.opening -= 1;
                    self.to_worker.send(Command::Start(task)).expect("the worker is held here");
                }
                Report::Lost { task, backend } => {
                    self.opening += 1;
                    let command = RestoreCommand::Open { task, backend, owned_since: None };
                    self.to_restorer.send(command).expect("the restorer is held here");
                }
                Report::OpenFailed { error, .. }
                | Report::Failed { error, .. }
                | Report::RestorerFailed(error) => {
                    return Err(error);
                }
                Report::Closed { task, backend: Some(backend) } => {
                    let command = RestoreCommand::Close { task, backend };
                    self.to_restorer.send(command).expect("the restorer is held here");
                }
                Report::Closed { backend: None, .. } | Report::CloseAsked | Report::Stopped(_) => {}
                Report::Committed(offsets) => self.purge(offsets),
            }
        }
        Ok(any)
    }

    fn purge(&self, offsets: Vec<(crate::log::PartitionId, i64)>) {
        let environment = self.worker.environment();
        let ids = environment.catalog.ids();
        let purge: Vec<_> = offsets
            .into_iter()
            .filter(|(partition, _)| environment.is_repartition(&ids.name(*partition).topic))
            .collect();
        if !purge.is_empty() {
            let command = RestoreCommand::Purge(purge);
            self.to_restorer.send(command).expect("the restorer is held here");
        }
    }
}
