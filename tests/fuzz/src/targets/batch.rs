//! Record batches as a broker might send them, whoever wrote them.
//!
//! Bytes are read as they are and then *mended*: with the length, version and checksum that let
//! them through to the records.

use bytes::Bytes;
use millstream::log::{
    BatchError, EncodedHeaders, HeadersView, OpenBatch, PartitionId, Partitions, RecordBatch,
    RecordCursor, RecordView, TopicPartition,
};
use millstream::{Headers, Timestamp};

use crate::frugal::frugal;

const HEADER_BYTES: usize = 61;
const RECORD_BYTES_MIN: usize = 7;
/// How many places of a batch are skipped to.
const SKIPS_MAX: usize = 16;

pub(crate) fn run(data: &[u8]) {
    read(data);
    read(&mended(data));
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let mut headers = Headers::new();
    headers.push("trace", *b"1");
    headers.push_null("gone");
    let headers = EncodedHeaders::from(&headers);
    let mut open = OpenBatch::new();
    for millis in [100, 90, 1 << 40] {
        let time = Timestamp::from_millis(millis);
        open.append(time, Some(b"key"), Some(b"value"), headers.view());
    }
    open.append(Timestamp::ZERO, None, None, HeadersView::default());
    let several = open.seal().to_vec();
    let mut by_log = several.clone();
    by_log[22] |= 1 << 3;
    vec![several, mended(&by_log), OpenBatch::new().seal().to_vec()]
}

pub(crate) fn partition() -> PartitionId {
    Partitions::default().id(&TopicPartition::new("fuzzed", 0))
}

/// The bytes with the length, version and checksum that they should have.
pub(crate) fn mended(data: &[u8]) -> Vec<u8> {
    let mut bytes = data.to_vec();
    bytes.resize(data.len().max(HEADER_BYTES), 0);
    let length = (bytes.len() - 12) as u32;
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    bytes[16] = 2;
    // Uncompressed.
    bytes[22] &= !0b111;
    let crc = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes
}

fn read(bytes: &[u8]) {
    let (partition, shared) = (partition(), Bytes::copy_from_slice(bytes));
    let batch = frugal(bytes.len(), (0, 0), || RecordBatch::new(partition, shared));
    let Ok(batch) = batch else { return };
    let records: Vec<_> = batch.records().collect();
    let room = (bytes.len() - HEADER_BYTES) / RECORD_BYTES_MIN;
    assert!(records.len() <= room + 1, "each record takes bytes, and one error may follow");
    frugal(bytes.len(), (0, 0), || batch.records().for_each(drop));
    with_cursor(&batch, &records);
    let whole: Vec<_> = records.iter().map_while(|record| record.ok()).collect();
    assert!(whole.len() + 1 >= records.len(), "a damaged record ends the reading");
    let offsets: Vec<_> = whole.iter().map(|record| record.offset).collect();
    assert!(offsets.is_sorted_by(|a, b| a < b));
    assert!(offsets.iter().all(|at| (batch.base_offset()..batch.next_offset()).contains(at)));
    whole.iter().for_each(|record| read_headers(record.headers));
    if whole.len() == records.len() {
        skip(&batch, &offsets);
        write_again(&whole);
    }
}

/// A cursor reads what the iterator does, and sees each record's time before.
fn with_cursor(batch: &RecordBatch, records: &[Result<RecordView<'_>, BatchError>]) {
    let mut cursor = RecordCursor::new(batch.clone());
    for record in records {
        let peeked = cursor.peek_timestamp();
        if let Ok(record) = record {
            assert_eq!(peeked, Some(record.timestamp));
            assert!(cursor.remaining() > 0);
        }
        assert_eq!(cursor.next(), Some(*record));
    }
    assert_eq!(cursor.remaining(), 0);
    assert_eq!(cursor.next(), None);
    assert_eq!(cursor.peek_timestamp(), None);
    cursor.skip_to(i64::MAX);
    assert_eq!(cursor.next_offset_after(), batch.next_offset());
}

/// Whatever offset is skipped to, the first record read is the first from there on.
fn skip(batch: &RecordBatch, offsets: &[i64]) {
    let places = offsets.iter().take(SKIPS_MAX).flat_map(|at| [at - 1, *at, at + 1]);
    for to in places.chain([i64::MIN, 0, i64::MAX]) {
        let mut cursor = RecordCursor::new(batch.clone());
        cursor.skip_to(to);
        let expected = offsets.iter().copied().find(|offset| *offset >= to);
        let found = cursor.next().map(|record| record.expect("all are whole").offset);
        assert_eq!(found, expected, "skipped to {to}");
    }
}

fn read_headers(view: HeadersView<'_>) {
    let names: Vec<_> = view.iter().collect();
    assert_eq!(names.len(), view.len());
    assert_eq!(view.is_empty(), names.is_empty());
    // A header takes two bytes at least, and its copy a name, a value and their places.
    let copied = frugal(2 * view.len(), (128, 256), || view.to_headers());
    let is_text = names.iter().all(Result::is_ok);
    assert_eq!(copied.is_ok(), is_text);
    let Ok(copied) = copied else { return };
    assert!(copied.iter().eq(names.into_iter().flatten()));
    let encoded = EncodedHeaders::from(&copied);
    assert_eq!(encoded.view().to_headers(), Ok(copied));
}

/// Records that were read can be written, and are the same then.
fn write_again(records: &[RecordView<'_>]) {
    let mut open = OpenBatch::new();
    for record in records {
        open.append(record.timestamp, record.key, record.value, record.headers);
    }
    let size = open.size_bytes();
    let bytes = open.seal();
    assert_eq!(bytes.len(), size);
    let batch = RecordBatch::new(partition(), bytes).expect("it was written just now");
    let latest = records.iter().map(|record| record.timestamp).max();
    assert_eq!(batch.max_timestamp(), latest.unwrap_or(Timestamp::UNKNOWN));
    assert_eq!(batch.count() as usize, records.len());
    for ((again, record), offset) in batch.records().zip(records).zip(0..) {
        assert_eq!(again, Ok(RecordView { offset, ..*record }));
    }
}
