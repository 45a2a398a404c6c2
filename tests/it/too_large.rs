//! What becomes of a record that is larger than its topic takes?

use std::time::Duration;

use millstream::log::memory::MemoryLog;
use millstream::log::{Log, NewTopic};
use millstream::serde::Canonical;
use millstream::{
    App, AppState, Config, ConfigBuilder, ErrorKind, ErrorPolicy, FailureAction, Guarantee,
    Headers, StreamsBuilder, Timestamp, Topic, Topology,
};

use crate::errors::wait_for_failure;
use crate::scratch::ScratchDir;

const PATIENCE: Duration = Duration::from_secs(30);
const LIMIT: usize = 500;

fn topic(log: &MemoryLog, name: &str, policy: &str) {
    let configs = [("max.message.bytes", LIMIT.to_string()), ("cleanup.policy", policy.to_owned())];
    let configs = configs.map(|(name, value)| (name.to_owned(), value)).to_vec();
    let topic = NewTopic { name: name.to_owned(), partitions: 1, replication: None, configs };
    log.admin().create_topics(&[topic]).expect("valid settings");
}

fn log() -> MemoryLog {
    let log = MemoryLog::new();
    ["in", "dead"].into_iter().for_each(|name| log.create_topic(name, 1));
    topic(&log, "out", "delete");
    topic(&log, "narrow", "delete");
    log
}

fn send(log: &MemoryLog, bytes: usize) {
    let (key, value) = (bytes.to_string(), vec![b'x'; bytes]);
    log.produce(
        "in",
        Some(0),
        Timestamp::ZERO,
        Some(key.as_bytes()),
        Some(&value),
        &Headers::new(),
    );
}

fn copying(is_chosen: bool) -> Topology {
    let builder = StreamsBuilder::new();
    let stream = builder.stream(&Topic::<String, String>::plain("in"));
    if is_chosen {
        stream.to_chosen(Canonical, Canonical, |_: &String, _: &String| "out".into());
    } else {
        stream.to(&Topic::plain("out"));
    }
    builder.build().expect("a valid pipeline")
}

fn settings(scratch: &ScratchDir) -> ConfigBuilder {
    Config::builder("app", "in-process")
        .state_dir(scratch.path())
        .workers(1)
        .commit_interval(Duration::from_millis(5))
}

fn start(topology: &Topology, log: &MemoryLog, settings: ConfigBuilder) -> App {
    let config = settings.build().expect("valid settings");
    let app = App::builder(topology, config).log(log.clone());
    app.on_failure(|_| FailureAction::Close).start().expect("it starts")
}

fn sizes(log: &MemoryLog, topic: &str) -> Vec<usize> {
    log.read(topic).iter().map(|record| record.value.as_ref().expect("not null").len()).collect()
}

/// Runs over records of these sizes, the last of which must arrive.
fn run(topology: &Topology, settings: ConfigBuilder, records: &[usize]) -> MemoryLog {
    let log = log();
    records.iter().for_each(|bytes| send(&log, *bytes));
    let app = start(topology, &log, settings);
    let is_through = || sizes(&log, "out").last() == records.last();
    assert!(log.wait_until(PATIENCE, is_through), "{:?}", app.error());
    assert!(app.close(PATIENCE));
    assert_eq!(app.state(), AppState::Closed);
    log
}

#[test]
fn policy_decides_over_a_result_that_is_too_large() {
    for guarantee in [Guarantee::ExactlyOnce, Guarantee::AtLeastOnce] {
        for is_chosen in [false, true] {
            let topology = copying(is_chosen);
            let records = [100, 1_000, 200, 2_000, 300];
            let scratch = ScratchDir::new();
            let skip = settings(&scratch).guarantee(guarantee).on_produce_error(ErrorPolicy::Skip);
            let log = run(&topology, skip, &records);
            assert_eq!(sizes(&log, "out"), [100, 200, 300]);

            let scratch = ScratchDir::new();
            let dead = ErrorPolicy::dead_letter("dead");
            let dead = settings(&scratch).guarantee(guarantee).on_produce_error(dead);
            let log = run(&topology, dead, &records);
            assert_eq!(sizes(&log, "out"), [100, 200, 300]);
            assert_eq!(sizes(&log, "dead"), [1_000, 2_000]);
            let why = log.read("dead")[0].headers.clone();
            let why = why.iter().find(|(name, _)| *name == "__streams.errors.message");
            let why = String::from_utf8(why.unwrap().1.unwrap().to_vec()).unwrap();
            assert!(why.contains("topic `out`") && why.contains("500 is the most"), "{why}");
        }
    }
}

#[test]
fn failing_names_topic_size_limit_and_fix() {
    let (log, scratch) = (log(), ScratchDir::new());
    send(&log, 100);
    send(&log, 1_000);
    let app = start(&copying(false), &log, settings(&scratch));
    wait_for_failure(&app);
    let error = app.error().expect("it has failed by an error");
    assert_eq!(error.kind(), ErrorKind::Data);
    assert_eq!(
        error.position().map(|(place, at)| (place.to_string(), at)),
        Some(("in-0".into(), 1))
    );
    let text = error.to_string();
    for part in ["topic `out`", "1074 bytes", "500 is the most", "max.message.bytes"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(app.close(PATIENCE));
}

#[test]
fn largest_record_that_fits_is_written_and_no_batch_is_larger_than_the_topic_takes() {
    // 61 bytes of the batch, 9 of the record, 3 of the key.
    let fits = LIMIT - 61 - 9 - 3;
    let scratch = ScratchDir::new();
    let skip = settings(&scratch).on_produce_error(ErrorPolicy::Skip);
    let mut records = vec![150; 100];
    records.extend([fits + 1, fits]);
    let log = run(&copying(false), skip, &records);
    records.remove(100);
    assert_eq!(sizes(&log, "out"), records);
}

#[test]
fn dead_letter_that_is_too_large_itself_stops_the_application() {
    let (log, scratch) = (log(), ScratchDir::new());
    send(&log, 1_000);
    let policy = ErrorPolicy::dead_letter("narrow");
    let app = start(&copying(false), &log, settings(&scratch).on_produce_error(policy));
    wait_for_failure(&app);
    let text = app.error().expect("it has failed by an error").to_string();
    assert!(text.contains("topic `narrow`") && text.contains("500 is the most"), "{text}");
    assert!(app.close(PATIENCE));
}

#[test]
fn no_policy_passes_over_a_row_that_its_changelog_does_not_take() {
    let (log, scratch) = (log(), ScratchDir::new());
    topic(&log, "app-last-changelog", "compact");
    let builder = StreamsBuilder::new();
    let input = builder.stream(&Topic::<String, String>::plain("in"));
    input
        .group_by_key()
        .aggregate("last", String::new, |_, value, last| *last = value)
        .to_stream()
        .map_values(|last| last.unwrap_or_default().len() as i64)
        .to(&Topic::<String, i64>::plain("out"));
    let topology = builder.build().expect("a valid pipeline");
    send(&log, 100);
    let app = start(&topology, &log, settings(&scratch).on_error(ErrorPolicy::Skip));
    assert!(log.wait_until(PATIENCE, || log.read("out").len() == 1), "{:?}", app.error());
    send(&log, 1_000);
    wait_for_failure(&app);
    let error = app.error().expect("it has failed by an error");
    assert_eq!(error.kind(), ErrorKind::Fatal);
    let text = error.to_string();
    let parts = ["store `last`", "takes 500", "`app-last-changelog`", "max.message.bytes"];
    for part in parts {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(app.close(PATIENCE));
    assert_eq!(log.read("app-last-changelog").len(), 1, "nothing of the failed commit is there");
    assert_eq!(log.read("out").len(), 1);
}
