//! Who may not write any more?

use millstream::log::{ClientConfig, End, MemberToken, Outcome, PartitionId, WriteError};

use super::harness::{Subject, at, batch, outsider, settle};

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
    subject.fence("id");
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
    subject.fence("id");
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

pub(crate) fn fenced_writer_commits_no_offsets(subject: &Subject) {
    let partition = subject.topic("t", 1)[0];
    let mut frozen = subject.writer("id");
    frozen.begin();
    frozen.write(partition, &["a"]);
    subject.fence("id");
    let token = outsider(&subject.name("group"));
    let committed = frozen.client.commit_offsets(&[at(partition, 1)], &token);
    frozen.fenced(committed);
    assert_eq!(subject.committed(partition), None);
}

pub(crate) fn each_transactional_id_fences_itself_only(subject: &Subject) {
    let partition = subject.topic("t", 1)[0];
    let (mut one, mut two) = (subject.writer("one"), subject.writer("two"));
    one.begin();
    two.begin();
    one.write(partition, &["one"]);
    two.write(partition, &["two"]);
    subject.fence("one");
    two.end(End::Commit);
    let ended = one.client.end_transaction(End::Commit);
    one.fenced(ended);
    let mut reader = subject.plain();
    reader.read_from(partition, 0);
    assert_eq!(reader.values_to(partition, "two"), ["two"]);
}

/// Commits an offset within a transaction of its own and tells whether the token was accepted.
fn commits_as(subject: &Subject, partition: PartitionId, offset: i64, token: &MemberToken) -> bool {
    let mut writer = subject.writer("id");
    writer.begin();
    let committed = writer.client.commit_offsets(&[at(partition, offset)], token);
    let outcome = writer.outcome(committed);
    match outcome {
        Outcome::Done { .. } => writer.end(End::Commit),
        Outcome::Failed(WriteError::Fenced(_)) => writer.end(End::Abort),
        other => panic!("the commit must be done or fenced, but: {other:?}"),
    }
    matches!(outcome, Outcome::Done { .. })
}

pub(crate) fn token_from_before_a_loss_is_fenced(subject: &Subject) {
    let partition = subject.topic("t", 2)[0];
    let short = || subject.short_membership(&["t"]);
    let mut frozen = subject.member_as(short());
    frozen.owns(2);
    let earlier = frozen.membership.token();
    assert!(commits_as(subject, partition, 1, &earlier));
    let mut second = subject.member_as(short());
    second.owns(2);
    assert!(!commits_as(subject, partition, 2, &earlier));
    settle(&mut [&mut frozen, &mut second], "it is told", |group| !group[0].lost.is_empty());
    assert!(!commits_as(subject, partition, 2, &earlier));
    // The member itself goes on, under the token of the new generation.
    settle(&mut [&mut frozen, &mut second], "the member is at peace", |group| {
        let token = group[0].membership.token();
        commits_as(subject, partition, 3, &token)
    });
    assert_eq!(subject.committed(partition), Some(at(partition, 3)));
}

pub(crate) fn token_of_a_member_that_left_is_fenced(subject: &Subject) {
    let partition = subject.topic("t", 1)[0];
    let mut first = subject.member(&["t"]);
    first.owns(1);
    let token = first.membership.token();
    first.membership.leave();
    assert!(!commits_as(subject, partition, 1, &token));
    assert_eq!(subject.committed(partition), None);
}

pub(crate) fn member_commits_outside_of_transactions(subject: &Subject) {
    let partition = subject.topic("t", 1)[0];
    let mut member = subject.member(&["t"]);
    member.owns(1);
    let token = member.membership.token();
    let mut client = subject.plain();
    let committed = client.client.commit_offsets(&[at(partition, 1)], &token);
    client.done(committed);
    assert_eq!(subject.committed(partition), Some(at(partition, 1)));
    member.membership.leave();
    let committed = client.client.commit_offsets(&[at(partition, 2)], &token);
    client.fenced(committed);
    assert_eq!(subject.committed(partition), Some(at(partition, 1)));
}
