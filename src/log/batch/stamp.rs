//! What is written onto a sealed batch? Who sent it and, by the log, where it lies.
//!
//! Place and leader epoch stand outside of what the checksum covers, so the log sets them for
//! nothing; the producer's fields stand inside, so setting them computes the checksum anew.

use bytes::{Bytes, BytesMut};

use super::open::{put_at, put_crc};
use super::{
    ATTRIBUTE_CONTROL, ATTRIBUTE_LOG_APPEND_TIME, ATTRIBUTE_TRANSACTIONAL, attributes, field,
};
use crate::time::Timestamp;

/// Who sends a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProducerStamp {
    /// The producer's id; -1 for none.
    pub(crate) producer_id: i64,
    /// Its epoch; -1 for none.
    pub(crate) epoch: i16,
    /// The number of the first record among those that this producer sends to the partition.
    pub(crate) base_sequence: i32,
    /// Whether the batch is part of a transaction.
    pub(crate) is_transactional: bool,
    /// Whether the batch marks the end of a transaction.
    pub(crate) is_control: bool,
}

impl ProducerStamp {
    /// Nobody sends it.
    pub(crate) const NOBODY: Self = Self {
        producer_id: -1,
        epoch: -1,
        base_sequence: -1,
        is_transactional: false,
        is_control: false,
    };
}

/// A sealed batch's bytes to be stamped; copied only if they are shared.
pub(crate) fn thaw(sealed: Bytes) -> BytesMut {
    sealed.try_into_mut().unwrap_or_else(|shared| BytesMut::from(shared.as_ref()))
}

/// Writes where a batch lies.
pub(crate) fn stamp_place(sealed: &mut [u8], base_offset: i64, leader_epoch: i32) {
    put_at(sealed, field::BASE_OFFSET, base_offset.to_be_bytes());
    put_at(sealed, field::LEADER_EPOCH, leader_epoch.to_be_bytes());
}

/// Writes who sends a batch.
pub(crate) fn stamp_producer(sealed: &mut [u8], stamp: ProducerStamp) {
    let mut bits = attributes(sealed) & !(ATTRIBUTE_TRANSACTIONAL | ATTRIBUTE_CONTROL);
    if stamp.is_transactional {
        bits |= ATTRIBUTE_TRANSACTIONAL;
    }
    if stamp.is_control {
        bits |= ATTRIBUTE_CONTROL;
    }
    put_at(sealed, field::ATTRIBUTES, bits.to_be_bytes());
    put_at(sealed, field::PRODUCER_ID, stamp.producer_id.to_be_bytes());
    put_at(sealed, field::PRODUCER_EPOCH, stamp.epoch.to_be_bytes());
    put_at(sealed, field::BASE_SEQUENCE, stamp.base_sequence.to_be_bytes());
    put_crc(sealed);
}

/// Writes when the log took a batch, in the place of its records' own times.
pub(crate) fn stamp_append_time(sealed: &mut [u8], time: Timestamp) {
    let bits = attributes(sealed) | ATTRIBUTE_LOG_APPEND_TIME;
    put_at(sealed, field::ATTRIBUTES, bits.to_be_bytes());
    put_at(sealed, field::MAX_TIMESTAMP, time.as_millis().to_be_bytes());
    put_crc(sealed);
}
