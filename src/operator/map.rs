//! Makes one record out of one: `map`, `map_values`, `select_key`, and their fallible twins.

use std::sync::Arc;

use crate::error::{BoxError, Result};
use crate::operator::build::{Build, Output, TaskBuilder};
use crate::operator::push::{Cx, Edge, FailureStage, Push};
use crate::record::{Data, Record};
use crate::topology::NodeId;

pub(crate) struct Map<F, K2, V2> {
    pub(crate) f: Arc<F>,
    pub(crate) output: Arc<Output<K2, V2>>,
}

struct MapOp<F, K2, V2> {
    f: Arc<F>,
    node: NodeId,
    next: Edge<K2, V2>,
}

impl<F, K: Data, V: Data, K2: Data, V2: Data> Build<K, V> for Map<F, K2, V2>
where
    F: Fn(Record<K, V>) -> Result<Record<K2, V2>, BoxError> + Send + Sync + 'static,
{
    fn build(&self, task: &mut TaskBuilder) -> Edge<K, V> {
        let next = self.output.build(task);
        Box::new(MapOp { f: Arc::clone(&self.f), node: self.output.node(), next })
    }
}

impl<F, K: Data, V: Data, K2: Data, V2: Data> Push<K, V> for MapOp<F, K2, V2>
where
    F: Fn(Record<K, V>) -> Result<Record<K2, V2>, BoxError>,
{
    fn push(&mut self, cx: &mut Cx<'_>, record: Record<K, V>) -> Result<()> {
        match (self.f)(record) {
            Ok(record) => self.next.push(cx, record),
            Err(error) => {
                cx.fail(self.node, FailureStage::Process, error);
                Ok(())
            }
        }
    }
}
