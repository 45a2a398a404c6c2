//! Does a crash cost the end of a changelog, whatever the size of the state?
//!
//! Every task that counts keeps a table of ballast beside its tallies. Once all of the ballast is
//! committed, the one process there is gets killed and started again on its directory, for two
//! sizes that differ by a factor; `MILLSTREAM_STATE_MB` says how large the larger one is. What it
//! reads back is bounded by what write buffers hold, which is checked. How long every task takes to
//! answer again is printed, and depends on what else the machine does.

use std::time::Duration;

use millstream::Guarantee::{self, AtLeastOnce, ExactlyOnce};
use millstream::log::GroupProtocol::CooperativeSticky;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::world::World;
use super::{PARTITIONS, PATIENCE, alone, client, figure};
use crate::kafka::Broker;

/// Megabytes of the larger state, unless the environment says otherwise.
const LARGER_MB: u64 = 200;
/// By how much the smaller state is smaller.
const FACTOR: u64 = 10;
const ROW_BYTES: usize = 1_000;
/// Ballast may be as large as a disk.
const LOADING: Duration = Duration::from_secs(900);
/// Of each task.
const WRITE_BUFFER: u64 = 16 * 1024 * 1024;
/// What a task may have to read back, in rows: a write buffer of 16 MiB, and what came while it was
/// written to the disk.
const TAIL_MAX: u64 = 25_000;

#[test]
fn exactly_once_a_crash_costs_the_end_of_the_changelog() {
    crash_with_state("large-eos", ExactlyOnce);
}

#[test]
fn at_least_once_a_crash_costs_the_end_of_the_changelog() {
    crash_with_state("large-alo", AtLeastOnce);
}

fn crash_with_state(name: &str, guarantee: Guarantee) {
    let megabytes = std::env::var("MILLSTREAM_STATE_MB").ok();
    let larger = megabytes.map_or(LARGER_MB, |text| text.parse().expect("a number of megabytes"));
    for megabytes in [larger / FACTOR, larger] {
        let rows = megabytes * 1_000_000 / ROW_BYTES as u64;
        crash(&format!("{name}-{megabytes}"), guarantee, rows);
    }
}

fn crash(name: &str, guarantee: Guarantee, rows: u64) {
    let _alone = alone();
    let mut world = World::with_ballast(name, guarantee, CooperativeSticky);
    load(&world.ballast(), rows);
    world.start("a", "1");
    await_committed(name, &world.ballast(), rows);
    await_on_disk(&world, rows);
    world.await_run_by(&["a"]);
    let gone = world.kill_9("a");
    world.start("b", "1");
    let answered = world.recovered(&gone);
    let restored = world.process("b").restored();
    figure(&format!(
        "{name}: {rows} rows of {ROW_BYTES} bytes, {restored} records restored, \
         all tasks at work {:.2} s after the kill",
        answered.as_secs_f64()
    ));
    // What lives in memory is restored whole.
    if cfg!(feature = "rocksdb") {
        assert!(restored < TAIL_MAX * u64::from(PARTITIONS), "{restored}");
    }
    world.finish();
}

/// Waits until the write buffers that are full have been written to the disk, which a busy machine
/// is late with; rows may take a quarter less there.
fn await_on_disk(world: &World, rows: u64) {
    let of_task = rows / u64::from(PARTITIONS) * ROW_BYTES as u64;
    let full = of_task / WRITE_BUFFER * WRITE_BUFFER * u64::from(PARTITIONS);
    let is_there = || world.usage("a").state_kb * 1_000 >= full / 4 * 3;
    if cfg!(feature = "rocksdb") {
        assert!(crate::wait_until(LOADING, is_there), "full buffers are written");
    }
}

/// Writes rows of distinct keys that do not compress.
pub(super) fn load(topic: &str, rows: u64) {
    let mut config: ClientConfig = client(Broker::shared());
    config.set("enable.idempotence", "true").set("linger.ms", "20");
    let producer: BaseProducer = config.create().expect("these settings make a producer");
    let mut state = 1_u64;
    for row in 0..rows {
        let value: String = (0..ROW_BYTES).map(|_| letter(&mut state)).collect();
        let key = format!("row {row}");
        let partition = i32::try_from(row % u64::from(PARTITIONS)).expect("a small number");
        let mut record = BaseRecord::to(topic).partition(partition).key(&key).payload(&value);
        // A full queue empties while the broker is listened to.
        while let Err((_, refused)) = producer.send(record) {
            producer.poll(Duration::from_millis(10));
            record = refused;
        }
        if row % 1_000 == 0 {
            producer.poll(Duration::ZERO);
        }
    }
    producer.flush(LOADING).expect("the broker acknowledges");
}

fn letter(state: &mut u64) -> char {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    char::from(b'!' + u8::try_from(*state % 90).expect("it is below 90"))
}

/// Waits until a group has committed all rows of a topic.
pub(super) fn await_committed(group: &str, topic: &str, rows: u64) {
    let mut config = client(Broker::shared());
    config.set("group.id", group);
    let consumer: BaseConsumer = config.create().expect("these settings make a consumer");
    let mut partitions = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        partitions.add_partition(topic, i32::try_from(partition).expect("a small number"));
    }
    let is_committed = || {
        let committed = consumer.committed_offsets(partitions.clone(), PATIENCE);
        let offsets = committed
            .expect("the broker answers")
            .elements()
            .iter()
            .map(|element| match element.offset() {
                Offset::Offset(offset) => u64::try_from(offset).expect("an offset"),
                _ => 0,
            })
            .sum::<u64>();
        offsets >= rows
    };
    assert!(crate::wait_until(LOADING, is_committed), "the ballast of {topic} is not committed");
}
