//! What do the twins read? Records from a seed, written once for all of them.
//!
//! A workload names its inputs; two that name the same share the topic. Values are random, so that
//! nothing compresses. Times go up by a millisecond every few records, except for those that are
//! late; they lie in the past, so that no broker refuses them.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::statistics::{Random, mix};

/// The first day of 2024.
const BEGINNING_MS: i64 = 1_704_067_200_000;
const VALUE_BYTES: usize = 100;
/// A prime, which no number of keys is a multiple of: so many steps meet each of them once.
const STRIDE: u64 = 7_368_787;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Keys {
    /// Each as likely as the others.
    Uniform(u64),
    /// The n-th with a weight of `1 / n^exponent`.
    Zipf(u64, f64),
    /// Each once, one after the other.
    Each(u64),
    /// Each once, far from the one before it, and half of them once more.
    Scattered(u64),
    /// One of its own for each record.
    New,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Values {
    Random,
    /// Lines of five words out of so many.
    Words(u64),
}

/// A topic that workloads read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Input {
    pub(crate) topic: &'static str,
    pub(crate) keys: Keys,
    pub(crate) values: Values,
    /// Of stream time.
    pub(crate) records_per_ms: u64,
    /// How many of 1,000 records are late, by up to a minute.
    pub(crate) late_per_mille: u64,
    /// Ahead of the other inputs.
    pub(crate) hours_earlier: i64,
}

impl Input {
    pub(crate) const PLAIN: Self = Self {
        topic: "",
        keys: Keys::Uniform(100_000),
        values: Values::Random,
        records_per_ms: 100,
        late_per_mille: 0,
        hours_earlier: 0,
    };

    /// How many records it has where the workload has so many.
    pub(crate) fn count(&self, records: u64) -> u64 {
        match self.keys {
            Keys::Each(keys) => keys,
            Keys::Scattered(keys) => keys + keys / 2,
            _ => records,
        }
    }

    /// Writes the records.
    pub(crate) fn write(&self, brokers: &str, topic: &str, records: u64, seed: u64) {
        let producer = producer(brokers, 50);
        let mut lines = Lines::new(self, seed);
        for number in 0..self.count(records) {
            lines.advance(number);
            let record = || {
                BaseRecord::to(topic)
                    .key(lines.key.as_bytes())
                    .payload(&lines.value)
                    .timestamp(lines.timestamp)
            };
            send(&producer, record());
        }
        producer.flush(Duration::from_secs(120)).expect("the broker takes the input");
    }
}

/// A client that writes as both sides partition.
pub(crate) fn producer(brokers: &str, linger_ms: u32) -> BaseProducer {
    ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("partitioner", "murmur2_random")
        .set("enable.idempotence", "true")
        .set("linger.ms", linger_ms.to_string())
        .set("queue.buffering.max.messages", "200000")
        .create()
        .expect("these settings make a client")
}

/// Sends a record, and waits where the queue is full.
pub(crate) fn send(producer: &BaseProducer, record: BaseRecord<'_, [u8], Vec<u8>>) {
    let mut record = record;
    loop {
        match producer.send(record) {
            Ok(()) => break,
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                record = back;
                producer.poll(Duration::from_millis(10));
            }
            Err((error, _)) => panic!("the input cannot be written: {error}"),
        }
    }
    producer.poll(Duration::ZERO);
}

/// The records of an input, one after the other.
pub(crate) struct Lines {
    input: Input,
    random: Random,
    /// Where each key's share ends, of Zipf's.
    shares: Vec<f64>,
    pub(crate) key: String,
    pub(crate) value: Vec<u8>,
    timestamp: i64,
}

impl Lines {
    pub(crate) fn new(input: &Input, seed: u64) -> Self {
        let name = input.topic.bytes().fold(seed, |hash, byte| mix(hash ^ u64::from(byte)));
        let shares = match input.keys {
            Keys::Zipf(keys, exponent) => zipf_shares(keys, exponent),
            _ => Vec::new(),
        };
        let (key, value) = (String::new(), Vec::new());
        Self { input: *input, random: Random::new(name), shares, key, value, timestamp: 0 }
    }

    pub(crate) fn advance(&mut self, number: u64) {
        let key = match self.input.keys {
            Keys::Uniform(keys) => self.random.below(keys),
            Keys::Each(_) | Keys::New => number,
            Keys::Scattered(keys) => number * STRIDE % keys,
            Keys::Zipf(..) => {
                let share = self.random.share();
                self.shares.partition_point(|&end| end < share) as u64
            }
        };
        self.key = format!("key-{key:012}");
        self.value.clear();
        match self.input.values {
            Values::Random => self.random_bytes(),
            Values::Words(words) => self.words(words),
        }
        self.timestamp = self.time_of(number);
    }

    fn time_of(&mut self, number: u64) -> i64 {
        let time = BEGINNING_MS + (number / self.input.records_per_ms) as i64;
        let is_late = self.random.below(1_000) < self.input.late_per_mille;
        let late_ms = if is_late { self.random.below(60_000) as i64 } else { 0 };
        time - late_ms - self.input.hours_earlier * 3_600_000
    }

    fn random_bytes(&mut self) {
        while self.value.len() < VALUE_BYTES {
            self.value.extend(self.random.next().to_le_bytes());
        }
        self.value.truncate(VALUE_BYTES);
    }

    fn words(&mut self, words: u64) {
        for place in 0..5 {
            let gap = if place == 0 { "" } else { " " };
            let word = self.random.below(words);
            self.value.extend(format!("{gap}word{word:06}").into_bytes());
        }
    }
}

fn zipf_shares(keys: u64, exponent: f64) -> Vec<f64> {
    let weights = (1..=keys).map(|rank| (rank as f64).powf(-exponent));
    let mut sum = 0.0;
    let mut ends: Vec<f64> = weights
        .map(|weight| {
            sum += weight;
            sum
        })
        .collect();
    ends.iter_mut().for_each(|end| *end /= sum);
    ends
}
