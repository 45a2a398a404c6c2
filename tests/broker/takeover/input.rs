//! What is the application fed? Three parts, the same in every run.

use std::sync::OnceLock;
use std::time::Duration;

use millstream::time::{Clock, SystemClock};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

const PATIENCE: Duration = Duration::from_secs(30);
const KEYS: u64 = 7;
const WORDS: [&str; 9] =
    ["water", "wheel", "stone", "grain", "fl\u{f6}ur", "stream", "river", "mill", "weir"];
const ROWS: usize = 12;
const RECORDS: usize = 360;
/// How far a part reaches in event time, in milliseconds.
const PART_MS: i64 = 300_000;
/// How far a record may be behind the one before, in milliseconds: never beyond a grace.
const JITTER_MS: u64 = 8_000;

pub(super) const PARTS: usize = 3;

struct Input {
    topic: &'static str,
    key: String,
    value: Option<String>,
    timestamp: i64,
}

/// The input, by part.
pub(super) struct Parts(Vec<Vec<Input>>);

impl Parts {
    /// The input of all runs.
    pub(super) fn shared() -> &'static Self {
        static SHARED: OnceLock<Parts> = OnceLock::new();
        SHARED.get_or_init(Self::new)
    }

    /// Begins in the last hour: brokers delete old windows by their age.
    fn new() -> Self {
        let now = SystemClock::default().timestamp();
        let begin = now - Duration::from_secs(3_600);
        let begin = begin.as_millis() / 60_000 * 60_000;
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let mut parts: Vec<_> =
            (0..PARTS).map(|part| make_part(begin, part, &mut random)).collect();
        let end = begin + PART_MS * i64::try_from(PARTS).expect("there are few parts");
        parts[PARTS - 1].extend(last_of_all(end));
        Self(parts)
    }

    /// Writes a part; every record goes to the partition of its key.
    pub(super) fn write(&self, brokers: &str, app: &str, part: usize) {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("enable.idempotence", "true")
            .set("partitioner", "murmur2_random")
            .create()
            .expect("these settings make a producer");
        for input in &self.0[part] {
            let topic = format!("{app}-{}", input.topic);
            let record = BaseRecord::to(&topic).key(&input.key).timestamp(input.timestamp);
            let record = match &input.value {
                Some(value) => record.payload(value),
                None => record,
            };
            let sent = producer.send(record).map_err(|(error, _)| error);
            sent.expect("the queue has room for a part");
        }
        producer.flush(PATIENCE).expect("the broker acknowledges");
    }
}

/// First what the table changes to, then the records that are joined with it.
fn make_part(begin: i64, part: usize, random: &mut Random) -> Vec<Input> {
    let begin = begin + PART_MS * i64::try_from(part).expect("there are few parts");
    let mut inputs = Vec::new();
    for row in 0..ROWS {
        let key = format!("key-{}", random.below(KEYS));
        let name = WORDS[usize::try_from(random.below(3)).expect("it is small")];
        let value = (random.below(4) != 0).then(|| name.to_owned());
        let timestamp = begin + i64::try_from(row).expect("there are few rows");
        inputs.push(Input { topic: "rows", key, value, timestamp });
    }
    let step = (PART_MS - 10_000) / i64::try_from(RECORDS).expect("there are few records");
    for record in 0..RECORDS {
        let key = format!("key-{}", random.below(KEYS));
        let word = WORDS[usize::try_from(random.below(9)).expect("it is small")];
        let late = i64::try_from(random.below(JITTER_MS)).expect("it is small");
        let timestamp = begin + 9_000 + step * i64::try_from(record).expect("few") - late;
        // Even and odd: no two records of a key and a join have one time.
        let (topic, timestamp) = match random.below(3) {
            0 => ("clicks", timestamp | 1),
            _ => ("in", timestamp & !1),
        };
        inputs.push(Input { topic, key, value: Some(word.to_owned()), timestamp });
    }
    inputs
}

/// Records of each key after which nothing but the very last waits for a match: without them it
/// would depend on the moment which results without a match have left.
fn last_of_all(end: i64) -> impl Iterator<Item = Input> {
    let last = [("in", end + 60_000), ("clicks", end + 120_001), ("in", end + 180_000)];
    last.into_iter().flat_map(|(topic, begin)| {
        (0..KEYS).map(move |key| {
            let timestamp = begin + 2 * i64::try_from(key).expect("there are few keys");
            Input { topic, key: format!("key-{key}"), value: Some("last".to_owned()), timestamp }
        })
    })
}

/// Marsaglia's xorshift: the same numbers everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}
