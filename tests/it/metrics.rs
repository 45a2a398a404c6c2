//! Does a run emit exactly the metrics that are documented, with their units, labels and values?

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use millstream::log::memory::MemoryLog;
use millstream::log::{Log, TopicPartition};
use millstream::metrics::{ALL, Kind};
use millstream::testing::TopologyTestDriver;
use millstream::{
    App, Config, ErrorPolicy, FailureAction, Headers, StreamsBuilder, TimeWindows, Timestamp,
    Topic, Topology,
};

use crate::recorder::{Memory, PATIENCE};
use crate::scratch::ScratchDir;

fn config(application: &str, scratch: &ScratchDir) -> Config {
    Config::builder(application, "in-process")
        .state_dir(scratch.path())
        .workers(1)
        .commit_interval(Duration::from_millis(5))
        .on_error(ErrorPolicy::dead_letter("dead"))
        .build()
        .expect("valid settings")
}

/// Counts numbers per minute: keys repeat, some records are late, some are no numbers.
fn counting() -> Topology {
    let numbers = Topic::<String, i64>::plain("numbers");
    let counts = Topic::<String, i64>::plain("counts");
    let builder = StreamsBuilder::new();
    let stream = builder.stream(&numbers);
    let windows = TimeWindows::tumbling(Duration::from_secs(60));
    drop(stream.group_by_key().windowed_by(windows).count("per-minute"));
    stream.group_by(|key, _| key.clone()).count("in-all").to(&counts);
    builder.build().expect("a valid pipeline")
}

fn log() -> MemoryLog {
    let log = MemoryLog::new();
    log.create_topic("numbers", 1);
    log.create_topic("counts", 2);
    log.create_topic("dead", 1);
    log
}

fn send(log: &MemoryLog, at_seconds: i64, value: &[u8]) {
    let at = Timestamp::from_millis(at_seconds * 1_000);
    log.produce("numbers", None, at, Some(b"key"), Some(value), &Headers::new());
}

fn feed(log: &MemoryLog, from: i64) {
    for n in from..from + 50 {
        send(log, n, &n.to_be_bytes());
    }
}

fn counted(log: &MemoryLog, total: usize) {
    let is_there = log.wait_until(PATIENCE, || log.read("counts").len() >= total);
    assert!(is_there, "{} of {total} counts", log.read("counts").len());
}

/// The metrics of one run that meets late records, dead letters, a restart and a restore.
fn run(recorder: &Memory) -> MemoryLog {
    let (log, topology) = (log(), counting());
    let start = |scratch: &ScratchDir| {
        let app = App::builder(&topology, config("app", scratch))
            .log(log.clone())
            .recorder(recorder.clone())
            .on_failure(|_| FailureAction::Close);
        let app = app.start().expect("it starts");
        assert!(app.wait_until_running(PATIENCE), "{:?}", app.error());
        app
    };
    let (first, second) = (ScratchDir::new(), ScratchDir::new());
    let app = start(&first);
    feed(&log, 1_000);
    send(&log, 1_100, b"no number");
    send(&log, 1, &1_i64.to_be_bytes());
    counted(&log, 51);
    assert!(app.close(PATIENCE));
    let app = start(&second);
    feed(&log, 2_000);
    counted(&log, 101);
    assert!(app.close(PATIENCE));
    log
}

#[test]
fn a_run_emits_what_is_documented_and_nothing_else() {
    let recorder = Memory::default();
    drop(run(&recorder));
    let told = recorder.told();
    let documented: BTreeMap<&str, _> = ALL.iter().map(|metric| (metric.name, metric)).collect();
    assert_eq!(documented.len(), ALL.len(), "a name stands twice");
    let emitted: BTreeSet<&str> = told.series.values().map(|(_, s)| s.key.name()).collect();
    assert_eq!(emitted, documented.keys().copied().collect());
    for (kind, series) in told.series.values() {
        let metric = documented[series.key.name()];
        assert_eq!(metric.kind, *kind, "{}", metric.name);
        let labels: Vec<&str> = series.key.labels().map(metrics::Label::key).collect();
        assert_eq!(metric.labels, labels, "{}", metric.name);
    }
    for (name, (kind, unit, meaning)) in &told.described {
        let metric = documented[name.as_str()];
        assert_eq!((metric.kind, Some(metric.unit)), (*kind, *unit), "{name}");
        assert_eq!(metric.meaning, meaning);
    }
    assert_eq!(told.described.len(), ALL.len());
}

#[test]
fn the_metrics_add_up_to_what_has_happened() {
    let recorder = Memory::default();
    let log = run(&recorder);
    let sum = |name: &str, labels: &[(&str, &str)]| recorder.sum(name, labels);
    let numbers = [("topic", "numbers"), ("partition", "0")];
    assert_eq!(sum("millstream_source_records_total", &numbers), 102.0);
    assert!(sum("millstream_source_bytes_total", &numbers) > 0.0);
    assert_eq!(sum("millstream_task_dead_letters_total", &[("reason", "decode")]), 1.0);
    assert_eq!(sum("millstream_sink_records_total", &[("topic", "dead")]), 1.0);
    assert_eq!(sum("millstream_task_dropped_records_total", &[("reason", "late")]), 1.0);
    let counts = log.read("counts").len() as f64;
    assert_eq!(sum("millstream_sink_records_total", &[("topic", "counts")]), counts);
    // 101 numbers, once as read and once behind the repartition.
    assert_eq!(sum("millstream_task_records_total", &[]), 202.0);
    assert!(sum("millstream_store_cache_hits_total", &[("store", "in-all")]) >= 100.0);
    let changelog = log.read("app-in-all-changelog").len() as f64;
    assert_eq!(sum("millstream_changelog_records_total", &[("store", "in-all")]), changelog);
    // The second process began without a state directory.
    assert!(sum("millstream_restore_records_total", &[]) >= 2.0);
    assert_eq!(sum("millstream_restore_seconds", &[]), 4.0);
    assert!(sum("millstream_worker_commits_total", &[]) >= 2.0);
    assert_eq!(
        sum("millstream_worker_commit_seconds", &[]),
        sum("millstream_worker_commits_total", &[])
    );
    assert!(sum("millstream_rebalances_total", &[("application", "app")]) >= 2.0);
    for level in ALL.iter().filter(|metric| metric.kind == Kind::Gauge) {
        assert_eq!(sum(level.name, &[]), 0.0, "{} of an application that has ended", level.name);
    }
}

#[test]
fn offsets_that_are_out_of_range_are_counted() {
    let (recorder, log, scratch) = (Memory::default(), log(), ScratchDir::new());
    let run = || {
        let app = App::builder(&counting(), config("app", &scratch)).log(log.clone());
        app.recorder(recorder.clone()).start().expect("it starts")
    };
    let app = run();
    feed(&log, 1_000);
    counted(&log, 50);
    assert!(app.close(PATIENCE));
    feed(&log, 2_000);
    let numbers = log.partitions().id(&TopicPartition::new("numbers", 0));
    log.admin().delete_records(&[(numbers, 80)]).expect("the records are there");
    let app = run();
    counted(&log, 70);
    assert!(app.close(PATIENCE));
    let of_numbers = [("application", "app"), ("topic", "numbers"), ("partition", "0")];
    assert_eq!(recorder.sum("millstream_source_resets_total", &of_numbers), 1.0);
    assert_eq!(recorder.sum("millstream_source_lost_offsets_total", &of_numbers), 30.0);
    assert_eq!(recorder.sum("millstream_source_resets_total", &[]), 1.0);
}

#[test]
fn levels_follow_a_running_application() {
    let (recorder, scratch, log) = (Memory::default(), ScratchDir::new(), log());
    let builder = App::builder(&counting(), config("app", &scratch)).log(log.clone());
    let app = builder.recorder(recorder.clone()).start().expect("it starts");
    assert!(app.wait_until_running(PATIENCE), "{:?}", app.error());
    feed(&log, 1_000);
    counted(&log, 50);
    let sum = |name: &str| recorder.sum(name, &[]);
    let settles = || {
        // On disk the number is an estimate, which counts a row's latest versions too.
        recorder.sum("millstream_store_rows", &[("store", "in-all")]) >= 1.0
            && sum("millstream_store_cached_keys") == 2.0
            && sum("millstream_store_bytes") > 0.0
            && sum("millstream_tasks") == 2.0
            && sum("millstream_source_records_total") == 100.0
            && sum("millstream_source_lag") == 0.0
    };
    let is_there = recorder.wait_until(settles);
    let told = recorder.told();
    let series = told.series.iter().map(|(key, (_, series))| (key, *series.value.lock().unwrap()));
    assert!(is_there, "{:#?}", series.collect::<Vec<_>>());
}

#[test]
fn two_applications_of_one_process_are_told_apart() {
    let recorders = [Memory::default(), Memory::default()];
    for (recorder, application) in recorders.iter().zip(["first", "second"]) {
        let (scratch, log) = (ScratchDir::new(), log());
        let builder = App::builder(&counting(), config(application, &scratch)).log(log.clone());
        let app = builder.recorder(recorder.clone()).start().expect("it starts");
        feed(&log, 1_000);
        counted(&log, 50);
        assert!(app.close(PATIENCE));
    }
    for (recorder, application) in recorders.iter().zip(["first", "second"]) {
        let own = recorder.sum("millstream_task_records_total", &[("application", application)]);
        assert_eq!((own, recorder.sum("millstream_task_records_total", &[])), (100.0, 100.0));
    }
}

#[test]
fn a_driver_tells_the_recorder_of_its_thread() {
    let recorder = Memory::default();
    metrics::with_local_recorder(&recorder, || {
        let numbers = Topic::<String, i64>::plain("numbers");
        let mut driver = TopologyTestDriver::new(&counting());
        for n in 0..3 {
            let at = Timestamp::from_millis(n);
            driver.input(&numbers).send("key".into(), n, at).expect("it is processed");
        }
        driver.advance(Duration::from_secs(2)).expect("nothing fails");
    });
    assert_eq!(recorder.sum("millstream_source_records_total", &[("topic", "numbers")]), 3.0);
}
