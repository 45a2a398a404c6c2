//! What time is it? Event time, the wall clock and the monotonic clock.
//!
//! This is the only file that reads the system's clocks: everything else is handed a [`Clock`], so
//! that a test, or a simulation of many processes, can replay a run to the millisecond.

use std::fmt;
use std::ops::{Add, Sub};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

/// A point in time: milliseconds since the Unix epoch, as in a Kafka record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Earlier than every valid timestamp: "no record has been seen yet".
    pub const UNKNOWN: Self = Self(-1);
    /// The epoch.
    pub const ZERO: Self = Self(0);
    /// Later than every other timestamp.
    pub const MAX: Self = Self(i64::MAX);

    /// The timestamp that many milliseconds after the epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// The later of two timestamps.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Ord::max(self, other)
    }

    /// This timestamp moved by a signed number of milliseconds, held at the ends of the range.
    #[must_use]
    pub const fn plus_millis(self, millis: i64) -> Self {
        Self(self.0.saturating_add(millis))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;
    fn add(self, duration: Duration) -> Self {
        self.plus_millis(millis(duration))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;
    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(millis(duration)))
    }
}

/// Whole milliseconds of a duration, held at `i64::MAX`.
pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// A point on the monotonic clock of one process: the time since that clock's origin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(Duration);

impl Instant {
    /// The instant that long after the clock's origin.
    pub const fn from_origin(elapsed: Duration) -> Self {
        Self(elapsed)
    }

    /// Time since an earlier instant; zero if that instant is later.
    pub const fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Instant {
    type Output = Self;
    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }
}

/// Where time comes from.
pub trait Clock: Send + Sync + 'static {
    /// The wall clock.
    fn timestamp(&self) -> Timestamp;
    /// The monotonic clock. It goes on while the machine sleeps: others do not wait.
    fn instant(&self) -> Instant;
}

/// The clocks of the operating system.
#[derive(Debug)]
pub struct SystemClock {
    /// What the monotonic clock showed at the origin.
    origin: Duration,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self { origin: monotonic() }
    }
}

/// The time since some moment before the process began. The standard library's clock stands still
/// while a machine sleeps, so that a lease would outlast its session.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn monotonic() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec as u32)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
#[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
fn monotonic() -> Duration {
    static FIRST: std::sync::LazyLock<std::time::Instant> =
        std::sync::LazyLock::new(std::time::Instant::now);
    FIRST.elapsed()
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    fn timestamp(&self) -> Timestamp {
        let elapsed = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        Timestamp(millis(elapsed))
    }

    fn instant(&self) -> Instant {
        Instant(monotonic().saturating_sub(self.origin))
    }
}

/// A clock that moves only when told to.
#[derive(Debug, Default)]
pub struct ManualClock {
    wall_ms: AtomicI64,
    monotonic_ms: AtomicU64,
}

impl ManualClock {
    /// A clock whose wall time starts at `timestamp`.
    pub fn at(timestamp: Timestamp) -> Self {
        Self { wall_ms: AtomicI64::new(timestamp.0), monotonic_ms: AtomicU64::new(0) }
    }

    /// Moves both clocks forward.
    pub fn advance(&self, by: Duration) {
        let by = millis(by);
        self.wall_ms.fetch_add(by, Ordering::SeqCst);
        self.monotonic_ms.fetch_add(by as u64, Ordering::SeqCst);
    }

    /// Sets the wall clock back; the monotonic clock stays where it is.
    pub fn set_back(&self, by: Duration) {
        self.wall_ms.fetch_sub(millis(by), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn timestamp(&self) -> Timestamp {
        Timestamp(self.wall_ms.load(Ordering::SeqCst))
    }

    fn instant(&self) -> Instant {
        Instant(Duration::from_millis(self.monotonic_ms.load(Ordering::SeqCst)))
    }
}
