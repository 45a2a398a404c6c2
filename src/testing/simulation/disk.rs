//! Where does a simulated process keep its stores? On a disk that loses what was not flushed.
//!
//! # Invariants
//!
//! - What a store holds never reaches beyond what its changelog has for good: nothing uncommitted
//!   is on disk. Each write is checked.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use super::failure::{Check, Violation};
use super::fault::StateLoss;
use super::port::Port;
use super::random::Random;
use crate::log::TopicPartition;
use crate::log::memory::MemoryLog;
use crate::state::backend::MemoryBackend;
use crate::state::{
    Backend, ByteRange, Direction, OpenStores, StateError, StoreIndex, StoreSize, WriteBatch,
};
use crate::time::Timestamp;

/// The rows of a store by key.
pub(super) type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// A row as a backend keeps it.
pub(super) fn row(timestamp: Timestamp, value: &[u8]) -> Vec<u8> {
    let mut row = timestamp.as_millis().to_be_bytes().to_vec();
    row.extend_from_slice(value);
    row
}

/// Names the changelog partition of a task's store.
pub(super) type ChangelogOf = dyn Fn(&str, StoreIndex) -> Option<TopicPartition> + Send + Sync;

/// The local state of one process, over its restarts.
pub(super) struct Disk {
    pub(super) log: MemoryLog,
    pub(super) port: Arc<Port>,
    pub(super) changelog_of: Arc<ChangelogOf>,
    /// What has been found wrong, for whoever runs the simulation.
    pub(super) violations: Arc<Mutex<Vec<Violation>>>,
    tasks: Mutex<BTreeMap<String, Files>>,
}

/// The files of one task.
pub(super) struct Files {
    pub(super) now: MemoryBackend,
    pub(super) flushed: MemoryBackend,
    /// Whether no row can be read any more.
    is_damaged: bool,
    random: Random,
}

impl Files {
    /// Takes some stores back to the last flush, each with its offset.
    fn tear(&mut self) {
        let stores = self.now.stores();
        for store in stores {
            if self.random.one_in(2) {
                self.now.copy_store(store, &self.flushed);
            }
        }
        self.flushed = self.now.clone();
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Disk")
    }
}

impl Disk {
    pub(super) fn new(
        log: MemoryLog,
        port: Arc<Port>,
        changelog_of: Arc<ChangelogOf>,
        violations: Arc<Mutex<Vec<Violation>>>,
    ) -> Arc<Self> {
        Arc::new(Self { log, port, changelog_of, violations, tasks: Mutex::default() })
    }

    /// What a kill does to the files.
    pub(super) fn lose(&self, loss: StateLoss) {
        let mut tasks = self.tasks.lock().expect("no panic while held");
        match loss {
            StateLoss::Nothing => {}
            StateLoss::LastFlush => {
                tasks.values_mut().for_each(|files| files.now = files.flushed.clone());
            }
            StateLoss::Torn => tasks.values_mut().for_each(Files::tear),
            StateLoss::Everything => tasks.clear(),
        }
    }

    /// The rows of a task's store, as they lie there.
    pub(super) fn rows(&self, task: &str, store: StoreIndex) -> Rows {
        let tasks = self.tasks.lock().expect("no panic while held");
        let mut rows = Rows::new();
        if let Some(files) = tasks.get(task) {
            let all = (std::ops::Bound::Unbounded, std::ops::Bound::Unbounded);
            let scanned = files.now.scan(store, all, Direction::Ascending, &mut |key, value| {
                rows.insert(key.to_vec(), value.to_vec());
                ControlFlow::Continue(())
            });
            scanned.expect("memory does not fail");
        }
        rows
    }

    /// The changelog offset up to which a task's store is said to hold everything.
    pub(super) fn offset(&self, task: &str, store: StoreIndex) -> Option<i64> {
        let tasks = self.tasks.lock().expect("no panic while held");
        let offset = tasks.get(task)?.now.changelog_offset(store);
        offset.expect("memory does not fail")
    }

    /// The tasks of which there are files.
    pub(super) fn tasks(&self) -> Vec<String> {
        self.tasks.lock().expect("no panic while held").keys().cloned().collect()
    }

    pub(super) fn with<R>(&self, task: &str, act: impl FnOnce(&mut Files) -> R) -> R {
        let mut tasks = self.tasks.lock().expect("no panic while held");
        let files = tasks.entry(task.to_owned()).or_insert_with(|| Files {
            now: MemoryBackend::new(),
            flushed: MemoryBackend::new(),
            is_damaged: false,
            random: Random::new(task.bytes().map(u64::from).sum()),
        });
        act(files)
    }

    fn check(&self, task: &str, store: StoreIndex, offset: i64) {
        let Some(changelog) = (self.changelog_of)(task, store) else { return };
        let stable = self.log.stable_end(&changelog);
        if offset > stable {
            let text = format!(
                "store {} of task {task} was written up to offset {offset} of `{changelog}`, which \
                 is permanent up to {stable} only",
                store.0
            );
            let violation = Check::Disk.violated(text);
            self.violations.lock().expect("no panic while held").push(violation);
        }
    }
}

impl OpenStores for Arc<Disk> {
    fn open_task(&self, task: &str) -> Result<Box<dyn Backend>, StateError> {
        if self.port.disk_fails() {
            return Err(StateError::Io("a simulated failure to open".to_owned()));
        }
        let (disk, task) = (Arc::clone(self), task.to_owned());
        Ok(Box::new(Opened { disk, task, is_damaged: Cell::new(false) }))
    }

    fn set_aside_task(&self, task: &str) -> Result<(), StateError> {
        self.tasks.lock().expect("no panic while held").remove(task);
        Ok(())
    }
}

/// The opened stores of one task.
struct Opened {
    disk: Arc<Disk>,
    task: String,
    /// Whether damage was met here.
    is_damaged: Cell<bool>,
}

impl Opened {
    fn may_read(&self) -> Result<(), StateError> {
        if self.disk.port.read_fails() {
            return Err(StateError::Io("a simulated failure to read".to_owned()));
        }
        let damages = self.disk.port.damages();
        let is_damaged = self.disk.with(&self.task, |files| {
            files.is_damaged |= damages;
            files.is_damaged
        });
        if is_damaged {
            self.distrust();
            return Err(StateError::Corrupt("a simulated damage".to_owned()));
        }
        Ok(())
    }

    fn may_fail(&self, what: &str) -> Result<(), StateError> {
        if self.disk.port.disk_fails() {
            return Err(StateError::Io(format!("a simulated failure to {what}")));
        }
        Ok(())
    }
}

impl Backend for Opened {
    fn get(&self, store: StoreIndex, key: &[u8], value: &mut Vec<u8>) -> Result<bool, StateError> {
        self.may_read()?;
        self.disk.with(&self.task, |files| files.now.get(store, key, value))
    }

    fn scan(
        &self,
        store: StoreIndex,
        range: ByteRange<'_>,
        direction: Direction,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StateError> {
        self.may_read()?;
        // A visitor may look into the same store, so it is not shown the rows under the lock.
        let mut rows = Vec::new();
        self.disk.with(&self.task, |files| {
            files.now.scan(store, range, direction, &mut |key, value| {
                rows.push((key.to_vec(), value.to_vec()));
                ControlFlow::Continue(())
            })
        })?;
        let _ = rows.iter().try_for_each(|(key, value)| visit(key, value));
        Ok(())
    }

    fn write(&mut self, batch: &WriteBatch) -> Result<(), StateError> {
        self.may_fail("write")?;
        for (store, offset) in batch.offsets() {
            self.disk.check(&self.task, *store, *offset);
        }
        self.disk.with(&self.task, |files| {
            files.now.write(batch)?;
            if files.random.one_in(3) {
                files.flushed = files.now.clone();
            }
            Ok(())
        })
    }

    fn changelog_offset(&self, store: StoreIndex) -> Result<Option<i64>, StateError> {
        self.disk.with(&self.task, |files| files.now.changelog_offset(store))
    }

    fn distrust(&self) {
        self.is_damaged.set(true);
    }

    fn is_damaged(&self) -> bool {
        self.is_damaged.get()
    }

    fn size(&self, store: StoreIndex) -> StoreSize {
        self.disk.with(&self.task, |files| files.now.size(store))
    }

    fn load(
        &mut self,
        store: StoreIndex,
        rows: &mut dyn Iterator<Item = (&[u8], Option<&[u8]>)>,
        offset: i64,
    ) -> Result<(), StateError> {
        self.may_fail("load")?;
        self.disk.check(&self.task, store, offset);
        self.disk.with(&self.task, |files| files.now.load(store, rows, offset))
    }

    fn clear(&mut self, store: StoreIndex) -> Result<(), StateError> {
        self.may_fail("clear")?;
        self.disk.with(&self.task, |files| files.now.clear(store))
    }

    fn close(self: Box<Self>) -> Result<(), StateError> {
        self.may_fail("close")?;
        self.disk.with(&self.task, |files| files.flushed = files.now.clone());
        Ok(())
    }
}
