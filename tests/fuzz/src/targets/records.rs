//! Records of every shape, written into a batch and read out of it; and the varints in between.

use arbitrary::{Arbitrary, Unstructured};
use millstream::fuzzing::{varint, varint_bytes};
use millstream::log::{EncodedHeaders, OpenBatch, RecordBatch};
use millstream::{Headers, Timestamp};

use super::batch::partition;

#[derive(Arbitrary, Debug)]
struct Written {
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

pub(crate) fn run(data: &[u8]) {
    varints(data);
    if let Ok(records) = Vec::<Written>::arbitrary(&mut Unstructured::new(data)) {
        round(&records);
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    vec![(0..=255).collect(), vec![1; 64], varint_bytes(i64::from(i32::MIN)), vec![0xFF; 11]]
}

fn varints(data: &[u8]) {
    if let Some((number, taken)) = varint(data) {
        assert!((1..=10).contains(&taken) && taken <= data.len());
        let shortest = varint_bytes(i64::from(number));
        assert!(shortest.len() <= taken);
        assert_eq!(varint(&shortest), Some((number, shortest.len())));
    }
    if let Some(number) = data.first_chunk() {
        let number = i64::from_be_bytes(*number);
        let read = varint(&varint_bytes(number)).map(|(number, _)| number);
        assert_eq!(read, i32::try_from(number).ok());
    }
}

fn round(records: &[Written]) {
    let mut open = OpenBatch::new();
    for record in records {
        let headers = EncodedHeaders::from(&headers(record));
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        open.append(Timestamp::from_millis(record.timestamp), key, value, headers.view());
    }
    let batch = RecordBatch::new(partition(), open.seal()).expect("it was written just now");
    assert_eq!(batch.count() as usize, records.len());
    for (read, record) in batch.records().zip(records) {
        let read = read.expect("it was written just now");
        assert_eq!(read.timestamp, Timestamp::from_millis(record.timestamp));
        assert_eq!((read.key, read.value), (record.key.as_deref(), record.value.as_deref()));
        assert_eq!(read.headers.to_headers(), Ok(headers(record)));
    }
}

fn headers(record: &Written) -> Headers {
    let mut headers = Headers::new();
    for (name, value) in &record.headers {
        match value {
            Some(value) => headers.push(name, value.as_slice()),
            None => headers.push_null(name),
        }
    }
    headers
}
