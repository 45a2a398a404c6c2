//! Which records wait for a match that may still come? Those of a left or outer join, kept until
//! their window and grace have passed.
//!
//! Stored: under timestamp, side and key the values that wait, in the order of their arrival; in
//! the bytes of Kafka Streams' shared outer-join store, so that its changelog is this one's.
//!
//! # Invariants
//!
//! - Every stored row is listed under the time at which it expires; a listed row that was matched
//!   meanwhile is stored no more, and skipped.
//! - A row is stored from its arrival without a match until its first match or its expiry.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use crate::error::{BoxError, Error, ErrorKind, Result};
use crate::operator::build::{Shared, TaskBuilder};
use crate::record::Data;
use crate::serde::{Codec, Key, SharedCodec};
use crate::state::{KeyValueStore, Stamped};
use crate::time::Timestamp;
use crate::window::{JoinSide, JoinWindows};

/// Where a value waits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct WaitingKey<K> {
    timestamp: Timestamp,
    side: JoinSide,
    key: K,
}

/// A value of one of the two streams.
#[derive(Clone, Debug)]
pub(crate) enum OneOf<V, V2> {
    Left(V),
    Right(V2),
}

/// The store of waiting records: its name and codecs.
pub(crate) struct WaitingStore<K, V, V2> {
    pub(crate) name: Arc<str>,
    pub(crate) key: SharedCodec<K>,
    pub(crate) left: SharedCodec<V>,
    pub(crate) right: SharedCodec<V2>,
}

/// Records without a match, by the time at which they have none for good.
pub(super) struct Waiting<K, V, V2> {
    store: Shared<KeyValueStore<WaitingKey<K>, Vec<OneOf<V, V2>>>>,
    key: SharedCodec<K>,
    windows: JoinWindows,
    listed: BTreeMap<Place, K>,
    /// Whether `listed` holds what a restored store holds.
    is_listed: bool,
}

/// The order in which waiting records leave: by expiry, then time, right before left, then key.
type Place = (Timestamp, Timestamp, JoinSide, Vec<u8>);

impl<K: Key, V: Data, V2: Data> WaitingStore<K, V, V2> {
    pub(super) fn open(&self, task: &mut TaskBuilder, windows: JoinWindows) -> Waiting<K, V, V2> {
        Waiting {
            store: task.key_value_store(&self.name, &self.key_codec(), &self.value_codec()),
            key: Arc::clone(&self.key),
            windows,
            listed: BTreeMap::new(),
            is_listed: false,
        }
    }

    pub(crate) fn key_codec(&self) -> SharedCodec<WaitingKey<K>> {
        Arc::new(WaitingKeys(Arc::clone(&self.key)))
    }

    pub(crate) fn value_codec(&self) -> SharedCodec<Vec<OneOf<V, V2>>> {
        let (left, right) = (Arc::clone(&self.left), Arc::clone(&self.right));
        Arc::new(WaitingValues { left, right })
    }
}

impl<K: Key, V: Data, V2: Data> Waiting<K, V, V2> {
    /// Lists what a restored store holds; does so once.
    pub(super) fn list(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.is_listed, true) {
            return Ok(());
        }
        let mut keys = Vec::new();
        let store = Shared::clone(&self.store);
        store.borrow_mut().scan(
            (Bound::Unbounded, Bound::Unbounded),
            crate::state::Direction::Ascending,
            &mut |key, _, _| {
                keys.push(key.clone());
                ControlFlow::Continue(())
            },
        )?;
        keys.into_iter().try_for_each(|waiting| {
            let place = self.place(&waiting)?;
            self.listed.insert(place, waiting.key);
            Ok(())
        })
    }

    /// Keeps a value that has found no match so far.
    pub(super) fn add(
        &mut self,
        side: JoinSide,
        key: K,
        value: OneOf<V, V2>,
        timestamp: Timestamp,
    ) -> Result<()> {
        let waiting = WaitingKey { timestamp, side, key };
        self.store.borrow_mut().update(&waiting, |row| match row {
            Some(values) => values.value.push(value),
            None => *row = Some(Stamped { value: vec![value], timestamp }),
        })?;
        let place = self.place(&waiting)?;
        self.listed.insert(place, waiting.key);
        Ok(())
    }

    /// Forgets the values of a key and time on one side: they have been matched.
    pub(super) fn matched(&mut self, side: JoinSide, key: &K, timestamp: Timestamp) -> Result<()> {
        if self.listed.is_empty() {
            return Ok(());
        }
        let waiting = WaitingKey { timestamp, side, key: key.clone() };
        self.store.borrow_mut().update(&waiting, |row| *row = None)
    }

    /// Takes the next record that has expired; values of one key and time come together.
    pub(super) fn next_expired(
        &mut self,
        now: Timestamp,
    ) -> Result<Option<(K, Vec<OneOf<V, V2>>, Timestamp)>> {
        while let Some(entry) = self.listed.first_entry() {
            let &(expires_at, timestamp, side, _) = entry.key();
            if expires_at > now {
                break;
            }
            let waiting = WaitingKey { timestamp, side, key: entry.remove() };
            let values = self.store.borrow_mut().update(&waiting, Option::take)?;
            if let Some(values) = values {
                return Ok(Some((waiting.key, values.value, timestamp)));
            }
        }
        Ok(None)
    }

    fn place(&self, waiting: &WaitingKey<K>) -> Result<Place> {
        let mut bytes = Vec::new();
        self.key.encode(&waiting.key, &mut bytes).map_err(|cause| {
            Error::new(ErrorKind::Fatal, "a key cannot be serialised").caused_by(cause)
        })?;
        let expires_at = self.windows.expires_at(waiting.side, waiting.timestamp);
        Ok((expires_at, waiting.timestamp, waiting.side, bytes))
    }
}

/// Timestamp (8 bytes), 1 for left or 0 for right, key.
struct WaitingKeys<K>(SharedCodec<K>);

impl<K: Data> Codec<WaitingKey<K>> for WaitingKeys<K> {
    fn encode(&self, waiting: &WaitingKey<K>, out: &mut Vec<u8>) -> Result<(), BoxError> {
        out.extend_from_slice(&waiting.timestamp.as_millis().to_be_bytes());
        out.push(u8::from(waiting.side == JoinSide::Left));
        self.0.encode(&waiting.key, out)
    }

    fn decode(&self, bytes: &[u8]) -> Result<WaitingKey<K>, BoxError> {
        let (timestamp, rest) = bytes.split_first_chunk().ok_or("too short for a timestamp")?;
        let (is_left, key) = rest.split_first().ok_or("no side behind the timestamp")?;
        let timestamp = Timestamp::from_millis(i64::from_be_bytes(*timestamp));
        let side = if *is_left == 0 { JoinSide::Right } else { JoinSide::Left };
        Ok(WaitingKey { timestamp, side, key: self.0.decode(key)? })
    }
}

/// Kafka's list of byte strings of various lengths: 1, count, then length and bytes of each; the
/// first of these bytes says the side, 1 for left, and the rest is the value.
struct WaitingValues<V, V2> {
    left: SharedCodec<V>,
    right: SharedCodec<V2>,
}

const VARIOUS_LENGTHS: u8 = 1;

impl<V: Data, V2: Data> Codec<Vec<OneOf<V, V2>>> for WaitingValues<V, V2> {
    fn encode(&self, values: &Vec<OneOf<V, V2>>, out: &mut Vec<u8>) -> Result<(), BoxError> {
        out.push(VARIOUS_LENGTHS);
        out.extend_from_slice(&i32::try_from(values.len())?.to_be_bytes());
        for value in values {
            let length_at = out.len();
            out.extend_from_slice(&[0; 4]);
            match value {
                OneOf::Left(value) => {
                    out.push(1);
                    self.left.encode(value, out)?;
                }
                OneOf::Right(value) => {
                    out.push(0);
                    self.right.encode(value, out)?;
                }
            }
            let length = i32::try_from(out.len() - length_at - 4)?;
            out[length_at..length_at + 4].copy_from_slice(&length.to_be_bytes());
        }
        Ok(())
    }

    fn decode(&self, bytes: &[u8]) -> Result<Vec<OneOf<V, V2>>, BoxError> {
        let (strategy, mut rest) = bytes.split_first().ok_or("an empty list has bytes, too")?;
        if *strategy != VARIOUS_LENGTHS {
            return Err(format!("a list of kind {strategy} where kind 1 is expected").into());
        }
        let count = take_length(&mut rest)?;
        let mut values = Vec::new();
        for _ in 0..count {
            let length = take_length(&mut rest)?;
            let (value, behind) = rest.split_at_checked(length).ok_or("a value is cut off")?;
            rest = behind;
            let (is_left, value) = value.split_first().ok_or("a value without a side")?;
            values.push(match is_left {
                0 => OneOf::Right(self.right.decode(value)?),
                _ => OneOf::Left(self.left.decode(value)?),
            });
        }
        if rest.is_empty() { Ok(values) } else { Err("bytes are left after the list".into()) }
    }
}

fn take_length(bytes: &mut &[u8]) -> Result<usize, BoxError> {
    let (length, rest) = bytes.split_first_chunk().ok_or("too short for a length")?;
    *bytes = rest;
    Ok(usize::try_from(i32::from_be_bytes(*length))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serde::Canonical;

    #[test]
    fn keys_sort_by_time_then_right_before_left_then_key() {
        let codec = WaitingKeys::<String>(Arc::new(Canonical));
        let encode = |timestamp, side, key: &str| {
            let timestamp = Timestamp::from_millis(timestamp);
            let mut bytes = Vec::new();
            codec.encode(&WaitingKey { timestamp, side, key: key.to_owned() }, &mut bytes).unwrap();
            bytes
        };
        let right = encode(7, JoinSide::Right, "b");
        assert_eq!(right, [0, 0, 0, 0, 0, 0, 0, 7, 0, b'b']);
        assert!(right < encode(7, JoinSide::Left, "a"));
        assert!(encode(7, JoinSide::Left, "a") < encode(8, JoinSide::Right, "a"));
        let decoded = codec.decode(&right).unwrap();
        assert_eq!((decoded.side, decoded.key.as_str()), (JoinSide::Right, "b"));
        assert!(codec.decode(&right[..8]).is_err());
    }

    #[test]
    fn values_are_a_list_of_sides_and_bytes() {
        let (left, right) = (Arc::new(Canonical), Arc::new(Canonical));
        let codec = WaitingValues::<String, u8> { left, right };
        let values = vec![OneOf::Left("ab".to_owned()), OneOf::Right(9)];
        let mut bytes = Vec::new();
        codec.encode(&values, &mut bytes).unwrap();
        assert_eq!(bytes, [1, 0, 0, 0, 2, 0, 0, 0, 3, 1, b'a', b'b', 0, 0, 0, 2, 0, 9]);
        let decoded = codec.decode(&bytes).unwrap();
        assert!(matches!(&decoded[..], [OneOf::Left(ab), OneOf::Right(9)] if ab == "ab"));
        for end in 0..bytes.len() {
            assert!(codec.decode(&bytes[..end]).is_err(), "cut at {end}");
        }
    }
}
