//! Which brokers are there, who leads which partition, and who coordinates whom?

use std::sync::Arc;

use super::{Code, Node};
use crate::kafka::native::wire::{Read, Reader, Writer};

/// Where a broker can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::kafka::native) struct Address {
    pub(in crate::kafka::native) host: String,
    pub(in crate::kafka::native) port: u16,
}

/// What a cluster says of itself.
#[derive(Clone, Debug, Default)]
pub(in crate::kafka::native) struct Metadata {
    pub(in crate::kafka::native) brokers: Vec<(Node, Address)>,
    pub(in crate::kafka::native) topics: Vec<TopicMetadata>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::kafka::native) struct TopicMetadata {
    pub(in crate::kafka::native) name: String,
    pub(in crate::kafka::native) code: Code,
    pub(in crate::kafka::native) partitions: Vec<PartitionMetadata>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kafka::native) struct PartitionMetadata {
    pub(in crate::kafka::native) index: u32,
    pub(in crate::kafka::native) code: Code,
    /// Below 0 if there is none.
    pub(in crate::kafka::native) leader: Node,
    pub(in crate::kafka::native) leader_epoch: i32,
}

/// Asks about these topics, and creates none.
pub(in crate::kafka::native) fn ask<'a>(
    out: &mut Writer,
    version: i16,
    topics: impl ExactSizeIterator<Item = &'a str>,
) {
    out.list(topics, |out, name| {
        if version >= 10 {
            out.bytes.extend([0; 16]);
        }
        out.text(name);
        out.no_tags();
    });
    let creates_topics = false;
    out.bool(creates_topics);
    if version <= 10 {
        out.bool(false);
    }
    out.bool(false);
    out.no_tags();
}

pub(in crate::kafka::native) fn read(reader: &mut Reader<'_>, version: i16) -> Read<Metadata> {
    reader.i32()?;
    let brokers = reader.list(11, |each| {
        let broker = (Node(each.i32()?), read_address(each)?);
        each.text_or_null()?;
        each.tags()?;
        Ok(broker)
    })?;
    reader.text_or_null()?;
    reader.i32()?;
    let topics = reader.list(8, |each| read_topic(each, version))?;
    if version <= 10 {
        reader.i32()?;
    }
    reader.tags()?;
    Ok(Metadata { brokers, topics })
}

fn read_address(reader: &mut Reader<'_>) -> Read<Address> {
    let host = reader.text()?.to_owned();
    // One that is out of range is refused when it is connected to.
    let port = u16::try_from(reader.i32()?).unwrap_or_default();
    Ok(Address { host, port })
}

fn read_topic(reader: &mut Reader<'_>, version: i16) -> Read<TopicMetadata> {
    let code = reader.i16()?;
    let name = reader.text_or_null()?.unwrap_or_default().to_owned();
    if version >= 10 {
        reader.i64()?;
        reader.i64()?;
    }
    reader.bool()?;
    let partitions = reader.list(18, |each| {
        let (code, index) = (each.i16()?, each.index()?);
        let (leader, leader_epoch) = (Node(each.i32()?), each.i32()?);
        for _replicas in 0..3 {
            each.list(4, Reader::i32)?;
        }
        each.tags()?;
        Ok(PartitionMetadata { index, code, leader, leader_epoch })
    })?;
    reader.i32()?;
    reader.tags()?;
    Ok(TopicMetadata { name, code, partitions })
}

/// What a coordinator coordinates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::kafka::native) enum Coordinates {
    /// The members of a group, and its offsets.
    Group = 0,
    /// What is written under a transactional id.
    Transaction = 1,
}

/// Whom a coordinator coordinates: a group, or a transactional id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::kafka::native) struct Coordinated {
    pub(in crate::kafka::native) of: Coordinates,
    pub(in crate::kafka::native) id: Arc<str>,
}

pub(in crate::kafka::native) fn ask_coordinator(out: &mut Writer, whom: &Coordinated) {
    out.text(&whom.id);
    out.i8(whom.of as i8);
    out.no_tags();
}

/// An error's code and its text, or who it is.
pub(in crate::kafka::native) fn read_coordinator(
    reader: &mut Reader<'_>,
) -> Read<Result<(Node, Address), (Code, String)>> {
    reader.i32()?;
    let code = reader.i16()?;
    let text = reader.text_or_null()?.unwrap_or_default().to_owned();
    let found = (Node(reader.i32()?), read_address(reader)?);
    reader.tags()?;
    Ok(if code == 0 { Ok(found) } else { Err((code, text)) })
}
