//! What is known of the cluster: who leads which partition, and who coordinates?
//!
//! # Invariants
//!
//! - What is known is asked for anew when a broker says that it is wrong, when a connection is
//!   lost, and once in a while; never twice at a time, and not before a pause is over. A topic that
//!   has not been asked for waits for no pause, unless the last question was not answered.
//! - A topic is missing only after brokers have said so for a while: one that was just created is
//!   not known to each of them yet.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::errors::{Verdict, verdict};
use super::messages::metadata::{Address, Coordinated, Metadata, TopicMetadata};
use super::messages::{Code, Node};
use crate::log::TopicPartition;
use crate::time::Instant;

/// Between two questions.
const PAUSE: Duration = Duration::from_millis(100);

/// Who leads a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Leader {
    pub(super) node: Node,
    pub(super) epoch: i32,
}

/// Whether a partition can be read and written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Led {
    By(Leader),
    /// Nobody leads it, or nobody has been asked yet.
    NotYet,
    /// There is no such partition.
    Missing,
    /// The cluster does not say, and will not.
    Refused(Code),
}

#[derive(Debug, Default)]
struct Topic {
    /// By index; `None` for a partition without a leader.
    leaders: Vec<Option<Leader>>,
    /// Since when brokers have said that it, or a partition that is wanted of it, is not there.
    missing_since: Option<Instant>,
    is_asked: bool,
    refused: Option<Code>,
}

/// A cluster, as its brokers tell of it.
#[derive(Debug)]
pub(super) struct Cluster {
    brokers: BTreeMap<Node, Address>,
    topics: BTreeMap<Arc<str>, Topic>,
    coordinators: BTreeMap<Coordinated, Node>,
    is_stale: bool,
    is_asking: bool,
    /// Nothing is asked before, since a question was not answered.
    not_before: Instant,
    /// What has been asked for is not asked for again before.
    again_from: Instant,
    told_at: Option<Instant>,
    age_max: Duration,
    /// For how long brokers have to say that a topic is not there.
    patience: Duration,
}

impl Cluster {
    /// A cluster of which nothing is known; what is known is asked for anew after `age_max`, and a
    /// topic is missing after `patience`.
    pub(super) fn new(age_max: Duration, patience: Duration) -> Self {
        Self {
            brokers: BTreeMap::new(),
            topics: BTreeMap::new(),
            coordinators: BTreeMap::new(),
            is_stale: true,
            is_asking: false,
            not_before: Instant::from_origin(Duration::ZERO),
            again_from: Instant::from_origin(Duration::ZERO),
            told_at: None,
            age_max,
            patience,
        }
    }

    /// Where a broker can be reached.
    pub(super) fn address(&self, node: Node) -> Option<&Address> {
        self.brokers.get(&node)
    }

    /// The brokers that are known.
    pub(super) fn brokers(&self) -> impl Iterator<Item = (Node, &Address)> {
        self.brokers.iter().map(|(node, address)| (*node, address))
    }

    /// Who leads a partition. Asking makes it known in a while.
    pub(super) fn led(&mut self, partition: &TopicPartition, now: Instant) -> Led {
        if !self.topics.contains_key(&partition.topic) {
            self.topics.insert(Arc::clone(&partition.topic), Topic::default());
            self.is_stale = true;
            self.again_from = Instant::default();
        }
        let topic = self.topics.get_mut(&partition.topic).expect("it was entered above");
        if let Some(code) = topic.refused {
            return Led::Refused(code);
        }
        if let Some(known) = topic.leaders.get(partition.partition as usize) {
            self.is_stale |= known.is_none();
            return known.map_or(Led::NotYet, Led::By);
        }
        self.is_stale = true;
        if !topic.is_asked {
            return Led::NotYet;
        }
        let since = *topic.missing_since.get_or_insert(now);
        if now.since(since) >= self.patience { Led::Missing } else { Led::NotYet }
    }

    /// A topic that was known to be there is not, or the other way round.
    pub(super) fn forget(&mut self, partition: &TopicPartition) {
        if let Some(topic) = self.topics.get_mut(&partition.topic)
            && let Some(leader) = topic.leaders.get_mut(partition.partition as usize)
        {
            *leader = None;
        }
        self.is_stale = true;
    }

    /// Who coordinates; asked for anew once it is forgotten.
    pub(super) fn coordinator(&self, whom: &Coordinated) -> Option<Node> {
        self.coordinators.get(whom).copied()
    }

    pub(super) fn set_coordinator(&mut self, whom: Coordinated, (node, address): (Node, Address)) {
        self.brokers.insert(node, address);
        self.coordinators.insert(whom, node);
    }

    pub(super) fn forget_coordinator(&mut self, whom: &Coordinated) {
        self.coordinators.remove(whom);
    }

    /// A connection to a broker was lost: another may lead in its place, and coordinate if this one
    /// may be gone.
    pub(super) fn lost(&mut self, node: Node, may_be_gone: bool) {
        self.is_stale = true;
        if may_be_gone {
            self.coordinators.retain(|_, coordinator| *coordinator != node);
        }
    }

    /// Whether the cluster is to be asked about its topics now.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        let is_old = self.told_at.is_none_or(|told| now.since(told) >= self.age_max);
        !self.is_asking && (self.is_stale || is_old) && now >= self.next_from()
    }

    fn next_from(&self) -> Instant {
        self.not_before.max(self.again_from)
    }

    /// When to look again, if nothing else happens before.
    pub(super) fn deadline(&self) -> Option<Instant> {
        if self.is_asking {
            return None;
        }
        let is_waiting = self.is_stale.then_some(self.next_from());
        is_waiting.or(self.told_at.map(|told| told + self.age_max))
    }

    /// The question is asked: about these topics.
    pub(super) fn asking(&mut self) -> impl ExactSizeIterator<Item = &str> {
        self.is_asking = true;
        self.is_stale = false;
        self.topics.keys().map(|name| &**name)
    }

    /// The question was not answered.
    pub(super) fn not_told(&mut self, now: Instant) {
        self.is_asking = false;
        self.is_stale = true;
        self.not_before = now + PAUSE;
    }

    /// Takes an answer.
    pub(super) fn told(&mut self, metadata: Metadata, now: Instant) {
        self.is_asking = false;
        self.told_at = Some(now);
        self.again_from = now + PAUSE;
        if !metadata.brokers.is_empty() {
            self.brokers = metadata.brokers.into_iter().collect();
        }
        for told in metadata.topics {
            if let Some(topic) = self.topics.get_mut(&*told.name) {
                topic.take(told, now, self.patience);
            }
        }
        self.is_stale |= self.topics.values().any(|topic| !topic.is_asked);
    }
}

impl Topic {
    fn take(&mut self, told: TopicMetadata, now: Instant, patience: Duration) {
        self.is_asked = true;
        self.refused = (verdict(told.code) == Verdict::Fatal).then_some(told.code);
        let count = told.partitions.iter().map(|each| each.index as usize + 1).max().unwrap_or(0);
        // Indices come from outside: a list as long as the answer holds all that are real.
        let mut leaders = vec![None; count.min(told.partitions.len())];
        for each in told.partitions {
            let leader = Leader { node: each.leader, epoch: each.leader_epoch };
            if let Some(place) = leaders.get_mut(each.index as usize) {
                *place = (each.leader.0 >= 0).then_some(leader);
            }
        }
        // A broker that does not know a topic yet does not take back what another has said.
        if told.code == 0 {
            if leaders.len() != self.leaders.len() {
                self.missing_since = None;
            }
            self.leaders = leaders;
        } else {
            let since = *self.missing_since.get_or_insert(now);
            if now.since(since) >= patience {
                self.leaders.clear();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_origin(Duration::from_millis(millis))
    }

    /// Each application waited for a tenth of a second before its first results left, since it had
    /// asked for the topics that it reads just before.
    #[test]
    fn a_topic_that_comes_new_is_asked_for_at_once_and_again_after_a_pause() {
        let second = Duration::from_secs(1);
        let mut cluster = Cluster::new(60 * second, second);
        let nothing = || Metadata { brokers: Vec::new(), topics: Vec::new() };
        let topic = |name: &str| TopicPartition::new(name, 0);
        cluster.led(&topic("in"), at(0));
        assert!(cluster.is_due(at(0)));
        assert_eq!(cluster.asking().count(), 1);
        cluster.told(nothing(), at(1));
        cluster.led(&topic("in"), at(1));
        assert!(!cluster.is_due(at(1)), "a topic that is not there yet waits");
        cluster.led(&topic("out"), at(2));
        assert!(cluster.is_due(at(2)), "one that is new does not");
        assert_eq!(cluster.asking().count(), 2);
        cluster.not_told(at(3));
        cluster.led(&topic("third"), at(3));
        assert!(!cluster.is_due(at(3)), "whoever does not answer is left alone for a while");
        assert!(cluster.is_due(at(103)));
    }
}
