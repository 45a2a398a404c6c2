//! The handle of a process of the application, for the test that starts and kills it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::application::Settings;

/// The ignored test that is the process.
const TEST: &str = "chaos::application";
/// How often the end of a process is looked for.
const POLL: Duration = Duration::from_millis(5);
const LOG_LINES_SHOWN: usize = 60;

/// What a process takes at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    pub(crate) resident_kb: u64,
    pub(crate) files: u64,
    pub(crate) threads: u64,
    /// Of its state directory.
    pub(crate) state_kb: u64,
    /// Of the task that takes the most of it.
    pub(crate) largest_task_kb: u64,
    /// Tasks that have a database in it.
    pub(crate) databases: u64,
}

/// A process of the application; killed when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    state_dir: PathBuf,
    log: PathBuf,
}

impl Process {
    /// Starts a process; its log is in a file beside its state.
    pub(crate) fn start(settings: &Settings) -> Self {
        let program = std::env::current_exe().expect("the test binary is a file");
        let log = settings.state_dir.with_extension(format!("{}.log", settings.name));
        fs::create_dir_all(log.parent().expect("it has a folder")).expect("it can be made");
        let errors = File::create(&log).expect("the log can be written");
        let mut command = Command::new(program);
        command.args(["--exact", TEST, "--ignored", "--nocapture", "--quiet"]);
        settings.hand_to(&mut command);
        let child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(errors)
            .spawn()
            .expect("the test binary can be started again");
        Self { child, state_dir: settings.state_dir.clone(), log }
    }

    /// Ends the process as a power cut would.
    pub(crate) fn kill_9(&mut self) {
        self.child.kill().expect("a child that was not waited for can be killed");
        self.child.wait().expect("a killed child ends");
    }

    /// Asks the process to end, and waits until it has ended in order.
    pub(crate) fn terminate(&mut self, at_most: Duration) {
        self.signal(Signal::TERM);
        let deadline = Instant::now() + at_most;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().expect("a child can be asked") {
                assert!(status.success(), "it ended with {status}:\n{}", self.log_tail());
                return;
            }
            std::thread::sleep(POLL);
        }
        panic!("it did not end within {at_most:?}:\n{}", self.log_tail());
    }

    /// Freezes the process, as a machine that is suspended.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets a frozen process go on.
    pub(crate) fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(id.expect("an id of a process"), signal).expect("a child takes signals");
    }

    /// What it takes now.
    pub(crate) fn usage(&self) -> Usage {
        let proc = PathBuf::from(format!("/proc/{}", self.child.id()));
        let status = fs::read_to_string(proc.join("status")).expect("it runs");
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|line| line.split_whitespace().next());
            number.and_then(|number| number.parse().ok()).expect("Linux says it")
        };
        let files = fs::read_dir(proc.join("fd")).expect("its files can be listed").count();
        let state = files_below(&self.state_dir);
        let kb_below = |folder: &Path| {
            let inside = state.iter().filter(|(path, _)| path.starts_with(folder));
            inside.map(|(_, bytes)| bytes).sum::<u64>() / 1_024
        };
        // Each database has one file that tells which manifest holds.
        let databases = state.iter().map(|(path, _)| path).filter(|path| path.ends_with("CURRENT"));
        let of_tasks: Vec<u64> = databases.filter_map(|file| file.parent()).map(kb_below).collect();
        Usage {
            resident_kb: field("VmRSS:"),
            threads: field("Threads:"),
            files: files as u64,
            state_kb: kb_below(&self.state_dir),
            largest_task_kb: of_tasks.iter().copied().max().unwrap_or_default(),
            databases: of_tasks.len() as u64,
        }
    }

    /// How many records it has set out to restore, by its own account.
    pub(crate) fn restored(&self) -> u64 {
        let log = fs::read_to_string(&self.log).expect("the log can be read");
        let counts = log.lines().filter(|line| line.contains("task begins to restore"));
        let counts = counts.map(|line| {
            let (_, count) = line.split_once("records=").expect("the line says how many");
            count.split(' ').next().and_then(|count| count.parse().ok()).unwrap_or(0_u64)
        });
        counts.sum()
    }

    /// Whether it has written this to its log.
    pub(crate) fn has_said(&self, text: &str) -> bool {
        self.times_said(text) > 0
    }

    /// How often it has written this to its log.
    pub(crate) fn times_said(&self, text: &str) -> usize {
        fs::read_to_string(&self.log).unwrap_or_default().matches(text).count()
    }

    /// Its last words, but for those that are said ten times a second when all is well.
    pub(crate) fn log_tail(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().filter(|line| !line.contains(" committed ")).collect();
        let tail = lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n");
        format!("--- {}\n{tail}", self.log.display())
    }
}

/// All files below a folder and their bytes; one that goes away meanwhile is none.
fn files_below(folder: &Path) -> Vec<(PathBuf, u64)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let files = entries.flat_map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => files_below(&entry.path()),
        Ok(metadata) => vec![(entry.path(), metadata.len())],
        Err(_) => Vec::new(),
    });
    files.collect()
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
