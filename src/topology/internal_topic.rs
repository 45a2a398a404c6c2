//! Which tasks and topics are there? The plan, made definite by names, settings and counts.
//!
//! # Invariants
//!
//! - A sub-topology has as many tasks as its largest source topic has partitions. That topic leads:
//!   the group shares its partitions out, and with each goes the task of the same number.
//! - A changelog has one partition per task of the sub-topology that holds its store.
//! - No two sub-topologies have one leading topic, since no topic is read twice.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::copartition::{PartitionCounts, partition_counts};
use super::names::{changelog_topic, check_length, check_names, repartition_topic};
use super::plan::{NodeId, Plan, RepartitionSpec, StoreKind, StoreSpec, TopicRef};
use super::subtopology::{Subtopology, SubtopologyId, TaskId, subtopologies};
use crate::config::Config;
use crate::error::{TopologyError, TopologyErrors};
use crate::log::{NewTopic, TopicInfo, TopicPartition};

/// A topic that a sub-topology reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceTopic {
    /// The node that reads it.
    pub node: NodeId,
    /// Its name in the log.
    pub topic: Arc<str>,
    /// How many partitions it has.
    pub partitions: u32,
}

/// The changelog of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changelog {
    /// The store.
    pub store: Arc<str>,
    /// The name of its changelog in the log.
    pub topic: Arc<str>,
    /// How many partitions it has.
    pub partitions: u32,
}

/// A sub-topology with its tasks and topics.
#[derive(Clone, Debug)]
pub struct SubtopologyLayout {
    /// Its nodes and stores.
    pub subtopology: Subtopology,
    /// How many tasks there are.
    pub tasks: u32,
    /// What it reads, in the order of its sources.
    pub sources: Vec<SourceTopic>,
    /// The topic with the most partitions; of several, the first by name.
    pub leading_topic: Arc<str>,
    /// The changelogs of those of its stores that have one, in the order of the stores.
    pub changelogs: Vec<Changelog>,
}

/// All tasks and topics of an application.
#[derive(Clone, Debug)]
pub struct Layout {
    subtopologies: Vec<SubtopologyLayout>,
    internal_topics: Vec<NewTopic>,
}

impl Layout {
    /// Makes the plan definite. `counts` are those of the topics of [`super::topics_read`].
    ///
    /// # Errors
    ///
    /// Everything that keeps the pipeline from running.
    pub fn new(
        plan: &Plan,
        config: &Config,
        counts: &PartitionCounts,
    ) -> Result<Self, TopologyErrors> {
        check_names(plan)?;
        let application_id = &config.application_id;
        let parts = subtopologies(plan);
        let counts = partition_counts(plan, &parts, application_id, counts)?;
        let subtopologies: Vec<_> = parts
            .into_iter()
            .filter(|part| !part.sources.is_empty())
            .map(|part| SubtopologyLayout::new(part, plan, application_id, &counts))
            .collect();
        let internal_topics = internal_topics(plan, config, &counts, &subtopologies);
        let mut errors = Vec::new();
        for topic in &internal_topics {
            check_length(&topic.name, &mut errors);
        }
        TopologyErrors::check(errors)?;
        Ok(Self { subtopologies, internal_topics })
    }

    /// The sub-topologies that read something, by number.
    pub fn subtopologies(&self) -> &[SubtopologyLayout] {
        &self.subtopologies
    }

    /// One sub-topology.
    pub fn subtopology(&self, id: SubtopologyId) -> Option<&SubtopologyLayout> {
        self.subtopologies.iter().find(|part| part.subtopology.id == id)
    }

    /// The topics that millstream creates: repartitions in the order of the plan, then changelogs.
    pub fn internal_topics(&self) -> &[NewTopic] {
        &self.internal_topics
    }

    /// Compares what the log says of [`Self::internal_topics`], in their order, and returns those
    /// that do not exist yet.
    ///
    /// # Errors
    ///
    /// Every topic that has another number of partitions than it must have.
    pub fn check_existing(
        &self,
        existing: &[Option<TopicInfo>],
    ) -> Result<Vec<NewTopic>, TopologyErrors> {
        assert_eq!(existing.len(), self.internal_topics.len(), "one answer stands for each topic");
        let mut missing = Vec::new();
        let mut errors = Vec::new();
        for (topic, existing) in self.internal_topics.iter().zip(existing) {
            match existing {
                None => missing.push(topic.clone()),
                Some(info) if info.partitions == topic.partitions => {}
                Some(info) => errors.push(TopologyError::InternalTopicMismatch {
                    topic: topic.name.clone(),
                    found: info.partitions,
                    expected: topic.partitions,
                }),
            }
        }
        TopologyErrors::check(errors)?;
        Ok(missing)
    }

    /// Compares the settings of those of [`Self::internal_topics`] that exist, by name.
    pub fn check_settings(&self, existing: &BTreeMap<String, Settings>) -> Vec<TopologyError> {
        let found = |topic: &NewTopic| Some((topic.clone(), existing.get(&topic.name)?));
        let pairs = self.internal_topics.iter().filter_map(found);
        pairs.filter_map(|(topic, found)| setting_problem(&topic, found)).collect()
    }

    /// The topics whose partitions the group shares out, by sub-topology.
    pub fn leading_topics(&self) -> Vec<Arc<str>> {
        self.subtopologies.iter().map(|part| Arc::clone(&part.leading_topic)).collect()
    }

    /// The partition that stands for a task in the group.
    pub fn leading_partition(&self, task: TaskId) -> Option<TopicPartition> {
        let part = self.subtopology(task.subtopology).filter(|part| task.partition < part.tasks)?;
        Some(TopicPartition::new(Arc::clone(&part.leading_topic), task.partition))
    }

    /// The task that a partition of a leading topic stands for.
    pub fn task_of(&self, leading: &TopicPartition) -> Option<TaskId> {
        let part = self.subtopologies.iter().find(|part| part.leading_topic == leading.topic)?;
        let task = TaskId::new(part.subtopology.id, leading.partition);
        (leading.partition < part.tasks).then_some(task)
    }

    /// All tasks, ascending.
    pub fn task_ids(&self) -> Vec<TaskId> {
        let tasks_of = |part: &SubtopologyLayout| {
            let id = part.subtopology.id;
            (0..part.tasks).map(move |partition| TaskId::new(id, partition))
        };
        self.subtopologies.iter().flat_map(tasks_of).collect()
    }

    /// What a task reads: its partition of each source topic that has it.
    pub fn partitions_of(&self, task: TaskId) -> Vec<TopicPartition> {
        let sources = self.subtopology(task.subtopology).map_or(&[][..], |part| &part.sources);
        let has_it = sources.iter().filter(|source| task.partition < source.partitions);
        has_it
            .map(|source| TopicPartition::new(Arc::clone(&source.topic), task.partition))
            .collect()
    }
}

impl SubtopologyLayout {
    fn new(
        subtopology: Subtopology,
        plan: &Plan,
        application_id: &str,
        counts: &BTreeMap<TopicRef, u32>,
    ) -> Self {
        let source = |(node, topic): (&NodeId, &TopicRef)| SourceTopic {
            node: *node,
            topic: topic.resolve(application_id),
            partitions: *counts.get(topic).expect("every topic that is read has a count"),
        };
        let read = subtopology.sources.iter().zip(&subtopology.source_topics);
        let sources: Vec<SourceTopic> = read.map(source).collect();
        let by_count_then_name = |left: &&SourceTopic, right: &&SourceTopic| {
            left.partitions.cmp(&right.partitions).then_with(|| right.topic.cmp(&left.topic))
        };
        let leading = sources.iter().max_by(by_count_then_name).expect("it has sources");
        let (tasks, leading_topic) = (leading.partitions, Arc::clone(&leading.topic));
        let stores = plan.stores().iter().filter(|store| store.changelog);
        let changelogs = stores
            .filter(|store| subtopology.stores.contains(&store.name))
            .map(|store| Changelog {
                store: Arc::clone(&store.name),
                topic: changelog_topic(application_id, &store.name).into(),
                partitions: tasks,
            })
            .collect();
        Self { subtopology, tasks, sources, leading_topic, changelogs }
    }
}

fn internal_topics(
    plan: &Plan,
    config: &Config,
    counts: &BTreeMap<TopicRef, u32>,
    subtopologies: &[SubtopologyLayout],
) -> Vec<NewTopic> {
    let repartition = |spec: &RepartitionSpec| {
        let partitions = *counts.get(&TopicRef::Repartition(Arc::clone(&spec.name)))?;
        let name = repartition_topic(&config.application_id, &spec.name);
        let replication = config.replication;
        Some(NewTopic { name, partitions, replication, configs: repartition_configs() })
    };
    let changelog = |changelog: &Changelog| {
        let store = plan.stores().iter().find(|store| store.name == changelog.store);
        let store = store.expect("a changelog belongs to a store of the plan");
        NewTopic {
            name: changelog.topic.to_string(),
            partitions: changelog.partitions,
            replication: config.replication,
            configs: changelog_configs(store, config.changelog_additional_retention),
        }
    };
    let changelogs = subtopologies.iter().flat_map(|part| &part.changelogs);
    let repartitions = plan.repartitions().iter().filter_map(repartition);
    repartitions.chain(changelogs.map(changelog)).collect()
}

/// The settings of a topic, by name.
pub(crate) type Settings = BTreeMap<String, String>;

/// The setting of an existing topic under which records would be lost, if there is one.
fn setting_problem(topic: &NewTopic, found: &Settings) -> Option<TopologyError> {
    let wanted: BTreeMap<&str, &str> =
        topic.configs.iter().map(|(name, value)| (&**name, &**value)).collect();
    let problem = |setting: &str, found: &str, expected: String| {
        let (setting, found) = (setting.to_owned(), found.to_owned());
        Some(TopologyError::InternalTopicSetting {
            topic: topic.name.clone(),
            setting,
            found,
            expected,
        })
    };
    let (wanted_policy, policy) =
        (*wanted.get("cleanup.policy")?, found.get("cleanup.policy")?.as_str());
    let foreign = policy.split(',').map(str::trim).find(|part| !wanted_policy.contains(part));
    if foreign.is_some() {
        return problem("cleanup.policy", policy, format!("`{wanted_policy}`"));
    }
    let kept = |settings: Option<&str>| settings.and_then(|millis| millis.parse::<i64>().ok());
    let wanted_millis = kept(wanted.get("retention.ms").copied())?;
    let found_millis = kept(found.get("retention.ms").map(String::as_str))?;
    let is_deleted = policy.contains("delete");
    let is_shorter = found_millis >= 0 && (wanted_millis < 0 || found_millis < wanted_millis);
    if is_deleted && is_shorter {
        let expected = format!("`{wanted_millis}` or more");
        return problem("retention.ms", &found_millis.to_string(), expected);
    }
    None
}

fn repartition_configs() -> Vec<(String, String)> {
    [
        ("cleanup.policy", "delete"),
        ("message.timestamp.type", "CreateTime"),
        // Records are deleted once they are committed, never by age: an application that was down
        // for long must find them.
        ("retention.ms", "-1"),
        ("segment.bytes", "52428800"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}

/// Sorted by name; what the user set wins.
fn changelog_configs(store: &StoreSpec, additional: Duration) -> Vec<(String, String)> {
    let mut configs = BTreeMap::from([
        ("cleanup.policy".to_owned(), "compact".to_owned()),
        ("message.timestamp.type".to_owned(), "CreateTime".to_owned()),
    ]);
    let kept =
        |retention| store.changelog_retention.unwrap_or(retention).saturating_add(additional);
    match store.kind {
        StoreKind::KeyValue => {}
        StoreKind::Window { retention, retain_duplicates } => {
            // Where each row has a number of its own, there is nothing to compact.
            let policy = if retain_duplicates { "delete" } else { "compact,delete" };
            configs.extend(kept_for(kept(retention), policy));
        }
        StoreKind::Session { retention } => {
            configs.extend(kept_for(kept(retention), "compact,delete"));
        }
    }
    configs.extend(store.changelog_configs.iter().cloned());
    configs.into_iter().collect()
}

fn kept_for(time: Duration, policy: &str) -> [(String, String); 2] {
    let millis = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    [("cleanup.policy", policy), ("retention.ms", &millis.to_string())]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::super::sample::Sample;
    use super::*;

    fn layout(sample: &Sample, counts: &[(&str, u32)]) -> Layout {
        let config = Config::builder("app", "localhost:9092").replication(3).build().unwrap();
        let counts = counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        Layout::new(&sample.plan, &config, &counts).unwrap()
    }

    fn counting() -> Sample {
        let mut sample = Sample::default();
        let retention = Duration::from_secs(60);
        sample.store("totals").window_store("windows", retention);
        sample.add_store(
            "kept",
            StoreKind::Session { retention },
            &[("retention.ms", "5"), ("min.insync.replicas", "2")],
        );
        let b = sample.source("b");
        let a = sample.source("a");
        let merged = sample.process("KSTREAM-MERGE", &[b, a], &["totals"]);
        let again = sample.repartition("by-user", Some(2), merged);
        sample.process("KSTREAM-AGGREGATE", &[again], &["windows", "kept"]);
        sample
    }

    #[test]
    fn the_largest_source_topic_leads_and_gives_the_tasks() {
        let sample = counting();
        let unequal = layout(&sample, &[("a", 2), ("b", 3)]);
        assert_eq!(unequal.leading_topics(), ["b".into(), "app-by-user-repartition".into()]);
        let shown: Vec<String> = unequal.task_ids().iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["0_0", "0_1", "0_2", "1_0", "1_1"]);

        let partitions = |task: &str| -> Vec<String> {
            let partitions = unequal.partitions_of(task.parse().unwrap());
            partitions.iter().map(ToString::to_string).collect()
        };
        assert_eq!(partitions("0_1"), ["b-1", "a-1"]);
        assert_eq!(partitions("0_2"), ["b-2"]);
        assert_eq!(partitions("1_1"), ["app-by-user-repartition-1"]);
        assert!(partitions("0_3").is_empty() && partitions("7_0").is_empty());

        let equal = layout(&sample, &[("a", 3), ("b", 3)]);
        assert_eq!(equal.leading_topics()[0], "a".into());
    }

    #[test]
    fn a_task_and_its_leading_partition_stand_for_each_other() {
        let layout = layout(&counting(), &[("a", 2), ("b", 3)]);
        for task in layout.task_ids() {
            let leading = layout.leading_partition(task).unwrap();
            assert_eq!(layout.task_of(&leading), Some(task));
        }
        assert_eq!(layout.task_of(&TopicPartition::new("a", 0)), None);
        assert_eq!(layout.task_of(&TopicPartition::new("b", 3)), None);
    }

    #[test]
    fn internal_topics_are_made_as_kafka_streams_makes_them() {
        let layout = layout(&counting(), &[("a", 2), ("b", 3)]);
        let shown: Vec<String> = layout.internal_topics().iter().map(show).collect();
        assert_eq!(
            shown,
            [
                "app-by-user-repartition 2 cleanup.policy=delete message.timestamp.type=CreateTime \
                 retention.ms=-1 segment.bytes=52428800",
                "app-totals-changelog 3 cleanup.policy=compact message.timestamp.type=CreateTime",
                "app-windows-changelog 2 cleanup.policy=compact,delete \
                 message.timestamp.type=CreateTime retention.ms=86460000",
                "app-kept-changelog 2 cleanup.policy=compact,delete \
                 message.timestamp.type=CreateTime min.insync.replicas=2 retention.ms=5",
            ]
        );
        assert!(layout.internal_topics().iter().all(|topic| topic.replication == Some(3)));
    }

    #[test]
    fn rows_that_are_kept_side_by_side_are_deleted_by_age_alone() {
        let mut sample = Sample::default();
        let retention = Duration::from_secs(60);
        sample.add_store("pairs", StoreKind::Window { retention, retain_duplicates: true }, &[]);
        let a = sample.source("a");
        sample.process("KSTREAM-JOINTHIS", &[a], &["pairs"]);
        let layout = layout(&sample, &[("a", 1)]);
        assert_eq!(
            show(&layout.internal_topics()[0]),
            "app-pairs-changelog 1 cleanup.policy=delete message.timestamp.type=CreateTime \
             retention.ms=86460000"
        );
    }

    fn show(topic: &NewTopic) -> String {
        let configs = topic.configs.iter().map(|(name, value)| format!(" {name}={value}"));
        format!("{} {}{}", topic.name, topic.partitions, configs.collect::<String>())
    }

    #[test]
    fn existing_topics_are_kept_or_refused_and_missing_ones_returned() {
        let layout = layout(&counting(), &[("a", 2), ("b", 3)]);
        let info = |index: usize, partitions: u32| {
            Some(TopicInfo { name: layout.internal_topics()[index].name.clone(), partitions })
        };
        let missing = layout.check_existing(&[info(0, 2), None, info(2, 2), None]).unwrap();
        let names: Vec<&str> = missing.iter().map(|topic| &*topic.name).collect();
        assert_eq!(names, ["app-totals-changelog", "app-kept-changelog"]);

        let refused = layout.check_existing(&[info(0, 4), info(1, 1), None, None]).unwrap_err();
        let lines: Vec<String> = refused.0.iter().map(ToString::to_string).collect();
        assert!(lines[0].starts_with("internal topic `app-by-user-repartition` has 4 partitions"));
        assert!(lines[1].contains("has 1 partitions where 3 are needed"));
    }

    #[test]
    fn too_long_a_topic_name_is_refused() {
        let mut sample = Sample::default();
        let store = "s".repeat(200);
        sample.store(&store);
        let a = sample.source("a");
        sample.process("KSTREAM-AGGREGATE", &[a], &[&store]);
        let config = Config::builder("a".repeat(60), "localhost:9092").build().unwrap();
        let counts = PartitionCounts::from([("a".to_owned(), 1)]);
        let refused = Layout::new(&sample.plan, &config, &counts).unwrap_err();
        assert!(matches!(refused.0[..], [TopologyError::TopicNameTooLong { length: 271, .. }]));
    }
}
