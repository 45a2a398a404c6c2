//! How do the records of a batch become packed ones, and back? The header stays; the codecs are the
//! caller's.

use bytes::{Bytes, BytesMut};

use super::open::{put_at, put_crc};
use super::{
    ATTRIBUTE_CODEC, BatchError, HEADER_BYTES, LENGTH_ENDS_AT, RecordBatch, attributes,
    check_numbers, check_whole, field,
};
use crate::log::PartitionId;

/// A sealed batch with other records behind its header: those that were there, packed by this
/// codec. 0 is none.
pub(crate) fn with_records(sealed: &[u8], codec: u8, records: &[u8]) -> BytesMut {
    let mut bytes = BytesMut::with_capacity(HEADER_BYTES + records.len());
    bytes.extend_from_slice(&sealed[..HEADER_BYTES]);
    bytes.extend_from_slice(records);
    let bits = attributes(&bytes) & !ATTRIBUTE_CODEC | u16::from(codec);
    let length = (bytes.len() - LENGTH_ENDS_AT) as i32;
    put_at(&mut bytes, field::ATTRIBUTES, bits.to_be_bytes());
    put_at(&mut bytes, field::LENGTH, length.to_be_bytes());
    put_crc(&mut bytes);
    bytes
}

impl RecordBatch {
    /// Takes exactly one packed batch; `unpack` turns what is behind its header into records.
    ///
    /// # Errors
    ///
    /// As [`RecordBatch::new`], or what `unpack` finds.
    pub(crate) fn unpacked<E: From<BatchError>>(
        partition: PartitionId,
        packed: &[u8],
        unpack: impl FnOnce(&[u8]) -> Result<Vec<u8>, E>,
    ) -> Result<Self, E> {
        check_whole(packed)?;
        let records = unpack(&packed[HEADER_BYTES..])?;
        let bytes = with_records(packed, 0, &records).freeze();
        check_numbers(&bytes)?;
        Ok(Self { partition, bytes })
    }
}

/// The records behind a sealed batch's header.
pub(crate) fn records_of(sealed: &Bytes) -> &[u8] {
    &sealed[HEADER_BYTES..]
}
