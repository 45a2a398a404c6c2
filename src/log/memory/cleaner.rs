//! What does a topic forget? Records that are too old, and of a compacted topic all but the last
//! record of each key. Both happen only when asked for, so that a run can be replayed.

use std::collections::{HashMap, VecDeque};

use super::partition::{PartitionLog, StoredBatch};
use super::state::State;
use crate::log::batch::{stamp_place, thaw};
use crate::log::{Isolation, OpenBatch, PartitionId, RecordBatch};
use crate::time::Timestamp;

impl State {
    /// Drops batches that are older than their topic's `retention.ms`.
    pub(super) fn clean(&mut self) {
        let now = self.clock.timestamp();
        for (id, retention_ms) in self.partitions_of(|topic| {
            let retention_ms = topic.number("retention.ms").filter(|millis| *millis >= 0);
            retention_ms.filter(|_| topic.is_deleted_by_age())
        }) {
            let log = self.log_mut(id).expect("a topic's partitions exist");
            log.drop_older_than(now.plus_millis(-retention_ms));
        }
    }

    /// Compacts the topics whose `cleanup.policy` says so.
    pub(super) fn compact(&mut self) {
        for (id, drops_tombstones) in self.partitions_of(|topic| {
            let drops_tombstones = topic.number("delete.retention.ms") == Some(0);
            topic.is_compacted().then_some(drops_tombstones)
        }) {
            let log = self.log_mut(id).expect("a topic's partitions exist");
            log.compact(drops_tombstones);
        }
    }

    fn partitions_of<T: Copy>(
        &self,
        choose: impl Fn(&super::state::Topic) -> Option<T>,
    ) -> Vec<(PartitionId, T)> {
        let chosen = self.topics.values().filter_map(|topic| Some((topic, choose(topic)?)));
        chosen
            .flat_map(|(topic, what)| topic.partitions.iter().map(move |id| (*id, what)))
            .collect()
    }
}

impl PartitionLog {
    fn drop_older_than(&mut self, time: Timestamp) {
        let stable = self.last_stable();
        let old = self.batches.iter().take_while(|stored| {
            stored.batch.next_offset() <= stable && stored.batch.max_timestamp() < time
        });
        if let Some(next) = old.last().map(|stored| stored.batch.next_offset()) {
            self.delete_before(next);
        }
    }

    /// Keeps the last record of each key, each at its offset. What is not decided yet stays.
    fn compact(&mut self, drops_tombstones: bool) {
        let stable = self.last_stable();
        let decided = self.batches.partition_point(|stored| stored.batch.next_offset() <= stable);
        let last = self.last_of_each_key(decided);
        let mut compacted = VecDeque::new();
        for stored in self.batches.iter().take(decided) {
            if !self.shows(stored, Isolation::ReadCommitted) {
                continue;
            }
            self.keep(stored, &mut compacted, |offset, key, is_tombstone| {
                last.get(key) == Some(&offset) && !(is_tombstone && drops_tombstones)
            });
        }
        compacted.extend(self.batches.drain(decided..));
        self.batches = compacted;
        self.aborted.retain(|range| range.marker >= stable);
    }

    fn last_of_each_key(&self, decided: usize) -> HashMap<Vec<u8>, i64> {
        let mut last = HashMap::new();
        for stored in self.batches.iter().take(decided) {
            if self.shows(stored, Isolation::ReadCommitted) {
                for record in stored.batch.records().flatten() {
                    last.insert(record.key.unwrap_or_default().to_vec(), record.offset);
                }
            }
        }
        last
    }

    /// Appends the records that are to be kept, in batches without holes.
    fn keep(
        &self,
        stored: &StoredBatch,
        compacted: &mut VecDeque<StoredBatch>,
        is_kept: impl Fn(i64, &[u8], bool) -> bool,
    ) {
        let mut open = OpenBatch::new();
        let mut next = -1;
        let mut close = |open: OpenBatch, next: i64| {
            if open.is_empty() {
                return;
            }
            let base = next - i64::from(open.count());
            let mut bytes = thaw(open.seal());
            stamp_place(&mut bytes, base, 0);
            let batch = RecordBatch::new(self.id, bytes.freeze()).expect("a sealed batch is whole");
            compacted.push_back(StoredBatch { batch, transaction: None, is_marker: false });
        };
        for record in stored.batch.records().flatten() {
            let key = record.key.unwrap_or_default();
            if !is_kept(record.offset, key, record.value.is_none()) {
                continue;
            }
            if record.offset != next {
                close(std::mem::take(&mut open), next);
            }
            open.append(record.timestamp, record.key, record.value, record.headers);
            next = record.offset + 1;
        }
        close(open, next);
    }
}
