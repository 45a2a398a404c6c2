//! Do applications of every kind survive what happens to their processes?

use std::thread;

use millstream::Guarantee::{self, AtLeastOnce, ExactlyOnce};
use millstream::log::GroupProtocol::CooperativeSticky;

use super::watcher::{Seen, runners};
use super::work::Work;
use super::world::{Gone, World};
use super::{MACHINES, NAMES, beside_others, three_static};

/// Kills processes of an application, with their state and without, and then ends each of them in
/// order and starts it anew.
fn attack(work: Work, name: &str, guarantee: Guarantee) {
    let mut world = World::doing(work, name, guarantee);
    let mut running = NAMES.map(str::to_owned);
    running.iter().zip(MACHINES).for_each(|(name, machine)| world.start(name, machine));
    world.await_run_by(&running.each_ref().map(String::as_str));
    for (round, victims) in [&[1][..], &[0, 2]].into_iter().enumerate() {
        let gone: Vec<_> = victims.iter().map(|victim| world.kill_9(&running[*victim])).collect();
        if round == 1 {
            world.remove_state(MACHINES[victims[0]]);
        }
        for victim in victims {
            running[*victim] = format!("{}{round}", &running[*victim][..1]);
            world.start(&running[*victim], MACHINES[*victim]);
        }
        for gone in &gone {
            world.recovered(gone);
        }
        world.await_run_by(&running.each_ref().map(String::as_str));
    }
    for (process, machine) in MACHINES.into_iter().enumerate() {
        let gone = world.terminate(&running[process]);
        running[process].push('r');
        world.start(&running[process], machine);
        world.recovered(&gone);
        world.await_run_by(&running.each_ref().map(String::as_str));
    }
    world.finish();
}

/// Most of the time they wait for sessions to end, so they do it beside one another.
#[test]
fn applications_of_every_kind_survive_kills_and_a_rolling_restart() {
    let _beside = beside_others();
    thread::scope(|scope| {
        for (work, name, guarantee) in [
            (Work::Transform, "transform-eos", ExactlyOnce),
            (Work::Transform, "transform-alo", AtLeastOnce),
            (Work::Window, "window-eos", ExactlyOnce),
            (Work::Join, "join-eos", ExactlyOnce),
        ] {
            scope.spawn(move || attack(work, name, guarantee));
        }
    });
}

/// A task that keeps tallies; those that feed it keep nothing.
const TALLYING: &str = "1_0";

fn runner_of(task: &str, seen: &[Seen]) -> String {
    let runners = runners(seen);
    (*runners[task].first().expect("it is at work")).to_owned()
}

#[test]
#[cfg_attr(not(feature = "rocksdb"), ignore = "without RocksDB there are no files")]
fn a_process_whose_files_are_damaged_says_so_and_restores_them() {
    const SAID: &str = "local state is damaged: set aside and restored whole";
    let _beside = beside_others();
    // Its tasks come back to a static member, so that it meets its own files again.
    let (mut world, start) = three_static("damaged", CooperativeSticky);
    let victim = runner_of(TALLYING, &world.watcher.since(start));
    let place = NAMES.iter().position(|name| *name == victim).expect("it is one of the three");
    let mut running = NAMES.map(str::to_owned);
    // A kill leaves what says which files there are; a process that ends in order, rows as well.
    let ends: [(&str, fn(&mut World, &str) -> Gone); 2] =
        [("MANIFEST", World::kill_9), (".sst", World::terminate)];
    for (round, (kind, end)) in ends.into_iter().enumerate() {
        let gone = end(&mut world, &running[place]);
        assert!(world.damage_state(MACHINES[place], kind) > 0, "a process leaves files behind");
        running[place] = format!("{victim}{round}");
        world.start_as(&running[place], MACHINES[place], Some(&victim));
        world.recovered(&gone);
        world.await_run_by(&running.each_ref().map(String::as_str));
        assert!(world.process(&running[place]).has_said(SAID), "it says what it does");
    }
    world.finish();
}
