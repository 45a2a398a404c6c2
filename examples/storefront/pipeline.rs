//! The pipeline: from clicks, orders and payments to revenue, funnel and alerts.

use std::time::Duration;

use millstream::{
    BoxError, Emit, JoinWindows, KStream, SessionWindows, StreamsBuilder, TimeWindows, Topology,
    Windowed,
};

use crate::events::{self, Alert, Click, MINUTE, Order, Payment, Revenue, Sale, Stage};

/// A pause of that length ends a visit.
pub(crate) const VISIT_GAP: Duration = Duration::from_secs(2 * 60);
/// An order that is not paid within that time is no sale.
pub(crate) const PAID_WITHIN: Duration = Duration::from_secs(10 * 60);
/// Declined payments are counted by card over that time.
pub(crate) const ALERT_WINDOW: Duration = Duration::from_secs(5 * 60);
/// So many of them are one alert.
pub(crate) const ALERT_AT: i64 = 3;
/// How late an event may come and still count.
pub(crate) const GRACE: Duration = Duration::from_secs(6 * 60 * 60);

/// All three questions in one topology.
pub(crate) fn topology() -> Result<Topology, BoxError> {
    let builder = StreamsBuilder::new();
    // A topic is read once; its stream may be used as often as needed.
    let payments = builder.stream(&events::payments());
    revenue(&builder, &payments);
    funnel(&builder);
    alerts(&payments);
    Ok(builder.build()?)
}

/// What does each category earn per minute?
fn revenue(builder: &StreamsBuilder, payments: &KStream<u64, Payment>) {
    let catalogue = builder.table(&events::catalogue(), "catalogue");
    paid_orders(builder, payments)
        .select_key(|_, order| order.product.clone())
        .join_table(&catalogue, Sale::new)
        .group_by(|_, sale| sale.category.clone())
        .windowed_by(TimeWindows::tumbling(MINUTE).grace(GRACE))
        .emit(Emit::OnCommit)
        .aggregate("revenue", Revenue::default, |_, sale, revenue| revenue.add(&sale))
        .to(&events::revenue());
}

/// Orders that keep the rule, as soon as they are paid.
fn paid_orders(builder: &StreamsBuilder, payments: &KStream<u64, Payment>) -> KStream<u64, Order> {
    let orders = builder.stream(&events::orders()).try_map_values(Order::checked);
    let accepted = payments.filter(|_, payment| payment.is_accepted);
    let soon_after = JoinWindows::within(PAID_WITHIN).before(Duration::ZERO).grace(GRACE);
    orders.join(&accepted, soon_after, "paid", |order, _| order)
}

/// How many visits come how far?
fn funnel(builder: &StreamsBuilder) {
    builder
        .stream(&events::clicks())
        .filter(|_, click| is_person(click))
        .group_by_key()
        .windowed_by(SessionWindows::gap(VISIT_GAP).grace(GRACE))
        .aggregate(
            "visits",
            Stage::default,
            |_, click, stage| *stage = (*stage).max(click.stage),
            |_, stage, earlier| *stage = (*stage).max(earlier),
        )
        // A visit that comes further leaves its group for another: the table takes care of both.
        .group_by(|_, stage| (stage.to_string(), stage))
        .count("funnel")
        .to(&events::funnel());
}

/// Whether a click counts; crawlers look at everything and buy nothing.
pub(crate) fn is_person(click: &Click) -> bool {
    click.agent != "crawler"
}

/// Which cards are declined again and again?
fn alerts(payments: &KStream<u64, Payment>) {
    payments
        .filter_not(|_, payment| payment.is_accepted)
        .group_by(|_, payment| payment.card.clone())
        .windowed_by(TimeWindows::tumbling(ALERT_WINDOW).grace(GRACE))
        .count("declined")
        .updates()
        .filter(|_, declined| *declined == ALERT_AT)
        .map(|Windowed { key, window }, declined| {
            (key, Alert { since_ms: window.start.as_millis(), declined })
        })
        .to(&events::alerts());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Product;
    use millstream::testing::TopologyTestDriver;
    use millstream::{Config, ErrorPolicy, Timestamp, Topic};

    fn driver() -> TopologyTestDriver {
        let config = Config::builder("storefront", "in-process")
            .on_process_error(ErrorPolicy::dead_letter(events::dead_letters().name()));
        TopologyTestDriver::with_config(&topology().unwrap(), config.build().unwrap()).partitions(3)
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    #[test]
    fn paid_orders_of_a_minute_add_up_and_an_empty_order_is_a_dead_letter() {
        let mut driver = driver();
        let tea = Product { category: "kitchen".into(), cents: 250 };
        driver.input(&events::catalogue()).send("tea".into(), tea, at(0)).unwrap();
        for (number, quantity, paid_at) in [(1, 2, 10), (2, 0, 20), (3, 1, 59), (4, 4, 60)] {
            let order = Order { visitor: 1, product: "tea".into(), quantity };
            driver.input(&events::orders()).send(number, order, at(paid_at - 5)).unwrap();
            driver.crash().unwrap();
            for is_accepted in [false, true] {
                let payment = Payment { card: "card-1".into(), is_accepted };
                driver.input(&events::payments()).send(number, payment, at(paid_at)).unwrap();
            }
        }
        let unpaid = Order { visitor: 1, product: "tea".into(), quantity: 9 };
        driver.input(&events::orders()).send(5, unpaid, at(70)).unwrap();
        let revenue = driver.output(&events::revenue()).drain().unwrap();
        let revenue: Vec<_> = revenue
            .into_iter()
            .map(|row| (row.key.window.start, row.value.sales, row.value.cents))
            .collect();
        assert_eq!(revenue, [(at(0), 1, 500), (at(0), 2, 750), (at(60), 1, 1_000)]);
        assert_eq!(driver.output(&events::dead_letters()).drain().unwrap().len(), 1);
    }

    #[test]
    fn a_visit_counts_where_it_ended() {
        let mut driver = driver();
        let mut click = |stage, agent: &str, seconds| {
            let click = Click { stage, agent: agent.into() };
            driver.input(&events::clicks()).send(7, click, at(seconds)).unwrap();
        };
        click(Stage::Looked, "browser", 0);
        click(Stage::Chose, "browser", 60);
        click(Stage::Looked, "browser", 120);
        click(Stage::Looked, "browser", 400);
        click(Stage::Bought, "crawler", 410);
        let raw = Topic::<u64, String>::plain(events::clicks().name());
        driver.input(&raw).send(7, "{\"stage\":".into(), at(420)).unwrap();
        let counts = driver.output(&events::funnel()).drain().unwrap();
        let last = |stage: Stage| {
            let of_stage = |row: &&millstream::Record<String, i64>| row.key == stage.to_string();
            counts.iter().rfind(of_stage).map(|row| row.value)
        };
        let ended = Stage::ALL.map(last);
        assert_eq!(ended, [Some(1), Some(1), None, None]);
        assert_eq!(driver.output(&events::dead_letters()).drain().unwrap().len(), 1);
    }

    #[test]
    fn the_third_decline_in_five_minutes_is_an_alert_and_the_fourth_is_none() {
        let mut driver = driver();
        for (seconds, is_accepted) in
            [(0, false), (10, false), (20, true), (30, false), (40, false), (301, false)]
        {
            let payment = Payment { card: "card-1".into(), is_accepted };
            driver.input(&events::payments()).send(5, payment, at(seconds)).unwrap();
        }
        let alerts = driver.output(&events::alerts()).drain().unwrap();
        let alerts: Vec<_> = alerts.into_iter().map(|row| (row.key, row.value)).collect();
        assert_eq!(alerts, [("card-1".to_owned(), Alert { since_ms: 0, declined: 3 })]);
    }
}
