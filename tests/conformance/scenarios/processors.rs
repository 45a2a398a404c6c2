//! Processors: their stores, timers, outputs, and what they see of a record's surroundings.

use std::time::Duration;

use millstream::processor::{
    Cancellable, FixedKeyContext, FixedKeyProcessor, FixedKeyRecord, KeyValueStore, Outlet,
    Processor, ProcessorContext, Punctuation, SessionStore, TableRows, TimerId, WindowStore,
};
use millstream::testing::TopologyTestDriver;
use millstream::{
    BoxError, Materialized, NamedOutput, Processed, PunctuationType, Record, StreamsBuilder,
    Timestamp, Window,
};

use super::{Scenario, any, rows, text, values};
use crate::functions::{Nullable, is_even, is_third, pair, text as print};
use crate::inputs::Shape;

/// What goes through a processor: key and value may be null.
type Cx<'a> = ProcessorContext<'a, Nullable, Nullable>;
type Anything = Record<Nullable, Nullable>;
/// A record with a key.
type Keyed = Record<String, Nullable>;
type Outcome = Result<(), BoxError>;

const IN: Shape = Shape::of(&["in"]);
const KEYED: Shape = IN.without_null_keys();
const CLOCKS: [(&str, PunctuationType); 2] =
    [("stream_time", PunctuationType::StreamTime), ("wall_clock", PunctuationType::WallClock)];
const TEN: Duration = Duration::from_millis(10);
const RETENTION: Duration = Duration::from_millis(30);

pub(super) fn scenarios() -> Vec<Scenario> {
    let two = Shape::of(&["in", "other"]).without_null_keys();
    let mut all = vec![
        collecting("processor_store", None, false),
        Scenario::new("processor_values", KEYED, append_values)
            .store(untimed("store"))
            .store(rows::<i64>("store-counts")),
        Scenario::new("processor_shared_store", two, shared_store).store(untimed("store")),
        Scenario::new("processor_outputs", IN, outputs).outputs(&["even", "out", "third"]),
        Scenario::new("processor_table", two, table).store(rows::<String>("store")),
        Scenario::new("processor_windows", KEYED, windows).store(stored_windows),
        Scenario::new("processor_sessions", KEYED, sessions).store(stored_sessions),
        Scenario::new("processor_headers", IN, headers).outputs(&["beside", "out"]),
        Scenario::new("processor_context", IN.with_ticks(), context),
        timed("timers_set_by_timers", || Rescheduled { timer: None, interval: 3 }),
    ];
    for (clock, kind) in CLOCKS {
        all.push(collecting(&format!("processor_{clock}"), Some(kind), false));
        all.push(collecting(&format!("processor_{clock}_scheduled_late"), Some(kind), true));
        all.push(timed(&format!("timers_cancelled_{clock}"), move || Cancelled::new(kind)));
        all.push(timed(&format!("timers_anchored_{clock}"), move || Anchored::new(kind)));
        all.push(timed(&format!("timers_two_{clock}"), move || Two { kind, ten: None }));
    }
    all
}

/// A processor of one function.
struct Each<F>(F);

impl<K, V, K2, V2, F> Processor<K, V, K2, V2> for Each<F>
where
    F: FnMut(&mut ProcessorContext<'_, K2, V2>, Record<K, V>) -> Outcome + 'static,
{
    fn process(&mut self, cx: &mut ProcessorContext<'_, K2, V2>, record: Record<K, V>) -> Outcome {
        (self.0)(cx, record)
    }
}

fn each<K, V, K2, V2, F>(f: F) -> Each<F>
where
    F: FnMut(&mut ProcessorContext<'_, K2, V2>, Record<K, V>) -> Outcome,
{
    Each(f)
}

/// The rows of a key-value store whose values have no time in Kafka Streams.
fn untimed(name: &'static str) -> impl Fn(&mut TopologyTestDriver) -> Vec<String> {
    move |driver| {
        let rows = driver.store::<String, String>(name).expect("the store is there");
        rows.into_iter().map(|(key, value, _)| format!("store {name} {key} {value} -")).collect()
    }
}

/// Appends a value to the row of its key and returns the row; null deletes it.
fn append(
    store: &KeyValueStore<String, String>,
    key: &String,
    value: Nullable,
    timestamp: Timestamp,
) -> Result<Nullable, BoxError> {
    let Some(value) = value else {
        store.remove(key)?;
        return Ok(None);
    };
    Ok(store.update(key, timestamp, |row| {
        *row = Some(joined(row.take(), value));
        row.clone()
    })?)
}

fn joined(row: Option<String>, value: String) -> String {
    match row {
        Some(row) => format!("{row}+{value}"),
        None => value,
    }
}

fn add_store(b: &StreamsBuilder) -> millstream::StoreRef<KeyValueStore<String, String>> {
    b.add_store(Materialized::named("store"))
}

fn collecting(name: &str, kind: Option<PunctuationType>, scheduled_late: bool) -> Scenario {
    let shape = if kind == Some(PunctuationType::WallClock) { IN.with_ticks() } else { IN };
    let define = move |b: &StreamsBuilder| {
        let stores = Processed::new().stores(add_store(b));
        let collect = move |store| Collect { kind, scheduled_late, store, scheduled: false };
        b.stream(&any("in")).process_with(stores, collect).to(&any("out"));
    };
    Scenario::new(name, shape, define).store(untimed("store"))
}

/// Appends values to the row of their key and forwards the row. A null value deletes the row; a
/// null key is forwarded only. A timer forwards every row at its own time, then a row `time` with
/// the time.
struct Collect {
    kind: Option<PunctuationType>,
    scheduled_late: bool,
    store: KeyValueStore<String, String>,
    scheduled: bool,
}

impl Collect {
    fn schedule(&mut self, cx: &mut Cx<'_>) {
        if let Some(kind) = self.kind.filter(|_| !self.scheduled) {
            self.scheduled = true;
            cx.schedule(TEN, kind);
        }
    }
}

impl Processor<Nullable, Nullable, Nullable, Nullable> for Collect {
    fn init(&mut self, cx: &mut Cx<'_>) -> Outcome {
        if !self.scheduled_late {
            self.schedule(cx);
        }
        Ok(())
    }

    fn process(&mut self, cx: &mut Cx<'_>, record: Anything) -> Outcome {
        let schedules = record.value.as_deref() == Some("b");
        match &record.key {
            None => cx.forward(record),
            Some(key) => {
                let row = append(&self.store, key, record.value.clone(), record.timestamp)?;
                cx.forward(record.with_value(row));
            }
        }
        // The even value "b" schedules: the first one while it is being processed.
        if schedules {
            self.schedule(cx);
        }
        Ok(())
    }

    fn punctuate(&mut self, cx: &mut Cx<'_>, Punctuation { time, .. }: Punctuation) -> Outcome {
        for (key, value, _) in self.store.all()? {
            cx.forward(Record::new(Some(key), Some(value), time));
        }
        cx.forward(Record::new(Some("time".into()), Some(time.to_string()), time));
        Ok(())
    }
}

struct Append(KeyValueStore<String, String>);

impl FixedKeyProcessor<String, Nullable, Nullable> for Append {
    fn process(
        &mut self,
        cx: &mut FixedKeyContext<'_, String, Nullable>,
        record: FixedKeyRecord<String, Nullable>,
    ) -> Outcome {
        let row = append(&self.0, record.key(), record.value.clone(), record.timestamp)?;
        cx.forward(record.with_value(row));
        Ok(())
    }
}

fn append_values(b: &StreamsBuilder) {
    let stores = Processed::new().stores(add_store(b));
    let rows = b.stream(&values("in")).process_values_with(stores, Append);
    let _ = rows.flatten_values().group_by_key().count("store-counts");
    rows.to(&values("out"));
}

/// "in" writes, "other" forwards what it finds and moves the row to the key of its value.
fn shared_store(b: &StreamsBuilder) {
    let store = add_store(b);
    let connected = || Processed::new().stores(store.clone());
    let write = |store: KeyValueStore<String, String>| {
        each(move |_: &mut ProcessorContext<'_, (), ()>, record: Keyed| {
            append(&store, &record.key, record.value, record.timestamp).map(drop)
        })
    };
    let _ = b.stream(&values("in")).process_with(connected(), write);
    let read = |store: KeyValueStore<String, String>| {
        each(move |cx: &mut ProcessorContext<'_, String, Nullable>, record: Keyed| {
            let row = store.remove(&record.key)?;
            let (to, time) = (record.value.clone(), record.timestamp);
            cx.forward(record.with_value(row.clone()));
            if let (Some(row), Some(key)) = (row, to) {
                store.put(key, row, time)?;
            }
            Ok(())
        })
    };
    b.stream(&values("other")).process_with(connected(), read).to(&values("out"));
}

/// Sends a record to two named outputs, to one of them or to none.
struct Sort {
    even: Outlet<Nullable, Nullable>,
    third: Outlet<Nullable, Nullable>,
}

impl Processor<Nullable, Nullable, Nullable, Nullable> for Sort {
    fn process(&mut self, cx: &mut Cx<'_>, record: Anything) -> Outcome {
        let value = record.value.clone().unwrap_or_default();
        let (even, third) = (is_even(&value), is_third(&value));
        if even {
            cx.forward_to(&mut self.even, record.clone());
        }
        if third {
            let moved = record.clone().with_key(record.value.clone());
            cx.forward_to(&mut self.third, moved);
        }
        if !even && !third {
            cx.forward(record);
        }
        Ok(())
    }
}

fn outputs(b: &StreamsBuilder) {
    let outputs = (NamedOutput::new("even"), NamedOutput::new("third"));
    let sort = |(even, third), ()| Sort { even, third };
    let sorted = b.stream(&any("in")).process_to(outputs, Processed::new().named("sort"), sort);
    let (rest, (even, third)) = sorted;
    rest.to(&any("out"));
    even.to(&any("even"));
    third.to(&any("third"));
}

/// Looks up the row of a table that is kept from "other".
fn table(b: &StreamsBuilder) {
    let rows = b.table(&text("other"), "store").rows();
    let look_up = |rows: TableRows<String, String>| {
        each(move |cx: &mut ProcessorContext<'_, String, String>, record: Keyed| {
            let row = rows.get(&record.key)?;
            let value = pair(print(&record.value), print(&row));
            cx.forward(record.with_value(value));
            Ok(())
        })
    };
    let connected = Processed::new().stores(rows);
    b.stream(&values("in")).process_with(connected, look_up).to(&text("out"));
}

/// Appends values in windows of ten, which are kept for thirty; null deletes the window. Forwards
/// the key's windows of the last twenty.
fn windows(b: &StreamsBuilder) {
    let store = b.add_window_store(Materialized::named("store"), RETENTION);
    let window = |store: WindowStore<String, String>| {
        each(move |cx: &mut ProcessorContext<'_, String, String>, record: Keyed| {
            let Record { key, value, timestamp } = record;
            let start = timestamp.plus_millis(-(timestamp.as_millis() % 10));
            store.update(&key, start, timestamp, |row| {
                *row = value.map(|value| joined(row.take(), value));
            })?;
            let from = timestamp.plus_millis(-20).max(Timestamp::ZERO);
            for (start, value) in store.fetch(&key, from, timestamp)? {
                cx.forward(Record::new(key.clone(), value, start));
            }
            Ok(())
        })
    };
    let connected = Processed::new().stores(store);
    b.stream(&values("in")).process_with(connected, window).to(&text("out"));
}

fn stored_windows(driver: &mut TopologyTestDriver) -> Vec<String> {
    let rows = driver.window_store::<String, String>("store").expect("the store is there");
    let line = |(key, start, value, time): (String, Timestamp, String, Timestamp)| {
        format!("store store {key}@{start}/{} {value} {time}", start.plus_millis(10))
    };
    rows.into_iter().map(line).collect()
}

/// Sessions of five, merged by hand and kept for thirty; null deletes what it overlaps.
fn sessions(b: &StreamsBuilder) {
    let store = b.add_session_store(Materialized::named("store"), RETENTION);
    let merge = |store: SessionStore<String, String>| {
        each(move |cx: &mut ProcessorContext<'_, String, String>, record: Keyed| {
            let Record { key, value, timestamp } = record;
            let mut session = Window::new(timestamp, timestamp.plus_millis(5));
            let mut merged = value.clone().unwrap_or_default();
            for (found, value) in store.find(&key, session.start, session.end)? {
                store.remove(&key, found)?;
                session = session.merge(found);
                merged = format!("{value}+{merged}");
            }
            if value.is_some() {
                store.put(&key, session, merged.clone(), timestamp)?;
            }
            let merged = format!("{}/{}={merged}", session.start, session.end);
            cx.forward(Record::new(key, merged, session.start));
            Ok(())
        })
    };
    let connected = Processed::new().stores(store);
    b.stream(&values("in")).process_with(connected, merge).to(&text("out"));
}

fn stored_sessions(driver: &mut TopologyTestDriver) -> Vec<String> {
    let rows = driver.session_store::<String, String>("store").expect("the store is there");
    let line = |(session, value, _): (millstream::Windowed<String>, String, Timestamp)| {
        let (key, Window { start, end }) = (session.key, session.window);
        format!("store store {key}@{start}/{end} {value} -")
    };
    rows.into_iter().map(line).collect()
}

/// Adds a header, which a processor behind it prints and one beside it does not see.
fn headers(b: &StreamsBuilder) {
    let input = b.stream(&any("in"));
    let add = || {
        each(|cx: &mut Cx<'_>, record: Anything| {
            cx.forward(record.clone());
            cx.headers_mut()?.push("seen", print(&record.value));
            cx.forward(record);
            Ok(())
        })
    };
    let show = || {
        each(|cx: &mut Cx<'_>, record: Anything| {
            let seen = cx.headers()?.last("seen").unwrap_or(b"none").to_vec();
            cx.forward(record.with_value(Some(String::from_utf8(seen)?)));
            Ok(())
        })
    };
    input.process(add).process(show).to(&any("out"));
    input.process(show).to(&any("beside"));
}

fn context(b: &StreamsBuilder) {
    let show = || {
        each(|cx: &mut Cx<'_>, record: Anything| {
            let place = cx.record_metadata().expect("a record lies somewhere");
            let (topic, partition, offset) = (place.topic, place.partition, place.offset);
            let (stream_time, wall_clock) = (cx.stream_time(), cx.wall_clock());
            let seen = format!("{topic}/{partition}/{offset}/{stream_time}/{wall_clock}");
            cx.forward(record.with_value(Some(seen)));
            Ok(())
        })
    };
    b.stream(&any("in")).process(show).to(&any("out"));
}

fn timed<P: Processor<Nullable, Nullable, Nullable, Nullable>>(
    name: &str,
    processor: impl Fn() -> P + Clone + Send + Sync + 'static,
) -> Scenario {
    Scenario::new(name, IN.with_ticks(), move |b| {
        b.stream(&any("in")).process(processor.clone()).to(&any("out"));
    })
}

fn tick(cx: &mut Cx<'_>, name: &str, time: Timestamp) {
    cx.forward(Record::new(Some(name.to_owned()), Some(time.to_string()), time));
}

/// "b" sets another timer, "c" cancels the oldest, "d" lets the next that fires cancel all.
struct Cancelled {
    kind: PunctuationType,
    timers: Vec<Cancellable>,
    cancels_all: bool,
}

impl Cancelled {
    const fn new(kind: PunctuationType) -> Self {
        Self { kind, timers: Vec::new(), cancels_all: false }
    }
}

impl Processor<Nullable, Nullable, Nullable, Nullable> for Cancelled {
    fn process(&mut self, cx: &mut Cx<'_>, record: Anything) -> Outcome {
        cx.forward(record.clone());
        match record.value.as_deref() {
            Some("b") => self.timers.push(cx.schedule(TEN, self.kind)),
            Some("c") if !self.timers.is_empty() => self.timers.remove(0).cancel(),
            Some("d") => self.cancels_all = true,
            _ => {}
        }
        Ok(())
    }

    fn punctuate(&mut self, cx: &mut Cx<'_>, Punctuation { time, .. }: Punctuation) -> Outcome {
        tick(cx, "timer", time);
        if std::mem::take(&mut self.cancels_all) {
            self.timers.drain(..).for_each(|timer| timer.cancel());
        }
        Ok(())
    }
}

/// A timer that starts at 13, and one that is set with "b" and starts at 17. Not if it is 17 just
/// then: Kafka's driver looks for timers that are due only when the clock moves.
struct Anchored {
    kind: PunctuationType,
    first: Option<TimerId>,
    scheduled: bool,
}

impl Anchored {
    const fn new(kind: PunctuationType) -> Self {
        Self { kind, first: None, scheduled: false }
    }
}

impl Processor<Nullable, Nullable, Nullable, Nullable> for Anchored {
    fn init(&mut self, cx: &mut Cx<'_>) -> Outcome {
        let timer = cx.schedule_from(Timestamp::from_millis(13), TEN, self.kind);
        self.first = Some(timer.timer());
        Ok(())
    }

    fn process(&mut self, cx: &mut Cx<'_>, record: Anything) -> Outcome {
        cx.forward(record.clone());
        let is_seventeen = cx.wall_clock() == Timestamp::from_millis(17);
        if record.value.as_deref() == Some("b") && !self.scheduled && !is_seventeen {
            self.scheduled = true;
            cx.schedule_from(Timestamp::from_millis(17), TEN, self.kind);
        }
        Ok(())
    }

    fn punctuate(&mut self, cx: &mut Cx<'_>, punctuation: Punctuation) -> Outcome {
        let is_first = self.first == Some(punctuation.timer);
        tick(cx, if is_first { "first" } else { "second" }, punctuation.time);
        Ok(())
    }
}

/// Timers of two intervals that meet at times.
struct Two {
    kind: PunctuationType,
    ten: Option<TimerId>,
}

impl Processor<Nullable, Nullable, Nullable, Nullable> for Two {
    fn init(&mut self, cx: &mut Cx<'_>) -> Outcome {
        self.ten = Some(cx.schedule(TEN, self.kind).timer());
        cx.schedule(Duration::from_millis(4), self.kind);
        Ok(())
    }

    fn process(&mut self, cx: &mut Cx<'_>, record: Anything) -> Outcome {
        cx.forward(record);
        Ok(())
    }

    fn punctuate(&mut self, cx: &mut Cx<'_>, punctuation: Punctuation) -> Outcome {
        let is_ten = self.ten == Some(punctuation.timer);
        tick(cx, if is_ten { "ten" } else { "four" }, punctuation.time);
        Ok(())
    }
}

/// Each timer ends itself and sets the next, after 3 and 10 milliseconds in turn.
struct Rescheduled {
    timer: Option<Cancellable>,
    interval: u64,
}

impl Rescheduled {
    fn set(&mut self, cx: &mut Cx<'_>) {
        let interval = Duration::from_millis(self.interval);
        self.timer = Some(cx.schedule(interval, PunctuationType::WallClock));
    }
}

impl Processor<Nullable, Nullable, Nullable, Nullable> for Rescheduled {
    fn init(&mut self, cx: &mut Cx<'_>) -> Outcome {
        self.set(cx);
        Ok(())
    }

    fn process(&mut self, cx: &mut Cx<'_>, record: Anything) -> Outcome {
        cx.forward(record);
        Ok(())
    }

    fn punctuate(&mut self, cx: &mut Cx<'_>, Punctuation { time, .. }: Punctuation) -> Outcome {
        tick(cx, "timer", time);
        self.timer.take().expect("it fires").cancel();
        self.interval = 13 - self.interval;
        self.set(cx);
        Ok(())
    }
}
