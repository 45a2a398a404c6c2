//! What does a broker understand of a request, and which bytes does it answer?
//!
//! # Invariants
//!
//! - A request is read to its end: what is left over, or cut off, is a violation.

use bytes::Bytes;

use super::cluster::{Cluster, Release};
use crate::kafka::native::api::Api;
use crate::kafka::native::wire::{Read, Reader, Writer};
use crate::time::Instant;

mod data;
mod transactional;

/// The head of a request.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub(super) api: Api,
    pub(super) version: i16,
    correlation: i32,
}

const SPOKEN: [Api; 12] = [
    Api::Produce,
    Api::Fetch,
    Api::ListOffsets,
    Api::Metadata,
    Api::OffsetCommit,
    Api::FindCoordinator,
    Api::Hello,
    Api::InitProducerId,
    Api::AddPartitionsToTxn,
    Api::AddOffsetsToTxn,
    Api::EndTxn,
    Api::TxnOffsetCommit,
];

/// Reads the head of a request that comes without its length.
pub(super) fn head(reader: &mut Reader<'_>) -> Read<Head> {
    let (key, version, correlation) = (reader.i16()?, reader.i16()?, reader.i32()?);
    let api = SPOKEN.into_iter().find(|api| *api as i16 == key).expect("a request that is spoken");
    let client_id = reader.i16()?;
    reader.skip(client_id as usize);
    reader.tags()?;
    Ok(Head { api, version, correlation })
}

/// Where and when a request is answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct At {
    pub(super) node: i32,
    pub(super) now: Instant,
    /// Whether a fetch has waited for records already.
    pub(super) has_waited: bool,
}

/// The tag of the features that the cluster has agreed on.
const FINALISED: u32 = 2;

impl Cluster {
    /// Does what a request asks for; `None` if it is to be asked again after a while.
    pub(super) fn execute(&mut self, request: &Bytes, at: At) -> Option<Bytes> {
        let mut reader = Reader::new(request);
        let head = head(&mut reader).expect("the client's heads are whole");
        let range = self.spoken(head.api);
        if !range.contains(&head.version) {
            self.violations.push(format!("{head:?} is not spoken here"));
        }
        let mut out = Writer::default();
        out.i32(head.correlation);
        if head.api != Api::Hello {
            out.no_tags();
        }
        let done = self.answer(&head, &mut reader, &mut out, at);
        match done {
            Ok(false) => return None,
            Ok(true) if reader.position() != request.len() => {
                self.violations.push(format!("{head:?} goes on behind its end"));
            }
            Ok(true) => {}
            Err(error) => self.violations.push(format!("{head:?}: {error}")),
        }
        Some(Bytes::from(out.bytes))
    }

    fn answer(
        &mut self,
        head: &Head,
        reader: &mut Reader<'_>,
        out: &mut Writer,
        at: At,
    ) -> Read<bool> {
        match head.api {
            Api::Hello => self.hello(reader, out)?,
            Api::Metadata => self.metadata(head.version, reader, out, at)?,
            Api::FindCoordinator => self.find_coordinator(reader, out, at)?,
            Api::Produce => self.produce(head.version, reader, out, at)?,
            Api::Fetch => return self.fetch(reader, out, at),
            Api::ListOffsets => self.list_offsets(reader, out, at)?,
            Api::InitProducerId => self.init_producer(reader, out, at)?,
            Api::AddPartitionsToTxn => self.add_partitions(reader, out, at)?,
            Api::AddOffsetsToTxn => self.add_offsets(reader, out, at)?,
            Api::TxnOffsetCommit => self.commit_inside(head.version, reader, out, at)?,
            Api::OffsetCommit => self.commit_outside(reader, out, at)?,
            Api::EndTxn => self.end_transaction(head.version, reader, out, at)?,
            Api::SaslHandshake | Api::SaslAuthenticate => unreachable!("nobody asks who comes"),
            Api::OffsetFetch | Api::DeleteRecords => unreachable!("no worker asks for it"),
        }
        Ok(true)
    }

    fn spoken(&self, api: Api) -> std::ops::RangeInclusive<i16> {
        let ours = api.spoken();
        match self.release {
            Release::New | Release::Classic => ours,
            Release::Old => match api {
                Api::Metadata => 0..=11,
                Api::InitProducerId => 0..=4,
                _ => 0..=*ours.start(),
            },
        }
    }

    fn hello(&self, reader: &mut Reader<'_>, out: &mut Writer) -> Read<()> {
        reader.text()?;
        reader.text()?;
        reader.tags()?;
        out.i16(0);
        out.list(SPOKEN.into_iter(), |out, api| {
            let range = self.spoken(api);
            out.i16(api as i16);
            out.i16(*range.start());
            out.i16(*range.end());
            out.no_tags();
        });
        out.i32(0);
        if self.release == Release::Old {
            out.no_tags();
            return Ok(());
        }
        let mut features = Writer::default();
        features.list([("transaction.version", if self.is_v2() { 2 } else { 1 })].into_iter(), {
            |out, (name, level)| {
                out.text(name);
                out.i16(level);
                out.i16(level);
                out.no_tags();
            }
        });
        out.varint(1);
        out.varint(FINALISED);
        out.varint(features.bytes.len() as u32);
        out.bytes.extend(features.bytes);
        Ok(())
    }

    fn metadata(
        &mut self,
        version: i16,
        reader: &mut Reader<'_>,
        out: &mut Writer,
        at: At,
    ) -> Read<()> {
        let topics = reader.list(2, |topic| {
            if version >= 10 {
                topic.skip(16);
            }
            let name = topic.text()?.to_owned();
            topic.tags()?;
            Ok(name)
        })?;
        if reader.bool()? {
            self.violations.push("topics are not created by asking for them".into());
        }
        if version <= 10 {
            reader.bool()?;
        }
        reader.bool()?;
        reader.tags()?;
        out.i32(0);
        out.list(self.up.keys(), |out, node| {
            out.i32(*node);
            out.text("broker");
            out.i32(9000 + node);
            out.text_or_null(None);
            out.no_tags();
        });
        out.text_or_null(Some("cluster"));
        out.i32(1);
        let is_old_news = !self.is_calm && self.random.one_in(8);
        out.list(topics.iter(), |out, topic| self.topic(version, topic, is_old_news, out, at));
        if version <= 10 {
            out.i32(0);
        }
        out.no_tags();
        Ok(())
    }

    fn topic(&self, version: i16, topic: &str, is_old_news: bool, out: &mut Writer, at: At) {
        let is_known = self.topics().contains(topic) && self.knows(at.node, topic, at.now);
        out.i16(if is_known { 0 } else { 3 });
        out.text(topic);
        if version >= 10 {
            out.bytes.extend([7; 16]);
        }
        out.bool(false);
        let here = self.partitions.iter().filter(|((name, _), _)| name == topic && is_known);
        let here: Vec<_> = here.collect();
        out.list(here.into_iter(), |out, ((_, index), partition)| {
            let now = (partition.leader, partition.leader_epoch);
            let (leader, epoch) = if is_old_news { partition.former } else { now };
            let is_up = self.up.get(&leader).copied().unwrap_or(false);
            out.i16(if is_up { 0 } else { 5 });
            out.i32(*index as i32);
            out.i32(if is_up { leader } else { -1 });
            out.i32(epoch);
            for _replicas in 0..3 {
                out.list([1].into_iter(), Writer::i32);
            }
            out.no_tags();
        });
        out.i32(0);
        out.no_tags();
    }

    fn find_coordinator(&mut self, reader: &mut Reader<'_>, out: &mut Writer, at: At) -> Read<()> {
        reader.text()?;
        let of = usize::from(reader.bool()?);
        reader.tags()?;
        let injected = self.inject(Api::FindCoordinator);
        let node =
            if !self.is_calm && self.random.one_in(10) { at.node } else { self.coordinators[of] };
        let code = injected.map_or(0, |injected| injected.code);
        out.i32(0);
        out.i16(code);
        out.text_or_null((code != 0).then_some("not yet"));
        out.i32(if code == 0 { node } else { -1 });
        out.text(if code == 0 { "broker" } else { "" });
        out.i32(if code == 0 { 9000 + node } else { -1 });
        out.no_tags();
        Ok(())
    }
}
