//! What does a pipeline look like? Golden texts of `describe`, and what follows from the same plan.
//!
//! The texts have the form of Kafka Streams' `Topology#describe`, down to its indentation: the
//! first sub-topology stands three blanks in, each further one two. Numbers are ours, since they
//! count the nodes of a plan, where Kafka Streams counts stores and repartitions with them.

use std::collections::BTreeMap;

use millstream::topology::{Layout, TaskId, required_acls, topics_read, topics_written};
use millstream::{Config, StreamsBuilder, Topic, Topology};

fn lines() -> Topic<String, String> {
    Topic::plain("lines")
}

fn word_count() -> Topology {
    let builder = StreamsBuilder::new();
    let words = |line: String| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    builder
        .stream(&lines())
        .flat_map_values(words)
        .group_by(|_, word| word.clone())
        .count("counts")
        .to(&Topic::plain("counts-out"));
    builder.build().expect("a valid pipeline")
}

#[test]
fn a_regrouped_count_runs_as_two_subtopologies() {
    let wanted = "\
Topologies:
   Sub-topology: 0
    Source: KSTREAM-SOURCE-0000000000 (topics: [lines])
      --> KSTREAM-FLATMAPVALUES-0000000001
    Processor: KSTREAM-FLATMAPVALUES-0000000001 (stores: [])
      --> KSTREAM-KEY-SELECT-0000000002
      <-- KSTREAM-SOURCE-0000000000
    Processor: KSTREAM-KEY-SELECT-0000000002 (stores: [])
      --> KSTREAM-SINK-0000000003
      <-- KSTREAM-FLATMAPVALUES-0000000001
    Sink: KSTREAM-SINK-0000000003 (topic: counts-repartition)
      <-- KSTREAM-KEY-SELECT-0000000002

  Sub-topology: 1
    Source: KSTREAM-SOURCE-0000000004 (topics: [counts-repartition])
      --> KSTREAM-AGGREGATE-0000000005
    Processor: KSTREAM-AGGREGATE-0000000005 (stores: [counts])
      --> KSTREAM-SINK-0000000006
      <-- KSTREAM-SOURCE-0000000004
    Sink: KSTREAM-SINK-0000000006 (topic: counts-out)
      <-- KSTREAM-AGGREGATE-0000000005

";
    assert_eq!(word_count().describe(), wanted);
}

#[test]
fn a_count_by_the_same_key_runs_as_one() {
    let builder = StreamsBuilder::new();
    let lines = builder.stream(&lines()).filter(|_, line| !line.is_empty());
    lines.group_by_key().count("counts").to(&Topic::plain("counts-out"));
    let wanted = "\
Topologies:
   Sub-topology: 0
    Source: KSTREAM-SOURCE-0000000000 (topics: [lines])
      --> KSTREAM-FILTER-0000000001
    Processor: KSTREAM-FILTER-0000000001 (stores: [])
      --> KSTREAM-AGGREGATE-0000000002
      <-- KSTREAM-SOURCE-0000000000
    Processor: KSTREAM-AGGREGATE-0000000002 (stores: [counts])
      --> KSTREAM-SINK-0000000003
      <-- KSTREAM-FILTER-0000000001
    Sink: KSTREAM-SINK-0000000003 (topic: counts-out)
      <-- KSTREAM-AGGREGATE-0000000002

";
    assert_eq!(builder.build().unwrap().describe(), wanted);
}

#[test]
fn a_stream_used_twice_leads_to_both() {
    let builder = StreamsBuilder::new();
    let lines = builder.stream(&lines());
    lines.filter(|_, line| line.starts_with('a')).to(&Topic::plain("a"));
    lines.to(&Topic::plain("all"));
    let wanted = "\
Topologies:
   Sub-topology: 0
    Source: KSTREAM-SOURCE-0000000000 (topics: [lines])
      --> KSTREAM-FILTER-0000000001, KSTREAM-SINK-0000000003
    Processor: KSTREAM-FILTER-0000000001 (stores: [])
      --> KSTREAM-SINK-0000000002
      <-- KSTREAM-SOURCE-0000000000
    Sink: KSTREAM-SINK-0000000002 (topic: a)
      <-- KSTREAM-FILTER-0000000001
    Sink: KSTREAM-SINK-0000000003 (topic: all)
      <-- KSTREAM-SOURCE-0000000000

";
    assert_eq!(builder.build().unwrap().describe(), wanted);
}

#[test]
fn a_drawing_shows_topics_operators_and_stores() {
    let wanted = "\
flowchart TD
    subgraph s0[\"Sub-topology 0\"]
        n0[\"KSTREAM-SOURCE-0000000000\"]
        n1[\"KSTREAM-FLATMAPVALUES-0000000001\"]
        n2[\"KSTREAM-KEY-SELECT-0000000002\"]
        n3[\"KSTREAM-SINK-0000000003\"]
    end
    subgraph s1[\"Sub-topology 1\"]
        n4[\"KSTREAM-SOURCE-0000000004\"]
        n5[\"KSTREAM-AGGREGATE-0000000005\"]
        n6[\"KSTREAM-SINK-0000000006\"]
        d0[(\"counts\")]
    end
    t0([\"lines\"])
    t1([\"counts-repartition\"])
    t2([\"counts-out\"])
    t0 --> n0
    n0 --> n1
    n1 --> n2
    n2 --> n3
    n3 --> t1
    t1 --> n4
    n4 --> n5
    n5 --- d0
    n5 --> n6
    n6 --> t2
";
    assert_eq!(word_count().mermaid(), wanted);
}

#[test]
fn the_same_plan_gives_tasks_topics_and_rights() {
    let topology = word_count();
    let plan = topology.plan();
    assert_eq!(topics_read(plan), ["lines"]);
    assert_eq!(topics_written(plan), ["counts-out"]);

    let config = Config::builder("words", "localhost:9092").build().unwrap();
    let counts = BTreeMap::from([("lines".to_owned(), 2)]);
    let layout = Layout::new(plan, &config, &counts).unwrap();
    let tasks: Vec<String> = layout.task_ids().iter().map(TaskId::to_string).collect();
    assert_eq!(tasks, ["0_0", "0_1", "1_0", "1_1"]);
    let topics: Vec<&str> = layout.internal_topics().iter().map(|topic| &*topic.name).collect();
    assert_eq!(topics, ["words-counts-repartition", "words-counts-changelog"]);
    let rights = required_acls(plan, &config);
    assert!(rights.iter().any(|right| {
        right.to_string() == "--operation Delete --topic words-counts-repartition"
    }));
}

#[test]
fn everything_wrong_with_the_topics_is_said_at_once() {
    let topology = word_count();
    let config = Config::builder("words", "localhost:9092").build().unwrap();
    let refused = Layout::new(topology.plan(), &config, &BTreeMap::new()).unwrap_err();
    let wanted = "topic `lines` does not exist; create it before the application starts";
    assert_eq!(refused.to_string(), wanted);
}
