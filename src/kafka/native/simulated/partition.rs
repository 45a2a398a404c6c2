//! What does a broker keep of one partition, and which batches does it take?
//!
//! # Invariants
//!
//! - A batch of a producer is appended once, in the order of its numbers; the last five are known
//!   again. A producer that the partition does not know may begin with any number.
//! - An epoch older than the last is refused, be it of a batch or of a marker.

use std::collections::{BTreeMap, VecDeque};

use bytes::{Bytes, BytesMut};

use crate::kafka::native::messages::Code;
use crate::log::batch::{ProducerStamp, head_of, stamp_place, thaw};
use crate::log::{EncodedHeaders, OpenBatch, PartitionId, RecordBatch};
use crate::time::Timestamp;

const REMEMBERED: usize = 5;

const OUT_OF_ORDER_SEQUENCE: Code = 45;
const INVALID_PRODUCER_EPOCH: Code = 47;
const CORRUPT_MESSAGE: Code = 2;

/// A batch where it lies.
#[derive(Clone, Debug)]
pub(super) struct Appended {
    pub(super) base: i64,
    pub(super) next: i64,
    pub(super) producer: i64,
    pub(super) is_transactional: bool,
    /// Of a marker: whether it commits.
    pub(super) marker: Option<bool>,
    pub(super) bytes: Bytes,
}

/// What is known of a producer.
#[derive(Clone, Debug)]
struct Known {
    epoch: i16,
    /// First and last number, and the offset, of each of its last batches.
    last: VecDeque<(i32, i32, i64)>,
    /// Where its open transaction begins.
    open_since: Option<i64>,
}

/// Whose a batch is, as its head says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamp {
    pub(super) producer: i64,
    pub(super) epoch: i16,
    pub(super) first: i32,
    pub(super) count: i32,
    pub(super) is_transactional: bool,
}

impl Stamp {
    pub(super) fn of(batch: &[u8]) -> Result<Self, Code> {
        let head = head_of(batch).map_err(|_| CORRUPT_MESSAGE)?;
        let array = |at: usize| [batch[at], batch[at + 1], batch[at + 2], batch[at + 3]];
        Ok(Self {
            producer: head.producer_id,
            epoch: i16::from_be_bytes([batch[51], batch[52]]),
            first: i32::from_be_bytes(array(53)),
            count: i32::from_be_bytes(array(57)),
            is_transactional: head.is_transactional,
        })
    }
}

/// One partition.
#[derive(Debug)]
pub(super) struct Partition {
    pub(super) id: PartitionId,
    pub(super) leader: i32,
    pub(super) leader_epoch: i32,
    /// Who led it before.
    pub(super) former: (i32, i32),
    pub(super) batches: Vec<Appended>,
    producers: BTreeMap<i64, Known>,
    /// Producer, first offset and the marker's offset of each aborted transaction.
    aborted: Vec<(i64, i64, i64)>,
}

impl Partition {
    pub(super) fn new(id: PartitionId, leader: i32) -> Self {
        Self {
            id,
            leader,
            leader_epoch: 1,
            former: (leader, 1),
            batches: Vec::new(),
            producers: BTreeMap::new(),
            aborted: Vec::new(),
        }
    }

    pub(super) fn move_to(&mut self, leader: i32) {
        self.former = (self.leader, self.leader_epoch);
        self.leader = leader;
        self.leader_epoch += 1;
    }

    pub(super) fn end(&self) -> i64 {
        self.batches.last().map_or(0, |batch| batch.next)
    }

    pub(super) fn last_stable(&self) -> i64 {
        let open = self.producers.values().filter_map(|known| known.open_since).min();
        open.unwrap_or_else(|| self.end())
    }

    /// Up to where a reader may see.
    pub(super) fn limit(&self, is_committed_only: bool) -> i64 {
        if is_committed_only { self.last_stable() } else { self.end() }
    }

    /// Leaves a hole, as compaction does.
    pub(super) fn forget(&mut self, at: usize) {
        self.batches.remove(at);
    }

    /// Where a batch lies that came before.
    pub(super) fn duplicate(&self, stamp: Stamp) -> Option<i64> {
        let known = self.producers.get(&stamp.producer).filter(|k| k.epoch == stamp.epoch)?;
        let last = following(stamp.first, stamp.count - 1);
        let same = |(first, to, _): &&(i32, i32, i64)| (*first, *to) == (stamp.first, last);
        known.last.iter().find(same).map(|(.., base)| *base)
    }

    /// Whether a batch that has not come before is in its turn.
    pub(super) fn check(&self, stamp: Stamp) -> Result<(), Code> {
        let Some(known) = self.producers.get(&stamp.producer) else { return Ok(()) };
        if stamp.epoch < known.epoch {
            return Err(INVALID_PRODUCER_EPOCH);
        }
        let is_next = match known.last.back() {
            Some((_, last, _)) if stamp.epoch == known.epoch => following(*last, 1) == stamp.first,
            _ => stamp.first == 0,
        };
        if is_next { Ok(()) } else { Err(OUT_OF_ORDER_SEQUENCE) }
    }

    /// Appends a batch: where it lies.
    pub(super) fn append(&mut self, batch: &[u8]) -> Result<i64, Code> {
        let stamp = Stamp::of(batch)?;
        let whole = RecordBatch::new(self.id, Bytes::copy_from_slice(batch));
        whole.map_err(|_| CORRUPT_MESSAGE)?;
        if let Some(base) = self.duplicate(stamp) {
            return Ok(base);
        }
        self.check(stamp)?;
        let base = self.place(BytesMut::from(batch), stamp, None);
        let fresh = Known { epoch: stamp.epoch, last: VecDeque::new(), open_since: None };
        let known = self.producers.entry(stamp.producer).or_insert(fresh);
        known.take_epoch(stamp.epoch);
        known.last.push_back((stamp.first, following(stamp.first, stamp.count - 1), base));
        if known.last.len() > REMEMBERED {
            known.last.pop_front();
        }
        if stamp.is_transactional {
            known.open_since.get_or_insert(base);
        }
        Ok(base)
    }

    fn place(&mut self, mut bytes: BytesMut, stamp: Stamp, marker: Option<bool>) -> i64 {
        let base = self.end();
        stamp_place(&mut bytes, base, self.leader_epoch);
        self.batches.push(Appended {
            base,
            next: base + i64::from(stamp.count),
            producer: stamp.producer,
            is_transactional: stamp.is_transactional,
            marker,
            bytes: bytes.freeze(),
        });
        base
    }

    /// Ends the transaction of a producer.
    pub(super) fn mark(&mut self, producer: i64, epoch: i16, commits: bool) {
        let mut open = OpenBatch::new();
        let key = [0, 0, 0, u8::from(commits)];
        open.append(Timestamp::ZERO, Some(&key), Some(&[0; 6]), EncodedHeaders::new().view());
        let sealed = open.seal_by(ProducerStamp {
            producer_id: producer,
            epoch,
            base_sequence: -1,
            is_transactional: true,
            is_control: true,
        });
        let stamp = Stamp { producer, epoch, first: -1, count: 1, is_transactional: true };
        let base = self.place(thaw(sealed), stamp, Some(commits));
        let fresh = Known { epoch, last: VecDeque::new(), open_since: None };
        let known = self.producers.entry(producer).or_insert(fresh);
        known.take_epoch(epoch);
        if let Some(first) = known.open_since.take().filter(|_| !commits) {
            self.aborted.push((producer, first, base));
        }
    }

    /// The batches from an offset on, at most so many bytes but for the first one, and the
    /// aborted transactions among them.
    pub(super) fn fetch(&self, from: i64, limit: i64, most: usize) -> (Vec<u8>, Vec<(i64, i64)>) {
        let mut bytes = Vec::new();
        let mut end = from;
        let here = self.batches.iter().filter(|batch| batch.next > from && batch.next <= limit);
        for batch in here {
            if !bytes.is_empty() && bytes.len() + batch.bytes.len() > most {
                // A part of the next one, as brokers send it.
                let part = most.saturating_sub(bytes.len()).min(batch.bytes.len() - 1);
                bytes.extend_from_slice(&batch.bytes[..part]);
                break;
            }
            bytes.extend_from_slice(&batch.bytes);
            end = batch.next;
        }
        let among = |(_, first, last): &&(i64, i64, i64)| *last >= from && *first < end;
        let aborted = self.aborted.iter().filter(among);
        (bytes, aborted.map(|(producer, first, _)| (*producer, *first)).collect())
    }

    /// What a reader of these rules sees below an offset: offsets and values.
    pub(super) fn visible(&self, is_committed_only: bool, below: i64) -> Vec<(i64, String)> {
        let hidden = |batch: &Appended| {
            let after = self.batches.iter().filter(|later| later.base > batch.base);
            let mut own = after.filter(|later| later.producer == batch.producer);
            let marker = own.find_map(|later| later.marker);
            is_committed_only && batch.is_transactional && marker != Some(true)
        };
        let plain = self.batches.iter().filter(|batch| batch.marker.is_none());
        let shown = plain.filter(|batch| batch.next <= below && !hidden(batch));
        shown.flat_map(|batch| values(self.id, &batch.bytes)).collect()
    }
}

impl Known {
    fn take_epoch(&mut self, epoch: i16) {
        if epoch != self.epoch {
            self.epoch = epoch;
            self.last.clear();
        }
    }
}

/// Offsets and values of a batch's records.
pub(super) fn values(id: PartitionId, bytes: &Bytes) -> Vec<(i64, String)> {
    let batch = RecordBatch::new(id, bytes.clone()).unwrap();
    let records = batch.records().map(|record| {
        let record = record.unwrap();
        (record.offset, String::from_utf8(record.value.unwrap().to_vec()).unwrap())
    });
    records.collect()
}

/// A batch of these values.
pub(super) fn batch_of<'a>(values: impl IntoIterator<Item = &'a String>) -> OpenBatch {
    let mut batch = OpenBatch::new();
    for value in values {
        let headers = EncodedHeaders::new();
        batch.append(Timestamp::ZERO, None, Some(value.as_bytes()), headers.view());
    }
    batch
}

fn following(sequence: i32, count: i32) -> i32 {
    ((i64::from(sequence) + i64::from(count)) % (i64::from(i32::MAX) + 1)) as i32
}
