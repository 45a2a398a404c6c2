//! What does the log know of several tasks? It is asked once for all of them.
//!
//! Before a task runs, a handful of questions must be answered, and each is a journey to a broker:
//! one after the other, a thousand tasks would wait for seconds. So what all tasks that are as far
//! will ask is asked together, and each finds its own answers here.
//!
//! # Invariants
//!
//! - What is found here was asked after this was made: it is made for one step of some tasks.
//! - What was not answered together is asked again by each task alone, so that a transaction that
//!   is open on one task's offsets, or a topic that is gone, holds up no other task.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use crate::error::Result;
use crate::log::{Admin, CommittedOffset, LogError, OffsetSpec, PartitionId, TopicPartition};
use crate::task::environment::TaskEnvironment;
use crate::topology::TaskId;

/// An offset that is wanted: of which partition, and which one.
pub(crate) type Wanted = (PartitionId, OffsetSpec);

/// What is committed for each input of a task, in their order, if the log can say so.
pub(crate) type Committed = Result<Vec<Option<CommittedOffset>>, LogError>;

/// Answers for some tasks.
pub(crate) struct Answers {
    environment: Arc<TaskEnvironment>,
    committed: HashMap<PartitionId, Option<CommittedOffset>>,
    committed_so_far: HashMap<PartitionId, Option<CommittedOffset>>,
    offsets: HashMap<Wanted, i64>,
}

impl Answers {
    pub(crate) fn new(environment: &Arc<TaskEnvironment>) -> Self {
        Self {
            environment: Arc::clone(environment),
            committed: HashMap::new(),
            committed_so_far: HashMap::new(),
            offsets: HashMap::new(),
        }
    }

    /// Asks what the group has committed for these tasks' inputs, as [`Self::committed`] tells it.
    pub(crate) fn ask_committed(&mut self, tasks: &[TaskId]) {
        self.committed = self.of_several(tasks, |admin, group, of| admin.committed(group, of));
    }

    /// Asks what is committed, as [`Self::committed_so_far`] tells it.
    pub(crate) fn ask_committed_so_far(&mut self, tasks: &[TaskId]) {
        self.committed_so_far =
            self.of_several(tasks, |admin, group, of| admin.committed_so_far(group, of));
    }

    /// Asks for offsets, of each task those that it will want.
    pub(crate) fn ask_offsets(&mut self, wanted: Vec<Vec<Wanted>>) {
        if wanted.len() < 2 {
            return;
        }
        let mut wanted: Vec<Wanted> = wanted.into_iter().flatten().collect();
        wanted.sort_unstable();
        wanted.dedup();
        let answer = self.environment.catalog.admin().offsets(&wanted);
        self.offsets = wanted.into_iter().zip(answer.unwrap_or_default()).collect();
    }

    /// What the group has committed for the task's inputs, if that has been answered already.
    pub(crate) fn known_committed(&self, task: TaskId) -> Option<Vec<Option<CommittedOffset>>> {
        found(&self.committed, &self.inputs(task).ok()?)
    }

    /// What the group has committed for the task's inputs; `Unstable` while a transaction is open
    /// on them.
    pub(crate) fn committed(&self, task: TaskId) -> Result<Committed> {
        let inputs = self.inputs(task)?;
        let admin = self.environment.catalog.admin();
        Ok(found(&self.committed, &inputs)
            .map_or_else(|| admin.committed(self.environment.application_id(), &inputs), Ok))
    }

    /// The same, not counting transactions that are open.
    pub(crate) fn committed_so_far(&self, task: TaskId) -> Result<Committed> {
        let inputs = self.inputs(task)?;
        let admin = self.environment.catalog.admin();
        Ok(found(&self.committed_so_far, &inputs)
            .map_or_else(|| admin.committed_so_far(self.environment.application_id(), &inputs), Ok))
    }

    /// Offsets of partitions, in this order.
    pub(crate) fn offsets(&self, wanted: &[Wanted]) -> Result<Vec<i64>, LogError> {
        let admin = self.environment.catalog.admin();
        found(&self.offsets, wanted).map_or_else(|| admin.offsets(wanted), Ok)
    }

    fn inputs(&self, task: TaskId) -> Result<Vec<PartitionId>> {
        let inputs = self.environment.inputs(task)?;
        let ids = self.environment.catalog.ids();
        let id = |(_, partition, _): &(_, TopicPartition, _)| ids.id(partition);
        Ok(inputs.iter().map(id).collect())
    }

    /// What is committed for the inputs of these tasks; nothing of a task that is alone, since it
    /// asks for itself.
    fn of_several(
        &self,
        tasks: &[TaskId],
        ask: impl FnOnce(&dyn Admin, &str, &[PartitionId]) -> Committed,
    ) -> HashMap<PartitionId, Option<CommittedOffset>> {
        if tasks.len() < 2 {
            return HashMap::new();
        }
        let inputs = tasks.iter().filter_map(|task| self.inputs(*task).ok());
        let mut inputs: Vec<PartitionId> = inputs.flatten().collect();
        inputs.sort_unstable();
        inputs.dedup();
        let answer =
            ask(&**self.environment.catalog.admin(), self.environment.application_id(), &inputs);
        inputs.into_iter().zip(answer.unwrap_or_default()).collect()
    }
}

/// What stands under each of these, if all are there.
fn found<K: Eq + Hash, T: Clone>(known: &HashMap<K, T>, wanted: &[K]) -> Option<Vec<T>> {
    wanted.iter().map(|key| known.get(key).cloned()).collect()
}
