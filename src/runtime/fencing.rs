//! Whose transactions have to end before a task begins? Those of owners who have not given it up.
//!
//! Where a process has not given a task up, the transactional id of its worker stands beside the
//! committed offsets, and whoever has the task next takes the next epoch of that id. So nobody
//! waits until the log ends an abandoned transaction by itself.
//!
//! A worker whose own id does not stand there yet may have left a transaction open, too: the one
//! by which it claimed the task. If one stays open, all ids that stand beside other tasks' offsets
//! are fenced, one after the other, till it is gone. So a task waits for the log only where that
//! was the first claim of its worker.
//!
//! # Invariants
//!
//! - No worker of this process is fenced from here.
//! - An id is fenced once for each time that a task of its becomes ours: it may live on with
//!   others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};
use crate::log::{CommittedOffset, LogError};
use crate::runtime::answers::Answers;
use crate::runtime::positions::unanswered;
use crate::runtime::standstill::{HELP, Standstill};
use crate::task::environment::TaskEnvironment;
use crate::task::metadata::CommitMetadata;
use crate::time::{Clock, Instant};
use crate::topology::TaskId;

/// How long a transaction may stay open on a task's offsets before its writer is looked for: longer
/// than a commit takes.
const UNSTABLE_PATIENCE: Duration = Duration::from_secs(1);

/// The transactional ids that workers of this process have taken: what an earlier life of the
/// process has left open under them is ended already.
pub(crate) type TakenIds = Arc<Mutex<BTreeSet<Arc<str>>>>;

/// Ends what others have left open.
pub(crate) struct Fencing {
    config: Arc<Config>,
    environment: Arc<TaskEnvironment>,
    clock: Arc<dyn Clock>,
    taken_ids: TakenIds,
    ownership: BTreeMap<TaskId, Ownership>,
    /// When each transactional id was last fenced from here.
    fenced: BTreeMap<String, Instant>,
}

/// Since when a task is ours.
struct Ownership {
    since: Instant,
    /// From when on a foreign claim is taken for an abandoned one. A task that fails here and is
    /// then found in foreign hands may have been lost without our knowing: the group will say so.
    fence_from: Instant,
    /// A transaction is open on the task's offsets, or was when last looked at.
    unstable: Option<Standstill>,
}

impl Ownership {
    const fn new(since: Instant) -> Self {
        Self { since, fence_from: since, unstable: None }
    }
}

impl Fencing {
    pub(crate) fn new(
        config: Arc<Config>,
        environment: Arc<TaskEnvironment>,
        clock: Arc<dyn Clock>,
        taken_ids: TakenIds,
    ) -> Self {
        let (ownership, fenced) = (BTreeMap::new(), BTreeMap::new());
        Self { config, environment, clock, taken_ids, ownership, fenced }
    }

    /// A task is to be opened. `owned_since` unless it has just failed here.
    pub(crate) fn note_ownership(&mut self, task: TaskId, owned_since: Option<Instant>) {
        if let Some(since) = owned_since {
            self.ownership.insert(task, Ownership::new(since));
            return;
        }
        let now = self.clock.instant();
        let known = self.ownership.entry(task).or_insert(Ownership::new(now));
        known.fence_from = now + self.config.session_timeout;
    }

    /// Ends what previous owners of a task have left open. Those of `others`, which are to be
    /// opened as well, are fenced at the same time: it takes the log a while.
    pub(crate) fn end_previous_owners(
        &mut self,
        task: TaskId,
        others: &[TaskId],
        now: Instant,
        answers: &Answers,
    ) -> Result<()> {
        let mut owners = self.unfenced(task, claimed_by(task, answers)?);
        let fence_from = self.ownership[&task].fence_from;
        match owners.first() {
            None => return Ok(()),
            Some(owner) if now < fence_from => {
                let message = format!("`{owner}` has claimed the task");
                return Err(Error::new(ErrorKind::Retriable, message));
            }
            Some(_) => {}
        }
        for other in others.iter().filter(|other| now >= self.ownership[other].fence_from) {
            let claimed = claimed_by(*other, answers).unwrap_or_default();
            owners.extend(self.unfenced(*other, claimed));
        }
        self.fence(&owners.into_iter().collect::<Vec<_>>())
    }

    /// What the group has committed for the task's inputs. If a transaction stays open on them,
    /// fences one more of those who may be its writer.
    pub(crate) fn stable_offsets(
        &mut self,
        task: TaskId,
        now: Instant,
        answers: &Answers,
    ) -> Result<Vec<Option<CommittedOffset>>> {
        let committed = answers.committed(task)?;
        let known = self.ownership.get_mut(&task).expect("a task is opened by command");
        let is_unstable = matches!(committed, Err(LogError::Unstable));
        known.unstable = is_unstable.then(|| known.unstable.unwrap_or(Standstill::new(0, now)));
        if let Some(unstable) = &mut known.unstable {
            let is_held_up = unstable.lasted(now) >= UNSTABLE_PATIENCE;
            if let Some(lasted) = unstable.at(0, now) {
                tracing::warn!(
                    %task, ?lasted, "a transaction is open on the task's offsets; {HELP}"
                );
            }
            if is_held_up {
                self.fence_someone(task)?;
            }
        }
        committed.map_err(unanswered)
    }

    /// Fences one of those who stand beside the offsets of any task.
    fn fence_someone(&mut self, task: TaskId) -> Result<()> {
        let (tasks, mut writers) = (self.environment.tasks()?, BTreeSet::new());
        let mut answers = Answers::new(&self.environment);
        answers.ask_committed_so_far(&tasks);
        for other in tasks {
            writers.extend(claimed_by(other, &answers)?);
        }
        let next = self.unfenced(task, writers).pop_first();
        next.map_or(Ok(()), |owner| self.fence(&[owner]))
    }

    /// Which of these are not ours and were not fenced since the task is ours.
    fn unfenced(&self, task: TaskId, mut owners: BTreeSet<String>) -> BTreeSet<String> {
        let since = self.ownership[&task].since;
        let taken = self.taken_ids.lock().expect("no panic while held");
        let is_fenced =
            |owner: &String| self.fenced.get(owner).is_some_and(|fenced| *fenced >= since);
        owners.retain(|owner| !taken.contains(&**owner) && !is_fenced(owner));
        owners
    }

    fn fence(&mut self, owners: &[String]) -> Result<()> {
        let answers = self.environment.catalog.admin().fence(owners);
        let now = self.clock.instant();
        for (owner, answer) in owners.iter().zip(answers) {
            match answer {
                Ok(()) => tracing::info!(owner, "a previous owner is fenced"),
                Err(error @ (LogError::Unavailable(_) | LogError::Unstable)) => {
                    return Err(unanswered(error));
                }
                // Its transaction ends by its own timeout, and nothing is overtaken till then.
                Err(error) => tracing::warn!(owner, %error, "a previous owner goes on"),
            }
            self.fenced.insert(owner.clone(), now);
        }
        Ok(())
    }
}

/// Whose transactional ids stand beside the committed offsets.
fn claimed_by(task: TaskId, answers: &Answers) -> Result<BTreeSet<String>> {
    let writer = |known: CommittedOffset| CommitMetadata::decode(&known.metadata).writer;
    let committed = answers.committed_so_far(task)?.map_err(unanswered)?;
    Ok(committed.into_iter().flatten().filter_map(writer).collect())
}
