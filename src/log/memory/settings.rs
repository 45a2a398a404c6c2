//! Which names and settings may a topic have? Those that a broker takes.

use super::state::Topic;
use crate::log::{LogError, NewTopic};

/// What a setting takes.
enum Takes {
    /// A whole number that is not below this.
    Number(i64),
    /// A part of one.
    Share,
    YesOrNo,
    /// One of these words.
    Word(&'static [&'static str]),
    /// Some of these words with commas between them.
    Words(&'static [&'static str]),
    Text,
}

use Takes::{Number, Share, Text, Word, Words, YesOrNo};

/// Every setting of a topic, as Kafka 4.3 knows them.
const SETTINGS: &[(&str, Takes)] = &[
    ("cleanup.policy", Words(&["compact", "delete"])),
    ("compression.gzip.level", Number(-1)),
    ("compression.lz4.level", Number(1)),
    ("compression.type", Word(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"])),
    ("compression.zstd.level", Number(-131_072)),
    ("delete.retention.ms", Number(0)),
    ("file.delete.delay.ms", Number(0)),
    ("flush.messages", Number(1)),
    ("flush.ms", Number(0)),
    ("follower.replication.throttled.replicas", Text),
    ("index.interval.bytes", Number(0)),
    ("leader.replication.throttled.replicas", Text),
    ("local.retention.bytes", Number(-2)),
    ("local.retention.ms", Number(-2)),
    ("max.compaction.lag.ms", Number(1)),
    ("max.message.bytes", Number(0)),
    ("message.timestamp.after.max.ms", Number(0)),
    ("message.timestamp.before.max.ms", Number(0)),
    ("message.timestamp.type", Word(&["CreateTime", "LogAppendTime"])),
    ("min.cleanable.dirty.ratio", Share),
    ("min.compaction.lag.ms", Number(0)),
    ("min.insync.replicas", Number(1)),
    ("preallocate", YesOrNo),
    ("remote.log.copy.disable", YesOrNo),
    ("remote.log.delete.on.disable", YesOrNo),
    ("remote.storage.enable", YesOrNo),
    ("retention.bytes", Number(-1)),
    ("retention.ms", Number(-1)),
    ("segment.bytes", Number(1_048_576)),
    ("segment.index.bytes", Number(4)),
    ("segment.jitter.ms", Number(0)),
    ("segment.ms", Number(1)),
    ("unclean.leader.election.enable", YesOrNo),
];

/// The longest name of a topic.
const NAME_CHARS_MAX: usize = 249;

impl Takes {
    fn takes(&self, value: &str) -> bool {
        match self {
            Number(least) => value.parse::<i64>().is_ok_and(|number| number >= *least),
            Share => value.parse::<f64>().is_ok_and(|share| (0.0..=1.0).contains(&share)),
            YesOrNo => matches!(value, "true" | "false"),
            Word(words) => words.contains(&value),
            Words(words) => value.split(',').all(|word| words.contains(&word.trim())),
            Text => true,
        }
    }
}

/// Whether a topic can be made like this.
pub(super) fn check(new: &NewTopic) -> Result<(), LogError> {
    let name = &new.name;
    let refused = |why: String| Err(LogError::Fatal(format!("topic `{name}` {why}")));
    if !is_name(name) {
        let why = "cannot be made: a name has letters, digits, `.`, `_` and `-`, at most 249";
        return refused(why.to_owned());
    }
    if new.partitions == 0 {
        return refused("must have at least one partition".to_owned());
    }
    for (setting, value) in &new.configs {
        match SETTINGS.iter().find(|(known, _)| known == setting) {
            Some((_, takes)) if takes.takes(value) => {}
            Some(_) => return refused(format!("cannot have `{setting}` = `{value}`")),
            None => return refused(format!("has no setting `{setting}`")),
        }
    }
    Ok(())
}

fn is_name(name: &str) -> bool {
    let is_legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let is_place = name == "." || name == "..";
    !is_place && (1..=NAME_CHARS_MAX).contains(&name.len()) && name.chars().all(is_legal)
}

/// Whether two names differ only where a broker's metrics cannot tell them apart.
pub(super) fn collide(left: &str, right: &str) -> bool {
    left.len() == right.len() && left.replace('.', "_") == right.replace('.', "_")
}

impl Topic {
    /// Whether the log writes its own time onto records.
    pub(super) fn keeps_append_time(&self) -> bool {
        self.configs.get("message.timestamp.type").is_some_and(|kind| kind == "LogAppendTime")
    }
}
