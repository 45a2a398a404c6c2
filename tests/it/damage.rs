//! What becomes of an application whose local state is damaged where that shows late: when a row
//! is read, long after the files were opened?

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use millstream::log::memory::MemoryLog;
use millstream::time::{Clock, SystemClock};
use millstream::{App, AppState, Config, Headers, StreamsBuilder, Timestamp, Topic, Topology};

use crate::scratch::ScratchDir;

const PATIENCE: Duration = Duration::from_secs(30);
const KEYS: usize = 2_000;

fn counting() -> Topology {
    let builder = StreamsBuilder::new();
    let words = builder.stream(&Topic::<String, String>::plain("words"));
    words.group_by_key().count("counts").to(&Topic::<String, i64>::plain("counts"));
    builder.build().expect("a valid pipeline")
}

fn start(log: &MemoryLog, scratch: &ScratchDir) -> App {
    let config = Config::builder("app", "in-process").state_dir(scratch.path());
    let config = config.workers(1).commit_interval(Duration::from_millis(5));
    let config = config.build().expect("valid settings");
    App::builder(&counting(), config).log(log.clone()).start().expect("it starts")
}

fn send_each_key(log: &MemoryLog) {
    for key in 0..KEYS {
        let (at, key) = (Timestamp::from_millis(0), format!("{key:08}"));
        log.produce("words", None, at, Some(key.as_bytes()), Some(b""), &Headers::new());
    }
}

/// Every count that was given out, by key.
fn counts(log: &MemoryLog) -> BTreeMap<Vec<u8>, Vec<i64>> {
    let mut counts = BTreeMap::<_, Vec<i64>>::new();
    for record in log.read("counts") {
        let value = record.value.expect("no count is null");
        let count = i64::from_be_bytes(value.try_into().expect("a count has eight bytes"));
        counts.entry(record.key.expect("each has a key")).or_default().push(count);
    }
    counts
}

/// Waits until every key has been counted that often.
fn counted(log: &MemoryLog, app: &App, times: usize) {
    let clock = SystemClock::default();
    let deadline = clock.instant() + PATIENCE;
    let is_done = || counts(log).values().map(Vec::len).sum::<usize>() >= KEYS * times;
    while !is_done() {
        assert!(app.error().is_none(), "{:?}", app.error());
        assert!(clock.instant() < deadline, "counted {} keys", counts(log).len());
        std::thread::yield_now();
    }
}

/// Changes a byte in the first rows of the largest table file. All that is read when a task is
/// opened stays whole.
fn damage(scratch: &ScratchDir) {
    let tasks = fs::read_dir(scratch.path().join("app/tasks")).expect("there are tasks");
    let files = tasks.flat_map(|task| fs::read_dir(task.unwrap().path()).unwrap());
    let is_table = |path: &PathBuf| path.extension().is_some_and(|end| end == "sst");
    let tables = files.map(|file| file.unwrap().path()).filter(is_table);
    let largest = tables.max_by_key(|path| fs::metadata(path).unwrap().len());
    let path = largest.expect("a closed task leaves its rows on the disk");
    let mut bytes = fs::read(&path).expect("it can be read");
    assert!(bytes.len() > KEYS, "these are the rows");
    bytes[100] ^= 1;
    fs::write(&path, bytes).expect("it can be written");
}

#[test]
#[cfg_attr(not(feature = "rocksdb"), ignore = "without RocksDB there are no files")]
fn damage_that_a_read_meets_is_set_aside_and_the_application_goes_on() {
    let (log, scratch) = (MemoryLog::new(), ScratchDir::new());
    log.create_topic("words", 1);
    log.create_topic("counts", 1);
    let app = start(&log, &scratch);
    send_each_key(&log);
    counted(&log, &app, 1);
    assert!(app.close(PATIENCE), "{:?}", app.error());
    damage(&scratch);

    let app = start(&log, &scratch);
    assert!(app.wait_until_running(PATIENCE), "{:?}", app.error());
    send_each_key(&log);
    counted(&log, &app, 2);
    assert!(app.wait_until_running(PATIENCE), "{:?}", app.error());
    assert_eq!(app.state(), AppState::Running);
    assert!(app.close(PATIENCE), "{:?}", app.error());
    assert!(scratch.path().join("app/damaged/0_0/CURRENT").exists(), "the files are kept");
    let counts = counts(&log);
    assert_eq!(counts.len(), KEYS);
    assert!(counts.values().all(|counts| *counts == [1, 2]), "a count is lost or doubled");
}
