//! How many times does each word occur? The front door: one pipeline, run end to end.
//!
//! ```text
//! cargo run --example word_count --no-default-features     # no broker, no system package
//! cargo run --example word_count -- --brokers HOST:PORT    # the same program on Kafka
//! ```
//!
//! Several processes on one machine need a state directory each: add `--state DIR`.
//!
//! It writes lines of text, counts their words exactly once, shows how far it is, and checks the
//! result against all lines that the log holds. On Kafka it creates its topics where they are
//! missing.

#![expect(clippy::print_stdout, reason = "an example talks to people")]

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use millstream::log::Log;
use millstream::time::{Clock, SystemClock};
use millstream::{App, BoxError, StreamsBuilder, Topic, Topology};
use support::{Arguments, Place, Reader, Stopwatch, Writer};

mod support;

const LINES: u64 = 200_000;
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
    match Arguments::parse().and_then(|arguments| run(&arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), BoxError> {
    let place = Place::open(arguments.config("word-count"), arguments)?;
    place.create_topics(&[lines().name(), counts().name()])?;
    write_lines(&place.log)?;
    let expected = count_lines(&*place.log)?;
    let app = App::builder(&topology()?, place.config.clone());
    let app = app.shared_log(Arc::clone(&place.log)).start()?;
    let counted = watch(&app, &*place.log, &expected);
    let is_closed = app.close(Duration::from_secs(30));
    let counted = counted?;
    show(&counted);
    if !is_closed || counted != expected {
        return Err("the counts differ from what was written".into());
    }
    println!("\nevery word was counted exactly once");
    Ok(())
}

/// Writes the lines, the same in each run.
fn write_lines(log: &Arc<dyn Log>) -> Result<(), BoxError> {
    let mut writer = Writer::new(log)?;
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let now = SystemClock::default().timestamp();
    for number in 0..LINES {
        let words: [&str; 5] = std::array::from_fn(|_| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            // The smaller of two draws: the first words are frequent, the last ones rare.
            WORDS[(random % 12).min(random / 12 % 12) as usize]
        });
        writer.write(&lines(), &number, &words.join(" "), now)?;
    }
    writer.flush()
}

/// What the counts must become: the words of every line that the log holds, earlier runs included.
fn count_lines(log: &dyn Log) -> Result<Counts, BoxError> {
    let mut expected = Counts::new();
    for line in Reader::read_to_end(log, &lines())? {
        for word in line.value.split(' ') {
            *expected.entry(word.to_owned()).or_default() += 1;
        }
    }
    Ok(expected)
}

/// Shows the progress until as much is counted as must be.
fn watch(app: &App, log: &dyn Log, expected: &Counts) -> Result<Counts, BoxError> {
    let total: i64 = expected.values().sum();
    let is_live = std::io::stdout().is_terminal();
    let (start, end) = if is_live { ("\r", "") } else { ("", "\n") };
    let mut reader = Reader::open(log, &counts())?;
    let mut latest = Counts::new();
    let mut shown = Stopwatch::start();
    loop {
        reader.poll(|count| {
            latest.insert(count.key, count.value);
        })?;
        let counted: i64 = latest.values().sum();
        if shown.elapsed() > Duration::from_millis(200) || counted >= total {
            shown = Stopwatch::start();
            print!("{start}counted {counted} of {total} words{end}");
            std::io::stdout().flush()?;
        }
        if counted >= total {
            println!();
            return Ok(latest);
        }
        if let Some(error) = app.error() {
            return Err(error.to_string().into());
        }
        reader.wait(Duration::from_millis(100));
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
