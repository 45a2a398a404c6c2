//! Where a pipeline begins, and what it becomes.

use std::fmt;
use std::sync::Arc;

use crate::config::Config;
use crate::dsl::attach::SharedDraft;
use crate::dsl::stream::KStream;
use crate::error::TopologyErrors;
use crate::operator::build::BuildSource;
use crate::record::Data;
use crate::topic::Topic;
use crate::topology::{Acl, NodeId, Plan, TopicRef};

/// Begins pipelines and collects them into one [`Topology`].
#[derive(Default)]
pub struct StreamsBuilder {
    pub(crate) draft: SharedDraft,
}

impl fmt::Debug for StreamsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StreamsBuilder")
    }
}

impl StreamsBuilder {
    /// A builder without any pipeline.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a topic as a stream of records.
    ///
    /// A topic is read once; use the returned handle as often as needed.
    pub fn stream<K: Data, V: Data>(&self, topic: &Topic<K, V>) -> KStream<K, V> {
        let topic_ref = TopicRef::External(topic.name_shared());
        KStream { port: self.draft.source("KSTREAM-SOURCE", topic, topic_ref) }
    }

    /// Checks the pipelines and makes them ready to run.
    ///
    /// # Errors
    ///
    /// Every problem at once: names used twice or invalid, windows that make no sense, a topic read
    /// twice, no source at all.
    pub fn build(self) -> Result<Topology, TopologyErrors> {
        let (plan, sources) = self
            .draft
            .with(|draft| (std::mem::take(&mut draft.plan), std::mem::take(&mut draft.sources)));
        let mut problems = self.draft.with(|draft| std::mem::take(&mut draft.problems));
        if let Err(errors) = crate::topology::check_names(&plan) {
            problems.extend(errors.0);
        }
        TopologyErrors::check(problems)?;
        Ok(Topology(Arc::new(Inner { plan, sources })))
    }
}

/// A checked pipeline, ready to run in any number of tasks. Cheap to clone.
#[derive(Clone)]
pub struct Topology(Arc<Inner>);

struct Inner {
    plan: Plan,
    sources: Vec<(NodeId, Arc<dyn BuildSource>)>,
}

impl Topology {
    /// The plan: everything about the pipeline but its types and closures.
    pub fn plan(&self) -> &Plan {
        &self.0.plan
    }

    /// The factory of a source node.
    pub(crate) fn source(&self, node: NodeId) -> &Arc<dyn BuildSource> {
        let found = self.0.sources.iter().find(|(id, _)| *id == node);
        &found.expect("every source node has a factory").1
    }

    /// The pipeline in the text form of Kafka Streams' `Topology#describe`.
    pub fn describe(&self) -> String {
        crate::topology::describe(&self.0.plan)
    }

    /// The pipeline as a Mermaid flow chart.
    pub fn mermaid(&self) -> String {
        crate::topology::mermaid(&self.0.plan)
    }

    /// The rights without which an application of these settings does not run; see
    /// [`required_acls`](crate::topology::required_acls).
    pub fn required_acls(&self, config: &Config) -> Vec<Acl> {
        crate::topology::required_acls(&self.0.plan, config)
    }

    /// Rights without which it runs with less; see
    /// [`optional_acls`](crate::topology::optional_acls).
    pub fn optional_acls(&self, config: &Config) -> Vec<Acl> {
        crate::topology::optional_acls(&self.0.plan, config)
    }
}

impl fmt::Debug for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.describe())
    }
}
