//! Which partitions does this process own? A consumer that is a member of the group and reads
//! nothing.
//!
//! Its partitions are paused from the moment they are taken; the workers read them by hand.
//! librdkafka's own threads send the heartbeats, so nothing that a worker or a restore does can
//! hold them up. A revocation is answered only when the last of its partitions has been given up:
//! until then the group waits, up to the rebalance timeout.
//!
//! # Invariants
//!
//! - Every rebalance that librdkafka announces is answered exactly once.
//! - A partition is given back to the group only after `give_up`, unless it is lost already.
//! - Members of another program in the group are waited out, since a Kafka Streams application
//!   that has been stopped stays a member until its session times out; those that stay longer end
//!   the membership.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::lease::Lease;
use super::members::{Members, Standing};
use super::properties::Properties;
use super::signal::Signal;
use super::sys::{
    CLOSE_POLL, Code, Event, EventKind, Fault, Handle, Kind, PartitionList, Queue, code,
};
use super::unheard::Unheard;
use crate::log::{
    GroupEvent, GroupProtocol, LogError, MemberToken, Membership, MembershipConfig, PartitionId,
    Partitions, Waker,
};
use crate::time::Instant;

/// How often a leaving member is looked after before it is left to its session timeout.
const CLOSE_POLLS_MAX: usize = 250;
/// How many session timeouts long members of another program are waited out.
const STRANGER_SESSIONS: u32 = 2;

/// How long a static member waits for the session of its earlier life to end, which the broker
/// alone knows, and how often it asks.
const RELEASE_PATIENCE: Duration = Duration::from_secs(120);
const RELEASE_POLL: Duration = Duration::from_millis(500);

/// The member of a group.
pub(super) struct Member {
    config: MembershipConfig,
    properties: Properties,
    members: Members,
    queue: Queue,
    handle: Arc<Handle>,
    signal: Arc<Signal>,
    partitions: Partitions,
    standing: Arc<Standing>,
    lease: Lease,
    /// A revocation that waits for its partitions to be given up.
    revoking: Option<(PartitionList, BTreeSet<PartitionId>)>,
    strangers: Strangers,
    unheard: Unheard,
    /// While the broker holds our instance id for an earlier life: since when, and when to ask
    /// again.
    unreleased: Option<(Instant, Instant)>,
}

/// Members that assign partitions by a protocol of their own, so that the group cannot be joined.
struct Strangers {
    met: Option<Instant>,
    patience: Duration,
}

impl Strangers {
    /// Whether they have been there for too long.
    fn are_met(&mut self, now: Instant) -> bool {
        if self.met.is_none() {
            tracing::warn!(
                patience = ?self.patience,
                "the group has members of another program; waiting until they have left"
            );
        }
        now.since(*self.met.get_or_insert(now)) >= self.patience
    }
}

/// An instance that has asked to be a member.
type Joining = (Arc<Handle>, Queue, Arc<Standing>);

fn begin_to_join(
    config: &MembershipConfig,
    properties: &Properties,
    members: &Members,
    signal: &Arc<Signal>,
) -> Result<Joining, LogError> {
    let owned = owned_properties(config);
    let owned: Vec<_> = owned.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let handle = Handle::new(Kind::Member, &properties.plain(&owned))?;
    let queue = Queue::consumer(&handle)
        .ok_or_else(|| LogError::Fatal("the client has no group".into()))?
        .raise(signal);
    subscribe(&handle, config).map_err(|fault| LogError::Fatal(fault.text))?;
    let standing = members.enter(&handle);
    Ok((handle, queue, standing))
}

fn subscribe(handle: &Handle, config: &MembershipConfig) -> Result<(), Fault> {
    let mut topics = PartitionList::new();
    config.topics.iter().for_each(|topic| topics.add_topic(topic));
    handle.subscribe(&topics)
}

fn unheard(config: &MembershipConfig) -> Unheard {
    match config.protocol {
        // Here a member finds a new topic by itself, and then tells the group.
        GroupProtocol::CooperativeSticky => Unheard::nothing(),
        GroupProtocol::Consumer => Unheard::new(&config.topics),
    }
}

impl Member {
    /// Joins the group.
    pub(super) fn join(
        config: &MembershipConfig,
        properties: &Properties,
        partitions: &Partitions,
        members: &Members,
    ) -> Result<Self, LogError> {
        let signal = Arc::new(Signal::default());
        let (handle, queue, standing) = begin_to_join(config, properties, members, &signal)?;
        let patience = config.session_timeout * STRANGER_SESSIONS;
        Ok(Self {
            config: config.clone(),
            properties: properties.clone(),
            members: members.clone(),
            queue,
            handle,
            signal,
            partitions: partitions.clone(),
            standing,
            lease: Lease::new(config.session_timeout),
            revoking: None,
            unreleased: None,
            strangers: Strangers { met: None, patience },
            unheard: unheard(config),
        })
    }

    /// Asks again to be a member, with another instance: the one before is of no use any more.
    fn rejoin_if_due(&mut self, now: Instant, events: &mut Vec<GroupEvent>) {
        let Some((since, _)) = self.unreleased.filter(|(_, due)| now >= *due) else { return };
        match begin_to_join(&self.config, &self.properties, &self.members, &self.signal) {
            Ok((handle, queue, standing)) => {
                (self.queue, self.handle, self.standing) = (queue, handle, standing);
                self.lease = Lease::new(self.config.session_timeout);
                self.unheard = unheard(&self.config);
                self.unreleased = Some((since, now + RELEASE_PATIENCE));
            }
            Err(error) => events.push(GroupEvent::Failed(error.to_string())),
        }
    }

    /// Sends a heartbeat early, where the group is to be asked for what it had not heard of: to
    /// subscribe once more, to the same topics, does so.
    fn ask_for_unheard(&mut self, now: Instant) {
        if !self.unheard.is_over()
            && self.token().generation > 0
            && self.unheard.is_due(now)
            && let Err(fault) = subscribe(&self.handle, &self.config)
        {
            tracing::debug!(code = fault.code, text = fault.text, "group not asked early");
        }
    }

    /// Whether the broker holds our instance id for an earlier life, and it is to be waited for.
    fn waits_for_release(&mut self, now: Instant, fault: &Fault) -> bool {
        let fatal = self.handle.fatal().map_or(0, |fatal| fatal.code);
        let (since, _) = self.unreleased.unwrap_or((now, now));
        let is_held =
            [fault.code, fatal].contains(&code!(RD_KAFKA_RESP_ERR_UNRELEASED_INSTANCE_ID));
        if !is_held || now.since(since) >= RELEASE_PATIENCE {
            return false;
        }
        tracing::info!("the instance id is still in use; asking again until its session has ended");
        self.unreleased = Some((since, now + RELEASE_POLL));
        true
    }

    fn take_event(&mut self, event: &Event, now: Instant, events: &mut Vec<GroupEvent>) {
        match event.kind() {
            EventKind::Rebalance => {
                self.unreleased = None;
                self.rebalance(event, events);
            }
            EventKind::Error => self.take_error(event.fault(), now, events),
            EventKind::Deliveries | EventKind::Other(_) => {}
        }
    }

    fn take_error(&mut self, fault: Fault, now: Instant, events: &mut Vec<GroupEvent>) {
        if self.waits_for_release(now, &fault) {
            return;
        }
        let ends_membership = if fault.code == code!(RD_KAFKA_RESP_ERR_INCONSISTENT_GROUP_PROTOCOL)
        {
            self.strangers.are_met(now)
        } else {
            is_final(fault.code)
        };
        if ends_membership || self.handle.fatal().is_some() {
            events.push(GroupEvent::Failed(self.reason(&fault)));
        } else {
            tracing::debug!(code = fault.code, text = fault.text, "group member");
        }
    }

    /// Why the membership has ended, with the right that it lacks if that is why.
    fn reason(&self, Fault { code, text, .. }: &Fault) -> String {
        if *code != code!(RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED) {
            return text.clone();
        }
        let group = &self.config.group;
        format!("{text}; grant `--operation Read --group {group}` to this principal")
    }

    fn rebalance(&mut self, event: &Event, events: &mut Vec<GroupEvent>) {
        let list = event.partitions();
        let ids: Vec<PartitionId> =
            list.entries().iter().map(|entry| self.partitions.id(&entry.partition)).collect();
        let fault = event.fault();
        if fault.code == code!(RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
            self.strangers.met = None;
            list.entries().iter().for_each(|entry| self.unheard.assigned(&entry.partition));
            self.answered(self.handle.take(&list), events);
            events.push(GroupEvent::Assigned(ids));
        } else if self.handle.has_lost_assignment() {
            self.revoking = None;
            self.standing.lost();
            self.lease.end();
            self.answered(self.handle.give_back(&list), events);
            events.push(GroupEvent::Lost(ids));
        } else if ids.is_empty() {
            self.answered(self.handle.give_back(&list), events);
        } else {
            self.revoking = Some((list, ids.iter().copied().collect()));
            events.push(GroupEvent::Revoking(ids));
        }
    }

    fn answered(&self, answer: Result<(), Fault>, events: &mut Vec<GroupEvent>) {
        if let Err(fault) = answer {
            tracing::warn!(code = fault.code, text = fault.text, "rebalance not answered");
            if self.handle.fatal().is_some() {
                events.push(GroupEvent::Failed(fault.text));
            }
        }
    }

    /// Answers what comes while the group is being left.
    fn take_last(&self, event: &Event) {
        if event.kind() == EventKind::Rebalance {
            self.answered(self.handle.give_back(&event.partitions()), &mut Vec::new());
        }
    }
}

/// Whether membership will not come back by itself after this error.
fn is_final(code: Code) -> bool {
    [
        code!(RD_KAFKA_RESP_ERR__FATAL),
        code!(RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED),
        code!(RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED),
        code!(RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID),
        code!(RD_KAFKA_RESP_ERR_INVALID_SESSION_TIMEOUT),
    ]
    .contains(&code)
}

fn owned_properties(config: &MembershipConfig) -> Vec<(&'static str, String)> {
    let millis = |duration: Duration| duration.as_millis().to_string();
    let mut owned = vec![
        ("group.id", config.group.clone()),
        ("enable.auto.commit", "false".to_owned()),
        ("enable.auto.offset.store", "false".to_owned()),
        ("auto.offset.reset", "latest".to_owned()),
        ("allow.auto.create.topics", "false".to_owned()),
        ("max.poll.interval.ms", millis(config.rebalance_timeout.max(config.session_timeout))),
    ];
    match config.protocol {
        GroupProtocol::CooperativeSticky => {
            owned.push(("partition.assignment.strategy", "cooperative-sticky".to_owned()));
            owned.push(("session.timeout.ms", millis(config.session_timeout)));
            owned.push(("heartbeat.interval.ms", millis(config.heartbeat_interval)));
        }
        // Here the broker says how long a session lasts.
        GroupProtocol::Consumer => owned.push(("group.protocol", "consumer".to_owned())),
    }
    if let Some(instance) = &config.instance_id {
        owned.push(("group.instance.id", instance.clone()));
    }
    owned
}

impl Membership for Member {
    fn poll(&mut self, now: Instant, events: &mut Vec<GroupEvent>) {
        self.rejoin_if_due(now, events);
        // Before the events: a loss that came first is seen below, and ends the lease.
        self.lease.look(now, self.handle.heartbeats());
        while let Some(event) = self.queue.poll(Duration::ZERO) {
            self.take_event(&event, now, events);
        }
        self.ask_for_unheard(now);
    }

    fn give_up(&mut self, partitions: &[PartitionId]) {
        let Some((_, waiting)) = &mut self.revoking else { return };
        waiting.retain(|partition| !partitions.contains(partition));
        if let Some((list, _)) = self.revoking.take_if(|(_, waiting)| waiting.is_empty()) {
            self.answered(self.handle.give_back(&list), &mut Vec::new());
        }
    }

    fn token(&self) -> MemberToken {
        self.standing.token(&self.handle).unwrap_or_default()
    }

    fn lease(&self) -> Instant {
        self.lease.until()
    }

    fn wait(&mut self, at_most: Duration) {
        self.signal.wait(at_most);
    }

    fn waker(&self) -> Waker {
        let signal = Arc::clone(&self.signal);
        Waker::new(move || signal.raise())
    }

    fn leave(&mut self) {
        self.lease.end();
        if let Some((list, _)) = self.revoking.take() {
            self.answered(self.handle.give_back(&list), &mut Vec::new());
        }
        if self.handle.begin_close(&self.queue).is_err() {
            return;
        }
        for _ in 0..CLOSE_POLLS_MAX {
            if let Some(event) = self.queue.poll(CLOSE_POLL) {
                self.take_last(&event);
            }
            if self.handle.is_closed() {
                return;
            }
        }
        tracing::warn!("the group was not left in time; its session timeout ends the membership");
    }
}

impl Drop for Member {
    /// Leaves the group, since librdkafka never ends an instance that owes a rebalance its answer.
    fn drop(&mut self) {
        if !self.handle.is_closed() {
            self.leave();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_of_another_program_are_waited_out_but_not_for_ever() {
        let at = |seconds| Instant::from_origin(Duration::from_secs(seconds));
        let mut strangers = Strangers { met: None, patience: Duration::from_secs(90) };
        assert!(!strangers.are_met(at(50)));
        assert!(!strangers.are_met(at(139)));
        assert!(strangers.are_met(at(140)));
    }
}
