//! One run: processes, a log, a clock, and a list of faults, all on one thread under one seed.
//!
//! # What is checked on the way
//!
//! - Committed offsets never go back, and what they point to is not purged.
//! - At least once, only the process that was last given a task writes to its changelogs.
//! - Nothing is on a disk that is not permanent in its changelog (by the disk itself).
//! - After the last fault everything drains within a bounded time, and each task runs in one place.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::bug::{self, Bug};
use super::disk::{ChangelogOf, Disk};
use super::event_log::TURN;
use super::failure::{Check, Violation};
use super::fault::{Fault, StateLoss, Strike};
use super::owners::Owners;
use super::port::{FaultyLog, Port};
use super::process::{Process, ProcessSetup, Turned};
use super::random::Random;
use super::stores;
use super::{Input, Setting};
use crate::log::catalog::Catalog;
use crate::log::memory::MemoryLog;
use crate::log::{Log, OffsetSpec, PartitionId, TopicPartition};
use crate::record::Headers;
use crate::state::{StateDirectory, StoreIndex};
use crate::task::environment::TaskEnvironment;
use crate::time::{Clock, Instant, ManualClock};
use crate::topology::{changelog_topic, topics_read, topics_written};

/// A process, or the place of one.
struct Slot {
    process: Option<Process>,
    port: Arc<Port>,
    disk: Arc<Disk>,
    bug: Option<Arc<Bug>>,
    /// When it starts next; `None` while it runs or if it is not to come back.
    starts_at: Option<Instant>,
    /// What the next kill does, and how long the process stays away.
    on_kill: (StateLoss, Duration),
    /// How long the process stays away once it has closed.
    away: Duration,
    /// Until when it is not at turn.
    frozen_until: Instant,
}

/// Everything that exists in one run.
pub(super) struct World<'a> {
    setting: &'a Setting,
    clock: Arc<ManualClock>,
    log: MemoryLog,
    random: Random,
    slots: Vec<Slot>,
    /// The largest committed offset seen of each partition.
    committed: BTreeMap<PartitionId, i64>,
    watched: Vec<PartitionId>,
    environment: Arc<TaskEnvironment>,
    violations: Arc<Mutex<Vec<Violation>>>,
    owners: Arc<Owners>,
    /// Whether late writers are looked for: where nothing fences them, and no one is expelled for
    /// another reason than silence.
    is_watching_writers: bool,
    trace: u64,
    steps: u64,
    /// Whether nothing goes wrong any more.
    is_healed: bool,
    is_closing: bool,
    last_error: Option<String>,
}

/// What is left of a run.
pub(super) struct Remains {
    pub(super) log: MemoryLog,
    pub(super) trace: u64,
    pub(super) steps: u64,
}

impl<'a> World<'a> {
    pub(super) fn new(setting: &'a Setting, seed: u64) -> Self {
        let clock = Arc::new(ManualClock::default());
        let log = MemoryLog::with_clock(Arc::clone(&clock) as Arc<dyn Clock>);
        let plan = setting.topology.plan();
        for topic in topics_read(plan).into_iter().chain(topics_written(plan)) {
            log.create_topic(&topic, setting.partitions);
        }
        let catalog = Arc::new(Catalog::new(log.partitions().clone(), log.admin()));
        let environment = Arc::new(TaskEnvironment::new(&setting.config, plan, catalog));
        let violations = Arc::default();
        let owners = Owners::new(log.partitions().clone(), Arc::clone(&violations));
        Self {
            setting,
            clock,
            log,
            random: Random::new(seed),
            slots: Vec::new(),
            committed: BTreeMap::new(),
            watched: Vec::new(),
            environment,
            owners,
            violations,
            is_watching_writers: false,
            trace: 0xCBF2_9CE4_8422_2325,
            steps: 0,
            is_healed: false,
            is_closing: false,
            last_error: None,
        }
    }

    /// Runs from the first record to the last close.
    pub(super) fn run(mut self, input: &Input, faults: &[Fault]) -> Result<Remains, Violation> {
        let is_expelled = |fault: &Fault| fault.strike == Strike::Expel;
        self.is_watching_writers =
            !self.setting.config.is_exactly_once() && !faults.iter().any(is_expelled);
        for _ in 0..self.setting.processes {
            self.add_slot();
        }
        let (mut fed, mut struck) = (0, 0);
        let span = faults.last().map_or(Duration::from_millis(200), |last| last.at);
        let share = input.records.len() as u32;
        let (mut quiet, mut deadline) = (0_u64, None);
        loop {
            let elapsed = self.clock.instant().since(Instant::default());
            while fed < input.records.len() && span * (fed as u32) / share.max(1) <= elapsed {
                self.feed(input, fed);
                fed += 1;
            }
            while struck < faults.len() && faults[struck].at <= elapsed {
                self.strike(&faults[struck]);
                struck += 1;
            }
            let is_over = fed == input.records.len() && struck == faults.len();
            if is_over && deadline.is_none() {
                self.heal();
                deadline = Some(self.clock.instant() + self.setting.patience);
            }
            let is_busy = self.step()?;
            self.check(is_busy)?;
            quiet = if is_busy { 0 } else { quiet + 1 };
            if deadline.is_some_and(|deadline| self.clock.instant() > deadline) {
                return Err(self.not_drained());
            }
            let is_settled = is_over && quiet > 30 * (1 + self.slots.len() as u64);
            if is_settled && self.is_closing && self.slots.iter().all(|slot| slot.process.is_none())
            {
                break;
            }
            let is_done = || self.undrained().or_else(|| self.misplaced()).is_none();
            let is_time = is_settled && !self.is_closing && quiet.is_multiple_of(64);
            if is_time && is_done() {
                self.close_all();
                quiet = 0;
            }
        }
        self.outlast_transactions();
        let disks: Vec<_> = self.slots.iter().map(|slot| &*slot.disk).collect();
        stores::check(&self.log, &self.environment, &self.setting.config, &disks)?;
        Ok(Remains { log: self.log, trace: self.trace, steps: self.steps })
    }

    fn add_slot(&mut self) {
        let index = self.slots.len();
        let (clock, owners) = (Arc::clone(&self.clock), Arc::clone(&self.owners));
        let port = Port::new(clock, index, owners, self.random.next());
        let disk = Disk::new(
            self.log.clone(),
            Arc::clone(&port),
            changelogs(&self.environment, self.setting),
            Arc::clone(&self.violations),
        );
        let starts_at = Some(self.clock.instant() + Duration::from_millis(5 * index as u64));
        let on_kill = (StateLoss::Nothing, Duration::ZERO);
        let away = Duration::ZERO;
        let frozen_until = Instant::default();
        let bug = self.setting.bug.map(|kind| {
            Bug::new(kind, &self.setting.config.application_id, &disk, self.random.next())
        });
        let slot = Slot { process: None, port, disk, bug, starts_at, on_kill, away, frozen_until };
        self.slots.push(slot);
    }

    fn feed(&self, input: &Input, index: usize) {
        let record = &input.records[index];
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        self.log.produce(&record.topic, None, record.timestamp, key, value, &Headers::new());
    }

    fn strike(&mut self, fault: &Fault) {
        let index = fault.process % self.slots.len();
        tracing::info!(%fault, "a fault strikes");
        let slot = &mut self.slots[index];
        match fault.strike {
            Strike::Kill { state, away, .. } => slot.on_kill = (state, away),
            Strike::Stop { away } => {
                slot.away = away;
                slot.process.iter().for_each(Process::close);
            }
            Strike::Freeze { lasting } => {
                slot.frozen_until = self.clock.instant() + lasting;
            }
            Strike::Join => return self.add_slot(),
            Strike::Expel => {
                if let Some(member) = slot.port.member() {
                    self.log.expel(&member.group, &member.member_id);
                }
            }
            Strike::ClockJump { by } => self.clock.advance(by),
            _ => {}
        }
        self.slots[index].port.strike(fault.strike);
    }

    fn heal(&mut self) {
        self.is_healed = true;
        for slot in &mut self.slots {
            slot.port.heal();
            slot.away = Duration::ZERO;
            slot.frozen_until = Instant::default();
        }
    }

    fn close_all(&mut self) {
        self.is_closing = true;
        self.slots.iter().filter_map(|slot| slot.process.as_ref()).for_each(Process::close);
    }

    /// Turns one part of one process; true if anything moved.
    fn step(&mut self) -> Result<bool, Violation> {
        self.steps += 1;
        let index = self.random.below(self.slots.len() as u64) as usize;
        let now = self.clock.instant();
        let slot = &mut self.slots[index];
        if slot.process.is_none() && !self.is_closing && slot.starts_at.is_some_and(|at| at <= now)
        {
            self.start(index);
            return Ok(true);
        }
        let Some(process) = slot.process.as_mut().filter(|_| slot.frozen_until <= now) else {
            self.advance(5);
            return Ok(false);
        };
        let part = self.random.below(process.parts());
        tracing::trace!(at = now.since(Instant::default()).as_millis(), index, part, "{TURN}");
        let turned = process.turn(part);
        self.note((index as u64) << 8 | part << 3 | turned as u64);
        match turned {
            Turned::Busy | Turned::Waiting | Turned::Idle => {}
            Turned::Ended => self.ended(index),
            Turned::Killed => self.killed(index),
            Turned::Panicked => return Err(self.panicked(index)),
        }
        let is_busy = turned != Turned::Idle;
        let is_slow = is_busy && !(turned == Turned::Waiting && self.is_healed);
        let milliseconds =
            if is_slow { u64::from(self.random.one_in(8)) } else { self.random.below(4) };
        self.advance(milliseconds);
        Ok(is_busy)
    }

    fn start(&mut self, index: usize) {
        tracing::info!(index, "a process starts");
        let slot = &mut self.slots[index];
        slot.starts_at = None;
        let directory = StateDirectory::simulated(
            format!("p{index}"),
            bug::stores(slot.bug.as_ref(), &slot.disk),
        );
        let setup = ProcessSetup {
            config: Arc::clone(&self.setting.config),
            topology: self.setting.topology.clone(),
            directory: Arc::new(directory),
            clock: bug::clock(slot.bug.as_ref(), Arc::clone(&self.clock) as Arc<dyn Clock>),
            log: FaultyLog {
                inner: self.log.clone(),
                port: Arc::clone(&slot.port),
                bug: slot.bug.clone(),
            },
            workers: self.setting.workers,
        };
        match Process::start(setup) {
            Ok(Some(process)) => slot.process = Some(process),
            Ok(None) => self.killed(index),
            Err(error) => {
                self.last_error = Some(error.to_string());
                slot.starts_at = Some(self.clock.instant() + Duration::from_millis(50));
            }
        }
    }

    fn killed(&mut self, index: usize) {
        let slot = &mut self.slots[index];
        let (loss, away) = slot.on_kill;
        tracing::info!(index, "the process is killed");
        slot.process = None;
        bug::lose(slot.bug.as_ref(), &slot.disk, loss);
        slot.starts_at = Some(self.clock.instant() + away);
    }

    fn panicked(&self, index: usize) -> Violation {
        let process = self.slots[index].process.as_ref();
        Check::Panic.violated(process.and_then(Process::panic).unwrap_or("a process panicked"))
    }

    fn ended(&mut self, index: usize) {
        let slot = &mut self.slots[index];
        if let Some(error) = slot.process.take().and_then(|process| process.error()) {
            self.last_error = Some(error.to_string());
        }
        slot.starts_at = Some(self.clock.instant() + slot.away + Duration::from_millis(20));
    }

    fn advance(&self, milliseconds: u64) {
        self.clock.advance(Duration::from_millis(milliseconds));
    }

    fn note(&mut self, what: u64) {
        let time = self.clock.timestamp().as_millis() as u64;
        for part in [what, time] {
            self.trace = (self.trace ^ part).wrapping_mul(0x0000_0100_0000_01B3);
        }
    }

    /// Looks for what must never be.
    fn check(&mut self, is_busy: bool) -> Result<(), Violation> {
        if let Some(violation) = self.violations.lock().expect("no panic while held").pop() {
            return Err(violation);
        }
        if !is_busy || !self.steps.is_multiple_of(16) {
            return Ok(());
        }
        if self.watched.is_empty() {
            self.watched = self.sources();
            if self.is_watching_writers {
                self.owners.watch(self.changelogs());
            }
        }
        let admin = self.log.admin();
        let wanted: Vec<_> = self.watched.iter().map(|id| (*id, OffsetSpec::Earliest)).collect();
        let earliest = admin.offsets(&wanted).map_err(|error| Check::Purge.violated(error))?;
        for (partition, earliest) in self.watched.iter().zip(earliest) {
            let group = &self.setting.config.application_id;
            // Where a transaction is open on an offset, there is nothing to be seen yet.
            let Ok(found) = admin.committed(group, &[*partition]) else { continue };
            let found = found.into_iter().flatten().next();
            let offset = found.as_ref().map_or(0, |found| found.offset);
            if earliest > offset {
                let name = self.log.partitions().name(*partition);
                let text = format!("`{name}` is purged to {earliest} and committed up to {offset}");
                return Err(Check::Purge.violated(text));
            }
            let Some(found) = found else { continue };
            let known = self.committed.entry(*partition).or_insert(found.offset);
            if found.offset < *known {
                let name = self.log.partitions().name(*partition);
                let offset = found.offset;
                let text = format!("the offset of `{name}` went back from {known} to {offset}");
                return Err(Check::Offsets.violated(text));
            }
            *known = found.offset;
        }
        Ok(())
    }

    /// The partitions that tasks read; none while a topic is missing.
    fn sources(&self) -> Vec<PartitionId> {
        let mut sources = Vec::new();
        let Ok(tasks) = self.environment.tasks() else { return Vec::new() };
        for task in tasks {
            let Ok(inputs) = self.environment.inputs(task) else { return Vec::new() };
            let ids = self.environment.catalog.ids();
            sources.extend(inputs.iter().map(|(_, partition, _)| ids.id(partition)));
        }
        sources
    }

    /// The changelog partitions of all tasks, each with the partitions that its task reads.
    fn changelogs(&self) -> BTreeMap<PartitionId, Vec<PartitionId>> {
        let mut changelogs = BTreeMap::new();
        let ids = self.environment.catalog.ids();
        for task in self.environment.tasks().into_iter().flatten() {
            let Ok(inputs) = self.environment.inputs(task) else { continue };
            let Ok(stores) = self.environment.changelogs(task) else { continue };
            let inputs: Vec<_> = inputs.iter().map(|(_, partition, _)| ids.id(partition)).collect();
            changelogs.extend(stores.iter().map(|(_, changelog, _)| (*changelog, inputs.clone())));
        }
        changelogs
    }

    /// A partition with records behind what is committed, if there is one.
    fn undrained(&self) -> Option<String> {
        let admin = self.log.admin();
        let mut last: BTreeMap<TopicPartition, i64> = BTreeMap::new();
        let sources = self.sources();
        if sources.is_empty() {
            return Some("the internal topics are not there".to_owned());
        }
        for partition in sources {
            let name = self.log.partitions().name(partition);
            if !last.contains_key(&name) {
                for record in self.log.read(&name.topic) {
                    let place = TopicPartition::new(Arc::clone(&name.topic), record.partition);
                    last.insert(place, record.offset + 1);
                }
            }
            let wanted = last.get(&name).copied().unwrap_or(0);
            let group = &self.setting.config.application_id;
            let committed = admin.committed(group, &[partition]);
            let Ok(committed) = committed else { return Some(format!("`{name}` is unstable")) };
            if self.is_open(partition) {
                return Some(format!("a transaction is open in `{name}`"));
            }
            let offset = committed[0].as_ref().map_or(0, |committed| committed.offset);
            if offset < wanted {
                return Some(format!("`{name}` is committed up to {offset} of {wanted}"));
            }
        }
        None
    }

    /// A task that runs nowhere, or in two places.
    fn misplaced(&self) -> Option<String> {
        let processes = || self.slots.iter().filter_map(|slot| slot.process.as_ref());
        let tasks = self.environment.tasks().ok()?;
        let places = |task| processes().flat_map(Process::tasks).filter(|id| *id == task).count();
        let misplaced = |task| {
            (places(task) != 1).then(|| format!("task {task} runs in {} places", places(task)))
        };
        tasks.into_iter().find_map(misplaced)
    }

    fn is_open(&self, partition: PartitionId) -> bool {
        let end = self.log.admin().offsets(&[(partition, OffsetSpec::End)]);
        let stable = self.log.stable_end(&self.log.partitions().name(partition));
        end.is_ok_and(|end| end[0] > stable)
    }

    /// Ends whatever transaction a dead process has left open.
    fn outlast_transactions(&self) {
        self.clock.advance(self.setting.config.transaction_timeout + Duration::from_secs(1));
    }

    fn not_drained(&self) -> Violation {
        let what = self.undrained().or_else(|| self.misplaced());
        let what = what.unwrap_or_else(|| "the processes do not close".to_owned());
        let error = self.last_error.as_deref().unwrap_or("none");
        let seconds = self.setting.patience.as_secs();
        Check::Drained.violated(format!(
            "not drained {seconds} s after the last fault: {what}; last error: {error}"
        ))
    }
}

fn changelogs(environment: &Arc<TaskEnvironment>, setting: &Setting) -> Arc<ChangelogOf> {
    let (environment, config) = (Arc::clone(environment), Arc::clone(&setting.config));
    Arc::new(move |task: &str, store: StoreIndex| {
        let task = task.parse().ok()?;
        let spec = environment.stores(task).into_iter().nth(store.0 as usize)?;
        let topic = changelog_topic(&config.application_id, &spec.name);
        spec.changelog.then(|| TopicPartition::new(topic, task.partition))
    })
}
