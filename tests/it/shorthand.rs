//! How do tests write and read records? As lines: `key=value@timestamp`, null as `~`.

use std::time::Duration;

use millstream::testing::TopologyTestDriver;
use millstream::{
    Config, ErrorPolicy, Guarantee, KTable, StreamsBuilder, Timestamp, Topic, Topology, Windowed,
};

pub(crate) const GUARANTEES: [Guarantee; 2] = [Guarantee::ExactlyOnce, Guarantee::AtLeastOnce];

/// A topic of text without null.
pub(crate) fn text(name: &str) -> Topic<String, String> {
    Topic::plain(name)
}

/// A topic of text in which both may be null.
pub(crate) fn any(name: &str) -> Topic<Option<String>, Option<String>> {
    text(name).nullable_values().nullable_keys()
}

pub(crate) const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub(crate) const fn at(ms: i64) -> Timestamp {
    Timestamp::from_millis(ms)
}

/// A driver of what `define` makes.
pub(crate) fn driver(define: impl FnOnce(&StreamsBuilder)) -> TopologyTestDriver {
    TopologyTestDriver::new(&topology(define))
}

/// A driver that goes on where a record fails.
pub(crate) fn lenient(define: impl FnOnce(&StreamsBuilder)) -> TopologyTestDriver {
    let config = Config::builder("test", "in-process").on_error(ErrorPolicy::Skip).build().unwrap();
    TopologyTestDriver::with_config(&topology(define), config)
}

/// A driver under a guarantee that commits when it is told to.
pub(crate) fn uncommitted(
    guarantee: Guarantee,
    define: impl FnOnce(&StreamsBuilder),
) -> TopologyTestDriver {
    let config = Config::builder("test", "in-process").guarantee(guarantee).build().unwrap();
    TopologyTestDriver::with_config(&topology(define), config).manual_commit()
}

pub(crate) fn topology(define: impl FnOnce(&StreamsBuilder)) -> Topology {
    let builder = StreamsBuilder::new();
    define(&builder);
    builder.build().expect("a valid pipeline")
}

/// Sends the records of a line into a topic: `a=1@3 b=~@4`.
pub(crate) fn send(driver: &mut TopologyTestDriver, topic: &str, records: &str) {
    for record in records.split(' ') {
        let (pair, timestamp) = record.split_once('@').expect("a record has a timestamp");
        let (key, value) = pair.split_once('=').expect("a record has a key and a value");
        let word = |word: &str| (word != "~").then(|| word.to_owned());
        let timestamp = at(timestamp.parse().expect("timestamps are milliseconds"));
        driver.input(&any(topic)).send(word(key), word(value), timestamp).unwrap();
    }
}

/// What has come out of a topic of text since it was last looked at, as one line.
pub(crate) fn drain(driver: &mut TopologyTestDriver, topic: &str) -> String {
    let drained = driver.output(&any(topic)).drain().unwrap();
    let word = |word: Option<String>| word.unwrap_or_else(|| "~".to_owned());
    let line = drained.into_iter().map(|record| {
        format!("{}={}@{}", word(record.key), word(record.value), record.timestamp.as_millis())
    });
    line.collect::<Vec<_>>().join(" ")
}

/// Sends records into `in`, and returns what comes out of `out`.
pub(crate) fn pass(driver: &mut TopologyTestDriver, records: &str) -> String {
    send(driver, "in", records);
    drain(driver, "out")
}

/// Sends every change of a table to `out`, tombstones included.
pub(crate) fn emit<V: Clone + ToString + 'static>(table: &KTable<String, V>) {
    let printed = table.to_stream().map_values(|value| value.map(|value| value.to_string()));
    printed.to(&text("out").nullable_values());
}

/// Sends every change of a windowed table to `out`, under keys such as `[a@0/10]`.
pub(crate) fn emit_windowed<V: Clone + ToString + 'static>(table: &KTable<Windowed<String>, V>) {
    let printed = table
        .to_stream()
        .map(|windowed, value| (windowed.to_string(), value.map(|value| value.to_string())));
    printed.to(&text("out").nullable_values());
}
