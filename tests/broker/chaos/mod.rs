//! Does an application of several processes survive what happens to processes?
//!
//! Real processes on a real broker, fed with numbered records all the while. At the end every
//! result is checked against what was fed. What is measured is printed.

#![expect(clippy::disallowed_methods, reason = "processes of their own take real time")]

mod application;
mod feeder;
mod lines;
mod process;
mod watcher;
mod world;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use millstream::Guarantee::{self, AtLeastOnce, ExactlyOnce};
use millstream::log::GroupProtocol::{self, Consumer, CooperativeSticky};
use rdkafka::ClientConfig;

use self::watcher::{Seen, runners, silences};
use self::world::World;
use crate::kafka::Broker;

const PARTITIONS: u32 = 6;
/// A loaded machine is given much longer than it needs.
const PATIENCE: Duration = Duration::from_secs(60);
const SESSION_TIMEOUT: Duration = Duration::from_secs(2);
/// Longer than any test waits: nothing may hinge on the end of an abandoned transaction.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(300);

fn client(broker: &Broker) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker.bootstrap());
    config
}

/// One application at a time: what they measure is time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
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

/// Three processes on three machines, all at work.
fn three(name: &str, guarantee: Guarantee, protocol: GroupProtocol) -> World {
    let mut world = World::new(name, guarantee, protocol);
    world.start("a", "1");
    world.start("b", "2");
    world.start("c", "3");
    world.await_run_by(&["a", "b", "c"]);
    world
}

/// Kills one of three processes three times, each time starting it anew, with or without its state.
fn kill_repeatedly(name: &str, guarantee: Guarantee, keeps_state: bool) {
    let _alone = alone();
    let mut world = three(name, guarantee, CooperativeSticky);
    for (victim, successor) in [("b", "b2"), ("b2", "b3"), ("b3", "b4")] {
        let killed = world.kill_9(victim);
        if !keeps_state {
            world.remove_state("2");
        }
        world.start(successor, "2");
        world.recovered(victim, killed);
        world.await_run_by(&["a", successor, "c"]);
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
    let _alone = alone();
    let mut world = three("kill-for-good", ExactlyOnce, CooperativeSticky);
    let killed = world.kill_9("b");
    world.recovered("b", killed);
    world.await_run_by(&["a", "c"]);
    let killed = world.kill_9("c");
    world.recovered("c", killed);
    world.await_run_by(&["a"]);
    world.finish();
}

#[test]
fn the_tasks_of_a_process_that_ends_in_order_go_on_at_once() {
    let _alone = alone();
    let mut world = three("terminate", ExactlyOnce, CooperativeSticky);
    let ended = world.terminate("b");
    world.recovered("b", ended);
    world.await_run_by(&["a", "c"]);
    let ended = world.terminate("c");
    world.recovered("c", ended);
    world.await_run_by(&["a"]);
    world.finish();
}

#[test]
fn a_process_that_was_frozen_beyond_its_session_writes_nothing_it_no_longer_owns() {
    let _alone = alone();
    let mut world = three("zombie", ExactlyOnce, CooperativeSticky);
    for _ in 0..2 {
        world.process("b").freeze();
        let frozen = Instant::now();
        world.recovered("b", frozen);
        world.await_run_by(&["a", "c"]);
        world.process("b").thaw();
        world.await_run_by(&["a", "b", "c"]);
    }
    world.finish();
}

/// From one process to three and back to two, under load.
fn grow_and_shrink(name: &str, protocol: GroupProtocol) {
    let _alone = alone();
    let mut world = World::new(name, ExactlyOnce, protocol);
    world.start("a", "1");
    let start = world.await_run_by(&["a"]);
    world.start("b", "2");
    world.start("c", "3");
    world.await_run_by(&["a", "b", "c"]);
    world.terminate("b");
    world.await_run_by(&["a", "c"]);
    let seen = world.finish();
    assert_unmoved_go_on(name, &seen[start..]);
}

/// Tasks that ran in one process all the while were never silent for long.
fn assert_unmoved_go_on(name: &str, seen: &[Seen]) {
    let runners = runners(seen);
    let mut silences = silences(seen);
    silences.retain(|task, _| runners[task].len() == 1);
    figure(&format!("{name}: longest silences of tasks that did not move: {silences:?}"));
    assert!(!silences.is_empty(), "some task does not move: {runners:?}");
    assert!(silences.values().all(|silence| *silence < SESSION_TIMEOUT), "{silences:?}");
}

#[test]
fn tasks_that_do_not_move_go_on_while_processes_come_and_go() {
    grow_and_shrink("resize", CooperativeSticky);
}

#[test]
fn tasks_that_do_not_move_go_on_where_the_broker_assigns() {
    grow_and_shrink("resize-848", Consumer);
}

/// A static member that is back before its session ends keeps its tasks, and the others theirs.
fn restart_static_member(name: &str, protocol: GroupProtocol) {
    let _alone = alone();
    let mut world = World::new(name, ExactlyOnce, protocol);
    for (process, machine) in [("a", "1"), ("b", "2"), ("c", "3")] {
        world.start_as(process, machine, Some(process));
    }
    let start = world.await_run_by(&["a", "b", "c"]);
    world.terminate("b");
    world.start_as("b2", "2", Some("b"));
    world.await_run_by(&["a", "b2", "c"]);
    let killed = world.kill_9("b2");
    world.start_as("b3", "2", Some("b"));
    world.recovered("b2", killed);
    world.await_run_by(&["a", "b3", "c"]);
    let seen = world.finish();
    for (task, runners) in runners(&seen[start..]) {
        let is_kept = runners.len() == 1 || runners.iter().all(|name| name.starts_with('b'));
        assert!(is_kept, "{task} moved: {runners:?}");
    }
    assert_unmoved_go_on(name, &seen[start..]);
}

#[test]
fn a_static_member_keeps_its_tasks_over_a_restart() {
    restart_static_member("static", CooperativeSticky);
}
