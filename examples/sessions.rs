//! Who was here, and for how long? Clicks become visits: sessions that end with a second of
//! silence.
//!
//! ```text
//! cargo run --example sessions --no-default-features     # no broker, no system package
//! cargo run --example sessions -- --brokers HOST:PORT    # the same program on Kafka
//! ```
//!
//! Some clicks arrive late, and may join two visits into one. The two are deleted, with
//! tombstones, before the new one is written, so whoever keeps the latest value of each key has
//! every visit once. The example writes clicks, does just that with the visits, and checks them
//! against the runs of activity in a sorted list of all clicks.

#![expect(clippy::print_stdout, reason = "an example talks to people")]

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use millstream::log::Log;
use millstream::serde::{Canonical, Json};
use millstream::time::{Clock, SystemClock};
use millstream::window::key::SessionWindowedCodec;
use millstream::{
    App, BoxError, Record, SessionWindows, StreamsBuilder, Topic, Topology, Window, Windowed,
};
use serde::{Deserialize, Serialize};
use support::{Arguments, Place, Random, Reader, Stopwatch, Writer};

mod support;

const VISITORS: u64 = 200;
const CLICKS: u64 = 50_000;
const GAP: Duration = Duration::from_secs(1);
/// How late clicks may arrive.
const GRACE: Duration = Duration::from_secs(2);

/// What is known of a visit: how many clicks it has, and the pages they are on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Visit {
    clicks: u64,
    pages: BTreeMap<String, u64>,
}

impl Visit {
    fn click(&mut self, page: String) {
        self.clicks += 1;
        *self.pages.entry(page).or_default() += 1;
    }

    fn join(&mut self, other: Self) {
        self.clicks += other.clicks;
        for (page, clicks) in other.pages {
            *self.pages.entry(page).or_default() += clicks;
        }
    }
}

/// Pages by visitor.
fn clicks() -> Topic<u64, String> {
    Topic::plain("sessions-clicks")
}

/// Visits by visitor and session.
fn visits() -> Topic<Windowed<u64>, Visit> {
    let key = SessionWindowedCodec::new(Arc::new(Canonical));
    Topic::new("sessions-visits", key, Json)
}

/// The pipeline: clicks by visitor, in sessions.
fn topology() -> Result<Topology, BoxError> {
    let builder = StreamsBuilder::new();
    builder
        .stream(&clicks())
        .group_by_key()
        .windowed_by(SessionWindows::gap(GAP).grace(GRACE))
        .aggregate(
            "visits",
            Visit::default,
            |_, page, visit| visit.click(page),
            |_, visit, other| visit.join(other),
        )
        .to(&visits());
    Ok(builder.build()?)
}

fn main() -> ExitCode {
    support::exit_of(run)
}

fn run(arguments: &Arguments) -> Result<(), BoxError> {
    let place = Place::open(arguments.config("sessions"), arguments)?;
    place.create_topics(&[clicks().name(), visits().name()])?;
    let log = &*place.log;
    write_clicks(&place.log)?;
    let expected = runs(Reader::read_to_end(log, &clicks())?);

    let app = App::builder(&topology()?, place.config.clone());
    let app = app.shared_log(Arc::clone(&place.log)).start()?;
    let found = watch(&app, log, expected.values().map(|visit| visit.clicks).sum());
    let is_closed = app.close(Duration::from_secs(30));
    let found = found?;
    show(&found);
    if !is_closed || found != expected {
        return Err("the visits differ from the runs of activity in the log".into());
    }
    println!("\nevery click is in one visit, and every visit ends with a second of silence");
    Ok(())
}

/// Writes clicks, the same in each run but for the time; one in fifty is up to two seconds late.
fn write_clicks(log: &Arc<dyn Log>) -> Result<(), BoxError> {
    let mut writer = Writer::new(log)?;
    let mut random = Random::new(0x9e37_79b9_7f4a_7c15);
    let mut draw = |below| random.below(below);
    // Behind an earlier run, whose clicks may lie in the future.
    let earlier = Reader::read_to_end(&**log, &clicks())?;
    let last = earlier.into_iter().map(|click| click.timestamp).max();
    let now = SystemClock::default().timestamp();
    let mut at = last.map_or(now, |last| last.max(now)) + 2 * (GAP + GRACE);
    for _ in 0..CLICKS {
        at = at.plus_millis(2);
        let delay = if draw(50) == 0 { draw(GRACE.as_millis() as u64) } else { 0 };
        let page = format!("page {}", draw(20).min(draw(20)));
        writer.write(&clicks(), &draw(VISITORS), &page, at - Duration::from_millis(delay))?;
    }
    writer.flush()
}

/// The visits by definition: runs of a visitor's clicks, in the order of time, without a gap.
fn runs(mut clicks: Vec<Record<u64, String>>) -> BTreeMap<Windowed<u64>, Visit> {
    clicks.sort_by_key(|click| (click.key, click.timestamp));
    let mut visits: Vec<(Windowed<u64>, Visit)> = Vec::new();
    for Record { key, value: page, timestamp } in clicks {
        match visits.last_mut() {
            Some((last, visit)) if last.key == key && timestamp <= last.window.end + GAP => {
                last.window.end = timestamp;
                visit.click(page);
            }
            _ => {
                let mut visit = Visit::default();
                visit.click(page);
                visits.push((Windowed::new(key, Window::new(timestamp, timestamp)), visit));
            }
        }
    }
    visits.into_iter().collect()
}

/// Keeps the latest value of each key until the visits have that many clicks.
fn watch(app: &App, log: &dyn Log, total: u64) -> Result<BTreeMap<Windowed<u64>, Visit>, BoxError> {
    let mut reader = Reader::open(log, &visits().nullable_values())?;
    let mut found = BTreeMap::new();
    let (mut counted, mut replaced) = (0, 0_u64);
    let mut shown = Stopwatch::start();
    loop {
        reader.poll(|change| {
            let clicks = |visit: Option<&Visit>| visit.map_or(0, |visit| visit.clicks);
            counted += clicks(change.value.as_ref());
            replaced += u64::from(change.value.is_none());
            let before = match change.value {
                Some(visit) => found.insert(change.key, visit),
                None => found.remove(&change.key),
            };
            counted -= clicks(before.as_ref());
        })?;
        let is_done = counted >= total;
        if is_done || shown.elapsed().as_millis() > 200 {
            let visits = found.len();
            println!("{counted:>6} of {total} clicks in {visits} visits, {replaced} replaced");
            shown = Stopwatch::start();
        }
        if is_done {
            return Ok(found);
        }
        if let Some(error) = app.error() {
            return Err(error.to_string().into());
        }
        reader.wait(Duration::from_millis(100));
    }
}

fn show(visits: &BTreeMap<Windowed<u64>, Visit>) {
    let length = |window: Window| window.end.as_millis() - window.start.as_millis();
    let mut longest: Vec<_> = visits.iter().collect();
    longest.sort_by_key(|(visit, _)| std::cmp::Reverse(length(visit.window)));
    println!("\n{:<12} {:>9} {:>8}  favourite", "visitor", "seconds", "clicks");
    for (Windowed { key, window }, visit) in longest.into_iter().take(5) {
        let favourite = visit.pages.iter().max_by_key(|(_, clicks)| **clicks);
        let (page, _) = favourite.expect("a visit has a click");
        let seconds = Duration::from_millis(length(*window) as u64).as_secs_f64();
        println!("{key:<12} {seconds:>9.1} {:>8}  {page}", visit.clicks);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millstream::Timestamp;
    use millstream::testing::TopologyTestDriver;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    fn visit(pages: &[&str]) -> Visit {
        let mut visit = Visit::default();
        pages.iter().for_each(|page| visit.click((*page).to_owned()));
        visit
    }

    fn session(start: i64, end: i64) -> Windowed<u64> {
        Windowed::new(7, Window::new(at(start), at(end)))
    }

    #[test]
    fn a_late_click_joins_two_visits() {
        let mut driver = TopologyTestDriver::new(&topology().unwrap());
        for (page, ms) in [("a", 0), ("b", 1_600), ("c", 800)] {
            driver.input(&clicks()).send(7, page.to_owned(), at(ms)).unwrap();
        }
        let changes = driver.output(&visits().nullable_values()).drain().unwrap();
        let changes: Vec<_> = changes.into_iter().map(|r| (r.key, r.value)).collect();
        let expected = [
            (session(0, 0), Some(visit(&["a"]))),
            (session(1_600, 1_600), Some(visit(&["b"]))),
            (session(0, 0), None),
            (session(1_600, 1_600), None),
            (session(0, 1_600), Some(visit(&["a", "b", "c"]))),
        ];
        assert_eq!(changes, expected);
    }

    #[test]
    fn a_run_ends_with_more_than_a_gap_of_silence() {
        let click = |ms, page: &str| Record::new(7, page.to_owned(), at(ms));
        let found = runs(vec![click(2_001, "c"), click(1_000, "b"), click(0, "a")]);
        let expected =
            [(session(0, 1_000), visit(&["a", "b"])), (session(2_001, 2_001), visit(&["c"]))];
        assert_eq!(found, BTreeMap::from(expected));
    }
}
