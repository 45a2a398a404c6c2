//! What window and session stores promise, case by case.

use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use super::{commit, flush, handle, memory};
use crate::serde::Canonical;
use crate::state::{
    Direction, Duplicates, SessionStore, SharedBackend, Stamped, Store, WindowStore,
};
use crate::time::Timestamp;
use crate::window::Window;

const fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn windows(backend: &SharedBackend, duplicates: Duplicates) -> WindowStore<String, u64> {
    let codec = Arc::new(Canonical);
    WindowStore::new(handle(backend, 0), duplicates, Arc::clone(&codec) as _, codec)
}

fn sessions(backend: &SharedBackend) -> SessionStore<String, u64> {
    SessionStore::new(handle(backend, 0), Arc::new(Canonical), Arc::new(Canonical))
}

fn fetch(store: &mut WindowStore<String, u64>, key: &str, range: (i64, i64)) -> String {
    let mut rows = Vec::new();
    let range = (at(range.0), at(range.1));
    store
        .fetch(&key.to_owned(), range, Direction::Ascending, &mut |start, value, _| {
            rows.push(format!("{start}={value}"));
            ControlFlow::Continue(())
        })
        .unwrap();
    rows.join(" ")
}

fn by_time(store: &WindowStore<String, u64>, from: i64, to: i64) -> String {
    let mut rows = Vec::new();
    store
        .scan_by_time((at(from), at(to)), &mut |key, start, value, _| {
            rows.push(format!("{key}@{start}={value}"));
            ControlFlow::Continue(())
        })
        .unwrap();
    rows.join(" ")
}

#[test]
fn windows_of_a_key_are_fetched_over_memory_and_backend() {
    let backend = memory();
    let mut store = windows(&backend, Duplicates::Replaced);
    for (key, start, value) in [("a", 10, 1), ("ab", 10, 2), ("a", 0, 3), ("a\0", 10, 4)] {
        store.put(&key.to_owned(), at(start), Some(value), at(start + 1)).unwrap();
    }
    commit(&mut store, &backend);
    store.put(&"a".to_owned(), at(20), Some(5), at(21)).unwrap();
    store.put(&"a".to_owned(), at(0), None, at(22)).unwrap();
    assert_eq!(fetch(&mut store, "a", (0, 20)), "10=1 20=5");
    assert_eq!(by_time(&store, 0, 15), "a@10=1 a\0@10=4 ab@10=2");
    let mut all = Vec::new();
    let visit = &mut |key: &String, start, value: &u64, _| {
        all.push(format!("{key}@{start}={value}"));
        ControlFlow::Continue(())
    };
    store.scan((Bound::Unbounded, Bound::Unbounded), visit).unwrap();
    assert_eq!(all.join(" "), "a@10=1 a@20=5 a\0@10=4 ab@10=2");
}

#[test]
fn expired_windows_are_shown_once_and_leave_without_a_tombstone() {
    let backend = memory();
    let mut store = windows(&backend, Duplicates::Replaced);
    for (key, start) in [("b", 0), ("a", 0), ("a", 10), ("a", 20)] {
        store.put(&key.to_owned(), at(start), Some(1), at(start)).unwrap();
    }
    commit(&mut store, &backend);
    store.put(&"c".to_owned(), at(5), Some(2), at(5)).unwrap();
    let mut left = Vec::new();
    let visit = &mut |key: &String, start, _: &u64, _| left.push(format!("{key}@{start}"));
    store.expire(at(20), Some(visit)).unwrap();
    store.expire(at(15), Some(visit)).unwrap();
    assert_eq!(left.join(" "), "a@0 b@0 c@5 a@10");
    assert_eq!(fetch(&mut store, "a", (0, 100)), "20=1");
    store.put(&"a".to_owned(), at(19), Some(9), at(19)).unwrap();
    assert!(store.get(&"a".to_owned(), at(19)).unwrap().is_none(), "it is gone for good");
    let sent = commit(&mut store, &backend);
    assert!(sent.iter().all(|(_, _, value)| value.is_some()), "{sent:?}");
    let reopened = windows(&backend, Duplicates::Replaced);
    assert_eq!(by_time(&reopened, 0, 100), "a@20=1");
    let mut rows = 0;
    let all = (Bound::Unbounded, Bound::Unbounded);
    let count = &mut |_: &[u8], _: &[u8]| {
        rows += 1;
        ControlFlow::Continue(())
    };
    backend.borrow().scan(super::INDEX, all, Direction::Ascending, count).unwrap();
    assert_eq!(rows, 2, "one row and its place in the time index are left");
}

#[test]
fn expiry_that_was_not_committed_is_forgotten_by_a_crash() {
    let backend = memory();
    let mut store = windows(&backend, Duplicates::Replaced);
    store.put(&"a".to_owned(), at(0), Some(1), at(0)).unwrap();
    commit(&mut store, &backend);
    store.expire(at(10), None).unwrap();
    let _ = flush(&mut store);
    let mut reopened = windows(&backend, Duplicates::Replaced);
    assert_eq!(fetch(&mut reopened, "a", (0, 100)), "0=1");
}

#[test]
fn duplicates_stand_side_by_side_in_the_order_of_arrival() {
    let backend = memory();
    let mut store = windows(&backend, Duplicates::Retained);
    for value in [3, 1, 2] {
        store.add(&"a".to_owned(), at(7), value).unwrap();
        let sent = commit(&mut store, &backend);
        assert_eq!(sent.len(), 1);
    }
    store.add(&"a".to_owned(), at(6), 9).unwrap();
    assert_eq!(fetch(&mut store, "a", (0, 9)), "6=9 7=3 7=1 7=2");
    let sent = commit(&mut store, &backend);
    assert_eq!(sent[0].1, b"a\0\0\0\0\0\0\0\x06\0\0\0\x01");
}

#[test]
fn merged_session_is_a_tombstone_if_the_changelog_knows_it() {
    let backend = memory();
    let mut store = sessions(&backend);
    let key = "a".to_owned();
    let window = |start, end| Window { start: at(start), end: at(end) };
    store.put(&key, window(1, 5), Some(1), at(5)).unwrap();
    commit(&mut store, &backend);
    store.remove(&key, window(1, 5)).unwrap();
    store.put(&key, window(1, 8), Some(2), at(8)).unwrap();
    store.remove(&key, window(1, 8)).unwrap();
    store.put(&key, window(1, 9), Some(3), at(9)).unwrap();
    let sent = commit(&mut store, &backend);
    let kinds: Vec<_> = sent.iter().map(|(time, _, value)| (*time, value.is_some())).collect();
    assert_eq!(kinds, [(at(5), false), (at(9), true)]);
    let mut found = Vec::new();
    let visit = &mut |window: Window, value: &u64, _| {
        found.push((window.start, window.end, *value));
        ControlFlow::Continue(())
    };
    store.find(&key, at(9), at(20), visit).unwrap();
    store.find(&key, at(10), at(20), visit).unwrap();
    store.find(&key, at(0), at(0), visit).unwrap();
    assert_eq!(found, [(at(1), at(9), 3)]);
}

#[test]
fn window_is_updated_in_place() {
    let backend = memory();
    let mut store = windows(&backend, Duplicates::Replaced);
    for time in [3, 4] {
        let count = |row: &mut Option<Stamped<u64>>| {
            let count = row.as_ref().map_or(0, |row| row.value) + 1;
            *row = Some(Stamped { value: count, timestamp: at(time) });
            count
        };
        let counted = store.update(&"a".to_owned(), at(0), count).unwrap();
        assert_eq!(counted, time as u64 - 2);
    }
    assert!(store.dirty_bytes() > 0);
    let sent = commit(&mut store, &backend);
    assert_eq!(sent.len(), 1);
    assert_eq!((sent[0].0, &sent[0].2), (at(4), &Some(2_u64.to_be_bytes().to_vec())));
}

#[test]
fn the_latest_time_is_that_of_what_is_committed() {
    let backend = memory();
    let mut store = windows(&backend, Duplicates::Replaced);
    store.put(&"b".to_owned(), at(7), Some(1), at(9)).unwrap();
    assert_eq!(store.latest_stored().unwrap(), None);
    commit(&mut store, &backend);
    store.put(&"a".to_owned(), at(300), Some(1), at(300)).unwrap();
    store.put(&"z".to_owned(), at(2), Some(1), at(400)).unwrap();
    assert_eq!(store.latest_stored().unwrap(), Some(at(7)));
    commit(&mut store, &backend);
    assert_eq!(store.latest_stored().unwrap(), Some(at(300)));
    store.put(&"a".to_owned(), at(300), None, at(500)).unwrap();
    commit(&mut store, &backend);
    assert_eq!(store.latest_stored().unwrap(), Some(at(7)));

    let backend = memory();
    let mut store = sessions(&backend);
    store.put(&"a".to_owned(), Window::new(at(1), at(5)), Some(1), at(9)).unwrap();
    commit(&mut store, &backend);
    assert_eq!(store.latest_stored().unwrap(), Some(at(5)));
}
