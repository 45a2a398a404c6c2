//! Which part of a changelog does a store lack?
//!
//! A store that holds something lacks what comes behind it. One that is empty lacks everything, but
//! for windows that have long expired: a day of them lies in a changelog whose store keeps minutes.
//! How far stream time had come is committed beside the offsets. A window's row is written with the
//! time of a record in that window, so none that is kept is older than its window's start, and the
//! log finds the first record that is as young.
//!
//! # Invariants
//!
//! - What is passed over is expired for every operator that has the store.
//! - A row of a session may be older than the session's end: none is passed over, and those that
//!   have expired are left out when they are loaded.

use crate::error::Result;
use crate::log::{CommittedOffset, OffsetSpec, PartitionId};
use crate::runtime::answers::{Answers, Wanted};
use crate::runtime::positions::unanswered;
use crate::state::{Backend, StoreIndex, StoreToRestore};
use crate::task::environment::TaskEnvironment;
use crate::task::metadata::{CommitMetadata, latest_node_times};
use crate::time::Timestamp;
use crate::topology::{StoreKind, StoreSpec, TaskId};

/// A store with a changelog.
pub(crate) struct Logged {
    index: StoreIndex,
    partition: PartitionId,
    spec: StoreSpec,
    /// Rows of places before this have expired.
    kept_since: Option<Timestamp>,
}

/// The stores of a task that have a changelog.
///
/// # Errors
///
/// The changelog's topic is not there.
pub(crate) fn logged_stores(
    environment: &TaskEnvironment,
    task: TaskId,
    committed: &[Option<CommittedOffset>],
) -> Result<Vec<Logged>> {
    let known: Vec<_> =
        committed.iter().flatten().map(|known| CommitMetadata::decode(&known.metadata)).collect();
    let times = latest_node_times(&known);
    let logged = environment.changelogs(task)?.into_iter().map(|(index, partition, spec)| {
        let time = environment.time_of_store(task, &spec.name, &times);
        let kept_since = time.and_then(|time| kept_since(spec.kind, time));
        Logged { index, partition, spec, kept_since }
    });
    Ok(logged.collect())
}

/// The offsets that tell which part of its changelog a store lacks.
pub(crate) fn wanted(logged: &[Logged]) -> Vec<Wanted> {
    logged.iter().flat_map(Logged::places).collect()
}

/// Each of a task's stores with the part of its changelog that it lacks. A store that does not fit
/// its changelog is emptied.
///
/// # Errors
///
/// The log does not answer, or a store cannot be read.
pub(crate) fn stores_to_restore(
    environment: &TaskEnvironment,
    logged: Vec<Logged>,
    answers: &Answers,
    backend: &mut dyn Backend,
) -> Result<Vec<(PartitionId, StoreToRestore)>> {
    let offsets = answers.offsets(&wanted(&logged)).map_err(unanswered)?;
    let stores = logged.into_iter().zip(offsets.chunks_exact(3)).map(|(store, places)| {
        let [earliest, needed, end] = [places[0], places[1], places[2]];
        let needed = needed.clamp(earliest, end.max(earliest));
        let start = start_offset(backend, &store, (earliest, needed, end))?;
        let Logged { index, partition, spec, kept_since } = store;
        let run_limit = environment.live_memory.part();
        Ok((partition, StoreToRestore { index, spec, start, end, kept_since, run_limit }))
    });
    stores.collect()
}

/// Since when rows are kept at this stream time, or for a little longer. The window that is open
/// began before now, by less than the retention, and older ones are kept for that long from there;
/// what a join keeps side by side are records, at their own times.
fn kept_since(kind: StoreKind, time: Timestamp) -> Option<Timestamp> {
    match kind {
        StoreKind::KeyValue => None,
        StoreKind::Window { retention, retain_duplicates: true }
        | StoreKind::Session { retention } => Some(time - retention),
        StoreKind::Window { retention, .. } => Some(time - retention.saturating_mul(2)),
    }
}

impl Logged {
    /// Where the changelog begins, where what is needed of it does, and where it ends.
    fn places(&self) -> [Wanted; 3] {
        let needed = match (self.spec.kind, self.kept_since) {
            (StoreKind::Window { .. }, Some(since)) if since > Timestamp::ZERO => {
                OffsetSpec::AtTime(since)
            }
            _ => OffsetSpec::Earliest,
        };
        [OffsetSpec::Earliest, needed, OffsetSpec::End].map(|place| (self.partition, place))
    }
}

/// Where restoring a store begins: behind what it holds, if that fits the changelog.
fn start_offset(
    backend: &mut dyn Backend,
    store: &Logged,
    (earliest, needed, end): (i64, i64, i64),
) -> Result<i64> {
    let Some(held) = backend.changelog_offset(store.index)? else { return Ok(needed) };
    if (earliest..=end).contains(&held) {
        return Ok(held);
    }
    tracing::warn!(
        store = &*store.spec.name,
        held,
        earliest,
        end,
        "a local store does not fit its changelog: it is dropped and restored whole"
    );
    backend.clear(store.index)?;
    Ok(needed)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_window_that_is_open_or_kept_is_needed() {
        const MINUTE: Duration = Duration::from_secs(60);
        let at = |minutes: u32| Timestamp::ZERO + MINUTE * minutes;
        let windows = StoreKind::Window { retention: 2 * MINUTE, retain_duplicates: false };
        // One that is open may have begun just after 10, and all are kept that began after 8.
        assert_eq!(kept_since(windows, at(12)), Some(at(8)));
        let records = StoreKind::Window { retention: 2 * MINUTE, retain_duplicates: true };
        assert_eq!(kept_since(records, at(12)), Some(at(10)));
        let sessions = StoreKind::Session { retention: 2 * MINUTE };
        assert_eq!(kept_since(sessions, at(12)), Some(at(10)));
        assert_eq!(kept_since(StoreKind::KeyValue, at(12)), None);
    }
}
