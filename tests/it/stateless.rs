//! What do operators on one record at a time promise? One rule for each test.

use std::sync::{Arc, Mutex};

use millstream::serde::{Canonical, Nullable};
use millstream::testing::TopologyTestDriver;
use millstream::{
    Config, ErrorKind, ErrorPolicy, Guarantee, Headers, KStream, OffsetReset, Record,
    Repartitioned, StreamsBuilder, Timestamp, Topic,
};

use crate::shorthand::{
    any, at, drain, driver, lenient, ms, pass, send, text, topology, uncommitted,
};

fn stream(b: &StreamsBuilder) -> KStream<String, String> {
    b.stream(&text("in"))
}

fn is_short(_: &String, value: &String) -> bool {
    value.len() < 3
}

// --- one record at a time ------------------------------------------------------------------------

#[test]
fn filter_and_filter_not_share_the_records_between_them() {
    let mut driver = driver(|b| {
        stream(b).filter(is_short).to(&text("out"));
        stream_of(b, "other").filter_not(is_short).to(&text("rest"));
    });
    let records = "a=x@1 b=xxx@2 c=xx@3";
    assert_eq!(pass(&mut driver, records), "a=x@1 c=xx@3");
    send(&mut driver, "other", records);
    assert_eq!(drain(&mut driver, "rest"), "b=xxx@2");
}

fn stream_of(b: &StreamsBuilder, topic: &str) -> KStream<String, String> {
    b.stream(&text(topic))
}

#[test]
fn map_replaces_key_and_value_and_keeps_the_time() {
    let mut driver = driver(|b| stream(b).map(|key, value| (value, key)).to(&text("out")));
    assert_eq!(pass(&mut driver, "a=x@7"), "x=a@7");
}

#[test]
fn flat_map_makes_none_one_or_many_in_order() {
    let mut driver = driver(|b| {
        let split = stream(b).flat_map(|key, value: String| {
            let parts = value.split_terminator('-').map(str::to_owned).collect::<Vec<_>>();
            parts.into_iter().map(move |part| (part, key.clone()))
        });
        split.to(&text("out"));
    });
    assert_eq!(pass(&mut driver, "a=x-y-z@1 b=@2 c=w@3"), "x=a@1 y=a@1 z=a@1 w=c@3");
}

#[test]
fn flat_map_values_keeps_the_key() {
    let mut driver = driver(|b| {
        let letters = |value: String| value.chars().map(String::from).collect::<Vec<_>>();
        stream(b).flat_map_values(letters).to(&text("out"));
    });
    assert_eq!(pass(&mut driver, "a=xy@1"), "a=x@1 a=y@1");
}

#[test]
fn peek_and_for_each_see_every_record_in_order() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (first, last) = (Arc::clone(&seen), Arc::clone(&seen));
    let mut driver = driver(|b| {
        let stream = stream(b).peek(move |_, value| first.lock().unwrap().push(value.clone()));
        stream.for_each(move |key, value| last.lock().unwrap().push(key + &value));
    });
    send(&mut driver, "in", "a=x@1 b=y@2");
    assert_eq!(*seen.lock().unwrap(), ["x", "ax", "y", "by"]);
}

/// A value that must not be copied.
#[derive(Debug, PartialEq)]
struct Unique(String);

impl Clone for Unique {
    fn clone(&self) -> Self {
        panic!("a linear pipeline moves its records");
    }
}

#[test]
fn a_linear_pipeline_copies_nothing() {
    let mut driver = driver(|b| {
        let unique = stream(b).map_values(Unique).filter(|_, value| !value.0.is_empty());
        unique.peek(|_, _| {}).map_values(|value| value.0).to(&text("out"));
    });
    assert_eq!(pass(&mut driver, "a=x@1"), "a=x@1");
}

// --- more than one way ---------------------------------------------------------------------------

#[test]
fn a_record_takes_the_first_branch_that_accepts_it() {
    let mut driver = driver(|b| {
        let split = stream(b).split().branch("short", is_short);
        let branches = split.branch("x", |_, value| value.starts_with('x')).default("rest");
        for (name, branch) in branches.iter() {
            branch.to(&text(name));
        }
    });
    send(&mut driver, "in", "a=x@1 b=xxx@2 c=yyy@3 d=yy@4");
    let out = ["short", "x", "rest"].map(|name| drain(&mut driver, name));
    assert_eq!(out, ["a=x@1 d=yy@4", "b=xxx@2", "c=yyy@3"]);
}

#[test]
fn without_a_default_branch_the_others_are_dropped() {
    let mut driver = driver(|b| {
        let branches = stream(b).split().branch("short", is_short).no_default();
        branches["short"].to(&text("out"));
    });
    assert_eq!(pass(&mut driver, "a=xxx@1 b=x@2"), "b=x@2");
}

#[test]
fn merged_streams_keep_the_order_of_each_and_follow_time_between_them() {
    let mut driver = driver(|b| {
        stream(b).merge(&stream_of(b, "other")).to(&text("out"));
    });
    driver.commit().unwrap();
    let log = driver.log().clone();
    let write = |topic: &str, value: &[u8], time: i64| {
        log.produce(topic, Some(0), at(time), Some(b"k"), Some(value), &Headers::new());
    };
    write("in", b"1", 1);
    write("in", b"4", 4);
    write("other", b"3", 3);
    write("other", b"2", 2);
    driver.commit().unwrap();
    assert_eq!(drain(&mut driver, "out"), "k=1@1 k=3@3 k=2@2 k=4@4");
}

#[test]
fn a_stream_that_is_used_twice_goes_both_ways_in_the_order_of_definition() {
    let mut driver = driver(|b| {
        let stream = stream(b);
        stream.map_values(|value| value + "1").to(&text("out"));
        stream.map_values(|value| value + "2").to(&text("out"));
    });
    assert_eq!(pass(&mut driver, "a=x@1"), "a=x1@1 a=x2@1");
}

// --- keys and partitions -------------------------------------------------------------------------

/// The repartition topics of a pipeline.
fn repartitions(define: impl FnOnce(&StreamsBuilder)) -> usize {
    topology(define).describe().matches("Sink: ").count()
}

#[test]
fn records_are_repartitioned_only_where_their_key_may_have_changed() {
    let count = |stream: KStream<String, String>| drop(stream.group_by_key().count("counts"));
    assert_eq!(repartitions(|b| count(stream(b))), 0);
    assert_eq!(repartitions(|b| count(stream(b).filter(is_short))), 0);
    assert_eq!(repartitions(|b| count(stream(b).map_values(|value| value))), 0);
    assert_eq!(repartitions(|b| count(stream(b).peek(|_, _| {}))), 0);
    assert_eq!(repartitions(|b| count(stream(b).select_key(|_, value| value.clone()))), 1);
    assert_eq!(repartitions(|b| count(stream(b).map(|key, value| (value, key)))), 1);
    let moved = |b: &StreamsBuilder| stream(b).select_key(|_, value| value.clone());
    assert_eq!(repartitions(|b| count(moved(b).filter(is_short))), 1, "the change is remembered");
    let either = |b: &StreamsBuilder| {
        let stream = stream(b);
        count(stream.merge(&stream.select_key(|_, value| value.clone())));
    };
    assert_eq!(repartitions(either), 1, "of either side");
    assert_eq!(repartitions(|b| count(moved(b).repartition("once"))), 1, "and done once");
}

#[test]
fn two_aggregations_of_one_group_share_a_repartition() {
    let topology = topology(|b| {
        let words = stream(b).group_by(|_, value| value.clone());
        let _ = words.count("first");
        let _ = words.count("second");
    });
    let described = topology.describe();
    assert_eq!(described.matches("Sink: ").count(), 1, "{described}");
    assert!(described.contains("(topic: first-repartition)"), "{described}");
}

#[test]
fn repartitioned_records_are_together_by_key() {
    let mut driver = uncommitted(Guarantee::ExactlyOnce, |b| {
        let moved = stream(b).select_key(|_, value| value.clone());
        let shuffle = Repartitioned::named("shuffle").partitions(5);
        moved.repartition_with(shuffle).to(&text("out"));
    });
    send(&mut driver, "in", "1=a@1 2=a@2 3=a@3 4=b@4");
    let moved = driver.log().read_uncommitted("test-shuffle-repartition");
    let mut places: Vec<_> =
        moved.into_iter().map(|record| (record.key.unwrap(), record.partition)).collect();
    places.sort();
    assert_eq!(places.iter().filter(|place| **place == places[0]).count(), 3, "{places:?}");
    assert_ne!(places[0].1, places[3].1, "{places:?}");
}

// --- nulls ---------------------------------------------------------------------------------------

#[test]
fn a_null_goes_to_the_error_policy_where_the_type_has_none() {
    let pipeline = |b: &StreamsBuilder| stream(b).to(&text("out"));
    assert_eq!(pass(&mut lenient(pipeline), "~=x@1 a=~@2 b=x@3"), "b=x@3");
    let mut driver = driver(pipeline);
    let sent = driver.input(&any("in")).send(Some("a".into()), None, at(1)).unwrap_err();
    assert_eq!(sent.kind(), ErrorKind::Data);
    let message = sent.to_string();
    assert!(message.contains("in-0 offset 0") && message.contains("nullable_values"), "{message}");
}

#[test]
fn a_null_is_a_value_where_the_topic_says_so() {
    let mut driver = driver(|b| {
        b.stream(&any("in")).map(|key, value| (value, key)).to(&any("out"));
    });
    assert_eq!(pass(&mut driver, "a=~@1 ~=x@2"), "~=a@1 x=~@2");
}

#[test]
fn flatten_drops_nulls_and_changes_the_type() {
    let mut driver = driver(|b| {
        b.stream(&any("in")).flatten_keys().flatten_values().to(&text("out"));
    });
    assert_eq!(pass(&mut driver, "~=x@1 a=~@2 b=y@3"), "b=y@3");
    assert_eq!(driver.null_keys().unwrap(), 1);
}

// --- functions that can fail ---------------------------------------------------------------------

const REFUSED: &str = "the value is refused";

fn refuse_x(value: &str) -> Result<(), &'static str> {
    if value == "x" { Err(REFUSED) } else { Ok(()) }
}

/// Each fallible operator, as something that passes what it does not refuse.
type Fallible = fn(KStream<String, String>) -> KStream<String, String>;

const FALLIBLE: [(&str, Fallible); 7] = [
    ("FILTER", |s| s.try_filter(|_, v| refuse_x(v).map(|()| true))),
    ("MAP", |s| s.try_map(|k, v| refuse_x(&v).map(|()| (k, v)))),
    ("MAPVALUES", |s| s.try_map_values(|v| refuse_x(&v).map(|()| v))),
    ("MAPVALUES", |s| s.try_map_values_with_key(|_, v| refuse_x(&v).map(|()| v))),
    ("KEY-SELECT", |s| s.try_select_key(|k, v| refuse_x(v).map(|()| k.clone()))),
    ("FLATMAP", |s| s.try_flat_map(|k, v| refuse_x(&v).map(|()| [(k, v)]))),
    ("FLATMAPVALUES", |s| s.try_flat_map_values(|v| refuse_x(&v).map(|()| [v]))),
];

fn with_policy(fallible: Fallible, policy: ErrorPolicy) -> TopologyTestDriver {
    let topology = topology(|b| {
        let stream = stream(b);
        fallible(stream.clone()).to(&text("out"));
        stream.to(&text("beside"));
    });
    let config = Config::builder("test", "in-process").on_process_error(policy).build().unwrap();
    let mut driver = TopologyTestDriver::with_config(&topology, config);
    driver.create_topic("dead", 1).unwrap();
    driver
}

#[test]
fn a_failing_function_stops_the_application_unless_told_otherwise() {
    for (operator, fallible) in FALLIBLE {
        let mut driver = with_policy(fallible, ErrorPolicy::Fail);
        assert_eq!(pass(&mut driver, "a=y@1"), "a=y@1");
        let sent = driver.input(&text("in")).send("b".into(), "x".into(), at(2)).unwrap_err();
        assert_eq!(sent.kind(), ErrorKind::Data);
        assert!(sent.node().is_some_and(|node| node.contains(operator)), "{sent}");
        let (partition, offset) = sent.position().expect("the record has a place");
        assert_eq!((&*partition.topic, partition.partition, offset), ("in", 0, 1));
        assert!(sent.to_string().contains(REFUSED), "{sent}");
        assert_eq!(driver.log().read("out").len(), 1, "nothing of the record has come out");
        assert_eq!(driver.log().read("beside").len(), 1, "nor beside the operator");
    }
}

#[test]
fn a_skipped_record_is_dropped_at_the_failing_operator_alone() {
    for (_, fallible) in FALLIBLE {
        let mut driver = with_policy(fallible, ErrorPolicy::Skip);
        assert_eq!(pass(&mut driver, "a=y@1 b=x@2 c=z@3"), "a=y@1 c=z@3");
        assert_eq!(drain(&mut driver, "beside"), "a=y@1 b=x@2 c=z@3");
    }
}

#[test]
fn a_dead_letter_is_the_source_record_with_the_reason() {
    for (_, fallible) in FALLIBLE {
        let mut driver = with_policy(fallible, ErrorPolicy::dead_letter("dead"));
        assert_eq!(pass(&mut driver, "a=y@1 b=x@2"), "a=y@1");
        let letters = driver.output(&text("dead")).drain_with_headers().unwrap();
        let [(record, headers)] = &letters[..] else { panic!("one letter: {letters:?}") };
        assert_eq!(*record, Record::new("b".to_owned(), "x".to_owned(), at(2)));
        assert_eq!(headers.last("__streams.errors.message"), Some(REFUSED.as_bytes()));
        assert_eq!(headers.last("__streams.errors.offset"), Some(&b"1"[..]));
    }
}

#[test]
fn a_failing_branch_predicate_and_a_failing_end_follow_the_policy_too() {
    let mut driver = lenient(|b| {
        let split = stream(b).split();
        let split = split.try_branch("kept", |_, value| refuse_x(value).map(|()| true));
        let branches = split.default("rest");
        branches["kept"].to(&text("out"));
        branches["rest"].to(&text("rest"));
        branches["kept"].try_for_each(|_, value| refuse_x(&value));
    });
    assert_eq!(pass(&mut driver, "a=y@1 b=x@2"), "a=y@1");
    assert_eq!(drain(&mut driver, "rest"), "", "a record that fails takes no branch");
}

// --- headers, topics, times ----------------------------------------------------------------------

#[test]
fn headers_are_read_and_changed_for_what_follows_only() {
    let mut driver = driver(|b| {
        let stream = stream(b);
        let marked = stream.with_headers(|key, _, headers| {
            let before = headers.last("trace").map(<[u8]>::to_vec).unwrap_or_default();
            headers.remove("trace");
            headers.push("trace", [&before[..], key.as_bytes()].concat());
        });
        marked.to(&text("out"));
        stream.to(&text("beside"));
    });
    let mut headers = Headers::new();
    headers.push("trace", "t");
    let record = Record::new("a".to_owned(), "x".to_owned(), at(1));
    driver.input(&text("in")).send_record(record, &headers).unwrap();
    let trace = |driver: &mut TopologyTestDriver, topic: &str| {
        let out = driver.output(&text(topic)).drain_with_headers().unwrap();
        out[0].1.last("trace").map(<[u8]>::to_vec)
    };
    assert_eq!(trace(&mut driver, "out").as_deref(), Some(&b"ta"[..]));
    assert_eq!(trace(&mut driver, "beside").as_deref(), Some(&b"t"[..]));
}

#[test]
fn headers_travel_through_a_repartition() {
    let mut driver = driver(|b| {
        stream(b).select_key(|_, value| value.clone()).repartition("shuffle").to(&text("out"));
    });
    let mut headers = Headers::new();
    headers.push("trace", "t");
    let record = Record::new("a".to_owned(), "x".to_owned(), at(1));
    driver.input(&text("in")).send_record(record, &headers).unwrap();
    let out = driver.output(&text("out")).drain_with_headers().unwrap();
    assert_eq!(out[0].1.last("trace"), Some(&b"t"[..]));
}

#[test]
fn each_record_can_choose_its_topic() {
    let mut driver = driver(|b| {
        stream(b).to_chosen(Canonical, Canonical, |key, _| Arc::from(format!("out-{key}")));
    });
    for topic in ["out-a", "out-b"] {
        driver.create_topic(topic, 1).unwrap();
    }
    send(&mut driver, "in", "a=x@1 b=y@2 a=z@3");
    let out = ["out-a", "out-b"].map(|topic| drain(&mut driver, topic));
    assert_eq!(out, ["a=x@1 a=z@3", "b=y@2"]);
}

/// The time is in the value.
fn timed(name: &str) -> Topic<String, String> {
    let parse = |_: &String, value: &String, logged: Timestamp| {
        value.parse().map_or(logged, Timestamp::from_millis)
    };
    text(name).timestamps(parse)
}

#[test]
fn a_records_time_can_be_taken_from_its_content() {
    let mut driver = driver(|b| b.stream(&timed("in")).to(&text("out")));
    assert_eq!(pass(&mut driver, "a=55@1 a=none@2"), "a=55@55 a=none@2");
}

#[test]
fn a_time_from_the_content_is_taken_where_null_is_allowed_too() {
    let mut driver = driver(|b| {
        b.stream(&timed("in").nullable_values().nullable_keys()).to(&any("out"));
    });
    assert_eq!(pass(&mut driver, "a=55@1 a=~@2 ~=66@3"), "a=55@55 a=~@2 ~=66@3");
}

#[test]
fn a_negative_time_goes_to_the_error_policy() {
    let pipeline = |b: &StreamsBuilder| b.stream(&timed("in")).to(&text("out"));
    assert_eq!(pass(&mut lenient(pipeline), "a=-1@5 b=7@6"), "b=7@7");
    let sent = driver(pipeline).input(&text("in")).send("a".into(), "-1".into(), at(5));
    assert!(sent.unwrap_err().to_string().contains("before the epoch"));
}

/// What an application reads of records that were there before it began.
fn read_from(reset: OffsetReset) -> Result<String, millstream::Error> {
    let topology = topology(|b| b.stream(&text("in").offset_reset(reset)).to(&text("out")));
    let mut driver = TopologyTestDriver::new(&topology);
    let write = |driver: &TopologyTestDriver, value: &[u8], time: i64| {
        let log = driver.log();
        log.produce("in", Some(0), at(time), Some(b"a"), Some(value), &Headers::new());
    };
    driver.log().create_topic("in", 1);
    write(&driver, b"old", 10_000);
    write(&driver, b"young", 99_000);
    driver.advance(ms(0))?;
    write(&driver, b"new", 100_000);
    driver.commit()?;
    Ok(drain(&mut driver, "out"))
}

#[test]
fn reading_begins_where_the_topic_says() {
    let all = "a=old@10000 a=young@99000 a=new@100000";
    assert_eq!(read_from(OffsetReset::Earliest).unwrap(), all);
    assert_eq!(read_from(OffsetReset::Latest).unwrap(), "a=new@100000");
}

#[test]
fn reading_can_be_refused_where_nothing_is_committed() {
    let refused = read_from(OffsetReset::None).unwrap_err().to_string();
    assert!(refused.contains("in-0"), "{refused}");
}

#[test]
fn a_policy_of_a_topic_goes_before_that_of_the_application() {
    let topology = topology(|b| {
        b.stream(&text("in").on_error(ErrorPolicy::Skip)).to(&text("out"));
        b.stream(&text("strict")).to(&text("out"));
    });
    let mut driver = TopologyTestDriver::new(&topology);
    assert_eq!(pass(&mut driver, "~=x@1 a=y@2"), "a=y@2");
    driver.input(&any("strict")).send(None, Some("x".into()), at(1)).unwrap_err();
}

#[test]
fn codecs_of_the_users_own_serve_reading_and_writing() {
    let upper = || Topic::new("out", Nullable::new(Arc::new(Canonical)), millstream::serde::Json);
    let mut driver = driver(|b| {
        let lengths = stream(b).map(|key, value| (Some(key), vec![value.len(), 1]));
        lengths.to(&upper());
    });
    send(&mut driver, "in", "a=xyz@1");
    let out = driver.output(&upper()).drain().unwrap();
    assert_eq!(out, [Record::new(Some("a".to_owned()), vec![3, 1], at(1))]);
    assert_eq!(driver.log().read("out")[0].value.as_deref(), Some(&b"[3,1]"[..]));
}

// --- records of several partitions ---------------------------------------------------------------

/// A partition that had nothing for `max_task_idle` was waited for again behind each record of the
/// others: one of them came through in that time.
#[test]
fn an_idle_partition_is_waited_for_once() {
    let builder = StreamsBuilder::new();
    stream(&builder).merge(&stream_of(&builder, "other")).to(&text("out"));
    let config = Config::builder("test", "in-process").max_task_idle(Some(ms(100))).build();
    let topology = builder.build().expect("a valid pipeline");
    let mut driver = TopologyTestDriver::with_config(&topology, config.expect("valid settings"));
    assert_eq!(pass(&mut driver, "a=1@10 b=2@20 c=3@30"), "", "the other partition is waited for");
    driver.advance(ms(99)).expect("it runs");
    assert_eq!(drain(&mut driver, "out"), "");
    driver.advance(ms(1)).expect("it runs");
    assert_eq!(drain(&mut driver, "out"), "a=1@10 b=2@20 c=3@30");
    assert_eq!(pass(&mut driver, "d=4@40"), "d=4@40", "it is idle still");
    send(&mut driver, "other", "x=5@35");
    assert_eq!(drain(&mut driver, "out"), "", "the first is idle since a moment only");
    driver.advance(ms(100)).expect("it runs");
    assert_eq!(drain(&mut driver, "out"), "x=5@35");
}

/// A partition that had run empty at a time when nothing waited for it counted as idle from then
/// on, so that a record was joined without the row that both had waited for a broker to be sent.
#[test]
fn a_partition_is_idle_from_when_something_waits_for_it() {
    let builder = StreamsBuilder::new();
    stream(&builder).merge(&stream_of(&builder, "other")).to(&text("out"));
    let config = Config::builder("test", "in-process").max_task_idle(Some(ms(100))).build();
    let topology = builder.build().expect("a valid pipeline");
    let mut driver = TopologyTestDriver::with_config(&topology, config.expect("valid settings"));
    driver.advance(ms(1_000)).expect("it runs");
    assert_eq!(pass(&mut driver, "a=1@10"), "", "nothing waited for the other partition before");
    send(&mut driver, "other", "x=5@5");
    assert_eq!(drain(&mut driver, "out"), "x=5@5");
    driver.advance(ms(100)).expect("it runs");
    assert_eq!(drain(&mut driver, "out"), "a=1@10");
}
