//! How long does a record take through the batch codec, in and out?
//!
//! Regresses the codec's cost per record of 100 bytes; it says nothing about sockets or brokers.
//! Run it with `cargo bench --no-default-features`.

#![expect(clippy::print_stdout, reason = "a benchmark talks to people")]

use std::hint::black_box;

use millstream::Timestamp;
use millstream::log::{HeadersView, OpenBatch, Partitions, RecordBatch, TopicPartition};
use millstream::time::{Clock, SystemClock};

const RECORDS: u32 = 4_000;
const ROUNDS: u32 = 500;

fn fill() -> OpenBatch {
    let value = [7; 90];
    let mut batch = OpenBatch::new();
    for number in 0..RECORDS {
        let key = u64::from(number).to_be_bytes();
        let at = Timestamp::from_millis(i64::from(number));
        batch.append(at, Some(&key), Some(&value), HeadersView::default());
    }
    batch
}

/// Nanoseconds per record of the fastest round: the others were disturbed.
fn fastest(clock: &SystemClock, mut round: impl FnMut()) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let begun = clock.instant();
        round();
        let elapsed = clock.instant().since(begun).as_secs_f64();
        best = best.min(elapsed * 1e9 / f64::from(RECORDS));
    }
    best
}

fn main() {
    let clock = SystemClock::default();
    let encode = fastest(&clock, || drop(black_box(fill().seal())));
    let partition = Partitions::default().id(&TopicPartition::new("bench", 0));
    let sealed = fill().seal();
    let decode = fastest(&clock, || {
        let batch = RecordBatch::new(partition, sealed.clone()).expect("it was sealed above");
        let bytes = batch.records().map(|view| view.expect("whole").value.map_or(0, <[u8]>::len));
        black_box(bytes.sum::<usize>());
    });
    println!("record batch, 100-byte records: encode {encode:.1} ns, decode {decode:.1} ns");
}
