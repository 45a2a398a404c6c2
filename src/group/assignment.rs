//! On which worker does each of the process's tasks run?
//!
//! Nothing but the arguments decides, so that the same tasks on the same workers are always placed
//! alike. This is no matter of the group: a task that moves from worker to worker stays in its
//! process and needs no rebalance.
//!
//! # Invariants
//!
//! - Every task has one worker, if there is any worker.
//! - The number of tasks of any two workers differs by at most one, and so does the number of
//!   stateful tasks.
//! - Among all placements that keep this, as few stateful tasks move as possible. Stateless tasks,
//!   which are cheap to move, follow: they stay where the balance allows it.
//!
//! # Steps
//!
//! 1. Each worker gets a quota of stateful tasks; where quotas differ, the larger ones go to those
//!    workers that would otherwise have to give a task away.
//! 2. A worker keeps what it has, up to its quota.
//! 3. What is left over goes to workers that have room, first to those that have the fewest tasks
//!    of its sub-topology, since the tasks of one sub-topology are alike in load.
//! 4. The same again for stateless tasks, with quotas that even out the totals.

use std::collections::BTreeMap;

use crate::topology::{SubtopologyId, TaskId};

/// A worker of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerId(pub u32);

/// A task that is to be placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskPlace {
    /// The task.
    pub task: TaskId,
    /// Whether it has stores, so that moving it is dear.
    pub is_stateful: bool,
    /// Where it is now.
    pub current: Option<WorkerId>,
}

/// Places tasks on workers; without workers none is placed.
///
/// ```
/// use millstream::group::{TaskPlace, WorkerId, place};
///
/// let at = |task: &str, worker| TaskPlace {
///     task: task.parse().unwrap(),
///     is_stateful: true,
///     current: Some(WorkerId(worker)),
/// };
/// let placed = place(&[at("0_0", 0), at("0_1", 0), at("0_2", 0)], &[WorkerId(0), WorkerId(1)]);
/// assert_eq!(placed.values().filter(|worker| worker.0 == 0).count(), 2);
/// ```
pub fn place(tasks: &[TaskPlace], workers: &[WorkerId]) -> BTreeMap<TaskId, WorkerId> {
    let mut loads = loads(tasks, workers);
    if loads.is_empty() {
        return BTreeMap::new();
    }
    for is_stateful in [true, false] {
        set_quotas(&mut loads, tasks, is_stateful);
        let mut homeless = homeless(tasks, &loads, is_stateful);
        for load in loads.values_mut() {
            homeless.extend(load.keep(is_stateful));
        }
        homeless.sort_unstable();
        for task in homeless {
            roomiest(&mut loads, task.subtopology).placed.push(task);
        }
    }
    let placed =
        |(worker, load): (WorkerId, Load)| load.placed.into_iter().map(move |task| (task, worker));
    loads.into_iter().flat_map(placed).collect()
}

/// What one worker has and gets.
#[derive(Default)]
struct Load {
    /// Tasks it has now: stateless, stateful.
    current: [Vec<TaskId>; 2],
    /// Tasks it gets.
    placed: Vec<TaskId>,
    /// How many tasks it may get, counting those placed already.
    quota: usize,
}

impl Load {
    fn of_subtopology(&self, id: SubtopologyId) -> usize {
        self.placed.iter().filter(|task| task.subtopology == id).count()
    }

    fn room(&self) -> usize {
        self.quota.saturating_sub(self.placed.len())
    }

    /// Keeps what the quota allows and returns the rest: of the sub-topologies that it has most of.
    fn keep(&mut self, is_stateful: bool) -> Vec<TaskId> {
        let [stateless, stateful] = &mut self.current;
        let current = std::mem::take(if is_stateful { stateful } else { stateless });
        self.placed.extend(current.iter().copied());
        let mut rest = Vec::new();
        while self.placed.len() > self.quota {
            let candidates = self.placed.iter().filter(|task| current.contains(task));
            let most =
                candidates.max_by_key(|task| (self.of_subtopology(task.subtopology), **task));
            let most = *most.expect("what was placed before lies within the quota");
            self.placed.retain(|task| *task != most);
            rest.push(most);
        }
        rest
    }
}

fn loads(tasks: &[TaskPlace], workers: &[WorkerId]) -> BTreeMap<WorkerId, Load> {
    let mut loads: BTreeMap<_, _> = workers.iter().map(|id| (*id, Load::default())).collect();
    for place in tasks {
        if let Some(load) = place.current.and_then(|worker| loads.get_mut(&worker)) {
            let [stateless, stateful] = &mut load.current;
            (if place.is_stateful { stateful } else { stateless }).push(place.task);
        }
    }
    loads
}

fn homeless(
    tasks: &[TaskPlace],
    loads: &BTreeMap<WorkerId, Load>,
    is_stateful: bool,
) -> Vec<TaskId> {
    let has_home = |place: &&TaskPlace| place.current.is_some_and(|id| loads.contains_key(&id));
    let tasks = tasks.iter().filter(|place| place.is_stateful == is_stateful);
    tasks.filter(|place| !has_home(place)).map(|place| place.task).collect()
}

/// Shares all stateful tasks, or all tasks, out evenly. The larger quotas go to workers that would
/// otherwise have to give a task away, then to those that have fewer stateless tasks to keep.
///
/// A worker that holds more stateful tasks than the smaller quota of all tasks always gets a larger
/// one: where there is such a worker, all hold at least the smaller quota, so those that would give
/// a task away are no more than the larger quotas.
fn set_quotas(loads: &mut BTreeMap<WorkerId, Load>, tasks: &[TaskPlace], is_stateful: bool) {
    let total = tasks.iter().filter(|place| place.is_stateful || !is_stateful).count();
    let (small, larger) = (total / loads.len(), total % loads.len());
    let mut by_need: Vec<(WorkerId, &mut Load)> =
        loads.iter_mut().map(|(id, load)| (*id, load)).collect();
    by_need.sort_by_key(|(id, load)| {
        let [stateless, stateful] = &load.current;
        let to_keep = if is_stateful { stateful.len() } else { stateless.len() };
        let would_lose = load.placed.len() + to_keep > small;
        (!would_lose, stateless.len(), *id)
    });
    for (index, (_, load)) in by_need.into_iter().enumerate() {
        load.quota = small + usize::from(index < larger);
    }
}

fn roomiest(loads: &mut BTreeMap<WorkerId, Load>, id: SubtopologyId) -> &mut Load {
    let with_room = loads.values_mut().filter(|load| load.room() > 0);
    with_room
        .min_by_key(|load| (load.of_subtopology(id), usize::MAX - load.room()))
        .expect("quotas hold all tasks")
}

#[cfg(test)]
mod tests {
    use super::super::rebalance::tests::Random;
    use super::*;

    fn task(subtopology: u32, partition: u32) -> TaskId {
        TaskId::new(SubtopologyId(subtopology), partition)
    }

    fn workers(count: u32) -> Vec<WorkerId> {
        (0..count).map(WorkerId).collect()
    }

    fn fresh(subtopologies: &[(bool, u32)]) -> Vec<TaskPlace> {
        let mut tasks = Vec::new();
        for (subtopology, (is_stateful, count)) in subtopologies.iter().enumerate() {
            tasks.extend((0..*count).map(|partition| TaskPlace {
                task: task(subtopology as u32, partition),
                is_stateful: *is_stateful,
                current: None,
            }));
        }
        tasks
    }

    fn settle(tasks: &mut [TaskPlace], workers: &[WorkerId]) -> usize {
        let placed = place(tasks, workers);
        let mut moved = 0;
        for place in tasks {
            let worker = placed.get(&place.task).copied();
            moved += usize::from(place.current != worker);
            place.current = worker;
        }
        moved
    }

    fn spread(tasks: &[TaskPlace], workers: &[WorkerId], of: impl Fn(&TaskPlace) -> bool) -> usize {
        let count = |worker: &WorkerId| {
            tasks.iter().filter(|place| of(place) && place.current == Some(*worker)).count()
        };
        let counts: Vec<usize> = workers.iter().map(count).collect();
        counts.iter().max().unwrap() - counts.iter().min().unwrap()
    }

    #[test]
    fn each_subtopology_is_spread_and_nothing_moves_twice() {
        let mut tasks = fresh(&[(true, 4), (false, 4), (true, 4)]);
        let workers = workers(4);
        settle(&mut tasks, &workers);
        for subtopology in 0..3 {
            let of = |place: &TaskPlace| place.task.subtopology == SubtopologyId(subtopology);
            assert_eq!(spread(&tasks, &workers, of), 0, "{tasks:?}");
        }
        assert_eq!(settle(&mut tasks, &workers), 0);
    }

    #[test]
    fn a_new_worker_takes_its_share_and_nothing_else_moves() {
        let mut tasks = fresh(&[(true, 12)]);
        settle(&mut tasks, &workers(3));
        assert_eq!(settle(&mut tasks, &workers(4)), 3);
    }

    #[test]
    fn a_removed_workers_tasks_move_and_nothing_else() {
        let mut tasks = fresh(&[(true, 6), (false, 6)]);
        settle(&mut tasks, &workers(4));
        assert_eq!(settle(&mut tasks, &workers(4)[1..]), 3);
    }

    #[test]
    fn without_workers_nothing_is_placed() {
        assert!(place(&fresh(&[(true, 2)]), &[]).is_empty());
    }

    /// The most stateful tasks that can stay: the quotas decide, and all ways to give out the
    /// larger ones are tried.
    fn most_that_can_stay(tasks: &[TaskPlace], workers: &[WorkerId]) -> usize {
        let stateful: Vec<_> = tasks.iter().filter(|place| place.is_stateful).collect();
        let (small, larger) = (stateful.len() / workers.len(), stateful.len() % workers.len());
        let ways = (0_u32..1 << workers.len()).filter(|way| way.count_ones() as usize == larger);
        let stay = |way: u32| -> usize {
            let kept = |(index, worker): (usize, &WorkerId)| {
                let has = stateful.iter().filter(|place| place.current == Some(*worker)).count();
                has.min(small + (way >> index & 1) as usize)
            };
            workers.iter().enumerate().map(kept).sum()
        };
        ways.map(stay).max().unwrap()
    }

    #[test]
    fn random_placements_are_balanced_and_move_as_little_as_possible() {
        for seed in 0..3_000 {
            let mut random = Random::new(seed);
            let counts = [0; 3].map(|_| (random.below(2) == 0, random.below(9)));
            let mut tasks = fresh(&counts);
            let before = workers(random.below(5));
            for place in &mut tasks {
                let index = random.below(before.len() as u32 + 1) as usize;
                place.current = before.get(index).copied();
            }
            let now = &workers(6)[random.below(3) as usize..3 + random.below(4) as usize];
            let can_stay = most_that_can_stay(&tasks, now);
            let old = tasks.clone();
            settle(&mut tasks, now);

            assert!(tasks.iter().all(|place| now.contains(&place.current.unwrap())));
            assert!(spread(&tasks, now, |_| true) <= 1, "seed {seed}: {tasks:?}");
            assert!(spread(&tasks, now, |place| place.is_stateful) <= 1, "seed {seed}");
            let stayed = old.iter().zip(&tasks).filter(|(old, new)| {
                old.is_stateful && old.current.is_some() && old.current == new.current
            });
            assert_eq!(stayed.count(), can_stay, "seed {seed}");
            assert_eq!(settle(&mut tasks, now), 0, "seed {seed}: placing again moves something");
        }
    }
}
