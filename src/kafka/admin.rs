//! What does the control plane ask of the cluster, and what does it order?
//!
//! Every call blocks until the cluster has answered, up to a timeout.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::errors::log_error;
use super::places::{EARLIEST, END, NONE, asked_for};
use super::properties::Properties;
use super::signal::Signal;
use super::sys::{
    Administer, DELETE, Entry, Fault, Handle, Kind, Operation, PartitionList, READ, WRITE, allowed,
    code,
};
use crate::log::{
    Admin, CommittedOffset, LogError, NewTopic, OffsetSpec, PartitionId, Partitions, TopicInfo,
    TopicPartition, TopicRights,
};

/// How long the cluster may take to answer a call.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How often it is looked at whether a cluster that does not answer refuses to.
const REACH_SLICE: Duration = Duration::from_millis(200);
/// How long the leaders of partitions may take to answer. A question to a broker that has died
/// stays with the library for that long, though another leads in its place by then.
const LEADERS_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a group's coordinator may take to answer. Where it has died, the library waits for it;
/// whoever asks has other things to do meanwhile.
const COORDINATOR_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the cluster is asked whether a new topic can be used.
const POLLS_OF_NEW_TOPIC: u32 = 300;
/// Time between two such questions.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// How long to wait for one answer before the next one is looked at.
const FENCE_SLICE: Duration = Duration::from_millis(10);

/// How long a first attempt to fence may take. While the cluster ends what the fenced one has left
/// open it answers "later", and the library then waits for half a second: a new client asks sooner.
const FENCE_PATIENCE: Duration = Duration::from_millis(100);

/// Administers a cluster.
#[derive(Debug)]
pub(super) struct KafkaAdmin {
    handle: Arc<Handle>,
    properties: Properties,
    partitions: Partitions,
    /// Set once the cluster has been heard of.
    is_reached: OnceLock<()>,
}

impl KafkaAdmin {
    /// Administers the cluster that these properties name, for the application of this group.
    pub(super) fn new(
        group: &str,
        properties: &Properties,
        partitions: &Partitions,
    ) -> Result<Self, LogError> {
        // A consumer with a group, though it never joins: after a question that met a broker which
        // is not the coordinator, librdkafka looks for its own group's, and crashes without one.
        let owned = [
            ("client.id", "millstream-admin"),
            ("group.id", group),
            ("enable.auto.commit", "false"),
            ("allow.auto.create.topics", "false"),
        ];
        let handle = Handle::new(Kind::Consumer, &properties.plain(&owned))?;
        let (properties, partitions) = (properties.clone(), partitions.clone());
        Ok(Self { handle, properties, partitions, is_reached: OnceLock::new() })
    }

    /// The instance, once the cluster has been heard of. Whoever is refused need not wait.
    fn reached(&self) -> Result<&Arc<Handle>, LogError> {
        let mut left = TIMEOUT;
        while self.is_reached.get().is_none() {
            self.handle.look_round();
            if self.handle.cluster_id(REACH_SLICE).is_some() {
                self.is_reached.get_or_init(|| ());
            } else if let Some(why) = self.handle.distrust() {
                let text = format!("{why}; see that `security` fits the brokers' listener");
                return Err(LogError::Unavailable(text));
            } else if left.is_zero() {
                return Err(LogError::Unavailable(format!("no broker in {TIMEOUT:?}")));
            }
            left = left.saturating_sub(REACH_SLICE);
        }
        Ok(&self.handle)
    }

    /// Asks any broker for anything, because a question to a coordinator out of reach would stay
    /// with the library for long; a connection without answers ends when this one is missing.
    fn hear_of(&self, name: &TopicPartition) -> Result<(), LogError> {
        self.ask_leaders(std::iter::once(name)).map_err(log_error)
    }

    /// Waits until every broker's clients can use the topic.
    fn wait_for(&self, topic: &NewTopic) -> Result<(), LogError> {
        let nobody = Signal::default();
        for _ in 0..POLLS_OF_NEW_TOPIC {
            match self.handle.partition_count(&topic.name, TIMEOUT) {
                Ok(Some(_)) => return Ok(()),
                Ok(None) => {}
                Err(fault) if is_passing(&fault) => {}
                Err(fault) => return Err(log_error(fault)),
            }
            nobody.wait(POLL_INTERVAL);
        }
        Err(LogError::Unavailable(format!("the new topic `{}` has no leaders", topic.name)))
    }

    /// Waits until whoever leads the topics knows that it does. A broker tells clients of a topic
    /// first, takes the lead of it after that, and lets its groups know last: who joins a group in
    /// between is given nothing of the topic, and does not hear of it for seconds.
    fn wait_until_led(&self, topics: &[NewTopic]) {
        let partitions = topics.iter().flat_map(|topic| {
            (0..topic.partitions)
                .map(|number| (TopicPartition::new(&*topic.name, number), EARLIEST))
        });
        if let Err(error) = self.list_patiently(&partitions.collect::<Vec<_>>()) {
            tracing::debug!(%error, "new topics are not led yet");
        }
    }

    /// The answers by partition; the first error if there is one.
    fn by_partition(entries: Vec<Entry>) -> Result<HashMap<TopicPartition, Entry>, Fault> {
        let mut by_partition = HashMap::new();
        for entry in entries {
            if entry.code != 0 {
                let mut fault = Fault::of(entry.code);
                fault.text = format!("{}: {}", entry.partition, fault.text);
                return Err(fault);
            }
            by_partition.insert(entry.partition.clone(), entry);
        }
        Ok(by_partition)
    }

    /// As `list`, tried again while a topic that has just been created, or has lost its leader, has
    /// none yet.
    fn list_patiently(&self, wanted: &[(TopicPartition, i64)]) -> Result<Vec<i64>, LogError> {
        const PATIENCE: u32 = 50;
        /// What an attempt costs that waits for a leader in vain.
        const LATE: u32 = 10;
        let pause = Signal::default();
        let mut left = PATIENCE;
        loop {
            let fault = match self.list(wanted) {
                Ok(answer) => return Ok(answer),
                Err(fault) => fault,
            };
            let is_late = fault.code == code!(RD_KAFKA_RESP_ERR__TIMED_OUT);
            left = left.saturating_sub(if is_late { LATE } else { 1 });
            let error = log_error(fault);
            if !matches!(error, LogError::Unavailable(_)) {
                return Err(error);
            }
            if left == 0 {
                self.check_existence(wanted.iter().map(|(name, _)| name))?;
                return Err(error);
            }
            pause.wait(Duration::from_millis(100));
        }
    }

    /// Asks who leads these partitions now: the library asks whom it last knew.
    fn ask_leaders<'a>(
        &self,
        names: impl Iterator<Item = &'a TopicPartition>,
    ) -> Result<(), Fault> {
        let topics: BTreeSet<&str> = names.map(|name| &*name.topic).collect();
        topics
            .into_iter()
            .try_for_each(|topic| self.handle.partition_count(topic, TIMEOUT).map(drop))
    }

    /// An error that names the first of these partitions which does not exist.
    fn check_existence<'a>(
        &self,
        names: impl Iterator<Item = &'a TopicPartition>,
    ) -> Result<(), LogError> {
        for name in names {
            let count = self.handle.partition_count(&name.topic, TIMEOUT).map_err(log_error)?;
            if count.is_none_or(|count| name.partition >= count) {
                return Err(LogError::Fatal(format!("partition {name} does not exist")));
            }
        }
        Ok(())
    }

    /// Asks for offsets, in the order of the questions.
    fn list(&self, wanted: &[(TopicPartition, i64)]) -> Result<Vec<i64>, Fault> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        self.ask_leaders(wanted.iter().map(|(name, _)| name))?;
        let mut list = PartitionList::new();
        wanted.iter().for_each(|(name, spec)| list.add_at(name, *spec, ""));
        let answers = Self::by_partition(self.handle.list_offsets(&list, LEADERS_TIMEOUT)?)?;
        let offset = |(name, _): &(TopicPartition, i64)| {
            let missing = || Fault {
                text: format!("no offset was told for {name}"),
                ..Fault::of(code!(RD_KAFKA_RESP_ERR__TIMED_OUT))
            };
            answers.get(name).map(|entry| entry.offset).ok_or_else(missing)
        };
        wanted.iter().map(offset).collect()
    }
}

impl Admin for KafkaAdmin {
    fn cluster_id(&self) -> Result<String, LogError> {
        let unknown = || LogError::Unavailable("the cluster's id is not known".into());
        self.reached()?.cluster_id(TIMEOUT).ok_or_else(unknown)
    }

    fn topics(&self, names: &[String]) -> Result<Vec<Option<TopicInfo>>, LogError> {
        let handle = self.reached()?;
        let info = |name: &String| {
            let count = handle.partition_count(name, TIMEOUT).map_err(log_error)?;
            Ok(count.map(|partitions| TopicInfo { name: name.clone(), partitions }))
        };
        names.iter().map(info).collect()
    }

    fn topic_configs(&self, names: &[String]) -> Result<Vec<Vec<(String, String)>>, LogError> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        self.reached()?.topic_settings(names, TIMEOUT).map_err(log_error)
    }

    fn topic_rights(&self, names: &[String]) -> Result<Vec<Option<TopicRights>>, LogError> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let operations = allowed(&self.handle, names, TIMEOUT).map_err(log_error)?;
        let rights = |allowed: Vec<Operation>| TopicRights {
            read: allowed.contains(&READ),
            write: allowed.contains(&WRITE),
            delete: allowed.contains(&DELETE),
        };
        Ok(operations.into_iter().map(|allowed| allowed.map(rights)).collect())
    }

    fn topic_names(&self) -> Result<Vec<String>, LogError> {
        self.reached()?.topic_names(TIMEOUT).map_err(log_error)
    }

    fn groups(&self) -> Result<Vec<String>, LogError> {
        self.reached()?.group_ids(TIMEOUT).map_err(log_error)
    }

    fn create_topics(&self, topics: &[NewTopic]) -> Result<(), LogError> {
        if topics.is_empty() {
            return Ok(());
        }
        for (_, result) in self.reached()?.create_topics(topics, TIMEOUT).map_err(log_error)? {
            match result {
                Err(fault) if fault.code != code!(RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS) => {
                    return Err(log_error(fault));
                }
                Ok(()) | Err(_) => {}
            }
        }
        topics.iter().try_for_each(|topic| self.wait_for(topic))?;
        self.wait_until_led(topics);
        Ok(())
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
        let mut list = PartitionList::new();
        for CommittedOffset { partition, offset, metadata } in offsets {
            list.add_at(&self.partitions.name(*partition), *offset, metadata);
        }
        let first = self.partitions.name(offsets[0].partition);
        self.hear_of(&first)?;
        let answers = self.handle.set_group_offsets(group, &list, COORDINATOR_TIMEOUT);
        answers.and_then(Self::by_partition).map(drop).map_err(log_error)
    }

    fn offsets(&self, wanted: &[(PartitionId, OffsetSpec)]) -> Result<Vec<i64>, LogError> {
        let question =
            |(id, spec): &(PartitionId, OffsetSpec)| (self.partitions.name(*id), asked_for(spec));
        let wanted: Vec<_> = wanted.iter().map(question).collect();
        let mut offsets = Vec::with_capacity(wanted.len());
        // One partition may be asked for twice, which one request cannot hold.
        for (question, rest) in distinct(&wanted) {
            offsets.push((rest, self.list_patiently(&question)?));
        }
        let mut found = vec![NONE; wanted.len()];
        for (places, answers) in offsets {
            places.into_iter().zip(answers).for_each(|(place, answer)| found[place] = answer);
        }
        self.ends_for_none(&wanted, &mut found)?;
        Ok(found)
    }

    fn delete_records(&self, before: &[(PartitionId, i64)]) -> Result<(), LogError> {
        if before.is_empty() {
            return Ok(());
        }
        let mut list = PartitionList::new();
        for (partition, offset) in before {
            list.add_at(&self.partitions.name(*partition), *offset, "");
        }
        let names: Vec<_> = before.iter().map(|(id, _)| self.partitions.name(*id)).collect();
        let asked = self.ask_leaders(names.iter());
        let answers = asked.and_then(|()| self.handle.delete_records(&list, LEADERS_TIMEOUT));
        let answers = answers.map_err(log_error);
        if matches!(answers, Err(LogError::Unavailable(_))) {
            self.check_existence(names.iter())?;
        }
        let answers = answers?;
        Self::by_partition(answers).map(drop).map_err(log_error)
    }

    fn fence(&self, transactional_ids: &[String]) -> Vec<Result<(), LogError>> {
        let mut fences: Vec<_> = transactional_ids.iter().map(|id| Fence::new(id)).collect();
        while fences.iter().any(|fence| fence.answer.is_none()) {
            fences.iter_mut().for_each(|fence| fence.go_on(&self.properties));
        }
        fences.into_iter().filter_map(|fence| fence.answer).collect()
    }
}

impl KafkaAdmin {
    fn group_offsets(
        &self,
        group: &str,
        partitions: &[PartitionId],
        only_stable: bool,
    ) -> Result<Vec<Option<CommittedOffset>>, LogError> {
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        let mut list = PartitionList::new();
        let names: Vec<_> = partitions.iter().map(|id| self.partitions.name(*id)).collect();
        names.iter().for_each(|name| list.add(name));
        self.hear_of(&names[0])?;
        let answers = self.handle.group_offsets(group, &list, only_stable, COORDINATOR_TIMEOUT);
        let mut answers = answers.and_then(Self::by_partition).map_err(log_error)?;
        let committed = |(id, name): (&PartitionId, &TopicPartition)| {
            let entry = answers.remove(name).filter(|entry| entry.offset >= 0)?;
            let (offset, metadata) = (entry.offset, entry.metadata);
            Some(CommittedOffset { partition: *id, offset, metadata })
        };
        Ok(partitions.iter().zip(&names).map(committed).collect())
    }

    /// Puts the end where no record was young enough.
    fn ends_for_none(
        &self,
        wanted: &[(TopicPartition, i64)],
        found: &mut [i64],
    ) -> Result<(), LogError> {
        for ((name, _), offset) in wanted.iter().zip(found) {
            if *offset == NONE {
                *offset = self.list_patiently(&[(name.clone(), END)])?[0];
            }
        }
        Ok(())
    }
}

/// Questions of which no two are about one partition, each with the places of its answers.
type Round = (Vec<(TopicPartition, i64)>, Vec<usize>);

fn distinct(wanted: &[(TopicPartition, i64)]) -> Vec<Round> {
    let mut rounds: Vec<Round> = Vec::new();
    for (place, question) in wanted.iter().enumerate() {
        let has_room = |round: &Round| round.0.iter().all(|(name, _)| *name != question.0);
        let round = rounds.iter().position(has_room).unwrap_or_else(|| {
            rounds.push((Vec::new(), Vec::new()));
            rounds.len() - 1
        });
        let (questions, places) = &mut rounds[round];
        questions.push(question.clone());
        places.push(place);
    }
    rounds
}

fn is_late(fault: &Fault) -> bool {
    fault.code == code!(RD_KAFKA_RESP_ERR__TIMED_OUT)
}

/// Taking the next epoch of a transactional id.
struct Fence<'a> {
    id: &'a str,
    producer: Option<Arc<Handle>>,
    /// How long this producer may take, and how long it has taken.
    patience: Duration,
    taken: Duration,
    answer: Option<Result<(), LogError>>,
}

impl<'a> Fence<'a> {
    const fn new(id: &'a str) -> Self {
        let (patience, taken) = (FENCE_PATIENCE, Duration::ZERO);
        Self { id, producer: None, patience, taken, answer: None }
    }

    /// Waits a little for the answer, unless it is there.
    fn go_on(&mut self, properties: &Properties) {
        if self.answer.is_none() {
            self.answer = self.ask(properties).transpose();
        }
    }

    fn ask(&mut self, properties: &Properties) -> Result<Option<()>, LogError> {
        let owned = [("client.id", "millstream-fence"), ("transactional.id", self.id)];
        let producer = match &self.producer {
            Some(producer) => Arc::clone(producer),
            None => Handle::new(Kind::Producer, &properties.writing(&owned))?,
        };
        match producer.init_transactions(FENCE_SLICE) {
            Ok(()) => return Ok(Some(())),
            Err(fault) if is_ending(&fault) && self.patience < TIMEOUT => {}
            Err(fault) => return Err(log_error(fault)),
        }
        self.taken += FENCE_SLICE;
        self.producer = Some(producer).filter(|_| self.taken < self.patience);
        if self.producer.is_none() {
            (self.patience, self.taken) = (self.patience * 3 / 2, Duration::ZERO);
        }
        Ok(None)
    }
}

/// Whether the cluster is still about to end what a fenced producer has left open.
fn is_ending(fault: &Fault) -> bool {
    is_late(fault) || fault.code == code!(RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS)
}

/// Whether the cluster is still about to make a topic known.
fn is_passing(fault: &Fault) -> bool {
    matches!(log_error(fault.clone()), LogError::Unavailable(_))
}
