//! Stores with a time against a `BTreeMap`.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use super::{Random, commit, contains, flush, handle, memory};
use crate::serde::Canonical;
use crate::state::key_codec::{Layout, Place};
use crate::state::timed::TimedStore;
use crate::state::{Direction, SharedBackend, Stamped, Store};
use crate::time::Timestamp;

type Rows = BTreeMap<(String, Place), (u64, Timestamp)>;
type Store64 = TimedStore<String, u64>;

struct Run {
    random: Random,
    backend: SharedBackend,
    layout: Layout,
    store: Store64,
    now: Rows,
    settled: Rows,
    floor: i64,
    clock: i64,
}

fn open(random: &mut Random, layout: Layout, backend: &SharedBackend) -> Store64 {
    let cache_bytes = [0, 1_000, 1 << 20][random.below(3) as usize];
    TimedStore::new(handle(backend, cache_bytes), layout, Arc::new(Canonical), Arc::new(Canonical))
}

impl Run {
    fn new(seed: u64, layout: Layout, backend: SharedBackend) -> Self {
        let mut random = Random(seed);
        let store = open(&mut random, layout, &backend);
        let (now, settled, floor, clock) = (Rows::new(), Rows::new(), i64::MIN, 0);
        Self { random, backend, layout, store, now, settled, floor, clock }
    }

    fn key(&mut self) -> String {
        let length = self.random.below(3);
        (0..length).map(|_| ['\0', 'a', 'b'][self.random.below(3) as usize]).collect()
    }

    fn place(&mut self) -> Place {
        self.clock += self.random.below(3) as i64;
        let time = self.clock - self.random.below(20) as i64;
        Place { time, second: self.random.below(3) as i64 }
    }

    fn step(&mut self) {
        let (key, place) = (self.key(), self.place());
        let stamp = Timestamp::from_millis(self.random.below(1_000) as i64);
        match self.random.below(24) {
            0..8 => self.update(&key, place, stamp),
            8..10 => {
                self.store.put(&key, place, None, stamp).unwrap();
                self.now.remove(&(key, place));
            }
            10..12 => {
                let found = self.store.get(&key, place).unwrap().map(|(v, time)| (*v, time));
                assert_eq!(found, self.now.get(&(key, place)).copied());
            }
            12..15 => self.fetch(&key, place.time),
            15 => self.scan_by_time(place.time),
            16 => self.scan(),
            17..19 => self.expire(place.time - 10),
            19..21 => self.commit(),
            21..23 => self.commit_with_changes_in_between(&key, place, stamp),
            _ => self.crash(),
        }
    }

    fn update(&mut self, key: &str, place: Place, stamp: Timestamp) {
        let add = |row: &mut Option<Stamped<u64>>| {
            let value = row.as_ref().map_or(0, |row| row.value) + 1;
            *row = (value < 4).then_some(Stamped { value, timestamp: stamp });
        };
        self.store.update(&key.to_owned(), place, add).unwrap();
        if place.time < self.floor {
            return;
        }
        let row = self.now.entry((key.to_owned(), place)).or_insert((0, stamp));
        *row = (row.0 + 1, stamp);
        if row.0 == 4 {
            self.now.remove(&(key.to_owned(), place));
        }
    }

    fn fetch(&mut self, key: &str, from: i64) {
        let to = from + self.random.below(10) as i64;
        let is_reverse = self.random.below(2) == 0;
        let mut seen = Vec::new();
        let visit = &mut |place, value: &u64, time| {
            seen.push((place, *value, time));
            ControlFlow::Continue(())
        };
        let direction = if is_reverse { Direction::Descending } else { Direction::Ascending };
        self.store.fetch(&key.to_owned(), (from, to), direction, visit).unwrap();
        let rows = self.now.iter().filter(|((k, p), _)| k == key && (from..=to).contains(&p.time));
        let mut expected: Vec<_> = rows.map(|((_, p), (v, time))| (*p, *v, *time)).collect();
        if is_reverse {
            expected.reverse();
        }
        assert_eq!(seen, expected);
    }

    fn in_order_of_time(&self, from: i64, to: i64) -> Vec<(i64, String, i64, u64)> {
        let rows = self.now.iter().filter(|((_, p), _)| (from..=to).contains(&p.time));
        let mut rows: Vec<_> =
            rows.map(|((k, p), (v, _))| (p.time, k.clone(), p.second, *v)).collect();
        rows.sort();
        rows
    }

    fn scan_by_time(&mut self, from: i64) {
        let to = from + self.random.below(20) as i64;
        let mut seen = Vec::new();
        let visit = &mut |key: &String, place: Place, value: &u64, _| {
            seen.push((place.time, key.clone(), place.second, *value));
            ControlFlow::Continue(())
        };
        self.store.scan_by_time((from, to), visit).unwrap();
        assert_eq!(seen, self.in_order_of_time(from, to));
    }

    fn scan(&mut self) {
        let (a, b) = (self.key(), self.key());
        let from = [Bound::Unbounded, Bound::Included(&a), Bound::Excluded(&a)];
        let to = [Bound::Unbounded, Bound::Included(&b), Bound::Excluded(&b)];
        let range = (from[self.random.below(3) as usize], to[self.random.below(3) as usize]);
        let mut seen = Vec::new();
        let visit = &mut |key: &String, place, value: &u64, time| {
            seen.push(((key.clone(), place), (*value, time)));
            ControlFlow::Continue(())
        };
        self.store.scan(range, visit).unwrap();
        let rows = self.now.iter().filter(|((key, _), _)| contains(range, key));
        assert_eq!(seen, rows.map(|(k, v)| (k.clone(), *v)).collect::<Vec<_>>());
    }

    fn expire(&mut self, before: i64) {
        let mut seen = Vec::new();
        let visit = &mut |key: &String, place: Place, value: &u64, _| {
            seen.push((place.time, key.clone(), place.second, *value));
        };
        if self.random.below(2) == 0 {
            self.store.expire(before, Some(visit)).unwrap();
            assert_eq!(seen, self.in_order_of_time(i64::MIN, before - 1));
        } else {
            self.store.expire(before, None).unwrap();
        }
        self.floor = self.floor.max(before);
        self.now.retain(|(_, place), _| place.time >= before);
    }

    fn commit(&mut self) {
        commit(&mut self.store, &self.backend);
        self.settled = self.now.clone();
        self.check_backend();
    }

    fn commit_with_changes_in_between(&mut self, key: &str, place: Place, stamp: Timestamp) {
        let (_, batch) = flush(&mut self.store);
        self.settled = self.now.clone();
        self.update(key, place, stamp);
        self.expire(place.time - 15);
        self.scan();
        self.scan_by_time(place.time - 5);
        self.backend.borrow_mut().write(&batch).unwrap();
        self.store.settled();
        self.scan_by_time(place.time - 5);
        self.check_backend();
    }

    /// Rows and time index are what was settled, one entry for one row, and nothing else.
    fn check_backend(&mut self) {
        let mut rows = 0;
        let all = (Bound::Unbounded, Bound::Unbounded);
        let count = &mut |_: &[u8], _: &[u8]| {
            rows += 1;
            ControlFlow::Continue(())
        };
        self.backend.borrow().scan(super::INDEX, all, Direction::Ascending, count).unwrap();
        assert_eq!(rows, self.settled.len() * 2);
    }

    /// Drops the store without a flush: what is there afterwards is what was settled last.
    fn crash(&mut self) {
        self.store = open(&mut self.random, self.layout, &self.backend);
        self.now = self.settled.clone();
        self.floor = i64::MIN;
        self.scan();
    }
}

pub(super) fn check(seeds: std::ops::Range<u64>, backend: impl Fn() -> SharedBackend) {
    for seed in seeds {
        let layout = if seed % 2 == 0 { Layout::Window } else { Layout::Session };
        let mut run = Run::new(seed, layout, backend());
        (0..500).for_each(|_| run.step());
    }
}

#[test]
fn store_with_a_time_equals_a_sorted_map() {
    check(0..100, memory);
}
