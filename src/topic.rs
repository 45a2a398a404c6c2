//! Which topic, and how are its records read and written? A topic owns its types and codecs.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::config::ErrorPolicy;
use crate::record::Data;
use crate::serde::{Canonical, Codec, Json, Key, MessagePack, Nullable, SharedCodec};
use crate::time::Timestamp;

/// Where reading begins on a partition for which the application has committed nothing, or an
/// offset that the log does not hold any more: then what is passed over is logged and counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OffsetReset {
    /// At the oldest record that is still there.
    #[default]
    Earliest,
    /// Behind the newest record.
    Latest,
    /// At the first record that is at most that much older than now.
    ByDuration(Duration),
    /// Nowhere: the application stops with an error that names the partition.
    None,
}

/// Chooses a record's timestamp from key, value and the timestamp that the log holds.
///
/// A negative result is invalid: the record goes to the error policy. So [`Timestamp::UNKNOWN`]
/// refuses a record whose time is far ahead, before stream time follows it and does not come back.
pub type TimestampExtractor<K, V> = Arc<dyn Fn(&K, &V, Timestamp) -> Timestamp + Send + Sync>;

/// A topic with the types of its keys and values and the codecs between them and bytes.
///
/// Declared once, it serves reading, writing and tests alike. Cheap to clone.
///
/// ```
/// use millstream::Topic;
///
/// let words = Topic::<String, String>::plain("words");
/// let prices = Topic::<u64, f64>::json("prices").nullable_values();
/// assert_eq!(prices.name(), "prices");
/// # let _ = words;
/// ```
pub struct Topic<K, V> {
    name: Arc<str>,
    key: SharedCodec<K>,
    value: SharedCodec<V>,
    pub(crate) offset_reset: OffsetReset,
    pub(crate) timestamps: Option<TimestampExtractor<K, V>>,
    pub(crate) on_error: Option<ErrorPolicy>,
}

impl<K: Data, V: Data> Topic<K, V> {
    /// A topic with codecs of your own.
    pub fn new(name: impl Into<Arc<str>>, key: impl Codec<K>, value: impl Codec<V>) -> Self {
        Self::shared(name.into(), Arc::new(key), Arc::new(value))
    }

    pub(crate) fn shared(name: Arc<str>, key: SharedCodec<K>, value: SharedCodec<V>) -> Self {
        let offset_reset = OffsetReset::default();
        Self { name, key, value, offset_reset, timestamps: None, on_error: None }
    }

    /// Canonical keys, values as JSON.
    pub fn json(name: impl Into<Arc<str>>) -> Self
    where
        K: Key,
        V: Serialize + DeserializeOwned,
    {
        Self::new(name, Canonical, Json)
    }

    /// Canonical keys, values as MessagePack with field names.
    pub fn messagepack(name: impl Into<Arc<str>>) -> Self
    where
        K: Key,
        V: Serialize + DeserializeOwned,
    {
        Self::new(name, Canonical, MessagePack)
    }

    /// Canonical keys, values by bincode 2.
    #[cfg(feature = "bincode")]
    pub fn bincode(name: impl Into<Arc<str>>) -> Self
    where
        K: Key,
        V: Serialize + DeserializeOwned,
    {
        Self::new(name, Canonical, crate::serde::Bincode)
    }

    /// Keys and values in their canonical bytes: strings, integers, raw bytes.
    pub fn plain(name: impl Into<Arc<str>>) -> Self
    where
        K: Key,
        V: Key,
    {
        Self::new(name, Canonical, Canonical)
    }

    /// The same topic where a value may be null: a tombstone, whose time is the log's.
    pub fn nullable_values(self) -> Topic<K, Option<V>> {
        let value: SharedCodec<Option<V>> = Arc::new(Nullable::new(self.value));
        let timestamps = self.timestamps.map(|extract| {
            let of_value: TimestampExtractor<K, Option<V>> = Arc::new(move |key, value, logged| {
                value.as_ref().map_or(logged, |value| extract(key, value, logged))
            });
            of_value
        });
        Topic {
            on_error: self.on_error,
            offset_reset: self.offset_reset,
            timestamps,
            ..Topic::shared(self.name, self.key, value)
        }
    }

    /// The same topic where a key may be null; such a record's time is the log's.
    pub fn nullable_keys(self) -> Topic<Option<K>, V> {
        let key: SharedCodec<Option<K>> = Arc::new(Nullable::new(self.key));
        let timestamps = self.timestamps.map(|extract| {
            let of_key: TimestampExtractor<Option<K>, V> = Arc::new(move |key, value, logged| {
                key.as_ref().map_or(logged, |key| extract(key, value, logged))
            });
            of_key
        });
        Topic {
            on_error: self.on_error,
            offset_reset: self.offset_reset,
            timestamps,
            ..Topic::shared(self.name, key, self.value)
        }
    }

    /// Where reading begins when nothing is committed, or what the log has lost. Default:
    /// `OffsetReset::Earliest`.
    #[must_use]
    pub fn offset_reset(mut self, reset: OffsetReset) -> Self {
        self.offset_reset = reset;
        self
    }

    /// Takes a record's time from its content. Default: the log's timestamp.
    #[must_use]
    pub fn timestamps(
        mut self,
        extract: impl Fn(&K, &V, Timestamp) -> Timestamp + Send + Sync + 'static,
    ) -> Self {
        self.timestamps = Some(Arc::new(extract));
        self
    }

    /// What happens where a record that is read from this topic cannot be decoded or processed, up
    /// to the next repartition, and where a result cannot be written to it.
    /// Default: the application's policy.
    #[must_use]
    pub fn on_error(mut self, policy: ErrorPolicy) -> Self {
        self.on_error = Some(policy);
        self
    }
}

impl<K, V> Topic<K, V> {
    /// The topic's name in the log.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn name_shared(&self) -> Arc<str> {
        Arc::clone(&self.name)
    }

    /// The codec between keys and bytes, for what reads or writes the topic beside a pipeline.
    pub fn key_codec(&self) -> SharedCodec<K> {
        Arc::clone(&self.key)
    }

    /// The codec between values and bytes, for what reads or writes the topic beside a pipeline.
    pub fn value_codec(&self) -> SharedCodec<V> {
        Arc::clone(&self.value)
    }
}

impl<K, V> Clone for Topic<K, V> {
    fn clone(&self) -> Self {
        Self {
            name: Arc::clone(&self.name),
            key: Arc::clone(&self.key),
            value: Arc::clone(&self.value),
            offset_reset: self.offset_reset,
            timestamps: self.timestamps.clone(),
            on_error: self.on_error.clone(),
        }
    }
}

impl<K, V> fmt::Debug for Topic<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Topic").field("name", &self.name).finish_non_exhaustive()
    }
}
