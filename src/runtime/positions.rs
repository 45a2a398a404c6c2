//! Where does a task begin to read? At the committed offsets, or where a topic's reset says.
//!
//! # Invariants
//!
//! - A position lay within what the log held when it was chosen.
//! - Offsets are passed over only where a source topic's reset says so, and never silently.
//! - Records of a repartition topic are never passed over: what they stand for is committed.

use crate::error::{Error, ErrorKind, Result};
use crate::log::{CommittedOffset, LogError, OffsetSpec, PartitionId, TopicPartition};
use crate::runtime::answers::{Answers, Wanted};
use crate::runtime::command::OpenedInput;
use crate::task::environment::TaskEnvironment;
use crate::task::metadata::CommitMetadata;
use crate::time::Timestamp;
use crate::topic::OffsetReset;
use crate::topology::TaskId;

/// What a partition holds.
#[derive(Clone, Copy, Debug)]
struct Range {
    earliest: i64,
    end: i64,
}

impl Range {
    fn contains(self, offset: i64) -> bool {
        (self.earliest..=self.end).contains(&offset)
    }
}

/// Chooses positions.
pub(crate) struct Positions<'a> {
    pub(crate) environment: &'a TaskEnvironment,
    pub(crate) answers: &'a Answers,
    pub(crate) now: Timestamp,
}

/// The offsets that tell where a task begins, as far as that can be said beforehand.
pub(crate) fn wanted(
    environment: &TaskEnvironment,
    task: TaskId,
    committed: &[Option<CommittedOffset>],
    now: Timestamp,
) -> Result<Vec<Wanted>> {
    let ids = environment.catalog.ids();
    let of_input = |((_, partition, reset), known): ((_, TopicPartition, _), &Option<_>)| {
        let id = ids.id(&partition);
        match known {
            Some(_) => limits(id).to_vec(),
            None => place_of(reset, now).map(|place| (id, place)).into_iter().collect(),
        }
    };
    Ok(environment.inputs(task)?.into_iter().zip(committed).flat_map(of_input).collect())
}

/// The offsets between which a partition holds records.
fn limits(id: PartitionId) -> [Wanted; 2] {
    [OffsetSpec::Earliest, OffsetSpec::End].map(|spec| (id, spec))
}

/// Where a reset leads; nowhere if it is `None`.
fn place_of(reset: OffsetReset, now: Timestamp) -> Option<OffsetSpec> {
    match reset {
        OffsetReset::Earliest => Some(OffsetSpec::Earliest),
        OffsetReset::Latest => Some(OffsetSpec::End),
        OffsetReset::ByDuration(ago) => Some(OffsetSpec::AtTime(now - ago)),
        OffsetReset::None => None,
    }
}

impl Positions<'_> {
    /// Where each input of a task begins; `committed` is in the order of the task's inputs.
    ///
    /// # Errors
    ///
    /// The log does not answer, or the reset of a topic that needs one is `None`, or records of a
    /// repartition topic are gone.
    pub(crate) fn inputs(
        &self,
        task: TaskId,
        committed: &[Option<CommittedOffset>],
    ) -> Result<Vec<OpenedInput>> {
        let inputs = self.environment.inputs(task)?;
        let mut ranges = self.ranges(committed.iter().flatten())?.into_iter();
        let inputs = inputs.into_iter().zip(committed).map(|((_, partition, reset), known)| {
            let Some(known) = known else {
                let position = self.reset_position(&partition, reset, None)?;
                let metadata = CommitMetadata::default();
                return Ok(OpenedInput { partition, position, metadata, lost: None });
            };
            let range = ranges.next().expect("each committed offset has a range");
            self.input(partition, reset, known, range)
        });
        inputs.collect()
    }

    fn ranges<'a>(&self, known: impl Iterator<Item = &'a CommittedOffset>) -> Result<Vec<Range>> {
        let wanted: Vec<_> = known.flat_map(|known| limits(known.partition)).collect();
        let offsets = self.answers.offsets(&wanted).map_err(unanswered)?;
        let range = |limits: &[i64]| Range { earliest: limits[0], end: limits[1] };
        Ok(offsets.chunks_exact(2).map(range).collect())
    }

    fn input(
        &self,
        partition: TopicPartition,
        reset: OffsetReset,
        known: &CommittedOffset,
        range: Range,
    ) -> Result<OpenedInput> {
        let metadata = CommitMetadata::decode(&known.metadata);
        let committed = known.offset;
        if range.contains(committed) {
            return Ok(OpenedInput { partition, position: committed, metadata, lost: None });
        }
        if self.environment.is_repartition(&partition.topic) {
            return Err(repartition_lost(&partition, committed, range));
        }
        let position = self.reset_position(&partition, reset, Some((committed, range)))?;
        let lost = position.saturating_sub(committed).max(0) as u64;
        let Range { earliest, end } = range;
        tracing::warn!(
            %partition, committed, earliest, end, position, lost, ?reset,
            "the committed offset is out of range: reading goes on elsewhere, records are lost"
        );
        Ok(OpenedInput { partition, position, metadata, lost: Some(lost) })
    }

    /// Where reading begins if nothing is committed, or what is lies out of range.
    fn reset_position(
        &self,
        partition: &TopicPartition,
        reset: OffsetReset,
        lost: Option<(i64, Range)>,
    ) -> Result<i64> {
        let Some(place) = place_of(reset, self.now) else { return Err(nowhere(partition, lost)) };
        let id = self.environment.catalog.ids().id(partition);
        let offsets = self.answers.offsets(&[(id, place)]).map_err(unanswered)?;
        Ok(offsets.first().copied().expect("one offset is asked for and one is answered"))
    }
}

#[cold]
fn nowhere(partition: &TopicPartition, lost: Option<(i64, Range)>) -> Error {
    let why = match lost {
        None => format!("nothing is committed for `{partition}`"),
        Some((committed, range)) => out_of_range(partition, committed, range),
    };
    let message = format!(
        "{why}, and its offset reset is `None`; set the group's offset of the partition, or choose \
         another reset"
    );
    Error::new(ErrorKind::Fatal, message)
}

#[cold]
fn repartition_lost(partition: &TopicPartition, committed: i64, range: Range) -> Error {
    let why = out_of_range(partition, committed, range);
    let message = format!(
        "{why}: records between two steps of the pipeline are lost; keep `retention.ms` of the \
         topic at -1 and leave its deletion to the application, then reset the application"
    );
    Error::new(ErrorKind::Fatal, message)
}

fn out_of_range(partition: &TopicPartition, committed: i64, range: Range) -> String {
    let Range { earliest, end } = range;
    format!(
        "offset {committed} is committed for `{partition}`, but the log holds {earliest} to {end}"
    )
}

/// An error of a log that has not answered for a task. What it did not answer for, the cause says.
#[cold]
pub(crate) fn unanswered(error: LogError) -> Error {
    let (kind, message) = match &error {
        LogError::Unavailable(_) => {
            let message = "the log does not answer for a task; see that its brokers are reachable";
            (ErrorKind::Retriable, message)
        }
        LogError::Unstable => (ErrorKind::Retriable, "the log cannot answer for a task yet"),
        LogError::NotAuthorised(_) => {
            let message = "this principal may not see what a task needs; grant it DESCRIBE and \
                           READ on the pipeline's topics and READ on the application's group";
            (ErrorKind::Fatal, message)
        }
        LogError::Fatal(_) => {
            let message = "the log cannot answer for a task; if a topic does not exist any more, \
                           create it again or reset the application";
            (ErrorKind::Fatal, message)
        }
    };
    Error::new(kind, message).caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unanswered_question_names_what_it_was_about_and_what_to_do() {
        let cases = [
            (
                LogError::NotAuthorised("in-0: refused".into()),
                ErrorKind::Fatal,
                "grant it DESCRIBE",
            ),
            (LogError::Fatal("in-0: unknown".into()), ErrorKind::Fatal, "create it again"),
            (LogError::Unavailable("in-0: time".into()), ErrorKind::Retriable, "are reachable"),
            (LogError::Unstable, ErrorKind::Retriable, "a transaction is still open"),
        ];
        for (error, kind, fix) in cases {
            let cause = error.to_string();
            let error = unanswered(error);
            let text = error.to_string();
            assert_eq!(error.kind(), kind, "{text}");
            assert!(text.contains(fix) && text.contains(&cause), "{text}");
        }
    }
}
