//! How does a coordinator answer, of a transaction or of a group?

use std::time::Duration;

use super::At;
use crate::kafka::native::api::Api;
use crate::kafka::native::messages::Code;
use crate::kafka::native::simulated::cluster::{Cluster, Release};
use crate::kafka::native::simulated::transactions::{NONE, Place, Transaction};
use crate::kafka::native::wire::{Read, Reader, Writer};

const NOT_COORDINATOR: Code = 16;
const GROUP: usize = 0;
const TRANSACTION: usize = 1;

type Offsets = Vec<(String, Vec<(u32, i64)>)>;

impl Cluster {
    /// Lets a coordinator do something, unless something goes wrong.
    fn coordinate(
        &mut self,
        (of, api): (usize, Api),
        at: At,
        act: impl FnOnce(&mut Self) -> Code,
    ) -> Code {
        if self.coordinators[of] != at.node {
            return NOT_COORDINATOR;
        }
        match self.inject(api) {
            Some(injected) if injected.is_done => {
                act(self);
                injected.code
            }
            Some(injected) => injected.code,
            None => act(self),
        }
    }

    pub(super) fn init_producer(
        &mut self,
        reader: &mut Reader<'_>,
        out: &mut Writer,
        at: At,
    ) -> Read<()> {
        let id = reader.text_or_null()?.map(str::to_owned);
        let timeout = Duration::from_millis(reader.i32()? as u64);
        let before = read_by(reader)?;
        reader.tags()?;
        if before != (-1, -1) {
            self.violations.push(format!("{before:?} takes another epoch"));
        }
        let mut given = (-1, -1);
        let code = match id {
            None => {
                given = (self.producer(), 0);
                NONE
            }
            Some(id) => self.coordinate((TRANSACTION, Api::InitProducerId), at, |cluster| {
                let taken = cluster.take_epoch(id, timeout, at);
                given = taken.unwrap_or((-1, -1));
                taken.err().unwrap_or(NONE)
            }),
        };
        out.i32(0);
        out.i16(code);
        out.i64(given.0);
        out.i16(given.1);
        out.no_tags();
        Ok(())
    }

    fn take_epoch(&mut self, id: String, timeout: Duration, at: At) -> Result<(i64, i16), Code> {
        let (fresh, after) = (self.producer(), self.markers_after());
        let transactions = &mut self.transactions;
        let transaction =
            transactions.entry(id).or_insert_with(|| Transaction::new(fresh, timeout));
        let epoch = transaction.init(at.now, after)?;
        Ok((transaction.producer, epoch))
    }

    pub(super) fn add_partitions(
        &mut self,
        reader: &mut Reader<'_>,
        out: &mut Writer,
        at: At,
    ) -> Read<()> {
        let (id, by) = (reader.text()?.to_owned(), read_by(reader)?);
        let topics = reader.list(3, |topic| {
            let name = topic.text()?.to_owned();
            let parts = topic.list(4, Reader::index)?;
            topic.tags()?;
            Ok((name, parts))
        })?;
        reader.tags()?;
        let code = self.coordinate((TRANSACTION, Api::AddPartitionsToTxn), at, |cluster| {
            let places = topics.iter().flat_map(|(topic, parts)| {
                parts.iter().map(|index| (topic.clone(), *index)).collect::<Vec<Place>>()
            });
            cluster.of(&id, |transaction| transaction.add(by, places, at.now))
        });
        out.i32(0);
        out.list(topics.iter(), |out, (topic, parts)| {
            out.text(topic);
            out.list(parts.iter(), |out, index| write_code(out, *index, code));
            out.no_tags();
        });
        out.no_tags();
        Ok(())
    }

    /// Acts on a transaction, if there is one.
    fn of(&mut self, id: &str, act: impl FnOnce(&mut Transaction) -> Code) -> Code {
        const INVALID_PRODUCER_ID_MAPPING: Code = 49;
        self.transactions.get_mut(id).map_or(INVALID_PRODUCER_ID_MAPPING, act)
    }

    pub(super) fn add_offsets(
        &mut self,
        reader: &mut Reader<'_>,
        out: &mut Writer,
        at: At,
    ) -> Read<()> {
        let (id, by) = (reader.text()?.to_owned(), read_by(reader)?);
        let group = reader.text()?.to_owned();
        reader.tags()?;
        let code = self.coordinate((TRANSACTION, Api::AddOffsetsToTxn), at, |cluster| {
            cluster.of(&id, |transaction| transaction.add_group(by, &group, at.now))
        });
        out.i32(0);
        out.i16(code);
        out.no_tags();
        Ok(())
    }

    pub(super) fn commit_inside(
        &mut self,
        version: i16,
        reader: &mut Reader<'_>,
        out: &mut Writer,
        at: At,
    ) -> Read<()> {
        let (id, group) = (reader.text()?.to_owned(), reader.text()?.to_owned());
        let by = read_by(reader)?;
        let topics = read_offsets(reader)?;
        let code = self.coordinate((GROUP, Api::TxnOffsetCommit), at, |cluster| {
            cluster.of(&id, |transaction| {
                if version >= 5 {
                    let code = transaction.add_group(by, &group, at.now);
                    if code != NONE {
                        return code;
                    }
                }
                let all = places(&topics);
                let codes = all.map(|each| transaction.commit_offset(by, &group, each));
                codes.max().unwrap_or(NONE)
            })
        });
        write_committed(out, &topics, code);
        Ok(())
    }

    pub(super) fn commit_outside(
        &mut self,
        reader: &mut Reader<'_>,
        out: &mut Writer,
        at: At,
    ) -> Read<()> {
        let group = reader.text()?.to_owned();
        let topics = read_offsets(reader)?;
        let code = self.coordinate((GROUP, Api::OffsetCommit), at, |cluster| {
            let all = places(&topics).map(|(place, offset)| ((group.clone(), place), offset));
            cluster.offsets.extend(all);
            NONE
        });
        write_committed(out, &topics, code);
        Ok(())
    }

    pub(super) fn end_transaction(
        &mut self,
        version: i16,
        reader: &mut Reader<'_>,
        out: &mut Writer,
        at: At,
    ) -> Read<()> {
        let (id, by) = (reader.text()?.to_owned(), read_by(reader)?);
        let commits = reader.bool()?;
        reader.tags()?;
        let is_v2 = version >= 5;
        if is_v2 && self.release != Release::New {
            self.violations.push("a classic transaction is ended as one of version 2".into());
        }
        let mut next = (-1, -1);
        let code = self.coordinate((TRANSACTION, Api::EndTxn), at, |cluster| {
            let ends_at = at.now + cluster.markers_after();
            cluster.of(&id, |transaction| {
                let code = if is_v2 {
                    transaction.end_v2(by, commits, ends_at)
                } else {
                    transaction.end(by, commits, ends_at)
                };
                next = (transaction.producer, transaction.epoch);
                code
            })
        });
        out.i32(0);
        out.i16(code);
        if is_v2 {
            let next = if code == NONE { next } else { (-1, -1) };
            out.i64(next.0);
            out.i16(next.1);
        }
        out.no_tags();
        Ok(())
    }
}

fn read_by(reader: &mut Reader<'_>) -> Read<(i64, i16)> {
    Ok((reader.i64()?, reader.i16()?))
}

/// The member, the offsets of each topic, and the end of the request.
fn read_offsets(reader: &mut Reader<'_>) -> Read<Offsets> {
    reader.i32()?;
    reader.text()?;
    reader.text_or_null()?;
    let topics = reader.list(3, |topic| {
        let name = topic.text()?.to_owned();
        let parts = topic.list(18, |part| {
            let offset = (part.index()?, part.i64()?);
            part.i32()?;
            part.text_or_null()?;
            part.tags()?;
            Ok(offset)
        })?;
        topic.tags()?;
        Ok((name, parts))
    })?;
    reader.tags()?;
    Ok(topics)
}

fn places(topics: &Offsets) -> impl Iterator<Item = (Place, i64)> {
    topics.iter().flat_map(|(topic, parts)| {
        parts.iter().map(move |(index, offset)| ((topic.clone(), *index), *offset))
    })
}

fn write_code(out: &mut Writer, index: u32, code: Code) {
    out.i32(index as i32);
    out.i16(code);
    out.no_tags();
}

fn write_committed(out: &mut Writer, topics: &Offsets, code: Code) {
    out.i32(0);
    out.list(topics.iter(), |out, (topic, parts)| {
        out.text(topic);
        out.list(parts.iter(), |out, (index, _)| write_code(out, *index, code));
        out.no_tags();
    });
    out.no_tags();
}
