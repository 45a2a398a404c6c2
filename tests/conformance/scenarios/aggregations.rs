//! Aggregations of streams that know no windows.

use millstream::{KGroupedStream, KTable, StreamsBuilder};

use super::{Scenario, emit, rows, text, values};
use crate::functions::{add, initial};
use crate::inputs::Shape;

type Groups = KGroupedStream<String, String>;

const IN: Shape = Shape::of(&["in"]);

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        counts("group_by_key_count", |b| emit(&count(&by_key(b)))),
        totals("group_by_key_reduce", |b| emit(&reduce(&by_key(b)))),
        totals("group_by_key_aggregate", |b| emit(&aggregate(&by_key(b)))),
        counts("group_by_count", |b| emit(&count(&by_value(b)))),
        totals("group_by_reduce", |b| emit(&reduce(&by_value(b)))),
        totals("group_by_aggregate", |b| emit(&aggregate(&by_value(b)))),
        totals("group_by_key_after_select_key", |b| emit(&aggregate(&after_select_key(b)))),
        totals("two_aggregations", two_aggregations)
            .outputs(&["counts", "out"])
            .store(rows::<i64>("store-counts")),
        counts("count_filter", |b| emit(&count(&by_key(b)).filter(|_, count| count % 2 == 0))),
        counts("count_map_values", |b| {
            emit(&count(&by_key(b)).map_values(|count| format!("c{count}")));
        }),
        counts("count_of_counts", |b| emit(&count_of_counts(b))).store(rows::<i64>("store-outer")),
    ]
}

fn counts(name: &str, define: impl Fn(&StreamsBuilder) + 'static) -> Scenario {
    Scenario::new(name, IN, define).store(rows::<i64>("store"))
}

fn totals(name: &str, define: impl Fn(&StreamsBuilder) + 'static) -> Scenario {
    Scenario::new(name, IN, define).store(rows::<String>("store"))
}

fn by_key(b: &StreamsBuilder) -> Groups {
    b.stream(&text("in")).group_by_key()
}

fn by_value(b: &StreamsBuilder) -> Groups {
    b.stream(&text("in").nullable_keys()).group_by(|_, value| value.clone())
}

fn after_select_key(b: &StreamsBuilder) -> Groups {
    let input = b.stream(&text("in").nullable_keys());
    input.select_key(|_, value| value.clone()).group_by_key()
}

fn count(groups: &Groups) -> KTable<String, i64> {
    groups.count("store")
}

fn reduce(groups: &Groups) -> KTable<String, String> {
    groups.reduce("store", |total, value| add(&value, total))
}

fn aggregate(groups: &Groups) -> KTable<String, String> {
    groups.aggregate("store", initial, |_, value, total| add(&value, total))
}

fn two_aggregations(b: &StreamsBuilder) {
    let groups = by_key(b);
    emit(&aggregate(&groups));
    let counts = groups.count("store-counts").to_stream();
    counts.map_values(|count| count.map(|count| count.to_string())).to(&values("counts"));
}

fn count_of_counts(b: &StreamsBuilder) -> KTable<String, i64> {
    let counts = count(&by_key(b));
    counts.group_by(|key, count| (format!("c{count}"), key.clone())).count("store-outer")
}
