//! May processes come and go under load, however fast?

use millstream::Guarantee::ExactlyOnce;
use millstream::log::GroupProtocol::{self, Consumer, CooperativeSticky};

use super::large_state::{await_committed, load};
use super::world::World;
use super::{PATIENCE, alone, assert_unmoved_go_on, beside_others, figure};

/// What a task has to restore takes longer than to find out that it has begun.
const ROWS: u64 = 60_000;

/// From one process to four and back to two, under load: one of those that go ends in order.
fn grow_and_shrink(name: &str, protocol: GroupProtocol) {
    let _alone = alone();
    let mut world = World::new(name, ExactlyOnce, protocol);
    world.start("a", "1");
    let start = world.await_run_by(&["a"]);
    for (process, machine) in [("b", "2"), ("c", "3"), ("d", "4")] {
        world.start(process, machine);
    }
    world.await_run_by(&["a", "b", "c", "d"]);
    let gone = world.terminate("b");
    world.recovered(&gone);
    let killed_from = world.await_run_by(&["a", "c", "d"]);
    let gone = world.kill_9("d");
    world.recovered(&gone);
    world.await_run_by(&["a", "c"]);
    let seen = world.finish();
    assert_unmoved_go_on(name, &seen[start..killed_from]);
}

#[test]
fn tasks_that_do_not_move_go_on_while_processes_come_and_go() {
    grow_and_shrink("resize", CooperativeSticky);
}

#[test]
fn tasks_that_do_not_move_go_on_where_the_broker_assigns() {
    grow_and_shrink("resize-848", Consumer);
}

/// Each comes to a machine without state, and leaves, in order or not, while it restores what it
/// was given; the next one comes meanwhile.
#[test]
fn ten_rebalances_amid_restores_leave_each_task_to_one_process() {
    let _beside = beside_others();
    let mut world = World::with_ballast("restless", ExactlyOnce, CooperativeSticky);
    load(&world.ballast(), ROWS);
    world.start("a", "1");
    await_committed("restless", &world.ballast(), ROWS);
    world.await_run_by(&["a"]);
    let mut disturbed = 0;
    for round in 0..5 {
        let name = format!("b{round}");
        world.start(&name, &name);
        let process = world.process(&name);
        let begins = || process.has_said("task begins to restore");
        assert!(crate::wait_until(PATIENCE, begins), "{}", process.log_tail());
        let count = |text: &str| process.times_said(text);
        disturbed += count("task begins to restore") - count("task restored");
        if round % 2 == 0 {
            world.terminate(&name);
        } else {
            world.kill_9(&name);
        }
    }
    figure(&format!("restless: {disturbed} tasks were being restored when their process went"));
    assert!(disturbed > 0, "a process leaves before it has restored");
    world.start("c", "2");
    world.await_even(&["a", "c"]);
    world.finish();
}
