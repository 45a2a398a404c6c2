//! What does a log forget, and how does a reader pass what is not there any more?

use std::time::Duration;

use millstream::Timestamp;
use millstream::log::{End, OffsetSpec, PartitionId, ReadError};
use millstream::time::{Clock, SystemClock};

use super::harness::{Deadline, Driver, Rec, Subject, record};

/// A segment ends where the next record is a second younger, so every write closes the one before.
const COMPACTED: &[(&str, &str)] = &[
    ("cleanup.policy", "compact"),
    ("segment.ms", "500"),
    ("min.cleanable.dirty.ratio", "0.0001"),
    ("delete.retention.ms", "0"),
];

/// Writes records one by one, each a second younger than the one before.
struct Ticker {
    client: Driver,
    millis: i64,
}

impl Ticker {
    /// Begins at this time.
    fn new(client: Driver, millis: i64) -> Self {
        Self { client, millis }
    }

    /// Begins now, as the markers of transactions do.
    fn now(client: Driver) -> Self {
        Self::new(client, SystemClock::default().timestamp().as_millis())
    }

    fn write(&mut self, partition: PartitionId, key: &str, value: Option<&str>) {
        self.millis += 1_000;
        let sent = self.client.client.send(partition, record(self.millis, Some(key), value));
        self.client.done(sent);
    }
}

/// Key and value as text, and the offset.
fn contents(records: &[Rec]) -> Vec<(String, Option<String>, i64)> {
    let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
    let parts = |r: &Rec| (text(r.key.as_ref().unwrap()), r.value.as_ref().map(text), r.offset);
    records.iter().map(parts).collect()
}

/// Lets the log forget until what a reader sees fulfils this; new keys keep the log going.
fn forgotten(
    subject: &Subject,
    ticker: &mut Ticker,
    partition: PartitionId,
    what: &str,
    holds: impl Fn(&[(String, Option<String>, i64)]) -> bool,
) -> Vec<(String, Option<String>, i64)> {
    let deadline = Deadline::new();
    for number in 0.. {
        ticker.write(partition, &format!("filler-{number}"), Some("f"));
        (subject.tend)();
        let mut seen = contents(&subject.read_all(partition));
        seen.retain(|(key, ..)| !key.starts_with("filler"));
        if holds(&seen) {
            return seen;
        }
        deadline.check(what);
        ticker.client.client.wait(Duration::from_millis(200));
    }
    unreachable!("the loop ends by returning or by the deadline")
}

pub(crate) fn compaction_keeps_the_last_record_of_each_key(subject: &Subject) {
    let partition = subject.topic_with("t", 1, COMPACTED)[0];
    let mut ticker = Ticker::now(subject.plain());
    for (key, value) in [("a", "1"), ("b", "2"), ("a", "3"), ("c", "4"), ("a", "5"), ("b", "6")] {
        ticker.write(partition, key, Some(value));
    }
    let what = "one record of each key is left";
    let seen = forgotten(subject, &mut ticker, partition, what, |seen| seen.len() == 3);
    let kept = |key: &str, value: &str, offset| (key.to_owned(), Some(value.to_owned()), offset);
    assert_eq!(seen, [kept("c", "4", 3), kept("a", "5", 4), kept("b", "6", 5)]);
    assert_eq!(subject.offset(partition, OffsetSpec::Earliest), 0, "compaction moves no start");
    // Reading may begin in a hole.
    let mut reader = subject.plain();
    reader.read_from(partition, 1);
    assert_eq!(reader.values_to(partition, "6")[..3], ["4", "5", "6"]);
}

pub(crate) fn tombstone_goes_in_the_end(subject: &Subject) {
    let partition = subject.topic_with("t", 1, COMPACTED)[0];
    let mut ticker = Ticker::now(subject.plain());
    ticker.write(partition, "a", Some("1"));
    ticker.write(partition, "b", Some("2"));
    ticker.write(partition, "a", None);
    let what = "key and tombstone are gone";
    let seen = forgotten(subject, &mut ticker, partition, what, |seen| seen.len() == 1);
    assert_eq!(seen, [("b".to_owned(), Some("2".to_owned()), 1)]);
}

pub(crate) fn compaction_does_not_count_what_was_aborted(subject: &Subject) {
    let partition = subject.topic_with("t", 1, COMPACTED)[0];
    let mut ticker = Ticker::now(subject.writer("id"));
    for (value, end) in [("1", End::Commit), ("2", End::Commit), ("3", End::Abort)] {
        ticker.client.begin();
        ticker.write(partition, "a", Some(value));
        ticker.client.end(end);
    }
    let mut ticker = Ticker::new(subject.plain(), ticker.millis);
    let what = "the first value is gone";
    let seen = forgotten(subject, &mut ticker, partition, what, |seen| seen.len() == 1);
    assert_eq!(seen, [("a".to_owned(), Some("2".to_owned()), 2)]);
}

pub(crate) fn retention_moves_the_start(subject: &Subject) {
    let configs = [("retention.ms", "1000"), ("segment.ms", "500")];
    let partition = subject.topic_with("t", 1, &configs)[0];
    let mut ticker = Ticker::new(subject.plain(), 1_000);
    for value in ["a", "b", "c"] {
        ticker.write(partition, "k", Some(value));
    }
    let deadline = Deadline::new();
    while subject.offset(partition, OffsetSpec::Earliest) < 3 {
        (subject.tend)();
        deadline.check("the old records are gone");
        ticker.client.client.wait(Duration::from_millis(200));
    }
    let mut reader = subject.plain();
    reader.read_from(partition, 1);
    let error = reader.read_error(partition);
    assert!(matches!(error, ReadError::OutOfRange { offset: 1, earliest: 3, end: 3 }), "{error}");
    let at_time = OffsetSpec::AtTime(Timestamp::from_millis(0));
    assert_eq!(subject.offset(partition, at_time), 3);
}
