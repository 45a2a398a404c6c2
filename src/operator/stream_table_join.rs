//! Joins each record of a stream with the row that a table holds of its key at that moment.
//!
//! Only the stream makes results; a change of the table makes none.

use std::sync::Arc;

use crate::error::Result;
use crate::operator::build::{Build, Output, TaskBuilder};
use crate::operator::lookup::{BuildLookup, Lookup};
use crate::operator::push::{Cx, Edge, Push};
use crate::record::{Data, Record};

/// Makes a result out of a value and the table's row; `None` where there is to be none.
pub(crate) type JoinRow<V, V2, R> = Arc<dyn Fn(V, Option<V2>) -> Option<R> + Send + Sync>;

/// A stream's key as a table's: there, or null.
pub(crate) type TableKey<K, K2> = fn(&K) -> Option<&K2>;

/// Factory.
pub(crate) struct StreamTableJoin<K, V, K2, V2, R> {
    pub(crate) key: TableKey<K, K2>,
    pub(crate) join: JoinRow<V, V2, R>,
    pub(crate) rows: Arc<dyn BuildLookup<K2, V2>>,
    pub(crate) output: Arc<Output<K, R>>,
}

struct StreamTableJoinOp<K, V, K2, V2, R> {
    key: TableKey<K, K2>,
    join: JoinRow<V, V2, R>,
    rows: Box<dyn Lookup<K2, V2>>,
    next: Edge<K, R>,
}

impl<K: Data, V: Data, K2: Data, V2: Data, R: Data> Build<K, V>
    for StreamTableJoin<K, V, K2, V2, R>
{
    fn build(&self, task: &mut TaskBuilder) -> Edge<K, V> {
        let (rows, next) = (self.rows.build(task), self.output.build(task));
        Box::new(StreamTableJoinOp { key: self.key, join: Arc::clone(&self.join), rows, next })
    }
}

impl<K: Data, V: Data, K2: Data, V2: Data, R: Data> Push<K, V>
    for StreamTableJoinOp<K, V, K2, V2, R>
{
    fn push(&mut self, cx: &mut Cx<'_>, record: Record<K, V>) -> Result<()> {
        let Record { key, value, timestamp } = record;
        let row = match (self.key)(&key) {
            Some(key) => self.rows.get(key)?.map(|(row, _)| row),
            None => None,
        };
        match (self.join)(value, row) {
            Some(value) => self.next.push(cx, Record { key, value, timestamp }),
            None => Ok(()),
        }
    }

    fn warm(&self, records: &[Record<K, V>]) {
        let mut keys = records.iter().filter_map(|record| (self.key)(&record.key));
        self.rows.warm(&mut keys);
    }
}
