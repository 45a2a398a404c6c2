//! Folds the records of each key into one value that is kept in a store.
//!
//! - Stored: under the record's key the aggregate, stamped with the largest timestamp of its
//!   records. The changelog holds the same, once per dirty key and commit.
//! - A change carries the old value only if something downstream reads it. The first update of a
//!   key has none: nothing was sent downstream before it.

use std::cell::RefCell;
use std::hash::Hash;
use std::rc::Rc;
use std::sync::Arc;

use crate::error::{BoxError, Result};
use crate::operator::build::{Build, FlushResults, Output, Shared, TaskBuilder};
use crate::operator::push::{Cx, Edge, FailureStage, Push};
use crate::record::{Change, Data, Record};
use crate::serde::SharedCodec;
use crate::state::{KeyValueStore, SlotId, Stamped};
use crate::window::Emit;

/// Factory of an aggregation of a stream by key.
pub(crate) struct Aggregate<F, K, A> {
    pub(crate) store: Arc<str>,
    pub(crate) key: SharedCodec<K>,
    pub(crate) value: SharedCodec<A>,
    pub(crate) emit: Emit,
    pub(crate) fold: Arc<F>,
    pub(crate) output: Arc<Output<K, Change<A>>>,
}

struct AggregateOp<F, K, A> {
    fold: Arc<F>,
    store: Shared<KeyValueStore<K, A>>,
    results: Results<K, A>,
}

/// Where the results of an aggregation go, and when.
struct Results<K, A> {
    node: crate::topology::NodeId,
    next: Edge<K, Change<A>>,
    wants_old: bool,
    is_unused: bool,
    emit: Emit,
    /// With `Emit::OnCommit`: the rows that changed, each once, with the value that was last sent
    /// downstream.
    pending: Vec<(SlotId, Option<A>)>,
}

impl<F, K: Data + Eq + Hash, V: Data, A: Data> Build<K, V> for Aggregate<F, K, A>
where
    F: Fn(&K, V, &mut Option<A>) -> Result<(), BoxError> + Send + Sync + 'static,
{
    fn build(&self, task: &mut TaskBuilder) -> Edge<K, V> {
        let node = self.output.node();
        let next = self.output.build(task);
        let store = task.key_value_store(&self.store, &self.key, &self.value);
        let results = Results {
            node,
            next,
            wants_old: self.output.wants_old(),
            is_unused: self.output.is_unused(),
            emit: self.emit,
            pending: Vec::new(),
        };
        let operator = AggregateOp { fold: Arc::clone(&self.fold), store, results };
        if self.emit == Emit::EachUpdate {
            return Box::new(operator);
        }
        let operator = Rc::new(RefCell::new(operator));
        task.flush_at_commit(node, Rc::clone(&operator) as Shared<dyn FlushResults>);
        Box::new(operator)
    }
}

impl<F, K: Data + Eq + Hash, V: Data, A: Data> Push<K, V> for AggregateOp<F, K, A>
where
    F: Fn(&K, V, &mut Option<A>) -> Result<(), BoxError>,
{
    fn push(&mut self, cx: &mut Cx<'_>, record: Record<K, V>) -> Result<()> {
        let Record { key, value, timestamp } = record;
        let results = &mut self.results;
        let keeps_back = results.emit != Emit::EachUpdate && !results.is_unused;
        let wants_new = !keeps_back && !results.is_unused;
        let fold = &self.fold;
        let (folded, id) = self.store.borrow_mut().update_noted(&key, |entry, noted| {
            let (mut total, known) = match entry.take() {
                Some(stamped) => (Some(stamped.value), stamped.timestamp),
                None => (None, timestamp),
            };
            let wants_old = results.wants_old && !*noted;
            let old = if wants_old { total.clone() } else { None };
            let was_there = total.is_some();
            let outcome = fold(&key, value, &mut total);
            let new = if wants_new { total.clone() } else { None };
            let timestamp = if outcome.is_ok() { known.max(timestamp) } else { known };
            *entry = total.map(|value| Stamped { value, timestamp });
            outcome?;
            let changed = was_there || entry.is_some();
            let is_first = keeps_back && changed && !std::mem::replace(noted, true);
            Ok((changed && (wants_new || is_first)).then_some((old, new, timestamp)))
        })?;
        match folded {
            Ok(Some((old, new, timestamp))) if wants_new => {
                results.next.push(cx, Record { key, value: Change { old, new }, timestamp })
            }
            Ok(Some((old, _, _))) => {
                results.pending.push((id, old));
                Ok(())
            }
            Ok(None) => Ok(()),
            Err(error) => {
                let error: BoxError = error;
                cx.fail(results.node, FailureStage::Process, error);
                Ok(())
            }
        }
    }

    fn warm(&self, records: &[Record<K, V>]) {
        self.store.borrow().warm(records.iter().map(|record| &record.key));
    }
}

impl<F, K: Data + Eq + Hash, A: Data> FlushResults for AggregateOp<F, K, A> {
    fn flush_results(&mut self, cx: &mut Cx<'_>) -> Result<()> {
        for (id, old) in self.results.pending.drain(..) {
            let store = self.store.borrow();
            let (key, row) = store.changed_row(id);
            let (key, row) = (key.clone(), row.cloned());
            drop(store);
            let (new, timestamp) =
                row.map_or((None, cx.stream_time), |row| (Some(row.value), row.timestamp));
            self.results.next.push(cx, Record { key, value: Change { old, new }, timestamp })?;
        }
        Ok(())
    }
}
