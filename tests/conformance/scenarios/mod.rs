//! Which topologies are compared? The scenarios of `java/`, by the same names, in our language.

mod aggregations;
mod processors;
mod stateless;
mod stream_joins;
mod table_joins;
mod tables;
mod windows;

use std::time::Duration;

use millstream::config::{Config, ErrorPolicy};
use millstream::testing::TopologyTestDriver;
use millstream::{KTable, StreamsBuilder, Timestamp, Topic};

use crate::functions::Nullable;
use crate::inputs::{Shape, Step};

/// One topology, what it reads and writes, and the stores whose rows are compared.
pub(crate) struct Scenario {
    pub(crate) name: String,
    pub(crate) shape: Shape,
    define: Box<dyn Fn(&StreamsBuilder)>,
    outputs: &'static [&'static str],
    stores: Vec<Dump>,
    /// Whether a result must come after the same input, or just once until the end.
    pub(crate) compares_when: bool,
}

/// Prints the rows of one store, as the oracle does.
type Dump = Box<dyn Fn(&mut TopologyTestDriver) -> Vec<String>>;

/// Every scenario.
pub(crate) fn all() -> Vec<Scenario> {
    let mut all = Vec::new();
    all.extend(stateless::scenarios());
    all.extend(processors::scenarios());
    all.extend(aggregations::scenarios());
    all.extend(tables::scenarios());
    all.extend(table_joins::scenarios());
    all.extend(stream_joins::scenarios());
    all.extend(windows::scenarios());
    all
}

/// The scenario of this name.
pub(crate) fn named(name: &str) -> Scenario {
    let found = all().into_iter().find(|scenario| scenario.name == name);
    found.unwrap_or_else(|| panic!("no scenario is called `{name}`"))
}

impl Scenario {
    fn new(
        name: impl Into<String>,
        shape: Shape,
        define: impl Fn(&StreamsBuilder) + 'static,
    ) -> Self {
        let define = Box::new(define);
        let (outputs, stores) = (["out"].as_slice(), Vec::new());
        Self { name: name.into(), shape, define, outputs, stores, compares_when: true }
    }

    /// Compares what comes out until time has moved far, but not when and in which order.
    fn whenever(mut self) -> Self {
        self.compares_when = false;
        self
    }

    /// What happens after the steps of a seed: if it does not matter when results come, a record
    /// far in the future on every topic brings out all that are held back.
    pub(crate) fn last_steps(&self) -> Vec<Step> {
        let topics = if self.compares_when { &[] } else { self.shape.topics };
        let last = |topic: &&'static str| Step::Record {
            topic,
            timestamp: 1 << 50,
            key: Some("last".to_owned()),
            value: Some("last".to_owned()),
        };
        topics.iter().map(last).collect()
    }

    fn outputs(mut self, outputs: &'static [&'static str]) -> Self {
        self.outputs = outputs;
        self
    }

    fn store(mut self, store: impl Fn(&mut TopologyTestDriver) -> Vec<String> + 'static) -> Self {
        self.stores.push(Box::new(store));
        self
    }

    /// What we make of these steps, in the words of the oracle.
    pub(crate) fn answer(&self, steps: &[Step]) -> Vec<String> {
        let builder = StreamsBuilder::new();
        (self.define)(&builder);
        let topology = builder.build().expect("the topology is valid");
        // Nulls where a type has none are data errors; Kafka Streams drops such records.
        let config = Config::builder("conformance", "unused").on_error(ErrorPolicy::Skip).build();
        let config = config.expect("the settings are valid");
        let mut driver = TopologyTestDriver::with_config(&topology, config);
        // Whether a topic is written is not always known from the plan.
        for output in self.outputs {
            driver.create_topic(output, 1).expect("outputs have one partition");
        }
        let mut lines = Vec::new();
        for step in steps {
            lines.push("step".to_owned());
            apply(&mut driver, step);
            self.drain(&mut driver, &mut lines);
        }
        let mut rows: Vec<String> =
            self.stores.iter().flat_map(|store| store(&mut driver)).collect();
        rows.sort();
        lines.extend(rows);
        lines
    }

    fn drain(&self, driver: &mut TopologyTestDriver, lines: &mut Vec<String>) {
        for output in self.outputs {
            for record in driver.output(&any(output)).drain().expect("the records are text") {
                let (key, value) = (or_null(&record.key), or_null(&record.value));
                let timestamp = record.timestamp.as_millis();
                lines.push(format!("out {output} {timestamp} {key} {value}"));
            }
        }
    }
}

fn apply(driver: &mut TopologyTestDriver, step: &Step) {
    match step {
        Step::Record { topic, timestamp, key, value } => {
            let timestamp = Timestamp::from_millis(*timestamp);
            let sent = driver.input(&any(topic)).send(key.clone(), value.clone(), timestamp);
            sent.expect("the application goes on");
        }
        Step::Tick(milliseconds) => {
            let by = Duration::from_millis(*milliseconds as u64);
            driver.advance(by).expect("the application goes on");
        }
    }
}

fn or_null(text: &Nullable) -> &str {
    crate::functions::text(text)
}

/// A topic of text in which both may be null.
fn any(name: &str) -> Topic<Nullable, Nullable> {
    values(name).nullable_keys()
}

/// A topic of text in which values may be null.
fn values(name: &str) -> Topic<String, Nullable> {
    text(name).nullable_values()
}

/// A topic of text without null.
fn text(name: &str) -> Topic<String, String> {
    Topic::plain(name)
}

/// Sends every change of the table to `out`, tombstones included.
fn emit<V: Clone + ToString + 'static>(table: &KTable<String, V>) {
    let printed = table.to_stream().map_values(|value| value.map(|value| value.to_string()));
    printed.to(&values("out"));
}

/// The rows of a key-value store.
fn rows<V: Clone + ToString + 'static>(
    name: &'static str,
) -> impl Fn(&mut TopologyTestDriver) -> Vec<String> {
    move |driver| {
        let rows = driver.store::<String, V>(name).expect("the store is there");
        let line = |(key, value, timestamp): (String, V, Timestamp)| {
            format!("store {name} {key} {} {}", value.to_string(), timestamp.as_millis())
        };
        rows.into_iter().map(line).collect()
    }
}
