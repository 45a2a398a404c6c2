//! What becomes of an application on a bad day: too much of one key, too many keys at once, a
//! directory that is not its own or of a later version, a topic that has grown?

use std::fs;
use std::time::Duration;

use millstream::log::memory::{MemoryLog, ReadRecord};
use millstream::testing::TopologyTestDriver;
use millstream::{
    App, Config, Headers, StartError, StreamsBuilder, TimeWindows, Timestamp, Topic, Topology,
};

use crate::errors::lines;
use crate::scratch::ScratchDir;

const PATIENCE: Duration = Duration::from_secs(30);

fn words() -> Topic<String, String> {
    Topic::plain("words")
}

fn counts() -> Topic<String, i64> {
    Topic::plain("counts")
}

fn counting() -> Topology {
    let builder = StreamsBuilder::new();
    builder.stream(&words()).group_by_key().count("counts").to(&counts());
    builder.build().expect("a valid pipeline")
}

fn send(driver: &mut TopologyTestDriver, key: String, at: i64) {
    let sent = driver.input(&words()).send(key, String::new(), Timestamp::from_millis(at));
    sent.expect("it is taken");
}

#[test]
fn a_hot_key_is_counted_to_the_last_record_over_a_crash() {
    let mut driver = TopologyTestDriver::new(&counting()).manual_commit();
    for round in 0..10 {
        for record in 0..1_000 {
            send(&mut driver, "hot".to_owned(), round * 1_000 + record);
        }
        if round % 2 == 0 {
            driver.commit().expect("it commits");
        } else {
            driver.crash_and_lose_state().expect("it comes back");
        }
    }
    driver.commit().expect("it commits");
    let results = driver.output(&counts()).drain().expect("results can be read");
    let values: Vec<i64> = results.iter().map(|record| record.value).collect();
    assert_eq!(values, (1..=10_000).collect::<Vec<i64>>());
}

#[test]
fn ten_thousand_keys_of_one_window_are_each_counted_over_a_crash() {
    const KEYS: usize = 10_000;
    let builder = StreamsBuilder::new();
    let windows = TimeWindows::tumbling(Duration::from_secs(60));
    let counted = builder.stream(&words()).group_by_key().windowed_by(windows).count("counts");
    counted.to_stream().for_each(|_, _| ());
    let mut driver = TopologyTestDriver::new(&builder.build().expect("a valid pipeline"));
    for key in 0..KEYS {
        send(&mut driver, format!("key {key}"), 1_000);
    }
    driver.crash_and_lose_state().expect("it comes back");
    for key in 0..KEYS {
        send(&mut driver, format!("key {key}"), 2_000);
    }
    let rows = driver.window_store::<String, i64>("counts").expect("the store is there");
    assert_eq!(rows.len(), KEYS);
    assert!(rows.iter().all(|(_, start, count, _)| (start.as_millis(), *count) == (0, 2)));
}

#[test]
fn a_record_far_ahead_of_the_clock_is_told_of_once_and_kept() {
    const DAY: i64 = 24 * 3_600_000;
    drop(lines().lock());
    let input = Topic::<String, String>::plain("tomorrow");
    let builder = StreamsBuilder::new();
    builder.stream(&input).map_values(|_| 1_i64).to(&counts());
    let mut driver = TopologyTestDriver::new(&builder.build().expect("a valid pipeline"));
    let now = driver.now().as_millis();
    for at in [now + DAY, now + 2 * DAY, now + 3 * DAY] {
        let sent =
            driver.input(&input).send(at.to_string(), String::new(), Timestamp::from_millis(at));
        sent.expect("it is taken");
    }
    assert_eq!(driver.output(&counts()).drain().expect("results can be read").len(), 3);
    let lines = lines().lock().expect("no panic while held");
    let told = |line: &&String| line.contains("tomorrow-0") && line.contains("a day ahead");
    let told: Vec<&String> = lines.iter().filter(told).collect();
    assert!(told.len() == 1 && told[0].contains("offset=1"), "{told:?}");
}

fn log() -> MemoryLog {
    let log = MemoryLog::new();
    log.create_topic("words", 1);
    log.create_topic("counts", 1);
    log
}

fn start(log: &MemoryLog, scratch: &ScratchDir) -> Result<App, StartError> {
    start_with(&counting(), log, scratch)
}

fn start_with(
    topology: &Topology,
    log: &MemoryLog,
    scratch: &ScratchDir,
) -> Result<App, StartError> {
    let config = Config::builder("app", "in-process").state_dir(scratch.path()).build();
    App::builder(topology, config.expect("valid settings")).log(log.clone()).start()
}

/// What a start has to say that must fail.
fn told(log: &MemoryLog, scratch: &ScratchDir) -> String {
    start(log, scratch).map(drop).expect_err("it must be refused").to_string()
}

#[test]
fn a_second_process_on_a_state_directory_is_told_which_and_leaves_the_first_alone() {
    let (log, scratch) = (log(), ScratchDir::new());
    let first = start(&log, &scratch).expect("it starts");
    assert!(first.wait_until_running(PATIENCE));
    let told = told(&log, &scratch);
    assert!(told.contains(&scratch.path().display().to_string()), "{told}");
    assert!(told.contains("another process") && told.contains("state_dir"), "{told}");
    assert!(first.error().is_none() && first.close(PATIENCE));
    let second = start(&log, &scratch).expect("the directory is free again");
    assert!(second.close(PATIENCE));
}

#[test]
fn a_directory_of_a_later_version_is_refused_and_left_as_it_is() {
    let (log, scratch) = (log(), ScratchDir::new());
    let app = start(&log, &scratch).expect("it starts");
    assert!(app.wait_until_running(PATIENCE) && app.close(PATIENCE));
    let stamp = files_named("stamp", scratch.path()).pop().expect("a directory has a stamp");
    let later = fs::read_to_string(&stamp).unwrap().replace("format: 1", "format: 2");
    fs::write(&stamp, &later).unwrap();
    let told = told(&log, &scratch);
    assert!(told.contains("is of format `2`, not of format `1`"), "{told}");
    assert!(told.contains("run the version of millstream that wrote it"), "{told}");
    assert!(told.contains("choose another `state_dir`, or delete it"), "{told}");
    assert_eq!(fs::read_to_string(&stamp).unwrap(), later);
}

fn send_to(log: &MemoryLog, partition: u32, key: &str) {
    let at = Timestamp::from_millis(7);
    log.produce("words", Some(partition), at, Some(key.as_bytes()), Some(b""), &Headers::new());
}

/// Waits until so many results are there, and says whose they are.
fn counted(log: &MemoryLog, count: usize) -> Vec<String> {
    log.wait_until(PATIENCE, || log.read("counts").len() >= count);
    let key = |record: ReadRecord| String::from_utf8(record.key.expect("results have a key"));
    log.read("counts").into_iter().map(|record| key(record).expect("a key is text")).collect()
}

/// Has no state, and so no changelog whose size would be wrong.
fn passing() -> Topology {
    let builder = StreamsBuilder::new();
    builder.stream(&words()).map_values(|_| 1_i64).to(&counts());
    builder.build().expect("a valid pipeline")
}

#[test]
fn an_application_whose_topic_grows_ends_and_reads_all_of_it_when_started_anew() {
    let (log, scratch) = (log(), ScratchDir::new());
    let app = start_with(&passing(), &log, &scratch).expect("it starts");
    send_to(&log, 0, "before");
    assert_eq!(counted(&log, 1), ["before"]);
    log.grow_topic("words", 3);
    send_to(&log, 2, "after");
    assert!(log.wait_until(PATIENCE, || app.error().is_some()));
    let told = app.error().expect("it has failed").to_string();
    assert!(told.contains("words") && told.contains("start the application anew"), "{told}");
    app.close(PATIENCE);
    let again = start_with(&passing(), &log, &scratch).expect("it starts");
    assert_eq!(counted(&log, 2), ["before", "after"]);
    assert!(again.error().is_none() && again.close(PATIENCE));
}

#[test]
fn state_of_a_topic_that_has_grown_is_refused_until_its_changelog_has_grown_too() {
    let (log, scratch) = (log(), ScratchDir::new());
    let app = start(&log, &scratch).expect("it starts");
    send_to(&log, 0, "before");
    assert_eq!(counted(&log, 1), ["before"]);
    assert!(app.close(PATIENCE));
    log.grow_topic("words", 3);
    let told = told(&log, &scratch);
    assert!(told.contains("app-counts-changelog") && told.contains('3'), "{told}");
    log.grow_topic("app-counts-changelog", 3);
    let app = start(&log, &scratch).expect("it starts");
    send_to(&log, 2, "after");
    assert_eq!(counted(&log, 2), ["before", "after"]);
    assert!(app.error().is_none() && app.close(PATIENCE));
}

fn files_named(name: &str, folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_named(name, &path));
        } else if path.ends_with(name) {
            found.push(path);
        }
    }
    found
}
