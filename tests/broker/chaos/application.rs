//! The process that is killed, stopped and started.
//!
//! It is this very test binary, started again to run one ignored test, with its settings in
//! variables of the environment. So there is no second program to build, and no test is linked
//! twice.

use std::path::PathBuf;
use std::process::Command;
use std::str::FromStr;
use std::time::Duration;

use millstream::log::GroupProtocol;
use millstream::{App, AppState, Config, DataPlane, Guarantee};
use signal_hook::consts::SIGTERM;
use signal_hook::iterator::Signals;

use super::lines::Lines;
use super::work::{self, Work};

/// How long a process may take to commit and close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(30);
/// What caches, write buffers and uncommitted changes of a process take together.
const MEMORY_BYTES: usize = 32 * 1024 * 1024;
/// What one fetch of a process takes.
const FETCH_BYTES_MAX: usize = 1024 * 1024;

/// What is wrong with an application, so that the checks can be seen to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mistake {
    None,
    /// One record has no effect.
    Loses,
    /// Offsets and results are not of one transaction, so that a crash repeats results.
    Doubles,
    /// Tallies die with the process that keeps them.
    Forgets,
}

/// With what a process is started.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) brokers: String,
    pub(crate) application: String,
    /// Stands in every result that the process writes.
    pub(crate) name: String,
    pub(crate) state_dir: PathBuf,
    /// What the results are checked against.
    pub(crate) guarantee: Guarantee,
    pub(crate) work: Work,
    pub(crate) mistake: Mistake,
    /// Whether a table stands beside the tallies that makes the state large.
    pub(crate) has_ballast: bool,
    pub(crate) protocol: GroupProtocol,
    pub(crate) instance: Option<String>,
    pub(crate) session_timeout: Duration,
    pub(crate) transaction_timeout: Duration,
}

impl Settings {
    /// The topic that the application reads.
    pub(crate) fn input(&self) -> String {
        format!("{}-numbers", self.application)
    }

    /// The topic that the application writes.
    pub(crate) fn output(&self) -> String {
        format!("{}-tallies", self.application)
    }

    /// The topic of the table that makes the state large.
    pub(crate) fn ballast(&self) -> String {
        format!("{}-ballast", self.application)
    }

    /// Hands the settings to a process that is about to be started.
    pub(crate) fn hand_to(&self, command: &mut Command) {
        let is_exactly_once = self.guarantee == Guarantee::ExactlyOnce;
        let mistake = format!("{:?}", self.mistake);
        command
            .env("CHAOS_BROKERS", &self.brokers)
            .env("CHAOS_APPLICATION", &self.application)
            .env("CHAOS_NAME", &self.name)
            .env("CHAOS_STATE_DIR", &self.state_dir)
            .env("CHAOS_EXACTLY_ONCE", is_exactly_once.to_string())
            .env("CHAOS_WORK", format!("{:?}", self.work))
            .env("CHAOS_MISTAKE", mistake)
            .env("CHAOS_BALLAST", self.has_ballast.to_string())
            .env(
                "CHAOS_COOPERATIVE",
                (self.protocol == GroupProtocol::CooperativeSticky).to_string(),
            )
            .env("CHAOS_INSTANCE", self.instance.as_deref().unwrap_or_default())
            .env("CHAOS_SESSION_MS", self.session_timeout.as_millis().to_string())
            .env("CHAOS_TRANSACTION_MS", self.transaction_timeout.as_millis().to_string());
    }

    fn of_environment() -> Self {
        let guarantee = if variable("CHAOS_EXACTLY_ONCE") {
            Guarantee::ExactlyOnce
        } else {
            Guarantee::AtLeastOnce
        };
        let protocol = if variable("CHAOS_COOPERATIVE") {
            GroupProtocol::CooperativeSticky
        } else {
            GroupProtocol::Consumer
        };
        let instance: String = variable("CHAOS_INSTANCE");
        Self {
            brokers: variable("CHAOS_BROKERS"),
            application: variable("CHAOS_APPLICATION"),
            name: variable("CHAOS_NAME"),
            state_dir: variable("CHAOS_STATE_DIR"),
            guarantee,
            work: variable("CHAOS_WORK"),
            mistake: variable("CHAOS_MISTAKE"),
            has_ballast: variable("CHAOS_BALLAST"),
            protocol,
            instance: Some(instance).filter(|instance| !instance.is_empty()),
            session_timeout: Duration::from_millis(variable("CHAOS_SESSION_MS")),
            transaction_timeout: Duration::from_millis(variable("CHAOS_TRANSACTION_MS")),
        }
    }

    fn config(&self) -> Config {
        let guarantee = match self.mistake {
            Mistake::Doubles => Guarantee::AtLeastOnce,
            _ => self.guarantee,
        };
        let builder = Config::builder(&self.application, &self.brokers)
            .state_dir(&self.state_dir)
            .guarantee(guarantee)
            .workers(2)
            .commit_interval(super::COMMIT_INTERVAL)
            .session_timeout(self.session_timeout)
            .heartbeat_interval(super::SESSION_TIMEOUT / 10)
            .transaction_timeout(self.transaction_timeout)
            .group_protocol(self.protocol)
            .data_plane(data_plane());
        // What the budget allows is taken sooner or later: a small one shows within minutes whether
        // a process levels off there.
        let builder = if self.has_ballast {
            builder
        } else {
            builder.memory_bytes(MEMORY_BYTES).fetch_bytes_max(FETCH_BYTES_MAX)
        };
        let builder = match &self.instance {
            Some(instance) => builder.instance_id(instance),
            None => builder,
        };
        builder.build().expect("valid settings")
    }
}

/// What reads and writes: `MILLSTREAM_DATA_PLANE` says `native` or `librdkafka`. Default: whatever
/// an application takes by itself.
fn data_plane() -> DataPlane {
    let Ok(name) = std::env::var("MILLSTREAM_DATA_PLANE") else { return DataPlane::default() };
    match &*name {
        "native" => DataPlane::Native,
        "librdkafka" => DataPlane::Librdkafka,
        other => panic!("there is no data plane `{other}`"),
    }
}

impl FromStr for Mistake {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let all = [Self::None, Self::Loses, Self::Doubles, Self::Forgets];
        all.into_iter().find(|mistake| format!("{mistake:?}") == text).ok_or(())
    }
}

fn variable<T: FromStr>(name: &str) -> T {
    let text = std::env::var(name).unwrap_or_else(|_| panic!("`{name}` is set by the tests"));
    text.parse().unwrap_or_else(|_| panic!("`{name}` is `{text}`"))
}

/// The process: runs until SIGTERM, or until the test that started it is gone.
pub(crate) fn run() {
    let settings = Settings::of_environment();
    let mut signals = Signals::new([SIGTERM]).expect("SIGTERM can be handled");
    tracing::subscriber::set_global_default(Lines).expect("it is set once");
    std::thread::spawn(end_with_parent);
    let builder =
        App::builder(&work::topology(&settings), settings.config()).on_state(|_, state| {
            if state == AppState::Failed {
                std::process::exit(2);
            }
        });
    let app = builder.start().expect("the application starts");
    signals.forever().next();
    assert!(app.close(CLOSE_TIMEOUT) && app.error().is_none(), "closing: {:?}", app.error());
}

/// The test holds the other end of standard input: it closes however the test ends.
fn end_with_parent() {
    let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
    std::process::exit(1);
}
