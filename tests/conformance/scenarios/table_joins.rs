//! Joins with tables: of two tables, and of a stream with a table.

use millstream::{KStream, KTable, StreamsBuilder};

use super::{Scenario, any, emit, rows, tables, text, values};
use crate::functions::{Nullable, is_even, mark, pair, text as print};
use crate::inputs::Shape;

type Rows = KTable<String, String>;

const IN: Shape = Shape::of(&["in"]);
const BOTH: Shape = Shape::of(&["in", "other"]);

pub(super) fn scenarios() -> Vec<Scenario> {
    let mut scenarios = vec![
        Scenario::new("table_table_of_itself", IN, of_itself).store(rows::<String>("store")),
        Scenario::new("table_table_chain", Shape::of(&["in", "other", "third"]), chain),
        Scenario::new("stream_table_inner", BOTH, stream_table_inner),
        Scenario::new("stream_table_left", BOTH, stream_table_left),
        Scenario::new("stream_table_new_key", BOTH, stream_table_new_key),
        // What a left join does with null keys shows in `stream_table_left`, whose type has them.
        Scenario::new("stream_table_of_itself", IN.without_null_keys(), stream_table_of_itself),
        Scenario::new("stream_table_filtered", BOTH.without_null_keys(), stream_table_filtered),
    ];
    for kind in ["inner", "left", "outer"] {
        let name = format!("table_table_{kind}");
        scenarios.push(Scenario::new(&name, BOTH, move |b| emit(&join(b, kind))));
        scenarios.push(
            Scenario::new(format!("{name}_store"), BOTH, move |b| {
                emit(&join(b, kind).materialize("store"));
            })
            .store(rows::<String>("store")),
        );
        scenarios.push(Scenario::new(format!("{name}_filter"), BOTH, move |b| {
            emit(&join(b, kind).filter(|_, value| is_even(value)));
        }));
    }
    scenarios
}

fn join(b: &StreamsBuilder, kind: &str) -> Rows {
    let left: Rows = b.table(&values("in"), "left");
    let right: Rows = b.table(&values("other"), "right");
    match kind {
        "inner" => left.join(&right, |left, right| pair(&left, &right)),
        "left" => left.left_join(&right, |left, right| pair(&left, print(&right))),
        _ => left.outer_join(&right, |left, right| pair(print(&left), print(&right))),
    }
}

fn of_itself(b: &StreamsBuilder) {
    let table = tables::stored(b);
    let marked = table.map_values_with_key(|key, value| mark(key, &value));
    emit(&table.outer_join(&marked, |left, right| pair(print(&left), print(&right))));
}

fn chain(b: &StreamsBuilder) {
    let third: Rows = b.table(&values("third"), "third");
    emit(&join(b, "inner").left_join(&third, |left, right| pair(&left, print(&right))));
}

fn stream_table_inner(b: &StreamsBuilder) {
    let table: Rows = b.table(&values("other"), "rows");
    let joined = b.stream(&text("in")).join_table(&table, |left, right| pair(&left, &right));
    joined.to(&text("out"));
}

fn left(value: String, row: Nullable) -> String {
    pair(&value, print(&row))
}

fn stream_table_left(b: &StreamsBuilder) {
    let table: Rows = b.table(&values("other"), "rows");
    let input: KStream<Nullable, String> = b.stream(&text("in").nullable_keys());
    let joined = input.left_join_table(&table, left);
    joined.to(&text("out").nullable_keys());
}

fn stream_table_new_key(b: &StreamsBuilder) {
    let table: Rows = b.table(&values("other"), "rows");
    let moved = b.stream(&any("in")).map(|key, value| (value, key));
    let moved = moved.flatten_values();
    let joined = moved.left_join_table(&table, left);
    joined.to(&text("out").nullable_keys());
}

fn stream_table_of_itself(b: &StreamsBuilder) {
    let input = b.stream(&values("in"));
    let table: Rows = input.to_table("rows");
    input.flatten_values().left_join_table(&table, left).to(&text("out"));
}

fn stream_table_filtered(b: &StreamsBuilder) {
    let table: Rows = b.table(&values("other"), "rows");
    let even = table.filter(|_, value| is_even(value));
    b.stream(&text("in")).left_join_table(&even, left).to(&text("out"));
}
