//! Where bytes become records.

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
    /// Decodes a record and keeps it; returns the time that it is ordered by.
    fn load(&mut self, view: RecordView<'_>) -> Result<Timestamp, BoxError>;

    /// Pushes the record that was loaded.
    fn forward(&mut self, cx: &mut Cx<'_>) -> Result<()>;
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
    head: Option<Record<K, V>>,
    next: Edge<K, V>,
}

impl<K: Data, V: Data> BuildSource for TopicSource<K, V> {
    fn build(&self, task: &mut TaskBuilder) -> Box<dyn Source> {
        Box::new(TopicSourceOp {
            key: Arc::clone(&self.key),
            value: Arc::clone(&self.value),
            timestamps: self.timestamps.clone(),
            head: None,
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
            return Err(format!("timestamp: {timestamp} is before the epoch").into());
        }
        self.head = Some(Record { key, value, timestamp });
        Ok(timestamp)
    }

    fn forward(&mut self, cx: &mut Cx<'_>) -> Result<()> {
        let record = self.head.take().expect("a record is loaded before it is forwarded");
        self.next.push(cx, record)
    }
}
