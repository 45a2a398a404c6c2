//! How does a coordinator lead transactions, classic ones and those of version 2?
//!
//! # Invariants
//!
//! - Markers are written some time after the end was decided; until then nothing else goes on
//!   under the id.
//! - With version 2 each end takes the next epoch, and an end that is asked for again is known by
//!   the epoch before.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::kafka::native::messages::Code;
use crate::time::Instant;

pub(super) const NONE: Code = 0;
pub(super) const INVALID_PRODUCER_EPOCH: Code = 47;
pub(super) const INVALID_TXN_STATE: Code = 48;
const INVALID_PRODUCER_ID_MAPPING: Code = 49;
pub(super) const CONCURRENT_TRANSACTIONS: Code = 51;
pub(super) const PRODUCER_FENCED: Code = 90;

/// A topic and the index of a partition.
pub(super) type Place = (String, u32);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Empty,
    Ongoing,
    /// Whether it commits, and when its markers are written.
    Ending(bool, Instant),
    Ended(bool),
}

/// What is known under one id.
#[derive(Clone, Debug)]
pub(super) struct Transaction {
    pub(super) producer: i64,
    pub(super) epoch: i16,
    state: State,
    since: Instant,
    timeout: Duration,
    partitions: BTreeSet<Place>,
    groups: BTreeSet<String>,
    /// Offsets by group and place.
    pub(super) offsets: BTreeMap<(String, Place), i64>,
}

/// What the end of a transaction leaves behind.
#[derive(Debug)]
pub(super) struct Markers {
    pub(super) producer: i64,
    pub(super) epoch: i16,
    pub(super) commits: bool,
    pub(super) partitions: BTreeSet<Place>,
    pub(super) offsets: BTreeMap<(String, Place), i64>,
}

impl Transaction {
    pub(super) fn new(producer: i64, timeout: Duration) -> Self {
        Self {
            producer,
            epoch: -1,
            state: State::Empty,
            since: Instant::from_origin(Duration::ZERO),
            timeout,
            partitions: BTreeSet::new(),
            groups: BTreeSet::new(),
            offsets: BTreeMap::new(),
        }
    }

    /// Takes the next epoch, once nothing of the last is open any more.
    pub(super) fn init(&mut self, now: Instant, markers_after: Duration) -> Result<i16, Code> {
        match self.state {
            State::Ongoing => {
                self.epoch += 1;
                self.state = State::Ending(false, now + markers_after);
                Err(CONCURRENT_TRANSACTIONS)
            }
            State::Ending(..) => Err(CONCURRENT_TRANSACTIONS),
            State::Empty | State::Ended(_) => {
                self.epoch += 1;
                self.state = State::Empty;
                Ok(self.epoch)
            }
        }
    }

    pub(super) fn is_ongoing(&self) -> bool {
        self.state == State::Ongoing
    }

    /// Whether this epoch may go on, as who adds to the transaction.
    fn may_add(&self, by: (i64, i16)) -> Result<(), Code> {
        if by.0 != self.producer {
            return Err(INVALID_PRODUCER_ID_MAPPING);
        }
        if by.1 != self.epoch {
            return Err(PRODUCER_FENCED);
        }
        match self.state {
            State::Ending(..) => Err(CONCURRENT_TRANSACTIONS),
            State::Empty | State::Ongoing | State::Ended(_) => Ok(()),
        }
    }

    fn go_on(&mut self, now: Instant) {
        if self.state != State::Ongoing {
            self.state = State::Ongoing;
            self.since = now;
        }
    }

    pub(super) fn add(
        &mut self,
        by: (i64, i16),
        places: impl IntoIterator<Item = Place>,
        now: Instant,
    ) -> Code {
        if let Err(code) = self.may_add(by) {
            return code;
        }
        self.partitions.extend(places);
        self.go_on(now);
        NONE
    }

    pub(super) fn add_group(&mut self, by: (i64, i16), group: &str, now: Instant) -> Code {
        if let Err(code) = self.may_add(by) {
            return code;
        }
        self.groups.insert(group.to_owned());
        self.go_on(now);
        NONE
    }

    /// Whether a partition has been added by this epoch.
    pub(super) fn has(&self, by: (i64, i16), place: &Place) -> bool {
        let is_mine = by == (self.producer, self.epoch);
        is_mine && self.is_ongoing() && self.partitions.contains(place)
    }

    pub(super) fn commit_offset(
        &mut self,
        by: (i64, i16),
        group: &str,
        (place, offset): (Place, i64),
    ) -> Code {
        if by.1 < self.epoch || by.0 != self.producer {
            return INVALID_PRODUCER_EPOCH;
        }
        if !self.is_ongoing() || !self.groups.contains(group) {
            return INVALID_TXN_STATE;
        }
        self.offsets.insert((group.to_owned(), place), offset);
        NONE
    }

    /// Ends a classic transaction.
    pub(super) fn end(&mut self, by: (i64, i16), commits: bool, ends_at: Instant) -> Code {
        if by.0 != self.producer {
            return INVALID_PRODUCER_ID_MAPPING;
        }
        if by.1 != self.epoch {
            return PRODUCER_FENCED;
        }
        match self.state {
            State::Ongoing => {
                self.state = State::Ending(commits, ends_at);
                NONE
            }
            State::Ending(how, _) if how == commits => CONCURRENT_TRANSACTIONS,
            State::Ended(how) if how == commits => NONE,
            State::Empty | State::Ending(..) | State::Ended(_) => INVALID_TXN_STATE,
        }
    }

    /// Ends a transaction of version 2.
    pub(super) fn end_v2(&mut self, by: (i64, i16), commits: bool, ends_at: Instant) -> Code {
        if by.0 != self.producer {
            return INVALID_PRODUCER_ID_MAPPING;
        }
        let is_again = by.1 + 1 == self.epoch;
        let is_valid = match self.state {
            State::Empty | State::Ongoing => by.1 == self.epoch,
            State::Ending(..) => is_again,
            State::Ended(_) => is_again || by.1 == self.epoch,
        };
        if !is_valid {
            return PRODUCER_FENCED;
        }
        match self.state {
            State::Ended(how) if is_again && how == commits => return NONE,
            State::Ending(how, _) if how == commits => return CONCURRENT_TRANSACTIONS,
            State::Ongoing => {}
            // Nothing was written: an abort takes the next epoch all the same.
            State::Empty | State::Ended(_) if !is_again && !commits => {}
            _ => return INVALID_TXN_STATE,
        }
        self.epoch += 1;
        self.state = State::Ending(commits, ends_at);
        NONE
    }

    /// Ends by itself what has been open for too long.
    pub(super) fn expire(&mut self, now: Instant, is_v2: bool) {
        if self.is_ongoing() && now.since(self.since) >= self.timeout {
            self.epoch += if is_v2 { 2 } else { 1 };
            self.state = State::Ending(false, now);
        }
    }

    /// What is written now that the end is due.
    pub(super) fn markers(&mut self, now: Instant) -> Option<Markers> {
        let State::Ending(commits, at) = self.state else { return None };
        if now < at {
            return None;
        }
        self.state = State::Ended(commits);
        self.groups.clear();
        Some(Markers {
            producer: self.producer,
            epoch: self.epoch,
            commits,
            partitions: std::mem::take(&mut self.partitions),
            offsets: std::mem::take(&mut self.offsets),
        })
    }

    /// When something is to be done, if nobody asks before.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Ongoing => Some(self.since + self.timeout),
            State::Ending(_, at) => Some(at),
            State::Empty | State::Ended(_) => None,
        }
    }
}
