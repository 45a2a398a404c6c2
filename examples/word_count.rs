//! How many times does each word occur? The front door: one pipeline, run end to end.
//!
//! ```text
//! cargo run --example word_count --no-default-features     # no broker, no system package
//! cargo run --example word_count -- --brokers HOST:PORT    # the same program on Kafka
//! ```
//!
//! It writes lines of text, counts their words exactly once, shows how far it is, and checks the
//! result against what it wrote. On Kafka it creates its topics where they are missing.

#![expect(clippy::print_stdout, reason = "an example talks to people")]

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;

use millstream::log::memory::MemoryLog;
use millstream::log::{ClientConfig, Isolation, Log, LogEvent, NewTopic, OffsetSpec, OpenBatch};
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

fn main() -> Result<(), BoxError> {
    let brokers = brokers_from_arguments()?;
    let config = Config::builder("word-count", brokers.as_deref().unwrap_or("in-process"));
    let config = config.build()?;
    let log = connect(&config, brokers.is_some())?;
    create_topics(&*log)?;
    let before = read_counts(&*log)?;
    let expected = write_lines(&*log, &before)?;
    let app = App::builder(&topology()?, config).shared_log(Arc::clone(&log)).start()?;
    let result = watch(&*log, &expected);
    let is_closed = app.close(Duration::from_secs(30));
    if let Some(error) = app.error() {
        return Err(error.to_string().into());
    }
    let result = result?;
    show(&result, is_closed && result == expected)
}

fn brokers_from_arguments() -> Result<Option<String>, BoxError> {
    let mut arguments = std::env::args().skip(1);
    match (arguments.next().as_deref(), arguments.next()) {
        (None, _) => Ok(None),
        (Some("--brokers"), Some(brokers)) => Ok(Some(brokers)),
        _ => Err("usage: word_count [--brokers HOST:PORT]".into()),
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

/// Writes the lines, the same in each run, and returns what the counts must become.
fn write_lines(
    log: &dyn Log,
    before: &BTreeMap<String, i64>,
) -> Result<BTreeMap<String, i64>, BoxError> {
    let mut client = log.client(client_config("word-count-writer"))?;
    let mut expected = before.clone();
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
            *expected.entry(WORDS[draw].to_owned()).or_default() += 1;
        }
        let batch = &mut batches[(number % u64::from(PARTITIONS)) as usize];
        let line = line.trim_end().as_bytes();
        batch.append(now, Some(&number.to_be_bytes()), Some(line), Default::default());
        if batch.size_bytes() > 200_000 || number + u64::from(PARTITIONS) >= LINES {
            let partition = (number % u64::from(PARTITIONS)) as u32;
            send(log, &mut *client, partition, std::mem::take(batch))?;
        }
    }
    Ok(expected)
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

/// The latest committed count of each word.
fn read_counts(log: &dyn Log) -> Result<BTreeMap<String, i64>, BoxError> {
    let mut latest = BTreeMap::new();
    follow(log, &mut latest, |_, is_at_end| is_at_end)?;
    Ok(latest)
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
    follow(log, &mut latest, |latest, _| {
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

/// Reads the counts from the beginning until `is_enough`.
fn follow(
    log: &dyn Log,
    latest: &mut BTreeMap<String, i64>,
    mut is_enough: impl FnMut(&BTreeMap<String, i64>, bool) -> bool,
) -> Result<(), BoxError> {
    let mut client = log.client(client_config("word-count-reader"))?;
    let clock = SystemClock::default();
    let mut unread = std::collections::BTreeSet::new();
    for partition in 0..PARTITIONS {
        let name = millstream::log::TopicPartition::new(counts().name(), partition);
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
                        let word = String::from_utf8(record.key.unwrap_or_default().to_vec())?;
                        let count = record.value.unwrap_or_default().try_into()?;
                        latest.insert(word, i64::from_be_bytes(count));
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
