//! How many partitions? Counts of repartition topics, and whether topics that meet by key agree.
//!
//! Topics that meet in a node whose inputs must be co-partitioned form a class, and classes that
//! share a topic are one. In a class:
//!
//! 1. counts that are given (of the user's topics, or explicit at a repartition) must be equal,
//!    and the other repartitions adopt them;
//! 2. where none is given, all get the maximum of the source topics of the sub-topologies that
//!    write to them.
//!
//! Rule 2 may lead through other repartitions, also in a circle. It is applied until nothing
//! changes; counts only grow and are bounded by the given ones, so that ends. What is still
//! nothing then hangs on nothing but itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::plan::{NodeId, Plan, TopicRef};
use super::subtopology::Subtopology;
use crate::error::{TopologyError, TopologyErrors};

/// Partition counts of the user's topics, by name.
pub type PartitionCounts = BTreeMap<String, u32>;

/// The partition count of every topic that the plan reads.
///
/// # Errors
///
/// All topics that are missing, all that disagree and all repartitions without a count.
pub(super) fn partition_counts(
    plan: &Plan,
    parts: &[Subtopology],
    application_id: &str,
    external: &PartitionCounts,
) -> Result<BTreeMap<TopicRef, u32>, TopologyErrors> {
    let mut errors = Vec::new();
    let given = given_counts(plan, parts, external, &mut errors);
    let is_topic_missing = !errors.is_empty();
    let mut classes = classes(plan, parts);
    for class in &mut classes {
        class.adopt(&given, application_id, &mut errors);
    }
    derive(parts, &mut classes);
    // Without the user's topics nothing can be derived; saying so for each would only be noise.
    if !is_topic_missing {
        errors.extend(classes.iter().flat_map(Class::unknown_counts));
    }
    TopologyErrors::check(errors)?;
    let count_of = |class: Class| {
        let count = class.count;
        class.topics.into_iter().map(move |topic| (topic, count))
    };
    Ok(classes.into_iter().flat_map(count_of).collect())
}

/// Topics whose counts must be equal.
struct Class {
    topics: BTreeSet<TopicRef>,
    is_given: bool,
    /// 0 as long as it is unknown.
    count: u32,
}

impl Class {
    /// Takes the given count, and reports those that disagree with the first one.
    fn adopt(
        &mut self,
        given: &BTreeMap<TopicRef, u32>,
        application_id: &str,
        errors: &mut Vec<TopologyError>,
    ) {
        let mut counts = self.topics.iter().filter_map(|topic| Some((topic, *given.get(topic)?)));
        let Some((left, left_count)) = counts.next() else { return };
        for (right, right_count) in counts.filter(|(_, count)| *count != left_count) {
            errors.push(TopologyError::NotCopartitioned {
                left: left.resolve(application_id).to_string(),
                left_count,
                right: right.resolve(application_id).to_string(),
                right_count,
            });
        }
        self.is_given = true;
        self.count = left_count;
    }

    fn unknown_counts(&self) -> impl Iterator<Item = TopologyError> {
        self.topics.iter().filter(|_| self.count == 0).filter_map(|topic| match topic {
            TopicRef::Repartition(name) => {
                Some(TopologyError::UnknownPartitionCount { name: name.to_string() })
            }
            TopicRef::External(_) => None,
        })
    }
}

fn given_counts(
    plan: &Plan,
    parts: &[Subtopology],
    external: &PartitionCounts,
    errors: &mut Vec<TopologyError>,
) -> BTreeMap<TopicRef, u32> {
    let explicit = |repartition: &super::plan::RepartitionSpec| {
        Some((TopicRef::Repartition(Arc::clone(&repartition.name)), repartition.partitions?))
    };
    let mut given: BTreeMap<_, _> = plan.repartitions().iter().filter_map(explicit).collect();
    let topics: BTreeSet<_> = parts.iter().flat_map(|part| &part.source_topics).collect();
    for topic in topics {
        let TopicRef::External(name) = topic else { continue };
        match external.get(&**name).filter(|count| **count > 0) {
            Some(count) => _ = given.insert(topic.clone(), *count),
            None => errors.push(TopologyError::MissingTopic { topic: name.to_string() }),
        }
    }
    given
}

/// Every topic that is read, with those that it must agree with.
fn classes(plan: &Plan, parts: &[Subtopology]) -> Vec<Class> {
    let read = parts.iter().flat_map(|part| &part.source_topics);
    let alone = read.map(|topic| BTreeSet::from([topic.clone()]));
    let mut sets: Vec<BTreeSet<TopicRef>> = alone.collect();
    for node in plan.nodes().iter().filter(|node| node.copartitioned) {
        let meeting = topics_above(plan, node.id);
        let (touched, mut others): (Vec<_>, Vec<_>) =
            sets.into_iter().partition(|set| !set.is_disjoint(&meeting));
        others.push(touched.into_iter().flatten().collect());
        sets = others;
    }
    sets.retain(|set| !set.is_empty());
    sets.into_iter().map(|topics| Class { topics, is_given: false, count: 0 }).collect()
}

/// What the sources read from which a record can reach this node.
fn topics_above(plan: &Plan, node: NodeId) -> BTreeSet<TopicRef> {
    let mut seen = BTreeSet::from([node]);
    let mut open = vec![node];
    let mut topics = BTreeSet::new();
    while let Some(id) = open.pop() {
        let node = plan.node(id);
        topics.extend(node.source.iter().map(|source| source.topic.clone()));
        open.extend(node.inputs.iter().filter(|input| seen.insert(**input)));
    }
    topics
}

fn derive(parts: &[Subtopology], classes: &mut [Class]) {
    loop {
        let counts: BTreeMap<TopicRef, u32> = classes
            .iter()
            .flat_map(|class| class.topics.iter().map(|topic| (topic.clone(), class.count)))
            .collect();
        let mut has_changed = false;
        for class in classes.iter_mut().filter(|class| !class.is_given) {
            let derived = parts
                .iter()
                .filter(|part| is_written_by(&class.topics, part))
                .flat_map(|part| &part.source_topics)
                .filter_map(|topic| counts.get(topic).copied())
                .max()
                .unwrap_or(0);
            has_changed |= derived > class.count;
            class.count = class.count.max(derived);
        }
        if !has_changed {
            return;
        }
    }
}

fn is_written_by(topics: &BTreeSet<TopicRef>, part: &Subtopology) -> bool {
    let mut written = part.written_repartitions.iter();
    written.any(|name| topics.contains(&TopicRef::Repartition(Arc::clone(name))))
}

#[cfg(test)]
mod tests {
    use super::super::plan::SinkSpec;
    use super::super::sample::Sample;
    use super::super::subtopology::subtopologies;
    use super::*;

    fn counts(sample: &Sample, external: &[(&str, u32)]) -> Result<Vec<(String, u32)>, String> {
        let external = external.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        let parts = subtopologies(&sample.plan);
        let counts = partition_counts(&sample.plan, &parts, "app", &external);
        let named = |(topic, count): (TopicRef, u32)| (topic.resolve("app").to_string(), count);
        counts.map(|c| c.into_iter().map(named).collect()).map_err(|errors| errors.to_string())
    }

    fn named(counts: &[(&str, u32)]) -> Vec<(String, u32)> {
        counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    }

    #[test]
    fn a_repartition_gets_the_maximum_of_its_writers_sources() {
        let mut sample = Sample::default();
        let a = sample.source("a");
        let b = sample.source("b");
        let merged = sample.process("KSTREAM-MERGE", &[a, b], &[]);
        let first = sample.repartition("first", None, merged);
        sample.repartition("second", None, first);
        let wanted = named(&[
            ("a", 2),
            ("b", 5),
            ("app-first-repartition", 5),
            ("app-second-repartition", 5),
        ]);
        assert_eq!(counts(&sample, &[("a", 2), ("b", 5)]).unwrap(), wanted);
    }

    #[test]
    fn a_repartition_adopts_the_count_of_the_topic_it_meets() {
        let mut sample = Sample::default();
        let a = sample.source("a");
        let b = sample.source("b");
        let again = sample.repartition("again", None, a);
        sample.join(&[again, b]);
        let wanted = named(&[("a", 2), ("b", 5), ("app-again-repartition", 5)]);
        assert_eq!(counts(&sample, &[("a", 2), ("b", 5)]).unwrap(), wanted);
    }

    #[test]
    fn two_repartitions_that_meet_get_the_larger_count_unless_one_is_explicit() {
        for (explicit, wanted) in [(None, 5), (Some(3), 3)] {
            let mut sample = Sample::default();
            let a = sample.source("a");
            let b = sample.source("b");
            let left = sample.repartition("left", explicit, a);
            let right = sample.repartition("right", None, b);
            sample.join(&[left, right]);
            let counts = counts(&sample, &[("a", 2), ("b", 5)]).unwrap();
            let got: Vec<u32> = counts.iter().skip(2).map(|(_, count)| *count).collect();
            assert_eq!(got, [wanted, wanted]);
        }
    }

    #[test]
    fn all_mismatches_and_all_missing_topics_are_reported() {
        let mut sample = Sample::default();
        let [a, b, c] = ["a", "b", "c"].map(|topic| sample.source(topic));
        let again = sample.repartition("again", Some(4), c);
        sample.join(&[a, b]);
        sample.join(&[b, again]);
        sample.source("d");
        let problems = counts(&sample, &[("a", 2), ("b", 3)]).unwrap_err();
        let lines: Vec<&str> = problems.lines().collect();
        assert_eq!(lines.len(), 4, "{problems}");
        assert!(lines[0].starts_with("topic `c` does not exist"));
        assert!(lines[1].starts_with("topic `d` does not exist"));
        assert!(lines[2].starts_with("`a` has 2 partitions and `b` has 3"));
        assert!(lines[3].starts_with("`a` has 2 partitions and `app-again-repartition` has 4"));
    }

    #[test]
    fn a_loop_gets_its_count_from_outside_or_none() {
        let mut sample = Sample::default();
        let name: Arc<str> = "round".into();
        let a = sample.source("a");
        let again = sample.repartition("round", None, a);
        let back = SinkSpec::Topic(TopicRef::Repartition(Arc::clone(&name)));
        sample.write(back.clone(), again);
        let wanted = named(&[("a", 3), ("app-round-repartition", 3)]);
        assert_eq!(counts(&sample, &[("a", 3)]).unwrap(), wanted);

        let mut closed = Sample::default();
        closed.plan.add_repartition(super::super::plan::RepartitionSpec { name, partitions: None });
        let again = closed.read(TopicRef::Repartition("round".into()));
        closed.write(back, again);
        let problem = counts(&closed, &[]).unwrap_err();
        assert!(problem.contains("repartition `round` cannot be derived"), "{problem}");
    }
}
