//! What a commit asks of the log, and when: a client that only takes notes.

use std::time::Duration;

use super::*;
use crate::log::{CommittedOffset, LogEvent, Waker};
use crate::state::WriteBatch;
use crate::time::Instant;

/// What was asked for, in order. The effect of the nth call is n.
#[derive(Default)]
struct Notes(Vec<&'static str>);

impl Notes {
    fn note(&mut self, what: &'static str) -> EffectId {
        self.0.push(what);
        EffectId(self.0.len() as u64)
    }

    fn latest(&self) -> EffectId {
        EffectId(self.0.len() as u64)
    }
}

impl LogClient for Notes {
    fn read_from(&mut self, _: PartitionId, _: i64) {}
    fn stop_reading(&mut self, _: PartitionId) {}
    fn pause(&mut self, _: PartitionId, _: bool) {}
    fn init_producer(&mut self) -> EffectId {
        self.note("init")
    }
    fn begin_transaction(&mut self) {
        self.note("begin");
    }
    fn send(&mut self, _: PartitionId, _: OpenBatch) -> EffectId {
        self.note("send")
    }
    fn commit_offsets(&mut self, _: &[CommittedOffset], _: &MemberToken) -> EffectId {
        self.note("offsets")
    }
    fn end_transaction(&mut self, end: End) -> EffectId {
        self.note(if end == End::Commit { "commit" } else { "abort" })
    }
    fn poll(&mut self, _: Instant, _: &mut Vec<LogEvent>) {}
    fn wait(&mut self, _: Duration) {}
    fn waker(&self) -> Waker {
        Waker::new(|| {})
    }
}

const DONE: Outcome = Outcome::Done { next_offset: None };

/// A producer that is ready, and a commit of one task that has nothing to send.
fn begun() -> (Committer, Notes) {
    let (mut committer, mut notes) = (Committer::new(true), Notes::default());
    committer.ensure_producer(&mut notes);
    committer.ended(notes.latest(), DONE);
    let prepared = Prepared { offsets: Vec::new(), batch: WriteBatch::default() };
    let prepared = BTreeMap::from([("0_0".parse().unwrap(), prepared)]);
    committer.begin(&mut notes, prepared, Vec::new(), MemberToken::default());
    (committer, notes)
}

fn refused() -> Outcome {
    Outcome::Failed(WriteError::Fenced("an older generation".into()))
}

#[test]
fn a_refused_commit_is_aborted_by_the_producer_that_began_it() {
    let (mut committer, mut notes) = begun();
    assert!(committer.advance(&mut notes).is_ok());
    committer.ended(notes.latest(), refused());
    assert!(committer.advance(&mut notes).is_err());
    committer.ensure_producer(&mut notes);
    assert_eq!(notes.0, ["init", "begin", "offsets", "abort"]);
    assert!(!committer.can_send());
    committer.ended(notes.latest(), DONE);
    assert!(committer.can_send());
}

#[test]
fn a_producer_that_cannot_abort_takes_a_new_epoch() {
    let (mut committer, mut notes) = begun();
    assert!(committer.advance(&mut notes).is_ok());
    committer.ended(notes.latest(), refused());
    assert!(committer.advance(&mut notes).is_err());
    committer.ensure_producer(&mut notes);
    committer.ended(notes.latest(), refused());
    assert!(committer.advance(&mut notes).is_ok());
    assert_eq!(notes.0, ["init", "begin", "offsets", "abort", "init"]);
}

#[test]
fn a_transaction_whose_end_is_unknown_is_not_aborted() {
    let (mut committer, mut notes) = begun();
    assert!(committer.advance(&mut notes).is_ok());
    committer.ended(notes.latest(), DONE);
    assert!(committer.advance(&mut notes).is_ok());
    committer.ended(notes.latest(), Outcome::Unknown);
    assert!(committer.advance(&mut notes).is_err());
    committer.ensure_producer(&mut notes);
    assert_eq!(notes.0, ["init", "begin", "offsets", "commit", "init"]);
}

#[test]
fn a_transaction_of_which_something_is_under_way_is_not_aborted() {
    let (mut committer, mut notes) = begun();
    assert!(committer.advance(&mut notes).is_ok());
    committer.reset();
    committer.ensure_producer(&mut notes);
    assert_eq!(notes.0, ["init", "begin", "offsets", "init"]);
}

#[test]
fn a_log_that_takes_less_than_tasks_give_holds_them_back() {
    let (mut committer, mut notes) = (Committer::new(false), Notes::default());
    committer.ensure_producer(&mut notes);
    committer.ended(notes.latest(), DONE);
    let partition = crate::log::Partitions::default().id(&crate::log::TopicPartition::new("t", 0));
    let large = || {
        let (mut batch, headers) = (OpenBatch::new(), crate::log::EncodedHeaders::new());
        let value = vec![0; SENT_BYTES_MAX / 4];
        batch.append(crate::time::Timestamp::ZERO, None, Some(&value), headers.view());
        vec![(partition, batch)]
    };
    let mut sent = Vec::new();
    while committer.has_room() {
        committer.send(&mut notes, large());
        sent.push(notes.latest());
    }
    assert_eq!(sent.len(), 4);
    committer.ended(sent[0], DONE);
    assert!(committer.has_room());
    committer.send(&mut notes, large());
    assert!(!committer.has_room());
    committer.reset();
    assert!(committer.has_room(), "what is given up takes no room");
}
