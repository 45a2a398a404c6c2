//! What has a group committed?

use millstream::log::{ClientConfig, CommittedOffset, End, LogError, Outcome, WriteError};

use super::harness::{Subject, at, outsider};

pub(crate) fn nothing_is_committed_at_first(subject: &Subject) {
    let partitions = subject.topic("t", 2);
    let admin = subject.log.admin();
    let committed = admin.committed(&subject.name("group"), &partitions).unwrap();
    assert_eq!(committed, [None, None]);
}

pub(crate) fn administration_commits_for_a_group_without_members(subject: &Subject) {
    let partitions = subject.topic("t", 2);
    let (admin, group) = (subject.log.admin(), subject.name("group"));
    for offset in [3, 7] {
        admin.commit(&group, &[at(partitions[0], offset)]).unwrap();
        let committed = admin.committed_so_far(&group, &partitions).unwrap();
        assert_eq!(committed, [Some(at(partitions[0], offset)), None]);
    }
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

pub(crate) fn offset_may_go_back(subject: &Subject) {
    let partition = subject.topic("t", 1)[0];
    let token = outsider(&subject.name("group"));
    let mut client = subject.plain();
    for offset in [5, 2] {
        let committed = client.client.commit_offsets(&[at(partition, offset)], &token);
        client.done(committed);
    }
    assert_eq!(subject.committed(partition), Some(at(partition, 2)));
}

pub(crate) fn token_without_a_group_commits_for_the_clients_own(subject: &Subject) {
    let partition = subject.topic("t", 1)[0];
    let token = outsider("");
    let mut client = subject.plain();
    let committed = client.client.commit_offsets(&[at(partition, 1)], &token);
    client.done(committed);
    assert_eq!(subject.committed(partition), Some(at(partition, 1)));
    let mut writer = subject.writer("id");
    writer.begin();
    let committed = writer.client.commit_offsets(&[at(partition, 2)], &token);
    writer.done(committed);
    writer.end(End::Commit);
    assert_eq!(subject.committed(partition), Some(at(partition, 2)));
}

pub(crate) fn too_much_metadata_is_refused(subject: &Subject) {
    let partition = subject.topic("t", 1)[0];
    let token = outsider(&subject.name("group"));
    let offset = |bytes| CommittedOffset { partition, offset: 1, metadata: "m".repeat(bytes) };
    let mut client = subject.plain();
    let committed = client.client.commit_offsets(&[offset(4_096)], &token);
    client.done(committed);
    let committed = client.client.commit_offsets(&[offset(4_097)], &token);
    let outcome = client.outcome(committed);
    assert!(matches!(outcome, Outcome::Failed(WriteError::Fatal(_))), "{outcome:?}");
    assert_eq!(subject.committed(partition), Some(offset(4_096)));
}

pub(crate) fn missing_partition_has_no_offset(subject: &Subject) {
    let partition = subject.topic("t", 1)[0];
    let missing = subject.ids("no-such-topic", 1)[0];
    let token = outsider(&subject.name("group"));
    let mut client = subject.plain();
    let committed = client.client.commit_offsets(&[at(missing, 1)], &token);
    let outcome = client.outcome(committed);
    assert!(matches!(outcome, Outcome::Failed(WriteError::Fatal(_))), "{outcome:?}");
    let told = subject.log.admin().committed(&subject.name("group"), &[partition, missing]);
    assert_eq!(told.unwrap(), [None, None]);
}

pub(crate) fn partitions_of_a_commit_share_its_fate(subject: &Subject) {
    let partitions = subject.topic("t", 20);
    let token = outsider(&subject.name("group"));
    let mut writer = subject.writer("id");
    for (offset, end) in [(1, End::Commit), (2, End::Abort), (3, End::Commit)] {
        let all: Vec<_> = partitions.iter().map(|partition| at(*partition, offset)).collect();
        writer.begin();
        let committed = writer.client.commit_offsets(&all, &token);
        writer.done(committed);
        writer.end(end);
    }
    let expected = partitions.iter().map(|partition| Some(at(*partition, 3))).collect::<Vec<_>>();
    subject.committed(partitions[0]);
    let told = subject.log.admin().committed(&subject.name("group"), &partitions).unwrap();
    assert_eq!(told, expected);
}
