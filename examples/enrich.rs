//! Who ordered? Orders are joined with a table of customers, each as of the order's time.
//!
//! ```text
//! cargo run --example enrich --no-default-features     # no broker, no system package
//! cargo run --example enrich -- --brokers HOST:PORT    # the same program on Kafka
//! ```
//!
//! Customers move from town to town while they order. A task takes the records of both topics in
//! the order of their timestamps, so an order is delivered to where the customer lived then. The
//! example writes both topics, runs the pipeline, and checks every delivery against a replay of
//! the log.

#![expect(clippy::print_stdout, reason = "an example talks to people")]

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use millstream::log::Log;
use millstream::time::{Clock, SystemClock};
use millstream::{App, BoxError, Record, StreamsBuilder, Timestamp, Topic, Topology};
use serde::{Deserialize, Serialize};
use support::{Arguments, Place, Random, Reader, Stopwatch, Writer};

mod support;

const CUSTOMERS: u64 = 500;
const ORDERS: u64 = 50_000;
const TOWNS: [&str; 5] = ["Ahausen", "Brunnthal", "Cossebaude", "Dornum", "Eltville"];

/// Keyed by the customer's number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Customer {
    name: String,
    town: String,
}

/// Keyed by the customer's number, as the table is, so that nothing needs a repartition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Order {
    number: u64,
    cents: u64,
}

/// An order with what the courier needs to know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Delivery {
    number: u64,
    cents: u64,
    name: String,
    town: String,
}

fn customers() -> Topic<u64, Customer> {
    Topic::json("enrich-customers")
}

fn orders() -> Topic<u64, Order> {
    Topic::json("enrich-orders")
}

fn deliveries() -> Topic<u64, Delivery> {
    Topic::json("enrich-deliveries")
}

/// The pipeline: a table, a stream, and a join between them.
fn topology() -> Result<Topology, BoxError> {
    let builder = StreamsBuilder::new();
    let customers = builder.table(&customers(), "customers");
    builder.stream(&orders()).join_table(&customers, deliver).to(&deliveries());
    Ok(builder.build()?)
}

fn deliver(order: Order, customer: Customer) -> Delivery {
    let Order { number, cents } = order;
    Delivery { number, cents, name: customer.name, town: customer.town }
}

fn main() -> ExitCode {
    support::exit_of(run)
}

fn run(arguments: &Arguments) -> Result<(), BoxError> {
    let place = Place::open(arguments.config("enrich"), arguments)?;
    place.create_topics(&[customers().name(), orders().name(), deliveries().name()])?;
    let log = &*place.log;
    write_events(&place.log)?;
    let all_orders = Reader::read_to_end(log, &orders())?;
    let expected = replay(Reader::read_to_end(log, &customers())?, all_orders);

    let app = App::builder(&topology()?, place.config.clone());
    let app = app.shared_log(Arc::clone(&place.log)).start()?;
    let delivered = watch(&app, log, expected.len());
    let is_closed = app.close(Duration::from_secs(30));
    let delivered = delivered?;
    show(&delivered);
    if !is_closed || delivered != expected {
        return Err("the deliveries differ from a replay of the log".into());
    }
    println!("\n{} orders went to where their customers lived, each once", delivered.len());
    Ok(())
}

/// Writes customers, who move, and their orders: the same in each run, but for the time.
fn write_events(log: &Arc<dyn Log>) -> Result<(), BoxError> {
    let mut writer = Writer::new(log)?;
    let mut random = Random::new(0x2545_f491_4f6c_dd1d);
    let mut draw = |below| random.below(below);
    let first = SystemClock::default().timestamp();
    let mut at = first;
    let move_in = |writer: &mut Writer, number, town: u64, at| {
        let town = TOWNS[town as usize].to_owned();
        let customer = Customer { name: format!("customer {number}"), town };
        writer.write(&customers(), &number, &customer, at)
    };
    for number in 0..CUSTOMERS {
        move_in(&mut writer, number, draw(5), at)?;
    }
    for order in 0..ORDERS {
        at = at.plus_millis(1);
        if draw(10) == 0 {
            move_in(&mut writer, draw(CUSTOMERS), draw(5), at)?;
            at = at.plus_millis(1);
        }
        // Numbers are unique over all runs on one log.
        let number = first.as_millis() as u64 * ORDERS + order;
        let order = Order { number, cents: 100 + draw(9_900) };
        writer.write(&orders(), &draw(CUSTOMERS), &order, at)?;
    }
    writer.flush()
}

/// Deliveries by order number: what the join must give, from a loop over all events by time.
fn replay(
    customers: Vec<Record<u64, Customer>>,
    orders: Vec<Record<u64, Order>>,
) -> BTreeMap<u64, Delivery> {
    let mut moves: BTreeMap<u64, BTreeMap<Timestamp, Customer>> = BTreeMap::new();
    for Record { key, value, timestamp } in customers {
        moves.entry(key).or_default().insert(timestamp, value);
    }
    let deliver_then = |order: Record<u64, Order>| {
        let (_, customer) = moves.get(&order.key)?.range(..=order.timestamp).next_back()?;
        Some((order.value.number, deliver(order.value, customer.clone())))
    };
    orders.into_iter().filter_map(deliver_then).collect()
}

/// Shows the progress until that many deliveries have come.
fn watch(app: &App, log: &dyn Log, total: usize) -> Result<BTreeMap<u64, Delivery>, BoxError> {
    let mut reader = Reader::open(log, &deliveries())?;
    let mut delivered = BTreeMap::new();
    let mut shown = Stopwatch::start();
    let (mut repeated, mut latest) = (0, None);
    loop {
        reader.poll(|delivery| {
            latest = Some(format!("{} in {}", delivery.value.name, delivery.value.town));
            let earlier = delivered.insert(delivery.value.number, delivery.value);
            repeated += usize::from(earlier.is_some());
        })?;
        if repeated > 0 {
            return Err(format!("{repeated} orders were delivered twice").into());
        }
        let is_done = delivered.len() >= total;
        if let Some(latest) = latest.take_if(|_| is_done || shown.elapsed().as_millis() > 200) {
            println!("{:>6} of {total} delivered, the latest to {latest}", delivered.len());
            shown = Stopwatch::start();
        }
        if is_done {
            return Ok(delivered);
        }
        if let Some(error) = app.error() {
            return Err(error.to_string().into());
        }
        reader.wait(Duration::from_millis(100));
    }
}

fn show(delivered: &BTreeMap<u64, Delivery>) {
    let mut towns: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for delivery in delivered.values() {
        let (count, cents) = towns.entry(&delivery.town).or_default();
        *count += 1;
        *cents += delivery.cents;
    }
    println!("\n{:<12} {:>8} {:>14}", "town", "orders", "worth");
    for (town, (count, cents)) in towns {
        println!("{town:<12} {count:>8} {:>11}.{:02}", cents / 100, cents % 100);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millstream::testing::TopologyTestDriver;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    #[test]
    fn an_order_meets_the_customer_of_its_time() {
        let mut driver = TopologyTestDriver::new(&topology().unwrap());
        let living_in = |town: &str| Customer { name: "Ada".into(), town: town.into() };
        let order = |number| Order { number, cents: 5 };
        driver.input(&orders()).send(1, order(10), at(0)).unwrap();
        driver.input(&customers()).send(1, living_in("Dornum"), at(1)).unwrap();
        driver.input(&orders()).send(1, order(11), at(2)).unwrap();
        driver.input(&orders()).send(2, order(12), at(3)).unwrap();
        driver.crash_and_lose_state().unwrap();
        driver.input(&orders()).send(1, order(13), at(4)).unwrap();
        driver.input(&customers()).send(1, living_in("Ahausen"), at(5)).unwrap();
        driver.input(&orders()).send(1, order(14), at(6)).unwrap();
        let delivered = driver.output(&deliveries()).drain().unwrap();
        let delivered: Vec<_> =
            delivered.into_iter().map(|r| (r.value.number, r.value.town)).collect();
        let expected = [(11, "Dornum"), (13, "Dornum"), (14, "Ahausen")];
        assert_eq!(delivered, expected.map(|(number, town)| (number, town.to_owned())));
    }

    #[test]
    fn the_replay_knows_when_a_customer_moved() {
        let living_in = |town: &str| Customer { name: "Ada".into(), town: town.into() };
        let moves = [(1, "Dornum"), (5, "Ahausen")];
        let moves = moves.map(|(ms, town)| Record::new(1, living_in(town), at(ms))).to_vec();
        let order = |ms| Record::new(1, Order { number: ms as u64, cents: 1 }, at(ms));
        let replayed = replay(moves, vec![order(0), order(4), order(5)]);
        let towns: Vec<_> = replayed.into_iter().map(|(n, d)| (n, d.town)).collect();
        assert_eq!(towns, [(4, "Dornum".to_owned()), (5, "Ahausen".to_owned())]);
    }
}
