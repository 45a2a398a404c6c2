//! Which record of a partition is next? Fetched batches of one partition, and the head among them.
//!
//! # Invariants
//!
//! - The head is decoded and held by the source; its offset is `position`, which is what a commit
//!   writes: every record before it has been processed or dropped by a policy.
//! - `position` never goes back.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::error::{BoxError, Error, ErrorKind, Result};
use crate::log::{
    EncodedHeaders, PartitionId, RecordBatch, RecordCursor, RecordView, TopicPartition,
};
use crate::operator::source::Source;
use crate::time::Timestamp;

/// The fetched records of one partition.
pub(crate) struct PartitionQueue {
    pub(crate) partition: PartitionId,
    pub(crate) name: TopicPartition,
    pub(crate) source: Box<dyn Source>,
    batches: VecDeque<RecordCursor>,
    /// The time of the record that the source holds; `None` if it holds none.
    head: Option<Timestamp>,
    /// The head's headers.
    pub(crate) headers: EncodedHeaders,
    /// The next offset to process.
    position: i64,
    /// The largest timestamp taken for processing.
    pub(crate) partition_time: Timestamp,
    /// Bytes of the batches that wait.
    bytes: usize,
    /// Whether the log held nothing more when it last reported.
    caught_up: bool,
    /// Up to where the log held nothing that was not fetched, when it last reported.
    fetched_to: i64,
    /// Whether the client was told to stop fetching.
    pub(crate) is_paused: bool,
    /// Records taken in all, those that could not be decoded included.
    pub(crate) taken: u64,
    /// Bytes fetched in all.
    pub(crate) fetched_bytes: u64,
}

/// A record that could not be decoded, where it lies.
pub(crate) struct Undecodable<'a> {
    pub(crate) view: RecordView<'a>,
    pub(crate) error: BoxError,
}

impl PartitionQueue {
    pub(crate) fn new(
        partition: PartitionId,
        name: TopicPartition,
        source: Box<dyn Source>,
        position: i64,
        partition_time: Timestamp,
    ) -> Self {
        Self {
            partition,
            name,
            source,
            batches: VecDeque::new(),
            head: None,
            headers: EncodedHeaders::new(),
            position,
            partition_time,
            bytes: 0,
            caught_up: false,
            fetched_to: position,
            is_paused: false,
            taken: 0,
            fetched_bytes: 0,
        }
    }

    /// Takes fetched records.
    pub(crate) fn push(&mut self, batch: RecordBatch) {
        self.caught_up = false;
        self.bytes += batch.size_bytes();
        self.fetched_bytes += batch.size_bytes() as u64;
        let mut cursor = RecordCursor::new(batch);
        cursor.skip_to(self.position);
        self.batches.push_back(cursor);
    }

    /// Notes that the log holds nothing before `position` that has not been fetched.
    pub(crate) fn caught_up_at(&mut self, position: i64) {
        self.caught_up = true;
        self.fetched_to = self.fetched_to.max(position);
        if self.head.is_none() && self.batches.is_empty() {
            self.position = self.position.max(position);
        }
    }

    /// The head's time.
    pub(crate) fn head(&self) -> Option<Timestamp> {
        self.head
    }

    /// Whether there is no record to process.
    pub(crate) fn is_empty(&self) -> bool {
        self.head.is_none() && self.batches.is_empty()
    }

    /// Whether it is known that the log holds no more.
    pub(crate) fn is_drained(&self) -> bool {
        self.caught_up && self.is_empty()
    }

    /// Offsets up to the partition's end that are still to be processed.
    pub(crate) fn lag(&self, end: i64) -> u64 {
        let reached = if self.is_empty() { self.fetched_to } else { self.position };
        end.saturating_sub(reached.max(self.position)).max(0) as u64
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The offset to commit: of the next record that is to be processed.
    pub(crate) fn position(&self) -> i64 {
        self.position
    }

    /// Decodes the next record into the head. A record that cannot be decoded goes to `refuse`,
    /// which says whether to go on without it.
    pub(crate) fn load(
        &mut self,
        refuse: &mut dyn FnMut(&TopicPartition, Undecodable<'_>) -> Result<()>,
    ) -> Result<()> {
        while self.head.is_none() {
            let Some(cursor) = self.batches.front_mut() else { return Ok(()) };
            let Some(view) = cursor.next() else {
                self.position = self.position.max(cursor.next_offset_after());
                self.bytes -= cursor.batch().size_bytes();
                self.batches.pop_front();
                continue;
            };
            let view = view.map_err(|error| damaged(&self.name, self.position, error))?;
            debug_assert!(view.offset >= self.position, "a position never goes back");
            self.position = view.offset;
            match self.source.load(view) {
                Ok(timestamp) => {
                    self.headers.copy_from(view.headers);
                    self.head = Some(timestamp);
                }
                Err(error) => {
                    refuse(&self.name, Undecodable { view, error })?;
                    self.taken += 1;
                    self.position = view.offset + 1;
                }
            }
        }
        Ok(())
    }

    /// Takes the head for processing: its time, its offset. The source forwards it.
    pub(crate) fn take_head(&mut self) -> (Timestamp, i64) {
        let timestamp = self.head.take().expect("a head is taken only where there is one");
        let offset = self.position;
        self.position = offset + 1;
        self.taken += 1;
        self.partition_time = self.partition_time.max(timestamp);
        (timestamp, offset)
    }

    /// Shows the record at this offset as it was fetched: the one that was taken last.
    pub(crate) fn with_record<R>(
        &self,
        offset: i64,
        show: impl FnOnce(RecordView<'_>) -> R,
    ) -> Option<R> {
        let batch = self.batches.front()?.batch();
        batch.records().filter_map(Result::ok).find(|view| view.offset == offset).map(show)
    }

    /// The topic's name, cheap to keep.
    pub(crate) fn topic(&self) -> &Arc<str> {
        &self.name.topic
    }
}

#[cold]
fn damaged(name: &TopicPartition, offset: i64, error: impl Into<BoxError>) -> Error {
    let message = "a fetched record is damaged; check the broker's disks and the network";
    Error::new(ErrorKind::Fatal, message).caused_by(error).at_position(name.clone(), offset)
}
