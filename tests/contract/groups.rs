//! Who owns which partition, and how does it change hands?

use millstream::log::{End, GroupProtocol, MembershipConfig};
use millstream::time::{Clock, Instant};
use std::collections::BTreeSet;

use super::harness::{Deadline, Member, Subject, at, settle};

pub(crate) fn single_member_gets_every_partition(subject: &Subject) {
    let mut all: BTreeSet<_> = subject.topic("one", 3).into_iter().collect();
    all.extend(subject.topic("two", 2));
    let mut member = subject.member(&["one", "two"]);
    member.owns(5);
    assert_eq!(member.owned, all);
    let token = member.membership.token();
    assert_eq!(token.group, subject.name("group"));
    assert!(!token.member_id.is_empty() && token.generation >= 0);
}

/// Two members; the first had all four partitions and has been asked for two of them.
fn asked_for_two(subject: &Subject) -> (Member, Member) {
    subject.topic("t", 4);
    let mut first = subject.member(&["t"]);
    first.owns(4);
    let mut second = subject.member(&["t"]);
    let deadline = Deadline::new();
    while first.revoking.len() < 2 {
        first.step();
        second.step();
        deadline.check("the first member is asked to give two up");
    }
    (first, second)
}

pub(crate) fn partitions_go_to_a_newcomer_through_their_owners_hands(subject: &Subject) {
    let (mut first, mut second) = asked_for_two(subject);
    for _ in 0..10 {
        first.step();
        second.step();
        assert!(second.owned.is_empty(), "what was not given up has its old owner");
    }
    let asked = first.revoking.clone();
    first.give_up();
    let deadline = Deadline::new();
    while second.owned.len() < 2 {
        first.step();
        second.step();
        deadline.check("the second member gets what was given up");
    }
    assert_eq!(second.owned, asked);
    assert_eq!(first.owned.len(), 2);
    assert!(first.owned.is_disjoint(&second.owned));
}

pub(crate) fn partitions_of_a_leaver_go_to_those_who_stay(subject: &Subject) {
    let (mut first, mut second) = asked_for_two(subject);
    let deadline = Deadline::new();
    while second.owned.len() < 2 {
        first.give_up();
        first.step();
        second.step();
        deadline.check("the second member gets its share");
    }
    first.membership.leave();
    second.owns(4);
}

pub(crate) fn shares_are_even_and_disjoint(subject: &Subject) {
    subject.topic("one", 5);
    subject.topic("two", 4);
    let mut group: Vec<Member> = (0..3).map(|_| subject.member(&["one", "two"])).collect();
    let mut group: Vec<&mut Member> = group.iter_mut().collect();
    settle(&mut group, "each has three", |group| group.iter().all(|m| m.owned.len() == 3));
    let all: BTreeSet<_> = group.iter().flat_map(|member| member.owned.clone()).collect();
    assert_eq!(all.len(), 9);
}

pub(crate) fn member_may_own_nothing(subject: &Subject) {
    subject.topic("t", 1);
    let (mut first, mut second) = (subject.member(&["t"]), subject.member(&["t"]));
    let mut group = [&mut first, &mut second];
    settle(&mut group, "one owns the partition", |group| {
        group.iter().map(|member| member.owned.len()).sum::<usize>() == 1
    });
    let owner = usize::from(group[0].owned.is_empty());
    group[owner].membership.leave();
    group[1 - owner].owns(1);
}

pub(crate) fn partitions_may_be_given_up_one_by_one(subject: &Subject) {
    let (mut first, mut second) = asked_for_two(subject);
    for _ in 0..2 {
        let one = *first.revoking.iter().next().unwrap();
        first.revoking.remove(&one);
        first.owned.remove(&one);
        first.membership.give_up(&[one]);
    }
    settle(&mut [&mut first, &mut second], "the second one has its share", |group| {
        group[1].owned.len() == 2
    });
    assert_eq!(first.owned.len(), 2);
}

pub(crate) fn frozen_member_loses_what_it_owned(subject: &Subject) {
    subject.topic("t", 2);
    let short = || subject.short_membership(&["t"]);
    let mut frozen = subject.member_as(short());
    frozen.owns(2);
    let token = frozen.membership.token();
    let mut second = subject.member_as(short());
    // The first one is not polled meanwhile. It may be asked to give up what is gone already.
    second.owns(2);
    settle(&mut [&mut frozen, &mut second], "it is told", |group| !group[0].lost.is_empty());
    assert_ne!(frozen.membership.token(), token);
    settle(&mut [&mut frozen, &mut second], "it is back in the group", |group| {
        group.iter().all(|member| member.owned.len() == 1)
    });
}

pub(crate) fn lease_is_renewed_by_heartbeats_and_ends_with_the_membership(subject: &Subject) {
    subject.topic("t", 2);
    let config = subject.short_membership(&["t"]);
    let session = config.session_timeout;
    let mut member = subject.member_as(config);
    member.owns(2);
    let deadline = Deadline::new();
    let mut renewed = Vec::new();
    while renewed.len() < 3 {
        member.step();
        let (lease, now) = (member.membership.lease(), member.clock.instant());
        assert!(lease <= now + session, "others may have it once a session is over");
        if lease > now && renewed.last().is_none_or(|last| *last < lease) {
            renewed.push(lease);
        }
        deadline.check("the lease is renewed three times");
    }
    member.membership.leave();
    member.poll();
    assert_eq!(member.membership.lease(), Instant::default());
}

pub(crate) fn frozen_member_has_no_lease_when_others_have_its_partitions(subject: &Subject) {
    subject.topic("t", 2);
    let short = || subject.short_membership(&["t"]);
    let mut frozen = subject.member_as(short());
    frozen.owns(2);
    let deadline = Deadline::new();
    while frozen.membership.lease() <= frozen.clock.instant() {
        frozen.step();
        deadline.check("it has a lease");
    }
    let mut second = subject.member_as(short());
    second.owns(2);
    assert!(frozen.membership.lease() <= frozen.clock.instant(), "its lease ended before");
}

pub(crate) fn static_member_comes_back_to_its_partitions(subject: &Subject) {
    subject.topic("t", 4);
    let named = |name: &str| MembershipConfig {
        instance_id: Some(subject.name(name)),
        ..subject.membership(&["t"])
    };
    let (mut first, mut second) =
        (subject.member_as(named("first")), subject.member_as(named("second")));
    settle(&mut [&mut first, &mut second], "each has its share", |group| {
        group.iter().all(|member| member.owned.len() == 2)
    });
    let (of_first, of_second) = (first.owned.clone(), second.owned.clone());
    first.membership.leave();
    drop(first);
    for _ in 0..10 {
        second.step();
    }
    assert_eq!(second.owned, of_second, "a static member is waited for");
    let mut again = subject.member_as(named("first"));
    settle(&mut [&mut again, &mut second], "it has its share again", |group| {
        group[0].owned.len() == 2
    });
    assert_eq!((again.owned, second.owned), (of_first, of_second));
}

pub(crate) fn newer_instance_takes_the_place_of_the_older(subject: &Subject) {
    subject.topic("t", 2);
    let named = || MembershipConfig {
        instance_id: Some(subject.name("instance")),
        ..subject.membership(&["t"])
    };
    let mut older = subject.member_as(named());
    older.owns(2);
    let token = older.membership.token();
    let mut newer = subject.member_as(named());
    newer.owns(2);
    let deadline = Deadline::new();
    while older.failed.is_none() {
        older.step();
        deadline.check("the older instance is told");
    }
    let partition = *newer.owned.iter().next().unwrap();
    let mut writer = subject.writer("id");
    writer.begin();
    let committed = writer.client.commit_offsets(&[at(partition, 1)], &token);
    writer.fenced(committed);
}

pub(crate) fn broker_side_assignment_moves_partitions_the_same_way(subject: &Subject) {
    let partitions = subject.topic("t", 4);
    let config =
        || MembershipConfig { protocol: GroupProtocol::Consumer, ..subject.membership(&["t"]) };
    let mut first = subject.member_as(config());
    first.owns(4);
    let mut second = subject.member_as(config());
    let deadline = Deadline::new();
    while first.revoking.len() < 2 {
        first.step();
        second.step();
        assert!(second.owned.is_empty(), "what was not given up has its old owner");
        deadline.check("the first member is asked to give two up");
    }
    settle(&mut [&mut first, &mut second], "each has its share", |group| {
        group.iter().all(|member| member.owned.len() == 2)
    });
    let token = second.membership.token();
    let mut writer = subject.writer("id");
    writer.begin();
    let committed = writer.client.commit_offsets(&[at(partitions[0], 1)], &token);
    writer.done(committed);
    writer.end(End::Commit);
    second.membership.leave();
    first.owns(4);
}
