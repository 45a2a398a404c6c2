//! What the results must be: the same questions, answered by loops over the whole log.

use std::collections::BTreeMap;

use millstream::log::Log;
use millstream::{BoxError, Record, Timestamp, Topic};

use crate::events::{self, Click, MINUTE, Order, Payment, Product, Sale, Stage};
use crate::pipeline::{ALERT_AT, ALERT_WINDOW, PAID_WITHIN, VISIT_GAP, is_person};
use crate::results::Results;
use crate::support::Reader;

/// Everything that the shop has written.
pub(crate) struct Inputs {
    pub(crate) catalogue: BTreeMap<String, Product>,
    /// As bytes, for some are no clicks.
    pub(crate) clicks: Vec<Record<u64, Vec<u8>>>,
    pub(crate) orders: Vec<Record<u64, Order>>,
    pub(crate) payments: Vec<Record<u64, Payment>>,
}

/// Clicks as bytes.
pub(crate) fn raw_clicks() -> Topic<u64, Vec<u8>> {
    Topic::plain(events::clicks().name())
}

impl Inputs {
    /// Reads the log, what earlier runs have written included.
    pub(crate) fn read(log: &dyn Log) -> Result<Self, BoxError> {
        let products = Reader::read_to_end(log, &events::catalogue())?;
        Ok(Self {
            catalogue: products.into_iter().map(|product| (product.key, product.value)).collect(),
            clicks: Reader::read_to_end(log, &raw_clicks())?,
            orders: Reader::read_to_end(log, &events::orders())?,
            payments: Reader::read_to_end(log, &events::payments())?,
        })
    }

    /// What the pipeline must make of it.
    pub(crate) fn results(self) -> Results {
        let mut results = Results::default();
        sell(&self, &mut results);
        visit(self.clicks, &mut results);
        alert(self.payments, &mut results);
        results
    }
}

fn sell(inputs: &Inputs, results: &mut Results) {
    let mut paid: BTreeMap<u64, Vec<Timestamp>> = BTreeMap::new();
    for payment in inputs.payments.iter().filter(|payment| payment.value.is_accepted) {
        paid.entry(payment.key).or_default().push(payment.timestamp);
    }
    for Record { key, value, timestamp: ordered } in inputs.orders.clone() {
        let Ok(order) = value.checked() else {
            results.refused += 1;
            continue;
        };
        let Some(product) = inputs.catalogue.get(&order.product) else { continue };
        let sale = Sale::new(order, product.clone());
        let soon = |at: &&Timestamp| (ordered..=ordered + PAID_WITHIN).contains(*at);
        for paid in paid.get(&key).into_iter().flatten().filter(soon) {
            let row = (beginning(*paid, MINUTE), sale.category.clone());
            results.revenue.entry(row).or_default().add(&sale);
        }
    }
}

fn visit(clicks: Vec<Record<u64, Vec<u8>>>, results: &mut Results) {
    let mut visitors: BTreeMap<u64, Vec<(Timestamp, Stage)>> = BTreeMap::new();
    for Record { key, value, timestamp } in clicks {
        match serde_json::from_slice::<Click>(&value) {
            Ok(click) if is_person(&click) => {
                visitors.entry(key).or_default().push((timestamp, click.stage));
            }
            Ok(_) => {}
            Err(_) => results.refused += 1,
        }
    }
    for mut clicks in visitors.into_values() {
        clicks.sort_unstable();
        for visit in clicks.chunk_by(|(before, _), (after, _)| *after - VISIT_GAP <= *before) {
            let furthest = visit.iter().map(|(_, stage)| *stage).max().unwrap_or_default();
            *results.funnel.entry(furthest.to_string()).or_default() += 1;
        }
    }
}

fn alert(payments: Vec<Record<u64, Payment>>, results: &mut Results) {
    let mut declined: BTreeMap<(Timestamp, String), i64> = BTreeMap::new();
    for Record { value, timestamp, .. } in payments {
        if !value.is_accepted {
            *declined.entry((beginning(timestamp, ALERT_WINDOW), value.card)).or_default() += 1;
        }
    }
    let alarming = declined.into_iter().filter(|(_, count)| *count >= ALERT_AT);
    results.alerts = alarming.map(|(window, _)| (window, 1)).collect();
}

/// Where the tumbling window of that size begins that holds `at`.
fn beginning(at: Timestamp, size: std::time::Duration) -> Timestamp {
    at.plus_millis(-(at.as_millis() % size.as_millis() as i64))
}

/// What differs, for people.
pub(crate) fn difference(found: &Results, expected: &Results) -> String {
    let line = |name, is_same: bool| if is_same { String::new() } else { format!(" {name}") };
    [
        line("revenue", found.revenue == expected.revenue),
        line("funnel", found.funnel == expected.funnel),
        line("alerts", found.alerts == expected.alerts),
        line("dead letters", found.refused == expected.refused),
    ]
    .concat()
}
