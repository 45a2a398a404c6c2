//! What is seen of a transaction, by whom, and from when on?

use millstream::log::{End, OffsetSpec, Outcome, WriteError};

use super::harness::{Subject, batch};

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
