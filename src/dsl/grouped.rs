//! Grouped streams: records gathered by key, ready to be aggregated.

use std::cell::RefCell;
use std::fmt;
use std::hash::Hash;
use std::rc::Rc;
use std::sync::Arc;

use crate::dsl::attach::Port;
use crate::dsl::options::{Grouped, Materialized};
use crate::dsl::table::KTable;
use crate::error::BoxError;
use crate::operator::aggregate::Aggregate;
use crate::record::Data;
use crate::serde::{Canonical, Key, Value};
use crate::topology::{Node, RepartitionSpec, StoreKind};

/// Records gathered by key. Made by [`KStream::group_by_key`](crate::KStream::group_by_key).
#[must_use = "a group does nothing until it is aggregated"]
pub struct KGroupedStream<K, V> {
    input: Port<K, V>,
    grouped: Grouped<K, V>,
    /// The stream behind the repartition, once the first aggregation has named it.
    repartitioned: Rc<RefCell<Option<Port<K, V>>>>,
}

impl<K, V> Clone for KGroupedStream<K, V> {
    fn clone(&self) -> Self {
        Self {
            input: self.input.clone(),
            grouped: self.grouped.clone(),
            repartitioned: Rc::clone(&self.repartitioned),
        }
    }
}

impl<K, V> fmt::Debug for KGroupedStream<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KGroupedStream")
    }
}

impl<K: Data, V: Data> KGroupedStream<K, V> {
    pub(crate) fn new(input: Port<K, V>, grouped: Grouped<K, V>) -> Self {
        Self { input, grouped, repartitioned: Rc::default() }
    }

    /// The records by key, through one shared repartition topic if keys may have changed.
    pub(crate) fn by_key(&self, store: &Arc<str>) -> Port<K, V> {
        if !self.input.has_changed_key() {
            return self.input.clone();
        }
        let mut repartitioned = self.repartitioned.borrow_mut();
        let port = repartitioned.get_or_insert_with(|| {
            let name = self.grouped.name.as_ref().unwrap_or(store);
            let spec = RepartitionSpec { name: Arc::clone(name), partitions: None };
            let codecs = (Arc::clone(&self.grouped.key), Arc::clone(&self.grouped.value));
            self.input.repartition(spec, codecs)
        });
        port.clone()
    }

    /// Counts the records of each key, in a store of this name.
    ///
    /// Stored: key to count, as eight big-endian bytes; the changelog holds the same.
    pub fn count(&self, store: impl Into<Arc<str>>) -> KTable<K, i64>
    where
        K: Key,
    {
        self.count_with(Materialized::with_codecs(store, Canonical, Canonical))
    }

    /// As [`count`](Self::count), with options for the store.
    pub fn count_with(&self, store: Materialized<K, i64>) -> KTable<K, i64>
    where
        K: Eq + Hash,
    {
        self.fold("KSTREAM-AGGREGATE", store, |_, _, count| {
            *count.get_or_insert(0) += 1;
            Ok(())
        })
    }

    /// Combines the values of each key: the first is the start, `f` folds each later one in.
    pub fn reduce(
        &self,
        store: impl Into<Arc<str>>,
        f: impl Fn(&mut V, V) + Send + Sync + 'static,
    ) -> KTable<K, V>
    where
        K: Key,
        V: Value,
    {
        self.reduce_with(Materialized::named(store), f)
    }

    /// As [`reduce`](Self::reduce), with options for the store.
    pub fn reduce_with(
        &self,
        store: Materialized<K, V>,
        f: impl Fn(&mut V, V) + Send + Sync + 'static,
    ) -> KTable<K, V>
    where
        K: Eq + Hash,
    {
        self.fold("KSTREAM-REDUCE", store, move |_, value, total| {
            match total {
                Some(total) => f(total, value),
                None => *total = Some(value),
            }
            Ok(())
        })
    }

    /// Folds the records of each key into an aggregate that starts as `initial()`.
    pub fn aggregate<A: Value>(
        &self,
        store: impl Into<Arc<str>>,
        initial: impl Fn() -> A + Send + Sync + 'static,
        f: impl Fn(&K, V, &mut A) + Send + Sync + 'static,
    ) -> KTable<K, A>
    where
        K: Key,
    {
        self.aggregate_with(Materialized::named(store), initial, f)
    }

    /// As [`aggregate`](Self::aggregate), with options for the store.
    pub fn aggregate_with<A: Data>(
        &self,
        store: Materialized<K, A>,
        initial: impl Fn() -> A + Send + Sync + 'static,
        f: impl Fn(&K, V, &mut A) + Send + Sync + 'static,
    ) -> KTable<K, A>
    where
        K: Eq + Hash,
    {
        self.fold("KSTREAM-AGGREGATE", store, move |key, value, total| {
            f(key, value, total.get_or_insert_with(&initial));
            Ok(())
        })
    }

    fn fold<A: Data>(
        &self,
        kind: &'static str,
        store: Materialized<K, A>,
        fold: impl Fn(&K, V, &mut Option<A>) -> Result<(), BoxError> + Send + Sync + 'static,
    ) -> KTable<K, A>
    where
        K: Eq + Hash,
    {
        let input = self.by_key(&store.name);
        input.draft.add_store(store.spec(StoreKind::KeyValue));
        let node = Node::new(kind).using(&store.name);
        let port = input.attach(node, |output| Aggregate {
            store: Arc::clone(&store.name),
            key: Arc::clone(&store.key),
            value: Arc::clone(&store.value),
            emit: store.emit,
            fold: Arc::new(fold),
            output,
        });
        KTable::materialized(port, store)
    }
}
