//! When do a processor's timers fire?

use std::time::Duration;

use millstream::log::memory::MemoryLog;
use millstream::processor::{Cancellable, Processor, ProcessorContext, Punctuation};
use millstream::testing::TopologyTestDriver;
use millstream::{
    App, BoxError, Config, ErrorPolicy, PunctuationType, Record, StreamsBuilder, Timestamp,
    Topology,
};

use crate::processor::{at, drain, numbers, results, rows, send};
use crate::scratch::ScratchDir;

const TEN: Duration = Duration::from_millis(10);

/// Forwards each record, and `tick` with the time when a timer fires. Values are commands.
struct Clockwork {
    kind: PunctuationType,
    start: Option<Timestamp>,
    timers: Vec<Cancellable>,
}

/// The timer set last is cancelled.
const CANCEL: i64 = -1;
/// Another timer is set.
const SET: i64 = -2;
/// When the next timer fires, it cancels all others.
const CANCEL_OTHERS: i64 = -3;
/// When the next timer fires, it fails.
const FAIL: i64 = -4;

impl Clockwork {
    fn set(&mut self, cx: &mut ProcessorContext<'_, String, i64>) {
        let timer = match self.start {
            Some(start) => cx.schedule_from(start, TEN, self.kind),
            None => cx.schedule(TEN, self.kind),
        };
        self.timers.push(timer);
    }
}

/// A clockwork and what its next timer is to do.
struct Commanded {
    clockwork: Clockwork,
    next: i64,
}

impl Processor<String, i64, String, i64> for Commanded {
    fn init(&mut self, cx: &mut ProcessorContext<'_, String, i64>) -> Result<(), BoxError> {
        self.clockwork.set(cx);
        Ok(())
    }

    fn process(
        &mut self,
        cx: &mut ProcessorContext<'_, String, i64>,
        record: Record<String, i64>,
    ) -> Result<(), BoxError> {
        match record.value {
            CANCEL => self.clockwork.timers.pop().expect("a timer is set").cancel(),
            SET => self.clockwork.set(cx),
            other => self.next = other,
        }
        cx.forward(record);
        Ok(())
    }

    fn punctuate(
        &mut self,
        cx: &mut ProcessorContext<'_, String, i64>,
        punctuation: Punctuation,
    ) -> Result<(), BoxError> {
        assert!(cx.record_metadata().is_none() && cx.headers()?.is_empty());
        assert_eq!(punctuation.kind, self.clockwork.kind);
        let timers = &self.clockwork.timers;
        let which = timers.iter().position(|timer| timer.timer() == punctuation.timer);
        let which = which.expect("it set the timer itself");
        match std::mem::take(&mut self.next) {
            FAIL => return Err("the spring is broken".into()),
            CANCEL_OTHERS => {
                let others = timers.iter().filter(|timer| timer.timer() != punctuation.timer);
                others.for_each(Cancellable::cancel);
            }
            _ => {}
        }
        let time = punctuation.time;
        cx.forward(Record::new(format!("tick{which}"), time.as_millis(), time));
        Ok(())
    }
}

fn topology(kind: PunctuationType, start: Option<Timestamp>) -> Topology {
    let builder = StreamsBuilder::new();
    let commanded = move || {
        let clockwork = Clockwork { kind, start, timers: Vec::new() };
        Commanded { clockwork, next: 0 }
    };
    builder.stream(&numbers()).process(commanded).to(&results());
    builder.build().expect("a valid pipeline")
}

fn driver(kind: PunctuationType) -> TopologyTestDriver {
    TopologyTestDriver::new(&topology(kind, None))
}

fn advance(driver: &mut TopologyTestDriver, millis: u64) {
    driver.advance(Duration::from_millis(millis)).expect("the application goes on");
}

#[test]
fn stream_time_fires_with_the_first_record_and_once_for_each_step_over_the_grid() {
    let mut driver = driver(PunctuationType::StreamTime);
    advance(&mut driver, 1_000);
    assert_eq!(drain(&mut driver), [], "without a record there is no stream time");
    send(&mut driver, "a", 0, 3);
    assert_eq!(drain(&mut driver), rows([("a", 0, 3), ("tick0", 3, 3)]));
    send(&mut driver, "a", 0, 9);
    assert_eq!(drain(&mut driver), rows([("a", 0, 9)]));
    send(&mut driver, "a", 0, 10);
    assert_eq!(drain(&mut driver), rows([("a", 0, 10), ("tick0", 10, 10)]));
    send(&mut driver, "a", 0, 57);
    assert_eq!(drain(&mut driver), rows([("a", 0, 57), ("tick0", 57, 57)]));
    send(&mut driver, "late", 0, 20);
    send(&mut driver, "a", 0, 60);
    let wanted = rows([("late", 0, 20), ("a", 0, 60), ("tick0", 60, 60)]);
    assert_eq!(drain(&mut driver), wanted);
}

#[test]
fn the_wall_clock_fires_after_an_interval_and_makes_up_for_nothing() {
    let mut driver = driver(PunctuationType::WallClock);
    advance(&mut driver, 9);
    send(&mut driver, "a", 0, 1_000);
    assert_eq!(drain(&mut driver), rows([("a", 0, 1_000)]));
    advance(&mut driver, 1);
    assert_eq!(drain(&mut driver), rows([("tick0", 10, 10)]));
    advance(&mut driver, 35);
    assert_eq!(drain(&mut driver), rows([("tick0", 45, 45)]));
    advance(&mut driver, 4);
    assert_eq!(drain(&mut driver), []);
    advance(&mut driver, 1);
    assert_eq!(drain(&mut driver), rows([("tick0", 50, 50)]));
}

#[test]
fn the_wall_clock_fires_on_its_grid_though_it_was_set_back_an_hour() {
    const HOUR: u64 = 3_600_000;
    let mut driver = driver(PunctuationType::WallClock);
    advance(&mut driver, HOUR + 42);
    let late = i64::try_from(HOUR).expect("a small number") + 42;
    assert_eq!(drain(&mut driver), rows([("tick0", late, late)]));
    driver.set_clock_back(Duration::from_millis(HOUR)).expect("the application goes on");
    assert_eq!(drain(&mut driver), []);
    for tick in [50, 60, 70] {
        advance(&mut driver, if tick == 50 { 8 } else { 10 });
        assert_eq!(drain(&mut driver), rows([("tick0", tick, tick)]));
    }
}

#[test]
fn a_timer_may_start_on_a_grid_of_its_own() {
    let kind = PunctuationType::WallClock;
    let mut driver = TopologyTestDriver::new(&topology(kind, Some(at(3))));
    advance(&mut driver, 3);
    assert_eq!(drain(&mut driver), rows([("tick0", 3, 3)]));
    advance(&mut driver, 4);
    // Set at 7, when the start is past: on the grid of the first, and behind it.
    send(&mut driver, "set", SET, 0);
    advance(&mut driver, 8);
    let wanted = rows([("set", SET, 0), ("tick0", 15, 15), ("tick1", 15, 15)]);
    assert_eq!(drain(&mut driver), wanted);
}

#[test]
fn a_cancelled_timer_does_not_fire_not_even_if_it_is_due() {
    let mut driver = driver(PunctuationType::StreamTime);
    send(&mut driver, "set", SET, 1);
    assert_eq!(drain(&mut driver), rows([("set", SET, 1), ("tick0", 1, 1), ("tick1", 1, 1)]));
    send(&mut driver, "others", CANCEL_OTHERS, 10);
    assert_eq!(drain(&mut driver), rows([("others", CANCEL_OTHERS, 10), ("tick0", 10, 10)]));
    send(&mut driver, "a", 0, 20);
    assert_eq!(drain(&mut driver), rows([("a", 0, 20), ("tick0", 20, 20)]));
    send(&mut driver, "last", CANCEL, 20);
    send(&mut driver, "last", CANCEL, 30);
    send(&mut driver, "a", 0, 40);
    let wanted = rows([("last", CANCEL, 20), ("last", CANCEL, 30), ("a", 0, 40)]);
    assert_eq!(drain(&mut driver), wanted);
}

#[test]
fn an_error_of_a_timer_stops_or_is_passed_over_by_policy() {
    let topology = topology(PunctuationType::WallClock, None);
    let mut driver = TopologyTestDriver::new(&topology);
    send(&mut driver, "fail", FAIL, 0);
    let stopped = driver.advance(TEN).unwrap_err().to_string();
    assert!(stopped.contains("the spring is broken"), "{stopped}");
    assert!(stopped.contains("`KSTREAM-PROCESSOR-0000000001`, task 0_0"), "{stopped}");

    let config = Config::builder("test", "in-process").on_error(ErrorPolicy::Skip).build().unwrap();
    let mut driver = TopologyTestDriver::with_config(&topology, config);
    send(&mut driver, "fail", FAIL, 0);
    driver.advance(TEN).unwrap();
    assert_eq!(drain(&mut driver), rows([("fail", FAIL, 0)]));
    driver.advance(TEN).unwrap();
    assert_eq!(drain(&mut driver), rows([("tick0", 20, 20)]));
}

#[test]
fn a_task_that_starts_again_sets_its_timers_again_and_remembers_stream_time() {
    let mut timed = driver(PunctuationType::StreamTime);
    send(&mut timed, "set", SET, 15);
    timed.crash().unwrap();
    send(&mut timed, "a", 0, 3);
    let wanted = [("set", SET, 15), ("tick0", 15, 15), ("tick1", 15, 15), ("a", 0, 3)];
    let mut wanted = wanted.to_vec();
    wanted.push(("tick0", 15, 15));
    assert_eq!(drain(&mut timed), rows::<5>(wanted.try_into().unwrap()));

    let mut timed = driver(PunctuationType::WallClock);
    advance(&mut timed, 7);
    timed.crash().unwrap();
    advance(&mut timed, 9);
    assert_eq!(drain(&mut timed), []);
    advance(&mut timed, 1);
    assert_eq!(drain(&mut timed), rows([("tick0", 17, 17)]));
}

#[test]
fn the_wall_clock_fires_in_a_running_application_without_any_record() {
    const PATIENCE: Duration = Duration::from_secs(30);
    let log = MemoryLog::new();
    log.create_topic("numbers", 1);
    log.create_topic("results", 1);
    let directory = ScratchDir::new();
    let config = Config::builder("timers", "in-process").state_dir(directory.path());
    let config = config.commit_interval(TEN).build().unwrap();
    let topology = topology(PunctuationType::WallClock, None);
    let app = App::builder(&topology, config).log(log.clone()).start().unwrap();
    let has_ticked = log.wait_until(PATIENCE, || log.read("results").len() >= 3);
    assert!(has_ticked, "{:?}", app.error());
    assert!(app.close(PATIENCE), "{:?}", app.error());
    let times: Vec<_> = log.read("results").iter().map(|record| record.timestamp).collect();
    assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "{times:?}");
}
