//! What may a processor do beside computing? Forward, look at where a record is from, set timers.

use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;
use std::rc::Weak;
use std::time::Duration;

use crate::error::{BoxError, Error};
use crate::log::EncodedHeaders;
use crate::operator::build::Shared;
use crate::operator::punctuation::{Cancellable, Punctuate, PunctuationQueue, PunctuationType};
use crate::operator::push::{Cx, Edge, Push};
use crate::record::{Headers, Record};
use crate::time::Timestamp;
use crate::topology::TaskId;

/// What surrounds one call of a processor, and its ways out.
///
/// `K` and `V` are the types that it forwards.
pub struct ProcessorContext<'a, K, V, R = Record<K, V>> {
    cx: Cx<'a>,
    next: &'a mut dyn Push<K, V>,
    timers: &'a Timers,
    task: TaskName,
    headers: ChangedHeaders,
    /// Why the task must end, whatever the processor says.
    broken: Option<Error>,
    forwards: PhantomData<fn(R)>,
}

/// The context of a [`FixedKeyProcessor`](super::FixedKeyProcessor).
pub type FixedKeyContext<'a, K, V> = ProcessorContext<'a, K, V, FixedKeyRecord<K, V>>;

/// The headers of the record, once the processor has asked for them.
#[derive(Default)]
struct ChangedHeaders {
    decoded: Option<Headers>,
    /// Whether `decoded` may differ from what travels with the record.
    is_ahead: bool,
    /// What came with the record, for the consumers beside this one.
    before: Option<EncodedHeaders>,
}

/// The task that a processor runs in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TaskName(pub(crate) TaskId);

/// Where a processor sets its timers, and what they call.
pub(crate) struct Timers {
    pub(crate) queue: Shared<PunctuationQueue>,
    pub(crate) target: Weak<RefCell<dyn Punctuate>>,
}

/// What a processor's operator lends to a context.
pub(crate) struct Surroundings<'a, K, V> {
    pub(crate) next: &'a mut dyn Push<K, V>,
    pub(crate) timers: &'a Timers,
    pub(crate) task: TaskName,
}

/// Where the record that is being processed lies in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordMetadata<'a> {
    /// The topic, by its name in the log.
    pub topic: &'a str,
    /// The partition.
    pub partition: u32,
    /// The offset.
    pub offset: i64,
}

/// A named output of a processor; declared as a [`NamedOutput`](crate::NamedOutput).
pub struct Outlet<K, V> {
    edge: Edge<K, V>,
}

impl<K, V> Outlet<K, V> {
    pub(crate) fn new(edge: Edge<K, V>) -> Self {
        Self { edge }
    }
}

impl<K, V> fmt::Debug for Outlet<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Outlet")
    }
}

/// A record whose key cannot be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FixedKeyRecord<K, V> {
    key: K,
    /// What happened.
    pub value: V,
    /// When it happened.
    pub timestamp: Timestamp,
}

impl<K, V> FixedKeyRecord<K, V> {
    pub(crate) fn of(record: Record<K, V>) -> Self {
        Self { key: record.key, value: record.value, timestamp: record.timestamp }
    }

    /// What the record is about.
    pub const fn key(&self) -> &K {
        &self.key
    }

    /// This record with another value.
    pub fn with_value<V2>(self, value: V2) -> FixedKeyRecord<K, V2> {
        FixedKeyRecord { key: self.key, value, timestamp: self.timestamp }
    }

    /// This record at another time.
    #[must_use]
    pub fn with_timestamp(self, timestamp: Timestamp) -> Self {
        Self { timestamp, ..self }
    }
}

impl<K, V> From<FixedKeyRecord<K, V>> for Record<K, V> {
    fn from(record: FixedKeyRecord<K, V>) -> Self {
        Self { key: record.key, value: record.value, timestamp: record.timestamp }
    }
}

impl<K, V, R> fmt::Debug for ProcessorContext<'_, K, V, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessorContext").field("task", &self.task.0).finish_non_exhaustive()
    }
}

impl<K, V, R: Into<Record<K, V>>> ProcessorContext<'_, K, V, R> {
    /// Sends a record downstream, which is through with it when this returns.
    ///
    /// If something downstream ends the task, nothing that is forwarded after that leaves.
    pub fn forward(&mut self, record: R) {
        if self.broken.is_none() {
            self.headers.write_to(self.cx.headers);
            self.broken = self.next.push(&mut self.cx, record.into()).err();
        }
    }
}

impl<'a, K, V, R> ProcessorContext<'a, K, V, R> {
    pub(crate) fn new(cx: Cx<'a>, surroundings: Surroundings<'a, K, V>) -> Self {
        let Surroundings { next, timers, task } = surroundings;
        let headers = ChangedHeaders::default();
        Self { cx, next, timers, task, headers, broken: None, forwards: PhantomData }
    }

    /// Puts back the headers for the consumers beside this one; returns why the task must end.
    pub(crate) fn finish(self) -> Option<Error> {
        if let Some(before) = self.headers.before {
            *self.cx.headers = before;
        }
        self.broken
    }

    /// Sends a record to a named output, as [`forward`](Self::forward) does to the main one.
    pub fn forward_to<K3, V3>(&mut self, outlet: &mut Outlet<K3, V3>, record: Record<K3, V3>) {
        if self.broken.is_none() {
            self.headers.write_to(self.cx.headers);
            self.broken = outlet.edge.push(&mut self.cx, record).err();
        }
    }

    /// Where the record lies in the log; `None` in `init` and `punctuate`, and for what an operator
    /// before this one has kept back until a commit.
    pub fn record_metadata(&self) -> Option<RecordMetadata<'_>> {
        let origin = self.cx.origin?;
        let (topic, partition, offset) = (origin.topic, origin.partition, origin.offset);
        Some(RecordMetadata { topic, partition, offset })
    }

    /// The headers that leave with what is forwarded: at first those of the record, none in `init`
    /// and `punctuate`.
    ///
    /// # Errors
    ///
    /// A name is not UTF-8.
    pub fn headers(&mut self) -> Result<&Headers, BoxError> {
        Ok(self.headers.decoded(self.cx.headers)?)
    }

    /// The same headers, to be changed for what is forwarded from here on in this call.
    ///
    /// # Errors
    ///
    /// A name is not UTF-8.
    pub fn headers_mut(&mut self) -> Result<&mut Headers, BoxError> {
        self.headers.decoded(self.cx.headers)?;
        self.headers.is_ahead = true;
        self.headers.decoded(self.cx.headers)
    }

    /// The task, printed `0_3`.
    pub const fn task_id(&self) -> TaskId {
        self.task.0
    }

    /// The partition that the task works on.
    pub const fn partition(&self) -> u32 {
        self.task.0.partition
    }

    /// The largest timestamp that the task has processed, this record's included;
    /// [`Timestamp::UNKNOWN`] before the first record.
    #[doc(alias = "currentStreamTimeMs")]
    pub const fn stream_time(&self) -> Timestamp {
        self.cx.stream_time
    }

    /// The wall clock, read once for many records.
    #[doc(alias = "currentSystemTimeMs")]
    pub const fn wall_clock(&self) -> Timestamp {
        self.cx.wall_clock
    }

    /// Sets a timer that calls `punctuate` again and again. An interval is a millisecond at least.
    pub fn schedule(&mut self, interval: Duration, kind: PunctuationType) -> Cancellable {
        let start = match kind {
            PunctuationType::StreamTime => Timestamp::ZERO,
            PunctuationType::WallClock => self.cx.wall_clock + interval,
        };
        self.set_timer(start, interval, kind)
    }

    /// As [`schedule`](Self::schedule), on a grid that begins at `start`: the timer fires first at
    /// `start`, or if that is past, at the next point of the grid.
    pub fn schedule_from(
        &mut self,
        start: Timestamp,
        interval: Duration,
        kind: PunctuationType,
    ) -> Cancellable {
        let now = match kind {
            PunctuationType::StreamTime => self.cx.stream_time,
            PunctuationType::WallClock => self.cx.wall_clock,
        };
        let start = start.max(Timestamp::ZERO);
        let first = crate::operator::punctuation::first_on_grid(start, interval, now);
        self.set_timer(first, interval, kind)
    }

    fn set_timer(
        &mut self,
        first: Timestamp,
        interval: Duration,
        kind: PunctuationType,
    ) -> Cancellable {
        let target = Weak::clone(&self.timers.target);
        self.timers.queue.borrow_mut().schedule(kind, first, interval, target)
    }

    /// Asks for a commit as soon as this record is through, ahead of the commit interval.
    #[doc(alias = "commit")]
    pub fn request_commit(&mut self) {
        *self.cx.commit_requested = true;
    }
}

impl ChangedHeaders {
    fn decoded(&mut self, encoded: &EncodedHeaders) -> Result<&mut Headers, BoxError> {
        let headers = match self.decoded.take() {
            Some(headers) => headers,
            None => encoded.view().to_headers()?,
        };
        Ok(self.decoded.insert(headers))
    }

    fn write_to(&mut self, encoded: &mut EncodedHeaders) {
        if !std::mem::take(&mut self.is_ahead) {
            return;
        }
        if let Some(decoded) = &self.decoded {
            self.before.get_or_insert_with(|| encoded.clone());
            encoded.encode(decoded);
        }
    }
}
