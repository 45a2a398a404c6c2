//! Do both answer the same? A scenario is run on many seeds; the first difference is made small
//! and printed with everything that is needed to see it again.

use std::fmt::Write as _;

use crate::inputs::Step;
use crate::jvm::Jvm;
use crate::scenarios::{self, Scenario};

const SEEDS: u64 = 200;

/// Compares every output record and the final stores of one scenario.
pub(crate) fn check(name: &str) {
    let scenario = scenarios::named(name);
    Jvm::with(|jvm| {
        for seed in seeds() {
            let steps = scenario.shape.steps(seed);
            if !agree(jvm, &scenario, &steps) {
                let report = report(jvm, &scenario, seed, steps);
                panic!("{report}");
            }
        }
    });
}

/// Whether any seed shows a difference.
pub(crate) fn differs(name: &str) -> bool {
    let scenario = scenarios::named(name);
    Jvm::with(|jvm| seeds().any(|seed| !agree(jvm, &scenario, &scenario.shape.steps(seed))))
}

/// All seeds, or the one that a report has named.
fn seeds() -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match number("MILLSTREAM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("MILLSTREAM_SEEDS").unwrap_or(SEEDS),
    }
}

fn agree(jvm: &mut Jvm, scenario: &Scenario, steps: &[Step]) -> bool {
    let (theirs, ours) = answers(jvm, scenario, steps);
    theirs == ours
}

/// What Kafka Streams and we make of these steps, as far as it is compared.
fn answers(jvm: &mut Jvm, scenario: &Scenario, steps: &[Step]) -> (Vec<String>, Vec<String>) {
    let mut steps = steps.to_vec();
    steps.extend(scenario.last_steps());
    let (mut theirs, mut ours) = (jvm.answer(&scenario.name, &steps), scenario.answer(&steps));
    if !scenario.compares_when {
        for answer in [&mut theirs, &mut ours] {
            answer.retain(|line| line != "step");
            answer.sort();
        }
    }
    (theirs, ours)
}

fn report(jvm: &mut Jvm, scenario: &Scenario, seed: u64, steps: Vec<Step>) -> String {
    let length = steps.len();
    let steps = shrink(steps, |steps| !agree(jvm, scenario, steps));
    let (theirs, ours) = answers(jvm, scenario, &steps);
    let mut text = format!("`{}` differs at seed {seed}\n", scenario.name);
    let _ = writeln!(text, "input ({} of {length} steps are enough):", steps.len());
    for step in &steps {
        let _ = writeln!(text, "    {step}");
    }
    side_by_side(&mut text, &theirs, &ours);
    let _ = writeln!(
        text,
        "replay: MILLSTREAM_SEED={seed} cargo test --test conformance -- --exact {}",
        scenario.name
    );
    text
}

/// Leaves out steps, ever smaller runs of them, while the rest still fails.
fn shrink(mut steps: Vec<Step>, mut fails: impl FnMut(&[Step]) -> bool) -> Vec<Step> {
    let mut run = steps.len() / 2;
    while run > 0 {
        let mut start = 0;
        while start < steps.len() {
            let mut fewer = steps.clone();
            fewer.drain(start..(start + run).min(steps.len()));
            if fails(&fewer) {
                steps = fewer;
            } else {
                start += run;
            }
        }
        run /= 2;
    }
    steps
}

fn side_by_side(text: &mut String, theirs: &[String], ours: &[String]) {
    let _ = writeln!(text, "{:<48}  millstream", "Kafka Streams");
    let lines = theirs.len().max(ours.len());
    let first = (0..lines).find(|&i| theirs.get(i) != ours.get(i)).unwrap_or(lines);
    for i in 0..lines {
        let line = |answer: &[String]| answer.get(i).cloned().unwrap_or_default();
        let mark = if i == first { '>' } else { ' ' };
        let _ = writeln!(text, "{mark} {:<46}  {}", line(theirs), line(ours));
    }
}
