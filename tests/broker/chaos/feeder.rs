//! What goes in? Numbered records at a steady pace, while processes come and go.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::{PARTITIONS, PATIENCE, client};
use crate::kafka::Broker;

/// Words that are tallied.
pub(crate) const WORDS: u64 = 48;
/// The pace: so many records each time.
const BURST: u64 = 96;
const PAUSE: Duration = Duration::from_millis(40);

/// The word that a number stands for. Every word comes through every partition.
pub(crate) fn word(number: u64) -> String {
    format!("w{}", number / u64::from(PARTITIONS) % WORDS)
}

/// Writes records until it is stopped.
#[derive(Debug)]
pub(crate) struct Feeder {
    is_done: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Feeder {
    pub(crate) fn start(broker: &Broker, topic: String) -> Self {
        let mut config = client(broker);
        config.set("enable.idempotence", "true").set("linger.ms", "2");
        // What is fed while the broker is away waits.
        config.set("queue.buffering.max.messages", "0");
        let producer: BaseProducer = config.create().expect("these settings make a producer");
        let is_done = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&is_done);
        let thread = std::thread::spawn(move || feed(&producer, &topic, &until));
        Self { is_done, thread }
    }

    /// Stops, and says how many records were written: the numbers below that.
    pub(crate) fn stop(self) -> u64 {
        self.is_done.store(true, Ordering::SeqCst);
        self.thread.join().expect("everything that was fed is acknowledged")
    }
}

fn feed(producer: &BaseProducer, topic: &str, is_done: &AtomicBool) -> u64 {
    let mut number = 0;
    while !is_done.load(Ordering::SeqCst) {
        let next = Instant::now() + PAUSE;
        for _ in 0..BURST {
            let (key, value) = (number_bytes(number), word(number));
            let partition = i32::try_from(number % u64::from(PARTITIONS)).expect("a small number");
            let record = BaseRecord::to(topic).partition(partition).key(&key).payload(&value);
            producer.send(record).map_err(|(error, _)| error).expect("the queue has room");
            number += 1;
        }
        // What is heard of a broker that is down ends a poll early.
        while Instant::now() < next {
            producer.poll(next.saturating_duration_since(Instant::now()));
        }
    }
    producer.flush(PATIENCE).expect("the broker acknowledges");
    number
}

fn number_bytes(number: u64) -> [u8; 8] {
    number.to_be_bytes()
}
