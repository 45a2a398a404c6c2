//! How is the in-process log administered?

use std::sync::Arc;

use super::Shared;
use super::state::{BATCH_BYTES_MAX, State};
use crate::log::{
    Admin, CommittedOffset, LogError, MemberToken, NewTopic, OffsetSpec, PartitionId, TopicInfo,
};

/// The administrative calls of the in-process log.
pub(super) struct MemoryAdmin {
    pub(super) shared: Arc<Shared>,
}

/// An error that names a partition which is not there.
fn missing(state: &State, partition: PartitionId) -> LogError {
    LogError::Fatal(format!("partition {} does not exist", state.names.name(partition)))
}

impl Admin for MemoryAdmin {
    fn cluster_id(&self) -> Result<String, LogError> {
        Ok("in-process".to_owned())
    }

    fn topics(&self, names: &[String]) -> Result<Vec<Option<TopicInfo>>, LogError> {
        let info = |state: &State, name: &String| {
            let partitions = state.topics.get(name)?.partitions.len() as u32;
            Some(TopicInfo { name: name.clone(), partitions })
        };
        Ok(self.shared.read(|state| names.iter().map(|name| info(state, name)).collect()))
    }

    fn topic_configs(&self, names: &[String]) -> Result<Vec<Vec<(String, String)>>, LogError> {
        let configs = |state: &State, name: &String| {
            let mut configs = state.topics.get(name).map(|t| t.configs.clone()).unwrap_or_default();
            configs.entry("cleanup.policy".to_owned()).or_insert_with(|| "delete".to_owned());
            let limit = configs.entry("max.message.bytes".to_owned());
            limit.or_insert_with(|| BATCH_BYTES_MAX.to_string());
            configs.into_iter().collect()
        };
        Ok(self.shared.read(|state| names.iter().map(|name| configs(state, name)).collect()))
    }

    fn topic_names(&self) -> Result<Vec<String>, LogError> {
        Ok(self.shared.read(|state| state.topics.keys().cloned().collect()))
    }

    fn groups(&self) -> Result<Vec<String>, LogError> {
        Ok(self.shared.read(|state| state.groups.keys().cloned().collect()))
    }

    fn create_topics(&self, topics: &[NewTopic]) -> Result<(), LogError> {
        self.shared.change(|state| {
            // Each topic stands for itself, whatever becomes of the others.
            let created: Vec<_> = topics.iter().map(|topic| state.create_topic(topic)).collect();
            created.into_iter().collect()
        })
    }

    fn committed(
        &self,
        group: &str,
        partitions: &[PartitionId],
    ) -> Result<Vec<Option<CommittedOffset>>, LogError> {
        self.shared.read(|state| partitions.iter().map(|id| state.committed(group, *id)).collect())
    }

    fn committed_so_far(
        &self,
        group: &str,
        partitions: &[PartitionId],
    ) -> Result<Vec<Option<CommittedOffset>>, LogError> {
        let committed = |state: &State, id| state.committed_so_far(group, id);
        Ok(self.shared.read(|state| partitions.iter().map(|id| committed(state, *id)).collect()))
    }

    fn commit(&self, group: &str, offsets: &[CommittedOffset]) -> Result<(), LogError> {
        self.shared.change(|state| {
            let nobody = MemberToken::default();
            let checked = state.check_member(group, &nobody);
            checked.map_err(|refused| LogError::Fatal(refused.to_string()))?;
            let group = state.group_mut(group);
            offsets.iter().for_each(|offset| group.store(offset.clone()));
            Ok(())
        })
    }

    fn offsets(&self, wanted: &[(PartitionId, OffsetSpec)]) -> Result<Vec<i64>, LogError> {
        let offset = |state: &State, partition, spec| {
            let log = state.log(partition).ok_or_else(|| missing(state, partition))?;
            Ok(match spec {
                OffsetSpec::Earliest => log.start,
                OffsetSpec::End => log.end,
                OffsetSpec::AtTime(time) => log.offset_at(time),
            })
        };
        self.shared
            .read(|state| wanted.iter().map(|(id, spec)| offset(state, *id, *spec)).collect())
    }

    fn delete_records(&self, before: &[(PartitionId, i64)]) -> Result<(), LogError> {
        self.shared.change(|state| {
            for (partition, offset) in before {
                if state.log(*partition).is_none() {
                    return Err(missing(state, *partition));
                }
                let log = state.log_mut(*partition).expect("it was just there");
                if *offset > log.end {
                    let end = log.end;
                    let text = format!("records before {offset} are to go, but the end is {end}");
                    return Err(LogError::Fatal(text));
                }
                log.delete_before(*offset);
            }
            Ok(())
        })
    }

    fn fence(&self, transactional_ids: &[String]) -> Vec<Result<(), LogError>> {
        let fence = |id: &String| self.shared.change(|state| state.init_producer(id));
        transactional_ids.iter().map(fence).map(|_| Ok(())).collect()
    }
}
