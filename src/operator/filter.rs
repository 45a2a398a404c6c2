//! Keeps the records of a stream that a predicate accepts.

use std::sync::Arc;

use crate::error::{BoxError, Result};
use crate::operator::build::{Build, Output, TaskBuilder};
use crate::operator::push::{Cx, Edge, FailureStage, Push};
use crate::record::{Data, Record};

/// Decides over a record; an error goes to the processing policy.
pub(crate) type Predicate<K, V> = Arc<dyn Fn(&K, &V) -> Result<bool, BoxError> + Send + Sync>;

pub(crate) struct Filter<K, V> {
    pub(crate) accept: Predicate<K, V>,
    pub(crate) output: Arc<Output<K, V>>,
}

struct FilterOp<K, V> {
    factory: Predicate<K, V>,
    node: crate::topology::NodeId,
    next: Edge<K, V>,
}

impl<K: Data, V: Data> Build<K, V> for Filter<K, V> {
    fn build(&self, task: &mut TaskBuilder) -> Edge<K, V> {
        let next = self.output.build(task);
        Box::new(FilterOp { factory: Arc::clone(&self.accept), node: self.output.node(), next })
    }
}

impl<K: Data, V: Data> Push<K, V> for FilterOp<K, V> {
    fn push(&mut self, cx: &mut Cx<'_>, record: Record<K, V>) -> Result<()> {
        match (self.factory)(&record.key, &record.value) {
            Ok(true) => self.next.push(cx, record),
            Ok(false) => Ok(()),
            Err(error) => {
                cx.fail(self.node, FailureStage::Process, error);
                Ok(())
            }
        }
    }
}
