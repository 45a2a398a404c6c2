//! Who waits in vain for a transaction to end?
//!
//! A task takes its committed offsets and its state only from behind transactions that have ended.
//! The log ends what a dead process has left open. But a coordinator that was killed at the wrong
//! moment may have ended a transaction for itself and not in its partitions, and then nobody ends
//! it there any more: only a person can.
//!
//! # Invariants
//!
//! - Of a standstill the user hears, and again as long as it lasts.

use std::time::Duration;

use crate::time::Instant;

/// After how long the user is told, and how often: longer than the log takes to end what a process
/// of this library has left open (ten seconds, unless `transaction_timeout` says otherwise).
const TELL_INTERVAL: Duration = Duration::from_secs(60);

/// What the user can do.
pub(crate) const HELP: &str = "if it lasts, `kafka-transactions.sh find-hanging` shows whether a \
                               transaction was left open, and `abort` ends it";

/// Where somebody waits, and since when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standstill {
    place: u64,
    since: Instant,
    told_at: Instant,
}

impl Standstill {
    pub(crate) const fn new(place: u64, now: Instant) -> Self {
        Self { place, since: now, told_at: now }
    }

    pub(crate) const fn lasted(&self, now: Instant) -> Duration {
        now.since(self.since)
    }

    /// How long it has lasted at this place, whenever that is to be told.
    pub(crate) fn at(&mut self, place: u64, now: Instant) -> Option<Duration> {
        if place != self.place {
            *self = Self::new(place, now);
        }
        let is_due = now.since(self.told_at) >= TELL_INTERVAL;
        is_due.then(|| {
            self.told_at = now;
            self.lasted(now)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_origin(Duration::from_secs(seconds))
    }

    #[test]
    fn who_does_not_move_is_told_of_every_minute_and_who_moves_never() {
        let mut standstill = Standstill::new(5, at(1));
        assert_eq!(standstill.at(5, at(60)), None);
        assert_eq!(standstill.at(5, at(61)), Some(Duration::from_secs(60)));
        assert_eq!(standstill.at(5, at(62)), None, "it was told");
        assert_eq!(standstill.at(5, at(121)), Some(Duration::from_secs(120)));
        assert_eq!(standstill.at(6, at(200)), None, "it has moved");
        assert_eq!(standstill.at(6, at(259)), None);
        assert_eq!(standstill.at(6, at(260)), Some(Duration::from_secs(60)));
    }
}
