//! What happens where the committed offset of an input is not in the log any more?

use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use millstream::log::memory::MemoryLog;
use millstream::log::{
    ClientConfig, CommittedOffset, Isolation, Log, MemberToken, PartitionId, TopicPartition,
};
use millstream::time::{Clock, SystemClock};
use millstream::{
    App, Config, ErrorKind, FailureAction, Guarantee, Headers, OffsetReset, StreamsBuilder,
    Timestamp, Topic, Topology,
};

use crate::errors::{lines, wait_for_failure};
use crate::scratch::ScratchDir;

const PATIENCE: Duration = Duration::from_secs(30);
const HOUR: Duration = Duration::from_secs(3_600);

fn log(topic: &str) -> MemoryLog {
    let log = MemoryLog::new();
    log.create_topic(topic, 1);
    log.create_topic("out", 1);
    log
}

/// Records `from..to`, whose values are their numbers; each is two hours older than the next.
fn feed(log: &MemoryLog, topic: &str, numbers: std::ops::Range<u32>) {
    let now = SystemClock::default().timestamp();
    for number in numbers {
        let at = now - HOUR * 2 * (12 - number.min(12));
        let value = number.to_string();
        log.produce(topic, Some(0), at, Some(b"key"), Some(value.as_bytes()), &Headers::new());
    }
}

fn partition(log: &MemoryLog, topic: &str) -> PartitionId {
    log.partitions().id(&TopicPartition::new(topic, 0))
}

fn forget_before(log: &MemoryLog, topic: &str, offset: i64) {
    log.admin().delete_records(&[(partition(log, topic), offset)]).expect("the records are there");
}

fn commit(log: &MemoryLog, topic: &str, offset: i64) {
    let config = ClientConfig {
        client_id: "hand".into(),
        isolation: Isolation::ReadCommitted,
        transactional_id: None,
        transaction_timeout: PATIENCE,
        group: "app".into(),
        fetch_bytes_max: 1_024,
        batch_bytes_max: 1024 * 1024,
    };
    let mut client = log.client(config).expect("a client");
    let partition = partition(log, topic);
    let committed = CommittedOffset { partition, offset, metadata: String::new() };
    client.commit_offsets(&[committed], &MemberToken::default());
}

fn copying(topic: &str, reset: OffsetReset) -> Topology {
    let input = Topic::<String, String>::plain(topic).offset_reset(reset);
    let builder = StreamsBuilder::new();
    builder.stream(&input).to(&Topic::plain("out"));
    builder.build().expect("a valid pipeline")
}

fn start(topology: &Topology, log: &MemoryLog, scratch: &ScratchDir, guarantee: Guarantee) -> App {
    let config = Config::builder("app", "in-process")
        .state_dir(scratch.path())
        .workers(1)
        .guarantee(guarantee)
        .commit_interval(Duration::from_millis(5));
    let app = App::builder(topology, config.build().expect("valid settings")).log(log.clone());
    app.on_failure(|_| FailureAction::Close).start().expect("it starts")
}

fn values(log: &MemoryLog, topic: &str) -> Vec<u32> {
    let number = |value: Option<Vec<u8>>| String::from_utf8(value.unwrap()).unwrap().parse();
    log.read(topic).into_iter().map(|record| number(record.value).unwrap()).collect()
}

fn arrives(log: &MemoryLog, last: u32, app: &App) {
    let is_there = log.wait_until(PATIENCE, || values(log, "out").last() == Some(&last));
    assert!(is_there, "{:?} {:?}", values(log, "out"), app.error());
}

/// What a run copies, up to record 12, which comes once it runs, if 12 records were written, those
/// before `earliest` are gone, and `committed` is what the group has committed.
fn copied(topic: &str, reset: OffsetReset, committed: i64, guarantee: Guarantee) -> Vec<u32> {
    let (log, scratch) = (log(topic), ScratchDir::new());
    feed(&log, topic, 0..12);
    forget_before(&log, topic, 8);
    commit(&log, topic, committed);
    let app = start(&copying(topic, reset), &log, &scratch, guarantee);
    assert!(app.wait_until_running(PATIENCE), "{:?}", app.error());
    // The new position is committed, though there may be nothing to read from there.
    let id = partition(&log, topic);
    let is_committed = || {
        let known = log.admin().committed("app", &[id]).ok().and_then(|mut known| known.remove(0));
        known.is_some_and(|known| (8..=12).contains(&known.offset))
    };
    assert!(log.wait_until(PATIENCE, is_committed), "{:?}", app.error());
    feed(&log, topic, 12..13);
    arrives(&log, 12, &app);
    assert!(app.close(PATIENCE));
    values(&log, "out")
}

#[test]
fn reading_goes_on_where_the_topic_says() {
    drop(lines().lock());
    for guarantee in [Guarantee::ExactlyOnce, Guarantee::AtLeastOnce] {
        // Forgotten, and beyond the end of a topic that was made anew.
        for committed in [5, 40] {
            let copied = |reset| copied("forgetful", reset, committed, guarantee);
            assert_eq!(copied(OffsetReset::Earliest), [8, 9, 10, 11, 12], "{committed}");
            assert_eq!(copied(OffsetReset::Latest), [12], "{committed}");
            assert_eq!(copied(OffsetReset::ByDuration(HOUR * 5)), [10, 11, 12], "{committed}");
        }
    }
    let lines = lines().lock().expect("no panic while held");
    let told =
        |parts: &[&str]| lines.iter().any(|line| parts.iter().all(|part| line.contains(part)));
    let of_gone = ["WARN", "out of range", "forgetful-0", "committed=5", "earliest=8"];
    assert!(told(&[&of_gone[..], &["position=8", "lost=3"]].concat()));
    assert!(told(&[&of_gone[..], &["position=12", "lost=7"]].concat()));
    assert!(told(&["WARN", "out of range", "committed=40", "end=12", "position=8", "lost=0"]));
}

#[test]
fn offset_in_range_is_kept_at_both_limits() {
    let all = || OffsetReset::Earliest;
    assert_eq!(copied("kept", all(), 8, Guarantee::ExactlyOnce), [8, 9, 10, 11, 12]);
    assert_eq!(copied("kept", all(), 10, Guarantee::ExactlyOnce), [10, 11, 12]);
    assert_eq!(copied("kept", all(), 12, Guarantee::ExactlyOnce), [12]);
}

#[test]
fn without_a_reset_the_application_stops_and_says_what_to_do() {
    for (committed, holds) in [(5, "holds 8 to 12"), (40, "holds 8 to 12")] {
        let (log, scratch) = (log("strict"), ScratchDir::new());
        feed(&log, "strict", 0..12);
        forget_before(&log, "strict", 8);
        commit(&log, "strict", committed);
        let topology = copying("strict", OffsetReset::None);
        let app = start(&topology, &log, &scratch, Guarantee::ExactlyOnce);
        wait_for_failure(&app);
        let error = app.error().expect("it has failed by an error");
        assert_eq!(error.kind(), ErrorKind::Fatal);
        let text = error.to_string();
        let offset = format!("offset {committed} is committed for `strict-0`");
        for part in [&*offset, holds, "its offset reset is `None`", "choose another reset"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(app.close(PATIENCE));
        assert!(log.read("out").is_empty());
    }
}

/// A run that is slower than its input forgets: record 0 is held until 1 to 7 are gone, and 8 to 10
/// are there.
fn overtaken(scratch: &ScratchDir, reset: OffsetReset, guarantee: Guarantee) -> (MemoryLog, App) {
    let topic = "slow";
    let log = log(topic);
    commit(&log, topic, 0);
    let (begun, has_begun) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel::<()>();
    let may_go_on = Arc::new(Mutex::new(may_go_on));
    let input = Topic::<String, String>::plain(topic).offset_reset(reset);
    let builder = StreamsBuilder::new();
    let held = builder.stream(&input).map_values(move |value| {
        if value == "0" {
            begun.send(()).expect("someone waits");
            may_go_on.lock().unwrap().recv().expect("it is let go on");
        }
        value
    });
    held.to(&Topic::plain("out"));
    let topology = builder.build().expect("a valid pipeline");
    let app = start(&topology, &log, scratch, guarantee);
    feed(&log, topic, 0..1);
    has_begun.recv_timeout(PATIENCE).expect("the first record is processed");
    feed(&log, topic, 1..11);
    forget_before(&log, topic, 8);
    go_on.send(()).expect("someone waits");
    (log, app)
}

#[test]
fn running_task_that_is_overtaken_goes_on_where_the_topic_says() {
    for guarantee in [Guarantee::ExactlyOnce, Guarantee::AtLeastOnce] {
        let scratch = ScratchDir::new();
        let (log, app) = overtaken(&scratch, OffsetReset::Earliest, guarantee);
        arrives(&log, 10, &app);
        assert_eq!(values(&log, "out"), [0, 8, 9, 10]);
        assert!(app.close(PATIENCE));
    }
    let scratch = ScratchDir::new();
    let (log, app) = overtaken(&scratch, OffsetReset::None, Guarantee::ExactlyOnce);
    wait_for_failure(&app);
    let text = app.error().expect("it has failed by an error").to_string();
    assert!(text.contains("offset 1 is committed for `slow-0`"), "{text}");
    assert!(app.close(PATIENCE));
    assert_eq!(values(&log, "out"), [0]);
}

#[test]
fn records_of_a_repartition_are_never_passed_over() {
    let (log, scratch) = (log("in"), ScratchDir::new());
    let builder = StreamsBuilder::new();
    let input = Topic::<String, String>::plain("in");
    builder.stream(&input).group_by(|_, value| value.clone()).count("counts").to(&Topic::<
        String,
        i64,
    >::plain(
        "out"
    ));
    let topology = builder.build().expect("a valid pipeline");
    let run = || start(&topology, &log, &scratch, Guarantee::ExactlyOnce);
    let app = run();
    feed(&log, "in", 0..3);
    assert!(log.wait_until(PATIENCE, || log.read("out").len() == 3), "{:?}", app.error());
    assert!(app.close(PATIENCE));
    // What is purged is committed, so an application finds its place again.
    let again = run();
    assert!(again.wait_until_running(PATIENCE), "{:?}", again.error());
    assert!(again.close(PATIENCE));
    let repartition = "app-counts-repartition";
    let none = Headers::new();
    for _ in 0..6 {
        log.produce(repartition, Some(0), Timestamp::ZERO, Some(b"x"), Some(b"x"), &none);
    }
    let ends = [(partition(&log, repartition), millstream::log::OffsetSpec::End)];
    let end = log.admin().offsets(&ends).unwrap()[0];
    forget_before(&log, repartition, end);
    let app = run();
    wait_for_failure(&app);
    let text = app.error().expect("it has failed by an error").to_string();
    let holds = format!("the log holds {end} to {end}");
    for part in ["`app-counts-repartition-0`", &*holds, "are lost", "reset the application"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(app.close(PATIENCE));
}
