//! Makes any number of records out of one; every stateless change of a record is a case of it.

use std::sync::Arc;

use crate::error::{BoxError, Result};
use crate::operator::build::{Build, Output, TaskBuilder};
use crate::operator::push::{Cx, Edge, FailureStage, Push};
use crate::record::{Data, Record};
use crate::topology::NodeId;

/// Factory of an operator whose function emits results one by one.
///
/// The function gets a record and an `emit` to call for each result. It is generic, so that the
/// simple operators of the language (map, select key, ...) compile into one call.
pub(crate) struct FlatMap<F, K2, V2> {
    pub(crate) f: Arc<F>,
    pub(crate) output: Arc<Output<K2, V2>>,
}

struct FlatMapOp<F, K2, V2> {
    f: Arc<F>,
    node: NodeId,
    next: Edge<K2, V2>,
}

/// Takes the results of one record.
pub(crate) type EmitFn<'a, K2, V2> = &'a mut dyn FnMut(Record<K2, V2>) -> Result<()>;

impl<F, K: Data, V: Data, K2: Data, V2: Data> Build<K, V> for FlatMap<F, K2, V2>
where
    F: Fn(Record<K, V>, EmitFn<'_, K2, V2>) -> Result<Result<(), BoxError>> + Send + Sync + 'static,
{
    fn build(&self, task: &mut TaskBuilder) -> Edge<K, V> {
        let next = self.output.build(task);
        Box::new(FlatMapOp { f: Arc::clone(&self.f), node: self.output.node(), next })
    }
}

impl<F, K: Data, V: Data, K2: Data, V2: Data> Push<K, V> for FlatMapOp<F, K2, V2>
where
    F: Fn(Record<K, V>, EmitFn<'_, K2, V2>) -> Result<Result<(), BoxError>>,
{
    fn push(&mut self, cx: &mut Cx<'_>, record: Record<K, V>) -> Result<()> {
        let next = &mut self.next;
        match (self.f)(record, &mut |result| next.push(cx, result))? {
            Ok(()) => Ok(()),
            Err(error) => {
                cx.fail(self.node, FailureStage::Process, error);
                Ok(())
            }
        }
    }
}
