//! What runs together? The plan cut into the parts that share nothing but topics.
//!
//! Two nodes belong to one sub-topology if one feeds the other or if both use one store. A
//! repartition is a cut: what is written to its topic comes back through a source of another
//! sub-topology, or of the same one.
//!
//! # Invariants
//!
//! - Every node belongs to exactly one sub-topology.
//! - Sub-topologies are numbered by their smallest node, so a pipeline that only grows at its end
//!   keeps its numbers, and with them its task ids.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::plan::{Node, NodeId, Plan, SinkSpec, TopicRef};

/// The number of a sub-topology, printed `0`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubtopologyId(pub u32);

impl SubtopologyId {
    /// Fit to index a table with.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for SubtopologyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One sub-topology of one partition, printed `0_3`.
///
/// ```
/// use millstream::topology::TaskId;
///
/// let task: TaskId = "0_3".parse()?;
/// assert_eq!((task.subtopology.0, task.partition), (0, 3));
/// assert_eq!(task.to_string(), "0_3");
/// # Ok::<(), millstream::topology::ParseTaskIdError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId {
    /// Of which sub-topology.
    pub subtopology: SubtopologyId,
    /// Of which partition of its source topics.
    pub partition: u32,
}

impl TaskId {
    /// The task of that sub-topology for that partition.
    pub const fn new(subtopology: SubtopologyId, partition: u32) -> Self {
        Self { subtopology, partition }
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}", self.subtopology, self.partition)
    }
}

/// A text that is no task id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no task id; one looks like `0_3`")]
pub struct ParseTaskIdError(String);

impl FromStr for TaskId {
    type Err = ParseTaskIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = text.split_once('_').and_then(|(subtopology, partition)| {
            Some(Self::new(SubtopologyId(number(subtopology)?), number(partition)?))
        });
        parsed.ok_or_else(|| ParseTaskIdError(text.to_owned()))
    }
}

/// Only what `Display` writes: `u32::from_str` alone would also take `+3` and `03`.
fn number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|number: &u32| number.to_string() == text)
}

/// A part of the plan that runs as one task per partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subtopology {
    /// Its number.
    pub id: SubtopologyId,
    /// Its nodes, ascending.
    pub nodes: Vec<NodeId>,
    /// Those of its nodes that read a topic, ascending.
    pub sources: Vec<NodeId>,
    /// What they read, in the order of `sources`.
    pub source_topics: Vec<TopicRef>,
    /// Its stores, in the order in which the plan holds them.
    pub stores: Vec<Arc<str>>,
    /// The repartitions that its sinks write to, by the order of the sinks, each once.
    pub written_repartitions: Vec<Arc<str>>,
}

/// The plan's sub-topologies; the index of each is its number.
pub fn subtopologies(plan: &Plan) -> Vec<Subtopology> {
    let mut components = Components::of(plan);
    let mut ids: BTreeMap<usize, SubtopologyId> = BTreeMap::new();
    let mut parts: Vec<Subtopology> = Vec::new();
    for node in plan.nodes() {
        let next = SubtopologyId(ids.len() as u32);
        let id = *ids.entry(components.root(node.id.index())).or_insert(next);
        if id == next {
            parts.push(Subtopology::empty(id));
        }
        parts.get_mut(id.index()).expect("ids are handed out in order").add(node);
    }
    for part in &mut parts {
        part.sort_stores(plan);
    }
    parts
}

impl Subtopology {
    const fn empty(id: SubtopologyId) -> Self {
        Self {
            id,
            nodes: Vec::new(),
            sources: Vec::new(),
            source_topics: Vec::new(),
            stores: Vec::new(),
            written_repartitions: Vec::new(),
        }
    }

    fn add(&mut self, node: &Node) {
        self.nodes.push(node.id);
        if let Some(source) = &node.source {
            self.sources.push(node.id);
            self.source_topics.push(source.topic.clone());
        }
        self.stores.extend(node.stores.iter().cloned());
        if let Some(SinkSpec::Topic(TopicRef::Repartition(name))) = &node.sink
            && !self.written_repartitions.contains(name)
        {
            self.written_repartitions.push(Arc::clone(name));
        }
    }

    /// Brings the stores into the plan's order, each once; unknown ones fall out.
    fn sort_stores(&mut self, plan: &Plan) {
        let used = std::mem::take(&mut self.stores);
        let known = plan.stores().iter().map(|store| &store.name);
        self.stores = known.filter(|name| used.contains(name)).cloned().collect();
    }
}

/// Disjoint sets of node indices; the root of a set is its smallest member.
struct Components {
    parents: Vec<usize>,
}

impl Components {
    fn of(plan: &Plan) -> Self {
        let mut components = Self { parents: (0..plan.nodes().len()).collect() };
        let mut users: BTreeMap<&str, usize> = BTreeMap::new();
        for node in plan.nodes() {
            let index = node.id.index();
            for input in &node.inputs {
                components.unite(input.index(), index);
            }
            for store in &node.stores {
                let first = *users.entry(store).or_insert(index);
                components.unite(first, index);
            }
        }
        components
    }

    fn root(&mut self, mut index: usize) -> usize {
        while self.parents[index] != index {
            self.parents[index] = self.parents[self.parents[index]];
            index = self.parents[index];
        }
        index
    }

    fn unite(&mut self, left: usize, right: usize) {
        let (left, right) = (self.root(left), self.root(right));
        self.parents[left.max(right)] = left.min(right);
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::Sample;
    use super::*;

    fn node_sets(plan: &Plan) -> Vec<Vec<usize>> {
        let indices = |part: &Subtopology| part.nodes.iter().map(|id| id.index()).collect();
        subtopologies(plan).iter().map(indices).collect()
    }

    #[test]
    fn inputs_connect_and_separate_pipelines_stay_apart() {
        let mut sample = Sample::default();
        let a = sample.source("a");
        let b = sample.source("b");
        let filtered = sample.process("KSTREAM-FILTER", &[a], &[]);
        sample.sink("out-b", b);
        sample.sink("out-a", filtered);
        assert_eq!(node_sets(&sample.plan), [vec![0, 2, 4], vec![1, 3]]);
    }

    #[test]
    fn a_shared_store_connects() {
        let mut sample = Sample::default();
        sample.store("unused").store("shared");
        let a = sample.source("a");
        let b = sample.source("b");
        sample.process("KSTREAM-PROCESSOR", &[a], &["shared"]);
        sample.process("KSTREAM-PROCESSOR", &[b], &["shared"]);
        let parts = subtopologies(&sample.plan);
        assert_eq!(parts.len(), 1);
        assert_eq!(parts[0].stores, [Arc::from("shared")]);
        assert_eq!(parts[0].sources, [a, b]);
    }

    #[test]
    fn a_repartition_cuts() {
        let mut sample = Sample::default();
        sample.store("counts");
        let a = sample.source("a");
        let again = sample.repartition("by-user", None, a);
        sample.process("KSTREAM-AGGREGATE", &[again], &["counts"]);
        let parts = subtopologies(&sample.plan);
        assert_eq!(parts.len(), 2);
        assert_eq!(parts[0].written_repartitions, [Arc::from("by-user")]);
        assert_eq!(parts[1].source_topics, [TopicRef::Repartition("by-user".into())]);
        assert_eq!(parts[1].stores, [Arc::from("counts")]);
        assert!(parts[0].stores.is_empty());
    }

    #[test]
    fn stores_stand_in_the_order_of_the_plan() {
        let mut sample = Sample::default();
        sample.store("first").store("second");
        let a = sample.source("a");
        let b = sample.process("KSTREAM-PROCESSOR", &[a], &["second"]);
        sample.process("KSTREAM-PROCESSOR", &[b], &["first", "second"]);
        let parts = subtopologies(&sample.plan);
        assert_eq!(parts[0].stores, [Arc::from("first"), Arc::from("second")]);
    }

    #[test]
    fn task_ids_are_printed_parsed_and_ordered() {
        let task = TaskId::new(SubtopologyId(1), 12);
        assert_eq!(task.to_string(), "1_12");
        assert_eq!("1_12".parse(), Ok(task));
        for wrong in ["", "1", "_", "1_", "_1", "1_2_3", "+1_2", "01_2", "a_b", "1_-2"] {
            assert!(wrong.parse::<TaskId>().is_err(), "{wrong}");
        }
        assert!("0_9".parse::<TaskId>().unwrap() < "0_10".parse().unwrap());
        assert!("0_10".parse::<TaskId>().unwrap() < "1_0".parse().unwrap());
    }
}
