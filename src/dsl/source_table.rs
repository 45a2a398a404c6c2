//! Tables that are made of the records of a topic or of a stream.

use std::hash::Hash;
use std::sync::Arc;

use crate::dsl::attach::Port;
use crate::dsl::builder::StreamsBuilder;
use crate::dsl::options::Materialized;
use crate::dsl::row::IntoRow;
use crate::dsl::stream::KStream;
use crate::dsl::table::KTable;
use crate::operator::table_store::TableStore;
use crate::record::{Change, Data};
use crate::serde::{Key, SharedCodec, Value};
use crate::topic::Topic;
use crate::topology::{Node, RepartitionSpec, StoreKind, TopicRef};

impl StreamsBuilder {
    /// Reads a topic as a table: each record replaces the row of its key, a null value deletes it.
    ///
    /// Stored, in a store of this name: key to value in the topic's own codecs, with the record's
    /// time; the changelog holds the same. A record that is out of order replaces the row as well.
    ///
    /// For a topic of `Option<V>` name the row: `builder.table::<_, _, Price>(&prices, "prices")`.
    pub fn table<K: Data + Eq + Hash, T: IntoRow<V>, V: Data>(
        &self,
        topic: &Topic<K, T>,
        store: impl Into<Arc<str>>,
    ) -> KTable<K, V> {
        let codecs = (topic.key_codec(), T::row_codec(topic.value_codec()));
        self.table_with(topic, Materialized::shared(store.into(), codecs.0, codecs.1))
    }

    /// As [`table`](Self::table), with options for the store.
    pub fn table_with<K: Data + Eq + Hash, T: IntoRow<V>, V: Data>(
        &self,
        topic: &Topic<K, T>,
        store: Materialized<K, V>,
    ) -> KTable<K, V> {
        let topic_ref = TopicRef::External(topic.name_shared());
        let rows = self.draft.source("KSTREAM-SOURCE", &T::with_tombstones(topic), topic_ref);
        store_rows(&rows, "KTABLE-SOURCE", store, |row| row)
    }
}

impl<K: Data, T: Data> KStream<K, T> {
    /// Reads the stream as a table: each record replaces the row of its key; a `None` of a stream
    /// of `Option<V>` deletes it.
    ///
    /// Stored, in a store of this name: key to row, with the record's time; the changelog holds
    /// the same. If keys may have changed, the records go through a repartition topic of the same
    /// name first.
    ///
    /// For a stream of `Option<V>` name the row: `stream.to_table::<Price>("prices")`.
    #[doc(alias = "toTable")]
    pub fn to_table<V: Value>(&self, store: impl Into<Arc<str>>) -> KTable<K, V>
    where
        K: Key,
        T: IntoRow<V>,
    {
        self.to_table_with(Materialized::named(store))
    }

    /// As [`to_table`](Self::to_table), with options for the store; its codecs serve the
    /// repartition topic, too.
    pub fn to_table_with<V: Data>(&self, store: Materialized<K, V>) -> KTable<K, V>
    where
        K: Eq + Hash,
        T: IntoRow<V>,
    {
        let mut input = self.port.clone();
        if input.has_changed_key() {
            let spec = RepartitionSpec { name: Arc::clone(&store.name), partitions: None };
            let value: SharedCodec<T> = T::codec_over(Arc::clone(&store.value));
            input = input.repartition(spec, (Arc::clone(&store.key), value));
        }
        store_rows(&input, "KSTREAM-TOTABLE", store, T::into_row)
    }
}

impl<K: Data, V: Data> KTable<K, V> {
    /// Keeps the rows of this table in a store of this name.
    ///
    /// A table that is filtered, mapped or joined is not stored by itself: who reads it computes
    /// its rows. Store it where that is dear, or where the rows are to be queried.
    ///
    /// Stored: key to row, with the time of the change; the changelog holds the same. A deletion
    /// of a row that is not there ends here.
    #[doc(alias = "Materialized")]
    pub fn materialize(&self, store: impl Into<Arc<str>>) -> Self
    where
        K: Key,
        V: Value,
    {
        self.materialize_with(Materialized::named(store))
    }

    /// As [`materialize`](Self::materialize), with options for the store.
    pub fn materialize_with(&self, store: Materialized<K, V>) -> Self
    where
        K: Eq + Hash,
    {
        let new = |change: Change<V>| change.new;
        attach_store(&self.port, Node::new("KTABLE-STORE"), store, (new, true))
    }
}

fn store_rows<K: Data + Eq + Hash, T: Data, V: Data>(
    input: &Port<K, T>,
    kind: &'static str,
    store: Materialized<K, V>,
    into_row: fn(T) -> Option<V>,
) -> KTable<K, V> {
    attach_store(input, Node::new(kind), store, (into_row, false))
}

fn attach_store<K: Data + Eq + Hash, T: Data, V: Data>(
    input: &Port<K, T>,
    node: Node,
    store: Materialized<K, V>,
    (into_row, knows_downstream): (fn(T) -> Option<V>, bool),
) -> KTable<K, V> {
    input.draft.add_store(store.spec(StoreKind::KeyValue));
    let port = input.attach(node.using(&store.name), |output| TableStore {
        store: Arc::clone(&store.name),
        key: Arc::clone(&store.key),
        value: Arc::clone(&store.value),
        into_row,
        knows_downstream,
        output,
    });
    KTable::materialized(port, store)
}
