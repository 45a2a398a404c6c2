//! What does a log answer wrongly that has a bug?

use std::sync::Arc;

use super::{Bug, SeededBug};
use crate::log::{Admin, CommittedOffset, LogError, NewTopic, OffsetSpec, PartitionId, TopicInfo};

pub(super) struct BuggyAdmin {
    pub(super) inner: Arc<dyn Admin>,
    pub(super) bug: Arc<Bug>,
}

impl BuggyAdmin {
    /// What was told the time before.
    fn stale(
        &self,
        partition: PartitionId,
        now: Option<CommittedOffset>,
    ) -> Option<CommittedOffset> {
        self.bug.with(|state| {
            let told = state.told.entry(partition).or_insert_with(|| [now.clone(), now.clone()]);
            if told[1] != now {
                *told = [told[1].clone(), now];
            }
            told[0].clone()
        })
    }

    fn offset(&self, (partition, spec): (PartitionId, OffsetSpec), offset: i64) -> i64 {
        let end = self.bug.end_of(partition);
        match (self.bug.kind, spec) {
            (SeededBug::EndTooLittle, OffsetSpec::End) => (offset - 1).max(0),
            (SeededBug::EndIsEarliest, OffsetSpec::End) => 0,
            (SeededBug::EarliestTooLate, OffsetSpec::Earliest) => (offset + 3).min(end),
            (SeededBug::AtTimeIsEnd, OffsetSpec::AtTime(_)) => end,
            _ => offset,
        }
    }

    fn purged(&self, (partition, offset): (PartitionId, i64)) -> (PartitionId, i64) {
        let end = self.bug.end_of(partition);
        match self.bug.kind {
            SeededBug::PurgeTooFar => (partition, (offset + 1).min(end)),
            SeededBug::PurgeAll => (partition, end),
            _ => (partition, offset),
        }
    }
}

impl Admin for BuggyAdmin {
    fn cluster_id(&self) -> Result<String, LogError> {
        self.inner.cluster_id()
    }

    fn topics(&self, names: &[String]) -> Result<Vec<Option<TopicInfo>>, LogError> {
        self.inner.topics(names)
    }

    fn topic_configs(&self, names: &[String]) -> Result<Vec<Vec<(String, String)>>, LogError> {
        self.inner.topic_configs(names)
    }

    fn topic_names(&self) -> Result<Vec<String>, LogError> {
        self.inner.topic_names()
    }

    fn groups(&self) -> Result<Vec<String>, LogError> {
        self.inner.groups()
    }

    fn create_topics(&self, topics: &[NewTopic]) -> Result<(), LogError> {
        self.inner.create_topics(topics)
    }

    fn committed(
        &self,
        group: &str,
        partitions: &[PartitionId],
    ) -> Result<Vec<Option<CommittedOffset>>, LogError> {
        if self.bug.is(SeededBug::CommittedThoughOpen) {
            return self.inner.committed_so_far(group, partitions);
        }
        let mut committed = self.inner.committed(group, partitions)?;
        if self.bug.strikes(SeededBug::CommittedNothing, 8) {
            committed.fill(None);
        }
        if self.bug.is(SeededBug::CommittedStale) {
            let known = partitions.iter().zip(committed);
            committed = known.map(|(id, now)| self.stale(*id, now)).collect();
        }
        Ok(committed)
    }

    fn committed_so_far(
        &self,
        group: &str,
        partitions: &[PartitionId],
    ) -> Result<Vec<Option<CommittedOffset>>, LogError> {
        if matches!(self.bug.kind, SeededBug::CommittedThoughOpen | SeededBug::LastOwnerUntold) {
            return Ok(vec![None; partitions.len()]);
        }
        self.inner.committed_so_far(group, partitions)
    }

    fn commit(&self, group: &str, offsets: &[CommittedOffset]) -> Result<(), LogError> {
        self.inner.commit(group, offsets)
    }

    fn offsets(&self, wanted: &[(PartitionId, OffsetSpec)]) -> Result<Vec<i64>, LogError> {
        let offsets = self.inner.offsets(wanted)?.into_iter();
        Ok(wanted.iter().zip(offsets).map(|(of, offset)| self.offset(*of, offset)).collect())
    }

    fn delete_records(&self, before: &[(PartitionId, i64)]) -> Result<(), LogError> {
        let before: Vec<_> = before.iter().map(|purge| self.purged(*purge)).collect();
        self.inner.delete_records(&before)
    }

    fn fence(&self, transactional_ids: &[String]) -> Vec<Result<(), LogError>> {
        if matches!(self.bug.kind, SeededBug::TransactionsNeverEnd | SeededBug::FenceSkipped) {
            return transactional_ids.iter().map(|_| Ok(())).collect();
        }
        self.inner.fence(transactional_ids)
    }
}
