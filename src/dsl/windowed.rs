//! Windowed groups: records gathered by key and window, ready to be aggregated.

use std::fmt;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use crate::dsl::attach::Port;
use crate::dsl::grouped::KGroupedStream;
use crate::dsl::options::Materialized;
use crate::dsl::session_windowed::SessionWindowedKStream;
use crate::dsl::table::KTable;
use crate::error::BoxError;
use crate::operator::window_aggregate::WindowAggregate;
use crate::operator::window_lookup::{WindowLookup, WindowedStore};
use crate::record::{Change, Data};
use crate::serde::{Canonical, Key, Value};
use crate::topology::{Node, StoreKind, StoreSpec};
use crate::window::{
    Emit, SessionWindows, SlidingWindows, TimeWindows, WindowError, Windowed, checked_retention,
};

/// A definition of windows that records can be grouped by.
///
/// Implemented by [`TimeWindows`], [`SlidingWindows`] and [`SessionWindows`].
pub trait GroupingWindows: sealed::Sealed {
    /// The windowed group: what can be said next.
    type Group<K: Data, V: Data>;

    /// Groups the records of `grouped` by these windows.
    #[doc(hidden)]
    fn group<K: Data, V: Data>(self, grouped: KGroupedStream<K, V>) -> Self::Group<K, V>;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for crate::window::TimeWindows {}
    impl Sealed for crate::window::SlidingWindows {}
    impl Sealed for crate::window::SessionWindows {}
}

impl GroupingWindows for TimeWindows {
    type Group<K: Data, V: Data> = TimeWindowedKStream<K, V>;
    fn group<K: Data, V: Data>(self, grouped: KGroupedStream<K, V>) -> Self::Group<K, V> {
        TimeWindowedKStream { grouped, windows: FixedWindows::Time(self), emit: None }
    }
}

impl GroupingWindows for SlidingWindows {
    type Group<K: Data, V: Data> = TimeWindowedKStream<K, V>;
    fn group<K: Data, V: Data>(self, grouped: KGroupedStream<K, V>) -> Self::Group<K, V> {
        TimeWindowedKStream { grouped, windows: FixedWindows::Sliding(self), emit: None }
    }
}

impl GroupingWindows for SessionWindows {
    type Group<K: Data, V: Data> = SessionWindowedKStream<K, V>;
    fn group<K: Data, V: Data>(self, grouped: KGroupedStream<K, V>) -> Self::Group<K, V> {
        SessionWindowedKStream::new(grouped, self)
    }
}

impl<K: Data, V: Data> KGroupedStream<K, V> {
    /// Groups the records of each key by windows as well.
    ///
    /// ```
    /// use millstream::{SessionWindows, StreamsBuilder, TimeWindows, Topic};
    /// use std::time::Duration;
    ///
    /// let builder = StreamsBuilder::new();
    /// let clicks = builder.stream(&Topic::<String, String>::plain("clicks")).group_by_key();
    /// let hourly = TimeWindows::tumbling(Duration::from_secs(3600));
    /// let by_hour = clicks.windowed_by(hourly).count("clicks-by-hour");
    /// let visits = SessionWindows::gap(Duration::from_secs(1800));
    /// let by_visit = clicks.windowed_by(visits).count("clicks-by-visit");
    /// # let _ = (by_hour, by_visit, builder.build().unwrap());
    /// ```
    #[doc(alias = "windowedBy")]
    pub fn windowed_by<W: GroupingWindows>(&self, windows: W) -> W::Group<K, V> {
        windows.group(self.clone())
    }
}

/// The windows of a [`TimeWindowedKStream`].
#[derive(Clone, Copy, Debug)]
enum FixedWindows {
    Time(TimeWindows),
    Sliding(SlidingWindows),
}

impl FixedWindows {
    /// Checks the definition and the retention; gives what the store keeps, and what the settings
    /// of the changelog say: as much as with Kafka Streams, which keeps sliding windows for less.
    fn retention(self, wanted: Option<Duration>) -> Result<(Duration, Duration), WindowError> {
        match self {
            Self::Time(windows) => {
                windows.validate()?;
                let kept = checked_retention(wanted, windows.retention(), windows.retention())?;
                Ok((kept, kept))
            }
            Self::Sliding(windows) => {
                windows.validate()?;
                let shortest = windows.retention().saturating_sub(windows.difference());
                let kept = checked_retention(wanted, shortest, windows.retention())?;
                Ok((kept, wanted.unwrap_or(shortest)))
            }
        }
    }
}

/// Records gathered by key and by tumbling, hopping or sliding windows.
///
/// Made by [`KGroupedStream::windowed_by`]. Every aggregation of it is a table whose keys are
/// [`Windowed`]; a late record is dropped from the windows that are closed, and counted.
#[must_use = "a group does nothing until it is aggregated"]
pub struct TimeWindowedKStream<K, V> {
    grouped: KGroupedStream<K, V>,
    windows: FixedWindows,
    emit: Option<Emit>,
}

impl<K, V> fmt::Debug for TimeWindowedKStream<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TimeWindowedKStream").field(&self.windows).finish()
    }
}

impl<K: Data, V: Data> TimeWindowedKStream<K, V> {
    /// When downstream sees a result. Default: at each update, or what the `Materialized` says.
    #[doc(alias = "emitStrategy")]
    pub fn emit(mut self, emit: Emit) -> Self {
        self.emit = Some(emit);
        self
    }

    /// Counts the records of each key and window, in a store of this name.
    ///
    /// Stored: key and window start to count, as eight big-endian bytes; the changelog holds the
    /// same.
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
        self.fold("KSTREAM-AGGREGATE", store, |_, _, count| {
            *count.get_or_insert(0) += 1;
            Ok(())
        })
    }

    /// Combines the values of each key and window: the first is the start, `f` folds each later
    /// one in.
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
        self.fold("KSTREAM-REDUCE", store, move |_, value, total| {
            match total {
                Some(total) => f(total, value),
                None => *total = Some(value),
            }
            Ok(())
        })
    }

    /// Folds the records of each key and window into an aggregate that starts as `initial()`.
    pub fn aggregate<A: Value>(
        &self,
        store: impl Into<Arc<str>>,
        initial: impl Fn() -> A + Send + Sync + 'static,
        f: impl Fn(&K, V, &mut A) + Send + Sync + 'static,
    ) -> KTable<Windowed<K>, A>
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
    ) -> KTable<Windowed<K>, A>
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
    ) -> KTable<Windowed<K>, A>
    where
        K: Eq + Hash,
    {
        let input = self.grouped.by_key(&store.name);
        let checked = self.windows.retention(store.retention);
        let (retention, logged) = input.checked(&store.name, checked);
        let kept = StoreKind::Window { retention, retain_duplicates: false };
        let spec = StoreSpec { changelog_retention: Some(logged), ..store.spec(kept) };
        input.draft.add_store(spec);
        let emit = self.emit.unwrap_or(store.emit);
        let fold = Arc::new(fold);
        let Materialized { name, key, value, .. } = store;
        let store = WindowedStore { name, key, value };
        let rows = Arc::new(WindowLookup(store.clone()));
        let stores = vec![Arc::clone(&store.name)];
        let node = Node::new(kind).using(&store.name);
        let port: Port<Windowed<K>, Change<A>> = match self.windows {
            FixedWindows::Time(windows) => input.attach(node, |output| WindowAggregate {
                windows,
                store,
                retention,
                emit,
                fold,
                output,
            }),
            FixedWindows::Sliding(windows) => input.attach(node, |output| WindowAggregate {
                windows,
                store,
                retention,
                emit,
                fold,
                output,
            }),
        };
        KTable { port, rows, stores }
    }
}
