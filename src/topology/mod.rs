//! What will run? The plan of a pipeline, and what follows from it.
//!
//! Everything here is derived from the [`Plan`], the settings and the partition counts of the
//! user's topics; nothing talks to a log.

mod acl;
mod copartition;
mod describe;
mod internal_topic;
mod kept_store;
mod names;
pub mod plan;
mod subtopology;

#[cfg(test)]
mod sample;

pub use acl::{Acl, AclOperation, AclResource, optional_acls, required_acls};
pub(crate) use acl::{missing_rights, shown};
pub use copartition::PartitionCounts;
pub(crate) use describe::dead_letter_topics;
pub use describe::{describe, mermaid};
pub(crate) use internal_topic::Settings;
pub use internal_topic::{Changelog, Layout, SourceTopic, SubtopologyLayout};
pub(crate) use kept_store::{Kept, changed_kind};
pub(crate) use names::close_all_group;
pub use names::{changelog_topic, check_names, repartition_topic, topics_read, topics_written};
pub use plan::{
    Node, NodeId, Plan, RepartitionSpec, SinkSpec, SourceSpec, StoreKind, StoreSpec, TopicRef,
};
pub use subtopology::{ParseTaskIdError, Subtopology, SubtopologyId, TaskId, subtopologies};
