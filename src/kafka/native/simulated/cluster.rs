//! What do the brokers of a cluster have in common, and what goes wrong with them?
//!
//! # Invariants
//!
//! - Only the leader of a partition reads and writes it, only a coordinator answers for an id.
//! - Nothing goes wrong any more once it is calm.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::partition::Partition;
use super::random::Random;
use super::transactions::{Place, Transaction};
use crate::kafka::native::api::Api;
use crate::kafka::native::messages::Code;
use crate::log::{Partitions, TopicPartition};
use crate::time::Instant;

/// What the brokers speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Release {
    /// With transactions of version 2.
    New,
    /// Speaks as the new ones do, but version 2 has not been switched on.
    Classic,
    /// Takes what it is sent, whether it belongs to a transaction or not.
    Old,
}

/// Something other than the answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Injected {
    pub(super) code: Code,
    /// Whether what was asked for is done all the same.
    pub(super) is_done: bool,
}

/// A cluster.
#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) release: Release,
    pub(super) random: Random,
    pub(super) is_calm: bool,
    /// Of the cluster's brokers, those that run, numbered from 1.
    pub(super) up: BTreeMap<i32, bool>,
    pub(super) ids: Partitions,
    pub(super) partitions: BTreeMap<Place, Partition>,
    /// From when on a broker knows a topic.
    pub(super) known_from: BTreeMap<(i32, String), Instant>,
    pub(super) offsets: BTreeMap<(String, Place), i64>,
    pub(super) transactions: BTreeMap<String, Transaction>,
    /// Of groups, and of transactions.
    pub(super) coordinators: [i32; 2],
    next_producer: i64,
    /// What no client should have done.
    pub(super) violations: Vec<String>,
    /// How often something went wrong, by its name.
    pub(super) faults: BTreeMap<&'static str, u64>,
}

impl Cluster {
    pub(super) fn new(release: Release, brokers: i32, random: Random) -> Self {
        Self {
            release,
            random,
            is_calm: false,
            up: (1..=brokers).map(|node| (node, true)).collect(),
            ids: Partitions::default(),
            partitions: BTreeMap::new(),
            known_from: BTreeMap::new(),
            offsets: BTreeMap::new(),
            transactions: BTreeMap::new(),
            coordinators: [1, brokers],
            next_producer: 1000,
            violations: Vec::new(),
            faults: BTreeMap::new(),
        }
    }

    pub(super) fn create(&mut self, topic: &str, count: u32) {
        let nodes: Vec<i32> = self.up.keys().copied().collect();
        for index in 0..count {
            let leader = self.random.pick(&nodes);
            let id = self.ids.id(&TopicPartition::new(topic, index));
            let place = (topic.to_owned(), index);
            self.partitions.insert(place, Partition::new(id, leader));
        }
        for node in nodes {
            let from = Instant::from_origin(self.random.millis(0, 1500));
            self.known_from.insert((node, topic.to_owned()), from);
        }
    }

    pub(super) fn producer(&mut self) -> i64 {
        self.next_producer += 1;
        self.next_producer
    }

    pub(super) const fn is_v2(&self) -> bool {
        matches!(self.release, Release::New)
    }

    pub(super) fn knows(&self, node: i32, topic: &str, now: Instant) -> bool {
        let from = self.known_from.get(&(node, topic.to_owned()));
        from.is_some_and(|from| self.is_calm || *from <= now)
    }

    pub(super) fn happened(&mut self, what: &'static str) {
        *self.faults.entry(what).or_default() += 1;
    }

    /// An error in the place of an answer, once in a while.
    pub(super) fn inject(&mut self, api: Api) -> Option<Injected> {
        if self.is_calm || !self.random.one_in(25) {
            return None;
        }
        let is_fatal = self.random.one_in(12);
        let codes: &[Code] = match (api, is_fatal) {
            (Api::Produce, false) => &[2, 3, 6, 7, 19, 20, 56],
            (Api::Produce, true) => &[29, 48, 59],
            (Api::Fetch, _) => &[1, 3, 6, 56, 74, 75, 78],
            (Api::ListOffsets, _) => &[3, 6, 78],
            (Api::InitProducerId, _) | (Api::AddOffsetsToTxn, false) => &[14, 15, 16, 51],
            (Api::AddPartitionsToTxn, false) => &[3, 14, 15, 16, 51],
            (Api::AddPartitionsToTxn | Api::AddOffsetsToTxn, true) => &[53, 90, 120],
            (Api::TxnOffsetCommit, false) => &[3, 7, 14, 15, 16],
            (Api::TxnOffsetCommit, true) => &[22, 25, 30, 120],
            (Api::OffsetCommit, false) => &[7, 14, 15, 16, 27],
            (Api::OffsetCommit, true) => &[22, 25],
            (Api::EndTxn, false) => &[7, 14, 15, 16, 51],
            (Api::EndTxn, true) => &[48, 90],
            (Api::FindCoordinator, _) => &[15],
            _ => return None,
        };
        let code = self.random.pick(codes);
        self.happened("error");
        // These say that it takes too long, not that it is not done.
        let is_done = matches!(code, 7 | 20) && self.random.one_in(2);
        Some(Injected { code, is_done })
    }

    /// How long the client is told to be quiet.
    pub(super) fn throttle_ms(&mut self) -> i32 {
        if self.is_calm || !self.random.one_in(40) {
            return 0;
        }
        self.happened("throttle");
        self.random.below(300) as i32
    }

    pub(super) fn markers_after(&mut self) -> Duration {
        if self.is_calm { Duration::from_millis(1) } else { self.random.millis(0, 60) }
    }

    /// Does what is due by itself.
    pub(super) fn tick(&mut self, now: Instant) {
        let is_v2 = self.is_v2();
        let mut all = std::mem::take(&mut self.transactions);
        for transaction in all.values_mut() {
            transaction.expire(now, is_v2);
            let Some(markers) = transaction.markers(now) else { continue };
            for place in markers.partitions {
                if let Some(partition) = self.partitions.get_mut(&place) {
                    partition.mark(markers.producer, markers.epoch, markers.commits);
                }
            }
            if markers.commits {
                self.offsets.extend(markers.offsets);
            }
        }
        self.transactions = all;
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.transactions.values().filter_map(Transaction::deadline).min()
    }

    /// What a group has committed of a partition, unless a transaction is open on it.
    pub(super) fn committed(&self, group: &str, place: &Place) -> Option<i64> {
        let key = (group.to_owned(), place.clone());
        let is_open = self.transactions.values().any(|each| each.offsets.contains_key(&key));
        (!is_open).then(|| self.offsets.get(&key).copied().unwrap_or(0))
    }

    /// Somebody else leads and coordinates what this broker did.
    pub(super) fn leave(&mut self, node: i32) {
        let others: Vec<i32> =
            self.up.iter().filter(|(other, up)| **up && **other != node).map(|(n, _)| *n).collect();
        if others.is_empty() {
            return;
        }
        let mut partitions = std::mem::take(&mut self.partitions);
        for partition in partitions.values_mut().filter(|partition| partition.leader == node) {
            partition.move_to(self.random.pick(&others));
        }
        self.partitions = partitions;
        for at in 0..2 {
            if self.coordinators[at] == node {
                self.coordinators[at] = self.random.pick(&others);
            }
        }
    }

    /// One partition, and perhaps a coordinator, goes elsewhere.
    pub(super) fn shuffle(&mut self) {
        let nodes: Vec<i32> = self.up.iter().filter(|(_, up)| **up).map(|(n, _)| *n).collect();
        let places: Vec<Place> = self.partitions.keys().cloned().collect();
        if nodes.len() < 2 || places.is_empty() {
            return;
        }
        self.happened("move");
        let place = &places[self.random.below(places.len() as u64) as usize];
        let leader = self.random.pick(&nodes);
        if let Some(partition) = self.partitions.get_mut(place) {
            partition.move_to(leader);
        }
        if self.random.one_in(3) {
            let of = self.random.below(2) as usize;
            self.coordinators[of] = self.random.pick(&nodes);
        }
    }

    pub(super) fn topics(&self) -> BTreeSet<&str> {
        self.partitions.keys().map(|(topic, _)| topic.as_str()).collect()
    }
}
