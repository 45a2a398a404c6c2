//! How do fetched messages become record batches? Runs of neighbouring offsets, packed at the door.
//!
//! A batch begins anew at a hole in the offsets, as control records and compaction leave them.

use crate::kafka::sys::Message;
use crate::log::batch::{EncodedHeaders, stamp_place, thaw};
use crate::log::{OpenBatch, PartitionId, RecordBatch};
use crate::time::Timestamp;

/// Packs the messages of one partition.
#[derive(Debug, Default)]
pub(super) struct Packer {
    open: OpenBatch,
    /// The offset of the first record of the open batch; valid if it has any.
    base: i64,
    headers: EncodedHeaders,
}

/// Bytes at which a batch is closed, so that what holds a part of it holds little more.
const BATCH_BYTES: usize = 256 * 1024;

impl Packer {
    /// Adds a message; hands out the batch that it does not fit behind.
    pub(super) fn push(
        &mut self,
        partition: PartitionId,
        message: Message<'_>,
    ) -> Option<RecordBatch> {
        let offset = message.offset();
        let next = self.base + i64::from(self.open.count());
        let fits = self.open.is_empty() || (offset == next && self.open.size_bytes() < BATCH_BYTES);
        let full = if fits { None } else { self.finish(partition) };
        if self.open.is_empty() {
            self.base = offset;
        }
        self.headers.clear();
        let headers = &mut self.headers;
        message.headers(|name, value| headers.push(&String::from_utf8_lossy(name), value));
        let timestamp = Timestamp::from_millis(message.timestamp_ms());
        self.open.append(timestamp, message.key(), message.value(), self.headers.view());
        full
    }

    /// Hands out the open batch, if there is a record in it.
    pub(super) fn finish(&mut self, partition: PartitionId) -> Option<RecordBatch> {
        if self.open.is_empty() {
            return None;
        }
        let mut bytes = thaw(std::mem::take(&mut self.open).seal());
        stamp_place(&mut bytes, self.base, NO_LEADER_EPOCH);
        let batch = RecordBatch::new(partition, bytes.freeze());
        Some(batch.expect("a batch that was just sealed is whole"))
    }
}

const NO_LEADER_EPOCH: i32 = -1;
