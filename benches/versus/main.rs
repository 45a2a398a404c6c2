//! How does millstream stand beside Kafka Streams 4.3.1? Both in one run, on one broker, over one
//! input, with one check that they did the same work.
//!
//! `run.sh` beside this file is the way in. A *workload* is a small pipeline, written twice: in
//! `workloads/`, and as a class in `java/`. A *side* is one of the two libraries with one kind of
//! store. A *round* runs each side once, forwards in even rounds and backwards in odd ones, so that
//! a machine that changes over time changes for all of them.
//!
//! # Invariants
//!
//! - A side runs in a process of its own, alone beside the broker, and is measured from outside: by
//!   `/proc`, by the offsets that it commits, and by what a reader sees of its output.
//! - The input is written before anything is measured, once for all sides. Only `paced` writes
//!   while a side runs, and its times are the intended ones.
//! - Figures count only if the results are the same; if not, the run fails and says so.

#![expect(clippy::print_stdout, reason = "how far a long run has come is shown")]
#![expect(clippy::disallowed_methods, reason = "processes are waited for in real time")]

mod broker;
mod cap;
mod chart;
mod host;
mod input;
mod jvm;
mod kept;
mod measure;
mod options;
mod outcome;
mod paced;
mod report;
mod restore;
mod settings;
mod side;
mod statistics;
mod topics;
mod twin;
mod workloads;

use std::process::ExitCode;

use broker::Broker;
use host::Host;
use kept::Occasion;
use measure::{Bench, Sample};
use options::Options;
use side::Side;
use workloads::Workload;

fn main() -> ExitCode {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|word| word != "--bench").collect();
    if arguments.first().is_some_and(|word| word == "--twin") {
        return twin::run(&arguments[1..]);
    }
    if let Some(text) = Options::shown(&arguments) {
        println!("{text}");
        return ExitCode::SUCCESS;
    }
    match Options::parse(&arguments) {
        Ok(options) => compare(&options),
        Err(problem) => {
            println!("{problem}");
            ExitCode::from(2)
        }
    }
}

/// What the rounds of one workload gave: for each side, a sample per round.
pub(crate) struct Compared {
    pub(crate) workload: &'static Workload,
    pub(crate) occasion: Occasion,
    pub(crate) sides: Vec<(Side, Vec<Sample>)>,
    /// What differs between the sides' results; empty if nothing does.
    pub(crate) differences: Vec<String>,
}

fn compare(options: &Options) -> ExitCode {
    let directory = tempdir();
    options.check_space(&directory);
    options.check_caps();
    let host = Host::observe();
    kept::check(options, &host);
    let class_path = jvm::compile(&options.out());
    let broker = Broker::start(&directory, options.layout);
    let bench = Bench { options, broker: &broker, class_path, directory: directory.join("state") };
    for workload in options.chosen() {
        kept::save(options, &host, &rounds(&bench, &host, workload));
    }
    drop(broker);
    let compared = kept::load(options);
    report::write(options, &host, &compared);
    let is_same = compared.iter().all(|one| one.differences.is_empty());
    if is_same { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn rounds(bench: &Bench<'_>, host: &Host, workload: &'static Workload) -> Compared {
    let sides = bench.options.sides_of(workload);
    let mut compared = Compared {
        workload,
        occasion: Occasion {
            day: host::day(),
            commit: host::commit(),
            load: host.load.clone(),
            records: bench.options.most_records(workload),
        },
        sides: sides.iter().map(|side| (*side, Vec::new())).collect(),
        differences: Vec::new(),
    };
    bench.prepare(workload);
    for round in 0..bench.options.rounds(workload) {
        let mut order: Vec<usize> = (0..sides.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for at in order {
            let sample = bench.run(workload, sides[at], round);
            println!("{} {} {round}: {}", workload.name, sides[at].name, sample.summary());
            compared.sides[at].1.push(sample);
        }
    }
    compared.differences = outcome::differences(&compared);
    compared.differences.iter().for_each(|difference| println!("NOT THE SAME: {difference}"));
    compared
}

/// A directory of this process's own; the broker's guard removes it.
fn tempdir() -> std::path::PathBuf {
    let directory = std::env::temp_dir().join(format!("millstream-versus-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("the directory for temporary files is writable");
    directory
}
