//! What does Kafka Streams answer? One JVM process per concurrent test, asked case by case.
//!
//! The program in `java/` is compiled once per run against the jars that `tests/run.sh setup`
//! fetches. Its protocol is described at the top of `Oracle.java`.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError};

use crate::inputs::Step;

/// Processes that wait for the next test. They end when this process does: their input closes.
static IDLE: Mutex<Vec<Jvm>> = Mutex::new(Vec::new());

static CLASS_PATH: LazyLock<String> = LazyLock::new(compile);

/// A running oracle.
pub(crate) struct Jvm {
    _process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Jvm {
    /// Runs `f` with a process that nobody else uses meanwhile.
    pub(crate) fn with<T>(f: impl FnOnce(&mut Self) -> T) -> T {
        let idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut jvm = idle.unwrap_or_else(Self::start);
        let result = f(&mut jvm);
        IDLE.lock().unwrap_or_else(PoisonError::into_inner).push(jvm);
        result
    }

    fn start() -> Self {
        let mut process = Command::new("java")
            .args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx512m"])
            .arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=off")
            .args(["-cp", &CLASS_PATH, "Oracle"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("`java` starts");
        let input = process.stdin.take().expect("the input is piped");
        let output = BufReader::new(process.stdout.take().expect("the output is piped"));
        Self { _process: process, input, output }
    }

    /// The names of all scenarios that the oracle knows.
    pub(crate) fn scenarios(&mut self) -> Vec<String> {
        let names = self.ask("list\n");
        names.iter().filter_map(|line| line.strip_prefix("scenario ")).map(str::to_owned).collect()
    }

    /// What Kafka Streams makes of these steps.
    pub(crate) fn answer(&mut self, scenario: &str, steps: &[Step]) -> Vec<String> {
        let mut case = format!("case {scenario}\n");
        for step in steps {
            case += &step.to_string();
            case.push('\n');
        }
        case.push_str("end\n");
        self.ask(&case)
    }

    fn ask(&mut self, question: &str) -> Vec<String> {
        self.input.write_all(question.as_bytes()).expect("the oracle reads");
        self.input.flush().expect("the oracle reads");
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            let read = self.output.read_line(&mut line).expect("the oracle writes text");
            assert!(read > 0, "the oracle ended in the middle of an answer");
            match line.trim_end_matches('\n') {
                "done" => return lines,
                line => lines.push(line.to_owned()),
            }
        }
    }
}

/// Compiles the oracle and returns the class path that runs it.
fn compile() -> String {
    let jars = cache().join("kafka-4.3.1/lib");
    assert!(jars.is_dir(), "no Kafka in {}; run `tests/run.sh setup`", jars.display());
    let source = Path::new("tests/conformance/java");
    let classes = Path::new(env!("CARGO_TARGET_TMPDIR")).join("conformance");
    let class_path = format!("{}:{}/*", classes.display(), jars.display());
    let status = Command::new("javac")
        .args(["-nowarn", "-cp", &class_path, "-d"])
        .arg(&classes)
        .args(java_files(source))
        .status()
        .expect("`javac` starts");
    assert!(status.success(), "the oracle does not compile");
    class_path
}

fn java_files(directory: &Path) -> Vec<PathBuf> {
    let entries = directory.read_dir().expect("the sources are there");
    let paths = entries.map(|entry| entry.expect("a readable folder").path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "java")).collect()
}

fn cache() -> PathBuf {
    let directory = |name| std::env::var_os(name).map(PathBuf::from);
    directory("MILLSTREAM_CACHE").unwrap_or_else(|| {
        let home = || directory("HOME").expect("a home directory").join(".cache");
        directory("XDG_CACHE_HOME").unwrap_or_else(home).join("millstream")
    })
}
