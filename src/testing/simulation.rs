//! Does a pipeline survive what goes wrong? Whole applications under faults, decided by a seed.

mod bug;
mod client;
mod disk;
mod event_log;
mod failure;
mod fault;
mod owners;
mod port;
mod process;
mod random;
mod stores;
mod world;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{Config, ConfigBuilder, Guarantee};
use crate::dsl::Topology;
use crate::error::{BoxError, Result};
use crate::log::memory::MemoryLog;
use crate::record::Data;
use crate::serde::decode_option;
use crate::testing::driver::encode;
use crate::time::Timestamp;
use crate::topic::Topic;

pub use bug::SeededBug;
pub use failure::{Check, SimulationFailure};
pub use fault::{FaultKind, Faults};

use failure::Violation;
use fault::Fault;
use random::Random;
use world::World;

/// Virtual time within which everything must drain behind the last fault.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs a topology as several processes with several workers each, on one thread, over the
/// in-process log, while things go wrong.
///
/// The code is production's: turns, tasks, stores, commits, the group. One seed decides who turns
/// next, when time passes and which faults strike, so a run can be had again by its seed. Beside
/// the checks of the caller each run checks that committed offsets never go back, that nothing is
/// on a disk that is not permanent in its changelog, that each store equals its changelog in the
/// end, and that after the last fault all input is drained.
///
/// ```
/// use millstream::testing::{Faults, Input, Simulation};
/// use millstream::{StreamsBuilder, Timestamp, Topic};
///
/// let words = Topic::<String, String>::plain("words");
/// let counts = Topic::<String, i64>::plain("counts");
/// let builder = StreamsBuilder::new();
/// builder.stream(&words).group_by(|_, word| word.clone()).count("counts").to(&counts);
///
/// let input = Input::new().records(&words, (0..50_i64).map(|n| {
///     (n.to_string(), format!("w{}", n % 5), Timestamp::from_millis(n))
/// }))?;
/// Simulation::new(&builder.build()?)
///     .processes(3)
///     .partitions(6)
///     .faults(Faults::all())
///     .seeds(0..3)
///     .verify(&input, |run| run.exactly_once(&counts))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Simulation {
    setting: Setting,
    seeds: std::ops::Range<u64>,
    faults: Faults,
}

/// What is the same in all runs of a simulation.
#[derive(Debug)]
struct Setting {
    topology: Topology,
    config: Arc<Config>,
    processes: usize,
    workers: usize,
    partitions: u32,
    patience: Duration,
    bug: Option<SeededBug>,
}

/// The records that a simulation feeds, in the order in which they are appended to the log.
#[derive(Clone, Debug, Default)]
pub struct Input {
    records: Vec<InputRecord>,
}

#[derive(Clone, Debug)]
struct InputRecord {
    topic: String,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    timestamp: Timestamp,
}

impl Input {
    /// No records yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds records of one topic behind those that are there.
    ///
    /// # Errors
    ///
    /// A record cannot be encoded.
    pub fn records<K: Data, V: Data>(
        mut self,
        topic: &Topic<K, V>,
        records: impl IntoIterator<Item = (K, V, Timestamp)>,
    ) -> Result<Self> {
        for (key, value, timestamp) in records {
            let key = encode(&topic.key_codec(), &key)?;
            let value = encode(&topic.value_codec(), &value)?;
            let topic = topic.name().to_owned();
            self.records.push(InputRecord { topic, key, value, timestamp });
        }
        Ok(self)
    }
}

impl Simulation {
    /// Three processes with two workers each, four partitions per topic, every kind of fault,
    /// one run of seed 0, exactly once.
    ///
    /// # Panics
    ///
    /// Never: these settings are valid.
    pub fn new(topology: &Topology) -> Self {
        let config = Self::settings().build().expect("these settings are valid");
        let setting = Setting {
            topology: topology.clone(),
            config: Arc::new(config),
            processes: 3,
            workers: 2,
            partitions: 4,
            patience: PATIENCE,
            bug: None,
        };
        Self { setting, seeds: 0..1, faults: Faults::all() }
    }

    /// The settings of a simulation, to change some: sessions of 2 s, transactions of 3 s.
    pub fn settings() -> ConfigBuilder {
        Config::builder("simulated", "in-process")
            .session_timeout(Duration::from_secs(2))
            .heartbeat_interval(Duration::from_millis(200))
            .transaction_timeout(Duration::from_secs(3))
    }

    /// Settings of your own, best begun with [`settings`](Self::settings). Brokers and the state
    /// directory do not matter.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.setting.config = Arc::new(config);
        self
    }

    /// How many processes start.
    #[must_use]
    pub fn processes(mut self, processes: usize) -> Self {
        self.setting.processes = processes.max(1);
        self
    }

    /// How many workers each process has.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.setting.workers = workers.max(1);
        self
    }

    /// How many partitions each topic has.
    #[must_use]
    pub fn partitions(mut self, partitions: u32) -> Self {
        self.setting.partitions = partitions.max(1);
        self
    }

    /// Virtual time within which everything must drain behind the last fault (default: 120 s).
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.setting.patience = patience;
        self
    }

    /// What goes wrong.
    #[must_use]
    pub fn faults(mut self, faults: Faults) -> Self {
        self.faults = faults;
        self
    }

    /// Puts a bug into what each process calls, to see that it is caught. A failing seed keeps all
    /// its faults.
    #[doc(hidden)]
    #[must_use]
    pub fn bug(mut self, bug: SeededBug) -> Self {
        self.setting.bug = Some(bug);
        self
    }

    /// Which seeds run, one after the other.
    #[must_use]
    pub fn seeds(mut self, seeds: std::ops::Range<u64>) -> Self {
        self.seeds = seeds;
        self
    }

    /// Which single seed runs.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        self.seeds(seed..seed + 1)
    }

    /// Runs every seed and checks each run. With `MILLSTREAM_SEED` set, only that seed runs, and a
    /// failure tells everything that happened.
    ///
    /// # Errors
    ///
    /// The first seed that fails, with the fewest faults that make it fail, and how to see it
    /// again.
    pub fn verify(
        &self,
        input: &Input,
        check: impl Fn(&SimulationRun) -> Result<(), BoxError>,
    ) -> Result<(), SimulationFailure> {
        let given = std::env::var("MILLSTREAM_SEED").ok().and_then(|text| text.parse().ok());
        let seeds = given.map_or(self.seeds.clone(), |seed: u64| seed..seed + 1);
        let reference = self.reference(input).map_err(|Violation { check, text }| {
            let violation = check.violated(format!("the run without faults failed: {text}"));
            SimulationFailure { seed: 0, violation, faults: Vec::new(), events: Vec::new() }
        })?;
        for seed in seeds {
            let faults = self.faults.list(&mut Random::new(seed), self.setting.processes);
            let judge = |faults: &[Fault]| {
                let run = self.run_once(input, seed, faults, &reference)?;
                check(&run).map_err(|error| Check::Output.violated(error))
            };
            let Err(violation) = judge(&faults) else { continue };
            if self.setting.bug.is_some() && given.is_none() {
                let (faults, events) = (Vec::new(), Vec::new());
                return Err(SimulationFailure { seed, violation, faults, events });
            }
            let faults = shrink(faults, |faults| judge(faults).is_err());
            // The fewest faults may fail in another way: say that one.
            let (judged, mut events) = event_log::recorded(|| judge(&faults));
            let violation = judged.err().unwrap_or(violation);
            let faults = faults.iter().map(ToString::to_string).collect();
            if given.is_none() {
                events.clear();
            }
            return Err(SimulationFailure { seed, violation, faults, events });
        }
        Ok(())
    }

    /// The hash of everything that happens in the run of the first seed: equal for equal runs.
    ///
    /// # Errors
    ///
    /// The run fails.
    pub fn trace_hash(&self, input: &Input) -> Result<u64, SimulationFailure> {
        let seed = self.seeds.start;
        let faults = self.faults.list(&mut Random::new(seed), self.setting.processes);
        let run = self.run_once(input, seed, &faults, &Arc::default());
        run.map(|run| run.trace).map_err(|violation| {
            let faults = faults.iter().map(ToString::to_string).collect();
            SimulationFailure { seed, violation, faults, events: Vec::new() }
        })
    }

    /// What one worker of one process makes of the input when nothing goes wrong.
    fn reference(&self, input: &Input) -> Result<Arc<Outputs>, Violation> {
        let setting = Setting {
            topology: self.setting.topology.clone(),
            config: Arc::clone(&self.setting.config),
            processes: 1,
            workers: 1,
            partitions: self.setting.partitions,
            patience: PATIENCE,
            bug: None,
        };
        let world = World::new(&setting, 0);
        let remains = world.run(input, &[])?;
        Ok(Arc::new(outputs(&setting, &remains.log)))
    }

    fn run_once(
        &self,
        input: &Input,
        seed: u64,
        faults: &[Fault],
        reference: &Arc<Outputs>,
    ) -> Result<SimulationRun, Violation> {
        let world = World::new(&self.setting, seed);
        let remains = world.run(input, faults)?;
        Ok(SimulationRun {
            seed,
            trace: remains.trace,
            steps: remains.steps,
            outputs: outputs(&self.setting, &remains.log),
            reference: Arc::clone(reference),
            guarantee: self.setting.config.guarantee,
        })
    }
}

/// Leaves out faults, ever smaller runs of them, while the rest still fails.
fn shrink(mut faults: Vec<Fault>, fails: impl Fn(&[Fault]) -> bool) -> Vec<Fault> {
    let mut run = faults.len().div_ceil(2);
    while run > 0 {
        let mut start = 0;
        while start < faults.len() {
            let mut fewer = faults.clone();
            fewer.drain(start..(start + run).min(faults.len()));
            if fails(&fewer) {
                faults = fewer;
            } else {
                start += run;
            }
        }
        run /= 2;
    }
    faults
}

/// Key and value of each record of each topic that the topology writes, as a reader of committed
/// records sees them, by partition and offset.
type Outputs = BTreeMap<String, Vec<(Option<Vec<u8>>, Option<Vec<u8>>)>>;

fn outputs(setting: &Setting, log: &MemoryLog) -> Outputs {
    let topics = crate::topology::topics_written(setting.topology.plan());
    let records = |topic: &String| {
        let records = log.read(topic).into_iter();
        records.map(|record| (record.key, record.value)).collect()
    };
    topics.iter().map(|topic| (topic.clone(), records(topic))).collect()
}

/// A run that has ended: what came out, and what comes out when nothing goes wrong.
pub struct SimulationRun {
    seed: u64,
    trace: u64,
    steps: u64,
    outputs: Outputs,
    reference: Arc<Outputs>,
    guarantee: Guarantee,
}

impl fmt::Debug for SimulationRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimulationRun")
            .field("seed", &self.seed)
            .field("steps", &self.steps)
            .finish_non_exhaustive()
    }
}

impl SimulationRun {
    /// The seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// How many turns there were.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The committed records of a topic, by partition and offset.
    ///
    /// # Errors
    ///
    /// A record cannot be decoded, or the topology does not write the topic.
    pub fn records<K: Data, V: Data>(&self, topic: &Topic<K, V>) -> Result<Vec<(K, V)>, BoxError> {
        decode(&self.outputs, topic)
    }

    /// The records of a topic as they come out when nothing goes wrong.
    ///
    /// # Errors
    ///
    /// As [`records`](Self::records).
    pub fn reference<K: Data, V: Data>(
        &self,
        topic: &Topic<K, V>,
    ) -> Result<Vec<(K, V)>, BoxError> {
        decode(&self.reference, topic)
    }

    /// Whether each key has the same values in the same order as when nothing goes wrong.
    ///
    /// Fit for results that do not depend on how records of several partitions interleave, such as
    /// counts.
    ///
    /// # Errors
    ///
    /// The first key that has other values; a run at least once.
    pub fn exactly_once<K: Data, V: Data>(&self, topic: &Topic<K, V>) -> Result<(), BoxError> {
        self.compare(topic.name(), |values| values)
    }

    /// As [`exactly_once`](Self::exactly_once), where the order of a key's values may differ.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn exactly_once_unordered<K: Data, V: Data>(
        &self,
        topic: &Topic<K, V>,
    ) -> Result<(), BoxError> {
        self.compare(topic.name(), |mut values| {
            values.sort_unstable();
            values
        })
    }

    /// Whether each key has the same last value as when nothing goes wrong, however many values
    /// come before it. Fit for tables, and for runs at least once whose results can be repeated.
    ///
    /// # Errors
    ///
    /// The first key whose last value is another.
    pub fn same_last<K: Data, V: Data>(&self, topic: &Topic<K, V>) -> Result<(), BoxError> {
        self.compare_any(topic.name(), |values| {
            values.into_iter().next_back().into_iter().collect()
        })
    }

    /// Whether no record is missing that comes out when nothing goes wrong.
    ///
    /// # Errors
    ///
    /// The first key that lacks a value.
    pub fn at_least_once<K: Data, V: Data>(&self, topic: &Topic<K, V>) -> Result<(), BoxError> {
        let name = topic.name();
        let (ours, wanted) = (by_key(&self.outputs, name)?, by_key(&self.reference, name)?);
        for (key, values) in wanted {
            let found = ours.get(&key);
            let is_there = |value| found.is_some_and(|found| found.contains(value));
            if let Some(missing) = values.iter().find(|value| !is_there(value)) {
                let (key, missing) = (show(key.as_deref()), show(*missing));
                return Err(format!("`{name}`: key `{key}` lacks [{missing}]").into());
            }
        }
        Ok(())
    }

    fn compare(&self, name: &str, view: impl Fn(Values<'_>) -> Values<'_>) -> Result<(), BoxError> {
        if self.guarantee != Guarantee::ExactlyOnce {
            return Err("a run at least once may double records: see `at_least_once`".into());
        }
        self.compare_any(name, view)
    }

    fn compare_any(
        &self,
        name: &str,
        view: impl Fn(Values<'_>) -> Values<'_>,
    ) -> Result<(), BoxError> {
        let viewed = |outputs| -> Result<BTreeMap<_, _>, BoxError> {
            let by_key = by_key(outputs, name)?.into_iter();
            Ok(by_key.map(|(key, values)| (key, view(values))).collect())
        };
        let (ours, wanted) = (viewed(&self.outputs)?, viewed(&self.reference)?);
        if ours == wanted {
            return Ok(());
        }
        let keys = wanted.keys().chain(ours.keys());
        let differs = keys.into_iter().find(|key| ours.get(*key) != wanted.get(*key));
        let key = differs.expect("two maps that differ do so in a key");
        let list = |values: Option<&Values<'_>>| {
            let values = values.into_iter().flatten();
            values.map(|value| show(*value)).collect::<Vec<_>>().join(" ")
        };
        let (got, want) = (list(ours.get(key)), list(wanted.get(key)));
        let key = show(key.as_deref());
        Err(format!("`{name}`: key `{key}` has [{got}] in place of [{want}]").into())
    }
}

/// Bytes for people: text, or the number that eight bytes are.
fn show(bytes: Option<&[u8]>) -> String {
    let Some(bytes) = bytes else { return "null".to_owned() };
    match <[u8; 8]>::try_from(bytes) {
        Ok(number) if bytes[0] == 0 => i64::from_be_bytes(number).to_string(),
        _ => String::from_utf8_lossy(bytes).escape_debug().to_string(),
    }
}

type Values<'a> = Vec<Option<&'a [u8]>>;

fn by_key<'a>(
    outputs: &'a Outputs,
    topic: &str,
) -> Result<BTreeMap<Option<Vec<u8>>, Values<'a>>, BoxError> {
    let records = outputs.get(topic);
    let records = records.ok_or_else(|| format!("the topology does not write `{topic}`"))?;
    let mut by_key: BTreeMap<_, Values<'a>> = BTreeMap::new();
    for (key, value) in records {
        by_key.entry(key.clone()).or_default().push(value.as_deref());
    }
    Ok(by_key)
}

fn decode<K: Data, V: Data>(
    outputs: &Outputs,
    topic: &Topic<K, V>,
) -> Result<Vec<(K, V)>, BoxError> {
    let records = outputs.get(topic.name());
    let missing = || format!("the topology does not write `{}`", topic.name());
    let records = records.ok_or_else(missing)?.iter().map(|(key, value)| {
        let key = decode_option(&*topic.key_codec(), key.as_deref())?;
        Ok((key, decode_option(&*topic.value_codec(), value.as_deref())?))
    });
    records.collect()
}
