//! Who owns which partition, and how does it change hands?

use std::collections::BTreeSet;

use super::harness::{Deadline, Member, Subject};

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
