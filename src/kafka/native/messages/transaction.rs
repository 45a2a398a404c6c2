//! How does a producer get its epoch, and how does a transaction grow and end?

use super::{Code, topics};
use crate::kafka::native::wire::{Read, Reader, Writer};
use crate::log::TopicPartition;

/// Who writes, as the broker knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kafka::native) struct ProducerId {
    pub(in crate::kafka::native) id: i64,
    pub(in crate::kafka::native) epoch: i16,
}

impl ProducerId {
    pub(in crate::kafka::native) const NONE: Self = Self { id: -1, epoch: -1 };

    fn read(reader: &mut Reader<'_>) -> Read<Self> {
        Ok(Self { id: reader.i64()?, epoch: reader.i16()? })
    }

    fn write(self, out: &mut Writer) {
        out.i64(self.id);
        out.i16(self.epoch);
    }
}

/// Asks for an epoch. With [`ProducerId::NONE`] whoever had the id before is fenced.
pub(in crate::kafka::native) fn ask_producer(
    out: &mut Writer,
    transactional_id: Option<&str>,
    timeout_ms: i32,
    before: ProducerId,
) {
    out.text_or_null(transactional_id);
    out.i32(timeout_ms);
    before.write(out);
    out.no_tags();
}

pub(in crate::kafka::native) fn read_producer(
    reader: &mut Reader<'_>,
) -> Read<Result<ProducerId, Code>> {
    reader.i32()?;
    let code = reader.i16()?;
    let producer = ProducerId::read(reader)?;
    reader.tags()?;
    Ok(if code == 0 { Ok(producer) } else { Err(code) })
}

/// Says that these partitions will be written to; those of a topic stand beside each other.
pub(in crate::kafka::native) fn add_partitions(
    out: &mut Writer,
    transactional_id: &str,
    producer: ProducerId,
    partitions: &[TopicPartition],
) {
    out.text(transactional_id);
    producer.write(out);
    topics::write_names(out, partitions);
    out.no_tags();
}

/// The first error of any partition; the others are then not added either.
pub(in crate::kafka::native) fn read_codes_by_partition(reader: &mut Reader<'_>) -> Read<Code> {
    reader.i32()?;
    let codes = topics::read(reader, 7, |each, _| {
        each.i32()?;
        let code = each.i16()?;
        each.tags()?;
        Ok(code)
    })?;
    reader.tags()?;
    Ok(worst(codes.into_iter()))
}

/// Partitions beside one that failed only say that they were not tried.
fn worst(codes: impl Iterator<Item = Code>) -> Code {
    const OPERATION_NOT_ATTEMPTED: Code = 55;
    let mut codes: Vec<Code> = codes.filter(|code| *code != 0).collect();
    codes.sort_by_key(|code| *code == OPERATION_NOT_ATTEMPTED);
    codes.first().copied().unwrap_or(0)
}

/// Says that offsets of this group will be committed.
pub(in crate::kafka::native) fn add_offsets(
    out: &mut Writer,
    transactional_id: &str,
    producer: ProducerId,
    group: &str,
) {
    out.text(transactional_id);
    producer.write(out);
    out.text(group);
    out.no_tags();
}

pub(in crate::kafka::native) fn end(
    out: &mut Writer,
    transactional_id: &str,
    producer: ProducerId,
    commits: bool,
) {
    out.text(transactional_id);
    producer.write(out);
    out.bool(commits);
    out.no_tags();
}

/// The code of an answer that says no more.
pub(in crate::kafka::native) fn read_code(reader: &mut Reader<'_>) -> Read<Code> {
    reader.i32()?;
    reader.i16()
}

/// An error's code, or the epoch of the next transaction where each has its own.
pub(in crate::kafka::native) fn read_end(
    reader: &mut Reader<'_>,
    version: i16,
) -> Read<Result<Option<ProducerId>, Code>> {
    reader.i32()?;
    let code = reader.i16()?;
    if code != 0 {
        return Ok(Err(code));
    }
    let next = if version >= 5 { Some(ProducerId::read(reader)?) } else { None };
    Ok(Ok(next.filter(|producer| producer.id >= 0)))
}
