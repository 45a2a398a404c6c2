//! A worker without transactions: writes numbers, and never writes one again.

use std::collections::{BTreeMap, BTreeSet};

use super::cluster::Cluster;
use super::engine::id;
use super::host::Host;
use super::partition::batch_of;
use super::random::Random;
use super::{Player, place};
use crate::log::{EffectId, LogEvent, Outcome, TopicPartition};
use crate::time::Instant;

pub(super) const PLAIN: &str = "plain";
const WIDTH: u32 = 3;

/// How a number has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fate {
    /// Behind the last record of its batch.
    Done(Option<i64>),
    Failed,
    Unknown,
}

pub(super) struct Plain {
    left: u32,
    next: u64,
    sends: BTreeMap<EffectId, (u32, Vec<String>)>,
    fates: BTreeMap<(u32, String), Fate>,
    initialising: Option<EffectId>,
    is_stale: bool,
    act_at: Instant,
    random: Random,
    last_effect: u64,
    restarts: u64,
}

impl Plain {
    pub(super) fn new(count: u32, random: Random) -> Self {
        Self {
            left: count,
            next: 0,
            sends: BTreeMap::new(),
            fates: BTreeMap::new(),
            initialising: None,
            is_stale: false,
            act_at: Instant::default(),
            random,
            last_effect: 0,
            restarts: 0,
        }
    }

    fn send(&mut self, host: &mut Host, cluster: &Cluster, now: Instant) {
        for _ in 0..=self.random.below(6).min(u64::from(self.left)) {
            self.left = self.left.saturating_sub(1);
            let index = self.random.below(u64::from(WIDTH)) as u32;
            let count = 1 + self.random.below(4);
            let values: Vec<_> =
                (self.next..self.next + count).map(|value| value.to_string()).collect();
            self.next += count;
            let name = || TopicPartition::new(PLAIN, index);
            let effect = host.core.send(id(cluster, PLAIN, index), name, batch_of(&values), now);
            self.last_effect = effect.0;
            self.sends.insert(effect, (index, values));
        }
    }

    fn ended(&mut self, effect: EffectId, outcome: &Outcome) {
        let is_done = matches!(outcome, Outcome::Done { .. });
        if self.initialising == Some(effect) {
            self.initialising = None;
            self.is_stale = !is_done;
        }
        let Some((index, values)) = self.sends.remove(&effect) else { return };
        self.is_stale |= !is_done;
        let count = values.len();
        for (at, value) in values.into_iter().enumerate() {
            let fate = match outcome {
                Outcome::Done { next_offset } => {
                    Fate::Done(next_offset.map(|next| next - (count - at) as i64))
                }
                Outcome::Failed(_) => Fate::Failed,
                Outcome::Unknown => Fate::Unknown,
            };
            self.fates.insert((index, value), fate);
        }
    }
}

impl Player for Plain {
    fn play(&mut self, host: &mut Host, cluster: &Cluster, events: Vec<LogEvent>, now: Instant) {
        for event in events {
            if let LogEvent::Ended { effect, outcome } = event {
                self.ended(effect, &outcome);
            }
        }
        if self.is_stale && self.initialising.is_none() {
            self.is_stale = false;
            self.restarts += 1;
            let effect = host.core.init_producer(now);
            self.last_effect = effect.0;
            self.initialising = Some(effect);
        } else if now >= self.act_at && self.left > 0 && self.initialising.is_none() {
            self.send(host, cluster, now);
            self.act_at = now + self.random.millis(1, 120);
        }
    }

    fn deadline(&self, now: Instant) -> Option<Instant> {
        let acts = self.left > 0 && self.initialising.is_none();
        acts.then_some(self.act_at.max(now))
    }

    fn is_done(&self, _cluster: &Cluster) -> bool {
        self.left == 0 && self.sends.is_empty() && self.initialising.is_none() && !self.is_stale
    }

    fn last_effect(&self) -> u64 {
        self.last_effect
    }

    fn check(&self, cluster: &Cluster) -> Vec<String> {
        let mut found = Vec::new();
        let mut seen = BTreeSet::new();
        for index in 0..WIDTH {
            let mut last = None;
            for (offset, value) in cluster.partitions[&place(PLAIN, index)].visible(false, i64::MAX)
            {
                if !seen.insert(value.clone()) {
                    found.push(format!("{PLAIN}-{index}: {value} is there twice"));
                }
                let number: u64 = value.parse().expect("values are written so");
                match self.fates.get(&(index, value)) {
                    Some(Fate::Done(at)) => {
                        if at.is_some_and(|at| at != offset) {
                            found.push(format!("{number} lies at {offset}, not at {at:?}"));
                        }
                        if last.replace(number) >= Some(number) {
                            found.push(format!("{PLAIN}-{index}: {number} is out of order"));
                        }
                    }
                    Some(Fate::Unknown) => {}
                    other => found.push(format!("{number} is there: {other:?}")),
                }
            }
        }
        let done = self.fates.iter().filter(|(_, fate)| matches!(fate, Fate::Done(_)));
        let lost = done.filter(|((_, value), _)| !seen.contains(value));
        found.extend(lost.map(|((index, value), _)| format!("{PLAIN}-{index}: {value} is lost")));
        found
    }

    fn tells(&self) -> (u64, u64) {
        (u64::from(self.next > 0), self.restarts)
    }
}
