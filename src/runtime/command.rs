//! What do the control plane and the workers say to each other?

use crate::error::Error;
use crate::group::WorkerId;
use crate::log::{MemberToken, PartitionId, TopicPartition};
use crate::state::Backend;
use crate::task::metadata::CommitMetadata;
use crate::time::Instant;
use crate::topology::TaskId;

/// What a worker is told.
pub(crate) enum Command {
    /// Run this task; its state is restored.
    Start(Box<OpenedTask>),
    /// Commit and close this task.
    Close(TaskId),
    /// Close this task without a commit.
    Abandon(TaskId),
    /// Commit now.
    Commit,
    /// Commit and close every task, then end.
    Stop,
}

/// What the workers see of this process's membership.
#[derive(Clone, Debug, Default)]
pub(crate) struct MemberView {
    pub(crate) token: MemberToken,
    /// Until when what this process has can have no other owner. `None` where no group shares tasks
    /// out.
    pub(crate) lease: Option<Instant>,
}

/// A task whose state is restored and whose positions are known.
pub(crate) struct OpenedTask {
    pub(crate) id: TaskId,
    pub(crate) backend: Box<dyn Backend>,
    /// Each input partition, where to begin, and what was stored beside the offset.
    pub(crate) inputs: Vec<OpenedInput>,
}

/// An input partition of a task.
pub(crate) struct OpenedInput {
    pub(crate) partition: TopicPartition,
    pub(crate) position: i64,
    pub(crate) metadata: CommitMetadata,
    /// How many offsets are passed over, if what was committed is out of range.
    pub(crate) lost: Option<u64>,
}

/// What a worker reports.
pub(crate) enum Report {
    /// The task's state is restored.
    Opened(Box<OpenedTask>),
    /// The task cannot be opened.
    OpenFailed { task: TaskId, error: Error },
    /// The task is closed and, unless it was abandoned, committed.
    Closed { task: TaskId, backend: Option<Box<dyn Backend>> },
    /// The task was closed without a commit, because its worker's commit failed.
    Lost { task: TaskId, backend: Option<Box<dyn Backend>> },
    /// These offsets are committed.
    Committed(Vec<(PartitionId, i64)>),
    /// Another process has failed and closes all of the application.
    CloseAsked,
    /// The worker cannot go on.
    Failed { worker: WorkerId, error: Error },
    /// The restorer is gone, with all that it held.
    RestorerFailed(Error),
    /// The worker has closed its tasks and ended, as it was told.
    Stopped(WorkerId),
}

/// Where a worker and the restorer report to.
pub(crate) type ReportTo = Box<dyn Fn(Report) + Send>;
