//! What becomes of a record that failed? The policy decides: stop, drop and count, or dead-letter.
//!
//! A dead-letter record is the source record as it was fetched, with Kafka Streams' header names
//! (KIP-1034), and it leaves in the same transaction as everything else.

use std::sync::Arc;

use crate::config::ErrorPolicy;
use crate::error::{BoxError, Error, ErrorKind, Result};
use crate::log::{EncodedHeaders, RecordView, TopicPartition};
use crate::operator::push::{Collector, OutRecord};
use crate::topology::NodeId;

/// What could not be done with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Decode,
    Process,
    Produce,
}

/// Records that failed and were dealt with, by [`Stage`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RefusedCounts {
    pub(crate) skipped: [u64; 3],
    pub(crate) dead_lettered: [u64; 3],
}

/// A record that failed, and where.
pub(crate) struct Refused<'a> {
    pub(crate) partition: &'a TopicPartition,
    pub(crate) view: RecordView<'a>,
    pub(crate) error: BoxError,
    pub(crate) stage: Stage,
    /// The operator; `None` where the record could not be decoded.
    pub(crate) node: Option<String>,
}

/// Applies a policy. `Ok` means that the record is dealt with.
pub(crate) fn refuse(
    policy: &ErrorPolicy,
    refused: Refused<'_>,
    collector: &mut dyn Collector,
    counts: &mut RefusedCounts,
) -> Result<()> {
    let Refused { partition, view, error, stage, node } = refused;
    match policy {
        ErrorPolicy::Fail => Err(stopping(partition, view.offset, error, (stage, node))),
        ErrorPolicy::Skip => {
            counts.skipped[stage as usize] += 1;
            tracing::warn!(%partition, offset = view.offset, node, ?stage, "record skipped");
            tracing::trace!(%partition, offset = view.offset, %error, "why it was skipped");
            Ok(())
        }
        ErrorPolicy::DeadLetter(topic) => {
            counts.dead_lettered[stage as usize] += 1;
            let offset = view.offset;
            tracing::warn!(%partition, offset, node, ?stage, %topic, "record dead-lettered");
            let headers = explain(partition, &view, &error)?;
            let out = OutRecord {
                timestamp: view.timestamp,
                key: view.key,
                partition_by: view.key,
                value: view.value,
                headers: headers.view(),
            };
            collector.append_to(topic, out)
        }
    }
}

/// The record's own headers and behind them why it is here.
fn explain(
    partition: &TopicPartition,
    view: &RecordView<'_>,
    error: &BoxError,
) -> Result<EncodedHeaders> {
    let mut headers = EncodedHeaders::new();
    headers.copy_from(view.headers);
    let root = error.source().map_or_else(|| error.to_string(), ToString::to_string);
    let facts: [(&str, String); 6] = [
        ("__streams.errors.exception", root),
        ("__streams.errors.stacktrace", format!("{error:?}")),
        ("__streams.errors.message", error.to_string()),
        ("__streams.errors.topic", partition.topic.to_string()),
        ("__streams.errors.partition", partition.partition.to_string()),
        ("__streams.errors.offset", view.offset.to_string()),
    ];
    for (name, fact) in facts {
        headers.push(name, Some(fact.as_bytes()));
    }
    Ok(headers)
}

#[cold]
fn stopping(
    partition: &TopicPartition,
    offset: i64,
    error: BoxError,
    (stage, node): (Stage, Option<String>),
) -> Error {
    let what = match stage {
        Stage::Decode => "a record cannot be decoded",
        Stage::Process => "a record cannot be processed",
        Stage::Produce => "a result of a record cannot be produced",
    };
    let message = format!(
        "{what}, and the error policy is to fail; mend it, or set the policy to \
         skip or dead-letter"
    );
    let failed = Error::new(ErrorKind::Data, message).caused_by_record(error);
    let failed = failed.at_position(partition.clone(), offset);
    match node {
        Some(node) => failed.at_node(node),
        None => failed,
    }
}

/// The policies of an application, and of its topics where they have their own.
#[derive(Clone, Debug)]
pub(crate) struct Policies {
    pub(crate) decode: ErrorPolicy,
    pub(crate) process: ErrorPolicy,
    pub(crate) produce: ErrorPolicy,
    /// Those of topics that are read.
    pub(crate) read: Vec<(Arc<str>, ErrorPolicy)>,
    /// Those of topics that are written, by sink.
    pub(crate) written: Vec<(NodeId, ErrorPolicy)>,
}

impl Policies {
    /// The policy for records of this topic that cannot be decoded.
    pub(crate) fn decoding(&self, topic: &str) -> &ErrorPolicy {
        self.own(topic).unwrap_or(&self.decode)
    }

    /// The policy for what cannot be done with a record of this topic.
    pub(crate) fn processing(&self, topic: &str) -> &ErrorPolicy {
        self.own(topic).unwrap_or(&self.process)
    }

    /// The policy for results that this sink cannot write.
    pub(crate) fn producing(&self, sink: NodeId) -> &ErrorPolicy {
        let own = self.written.iter().find(|(node, _)| *node == sink);
        own.map_or(&self.produce, |(_, policy)| policy)
    }

    fn own(&self, topic: &str) -> Option<&ErrorPolicy> {
        self.read.iter().find(|(name, _)| &**name == topic).map(|(_, policy)| policy)
    }
}
