//! Which records of two streams meet, and when is a record without a match alone for good?

use std::time::Duration;

use super::{Window, WindowError, at_or_after_epoch, check_lengths};
use crate::time::{Timestamp, millis};

/// How far apart two records of one key may be to join: the right record's timestamp lies in
/// `[left - before, left + after]`, both ends included.
///
/// A left or outer result without a match comes out once the record's window *and grace* have
/// passed. Kafka Streams may emit it within grace already and contradict it by a match later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::struct_field_names, reason = "a number that is bare carries its unit")]
pub struct JoinWindows {
    before_ms: i64,
    after_ms: i64,
    grace_ms: i64,
}

/// One of the two streams of a join.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum JoinSide {
    /// The other stream; its waiting records come first among those of one timestamp.
    Right,
    /// The stream that `join` is called on.
    Left,
}

impl JoinSide {
    /// The other stream.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Left => Self::Right,
            Self::Right => Self::Left,
        }
    }
}

impl JoinWindows {
    /// Records join that are at most `difference` apart, whichever is first. No grace.
    #[doc(alias = "ofTimeDifferenceWithNoGrace")]
    #[doc(alias = "ofTimeDifferenceAndGrace")]
    #[must_use]
    pub fn within(difference: Duration) -> Self {
        let difference_ms = millis(difference);
        Self { before_ms: difference_ms, after_ms: difference_ms, grace_ms: 0 }
    }

    /// How much earlier than the left record the right one may be.
    #[must_use]
    pub fn before(mut self, before: Duration) -> Self {
        self.before_ms = millis(before);
        self
    }

    /// How much later than the left record the right one may be.
    #[must_use]
    pub fn after(mut self, after: Duration) -> Self {
        self.after_ms = millis(after);
        self
    }

    /// How long a record without a match waits for a late one, behind its window. Default: none.
    #[doc(alias = "ofTimeDifferenceAndGrace")]
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace_ms = millis(grace);
        self
    }

    /// Whether these windows make sense; a topology with windows that do not cannot be built.
    pub fn validate(&self) -> Result<(), WindowError> {
        check_lengths(&[self.before_ms, self.after_ms, self.grace_ms])
    }

    /// How long the store of each side keeps a record.
    pub const fn retention(&self) -> Duration {
        let window_ms = self.before_ms.saturating_add(self.after_ms);
        Duration::from_millis(window_ms.saturating_add(self.grace_ms) as u64)
    }

    /// The timestamps of the other side that join with a record of `side`, both ends included.
    pub fn matches_of(&self, side: JoinSide, timestamp: Timestamp) -> Window {
        let (earlier_ms, later_ms) = match side {
            JoinSide::Left => (self.before_ms, self.after_ms),
            JoinSide::Right => (self.after_ms, self.before_ms),
        };
        Window::new(at_or_after_epoch(timestamp, earlier_ms), timestamp.plus_millis(later_ms))
    }

    /// The stream time at which a record of `side` has expired.
    pub fn expires_at(&self, side: JoinSide, timestamp: Timestamp) -> Timestamp {
        let later_ms = match side {
            JoinSide::Left => self.after_ms,
            JoinSide::Right => self.before_ms,
        };
        timestamp.plus_millis(later_ms).plus_millis(self.grace_ms).plus_millis(1)
    }

    /// Whether a record of `side` can find no more matches: its window and grace have passed.
    pub fn is_expired(&self, side: JoinSide, timestamp: Timestamp, stream_time: Timestamp) -> bool {
        self.expires_at(side, timestamp) <= stream_time
    }
}

#[cfg(test)]
mod tests {
    use super::super::random::Random;
    use super::*;

    fn ms(ms: i64) -> Duration {
        Duration::from_millis(ms as u64)
    }

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    fn joins(windows: JoinWindows, side: JoinSide, timestamp: i64, other: i64) -> bool {
        let window = windows.matches_of(side, at(timestamp));
        window.start <= at(other) && at(other) <= window.end
    }

    #[test]
    fn both_ends_of_the_window_join() {
        let windows = JoinWindows::within(ms(5)).before(ms(2));
        let matching: Vec<_> = (0..20).filter(|&r| joins(windows, JoinSide::Left, 10, r)).collect();
        assert_eq!(matching, (8..=15).collect::<Vec<_>>());
    }

    #[test]
    fn both_sides_agree_on_what_joins() {
        let mut random = Random(3);
        for _ in 0..5_000 {
            let (before, after) = (random.below(8), random.below(8));
            let windows = JoinWindows::within(ms(0)).before(ms(before)).after(ms(after));
            let (left, right) = (random.below(30), random.below(30));
            let naive = left - before <= right && right <= left + after;
            assert_eq!(joins(windows, JoinSide::Left, left, right), naive);
            assert_eq!(joins(windows, JoinSide::Right, right, left), naive);
        }
    }

    /// A record is expired as soon as no record within grace of stream time can match it.
    #[test]
    fn a_record_is_expired_when_every_match_would_be_later_than_grace() {
        let mut random = Random(4);
        for _ in 0..5_000 {
            let (before, after, grace) = (random.below(6), random.below(6), random.below(6));
            let windows = JoinWindows::within(ms(before)).after(ms(after)).grace(ms(grace));
            let (timestamp, stream_time) = (random.below(20), random.below(40));
            for side in [JoinSide::Left, JoinSide::Right] {
                let can_match = (stream_time - grace..stream_time + 50)
                    .any(|other| joins(windows, side, timestamp, other));
                let expired = windows.is_expired(side, at(timestamp), at(stream_time));
                let in_future = timestamp > stream_time;
                assert!(in_future || expired != can_match, "{windows:?} {timestamp} {stream_time}");
            }
        }
    }

    #[test]
    fn an_unmatched_record_waits_for_window_and_grace_and_each_side_for_its_own() {
        let windows = JoinWindows::within(ms(0)).before(ms(1)).after(ms(5)).grace(ms(3));
        assert!(!windows.is_expired(JoinSide::Left, at(10), at(18)));
        assert!(windows.is_expired(JoinSide::Left, at(10), at(19)));
        assert!(!windows.is_expired(JoinSide::Right, at(10), at(14)));
        assert!(windows.is_expired(JoinSide::Right, at(10), at(15)));
    }

    #[test]
    fn right_comes_before_left_among_waiting_records_of_one_time() {
        assert!(JoinSide::Right < JoinSide::Left);
        assert_eq!(JoinSide::Left.other(), JoinSide::Right);
    }

    #[test]
    fn a_store_keeps_records_for_the_whole_window_and_grace() {
        let windows = JoinWindows::within(ms(5)).after(ms(2)).grace(ms(3));
        assert_eq!(windows.retention(), ms(10));
    }

    #[test]
    fn definitions_that_make_no_sense_are_refused() {
        assert_eq!(JoinWindows::within(ms(0)).validate(), Ok(()));
        assert_eq!(JoinWindows::within(Duration::MAX).validate(), Err(WindowError::TooLong));
    }
}
