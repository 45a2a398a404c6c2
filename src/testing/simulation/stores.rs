//! Do the stores hold what their changelogs say?
//!
//! At the end of a run, when every process has closed its tasks. The process that held a task last
//! has all of its rows; older files of others lie behind, each with what the changelog said up to
//! the offset that it has. Rows that have expired by then may lie there or not; and those that have
//! expired by the end of the changelog may be missing, or be there as they once were: a restore
//! leaves out what it knows to have expired by the last commit, before it has read so far.

use std::sync::Arc;

use super::disk::{Disk, Rows, row};
use super::failure::{Check, Violation};
use crate::config::Config;
use crate::log::memory::{MemoryLog, ReadRecord};
use crate::state::{StoreIndex, changelog_key, changelog_time};
use crate::task::environment::TaskEnvironment;
use crate::time::millis;
use crate::topology::{StoreKind, TaskId, changelog_topic};

/// Looks at every store with a changelog, on every disk.
pub(super) fn check(
    log: &MemoryLog,
    environment: &Arc<TaskEnvironment>,
    config: &Config,
    disks: &[&Disk],
) -> Result<(), Violation> {
    let tasks = environment.tasks().map_err(|error| Check::Stores.violated(error))?;
    for task in tasks {
        for (index, spec) in environment.stores(task).into_iter().enumerate() {
            if !spec.changelog {
                continue;
            }
            let mut changelog = log.read(&changelog_topic(&config.application_id, &spec.name));
            changelog.retain(|record| record.partition == task.partition);
            let store = Store { task, index: StoreIndex(index as u32), kind: spec.kind };
            let found = store.check(&changelog, disks, config.is_exactly_once());
            found.map_err(|whose| {
                Check::Stores.violated(format!(
                    "{whose} store `{}` of task {task} as its changelog has it",
                    spec.name
                ))
            })?;
        }
    }
    Ok(())
}

struct Store {
    task: TaskId,
    index: StoreIndex,
    kind: StoreKind,
}

impl Store {
    /// At least once, only the last owner's rows are what the changelog says: another may have
    /// written to it without being the owner any more.
    fn check(
        &self,
        changelog: &[ReadRecord],
        disks: &[&Disk],
        is_exactly_once: bool,
    ) -> Result<(), &'static str> {
        let wanted = self.wanted(changelog, i64::MAX);
        let last_floor = wanted.1;
        let task = self.task.to_string();
        let has = |disk: &Disk, (wanted, floor): &(Rows, i64)| {
            let found = self.found(disk.rows(&task, self.index), *floor);
            let is_needed =
                |key: &[u8]| changelog_time(self.kind, key).is_none_or(|of| of.0 >= last_floor);
            found.keys().all(|key| wanted.contains_key(key))
                && wanted.iter().all(|(key, row)| !is_needed(key) || found.get(key) == Some(row))
        };
        if !disks.iter().any(|disk| has(disk, &wanted)) {
            return Err("no process has");
        }
        let is_right = |disk: &&Disk| {
            let offset = disk.offset(&task, self.index).unwrap_or(0);
            has(disk, &self.wanted(changelog, offset))
        };
        if is_exactly_once && !disks.iter().all(is_right) {
            return Err("a process does not have");
        }
        Ok(())
    }

    /// The rows that the records before an offset make, under the changelog's keys, and the time
    /// below which rows have expired.
    fn wanted(&self, changelog: &[ReadRecord], offset: i64) -> (Rows, i64) {
        let (mut rows, mut floor) = (Rows::new(), i64::MIN);
        for record in changelog.iter().take_while(|record| record.offset < offset) {
            let key = record.key.clone().unwrap_or_default();
            if let Some((time, retention)) = changelog_time(self.kind, &key) {
                // A window expires by stream time, which is that of the latest record in it.
                let stream_time = time.max(record.timestamp.as_millis());
                floor = floor.max(stream_time.saturating_sub(millis(retention)) + 1);
            }
            match &record.value {
                Some(value) => rows.insert(key, row(record.timestamp, value)),
                None => rows.remove(&key),
            };
        }
        rows.retain(|key, _| changelog_time(self.kind, key).is_none_or(|(time, _)| time >= floor));
        (rows, floor)
    }

    /// The rows of a disk that have not expired, under the changelog's keys.
    fn found(&self, rows: Rows, floor: i64) -> Rows {
        let rows = rows.into_iter().filter_map(|(key, row)| {
            let (key, time) = changelog_key(self.kind, &key)?;
            time.is_none_or(|time| time >= floor).then_some((key, row))
        });
        rows.collect()
    }
}
