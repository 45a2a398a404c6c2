//! What is stored beside a committed offset? Times that must survive a restart, and who may have a
//! transaction open.
//!
//! The form is that of Kafka Streams: Base64 of `magic 2 | i64 partition time | map`, where the map
//! is `i32 count | { i32 length | name | i64 value }`, or nothing if it is empty. Magic 1 has no
//! map. Behind the map stands `i32 length | transactional id` of the task's owner. Kafka Streams
//! does not look behind the map, and leaves the id out of what it commits itself. Metadata of
//! another form is ignored, as Kafka Streams does.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::time::Timestamp;

/// The times of one partition and of the operators behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CommitMetadata {
    /// The largest timestamp of the partition.
    pub(crate) partition_time: Timestamp,
    /// The stream time that each windowed operator has observed and until when its final results
    /// have left, each by a name that holds no counter.
    pub(crate) node_times: Vec<(String, Timestamp)>,
    /// The transactional id under which the task's owner writes; none once it has given it up.
    pub(crate) writer: Option<String>,
}

impl Default for CommitMetadata {
    fn default() -> Self {
        Self { partition_time: Timestamp::UNKNOWN, node_times: Vec::new(), writer: None }
    }
}

impl CommitMetadata {
    pub(crate) fn encode(&self) -> String {
        let mut bytes = vec![2];
        bytes.extend_from_slice(&self.partition_time.as_millis().to_be_bytes());
        if !self.node_times.is_empty() || self.writer.is_some() {
            bytes.extend_from_slice(&(self.node_times.len() as i32).to_be_bytes());
        }
        for (name, time) in &self.node_times {
            bytes.extend_from_slice(&(name.len() as i32).to_be_bytes());
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(&time.as_millis().to_be_bytes());
        }
        if let Some(writer) = &self.writer {
            bytes.extend_from_slice(&(writer.len() as i32).to_be_bytes());
            bytes.extend_from_slice(writer.as_bytes());
        }
        STANDARD.encode(bytes)
    }

    pub(crate) fn decode(text: &str) -> Self {
        let bytes = STANDARD.decode(text).unwrap_or_default();
        parse(&bytes).unwrap_or_default()
    }
}

/// The times of operators at the last commit, by name. The metadata of every input holds them all;
/// they differ where one partition was committed later, and the largest is right.
pub(crate) fn latest_node_times<'a>(
    inputs: impl IntoIterator<Item = &'a CommitMetadata>,
) -> BTreeMap<String, Timestamp> {
    let mut latest = BTreeMap::<String, Timestamp>::new();
    for (name, time) in inputs.into_iter().flat_map(|metadata| &metadata.node_times) {
        let known = latest.entry(name.clone()).or_insert(*time);
        *known = Timestamp::max(*known, *time);
    }
    latest
}

fn parse(bytes: &[u8]) -> Option<CommitMetadata> {
    let (magic, rest) = bytes.split_first()?;
    let (time, mut rest) = rest.split_first_chunk::<8>()?;
    let partition_time = Timestamp::from_millis(i64::from_be_bytes(*time));
    let mut node_times = Vec::new();
    if *magic == 2 && !rest.is_empty() {
        let (count, mut entries) = rest.split_first_chunk::<4>()?;
        for _ in 0..i32::from_be_bytes(*count) {
            let (name, behind) = parse_text(entries)?;
            let (time, behind) = behind.split_first_chunk::<8>()?;
            node_times.push((name, Timestamp::from_millis(i64::from_be_bytes(*time))));
            entries = behind;
        }
        rest = entries;
    }
    let writer = parse_text(rest).map(|(writer, _)| writer);
    matches!(magic, 1 | 2).then_some(CommitMetadata { partition_time, node_times, writer })
}

/// A text behind its length, and what comes behind it.
fn parse_text(bytes: &[u8]) -> Option<(String, &[u8])> {
    let (length, behind) = bytes.split_first_chunk::<4>()?;
    let length = usize::try_from(i32::from_be_bytes(*length)).ok()?;
    let (text, behind) = behind.split_at_checked(length)?;
    Some((std::str::from_utf8(text).ok()?.to_owned(), behind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_survive_the_text_form() {
        let node_times = vec![("KSTREAM-AGGREGATE-0000000003".to_owned(), Timestamp::ZERO)];
        for writer in [None, Some("app-4711-0".to_owned())] {
            for node_times in [vec![], node_times.clone()] {
                let partition_time = Timestamp::from_millis(17);
                let metadata =
                    CommitMetadata { partition_time, node_times, writer: writer.clone() };
                assert_eq!(CommitMetadata::decode(&metadata.encode()), metadata);
            }
        }
    }

    #[test]
    fn metadata_of_kafka_streams_without_a_map_is_read() {
        let bytes = [1, 0, 0, 0, 0, 0, 0, 0, 9];
        let metadata = CommitMetadata::decode(&STANDARD.encode(bytes));
        assert_eq!(metadata.partition_time, Timestamp::from_millis(9));
    }

    /// Kafka Streams 4.3.1 was seen to read a time of 17 from each of these, with the node's time
    /// from the last.
    #[test]
    fn the_owners_id_stands_where_kafka_streams_does_not_look() {
        let mut metadata = CommitMetadata {
            partition_time: Timestamp::from_millis(17),
            writer: Some("app-1234-0".to_owned()),
            ..CommitMetadata::default()
        };
        assert_eq!(metadata.encode(), "AgAAAAAAAAARAAAAAAAAAAphcHAtMTIzNC0w");
        metadata.node_times.push(("n".to_owned(), Timestamp::from_millis(5)));
        let text = "AgAAAAAAAAARAAAAAQAAAAFuAAAAAAAAAAUAAAAKYXBwLTEyMzQtMA==";
        assert_eq!(metadata.encode(), text);
    }

    #[test]
    fn foreign_metadata_is_ignored() {
        for text in ["", "hello", "!!", "AgAA", "AgAAAAAAAAAJ/////w=="] {
            let metadata = CommitMetadata::decode(text);
            assert!(metadata.node_times.is_empty(), "{text}");
            assert_eq!(metadata.writer, None, "{text}");
        }
    }
}
