//! Which sessions does a record extend or join together?

use std::time::Duration;

use super::{Window, WindowError, at_or_after_epoch, check_lengths};
use crate::time::{Timestamp, millis};

/// Sessions of activity: records of one key that are at most `gap` apart share a window.
///
/// A session reaches from its first record to its last, both included. A record within the gap of
/// several sessions joins them into one.
///
/// A session is closed when `end + gap + grace < stream time`: it takes no more records and its
/// result is final. The comparison is strict because the gap is inclusive: at equality a record of
/// the current stream time still belongs to the session (with no grace, one that follows exactly a
/// gap behind). Kafka Streams drops late records and emits final results by this same rule, but
/// its store and its suppression let go of a session one millisecond earlier; here there is only
/// the one rule, whatever the retention.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionWindows {
    gap_ms: i64,
    grace_ms: i64,
}

/// What one record does to the sessions of its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionMerge {
    /// The session that holds the record from now on.
    pub window: Window,
    /// The sessions that it absorbs, in the order in which they were given.
    pub absorbed: Vec<Window>,
}

impl SessionMerge {
    /// Whether the absorbed sessions are deleted, with a tombstone each, before the new session is
    /// written. They are unless the result is the single point of time that was there already.
    pub fn replaces(&self) -> bool {
        self.window.start != self.window.end
    }
}

impl SessionWindows {
    /// Sessions that end when a key is silent for longer than `gap`. No grace.
    #[doc(alias = "ofInactivityGapWithNoGrace")]
    #[doc(alias = "ofInactivityGapAndGrace")]
    #[must_use]
    pub fn gap(gap: Duration) -> Self {
        Self { gap_ms: millis(gap), grace_ms: 0 }
    }

    /// How long after end and gap a session still takes late records. Default: none.
    #[doc(alias = "ofInactivityGapAndGrace")]
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace_ms = millis(grace);
        self
    }

    /// Whether these windows make sense; a topology with windows that do not cannot be built.
    pub fn validate(&self) -> Result<(), WindowError> {
        if self.gap_ms <= 0 {
            return Err(WindowError::NoGap);
        }
        check_lengths(&[self.gap_ms, self.grace_ms])
    }

    /// How long a store must keep a session behind its end for late records to find it.
    pub const fn retention(&self) -> Duration {
        Duration::from_millis(self.gap_ms.saturating_add(self.grace_ms) as u64)
    }

    /// Sessions that touch a record at `timestamp` end at or behind `start` of this window and
    /// begin at or before its `end`.
    pub fn reach(&self, timestamp: Timestamp) -> Window {
        Window::new(at_or_after_epoch(timestamp, self.gap_ms), timestamp.plus_millis(self.gap_ms))
    }

    /// The session of a record at `timestamp` among those of its key, or `None` if it is late.
    ///
    /// Only open sessions are merged. Lateness looks at the merged session, so an old record
    /// that touches a live session is in time and extends it backward.
    pub fn merge(
        &self,
        timestamp: Timestamp,
        sessions: impl IntoIterator<Item = Window>,
        stream_time: Timestamp,
    ) -> Option<SessionMerge> {
        let reach = self.reach(timestamp);
        let absorbed: Vec<Window> = sessions
            .into_iter()
            .filter(|session| session.end >= reach.start && session.start <= reach.end)
            .filter(|&session| !self.is_closed(session, stream_time))
            .collect();
        let alone = Window::new(timestamp, timestamp);
        let window = absorbed.iter().copied().fold(alone, Window::merge);
        (!self.is_closed(window, stream_time)).then_some(SessionMerge { window, absorbed })
    }

    /// The largest `end` of a session that is closed at this stream time; may be negative.
    pub fn closed_until(&self, stream_time: Timestamp) -> Timestamp {
        stream_time.plus_millis(-self.gap_ms).plus_millis(-self.grace_ms).plus_millis(-1)
    }

    /// How far behind stream time windows are closed.
    pub(crate) fn closes_after(&self) -> Duration {
        Duration::from_millis((self.gap_ms + self.grace_ms).unsigned_abs())
    }

    /// Whether a session takes no more records: `end + gap + grace < stream time`.
    pub fn is_closed(&self, session: Window, stream_time: Timestamp) -> bool {
        session.end <= self.closed_until(stream_time)
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

    fn span(start: i64, end: i64) -> Window {
        Window::new(at(start), at(end))
    }

    fn merged(start: i64, end: i64, absorbed: &[Window]) -> Option<SessionMerge> {
        Some(SessionMerge { window: span(start, end), absorbed: absorbed.to_vec() })
    }

    #[test]
    fn a_record_exactly_a_gap_behind_belongs_to_the_session_and_one_later_does_not() {
        let windows = SessionWindows::gap(ms(5));
        let old = span(0, 0);
        assert_eq!(windows.merge(at(5), [old], at(5)), merged(0, 5, &[old]));
        assert_eq!(windows.merge(at(6), [old], at(6)), merged(6, 6, &[]));
    }

    #[test]
    fn a_record_joins_the_sessions_on_both_sides() {
        let windows = SessionWindows::gap(ms(5));
        let (left, right) = (span(0, 2), span(10, 12));
        assert_eq!(windows.merge(at(6), [left, right], at(12)), merged(6, 12, &[right]));
        let windows = windows.grace(ms(10));
        assert_eq!(windows.merge(at(6), [left, right], at(12)), merged(0, 12, &[left, right]));
    }

    #[test]
    fn an_old_record_that_touches_a_live_session_extends_it_backward() {
        let windows = SessionWindows::gap(ms(5));
        let live = span(20, 24);
        assert!(windows.merge(at(16), [], at(24)).is_none());
        assert_eq!(windows.merge(at(16), [live], at(24)), merged(16, 24, &[live]));
    }

    #[test]
    fn at_equality_a_session_is_open_for_merging_and_for_new_records_alike() {
        let windows = SessionWindows::gap(ms(5)).grace(ms(2));
        let session = span(3, 3);
        assert!(!windows.is_closed(session, at(10)));
        assert_eq!(windows.merge(at(3), [session], at(10)), merged(3, 3, &[session]));
        assert_eq!(windows.merge(at(3), [], at(10)), merged(3, 3, &[]));
        assert!(windows.is_closed(session, at(11)));
        assert_eq!(windows.merge(at(3), [session], at(11)), None);
    }

    #[test]
    fn a_closed_session_is_not_revived_however_long_it_is_kept() {
        let windows = SessionWindows::gap(ms(5));
        let closed = span(0, 3);
        assert_eq!(windows.merge(at(6), [closed], at(9)), merged(6, 6, &[]));
    }

    #[test]
    fn a_single_point_of_time_is_overwritten_without_a_tombstone() {
        let windows = SessionWindows::gap(ms(5));
        assert!(!windows.merge(at(3), [span(3, 3)], at(3)).unwrap().replaces());
        assert!(windows.merge(at(3), [span(2, 4)], at(4)).unwrap().replaces());
    }

    /// Without lateness the sessions are the runs of sorted timestamps with no gap between.
    #[test]
    fn sessions_are_the_runs_of_activity() {
        for seed in 0..200 {
            let mut random = Random(seed);
            let gap = 1 + random.below(6);
            let windows = SessionWindows::gap(ms(gap)).grace(ms(1_000));
            let (mut sessions, mut seen) = (Vec::new(), Vec::new());
            for _ in 0..40 {
                let timestamp = random.below(150);
                seen.push(timestamp);
                let merge = windows.merge(at(timestamp), sessions.iter().copied(), at(200));
                let merge = merge.expect("within grace");
                sessions.retain(|session| !merge.absorbed.contains(session));
                sessions.push(merge.window);
                sessions.sort();
                assert_eq!(sessions, runs(&seen, gap), "seed {seed}");
            }
        }
    }

    fn runs(timestamps: &[i64], gap: i64) -> Vec<Window> {
        let mut sorted = timestamps.to_vec();
        sorted.sort_unstable();
        let mut runs: Vec<(i64, i64)> = Vec::new();
        for timestamp in sorted {
            match runs.last_mut() {
                Some(run) if timestamp - run.1 <= gap => run.1 = timestamp,
                _ => runs.push((timestamp, timestamp)),
            }
        }
        runs.into_iter().map(|(start, end)| span(start, end)).collect()
    }

    #[test]
    fn definitions_that_make_no_sense_are_refused() {
        assert_eq!(SessionWindows::gap(ms(0)).validate(), Err(WindowError::NoGap));
        assert_eq!(SessionWindows::gap(Duration::MAX).validate(), Err(WindowError::TooLong));
        assert_eq!(SessionWindows::gap(ms(1)).grace(ms(3)).validate(), Ok(()));
    }

    #[test]
    fn a_store_keeps_sessions_for_gap_and_grace() {
        assert_eq!(SessionWindows::gap(ms(5)).grace(ms(2)).retention(), ms(7));
    }
}
