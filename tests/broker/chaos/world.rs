//! One application under attack: its processes, what goes in and what comes out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use millstream::Guarantee;
use millstream::log::GroupProtocol;

use super::application::{Mistake, Settings};
use super::feeder::Feeder;
use super::process::{Process, Usage};
use super::watcher::{
    Seen, TASKS, Watcher, at_least_once, effects, exactly_once, last_numbers, read_all, runners,
    silences,
};
use super::work::Work;
use super::{PARTITIONS, PATIENCE};
use crate::kafka::Broker;

/// A process that was taken away.
#[derive(Debug)]
pub(crate) struct Gone {
    name: String,
    /// What it ran.
    tasks: BTreeSet<String>,
    /// How many results had been seen by then.
    from: usize,
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
            work: Work::Tally,
            mistake: Mistake::None,
            has_ballast: false,
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

    /// For the processes that are started from here on.
    pub(crate) fn set_session_timeout(&mut self, timeout: Duration) {
        self.settings.session_timeout = timeout;
    }

    fn broker(&self) -> &Broker {
        self.own_broker.as_ref().unwrap_or_else(|| Broker::shared())
    }

    /// The same for an application with a table of ballast, which is to be filled first.
    pub(crate) fn with_ballast(name: &str, guarantee: Guarantee, protocol: GroupProtocol) -> Self {
        let mut world = Self::new(name, guarantee, protocol);
        world.settings.has_ballast = true;
        let partitions = i32::try_from(PARTITIONS).expect("a small number");
        world.broker().create_topic(&world.ballast(), partitions, &[]);
        world
    }

    /// The topic of the ballast.
    pub(crate) fn ballast(&self) -> String {
        self.settings.ballast()
    }

    /// The same for an application that does something else than count words.
    pub(crate) fn doing(work: Work, name: &str, guarantee: Guarantee) -> Self {
        let mut world = Self::new(name, guarantee, GroupProtocol::CooperativeSticky);
        world.settings.work = work;
        world
    }

    /// The same for an application that is wrong.
    pub(crate) fn mistaken(work: Work, name: &str, mistake: Mistake) -> Self {
        let mut world = Self::doing(work, name, Guarantee::ExactlyOnce);
        world.settings.mistake = mistake;
        world
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

    /// Damages a file of this kind of each task of a machine. Says how many.
    pub(crate) fn damage_state(&self, machine: &str, kind: &str) -> usize {
        damage_below(&self.directory.join(machine), kind)
    }

    pub(crate) fn process(&mut self, name: &str) -> &mut Process {
        self.processes.get_mut(name).expect("it was started")
    }

    /// What a process takes.
    pub(crate) fn usage(&self, name: &str) -> Usage {
        self.processes[name].usage()
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

    /// Kills one broker of a cluster; the others go on.
    pub(crate) fn kill_broker_of_cluster(&mut self, number: usize) {
        self.own_cluster().of_cluster(number).kill_9();
    }

    /// Starts a broker of a cluster again.
    pub(crate) fn restart_broker_of_cluster(&mut self, number: usize) {
        self.own_cluster().of_cluster(number).restart();
    }

    fn own_cluster(&mut self) -> &mut Broker {
        self.own_broker.as_mut().expect("others need the one that is shared")
    }

    /// Kills the broker, and starts it again, which takes every task away. What its tasks need to
    /// recover counts from when it is back.
    pub(crate) fn restart_broker(&mut self) -> Gone {
        let broker = self.own_cluster();
        broker.kill_9();
        broker.restart();
        self.gone_where("the broker", |_| true)
    }

    /// A process that is about to be taken away.
    pub(crate) fn gone(&self, name: &str) -> Gone {
        self.gone_where(name, |by| by == name)
    }

    /// What takes away the tasks that were run last by processes of such names.
    fn gone_where(&self, name: &str, is_its: impl Fn(&str) -> bool) -> Gone {
        self.watcher.look(|seen| {
            let work = seen.iter().flat_map(|seen| &seen.work);
            let latest: BTreeMap<_, _> = work.map(|(task, by)| (task, by)).collect();
            let its = latest.into_iter().filter(|(_, by)| is_its(by));
            let tasks = its.map(|(task, _)| task.clone()).collect();
            Gone { name: name.to_owned(), tasks, from: seen.len(), at: Instant::now() }
        })
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
        let (mut first, mut looked) = (BTreeMap::new(), 0);
        let is_enough = |seen: &[Seen]| {
            for result in &seen[looked..] {
                for (task, by) in &result.work {
                    if gone.tasks.contains(task) && *by != gone.name {
                        first.entry(task.clone()).or_insert(result.at - gone.at);
                    }
                }
            }
            looked = seen.len();
            first.len() == gone.tasks.len()
        };
        if !self.watcher.wait_until(PATIENCE, gone.from, is_enough) {
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
        let verdict = self.verdict();
        super::figure(&verdict.unwrap_or_else(|problem| self.fail(&problem)));
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

    /// As [`finish`](Self::finish), for an application whose results must not pass. Returns what
    /// is found to be wrong with them.
    pub(crate) fn finish_wrong(mut self) -> String {
        let problem = self.verdict().expect_err("the application is wrong");
        super::figure(&format!("{}: found out: {problem}", self.settings.application));
        problem
    }

    /// What all results are worth, once what was fed has taken effect and the processes have ended.
    fn verdict(&mut self) -> Result<String, String> {
        let fed = self.feeder.take().expect("feeding ends once").stop();
        let total = self.settings.work.effective(fed);
        let (mut awaited, mut looked) = (last_numbers(total), 0);
        let is_through = |seen: &[Seen]| {
            for result in &seen[looked..] {
                awaited.remove(&result.number);
            }
            looked = seen.len();
            awaited.is_empty()
        };
        if !self.watcher.wait_until(PATIENCE, 0, is_through) {
            return Err(self.missing(total));
        }
        for name in self.processes.keys().cloned().collect::<Vec<_>>() {
            self.terminate(&name);
        }
        let seen = read_all(self.broker(), &self.settings.output());
        let name = &self.settings.application;
        if self.settings.guarantee == Guarantee::ExactlyOnce {
            exactly_once(&seen, total)?;
            return Ok(format!("{name}: {total} records, each exactly once"));
        }
        let double = at_least_once(&seen, total)?;
        Ok(format!("{name}: {total} records, none lost, {double} double"))
    }

    fn missing(&self, total: u64) -> String {
        let effects = effects(&self.watcher.since(0), total);
        let lost: Vec<_> = (0_u64..).zip(&effects).filter(|(_, times)| **times == 0).collect();
        let first: Vec<u64> = lost.iter().map(|(number, _)| *number).take(20).collect();
        format!("{} of {total} have no effect, among them {first:?}", lost.len())
    }

    /// Ends the test with what the processes have to say.
    pub(crate) fn fail(&self, problem: &str) -> ! {
        let processes = self.processes.values().chain(&self.ended);
        let logs: Vec<String> = processes.map(Process::log_tail).collect();
        panic!("{problem}\n{}", logs.join("\n"));
    }
}

/// Overwrites the beginning of the largest file of a kind in each folder. Says how many these are.
fn damage_below(folder: &Path, kind: &str) -> usize {
    let entries = fs::read_dir(folder).expect("the state is there").flatten();
    let (folders, files): (Vec<_>, Vec<_>) =
        entries.map(|entry| entry.path()).partition(|path| path.is_dir());
    let is_hit = |path: &PathBuf| path.to_string_lossy().contains(kind);
    let length = |path: &PathBuf| fs::metadata(path).expect("it is there").len();
    let largest = files.into_iter().filter(is_hit).max_by_key(length);
    if let Some(path) = &largest {
        let mut bytes = fs::read(path).expect("it can be read");
        bytes.iter_mut().take(64).for_each(|byte| *byte ^= 0xa5);
        fs::write(path, bytes).expect("it can be written");
    }
    let below: usize = folders.iter().map(|folder| damage_below(folder, kind)).sum();
    below + usize::from(largest.is_some())
}

impl Drop for World {
    fn drop(&mut self) {
        self.processes.clear();
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.directory);
        }
    }
}
