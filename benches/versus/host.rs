//! What machine is this, is it idle, and what does a process of it take? Read from `/proc`.

use std::fs;
use std::path::Path;
use std::process::Command;

/// `USER_HZ`, which Linux has fixed for all architectures that run a JVM.
const TICKS_PER_SECOND: f64 = 100.0;

/// The machine as it was before the first run.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    pub(crate) cores: usize,
    pub(crate) model: String,
    pub(crate) kernel: String,
    pub(crate) load: String,
}

impl Host {
    pub(crate) fn observe() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let cpus = read("/proc/cpuinfo");
        let model =
            cpus.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
        Self {
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            model: model.unwrap_or("unknown").to_owned(),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load: load(),
        }
    }
}

/// Today, of UTC.
pub(crate) fn day() -> String {
    said_by("date", &["-u", "+%F"])
}

/// Of what is measured, with a plus sign if it was changed since.
pub(crate) fn commit() -> String {
    said_by("git", &["describe", "--always", "--abbrev=7", "--exclude=*", "--dirty=+"])
}

/// A program's first line, or `unknown`.
fn said_by(program: &str, arguments: &[&str]) -> String {
    let output =
        Command::new(program).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let text = text.unwrap_or_default();
    text.lines().next().unwrap_or("unknown").to_owned()
}

/// The load averages of 1, 5 and 15 minutes.
fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

/// Processor time of all processes, and what the hypervisor kept, in seconds.
pub(crate) fn busy_and_stolen() -> (f64, f64) {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let first = text.lines().next().unwrap_or_default();
    let ticks: Vec<f64> =
        first.split_whitespace().skip(1).filter_map(|word| word.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal
    let sum = |places: &[usize]| places.iter().filter_map(|&at| ticks.get(at)).sum::<f64>();
    (sum(&[0, 1, 2, 5, 6]) / TICKS_PER_SECOND, sum(&[7]) / TICKS_PER_SECOND)
}

/// Processor time of a process, of all its threads, also those that have ended, in seconds.
pub(crate) fn cpu_seconds(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name in parentheses may hold spaces; `utime` and `stime` are 12th and 13th behind it.
    let behind = stat.rsplit_once(')').map_or("", |(_, behind)| behind);
    let ticks = behind.split_whitespace().skip(11).take(2);
    ticks.filter_map(|word| word.parse::<f64>().ok()).sum::<f64>() / TICKS_PER_SECOND
}

/// A line of `/proc/PID/status` such as `VmHWM`, in MB; zero for a process that has ended.
pub(crate) fn memory_mb(pid: u32, name: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kb = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kb.unwrap_or_default() * 1024.0 / 1e6
}

/// What a directory's file system has left.
pub(crate) fn free_bytes(directory: &Path) -> u64 {
    let stat = rustix::fs::statvfs(directory).expect("the directory is there");
    stat.f_bavail * stat.f_frsize
}
