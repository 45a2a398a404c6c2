//! What does one run of one side take? A process, looked at from outside until its work is done.
//!
//! # Marks
//!
//! A run that drains its input has three: the *first output* a reader can see; *warm*, when a
//! quarter of the input is committed; and the *end*, when the output grew for the last time. Rates
//! and processor time are those between warm and end, and `cold` those from the start to the end.
//! The run is over when all input is committed and the output has not grown for a while, so what
//! the wait takes is in no figure.
//!
//! What is committed lies behind what is processed, by as much as arrives while a commit is under
//! way; processor time has ticks of 10 ms. Both are small beside a run of half a minute, and are
//! not beside one of a second.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::broker::Broker;
use crate::cap::Cap;
use crate::host;
use crate::input::Input;
use crate::jvm;
use crate::options::Options;
use crate::outcome::Outcome;
use crate::paced;
use crate::restore;
use crate::settings::Settings;
use crate::side::Side;
use crate::topics::{self, Watch};
use crate::workloads::{Pace, Workload};

/// What caches and write buffers of stores may take, on both sides.
pub(crate) const MEMORY_BYTES: u64 = 256 << 20;
/// The same under a cap: of ours its own default, of theirs what the JVM leaves them.
pub(crate) const OURS_OF_CAP: u64 = 4;
pub(crate) const THEIRS_OF_CAP: u64 = 8;
/// How often progress is looked at, and how often before there is any.
const LOOK: Duration = Duration::from_millis(20);
pub(crate) const FIRST_LOOK: Duration = Duration::from_millis(5);
/// Between warm and end there is at least that much, or no figure.
const MEASURED_LEAST: Duration = Duration::from_millis(250);
/// After so long without any progress a run is given up.
pub(crate) const STALLED: Duration = Duration::from_secs(120);
const CLOSING: Duration = Duration::from_secs(60);

/// A figure's name, what it means, and whether more of it is better.
pub(crate) struct Measure {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) is_more_better: bool,
}

const fn less(name: &'static str, unit: &'static str) -> Measure {
    Measure { name, unit, is_more_better: false }
}

const fn more(name: &'static str, unit: &'static str) -> Measure {
    Measure { name, unit, is_more_better: true }
}

/// Every figure that a run can give, in the order of the table.
pub(crate) const MEASURES: [Measure; 16] = [
    less("cpu", "CPU-s per million records"),
    less("broker cpu", "CPU-s per million records"),
    less("system cpu", "CPU-s per million records, both"),
    less("cold cpu", "CPU-s per million records from the start"),
    more("throughput", "records/s"),
    more("cold throughput", "records/s from the start"),
    less("first output", "ms from the start"),
    less("peak memory", "MB"),
    less("latency p50", "ms"),
    less("latency p99", "ms"),
    less("latency p99.9", "ms"),
    less("latency max", "ms"),
    less("restored", "ms from the start to a result of each partition"),
    less("restore cpu", "CPU-s until then"),
    less("idle memory", "MB"),
    less("idle cpu", "% of a core"),
];

/// What one run gave.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// By the names of [`MEASURES`].
    pub(crate) figures: BTreeMap<&'static str, f64>,
    pub(crate) outcome: Outcome,
    /// Of the machine's time, what neither side, broker nor driver took, in percent.
    pub(crate) foreign_percent: f64,
    pub(crate) steal_percent: f64,
}

impl Sample {
    pub(crate) fn summary(&self) -> String {
        let figures = self.figures.iter().map(|(name, value)| format!("{name} {value:.2}"));
        let figures: Vec<String> = figures.collect();
        format!("{}; {} outputs", figures.join(", "), self.outcome.records)
    }
}

/// What runs need beside their workload.
pub(crate) struct Bench<'a> {
    pub(crate) options: &'a Options,
    pub(crate) broker: &'a Broker,
    pub(crate) class_path: String,
    /// For state and logs of the twins.
    pub(crate) directory: PathBuf,
}

/// Processor time so far, at some moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    at: Instant,
    twin: f64,
    broker: f64,
    /// Records of the input that were committed.
    committed: i64,
}

/// A twin's process, killed when dropped.
pub(crate) struct Running {
    child: Child,
    /// Outlives the child.
    _cap: Option<Cap>,
    pub(crate) begun: Instant,
    log: PathBuf,
    broker: u32,
}

impl Running {
    pub(crate) fn mark(&self, committed: i64) -> Mark {
        let (twin, broker) = (host::cpu_seconds(self.child.id()), host::cpu_seconds(self.broker));
        Mark { at: Instant::now(), twin, broker, committed }
    }

    /// Processor time so far, in seconds.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        host::cpu_seconds(self.child.id())
    }

    /// Ends everything if the twin has ended.
    pub(crate) fn check(&mut self) {
        if let Some(status) = self.child.try_wait().expect("a child can be asked for its end") {
            panic!("a twin ended with {status}:\n{}", self.log_text());
        }
    }

    fn log_text(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Has it close in order.
    fn stop(mut self) {
        self.child.stdin.take();
        let asked = Instant::now();
        while self.child.try_wait().expect("a child can be asked for its end").is_none() {
            assert!(asked.elapsed() < CLOSING, "a twin does not close:\n{}", self.log_text());
            sleep(LOOK);
        }
        let status = self.child.wait().expect("a child that has ended");
        assert!(status.success(), "a twin closed with {status}:\n{}", self.log_text());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(self.log.with_extension("pid"));
    }
}

impl Bench<'_> {
    /// Writes the inputs of a workload that are not there yet.
    pub(crate) fn prepare(&self, workload: &Workload) {
        fs::create_dir_all(&self.directory).expect("the directory for temporary files is writable");
        let brokers = self.broker.bootstrap();
        if !workload.pace.is_drained() {
            return;
        }
        let records = self.options.records(workload);
        for (input, topic) in workload.inputs.iter().zip(self.inputs(workload, "")) {
            if !topics::exists(&brokers, &topic) {
                println!("writing {} records to {topic}", input.count(records));
                topics::create(&brokers, &topic, self.options.partitions(workload));
                input.write(&brokers, &topic, records, self.options.seed);
            }
        }
    }

    /// The topics that an application reads. Those that are drained are shared, and how many
    /// records they hold is a part of the name; what is written while it runs is its own.
    fn inputs(&self, workload: &Workload, application: &str) -> Vec<String> {
        let records = self.options.records(workload);
        let name = |input: &Input| {
            if workload.pace.is_drained() {
                format!("in-{}-{}", input.topic, input.count(records))
            } else {
                format!("{application}-in-{}", input.topic)
            }
        };
        workload.inputs.iter().map(name).collect()
    }

    /// Makes the topics that are an application's own.
    fn create_topics(&self, workload: &Workload, application: &str) {
        let (brokers, partitions) = (self.broker.bootstrap(), self.options.partitions(workload));
        topics::create(&brokers, &format!("{application}-out"), partitions);
        if workload.pace == Pace::Restore {
            topics::create(&brokers, &restore::wake_topic(application), partitions);
        }
        if !workload.pace.is_drained() {
            let inputs = self.inputs(workload, application);
            inputs.iter().for_each(|input| topics::create(&brokers, input, partitions));
        }
    }

    /// Runs one side once.
    pub(crate) fn run(&self, workload: &Workload, side: Side, round: usize) -> Sample {
        let brokers = self.broker.bootstrap();
        let application = format!("{}-{}-{round}", workload.name, side.name);
        let output = format!("{application}-out");
        self.create_topics(workload, &application);
        let foreign = Foreign::begin(self.broker.pid());
        let mut running = self.start(workload, side, &application);
        let mut figures = BTreeMap::new();
        let outcome = match workload.pace {
            Pace::Drain | Pace::Start => {
                self.drain(workload, &application, &mut running, &mut figures);
                None
            }
            Pace::Restore => {
                self.drain(workload, &application, &mut running, &mut BTreeMap::new());
                running.stop();
                restore::lose_state(self, workload, &application);
                running = self.start(workload, side, &application);
                restore::await_results(self, workload, &application, &mut running, &mut figures);
                None
            }
            Pace::Rate(rate) => {
                let input = &self.inputs(workload, &application)[0];
                let partitions = self.options.partitions(workload);
                let output = &output;
                let plan = paced::Plan { brokers: &brokers, input, output, partitions, rate };
                Some(plan.run(self.options, &workload.inputs[0], &mut running, &mut figures))
            }
            Pace::Idle => {
                self.idle(&mut running, &mut figures);
                Some(Outcome::default())
            }
        };
        figures.insert("peak memory", host::memory_mb(running.child.id(), "VmHWM"));
        let (foreign_percent, steal_percent) = foreign.end(&running);
        running.stop();
        let outcome = outcome.unwrap_or_else(|| {
            Outcome::of(&brokers, &output, self.options.partitions(workload), workload.check)
        });
        topics::delete_of(&brokers, &application);
        let _ = fs::remove_dir_all(self.directory.join(&application));
        Sample { figures, outcome, foreign_percent, steal_percent }
    }

    fn start(&self, workload: &Workload, side: Side, application: &str) -> Running {
        let log = self.directory.join(format!("{application}.log"));
        let output = File::create(&log).expect("the directory for temporary files is writable");
        let errors = output.try_clone().expect("an open file can be shared");
        let mut command = if side.is_ours() { self.ours(workload) } else { self.theirs(workload) };
        command.args(self.settings(workload, side, application).words());
        let cap =
            workload.cap_mb.map(|mb| Cap::new(mb).expect("it was tried before the first run"));
        if let Some(cap) = &cap {
            command = cap.around(&command);
        }
        let begun = Instant::now();
        let child = command.stdin(Stdio::piped()).stdout(output).stderr(errors).spawn();
        let child = child.expect("the program of a side starts");
        // The broker's guard ends it if this process dies.
        fs::write(log.with_extension("pid"), child.id().to_string()).expect("a writable directory");
        Running { child, _cap: cap, begun, log, broker: self.broker.pid() }
    }

    fn ours(&self, workload: &Workload) -> Command {
        let own = std::env::current_exe().expect("a program knows where it is");
        let mut command = self.options.layout.command(1, own);
        command.arg("--twin").arg(workload.name);
        command
    }

    fn theirs(&self, workload: &Workload) -> Command {
        let mut command = self.options.layout.command(1, "java");
        command.args(jvm::flags(self.options, workload.cap_mb)).args(["-cp", &self.class_path]);
        command.arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=error");
        command.arg("Twin").arg(workload.java);
        command
    }

    fn settings(&self, workload: &Workload, side: Side, application: &str) -> Settings {
        let mut settings = Settings::default();
        settings.set("application", application);
        settings.set("brokers", self.broker.bootstrap());
        settings.set("state", self.directory.join(application).display());
        settings.set("output", format!("{application}-out"));
        for (place, topic) in self.inputs(workload, application).into_iter().enumerate() {
            settings.set(format!("input-{place}"), topic);
        }
        settings.set("wake", restore::wake_topic(application));
        settings.set("guarantee", workload.guarantee());
        settings.set("commit-ms", self.options.commit_ms(workload));
        settings.set("threads", self.options.threads());
        settings.set("store", side.store);
        settings.set("memory-bytes", store_bytes(workload, side));
        settings.set("cache-bytes", workload.cache_bytes);
        workload.settings.iter().for_each(|(name, value)| settings.set(*name, value));
        let client = if side.is_ours() {
            workload.client_properties(self.options)
        } else {
            jvm::settings(self.options, workload, side)
        };
        for property in client {
            let (name, value) = property.split_once('=').expect("a property like name=value");
            settings.set(format!("client.{name}"), value);
        }
        settings
    }

    /// Looks at a run until its input is drained.
    fn drain(
        &self,
        workload: &Workload,
        application: &str,
        running: &mut Running,
        figures: &mut BTreeMap<&'static str, f64>,
    ) {
        let (brokers, output) = (self.broker.bootstrap(), format!("{application}-out"));
        let inputs = self.inputs(workload, application);
        let partitions = self.options.partitions(workload);
        let watch = Watch::new(&brokers, application, &inputs, &output, partitions);
        let mut progress = Progress::new(watch.input_records(), running.mark(0));
        let settled = Duration::from_millis((10 * self.options.commit_ms(workload)).max(3_000));
        while !progress.is_over(settled) {
            running.check();
            assert!(
                progress.changed.elapsed() < STALLED,
                "{application} makes no progress at {progress:?}"
            );
            sleep(if progress.first.is_none() { FIRST_LOOK } else { LOOK });
            progress.look(&watch, running);
        }
        progress.figures(running.begun, figures);
    }

    /// An application with nothing to do.
    fn idle(&self, running: &mut Running, figures: &mut BTreeMap<&'static str, f64>) {
        let half = Duration::from_secs(if self.options.is_smoke { 4 } else { 60 });
        sleep(half);
        let begun = running.mark(0);
        sleep(half);
        running.check();
        let ended = running.mark(0);
        let seconds = (ended.at - begun.at).as_secs_f64();
        figures.insert("idle memory", host::memory_mb(running.child.id(), "VmRSS"));
        figures.insert("idle cpu", 100.0 * (ended.twin - begun.twin) / seconds);
    }
}

/// What a side's caches and write buffers may take.
fn store_bytes(workload: &Workload, side: Side) -> u64 {
    let share = if side.is_ours() { OURS_OF_CAP } else { THEIRS_OF_CAP };
    workload.cap_mb.map_or(MEMORY_BYTES, |mb| (mb << 20) / share)
}

/// How far a run that drains its input has come.
#[derive(Debug)]
struct Progress {
    total: i64,
    outputs: i64,
    committed: i64,
    /// When anything changed.
    changed: Instant,
    first: Option<Instant>,
    warm: Option<Mark>,
    /// When the output last grew.
    end: Mark,
}

impl Progress {
    fn new(total: i64, begun: Mark) -> Self {
        let changed = begun.at;
        Self { total, outputs: 0, committed: 0, changed, first: None, warm: None, end: begun }
    }

    fn look(&mut self, watch: &Watch, running: &Running) {
        let (outputs, committed) = (watch.output_records(), watch.committed());
        let mark = running.mark(committed);
        if outputs > self.outputs {
            self.first.get_or_insert(mark.at);
            (self.outputs, self.end, self.changed) = (outputs, mark, mark.at);
        }
        if committed > self.committed {
            (self.committed, self.changed) = (committed, mark.at);
        }
        if self.warm.is_none() && committed >= self.total / 4 {
            self.warm = Some(mark);
        }
    }

    fn is_over(&self, settled: Duration) -> bool {
        self.committed >= self.total && self.changed.elapsed() > settled
    }

    fn figures(&self, begun: Instant, figures: &mut BTreeMap<&'static str, f64>) {
        let first = self.first.unwrap_or(self.end.at);
        figures.insert("first output", (first - begun).as_secs_f64() * 1e3);
        let cold = (self.end.at - begun).as_secs_f64();
        figures.insert("cold throughput", self.total as f64 / cold);
        figures.insert("cold cpu", self.end.twin / self.total as f64 * 1e6);
        let Some(warm) = self.warm else { return };
        let records = self.total - warm.committed;
        // What was over within a few commits says nothing about a record.
        if records > 0 && self.end.at.saturating_duration_since(warm.at) > MEASURED_LEAST {
            costs(&warm, &self.end, records as f64, figures);
        }
    }
}

/// Rate and processor time of so many records between two marks.
pub(crate) fn costs(
    begun: &Mark,
    ended: &Mark,
    records: f64,
    figures: &mut BTreeMap<&'static str, f64>,
) {
    let per_million = |seconds: f64| seconds / records * 1e6;
    let (twin, broker) = (ended.twin - begun.twin, ended.broker - begun.broker);
    figures.insert("cpu", per_million(twin));
    figures.insert("broker cpu", per_million(broker));
    figures.insert("system cpu", per_million(twin + broker));
    figures.insert("throughput", records / (ended.at - begun.at).as_secs_f64());
}

/// Sees what others take of the machine meanwhile.
struct Foreign {
    at: Instant,
    busy: f64,
    stolen: f64,
    broker: u32,
    known: f64,
}

impl Foreign {
    fn begin(broker: u32) -> Self {
        let (busy, stolen) = host::busy_and_stolen();
        let known = host::cpu_seconds(broker) + host::cpu_seconds(std::process::id());
        Self { at: Instant::now(), busy, stolen, broker, known }
    }

    /// Foreign and stolen time, in percent of the machine's.
    fn end(&self, running: &Running) -> (f64, f64) {
        let (busy, stolen) = host::busy_and_stolen();
        let known = host::cpu_seconds(self.broker) + host::cpu_seconds(std::process::id());
        let known = known - self.known + host::cpu_seconds(running.child.id());
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let whole = self.at.elapsed().as_secs_f64() * cores as f64 / 100.0;
        ((busy - self.busy - known).max(0.0) / whole, (stolen - self.stolen) / whole)
    }
}
