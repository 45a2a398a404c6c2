//! What is in the topics? Raw bytes, as any client sees them that reads committed records.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ConfigSource, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Headers, Message};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::kafka::block_on;

const PATIENCE: Duration = Duration::from_secs(30);

/// A record as it lies in the log, without its offset.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Logged {
    pub(super) partition: i32,
    pub(super) key: Vec<u8>,
    pub(super) value: Option<Vec<u8>>,
    pub(super) timestamp: i64,
    pub(super) headers: Vec<(String, Vec<u8>)>,
}

impl fmt::Debug for Logged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { partition, key, value, timestamp, headers } = self;
        let value = value.as_ref().map(|value| value.escape_ascii().to_string());
        let key = key.escape_ascii();
        write!(f, "[{partition} at {timestamp}: {key} = {value:?} {headers:?}]")
    }
}

/// Looks at the topics of one application, without being a member of its group.
pub(super) struct Reader {
    consumer: BaseConsumer,
    admin: AdminClient<DefaultClientContext>,
}

impl Reader {
    pub(super) fn new(brokers: &str, app: &str) -> Self {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers);
        let admin = config.create().expect("these settings make a client");
        config
            .set("group.id", app)
            .set("isolation.level", "read_committed")
            .set("enable.partition.eof", "true")
            .set("enable.auto.commit", "false")
            // An end is told with an answer, and one without records waits that long.
            .set("fetch.wait.max.ms", "10");
        let consumer = config.create().expect("these settings make a consumer");
        Self { consumer, admin }
    }

    /// The committed records of every partition of a topic, each with its offset.
    pub(super) fn records(&self, topic: &str) -> Vec<(i64, Logged)> {
        let consumer = &self.consumer;
        let mut list = TopicPartitionList::new();
        let mut open = 0;
        for partition in 0..self.partitions(topic) {
            let (low, high) =
                consumer.fetch_watermarks(topic, partition, PATIENCE).expect("the broker answers");
            if low < high {
                list.add_partition_offset(topic, partition, Offset::Beginning)
                    .expect("a valid offset");
                open += 1;
            }
        }
        consumer.assign(&list).expect("an assignment by hand needs no group");
        let mut found = Vec::new();
        while open > 0 {
            match consumer.poll(PATIENCE).unwrap_or_else(|| panic!("`{topic}` has no end")) {
                Ok(message) => found.push((message.offset(), logged(&message))),
                Err(KafkaError::PartitionEOF(_)) => open -= 1,
                Err(error) => panic!("`{topic}`: {error}"),
            }
        }
        found
    }

    /// What the application has committed for a topic: offset and metadata by partition.
    pub(super) fn committed(&self, topic: &str) -> BTreeMap<i32, (i64, String)> {
        let mut asked = TopicPartitionList::new();
        for partition in 0..self.partitions(topic) {
            asked.add_partition(topic, partition);
        }
        let answered =
            self.consumer.committed_offsets(asked, PATIENCE).expect("the broker answers");
        let offset = |element: rdkafka::topic_partition_list::TopicPartitionListElem<'_>| {
            let Offset::Offset(offset) = element.offset() else { return None };
            Some((element.partition(), (offset, element.metadata().to_owned())))
        };
        answered.elements().into_iter().filter_map(offset).collect()
    }

    /// The settings of a topic that are not the broker's, and how many partitions it has.
    pub(super) fn settings(&self, topic: &str) -> BTreeMap<String, String> {
        let asked = [ResourceSpecifier::Topic(topic)];
        let answer = block_on(self.admin.describe_configs(&asked, &AdminOptions::new()));
        let mut answers = answer.expect("the broker answers");
        let resource = answers.pop().expect("one topic is asked for").expect("the topic is there");
        let entries = resource.entries.into_iter();
        let own = entries.filter(|entry| entry.source == ConfigSource::DynamicTopic);
        let mut settings: BTreeMap<String, String> =
            own.map(|entry| (entry.name, entry.value.unwrap_or_default())).collect();
        settings.insert("partitions".to_owned(), self.partitions(topic).to_string());
        settings
    }

    /// Has the broker keep the last record of each key, and refuse to delete others on request.
    pub(super) fn only_compact(&self, topic: &str) {
        let settings = [("cleanup.policy", "compact"), ("min.cleanable.dirty.ratio", "1")];
        let changed = AlterConfig::new(ResourceSpecifier::Topic(topic));
        let changed =
            settings.iter().fold(changed, |changed, (name, value)| changed.set(name, value));
        let changed = [changed];
        let answer = block_on(self.admin.alter_configs(&changed, &AdminOptions::new()));
        for answer in answer.expect("the broker answers") {
            answer.unwrap_or_else(|(_, code)| panic!("`{topic}`: {code}"));
        }
    }

    /// The names of all topics that begin with the prefix, without it.
    pub(super) fn names(&self, prefix: &str) -> Vec<String> {
        let metadata = self.consumer.fetch_metadata(None, PATIENCE).expect("the broker answers");
        let names = metadata.topics().iter().map(rdkafka::metadata::MetadataTopic::name);
        let mut own: Vec<String> =
            names.filter_map(|name| name.strip_prefix(prefix)).map(str::to_owned).collect();
        own.sort();
        own
    }

    fn partitions(&self, topic: &str) -> i32 {
        let metadata =
            self.consumer.fetch_metadata(Some(topic), PATIENCE).expect("the broker answers");
        let count = metadata.topics().first().map_or(0, |topic| topic.partitions().len());
        i32::try_from(count).expect("there are few partitions")
    }
}

fn logged(message: &impl Message) -> Logged {
    let headers = message.headers().into_iter().flat_map(Headers::iter);
    let header = |header: rdkafka::message::Header<'_, &[u8]>| {
        (header.key.to_owned(), header.value.unwrap_or_default().to_vec())
    };
    Logged {
        partition: message.partition(),
        key: message.key().expect("every key is there").to_vec(),
        value: message.payload().map(<[u8]>::to_vec),
        timestamp: message.timestamp().to_millis().expect("every record has a time"),
        headers: headers.map(header).collect(),
    }
}
