//! When does a worker send and commit, and what follows?
//!
//! # Invariants
//!
//! - Nothing is sent while the lease is over, if no transaction fences this worker.
//! - What was lost is known before the token of the membership that follows the loss is used.

use std::collections::BTreeMap;

use super::Worker;
use crate::error::{Error, ErrorKind, Result};
use crate::log::{PartitionId, WriteError};
use crate::runtime::command::Report;
use crate::task::active::{Now, Task};
use crate::task::commit::{CommitFailure, Committed};

impl Worker {
    /// Whether others may own these tasks by now, and nothing but this worker itself keeps it from
    /// writing for them. The clock is read anew: the process may have slept in the midst of a turn.
    pub(super) fn is_lapsed(&self) -> bool {
        if self.setup.transactional_id.is_some() {
            return false;
        }
        let lease = self.setup.member.lock().expect("no panic while held").lease;
        lease.is_some_and(|until| self.setup.clock.instant() >= until)
    }

    fn may_send(&self) -> bool {
        self.committer.can_send() && !self.is_lapsed()
    }

    /// Takes back what has not been acknowledged when the lease ends: it would be sent again and
    /// again, beside what a new owner writes.
    pub(super) fn stop_if_lapsed(&mut self) {
        let sending = self.committer.sending();
        if sending == 0 || !self.is_lapsed() {
            return;
        }
        tracing::warn!(
            worker = self.setup.id.0,
            sending,
            "the group has not heard of this process for a session: tasks start again"
        );
        self.meters.late_sends.increment(sending as u64);
        self.start_over();
    }

    /// What changes that no commit carries yet take in memory, roughly.
    pub(super) fn uncommitted_bytes(&self) -> usize {
        self.tasks.values().map(Task::uncommitted_bytes).sum()
    }

    /// Sends what is full, or everything when there is nothing else to do and it can leave at once;
    /// nothing as long as too much is under way.
    pub(super) fn send(&mut self, is_idle: bool) {
        if self.outbox.is_empty() || !self.committer.has_room() || !self.may_send() {
            return;
        }
        let batches = if is_idle && !self.client.is_busy() {
            self.outbox.take_all()
        } else {
            self.outbox.take_full()
        };
        self.committer.send(&mut *self.client, batches);
    }

    /// Whether a commit has begun.
    pub(super) fn begin_commit_if_due(&mut self, now: Now) -> Result<bool> {
        if !self.may_send() {
            return Ok(false);
        }
        let config = &self.setup.config;
        let elapsed = now.instant.since(self.last_commit);
        let is_due = elapsed >= config.commit_interval
            || self.commit_asked
            || self.closing.iter().any(|id| self.tasks.get(id).is_some_and(Task::is_dirty))
            || !self.tasks.values().all(Task::may_process)
            || self.tasks.values().any(Task::wants_commit)
            || (self.outbox.is_full() && self.committer.has_room())
            || self.uncommitted_bytes() >= self.uncommitted_limit.bytes();
        if !is_due {
            return Ok(false);
        }
        let token = self.setup.member.lock().expect("no panic while held").token.clone();
        // What was lost is known before the token that follows the loss: it is looked at first.
        if !self.setup.commands.is_empty() {
            return Ok(false);
        }
        self.last_commit = now.instant;
        self.commit_asked = false;
        let mut prepared = BTreeMap::new();
        for (id, task) in self.tasks.iter_mut().filter(|(_, task)| task.is_dirty()) {
            prepared.insert(*id, task.prepare_commit(&mut self.outbox, now)?);
        }
        if prepared.is_empty() {
            return Ok(false);
        }
        self.meters.commit_begun = Some(now.instant);
        let batches = self.outbox.take_all();
        self.committer.begin(&mut *self.client, prepared, batches, token);
        Ok(true)
    }

    pub(super) fn advance_commit(&mut self, now: Now) -> Result<()> {
        let advanced = self.committer.advance(&mut *self.client);
        if let Err(failure) = &advanced {
            self.meters.commit_failed(failure);
        }
        match advanced {
            Ok(None) => return Ok(()),
            Ok(Some(committed)) => return self.settle(committed),
            Err(CommitFailure::Fatal(why)) => return Err(self.commit_failed(&why)),
            Err(CommitFailure::Refused { partition, error }) => {
                return Err(self.writing_failed(partition, error));
            }
            Err(CommitFailure::Fenced(why)) => {
                tracing::warn!(worker = self.setup.id.0, why, "fenced: tasks are given up");
            }
            Err(CommitFailure::Restart(why)) => {
                tracing::warn!(worker = self.setup.id.0, why, "tasks start again");
            }
        }
        self.last_commit = now.instant;
        self.lose_all();
        // Ends the transaction that is left open, behind which no one could read on: tasks would
        // wait for it to be restored, here or elsewhere.
        self.committer.ensure_producer(&mut *self.client);
        Ok(())
    }

    fn settle(&mut self, committed: Committed) -> Result<()> {
        let Committed { tasks, ends } = committed;
        let mut purge = Vec::new();
        for (id, prepared) in tasks {
            purge.extend(prepared.offsets.iter().map(|offset| (offset.partition, offset.offset)));
            if let Some(task) = self.tasks.get_mut(&id) {
                task.settle(prepared, |partition| ends.get(&partition).copied())?;
            }
        }
        self.meters.committed(self.setup.clock.instant());
        tracing::debug!(worker = self.setup.id.0, partitions = purge.len(), "committed");
        self.report(Report::Committed(purge));
        Ok(())
    }

    #[cold]
    fn commit_failed(&self, why: &str) -> Error {
        let id = &self.setup.config.application_id;
        let message = format!(
            "{why}; see that this principal has the rights `--operation Read --group {id}` and \
             `--operation Write --transactional-id {id}- --resource-pattern-type prefixed`, and \
             `--operation Read --topic` for each topic that is read"
        );
        Error::new(ErrorKind::Fatal, message)
    }

    #[cold]
    fn writing_failed(&self, partition: PartitionId, error: WriteError) -> Error {
        let name = self.setup.environment.catalog.ids().name(partition);
        let topic = &name.topic;
        let fix = match &error {
            WriteError::Record(_) => format!(
                "if they are too large, raise `max.message.bytes` of topic `{topic}` or keep them \
                 smaller; if it is compacted, give each a key"
            ),
            _ => format!(
                "see that topic `{topic}` exists, and that this principal has the right \
                 `--operation Write --topic {topic}`, and the like for what else is written to"
            ),
        };
        let message = format!("records for `{name}` are refused; {fix}");
        Error::new(ErrorKind::Fatal, message).caused_by(error)
    }
}
