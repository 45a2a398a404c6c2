//! What does a twin do with little memory? A control group that it runs in.
//!
//! The limit holds for what its process takes and for the pages of the files that it reads and
//! writes, so that no side keeps its files in memory that it does not pay for. Groups are made by
//! root only; without them a workload that needs one is refused before anything runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// How a version of control groups is spoken to.
struct Version {
    root: &'static str,
    limit: &'static str,
    /// What keeps memory from being swapped out; where nothing is, it may be missing.
    no_swap: &'static str,
}

const FIRST: Version = Version {
    root: "/sys/fs/cgroup/memory",
    limit: "memory.limit_in_bytes",
    no_swap: "memory.swappiness",
};
const SECOND: Version =
    Version { root: "/sys/fs/cgroup", limit: "memory.max", no_swap: "memory.swap.max" };

/// Distinguishes the groups of this process.
static MADE: AtomicU32 = AtomicU32::new(0);

/// A control group, removed when dropped; nothing may run in it by then.
#[derive(Debug)]
pub(crate) struct Cap {
    group: PathBuf,
}

impl Cap {
    /// A group whose processes may take so many MiB together.
    pub(crate) fn new(mb: u64) -> Result<Self, String> {
        let is_first = Path::new(FIRST.root).join(FIRST.limit).exists();
        let version = if is_first { FIRST } else { SECOND };
        let made = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("millstream-versus-{}-{made}", std::process::id());
        let group = Path::new(version.root).join(name);
        let failed = |problem| {
            format!(
                "a limit of {mb} MiB needs the control group {}: {problem}; it takes root and the \
                 memory controller",
                group.display()
            )
        };
        fs::create_dir(&group).map_err(failed)?;
        let cap = Self { group: group.clone() };
        fs::write(group.join(version.limit), (mb << 20).to_string()).map_err(failed)?;
        let _ = fs::write(group.join(version.no_swap), "0");
        Ok(cap)
    }

    /// The same command, run in the group: a shell joins it and becomes the program.
    pub(crate) fn around(&self, command: &Command) -> Command {
        let mut inside = Command::new("sh");
        inside.args(["-c", "echo $$ > \"$0\" && exec \"$@\""]);
        inside.arg(self.group.join("cgroup.procs"));
        inside.arg(command.get_program()).args(command.get_args());
        inside
    }
}

impl Drop for Cap {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.group);
    }
}
