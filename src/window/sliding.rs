//! Which sliding windows does a record update or create, in which order, and from what?
//!
//! A sliding window exists where its content differs from its neighbours': each record has a left
//! window that ends at it, and a right window that begins one millisecond behind it, if that holds
//! a record. So a new window's content is always found in one that is there: the record before has
//! it for the left window, the latest window around the record for the right one.
//!
//! # Invariant
//!
//! That holds only if *every* window of accepted records is there, closed ones too. Kafka Streams
//! does not create windows that are closed already, and then counts records outside of a window's
//! bounds or misses some within. Here the operator keeps closed windows as unseen rows; what it
//! sends downstream are the open ones.

use std::time::Duration;

use super::{Window, WindowError, at_or_after_epoch, check_lengths};
use crate::time::{Timestamp, millis};

/// Windows that slide over time: two records share a window when they are at most `difference`
/// apart. Both ends belong to a window: `[start, start + difference]`.
///
/// Windows with the same content are one, so there are at most two for each record. Timestamps
/// smaller than the difference share the window `[0, difference]`.
///
/// A window holds exactly the accepted records within its bounds. It is closed, and its result
/// final, when `end + grace < stream time`. A record is late when every window that could hold it
/// is
/// closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SlidingWindows {
    difference_ms: i64,
    grace_ms: i64,
}

/// A window that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SlidingRow {
    /// Where it begins.
    pub(crate) start: Timestamp,
    /// The largest timestamp among its records.
    pub(crate) latest: Timestamp,
}

/// What a window's new aggregate begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SlidingBase {
    /// The window's own aggregate.
    Own,
    /// The aggregate that the window with this start had before the record.
    CopyOf(Timestamp),
    /// The initial aggregate.
    Initial,
}

/// One step of what a record does: an existing window is updated or a new one created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SlidingUpdate {
    /// The window.
    pub(crate) window: Window,
    /// What its new aggregate begins with.
    pub(crate) base: SlidingBase,
    /// Whether the record is added to that; not so for the record's own right window, which is
    /// behind it.
    pub(crate) adds_record: bool,
}

impl SlidingWindows {
    /// Windows of records that are at most `difference` apart. No grace.
    #[doc(alias = "ofTimeDifferenceWithNoGrace")]
    #[doc(alias = "ofTimeDifferenceAndGrace")]
    #[must_use]
    pub fn of(difference: Duration) -> Self {
        Self { difference_ms: millis(difference), grace_ms: 0 }
    }

    /// How long after its end a window still takes late records. Default: none.
    #[doc(alias = "ofTimeDifferenceAndGrace")]
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace_ms = millis(grace);
        self
    }

    /// Whether these windows make sense; a topology with windows that do not cannot be built.
    pub fn validate(&self) -> Result<(), WindowError> {
        check_lengths(&[self.difference_ms, self.grace_ms])
    }

    /// The largest difference of two records in a window: from its start to its end.
    pub const fn difference(&self) -> Duration {
        Duration::from_millis(self.difference_ms as u64)
    }

    /// How long a store must keep a window behind its start: the oldest record in time looks two
    /// differences back, and is itself one difference and grace behind. Kafka Streams keeps one
    /// difference less, and so counts wrongly.
    pub const fn retention(&self) -> Duration {
        let windows_ms = self.difference_ms.saturating_mul(3);
        Duration::from_millis(windows_ms.saturating_add(self.grace_ms) as u64)
    }

    /// Whether a record is too late for every window: `timestamp + difference + grace < stream
    /// time`.
    pub fn is_late(&self, timestamp: Timestamp, stream_time: Timestamp) -> bool {
        timestamp.plus_millis(self.difference_ms) <= self.closed_until(stream_time)
    }

    /// The largest `end` of a window that is closed at this stream time; may be negative.
    pub fn closed_until(&self, stream_time: Timestamp) -> Timestamp {
        stream_time.plus_millis(-self.grace_ms).plus_millis(-1)
    }

    /// How far behind stream time windows are closed.
    pub(crate) fn closes_after(&self) -> Duration {
        Duration::from_millis(self.grace_ms.unsigned_abs())
    }

    /// Whether a window takes no more records: `end + grace < stream time`.
    pub fn is_closed(&self, window: Window, stream_time: Timestamp) -> bool {
        window.end <= self.closed_until(stream_time)
    }

    /// The window that begins at `start`.
    pub(crate) fn window_at(&self, start: Timestamp) -> Window {
        Window::new(start, start.plus_millis(self.difference_ms))
    }

    /// First and last start of the windows that decide what a record at `timestamp` does.
    pub(crate) fn starts_around(&self, timestamp: Timestamp) -> (Timestamp, Timestamp) {
        let reach_ms = self.difference_ms.saturating_mul(2);
        (at_or_after_epoch(timestamp, reach_ms), timestamp.plus_millis(1))
    }

    /// What a record at `timestamp` does, in order.
    ///
    /// `rows` are all windows of the key with a start within [`Self::starts_around`], ascending.
    pub(crate) fn updates(&self, timestamp: Timestamp, rows: &[SlidingRow]) -> Vec<SlidingUpdate> {
        debug_assert!(rows.is_sorted_by(|a, b| a.start < b.start), "rows ascend by start");
        if timestamp.as_millis() < self.difference_ms {
            self.updates_near_epoch(timestamp, rows)
        } else {
            self.updates_in_general(timestamp, rows)
        }
    }

    fn updates_in_general(&self, timestamp: Timestamp, rows: &[SlidingRow]) -> Vec<SlidingUpdate> {
        let left_start = timestamp.plus_millis(-self.difference_ms);
        let around = rows.iter().rev().filter(|r| left_start <= r.start && r.start <= timestamp);
        let mut updates: Vec<_> = around.clone().map(|row| self.update_own(row.start)).collect();
        let left = row_at(rows, left_start);
        if left.is_some_and(|left| left.latest >= timestamp) {
            // A record of this very time was there before: it has created all windows.
            return updates;
        }
        let before = rows.iter().rev().find(|row| row.start < left_start);
        let previous = before.or(left).map(|row| row.latest);
        updates.extend(self.right_window_of_previous(timestamp, previous, rows));
        if left.is_none() {
            let base = match before {
                Some(row) if row.latest >= left_start => SlidingBase::CopyOf(row.start),
                _ => SlidingBase::Initial,
            };
            let window = self.window_at(left_start);
            updates.push(SlidingUpdate { window, base, adds_record: true });
        }
        let latest = around.clone().find(|row| row.start > left_start);
        updates.extend(self.own_right_window(timestamp, latest, rows));
        updates
    }

    /// Timestamps below the difference: their left windows are all `[0, difference]`.
    fn updates_near_epoch(&self, timestamp: Timestamp, rows: &[SlidingRow]) -> Vec<SlidingUpdate> {
        let shared = row_at(rows, Timestamp::ZERO);
        let mut around = rows.iter().filter(|r| Timestamp::ZERO < r.start && r.start <= timestamp);
        let mut updates: Vec<_> = around.clone().map(|row| self.update_own(row.start)).collect();
        updates.extend(self.own_right_window(timestamp, around.next_back().or(shared), rows));
        let previous = shared.map(|row| row.latest).filter(|&latest| latest < timestamp);
        updates.extend(self.right_window_of_previous(timestamp, previous, rows));
        let base = if shared.is_some() { SlidingBase::Own } else { SlidingBase::Initial };
        let window = self.window_at(Timestamp::ZERO);
        updates.push(SlidingUpdate { window, base, adds_record: true });
        updates
    }

    fn update_own(&self, start: Timestamp) -> SlidingUpdate {
        let window = self.window_at(start);
        SlidingUpdate { window, base: SlidingBase::Own, adds_record: true }
    }

    /// The window behind the record before this one: now it holds a record.
    fn right_window_of_previous(
        &self,
        timestamp: Timestamp,
        previous: Option<Timestamp>,
        rows: &[SlidingRow],
    ) -> Option<SlidingUpdate> {
        let window = self.window_at(previous?.plus_millis(1));
        let is_new = row_at(rows, window.start).is_none() && window.end >= timestamp;
        is_new.then_some(SlidingUpdate { window, base: SlidingBase::Initial, adds_record: true })
    }

    /// The window behind this record, if one around the record shows that it holds a later one.
    fn own_right_window(
        &self,
        timestamp: Timestamp,
        latest_around: Option<&SlidingRow>,
        rows: &[SlidingRow],
    ) -> Option<SlidingUpdate> {
        let source = latest_around.filter(|row| row.latest > timestamp)?;
        let window = self.window_at(timestamp.plus_millis(1));
        let base = SlidingBase::CopyOf(source.start);
        let is_new = row_at(rows, window.start).is_none();
        is_new.then_some(SlidingUpdate { window, base, adds_record: false })
    }
}

fn row_at(rows: &[SlidingRow], start: Timestamp) -> Option<&SlidingRow> {
    rows.binary_search_by_key(&start, |row| row.start).ok().and_then(|index| rows.get(index))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::random::Random;
    use super::*;

    fn ms(ms: i64) -> Duration {
        Duration::from_millis(ms as u64)
    }

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    /// Windows by start, each with its records (timestamp, number) in the order of their arrival.
    type Content = BTreeMap<i64, Vec<(i64, usize)>>;

    /// The windows by definition: left and right of every record, with all records in the bounds.
    fn by_definition(difference: i64, records: &[(i64, usize)]) -> Content {
        let within = |start: i64| {
            let bounds = start..=start + difference;
            records.iter().copied().filter(|(time, _)| bounds.contains(time)).collect::<Vec<_>>()
        };
        let starts = records.iter().flat_map(|(time, _)| [(time - difference).max(0), time + 1]);
        starts.map(|start| (start, within(start))).filter(|(_, held)| !held.is_empty()).collect()
    }

    /// Applies what a record does; the starts in the order of the updates.
    fn apply(windows: SlidingWindows, content: &mut Content, record: (i64, usize)) -> Vec<i64> {
        let (from, to) = windows.starts_around(at(record.0));
        let before = content.clone();
        let row = |(start, held): (&i64, &Vec<(i64, usize)>)| SlidingRow {
            start: at(*start),
            latest: at(held.iter().map(|(time, _)| *time).max().expect("windows hold records")),
        };
        let rows: Vec<_> = before.range(from.as_millis()..=to.as_millis()).map(row).collect();
        let updates = windows.updates(at(record.0), &rows);
        for update in &updates {
            let start = update.window.start.as_millis();
            let mut held = match update.base {
                SlidingBase::Own => before[&start].clone(),
                SlidingBase::CopyOf(other) => before[&other.as_millis()].clone(),
                SlidingBase::Initial => Vec::new(),
            };
            if update.adds_record {
                held.push(record);
            }
            content.insert(start, held);
        }
        updates.iter().map(|update| update.window.start.as_millis()).collect()
    }

    fn order_of_last(difference: i64, timestamps: &[i64]) -> Vec<i64> {
        let windows = SlidingWindows::of(ms(difference));
        let mut content = Content::new();
        let orders: Vec<_> = (timestamps.iter().enumerate())
            .map(|(number, &time)| apply(windows, &mut content, (time, number)))
            .collect();
        orders.last().cloned().unwrap_or_default()
    }

    #[test]
    fn windows_hold_exactly_the_records_within_their_bounds() {
        for seed in 0..400 {
            let mut random = Random(seed);
            let difference = random.below(12);
            let windows = SlidingWindows::of(ms(difference));
            let (mut content, mut records) = (Content::new(), Vec::new());
            for number in 0..40 {
                let record = (random.below(60), number);
                apply(windows, &mut content, record);
                records.push(record);
                assert_eq!(content, by_definition(difference, &records), "seed {seed}");
            }
        }
    }

    #[test]
    fn late_records_and_retention_leave_the_open_windows_exact() {
        for seed in 0..400 {
            let mut random = Random(seed);
            let (difference, grace) = (random.below(8), random.below(8));
            let windows = SlidingWindows::of(ms(difference)).grace(ms(grace));
            let (mut content, mut records) = (Content::new(), Vec::new());
            let mut stream_time = 0;
            for number in 0..80 {
                let time = (stream_time + random.below(25) - 18).max(0);
                stream_time = stream_time.max(time);
                let oldest = stream_time - millis(windows.retention());
                content.retain(|start, _| *start >= oldest);
                if windows.is_late(at(time), at(stream_time)) {
                    continue;
                }
                records.push((time, number));
                apply(windows, &mut content, (time, number));
                let expected = by_definition(difference, &records);
                for (start, held) in expected {
                    let closed = windows.is_closed(windows.window_at(at(start)), at(stream_time));
                    assert!(closed || content[&start] == held, "seed {seed}: {start} {held:?}");
                }
            }
        }
    }

    #[test]
    fn a_closed_left_window_leaves_its_record_to_later_windows() {
        let windows = SlidingWindows::of(ms(10)).grace(ms(0));
        assert!(!windows.is_late(at(20), at(30)));
        assert!(windows.is_closed(windows.window_at(at(10)), at(30)));
        let mut content = Content::new();
        for (number, time) in [30, 20, 25].into_iter().enumerate() {
            apply(windows, &mut content, (time, number));
        }
        assert_eq!(content[&20], [(30, 0), (20, 1), (25, 2)]);
        assert_eq!(content[&21], [(30, 0), (25, 2)]);
    }

    #[test]
    fn existing_windows_come_from_latest_to_earliest_and_then_the_new_ones() {
        assert_eq!(order_of_last(10, &[100, 107, 104]), [101, 97, 94, 105]);
        assert_eq!(order_of_last(10, &[100, 104]), [101, 94]);
        assert_eq!(order_of_last(10, &[100, 112]), [102]);
    }

    #[test]
    fn the_window_shared_near_the_epoch_comes_last() {
        assert_eq!(order_of_last(10, &[2]), [0]);
        assert_eq!(order_of_last(10, &[2, 6]), [3, 0]);
        assert_eq!(order_of_last(10, &[2, 6, 4]), [3, 5, 0]);
    }

    #[test]
    fn a_second_record_of_one_time_creates_no_windows() {
        assert_eq!(order_of_last(10, &[100, 105, 105]), [101, 95]);
    }

    #[test]
    fn a_window_is_closed_behind_its_end_and_grace() {
        let windows = SlidingWindows::of(ms(10)).grace(ms(5));
        assert!(!windows.is_closed(windows.window_at(at(0)), at(15)));
        assert!(windows.is_closed(windows.window_at(at(0)), at(16)));
        assert!(!windows.is_late(at(0), at(15)));
        assert!(windows.is_late(at(0), at(16)));
    }

    #[test]
    fn a_store_keeps_windows_for_three_differences_and_grace() {
        let windows = SlidingWindows::of(ms(10)).grace(ms(5));
        assert_eq!(windows.retention(), ms(35));
        assert_eq!(windows.difference(), ms(10));
    }

    #[test]
    fn definitions_that_make_no_sense_are_refused() {
        assert_eq!(SlidingWindows::of(ms(0)).validate(), Ok(()));
        assert_eq!(SlidingWindows::of(Duration::MAX).validate(), Err(WindowError::TooLong));
    }
}
