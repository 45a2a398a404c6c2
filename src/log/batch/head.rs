//! What does a batch's header say, before anything of it is checked?

use super::{
    ATTRIBUTE_CODEC, ATTRIBUTE_CONTROL, ATTRIBUTE_TRANSACTIONAL, BatchError, HEADER_BYTES,
    LENGTH_ENDS_AT, MAGIC, attributes, field, i32_at, i64_at,
};

/// What tells one batch of a row from the next, and whether it is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchHead {
    /// Its bytes, header included.
    pub(crate) length: usize,
    /// Where to read on behind it.
    pub(crate) next_offset: i64,
    /// Of whom it is; below 0 for nobody.
    pub(crate) producer_id: i64,
    /// How its records are packed; 0 if they are not.
    pub(crate) codec: u8,
    pub(crate) is_transactional: bool,
    /// Whether it marks the end of a transaction.
    pub(crate) is_control: bool,
}

/// Looks at the header of the first batch of a row, whose end need not be there.
///
/// # Errors
///
/// If it is shorter than a header, has another format, or a length or an offset that cannot be.
pub(crate) fn head_of(bytes: &[u8]) -> Result<BatchHead, BatchError> {
    if bytes.len() < HEADER_BYTES {
        return Err(BatchError::Length { declared: HEADER_BYTES, found: bytes.len() });
    }
    if bytes[field::MAGIC] != MAGIC {
        return Err(BatchError::Version(bytes[field::MAGIC]));
    }
    let length = usize::try_from(i32_at(bytes, field::LENGTH)).unwrap_or(0) + LENGTH_ENDS_AT;
    if length < HEADER_BYTES {
        return Err(BatchError::Header("length"));
    }
    let last_delta = i64::from(i32_at(bytes, field::LAST_OFFSET_DELTA));
    let next = i64_at(bytes, field::BASE_OFFSET).checked_add(last_delta + 1);
    let next_offset = next.ok_or(BatchError::Header("base offset"))?;
    let bits = attributes(bytes);
    Ok(BatchHead {
        length,
        next_offset,
        producer_id: i64_at(bytes, field::PRODUCER_ID),
        codec: (bits & ATTRIBUTE_CODEC) as u8,
        is_transactional: bits & ATTRIBUTE_TRANSACTIONAL != 0,
        is_control: bits & ATTRIBUTE_CONTROL != 0,
    })
}
