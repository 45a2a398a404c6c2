//! How are offsets committed, inside a transaction and outside?

use super::transaction::ProducerId;
use crate::kafka::native::wire::Writer;
use crate::log::MemberToken;

/// An offset of a partition that is committed, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::kafka::native) struct NamedOffset {
    pub(in crate::kafka::native) topic: std::sync::Arc<str>,
    pub(in crate::kafka::native) partition: u32,
    pub(in crate::kafka::native) offset: i64,
    pub(in crate::kafka::native) metadata: String,
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

/// Each topic stands once, with all its partitions.
fn write_offsets(out: &mut Writer, offsets: &[NamedOffset]) {
    let mut sorted: Vec<&NamedOffset> = offsets.iter().collect();
    sorted.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
    let topics: Vec<_> = sorted.chunk_by(|a, b| a.topic == b.topic).collect();
    out.list(topics.into_iter(), |out, partitions| {
        out.text(&partitions[0].topic);
        out.list(partitions.iter(), |out, each| {
            out.i32(each.partition as i32);
            out.i64(each.offset);
            out.i32(-1);
            out.text(&each.metadata);
            out.no_tags();
        });
        out.no_tags();
    });
}
