//! Session groups: records gathered by key and session, ready to be aggregated.

use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use crate::dsl::grouped::KGroupedStream;
use crate::dsl::options::Materialized;
use crate::dsl::table::KTable;
use crate::operator::session_aggregate::{SessionAggregate, SessionFold};
use crate::operator::window_lookup::{SessionLookup, WindowedStore};
use crate::record::Data;
use crate::serde::{Canonical, Key, Value};
use crate::topology::{Node, StoreKind};
use crate::window::{Emit, SessionWindows, Windowed, checked_retention};

/// Records gathered by key and session.
///
/// Made by [`KGroupedStream::windowed_by`] with [`SessionWindows`]. Every aggregation of it is a
/// table whose keys are [`Windowed`]. A record that extends or joins sessions deletes them, with
/// tombstones, before the new session comes. A late record is dropped and counted.
#[must_use = "a group does nothing until it is aggregated"]
pub struct SessionWindowedKStream<K, V> {
    grouped: KGroupedStream<K, V>,
    windows: SessionWindows,
    emit: Option<Emit>,
}

impl<K, V> fmt::Debug for SessionWindowedKStream<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SessionWindowedKStream").field(&self.windows).finish()
    }
}

impl<K: Data, V: Data> SessionWindowedKStream<K, V> {
    pub(crate) const fn new(grouped: KGroupedStream<K, V>, windows: SessionWindows) -> Self {
        Self { grouped, windows, emit: None }
    }

    /// When downstream sees a result. Default: at each update, or what the `Materialized` says.
    #[doc(alias = "emitStrategy")]
    pub fn emit(mut self, emit: Emit) -> Self {
        self.emit = Some(emit);
        self
    }

    /// Counts the records of each key and session, in a store of this name.
    ///
    /// Stored: key, session end and start to count, as eight big-endian bytes; the changelog holds
    /// the same.
    pub fn count(&self, store: impl Into<Arc<str>>) -> KTable<Windowed<K>, i64>
    where
        K: Key,
    {
        self.count_with(Materialized::with_codecs(store, Canonical, Canonical))
    }

    /// As [`count`](Self::count), with options for the store.
    pub fn count_with(&self, store: Materialized<K, i64>) -> KTable<Windowed<K>, i64>
    where
        K: Eq + Hash,
    {
        self.fold(
            "KSTREAM-AGGREGATE",
            store,
            SessionFold {
                begin: Box::new(|| Some(0)),
                merge: Box::new(|_, count, earlier| *count.get_or_insert(0) += earlier),
                fold: Box::new(|_, _, count| {
                    *count.get_or_insert(0) += 1;
                    Ok(())
                }),
            },
        )
    }

    /// Combines the values of each key and session with `f`, which also combines the sessions
    /// that a record joins.
    pub fn reduce(
        &self,
        store: impl Into<Arc<str>>,
        f: impl Fn(&mut V, V) + Send + Sync + 'static,
    ) -> KTable<Windowed<K>, V>
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
    ) -> KTable<Windowed<K>, V>
    where
        K: Eq + Hash,
    {
        let combine = Arc::new(move |total: &mut Option<V>, value| match total {
            Some(total) => f(total, value),
            None => *total = Some(value),
        });
        let merge = Arc::clone(&combine);
        self.fold(
            "KSTREAM-REDUCE",
            store,
            SessionFold {
                begin: Box::new(|| None),
                merge: Box::new(move |_, total, earlier| merge(total, earlier)),
                fold: Box::new(move |_, value, total| {
                    combine(total, value);
                    Ok(())
                }),
            },
        )
    }

    /// Folds the records of each key and session into an aggregate that starts as `initial()`.
    ///
    /// `merge` adds the aggregate of an earlier session that a record extends or joins; for each
    /// record it begins from `initial()`, and `f` comes last.
    pub fn aggregate<A: Value>(
        &self,
        store: impl Into<Arc<str>>,
        initial: impl Fn() -> A + Send + Sync + 'static,
        f: impl Fn(&K, V, &mut A) + Send + Sync + 'static,
        merge: impl Fn(&K, &mut A, A) + Send + Sync + 'static,
    ) -> KTable<Windowed<K>, A>
    where
        K: Key,
    {
        self.aggregate_with(Materialized::named(store), initial, f, merge)
    }

    /// As [`aggregate`](Self::aggregate), with options for the store.
    pub fn aggregate_with<A: Data>(
        &self,
        store: Materialized<K, A>,
        initial: impl Fn() -> A + Send + Sync + 'static,
        f: impl Fn(&K, V, &mut A) + Send + Sync + 'static,
        merge: impl Fn(&K, &mut A, A) + Send + Sync + 'static,
    ) -> KTable<Windowed<K>, A>
    where
        K: Eq + Hash,
    {
        let initial = Arc::new(initial);
        let (for_merge, for_fold) = (Arc::clone(&initial), Arc::clone(&initial));
        self.fold(
            "KSTREAM-AGGREGATE",
            store,
            SessionFold {
                begin: Box::new(move || Some(initial())),
                merge: Box::new(move |key, total, earlier| {
                    merge(key, total.get_or_insert_with(&*for_merge), earlier);
                }),
                fold: Box::new(move |key, value, total| {
                    f(key, value, total.get_or_insert_with(&*for_fold));
                    Ok(())
                }),
            },
        )
    }

    fn fold<A: Data>(
        &self,
        kind: &'static str,
        store: Materialized<K, A>,
        functions: SessionFold<K, V, A>,
    ) -> KTable<Windowed<K>, A>
    where
        K: Eq + Hash,
    {
        let input = self.grouped.by_key(&store.name);
        let needed = self.windows.retention();
        let checked = self.windows.validate();
        let checked = checked.and_then(|()| checked_retention(store.retention, needed, needed));
        let retention = input.checked(&store.name, checked);
        input.draft.add_store(store.spec(StoreKind::Session { retention }));
        let emit = self.emit.unwrap_or(store.emit);
        let Materialized { name, key, value, .. } = store;
        let store = WindowedStore { name, key, value };
        let rows = Arc::new(SessionLookup(store.clone()));
        let stores = vec![Arc::clone(&store.name)];
        let node = Node::new(kind).using(&store.name);
        let port = input.attach(node, |output| SessionAggregate {
            windows: self.windows,
            store,
            retention,
            emit,
            functions: Arc::new(functions),
            output,
        });
        KTable { port, rows, stores }
    }
}
