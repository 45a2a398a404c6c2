//! Makes one stream out of two: each record passes as it comes.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use crate::error::Result;
use crate::operator::build::{Build, Output, Shared, TaskBuilder};
use crate::operator::push::{Cx, Edge, Push};
use crate::record::{Data, Record};

/// Factory of one of the two ends.
pub(crate) struct Merge<K, V> {
    pub(crate) output: Arc<Output<K, V>>,
}

/// The consumers of an output to which several operators push, built once in each task.
pub(crate) struct Junction<K, V>(Edge<K, V>);

impl<K: Data, V: Data> Junction<K, V> {
    /// The junction in front of this output.
    pub(crate) fn of(output: &Arc<Output<K, V>>, task: &mut TaskBuilder) -> Shared<Self> {
        task.once(output.node(), |task| Rc::new(RefCell::new(Self(output.build(task)))))
    }
}

impl<K: Data, V: Data> Build<K, V> for Merge<K, V> {
    fn build(&self, task: &mut TaskBuilder) -> Edge<K, V> {
        Box::new(Junction::of(&self.output, task))
    }

    fn wants_old(&self) -> bool {
        self.output.wants_old()
    }
}

impl<K, V> Push<K, V> for Junction<K, V> {
    fn push(&mut self, cx: &mut Cx<'_>, record: Record<K, V>) -> Result<()> {
        self.0.push(cx, record)
    }
}
