//! How are windowed keys written? The bytes of Kafka Streams, in topics and in stores.
//!
//! | where | layout |
//! |---|---|
//! | window store and its changelog | key, start (8 bytes), sequence number (4 bytes) |
//! | topic of tumbling, hopping, sliding windows | key, start (8 bytes) |
//! | session store, its changelog, topic of sessions | key, end (8 bytes), start (8 bytes) |
//!
//! Numbers are big-endian and never negative, so the windows of one key sort by time. The end of a
//! window other than a session is not written; a reader must know the size.

use std::fmt;
use std::time::Duration;

use super::{Window, Windowed};
use crate::error::BoxError;
use crate::serde::{Codec, SharedCodec};
use crate::time::{Timestamp, millis};

/// Appends start and sequence number behind a key: the key of a window store.
pub fn append_window_store_key(out: &mut Vec<u8>, start: Timestamp, sequence: u32) {
    append_timestamp(out, start);
    out.extend_from_slice(&sequence.to_be_bytes());
}

/// The key, start and sequence number in a key of a window store.
pub fn split_window_store_key(bytes: &[u8]) -> Result<(&[u8], Timestamp, u32), BoxError> {
    let (rest, sequence) = bytes.split_last_chunk().ok_or_else(|| too_short(bytes))?;
    let (key, start) = split_timestamp(rest).ok_or_else(|| too_short(bytes))?;
    Ok((key, start, u32::from_be_bytes(*sequence)))
}

/// Appends the start behind a key: the key of a tumbling, hopping or sliding window in a topic.
pub fn append_window_key(out: &mut Vec<u8>, start: Timestamp) {
    append_timestamp(out, start);
}

/// The key and start in a window's key in a topic.
pub fn split_window_key(bytes: &[u8]) -> Result<(&[u8], Timestamp), BoxError> {
    split_timestamp(bytes).ok_or_else(|| too_short(bytes))
}

/// Appends end and start behind a key: the key of a session, in stores and topics.
pub fn append_session_key(out: &mut Vec<u8>, session: Window) {
    append_timestamp(out, session.end);
    append_timestamp(out, session.start);
}

/// The key and the window in a session's key.
pub fn split_session_key(bytes: &[u8]) -> Result<(&[u8], Window), BoxError> {
    let (rest, start) = split_timestamp(bytes).ok_or_else(|| too_short(bytes))?;
    let (key, end) = split_timestamp(rest).ok_or_else(|| too_short(bytes))?;
    Ok((key, Window { start, end }))
}

fn append_timestamp(out: &mut Vec<u8>, timestamp: Timestamp) {
    out.extend_from_slice(&timestamp.as_millis().to_be_bytes());
}

fn split_timestamp(bytes: &[u8]) -> Option<(&[u8], Timestamp)> {
    let (rest, last) = bytes.split_last_chunk()?;
    Some((rest, Timestamp::from_millis(i64::from_be_bytes(*last))))
}

#[cold]
fn too_short(bytes: &[u8]) -> BoxError {
    format!("{} bytes are too few for a windowed key", bytes.len()).into()
}

/// The codec of [`Windowed`] keys of tumbling, hopping and sliding windows in topics.
///
/// Records go to the partition of the key without its window, so that all windows of a key are
/// together, and with the records they were made from.
pub struct TimeWindowedCodec<K> {
    size: Duration,
    inner: SharedCodec<K>,
}

impl<K> TimeWindowedCodec<K> {
    /// Windows of this size (sliding windows: of this time difference) over keys of `inner`.
    pub const fn new(size: Duration, inner: SharedCodec<K>) -> Self {
        Self { size, inner }
    }
}

impl<K> fmt::Debug for TimeWindowedCodec<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimeWindowedCodec").field("size", &self.size).finish_non_exhaustive()
    }
}

impl<K: 'static> Codec<Windowed<K>> for TimeWindowedCodec<K> {
    fn encode(&self, windowed: &Windowed<K>, out: &mut Vec<u8>) -> Result<(), BoxError> {
        self.inner.encode(&windowed.key, out)?;
        append_window_key(out, windowed.window.start);
        Ok(())
    }

    fn decode(&self, bytes: &[u8]) -> Result<Windowed<K>, BoxError> {
        let (key, start) = split_window_key(bytes)?;
        let window = Window::new(start, start.plus_millis(millis(self.size)));
        Ok(Windowed { key: self.inner.decode(key)?, window })
    }

    fn partition_bytes<'a>(&self, encoded: &'a [u8]) -> &'a [u8] {
        self.inner.partition_bytes(split_window_key(encoded).map_or(encoded, |(key, _)| key))
    }
}

/// The codec of [`Windowed`] keys of sessions in topics.
///
/// Records go to the partition of the key without its window.
pub struct SessionWindowedCodec<K> {
    inner: SharedCodec<K>,
}

impl<K> SessionWindowedCodec<K> {
    /// Sessions over keys of `inner`.
    pub const fn new(inner: SharedCodec<K>) -> Self {
        Self { inner }
    }
}

impl<K> fmt::Debug for SessionWindowedCodec<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionWindowedCodec")
    }
}

impl<K: 'static> Codec<Windowed<K>> for SessionWindowedCodec<K> {
    fn encode(&self, windowed: &Windowed<K>, out: &mut Vec<u8>) -> Result<(), BoxError> {
        self.inner.encode(&windowed.key, out)?;
        append_session_key(out, windowed.window);
        Ok(())
    }

    fn decode(&self, bytes: &[u8]) -> Result<Windowed<K>, BoxError> {
        let (key, window) = split_session_key(bytes)?;
        Ok(Windowed { key: self.inner.decode(key)?, window })
    }

    fn partition_bytes<'a>(&self, encoded: &'a [u8]) -> &'a [u8] {
        self.inner.partition_bytes(split_session_key(encoded).map_or(encoded, |(key, _)| key))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::serde::Canonical;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    fn windowed(start: i64, end: i64) -> Windowed<String> {
        Windowed::new("ab".to_owned(), Window::new(at(start), at(end)))
    }

    #[test]
    fn window_store_keys_are_key_start_sequence() {
        let mut bytes = b"ab".to_vec();
        append_window_store_key(&mut bytes, at(0x0102), 3);
        assert_eq!(bytes, b"ab\0\0\0\0\0\0\x01\x02\0\0\0\x03");
        assert_eq!(split_window_store_key(&bytes).unwrap(), (&b"ab"[..], at(0x0102), 3));
    }

    #[test]
    fn windowed_keys_in_topics_are_key_start() {
        let codec = TimeWindowedCodec::new(Duration::from_millis(10), Arc::new(Canonical));
        let mut bytes = Vec::new();
        codec.encode(&windowed(5, 15), &mut bytes).unwrap();
        assert_eq!(bytes, b"ab\0\0\0\0\0\0\0\x05");
        assert_eq!(codec.decode(&bytes).unwrap(), windowed(5, 15));
        assert_eq!(codec.partition_bytes(&bytes), b"ab");
    }

    #[test]
    fn session_keys_are_key_end_start() {
        let codec = SessionWindowedCodec::new(Arc::new(Canonical));
        let mut bytes = Vec::new();
        codec.encode(&windowed(5, 15), &mut bytes).unwrap();
        assert_eq!(bytes, b"ab\0\0\0\0\0\0\0\x0f\0\0\0\0\0\0\0\x05");
        assert_eq!(codec.decode(&bytes).unwrap(), windowed(5, 15));
        assert_eq!(codec.partition_bytes(&bytes), b"ab");
        assert_eq!(split_session_key(&bytes).unwrap(), (&b"ab"[..], windowed(5, 15).window));
    }

    #[test]
    fn an_empty_key_has_a_window_too() {
        let mut bytes = Vec::new();
        append_window_key(&mut bytes, at(7));
        assert_eq!(split_window_key(&bytes).unwrap(), (&b""[..], at(7)));
    }

    #[test]
    fn bytes_that_are_too_short_are_an_error() {
        assert!(split_window_key(&[0; 7]).is_err());
        assert!(split_window_store_key(&[0; 11]).is_err());
        assert!(split_session_key(&[0; 15]).is_err());
    }

    #[test]
    fn windows_of_one_key_sort_by_time() {
        let key = |start, sequence| {
            let mut bytes = b"k".to_vec();
            append_window_store_key(&mut bytes, at(start), sequence);
            bytes
        };
        assert!(key(1, 9) < key(2, 0) && key(255, 0) < key(256, 0) && key(2, 0) < key(2, 1));
    }
}
