//! Does it hold on a real Kafka broker?
//!
//! One binary, one module per subject. The tests need a JVM and Kafka's jars, which
//! `tests/run.sh setup` fetches; `tests/run.sh broker` runs them. What can be shown on the
//! in-process log is tested there: here stands only what a real broker can prove.

#![allow(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

#[macro_use]
#[path = "../contract/mod.rs"]
mod contract;

mod acls;
mod chaos;
mod codecs;
mod kafka;
mod kafka_contract;
mod policies;
mod takeover;
mod tls;

use std::thread;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};

use kafka::Broker;

const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn a_record_comes_back_as_it_was_sent() {
    let broker = Broker::shared();
    broker.create_topic("smoke", 2, &[("retention.ms", "-1")]);
    send(broker, "smoke", 1, "key", "value");
    assert_eq!(first_record(broker, "smoke", 1), ("key".into(), "value".into()));
}

#[test]
fn an_acknowledged_record_survives_a_killed_broker() {
    let mut broker = Broker::start();
    broker.create_topic("durable", 1, &[]);
    send(&broker, "durable", 0, "key", "value");
    broker.kill_9();
    broker.restart();
    assert_eq!(first_record(&broker, "durable", 0), ("key".into(), "value".into()));
}

/// Whether it holds before that much time is over.
#[expect(clippy::disallowed_methods, reason = "a broker is waited for in real time")]
fn wait_until(patience: Duration, holds: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + patience;
    while Instant::now() < deadline {
        if holds() {
            return true;
        }
        thread::sleep(Duration::from_millis(100));
    }
    false
}

fn client(broker: &Broker) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker.bootstrap());
    config
}

fn send(broker: &Broker, topic: &str, partition: i32, key: &str, value: &str) {
    let mut config = client(broker);
    config.set("enable.idempotence", "true");
    let producer: BaseProducer = config.create().expect("these settings make a producer");
    let record = BaseRecord::to(topic).partition(partition).key(key).payload(value);
    producer.send(record).map_err(|(error, _)| error).expect("the queue has room for one record");
    producer.flush(PATIENCE).expect("the broker acknowledges");
}

fn first_record(broker: &Broker, topic: &str, partition: i32) -> (String, String) {
    let mut config = client(broker);
    config.set("group.id", "smoke").set("isolation.level", "read_committed");
    let consumer: BaseConsumer = config.create().expect("these settings make a consumer");
    let mut from_start = TopicPartitionList::new();
    from_start.add_partition_offset(topic, partition, Offset::Beginning).expect("a valid offset");
    consumer.assign(&from_start).expect("an assignment by hand needs no group");
    let record = consumer.poll(PATIENCE).expect("the record arrives").expect("it can be read");
    (text(record.key()), text(record.payload()))
}

fn text(bytes: Option<&[u8]>) -> String {
    String::from_utf8(bytes.expect("it is not null").to_vec()).expect("it was sent as text")
}
