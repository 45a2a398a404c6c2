//! Which decoders can hostile bytes reach that no user can call? What `tests/fuzz` needs of them.
//!
//! Compiled under `--cfg millstream_fuzz` only, which nothing but that crate sets, so that none of
//! this is a part of the library. Most are a *re-writing*: what the decoder read, encoded again.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use crate::error::BoxError;
use crate::log::RecordBatch;
use crate::log::batch::varint;
use crate::operator::change_codec::ChangeCodec;
use crate::operator::stream_join::WaitingStore;
use crate::serde::{Canonical, Codec};
use crate::state::backend::MemoryBackend;
use crate::state::{
    Direction, DividedBytes, Restore, StateError, StoreIndex, StoreToRestore, changelog_key,
    changelog_time,
};
use crate::task::metadata::CommitMetadata;
use crate::topology::{StoreKind, StoreSpec};

/// A varint, and how many bytes it took.
pub fn varint(bytes: &[u8]) -> Option<(i32, usize)> {
    let mut rest = bytes;
    let number = varint::take_i32(&mut rest)?;
    Some((number, bytes.len() - rest.len()))
}

/// The bytes of a varint.
pub fn varint_bytes(number: i64) -> Vec<u8> {
    let mut bytes = Vec::new();
    varint::put(&mut bytes, number);
    bytes
}

/// The metadata of a committed offset.
pub fn commit_metadata(text: &str) -> String {
    CommitMetadata::decode(text).encode()
}

/// A change of a table's row.
pub fn change(bytes: &[u8]) -> Result<Vec<u8>, BoxError> {
    let codec: ChangeCodec<String> = ChangeCodec { row: Arc::new(Canonical) };
    rewritten(&codec, bytes)
}

/// The key under which values of an outer join wait.
pub fn waiting_key(bytes: &[u8]) -> Result<Vec<u8>, BoxError> {
    rewritten(&*waiting().key_codec(), bytes)
}

/// The values of an outer join that wait under one key.
pub fn waiting_values(bytes: &[u8]) -> Result<Vec<u8>, BoxError> {
    rewritten(&*waiting().value_codec(), bytes)
}

fn waiting() -> WaitingStore<String, String, u32> {
    let (key, left, right) = (Arc::new(Canonical), Arc::new(Canonical), Arc::new(Canonical));
    WaitingStore { name: Arc::from("waiting"), key, left, right }
}

fn rewritten<T: 'static>(codec: &dyn Codec<T>, bytes: &[u8]) -> Result<Vec<u8>, BoxError> {
    let mut again = Vec::new();
    codec.encode(&codec.decode(bytes)?, &mut again)?;
    Ok(again)
}

/// The time in a key of a changelog.
pub fn time_in_changelog(kind: StoreKind, key: &[u8]) -> Option<i64> {
    changelog_time(kind, key).map(|(time, _)| time)
}

/// What a store holds after a restore: time and value by the changelog's keys.
pub fn restored(
    kind: StoreKind,
    batch: &RecordBatch,
) -> Result<BTreeMap<Vec<u8>, (i64, Vec<u8>)>, StateError> {
    const STORE: StoreIndex = StoreIndex(0);
    let spec = StoreSpec {
        name: Arc::from("fuzzed"),
        kind,
        changelog: true,
        changelog_configs: Vec::new(),
        changelog_retention: None,
        in_memory: true,
    };
    let run_limit = DividedBytes::new(1024 * 1024).part();
    let store = StoreToRestore {
        index: STORE,
        spec,
        start: 0,
        end: batch.next_offset(),
        kept_since: None,
        run_limit,
    };
    let mut restore = Restore::new(Box::new(MemoryBackend::new()), vec![store]);
    restore.batch(STORE, batch)?;
    assert!(restore.is_done(), "the batch reaches to the end");
    let backend = restore.finish()?;
    let mut rows = BTreeMap::new();
    let all = (Bound::Unbounded, Bound::Unbounded);
    backend.scan(STORE, all, Direction::Ascending, &mut |key, row| {
        if let Some((key, _)) = changelog_key(kind, key) {
            let (time, value) = row.split_first_chunk().expect("a row has a time");
            rows.insert(key, (i64::from_be_bytes(*time), value.to_vec()));
        }
        ControlFlow::Continue(())
    })?;
    Ok(rows)
}
