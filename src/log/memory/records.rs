//! How do tests and examples put records in and take them out? One by one, with no client.

use std::time::Duration;

use super::MemoryLog;
use crate::log::batch::EncodedHeaders;
use crate::log::{Isolation, NewTopic, OpenBatch, TopicPartition, partition_for_key};
use crate::record::Headers;
use crate::time::Timestamp;

/// A record as it was found in a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadRecord {
    /// Its partition.
    pub partition: u32,
    /// Its offset.
    pub offset: i64,
    /// Its timestamp.
    pub timestamp: Timestamp,
    /// The key's bytes.
    pub key: Option<Vec<u8>>,
    /// The value's bytes.
    pub value: Option<Vec<u8>>,
    /// The headers.
    pub headers: Headers,
}

impl MemoryLog {
    /// Creates a topic with default settings; one that exists already is left as it is.
    ///
    /// # Panics
    ///
    /// If `partitions` is 0.
    pub fn create_topic(&self, name: &str, partitions: u32) {
        let name = name.to_owned();
        let topic = NewTopic { name, partitions, replication: None, configs: Vec::new() };
        let created = self.shared.change(|state| state.create_topic(&topic));
        created.expect("a topic has at least one partition");
    }

    /// Gives a topic more partitions, as administrators do; fewer are not possible.
    ///
    /// # Panics
    ///
    /// If the topic does not exist.
    pub fn grow_topic(&self, name: &str, partitions: u32) {
        self.shared.change(|state| state.grow_topic(name, partitions));
    }

    /// Appends one record outside of any transaction and returns its offset.
    ///
    /// Where no partition is given, the key decides as in Kafka; without a key it is the first.
    ///
    /// # Panics
    ///
    /// If topic or partition do not exist, or the topic refuses the record.
    #[expect(clippy::too_many_arguments, reason = "these are the parts of a record")]
    pub fn produce(
        &self,
        topic: &str,
        partition: Option<u32>,
        timestamp: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &Headers,
    ) -> i64 {
        let mut batch = OpenBatch::new();
        batch.append(timestamp, key, value, EncodedHeaders::from(headers).view());
        let sent = self.shared.change(|state| {
            let count = state.topics.get(topic).map_or(1, |found| found.partitions.len() as u32);
            let by_key = key.map_or(0, |key| partition_for_key(key, count));
            let to = TopicPartition::new(topic, partition.unwrap_or(by_key));
            state.send_plain(state.names.id(&to), batch.seal())
        });
        let next = sent.unwrap_or_else(|error| panic!("the record must be accepted: {error}"));
        next - 1
    }

    /// The records of a topic that a read-committed reader sees, by partition and offset.
    ///
    /// # Panics
    ///
    /// If the topic does not exist.
    pub fn read(&self, topic: &str) -> Vec<ReadRecord> {
        self.read_as(topic, Isolation::ReadCommitted)
    }

    /// Waits on this thread until `is_reached`, which is asked again after each change of the log;
    /// false if the log has not changed for `patience`.
    pub fn wait_until(&self, patience: Duration, is_reached: impl Fn() -> bool) -> bool {
        loop {
            if is_reached() {
                return true;
            }
            if !self.shared.wait_for_change(patience) {
                return is_reached();
            }
        }
    }

    /// All records of a topic, those of open and aborted transactions included.
    ///
    /// # Panics
    ///
    /// If the topic does not exist.
    pub fn read_uncommitted(&self, topic: &str) -> Vec<ReadRecord> {
        self.read_as(topic, Isolation::ReadUncommitted)
    }

    fn read_as(&self, topic: &str, isolation: Isolation) -> Vec<ReadRecord> {
        let batches = self.shared.read(|state| {
            let ids = &state.topics.get(topic)?.partitions;
            let mut batches = Vec::new();
            for (id, index) in ids.iter().zip(0..) {
                let log = state.log(*id).expect("a topic's partitions exist");
                let fetched = log.fetch(log.start, isolation, usize::MAX);
                let fetched = fetched.expect("the start lies within the log");
                batches.extend(fetched.batches.into_iter().map(|b| (index, log.start, b)));
            }
            Some(batches)
        });
        let batches = batches.unwrap_or_else(|| panic!("topic `{topic}` must exist"));
        let mut records = Vec::new();
        for (partition, start, batch) in batches {
            let read = batch.records().map(|record| record.expect("the log wrote it itself"));
            records.extend(read.filter(|record| record.offset >= start).map(|record| ReadRecord {
                partition,
                offset: record.offset,
                timestamp: record.timestamp,
                key: record.key.map(<[u8]>::to_vec),
                value: record.value.map(<[u8]>::to_vec),
                headers: record.headers.to_headers().expect("names were given as text"),
            }));
        }
        records
    }
}
