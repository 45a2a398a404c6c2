//! In which order do the batches of one partition leave, and what if one comes back?
//!
//! # Invariants
//!
//! - The first batch is acknowledged before the second leaves.
//! - Numbers ascend without a gap over what has been appended. A batch that was refused gives its
//!   number back, so those behind it are numbered anew before they leave again.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use super::{As, Leaving};
use crate::kafka::native::compression::pack;
use crate::kafka::native::errors::Verdict;
use crate::kafka::native::terms::Packing;
use crate::log::batch::{
    HEADER_BYTES, ProducerStamp, records_of, split, stamp_producer, thaw, with_records,
};
use crate::log::{EffectId, OpenBatch, TopicPartition};
use crate::time::Instant;

#[derive(Debug)]
enum Body {
    /// Has never left.
    Open(OpenBatch),
    /// As it has left.
    Sealed(Bytes),
    /// As it was before it was packed, and as it has left.
    Packed(Bytes, Bytes),
}

#[derive(Debug)]
struct Batch {
    number: u64,
    effect: EffectId,
    body: Body,
    count: u32,
    /// The number of its first record among those of this partition; `None` until it leaves.
    sequence: Option<i32>,
    is_in_flight: bool,
    /// An attempt was not answered, or not clearly: it may have been appended.
    is_doubtful: bool,
}

/// What is to be done with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Done,
    Again,
    Split,
    Failed,
    /// It is not known any more.
    Gone,
}

/// The batches of one partition that have not been acknowledged, in order.
#[derive(Debug)]
pub(super) struct Queue {
    name: TopicPartition,
    batches: VecDeque<Batch>,
    next_sequence: i32,
    /// Something has come back: nothing leaves before everything has.
    is_gathering: bool,
    /// Whether the broker knows the producer here. One that it does not know may begin with any
    /// number, so that the second batch could take the place of the first.
    is_known: bool,
    not_before: Instant,
}

impl Queue {
    pub(super) const fn new(name: TopicPartition) -> Self {
        Self {
            name,
            batches: VecDeque::new(),
            next_sequence: 0,
            is_gathering: false,
            is_known: false,
            not_before: Instant::from_origin(Duration::ZERO),
        }
    }

    pub(super) const fn name(&self) -> &TopicPartition {
        &self.name
    }

    pub(super) fn push(&mut self, number: u64, effect: EffectId, batch: OpenBatch) {
        let (count, body) = (batch.count(), Body::Open(batch));
        self.batches.push_back(Batch::new(number, effect, body, count));
    }

    pub(super) fn in_flight(&self) -> usize {
        self.batches.iter().filter(|batch| batch.is_in_flight).count()
    }

    pub(super) fn has_waiting(&self) -> bool {
        self.batches.back().is_some_and(|batch| !batch.is_in_flight)
            || self.batches.iter().any(|batch| !batch.is_in_flight)
    }

    /// Whether a batch can leave, where so many may be under way.
    pub(super) fn is_due(&self, now: Instant, in_flight_max: usize) -> bool {
        let room = if self.is_gathering || !self.is_known { 1 } else { in_flight_max };
        self.in_flight() < room && self.has_waiting() && now >= self.not_before
    }

    /// The first batch that waits, as it leaves.
    pub(super) fn take(&mut self, by: As) -> Leaving {
        self.is_gathering = false;
        let waiting = self.batches.iter_mut().find(|batch| !batch.is_in_flight);
        let batch = waiting.expect("only a queue that is due is asked");
        batch.is_in_flight = true;
        let bytes = batch.leave(&mut self.next_sequence, by);
        (batch.number, bytes)
    }

    fn place(&self, number: u64) -> Option<usize> {
        self.batches.iter().position(|batch| batch.number == number)
    }

    /// What becomes of a batch of which this is said.
    pub(super) fn fate(&self, number: u64, verdict: Verdict) -> Fate {
        let Some(at) = self.place(number) else { return Fate::Gone };
        match verdict {
            Verdict::Done => Fate::Done,
            Verdict::Retry | Verdict::AskLeader => Fate::Again,
            // It is out of turn because one before it has come back.
            Verdict::OutOfOrder if at > 0 || self.batches[at].sequence.is_none() => Fate::Again,
            Verdict::Record if self.batches[at].count > 1 && !self.is_doubtful(number) => {
                Fate::Split
            }
            _ => Fate::Failed,
        }
    }

    /// A batch did not get through; nothing leaves before `not_before`.
    pub(super) fn came_back(&mut self, number: u64, not_before: Instant) {
        let Some(at) = self.place(number) else { return };
        self.batches[at].is_in_flight = false;
        self.is_gathering = true;
        self.not_before = not_before;
    }

    /// A batch that has left may have been appended.
    pub(super) fn doubt(&mut self, number: u64) {
        if let Some(at) = self.place(number) {
            self.batches[at].is_doubtful = true;
        }
    }

    pub(super) fn is_doubtful(&self, number: u64) -> bool {
        self.place(number).is_some_and(|at| self.batches[at].is_doubtful)
    }

    /// A batch has been appended: of whom it was, and how many records it held.
    pub(super) fn remove(&mut self, number: u64) -> Option<(EffectId, u32)> {
        let at = self.place(number)?;
        let batch = self.batches.remove(at)?;
        self.is_known = true;
        Some((batch.effect, batch.count))
    }

    /// A batch will not be appended: of whom it was.
    pub(super) fn give_up(&mut self, number: u64) -> Option<EffectId> {
        let at = self.place(number)?;
        // The broker would take another of this number for the one that may be there.
        if !self.batches[at].is_doubtful {
            self.give_number_back(at);
        }
        self.batches.remove(at).map(|batch| batch.effect)
    }

    /// What comes behind a batch that was refused takes its number.
    fn give_number_back(&mut self, at: usize) {
        if let Some(sequence) = self.batches[at].sequence {
            self.next_sequence = sequence;
            for batch in self.batches.iter_mut().skip(at) {
                batch.sequence = None;
            }
        }
        self.is_gathering |= self.in_flight() > 1;
    }

    /// Puts smaller batches in the place of one: of whom they are, and how many.
    pub(super) fn replace_by_pieces(
        &mut self,
        number: u64,
        first: u64,
        now: Instant,
    ) -> Option<(EffectId, u32)> {
        self.came_back(number, now);
        let at = self.place(number)?;
        self.give_number_back(at);
        let batch = self.batches.remove(at)?;
        let sealed = batch.body.plain()?;
        let half = (sealed.len() - HEADER_BYTES) / 2 + HEADER_BYTES;
        let pieces = split(sealed, half).expect("records that were just written are whole");
        let count = pieces.len() as u32;
        for (place, piece) in pieces.into_iter().enumerate() {
            let (count, body) = (piece.count(), Body::Open(piece));
            let (number, effect) = (first + place as u64, batch.effect);
            self.batches.insert(at + place, Batch::new(number, effect, body, count));
        }
        Some((batch.effect, count))
    }

    /// Gives up what is not under way: of whom it was, and whether it may have been appended.
    pub(super) fn drop_waiting(&mut self) -> Vec<(EffectId, bool)> {
        let mut dropped = Vec::new();
        self.batches.retain(|batch| {
            if !batch.is_in_flight {
                dropped.push((batch.effect, batch.is_doubtful));
            }
            batch.is_in_flight
        });
        dropped
    }

    /// Another epoch numbers from 0; the broker may know the producer by another id.
    pub(super) fn renumber(&mut self, is_other_id: bool) {
        self.is_known &= !is_other_id;
        self.next_sequence = 0;
        for batch in &mut self.batches {
            batch.sequence = None;
        }
    }

    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        let waits = self.has_waiting() && self.not_before > now;
        waits.then_some(self.not_before)
    }
}

impl Batch {
    const fn new(number: u64, effect: EffectId, body: Body, count: u32) -> Self {
        let (is_in_flight, is_doubtful) = (false, false);
        Self { number, effect, body, count, sequence: None, is_in_flight, is_doubtful }
    }

    /// Seals the batch, or numbers it anew; a batch that comes again as it was keeps its bytes.
    fn leave(&mut self, next_sequence: &mut i32, by: As) -> Bytes {
        let is_numbered = self.sequence.is_some();
        let sequence = *self.sequence.get_or_insert(*next_sequence);
        if !is_numbered {
            *next_sequence = following(sequence, self.count);
        }
        let stamp = ProducerStamp {
            producer_id: by.producer.id,
            epoch: by.producer.epoch,
            base_sequence: sequence,
            is_transactional: by.is_transactional,
            is_control: false,
        };
        let body = std::mem::replace(&mut self.body, Body::Sealed(Bytes::new()));
        self.body = match body {
            Body::Open(batch) => Body::seal(batch.seal_by(stamp), by.packing),
            Body::Sealed(_) | Body::Packed(..) if is_numbered => body,
            Body::Sealed(bytes) => Body::Sealed(stamped(bytes, stamp)),
            Body::Packed(plain, bytes) => Body::Packed(plain, stamped(bytes, stamp)),
        };
        self.body.leaving()
    }
}

fn stamped(bytes: Bytes, stamp: ProducerStamp) -> Bytes {
    let mut bytes = thaw(bytes);
    stamp_producer(&mut bytes, stamp);
    bytes.freeze()
}

impl Body {
    /// A sealed batch, packed unless that would make it larger.
    fn seal(sealed: Bytes, packing: Option<Packing>) -> Self {
        let Some(Packing { codec, level }) = packing else { return Self::Sealed(sealed) };
        let mut packed = Vec::new();
        let records = records_of(&sealed);
        match pack(codec, level, records, &mut packed) {
            Ok(()) if packed.len() < records.len() => {
                let leaving = with_records(&sealed, codec.bits(), &packed).freeze();
                Self::Packed(sealed, leaving)
            }
            _ => Self::Sealed(sealed),
        }
    }

    /// The bytes that leave.
    fn leaving(&self) -> Bytes {
        match self {
            Self::Open(_) => unreachable!("a batch is sealed before it leaves"),
            Self::Sealed(bytes) | Self::Packed(_, bytes) => bytes.clone(),
        }
    }

    /// The batch with its records as they were written.
    const fn plain(&self) -> Option<&Bytes> {
        match self {
            Self::Open(_) => None,
            Self::Sealed(bytes) | Self::Packed(bytes, _) => Some(bytes),
        }
    }
}

/// The number behind a batch; after the largest comes 0.
fn following(sequence: i32, count: u32) -> i32 {
    let sum = i64::from(sequence) + i64::from(count);
    (sum % (i64::from(i32::MAX) + 1)) as i32
}
