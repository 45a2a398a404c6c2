//! What does the user hold? The handle of a running application.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::config::Config;
use crate::dsl::Topology;
use crate::error::{Error, LogProblem, StartError};
use crate::group::Rebalance;
use crate::log::catalog::Catalog;
use crate::log::{Log, MembershipConfig};
use crate::metrics::{Metrics, SharedRecorder};
use crate::runtime::control::{Control, ControlSetup, Message, Request};
use crate::runtime::failure::{FailureAction, FailureHandler};
use crate::runtime::instance::Parts;
use crate::runtime::lifecycle::{AppState, Ended, Lifecycle, StateListener};
use crate::runtime::mailbox::Mailbox;
use crate::runtime::start::{self, Ready};
use crate::runtime::threads;
use crate::spawn::spawn_named;
use crate::state::StateDirectory;
use crate::task::environment::TaskEnvironment;
use crate::time::{Clock, SystemClock};
use crate::topology::Layout;

/// Collects the components of an application; see [`App::builder`].
#[must_use = "an application does nothing until it is started"]
pub struct AppBuilder {
    topology: Topology,
    config: Config,
    log: Option<Arc<dyn Log>>,
    clock: Arc<dyn Clock>,
    listener: Option<StateListener>,
    on_failure: FailureHandler,
    recorder: Option<SharedRecorder>,
}

impl fmt::Debug for AppBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppBuilder").field("config", &self.config).finish_non_exhaustive()
    }
}

impl AppBuilder {
    /// Where records come from and go to. Default: Kafka, at the brokers of the settings.
    pub fn log(mut self, log: impl Log) -> Self {
        self.log = Some(Arc::new(log));
        self
    }

    /// As [`log`](Self::log), for one that is used elsewhere as well.
    pub fn shared_log(mut self, log: Arc<dyn Log>) -> Self {
        self.log = Some(log);
        self
    }

    /// Where the application's metrics go: those of [`crate::metrics::ALL`]. Default: the recorder
    /// that the program has installed.
    pub fn recorder(mut self, recorder: impl ::metrics::Recorder + Send + Sync + 'static) -> Self {
        self.recorder = Some(Arc::new(recorder));
        self
    }

    /// Called at each change of state, on the application's control thread, before those who wait
    /// for the state go on. A panic of it is logged and changes nothing.
    pub fn on_state(
        mut self,
        listener: impl Fn(AppState, AppState) + Send + Sync + 'static,
    ) -> Self {
        self.listener = Some(Arc::new(listener));
        self
    }

    /// Decides what becomes of the application when a worker fails, by an error or by a panic of
    /// the pipeline. It is called on the control thread; if it panics itself, the application
    /// closes. Default: it closes.
    ///
    /// It is not asked about damaged local state: that is set aside, restored from the changelog,
    /// and a new worker goes on.
    #[doc(alias = "setUncaughtExceptionHandler")]
    pub fn on_failure(
        mut self,
        handler: impl Fn(&Error) -> FailureAction + Send + Sync + 'static,
    ) -> Self {
        self.on_failure = Arc::new(handler);
        self
    }

    /// Checks everything, creates internal topics, joins the group, and starts the workers.
    ///
    /// Returns as soon as the application has joined; [`App::wait_until_running`] waits for its
    /// tasks.
    ///
    /// # Errors
    ///
    /// Every problem that could be found in one go, each with what to do about it. Nothing runs
    /// then, and nothing was created.
    pub fn start(self) -> Result<App, StartError> {
        let log = match self.log {
            Some(log) => log,
            None => connect(&self.config)?,
        };
        let Ready { layout, directory } =
            start::prepare(&self.topology, &self.config, &*log.admin())?;
        let config = Arc::new(self.config);
        let application = config.application_id.as_str();
        tracing::info!(application, tasks = layout.task_ids().len(), "application starts");
        let metrics = Metrics::new(application, self.recorder);
        let topology = self.topology;
        let parts = parts(Arc::clone(&config), topology, directory, log, self.clock, metrics);
        let rebalance = Rebalance::of_layout(&layout, parts.log.partitions());
        let membership = parts.log.join(membership_config(&config, &layout));
        let membership = membership.map_err(|error| {
            let what = format!("join group `{}`", config.application_id);
            let right = format!("`--operation Read --group {}`", config.application_id);
            StartError::of(LogProblem::of(error, what, &config.brokers).wanting(right))
        })?;
        let lifecycle = Arc::new(Lifecycle::new(self.listener));
        let (own, inbox) = Mailbox::new();
        own.wake_with(membership.waker());
        let (restorer, join_restorer) =
            threads::start_restorer(&parts, &own).map_err(StartError::of)?;
        let start_worker = {
            let (parts, own) = (parts.clone(), own.clone());
            move |id| threads::start_worker(&parts, id, &own)
        };
        let mut control = Control::new(ControlSetup {
            parts,
            membership,
            rebalance,
            restorer,
            join_restorer,
            inbox,
            start_worker: Box::new(start_worker),
            lifecycle: Arc::clone(&lifecycle),
            on_failure: self.on_failure,
        });
        for _ in 0..worker_count(&config, &layout) {
            if let Err(error) = control.add_worker() {
                control.give_up();
                return Err(StartError::of(error));
            }
        }
        // Nobody joins it: the end is its last word, and all other threads are gone by then.
        drop(spawn_named("millstream-control".to_owned(), move || control.run()));
        Ok(App { lifecycle, own })
    }
}

#[cfg(feature = "kafka")]
fn connect(config: &Config) -> Result<Arc<dyn Log>, StartError> {
    let log = crate::kafka::KafkaLog::connect(config).map_err(StartError::of)?;
    Ok(Arc::new(log))
}

#[cfg(not(feature = "kafka"))]
fn connect(_config: &Config) -> Result<Arc<dyn Log>, StartError> {
    let problem = "no log was given and feature `kafka` is off; give one with `AppBuilder::log`";
    Err(StartError::of(problem))
}

pub(super) fn parts(
    config: Arc<Config>,
    topology: Topology,
    directory: StateDirectory,
    log: Arc<dyn Log>,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
) -> Parts {
    let catalog = Arc::new(Catalog::new(log.partitions().clone(), log.admin()));
    metrics.describe();
    let environment = TaskEnvironment::new(&config, topology.plan(), catalog);
    let environment = Arc::new(environment.with_metrics(metrics));
    let (directory, member) = (Arc::new(directory), Arc::default());
    let taken_ids = Arc::default();
    Parts { config, topology, environment, directory, clock, log, member, taken_ids }
}

pub(crate) fn membership_config(config: &Config, layout: &Layout) -> MembershipConfig {
    MembershipConfig {
        group: config.application_id.clone(),
        instance_id: config.instance_id.clone(),
        topics: layout.leading_topics().iter().map(ToString::to_string).collect(),
        session_timeout: config.session_timeout,
        heartbeat_interval: config.heartbeat_interval,
        rebalance_timeout: config.rebalance_timeout,
        protocol: config.group_protocol,
    }
}

fn worker_count(config: &Config, layout: &Layout) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    config.workers.unwrap_or_else(cores).min(layout.task_ids().len()).max(1)
}

/// A running application: one process's share of it.
///
/// The handle is usable from async code ([`ended`](Self::ended),
/// [`begin_close`](Self::begin_close)) and from sync code alike; neither needs a runtime.
///
/// When it has ended, none of its threads holds a store or a connection any more, and the process
/// may end. Dropping it closes the application without waiting: a process that ends meanwhile cuts
/// it off in the middle, as a crash would, so wait first by [`close`](Self::close) or `ended`.
pub struct App {
    lifecycle: Arc<Lifecycle>,
    own: Mailbox<Message>,
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").field("state", &self.state()).finish_non_exhaustive()
    }
}

impl App {
    /// Begins an application that runs this topology under these settings.
    #[doc(alias = "KafkaStreams")]
    pub fn builder(topology: &Topology, config: Config) -> AppBuilder {
        AppBuilder {
            topology: topology.clone(),
            config,
            log: None,
            clock: Arc::new(SystemClock::default()),
            listener: None,
            on_failure: Arc::new(|_| FailureAction::Close),
            recorder: None,
        }
    }

    /// In which state it is.
    pub fn state(&self) -> AppState {
        self.lifecycle.state()
    }

    /// The error that stopped it, if one did.
    pub fn error(&self) -> Option<Arc<Error>> {
        self.lifecycle.error()
    }

    /// Waits on this thread until every task of this process runs; false after the timeout, or if
    /// the application has ended.
    pub fn wait_until_running(&self, at_most: Duration) -> bool {
        let is_settled = |state: AppState| state == AppState::Running || state.is_terminal();
        self.lifecycle.wait_until(is_settled, at_most) && self.state() == AppState::Running
    }

    /// Ends when the application has ended, be it closed or failed: nothing of it runs any more.
    pub fn ended(&self) -> Ended {
        Ended(Arc::clone(&self.lifecycle))
    }

    /// Starts one more worker; tasks move to it without a rebalance of the group.
    #[doc(alias = "addStreamThread")]
    pub fn add_worker(&self) {
        self.own.send(Message::Request(Request::AddWorker));
    }

    /// Ends one worker; its tasks commit and move to the others. The last one stays.
    #[doc(alias = "removeStreamThread")]
    pub fn remove_worker(&self) {
        self.own.send(Message::Request(Request::RemoveWorker));
    }

    /// Begins to commit and close every task and to leave the group. What it returns ends with the
    /// application; it need not be awaited.
    pub fn begin_close(&self) -> Ended {
        self.own.send(Message::Request(Request::Close));
        self.ended()
    }

    /// Commits and closes every task, leaves the group, and waits for it on this thread; false
    /// after the timeout, while closing goes on. Async code has [`begin_close`](Self::begin_close).
    pub fn close(&self, at_most: Duration) -> bool {
        drop(self.begin_close());
        self.lifecycle.wait_until(AppState::is_terminal, at_most)
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.own.send(Message::Request(Request::Close));
    }
}
