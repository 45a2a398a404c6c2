//! How does Kafka Streams run here? Its classes, and the settings that its users would tune.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::options::Options;
use crate::side::Side;
use crate::workloads::Workload;

/// What is set beside the defaults and beside what every twin is told; stated in the table.
///
/// Larger batches and fetches, as its documentation advises where throughput counts; `linger.ms` is
/// Kafka Streams' own default. Its defaults already are `acks=all`, idempotence, five requests in
/// flight, no compression, and CRC checks.
pub(crate) const THROUGHPUT: [(&str, &str); 8] = [
    ("producer.linger.ms", "100"),
    ("producer.batch.size", "131072"),
    ("producer.buffer.memory", "67108864"),
    ("consumer.max.poll.records", "10000"),
    ("consumer.max.partition.fetch.bytes", "4194304"),
    ("consumer.fetch.max.bytes", "52428800"),
    ("buffered.records.per.partition", "10000"),
    ("replication.factor", "1"),
];

/// What fits into a cap of 256 MiB: batches and fetches as large as a heap of 96 MiB lets them be.
pub(crate) const CAPPED: [(&str, &str); 8] = [
    ("producer.linger.ms", "100"),
    ("producer.batch.size", "65536"),
    ("producer.buffer.memory", "16777216"),
    ("consumer.max.poll.records", "1000"),
    ("consumer.max.partition.fetch.bytes", "524288"),
    ("consumer.fetch.max.bytes", "4194304"),
    ("buffered.records.per.partition", "1000"),
    ("replication.factor", "1"),
];

/// Where latency counts, nothing waits for company.
pub(crate) const LATENCY: [(&str, &str); 2] =
    [("producer.linger.ms", "0"), ("replication.factor", "1")];

/// The folder of jars that `tests/run.sh setup` fills.
pub(crate) fn jars() -> PathBuf {
    crate::topics::kafka_jars()
}

/// Compiles the twins and returns the class path that runs them.
pub(crate) fn compile(out: &Path) -> String {
    let classes = out.join("classes");
    let class_path = format!("{}:{}/*", classes.display(), jars().display());
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/versus/java");
    let entries = source.read_dir().expect("the twins' sources are there");
    let files = entries.map(|entry| entry.expect("a readable folder").path());
    let files = files.filter(|path| path.extension().is_some_and(|extension| extension == "java"));
    let status = Command::new("javac")
        .args(["-nowarn", "-cp", &class_path, "-d"])
        .arg(&classes)
        .args(files)
        .status()
        .expect("`javac` is on the path (`tests/run.sh setup` installs it)");
    assert!(status.success(), "the twins do not compile");
    class_path
}

/// What the twin's JVM is given. Under a cap it needs some 90 MiB beside its heap and the stores.
pub(crate) fn flags(options: &Options, cap_mb: Option<u64>) -> Vec<String> {
    let heap = cap_mb.map_or(options.heap_mb, |mb| mb * 3 / 8);
    vec![format!("-Xms{heap}m"), format!("-Xmx{heap}m"), "-XX:+UseParallelGC".to_owned()]
}

/// Settings of Kafka Streams for a workload on a side.
pub(crate) fn settings(options: &Options, workload: &Workload, side: Side) -> Vec<String> {
    let tuned: &[(&str, &str)] = match workload.cap_mb {
        Some(_) => &CAPPED,
        None if workload.pace.is_paced() => &LATENCY,
        None => &THROUGHPUT,
    };
    let mut settings: Vec<String> =
        tuned.iter().map(|(name, value)| format!("{name}={value}")).collect();
    if side.store == "memory" {
        settings.push(
            "dsl.store.suppliers.class=org.apache.kafka.streams.state.\
             BuiltInDslStoreSuppliers$InMemoryDslStoreSuppliers"
                .to_owned(),
        );
    }
    settings.extend(options.theirs.iter().cloned());
    settings
}
