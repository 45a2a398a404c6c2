//! How many times does each word occur? The front door: one pipeline, run end to end.
//!
//! ```text
//! cargo run --example word_count --no-default-features     # no broker, no system package
//! cargo run --example word_count -- --brokers HOST:PORT    # the same program on Kafka
//! ```
//!
//! It writes lines of text, counts their words exactly once, shows how far it is, and checks the
//! result against all lines that the log holds. On Kafka it creates its topics where they are
//! missing, and several processes share the work: start it three times, with `--state DIR` of its
//! own for each, kill one with `kill -9`, and see the others arrive at the right counts.

#![expect(clippy::print_stdout, reason = "an example talks to people")]

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use millstream::log::Log;
use millstream::time::{Clock, SystemClock};
use millstream::{App, BoxError, StreamsBuilder, Topic, Topology};
use support::{Arguments, Place, Random, Reader, Stopwatch, Writer};

mod support;

const LINES: u64 = 200_000;
/// How long wrong counts may stay before they are called wrong: lines may still be on their way.
const PATIENCE: Duration = Duration::from_secs(10);
const WORDS: [&str; 12] = [
    "water", "wheel", "stone", "grain", "flour", "stream", "river", "mill", "sack", "wind", "weir",
    "bread",
];

/// Words and how often each occurs.
type Counts = BTreeMap<String, i64>;

fn lines() -> Topic<u64, String> {
    Topic::plain("word-count-lines")
}

fn counts() -> Topic<String, i64> {
    Topic::plain("word-count-counts")
}

/// The pipeline: this is all there is to it.
fn topology() -> Result<Topology, BoxError> {
    let builder = StreamsBuilder::new();
    builder
        .stream(&lines())
        .flat_map_values(|line| line.split(' ').map(str::to_owned).collect::<Vec<_>>())
        .group_by(|_, word| word.clone())
        .count("counts")
        .to(&counts());
    Ok(builder.build()?)
}

fn main() -> ExitCode {
    support::exit_of(run)
}

fn run(arguments: &Arguments) -> Result<(), BoxError> {
    let place = Place::open(arguments.config("word-count"), arguments)?;
    place.create_topics(&[lines().name(), counts().name()])?;
    write_lines(&place.log)?;
    let mut ledger = Ledger::open(&*place.log)?;
    let app = App::builder(&topology()?, place.config.clone());
    let app = app.shared_log(Arc::clone(&place.log)).start()?;
    let watched = watch(&app, &mut ledger);
    let is_closed = app.close(Duration::from_secs(30));
    watched?;
    show(&ledger.counted);
    if !is_closed {
        return Err("the application did not close in time".into());
    }
    println!("\nevery word was counted exactly once");
    Ok(())
}

/// Writes the lines, the same in each run.
fn write_lines(log: &Arc<dyn Log>) -> Result<(), BoxError> {
    let mut writer = Writer::new(log)?;
    let mut random = Random::new(0x9e37_79b9_7f4a_7c15);
    let now = SystemClock::default().timestamp();
    for number in 0..LINES {
        let words: [&str; 5] = std::array::from_fn(|_| {
            // The smaller of two draws: the first words are frequent, the last ones rare.
            let both = random.below(144);
            WORDS[(both % 12).min(both / 12) as usize]
        });
        writer.write(&lines(), &number, &words.join(" "), now)?;
    }
    writer.flush()
}

/// What the log holds: the words of all lines, other processes' and earlier runs' included, and how
/// often each was counted.
struct Ledger {
    lines: Reader<u64, String>,
    counts: Reader<String, i64>,
    written: Counts,
    counted: Counts,
    /// Since something new came.
    silent: Stopwatch,
}

impl Ledger {
    /// Reads what is there.
    fn open(log: &dyn Log) -> Result<Self, BoxError> {
        let (lines, counts) = (Reader::open(log, &lines())?, Reader::open(log, &counts())?);
        let (written, counted) = (Counts::new(), Counts::new());
        let mut ledger = Self { lines, counts, written, counted, silent: Stopwatch::start() };
        while ledger.lines.is_behind() || ledger.counts.is_behind() {
            ledger.poll()?;
            ledger.lines.wait(Duration::from_millis(1));
        }
        Ok(ledger)
    }

    fn poll(&mut self) -> Result<(), BoxError> {
        let mut is_new = false;
        self.counts.poll(|count| {
            self.counted.insert(count.key, count.value);
            is_new = true;
        })?;
        self.lines.poll(|line| {
            for word in line.value.split(' ') {
                *self.written.entry(word.to_owned()).or_default() += 1;
            }
            is_new = true;
        })?;
        if is_new {
            self.silent = Stopwatch::start();
        }
        Ok(())
    }

    /// How many words were counted, and how many there are.
    fn totals(&self) -> (i64, i64) {
        (self.counted.values().sum(), self.written.values().sum())
    }

    /// Whether all is counted; an error if it will never be right.
    fn is_settled(&self) -> Result<bool, BoxError> {
        let (counted, written) = self.totals();
        if counted >= written && self.written != self.counted && self.silent.elapsed() > PATIENCE {
            return Err("the counts differ from what was written".into());
        }
        Ok(self.written == self.counted)
    }
}

/// Shows the progress until every word is counted.
fn watch(app: &App, ledger: &mut Ledger) -> Result<(), BoxError> {
    let is_live = std::io::stdout().is_terminal();
    let (start, end) = if is_live { ("\r", "") } else { ("", "\n") };
    let mut shown = Stopwatch::start();
    loop {
        ledger.poll()?;
        let is_settled = ledger.is_settled()?;
        if is_settled || shown.elapsed() > Duration::from_millis(200) {
            shown = Stopwatch::start();
            let (counted, written) = ledger.totals();
            print!("{start}counted {counted} of {written} words{end}");
            std::io::stdout().flush()?;
        }
        if is_settled {
            println!();
            return Ok(());
        }
        if let Some(error) = app.error() {
            return Err(error.to_string().into());
        }
        ledger.counts.wait(Duration::from_millis(100));
    }
}

fn show(counts: &Counts) {
    let mut ranked: Vec<_> = counts.iter().collect();
    ranked.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    println!("\n{:<10} {:>10}", "word", "count");
    for (word, count) in ranked.into_iter().take(10) {
        println!("{word:<10} {count:>10}");
    }
}

#[cfg(test)]
mod tests {
    use millstream::Timestamp;
    use millstream::testing::TopologyTestDriver;

    #[test]
    fn words_of_a_line_are_counted() {
        let mut driver = TopologyTestDriver::new(&super::topology().unwrap());
        let line = "mill stone mill".to_owned();
        driver.input(&super::lines()).send(1, line, Timestamp::ZERO).unwrap();
        let counted = driver.output(&super::counts()).drain().unwrap();
        let counted: Vec<_> = counted.into_iter().map(|r| (r.key, r.value)).collect();
        let expected = [("mill", 1), ("stone", 1), ("mill", 2)];
        assert_eq!(counted, expected.map(|(word, count)| (word.to_owned(), count)));
    }
}
