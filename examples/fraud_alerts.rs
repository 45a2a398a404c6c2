//! Which payments look stolen? Those that come soon after a login from a device never seen before.
//!
//! ```text
//! cargo run --example fraud_alerts --no-default-features     # no broker, no system package
//! cargo run --example fraud_alerts -- --brokers HOST:PORT    # the same program on Kafka
//! ```
//!
//! Two streams of one key, logins and payments, are joined by time: a payment of more than 500.00
//! within ten minutes *after* a login from a new device is an alert. The example writes both
//! streams, runs the pipeline, and checks every alert against a comparison of all logins with all
//! payments.

#![expect(clippy::print_stdout, reason = "an example talks to people")]

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use millstream::log::Log;
use millstream::time::{Clock, SystemClock};
use millstream::{App, BoxError, JoinWindows, Record, StreamsBuilder, Topic, Topology};
use serde::{Deserialize, Serialize};
use support::{Arguments, Place, Random, Reader, Stopwatch, Writer};

mod support;

const ACCOUNTS: u64 = 300;
const EVENTS: u64 = 30_000;
const SUSPICIOUS_CENTS: u64 = 50_000;
const SOON: Duration = Duration::from_secs(10 * 60);

/// Keyed by account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Login {
    number: u64,
    device: String,
    is_new_device: bool,
}

/// Keyed by account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Payment {
    number: u64,
    cents: u64,
}

/// A login and a payment that do not go well together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Alert {
    login: u64,
    payment: u64,
    device: String,
    cents: u64,
}

/// Alerts by the numbers of login and payment.
type Alerts = BTreeMap<(u64, u64), Alert>;

fn logins() -> Topic<u64, Login> {
    Topic::json("fraud-logins")
}

fn payments() -> Topic<u64, Payment> {
    Topic::json("fraud-payments")
}

fn alerts() -> Topic<u64, Alert> {
    Topic::json("fraud-alerts")
}

/// The pipeline: two streams and what happens close together in them.
fn topology() -> Result<Topology, BoxError> {
    let builder = StreamsBuilder::new();
    let strange = builder.stream(&logins()).filter(|_, login| login.is_new_device);
    let large = builder.stream(&payments()).filter(|_, payment| is_large(payment));
    // Not `before`: what was paid before the login is not its doing.
    let soon_after = JoinWindows::within(SOON).before(Duration::ZERO).grace(SOON);
    strange.join(&large, soon_after, "stolen", alert).to(&alerts());
    Ok(builder.build()?)
}

fn is_large(payment: &Payment) -> bool {
    payment.cents > SUSPICIOUS_CENTS
}

fn alert(login: Login, payment: Payment) -> Alert {
    Alert {
        login: login.number,
        payment: payment.number,
        device: login.device,
        cents: payment.cents,
    }
}

fn main() -> ExitCode {
    support::exit_of(run)
}

fn run(arguments: &Arguments) -> Result<(), BoxError> {
    let place = Place::open(arguments.config("fraud-alerts"), arguments)?;
    place.create_topics(&[logins().name(), payments().name(), alerts().name()])?;
    let log = &*place.log;
    write_events(&place.log)?;
    let (all_logins, all_payments) =
        (Reader::read_to_end(log, &logins())?, Reader::read_to_end(log, &payments())?);
    println!("{} logins, {} payments", all_logins.len(), all_payments.len());
    let expected = compare(&all_logins, &all_payments);

    let app = App::builder(&topology()?, place.config.clone());
    let app = app.shared_log(Arc::clone(&place.log)).start()?;
    let raised = watch(&app, log, expected.len());
    let is_closed = app.close(Duration::from_secs(30));
    let raised = raised?;
    if !is_closed || raised != expected {
        return Err("the alerts differ from a comparison of all logins with all payments".into());
    }
    println!("\n{} alerts, each of them once, and none is missing", raised.len());
    Ok(())
}

/// Writes logins and payments by time: the same in each run, but for the time.
fn write_events(log: &Arc<dyn Log>) -> Result<(), BoxError> {
    let mut writer = Writer::new(log)?;
    let mut random = Random::new(0x5851_f42d_4c95_7f2d);
    let mut draw = |below| random.below(below);
    // The last event happens now, so that on Kafka no run is late for the one before.
    let step_ms = 200;
    let now = SystemClock::default().timestamp();
    let first = now.plus_millis(-(EVENTS as i64 * step_ms));
    for event in 0..EVENTS {
        let at = first.plus_millis(event as i64 * step_ms);
        // Numbers are unique over all runs on one log.
        let number = now.as_millis() as u64 * EVENTS + event;
        let account = draw(ACCOUNTS);
        if draw(4) == 0 {
            let is_new_device = draw(20) == 0;
            let device = format!("device {}", if is_new_device { draw(1_000) } else { account });
            writer.write(&logins(), &account, &Login { number, device, is_new_device }, at)?;
        } else {
            // The smaller of two draws: most payments are small.
            let cents = 100 + draw(90_000).min(draw(90_000));
            writer.write(&payments(), &account, &Payment { number, cents }, at)?;
        }
    }
    writer.flush()
}

/// What the join must give: every login beside every payment of its account.
fn compare(logins: &[Record<u64, Login>], payments: &[Record<u64, Payment>]) -> Alerts {
    let mut by_account: BTreeMap<u64, Vec<&Record<u64, Payment>>> = BTreeMap::new();
    for payment in payments.iter().filter(|payment| is_large(&payment.value)) {
        by_account.entry(payment.key).or_default().push(payment);
    }
    let mut expected = Alerts::new();
    for login in logins.iter().filter(|login| login.value.is_new_device) {
        for payment in by_account.get(&login.key).into_iter().flatten() {
            let soon = login.timestamp..=login.timestamp + SOON;
            if soon.contains(&payment.timestamp) {
                let pair = (login.value.number, payment.value.number);
                expected.insert(pair, alert(login.value.clone(), payment.value.clone()));
            }
        }
    }
    expected
}

/// Shows alerts as they are raised, until there are that many.
fn watch(app: &App, log: &dyn Log, total: usize) -> Result<Alerts, BoxError> {
    let mut reader = Reader::open(log, &alerts())?;
    let mut raised = Alerts::new();
    let (mut seen, mut latest) = (0, None);
    let mut shown = Stopwatch::start();
    loop {
        reader.poll(|Record { key, value, .. }| {
            let (units, cents) = (value.cents / 100, value.cents % 100);
            latest = Some(format!("account {key:>3} paid {units}.{cents:02} on {}", value.device));
            raised.insert((value.login, value.payment), value);
            seen += 1;
        })?;
        if seen > raised.len() {
            return Err(format!("{} alerts came twice", seen - raised.len()).into());
        }
        let is_done = raised.len() >= total;
        if let Some(latest) = latest.take_if(|_| is_done || shown.elapsed().as_millis() > 200) {
            println!("{seen:>5} of {total} alerts, the latest: {latest}");
            shown = Stopwatch::start();
        }
        if is_done {
            return Ok(raised);
        }
        if let Some(error) = app.error() {
            return Err(error.to_string().into());
        }
        reader.wait(Duration::from_millis(100));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millstream::Timestamp;
    use millstream::testing::TopologyTestDriver;

    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_millis(minutes * 60_000)
    }

    fn login(number: u64, is_new_device: bool) -> Login {
        Login { number, device: "telephone".into(), is_new_device }
    }

    #[test]
    fn a_large_payment_soon_after_a_login_from_a_new_device_is_an_alert() {
        let mut driver = TopologyTestDriver::new(&topology().unwrap());
        let pay = |driver: &mut TopologyTestDriver, number, cents, minutes| {
            driver.input(&payments()).send(1, Payment { number, cents }, at(minutes)).unwrap();
        };
        pay(&mut driver, 1, 60_000, 9);
        driver.input(&logins()).send(1, login(1, true), at(10)).unwrap();
        pay(&mut driver, 2, 50_000, 11);
        driver.crash_and_lose_state().unwrap();
        pay(&mut driver, 3, 50_001, 20);
        pay(&mut driver, 4, 60_000, 21);
        driver.input(&logins()).send(1, login(2, false), at(22)).unwrap();
        pay(&mut driver, 5, 60_000, 23);
        let raised = driver.output(&alerts()).drain().unwrap();
        let raised: Vec<_> = raised.into_iter().map(|r| (r.value.login, r.value.payment)).collect();
        assert_eq!(raised, [(1, 3)]);
    }

    #[test]
    fn a_login_that_comes_after_the_payment_it_preceded_still_meets_it() {
        let mut driver = TopologyTestDriver::new(&topology().unwrap());
        let payment = Payment { number: 7, cents: 60_000 };
        driver.input(&payments()).send(1, payment.clone(), at(15)).unwrap();
        driver.input(&logins()).send(1, login(6, true), at(10)).unwrap();
        let raised = driver.output(&alerts()).drain().unwrap();
        assert_eq!(
            raised.into_iter().map(|r| r.value).collect::<Vec<_>>(),
            [alert(login(6, true), payment)]
        );
    }
}
