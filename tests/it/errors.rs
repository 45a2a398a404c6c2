//! Does each policy do what it says for each kind of failure, and does no log show a record?

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use millstream::log::memory::{MemoryLog, ReadRecord};
use millstream::processor::{Processor, ProcessorContext};
use millstream::serde::Canonical;
use millstream::{
    App, AppState, BoxError, Codec, Config, ConfigBuilder, ErrorKind, ErrorPolicy, FailureAction,
    Guarantee, Headers, Record, StreamsBuilder, Timestamp, Topic, Topology,
};
use tracing::field::{Field, Visit};

use crate::scratch::ScratchDir;

const PATIENCE: Duration = Duration::from_secs(30);

/// Stands in every record that is to fail; must stand in no log line.
const SECRET: &str = "c0ntent-of-a-record";

/// Which step fails for a record whose value begins with its name.
struct Picky;

impl Codec<String> for Picky {
    fn encode(&self, value: &String, out: &mut Vec<u8>) -> Result<(), BoxError> {
        if value.starts_with("produce") {
            return Err(format!("cannot encode {value}").into());
        }
        out.extend_from_slice(value.as_bytes());
        Ok(())
    }

    fn decode(&self, bytes: &[u8]) -> Result<String, BoxError> {
        let value = String::from_utf8(bytes.to_vec())?;
        if value.starts_with("decode") {
            return Err(format!("cannot decode {value}").into());
        }
        Ok(value)
    }
}

fn picky(own: Option<ErrorPolicy>) -> Topology {
    picky_at(own, None)
}

/// The same steps for the same kinds of records, read from two topics and written to a third. The
/// first and the third may have policies of their own.
fn picky_at(own: Option<ErrorPolicy>, written: Option<ErrorPolicy>) -> Topology {
    let topic = |name: &'static str, own: Option<ErrorPolicy>| {
        let topic = Topic::<String, String>::new(name, Canonical, Picky);
        if let Some(own) = own { topic.on_error(own) } else { topic }
    };
    let (first, second, out) = (topic("first", own), topic("second", None), topic("out", written));
    let builder = StreamsBuilder::new();
    let step = |_: &String, value: String| {
        assert!(!value.starts_with("panic"), "a bug shows {value}");
        if value.starts_with("process") {
            Err(format!("cannot process {value}"))
        } else {
            Ok(value)
        }
    };
    builder.stream(&first).try_map_values_with_key(step).to(&out);
    builder.stream(&second).try_map_values_with_key(step).to(&out);
    builder.build().expect("a valid pipeline")
}

fn log() -> MemoryLog {
    let log = MemoryLog::new();
    for topic in ["first", "second", "out", "dead", "own-dead"] {
        log.create_topic(topic, 1);
    }
    log
}

fn settings(scratch: &ScratchDir) -> ConfigBuilder {
    Config::builder("app", "in-process")
        .state_dir(scratch.path())
        .workers(1)
        .commit_interval(Duration::from_millis(5))
}

fn send(log: &MemoryLog, topic: &str, kind: &str) {
    let mut headers = Headers::new();
    headers.push("trace", "42");
    let value = format!("{kind} {SECRET}");
    let at = Timestamp::from_millis(7_000);
    log.produce(topic, None, at, Some(b"key"), Some(value.as_bytes()), &headers);
}

fn start(topology: &Topology, log: &MemoryLog, settings: ConfigBuilder) -> App {
    let config = settings.build().expect("valid settings");
    let app = App::builder(topology, config).log(log.clone());
    app.on_failure(|_| FailureAction::Close).start().expect("it starts")
}

/// What a policy made of one good record between two bad ones of each kind.
fn run(topology: &Topology, settings: ConfigBuilder, topic: &str) -> MemoryLog {
    let log = log();
    let app = start(topology, &log, settings);
    for kind in ["decode", "process", "good", "produce"] {
        send(&log, topic, kind);
    }
    send(&log, topic, "last");
    let is_through = || log.read("out").iter().any(|record| value(record).starts_with("last"));
    assert!(log.wait_until(PATIENCE, is_through), "{:?}", app.error());
    assert!(app.close(PATIENCE));
    assert_eq!(app.state(), AppState::Closed);
    log
}

/// Wakes a thread that waits for a future.
struct Unpark(std::thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[track_caller]
pub(crate) fn wait_for_failure(app: &App) {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut ended = std::pin::pin!(app.ended());
    for _ in 0..PATIENCE.as_secs() {
        if ended.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            return assert_eq!(app.state(), AppState::Failed);
        }
        std::thread::park_timeout(Duration::from_secs(1));
    }
    panic!("it has not ended: {:?}", app.state());
}

fn value(record: &ReadRecord) -> String {
    String::from_utf8(record.value.clone().expect("not null")).expect("text")
}

fn kinds(log: &MemoryLog, topic: &str) -> Vec<String> {
    let kind = |record: &ReadRecord| value(record).split(' ').next().unwrap_or("").to_owned();
    log.read(topic).iter().map(kind).collect()
}

#[test]
fn skipping_leaves_failed_records_out() {
    for guarantee in [Guarantee::ExactlyOnce, Guarantee::AtLeastOnce] {
        let scratch = ScratchDir::new();
        let settings = settings(&scratch).guarantee(guarantee).on_error(ErrorPolicy::Skip);
        let log = run(&picky(None), settings, "first");
        assert_eq!(kinds(&log, "out"), ["good", "last"]);
        assert!(log.read("dead").is_empty());
    }
}

#[test]
fn dead_letters_are_the_records_as_they_came_with_headers_that_say_why() {
    for guarantee in [Guarantee::ExactlyOnce, Guarantee::AtLeastOnce] {
        let scratch = ScratchDir::new();
        let policy = ErrorPolicy::dead_letter("dead");
        let settings = settings(&scratch).guarantee(guarantee).on_error(policy);
        let log = run(&picky(None), settings, "first");
        assert_eq!(kinds(&log, "out"), ["good", "last"]);
        assert_eq!(kinds(&log, "dead"), ["decode", "process", "produce"]);
        let sent = log.read("first");
        for (record, (kind, offset)) in
            log.read("dead").iter().zip([("decode", 0), ("process", 1), ("produce", 3)])
        {
            let original = &sent[offset];
            assert_eq!((&record.key, &record.value), (&original.key, &original.value));
            assert_eq!(record.timestamp, original.timestamp);
            let header = |name: &str| {
                let found = record.headers.iter().find(|(known, _)| *known == name);
                let (_, value) = found.unwrap_or_else(|| panic!("no header `{name}`"));
                String::from_utf8(value.expect("not null").to_vec()).expect("text")
            };
            assert_eq!(header("trace"), "42");
            assert_eq!(header("__streams.errors.topic"), "first");
            assert_eq!(header("__streams.errors.partition"), "0");
            assert_eq!(header("__streams.errors.offset"), offset.to_string());
            let verb = if kind == "produce" { "encode" } else { kind };
            for name in ["message", "exception", "stacktrace"] {
                let text = header(&format!("__streams.errors.{name}"));
                assert!(text.contains(&format!("cannot {verb} {kind}")), "{name}: {text}");
            }
            let names: Vec<_> = record.headers.iter().map(|(name, _)| name).collect();
            assert_eq!(names.len(), 7, "{names:?}");
        }
    }
}

#[test]
fn failing_stops_at_the_record_and_says_where() {
    for (kind, node) in [("decode", false), ("process", true), ("produce", true)] {
        let (scratch, log) = (ScratchDir::new(), log());
        let app = start(&picky(None), &log, settings(&scratch));
        send(&log, "first", "good");
        send(&log, "first", kind);
        send(&log, "first", "good");
        wait_for_failure(&app);
        let error = app.error().expect("it has failed by an error");
        assert_eq!(error.kind(), ErrorKind::Data, "{error}");
        let (partition, offset) = error.position().expect("the record's place");
        assert_eq!((partition.to_string().as_str(), offset), ("first-0", 1));
        assert_eq!((error.task(), error.node().is_some()), (Some("0_0"), node), "{error}");
        assert!(error.to_string().contains("set the policy to skip or dead-letter"), "{error}");
        assert!(app.close(PATIENCE));
        // The record is read again, and again it is not passed over.
        let again = start(&picky(None), &log, settings(&scratch));
        wait_for_failure(&again);
        assert_eq!(again.error().and_then(|e| e.position().map(|(_, at)| at)), Some(1));
        assert!(again.close(PATIENCE));
    }
}

#[test]
fn each_kind_of_failure_has_its_own_policy() {
    let scratch = ScratchDir::new();
    let settings = settings(&scratch)
        .on_decode_error(ErrorPolicy::dead_letter("dead"))
        .on_process_error(ErrorPolicy::Skip)
        .on_produce_error(ErrorPolicy::dead_letter("own-dead"));
    let log = run(&picky(None), settings, "second");
    assert_eq!(kinds(&log, "dead"), ["decode"]);
    assert_eq!(kinds(&log, "own-dead"), ["produce"]);
    assert_eq!(kinds(&log, "out"), ["good", "last"]);
}

#[test]
fn a_topic_may_have_a_policy_of_its_own() {
    let own = Some(ErrorPolicy::dead_letter("own-dead"));
    let sent = |topology: &Topology, topic: &str| {
        let scratch = ScratchDir::new();
        let settings = settings(&scratch).on_error(ErrorPolicy::dead_letter("dead"));
        let log = run(topology, settings, topic);
        ["own-dead", "dead"].map(|dead| kinds(&log, dead))
    };
    let all = ["decode", "process", "produce"].map(str::to_owned).to_vec();
    let (reading, writing) = (all[..2].to_vec(), all[2..].to_vec());
    let read = picky_at(own.clone(), None);
    assert_eq!(sent(&read, "first"), [reading.clone(), writing.clone()]);
    assert_eq!(sent(&read, "second"), [vec![], all]);
    assert_eq!(sent(&picky_at(None, own), "first"), [writing, reading]);
}

/// Every line that is logged while the tests run, above the level of trace.
pub(crate) fn lines() -> &'static Mutex<Vec<String>> {
    static LINES: OnceLock<Mutex<Vec<String>>> = OnceLock::new();
    LINES.get_or_init(|| {
        tracing::subscriber::set_global_default(Lines).expect("no other subscriber is set");
        Mutex::default()
    })
}

struct Lines;

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        use std::fmt::Write as _;
        write!(self.0, " {}={value:?}", field.name()).expect("text takes text");
    }
}

impl tracing::Subscriber for Lines {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() <= tracing::Level::DEBUG && metadata.target().starts_with("millstream")
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        lines().lock().expect("no panic while held").push(line.0);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn logs_tell_what_happens_and_never_show_a_record_or_a_secret() {
    drop(lines().lock());
    let secret = |settings: ConfigBuilder| settings.client_property("sasl.password", "hunter2");
    for policy in [ErrorPolicy::Skip, ErrorPolicy::dead_letter("dead")] {
        let scratch = ScratchDir::new();
        run(&picky(None), secret(settings(&scratch).on_error(policy)), "first");
    }
    for kind in ["decode", "process", "produce", "panic"] {
        let (scratch, log) = (ScratchDir::new(), log());
        let app = start(&picky(None), &log, secret(settings(&scratch)));
        send(&log, "first", kind);
        wait_for_failure(&app);
        let error = app.error().expect("it has failed by an error");
        assert!(error.to_string().contains(SECRET), "the user is told all: {error}");
        assert!(app.close(PATIENCE));
    }
    let lines = lines().lock().expect("no panic while held");
    for line in lines.iter() {
        assert!(!line.contains(SECRET) && !line.contains("hunter2"), "{line}");
    }
    let wanted: [&[&str]; 12] = [
        &["INFO", "application starts"],
        &["INFO", "rebalance", "assigned"],
        &["INFO", "task begins to restore", "0_0"],
        &["INFO", "task restored", "0_0"],
        &["INFO", "task running", "0_0"],
        &["DEBUG", "committed"],
        &["INFO", "task closed", "0_0"],
        &["INFO", "application state", "Running"],
        &["WARN", "record skipped", "first-0", "offset=1"],
        &["WARN", "record dead-lettered", "first-0", "offset=3", "dead"],
        &["ERROR", "a worker has failed", "first-0"],
        &["ERROR", "the pipeline panicked"],
    ];
    for wanted in wanted {
        let is_told = lines.iter().any(|line| wanted.iter().all(|part| line.contains(part)));
        assert!(is_told, "no line holds {wanted:?}");
    }
}

#[test]
fn a_worker_that_fails_is_replaced_and_its_failure_is_told() {
    let (scratch, log) = (ScratchDir::new(), log());
    let told: Arc<Mutex<Vec<ErrorKind>>> = Arc::default();
    let kinds = Arc::clone(&told);
    let app = App::builder(&picky(None), settings(&scratch).build().expect("valid settings"))
        .log(log.clone())
        .on_failure(move |error| {
            let mut kinds = kinds.lock().expect("no panic while held");
            kinds.push(error.kind());
            if kinds.len() < 3 { FailureAction::ReplaceWorker } else { FailureAction::Close }
        })
        .start()
        .expect("it starts");
    send(&log, "first", "panic");
    wait_for_failure(&app);
    assert_eq!(*told.lock().expect("no panic while held"), [ErrorKind::Panic; 3]);
    assert!(app.close(PATIENCE));
}

/// Hands records on.
struct Pass;

impl Processor<String, String, String, String> for Pass {
    fn process(
        &mut self,
        cx: &mut ProcessorContext<'_, String, String>,
        record: Record<String, String>,
    ) -> Result<(), BoxError> {
        cx.forward(record);
        Ok(())
    }
}

/// Tasks were built under a lock, which the panic poisoned: no task was ever built again.
#[test]
fn a_processor_whose_making_panics_once_is_made_again() {
    let (scratch, log) = (ScratchDir::new(), log());
    let panics = Arc::new(AtomicBool::new(false));
    let armed = Arc::clone(&panics);
    let builder = StreamsBuilder::new();
    let text = |name: &str| Topic::<String, String>::plain(name);
    let made = move || {
        assert!(!armed.swap(false, Ordering::SeqCst), "a resource is not there yet");
        Pass
    };
    builder.stream(&text("first")).process(made).to(&text("out"));
    let topology = builder.build().expect("a valid pipeline");
    panics.store(true, Ordering::SeqCst);
    let app = App::builder(&topology, settings(&scratch).build().expect("valid settings"))
        .log(log.clone())
        .on_failure(|_| FailureAction::ReplaceWorker)
        .start()
        .expect("it starts");
    send(&log, "first", "good");
    assert!(log.wait_until(PATIENCE, || !log.read("out").is_empty()), "{:?}", app.error());
    assert!(!panics.load(Ordering::SeqCst), "it has panicked");
    assert!(app.close(PATIENCE));
}

/// A worker that fails whenever it is replaced must not keep the application from closing.
#[test]
fn an_application_closes_though_its_workers_fail_one_after_the_other() {
    let (scratch, log) = (ScratchDir::new(), log());
    let builder = StreamsBuilder::new();
    let text = |name: &str| Topic::<String, String>::plain(name);
    let panics = Arc::new(AtomicBool::new(false));
    let (armed, failures) = (Arc::clone(&panics), Arc::new(AtomicU32::new(0)));
    let made = move || {
        assert!(!armed.load(Ordering::SeqCst), "a resource is not there");
        Pass
    };
    builder.stream(&text("first")).process(made).to(&text("out"));
    let topology = builder.build().expect("a valid pipeline");
    panics.store(true, Ordering::SeqCst);
    let counted = Arc::clone(&failures);
    let app = App::builder(&topology, settings(&scratch).build().expect("valid settings"))
        .log(log.clone())
        .on_failure(move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
            FailureAction::ReplaceWorker
        })
        .start()
        .expect("it starts");
    assert!(log.wait_until(PATIENCE, || failures.load(Ordering::SeqCst) > 3));
    assert!(app.close(PATIENCE), "{:?}", app.state());
}
