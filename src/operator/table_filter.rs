//! Keeps the rows of a table that a predicate accepts.
//!
//! Nothing is stored: the rows are those of the parent, seen through the predicate. Old values are
//! always asked for, so that a row which downstream has never seen is not deleted there.

use std::sync::Arc;

use crate::error::Result;
use crate::operator::build::{Build, Output, TaskBuilder};
use crate::operator::lookup::{BuildLookup, Lookup};
use crate::operator::push::{Cx, Edge, Push};
use crate::record::{Change, Data, Record};
use crate::time::Timestamp;

/// Decides over a row.
pub(crate) type RowPredicate<K, V> = Arc<dyn Fn(&K, &V) -> bool + Send + Sync>;

/// Factory.
pub(crate) struct TableFilter<K, V> {
    pub(crate) accept: RowPredicate<K, V>,
    pub(crate) output: Arc<Output<K, Change<V>>>,
}

struct TableFilterOp<K, V> {
    accept: RowPredicate<K, V>,
    next: Edge<K, Change<V>>,
}

impl<K: Data, V: Data> Build<K, Change<V>> for TableFilter<K, V> {
    fn build(&self, task: &mut TaskBuilder) -> Edge<K, Change<V>> {
        let next = self.output.build(task);
        Box::new(TableFilterOp { accept: Arc::clone(&self.accept), next })
    }

    fn wants_old(&self) -> bool {
        true
    }
}

impl<K: Data, V: Data> Push<K, Change<V>> for TableFilterOp<K, V> {
    fn push(&mut self, cx: &mut Cx<'_>, record: Record<K, Change<V>>) -> Result<()> {
        let Record { key, value: Change { old, new }, timestamp } = record;
        let old = old.filter(|row| (self.accept)(&key, row));
        let new = new.filter(|row| (self.accept)(&key, row));
        if old.is_none() && new.is_none() {
            return Ok(());
        }
        self.next.push(cx, Record { key, value: Change { old, new }, timestamp })
    }
}

/// Factory of the reader of a filtered table.
pub(crate) struct FilteredRows<K, V> {
    pub(crate) parent: Arc<dyn BuildLookup<K, V>>,
    pub(crate) accept: RowPredicate<K, V>,
}

struct FilteredLookup<K, V> {
    parent: Box<dyn Lookup<K, V>>,
    accept: RowPredicate<K, V>,
}

impl<K: Data, V: Data> BuildLookup<K, V> for FilteredRows<K, V> {
    fn build(&self, task: &mut TaskBuilder) -> Box<dyn Lookup<K, V>> {
        let parent = self.parent.build(task);
        Box::new(FilteredLookup { parent, accept: Arc::clone(&self.accept) })
    }
}

impl<K, V> Lookup<K, V> for FilteredLookup<K, V> {
    fn get(&mut self, key: &K) -> Result<Option<(V, Timestamp)>> {
        Ok(self.parent.get(key)?.filter(|(row, _)| (self.accept)(key, row)))
    }
}
