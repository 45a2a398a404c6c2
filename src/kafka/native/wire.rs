//! How are numbers, texts and lists laid out on Kafka's wire?
//!
//! Only the flexible encoding is spoken: lengths are varints, one more than they say, and every
//! struct ends in tagged fields. Every request that is used has had it since Kafka 2.8.
//!
//! # Invariants
//!
//! - No bytes whatever make a [`Reader`] panic, loop, or reserve more than it was given: a list
//!   that claims more elements than the bytes behind it could hold is refused.
//! - Tagged fields that are not known are skipped.

use std::ops::Range;

/// Why bytes are not what a broker answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer's {0} is damaged")]
pub(super) struct Malformed(pub(super) &'static str);

pub(super) type Read<T> = Result<T, Malformed>;

/// Takes fields off the front of an answer.
#[derive(Clone, Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Moves on behind what has been read already; no further than to the end.
    pub(super) fn skip(&mut self, length: usize) {
        self.at = self.at.saturating_add(length).min(self.bytes.len());
    }

    /// How many bytes have been read.
    pub(super) const fn position(&self) -> usize {
        self.at
    }

    fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        let bytes = self.slice(N)?;
        Ok(bytes.try_into().expect("the slice was cut to this length"))
    }

    fn slice(&mut self, length: usize) -> Read<&'a [u8]> {
        let range = self.range(length)?;
        Ok(&self.bytes[range])
    }

    /// Moves on by that many bytes and tells where they lie.
    fn range(&mut self, length: usize) -> Read<Range<usize>> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len());
        let range = self.at..end.ok_or(Malformed("length"))?;
        self.at = range.end;
        Ok(range)
    }

    pub(super) fn bool(&mut self) -> Read<bool> {
        self.array().map(|[byte]: [u8; 1]| byte != 0)
    }

    pub(super) fn i16(&mut self) -> Read<i16> {
        self.array().map(i16::from_be_bytes)
    }

    pub(super) fn i32(&mut self) -> Read<i32> {
        self.array().map(i32::from_be_bytes)
    }

    pub(super) fn i64(&mut self) -> Read<i64> {
        self.array().map(i64::from_be_bytes)
    }

    /// The index of a partition.
    pub(super) fn index(&mut self) -> Read<u32> {
        u32::try_from(self.i32()?).map_err(|_| Malformed("partition"))
    }

    /// An unsigned varint of at most 32 bits.
    pub(super) fn varint(&mut self) -> Read<u32> {
        let mut value = 0_u32;
        for shift in [0, 7, 14, 21, 28] {
            let [byte]: [u8; 1] = self.array()?;
            let bits = u32::from(byte & 0x7f);
            if shift == 28 && bits > 0x0f {
                return Err(Malformed("varint"));
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed("varint"))
    }

    /// The length of a text, bytes or a list; `None` for null.
    fn length(&mut self) -> Read<Option<usize>> {
        Ok(self.varint()?.checked_sub(1).map(|length| length as usize))
    }

    /// A text that may be null.
    pub(super) fn text_or_null(&mut self) -> Read<Option<&'a str>> {
        let Some(length) = self.length()? else { return Ok(None) };
        let bytes = self.slice(length)?;
        std::str::from_utf8(bytes).map(Some).map_err(|_| Malformed("text"))
    }

    pub(super) fn text(&mut self) -> Read<&'a str> {
        self.text_or_null()?.ok_or(Malformed("text"))
    }

    pub(super) fn bytes(&mut self) -> Read<&'a [u8]> {
        let length = self.length()?.ok_or(Malformed("bytes"))?;
        self.slice(length)
    }

    /// Where bytes lie in the answer; nothing for null.
    pub(super) fn bytes_range(&mut self) -> Read<Range<usize>> {
        let length = self.length()?.unwrap_or(0);
        self.range(length)
    }

    /// How many elements a list has, each of which takes at least `least` bytes; a null one has
    /// none.
    pub(super) fn count(&mut self, least: usize) -> Read<usize> {
        let count = self.length()?.unwrap_or(0);
        if count > (self.bytes.len() - self.at) / least.max(1) {
            return Err(Malformed("list"));
        }
        Ok(count)
    }

    /// A list whose elements take at least `least` bytes each.
    pub(super) fn list<T>(
        &mut self,
        least: usize,
        mut element: impl FnMut(&mut Self) -> Read<T>,
    ) -> Read<Vec<T>> {
        let count = self.count(least)?;
        (0..count).map(|_| element(self)).collect()
    }

    /// Skips the tagged fields of a struct.
    pub(super) fn tags(&mut self) -> Read<()> {
        self.tagged(|_, _| Ok(()))
    }

    /// Shows the tagged fields of a struct.
    pub(super) fn tagged(
        &mut self,
        mut field: impl FnMut(u32, &mut Reader<'a>) -> Read<()>,
    ) -> Read<()> {
        for _ in 0..self.varint()? {
            let tag = self.varint()?;
            let length = self.varint()? as usize;
            field(tag, &mut Reader::new(self.slice(length)?))?;
        }
        Ok(())
    }
}

/// Puts the fields of a request behind each other.
#[derive(Debug, Default)]
pub(super) struct Writer {
    pub(super) bytes: Vec<u8>,
}

impl Writer {
    pub(super) fn bool(&mut self, value: bool) {
        self.bytes.push(u8::from(value));
    }

    pub(super) fn i8(&mut self, value: i8) {
        self.bytes.extend(value.to_be_bytes());
    }

    pub(super) fn i16(&mut self, value: i16) {
        self.bytes.extend(value.to_be_bytes());
    }

    pub(super) fn i32(&mut self, value: i32) {
        self.bytes.extend(value.to_be_bytes());
    }

    pub(super) fn i64(&mut self, value: i64) {
        self.bytes.extend(value.to_be_bytes());
    }

    pub(super) fn varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    /// The length of a text, bytes or a list.
    pub(super) fn length(&mut self, length: usize) {
        self.varint(length as u32 + 1);
    }

    pub(super) fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    pub(super) fn text_or_null(&mut self, text: Option<&str>) {
        match text {
            Some(text) => self.text(text),
            None => self.varint(0),
        }
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.length(bytes.len());
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn list<T>(
        &mut self,
        elements: impl ExactSizeIterator<Item = T>,
        mut element: impl FnMut(&mut Self, T),
    ) {
        self.length(elements.len());
        elements.for_each(|each| element(self, each));
    }

    /// A struct that has no tagged fields ends.
    pub(super) fn no_tags(&mut self) {
        self.varint(0);
    }

    /// Fields of the older encoding, which the head of a request and the first ones have.
    pub(super) fn old_text(&mut self, text: &str) {
        self.i16(text.len() as i16);
        self.bytes.extend_from_slice(text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut writer = Writer::default();
        writer.i16(-2);
        writer.i32(-3);
        writer.i64(-4);
        writer.bool(true);
        writer.text("text");
        writer.text_or_null(None);
        writer.list([5, 6].into_iter(), Writer::i32);
        writer.no_tags();
        let mut reader = Reader::new(&writer.bytes);
        assert_eq!(reader.i16(), Ok(-2));
        assert_eq!((reader.i32(), reader.i64(), reader.bool()), (Ok(-3), Ok(-4), Ok(true)));
        assert_eq!((reader.text(), reader.text_or_null()), (Ok("text"), Ok(None)));
        assert_eq!(reader.list(4, Reader::i32), Ok(vec![5, 6]));
        assert_eq!(reader.tags(), Ok(()));
        assert_eq!(reader.bool(), Err(Malformed("length")));
    }

    #[test]
    fn varints_of_every_length_come_back() {
        for value in [0, 1, 127, 128, 16_383, 16_384, 1 << 28, u32::MAX] {
            let mut writer = Writer::default();
            writer.varint(value);
            assert_eq!(Reader::new(&writer.bytes).varint(), Ok(value));
        }
        assert_eq!(Reader::new(&[0xff; 5]).varint(), Err(Malformed("varint")));
        assert_eq!(Reader::new(&[0xff, 0xff, 0xff, 0xff, 0x1f]).varint(), Err(Malformed("varint")));
    }

    #[test]
    fn a_list_that_cannot_be_there_is_refused_before_room_is_made_for_it() {
        let mut writer = Writer::default();
        writer.varint(u32::MAX);
        assert_eq!(Reader::new(&writer.bytes).count(4), Err(Malformed("list")));
    }

    #[test]
    fn unknown_tagged_fields_are_skipped() {
        let bytes = [2, 7, 1, 0xaa, 9, 2, 0xbb, 0xcc, 42];
        let mut reader = Reader::new(&bytes);
        let mut seen = Vec::new();
        reader
            .tagged(|tag, field| {
                seen.push((tag, field.bool()?));
                Ok(())
            })
            .unwrap();
        assert_eq!(seen, [(7, true), (9, true)]);
        assert_eq!(reader.bool(), Ok(true));
    }
}
