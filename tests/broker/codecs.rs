//! Is what one data plane packs and writes what the other reads?
//!
//! librdkafka stands for every other client: its bytes are those that Java's clients agree with.

use std::sync::Arc;

use millstream::kafka::KafkaLog;
use millstream::log::{
    EncodedHeaders, End, Log, OffsetSpec, OpenBatch, PartitionId, TopicPartition,
};
use millstream::{Config, DataPlane, Headers, Timestamp};

use crate::contract::harness::{Driver, Rec, Subject};
use crate::kafka::Broker;

const PLANES: [DataPlane; 2] = [DataPlane::Native, DataPlane::Librdkafka];
const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];
const RECORDS: i64 = 500;

fn subject(plane: DataPlane, codec: &str) -> Subject {
    let config = Config::builder("codecs", Broker::shared().bootstrap()).data_plane(plane);
    let config = config.client_property("compression.type", codec).build().unwrap();
    let log: Arc<dyn Log> = Arc::new(KafkaLog::connect(&config).unwrap());
    Subject::new(log, || ())
}

/// Records with everything that a record can have and lack.
fn batch(from: i64) -> OpenBatch {
    let mut open = OpenBatch::new();
    let mut headers = Headers::new();
    headers.push("trace", "abc");
    headers.push_null("none");
    let (with, without) = (EncodedHeaders::from(&headers), EncodedHeaders::new());
    for number in from..from + RECORDS {
        let time = Timestamp::from_millis(1_700_000_000_000 + number);
        let key = format!("key {number}");
        let value = format!("value {}", "ab".repeat((number % 40) as usize));
        let key = (number % 7 != 0).then_some(key.as_bytes());
        let value = (number % 5 != 0).then_some(value.as_bytes());
        let headers = if number % 3 == 0 { &with } else { &without };
        open.append(time, key, value, headers.view());
    }
    open
}

fn write(writer: &mut Driver, partition: PartitionId, from: i64, end: End) {
    writer.begin();
    let sent = writer.client.send(partition, batch(from));
    writer.done(sent);
    writer.end(end);
}

/// What a batch's records are once they were read.
fn records(batch: OpenBatch, first: i64) -> Vec<Rec> {
    let bytes = batch.seal();
    let any = millstream::log::Partitions::default().id(&TopicPartition::new("any", 0));
    let batch = millstream::log::RecordBatch::new(any, bytes).unwrap();
    let record = |record: millstream::log::RecordView<'_>| Rec {
        offset: first + record.offset,
        timestamp: record.timestamp.as_millis(),
        key: record.key.map(<[u8]>::to_vec),
        value: record.value.map(<[u8]>::to_vec),
        headers: record.headers.to_headers().unwrap(),
    };
    batch.records().map(|each| record(each.unwrap())).collect()
}

/// What a reader of committed records finds up to the high watermark. The broker acknowledges the
/// end of a transaction before its marker is in the partition: until then a reader is caught up
/// before it.
fn read_to_end(subject: &Subject, partition: PartitionId) -> Vec<Rec> {
    let end = subject.offset(partition, OffsetSpec::End);
    let mut reader = subject.plain();
    reader.read_from(partition, 0);
    let is_there = |reader: &Driver| reader.last_caught_up(partition).is_some_and(|at| at >= end);
    reader.until("everything is read", is_there);
    reader.read.remove(&partition).unwrap_or_default()
}

fn is_read_as_written(writes: DataPlane, codec: &str) {
    let subject_of_writer = subject(writes, codec);
    let partition = subject_of_writer.topic(codec, 1)[0];
    let mut writer = subject_of_writer.writer("id");
    write(&mut writer, partition, 0, End::Commit);
    write(&mut writer, partition, RECORDS, End::Abort);
    write(&mut writer, partition, 2 * RECORDS, End::Commit);
    // Behind the first two batches lie their markers.
    let (first, last) = (records(batch(0), 0), records(batch(2 * RECORDS), 2 * RECORDS + 2));
    let written = [first, last].concat();
    let name = subject_of_writer.log.partitions().name(partition);
    for reads in PLANES {
        let reading = subject(reads, codec);
        let partition = reading.log.partitions().id(&name);
        assert_eq!(reading.offset(partition, OffsetSpec::Earliest), 0);
        let read = read_to_end(&reading, partition);
        assert!(read == written, "{codec}: {writes:?} writes, {reads:?} reads");
    }
}

#[test]
fn every_codec_of_the_native_data_plane_is_read_by_both() {
    CODECS.into_iter().for_each(|codec| is_read_as_written(DataPlane::Native, codec));
}

#[test]
fn every_codec_of_librdkafka_is_read_by_both() {
    CODECS.into_iter().for_each(|codec| is_read_as_written(DataPlane::Librdkafka, codec));
}
