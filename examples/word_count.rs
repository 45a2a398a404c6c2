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
//! result against what it wrote. On Kafka it creates its topics where they are missing.

#![expect(clippy::print_stdout, reason = "an example talks to people")]

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use millstream::log::memory::MemoryLog;
use millstream::log::{
    ClientConfig, HeadersView, Isolation, Log, LogEvent, NewTopic, OffsetSpec, OpenBatch,
};
use millstream::time::{Clock, SystemClock};
use millstream::{App, BoxError, Config, StreamsBuilder, Topic, Topology};

const LINES: u64 = 200_000;
const PARTITIONS: u32 = 4;
const WORDS: [&str; 12] = [
    "water", "wheel", "stone", "grain", "flour", "stream", "river", "mill", "sack", "wind", "weir",
    "bread",
];

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
    let brokers = arguments.brokers.as_deref().unwrap_or("in-process");
    // The in-process log ends with the process, and so must the state that belongs to it.
    let temporary = std::env::temp_dir().join(format!("millstream-{}", std::process::id()));
    let mut config = Config::builder("word-count", brokers);
    match (&arguments.state, &arguments.brokers) {
        (Some(state), _) => config = config.state_dir(state),
        (None, Some(_)) => {}
        (None, None) => config = config.state_dir(&temporary),
    }
    let outcome = count(config.build()?, arguments.brokers.is_some());
    if temporary.exists() {
        std::fs::remove_dir_all(temporary)?;
    }
    outcome
}

fn count(config: Config, is_kafka: bool) -> Result<(), BoxError> {
    let log = connect(&config, is_kafka)?;
    create_topics(&*log)?;
    write_lines(&*log)?;
    let expected = count_lines(&*log)?;
    let app = App::builder(&topology()?, config).shared_log(Arc::clone(&log)).start()?;
    let result = watch(&*log, &expected);
    let is_closed = app.close(Duration::from_secs(30));
    if let Some(error) = app.error() {
        return Err(error.to_string().into());
    }
    let result = result?;
    show(&result, is_closed && result == expected)
}

#[derive(Default)]
struct Arguments {
    brokers: Option<String>,
    state: Option<String>,
}

impl Arguments {
    fn parse() -> Result<Self, BoxError> {
        let mut parsed = Self::default();
        let mut arguments = std::env::args().skip(1);
        while let Some(name) = arguments.next() {
            match (name.as_str(), arguments.next()) {
                ("--brokers", Some(brokers)) => parsed.brokers = Some(brokers),
                ("--state", Some(state)) => parsed.state = Some(state),
                _ => return Err("usage: word_count [--brokers HOST:PORT] [--state DIR]".into()),
            }
        }
        Ok(parsed)
    }
}

fn connect(config: &Config, is_kafka: bool) -> Result<Arc<dyn Log>, BoxError> {
    if !is_kafka {
        return Ok(Arc::new(MemoryLog::new()));
    }
    #[cfg(feature = "kafka")]
    return Ok(Arc::new(millstream::kafka::KafkaLog::connect(config)?));
    #[cfg(not(feature = "kafka"))]
    Err(format!("`{}` needs feature `kafka`: leave out `--no-default-features`", config.brokers)
        .into())
}

fn create_topics(log: &dyn Log) -> Result<(), BoxError> {
    let topic = |name: &str| NewTopic {
        name: name.to_owned(),
        partitions: PARTITIONS,
        replication: None,
        configs: Vec::new(),
    };
    let topics = [topic(lines().name()), topic(counts().name())];
    Ok(log.admin().create_topics(&topics)?)
}

/// Writes the lines, the same in each run.
fn write_lines(log: &dyn Log) -> Result<(), BoxError> {
    let mut client = log.client(client_config("word-count-writer"))?;
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut batches: Vec<OpenBatch> = (0..PARTITIONS).map(|_| OpenBatch::new()).collect();
    let now = SystemClock::default().timestamp();
    for number in 0..LINES {
        let mut line = String::new();
        for _ in 0..5 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            // The smaller of two draws: the first words are frequent, the last ones rare.
            let draw = (random % 12).min(random / 12 % 12) as usize;
            line.push_str(WORDS[draw]);
            line.push(' ');
        }
        let batch = &mut batches[(number % u64::from(PARTITIONS)) as usize];
        let line = line.trim_end().as_bytes();
        batch.append(now, Some(&number.to_be_bytes()), Some(line), HeadersView::default());
        if batch.size_bytes() > 200_000 || number + u64::from(PARTITIONS) >= LINES {
            let partition = (number % u64::from(PARTITIONS)) as u32;
            send(log, &mut *client, partition, std::mem::take(batch))?;
        }
    }
    Ok(())
}

fn send(
    log: &dyn Log,
    client: &mut dyn millstream::log::LogClient,
    partition: u32,
    batch: OpenBatch,
) -> Result<(), BoxError> {
    let name = millstream::log::TopicPartition::new(lines().name(), partition);
    let effect = client.send(log.partitions().id(&name), batch);
    let clock = SystemClock::default();
    let mut events = Vec::new();
    loop {
        client.poll(clock.instant(), &mut events);
        for event in events.drain(..) {
            if let LogEvent::Ended { effect: ended, outcome } = event
                && ended == effect
            {
                return match outcome {
                    millstream::log::Outcome::Done { .. } => Ok(()),
                    other => Err(format!("a batch could not be written: {other:?}").into()),
                };
            }
        }
        client.wait(Duration::from_millis(100));
    }
}

fn client_config(client_id: &str) -> ClientConfig {
    ClientConfig {
        client_id: client_id.to_owned(),
        isolation: Isolation::ReadCommitted,
        transactional_id: None,
        transaction_timeout: Duration::from_secs(10),
        group: "word-count-watcher".to_owned(),
        fetch_bytes_max: 4 * 1024 * 1024,
    }
}

/// What the counts must become: the words of every line that the log holds, earlier runs included.
fn count_lines(log: &dyn Log) -> Result<BTreeMap<String, i64>, BoxError> {
    let mut expected = BTreeMap::new();
    let count = |expected: &mut BTreeMap<String, i64>, _: &[u8], line: &[u8]| {
        for word in std::str::from_utf8(line)?.split(' ') {
            *expected.entry(word.to_owned()).or_default() += 1;
        }
        Ok(())
    };
    follow(log, lines().name(), &mut expected, count, |_, is_at_end| is_at_end)?;
    Ok(expected)
}

/// Shows the progress until the counts are what they must become.
fn watch(
    log: &dyn Log,
    expected: &BTreeMap<String, i64>,
) -> Result<BTreeMap<String, i64>, BoxError> {
    let total: i64 = expected.values().sum();
    let clock = SystemClock::default();
    let mut shown = clock.instant();
    let mut latest = BTreeMap::new();
    let is_live = std::io::stdout().is_terminal();
    let keep = |latest: &mut BTreeMap<String, i64>, word: &[u8], count: &[u8]| {
        let count = i64::from_be_bytes(count.try_into()?);
        latest.insert(String::from_utf8(word.to_vec())?, count);
        Ok(())
    };
    follow(log, counts().name(), &mut latest, keep, |latest, _| {
        let counted: i64 = latest.values().sum();
        if clock.instant().since(shown) > Duration::from_millis(200) || counted == total {
            shown = clock.instant();
            let (start, end) = if is_live { ("\r", "") } else { ("", "\n") };
            print!("{start}counted {counted} of {total} words{end}");
            drop(std::io::stdout().flush());
        }
        counted >= total
    })?;
    println!();
    Ok(latest)
}

/// Reads a topic's committed records from the beginning until `is_enough`.
fn follow(
    log: &dyn Log,
    topic: &str,
    latest: &mut BTreeMap<String, i64>,
    take: impl Fn(&mut BTreeMap<String, i64>, &[u8], &[u8]) -> Result<(), BoxError>,
    mut is_enough: impl FnMut(&BTreeMap<String, i64>, bool) -> bool,
) -> Result<(), BoxError> {
    let mut client = log.client(client_config("word-count-reader"))?;
    let clock = SystemClock::default();
    let mut unread = std::collections::BTreeSet::new();
    for partition in 0..PARTITIONS {
        let name = millstream::log::TopicPartition::new(topic, partition);
        let id = log.partitions().id(&name);
        let start = log.admin().offsets(&[(id, OffsetSpec::Earliest)])?;
        client.read_from(id, start[0]);
        unread.insert(id);
    }
    let mut events = Vec::new();
    loop {
        client.poll(clock.instant(), &mut events);
        for event in events.drain(..) {
            match event {
                LogEvent::Fetched(batch) => {
                    for record in batch.records() {
                        let record = record?;
                        let key = record.key.unwrap_or_default();
                        take(latest, key, record.value.unwrap_or_default())?;
                    }
                }
                LogEvent::CaughtUp { partition, .. } => drop(unread.remove(&partition)),
                LogEvent::ReadFailed { error, .. } => return Err(error.into()),
                LogEvent::Ended { .. } => {}
            }
        }
        if is_enough(latest, unread.is_empty()) {
            return Ok(());
        }
        client.wait(Duration::from_millis(100));
    }
}

fn show(counts: &BTreeMap<String, i64>, is_right: bool) -> Result<(), BoxError> {
    let mut ranked: Vec<_> = counts.iter().collect();
    ranked.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    println!("\n{:<10} {:>10}", "word", "count");
    for (word, count) in ranked.into_iter().take(10) {
        println!("{word:<10} {count:>10}");
    }
    if is_right {
        println!("\nevery word was counted exactly once");
        return Ok(());
    }
    Err("the counts differ from what was written".into())
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
