//! What is seen of a transaction, by whom, and from when on?

use std::time::Duration;

use millstream::log::{ClientConfig, End, OffsetSpec, Outcome, WriteError};

use super::harness::{Subject, at, batch, outsider};

pub(crate) fn committed_transaction_is_seen_whole(subject: &Subject) {
    let partition = subject.topic("t", 1)[0];
    let mut writer = subject.writer("id");
    let mut committed = subject.plain();
    let mut uncommitted = subject.uncommitted();
    committed.write(partition, &["before"]);
    committed.read_from(partition, 0);
    uncommitted.read_from(partition, 0);

    writer.begin();
    writer.write(partition, &["a", "b"]);
    writer.write(partition, &["c"]);
    assert_eq!(uncommitted.values_to(partition, "c"), ["before", "a", "b", "c"]);
    committed.caught_up_to(partition, 1);
    assert_eq!(committed.values(partition), ["before"]);
    writer.end(End::Commit);
    assert_eq!(committed.values_to(partition, "c"), ["before", "a", "b", "c"]);
}

pub(crate) fn aborted_transaction_is_seen_by_nobody(subject: &Subject) {
    let partition = subject.topic("t", 1)[0];
    let mut writer = subject.writer("id");
    for (value, end) in
        [("a", End::Commit), ("b", End::Abort), ("c", End::Abort), ("d", End::Commit)]
    {
        writer.begin();
        writer.write(partition, &[value]);
        writer.end(end);
    }
    let mut committed = subject.plain();
    committed.read_from(partition, 0);
    assert_eq!(committed.values_to(partition, "d"), ["a", "d"]);
    let mut uncommitted = subject.uncommitted();
    uncommitted.read_from(partition, 0);
    assert_eq!(uncommitted.values_to(partition, "d"), ["a", "b", "c", "d"]);
}

pub(crate) fn open_transaction_holds_back_what_comes_after(subject: &Subject) {
    let partition = subject.topic("t", 1)[0];
    let (mut slow, mut fast) = (subject.writer("slow"), subject.writer("fast"));
    slow.begin();
    slow.write(partition, &["slow"]);
    fast.begin();
    fast.write(partition, &["fast"]);
    fast.end(End::Commit);
    let mut plain = subject.plain();
    plain.write(partition, &["plain"]);
    plain.read_from(partition, 0);
    plain.caught_up_to(partition, 0);
    assert!(plain.values(partition).is_empty());
    slow.end(End::Abort);
    assert_eq!(plain.values_to(partition, "plain"), ["fast", "plain"]);
}

pub(crate) fn position_passes_the_end_of_a_transaction(subject: &Subject) {
    let partition = subject.topic("t", 1)[0];
    let mut writer = subject.writer("id");
    writer.begin();
    writer.write(partition, &["a"]);
    writer.end(End::Commit);
    writer.begin();
    writer.write(partition, &["b", "c"]);
    writer.end(End::Abort);
    let mut reader = subject.plain();
    reader.read_from(partition, 0);
    // Three records and the two markers, which take an offset each.
    reader.caught_up_to(partition, 5);
    assert_eq!(subject.offset(partition, OffsetSpec::End), 5);
    assert_eq!(reader.values(partition), ["a"]);
}

pub(crate) fn transaction_spans_partitions(subject: &Subject) {
    let partitions = subject.topic("t", 3);
    let mut writer = subject.writer("id");
    for end in [End::Abort, End::Commit] {
        writer.begin();
        let values = if end == End::Commit { ["x", "y", "z"] } else { ["a", "b", "c"] };
        for (partition, value) in partitions.iter().zip(values) {
            writer.write(*partition, &[value]);
        }
        writer.end(end);
    }
    let mut reader = subject.plain();
    for partition in &partitions {
        reader.read_from(*partition, 0);
    }
    for (partition, value) in partitions.iter().zip(["x", "y", "z"]) {
        assert_eq!(reader.values_to(*partition, value), [value]);
    }
}

pub(crate) fn broken_transaction_can_only_be_aborted(subject: &Subject) {
    let partition = subject.topic_with("t", 1, &[("max.message.bytes", "10000")])[0];
    let mut writer = subject.writer("id");
    writer.begin();
    writer.write(partition, &["a"]);
    let sent = writer.client.send(partition, batch(&[&"x".repeat(20_000)]));
    let outcome = writer.outcome(sent);
    assert!(matches!(outcome, Outcome::Failed(WriteError::Record(_))), "{outcome:?}");
    let ended = writer.client.end_transaction(End::Commit);
    let outcome = writer.outcome(ended);
    assert!(matches!(outcome, Outcome::Failed(WriteError::Abort(_))), "{outcome:?}");
    writer.end(End::Abort);

    writer.begin();
    writer.write(partition, &["b"]);
    writer.end(End::Commit);
    let mut reader = subject.plain();
    reader.read_from(partition, 0);
    assert_eq!(reader.values_to(partition, "b"), ["b"]);
}

pub(crate) fn empty_transaction_ends_well(subject: &Subject) {
    let partition = subject.topic("t", 1)[0];
    let mut writer = subject.writer("id");
    for end in [End::Commit, End::Abort] {
        writer.begin();
        writer.end(end);
    }
    assert_eq!(subject.offset(partition, OffsetSpec::End), 0);
}

pub(crate) fn transactions_follow_one_another(subject: &Subject) {
    let partition = subject.topic("t", 1)[0];
    let token = outsider(&subject.name("group"));
    let mut writer = subject.writer("id");
    for number in 0..20 {
        writer.begin();
        writer.write(partition, &[&format!("v{number}")]);
        let committed = writer.client.commit_offsets(&[at(partition, number)], &token);
        writer.done(committed);
        writer.end(if number % 5 == 4 { End::Abort } else { End::Commit });
    }
    let read: Vec<i64> =
        subject.read_decided(partition).iter().map(|record| record.offset).collect();
    assert_eq!(read, (0..20).filter(|n| n % 5 != 4).map(|n| n * 2).collect::<Vec<i64>>());
    assert_eq!(subject.committed(partition), Some(at(partition, 18)));
}

pub(crate) fn offsets_alone_are_a_transaction(subject: &Subject) {
    let partition = subject.topic("t", 1)[0];
    let token = outsider(&subject.name("group"));
    let mut writer = subject.writer("id");
    for (offset, end) in [(3, End::Commit), (4, End::Abort)] {
        writer.begin();
        let committed = writer.client.commit_offsets(&[at(partition, offset)], &token);
        writer.done(committed);
        writer.end(end);
    }
    assert_eq!(subject.committed(partition), Some(at(partition, 3)));
}

pub(crate) fn new_epoch_aborts_the_own_transaction(subject: &Subject) {
    let partition = subject.topic("t", 1)[0];
    let mut writer = subject.writer("id");
    writer.begin();
    writer.write(partition, &["forgotten"]);
    let ready = writer.client.init_producer();
    writer.done(ready);
    writer.begin();
    writer.write(partition, &["kept"]);
    writer.end(End::Commit);
    let mut reader = subject.plain();
    reader.read_from(partition, 0);
    assert_eq!(reader.values_to(partition, "kept"), ["kept"]);
}

pub(crate) fn overlong_transaction_is_aborted_and_its_writer_fenced(subject: &Subject) {
    let partition = subject.topic("t", 1)[0];
    let transactional_id = Some(subject.name("id"));
    let transaction_timeout = Duration::from_secs(1);
    let config = ClientConfig { transactional_id, transaction_timeout, ..subject.config() };
    let mut slow = subject.client(config);
    let ready = slow.client.init_producer();
    slow.done(ready);
    slow.begin();
    slow.write(partition, &["slow"]);
    let mut plain = subject.plain();
    plain.write(partition, &["plain"]);
    plain.read_from(partition, 0);
    assert_eq!(plain.values_to(partition, "plain"), ["plain"]);
    let ended = slow.client.end_transaction(End::Commit);
    slow.fenced(ended);
}

pub(crate) fn transactional_writer_writes_only_within_transactions(subject: &Subject) {
    let partition = subject.topic("t", 1)[0];
    let mut writer = subject.writer("id");
    let sent = writer.client.send(partition, batch(&["a"]));
    let outcome = writer.outcome(sent);
    assert!(matches!(outcome, Outcome::Failed(WriteError::Fatal(_))), "{outcome:?}");
    let ended = writer.client.end_transaction(End::Commit);
    let outcome = writer.outcome(ended);
    assert!(matches!(outcome, Outcome::Failed(WriteError::Fatal(_))), "{outcome:?}");
    writer.begin();
    writer.write(partition, &["b"]);
    writer.end(End::Commit);
    assert_eq!(subject.read_decided(partition).len(), 1);
}

pub(crate) fn writer_without_an_epoch_cannot_write(subject: &Subject) {
    let partition = subject.topic("t", 1)[0];
    let transactional_id = Some(subject.name("id"));
    let mut writer = subject.client(ClientConfig { transactional_id, ..subject.config() });
    writer.begin();
    let sent = writer.client.send(partition, batch(&["a"]));
    let outcome = writer.outcome(sent);
    assert!(matches!(outcome, Outcome::Failed(WriteError::Fatal(_))), "{outcome:?}");
    let ready = writer.client.init_producer();
    writer.done(ready);
    writer.begin();
    writer.write(partition, &["b"]);
    writer.end(End::Commit);
    assert_eq!(subject.read_decided(partition).len(), 1);
}
