//! What do aggregations of streams by key promise? One rule for each test.

use std::time::Duration;

use millstream::serde::Canonical;
use millstream::testing::TopologyTestDriver;
use millstream::{Emit, Guarantee, KGroupedStream, KTable, Materialized, StreamsBuilder};

use crate::shorthand::{
    GUARANTEES, at, drain, driver, emit, lenient, pass, send, text, topology, uncommitted,
};

fn by_key(b: &StreamsBuilder) -> KGroupedStream<String, String> {
    b.stream(&text("in")).group_by_key()
}

fn counts(b: &StreamsBuilder, emit: Emit) -> KTable<String, i64> {
    by_key(b).count_with(Materialized::with_codecs("counts", Canonical, Canonical).emit(emit))
}

#[test]
fn count_counts_the_records_of_each_key() {
    let mut driver = driver(|b| emit(&by_key(b).count("counts")));
    assert_eq!(pass(&mut driver, "a=x@1 b=x@2 a=y@3"), "a=1@1 b=1@2 a=2@3");
}

#[test]
fn reduce_begins_with_the_first_value() {
    let mut driver = driver(|b| {
        emit(&by_key(b).reduce("joined", |total, value| total.push_str(&value)));
    });
    assert_eq!(pass(&mut driver, "a=x@1 a=y@2"), "a=x@1 a=xy@2");
}

#[test]
fn aggregate_begins_with_the_initial_value() {
    let mut driver = driver(|b| {
        let longest = |_: &String, value: String, longest: &mut usize| {
            *longest = value.len().max(*longest);
        };
        emit(&by_key(b).aggregate("longest", || 2, longest));
    });
    assert_eq!(pass(&mut driver, "a=x@1 a=xxx@2 a=xx@3"), "a=2@1 a=3@2 a=3@3");
}

#[test]
fn a_result_has_the_time_of_its_latest_record() {
    let mut driver = driver(|b| emit(&by_key(b).count("counts")));
    assert_eq!(pass(&mut driver, "a=x@5 a=x@3"), "a=1@5 a=2@5");
    assert_eq!(driver.store::<String, i64>("counts").unwrap(), [("a".to_owned(), 2, at(5))]);
}

#[test]
fn a_record_without_a_key_is_in_no_group() {
    let mut driver = lenient(|b| emit(&by_key(b).count("counts")));
    assert_eq!(pass(&mut driver, "~=x@1 a=x@2"), "a=1@2");
}

#[test]
fn a_group_by_value_counts_over_all_partitions() {
    let topology = topology(|b| {
        emit(&b.stream(&text("in")).group_by(|_, value| value.clone()).count("counts"));
    });
    let mut driver = TopologyTestDriver::new(&topology).partitions(4);
    assert_eq!(pass(&mut driver, "a=x@1 b=x@2 c=x@3 d=x@4"), "x=1@1 x=2@2 x=3@3 x=4@4");
}

#[test]
fn on_commit_each_changed_key_comes_out_once_in_the_order_of_first_changes() {
    for guarantee in GUARANTEES {
        let mut driver = uncommitted(guarantee, |b| emit(&counts(b, Emit::OnCommit)));
        assert_eq!(pass(&mut driver, "b=x@1 a=x@2 b=x@3"), "b=2@3 a=1@2");
        assert_eq!(drain(&mut driver, "out"), "", "nothing has changed since");
        assert_eq!(pass(&mut driver, "a=x@4"), "a=2@4");
    }
}

#[test]
fn on_commit_the_old_value_is_the_one_that_was_sent() {
    let mut driver = uncommitted(GUARANTEES[0], |b| {
        emit(&counts(b, Emit::OnCommit).filter(|_, count| *count % 2 == 0));
    });
    assert_eq!(pass(&mut driver, "a=x@1 a=x@2 a=x@3"), "", "an even count was never seen");
    assert_eq!(pass(&mut driver, "a=x@4"), "a=4@4");
    assert_eq!(pass(&mut driver, "a=x@5 a=x@6 a=x@7"), "a=~@7");
}

#[test]
fn the_changelog_gets_each_changed_key_once_a_commit() {
    for emitted in [Emit::EachUpdate, Emit::OnCommit] {
        let mut driver = uncommitted(GUARANTEES[0], |b| emit(&counts(b, emitted)));
        send(&mut driver, "in", "a=x@1 a=x@2 b=x@3 a=x@4");
        driver.commit().unwrap();
        let rows = driver.log().read("test-counts-changelog");
        let mut rows: Vec<_> = rows.into_iter().map(|row| (row.key, row.value)).collect();
        rows.sort();
        let row = |key: &[u8], count: i64| (Some(key.to_vec()), Some(count.to_be_bytes().to_vec()));
        assert_eq!(rows, [row(b"a", 3), row(b"b", 1)]);
    }
}

#[test]
fn aggregates_go_on_after_a_crash() {
    for guarantee in GUARANTEES {
        for loses_state in [false, true] {
            let mut driver = uncommitted(guarantee, |b| emit(&counts(b, Emit::EachUpdate)));
            assert_eq!(pass(&mut driver, "a=x@1 a=x@2"), "a=1@1 a=2@2");
            send(&mut driver, "in", "a=x@3");
            if loses_state {
                // Its identity is lost, too: the transaction that it left open has to time out.
                driver.crash_and_lose_state().unwrap();
                driver.advance(Duration::from_secs(11)).unwrap();
            } else {
                driver.crash().unwrap();
            }
            // At least once a result may come again. It counts nothing again.
            let expected = match guarantee {
                Guarantee::ExactlyOnce => "a=3@3 a=4@4",
                Guarantee::AtLeastOnce => "a=3@3 a=3@3 a=4@4",
            };
            assert_eq!(pass(&mut driver, "a=x@4"), expected);
        }
    }
}

#[test]
fn a_store_without_a_changelog_is_lost_with_its_directory() {
    let mut driver = driver(|b| {
        let store = Materialized::with_codecs("counts", Canonical, Canonical).without_changelog();
        emit(&by_key(b).count_with(store));
    });
    assert_eq!(pass(&mut driver, "a=x@1"), "a=1@1");
    let topics = driver.log().topics();
    assert!(topics.iter().all(|topic| !topic.name.contains("changelog")), "{topics:?}");
    driver.crash_and_lose_state().unwrap();
    assert_eq!(pass(&mut driver, "a=x@2"), "a=1@2");
}

#[test]
fn a_store_name_that_is_used_twice_is_refused() {
    let b = StreamsBuilder::new();
    let groups = by_key(&b);
    let _ = (groups.count("counts"), groups.count("counts"));
    let problems = b.build().unwrap_err().to_string();
    assert!(problems.contains("`counts` is used by two stores"), "{problems}");
}
