//! What does it look like? The plan for people: as text and as a drawing.
//!
//! The text is in the form of Kafka Streams' `Topology#describe`, line by line, so that tools which
//! read that form read this one.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

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
}
