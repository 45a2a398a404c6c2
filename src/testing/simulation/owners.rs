//! Who may write? Where no transaction fences a late writer, only the process that was last given
//! a task writes to its changelogs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::failure::{Check, Violation};
use crate::log::{GroupEvent, PartitionId, Partitions};

/// What the group has given to which process.
pub(super) struct Owners {
    names: Partitions,
    state: Mutex<OwnersState>,
    /// What has been found wrong, for whoever runs the simulation.
    violations: Arc<Mutex<Vec<Violation>>>,
}

#[derive(Default)]
struct OwnersState {
    /// Of each changelog partition that is watched, the partitions that its task reads.
    watched: BTreeMap<PartitionId, Vec<PartitionId>>,
    /// The process that was last told to have a partition.
    by_partition: BTreeMap<PartitionId, usize>,
}

impl Owners {
    pub(super) fn new(names: Partitions, violations: Arc<Mutex<Vec<Violation>>>) -> Arc<Self> {
        Arc::new(Self { names, state: Mutex::default(), violations })
    }

    /// Watches who writes to these changelog partitions, each with what its task reads.
    pub(super) fn watch(&self, changelogs: BTreeMap<PartitionId, Vec<PartitionId>>) {
        self.state.lock().expect("no panic while held").watched = changelogs;
    }

    /// Notes what a process is told.
    pub(super) fn told(&self, process: usize, events: &[GroupEvent]) {
        let mut state = self.state.lock().expect("no panic while held");
        for event in events {
            if let GroupEvent::Assigned(partitions) = event {
                state.by_partition.extend(partitions.iter().map(|id| (*id, process)));
            }
        }
    }

    /// A process writes to a partition.
    pub(super) fn writes(&self, process: usize, partition: PartitionId) {
        let state = self.state.lock().expect("no panic while held");
        let Some(inputs) = state.watched.get(&partition) else { return };
        let owner = inputs.iter().find_map(|input| state.by_partition.get(input));
        let Some(owner) = owner.filter(|owner| **owner != process) else { return };
        let name = self.names.name(partition);
        let text = format!("process {process} writes to `{name}`, but {owner} has its task");
        let violation = Check::Owner.violated(text);
        self.violations.lock().expect("no panic while held").push(violation);
    }
}
