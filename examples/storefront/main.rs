//! What goes on in the shop? Clicks, orders and payments become revenue, a funnel and alerts, live.
//!
//! ```text
//! cargo run --example storefront --no-default-features                   # no broker
//! cargo run --example storefront --no-default-features -- --seconds 60   # for longer
//! cargo run --example storefront -- --brokers HOST:PORT                  # on Kafka
//! ```
//!
//! | question | built from |
//! |---|---|
//! | what does each category earn per minute? | a rule, two joins, tumbling windows |
//! | how far do visitors come? | a filter, session windows, a regrouped table |
//! | which cards are declined again and again? | tumbling windows, a filter |
//! | what cannot be used? | dead letters, by topic and by rule |
//!
//! All of it is in `pipeline.rs`, with its tests.
//! `shop.rs` makes the events from a seed, at a steady rate, a minute of the shop's time in each
//! second. `display.rs` shows the results as they are committed. At the end `check.rs` answers the
//! same questions with loops over the whole log, and everything must be equal to the last cent.

#![expect(clippy::print_stdout, reason = "an example talks to people")]

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use millstream::time::{Clock, SystemClock};
use millstream::{App, BoxError, ErrorPolicy, Timestamp};

use check::Inputs;
use display::Display;
use results::Follower;
use shop::{Event, Shop};
use support::{Arguments, Place, Stopwatch, Writer};

mod check;
mod display;
mod events;
mod pipeline;
mod results;
mod shop;
#[path = "../support/mod.rs"]
mod support;

const SEED: u64 = 7;
/// So many milliseconds pass in the shop while one passes outside.
const SPEED: i64 = 60;
/// The shop opens as long ago as it will run; its events must not be later than the windows' grace.
const SECONDS_MAX: u64 = 300;

fn main() -> ExitCode {
    support::exit_of(run)
}

fn run(arguments: &Arguments) -> Result<(), BoxError> {
    let seconds = arguments.seconds.unwrap_or(8).min(SECONDS_MAX);
    let config = arguments
        .config("storefront")
        .on_process_error(ErrorPolicy::dead_letter(events::dead_letters().name()));
    let place = Place::open(config, arguments)?;
    create_topics(&place)?;
    let mut run = Run::begin(&place, seconds)?;
    let app = App::builder(&pipeline::topology()?, place.config.clone());
    let app = app.shared_log(Arc::clone(&place.log)).start()?;
    let outcome = run.sell(&app).and_then(|()| run.settle(&app, &place));
    let is_closed = app.close(Duration::from_secs(30));
    run.display.finish(run.now, run.events, &run.follower.results)?;
    outcome?;
    if !is_closed {
        return Err("the application did not close within 30 s".into());
    }
    println!("\nevery total is what the whole log says, to the last cent");
    Ok(())
}

fn create_topics(place: &Place) -> Result<(), BoxError> {
    place.create_topics(&[
        events::clicks().name(),
        events::orders().name(),
        events::payments().name(),
        events::catalogue().name(),
        events::revenue().name(),
        events::funnel().name(),
        events::alerts().name(),
        events::dead_letters().name(),
    ])
}

/// One opening of the shop, with those who write its events and watch its results.
struct Run {
    shop: Shop,
    opened: Timestamp,
    /// The shop's time.
    now: Timestamp,
    open_for: Duration,
    writer: Writer,
    events: u64,
    follower: Follower,
    display: Display,
}

impl Run {
    /// Opens the shop and writes its catalogue.
    fn begin(place: &Place, seconds: u64) -> Result<Self, BoxError> {
        let open_for = Duration::from_secs(seconds);
        let opened = SystemClock::default().timestamp() - open_for * SPEED as u32;
        let mut writer = Writer::new(&place.log)?;
        for (name, product) in shop::catalogue() {
            writer.write(&events::catalogue(), &name, &product, opened)?;
        }
        writer.flush()?;
        Ok(Self {
            shop: Shop::open(SEED, opened),
            opened,
            now: opened,
            open_for,
            writer,
            events: 0,
            follower: Follower::open(&*place.log)?,
            display: Display::new(),
        })
    }

    /// Writes events as they happen and shows what becomes of them, until the shop closes.
    fn sell(&mut self, app: &App) -> Result<(), BoxError> {
        let open = Stopwatch::start();
        let mut shown = Stopwatch::start();
        while open.elapsed() < self.open_for {
            failure(app)?;
            let elapsed = open.elapsed().min(self.open_for);
            self.now = self.opened.plus_millis(elapsed.as_millis() as i64 * SPEED);
            self.write_events()?;
            self.follower.poll()?;
            if shown.elapsed() > Duration::from_millis(500) {
                shown = Stopwatch::start();
                self.display.show(self.now, self.events, &self.follower.results)?;
            }
            self.follower.wait(Duration::from_millis(20));
        }
        Ok(())
    }

    fn write_events(&mut self) -> Result<(), BoxError> {
        for ((at, _), event) in self.shop.events_before(self.now) {
            self.events += 1;
            let writer = &mut self.writer;
            match event {
                Event::Click(key, click) => writer.write(&events::clicks(), &key, &click, at)?,
                Event::BrokenClick(key, bytes) => {
                    writer.write(&check::raw_clicks(), &key, &bytes, at)?;
                }
                Event::Order(key, order) => writer.write(&events::orders(), &key, &order, at)?,
                Event::Payment(key, paid) => writer.write(&events::payments(), &key, &paid, at)?,
            }
        }
        self.writer.flush()
    }

    /// Waits until the results are what they must be, half a minute at most.
    fn settle(&mut self, app: &App, place: &Place) -> Result<(), BoxError> {
        let expected = Inputs::read(&*place.log)?.results();
        let waiting = Stopwatch::start();
        loop {
            failure(app)?;
            self.follower.poll()?;
            let found = &self.follower.results;
            if *found == expected {
                return Ok(());
            }
            if waiting.elapsed() > Duration::from_secs(30) {
                let wrong = check::difference(found, &expected);
                return Err(format!("not what the log says:{wrong}").into());
            }
            self.follower.wait(Duration::from_millis(20));
        }
    }
}

/// What stopped the application, if anything did.
fn failure(app: &App) -> Result<(), BoxError> {
    app.error().map_or(Ok(()), |error| Err(error.to_string().into()))
}
