//! Runs a topology in a test: the real tasks, stores and commits, no broker, no threads, no
//! waiting.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::config::Config;
use crate::dsl::Topology;
use crate::error::{Error, ErrorKind, Result};
use crate::log::catalog::Catalog;
use crate::log::memory::MemoryLog;
use crate::log::{Log, NewTopic, partition_for_key};
use crate::record::{Data, Headers, Record};
use crate::runtime::instance::{Instance, Parts};
use crate::serde::{SharedCodec, decode_option};
use crate::state::StateDirectory;
use crate::task::environment::TaskEnvironment;
use crate::time::{Clock, ManualClock, Timestamp};
use crate::topic::Topic;
use crate::topology::{Layout, dead_letter_topics, topics_read, topics_written};

/// Runs a topology over the in-process log, on the caller's thread, under a manual clock.
///
/// The code is production's: tasks per partition, repartition topics, caches, commits, changelogs.
/// After each record everything is processed and committed, unless [`manual_commit`] says else.
///
/// ```
/// use millstream::testing::TopologyTestDriver;
/// use millstream::{StreamsBuilder, Timestamp, Topic};
///
/// let words = Topic::<String, String>::plain("words");
/// let counts = Topic::<String, i64>::plain("counts");
/// let builder = StreamsBuilder::new();
/// builder.stream(&words).group_by(|_, word| word.clone()).count("counts").to(&counts);
///
/// let mut driver = TopologyTestDriver::new(&builder.build()?);
/// driver.input(&words).send("a".into(), "mill".into(), Timestamp::ZERO)?;
/// driver.input(&words).send("b".into(), "mill".into(), Timestamp::ZERO)?;
/// let seen: Vec<i64> = driver.output(&counts).drain()?.into_iter().map(|r| r.value).collect();
/// assert_eq!(seen, [1, 2]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// [`manual_commit`]: TopologyTestDriver::manual_commit
pub struct TopologyTestDriver {
    log: MemoryLog,
    clock: Arc<ManualClock>,
    config: Arc<Config>,
    topology: Topology,
    directory: Arc<StateDirectory>,
    /// Partitions of topics that are created from here on.
    partitions: u32,
    commits_itself: bool,
    instance: Option<Instance>,
    /// How far each output topic has been drained, by name and partition.
    drained: std::collections::HashMap<(String, u32), i64>,
}

impl fmt::Debug for TopologyTestDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TopologyTestDriver")
            .field("partitions", &self.partitions)
            .finish_non_exhaustive()
    }
}

impl TopologyTestDriver {
    /// A driver with one partition per topic, exactly once, its wall clock at the epoch.
    ///
    /// # Panics
    ///
    /// Never: these settings are valid.
    pub fn new(topology: &Topology) -> Self {
        let config = Config::builder("test", "in-process").build();
        Self::with_config(topology, config.expect("these settings are valid"))
    }

    /// A driver under settings of your own. Brokers and timeouts do not matter.
    pub fn with_config(topology: &Topology, config: Config) -> Self {
        let clock = Arc::new(ManualClock::default());
        let log = MemoryLog::with_clock(Arc::clone(&clock) as Arc<dyn Clock>);
        Self {
            log,
            clock,
            config: Arc::new(config),
            topology: topology.clone(),
            directory: Arc::new(StateDirectory::in_memory()),
            partitions: 1,
            commits_itself: true,
            instance: None,
            drained: std::collections::HashMap::new(),
        }
    }

    /// Gives every topic that many partitions. Said before the first record.
    #[must_use]
    pub fn partitions(mut self, partitions: u32) -> Self {
        self.partitions = partitions;
        self
    }

    /// Commits only when [`commit`](Self::commit) is called or an output is drained.
    #[must_use]
    pub fn manual_commit(mut self) -> Self {
        self.commits_itself = false;
        self
    }

    /// Keeps state in this directory instead of in memory. Said before the first record.
    #[must_use]
    pub fn state_directory(mut self, directory: StateDirectory) -> Self {
        self.directory = Arc::new(directory);
        self
    }

    /// Gives one topic its own number of partitions. Said before the first record.
    ///
    /// # Errors
    ///
    /// The topic exists already.
    pub fn create_topic(&mut self, name: &str, partitions: u32) -> Result<()> {
        let topic =
            NewTopic { name: name.to_owned(), partitions, replication: None, configs: Vec::new() };
        self.log.admin().create_topics(&[topic]).map_err(|error| {
            Error::new(ErrorKind::Fatal, "the topic cannot be created").caused_by(error)
        })
    }

    /// Where records of this topic are sent in.
    pub fn input<K: Data, V: Data>(&mut self, topic: &Topic<K, V>) -> TestInput<'_, K, V> {
        TestInput { driver: self, topic: topic.clone() }
    }

    /// Where records of this topic come out.
    pub fn output<K: Data, V: Data>(&mut self, topic: &Topic<K, V>) -> TestOutput<'_, K, V> {
        TestOutput { driver: self, topic: topic.clone() }
    }

    /// Moves the wall clock, fires its timers, and processes what follows.
    ///
    /// # Errors
    ///
    /// What stops the application.
    #[doc(alias = "advanceWallClockTime")]
    pub fn advance(&mut self, by: Duration) -> Result<()> {
        self.started()?;
        self.clock.advance(by);
        self.settle()
    }

    /// Sets the wall clock back, as an administrator may, and fires what is due by it.
    ///
    /// # Errors
    ///
    /// What stops the application.
    pub fn set_clock_back(&mut self, by: Duration) -> Result<()> {
        self.started()?;
        self.clock.set_back(by);
        self.settle()
    }

    /// The wall clock.
    pub fn now(&self) -> Timestamp {
        self.clock.timestamp()
    }

    /// Commits all tasks, and processes what follows from it.
    ///
    /// # Errors
    ///
    /// What stops the application.
    pub fn commit(&mut self) -> Result<()> {
        self.started()?.commit()
    }

    /// Kills the process and starts it again: what was not committed is gone, and is processed
    /// again. Its state directory survives.
    ///
    /// # Errors
    ///
    /// What keeps the application from starting again.
    pub fn crash(&mut self) -> Result<()> {
        self.instance = None;
        self.settle()
    }

    /// As [`crash`](Self::crash), with the state directory lost: state is restored from changelogs.
    ///
    /// # Errors
    ///
    /// What keeps the application from starting again.
    pub fn crash_and_lose_state(&mut self) -> Result<()> {
        self.instance = None;
        self.directory = Arc::new(StateDirectory::in_memory());
        self.settle()
    }

    /// The in-process log behind the driver.
    pub fn log(&self) -> &MemoryLog {
        &self.log
    }

    fn settle(&mut self) -> Result<()> {
        let commits_itself = self.commits_itself;
        let instance = self.started()?;
        if commits_itself { instance.commit() } else { instance.run() }
    }

    pub(super) fn started(&mut self) -> Result<&mut Instance> {
        if self.instance.is_none() {
            self.instance = Some(self.start()?);
        }
        Ok(self.instance.as_mut().expect("it was set a line above"))
    }

    fn start(&mut self) -> Result<Instance> {
        self.create_missing_topics()?;
        let admin = self.log.admin();
        let catalog = Arc::new(Catalog::new(self.log.partitions().clone(), admin));
        let environment = TaskEnvironment::new(&self.config, self.topology.plan(), catalog);
        let tasks = environment.tasks()?;
        let parts = Parts {
            config: Arc::clone(&self.config),
            topology: self.topology.clone(),
            environment: Arc::new(environment),
            directory: Arc::clone(&self.directory),
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
            log: Arc::new(self.log.clone()),
            member: Arc::default(),
            taken_ids: Arc::default(),
        };
        let mut instance = Instance::start(&parts, &tasks)?;
        instance.run()?;
        Ok(instance)
    }

    fn create_missing_topics(&mut self) -> Result<()> {
        let plan = self.topology.plan();
        let mut names: BTreeSet<String> = topics_read(plan).into_iter().collect();
        names.extend(topics_written(plan));
        names.extend(dead_letter_topics(plan, &self.config));
        let names: Vec<String> = names.into_iter().collect();
        for name in &names {
            self.create_topic(name, self.partitions)?;
        }
        let failed = |error: crate::log::LogError| {
            Error::new(ErrorKind::Bug, "the in-process log does not answer").caused_by(error)
        };
        let admin = self.log.admin();
        let counts = admin.topics(&names).map_err(failed)?;
        let counts = counts.into_iter().flatten().map(|topic| (topic.name, topic.partitions));
        let layout = Layout::new(self.topology.plan(), &self.config, &counts.collect());
        let layout = layout.map_err(|errors| {
            Error::new(ErrorKind::Fatal, "the topology cannot run").caused_by(errors)
        })?;
        admin.create_topics(layout.internal_topics()).map_err(failed)
    }
}

/// Sends records into a topic of a [`TopologyTestDriver`].
pub struct TestInput<'a, K, V> {
    driver: &'a mut TopologyTestDriver,
    topic: Topic<K, V>,
}

impl<K, V> fmt::Debug for TestInput<'_, K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TestInput({})", self.topic.name())
    }
}

impl<K: Data, V: Data> TestInput<'_, K, V> {
    /// Sends a record to the partition of its key.
    ///
    /// # Errors
    ///
    /// The record cannot be encoded, or what stops the application.
    pub fn send(&mut self, key: K, value: V, timestamp: Timestamp) -> Result<()> {
        self.send_record(Record { key, value, timestamp }, &Headers::new())
    }

    /// Sends a record with headers to the partition of its key.
    ///
    /// # Errors
    ///
    /// The record cannot be encoded, or what stops the application.
    pub fn send_record(&mut self, record: Record<K, V>, headers: &Headers) -> Result<()> {
        let (key_codec, value_codec) = (self.topic.key_codec(), self.topic.value_codec());
        let key = encode(&key_codec, &record.key)?;
        let value = encode(&value_codec, &record.value)?;
        let partition_by = key.as_deref().map(|key| key_codec.partition_bytes(key).to_vec());
        self.driver.started()?;
        let count = self.driver.count(self.topic.name())?;
        let partition = partition_by.map_or(0, |key| partition_for_key(&key, count));
        self.driver.log.produce(
            self.topic.name(),
            Some(partition),
            record.timestamp,
            key.as_deref(),
            value.as_deref(),
            headers,
        );
        self.driver.settle()
    }
}

/// The bytes of a value; none for null.
pub(super) fn encode<T: 'static>(codec: &SharedCodec<T>, value: &T) -> Result<Option<Vec<u8>>> {
    if codec.is_null(value) {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    codec.encode(value, &mut bytes).map_err(|error| {
        Error::new(ErrorKind::Data, "the record cannot be encoded").caused_by(error)
    })?;
    Ok(Some(bytes))
}

/// Takes records out of a topic of a [`TopologyTestDriver`].
pub struct TestOutput<'a, K, V> {
    driver: &'a mut TopologyTestDriver,
    topic: Topic<K, V>,
}

impl<K, V> fmt::Debug for TestOutput<'_, K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TestOutput({})", self.topic.name())
    }
}

impl<K: Data, V: Data> TestOutput<'_, K, V> {
    /// Commits, then takes the records that have come since the last call, by partition and offset.
    ///
    /// # Errors
    ///
    /// The topology does not use the topic, a record cannot be decoded, or what stops the
    /// application.
    pub fn drain(&mut self) -> Result<Vec<Record<K, V>>> {
        let with_headers = self.drain_with_headers()?;
        Ok(with_headers.into_iter().map(|(record, _)| record).collect())
    }

    /// As [`drain`](Self::drain), with the headers of each record.
    ///
    /// # Errors
    ///
    /// The topology does not use the topic, a record cannot be decoded, or what stops the
    /// application.
    pub fn drain_with_headers(&mut self) -> Result<Vec<(Record<K, V>, Headers)>> {
        self.driver.commit()?;
        let name = self.topic.name();
        self.driver.count(name)?;
        let mut taken = Vec::new();
        for read in self.driver.log.read(name) {
            let place = self.driver.drained.entry((name.to_owned(), read.partition)).or_insert(-1);
            if read.offset <= *place {
                continue;
            }
            *place = read.offset;
            let decoded =
                decode_option(&*self.topic.key_codec(), read.key.as_deref()).and_then(|key| {
                    Ok((key, decode_option(&*self.topic.value_codec(), read.value.as_deref())?))
                });
            let (key, value) = decoded.map_err(|error| {
                let message = format!("a record of `{name}` cannot be decoded");
                Error::new(ErrorKind::Data, message).caused_by(error)
            })?;
            taken.push((Record { key, value, timestamp: read.timestamp }, read.headers));
        }
        Ok(taken)
    }
}

impl TopologyTestDriver {
    fn count(&self, topic: &str) -> Result<u32> {
        let infos = self.log.admin().topics(&[topic.to_owned()]);
        let info = infos.ok().and_then(|infos| infos.into_iter().flatten().next());
        info.map(|info| info.partitions).ok_or_else(|| {
            Error::new(ErrorKind::Fatal, format!("the topology does not use topic `{topic}`"))
        })
    }
}
