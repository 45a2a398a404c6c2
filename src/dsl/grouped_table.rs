//! Grouped tables: rows gathered under another key, ready to be aggregated.

use std::cell::RefCell;
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use crate::dsl::attach::Port;
use crate::dsl::options::{Grouped, Materialized};
use crate::dsl::table::KTable;
use crate::error::BoxError;
use crate::operator::aggregate::Aggregate;
use crate::operator::change_codec::ChangeCodec;
use crate::operator::table_group::TableGroup;
use crate::record::{Change, Data};
use crate::serde::{Canonical, Key, SharedCodec, Value};
use crate::topology::{Node, RepartitionSpec, StoreKind};

/// What a fold of one change answers.
type Folded = Result<(), BoxError>;

/// The rows of a table, gathered under another key. Made by [`KTable::group_by`].
///
/// An aggregation follows every row: when a row changes, what it was is taken out of its group,
/// and what it is now is put into its group, which may be another.
#[must_use = "a group does nothing until it is aggregated"]
pub struct KGroupedTable<K, V> {
    changes: Port<K, Change<V>>,
    grouped: Grouped<K, V>,
    /// The changes behind the repartition, once the first aggregation has named it.
    repartitioned: RefCell<Option<Port<K, Change<V>>>>,
}

impl<K, V> fmt::Debug for KGroupedTable<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KGroupedTable")
    }
}

impl<K: Data, V: Data> KTable<K, V> {
    /// Gathers the rows under another key: `f` says which, and what the row is in its group.
    ///
    /// The changes go through a repartition topic, named after the first store that is kept of the
    /// group, in the byte form of Kafka Streams.
    #[doc(alias = "groupBy")]
    pub fn group_by<K2: Key, V2: Value>(
        &self,
        f: impl Fn(&K, V) -> (K2, V2) + Send + Sync + 'static,
    ) -> KGroupedTable<K2, V2> {
        self.group_by_with(f, Grouped::default())
    }

    /// As [`group_by`](Self::group_by), with options for the repartition topic.
    pub fn group_by_with<K2: Data + Eq, V2: Data>(
        &self,
        f: impl Fn(&K, V) -> (K2, V2) + Send + Sync + 'static,
        grouped: Grouped<K2, V2>,
    ) -> KGroupedTable<K2, V2> {
        let node = Node::new("KTABLE-SELECT").changing_key();
        let f = Arc::new(f);
        let changes = self.port.attach(node, |output| TableGroup { f, output });
        KGroupedTable { changes, grouped, repartitioned: RefCell::new(None) }
    }
}

impl<K: Data, V: Data> KGroupedTable<K, V> {
    /// The changes by key, through one repartition topic for all aggregations of this group.
    fn by_key(&self, store: &Arc<str>) -> Port<K, Change<V>> {
        let mut repartitioned = self.repartitioned.borrow_mut();
        let port = repartitioned.get_or_insert_with(|| {
            let name = self.grouped.name.as_ref().unwrap_or(store);
            let spec = RepartitionSpec { name: Arc::clone(name), partitions: None };
            let row = Arc::clone(&self.grouped.value);
            let value: SharedCodec<Change<V>> = Arc::new(ChangeCodec { row });
            self.changes.repartition(spec, (Arc::clone(&self.grouped.key), value))
        });
        port.clone()
    }

    /// Counts the rows of each group, in a store of this name.
    ///
    /// Stored: group to count, as eight big-endian bytes; the changelog holds the same. A group
    /// that has lost its last row stays, with a count of zero.
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
        self.aggregate_with(store, || 0, |_, _, count| *count += 1, |_, _, count| *count -= 1)
    }

    /// Combines the rows of each group: `add` puts a row in, `subtract` takes one out.
    ///
    /// Stored: group to result; the changelog holds the same. The first row of a group is the
    /// start.
    pub fn reduce(
        &self,
        store: impl Into<Arc<str>>,
        add: impl Fn(&mut V, V) + Send + Sync + 'static,
        subtract: impl Fn(&mut V, V) + Send + Sync + 'static,
    ) -> KTable<K, V>
    where
        K: Key,
        V: Value,
    {
        self.reduce_with(Materialized::named(store), add, subtract)
    }

    /// As [`reduce`](Self::reduce), with options for the store.
    pub fn reduce_with(
        &self,
        store: Materialized<K, V>,
        add: impl Fn(&mut V, V) + Send + Sync + 'static,
        subtract: impl Fn(&mut V, V) + Send + Sync + 'static,
    ) -> KTable<K, V>
    where
        K: Eq + Hash,
    {
        self.fold("KTABLE-REDUCE", store, move |_, change, total| {
            if let (Some(old), Some(total)) = (change.old, total.as_mut()) {
                subtract(total, old);
            }
            match (change.new, total.as_mut()) {
                (Some(new), Some(total)) => add(total, new),
                (Some(new), None) => *total = Some(new),
                (None, _) => {}
            }
            Ok(())
        })
    }

    /// Folds the rows of each group into an aggregate that starts as `initial()`: `add` puts a row
    /// in, `subtract` takes one out.
    ///
    /// Stored: group to aggregate, with the largest time of its changes; the changelog holds the
    /// same. A group that has lost all its rows stays.
    pub fn aggregate<A: Value>(
        &self,
        store: impl Into<Arc<str>>,
        initial: impl Fn() -> A + Send + Sync + 'static,
        add: impl Fn(&K, V, &mut A) + Send + Sync + 'static,
        subtract: impl Fn(&K, V, &mut A) + Send + Sync + 'static,
    ) -> KTable<K, A>
    where
        K: Key,
    {
        self.aggregate_with(Materialized::named(store), initial, add, subtract)
    }

    /// As [`aggregate`](Self::aggregate), with options for the store.
    pub fn aggregate_with<A: Data>(
        &self,
        store: Materialized<K, A>,
        initial: impl Fn() -> A + Send + Sync + 'static,
        add: impl Fn(&K, V, &mut A) + Send + Sync + 'static,
        subtract: impl Fn(&K, V, &mut A) + Send + Sync + 'static,
    ) -> KTable<K, A>
    where
        K: Eq + Hash,
    {
        self.fold("KTABLE-AGGREGATE", store, move |key, change, total| {
            if let (Some(old), Some(total)) = (change.old, total.as_mut()) {
                subtract(key, old, total);
            }
            if let Some(new) = change.new {
                add(key, new, total.get_or_insert_with(&initial));
            }
            Ok(())
        })
    }

    fn fold<A: Data>(
        &self,
        kind: &'static str,
        store: Materialized<K, A>,
        fold: impl Fn(&K, Change<V>, &mut Option<A>) -> Folded + Send + Sync + 'static,
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
