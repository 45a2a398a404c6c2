//! Is every final result right, and there once? Random records, late ones and jumps of time
//! included, against naive references, while the process crashes and loses its state.
//!
//! The references are the definitions: for time windows and sessions a list of what is open, for
//! sliding windows the accepted records themselves.

use std::collections::BTreeMap;
use std::time::Duration;

use millstream::testing::TopologyTestDriver;
use millstream::{
    Emit, Guarantee, KTable, SessionWindows, SlidingWindows, StreamsBuilder, TimeWindows, Windowed,
};

use crate::shorthand::{drain, emit_windowed, ms, send, uncommitted};
use crate::windows::by_key;

const SIZE: i64 = 10;
const ADVANCE: i64 = 4;
const SEEDS: u64 = 60;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Hopping,
    Sliding,
    Session,
}

/// Windows that are open, by end, start and key: the values that they hold.
type Open = BTreeMap<(i64, i64, String), String>;

/// One record: key, timestamp and value.
type Input = (String, i64, String);

/// What should come out, by definition.
struct Model {
    kind: Kind,
    grace: i64,
    time: i64,
    open: Open,
    /// Sliding windows: the records that were in time for any window.
    accepted: Vec<Input>,
    results: Vec<String>,
}

impl Model {
    fn is_closed(&self, end: i64, time: i64) -> bool {
        match self.kind {
            Kind::Hopping => end + self.grace <= time,
            Kind::Sliding => end + self.grace < time,
            Kind::Session => end + SIZE + self.grace < time,
        }
    }

    fn take(&mut self, input: &Input) {
        let before = self.time;
        self.time = self.time.max(input.1);
        match self.kind {
            Kind::Hopping => self.hop(input),
            Kind::Sliding => self.slide(input, before),
            Kind::Session => self.join(input),
        }
        while let Some(((end, start, key), values)) = self.open.pop_first() {
            if !self.is_closed(end, self.time) {
                self.open.insert((end, start, key), values);
                break;
            }
            self.results.push(format!("[{key}@{start}/{end}]={values}"));
        }
    }

    fn hop(&mut self, (key, time, value): &Input) {
        let starts = (0..=*time / ADVANCE).map(|n| n * ADVANCE).filter(|s| s + SIZE > *time);
        for start in starts.collect::<Vec<_>>() {
            if !self.is_closed(start + SIZE, self.time) {
                self.open.entry((start + SIZE, start, key.clone())).or_default().push_str(value);
            }
        }
    }

    /// Lists the windows that have just closed: each left and right window of a record.
    fn slide(&mut self, input: &Input, before: i64) {
        for (key, time, _) in &self.accepted {
            for start in [(time - SIZE).max(0), time + 1] {
                let end = start + SIZE;
                if self.is_closed(end, before) || !self.is_closed(end, self.time) {
                    continue;
                }
                let held = self
                    .accepted
                    .iter()
                    .filter(|(other, time, _)| other == key && (start..=end).contains(time));
                let values: String = held.map(|(_, _, value)| value.as_str()).collect();
                if !values.is_empty() {
                    self.open.insert((end, start, key.clone()), values);
                }
            }
        }
        if !self.is_closed(input.1 + SIZE, self.time) {
            self.accepted.push(input.clone());
        }
    }

    fn join(&mut self, (key, time, value): &Input) {
        let touched = self.open.iter().filter(|((end, start, other), _)| {
            other == key && *end >= time - SIZE && *start <= time + SIZE
        });
        let touched: Vec<_> = touched
            .filter(|((end, ..), _)| !self.is_closed(*end, self.time))
            .map(|(session, values)| (session.clone(), values.clone()))
            .collect();
        let start = touched.iter().map(|((_, start, _), _)| *start).fold(*time, i64::min);
        let end = touched.iter().map(|((end, ..), _)| *end).fold(*time, i64::max);
        if self.is_closed(end, self.time) {
            return;
        }
        let mut joined: String = touched.iter().map(|(_, values)| values.as_str()).collect();
        joined.push_str(value);
        touched.iter().for_each(|(session, _)| drop(self.open.remove(session)));
        self.open.insert((end, start, key.clone()), joined);
    }
}

fn table(b: &StreamsBuilder, kind: Kind, grace: u64) -> KTable<Windowed<String>, String> {
    let join = |total: &mut String, value: String| total.push_str(&value);
    let (size, grace) = (ms(SIZE as u64), ms(grace));
    match kind {
        Kind::Hopping => {
            let windows = TimeWindows::hopping(size, ms(ADVANCE as u64)).grace(grace);
            by_key(b).windowed_by(windows).emit(Emit::OnWindowClose).reduce("joined", join)
        }
        Kind::Sliding => {
            let windows = SlidingWindows::of(size).grace(grace);
            by_key(b).windowed_by(windows).emit(Emit::OnWindowClose).reduce("joined", join)
        }
        Kind::Session => {
            let windows = SessionWindows::gap(size).grace(grace);
            by_key(b).windowed_by(windows).emit(Emit::OnWindowClose).reduce("joined", join)
        }
    }
}

/// The generator `SplitMix64`.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    fn inputs(&mut self) -> Vec<Input> {
        let mut now = self.below(30) as i64;
        let mut inputs: Vec<Input> = (0..60)
            .map(|number| {
                let kind = self.below(20);
                now += if kind == 0 { 500 } else { self.below(6) as i64 };
                let lateness = if kind < 9 { self.below(40) as i64 } else { 0 };
                let key = ["a", "b"][self.below(2) as usize].to_owned();
                (key, (now - lateness).max(0), char::from(b'A' + number % 26).to_string())
            })
            .collect();
        inputs.push(("z".to_owned(), now + 100_000, "last".to_owned()));
        inputs
    }
}

/// Commits now and then, and crashes, with the state lost or not.
fn disturb(driver: &mut TopologyTestDriver, random: &mut Random) {
    match random.below(12) {
        0..4 => driver.commit().unwrap(),
        4 => driver.crash().unwrap(),
        5 => {
            // The transaction that it left open has to time out.
            driver.crash_and_lose_state().unwrap();
            driver.advance(Duration::from_secs(11)).unwrap();
        }
        _ => {}
    }
}

fn check(kind: Kind) {
    for seed in 0..SEEDS {
        let mut random = Random(seed);
        let grace = [0, 3, 9][random.below(3) as usize];
        let mut driver = uncommitted(Guarantee::ExactlyOnce, |b| {
            emit_windowed(&table(b, kind, grace));
        });
        let (time, grace) = (i64::MIN / 2, grace as i64);
        let (open, accepted, results) = (Open::new(), Vec::new(), Vec::new());
        let mut model = Model { kind, grace, time, open, accepted, results };
        for input in random.inputs() {
            model.take(&input);
            send(&mut driver, "in", &format!("{}={}@{}", input.0, input.2, input.1));
            disturb(&mut driver, &mut random);
        }
        let out = drain(&mut driver, "out");
        let found: Vec<&str> =
            out.split(' ').filter_map(|line| Some(line.rsplit_once('@')?.0)).collect();
        assert_eq!(found, model.results, "{kind:?} with grace {grace} at seed {seed}");
    }
}

#[test]
fn every_hopping_window_comes_out_once_with_the_records_that_were_in_time() {
    check(Kind::Hopping);
}

#[test]
fn every_sliding_window_comes_out_once_with_the_records_within_its_bounds() {
    check(Kind::Sliding);
}

#[test]
fn every_session_comes_out_once_with_the_records_that_touched_it() {
    check(Kind::Session);
}
