//! What does a reader see, and when is it told that it has seen all?

use std::time::Duration;

use millstream::log::{ClientConfig, End, ReadError};
use millstream::time::{Clock, Instant, SystemClock};

use super::harness::{Subject, batch};

pub(crate) fn empty_partition_is_caught_up_at_its_start(subject: &Subject) {
    let partition = subject.topic("t", 1)[0];
    let mut reader = subject.plain();
    reader.read_from(partition, 0);
    reader.caught_up_to(partition, 0);
    assert!(reader.read.is_empty());
}

pub(crate) fn caught_up_is_said_again_after_new_records(subject: &Subject) {
    let partition = subject.topic("t", 1)[0];
    let mut client = subject.plain();
    client.write(partition, &["a", "b"]);
    client.read_from(partition, 0);
    client.caught_up_to(partition, 2);
    assert_eq!(client.values(partition), ["a", "b"], "all comes before it is caught up");
    client.write(partition, &["c"]);
    client.caught_up_to(partition, 3);
    assert_eq!(client.values(partition), ["a", "b", "c"]);
    let said = &client.caught_up[&partition];
    assert!(said.windows(2).all(|two| two[0] < two[1]), "each end is said once: {said:?}");
}

pub(crate) fn reading_begins_where_it_was_asked_to(subject: &Subject) {
    let partition = subject.topic("t", 1)[0];
    let mut client = subject.plain();
    client.write(partition, &["a", "b", "c", "d"]);
    client.write(partition, &["e"]);
    client.read_from(partition, 2);
    assert_eq!(client.values_to(partition, "e"), ["c", "d", "e"]);
}

pub(crate) fn reading_moves_when_told_again(subject: &Subject) {
    let partition = subject.topic("t", 1)[0];
    let mut client = subject.plain();
    client.write(partition, &["a", "b"]);
    client.read_from(partition, 0);
    client.values_to(partition, "b");
    client.read.clear();
    client.caught_up.clear();
    client.read_from(partition, 1);
    client.caught_up_to(partition, 2);
    assert_eq!(client.values(partition), ["b"]);
}

pub(crate) fn paused_partition_keeps_its_position(subject: &Subject) {
    let partitions = subject.topic("t", 2);
    let (paused, other) = (partitions[0], partitions[1]);
    let mut client = subject.plain();
    client.write(paused, &["a"]);
    client.read_from(paused, 0);
    client.read_from(other, 0);
    client.caught_up_to(paused, 1);
    client.client.pause(paused, true);
    client.write(paused, &["b"]);
    client.write(other, &["x"]);
    client.values_to(other, "x");
    assert_eq!(client.values(paused), ["a"]);
    client.client.pause(paused, false);
    assert_eq!(client.values_to(paused, "b"), ["a", "b"]);
}

pub(crate) fn stopped_partition_reports_nothing(subject: &Subject) {
    let partitions = subject.topic("t", 2);
    let (stopped, other) = (partitions[0], partitions[1]);
    let mut client = subject.plain();
    client.read_from(stopped, 0);
    client.read_from(other, 0);
    client.caught_up_to(stopped, 0);
    client.client.stop_reading(stopped);
    client.write(stopped, &["a"]);
    client.write(other, &["x"]);
    client.values_to(other, "x");
    assert!(client.values(stopped).is_empty());
    assert_eq!(client.last_caught_up(stopped), Some(0));
}

pub(crate) fn position_behind_the_end_is_out_of_range(subject: &Subject) {
    let partition = subject.topic("t", 1)[0];
    let mut client = subject.plain();
    client.write(partition, &["a", "b"]);
    client.read_from(partition, 50);
    let error = client.read_error(partition);
    assert!(matches!(error, ReadError::OutOfRange { offset: 50, earliest: 0, end: 2 }), "{error}");
}

pub(crate) fn position_before_the_start_is_out_of_range(subject: &Subject) {
    let partition = subject.topic("t", 1)[0];
    let mut client = subject.plain();
    for value in ["a", "b", "c"] {
        client.write(partition, &[value]);
    }
    subject.log.admin().delete_records(&[(partition, 2)]).unwrap();
    client.read_from(partition, 0);
    let error = client.read_error(partition);
    assert!(matches!(error, ReadError::OutOfRange { offset: 0, earliest: 2, end: 3 }), "{error}");
    client.read_from(partition, 2);
    assert_eq!(client.values_to(partition, "c"), ["c"]);
}

pub(crate) fn missing_partition_is_not_found(subject: &Subject) {
    let partition = subject.ids("no-such-topic", 1)[0];
    let mut client = subject.plain();
    client.read_from(partition, 0);
    let error = client.read_error(partition);
    assert!(matches!(error, ReadError::NotFound), "{error}");
}

pub(crate) fn small_fetches_bring_everything_in_order(subject: &Subject) {
    let partitions = subject.topic("t", 2);
    let mut client = subject.client(ClientConfig { fetch_bytes_max: 200, ..subject.config() });
    let values: Vec<String> = (0..50).map(|number| format!("value-{number}")).collect();
    for partition in &partitions {
        for value in &values {
            client.client.send(*partition, batch(&[value]));
        }
    }
    for partition in &partitions {
        client.read_from(*partition, 0);
    }
    for partition in &partitions {
        assert_eq!(client.values_to(*partition, "value-49"), values);
    }
}

pub(crate) fn two_readers_do_not_disturb_each_other(subject: &Subject) {
    let partition = subject.topic("t", 1)[0];
    let (mut one, mut two) = (subject.plain(), subject.plain());
    one.write(partition, &["a", "b"]);
    one.read_from(partition, 0);
    two.read_from(partition, 1);
    assert_eq!(one.values_to(partition, "b"), ["a", "b"]);
    assert_eq!(two.values_to(partition, "b"), ["b"]);
}

pub(crate) fn waker_ends_a_wait(subject: &Subject) {
    let mut client = subject.plain();
    client.poll();
    let waker = client.client.waker();
    let clock = SystemClock::default();
    // Used before the wait begins.
    waker.wake();
    client.client.wait(Duration::from_secs(30));
    // Used by another thread.
    let other = std::thread::Builder::new().spawn(move || waker.wake()).unwrap();
    client.client.wait(Duration::from_secs(30));
    other.join().unwrap();
    assert!(clock.instant().since(Instant::default()) < Duration::from_secs(30));
}

pub(crate) fn missing_partition_of_a_topic_is_not_found(subject: &Subject) {
    let existing = subject.topic("t", 1)[0];
    let missing = subject.ids("t", 2)[1];
    let mut client = subject.plain();
    client.write(existing, &["a"]);
    client.read_from(existing, 0);
    client.read_from(missing, 0);
    let error = client.read_error(missing);
    assert!(matches!(error, ReadError::NotFound), "{error}");
    client.write(existing, &["b"]);
    assert_eq!(client.values_to(existing, "b"), ["a", "b"], "the other one is read on");
}

pub(crate) fn negative_position_is_out_of_range(subject: &Subject) {
    let partition = subject.topic("t", 1)[0];
    let mut client = subject.plain();
    client.write(partition, &["a"]);
    for offset in [-1, -2, -1_001] {
        client.read_from(partition, offset);
        let error = client.read_error(partition);
        let ReadError::OutOfRange { offset: told, earliest: 0, end: 1 } = error else {
            panic!("{offset}: {error}");
        };
        assert_eq!(told, offset);
    }
}

pub(crate) fn uncommitted_reader_passes_an_open_transaction(subject: &Subject) {
    let partition = subject.topic("t", 1)[0];
    let mut writer = subject.writer("id");
    writer.begin();
    writer.write(partition, &["a", "b"]);
    let mut reader = subject.uncommitted();
    reader.read_from(partition, 0);
    reader.caught_up_to(partition, 2);
    assert_eq!(reader.values(partition), ["a", "b"]);
    writer.end(End::Abort);
    reader.caught_up_to(partition, 3);
    assert_eq!(reader.values(partition), ["a", "b"]);
}

pub(crate) fn reading_may_begin_within_a_transaction_or_at_its_marker(subject: &Subject) {
    let partition = subject.topic("t", 1)[0];
    let mut writer = subject.writer("id");
    for (values, end) in [(["a", "b"], End::Abort), (["c", "d"], End::Commit)] {
        writer.begin();
        for value in values {
            writer.write(partition, &[value]);
        }
        writer.end(end);
    }
    // a b marker c d marker
    for (from, seen) in [(1, &["c", "d"][..]), (2, &["c", "d"]), (4, &["d"]), (5, &[])] {
        let mut reader = subject.plain();
        reader.read_from(partition, from);
        reader.caught_up_to(partition, 6);
        assert_eq!(reader.values(partition), seen, "from {from}");
    }
}

pub(crate) fn pause_outlasts_a_move_but_not_a_stop(subject: &Subject) {
    let partitions = subject.topic("t", 2);
    let (paused, other) = (partitions[0], partitions[1]);
    let mut client = subject.plain();
    // What is not read cannot be paused.
    client.client.pause(paused, true);
    client.write(paused, &["a", "b"]);
    client.read_from(paused, 0);
    client.read_from(other, 0);
    assert_eq!(client.values_to(paused, "b"), ["a", "b"]);
    client.client.pause(paused, true);
    client.read_from(paused, 1);
    client.write(other, &["x"]);
    client.values_to(other, "x");
    assert_eq!(client.values(paused), ["a", "b"]);
    client.client.pause(paused, false);
    client.until("the record is read again", |c| c.values(paused).len() == 3);
    assert_eq!(client.values(paused), ["a", "b", "b"]);
    client.client.pause(paused, true);
    client.client.stop_reading(paused);
    client.read_from(paused, 1);
    client.until("the record is read again", |c| c.values(paused).len() == 4);
}

pub(crate) fn large_record_passes_a_small_fetch(subject: &Subject) {
    let partition = subject.topic("t", 1)[0];
    let large = "x".repeat(450_000);
    let mut client = subject.client(ClientConfig { fetch_bytes_max: 4_096, ..subject.config() });
    client.write(partition, &["before"]);
    client.write(partition, &[&large]);
    client.write(partition, &["after"]);
    client.read_from(partition, 0);
    let read = client.values_to(partition, "after");
    assert_eq!(read.iter().map(String::len).collect::<Vec<_>>(), [6, 450_000, 5]);
}

pub(crate) fn reader_that_is_not_polled_holds_no_more_than_its_bounds(subject: &Subject) {
    const BOUND: usize = 128 * 1024;
    let partition = subject.topic("t", 1)[0];
    let mut client = subject.client(ClientConfig { fetch_bytes_max: BOUND, ..subject.config() });
    let value = "x".repeat(4_000);
    // One by one, so that no batch is large.
    for _ in 0..200 {
        client.write(partition, &[&value]);
    }
    client.read_from(partition, 0);
    // Another client's whole reading passes before this one is polled for the first time.
    assert_eq!(subject.read_all(partition).len(), 200);
    client.until("something was fetched", |c| !c.values(partition).is_empty());
    // Each value is its own key.
    let held = 2 * client.values(partition).iter().map(String::len).sum::<usize>();
    assert!(held <= 3 * BOUND, "{held} bytes were held for a reader that was not polled");
    client.caught_up_to(partition, 200);
    assert_eq!(client.values(partition).len(), 200);
}
