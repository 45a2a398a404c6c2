//! Writes records, encoded and partitioned as a topic says.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use millstream::log::{
    HeadersView, Log, LogClient, LogEvent, OpenBatch, Outcome, PartitionId, TopicPartition,
    partition_for_key,
};
use millstream::record::Data;
use millstream::time::{Clock, SystemClock};
use millstream::{BoxError, Timestamp, Topic};

const BATCH_BYTES: usize = 200_000;

/// A batch that is being filled, for one partition of one topic.
struct Open {
    partition: PartitionId,
    batch: OpenBatch,
}

/// Writes records to any topic. What was written is in the log after [`flush`](Self::flush).
pub(crate) struct Writer {
    log: Arc<dyn Log>,
    client: Box<dyn LogClient>,
    clock: SystemClock,
    open: HashMap<String, Vec<Open>>,
    unacknowledged: BTreeSet<millstream::log::EffectId>,
}

impl Writer {
    /// A writer to this log.
    pub(crate) fn new(log: &Arc<dyn Log>) -> Result<Self, BoxError> {
        Ok(Self {
            log: Arc::clone(log),
            client: log.client(super::client_config("example-writer"))?,
            clock: SystemClock::default(),
            open: HashMap::new(),
            unacknowledged: BTreeSet::new(),
        })
    }

    /// Writes a record to the partition of its key.
    pub(crate) fn write<K: Data, V: Data>(
        &mut self,
        topic: &Topic<K, V>,
        key: &K,
        value: &V,
        at: Timestamp,
    ) -> Result<(), BoxError> {
        let (mut key_bytes, mut value_bytes) = (Vec::new(), Vec::new());
        topic.key_codec().encode(key, &mut key_bytes)?;
        topic.value_codec().encode(value, &mut value_bytes)?;
        if !self.open.contains_key(topic.name()) {
            let batches = partitions(&*self.log, topic.name())?;
            self.open.insert(topic.name().to_owned(), batches);
        }
        let batches = self.open.get_mut(topic.name()).expect("it was added if it was missing");
        let count = batches.len() as u32;
        let open = &mut batches[partition_for_key(&key_bytes, count) as usize];
        open.batch.append(at, Some(&key_bytes), Some(&value_bytes), HeadersView::default());
        if open.batch.size_bytes() > BATCH_BYTES {
            let batch = std::mem::take(&mut open.batch);
            self.unacknowledged.insert(self.client.send(open.partition, batch));
        }
        Ok(())
    }

    /// Sends what is open and waits until the log has everything.
    pub(crate) fn flush(&mut self) -> Result<(), BoxError> {
        for open in self.open.values_mut().flatten() {
            if open.batch.size_bytes() > OpenBatch::new().size_bytes() {
                let batch = std::mem::take(&mut open.batch);
                self.unacknowledged.insert(self.client.send(open.partition, batch));
            }
        }
        let mut events = Vec::new();
        while !self.unacknowledged.is_empty() {
            self.client.poll(self.clock.instant(), &mut events);
            for event in events.drain(..) {
                if let LogEvent::Ended { effect, outcome } = event {
                    self.unacknowledged.remove(&effect);
                    if !matches!(outcome, Outcome::Done { .. }) {
                        return Err(format!("a batch was not written: {outcome:?}").into());
                    }
                }
            }
            if !self.unacknowledged.is_empty() {
                self.client.wait(Duration::from_millis(100));
            }
        }
        Ok(())
    }
}

fn partitions(log: &dyn Log, topic: &str) -> Result<Vec<Open>, BoxError> {
    let info = log.admin().topics(&[topic.to_owned()])?.into_iter().flatten().next();
    let info = info.ok_or_else(|| format!("there is no topic `{topic}`"))?;
    let open = |index| {
        let partition = log.partitions().id(&TopicPartition::new(topic, index));
        Open { partition, batch: OpenBatch::new() }
    };
    Ok((0..info.partitions).map(open).collect())
}
