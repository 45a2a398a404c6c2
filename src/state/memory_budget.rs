//! How much memory may state take? One budget for a process, and its shares.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::config::Config;

const MIB: usize = 1024 * 1024;
/// What is assumed where neither the control group nor the machine says anything.
const MACHINE_BYTES_GUESS: usize = 2 * 1024 * MIB;
/// The least that works at all.
const BUDGET_BYTES_MIN: usize = 16 * MIB;

/// One budget for caches of live values, what restores collect, RocksDB's blocks and its write
/// buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryBudget {
    total_bytes: usize,
}

impl MemoryBudget {
    /// A budget of that many bytes, at least 16 MiB.
    pub fn new(total_bytes: usize) -> Self {
        Self { total_bytes: total_bytes.max(BUDGET_BYTES_MIN) }
    }

    /// The budget that the settings give.
    pub(crate) fn of(config: &Config) -> Self {
        config.memory_bytes.map_or_else(Self::default, Self::new)
    }

    /// All of it.
    pub const fn total_bytes(self) -> usize {
        self.total_bytes
    }

    /// The share of live values, over all stores of the process. A store that is being restored
    /// has its part of it, too.
    pub const fn live_bytes(self) -> usize {
        self.total_bytes / 2
    }

    /// The share of RocksDB: its block cache, to which its write buffers are charged.
    pub const fn disk_cache_bytes(self) -> usize {
        self.total_bytes / 2
    }

    /// What write buffers may take of the share of RocksDB.
    pub const fn write_buffer_bytes(self) -> usize {
        self.disk_cache_bytes() / 2
    }

    /// Uncommitted changes of all workers at which a commit is due. While one is under way, as
    /// many again may gather; all of them stay in memory.
    pub(crate) fn commit_bytes(self, config: &Config) -> usize {
        config.uncommitted_bytes_max.min(self.live_bytes() / 8)
    }

    /// What uncommitted changes leave of the share of live values.
    pub(crate) fn cached_bytes(self, config: &Config) -> usize {
        self.live_bytes() - 2 * self.commit_bytes(config)
    }
}

/// A share of the budget, divided equally among those that hold a part of it: the open stores, or
/// the workers. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct DividedBytes(Arc<Whole>);

#[derive(Debug)]
struct Whole {
    bytes: usize,
    holders: AtomicUsize,
}

/// What one holder may take; less when another comes.
#[derive(Debug)]
pub(crate) struct Part(Arc<Whole>);

/// How many bytes something may take.
#[derive(Clone, Debug)]
pub(crate) enum BytesLimit {
    /// That many.
    #[cfg(test)]
    Fixed(usize),
    /// As many as the other holders leave.
    Part(Arc<Part>),
}

impl DividedBytes {
    pub(crate) fn new(bytes: usize) -> Self {
        Self(Arc::new(Whole { bytes, holders: AtomicUsize::new(0) }))
    }

    /// The part of one more holder, until all clones of it are dropped.
    pub(crate) fn part(&self) -> BytesLimit {
        self.0.holders.fetch_add(1, Ordering::Relaxed);
        BytesLimit::Part(Arc::new(Part(Arc::clone(&self.0))))
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.0.holders.fetch_sub(1, Ordering::Relaxed);
    }
}

impl BytesLimit {
    pub(crate) fn bytes(&self) -> usize {
        match self {
            #[cfg(test)]
            Self::Fixed(bytes) => *bytes,
            Self::Part(part) => part.0.bytes / part.0.holders.load(Ordering::Relaxed).max(1),
        }
    }
}

/// A quarter of what the control group or else the machine allows.
impl Default for MemoryBudget {
    fn default() -> Self {
        Self::new(allowed_bytes(Path::new("/")) / 4)
    }
}

/// The memory that this process may use; `root` is `/` but in tests.
fn allowed_bytes(root: &Path) -> usize {
    let machine = fs::read_to_string(root.join("proc/meminfo"));
    let machine = machine.ok().and_then(|text| machine_bytes(&text)).unwrap_or(MACHINE_BYTES_GUESS);
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let limits = groups.lines().flat_map(limit_files);
    let limits = limits.filter_map(|file| fs::read_to_string(root.join(file)).ok());
    limits.filter_map(|text| text.trim().parse().ok()).fold(machine, usize::min)
}

fn machine_bytes(meminfo: &str) -> Option<usize> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: usize = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// Where the limits of a line of `/proc/self/cgroup` stand: those of its group and of all groups
/// around it. Inside a container the group is often mounted as the root.
fn limit_files(line: &str) -> Vec<String> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (Some(controllers), Some(group)) = (parts.next(), parts.next()) else { return Vec::new() };
    let (mount, file) = match controllers {
        "" => ("sys/fs/cgroup", "memory.max"),
        _ if controllers.split(',').any(|controller| controller == "memory") => {
            ("sys/fs/cgroup/memory", "memory.limit_in_bytes")
        }
        _ => return Vec::new(),
    };
    let groups = Path::new(group.trim_start_matches('/')).ancestors();
    groups.map(|group| format!("{mount}/{}/{file}", group.display())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(files: &[(&str, &str)]) -> usize {
        let root = crate::state::tests::ScratchDir::new();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        allowed_bytes(root.path())
    }

    #[test]
    fn holders_share_what_is_there() {
        let memory = DividedBytes::new(1_200);
        let first = memory.part();
        assert_eq!(first.bytes(), 1_200);
        let second = memory.part();
        let clone = second.clone();
        assert_eq!((first.bytes(), second.bytes()), (600, 600));
        drop(second);
        assert_eq!(first.bytes(), 600);
        drop(clone);
        assert_eq!(first.bytes(), 1_200);
    }

    #[test]
    fn smallest_limit_around_the_process_counts() {
        let machine = ("proc/meminfo", "MemTotal:       8192 kB\nMemFree: 1 kB\n");
        assert_eq!(allowed(&[machine]), 8192 * 1024);
        let group = ("proc/self/cgroup", "0::/app/worker\n");
        let own = ("sys/fs/cgroup/app/worker/memory.max", "max\n");
        let outer = ("sys/fs/cgroup/app/memory.max", "4096\n");
        assert_eq!(allowed(&[machine, group, own, outer]), 4096);
        let group = ("proc/self/cgroup", "3:cpu:/a\n4:memory:/a\n");
        let limit = ("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "5000\n");
        assert_eq!(allowed(&[machine, group, limit]), 5000);
        let unlimited = ("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(allowed(&[machine, group, unlimited]), 8192 * 1024);
        assert_eq!(allowed(&[]), MACHINE_BYTES_GUESS);
    }
}
