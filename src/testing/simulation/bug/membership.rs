//! How does a group go wrong that has a bug?

use std::sync::Arc;
use std::time::Duration;

use super::{Bug, FOR_EVER, SeededBug};
use crate::log::{GroupEvent, MemberToken, Membership, PartitionId, Waker};
use crate::time::Instant;

pub(super) struct BuggyMembership {
    pub(super) inner: Box<dyn Membership>,
    pub(super) bug: Arc<Bug>,
}

impl BuggyMembership {
    /// What of an event is told.
    fn told(&mut self, event: GroupEvent) -> Option<GroupEvent> {
        match event {
            GroupEvent::Lost(_) if self.bug.is(SeededBug::LostUntold) => None,
            GroupEvent::Assigned(_) if self.bug.strikes(SeededBug::AssignedUntold, 4) => None,
            GroupEvent::Assigned(mut given) if self.bug.strikes(SeededBug::AssignedToTwo, 4) => {
                given.extend(given.last().map(|last| self.bug.neighbour(*last)));
                Some(GroupEvent::Assigned(given))
            }
            GroupEvent::Revoking(taken) if self.bug.is(SeededBug::GivenUpEarly) => {
                self.inner.give_up(&taken);
                Some(GroupEvent::Revoking(taken))
            }
            event => Some(event),
        }
    }
}

impl Membership for BuggyMembership {
    fn poll(&mut self, now: Instant, events: &mut Vec<GroupEvent>) {
        let mut new = Vec::new();
        self.inner.poll(now, &mut new);
        for event in new {
            let Some(event) = self.told(event) else { continue };
            let is_twice = matches!(event, GroupEvent::Assigned(_));
            if is_twice && self.bug.is(SeededBug::AssignedTwice) {
                events.push(event.clone());
            }
            events.push(event);
        }
    }

    fn give_up(&mut self, partitions: &[PartitionId]) {
        if !self.bug.strikes(SeededBug::GiveUpLost, 4) {
            self.inner.give_up(partitions);
        }
    }

    fn token(&self) -> MemberToken {
        self.inner.token()
    }

    fn lease(&self) -> Instant {
        if self.bug.is(SeededBug::LeaseForEver) {
            return Instant::default() + FOR_EVER;
        }
        self.inner.lease()
    }

    fn wait(&mut self, at_most: Duration) {
        self.inner.wait(at_most);
    }

    fn waker(&self) -> Waker {
        self.inner.waker()
    }

    fn leave(&mut self) {
        if !self.bug.is(SeededBug::LeaveUntold) {
            self.inner.leave();
        }
    }
}
