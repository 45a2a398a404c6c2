//! What becomes of a batch that is sent?

use millstream::log::{
    ClientConfig, EffectId, EncodedHeaders, OffsetSpec, OpenBatch, Outcome, WriteError,
};
use millstream::{Headers, Timestamp};

use super::harness::{Subject, batch, record};

pub(crate) fn nulls_and_headers_come_back_as_written(subject: &Subject) {
    let partition = subject.topic("t", 1)[0];
    let mut headers = Headers::new();
    headers.push("trace", "1");
    headers.push_null("none");
    headers.push("trace", vec![0, 255]);
    let encoded = EncodedHeaders::from(&headers);
    let none = EncodedHeaders::new();

    let mut open = OpenBatch::new();
    let time = Timestamp::from_millis;
    open.append(time(5_000), Some(b"key"), Some(b"value"), encoded.view());
    open.append(time(4_000), Some(b"key"), None, none.view());
    open.append(time(6_000), None, Some(b""), none.view());
    open.append(time(6_000), Some(b""), None, none.view());
    let mut client = subject.plain();
    let sent = client.client.send(partition, open);
    client.done(sent);
    client.read_from(partition, 0);
    client.caught_up_to(partition, 4);

    let read = &client.read[&partition];
    let parts = |index: usize| {
        let record = &read[index];
        (record.timestamp, record.key.as_deref(), record.value.as_deref())
    };
    assert_eq!(parts(0), (5_000, Some(b"key".as_slice()), Some(b"value".as_slice())));
    assert_eq!(parts(1), (4_000, Some(b"key".as_slice()), None));
    assert_eq!(parts(2), (6_000, None, Some(b"".as_slice())));
    assert_eq!(parts(3), (6_000, Some(b"".as_slice()), None));
    assert_eq!(read[0].headers, headers);
    assert!(read[1].headers.is_empty());
}

pub(crate) fn batches_stay_in_the_order_sent(subject: &Subject) {
    let partition = subject.topic("t", 1)[0];
    let mut client = subject.plain();
    let values: Vec<String> = (0..300).map(|number| format!("v{number}")).collect();
    let sent: Vec<EffectId> = values
        .chunks(3)
        .map(|three| {
            let three: Vec<&str> = three.iter().map(String::as_str).collect();
            client.client.send(partition, batch(&three))
        })
        .collect();
    for effect in sent {
        client.done(effect);
    }
    client.read_from(partition, 0);
    assert_eq!(client.values_to(partition, "v299"), values);
    let offsets: Vec<i64> = client.read[&partition].iter().map(|record| record.offset).collect();
    assert_eq!(offsets, (0..300).collect::<Vec<i64>>());
}

pub(crate) fn done_tells_the_offset_behind_the_batch(subject: &Subject) {
    let partition = subject.topic("t", 1)[0];
    let mut client = subject.plain();
    let first = client.client.send(partition, batch(&["a", "b", "c"]));
    let second = client.client.send(partition, batch(&["d"]));
    assert_eq!(client.done(first), Some(3));
    assert_eq!(client.done(second), Some(4));
}

pub(crate) fn partitions_are_apart(subject: &Subject) {
    let partitions = subject.topic("t", 3);
    let mut client = subject.plain();
    for (partition, value) in partitions.iter().zip(["a", "b", "c"]) {
        client.write(*partition, &[value]);
        client.read_from(*partition, 0);
    }
    for (partition, value) in partitions.iter().zip(["a", "b", "c"]) {
        client.caught_up_to(*partition, 1);
        assert_eq!(client.values(*partition), [value]);
    }
}

pub(crate) fn too_large_a_batch_is_refused_and_the_next_one_passes(subject: &Subject) {
    let partition = subject.topic_with("t", 1, &[("max.message.bytes", "10000")])[0];
    let mut client = subject.plain();
    let large = "x".repeat(20_000);
    let sent = client.client.send(partition, batch(&[&large]));
    let outcome = client.outcome(sent);
    assert!(matches!(outcome, Outcome::Failed(WriteError::Record(_))), "{outcome:?}");
    client.write(partition, &["small"]);
    client.read_from(partition, 0);
    assert_eq!(client.values_to(partition, "small"), ["small"]);
    assert_eq!(subject.offset(partition, OffsetSpec::End), 1);
}

pub(crate) fn empty_batch_is_done_and_leaves_no_trace(subject: &Subject) {
    let partition = subject.topic("t", 1)[0];
    let mut client = subject.plain();
    let sent = client.client.send(partition, OpenBatch::new());
    assert_eq!(client.done(sent), None);
    assert_eq!(subject.offset(partition, OffsetSpec::End), 0);
}

/// But for 0, which a client may not be able to send: it is kept to the millisecond.
pub(crate) fn every_time_is_kept(subject: &Subject) {
    let partition = subject.topic("t", 1)[0];
    let mut client = subject.plain();
    let times = [1, 0, 1_700_000_000_000, 5];
    for millis in times {
        let sent = client.client.send(partition, record(millis, None, Some("x")));
        client.done(sent);
    }
    let read: Vec<i64> = subject.read_all(partition).iter().map(|r| r.timestamp).collect();
    assert!(read == times || read == [1, 1, 1_700_000_000_000, 5], "{read:?}");
}

pub(crate) fn topic_may_keep_its_own_time(subject: &Subject) {
    let configs = [("message.timestamp.type", "LogAppendTime")];
    let partition = subject.topic_with("t", 1, &configs)[0];
    let mut client = subject.plain();
    client.write(partition, &["a", "b"]);
    let read: Vec<i64> = subject.read_all(partition).iter().map(|r| r.timestamp).collect();
    assert!(read.iter().all(|millis| *millis > 1_600_000_000_000), "{read:?}");
}

pub(crate) fn record_is_taken_up_to_the_default_limit(subject: &Subject) {
    let partition = subject.topic("t", 1)[0];
    let mut client = subject.plain();
    let none = EncodedHeaders::new();
    let mut send = |bytes: usize| {
        let mut open = OpenBatch::new();
        let value = vec![b'x'; bytes];
        open.append(Timestamp::from_millis(1_000), None, Some(&value), none.view());
        let sent = client.client.send(partition, open);
        client.outcome(sent)
    };
    let taken = send(1_048_000);
    assert!(matches!(taken, Outcome::Done { next_offset: Some(1) }), "{taken:?}");
    let refused = send(1_048_588);
    assert!(matches!(refused, Outcome::Failed(WriteError::Record(_))), "{refused:?}");
    assert_eq!(subject.read_all(partition).len(), 1);
}

pub(crate) fn refused_record_does_not_take_its_neighbours_along(subject: &Subject) {
    let partition = subject.topic_with("t", 1, &[("max.message.bytes", "10000")])[0];
    let mut client = subject.plain();
    client.write(partition, &["a"]);
    let large = "x".repeat(20_000);
    let refused = client.client.send(partition, batch(&[&large]));
    let outcome = client.outcome(refused);
    assert!(matches!(outcome, Outcome::Failed(WriteError::Record(_))), "{outcome:?}");
    for value in ["b", "c"] {
        client.write(partition, &[value]);
    }
    client.read_from(partition, 0);
    assert_eq!(client.values_to(partition, "c"), ["a", "b", "c"]);
}

pub(crate) fn compacted_topic_refuses_a_null_key(subject: &Subject) {
    let partition = subject.topic_with("t", 1, &[("cleanup.policy", "compact")])[0];
    let mut client = subject.plain();
    let sent = client.client.send(partition, record(1_000, None, Some("x")));
    let outcome = client.outcome(sent);
    assert!(matches!(outcome, Outcome::Failed(WriteError::Record(_))), "{outcome:?}");
    client.write(partition, &["a"]);
    assert_eq!(subject.read_all(partition).len(), 1);
}

pub(crate) fn missing_topic_takes_nothing(subject: &Subject) {
    let existing = subject.topic("t", 1)[0];
    let mut client = subject.plain();
    let missing = [subject.ids("no-such-topic", 1)[0], subject.ids("t", 2)[1]];
    for partition in missing {
        let sent = client.client.send(partition, batch(&["a"]));
        let outcome = client.outcome(sent);
        assert!(matches!(outcome, Outcome::Failed(WriteError::Fatal(_))), "{outcome:?}");
    }
    client.write(existing, &["b"]);
}

pub(crate) fn many_headers_keep_their_order(subject: &Subject) {
    let partition = subject.topic("t", 1)[0];
    let mut headers = Headers::new();
    for number in 0..200_u32 {
        headers.push(format!("h{}", number % 7), number.to_be_bytes().to_vec());
    }
    headers.push("", Vec::new());
    let mut open = OpenBatch::new();
    let time = Timestamp::from_millis(1_000);
    open.append(time, Some(b"k"), None, EncodedHeaders::from(&headers).view());
    let mut client = subject.plain();
    let sent = client.client.send(partition, open);
    client.done(sent);
    assert_eq!(subject.read_all(partition)[0].headers, headers);
}

pub(crate) fn small_records_fill_no_batch_beyond_the_limit(subject: &Subject) {
    let partition = subject.topic_with("t", 1, &[("max.message.bytes", "2000")])[0];
    let name = subject.name("t");
    let settings = subject.log.admin().topic_configs(&[name]).unwrap().remove(0);
    let limit = ("max.message.bytes".to_owned(), "2000".to_owned());
    assert!(settings.contains(&limit), "{settings:?}");
    let config = ClientConfig { batch_bytes_max: 2_000, ..subject.config() };
    let mut client = subject.client(config);
    let value = "x".repeat(300);
    // Key and value are the same.
    let sent: Vec<EffectId> =
        (0..100).map(|_| client.client.send(partition, batch(&[&value, &value]))).collect();
    for effect in sent {
        client.done(effect);
    }
    assert_eq!(subject.read_all(partition).len(), 200);
}

pub(crate) fn unset_limit_of_a_topic_is_told(subject: &Subject) {
    subject.topic("t", 1);
    let settings = subject.log.admin().topic_configs(&[subject.name("t")]).unwrap().remove(0);
    let limit = settings.iter().find(|(name, _)| name == "max.message.bytes");
    assert_eq!(limit.map(|(_, bytes)| bytes.as_str()), Some("1048588"));
}
