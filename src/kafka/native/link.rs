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
