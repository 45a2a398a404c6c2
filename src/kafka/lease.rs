//! How long may a member still take what it has for its own? A session from when the coordinator
//! has last heard of it.
//!
//! # Invariants
//!
//! - The lease ends no later than the session does on the coordinator's clock: it begins before the
//!   heartbeat was sent that the coordinator has surely taken.

use std::collections::VecDeque;
use std::time::Duration;

use super::sys::Heartbeats;
use crate::time::Instant;

/// Follows the heartbeats of one member.
pub(super) struct Lease {
    session: Duration,
    /// When the heartbeats were last looked at.
    looked_at: Option<Instant>,
    /// How many had been sent by then.
    sent: u64,
    /// Heartbeats that are not confirmed yet, each with a time before which it was not sent.
    open: VecDeque<(u64, Instant)>,
    held_from: Option<Instant>,
}

impl Lease {
    pub(super) fn new(session: Duration) -> Self {
        Self { session, looked_at: None, sent: 0, open: VecDeque::new(), held_from: None }
    }

    /// Takes in what has been sent and confirmed up to now.
    pub(super) fn look(&mut self, now: Instant, heartbeats: &Heartbeats) {
        // In this order: what is confirmed has been sent.
        let confirmed = heartbeats.confirmed();
        let sent = heartbeats.sent();
        let before = self.looked_at.replace(now).unwrap_or(now);
        if sent > self.sent {
            self.open.push_back((sent, before));
            self.sent = sent;
        }
        while let Some((_, since)) = self.open.front().filter(|(number, _)| *number <= confirmed) {
            self.held_from = Some(*since);
            self.open.pop_front();
        }
    }

    /// The member has lost what it had.
    pub(super) fn end(&mut self) {
        self.open.clear();
        self.held_from = None;
    }

    /// Until when it lasts; the origin if it has not begun.
    pub(super) fn until(&self) -> Instant {
        self.held_from.map_or(Instant::default(), |since| since + self.session)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: Duration = Duration::from_secs(10);

    fn at(seconds: u64) -> Instant {
        Instant::from_origin(Duration::from_secs(seconds))
    }

    /// The lease of a member whose heartbeats go out, and are answered, as told.
    fn lease(steps: &[(u64, &str)]) -> Lease {
        let (heartbeats, mut lease) = (Heartbeats::default(), Lease::new(SESSION));
        for (seconds, step) in steps {
            match *step {
                "sent" => heartbeats.note_sent(),
                "answered" => heartbeats.note_answered(),
                "lost" => lease.end(),
                _ => lease.look(at(*seconds), &heartbeats),
            }
        }
        lease
    }

    #[test]
    fn an_answered_heartbeat_counts_once_the_next_is_sent() {
        let mut steps = vec![(1, "look"), (2, "sent"), (3, "look"), (4, "answered"), (5, "look")];
        assert_eq!(lease(&steps).until(), Instant::default(), "it may have been a refusal");
        steps.extend([(6, "sent"), (7, "look")]);
        assert_eq!(lease(&steps).until(), at(1) + SESSION, "it was sent after the look at 1");
        steps.extend([(8, "answered"), (9, "sent"), (10, "look")]);
        assert_eq!(lease(&steps).until(), at(5) + SESSION);
    }

    #[test]
    fn nothing_is_renewed_by_heartbeats_that_are_not_answered() {
        let mut steps = vec![(1, "look"), (2, "sent"), (3, "answered"), (4, "sent"), (5, "look")];
        assert_eq!(lease(&steps).until(), Instant::default(), "two since the last look: too old");
        steps.extend([(6, "answered"), (7, "sent"), (8, "look")]);
        let until = at(1) + SESSION;
        assert_eq!(lease(&steps).until(), until);
        steps.extend([(20, "look"), (30, "sent"), (40, "sent"), (41, "look")]);
        assert_eq!(lease(&steps).until(), until);
    }

    #[test]
    fn a_frozen_member_wakes_up_with_its_old_lease() {
        let beat = [(1, "look"), (2, "sent"), (3, "look"), (4, "answered"), (5, "sent")];
        let mut steps = [&beat[..], &[(6, "look"), (100, "answered"), (100, "look")]].concat();
        assert_eq!(lease(&steps).until(), at(1) + SESSION);
        steps.extend([(101, "lost"), (102, "sent"), (103, "look")]);
        assert_eq!(lease(&steps).until(), Instant::default());
    }
}
