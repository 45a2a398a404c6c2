//! Did the sides do the same work? A hash of what a reader of committed records finds.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use rdkafka::Message;
use rdkafka::message::BorrowedMessage;

use crate::Compared;
use crate::topics;

/// What of the output must be the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    /// Every record with its partition and its time, in any order.
    Records,
    /// Every record with its partition, in any order; times depend on how inputs interleave.
    RecordsWithoutTime,
    /// The last value of each key.
    LastValues,
    /// How many records there are.
    Count,
}

/// The output of one run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) records: u64,
    /// Of what the workload's check compares.
    pub(crate) hash: u64,
}

impl Outcome {
    pub(crate) fn of(brokers: &str, topic: &str, partitions: i32, check: Check) -> Self {
        let mut records = 0;
        let mut sum = 0_u64;
        let mut last: HashMap<Vec<u8>, u64> = HashMap::new();
        topics::read(brokers, topic, partitions, |message| {
            records += 1;
            let hash = hash(message, check);
            match check {
                Check::LastValues => {
                    last.insert(message.key().unwrap_or_default().to_vec(), hash);
                }
                Check::Count => {}
                // A sum does not depend on the order, and counts what is there twice.
                Check::Records | Check::RecordsWithoutTime => sum = sum.wrapping_add(hash),
            }
        });
        let hash = last.values().fold(sum, |sum, hash| sum.wrapping_add(*hash));
        Self { records, hash }
    }
}

fn hash(message: &BorrowedMessage<'_>, check: Check) -> u64 {
    let mut hasher = DefaultHasher::new();
    (message.partition(), message.key(), message.payload()).hash(&mut hasher);
    if check == Check::Records {
        message.timestamp().to_millis().hash(&mut hasher);
    }
    hasher.finish()
}

/// What is not as in the first run of the first side.
pub(crate) fn differences(compared: &Compared) -> Vec<String> {
    let all = || {
        let sides = compared.sides.iter();
        sides.flat_map(|(side, samples)| samples.iter().enumerate().map(move |one| (side, one)))
    };
    let Some((_, (_, first))) = all().next() else { return Vec::new() };
    let is_same = |outcome: Outcome| match compared.workload.check {
        Check::LastValues => outcome.hash == first.outcome.hash,
        _ => outcome == first.outcome,
    };
    let differing = all().filter(|(_, (_, sample))| !is_same(sample.outcome));
    differing
        .map(|(side, (round, sample))| {
            let (workload, is, was) = (compared.workload.name, sample.outcome, first.outcome);
            format!(
                "{workload}: {} in round {round} gave {} records (hash {:016x}), not {} ({:016x})",
                side.name, is.records, is.hash, was.records, was.hash
            )
        })
        .collect()
}
