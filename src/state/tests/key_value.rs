//! What a key-value store promises, case by case.

use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use super::{INDEX, commit, flush, handle, memory};
use crate::serde::Canonical;
use crate::state::{Direction, KeyValueStore, SharedBackend, Stamped, Store};
use crate::time::Timestamp;

const fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn open(backend: &SharedBackend, cache_bytes: usize) -> KeyValueStore<String, u64> {
    KeyValueStore::new(handle(backend, cache_bytes), Arc::new(Canonical), Arc::new(Canonical))
}

fn add(store: &mut KeyValueStore<String, u64>, key: &str, amount: u64, time: i64) {
    let change = |row: &mut Option<Stamped<u64>>| match row {
        Some(row) => {
            row.value += amount;
            row.timestamp = row.timestamp.max(at(time));
        }
        None => *row = Some(Stamped { value: amount, timestamp: at(time) }),
    };
    store.update(&key.to_owned(), change).unwrap();
}

#[test]
fn flush_writes_each_dirty_key_once_in_key_order() {
    let backend = memory();
    let mut store = open(&backend, 1 << 20);
    for (key, time) in [("b", 1), ("a", 2), ("b", 3), ("ab", 4)] {
        add(&mut store, key, 1, time);
    }
    let (sent, batch) = flush(&mut store);
    let value = |count: u64| Some(count.to_be_bytes().to_vec());
    let expected = [
        (at(2), b"a".to_vec(), value(1)),
        (at(4), b"ab".to_vec(), value(1)),
        (at(3), b"b".to_vec(), value(2)),
    ];
    assert_eq!(sent, expected);
    let row = [2_i64.to_be_bytes(), 1_u64.to_be_bytes()].concat();
    assert_eq!(batch.rows().next(), Some((INDEX, b"a".as_slice(), Some(row.as_slice()))));
    assert_eq!(store.dirty_bytes(), 0);
    assert!(flush(&mut store).0.is_empty());
}

#[test]
fn nothing_reaches_the_backend_before_it_is_written() {
    let backend = memory();
    let mut store = open(&backend, 0);
    add(&mut store, "a", 1, 1);
    assert!(store.dirty_bytes() > 0);
    let (_, batch) = flush(&mut store);
    assert!(open(&backend, 0).get(&"a".to_owned()).unwrap().is_none());
    add(&mut store, "a", 5, 2);
    backend.borrow_mut().write(&batch).unwrap();
    store.settled();
    assert_eq!(store.get(&"a".to_owned()).unwrap(), Some((&6, at(2))), "dirty rows are kept");
    assert_eq!(open(&backend, 0).get(&"a".to_owned()).unwrap(), Some((&1, at(1))));
}

#[test]
fn deletion_is_a_tombstone_and_absence_is_no_change() {
    let backend = memory();
    let mut store = open(&backend, 1 << 20);
    store.update(&"never".to_owned(), |_| ()).unwrap();
    assert!(commit(&mut store, &backend).is_empty());
    add(&mut store, "a", 1, 7);
    commit(&mut store, &backend);
    store.update(&"a".to_owned(), |row| *row = None).unwrap();
    assert_eq!(commit(&mut store, &backend), [(at(7), b"a".to_vec(), None)]);
    store.put("b".to_owned(), None, at(9)).unwrap();
    assert_eq!(commit(&mut store, &backend), [(at(9), b"b".to_vec(), None)]);
}

#[test]
fn clean_rows_beyond_the_bound_are_evicted_and_come_back() {
    let backend = memory();
    let mut store = open(&backend, 2_000);
    for key in 0..1_000 {
        add(&mut store, &format!("{key:04}"), key, 1);
    }
    commit(&mut store, &backend);
    assert!(!store.cache_is_complete());
    for key in 0..1_000 {
        let value = store.get(&format!("{key:04}")).unwrap().map(|(value, _)| *value);
        assert_eq!(value, Some(key));
    }
    assert!(store.cached_keys() < 100, "{} keys are cached", store.cached_keys());
}

#[test]
fn scan_sees_changes_over_rows_in_both_directions() {
    let backend = memory();
    let mut store = open(&backend, 0);
    ["a", "b", "c", "d"].into_iter().for_each(|key| add(&mut store, key, 1, 1));
    commit(&mut store, &backend);
    store.put("b".to_owned(), None, at(2)).unwrap();
    add(&mut store, "bb", 3, 2);
    add(&mut store, "c", 1, 2);
    let mut seen = |direction, limit: usize| {
        let mut rows = Vec::new();
        let (from, to) = ("a".to_owned(), "d".to_owned());
        let range = (Bound::Included(&from), Bound::Excluded(&to));
        let visit = &mut |key: &String, value: &u64, _| {
            rows.push(format!("{key}{value}"));
            if rows.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        };
        store.scan(range, direction, visit).unwrap();
        rows.join(" ")
    };
    assert_eq!(seen(Direction::Ascending, 9), "a1 bb3 c2");
    assert_eq!(seen(Direction::Descending, 9), "c2 bb3 a1");
    assert_eq!(seen(Direction::Descending, 2), "c2 bb3");
}

#[test]
fn store_without_changelog_still_writes_its_rows() {
    let backend = memory();
    let no_changelog = crate::state::StoreHandle { changelog: false, ..handle(&backend, 0) };
    let mut store =
        KeyValueStore::<String, u64>::new(no_changelog, Arc::new(Canonical), Arc::new(Canonical));
    add(&mut store, "a", 1, 1);
    assert!(commit(&mut store, &backend).is_empty());
    assert_eq!(store.get(&"a".to_owned()).unwrap(), Some((&1, at(1))));
}

#[test]
fn value_that_the_codec_cannot_read_is_an_error_that_names_the_store() {
    let backend = memory();
    let mut store = open(&backend, 0);
    add(&mut store, "a", 1, 1);
    commit(&mut store, &backend);
    let mut other = KeyValueStore::<String, u32>::new(
        handle(&backend, 0),
        Arc::new(Canonical),
        Arc::new(Canonical),
    );
    let error = other.get(&"a".to_owned()).unwrap_err();
    assert_eq!(error.kind(), crate::ErrorKind::Fatal);
    assert!(error.to_string().contains("`rows`"), "{error}");
}
