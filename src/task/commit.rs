//! How does work become permanent? One commit for all tasks of a worker, as a state machine.
//!
//! The order, and why nothing is lost or doubled if the process dies behind each line:
//!
//! 1. *Prepare*: every task hands on what it kept back and serialises its dirty keys into the
//!    outbox. Nothing has left; the records are read again from the committed offsets.
//! 2. *Send* everything and await every acknowledgement. Exactly once: the transaction is open, no
//!    reader sees the records, and the next owner of the transactional id aborts them. At least
//!    once: results are there, offsets are not, so the records are processed again.
//! 3. *Offsets*, with the member's token. Exactly once: part of the same transaction. At least
//!    once:
//!    the commit itself. An expelled member is refused here.
//! 4. *End* the transaction. From here on everything is visible, or nothing is.
//! 5. *Settle*: each task writes its rows and its changelog offset in one batch. If the process
//!    dies
//!    before, the changelog holds the rows and the local offset is older: reopening replays them.
//!
//! A commit never blocks: turns advance it, and tasks go on processing while it waits. What they
//! produce meanwhile stays in the outbox and belongs to the next commit.
//!
//! # Invariants
//!
//! - Nothing is sent between the offsets and the end of a transaction ([`Committer::send`]
//!   asserts).
//! - There is no empty transaction: one begins with the first send or offset commit.
//! - An unknown outcome is neither success nor failure: the producer takes a new epoch, and the
//!   tasks start again from the committed offsets. Only a transaction whose offsets were refused is
//!   aborted by the producer that began it: nothing of it is under way that could come later.

use std::collections::{BTreeMap, HashMap};

use crate::log::{
    EffectId, End, LogClient, MemberToken, OpenBatch, Outcome, PartitionId, WriteError,
};
use crate::task::active::Prepared;
use crate::topology::TaskId;

/// Bytes that may be under way: several times what a log takes while it answers one request.
const SENT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Drives the producer of one worker and the commit that is under way.
pub(crate) struct Committer {
    is_transactional: bool,
    producer: Producer,
    /// Whether a transaction has begun and not ended.
    in_transaction: bool,
    /// Sends that have not ended: where to, and of how many bytes.
    in_flight: HashMap<EffectId, (PartitionId, usize)>,
    /// Their bytes in all.
    sent_bytes: usize,
    /// The offset behind the last acknowledged record of each partition, since the last commit.
    ends: HashMap<PartitionId, i64>,
    commit: Option<Commit>,
    failure: Option<CommitFailure>,
    /// Whether the offsets were refused: then nothing of the transaction is under way any more,
    /// and its own producer can abort it.
    is_abortable: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Producer {
    /// No epoch has been taken, or the last is not to be used any more.
    Stale,
    Initialising(EffectId),
    /// The transaction that did not succeed is being aborted.
    Aborting(EffectId),
    Ready,
}

struct Commit {
    phase: Phase,
    prepared: BTreeMap<TaskId, Prepared>,
    token: MemberToken,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Sending,
    Offsets(EffectId),
    Ending(EffectId),
    Done,
}

/// What is to be written locally, now that it is permanent in the log.
pub(crate) struct Committed {
    pub(crate) tasks: BTreeMap<TaskId, Prepared>,
    pub(crate) ends: HashMap<PartitionId, i64>,
}

/// Why a commit, or a send before it, did not succeed.
#[derive(Debug)]
pub(crate) enum CommitFailure {
    /// Another process owns these tasks.
    Fenced(String),
    /// Aborted, or of unknown outcome: the tasks start again from the committed offsets.
    Restart(String),
    /// The application cannot go on.
    Fatal(String),
    /// A partition takes no record, or not this one.
    Refused { partition: PartitionId, error: WriteError },
}

impl Committer {
    pub(crate) fn new(is_transactional: bool) -> Self {
        Self {
            is_transactional,
            producer: Producer::Stale,
            in_transaction: false,
            in_flight: HashMap::new(),
            sent_bytes: 0,
            ends: HashMap::new(),
            commit: None,
            failure: None,
            is_abortable: false,
        }
    }

    /// Whether records may be sent now.
    pub(crate) fn can_send(&self) -> bool {
        self.producer == Producer::Ready && self.commit.is_none() && self.failure.is_none()
    }

    /// Makes the producer good for a new transaction if it is not: ends the one that is open, or
    /// takes a new epoch, which takes the log much longer. Nothing is sent before that is done.
    pub(crate) fn ensure_producer(&mut self, client: &mut dyn LogClient) {
        if self.producer != Producer::Stale {
            return;
        }
        self.producer = if std::mem::take(&mut self.is_abortable) {
            Producer::Aborting(client.end_transaction(End::Abort))
        } else {
            Producer::Initialising(client.init_producer())
        };
    }

    /// Whether more may be sent before something is acknowledged: a log that takes less than tasks
    /// give holds them back, and does not fill the memory. A commit sends what it has all the same.
    pub(crate) fn has_room(&self) -> bool {
        self.sent_bytes < SENT_BYTES_MAX
    }

    /// Sends batches, as part of a transaction where there are transactions.
    pub(crate) fn send(
        &mut self,
        client: &mut dyn LogClient,
        batches: Vec<(PartitionId, OpenBatch)>,
    ) {
        let is_sending = self.commit.as_ref().is_none_or(|commit| commit.phase == Phase::Sending);
        assert!(is_sending, "nothing is sent between the offsets and the end of a transaction");
        if !batches.is_empty() {
            self.begin_transaction(client);
        }
        for (partition, batch) in batches {
            let bytes = batch.size_bytes();
            let effect = client.send(partition, batch);
            self.in_flight.insert(effect, (partition, bytes));
            self.sent_bytes += bytes;
        }
    }

    fn begin_transaction(&mut self, client: &mut dyn LogClient) {
        if self.is_transactional && !self.in_transaction {
            client.begin_transaction();
            self.in_transaction = true;
        }
    }

    /// Begins a commit of what the tasks have prepared; `batches` is all that waits in the outbox.
    pub(crate) fn begin(
        &mut self,
        client: &mut dyn LogClient,
        prepared: BTreeMap<TaskId, Prepared>,
        batches: Vec<(PartitionId, OpenBatch)>,
        token: MemberToken,
    ) {
        assert!(self.commit.is_none(), "one commit ends before the next begins");
        self.commit = Some(Commit { phase: Phase::Sending, prepared, token });
        self.begin_transaction(client);
        self.send(client, batches);
    }

    /// Commits the offsets once everything that belongs to them has been acknowledged.
    fn commit_offsets_if_sent(&mut self, client: &mut dyn LogClient) {
        let Some(commit) = &mut self.commit else { return };
        if commit.phase == Phase::Sending && self.in_flight.is_empty() {
            let offsets: Vec<_> =
                commit.prepared.values().flat_map(|prepared| prepared.offsets.clone()).collect();
            commit.phase = Phase::Offsets(client.commit_offsets(&offsets, &commit.token));
        }
    }

    /// Takes the end of an effect. Effects of an abandoned producer are not known any more.
    pub(crate) fn ended(&mut self, effect: EffectId, outcome: Outcome) {
        if let Some((partition, bytes)) = self.in_flight.remove(&effect) {
            self.sent_bytes -= bytes;
            if let Outcome::Done { next_offset: Some(offset) } = outcome {
                let end = self.ends.entry(partition).or_insert(offset);
                *end = (*end).max(offset);
            }
            if let Outcome::Failed(error @ (WriteError::Record(_) | WriteError::Fatal(_))) = outcome
            {
                self.failure.get_or_insert(CommitFailure::Refused { partition, error });
                return;
            }
            return self.note(outcome, "a send");
        }
        if self.producer == Producer::Initialising(effect) {
            let is_done = matches!(outcome, Outcome::Done { .. });
            self.producer = if is_done { Producer::Ready } else { Producer::Stale };
            return self.note(outcome, "taking a producer epoch");
        }
        if self.producer == Producer::Aborting(effect) {
            let is_done = matches!(outcome, Outcome::Done { .. });
            self.producer = if is_done { Producer::Ready } else { Producer::Stale };
            return;
        }
        let Some(commit) = &mut self.commit else { return };
        let is_done = matches!(outcome, Outcome::Done { .. });
        match commit.phase {
            Phase::Offsets(waiting) | Phase::Ending(waiting) if waiting != effect => {}
            Phase::Offsets(_) if is_done => commit.phase = Phase::Done,
            Phase::Ending(_) if is_done => {
                commit.phase = Phase::Done;
                self.in_transaction = false;
            }
            Phase::Offsets(_) => {
                self.is_abortable = self.in_transaction && matches!(outcome, Outcome::Failed(_));
                self.note(outcome, "committing offsets");
            }
            Phase::Ending(_) => self.note(outcome, "ending the transaction"),
            Phase::Sending | Phase::Done => {}
        }
    }

    fn note(&mut self, outcome: Outcome, what: &str) {
        let failure = match outcome {
            Outcome::Done { .. } => return,
            Outcome::Failed(WriteError::Fenced(why)) => CommitFailure::Fenced(why),
            Outcome::Failed(WriteError::Abort(why)) => CommitFailure::Restart(why),
            Outcome::Failed(WriteError::Record(why) | WriteError::Fatal(why)) => {
                CommitFailure::Fatal(format!("{what} has failed for good: {why}"))
            }
            Outcome::Unknown => CommitFailure::Restart(format!("the outcome of {what} is unknown")),
        };
        self.failure.get_or_insert(failure);
    }

    /// Moves the commit on as far as it goes.
    ///
    /// # Errors
    ///
    /// A send or the commit failed. Everything under way is forgotten, and is aborted before the
    /// next send.
    pub(crate) fn advance(
        &mut self,
        client: &mut dyn LogClient,
    ) -> Result<Option<Committed>, CommitFailure> {
        if let Some(failure) = self.failure.take() {
            let is_abortable = std::mem::take(&mut self.is_abortable);
            self.reset();
            self.is_abortable = is_abortable;
            return Err(failure);
        }
        self.ensure_producer(client);
        self.commit_offsets_if_sent(client);
        let Some(commit) = &mut self.commit else { return Ok(None) };
        if commit.phase != Phase::Done {
            return Ok(None);
        }
        if self.in_transaction {
            commit.phase = Phase::Ending(client.end_transaction(End::Commit));
            return Ok(None);
        }
        let commit = self.commit.take().expect("it was there a line above");
        let ends = std::mem::take(&mut self.ends);
        Ok(Some(Committed { tasks: commit.prepared, ends }))
    }

    /// Forgets everything under way. The next producer epoch aborts what the log holds of it.
    pub(crate) fn reset(&mut self) {
        self.commit = None;
        self.failure = None;
        self.in_flight.clear();
        self.sent_bytes = 0;
        self.ends.clear();
        self.in_transaction = false;
        self.is_abortable = false;
        // One without transactions may still hold records that it would send later.
        self.producer = Producer::Stale;
    }

    /// How many sends have not been acknowledged.
    pub(crate) fn sending(&self) -> usize {
        self.in_flight.len()
    }

    /// Whether work of this task is part of the commit under way.
    pub(crate) fn has_prepared(&self, task: TaskId) -> bool {
        self.commit.as_ref().is_some_and(|commit| commit.prepared.contains_key(&task))
    }

    /// Whether everything that was sent has been acknowledged and no commit is under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.commit.is_none() && self.in_flight.is_empty()
    }
}

#[cfg(test)]
mod tests;
