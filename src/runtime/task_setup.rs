//! How does an opened task become a running one? On the worker, from the topology's factories.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use crate::dsl::Topology;
use crate::error::{Error, ErrorKind, Result};
use crate::operator::build::{SavedTimes, TaskBuilder};
use crate::runtime::command::{OpenedInput, OpenedTask};
use crate::state::{SharedBackend, StoreHandle, StoreIndex};
use crate::task::active::{Changelog, Task, TaskBlueprint};
use crate::task::environment::TaskEnvironment;
use crate::task::metadata::latest_node_times;
use crate::task::outbox::Targets;
use crate::task::partition_queue::PartitionQueue;
use crate::topology::TaskId;

/// Builds the operators of a task over its restored stores and its positions.
pub(crate) fn build(
    topology: &Topology,
    environment: &Arc<TaskEnvironment>,
    opened: OpenedTask,
) -> Result<Task> {
    let OpenedTask { id, backend, inputs } = opened;
    let backend: SharedBackend = Rc::new(RefCell::new(backend));
    let handles = handles(environment, id, &backend);
    let times = saved_times(environment, id, &inputs);
    let mut builder = TaskBuilder::new(id.to_string().into(), handles, times);
    let (mut queues, mut resets) = (Vec::new(), Vec::new());
    for (node, partition, _) in environment.inputs(id)? {
        let source = topology.source(node).build(&mut builder);
        let input = inputs.iter().find(|input| input.partition == partition);
        let input = input.ok_or_else(|| {
            Error::new(ErrorKind::Bug, format!("no position is known for `{partition}`"))
        })?;
        let partition_id = environment.catalog.ids().id(&partition);
        let time = input.metadata.partition_time;
        resets.extend(input.lost.map(|lost| (queues.len(), lost)));
        queues.push(PartitionQueue::new(partition_id, partition, source, input.position, time));
    }
    let changelogs = environment.changelogs(id)?.into_iter().map(|(store, partition, spec)| {
        let limit = environment.record_limit(&environment.changelog_name(&spec.name));
        Changelog { store, partition, limit }
    });
    let targets = builder.parts.targets.iter().map(|topic| environment.topic_name(topic));
    let targets = Targets::new(targets, environment)?;
    let blueprint = TaskBlueprint {
        id,
        queues,
        changelogs: changelogs.collect(),
        targets,
        parts: builder.parts,
        backend,
    };
    let mut task = Task::new(blueprint, Arc::clone(environment));
    resets.into_iter().for_each(|(input, lost)| task.source_reset(input, lost));
    Ok(task)
}

fn handles(
    environment: &TaskEnvironment,
    id: TaskId,
    backend: &SharedBackend,
) -> HashMap<Arc<str>, StoreHandle> {
    let stores = environment.stores(id).into_iter().enumerate();
    let handle = |(index, spec): (usize, crate::topology::StoreSpec)| {
        let name = Arc::clone(&spec.name);
        let handle = StoreHandle {
            index: StoreIndex(index as u32),
            name: Arc::clone(&name),
            backend: Rc::clone(backend),
            changelog: spec.changelog,
            cache_limit: environment.live_memory.part(),
        };
        (name, handle)
    };
    stores.map(handle).collect()
}

/// The times of operators at the last commit.
fn saved_times(environment: &TaskEnvironment, id: TaskId, inputs: &[OpenedInput]) -> SavedTimes {
    let latest = latest_node_times(inputs.iter().map(|input| &input.metadata));
    let time = |name: String| latest.get(&*name).copied();
    let mut saved = SavedTimes::default();
    for &node in &environment.part(id).nodes {
        let observed = time(environment.time_name(node));
        saved.observed.extend(observed.map(|time| (node, time)));
        let closed = time(environment.closed_name(node));
        saved.closed.extend(closed.map(|time| (node, time)));
    }
    saved
}
