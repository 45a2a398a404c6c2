//! Where does local state lie, and whose is it?
//!
//! ```text
//! <state_dir>/<application>/      mode 0700
//!   lock                          held by the process that uses the directory; never deleted
//!   stamp                         application, cluster, process id, format, key, stores, kinds
//!   tasks/0_3/                    the stores of one task
//!   damaged/0_3/                  the last files of a task that could not be read
//! ```
//!
//! # Invariants
//!
//! - One process at a time: the lock is the kernel's, so it ends with the process, however it ends.
//! - A directory of another user, another application or another cluster, or sealed with another
//!   key, is never written to.
//! - Nothing outside of the directory is deleted, and within it only what lies below `tasks` and
//!   `damaged`.

mod private;
mod sealing;
mod stamp;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use private::{lock, own_directory};
use sealing::Sealing;
use stamp::{check_stamp, replace_stamp};

use crate::config::is_topic_name;
use crate::security::StateEncryption;
use crate::state::backend::MemoryBackend;
#[cfg(feature = "encryption")]
use crate::state::backend::{RowCipher, SealedBackend};
use crate::state::{Backend, MemoryBudget, StateError};
use crate::time::{Timestamp, millis};
use crate::topology::StoreSpec;

/// Headings of the stamp: the stores that lie here, and the kinds of all of them.
const STORES: &str = "stores: ";
const KINDS: &str = "kinds: ";
const RANDOM: &str = "/dev/urandom";

/// The local state of one process.
#[derive(Debug)]
pub struct StateDirectory {
    process_id: String,
    place: Place,
}

/// Where state lies.
#[derive(Debug)]
enum Place {
    Memory,
    Disk(Disk),
    /// Wherever a simulation keeps it.
    Simulated(std::sync::Arc<dyn OpenStores>),
}

/// Opens the stores of a task: what a simulation puts in the place of a disk.
pub(crate) trait OpenStores: std::fmt::Debug + Send + Sync {
    /// The stores of this task, as they were left.
    fn open_task(&self, task: &str) -> Result<Box<dyn Backend>, StateError>;

    /// As [`StateDirectory::set_aside_task`].
    fn set_aside_task(&self, task: &str) -> Result<(), StateError>;
}

struct Disk {
    /// The application's directory.
    path: PathBuf,
    /// Held for as long as the directory is used.
    _lock: File,
    #[cfg(feature = "rocksdb")]
    caches: crate::state::backend::SharedCaches,
    /// Seals what is written.
    #[cfg(feature = "encryption")]
    cipher: Option<std::sync::Arc<RowCipher>>,
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.path.fmt(f)
    }
}

impl StateDirectory {
    /// No directory: state lives in memory and is restored from changelogs.
    pub fn in_memory() -> Self {
        let process_id = random_id().unwrap_or_else(|_| "in-memory".to_owned());
        Self { process_id, place: Place::Memory }
    }

    /// A simulated disk, under the name that its process keeps over restarts.
    pub(crate) fn simulated(
        process_id: impl Into<String>,
        stores: std::sync::Arc<dyn OpenStores>,
    ) -> Self {
        Self { process_id: process_id.into(), place: Place::Simulated(stores) }
    }

    fn disk(&self) -> Option<&Disk> {
        match &self.place {
            Place::Disk(disk) => Some(disk),
            Place::Memory | Place::Simulated(_) => None,
        }
    }

    /// The directory of an application below `root`; created if it is not there. Memory is taken
    /// from the default budget.
    ///
    /// # Errors
    ///
    /// [`StateError::Occupied`] if another process uses it, or if it is not this user's, this
    /// application's or this cluster's; [`StateError::Io`] if the disk refuses.
    pub fn open(root: &Path, application_id: &str, cluster_id: &str) -> Result<Self, StateError> {
        Self::open_with(root, application_id, cluster_id, MemoryBudget::default(), None)
    }

    /// As [`open`](Self::open), with a memory budget, and sealed if there is a key.
    pub fn open_with(
        root: &Path,
        application_id: &str,
        cluster_id: &str,
        budget: MemoryBudget,
        encryption: Option<&StateEncryption>,
    ) -> Result<Self, StateError> {
        assert!(is_topic_name(application_id), "settings have been checked");
        fs::create_dir_all(root).map_err(|error| at(root, error))?;
        let path = root.join(application_id);
        own_directory(&path)?;
        let lock = lock(&path)?;
        let key = Sealing::of(encryption)?;
        let process_id = check_stamp(&path, application_id, cluster_id, &key.fingerprint)?;
        own_directory(&path.join("tasks"))?;
        let _ = budget;
        let disk = Disk {
            path,
            _lock: lock,
            #[cfg(feature = "encryption")]
            cipher: key.cipher,
            #[cfg(feature = "rocksdb")]
            caches: crate::state::backend::SharedCaches::new(budget),
        };
        Ok(Self { process_id, place: Place::Disk(disk) })
    }

    /// Memory that cached blocks and write buffers take.
    pub(crate) fn disk_cache_bytes(&self) -> usize {
        #[cfg(feature = "rocksdb")]
        if let Some(disk) = self.disk() {
            return disk.caches.bytes();
        }
        0
    }

    /// Names this process over its restarts.
    pub fn process_id(&self) -> &str {
        &self.process_id
    }

    /// The stores that the directory was last used for and that are not among these.
    ///
    /// # Errors
    ///
    /// The disk refuses.
    pub fn orphans(&self, stores: &[&str]) -> Result<Vec<String>, StateError> {
        let Some(disk) = self.disk() else { return Ok(Vec::new()) };
        let kept = disk.stamped(STORES)?;
        Ok(kept.into_iter().filter(|store| !stores.contains(&store.as_str())).collect())
    }

    /// The kind of each store that the application had when the directory was last used.
    ///
    /// # Errors
    ///
    /// The disk refuses.
    pub(crate) fn kinds(&self) -> Result<BTreeMap<String, String>, StateError> {
        let Some(disk) = self.disk() else { return Ok(BTreeMap::new()) };
        let pair = |word: String| Some(word.split_once(':')?).map(|(k, n)| (n.into(), k.into()));
        Ok(disk.stamped(KINDS)?.into_iter().filter_map(pair).collect())
    }

    /// Notes for which stores the directory is used from here on, and of which kind each store
    /// of the application is, wherever it lies.
    ///
    /// # Errors
    ///
    /// The disk refuses.
    pub(crate) fn adopt(&self, stores: &[&str], kinds: &[(&str, &str)]) -> Result<(), StateError> {
        let Some(disk) = self.disk() else { return Ok(()) };
        let stores: Vec<String> = stores.iter().map(|store| (*store).to_owned()).collect();
        let kinds: Vec<String> =
            kinds.iter().map(|(store, kind)| format!("{kind}:{store}")).collect();
        disk.stamp(&[(STORES, stores), (KINDS, kinds)])
    }

    /// The stores of one task. Files that cannot be read are set aside, and the stores begin empty.
    pub fn open_task(
        &self,
        task: &str,
        stores: &[StoreSpec],
    ) -> Result<Box<dyn Backend>, StateError> {
        match &self.place {
            Place::Disk(disk) if stores.iter().any(|spec| !spec.in_memory) => {
                disk.open(task, stores)
            }
            Place::Simulated(simulated) => simulated.open_task(task),
            Place::Memory | Place::Disk(_) => Ok(Box::new(MemoryBackend::new())),
        }
    }

    /// Sets the files of a closed task aside, so that it begins empty when it is opened again.
    pub fn set_aside_task(&self, task: &str) -> Result<(), StateError> {
        match &self.place {
            Place::Disk(disk) => disk.set_aside(task),
            Place::Simulated(simulated) => simulated.set_aside_task(task),
            Place::Memory => Ok(()),
        }
    }

    /// Deletes the files of a closed task.
    pub fn remove_task(&self, task: &str) -> Result<(), StateError> {
        self.disk().map_or(Ok(()), |disk| remove_all(&disk.task_path(task)))
    }

    /// Deletes the files of tasks that are not `owned` and were not written to for that long.
    /// Returns the tasks.
    pub fn remove_unused(
        &self,
        is_owned: impl Fn(&str) -> bool,
        unused_for: Duration,
        now: Timestamp,
    ) -> Result<Vec<String>, StateError> {
        let Some(disk) = self.disk() else { return Ok(Vec::new()) };
        let tasks = disk.path.join("tasks");
        let mut removed = Vec::new();
        for entry in fs::read_dir(&tasks).map_err(|error| at(&tasks, error))? {
            let entry = entry.map_err(|error| at(&tasks, error))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let written = entry.metadata().and_then(|metadata| metadata.modified());
            let written = written.map_err(|error| at(&entry.path(), error))?;
            let written = written.duration_since(UNIX_EPOCH).unwrap_or_default();
            let is_due = Timestamp::from_millis(millis(written)) + unused_for <= now;
            if is_due && !is_owned(&name) {
                remove_all(&entry.path())?;
                tracing::info!(
                    task = name,
                    "local state deleted: the task has long been elsewhere"
                );
                removed.push(name);
            }
        }
        Ok(removed)
    }
}

impl Disk {
    /// The words that the stamp has under a heading.
    fn stamped(&self, heading: &str) -> Result<Vec<String>, StateError> {
        let file = self.path.join("stamp");
        let text = fs::read_to_string(&file).map_err(|error| at(&file, error))?;
        let words = text.lines().find_map(|line| line.strip_prefix(heading));
        Ok(words.into_iter().flat_map(str::split_whitespace).map(str::to_owned).collect())
    }

    /// Puts these words under these headings.
    fn stamp(&self, entries: &[(&str, Vec<String>)]) -> Result<(), StateError> {
        let file = self.path.join("stamp");
        let text = fs::read_to_string(&file).map_err(|error| at(&file, error))?;
        let is_other = |line: &&str| entries.iter().all(|(name, _)| !line.starts_with(name));
        let mut lines: Vec<String> = text.lines().filter(is_other).map(str::to_owned).collect();
        lines.extend(entries.iter().map(|(name, words)| format!("{name}{}", words.join(" "))));
        let stamped = lines.join("\n") + "\n";
        if stamped == text {
            return Ok(());
        }
        replace_stamp(&self.path, &stamped).map_err(|error| at(&file, error))
    }

    fn task_path(&self, task: &str) -> PathBuf {
        assert!(is_topic_name(task), "a task's name is no path");
        self.path.join("tasks").join(task)
    }

    /// Only the last damage of a task is kept, so that a bad disk does not fill up with it.
    fn set_aside(&self, task: &str) -> Result<(), StateError> {
        let damaged = self.path.join("damaged");
        own_directory(&damaged)?;
        let target = damaged.join(task);
        remove_all(&target)?;
        let path = self.task_path(task);
        fs::rename(&path, target).map_err(|error| at(&path, error))
    }
}

#[cfg(feature = "rocksdb")]
impl Disk {
    fn open(&self, task: &str, stores: &[StoreSpec]) -> Result<Box<dyn Backend>, StateError> {
        use crate::state::backend::{CompositeBackend, RocksBackend};
        let path = self.task_path(task);
        own_directory(&path)?;
        let opened = match RocksBackend::open(&path, stores, &self.caches) {
            Err(StateError::Corrupt(why)) => {
                tracing::warn!(task, why, "local state is damaged: set aside and restored whole");
                self.set_aside(task)?;
                own_directory(&path)?;
                RocksBackend::open(&path, stores, &self.caches)
            }
            opened => opened,
        };
        let disk = self.sealed(task, stores, Box::new(opened?))?;
        if stores.iter().all(|spec| !spec.in_memory) {
            return Ok(disk);
        }
        let in_memory = stores.iter().map(|spec| spec.in_memory).collect();
        Ok(Box::new(CompositeBackend::new(disk, in_memory)))
    }
}

#[cfg(feature = "encryption")]
impl Disk {
    fn sealed(
        &self,
        task: &str,
        stores: &[StoreSpec],
        disk: Box<dyn Backend>,
    ) -> Result<Box<dyn Backend>, StateError> {
        let Some(cipher) = &self.cipher else { return Ok(disk) };
        let names = stores.iter().map(|spec| format!("{task} {} {}", spec.kind.word(), spec.name));
        let opening = random_bytes().map_err(|error| at(Path::new(RANDOM), error))?;
        let (cipher, names) = (std::sync::Arc::clone(cipher), names.collect());
        Ok(Box::new(SealedBackend::new(disk, cipher, names, opening)))
    }
}

#[cfg(all(feature = "rocksdb", not(feature = "encryption")))]
impl Disk {
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "as with a key")]
    fn sealed(
        &self,
        _task: &str,
        _stores: &[StoreSpec],
        disk: Box<dyn Backend>,
    ) -> Result<Box<dyn Backend>, StateError> {
        Ok(disk)
    }
}

#[cfg(not(feature = "rocksdb"))]
impl Disk {
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "as with a disk backend")]
    fn open(&self, _task: &str, _stores: &[StoreSpec]) -> Result<Box<dyn Backend>, StateError> {
        Ok(Box::new(MemoryBackend::new()))
    }
}

fn remove_all(path: &Path) -> Result<(), StateError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(at(path, error)),
        _ => Ok(()),
    }
}

/// 128 random bits as hexadecimal digits.
fn random_id() -> io::Result<String> {
    Ok(format!("{:032x}", u128::from_be_bytes(random_bytes()?)))
}

fn random_bytes() -> io::Result<[u8; 16]> {
    let mut bytes = [0; 16];
    File::open(RANDOM)?.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cold]
fn at(path: &Path, error: impl Display) -> StateError {
    StateError::Io(format!("{}: {error}", path.display()))
}
