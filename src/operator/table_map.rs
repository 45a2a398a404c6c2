//! Shows each row of a table through a function.
//!
//! Nothing is stored: the rows are those of the parent, mapped when they are read. The function
//! sees the old value of a change too, if something downstream reads it.

use std::sync::Arc;

use crate::error::Result;
use crate::operator::build::{Build, Output, TaskBuilder};
use crate::operator::lookup::{BuildLookup, Lookup};
use crate::operator::push::{Cx, Edge, Push};
use crate::record::{Change, Data, Record};
use crate::time::Timestamp;

/// Makes one row out of another.
pub(crate) type RowMapper<K, V, V2> = Arc<dyn Fn(&K, V) -> V2 + Send + Sync>;

/// Factory.
pub(crate) struct TableMap<K, V, V2> {
    pub(crate) f: RowMapper<K, V, V2>,
    pub(crate) output: Arc<Output<K, Change<V2>>>,
}

struct TableMapOp<K, V, V2> {
    f: RowMapper<K, V, V2>,
    next: Edge<K, Change<V2>>,
}

impl<K: Data, V: Data, V2: Data> Build<K, Change<V>> for TableMap<K, V, V2> {
    fn build(&self, task: &mut TaskBuilder) -> Edge<K, Change<V>> {
        let next = self.output.build(task);
        Box::new(TableMapOp { f: Arc::clone(&self.f), next })
    }

    fn wants_old(&self) -> bool {
        self.output.wants_old()
    }
}

impl<K: Data, V: Data, V2: Data> Push<K, Change<V>> for TableMapOp<K, V, V2> {
    fn push(&mut self, cx: &mut Cx<'_>, record: Record<K, Change<V>>) -> Result<()> {
        let Record { key, value: Change { old, new }, timestamp } = record;
        let old = old.map(|row| (self.f)(&key, row));
        let new = new.map(|row| (self.f)(&key, row));
        self.next.push(cx, Record { key, value: Change { old, new }, timestamp })
    }
}

/// Factory of the reader of a mapped table.
pub(crate) struct MappedRows<K, V, V2> {
    pub(crate) parent: Arc<dyn BuildLookup<K, V>>,
    pub(crate) f: RowMapper<K, V, V2>,
}

struct MappedLookup<K, V, V2> {
    parent: Box<dyn Lookup<K, V>>,
    f: RowMapper<K, V, V2>,
}

impl<K: Data, V: Data, V2: Data> BuildLookup<K, V2> for MappedRows<K, V, V2> {
    fn build(&self, task: &mut TaskBuilder) -> Box<dyn Lookup<K, V2>> {
        Box::new(MappedLookup { parent: self.parent.build(task), f: Arc::clone(&self.f) })
    }
}

impl<K, V, V2> Lookup<K, V2> for MappedLookup<K, V, V2> {
    fn get(&mut self, key: &K) -> Result<Option<(V2, Timestamp)>> {
        let row = self.parent.get(key)?;
        Ok(row.map(|(row, timestamp)| ((self.f)(key, row), timestamp)))
    }
}
