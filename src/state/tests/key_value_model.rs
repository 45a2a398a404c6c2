//! A key-value store against a `BTreeMap`.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use super::{Random, commit, flush, handle, memory};
use crate::serde::Canonical;
use crate::state::{Direction, KeyValueStore, SharedBackend, Stamped, Store};
use crate::time::Timestamp;

type Model = BTreeMap<String, (u64, Timestamp)>;

struct Run {
    random: Random,
    backend: SharedBackend,
    store: KeyValueStore<String, u64>,
    now: Model,
    settled: Model,
    /// What the changelog says.
    folded: BTreeMap<Vec<u8>, Vec<u8>>,
}

fn open(random: &mut Random, backend: &SharedBackend) -> KeyValueStore<String, u64> {
    let cache_bytes = [0, 500, 1 << 20][random.below(3) as usize];
    KeyValueStore::new(handle(backend, cache_bytes), Arc::new(Canonical), Arc::new(Canonical))
}

impl Run {
    fn new(seed: u64, backend: SharedBackend) -> Self {
        let mut random = Random(seed);
        let store = open(&mut random, &backend);
        let (now, settled, folded) = (Model::new(), Model::new(), BTreeMap::new());
        Self { random, backend, store, now, settled, folded }
    }

    fn key(&mut self) -> String {
        let length = 1 + self.random.below(3);
        (0..length).map(|_| ['\0', 'a', 'b', '\u{e4}'][self.random.below(4) as usize]).collect()
    }

    fn step(&mut self) {
        let key = self.key();
        let time = Timestamp::from_millis(self.random.below(1_000) as i64);
        match self.random.below(20) {
            0..6 => self.update(&key, time),
            6..9 => {
                self.now.insert(key.clone(), (1, time));
                self.store.put(key, Some(1), time).unwrap();
            }
            9..11 => {
                self.now.remove(&key);
                self.store.put(key, None, time).unwrap();
            }
            11..15 => {
                let found = self.store.get(&key).unwrap().map(|(value, time)| (*value, time));
                assert_eq!(found, self.now.get(&key).copied());
            }
            15..17 => self.scan(),
            17 => self.commit(),
            18 => self.commit_with_changes_in_between(&key, time),
            _ => self.crash(),
        }
    }

    fn update(&mut self, key: &str, time: Timestamp) {
        let change = |row: &mut Option<Stamped<u64>>| {
            match row {
                Some(row) if row.value > 3 => return None,
                Some(row) => Some(row.value + 1),
                None => Some(1),
            }
            .map(|value| *row = Some(Stamped { value, timestamp: time }))
        };
        let kept = self.store.update(&key.to_owned(), |row| {
            let kept = change(row);
            if kept.is_none() {
                *row = None;
            }
            kept
        });
        if kept.unwrap().is_none() {
            self.now.remove(key);
        } else {
            let row = self.now.entry(key.to_owned()).or_insert((0, time));
            *row = (row.0 + 1, time);
        }
    }

    fn scan(&mut self) {
        let (a, b) = (self.key(), self.key());
        let from = [Bound::Unbounded, Bound::Included(&a), Bound::Excluded(&a)];
        let to = [Bound::Unbounded, Bound::Included(&b), Bound::Excluded(&b)];
        let range = (from[self.random.below(3) as usize], to[self.random.below(3) as usize]);
        let limit = 1 + self.random.below(20) as usize;
        let is_reverse = self.random.below(2) == 0;
        let mut seen = Vec::new();
        let visit = &mut |key: &String, value: &u64, time| {
            seen.push((key.clone(), (*value, time)));
            if seen.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        };
        let direction = if is_reverse { Direction::Descending } else { Direction::Ascending };
        self.store.scan(range, direction, visit).unwrap();
        let mut expected: Vec<_> = (self.now.iter())
            .filter(|(key, _)| crate::state::tests::contains(range, key))
            .map(|(key, row)| (key.clone(), *row))
            .collect();
        if is_reverse {
            expected.reverse();
        }
        expected.truncate(limit);
        assert_eq!(seen, expected);
    }

    fn fold(&mut self, sent: Vec<super::Sent>) {
        for (_, key, value) in sent {
            match value {
                Some(value) => self.folded.insert(key, value),
                None => self.folded.remove(&key),
            };
        }
        let rows = self.now.iter();
        let expected = rows.map(|(k, (v, _))| (k.clone().into_bytes(), v.to_be_bytes().to_vec()));
        assert_eq!(self.folded, expected.collect());
    }

    fn commit(&mut self) {
        let sent = commit(&mut self.store, &self.backend);
        self.fold(sent);
        self.settled = self.now.clone();
    }

    fn commit_with_changes_in_between(&mut self, key: &str, time: Timestamp) {
        let (sent, batch) = flush(&mut self.store);
        self.fold(sent);
        let flushed = self.now.clone();
        self.update(key, time);
        self.scan();
        self.backend.borrow_mut().write(&batch).unwrap();
        self.store.settled();
        self.settled = flushed;
        self.commit();
    }

    /// Drops the store without a flush: what is there afterwards is what was settled last.
    fn crash(&mut self) {
        self.store = open(&mut self.random, &self.backend);
        self.now = self.settled.clone();
        let rows = self.now.iter();
        self.folded =
            rows.map(|(k, (v, _))| (k.clone().into_bytes(), v.to_be_bytes().to_vec())).collect();
    }
}

pub(super) fn check(seeds: std::ops::Range<u64>, backend: impl Fn() -> SharedBackend) {
    for seed in seeds {
        let mut run = Run::new(seed, backend());
        (0..500).for_each(|_| run.step());
    }
}

#[test]
fn key_value_store_equals_a_sorted_map() {
    check(0..100, memory);
}
