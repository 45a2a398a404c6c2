//! Which batches lie in a broker's answer, and which of them are for the reader?
//!
//! # Invariants
//!
//! - What is cut off at the end of an answer is not read; it comes whole with the next.
//! - A batch is handed on whole, checked and uncompressed, or not at all.

use std::collections::{HashSet, VecDeque};

use bytes::Bytes;

use super::Next;
use crate::kafka::native::compression::{Codec, unpack};
use crate::log::batch::{BatchHead, HEADER_BYTES, head_of};
use crate::log::{BatchError, PartitionId, ReadError, RecordBatch, TopicPartition};

/// What is wrong with a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Damaged {
    Batch(BatchError),
    /// It is packed in a way that is not known, or what it holds is too large or not whole.
    Packed(String),
}

impl From<BatchError> for Damaged {
    fn from(error: BatchError) -> Self {
        Self::Batch(error)
    }
}

impl Damaged {
    /// The error of a reading that has come to this batch.
    pub(super) fn at(self, name: &TopicPartition, offset: i64) -> ReadError {
        match self {
            Self::Batch(BatchError::Version(version)) => ReadError::Fatal(format!(
                "{name} holds records of message format {version} at offset {offset}; millstream \
                 reads version 2, which brokers write since Kafka 0.11"
            )),
            Self::Batch(error) => ReadError::Corrupt(format!("{name}, offset {offset}: {error}")),
            Self::Packed(why) => ReadError::Corrupt(format!("{name}, offset {offset}: {why}")),
        }
    }
}

/// The batches of one partition in one answer.
#[derive(Debug)]
pub(super) struct Unpacked {
    partition: PartitionId,
    rest: Bytes,
    /// Bytes that a batch may have once it is unpacked.
    most: usize,
    /// Aborted transactions that have not begun yet: where each begins, and whose it is.
    aborted: VecDeque<(i64, i64)>,
    /// Producers in the midst of an aborted transaction.
    hidden: HashSet<i64>,
}

impl Unpacked {
    pub(super) fn new(partition: PartitionId, batches: Bytes, most: usize) -> Self {
        let (aborted, hidden) = (VecDeque::new(), HashSet::new());
        Self { partition, rest: batches, most, aborted, hidden }
    }

    /// Leaves out what these aborted transactions wrote: each a producer, and its first offset.
    pub(super) fn hide(&mut self, aborted: &[(i64, i64)]) {
        let mut sorted: Vec<_> = aborted.iter().map(|(id, first)| (*first, *id)).collect();
        sorted.sort_unstable();
        self.aborted = sorted.into();
    }

    /// The next batch that does not end before this offset.
    pub(super) fn next_from(&mut self, offset: i64) -> Result<Next, Damaged> {
        while let Some(head) = self.head()? {
            let bytes = self.rest.split_to(head.length);
            let is_hidden = self.is_hidden(&head);
            if head.next_offset <= offset {
                continue;
            }
            if is_hidden || head.is_control {
                return Ok(Some((None, head.next_offset)));
            }
            let batch = self.unpack(&head, bytes)?;
            return Ok(Some((Some(batch), head.next_offset)));
        }
        Ok(None)
    }

    /// The head of the next batch that is here as a whole.
    fn head(&self) -> Result<Option<BatchHead>, Damaged> {
        if self.rest.len() < HEADER_BYTES {
            return Ok(None);
        }
        let head = head_of(&self.rest).map_err(Damaged::Batch)?;
        Ok((head.length <= self.rest.len()).then_some(head))
    }

    /// Whether an aborted transaction wrote a batch; control batches end transactions.
    fn is_hidden(&mut self, head: &BatchHead) -> bool {
        while let Some((first, producer)) = self.aborted.front().copied() {
            if first >= head.next_offset {
                break;
            }
            self.aborted.pop_front();
            self.hidden.insert(producer);
        }
        if head.is_control {
            self.hidden.remove(&head.producer_id);
            return false;
        }
        head.is_transactional && self.hidden.contains(&head.producer_id)
    }

    fn unpack(&self, head: &BatchHead, bytes: Bytes) -> Result<RecordBatch, Damaged> {
        if head.codec == 0 {
            return RecordBatch::new(self.partition, bytes).map_err(Damaged::Batch);
        }
        let unknown = || Damaged::Packed(format!("codec {} is not known", head.codec));
        let codec = Codec::of_bits(head.codec).ok_or_else(unknown)?;
        RecordBatch::unpacked(self.partition, &bytes, |packed| {
            let mut records = Vec::new();
            let unpacked = unpack(codec, packed, self.most, &mut records);
            unpacked.map_err(|error| Damaged::Packed(error.to_string()))?;
            Ok(records)
        })
    }
}
