//! Joins of two streams, rule by rule. The conformance tests compare them with Kafka Streams', but
//! for *when* a record without a match comes out, where ours is the better rule.

use std::time::Duration;

use millstream::testing::TopologyTestDriver;
use millstream::{
    Config, Guarantee, JoinWindows, KStream, StreamJoined, StreamsBuilder, Timestamp, Topic,
    Topology,
};

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn text(name: &str) -> Topic<String, String> {
    Topic::plain(name)
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Inner,
    Left,
    Outer,
}

fn topology(kind: Kind, windows: JoinWindows) -> Topology {
    let builder = StreamsBuilder::new();
    let (left, right) = (builder.stream(&text("left")), builder.stream(&text("right")));
    join(kind, &left, &right, windows).to(&text("out"));
    builder.build().expect("a valid pipeline")
}

fn join(
    kind: Kind,
    left: &KStream<String, String>,
    right: &KStream<String, String>,
    windows: JoinWindows,
) -> KStream<String, String> {
    let or_none = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    match kind {
        Kind::Inner => left.join(right, windows, "pairs", |l, r| l + &r),
        Kind::Left => left.left_join(right, windows, "pairs", move |l, r| l + &or_none(r)),
        Kind::Outer => {
            left.outer_join(right, windows, "pairs", move |l, r| or_none(l) + &or_none(r))
        }
    }
}

/// Sends `left a 10 x` and the like: topic, key, timestamp, value.
fn send(driver: &mut TopologyTestDriver, records: &[&str]) {
    for record in records {
        let words: Vec<&str> = record.split(' ').collect();
        let &[topic, key, timestamp, value] = words.as_slice() else { panic!("`{record}`") };
        let timestamp = Timestamp::from_millis(timestamp.parse().expect("a number"));
        let sent = driver.input(&text(topic)).send(key.to_owned(), value.to_owned(), timestamp);
        sent.expect("the application goes on");
    }
}

/// What has come out: `key:value@timestamp`.
fn drain(driver: &mut TopologyTestDriver) -> String {
    let records = driver.output(&text("out")).drain().expect("the records are text");
    let line = |record: millstream::Record<String, String>| {
        format!("{}:{}@{}", record.key, record.value, record.timestamp)
    };
    records.into_iter().map(line).collect::<Vec<_>>().join(" ")
}

fn run(kind: Kind, windows: JoinWindows, records: &[&str]) -> String {
    let mut driver = TopologyTestDriver::new(&topology(kind, windows));
    send(&mut driver, records);
    drain(&mut driver)
}

#[test]
fn each_pair_within_the_windows_meets_once_with_the_later_timestamp() {
    let windows = JoinWindows::within(ms(5));
    let records = ["left a 10 x", "right a 15 1", "right a 16 2", "right b 10 3", "left a 12 y"];
    assert_eq!(run(Kind::Inner, windows, &records), "a:x1@15 a:y1@15 a:y2@16");
}

#[test]
fn equal_records_are_kept_side_by_side() {
    let records = ["left a 10 x", "left a 10 x", "right a 10 1", "right a 10 1"];
    let pairs = "a:x1@10 a:x1@10 a:x1@10 a:x1@10";
    assert_eq!(run(Kind::Outer, JoinWindows::within(ms(5)), &records), pairs);
}

#[test]
fn before_and_after_are_seen_from_the_left() {
    let windows = JoinWindows::within(ms(0)).before(ms(2)).after(ms(5));
    let records = ["right a 7 1", "right a 8 2", "left a 10 x", "right a 15 3", "right a 16 4"];
    assert_eq!(run(Kind::Inner, windows, &records), "a:x2@10 a:x3@15");
}

#[test]
fn a_left_record_without_match_leaves_when_window_and_grace_have_passed_and_not_before() {
    let windows = JoinWindows::within(ms(5)).grace(ms(3));
    let mut driver = TopologyTestDriver::new(&topology(Kind::Left, windows));
    send(&mut driver, &["left a 10 x", "right b 18 1"]);
    assert_eq!(drain(&mut driver), "");
    // A late match within grace is the only result: nothing was said that it contradicts.
    send(&mut driver, &["right a 15 2"]);
    assert_eq!(drain(&mut driver), "a:x2@15");
    send(&mut driver, &["left c 18 y", "left c 26 z"]);
    assert_eq!(drain(&mut driver), "");
    send(&mut driver, &["left d 27 z"]);
    assert_eq!(drain(&mut driver), "c:y-@18");
}

#[test]
fn only_an_outer_join_keeps_the_right_records() {
    let windows = JoinWindows::within(ms(5));
    let records = ["right a 10 1", "left b 11 x", "right z 100 9"];
    assert_eq!(run(Kind::Inner, windows, &records), "");
    assert_eq!(run(Kind::Left, windows, &records), "b:x-@11");
    assert_eq!(run(Kind::Outer, windows, &records), "a:-1@10 b:x-@11");
}

#[test]
fn those_that_expire_together_leave_by_time_then_right_before_left_then_key() {
    let windows = JoinWindows::within(ms(5));
    let records =
        ["left b 11 1", "left a 11 2", "right c 11 3", "left z 10 4", "left a 11 5", "left y 90 6"];
    let wanted = "z:4-@10 c:-3@11 a:2-@11 a:5-@11 b:1-@11";
    assert_eq!(run(Kind::Outer, windows, &records), wanted);
}

/// Each side waits for as long as *its* window is open, however far time jumps at once.
#[test]
fn sides_with_windows_of_their_own_leave_in_the_order_in_which_they_expire() {
    let windows = JoinWindows::within(ms(0)).before(ms(20)).after(ms(2));
    let mut driver = TopologyTestDriver::new(&topology(Kind::Outer, windows));
    send(&mut driver, &["right a 10 1", "left b 12 x", "left c 15 y"]);
    assert_eq!(drain(&mut driver), "b:x-@12");
    send(&mut driver, &["left d 500 z"]);
    assert_eq!(drain(&mut driver), "c:y-@15 a:-1@10");
}

#[test]
fn a_record_that_comes_after_its_own_end_is_alone_at_once() {
    let windows = JoinWindows::within(ms(5));
    let records = ["left a 100 x", "left b 10 y"];
    assert_eq!(run(Kind::Left, windows, &records), "b:y-@10");
}

#[test]
fn a_stream_joins_itself() {
    let builder = StreamsBuilder::new();
    let both = builder.stream(&text("left"));
    join(Kind::Inner, &both, &both, JoinWindows::within(ms(5))).to(&text("out"));
    let mut driver = TopologyTestDriver::new(&builder.build().unwrap());
    send(&mut driver, &["left a 10 x", "left a 12 y"]);
    assert_eq!(drain(&mut driver), "a:xx@10 a:yx@12 a:xy@12 a:yy@12");
}

/// Whoever waits goes on waiting after a crash, and whoever was matched stays matched.
#[test]
fn waiting_records_survive_a_crash_with_and_without_the_state_directory() {
    for guarantee in [Guarantee::ExactlyOnce, Guarantee::AtLeastOnce] {
        let config = || Config::builder("test", "in-process").guarantee(guarantee).build().unwrap();
        let topology = topology(Kind::Outer, JoinWindows::within(ms(5)).grace(ms(3)));
        for loses_state in [false, true] {
            let mut driver = TopologyTestDriver::with_config(&topology, config());
            send(&mut driver, &["left a 10 x", "left b 10 y", "right c 11 1", "right a 12 2"]);
            assert_eq!(drain(&mut driver), "a:x2@12");
            if loses_state {
                driver.crash_and_lose_state().unwrap();
            } else {
                driver.crash().unwrap();
            }
            send(&mut driver, &["right b 14 3", "left d 50 z"]);
            assert_eq!(drain(&mut driver), "b:y3@14 c:-1@11", "{guarantee:?} {loses_state}");
        }
    }
}

/// What the stores have forgotten before a crash is forgotten after it.
#[test]
fn a_restored_join_matches_no_more_than_before() {
    for crashes in [false, true] {
        let topology = topology(Kind::Inner, JoinWindows::within(ms(5)));
        let mut driver = TopologyTestDriver::new(&topology);
        send(&mut driver, &["left a 10 x", "left b 20 y"]);
        assert_eq!(drain(&mut driver), "");
        if crashes {
            driver.crash_and_lose_state().unwrap();
        }
        send(&mut driver, &["right a 12 1", "right b 15 2"]);
        assert_eq!(drain(&mut driver), "b:y2@20", "crashes: {crashes}");
    }
}

#[test]
fn a_changed_key_is_repartitioned_on_its_side_only() {
    let builder = StreamsBuilder::new();
    let left = builder.stream(&text("left")).select_key(|_, value| value.clone());
    let right = builder.stream(&text("right"));
    join(Kind::Inner, &left, &right, JoinWindows::within(ms(5))).to(&text("out"));
    let topology = builder.build().unwrap();
    let names: Vec<_> = topology.plan().repartitions().iter().map(|spec| &*spec.name).collect();
    assert_eq!(names, ["pairs-left"]);
    let mut driver = TopologyTestDriver::new(&topology).partitions(3);
    send(&mut driver, &["left q 10 a", "right a 12 1"]);
    assert_eq!(drain(&mut driver), "a:a1@12");
}

#[test]
fn stores_and_nodes_carry_kafka_streams_names() {
    let stores = |kind| {
        let topology = topology(kind, JoinWindows::within(ms(5)));
        let stores = topology.plan().stores().iter().map(|store| store.name.to_string());
        stores.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(stores(Kind::Inner), "pairs-this-join-store pairs-other-join-store");
    let left = "pairs-this-join-store pairs-outer-other-join-store pairs-left-shared-join-store";
    assert_eq!(stores(Kind::Left), left);
    assert_eq!(
        stores(Kind::Outer),
        "pairs-outer-this-join-store pairs-outer-other-join-store pairs-outer-shared-join-store"
    );
}

#[test]
fn windows_that_make_no_sense_and_names_used_twice_are_reported_together() {
    let builder = StreamsBuilder::new();
    let (left, right) = (builder.stream(&text("left")), builder.stream(&text("right")));
    let endless = JoinWindows::within(Duration::MAX);
    let options = || StreamJoined::named("pairs").in_memory();
    left.join_with(&right, endless, options(), |l: String, r: String| l + &r).to(&text("a"));
    let fine = JoinWindows::within(ms(1));
    left.join_with(&right, fine, options(), |l: String, r: String| l + &r).to(&text("b"));
    let problems = builder.build().unwrap_err().to_string();
    assert!(problems.contains("pairs`"), "{problems}");
    assert!(problems.contains("`pairs-this-join-store` is used by two stores"), "{problems}");
}
