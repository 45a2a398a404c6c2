//! Which connections are there, and when is one made again that was lost?
//!
//! # Invariants
//!
//! - One that cannot be made is tried again after a pause that grows up to a limit.

use std::time::Duration;

use super::connection::Connection;
use super::messages::Node;
use crate::time::Instant;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lane {
    /// To whichever broker answers, as long as none is known by its number.
    Bootstrap,
    /// Everything but reading.
    Calls(Node),
    /// Reading. A broker answers one request of a connection after the other, and reading waits for
    /// records; so there are two, for what begins while the first one waits.
    Fetch(Node, u8),
}

impl Lane {
    /// The broker that is reached.
    pub(super) const fn node(self) -> Option<Node> {
        match self {
            Self::Bootstrap => None,
            Self::Calls(node) | Self::Fetch(node, _) => Some(node),
        }
    }
}

#[derive(Debug)]
enum State<P> {
    Down,
    Connecting { since: Instant },
    Up(Connection<P>),
}

/// A connection, or what is to become one.
#[derive(Debug)]
pub(super) struct Link<P> {
    state: State<P>,
    pause: Duration,
    pause_max: Duration,
    /// How long it may take to be connected.
    setup_timeout: Duration,
    not_before: Instant,
    /// Until when the broker wants to be left alone.
    quiet_until: Instant,
}

impl<P> Link<P> {
    /// One that has not been made. Pauses grow from the first duration to the second.
    pub(super) const fn new(pauses: (Duration, Duration), setup_timeout: Duration) -> Self {
        let not_before = Instant::from_origin(Duration::ZERO);
        let (pause, pause_max) = pauses;
        let quiet_until = not_before;
        Self { state: State::Down, pause, pause_max, setup_timeout, not_before, quiet_until }
    }

    pub(super) const fn is_connecting(&self) -> bool {
        matches!(self.state, State::Connecting { .. })
    }

    /// Whether an attempt can be made now.
    pub(super) fn may_connect(&self, now: Instant) -> bool {
        matches!(self.state, State::Down) && now >= self.not_before
    }

    pub(super) fn connecting(&mut self, now: Instant) {
        self.state = State::Connecting { since: now };
    }

    pub(super) fn connected(&mut self, connection: Connection<P>) {
        self.state = State::Up(connection);
    }

    /// Whether the connection was attempted for too long.
    pub(super) fn is_late(&self, now: Instant) -> bool {
        match self.state {
            State::Connecting { since } => now.since(since) >= self.setup_timeout,
            State::Down | State::Up(_) => false,
        }
    }

    /// Whether nothing has been asked for so long that it is not worth being kept.
    pub(super) fn is_idle(&mut self, now: Instant, idle_max: Option<Duration>) -> bool {
        let since = self.up().and_then(|connection| connection.idle_since());
        since.zip(idle_max).is_some_and(|(since, most)| now.since(since) >= most)
    }

    pub(super) const fn up(&mut self) -> Option<&mut Connection<P>> {
        match &mut self.state {
            State::Up(connection) => Some(connection),
            State::Down | State::Connecting { .. } => None,
        }
    }

    /// The connection, if something can be asked on it now.
    pub(super) fn ready(&mut self, now: Instant) -> Option<&mut Connection<P>> {
        let is_quiet = now < self.quiet_until;
        self.up().filter(|connection| connection.is_ready() && !is_quiet)
    }

    /// The broker asks for less.
    pub(super) fn keep_quiet(&mut self, until: Instant) {
        self.quiet_until = self.quiet_until.max(until);
    }

    /// The connection is gone; what was asked on it is in the one that is returned.
    pub(super) fn lost(&mut self, now: Instant, was_useful: bool) -> Option<Connection<P>> {
        let state = std::mem::replace(&mut self.state, State::Down);
        self.not_before = now + self.pause;
        if !was_useful {
            self.pause = (self.pause * 2).min(self.pause_max);
        }
        match state {
            State::Up(connection) => Some(connection),
            State::Down | State::Connecting { .. } => None,
        }
    }

    /// Something was answered: the next pause is short again.
    pub(super) const fn useful(&mut self, pause: Duration) {
        self.pause = pause;
    }

    /// When something is to be done about it, if nothing happens before.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        match &self.state {
            State::Down => (self.not_before > now).then_some(self.not_before),
            State::Connecting { since } => Some(*since + self.setup_timeout),
            State::Up(connection) => {
                let quiet = (self.quiet_until > now).then_some(self.quiet_until);
                [connection.deadline(), quiet].into_iter().flatten().min()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_origin(Duration::from_millis(millis))
    }

    #[test]
    fn one_that_is_being_greeted_is_not_idle() {
        let second = Duration::from_secs(1);
        let mut link: Link<()> = Link::new((second, second), second);
        link.connecting(at(0));
        link.connected(Connection::new(&"client".into(), None, at(1_000)));
        assert!(!link.is_idle(at(60_000), Some(second)));
        // The answer to the first words: no error, and no request that is spoken.
        let answer = [0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0];
        let link_up = link.up().expect("it was connected");
        link_up.received(bytes::Bytes::copy_from_slice(&answer), at(100)).unwrap();
        assert!(!link.is_idle(at(1_099), Some(second)));
        assert!(link.is_idle(at(1_100), Some(second)));
        assert!(!link.is_idle(at(1_100), None));
    }
}
