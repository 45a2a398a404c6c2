//! A reader that only reads, under either isolation, pausing and moving once in a while.

use std::collections::BTreeMap;

use super::cluster::Cluster;
use super::engine::id;
use super::host::Host;
use super::partition::values;
use super::random::Random;
use super::{Player, place};
use crate::log::{LogEvent, TopicPartition};
use crate::time::Instant;

/// What has been seen of a partition.
#[derive(Debug, Default)]
struct Seen {
    /// Where the reading began.
    from: i64,
    position: i64,
    records: Vec<(i64, String)>,
    is_paused: bool,
    is_reading: bool,
    /// Where it last was that there was no more.
    caught_up_at: Option<i64>,
}

pub(super) struct Watcher {
    topics: Vec<(&'static str, u32)>,
    is_committed_only: bool,
    seen: BTreeMap<(&'static str, u32), Seen>,
    act_at: Instant,
    random: Random,
}

impl Watcher {
    pub(super) fn new(
        topics: &[(&'static str, u32)],
        is_committed_only: bool,
        random: Random,
    ) -> Self {
        Self {
            topics: topics.to_vec(),
            is_committed_only,
            seen: BTreeMap::new(),
            act_at: Instant::default(),
            random,
        }
    }

    fn start(&mut self, host: &mut Host, cluster: &Cluster) {
        for (topic, width) in self.topics.clone() {
            for index in 0..width {
                self.read(host, cluster, (topic, index), 0);
            }
        }
    }

    fn read(&mut self, host: &mut Host, cluster: &Cluster, of: (&'static str, u32), from: i64) {
        let is_paused = self.seen.get(&of).is_some_and(|seen| seen.is_paused);
        let seen = Seen { from, position: from, is_paused, is_reading: true, ..Seen::default() };
        self.seen.insert(of, seen);
        host.core.read_from(id(cluster, of.0, of.1), TopicPartition::new(of.0, of.1), from);
    }

    fn find(&mut self, cluster: &Cluster, id: crate::log::PartitionId) -> Option<&mut Seen> {
        let name = cluster.ids.name(id);
        let (topic, _) = self.topics.iter().find(|(topic, _)| **topic == *name.topic)?;
        self.seen.get_mut(&(*topic, name.partition))
    }

    fn took(&mut self, host: &mut Host, cluster: &Cluster, event: LogEvent) {
        let is_committed_only = self.is_committed_only;
        match event {
            LogEvent::Fetched(batch) => {
                let id = batch.partition();
                let Some(seen) = self.find(cluster, id) else { return };
                if seen.is_paused || !seen.is_reading || batch.next_offset() <= seen.position {
                    host.violations.push(format!("{} came: {batch:?}", cluster.ids.name(id)));
                }
                let all = values(id, batch.bytes()).into_iter();
                seen.records.extend(all.filter(|(offset, _)| *offset >= seen.from));
                seen.position = batch.next_offset();
            }
            LogEvent::CaughtUp { partition, position } => {
                let name = cluster.ids.name(partition);
                let there = &cluster.partitions[&place(&name.topic, name.partition)];
                let limit = there.limit(is_committed_only);
                let Some(seen) = self.find(cluster, partition) else { return };
                if position < seen.position || position > limit {
                    let text = format!("{name}: caught up at {position}, of {limit}: {seen:?}");
                    host.violations.push(text);
                }
                seen.position = position;
                seen.caught_up_at = Some(position);
            }
            LogEvent::ReadFailed { partition, error } => {
                host.violations.push(format!("{}: {error}", cluster.ids.name(partition)));
            }
            LogEvent::Ended { .. } => host.violations.push("a reader has no effects".into()),
        }
    }

    /// Pauses one, goes on with one, or begins anew somewhere.
    fn act(&mut self, host: &mut Host, cluster: &Cluster, now: Instant) {
        self.act_at = now + self.random.millis(20, 400);
        let all: Vec<_> = self.seen.keys().copied().collect();
        let of = self.random.pick(&all);
        let partition = id(cluster, of.0, of.1);
        match self.random.below(8) {
            0 => {
                let end = cluster.partitions[&place(of.0, of.1)].last_stable();
                let from = self.random.below(end as u64 + 1) as i64;
                self.read(host, cluster, of, from);
            }
            1 => {
                host.core.stop_reading(partition);
                let seen = self.seen.entry(of).or_default();
                (seen.is_reading, seen.is_paused) = (false, false);
            }
            2..4 => self.pause(host, cluster, of, true),
            _ => self.pause(host, cluster, of, false),
        }
    }

    fn pause(&mut self, host: &mut Host, cluster: &Cluster, of: (&'static str, u32), paused: bool) {
        if let Some(seen) = self.seen.get_mut(&of).filter(|seen| seen.is_reading) {
            seen.is_paused = paused;
            host.core.pause(id(cluster, of.0, of.1), paused);
        } else {
            self.read(host, cluster, of, 0);
        }
    }

    fn settle(&mut self, host: &mut Host, cluster: &Cluster) {
        for of in self.seen.keys().copied().collect::<Vec<_>>() {
            let seen = &self.seen[&of];
            if seen.is_paused || !seen.is_reading {
                self.pause(host, cluster, of, false);
            }
        }
    }
}

impl Player for Watcher {
    fn play(&mut self, host: &mut Host, cluster: &Cluster, events: Vec<LogEvent>, now: Instant) {
        if self.seen.is_empty() {
            self.start(host, cluster);
        }
        for event in events {
            self.took(host, cluster, event);
        }
        if cluster.is_calm {
            self.settle(host, cluster);
        } else if now >= self.act_at {
            self.act(host, cluster, now);
        }
    }

    fn deadline(&self, now: Instant) -> Option<Instant> {
        Some(self.act_at.max(now)).filter(|_| self.act_at > now)
    }

    fn is_done(&self, cluster: &Cluster) -> bool {
        let is_behind = |(of, seen): (&(&str, u32), &Seen)| {
            let there = &cluster.partitions[&place(of.0, of.1)];
            seen.caught_up_at != Some(there.limit(self.is_committed_only))
        };
        cluster.is_calm && !self.seen.iter().any(is_behind)
    }

    fn last_effect(&self) -> u64 {
        0
    }

    fn check(&self, cluster: &Cluster) -> Vec<String> {
        let mut found = Vec::new();
        for ((topic, index), seen) in &self.seen {
            let there = &cluster.partitions[&place(topic, *index)];
            let mut shown = there.visible(self.is_committed_only, i64::MAX);
            shown.retain(|(offset, _)| *offset >= seen.from);
            if shown != seen.records {
                let (saw, from) = (&seen.records, seen.from);
                found.push(format!("{topic}-{index} from {from}: saw {saw:?}, holds {shown:?}"));
            }
        }
        found
    }

    fn tells(&self) -> (u64, u64) {
        (self.seen.values().map(|seen| seen.records.len() as u64).sum(), 0)
    }
}
