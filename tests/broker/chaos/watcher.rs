//! What comes out? Every committed result, in the order of the log, with the time it was seen.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use super::feeder::{WORDS, word};
use super::{PARTITIONS, PATIENCE, client};
use crate::kafka::Broker;

/// A result that a reader of committed records has seen.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) word: String,
    /// Results of a word that are counted by themselves; empty where there is one series only.
    pub(crate) series: String,
    pub(crate) count: u64,
    pub(crate) number: u64,
    /// The two tasks behind it, and the process that ran each.
    pub(crate) work: [(String, String); 2],
    pub(crate) at: Instant,
}

#[derive(Debug, Default)]
struct Shared {
    seen: Mutex<Vec<Seen>>,
    grown: Condvar,
    is_done: AtomicBool,
}

/// Reads results until it is dropped.
#[derive(Debug)]
pub(crate) struct Watcher {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    pub(crate) fn start(broker: &Broker, topic: &str) -> Self {
        let consumer = consumer(broker, topic);
        let shared = Arc::new(Shared::default());
        let own = Arc::clone(&shared);
        let thread = std::thread::spawn(move || watch(&consumer, &own));
        Self { shared, thread: Some(thread) }
    }

    /// How many results have been seen.
    pub(crate) fn len(&self) -> usize {
        self.shared.seen.lock().expect("no panic while held").len()
    }

    /// Everything seen from the `start`th result on.
    pub(crate) fn since(&self, start: usize) -> Vec<Seen> {
        self.shared.seen.lock().expect("no panic while held")[start..].to_vec()
    }

    /// Looks at everything seen so far, where it lies.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&[Seen]) -> T) -> T {
        look(&self.shared.seen.lock().expect("no panic while held"))
    }

    /// Waits until what was seen from the `start`th result on is enough; false after the time.
    pub(crate) fn wait_until(
        &self,
        at_most: Duration,
        start: usize,
        mut is_enough: impl FnMut(&[Seen]) -> bool,
    ) -> bool {
        let seen = self.shared.seen.lock().expect("no panic while held");
        let waiting =
            self.shared.grown.wait_timeout_while(seen, at_most, |seen| !is_enough(&seen[start..]));
        !waiting.expect("no panic while held").1.timed_out()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.shared.is_done.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// Everything that the log holds for a reader of committed records.
pub(crate) fn read_all(broker: &Broker, topic: &str) -> Vec<Seen> {
    let consumer = consumer(broker, topic);
    let mut seen = Vec::new();
    let mut unread = PARTITIONS;
    while unread > 0 {
        match consumer.poll(PATIENCE).expect("records, or the end") {
            Ok(record) => seen.push(parse(record.partition(), record.key(), record.payload())),
            Err(KafkaError::PartitionEOF(_)) => unread -= 1,
            Err(error) if is_outage(&error) => {}
            Err(error) => panic!("results cannot be read: {error}"),
        }
    }
    seen
}

/// A reader of all partitions from their beginning.
fn consumer(broker: &Broker, topic: &str) -> BaseConsumer {
    let mut config = client(broker);
    config
        .set("group.id", format!("{topic}-watcher"))
        .set("isolation.level", "read_committed")
        // A commit would end a poll early, as if there were nothing to read.
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("fetch.wait.max.ms", "10");
    let consumer: BaseConsumer = config.create().expect("these settings make a consumer");
    let mut all = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        let partition = i32::try_from(partition).expect("a small number");
        all.add_partition_offset(topic, partition, Offset::Beginning).expect("a valid offset");
    }
    consumer.assign(&all).expect("an assignment by hand needs no group");
    consumer
}

fn watch(consumer: &BaseConsumer, shared: &Shared) {
    while !shared.is_done.load(Ordering::SeqCst) {
        let Some(record) = consumer.poll(Duration::from_millis(50)) else { continue };
        let record = match record {
            Ok(record) => record,
            Err(KafkaError::PartitionEOF(_)) => continue,
            Err(error) if is_outage(&error) => continue,
            Err(error) => panic!("results cannot be read: {error}"),
        };
        let seen = parse(record.partition(), record.key(), record.payload());
        shared.seen.lock().expect("no panic while held").push(seen);
        shared.grown.notify_all();
    }
}

/// Whether the broker cannot be reached: the client tries again by itself.
fn is_outage(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{AllBrokersDown, BrokerTransportFailure, OperationTimedOut};
    let code = error.rdkafka_error_code();
    matches!(code, Some(AllBrokersDown | BrokerTransportFailure | OperationTimedOut))
}

fn parse(partition: i32, key: Option<&[u8]>, value: Option<&[u8]>) -> Seen {
    let text = |bytes: Option<&[u8]>| {
        String::from_utf8(bytes.expect("it is not null").to_vec()).expect("it is text")
    };
    let (word, value) = (text(key), text(value));
    let mut parts = value.split(' ');
    let mut part = || parts.next().expect("a result has four parts at least");
    let (count, number) = (part().parse().expect("a count"), part().parse().expect("a number"));
    let source = number % u64::from(PARTITIONS);
    let work = [(format!("0_{source}"), part().into()), (format!("1_{partition}"), part().into())];
    let series = parts.next().unwrap_or_default().to_owned();
    Seen { word, series, count, number, work, at: Instant::now() }
}

/// All tasks of the application.
pub(crate) const TASKS: usize = 2 * PARTITIONS as usize;

/// How often each number below `total` has taken effect.
pub(crate) fn effects(seen: &[Seen], total: u64) -> Vec<u32> {
    let mut effects = vec![0; usize::try_from(total).expect("it fits")];
    for result in seen {
        effects[usize::try_from(result.number).expect("it fits")] += 1;
    }
    effects
}

/// Which processes have run which task.
pub(crate) fn runners(seen: &[Seen]) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut runners = BTreeMap::<&str, BTreeSet<&str>>::new();
    for (task, process) in seen.iter().flat_map(|result| &result.work) {
        runners.entry(task).or_default().insert(process);
    }
    runners
}

/// The longest time without a result of each task, between its first and its last.
pub(crate) fn silences(seen: &[Seen]) -> BTreeMap<&str, Duration> {
    let mut latest = BTreeMap::<&str, Instant>::new();
    let mut silences = BTreeMap::<&str, Duration>::new();
    for result in seen {
        for (task, _) in &result.work {
            let before = latest.insert(task, result.at).unwrap_or(result.at);
            let silence = silences.entry(task).or_default();
            *silence = (*silence).max(result.at - before);
        }
    }
    silences
}

/// The last number of each word in each partition: once these have taken effect, whatever came
/// before is through, or lost.
pub(crate) fn last_numbers(total: u64) -> BTreeSet<u64> {
    (total.saturating_sub(WORDS * u64::from(PARTITIONS))..total).collect()
}

/// Every number below `total` has taken effect exactly once, and the counts of each word and series
/// ascend without a gap.
pub(crate) fn exactly_once(seen: &[Seen], total: u64) -> Result<(), String> {
    let wrong: Vec<_> = effects(seen, total)
        .into_iter()
        .enumerate()
        .filter(|(_, times)| *times != 1)
        .take(10)
        .collect();
    if !wrong.is_empty() {
        return Err(format!("numbers and how often they took effect: {wrong:?}"));
    }
    let mut counts = BTreeMap::<(&str, &str), u64>::new();
    for Seen { word, series, count, number, work, .. } in seen {
        let before = counts.entry((word, series)).or_default();
        if *count != *before + 1 {
            return Err(format!(
                "`{word}` is {count} behind {before}, at number {number} by {work:?}"
            ));
        }
        *before = *count;
    }
    Ok(())
}

/// Every number below `total` has taken effect, and where a word's counts are one series, the last
/// is not too small. Returns how many effects were double.
pub(crate) fn at_least_once(seen: &[Seen], total: u64) -> Result<u32, String> {
    let effects = effects(seen, total);
    let lost: Vec<_> =
        effects.iter().enumerate().filter(|(_, times)| **times == 0).take(10).collect();
    if !lost.is_empty() {
        return Err(format!("numbers without an effect: {lost:?}"));
    }
    if seen.iter().any(|seen| !seen.series.is_empty()) {
        return Ok(effects.iter().map(|times| times - 1).sum());
    }
    let mut expected = BTreeMap::<String, u64>::new();
    (0..total).for_each(|number| *expected.entry(word(number)).or_default() += 1);
    let latest: BTreeMap<_, _> = seen.iter().map(|seen| (&seen.word, seen.count)).collect();
    for (word, count) in &expected {
        if latest[word] < *count {
            return Err(format!("`{word}` is {} in the end, not {count}", latest[word]));
        }
    }
    Ok(effects.iter().map(|times| times - 1).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(series: &str, count: u64, number: u64) -> Seen {
        let work = [("0_0".to_owned(), "a".to_owned()), ("1_0".to_owned(), "a".to_owned())];
        let (word, series) = ("w0".to_owned(), series.to_owned());
        Seen { word, series, count, number, work, at: Instant::now() }
    }

    #[test]
    fn what_is_lost_double_or_out_of_order_is_found_in_every_series() {
        let right = [seen("x", 1, 0), seen("y", 1, 1), seen("x", 2, 2)];
        assert_eq!(exactly_once(&right, 3), Ok(()));
        assert_eq!(at_least_once(&right, 3), Ok(0));
        let lost = [right[0].clone(), right[2].clone()];
        assert!(exactly_once(&lost, 3).unwrap_err().contains("(1, 0)"));
        assert!(at_least_once(&lost, 3).unwrap_err().contains("(1, 0)"));
        let double = [&right[..], &right[1..2]].concat();
        assert!(exactly_once(&double, 3).unwrap_err().contains("(1, 2)"));
        assert_eq!(at_least_once(&double, 3), Ok(1));
        let turned = [right[2].clone(), right[0].clone(), right[1].clone()];
        assert!(exactly_once(&turned, 3).unwrap_err().contains("is 2 behind 0"));
    }
}
