//! What follows from an error of librdkafka or of the broker? One table for every code.
//!
//! # Invariant
//!
//! What the table does not name is *unknown*: it may have happened, so the producer is made anew
//! and the committed offsets are read again. Nothing is taken for failed that may have happened.

use super::sys::{Code, Fault, code};
use crate::log::{LogError, Outcome, WriteError};

/// Which call an error came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// A record was to be appended.
    Produce,
    /// The producer's epoch was to be taken.
    Init,
    /// Offsets were to be committed, inside a transaction or outside.
    Offsets,
    /// A transaction was to end.
    End,
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verdict {
    /// It has happened.
    Done,
    /// It has not, and the transaction cannot commit.
    Abort,
    /// This record cannot be written.
    Record,
    /// Nothing helps.
    Fatal,
    /// It may have happened.
    Unknown,
    /// Someone newer is at work.
    Fenced,
}

/// Sent by brokers since 4.0; the bindings do not know it.
const TRANSACTION_ABORTABLE: Code = 120;

const STATE: Code = code!(RD_KAFKA_RESP_ERR__STATE);
const UNSTABLE: Code = code!(RD_KAFKA_RESP_ERR_UNSTABLE_OFFSET_COMMIT);

const FENCED: &[Code] = &[
    code!(RD_KAFKA_RESP_ERR__FENCED),
    code!(RD_KAFKA_RESP_ERR__ASSIGNMENT_LOST),
    code!(RD_KAFKA_RESP_ERR_PRODUCER_FENCED),
    code!(RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH),
    code!(RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION),
    code!(RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID),
    code!(RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID),
    code!(RD_KAFKA_RESP_ERR_FENCED_MEMBER_EPOCH),
    code!(RD_KAFKA_RESP_ERR_STALE_MEMBER_EPOCH),
];

const RECORD: &[Code] = &[
    code!(RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE),
    code!(RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE),
    code!(RD_KAFKA_RESP_ERR_INVALID_RECORD),
    code!(RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP),
];

const ABORT: &[Code] = &[
    TRANSACTION_ABORTABLE,
    code!(RD_KAFKA_RESP_ERR__PURGE_QUEUE),
    code!(RD_KAFKA_RESP_ERR__INVALID_DIFFERENT_RECORD),
];

const FATAL: &[Code] = &[
    code!(RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED),
    code!(RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED),
    code!(RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED),
    code!(RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED),
    code!(RD_KAFKA_RESP_ERR_DELEGATION_TOKEN_AUTHORIZATION_FAILED),
    code!(RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED),
    code!(RD_KAFKA_RESP_ERR_UNSUPPORTED_SASL_MECHANISM),
    code!(RD_KAFKA_RESP_ERR_SECURITY_DISABLED),
    code!(RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART),
    code!(RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION),
    code!(RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION),
    code!(RD_KAFKA_RESP_ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT),
    code!(RD_KAFKA_RESP_ERR_UNSUPPORTED_COMPRESSION_TYPE),
    code!(RD_KAFKA_RESP_ERR_INVALID_REQUIRED_ACKS),
    code!(RD_KAFKA_RESP_ERR_INVALID_TRANSACTION_TIMEOUT),
    code!(RD_KAFKA_RESP_ERR_INVALID_GROUP_ID),
    code!(RD_KAFKA_RESP_ERR_INVALID_CONFIG),
    code!(RD_KAFKA_RESP_ERR_POLICY_VIOLATION),
    code!(RD_KAFKA_RESP_ERR_OFFSET_METADATA_TOO_LARGE),
    code!(RD_KAFKA_RESP_ERR_INVALID_COMMIT_OFFSET_SIZE),
    code!(RD_KAFKA_RESP_ERR__AUTHENTICATION),
    code!(RD_KAFKA_RESP_ERR__INVALID_ARG),
    code!(RD_KAFKA_RESP_ERR__NOT_CONFIGURED),
    code!(RD_KAFKA_RESP_ERR__NOT_IMPLEMENTED),
    code!(RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION),
    code!(RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC),
    code!(RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE),
];

/// What follows from this code after this call. Total: there is no code without a verdict.
pub(super) fn verdict(code: Code, call: Call) -> Verdict {
    match code {
        0 => Verdict::Done,
        // Refused before it was taken: the transaction has failed already.
        STATE if call == Call::Produce => Verdict::Abort,
        _ if FENCED.contains(&code) => Verdict::Fenced,
        _ if RECORD.contains(&code) && call == Call::Produce => Verdict::Record,
        _ if ABORT.contains(&code) => Verdict::Abort,
        _ if FATAL.contains(&code) => Verdict::Fatal,
        _ => Verdict::Unknown,
    }
}

/// What follows from a call that could say more than a code.
pub(super) fn verdict_of(fault: &Fault, call: Call) -> Verdict {
    match verdict(fault.code, call) {
        Verdict::Unknown | Verdict::Record if fault.needs_abort => Verdict::Abort,
        other => other,
    }
}

/// The outcome of what has happened and has no place in the log.
pub(super) const DONE: Outcome = Outcome::Done { next_offset: None };

/// The outcome of a call.
pub(super) fn outcome(result: Result<(), Fault>, call: Call) -> Outcome {
    match result {
        Ok(()) => DONE,
        Err(fault) => outcome_of(verdict_of(&fault, call), fault.text),
    }
}

/// The outcome that goes with a verdict.
pub(super) fn outcome_of(verdict: Verdict, text: String) -> Outcome {
    match verdict {
        Verdict::Done => DONE,
        Verdict::Abort => Outcome::Failed(WriteError::Abort(text)),
        Verdict::Record => Outcome::Failed(WriteError::Record(text)),
        Verdict::Fatal => Outcome::Failed(WriteError::Fatal(text)),
        Verdict::Fenced => Outcome::Failed(WriteError::Fenced(text)),
        Verdict::Unknown => Outcome::Unknown,
    }
}

const NOT_AUTHORISED: &[Code] = &[
    code!(RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED),
    code!(RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED),
    code!(RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED),
    code!(RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED),
    code!(RD_KAFKA_RESP_ERR_DELEGATION_TOKEN_AUTHORIZATION_FAILED),
    code!(RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED),
    code!(RD_KAFKA_RESP_ERR__AUTHENTICATION),
];

/// What an administrative call answers.
pub(super) fn log_error(fault: Fault) -> LogError {
    let Fault { code, text, .. } = fault;
    match code {
        UNSTABLE => LogError::Unstable,
        _ if NOT_AUTHORISED.contains(&code) => LogError::NotAuthorised(text),
        _ if is_permanent(code) => LogError::Fatal(text),
        _ => LogError::Unavailable(text),
    }
}

fn is_permanent(code: Code) -> bool {
    const MORE: &[Code] = &[
        code!(RD_KAFKA_RESP_ERR_INVALID_PARTITIONS),
        code!(RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR),
        code!(RD_KAFKA_RESP_ERR_INVALID_REPLICA_ASSIGNMENT),
        code!(RD_KAFKA_RESP_ERR_INVALID_REQUEST),
        code!(RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE),
    ];
    FATAL.contains(&code) || MORE.contains(&code)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALLS: [Call; 4] = [Call::Produce, Call::Init, Call::Offsets, Call::End];

    #[test]
    fn every_code_has_a_verdict_and_only_zero_is_done() {
        for code in -300..=300 {
            for call in CALLS {
                assert_eq!(verdict(code, call) == Verdict::Done, code == 0, "{code} {call:?}");
            }
        }
    }

    #[test]
    fn what_may_have_happened_is_unknown() {
        let codes = [
            code!(RD_KAFKA_RESP_ERR__TIMED_OUT),
            code!(RD_KAFKA_RESP_ERR__MSG_TIMED_OUT),
            code!(RD_KAFKA_RESP_ERR__TRANSPORT),
            code!(RD_KAFKA_RESP_ERR__PURGE_INFLIGHT),
            code!(RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT),
            code!(RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER),
            code!(RD_KAFKA_RESP_ERR_INVALID_PRODUCER_ID_MAPPING),
            299,
        ];
        for code in codes {
            assert_eq!(verdict(code, Call::Produce), Verdict::Unknown, "{code}");
            assert_eq!(verdict(code, Call::End), Verdict::Unknown, "{code}");
        }
    }

    #[test]
    fn a_fault_that_asks_for_an_abort_has_not_happened() {
        let code = code!(RD_KAFKA_RESP_ERR__TIMED_OUT);
        let fault = Fault { code, text: String::new(), needs_abort: true };
        assert_eq!(verdict_of(&fault, Call::End), Verdict::Abort);
        let code = code!(RD_KAFKA_RESP_ERR_PRODUCER_FENCED);
        let fault = Fault { code, text: String::new(), needs_abort: true };
        assert_eq!(verdict_of(&fault, Call::End), Verdict::Fenced);
    }

    #[test]
    fn an_expelled_member_is_fenced() {
        for code in [22, 25, 82, 110, 113] {
            assert_eq!(verdict(code, Call::Offsets), Verdict::Fenced, "{code}");
        }
    }

    #[test]
    fn open_transactions_make_offsets_unstable() {
        assert!(matches!(log_error(Fault::of(88)), LogError::Unstable));
        assert!(matches!(log_error(Fault::of(29)), LogError::NotAuthorised(_)));
        assert!(matches!(log_error(Fault::of(-185)), LogError::Unavailable(_)));
    }
}
