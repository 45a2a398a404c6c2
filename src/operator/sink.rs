//! Where records become bytes again.

use std::sync::Arc;

use crate::error::{BoxError, ErrorKind, Result};
use crate::operator::build::{Build, TaskBuilder};
use crate::operator::push::{Cx, Edge, FailureStage, OutRecord, Push, SinkTarget};
use crate::record::{Change, Data, Record};
use crate::serde::SharedCodec;
use crate::topology::{NodeId, TopicRef};

/// Chooses a topic for each record.
pub(crate) type TopicChooser<K, V> = Arc<dyn Fn(&K, &V) -> Arc<str> + Send + Sync>;

/// Where a sink's records go.
pub(crate) enum Destination<K, V> {
    Topic(TopicRef),
    Chosen(TopicChooser<K, V>),
}

/// Factory of a sink.
pub(crate) struct Sink<K, V> {
    pub(crate) node: NodeId,
    pub(crate) destination: Destination<K, V>,
    pub(crate) key: SharedCodec<K>,
    pub(crate) value: SharedCodec<V>,
}

enum Route<K, V> {
    Target(SinkTarget),
    Chosen(TopicChooser<K, V>),
}

struct SinkOp<K, V> {
    node: NodeId,
    route: Route<K, V>,
    encoder: Encoder<K, V>,
}

/// Encodes key and value into one buffer that is used again for each record.
struct Encoder<K, V> {
    key: SharedCodec<K>,
    value: SharedCodec<V>,
    buffer: Vec<u8>,
}

/// Where key and value lie in the encoder's buffer.
struct Encoded {
    key_length: Option<usize>,
    has_value: bool,
}

impl<K: 'static, V: 'static> Encoder<K, V> {
    fn encode(&mut self, key: &K, value: Option<&V>) -> Result<Encoded, BoxError> {
        self.buffer.clear();
        let key_length = if self.key.is_null(key) {
            None
        } else {
            self.key.encode(key, &mut self.buffer).map_err(|e| format!("key: {e}"))?;
            Some(self.buffer.len())
        };
        let value = value.filter(|value| !self.value.is_null(value));
        if let Some(value) = value {
            self.value.encode(value, &mut self.buffer).map_err(|e| format!("value: {e}"))?;
        }
        Ok(Encoded { key_length, has_value: value.is_some() })
    }

    fn key_and_value(&self, encoded: &Encoded) -> (Option<&[u8]>, Option<&[u8]>) {
        let (key, value) = self.buffer.split_at(encoded.key_length.unwrap_or(0));
        (encoded.key_length.map(|_| key), encoded.has_value.then_some(value))
    }
}

impl<K: Data, V: Data> Sink<K, V> {
    fn running(&self, task: &mut TaskBuilder) -> SinkOp<K, V> {
        let route = match &self.destination {
            Destination::Topic(topic) => Route::Target(task.target(topic)),
            Destination::Chosen(choose) => Route::Chosen(Arc::clone(choose)),
        };
        let encoder = Encoder {
            key: Arc::clone(&self.key),
            value: Arc::clone(&self.value),
            buffer: Vec::new(),
        };
        SinkOp { node: self.node, route, encoder }
    }
}

impl<K: Data, V: Data> Build<K, V> for Sink<K, V> {
    fn build(&self, task: &mut TaskBuilder) -> Edge<K, V> {
        Box::new(self.running(task))
    }
}

/// The same sink behind a table: a deleted row is written as null.
impl<K: Data, V: Data> Build<K, Change<V>> for Sink<K, V> {
    fn build(&self, task: &mut TaskBuilder) -> Edge<K, Change<V>> {
        Box::new(self.running(task))
    }
}

impl<K: Data, V: Data> SinkOp<K, V> {
    fn write(&mut self, cx: &mut Cx<'_>, record: &Record<K, Option<&V>>) -> Result<()> {
        let encoded = match self.encoder.encode(&record.key, record.value) {
            Ok(encoded) => encoded,
            Err(error) => {
                cx.fail(self.node, FailureStage::Produce, error);
                return Ok(());
            }
        };
        let (key, value) = self.encoder.key_and_value(&encoded);
        let partition_by = key.map(|key| self.encoder.key.partition_bytes(key));
        let headers = cx.headers.view();
        let out = OutRecord { timestamp: record.timestamp, key, partition_by, value, headers };
        let appended = match (&self.route, record.value) {
            (Route::Target(target), _) => cx.collector.append(*target, out),
            (Route::Chosen(choose), Some(value)) => {
                cx.collector.append_to(&choose(&record.key, value), out)
            }
            (Route::Chosen(_), None) => Ok(()),
        };
        match appended {
            Err(error) if error.kind() == ErrorKind::Data => {
                cx.fail(self.node, FailureStage::Produce, error);
                Ok(())
            }
            appended => appended,
        }
    }
}

impl<K: Data, V: Data> Push<K, V> for SinkOp<K, V> {
    fn push(&mut self, cx: &mut Cx<'_>, record: Record<K, V>) -> Result<()> {
        let Record { key, value, timestamp } = record;
        self.write(cx, &Record { key, value: Some(&value), timestamp })
    }
}

impl<K: Data, V: Data> Push<K, Change<V>> for SinkOp<K, V> {
    fn push(&mut self, cx: &mut Cx<'_>, record: Record<K, Change<V>>) -> Result<()> {
        let Record { key, value, timestamp } = record;
        self.write(cx, &Record { key, value: value.new.as_ref(), timestamp })
    }
}
