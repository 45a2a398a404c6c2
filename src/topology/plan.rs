//! What did the user write? The pipeline as plain data.
//!
//! The DSL adds nodes in the order in which the user calls it, so node ids are a topological order:
//! a node's inputs always have smaller ids. Everything structural (sub-topologies, co-partitioning,
//! internal topics, `describe`) is derived from this data and from nothing else.
//!
//! # Invariants
//!
//! - An input of a node has a smaller id than the node ([`Plan::add`] asserts it).
//! - No durable name holds a counter: stores and repartitions carry the names the user gave.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::config::ErrorPolicy;
use crate::topic::OffsetReset;

/// A node of the plan; dense, from 0, in topological order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(u32);

impl NodeId {
    /// Fit to index a table with.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// The topic that a source reads or a sink writes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TopicRef {
    /// A topic of the user's.
    External(Arc<str>),
    /// The repartition topic of this name.
    Repartition(Arc<str>),
}

/// What a source reads.
#[derive(Clone, Debug)]
pub struct SourceSpec {
    /// The topic.
    pub topic: TopicRef,
    /// Where reading begins if nothing is committed.
    pub offset_reset: OffsetReset,
}

/// What a sink writes.
#[derive(Clone, Debug)]
pub enum SinkSpec {
    /// One topic.
    Topic(TopicRef),
    /// A topic chosen for each record.
    Dynamic,
}

/// A repartition: an internal topic between two sub-topologies.
#[derive(Clone, Debug)]
pub struct RepartitionSpec {
    /// The user's name for it; the topic is `<application>-<name>-repartition`.
    pub name: Arc<str>,
    /// Partitions, if the user said so; else derived.
    pub partitions: Option<u32>,
}

/// What a store holds, as far as its topic and its files care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// Key to value.
    KeyValue,
    /// Key and window start to value, kept for a retention.
    Window {
        /// How long a window is kept behind stream time.
        retention: Duration,
        /// Whether equal keys and times are kept side by side.
        retain_duplicates: bool,
    },
    /// Key, session end and start to value, kept for a retention.
    Session {
        /// How long a session is kept behind stream time.
        retention: Duration,
    },
}

/// A store.
#[derive(Clone, Debug)]
pub struct StoreSpec {
    /// The user's name for it; its changelog is `<application>-<name>-changelog`.
    pub name: Arc<str>,
    /// What it holds.
    pub kind: StoreKind,
    /// Whether changes go to a changelog, from which the store is restored.
    pub changelog: bool,
    /// Settings of the changelog topic beside or instead of the defaults.
    pub changelog_configs: Vec<(String, String)>,
    /// How long the changelog keeps rows of windows, if not for as long as the store.
    pub changelog_retention: Option<Duration>,
    /// Whether it is kept in memory even where the application has a disk backend.
    pub in_memory: bool,
}

/// A node: one operator, source or sink.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its id.
    pub id: NodeId,
    /// What it does, in Kafka Streams' prefix words: `KSTREAM-FILTER`.
    pub kind: &'static str,
    /// The user's name for it, if there is one.
    pub name: Option<Arc<str>>,
    /// The nodes that feed it.
    pub inputs: Vec<NodeId>,
    /// The stores that it reads or writes, by name.
    pub stores: Vec<Arc<str>>,
    /// Present on sources.
    pub source: Option<SourceSpec>,
    /// Present on sinks.
    pub sink: Option<SinkSpec>,
    /// Of a source or sink: what happens to records that fail; `None` is the application's policy.
    pub on_error: Option<ErrorPolicy>,
    /// Whether a record may leave it with another key than it came with.
    pub changes_key: bool,
    /// Whether records of its inputs meet by key, so that their topics must be co-partitioned.
    pub copartitioned: bool,
}

impl Node {
    /// A node of this kind without anything else; `Plan::add` gives it its id.
    pub fn new(kind: &'static str) -> Self {
        Self {
            id: NodeId(u32::MAX),
            kind,
            name: None,
            inputs: Vec::new(),
            stores: Vec::new(),
            source: None,
            sink: None,
            on_error: None,
            changes_key: false,
            copartitioned: false,
        }
    }

    /// This node with a name.
    #[must_use]
    pub fn named(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// This node as one that may change keys.
    #[must_use]
    pub fn changing_key(mut self) -> Self {
        self.changes_key = true;
        self
    }

    /// This node as one whose inputs meet by key.
    #[must_use]
    pub fn copartitioned(mut self) -> Self {
        self.copartitioned = true;
        self
    }

    /// This node as a user of a store.
    #[must_use]
    pub fn using(mut self, store: &Arc<str>) -> Self {
        self.stores.push(Arc::clone(store));
        self
    }
}

/// Kind and number, as Kafka Streams prints them; for people only, never part of a durable name.
impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => f.write_str(name),
            None => write!(f, "{}-{:010}", self.kind, self.id.0),
        }
    }
}

/// The pipeline as plain data.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    nodes: Vec<Node>,
    stores: Vec<StoreSpec>,
    repartitions: Vec<RepartitionSpec>,
}

impl Plan {
    /// Adds a node behind its inputs.
    pub fn add(&mut self, mut node: Node, inputs: &[NodeId]) -> NodeId {
        let id = NodeId(self.nodes.len() as u32);
        assert!(inputs.iter().all(|input| *input < id), "a node stands behind its inputs");
        node.id = id;
        node.inputs = inputs.to_vec();
        self.nodes.push(node);
        id
    }

    /// Adds a store. Names are checked when the topology is built.
    pub fn add_store(&mut self, store: StoreSpec) {
        self.stores.push(store);
    }

    /// Adds a repartition. Names are checked when the topology is built.
    pub fn add_repartition(&mut self, repartition: RepartitionSpec) {
        self.repartitions.push(repartition);
    }

    /// The nodes, by id.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// One node.
    pub fn node(&self, id: NodeId) -> &Node {
        self.nodes.get(id.index()).expect("an id comes from this plan")
    }

    /// The stores, in the order in which they were added.
    pub fn stores(&self) -> &[StoreSpec] {
        &self.stores
    }

    /// The repartitions, in the order in which they were added.
    pub fn repartitions(&self) -> &[RepartitionSpec] {
        &self.repartitions
    }
}
