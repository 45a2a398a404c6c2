//! Joins of two streams.

use std::time::Duration;

use millstream::{JoinWindows, KStream, StreamsBuilder};

use super::{Scenario, any, text};
use crate::functions::{Nullable, pair, text as print};
use crate::inputs::{Lateness, Shape};

const SIDE: i64 = 10;
const SHORT_SIDE: i64 = 4;
const GRACE: i64 = 7;

/// A record with a null has no place in the types of a join.
const BOTH: Shape = Shape::of(&["in", "other"]).without_null();

type Texts = KStream<String, String>;

const fn ms(milliseconds: i64) -> Duration {
    Duration::from_millis(milliseconds as u64)
}

pub(super) fn scenarios() -> Vec<Scenario> {
    let mut scenarios = vec![
        Scenario::new("stream_stream_self", Shape::of(&["in"]).without_null(), |b| {
            let input = b.stream(&text("in"));
            join("inner", &input, &input, within(GRACE)).to(&text("out"));
        }),
        Scenario::new("stream_stream_new_keys", Shape::of(&["in", "other"]), |b| {
            let (left, right) = (swapped(b, "in"), swapped(b, "other"));
            join("inner", &left, &right, within(GRACE)).to(&text("out"));
        }),
    ];
    for kind in ["inner", "left", "outer"] {
        for (name, grace) in [("no_grace", 0), ("grace", GRACE)] {
            let both = within(grace);
            scenarios.push(scenario(format!("{kind}_{name}"), kind, both, SIDE.min(grace)));
            let least = SHORT_SIDE.min(grace);
            let before = both.before(ms(SHORT_SIDE));
            scenarios.push(scenario(format!("{kind}_{name}_short_before"), kind, before, least));
            let after = both.after(ms(SHORT_SIDE));
            scenarios.push(scenario(format!("{kind}_{name}_short_after"), kind, after, least));
        }
    }
    scenarios
}

fn within(grace: i64) -> JoinWindows {
    JoinWindows::within(ms(SIDE)).grace(ms(grace))
}

/// Kafka Streams says that nothing matched as soon as the window has passed, and contradicts it by
/// what comes within grace; so a left or outer join is compared on records that are not that late.
/// It also takes the newest record that waits for the oldest when it decides whether to look for
/// expired ones, so that they are held back; they are compared whenever they come.
fn scenario(name: String, kind: &'static str, windows: JoinWindows, late: i64) -> Scenario {
    let shape = if kind == "inner" { BOTH } else { BOTH.late(Lateness::AtMost(late)) };
    let scenario = Scenario::new(format!("stream_stream_{name}"), shape, move |b| {
        let (left, right) = (b.stream(&text("in")), b.stream(&text("other")));
        join(kind, &left, &right, windows).to(&text("out"));
    });
    if kind == "inner" { scenario } else { scenario.whenever() }
}

fn join(kind: &str, left: &Texts, right: &Texts, windows: JoinWindows) -> Texts {
    match kind {
        "inner" => left.join(right, windows, "join", |left, right| pair(&left, &right)),
        "left" => left.left_join(right, windows, "join", |left, right| pair(&left, print(&right))),
        _ => left.outer_join(right, windows, "join", |left: Nullable, right| {
            pair(print(&left), print(&right))
        }),
    }
}

fn swapped(b: &StreamsBuilder, topic: &str) -> Texts {
    let swapped = b.stream(&any(topic)).map(|key, value| (value, key));
    swapped.flatten_keys().flatten_values()
}
