//! How is an application set up? Plain settings, validated together before anything runs.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{ConfigError, ConfigErrors};
use crate::log::GroupProtocol;
use crate::security::{Security, StateEncryption};

/// What a crash may do to results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Guarantee {
    /// Every record takes effect exactly once: outputs, state and offsets commit together.
    ///
    /// What the brokers say of a transaction has to be true. A Kafka broker 4.3.1 that died while a
    /// transaction was about to commit, and that starts while its partitions have no leader, takes
    /// them for deleted and ends the transaction without them. So partitions should be replicated:
    /// as long as others lead them, this cannot happen. Where it did, tasks wait, and tell of it;
    /// and an abort of the same producer's next transaction may take back what had committed.
    #[default]
    ExactlyOnce,
    /// No record is lost; after a crash some take effect again.
    ///
    /// Nothing fences a producer without transactions. So a process stops to write as soon as the
    /// group has not heard of it for a `session_timeout`, and what it has not had acknowledged by
    /// then is counted in `millstream_worker_late_sends_total`. Two gaps stay open in which it may
    /// write into a changelog that has a new owner, and take rows back: what lay in the client when
    /// the process was frozen (a few milliseconds' worth), and what is written between an expulsion
    /// for another reason than silence (an administrator's, a rebalance that took too long) and the
    /// next heartbeat. [`ExactlyOnce`](Self::ExactlyOnce) has neither.
    AtLeastOnce,
}

/// What happens to a record that cannot be decoded, processed or produced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ErrorPolicy {
    /// The application stops; the record is read again after a restart.
    #[default]
    Fail,
    /// The record is dropped and counted.
    Skip,
    /// The source record's original bytes go to this topic, with headers that say why, in the
    /// same transaction; then as `Skip`.
    DeadLetter(Arc<str>),
}

impl ErrorPolicy {
    /// Sends failed records to this topic.
    pub fn dead_letter(topic: impl Into<Arc<str>>) -> Self {
        Self::DeadLetter(topic.into())
    }
}

/// What a start does about state that was kept under names which the pipeline does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Orphans {
    /// It is refused with the list: a store that was renamed would silently begin empty. A topic
    /// that may be another application's is only logged: `orders-v2-totals-changelog` is a topic of
    /// `orders` or of `orders-v2`.
    #[default]
    Refuse,
    /// Topics stay as they are; local stores are dropped when their tasks open.
    Keep,
}

/// What reads and writes records where the log is Kafka. Membership of the group and administration
/// are librdkafka's in either case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum DataPlane {
    /// [`Native`](Self::Native) where it can do all that the settings ask for, else
    /// [`Librdkafka`](Self::Librdkafka), with a log line that says why.
    #[default]
    Auto,
    /// Kafka's protocol, spoken by the workers themselves: the fast one.
    Native,
    /// The C library, which knows every way to be secured, such as Kerberos.
    Librdkafka,
}

/// The settings of an application. Made by [`Config::builder`]; never changed after the start.
#[derive(Clone)]
#[non_exhaustive]
pub struct Config {
    /// Group id, prefix of internal topics and of transactional ids.
    pub application_id: String,
    /// Where the brokers are; unused by the in-process log.
    pub brokers: String,
    /// What a crash may do to results.
    pub guarantee: Guarantee,
    /// How often work is committed.
    pub commit_interval: Duration,
    /// Worker threads; `None` takes as many as there are cores, at most one per task.
    pub workers: Option<usize>,
    /// Where local state lies.
    pub state_dir: PathBuf,
    /// Bytes that caches, write buffers and uncommitted changes may take together.
    pub memory_bytes: Option<usize>,
    /// Bytes of uncommitted changes at which a commit is brought forward.
    pub uncommitted_bytes_max: usize,
    /// Fetched bytes per partition that may wait to be processed.
    pub fetch_bytes_max: usize,
    /// Records that a worker processes before it looks at commands, timers and commits again.
    pub records_per_turn: usize,
    /// How long a task waits for a partition that has run empty before it goes on without it.
    pub max_task_idle: Option<Duration>,
    /// What happens to records that cannot be decoded.
    pub on_decode_error: ErrorPolicy,
    /// What happens to records whose processing returns an error.
    pub on_process_error: ErrorPolicy,
    /// What happens to results that cannot be produced.
    pub on_produce_error: ErrorPolicy,
    /// How the group shares its tasks out.
    pub group_protocol: GroupProtocol,
    /// Keeps the process's tasks over a restart.
    pub instance_id: Option<String>,
    /// A process not heard of for that long loses its tasks.
    pub session_timeout: Duration,
    /// How often a process is heard of.
    pub heartbeat_interval: Duration,
    /// How long a task may take to commit and close when it moves.
    pub rebalance_timeout: Duration,
    /// How long a transaction may stay open.
    pub transaction_timeout: Duration,
    /// Copies of internal topics; `None` takes the cluster's default.
    pub replication: Option<u16>,
    /// How long windows are kept in changelogs beyond their retention.
    pub changelog_additional_retention: Duration,
    /// What becomes of state under names that the pipeline does not have.
    pub orphans: Orphans,
    /// What reads and writes records.
    pub data_plane: DataPlane,
    /// See [`ConfigBuilder::security`].
    pub security: Security,
    /// See [`ConfigBuilder::state_encryption`].
    pub state_encryption: Option<StateEncryption>,
    /// Properties handed through to the Kafka client.
    pub client_properties: BTreeMap<String, String>,
}

/// Collects settings; see [`Config::builder`].
#[derive(Clone, Debug)]
#[must_use = "settings do nothing until they are built"]
pub struct ConfigBuilder {
    config: Config,
    commit_interval: Option<Duration>,
}

impl Config {
    /// Begins with what has no default: the application's id and its brokers.
    ///
    /// ```
    /// use millstream::{Config, Guarantee};
    ///
    /// let config = Config::builder("word-count", "localhost:9092")
    ///     .guarantee(Guarantee::AtLeastOnce)
    ///     .build()?;
    /// assert_eq!(config.commit_interval.as_millis(), 1_000);
    /// # Ok::<(), millstream::ConfigErrors>(())
    /// ```
    pub fn builder(application_id: impl Into<String>, brokers: impl Into<String>) -> ConfigBuilder {
        let application_id = application_id.into();
        let config = Self {
            state_dir: default_state_dir(),
            application_id,
            brokers: brokers.into(),
            guarantee: Guarantee::default(),
            commit_interval: Duration::ZERO,
            workers: None,
            memory_bytes: None,
            uncommitted_bytes_max: 64 * 1024 * 1024,
            fetch_bytes_max: 1024 * 1024,
            records_per_turn: 4_096,
            max_task_idle: Some(Duration::ZERO),
            on_decode_error: ErrorPolicy::default(),
            on_process_error: ErrorPolicy::default(),
            on_produce_error: ErrorPolicy::default(),
            group_protocol: GroupProtocol::default(),
            instance_id: None,
            session_timeout: Duration::from_secs(45),
            heartbeat_interval: Duration::from_secs(3),
            rebalance_timeout: Duration::from_secs(300),
            transaction_timeout: Duration::from_secs(10),
            replication: None,
            changelog_additional_retention: Duration::from_secs(24 * 60 * 60),
            orphans: Orphans::default(),
            data_plane: DataPlane::default(),
            security: Security::default(),
            state_encryption: None,
            client_properties: BTreeMap::new(),
        };
        ConfigBuilder { config, commit_interval: None }
    }

    /// Whether effects are tied together by transactions.
    pub(crate) fn is_exactly_once(&self) -> bool {
        self.guarantee == Guarantee::ExactlyOnce
    }
}

fn default_state_dir() -> PathBuf {
    let home = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).or_else(|| {
        std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local").join("state"))
    });
    home.unwrap_or_else(|| PathBuf::from("/var/lib")).join("millstream")
}

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $type:ty = $value:expr;)*) => {$(
        $(#[$doc])*
        pub fn $name(mut self, $name: $type) -> Self {
            self.config.$name = $value;
            self
        }
    )*};
}

impl ConfigBuilder {
    setters! {
        /// What a crash may do to results. Default: exactly once. Kafka: `processing.guarantee`.
        guarantee: Guarantee = guarantee;
        /// Worker threads. Default: available cores, at most one per task. Kafka:
        /// `num.stream.threads`.
        workers: usize = Some(workers);
        /// Where local state lies; created with mode 0700.
        /// Default: `$XDG_STATE_HOME/millstream`, else `~/.local/state/millstream`. Kafka:
        /// `state.dir`.
        state_dir: impl Into<PathBuf> = state_dir.into();
        /// One budget for caches, write buffers and uncommitted changes, in bytes.
        /// Default: a quarter of what the control group or the machine allows.
        memory_bytes: usize = Some(memory_bytes);
        /// Bytes of uncommitted changes of the process at which a commit is brought forward: each
        /// worker commits at its part, and holds back at that when a commit is under way. At most
        /// a sixteenth of `memory_bytes`. Default: 64 MiB.
        /// Kafka: `statestore.uncommitted.max.bytes`.
        uncommitted_bytes_max: usize = uncommitted_bytes_max;
        /// Fetched bytes per partition that may wait to be processed. Default: 1 MiB.
        fetch_bytes_max: usize = fetch_bytes_max;
        /// Records a worker processes before it looks at anything else. Default: 4096.
        records_per_turn: usize = records_per_turn;
        /// How long a task waits for an input partition that has run empty, so that it can
        /// process in the order of timestamps; `None` never waits. Default: zero, which waits
        /// only while the log is known to hold more. Kafka: `max.task.idle.ms`.
        max_task_idle: Option<Duration> = max_task_idle;
        /// What happens to records that cannot be decoded. Default: fail.
        /// Kafka: `deserialization.exception.handler`.
        on_decode_error: ErrorPolicy = on_decode_error;
        /// What happens to records whose processing returns an error. Default: fail.
        /// Kafka: `processing.exception.handler`.
        on_process_error: ErrorPolicy = on_process_error;
        /// What happens to results that cannot be produced. Default: fail.
        /// Kafka: `production.exception.handler`.
        on_produce_error: ErrorPolicy = on_produce_error;
        /// How the group shares its tasks out. Default: cooperative-sticky. Kafka:
        /// `group.protocol`.
        group_protocol: GroupProtocol = group_protocol;
        /// Keeps this process's tasks over a restart within the session timeout; unique per
        /// process. Default: none. Kafka: `group.instance.id`.
        instance_id: impl Into<String> = Some(instance_id.into());
        /// A process not heard of for that long loses its tasks. Default: 45 s. Where the broker
        /// assigns ([`GroupProtocol::Consumer`]) it also decides how long that is: say here what
        /// its `group.consumer.session.timeout.ms` says, since at least once a process goes by it.
        /// Kafka: `session.timeout.ms`.
        session_timeout: Duration = session_timeout;
        /// How often a process is heard of. Default: 3 s. Kafka: `heartbeat.interval.ms`.
        heartbeat_interval: Duration = heartbeat_interval;
        /// How long a task may take to commit and close when it moves. Default: 5 min.
        /// Kafka: `max.poll.interval.ms`.
        rebalance_timeout: Duration = rebalance_timeout;
        /// How long a transaction may stay open. Default: 10 s. Kafka: `transaction.timeout.ms`.
        transaction_timeout: Duration = transaction_timeout;
        /// Copies of internal topics. Default: the cluster's. Kafka: `replication.factor`.
        replication: u16 = Some(replication);
        /// How long windows are kept in changelogs beyond their retention. Default: 24 h.
        /// Kafka: `windowstore.changelog.additional.retention.ms`.
        changelog_additional_retention: Duration = changelog_additional_retention;
        /// What a start does about changelogs, repartition topics and local stores under names
        /// that the pipeline does not have. Default: it is refused with the list.
        orphans: Orphans = orphans;
        /// What reads and writes records. Default: the native one where it can.
        data_plane: DataPlane = data_plane;
        /// How connections to the brokers are protected. Default: not at all. Kafka:
        /// `security.protocol`.
        security: Security = security;
        /// Seals what the application leaves on disk. Default: not sealed. Needs the crate's
        /// feature `encryption`.
        state_encryption: StateEncryption = Some(state_encryption);
    }

    /// How often work is committed. Default: 100 ms exactly once, 1 s at least once.
    /// Kafka: `commit.interval.ms`.
    pub fn commit_interval(mut self, interval: Duration) -> Self {
        self.commit_interval = Some(interval);
        self
    }

    /// One policy for records that cannot be decoded, processed or produced.
    pub fn on_error(self, policy: ErrorPolicy) -> Self {
        self.on_decode_error(policy.clone())
            .on_process_error(policy.clone())
            .on_produce_error(policy)
    }

    /// Hands a property through to the Kafka client, such as `socket.timeout.ms`.
    pub fn client_property(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.config.client_properties.insert(name.into(), value.into());
        self
    }

    /// Checks the settings together.
    ///
    /// # Errors
    ///
    /// Every setting that is missing, out of range or at odds with another.
    pub fn build(self) -> Result<Config, ConfigErrors> {
        let mut config = self.config;
        config.commit_interval = self.commit_interval.unwrap_or(match config.guarantee {
            Guarantee::ExactlyOnce => Duration::from_millis(100),
            Guarantee::AtLeastOnce => Duration::from_secs(1),
        });
        let mut problems = Vec::new();
        check_names(&config, &mut problems);
        check_amounts(&config, &mut problems);
        check_times(&config, &mut problems);
        config.security.check(&mut problems);
        check_encryption(&config, &mut problems);
        let secured: Vec<_> = config.security.properties().into_iter().map(|p| p.0).collect();
        config
            .client_properties
            .keys()
            .for_each(|property| check_property(property, &secured, &mut problems));
        if problems.is_empty() { Ok(config) } else { Err(ConfigErrors(problems)) }
    }
}

fn check_encryption(config: &Config, problems: &mut Vec<ConfigError>) {
    if config.state_encryption.is_some() && !cfg!(feature = "encryption") {
        problems.push(ConfigError::Invalid {
            setting: "state_encryption",
            value: "a key".to_owned(),
            fix: "build the crate with its feature `encryption`",
        });
    }
}

fn check_names(config: &Config, problems: &mut Vec<ConfigError>) {
    let invalid = |setting, value: &str, fix| ConfigError::Invalid {
        setting,
        value: format!("`{value}`"),
        fix,
    };
    if config.application_id.is_empty() {
        let fix = "give the application a name that stays the same over its life";
        problems.push(ConfigError::Missing { setting: "application_id", fix });
    } else if !is_topic_name(&config.application_id) {
        let fix = "use letters, digits, `.`, `_` and `-`, at most 200 of them";
        problems.push(invalid("application_id", &config.application_id, fix));
    }
    if config.brokers.is_empty() {
        let fix = "name at least one broker, such as `localhost:9092`";
        problems.push(ConfigError::Missing { setting: "brokers", fix });
    }
    let policies = [
        ("on_decode_error", &config.on_decode_error),
        ("on_process_error", &config.on_process_error),
        ("on_produce_error", &config.on_produce_error),
    ];
    for (setting, policy) in policies {
        if let ErrorPolicy::DeadLetter(topic) = policy
            && !is_topic_name(topic)
        {
            problems.push(invalid(setting, topic, "a dead-letter topic needs a topic's name"));
        }
    }
}

fn check_amounts(config: &Config, problems: &mut Vec<ConfigError>) {
    let amounts = [
        ("workers", config.workers.unwrap_or(1)),
        ("records_per_turn", config.records_per_turn),
        ("fetch_bytes_max", config.fetch_bytes_max),
        ("uncommitted_bytes_max", config.uncommitted_bytes_max),
        ("memory_bytes", config.memory_bytes.unwrap_or(1)),
        ("replication", config.replication.map_or(1, usize::from)),
    ];
    for (setting, amount) in amounts {
        if amount == 0 {
            let fix = "use at least 1, or leave it out";
            problems.push(ConfigError::Invalid { setting, value: "0".into(), fix });
        }
    }
}

fn check_times(config: &Config, problems: &mut Vec<ConfigError>) {
    let mut refuse = |setting, value: Duration, fix| {
        let value = format!("{value:?}");
        problems.push(ConfigError::Invalid { setting, value, fix });
    };
    if config.is_exactly_once() && config.transaction_timeout <= config.commit_interval {
        let fix = "it must be longer than `commit_interval`";
        refuse("transaction_timeout", config.transaction_timeout, fix);
    }
    if config.heartbeat_interval >= config.session_timeout {
        let fix = "it must be shorter than `session_timeout`; a third of it is usual";
        refuse("heartbeat_interval", config.heartbeat_interval, fix);
    }
}

/// `secured` are the properties that `security` stands for.
fn check_property(property: &str, secured: &[&str], problems: &mut Vec<ConfigError>) {
    const OWNED: &[(&str, &str)] = &[
        ("bootstrap.servers", "use the second argument of `Config::builder`"),
        ("group.id", "it is the application's id"),
        ("transactional.id", "it is derived from the application's id and the state directory"),
        ("enable.auto.commit", "offsets are committed by `commit_interval`"),
        ("isolation.level", "it follows from `guarantee`"),
        ("enable.idempotence", "it is always on"),
        ("partitioner", "it is `murmur2_random`, as in the Java client"),
        ("session.timeout.ms", "use `session_timeout`"),
        ("heartbeat.interval.ms", "use `heartbeat_interval`"),
        ("max.poll.interval.ms", "use `rebalance_timeout`"),
        ("transaction.timeout.ms", "use `transaction_timeout`"),
        ("group.instance.id", "use `instance_id`"),
        ("group.protocol", "use `group_protocol`"),
        ("partition.assignment.strategy", "use `group_protocol`"),
        ("plugin.library.paths", "millstream loads no foreign code by a setting"),
    ];
    let secured = secured.iter().map(|name| (*name, "`security` says it already"));
    let mut owned = OWNED.iter().copied().chain(secured);
    if let Some((_, fix)) = owned.find(|(name, _)| *name == property) {
        problems.push(ConfigError::OwnedProperty { property: property.into(), fix });
    }
}

/// Whether this can be a part of a topic's name and of a path.
pub(crate) fn is_topic_name(name: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    !name.is_empty() && name.len() <= 200 && name.chars().all(legal) && name != "." && name != ".."
}

/// Whether a client property's value must not be shown.
pub(crate) fn is_secret(property: &str) -> bool {
    const MARKS: [&str; 7] =
        ["password", "secret", "pem", "key", "token", "oauthbearer.config", "username"];
    MARKS.iter().any(|mark| property.contains(mark))
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: BTreeMap<&str, &str> = self
            .client_properties
            .iter()
            .map(|(k, v)| (k.as_str(), if is_secret(k) { "[redacted]" } else { v.as_str() }))
            .collect();
        f.debug_struct("Config")
            .field("application_id", &self.application_id)
            .field("brokers", &self.brokers)
            .field("guarantee", &self.guarantee)
            .field("commit_interval", &self.commit_interval)
            .field("workers", &self.workers)
            .field("state_dir", &self.state_dir)
            .field("memory_bytes", &self.memory_bytes)
            .field("group_protocol", &self.group_protocol)
            .field("session_timeout", &self.session_timeout)
            .field("data_plane", &self.data_plane)
            .field("security", &self.security)
            .field("state_encryption", &self.state_encryption)
            .field("client_properties", &shown)
            .finish_non_exhaustive()
    }
}
