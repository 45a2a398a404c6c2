//! Which machines have fallen silent? A processor of our own, with a store and a timer.
//!
//! ```text
//! cargo run --example custom_processor --no-default-features     # no broker, no system package
//! cargo run --example custom_processor -- --brokers HOST:PORT    # the same program on Kafka
//! ```
//!
//! Machines send a beat every second. No operator can tell that a record has *not* come; a timer
//! can: every ten seconds of stream time the watchdog looks for machines that were not heard of for
//! thirty, raises one alarm for each, and says on a second output when one is back. The example
//! writes the beats, runs the pipeline, and checks the alarms against the pauses in the log.

#![expect(clippy::print_stdout, reason = "an example talks to people")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use millstream::log::Log;
use millstream::processor::{KeyValueStore, Outlet, Processor, ProcessorContext, Punctuation};
use millstream::time::{Clock, SystemClock};
use millstream::{
    App, BoxError, Materialized, NamedOutput, Processed, PunctuationType, Record, StreamsBuilder,
    Timestamp, Topic, Topology,
};
use serde::{Deserialize, Serialize};
use support::{Arguments, Place, Random, Reader, Stopwatch, Writer};

mod support;

const MACHINES: u64 = 60;
const SECONDS: i64 = 900;
const SILENT_AFTER: Duration = Duration::from_secs(30);
const LOOKS_EVERY: Duration = Duration::from_secs(10);
/// Every pause that the example writes is at least that long, and noticed for certain.
const SHORTEST_PAUSE_MS: i64 = 60_000;

/// What the watchdog remembers of a machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Heard {
    last_ms: i64,
    is_silent: bool,
}

fn beats() -> Topic<u64, i64> {
    Topic::plain("custom-processor-beats")
}

/// Machine, and when it was last heard of.
fn alarms() -> Topic<u64, i64> {
    Topic::plain("custom-processor-alarms")
}

/// Machine, and for how many milliseconds it was silent.
fn returns() -> Topic<u64, i64> {
    Topic::plain("custom-processor-returns")
}

/// One of these watches the machines of each partition.
struct Watchdog {
    heard: KeyValueStore<u64, Heard>,
    returned: Outlet<u64, i64>,
}

impl Processor<u64, i64, u64, i64> for Watchdog {
    fn init(&mut self, cx: &mut ProcessorContext<'_, u64, i64>) -> Result<(), BoxError> {
        cx.schedule(LOOKS_EVERY, PunctuationType::StreamTime);
        Ok(())
    }

    fn process(
        &mut self,
        cx: &mut ProcessorContext<'_, u64, i64>,
        record: Record<u64, i64>,
    ) -> Result<(), BoxError> {
        let now = record.timestamp;
        let heard = Heard { last_ms: now.as_millis(), is_silent: false };
        let before = self.heard.update(&record.key, now, |known| known.replace(heard))?;
        if let Some(before) = before.filter(|before| before.is_silent) {
            let pause_ms = now.as_millis() - before.last_ms;
            cx.forward_to(&mut self.returned, record.with_value(pause_ms));
        }
        Ok(())
    }

    fn punctuate(
        &mut self,
        cx: &mut ProcessorContext<'_, u64, i64>,
        Punctuation { time, .. }: Punctuation,
    ) -> Result<(), BoxError> {
        for (machine, heard, _) in self.heard.all()? {
            let last = Timestamp::from_millis(heard.last_ms);
            if !heard.is_silent && last + SILENT_AFTER <= time {
                cx.forward(Record::new(machine, heard.last_ms, time));
                self.heard.put(machine, Heard { is_silent: true, ..heard }, time)?;
            }
        }
        Ok(())
    }
}

/// The pipeline: the watchdog between one topic and two.
fn topology() -> Result<Topology, BoxError> {
    let builder = StreamsBuilder::new();
    let heard = builder.add_store(Materialized::named("heard"));
    let options = Processed::new().named("watchdog").stores(heard);
    let (silent, returned) = builder.stream(&beats()).process_to(
        NamedOutput::new("returned"),
        options,
        |returned, heard| Watchdog { heard, returned },
    );
    silent.to(&alarms());
    returned.to(&returns());
    Ok(builder.build()?)
}

fn main() -> ExitCode {
    support::exit_of(run)
}

fn run(arguments: &Arguments) -> Result<(), BoxError> {
    let place = Place::open(arguments.config("custom-processor"), arguments)?;
    place.create_topics(&[beats().name(), alarms().name(), returns().name()])?;
    let log = &*place.log;
    write_beats(&place.log)?;
    let expected = Pauses::in_log(Reader::read_to_end(log, &beats())?);

    let app = App::builder(&topology()?, place.config.clone());
    let app = app.shared_log(Arc::clone(&place.log)).start()?;
    let watched = watch(&app, log, &expected);
    let is_closed = app.close(Duration::from_secs(30));
    watched?;
    let raised = Reader::read_to_end(log, &alarms())?;
    let returned = Reader::read_to_end(log, &returns())?;
    show(&raised);
    if !is_closed || Pauses::reported(&raised, &returned) != expected {
        return Err("the alarms differ from the pauses in the log".into());
    }
    let (alarms, back) = (raised.len(), returned.len());
    println!("\n{alarms} machines fell silent, {back} came back, and each was reported once");
    Ok(())
}

/// Writes beats with pauses: the same in each run, but for the time and the machines' numbers.
fn write_beats(log: &Arc<dyn Log>) -> Result<(), BoxError> {
    let earlier = Reader::read_to_end(&**log, &beats())?;
    let latest = earlier.iter().map(|beat| beat.timestamp.as_millis()).max();
    let now = SystemClock::default().timestamp().as_millis();
    // Behind every beat of an earlier run, whose machines all fall silent.
    let first = latest.map_or(now, |latest| now.max(latest + 60 * SHORTEST_PAUSE_MS));
    let mut writer = Writer::new(log)?;
    let mut random = Random::new(0x9e37_79b9_7f4a_7c15);
    let mut draw = |below: i64| random.below(below as u64) as i64;
    let mut paused_until = vec![0; MACHINES as usize];
    for second in 0..SECONDS {
        for (machine, until) in paused_until.iter_mut().enumerate() {
            // Later than that a pause might end unnoticed, behind the last beat of all.
            if *until <= second && second + 200 < SECONDS && draw(400) == 0 {
                let is_for_ever = draw(8) == 0;
                *until = if is_for_ever { SECONDS } else { second + 61 + draw(60) };
            }
            if *until <= second {
                let time = first + second * 1_000 + draw(1_000);
                let number = first as u64 * MACHINES + machine as u64;
                writer.write(&beats(), &number, &second, Timestamp::from_millis(time))?;
            }
        }
    }
    writer.flush()
}

/// Machines that fell silent, by machine and time of the last beat, and those that came back.
#[derive(Debug, PartialEq, Eq, Default)]
struct Pauses {
    silent: BTreeSet<(u64, i64)>,
    returned: BTreeSet<(u64, i64)>,
    repeated: usize,
}

impl Pauses {
    /// What must be reported: the long gaps between the beats of each machine.
    fn in_log(beats: Vec<Record<u64, i64>>) -> Self {
        let mut times: BTreeMap<u64, BTreeSet<i64>> = BTreeMap::new();
        for beat in &beats {
            times.entry(beat.key).or_default().insert(beat.timestamp.as_millis());
        }
        let end = times.values().filter_map(BTreeSet::last).max().copied().unwrap_or_default();
        let mut pauses = Self::default();
        for (machine, times) in times {
            for (last, next) in times.iter().zip(times.iter().skip(1)) {
                if next - last >= SHORTEST_PAUSE_MS {
                    pauses.silent.insert((machine, *last));
                    pauses.returned.insert((machine, next - last));
                }
            }
            let last = times.last().copied().unwrap_or_default();
            if end - last >= SHORTEST_PAUSE_MS {
                pauses.silent.insert((machine, last));
            }
        }
        pauses
    }

    /// What was reported.
    fn reported(alarms: &[Record<u64, i64>], returns: &[Record<u64, i64>]) -> Self {
        let pairs = |records: &[Record<u64, i64>]| -> BTreeSet<(u64, i64)> {
            records.iter().map(|record| (record.key, record.value)).collect()
        };
        let (silent, returned) = (pairs(alarms), pairs(returns));
        let repeated = alarms.len() + returns.len() - silent.len() - returned.len();
        Self { silent, returned, repeated }
    }
}

/// Shows the progress until as much is reported as must be.
fn watch(app: &App, log: &dyn Log, expected: &Pauses) -> Result<(), BoxError> {
    let mut alarms = Reader::open(log, &alarms())?;
    let mut returns = Reader::open(log, &returns())?;
    let (mut silent, mut returned) = (0, 0);
    let total = expected.silent.len();
    let mut shown = Stopwatch::start();
    loop {
        alarms.poll(|_| silent += 1)?;
        returns.poll(|_| returned += 1)?;
        let is_done = silent >= total && returned >= expected.returned.len();
        if is_done || shown.elapsed() > Duration::from_millis(200) {
            println!("{silent:>4} of {total} alarms raised, {returned:>4} machines back");
            shown = Stopwatch::start();
        }
        if is_done {
            return Ok(());
        }
        if let Some(error) = app.error() {
            return Err(error.to_string().into());
        }
        alarms.wait(Duration::from_millis(100));
    }
}

/// Shows how late alarms were raised: at least thirty seconds after the last beat, and at most ten
/// seconds later.
fn show(alarms: &[Record<u64, i64>]) {
    let mut late: BTreeMap<i64, usize> = BTreeMap::new();
    for alarm in alarms {
        *late.entry((alarm.timestamp.as_millis() - alarm.value) / 1_000).or_default() += 1;
    }
    println!("\n{:>16} {:>7}", "seconds of silence", "alarms");
    for (seconds, count) in late {
        println!("{seconds:>18} {count:>7}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millstream::testing::TopologyTestDriver;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    #[test]
    fn a_silent_machine_is_reported_once_and_again_when_it_is_back() {
        let mut driver = TopologyTestDriver::new(&topology().unwrap());
        let beat = |driver: &mut TopologyTestDriver, machine, ms| {
            driver.input(&beats()).send(machine, 0, at(ms)).unwrap();
        };
        beat(&mut driver, 7, 1_000);
        for second in 2..50 {
            beat(&mut driver, 1, second * 1_000);
            if [25, 45].contains(&second) {
                driver.crash_and_lose_state().unwrap();
            }
        }
        beat(&mut driver, 7, 50_500);
        // At 30 s the machine has been silent for 29 only.
        let raised = driver.output(&alarms()).drain().unwrap();
        assert_eq!(raised, [Record::new(7, 1_000, at(40_000))]);
        let returned = driver.output(&returns()).drain().unwrap();
        assert_eq!(returned, [Record::new(7, 49_500, at(50_500))]);
    }

    #[test]
    fn long_gaps_and_early_ends_are_pauses() {
        let beat = |machine, ms| Record::new(machine, 0, at(ms));
        let beats = vec![beat(1, 0), beat(2, 0), beat(1, 59_999), beat(1, 120_000), beat(2, 900)];
        let pauses = Pauses::in_log(beats);
        assert_eq!(pauses.silent, BTreeSet::from([(1, 59_999), (2, 900)]));
        assert_eq!(pauses.returned, BTreeSet::from([(1, 60_001)]));
    }
}
