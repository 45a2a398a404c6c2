use std::ops::Range;

use super::batches::{Damaged, Unpacked};
use super::*;
use crate::log::batch::{ProducerStamp, stamp_place, thaw};
use crate::log::{BatchError, EncodedHeaders, OpenBatch, Partitions};
use crate::time::Timestamp;

const MOST: usize = 1024;

fn partition() -> PartitionId {
    Partitions::default().id(&TopicPartition::new("t", 0))
}

/// A batch at an offset: a record of no producer, of a transaction of one, or its end.
fn batch(base: i64, producer: Option<i64>, is_control: bool) -> Vec<u8> {
    let mut open = OpenBatch::new();
    let headers = EncodedHeaders::new();
    open.append(Timestamp::ZERO, Some(&[0, 0, 0, 0]), Some(b"value"), headers.view());
    let sealed = open.seal_by(ProducerStamp {
        producer_id: producer.unwrap_or(-1),
        epoch: 0,
        base_sequence: 0,
        is_transactional: producer.is_some(),
        is_control,
    });
    let mut bytes = thaw(sealed);
    stamp_place(&mut bytes, base, 0);
    bytes.to_vec()
}

/// The offsets of the batches that are handed on, and where the next one would begin.
fn read(bytes: &[u8], aborted: &[(i64, i64)], from: i64) -> Result<(Vec<i64>, i64), Damaged> {
    let mut unpacked = Unpacked::new(partition(), Bytes::copy_from_slice(bytes), MOST);
    unpacked.hide(aborted);
    let (mut offsets, mut position) = (Vec::new(), from);
    while let Some((batch, next)) = unpacked.next_from(position)? {
        offsets.extend(batch.map(|batch| batch.base_offset()));
        position = next;
    }
    Ok((offsets, position))
}

/// Producers 1 and 2 in turn: 1 aborts, begins anew and commits; 2 aborts at the end.
fn interleaved() -> Vec<u8> {
    let all = [
        batch(0, Some(1), false),
        batch(1, Some(2), false),
        batch(2, None, false),
        batch(3, Some(1), true),
        batch(4, Some(1), false),
        batch(5, Some(2), false),
        batch(6, Some(1), true),
        batch(7, Some(2), true),
        batch(8, Some(2), false),
    ];
    all.concat()
}

#[test]
fn aborted_transactions_are_hidden_up_to_their_ends() {
    let aborted = [(2, 1), (1, 0)];
    assert_eq!(read(&interleaved(), &aborted, 0).unwrap(), (vec![2, 4, 8], 9));
}

#[test]
fn without_aborted_ones_only_the_ends_are_left_out() {
    assert_eq!(read(&interleaved(), &[], 0).unwrap(), (vec![0, 1, 2, 4, 5, 8], 9));
}

#[test]
fn what_lies_before_the_position_still_says_who_is_hidden() {
    assert_eq!(read(&interleaved(), &[(2, 1), (1, 0)], 5).unwrap(), (vec![8], 9));
}

#[test]
fn what_is_cut_off_is_left_for_the_next_answer() {
    let all = [batch(0, None, false), batch(1, None, false)].concat();
    let first = batch(0, None, false).len();
    for length in first..all.len() {
        assert_eq!(read(&all[..length], &[], 0).unwrap(), (vec![0], 1), "{length}");
    }
}

#[test]
fn holes_are_stepped_over() {
    let all = [batch(3, None, false), batch(9, None, false)].concat();
    assert_eq!(read(&all, &[], 0).unwrap(), (vec![3, 9], 10));
    assert_eq!(read(&all, &[], 5).unwrap(), (vec![9], 10));
}

#[test]
fn no_damage_is_taken_for_the_end_of_what_there_is() {
    let whole = batch(7, None, false);
    for at in 16..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        let damaged = read(&bytes, &[], 0).expect_err("a byte behind the length was changed");
        assert!(matches!(damaged, Damaged::Batch(_) | Damaged::Packed(_)), "{at}: {damaged:?}");
    }
    let mut old = whole;
    old[16] = 1;
    assert_eq!(read(&old, &[], 0).unwrap_err(), Damaged::Batch(BatchError::Version(1)));
}

// --- readings ------------------------------------------------------------------------------------

struct Test {
    reader: Reader,
    partition: PartitionId,
    now: Instant,
    events: Vec<LogEvent>,
}

impl Test {
    fn new(isolation: Isolation) -> Self {
        let (partition, now) = (partition(), Instant::from_origin(Duration::from_secs(10)));
        let mut reader = Reader {
            readings: BTreeMap::new(),
            isolation,
            next_number: 0,
            unpacked_max: MOST,
            pause: Duration::from_millis(50),
            lost: Vec::new(),
            paces: BTreeMap::new(),
        };
        reader.read_from(partition, TopicPartition::new("t", 0), 0);
        Self { reader, partition, now, events: Vec::new() }
    }

    /// An answer to the reading of this number.
    fn answer(&mut self, number: u64, code: i16, bytes: &[u8], (stable, end): (i64, i64)) {
        let batches: Range<usize> = 0..bytes.len();
        let answer = fetch::Answer {
            partition: 0,
            code,
            high_watermark: end,
            last_stable_offset: stable,
            nearer: Node(-1),
            aborted: Vec::new(),
            batches,
        };
        let frame = Bytes::copy_from_slice(bytes);
        let of = (self.partition, number);
        self.reader.answered(of, &answer, &frame, self.now, &mut self.events);
    }

    fn told(&mut self) -> Vec<String> {
        let told = self.events.drain(..).map(|event| match event {
            LogEvent::Fetched(batch) => format!("fetched {}", batch.base_offset()),
            LogEvent::CaughtUp { position, .. } => format!("caught up at {position}"),
            LogEvent::ReadFailed { error, .. } => format!("failed: {error}"),
            LogEvent::Ended { .. } => "ended".into(),
        });
        told.collect()
    }
}

#[test]
fn the_end_of_what_may_be_seen_depends_on_the_isolation() {
    for (isolation, told) in [
        (Isolation::ReadCommitted, vec!["fetched 0", "caught up at 1"]),
        (Isolation::ReadUncommitted, vec!["fetched 0"]),
    ] {
        let mut test = Test::new(isolation);
        test.answer(0, 0, &batch(0, None, false), (1, 5));
        assert_eq!(test.told(), told, "{isolation:?}");
        assert_eq!(test.reader.end_of(test.partition), Some(5));
    }
}

#[test]
fn an_answer_to_a_former_reading_is_dropped() {
    let mut test = Test::new(Isolation::ReadCommitted);
    test.reader.read_from(test.partition, TopicPartition::new("t", 0), 0);
    test.answer(0, 0, &batch(0, None, false), (1, 1));
    assert!(test.told().is_empty());
    test.answer(1, 0, &batch(0, None, false), (1, 1));
    assert_eq!(test.told(), ["fetched 0", "caught up at 1"]);
}

#[test]
fn what_comes_while_it_is_paused_comes_when_it_goes_on() {
    let mut test = Test::new(Isolation::ReadCommitted);
    test.reader.pause(test.partition, true, &mut test.events);
    test.answer(0, 0, &batch(0, None, false), (1, 1));
    assert!(test.told().is_empty());
    test.reader.pause(test.partition, false, &mut test.events);
    assert_eq!(test.told(), ["fetched 0", "caught up at 1"]);
}

#[test]
fn a_damaged_batch_is_asked_for_three_times_and_never_skipped() {
    let mut test = Test::new(Isolation::ReadCommitted);
    let mut bytes = batch(0, None, false);
    *bytes.last_mut().unwrap() ^= 1;
    for _ in 1..DAMAGED_MAX {
        test.answer(0, 0, &bytes, (1, 1));
        assert!(test.told().is_empty());
    }
    test.answer(0, 0, &bytes, (1, 1));
    assert_eq!(
        test.told(),
        ["failed: a batch is damaged: t-0, offset 0: the batch's checksum is wrong"]
    );
}

#[test]
fn a_position_that_is_in_the_log_after_all_is_read_on() {
    const OUT_OF_RANGE: i16 = 1;
    let mut test = Test::new(Isolation::ReadCommitted);
    test.answer(0, OUT_OF_RANGE, &[], (-1, -1));
    let lost = test.reader.take_lost(test.now).pop().unwrap();
    test.reader.limits(&lost, (0, 4), &mut test.events);
    assert!(test.told().is_empty());
    test.answer(0, OUT_OF_RANGE, &[], (-1, -1));
    let lost = test.reader.take_lost(test.now).pop().unwrap();
    test.reader.limits(&lost, (2, 4), &mut test.events);
    assert_eq!(test.told(), ["failed: offset 0 is out of range; the log holds 2 to 4"]);
}

#[test]
fn a_broker_of_many_partitions_that_tells_little_is_given_time() {
    let (node, now) = (Node(1), Instant::from_origin(Duration::from_secs(1)));
    let ticket = |count| Ticket((0..count).map(|number| (partition(), number)).collect());
    let mut reader = Test::new(Isolation::ReadUncommitted).reader;
    reader.asked(node, &ticket(8), now);
    assert_eq!(reader.deadline(now), None, "a few cost it nothing");
    reader.asked(node, &ticket(10_000), now);
    assert_eq!(reader.deadline(now), Some(now + PACE_MAX));
    reader.asked(node, &ticket(250), now);
    assert_eq!(reader.deadline(now), Some(now + Duration::from_millis(5)));
    reader.told(node, WORTHWHILE_BYTES - 1);
    assert_eq!(reader.deadline(now), Some(now + Duration::from_millis(5)));
    reader.told(node, WORTHWHILE_BYTES);
    assert_eq!(reader.deadline(now), None, "it has more");
}
