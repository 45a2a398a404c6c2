//! Operators of tables on their own.

use millstream::{KGroupedTable, KTable, StreamsBuilder};

use super::{Scenario, emit, rows, values};
use crate::functions::{add, code, initial, is_even, mark, subtract};
use crate::inputs::Shape;

type Rows = KTable<String, String>;

const IN: Shape = Shape::of(&["in"]);

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        of_source("table_source", emit),
        of_source("table_filter", |rows| emit(&even(rows))),
        of_source("table_filter_not", |rows| emit(&rows.filter_not(|_, value| is_even(value)))),
        of_source("table_filter_store", |rows| emit(&even(rows).materialize("store-even")))
            .store(rows::<String>("store-even")),
        of_source("table_map_values", |rows| emit(&marked(rows))),
        of_source("table_map_values_store", |rows| emit(&marked(rows).materialize("store-marked")))
            .store(rows::<String>("store-marked")),
        of_source("table_filter_map_values", |rows| emit(&marked(&even(rows)))),
        of_source("table_map_values_filter", |rows| emit(&even(&marked(rows)))),
        of_source("table_fan_out", |rows| {
            emit(&even(rows));
            emit(&marked(rows));
            emit(rows);
        }),
        of_source("table_group_by_count", |rows| emit(&regroup(rows).count("store-grouped")))
            .store(rows::<i64>("store-grouped")),
        grouped("table_group_by_reduce", |rows| reduce(&regroup(rows))),
        grouped("table_group_by_aggregate", |rows| aggregate(&regroup(rows))),
        grouped("table_group_by_aggregate_of_filter", |rows| aggregate(&regroup(&even(rows)))),
        grouped("table_group_by_aggregate_of_map_values", |rows| {
            aggregate(&regroup(&marked(rows)))
        }),
        grouped("table_group_by_same_key", |rows| {
            aggregate(&rows.group_by(|key, value| (key.clone(), value)))
        }),
    ]
}

fn of_source(name: &str, define: impl Fn(&Rows) + 'static) -> Scenario {
    Scenario::new(name, IN, move |b| define(&stored(b))).store(rows::<String>("store"))
}

fn grouped(name: &str, define: impl Fn(&Rows) -> Rows + 'static) -> Scenario {
    of_source(name, move |rows| emit(&define(rows))).store(rows::<String>("store-grouped"))
}

pub(super) fn stored(b: &StreamsBuilder) -> Rows {
    b.table(&values("in"), "store")
}

fn even(rows: &Rows) -> Rows {
    rows.filter(|_, value| is_even(value))
}

fn marked(rows: &Rows) -> Rows {
    rows.map_values_with_key(|key, value| mark(key, &value))
}

/// Groups by the value's class, so that rows move between few groups.
fn regroup(rows: &Rows) -> KGroupedTable<String, String> {
    rows.group_by(|key, value| (format!("g{}", code(&value) % 3), format!("{key}{value}")))
}

fn reduce(groups: &KGroupedTable<String, String>) -> Rows {
    groups.reduce(
        "store-grouped",
        |total, value| add(&value, total),
        |total, value| subtract(&value, total),
    )
}

fn aggregate(groups: &KGroupedTable<String, String>) -> Rows {
    groups.aggregate(
        "store-grouped",
        initial,
        |_, value, total| add(&value, total),
        |_, value, total| subtract(&value, total),
    )
}
