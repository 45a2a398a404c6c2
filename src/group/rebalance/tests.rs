//! Named cases, and random sequences against a naive model.

use std::collections::{BTreeMap, BTreeSet};

use super::TaskCommand::{Abandon, Close, GiveUp, NoTask, Start};
use super::*;
use crate::log::TopicPartition;
use crate::topology::SubtopologyId;

/// Small seeded randomness (splitmix64).
pub(in crate::group) struct Random(u64);

impl Random {
    pub(in crate::group) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(in crate::group) fn below(&mut self, end: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((bits ^ (bits >> 31)) % u64::from(end.max(1))) as u32
    }
}

const TASKS: u32 = 4;

fn task(index: u32) -> TaskId {
    TaskId::new(SubtopologyId(0), index)
}

struct Bench {
    machine: Rebalance,
    partitions: Vec<PartitionId>,
}

impl Bench {
    fn new() -> Self {
        let table = Partitions::default();
        // One more than there are tasks: a partition by which the topic has grown.
        let id = |index| table.id(&TopicPartition::new("in", index));
        let partitions: Vec<PartitionId> = (0..=TASKS).map(id).collect();
        let tasks = (0..TASKS).map(task).zip(partitions.iter().copied());
        Self { machine: Rebalance::new(tasks), partitions }
    }

    fn assigned(&mut self, index: u32) -> Vec<TaskCommand> {
        let partition = self.partition(index);
        self.say(&GroupEvent::Assigned(vec![partition]))
    }

    fn revoking(&mut self, index: u32) -> Vec<TaskCommand> {
        let partition = self.partition(index);
        self.say(&GroupEvent::Revoking(vec![partition]))
    }

    fn lost(&mut self, index: u32) -> Vec<TaskCommand> {
        let partition = self.partition(index);
        self.say(&GroupEvent::Lost(vec![partition]))
    }

    fn say(&mut self, event: &GroupEvent) -> Vec<TaskCommand> {
        let mut commands = Vec::new();
        self.machine.on_event(event, &mut commands);
        commands
    }

    fn closed(&mut self, index: u32) -> Vec<TaskCommand> {
        let mut commands = Vec::new();
        self.machine.closed(task(index), &mut commands);
        commands
    }

    fn restart(&mut self, index: u32) -> Vec<TaskCommand> {
        let mut commands = Vec::new();
        self.machine.restart(task(index), &mut commands);
        commands
    }

    fn stop(&mut self) -> Vec<TaskCommand> {
        let mut commands = Vec::new();
        self.machine.stop(&mut commands);
        commands
    }

    fn partition(&self, index: u32) -> PartitionId {
        self.partitions[index as usize]
    }
}

#[test]
fn a_revoked_partition_is_given_up_once_its_task_is_closed() {
    let mut bench = Bench::new();
    assert_eq!(bench.assigned(1), [Start(task(1))]);
    assert_eq!(bench.machine.owned().collect::<Vec<_>>(), [task(1)]);
    assert_eq!(bench.revoking(1), [Close(task(1))]);
    assert!(bench.machine.owned().next().is_none() && !bench.machine.is_idle());
    assert_eq!(bench.closed(1), [GiveUp(bench.partition(1))]);
    assert!(bench.machine.is_idle());
}

#[test]
fn a_lost_partition_is_abandoned_and_not_given_up() {
    let mut bench = Bench::new();
    bench.assigned(1);
    assert_eq!(bench.lost(1), [Abandon(task(1))]);
    assert_eq!(bench.closed(1), []);
}

#[test]
fn losing_what_is_being_revoked_stops_its_commit_and_its_giving_up() {
    let mut bench = Bench::new();
    bench.assigned(1);
    bench.revoking(1);
    assert_eq!(bench.lost(1), [Abandon(task(1))]);
    assert_eq!(bench.lost(1), []);
    assert_eq!(bench.closed(1), []);
}

#[test]
fn a_partition_assigned_while_it_is_closed_starts_once_it_is_closed() {
    let mut bench = Bench::new();
    bench.assigned(1);
    bench.lost(1);
    assert_eq!(bench.assigned(1), []);
    assert_eq!(bench.closed(1), [Start(task(1))]);
    bench.revoking(1);
    assert_eq!(bench.assigned(1), []);
    assert_eq!(bench.closed(1), [Start(task(1))]);
}

#[test]
fn a_revocation_of_what_is_not_here_is_answered_at_once() {
    let mut bench = Bench::new();
    assert_eq!(bench.revoking(1), [GiveUp(bench.partition(1))]);
    assert_eq!(bench.lost(1), []);
}

#[test]
fn a_partition_without_a_task_is_reported() {
    let mut bench = Bench::new();
    let grown = bench.partition(TASKS);
    assert_eq!(bench.assigned(TASKS), [NoTask(grown)]);
    assert_eq!(bench.lost(TASKS), []);
    assert_eq!(bench.revoking(TASKS), [GiveUp(grown)]);
}

#[test]
fn the_end_of_the_membership_loses_everything() {
    let mut bench = Bench::new();
    bench.assigned(0);
    bench.assigned(1);
    bench.revoking(1);
    let failed = GroupEvent::Failed("expelled".into());
    assert_eq!(bench.say(&failed), [Abandon(task(0)), Abandon(task(1))]);
}

#[test]
fn a_task_that_ended_by_itself_waits_for_its_restart_and_can_be_revoked_meanwhile() {
    let mut bench = Bench::new();
    bench.assigned(1);
    assert_eq!(bench.closed(1), []);
    assert_eq!(bench.machine.owned().collect::<Vec<_>>(), [task(1)]);
    assert_eq!(bench.restart(1), [Start(task(1))]);
    bench.closed(1);
    assert_eq!(bench.revoking(1), [GiveUp(bench.partition(1))]);
    assert_eq!(bench.restart(1), []);
}

#[test]
fn a_task_moves_between_workers_without_the_group() {
    let mut bench = Bench::new();
    bench.assigned(1);
    assert_eq!(bench.restart(1), [Close(task(1))]);
    assert_eq!(bench.restart(1), []);
    assert_eq!(bench.closed(1), [Start(task(1))]);
    bench.restart(1);
    bench.revoking(1);
    assert_eq!(bench.closed(1), [GiveUp(bench.partition(1))]);
}

#[test]
fn a_stopping_process_closes_everything_and_starts_nothing() {
    let mut bench = Bench::new();
    for index in 0..3 {
        bench.assigned(index);
    }
    bench.restart(1);
    bench.revoking(2);
    assert_eq!(bench.stop(), [Close(task(0))]);
    assert_eq!(bench.assigned(3), []);
    assert_eq!(bench.closed(0), []);
    assert_eq!(bench.closed(1), []);
    assert_eq!(bench.closed(2), [GiveUp(bench.partition(2))]);
    assert!(bench.machine.is_idle());
    assert_eq!(bench.revoking(0), [GiveUp(bench.partition(0))]);
}

/// What anyone can see from outside: what the group has said, and which tasks are alive.
#[derive(Default)]
struct Model {
    ours: BTreeSet<u32>,
    /// Revocations that the group waits for.
    owed: BTreeSet<u32>,
    /// Tasks between `Start` and the report of their end; the value is whether they may commit.
    alive: BTreeMap<u32, bool>,
    told_to_end: BTreeSet<u32>,
    /// Tasks that ended without having been told to.
    failed: BTreeSet<u32>,
    is_stopping: bool,
}

impl Model {
    fn obey(&mut self, commands: &[TaskCommand], bench: &Bench) {
        for command in commands {
            match command {
                Start(task) => {
                    assert!(self.ours.contains(&task.partition), "started what is not ours");
                    assert!(!self.is_stopping, "started while stopping");
                    let before = self.alive.insert(task.partition, true);
                    assert_eq!(before, None, "started twice");
                    self.failed.remove(&task.partition);
                }
                Close(task) => {
                    assert!(self.alive.contains_key(&task.partition), "closed what is not alive");
                    assert!(self.told_to_end.insert(task.partition), "closed twice");
                }
                Abandon(task) => {
                    let may_commit = self.alive.insert(task.partition, false);
                    assert_eq!(may_commit, Some(true), "abandoned twice, or what is not alive");
                    self.told_to_end.insert(task.partition);
                }
                GiveUp(partition) => {
                    let index = bench.partitions.iter().position(|id| id == partition).unwrap();
                    assert!(!self.alive.contains_key(&(index as u32)), "given up while alive");
                    assert!(self.owed.remove(&(index as u32)), "given up unasked");
                }
                NoTask(partition) => assert_eq!(*partition, bench.partition(TASKS)),
            }
        }
    }

    fn step(&mut self, random: &mut Random, bench: &mut Bench) {
        let index = random.below(TASKS);
        let commands = match random.below(13) {
            0..=2 => {
                self.ours.insert(index);
                self.owed.remove(&index);
                bench.assigned(index)
            }
            3..=4 => {
                self.ours.remove(&index);
                self.owed.insert(index);
                bench.revoking(index)
            }
            5 => {
                self.lose(index);
                bench.lost(index)
            }
            6 if random.below(8) == 0 => {
                (0..TASKS).for_each(|index| self.lose(index));
                bench.say(&GroupEvent::Failed("expelled".into()))
            }
            7 if random.below(12) == 0 => {
                self.is_stopping = true;
                bench.stop()
            }
            8 => {
                self.failed.remove(&index);
                bench.restart(index)
            }
            9 if self.alive.contains_key(&index) => {
                if !self.told_to_end.contains(&index) {
                    self.failed.insert(index);
                }
                self.end(index, bench)
            }
            _ if self.told_to_end.contains(&index) => self.end(index, bench),
            _ => Vec::new(),
        };
        self.obey(&commands, bench);
        for (task, may_commit) in &self.alive {
            let is_lost = !self.ours.contains(task) && !self.owed.contains(task);
            assert!(!(is_lost && *may_commit), "task {task} is lost but may commit");
        }
    }

    fn lose(&mut self, index: u32) {
        self.ours.remove(&index);
        self.owed.remove(&index);
    }

    fn end(&mut self, index: u32, bench: &mut Bench) -> Vec<TaskCommand> {
        self.alive.remove(&index);
        self.told_to_end.remove(&index);
        bench.closed(index)
    }

    /// Lets every closing task close: then exactly what is ours runs, and no answer is owed.
    fn settle(&mut self, bench: &mut Bench) {
        while let Some(index) = self.told_to_end.first().copied() {
            let commands = self.end(index, bench);
            self.obey(&commands, bench);
        }
        for index in std::mem::take(&mut self.failed) {
            let commands = bench.restart(index);
            self.obey(&commands, bench);
        }
        assert!(self.owed.is_empty(), "the group waits for {:?}", self.owed);
        let owned: BTreeSet<u32> = bench.machine.owned().map(|task| task.partition).collect();
        assert_eq!(owned, self.ours);
        let alive: BTreeSet<u32> = self.alive.keys().copied().collect();
        assert_eq!(alive, if self.is_stopping { BTreeSet::new() } else { self.ours.clone() });
        assert_eq!(bench.machine.is_idle(), alive.is_empty());
    }
}

#[test]
fn random_events_never_break_ownership_and_always_settle() {
    for seed in 0..2_000 {
        let mut random = Random::new(seed);
        let (mut bench, mut model) = (Bench::new(), Model::default());
        for _ in 0..4 {
            for _ in 0..random.below(60) {
                model.step(&mut random, &mut bench);
            }
            model.settle(&mut bench);
        }
    }
}
