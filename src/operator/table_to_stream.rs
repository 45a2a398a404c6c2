//! Reads a table's changes as a stream: the new row, or nothing where it was deleted.

use std::sync::Arc;

use crate::error::Result;
use crate::operator::build::{Build, Output, TaskBuilder};
use crate::operator::push::{Cx, Edge, Push};
use crate::record::{Change, Data, Record};

/// Factory; tombstones go on as `None`.
pub(crate) struct TableToStream<K, V> {
    pub(crate) output: Arc<Output<K, Option<V>>>,
}

/// Factory; tombstones end here.
pub(crate) struct TableUpdates<K, V> {
    pub(crate) output: Arc<Output<K, V>>,
}

struct TableToStreamOp<K, V>(Edge<K, Option<V>>);
struct TableUpdatesOp<K, V>(Edge<K, V>);

impl<K: Data, V: Data> Build<K, Change<V>> for TableToStream<K, V> {
    fn build(&self, task: &mut TaskBuilder) -> Edge<K, Change<V>> {
        Box::new(TableToStreamOp(self.output.build(task)))
    }
}

impl<K: Data, V: Data> Build<K, Change<V>> for TableUpdates<K, V> {
    fn build(&self, task: &mut TaskBuilder) -> Edge<K, Change<V>> {
        Box::new(TableUpdatesOp(self.output.build(task)))
    }
}

impl<K, V> Push<K, Change<V>> for TableToStreamOp<K, V> {
    fn push(&mut self, cx: &mut Cx<'_>, record: Record<K, Change<V>>) -> Result<()> {
        let Record { key, value, timestamp } = record;
        self.0.push(cx, Record { key, value: value.new, timestamp })
    }
}

impl<K, V> Push<K, Change<V>> for TableUpdatesOp<K, V> {
    fn push(&mut self, cx: &mut Cx<'_>, record: Record<K, Change<V>>) -> Result<()> {
        let Record { key, value, timestamp } = record;
        match value.new {
            Some(value) => self.0.push(cx, Record { key, value, timestamp }),
            None => Ok(()),
        }
    }
}
