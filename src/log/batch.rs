//! How do bytes and records become each other? Kafka's record-batch format, version 2.
//!
//! A batch is a header of 61 bytes and then its records, each of them a run of varints and slices.
//! Reading borrows from the batch; writing computes a record's length first, so that every byte is
//! written once, straight into the batch that will be sent.
//!
//! # Invariants
//!
//! - A [`RecordBatch`] holds exactly one whole, uncompressed batch whose checksum is right. What
//!   its records hold is checked while they are read: the checksum says nothing of who wrote them.
//! - No bytes whatever make a decoder panic, allocate more than it was given, or loop.
//! - Offsets ascend within a batch and may have holes, as compaction leaves them.

#[cfg(feature = "kafka")]
mod head;
mod headers;
mod open;
#[cfg(feature = "kafka")]
mod packed;
mod read;
#[cfg(feature = "kafka")]
mod split;
mod stamp;
#[cfg(test)]
mod tests;
pub(crate) mod varint;

use bytes::Bytes;

#[cfg(feature = "kafka")]
pub(crate) use head::{BatchHead, head_of};
pub use headers::{EncodedHeaders, HeaderIter, HeadersView};
pub use open::OpenBatch;
#[cfg(feature = "kafka")]
pub(crate) use packed::{records_of, with_records};
pub use read::{RecordCursor, RecordView, Records};
#[cfg(feature = "kafka")]
pub(crate) use split::split;
pub(crate) use stamp::{ProducerStamp, stamp_append_time, stamp_place, stamp_producer, thaw};

use crate::log::PartitionId;
use crate::time::Timestamp;

/// Bytes of a batch's header; records begin behind it.
pub(crate) const HEADER_BYTES: usize = 61;
/// Bytes ahead of what the header's length field counts.
const LENGTH_ENDS_AT: usize = 12;
/// Where the bytes begin that the checksum covers.
const CRC_COVERS_FROM: usize = 21;
/// The fewest bytes that a record takes.
const RECORD_BYTES_MIN: usize = 7;
/// The version of the format.
const MAGIC: u8 = 2;

const ATTRIBUTE_CODEC: u16 = 0b111;
const ATTRIBUTE_LOG_APPEND_TIME: u16 = 1 << 3;
const ATTRIBUTE_TRANSACTIONAL: u16 = 1 << 4;
const ATTRIBUTE_CONTROL: u16 = 1 << 5;

/// Where each field of the header begins.
mod field {
    pub(super) const BASE_OFFSET: usize = 0;
    pub(super) const LENGTH: usize = 8;
    pub(super) const LEADER_EPOCH: usize = 12;
    pub(super) const MAGIC: usize = 16;
    pub(super) const CRC: usize = 17;
    pub(super) const ATTRIBUTES: usize = 21;
    pub(super) const LAST_OFFSET_DELTA: usize = 23;
    pub(super) const BASE_TIMESTAMP: usize = 27;
    pub(super) const MAX_TIMESTAMP: usize = 35;
    pub(super) const PRODUCER_ID: usize = 43;
    pub(super) const PRODUCER_EPOCH: usize = 51;
    pub(super) const BASE_SEQUENCE: usize = 53;
    pub(super) const COUNT: usize = 57;
}

/// Why bytes are not a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BatchError {
    /// The bytes are not as many as the header says.
    #[error("the batch has {found} bytes where its header says {declared}")]
    Length {
        /// How many the header says.
        declared: usize,
        /// How many there are.
        found: usize,
    },
    /// Another version of the format.
    #[error("the batch has format version {0}; only version 2 is read")]
    Version(u8),
    /// The checksum does not fit the bytes.
    #[error("the batch's checksum is wrong")]
    Checksum,
    /// The batch is compressed; it must be unpacked before.
    #[error("the batch is compressed with codec {0}")]
    Compressed(u8),
    /// A field of the header holds what it cannot.
    #[error("the batch's {0} is impossible")]
    Header(&'static str),
    /// A record is damaged.
    #[error("record {index} of the batch is damaged: {reason}")]
    Record {
        /// The record's place in the batch, from 0.
        index: u32,
        /// What is wrong.
        reason: &'static str,
    },
    /// Records and bytes do not end together.
    #[error("the batch goes on behind its last record")]
    Trailing,
    /// The name of a header is not UTF-8.
    #[error("the name of a header is not UTF-8")]
    HeaderName,
}

/// A fetched run of records of one partition, ascending in offset.
///
/// Cheap to clone: bytes are shared.
#[derive(Clone, Debug)]
pub struct RecordBatch {
    partition: PartitionId,
    bytes: Bytes,
}

impl RecordBatch {
    /// Takes exactly one uncompressed batch, header included.
    ///
    /// # Errors
    ///
    /// If length, version or checksum are wrong, or the header contradicts itself. The records
    /// are checked while they are read.
    pub fn new(partition: PartitionId, bytes: Bytes) -> Result<Self, BatchError> {
        check(&bytes)?;
        Ok(Self { partition, bytes })
    }

    /// The partition it was read from.
    pub const fn partition(&self) -> PartitionId {
        self.partition
    }

    /// The offset of the first record, or of the first that was there before compaction.
    pub fn base_offset(&self) -> i64 {
        i64_at(&self.bytes, field::BASE_OFFSET)
    }

    /// Where to read on behind this batch.
    pub fn next_offset(&self) -> i64 {
        self.base_offset() + i64::from(i32_at(&self.bytes, field::LAST_OFFSET_DELTA)) + 1
    }

    /// How many records it holds.
    pub fn count(&self) -> u32 {
        i32_at(&self.bytes, field::COUNT) as u32
    }

    /// Its size, header included.
    pub fn size_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The latest timestamp in it.
    pub fn max_timestamp(&self) -> Timestamp {
        Timestamp::from_millis(i64_at(&self.bytes, field::MAX_TIMESTAMP))
    }

    /// Its records, in order. The first damaged one ends the iteration.
    pub fn records(&self) -> Records<'_> {
        Records::new(&self.bytes)
    }

    /// Its bytes, header included.
    pub(crate) const fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

/// Checks the header and the checksum of a batch that is not packed.
fn check(bytes: &[u8]) -> Result<(), BatchError> {
    check_whole(bytes)?;
    let codec = attributes(bytes) & ATTRIBUTE_CODEC;
    if codec != 0 {
        return Err(BatchError::Compressed(codec as u8));
    }
    check_numbers(bytes)
}

/// Checks length, format and checksum.
fn check_whole(bytes: &[u8]) -> Result<(), BatchError> {
    if bytes.len() < HEADER_BYTES {
        return Err(BatchError::Length { declared: HEADER_BYTES, found: bytes.len() });
    }
    let length =
        usize::try_from(i32_at(bytes, field::LENGTH)).map_err(|_| BatchError::Header("length"))?;
    let declared = length.saturating_add(LENGTH_ENDS_AT);
    if declared != bytes.len() {
        return Err(BatchError::Length { declared, found: bytes.len() });
    }
    if bytes[field::MAGIC] != MAGIC {
        return Err(BatchError::Version(bytes[field::MAGIC]));
    }
    if i32_at(bytes, field::CRC) as u32 != crc32c::crc32c(&bytes[CRC_COVERS_FROM..]) {
        return Err(BatchError::Checksum);
    }
    Ok(())
}

/// Checks that offsets and counts are such that no sum of them overflows.
fn check_numbers(bytes: &[u8]) -> Result<(), BatchError> {
    let last_delta = i32_at(bytes, field::LAST_OFFSET_DELTA);
    if last_delta < 0 {
        return Err(BatchError::Header("last offset delta"));
    }
    let base = i64_at(bytes, field::BASE_OFFSET);
    if base < 0 || base > i64::MAX - i64::from(last_delta) - 1 {
        return Err(BatchError::Header("base offset"));
    }
    let fit = (bytes.len() - HEADER_BYTES) / RECORD_BYTES_MIN;
    match usize::try_from(i32_at(bytes, field::COUNT)) {
        Ok(count) if count <= fit => Ok(()),
        _ => Err(BatchError::Header("record count")),
    }
}

fn attributes(bytes: &[u8]) -> u16 {
    u16::from_be_bytes([bytes[field::ATTRIBUTES], bytes[field::ATTRIBUTES + 1]])
}

#[inline]
fn i32_at(bytes: &[u8], at: usize) -> i32 {
    let field = bytes[at..at + 4].try_into().expect("the slice is four bytes long");
    i32::from_be_bytes(field)
}

#[inline]
fn i64_at(bytes: &[u8], at: usize) -> i64 {
    let field = bytes[at..at + 8].try_into().expect("the slice is eight bytes long");
    i64::from_be_bytes(field)
}
