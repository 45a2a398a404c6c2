//! What is being read, and from where on?
//!
//! Each partition that is being read has a queue of its own, so that a paused one is simply not
//! looked at, and what has been fetched of it waits (librdkafka's own pause throws it away).
//!
//! # Invariants
//!
//! - The position is ours. Reading anew begins with a new queue, after the old fetching has ended,
//!   so that no record of an earlier reading can come after it.
//! - Offsets reported of one reading ascend strictly.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::pack::Packer;
use crate::kafka::signal::Signal;
use crate::kafka::sys::{Code, EventKind, Fault, Handle, Message, Messages, Queue, Topic, code};
use crate::log::{LogError, LogEvent, PartitionId, Partitions, ReadError, TopicPartition};

/// Messages taken at a time.
const MESSAGES_AT_ONCE: usize = 1_024;
/// How often messages of one partition are taken in one poll.
const ROUNDS_PER_POLL: usize = 4;

/// One reading of one partition.
#[derive(Debug)]
struct Reading {
    name: TopicPartition,
    queue: Queue,
    /// Tells this reading from an earlier one of the same partition.
    number: u64,
    /// The offset of the next record; lower ones are not reported.
    position: i64,
    is_paused: bool,
}

/// A position that the log does not hold, whose limits are to be asked for.
#[derive(Clone, Debug)]
pub(super) struct OutOfRange {
    pub(super) partition: PartitionId,
    pub(super) name: TopicPartition,
    pub(super) reading: u64,
    pub(super) offset: i64,
}

/// The partitions that are being read.
#[derive(Debug)]
pub(super) struct Reader {
    handle: Arc<Handle>,
    main: Queue,
    signal: Arc<Signal>,
    topics: HashMap<Arc<str>, Topic>,
    partitions: Partitions,
    readings: Vec<(PartitionId, Reading)>,
    /// Readings that have ended with an error whose limits are being asked for, and whether they
    /// were paused.
    lost: HashMap<PartitionId, (u64, bool)>,
    messages: Messages,
    next_number: u64,
    /// Errors that came while reading was to begin.
    failed: Vec<LogEvent>,
}

impl Reader {
    /// A reader with these properties.
    pub(super) fn new(
        properties: &[(String, String)],
        partitions: &Partitions,
        signal: &Arc<Signal>,
    ) -> Result<Self, LogError> {
        let handle = Handle::new(crate::kafka::sys::Kind::Consumer, properties)?;
        Ok(Self {
            main: Queue::main(&handle).raise(signal),
            handle,
            signal: Arc::clone(signal),
            topics: HashMap::new(),
            partitions: partitions.clone(),
            readings: Vec::new(),
            lost: HashMap::new(),
            messages: Messages::with_capacity(MESSAGES_AT_ONCE),
            next_number: 0,
            failed: Vec::new(),
        })
    }

    /// The instance, for questions about offsets.
    pub(super) const fn handle(&self) -> &Arc<Handle> {
        &self.handle
    }

    /// Starts, or moves, reading of a partition. One that is paused stays so.
    pub(super) fn read_from(&mut self, partition: PartitionId, offset: i64) {
        let is_paused = self.is_paused(partition);
        self.stop(partition);
        let name = self.partitions.name(partition);
        let queue = Queue::new(&self.handle).raise(&self.signal);
        let started =
            self.topic(&name.topic).and_then(|topic| queue.start(topic, name.partition, offset));
        let number = self.next_number;
        self.next_number += 1;
        match started {
            Ok(()) => {
                let reading = Reading { name, queue, number, position: offset, is_paused };
                self.readings.push((partition, reading));
            }
            Err(fault) => self.fail(partition, &fault, offset),
        }
    }

    /// Ends a reading that cannot begin, until the limits of its partition are known.
    pub(super) fn lose(&mut self, partition: PartitionId, offset: i64) -> OutOfRange {
        let is_paused = self.is_paused(partition);
        self.stop(partition);
        let (name, reading) = (self.partitions.name(partition), self.next_number);
        self.next_number += 1;
        self.lost.insert(partition, (reading, is_paused));
        OutOfRange { partition, name, reading, offset }
    }

    fn is_paused(&self, partition: PartitionId) -> bool {
        let reading = self.readings.iter().find(|(id, _)| *id == partition);
        let lost = self.lost.get(&partition);
        reading.map_or(lost.is_some_and(|(_, is_paused)| *is_paused), |(_, r)| r.is_paused)
    }

    fn fail(&mut self, partition: PartitionId, fault: &Fault, offset: i64) {
        let error = read_error(fault.code, fault.text.clone(), offset);
        self.failed.push(LogEvent::ReadFailed { partition, error });
        self.signal.raise();
    }

    /// Ends reading of a partition.
    pub(super) fn stop(&mut self, partition: PartitionId) {
        self.lost.remove(&partition);
        let Some(index) = self.readings.iter().position(|(id, _)| *id == partition) else {
            return;
        };
        let (_, reading) = self.readings.remove(index);
        if let Some(topic) = self.topics.get(&reading.name.topic) {
            Queue::stop(topic, reading.name.partition);
        }
    }

    /// Leaves a partition's queue alone, or looks at it again.
    pub(super) fn pause(&mut self, partition: PartitionId, is_paused: bool) {
        if let Some((_, reading)) = self.readings.iter_mut().find(|(id, _)| *id == partition) {
            reading.is_paused = is_paused;
            self.signal.raise();
        } else if let Some((_, was_paused)) = self.lost.get_mut(&partition) {
            *was_paused = is_paused;
        }
    }

    /// The topics that are being read, each once.
    pub(super) fn topics_read(&self) -> HashSet<Arc<str>> {
        self.readings.iter().map(|(_, reading)| Arc::clone(&reading.name.topic)).collect()
    }

    /// Ends reading of those partitions of a topic that are not there: it has that many.
    pub(super) fn end_missing(&mut self, topic: &str, count: u32, events: &mut Vec<LogEvent>) {
        let is_missing =
            |reading: &Reading| *reading.name.topic == *topic && reading.name.partition >= count;
        let readings = self.readings.iter().filter(|(_, reading)| is_missing(reading));
        for partition in readings.map(|(partition, _)| *partition).collect::<Vec<_>>() {
            self.stop(partition);
            events.push(LogEvent::ReadFailed { partition, error: ReadError::NotFound });
        }
    }

    fn topic(&mut self, name: &Arc<str>) -> Result<&Topic, Fault> {
        if !self.topics.contains_key(name) {
            let topic = Topic::new(&self.handle, name)?;
            self.topics.insert(Arc::clone(name), topic);
        }
        Ok(&self.topics[name])
    }

    /// Appends what has been fetched. Positions out of range go to `lost`, to be asked about.
    /// Whether more is waiting.
    pub(super) fn poll(&mut self, events: &mut Vec<LogEvent>, lost: &mut Vec<OutOfRange>) -> bool {
        self.report_errors();
        events.append(&mut self.failed);
        let mut is_more = false;
        let mut ended = Vec::new();
        for (partition, reading) in &mut self.readings {
            if reading.is_paused {
                continue;
            }
            match drain(*partition, reading, &mut self.messages, events) {
                Drained::Empty => {}
                Drained::More => is_more = true,
                Drained::Failed(fault) => ended.push((*partition, fault)),
            }
        }
        for (partition, fault) in ended {
            self.end(partition, fault, events, lost);
        }
        is_more
    }

    /// Ends a reading that has met an error.
    fn end(
        &mut self,
        partition: PartitionId,
        fault: Fault,
        events: &mut Vec<LogEvent>,
        lost: &mut Vec<OutOfRange>,
    ) {
        let reading = self.readings.iter().find(|(id, _)| *id == partition);
        let Some((_, reading)) = reading else { return };
        let (name, number, offset) = (reading.name.clone(), reading.number, reading.position);
        let is_paused = reading.is_paused;
        self.stop(partition);
        if OUT_OF_RANGE.contains(&fault.code) {
            self.lost.insert(partition, (number, is_paused));
            lost.push(OutOfRange { partition, name, reading: number, offset });
            return;
        }
        let error = read_error(fault.code, fault.text, offset);
        events.push(LogEvent::ReadFailed { partition, error });
    }

    /// Whether the reading that was out of range is still the last one of its partition.
    pub(super) fn is_lost(&self, partition: PartitionId, reading: u64) -> bool {
        self.lost.get(&partition).is_some_and(|(number, _)| *number == reading)
    }

    fn report_errors(&self) {
        while let Some(event) = self.main.poll(std::time::Duration::ZERO) {
            if event.kind() == EventKind::Error {
                tracing::warn!(target: "millstream::kafka", "{}", event.fault().text);
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let reading: Vec<_> = self.readings.iter().map(|(partition, _)| *partition).collect();
        for partition in reading {
            self.stop(partition);
        }
    }
}

/// How a look at a queue went.
enum Drained {
    Empty,
    More,
    Failed(Fault),
}

fn drain(
    partition: PartitionId,
    reading: &mut Reading,
    messages: &mut Messages,
    events: &mut Vec<LogEvent>,
) -> Drained {
    for _ in 0..ROUNDS_PER_POLL {
        reading.queue.take(messages);
        let failed = report(partition, reading, messages, events);
        let is_full = messages.is_full();
        messages.clear();
        match failed {
            Some(fault) => return Drained::Failed(fault),
            None if !is_full => return Drained::Empty,
            None => {}
        }
    }
    Drained::More
}

/// Reports the messages that were taken; returns the error that ends the reading.
fn report(
    partition: PartitionId,
    reading: &mut Reading,
    messages: &Messages,
    events: &mut Vec<LogEvent>,
) -> Option<Fault> {
    let mut packer = Packer::default();
    for message in messages.iter() {
        if message.code() == 0 {
            if message.offset() >= reading.position {
                reading.position = message.offset() + 1;
                events.extend(packer.push(partition, message).map(LogEvent::Fetched));
            }
            continue;
        }
        events.extend(packer.finish(partition).map(LogEvent::Fetched));
        match interrupted(reading, message) {
            Interruption::CaughtUp(position) => {
                events.push(LogEvent::CaughtUp { partition, position });
            }
            Interruption::Passing(text) => tracing::warn!(target: "millstream::kafka", "{text}"),
            Interruption::Failed(fault) => return Some(fault),
        }
    }
    events.extend(packer.finish(partition).map(LogEvent::Fetched));
    None
}

/// What stands in a message's place.
enum Interruption {
    CaughtUp(i64),
    /// The library tries again by itself.
    Passing(String),
    Failed(Fault),
}

const OUT_OF_RANGE: &[Code] =
    &[code!(RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET), code!(RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE)];

const NOT_FOUND: &[Code] = &[
    code!(RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION),
    code!(RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC),
    code!(RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART),
    code!(RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_ID),
];

const CORRUPT: &[Code] = &[
    code!(RD_KAFKA_RESP_ERR__BAD_MSG),
    code!(RD_KAFKA_RESP_ERR__BAD_COMPRESSION),
    code!(RD_KAFKA_RESP_ERR__UNDERFLOW),
    code!(RD_KAFKA_RESP_ERR__LOG_TRUNCATION),
    code!(RD_KAFKA_RESP_ERR_INVALID_MSG),
];

const FATAL: &[Code] = &[
    code!(RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED),
    code!(RD_KAFKA_RESP_ERR_UNSUPPORTED_COMPRESSION_TYPE),
    code!(RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION),
    code!(RD_KAFKA_RESP_ERR__NOT_IMPLEMENTED),
    code!(RD_KAFKA_RESP_ERR__FATAL),
];

fn interrupted(reading: &mut Reading, message: Message<'_>) -> Interruption {
    let code = message.code();
    if code == code!(RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        // Behind control records the end lies beyond the last record that was reported.
        reading.position = reading.position.max(message.offset());
        return Interruption::CaughtUp(reading.position);
    }
    let ends = [OUT_OF_RANGE, NOT_FOUND, CORRUPT, FATAL].concat().contains(&code);
    let text = message.error_text();
    if ends {
        Interruption::Failed(Fault { code, text, needs_abort: false })
    } else {
        Interruption::Passing(text)
    }
}

fn read_error(code: Code, text: String, offset: i64) -> ReadError {
    if NOT_FOUND.contains(&code) {
        ReadError::NotFound
    } else if CORRUPT.contains(&code) {
        ReadError::Corrupt(format!("at offset {offset}: {text}"))
    } else {
        ReadError::Fatal(text)
    }
}
