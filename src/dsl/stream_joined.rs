//! Joins of two streams: records of one key that are near in time.

use std::fmt;
use std::sync::Arc;

use crate::dsl::attach::Port;
use crate::dsl::options::Materialized;
use crate::dsl::stream::KStream;
use crate::operator::build::Output;
use crate::operator::stream_join::{
    JoinValues, LeftEnd, RightEnd, Rule, StreamJoin, Unmatched, WaitingStore,
};
use crate::operator::window_lookup::WindowedStore;
use crate::record::Data;
use crate::serde::{Canonical, Codec, Key, MessagePack, SharedCodec, Value};
use crate::topology::{Node, NodeId, Plan, RepartitionSpec, StoreKind, StoreSpec};
use crate::window::JoinWindows;

/// How the records of a join of two streams are kept, and how they travel to it.
///
/// Of a join called `x` the left records are in the store `x-this-join-store` and the right ones
/// in `x-other-join-store`; of a left join those that wait for a match are in
/// `x-left-shared-join-store` and the right ones in `x-outer-other-join-store`, of an outer join
/// the three are `x-outer-this-join-store`, `x-outer-other-join-store` and
/// `x-outer-shared-join-store`. A side whose keys may have changed goes through the repartition
/// topic `x-left` or `x-right`. All of these are Kafka Streams' names.
pub struct StreamJoined<K, V, V2> {
    key: SharedCodec<K>,
    left: SharedCodec<V>,
    right: SharedCodec<V2>,
    /// What is said of all stores alike.
    store: Materialized<K, V>,
}

impl<K: Data, V: Data, V2: Data> StreamJoined<K, V, V2> {
    /// A join of this name; canonical keys, values as MessagePack.
    #[doc(alias = "as")]
    pub fn named(name: impl Into<Arc<str>>) -> Self
    where
        K: Key,
        V: Value,
        V2: Value,
    {
        Self::with_codecs(name, Canonical, MessagePack, MessagePack)
    }

    /// A join of this name with codecs of your own for key, left and right values.
    #[doc(alias = "with")]
    pub fn with_codecs(
        name: impl Into<Arc<str>>,
        key: impl Codec<K>,
        left: impl Codec<V>,
        right: impl Codec<V2>,
    ) -> Self {
        let (key, left): (SharedCodec<K>, SharedCodec<V>) = (Arc::new(key), Arc::new(left));
        let store = Materialized::shared(name.into(), Arc::clone(&key), Arc::clone(&left));
        Self { key, left, right: Arc::new(right), store }
    }

    /// Keeps the stores in memory, restored from their changelogs at each start.
    #[must_use]
    #[doc(alias = "withThisStoreSupplier")]
    pub fn in_memory(mut self) -> Self {
        self.store = self.store.in_memory();
        self
    }

    /// Keeps no changelogs: records that wait are lost with the directory they lie in.
    #[must_use]
    #[doc(alias = "withLoggingDisabled")]
    pub fn without_changelog(mut self) -> Self {
        self.store = self.store.without_changelog();
        self
    }

    /// A setting of the changelog topics.
    #[must_use]
    #[doc(alias = "withLoggingEnabled")]
    pub fn changelog_config(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.store = self.store.changelog_config(name, value);
        self
    }
}

impl<K, V, V2> fmt::Debug for StreamJoined<K, V, V2> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamJoined").field("name", &self.store.name).finish_non_exhaustive()
    }
}

impl<K: Key, V: Value> KStream<K, V> {
    /// Joins the records of both streams that have one key and lie within the windows.
    ///
    /// Each pair makes one result, when its second record comes, with the later one of their
    /// timestamps. The records of both sides are stored for as long as window and grace last; a
    /// late record is matched with whatever is still there. Both topics must be co-partitioned; a
    /// side whose keys may have changed is repartitioned first. See [`StreamJoined`] for the names
    /// of stores and topics.
    ///
    /// ```
    /// use millstream::{JoinWindows, StreamsBuilder, Topic};
    /// use std::time::Duration;
    ///
    /// let builder = StreamsBuilder::new();
    /// let orders = builder.stream(&Topic::<String, u64>::plain("orders"));
    /// let payments = builder.stream(&Topic::<String, u64>::plain("payments"));
    /// let paid = JoinWindows::within(Duration::from_secs(3600)).before(Duration::ZERO);
    /// orders
    ///     .join(&payments, paid, "paid-orders", |order, payment| order.min(payment))
    ///     .to(&Topic::plain("paid"));
    /// # builder.build().unwrap();
    /// ```
    pub fn join<V2: Value, R: Data>(
        &self,
        other: &KStream<K, V2>,
        windows: JoinWindows,
        name: impl Into<Arc<str>>,
        f: impl Fn(V, V2) -> R + Send + Sync + 'static,
    ) -> KStream<K, R> {
        self.join_with(other, windows, StreamJoined::named(name), f)
    }

    /// As [`join`](Self::join), and every left record that nothing matches comes out alone.
    ///
    /// It does so once, when its window *and grace* have passed by the time of the join, which is
    /// the largest timestamp of both sides; the result has the record's own timestamp. Kafka
    /// Streams may say it within grace already and contradict it by a match later.
    #[doc(alias = "leftJoin")]
    pub fn left_join<V2: Value, R: Data>(
        &self,
        other: &KStream<K, V2>,
        windows: JoinWindows,
        name: impl Into<Arc<str>>,
        f: impl Fn(V, Option<V2>) -> R + Send + Sync + 'static,
    ) -> KStream<K, R> {
        self.left_join_with(other, windows, StreamJoined::named(name), f)
    }

    /// As [`left_join`](Self::left_join), for the records of both sides.
    #[doc(alias = "outerJoin")]
    pub fn outer_join<V2: Value, R: Data>(
        &self,
        other: &KStream<K, V2>,
        windows: JoinWindows,
        name: impl Into<Arc<str>>,
        f: impl Fn(Option<V>, Option<V2>) -> R + Send + Sync + 'static,
    ) -> KStream<K, R> {
        self.outer_join_with(other, windows, StreamJoined::named(name), f)
    }
}

impl<K: Key, V: Data> KStream<K, V> {
    /// As [`join`](Self::join), with options for stores and repartition topics.
    pub fn join_with<V2: Data, R: Data>(
        &self,
        other: &KStream<K, V2>,
        windows: JoinWindows,
        joined: StreamJoined<K, V, V2>,
        f: impl Fn(V, V2) -> R + Send + Sync + 'static,
    ) -> KStream<K, R> {
        let join: JoinValues<V, V2, R> = Arc::new(move |left, right| f(there(left), there(right)));
        self.join_streams(other, Rule { windows, unmatched: Unmatched::Dropped, join }, joined)
    }

    /// As [`left_join`](Self::left_join), with options for stores and repartition topics.
    pub fn left_join_with<V2: Data, R: Data>(
        &self,
        other: &KStream<K, V2>,
        windows: JoinWindows,
        joined: StreamJoined<K, V, V2>,
        f: impl Fn(V, Option<V2>) -> R + Send + Sync + 'static,
    ) -> KStream<K, R> {
        let join: JoinValues<V, V2, R> = Arc::new(move |left, right| f(there(left), right));
        self.join_streams(other, Rule { windows, unmatched: Unmatched::Left, join }, joined)
    }

    /// As [`outer_join`](Self::outer_join), with options for stores and repartition topics.
    pub fn outer_join_with<V2: Data, R: Data>(
        &self,
        other: &KStream<K, V2>,
        windows: JoinWindows,
        joined: StreamJoined<K, V, V2>,
        f: impl Fn(Option<V>, Option<V2>) -> R + Send + Sync + 'static,
    ) -> KStream<K, R> {
        let join: JoinValues<V, V2, R> = Arc::new(f);
        self.join_streams(other, Rule { windows, unmatched: Unmatched::Both, join }, joined)
    }

    fn join_streams<V2: Data, R: Data>(
        &self,
        other: &KStream<K, V2>,
        rule: Rule<V, V2, R>,
        joined: StreamJoined<K, V, V2>,
    ) -> KStream<K, R> {
        let StreamJoined { key, left: left_value, right: right_value, store } = joined;
        let draft = self.port.draft.clone();
        self.port.checked(&store.name, rule.windows.validate());
        let left = moved(&self.port, format!("{}-left", store.name), (&key, &left_value));
        let right = moved(&other.port, format!("{}-right", store.name), (&key, &right_value));
        let names = Names::of(&store.name, rule.unmatched);
        let inputs = [left.output.node(), right.output.node()];
        let (ends, merge) = draft.with(|draft| names.add_to(&mut draft.plan, inputs));
        draft.with(|draft| names.add_stores(&mut draft.plan, &store, rule.windows));
        let output = Output::new(merge);
        let Names { this, other, shared, .. } = names;
        let shared = shared.unwrap_or_default();
        let (left_key, right_key) = (Arc::clone(&key), Arc::clone(&key));
        let (left_codec, right_codec) = (Arc::clone(&left_value), Arc::clone(&right_value));
        let join = Arc::new(StreamJoin {
            rule,
            left: (ends[0], WindowedStore { name: this, key: left_key, value: left_codec }),
            right: (ends[1], WindowedStore { name: other, key: right_key, value: right_codec }),
            waiting: WaitingStore { name: shared, key, left: left_value, right: right_value },
            output: Arc::clone(&output),
        });
        left.output.attach(Arc::new(LeftEnd(Arc::clone(&join))));
        right.output.attach(Arc::new(RightEnd(join)));
        KStream { port: Port { draft, output } }
    }
}

/// The port, behind a repartition topic if keys may have changed.
fn moved<K: Data, V: Data>(
    port: &Port<K, V>,
    name: String,
    (key, value): (&SharedCodec<K>, &SharedCodec<V>),
) -> Port<K, V> {
    if !port.has_changed_key() {
        return port.clone();
    }
    let spec = RepartitionSpec { name: name.into(), partitions: None };
    port.repartition(spec, (Arc::clone(key), Arc::clone(value)))
}

fn there<V>(value: Option<V>) -> V {
    value.expect("the join's rule asks for this side")
}

/// What a join's stores and nodes are called.
struct Names {
    this: Arc<str>,
    other: Arc<str>,
    /// Where records wait for a match; absent in an inner join.
    shared: Option<Arc<str>>,
    kinds: [&'static str; 2],
}

impl Names {
    fn of(name: &str, unmatched: Unmatched) -> Self {
        let (this, other, shared, kinds) = match unmatched {
            Unmatched::Dropped => ("", "", None, ["KSTREAM-JOINTHIS", "KSTREAM-JOINOTHER"]),
            Unmatched::Left => {
                ("", "outer-", Some("left"), ["KSTREAM-JOINTHIS", "KSTREAM-OUTEROTHER"])
            }
            Unmatched::Both => {
                ("outer-", "outer-", Some("outer"), ["KSTREAM-OUTERTHIS", "KSTREAM-OUTEROTHER"])
            }
        };
        Self {
            this: format!("{name}-{this}this-join-store").into(),
            other: format!("{name}-{other}other-join-store").into(),
            shared: shared.map(|kind| format!("{name}-{kind}-shared-join-store").into()),
            kinds,
        }
    }

    /// Adds a node for each end and one for their results.
    fn add_to(&self, plan: &mut Plan, inputs: [NodeId; 2]) -> ([NodeId; 2], NodeId) {
        let mut end = |kind, input| {
            let node = Node::new(kind).using(&self.this).using(&self.other);
            plan.add(self.shared.iter().fold(node, Node::using), &[input])
        };
        let ends = [end(self.kinds[0], inputs[0]), end(self.kinds[1], inputs[1])];
        (ends, plan.add(Node::new("KSTREAM-MERGE").copartitioned(), &ends))
    }

    fn add_stores<K: Data, V: Data>(
        &self,
        plan: &mut Plan,
        options: &Materialized<K, V>,
        windows: JoinWindows,
    ) {
        let named = |name: &Arc<str>, kind| {
            let name = Arc::clone(name);
            StoreSpec { name, ..options.spec(kind) }
        };
        let kind = StoreKind::Window { retention: windows.retention(), retain_duplicates: true };
        plan.add_store(named(&self.this, kind));
        plan.add_store(named(&self.other, kind));
        if let Some(shared) = &self.shared {
            plan.add_store(named(shared, StoreKind::KeyValue));
        }
    }
}
