//! Whole applications with their threads, over the in-process log.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

mod questions;
mod turns;

use super::{App, AppState, FailureAction};
use crate::log::memory::MemoryLog;
use crate::{Config, Guarantee, Headers, StreamsBuilder, Timestamp, Topic, Topology};

const PATIENCE: Duration = Duration::from_secs(30);

fn word_count() -> Topology {
    let words = Topic::<String, String>::plain("words");
    let counts = Topic::<String, i64>::plain("counts");
    let builder = StreamsBuilder::new();
    builder.stream(&words).group_by(|_, word| word.clone()).count("counts").to(&counts);
    builder.build().expect("a valid pipeline")
}

/// Settings of one more process on this machine: it has a state directory of its own.
fn config(guarantee: Guarantee) -> Config {
    static PROCESSES: AtomicU32 = AtomicU32::new(0);
    let number = PROCESSES.fetch_add(1, Ordering::SeqCst);
    let name = format!("millstream-runtime-{}-{number}", std::process::id());
    Config::builder("app", "in-process")
        .state_dir(std::env::temp_dir().join(name))
        .guarantee(guarantee)
        .workers(2)
        .commit_interval(Duration::from_millis(10))
        .build()
        .expect("valid settings")
}

fn log() -> MemoryLog {
    let log = MemoryLog::new();
    log.create_topic("words", 4);
    log.create_topic("counts", 2);
    log
}

fn feed(log: &MemoryLog, words: std::ops::Range<u32>) {
    for n in words {
        let word = format!("w{}", n % 5);
        let key = n.to_string();
        let at = Timestamp::from_millis(i64::from(n));
        log.produce(
            "words",
            None,
            at,
            Some(key.as_bytes()),
            Some(word.as_bytes()),
            &Headers::new(),
        );
    }
}

/// Every count that was written, by word, in order.
fn written(log: &MemoryLog) -> BTreeMap<String, Vec<i64>> {
    let mut written = BTreeMap::<String, Vec<i64>>::new();
    for record in log.read("counts") {
        let word = String::from_utf8(record.key.unwrap()).unwrap();
        let count = i64::from_be_bytes(record.value.unwrap().try_into().unwrap());
        written.entry(word).or_default().push(count);
    }
    written
}

fn wait_for(log: &MemoryLog, total: i64) {
    let reached = log.wait_until(PATIENCE, || {
        written(log).values().filter_map(|counts| counts.last()).sum::<i64>() >= total
    });
    assert!(reached, "the counts did not reach {total}: {:?}", written(log));
}

fn start(log: &MemoryLog, guarantee: Guarantee) -> App {
    let app = App::builder(&word_count(), config(guarantee)).log(log.clone()).start().unwrap();
    assert!(app.wait_until_running(PATIENCE), "{:?}", app.error());
    app
}

#[test]
fn counts_stay_exact_while_processes_join_and_leave() {
    let log = log();
    let first = start(&log, Guarantee::ExactlyOnce);
    feed(&log, 0..500);
    let second = start(&log, Guarantee::ExactlyOnce);
    feed(&log, 500..1_000);
    let third = start(&log, Guarantee::ExactlyOnce);
    feed(&log, 1_000..1_500);
    wait_for(&log, 1_000);
    assert!(second.close(PATIENCE));
    feed(&log, 1_500..2_000);
    wait_for(&log, 2_000);
    assert!(first.close(PATIENCE) && third.close(PATIENCE));
    for (word, counts) in written(&log) {
        assert_eq!(counts, (1..=400).collect::<Vec<i64>>(), "counts of `{word}`");
    }
}

#[test]
fn workers_come_and_go_while_the_application_runs() {
    let log = log();
    let app = start(&log, Guarantee::AtLeastOnce);
    feed(&log, 0..500);
    app.add_worker();
    feed(&log, 500..1_000);
    app.remove_worker();
    app.remove_worker();
    feed(&log, 1_000..1_500);
    wait_for(&log, 1_500);
    assert!(app.close(PATIENCE));
    assert_eq!(app.state(), AppState::Closed);
    for counts in written(&log).values() {
        assert_eq!(*counts, (1..=300).collect::<Vec<i64>>());
    }
}

#[test]
fn a_panic_replaces_the_worker_and_its_tasks_go_on_from_their_last_commit() {
    let log = log();
    let has_panicked = Arc::new(AtomicBool::new(false));
    let words = Topic::<String, String>::plain("words");
    let counts = Topic::<String, i64>::plain("counts");
    let builder = StreamsBuilder::new();
    let once = Arc::clone(&has_panicked);
    let stream = builder.stream(&words).map_values(move |word: String| {
        assert!(word != "w3" || once.swap(true, Ordering::SeqCst), "a bug in the pipeline");
        word
    });
    stream.group_by(|_, word| word.clone()).count("counts").to(&counts);
    let app = App::builder(&builder.build().unwrap(), config(Guarantee::ExactlyOnce))
        .log(log.clone())
        .on_failure(|_| FailureAction::ReplaceWorker)
        .start()
        .unwrap();
    feed(&log, 0..1_000);
    wait_for(&log, 1_000);
    assert!(has_panicked.load(Ordering::SeqCst));
    assert!(app.close(PATIENCE));
    for counts in written(&log).values() {
        assert_eq!(*counts, (1..=200).collect::<Vec<i64>>());
    }
}

#[test]
fn every_problem_of_a_start_is_reported_at_once() {
    let log = MemoryLog::new();
    let started = App::builder(&word_count(), config(Guarantee::ExactlyOnce)).log(log).start();
    let message = started.unwrap_err().to_string();
    assert!(message.contains("`words` does not exist"), "{message}");
    assert!(message.contains("`counts` does not exist"), "{message}");
}
