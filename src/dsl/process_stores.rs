//! Declares stores for processors, and connects them.

use std::fmt;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use crate::dsl::builder::StreamsBuilder;
use crate::dsl::options::Materialized;
use crate::dsl::table::KTable;
use crate::operator::build::TaskBuilder;
use crate::processor::{KeyValueStore, SessionStore, TableRows, WindowStore};
use crate::record::Data;
use crate::state::{self, Duplicates};
use crate::topology::StoreKind;

/// A declared store: connects processors to it. `H` is what they are handed.
///
/// Processors that are connected to one store run in one sub-topology and share its rows.
pub struct StoreRef<H> {
    names: Vec<Arc<str>>,
    open: Arc<dyn Fn(&mut TaskBuilder) -> H + Send + Sync>,
}

impl<H> Clone for StoreRef<H> {
    fn clone(&self) -> Self {
        Self { names: self.names.clone(), open: Arc::clone(&self.open) }
    }
}

impl<H> fmt::Debug for StoreRef<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StoreRef").field(&self.names).finish()
    }
}

/// A task that opens its stores.
pub struct OpenStores<'a>(pub(crate) &'a mut TaskBuilder);

impl fmt::Debug for OpenStores<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OpenStores")
    }
}

/// The stores that a processor is connected to, and what its supplier is handed for them.
///
/// A struct of references may implement it, to be handed over as a struct of stores.
pub trait StoreSet: Send + Sync + 'static {
    /// What a supplier is handed.
    type Opened;

    /// Names the stores, for the plan.
    fn each_name(&self, visit: &mut dyn FnMut(&Arc<str>));

    /// Opens the stores in a task.
    fn open(&self, task: &mut OpenStores<'_>) -> Self::Opened;
}

impl StoreSet for () {
    type Opened = ();

    fn each_name(&self, _: &mut dyn FnMut(&Arc<str>)) {}

    fn open(&self, _: &mut OpenStores<'_>) {}
}

impl<H: 'static> StoreSet for StoreRef<H> {
    type Opened = H;

    fn each_name(&self, visit: &mut dyn FnMut(&Arc<str>)) {
        self.names.iter().for_each(visit);
    }

    fn open(&self, task: &mut OpenStores<'_>) -> H {
        (self.open)(task.0)
    }
}

impl<S: StoreSet> StoreSet for Vec<S> {
    type Opened = Vec<S::Opened>;

    fn each_name(&self, visit: &mut dyn FnMut(&Arc<str>)) {
        self.iter().for_each(|stores| stores.each_name(visit));
    }

    fn open(&self, task: &mut OpenStores<'_>) -> Self::Opened {
        self.iter().map(|stores| stores.open(task)).collect()
    }
}

macro_rules! tuples_of_stores {
    ($(($($store:ident . $index:tt),+))+) => {$(
        impl<$($store: StoreSet),+> StoreSet for ($($store,)+) {
            type Opened = ($($store::Opened,)+);

            fn each_name(&self, visit: &mut dyn FnMut(&Arc<str>)) {
                $(self.$index.each_name(visit);)+
            }

            fn open(&self, task: &mut OpenStores<'_>) -> Self::Opened {
                ($(self.$index.open(task),)+)
            }
        }
    )+};
}

tuples_of_stores! {
    (A.0, B.1)
    (A.0, B.1, C.2)
    (A.0, B.1, C.2, D.3)
    (A.0, B.1, C.2, D.3, E.4)
    (A.0, B.1, C.2, D.3, E.4, F.5)
}

impl StreamsBuilder {
    /// Declares a key-value store for processors. It is there where a processor is connected to it.
    ///
    /// Stored: under the key the value, stamped with the time it was put at; the changelog holds
    /// the same. What `store` says of emitting and retention does not matter.
    #[doc(alias = "addStateStore")]
    pub fn add_store<K: Data + Eq + Hash, V: Data>(
        &self,
        store: Materialized<K, V>,
    ) -> StoreRef<KeyValueStore<K, V>> {
        self.draft.add_store(store.spec(StoreKind::KeyValue));
        let Materialized { name, key, value, .. } = store;
        let names = vec![Arc::clone(&name)];
        let open = move |task: &mut TaskBuilder| {
            KeyValueStore::new(Arc::clone(&name), task.key_value_store(&name, &key, &value))
        };
        StoreRef { names, open: Arc::new(open) }
    }

    /// Declares a window store for processors: a row leaves when a window is put that starts
    /// `retention` after it or later.
    ///
    /// Stored: under key and window start the value; the changelog holds the same.
    #[doc(alias = "addStateStore")]
    pub fn add_window_store<K: Data + Eq + Hash, V: Data>(
        &self,
        store: Materialized<K, V>,
        retention: Duration,
    ) -> StoreRef<WindowStore<K, V>> {
        self.draft.add_store(store.spec(StoreKind::Window { retention, retain_duplicates: false }));
        let Materialized { name, key, value, .. } = store;
        let names = vec![Arc::clone(&name)];
        let open = move |task: &mut TaskBuilder| {
            let rows = task.open_store(&name, |handle| {
                let (key, value) = (Arc::clone(&key), Arc::clone(&value));
                state::WindowStore::new(handle, Duplicates::Replaced, key, value)
            });
            WindowStore::new(Arc::clone(&name), rows, retention)
        };
        StoreRef { names, open: Arc::new(open) }
    }

    /// Declares a session store for processors: a row leaves when a session is put that ends
    /// `retention` after it or later.
    ///
    /// Stored: under key, session end and start the value; the changelog holds the same.
    #[doc(alias = "addStateStore")]
    pub fn add_session_store<K: Data + Eq + Hash, V: Data>(
        &self,
        store: Materialized<K, V>,
        retention: Duration,
    ) -> StoreRef<SessionStore<K, V>> {
        self.draft.add_store(store.spec(StoreKind::Session { retention }));
        let Materialized { name, key, value, .. } = store;
        let names = vec![Arc::clone(&name)];
        let open = move |task: &mut TaskBuilder| {
            let rows = task.open_store(&name, |handle| {
                state::SessionStore::new(handle, Arc::clone(&key), Arc::clone(&value))
            });
            SessionStore::new(Arc::clone(&name), rows, retention)
        };
        StoreRef { names, open: Arc::new(open) }
    }
}

impl<K: Data, V: Data> KTable<K, V> {
    /// The table's rows, for processors to read.
    ///
    /// A processor finds the rows of its own partition: its input must be partitioned as the table
    /// is, by the same keys and into as many partitions.
    pub fn rows(&self) -> StoreRef<TableRows<K, V>> {
        let rows = Arc::clone(&self.rows);
        let open = move |task: &mut TaskBuilder| TableRows::new(rows.build(task));
        StoreRef { names: self.stores.clone(), open: Arc::new(open) }
    }
}
