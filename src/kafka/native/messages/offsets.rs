//! How are offsets committed, inside a transaction and outside, and which are?

use super::transaction::ProducerId;
use super::{Code, topics};
use crate::kafka::native::wire::{Read, Reader, Writer};
use crate::log::{CommittedOffset, MemberToken, Partitions, TopicPartition};

/// An offset of a partition that is committed, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::kafka::native) struct NamedOffset {
    pub(in crate::kafka::native) name: TopicPartition,
    pub(in crate::kafka::native) offset: i64,
    pub(in crate::kafka::native) metadata: String,
}

impl NamedOffset {
    pub(in crate::kafka::native) fn of(
        committed: &CommittedOffset,
        partitions: &Partitions,
    ) -> Self {
        let name = partitions.name(committed.partition);
        Self { name, offset: committed.offset, metadata: committed.metadata.clone() }
    }
}

/// Commits as part of a transaction.
pub(in crate::kafka::native) fn commit_inside(
    out: &mut Writer,
    transactional_id: &str,
    producer: ProducerId,
    member: &MemberToken,
    offsets: &[NamedOffset],
) {
    out.text(transactional_id);
    out.text(&member.group);
    out.i64(producer.id);
    out.i16(producer.epoch);
    write_member(out, member);
    write_offsets(out, offsets);
    out.no_tags();
}

/// Commits outside of transactions.
pub(in crate::kafka::native) fn commit_outside(
    out: &mut Writer,
    member: &MemberToken,
    offsets: &[NamedOffset],
) {
    out.text(&member.group);
    write_member(out, member);
    write_offsets(out, offsets);
    out.no_tags();
}

fn write_member(out: &mut Writer, member: &MemberToken) {
    let is_nobody = member.member_id.is_empty();
    out.i32(if is_nobody { -1 } else { member.generation });
    out.text(&member.member_id);
    out.text_or_null(member.instance_id.as_deref());
}

fn write_offsets(out: &mut Writer, offsets: &[NamedOffset]) {
    let mut sorted: Vec<&NamedOffset> = offsets.iter().collect();
    sorted.sort_by_key(|each| &each.name);
    topics::write(
        out,
        &sorted,
        |each| &each.name,
        |out, each| {
            out.i32(each.name.partition as i32);
            out.i64(each.offset);
            out.i32(-1);
            out.text(&each.metadata);
            out.no_tags();
        },
    );
}

/// Asks what a group has committed. With `only_stable` the broker refuses to say as long as a
/// transaction is open on one of them.
pub(in crate::kafka::native) fn ask_committed(
    out: &mut Writer,
    group: &str,
    names: &[TopicPartition],
    only_stable: bool,
) {
    out.text(group);
    let mut sorted = names.to_vec();
    sorted.sort();
    topics::write_names(out, &sorted);
    out.bool(only_stable);
    out.no_tags();
}

/// What is committed, by topic and partition, or the first error's code.
pub(in crate::kafka::native) fn read_committed<'a>(
    reader: &mut Reader<'a>,
) -> Read<Result<Vec<Committed<'a>>, Code>> {
    reader.i32()?;
    let mut first_code = 0;
    let committed = topics::read(reader, 20, |each, topic| {
        let (partition, offset) = (each.index()?, each.i64()?);
        each.i32()?;
        let metadata = each.text_or_null()?.unwrap_or_default();
        let code = each.i16()?;
        each.tags()?;
        first_code = if first_code == 0 { code } else { first_code };
        Ok(Committed { topic, partition, offset, metadata })
    })?;
    let code = reader.i16()?;
    reader.tags()?;
    let code = if code == 0 { first_code } else { code };
    Ok(if code == 0 { Ok(committed) } else { Err(code) })
}

/// What is committed of a partition; an offset of -1 is nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::kafka::native) struct Committed<'a> {
    pub(in crate::kafka::native) topic: &'a str,
    pub(in crate::kafka::native) partition: u32,
    pub(in crate::kafka::native) offset: i64,
    pub(in crate::kafka::native) metadata: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer about two partitions, with these errors: of the second one, and of the group.
    fn answer(of_second: Code, of_group: Code) -> Vec<u8> {
        let mut out = Writer::default();
        out.i32(0);
        out.list(["a"].into_iter(), |out, topic| {
            out.text(topic);
            out.list([(0, 5, 0), (1, -1, of_second)].into_iter(), |out, (index, offset, code)| {
                out.i32(index);
                out.i64(offset);
                out.i32(-1);
                out.text_or_null((offset >= 0).then_some("note"));
                out.i16(code);
                out.no_tags();
            });
            out.no_tags();
        });
        out.i16(of_group);
        out.no_tags();
        out.bytes
    }

    #[test]
    fn what_is_committed_is_told_or_the_first_error() {
        let read =
            |bytes: &[u8]| read_committed(&mut Reader::new(bytes)).map(|r| r.map(|c| c.len()));
        assert_eq!(read(&answer(0, 0)), Ok(Ok(2)));
        assert_eq!(read(&answer(88, 0)), Ok(Err(88)));
        assert_eq!(read(&answer(88, 16)), Ok(Err(16)));
        let whole = answer(0, 0);
        let committed = read_committed(&mut Reader::new(&whole)).unwrap().unwrap();
        let first = Committed { topic: "a", partition: 0, offset: 5, metadata: "note" };
        assert_eq!(committed[0], first);
        assert_eq!((committed[1].offset, committed[1].metadata), (-1, ""));
        for end in 0..whole.len() {
            assert!(read(&whole[..end]).is_err(), "{end}");
        }
    }
}
