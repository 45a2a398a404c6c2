//! What does a processor see, and where does what it forwards go?

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use millstream::processor::{
    FixedKeyContext, FixedKeyProcessor, FixedKeyRecord, Outlet, Processor, ProcessorContext,
};
use millstream::testing::TopologyTestDriver;
use millstream::{
    BoxError, Config, Data, ErrorPolicy, Headers, Materialized, NamedOutput, Processed, Record,
    StreamsBuilder, Timestamp, Topic, Topology,
};

pub(crate) fn numbers() -> Topic<String, i64> {
    Topic::plain("numbers")
}

pub(crate) fn results() -> Topic<String, i64> {
    Topic::plain("results")
}

pub(crate) fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

pub(crate) fn send(driver: &mut TopologyTestDriver, key: &str, value: i64, time: i64) {
    let sent = driver.input(&numbers()).send(key.to_owned(), value, at(time));
    sent.expect("the application goes on");
}

/// Key, value and time of what has come out since the last call.
pub(crate) fn drain(driver: &mut TopologyTestDriver) -> Vec<(String, i64, i64)> {
    let drained = driver.output(&results()).drain().expect("the application goes on");
    drained.into_iter().map(|r| (r.key, r.value, r.timestamp.as_millis())).collect()
}

pub(crate) fn rows<const N: usize>(rows: [(&str, i64, i64); N]) -> Vec<(String, i64, i64)> {
    rows.into_iter().map(|(key, value, time)| (key.to_owned(), value, time)).collect()
}

/// A processor of one function.
pub(crate) struct Each<F>(F);

pub(crate) fn each<K, V, K2, V2, F>(f: F) -> Each<F>
where
    F: FnMut(&mut ProcessorContext<'_, K2, V2>, Record<K, V>) -> Result<(), BoxError>,
{
    Each(f)
}

impl<K, V, K2, V2, F> Processor<K, V, K2, V2> for Each<F>
where
    F: FnMut(&mut ProcessorContext<'_, K2, V2>, Record<K, V>) -> Result<(), BoxError> + 'static,
{
    fn process(
        &mut self,
        cx: &mut ProcessorContext<'_, K2, V2>,
        record: Record<K, V>,
    ) -> Result<(), BoxError> {
        (self.0)(cx, record)
    }
}

/// Numbers through a processor of one function to results.
fn through<F>(f: F) -> Topology
where
    F: Fn(&mut ProcessorContext<'_, String, i64>, Record<String, i64>) -> Result<(), BoxError>
        + Clone
        + Send
        + Sync
        + 'static,
{
    let builder = StreamsBuilder::new();
    builder.stream(&numbers()).process(move || each(f.clone())).to(&results());
    builder.build().expect("a valid pipeline")
}

/// Forwards halves of even numbers, and refuses the others.
fn halve(
    cx: &mut ProcessorContext<'_, String, i64>,
    record: Record<String, i64>,
) -> Result<(), BoxError> {
    if record.value % 2 != 0 {
        return Err(format!("{} is odd", record.value).into());
    }
    let half = record.value / 2;
    cx.forward(record.with_value(half));
    Ok(())
}

#[test]
fn a_processor_forwards_nothing_one_record_or_several() {
    let mut driver = TopologyTestDriver::new(&through(|cx, record| {
        for i in 0..record.value {
            let key = format!("{}{i}", record.key);
            cx.forward(Record::new(key, i, record.timestamp));
        }
        Ok(())
    }));
    send(&mut driver, "a", 0, 1);
    send(&mut driver, "b", 2, 2);
    assert_eq!(drain(&mut driver), rows([("b0", 0, 2), ("b1", 1, 2)]));
}

#[test]
fn each_task_has_its_own_processor_which_is_closed_with_it() {
    struct Counted(Arc<AtomicU32>);
    impl Processor<String, i64, String, i64> for Counted {
        fn process(
            &mut self,
            cx: &mut ProcessorContext<'_, String, i64>,
            record: Record<String, i64>,
        ) -> Result<(), BoxError> {
            assert_eq!(cx.task_id().to_string(), format!("0_{}", cx.partition()));
            cx.forward(record);
            Ok(())
        }
        fn close(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let (made, closed) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let builder = StreamsBuilder::new();
    let supplier = {
        let (made, closed) = (Arc::clone(&made), Arc::clone(&closed));
        move || {
            made.fetch_add(1, Ordering::Relaxed);
            Counted(Arc::clone(&closed))
        }
    };
    builder.stream(&numbers()).process(supplier).to(&results());
    let mut driver = TopologyTestDriver::new(&builder.build().unwrap()).partitions(3);
    send(&mut driver, "a", 1, 1);
    let counts = || (made.load(Ordering::Relaxed), closed.load(Ordering::Relaxed));
    assert_eq!(counts(), (3, 0));
    driver.crash().unwrap();
    assert_eq!(counts(), (6, 3));
    drop(driver);
    assert_eq!(counts(), (6, 6));
}

#[test]
fn named_outputs_have_their_own_types() {
    struct Sort {
        negative: Outlet<String, i64>,
        large: Outlet<i64, String>,
    }
    impl Processor<String, i64, String, i64> for Sort {
        fn process(
            &mut self,
            cx: &mut ProcessorContext<'_, String, i64>,
            record: Record<String, i64>,
        ) -> Result<(), BoxError> {
            match record.value {
                ..0 => cx.forward_to(&mut self.negative, record),
                0..100 => cx.forward(record),
                large => {
                    let record = Record::new(large, record.key, record.timestamp);
                    cx.forward_to(&mut self.large, record);
                }
            }
            Ok(())
        }
    }
    let builder = StreamsBuilder::new();
    let (negatives, larges) = (Topic::plain("negatives"), Topic::<i64, String>::plain("larges"));
    let outputs = (NamedOutput::new("negative"), NamedOutput::new("large"));
    let sort = Processed::new().named("sort");
    let (small, (negative, large)) =
        builder
            .stream(&numbers())
            .process_to(outputs, sort, |(negative, large), ()| Sort { negative, large });
    small.to(&results());
    negative.to(&negatives);
    large.to(&larges);
    let topology = builder.build().unwrap();
    let wanted = "\
Topologies:
   Sub-topology: 0
    Source: KSTREAM-SOURCE-0000000000 (topics: [numbers])
      --> sort
    Processor: sort (stores: [])
      --> sort-large, sort-negative, KSTREAM-SINK-0000000004
      <-- KSTREAM-SOURCE-0000000000
    Processor: sort-large (stores: [])
      --> KSTREAM-SINK-0000000006
      <-- sort
    Processor: sort-negative (stores: [])
      --> KSTREAM-SINK-0000000005
      <-- sort
    Sink: KSTREAM-SINK-0000000004 (topic: results)
      <-- sort
    Sink: KSTREAM-SINK-0000000005 (topic: negatives)
      <-- sort-negative
    Sink: KSTREAM-SINK-0000000006 (topic: larges)
      <-- sort-large

";
    assert_eq!(topology.describe(), wanted);

    let mut driver = TopologyTestDriver::new(&topology);
    for value in [5, -1, 100] {
        send(&mut driver, "a", value, 1);
    }
    assert_eq!(drain(&mut driver), rows([("a", 5, 1)]));
    let negative = driver.output(&negatives).drain().unwrap();
    assert_eq!(negative, [Record::new("a".to_owned(), -1_i64, at(1))]);
    let large = driver.output(&larges).drain().unwrap();
    assert_eq!(large, [Record::new(100, "a".to_owned(), at(1))]);
}

#[test]
fn headers_are_read_and_changed_for_what_is_forwarded_and_for_nothing_else() {
    let builder = StreamsBuilder::new();
    let input = builder.stream(&numbers());
    let change = || {
        each(|cx: &mut ProcessorContext<'_, String, i64>, record: Record<String, i64>| {
            let record = record.with_key("changed".to_owned());
            cx.forward(record.clone());
            let trace = cx.headers()?.last("trace").unwrap_or(b"none").to_vec();
            cx.headers_mut()?.push("seen", trace);
            cx.forward(record.clone());
            cx.headers_mut()?.clear();
            cx.forward(record);
            Ok(())
        })
    };
    input.process(change).to(&results());
    input.to(&results());
    let mut driver = TopologyTestDriver::new(&builder.build().unwrap());
    let mut headers = Headers::new();
    headers.push("trace", "t1");
    let record = Record::new("k".to_owned(), 1, at(0));
    driver.input(&numbers()).send_record(record, &headers).unwrap();
    let out = driver.output(&results()).drain_with_headers().unwrap();
    let out: Vec<_> = out.iter().map(|(record, headers)| (&*record.key, headers)).collect();
    let mut seen = headers.clone();
    seen.push("seen", "t1");
    let none = Headers::new();
    let wanted = [("changed", &headers), ("changed", &seen), ("changed", &none), ("k", &headers)];
    assert_eq!(out, wanted);
}

#[test]
fn the_context_knows_where_a_record_is_from_and_what_time_it_is() {
    let mut driver = TopologyTestDriver::new(&through(|cx, record| {
        let place = cx.record_metadata().expect("a record lies somewhere");
        assert_eq!((place.topic, place.partition), ("numbers", 0));
        let key = format!("{}@{}", place.offset, cx.stream_time());
        cx.forward(Record::new(key, cx.wall_clock().as_millis(), record.timestamp));
        Ok(())
    }));
    send(&mut driver, "a", 0, 7);
    driver.advance(std::time::Duration::from_millis(30)).unwrap();
    send(&mut driver, "a", 0, 3);
    assert_eq!(drain(&mut driver), rows([("0@7", 0, 7), ("1@7", 30, 3)]));
}

fn with_policy(topology: &Topology, policy: ErrorPolicy) -> TopologyTestDriver {
    let config =
        Config::builder("test", "in-process").on_error(policy).build().expect("valid settings");
    let mut driver = TopologyTestDriver::with_config(topology, config);
    driver.create_topic("dead", 1).expect("there is no such topic yet");
    driver
}

#[test]
fn an_error_of_a_processor_goes_to_the_policy() {
    let mut driver = with_policy(&through(halve), ErrorPolicy::Fail);
    let refused = driver.input(&numbers()).send("a".into(), 3, at(0)).unwrap_err().to_string();
    assert!(refused.contains("3 is odd") && refused.contains("numbers-0 offset 0"), "{refused}");
    assert!(refused.contains("KSTREAM-PROCESSOR-0000000001"), "{refused}");

    for policy in [ErrorPolicy::Skip, ErrorPolicy::dead_letter("dead")] {
        let mut driver = with_policy(&through(halve), policy.clone());
        send(&mut driver, "a", 3, 0);
        send(&mut driver, "a", 4, 1);
        assert_eq!(drain(&mut driver), rows([("a", 2, 1)]));
        let dead = driver.output(&Topic::<String, i64>::plain("dead")).drain().unwrap();
        let values: Vec<i64> = dead.into_iter().map(|record| record.value).collect();
        let wanted: &[i64] = if policy == ErrorPolicy::Skip { &[] } else { &[3] };
        assert_eq!(values, wanted);
    }
}

#[test]
fn an_error_of_a_store_ends_the_task_whatever_the_policy_and_the_processors_say() {
    let builder = StreamsBuilder::new();
    let store = builder.add_store(Materialized::<String, i64>::named("store"));
    let careless = |store: millstream::processor::KeyValueStore<String, i64>| {
        each(move |cx: &mut ProcessorContext<'_, String, i64>, record: Record<String, i64>| {
            store.put(record.key.clone(), record.value, record.timestamp)?;
            let mut outcome = Ok(());
            store.scan(.., millstream::state::Direction::Ascending, |key, _, _| {
                outcome = store.get(key).map(drop);
                std::ops::ControlFlow::Continue(())
            })?;
            cx.forward(record);
            Ok(outcome.map_err(|error| Wrapped(error.into()))?)
        })
    };
    // The processor before it swallows whatever happens.
    let forward = |cx: &mut ProcessorContext<'_, String, i64>, record: Record<String, i64>| {
        cx.forward(record);
        Ok(())
    };
    let boxed = move || Box::new(each(forward)) as Box<dyn Processor<_, _, _, _>>;
    let stream = builder.stream(&numbers()).process(boxed);
    stream.process_with(Processed::new().stores(store), careless).to(&results());
    let mut driver = with_policy(&builder.build().unwrap(), ErrorPolicy::Skip);
    let ended = driver.input(&numbers()).send("a".into(), 3, at(0)).unwrap_err().to_string();
    assert!(ended.contains("store `store` is used while one of its scans is under way"), "{ended}");
}

/// An error of the user's around another.
#[derive(Debug)]
struct Wrapped(BoxError);

impl std::fmt::Display for Wrapped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "wrapped: {}", self.0)
    }
}

impl std::error::Error for Wrapped {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.0)
    }
}

/// Forwards one record when it is initialised, and every other after that.
struct Greets(&'static str, bool);

impl Processor<String, i64, String, i64> for Greets {
    fn init(&mut self, cx: &mut ProcessorContext<'_, String, i64>) -> Result<(), BoxError> {
        assert!(cx.record_metadata().is_none() && cx.headers()?.is_empty());
        self.1 = true;
        cx.forward(Record::new(self.0.to_owned(), 0, at(0)));
        Ok(())
    }
    fn process(
        &mut self,
        cx: &mut ProcessorContext<'_, String, i64>,
        record: Record<String, i64>,
    ) -> Result<(), BoxError> {
        assert!(self.1, "initialised before the first record");
        cx.forward(record);
        Ok(())
    }
}

#[test]
fn what_is_forwarded_at_initialisation_finds_everything_downstream_initialised() {
    let builder = StreamsBuilder::new();
    let first = builder.stream(&numbers()).process(|| Greets("first", false));
    first.process(|| Greets("second", false)).to(&results());
    let mut driver = TopologyTestDriver::new(&builder.build().unwrap());
    driver.commit().unwrap();
    assert_eq!(drain(&mut driver), rows([("second", 0, 0), ("first", 0, 0)]));
}

#[test]
fn an_error_at_initialisation_stops_the_application() {
    struct Refuses;
    impl Processor<String, i64, String, i64> for Refuses {
        fn init(&mut self, _: &mut ProcessorContext<'_, String, i64>) -> Result<(), BoxError> {
            Err("no licence".into())
        }
        fn process(
            &mut self,
            _: &mut ProcessorContext<'_, String, i64>,
            _: Record<String, i64>,
        ) -> Result<(), BoxError> {
            unreachable!("it was never initialised")
        }
    }
    let builder = StreamsBuilder::new();
    builder.stream(&numbers()).process(|| Refuses).to(&results());
    let mut driver = with_policy(&builder.build().unwrap(), ErrorPolicy::Skip);
    let refused = driver.commit().unwrap_err().to_string();
    assert!(refused.contains("cannot be initialised (task 0_0): no licence"), "{refused}");
}

/// Multiplies values, which is all that it can do.
struct Times(i64);

impl<K: Data> FixedKeyProcessor<K, i64, i64> for Times {
    fn process(
        &mut self,
        cx: &mut FixedKeyContext<'_, K, i64>,
        record: FixedKeyRecord<K, i64>,
    ) -> Result<(), BoxError> {
        let value = record.value * self.0;
        let _: &K = record.key();
        cx.forward(record.with_value(value));
        Ok(())
    }
}

#[test]
fn only_a_processor_that_may_change_keys_leads_to_a_repartition() {
    let by_key = |builder: StreamsBuilder, stream: millstream::KStream<String, i64>| {
        stream.group_by_key().reduce("sums", |sum, value| *sum += value).to(&results());
        builder.build().unwrap()
    };
    let builder = StreamsBuilder::new();
    let stream = builder.stream(&numbers()).process_values(|| Times(3));
    let fixed = by_key(builder, stream);
    assert!(fixed.plan().repartitions().is_empty());
    assert!(fixed.describe().contains("KSTREAM-PROCESSVALUES-0000000001 (stores: [])"));
    let mut driver = TopologyTestDriver::new(&fixed);
    send(&mut driver, "a", 2, 1);
    send(&mut driver, "a", 5, 2);
    assert_eq!(drain(&mut driver), rows([("a", 6, 1), ("a", 21, 2)]));

    let builder = StreamsBuilder::new();
    let stream = builder.stream(&numbers()).process(|| each(halve));
    let free = by_key(builder, stream);
    assert_eq!(free.plan().repartitions().len(), 1);
}

#[test]
fn names_are_unique_and_stores_are_this_builders() {
    let builder = StreamsBuilder::new();
    let strange = StreamsBuilder::new().add_store(Materialized::<String, i64>::named("strange"));
    let input = builder.stream(&numbers());
    let twice = || Processed::new().named("twice");
    input.process_with(twice(), |()| each(halve)).to(&results());
    let halve_with = |_| each(halve);
    input.process_with(twice().stores(strange), halve_with).to(&results());
    let refused = builder.build().unwrap_err().to_string();
    let wanted = [
        "processor `twice` uses store `strange`, which the pipeline does not hold",
        "the name `twice` is used by two processors; give one of them another name",
    ];
    assert_eq!(refused.lines().collect::<Vec<_>>(), wanted);
}
