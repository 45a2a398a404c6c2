//! What is a transaction made of?

use std::sync::Arc;

use crate::kafka::native::messages::metadata::Coordinates;
use crate::kafka::native::messages::offsets::NamedOffset;
use crate::log::{EffectId, LogEvent, MemberToken, Outcome, PartitionId};
use crate::time::Instant;

/// Offsets to be committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::kafka::native) struct Offsets {
    pub(in crate::kafka::native) member: MemberToken,
    pub(in crate::kafka::native) offsets: Arc<[NamedOffset]>,
    /// Whether they are part of a transaction.
    pub(in crate::kafka::native) is_inside: bool,
}

/// What the client was told to do; one after the other, each until it has ended.
#[derive(Debug)]
pub(in crate::kafka::native) enum Job {
    /// Nobody waits for the epoch of a client without transactions.
    Init {
        effect: Option<EffectId>,
        since: Instant,
    },
    Offsets {
        effect: EffectId,
        offsets: Offsets,
        since: Instant,
    },
    End {
        effect: EffectId,
        commits: bool,
        since: Instant,
    },
}

impl Job {
    pub(super) const fn since(&self) -> Instant {
        match self {
            Self::Init { since, .. } | Self::Offsets { since, .. } | Self::End { since, .. } => {
                *since
            }
        }
    }

    /// What was said before the client was first polled counts from then.
    pub(super) fn count_from(&mut self, now: Instant) {
        let (Self::Init { since, .. } | Self::Offsets { since, .. } | Self::End { since, .. }) =
            self;
        if *since == Instant::default() {
            *since = now;
        }
    }

    pub(super) const fn effect(&self) -> Option<EffectId> {
        match self {
            Self::Init { effect, .. } => *effect,
            Self::Offsets { effect, .. } | Self::End { effect, .. } => Some(*effect),
        }
    }

    pub(super) fn end(self, outcome: Outcome) -> Option<LogEvent> {
        self.effect().map(|effect| LogEvent::Ended { effect, outcome })
    }
}

/// What is asked of a coordinator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::kafka::native) enum Step {
    Init,
    AddPartitions(Vec<PartitionId>),
    AddGroup(String),
    Offsets(Offsets),
    /// Whether the transaction commits.
    End(bool),
}

impl Step {
    /// Who is asked.
    pub(in crate::kafka::native) const fn coordinator(&self) -> Coordinates {
        match self {
            Self::Offsets(_) => Coordinates::Group,
            Self::Init | Self::AddPartitions(_) | Self::AddGroup(_) | Self::End(_) => {
                Coordinates::Transaction
            }
        }
    }

    pub(super) const fn text(&self) -> &'static str {
        match self {
            Self::Init => "taking a producer epoch",
            Self::AddPartitions(_) => "adding partitions to the transaction",
            Self::AddGroup(_) => "adding the group to the transaction",
            Self::Offsets(_) => "committing offsets",
            Self::End(true) => "committing the transaction",
            Self::End(false) => "aborting the transaction",
        }
    }
}
