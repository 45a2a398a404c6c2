//! Which decoders of millstream meet bytes that it did not write, and what must hold then?
//!
//! A target is a function of bytes. libFuzzer calls it with bytes that it leads by the code they
//! reach (`guided.rs`), proptest with some thousand random ones in a test (`tests/bounded.rs`).
//!
//! # Invariants
//!
//! - A target panics if the library breaks a promise, and only then: it panics itself, allocates
//!   out of proportion to what it was given, or reads back other than was written.
//! - What a target does follows from its bytes alone, so that a finding can be repeated.

mod frugal;
mod targets;

use targets::{batch, changelog, commit, join, key, pipeline, records, stamp, value, window};

/// Something that is fuzzed.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    pub name: &'static str,
    pub run: fn(&[u8]),
    /// Inputs to begin with, written by the library's own encoders.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// How many inputs a bounded run takes.
    pub cases: u32,
}

/// All targets.
pub const TARGETS: &[Target] = &[
    Target { name: "batch", run: batch::run, seeds: batch::seeds, cases: 20_000 },
    Target { name: "records", run: records::run, seeds: records::seeds, cases: 10_000 },
    Target { name: "window", run: window::run, seeds: window::seeds, cases: 10_000 },
    Target { name: "key", run: key::run, seeds: key::seeds, cases: 10_000 },
    Target { name: "json", run: value::json, seeds: value::json_seeds, cases: 20_000 },
    Target {
        name: "messagepack",
        run: value::messagepack,
        seeds: value::messagepack_seeds,
        cases: 20_000,
    },
    Target { name: "bincode", run: value::bincode, seeds: value::bincode_seeds, cases: 20_000 },
    Target { name: "written", run: value::written, seeds: value::written_seeds, cases: 10_000 },
    Target { name: "join", run: join::run, seeds: join::seeds, cases: 20_000 },
    Target { name: "commit", run: commit::run, seeds: commit::seeds, cases: 20_000 },
    Target { name: "changelog", run: changelog::run, seeds: changelog::seeds, cases: 10_000 },
    Target { name: "stamp", run: stamp::run, seeds: stamp::seeds, cases: 1_000 },
    Target { name: "pipeline", run: pipeline::run, seeds: pipeline::seeds, cases: 1_500 },
];

/// The target of this name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
