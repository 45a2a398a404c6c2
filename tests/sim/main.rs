//! Do whole applications survive what goes wrong? Thousands of seeds over several pipelines.
//!
//! `MILLSTREAM_SEEDS` is the number of seeds of each pipeline (default: 50), `MILLSTREAM_FROM` the
//! first one, `MILLSTREAM_SEED` the single one to repeat.

#![allow(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

mod bugs;
mod pipelines;

use std::ops::Range;

/// The seeds of one test.
fn seeds() -> Range<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let from = number("MILLSTREAM_FROM").unwrap_or(0);
    from..from + number("MILLSTREAM_SEEDS").unwrap_or(50)
}
