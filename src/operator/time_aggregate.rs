//! What a record does to an aggregation by tumbling or hopping windows.
//!
//! A record is dropped from each window that is closed once the record itself has moved the time
//! (`end + grace <= stream time`), and counted as late for each.

use std::hash::Hash;

use crate::error::{BoxError, Result};
use crate::operator::push::{Cx, Drop, FailureStage, Push};
use crate::operator::window_aggregate::{WindowAggregateOp, is_restorable};
use crate::record::{Data, Record};
use crate::time::Timestamp;
use crate::window::{TimeWindows, Windowed};

impl<F, K: Data + Eq + Hash, V: Data, A: Data> Push<K, V>
    for WindowAggregateOp<TimeWindows, F, K, A>
where
    F: Fn(&K, V, &mut Option<A>) -> Result<(), BoxError>,
{
    fn push(&mut self, cx: &mut Cx<'_>, record: Record<K, V>) -> Result<()> {
        let Record { key, value, timestamp } = record;
        self.list_open_windows()?;
        let now = self.advance(timestamp);
        let mut value = Some(value);
        let mut windows = self.windows.windows_for(timestamp).peekable();
        while let Some(window) = windows.next() {
            if self.windows.is_closed(window, now) {
                cx.count_drop(Drop::Late);
                continue;
            }
            let is_last = windows.peek().is_none();
            let value = if is_last { value.take() } else { value.clone() };
            let value = value.expect("the value is taken for the last window only");
            let windowed = Windowed::new(key.clone(), window);
            if !self.update(cx, windowed, value, timestamp)? {
                break;
            }
        }
        self.results.release_closed(cx, self.windows.closed_until(now))
    }

    fn warm(&self, records: &[Record<K, V>]) {
        self.store.borrow().warm(records.iter().map(|record| &record.key));
    }
}

impl<F, K: Data + Eq + Hash, A: Data> WindowAggregateOp<TimeWindows, F, K, A> {
    /// Folds a record into one window; false if it failed.
    fn update<V>(
        &mut self,
        cx: &mut Cx<'_>,
        windowed: Windowed<K>,
        value: V,
        timestamp: Timestamp,
    ) -> Result<bool>
    where
        F: Fn(&K, V, &mut Option<A>) -> Result<(), BoxError>,
    {
        let wanted = self.results.wanted(&windowed);
        let Windowed { key, window } = &windowed;
        let folded = self.store.borrow_mut().update(key, window.start, |row| {
            let fold = |total: &mut Option<A>| (self.fold)(key, value, total);
            let folded = self.results.fold_row(row, timestamp, wanted, fold);
            debug_assert!(is_restorable(row.as_ref(), *window), "no row is older than its window");
            folded
        })?;
        match folded {
            Ok(folded) => self.results.updated(cx, windowed, folded).map(|()| true),
            Err(error) => {
                cx.fail(self.node, FailureStage::Process, error);
                Ok(false)
            }
        }
    }
}
