//! Tables made of one table without a store of their own.

use std::sync::Arc;

use crate::dsl::table::KTable;
use crate::operator::table_filter::{FilteredRows, RowPredicate, TableFilter};
use crate::operator::table_map::{MappedRows, RowMapper, TableMap};
use crate::record::Data;
use crate::topology::Node;

impl<K: Data, V: Data> KTable<K, V> {
    /// Keeps the rows that `accept` accepts; a row that it accepts no longer is deleted downstream.
    ///
    /// Nothing is stored: rows are read from this table. A deletion of a row that downstream has
    /// never seen is not sent. Store the result with [`materialize`](Self::materialize).
    pub fn filter(&self, accept: impl Fn(&K, &V) -> bool + Send + Sync + 'static) -> Self {
        self.filter_rows(Arc::new(accept))
    }

    /// Keeps the rows that `reject` does not accept. Nothing is stored.
    #[doc(alias = "filterNot")]
    pub fn filter_not(&self, reject: impl Fn(&K, &V) -> bool + Send + Sync + 'static) -> Self {
        self.filter_rows(Arc::new(move |key, row| !reject(key, row)))
    }

    fn filter_rows(&self, accept: RowPredicate<K, V>) -> Self {
        let rows = FilteredRows { parent: Arc::clone(&self.rows), accept: Arc::clone(&accept) };
        let node = Node::new("KTABLE-FILTER");
        let port = self.port.attach(node, |output| TableFilter { accept, output });
        Self { port, rows: Arc::new(rows), stores: self.stores.clone() }
    }

    /// Replaces each row. Deletions pass.
    ///
    /// Nothing is stored: `f` is called when a row changes and when it is read. Store the result
    /// with [`materialize`](Self::materialize) where `f` is dear.
    #[doc(alias = "mapValues")]
    pub fn map_values<V2: Data>(
        &self,
        f: impl Fn(V) -> V2 + Send + Sync + 'static,
    ) -> KTable<K, V2> {
        self.map_rows(Arc::new(move |_, row| f(row)))
    }

    /// As [`map_values`](Self::map_values), with a look at the key.
    #[doc(alias = "mapValues")]
    pub fn map_values_with_key<V2: Data>(
        &self,
        f: impl Fn(&K, V) -> V2 + Send + Sync + 'static,
    ) -> KTable<K, V2> {
        self.map_rows(Arc::new(f))
    }

    fn map_rows<V2: Data>(&self, f: RowMapper<K, V, V2>) -> KTable<K, V2> {
        let rows = MappedRows { parent: Arc::clone(&self.rows), f: Arc::clone(&f) };
        let node = Node::new("KTABLE-MAPVALUES");
        let port = self.port.attach(node, |output| TableMap { f, output });
        KTable { port, rows: Arc::new(rows), stores: self.stores.clone() }
    }
}
