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
    Difference { scenario: "tumbling_count_filter", reason: INITIAL_IS_NOT_OLD },
    Difference { scenario: "session_count_filter", reason: OVERWRITTEN_SESSION_IS_OLD },
    Difference { scenario: "session_reduce_filter", reason: OVERWRITTEN_SESSION_IS_OLD },
    Difference { scenario: "session_reduce_grouped", reason: OVERWRITTEN_SESSION_IS_OLD },
    Difference { scenario: "sliding_count_no_grace_suppress", reason: FINAL_COMES_ONCE },
    Difference { scenario: "sliding_count_grace_suppress", reason: FINAL_COMES_ONCE },
];

const INITIAL_IS_NOT_OLD: &str = "Kafka Streams sends the initial value as old value of the first \
    update; what is downstream subtracts or deletes what was never there";

const NOTHING_TO_DELETE: &str = "Kafka Streams forwards a tombstone for a row that downstream has \
    never seen, though the operator's own store knows that there was none";

const OVERWRITTEN_SESSION_IS_OLD: &str = "Kafka Streams overwrites a session of a single point of \
    time without an old value; what is downstream counts it twice, or keeps a row that a filter \
    refuses";

const FINAL_COMES_ONCE: &str = "Kafka Streams' `suppress` lets a sliding window go while the \
    aggregation still takes records for it, so a final result can come twice; ours comes one \
    millisecond later, as with its emit-on-close, and once";
