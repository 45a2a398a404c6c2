//! What was measured before? A file for each workload, written as soon as its rounds are over.
//!
//! A run adds to what its directory holds and replaces what it measures anew, so that a table can
//! grow over several runs, and what took hours does not depend on what comes after it. One table
//! holds only what was measured on one machine under one set of options; how many records and
//! rounds there were, when, and of which commit, is said of each workload.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::host::Host;
use crate::measure::{MEASURES, Sample};
use crate::options::Options;
use crate::outcome::{self, Outcome};
use crate::side;
use crate::workloads::{self, Workload};
use crate::{Compared, jvm};

/// When, of what, and how much was measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Occasion {
    pub(crate) day: String,
    pub(crate) commit: String,
    /// The load averages before the run.
    pub(crate) load: String,
    pub(crate) records: u64,
}

/// Refuses a directory that holds what was measured otherwise.
pub(crate) fn check(options: &Options, host: &Host) {
    for (path, kept) in files(options) {
        let (is, was) = (conditions(options, host), &kept["conditions"]);
        assert!(
            is == *was,
            "{} was measured under {was}, this run is under {is}; choose another `--out`, or \
             remove the directory to begin anew",
            path.display()
        );
    }
}

pub(crate) fn save(options: &Options, host: &Host, compared: &Compared) {
    let folder = folder(options);
    fs::create_dir_all(&folder).expect("the directory for results is writable");
    let path = folder.join(compared.workload.name).with_extension("json");
    let text = written(options, host, compared).to_string();
    fs::write(path, text).expect("the directory for results is writable");
}

/// All of it, in the order of the workloads.
pub(crate) fn load(options: &Options) -> Vec<Compared> {
    let mut kept: BTreeMap<String, Value> = files(options)
        .map(|(_, kept)| (kept["workload"].as_str().unwrap_or_default().to_owned(), kept))
        .collect();
    let known = workloads::all();
    known.filter_map(|workload| Some(read(workload, &kept.remove(workload.name)?))).collect()
}

/// The files as they are.
pub(crate) fn raw(options: &Options) -> Value {
    files(options).map(|(_, kept)| kept).collect()
}

fn folder(options: &Options) -> PathBuf {
    options.out().join("raw")
}

fn files(options: &Options) -> impl Iterator<Item = (PathBuf, Value)> {
    let entries = fs::read_dir(folder(options)).into_iter().flatten();
    let paths = entries.map(|entry| entry.expect("a readable folder").path());
    let mut paths: Vec<PathBuf> = paths.collect();
    paths.sort();
    paths.into_iter().map(|path| {
        let kept = parse(&path);
        (path, kept)
    })
}

fn parse(path: &Path) -> Value {
    let text = fs::read_to_string(path).expect("a file of results can be read");
    serde_json::from_str(&text).unwrap_or_else(|problem| {
        panic!("{} holds no results: {problem}; remove it", path.display())
    })
}

fn conditions(options: &Options, host: &Host) -> Value {
    json!({
        "machine": host.model,
        "cores": host.cores,
        "kernel": host.kernel,
        "options": options.conditions(),
        "jvm": jvm::flags(options, None),
    })
}

fn written(options: &Options, host: &Host, compared: &Compared) -> Value {
    let sides = compared.sides.iter().map(|(side, samples)| {
        let samples: Vec<Value> = samples.iter().map(written_sample).collect();
        json!({ "side": side.name, "samples": samples })
    });
    let occasion = &compared.occasion;
    json!({
        "workload": compared.workload.name,
        "settings": format!("{:?}", compared.workload),
        "conditions": conditions(options, host),
        "day": occasion.day,
        "commit": occasion.commit,
        "load": occasion.load,
        "records": occasion.records,
        "sides": sides.collect::<Vec<_>>(),
    })
}

fn written_sample(sample: &Sample) -> Value {
    json!({
        "figures": sample.figures,
        "outputs": sample.outcome.records,
        "hash": sample.outcome.hash,
        "foreign percent": sample.foreign_percent,
        "steal percent": sample.steal_percent,
    })
}

fn read(workload: &'static Workload, kept: &Value) -> Compared {
    found(workload, kept).unwrap_or_else(|| {
        panic!("what is kept of {} is of another version of this program; remove it", workload.name)
    })
}

/// Nothing if something is missing.
fn found(workload: &'static Workload, kept: &Value) -> Option<Compared> {
    let text = |name: &str| Some(kept[name].as_str()?.to_owned());
    let occasion = Occasion {
        day: text("day")?,
        commit: text("commit")?,
        load: text("load")?,
        records: kept["records"].as_u64()?,
    };
    let mut sides = Vec::new();
    for one in kept["sides"].as_array()? {
        let side = side::ALL.into_iter().find(|side| one["side"] == side.name)?;
        let samples: Option<Vec<Sample>> =
            one["samples"].as_array()?.iter().map(read_sample).collect();
        sides.push((side, samples?));
    }
    let mut compared = Compared { workload, occasion, sides, differences: Vec::new() };
    compared.differences = outcome::differences(&compared);
    Some(compared)
}

fn read_sample(kept: &Value) -> Option<Sample> {
    let figure = |name: &'static str| Some((name, kept["figures"][name].as_f64()?));
    Some(Sample {
        figures: MEASURES.iter().filter_map(|measure| figure(measure.name)).collect(),
        outcome: Outcome { records: kept["outputs"].as_u64()?, hash: kept["hash"].as_u64()? },
        foreign_percent: kept["foreign percent"].as_f64()?,
        steal_percent: kept["steal percent"].as_f64()?,
    })
}
