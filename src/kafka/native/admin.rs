//! How does the control plane ask on the wire?
//!
//! Where librdkafka stays with a broker that has died until its own timeout ends, this asks
//! whoever leads or coordinates now; what is asked once, at the start, is left to it.
//!
//! # Invariants
//!
//! - A call ends in time, whatever brokers do.
//! - Callers do not wait for each other: each has a client for as long as it asks.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::core::Core;
use super::messages::offsets::NamedOffset;
use super::network::Network;
use super::plane::Plane;
use super::questions::{OfCoordinator, OfLeader, Question, Reply};
use crate::kafka::admin::KafkaAdmin;
use crate::kafka::places::{END, NONE, asked_for};
use crate::log::{
    Admin, CommittedOffset, LogError, NewTopic, OffsetSpec, PartitionId, Partitions, TopicInfo,
    TopicPartition, TopicRights,
};
use crate::time::{Clock, SystemClock};

/// How long a question may be asked again and again. Longer than a cluster takes to notice that a
/// broker has died, which is nine seconds unless it was set otherwise.
const PATIENCE: Duration = Duration::from_secs(15);
/// The same where nobody waits for what is done, and everybody for who does it.
const DELETE_PATIENCE: Duration = Duration::from_secs(3);
/// The same where the cluster first has to end what the fenced one has left open.
const FENCE_PATIENCE: Duration = Duration::from_secs(30);

/// Clients that are kept while nobody asks.
const IDLE_MAX: usize = 4;

/// Administers a cluster on the wire.
pub(in crate::kafka) struct NativeAdmin {
    plane: Plane,
    group: String,
    partitions: Partitions,
    /// For what is not asked here.
    rest: Arc<KafkaAdmin>,
    clock: SystemClock,
    idle: Mutex<Vec<Asker>>,
}

/// A client that only asks.
struct Asker {
    core: Core,
    network: Network,
}

impl NativeAdmin {
    /// Asks in the name of this group's application.
    pub(in crate::kafka) fn new(
        plane: &Plane,
        group: &str,
        partitions: &Partitions,
        rest: &Arc<KafkaAdmin>,
    ) -> Self {
        Self {
            plane: plane.clone(),
            group: group.to_owned(),
            partitions: partitions.clone(),
            rest: Arc::clone(rest),
            clock: SystemClock::default(),
            idle: Mutex::default(),
        }
    }

    /// Asks all of these at once; the replies are in their order.
    fn ask(
        &self,
        questions: Vec<Question>,
        patience: Duration,
    ) -> Result<Vec<Result<Reply, LogError>>, LogError> {
        if questions.is_empty() {
            return Ok(Vec::new());
        }
        let idle = self.idle.lock().expect("no panic while held").pop();
        let mut asker = match idle {
            Some(asker) => asker,
            None => self.plane.asker(&self.group).map(|(core, network)| Asker { core, network })?,
        };
        let replies = asker.ask(questions, patience, &self.clock);
        let is_sound = replies.iter().all(|r| !matches!(r, Err(LogError::Unavailable(_))));
        let mut idle = self.idle.lock().expect("no panic while held");
        // One that got no answer may hold on to something that is not there any more.
        if is_sound && idle.len() < IDLE_MAX {
            idle.push(asker);
        }
        Ok(replies)
    }

    /// Asks of leaders; the first error if there is one.
    fn ask_leaders(
        &self,
        ask: OfLeader,
        parts: impl Iterator<Item = (TopicPartition, i64)>,
        patience: Duration,
    ) -> Result<Vec<i64>, LogError> {
        let question = |(name, value)| Question::Leader { ask, name, value };
        let replies = self.ask(parts.map(question).collect(), patience)?;
        let offset = |reply: Result<Reply, LogError>| match reply? {
            Reply::Offset(offset) => Ok(offset),
            Reply::Done | Reply::Committed(_) => unreachable!("a leader answers by an offset"),
        };
        replies.into_iter().map(offset).collect()
    }

    fn group_offsets(
        &self,
        group: &str,
        partitions: &[PartitionId],
        only_stable: bool,
    ) -> Result<Vec<Option<CommittedOffset>>, LogError> {
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        let names = partitions.iter().map(|id| self.partitions.name(*id)).collect();
        let ask = OfCoordinator::Committed { names, only_stable };
        let question = Question::of_group(ask, group.into());
        let reply = self.ask(vec![question], PATIENCE)?.pop().expect("each has a reply")?;
        let Reply::Committed(committed) = reply else {
            unreachable!("this question is answered by offsets")
        };
        let offset = |(id, known): (&PartitionId, Option<(i64, String)>)| {
            let (offset, metadata) = known?;
            Some(CommittedOffset { partition: *id, offset, metadata })
        };
        Ok(partitions.iter().zip(committed).map(offset).collect())
    }
}

impl Asker {
    fn ask(
        &mut self,
        questions: Vec<Question>,
        patience: Duration,
        clock: &SystemClock,
    ) -> Vec<Result<Reply, LogError>> {
        let mut now = clock.instant();
        let numbers: Vec<u64> =
            questions.into_iter().map(|question| self.core.ask(question, now + patience)).collect();
        let mut replies = Vec::with_capacity(numbers.len());
        while replies.len() < numbers.len() {
            self.network.exchange(&mut self.core, now);
            while let Some(number) = numbers.get(replies.len())
                && let Some(reply) = self.core.take_reply(*number)
            {
                replies.push(reply);
            }
            if replies.len() < numbers.len() {
                let until = self.core.deadline(now).map_or(Duration::ZERO, |at| at.since(now));
                self.network.wait(until.max(Duration::from_millis(1)));
                now = clock.instant();
            }
        }
        replies
    }
}

impl Admin for NativeAdmin {
    fn cluster_id(&self) -> Result<String, LogError> {
        self.rest.cluster_id()
    }

    fn topics(&self, names: &[String]) -> Result<Vec<Option<TopicInfo>>, LogError> {
        self.rest.topics(names)
    }

    fn topic_configs(&self, names: &[String]) -> Result<Vec<Vec<(String, String)>>, LogError> {
        self.rest.topic_configs(names)
    }

    fn topic_rights(&self, names: &[String]) -> Result<Vec<Option<TopicRights>>, LogError> {
        self.rest.topic_rights(names)
    }

    fn topic_names(&self) -> Result<Vec<String>, LogError> {
        self.rest.topic_names()
    }

    fn groups(&self) -> Result<Vec<String>, LogError> {
        self.rest.groups()
    }

    fn create_topics(&self, topics: &[NewTopic]) -> Result<(), LogError> {
        self.rest.create_topics(topics)
    }

    fn committed(
        &self,
        group: &str,
        partitions: &[PartitionId],
    ) -> Result<Vec<Option<CommittedOffset>>, LogError> {
        self.group_offsets(group, partitions, true)
    }

    fn committed_so_far(
        &self,
        group: &str,
        partitions: &[PartitionId],
    ) -> Result<Vec<Option<CommittedOffset>>, LogError> {
        self.group_offsets(group, partitions, false)
    }

    fn commit(&self, group: &str, offsets: &[CommittedOffset]) -> Result<(), LogError> {
        if offsets.is_empty() {
            return Ok(());
        }
        let named = offsets.iter().map(|offset| NamedOffset::of(offset, &self.partitions));
        let ask = OfCoordinator::Commit(named.collect());
        let replies = self.ask(vec![Question::of_group(ask, group.into())], PATIENCE)?;
        replies.into_iter().try_for_each(|reply| reply.map(drop))
    }

    fn offsets(&self, wanted: &[(PartitionId, OffsetSpec)]) -> Result<Vec<i64>, LogError> {
        let part =
            |(id, spec): &(PartitionId, OffsetSpec)| (self.partitions.name(*id), asked_for(spec));
        let mut found = self.ask_leaders(OfLeader::OffsetAt, wanted.iter().map(part), PATIENCE)?;
        // The end where no record is young enough.
        let without: Vec<usize> = (0..found.len()).filter(|place| found[*place] == NONE).collect();
        let end = |place: &usize| (self.partitions.name(wanted[*place].0), END);
        let ends = self.ask_leaders(OfLeader::OffsetAt, without.iter().map(end), PATIENCE)?;
        without.into_iter().zip(ends).for_each(|(place, end)| found[place] = end);
        Ok(found)
    }

    fn delete_records(&self, before: &[(PartitionId, i64)]) -> Result<(), LogError> {
        let parts = before.iter().map(|(id, offset)| (self.partitions.name(*id), *offset));
        self.ask_leaders(OfLeader::DeleteBefore, parts, DELETE_PATIENCE).map(drop)
    }

    fn fence(&self, transactional_ids: &[String]) -> Vec<Result<(), LogError>> {
        let ids = transactional_ids.iter();
        let question =
            |id: &String| Question::of_transactions(OfCoordinator::Fence, id.as_str().into());
        match self.ask(ids.map(question).collect(), FENCE_PATIENCE) {
            Ok(replies) => replies.into_iter().map(|reply| reply.map(drop)).collect(),
            Err(error) => {
                let text = error.to_string();
                let same = |_: &String| Err(LogError::Unavailable(text.clone()));
                transactional_ids.iter().map(same).collect()
            }
        }
    }
}

impl fmt::Debug for NativeAdmin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NativeAdmin").finish_non_exhaustive()
    }
}
