//! Sends each record to the first branch whose predicate accepts it.

use std::sync::Arc;

use crate::error::{BoxError, Result};
use crate::operator::build::{Build, Output, TaskBuilder};
use crate::operator::push::{Cx, Edge, FailureStage, Push};
use crate::record::{Data, Record};
use crate::topology::NodeId;

/// Decides over a record; an error goes to the processing policy.
pub(crate) type Predicate<K, V> = Arc<dyn Fn(&K, &V) -> Result<bool, BoxError> + Send + Sync>;

/// Factory. A record that no predicate accepts goes to `rest`, or ends where there is none.
pub(crate) struct Branch<K, V> {
    pub(crate) node: NodeId,
    pub(crate) branches: Vec<(Predicate<K, V>, Arc<Output<K, V>>)>,
    pub(crate) rest: Option<Arc<Output<K, V>>>,
}

struct BranchOp<K, V> {
    node: NodeId,
    branches: Vec<(Predicate<K, V>, Edge<K, V>)>,
    rest: Option<Edge<K, V>>,
}

impl<K: Data, V: Data> Build<K, V> for Branch<K, V> {
    fn build(&self, task: &mut TaskBuilder) -> Edge<K, V> {
        let branches = self.branches.iter();
        let branches = branches.map(|(accept, output)| (Arc::clone(accept), output.build(task)));
        let branches = branches.collect();
        let rest = self.rest.as_ref().map(|output| output.build(task));
        Box::new(BranchOp { node: self.node, branches, rest })
    }
}

impl<K: Data, V: Data> Push<K, V> for BranchOp<K, V> {
    fn push(&mut self, cx: &mut Cx<'_>, record: Record<K, V>) -> Result<()> {
        for (accept, edge) in &mut self.branches {
            match accept(&record.key, &record.value) {
                Ok(true) => return edge.push(cx, record),
                Ok(false) => {}
                Err(error) => {
                    cx.fail(self.node, FailureStage::Process, error);
                    return Ok(());
                }
            }
        }
        match &mut self.rest {
            Some(edge) => edge.push(cx, record),
            None => Ok(()),
        }
    }
}
