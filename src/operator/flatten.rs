//! Drops records with a null key, or with a null value: behind it the type has no null.

use std::sync::Arc;

use crate::error::Result;
use crate::operator::build::{Build, Output, TaskBuilder};
use crate::operator::push::{Cx, Drop, Edge, Push};
use crate::record::{Data, Record};

/// Factory; a dropped record is counted.
pub(crate) struct FlattenKeys<K, V> {
    pub(crate) output: Arc<Output<K, V>>,
}

/// Factory; a dropped record leaves no trace: a null value is a regular message.
pub(crate) struct FlattenValues<K, V> {
    pub(crate) output: Arc<Output<K, V>>,
}

struct FlattenKeysOp<K, V>(Edge<K, V>);
struct FlattenValuesOp<K, V>(Edge<K, V>);

impl<K: Data, V: Data> Build<Option<K>, V> for FlattenKeys<K, V> {
    fn build(&self, task: &mut TaskBuilder) -> Edge<Option<K>, V> {
        Box::new(FlattenKeysOp(self.output.build(task)))
    }
}

impl<K: Data, V: Data> Build<K, Option<V>> for FlattenValues<K, V> {
    fn build(&self, task: &mut TaskBuilder) -> Edge<K, Option<V>> {
        Box::new(FlattenValuesOp(self.output.build(task)))
    }
}

impl<K, V> Push<Option<K>, V> for FlattenKeysOp<K, V> {
    fn push(&mut self, cx: &mut Cx<'_>, record: Record<Option<K>, V>) -> Result<()> {
        let Record { key, value, timestamp } = record;
        if let Some(key) = key {
            self.0.push(cx, Record { key, value, timestamp })
        } else {
            cx.count_drop(Drop::NullKey);
            Ok(())
        }
    }
}

impl<K, V> Push<K, Option<V>> for FlattenValuesOp<K, V> {
    fn push(&mut self, cx: &mut Cx<'_>, record: Record<K, Option<V>>) -> Result<()> {
        let Record { key, value, timestamp } = record;
        match value {
            Some(value) => self.0.push(cx, Record { key, value, timestamp }),
            None => Ok(()),
        }
    }
}
