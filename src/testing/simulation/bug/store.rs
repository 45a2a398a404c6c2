//! How does a disk go wrong that has a bug?

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::{Bug, SeededBug};
use crate::log::{RecordView, TopicPartition};
use crate::state::{
    Backend, ByteRange, Direction, OpenStores, StateError, StoreIndex, StoreSize, WriteBatch,
};
use crate::testing::simulation::disk::{Disk, row};

/// No task of a simulation has more stores.
const STORES_MAX: u32 = 4;

pub(super) struct BuggyStores {
    pub(super) bug: Arc<Bug>,
}

impl fmt::Debug for BuggyStores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BuggyStores")
    }
}

impl OpenStores for BuggyStores {
    fn open_task(&self, task: &str) -> Result<Box<dyn Backend>, StateError> {
        let bug = Arc::clone(&self.bug);
        let mut task = task.to_owned();
        if bug.strikes(SeededBug::OtherTasksStores, 6) {
            let other =
                bug.disk.tasks().into_iter().find(|other| {
                    other != &task && other.split('_').next() == task.split('_').next()
                });
            task = other.unwrap_or(task);
        }
        let inner = bug.disk.open_task(&task)?;
        Ok(Box::new(BuggyBackend { inner, bug, task }))
    }

    fn set_aside_task(&self, task: &str) -> Result<(), StateError> {
        if self.bug.is(SeededBug::DamageKept) {
            return Ok(());
        }
        self.bug.disk.set_aside_task(task)
    }
}

/// The opened stores of one task.
struct BuggyBackend {
    inner: Box<dyn Backend>,
    bug: Arc<Bug>,
    task: String,
}

impl BuggyBackend {
    /// What is written in place of a batch.
    fn written(&self, batch: &WriteBatch) -> WriteBatch {
        let mut rows: Vec<_> = batch.rows().collect();
        let mut offsets = batch.offsets().to_vec();
        match self.bug.kind {
            SeededBug::WriteWithoutRows => rows.clear(),
            SeededBug::WriteIncomplete => drop(rows.pop()),
            SeededBug::DeletionsIgnored => rows.retain(|(_, _, value)| value.is_some()),
            SeededBug::StoreOffsetTooFar => offsets.iter_mut().for_each(|(_, at)| *at += 2),
            _ => {}
        }
        let mut written = WriteBatch::default();
        rows.into_iter().for_each(|(store, key, value)| written.put(store, key, value));
        offsets.into_iter().for_each(|(store, offset)| written.set_offset(store, offset));
        written
    }
}

impl Backend for BuggyBackend {
    fn get(&self, store: StoreIndex, key: &[u8], value: &mut Vec<u8>) -> Result<bool, StateError> {
        if self.bug.strikes(SeededBug::GetMisses, 16) {
            return Ok(false);
        }
        self.inner.get(store, key, value)
    }

    fn scan(
        &self,
        store: StoreIndex,
        range: ByteRange<'_>,
        direction: Direction,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StateError> {
        let direction = match (direction, self.bug.is(SeededBug::ScanReversed)) {
            (Direction::Ascending, true) => Direction::Descending,
            (Direction::Descending, true) => Direction::Ascending,
            (direction, false) => direction,
        };
        let mut rows: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        self.inner.scan(store, range, direction, &mut |key, value| {
            rows.push((key.to_vec(), value.to_vec()));
            ControlFlow::Continue(())
        })?;
        if self.bug.is(SeededBug::ScanTooShort) {
            rows.pop();
        }
        let _ = rows.iter().try_for_each(|(key, value)| visit(key, value));
        Ok(())
    }

    fn write(&mut self, batch: &WriteBatch) -> Result<(), StateError> {
        if self.bug.strikes(SeededBug::WriteSkipped, 8) {
            return Ok(());
        }
        self.inner.write(&self.written(batch))
    }

    fn changelog_offset(&self, store: StoreIndex) -> Result<Option<i64>, StateError> {
        self.inner.changelog_offset(store)
    }

    fn load(
        &mut self,
        store: StoreIndex,
        rows: &mut dyn Iterator<Item = (&[u8], Option<&[u8]>)>,
        offset: i64,
    ) -> Result<(), StateError> {
        let mut loaded: Vec<_> = rows.collect();
        match self.bug.kind {
            SeededBug::RestoreIncomplete => drop(loaded.pop()),
            SeededBug::RestoreKeepsDeleted => loaded.retain(|(_, value)| value.is_some()),
            _ => {}
        }
        self.inner.load(store, &mut loaded.into_iter(), offset)
    }

    fn clear(&mut self, store: StoreIndex) -> Result<(), StateError> {
        self.inner.clear(store)
    }

    fn distrust(&self) {
        self.inner.distrust();
    }

    fn is_damaged(&self) -> bool {
        self.inner.is_damaged()
    }

    fn size(&self, store: StoreIndex) -> StoreSize {
        self.inner.size(store)
    }

    fn close(self: Box<Self>) -> Result<(), StateError> {
        let Self { inner, bug, task } = *self;
        if bug.is(SeededBug::CloseForgets) {
            bug.disk.with(&task, |files| files.now = files.flushed.clone());
        }
        inner.close()
    }
}

/// Puts a record on the disk as soon as it is sent to its changelog.
pub(super) fn write_at_once(bug: &Bug, changelog: &TopicPartition, record: &RecordView<'_>) {
    let key = record.key.unwrap_or_default();
    let value = record.value.map(|value| row(record.timestamp, value));
    for task in bug.disk.tasks() {
        for store in (0..STORES_MAX).map(StoreIndex) {
            if (bug.disk.changelog_of)(&task, store).as_ref() != Some(changelog) {
                continue;
            }
            let mut batch = WriteBatch::default();
            batch.put(store, key, value.as_deref());
            let written = bug.disk.with(&task, |files| files.now.write(&batch));
            written.expect("memory does not fail");
        }
    }
}

/// Drops all rows, and keeps the offsets up to which they were there.
pub(super) fn lose_rows(disk: &Disk) {
    for task in disk.tasks() {
        disk.with(&task, |files| {
            let mut offsets = WriteBatch::default();
            for store in (0..STORES_MAX).map(StoreIndex) {
                let offset = files.now.changelog_offset(store).expect("memory does not fail");
                files.now.clear(store).expect("memory does not fail");
                if let Some(offset) = offset {
                    offsets.set_offset(store, offset);
                }
            }
            files.now.write(&offsets).expect("memory does not fail");
            files.flushed = files.now.clone();
        });
    }
}
