//! Keeps the records of a stream that a predicate accepts.

use std::sync::Arc;

use crate::error::{BoxError, Result};
use crate::operator::build::{Build, Output, TaskBuilder};
use crate::operator::push::{Cx, Edge, FailureStage, Push};
use crate::record::{Data, Record};
use crate::topology::NodeId;

pub(crate) struct Filter<F, K, V> {
    pub(crate) accept: Arc<F>,
    pub(crate) output: Arc<Output<K, V>>,
}

struct FilterOp<F, K, V> {
    accept: Arc<F>,
    node: NodeId,
    next: Edge<K, V>,
}

impl<F, K: Data, V: Data> Build<K, V> for Filter<F, K, V>
where
    F: Fn(&K, &V) -> Result<bool, BoxError> + Send + Sync + 'static,
{
    fn build(&self, task: &mut TaskBuilder) -> Edge<K, V> {
        let next = self.output.build(task);
        Box::new(FilterOp { accept: Arc::clone(&self.accept), node: self.output.node(), next })
    }
}

impl<F, K: Data, V: Data> Push<K, V> for FilterOp<F, K, V>
where
    F: Fn(&K, &V) -> Result<bool, BoxError>,
{
    fn push(&mut self, cx: &mut Cx<'_>, record: Record<K, V>) -> Result<()> {
        match (self.accept)(&record.key, &record.value) {
            Ok(true) => self.next.push(cx, record),
            Ok(false) => Ok(()),
            Err(error) => {
                cx.fail(self.node, FailureStage::Process, error);
                Ok(())
            }
        }
    }
}
