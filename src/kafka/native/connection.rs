//! What has been said on one connection, and what is answered to what?
//!
//! Bytes in, bytes out: who owns a socket carries them.
//!
//! # Invariants
//!
//! - A broker answers in the order in which it was asked. An answer to anything else breaks the
//!   connection; what was asked on a broken connection is handed back, and may have happened.
//! - Nothing but the first words is said before the broker has told which versions it speaks.
//! - Each request has a deadline: a broker that does not answer is left.

mod greeting;

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use self::greeting::Greeting;
use super::api::{Api, NoVersion, Versions};
use super::sasl::SaslSettings;
use super::wire::{Malformed, Reader, Writer};
use crate::time::Instant;

/// Why a connection cannot be used any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Broken {
    #[error("the connection was lost: {0}")]
    Lost(String),
    #[error("the broker has not answered {0:?} in time")]
    Late(Api),
    #[error("an answer was not understood: {0}")]
    Malformed(#[from] Malformed),
    #[error("an answer came to a question that was not asked")]
    Unasked,
    #[error("{0}; brokers since 2.8 are served")]
    Version(#[from] NoVersion),
    #[error("the broker refuses: {0}")]
    Refused(String),
    #[error("the broker does not believe who comes: {0}")]
    Unauthenticated(String),
    #[error("who comes has to say so anew")]
    Spent,
    #[error("nothing was asked on it for long")]
    Idle,
}

impl Broken {
    /// Whether another attempt would end in the same way.
    pub(super) const fn is_permanent(&self) -> bool {
        matches!(self, Self::Version(_) | Self::Refused(_) | Self::Unauthenticated(_))
    }

    /// Whether nothing was heard, so that there may be nobody at the other end.
    pub(super) const fn is_silence(&self) -> bool {
        matches!(self, Self::Late(_))
    }
}

/// A request that has not been answered.
#[derive(Debug)]
struct InFlight<P> {
    correlation: i32,
    api: Api,
    version: i16,
    deadline: Instant,
    /// `None` for the first words.
    purpose: Option<P>,
}

/// An answer, and what it answers.
#[derive(Debug)]
pub(super) struct Answer<P> {
    pub(super) purpose: P,
    pub(super) version: i16,
    /// The whole answer.
    pub(super) frame: Bytes,
    /// Bytes of its head.
    head: usize,
}

impl<P> Answer<P> {
    /// Reads what follows the head; where it finds something is told as a place in the frame.
    pub(super) fn reader(&self) -> Reader<'_> {
        let mut reader = Reader::new(&self.frame);
        reader.skip(self.head);
        reader
    }
}

/// One connection to a broker.
#[derive(Debug)]
pub(super) struct Connection<P> {
    client_id: Arc<str>,
    /// `None` until the broker has told them.
    versions: Option<Versions>,
    greeting: Greeting,
    /// When the broker wants to hear anew who comes.
    expires: Option<Instant>,
    /// When the first words have to be over.
    setup_deadline: Instant,
    in_flight: VecDeque<InFlight<P>>,
    outgoing: VecDeque<Bytes>,
    last_correlation: i32,
    /// When the last answer came; `None` before the first.
    heard: Option<Instant>,
}

impl<P> Connection<P> {
    /// A connection that has just been made; its first words are ready to be sent, and have to be
    /// over at the deadline.
    pub(super) fn new(
        client_id: &Arc<str>,
        sasl: Option<Arc<SaslSettings>>,
        deadline: Instant,
    ) -> Self {
        let mut connection = Self {
            client_id: Arc::clone(client_id),
            versions: None,
            greeting: Greeting::Versions(sasl),
            expires: None,
            setup_deadline: deadline,
            in_flight: VecDeque::new(),
            outgoing: VecDeque::new(),
            last_correlation: 0,
            heard: None,
        };
        connection.greet(Api::Hello, |out| {
            out.text(env!("CARGO_PKG_NAME"));
            out.text(env!("CARGO_PKG_VERSION"));
            out.no_tags();
        });
        connection
    }

    /// What the broker speaks; `None` as long as it has not told.
    pub(super) const fn versions(&self) -> Option<&Versions> {
        self.versions.as_ref()
    }

    /// Whether something may be asked.
    pub(super) const fn is_ready(&self) -> bool {
        matches!(self.greeting, Greeting::Over)
    }

    /// Whether it is to be made anew, since the broker soon takes nothing on it any more.
    pub(super) fn is_spent(&mut self, now: Instant) -> bool {
        if self.expires.is_none_or(|expires| now < expires) {
            return false;
        }
        // Nothing more is asked, and what was asked is answered.
        self.greeting = Greeting::Farewell;
        self.in_flight.is_empty()
    }

    /// Since when nothing has been asked on it.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        self.heard.filter(|_| self.in_flight.is_empty())
    }

    /// How many requests have not been answered.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Asks, in no later version than `at_most`. `write` is given the head and the version, and
    /// appends the question.
    pub(super) fn ask(
        &mut self,
        api: Api,
        at_most: Option<i16>,
        purpose: P,
        deadline: Instant,
        write: impl FnOnce(Writer, i16) -> Vec<Bytes>,
    ) {
        assert!(self.is_ready(), "nothing is asked before the first words are over");
        let best = self.versions.as_ref().expect("they were the first of all").best(api);
        let version = at_most.map_or(best, |most| best.min(most));
        self.say(api, version, Some(purpose), deadline, write);
    }

    fn say(
        &mut self,
        api: Api,
        version: i16,
        purpose: Option<P>,
        deadline: Instant,
        write: impl FnOnce(Writer, i16) -> Vec<Bytes>,
    ) {
        self.last_correlation = self.last_correlation.wrapping_add(1);
        let correlation = self.last_correlation;
        let segments = write(self.head(api, version, correlation), version);
        let length: usize = segments.iter().map(Bytes::len).sum();
        let length = i32::try_from(length).expect("a request is bounded far below 2 GiB");
        self.outgoing.push_back(Bytes::copy_from_slice(&length.to_be_bytes()));
        self.outgoing.extend(segments);
        self.in_flight.push_back(InFlight { correlation, api, version, deadline, purpose });
    }

    fn head(&self, api: Api, version: i16, correlation: i32) -> Writer {
        let mut out = Writer::default();
        out.i16(api as i16);
        out.i16(version);
        out.i32(correlation);
        out.old_text(&self.client_id);
        if api.has_tagged_heads().0 {
            out.no_tags();
        }
        out
    }

    /// Takes a whole answer, without the length before it.
    pub(super) fn received(
        &mut self,
        frame: Bytes,
        now: Instant,
    ) -> Result<Option<Answer<P>>, Broken> {
        let mut reader = Reader::new(&frame);
        let correlation = reader.i32()?;
        let asked = self.in_flight.pop_front().ok_or(Broken::Unasked)?;
        if asked.correlation != correlation {
            // It is handed back with the others.
            self.in_flight.push_front(asked);
            return Err(Broken::Unasked);
        }
        if asked.api.has_tagged_heads().1 {
            reader.tags()?;
        }
        let head = reader.position();
        let version = asked.version;
        self.heard = Some(now);
        if let Some(purpose) = asked.purpose {
            return Ok(Some(Answer { purpose, version, frame, head }));
        }
        self.greeted(&mut reader, now)?;
        Ok(None)
    }

    /// What waits to be sent, in order.
    pub(super) fn outgoing(&mut self) -> &mut VecDeque<Bytes> {
        &mut self.outgoing
    }

    /// When the connection is broken unless an answer comes before.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.in_flight.iter().map(|asked| asked.deadline).min()
    }

    /// Whether an answer is overdue.
    pub(super) fn check(&self, now: Instant) -> Result<(), Broken> {
        match self.in_flight.iter().find(|asked| asked.deadline <= now) {
            Some(asked) => Err(Broken::Late(asked.api)),
            None => Ok(()),
        }
    }

    /// What was asked and will not be answered any more, in order.
    pub(super) fn abandon(self) -> impl Iterator<Item = P> {
        self.in_flight.into_iter().filter_map(|asked| asked.purpose)
    }
}
