//! A restored store equals the one that wrote the changelog.

use std::ops::{Bound, ControlFlow};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{INDEX, Random, Sent, commit, handle, memory, shared};
use crate::log::batch::{stamp_place, thaw};
use crate::log::{HeadersView, OpenBatch, Partitions, RecordBatch, TopicPartition};
use crate::serde::Canonical;
use crate::state::backend::MemoryBackend;
use crate::state::key_codec::{Layout, Place};
use crate::state::restore::{Restore, StoreToRestore};
use crate::state::timed::TimedStore;
use crate::state::{Backend, BytesLimit, Direction, DividedBytes, KeyValueStore, StateError};
use crate::time::Timestamp;
use crate::topology::{StoreKind, StoreSpec};

type Row = (Vec<u8>, Vec<u8>);

/// What a store may collect where its part does not matter.
const MEMORY: BytesLimit = BytesLimit::Fixed(1 << 20);

/// All rows of the store's part of a backend.
pub(super) fn dump(backend: &dyn Backend) -> Vec<Row> {
    let mut rows = Vec::new();
    let all = (Bound::Unbounded, Bound::Unbounded);
    let keep = &mut |key: &[u8], value: &[u8]| {
        rows.push((key.to_vec(), value.to_vec()));
        ControlFlow::Continue(())
    };
    backend.scan(INDEX, all, Direction::Ascending, keep).unwrap();
    rows
}

pub(super) fn spec(kind: StoreKind) -> StoreSpec {
    let name = Arc::from("rows");
    StoreSpec {
        name,
        kind,
        changelog: true,
        changelog_configs: Vec::new(),
        changelog_retention: None,
        in_memory: false,
    }
}

fn to_restore(kind: StoreKind, start: i64, end: i64) -> Vec<StoreToRestore> {
    vec![StoreToRestore {
        index: INDEX,
        spec: spec(kind),
        start,
        end,
        kept_since: None,
        run_limit: MEMORY,
    }]
}

/// The batch that holds these records from an offset on.
fn batch(base_offset: i64, records: &[Sent]) -> RecordBatch {
    let mut open = OpenBatch::new();
    for (timestamp, key, value) in records {
        open.append(*timestamp, Some(key), value.as_deref(), HeadersView::default());
    }
    let mut bytes = thaw(open.seal());
    stamp_place(&mut bytes, base_offset, 0);
    let partition = Partitions::default().id(&TopicPartition::new("changelog", 0));
    RecordBatch::new(partition, Bytes::from(bytes)).unwrap()
}

/// Restores a changelog in batches of random size, with a crash or two on the way.
fn restore(
    random: &mut Random,
    kind: StoreKind,
    log: &[Sent],
    mut backend: Box<dyn Backend>,
) -> Box<dyn Backend> {
    let end = log.len() as i64;
    loop {
        let start = backend.changelog_offset(INDEX).unwrap().unwrap_or(0);
        let run_bytes = [1, 200, 1 << 20][random.below(3) as usize];
        let mut stores = to_restore(kind, start, end);
        stores[0].run_limit = BytesLimit::Fixed(run_bytes);
        let mut restore = Restore::with_run_bytes(backend, stores, 0..=usize::MAX);
        let mut position = start;
        while !restore.is_done() {
            assert_eq!(restore.next_position(INDEX), Some(position));
            let count = 1 + random.below(20) as i64;
            let to = (position + count).min(end);
            // A fetch answers with whole batches, so it may begin before the position.
            let from = (position - random.below(3) as i64).max(0);
            restore.batch(INDEX, &batch(from, &log[from as usize..to as usize])).unwrap();
            position = to;
            if random.below(30) == 0 {
                break;
            }
        }
        let is_done = restore.is_done();
        let (passed, total) = restore.progress();
        assert!(passed <= total && is_done == (passed == total));
        backend = restore.finish().unwrap();
        assert_eq!(backend.changelog_offset(INDEX).unwrap(), Some(position));
        if is_done {
            return backend;
        }
    }
}

fn check_key_value(seed: u64, empty: Box<dyn Backend>) {
    let mut random = Random(seed);
    let original = memory();
    let codec = Arc::new(Canonical);
    let mut store = KeyValueStore::<String, u64>::new(
        handle(&original, 1 << 20),
        Arc::clone(&codec) as _,
        codec,
    );
    let mut log = Vec::new();
    for time in 0..300 {
        let key = format!("{}", random.below(20));
        let value = (random.below(4) > 0).then_some(random.next());
        store.put(key, value, Timestamp::from_millis(time)).unwrap();
        if random.below(10) == 0 {
            log.extend(commit(&mut store, &original));
        }
    }
    log.extend(commit(&mut store, &original));
    let restored = restore(&mut random, StoreKind::KeyValue, &log, empty);
    assert_eq!(dump(&*restored), dump(&**original.borrow()));
}

fn check_timed(seed: u64, layout: Layout, kind: StoreKind, empty: Box<dyn Backend>) {
    let mut random = Random(seed);
    let original = memory();
    let codec = Arc::new(Canonical);
    let mut store = TimedStore::<String, u64>::new(
        handle(&original, 1 << 20),
        layout,
        Arc::clone(&codec) as _,
        codec,
    );
    let (mut log, mut latest) = (Vec::new(), 0);
    for time in 0..300 {
        let key = ["", "a", "a\0", "b"][random.below(4) as usize].to_owned();
        let second = random.below(3) as i64;
        let place = Place { time: time - random.below(20) as i64, second };
        let value = (random.below(4) > 0).then_some(random.next());
        store.put(&key, place, value, Timestamp::from_millis(time)).unwrap();
        latest = latest.max(place.time);
        if random.below(10) == 0 {
            log.extend(commit(&mut store, &original));
        }
    }
    log.extend(commit(&mut store, &original));
    let floor = log.iter().map(|(_, key, _)| layout.split_place(key).unwrap().1.time).max();
    let floor = floor.unwrap() - 50;
    store.expire(floor, None).unwrap();
    commit(&mut store, &original);
    let restored = shared(restore(&mut random, kind, &log, empty));
    let mut store = TimedStore::<String, u64>::new(
        handle(&restored, 1 << 20),
        layout,
        Arc::new(Canonical),
        Arc::new(Canonical),
    );
    store.expire(floor, None).unwrap();
    commit(&mut store, &restored);
    assert_eq!(dump(&**restored.borrow()), dump(&**original.borrow()));
}

pub(super) fn check(seeds: std::ops::Range<u64>, empty: impl Fn() -> Box<dyn Backend>) {
    let retention = Duration::from_millis(50);
    let window = StoreKind::Window { retention, retain_duplicates: true };
    for seed in seeds {
        check_key_value(seed, empty());
        check_timed(seed, Layout::Window, window, empty());
        check_timed(seed, Layout::Session, StoreKind::Session { retention }, empty());
    }
}

#[test]
fn restored_store_equals_the_one_that_wrote_the_changelog() {
    check(0..100, || Box::new(MemoryBackend::new()));
}

#[test]
fn control_records_at_the_end_are_passed_by_the_reader_alone() {
    let backend = Box::new(MemoryBackend::new());
    let mut restore = Restore::new(backend, to_restore(StoreKind::KeyValue, 0, 3));
    let row = (Timestamp::ZERO, b"a".to_vec(), Some(b"1".to_vec()));
    restore.batch(INDEX, &batch(0, &[row.clone(), row])).unwrap();
    assert!(!restore.is_done());
    restore.caught_up(INDEX, 3);
    assert!(restore.is_done());
    assert_eq!((restore.restored(), restore.progress()), (2, (3, 3)));
    let backend = restore.finish().unwrap();
    assert_eq!(backend.changelog_offset(INDEX).unwrap(), Some(3));
}

#[test]
fn changelog_of_another_store_is_refused_by_name() {
    let kind = StoreKind::Session { retention: Duration::ZERO };
    let mut restore = Restore::new(Box::new(MemoryBackend::new()), to_restore(kind, 0, 1));
    let row = (Timestamp::ZERO, b"short".to_vec(), Some(Vec::new()));
    match restore.batch(INDEX, &batch(0, &[row])) {
        Err(StateError::Changelog(why)) => assert!(why.contains("`rows`"), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn stores_that_are_restored_together_collect_no_more_than_their_parts_of_the_memory() {
    let memory = DividedBytes::new(4 << 20);
    let rows = |from: i64| -> Vec<Sent> {
        let key = |row: i64| (from + row).to_be_bytes().to_vec();
        (0..64).map(|row| (Timestamp::ZERO, key(row), Some(vec![0; 1024]))).collect()
    };
    let largest = |others: usize| {
        let _others: Vec<_> = (0..others).map(|_| memory.part()).collect();
        let mut stores = to_restore(StoreKind::KeyValue, 0, 128 * 64);
        stores[0].run_limit = memory.part();
        let mut restore = Restore::new(Box::new(MemoryBackend::new()), stores);
        let mut largest = 0;
        for offset in (0..128 * 64).step_by(64) {
            restore.batch(INDEX, &batch(offset, &rows(offset))).unwrap();
            largest = largest.max(restore.collected_bytes(INDEX));
        }
        largest
    };
    // A run is loaded with the batch that fills it, so that less than a batch lacks to its part.
    let sizes = [0, 1, 3, 1_000].map(largest);
    let parts = [4 << 20, 2 << 20, 1 << 20, 256 << 10];
    for (size, part) in sizes.into_iter().zip(parts) {
        assert!((part - (80 << 10)..part).contains(&size), "{size} of {part}");
    }
}
