//! Which numbers stand for places in a partition? To brokers, and so to librdkafka, the same.

use crate::log::OffsetSpec;

/// The oldest record.
pub(super) const EARLIEST: i64 = -2;
/// Behind the newest record, open transactions included.
pub(super) const END: i64 = -1;
/// What is answered where no record is as young as asked for.
pub(super) const NONE: i64 = -1;

/// What a broker is asked for: one of these, or a time.
pub(super) fn asked_for(spec: &OffsetSpec) -> i64 {
    match spec {
        OffsetSpec::Earliest => EARLIEST,
        OffsetSpec::End => END,
        OffsetSpec::AtTime(time) => time.as_millis().max(0),
    }
}
