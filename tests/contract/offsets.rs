//! What has a group committed?

use millstream::log::{ClientConfig, End, LogError};

use super::harness::{Subject, at, outsider};

pub(crate) fn nothing_is_committed_at_first(subject: &Subject) {
    let partitions = subject.topic("t", 2);
    let admin = subject.log.admin();
    let committed = admin.committed(&subject.name("group"), &partitions).unwrap();
    assert_eq!(committed, [None, None]);
}

pub(crate) fn plain_commit_is_read_back(subject: &Subject) {
    let partitions = subject.topic("t", 2);
    let mut client = subject.plain();
    client.write(partitions[1], &["a", "b"]);
    let token = outsider(&subject.name("group"));
    for offset in [1, 2] {
        let committed = client.client.commit_offsets(&[at(partitions[1], offset)], &token);
        client.done(committed);
    }
    assert_eq!(subject.committed(partitions[0]), None);
    assert_eq!(subject.committed(partitions[1]), Some(at(partitions[1], 2)));
}

pub(crate) fn offsets_of_a_transaction_count_from_its_commit(subject: &Subject) {
    let partition = subject.topic("t", 1)[0];
    let group = subject.name("group");
    let mut writer = subject.writer("id");
    writer.begin();
    writer.write(partition, &["a"]);
    let sent = writer.client.commit_offsets(&[at(partition, 1)], &outsider(&group));
    writer.done(sent);
    let while_open = subject.log.admin().committed(&group, &[partition]);
    assert!(matches!(while_open, Err(LogError::Unstable)), "{while_open:?}");
    writer.end(End::Commit);
    assert_eq!(subject.committed(partition), Some(at(partition, 1)));
}

pub(crate) fn offsets_of_an_aborted_transaction_never_count(subject: &Subject) {
    let partition = subject.topic("t", 1)[0];
    let token = outsider(&subject.name("group"));
    let mut writer = subject.writer("id");
    for (offset, end) in [(1, End::Commit), (2, End::Abort)] {
        writer.begin();
        writer.write(partition, &["a"]);
        let sent = writer.client.commit_offsets(&[at(partition, offset)], &token);
        writer.done(sent);
        writer.end(end);
    }
    assert_eq!(subject.committed(partition), Some(at(partition, 1)));
}

pub(crate) fn groups_commit_apart(subject: &Subject) {
    let partition = subject.topic("t", 1)[0];
    let other = subject.name("other");
    let mut client = subject.client(ClientConfig { group: other.clone(), ..subject.config() });
    let committed = client.client.commit_offsets(&[at(partition, 3)], &outsider(&other));
    client.done(committed);
    assert_eq!(subject.committed(partition), None);
    let of_other = subject.log.admin().committed(&other, &[partition]).unwrap();
    assert_eq!(of_other, [Some(at(partition, 3))]);
}
