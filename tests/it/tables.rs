//! What do tables promise? One rule for each test.

use millstream::testing::TopologyTestDriver;
use millstream::{Guarantee, KTable, StreamsBuilder};

use crate::shorthand::{
    GUARANTEES, at, drain, driver, emit, pass, send, text, topology, uncommitted,
};

fn table(b: &StreamsBuilder) -> KTable<String, String> {
    b.table(&text("in"), "rows")
}

fn rows(driver: &mut TopologyTestDriver, store: &str) -> Vec<(String, String, i64)> {
    let rows = driver.store::<String, String>(store).unwrap();
    rows.into_iter().map(|(key, row, time)| (key, row, time.as_millis())).collect()
}

fn row(key: &str, value: &str, time: i64) -> (String, String, i64) {
    (key.to_owned(), value.to_owned(), time)
}

fn is_kept(_: &String, value: &String) -> bool {
    value.starts_with('x')
}

/// Writes down every step: what was added to a group and what was taken out.
fn steps(table: &KTable<String, String>) -> KTable<String, String> {
    // The group is the first letter of the row.
    let groups = table.group_by(|key, value| (value[..1].to_owned(), key.clone() + &value));
    groups.aggregate(
        "steps",
        String::new,
        |_, value, steps| *steps += &format!("+{value}"),
        |_, value, steps| *steps += &format!("-{value}"),
    )
}

// --- sources -------------------------------------------------------------------------------------

#[test]
fn a_table_has_the_latest_row_of_each_key_and_sends_every_change() {
    let mut driver = driver(|b| emit(&table(b)));
    assert_eq!(pass(&mut driver, "a=x@1 b=y@2 a=z@3"), "a=x@1 b=y@2 a=z@3");
    assert_eq!(rows(&mut driver, "rows"), [row("a", "z", 3), row("b", "y", 2)]);
}

#[test]
fn an_equal_row_is_sent_again_and_an_older_one_overwrites() {
    let mut driver = driver(|b| emit(&table(b)));
    assert_eq!(pass(&mut driver, "a=x@5 a=x@6 a=y@1"), "a=x@5 a=x@6 a=y@1");
    assert_eq!(rows(&mut driver, "rows"), [row("a", "y", 1)]);
}

#[test]
fn null_deletes_a_row_and_is_sent_also_for_one_that_never_was() {
    let mut driver = driver(|b| emit(&table(b)));
    assert_eq!(pass(&mut driver, "a=x@1 a=~@2 b=~@3"), "a=x@1 a=~@2 b=~@3");
    assert_eq!(rows(&mut driver, "rows"), []);
}

#[test]
fn the_time_of_a_row_can_be_taken_from_it_and_of_a_deletion_from_the_log() {
    let mut driver = driver(|b| {
        let topic = text("in")
            .timestamps(|_, value: &String, logged| logged.plus_millis(value.len() as i64));
        emit(&b.table::<_, _, String>(&topic, "rows"));
    });
    assert_eq!(pass(&mut driver, "a=xxx@1 a=~@2"), "a=xxx@4 a=~@2");
}

#[test]
fn updates_are_the_changes_without_deletions() {
    let mut driver = driver(|b| table(b).updates().to(&text("out")));
    assert_eq!(pass(&mut driver, "a=x@1 a=~@2 a=y@3"), "a=x@1 a=y@3");
}

#[test]
fn a_table_writes_its_deletions_as_null() {
    let mut driver = driver(|b| table(b).to(&text("out")));
    assert_eq!(pass(&mut driver, "a=x@1 a=~@2"), "a=x@1 a=~@2");
}

#[test]
fn a_stream_becomes_a_table_behind_a_repartition_if_its_key_has_changed() {
    let same = |b: &StreamsBuilder| emit(&b.stream(&text("in")).to_table::<String>("rows"));
    assert!(!topology(same).describe().contains("-repartition"));
    let swapped = |b: &StreamsBuilder| {
        emit(&b.stream(&text("in")).map(|key, value| (value, key)).to_table::<String>("rows"));
    };
    assert!(topology(swapped).describe().contains("(topic: rows-repartition)"));
    let mut driver = driver(swapped);
    assert_eq!(pass(&mut driver, "a=x@1 b=x@2"), "x=a@1 x=b@2");
    assert_eq!(rows(&mut driver, "rows"), [row("x", "b", 2)]);
}

#[test]
fn a_stream_of_options_deletes_rows() {
    let mut driver = driver(|b| {
        let stream = b.stream(&text("in").nullable_values());
        emit(&stream.to_table::<String>("rows"));
    });
    assert_eq!(pass(&mut driver, "a=x@1 a=~@2"), "a=x@1 a=~@2");
    assert_eq!(rows(&mut driver, "rows"), []);
}

// --- views ---------------------------------------------------------------------------------------

#[test]
fn a_filter_deletes_what_it_refuses_from_now_on_and_only_what_was_seen() {
    let mut driver = driver(|b| emit(&table(b).filter(is_kept)));
    assert_eq!(pass(&mut driver, "a=y@1 a=x@2 a=z@3 a=w@4 a=~@5"), "a=x@2 a=~@3");
}

#[test]
fn filter_not_keeps_the_others() {
    let mut driver = driver(|b| emit(&table(b).filter_not(is_kept)));
    assert_eq!(pass(&mut driver, "a=y@1 a=x@2 a=z@3"), "a=y@1 a=~@2 a=z@3");
}

#[test]
fn map_values_maps_rows_and_passes_deletions() {
    let mut driver = driver(|b| emit(&table(b).map_values(|value| value.len())));
    assert_eq!(pass(&mut driver, "a=xxx@1 a=~@2"), "a=3@1 a=~@2");
}

#[test]
fn map_values_with_key_sees_the_key() {
    let mut driver = driver(|b| emit(&table(b).map_values_with_key(|key, value| value + key)));
    assert_eq!(pass(&mut driver, "a=x@1"), "a=xa@1");
}

#[test]
fn a_materialized_view_has_rows_of_its_own() {
    let mut driver = driver(|b| {
        emit(&table(b).map_values(|value| value + "!").materialize("view"));
    });
    assert_eq!(pass(&mut driver, "a=x@1 b=~@2"), "a=x!@1", "`b` was not there");
    assert_eq!(rows(&mut driver, "view"), [row("a", "x!", 1)]);
}

#[test]
fn one_table_feeds_several_views_in_the_order_of_definition() {
    let mut driver = driver(|b| {
        let table = table(b);
        emit(&table.filter(is_kept));
        emit(&table.map_values(|value| value.len()));
        emit(&table);
    });
    assert_eq!(pass(&mut driver, "a=x@1 a=yy@2"), "a=x@1 a=1@1 a=x@1 a=~@2 a=2@2 a=yy@2");
}

// --- groups --------------------------------------------------------------------------------------

#[test]
fn a_row_that_stays_in_its_group_is_subtracted_and_added_in_one_step() {
    let mut driver = driver(|b| emit(&steps(&table(b))));
    assert_eq!(pass(&mut driver, "a=x1@1 a=x2@2"), "x=+ax1@1 x=+ax1-ax1+ax2@2");
}

#[test]
fn a_row_that_changes_its_group_leaves_the_old_one_first() {
    let mut driver = driver(|b| emit(&steps(&table(b))));
    assert_eq!(pass(&mut driver, "a=x@1"), "x=+ax@1");
    assert_eq!(pass(&mut driver, "a=y@2"), "x=+ax-ax@2 y=+ay@2");
}

#[test]
fn a_deleted_row_is_subtracted_and_one_that_never_was_is_not() {
    let mut driver = driver(|b| emit(&steps(&table(b))));
    assert_eq!(pass(&mut driver, "b=~@1 a=x@2 a=~@3"), "x=+ax@2 x=+ax-ax@3");
}

#[test]
fn a_group_of_a_filtered_table_loses_the_rows_that_are_refused() {
    let mut driver = driver(|b| emit(&steps(&table(b).filter(is_kept))));
    assert_eq!(pass(&mut driver, "a=x@1 a=y@2 a=z@3"), "x=+ax@1 x=+ax-ax@2");
}

#[test]
fn a_count_goes_down_to_zero_and_stays() {
    let mut driver = driver(|b| {
        emit(&table(b).group_by(|key, value| (value, key.clone())).count("counts"));
    });
    assert_eq!(pass(&mut driver, "a=x@1 b=x@2 a=~@3 b=~@4"), "x=1@1 x=2@2 x=1@3 x=0@4");
    let counts = driver.store::<String, i64>("counts").unwrap();
    assert_eq!(counts, [("x".to_owned(), 0, at(4))]);
}

#[test]
fn reduce_begins_with_the_first_row_of_a_group() {
    let mut driver = driver(|b| {
        let groups = table(b).group_by(|_, value| (value[..1].to_owned(), value.len() as i64));
        emit(&groups.reduce("sums", |sum, row| *sum += row, |sum, row| *sum -= row));
    });
    assert_eq!(pass(&mut driver, "a=x@1 b=xxx@2 a=xx@3 b=y@4"), "x=1@1 x=4@2 x=5@3 x=2@4 y=1@4");
}

#[test]
fn a_count_of_counts_subtracts_only_what_was_added() {
    let mut driver = driver(|b| {
        let counts = b.stream(&text("in")).group_by_key().count("counts");
        emit(&counts.group_by(|key, count| (format!("n{count}"), key.clone())).count("outer"));
    });
    assert_eq!(pass(&mut driver, "a=x@1 b=x@2 a=x@3"), "n1=1@1 n1=2@2 n1=1@3 n2=1@3");
}

#[test]
fn groups_are_right_over_several_partitions() {
    let topology = topology(|b| {
        emit(&table(b).group_by(|key, value| (value, key.clone())).count("counts"));
    });
    let mut driver = TopologyTestDriver::new(&topology).partitions(4);
    send(&mut driver, "in", "a=x@1 b=x@2 c=x@3 d=y@4 a=y@5 b=~@6");
    let mut counts = driver.store::<String, i64>("counts").unwrap();
    counts.sort();
    assert_eq!(counts, [("x".to_owned(), 1, at(6)), ("y".to_owned(), 2, at(5))]);
}

// --- crashes -------------------------------------------------------------------------------------

#[test]
fn tables_and_groups_go_on_after_a_crash() {
    for guarantee in GUARANTEES {
        for loses_state in [false, true] {
            let mut driver = uncommitted(guarantee, |b| {
                let table = table(b);
                emit(&table.filter(is_kept));
                steps(&table).to(&text("steps-out"));
            });
            assert_eq!(pass(&mut driver, "a=x@1"), "a=x@1");
            assert_eq!(drain(&mut driver, "steps-out"), "x=+ax@1");
            if loses_state {
                driver.crash_and_lose_state().unwrap();
            } else {
                driver.crash().unwrap();
            }
            assert_eq!(pass(&mut driver, "a=y@2"), "a=~@2");
            assert_eq!(drain(&mut driver, "steps-out"), "x=+ax-ax@2 y=+ay@2");
        }
    }
}

#[test]
fn exactly_once_a_row_that_was_not_committed_is_read_again_and_takes_effect_once() {
    let mut driver = uncommitted(Guarantee::ExactlyOnce, |b| emit(&steps(&table(b))));
    assert_eq!(pass(&mut driver, "a=x@1"), "x=+ax@1");
    send(&mut driver, "in", "a=y@2");
    driver.crash().unwrap();
    assert_eq!(drain(&mut driver, "out"), "x=+ax-ax@2 y=+ay@2");
}

#[test]
fn a_deleted_row_is_still_deleted_after_its_state_was_lost() {
    let mut driver = driver(|b| drop(table(b)));
    send(&mut driver, "in", "a=x@1 b=y@2 a=~@3");
    driver.crash_and_lose_state().unwrap();
    assert_eq!(rows(&mut driver, "rows"), [row("b", "y", 2)]);
}
