//! Which windows does a record belong to, and when is a window over? Pure arithmetic.
//!
//! Four definitions, each a plain value: [`TimeWindows`] (tumbling and hopping),
//! [`SlidingWindows`],
//! [`SessionWindows`] and [`JoinWindows`]. They hold no state; the operators ask them with a
//! timestamp and the stream time, which is the largest timestamp seen so far.
//!
//! # Invariants
//!
//! - One question decides lateness, final results and expiry alike: is a window *closed*? A window
//!   is closed for good, since stream time never goes back.
//! - `Window::end` is exclusive for tumbling and hopping windows and inclusive for sliding and
//!   session windows, as in Kafka Streams. So the former are closed *at* `end + grace`, the latter
//!   one millisecond behind it.
//! - Timestamps are not negative, and no window starts before the epoch.
//! - A definition is checked by its `validate`, when the topology is built; arithmetic on one that
//!   is not valid does not panic.

use std::fmt;
use std::time::Duration;

use crate::time::Timestamp;

mod join;
pub mod key;
mod session;
pub(crate) mod sliding;
mod time;

pub use join::{JoinSide, JoinWindows};
pub use session::{SessionMerge, SessionWindows};
pub use sliding::SlidingWindows;
pub use time::TimeWindows;

/// A span of time; whether its end belongs to it depends on the kind of window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Window {
    /// The first millisecond.
    pub start: Timestamp,
    /// Tumbling and hopping: the millisecond behind the last. Sliding and session: the last.
    pub end: Timestamp,
}

impl Window {
    /// The window from `start` to `end`.
    pub const fn new(start: Timestamp, end: Timestamp) -> Self {
        Self { start, end }
    }

    /// The smallest window that spans both.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        Self { start: Ord::min(self.start, other.start), end: Ord::max(self.end, other.end) }
    }
}

/// A key and the window its aggregate belongs to: the key of every windowed table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Windowed<K> {
    /// The key of the records.
    pub key: K,
    /// The window of the records.
    pub window: Window,
}

impl<K> Windowed<K> {
    /// This key in this window.
    pub const fn new(key: K, window: Window) -> Self {
        Self { key, window }
    }
}

impl<K: fmt::Display> fmt::Display for Windowed<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}@{}/{}]", self.key, self.window.start, self.window.end)
    }
}

/// When a windowed aggregate is sent downstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Emit {
    /// At each record: downstream sees every intermediate result.
    #[default]
    #[doc(alias = "onWindowUpdate")]
    EachUpdate,
    /// At each commit, once for every window that has changed since the one before.
    OnCommit,
    /// Once for every window, when it is closed: only final results.
    #[doc(alias = "onWindowClose")]
    OnWindowClose,
}

/// A window definition that makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WindowError {
    /// Windows without a length.
    #[error("the window size is less than a millisecond; give a longer one")]
    NoSize,
    /// Hopping windows that do not move.
    #[error("the window advance is less than a millisecond; give a longer one")]
    NoAdvance,
    /// Hopping windows with holes between them.
    #[error("the window advance is longer than the window size; records would be left out")]
    AdvanceLongerThanSize,
    /// Sessions that no pause ends.
    #[error("the inactivity gap is less than a millisecond; give a longer one")]
    NoGap,
    /// A store that would forget windows which still take records.
    #[error("the retention is shorter than windows and grace; leave it out or give a longer one")]
    RetentionTooShort,
    /// Durations whose sum leaves the range of timestamps.
    #[error("window, gap and grace are longer than time itself; give shorter ones")]
    TooLong,
}

/// The longest duration of a definition, in milliseconds: sums of a few of them, and of a
/// timestamp, stay in the range of an `i64`.
const MAX_MS: i64 = i64::MAX / 16;

/// Refuses durations whose sums with timestamps would overflow.
fn check_lengths(durations_ms: &[i64]) -> Result<(), WindowError> {
    if durations_ms.iter().all(|&ms| ms <= MAX_MS) { Ok(()) } else { Err(WindowError::TooLong) }
}

/// `timestamp - ms`, but not before the epoch.
fn at_or_after_epoch(timestamp: Timestamp, minus_ms: i64) -> Timestamp {
    timestamp.plus_millis(minus_ms.saturating_neg()).max(Timestamp::ZERO)
}

/// The wanted retention, at least `needed`; refused if it is shorter than `shortest`.
pub(crate) fn checked_retention(
    wanted: Option<Duration>,
    shortest: Duration,
    needed: Duration,
) -> Result<Duration, WindowError> {
    match wanted {
        Some(wanted) if wanted < shortest => Err(WindowError::RetentionTooShort),
        Some(wanted) => Ok(wanted.max(needed)),
        None => Ok(needed),
    }
}

/// How long a changelog keeps a window: the store's retention, and a day for clocks that differ
/// and for processes that are down. Kafka: `windowstore.changelog.additional.retention.ms`.
pub fn changelog_retention(store_retention: Duration) -> Duration {
    const ADDITIONAL: Duration = Duration::from_secs(24 * 60 * 60);
    store_retention.saturating_add(ADDITIONAL)
}

/// Seeded random numbers for comparisons with the naive references.
#[cfg(test)]
pub(crate) mod random {
    /// The splitmix64 generator.
    pub(crate) struct Random(pub(crate) u64);

    impl Random {
        pub(crate) fn below(&mut self, bound: i64) -> i64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((z ^ (z >> 31)) % bound as u64) as i64
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn windowed_keys_print_as_in_kafka_streams() {
        let window = Window::new(Timestamp::from_millis(5), Timestamp::from_millis(15));
        assert_eq!(Windowed::new("a", window).to_string(), "[a@5/15]");
    }

    #[test]
    fn a_changelog_keeps_windows_a_day_longer_than_the_store() {
        assert_eq!(changelog_retention(Duration::from_secs(1)), Duration::from_secs(86_401));
    }

    #[test]
    fn a_merge_spans_both_windows() {
        let window =
            |start, end| Window::new(Timestamp::from_millis(start), Timestamp::from_millis(end));
        assert_eq!(window(1, 3).merge(window(5, 9)), window(1, 9));
        assert_eq!(window(1, 9).merge(window(5, 6)), window(1, 9));
    }
}
