//! What does a member see of its group?

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::group::{Standing, member_id};
use super::{Alarm, Shared};
use crate::log::{GroupEvent, MemberToken, Membership, MembershipConfig, PartitionId, Waker};
use crate::time::Instant;

/// A membership of the in-process log.
pub(super) struct MemoryMembership {
    shared: Arc<Shared>,
    alarm: Arc<Alarm>,
    config: MembershipConfig,
    standing: Seat,
    /// When the group last heard of the member, on the clock of whoever polls.
    heard: Option<Instant>,
    /// What the member was told to be its own and has not given up.
    owned: BTreeSet<PartitionId>,
}

/// Where the member sits.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seat {
    Member(u64),
    /// It has left, or another of its static name has taken its place; that has been said.
    Over,
}

impl MemoryMembership {
    pub(super) fn join(shared: Arc<Shared>, config: MembershipConfig) -> Self {
        let number = shared.change(|state| state.join(&config));
        let (alarm, owned) = (Arc::new(Alarm::default()), BTreeSet::new());
        Self { shared, alarm, config, standing: Seat::Member(number), heard: None, owned }
    }

    /// Notes what the events say about what is owned.
    fn note(&mut self, events: &[GroupEvent]) {
        for event in events {
            if let GroupEvent::Assigned(partitions) = event {
                self.owned.extend(partitions.iter().copied());
            }
        }
    }

    /// Says what is lost and, unless someone else has the static name now, joins again.
    fn return_to_group(&mut self, now: Instant, events: &mut Vec<GroupEvent>) {
        let lost: Vec<PartitionId> = std::mem::take(&mut self.owned).into_iter().collect();
        if !lost.is_empty() {
            events.push(GroupEvent::Lost(lost));
        }
        let config = self.config.clone();
        let joined = self.shared.change(|state| {
            if state.is_instance_taken(&config) {
                return None;
            }
            let number = state.join(&config);
            Some((number, state.hear(&config.group, number)))
        });
        match joined {
            Some((number, Standing::Member(assigned))) => {
                (self.standing, self.heard) = (Seat::Member(number), Some(now));
                self.note(&assigned);
                events.extend(assigned);
            }
            Some((number, Standing::Expelled)) => self.standing = Seat::Member(number),
            None => {
                self.standing = Seat::Over;
                let text = "another process has joined under the same instance id";
                events.push(GroupEvent::Failed(text.to_owned()));
            }
        }
    }
}

impl Membership for MemoryMembership {
    fn poll(&mut self, now: Instant, events: &mut Vec<GroupEvent>) {
        let Seat::Member(number) = self.standing else { return };
        match self.shared.change(|state| state.hear(&self.config.group, number)) {
            Standing::Member(new) => {
                self.heard = Some(now);
                self.note(&new);
                events.extend(new);
            }
            Standing::Expelled => self.return_to_group(now, events),
        }
    }

    fn give_up(&mut self, partitions: &[PartitionId]) {
        for id in partitions {
            self.owned.remove(id);
        }
        if let Seat::Member(number) = self.standing {
            self.shared.change(|state| state.give_up(&self.config.group, number, partitions));
        }
    }

    fn token(&self) -> MemberToken {
        let Seat::Member(number) = self.standing else { return MemberToken::default() };
        let group = self.config.group.clone();
        let generation =
            self.shared.read(|state| state.groups.get(&group).map_or(-1, |known| known.generation));
        let instance_id = self.config.instance_id.clone();
        MemberToken { group, member_id: member_id(number), generation, instance_id }
    }

    fn lease(&self) -> Instant {
        let heard = self.heard.filter(|_| self.standing != Seat::Over);
        heard.map_or(Instant::default(), |heard| heard + self.config.session_timeout)
    }

    fn wait(&mut self, at_most: Duration) {
        let Seat::Member(number) = self.standing else {
            self.shared.wait(&self.alarm, at_most, |_| false);
            return;
        };
        let group = &self.config.group;
        self.shared.change(|state| state.set_waiting(group, number, true));
        self.shared.wait(&self.alarm, at_most, |state| state.has_group_news(group, number));
        self.shared.change(|state| state.set_waiting(group, number, false));
    }

    fn waker(&self) -> Waker {
        self.shared.waker(&self.alarm)
    }

    fn leave(&mut self) {
        if let Seat::Member(number) = self.standing {
            self.shared.change(|state| state.leave(&self.config.group, number));
        }
        self.owned.clear();
        self.standing = Seat::Over;
    }
}
