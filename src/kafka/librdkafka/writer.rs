//! What is being written, and which of it has been acknowledged?
//!
//! # Invariants
//!
//! - A send ends once, when a report has come for each of its records; its outcome is the worst.
//! - A producer that is replaced leaves no send open: what it had not acknowledged is unknown.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::kafka::errors::{Call, Verdict, outcome_of, verdict};
use crate::kafka::signal::Signal;
use crate::kafka::sys::{
    Code, Delivery, EventKind, Fault, Handle, Kind, Produced, Queue, Topic, code_text,
};
use crate::log::{
    EffectId, LogError, LogEvent, OpenBatch, Outcome, PartitionId, RecordBatch, TopicPartition,
};

/// A batch whose records have not all been reported.
#[derive(Debug)]
struct Sending {
    /// Records without a report.
    left: u32,
    /// Behind the last record that was acknowledged.
    next_offset: Option<i64>,
    worst: Verdict,
    text: String,
}

impl Sending {
    const fn of(count: u32) -> Self {
        Self { left: count, next_offset: None, worst: Verdict::Done, text: String::new() }
    }

    fn report(&mut self, verdict: Verdict, text: impl FnOnce() -> String) {
        self.left -= 1;
        if verdict > self.worst {
            self.worst = verdict;
            self.text = text();
        }
    }
}

/// Events taken from the queue in one poll.
const EVENTS_PER_POLL: usize = 256;

/// A producer and what it has not yet acknowledged.
#[derive(Debug)]
pub(super) struct Writer {
    handle: Arc<Handle>,
    main: Queue,
    topics: HashMap<Arc<str>, Topic>,
    /// By effect.
    sending: BTreeMap<u64, Sending>,
    /// Whether a record was not delivered, so that its sequence number may be missing.
    has_gap: bool,
    /// Ended without the broker.
    ended: Vec<LogEvent>,
    signal: Arc<Signal>,
}

impl Writer {
    /// A producer with these properties.
    pub(super) fn new(
        properties: &[(String, String)],
        signal: &Arc<Signal>,
    ) -> Result<Self, LogError> {
        let handle = Handle::new(Kind::Producer, properties)?;
        Ok(Self {
            main: Queue::main(&handle).raise(signal),
            handle,
            topics: HashMap::new(),
            sending: BTreeMap::new(),
            has_gap: false,
            ended: Vec::new(),
            signal: Arc::clone(signal),
        })
    }

    /// The instance, for calls that block.
    pub(super) const fn handle(&self) -> &Arc<Handle> {
        &self.handle
    }

    /// Whether the broker may refuse what comes next, since something before it is missing.
    pub(super) const fn has_gap(&self) -> bool {
        self.has_gap
    }

    /// Hands the records of a batch over.
    pub(super) fn send(
        &mut self,
        effect: EffectId,
        id: PartitionId,
        name: &TopicPartition,
        batch: OpenBatch,
    ) {
        let batch = RecordBatch::new(id, batch.seal()).expect("a batch that was sealed is whole");
        let mut sending = Sending::of(batch.count());
        let Self { handle, topics, .. } = self;
        match topic(handle, topics, &name.topic) {
            Ok(topic) => {
                for record in batch.records() {
                    let record = record.expect("records that were just written can be read");
                    if let Produced::Refused(code) =
                        topic.produce(name.partition, &record, effect.0)
                    {
                        sending.report(verdict_now(handle, code), || code_text(code));
                    }
                }
            }
            Err(fault) => {
                sending.left = 0;
                sending.worst = verdict(fault.code, Call::Produce);
                sending.text = fault.text;
            }
        }
        if sending.left == 0 {
            self.ended.push(ended(effect.0, sending));
            self.signal.raise();
        } else {
            self.sending.insert(effect.0, sending);
        }
    }

    /// Appends what has ended. Whether more is waiting.
    pub(super) fn poll(&mut self, events: &mut Vec<LogEvent>) -> bool {
        events.append(&mut self.ended);
        for _ in 0..EVENTS_PER_POLL {
            let Some(event) = self.main.poll(Duration::ZERO) else { return false };
            match event.kind() {
                EventKind::Deliveries => {
                    event.deliveries(|delivery| self.delivered(delivery, events));
                }
                EventKind::Error => {
                    tracing::warn!(target: "millstream::kafka", "{}", event.fault().text);
                }
                EventKind::Rebalance | EventKind::Other(_) => {}
            }
        }
        true
    }

    fn delivered(&mut self, delivery: Delivery, events: &mut Vec<LogEvent>) {
        let Delivery { number: effect, code, offset } = delivery;
        let Some(sending) = self.sending.get_mut(&effect) else { return };
        if code == 0 {
            sending.left -= 1;
            sending.next_offset = sending.next_offset.max(Some(offset + 1));
        } else {
            self.has_gap = true;
            sending.report(verdict_now(&self.handle, code), || code_text(code));
        }
        if sending.left == 0
            && let Some(sending) = self.sending.remove(&effect)
        {
            events.push(ended(effect, sending));
        }
    }

    /// Gives the producer up. What it has not acknowledged is unknown.
    pub(super) fn retire(mut self, events: &mut Vec<LogEvent>) -> Retired {
        events.append(&mut self.ended);
        for effect in std::mem::take(&mut self.sending).into_keys() {
            let effect = EffectId(effect);
            events.push(LogEvent::Ended { effect, outcome: Outcome::Unknown });
        }
        Retired(self)
    }
}

/// A producer that is no longer used; ending it may block.
#[derive(Debug)]
pub(super) struct Retired(Writer);

impl Retired {
    /// Ends the producer.
    pub(super) fn end(self) {
        self.0.handle.purge();
    }
}

fn topic<'a>(
    handle: &Arc<Handle>,
    topics: &'a mut HashMap<Arc<str>, Topic>,
    name: &Arc<str>,
) -> Result<&'a Topic, Fault> {
    if !topics.contains_key(name) {
        topics.insert(Arc::clone(name), Topic::new(handle, name)?);
    }
    Ok(&topics[name])
}

/// What follows from a record's error, in view of what has befallen the whole producer.
fn verdict_now(handle: &Handle, code: Code) -> Verdict {
    let own = verdict(code, Call::Produce);
    let of_all = handle.fatal().map_or(Verdict::Done, |fault| verdict(fault.code, Call::Produce));
    own.max(of_all)
}

fn ended(effect: u64, sending: Sending) -> LogEvent {
    let outcome = match sending.worst {
        Verdict::Done => Outcome::Done { next_offset: sending.next_offset },
        worst => outcome_of(worst, sending.text),
    };
    LogEvent::Ended { effect: EffectId(effect), outcome }
}
