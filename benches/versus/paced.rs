//! How long does a record take at a fixed rate? Sent at times that are fixed beforehand.
//!
//! The first eight bytes of a value are the time at which it *should* leave, in microseconds since
//! the run began. A sender that falls behind does not wait: what it sends late counts as late from
//! the intended time on, so a pause of anything between sender and reader is in every latency that
//! it touches. The sink is read by this process, so one clock gives both ends.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::Message;
use rdkafka::consumer::BaseConsumer;
use rdkafka::producer::{BaseRecord, Producer};

use crate::input::{self, Input, Lines};
use crate::measure::{self, Running};
use crate::options::Options;
use crate::outcome::Outcome;
use crate::statistics::quantile;
use crate::topics;

/// How long the last results may take.
const PATIENCE: Duration = Duration::from_secs(60);
const STAMP_BYTES: usize = 8;

/// Where records go and come from, and how many a second.
pub(crate) struct Plan<'a> {
    pub(crate) brokers: &'a str,
    pub(crate) input: &'a str,
    pub(crate) output: &'a str,
    /// Of both topics.
    pub(crate) partitions: i32,
    pub(crate) rate: u64,
}

impl Plan<'_> {
    /// Waits for the first result of a record that is in no figure, then keeps to the plan.
    pub(crate) fn run(
        &self,
        options: &Options,
        input: &Input,
        running: &mut Running,
        figures: &mut BTreeMap<&'static str, f64>,
    ) -> Outcome {
        let records = self.rate * options.paced_seconds();
        let follower = topics::follow(self.brokers, self.output, self.partitions);
        self.send(input, options.seed, 1, Instant::now());
        self.first(&follower, running, figures);
        let begun = Instant::now();
        let mut latencies = thread::scope(|scope| {
            scope.spawn(|| self.send(input, options.seed, records, begun));
            receive(&follower, (records / 5, records), begun, running, figures)
        });
        let received = latencies.len() as u64 + records / 5;
        latencies.sort_by(f64::total_cmp);
        figures.insert("latency p50", quantile(&latencies, 0.5));
        figures.insert("latency p99", quantile(&latencies, 0.99));
        figures.insert("latency p99.9", quantile(&latencies, 0.999));
        figures.insert("latency max", quantile(&latencies, 1.0));
        Outcome { records: received, hash: 0 }
    }

    fn send(&self, input: &Input, seed: u64, records: u64, begun: Instant) {
        let producer = input::producer(self.brokers, 0);
        let mut lines = Lines::new(input, seed);
        for number in 0..records {
            lines.advance(number);
            let intended = Duration::from_micros(number * 1_000_000 / self.rate);
            while let Some(early) = intended.checked_sub(begun.elapsed()) {
                thread::sleep(early.max(Duration::from_micros(50)));
            }
            let stamp = (intended.as_micros() as u64).to_be_bytes();
            lines.value[..STAMP_BYTES].copy_from_slice(&stamp);
            let record = BaseRecord::to(self.input).key(lines.key.as_bytes());
            input::send(&producer, record.payload(&lines.value));
        }
        producer.flush(PATIENCE).expect("the broker takes the input");
    }

    fn first(
        &self,
        follower: &BaseConsumer,
        running: &mut Running,
        figures: &mut BTreeMap<&'static str, f64>,
    ) {
        while !matches!(follower.poll(Duration::from_millis(5)), Some(Ok(_))) {
            running.check();
            assert!(running.begun.elapsed() < PATIENCE, "`{}` stays empty", self.output);
        }
        figures.insert("first output", running.begun.elapsed().as_secs_f64() * 1e3);
    }
}

/// Latencies in ms, of the results behind the first `warm` ones.
fn receive(
    follower: &BaseConsumer,
    (warm, records): (u64, u64),
    begun: Instant,
    running: &mut Running,
    figures: &mut BTreeMap<&'static str, f64>,
) -> Vec<f64> {
    let mut latencies = Vec::with_capacity((records - warm) as usize);
    let (mut seen, mut last, mut mark) = (0, Instant::now(), running.mark(0));
    while seen < records && last.elapsed() < PATIENCE {
        let Some(Ok(message)) = follower.poll(Duration::from_millis(100)) else {
            running.check();
            continue;
        };
        last = Instant::now();
        seen += 1;
        if seen == warm {
            mark = running.mark(0);
        }
        if seen > warm {
            let bytes = message.payload().and_then(|value| value.first_chunk::<STAMP_BYTES>());
            let stamp = bytes.map_or(0, |stamp| u64::from_be_bytes(*stamp));
            let latency = (last - begun).saturating_sub(Duration::from_micros(stamp));
            latencies.push(latency.as_secs_f64() * 1e3);
        }
    }
    measure::costs(&mark, &running.mark(0), latencies.len() as f64, figures);
    // It is the plan's, not the side's.
    figures.remove("throughput");
    latencies
}
