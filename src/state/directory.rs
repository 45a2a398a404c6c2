//! Where does local state lie, and whose is it?
//!
//! ```text
//! <state_dir>/<application>/      mode 0700
//!   lock                          held by the process that uses the directory; never deleted
//!   stamp                         application, cluster, process id, format, stores, kinds
//!   tasks/0_3/                    the stores of one task
//!   damaged/0_3/                  the last files of a task that could not be read
//! ```
//!
//! # Invariants
//!
//! - One process at a time: the lock is the kernel's, so it ends with the process, however it ends.
//! - A directory of another user, another application or another cluster is never written to.
//! - Nothing outside of the directory is deleted, and within it only what lies below `tasks` and
//!   `damaged`.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use rustix::fs::{FlockOperation, flock};

use crate::config::is_topic_name;
use crate::state::backend::MemoryBackend;
use crate::state::{Backend, MemoryBudget, StateError};
use crate::time::{Timestamp, millis};
use crate::topology::StoreSpec;

/// The version of everything below the directory.
const FORMAT: &str = "1";
/// Headings of the stamp: the stores that lie here, and the kinds of all of them.
const STORES: &str = "stores: ";
const KINDS: &str = "kinds: ";
const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
/// Mode bits by which others than the owner could change state.
const FOREIGN_WRITE: u32 = 0o022;

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
}

struct Disk {
    /// The application's directory.
    path: PathBuf,
    /// Held for as long as the directory is used.
    _lock: File,
    #[cfg(feature = "rocksdb")]
    caches: crate::state::backend::SharedCaches,
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
        Self::open_with(root, application_id, cluster_id, MemoryBudget::default())
    }

    /// As [`open`](Self::open), with a memory budget.
    pub fn open_with(
        root: &Path,
        application_id: &str,
        cluster_id: &str,
        budget: MemoryBudget,
    ) -> Result<Self, StateError> {
        assert!(is_topic_name(application_id), "settings have been checked");
        fs::create_dir_all(root).map_err(|error| at(root, error))?;
        let path = root.join(application_id);
        own_directory(&path)?;
        let lock = lock(&path)?;
        let process_id = stamp(&path, application_id, cluster_id)?;
        own_directory(&path.join("tasks"))?;
        let _ = budget;
        let disk = Disk {
            path,
            _lock: lock,
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
        self.disk().map_or(Ok(()), |disk| disk.set_aside(task))
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
        let disk: Box<dyn Backend> = Box::new(opened?);
        if stores.iter().all(|spec| !spec.in_memory) {
            return Ok(disk);
        }
        let in_memory = stores.iter().map(|spec| spec.in_memory).collect();
        Ok(Box::new(CompositeBackend::new(disk, in_memory)))
    }
}

#[cfg(not(feature = "rocksdb"))]
impl Disk {
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "as with a disk backend")]
    fn open(&self, _task: &str, _stores: &[StoreSpec]) -> Result<Box<dyn Backend>, StateError> {
        Ok(Box::new(MemoryBackend::new()))
    }
}

/// Makes a directory this user's alone, or finds that it is.
fn own_directory(path: &Path) -> Result<(), StateError> {
    match DirBuilder::new().mode(DIRECTORY_MODE).create(path) {
        Ok(()) => return set_mode(path, DIRECTORY_MODE),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(at(path, error)),
    }
    let metadata = fs::symlink_metadata(path).map_err(|error| at(path, error))?;
    let refused = |why: &str| {
        let path = path.display();
        Err(StateError::Occupied(format!("the state directory `{path}` {why}")))
    };
    if metadata.is_symlink() {
        return refused("is a symbolic link; name the directory that it points to");
    }
    if !metadata.is_dir() {
        return refused("is no directory");
    }
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return refused("belongs to another user; choose another `state_dir`");
    }
    if metadata.mode() & FOREIGN_WRITE != 0 {
        return refused("can be written to by others; take that right from them (`chmod 700`)");
    }
    set_mode(path, DIRECTORY_MODE)
}

/// Takes the lock of an application's directory.
fn lock(path: &Path) -> Result<File, StateError> {
    let file = path.join("lock");
    let lock = create_private(&file, false).map_err(|error| at(&file, error))?;
    flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|error| {
        if error == rustix::io::Errno::WOULDBLOCK {
            let path = path.display();
            StateError::Occupied(format!(
                "the state directory `{path}` is in use by another process; give each process of \
                 the application on this machine a `state_dir` of its own"
            ))
        } else {
            at(&file, io::Error::from(error))
        }
    })?;
    Ok(lock)
}

/// Checks the stamp of a directory, or writes it; returns the process id.
fn stamp(path: &Path, application: &str, cluster: &str) -> Result<String, StateError> {
    let file = path.join("stamp");
    let text = match fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return write_stamp(path, application, cluster).map_err(|error| at(&file, error));
        }
        Err(error) => return Err(at(&file, error)),
    };
    let field = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        value.ok_or_else(|| {
            let path = path.display();
            StateError::Corrupt(format!(
                "`{path}/stamp` says no {name}; delete `{path}`, and state is restored from the \
                 changelogs"
            ))
        })
    };
    for (name, expected) in [("format", FORMAT), ("application", application), ("cluster", cluster)]
    {
        let found = field(name)?;
        if found != expected {
            let path = path.display();
            return Err(StateError::Occupied(format!(
                "the state directory `{path}` is of {name} `{found}`, not of {name} `{expected}`; \
                 choose another `state_dir`, or delete it if that state is not needed any more"
            )));
        }
    }
    field("process").map(str::to_owned)
}

fn write_stamp(path: &Path, application: &str, cluster: &str) -> io::Result<String> {
    let process = random_id()?;
    let text = format!(
        "format: {FORMAT}\napplication: {application}\ncluster: {cluster}\nprocess: {process}\n"
    );
    replace_stamp(path, &text)?;
    Ok(process)
}

/// Whole or not at all, whenever the machine dies.
fn replace_stamp(path: &Path, text: &str) -> io::Result<()> {
    let draft = path.join("stamp.draft");
    let mut file = create_private(&draft, true)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&draft, path.join("stamp"))?;
    File::open(path)?.sync_all()
}

/// Creates, or opens, a file that only its owner may read.
fn create_private(path: &Path, truncate: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(truncate).mode(FILE_MODE);
    options.custom_flags(rustix::fs::OFlags::NOFOLLOW.bits() as i32);
    let file = options.open(path)?;
    file.set_permissions(fs::Permissions::from_mode(FILE_MODE))?;
    Ok(file)
}

fn set_mode(path: &Path, mode: u32) -> Result<(), StateError> {
    let set = fs::set_permissions(path, fs::Permissions::from_mode(mode));
    set.map_err(|error| at(path, error))
}

fn remove_all(path: &Path) -> Result<(), StateError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(at(path, error)),
        _ => Ok(()),
    }
}

/// 128 random bits as hexadecimal digits.
fn random_id() -> io::Result<String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}

#[cold]
fn at(path: &Path, error: impl Display) -> StateError {
    StateError::Io(format!("{}: {error}", path.display()))
}
