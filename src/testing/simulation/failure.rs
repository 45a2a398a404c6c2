//! What did a run break? The check that it did not pass, and how to see it again.

use std::fmt;

/// What every run of a simulation is checked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Check {
    /// What came out is what the caller of the simulation wants.
    Output,
    /// Committed offsets never go back.
    Offsets,
    /// No record is purged that a committed offset still points to.
    Purge,
    /// Nothing is on a disk that is not permanent in its changelog.
    Disk,
    /// At least once, only the process that was last given a task writes to its changelogs.
    Owner,
    /// In the end each disk holds what the changelog says, up to the offset that it claims.
    Stores,
    /// After the last fault everything drains, each task runs in one place, and processes close.
    Drained,
    /// No assertion of the control plane fails.
    Panic,
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Output => "output",
            Self::Offsets => "offsets",
            Self::Purge => "purge",
            Self::Disk => "disk",
            Self::Owner => "owner",
            Self::Stores => "stores",
            Self::Drained => "drained",
            Self::Panic => "panic",
        })
    }
}

/// A check that did not hold, and what was found in its place.
#[derive(Clone, Debug)]
pub(super) struct Violation {
    pub(super) check: Check,
    pub(super) text: String,
}

impl Check {
    pub(super) fn violated(self, text: impl fmt::Display) -> Violation {
        Violation { check: self, text: text.to_string() }
    }
}

/// A seed that fails.
#[derive(Debug)]
pub struct SimulationFailure {
    pub(super) seed: u64,
    pub(super) violation: Violation,
    pub(super) faults: Vec<String>,
    /// What happened, where a single seed was repeated.
    pub(super) events: Vec<String>,
}

impl SimulationFailure {
    /// The seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The check that did not hold.
    pub fn check(&self) -> Check {
        self.violation.check
    }
}

impl fmt::Display for SimulationFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, violation, faults, events } = self;
        events.iter().try_for_each(|event| writeln!(f, "{event}"))?;
        writeln!(f, "seed {seed}: {}", violation.text)?;
        writeln!(f, "{} faults are enough:", faults.len())?;
        for fault in faults {
            writeln!(f, "    {fault}")?;
        }
        let test = std::thread::current().name().unwrap_or("NAME").to_owned();
        write!(f, "replay: MILLSTREAM_SEED={seed} cargo test {test}")
    }
}

impl std::error::Error for SimulationFailure {}
