//! What does a broker remember of what is read on a connection? (KIP-227)
//!
//! A broker that grants a session is told only what has changed, and answers only where something
//! is new. So a thousand partitions of which few get records cost little.
//!
//! # Invariants
//!
//! - What a broker is thought to remember is what it was told in requests that it has answered.
//!   After anything else both sides begin anew.

use std::collections::BTreeMap;

use crate::kafka::native::messages::fetch;
use crate::log::{PartitionId, TopicPartition};

/// Asks for a session.
const FIRST: i32 = 0;

/// A partition as the broker remembers it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Told {
    name: TopicPartition,
    offset: i64,
    leader_epoch: i32,
}

/// What is to be said in the next request.
#[derive(Clone, Debug)]
pub(in crate::kafka::native) struct Plan {
    pub(in crate::kafka::native) session: fetch::SessionId,
    /// New ones, and those that are read from elsewhere than the broker remembers.
    pub(in crate::kafka::native) parts: Vec<fetch::Part>,
    /// Not read any more.
    pub(in crate::kafka::native) forgotten: Vec<TopicPartition>,
}

/// The session of one connection.
#[derive(Clone, Debug, Default)]
pub(in crate::kafka::native) struct Session {
    id: i32,
    epoch: i32,
    told: BTreeMap<PartitionId, Told>,
}

impl Session {
    /// What is to be said so that the broker reads exactly these.
    pub(in crate::kafka::native) fn plan(
        &mut self,
        wanted: Vec<(fetch::Part, PartitionId)>,
    ) -> Plan {
        let session = fetch::SessionId { id: self.id, epoch: self.epoch };
        let mut told = BTreeMap::new();
        let mut parts = Vec::new();
        for (part, id) in wanted {
            let fetch::Part { partition, leader_epoch, offset } = &part;
            let now =
                Told { name: partition.clone(), offset: *offset, leader_epoch: *leader_epoch };
            if self.told.remove(&id).as_ref() != Some(&now) {
                parts.push(part);
            }
            told.insert(id, now);
        }
        let left = std::mem::replace(&mut self.told, told);
        let mut forgotten: Vec<_> = left.into_values().map(|told| told.name).collect();
        forgotten.sort();
        Plan { session, parts, forgotten }
    }

    /// The broker has answered: under this id, or under 0 if it remembers nothing.
    pub(in crate::kafka::native) fn answered(&mut self, id: i32) {
        if id == 0 {
            return self.reset();
        }
        self.id = id;
        // Behind the largest comes 1: 0 would ask for another session.
        self.epoch = self.epoch.checked_add(1).unwrap_or(1);
    }

    /// Nothing is known of what the broker remembers.
    pub(in crate::kafka::native) fn reset(&mut self) {
        *self = Self { id: 0, epoch: FIRST, told: BTreeMap::new() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Partitions;

    fn wanted(offsets: &[i64]) -> Vec<(fetch::Part, PartitionId)> {
        let partitions = Partitions::default();
        let part = |(index, offset): (usize, &i64)| {
            let partition = TopicPartition::new("t", index as u32);
            let id = partitions.id(&partition);
            (fetch::Part { partition, leader_epoch: 0, offset: *offset }, id)
        };
        let all = offsets.iter().enumerate().map(part);
        all.filter(|(part, _)| part.offset >= 0).collect()
    }

    fn said(plan: &Plan) -> (i32, i32, Vec<u32>, Vec<u32>) {
        let parts = plan.parts.iter().map(|part| part.partition.partition).collect();
        let forgotten = plan.forgotten.iter().map(|name| name.partition).collect();
        (plan.session.id, plan.session.epoch, parts, forgotten)
    }

    #[test]
    fn only_what_has_changed_is_said() {
        let mut session = Session::default();
        assert_eq!(said(&session.plan(wanted(&[5, 5, 5]))), (0, 0, vec![0, 1, 2], vec![]));
        session.answered(77);
        assert_eq!(said(&session.plan(wanted(&[5, 6, 5]))), (77, 1, vec![1], vec![]));
        session.answered(77);
        assert_eq!(said(&session.plan(wanted(&[5, -1, 5]))), (77, 2, vec![], vec![1]));
        session.answered(77);
        assert_eq!(said(&session.plan(wanted(&[5, 6, 5]))), (77, 3, vec![1], vec![]));
    }

    #[test]
    fn a_broker_without_room_is_told_everything_each_time() {
        let mut session = Session::default();
        for _ in 0..3 {
            assert_eq!(said(&session.plan(wanted(&[5, 5]))), (0, 0, vec![0, 1], vec![]));
            session.answered(0);
        }
    }

    #[test]
    fn after_an_error_both_begin_anew() {
        let mut session = Session::default();
        session.plan(wanted(&[5]));
        session.answered(7);
        session.reset();
        assert_eq!(said(&session.plan(wanted(&[5]))), (0, 0, vec![0], vec![]));
    }
}
