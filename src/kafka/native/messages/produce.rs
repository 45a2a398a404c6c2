//! How do batches travel to a broker, and what does it say of them?
//!
//! A request is a row of segments: what stands between the batches is written here, and the batches
//! themselves are sent from where they lie.

use bytes::Bytes;

use super::{Code, topics};
use crate::kafka::native::wire::{Read, Reader, Writer};
use crate::log::TopicPartition;

/// A batch for a partition; a request holds one for each partition at the most.
#[derive(Clone, Debug)]
pub(in crate::kafka::native) struct Part {
    pub(in crate::kafka::native) partition: TopicPartition,
    pub(in crate::kafka::native) batch: Bytes,
}

/// Appends a request to the head that `out` holds, as segments to be sent behind each other.
/// `parts` are sorted by their partitions.
pub(in crate::kafka::native) fn ask(
    mut out: Writer,
    transactional_id: Option<&str>,
    timeout_ms: i32,
    parts: &[Part],
) -> Vec<Bytes> {
    const ACKNOWLEDGED_BY_ALL: i16 = -1;
    debug_assert!(parts.is_sorted_by(|a, b| a.partition < b.partition), "sorted and each once");
    let mut segments = Vec::with_capacity(2 * parts.len() + 1);
    out.text_or_null(transactional_id);
    out.i16(ACKNOWLEDGED_BY_ALL);
    out.i32(timeout_ms);
    let topics: Vec<_> = parts.chunk_by(|a, b| a.partition.topic == b.partition.topic).collect();
    out.length(topics.len());
    for topic in topics {
        out.text(&topic[0].partition.topic);
        out.length(topic.len());
        for part in topic {
            out.i32(part.partition.partition as i32);
            out.length(part.batch.len());
            segments.push(Bytes::from(std::mem::take(&mut out.bytes)));
            segments.push(part.batch.clone());
            out.no_tags();
        }
        out.no_tags();
    }
    out.no_tags();
    segments.push(Bytes::from(out.bytes));
    segments
}

/// What became of one batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::kafka::native) struct Answer {
    pub(in crate::kafka::native) topic: String,
    pub(in crate::kafka::native) partition: u32,
    pub(in crate::kafka::native) code: Code,
    pub(in crate::kafka::native) base_offset: i64,
    /// What the broker says of an error.
    pub(in crate::kafka::native) text: String,
}

/// What became of each batch, and for how many milliseconds the broker wants to be left alone.
pub(in crate::kafka::native) fn read(reader: &mut Reader<'_>) -> Read<(Vec<Answer>, i32)> {
    let answers = topics::read(reader, 33, read_answer)?;
    let throttle_ms = reader.i32()?;
    reader.tags()?;
    Ok((answers, throttle_ms))
}

fn read_answer(reader: &mut Reader<'_>, topic: &str) -> Read<Answer> {
    let (partition, code) = (reader.index()?, reader.i16()?);
    let base_offset = reader.i64()?;
    reader.i64()?;
    reader.i64()?;
    let records = reader.list(6, |each| {
        each.i32()?;
        let text = each.text_or_null()?;
        each.tags()?;
        Ok(text)
    })?;
    let text = reader.text_or_null()?;
    reader.tags()?;
    let text = text.or(records.into_iter().flatten().next()).unwrap_or_default().to_owned();
    Ok(Answer { topic: topic.to_owned(), partition, code, base_offset, text })
}
