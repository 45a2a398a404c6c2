//! Which record of a partition is next? Fetched batches of one partition, and the head among them.
//!
//! # Invariants
//!
//! - The head is decoded and held by the source, with a few records of its batch behind it; its
//!   offset is `position`, which is what a commit writes: every record before it has been processed
//!   or dropped by a policy.
//! - A record is refused only when it is its turn: every record before it has been processed.
//! - `position` never goes back.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use crate::error::{BoxError, Error, ErrorKind, Result};
use crate::log::{
    EncodedHeaders, PartitionId, RecordBatch, RecordCursor, RecordView, TopicPartition,
};
use crate::operator::source::Source;
use crate::time::{Instant, Timestamp};

/// Records that are decoded together, at most.
const AHEAD_MAX: usize = 16;
/// Bytes behind which no more records are decoded together: a small part of the nearest cache.
const AHEAD_BYTES_MAX: usize = 4 * 1024;

/// The fetched records of one partition.
pub(crate) struct PartitionQueue {
    pub(crate) partition: PartitionId,
    pub(crate) name: TopicPartition,
    pub(crate) source: Box<dyn Source>,
    batches: VecDeque<RecordCursor>,
    /// The records that the source holds, and the buffers of those that it held.
    loaded: [Loaded; AHEAD_MAX],
    /// Which of `loaded` the source holds: the head is the first.
    held: Range<usize>,
    /// The headers of the record that was taken last.
    pub(crate) headers: EncodedHeaders,
    /// The next offset to process.
    position: i64,
    /// The largest timestamp taken for processing.
    pub(crate) partition_time: Timestamp,
    /// Bytes of the batches that wait.
    bytes: usize,
    /// Whether the log held nothing more when it last reported.
    caught_up: bool,
    /// Up to where the log held nothing that was not fetched, when it last reported.
    fetched_to: i64,
    /// Since when the log is known to hold nothing more that could be waited for.
    pub(crate) idle_since: Option<Instant>,
    /// Whether the client was told to stop fetching.
    pub(crate) is_paused: bool,
    /// Records taken in all, those that could not be decoded included.
    pub(crate) taken: u64,
    /// Bytes fetched in all.
    pub(crate) fetched_bytes: u64,
}

/// What a queue knows of a record that the source holds.
#[derive(Default)]
struct Loaded {
    time: Timestamp,
    offset: i64,
    headers: EncodedHeaders,
}

/// A record that could not be decoded, where it lies.
pub(crate) struct Undecodable<'a> {
    pub(crate) view: RecordView<'a>,
    pub(crate) error: BoxError,
}

impl PartitionQueue {
    pub(crate) fn new(
        partition: PartitionId,
        name: TopicPartition,
        source: Box<dyn Source>,
        position: i64,
        partition_time: Timestamp,
    ) -> Self {
        Self {
            partition,
            name,
            source,
            batches: VecDeque::new(),
            loaded: Default::default(),
            held: 0..0,
            headers: EncodedHeaders::new(),
            position,
            partition_time,
            bytes: 0,
            caught_up: false,
            fetched_to: position,
            idle_since: None,
            is_paused: false,
            taken: 0,
            fetched_bytes: 0,
        }
    }

    /// Takes fetched records.
    pub(crate) fn push(&mut self, batch: RecordBatch) {
        self.caught_up = false;
        self.idle_since = None;
        self.bytes += batch.size_bytes();
        self.fetched_bytes += batch.size_bytes() as u64;
        let mut cursor = RecordCursor::new(batch);
        cursor.skip_to(self.position);
        self.batches.push_back(cursor);
    }

    /// Notes that the log holds nothing before `position` that has not been fetched.
    pub(crate) fn caught_up_at(&mut self, position: i64) {
        self.caught_up = true;
        self.fetched_to = self.fetched_to.max(position);
        if self.held.is_empty() && self.batches.is_empty() {
            self.position = self.position.max(position);
        }
    }

    /// The head's time.
    pub(crate) fn head(&self) -> Option<Timestamp> {
        if self.held.is_empty() { None } else { Some(self.loaded[self.held.start].time) }
    }

    /// Whether there is no record to process.
    pub(crate) fn is_empty(&self) -> bool {
        self.held.is_empty() && self.batches.is_empty()
    }

    /// Whether it is known that the log holds no more.
    pub(crate) fn is_drained(&self) -> bool {
        self.caught_up && self.is_empty()
    }

    /// Offsets up to the partition's end that are still to be processed.
    pub(crate) fn lag(&self, end: i64) -> u64 {
        let reached = if self.is_empty() { self.fetched_to } else { self.position };
        end.saturating_sub(reached.max(self.position)).max(0) as u64
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The offset to commit: of the next record that is to be processed.
    pub(crate) fn position(&self) -> i64 {
        self.position
    }

    /// Decodes the next record, and a few behind it. A record that cannot be decoded goes to
    /// `refuse`, which says whether to go on without it.
    pub(crate) fn load(
        &mut self,
        refuse: &mut dyn FnMut(&TopicPartition, Undecodable<'_>) -> Result<()>,
    ) -> Result<()> {
        while self.held.is_empty() {
            let Some(cursor) = self.batches.front_mut() else { return Ok(()) };
            let Some(view) = cursor.next() else {
                self.position = self.position.max(cursor.next_offset_after());
                self.bytes -= cursor.batch().size_bytes();
                self.batches.pop_front();
                continue;
            };
            let view = view.map_err(|error| damaged(&self.name, self.position, error))?;
            debug_assert!(view.offset >= self.position, "a position never goes back");
            self.position = view.offset;
            match self.source.load(view) {
                Ok(time) => {
                    self.held = 0..1;
                    self.loaded[0].set(&view, time);
                    self.load_ahead();
                }
                Err(error) => {
                    refuse(&self.name, Undecodable { view, error })?;
                    self.taken += 1;
                    self.position = view.offset + 1;
                }
            }
        }
        Ok(())
    }

    /// Decodes records behind the head, up to the end of its batch and to one that is damaged or
    /// cannot be decoded: that one waits for its turn.
    fn load_ahead(&mut self) {
        let Some(cursor) = self.batches.front_mut() else { return };
        let mut bytes = 0;
        while self.held.end < AHEAD_MAX && bytes < AHEAD_BYTES_MAX {
            let place = cursor.place();
            let loaded = match cursor.next() {
                Some(Ok(view)) => self.source.load(view).map(|time| (view, time)).ok(),
                Some(Err(_)) => None,
                None => break,
            };
            let Some((view, time)) = loaded else {
                cursor.go_back(place);
                break;
            };
            bytes += view.key.map_or(0, <[u8]>::len) + view.value.map_or(0, <[u8]>::len);
            self.loaded[self.held.end].set(&view, time);
            self.held.end += 1;
        }
        if self.held.len() > 1 {
            self.source.warm();
        }
    }

    /// Takes the head for processing: its time, its offset. The source forwards it.
    pub(crate) fn take_head(&mut self) -> (Timestamp, i64) {
        let index = self.held.next().expect("a head is taken only where there is one");
        let Loaded { time, offset, headers } = &mut self.loaded[index];
        std::mem::swap(&mut self.headers, headers);
        let (time, offset) = (*time, *offset);
        self.position =
            if self.held.is_empty() { offset + 1 } else { self.loaded[self.held.start].offset };
        self.taken += 1;
        self.partition_time = self.partition_time.max(time);
        (time, offset)
    }

    /// Shows the record at this offset as it was fetched: the one that was taken last.
    pub(crate) fn with_record<R>(
        &self,
        offset: i64,
        show: impl FnOnce(RecordView<'_>) -> R,
    ) -> Option<R> {
        let batch = self.batches.front()?.batch();
        batch.records().filter_map(Result::ok).find(|view| view.offset == offset).map(show)
    }

    /// The topic's name, cheap to keep.
    pub(crate) fn topic(&self) -> &Arc<str> {
        &self.name.topic
    }
}

impl Loaded {
    #[inline]
    fn set(&mut self, view: &RecordView<'_>, time: Timestamp) {
        self.time = time;
        self.offset = view.offset;
        self.headers.copy_from(view.headers);
    }
}

#[cold]
fn damaged(name: &TopicPartition, offset: i64, error: impl Into<BoxError>) -> Error {
    let message = "a fetched record is damaged; check the broker's disks and the network";
    Error::new(ErrorKind::Fatal, message).caused_by(error).at_position(name.clone(), offset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{HeadersView, OpenBatch, Partitions};
    use crate::operator::push::Cx;

    /// Holds nothing, and refuses records without a value.
    struct ValuesWanted;

    impl Source for ValuesWanted {
        fn load(&mut self, view: RecordView<'_>) -> Result<Timestamp, BoxError> {
            view.value.map(|_| view.timestamp).ok_or_else(|| "no value".into())
        }

        fn warm(&self) {}

        fn forward(&mut self, _cx: &mut Cx<'_>) -> Result<()> {
            Ok(())
        }
    }

    fn queue(records: i64, is_refused: impl Fn(i64) -> bool) -> PartitionQueue {
        let mut batch = OpenBatch::new();
        for number in 0..records {
            let value: Option<&[u8]> = if is_refused(number) { None } else { Some(b"value") };
            let at = Timestamp::from_millis(1_000 + number);
            batch.append(at, None, value, HeadersView::default());
        }
        let name = TopicPartition::new("numbers", 0);
        let partition = Partitions::default().id(&name);
        let source = Box::new(ValuesWanted);
        let mut queue = PartitionQueue::new(partition, name, source, 0, Timestamp::UNKNOWN);
        queue.push(RecordBatch::new(partition, batch.seal()).unwrap());
        queue
    }

    #[test]
    fn a_record_is_refused_only_when_it_is_its_turn() {
        let is_refused = |offset: i64| [0, 5, 6, 20, 49].contains(&offset);
        let mut queue = queue(50, is_refused);
        let mut seen = Vec::new();
        loop {
            let refuse = &mut |_: &TopicPartition, undecodable: Undecodable<'_>| {
                seen.push((undecodable.view.offset, true));
                Ok(())
            };
            queue.load(refuse).unwrap();
            let Some(time) = queue.head() else { break };
            assert_eq!(queue.position(), time.as_millis() - 1_000);
            let (_, offset) = queue.take_head();
            assert_eq!(queue.position(), offset + 1);
            seen.push((offset, false));
        }
        let expected: Vec<_> = (0..50).map(|offset| (offset, is_refused(offset))).collect();
        assert_eq!(seen, expected);
        assert_eq!((queue.position(), queue.bytes(), queue.taken), (50, 0, 50));
    }
}
