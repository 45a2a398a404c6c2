//! Who owns one sub-topology of one partition? The life of a task, from its records to its commit.

pub(crate) mod active;
pub(crate) mod commit;
pub(crate) mod dead_letter;
pub(crate) mod environment;
pub(crate) mod metadata;
pub(crate) mod meters;
pub(crate) mod outbox;
pub(crate) mod partition_queue;
