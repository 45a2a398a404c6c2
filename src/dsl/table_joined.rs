//! Joins with tables: table with table, stream with table.

use std::fmt;
use std::sync::Arc;

use crate::dsl::row::JoinKey;
use crate::dsl::stream::KStream;
use crate::dsl::table::KTable;
use crate::operator::stream_table_join::{JoinRow, StreamTableJoin};
use crate::operator::table_join::{JoinRows, JoinRule, JoinedRows, Needs, TableJoin};
use crate::record::Data;
use crate::serde::{Canonical, Codec, Key, MessagePack, SharedCodec, Value};
use crate::topology::{Node, RepartitionSpec};

impl<K: Data, V: Data> KTable<K, V> {
    /// Joins the rows that both tables have of a key.
    ///
    /// A change on either side meets the other's current row; with none there, nothing happens. A
    /// row that is deleted on one side is deleted from the result. The result's time is the later
    /// of the two. Nothing is stored beside the two tables, whose topics must be co-partitioned.
    pub fn join<V2: Data, R: Data>(
        &self,
        other: &KTable<K, V2>,
        f: impl Fn(V, V2) -> R + Send + Sync + 'static,
    ) -> KTable<K, R> {
        self.join_rows(
            other,
            Needs::Both,
            Arc::new(move |left, right| f(there(left), there(right))),
        )
    }

    /// Joins every row of this table with the other's row of the same key, if there is one.
    ///
    /// As [`join`](Self::join) otherwise.
    #[doc(alias = "leftJoin")]
    pub fn left_join<V2: Data, R: Data>(
        &self,
        other: &KTable<K, V2>,
        f: impl Fn(V, Option<V2>) -> R + Send + Sync + 'static,
    ) -> KTable<K, R> {
        self.join_rows(other, Needs::Left, Arc::new(move |left, right| f(there(left), right)))
    }

    /// Joins the rows of both tables; where only one has a row of a key, the other is `None`.
    ///
    /// As [`join`](Self::join) otherwise.
    #[doc(alias = "outerJoin")]
    pub fn outer_join<V2: Data, R: Data>(
        &self,
        other: &KTable<K, V2>,
        f: impl Fn(Option<V>, Option<V2>) -> R + Send + Sync + 'static,
    ) -> KTable<K, R> {
        self.join_rows(other, Needs::Either, Arc::new(f))
    }

    fn join_rows<V2: Data, R: Data>(
        &self,
        other: &KTable<K, V2>,
        needs: Needs,
        join: JoinRows<V, V2, R>,
    ) -> KTable<K, R> {
        let stores: Vec<_> = self.stores.iter().chain(&other.stores).cloned().collect();
        let node = Node::new("KTABLE-JOIN").copartitioned();
        let node = stores.iter().fold(node, Node::using);
        let rule = JoinRule { needs, join };
        let port = self.port.attach_two(&other.port, node, |output| {
            let (left, right) = (Arc::clone(&self.rows), Arc::clone(&other.rows));
            let this = TableJoin { rule: rule.clone(), other: right, output: Arc::clone(&output) };
            (this, TableJoin { rule: rule.mirrored(), other: left, output })
        });
        let (left, right) = (Arc::clone(&self.rows), Arc::clone(&other.rows));
        KTable { port, rows: Arc::new(JoinedRows { rule, left, right }), stores }
    }
}

fn there<V>(row: Option<V>) -> V {
    row.expect("the join's rule asks for this side")
}

/// How the stream's records travel to a join with a table, if they must change partitions.
pub struct Joined<K, V> {
    name: Option<Arc<str>>,
    key: SharedCodec<K>,
    value: SharedCodec<V>,
}

impl<K: Data, V: Data> Joined<K, V> {
    /// Codecs of the repartition topic, named `<table's store>-join`.
    pub fn with_codecs(key: impl Codec<K>, value: impl Codec<V>) -> Self {
        Self { name: None, key: Arc::new(key), value: Arc::new(value) }
    }

    /// A repartition topic of this name; canonical keys, values as MessagePack.
    #[doc(alias = "as")]
    pub fn named(name: impl Into<Arc<str>>) -> Self
    where
        K: Key,
        V: Value,
    {
        Self::default().with_name(name)
    }

    /// These options under a name for the repartition topic.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = Some(name.into());
        self
    }
}

impl<K: Key, V: Value> Default for Joined<K, V> {
    fn default() -> Self {
        Self::with_codecs(Canonical, MessagePack)
    }
}

impl<K, V> fmt::Debug for Joined<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Joined").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<K: Data, V: Data> KStream<K, V> {
    /// Joins each record with the table's row of its key; without one, the record is dropped.
    ///
    /// The row is the one at the moment at which the record is processed; a change of the table
    /// makes no result. Nothing is stored beside the table, with which the stream must be
    /// co-partitioned. If keys may have changed, the records go through a repartition topic
    /// `<table's store>-join` first; name it with [`Joined`] if there are several.
    #[doc(alias = "join")]
    pub fn join_table<V2: Data, R: Data>(
        &self,
        table: &KTable<K, V2>,
        f: impl Fn(V, V2) -> R + Send + Sync + 'static,
    ) -> KStream<K, R>
    where
        K: Key,
        V: Value,
    {
        self.join_table_with(table, f, Joined::default())
    }

    /// As [`join_table`](Self::join_table), with options for the repartition topic.
    pub fn join_table_with<V2: Data, R: Data>(
        &self,
        table: &KTable<K, V2>,
        f: impl Fn(V, V2) -> R + Send + Sync + 'static,
        joined: Joined<K, V>,
    ) -> KStream<K, R> {
        self.join_row(
            table,
            Arc::new(move |value, row| Some(f(value, row?))),
            joined,
            "KSTREAM-JOIN",
        )
    }

    /// Joins each record with the table's row of its key, if there is one. A stream of `Option`
    /// keys may be joined as well: a null key meets no row.
    ///
    /// As [`join_table`](Self::join_table) otherwise.
    #[doc(alias = "leftJoin")]
    pub fn left_join_table<K2: Key, V2: Data, R: Data>(
        &self,
        table: &KTable<K2, V2>,
        f: impl Fn(V, Option<V2>) -> R + Send + Sync + 'static,
    ) -> KStream<K, R>
    where
        K: JoinKey<K2>,
        V: Value,
    {
        let key = K::codec_over(Arc::new(Canonical));
        let joined = Joined { name: None, key, value: Arc::new(MessagePack) };
        self.left_join_table_with(table, f, joined)
    }

    /// As [`left_join_table`](Self::left_join_table), with options for the repartition topic.
    pub fn left_join_table_with<K2: Data, V2: Data, R: Data>(
        &self,
        table: &KTable<K2, V2>,
        f: impl Fn(V, Option<V2>) -> R + Send + Sync + 'static,
        joined: Joined<K, V>,
    ) -> KStream<K, R>
    where
        K: JoinKey<K2>,
    {
        self.join_row(
            table,
            Arc::new(move |value, row| Some(f(value, row))),
            joined,
            "KSTREAM-LEFTJOIN",
        )
    }

    fn join_row<K2: Data, V2: Data, R: Data>(
        &self,
        table: &KTable<K2, V2>,
        join: JoinRow<V, V2, R>,
        joined: Joined<K, V>,
        kind: &'static str,
    ) -> KStream<K, R>
    where
        K: JoinKey<K2>,
    {
        let mut input = self.port.clone();
        if input.has_changed_key() {
            let store = table.stores.first().expect("the rows of a table lie in a store");
            let name = joined.name.unwrap_or_else(|| format!("{store}-join").into());
            let spec = RepartitionSpec { name, partitions: None };
            input = input.repartition(spec, (joined.key, joined.value));
        }
        let node = Node::new(kind).copartitioned();
        let node = table.stores.iter().fold(node, Node::using);
        let rows = Arc::clone(&table.rows);
        let port = input.attach_beside(table.port.output.node(), node, |output| StreamTableJoin {
            key: K::join_key,
            join,
            rows,
            output,
        });
        KStream { port }
    }
}
