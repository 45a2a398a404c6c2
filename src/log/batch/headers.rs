//! What travels beside a record? Its headers, as bytes that go from a source record to a sink
//! record without being decoded.

use super::BatchError;
use crate::record::Headers;

/// Headers where they lie in their record.
///
/// Invariant: the bytes hold exactly `count` headers; a record whose headers are damaged is
/// refused when it is decoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeadersView<'a> {
    pub(super) count: u32,
    pub(super) bytes: &'a [u8],
}

impl<'a> HeadersView<'a> {
    /// The headers in these bytes; `None` unless they are exactly that many.
    #[inline]
    pub(super) fn checked(count: u32, bytes: &'a [u8]) -> Option<Self> {
        let mut rest = bytes;
        for _ in 0..count {
            take_header(&mut rest)?;
        }
        rest.is_empty().then_some(Self { count, bytes })
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.count as usize
    }

    /// How many bytes they take in a record.
    pub(crate) const fn size_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Name and value of each, in order.
    pub const fn iter(&self) -> HeaderIter<'a> {
        HeaderIter { bytes: self.bytes }
    }

    /// A decoded copy.
    ///
    /// # Errors
    ///
    /// If a name is not UTF-8.
    pub fn to_headers(&self) -> Result<Headers, BatchError> {
        let mut headers = Headers::new();
        for header in self {
            match header? {
                (name, Some(value)) => headers.push(name, value),
                (name, None) => headers.push_null(name),
            }
        }
        Ok(headers)
    }
}

impl<'a> IntoIterator for &HeadersView<'a> {
    type Item = Result<(&'a str, Option<&'a [u8]>), BatchError>;
    type IntoIter = HeaderIter<'a>;

    fn into_iter(self) -> HeaderIter<'a> {
        self.iter()
    }
}

/// Name and value of each header of a record; a name that is not UTF-8 is an error.
#[derive(Clone, Debug)]
pub struct HeaderIter<'a> {
    bytes: &'a [u8],
}

impl<'a> Iterator for HeaderIter<'a> {
    type Item = Result<(&'a str, Option<&'a [u8]>), BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (name, value) = take_header(&mut self.bytes)?;
        Some(match std::str::from_utf8(name) {
            Ok(name) => Ok((name, value)),
            Err(_) => Err(BatchError::HeaderName),
        })
    }
}

fn take_header<'a>(bytes: &mut &'a [u8]) -> Option<(&'a [u8], Option<&'a [u8]>)> {
    let name = super::read::take_slice(bytes)??;
    let value = super::read::take_slice(bytes)?;
    Some((name, value))
}

/// Headers in the form in which a record holds them, in a buffer that can be used again.
#[derive(Clone, Debug, Default)]
pub struct EncodedHeaders {
    count: u32,
    bytes: Vec<u8>,
}

impl EncodedHeaders {
    /// No headers.
    pub const fn new() -> Self {
        Self { count: 0, bytes: Vec::new() }
    }

    /// Holds these headers in place of those it held.
    pub fn encode(&mut self, headers: &Headers) {
        self.clear();
        for (name, value) in headers.iter() {
            self.push(name, value);
        }
    }

    /// Holds the headers of a record, copied without decoding them.
    #[inline]
    pub fn copy_from(&mut self, headers: HeadersView<'_>) {
        self.count = headers.count;
        self.bytes.clear();
        if headers.count > 0 {
            self.bytes.extend_from_slice(headers.bytes);
        }
    }

    /// Adds a header behind those already there.
    pub fn push(&mut self, name: &str, value: Option<&[u8]>) {
        super::open::put_slice(&mut self.bytes, Some(name.as_bytes()));
        super::open::put_slice(&mut self.bytes, value);
        self.count += 1;
    }

    /// Removes all headers and keeps the buffer.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.count = 0;
    }

    /// The headers, to be appended to a record.
    pub const fn view(&self) -> HeadersView<'_> {
        HeadersView { count: self.count, bytes: self.bytes.as_slice() }
    }
}

impl From<&Headers> for EncodedHeaders {
    fn from(headers: &Headers) -> Self {
        let mut encoded = Self::new();
        encoded.encode(headers);
        encoded
    }
}
