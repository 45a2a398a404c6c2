//! Pipelines of every kind, under every kind of fault.

use std::ops::Range;
use std::time::Duration;

use millstream::processor::{KeyValueStore, Processor, ProcessorContext, Punctuation};
use millstream::testing::{
    FaultKind, Faults, Input, SeededBug, Simulation, SimulationFailure, SimulationRun,
};
use millstream::{
    BoxError, Config, Guarantee, JoinWindows, KTable, Materialized, Processed, PunctuationType,
    Record, SessionWindows, StreamsBuilder, TimeWindows, Timestamp, Topic, Windowed,
};

use crate::seeds;

fn text(name: &str) -> Topic<String, String> {
    Topic::plain(name)
}

fn words() -> Topic<String, String> {
    text("words")
}

fn counts() -> Topic<String, i64> {
    Topic::plain("counts")
}

const fn at(milliseconds: i64) -> Timestamp {
    Timestamp::from_millis(milliseconds)
}

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Each record has a key of its own, so that words travel over all partitions.
fn some_words(count: i64) -> Input {
    let record = |n: i64| (n.to_string(), format!("w{}", n % 7), at(n * 10));
    Input::new().records(&words(), (0..count).map(record)).expect("text can be encoded")
}

/// Eleven keys; time goes on by 10 ms a record, and every fifth record is late.
fn keyed(topic: &str, count: i64) -> Input {
    let time = |n: i64| if n % 5 == 4 { (n * 10 - 150).max(0) } else { n * 10 };
    let record = |n: i64| (format!("k{}", n % 11), n.to_string(), at(time(n)));
    Input::new().records(&text(topic), (0..count).map(record)).expect("text can be encoded")
}

/// A topology, what it is fed, and what must come out.
pub(crate) struct Pipeline {
    simulation: Simulation,
    input: Input,
    judge: fn(&SimulationRun) -> Result<(), BoxError>,
}

impl Pipeline {
    fn new(
        builder: StreamsBuilder,
        input: Input,
        judge: fn(&SimulationRun) -> Result<(), BoxError>,
    ) -> Self {
        let topology = builder.build().expect("a valid pipeline");
        let simulation = Simulation::new(&topology);
        let simulation =
            simulation.processes(3).partitions(6).faults(Faults::all()).patience(ms(10_000));
        Self { simulation, input, judge }
    }

    fn config(mut self, config: Config) -> Self {
        self.simulation = self.simulation.config(config);
        self
    }

    pub(crate) fn faults(mut self, faults: Faults) -> Self {
        self.simulation = self.simulation.faults(faults);
        self
    }

    /// Each run with a bug in it.
    pub(crate) fn bug(mut self, bug: SeededBug) -> Self {
        self.simulation = self.simulation.bug(bug);
        self
    }

    pub(crate) fn run(self, seeds: Range<u64>) -> Result<(), SimulationFailure> {
        self.simulation.seeds(seeds).verify(&self.input, self.judge)
    }

    fn survives(self) {
        if let Err(failure) = self.run(seeds()) {
            panic!("{failure}");
        }
    }
}

fn at_least_once() -> Config {
    Simulation::settings()
        .guarantee(Guarantee::AtLeastOnce)
        .commit_interval(ms(100))
        .build()
        .expect("valid settings")
}

fn word_count() -> StreamsBuilder {
    let builder = StreamsBuilder::new();
    builder.stream(&words()).group_by(|_, word| word.clone()).count("counts").to(&counts());
    builder
}

pub(crate) fn count() -> Pipeline {
    Pipeline::new(word_count(), some_words(300), |run| run.exactly_once(&counts()))
}

#[test]
fn a_count_behind_a_repartition() {
    count().survives();
}

/// Whoever is expelled for another reason than silence may go on writing until it hears of it:
/// that is a gap of this guarantee, told in its docs.
pub(crate) fn count_at_least_once() -> Pipeline {
    let pipeline = Pipeline::new(word_count(), some_words(300), |run| {
        let largest = |records: Vec<(String, i64)>| {
            let mut largest = std::collections::BTreeMap::new();
            for (word, count) in records {
                let known = largest.entry(word).or_insert(0);
                *known = count.max(*known);
            }
            largest
        };
        let wanted = largest(run.reference(&counts())?);
        let counted = largest(run.records(&counts())?);
        match wanted.iter().find(|(word, count)| counted.get(*word) < Some(count)) {
            Some((word, count)) => Err(format!("`{word}` was not counted up to {count}").into()),
            None => Ok(()),
        }
    });
    pipeline.config(at_least_once()).faults(Faults::all().without(FaultKind::Expel))
}

#[test]
fn a_count_at_least_once() {
    count_at_least_once().survives();
}

fn shouting() -> StreamsBuilder {
    let builder = StreamsBuilder::new();
    builder
        .stream(&words())
        .filter(|_, word| word != "w3")
        .flat_map_values(|word| [word.clone(), word.to_uppercase()])
        .to(&text("out"));
    builder
}

pub(crate) fn stateless() -> Pipeline {
    Pipeline::new(shouting(), some_words(300), |run| run.exactly_once(&text("out")))
}

#[test]
fn a_stateless_transformation() {
    stateless().survives();
}

pub(crate) fn stateless_at_least_once() -> Pipeline {
    let pipeline =
        Pipeline::new(shouting(), some_words(300), |run| run.at_least_once(&text("out")));
    pipeline.config(at_least_once())
}

#[test]
fn a_stateless_transformation_at_least_once() {
    stateless_at_least_once().survives();
}

/// Sends the rows of a windowed table under `key@start..end`.
fn print(table: &KTable<Windowed<String>, i64>) {
    let rows = table.to_stream().map(|windowed, count| {
        let Windowed { key, window } = windowed;
        let count = count.map_or("none".to_owned(), |count| count.to_string());
        (key, format!("{}..{} {count}", window.start, window.end))
    });
    rows.to(&text("out"));
}

pub(crate) fn windows() -> Pipeline {
    let builder = StreamsBuilder::new();
    let grouped = builder.stream(&text("in")).group_by_key();
    let windows = TimeWindows::hopping(ms(200), ms(100)).grace(ms(100));
    print(&grouped.windowed_by(windows).count("windows"));
    Pipeline::new(builder, keyed("in", 300), |run| run.exactly_once(&text("out")))
}

#[test]
fn windows_with_late_records() {
    windows().survives();
}

pub(crate) fn sessions() -> Pipeline {
    let builder = StreamsBuilder::new();
    let grouped = builder.stream(&text("in")).group_by_key();
    print(&grouped.windowed_by(SessionWindows::gap(ms(120)).grace(ms(200))).count("sessions"));
    Pipeline::new(builder, keyed("in", 300), |run| run.exactly_once(&text("out")))
}

#[test]
fn sessions_that_merge() {
    sessions().survives();
}

/// The rows stand there before the records that look them up, and are waited for: what arrives late
/// would be late for a join, too.
pub(crate) fn join_with_table() -> Pipeline {
    let builder = StreamsBuilder::new();
    let table: KTable<String, String> = builder.table(&text("rows"), "rows");
    let stream = builder.stream(&text("in"));
    stream.join_table(&table, |value, row| value + ":" + &row).to(&text("out"));
    let rows = (0..11).map(|n| (format!("k{n}"), format!("r{n}"), at(n)));
    let record = |n: i64| (format!("k{}", n % 11), n.to_string(), at(1_000 + n * 10));
    let input = Input::new().records(&text("rows"), rows);
    let input = input.and_then(|input| input.records(&text("in"), (0..300).map(record)));
    let config =
        Simulation::settings().max_task_idle(Some(ms(1_000))).build().expect("valid settings");
    let input = input.expect("text can be encoded");
    Pipeline::new(builder, input, |run| run.exactly_once(&text("out"))).config(config)
}

#[test]
fn a_stream_joined_with_a_table() {
    join_with_table().survives();
}

/// The records of both sides, one after the other.
fn two_sides(count: i64) -> Input {
    let mut input = Input::new();
    for n in 0..count {
        let topic = if n % 2 == 0 { "left" } else { "right" };
        let record = (format!("k{}", n % 11), n.to_string(), at(n * 10));
        input = input.records(&text(topic), [record]).expect("text can be encoded");
    }
    input
}

/// Grace covers the whole run, so that it does not matter which side is read first.
pub(crate) fn join_of_streams() -> Pipeline {
    let builder = StreamsBuilder::new();
    let (left, right) = (builder.stream(&text("left")), builder.stream(&text("right")));
    let windows = JoinWindows::within(ms(250)).grace(ms(100_000));
    left.join(&right, windows, "pairs", |left, right| left + ":" + &right).to(&text("out"));
    Pipeline::new(builder, two_sides(300), |run| run.exactly_once_unordered(&text("out")))
}

#[test]
fn two_streams_joined() {
    join_of_streams().survives();
}

pub(crate) fn join_of_tables() -> Pipeline {
    let builder = StreamsBuilder::new();
    let left: KTable<String, String> = builder.table(&text("left"), "left");
    let right: KTable<String, String> = builder.table(&text("right"), "right");
    left.join(&right, |left, right| left + ":" + &right).to(&text("out"));
    Pipeline::new(builder, two_sides(300), |run| run.same_last(&text("out")))
}

#[test]
fn two_tables_joined() {
    join_of_tables().survives();
}

pub(crate) fn grouped_table() -> Pipeline {
    let builder = StreamsBuilder::new();
    let table: KTable<String, String> = builder.table(&text("in"), "rows");
    let grouped = table.group_by(|_, value: String| {
        let number: i64 = value.parse().unwrap_or(0);
        (format!("g{}", number % 3), number)
    });
    let sums = grouped.aggregate("sums", || 0, |_, n, sum| *sum += n, |_, n, sum| *sum -= n);
    sums.to(&counts());
    Pipeline::new(builder, keyed("in", 300), |run| run.same_last(&counts()))
}

#[test]
fn a_table_grouped_anew() {
    grouped_table().survives();
}

/// Counts records of each key and reports all counts at every 200 ms of stream time.
struct Reporter {
    counts: KeyValueStore<String, i64>,
}

impl Processor<String, String, String, i64> for Reporter {
    fn init(&mut self, cx: &mut ProcessorContext<'_, String, i64>) -> Result<(), BoxError> {
        cx.schedule(ms(200), PunctuationType::StreamTime);
        Ok(())
    }

    fn process(
        &mut self,
        _: &mut ProcessorContext<'_, String, i64>,
        record: Record<String, String>,
    ) -> Result<(), BoxError> {
        self.counts.update(&record.key, record.timestamp, |count| *count.get_or_insert(0) += 1)?;
        Ok(())
    }

    fn punctuate(
        &mut self,
        cx: &mut ProcessorContext<'_, String, i64>,
        punctuation: Punctuation,
    ) -> Result<(), BoxError> {
        for (key, count, _) in self.counts.all()? {
            cx.forward(Record::new(key, count, punctuation.time));
        }
        Ok(())
    }
}

/// Timers are set anew at each start, so reports may be repeated; what they say never goes back.
pub(crate) fn timer() -> Pipeline {
    let builder = StreamsBuilder::new();
    let store = builder.add_store(Materialized::named("reported"));
    let stream = builder.stream(&text("in"));
    let options = Processed::new().stores(store);
    stream.process_with(options, |counts| Reporter { counts }).to(&counts());
    Pipeline::new(builder, keyed("in", 300), |run| {
        let mut last = std::collections::BTreeMap::new();
        for (key, count) in run.records(&counts())? {
            if last.get(&key).is_some_and(|known| *known > count) {
                return Err(format!("the count of `{key}` went back to {count}").into());
            }
            last.insert(key, count);
        }
        Ok(())
    })
}

#[test]
fn a_processor_with_a_timer() {
    timer().survives();
}

#[test]
fn two_runs_of_one_seed_are_the_same_run() {
    for seed in [1, 2, 3] {
        let hash = || count().simulation.seed(seed).trace_hash(&some_words(100));
        let (first, second) = (hash().expect("it survives"), hash().expect("it survives"));
        assert_eq!(first, second, "seed {seed}");
    }
}
