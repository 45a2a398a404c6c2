//! What is said in each request, and what is understood of its answer? One file per subject.
//!
//! Reading takes whatever bytes come; see [`wire`](super::wire) for what that must not do.

pub(super) mod fetch;
pub(super) mod metadata;
pub(super) mod offsets;
pub(super) mod positions;
pub(super) mod produce;
mod topics;
pub(super) mod transaction;

/// A broker, by its number in the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Node(pub(super) i32);

/// The number that an error has on the wire; 0 is none.
pub(super) type Code = i16;
