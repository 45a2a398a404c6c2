//! Where bytes become records.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::error::{BoxError, Result};
use crate::log::RecordView;
use crate::operator::build::{BuildSource, Output, TaskBuilder};
use crate::operator::push::{Cx, Edge};
use crate::record::{Data, Record};
use crate::serde::{SharedCodec, decode_option};
use crate::time::Timestamp;
use crate::topic::{TimestampExtractor, Topic};

/// The receiving end of one topic in a running task.
pub(crate) trait Source {
    /// Decodes a record and keeps it behind those that it holds; returns the time that it is
    /// ordered by.
    fn load(&mut self, view: RecordView<'_>) -> Result<Timestamp, BoxError>;

    /// Says that the records it holds are soon to be forwarded.
    fn warm(&self);

    /// Pushes the record that was loaded first of those that it holds.
    fn forward(&mut self, cx: &mut Cx<'_>) -> Result<()>;
}

/// Why a record is refused whose time is negative: its producer has set none, or an extractor wants
/// no such record.
#[cold]
fn no_time(timestamp: Timestamp) -> BoxError {
    let fix = "take the time from the record with `Topic::timestamps`";
    format!("timestamp: {timestamp} is before the epoch; {fix}").into()
}

/// Factory of a topic's source.
pub(crate) struct TopicSource<K, V> {
    pub(crate) key: SharedCodec<K>,
    pub(crate) value: SharedCodec<V>,
    pub(crate) timestamps: Option<TimestampExtractor<K, V>>,
    pub(crate) output: Arc<Output<K, V>>,
}

impl<K: Data, V: Data> TopicSource<K, V> {
    pub(crate) fn new(topic: &Topic<K, V>, output: Arc<Output<K, V>>) -> Self {
        let timestamps = topic.timestamps.clone();
        Self { key: topic.key_codec(), value: topic.value_codec(), timestamps, output }
    }
}

struct TopicSourceOp<K, V> {
    key: SharedCodec<K>,
    value: SharedCodec<V>,
    timestamps: Option<TimestampExtractor<K, V>>,
    loaded: VecDeque<Record<K, V>>,
    next: Edge<K, V>,
}

impl<K: Data, V: Data> BuildSource for TopicSource<K, V> {
    fn build(&self, task: &mut TaskBuilder) -> Box<dyn Source> {
        Box::new(TopicSourceOp {
            key: Arc::clone(&self.key),
            value: Arc::clone(&self.value),
            timestamps: self.timestamps.clone(),
            loaded: VecDeque::new(),
            next: self.output.build(task),
        })
    }
}

impl<K: Data, V: Data> Source for TopicSourceOp<K, V> {
    fn load(&mut self, view: RecordView<'_>) -> Result<Timestamp, BoxError> {
        let key = decode_option(&*self.key, view.key).map_err(|e| format!("key: {e}"))?;
        let value = decode_option(&*self.value, view.value).map_err(|e| format!("value: {e}"))?;
        let timestamp = match &self.timestamps {
            Some(extract) => extract(&key, &value, view.timestamp),
            None => view.timestamp,
        };
        if timestamp < Timestamp::ZERO {
            return Err(no_time(timestamp));
        }
        self.loaded.push_back(Record { key, value, timestamp });
        Ok(timestamp)
    }

    fn warm(&self) {
        let (records, wrapped) = self.loaded.as_slices();
        self.next.warm(records);
        self.next.warm(wrapped);
    }

    fn forward(&mut self, cx: &mut Cx<'_>) -> Result<()> {
        let record = self.loaded.pop_front().expect("a record is loaded before it is forwarded");
        self.next.push(cx, record)
    }
}
