//! When do the results of a windowed aggregation leave, and which old value do they carry?
//!
//! One rule for the aggregations over all kinds of windows, by [`Emit`]:
//!
//! - each update: at once, with the value before the update as the old one;
//! - on commit: once for each window that has changed, with the value before its first change;
//! - on window close: once for each window, in the order of (end, start, key bytes), with no old
//!   value, since nothing was sent before.
//!
//! # Invariants
//!
//! - The old value is the value last sent downstream, and none at first.
//! - A closed window is sent exactly once, however far time jumps: what is still owed is listed
//!   here, and a row is dropped from the store only after its result has left.
//! - A total that the store's codec writes as null is no row: it is sent as a tombstone, nothing is
//!   stored, and the next record starts anew.
//! - Emitted on commit, a deleted window that downstream has never seen leaves no tombstone.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::Arc;

use crate::error::{BoxError, Error, ErrorKind, Result};
use crate::operator::build::{Output, TaskBuilder};
use crate::operator::lookup::Lookup;
use crate::operator::push::{Cx, Edge};
use crate::operator::window_lookup::WindowedStore;
use crate::record::{Change, Data, Record};
use crate::serde::SharedCodec;
use crate::state::Stamped;
use crate::time::Timestamp;
use crate::window::{Emit, Window, Windowed};

/// Where the results of a windowed aggregation go, and when.
pub(crate) struct WindowedResults<K, A> {
    next: Edge<Windowed<K>, Change<A>>,
    rows: Box<dyn Lookup<Windowed<K>, A>>,
    key: SharedCodec<K>,
    value: SharedCodec<A>,
    emit: Emit,
    wants_old: bool,
    is_unused: bool,
    /// With `Emit::OnCommit`: what has changed, and its place in the order of first changes.
    pending: HashMap<Windowed<K>, Pending<A>>,
    /// With `Emit::OnWindowClose`: the windows that are not closed yet.
    owed: BTreeMap<(Timestamp, Timestamp, Vec<u8>), K>,
    /// Whether `owed` holds what a restored store holds.
    is_listed: bool,
}

struct Pending<A> {
    place: usize,
    /// Whether downstream has seen the window.
    was_sent: bool,
    /// The value last sent downstream, if something reads it.
    old: Option<A>,
}

/// What an update has made of a window's row.
pub(crate) struct Folded<A> {
    /// Whether there was a row before.
    pub(crate) existed: bool,
    /// The value before, if it was asked for.
    pub(crate) old: Option<A>,
    /// The value now, if it was asked for.
    pub(crate) new: Option<A>,
    /// The time of the row now.
    pub(crate) timestamp: Timestamp,
}

/// Which values of an update will be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) old: bool,
    pub(crate) new: bool,
}

impl Wanted {
    /// Nothing will be read.
    pub(crate) const NOTHING: Self = Self { old: false, new: false };
}

impl<K: Data + Eq + Hash, A: Data> WindowedResults<K, A> {
    pub(crate) fn new(
        task: &mut TaskBuilder,
        output: &Output<Windowed<K>, Change<A>>,
        rows: Box<dyn Lookup<Windowed<K>, A>>,
        store: &WindowedStore<K, A>,
        emit: Emit,
    ) -> Self {
        let is_unused = output.is_unused();
        Self {
            next: output.build(task),
            rows,
            key: Arc::clone(&store.key),
            value: Arc::clone(&store.value),
            emit,
            wants_old: output.wants_old(),
            is_unused,
            pending: HashMap::new(),
            owed: BTreeMap::new(),
            is_listed: emit != Emit::OnWindowClose || is_unused,
        }
    }

    /// Folds something into a row: the time becomes the largest of the row's and the record's.
    pub(crate) fn fold_row(
        &self,
        row: &mut Option<Stamped<A>>,
        timestamp: Timestamp,
        wanted: Wanted,
        fold: impl FnOnce(&mut Option<A>) -> Result<(), BoxError>,
    ) -> Result<Folded<A>, BoxError> {
        let existed = row.is_some();
        let (mut total, known) = match row.take() {
            Some(stamped) => (Some(stamped.value), stamped.timestamp),
            None => (None, timestamp),
        };
        let old = if wanted.old { total.clone() } else { None };
        let outcome = fold(&mut total);
        let total = self.row_of(total);
        let new = if wanted.new { total.clone() } else { None };
        let timestamp = if outcome.is_ok() { known.max(timestamp) } else { known };
        *row = total.map(|value| Stamped { value, timestamp });
        outcome.map(|()| Folded { existed, old, new, timestamp })
    }

    /// The row that a total makes: none where its codec writes null.
    pub(crate) fn row_of(&self, total: Option<A>) -> Option<A> {
        total.filter(|total| !self.value.is_null(total))
    }

    /// Whether the windows that a restored store holds must be listed: true once, at the start.
    pub(crate) fn must_list_open_windows(&mut self) -> bool {
        !std::mem::replace(&mut self.is_listed, true)
    }

    /// Lists a window whose result is to leave when it is closed.
    pub(crate) fn owe(&mut self, key: &K, window: Window) -> Result<()> {
        let place = self.place(key, window)?;
        if let std::collections::btree_map::Entry::Vacant(entry) = self.owed.entry(place) {
            entry.insert(key.clone());
        }
        Ok(())
    }

    /// Which values of an update of this window will be read.
    pub(crate) fn wanted(&self, windowed: &Windowed<K>) -> Wanted {
        if self.is_unused {
            return Wanted::NOTHING;
        }
        match self.emit {
            Emit::EachUpdate => Wanted { old: self.wants_old, new: true },
            Emit::OnCommit => {
                Wanted { old: self.wants_old && !self.pending.contains_key(windowed), new: false }
            }
            Emit::OnWindowClose => Wanted::NOTHING,
        }
    }

    /// Takes note of an update, or sends it.
    pub(crate) fn updated(
        &mut self,
        cx: &mut Cx<'_>,
        windowed: Windowed<K>,
        folded: Folded<A>,
    ) -> Result<()> {
        let Folded { existed, old, new, timestamp } = folded;
        if self.is_unused {
            return Ok(());
        }
        match self.emit {
            Emit::EachUpdate => {
                self.next.push(cx, Record::new(windowed, Change { old, new }, timestamp))
            }
            Emit::OnCommit => {
                self.keep_back(windowed, existed, old);
                Ok(())
            }
            Emit::OnWindowClose => self.owe(&windowed.key, windowed.window),
        }
    }

    /// Takes note of the removal of a window, which existed, or sends it.
    pub(crate) fn removed(
        &mut self,
        cx: &mut Cx<'_>,
        windowed: Windowed<K>,
        old: Option<A>,
        timestamp: Timestamp,
    ) -> Result<()> {
        if self.emit == Emit::OnWindowClose && !self.is_unused {
            let place = self.place(&windowed.key, windowed.window)?;
            self.owed.remove(&place);
            return Ok(());
        }
        self.updated(cx, windowed, Folded { existed: true, old, new: None, timestamp })
    }

    fn keep_back(&mut self, windowed: Windowed<K>, was_sent: bool, old: Option<A>) {
        let place = self.pending.len();
        self.pending.entry(windowed).or_insert(Pending { place, was_sent, old });
    }

    /// Sends the results of windows that end at or before `closed_until`.
    pub(crate) fn release_closed(
        &mut self,
        cx: &mut Cx<'_>,
        closed_until: Timestamp,
    ) -> Result<()> {
        while let Some(entry) = self.owed.first_entry() {
            let &(end, start, _) = entry.key();
            if end > closed_until {
                break;
            }
            let windowed = Windowed::new(entry.remove(), Window { start, end });
            if let Some((value, timestamp)) = self.rows.get(&windowed)? {
                let change = Change { old: None, new: Some(value) };
                self.next.push(cx, Record::new(windowed, change, timestamp))?;
            }
        }
        Ok(())
    }

    /// Sends what was kept back until the commit.
    pub(crate) fn flush(&mut self, cx: &mut Cx<'_>) -> Result<()> {
        let mut pending: Vec<_> = self.pending.drain().collect();
        pending.sort_unstable_by_key(|(_, pending)| pending.place);
        for (windowed, Pending { was_sent, old, .. }) in pending {
            let (new, timestamp) = match self.rows.get(&windowed)? {
                Some((value, timestamp)) => (Some(value), timestamp),
                None if was_sent => (None, windowed.window.end),
                None => continue,
            };
            self.next.push(cx, Record::new(windowed, Change { old, new }, timestamp))?;
        }
        Ok(())
    }

    fn place(&self, key: &K, window: Window) -> Result<(Timestamp, Timestamp, Vec<u8>)> {
        let mut bytes = Vec::new();
        self.key.encode(key, &mut bytes).map_err(|cause| {
            Error::new(ErrorKind::Fatal, "a key cannot be serialised").caused_by(cause)
        })?;
        Ok((window.end, window.start, bytes))
    }
}
