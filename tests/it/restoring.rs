//! How much of a changelog is read by a task that comes to a machine without its state?

use std::sync::LazyLock;
use std::time::Duration;

use millstream::log::memory::MemoryLog;
use millstream::time::{Clock, SystemClock};
use millstream::{
    App, Config, Headers, JoinWindows, Materialized, SessionWindows, StreamsBuilder, TimeWindows,
    Timestamp, Topic, Topology,
};

use crate::recorder::{Memory, PATIENCE};
use crate::scratch::ScratchDir;

const MINUTE: Duration = Duration::from_secs(60);
/// Of stream time, with a record in each.
const MINUTES: u32 = 200;

/// Within the last hours, so that no changelog has given it up by its age. The first minute begins
/// a window.
fn at(minute: u32) -> Timestamp {
    static BEGUN: LazyLock<Timestamp> = LazyLock::new(|| {
        let window = 2 * MINUTE.as_millis() as i64;
        let now = SystemClock::default().timestamp().as_millis();
        Timestamp::from_millis(now / window * window) - MINUTE * MINUTES
    });
    *BEGUN + MINUTE * minute
}

fn by_key(builder: &StreamsBuilder, topic: &str) -> millstream::KStream<String, String> {
    builder.stream(&Topic::plain(topic))
}

/// Counts in windows of two minutes, kept for five.
fn windowed() -> Topology {
    let builder = StreamsBuilder::new();
    let windows = TimeWindows::tumbling(2 * MINUTE).grace(MINUTE);
    let store = Materialized::named("counts").retention(5 * MINUTE);
    let counts = by_key(&builder, "in").group_by_key().windowed_by(windows).count_with(store);
    let counts = counts.to_stream().map(|window, count| (window.key, count.unwrap_or_default()));
    counts.to(&Topic::<String, i64>::plain("out"));
    builder.build().expect("a valid pipeline")
}

/// Counts in sessions that end after two minutes of silence; there is none.
fn sessions() -> Topology {
    let builder = StreamsBuilder::new();
    let windows = SessionWindows::gap(2 * MINUTE).grace(MINUTE);
    let counts = by_key(&builder, "in").group_by_key().windowed_by(windows).count("counts");
    let counts = counts.to_stream().map(|window, count| (window.key, count.unwrap_or_default()));
    counts.to(&Topic::<String, i64>::plain("out"));
    builder.build().expect("a valid pipeline")
}

/// Pairs of records of two streams that are at most a minute apart.
fn joined() -> Topology {
    let builder = StreamsBuilder::new();
    let windows = JoinWindows::within(MINUTE).grace(MINUTE);
    let other = by_key(&builder, "other");
    let pairs = by_key(&builder, "in").join(&other, windows, "pairs", |_, _| 1_i64);
    pairs.to(&Topic::<String, i64>::plain("out"));
    builder.build().expect("a valid pipeline")
}

struct Run {
    log: MemoryLog,
    scratch: ScratchDir,
    recorder: Memory,
    app: App,
}

impl Run {
    /// On a machine without state.
    fn start(topology: &Topology, log: &MemoryLog) -> Self {
        let (scratch, recorder) = (ScratchDir::new(), Memory::default());
        let config = Config::builder("app", "in-process").state_dir(scratch.path());
        let config = config.workers(1).commit_interval(Duration::from_millis(5));
        let app = App::builder(topology, config.build().expect("valid settings"));
        let app = app.log(log.clone()).recorder(recorder.clone()).start().expect("it starts");
        Self { log: log.clone(), scratch, recorder, app }
    }

    fn send(&self, topic: &str, minute: u32) {
        self.log.produce(topic, None, at(minute), Some(b"key"), Some(b"v"), &Headers::new());
    }

    /// Waits for so many results, and ends.
    fn finish(self, results: usize) -> f64 {
        let clock = SystemClock::default();
        let deadline = clock.instant() + PATIENCE;
        while self.log.read("out").len() < results {
            assert!(self.app.error().is_none(), "{:?}", self.app.error());
            assert!(clock.instant() < deadline, "{} results", self.log.read("out").len());
            std::thread::yield_now();
        }
        assert!(self.app.close(PATIENCE), "{:?}", self.app.error());
        drop(self.scratch);
        self.recorder.sum("millstream_restore_records_total", &[])
    }
}

/// The last result, once a process has worked for many minutes, and another without its state for
/// one more; and how many records that one has restored.
fn moved(topology: &Topology, inputs: &[&str], results: [usize; 2]) -> (i64, f64) {
    let log = MemoryLog::new();
    ["in", "other", "out"].iter().for_each(|topic| log.create_topic(topic, 1));
    let first = Run::start(topology, &log);
    for minute in 0..MINUTES {
        inputs.iter().for_each(|topic| first.send(topic, minute));
    }
    assert_eq!(first.finish(results[0]), 0.0);
    let second = Run::start(topology, &log);
    second.send(inputs[0], MINUTES - 1);
    let restored = second.finish(results[0] + results[1]);
    let last = log.read("out").pop().and_then(|record| record.value).expect("it is no deletion");
    (i64::from_be_bytes(last.try_into().expect("eight bytes")), restored)
}

#[test]
fn windows_that_have_expired_are_not_read() {
    let (last, restored) = moved(&windowed(), &["in"], [MINUTES as usize, 1]);
    assert_eq!(last, 3, "it goes on where the other ended");
    assert!((1.0..30.0).contains(&restored), "{restored} records of {MINUTES} are restored");
}

#[test]
fn records_that_no_partner_can_meet_any_more_are_not_read() {
    // Each meets the one of its minute and those beside it.
    let results = 3 * MINUTES as usize - 2;
    let (_, restored) = moved(&joined(), &["in", "other"], [results, 2]);
    assert!((2.0..30.0).contains(&restored), "{restored} records of {MINUTES} are restored");
}

/// The row of a session may be older than its end, so the whole changelog is read.
#[test]
fn a_session_that_is_still_open_is_found_however_long_ago_it_began() {
    let results = 2 * MINUTES as usize - 1;
    let (last, restored) = moved(&sessions(), &["in"], [results, 1]);
    assert_eq!(last, i64::from(MINUTES) + 1);
    assert!(restored >= 1.0, "{restored}");
}
