//! What is a row, and what is its key? Types with null and types without, where a table meets them.

use std::sync::Arc;

use crate::error::BoxError;
use crate::record::Data;
use crate::serde::{Codec, Nullable, SharedCodec};
use crate::topic::{TimestampExtractor, Topic};

/// A value that says what the row of a key is from now on: `V` itself, or an `Option<V>` whose
/// `None` deletes the row.
///
/// Where a value is an `Option`, name the row's type, for an option could be a row, too:
/// `stream.to_table::<Price>("prices")`.
pub trait IntoRow<V>: Data {
    /// The row; `None` where there is to be none.
    fn into_row(self) -> Option<V>;

    /// A codec of these values, over a codec of rows.
    fn codec_over(row: SharedCodec<V>) -> SharedCodec<Self>;

    /// A codec of rows, over a codec of these values.
    fn row_codec(codec: SharedCodec<Self>) -> SharedCodec<V>;

    /// The topic, with its tombstones.
    fn with_tombstones<K: Data>(topic: &Topic<K, Self>) -> Topic<K, Option<V>>;
}

impl<V: Data> IntoRow<V> for V {
    fn into_row(self) -> Option<V> {
        Some(self)
    }

    fn codec_over(row: SharedCodec<V>) -> SharedCodec<Self> {
        row
    }

    fn row_codec(codec: SharedCodec<Self>) -> SharedCodec<V> {
        codec
    }

    fn with_tombstones<K: Data>(topic: &Topic<K, Self>) -> Topic<K, Option<V>> {
        let mut nullable = topic.clone().nullable_values();
        nullable.timestamps = topic.timestamps.clone().map(|extract| {
            let of_row: TimestampExtractor<K, Option<V>> =
                Arc::new(move |key, row, logged| match row {
                    Some(row) => extract(key, row, logged),
                    None => logged,
                });
            of_row
        });
        nullable
    }
}

impl<V: Data> IntoRow<V> for Option<V> {
    fn into_row(self) -> Option<V> {
        self
    }

    fn codec_over(row: SharedCodec<V>) -> SharedCodec<Self> {
        Arc::new(Nullable::new(row))
    }

    fn row_codec(codec: SharedCodec<Self>) -> SharedCodec<V> {
        Arc::new(NotNull { codec })
    }

    fn with_tombstones<K: Data>(topic: &Topic<K, Self>) -> Topic<K, Option<V>> {
        topic.clone()
    }
}

/// The codec of an option, for values that are there.
struct NotNull<V> {
    codec: SharedCodec<Option<V>>,
}

impl<V: Data> Codec<V> for NotNull<V> {
    fn encode(&self, value: &V, out: &mut Vec<u8>) -> Result<(), BoxError> {
        self.codec.encode(&Some(value.clone()), out)
    }

    fn decode(&self, bytes: &[u8]) -> Result<V, BoxError> {
        self.codec.decode(bytes)?.ok_or_else(|| "null where a row is expected".into())
    }
}

/// A key under which a stream may be joined with a table of `K`: `K` itself, or an `Option<K>`
/// whose `None` meets no row.
pub trait JoinKey<K>: Data {
    /// The key, if there is one.
    fn join_key(&self) -> Option<&K>;

    /// The codec of these keys, over a codec of those that are there.
    fn codec_over(key: SharedCodec<K>) -> SharedCodec<Self>;
}

impl<K: Data> JoinKey<K> for K {
    fn join_key(&self) -> Option<&K> {
        Some(self)
    }

    fn codec_over(key: SharedCodec<K>) -> SharedCodec<Self> {
        key
    }
}

impl<K: Data> JoinKey<K> for Option<K> {
    fn join_key(&self) -> Option<&K> {
        self.as_ref()
    }

    fn codec_over(key: SharedCodec<K>) -> SharedCodec<Self> {
        Arc::new(Nullable::new(key))
    }
}
