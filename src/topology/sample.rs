//! A small builder of plans for the tests of this module.

use std::sync::Arc;
use std::time::Duration;

use super::plan::{
    Node, NodeId, Plan, RepartitionSpec, SinkSpec, SourceSpec, StoreKind, StoreSpec, TopicRef,
};
use crate::topic::OffsetReset;

/// A plan under construction.
#[derive(Default)]
pub(super) struct Sample {
    pub(super) plan: Plan,
}

impl Sample {
    pub(super) fn source(&mut self, topic: &str) -> NodeId {
        self.read(TopicRef::External(topic.into()))
    }

    pub(super) fn read(&mut self, topic: TopicRef) -> NodeId {
        let mut node = Node::new("KSTREAM-SOURCE");
        let offset_reset = OffsetReset::Earliest;
        node.source = Some(SourceSpec { topic, offset_reset });
        self.plan.add(node, &[])
    }

    pub(super) fn process(
        &mut self,
        kind: &'static str,
        inputs: &[NodeId],
        stores: &[&str],
    ) -> NodeId {
        let uses = |node: Node, store: &&str| node.using(&Arc::from(*store));
        self.plan.add(stores.iter().fold(Node::new(kind), uses), inputs)
    }

    pub(super) fn join(&mut self, inputs: &[NodeId]) -> NodeId {
        self.plan.add(Node::new("KSTREAM-JOIN").copartitioned(), inputs)
    }

    pub(super) fn sink(&mut self, topic: &str, input: NodeId) -> NodeId {
        self.write(SinkSpec::Topic(TopicRef::External(topic.into())), input)
    }

    pub(super) fn write(&mut self, sink: SinkSpec, input: NodeId) -> NodeId {
        let mut node = Node::new("KSTREAM-SINK");
        node.sink = Some(sink);
        self.plan.add(node, &[input])
    }

    /// A sink into a repartition and the source behind it, which is returned.
    pub(super) fn repartition(
        &mut self,
        name: &str,
        partitions: Option<u32>,
        input: NodeId,
    ) -> NodeId {
        self.plan.add_repartition(RepartitionSpec { name: name.into(), partitions });
        self.write(SinkSpec::Topic(TopicRef::Repartition(name.into())), input);
        self.read(TopicRef::Repartition(name.into()))
    }

    pub(super) fn store(&mut self, name: &str) -> &mut Self {
        self.add_store(name, StoreKind::KeyValue, &[])
    }

    pub(super) fn window_store(&mut self, name: &str, retention: Duration) -> &mut Self {
        self.add_store(name, StoreKind::Window { retention, retain_duplicates: false }, &[])
    }

    pub(super) fn add_store(
        &mut self,
        name: &str,
        kind: StoreKind,
        configs: &[(&str, &str)],
    ) -> &mut Self {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        self.plan.add_store(StoreSpec {
            name: name.into(),
            kind,
            changelog: true,
            changelog_configs: configs.iter().map(owned).collect(),
            changelog_retention: None,
            in_memory: false,
        });
        self
    }
}
