//! Stores restored from a changelog: the last record of each key is there, and nothing else.

use std::collections::BTreeMap;
use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};
use bytes::Bytes;
use millstream::Timestamp;
use millstream::fuzzing::{restored, time_in_changelog};
use millstream::log::{HeadersView, OpenBatch, RecordBatch};
use millstream::topology::StoreKind;

use super::batch::{mended, partition};

#[derive(Arbitrary, Debug)]
struct Change {
    key: Vec<u8>,
    time: i64,
    second: i64,
    stamp: i64,
    value: Option<Vec<u8>>,
}

type Rows = BTreeMap<Vec<u8>, (i64, Vec<u8>)>;

pub(crate) fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let Ok((kind, changes)) = <(u8, Vec<Change>)>::arbitrary(&mut input) else { return };
    let retention = Duration::from_millis([0, 10, u64::MAX][usize::from(kind / 3 % 3)]);
    let kind = match kind % 3 {
        0 => StoreKind::KeyValue,
        1 => StoreKind::Window { retention, retain_duplicates: false },
        _ => StoreKind::Session { retention },
    };
    foreign(kind, data);
    let records: Vec<_> = changes.into_iter().map(|change| record(kind, change)).collect();
    let mut open = OpenBatch::new();
    for (key, stamp, value) in &records {
        let time = Timestamp::from_millis(*stamp);
        open.append(time, Some(key), value.as_deref(), HeadersView::default());
    }
    let batch = RecordBatch::new(partition(), open.seal()).expect("it was written just now");
    let rows = restored(kind, &batch).expect("every key has a time where one is due");
    assert_eq!(rows, expected(kind, retention, records));
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    [0, 1, 2, 4, 5].map(|kind| [vec![kind], (0..=255).collect(), vec![1; 200]].concat()).into()
}

/// A changelog that something else has written.
fn foreign(kind: StoreKind, data: &[u8]) {
    if let Ok(batch) = RecordBatch::new(partition(), Bytes::from(mended(data))) {
        drop(restored(kind, &batch));
    }
}

type Record = (Vec<u8>, i64, Option<Vec<u8>>);

fn record(kind: StoreKind, change: Change) -> Record {
    let mut key = change.key;
    match kind {
        StoreKind::KeyValue => {}
        StoreKind::Window { .. } => {
            key.extend(change.time.to_be_bytes());
            key.extend((change.second as u32).to_be_bytes());
        }
        StoreKind::Session { .. } => {
            key.extend(change.time.to_be_bytes());
            key.extend(change.second.to_be_bytes());
        }
    }
    (key, change.stamp, change.value)
}

/// The slow way.
fn expected(kind: StoreKind, retention: Duration, records: Vec<Record>) -> Rows {
    let mut rows = Rows::new();
    let latest = records.iter().filter_map(|(key, ..)| time_in_changelog(kind, key)).max();
    for (key, stamp, value) in records {
        match value {
            Some(value) => drop(rows.insert(key, (stamp, value))),
            None => drop(rows.remove(&key)),
        }
    }
    let retention = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
    if let Some(latest) = latest {
        let expired = latest.saturating_sub(retention);
        rows.retain(|key, _| time_in_changelog(kind, key).is_some_and(|time| time >= expired));
    }
    rows
}
