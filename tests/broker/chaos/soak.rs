//! Does it hold for as long as one likes?
//!
//! Three applications beside one another: running counts, counts in windows, and a join. Of each,
//! processes are hit every half minute, in an order that a seed decides, while one of them is left
//! alone: what that one takes of memory, files and threads must level off.

use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use millstream::Guarantee::ExactlyOnce;

use super::process::Usage;
use super::work::Work;
use super::world::World;
use super::{MACHINES, PARTITIONS, PATIENCE, alone, figure};

const MINUTES: &str = "MILLSTREAM_SOAK_MINUTES";
const SEED: &str = "MILLSTREAM_SEED";
/// From one fault to the next.
const PACE: Duration = Duration::from_secs(30);
/// By how much the second half may take more than the first.
const GROWTH_PERCENT_MAX: u64 = 25;
/// RocksDB keeps the options that a database was opened with, and those of the time before.
const OPTIONS_KB: u64 = 16;

/// What happens to a process.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Kill,
    KillAndLoseState,
    Terminate,
    Freeze,
}

const FAULTS: [Fault; 4] = [Fault::Kill, Fault::KillAndLoseState, Fault::Terminate, Fault::Freeze];

#[test]
#[ignore = "goes on for MILLSTREAM_SOAK_MINUTES: `tests/run.sh soak MINUTES`"]
fn soak() {
    let _alone = alone();
    let minutes: u64 = number(MINUTES).unwrap_or_else(|| panic!("`{MINUTES}` says how long"));
    let seed = number(SEED).unwrap_or_else(|| u64::from(std::process::id()));
    figure(&format!("soak: {minutes} minutes, to be had again with {SEED}={seed}"));
    let until = Instant::now() + Duration::from_secs(60 * minutes);
    thread::scope(|scope| {
        let all = [("tally", Work::Tally), ("window", Work::Window), ("join", Work::Join)];
        for (place, (name, work)) in (0_u64..).zip(all) {
            let name = format!("soak-{name}");
            scope.spawn(move || soak_one(&name, work, seed.wrapping_add(place), until));
        }
    });
}

/// Hits the processes of one application, again and again.
fn soak_one(name: &str, work: Work, mut state: u64, until: Instant) {
    let mut world = World::doing(work, name, ExactlyOnce);
    let mut running = ["a", "b", "c"].map(str::to_owned);
    running.iter().zip(MACHINES).for_each(|(name, machine)| world.start(name, machine));
    world.await_run_by(&running.each_ref().map(String::as_str));
    let begun = Instant::now();
    let mut used = Vec::new();
    let mut round = 0;
    while Instant::now() < until {
        let victim = 1 + usize::try_from(random(&mut state) % 2).expect("a small number");
        let fault = FAULTS[usize::try_from(random(&mut state) % 4).expect("a small number")];
        figure(&format!("{name}: round {round}: {fault:?} {}", running[victim]));
        hit(&mut world, fault, &mut running[victim], MACHINES[victim], round);
        world.await_run_by(&running.each_ref().map(String::as_str));
        round += 1;
        // The pace is not to be kept exactly: results go on meanwhile, and are all checked.
        let next = begun + PACE * round;
        let from = world.watcher.len();
        let rest = next.saturating_duration_since(Instant::now());
        world.watcher.wait_until(rest.min(PATIENCE), from, |_| false);
        // Now what it took over for a while has settled.
        used.push(world.usage("a"));
    }
    world.finish();
    assert_level(name, &used);
}

/// Does it to one process, which goes on by another name.
fn hit(world: &mut World, fault: Fault, name: &mut String, machine: &str, round: u32) {
    let gone = match fault {
        Fault::Kill | Fault::KillAndLoseState => world.kill_9(name),
        Fault::Terminate => world.terminate(name),
        Fault::Freeze => world.freeze(name),
    };
    if matches!(fault, Fault::KillAndLoseState) {
        world.remove_state(machine);
    }
    if matches!(fault, Fault::Freeze) {
        world.recovered(&gone);
        world.process(name).thaw();
    } else {
        *name = format!("{}{round}", &name[..1]);
        world.start(name, machine);
        world.recovered(&gone);
    }
}

/// One figure of what a process takes.
type Of = fn(&Usage) -> u64;

/// Each with what it may grow by besides.
const FIGURES: [(&str, Of, u64); 4] = [
    ("resident kB", |used| used.resident_kb, 0),
    ("open files", |used| used.files, 0),
    ("threads", |used| used.threads, 0),
    ("state kB of the largest task", |used| used.largest_task_kb, OPTIONS_KB),
];

/// What is printed and has a bound that needs no first half: a process keeps what it has of every
/// task that it ever ran, and meets some of them late.
const BOUNDED: [(&str, Of); 2] =
    [("state kB", |used| used.state_kb), ("databases", |used| used.databases)];

/// The second half takes no more than the first, within a margin; and what a process has of tasks
/// is no more than there are tasks with stores, one for each partition.
fn assert_level(name: &str, used: &[Usage]) {
    let (first, second) = used.split_at(used.len() / 2);
    let figures = FIGURES.map(|(what, of, _)| (what, of));
    for (what, of) in BOUNDED.into_iter().chain(figures) {
        let (before, after) = (most(first, of), most(second, of));
        figure(&format!("{name}: {what}: {} at most {before}, then {after}", Series(used, of)));
    }
    for (what, of, besides) in FIGURES {
        let (before, after) = (most(first, of), most(second, of));
        let bound = before + before * GROWTH_PERCENT_MAX / 100 + besides;
        assert!(first.is_empty() || after <= bound, "{name}: {what} grow from {before} to {after}");
    }
    let databases = most(used, |used| used.databases);
    assert!(databases <= u64::from(PARTITIONS), "{name}: {databases} databases");
}

fn most(used: &[Usage], of: Of) -> u64 {
    used.iter().map(of).max().unwrap_or_default()
}

/// What is printed of a figure over time: its values, and its slope per round.
struct Series<'a>(&'a [Usage], Of);

impl fmt::Display for Series<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values: Vec<f64> = self.0.iter().map(|used| (self.1)(used) as f64).collect();
        let second = &values[values.len() / 2..];
        write!(f, "{values:?}, in the second half {:+.2} a round,", slope(second))
    }
}

/// The slope of the line that fits best.
fn slope(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    let (middle, mean) = ((count - 1.0) / 2.0, values.iter().sum::<f64>() / count.max(1.0));
    let (mut up, mut across) = (0.0, 0.0);
    for (at, value) in values.iter().enumerate() {
        let offset = at as f64 - middle;
        up += offset * (value - mean);
        across += offset * offset;
    }
    if across > 0.0 { up / across } else { 0.0 }
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("`{name}` is `{text}`, not a number")))
}

fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}
