//! Tables: the latest row of each key, and the changes that lead to it.

use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use crate::dsl::attach::Port;
use crate::dsl::options::Materialized;
use crate::dsl::stream::KStream;
use crate::operator::lookup::{BuildLookup, StoreLookup};
use crate::operator::table_to_stream::{TableToStream, TableUpdates};
use crate::record::{Change, Data};
use crate::topic::Topic;
use crate::topology::Node;

/// The latest row of each key: a handle on a node that emits changes.
#[must_use = "a table does nothing until it is read or written somewhere"]
pub struct KTable<K, V> {
    pub(crate) port: Port<K, Change<V>>,
    /// How an operator in the same task reads the current row of a key.
    pub(crate) rows: Arc<dyn BuildLookup<K, V>>,
    /// The stores behind `rows`; a reader is a user of them in the plan.
    pub(crate) stores: Vec<Arc<str>>,
}

impl<K, V> Clone for KTable<K, V> {
    fn clone(&self) -> Self {
        let rows = Arc::clone(&self.rows);
        Self { port: self.port.clone(), rows, stores: self.stores.clone() }
    }
}

impl<K, V> fmt::Debug for KTable<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KTable")
    }
}

impl<K: Data, V: Data> KTable<K, V> {
    /// A table whose rows are in a key-value store.
    pub(crate) fn materialized(port: Port<K, Change<V>>, store: Materialized<K, V>) -> Self
    where
        K: Eq + Hash,
    {
        let Materialized { name, key, value, .. } = store;
        let stores = vec![Arc::clone(&name)];
        Self { port, rows: Arc::new(StoreLookup { store: name, key, value }), stores }
    }

    /// The changes as a stream; a deleted row is `None`.
    #[doc(alias = "toStream")]
    pub fn to_stream(&self) -> KStream<K, Option<V>> {
        let node = Node::new("KTABLE-TOSTREAM");
        KStream { port: self.port.attach(node, |output| TableToStream { output }) }
    }

    /// The changes as a stream without the deletions.
    pub fn updates(&self) -> KStream<K, V> {
        let node = Node::new("KTABLE-TOSTREAM");
        KStream { port: self.port.attach(node, |output| TableUpdates { output }) }
    }

    /// Writes the changes to a topic; a deleted row is written as null.
    ///
    /// The keys of a windowed table are [`Windowed`](crate::Windowed): declare the topic with
    /// [`TimeWindowedCodec`](crate::window::key::TimeWindowedCodec) or
    /// [`SessionWindowedCodec`](crate::window::key::SessionWindowedCodec), or go by way of
    /// [`updates`](Self::updates) and a `map` to keys of your own.
    pub fn to(&self, topic: &Topic<K, V>) {
        self.port.write_to(topic);
    }
}
