//! The record-batch codec.

use bytes::Bytes;

use crate::log::PartitionId;
use crate::time::Timestamp;

/// A fetched run of records of one partition, ascending in offset. Cheap to clone: bytes are shared.
#[derive(Clone, Debug)]
pub struct RecordBatch {
    partition: PartitionId,
    bytes: Bytes,
}

/// Reads the records of a batch one by one and keeps its place.
#[derive(Debug)]
pub struct RecordCursor {}

/// One record where it lies in its batch.
#[derive(Clone, Copy, Debug)]
pub struct RecordView<'a> {
    /// Its offset.
    pub offset: i64,
    /// The log's timestamp.
    pub timestamp: Timestamp,
    /// The key's bytes.
    pub key: Option<&'a [u8]>,
    /// The value's bytes.
    pub value: Option<&'a [u8]>,
    /// The headers.
    pub headers: HeadersView<'a>,
}

/// Headers where they lie in their record.
#[derive(Clone, Copy, Debug, Default)]
pub struct HeadersView<'a> {
    count: u32,
    bytes: &'a [u8],
}

/// The batch that a partition's output goes into.
#[derive(Debug, Default)]
pub struct OpenBatch {
    bytes: Vec<u8>,
}
