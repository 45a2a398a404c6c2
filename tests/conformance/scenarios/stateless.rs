//! Operators on one record at a time, and what moves records between streams, tables and topics.

use std::sync::Arc;

use millstream::serde::{Canonical, Nullable as OrNull};
use millstream::{KStream, StreamsBuilder};

use super::{Scenario, any, emit, rows, values};
use crate::functions::{Nullable, code, is_even, is_third, mark, text as print};
use crate::inputs::Shape;

type Anything = KStream<Nullable, Nullable>;

const IN: Shape = Shape::of(&["in"]);

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        simple("filter", |input| input.filter(|_, value| even(value))),
        simple("filter_not", |input| input.filter_not(|_, value| even(value))),
        simple("map", swap),
        simple("map_values", |input| input.map_values_with_key(mark_or_null)),
        simple("flat_map", |input| input.flat_map(copies)),
        simple("flat_map_values", |input| input.flat_map_values_with_key(value_copies)),
        simple("select_key", |input| input.select_key(|_, value| value.clone())),
        simple("peek", |input| input.peek(|_, _| {})),
        Scenario::new("merge", Shape::of(&["in", "other"]), merge),
        simple("merge_with_itself", |input| input.merge(&input.filter(|_, value| even(value)))),
        simple("merge_of_branches", merge_of_branches),
        Scenario::new("fan_out", IN, fan_out),
        Scenario::new("branches", IN, branches).outputs(&["even", "rest", "third"]),
        Scenario::new("branches_no_default", IN, branches_no_default).outputs(&["even", "third"]),
        Scenario::new("chosen_topics", IN, chosen_topics).outputs(&["even", "out"]),
        Scenario::new("extracted_times", IN, extracted_times).store(rows::<String>("store")),
        Scenario::new("repartition", IN, repartition),
        Scenario::new("repartition_new_key", IN, repartition_new_key),
        Scenario::new("to_table", IN, to_table).store(rows::<String>("store")),
        Scenario::new("to_table_new_key", IN, to_table_new_key).store(rows::<String>("store")),
    ]
}

fn simple(name: &str, operator: impl Fn(&Anything) -> Anything + 'static) -> Scenario {
    Scenario::new(name, IN, move |b| operator(&b.stream(&any("in"))).to(&any("out")))
}

fn even(value: &Nullable) -> bool {
    is_even(value.as_deref().unwrap_or_default())
}

fn third(value: &Nullable) -> bool {
    is_third(value.as_deref().unwrap_or_default())
}

fn swap(input: &Anything) -> Anything {
    input.map(|key, value| (value, key))
}

fn mark_or_null(key: &Nullable, value: Nullable) -> Nullable {
    let is_kept = !code(value.as_deref().unwrap_or_default()).is_multiple_of(4);
    is_kept.then(|| mark(print(key), print(&value)))
}

fn copies(key: Nullable, value: Nullable) -> Vec<(Nullable, Nullable)> {
    let count = code(value.as_deref().unwrap_or_default()) % 3;
    let copy = |i| (Some(format!("{}{i}", print(&key))), Some(format!("{}{i}", print(&value))));
    (0..count).map(copy).collect()
}

fn value_copies(key: &Nullable, value: Nullable) -> Vec<Nullable> {
    let count = code(value.as_deref().unwrap_or_default()) % 3;
    (0..count).map(|i| Some(format!("{}{i}", mark(print(key), print(&value))))).collect()
}

fn merge(b: &StreamsBuilder) {
    let input = b.stream(&any("in"));
    input.merge(&b.stream(&any("other"))).to(&any("out"));
}

fn merge_of_branches(input: &Anything) -> Anything {
    let kept = input.filter(|_, value| even(value));
    let marked = input.map_values_with_key(|key, value| Some(mark(print(key), print(&value))));
    marked.merge(&kept)
}

fn fan_out(b: &StreamsBuilder) {
    let input = b.stream(&any("in"));
    let marked = input.map_values_with_key(|key, value| Some(mark(print(key), print(&value))));
    marked.to(&any("out"));
    input.filter(|_, value| even(value)).to(&any("out"));
    swap(&input).to(&any("out"));
}

fn branches(b: &StreamsBuilder) {
    let split = b.stream(&any("in")).split();
    let split = split.branch("even", |_, value| even(value));
    let branches = split.branch("third", |_, value| third(value)).default("rest");
    for (name, stream) in branches.iter() {
        stream.to(&any(name));
    }
}

fn branches_no_default(b: &StreamsBuilder) {
    let split = b.stream(&any("in")).split();
    let split = split.branch("even", |_, value| even(value));
    let branches = split.branch("third", |_, value| third(value)).no_default();
    branches["even"].to(&any("even"));
    branches["third"].to(&any("third"));
}

fn chosen_topics(b: &StreamsBuilder) {
    let text = || OrNull::new(Arc::new(Canonical));
    let choose = |_: &Nullable, value: &Nullable| if even(value) { "even" } else { "out" }.into();
    b.stream(&any("in")).to_chosen(text(), text(), choose);
}

/// The time of a record is in its content, and decides about late updates of a table.
fn extracted_times(b: &StreamsBuilder) {
    let topic = values("in").timestamps(|_, value, logged| {
        logged.plus_millis(i64::from(code(value.as_deref().unwrap_or_default()) % 20))
    });
    emit::<String>(&b.stream(&topic).to_table("store"));
}

fn repartition(b: &StreamsBuilder) {
    b.stream(&values("in")).repartition("shuffle").to(&values("out"));
}

/// A record whose new key is null cannot be partitioned by key.
fn repartition_new_key(b: &StreamsBuilder) {
    let moved = b.stream(&any("in")).select_key(|_, value| value.clone());
    let keyed = moved.flat_map(|key, value| key.map(|key| (key, value)));
    keyed.repartition("shuffle").to(&values("out"));
}

fn to_table(b: &StreamsBuilder) {
    emit::<String>(&b.stream(&values("in")).to_table("store"));
}

fn to_table_new_key(b: &StreamsBuilder) {
    let moved = b.stream(&any("in")).flat_map(|key, value| value.map(|value| (value, key)));
    emit::<String>(&moved.to_table("store"));
}
