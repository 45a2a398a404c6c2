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
    /// Looks after which heartbeats were sent, none of which is confirmed yet: the number of the
    /// first of them, and when the look was. A member sends several at once when it joins, and
    /// the last of them is confirmed only with the next that comes, seconds later.
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
        // Of what was sent before the first look, it is not known when.
        if let Some(before) = self.looked_at.replace(now)
            && sent > self.sent
        {
            self.open.push_back((self.sent + 1, before));
        }
        self.sent = sent;
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
        assert_eq!(lease(&steps).until(), at(1) + SESSION, "the first was sent after the look");
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

    #[test]
    fn one_that_joins_between_two_looks_has_its_lease_at_once() {
        let join = [(2, "sent"), (2, "answered"), (2, "sent"), (2, "answered"), (2, "sent")];
        let steps = [&[(1, "look")], &join[..], &[(3, "look")]].concat();
        assert_eq!(lease(&steps).until(), at(1) + SESSION);
    }

    #[test]
    fn what_was_sent_before_the_first_look_begins_no_lease() {
        let steps = [(1, "sent"), (2, "answered"), (3, "sent"), (4, "look"), (5, "look")];
        assert_eq!(lease(&steps).until(), Instant::default());
    }

    /// Whatever is sent, answered and looked at in whichever order.
    #[test]
    fn no_lease_counts_from_after_the_last_confirmed_heartbeat() {
        const STEPS: u32 = 10;
        for mut order in 0..3_u64.pow(STEPS) {
            let (heartbeats, mut lease) = (Heartbeats::default(), Lease::new(SESSION));
            let mut sent_at = Vec::new();
            for second in 1..=u64::from(STEPS) {
                match order % 3 {
                    0 => {
                        heartbeats.note_sent();
                        sent_at.push(at(second));
                    }
                    1 => heartbeats.note_answered(),
                    _ => lease.look(at(second), &heartbeats),
                }
                order /= 3;
                let confirmed = (heartbeats.confirmed() as usize).checked_sub(1);
                let latest = confirmed.map_or(Instant::default(), |last| sent_at[last] + SESSION);
                assert!(lease.until() <= latest, "{sent_at:?} {:?}", lease.until());
            }
        }
    }
}
