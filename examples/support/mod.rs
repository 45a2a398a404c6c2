//! What the examples share: their arguments, the log they run on, typed writing and reading.
//!
//! It is no part of the lesson. An application of your own reads what others write and writes what
//! others read; an example has to be those others as well, on the in-process log and on Kafka.

#![allow(dead_code, unused_imports, reason = "each example uses a part of it")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use millstream::log::memory::MemoryLog;
use millstream::log::{ClientConfig, Isolation, Log, NewTopic};
use millstream::time::{Clock, Instant, SystemClock};
use millstream::{BoxError, Config, ConfigBuilder};

mod random;
mod reader;
mod writer;

pub(crate) use random::Random;
pub(crate) use reader::Reader;
pub(crate) use writer::Writer;

/// How many partitions the examples give their topics.
pub(crate) const PARTITIONS: u32 = 4;

/// What can be said on the command line of an example.
#[derive(Default)]
pub(crate) struct Arguments {
    /// `--brokers HOST:PORT`: run on Kafka. Default: the in-process log.
    pub(crate) brokers: Option<String>,
    /// `--state DIR`: where state lies. Default: in-process, a temporary directory; on Kafka, that
    /// of `Config`.
    pub(crate) state: Option<PathBuf>,
    /// `--seconds N`: how long events come, where an example makes them at a steady rate.
    pub(crate) seconds: Option<u64>,
}

impl Arguments {
    /// Reads the command line.
    pub(crate) fn parse() -> Result<Self, BoxError> {
        let mut parsed = Self::default();
        let mut words = std::env::args().skip(1);
        while let Some(name) = words.next() {
            match (name.as_str(), words.next()) {
                ("--brokers", Some(brokers)) => parsed.brokers = Some(brokers),
                ("--state", Some(state)) => parsed.state = Some(state.into()),
                ("--seconds", Some(seconds)) => parsed.seconds = Some(seconds.parse()?),
                _ => return Err("usage: [--brokers HOST:PORT] [--state DIR] [--seconds N]".into()),
            }
        }
        Ok(parsed)
    }

    /// Begins the settings of an application on these brokers.
    pub(crate) fn config(&self, application_id: &str) -> ConfigBuilder {
        Config::builder(application_id, self.brokers.as_deref().unwrap_or("in-process"))
    }
}

/// Runs an example, and says why if it fails.
pub(crate) fn exit_of(run: fn(&Arguments) -> Result<(), BoxError>) -> ExitCode {
    match Arguments::parse().and_then(|arguments| run(&arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// The log that an example runs on, and the settings of its application.
pub(crate) struct Place {
    /// Where records come from and go to.
    pub(crate) log: Arc<dyn Log>,
    /// The settings, with a state directory that suits the log.
    pub(crate) config: Config,
    temporary: Option<PathBuf>,
}

impl Place {
    /// Connects to the brokers of the command line, or makes an in-process log.
    pub(crate) fn open(config: ConfigBuilder, arguments: &Arguments) -> Result<Self, BoxError> {
        // The in-process log ends with the process, and so must the state that belongs to it.
        let temporary = std::env::temp_dir().join(format!("millstream-{}", std::process::id()));
        let is_kafka = arguments.brokers.is_some();
        let (config, temporary) = match &arguments.state {
            Some(state) => (config.state_dir(state), None),
            None if is_kafka => (config, None),
            None => (config.state_dir(&temporary), Some(temporary)),
        };
        let config = config.build()?;
        let log = if is_kafka { connect(&config)? } else { Arc::new(MemoryLog::new()) };
        Ok(Self { log, config, temporary })
    }

    /// Creates the topics that are not there yet.
    pub(crate) fn create_topics(&self, names: &[&str]) -> Result<(), BoxError> {
        let topic = |name: &&str| NewTopic {
            name: (*name).to_owned(),
            partitions: PARTITIONS,
            replication: None,
            configs: Vec::new(),
        };
        let topics: Vec<NewTopic> = names.iter().map(topic).collect();
        Ok(self.log.admin().create_topics(&topics)?)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(directory) = &self.temporary {
            // Nothing was written if the application never started.
            drop(std::fs::remove_dir_all(directory));
        }
    }
}

#[cfg(feature = "kafka")]
fn connect(config: &Config) -> Result<Arc<dyn Log>, BoxError> {
    Ok(Arc::new(millstream::kafka::KafkaLog::connect(config)?))
}

#[cfg(not(feature = "kafka"))]
fn connect(_config: &Config) -> Result<Arc<dyn Log>, BoxError> {
    Err("`--brokers` needs feature `kafka`: leave out `--no-default-features`".into())
}

/// How long ago something began.
pub(crate) struct Stopwatch {
    clock: SystemClock,
    begun: Instant,
}

impl Stopwatch {
    /// Begins to measure.
    pub(crate) fn start() -> Self {
        let clock = SystemClock::default();
        let begun = clock.instant();
        Self { clock, begun }
    }

    /// The time since the start.
    pub(crate) fn elapsed(&self) -> Duration {
        self.clock.instant().since(self.begun)
    }
}

/// A client that neither belongs to a group nor writes in transactions.
fn client_config(client_id: &str) -> ClientConfig {
    ClientConfig {
        client_id: client_id.to_owned(),
        isolation: Isolation::ReadCommitted,
        transactional_id: None,
        transaction_timeout: Duration::from_secs(10),
        group: client_id.to_owned(),
        fetch_bytes_max: 4 * 1024 * 1024,
        batch_bytes_max: 1024 * 1024,
    }
}
