//! Which topics has the group not heard of yet, and when is it asked again?
//!
//! A coordinator hears of a new topic a moment after the brokers' clients do. Where it assigns
//! partitions itself, a member that joins in between gets none of that topic, and would be told of
//! them with its next heartbeat only: seconds later, as the broker has set it. So a member that is
//! new sends a few heartbeats early, until it has been given something of each topic. Where other
//! members own it all, that never comes; so after a few there is no more asking.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::log::TopicPartition;
use crate::time::Instant;

/// Before each early heartbeat. The first finds a coordinator that was a moment behind; since 4.3
/// one assigns at most once a second, unless it was set otherwise. Then heartbeats come by
/// themselves: every five seconds, unless the broker says else.
const PAUSES_MS: [u64; 4] = [100, 1_050, 1_050, 1_050];

/// The topics of which a member has been given nothing yet.
pub(super) struct Unheard {
    topics: BTreeSet<String>,
    pauses: std::array::IntoIter<u64, 4>,
    /// Not set before the member has joined.
    due: Option<Instant>,
}

impl Unheard {
    /// Of a member that subscribes to these topics.
    pub(super) fn new(topics: &[String]) -> Self {
        Self { topics: topics.iter().cloned().collect(), pauses: PAUSES_MS.into_iter(), due: None }
    }

    /// Of a member that is not told by heartbeats.
    pub(super) fn nothing() -> Self {
        Self::new(&[])
    }

    pub(super) fn assigned(&mut self, partition: &TopicPartition) {
        self.topics.remove(&*partition.topic);
    }

    /// Whether there is nothing to ask for any more, or it is of no use.
    pub(super) fn is_over(&self) -> bool {
        self.topics.is_empty() || (self.due.is_none() && self.pauses.len() == 0)
    }

    /// Whether the group is to be asked now by a member that has joined.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        if self.is_over() {
            return false;
        }
        let is_due = self.due.is_some_and(|due| now >= due);
        if is_due || self.due.is_none() {
            let pause = self.pauses.next().map(Duration::from_millis);
            self.due = pause.map(|pause| now + pause);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(unheard: &mut Unheard, millis: std::ops::Range<u64>) -> Vec<u64> {
        let at = |millis: &u64| Instant::from_origin(Duration::from_millis(*millis));
        millis.filter(|millis| unheard.is_due(at(millis))).collect()
    }

    fn subscribed() -> Unheard {
        Unheard::new(&["in".to_owned(), "repartition".to_owned()])
    }

    #[test]
    fn a_topic_that_stays_unheard_of_is_asked_for_a_few_times() {
        let times = asked(&mut subscribed(), 0..60_000);
        assert_eq!(times, [100, 1_150, 2_200, 3_250]);
    }

    #[test]
    fn asking_ends_when_something_of_each_topic_is_here() {
        let mut unheard = subscribed();
        unheard.assigned(&TopicPartition::new("in", 3));
        assert_eq!(asked(&mut unheard, 0..1_200), [100, 1_150]);
        unheard.assigned(&TopicPartition::new("repartition", 0));
        assert!(asked(&mut unheard, 1_200..60_000).is_empty());
    }
}
