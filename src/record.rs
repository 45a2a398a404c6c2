//! What moves through a pipeline? A typed record and its headers.

use crate::time::Timestamp;

/// What may be a key or a value of a stream: anything that owns its data and can be cloned.
///
/// A clone happens only where a pipeline fans out; a linear one moves its records.
pub trait Data: Clone + 'static {}
impl<T: Clone + 'static> Data for T {}

/// A key, a value and the time of the event.
///
/// Headers travel beside the record, in the context of the record that is being processed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<K, V> {
    /// What the record is about; decides its partition.
    pub key: K,
    /// What happened.
    pub value: V,
    /// When it happened.
    pub timestamp: Timestamp,
}

impl<K, V> Record<K, V> {
    /// A record of these three parts.
    pub const fn new(key: K, value: V, timestamp: Timestamp) -> Self {
        Self { key, value, timestamp }
    }

    /// This record with another key.
    pub fn with_key<K2>(self, key: K2) -> Record<K2, V> {
        Record { key, value: self.value, timestamp: self.timestamp }
    }

    /// This record with another value.
    pub fn with_value<V2>(self, value: V2) -> Record<K, V2> {
        Record { key: self.key, value, timestamp: self.timestamp }
    }
}

/// What a table says when a row changes: the row before and after.
///
/// `new` is `None` where the row was deleted. `old` is filled in only if something downstream
/// asked for it while the pipeline was wired; it is the value last sent downstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change<V> {
    /// The row before the change.
    pub old: Option<V>,
    /// The row after the change.
    pub new: Option<V>,
}

/// The headers of a record, in the order in which they were added; a name may occur repeatedly.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    entries: Vec<(String, Option<Vec<u8>>)>,
}

impl Headers {
    /// No headers.
    pub const fn new() -> Self {
        Self { entries: Vec::new() }
    }

    /// Adds a header behind those already there.
    pub fn push(&mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) {
        self.entries.push((name.into(), Some(value.into())));
    }

    /// Adds a header whose value is null.
    pub fn push_null(&mut self, name: impl Into<String>) {
        self.entries.push((name.into(), None));
    }

    /// The value of the last header of this name; `None` if there is none or it is null.
    pub fn last(&self, name: &str) -> Option<&[u8]> {
        let (_, value) = self.entries.iter().rev().find(|(n, _)| n == name)?;
        value.as_deref()
    }

    /// Removes every header of this name.
    pub fn remove(&mut self, name: &str) {
        self.entries.retain(|(n, _)| n != name);
    }

    /// Removes all headers.
    pub fn clear(&mut self) {
        self.entries.clear();
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.entries.len()
    }

    /// Name and value of each, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&[u8]>)> {
        self.entries.iter().map(|(name, value)| (name.as_str(), value.as_deref()))
    }
}
