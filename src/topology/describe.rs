//! What does it look like? The plan for people: as text, as a drawing, and as a list of rights.
//!
//! The text is in the form of Kafka Streams' `Topology#describe`, line by line, so that tools which
//! read that form read this one.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use super::names::{
    changelog_topic, close_all_group, repartition_topic, topics_read, topics_written,
};
use super::plan::{Node, NodeId, Plan, SinkSpec, TopicRef};
use super::subtopology::{Subtopology, subtopologies};
use crate::config::{Config, ErrorPolicy};

/// The plan in the form of Kafka Streams' `Topology#describe`.
pub fn describe(plan: &Plan) -> String {
    let graph = Graph::of(plan);
    let mut text = String::from("Topologies:\n ");
    for part in subtopologies(plan) {
        writeln!(text, "  Sub-topology: {}", part.id).expect("a string takes all text");
        for node in graph.widest_first(&part) {
            graph.describe_node(node, &mut text).expect("a string takes all text");
        }
        text.push('\n');
    }
    text
}

/// The plan with its edges in both directions.
struct Graph<'a> {
    plan: &'a Plan,
    outputs: Vec<Vec<NodeId>>,
    /// How many nodes lie behind each node, it included, counted once per path to them.
    sizes: Vec<u64>,
}

impl<'a> Graph<'a> {
    fn of(plan: &'a Plan) -> Self {
        let mut outputs = vec![Vec::new(); plan.nodes().len()];
        let mut sizes = vec![1_u64; plan.nodes().len()];
        for node in plan.nodes().iter().rev() {
            for input in &node.inputs {
                outputs[input.index()].push(node.id);
                let size = sizes[node.id.index()];
                sizes[input.index()] = sizes[input.index()].saturating_add(size);
            }
        }
        Self { plan, outputs, sizes }
    }

    /// Kafka Streams' order: nodes with the most behind them first, then by name.
    fn sort(&self, ids: &mut [NodeId]) {
        ids.sort_by_key(|id| {
            (std::cmp::Reverse(self.sizes[id.index()]), self.plan.node(*id).to_string())
        });
    }

    fn widest_first(&self, part: &Subtopology) -> Vec<&'a Node> {
        let mut ids = part.nodes.clone();
        self.sort(&mut ids);
        ids.into_iter().map(|id| self.plan.node(id)).collect()
    }

    fn names(&self, ids: &[NodeId]) -> String {
        let mut ids = ids.to_vec();
        self.sort(&mut ids);
        ids.dedup();
        let names: Vec<String> = ids.iter().map(|id| self.plan.node(*id).to_string()).collect();
        if names.is_empty() { "none".into() } else { names.join(", ") }
    }

    fn describe_node(&self, node: &Node, text: &mut String) -> fmt::Result {
        match (&node.source, &node.sink) {
            (Some(source), _) => {
                writeln!(text, "    Source: {node} (topics: [{}])", undecorated(&source.topic))?;
            }
            (None, Some(SinkSpec::Topic(topic))) => {
                writeln!(text, "    Sink: {node} (topic: {})", undecorated(topic))?;
            }
            (None, Some(SinkSpec::Dynamic)) => {
                writeln!(text, "    Sink: {node} (extractor class: closure)")?;
            }
            (None, None) => {
                let mut stores: Vec<&str> = node.stores.iter().map(|store| &**store).collect();
                stores.sort_unstable();
                writeln!(text, "    Processor: {node} (stores: [{}])", stores.join(", "))?;
            }
        }
        if node.sink.is_none() {
            writeln!(text, "      --> {}", self.names(&self.outputs[node.id.index()]))?;
        }
        if node.source.is_none() {
            writeln!(text, "      <-- {}", self.names(&node.inputs))?;
        }
        Ok(())
    }
}

/// A topic without the application's id, which the plan does not know.
fn undecorated(topic: &TopicRef) -> String {
    match topic {
        TopicRef::External(name) => name.to_string(),
        TopicRef::Repartition(name) => format!("{name}-repartition"),
    }
}

/// The plan as a Mermaid flow chart: topics rounded, stores as drums, sub-topologies framed.
pub fn mermaid(plan: &Plan) -> String {
    let mut chart = Mermaid::default();
    chart.draw(plan).expect("a string takes all text");
    format!("flowchart TD\n{}{}", chart.frames, chart.edges)
}

#[derive(Default)]
struct Mermaid<'a> {
    frames: String,
    edges: String,
    topics: BTreeMap<&'a TopicRef, usize>,
}

impl<'a> Mermaid<'a> {
    fn draw(&mut self, plan: &'a Plan) -> fmt::Result {
        for part in subtopologies(plan) {
            writeln!(self.frames, "    subgraph s{0}[\"Sub-topology {0}\"]", part.id)?;
            for id in &part.nodes {
                writeln!(self.frames, "        n{}[\"{}\"]", id.index(), plan.node(*id))?;
            }
            for store in &part.stores {
                let index = store_index(plan, store);
                writeln!(self.frames, "        d{index}[(\"{store}\")]")?;
            }
            writeln!(self.frames, "    end")?;
        }
        plan.nodes().iter().try_for_each(|node| self.draw_edges(plan, node))
    }

    fn draw_edges(&mut self, plan: &Plan, node: &'a Node) -> fmt::Result {
        let id = node.id.index();
        if let Some(source) = &node.source {
            let topic = self.topic(&source.topic)?;
            writeln!(self.edges, "    t{topic} --> n{id}")?;
        }
        for input in &node.inputs {
            writeln!(self.edges, "    n{} --> n{id}", input.index())?;
        }
        for store in &node.stores {
            writeln!(self.edges, "    n{id} --- d{}", store_index(plan, store))?;
        }
        if let Some(SinkSpec::Topic(topic)) = &node.sink {
            let topic = self.topic(topic)?;
            writeln!(self.edges, "    n{id} --> t{topic}")?;
        }
        Ok(())
    }

    fn topic(&mut self, topic: &'a TopicRef) -> Result<usize, fmt::Error> {
        let next = self.topics.len();
        let index = *self.topics.entry(topic).or_insert(next);
        if index == next {
            writeln!(self.frames, "    t{index}([\"{}\"])", undecorated(topic))?;
        }
        Ok(index)
    }
}

fn store_index(plan: &Plan, name: &str) -> usize {
    plan.stores().iter().position(|store| &*store.name == name).unwrap_or(plan.stores().len())
}

/// What a right is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AclResource {
    /// A topic.
    Topic,
    /// A consumer group.
    Group,
    /// A transactional id.
    TransactionalId,
}

/// What a right allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AclOperation {
    /// Reading records, or taking part in a group.
    Read,
    /// Writing records.
    Write,
    /// Creating the topic.
    Create,
    /// Deleting records.
    Delete,
    /// Looking at it.
    Describe,
}

/// A right that the application's principal needs; printed as arguments of `kafka-acls`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Acl {
    /// What it is about.
    pub resource: AclResource,
    /// The resource's name, or how names begin.
    pub name: String,
    /// Whether `name` is how names begin.
    pub is_prefix: bool,
    /// What it allows.
    pub operation: AclOperation,
}

impl fmt::Display for Acl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let resource = match self.resource {
            AclResource::Topic => "topic",
            AclResource::Group => "group",
            AclResource::TransactionalId => "transactional-id",
        };
        let pattern = if self.is_prefix { " --resource-pattern-type prefixed" } else { "" };
        write!(f, "--operation {:?} --{resource} {}{pattern}", self.operation, self.name)
    }
}

/// Exactly the rights that the application needs, sorted. Topics that are chosen for each record
/// cannot be known and are not listed.
pub fn required_acls(plan: &Plan, config: &Config) -> Vec<Acl> {
    use AclOperation::{Create, Delete, Describe, Read, Write};
    use AclResource::{Group, Topic, TransactionalId};

    let application_id = &config.application_id;
    let mut acls = Vec::new();
    let mut allow = |resource, name: &str, is_prefix, operations: &[AclOperation]| {
        let acl = |operation: &AclOperation| Acl {
            resource,
            name: name.to_owned(),
            is_prefix,
            operation: *operation,
        };
        acls.extend(operations.iter().map(acl));
    };
    for topic in topics_read(plan) {
        allow(Topic, &topic, false, &[Read, Describe]);
    }
    for topic in topics_written(plan).into_iter().chain(dead_letter_topics(plan, config)) {
        allow(Topic, &topic, false, &[Write, Describe]);
    }
    for repartition in plan.repartitions() {
        let topic = repartition_topic(application_id, &repartition.name);
        allow(Topic, &topic, false, &[Read, Write, Create, Delete, Describe]);
    }
    for store in plan.stores().iter().filter(|store| store.changelog) {
        let topic = changelog_topic(application_id, &store.name);
        allow(Topic, &topic, false, &[Read, Write, Create, Describe]);
    }
    allow(Group, application_id, false, &[Read, Describe]);
    allow(Group, &close_all_group(application_id), false, &[Read, Describe]);
    if config.is_exactly_once() {
        allow(TransactionalId, &format!("{application_id}-"), true, &[Write, Describe]);
    }
    acls.sort();
    acls.dedup();
    acls
}

/// The topics that failed records may go to.
pub(crate) fn dead_letter_topics(plan: &Plan, config: &Config) -> Vec<String> {
    let of_topics = plan.nodes().iter().filter_map(|node| node.on_error.as_ref());
    let policies = [&config.on_decode_error, &config.on_process_error, &config.on_produce_error];
    of_topics
        .chain(policies)
        .filter_map(|policy| match policy {
            ErrorPolicy::DeadLetter(topic) => Some(topic.to_string()),
            ErrorPolicy::Fail | ErrorPolicy::Skip => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::sample::Sample;
    use super::*;

    fn counting() -> Plan {
        let mut sample = Sample::default();
        sample.store("counts");
        let a = sample.source("lines");
        let words = sample.process("KSTREAM-FLATMAPVALUES", &[a], &[]);
        let again = sample.repartition("by-word", None, words);
        let counts = sample.process("KSTREAM-AGGREGATE", &[again], &["counts"]);
        let stream = sample.process("KTABLE-TOSTREAM", &[counts], &[]);
        sample.sink("counts-out", stream);
        sample.write(SinkSpec::Dynamic, stream);
        sample.plan
    }

    #[test]
    fn description_has_the_form_of_kafka_streams() {
        let wanted = "\
Topologies:
   Sub-topology: 0
    Source: KSTREAM-SOURCE-0000000000 (topics: [lines])
      --> KSTREAM-FLATMAPVALUES-0000000001
    Processor: KSTREAM-FLATMAPVALUES-0000000001 (stores: [])
      --> KSTREAM-SINK-0000000002
      <-- KSTREAM-SOURCE-0000000000
    Sink: KSTREAM-SINK-0000000002 (topic: by-word-repartition)
      <-- KSTREAM-FLATMAPVALUES-0000000001

  Sub-topology: 1
    Source: KSTREAM-SOURCE-0000000003 (topics: [by-word-repartition])
      --> KSTREAM-AGGREGATE-0000000004
    Processor: KSTREAM-AGGREGATE-0000000004 (stores: [counts])
      --> KTABLE-TOSTREAM-0000000005
      <-- KSTREAM-SOURCE-0000000003
    Processor: KTABLE-TOSTREAM-0000000005 (stores: [])
      --> KSTREAM-SINK-0000000006, KSTREAM-SINK-0000000007
      <-- KSTREAM-AGGREGATE-0000000004
    Sink: KSTREAM-SINK-0000000006 (topic: counts-out)
      <-- KTABLE-TOSTREAM-0000000005
    Sink: KSTREAM-SINK-0000000007 (extractor class: closure)
      <-- KTABLE-TOSTREAM-0000000005

";
        assert_eq!(describe(&counting()), wanted);
    }

    #[test]
    fn a_node_without_outputs_leads_to_none_and_larger_subtrees_stand_first() {
        let mut sample = Sample::default();
        let a = sample.source("a");
        let b = sample.source("b");
        let peek = sample.process("KSTREAM-PEEK", &[b], &[]);
        sample.process("KSTREAM-MERGE", &[a, peek], &[]);
        let text = describe(&sample.plan);
        let heads: Vec<&str> = text.lines().filter(|line| line.starts_with("    ")).collect();
        assert!(heads[0].contains("KSTREAM-SOURCE-0000000001 (topics: [b])"), "{text}");
        assert!(text.contains("      --> none\n      <-- KSTREAM-PEEK-0000000002, KSTREAM-SOURCE"));
    }

    #[test]
    fn the_drawing_frames_subtopologies_and_joins_them_by_topics() {
        let wanted = "\
flowchart TD
    subgraph s0[\"Sub-topology 0\"]
        n0[\"KSTREAM-SOURCE-0000000000\"]
        n1[\"KSTREAM-AGGREGATE-0000000001\"]
        n2[\"KSTREAM-SINK-0000000002\"]
        d0[(\"counts\")]
    end
    t0([\"in\"])
    t1([\"out\"])
    t0 --> n0
    n0 --> n1
    n1 --- d0
    n1 --> n2
    n2 --> t1
";
        let mut sample = Sample::default();
        sample.store("counts");
        let a = sample.source("in");
        let counted = sample.process("KSTREAM-AGGREGATE", &[a], &["counts"]);
        sample.sink("out", counted);
        assert_eq!(mermaid(&sample.plan), wanted);
    }

    #[test]
    fn rights_are_no_more_than_needed() {
        let config = Config::builder("app", "localhost:9092")
            .on_decode_error(ErrorPolicy::dead_letter("bad"))
            .build()
            .unwrap();
        let acls = required_acls(&counting(), &config);
        let shown: Vec<String> = acls.iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [
                "--operation Read --topic app-by-word-repartition",
                "--operation Write --topic app-by-word-repartition",
                "--operation Create --topic app-by-word-repartition",
                "--operation Delete --topic app-by-word-repartition",
                "--operation Describe --topic app-by-word-repartition",
                "--operation Read --topic app-counts-changelog",
                "--operation Write --topic app-counts-changelog",
                "--operation Create --topic app-counts-changelog",
                "--operation Describe --topic app-counts-changelog",
                "--operation Write --topic bad",
                "--operation Describe --topic bad",
                "--operation Write --topic counts-out",
                "--operation Describe --topic counts-out",
                "--operation Read --topic lines",
                "--operation Describe --topic lines",
                "--operation Read --group app",
                "--operation Describe --group app",
                "--operation Read --group app.close-all",
                "--operation Describe --group app.close-all",
                "--operation Write --transactional-id app- --resource-pattern-type prefixed",
                "--operation Describe --transactional-id app- --resource-pattern-type prefixed",
            ]
        );
    }
}
