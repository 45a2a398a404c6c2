//! One output, several consumers: clones for all but the last.

use crate::error::Result;
use crate::operator::push::{Cx, Edge, Push};
use crate::record::{Data, Record};

pub(crate) struct FanOut<K, V> {
    edges: Vec<Edge<K, V>>,
}

impl<K, V> FanOut<K, V> {
    pub(crate) fn new(edges: Vec<Edge<K, V>>) -> Self {
        Self { edges }
    }
}

impl<K: Data, V: Data> Push<K, V> for FanOut<K, V> {
    fn push(&mut self, cx: &mut Cx<'_>, record: Record<K, V>) -> Result<()> {
        let Some((last, others)) = self.edges.split_last_mut() else { return Ok(()) };
        for edge in others {
            edge.push(cx, record.clone())?;
        }
        last.push(cx, record)
    }

    fn warm(&self, records: &[Record<K, V>]) {
        self.edges.iter().for_each(|edge| edge.warm(records));
    }
}
