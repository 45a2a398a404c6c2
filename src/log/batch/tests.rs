use bytes::Bytes;

use super::*;
use crate::record::Headers;

/// A small generator, so that a failure comes back with its seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn bytes(&mut self, end: u64) -> Vec<u8> {
        let length = self.below(end);
        (0..length).map(|_| self.next() as u8).collect()
    }

    fn nullable(&mut self, end: u64) -> Option<Vec<u8>> {
        let is_null = self.below(4) == 0;
        (!is_null).then(|| self.bytes(end))
    }
}

fn partition() -> PartitionId {
    let partitions = crate::log::Partitions::default();
    partitions.id(&crate::log::TopicPartition::new("t", 0))
}

fn batch(sealed: Bytes) -> RecordBatch {
    RecordBatch::new(partition(), sealed).unwrap()
}

/// Three records at 100, 90 and 120 ms with one header each.
fn three() -> Bytes {
    let mut headers = EncodedHeaders::new();
    headers.push("trace", Some(b"1"));
    let mut open = OpenBatch::new();
    for millis in [100, 90, 120] {
        let time = Timestamp::from_millis(millis);
        open.append(time, Some(b"key"), Some(b"value"), headers.view());
    }
    open.seal()
}

/// The batch with some bytes changed and the checksum computed anew.
fn forged(sealed: &Bytes, change: impl FnOnce(&mut [u8])) -> Bytes {
    let mut bytes = thaw(Bytes::copy_from_slice(sealed));
    change(&mut bytes);
    open::put_crc(&mut bytes);
    bytes.freeze()
}

type Owned = (i64, Option<Vec<u8>>, Option<Vec<u8>>, Headers);

fn random_records(random: &mut Random) -> Vec<Owned> {
    let count = random.below(40);
    let mut records = Vec::new();
    for _ in 0..count {
        let mut headers = Headers::new();
        for _ in 0..random.below(3) {
            match random.nullable(20) {
                Some(value) => headers.push("name", value),
                None => headers.push_null("none"),
            }
        }
        let millis = match random.below(8) {
            0 => random.next() as i64,
            _ => random.below(10_000) as i64,
        };
        records.push((millis, random.nullable(20), random.nullable(300), headers));
    }
    records
}

fn sealed(records: &[Owned]) -> Bytes {
    let mut open = OpenBatch::with_capacity(100);
    let mut encoded = EncodedHeaders::new();
    for (millis, key, value, headers) in records {
        encoded.encode(headers);
        let time = Timestamp::from_millis(*millis);
        open.append(time, key.as_deref(), value.as_deref(), encoded.view());
    }
    assert_eq!(open.count() as usize, records.len());
    let size = open.size_bytes();
    let sealed = open.seal();
    assert_eq!(sealed.len(), size);
    sealed
}

#[test]
fn records_come_back_as_they_were_written() {
    for seed in 1..200 {
        let written = random_records(&mut Random(seed));
        let batch = batch(sealed(&written));
        assert_eq!(batch.count() as usize, written.len());
        let latest = written.iter().map(|record| record.0).max().unwrap_or(-1);
        assert_eq!(batch.max_timestamp().as_millis(), latest);
        let read: Vec<Owned> = batch
            .records()
            .map(|record| {
                let record = record.unwrap();
                let headers = record.headers.to_headers().unwrap();
                let key = record.key.map(<[u8]>::to_vec);
                (record.timestamp.as_millis(), key, record.value.map(<[u8]>::to_vec), headers)
            })
            .collect();
        assert_eq!(read, written, "seed {seed}");
    }
}

#[test]
fn bytes_are_those_of_the_format() {
    let mut open = OpenBatch::new();
    let none = HeadersView::default();
    open.append(Timestamp::from_millis(1_000), Some(b"k"), Some(b"v"), none);
    open.append(Timestamp::from_millis(1_001), None, None, none);
    let sealed = open.seal();
    let records: &[u8] = &[16, 0, 0, 0, 2, b'k', 2, b'v', 0, 12, 0, 2, 2, 1, 1, 0];
    assert_eq!(&sealed[HEADER_BYTES..], records);
    assert_eq!(&sealed[..8], &[0; 8]);
    assert_eq!(i32_at(&sealed, field::LENGTH), 49 + records.len() as i32);
    assert_eq!(i64_at(&sealed, field::BASE_TIMESTAMP), 1_000);
    assert_eq!(i64_at(&sealed, field::MAX_TIMESTAMP), 1_001);
    assert_eq!(i64_at(&sealed, field::PRODUCER_ID), -1);
    assert_eq!(i32_at(&sealed, field::COUNT), 2);
}

#[test]
fn cursor_keeps_its_place_and_skips() {
    let mut cursor = RecordCursor::new(batch(three()));
    assert_eq!(cursor.remaining(), 3);
    assert_eq!(cursor.peek_timestamp(), Some(Timestamp::from_millis(100)));
    assert_eq!(cursor.next().unwrap().unwrap().offset, 0);
    assert_eq!(cursor.peek_timestamp(), Some(Timestamp::from_millis(90)));
    cursor.skip_to(2);
    assert_eq!(cursor.remaining(), 1);
    assert_eq!(cursor.next().unwrap().unwrap().offset, 2);
    assert!(cursor.next().is_none());
    assert_eq!(cursor.peek_timestamp(), None);
    assert_eq!(cursor.next_offset_after(), 3);
    cursor.skip_to(7);
    assert_eq!(cursor.remaining(), 0);
}

#[test]
fn offsets_count_from_the_place_that_the_log_gives() {
    let mut bytes = thaw(three());
    stamp_place(&mut bytes, 500, 7);
    let batch = batch(bytes.freeze());
    assert_eq!((batch.base_offset(), batch.next_offset()), (500, 503));
    let offsets: Vec<i64> = batch.records().map(|record| record.unwrap().offset).collect();
    assert_eq!(offsets, [500, 501, 502]);
}

#[test]
fn producer_stamp_keeps_the_checksum_right() {
    let stamp = ProducerStamp {
        producer_id: 9,
        epoch: 3,
        base_sequence: 12,
        is_transactional: true,
        is_control: false,
    };
    let mut bytes = thaw(three());
    stamp_producer(&mut bytes, stamp);
    assert_eq!(attributes(&bytes), ATTRIBUTE_TRANSACTIONAL);
    let batch = batch(bytes.freeze());
    assert_eq!(i64_at(batch.bytes(), field::PRODUCER_ID), 9);
    assert_eq!(batch.records().count(), 3);
}

#[test]
fn log_append_time_is_the_time_of_every_record() {
    let sealed = forged(&three(), |bytes| bytes[field::ATTRIBUTES + 1] = 1 << 3);
    for record in batch(sealed).records() {
        assert_eq!(record.unwrap().timestamp.as_millis(), 120);
    }
}

#[test]
fn empty_batch_of_a_compacted_topic_moves_the_position() {
    let sealed = forged(&OpenBatch::new().seal(), |bytes| {
        open::put_at(bytes, field::LAST_OFFSET_DELTA, 4_i32.to_be_bytes());
    });
    let batch = batch(sealed);
    assert_eq!(batch.records().count(), 0);
    assert_eq!(batch.next_offset(), 5);
}

#[test]
fn wrong_headers_are_refused() {
    let refused = |change: fn(&mut [u8])| {
        RecordBatch::new(partition(), forged(&three(), change)).unwrap_err()
    };
    assert_eq!(refused(|b| b[field::MAGIC] = 1), BatchError::Version(1));
    assert_eq!(refused(|b| b[field::ATTRIBUTES + 1] = 4), BatchError::Compressed(4));
    assert!(matches!(refused(|b| b[field::LENGTH + 3] += 1), BatchError::Length { .. }));
    assert!(matches!(refused(|b| b[field::LENGTH] = 0xff), BatchError::Header("length")));
    assert_eq!(refused(|b| b[field::COUNT] = 1), BatchError::Header("record count"));
    assert_eq!(refused(|b| b[field::BASE_OFFSET] = 0xff), BatchError::Header("base offset"));
    let last_delta = BatchError::Header("last offset delta");
    assert_eq!(refused(|b| b[field::LAST_OFFSET_DELTA] = 0xff), last_delta);
    let mut flipped = three().to_vec();
    *flipped.last_mut().unwrap() ^= 1;
    let error = RecordBatch::new(partition(), flipped.into()).unwrap_err();
    assert_eq!(error, BatchError::Checksum);
}

#[test]
fn records_and_bytes_end_together() {
    let sealed = forged(&three(), |bytes| bytes[field::COUNT + 3] = 2);
    let read: Vec<_> = batch(sealed).records().map(Result::err).collect();
    assert_eq!(read, [None, None, Some(BatchError::Trailing)]);
}

#[test]
fn damaged_record_ends_the_reading() {
    let sealed = forged(&three(), |bytes| bytes[HEADER_BYTES] = 0xff);
    let mut cursor = RecordCursor::new(batch(sealed));
    cursor.skip_to(2);
    assert_eq!(cursor.peek_timestamp(), None);
    assert!(matches!(cursor.next(), Some(Err(BatchError::Record { index: 0, .. }))));
    assert!(cursor.next().is_none());
}

#[test]
fn header_name_that_is_not_text_is_an_error_and_yet_is_copied() {
    let original = three();
    let at = original.windows(5).position(|bytes| bytes == b"trace").unwrap();
    let sealed = forged(&original, |bytes| bytes[at] = 0xff);
    let batch = batch(sealed);
    let record = batch.records().next().unwrap().unwrap();
    assert_eq!(record.headers.to_headers(), Err(BatchError::HeaderName));
    let mut copy = OpenBatch::new();
    copy.append(record.timestamp, record.key, record.value, record.headers);
    assert_eq!(copy.count(), 1);
}

/// Reads everything there is, in every way there is.
fn read_all(bytes: Bytes) {
    let limit = bytes.len();
    let Ok(batch) = RecordBatch::new(partition(), bytes) else { return };
    let mut last = -1;
    let mut steps = 0;
    for record in batch.records() {
        steps += 1;
        if let Ok(record) = record {
            assert!(record.offset > last && record.offset < batch.next_offset());
            last = record.offset;
            let _ = record.headers.to_headers();
        }
    }
    assert!(steps <= limit, "every record takes bytes");
    let mut cursor = RecordCursor::new(batch);
    cursor.skip_to(1);
    let _ = cursor.peek_timestamp();
    while cursor.next().is_some() {}
}

#[test]
fn damaged_bytes_never_break_the_decoder() {
    let mut random = Random(7);
    for seed in 1..60 {
        let original = sealed(&random_records(&mut Random(seed)));
        for _ in 0..200 {
            let flips = 1 + random.below(4);
            let damaged = forged(&original, |bytes| {
                for _ in 0..flips {
                    let at = random.below(bytes.len() as u64) as usize;
                    bytes[at] ^= 1 << random.below(8);
                }
            });
            read_all(damaged);
        }
        let cut = random.below(original.len() as u64) as usize;
        assert!(RecordBatch::new(partition(), original.slice(..cut)).is_err());
    }
}

#[test]
fn random_bytes_never_break_the_decoder() {
    let mut random = Random(11);
    for _ in 0..5_000 {
        let body = random.bytes(200);
        let mut bytes = OpenBatch::new().seal().to_vec();
        bytes.extend_from_slice(&body);
        let length = (bytes.len() - LENGTH_ENDS_AT) as i32;
        let count = random.below(body.len() as u64 / 7 + 1) as i32;
        open::put_at(&mut bytes, field::LENGTH, length.to_be_bytes());
        open::put_at(&mut bytes, field::COUNT, count.to_be_bytes());
        open::put_at(&mut bytes, field::LAST_OFFSET_DELTA, 1_000_i32.to_be_bytes());
        open::put_crc(&mut bytes);
        read_all(bytes.into());
        read_all(random.bytes(120).into());
    }
}
