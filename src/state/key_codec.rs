//! Which bytes does a row have? Keys of changelogs and of backends, and stamped values.

use crate::time::Timestamp;

/// Bytes of the timestamp ahead of a row's value in a backend.
const STAMP_BYTES: usize = 8;

/// Begins a backend row: the timestamp. The value's bytes follow.
pub(super) fn begin_row(timestamp: Timestamp, out: &mut Vec<u8>) {
    out.clear();
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
    /// The first eight bytes, padded with zeros: equal prefixes are decided by the bytes.
    prefix: u64,
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
        let key = &self.bytes[start..];
        let mut prefix = [0; 8];
        let shared = key.len().min(prefix.len());
        prefix[..shared].copy_from_slice(&key[..shared]);
        let length = key.len() as u32;
        self.keys.push(SortKey { prefix: u64::from_be_bytes(prefix), start, length, item });
        Ok(())
    }

    pub(super) fn sort(&mut self) {
        let bytes = &self.bytes;
        let of = |key: &SortKey| &bytes[key.start..key.start + key.length as usize];
        self.keys.sort_unstable_by(|a, b| a.prefix.cmp(&b.prefix).then_with(|| of(a).cmp(of(b))));
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &[u8])> {
        self.keys
            .iter()
            .map(|key| (key.item, &self.bytes[key.start..key.start + key.length as usize]))
    }
}
