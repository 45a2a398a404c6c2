//! What is being read, from where on, and what may be asked for next?
//!
//! # Invariants
//!
//! - A partition is in one request at a time, so what comes of it comes in order. An answer to a
//!   reading that has ended or moved since is dropped.
//! - A paused partition is not asked for. What was asked for before is kept until it goes on, at
//!   most one answer's share.
//! - Positions reported of one reading never go back, and nothing is reported that an aborted
//!   transaction wrote.
//! - A broker that has little to tell is asked the less often the more partitions it is asked for.

mod batches;
mod session;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use self::batches::{Damaged, Unpacked};
pub(super) use self::session::Session;
use super::cluster::{Cluster, Leader, Led};
use super::errors::{self, Verdict, verdict};
use super::messages::{Node, fetch};
use super::terms::Terms;
use crate::log::{Isolation, LogEvent, PartitionId, ReadError, RecordBatch, TopicPartition};
use crate::time::Instant;

/// After that long the leader is asked again which broker is nearest.
const NEARER_MAX: Duration = Duration::from_secs(300);
/// A broker looks at each partition for each request, however few have anything new. With 1,024 of
/// them and a record each millisecond, 4.3.1 spent 0.7 of a core on two workers that asked as soon
/// as they could, and spends 0.4 on two that wait for this long in between.
const PACE_PER_PARTITION: Duration = Duration::from_micros(20);
/// With fewer partitions a request costs a broker little, and waiting would cost more.
const PACE_MIN: Duration = Duration::from_millis(1);
/// No record waits for longer than that.
const PACE_MAX: Duration = Duration::from_millis(20);
/// An answer of that size is worth a request.
const WORTHWHILE_BYTES: usize = 64 * 1_024;
/// How often a damaged batch is asked for, in case it was damaged on its way.
const DAMAGED_MAX: u32 = 3;

/// One reading of one partition.
#[derive(Debug)]
struct Reading {
    name: TopicPartition,
    /// Tells this reading from an earlier one of the same partition.
    number: u64,
    /// The next offset to ask for.
    position: i64,
    is_paused: bool,
    is_asked: bool,
    /// The position does not lie in the log; its limits are being asked for.
    is_lost: bool,
    not_before: Instant,
    /// Fetched while it was paused.
    held: VecDeque<LogEvent>,
    caught_up_at: Option<i64>,
    end: Option<i64>,
    damaged: u32,
    /// A broker nearer than the leader, and until when it is asked in its place.
    nearer: Option<(Node, Instant)>,
}

/// Which readings a request is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ticket(Vec<(PartitionId, u64)>);

/// A position that the log does not hold, whose limits are to be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lost {
    pub(super) partition: PartitionId,
    pub(super) name: TopicPartition,
    reading: u64,
    offset: i64,
}

/// The partitions that are being read.
#[derive(Debug)]
pub(super) struct Reader {
    readings: BTreeMap<PartitionId, Reading>,
    isolation: Isolation,
    next_number: u64,
    /// The largest batch that is unpacked.
    unpacked_max: usize,
    /// Before something is asked for again.
    pause: Duration,
    lost: Vec<Lost>,
    /// Brokers that are not to be asked again before.
    paces: BTreeMap<Node, Instant>,
}

impl Reader {
    pub(super) const fn new(terms: &Terms) -> Self {
        Self {
            readings: BTreeMap::new(),
            isolation: terms.isolation,
            next_number: 0,
            unpacked_max: terms.unpacked_bytes_max,
            pause: terms.fetch_pause,
            lost: Vec::new(),
            paces: BTreeMap::new(),
        }
    }

    /// Starts, or moves, reading of a partition. One that is paused stays so.
    pub(super) fn read_from(&mut self, partition: PartitionId, name: TopicPartition, offset: i64) {
        let is_paused = self.readings.get(&partition).is_some_and(|reading| reading.is_paused);
        let number = self.next_number;
        self.next_number += 1;
        // To brokers, negative offsets are names of places.
        let is_lost = offset < 0;
        if is_lost {
            self.lost.push(Lost { partition, name: name.clone(), reading: number, offset });
        }
        let reading = Reading {
            name,
            number,
            position: offset,
            is_paused,
            is_asked: false,
            is_lost,
            not_before: Instant::from_origin(Duration::ZERO),
            held: VecDeque::new(),
            caught_up_at: None,
            end: None,
            damaged: 0,
            nearer: None,
        };
        self.readings.insert(partition, reading);
    }

    pub(super) fn stop(&mut self, partition: PartitionId) {
        self.readings.remove(&partition);
    }

    /// What was held back is reported when the partition goes on.
    pub(super) fn pause(
        &mut self,
        partition: PartitionId,
        is_paused: bool,
        events: &mut Vec<LogEvent>,
    ) {
        let Some(reading) = self.readings.get_mut(&partition) else { return };
        reading.is_paused = is_paused;
        if !is_paused {
            events.extend(reading.held.drain(..));
        }
    }

    /// The end of a partition, as far as brokers have said.
    pub(super) fn end_of(&self, partition: PartitionId) -> Option<i64> {
        self.readings.get(&partition)?.end
    }

    /// What can be asked, by broker, without what has been asked for already.
    pub(super) fn due(
        &mut self,
        cluster: &mut Cluster,
        now: Instant,
        events: &mut Vec<LogEvent>,
    ) -> BTreeMap<Node, Due> {
        let mut due: BTreeMap<Node, Due> = BTreeMap::new();
        let mut ended = Vec::new();
        for (partition, reading) in &mut self.readings {
            if !reading.may_ask(now) {
                continue;
            }
            match cluster.led(&reading.name, now) {
                Led::By(leader) => {
                    let node = reading.nearer(now).unwrap_or(leader.node);
                    if self.paces.get(&node).is_some_and(|not_before| now < *not_before) {
                        continue;
                    }
                    due.entry(node).or_default().push(*partition, reading, leader);
                }
                Led::NotYet => {}
                Led::Missing => ended.push((*partition, ReadError::NotFound)),
                Led::Refused(code) => {
                    let text = format!("{}: {}", reading.name, errors::name(code));
                    ended.push((*partition, ReadError::Fatal(text)));
                }
            }
        }
        for (partition, error) in ended {
            self.readings.remove(&partition);
            events.push(LogEvent::ReadFailed { partition, error });
        }
        due
    }

    /// These have been asked for.
    pub(super) fn asked(&mut self, node: Node, ticket: &Ticket, now: Instant) {
        let pace = PACE_PER_PARTITION * u32::try_from(ticket.0.len()).unwrap_or(u32::MAX);
        if pace >= PACE_MIN {
            self.paces.insert(node, now + pace.min(PACE_MAX));
        }
        for (partition, number) in &ticket.0 {
            if let Some(reading) = self.current(*partition, *number) {
                reading.is_asked = true;
            }
        }
    }

    /// A broker has told so much.
    pub(super) fn told(&mut self, node: Node, size_bytes: usize) {
        if size_bytes >= WORTHWHILE_BYTES {
            self.paces.remove(&node);
        }
    }

    /// The request was not answered.
    pub(super) fn unanswered(&mut self, ticket: &Ticket) {
        for (partition, number) in &ticket.0 {
            if let Some(reading) = self.current(*partition, *number) {
                reading.is_asked = false;
            }
        }
    }

    /// All of these have to wait.
    pub(super) fn put_off(&mut self, ticket: &Ticket, now: Instant) {
        for (partition, number) in &ticket.0 {
            let not_before = now + self.pause;
            if let Some(reading) = self.current(*partition, *number) {
                reading.not_before = not_before;
                reading.nearer = None;
            }
        }
    }

    fn current(&mut self, partition: PartitionId, number: u64) -> Option<&mut Reading> {
        self.readings.get_mut(&partition).filter(|reading| reading.number == number)
    }

    /// Takes what a broker has of a partition that was asked for.
    pub(super) fn answered(
        &mut self,
        partition: (PartitionId, u64),
        answer: &fetch::Answer,
        frame: &Bytes,
        now: Instant,
        events: &mut Vec<LogEvent>,
    ) -> Mistrust {
        let (isolation, most) = (self.isolation, self.unpacked_max);
        let not_before = now + self.pause;
        let (id, number) = partition;
        let Some(reading) = self.current(id, number) else { return Mistrust::No };
        let was_nearer = reading.nearer.is_some();
        reading.prefer(answer, now);
        match verdict(answer.code) {
            Verdict::Done => {
                let taken = reading.take(id, answer, frame, (isolation, most), events);
                if let Err(damaged) = taken {
                    self.damaged(id, damaged, now, events);
                }
                return Mistrust::No;
            }
            // A follower may be behind: the leader decides.
            Verdict::OutOfRange if was_nearer => return Mistrust::No,
            Verdict::OutOfRange => {
                reading.is_lost = true;
                let (name, offset) = (reading.name.clone(), reading.position);
                self.lost.push(Lost { partition: id, name, reading: number, offset });
                return Mistrust::No;
            }
            Verdict::Fatal => {
                let text = format!("{}: {}", reading.name, errors::name(answer.code));
                self.readings.remove(&id);
                let error = ReadError::Fatal(text);
                events.push(LogEvent::ReadFailed { partition: id, error });
                return Mistrust::No;
            }
            _ => reading.not_before = not_before,
        }
        Mistrust::Leader(reading.name.clone())
    }

    /// A batch that was damaged on its way is whole when it comes again.
    fn damaged(
        &mut self,
        partition: PartitionId,
        damaged: Damaged,
        now: Instant,
        events: &mut Vec<LogEvent>,
    ) {
        let Some(reading) = self.readings.get_mut(&partition) else { return };
        reading.damaged += 1;
        reading.not_before = now + self.pause;
        if reading.damaged < DAMAGED_MAX {
            return;
        }
        let error = damaged.at(&reading.name, reading.position);
        self.readings.remove(&partition);
        events.push(LogEvent::ReadFailed { partition, error });
    }

    /// Positions whose limits can be asked for.
    pub(super) fn take_lost(&mut self, now: Instant) -> Vec<Lost> {
        let lost = std::mem::take(&mut self.lost);
        let (due, waiting) = lost.into_iter().partition(|lost| {
            let reading = self.readings.get(&lost.partition);
            reading.is_none_or(|reading| reading.not_before <= now)
        });
        self.lost = waiting;
        due
    }

    /// There is no such partition.
    pub(super) fn missing(&mut self, lost: &Lost, events: &mut Vec<LogEvent>) {
        let partition = lost.partition;
        if self.current(partition, lost.reading).is_some() {
            self.readings.remove(&partition);
            let error = ReadError::NotFound;
            events.push(LogEvent::ReadFailed { partition, error });
        }
    }

    /// Which of the partitions that were asked for this is.
    pub(super) fn find(
        &self,
        ticket: &Ticket,
        topic: &str,
        partition: u32,
    ) -> Option<(PartitionId, u64)> {
        let is_it = |(id, number): &&(PartitionId, u64)| {
            self.readings.get(id).is_some_and(|reading| {
                let name = &reading.name;
                reading.number == *number && name.partition == partition && *name.topic == *topic
            })
        };
        ticket.0.iter().find(is_it).copied()
    }

    /// The limits could not be asked for; they are to be asked for again.
    pub(super) fn still_lost(&mut self, lost: Lost, now: Instant) {
        let not_before = now + self.pause;
        if let Some(reading) = self.current(lost.partition, lost.reading) {
            reading.not_before = not_before;
            self.lost.push(lost);
        }
    }

    /// What the log holds of a partition whose position it did not.
    pub(super) fn limits(&mut self, lost: &Lost, limits: (i64, i64), events: &mut Vec<LogEvent>) {
        let (earliest, end) = limits;
        let (partition, offset) = (lost.partition, lost.offset);
        let Some(reading) = self.current(partition, lost.reading) else { return };
        // The log has grown, or its leader has come back: the position is in range after all.
        if (earliest..=end).contains(&offset) {
            reading.is_lost = false;
            return;
        }
        self.readings.remove(&partition);
        let error = ReadError::OutOfRange { offset, earliest, end };
        events.push(LogEvent::ReadFailed { partition, error });
    }

    /// When a partition that has to wait may be asked for.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        let waiting = self.readings.values().map(|reading| reading.not_before);
        waiting.chain(self.paces.values().copied()).filter(|not_before| *not_before > now).min()
    }
}

/// Whether what is known of a partition's leader seems wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mistrust {
    No,
    Leader(TopicPartition),
}

/// What can be asked of one broker.
#[derive(Debug, Default)]
pub(super) struct Due {
    parts: Vec<(fetch::Part, PartitionId, u64)>,
}

impl Due {
    fn push(&mut self, partition: PartitionId, reading: &Reading, leader: Leader) {
        let part = fetch::Part {
            partition: reading.name.clone(),
            leader_epoch: leader.epoch,
            offset: reading.position,
        };
        self.parts.push((part, partition, reading.number));
    }

    /// What the request is about, and what to keep.
    pub(super) fn split(mut self) -> (Vec<(fetch::Part, PartitionId)>, Ticket) {
        // Partitions of one topic have to stand beside each other.
        self.parts.sort_by(|(a, ..), (b, ..)| a.partition.cmp(&b.partition));
        let ticket = self.parts.iter().map(|(_, partition, number)| (*partition, *number));
        let ticket = Ticket(ticket.collect());
        (self.parts.into_iter().map(|(part, partition, _)| (part, partition)).collect(), ticket)
    }
}

impl Reading {
    fn may_ask(&self, now: Instant) -> bool {
        let is_free = !self.is_asked && !self.is_lost && !self.is_paused && self.held.is_empty();
        is_free && now >= self.not_before
    }

    /// The broker that is asked in the leader's place.
    fn nearer(&self, now: Instant) -> Option<Node> {
        self.nearer.filter(|(_, until)| now < *until).map(|(node, _)| node)
    }

    /// Goes where the leader says that the same records are nearer, and back after an error.
    fn prefer(&mut self, answer: &fetch::Answer, now: Instant) {
        if answer.code != 0 {
            self.nearer = None;
        } else if answer.nearer.0 >= 0 {
            self.nearer = Some((answer.nearer, now + NEARER_MAX));
        }
    }

    /// Takes records, and whether there are no more. `rules` are the isolation, and how large a
    /// batch may be once it is unpacked.
    fn take(
        &mut self,
        id: PartitionId,
        answer: &fetch::Answer,
        frame: &Bytes,
        rules: (Isolation, usize),
        events: &mut Vec<LogEvent>,
    ) -> Result<(), Damaged> {
        let (isolation, unpacked_max) = rules;
        self.end = Some(answer.high_watermark);
        let mut unpacked = Unpacked::new(id, frame.slice(answer.batches.clone()), unpacked_max);
        if isolation == Isolation::ReadCommitted {
            unpacked.hide(&answer.aborted);
        }
        let mut result = Ok(());
        loop {
            match unpacked.next_from(self.position) {
                Ok(Some((batch, next_offset))) => {
                    self.position = next_offset;
                    if let Some(batch) = batch {
                        self.report(LogEvent::Fetched(batch), events);
                    }
                }
                Ok(None) => break self.damaged = 0,
                Err(damaged) => break result = Err(damaged),
            }
        }
        let limit = match isolation {
            Isolation::ReadCommitted => answer.last_stable_offset,
            Isolation::ReadUncommitted => answer.high_watermark,
        };
        let position = self.position;
        if position >= limit && self.caught_up_at != Some(position) && result.is_ok() {
            self.caught_up_at = Some(position);
            self.report(LogEvent::CaughtUp { partition: id, position }, events);
        }
        result
    }

    fn report(&mut self, event: LogEvent, events: &mut Vec<LogEvent>) {
        if self.is_paused {
            self.held.push_back(event);
        } else {
            events.push(event);
        }
    }
}

/// A batch, unless it is hidden or marks the end of a transaction, and what comes behind it.
type Next = Option<(Option<RecordBatch>, i64)>;
