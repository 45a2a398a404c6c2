//! Who may write under a transactional id, and how does a transaction end?
//!
//! An id has one producer at a time, known by its epoch. Every `init_producer`, every `fence` and
//! every time-out takes the next epoch, so whoever held the one before is refused from then on.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;

use super::state::State;
use crate::log::batch::ProducerStamp;
use crate::log::{CommittedOffset, End, HeadersView, OpenBatch, PartitionId, WriteError};
use crate::time::{Instant, Timestamp};

/// Who writes under a transactional id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Producer {
    pub(super) id: i64,
    pub(super) epoch: i16,
}

/// One transactional id.
#[derive(Debug)]
pub(super) struct TransactionalId {
    pub(super) producer: Producer,
    pub(super) open: Option<Transaction>,
}

/// A transaction that has written something.
#[derive(Debug)]
pub(super) struct Transaction {
    began: Instant,
    timeout: Duration,
    partitions: BTreeSet<PartitionId>,
    /// Offsets that become visible at the commit, each with its group.
    offsets: Vec<(String, CommittedOffset)>,
}

impl Transaction {
    pub(super) fn is_over(&self, now: Instant) -> bool {
        now.since(self.began) > self.timeout
    }

    /// Whether an offset of this group's partition waits for the end of this transaction.
    pub(super) fn holds_offset(&self, group: &str, partition: PartitionId) -> bool {
        self.offsets.iter().any(|(g, offset)| g == group && offset.partition == partition)
    }
}

/// A transactional writer as it shows itself with every write.
#[derive(Clone, Copy, Debug)]
pub(super) struct Writer<'a> {
    pub(super) transactional_id: &'a str,
    pub(super) producer: Producer,
    pub(super) timeout: Duration,
}

impl State {
    /// Takes the next epoch of an id and aborts what was open under it.
    pub(super) fn init_producer(&mut self, transactional_id: &str) -> Producer {
        let next = match self.producers.get(transactional_id) {
            Some(known) if known.producer.epoch < i16::MAX => {
                Producer { id: known.producer.id, epoch: known.producer.epoch + 1 }
            }
            _ => self.new_producer(),
        };
        self.end(transactional_id, End::Abort);
        let entry = TransactionalId { producer: next, open: None };
        self.producers.insert(transactional_id.to_owned(), entry);
        next
    }

    fn new_producer(&mut self) -> Producer {
        self.next_producer_id += 1;
        Producer { id: self.next_producer_id, epoch: 0 }
    }

    /// Appends a batch as part of a transaction; returns the offset behind it.
    pub(super) fn send_in_transaction(
        &mut self,
        writer: &Writer<'_>,
        partition: PartitionId,
        sealed: Bytes,
    ) -> Result<i64, WriteError> {
        self.check_writer(writer)?;
        self.check_batch(partition, &sealed)?;
        self.transaction(writer).partitions.insert(partition);
        Ok(self.append(partition, sealed, stamp_of(writer.producer, false)))
    }

    /// Stores offsets that become visible when the transaction commits.
    pub(super) fn commit_in_transaction(
        &mut self,
        writer: &Writer<'_>,
        group: &str,
        offsets: &[CommittedOffset],
    ) -> Result<(), WriteError> {
        self.check_writer(writer)?;
        let pending = offsets.iter().map(|offset| (group.to_owned(), offset.clone()));
        self.transaction(writer).offsets.extend(pending);
        Ok(())
    }

    /// Ends a writer's transaction; one that has written nothing leaves no trace.
    pub(super) fn end_transaction(
        &mut self,
        writer: &Writer<'_>,
        end: End,
    ) -> Result<(), WriteError> {
        self.check_writer(writer)?;
        self.end(writer.transactional_id, end);
        Ok(())
    }

    /// Aborts transactions that have been open for too long and fences their writers.
    pub(super) fn expire_transactions(&mut self, now: Instant) {
        let over: Vec<String> = self
            .producers
            .iter()
            .filter(|(_, id)| id.open.as_ref().is_some_and(|open| open.is_over(now)))
            .map(|(name, _)| name.clone())
            .collect();
        for transactional_id in over {
            self.init_producer(&transactional_id);
        }
    }

    fn check_writer(&self, writer: &Writer<'_>) -> Result<(), WriteError> {
        let known = self.producers.get(writer.transactional_id);
        if known.is_some_and(|known| known.producer == writer.producer) {
            return Ok(());
        }
        let id = writer.transactional_id;
        Err(WriteError::Fenced(format!("transactional id `{id}` has a newer producer")))
    }

    fn transaction(&mut self, writer: &Writer<'_>) -> &mut Transaction {
        let began = self.clock.instant();
        let known = self.producers.get_mut(writer.transactional_id);
        known.expect("the writer was checked").open.get_or_insert_with(|| Transaction {
            began,
            timeout: writer.timeout,
            partitions: BTreeSet::new(),
            offsets: Vec::new(),
        })
    }

    fn end(&mut self, transactional_id: &str, end: End) {
        let time = self.clock.timestamp();
        let Some(known) = self.producers.get_mut(transactional_id) else { return };
        let Some(open) = known.open.take() else { return };
        let producer = known.producer;
        for partition in open.partitions {
            let log = self.log_mut(partition).expect("a partition that was written to exists");
            let is_aborted = end == End::Abort;
            log.end_transaction(marker(end, time), stamp_of(producer, true), is_aborted);
        }
        if end == End::Commit {
            for (group, offset) in open.offsets {
                self.group_mut(&group).store(offset);
            }
        }
    }
}

/// The batch that ends a transaction in a partition: version and type, then version and epoch.
fn marker(end: End, time: Timestamp) -> Bytes {
    let kind = match end {
        End::Commit => 1,
        End::Abort => 0,
    };
    let mut batch = OpenBatch::new();
    batch.append(time, Some(&[0, 0, 0, kind]), Some(&[0; 6]), HeadersView::default());
    batch.seal()
}

fn stamp_of(producer: Producer, is_control: bool) -> ProducerStamp {
    ProducerStamp {
        producer_id: producer.id,
        epoch: producer.epoch,
        base_sequence: -1,
        is_transactional: true,
        is_control,
    }
}
