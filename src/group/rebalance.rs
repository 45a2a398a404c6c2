//! Which tasks does this process run, and when may it give one up?
//!
//! The group shares out the partitions of leading topics; each stands for one task. This machine
//! takes what the group says and what workers report, and answers with commands. It does no I/O
//! and knows no time: a revocation that takes too long ends when the group says `Lost`.
//!
//! ```text
//!                    Assigned                    task failed by itself
//!      NotOurs --------------------> Running -------------------------> Parked
//!         ^                         /   |   ^                             |
//!         |       Revoking: Close  /    |    \  closed, `Start` comes     | restart
//!         |     Lost: Abandon     v     |     \ next                      v
//!         +---------------- Closing {next} ----+                       Running
//!              closed
//! ```
//!
//! While a task is closing, only what happens *next* changes: `GiveUp` after a revocation, `Forget`
//! after a loss, `Start` if the partition has been assigned again, `Park` on the way to a stop. The
//! last word of the group wins.
//!
//! # Invariants
//!
//! - A task is alive on at most one worker: `Start` is commanded only where no task is alive, and a
//!   task counts as alive from `Start` until it is reported closed, whatever the group says.
//! - A partition is given up only after its task is closed, and only if the group still waits for
//!   it: each revocation is answered once, unless a loss or an assignment has overtaken it.
//! - A task whose partition is lost does not commit: a `Close` that is under way is followed by an
//!   `Abandon`.
//!
//! # What workers owe
//!
//! One report of closing for each `Start`, and only once nothing of the task is left: no open
//! transaction, no lock. A task that still restores is closed like any other. Commands for a task
//! that the worker does not have are ignored: its report has crossed them.

use std::collections::BTreeMap;

use crate::log::{GroupEvent, PartitionId, Partitions};
use crate::topology::{Layout, TaskId};

/// What has to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskCommand {
    /// Build the task on a worker and run it from its committed offsets.
    Start(TaskId),
    /// Commit and close the task, then report it closed.
    Close(TaskId),
    /// Close the task without a commit, then report it closed. May follow a `Close`.
    Abandon(TaskId),
    /// Tell the group that this partition may go to another process.
    GiveUp(PartitionId),
    /// The group has given us a partition that had no task when the application started: its topic
    /// has grown, and the application must be started anew.
    NoTask(PartitionId),
}

/// The tasks of this process, as far as the group decides on them.
#[derive(Debug)]
pub struct Rebalance {
    slots: Vec<Slot>,
    by_partition: BTreeMap<PartitionId, usize>,
    by_task: BTreeMap<TaskId, usize>,
    is_stopping: bool,
}

#[derive(Debug)]
struct Slot {
    task: TaskId,
    partition: PartitionId,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    NotOurs,
    /// Ours, without a task.
    Parked,
    Running,
    Closing {
        next: Next,
        is_abandoned: bool,
    },
}

/// What happens once a task is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    GiveUp,
    Forget,
    Start,
    Park,
}

impl Rebalance {
    /// None of these tasks is ours yet. Each comes with the partition that stands for it.
    pub fn new(tasks: impl IntoIterator<Item = (TaskId, PartitionId)>) -> Self {
        let slot = |(task, partition)| Slot { task, partition, state: State::NotOurs };
        let slots: Vec<Slot> = tasks.into_iter().map(slot).collect();
        let indexed = || slots.iter().enumerate();
        let by_partition: BTreeMap<_, _> = indexed().map(|(i, slot)| (slot.partition, i)).collect();
        let by_task: BTreeMap<_, _> = indexed().map(|(i, slot)| (slot.task, i)).collect();
        assert_eq!(by_partition.len(), slots.len(), "each task has a leading partition of its own");
        assert_eq!(by_task.len(), slots.len(), "each task stands here once");
        Self { slots, by_partition, by_task, is_stopping: false }
    }

    /// The tasks of a layout, by the partitions of its leading topics.
    pub fn of_layout(layout: &Layout, partitions: &Partitions) -> Self {
        Self::new(layout.task_ids().into_iter().map(|task| {
            let leading = layout.leading_partition(task).expect("the task is of this layout");
            (task, partitions.id(&leading))
        }))
    }

    /// Follows what the group says.
    pub fn on_event(&mut self, event: &GroupEvent, commands: &mut Vec<TaskCommand>) {
        match event {
            GroupEvent::Assigned(partitions) => {
                for partition in partitions {
                    self.assigned(*partition, commands);
                }
            }
            GroupEvent::Revoking(partitions) => {
                for partition in partitions {
                    self.revoking(*partition, commands);
                }
            }
            GroupEvent::Lost(partitions) => {
                let slots = partitions.iter().filter_map(|id| self.by_partition.get(id));
                slots.for_each(|index| self.slots[*index].lose(commands));
            }
            // Whoever is no member owns nothing.
            GroupEvent::Failed(_) => self.slots.iter_mut().for_each(|slot| slot.lose(commands)),
        }
    }

    fn assigned(&mut self, partition: PartitionId, commands: &mut Vec<TaskCommand>) {
        let next = if self.is_stopping { Next::Park } else { Next::Start };
        let Some(slot) = self.by_partition.get(&partition).map(|index| &mut self.slots[*index])
        else {
            commands.push(TaskCommand::NoTask(partition));
            return;
        };
        match &mut slot.state {
            State::NotOurs => slot.enter(next, commands),
            State::Closing { next: planned, .. } => *planned = next,
            State::Parked | State::Running => {}
        }
    }

    fn revoking(&mut self, partition: PartitionId, commands: &mut Vec<TaskCommand>) {
        match self.by_partition.get(&partition) {
            Some(index) => self.slots[*index].close(Next::GiveUp, commands),
            None => commands.push(TaskCommand::GiveUp(partition)),
        }
    }

    /// A worker reports that nothing of a task is left, be it by command or by itself.
    pub fn closed(&mut self, task: TaskId, commands: &mut Vec<TaskCommand>) {
        let slot = self.slot(task);
        match slot.state {
            State::Closing { next, .. } => slot.enter(next, commands),
            State::Running => slot.enter(Next::Park, commands),
            State::NotOurs | State::Parked => panic!("task {task} was closed but did not run"),
        }
    }

    /// Starts a task anew: one that ended by itself, or one that is to move to another worker.
    /// Nothing happens if it is not ours any more, or if the application stops.
    pub fn restart(&mut self, task: TaskId, commands: &mut Vec<TaskCommand>) {
        if self.is_stopping {
            return;
        }
        let slot = self.slot(task);
        match slot.state {
            State::Parked => slot.enter(Next::Start, commands),
            State::Running => slot.close(Next::Start, commands),
            State::NotOurs | State::Closing { .. } => {}
        }
    }

    /// Closes all tasks and starts none any more. Partitions stay ours until the group takes them
    /// or this process leaves.
    pub fn stop(&mut self, commands: &mut Vec<TaskCommand>) {
        self.is_stopping = true;
        for slot in &mut self.slots {
            match &mut slot.state {
                State::Running => slot.close(Next::Park, commands),
                State::Closing { next, .. } if *next == Next::Start => *next = Next::Park,
                State::Closing { .. } | State::NotOurs | State::Parked => {}
            }
        }
    }

    /// The tasks whose partitions are ours and stay so, as far as is known.
    pub fn owned(&self) -> impl Iterator<Item = TaskId> {
        self.slots.iter().filter(|slot| slot.is_owned()).map(|slot| slot.task)
    }

    /// Whether no task is alive.
    pub fn is_idle(&self) -> bool {
        self.slots.iter().all(|slot| matches!(slot.state, State::NotOurs | State::Parked))
    }

    fn slot(&mut self, task: TaskId) -> &mut Slot {
        let index = self.by_task.get(&task).expect("a task comes from this machine's commands");
        &mut self.slots[*index]
    }
}

impl Slot {
    /// Goes on where no task is alive.
    fn enter(&mut self, next: Next, commands: &mut Vec<TaskCommand>) {
        self.state = match next {
            Next::GiveUp => {
                commands.push(TaskCommand::GiveUp(self.partition));
                State::NotOurs
            }
            Next::Forget => State::NotOurs,
            Next::Start => {
                commands.push(TaskCommand::Start(self.task));
                State::Running
            }
            Next::Park => State::Parked,
        };
    }

    /// Ends the task, if one is alive, with a commit.
    fn close(&mut self, next: Next, commands: &mut Vec<TaskCommand>) {
        match &mut self.state {
            State::NotOurs | State::Parked => self.enter(next, commands),
            State::Closing { next: planned, .. } => *planned = next,
            State::Running => {
                commands.push(TaskCommand::Close(self.task));
                self.state = State::Closing { next, is_abandoned: false };
            }
        }
    }

    /// Ends the task, if one is alive, without a commit.
    fn lose(&mut self, commands: &mut Vec<TaskCommand>) {
        let is_told = match self.state {
            State::NotOurs => return,
            State::Parked => return self.enter(Next::Forget, commands),
            State::Running => false,
            State::Closing { is_abandoned, .. } => is_abandoned,
        };
        if !is_told {
            commands.push(TaskCommand::Abandon(self.task));
        }
        self.state = State::Closing { next: Next::Forget, is_abandoned: true };
    }

    fn is_owned(&self) -> bool {
        match self.state {
            State::Parked | State::Running => true,
            State::Closing { next, .. } => matches!(next, Next::Start | Next::Park),
            State::NotOurs => false,
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
