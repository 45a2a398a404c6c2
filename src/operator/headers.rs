//! Lets a function read and change the headers that leave with a record.

use std::sync::Arc;

use crate::error::{BoxError, Result};
use crate::log::EncodedHeaders;
use crate::operator::build::{Build, Output, TaskBuilder};
use crate::operator::push::{Cx, Edge, FailureStage, Push};
use crate::record::{Data, Headers, Record};
use crate::topology::NodeId;

/// Reads and changes the headers of one record.
pub(crate) type HeadersFn<K, V> = Arc<dyn Fn(&K, &V, &mut Headers) + Send + Sync>;

/// Factory of an operator that changes headers; key and value pass.
pub(crate) struct ChangeHeaders<K, V> {
    pub(crate) f: HeadersFn<K, V>,
    pub(crate) output: Arc<Output<K, V>>,
}

struct ChangeHeadersOp<K, V> {
    f: HeadersFn<K, V>,
    node: NodeId,
    next: Edge<K, V>,
    /// While a record is pushed on: its headers as they came, for the consumers beside this one.
    aside: EncodedHeaders,
}

impl<K: Data, V: Data> Build<K, V> for ChangeHeaders<K, V> {
    fn build(&self, task: &mut TaskBuilder) -> Edge<K, V> {
        let next = self.output.build(task);
        let (f, node) = (Arc::clone(&self.f), self.output.node());
        Box::new(ChangeHeadersOp { f, node, next, aside: EncodedHeaders::new() })
    }
}

impl<K, V> ChangeHeadersOp<K, V> {
    /// Puts the changed headers into `aside`.
    fn change(&mut self, cx: &Cx<'_>, record: &Record<K, V>) -> Result<(), BoxError> {
        let mut headers = cx.headers.view().to_headers()?;
        (self.f)(&record.key, &record.value, &mut headers);
        self.aside.encode(&headers);
        Ok(())
    }
}

impl<K: Data, V: Data> Push<K, V> for ChangeHeadersOp<K, V> {
    fn push(&mut self, cx: &mut Cx<'_>, record: Record<K, V>) -> Result<()> {
        if let Err(error) = self.change(cx, &record) {
            cx.fail(self.node, FailureStage::Process, error);
            return Ok(());
        }
        std::mem::swap(cx.headers, &mut self.aside);
        let pushed = self.next.push(cx, record);
        std::mem::swap(cx.headers, &mut self.aside);
        pushed
    }
}
