use super::*;
use crate::kafka::native::messages::metadata::{
    Address, Metadata, PartitionMetadata, TopicMetadata,
};
use crate::log::{EncodedHeaders, Partitions};
use crate::time::Timestamp;

const NOT_LEADER: i16 = 6;
const TIMED_OUT: i16 = 7;
const TOO_LARGE: i16 = 10;
const UNAUTHORISED: i16 = 29;
const OUT_OF_ORDER: i16 = 45;

const IN_FLIGHT_MAX: usize = 5;

/// One partition of a broker that is known.
struct Test {
    writer: Writer,
    cluster: Cluster,
    partition: PartitionId,
    now: Instant,
    epoch: i16,
    events: Vec<LogEvent>,
}

fn batch(count: usize) -> OpenBatch {
    let mut batch = OpenBatch::new();
    for _ in 0..count {
        let headers = EncodedHeaders::new();
        batch.append(Timestamp::ZERO, None, Some(&[7; 20]), headers.view());
    }
    batch
}

impl Test {
    fn new() -> Self {
        let now = Instant::from_origin(Duration::from_secs(1));
        let second = Duration::from_secs(1);
        let mut cluster = Cluster::new(second * 300, second * 5);
        cluster.led(&TopicPartition::new("t", 0), now);
        let address = Address { host: "broker".into(), port: 9092 };
        let (leader, leader_epoch) = (Node(1), 1);
        let partitions =
            [0, 1].map(|index| PartitionMetadata { index, code: 0, leader, leader_epoch }).into();
        let topics = vec![TopicMetadata { name: "t".into(), code: 0, partitions }];
        cluster.told(Metadata { brokers: vec![(Node(1), address)], topics }, now);
        let writer = Writer {
            queues: BTreeMap::new(),
            sending: BTreeMap::new(),
            next_number: 0,
            bytes_max: 1000,
            in_flight_max: IN_FLIGHT_MAX,
            timeout: Some(second * 60),
            pause: second / 20,
            request_bytes_max: usize::MAX,
        };
        let partition = Partitions::default().id(&TopicPartition::new("t", 0));
        Self { writer, cluster, partition, now, epoch: 0, events: Vec::new() }
    }

    /// One whose broker knows the producer, from an earlier epoch.
    fn known() -> Self {
        let mut test = Self::new();
        test.send(0, 1);
        let (_, ticket) = test.leave().unwrap();
        test.answer(&ticket, 0, 0);
        test.told();
        test.writer.renumber(false);
        test
    }

    fn send(&mut self, effect: u64, count: usize) {
        let name = || TopicPartition::new("t", 0);
        let of = (EffectId(effect), self.now);
        self.writer.send(of, self.partition, name, batch(count), &mut self.events);
    }

    /// What leaves next: the number of its first record, how many there are, and its ticket.
    fn leave(&mut self) -> Option<((i32, i32), Ticket)> {
        let producer = ProducerId { id: 7, epoch: self.epoch };
        let by = As { producer, is_transactional: false, packing: None };
        let (now, events) = (self.now, &mut self.events);
        let mut due = self.writer.due(&mut self.cluster, now, by, |_, _| true, events);
        let (parts, ticket) = due.remove(&Node(1))?.split();
        let bytes = &parts[0].batch;
        let int = |at: usize| i32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
        assert_eq!(i16::from_be_bytes([bytes[51], bytes[52]]), self.epoch);
        Some(((int(53), int(57)), ticket))
    }

    fn answer(&mut self, ticket: &Ticket, code: i16, base_offset: i64) {
        let (topic, text) = ("t".to_owned(), String::new());
        let answer = produce::Answer { topic, partition: 0, code, base_offset, text };
        self.writer.answered(ticket, &[answer], self.now, &mut self.events);
    }

    fn lose(&mut self, ticket: &Ticket) {
        self.writer.unanswered(ticket, self.now);
    }

    fn wait(&mut self) {
        self.now = self.now + Duration::from_secs(1);
    }

    fn told(&mut self) -> Vec<String> {
        let told = self.events.drain(..).map(|event| match event {
            LogEvent::Ended { effect, outcome: Outcome::Done { next_offset } } => {
                format!("{} done {next_offset:?}", effect.0)
            }
            LogEvent::Ended { effect, outcome: Outcome::Unknown } => {
                format!("{} unknown", effect.0)
            }
            LogEvent::Ended { effect, .. } => format!("{} failed", effect.0),
            other => format!("{other:?}"),
        });
        told.collect()
    }
}

#[test]
fn batches_leave_in_order_and_no_more_than_a_broker_remembers() {
    let mut test = Test::known();
    (1..=7).for_each(|effect| test.send(effect, 2));
    let mut tickets = Vec::new();
    while let Some(((first, count), ticket)) = test.leave() {
        assert_eq!((first, count), (2 * tickets.len() as i32, 2));
        tickets.push(ticket);
    }
    assert_eq!(tickets.len(), IN_FLIGHT_MAX);
    test.answer(&tickets[0], 0, 40);
    assert_eq!(test.told(), ["1 done Some(42)"]);
    assert_eq!(test.leave().map(|(numbers, _)| numbers), Some((10, 2)));
}

#[test]
fn the_first_batch_is_alone_until_the_broker_knows_the_producer() {
    let mut test = Test::new();
    (1..=3).for_each(|effect| test.send(effect, 1));
    let (numbers, first) = test.leave().unwrap();
    assert_eq!(numbers, (0, 1));
    assert!(test.leave().is_none(), "the second could take the place of the first");
    test.answer(&first, 0, 0);
    assert_eq!(test.leave().map(|(numbers, _)| numbers), Some((1, 1)));
    assert_eq!(test.leave().map(|(numbers, _)| numbers), Some((2, 1)));
    test.writer.renumber(true);
    test.send(4, 1);
    assert!(test.leave().is_none(), "under another id it is not known any more");
}

#[test]
fn what_came_back_leaves_once_all_has_come_back_and_with_the_same_numbers() {
    let mut test = Test::known();
    (1..=3).for_each(|effect| test.send(effect, 1));
    let tickets: Vec<_> = std::iter::from_fn(|| test.leave()).map(|(_, ticket)| ticket).collect();
    test.lose(&tickets[0]);
    test.wait();
    assert!(test.leave().is_none(), "two are still under way");
    test.answer(&tickets[1], OUT_OF_ORDER, -1);
    test.answer(&tickets[2], OUT_OF_ORDER, -1);
    test.wait();
    let numbers: Vec<_> = std::iter::from_fn(|| test.leave()).map(|(numbers, _)| numbers).collect();
    assert_eq!(numbers, [(0, 1), (1, 1), (2, 1)]);
    assert!(test.told().is_empty());
}

#[test]
fn the_number_of_a_refused_batch_goes_to_the_next() {
    let mut test = Test::known();
    (1..=2).for_each(|effect| test.send(effect, 1));
    let tickets: Vec<_> = std::iter::from_fn(|| test.leave()).map(|(_, ticket)| ticket).collect();
    test.answer(&tickets[0], UNAUTHORISED, -1);
    test.answer(&tickets[1], OUT_OF_ORDER, -1);
    assert_eq!(test.told(), ["1 failed"]);
    test.wait();
    assert_eq!(test.leave().map(|(numbers, _)| numbers), Some((0, 1)));
}

#[test]
fn a_refusal_after_an_attempt_without_an_answer_leaves_the_end_unknown() {
    for is_lost in [true, false] {
        let mut test = Test::new();
        (1..=2).for_each(|effect| test.send(effect, 1));
        let (_, ticket) = test.leave().unwrap();
        if is_lost {
            test.lose(&ticket);
        } else {
            test.answer(&ticket, TIMED_OUT, -1);
        }
        test.wait();
        let (_, ticket) = test.leave().unwrap();
        test.answer(&ticket, UNAUTHORISED, -1);
        assert_eq!(test.told(), ["1 unknown"]);
        assert_eq!(test.leave().map(|(numbers, _)| numbers), Some((1, 1)), "0 may be taken");
    }
}

#[test]
fn one_that_was_only_sent_to_the_wrong_broker_has_failed() {
    let mut test = Test::new();
    test.send(1, 1);
    let (_, ticket) = test.leave().unwrap();
    test.answer(&ticket, NOT_LEADER, -1);
    test.wait();
    let (_, ticket) = test.leave().unwrap();
    test.answer(&ticket, UNAUTHORISED, -1);
    assert_eq!(test.told(), ["1 failed"]);
}

#[test]
fn a_batch_that_is_too_large_goes_in_pieces_and_only_the_record_that_is_suffers() {
    let mut test = Test::new();
    test.send(1, 2);
    let (_, ticket) = test.leave().unwrap();
    test.answer(&ticket, TOO_LARGE, -1);
    let (first, ticket) = test.leave().unwrap();
    assert_eq!(first, (0, 1));
    test.answer(&ticket, TOO_LARGE, -1);
    let (second, ticket) = test.leave().unwrap();
    assert_eq!(second, (0, 1));
    assert!(test.told().is_empty());
    test.answer(&ticket, 0, 9);
    assert_eq!(test.told(), ["1 failed"]);
}

#[test]
fn another_epoch_numbers_from_0() {
    let mut test = Test::new();
    test.send(1, 3);
    let (_, ticket) = test.leave().unwrap();
    test.answer(&ticket, 0, 0);
    test.writer.renumber(false);
    test.epoch = 1;
    test.send(2, 1);
    assert_eq!(test.leave().map(|(numbers, _)| numbers), Some((0, 1)));
}

#[test]
fn what_is_never_acknowledged_is_unknown_in_the_end() {
    let mut test = Test::new();
    test.send(1, 1);
    test.now = test.now + Duration::from_secs(61);
    test.writer.expire(test.now, &mut test.events);
    assert_eq!(test.told(), ["1 unknown"]);
}

#[test]
fn what_a_request_has_no_room_for_leaves_in_the_next() {
    let mut test = Test::new();
    test.writer.request_bytes_max = 1;
    let partitions = Partitions::default();
    for index in [0, 1] {
        let name = TopicPartition::new("t", index);
        let of = (EffectId(u64::from(index)), test.now);
        let id = partitions.id(&name);
        test.writer.send(of, id, || name, batch(1), &mut test.events);
    }
    for _ in [0, 1] {
        let (_, ticket) = test.leave().expect("one of them leaves");
        assert_eq!(ticket.0.len(), 1, "the first is larger than the limit, and leaves alone");
    }
    assert!(test.leave().is_none());
}
