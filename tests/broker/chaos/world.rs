//! One application under attack: its processes, what goes in and what comes out.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use millstream::Guarantee;
use millstream::log::GroupProtocol;

use super::application::Settings;
use super::feeder::Feeder;
use super::process::Process;
use super::watcher::{
    Seen, TASKS, Watcher, assert_at_least_once, assert_exactly_once, effects, read_all, runners,
};
use super::{PARTITIONS, PATIENCE};
use crate::kafka::Broker;

/// An application, its input and its output.
#[derive(Debug)]
pub(crate) struct World {
    settings: Settings,
    directory: PathBuf,
    /// `None` once feeding has ended.
    feeder: Option<Feeder>,
    pub(crate) watcher: Watcher,
    /// By name. A process that is started anew gets a new name.
    processes: BTreeMap<String, Process>,
    ended: Vec<Process>,
}

impl World {
    /// Topics of its own, a feeder that feeds, and no process yet.
    pub(crate) fn new(name: &str, guarantee: Guarantee, protocol: GroupProtocol) -> Self {
        let broker = Broker::shared();
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
        Self { settings, directory, feeder, watcher, processes, ended }
    }

    /// Starts a process of this name on the state of this machine.
    pub(crate) fn start(&mut self, name: &str, machine: &str) {
        self.start_as(name, machine, None);
    }

    /// Starts a process that is a static member of the group.
    pub(crate) fn start_as(&mut self, name: &str, machine: &str, instance: Option<&str>) {
        let settings = Settings {
            name: name.to_owned(),
            state_dir: self.directory.join(machine),
            instance: instance.map(str::to_owned),
            ..self.settings.clone()
        };
        self.processes.insert(name.to_owned(), Process::start(&settings));
    }

    /// Loses a machine's state.
    pub(crate) fn remove_state(&self, machine: &str) {
        fs::remove_dir_all(self.directory.join(machine)).expect("the state was there");
    }

    pub(crate) fn process(&mut self, name: &str) -> &mut Process {
        self.processes.get_mut(name).expect("it was started")
    }

    /// Kills a process; returns when.
    pub(crate) fn kill_9(&mut self, name: &str) -> Instant {
        let mut process = self.processes.remove(name).expect("it was started");
        let now = Instant::now();
        process.kill_9();
        self.ended.push(process);
        now
    }

    /// Ends a process in order; returns when it was asked to.
    pub(crate) fn terminate(&mut self, name: &str) -> Instant {
        let mut process = self.processes.remove(name).expect("it was started");
        let now = Instant::now();
        process.terminate(PATIENCE);
        self.ended.push(process);
        now
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

    /// Waits until each task has had a result without the process that is gone since this moment,
    /// and says how long that took.
    pub(crate) fn recovered(&self, gone: &str, since: Instant) {
        let mut first = BTreeMap::new();
        let is_enough = |seen: &[Seen]| {
            first.clear();
            for result in seen.iter().filter(|seen| seen.at > since && !seen.is_by(gone)) {
                for (task, _) in &result.work {
                    first.entry(task.clone()).or_insert(result.at - since);
                }
            }
            first.len() == TASKS
        };
        if !self.watcher.wait_until(PATIENCE, 0, is_enough) {
            self.fail(&format!("not every task is at work after the end of {gone}: {first:?}"));
        }
        let seconds = first.values().map(|after| format!("{:.2}", after.as_secs_f64()));
        let seconds = seconds.collect::<Vec<_>>().join(" ");
        let name = &self.settings.application;
        super::figure(&format!("{name}: first results after the end of {gone}, in s: {seconds}"));
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
        self.check(&read_all(Broker::shared(), &self.settings.output()), total);
        self.watcher.since(0)
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
