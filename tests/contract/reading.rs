//! What does a reader see, and when is it told that it has seen all?

use std::time::Duration;

use millstream::log::{ClientConfig, ReadError};
use millstream::time::{Clock, Instant, SystemClock};

use super::harness::Subject;

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
            client.client.send(*partition, super::harness::batch(&[value]));
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
