//! Which tumbling or hopping windows hold a timestamp?

use std::time::Duration;

use super::{Window, WindowError, at_or_after_epoch, check_lengths};
use crate::time::{Timestamp, millis};

/// Windows of one size that begin at the epoch and then at every `advance`: `[start, end)`.
///
/// Tumbling windows follow one another, so a record belongs to exactly one; hopping windows
/// overlap.
///
/// A record is late for a window when `end + grace <= stream time`. That is decided for each window
/// alone, so a record may be late for some hopping windows and count in others.
///
/// ```
/// use millstream::TimeWindows;
/// use std::time::Duration;
///
/// let minutes = TimeWindows::tumbling(Duration::from_secs(60)).grace(Duration::from_secs(10));
/// assert!(minutes.validate().is_ok());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimeWindows {
    size_ms: i64,
    advance_ms: i64,
    grace_ms: i64,
}

impl TimeWindows {
    /// Windows that follow one another without overlap. No grace.
    #[doc(alias = "ofSizeWithNoGrace")]
    #[doc(alias = "ofSizeAndGrace")]
    #[must_use]
    pub fn tumbling(size: Duration) -> Self {
        Self::hopping(size, size)
    }

    /// Windows of `size`, one beginning at every `advance`. No grace.
    #[doc(alias = "advanceBy")]
    #[must_use]
    pub fn hopping(size: Duration, advance: Duration) -> Self {
        Self { size_ms: millis(size), advance_ms: millis(advance), grace_ms: 0 }
    }

    /// How long after its end a window still takes late records. Default: none.
    #[doc(alias = "ofSizeAndGrace")]
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace_ms = millis(grace);
        self
    }

    /// Whether these windows make sense; a topology with windows that do not cannot be built.
    pub fn validate(&self) -> Result<(), WindowError> {
        if self.size_ms <= 0 {
            return Err(WindowError::NoSize);
        }
        if self.advance_ms <= 0 {
            return Err(WindowError::NoAdvance);
        }
        if self.advance_ms > self.size_ms {
            return Err(WindowError::AdvanceLongerThanSize);
        }
        check_lengths(&[self.size_ms, self.grace_ms])
    }

    /// The length of a window.
    pub const fn size(&self) -> Duration {
        Duration::from_millis(self.size_ms as u64)
    }

    /// How long a store must keep a window for every late record to find it.
    pub const fn retention(&self) -> Duration {
        Duration::from_millis(self.size_ms.saturating_add(self.grace_ms) as u64)
    }

    /// The windows that hold `timestamp`, earliest first. None starts before the epoch.
    pub fn windows_for(&self, timestamp: Timestamp) -> impl Iterator<Item = Window> + use<> {
        let size = self.size_ms;
        let advance = self.advance_ms.max(1);
        let reach = at_or_after_epoch(timestamp.plus_millis(advance), size).as_millis();
        let first = (reach / advance).saturating_mul(advance);
        std::iter::successors(Some(first), move |start| start.checked_add(advance))
            .take_while(move |&start| start <= timestamp.as_millis())
            .map(Timestamp::from_millis)
            .map(move |start| Window::new(start, start.plus_millis(size)))
    }

    /// The largest `end` of a window that is closed at this stream time; may be negative.
    pub fn closed_until(&self, stream_time: Timestamp) -> Timestamp {
        stream_time.plus_millis(-self.grace_ms)
    }

    /// How far behind stream time windows are closed.
    pub(crate) fn closes_after(&self) -> Duration {
        Duration::from_millis(self.grace_ms.unsigned_abs())
    }

    /// Whether a window takes no more records: `end + grace <= stream time`.
    pub fn is_closed(&self, window: Window, stream_time: Timestamp) -> bool {
        window.end <= self.closed_until(stream_time)
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

    fn spans(windows: TimeWindows, timestamp: i64) -> Vec<(i64, i64)> {
        let span = |w: Window| (w.start.as_millis(), w.end.as_millis());
        windows.windows_for(at(timestamp)).map(span).collect()
    }

    #[test]
    fn tumbling_windows_hold_their_start_and_not_their_end() {
        let windows = TimeWindows::tumbling(ms(10));
        assert_eq!(spans(windows, 0), [(0, 10)]);
        assert_eq!(spans(windows, 9), [(0, 10)]);
        assert_eq!(spans(windows, 10), [(10, 20)]);
    }

    #[test]
    fn hopping_windows_near_the_epoch_are_not_shifted_below_it() {
        let windows = TimeWindows::hopping(ms(10), ms(4));
        assert_eq!(spans(windows, 0), [(0, 10)]);
        assert_eq!(spans(windows, 5), [(0, 10), (4, 14)]);
        assert_eq!(spans(windows, 11), [(4, 14), (8, 18)]);
    }

    #[test]
    fn windows_are_those_of_a_search_over_all_starts() {
        let mut random = Random(1);
        for _ in 0..2_000 {
            let size = 1 + random.below(20);
            let advance = 1 + random.below(size);
            let timestamp = random.below(100);
            let naive: Vec<_> = (0..=timestamp)
                .filter(|start| start % advance == 0 && start + size > timestamp)
                .map(|start| (start, start + size))
                .collect();
            let windows = TimeWindows::hopping(ms(size), ms(advance));
            assert_eq!(spans(windows, timestamp), naive, "{windows:?} at {timestamp}");
        }
    }

    #[test]
    fn windows_at_the_end_of_time_do_not_overflow() {
        let windows = TimeWindows::hopping(ms(10), ms(3));
        assert!(windows.windows_for(Timestamp::MAX).count() >= 3);
        assert!(windows.windows_for(Timestamp::MAX).all(|w| w.end > w.start));
    }

    #[test]
    fn a_window_is_closed_when_stream_time_reaches_its_end_and_grace() {
        let windows = TimeWindows::tumbling(ms(10)).grace(ms(5));
        let window = Window::new(at(0), at(10));
        assert!(!windows.is_closed(window, at(14)));
        assert!(windows.is_closed(window, at(15)));
        assert!(!windows.is_closed(window, Timestamp::UNKNOWN));
    }

    #[test]
    fn a_record_is_late_for_some_hopping_windows_and_in_time_for_others() {
        let windows = TimeWindows::hopping(ms(10), ms(5));
        let open: Vec<_> =
            windows.windows_for(at(7)).map(|w| !windows.is_closed(w, at(12))).collect();
        assert_eq!(open, [false, true]);
    }

    #[test]
    fn definitions_that_make_no_sense_are_refused() {
        assert_eq!(TimeWindows::tumbling(ms(0)).validate(), Err(WindowError::NoSize));
        let micros = Duration::from_micros(999);
        assert_eq!(TimeWindows::tumbling(micros).validate(), Err(WindowError::NoSize));
        assert_eq!(TimeWindows::hopping(ms(5), ms(0)).validate(), Err(WindowError::NoAdvance));
        let gaps = TimeWindows::hopping(ms(5), ms(6));
        assert_eq!(gaps.validate(), Err(WindowError::AdvanceLongerThanSize));
        let endless = TimeWindows::tumbling(ms(5)).grace(Duration::MAX);
        assert_eq!(endless.validate(), Err(WindowError::TooLong));
        assert_eq!(TimeWindows::hopping(ms(5), ms(5)).grace(ms(9)).validate(), Ok(()));
    }

    #[test]
    fn arithmetic_on_a_definition_without_sense_does_not_panic() {
        let nothing = TimeWindows::hopping(ms(0), ms(0));
        assert_eq!(nothing.windows_for(at(3)).count(), 0);
    }

    #[test]
    fn a_store_keeps_windows_for_size_and_grace() {
        assert_eq!(TimeWindows::hopping(ms(10), ms(2)).grace(ms(5)).retention(), ms(15));
    }
}
