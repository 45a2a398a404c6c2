//! What do the administrative calls say and do?

use millstream::Timestamp;
use millstream::log::{NewTopic, OffsetSpec, TopicInfo};

use super::harness::Subject;

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
