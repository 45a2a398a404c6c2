//! One application under attack: its processes, what goes in and what comes out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use millstream::Guarantee;
use millstream::log::GroupProtocol;

use super::application::Settings;
use super::feeder::Feeder;
use super::process::Process;
use super::watcher::{
    Seen, TASKS, Watcher, assert_at_least_once, assert_exactly_once, effects, read_all, runners,
    silences,
};
use super::{PARTITIONS, PATIENCE};
use crate::kafka::Broker;

/// A process that was taken away.
#[derive(Debug)]
pub(crate) struct Gone {
    name: String,
    /// What it ran.
    tasks: BTreeSet<String>,
    at: Instant,
}

/// Durations, in short.
#[derive(Debug)]
struct Spread {
    count: usize,
    median: Duration,
    max: Duration,
}

impl Spread {
    fn of(durations: impl Iterator<Item = Duration>) -> Self {
        let mut all: Vec<_> = durations.collect();
        all.sort_unstable();
        let at = |index: usize| all.get(index).copied().unwrap_or_default();
        let count = all.len();
        Self { count, median: at(count / 2), max: at(count.saturating_sub(1)) }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count, median, max } = self;
        let (median, max) = (median.as_secs_f64(), max.as_secs_f64());
        write!(f, "median {median:.2} s, max {max:.2} s of {count}")
    }
}

/// An application, its input and its output.
#[derive(Debug)]
pub(crate) struct World {
    settings: Settings,
    directory: PathBuf,
    /// `None` where it is the one that tests share.
    own_broker: Option<Broker>,
    /// `None` once feeding has ended.
    feeder: Option<Feeder>,
    pub(crate) watcher: Watcher,
    /// By name. A process that is started anew gets a new name.
    processes: BTreeMap<String, Process>,
    ended: Vec<Process>,
    /// How long each task of each process that was taken away was without a result.
    recoveries: Vec<Duration>,
}

impl World {
    /// Topics of its own, a feeder that feeds, and no process yet.
    pub(crate) fn new(name: &str, guarantee: Guarantee, protocol: GroupProtocol) -> Self {
        Self::at(None, name, guarantee, protocol)
    }

    /// The same, at a broker of its own.
    pub(crate) fn at(
        own_broker: Option<Broker>,
        name: &str,
        guarantee: Guarantee,
        protocol: GroupProtocol,
    ) -> Self {
        let broker = own_broker.as_ref().unwrap_or_else(|| Broker::shared());
        let directory =
            std::env::temp_dir().join(format!("millstream-chaos-{}-{name}", std::process::id()));
        let settings = Settings {
            brokers: broker.bootstrap(),
            application: name.to_owned(),
            name: String::new(),
            state_dir: PathBuf::new(),
            guarantee,
            protocol,
            instance: None,
            session_timeout: super::SESSION_TIMEOUT,
            transaction_timeout: super::TRANSACTION_TIMEOUT,
        };
        let partitions = i32::try_from(PARTITIONS).expect("a small number");
        broker.create_topic(&settings.input(), partitions, &[]);
        broker.create_topic(&settings.output(), partitions, &[]);
        let feeder = Some(Feeder::start(broker, settings.input()));
        let watcher = Watcher::start(broker, &settings.output());
        let (processes, ended) = (BTreeMap::new(), Vec::new());
        let recoveries = Vec::new();
        Self { settings, directory, own_broker, feeder, watcher, processes, ended, recoveries }
    }

    fn broker(&self) -> &Broker {
        self.own_broker.as_ref().unwrap_or_else(|| Broker::shared())
    }

    /// Starts a process of this name on the state of this machine.
    pub(crate) fn start(&mut self, name: &str, machine: &str) {
        self.start_as(name, machine, None);
    }

    /// Starts a process that is a static member of the group.
    pub(crate) fn start_as(&mut self, name: &str, machine: &str, instance: Option<&str>) {
        let instance = instance.map(str::to_owned);
        self.launch(name, machine, Settings { instance, ..self.settings.clone() });
    }

    /// Starts a process that finds the broker at this address.
    pub(crate) fn start_by(&mut self, name: &str, machine: &str, brokers: String) {
        self.launch(name, machine, Settings { brokers, ..self.settings.clone() });
    }

    fn launch(&mut self, name: &str, machine: &str, settings: Settings) {
        let state_dir = self.directory.join(machine);
        let settings = Settings { name: name.to_owned(), state_dir, ..settings };
        self.processes.insert(name.to_owned(), Process::start(&settings));
    }

    /// Loses a machine's state.
    pub(crate) fn remove_state(&self, machine: &str) {
        fs::remove_dir_all(self.directory.join(machine)).expect("the state was there");
    }

    pub(crate) fn process(&mut self, name: &str) -> &mut Process {
        self.processes.get_mut(name).expect("it was started")
    }

    /// Kills a process.
    pub(crate) fn kill_9(&mut self, name: &str) -> Gone {
        let mut process = self.processes.remove(name).expect("it was started");
        let gone = self.gone(name);
        process.kill_9();
        self.ended.push(process);
        gone
    }

    /// Ends a process in order, and waits until it has ended.
    pub(crate) fn terminate(&mut self, name: &str) -> Gone {
        let mut process = self.processes.remove(name).expect("it was started");
        let gone = self.gone(name);
        process.terminate(PATIENCE);
        self.ended.push(process);
        gone
    }

    /// Freezes a process.
    pub(crate) fn freeze(&mut self, name: &str) -> Gone {
        let gone = self.gone(name);
        self.process(name).freeze();
        gone
    }

    /// Kills the broker, and starts it again. It takes every task away until it is back.
    pub(crate) fn restart_broker(&mut self) -> Gone {
        let broker = self.own_broker.as_mut().expect("others need the one that is shared");
        broker.kill_9();
        broker.restart();
        let at = Instant::now();
        Gone { name: "the broker".to_owned(), tasks: self.latest().into_keys().collect(), at }
    }

    /// A process that is about to be taken away.
    pub(crate) fn gone(&self, name: &str) -> Gone {
        let is_its = |(_, by): &(String, String)| by == name;
        let tasks = self.latest().into_iter().filter(is_its).map(|(task, _)| task).collect();
        Gone { name: name.to_owned(), tasks, at: Instant::now() }
    }

    /// Who has run each task last.
    fn latest(&self) -> BTreeMap<String, String> {
        let seen = self.watcher.since(0);
        seen.iter().flat_map(|seen| &seen.work).cloned().collect()
    }

    /// Waits until, from now on, every task is at work, in these processes alone, and in each of
    /// them. Returns how many results had been seen when that began to hold.
    pub(crate) fn await_run_by(&self, names: &[&str]) -> usize {
        let from = self.watcher.len();
        let (mut start, mut looked) = (from, from);
        let is_stranger =
            |seen: &Seen| seen.work.iter().any(|(_, process)| !names.contains(&&**process));
        let is_enough = |seen: &[Seen]| {
            if let Some(index) = seen[looked - from..].iter().rposition(is_stranger) {
                start = looked + index + 1;
            }
            looked = from + seen.len();
            let runners = runners(&seen[start - from..]);
            let is_at_work = |name: &&str| runners.values().any(|runners| runners.contains(name));
            runners.len() == TASKS && names.iter().all(is_at_work)
        };
        if !self.watcher.wait_until(PATIENCE, from, is_enough) {
            let seen = self.watcher.since(start);
            self.fail(&format!("{names:?} should work; since {start}: {:?}", runners(&seen)));
        }
        start
    }

    /// Waits until, from now on, these processes run the same number of tasks each, and none moves:
    /// where the broker assigns, tasks move one by one.
    pub(crate) fn await_even(&mut self, names: &[&str]) -> usize {
        let share = TASKS / names.len();
        let from = self.watcher.len();
        let mut start = from;
        let is_enough = |seen: &[Seen]| {
            let runners = runners(&seen[start - from..]);
            let run_by = |name: &str| runners.values().filter(|by| by.contains(name)).count();
            if runners.values().any(|by| by.len() > 1) {
                start = from + seen.len();
                return false;
            }
            names.iter().all(|name| run_by(name) == share)
        };
        if !self.watcher.wait_until(PATIENCE, from, is_enough) {
            let seen = self.watcher.since(start);
            self.fail(&format!("{names:?} should share evenly: {:?}", runners(&seen)));
        }
        start
    }

    /// Waits until each task of a process that is gone has had a committed result elsewhere, and
    /// says how long the slowest took.
    pub(crate) fn recovered(&mut self, gone: &Gone) -> Duration {
        let mut first = BTreeMap::new();
        let is_enough = |seen: &[Seen]| {
            first.clear();
            for result in seen.iter().filter(|seen| seen.at > gone.at) {
                for (task, by) in &result.work {
                    if gone.tasks.contains(task) && *by != gone.name {
                        first.entry(task.clone()).or_insert(result.at - gone.at);
                    }
                }
            }
            first.len() == gone.tasks.len()
        };
        if !self.watcher.wait_until(PATIENCE, 0, is_enough) {
            let (name, tasks) = (&gone.name, &gone.tasks);
            self.fail(&format!("not all of {tasks:?} are at work after {name}: {first:?}"));
        }
        let spread = Spread::of(first.values().copied());
        let Gone { name, tasks, .. } = gone;
        let application = &self.settings.application;
        let text =
            format!("{application}: {} tasks of {name} at work again: {spread}", tasks.len());
        super::figure(&text);
        self.recoveries.extend(first.into_values());
        spread.max
    }

    /// Stops feeding, waits until everything has taken effect, ends the processes in order, and
    /// checks all results against what was fed. Returns what was seen, and when.
    pub(crate) fn finish(mut self) -> Vec<Seen> {
        let total = self.feeder.take().expect("feeding ends once").stop();
        let mut missing = total;
        let mut taken = vec![false; usize::try_from(total).expect("it fits")];
        let mut looked = 0;
        let is_complete = self.watcher.wait_until(PATIENCE, 0, |seen| {
            for result in &seen[looked..] {
                let taken = &mut taken[usize::try_from(result.number).expect("it fits")];
                missing -= u64::from(!std::mem::replace(taken, true));
            }
            looked = seen.len();
            missing == 0
        });
        if !is_complete {
            let effects = effects(&self.watcher.since(0), total);
            let lost: Vec<_> = (0..).zip(&effects).filter(|(_, times)| **times == 0).collect();
            let lost: Vec<u64> = lost.into_iter().map(|(number, _)| number).take(20).collect();
            self.fail(&format!("{missing} of {total} have no effect, among them {lost:?}"));
        }
        for name in self.processes.keys().cloned().collect::<Vec<_>>() {
            self.terminate(&name);
        }
        self.check(&read_all(self.broker(), &self.settings.output()), total);
        let seen = self.watcher.since(0);
        let name = &self.settings.application;
        let gap = silences(&seen).into_values().max().unwrap_or_default().as_secs_f64();
        if self.recoveries.is_empty() {
            super::figure(&format!("{name}: longest gap {gap:.2} s"));
        } else {
            let spread = Spread::of(self.recoveries.iter().copied());
            super::figure(&format!("{name}: all recoveries: {spread}; longest gap {gap:.2} s"));
        }
        seen
    }

    fn check(&self, seen: &[Seen], total: u64) {
        let name = &self.settings.application;
        if self.settings.guarantee == Guarantee::ExactlyOnce {
            assert_exactly_once(seen, total);
            super::figure(&format!("{name}: {total} records, each exactly once"));
        } else {
            let double = assert_at_least_once(seen, total);
            super::figure(&format!("{name}: {total} records, none lost, {double} double"));
        }
    }

    /// Ends the test with what the processes have to say.
    pub(crate) fn fail(&self, problem: &str) -> ! {
        let processes = self.processes.values().chain(&self.ended);
        let logs: Vec<String> = processes.map(Process::log_tail).collect();
        panic!("{problem}\n{}", logs.join("\n"));
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.processes.clear();
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.directory);
        }
    }
}
