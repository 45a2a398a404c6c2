//! Which scenarios are not equal on purpose, and why? Each of them is still run on both sides, and
//! must differ: a difference that is gone is no longer an excuse.

/// A scenario in which Kafka Streams loses, doubles or contradicts a result.
pub(crate) struct Difference {
    pub(crate) scenario: &'static str,
    pub(crate) reason: &'static str,
}

/// Every scenario that is excluded from the comparison.
pub(crate) const DIFFERENCES: &[Difference] = &[];
