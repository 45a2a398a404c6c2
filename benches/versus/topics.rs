//! What is in the topics, how far are readers, and who makes and deletes them?

use std::collections::BTreeSet;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

const PATIENCE: Duration = Duration::from_secs(60);

#[path = "../../tests/broker/kafka.rs"]
#[allow(dead_code, reason = "the tests' broker has more than is needed here")]
mod kafka;

pub(crate) use kafka::{block_on, kafka_jars};

fn admin(brokers: &str) -> AdminClient<DefaultClientContext> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).create().expect("these settings make a client")
}

/// Makes a topic whose records stay, however old they are.
pub(crate) fn create(brokers: &str, name: &str, partitions: i32) {
    let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
    let topic = topic.set("retention.ms", "-1").set("message.timestamp.type", "CreateTime");
    let made = block_on(admin(brokers).create_topics([&topic], &AdminOptions::new()));
    for result in made.expect("the broker answers") {
        result.unwrap_or_else(|(topic, code)| panic!("topic `{topic}`: {code}"));
    }
    let client = consumer(brokers, "topics", "read_uncommitted");
    while count(&client, name) != partitions {
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Whether a topic is there.
pub(crate) fn exists(brokers: &str, name: &str) -> bool {
    let client = consumer(brokers, "topics", "read_uncommitted");
    let metadata = client.fetch_metadata(None, PATIENCE).expect("the broker answers");
    metadata.topics().iter().any(|topic| topic.name() == name)
}

/// Deletes every topic that an application has left.
pub(crate) fn delete_of(brokers: &str, application: &str) {
    let client = consumer(brokers, "topics", "read_uncommitted");
    let metadata = client.fetch_metadata(None, PATIENCE).expect("the broker answers");
    let prefix = format!("{application}-");
    let names = metadata.topics().iter().map(|topic| topic.name().to_owned());
    let own: BTreeSet<String> = names.filter(|name| name.starts_with(&prefix)).collect();
    let own: Vec<&str> = own.iter().map(String::as_str).collect();
    if own.is_empty() {
        return;
    }
    let deleted = block_on(admin(brokers).delete_topics(&own, &AdminOptions::new()));
    for result in deleted.expect("the broker answers") {
        if let Err((topic, code)) = result {
            assert_eq!(code, RDKafkaErrorCode::UnknownTopicOrPartition, "topic `{topic}`");
        }
    }
}

fn consumer(brokers: &str, group: &str, isolation: &str) -> BaseConsumer {
    ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", group)
        .set("isolation.level", isolation)
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("auto.offset.reset", "earliest")
        .set("fetch.wait.max.ms", "10")
        .set("fetch.queue.backoff.ms", "1")
        .create()
        .expect("these settings make a client")
}

fn count(client: &BaseConsumer, topic: &str) -> i32 {
    let metadata = client.fetch_metadata(Some(topic), PATIENCE).expect("the broker answers");
    let topic = metadata.topics().first().expect("one topic is asked for");
    let is_led = topic.partitions().iter().all(|partition| partition.leader() >= 0);
    if is_led { i32::try_from(topic.partitions().len()).unwrap_or(0) } else { 0 }
}

/// Sees how far an application is, by two requests at each look.
pub(crate) struct Watch {
    ends: BaseConsumer,
    group: BaseConsumer,
    inputs: Vec<String>,
    output: String,
    partitions: i32,
}

impl Watch {
    pub(crate) fn new(
        brokers: &str,
        application: &str,
        inputs: &[String],
        output: &str,
        partitions: i32,
    ) -> Self {
        Self {
            ends: consumer(brokers, "watch", "read_committed"),
            group: consumer(brokers, application, "read_uncommitted"),
            inputs: inputs.to_vec(),
            output: output.to_owned(),
            partitions,
        }
    }

    /// How many records the inputs hold.
    pub(crate) fn input_records(&self) -> i64 {
        self.inputs.iter().map(|topic| self.sum_of_ends(topic)).sum()
    }

    /// How many places the output has taken that a reader of committed records can see.
    pub(crate) fn output_records(&self) -> i64 {
        self.sum_of_ends(&self.output)
    }

    fn sum_of_ends(&self, topic: &str) -> i64 {
        let mut asked = TopicPartitionList::new();
        for partition in 0..self.partitions {
            // Asked as a time, this stands for the end.
            asked.add_partition_offset(topic, partition, Offset::End).expect("a valid offset");
        }
        self.ends.offsets_for_times(asked, PATIENCE).map_or(0, |ends| sum(&ends))
    }

    /// How many records of the inputs the application has committed.
    pub(crate) fn committed(&self) -> i64 {
        let mut asked = TopicPartitionList::new();
        for topic in &self.inputs {
            asked.add_partition_range(topic, 0, self.partitions - 1);
        }
        self.group.committed_offsets(asked, PATIENCE).map_or(0, |committed| sum(&committed))
    }
}

fn sum(list: &TopicPartitionList) -> i64 {
    let elements = list.elements();
    let offsets = elements.iter().map(|element| match element.offset() {
        Offset::Offset(offset) => offset,
        _ => 0,
    });
    offsets.sum()
}

/// Hands over every committed record of a topic, in the order of each partition.
pub(crate) fn read(
    brokers: &str,
    topic: &str,
    partitions: i32,
    mut take: impl FnMut(&BorrowedMessage<'_>),
) {
    let client = consumer(brokers, "reader", "read_committed");
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        list.add_partition_offset(topic, partition, Offset::Beginning).expect("a valid offset");
    }
    client.assign(&list).expect("an assignment by hand needs no group");
    let mut open = partitions;
    while open > 0 {
        match client.poll(PATIENCE).unwrap_or_else(|| panic!("`{topic}` has no end")) {
            Ok(message) => take(&message),
            Err(KafkaError::PartitionEOF(_)) => open -= 1,
            Err(error) => panic!("`{topic}`: {error}"),
        }
    }
}

/// A reader that stays at the end of a topic, for latencies.
pub(crate) fn follow(brokers: &str, topic: &str, partitions: i32) -> BaseConsumer {
    let client = consumer(brokers, "follower", "read_committed");
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        list.add_partition_offset(topic, partition, Offset::Beginning).expect("a valid offset");
    }
    client.assign(&list).expect("an assignment by hand needs no group");
    client
}
