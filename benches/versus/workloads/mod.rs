//! What is compared? Small pipelines, each with a twin in Java that reads and writes the same.
//!
//! To add one: a [`Workload`] in one of the files here, listed in its `ALL`, and a class in
//! `../java/` that implements `Pipeline`. Variants of one class are told apart by settings.

mod counts;
mod joins;
mod latency;
mod restore;
mod stateless;
mod windows;
mod words;

use millstream::{Materialized, StreamsBuilder, Topic};

use crate::input::Input;
use crate::options::Options;
use crate::outcome::Check;
use crate::settings::Settings;

/// A pipeline with its input and what both sides promise.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Workload {
    /// Such as W2, of the plan of measurements.
    pub(crate) group: &'static str,
    pub(crate) name: &'static str,
    pub(crate) question: &'static str,
    pub(crate) inputs: &'static [Input],
    pub(crate) pace: Pace,
    /// The class of the twin.
    pub(crate) java: &'static str,
    pub(crate) build: fn(&StreamsBuilder, &Settings),
    /// Told to both twins beside the common ones.
    pub(crate) settings: &'static [(&'static str, &'static str)],
    pub(crate) is_stateful: bool,
    pub(crate) is_exactly_once: bool,
    pub(crate) commit_ms: u64,
    /// Zero: every update leaves. Else one per key and commit, as far as Kafka Streams' cache
    /// holds.
    pub(crate) cache_bytes: u64,
    pub(crate) check: Check,
    /// Of the profile's records, for workloads that multiply them.
    pub(crate) records_divided_by: u64,
    /// Of every topic, instead of as many as the options say.
    pub(crate) partitions: Option<i32>,
    /// What the twin's process may take, in MiB, its share of the page cache included.
    pub(crate) cap_mb: Option<u64>,
}

/// When records come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// All are there before the start.
    Drain,
    /// A few are there, and only the start matters.
    Start,
    /// All are there before the start; then the state is lost, and what is measured is its return.
    Restore,
    /// So many a second while it runs.
    Rate(u64),
    /// None.
    Idle,
}

impl Pace {
    /// Whether there is an input that all sides drain.
    pub(crate) fn is_drained(self) -> bool {
        matches!(self, Self::Drain | Self::Start | Self::Restore)
    }

    /// Whether latency counts, not throughput.
    pub(crate) fn is_paced(self) -> bool {
        !matches!(self, Self::Drain | Self::Restore)
    }
}

impl Workload {
    /// What most of them have.
    const PLAIN: Self = Self {
        group: "",
        name: "",
        question: "",
        inputs: &[],
        pace: Pace::Drain,
        java: "",
        build: |_, _| {},
        settings: &[],
        is_stateful: true,
        is_exactly_once: false,
        commit_ms: 1_000,
        cache_bytes: 0,
        check: Check::Records,
        records_divided_by: 1,
        partitions: None,
        cap_mb: None,
    };

    pub(crate) fn guarantee(&self) -> &'static str {
        if self.is_exactly_once { "exactly-once" } else { "at-least-once" }
    }

    /// Whether it does under transactions what `other` does without.
    pub(crate) fn is_exactly_once_of(&self, other: &Self) -> bool {
        let work = |one: &Self| (one.java, one.inputs, one.settings, one.pace, one.cache_bytes);
        self.is_exactly_once && !other.is_exactly_once && work(self) == work(other)
    }

    /// Properties of our Kafka client: the same lingering as the twin's, where it can be the same.
    pub(crate) fn client_properties(&self, options: &Options) -> Vec<String> {
        let linger_ms = if self.pace.is_paced() { 0 } else { 100 };
        let own = [format!("linger.ms={linger_ms}")];
        own.into_iter().chain(options.ours.iter().cloned()).collect()
    }
}

/// Every workload.
pub(crate) fn all() -> impl Iterator<Item = &'static Workload> {
    let files: [&[Workload]; 7] = [
        stateless::ALL,
        counts::ALL,
        words::ALL,
        windows::ALL,
        joins::ALL,
        latency::ALL,
        restore::ALL,
    ];
    files.into_iter().flatten()
}

/// The inputs that are written before the runs, each with a workload that reads it.
pub(crate) fn inputs(chosen: &[&'static Workload]) -> Vec<(Input, &'static Workload)> {
    let mut found: Vec<(Input, &'static Workload)> = Vec::new();
    for workload in chosen.iter().filter(|workload| workload.pace.is_drained()) {
        for input in workload.inputs {
            if !found.iter().any(|(known, _)| known == input) {
                found.push((*input, workload));
            }
        }
    }
    found
}

/// For people.
pub(crate) fn list() -> String {
    let line = |one: &Workload| format!("{:<4} {:<22} {}", one.group, one.name, one.question);
    all().map(line).collect::<Vec<_>>().join("\n")
}

/// Keys as text, values as bytes.
type Lines = Topic<String, Vec<u8>>;

fn input(settings: &Settings) -> Lines {
    Topic::plain(settings.text("input-0"))
}

/// A store of this name, of the kind that is asked for.
fn store<V: millstream::Key>(settings: &Settings, name: &str) -> Materialized<String, V> {
    use millstream::Emit;
    use millstream::serde::Canonical;
    let store = Materialized::with_codecs(name, Canonical, Canonical);
    let store = if settings.text("store") == "memory" { store.in_memory() } else { store };
    let is_cached = settings.number("cache-bytes") > 0;
    store.emit(if is_cached { Emit::OnCommit } else { Emit::EachUpdate })
}

/// How records would travel to an aggregation, with the same bytes as in Kafka Streams.
fn grouped() -> millstream::Grouped<String, Vec<u8>> {
    use millstream::serde::Canonical;
    millstream::Grouped::with_codecs(Canonical, Canonical)
}
