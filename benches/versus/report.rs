//! What is told at the end? One table in Markdown, one chart, and every figure as JSON.
//!
//! A ratio is Kafka Streams' figure by ours where less is better, and ours by theirs where more is:
//! above 1, millstream is ahead. It is the median over the rounds of the ratio within a round; the
//! interval beside it holds that median with 95 %. An interval that holds 1 claims nothing.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;

use crate::chart;
use crate::host::Host;
use crate::measure::{MEASURES, MEMORY_BYTES, Measure, OURS_OF_CAP, Sample, THEIRS_OF_CAP};
use crate::options::Options;
use crate::side::Side;
use crate::statistics::{interval, median};
use crate::{Compared, broker};
use crate::{jvm, kept};

/// A machine of which others take more is not idle.
const FOREIGN_PERCENT_MAX: f64 = 3.0;
const STEAL_PERCENT_MAX: f64 = 2.0;

/// One line of the table.
pub(crate) struct Line {
    pub(crate) workload: &'static str,
    pub(crate) against: &'static str,
    pub(crate) measure: &'static Measure,
    ours: f64,
    theirs: f64,
    pub(crate) ratio: f64,
    pub(crate) interval: (f64, f64),
}

pub(crate) fn write(options: &Options, host: &Host, compared: &[Compared]) {
    let lines: Vec<Line> = compared.iter().flat_map(lines_of).collect();
    let out = options.out();
    let table = header(options, host, compared)
        + &table(&lines)
        + &exactly_once(options, compared)
        + &outputs(options, compared);
    let files = [
        ("versus.md", table.clone()),
        ("versus.svg", chart::draw(&lines)),
        ("versus.json", kept::raw(options).to_string()),
    ];
    for (name, text) in files {
        fs::write(out.join(name), text).expect("the directory for results is writable");
    }
    println!("\n{table}\nin {}", out.display());
}

// --- figures -------------------------------------------------------------------------------------

/// Each of theirs against ours with the same kind of store, else against our first.
fn lines_of(compared: &Compared) -> Vec<Line> {
    let sides = || compared.sides.iter();
    let theirs = sides().filter(|(side, _)| !side.is_ours());
    let mut lines = Vec::new();
    for (side, samples) in theirs {
        let like = sides().find(|(ours, _)| ours.is_ours() && ours.store == side.store);
        let Some((_, ours)) = like.or_else(|| sides().find(|(ours, _)| ours.is_ours())) else {
            continue;
        };
        let line = |measure| line(compared.workload.name, *side, measure, (ours, samples));
        lines.extend(MEASURES.iter().filter_map(line));
    }
    lines
}

fn line(
    workload: &'static str,
    against: Side,
    measure: &'static Measure,
    (ours, theirs): (&[Sample], &[Sample]),
) -> Option<Line> {
    let figure = |sample: &Sample| sample.figures.get(measure.name).copied();
    let pairs: Vec<(f64, f64)> = ours
        .iter()
        .zip(theirs)
        .filter_map(|(ours, theirs)| Some((figure(ours)?, figure(theirs)?)))
        .collect();
    let (first, second): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
    let ratio = |(ours, theirs): &(f64, f64)| {
        if measure.is_more_better { ours / theirs } else { theirs / ours }
    };
    // A figure below what can be told from nothing gives no ratio.
    let ratios: Vec<f64> = pairs.iter().map(ratio).filter(|ratio| ratio.is_finite()).collect();
    (!pairs.is_empty()).then(|| Line {
        workload,
        against: against.name,
        measure,
        ours: median(&first),
        theirs: median(&second),
        ratio: median(&ratios),
        interval: interval(&ratios),
    })
}

// --- Markdown ------------------------------------------------------------------------------------

fn header(options: &Options, host: &Host, compared: &[Compared]) -> String {
    let mut text = String::from("# millstream beside Kafka Streams 4.3.1\n\n");
    warnings(&mut text, options, host, compared);
    let partitions: BTreeSet<i32> =
        compared.iter().map(|one| options.partitions(one.workload)).collect();
    let partitions = partitions.iter().map(i32::to_string).collect::<Vec<_>>().join(" or ");
    let profile = if options.is_smoke { "smoke" } else { "full" };
    let mut facts = vec![
        ("machine", format!("{}, {} cores, Linux {}", host.model, host.cores, host.kernel)),
        ("run", format!("profile {profile}, layout {:?}, seed {}", options.layout, options.seed)),
        ("topics", format!("{partitions} partitions, keys of 16 bytes, values of 100")),
        ("broker", format!("one, replication 1, {}", broker::JVM.join(" "))),
        ("both", common(options)),
        ("millstream", ours(options)),
        ("Kafka Streams", theirs(options)),
    ];
    let cap = compared.iter().find_map(|one| one.workload.cap_mb);
    facts.extend(cap.map(|mb| ("under a cap", capped(options, mb))));
    for (name, fact) in facts {
        let _ = writeln!(text, "- {name}: {fact}");
    }
    text
}

fn common(options: &Options) -> String {
    let mb = MEMORY_BYTES >> 20;
    format!(
        "{} threads; acks=all, idempotent, no compression, CRCs checked, murmur2; changelogs on; \
         {mb} MiB for caches and write buffers of stores; commit interval, guarantee and cache as \
         below, the same on both",
        options.threads()
    )
}

fn ours(options: &Options) -> String {
    let extra =
        if options.ours.is_empty() { String::new() } else { options.ours.join(", ") + "; " };
    format!(
        "linger.ms=100 (0 where latency counts), {extra}batches of 1,000,000 bytes; a store's \
         changelog gets each changed key once per commit, by design"
    )
}

fn theirs(options: &Options) -> String {
    let extra = options.theirs.join(", ");
    format!(
        "{}; {}; where latency counts: {}; RocksDB with one shared block cache, bloom filters and \
         larger write buffers{}{extra}",
        jvm::flags(options, None).join(" "),
        properties(&jvm::THROUGHPUT),
        properties(&jvm::LATENCY),
        if extra.is_empty() { "" } else { "; " },
    )
}

fn properties(pairs: &[(&str, &str)]) -> String {
    let words: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
    words.join(", ")
}

/// What is different for a workload whose memory is limited.
fn capped(options: &Options, mb: u64) -> String {
    format!(
        "{mb} MiB for the process and its file pages; millstream's default share of them for \
         stores, 1 of {OURS_OF_CAP} parts; Kafka Streams with {}, 1 of {THEIRS_OF_CAP} for its \
         stores, {}",
        jvm::flags(options, Some(mb)).join(" "),
        properties(&jvm::CAPPED),
    )
}

fn warnings(text: &mut String, options: &Options, host: &Host, compared: &[Compared]) {
    let samples = || compared.iter().flat_map(|one| one.sides.iter().flat_map(|(_, all)| all));
    let worst = |figure: fn(&Sample) -> f64| samples().map(figure).fold(0.0, f64::max);
    let foreign = worst(|sample| sample.foreign_percent);
    let steal = worst(|sample| sample.steal_percent);
    let is_loaded = |one: &&Compared| {
        let load = one.occasion.load.split(' ').next().and_then(|load| load.parse::<f64>().ok());
        load.unwrap_or(0.0) > 0.1 * host.cores as f64
    };
    let loaded: Vec<&str> =
        compared.iter().filter(is_loaded).map(|one| one.workload.name).collect();
    if foreign > FOREIGN_PERCENT_MAX || steal > STEAL_PERCENT_MAX || !loaded.is_empty() {
        let _ = writeln!(
            text,
            "**WARNING: the machine was not idle** (others took up to {foreign:.0} % of it, the \
             hypervisor {steal:.0} %; loaded before: {loaded:?}): these figures are not to be \
             quoted.\n"
        );
    }
    if options.is_smoke {
        text.push_str("**The smoke profile shows that it works; its figures say nothing.**\n\n");
    }
    for difference in compared.iter().flat_map(|one| &one.differences) {
        let _ = writeln!(text, "**NOT THE SAME: {difference}**\n");
    }
}

fn table(lines: &[Line]) -> String {
    let mut text = String::from(
        "\nRatio: above 1, millstream is ahead. Interval: 95 %, of the median.\n\n\
         | workload | against | measure | millstream | Kafka Streams | ratio | interval |\n\
         |---|---|---|---:|---:|---:|---:|\n",
    );
    for line in lines {
        let _ = writeln!(
            text,
            "| {} | {} | {}, {} | {} | {} | {} | {} .. {} |",
            line.workload,
            line.against,
            line.measure.name,
            line.measure.unit,
            shown(line.ours),
            shown(line.theirs),
            shown(line.ratio),
            shown(line.interval.0),
            shown(line.interval.1)
        );
    }
    text
}

fn shown(figure: f64) -> String {
    match figure {
        none if none.is_nan() => "-".to_owned(),
        large if large >= 1_000.0 => format!("{large:.0}"),
        _ => format!("{figure:.2}"),
    }
}

/// What transactions leave of the throughput, beside the same work in the same run without them.
fn exactly_once(options: &Options, compared: &[Compared]) -> String {
    let pairs = compared.iter().flat_map(|one| compared.iter().map(move |other| (one, other)));
    let pairs = pairs.filter(|(one, other)| one.workload.is_exactly_once_of(other.workload));
    let rows: String = pairs.map(|(one, other)| shares(options, one, other)).collect();
    if rows.is_empty() {
        return rows;
    }
    let head = "\nThroughput, exactly once beside at least once; medians of records/s.\n\n\
                | exactly once | at least once | side | with | without | share |\n\
                |---|---|---|---:|---:|---:|\n";
    head.to_owned() + &rows
}

/// A row for each side that has run both.
fn shares(options: &Options, one: &Compared, other: &Compared) -> String {
    let mut rows = String::new();
    for (side, samples) in &one.sides {
        let like = other.sides.iter().find(|(like, _)| like == side);
        let Some((_, others)) = like else { continue };
        let (with, without) = (throughput(samples), throughput(others));
        let _ = writeln!(
            rows,
            "| {} | {}, {} ms | {} | {} | {} | {} |",
            one.workload.name,
            other.workload.name,
            options.commit_ms(other.workload),
            side.name,
            shown(with),
            shown(without),
            shown(with / without)
        );
    }
    rows
}

fn throughput(samples: &[Sample]) -> f64 {
    let figures: Vec<f64> =
        samples.iter().filter_map(|sample| sample.figures.get("throughput").copied()).collect();
    median(&figures)
}

/// What was asked of both sides and what they gave.
fn outputs(options: &Options, compared: &[Compared]) -> String {
    let mut text = String::from(
        "\n| workload | group | guarantee | commit | cache | records | rounds | check | same \
         | outputs | measured |\n|---|---|---|---:|---:|---:|---:|---|---|---|---|\n",
    );
    for one in compared {
        let given = |(side, samples): &(Side, Vec<Sample>)| {
            let records: Vec<f64> =
                samples.iter().map(|sample| sample.outcome.records as f64).collect();
            format!("{} {:.0}", side.name, median(&records))
        };
        let given: Vec<String> = one.sides.iter().map(given).collect();
        let rounds = one.sides.iter().map(|(_, samples)| samples.len()).max().unwrap_or_default();
        let (workload, occasion) = (one.workload, &one.occasion);
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} ms | {} MiB | {} | {rounds} | {:?} | {} | {} | {}, {}, load {} |",
            workload.name,
            workload.group,
            workload.guarantee(),
            options.commit_ms(workload),
            workload.cache_bytes >> 20,
            occasion.records,
            workload.check,
            if one.differences.is_empty() { "yes" } else { "NO" },
            given.join(", "),
            occasion.day,
            occasion.commit,
            occasion.load
        );
    }
    text
}
