//! Which scenarios are not equal on purpose, and why? Each of them is still run on both sides, and
//! must differ: a difference that is gone is no longer an excuse.

/// A scenario in which Kafka Streams loses, doubles or contradicts a result.
pub(crate) struct Difference {
    pub(crate) scenario: &'static str,
    pub(crate) reason: &'static str,
}

/// Every scenario that is excluded from the comparison.
pub(crate) const DIFFERENCES: &[Difference] = &[
    Difference { scenario: "count_filter", reason: INITIAL_IS_NOT_OLD },
    Difference { scenario: "count_of_counts", reason: INITIAL_IS_NOT_OLD },
    Difference { scenario: "table_map_values_store", reason: NOTHING_TO_DELETE },
    Difference { scenario: "table_table_inner_store", reason: NOTHING_TO_DELETE },
    Difference { scenario: "table_table_left_store", reason: NOTHING_TO_DELETE },
];

const INITIAL_IS_NOT_OLD: &str = "Kafka Streams sends the initial value as old value of the first \
    update; what is downstream subtracts or deletes what was never there";

const NOTHING_TO_DELETE: &str = "Kafka Streams forwards a tombstone for a row that downstream has \
    never seen, though the operator's own store knows that there was none";
