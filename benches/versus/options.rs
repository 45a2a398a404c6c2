//! What is run, how much of it, and where does the result go? The command line.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cap::Cap;
use crate::side::{self, Side};
use crate::workloads::{self, Pace, Workload};

pub(crate) const USAGE: &str = "usage: benches/versus/run.sh [OPTION ...] [WORKLOAD ...]

  WORKLOAD            a name such as count-5k, or a group such as W2; default: all
  --list              shows the workloads
  --profile NAME      smoke (small, two rounds) or full (default)
  --records N         records of a workload's input, instead of the profile's
  --rounds N          how often each side runs, instead of the profile's
  --sides A,B         of millstream, streams-rocksdb, streams-memory, millstream-memory
  --layout NAME       free (default) or pinned: broker on core 0, twin on core 1
  --threads N         workers of millstream and stream threads of Kafka Streams (default: cores,
                      or 1 if pinned)
  --heap-mb N         heap of the twin's JVM (default: 1024)
  --partitions N      of every topic, where a workload does not say (default: 8)
  --seed N            of the input (default: 1)
  --ours NAME=VALUE   a client property for millstream, such as linger.ms=5
  --theirs NAME=VALUE a setting for Kafka Streams
  --out DIR           where the table, the chart and the raw figures go (default: target/versus,
                      or target/versus-smoke); what it holds of other workloads stays in the table";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    Free,
    Pinned,
}

impl Layout {
    /// A command that runs on this core, or on any.
    pub(crate) fn command(self, core: u32, program: impl AsRef<std::ffi::OsStr>) -> Command {
        if self == Self::Free {
            return Command::new(program);
        }
        let mut command = Command::new("taskset");
        command.args(["-c", &core.to_string()]).arg(program);
        command
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Options {
    workloads: Vec<String>,
    pub(crate) is_smoke: bool,
    records: Option<u64>,
    rounds: Option<usize>,
    sides: Vec<Side>,
    pub(crate) layout: Layout,
    threads: Option<usize>,
    pub(crate) heap_mb: u64,
    partitions: i32,
    pub(crate) seed: u64,
    pub(crate) ours: Vec<String>,
    pub(crate) theirs: Vec<String>,
    /// Where results go, if it was said.
    out: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            workloads: Vec::new(),
            is_smoke: false,
            records: None,
            rounds: None,
            sides: Vec::new(),
            layout: Layout::Free,
            threads: None,
            heap_mb: 1024,
            partitions: 8,
            seed: 1,
            ours: Vec::new(),
            theirs: Vec::new(),
            out: None,
        }
    }
}

impl Options {
    /// What is only to be shown, if anything is.
    pub(crate) fn shown(arguments: &[String]) -> Option<String> {
        arguments.iter().find_map(|word| match word.as_str() {
            "--list" => Some(workloads::list()),
            "--help" => Some(USAGE.to_owned()),
            _ => None,
        })
    }

    pub(crate) fn parse(arguments: &[String]) -> Result<Self, String> {
        let mut options = Self::default();
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                name if name.starts_with("--") => {
                    let value = words.next().ok_or(USAGE)?;
                    options.set(name, value)?;
                }
                _ => options.workloads.push(word.clone()),
            }
        }
        if options.chosen().is_empty() {
            return Err(format!("there is no such workload\n{}", workloads::list()));
        }
        Ok(options)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "--profile" => {
                self.is_smoke = one_of(value, &[("smoke", true), ("full", false)])?;
            }
            "--records" => self.records = Some(number(value)?),
            "--rounds" => self.rounds = Some(number(value)?),
            "--sides" => self.sides = sides(value)?,
            "--layout" => {
                self.layout = one_of(value, &[("free", Layout::Free), ("pinned", Layout::Pinned)])?;
            }
            "--threads" => self.threads = Some(number(value)?),
            "--heap-mb" => self.heap_mb = number(value)?,
            "--partitions" => self.partitions = number(value)?,
            "--seed" => self.seed = number(value)?,
            "--ours" => self.ours.push(value.to_owned()),
            "--theirs" => self.theirs.push(value.to_owned()),
            "--out" => self.out = Some(PathBuf::from(value)),
            _ => return Err(format!("no option `{name}`\n{USAGE}")),
        }
        Ok(())
    }

    pub(crate) fn chosen(&self) -> Vec<&'static Workload> {
        let is_chosen = |one: &&Workload| {
            let mut names = self.workloads.iter();
            self.workloads.is_empty() || names.any(|name| name == one.name || name == one.group)
        };
        workloads::all().filter(is_chosen).collect()
    }

    /// Where results go.
    pub(crate) fn out(&self) -> PathBuf {
        let name = if self.is_smoke { "versus-smoke" } else { "versus" };
        // A sibling of the directory that cargo has for temporary files.
        let usual = || Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name(name);
        self.out.clone().unwrap_or_else(usual)
    }

    pub(crate) fn sides_of(&self, workload: &Workload) -> Vec<Side> {
        let fits_in_memory = workload.cap_mb.is_none();
        let usual = || side::usual(workload.is_stateful && fits_in_memory);
        if self.sides.is_empty() { usual() } else { self.sides.clone() }
    }

    /// Records of a workload's largest input.
    pub(crate) fn records(&self, workload: &Workload) -> u64 {
        let whole = self.records.unwrap_or(if self.is_smoke { 500_000 } else { 20_000_000 });
        (whole / workload.records_divided_by).max(1_000)
    }

    /// Of its input that has most.
    pub(crate) fn most_records(&self, workload: &Workload) -> u64 {
        let records = self.records(workload);
        workload.inputs.iter().map(|input| input.count(records)).max().unwrap_or_default()
    }

    pub(crate) fn rounds(&self, workload: &Workload) -> usize {
        let usual = match workload.pace {
            _ if self.is_smoke => 2,
            Pace::Start => 20,
            _ => 6,
        };
        self.rounds.unwrap_or(usual)
    }

    /// Of every topic of a workload.
    pub(crate) fn partitions(&self, workload: &Workload) -> i32 {
        workload.partitions.unwrap_or(self.partitions)
    }

    /// A smoke run is over before a commit a second would be of use.
    pub(crate) fn commit_ms(&self, workload: &Workload) -> u64 {
        if self.is_smoke { workload.commit_ms.min(100) } else { workload.commit_ms }
    }

    /// How long a paced workload runs, after a fifth of it for warming up.
    pub(crate) fn paced_seconds(&self) -> u64 {
        if self.is_smoke { 8 } else { 180 }
    }

    /// What must be the same for all that stands in one table.
    pub(crate) fn conditions(&self) -> String {
        let Self { is_smoke, layout, partitions, seed, ours, theirs, .. } = self;
        format!(
            "smoke {is_smoke}, layout {layout:?}, threads {}, {partitions} partitions, seed \
             {seed}, ours {ours:?}, theirs {theirs:?}",
            self.threads()
        )
    }

    pub(crate) fn threads(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let usual = || if self.layout == Layout::Pinned { 1 } else { cores() };
        self.threads.unwrap_or_else(usual)
    }

    /// Refuses to begin what would only fail after hours.
    pub(crate) fn check_caps(&self) {
        for mb in self.chosen().iter().filter_map(|workload| workload.cap_mb) {
            if let Err(problem) = Cap::new(mb) {
                panic!("{problem}");
            }
        }
    }

    /// Refuses to begin what would fill the disk.
    pub(crate) fn check_space(&self, directory: &Path) {
        const SPARE: u64 = 2 << 30;
        // Per record of input 150 bytes; output and changelogs of one run are no larger.
        let inputs = workloads::inputs(&self.chosen());
        let counts = inputs.iter().map(|(input, workload)| input.count(self.records(workload)));
        let (records, largest) = counts.fold((0, 0), |(sum, most), n| (sum + n, n.max(most)));
        let needed = 150 * (records + 4 * largest) + SPARE;
        let free = crate::host::free_bytes(directory);
        let place = directory.display();
        assert!(free > needed, "{place} has {free} bytes free, {needed} are needed");
    }
}

fn number<T: std::str::FromStr>(value: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("`{value}` is not a number"))
}

fn one_of<T: Copy>(value: &str, known: &[(&str, T)]) -> Result<T, String> {
    let found = known.iter().find(|(name, _)| *name == value);
    found.map(|(_, meaning)| *meaning).ok_or_else(|| format!("`{value}` is none of the choices"))
}

fn sides(value: &str) -> Result<Vec<Side>, String> {
    let side = |name: &str| side::ALL.into_iter().find(|side| side.name == name);
    let found: Option<Vec<Side>> = value.split(',').map(side).collect();
    found.ok_or_else(|| format!("`{value}` names a side that is not there"))
}
