//! What goes wrong? Faults, when they strike, and how a seed makes a list of them.

use std::fmt;
use std::time::Duration;

use super::random::Random;

/// Which faults a simulation makes, and how many.
///
/// ```
/// use millstream::testing::{FaultKind, Faults};
///
/// let gentle = Faults::all().count(10).without(FaultKind::Kill);
/// # let _ = gentle;
/// ```
#[derive(Clone, Debug)]
pub struct Faults {
    kinds: Vec<FaultKind>,
    count: usize,
}

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FaultKind {
    /// A process dies at a call of its log or its disk, and starts again, with all, an older or
    /// none of its local state.
    Kill,
    /// A process closes gracefully, and starts again later.
    Stop,
    /// One more process joins.
    Join,
    /// The group expels a process that goes on running.
    Expel,
    /// A process is not at turn for a while, often for longer than its session lasts.
    Freeze,
    /// An effect ends as unknown: it has happened, or it has not.
    UnknownOutcome,
    /// The ends of effects are reported late, and some of them twice.
    LateAnswers,
    /// The log does not answer a process for a while.
    Unavailable,
    /// Records arrive late and mixed between partitions.
    SlowReads,
    /// Time jumps.
    ClockJump,
    /// The disk refuses an operation, or, as a full one, many in a row.
    DiskFailure,
    /// User code panics in the middle of a record, where it reads a store.
    Panic,
    /// The files of a task are damaged, which shows when a row is read.
    Damage,
}

const ALL: [FaultKind; 13] = [
    FaultKind::Kill,
    FaultKind::Stop,
    FaultKind::Join,
    FaultKind::Expel,
    FaultKind::Freeze,
    FaultKind::UnknownOutcome,
    FaultKind::LateAnswers,
    FaultKind::Unavailable,
    FaultKind::SlowReads,
    FaultKind::ClockJump,
    FaultKind::DiskFailure,
    FaultKind::Panic,
    FaultKind::Damage,
];

impl Faults {
    /// Nothing goes wrong; only the order in which processes run is left to the seed.
    pub fn none() -> Self {
        Self { kinds: Vec::new(), count: 0 }
    }

    /// Every kind of fault, 30 of them in a run.
    pub fn all() -> Self {
        Self { kinds: ALL.to_vec(), count: 30 }
    }

    /// One kind of fault, 30 of them in a run.
    pub fn only(kind: FaultKind) -> Self {
        Self { kinds: vec![kind], count: 30 }
    }

    /// How many faults strike in a run.
    #[must_use]
    pub fn count(mut self, count: usize) -> Self {
        self.count = count;
        self
    }

    /// These faults without one kind.
    #[must_use]
    pub fn without(mut self, kind: FaultKind) -> Self {
        self.kinds.retain(|known| *known != kind);
        self
    }

    /// The list of one seed, by time.
    pub(super) fn list(&self, random: &mut Random, processes: usize) -> Vec<Fault> {
        let mut at = Duration::ZERO;
        let count = if self.kinds.is_empty() { 0 } else { self.count };
        let mut faults = Vec::new();
        for _ in 0..count {
            at += Duration::from_millis(random.below(220));
            let process = random.below(processes as u64) as usize;
            let strike = Strike::of(*random.pick(&self.kinds), random);
            faults.push(Fault { at, process, strike });
        }
        faults
    }
}

/// One fault of one run.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    pub(super) at: Duration,
    pub(super) process: usize,
    pub(super) strike: Strike,
}

/// What it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strike {
    Kill { after_calls: u32, state: StateLoss, away: Duration },
    Stop { away: Duration },
    Join,
    Expel,
    Freeze { lasting: Duration },
    UnknownOutcome { effect: Effect, happens: bool },
    LateAnswers { lasting: Duration },
    Unavailable { lasting: Duration },
    SlowReads { lasting: Duration },
    ClockJump { by: Duration },
    DiskFailure { after_calls: u32, times: u32 },
    Panic { after_reads: u32 },
    Damage { after_reads: u32 },
}

/// What a killed process finds of its local state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StateLoss {
    Nothing,
    /// What was written since the last flush is gone.
    LastFlush,
    /// As `LastFlush`, for some stores and not for others.
    Torn,
    Everything,
}

/// The effects whose outcome can be unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Init,
    Send,
    Offsets,
    End,
}

impl Strike {
    fn of(kind: FaultKind, random: &mut Random) -> Self {
        let lasting = Duration::from_millis(1 + random.below(600));
        let calls = 1 + random.below(60) as u32;
        match kind {
            FaultKind::Kill => {
                let state = [
                    StateLoss::Nothing,
                    StateLoss::LastFlush,
                    StateLoss::Torn,
                    StateLoss::Everything,
                ];
                let away = lasting * *random.pick(&[1, 1, 10]);
                Self::Kill { after_calls: calls, state: *random.pick(&state), away }
            }
            FaultKind::Stop => Self::Stop { away: lasting },
            FaultKind::Join => Self::Join,
            FaultKind::Expel => Self::Expel,
            FaultKind::Freeze => Self::Freeze { lasting: lasting * *random.pick(&[1, 8]) },
            FaultKind::UnknownOutcome => {
                let effects = [Effect::Init, Effect::Send, Effect::Offsets, Effect::End];
                let effect = *random.pick(&effects);
                Self::UnknownOutcome { effect, happens: random.one_in(2) }
            }
            FaultKind::LateAnswers => Self::LateAnswers { lasting },
            FaultKind::Unavailable => {
                let lasting = lasting * *random.pick(&[1, 1, 8]);
                Self::Unavailable { lasting }
            }
            FaultKind::SlowReads => Self::SlowReads { lasting },
            FaultKind::ClockJump => Self::ClockJump { by: lasting * *random.pick(&[1, 20]) },
            FaultKind::DiskFailure => {
                Self::DiskFailure { after_calls: calls, times: *random.pick(&[1, 1, 25]) }
            }
            FaultKind::Panic => Self::Panic { after_reads: calls },
            FaultKind::Damage => Self::Damage { after_reads: calls },
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {} ms, process {}: {:?}", self.at.as_millis(), self.process, self.strike)
    }
}
