//! How are records taken and handed out?

use super::At;
use crate::kafka::native::api::Api;
use crate::kafka::native::messages::Code;
use crate::kafka::native::simulated::cluster::{Cluster, Release};
use crate::kafka::native::simulated::partition::{Partition, Stamp};
use crate::kafka::native::simulated::transactions::{
    INVALID_PRODUCER_EPOCH, INVALID_TXN_STATE, PRODUCER_FENCED, Place,
};
use crate::kafka::native::wire::{Read, Reader, Writer};

const NOT_LEADER: Code = 6;
const UNKNOWN_TOPIC: Code = 3;
const FENCED_LEADER_EPOCH: Code = 74;
const UNKNOWN_LEADER_EPOCH: Code = 75;
const OUT_OF_RANGE: Code = 1;

/// What is asked of a partition.
struct Asked {
    index: u32,
    leader_epoch: i32,
    offset: i64,
    most: usize,
}

impl Cluster {
    /// Whether a broker answers for a partition.
    fn led_here(&self, place: &Place, at: At) -> Result<(), Code> {
        match self.partitions.get(place) {
            Some(_) if !self.knows(at.node, &place.0, at.now) => Err(UNKNOWN_TOPIC),
            Some(partition) if partition.leader == at.node => Ok(()),
            Some(_) => Err(NOT_LEADER),
            None => Err(UNKNOWN_TOPIC),
        }
    }

    pub(super) fn produce(
        &mut self,
        version: i16,
        reader: &mut Reader<'_>,
        out: &mut Writer,
        at: At,
    ) -> Read<()> {
        let id = reader.text_or_null()?.map(str::to_owned);
        let acks = reader.i16()?;
        if acks != -1 {
            self.violations.push(format!("{acks} acknowledgements"));
        }
        reader.i32()?;
        let topics = reader.list(3, |topic| {
            let name = topic.text()?.to_owned();
            let parts = topic.list(6, |part| {
                let part_of = (part.index()?, part.bytes()?.to_vec());
                part.tags()?;
                Ok(part_of)
            })?;
            topic.tags()?;
            Ok((name, parts))
        })?;
        reader.tags()?;
        out.list(topics.into_iter(), |out, (topic, parts)| {
            out.text(&topic);
            out.list(parts.into_iter(), |out, (index, batch)| {
                let place = (topic.clone(), index);
                let taken = self.take((version, id.as_deref()), &place, &batch, at);
                out.i32(index as i32);
                out.i16(taken.err().unwrap_or(0));
                out.i64(taken.unwrap_or(-1));
                out.i64(-1);
                out.i64(0);
                out.length(0);
                out.text_or_null(None);
                out.no_tags();
            });
            out.no_tags();
        });
        out.i32(self.throttle_ms());
        out.no_tags();
        Ok(())
    }

    fn take(
        &mut self,
        (version, id): (i16, Option<&str>),
        place: &Place,
        batch: &[u8],
        at: At,
    ) -> Result<i64, Code> {
        self.led_here(place, at)?;
        let injected = self.inject(Api::Produce);
        if let Some(injected) = injected.filter(|injected| !injected.is_done) {
            return Err(injected.code);
        }
        let stamp = Stamp::of(batch)?;
        if stamp.is_transactional != id.is_some() {
            self.violations.push(format!("{stamp:?} of {id:?}"));
        }
        if let Some(id) = id {
            self.verify(id, version, stamp, place, at)?;
        }
        let partition = self.partitions.get_mut(place).ok_or(UNKNOWN_TOPIC)?;
        let taken = partition.append(batch);
        if taken == Err(2) {
            self.violations.push(format!("a damaged batch for {place:?}"));
        }
        injected.map_or(taken, |injected| Err(injected.code))
    }

    /// Whether a batch belongs to a transaction, or, with version 2, adds to it.
    fn verify(
        &mut self,
        id: &str,
        version: i16,
        stamp: Stamp,
        place: &Place,
        at: At,
    ) -> Result<(), Code> {
        let partition = self.partitions.get(place).ok_or(UNKNOWN_TOPIC)?;
        let (is_there, is_next) =
            (partition.duplicate(stamp).is_some(), partition.check(stamp).is_ok());
        let by = (stamp.producer, stamp.epoch);
        let Some(transaction) = self.transactions.get_mut(id) else {
            return Err(INVALID_TXN_STATE);
        };
        if is_there || transaction.has(by, place) {
            return Ok(());
        }
        if version >= 12 {
            return match transaction.add(by, [place.clone()], at.now) {
                0 => Ok(()),
                PRODUCER_FENCED => Err(INVALID_PRODUCER_EPOCH),
                code => Err(code),
            };
        }
        if is_next && by == (transaction.producer, transaction.epoch) {
            self.violations.push(format!("{place:?} was written to and not added: {stamp:?}"));
        }
        if self.release == Release::Old { Ok(()) } else { Err(INVALID_TXN_STATE) }
    }

    pub(super) fn fetch(
        &mut self,
        reader: &mut Reader<'_>,
        out: &mut Writer,
        at: At,
    ) -> Read<bool> {
        reader.skip(4 + 4 + 4 + 4);
        let is_committed_only = reader.bool()?;
        reader.skip(4 + 4);
        let topics = reader.list(3, |topic| {
            let name = topic.text()?.to_owned();
            let parts = topic.list(33, read_asked)?;
            topic.tags()?;
            Ok((name, parts))
        })?;
        reader.count(1)?;
        reader.text()?;
        reader.tags()?;
        let has_some = topics.iter().any(|(topic, parts)| {
            parts.iter().any(|asked| {
                let partition = self.partitions.get(&(topic.clone(), asked.index));
                partition.is_none_or(|partition| {
                    let limit = partition.limit(is_committed_only);
                    partition.leader != at.node || limit != asked.offset
                })
            })
        });
        if !has_some && !at.has_waited {
            return Ok(false);
        }
        out.i32(self.throttle_ms());
        let code = if !self.is_calm && self.random.one_in(200) { 56 } else { 0 };
        out.i16(code);
        out.i32(0);
        out.list(topics.iter(), |out, (topic, parts)| {
            out.text(topic);
            out.list(parts.iter(), |out, asked| {
                let place = (topic.clone(), asked.index);
                let found = self.find(&place, asked, is_committed_only, at);
                write_found(out, asked.index, found);
            });
            out.no_tags();
        });
        out.no_tags();
        Ok(true)
    }

    fn find(
        &mut self,
        place: &Place,
        asked: &Asked,
        is_committed_only: bool,
        at: At,
    ) -> Result<Found, Code> {
        self.led_here(place, at)?;
        if let Some(injected) = self.inject(Api::Fetch) {
            return Err(injected.code);
        }
        let partition = self.partitions.get(place).ok_or(UNKNOWN_TOPIC)?;
        if asked.leader_epoch != partition.leader_epoch {
            let is_older = asked.leader_epoch < partition.leader_epoch;
            return Err(if is_older { FENCED_LEADER_EPOCH } else { UNKNOWN_LEADER_EPOCH });
        }
        if asked.offset > partition.end() {
            self.violations.push(format!("{place:?} is read behind its end"));
            return Err(OUT_OF_RANGE);
        }
        let limit = partition.limit(is_committed_only);
        // Answers are small, so that there are many.
        let most = asked.most.min(120 + self.random.below(900) as usize);
        let (bytes, aborted) = partition.fetch(asked.offset, limit, most);
        Ok(Found { end: partition.end(), stable: partition.last_stable(), bytes, aborted })
    }

    pub(super) fn list_offsets(
        &mut self,
        reader: &mut Reader<'_>,
        out: &mut Writer,
        at: At,
    ) -> Read<()> {
        reader.i32()?;
        reader.bool()?;
        let topics = reader.list(3, |topic| {
            let name = topic.text()?.to_owned();
            let parts = topic.list(17, |part| {
                let index = part.index()?;
                part.i32()?;
                let time = part.i64()?;
                part.tags()?;
                Ok((index, time))
            })?;
            topic.tags()?;
            Ok((name, parts))
        })?;
        reader.tags()?;
        out.i32(0);
        out.list(topics.iter(), |out, (topic, parts)| {
            out.text(topic);
            out.list(parts.iter(), |out, (index, time)| {
                let place = (topic.clone(), *index);
                let code = self.led_here(&place, at).err();
                let code = code.or_else(|| self.inject(Api::ListOffsets).map(|i| i.code));
                let end = self.partitions.get(&place).map_or(-1, Partition::end);
                out.i32(*index as i32);
                out.i16(code.unwrap_or(0));
                out.i64(-1);
                out.i64(if *time == -1 { end } else { 0 });
                out.i32(0);
                out.no_tags();
            });
            out.no_tags();
        });
        out.no_tags();
        Ok(())
    }
}

fn read_asked(part: &mut Reader<'_>) -> Read<Asked> {
    let (index, leader_epoch, offset) = (part.index()?, part.i32()?, part.i64()?);
    part.i32()?;
    part.i64()?;
    let most = part.i32()? as usize;
    part.tags()?;
    Ok(Asked { index, leader_epoch, offset, most })
}

/// What there is of a partition.
struct Found {
    end: i64,
    stable: i64,
    bytes: Vec<u8>,
    aborted: Vec<(i64, i64)>,
}

fn write_found(out: &mut Writer, index: u32, found: Result<Found, Code>) {
    out.i32(index as i32);
    out.i16(found.as_ref().err().copied().unwrap_or(0));
    let nothing = Found { end: -1, stable: -1, bytes: Vec::new(), aborted: Vec::new() };
    let found = found.unwrap_or(nothing);
    out.i64(found.end);
    out.i64(found.stable);
    out.i64(0);
    out.list(found.aborted.iter(), |out, (producer, first)| {
        out.i64(*producer);
        out.i64(*first);
        out.no_tags();
    });
    out.i32(-1);
    out.bytes(&found.bytes);
    out.no_tags();
}
