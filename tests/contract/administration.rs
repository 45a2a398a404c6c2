//! What do the administrative calls say and do?

use millstream::Timestamp;
use millstream::log::{End, LogError, NewTopic, OffsetSpec, TopicInfo};

use super::harness::{Deadline, Subject, record};

pub(crate) fn cluster_id_is_stable(subject: &Subject) {
    let id = subject.log.admin().cluster_id().unwrap();
    assert!(!id.is_empty());
    assert_eq!(subject.log.admin().cluster_id().unwrap(), id);
}

pub(crate) fn topics_are_told_in_the_order_asked(subject: &Subject) {
    subject.topic("two", 2);
    subject.topic("one", 1);
    let names = ["one", "missing", "two"].map(|what| subject.name(what));
    let told = subject.log.admin().topics(&names).unwrap();
    let info = |what: &str, partitions| Some(TopicInfo { name: subject.name(what), partitions });
    assert_eq!(told, [info("one", 1), None, info("two", 2)]);
}

pub(crate) fn existing_topic_is_left_as_it_is(subject: &Subject) {
    let partition = subject.topic("t", 2)[0];
    let mut client = subject.plain();
    client.write(partition, &["a"]);
    let name = subject.name("t");
    let again = NewTopic { name: name.clone(), partitions: 5, replication: None, configs: vec![] };
    let admin = subject.log.admin();
    admin.create_topics(&[again]).unwrap();
    assert_eq!(admin.topics(&[name]).unwrap()[0].as_ref().unwrap().partitions, 2);
    assert_eq!(subject.offset(partition, OffsetSpec::End), 1);
}

pub(crate) fn offset_by_time_is_of_the_first_record_not_older(subject: &Subject) {
    let partition = subject.topic("t", 1)[0];
    let mut client = subject.plain();
    // At 1000, 1001 and 1002, and then the same again.
    client.write(partition, &["a", "b", "c"]);
    client.write(partition, &["d", "e", "f"]);
    let at_time =
        |millis| subject.offset(partition, OffsetSpec::AtTime(Timestamp::from_millis(millis)));
    assert_eq!(at_time(0), 0);
    assert_eq!(at_time(1_001), 1);
    assert_eq!(at_time(1_003), 6, "there is none, so it is the end");
    assert_eq!(subject.offset(partition, OffsetSpec::Earliest), 0);
    assert_eq!(subject.offset(partition, OffsetSpec::End), 6);
}

pub(crate) fn deleted_records_are_gone_and_the_rest_stays(subject: &Subject) {
    let partitions = subject.topic("t", 2);
    let mut client = subject.plain();
    for partition in &partitions {
        client.write(*partition, &["a", "b", "c"]);
    }
    subject.log.admin().delete_records(&[(partitions[0], 1)]).unwrap();
    let offset = |index: usize, spec| subject.offset(partitions[index], spec);
    assert_eq!((offset(0, OffsetSpec::Earliest), offset(0, OffsetSpec::End)), (1, 3));
    assert_eq!((offset(1, OffsetSpec::Earliest), offset(1, OffsetSpec::End)), (0, 3));
    client.read_from(partitions[0], 1);
    assert_eq!(client.values_to(partitions[0], "c"), ["b", "c"]);
}

fn creation(subject: &Subject, name: &str, partitions: u32, configs: &[(&str, &str)]) -> NewTopic {
    let configs = configs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
    let name = if name.is_empty() { subject.name("t") } else { name.to_owned() };
    NewTopic { name, partitions, replication: None, configs }
}

fn refused(subject: &Subject, topic: NewTopic) {
    let created = subject.log.admin().create_topics(std::slice::from_ref(&topic));
    assert!(matches!(created, Err(LogError::Fatal(_))), "{topic:?}: {created:?}");
}

pub(crate) fn topic_needs_a_partition_and_a_valid_name(subject: &Subject) {
    refused(subject, creation(subject, "", 0, &[]));
    let long = "x".repeat(250);
    for name in [".", "..", "a/b", "a b", "gr\u{fc}n", &long] {
        refused(subject, creation(subject, name, 1, &[]));
    }
    assert_eq!(subject.log.admin().topics(&[subject.name("t")]).unwrap(), [None]);
    subject.log.admin().create_topics(&[creation(subject, &"y".repeat(249), 1, &[])]).unwrap();
}

pub(crate) fn unknown_or_wrong_settings_are_refused(subject: &Subject) {
    for setting in [
        ("no.such.setting", "1"),
        ("retention.ms", "soon"),
        ("retention.ms", "-2"),
        ("cleanup.policy", "shred"),
        ("max.message.bytes", "-1"),
        ("message.timestamp.type", "Noon"),
        ("preallocate", "perhaps"),
        ("min.cleanable.dirty.ratio", "2"),
        ("min.insync.replicas", "0"),
        ("compression.type", "rar"),
    ] {
        refused(subject, creation(subject, "", 1, &[setting]));
    }
    let good = [
        ("cleanup.policy", "compact,delete"),
        ("retention.ms", "-1"),
        ("compression.type", "zstd"),
        ("min.cleanable.dirty.ratio", "0.5"),
        ("preallocate", "false"),
    ];
    subject.log.admin().create_topics(&[creation(subject, "", 1, &good)]).unwrap();
}

pub(crate) fn names_that_collide_are_refused(subject: &Subject) {
    let (dotted, underlined) = (subject.name("a.b"), subject.name("a_b"));
    subject.log.admin().create_topics(&[creation(subject, &dotted, 1, &[])]).unwrap();
    refused(subject, creation(subject, &underlined, 1, &[]));
}

pub(crate) fn bad_topic_does_not_keep_the_others_from_being_created(subject: &Subject) {
    let good = creation(subject, "", 3, &[]);
    let name = good.name.clone();
    let created = subject.log.admin().create_topics(&[creation(subject, "a/b", 1, &[]), good]);
    assert!(matches!(created, Err(LogError::Fatal(_))), "{created:?}");
    let deadline = Deadline::new();
    while subject.log.admin().topics(std::slice::from_ref(&name)).unwrap()[0].is_none() {
        deadline.check("the other topic is there");
    }
}

pub(crate) fn offsets_of_a_missing_partition_are_refused(subject: &Subject) {
    let existing = subject.topic("t", 1)[0];
    let missing = subject.ids("no-such-topic", 1)[0];
    let admin = subject.log.admin();
    let asked = admin.offsets(&[(existing, OffsetSpec::End), (missing, OffsetSpec::End)]);
    assert!(matches!(asked, Err(LogError::Fatal(_))), "{asked:?}");
    let deleted = admin.delete_records(&[(missing, 0)]);
    assert!(matches!(deleted, Err(LogError::Fatal(_))), "{deleted:?}");
}

pub(crate) fn one_partition_may_be_asked_about_twice(subject: &Subject) {
    let partition = subject.topic("t", 1)[0];
    subject.plain().write(partition, &["a", "b"]);
    let specs = [
        OffsetSpec::End,
        OffsetSpec::Earliest,
        OffsetSpec::AtTime(Timestamp::from_millis(1_001)),
        OffsetSpec::AtTime(Timestamp::from_millis(9_000)),
    ];
    let asked = specs.map(|spec| (partition, spec));
    assert_eq!(subject.log.admin().offsets(&asked).unwrap(), [2, 0, 1, 2]);
}

pub(crate) fn offset_by_time_finds_the_first_among_disordered_times(subject: &Subject) {
    let partition = subject.topic("t", 1)[0];
    let mut client = subject.plain();
    for millis in [5_000, 3_000, 9_000, 7_000] {
        let sent = client.client.send(partition, record(millis, None, Some("x")));
        client.done(sent);
    }
    let at_time =
        |millis| subject.offset(partition, OffsetSpec::AtTime(Timestamp::from_millis(millis)));
    assert_eq!([0, 3_000, 5_000, 5_001, 9_000, 9_001].map(at_time), [0, 0, 0, 2, 2, 4]);
}

pub(crate) fn end_counts_an_open_transaction(subject: &Subject) {
    let partition = subject.topic("t", 1)[0];
    let mut writer = subject.writer("id");
    writer.begin();
    writer.write(partition, &["a", "b"]);
    assert_eq!(subject.offset(partition, OffsetSpec::End), 2);
    writer.end(End::Abort);
    let deadline = Deadline::new();
    while subject.offset(partition, OffsetSpec::End) != 3 {
        deadline.check("the marker has an offset");
    }
}

pub(crate) fn records_behind_the_end_cannot_be_deleted(subject: &Subject) {
    let partition = subject.topic("t", 1)[0];
    subject.plain().write(partition, &["a"]);
    let deleted = subject.log.admin().delete_records(&[(partition, 2)]);
    assert!(matches!(deleted, Err(LogError::Fatal(_))), "{deleted:?}");
    assert_eq!(subject.offset(partition, OffsetSpec::Earliest), 0);
}

pub(crate) fn deleting_everything_keeps_the_offsets(subject: &Subject) {
    let partition = subject.topic("t", 1)[0];
    let mut client = subject.plain();
    client.write(partition, &["a", "b"]);
    subject.log.admin().delete_records(&[(partition, 2)]).unwrap();
    assert_eq!(subject.offset(partition, OffsetSpec::Earliest), 2);
    // What is gone already cannot come back.
    subject.log.admin().delete_records(&[(partition, 1)]).unwrap();
    assert_eq!(subject.offset(partition, OffsetSpec::Earliest), 2);
    client.read_from(partition, 2);
    client.caught_up_to(partition, 2);
    client.write(partition, &["c"]);
    assert_eq!(client.values_to(partition, "c"), ["c"]);
    assert_eq!(client.read[&partition][0].offset, 2);
}

pub(crate) fn nothing_asked_is_nothing_answered(subject: &Subject) {
    let admin = subject.log.admin();
    assert!(admin.topics(&[]).unwrap().is_empty());
    assert!(admin.offsets(&[]).unwrap().is_empty());
    assert!(admin.committed(&subject.name("group"), &[]).unwrap().is_empty());
    admin.create_topics(&[]).unwrap();
    admin.delete_records(&[]).unwrap();
}
