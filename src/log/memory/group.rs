//! Who owns which partition? A group with cooperative, sticky hand-over.
//!
//! A partition goes from one member to another only through the hands of its owner: `Revoking`,
//! then `give_up`, then `Assigned` to the new one. Only expulsion takes partitions away at once.
//!
//! # Invariants
//!
//! - A partition has at most one owner.
//! - Of each topic, no member is meant to have two partitions more than another.

use std::collections::{BTreeMap, BTreeSet};

use super::state::State;
use crate::log::{
    CommittedOffset, GroupEvent, MemberToken, MembershipConfig, PartitionId, WriteError,
};
use crate::time::Instant;

/// A group: offsets and members.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) offsets: BTreeMap<PartitionId, CommittedOffset>,
    /// Raised whenever members come or go.
    pub(super) generation: i32,
    /// By the number in which they joined.
    members: BTreeMap<u64, Member>,
    joined: u64,
}

/// A member of a group.
#[derive(Debug)]
struct Member {
    config: MembershipConfig,
    last_heard: Instant,
    /// Whether a thread sits in `wait`, which counts as being heard.
    is_waiting: bool,
    owned: BTreeSet<PartitionId>,
    /// Those of `owned` that it has been asked to give up.
    revoking: BTreeSet<PartitionId>,
    /// When the oldest such request was made.
    revoking_since: Instant,
    /// What it is meant to own.
    target: BTreeSet<PartitionId>,
    events: Vec<GroupEvent>,
}

impl Member {
    fn is_silent(&self, now: Instant) -> bool {
        let silent = !self.is_waiting && now.since(self.last_heard) > self.config.session_timeout;
        let stuck = !self.revoking.is_empty()
            && now.since(self.revoking_since) > self.config.rebalance_timeout;
        silent || stuck
    }
}

/// The partitions of one topic, to be shared out.
type TopicPartitions = (String, Vec<PartitionId>);

impl Group {
    pub(super) fn store(&mut self, offset: CommittedOffset) {
        self.offsets.insert(offset.partition, offset);
    }

    pub(super) fn check_member(&self, token: &MemberToken) -> Result<(), WriteError> {
        if token.member_id.is_empty() {
            if self.members.is_empty() {
                return Ok(());
            }
            return Err(WriteError::Fenced(
                "the group has members; this writer is none".to_owned(),
            ));
        }
        let known = self.members.keys().any(|number| member_id(*number) == token.member_id);
        if known && token.generation == self.generation {
            return Ok(());
        }
        let (id, generation) = (&token.member_id, token.generation);
        Err(WriteError::Fenced(format!("`{id}` of generation {generation} is no member any more")))
    }

    fn join(&mut self, config: MembershipConfig, now: Instant) -> u64 {
        self.joined += 1;
        let number = self.joined;
        let inherited = self.replace_instance(&config);
        let mut member = Member {
            config,
            last_heard: now,
            is_waiting: false,
            owned: BTreeSet::new(),
            revoking: BTreeSet::new(),
            revoking_since: now,
            target: BTreeSet::new(),
            events: Vec::new(),
        };
        if !inherited.is_empty() {
            member.events.push(GroupEvent::Assigned(inherited.iter().copied().collect()));
            member.owned = inherited;
        }
        self.members.insert(number, member);
        self.generation += 1;
        number
    }

    /// Takes what the earlier member of the same static name has, and ends that one.
    fn replace_instance(&mut self, config: &MembershipConfig) -> BTreeSet<PartitionId> {
        let Some(name) = &config.instance_id else { return BTreeSet::new() };
        let mut members = self.members.iter();
        let same = members.find(|(_, member)| member.config.instance_id.as_ref() == Some(name));
        let Some(number) = same.map(|(number, _)| *number) else { return BTreeSet::new() };
        let earlier = self.members.remove(&number).expect("it was found");
        earlier.owned.difference(&earlier.revoking).copied().collect()
    }

    fn remove(&mut self, number: u64) -> bool {
        let is_known = self.members.remove(&number).is_some();
        if is_known {
            self.generation += 1;
        }
        is_known
    }

    /// Decides anew who is meant to own what, and takes the first step towards it.
    fn balance(&mut self, topics: &[TopicPartitions], now: Instant) {
        for member in self.members.values_mut() {
            member.target.clear();
        }
        let mut extras: BTreeMap<u64, usize> = BTreeMap::new();
        for (topic, partitions) in topics {
            self.share_out(topic, partitions, &mut extras);
        }
        for member in self.members.values_mut() {
            let leaving: Vec<PartitionId> = member
                .owned
                .iter()
                .filter(|id| !member.target.contains(*id) && !member.revoking.contains(*id))
                .copied()
                .collect();
            if leaving.is_empty() {
                continue;
            }
            if member.revoking.is_empty() {
                member.revoking_since = now;
            }
            member.revoking.extend(leaving.iter().copied());
            member.events.push(GroupEvent::Revoking(leaving));
        }
        self.assign_free();
    }

    /// Shares one topic out: everyone keeps what they have up to their share, and the rest goes in
    /// runs to those who have less.
    fn share_out(
        &mut self,
        topic: &str,
        partitions: &[PartitionId],
        extras: &mut BTreeMap<u64, usize>,
    ) {
        let shares = self.shares(topic, partitions, extras);
        let mut free: BTreeSet<PartitionId> = partitions.iter().copied().collect();
        let mut wanting = Vec::new();
        for (number, share) in shares {
            let member = self.members.get_mut(&number).expect("shares are of members");
            let owned = partitions.iter().filter(|id| member.owned.contains(*id));
            let kept: Vec<PartitionId> = owned.take(share).copied().collect();
            wanting.push((number, share - kept.len()));
            for id in kept {
                free.remove(&id);
                member.target.insert(id);
            }
        }
        let mut free = free.into_iter();
        for (number, missing) in wanting {
            let member = self.members.get_mut(&number).expect("shares are of members");
            member.target.extend(free.by_ref().take(missing));
        }
    }

    /// How many partitions of a topic each member gets. Who gets one more than others is who got
    /// that least often with other topics, then who has one more already.
    fn shares(
        &self,
        topic: &str,
        partitions: &[PartitionId],
        extras: &mut BTreeMap<u64, usize>,
    ) -> Vec<(u64, usize)> {
        let mut shares: Vec<(u64, usize)> = self
            .members
            .iter()
            .filter(|(_, member)| member.config.topics.iter().any(|name| name == topic))
            .map(|(number, _)| (*number, 0))
            .collect();
        if shares.is_empty() {
            return shares;
        }
        let (least, left) = (partitions.len() / shares.len(), partitions.len() % shares.len());
        let owned = |number: &u64| {
            let member = &self.members[number];
            partitions.iter().filter(|id| member.owned.contains(*id)).count()
        };
        shares.sort_by_key(|(number, _)| {
            (extras.get(number).copied().unwrap_or(0), owned(number) <= least, *number)
        });
        for (rank, (number, share)) in shares.iter_mut().enumerate() {
            *share = least + usize::from(rank < left);
            *extras.entry(*number).or_default() += usize::from(rank < left);
        }
        shares.sort_unstable();
        shares
    }

    /// Hands out what is meant for someone and has no owner.
    fn assign_free(&mut self) {
        let owned: BTreeSet<PartitionId> =
            self.members.values().flat_map(|member| member.owned.iter().copied()).collect();
        for member in self.members.values_mut() {
            let free: Vec<PartitionId> = member.target.difference(&owned).copied().collect();
            if !free.is_empty() {
                member.owned.extend(free.iter().copied());
                member.events.push(GroupEvent::Assigned(free));
            }
        }
    }
}

/// What a member's `poll` finds.
pub(super) enum Standing {
    /// It is a member; these are its events.
    Member(Vec<GroupEvent>),
    /// It has been expelled.
    Expelled,
}

impl State {
    /// Joins a group and returns the member's number.
    pub(super) fn join(&mut self, config: &MembershipConfig) -> u64 {
        let now = self.clock.instant();
        let number = self.group_mut(&config.group).join(config.clone(), now);
        self.balance_group(&config.group);
        number
    }

    /// What has happened to a member; it counts as heard.
    pub(super) fn hear(&mut self, group: &str, number: u64) -> Standing {
        let now = self.clock.instant();
        match self.group_mut(group).members.get_mut(&number) {
            Some(member) => {
                member.last_heard = now;
                Standing::Member(std::mem::take(&mut member.events))
            }
            None => Standing::Expelled,
        }
    }

    /// Whether `hear` would have something to say.
    pub(super) fn has_group_news(&self, group: &str, number: u64) -> bool {
        let member = self.groups.get(group).and_then(|known| known.members.get(&number));
        member.is_none_or(|member| !member.events.is_empty())
    }

    /// A member begins or ends to wait.
    pub(super) fn set_waiting(&mut self, group: &str, number: u64, is_waiting: bool) {
        let now = self.clock.instant();
        if let Some(member) = self.group_mut(group).members.get_mut(&number) {
            member.is_waiting = is_waiting;
            member.last_heard = now;
        }
    }

    /// A member has closed these partitions.
    pub(super) fn give_up(&mut self, group: &str, number: u64, partitions: &[PartitionId]) {
        let known = self.group_mut(group);
        let Some(member) = known.members.get_mut(&number) else { return };
        for id in partitions {
            if member.revoking.remove(id) {
                member.owned.remove(id);
            }
        }
        known.assign_free();
    }

    /// A member goes by itself. A static one stays until its session ends.
    pub(super) fn leave(&mut self, group: &str, number: u64) {
        let known = self.group_mut(group);
        let member = known.members.get(&number);
        if member.is_some_and(|member| member.config.instance_id.is_some()) {
            return;
        }
        self.expel(group, number);
    }

    /// Takes a member out of its group; all it had is free.
    pub(super) fn expel(&mut self, group: &str, number: u64) {
        if self.group_mut(group).remove(number) {
            self.balance_group(group);
        }
    }

    /// Whether a member of the group has this static name.
    pub(super) fn is_instance_taken(&self, config: &MembershipConfig) -> bool {
        let Some(known) = self.groups.get(&config.group) else { return false };
        let mut names = known.members.values().map(|member| &member.config.instance_id);
        config.instance_id.is_some() && names.any(|name| *name == config.instance_id)
    }

    /// The number of the member with this id.
    pub(super) fn member_number(&self, group: &str, id: &str) -> Option<u64> {
        let known = self.groups.get(group)?;
        known.members.keys().copied().find(|number| member_id(*number) == id)
    }

    pub(super) fn expire_members(&mut self, now: Instant) {
        let mut silent = Vec::new();
        for (name, group) in &self.groups {
            let of_group = group.members.iter().filter(|(_, member)| member.is_silent(now));
            silent.extend(of_group.map(|(number, _)| (name.clone(), *number)));
        }
        for (group, number) in silent {
            self.expel(&group, number);
        }
    }

    /// Shares out a topic that was just created.
    pub(super) fn balance_groups_of(&mut self, topic: &str) {
        let reads = |member: &Member| member.config.topics.iter().any(|name| name == topic);
        let groups: Vec<String> = self
            .groups
            .iter()
            .filter(|(_, group)| group.members.values().any(reads))
            .map(|(name, _)| name.clone())
            .collect();
        for group in groups {
            self.group_mut(&group).generation += 1;
            self.balance_group(&group);
        }
    }

    fn balance_group(&mut self, group: &str) {
        let now = self.clock.instant();
        let topics: Vec<TopicPartitions> = self
            .topics
            .iter()
            .map(|(name, topic)| (name.clone(), topic.partitions.clone()))
            .collect();
        self.group_mut(group).balance(&topics, now);
    }
}

/// The id of the member that joined as this one.
pub(super) fn member_id(number: u64) -> String {
    format!("member-{number}")
}
