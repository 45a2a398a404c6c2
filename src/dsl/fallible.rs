//! Twins of stateless operators whose functions can fail.
//!
//! A record whose function fails is dropped at this operator only, and goes to the processing
//! policy: the application stops, skips it, or sends it to the dead-letter topic.

use std::sync::Arc;

use crate::dsl::stream::KStream;
use crate::error::BoxError;
use crate::operator::flat_map::{EmitFn, FlatMap};
use crate::record::{Data, Record};
use crate::topology::Node;

impl<K: Data, V: Data> KStream<K, V> {
    /// As [`map`](Self::map), with a function that can fail.
    pub fn try_map<K2: Data, V2: Data, E: Into<BoxError>>(
        &self,
        f: impl Fn(K, V) -> Result<(K2, V2), E> + Send + Sync + 'static,
    ) -> KStream<K2, V2> {
        self.map_node(Node::new("KSTREAM-MAP").changing_key(), move |record| {
            let (key, value) = f(record.key, record.value).map_err(Into::into)?;
            Ok(Record { key, value, timestamp: record.timestamp })
        })
    }

    /// As [`map_values_with_key`](Self::map_values_with_key), with a function that can fail.
    pub fn try_map_values_with_key<V2: Data, E: Into<BoxError>>(
        &self,
        f: impl Fn(&K, V) -> Result<V2, E> + Send + Sync + 'static,
    ) -> KStream<K, V2> {
        self.map_node(Node::new("KSTREAM-MAPVALUES"), move |record| {
            let value = f(&record.key, record.value).map_err(Into::into)?;
            Ok(Record { key: record.key, value, timestamp: record.timestamp })
        })
    }

    /// As [`select_key`](Self::select_key), with a function that can fail.
    pub fn try_select_key<K2: Data, E: Into<BoxError>>(
        &self,
        f: impl Fn(&K, &V) -> Result<K2, E> + Send + Sync + 'static,
    ) -> KStream<K2, V> {
        self.map_node(Node::new("KSTREAM-KEY-SELECT").changing_key(), move |record| {
            let key = f(&record.key, &record.value).map_err(Into::into)?;
            Ok(record.with_key(key))
        })
    }

    /// As [`flat_map`](Self::flat_map), with a function that can fail.
    pub fn try_flat_map<K2: Data, V2: Data, I, E: Into<BoxError>>(
        &self,
        f: impl Fn(K, V) -> Result<I, E> + Send + Sync + 'static,
    ) -> KStream<K2, V2>
    where
        I: IntoIterator<Item = (K2, V2)>,
    {
        let f = Arc::new(move |record: Record<K, V>, emit: EmitFn<'_, K2, V2>| {
            let timestamp = record.timestamp;
            let results = match f(record.key, record.value) {
                Ok(results) => results,
                Err(error) => return Ok(Err(error.into())),
            };
            for (key, value) in results {
                emit(Record { key, value, timestamp })?;
            }
            Ok(Ok(()))
        });
        let node = Node::new("KSTREAM-FLATMAP").changing_key();
        KStream { port: self.port.attach(node, |output| FlatMap { f, output }) }
    }

    /// As [`flat_map_values`](Self::flat_map_values), with a function that can fail.
    pub fn try_flat_map_values<V2: Data, I, E: Into<BoxError>>(
        &self,
        f: impl Fn(V) -> Result<I, E> + Send + Sync + 'static,
    ) -> KStream<K, V2>
    where
        I: IntoIterator<Item = V2>,
    {
        self.flat_map_values_node(move |_, value| f(value).map_err(Into::into))
    }

    /// As [`for_each`](Self::for_each), with a function that can fail.
    pub fn try_for_each<E: Into<BoxError>>(
        &self,
        f: impl Fn(K, V) -> Result<(), E> + Send + Sync + 'static,
    ) {
        let f = Arc::new(move |record: Record<K, V>, _: EmitFn<'_, (), ()>| {
            Ok(f(record.key, record.value).map_err(Into::into))
        });
        let node = Node::new("KSTREAM-FOREACH");
        self.port.attach(node, |output| FlatMap { f, output });
    }
}
