//! What will run? The plan of a pipeline, and what follows from it.

pub mod plan;

pub use plan::{
    Node, NodeId, Plan, RepartitionSpec, SinkSpec, SourceSpec, StoreKind, StoreSpec, TopicRef,
};
