//! What do the tasks of an application share? Names, partitions, policies.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::config::Config;
use crate::error::Result;
use crate::log::catalog::Catalog;
use crate::log::{PartitionId, TopicPartition};
use crate::metrics::Metrics;
use crate::state::{DividedBytes, MemoryBudget, StoreIndex};
use crate::task::dead_letter::Policies;
use crate::time::Timestamp;
use crate::topic::OffsetReset;
use crate::topology::{
    Node, NodeId, Plan, StoreSpec, Subtopology, TaskId, TopicRef, changelog_topic,
    dead_letter_topics, repartition_topic, subtopologies, topics_read, topics_written,
};

/// What a task shares with the others of its application.
pub(crate) struct TaskEnvironment {
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) policies: Policies,
    pub(crate) max_task_idle: Option<Duration>,
    pub(crate) metrics: Metrics,
    /// What the live values of all stores may take together, as far as they are committed; of
    /// stores that are being restored, what waits to be loaded.
    pub(crate) live_memory: DividedBytes,
    /// Uncommitted bytes at which workers commit early, each at its part.
    pub(crate) uncommitted: DividedBytes,
    /// The most that the client sends of one record, in bytes; unless the user says otherwise,
    /// each topic has its own limit.
    record_bytes_max: usize,
    /// Whether the client compresses: how large a batch becomes is known only when it is sent.
    is_compressed: bool,
    application_id: String,
    /// Every topic that the pipeline names to write to.
    written: Vec<String>,
    plan: Plan,
    parts: Vec<Subtopology>,
    node_names: Vec<String>,
}

impl TaskEnvironment {
    pub(crate) fn new(config: &Config, plan: &Plan, catalog: Arc<Catalog>) -> Self {
        let application_id = config.application_id.clone();
        let of_source = |node: &Node| {
            let source = node.source.as_ref()?;
            Some((source.topic.resolve(&application_id), node.on_error.clone()?))
        };
        let of_sink = |node: &Node| {
            node.sink.as_ref()?;
            Some((node.id, node.on_error.clone()?))
        };
        let policies = Policies {
            decode: config.on_decode_error.clone(),
            process: config.on_process_error.clone(),
            produce: config.on_produce_error.clone(),
            read: plan.nodes().iter().filter_map(of_source).collect(),
            written: plan.nodes().iter().filter_map(of_sink).collect(),
        };
        let budget = MemoryBudget::of(config);
        Self {
            catalog,
            policies,
            max_task_idle: config.max_task_idle,
            metrics: Metrics::new(&application_id, None),
            live_memory: DividedBytes::new(budget.cached_bytes(config)),
            uncommitted: DividedBytes::new(budget.commit_bytes(config)),
            record_bytes_max: property(config, "message.max.bytes")
                .and_then(|bytes| bytes.parse().ok())
                .unwrap_or(usize::MAX),
            is_compressed: ["compression.type", "compression.codec"]
                .iter()
                .any(|name| property(config, name).is_some_and(|codec| codec != "none")),
            written: written(config, plan),
            plan: plan.clone(),
            parts: subtopologies(plan),
            node_names: plan.nodes().iter().map(Node::to_string).collect(),
            application_id,
        }
    }

    /// This environment with metrics of its own.
    pub(crate) fn with_metrics(mut self, metrics: Metrics) -> Self {
        self.metrics = metrics;
        self
    }

    pub(crate) fn application_id(&self) -> &str {
        &self.application_id
    }

    /// The user's topics that are read, in order.
    pub(crate) fn input_topics(&self) -> Vec<String> {
        topics_read(&self.plan)
    }

    pub(crate) fn node_name(&self, node: NodeId) -> String {
        self.node_names.get(node.index()).cloned().unwrap_or_default()
    }

    /// The largest record that a topic takes, in bytes of a batch that holds it alone. May ask the
    /// log.
    pub(crate) fn record_limit(&self, topic: &str) -> usize {
        let of_topic =
            if self.is_compressed { usize::MAX } else { self.catalog.batch_limit(topic) };
        of_topic.min(self.record_bytes_max)
    }

    /// The largest batch that every topic takes which the pipeline names. May ask the log.
    pub(crate) fn batch_bytes_max(&self) -> usize {
        let limits = self.catalog.batch_limits(&self.written);
        limits.into_iter().min().unwrap_or(usize::MAX)
    }

    /// The name of a store's changelog in the log.
    pub(crate) fn changelog_name(&self, store: &str) -> String {
        changelog_topic(&self.application_id, store)
    }

    /// The name under which the stream time that a node has observed is committed. It holds no
    /// counter, so that it means the same node when others are added to the pipeline.
    pub(crate) fn time_name(&self, node: NodeId) -> String {
        let node = &self.plan.nodes()[node.index()];
        format!("{}:{}", node.kind, node.stores.join(","))
    }

    /// The stream time up to which a store has certainly been used: that of the operator behind it
    /// that was committed with the least. `times` are by [`time_name`](Self::time_name). Nothing
    /// where an operator that has the store keeps no time, such as a processor of the user's.
    pub(crate) fn time_of_store(
        &self,
        task: TaskId,
        store: &str,
        times: &BTreeMap<String, Timestamp>,
    ) -> Option<Timestamp> {
        let nodes = self.part(task).nodes.iter();
        let users = nodes.filter(|node| {
            let stores = &self.plan.nodes()[node.index()].stores;
            stores.iter().any(|name| **name == *store)
        });
        let times: Option<Vec<_>> =
            users.map(|&node| times.get(&self.time_name(node)).copied()).collect();
        times?.into_iter().min()
    }

    /// The name under which it is committed how far a node's final results have left: that of its
    /// store, as in Kafka Streams.
    pub(crate) fn closed_name(&self, node: NodeId) -> String {
        let store = self.plan.nodes()[node.index()].stores.first();
        store.map(ToString::to_string).unwrap_or_default()
    }

    pub(crate) fn part(&self, task: TaskId) -> &Subtopology {
        self.parts.get(task.subtopology.index()).expect("a task is one of a known sub-topology")
    }

    /// The topic's name in the log.
    pub(crate) fn topic_name(&self, topic: &TopicRef) -> Arc<str> {
        topic.resolve(&self.application_id)
    }

    /// The task's stores; the position of each is its index.
    pub(crate) fn stores(&self, task: TaskId) -> Vec<StoreSpec> {
        let names = &self.part(task).stores;
        let spec = |name: &Arc<str>| self.plan.stores().iter().find(|spec| spec.name == *name);
        names.iter().filter_map(spec).cloned().collect()
    }

    /// The stores that have a changelog, with its partition.
    pub(crate) fn changelogs(
        &self,
        task: TaskId,
    ) -> Result<Vec<(StoreIndex, PartitionId, StoreSpec)>> {
        let mut changelogs = Vec::new();
        for (index, spec) in self.stores(task).into_iter().enumerate() {
            if spec.changelog {
                let topic = changelog_topic(&self.application_id, &spec.name);
                let partitions = self.catalog.topic(&topic)?;
                let partition = partitions[task.partition as usize];
                changelogs.push((StoreIndex(index as u32), partition, spec));
            }
        }
        Ok(changelogs)
    }

    /// The source nodes that this task runs, with the partition that each reads.
    pub(crate) fn inputs(
        &self,
        task: TaskId,
    ) -> Result<Vec<(NodeId, TopicPartition, OffsetReset)>> {
        let mut inputs = Vec::new();
        for node in &self.part(task).sources {
            let source = self.plan.node(*node).source.as_ref().expect("a source has a topic");
            let topic = self.topic_name(&source.topic);
            if (task.partition as usize) < self.catalog.topic(&topic)?.len() {
                let partition = TopicPartition::new(topic, task.partition);
                inputs.push((*node, partition, source.offset_reset));
            }
        }
        Ok(inputs)
    }

    /// Every task of the application.
    pub(crate) fn tasks(&self) -> Result<Vec<TaskId>> {
        let mut tasks = Vec::new();
        for part in &self.parts {
            let mut count = 0;
            for topic in &part.source_topics {
                count = count.max(self.catalog.topic(&self.topic_name(topic))?.len());
            }
            tasks.extend((0..count as u32).map(|partition| TaskId::new(part.id, partition)));
        }
        Ok(tasks)
    }

    /// Whether this is the partition of a repartition topic, whose committed records can go.
    pub(crate) fn is_repartition(&self, topic: &str) -> bool {
        let names = self.plan.repartitions().iter().map(|spec| &spec.name);
        let topics = names.map(|name| self.topic_name(&TopicRef::Repartition(Arc::clone(name))));
        topics.into_iter().any(|known| &*known == topic)
    }
}

/// A property that the user hands through to the client.
fn property<'a>(config: &'a Config, name: &str) -> Option<&'a str> {
    config.client_properties.get(name).map(String::as_str)
}

fn written(config: &Config, plan: &Plan) -> Vec<String> {
    let id = &config.application_id;
    let changelogs = plan.stores().iter().filter(|store| store.changelog);
    let changelogs = changelogs.map(|store| changelog_topic(id, &store.name));
    let repartitions = plan.repartitions().iter();
    let repartitions = repartitions.map(|spec| repartition_topic(id, &spec.name));
    let named = topics_written(plan).into_iter().chain(dead_letter_topics(plan, config));
    let unique: BTreeSet<String> = named.chain(changelogs).chain(repartitions).collect();
    unique.into_iter().collect()
}
