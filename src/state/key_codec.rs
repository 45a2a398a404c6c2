//! Which bytes does a row have? Keys of changelogs and of backends, and stamped values.

use std::time::Duration;

use crate::time::Timestamp;
use crate::topology::StoreKind;

/// Bytes of the timestamp ahead of a row's value in a backend.
const STAMP_BYTES: usize = 8;

/// Begins a backend row: the timestamp. The value's bytes follow.
pub(super) fn begin_row(timestamp: Timestamp, out: &mut Vec<u8>) {
    out.extend_from_slice(&timestamp.as_millis().to_be_bytes());
}

/// Timestamp and value of a backend row; `None` if the row is damaged.
pub(super) fn split_row(row: &[u8]) -> Option<(Timestamp, &[u8])> {
    let (stamp, value) = row.split_first_chunk::<STAMP_BYTES>()?;
    Some((Timestamp::from_millis(i64::from_be_bytes(*stamp)), value))
}

/// The value of a backend row, as the changelog holds it.
pub(super) fn row_value(row: &[u8]) -> &[u8] {
    &row[STAMP_BYTES..]
}

/// Serialised keys on their way to a flush, sortable without chasing a pointer for most pairs.
#[derive(Default)]
pub(super) struct SortedKeys {
    bytes: Vec<u8>,
    keys: Vec<SortKey>,
}

struct SortKey {
    /// The first bytes behind those that all keys share, padded with zeros; set by the sort. Equal
    /// prefixes are decided by the bytes.
    prefix: u128,
    start: usize,
    length: u32,
    item: u32,
}

impl SortedKeys {
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.keys.clear();
    }

    /// Adds the key that `encode` appends; `item` comes back beside it.
    pub(super) fn push<E>(
        &mut self,
        item: u32,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        let start = self.bytes.len();
        encode(&mut self.bytes)?;
        let length = (self.bytes.len() - start) as u32;
        self.keys.push(SortKey { prefix: 0, start, length, item });
        Ok(())
    }

    /// Bytes of all keys.
    pub(super) fn size_bytes(&self) -> usize {
        self.bytes.len() + self.keys.len() * size_of::<SortKey>()
    }

    /// Sorts by key; equal keys by item.
    pub(super) fn sort(&mut self) {
        let shared = self.shared_bytes();
        let bytes = &self.bytes;
        let of = |key: &SortKey| &bytes[key.start..key.start + key.length as usize];
        for key in &mut self.keys {
            key.prefix = prefix_of(&of(key)[shared..]);
        }
        self.keys.sort_unstable_by(|a, b| {
            a.prefix.cmp(&b.prefix).then_with(|| of(a).cmp(of(b))).then(a.item.cmp(&b.item))
        });
    }

    /// How many bytes all keys begin with alike.
    fn shared_bytes(&self) -> usize {
        let mut keys = self.iter().map(|(_, key)| key);
        let mut shared = keys.next().unwrap_or_default();
        for key in keys {
            let alike = shared.iter().zip(key).take_while(|(a, b)| a == b).count();
            shared = &shared[..alike];
        }
        shared.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &[u8])> {
        self.keys
            .iter()
            .map(|key| (key.item, &self.bytes[key.start..key.start + key.length as usize]))
    }
}

/// The first bytes of a key as a number that sorts as they do; zeros stand for those that it lacks.
fn prefix_of(key: &[u8]) -> u128 {
    if let Some(first) = key.first_chunk() {
        return u128::from_be_bytes(*first);
    }
    let mut first = [0; 16];
    first[..key.len()].copy_from_slice(key);
    u128::from_be_bytes(first)
}

/// The place of a row among the rows of its key; ascending by time.
///
/// Of a window: its start and its sequence number. Of a session: its end and its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) time: i64,
    pub(super) second: i64,
}

/// How a place is written behind the key in a changelog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// Start (8 bytes) and sequence number (4 bytes).
    Window,
    /// End (8 bytes) and start (8 bytes).
    Session,
}

impl Layout {
    /// Of a store with a time, and how long its rows are kept.
    pub(super) fn of(kind: StoreKind) -> Option<(Self, Duration)> {
        match kind {
            StoreKind::KeyValue => None,
            StoreKind::Window { retention, .. } => Some((Self::Window, retention)),
            StoreKind::Session { retention } => Some((Self::Session, retention)),
        }
    }

    pub(super) fn write_place(self, place: Place, out: &mut Vec<u8>) {
        out.extend_from_slice(&place.time.to_be_bytes());
        match self {
            Self::Window => out.extend_from_slice(&(place.second as u32).to_be_bytes()),
            Self::Session => out.extend_from_slice(&place.second.to_be_bytes()),
        }
    }

    /// Key and place of a changelog key; `None` if it is too short to hold a place.
    pub(super) fn split_place(self, bytes: &[u8]) -> Option<(&[u8], Place)> {
        let (rest, second) = match self {
            Self::Window => {
                let (rest, sequence) = bytes.split_last_chunk::<4>()?;
                (rest, i64::from(u32::from_be_bytes(*sequence)))
            }
            Self::Session => {
                let (rest, start) = bytes.split_last_chunk::<8>()?;
                (rest, i64::from_be_bytes(*start))
            }
        };
        let (key, time) = rest.split_last_chunk::<8>()?;
        Some((key, Place { time: i64::from_be_bytes(*time), second }))
    }
}

// Stores with a time keep two kinds of rows in a backend. Keys are escaped and terminated, so that
// no key's rows lie among those of another, and bytes sort as keys do; numbers are written with
// their sign bit turned, so that bytes sort as numbers do.
//
//   rows:        0 | key | time | second -> timestamp | value
//   time index:  1 | time | key | second -> nothing

/// Begins the keys of rows.
const ROWS: u8 = 0;
/// Begins the keys of the time index.
const TIMES: u8 = 1;
const TERMINATOR: [u8; 2] = [0, 0];
/// Stands behind a zero that is a part of the key.
const ESCAPED: u8 = 0xFF;

/// Begins the backend keys of all rows of a key.
pub(super) fn row_prefix(key: &[u8], out: &mut Vec<u8>) {
    out.push(ROWS);
    write_escaped(key, out);
}

/// Ends a backend key that [`row_prefix`] began.
pub(super) fn row_suffix(place: Place, out: &mut Vec<u8>) {
    write_ordered(place.time, out);
    write_ordered(place.second, out);
}

/// The key of the time index for a row whose escaped key and place these are.
pub(super) fn time_key(escaped: &[u8], place: Place, out: &mut Vec<u8>) {
    time_prefix(place.time, out);
    out.extend_from_slice(escaped);
    write_ordered(place.second, out);
}

/// Begins the keys of the time index for one time.
pub(super) fn time_prefix(time: i64, out: &mut Vec<u8>) {
    out.push(TIMES);
    write_ordered(time, out);
}

/// The bytes behind which no row and no time index is.
pub(super) const ROWS_FROM: &[u8] = &[ROWS];
/// Where the rows end and the time index begins.
pub(super) const TIMES_FROM: &[u8] = &[TIMES];

/// Escaped key and place of a row's backend key.
pub(super) fn split_row_key(bytes: &[u8]) -> Option<(&[u8], Place)> {
    let rest = bytes.strip_prefix(&[ROWS])?;
    let (rest, second) = split_ordered(rest)?;
    let (escaped, time) = split_ordered(rest)?;
    Some((escaped, Place { time, second }))
}

/// Escaped key and place of a key of the time index.
pub(super) fn split_time_key(bytes: &[u8]) -> Option<(&[u8], Place)> {
    let rest = bytes.strip_prefix(&[TIMES])?;
    let (time, rest) = rest.split_first_chunk::<8>()?;
    let (escaped, second) = split_ordered(rest)?;
    Some((escaped, Place { time: ordered(*time), second }))
}

/// The key that the changelog has for a row of a backend, and the row's time if it has one; `None`
/// for what is no row.
pub(crate) fn changelog_key(kind: StoreKind, row_key: &[u8]) -> Option<(Vec<u8>, Option<i64>)> {
    let Some((layout, _)) = Layout::of(kind) else { return Some((row_key.to_vec(), None)) };
    let (escaped, place) = split_row_key(row_key)?;
    let mut key = Vec::new();
    unescape(escaped, &mut key)?;
    layout.write_place(place, &mut key);
    Some((key, Some(place.time)))
}

/// Of a store with a time: the time in a changelog's key, and how long rows are kept behind it.
pub(crate) fn changelog_time(kind: StoreKind, key: &[u8]) -> Option<(i64, Duration)> {
    let (layout, retention) = Layout::of(kind)?;
    Some((layout.split_place(key)?.1.time, retention))
}

/// Appends the key that was escaped; `None` if the bytes are none.
pub(super) fn unescape(escaped: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut rest = escaped.strip_suffix(&TERMINATOR)?;
    while let Some(zero) = rest.iter().position(|byte| *byte == 0) {
        out.extend_from_slice(&rest[..=zero]);
        rest = rest[zero + 1..].strip_prefix(&[ESCAPED])?;
    }
    out.extend_from_slice(rest);
    Some(())
}

pub(super) fn write_escaped(key: &[u8], out: &mut Vec<u8>) {
    let mut rest = key;
    while let Some(zero) = rest.iter().position(|byte| *byte == 0) {
        out.extend_from_slice(&rest[..=zero]);
        out.push(ESCAPED);
        rest = &rest[zero + 1..];
    }
    out.extend_from_slice(rest);
    out.extend_from_slice(&TERMINATOR);
}

fn write_ordered(number: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(&(number ^ i64::MIN).to_be_bytes());
}

const fn ordered(bytes: [u8; 8]) -> i64 {
    i64::from_be_bytes(bytes) ^ i64::MIN
}

fn split_ordered(bytes: &[u8]) -> Option<(&[u8], i64)> {
    let (rest, number) = bytes.split_last_chunk::<8>()?;
    Some((rest, ordered(*number)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_keys_sort_as_keys_and_come_back() {
        let keys: [&[u8]; 8] =
            [b"", b"\0", b"\0\0", b"\0\xFF", b"a", b"a\0", b"a\0\0b", b"ab\xFF\xFF"];
        let row = |key: &[u8], time| {
            let mut bytes = Vec::new();
            row_prefix(key, &mut bytes);
            row_suffix(Place { time, second: 7 }, &mut bytes);
            bytes
        };
        let times = [i64::MIN, -1, 0, 1, i64::MAX];
        let rows: Vec<_> = keys.iter().flat_map(|key| times.map(|time| row(key, time))).collect();
        assert!(rows.is_sorted());
        for (index, bytes) in rows.iter().enumerate() {
            let (escaped, place) = split_row_key(bytes).unwrap();
            let mut key = Vec::new();
            unescape(escaped, &mut key).unwrap();
            assert_eq!(key, keys[index / times.len()]);
            assert_eq!(place, Place { time: times[index % times.len()], second: 7 });
        }
    }

    #[test]
    fn sorted_keys_ascend_whatever_they_share() {
        let ends: [&[u8]; 8] = [b"", b"\0", b"\0\0", b"a", b"a\0", b"\xFF", b"ab", b"a"];
        for shared in ["", "k", "a longer beginning that all keys share"] {
            let keys = ends.map(|end| [shared.as_bytes(), &[7; 15], end].concat());
            let mut sorted = SortedKeys::default();
            for (item, key) in keys.iter().enumerate() {
                sorted
                    .push(item as u32, |out| {
                        out.extend_from_slice(key);
                        Ok::<_, std::convert::Infallible>(())
                    })
                    .unwrap();
            }
            sorted.sort();
            let mut expected: Vec<_> = (0_u32..).zip(&keys).collect();
            expected.sort_by_key(|(item, key)| (*key, *item));
            let found: Vec<_> = sorted.iter().map(|(item, key)| (item, key.to_vec())).collect();
            let expected: Vec<_> = expected.into_iter().map(|(i, key)| (i, key.clone())).collect();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn changelog_keys_are_those_of_kafka_streams() {
        let mut window = b"k".to_vec();
        Layout::Window.write_place(Place { time: 258, second: 3 }, &mut window);
        assert_eq!(window, b"k\0\0\0\0\0\0\x01\x02\0\0\0\x03");
        let mut session = b"k".to_vec();
        Layout::Session.write_place(Place { time: 258, second: 1 }, &mut session);
        assert_eq!(session, b"k\0\0\0\0\0\0\x01\x02\0\0\0\0\0\0\0\x01");
        let place = Place { time: 258, second: 1 };
        assert_eq!(Layout::Session.split_place(&session), Some((b"k".as_slice(), place)));
        assert_eq!(Layout::Window.split_place(&session[..11]), None);
    }
}
