//! The application on Kafka Streams: one JVM that runs until its input is closed.

#![expect(clippy::disallowed_methods, reason = "a process of its own is waited for in real time")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

use crate::kafka::kafka_jars;

const PATIENCE: Duration = Duration::from_secs(90);
const LOG_LINES_SHOWN: usize = 60;

static CLASS_PATH: LazyLock<String> = LazyLock::new(compile);

/// A running application.
pub(super) struct Jvm {
    process: Child,
    input: Option<ChildStdin>,
    log: PathBuf,
}

impl Jvm {
    /// `guarantee` is the value of `processing.guarantee`; `settings` are `name=value`.
    pub(super) fn start(
        brokers: &str,
        app: &str,
        guarantee: &str,
        state: &Path,
        settings: &[&str],
    ) -> Self {
        fs::create_dir_all(state).expect("the state directory is writable");
        let log = state.join("jvm.log");
        let errors = File::create(&log).expect("the log is writable");
        let mut process = Command::new("java")
            .args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx512m"])
            .arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")
            .args(["-cp", &CLASS_PATH, "Takeover", brokers, app, guarantee])
            .arg(state)
            .args(settings)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(errors)
            .spawn()
            .expect("`java` starts");
        let input = process.stdin.take();
        Self { process, input, log }
    }

    /// What it logged, if it has ended.
    pub(super) fn failure(&mut self) -> Option<String> {
        let status = self.process.try_wait().expect("a child can be asked for its end")?;
        Some(format!("it ended with {status}:\n{}", self.log_tail()))
    }

    /// Closes the application, which commits first.
    pub(super) fn stop(mut self) {
        self.input.take();
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.process.try_wait().expect("a child can be asked for its end") {
                Some(status) if status.success() => return,
                Some(status) => panic!("it ended with {status}:\n{}", self.log_tail()),
                None => assert!(Instant::now() < deadline, "does not stop:\n{}", self.log_tail()),
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn log_tail(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")
    }
}

impl Drop for Jvm {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Compiles the application and returns the class path that runs it.
fn compile() -> String {
    let jars = kafka_jars();
    let source = Path::new("tests/broker/java/Takeover.java");
    let classes = Path::new(env!("CARGO_TARGET_TMPDIR")).join("takeover");
    let class_path = format!("{}:{}/*", classes.display(), jars.display());
    let status = Command::new("javac")
        .args(["-nowarn", "-cp", &class_path, "-d"])
        .arg(&classes)
        .arg(source)
        .status()
        .expect("`javac` starts");
    assert!(status.success(), "{} does not compile", source.display());
    class_path
}
