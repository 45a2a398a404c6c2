//! Rows with Kafka Streams' own framing: changes of tables, and records that wait for a match.

use millstream::BoxError;
use millstream::fuzzing::{change, waiting_key, waiting_values};

use crate::frugal::frugal;

pub(crate) fn run(data: &[u8]) {
    stable(change, data);
    stable(waiting_key, data);
    stable(waiting_values, data);
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let rows: [&[u8]; 8] = [
        b"was\x00",
        b"is\x01",
        b"\x04iswas\x02",
        b"was\x01\x03",
        b"\x04iswas\x01\x05",
        b"\0\0\0\0\0\0\0\x07\x01key",
        b"\x01\0\0\0\x02\0\0\0\x03\x01ab\0\0\0\x05\0\0\0\0\x09",
        b"\x01\x7F\xFF\xFF\xFF\0\0\0\x01\x01",
    ];
    rows.map(<[u8]>::to_vec).into()
}

/// What is read can be written, and then reads as the same.
fn stable(rewrite: fn(&[u8]) -> Result<Vec<u8>, BoxError>, data: &[u8]) {
    if let Ok(once) = frugal(data.len(), (32, 1_024), || rewrite(data)) {
        assert!(once.len() <= data.len());
        assert_eq!(rewrite(&once).expect("it was written just now"), once);
    }
}
