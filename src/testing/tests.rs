use super::TopologyTestDriver;
use std::time::Duration;

use crate::{
    Config, ErrorPolicy, Guarantee, SessionWindows, StreamsBuilder, TimeWindows, Timestamp, Topic,
    Topology, Window, Windowed,
};

fn words() -> Topic<String, String> {
    Topic::plain("words")
}

fn counts() -> Topic<String, i64> {
    Topic::plain("counts")
}

fn word_count() -> Topology {
    let builder = StreamsBuilder::new();
    let words = builder.stream(&words());
    let split = words
        .flat_map_values(|line: String| line.split(' ').map(str::to_owned).collect::<Vec<_>>());
    split.group_by(|_, word| word.clone()).count("counts").to(&counts());
    builder.build().expect("a valid pipeline")
}

fn send(driver: &mut TopologyTestDriver, line: &str) {
    driver.input(&words()).send("k".into(), line.into(), Timestamp::from_millis(7)).unwrap();
}

fn drain(driver: &mut TopologyTestDriver) -> Vec<(String, i64)> {
    let drained = driver.output(&counts()).drain().unwrap();
    let mut drained: Vec<_> =
        drained.into_iter().map(|record| (record.key, record.value)).collect();
    drained.sort();
    drained
}

#[test]
fn words_are_counted_across_a_repartition() {
    let mut driver = TopologyTestDriver::new(&word_count()).partitions(3);
    send(&mut driver, "a b a");
    send(&mut driver, "b");
    let expected = [("a", 1), ("a", 2), ("b", 1), ("b", 2)].map(|(k, n)| (k.to_owned(), n));
    assert_eq!(drain(&mut driver), expected);
    let mut rows = driver.store::<String, i64>("counts").unwrap();
    rows.sort();
    let at = Timestamp::from_millis(7);
    assert_eq!(rows, [("a".to_owned(), 2, at), ("b".to_owned(), 2, at)]);
}

#[test]
fn counts_go_on_after_a_crash_with_and_without_the_state_directory() {
    for guarantee in [Guarantee::ExactlyOnce, Guarantee::AtLeastOnce] {
        let config = Config::builder("test", "in-process").guarantee(guarantee).build().unwrap();
        let mut driver = TopologyTestDriver::with_config(&word_count(), config);
        send(&mut driver, "a a b");
        driver.crash().unwrap();
        send(&mut driver, "a");
        driver.crash_and_lose_state().unwrap();
        send(&mut driver, "a b");
        let last: std::collections::BTreeMap<_, _> = drain(&mut driver).into_iter().collect();
        assert_eq!(last["a"], 4);
        assert_eq!(last["b"], 2);
    }
}

#[test]
fn what_was_not_committed_is_processed_again_and_counted_once() {
    let mut driver = TopologyTestDriver::new(&word_count()).manual_commit();
    send(&mut driver, "a b");
    driver.commit().unwrap();
    send(&mut driver, "a");
    driver.crash().unwrap();
    let all = drain(&mut driver);
    assert_eq!(all, [("a".to_owned(), 1), ("a".to_owned(), 2), ("b".to_owned(), 1)]);
}

#[test]
fn an_undecodable_record_stops_skips_or_is_dead_lettered_by_policy() {
    let raw = Topic::<Vec<u8>, Vec<u8>>::plain("words");
    let dead = Topic::<Vec<u8>, Vec<u8>>::plain("dead");
    for policy in [ErrorPolicy::Fail, ErrorPolicy::Skip, ErrorPolicy::dead_letter("dead")] {
        let config =
            Config::builder("test", "in-process").on_error(policy.clone()).build().unwrap();
        let mut driver = TopologyTestDriver::with_config(&word_count(), config);
        if policy == ErrorPolicy::Skip {
            driver.create_topic("dead", 1).unwrap();
        }
        let sent = driver.input(&raw).send(b"k".to_vec(), vec![0xff], Timestamp::ZERO);
        if policy == ErrorPolicy::Fail {
            let error = sent.unwrap_err().to_string();
            assert!(
                error.contains("skip or dead-letter (task 0_0, words-0 offset 0): "),
                "{error}"
            );
            continue;
        }
        sent.unwrap();
        send(&mut driver, "a");
        assert_eq!(drain(&mut driver), [("a".to_owned(), 1)]);
        let letters = driver.output(&dead).drain_with_headers().unwrap();
        let expected = usize::from(policy != ErrorPolicy::Skip);
        assert_eq!(letters.len(), expected);
        for (record, headers) in letters {
            assert_eq!(record.value, [0xff]);
            assert_eq!(headers.last("__streams.errors.topic"), Some(&b"words"[..]));
            assert_eq!(headers.last("__streams.errors.offset"), Some(&b"0"[..]));
        }
    }
}

#[test]
fn rows_of_windows_and_sessions_are_shown_with_their_bounds() {
    let builder = StreamsBuilder::new();
    let words = builder.stream(&words()).group_by_key();
    let windows = TimeWindows::tumbling(Duration::from_millis(10)).grace(Duration::from_millis(10));
    let _ = words.windowed_by(windows).count("windows");
    let sessions = SessionWindows::gap(Duration::from_millis(5));
    let _ = words.windowed_by(sessions).count("sessions");
    let mut driver = TopologyTestDriver::new(&builder.build().unwrap());
    let at = Timestamp::from_millis;
    for time in [3, 7, 12] {
        driver.input(&self::words()).send("k".into(), "v".into(), at(time)).unwrap();
    }
    let key = || "k".to_owned();
    let windows = driver.window_store::<String, i64>("windows").unwrap();
    assert_eq!(windows, [(key(), at(0), 2, at(7)), (key(), at(10), 1, at(12))]);
    let sessions = driver.session_store::<String, i64>("sessions").unwrap();
    let session = Windowed::new(key(), Window::new(at(3), at(12)));
    assert_eq!(sessions, [(session, 3, at(12))]);
    driver.window_store::<String, i64>("sessions").unwrap_err();
}

#[test]
fn a_topic_that_the_pipeline_does_not_use_is_an_error() {
    let elsewhere = Topic::<String, i64>::plain("elsewhere");
    let mut driver = TopologyTestDriver::new(&word_count());
    let sent = driver.input(&elsewhere).send("k".into(), 1, Timestamp::ZERO).unwrap_err();
    let drained = driver.output(&elsewhere).drain().unwrap_err();
    for error in [sent, drained] {
        assert_eq!(error.to_string(), "the topology does not use topic `elsewhere`");
    }
}
