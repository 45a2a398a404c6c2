//! Where does the broker of a comparison come from? Apache Kafka in one process, with the JVM and
//! the settings that a server would have, its data on disk below the temporary directory.
//!
//! The broker of the tests (`tests/broker/kafka.rs`) starts fast and cleans up hastily; this one is
//! made to stay out of the way of what is measured. A guard process ends it and removes its files
//! when this process ends, however it ends.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};

use crate::jvm;
use crate::options::Layout;

/// How long a JVM on a loaded machine may take.
const START_SECONDS: u32 = 120;

/// What the broker's JVM is given; stated in the table.
pub(crate) const JVM: [&str; 3] = ["-Xms1g", "-Xmx1g", "-XX:+UseG1GC"];

/// A running broker, ended when dropped.
#[derive(Debug)]
pub(crate) struct Broker {
    java: Child,
    port: u16,
    guard: Guard,
}

impl Broker {
    pub(crate) fn start(directory: &Path, layout: Layout) -> Self {
        let guard = Guard::over(directory);
        let (port, controller) = (free_port(), free_port());
        let properties = directory.join("server.properties");
        fs::write(&properties, server_properties(port, controller, &directory.join("data")))
            .expect("the broker's directory is writable");
        format(&properties);
        if layout == Layout::Pinned {
            pin_this_process();
        }
        let log = File::create(directory.join("broker.log")).expect("a writable directory");
        let errors = log.try_clone().expect("an open file can be shared");
        let mut java = layout
            .command(0, "java")
            .args(JVM)
            .arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")
            .arg("-cp")
            .arg(jvm::jars().join("*"))
            .arg("kafka.Kafka")
            .arg(&properties)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .expect("`java` is on the path (`tests/run.sh setup` installs it)");
        fs::write(directory.join("pid"), java.id().to_string()).expect("a writable directory");
        await_ready(&mut java, port, directory);
        Self { java, port, guard }
    }

    /// What a client is given as `bootstrap.servers`.
    pub(crate) fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.java.id()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // The guard kills it; only its parent can take note of its end.
        self.guard.release();
        let _ = self.java.wait();
        self.guard.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port of 127.0.0.1 is free");
    listener.local_addr().expect("a bound port").port()
}

fn format(properties: &Path) {
    let output = Command::new("java")
        .args(["-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"])
        .arg(jvm::jars().join("*"))
        .args(["kafka.tools.StorageTool", "format", "--cluster-id", "millstreamversuscluste"])
        .arg("--config")
        .arg(properties)
        .output()
        .expect("`java` is on the path (`tests/run.sh setup` installs it)");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "formatting the broker's directory: {said}");
}

fn await_ready(java: &mut Child, port: u16, directory: &Path) {
    let client: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", format!("127.0.0.1:{port}"))
        .set("reconnect.backoff.max.ms", "200")
        .set("log_level", "0")
        .create()
        .expect("these settings make a client");
    for _ in 0..START_SECONDS * 4 {
        let log = directory.join("broker.log");
        if let Some(status) = java.try_wait().expect("a child can be asked for its end") {
            panic!(
                "the broker ended with {status}:\n{}",
                fs::read_to_string(log).unwrap_or_default()
            );
        }
        let metadata = client.fetch_metadata(None, Duration::from_millis(500));
        if metadata.is_ok_and(|metadata| metadata.brokers().len() == 1) {
            return;
        }
        std::thread::sleep(Duration::from_millis(250));
    }
    panic!("the broker did not start in {START_SECONDS} s");
}

/// The driver shares the broker's core.
fn pin_this_process() {
    let pid = std::process::id().to_string();
    let status = Command::new("taskset").args(["-a", "-p", "-c", "0", &pid]).output();
    assert!(status.is_ok_and(|output| output.status.success()), "`taskset` pins this process");
}

/// One broker that carries every replica: that flatters exactly-once and `acks=all`, on both sides
/// alike. Cleaning and deleting happen between runs, not within them.
fn server_properties(port: u16, controller: u16, data: &Path) -> String {
    let data = data.display();
    format!(
        "process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=8
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=8
group.initial.rebalance.delay.ms=0
num.network.threads=3
num.io.threads=8
log.cleaner.backoff.ms=600000
log.retention.check.interval.ms=86400000
log.segment.delete.delay.ms=1000
file.delete.delay.ms=1000
"
    )
}

/// A shell that waits for the end of this process, then ends the broker and removes its files.
#[derive(Debug)]
struct Guard {
    shell: Child,
    /// Open as long as the broker is wanted.
    input: Option<ChildStdin>,
}

impl Guard {
    fn over(directory: &Path) -> Self {
        let script = r#"trap "" INT TERM HUP
            read -r _
            for pid in "$1"/pid "$1"/state/*.pid; do
                [ ! -e "$pid" ] || kill -9 "$(cat "$pid")" 2>/dev/null
            done
            rm -rf "$1""#;
        let mut shell = Command::new("sh")
            .args(["-c", script, "guard"])
            .arg(PathBuf::from(directory))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("every machine that runs this has a shell");
        let input = shell.stdin.take();
        Self { shell, input }
    }

    fn release(&mut self) {
        self.input.take();
    }

    fn wait(&mut self) {
        let _ = self.shell.wait();
    }
}
