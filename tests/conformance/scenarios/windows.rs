//! Windowed aggregations: kind of window x aggregation x grace x when a result comes out.

use std::sync::Arc;
use std::time::Duration;

use millstream::serde::{Canonical, Nullable as NullableCodec};
use millstream::testing::TopologyTestDriver;
use millstream::{
    Emit, KStream, KTable, Materialized, SessionWindowedKStream, SessionWindows, SlidingWindows,
    StreamsBuilder, TimeWindowedKStream, TimeWindows, Timestamp, Windowed,
};

use super::{Scenario, rows, values};
use crate::functions::{Nullable, add, initial, is_even, mark, subtract, text as print};
use crate::inputs::{Lateness, Shape};

const SIZE_MS: i64 = 10;
const ADVANCE_MS: i64 = 4;
const GRACE_MS: i64 = 7;
/// With timestamps that are even, no session ends exactly gap and grace before another time: the
/// one moment at which Kafka Streams' operator and its store disagree.
const GAP_WITHOUT_GRACE_MS: i64 = 11;
/// More than all the gaps of a sequence together.
const LONGEST_SESSION_MS: i64 = 1_000;
/// Kafka Streams emits on close only what its store still shows when time has jumped.
const RETENTION: Duration = ms(10_000_000_000_000);

/// Longer than size and grace, so that rows stay which take no more records.
const KEPT: Duration = ms(40);

/// A null value is data for time windows and sessions; sliding windows drop it.
const IN: Shape = Shape::of(&["in"]).counting_null_values();
const SLIDING_IN: Shape = Shape::of(&["in"]);

pub(super) fn scenarios() -> Vec<Scenario> {
    let mut all = Vec::new();
    for grace_ms in [0, GRACE_MS] {
        for kind in [Kind::Tumbling, Kind::Hopping, Kind::Sliding, Kind::Session] {
            for aggregation in ["count", "reduce", "aggregate"] {
                for emit in [Emit::EachUpdate, Emit::OnWindowClose] {
                    all.push(plain(Windows { kind, grace_ms, emit }, aggregation));
                }
            }
            all.push(suppressed(kind, grace_ms));
        }
    }
    for kind in [Kind::Tumbling, Kind::Hopping] {
        all.push(kept(kind));
    }
    for kind in [Kind::Tumbling, Kind::Session] {
        all.extend(views(Windows { kind, grace_ms: GRACE_MS, emit: Emit::EachUpdate }));
    }
    all
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Tumbling,
    Hopping,
    Sliding,
    Session,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Tumbling => "tumbling",
            Self::Hopping => "hopping",
            Self::Sliding => "sliding",
            Self::Session => "session",
        }
    }
}

/// What the records of a scenario are grouped by, and when its results come out.
#[derive(Clone, Copy)]
struct Windows {
    kind: Kind,
    grace_ms: i64,
    emit: Emit,
}

/// Records by key and window.
enum Groups {
    Time(TimeWindowedKStream<String, Nullable>),
    Session(SessionWindowedKStream<String, Nullable>),
}

const fn ms(ms: i64) -> Duration {
    Duration::from_millis(ms as u64)
}

impl Windows {
    /// The inputs on which both are to agree.
    fn shape(self) -> Shape {
        let grace = self.grace_ms;
        match (self.kind, self.emit) {
            (Kind::Tumbling | Kind::Hopping, _) => IN,
            // Of a record that is late for its left window alone, Kafka Streams keeps no trace for
            // windows that come later, and it counts records outside of their bounds.
            (Kind::Sliding, _) => SLIDING_IN.late(Lateness::NotBetween(grace, grace + SIZE_MS)),
            (Kind::Session, Emit::OnWindowClose) => {
                // With a long retention Kafka Streams revives sessions that are closed, when a late
                // record lies between them and one that is open.
                IN.on_grid(2).late(Lateness::NotBetween(grace, LONGEST_SESSION_MS))
            }
            (Kind::Session, _) => IN.on_grid(2),
        }
    }

    const fn gap_ms(self) -> i64 {
        if self.grace_ms == 0 { GAP_WITHOUT_GRACE_MS } else { SIZE_MS }
    }

    fn groups(self, b: &StreamsBuilder) -> Groups {
        let input: KStream<String, Nullable> = b.stream(&values("in"));
        let (size, grace) = (ms(SIZE_MS), ms(self.grace_ms));
        let time = |windows: TimeWindows| {
            Groups::Time(input.group_by_key().windowed_by(windows.grace(grace)).emit(self.emit))
        };
        match self.kind {
            Kind::Tumbling => time(TimeWindows::tumbling(size)),
            Kind::Hopping => time(TimeWindows::hopping(size, ms(ADVANCE_MS))),
            Kind::Sliding => {
                let windows = SlidingWindows::of(size).grace(grace);
                let groups = input.filter(|_, value| value.is_some()).group_by_key();
                Groups::Time(groups.windowed_by(windows).emit(self.emit))
            }
            Kind::Session => {
                let windows = SessionWindows::gap(ms(self.gap_ms())).grace(grace);
                Groups::Session(input.group_by_key().windowed_by(windows).emit(self.emit))
            }
        }
    }

    /// The options of the store; a result on close needs a long retention in Kafka Streams.
    fn store<V: Clone + 'static>(self, store: Materialized<String, V>) -> Materialized<String, V> {
        if self.emit == Emit::OnWindowClose { store.retention(RETENTION) } else { store }
    }

    fn count(self, b: &StreamsBuilder) -> KTable<Windowed<String>, i64> {
        let store = self.store(Materialized::with_codecs("store", Canonical, Canonical));
        match self.groups(b) {
            Groups::Time(groups) => groups.count_with(store),
            Groups::Session(groups) => groups.count_with(store),
        }
    }

    /// A total that is null is no row, as the codec says.
    fn reduce(self, b: &StreamsBuilder) -> KTable<Windowed<String>, Nullable> {
        let codec = NullableCodec::new(Arc::new(Canonical));
        let store = self.store(Materialized::with_codecs("store", Canonical, codec));
        let plus = |total: &mut Nullable, value: Nullable| {
            add(print(&value), total.get_or_insert_default());
        };
        match self.groups(b) {
            Groups::Time(groups) => groups.reduce_with(store, plus),
            Groups::Session(groups) => groups.reduce_with(store, plus),
        }
    }

    fn aggregate(self, b: &StreamsBuilder) -> KTable<Windowed<String>, String> {
        let store = self.store(Materialized::named("store"));
        let fold = |_: &String, value: Nullable, total: &mut String| add(print(&value), total);
        match self.groups(b) {
            Groups::Time(groups) => groups.aggregate_with(store, initial, fold),
            Groups::Session(groups) => groups.aggregate_with(store, initial, fold, merge_sessions),
        }
    }

    /// The rows of the store, as the oracle prints them.
    fn rows<V: Printed>(self, driver: &mut TopologyTestDriver) -> Vec<String> {
        if self.kind == Kind::Session {
            let rows = driver.session_store::<String, V>("store").expect("the store is there");
            return rows.into_iter().map(|(key, value, _)| line(&key, value, "-")).collect();
        }
        let rows = driver.window_store::<String, V>("store").expect("the store is there");
        let newest = rows.iter().map(|(_, start, ..)| *start).max().unwrap_or(Timestamp::ZERO);
        let rows = rows.into_iter().filter(|(_, start, ..)| self.is_kept(*start, newest));
        let row = |(key, start, value, timestamp): (String, Timestamp, V, Timestamp)| {
            let window = millstream::Window::new(start, start + ms(SIZE_MS));
            let timestamp = timestamp.as_millis().to_string();
            line(&Windowed::new(key, window), value, &timestamp)
        };
        rows.map(row).collect()
    }

    /// Whether Kafka Streams shows this window. It keeps sliding windows for one difference less,
    /// in which records are that later ones need.
    fn is_kept(self, start: Timestamp, newest: Timestamp) -> bool {
        let retention = ms(2 * SIZE_MS + self.grace_ms);
        self.kind != Kind::Sliding || self.emit == Emit::OnWindowClose || start > newest - retention
    }
}

fn plain(windows: Windows, aggregation: &'static str) -> Scenario {
    let kind = windows.kind.name();
    let grace = grace_name(windows.grace_ms);
    let emit = if windows.emit == Emit::EachUpdate { "each_update" } else { "on_close" };
    let name = format!("{kind}_{aggregation}_{grace}_{emit}");
    let scenario =
        |define: Box<dyn Fn(&StreamsBuilder)>| Scenario::new(name, windows.shape(), define);
    match aggregation {
        "count" => scenario(Box::new(move |b| emit_windowed(&windows.count(b))))
            .store(move |driver| windows.rows::<i64>(driver)),
        "reduce" => scenario(Box::new(move |b| emit_windowed(&windows.reduce(b))))
            .store(move |driver| windows.rows::<Nullable>(driver)),
        _ => scenario(Box::new(move |b| emit_windowed(&windows.aggregate(b))))
            .store(move |driver| windows.rows::<String>(driver)),
    }
}

const fn grace_name(grace_ms: i64) -> &'static str {
    if grace_ms == 0 { "no_grace" } else { "grace" }
}

/// Final results: what Kafka Streams makes with `suppress`, ours is an emit strategy. The store is
/// that of an aggregation which emits each update.
fn suppressed(kind: Kind, grace_ms: i64) -> Scenario {
    let name = format!("{}_count_{}_suppress", kind.name(), grace_name(grace_ms));
    let updates = Windows { kind, grace_ms, emit: Emit::EachUpdate };
    let shape = match kind {
        // Results that leave together come by (end, serialised key) from `suppress`, and by (end,
        // start, key) from emit-on-close and ours: sessions that end together differ in both.
        Kind::Session => updates.shape().with_one_key(),
        _ => updates.shape(),
    };
    Scenario::new(name, shape, move |b| {
        let store = Materialized::with_codecs("store", Canonical, Canonical);
        emit_windowed(&match updates.groups(b) {
            Groups::Time(groups) => groups.emit(Emit::OnWindowClose).count_with(store),
            Groups::Session(groups) => groups.emit(Emit::OnWindowClose).count_with(store),
        });
    })
    .store(move |driver| updates.rows::<i64>(driver))
}

/// A store that keeps windows for longer than records can come for them.
fn kept(kind: Kind) -> Scenario {
    let windows = Windows { kind, grace_ms: GRACE_MS, emit: Emit::EachUpdate };
    Scenario::new(format!("{}_count_kept", kind.name()), windows.shape(), move |b| {
        let store = Materialized::with_codecs("store", Canonical, Canonical).retention(KEPT);
        let Groups::Time(groups) = windows.groups(b) else { unreachable!("no sessions") };
        emit_windowed(&groups.count_with(store));
    })
    .store(move |driver| windows.rows::<i64>(driver))
}

/// Tables that are made of a windowed one.
fn views(windows: Windows) -> Vec<Scenario> {
    let kind = windows.kind.name();
    let of = |view: &str, define: Box<dyn Fn(&StreamsBuilder)>| {
        let name = format!("{kind}_{view}");
        Scenario::new(name, windows.shape(), define)
    };
    let reduced = move |driver: &mut TopologyTestDriver| windows.rows::<Nullable>(driver);
    vec![
        of(
            "reduce_filter",
            Box::new(move |b| {
                emit_windowed(&windows.reduce(b).filter(|_, total| is_even(print(total))));
            }),
        )
        .store(reduced),
        of(
            "reduce_map_values",
            Box::new(move |b| {
                let reduced = windows.reduce(b);
                emit_windowed(&reduced.map_values_with_key(|windowed, total| {
                    mark(&windowed_text(windowed), print(&total))
                }));
            }),
        )
        .store(reduced),
        of("reduce_grouped", Box::new(move |b| super::emit(&grouped(&windows.reduce(b)))))
            .store(reduced)
            .store(rows::<String>("store-grouped")),
        of(
            "count_filter",
            Box::new(move |b| emit_windowed(&windows.count(b).filter(|_, count| count % 2 == 0))),
        )
        .store(move |driver| windows.rows::<i64>(driver)),
    ]
}

fn grouped(table: &KTable<Windowed<String>, Nullable>) -> KTable<String, String> {
    let groups = table.group_by(|windowed, total| (windowed.key.clone(), print(&total).to_owned()));
    groups.aggregate(
        "store-grouped",
        initial,
        |_, value, total| add(&value, total),
        |_, value, total| subtract(&value, total),
    )
}

fn merge_sessions(_: &String, total: &mut String, earlier: String) {
    total.push('|');
    total.push_str(&earlier);
}

/// Sends every change of a windowed table to `out`, tombstones included.
fn emit_windowed<V: Printed>(table: &KTable<Windowed<String>, V>) {
    let printed = table
        .to_stream()
        .map(|windowed, value| (windowed_text(&windowed), value.and_then(Printed::printed)));
    printed.to(&values("out"));
}

fn windowed_text(windowed: &Windowed<String>) -> String {
    let Windowed { key, window } = windowed;
    format!("{key}@{}/{}", window.start.as_millis(), window.end.as_millis())
}

fn line(windowed: &Windowed<String>, value: impl Printed, timestamp: &str) -> String {
    let value = value.printed();
    format!("store store {} {} {timestamp}", windowed_text(windowed), print(&value))
}

/// A value as the oracle prints it.
trait Printed: Clone + 'static {
    fn printed(self) -> Nullable;
}

impl Printed for i64 {
    fn printed(self) -> Nullable {
        Some(self.to_string())
    }
}

impl Printed for String {
    fn printed(self) -> Nullable {
        Some(self)
    }
}

impl Printed for Nullable {
    fn printed(self) -> Nullable {
        self
    }
}
