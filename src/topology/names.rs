//! What is it called? Names of internal topics, and the check of every name that the user gave.
//!
//! Durable names are those that Kafka Streams gives where the user names stores and repartitions,
//! so an application can move over with its topics.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::plan::{Plan, SinkSpec, TopicRef};
use crate::config::is_topic_name;
use crate::error::{TopologyError, TopologyErrors};

/// The longest name a topic can have.
const TOPIC_NAME_MAX: usize = 249;

/// The group beside the application's whose offsets tell all its processes to close. No topic's
/// name begins with it and a `-`, as those of an application of that id would.
pub(crate) fn close_all_group(application_id: &str) -> String {
    format!("{application_id}.close-all")
}

/// The name of a store's changelog.
pub fn changelog_topic(application_id: &str, store: &str) -> String {
    format!("{application_id}-{store}-changelog")
}

/// The name of a repartition's topic.
pub fn repartition_topic(application_id: &str, name: &str) -> String {
    format!("{application_id}-{name}-repartition")
}

impl TopicRef {
    /// The topic's name in the log.
    pub fn resolve(&self, application_id: &str) -> Arc<str> {
        match self {
            Self::External(topic) => Arc::clone(topic),
            Self::Repartition(name) => repartition_topic(application_id, name).into(),
        }
    }
}

/// The user's topics that the plan reads, by name: these must exist before anything runs.
pub fn topics_read(plan: &Plan) -> Vec<String> {
    let sources = plan.nodes().iter().filter_map(|node| node.source.as_ref());
    external(sources.map(|source| &source.topic))
}

/// The user's topics that the plan is known to write, by name.
pub fn topics_written(plan: &Plan) -> Vec<String> {
    let sinks = plan.nodes().iter().filter_map(|node| match &node.sink {
        Some(SinkSpec::Topic(topic)) => Some(topic),
        Some(SinkSpec::Dynamic) | None => None,
    });
    external(sinks)
}

fn external<'a>(topics: impl Iterator<Item = &'a TopicRef>) -> Vec<String> {
    let names: BTreeSet<String> = topics
        .filter_map(|topic| match topic {
            TopicRef::External(name) => Some(name.to_string()),
            TopicRef::Repartition(_) => None,
        })
        .collect();
    names.into_iter().collect()
}

/// Checks every name of the plan.
///
/// # Errors
///
/// All problems there are, not only the first.
pub fn check_names(plan: &Plan) -> Result<(), TopologyErrors> {
    let mut errors = Vec::new();
    if plan.nodes().iter().all(|node| node.source.is_none()) {
        errors.push(TopologyError::Empty);
    }
    let stores = plan.stores().iter().map(|store| &*store.name);
    check_unique("store", stores, &mut errors);
    let repartitions = plan.repartitions().iter().map(|repartition| &*repartition.name);
    check_unique("repartition", repartitions, &mut errors);
    check_nodes(plan, &mut errors);
    check_processors(plan, &mut errors);
    check_read_once(plan, &mut errors);
    TopologyErrors::check(errors)
}

fn check_unique<'a>(
    what: &'static str,
    names: impl Iterator<Item = &'a str>,
    errors: &mut Vec<TopologyError>,
) {
    let mut taken = BTreeSet::new();
    for name in names {
        if !taken.insert(name) {
            errors.push(TopologyError::NameTaken { what, name: name.into() });
        } else if !is_topic_name(name) {
            errors.push(TopologyError::InvalidName { what, name: name.into() });
        }
    }
}

/// Processors and their outputs are told apart by name, in `describe` and in error messages.
fn check_processors(plan: &Plan, errors: &mut Vec<TopologyError>) {
    let processors = plan.nodes().iter().filter(|node| node.kind.starts_with("KSTREAM-PROCESS"));
    let mut taken = BTreeSet::new();
    for name in processors.filter_map(|node| node.name.as_deref()) {
        if !taken.insert(name) {
            errors.push(TopologyError::NameTaken { what: "processor", name: name.into() });
        }
    }
}

fn check_nodes(plan: &Plan, errors: &mut Vec<TopologyError>) {
    let known: BTreeSet<&str> = plan.stores().iter().map(|store| &*store.name).collect();
    for node in plan.nodes() {
        if let Some(name) = node.name.as_deref().filter(|name| !is_topic_name(name)) {
            errors.push(TopologyError::InvalidName { what: "processor", name: name.into() });
        }
        for store in node.stores.iter().filter(|store| !known.contains(&***store)) {
            let processor = node.to_string();
            errors.push(TopologyError::UnknownStore { processor, store: store.to_string() });
        }
    }
    let mut topics = topics_read(plan);
    topics.extend(topics_written(plan));
    let invalid: BTreeSet<String> =
        topics.into_iter().filter(|topic| !is_external_topic_name(topic)).collect();
    errors
        .extend(invalid.into_iter().map(|name| TopologyError::InvalidName { what: "topic", name }));
}

/// Brokers take longer names than those that become a part of one.
fn is_external_topic_name(name: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    !matches!(name, "" | "." | "..") && name.len() <= TOPIC_NAME_MAX && name.chars().all(legal)
}

fn check_read_once(plan: &Plan, errors: &mut Vec<TopologyError>) {
    let mut read = BTreeSet::new();
    let mut twice = BTreeSet::new();
    for source in plan.nodes().iter().filter_map(|node| node.source.as_ref()) {
        if !read.insert(&source.topic) {
            twice.insert(&source.topic);
        }
    }
    errors.extend(twice.into_iter().map(|topic| {
        let topic = match topic {
            TopicRef::External(name) => name.to_string(),
            TopicRef::Repartition(name) => format!("{name}-repartition"),
        };
        TopologyError::TopicReadTwice { topic }
    }));
}

/// Refuses the name of an internal topic that is longer than brokers take.
pub(super) fn check_length(topic: &str, errors: &mut Vec<TopologyError>) {
    if topic.len() > TOPIC_NAME_MAX {
        errors.push(TopologyError::TopicNameTooLong { topic: topic.into(), length: topic.len() });
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::Sample;
    use super::*;

    fn problems(plan: &Plan) -> Vec<String> {
        let errors = check_names(plan).err().map(|errors| errors.0).unwrap_or_default();
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_sound_plan_passes() {
        let mut sample = Sample::default();
        sample.store("counts");
        let a = sample.source("a");
        let again = sample.repartition("by-user", None, a);
        sample.process("KSTREAM-AGGREGATE", &[again], &["counts"]);
        assert_eq!(problems(&sample.plan), [""; 0]);
        assert_eq!(topics_read(&sample.plan), ["a"]);
    }

    #[test]
    fn an_empty_plan_is_refused() {
        assert!(matches!(check_names(&Plan::default()).unwrap_err().0[..], [TopologyError::Empty]));
    }

    #[test]
    fn all_problems_are_reported_at_once() {
        let mut sample = Sample::default();
        sample.store("counts").store("counts").store("no/path");
        let a = sample.source("a");
        let again = sample.source("a");
        sample.process("KSTREAM-PROCESSOR", &[a, again], &["missing"]);
        sample.repartition("by-user", None, a);
        sample.repartition("by-user", None, a);
        sample.sink("not a topic", a);
        let problems = problems(&sample.plan);
        let wanted = [
            "`counts` is used by two stores",
            "`no/path` is no valid store name",
            "`by-user` is used by two repartitions",
            "`KSTREAM-PROCESSOR-0000000002` uses store `missing`",
            "`not a topic` is no valid topic name",
            "topic `a` is read twice",
            "topic `by-user-repartition` is read twice",
        ];
        assert_eq!(problems.len(), wanted.len(), "{problems:#?}");
        for (problem, wanted) in problems.iter().zip(wanted) {
            assert!(problem.contains(wanted), "{problem} should hold {wanted}");
        }
    }

    #[test]
    fn internal_topics_carry_the_names_of_kafka_streams() {
        assert_eq!(changelog_topic("app", "counts"), "app-counts-changelog");
        let repartition = TopicRef::Repartition("by-user".into());
        assert_eq!(&*repartition.resolve("app"), "app-by-user-repartition");
        assert_eq!(&*TopicRef::External("a".into()).resolve("app"), "a");
    }
}
