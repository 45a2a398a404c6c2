//! What does a task contribute to a commit? Offsets, with whose it is, and every changed row.
//!
//! # Invariants
//!
//! - Each row that has changed is serialised once, for its changelog and for the backend.
//! - The committed offsets name a worker's transactional id before that worker writes anything for
//!   the task, and no one once the task was given up in order.

use std::sync::Arc;

use super::{Changelog, Now, Task};
use crate::error::{Error, ErrorKind, Result};
use crate::log::{CommittedOffset, PartitionId};
use crate::operator::build::FinalResults;
use crate::operator::push::OutRecord;
use crate::state::WriteBatch;
use crate::task::metadata::CommitMetadata;
use crate::task::meters::Written;
use crate::task::outbox::{Outbox, beyond};
use crate::task::partition_queue::PartitionQueue;
use crate::time::Timestamp;

/// What the log knows of the task's owner. Where transactions tie effects together, a task writes
/// nothing before the log knows under which transactional id: so whoever finds the task abandoned
/// knows whose transaction to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// There are no transactions.
    Unneeded,
    /// The first commit will name this id.
    Wanted(Arc<str>),
    /// Committed offsets name this id.
    Held(Arc<str>),
    /// The last commit will name none.
    Released,
}

/// What a task contributes to a commit, and what is written once the commit is done.
pub(crate) struct Prepared {
    pub(crate) offsets: Vec<CommittedOffset>,
    pub(crate) batch: WriteBatch,
}

impl Task {
    /// Has the first commit name the transactional id under which the task writes. Until then the
    /// task must not process anything. `is_named` if the committed offsets name someone already.
    pub(crate) fn claim(&mut self, writer: Arc<str>, is_named: bool) {
        self.claim = Claim::Wanted(writer);
        self.is_named = is_named;
        self.is_dirty = true;
    }

    /// Has the last commit name no one: whoever runs the task next need not end anything.
    pub(crate) fn release(&mut self) {
        match self.claim {
            Claim::Held(_) => self.is_dirty = true,
            // A claim that is under way is taken back; one that is not is not made.
            Claim::Wanted(_) => self.is_dirty = self.is_named || !self.is_dirty,
            Claim::Unneeded | Claim::Released => return,
        }
        self.claim = Claim::Released;
    }

    /// Hands on results that were kept back, then serialises every dirty key once: into the
    /// changelogs, by way of the outbox, and into the batch for the backend.
    pub(crate) fn prepare_commit(&mut self, outbox: &mut Outbox, now: Now) -> Result<Prepared> {
        let prepared = self.flush_results(outbox, now).and_then(|()| self.flush_stores(outbox));
        let batch = prepared.map_err(|error| error.in_task(self.id))?;
        self.is_dirty = false;
        self.commit_requested = false;
        Ok(Prepared { offsets: self.offsets(), batch })
    }

    fn flush_results(&mut self, outbox: &mut Outbox, now: Now) -> Result<()> {
        let mut flushes = std::mem::take(&mut self.parts.flushes);
        flushes.sort_by_key(|(node, _)| *node);
        let flushed = flushes.iter().try_for_each(|(_, operator)| {
            self.with_cx(outbox, now, |cx| operator.borrow_mut().flush_results(cx))
        });
        self.parts.flushes = flushes;
        flushed
    }

    fn flush_stores(&mut self, outbox: &mut Outbox) -> Result<WriteBatch> {
        let mut batch = WriteBatch::default();
        self.changelogged.resize(self.parts.stores.len(), Written::default());
        for ((index, store), written) in self.parts.stores.iter().zip(&mut self.changelogged) {
            let changelog = self.changelogs.iter().find(|changelog| changelog.store == *index);
            let mut refused = None;
            let mut append = |timestamp: Timestamp, key: &[u8], value: Option<&[u8]>| {
                if let Some(Changelog { partition, limit, .. }) = changelog {
                    let record = changelog_record(timestamp, key, value);
                    refused = refused.or(beyond(*limit, &record).map(|size| (size, *limit)));
                    outbox.append(*partition, record, *limit);
                    written.add(Some(key), value);
                }
            };
            store.borrow_mut().flush(&mut append, &mut batch)?;
            if let Some((size, limit)) = refused {
                let specs = self.environment.stores(self.id);
                let store = &specs[index.0 as usize].name;
                let topic = self.environment.changelog_name(store);
                return Err(row_too_large(store, &topic, size, limit));
            }
        }
        Ok(batch)
    }

    /// The positions to commit, with the times that must survive and the owner.
    fn offsets(&self) -> Vec<CommittedOffset> {
        let writer = match &self.claim {
            Claim::Wanted(writer) | Claim::Held(writer) => Some(writer.as_ref().to_owned()),
            Claim::Unneeded | Claim::Released => None,
        };
        let node_times: Vec<_> = self
            .parts
            .times
            .iter()
            .filter(|(_, time)| time.get() != Timestamp::UNKNOWN)
            .map(|(node, time)| (self.environment.time_name(*node), time.get()))
            .chain(
                self.parts
                    .finals
                    .iter()
                    .filter_map(FinalResults::closed)
                    .map(|(node, closed)| (self.environment.closed_name(node), closed)),
            )
            .collect();
        let offset = |queue: &PartitionQueue| CommittedOffset {
            partition: queue.partition,
            offset: queue.position(),
            metadata: CommitMetadata {
                partition_time: queue.partition_time,
                node_times: node_times.clone(),
                writer: writer.clone(),
            }
            .encode(),
        };
        self.queues.iter().map(offset).collect()
    }

    /// Writes what a commit has made permanent. `changelog_end` knows the offset behind the last
    /// record that was appended to a changelog.
    pub(crate) fn settle(
        &mut self,
        mut prepared: Prepared,
        changelog_end: impl Fn(PartitionId) -> Option<i64>,
    ) -> Result<()> {
        for Changelog { store, partition, .. } in &self.changelogs {
            if let Some(offset) = changelog_end(*partition) {
                prepared.batch.set_offset(*store, offset);
            }
        }
        if !prepared.batch.is_empty() {
            let written = self.backend.borrow_mut().write(&prepared.batch);
            written.map_err(|error| {
                let message =
                    "committed state cannot be written; it is restored when the task opens again";
                Error::new(error.kind(), message).caused_by(error).in_task(self.id)
            })?;
        }
        for (_, store) in &self.parts.stores {
            store.borrow_mut().settled();
        }
        if let Claim::Wanted(writer) = &self.claim {
            self.claim = Claim::Held(Arc::clone(writer));
        }
        Ok(())
    }
}

/// No policy may pass over a change of state: the store would not be what its changelog says.
#[cold]
fn row_too_large(store: &str, topic: &str, size: usize, limit: usize) -> Error {
    let message = format!(
        "a row of store `{store}` makes a changelog record of {size} bytes, and topic `{topic}` \
         takes {limit}; keep rows smaller or raise `max.message.bytes` of the topic"
    );
    Error::new(ErrorKind::Fatal, message)
}

fn changelog_record<'a>(
    timestamp: Timestamp,
    key: &'a [u8],
    value: Option<&'a [u8]>,
) -> OutRecord<'a> {
    let headers = crate::log::HeadersView::default();
    OutRecord { timestamp, key: Some(key), partition_by: None, value, headers }
}
