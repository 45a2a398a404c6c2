//! What follows from an error that a broker answers? One table for every request.
//!
//! Codes and names: <https://kafka.apache.org/43/design/protocol/#error-codes>.
//!
//! # Invariant
//!
//! What the table does not name is *unknown*: it may have happened. Nothing is taken for failed
//! that may have happened, and only a code of 0 or a batch that is there already is done.

use super::messages::Code;
use crate::log::{Outcome, WriteError};

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It has happened.
    Done,
    /// The same again, after a pause.
    Retry,
    /// The same again, once it is known who leads the partition now.
    AskLeader,
    /// The same again, once it is known who coordinates now.
    AskCoordinator,
    /// It has not happened, and the transaction cannot commit.
    Abort,
    /// One record cannot be written.
    Record,
    /// Nothing helps.
    Fatal,
    /// Someone newer is at work.
    Fenced,
    /// It may have happened.
    Unknown,
    /// The log does not hold the position.
    OutOfRange,
    /// A batch has come between two others.
    OutOfOrder,
}

use Verdict::{
    Abort, AskCoordinator, AskLeader, Done, Fatal, Fenced, OutOfOrder, OutOfRange, Record, Retry,
    Unknown,
};

/// Number, name and consequence of each error that the requests which are spoken can answer.
const TABLE: &[(Code, &str, Verdict)] = &[
    (0, "NONE", Done),
    (1, "OFFSET_OUT_OF_RANGE", OutOfRange),
    (2, "CORRUPT_MESSAGE", Retry),
    (3, "UNKNOWN_TOPIC_OR_PARTITION", AskLeader),
    (5, "LEADER_NOT_AVAILABLE", AskLeader),
    (6, "NOT_LEADER_OR_FOLLOWER", AskLeader),
    (7, "REQUEST_TIMED_OUT", Retry),
    (8, "BROKER_NOT_AVAILABLE", Retry),
    (9, "REPLICA_NOT_AVAILABLE", AskLeader),
    (10, "MESSAGE_TOO_LARGE", Record),
    (12, "OFFSET_METADATA_TOO_LARGE", Fatal),
    (13, "NETWORK_EXCEPTION", Retry),
    (14, "COORDINATOR_LOAD_IN_PROGRESS", Retry),
    (15, "COORDINATOR_NOT_AVAILABLE", AskCoordinator),
    (16, "NOT_COORDINATOR", AskCoordinator),
    (17, "INVALID_TOPIC_EXCEPTION", Fatal),
    (18, "RECORD_LIST_TOO_LARGE", Record),
    (19, "NOT_ENOUGH_REPLICAS", Retry),
    (20, "NOT_ENOUGH_REPLICAS_AFTER_APPEND", Retry),
    (21, "INVALID_REQUIRED_ACKS", Fatal),
    (22, "ILLEGAL_GENERATION", Fenced),
    (24, "INVALID_GROUP_ID", Fatal),
    (25, "UNKNOWN_MEMBER_ID", Fenced),
    (27, "REBALANCE_IN_PROGRESS", Retry),
    (28, "INVALID_COMMIT_OFFSET_SIZE", Fatal),
    (29, "TOPIC_AUTHORIZATION_FAILED", Fatal),
    (30, "GROUP_AUTHORIZATION_FAILED", Fatal),
    (31, "CLUSTER_AUTHORIZATION_FAILED", Fatal),
    (32, "INVALID_TIMESTAMP", Record),
    (33, "UNSUPPORTED_SASL_MECHANISM", Fatal),
    (34, "ILLEGAL_SASL_STATE", Fatal),
    (35, "UNSUPPORTED_VERSION", Fatal),
    (42, "INVALID_REQUEST", Fatal),
    (43, "UNSUPPORTED_FOR_MESSAGE_FORMAT", Fatal),
    (44, "POLICY_VIOLATION", Fatal),
    (45, "OUT_OF_ORDER_SEQUENCE_NUMBER", OutOfOrder),
    (46, "DUPLICATE_SEQUENCE_NUMBER", Done),
    (47, "INVALID_PRODUCER_EPOCH", Fenced),
    (48, "INVALID_TXN_STATE", Unknown),
    (49, "INVALID_PRODUCER_ID_MAPPING", Unknown),
    (50, "INVALID_TRANSACTION_TIMEOUT", Fatal),
    (51, "CONCURRENT_TRANSACTIONS", Retry),
    (52, "TRANSACTION_COORDINATOR_FENCED", AskCoordinator),
    (53, "TRANSACTIONAL_ID_AUTHORIZATION_FAILED", Fatal),
    (54, "SECURITY_DISABLED", Fatal),
    (55, "OPERATION_NOT_ATTEMPTED", Abort),
    (56, "KAFKA_STORAGE_ERROR", AskLeader),
    (58, "SASL_AUTHENTICATION_FAILED", Fatal),
    (59, "UNKNOWN_PRODUCER_ID", Unknown),
    (72, "LISTENER_NOT_FOUND", AskLeader),
    (74, "FENCED_LEADER_EPOCH", AskLeader),
    (75, "UNKNOWN_LEADER_EPOCH", AskLeader),
    (76, "UNSUPPORTED_COMPRESSION_TYPE", Fatal),
    (78, "OFFSET_NOT_AVAILABLE", AskLeader),
    (82, "FENCED_INSTANCE_ID", Fenced),
    (87, "INVALID_RECORD", Record),
    (88, "UNSTABLE_OFFSET_COMMIT", Retry),
    (89, "THROTTLING_QUOTA_EXCEEDED", Retry),
    (90, "PRODUCER_FENCED", Fenced),
    (100, "UNKNOWN_TOPIC_ID", AskLeader),
    (110, "FENCED_MEMBER_EPOCH", Fenced),
    (113, "STALE_MEMBER_EPOCH", Fenced),
    (120, "TRANSACTION_ABORTABLE", Abort),
];

/// What follows from this code. Total: there is no code without a verdict.
pub(super) fn verdict(code: Code) -> Verdict {
    row(code).map_or(Unknown, |(_, _, verdict)| *verdict)
}

/// The error's name, for whoever reads logs beside the broker's.
pub(super) fn name(code: Code) -> String {
    row(code).map_or_else(|| format!("error {code}"), |(_, name, _)| (*name).to_owned())
}

fn row(code: Code) -> Option<&'static (Code, &'static str, Verdict)> {
    let at = TABLE.binary_search_by_key(&code, |(code, _, _)| *code).ok()?;
    TABLE.get(at)
}

/// The outcome of what has happened and has no place in the log.
pub(super) const DONE: Outcome = Outcome::Done { next_offset: None };

/// How an effect ends that is not tried again. What would have to be is unknown by then.
pub(super) fn outcome(verdict: Verdict, text: String) -> Outcome {
    match verdict {
        Done => DONE,
        Abort => Outcome::Failed(WriteError::Abort(text)),
        Record => Outcome::Failed(WriteError::Record(text)),
        Fatal => Outcome::Failed(WriteError::Fatal(text)),
        Fenced => Outcome::Failed(WriteError::Fenced(text)),
        Retry | AskLeader | AskCoordinator | Unknown | OutOfRange | OutOfOrder => Outcome::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_names_each_code_once() {
        assert!(TABLE.is_sorted_by(|a, b| a.0 < b.0));
    }

    #[test]
    fn only_what_is_there_is_done_and_what_is_not_known_is_unknown() {
        for code in -300..=300 {
            assert_eq!(verdict(code) == Done, code == 0 || code == 46, "{code}");
        }
        assert_eq!([-1, 48, 49, 59, 299].map(verdict), [Unknown; 5]);
        assert_eq!(name(90), "PRODUCER_FENCED");
        assert_eq!(name(299), "error 299");
    }

    #[test]
    fn an_effect_that_is_given_up_while_it_is_tried_again_is_unknown() {
        for verdict in [Retry, AskLeader, AskCoordinator, Unknown, OutOfOrder] {
            assert!(matches!(outcome(verdict, String::new()), Outcome::Unknown), "{verdict:?}");
        }
    }
}
