//! What can be done with a running application: its states, its end, its workers, its failures?

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use millstream::log::memory::MemoryLog;
use millstream::{
    App, AppBuilder, AppState, Config, ErrorKind, FailureAction, Headers, StreamsBuilder,
    Timestamp, Topic, Topology,
};

use crate::scratch::ScratchDir;

const PATIENCE: Duration = Duration::from_secs(30);

/// Wakes the thread that waits for a future.
struct Unpark(std::thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// What a runtime of one thread does.
#[track_caller]
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = std::pin::pin!(future);
    for _ in 0..PATIENCE.as_secs() {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park_timeout(Duration::from_secs(1)),
        }
    }
    panic!("the future has not ended");
}

fn log() -> MemoryLog {
    let log = MemoryLog::new();
    log.create_topic("in", 4);
    log.create_topic("out", 1);
    log
}

fn send(log: &MemoryLog, partition: u32, value: &str) {
    let at = Timestamp::from_millis(7);
    log.produce("in", Some(partition), at, Some(b"key"), Some(value.as_bytes()), &Headers::new());
}

/// Passes values on; `step` sees them before.
fn passing(step: impl Fn(&str) + Send + Sync + 'static) -> Topology {
    let input = Topic::<String, String>::plain("in");
    let builder = StreamsBuilder::new();
    let stream = builder.stream(&input).map_values(move |value: String| {
        step(&value);
        value
    });
    stream.to(&Topic::plain("out"));
    builder.build().expect("a valid pipeline")
}

fn app(topology: &Topology, log: &MemoryLog, scratch: &ScratchDir) -> AppBuilder {
    let config = Config::builder("app", "in-process")
        .state_dir(scratch.path())
        .workers(1)
        .commit_interval(Duration::from_millis(5));
    App::builder(topology, config.build().expect("valid settings")).log(log.clone())
}

type States = Arc<Mutex<Vec<(AppState, AppState)>>>;

fn listening(builder: AppBuilder) -> (AppBuilder, States) {
    let states = States::default();
    let told = Arc::clone(&states);
    let builder = builder.on_state(move |before, after| {
        told.lock().expect("no panic while held").push((before, after));
    });
    (builder, states)
}

#[test]
fn a_listener_is_told_each_state_and_the_one_before() {
    use AppState::{Closed, Closing, Created, Rebalancing, Running};
    let (log, scratch) = (log(), ScratchDir::new());
    let (builder, states) = listening(app(&passing(|_| {}), &log, &scratch));
    let app = builder.start().expect("it starts");
    assert!(app.wait_until_running(PATIENCE));
    block_on(app.begin_close()).expect("it was closed");
    assert_eq!(app.state(), Closed);
    assert!(app.close(PATIENCE));
    let wanted =
        [(Created, Rebalancing), (Rebalancing, Running), (Running, Closing), (Closing, Closed)];
    assert_eq!(*states.lock().expect("no panic while held"), wanted);
}

#[test]
fn a_failure_ends_in_its_own_state_and_the_future_yields_it() {
    let (log, scratch) = (log(), ScratchDir::new());
    let (builder, states) = listening(app(&passing(|_| panic!("a bug")), &log, &scratch));
    let app = builder.start().expect("it starts");
    send(&log, 0, "a");
    let error = block_on(app.ended()).expect_err("the pipeline panics");
    assert_eq!(error.kind(), ErrorKind::Panic);
    assert!(app.close(PATIENCE));
    let last = states.lock().expect("no panic while held").last().copied();
    assert_eq!(last, Some((AppState::Closing, AppState::Failed)));
}

#[test]
fn closing_gives_up_waiting_in_time_and_goes_on() {
    let (log, scratch) = (log(), ScratchDir::new());
    let (entered, has_entered) = channel();
    let (release, released): (Sender<()>, Receiver<()>) = channel();
    let gates = Mutex::new((entered, released));
    let topology = passing(move |_| {
        let gates = gates.lock().expect("no panic while held");
        gates.0.send(()).expect("the test waits");
        gates.1.recv().expect("the test lets it go on");
    });
    let app = app(&topology, &log, &scratch).start().expect("it starts");
    send(&log, 0, "a");
    has_entered.recv_timeout(PATIENCE).expect("the record is processed");
    assert!(!app.close(Duration::from_millis(20)));
    assert_eq!(app.state(), AppState::Closing);
    release.send(()).expect("the pipeline waits");
    block_on(app.ended()).expect("it was closed");
    assert!(app.close(PATIENCE));
    assert_eq!(log.read("out").len(), 1);
}

#[test]
fn tasks_spread_over_a_worker_that_comes_and_return_when_it_goes() {
    let (log, scratch) = (log(), ScratchDir::new());
    let threads: Arc<Mutex<BTreeSet<String>>> = Arc::default();
    let seen = Arc::clone(&threads);
    let topology = passing(move |_| {
        let name = std::thread::current().name().unwrap_or_default().to_owned();
        seen.lock().expect("no panic while held").insert(name);
    });
    let app = app(&topology, &log, &scratch).start().expect("it starts");
    // Sends to every partition until exactly that many workers have processed a round.
    let settles = |workers: usize| {
        (0..1_000).any(|_| {
            threads.lock().expect("no panic while held").clear();
            let before = log.read("out").len();
            (0..4).for_each(|partition| send(&log, partition, "a"));
            assert!(log.wait_until(PATIENCE, || log.read("out").len() >= before + 4));
            threads.lock().expect("no panic while held").len() == workers
        })
    };
    assert!(settles(1));
    app.add_worker();
    assert!(settles(2));
    app.remove_worker();
    assert!(settles(1));
    app.remove_worker();
    assert!(settles(1), "the last worker stays");
    assert!(app.close(PATIENCE));
    assert_eq!(app.state(), AppState::Closed);
}

#[test]
fn one_process_can_close_all_of_the_application_and_later_ones_run() {
    // The record may reach the other process before the word does; it must not fail there as well.
    let has_failed = AtomicBool::new(false);
    let topology = passing(move |value| {
        assert!(value != "poison" || has_failed.swap(true, Ordering::SeqCst), "a bug");
    });
    let log = log();
    let scratch = [ScratchDir::new(), ScratchDir::new(), ScratchDir::new()];
    let start = |scratch| {
        let builder = app(&topology, &log, scratch).on_failure(|_| FailureAction::CloseAll);
        let app = builder.start().expect("it starts");
        assert!(app.wait_until_running(PATIENCE), "{:?}", app.error());
        app
    };
    let both = [start(&scratch[0]), start(&scratch[1])];
    send(&log, 0, "poison");
    let errors = both.each_ref().map(|app| block_on(app.ended()).expect_err("all end"));
    assert_eq!(both.each_ref().map(App::state), [AppState::Failed; 2]);
    let kinds: BTreeSet<_> = errors.iter().map(|error| format!("{:?}", error.kind())).collect();
    assert_eq!(kinds, ["Fatal", "Panic"].map(str::to_owned).into());
    let told = errors.iter().find(|error| error.kind() == ErrorKind::Fatal).expect("it is there");
    assert!(told.to_string().contains("another process of the application"), "{told}");
    assert!(both.iter().all(|app| app.close(PATIENCE)));

    // What has happened before it began does not concern the next; its own failure does.
    let (builder, states) = listening(app(&passing(|_| {}), &log, &scratch[2]));
    let later = builder.start().expect("it starts");
    assert!(log.wait_until(PATIENCE, || log.read("out").len() == 1));
    block_on(later.begin_close()).expect("nothing has closed it but we");
    let failed = |(_, after): &(AppState, AppState)| *after == AppState::Failed;
    assert!(!states.lock().expect("no panic while held").iter().any(failed));
}

#[test]
fn handlers_that_panic_themselves_do_no_harm() {
    let (log, scratch) = (log(), ScratchDir::new());
    let builder = app(&passing(|_| panic!("a bug")), &log, &scratch);
    let builder = builder.on_failure(|_| panic!("another bug"));
    let app = builder.on_state(|_, _| panic!("and one more")).start().expect("it starts");
    send(&log, 0, "a");
    let error = block_on(app.ended()).expect_err("the pipeline panics");
    assert!(error.to_string().contains("a bug"), "{error}");
    assert_eq!(app.state(), AppState::Failed);
    assert!(app.close(PATIENCE));
}

#[test]
fn one_error_type_takes_in_every_phase() {
    fn run(brokers: &str, log: &MemoryLog) -> millstream::Result<()> {
        let scratch = ScratchDir::new();
        let config = Config::builder("app", brokers).state_dir(scratch.path()).build()?;
        let builder = StreamsBuilder::new();
        if brokers == "empty" {
            builder.build()?;
        }
        let app = App::builder(&passing(|_| {}), config).log(log.clone()).start()?;
        assert!(app.close(PATIENCE));
        Ok(())
    }
    let told = |brokers, log: &MemoryLog| run(brokers, log).expect_err("refused").to_string();
    assert!(told("", &log()).contains("`brokers` is empty"));
    assert!(told("empty", &log()).contains("reads no topic"));
    assert!(told("in-process", &MemoryLog::new()).contains("`in` does not exist"));
    run("in-process", &log()).expect("nothing is wrong");
}
