//! How are records read out of a batch? One by one, where they lie.

use super::{
    ATTRIBUTE_LOG_APPEND_TIME, BatchError, HEADER_BYTES, HeadersView, RecordBatch, attributes,
    field, i32_at, i64_at, varint,
};
use crate::time::Timestamp;

/// One record where it lies in its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordView<'a> {
    /// Its offset.
    pub offset: i64,
    /// The log's timestamp.
    pub timestamp: Timestamp,
    /// The key's bytes.
    pub key: Option<&'a [u8]>,
    /// The value's bytes.
    pub value: Option<&'a [u8]>,
    /// The headers.
    pub headers: HeadersView<'a>,
}

/// What all records of a batch share.
#[derive(Clone, Copy, Debug)]
struct Frame {
    base_offset: i64,
    last_delta: i32,
    base_timestamp: i64,
    /// Set where the log chose the time: all records then have the same.
    append_time: Option<i64>,
    count: u32,
}

impl Frame {
    fn of(batch: &[u8]) -> Self {
        let max_timestamp = i64_at(batch, field::MAX_TIMESTAMP);
        let by_log = attributes(batch) & ATTRIBUTE_LOG_APPEND_TIME != 0;
        Self {
            base_offset: i64_at(batch, field::BASE_OFFSET),
            last_delta: i32_at(batch, field::LAST_OFFSET_DELTA),
            base_timestamp: i64_at(batch, field::BASE_TIMESTAMP),
            append_time: by_log.then_some(max_timestamp),
            count: i32_at(batch, field::COUNT) as u32,
        }
    }

    #[inline]
    fn timestamp(&self, delta: i64) -> Timestamp {
        let sent = self.base_timestamp.wrapping_add(delta);
        Timestamp::from_millis(self.append_time.unwrap_or(sent))
    }
}

/// Where in a batch the next record begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// The next record's first byte; the batch's length once reading is over.
    at: usize,
    /// The next record's number.
    index: u32,
    /// The offset delta of the record before; -1 before the first.
    delta: i32,
}

impl Place {
    const START: Self = Self { at: HEADER_BYTES, index: 0, delta: -1 };

    /// Nothing more is read.
    fn end(&mut self, batch: &[u8], frame: &Frame) {
        self.at = batch.len();
        self.index = frame.count;
    }

    /// Decodes the record at this place and moves behind it.
    #[inline]
    fn next<'a>(
        &mut self,
        batch: &'a [u8],
        frame: &Frame,
    ) -> Option<Result<RecordView<'a>, BatchError>> {
        if self.index >= frame.count {
            return self.finish(batch, frame);
        }
        match self.decode(batch, frame) {
            Ok(record) => Some(Ok(record)),
            Err(reason) => Some(Err(self.fail(batch, frame, reason))),
        }
    }

    #[cold]
    fn fail(&mut self, batch: &[u8], frame: &Frame, reason: &'static str) -> BatchError {
        let index = self.index;
        self.end(batch, frame);
        BatchError::Record { index, reason }
    }

    #[cold]
    fn finish<'a>(
        &mut self,
        batch: &[u8],
        frame: &Frame,
    ) -> Option<Result<RecordView<'a>, BatchError>> {
        if self.at == batch.len() {
            return None;
        }
        self.end(batch, frame);
        Some(Err(BatchError::Trailing))
    }

    #[inline]
    fn decode<'a>(
        &mut self,
        batch: &'a [u8],
        frame: &Frame,
    ) -> Result<RecordView<'a>, &'static str> {
        let (mut body, next_at) = self.body(batch)?;
        let (timestamp, delta) = self.front(&mut body, frame)?;
        let key = take_slice(&mut body).ok_or("key")?;
        let value = take_slice(&mut body).ok_or("value")?;
        let count = varint::take_i32(&mut body).ok_or("header count")?;
        let count = u32::try_from(count).map_err(|_| "header count")?;
        let headers = HeadersView::checked(count, body).ok_or("headers")?;
        *self = Self { at: next_at, index: self.index + 1, delta };
        let offset = frame.base_offset + i64::from(delta);
        Ok(RecordView { offset, timestamp, key, value, headers })
    }

    /// The bytes of the record at this place, and where the one behind it begins.
    #[inline]
    fn body<'a>(&self, batch: &'a [u8]) -> Result<(&'a [u8], usize), &'static str> {
        let mut rest = &batch[self.at..];
        let length = varint::take_i32(&mut rest).ok_or("length")?;
        let length = usize::try_from(length).map_err(|_| "length")?;
        let body = rest.get(..length).ok_or("length")?;
        Ok((body, batch.len() - rest.len() + length))
    }

    /// Timestamp and offset delta of a record.
    #[inline]
    fn front(&self, body: &mut &[u8], frame: &Frame) -> Result<(Timestamp, i32), &'static str> {
        // The first byte holds attributes, of which none are defined.
        let (_, rest) = body.split_first().ok_or("attributes")?;
        *body = rest;
        let timestamp = varint::take_i64(body).ok_or("timestamp")?;
        let delta = varint::take_i32(body).ok_or("offset")?;
        if delta <= self.delta || delta > frame.last_delta {
            return Err("offset");
        }
        Ok((frame.timestamp(timestamp), delta))
    }

    /// Moves to the first record that is not before this offset, or to the first damaged one.
    fn skip_to(&mut self, batch: &[u8], frame: &Frame, offset: i64) {
        while self.index < frame.count {
            let Ok((mut body, next_at)) = self.body(batch) else { return };
            let Ok((_, delta)) = self.front(&mut body, frame) else { return };
            if frame.base_offset + i64::from(delta) >= offset {
                return;
            }
            *self = Self { at: next_at, index: self.index + 1, delta };
        }
    }

    #[inline]
    fn peek_timestamp(&self, batch: &[u8], frame: &Frame) -> Option<Timestamp> {
        if self.index >= frame.count {
            return None;
        }
        let (mut body, _) = self.body(batch).ok()?;
        self.front(&mut body, frame).ok().map(|(timestamp, _)| timestamp)
    }
}

/// Takes a slice that has its length, or -1 for null, before it.
#[inline]
pub(super) fn take_slice<'a>(bytes: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let length = varint::take_i32(bytes)?;
    if length < 0 {
        return (length == -1).then_some(None);
    }
    let (slice, rest) = bytes.split_at_checked(length as usize)?;
    *bytes = rest;
    Some(Some(slice))
}

/// The records of a batch, in order. The first damaged one ends the iteration.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    batch: &'a [u8],
    frame: Frame,
    place: Place,
}

impl<'a> Records<'a> {
    pub(super) fn new(batch: &'a [u8]) -> Self {
        Self { batch, frame: Frame::of(batch), place: Place::START }
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<RecordView<'a>, BatchError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.place.next(self.batch, &self.frame)
    }
}

/// Reads the records of a batch one by one and keeps its place.
#[derive(Clone, Debug)]
pub struct RecordCursor {
    batch: RecordBatch,
    frame: Frame,
    place: Place,
}

impl RecordCursor {
    /// A cursor before the first record.
    pub fn new(batch: RecordBatch) -> Self {
        let frame = Frame::of(batch.bytes());
        Self { batch, frame, place: Place::START }
    }

    /// The batch that is being read.
    pub const fn batch(&self) -> &RecordBatch {
        &self.batch
    }

    /// Leaves out the records before this offset.
    pub fn skip_to(&mut self, offset: i64) {
        self.place.skip_to(self.batch.bytes(), &self.frame, offset);
    }

    /// The next record; `None` behind the last and behind a damaged one.
    #[inline]
    #[expect(clippy::should_implement_trait, reason = "the record borrows from the cursor")]
    pub fn next(&mut self) -> Option<Result<RecordView<'_>, BatchError>> {
        self.place.next(self.batch.bytes(), &self.frame)
    }

    /// The next record's timestamp; `None` behind the last and before a damaged one.
    #[inline]
    pub fn peek_timestamp(&self) -> Option<Timestamp> {
        self.place.peek_timestamp(self.batch.bytes(), &self.frame)
    }

    /// Where the next record begins, to come back to.
    #[inline]
    pub(crate) const fn place(&self) -> Place {
        self.place
    }

    /// Goes back to a place of this cursor.
    pub(crate) fn go_back(&mut self, place: Place) {
        self.place = place;
    }

    /// How many records are still to be read.
    pub const fn remaining(&self) -> u32 {
        self.frame.count - self.place.index
    }

    /// Where to read on behind the whole batch.
    pub const fn next_offset_after(&self) -> i64 {
        self.frame.base_offset + self.frame.last_delta as i64 + 1
    }
}
