//! Moves the changes of a table under other keys: what leaves one group and what enters another.
//!
//! Old and new row go out as one change if their groups are equal, else the old first, then the
//! new: so a group is subtracted from before anything is added elsewhere.

use std::sync::Arc;

use crate::error::Result;
use crate::operator::build::{Build, Output, TaskBuilder};
use crate::operator::push::{Cx, Edge, Push};
use crate::record::{Change, Data, Record};

/// Chooses the group of a row, and what the row is within it.
pub(crate) type Regroup<K, V, K2, V2> = Arc<dyn Fn(&K, V) -> (K2, V2) + Send + Sync>;

/// Factory.
pub(crate) struct TableGroup<K, V, K2, V2> {
    pub(crate) f: Regroup<K, V, K2, V2>,
    pub(crate) output: Arc<Output<K2, Change<V2>>>,
}

struct TableGroupOp<K, V, K2, V2> {
    f: Regroup<K, V, K2, V2>,
    next: Edge<K2, Change<V2>>,
}

impl<K: Data, V: Data, K2: Data + Eq, V2: Data> Build<K, Change<V>> for TableGroup<K, V, K2, V2> {
    fn build(&self, task: &mut TaskBuilder) -> Edge<K, Change<V>> {
        let next = self.output.build(task);
        Box::new(TableGroupOp { f: Arc::clone(&self.f), next })
    }

    fn wants_old(&self) -> bool {
        true
    }
}

impl<K: Data, V: Data, K2: Data + Eq, V2: Data> Push<K, Change<V>> for TableGroupOp<K, V, K2, V2> {
    fn push(&mut self, cx: &mut Cx<'_>, record: Record<K, Change<V>>) -> Result<()> {
        let Record { key, value: Change { old, new }, timestamp } = record;
        let old = old.map(|row| (self.f)(&key, row));
        let new = new.map(|row| (self.f)(&key, row));
        let mut send = |key: K2, old: Option<V2>, new: Option<V2>| {
            self.next.push(cx, Record { key, value: Change { old, new }, timestamp })
        };
        match (old, new) {
            (Some((old_key, old)), Some((new_key, new))) if old_key == new_key => {
                send(new_key, Some(old), Some(new))
            }
            (old, new) => {
                if let Some((key, old)) = old {
                    send(key, Some(old), None)?;
                }
                match new {
                    Some((key, new)) => send(key, None, Some(new)),
                    None => Ok(()),
                }
            }
        }
    }
}
