//! Stateless operators beside the first dozen: side effects, access to key and headers, nulls.

use std::sync::Arc;

use crate::dsl::stream::KStream;
use crate::error::BoxError;
use crate::operator::flat_map::{EmitFn, FlatMap};
use crate::operator::flatten::{FlattenKeys, FlattenValues};
use crate::operator::headers::ChangeHeaders;
use crate::operator::merge::Merge;
use crate::record::{Data, Headers, Record};
use crate::topology::Node;

impl<K: Data, V: Data> KStream<K, V> {
    /// Looks at each record, which passes unchanged.
    ///
    /// For logging, metrics and tests. A record that is processed again after a crash is looked at
    /// again: what `f` does outside of the pipeline is not exactly once.
    pub fn peek(&self, f: impl Fn(&K, &V) + Send + Sync + 'static) -> Self {
        self.map_node(Node::new("KSTREAM-PEEK"), move |record| {
            f(&record.key, &record.value);
            Ok(record)
        })
    }

    /// Ends the stream in a function.
    ///
    /// A record that is processed again after a crash is handed to it again.
    #[doc(alias = "foreach")]
    pub fn for_each(&self, f: impl Fn(K, V) + Send + Sync + 'static) {
        self.try_for_each(move |key, value| {
            f(key, value);
            Ok::<(), BoxError>(())
        });
    }

    /// Makes one stream of this and another; records of each stay in their order.
    pub fn merge(&self, other: &Self) -> Self {
        let port = self.port.attach_two(&other.port, Node::new("KSTREAM-MERGE"), |output| {
            (Merge { output: Arc::clone(&output) }, Merge { output })
        });
        Self { port }
    }

    /// As [`map_values`](Self::map_values), with a look at the key.
    #[doc(alias = "mapValues")]
    pub fn map_values_with_key<V2: Data>(
        &self,
        f: impl Fn(&K, V) -> V2 + Send + Sync + 'static,
    ) -> KStream<K, V2> {
        self.map_node(Node::new("KSTREAM-MAPVALUES"), move |record| {
            let value = f(&record.key, record.value);
            Ok(Record { key: record.key, value, timestamp: record.timestamp })
        })
    }

    /// As [`flat_map_values`](Self::flat_map_values), with a look at the key.
    #[doc(alias = "flatMapValues")]
    pub fn flat_map_values_with_key<V2: Data, I: IntoIterator<Item = V2>>(
        &self,
        f: impl Fn(&K, V) -> I + Send + Sync + 'static,
    ) -> KStream<K, V2> {
        self.flat_map_values_node(move |key, value| Ok(f(key, value)))
    }

    pub(crate) fn flat_map_values_node<V2: Data, I: IntoIterator<Item = V2>>(
        &self,
        f: impl Fn(&K, V) -> Result<I, BoxError> + Send + Sync + 'static,
    ) -> KStream<K, V2> {
        let f = Arc::new(move |record: Record<K, V>, emit: EmitFn<'_, K, V2>| {
            let Record { key, value, timestamp } = record;
            let values = match f(&key, value) {
                Ok(values) => values,
                Err(error) => return Ok(Err(error)),
            };
            for value in values {
                emit(Record { key: key.clone(), value, timestamp })?;
            }
            Ok(Ok(()))
        });
        let node = Node::new("KSTREAM-FLATMAPVALUES");
        KStream { port: self.port.attach(node, |output| FlatMap { f, output }) }
    }

    /// Reads and changes the headers that travel with each record.
    ///
    /// Consumers beside this one see the headers as they were. A record whose header names are not
    /// UTF-8 goes to the processing policy.
    pub fn with_headers(&self, f: impl Fn(&K, &V, &mut Headers) + Send + Sync + 'static) -> Self {
        let node = Node::new("KSTREAM-HEADERS");
        Self { port: self.port.attach(node, |output| ChangeHeaders { f: Arc::new(f), output }) }
    }
}

impl<K: Data, V: Data> KStream<Option<K>, V> {
    /// Drops the records whose key is null, and counts them.
    ///
    /// What needs a key (grouping, repartitioning, tables) stands behind it.
    pub fn flatten_keys(&self) -> KStream<K, V> {
        let node = Node::new("KSTREAM-FLATTEN-KEYS");
        KStream { port: self.port.attach(node, |output| FlattenKeys { output }) }
    }
}

impl<K: Data, V: Data> KStream<K, Option<V>> {
    /// Drops the records whose value is null.
    pub fn flatten_values(&self) -> KStream<K, V> {
        let node = Node::new("KSTREAM-FLATTEN-VALUES");
        KStream { port: self.port.attach(node, |output| FlattenValues { output }) }
    }
}
