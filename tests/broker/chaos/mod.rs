//! Does an application of several processes survive what happens to processes, to the broker, and
//! on the way between them?
//!
//! Real processes on a real broker, fed with numbered records all the while. At the end every
//! result is checked against what was fed. What is measured is printed.

#![expect(clippy::disallowed_methods, reason = "processes of their own take real time")]

mod application;
mod elastic;
mod feeder;
mod large_state;
mod lines;
mod machine;
mod network;
mod process;
mod proxy;
mod soak;
mod watcher;
mod work;
mod works;
mod world;

use std::collections::BTreeMap;
use std::time::Duration;

use millstream::Guarantee::{self, AtLeastOnce, ExactlyOnce};
use millstream::log::GroupProtocol::{self, Consumer, CooperativeSticky};
use rdkafka::ClientConfig;

use self::application::Mistake;
use self::machine::{alone, beside_others};
use self::watcher::{Seen, runners, silences};
use self::work::Work;
use self::world::World;
use crate::kafka::Broker;

const PARTITIONS: u32 = 6;
/// A loaded machine is given much longer than it needs.
const PATIENCE: Duration = Duration::from_secs(60);
/// Where the broker assigns, its own setting holds: two seconds.
const SESSION_TIMEOUT: Duration = Duration::from_secs(3);
const COMMIT_INTERVAL: Duration = Duration::from_millis(100);
/// A task that stays may start again in place and may find its input silent while the tasks before
/// it move, which takes the group two rebalances. None of that waits for a session to end. How long
/// it takes is printed: on a busy machine it says more about the machine.
const SILENCE_MAX: Duration = SESSION_TIMEOUT;
/// Longer than any test waits: nothing may hinge on the end of an abandoned transaction.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(300);

fn client(broker: &Broker) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker.bootstrap());
    config
}

#[expect(clippy::print_stdout, reason = "figures are for whoever runs the tests")]
fn figure(text: &str) {
    println!("{text}");
}

/// The process that the other tests start.
#[test]
#[ignore = "is a process of the tests beside it"]
fn application() {
    application::run();
}

const MACHINES: [&str; 3] = ["1", "2", "3"];
const NAMES: [&str; 3] = ["a", "b", "c"];

/// Three processes on three machines, all at work.
fn three(name: &str, guarantee: Guarantee, protocol: GroupProtocol) -> World {
    let mut world = World::new(name, guarantee, protocol);
    world.start("a", "1");
    world.start("b", "2");
    world.start("c", "3");
    world.await_run_by(&["a", "b", "c"]);
    world
}

/// What the checks say of an application with a mistake, all of whose processes are killed and
/// started again.
fn found_out(work: Work, name: &str, mistake: Mistake) -> String {
    let _beside = beside_others();
    let mut world = World::mistaken(work, name, mistake);
    NAMES.iter().zip(MACHINES).for_each(|(name, machine)| world.start(name, machine));
    world.await_run_by(&NAMES);
    NAMES.iter().for_each(|name| drop(world.kill_9(name)));
    let names = ["a1", "b1", "c1"];
    names.iter().zip(MACHINES).for_each(|(name, machine)| world.start(name, machine));
    world.await_run_by(&names);
    world.finish_wrong()
}

#[test]
fn an_application_that_loses_a_record_is_found_out() {
    let problem = found_out(Work::Tally, "wrong-loss", Mistake::Loses);
    assert_eq!(problem, "numbers and how often they took effect: [(77, 0)]");
}

#[test]
fn an_application_that_repeats_results_is_found_out() {
    let problem = found_out(Work::Tally, "wrong-double", Mistake::Doubles);
    let (_, effects) = problem.split_once(": [(").expect("it lists numbers");
    assert!(problem.starts_with("numbers and how often they took effect"), "{problem}");
    assert!(!effects.contains(", 0)"), "nothing is lost: {problem}");
}

#[test]
fn an_application_that_forgets_its_state_is_found_out() {
    let problem = found_out(Work::Tally, "wrong-state", Mistake::Forgets);
    assert!(problem.contains(" is 1 behind "), "a tally begins anew: {problem}");
}

#[test]
fn an_application_that_forgets_its_windows_is_found_out() {
    let problem = found_out(Work::Window, "wrong-window", Mistake::Forgets);
    assert!(problem.contains(" is 1 behind "), "a window begins anew: {problem}");
}

#[test]
fn a_join_that_forgets_what_waits_for_its_partner_is_found_out() {
    let problem = found_out(Work::Join, "wrong-join", Mistake::Forgets);
    assert!(problem.starts_with("numbers and how often they took effect"), "{problem}");
    assert!(problem.contains(", 0)"), "some never meet: {problem}");
}

/// Who is killed at once, round by round.
const VICTIMS: [&[usize]; 9] =
    [&[1], &[2], &[0, 1], &[0], &[1, 2], &[0, 1, 2], &[2], &[0, 2], &[1]];

/// Kills processes, at times all of them at once, and starts them anew, with or without their
/// state.
fn kill_repeatedly(name: &str, guarantee: Guarantee, keeps_state: bool) {
    let _beside = beside_others();
    let mut world = three(name, guarantee, CooperativeSticky);
    let mut running = NAMES.map(str::to_owned);
    for (round, victims) in VICTIMS.into_iter().enumerate() {
        let gone: Vec<_> = victims.iter().map(|victim| world.kill_9(&running[*victim])).collect();
        for victim in victims {
            if !keeps_state {
                world.remove_state(MACHINES[*victim]);
            }
            running[*victim] = format!("{}{round}", &running[*victim][..1]);
            world.start(&running[*victim], MACHINES[*victim]);
        }
        for gone in &gone {
            world.recovered(gone);
        }
        world.await_run_by(&running.each_ref().map(String::as_str));
    }
    world.finish();
}

#[test]
fn a_process_killed_and_started_again_doubles_nothing() {
    kill_repeatedly("kill-eos", ExactlyOnce, true);
}

#[test]
fn a_process_killed_and_started_again_without_its_state_doubles_nothing() {
    kill_repeatedly("kill-eos-bare", ExactlyOnce, false);
}

#[test]
fn at_least_once_a_process_killed_and_started_again_loses_nothing() {
    kill_repeatedly("kill-alo", AtLeastOnce, true);
}

#[test]
fn at_least_once_a_process_killed_and_started_again_without_its_state_loses_nothing() {
    kill_repeatedly("kill-alo-bare", AtLeastOnce, false);
}

#[test]
fn the_tasks_of_a_killed_process_go_on_elsewhere() {
    let _beside = beside_others();
    let mut world = three("kill-for-good", ExactlyOnce, CooperativeSticky);
    let gone = world.kill_9("b");
    world.recovered(&gone);
    world.await_run_by(&["a", "c"]);
    let gone = world.kill_9("c");
    world.recovered(&gone);
    world.await_run_by(&["a"]);
    world.finish();
}

#[test]
fn the_tasks_of_a_process_that_ends_in_order_go_on_at_once() {
    let _beside = beside_others();
    let mut world = World::new("terminate", ExactlyOnce, CooperativeSticky);
    // Longer than the tasks are waited for: it is not the end of a session that brings them back.
    world.set_session_timeout(2 * PATIENCE);
    for (process, machine) in [("a", "1"), ("b", "2"), ("c", "3")] {
        world.start(process, machine);
    }
    world.await_run_by(&["a", "b", "c"]);
    for (process, left) in [("b", &["a", "c"][..]), ("c", &["a"])] {
        let gone = world.terminate(process);
        world.recovered(&gone);
        world.await_run_by(left);
    }
    world.finish();
}

/// Freezes a process until others have its tasks, and lets it go on.
fn freeze_repeatedly(name: &str, guarantee: Guarantee) {
    let _beside = beside_others();
    let mut world = three(name, guarantee, CooperativeSticky);
    for _ in 0..2 {
        let gone = world.freeze("b");
        world.recovered(&gone);
        world.await_run_by(&["a", "c"]);
        world.process("b").thaw();
        world.await_run_by(&["a", "b", "c"]);
    }
    world.finish();
}

#[test]
fn a_process_that_was_frozen_beyond_its_session_writes_nothing_it_no_longer_owns() {
    freeze_repeatedly("zombie", ExactlyOnce);
}

#[test]
fn at_least_once_a_process_that_was_frozen_beyond_its_session_takes_no_count_back() {
    freeze_repeatedly("zombie-alo", AtLeastOnce);
}

/// Tasks that ran in one process all the while were never silent for long.
fn assert_unmoved_go_on(name: &str, seen: &[Seen]) {
    let runners = runners(seen);
    let (unmoved, moved): (BTreeMap<_, _>, BTreeMap<_, _>) =
        silences(seen).into_iter().partition(|(task, _)| runners[task].len() == 1);
    for (which, silences) in [("moved", &moved), ("unmoved", &unmoved)] {
        let texts =
            silences.iter().map(|(task, silence)| format!("{task} {}", silence.as_millis()));
        let texts: Vec<_> = texts.collect();
        figure(&format!("{name}: longest gaps of {which} tasks in ms: {}", texts.join(", ")));
    }
    assert!(!unmoved.is_empty(), "some task does not move: {runners:?}");
    assert!(unmoved.values().all(|silence| *silence < SILENCE_MAX), "{unmoved:?}");
}

/// Three static members at work, and from where on.
fn three_static(name: &str, protocol: GroupProtocol) -> (World, usize) {
    let mut world = World::new(name, ExactlyOnce, protocol);
    for (process, machine) in [("a", "1"), ("b", "2"), ("c", "3")] {
        world.start_as(process, machine, Some(process));
    }
    let start = world.await_even(&["a", "b", "c"]);
    (world, start)
}

/// Whatever happened to `b`, its tasks stayed with it, and the others' with them.
fn assert_none_moved(seen: &[Seen]) {
    for (task, runners) in runners(seen) {
        let is_kept = runners.len() == 1 || runners.iter().all(|name| name.starts_with('b'));
        assert!(is_kept, "{task} moved: {runners:?}");
    }
}

#[test]
fn a_static_member_keeps_its_tasks_over_a_restart() {
    let _alone = alone();
    let (mut world, start) = three_static("static", CooperativeSticky);
    let gone = world.terminate("b");
    world.start_as("b2", "2", Some("b"));
    world.recovered(&gone);
    world.await_run_by(&["a", "b2", "c"]);
    let gone = world.kill_9("b2");
    world.start_as("b3", "2", Some("b"));
    world.recovered(&gone);
    world.await_run_by(&["a", "b3", "c"]);
    let seen = world.finish();
    assert_none_moved(&seen[start..]);
    assert_unmoved_go_on("static", &seen[start..]);
}

/// Here the broker keeps an instance id for a killed member until its session has ended.
#[test]
fn a_static_member_comes_back_where_the_broker_assigns() {
    let _beside = beside_others();
    let (mut world, start) = three_static("static-848", Consumer);
    let gone = world.terminate("b");
    world.start_as("b2", "2", Some("b"));
    world.recovered(&gone);
    let end = world.await_run_by(&["a", "b2", "c"]);
    assert_none_moved(&world.watcher.since(start)[..end - start]);
    let gone = world.kill_9("b2");
    world.start_as("b3", "2", Some("b"));
    world.recovered(&gone);
    world.await_run_by(&["a", "b3", "c"]);
    world.finish();
}
