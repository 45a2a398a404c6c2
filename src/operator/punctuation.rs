//! When does a timer fire? The timers of one task, by stream time and by wall clock.
//!
//! - Stream time: a grid of multiples of the interval; a timer fires once per step however many
//!   intervals were jumped over, first right after the first record.
//! - Wall clock: first after a full interval; a late tick shifts nothing.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
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
    WallClock,
}

/// What a timer calls.
pub(crate) trait Punctuate {
    /// Called with the time that the timer is driven by.
    fn punctuate(&mut self, cx: &mut Cx<'_>, timer: TimerId, now: Timestamp) -> Result<()>;
}

/// Names a timer within its task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimerId(u64);

/// Ends a timer: after `cancel` it does not fire again.
#[derive(Clone, Debug)]
pub struct Cancellable {
    cancelled: Rc<Cell<bool>>,
}

impl Cancellable {
    /// Ends the timer.
    pub fn cancel(&self) {
        self.cancelled.set(true);
    }
}

struct Timer {
    id: TimerId,
    kind: PunctuationType,
    interval_ms: i64,
    /// The time at which it fires next.
    due: Timestamp,
    cancelled: Rc<Cell<bool>>,
    target: Rc<RefCell<dyn Punctuate>>,
}

/// The timers of one task.
#[derive(Default)]
pub(crate) struct PunctuationQueue {
    timers: Vec<Timer>,
    next_id: u64,
}

/// A timer that is due, to be fired by the task once the queue is no longer borrowed.
pub(crate) struct Due {
    pub(crate) id: TimerId,
    pub(crate) target: Rc<RefCell<dyn Punctuate>>,
}

impl PunctuationQueue {
    /// Starts a timer. `now` is the wall clock; it matters for wall-clock timers only.
    pub(crate) fn schedule(
        &mut self,
        kind: PunctuationType,
        interval: Duration,
        now: Timestamp,
        target: Rc<RefCell<dyn Punctuate>>,
    ) -> (TimerId, Cancellable) {
        let id = TimerId(self.next_id);
        self.next_id += 1;
        let interval_ms = millis(interval).max(1);
        let due = match kind {
            PunctuationType::StreamTime => Timestamp::ZERO,
            PunctuationType::WallClock => now.plus_millis(interval_ms),
        };
        let cancelled = Rc::new(Cell::new(false));
        let cancellable = Cancellable { cancelled: Rc::clone(&cancelled) };
        self.timers.push(Timer { id, kind, interval_ms, due, cancelled, target });
        (id, cancellable)
    }

    /// Takes the timers of this kind that are due at `now`, each once, and sets when they fire
    /// next.
    pub(crate) fn take_due(&mut self, kind: PunctuationType, now: Timestamp, due: &mut Vec<Due>) {
        if self.timers.is_empty() || now == Timestamp::UNKNOWN {
            return;
        }
        self.timers.retain(|timer| !timer.cancelled.get());
        for timer in self.timers.iter_mut().filter(|timer| timer.kind == kind && timer.due <= now) {
            let steps = (now.as_millis() - timer.due.as_millis()) / timer.interval_ms + 1;
            timer.due = timer.due.plus_millis(steps * timer.interval_ms);
            due.push(Due { id: timer.id, target: Rc::clone(&timer.target) });
        }
    }

    /// When the next wall-clock timer fires.
    pub(crate) fn next_wall_clock(&self) -> Option<Timestamp> {
        let wall = self.timers.iter().filter(|timer| timer.kind == PunctuationType::WallClock);
        wall.filter(|timer| !timer.cancelled.get()).map(|timer| timer.due).min()
    }
}
