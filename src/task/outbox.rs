//! The one way out: every record that leaves a worker is appended here first.
//!
//! One batch is open per partition. A batch that is full waits to be sent; the worker sends what
//! waits, and at a commit everything.
//!
//! # Invariants
//!
//! - Records of one partition leave in the order in which they were appended.
//! - Bytes that wait are bounded: the worker stops processing at [`Outbox::is_full`].

use std::collections::HashMap;
use std::sync::Arc;

use crate::error::Result;
use crate::log::catalog::Catalog;
use crate::log::{OpenBatch, PartitionId, partition_for_key};
use crate::operator::push::{Collector, OutRecord, SinkTarget};

/// A batch is closed before it grows beyond this, well below the default `max.message.bytes`.
const BATCH_BYTES_MAX: usize = 768 * 1024;

/// Bytes that may wait before the worker stops processing.
const WAITING_BYTES_MAX: usize = 32 * 1024 * 1024;

/// The open batches of one worker.
#[derive(Default)]
pub(crate) struct Outbox {
    /// The open batch of each partition, by `PartitionId::index`.
    open: Vec<Option<OpenBatch>>,
    /// The partitions with an open batch, in the order in which they were opened.
    opened: Vec<PartitionId>,
    /// Closed batches, in the order in which they were closed.
    closed: Vec<(PartitionId, OpenBatch)>,
    bytes: usize,
}

impl Outbox {
    /// Appends a record to a partition's open batch.
    pub(crate) fn append(&mut self, partition: PartitionId, record: OutRecord<'_>) {
        let index = partition.index();
        if index >= self.open.len() {
            self.open.resize_with(index + 1, || None);
        }
        let size = record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len) + 32;
        if let Some(batch) = self.open[index].take_if(|b| b.size_bytes() + size > BATCH_BYTES_MAX) {
            self.opened.retain(|opened| *opened != partition);
            self.closed.push((partition, batch));
        }
        if self.open[index].is_none() {
            self.opened.push(partition);
        }
        let batch = self.open[index].get_or_insert_default();
        batch.append(record.timestamp, record.key, record.value, record.headers);
        self.bytes += size;
    }

    /// Takes the batches that are full.
    pub(crate) fn take_full(&mut self) -> Vec<(PartitionId, OpenBatch)> {
        let full = std::mem::take(&mut self.closed);
        let taken: usize = full.iter().map(|(_, batch)| batch.size_bytes()).sum();
        self.bytes = self.bytes.saturating_sub(taken);
        full
    }

    /// Takes every batch.
    pub(crate) fn take_all(&mut self) -> Vec<(PartitionId, OpenBatch)> {
        let mut all = std::mem::take(&mut self.closed);
        for partition in self.opened.drain(..) {
            let batch = self.open[partition.index()].take();
            all.push((partition, batch.expect("an opened partition has an open batch")));
        }
        self.bytes = 0;
        all
    }

    /// Forgets everything: what was appended belongs to a transaction that is given up.
    pub(crate) fn discard(&mut self) {
        drop(self.take_all());
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.closed.is_empty() && self.opened.is_empty()
    }

    /// Whether processing has to stop until batches have been sent.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes >= WAITING_BYTES_MAX
    }
}

/// The topics that one task's sinks write, resolved.
#[derive(Default)]
pub(crate) struct Targets {
    /// By `SinkTarget`.
    known: Vec<Arc<[PartitionId]>>,
    chosen: HashMap<Arc<str>, Arc<[PartitionId]>>,
}

impl Targets {
    pub(crate) fn new(known: Vec<Arc<[PartitionId]>>) -> Self {
        Self { known, chosen: HashMap::new() }
    }
}

/// The outbox as one task's operators see it.
pub(crate) struct TaskOutbox<'a> {
    pub(crate) outbox: &'a mut Outbox,
    pub(crate) targets: &'a mut Targets,
    pub(crate) catalog: &'a Catalog,
    /// The task's partition: where records without a key go, modulo the topic's count.
    pub(crate) partition: u32,
}

impl TaskOutbox<'_> {
    fn partition_of(&self, partitions: &[PartitionId], record: &OutRecord<'_>) -> PartitionId {
        let count = partitions.len() as u32;
        let index = match record.partition_by {
            Some(key) => partition_for_key(key, count),
            None => self.partition % count,
        };
        partitions[index as usize]
    }
}

impl Collector for TaskOutbox<'_> {
    fn append(&mut self, target: SinkTarget, record: OutRecord<'_>) -> Result<()> {
        let partition = self.partition_of(&self.targets.known[target.0 as usize], &record);
        self.outbox.append(partition, record);
        Ok(())
    }

    fn append_to(&mut self, topic: &str, record: OutRecord<'_>) -> Result<()> {
        if !self.targets.chosen.contains_key(topic) {
            let partitions = self.catalog.topic(topic)?;
            self.targets.chosen.insert(Arc::from(topic), partitions);
        }
        let partition = self.partition_of(&self.targets.chosen[topic], &record);
        self.outbox.append(partition, record);
        Ok(())
    }
}
