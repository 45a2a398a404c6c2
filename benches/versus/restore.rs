//! How long is an application away that has lost its disk? Until each partition gives a result.
//!
//! The side drains its input, closes, and loses its state directory. Then a record is laid down for
//! each partition, in a second topic, and the side is started again: it cannot answer any of them
//! before the partition's store is back.

use std::collections::BTreeMap;
use std::fs;
use std::thread::sleep;
use std::time::Duration;

use rdkafka::producer::{BaseRecord, Producer};

use crate::input;
use crate::measure::{Bench, FIRST_LOOK, Running, STALLED};
use crate::topics::Watch;
use crate::workloads::Workload;

/// Of the records that wait: fixed, so that all sides give the same results.
const WAKE_MS: i64 = 1_704_067_200_000;

pub(crate) fn wake_topic(application: &str) -> String {
    format!("{application}-wake")
}

/// Takes away what the application has on disk, and leaves it records to answer.
pub(crate) fn lose_state(bench: &Bench<'_>, workload: &Workload, application: &str) {
    let state = bench.directory.join(application);
    if state.exists() {
        fs::remove_dir_all(&state).expect("the twin that wrote it has ended");
    }
    let producer = input::producer(&bench.broker.bootstrap(), 0);
    let (topic, value) = (wake_topic(application), vec![0; 100]);
    for partition in 0..bench.options.partitions(workload) {
        let key = format!("wake-{partition:011}");
        let record = BaseRecord::to(&topic).partition(partition).timestamp(WAKE_MS);
        input::send(&producer, record.key(key.as_bytes()).payload(&value));
    }
    producer.flush(Duration::from_secs(60)).expect("the broker takes the records");
}

/// Waits until every record is answered.
pub(crate) fn await_results(
    bench: &Bench<'_>,
    workload: &Workload,
    application: &str,
    running: &mut Running,
    figures: &mut BTreeMap<&'static str, f64>,
) {
    let (brokers, partitions) = (bench.broker.bootstrap(), bench.options.partitions(workload));
    let (wake, output) = ([wake_topic(application)], format!("{application}-out"));
    let watch = Watch::new(&brokers, application, &wake, &output, partitions);
    let before = watch.output_records();
    while watch.output_records() < before + i64::from(partitions) {
        running.check();
        let waited = running.begun.elapsed();
        assert!(waited < 5 * STALLED, "{application} is not restored after {waited:?}");
        sleep(FIRST_LOOK);
    }
    figures.insert("restored", running.begun.elapsed().as_secs_f64() * 1e3);
    figures.insert("restore cpu", running.cpu_seconds());
}
