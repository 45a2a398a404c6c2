//! Reads a topic's committed records from the beginning, decoded as the topic says.

use std::collections::BTreeSet;
use std::time::Duration;

use millstream::log::{
    Log, LogClient, LogEvent, OffsetSpec, PartitionId, RecordView, TopicPartition,
};
use millstream::record::{Data, Record};
use millstream::serde::SharedCodec;
use millstream::time::{Clock, SystemClock};
use millstream::{BoxError, Topic};

/// Follows one topic: every record that was ever committed, then those that come.
pub(crate) struct Reader<K, V> {
    client: Box<dyn LogClient>,
    clock: SystemClock,
    topic: Topic<K, V>,
    /// Partitions whose end was not met yet.
    behind: BTreeSet<PartitionId>,
    events: Vec<LogEvent>,
}

impl<K: Data, V: Data> Reader<K, V> {
    /// Begins at the oldest record of each partition.
    pub(crate) fn open(log: &dyn Log, topic: &Topic<K, V>) -> Result<Self, BoxError> {
        let mut client = log.client(super::client_config("example-reader"))?;
        let info = log.admin().topics(&[topic.name().to_owned()])?.into_iter().flatten().next();
        let info = info.ok_or_else(|| format!("there is no topic `{}`", topic.name()))?;
        let id = |index| log.partitions().id(&TopicPartition::new(topic.name(), index));
        let behind: BTreeSet<PartitionId> = (0..info.partitions).map(id).collect();
        let wanted: Vec<_> = behind.iter().map(|id| (*id, OffsetSpec::Earliest)).collect();
        for (id, start) in behind.iter().zip(log.admin().offsets(&wanted)?) {
            client.read_from(*id, start);
        }
        let clock = SystemClock::default();
        Ok(Self { client, clock, topic: topic.clone(), behind, events: Vec::new() })
    }

    /// Hands over what has come since the last call; does not wait.
    pub(crate) fn poll(&mut self, mut take: impl FnMut(Record<K, V>)) -> Result<(), BoxError> {
        self.client.poll(self.clock.instant(), &mut self.events);
        for event in self.events.drain(..) {
            match event {
                LogEvent::Fetched(batch) => {
                    for view in batch.records() {
                        take(decode(&self.topic, &view?)?);
                    }
                }
                LogEvent::CaughtUp { partition, .. } => drop(self.behind.remove(&partition)),
                LogEvent::ReadFailed { error, .. } => return Err(error.into()),
                LogEvent::Ended { .. } => {}
            }
        }
        Ok(())
    }

    /// Whether the end of some partition was not met yet.
    pub(crate) fn is_behind(&self) -> bool {
        !self.behind.is_empty()
    }

    /// Waits until something has come, at most that long.
    pub(crate) fn wait(&mut self, at_most: Duration) {
        self.client.wait(at_most);
    }

    /// Everything up to the end of each partition, by partition and offset.
    pub(crate) fn read_to_end(
        log: &dyn Log,
        topic: &Topic<K, V>,
    ) -> Result<Vec<Record<K, V>>, BoxError> {
        let mut reader = Self::open(log, topic)?;
        let mut records = Vec::new();
        while reader.is_behind() {
            reader.poll(|record| records.push(record))?;
            if reader.is_behind() {
                reader.wait(Duration::from_millis(100));
            }
        }
        Ok(records)
    }
}

fn decode<K: Data, V: Data>(
    topic: &Topic<K, V>,
    view: &RecordView<'_>,
) -> Result<Record<K, V>, BoxError> {
    let key = decode_part(&topic.key_codec(), view.key)?;
    let value = decode_part(&topic.value_codec(), view.value)?;
    Ok(Record::new(key, value, view.timestamp))
}

fn decode_part<T: 'static>(codec: &SharedCodec<T>, bytes: Option<&[u8]>) -> Result<T, BoxError> {
    bytes.map_or_else(|| codec.decode_null(), |bytes| codec.decode(bytes))
}
