//! What becomes of a batch that is sent?

use millstream::log::{EffectId, EncodedHeaders, OffsetSpec, OpenBatch, Outcome, WriteError};
use millstream::{Headers, Timestamp};

use super::harness::{Subject, batch};

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
