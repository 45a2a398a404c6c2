//! Do stores of far more than the memory budget keep within it, and lose nothing by that?
//!
//! What stores hold is seen through the metrics alone, as an operator would see it.

use std::collections::BTreeMap;
use std::time::Duration;

use millstream::log::memory::MemoryLog;
use millstream::{App, Config, Headers, StreamsBuilder, TimeWindows, Timestamp, Topic, Topology};

use crate::recorder::{Memory, PATIENCE};
use crate::scratch::ScratchDir;

const MIB: usize = 1024 * 1024;
/// The least that there can be; half of it is for live values.
const BUDGET: usize = 16 * MIB;
const LIVE: usize = BUDGET / 2;
const KEYS: usize = 24_000;
/// All values together take three times the share of live ones.
const VALUE_BYTES: usize = 1_024;
const PARTITIONS: u32 = 2;
const FOR_EVER: Duration = Duration::from_secs(3_600);

fn config(scratch: &ScratchDir) -> Config {
    let config = Config::builder("app", "in-process").state_dir(scratch.path());
    let config = config.workers(2).memory_bytes(BUDGET).fetch_bytes_max(MIB);
    // Only what is uncommitted brings a commit on.
    let config = config.commit_interval(FOR_EVER).transaction_timeout(2 * FOR_EVER);
    config.build().expect("valid settings")
}

/// Puts the values of each key behind one another, and counts them by the hour.
fn collecting() -> Topology {
    let parts = Topic::<String, String>::plain("parts");
    let builder = StreamsBuilder::new();
    let grouped = builder.stream(&parts).group_by_key();
    let whole = grouped.reduce("whole", |whole, part| whole.push_str(&part));
    // The beginning comes from the first part, the length from all of them.
    let seen = whole.map_values(|whole| format!("{} {}", &whole[..10], whole.len()));
    seen.to(&Topic::<String, String>::plain("seen"));
    let hourly = TimeWindows::tumbling(Duration::from_secs(3_600));
    drop(grouped.windowed_by(hourly).count("hourly"));
    builder.build().expect("a valid pipeline")
}

fn log() -> MemoryLog {
    let log = MemoryLog::new();
    log.create_topic("parts", PARTITIONS);
    log.create_topic("seen", 1);
    log
}

fn send(log: &MemoryLog, key: usize, value: &str) {
    let (at, key) = (Timestamp::from_millis(0), format!("{key:08}"));
    let (key, value) = (Some(key.as_bytes()), Some(value.as_bytes()));
    log.produce("parts", None, at, key, value, &Headers::new());
}

/// Waits until the pipeline has processed that many parts.
fn processed(recorder: &Memory, app: &App, parts: usize) {
    let of_parts = [("topic", "parts")];
    let count = || recorder.sum("millstream_source_records_total", &of_parts);
    let is_reached = recorder.wait_until(|| count() >= parts as f64 || app.error().is_some());
    assert!(is_reached && app.error().is_none(), "{} {:?}", count(), app.error());
}

/// The last that was seen of each key.
fn seen(log: &MemoryLog) -> BTreeMap<String, String> {
    let text = |bytes: &Option<Vec<u8>>| {
        String::from_utf8(bytes.clone().expect("nothing is null here")).expect("it is text")
    };
    log.read("seen").iter().map(|record| (text(&record.key), text(&record.value))).collect()
}

#[test]
fn live_values_keep_within_the_budget_and_what_was_evicted_is_read_again() {
    let (recorder, scratch, log) = (Memory::default(), ScratchDir::new(), log());
    let app = App::builder(&collecting(), config(&scratch)).log(log.clone());
    let app = app.recorder(recorder.clone()).start().expect("it starts");
    assert!(app.wait_until_running(PATIENCE), "{:?}", app.error());
    let share = |share| recorder.sum("millstream_memory_share_bytes", &[("share", share)]);
    assert_eq!(recorder.sum("millstream_memory_budget_bytes", &[]), BUDGET as f64);
    assert_eq!((share("cached"), share("uncommitted")), (6.0 * MIB as f64, 2.0 * MIB as f64));
    assert_eq!(share("disk"), (BUDGET - LIVE) as f64);

    for key in 0..KEYS {
        send(&log, key, &format!("{key:010}{}", ".".repeat(VALUE_BYTES - 10)));
    }
    processed(&recorder, &app, KEYS);
    for key in 0..KEYS {
        send(&log, key, &"+".repeat(key % 10));
    }
    processed(&recorder, &app, 2 * KEYS);
    let stores = 2 * PARTITIONS as usize;
    let limits = recorder.sum("millstream_store_cached_bytes_max", &[]);
    assert_eq!(limits, share("cached"), "each of {stores} has its part");
    assert!(app.close(PATIENCE), "{:?}", app.error());

    let peak = recorder.peaks("millstream_store_cached_bytes", &[]);
    assert!(peak <= LIVE as f64, "{peak} bytes were live where {LIVE} may be");
    assert!(peak >= LIVE as f64 / 4.0, "{peak} bytes: the budget was not put to the test");
    let commits = recorder.sum("millstream_worker_commits_total", &[]);
    assert!(commits >= (2 * KEYS * VALUE_BYTES / LIVE) as f64, "{commits} commits came early");
    let misses = recorder.sum("millstream_store_cache_misses_total", &[("store", "whole")]);
    let fit = LIVE / VALUE_BYTES;
    assert!(misses >= (KEYS - fit) as f64, "{misses} look-ups read what was evicted");
    let wanted =
        |key: usize| (format!("{key:08}"), format!("{key:010} {}", VALUE_BYTES + key % 10));
    assert!(seen(&log) == (0..KEYS).map(wanted).collect(), "a value is not what it was");
}
