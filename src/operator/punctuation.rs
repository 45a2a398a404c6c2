//! When does a timer fire? The timers of one task, by stream time and by wall clock.
//!
//! # Invariants
//!
//! - A timer fires at most once for each step of its clock, however many intervals were jumped
//!   over, and its next time is on the grid of the first: a late tick shifts nothing.
//! - Timers that are due fire in the order of their times, then in the order in which they were
//!   set or have fired last.
//! - A timer that is cancelled does not fire again, not even if it was due already.
//! - Where the wall clock is set back, a timer does not wait until it has caught up: it fires next
//!   at the next time of its grid by the new clock.
//! - The queue does not keep operators alive.

use std::cell::{Cell, RefCell};
use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::rc::{Rc, Weak};
use std::time::Duration;

use crate::error::Result;
use crate::operator::push::Cx;
use crate::time::{Timestamp, millis};

/// Which clock drives a timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PunctuationType {
    /// The task's stream time: moves only with records.
    StreamTime,
    /// The wall clock.
    #[doc(alias = "WALL_CLOCK_TIME")]
    WallClock,
}

/// What a timer calls.
pub(crate) trait Punctuate {
    /// A timer fires.
    fn punctuate(&mut self, cx: &mut Cx<'_>, punctuation: Punctuation) -> Result<()>;
}

/// Names a timer within its task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TimerId(u64);

/// A timer that fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Punctuation {
    /// Which timer, for a processor that has set several.
    pub timer: TimerId,
    /// Which clock drives it.
    pub kind: PunctuationType,
    /// What that clock says now; not before the time that the timer was due.
    pub time: Timestamp,
}

/// A timer's other end: after `cancel` it does not fire again.
///
/// Dropping it changes nothing.
#[derive(Clone, Debug)]
pub struct Cancellable {
    timer: TimerId,
    cancelled: Rc<Cell<bool>>,
}

impl Cancellable {
    /// Ends the timer.
    pub fn cancel(&self) {
        self.cancelled.set(true);
    }

    /// The timer, as [`Punctuation::timer`] names it.
    pub const fn timer(&self) -> TimerId {
        self.timer
    }
}

/// The first time at or after `now` on the grid that begins at `start`; a point of the grid that
/// is `now` itself is past, unless it is `start`.
pub(crate) fn first_on_grid(start: Timestamp, interval: Duration, now: Timestamp) -> Timestamp {
    if start < now { next_on_grid(start, interval_ms(interval), now) } else { start }
}

/// The first time behind `now` on the grid that `due` is on.
fn next_on_grid(due: Timestamp, interval_ms: i64, now: Timestamp) -> Timestamp {
    let steps = now.as_millis().saturating_sub(due.as_millis()).div_euclid(interval_ms) + 1;
    due.plus_millis(steps.saturating_mul(interval_ms))
}

fn interval_ms(interval: Duration) -> i64 {
    millis(interval).max(1)
}

struct Timer {
    /// The time at which it fires next.
    due: Timestamp,
    /// Decides between timers that are due at one time.
    turn: u64,
    id: TimerId,
    interval_ms: i64,
    cancelled: Rc<Cell<bool>>,
    target: Weak<RefCell<dyn Punctuate>>,
}

/// The timer that fires first is the largest, for a heap to hand out.
impl Ord for Timer {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.due, other.turn).cmp(&(self.due, self.turn))
    }
}

impl PartialOrd for Timer {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Timer {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Timer {}

/// The timers of one task.
#[derive(Default)]
pub(crate) struct PunctuationQueue {
    stream_time: BinaryHeap<Timer>,
    wall_clock: BinaryHeap<Timer>,
    /// What the wall clock said when its timers were looked at last.
    last_wall_clock: Option<Timestamp>,
    next_id: u64,
    next_turn: u64,
}

/// A timer that is due, to be fired by the task once the queue is no longer borrowed.
pub(crate) struct Due {
    pub(crate) punctuation: Punctuation,
    pub(crate) target: Rc<RefCell<dyn Punctuate>>,
}

impl PunctuationQueue {
    /// Starts a timer that fires first at `first`.
    pub(crate) fn schedule(
        &mut self,
        kind: PunctuationType,
        first: Timestamp,
        interval: Duration,
        target: Weak<RefCell<dyn Punctuate>>,
    ) -> Cancellable {
        let id = TimerId(self.next_id);
        self.next_id += 1;
        let cancelled = Rc::new(Cell::new(false));
        let cancellable = Cancellable { timer: id, cancelled: Rc::clone(&cancelled) };
        let interval_ms = interval_ms(interval);
        let turn = self.take_turn();
        self.timers(kind).push(Timer { due: first, turn, id, interval_ms, cancelled, target });
        cancellable
    }

    /// Takes the next timer of this kind that is due at `now`, and sets when it fires again.
    pub(crate) fn take_due(&mut self, kind: PunctuationType, now: Timestamp) -> Option<Due> {
        if kind == PunctuationType::WallClock {
            let before = self.last_wall_clock.replace(now);
            if let Some(before) = before.filter(|before| now < *before) {
                self.set_back(before, now);
            }
        }
        while self.timers(kind).peek().is_some_and(|timer| timer.due <= now) {
            let mut timer = self.timers(kind).pop()?;
            let target = timer.target.upgrade().filter(|_| !timer.cancelled.get());
            let Some(target) = target else { continue };
            let punctuation = Punctuation { timer: timer.id, kind, time: now };
            timer.due = next_on_grid(timer.due, timer.interval_ms, now);
            timer.turn = self.take_turn();
            self.timers(kind).push(timer);
            return Some(Due { punctuation, target });
        }
        None
    }

    /// Moves timers to the clock that was set back. One whose first time lies further ahead than
    /// its interval was given that time, and keeps it.
    #[cold]
    fn set_back(&mut self, before: Timestamp, now: Timestamp) {
        let mut timers = std::mem::take(&mut self.wall_clock).into_vec();
        for timer in &mut timers {
            if timer.due <= before.plus_millis(timer.interval_ms) {
                timer.due = next_on_grid(timer.due, timer.interval_ms, now);
            }
        }
        self.wall_clock = timers.into();
    }

    /// When the next wall-clock timer fires, if it is not cancelled by then.
    pub(crate) fn next_wall_clock(&self) -> Option<Timestamp> {
        self.wall_clock.peek().map(|timer| timer.due)
    }

    const fn take_turn(&mut self) -> u64 {
        let turn = self.next_turn;
        self.next_turn += 1;
        turn
    }

    const fn timers(&mut self, kind: PunctuationType) -> &mut BinaryHeap<Timer> {
        match kind {
            PunctuationType::StreamTime => &mut self.stream_time,
            PunctuationType::WallClock => &mut self.wall_clock,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nothing;

    impl Punctuate for Nothing {
        fn punctuate(&mut self, _: &mut Cx<'_>, _: Punctuation) -> Result<()> {
            Ok(())
        }
    }

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn every(interval_ms: u64) -> Duration {
        Duration::from_millis(interval_ms)
    }

    struct Timers {
        queue: PunctuationQueue,
        target: Rc<RefCell<dyn Punctuate>>,
    }

    impl Timers {
        fn new() -> Self {
            let target = Rc::new(RefCell::new(Nothing)) as Rc<RefCell<dyn Punctuate>>;
            Self { queue: PunctuationQueue::default(), target }
        }

        fn set(&mut self, first: i64, interval_ms: u64) -> Cancellable {
            let target = Rc::downgrade(&self.target);
            let kind = PunctuationType::WallClock;
            self.queue.schedule(kind, at(first), every(interval_ms), target)
        }

        fn fired(&mut self, now: i64) -> Vec<u64> {
            let due = || self.queue.take_due(PunctuationType::WallClock, at(now));
            std::iter::from_fn(due).map(|due| due.punctuation.timer.0).collect()
        }
    }

    #[test]
    fn a_late_tick_fires_once_and_shifts_nothing() {
        let mut timers = Timers::new();
        timers.set(10, 10);
        assert_eq!(timers.fired(9), [0_u64; 0]);
        assert_eq!(timers.fired(10), [0]);
        assert_eq!(timers.fired(19), [0_u64; 0]);
        assert_eq!(timers.fired(47), [0]);
        assert_eq!(timers.queue.next_wall_clock(), Some(at(50)));
        assert_eq!(timers.fired(50), [0]);
    }

    #[test]
    fn timers_go_on_by_a_wall_clock_that_was_set_back() {
        const HOUR: i64 = 3_600_000;
        let mut timers = Timers::new();
        timers.set(HOUR + 10, 10);
        timers.set(2 * HOUR, 10);
        assert_eq!(timers.fired(HOUR + 12), [0]);
        assert_eq!(timers.fired(13), [0_u64; 0]);
        assert_eq!(timers.queue.next_wall_clock(), Some(at(20)));
        assert_eq!(timers.fired(20), [0]);
        assert_eq!(timers.fired(34), [0]);
        // A first time that was asked for is that time, whatever happens to the clock before.
        assert_eq!(timers.fired(2 * HOUR - 1), [0]);
        assert_eq!(timers.fired(2 * HOUR), [1, 0]);
    }

    #[test]
    fn timers_fire_in_the_order_of_their_times() {
        let mut timers = Timers::new();
        timers.set(30, 5);
        timers.set(10, 100);
        timers.set(10, 100);
        assert_eq!(timers.fired(30), [1, 2, 0]);
    }

    #[test]
    fn a_timer_that_is_cancelled_while_it_is_due_does_not_fire() {
        let mut timers = Timers::new();
        timers.set(1, 1);
        let second = timers.set(2, 1);
        assert!(timers.queue.take_due(PunctuationType::WallClock, at(2)).is_some());
        second.cancel();
        assert_eq!(timers.fired(2), [0_u64; 0]);
        assert_eq!(timers.fired(3), [0]);
    }

    #[test]
    fn a_timer_of_an_operator_that_is_gone_is_dropped() {
        let mut timers = Timers::new();
        timers.set(1, 1);
        timers.target = Rc::new(RefCell::new(Nothing));
        assert_eq!(timers.fired(1), [0_u64; 0]);
        assert_eq!(timers.queue.next_wall_clock(), None);
    }

    #[test]
    fn a_grid_may_begin_in_the_past_or_in_the_future() {
        assert_eq!(first_on_grid(at(5), every(10), at(3)), at(5));
        assert_eq!(first_on_grid(at(5), every(10), at(5)), at(5));
        assert_eq!(first_on_grid(at(5), every(10), at(6)), at(15));
        assert_eq!(first_on_grid(at(5), every(10), at(15)), at(25));
        assert_eq!(first_on_grid(at(5), every(10), Timestamp::UNKNOWN), at(5));
        assert_eq!(first_on_grid(at(0), Duration::MAX, at(9)), Timestamp::MAX);
    }
}
