//! Who may not write any more?

use millstream::log::{ClientConfig, End, MemberToken};

use super::harness::{Subject, at, batch, outsider};

pub(crate) fn newer_producer_fences_the_older(subject: &Subject) {
    let partition = subject.topic("t", 1)[0];
    let mut older = subject.writer("id");
    older.begin();
    older.write(partition, &["older"]);
    let mut newer = subject.writer("id");
    let ended = older.client.end_transaction(End::Commit);
    older.fenced(ended);

    newer.begin();
    newer.write(partition, &["newer"]);
    newer.end(End::Commit);
    let mut reader = subject.plain();
    reader.read_from(partition, 0);
    assert_eq!(reader.values_to(partition, "newer"), ["newer"]);
}

pub(crate) fn newer_producer_aborts_what_was_open(subject: &Subject) {
    let partition = subject.topic("t", 1)[0];
    let mut older = subject.writer("id");
    older.begin();
    older.write(partition, &["older"]);
    let _newer = subject.writer("id");
    let sent = older.client.send(partition, batch(&["late"]));
    older.fenced(sent);
    let mut plain = subject.plain();
    plain.write(partition, &["plain"]);
    plain.read_from(partition, 0);
    assert_eq!(plain.values_to(partition, "plain"), ["plain"]);
}

pub(crate) fn fence_ends_the_open_transaction(subject: &Subject) {
    let partition = subject.topic("t", 1)[0];
    let mut frozen = subject.writer("id");
    frozen.begin();
    frozen.write(partition, &["frozen"]);
    let committed =
        frozen.client.commit_offsets(&[at(partition, 7)], &outsider(&subject.name("group")));
    frozen.done(committed);
    subject.log.admin().fence(&subject.name("id")).unwrap();
    assert_eq!(subject.committed(partition), None);
    let mut plain = subject.plain();
    plain.write(partition, &["plain"]);
    plain.read_from(partition, 0);
    assert_eq!(plain.values_to(partition, "plain"), ["plain"]);
    let ended = frozen.client.end_transaction(End::Commit);
    frozen.fenced(ended);
}

pub(crate) fn fenced_writer_comes_back_with_a_new_epoch(subject: &Subject) {
    let partition = subject.topic("t", 1)[0];
    let mut writer = subject.writer("id");
    subject.log.admin().fence(&subject.name("id")).unwrap();
    writer.begin();
    let sent = writer.client.send(partition, batch(&["fenced"]));
    writer.fenced(sent);
    // A client whose producer was fenced is replaced, as its worker does.
    drop(writer);
    let mut writer = subject.writer("id");
    writer.begin();
    writer.write(partition, &["again"]);
    writer.end(End::Commit);
    let mut reader = subject.plain();
    reader.read_from(partition, 0);
    assert_eq!(reader.values_to(partition, "again"), ["again"]);
}

pub(crate) fn unknown_member_may_not_commit(subject: &Subject) {
    let partition = subject.topic("t", 1)[0];
    let mut writer = subject.writer("id");
    let stranger = MemberToken {
        group: subject.name("group"),
        member_id: "nobody-0".to_owned(),
        generation: 1,
        instance_id: None,
    };
    writer.begin();
    writer.write(partition, &["a"]);
    let committed = writer.client.commit_offsets(&[at(partition, 1)], &stranger);
    writer.fenced(committed);
    writer.end(End::Abort);
    assert_eq!(subject.committed(partition), None);
}

pub(crate) fn outsider_may_not_commit_into_a_live_group(subject: &Subject) {
    let partition = subject.topic("t", 1)[0];
    let mut member = subject.member(&["t"]);
    member.owns(1);
    let mut client = subject.plain();
    let token = outsider(&subject.name("group"));
    let committed = client.client.commit_offsets(&[at(partition, 1)], &token);
    client.fenced(committed);
    assert_eq!(subject.committed(partition), None);
}

pub(crate) fn member_may_commit(subject: &Subject) {
    let partition = subject.topic("t", 1)[0];
    let mut member = subject.member(&["t"]);
    member.owns(1);
    let transactional_id = Some(subject.name("id"));
    let mut writer = subject.client(ClientConfig { transactional_id, ..subject.config() });
    let ready = writer.client.init_producer();
    writer.done(ready);
    writer.begin();
    writer.write(partition, &["a"]);
    let committed = writer.client.commit_offsets(&[at(partition, 1)], &member.membership.token());
    writer.done(committed);
    writer.end(End::Commit);
    assert_eq!(subject.committed(partition), Some(at(partition, 1)));
}
