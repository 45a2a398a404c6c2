//! How are records written into a batch? Lengths first, then every byte once.

use bytes::Bytes;

use super::{
    CRC_COVERS_FROM, HEADER_BYTES, HeadersView, LENGTH_ENDS_AT, MAGIC, ProducerStamp, field,
    stamp_producer, varint,
};
use crate::time::Timestamp;

/// The batch that a partition's output goes into.
#[derive(Debug, Default)]
pub struct OpenBatch {
    /// Room for the header, written when the batch is sealed, and then the records so far.
    bytes: Vec<u8>,
    count: u32,
    /// Valid once there is a record.
    base_timestamp: i64,
    /// Valid once there is a record.
    max_timestamp: i64,
}

impl OpenBatch {
    /// An empty batch.
    pub const fn new() -> Self {
        Self { bytes: Vec::new(), count: 0, base_timestamp: 0, max_timestamp: 0 }
    }

    /// An empty batch with room for that many bytes, header included.
    pub fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), ..Self::new() }
    }

    /// Adds a record behind those already there.
    ///
    /// # Panics
    ///
    /// If the batch would have 2 GiB: its maker closes a batch long before.
    #[inline]
    pub fn append(
        &mut self,
        timestamp: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: HeadersView<'_>,
    ) {
        if self.count == 0 {
            self.start(timestamp);
        }
        let millis = timestamp.as_millis();
        self.max_timestamp = self.max_timestamp.max(millis);
        // Wraps for times at both ends of the range, and unwraps where it is read.
        let time_delta = millis.wrapping_sub(self.base_timestamp);
        let offset_delta = i64::from(self.count);
        let length = 1
            + varint::size(time_delta)
            + varint::size(offset_delta)
            + slice_size(key)
            + slice_size(value)
            + varint::size(i64::from(headers.count))
            + headers.bytes.len();
        self.reserve(length + varint::size(length as i64));

        let bytes = &mut self.bytes;
        let mut front = varint::Front::new();
        front.put(length as i64);
        // No attributes are defined.
        front.put(0);
        front.put(time_delta);
        front.put(offset_delta);
        front.put(key.map_or(-1, |key| key.len() as i64));
        bytes.extend_from_slice(front.bytes());
        bytes.extend_from_slice(key.unwrap_or_default());
        put_slice(bytes, value);
        varint::put(bytes, i64::from(headers.count));
        bytes.extend_from_slice(headers.bytes);
        self.count += 1;
    }

    #[inline]
    fn reserve(&mut self, length: usize) {
        assert!(
            self.bytes.len().saturating_add(length) < i32::MAX as usize,
            "a batch is closed before it has 2 GiB"
        );
        self.bytes.reserve(length);
    }

    fn start(&mut self, timestamp: Timestamp) {
        self.bytes.clear();
        self.bytes.resize(HEADER_BYTES, 0);
        self.base_timestamp = timestamp.as_millis();
        self.max_timestamp = timestamp.as_millis();
    }

    /// The size of a sealed batch that holds this record alone.
    pub(crate) fn size_with_only(
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: HeadersView<'_>,
    ) -> usize {
        let count = varint::size(i64::from(headers.count));
        // Attributes, and the distances of time and offset from the batch's, which are 0.
        let length = 3 + slice_size(key) + slice_size(value) + count + headers.bytes.len();
        HEADER_BYTES + varint::size(length as i64) + length
    }

    /// How many records it holds.
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Whether it holds none.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The size that it has once sealed, header included.
    pub fn size_bytes(&self) -> usize {
        self.bytes.len().max(HEADER_BYTES)
    }

    /// Writes the header: the first offset is 0, there is no producer, the checksum is set.
    pub fn seal(self) -> Bytes {
        self.seal_by(ProducerStamp::NOBODY)
    }

    /// As [`seal`](Self::seal), with who sends the batch.
    pub(crate) fn seal_by(mut self, stamp: ProducerStamp) -> Bytes {
        if self.count == 0 {
            self.start(Timestamp::UNKNOWN);
        }
        let length = (self.bytes.len() - LENGTH_ENDS_AT) as i32;
        let last_delta = self.count.saturating_sub(1) as i32;
        let bytes = self.bytes.as_mut_slice();
        put_at(bytes, field::LENGTH, length.to_be_bytes());
        put_at(bytes, field::LEADER_EPOCH, (-1_i32).to_be_bytes());
        bytes[field::MAGIC] = MAGIC;
        put_at(bytes, field::LAST_OFFSET_DELTA, last_delta.to_be_bytes());
        put_at(bytes, field::BASE_TIMESTAMP, self.base_timestamp.to_be_bytes());
        put_at(bytes, field::MAX_TIMESTAMP, self.max_timestamp.to_be_bytes());
        put_at(bytes, field::COUNT, self.count.to_be_bytes());
        stamp_producer(bytes, stamp);
        Bytes::from(self.bytes)
    }
}

#[inline]
pub(super) fn put_at<const N: usize>(bytes: &mut [u8], at: usize, value: [u8; N]) {
    bytes[at..at + N].copy_from_slice(&value);
}

/// Computes the checksum of a batch whose other fields are all written.
pub(super) fn put_crc(bytes: &mut [u8]) {
    let crc = crc32c::crc32c(&bytes[CRC_COVERS_FROM..]);
    put_at(bytes, field::CRC, crc.to_be_bytes());
}

#[inline]
fn slice_size(slice: Option<&[u8]>) -> usize {
    slice.map_or(1, |slice| varint::size(slice.len() as i64) + slice.len())
}

/// Appends a slice with its length, or -1 for null, before it.
#[inline]
pub(super) fn put_slice(bytes: &mut Vec<u8>, slice: Option<&[u8]>) {
    match slice {
        Some(slice) => {
            varint::put(bytes, slice.len() as i64);
            bytes.extend_from_slice(slice);
        }
        None => varint::put(bytes, -1),
    }
}
