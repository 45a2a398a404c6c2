//! Streams: unbounded sequences of records.

use std::fmt;
use std::sync::Arc;

use crate::dsl::attach::Port;
use crate::dsl::grouped::KGroupedStream;
use crate::dsl::options::Grouped;
use crate::error::BoxError;
use crate::operator::filter::Filter;
use crate::operator::flat_map::FlatMap;
use crate::operator::map::Map;
use crate::record::{Data, Record};
use crate::serde::{Key, Value};
use crate::topic::Topic;
use crate::topology::Node;

/// A typed, unbounded sequence of records: a handle on one node's output.
///
/// Two calls on one handle fan out; the last consumer gets each record by move.
#[must_use = "a stream does nothing until it reaches a sink or a table"]
pub struct KStream<K, V> {
    pub(crate) port: Port<K, V>,
}

impl<K, V> Clone for KStream<K, V> {
    fn clone(&self) -> Self {
        Self { port: self.port.clone() }
    }
}

impl<K, V> fmt::Debug for KStream<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KStream")
    }
}

impl<K: Data, V: Data> KStream<K, V> {
    /// Keeps the records that `accept` accepts.
    pub fn filter(&self, accept: impl Fn(&K, &V) -> bool + Send + Sync + 'static) -> Self {
        self.filter_node("KSTREAM-FILTER", move |key, value| Ok(accept(key, value)))
    }

    /// Keeps the records that `reject` does not accept.
    #[doc(alias = "filterNot")]
    pub fn filter_not(&self, reject: impl Fn(&K, &V) -> bool + Send + Sync + 'static) -> Self {
        self.filter_node("KSTREAM-FILTER", move |key, value| Ok(!reject(key, value)))
    }

    /// As [`filter`](Self::filter), with a predicate that can fail.
    pub fn try_filter<E: Into<BoxError>>(
        &self,
        accept: impl Fn(&K, &V) -> Result<bool, E> + Send + Sync + 'static,
    ) -> Self {
        self.filter_node("KSTREAM-FILTER", move |key, value| accept(key, value).map_err(Into::into))
    }

    fn filter_node(
        &self,
        kind: &'static str,
        accept: impl Fn(&K, &V) -> Result<bool, BoxError> + Send + Sync + 'static,
    ) -> Self {
        let accept = Arc::new(accept);
        let port = self.port.attach(Node::new(kind), |output| Filter { accept, output });
        Self { port }
    }

    /// Replaces key and value of each record.
    pub fn map<K2: Data, V2: Data>(
        &self,
        f: impl Fn(K, V) -> (K2, V2) + Send + Sync + 'static,
    ) -> KStream<K2, V2> {
        self.map_node(Node::new("KSTREAM-MAP").changing_key(), move |record| {
            let (key, value) = f(record.key, record.value);
            Ok(Record { key, value, timestamp: record.timestamp })
        })
    }

    /// Replaces each value; the key stays, and so does the partition.
    #[doc(alias = "mapValues")]
    pub fn map_values<V2: Data>(
        &self,
        f: impl Fn(V) -> V2 + Send + Sync + 'static,
    ) -> KStream<K, V2> {
        self.map_node(Node::new("KSTREAM-MAPVALUES"), move |record| {
            let value = f(record.value);
            Ok(Record { key: record.key, value, timestamp: record.timestamp })
        })
    }

    /// As [`map_values`](Self::map_values), with a function that can fail.
    pub fn try_map_values<V2: Data, E: Into<BoxError>>(
        &self,
        f: impl Fn(V) -> Result<V2, E> + Send + Sync + 'static,
    ) -> KStream<K, V2> {
        self.map_node(Node::new("KSTREAM-MAPVALUES"), move |record| {
            let value = f(record.value).map_err(Into::into)?;
            Ok(Record { key: record.key, value, timestamp: record.timestamp })
        })
    }

    /// Replaces each key; a grouping or join behind it repartitions.
    #[doc(alias = "selectKey")]
    pub fn select_key<K2: Data>(
        &self,
        f: impl Fn(&K, &V) -> K2 + Send + Sync + 'static,
    ) -> KStream<K2, V> {
        self.map_node(Node::new("KSTREAM-KEY-SELECT").changing_key(), move |record| {
            Ok(Record {
                key: f(&record.key, &record.value),
                value: record.value,
                timestamp: record.timestamp,
            })
        })
    }

    pub(crate) fn map_node<K2: Data, V2: Data>(
        &self,
        node: Node,
        f: impl Fn(Record<K, V>) -> Result<Record<K2, V2>, BoxError> + Send + Sync + 'static,
    ) -> KStream<K2, V2> {
        let f = Arc::new(f);
        KStream { port: self.port.attach(node, |output| Map { f, output }) }
    }

    /// Makes any number of records with keys of their own out of each record.
    #[doc(alias = "flatMap")]
    pub fn flat_map<K2: Data, V2: Data, I: IntoIterator<Item = (K2, V2)>>(
        &self,
        f: impl Fn(K, V) -> I + Send + Sync + 'static,
    ) -> KStream<K2, V2> {
        let f = Arc::new(
            move |record: Record<K, V>, emit: crate::operator::flat_map::EmitFn<'_, K2, V2>| {
                let timestamp = record.timestamp;
                for (key, value) in f(record.key, record.value) {
                    emit(Record { key, value, timestamp })?;
                }
                Ok(Ok(()))
            },
        );
        let node = Node::new("KSTREAM-FLATMAP").changing_key();
        KStream { port: self.port.attach(node, |output| FlatMap { f, output }) }
    }

    /// Makes any number of values out of each; the key stays, and so does the partition.
    #[doc(alias = "flatMapValues")]
    pub fn flat_map_values<V2: Data, I: IntoIterator<Item = V2>>(
        &self,
        f: impl Fn(V) -> I + Send + Sync + 'static,
    ) -> KStream<K, V2> {
        let f = Arc::new(
            move |record: Record<K, V>, emit: crate::operator::flat_map::EmitFn<'_, K, V2>| {
                let Record { key, value, timestamp } = record;
                for value in f(value) {
                    emit(Record { key: key.clone(), value, timestamp })?;
                }
                Ok(Ok(()))
            },
        );
        let node = Node::new("KSTREAM-FLATMAPVALUES");
        KStream { port: self.port.attach(node, |output| FlatMap { f, output }) }
    }

    /// Writes the records to a topic.
    pub fn to(&self, topic: &Topic<K, V>) {
        self.port.write_to(topic);
    }

    /// Groups the records by the key they have.
    ///
    /// If an operator before this may have changed the key, the records go through a repartition
    /// topic, named after the first store that is kept of the group.
    #[doc(alias = "groupByKey")]
    pub fn group_by_key(&self) -> KGroupedStream<K, V>
    where
        K: Key,
        V: Value,
    {
        self.group_by_key_with(Grouped::default())
    }

    /// As [`group_by_key`](Self::group_by_key), with options for the repartition topic.
    pub fn group_by_key_with(&self, grouped: Grouped<K, V>) -> KGroupedStream<K, V> {
        KGroupedStream::new(self.port.clone(), grouped)
    }

    /// Groups the records by another key.
    #[doc(alias = "groupBy")]
    pub fn group_by<K2: Key>(
        &self,
        f: impl Fn(&K, &V) -> K2 + Send + Sync + 'static,
    ) -> KGroupedStream<K2, V>
    where
        V: Value,
    {
        self.select_key(f).group_by_key()
    }
}
