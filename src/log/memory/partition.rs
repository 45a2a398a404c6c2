//! What does one partition hold? Batches, and which of them a reader may see.
//!
//! # Invariants
//!
//! - Batches ascend in offset and never overlap; holes between them were compacted or were markers.
//! - `start <= last stable offset <= end`.
//! - What lies below the last stable offset is decided: a batch of a transaction below it was
//!   aborted if and only if its producer has an entry in `aborted` that covers it.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::log::batch::{ProducerStamp, stamp_place, stamp_producer, thaw};
use crate::log::{Isolation, PartitionId, ReadError, RecordBatch};
use crate::time::Timestamp;

/// One partition of a topic.
#[derive(Debug)]
pub(super) struct PartitionLog {
    pub(super) id: PartitionId,
    /// The oldest offset that may be read.
    pub(super) start: i64,
    /// Behind the newest record: the high watermark.
    pub(super) end: i64,
    pub(super) batches: VecDeque<StoredBatch>,
    /// Of each producer with an open transaction here, where it began.
    open: BTreeMap<i64, i64>,
    pub(super) aborted: Vec<AbortedRange>,
}

/// A batch where it lies.
#[derive(Clone, Debug)]
pub(super) struct StoredBatch {
    pub(super) batch: RecordBatch,
    /// The producer, if the batch is part of a transaction.
    pub(super) transaction: Option<i64>,
    /// Whether it marks the end of a transaction, which no reader is shown.
    pub(super) is_marker: bool,
}

/// The batches of one producer that an aborted transaction left behind.
#[derive(Clone, Copy, Debug)]
pub(super) struct AbortedRange {
    producer: i64,
    first: i64,
    /// The offset of the marker.
    pub(super) marker: i64,
}

/// What a reader was given.
pub(super) struct Fetched {
    /// What it may see, in order.
    pub(super) batches: Vec<RecordBatch>,
    /// Where it reads on.
    pub(super) position: i64,
    /// Whether that is all there is for it.
    pub(super) is_caught_up: bool,
}

impl PartitionLog {
    pub(super) fn new(id: PartitionId) -> Self {
        Self {
            id,
            start: 0,
            end: 0,
            batches: VecDeque::new(),
            open: BTreeMap::new(),
            aborted: Vec::new(),
        }
    }

    /// Appends a sealed batch and returns the offset of its first record.
    pub(super) fn append(&mut self, sealed: Bytes, stamp: ProducerStamp) -> i64 {
        let base = self.end;
        let mut bytes = thaw(sealed);
        stamp_producer(&mut bytes, stamp);
        stamp_place(&mut bytes, base, 0);
        let batch = RecordBatch::new(self.id, bytes.freeze()).expect("a sealed batch is whole");
        self.end = batch.next_offset();
        let transaction = stamp.is_transactional.then_some(stamp.producer_id);
        if let (Some(producer), false) = (transaction, stamp.is_control) {
            self.open.entry(producer).or_insert(base);
        }
        self.batches.push_back(StoredBatch { batch, transaction, is_marker: stamp.is_control });
        base
    }

    /// Ends a producer's transaction here: appends the marker and, for an abort, hides what the
    /// transaction wrote.
    pub(super) fn end_transaction(
        &mut self,
        marker: Bytes,
        stamp: ProducerStamp,
        is_aborted: bool,
    ) {
        let first = self.open.remove(&stamp.producer_id);
        let marker = self.append(marker, stamp);
        if let (Some(first), true) = (first, is_aborted) {
            self.aborted.push(AbortedRange { producer: stamp.producer_id, first, marker });
        }
    }

    /// Up to here everything is decided.
    pub(super) fn last_stable(&self) -> i64 {
        self.open.values().copied().min().unwrap_or(self.end).max(self.start)
    }

    /// Up to where a reader may read.
    pub(super) fn limit(&self, isolation: Isolation) -> i64 {
        match isolation {
            Isolation::ReadCommitted => self.last_stable(),
            Isolation::ReadUncommitted => self.end,
        }
    }

    /// Whether an aborted transaction wrote this batch.
    pub(super) fn is_aborted(&self, stored: &StoredBatch) -> bool {
        let Some(producer) = stored.transaction else { return false };
        let base = stored.batch.base_offset();
        self.aborted
            .iter()
            .any(|range| range.producer == producer && (range.first..range.marker).contains(&base))
    }

    /// Whether a reader of this isolation is shown this batch.
    pub(super) fn shows(&self, stored: &StoredBatch, isolation: Isolation) -> bool {
        let is_hidden = isolation == Isolation::ReadCommitted && self.is_aborted(stored);
        !stored.is_marker && !is_hidden
    }

    /// At most `bytes_max` bytes from this position, but one whole batch if there is any.
    pub(super) fn fetch(
        &self,
        position: i64,
        isolation: Isolation,
        bytes_max: usize,
    ) -> Result<Fetched, ReadError> {
        if position < self.start || position > self.end {
            let (earliest, end) = (self.start, self.end);
            return Err(ReadError::OutOfRange { offset: position, earliest, end });
        }
        let limit = self.limit(isolation);
        let mut fetched = Fetched { batches: Vec::new(), position, is_caught_up: false };
        let mut bytes = 0;
        for stored in self.batches_from(position) {
            if stored.batch.next_offset() > limit {
                break;
            }
            if self.shows(stored, isolation) {
                let size = stored.batch.size_bytes();
                if bytes > 0 && bytes + size > bytes_max {
                    return Ok(fetched);
                }
                bytes += size;
                fetched.batches.push(stored.batch.clone());
            }
            fetched.position = stored.batch.next_offset();
        }
        fetched.position = fetched.position.max(limit);
        fetched.is_caught_up = true;
        Ok(fetched)
    }

    fn batches_from(&self, position: i64) -> impl Iterator<Item = &StoredBatch> {
        let from = self.batches.partition_point(|stored| stored.batch.next_offset() <= position);
        self.batches.range(from..)
    }

    /// The offset of the first record that is not older than this; the end if there is none.
    pub(super) fn offset_at(&self, time: Timestamp) -> i64 {
        self.batches
            .iter()
            .filter(|stored| !stored.is_marker && stored.batch.max_timestamp() >= time)
            .flat_map(|stored| stored.batch.records())
            .filter_map(Result::ok)
            .find(|record| record.offset >= self.start && record.timestamp >= time)
            .map_or(self.end, |record| record.offset)
    }

    /// Gives up what lies before this offset.
    pub(super) fn delete_before(&mut self, offset: i64) {
        self.start = self.start.max(offset.min(self.end));
        while self.batches.front().is_some_and(|stored| stored.batch.next_offset() <= self.start) {
            self.batches.pop_front();
        }
        self.aborted.retain(|range| range.marker >= self.start);
    }
}
