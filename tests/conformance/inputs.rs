//! Which inputs? Random sequences with everything that windows and joins get wrong: nulls, ties,
//! records out of order, late, far too late, and jumps over thousands of windows.
//!
//! A seed gives the same steps on every machine. What a topology has no type for, or what a
//! deliberate difference is about, is left out by the scenario's [`Shape`] and nothing else.

use std::fmt;

/// One thing that happens to a topology.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// A record arrives.
    Record { topic: &'static str, timestamp: i64, key: Option<String>, value: Option<String> },
    /// The wall clock advances, in milliseconds.
    Tick(i64),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Record { topic, timestamp, key, value } => {
                let key = key.as_deref().unwrap_or("~");
                write!(f, "in {topic} {timestamp} {key} {}", value.as_deref().unwrap_or("~"))
            }
            Self::Tick(milliseconds) => write!(f, "tick {milliseconds}"),
        }
    }
}

/// What the steps of a scenario may look like.
#[expect(clippy::struct_excessive_bools, reason = "each allows one kind of step, on its own")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// Where records arrive.
    pub(crate) topics: &'static [&'static str],
    /// How many different keys at most.
    pub(crate) keys_max: u64,
    pub(crate) null_keys: bool,
    pub(crate) null_values: bool,
    /// Whether a record with a null value moves the time that others are late against.
    pub(crate) null_values_count: bool,
    /// Whether the wall clock moves.
    pub(crate) ticks: bool,
    /// Every timestamp is a multiple of this.
    pub(crate) grid: i64,
    pub(crate) lateness: Lateness,
}

/// How far a record may be behind the largest timestamp before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lateness {
    /// As far as it likes.
    Any,
    /// At most as far as the first, or farther than the second.
    NotBetween(i64, i64),
    /// At most this far.
    AtMost(i64),
}

impl Shape {
    /// Every hostile shape, on these topics.
    pub(crate) const fn of(topics: &'static [&'static str]) -> Self {
        Self {
            topics,
            keys_max: 4,
            null_keys: true,
            null_values: true,
            null_values_count: false,
            ticks: false,
            grid: 1,
            lateness: Lateness::Any,
        }
    }

    /// With the same key on every record that has one.
    pub(crate) const fn with_one_key(mut self) -> Self {
        self.keys_max = 1;
        self
    }

    /// With null values that are data like others.
    pub(crate) const fn counting_null_values(mut self) -> Self {
        self.null_values_count = true;
        self
    }

    /// Without nulls.
    pub(crate) const fn without_null(mut self) -> Self {
        self.null_keys = false;
        self.null_values = false;
        self
    }

    /// Without null keys, which would be data errors.
    pub(crate) const fn without_null_keys(mut self) -> Self {
        self.null_keys = false;
        self
    }

    /// With wall-clock ticks.
    pub(crate) const fn with_ticks(mut self) -> Self {
        self.ticks = true;
        self
    }

    /// With timestamps that are multiples of `grid`.
    pub(crate) const fn on_grid(mut self, grid: i64) -> Self {
        self.grid = grid;
        self
    }

    /// With late records as far as `lateness` says.
    pub(crate) const fn late(mut self, lateness: Lateness) -> Self {
        self.lateness = lateness;
        self
    }

    /// The steps of one seed.
    pub(crate) fn steps(&self, seed: u64) -> Vec<Step> {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x5851_F42D_4C95_7F2D);
        let mut generator = Generator::new(*self, &mut random);
        let length = 8 + random.below(48);
        (0..length).map(|_| generator.step(&mut random)).collect()
    }
}

/// The state of one sequence.
struct Generator {
    shape: Shape,
    /// How many different keys and values, so that some seeds meet often and some seldom.
    keys: u64,
    values: u64,
    /// The usual distance of two records.
    pace: i64,
    /// Percent of records that jump far ahead.
    jumps: u64,
    now: i64,
    /// The largest timestamp that any operator has counted.
    high: Option<i64>,
}

const LETTERS: &[&str] = &["a", "b", "c", "d", "e", "f", "g", "h"];

impl Generator {
    fn new(shape: Shape, random: &mut Random) -> Self {
        Self {
            shape,
            keys: 1 + random.below(shape.keys_max),
            values: 2 + random.below(7),
            pace: [0, 1, 2, 4, 9, 25][random.index(6)],
            jumps: [0, 0, 3, 10][random.index(4)],
            now: [0, 3, 40, 1_700_000_000_000][random.index(4)],
            high: None,
        }
    }

    fn step(&mut self, random: &mut Random) -> Step {
        if self.shape.ticks && random.below(4) == 0 {
            return Step::Tick([1, 3, 10, 11, 20, 35, 1000][random.index(7)]);
        }
        let topic = self.shape.topics[random.index(self.shape.topics.len())];
        let key = letter(random, self.keys, self.shape.null_keys);
        let value = letter(random, self.values, self.shape.null_values);
        let timestamp = self.timestamp(random);
        // A record without key moves no clock, so that it may not be what others are late against.
        if key.is_some() && (value.is_some() || self.shape.null_values_count) {
            self.high = self.high.max(Some(timestamp));
        }
        Step::Record { topic, timestamp, key, value }
    }

    fn timestamp(&mut self, random: &mut Random) -> i64 {
        let kind = random.below(100);
        let timestamp = if kind < self.jumps {
            self.now += [1_000, 70_000, 100_000_000, 5_000_000_000][random.index(4)];
            self.now
        } else if kind < 35 {
            // Late by a little, by about a window, or by far; time stands still meanwhile.
            let farthest = [3, 12, 30, 90, 2_000][random.index(5)];
            self.now - random.up_to(farthest)
        } else if kind < 50 {
            self.now
        } else {
            self.now += random.up_to(2 * self.pace);
            self.now
        };
        self.permitted(timestamp.max(0))
    }

    /// The timestamp, moved forward until grid and lateness allow it.
    fn permitted(&self, timestamp: i64) -> i64 {
        let grid = self.shape.grid;
        let timestamp = timestamp - timestamp % grid;
        let Some(high) = self.high else { return timestamp };
        let up = |timestamp: i64| (timestamp + grid - 1) / grid * grid;
        match self.shape.lateness {
            Lateness::Any => timestamp,
            Lateness::NotBetween(low, far) if high - timestamp > far => {
                debug_assert!(low <= far, "an empty range has no order");
                timestamp
            }
            Lateness::NotBetween(low, _) | Lateness::AtMost(low) => timestamp.max(up(high - low)),
        }
    }
}

fn letter(random: &mut Random, count: u64, nullable: bool) -> Option<String> {
    if nullable && random.below(10) == 0 {
        return None;
    }
    Some(LETTERS[random.below(count) as usize].to_owned())
}

/// `SplitMix64`: good enough to choose test data, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number less than `bound`.
    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// A number up to and including `last`.
    fn up_to(&mut self, last: i64) -> i64 {
        self.below(last as u64 + 1) as i64
    }

    fn index(&mut self, length: usize) -> usize {
        self.below(length as u64) as usize
    }
}
