//! How are records asked for, and where do they lie in the answer?

use std::ops::Range;

use super::{Code, Node, topics};
use crate::kafka::native::wire::{Read, Reader, Writer};
use crate::log::{Isolation, TopicPartition};

/// What is asked of a broker.
#[derive(Clone, Copy, Debug)]
pub(in crate::kafka::native) struct Terms<'a> {
    pub(in crate::kafka::native) wait_ms: i32,
    pub(in crate::kafka::native) bytes_min: i32,
    pub(in crate::kafka::native) bytes_max: i32,
    pub(in crate::kafka::native) partition_bytes_max: i32,
    pub(in crate::kafka::native) isolation: Isolation,
    pub(in crate::kafka::native) rack: &'a str,
}

/// From where on a partition is read.
#[derive(Clone, Debug)]
pub(in crate::kafka::native) struct Part {
    pub(in crate::kafka::native) partition: TopicPartition,
    pub(in crate::kafka::native) leader_epoch: i32,
    pub(in crate::kafka::native) offset: i64,
}

/// What the broker remembers, and how many requests there were of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kafka::native) struct SessionId {
    pub(in crate::kafka::native) id: i32,
    pub(in crate::kafka::native) epoch: i32,
}

/// Asks for records of what the broker remembers, with these changes. Partitions of one topic stand
/// beside each other.
pub(in crate::kafka::native) fn ask(
    out: &mut Writer,
    terms: Terms<'_>,
    session: SessionId,
    parts: &[Part],
    forgotten: &[TopicPartition],
) {
    out.i32(-1);
    out.i32(terms.wait_ms);
    out.i32(terms.bytes_min);
    out.i32(terms.bytes_max);
    out.i8(i8::from(terms.isolation == Isolation::ReadCommitted));
    out.i32(session.id);
    out.i32(session.epoch);
    topics::write(
        out,
        parts,
        |part| &part.partition,
        |out, part| {
            out.i32(part.partition.partition as i32);
            out.i32(part.leader_epoch);
            out.i64(part.offset);
            out.i32(-1);
            out.i64(-1);
            out.i32(terms.partition_bytes_max);
            out.no_tags();
        },
    );
    topics::write_names(out, forgotten);
    out.text(terms.rack);
    out.no_tags();
}

/// What a broker has of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::kafka::native) struct Answer {
    pub(in crate::kafka::native) partition: u32,
    pub(in crate::kafka::native) code: Code,
    /// Behind the last record that all replicas have; -1 with an error.
    pub(in crate::kafka::native) high_watermark: i64,
    /// Before the first open transaction.
    pub(in crate::kafka::native) last_stable_offset: i64,
    /// A broker nearer than the leader that has the records as well; below 0 for none.
    pub(in crate::kafka::native) nearer: Node,
    /// Producers whose transactions were aborted, and where these began.
    pub(in crate::kafka::native) aborted: Vec<(i64, i64)>,
    /// Where the batches lie in the answer; the last may be cut short.
    pub(in crate::kafka::native) batches: Range<usize>,
}

/// What a broker answers.
#[derive(Clone, Debug)]
pub(in crate::kafka::native) struct Fetched<'a> {
    /// Of the whole request.
    pub(in crate::kafka::native) code: Code,
    /// For so long the broker wants to be left alone.
    pub(in crate::kafka::native) throttle_ms: i32,
    /// 0 if the broker remembers nothing.
    pub(in crate::kafka::native) session: i32,
    /// What there is, by topic.
    pub(in crate::kafka::native) topics: Vec<(&'a str, Vec<Answer>)>,
}

pub(in crate::kafka::native) fn read<'a>(reader: &mut Reader<'a>) -> Read<Fetched<'a>> {
    let throttle_ms = reader.i32()?;
    let code = reader.i16()?;
    let session = reader.i32()?;
    let topics = reader.list(3, |topic| {
        let name = topic.text()?;
        let answers = topic.list(37, read_answer)?;
        topic.tags()?;
        Ok((name, answers))
    })?;
    reader.tags()?;
    Ok(Fetched { code, throttle_ms, session, topics })
}

fn read_answer(reader: &mut Reader<'_>) -> Read<Answer> {
    let (partition, code) = (reader.index()?, reader.i16()?);
    let (high_watermark, last_stable_offset) = (reader.i64()?, reader.i64()?);
    reader.i64()?;
    let aborted = reader.list(17, |each| {
        let aborted = (each.i64()?, each.i64()?);
        each.tags()?;
        Ok(aborted)
    })?;
    let nearer = Node(reader.i32()?);
    let batches = reader.bytes_range()?;
    reader.tags()?;
    Ok(Answer { partition, code, high_watermark, last_stable_offset, nearer, aborted, batches })
}
