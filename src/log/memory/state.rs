//! What does the in-process log know? Topics, partitions, producers and groups, under one lock.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::group::Group;
use super::partition::PartitionLog;
use super::settings;
use super::transaction::TransactionalId;
use crate::log::batch::{ProducerStamp, stamp_append_time, thaw};
use crate::log::{
    CommittedOffset, LogError, MemberToken, NewTopic, PartitionId, Partitions, RecordBatch,
    TopicPartition, WriteError,
};
use crate::time::Clock;

/// What a batch may have if its topic does not say otherwise: Kafka's default.
pub(super) const BATCH_BYTES_MAX: usize = 1_048_588;

/// What may stand beside an offset: Kafka's default.
const METADATA_BYTES_MAX: usize = 4_096;

pub(super) struct State {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) names: Partitions,
    pub(super) topics: BTreeMap<String, Topic>,
    /// By `PartitionId::index`; `None` where an id was handed out for a partition that is not
    /// there.
    logs: Vec<Option<PartitionLog>>,
    pub(super) producers: BTreeMap<String, TransactionalId>,
    pub(super) next_producer_id: i64,
    pub(super) groups: BTreeMap<String, Group>,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("topics", &self.topics).finish_non_exhaustive()
    }
}

/// A topic.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) partitions: Vec<PartitionId>,
    pub(super) configs: BTreeMap<String, String>,
}

impl Topic {
    pub(super) fn is_compacted(&self) -> bool {
        self.configs.get("cleanup.policy").is_some_and(|policy| policy.contains("compact"))
    }

    pub(super) fn is_deleted_by_age(&self) -> bool {
        self.configs.get("cleanup.policy").is_none_or(|policy| policy.contains("delete"))
    }

    /// A setting that is a number.
    pub(super) fn number(&self, setting: &str) -> Option<i64> {
        self.configs.get(setting)?.parse().ok()
    }

    fn batch_bytes_max(&self) -> usize {
        let set = self.number("max.message.bytes").and_then(|bytes| usize::try_from(bytes).ok());
        set.unwrap_or(BATCH_BYTES_MAX)
    }
}

impl State {
    pub(super) fn new(clock: Arc<dyn Clock>, names: Partitions) -> Self {
        Self {
            clock,
            names,
            topics: BTreeMap::new(),
            logs: Vec::new(),
            producers: BTreeMap::new(),
            next_producer_id: 0,
            groups: BTreeMap::new(),
        }
    }

    /// Ends what has lasted too long: transactions and silent members.
    pub(super) fn expire(&mut self) {
        let now = self.clock.instant();
        self.expire_transactions(now);
        self.expire_members(now);
    }

    pub(super) fn create_topic(&mut self, new: &NewTopic) -> Result<(), LogError> {
        settings::check(new)?;
        if self.topics.contains_key(&new.name) {
            return Ok(());
        }
        if let Some(other) = self.topics.keys().find(|other| settings::collide(other, &new.name)) {
            let text = format!("topic `{}` collides with topic `{other}`", new.name);
            return Err(LogError::Fatal(text));
        }
        let name: Arc<str> = new.name.as_str().into();
        let partitions =
            (0..new.partitions).map(|index| self.new_partition(&name, index)).collect();
        let configs = new.configs.iter().cloned().collect();
        self.topics.insert(new.name.clone(), Topic { partitions, configs });
        self.balance_groups_of(&new.name);
        Ok(())
    }

    pub(super) fn grow_topic(&mut self, name: &str, partitions: u32) {
        let held = self.topics.get(name).expect("the topic exists").partitions.len() as u32;
        let shared: Arc<str> = name.into();
        let more: Vec<_> =
            (held..partitions).map(|index| self.new_partition(&shared, index)).collect();
        self.topics.get_mut(name).expect("it was there a line above").partitions.extend(more);
        self.balance_groups_of(name);
    }

    /// An empty partition.
    fn new_partition(&mut self, topic: &Arc<str>, index: u32) -> PartitionId {
        let id = self.names.id(&TopicPartition::new(Arc::clone(topic), index));
        if self.logs.len() <= id.index() {
            self.logs.resize_with(id.index() + 1, || None);
        }
        self.logs[id.index()] = Some(PartitionLog::new(id));
        id
    }

    pub(super) fn log(&self, partition: PartitionId) -> Option<&PartitionLog> {
        self.logs.get(partition.index())?.as_ref()
    }

    pub(super) fn log_mut(&mut self, partition: PartitionId) -> Option<&mut PartitionLog> {
        self.logs.get_mut(partition.index())?.as_mut()
    }

    /// Whether the partition takes this batch.
    pub(super) fn check_batch(
        &self,
        partition: PartitionId,
        sealed: &Bytes,
    ) -> Result<(), WriteError> {
        let name = self.names.name(partition);
        let topic = self.topics.get(&*name.topic);
        let Some(topic) = topic.filter(|_| self.log(partition).is_some()) else {
            return Err(WriteError::Fatal(format!("partition {name} does not exist")));
        };
        let limit = topic.batch_bytes_max();
        if sealed.len() > limit {
            let found = sealed.len();
            return Err(WriteError::Record(format!(
                "a batch for {name} has {found} bytes; `max.message.bytes` is {limit}"
            )));
        }
        let batch = RecordBatch::new(partition, sealed.clone()).expect("a sealed batch is whole");
        let lacks_key = |batch: &RecordBatch| batch.records().flatten().any(|r| r.key.is_none());
        if topic.is_compacted() && lacks_key(&batch) {
            let text = format!("topic `{}` is compacted and takes no null key", name.topic);
            return Err(WriteError::Record(text));
        }
        Ok(())
    }

    /// Appends a batch that was checked; returns the offset behind it.
    pub(super) fn append(
        &mut self,
        partition: PartitionId,
        sealed: Bytes,
        stamp: ProducerStamp,
    ) -> i64 {
        let sealed = self.at_its_time(partition, sealed);
        let log = self.log_mut(partition).expect("the partition was checked");
        log.append(sealed, stamp);
        log.end
    }

    /// The batch with the present time, if its topic keeps that and not the records' own.
    fn at_its_time(&self, partition: PartitionId, sealed: Bytes) -> Bytes {
        let name = self.names.name(partition);
        if !self.topics.get(&*name.topic).is_some_and(Topic::keeps_append_time) {
            return sealed;
        }
        let mut bytes = thaw(sealed);
        stamp_append_time(&mut bytes, self.clock.timestamp());
        bytes.freeze()
    }

    /// Appends a batch outside of any transaction; returns the offset behind it.
    pub(super) fn send_plain(
        &mut self,
        partition: PartitionId,
        sealed: Bytes,
    ) -> Result<i64, WriteError> {
        self.check_batch(partition, &sealed)?;
        let stamp = ProducerStamp {
            producer_id: -1,
            epoch: -1,
            base_sequence: -1,
            is_transactional: false,
            is_control: false,
        };
        Ok(self.append(partition, sealed, stamp))
    }

    pub(super) fn group_mut(&mut self, name: &str) -> &mut Group {
        if !self.groups.contains_key(name) {
            self.groups.insert(name.to_owned(), Group::default());
        }
        self.groups.get_mut(name).expect("it was inserted if it was not there")
    }

    /// Whether this member may commit offsets of the group.
    pub(super) fn check_member(&self, group: &str, token: &MemberToken) -> Result<(), WriteError> {
        let new = Group::default();
        self.groups.get(group).unwrap_or(&new).check_member(token)
    }

    /// Whether these offsets can be stored.
    pub(super) fn check_offsets(&self, offsets: &[CommittedOffset]) -> Result<(), WriteError> {
        for CommittedOffset { partition, metadata, .. } in offsets {
            let name = || self.names.name(*partition);
            if self.log(*partition).is_none() {
                return Err(WriteError::Fatal(format!("partition {} does not exist", name())));
            }
            let found = metadata.len();
            if found > METADATA_BYTES_MAX {
                return Err(WriteError::Fatal(format!(
                    "the metadata beside the offset of {} has {found} bytes; {METADATA_BYTES_MAX} \
                     are allowed",
                    name()
                )));
            }
        }
        Ok(())
    }

    /// What a group has committed for a partition.
    pub(super) fn committed(
        &self,
        group: &str,
        partition: PartitionId,
    ) -> Result<Option<CommittedOffset>, LogError> {
        let open = self.producers.values().filter_map(|id| id.open.as_ref());
        if open.into_iter().any(|open| open.holds_offset(group, partition)) {
            return Err(LogError::Unstable);
        }
        Ok(self.committed_so_far(group, partition))
    }

    /// What a group has committed, not counting open transactions.
    pub(super) fn committed_so_far(
        &self,
        group: &str,
        partition: PartitionId,
    ) -> Option<CommittedOffset> {
        self.groups.get(group).and_then(|known| known.offsets.get(&partition)).cloned()
    }
}
