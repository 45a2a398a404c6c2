//! A worker as the engine has it: reads, and writes what follows in transactions.
//!
//! Each record that is read gives one record that is written, whose value says which one it was.
//! The order of a commit is that of `task::commit`: all sends, then the offsets, then the end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::cluster::Cluster;
use super::host::Host;
use super::partition::{batch_of, values};
use super::random::Random;
use super::{GROUP, Player, place};
use crate::kafka::native::messages::offsets::NamedOffset;
use crate::kafka::native::transactor::Offsets;
use crate::log::{
    EffectId, End, LogEvent, MemberToken, Outcome, PartitionId, TopicPartition, WriteError,
};
use crate::time::Instant;

pub(super) const INPUT: &str = "in";
pub(super) const OUTPUT: &str = "out";
pub(super) const WIDTH: u32 = 2;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    Stale,
    Initialising(EffectId),
    /// Waits for the committed offsets to be stable.
    Starting,
    Running,
    /// Everything has been sent.
    Sending,
    Offsets(EffectId),
    Ending(EffectId),
    Aborting(EffectId),
}

pub(super) struct Engine {
    phase: Phase,
    sends: BTreeSet<EffectId>,
    is_open: bool,
    /// What waits to be sent, by the partition of the output.
    outbox: BTreeMap<u32, Vec<String>>,
    /// By the partition of the input.
    positions: BTreeMap<u32, i64>,
    /// Those of what has been sent.
    prepared: BTreeMap<u32, i64>,
    /// Behind the last record of each.
    ends: BTreeMap<u32, i64>,
    act_at: Instant,
    random: Random,
    last_effect: u64,
    pub(super) commits: u64,
    pub(super) restarts: u64,
}

impl Engine {
    pub(super) fn new(cluster: &Cluster, random: Random) -> Self {
        let ends = (0..WIDTH).map(|index| {
            let shown = cluster.partitions[&place(INPUT, index)].visible(true, i64::MAX);
            (index, shown.last().map_or(0, |(offset, _)| offset + 1))
        });
        Self {
            phase: Phase::Stale,
            sends: BTreeSet::new(),
            is_open: false,
            outbox: BTreeMap::new(),
            positions: BTreeMap::new(),
            prepared: BTreeMap::new(),
            ends: ends.collect(),
            act_at: Instant::default(),
            random,
            last_effect: 0,
            commits: 0,
            restarts: 0,
        }
    }

    fn begun(&mut self, effect: EffectId) -> EffectId {
        self.last_effect = effect.0;
        effect
    }

    /// Whatever is under way is forgotten.
    fn restart(&mut self, host: &mut Host, cluster: &Cluster) {
        self.restarts += 1;
        self.phase = Phase::Stale;
        self.forget(host, cluster);
    }

    fn forget(&mut self, host: &mut Host, cluster: &Cluster) {
        self.sends.clear();
        self.outbox.clear();
        self.positions.clear();
        for index in 0..WIDTH {
            host.core.stop_reading(id(cluster, INPUT, index));
        }
    }

    fn start(&mut self, host: &mut Host, cluster: &Cluster, now: Instant) {
        let all: Option<Vec<_>> =
            (0..WIDTH).map(|index| cluster.committed(GROUP, &place(INPUT, index))).collect();
        let Some(all) = all else {
            self.act_at = now + self.random.millis(5, 20);
            return;
        };
        for (index, offset) in (0..).zip(all) {
            self.positions.insert(index, offset);
            let name = TopicPartition::new(INPUT, index);
            host.core.read_from(id(cluster, INPUT, index), name, offset);
        }
        self.phase = Phase::Running;
    }

    fn took(&mut self, host: &mut Host, cluster: &Cluster, event: LogEvent) {
        match event {
            LogEvent::Ended { effect, outcome } => self.ended(host, cluster, effect, outcome),
            LogEvent::Fetched(batch) => {
                let index = cluster.ids.name(batch.partition()).partition;
                // It came together with what led to a new start.
                let Some(position) = self.positions.get_mut(&index) else { return };
                let from = *position;
                *position = batch.next_offset();
                for (offset, value) in values(batch.partition(), batch.bytes()) {
                    if offset >= from {
                        let to = (offset % i64::from(WIDTH)) as u32;
                        self.outbox.entry(to).or_default().push(value);
                    }
                }
            }
            LogEvent::CaughtUp { partition, position } => {
                let index = cluster.ids.name(partition).partition;
                let before = self.positions.insert(index, position).unwrap_or(position);
                if before > position {
                    host.violations.push(format!("a position went back from {before}"));
                }
            }
            LogEvent::ReadFailed { partition, error } => {
                host.violations.push(format!("{}: {error}", cluster.ids.name(partition)));
            }
        }
    }

    fn ended(&mut self, host: &mut Host, cluster: &Cluster, effect: EffectId, outcome: Outcome) {
        let is_done = matches!(outcome, Outcome::Done { .. });
        if self.sends.remove(&effect) {
            if !is_done {
                self.restart(host, cluster);
            }
            return;
        }
        match self.phase {
            Phase::Initialising(waiting) if waiting == effect => {
                self.is_open = false;
                self.phase = if is_done { Phase::Starting } else { Phase::Stale };
            }
            Phase::Aborting(waiting) if waiting == effect => {
                self.is_open = false;
                self.phase = if is_done { Phase::Starting } else { Phase::Stale };
            }
            Phase::Offsets(waiting) if waiting == effect && is_done => {
                self.phase = Phase::Ending(host.core.end_transaction(End::Commit, self.act_at));
                let Phase::Ending(effect) = self.phase else { unreachable!() };
                self.begun(effect);
            }
            Phase::Offsets(waiting) if waiting == effect => {
                self.restart(host, cluster);
                if let Outcome::Failed(error) = outcome
                    && !matches!(error, WriteError::Fatal(_))
                {
                    let effect = host.core.end_transaction(End::Abort, self.act_at);
                    self.phase = Phase::Aborting(self.begun(effect));
                }
            }
            Phase::Ending(waiting) if waiting == effect && is_done => {
                self.is_open = false;
                self.commits += 1;
                self.phase = Phase::Running;
            }
            Phase::Ending(waiting) if waiting == effect => self.restart(host, cluster),
            _ => {}
        }
    }

    fn send(&mut self, host: &mut Host, cluster: &Cluster, now: Instant) {
        for (index, values) in std::mem::take(&mut self.outbox) {
            if values.is_empty() {
                continue;
            }
            if !std::mem::replace(&mut self.is_open, true) {
                host.core.begin_transaction();
            }
            let size = 1 + self.random.below(4) as usize;
            for values in values.chunks(size) {
                let name = || TopicPartition::new(OUTPUT, index);
                let to = id(cluster, OUTPUT, index);
                let effect = host.core.send(to, name, batch_of(values), now);
                self.begun(effect);
                self.sends.insert(effect);
            }
        }
    }

    fn commit_offsets(&mut self, host: &mut Host, now: Instant) {
        let offsets = self.prepared.iter().map(|(index, offset)| NamedOffset {
            name: TopicPartition::new(INPUT, *index),
            offset: *offset,
            metadata: String::new(),
        });
        let offsets = Offsets {
            offsets: offsets.collect::<Vec<_>>().into(),
            member: MemberToken { group: GROUP.into(), ..MemberToken::default() },
            is_inside: host.core.is_in_transaction(),
        };
        if !offsets.is_inside {
            host.violations.push("the transaction is not open any more".into());
        }
        let effect = host.core.commit_offsets(offsets, now);
        self.phase = Phase::Offsets(self.begun(effect));
    }

    fn act(&mut self, host: &mut Host, cluster: &Cluster, now: Instant) {
        match self.phase {
            Phase::Stale => {
                let effect = host.core.init_producer(now);
                self.phase = Phase::Initialising(self.begun(effect));
            }
            Phase::Starting => self.start(host, cluster, now),
            Phase::Running => {
                self.send(host, cluster, now);
                let commits = self.is_open && self.random.one_in(2);
                if commits {
                    self.prepared.clone_from(&self.positions);
                    self.phase = Phase::Sending;
                }
                self.act_at = now + self.random.millis(1, 60);
            }
            Phase::Sending if self.sends.is_empty() => self.commit_offsets(host, now),
            _ => {}
        }
    }
}

impl Player for Engine {
    fn play(&mut self, host: &mut Host, cluster: &Cluster, events: Vec<LogEvent>, now: Instant) {
        let is_due = now >= self.act_at;
        for event in events {
            self.act_at = self.act_at.max(now);
            self.took(host, cluster, event);
        }
        let waits = matches!(self.phase, Phase::Running | Phase::Starting) && !is_due;
        if !waits {
            self.act(host, cluster, now);
        }
    }

    fn deadline(&self, now: Instant) -> Option<Instant> {
        let waits = matches!(self.phase, Phase::Running | Phase::Starting | Phase::Stale);
        waits.then_some(self.act_at.max(now))
    }

    fn is_done(&self, cluster: &Cluster) -> bool {
        let is_read = |index: u32| {
            let committed = cluster.offsets.get(&(GROUP.to_owned(), place(INPUT, index)));
            committed >= self.ends.get(&index)
        };
        self.phase == Phase::Running && !self.is_open && (0..WIDTH).all(is_read)
    }

    fn last_effect(&self) -> u64 {
        self.last_effect
    }

    fn check(&self, cluster: &Cluster) -> Vec<String> {
        let mut found = Vec::new();
        let mut written: BTreeMap<String, u32> = BTreeMap::new();
        for index in 0..WIDTH {
            let shown = cluster.partitions[&place(OUTPUT, index)].visible(true, i64::MAX);
            let mut last: BTreeMap<String, u64> = BTreeMap::new();
            for (_, value) in shown {
                *written.entry(value.clone()).or_default() += 1;
                let (from, number) = value.split_once(':').expect("values are written so");
                let number = number.parse().expect("values are written so");
                if last.insert(from.to_owned(), number) >= Some(number) {
                    found.push(format!("{OUTPUT}-{index}: {value} comes out of order"));
                }
            }
        }
        for index in 0..WIDTH {
            for (_, value) in cluster.partitions[&place(INPUT, index)].visible(true, i64::MAX) {
                match written.remove(&value) {
                    Some(1) => {}
                    times => found.push(format!("{value} took effect {times:?} times")),
                }
            }
        }
        found.extend(written.into_keys().map(|value| format!("{value} comes from nowhere")));
        found
    }

    fn tells(&self) -> (u64, u64) {
        (self.commits, self.restarts)
    }
}

pub(super) fn id(cluster: &Cluster, topic: &str, index: u32) -> PartitionId {
    cluster.ids.id(&TopicPartition::new(Arc::from(topic), index))
}
