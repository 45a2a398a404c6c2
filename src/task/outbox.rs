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

use crate::error::{Error, ErrorKind, Result};
use crate::log::batch::HEADER_BYTES;
use crate::log::{OpenBatch, PartitionId, partition_for_key};
use crate::operator::push::{Collector, OutRecord, SinkTarget};
use crate::task::environment::TaskEnvironment;
use crate::task::meters::Written;
use crate::topology::TaskId;

/// A batch is closed before it grows beyond this, well below the default `max.message.bytes`.
const BATCH_BYTES_MAX: usize = 768 * 1024;

/// Bytes that may wait before the worker stops processing.
const WAITING_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The open batches of one worker.
#[derive(Default)]
pub(crate) struct Outbox {
    /// The open batch of each partition, by `PartitionId::index`.
    open: Vec<Option<OpenBatch>>,
    /// How large the last batch of each partition became: the next one begins with as much room.
    rooms: Vec<usize>,
    /// The partitions with an open batch, in the order in which they were opened.
    opened: Vec<PartitionId>,
    /// Closed batches, in the order in which they were closed.
    closed: Vec<(PartitionId, OpenBatch)>,
    bytes: usize,
}

impl Outbox {
    /// Appends a record to a partition's open batch, which is closed before if it would have more
    /// than `limit` bytes.
    pub(crate) fn append(&mut self, partition: PartitionId, record: OutRecord<'_>, limit: usize) {
        let index = partition.index();
        if index >= self.open.len() {
            self.open.resize_with(index + 1, || None);
            self.rooms.resize(index + 1, 0);
        }
        let size = content_bytes(&record) + RECORD_BYTES;
        let limit = limit.min(BATCH_BYTES_MAX);
        if let Some(batch) = self.open[index].take_if(|b| b.size_bytes() + size > limit) {
            self.opened.retain(|opened| *opened != partition);
            self.rooms[index] = batch.size_bytes() + size;
            self.closed.push((partition, batch));
        }
        if self.open[index].is_none() {
            self.opened.push(partition);
        }
        let room = self.rooms[index];
        let batch = self.open[index].get_or_insert_with(|| OpenBatch::with_capacity(room));
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
            let batch = batch.expect("an opened partition has an open batch");
            self.rooms[partition.index()] = batch.size_bytes();
            all.push((partition, batch));
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

/// What a record takes beside its content, at most.
const RECORD_BYTES: usize = 40;

#[inline]
fn content_bytes(record: &OutRecord<'_>) -> usize {
    let length = |part: Option<&[u8]>| part.map_or(0, <[u8]>::len);
    length(record.key) + length(record.value) + record.headers.size_bytes()
}

/// How large a record is, if that is more than the `limit`: the size of a batch that holds it
/// alone.
#[inline]
pub(crate) fn beyond(limit: usize, record: &OutRecord<'_>) -> Option<usize> {
    // Most records are far from every limit.
    if content_bytes(record) + RECORD_BYTES + HEADER_BYTES <= limit {
        return None;
    }
    let size = OpenBatch::size_with_only(record.key, record.value, record.headers);
    (size > limit).then_some(size)
}

/// A record that its topic does not take. For the policy to decide, so the kind is `Data`.
#[cold]
fn too_large(topic: &str, size: usize, limit: usize) -> Error {
    let message = format!(
        "a record for topic `{topic}` has {size} bytes, and {limit} is the most it takes; make it \
         smaller or raise `max.message.bytes` of the topic"
    );
    Error::new(ErrorKind::Data, message)
}

/// The topics that one task's sinks write, resolved.
#[derive(Default)]
pub(crate) struct Targets {
    /// First those known when the task was built, by `SinkTarget`, then those that records chose.
    targets: Vec<Target>,
    /// Where the topics that records chose stand in `targets`.
    chosen: HashMap<Arc<str>, usize>,
}

/// A topic that a task writes.
pub(crate) struct Target {
    pub(crate) topic: Arc<str>,
    partitions: Arc<[PartitionId]>,
    /// The largest record that it takes, in bytes of a batch that holds it alone.
    limit: usize,
    pub(crate) written: Written,
}

impl Targets {
    /// # Errors
    ///
    /// A topic does not exist, or the log does not answer.
    pub(crate) fn new(
        known: impl Iterator<Item = Arc<str>>,
        environment: &TaskEnvironment,
    ) -> Result<Self> {
        let targets = known.map(|topic| Target::new(topic, environment)).collect::<Result<_>>()?;
        Ok(Self { targets, chosen: HashMap::new() })
    }

    pub(crate) fn iter(&self) -> std::slice::Iter<'_, Target> {
        self.targets.iter()
    }

    /// Where a topic stands that a record chose.
    fn choose(&mut self, topic: &str, environment: &TaskEnvironment) -> Result<usize> {
        if let Some(index) = self.chosen.get(topic) {
            return Ok(*index);
        }
        let topic: Arc<str> = Arc::from(topic);
        self.targets.push(Target::new(Arc::clone(&topic), environment)?);
        self.chosen.insert(topic, self.targets.len() - 1);
        Ok(self.targets.len() - 1)
    }
}

impl Target {
    fn new(topic: Arc<str>, environment: &TaskEnvironment) -> Result<Self> {
        let partitions = environment.catalog.topic(&topic)?;
        let limit = environment.record_limit(&topic);
        Ok(Self { topic, partitions, limit, written: Written::default() })
    }
}

/// The outbox as one task's operators see it.
pub(crate) struct TaskOutbox<'a> {
    outbox: &'a mut Outbox,
    targets: &'a mut Targets,
    environment: &'a TaskEnvironment,
    /// The task's partition: where records without a key go, modulo the topic's count.
    partition: u32,
}

impl<'a> TaskOutbox<'a> {
    #[inline]
    pub(crate) fn new(
        outbox: &'a mut Outbox,
        targets: &'a mut Targets,
        environment: &'a TaskEnvironment,
        task: TaskId,
    ) -> Self {
        Self { outbox, targets, environment, partition: task.partition }
    }

    fn append_at(&mut self, index: usize, record: OutRecord<'_>) -> Result<()> {
        let target = &mut self.targets.targets[index];
        if let Some(size) = beyond(target.limit, &record) {
            return Err(too_large(&target.topic, size, target.limit));
        }
        let count = target.partitions.len() as u32;
        let partition = match record.partition_by {
            Some(_) if count == 1 => 0,
            Some(key) => partition_for_key(key, count),
            None => self.partition % count,
        };
        target.written.add(record.key, record.value);
        self.outbox.append(target.partitions[partition as usize], record, target.limit);
        Ok(())
    }
}

impl Collector for TaskOutbox<'_> {
    fn append(&mut self, target: SinkTarget, record: OutRecord<'_>) -> Result<()> {
        self.append_at(target.0 as usize, record)
    }

    fn append_to(&mut self, topic: &str, record: OutRecord<'_>) -> Result<()> {
        let index = self.targets.choose(topic, self.environment)?;
        self.append_at(index, record)
    }
}
