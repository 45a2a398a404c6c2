//! What do processors remember, and for how long?

use std::ops::ControlFlow;
use std::time::Duration;

use millstream::processor::{
    KeyValueStore, ProcessorContext, SessionStore, TableRows, WindowStore,
};
use millstream::state::Direction;
use millstream::testing::TopologyTestDriver;
use millstream::{
    BoxError, Config, Guarantee, Materialized, Processed, Processor, Record, StreamsBuilder, Topic,
    Topology, Window, Windowed,
};

use crate::processor::{at, drain, each, numbers, results, rows, send};

type Cx<'a> = ProcessorContext<'a, String, i64>;
type Number = Record<String, i64>;

/// Adds up the numbers of each key; zero deletes the sum.
fn sums(store: KeyValueStore<String, i64>) -> impl Processor<String, i64, String, i64> {
    each(move |cx: &mut Cx<'_>, record: Number| {
        if record.value == 0 {
            let sum = store.remove(&record.key)?.unwrap_or(-1);
            cx.forward(record.with_value(sum));
            return Ok(());
        }
        let sum = store.update(&record.key, record.timestamp, |sum| {
            *sum.get_or_insert(0) += record.value;
            *sum
        })?;
        cx.forward(record.with_value(sum.unwrap_or_default()));
        Ok(())
    })
}

fn summing() -> Topology {
    let builder = StreamsBuilder::new();
    let store = builder.add_store(Materialized::named("sums"));
    builder.stream(&numbers()).process_with(Processed::new().stores(store), sums).to(&results());
    builder.build().expect("a valid pipeline")
}

#[test]
fn sums_survive_a_crash_with_and_without_the_state_directory() {
    for guarantee in [Guarantee::ExactlyOnce, Guarantee::AtLeastOnce] {
        let config = Config::builder("test", "in-process").guarantee(guarantee).build().unwrap();
        let mut driver = TopologyTestDriver::with_config(&summing(), config);
        send(&mut driver, "a", 1, 5);
        send(&mut driver, "b", 10, 6);
        driver.crash().unwrap();
        send(&mut driver, "a", 2, 7);
        driver.crash_and_lose_state().unwrap();
        send(&mut driver, "a", 3, 8);
        send(&mut driver, "b", 0, 9);
        send(&mut driver, "b", 0, 9);
        let wanted =
            [("a", 1, 5), ("b", 10, 6), ("a", 3, 7), ("a", 6, 8), ("b", 10, 9), ("b", -1, 9)];
        assert_eq!(drain(&mut driver), rows(wanted));
        driver.crash_and_lose_state().unwrap();
        let stored = driver.store::<String, i64>("sums").unwrap();
        assert_eq!(stored, [("a".to_owned(), 6, at(8))]);
    }
}

#[test]
fn what_was_not_committed_is_forgotten_and_done_again_once() {
    let mut driver = TopologyTestDriver::new(&summing()).manual_commit();
    send(&mut driver, "a", 1, 1);
    driver.crash().unwrap();
    send(&mut driver, "a", 2, 2);
    assert_eq!(drain(&mut driver), rows([("a", 1, 1), ("a", 3, 2)]));
}

#[test]
fn a_processor_can_ask_for_a_commit() {
    let topology = |asks: bool| {
        let builder = StreamsBuilder::new();
        let ask = move || {
            each(move |cx: &mut Cx<'_>, record: Number| {
                if asks {
                    cx.request_commit();
                }
                cx.forward(record);
                Ok(())
            })
        };
        builder.stream(&numbers()).process(ask).to(&results());
        builder.build().unwrap()
    };
    for asks in [false, true] {
        let mut driver = TopologyTestDriver::new(&topology(asks)).manual_commit();
        send(&mut driver, "a", 1, 1);
        assert_eq!(driver.log().read("results").len(), usize::from(asks));
    }
}

#[test]
fn two_processors_share_a_store_and_so_a_subtopology() {
    let builder = StreamsBuilder::new();
    let store = builder.add_store(Materialized::<String, i64>::named("limits"));
    let limits = Topic::<String, i64>::plain("limits-in");
    let connected = |name: &str| Processed::new().named(name).stores(store.clone());
    let write = |store: KeyValueStore<String, i64>| {
        each(move |_: &mut ProcessorContext<'_, (), ()>, record: Number| {
            Ok(store.put(record.key, record.value, record.timestamp)?)
        })
    };
    let read = |store: KeyValueStore<String, i64>| {
        each(move |cx: &mut Cx<'_>, record: Number| {
            let limit = store.look_at(&record.key, |limit| limit.copied().unwrap_or(100))?;
            let value = record.value.min(limit);
            cx.forward(record.with_value(value));
            Ok(())
        })
    };
    let _ = builder.stream(&limits).process_with(connected("write"), write);
    builder.stream(&numbers()).process_with(connected("read"), read).to(&results());
    let topology = builder.build().unwrap();
    let wanted = "\
Topologies:
   Sub-topology: 0
    Source: KSTREAM-SOURCE-0000000002 (topics: [numbers])
      --> read
    Source: KSTREAM-SOURCE-0000000000 (topics: [limits-in])
      --> write
    Processor: read (stores: [limits])
      --> KSTREAM-SINK-0000000004
      <-- KSTREAM-SOURCE-0000000002
    Sink: KSTREAM-SINK-0000000004 (topic: results)
      <-- read
    Processor: write (stores: [limits])
      --> none
      <-- KSTREAM-SOURCE-0000000000

";
    assert_eq!(topology.describe(), wanted);

    let mut driver = TopologyTestDriver::new(&topology).partitions(2);
    for (index, key) in ["a", "b", "c"].into_iter().enumerate() {
        driver.input(&limits).send(key.to_owned(), index as i64, at(0)).unwrap();
        send(&mut driver, key, 7, 1);
    }
    send(&mut driver, "d", 700, 1);
    let mut limited = drain(&mut driver);
    limited.sort();
    assert_eq!(limited, rows([("a", 0, 1), ("b", 1, 1), ("c", 2, 1), ("d", 100, 1)]));
}

#[test]
fn a_processor_has_several_stores_of_any_kind() {
    let builder = StreamsBuilder::new();
    let names = builder.add_store(Materialized::<String, String>::named("names").in_memory());
    let counts: Vec<_> = ["odd", "even"]
        .map(|name| builder.add_store(Materialized::<String, i64>::named(name)))
        .into();
    let log = Materialized::<String, i64>::named("unlogged").without_changelog();
    let windows = builder.add_window_store(log, Duration::from_millis(100));
    let stores = Processed::new().stores((names, counts, windows));
    let supplier = |(names, counts, windows): (
        KeyValueStore<String, String>,
        Vec<KeyValueStore<String, i64>>,
        WindowStore<String, i64>,
    )| {
        each(move |_: &mut Cx<'_>, Record { key, value, timestamp }: Number| {
            names.put(key.clone(), format!("name of {key}"), timestamp)?;
            let count = if value % 2 == 0 { &counts[1] } else { &counts[0] };
            count.update(&key, timestamp, |count| *count.get_or_insert(0) += 1)?;
            windows.put(&key, timestamp, value, timestamp)?;
            Ok(())
        })
    };
    let _ = builder.stream(&numbers()).process_with(stores, supplier);
    let topology = builder.build().unwrap();
    assert!(topology.describe().contains("(stores: [even, names, odd, unlogged])"));
    let mut driver = TopologyTestDriver::new(&topology);
    send(&mut driver, "a", 1, 1);
    send(&mut driver, "a", 3, 2);
    let key = || "a".to_owned();
    assert_eq!(driver.store::<String, i64>("odd").unwrap(), [(key(), 2, at(2))]);
    assert_eq!(driver.store::<String, i64>("even").unwrap(), []);
    let names = driver.store::<String, String>("names").unwrap();
    assert_eq!(names, [(key(), "name of a".to_owned(), at(2))]);
    let windows = driver.window_store::<String, i64>("unlogged").unwrap();
    assert_eq!(windows, [(key(), at(1), 1, at(1)), (key(), at(2), 3, at(2))]);
    let topics: Vec<String> = driver.log().topics().into_iter().map(|topic| topic.name).collect();
    assert!(topics.iter().any(|topic| topic == "test-names-changelog"), "{topics:?}");
    assert!(!topics.iter().any(|topic| topic.contains("unlogged")), "{topics:?}");
}

#[test]
fn a_scan_shows_a_range_in_either_direction() {
    let builder = StreamsBuilder::new();
    let store = builder.add_store(Materialized::<String, i64>::named("store"));
    let supplier = |store: KeyValueStore<String, i64>| {
        each(move |cx: &mut Cx<'_>, record: Number| {
            store.put(record.key, record.value, record.timestamp)?;
            let mut found = Vec::new();
            let mut take = |key: &String, value: &i64, _| {
                found.push((key.clone(), *value));
                if found.len() == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            let from = "b".to_owned();
            store.scan(from.clone().., Direction::Ascending, &mut take)?;
            store.scan(..=from, Direction::Descending, &mut take)?;
            for (key, value) in found {
                cx.forward(Record::new(key, value, record.timestamp));
            }
            cx.forward(Record::new("len".into(), store.approximate_len()? as i64, at(0)));
            Ok(())
        })
    };
    let stored = Processed::new().stores(store);
    builder.stream(&numbers()).process_with(stored, supplier).to(&results());
    let mut driver = TopologyTestDriver::new(&builder.build().unwrap());
    for (key, value) in [("c", 3), ("a", 1), ("b", 2)] {
        send(&mut driver, key, value, 1);
    }
    let wanted = [
        ("c", 3, 1),
        ("len", 1, 0),
        ("c", 3, 1),
        ("a", 1, 1),
        ("len", 2, 0),
        ("b", 2, 1),
        ("c", 3, 1),
        ("b", 2, 1),
        ("len", 3, 0),
    ];
    assert_eq!(drain(&mut driver), rows(wanted));
}

/// Keeps one number for each key and ten milliseconds; forwards the sum of the last thirty.
fn windowing() -> Topology {
    let builder = StreamsBuilder::new();
    let retention = Duration::from_millis(30);
    let store = builder.add_window_store(Materialized::named("windows"), retention);
    let supplier = |store: WindowStore<String, i64>| {
        each(move |cx: &mut Cx<'_>, record: Number| {
            let time = record.timestamp.as_millis();
            let start = at(time - time % 10);
            if record.value == 0 {
                store.remove(&record.key, start)?;
            } else {
                store.update(&record.key, start, record.timestamp, |number| {
                    *number.get_or_insert(0) += record.value;
                })?;
            }
            let last = store.fetch(&record.key, at(0), at(1_000))?;
            let sum = last.iter().map(|(_, value)| value).sum();
            let current = store.get(&record.key, start)?.unwrap_or(-1);
            cx.forward(Record::new("sum".into(), sum, record.timestamp));
            cx.forward(Record::new("current".into(), current, start));
            Ok(())
        })
    };
    let stored = Processed::new().stores(store);
    builder.stream(&numbers()).process_with(stored, supplier).to(&results());
    builder.build().expect("a valid pipeline")
}

#[test]
fn windows_leave_after_their_retention_and_stay_away_over_a_restart() {
    let mut driver = TopologyTestDriver::new(&windowing());
    send(&mut driver, "a", 1, 5);
    send(&mut driver, "a", 2, 9);
    send(&mut driver, "a", 4, 29);
    let wanted = [("sum", 1, 5), ("current", 1, 0), ("sum", 3, 9), ("current", 3, 0)];
    let mut seen = drain(&mut driver);
    let tail = seen.split_off(4);
    assert_eq!(seen, rows(wanted));
    assert_eq!(tail, rows([("sum", 7, 29), ("current", 4, 20)]));
    // The window that starts at 0 leaves when one starts at 30, whatever its key is.
    send(&mut driver, "b", 8, 31);
    send(&mut driver, "a", 16, 3);
    let wanted = [("sum", 8, 31), ("current", 8, 30), ("sum", 4, 3), ("current", -1, 0)];
    assert_eq!(drain(&mut driver), rows(wanted));
    for loses_state in [false, true] {
        if loses_state {
            driver.crash_and_lose_state().unwrap();
        } else {
            driver.crash().unwrap();
        }
        send(&mut driver, "a", 16, 3);
        assert_eq!(drain(&mut driver), rows([("sum", 4, 3), ("current", -1, 0)]));
    }
    send(&mut driver, "a", 0, 22);
    assert_eq!(drain(&mut driver), rows([("sum", 0, 22), ("current", -1, 20)]));
    let stored = driver.window_store::<String, i64>("windows").unwrap();
    assert_eq!(stored, [("b".to_owned(), at(30), 8, at(31))]);
}

#[test]
fn sessions_are_found_put_removed_and_leave() {
    let builder = StreamsBuilder::new();
    let retention = Duration::from_millis(30);
    let store = builder.add_session_store(Materialized::named("sessions"), retention);
    // Joins a number with the sessions that overlap its five milliseconds.
    let supplier = |store: SessionStore<String, i64>| {
        each(move |cx: &mut Cx<'_>, Record { key, value, timestamp }: Number| {
            let end = timestamp + Duration::from_millis(5);
            let (mut session, mut sum) = (Window::new(timestamp, end), value);
            for (found, value) in store.find(&key, timestamp, end)? {
                assert_eq!(store.get(&key, found)?, Some(value));
                assert_eq!(store.remove(&key, found)?, Some(value));
                assert_eq!(store.remove(&key, found)?, None);
                session = session.merge(found);
                sum += value;
            }
            store.put(&key, session, sum, timestamp)?;
            let count = store.all()?.len() as i64;
            cx.forward(Record::new(key, sum, session.start));
            cx.forward(Record::new("count".into(), count, session.end));
            Ok(())
        })
    };
    let stored = Processed::new().stores(store);
    builder.stream(&numbers()).process_with(stored, supplier).to(&results());
    let mut driver = TopologyTestDriver::new(&builder.build().unwrap());
    for (value, time) in [(1, 0), (2, 20), (4, 4), (8, 10), (16, 34)] {
        send(&mut driver, "a", value, time);
    }
    let wanted = [
        ("a", 1, 0),
        ("count", 1, 5),
        ("a", 2, 20),
        ("count", 2, 25),
        ("a", 5, 0),
        ("count", 2, 9),
        ("a", 8, 10),
        ("count", 3, 15),
        ("a", 16, 34),
        ("count", 3, 39),
    ];
    assert_eq!(drain(&mut driver), rows(wanted));
    driver.crash_and_lose_state().unwrap();
    send(&mut driver, "a", 32, 2);
    assert_eq!(drain(&mut driver), rows([("a", 32, 2), ("count", 3, 7)]));
    let sessions = driver.session_store::<String, i64>("sessions").unwrap();
    let session = |start, end| Windowed::new("a".to_owned(), Window::new(at(start), at(end)));
    let wanted = [(session(10, 15), 8), (session(20, 25), 2), (session(34, 39), 16)];
    let sessions: Vec<_> = sessions.into_iter().map(|(session, sum, _)| (session, sum)).collect();
    assert_eq!(sessions, wanted);
}

#[test]
fn a_processor_reads_the_rows_of_a_table() {
    let prices = Topic::<String, i64>::plain("prices");
    let builder = StreamsBuilder::new();
    let doubled = builder.table(&prices, "prices").map_values(|price| price * 2);
    let supplier = |prices: TableRows<String, i64>| {
        each(move |cx: &mut Cx<'_>, record: Number| {
            let price = prices.get(&record.key)?.ok_or_else(|| BoxError::from("no price"))?;
            let value = record.value * price;
            cx.forward(record.with_value(value));
            Ok(())
        })
    };
    let connected = Processed::new().stores(doubled.rows());
    builder.stream(&numbers()).process_with(connected, supplier).to(&results());
    let topology = builder.build().unwrap();
    assert!(topology.describe().contains("(stores: [prices])"), "{}", topology.describe());
    let mut driver = TopologyTestDriver::new(&topology);
    driver.input(&prices).send("a".to_owned(), 5, at(0)).unwrap();
    send(&mut driver, "a", 3, 1);
    assert_eq!(drain(&mut driver), rows([("a", 30, 1)]));
    driver.input(&numbers()).send("b".to_owned(), 3, at(1)).unwrap_err();
}
