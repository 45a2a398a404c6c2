//! Enters operators into the plan (data) and the chain (types): the only place that does.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use crate::error::TopologyError;
use crate::operator::build::{Build, BuildSource, Output};
use crate::operator::sink::{Destination, Sink};
use crate::operator::source::TopicSource;
use crate::record::Data;
use crate::serde::SharedCodec;
use crate::topic::{OffsetReset, Topic};
use crate::topology::{
    Node, NodeId, Plan, RepartitionSpec, SinkSpec, SourceSpec, StoreSpec, TopicRef,
};
use crate::window::WindowError;

/// What a builder and its handles write together.
#[derive(Default)]
pub(crate) struct Draft {
    pub(crate) plan: Plan,
    pub(crate) sources: Vec<(NodeId, Arc<dyn BuildSource>)>,
    /// What is wrong with the pipeline so far, reported when it is built.
    pub(crate) problems: Vec<TopologyError>,
}

/// The draft as handles share it.
#[derive(Clone, Default)]
pub(crate) struct SharedDraft(Rc<RefCell<Draft>>);

/// An output of the draft: what every handle of the language is, under its own methods.
pub(crate) struct Port<K, V> {
    pub(crate) draft: SharedDraft,
    pub(crate) output: Arc<Output<K, V>>,
}

impl<K, V> Clone for Port<K, V> {
    fn clone(&self) -> Self {
        Self { draft: self.draft.clone(), output: Arc::clone(&self.output) }
    }
}

impl SharedDraft {
    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut Draft) -> R) -> R {
        f(&mut self.0.borrow_mut())
    }

    /// Notes what is wrong, for the builder to report.
    pub(crate) fn report(&self, problem: TopologyError) {
        self.with(|draft| draft.problems.push(problem));
    }

    /// Adds a store to the plan.
    pub(crate) fn add_store(&self, store: StoreSpec) {
        self.with(|draft| draft.plan.add_store(store));
    }

    /// Adds a source of this topic.
    pub(crate) fn source<K: Data, V: Data>(
        &self,
        kind: &'static str,
        topic: &Topic<K, V>,
        topic_ref: TopicRef,
    ) -> Port<K, V> {
        let mut node = Node::new(kind);
        node.source = Some(SourceSpec { topic: topic_ref, offset_reset: topic.offset_reset });
        node.on_error.clone_from(&topic.on_error);
        self.with(|draft| {
            let id = draft.plan.add(node, &[]);
            let output = Output::new(id);
            draft.sources.push((id, Arc::new(TopicSource::new(topic, Arc::clone(&output)))));
            Port { draft: self.clone(), output }
        })
    }
}

impl<K: Data, V: Data> Port<K, V> {
    /// Adds an operator that reads this output; `operator` makes its factory.
    pub(crate) fn attach<K2: Data, V2: Data, B: Build<K, V> + 'static>(
        &self,
        node: Node,
        operator: impl FnOnce(Arc<Output<K2, V2>>) -> B,
    ) -> Port<K2, V2> {
        let id = self.draft.with(|draft| draft.plan.add(node, &[self.output.node()]));
        let output = Output::new(id);
        self.output.attach(Arc::new(operator(Arc::clone(&output))));
        Port { draft: self.draft.clone(), output }
    }

    /// Adds an operator that reads this output and looks up rows of a table; `operator` makes its
    /// factory. The table is an input in the plan; its changes do not reach the operator.
    pub(crate) fn attach_beside<K2: Data, V2: Data, B: Build<K, V> + 'static>(
        &self,
        table: NodeId,
        node: Node,
        operator: impl FnOnce(Arc<Output<K2, V2>>) -> B,
    ) -> Port<K2, V2> {
        let inputs = [self.output.node(), table];
        let id = self.draft.with(|draft| draft.plan.add(node, &inputs));
        let output = Output::new(id);
        self.output.attach(Arc::new(operator(Arc::clone(&output))));
        Port { draft: self.draft.clone(), output }
    }

    /// Adds an operator that reads this output and another; `operators` makes the factories of
    /// its two ends.
    pub(crate) fn attach_two<K3: Data, V3: Data, K2: Data, V2: Data, L, R>(
        &self,
        other: &Port<K3, V3>,
        node: Node,
        operators: impl FnOnce(Arc<Output<K2, V2>>) -> (L, R),
    ) -> Port<K2, V2>
    where
        L: Build<K, V> + 'static,
        R: Build<K3, V3> + 'static,
    {
        let inputs = [self.output.node(), other.output.node()];
        let id = self.draft.with(|draft| draft.plan.add(node, &inputs));
        let output = Output::new(id);
        let (left, right) = operators(Arc::clone(&output));
        self.output.attach(Arc::new(left));
        other.output.attach(Arc::new(right));
        Port { draft: self.draft.clone(), output }
    }

    /// What was checked of the windows of this store; what is wrong with them is reported when the
    /// topology is built.
    pub(crate) fn checked<T: Default>(
        &self,
        store: &Arc<str>,
        checked: Result<T, WindowError>,
    ) -> T {
        checked.unwrap_or_else(|reason| {
            let name = store.to_string();
            self.draft.report(TopologyError::InvalidWindow { name, reason });
            T::default()
        })
    }

    /// Adds a sink that writes this topic of the user's.
    pub(crate) fn write_to<SK: Data, SV: Data>(&self, topic: &Topic<SK, SV>)
    where
        Sink<SK, SV>: Build<K, V>,
    {
        let topic_ref = TopicRef::External(topic.name_shared());
        let destination = Destination::Topic(topic_ref.clone());
        let mut node = Node::new("KSTREAM-SINK");
        node.sink = Some(SinkSpec::Topic(topic_ref));
        node.on_error.clone_from(&topic.on_error);
        self.sink(node, destination, (topic.key_codec(), topic.value_codec()));
    }

    /// Adds a sink behind this output.
    pub(crate) fn sink<SK: Data, SV: Data>(
        &self,
        node: Node,
        destination: Destination<SK, SV>,
        codecs: (SharedCodec<SK>, SharedCodec<SV>),
    ) where
        Sink<SK, SV>: Build<K, V>,
    {
        let node = self.draft.with(|draft| draft.plan.add(node, &[self.output.node()]));
        let (key, value) = codecs;
        self.output.attach(Arc::new(Sink { node, destination, key, value }));
    }

    /// Sends this output through an internal topic and reads it back.
    pub(crate) fn repartition(
        &self,
        spec: RepartitionSpec,
        codecs: (SharedCodec<K>, SharedCodec<V>),
    ) -> Self {
        let topic_ref = TopicRef::Repartition(Arc::clone(&spec.name));
        let name = Arc::clone(&spec.name);
        self.draft.with(|draft| draft.plan.add_repartition(spec));
        let sink = (Arc::clone(&codecs.0), Arc::clone(&codecs.1));
        let destination = Destination::Topic(topic_ref.clone());
        let mut node = Node::new("KSTREAM-SINK");
        node.sink = Some(SinkSpec::Topic(topic_ref.clone()));
        self.sink(node, destination, sink);
        let topic = Topic::shared(name, codecs.0, codecs.1).offset_reset(OffsetReset::Earliest);
        self.draft.source("KSTREAM-SOURCE", &topic, topic_ref)
    }

    /// Whether a record may stand here under another key than it was read with.
    pub(crate) fn has_changed_key(&self) -> bool {
        self.draft.with(|draft| {
            let mut waiting = vec![self.output.node()];
            while let Some(id) = waiting.pop() {
                let node = draft.plan.node(id);
                if node.changes_key {
                    return true;
                }
                waiting.extend(&node.inputs);
            }
            false
        })
    }
}
