//! What must the cluster allow the application's principal?

use std::fmt;

use super::describe::dead_letter_topics;
use super::names::{
    changelog_topic, close_all_group, repartition_topic, topics_read, topics_written,
};
use super::plan::Plan;
use crate::config::Config;
use crate::log::TopicRights;

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
    /// Looking at its settings.
    DescribeConfigs,
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

/// Exactly the rights without which the application does not run, sorted: with any of them taken
/// away it ends with an error that names what is missing. Topics that are chosen for each record
/// cannot be known and are not listed: it must be allowed to `Write` to them.
///
/// `Describe` is not listed, since Kafka derives it from each of these; an authorizer of another
/// make may want it granted. Brokers before 2.8 want `IdempotentWrite` on the cluster as well.
pub fn required_acls(plan: &Plan, config: &Config) -> Vec<Acl> {
    use AclOperation::{Create, Delete, Read, Write};
    use AclResource::{Group, Topic, TransactionalId};

    let id = &config.application_id;
    let mut acls = Vec::new();
    for topic in topics_read(plan) {
        acls.push(Acl::on(Topic, topic, Read));
    }
    for topic in topics_written(plan).into_iter().chain(dead_letter_topics(plan, config)) {
        acls.push(Acl::on(Topic, topic, Write));
    }
    for repartition in plan.repartitions() {
        let topic = repartition_topic(id, &repartition.name);
        let rights = [Create, Read, Write, Delete];
        acls.extend(rights.map(|right| Acl::on(Topic, topic.clone(), right)));
    }
    for store in plan.stores().iter().filter(|store| store.changelog) {
        let topic = changelog_topic(id, &store.name);
        acls.extend([Create, Read, Write].map(|right| Acl::on(Topic, topic.clone(), right)));
    }
    acls.push(Acl::on(Group, id.clone(), Read));
    if config.is_exactly_once() {
        let ids = Acl::on(TransactionalId, format!("{id}-"), Write);
        acls.push(Acl { is_prefix: true, ..ids });
    }
    acls.sort();
    acls.dedup();
    acls
}

/// Rights without which the application runs, with less than it could do, sorted:
///
/// - `DescribeConfigs` on the topics that it writes to. With it, a start checks the settings of
///   internal topics and the kinds of stores by them, and a record is known to be too large before
///   it is sent. Without it, a warning is logged.
/// - `Read` on the group by which all processes of the application close together
///   ([`FailureAction::CloseAll`](crate::FailureAction::CloseAll)).
pub fn optional_acls(plan: &Plan, config: &Config) -> Vec<Acl> {
    use AclOperation::{DescribeConfigs, Read, Write};

    let required = required_acls(plan, config);
    let is_written = |acl: &&Acl| acl.resource == AclResource::Topic && acl.operation == Write;
    let written = required.iter().filter(is_written);
    let mut acls: Vec<Acl> =
        written.map(|acl| Acl { operation: DescribeConfigs, ..acl.clone() }).collect();
    let close_all = close_all_group(&config.application_id);
    acls.push(Acl::on(AclResource::Group, close_all, Read));
    acls.sort();
    acls
}

impl Acl {
    const fn on(resource: AclResource, name: String, operation: AclOperation) -> Self {
        Self { resource, name, is_prefix: false, operation }
    }
}

/// Those of these rights that the application has been given by no one, going by what the log says
/// of a topic.
pub(crate) fn missing_rights<'a>(
    required: &'a [Acl],
    topic: &str,
    rights: TopicRights,
) -> impl Iterator<Item = &'a Acl> {
    let of_topic = move |acl: &&Acl| acl.resource == AclResource::Topic && acl.name == topic;
    required.iter().filter(of_topic).filter(move |acl| match acl.operation {
        AclOperation::Read => !rights.read,
        AclOperation::Write => !rights.write,
        AclOperation::Delete => !rights.delete,
        // The topic is there, and its description was given.
        AclOperation::Create | AclOperation::Describe | AclOperation::DescribeConfigs => false,
    })
}

/// Rights as an error names them.
pub(crate) fn shown<'a>(rights: impl Iterator<Item = &'a Acl>) -> String {
    rights.map(|right| format!("`{right}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::plan::SinkSpec;
    use super::super::sample::Sample;
    use super::*;
    use crate::config::ErrorPolicy;

    fn plan() -> Plan {
        let mut sample = Sample::default();
        sample.store("counts");
        let a = sample.source("lines");
        let again = sample.repartition("by-word", None, a);
        let counts = sample.process("KSTREAM-AGGREGATE", &[again], &["counts"]);
        sample.sink("counts-out", counts);
        sample.write(SinkSpec::Dynamic, counts);
        sample.plan
    }

    #[test]
    fn rights_are_no_more_than_needed() {
        let config = Config::builder("app", "localhost:9092")
            .on_decode_error(ErrorPolicy::dead_letter("bad"))
            .build()
            .unwrap();
        let shown = |acls: Vec<Acl>| acls.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            shown(required_acls(&plan(), &config)),
            [
                "--operation Read --topic app-by-word-repartition",
                "--operation Write --topic app-by-word-repartition",
                "--operation Create --topic app-by-word-repartition",
                "--operation Delete --topic app-by-word-repartition",
                "--operation Read --topic app-counts-changelog",
                "--operation Write --topic app-counts-changelog",
                "--operation Create --topic app-counts-changelog",
                "--operation Write --topic bad",
                "--operation Write --topic counts-out",
                "--operation Read --topic lines",
                "--operation Read --group app",
                "--operation Write --transactional-id app- --resource-pattern-type prefixed",
            ]
        );
        assert_eq!(
            shown(optional_acls(&plan(), &config)),
            [
                "--operation DescribeConfigs --topic app-by-word-repartition",
                "--operation DescribeConfigs --topic app-counts-changelog",
                "--operation DescribeConfigs --topic bad",
                "--operation DescribeConfigs --topic counts-out",
                "--operation Read --group app.close-all",
            ]
        );
    }

    #[test]
    fn a_right_is_missing_where_the_log_does_not_list_it() {
        let config = Config::builder("app", "localhost:9092").build().unwrap();
        let required = required_acls(&plan(), &config);
        let topic = "app-by-word-repartition";
        let missing = |rights| -> Vec<AclOperation> {
            missing_rights(&required, topic, rights).map(|acl| acl.operation).collect()
        };
        let all = TopicRights { read: true, write: true, delete: true };
        assert!(missing(all).is_empty());
        assert_eq!(missing(TopicRights { delete: false, ..all }), [AclOperation::Delete]);
        let none = TopicRights::default();
        assert_eq!(missing(none), [AclOperation::Read, AclOperation::Write, AclOperation::Delete]);
        assert_eq!(missing_rights(&required, "elsewhere", none).count(), 0);
    }
}
