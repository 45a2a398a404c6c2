//! What has an application left behind, and is it what Kafka Streams leaves?

use std::collections::BTreeMap;
use std::fmt::Debug;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::topics::Logged;
use super::{INPUTS, JOINED, MIXED, ORDERED, ORDERED_STORES, REPARTITIONS, SIDES, STORES};

/// The time of a partition of which no record was read.
const NOTHING_READ: i64 = -1;

/// What lies in the topics of an application, named without its id.
pub(super) struct Outcome {
    pub(super) app: String,
    pub(super) changelogs: BTreeMap<&'static str, Vec<Logged>>,
    pub(super) repartitions: BTreeMap<&'static str, Vec<Logged>>,
    pub(super) outputs: BTreeMap<&'static str, Vec<Logged>>,
    /// Of every topic, its settings and how many partitions it has.
    pub(super) settings: BTreeMap<String, BTreeMap<String, String>>,
    /// Offset and metadata by topic and partition.
    pub(super) committed: BTreeMap<&'static str, BTreeMap<i32, (i64, String)>>,
}

impl Outcome {
    /// Whether there is enough in it that being equal to it means something.
    pub(super) fn check_is_whole(&self) {
        for (store, records) in &self.changelogs {
            assert!(!rows(records).is_empty(), "`{store}` holds nothing");
        }
        for store in ["names", "visits", "ended"] {
            let tombstones = self.changelogs[store].iter().filter(|row| row.value.is_none());
            assert!(tombstones.count() > 3, "`{store}` has hardly a tombstone");
        }
        for (topic, records) in self.outputs.iter().chain(&self.repartitions) {
            assert!(records.len() > 20, "`{topic}` has {} records", records.len());
        }
        for partition in self.committed["in"].values() {
            let times = Times::read(&partition.1);
            let names: Vec<&str> = times.by_name.keys().map(String::as_str).collect();
            assert_eq!(names, ["closed", "ended"], "what Kafka Streams keeps beside an offset");
        }
    }

    pub(super) fn check_equals(&self, theirs: &Self) {
        let mut problems = Problems::default();
        for (topic, settings) in &theirs.settings {
            let ours = self.settings.get(topic);
            problems.note(&format!("settings of `{topic}`"), same(ours, Some(settings)));
        }
        let names = |outcome: &Self| outcome.settings.keys().cloned().collect::<Vec<_>>();
        problems.note("topics", same(names(self), names(theirs)));
        self.compare_records(theirs, &mut problems);
        self.compare_offsets(theirs, &mut problems);
        problems.check(&self.app);
    }

    /// Compares every record that went through a repartition topic; their order depends on which
    /// task was first.
    pub(super) fn check_repartitions_equal(&self, theirs: &Self) {
        let mut problems = Problems::default();
        for topic in REPARTITIONS {
            let sorted = |outcome: &Self| {
                let mut records = outcome.repartitions[topic].clone();
                records.sort();
                records
            };
            let (ours, theirs) = (sorted(self), sorted(theirs));
            let first = ours.iter().zip(&theirs).find(|(ours, theirs)| ours != theirs);
            let (one, other) = first.unzip();
            problems.note(&format!("`{topic}`"), same(one, other));
            problems.note(&format!("records in `{topic}`"), same(ours.len(), theirs.len()));
        }
        problems.check(&self.app);
    }

    fn compare_records(&self, theirs: &Self, problems: &mut Problems) {
        for store in STORES {
            let (ours, theirs) = (&self.changelogs[store], &theirs.changelogs[store]);
            problems
                .note(&format!("changelog of `{store}`"), same_rows(&rows(ours), &rows(theirs)));
        }
        for store in ORDERED_STORES {
            let (ours, theirs) = (&self.changelogs[store], &theirs.changelogs[store]);
            let name = format!("every record in the changelog of `{store}`");
            problems.note(&name, is_thinned_out(&by_key(ours), &by_key(theirs)));
        }
        for topic in ORDERED {
            let (ours, theirs) = (&self.outputs[topic], &theirs.outputs[topic]);
            problems
                .note(&format!("results in `{topic}`"), same_rows(&by_key(ours), &by_key(theirs)));
        }
        for store in SIDES {
            let (ours, theirs) = (&self.changelogs[store], &theirs.changelogs[store]);
            let compared = same_records(without_numbers(ours), without_numbers(theirs));
            problems.note(&format!("changelog of `{store}`"), compared);
        }
        for topic in JOINED {
            let (ours, theirs) = (&self.outputs[topic], &theirs.outputs[topic]);
            let compared = same_records(ours.clone(), theirs.clone());
            problems.note(&format!("results in `{topic}`"), compared);
        }
        for topic in MIXED {
            let (ours, theirs) = (&self.outputs[topic], &theirs.outputs[topic]);
            problems
                .note(&format!("last results in `{topic}`"), same_rows(&rows(ours), &rows(theirs)));
        }
        problems.note("counts of words", is_counted_up(&self.outputs["words"]));
    }

    fn compare_offsets(&self, theirs: &Self, problems: &mut Problems) {
        for topic in INPUTS {
            for (partition, (offset, metadata)) in &theirs.committed[topic] {
                let name = format!("what is committed for `{topic}-{partition}`");
                let Some((own_offset, own)) = self.committed[topic].get(partition) else {
                    problems.note(&name, Err("nothing".to_owned()));
                    continue;
                };
                problems.note(&name, same(own_offset, offset));
                problems.note(&name, Times::read(own).hold(&Times::read(metadata)));
            }
        }
        // The offsets differ by the markers of transactions.
        // Here something is committed of each partition, there of those that had a record.
        for topic in REPARTITIONS {
            let metadata = |outcome: &Self| -> BTreeMap<_, _> {
                let committed = outcome.committed[topic].iter();
                let times = committed
                    .map(|(partition, (_, text))| (*partition, Times::read(text)))
                    .filter(|(_, times)| times.partition != NOTHING_READ);
                times.collect()
            };
            problems
                .note(&format!("metadata of `{topic}`"), same(metadata(self), metadata(theirs)));
        }
    }
}

/// Everything that differs, shown at once.
#[derive(Default)]
struct Problems(Vec<String>);

impl Problems {
    fn note(&mut self, what: &str, compared: Result<(), String>) {
        if let Err(problem) = compared {
            self.0.push(format!("{what}: {problem}"));
        }
    }

    fn check(&self, app: &str) {
        assert!(self.0.is_empty(), "{app}:\n{}", self.0.join("\n"));
    }
}

/// What stands in the metadata of a committed offset.
#[derive(Debug, PartialEq, Eq)]
struct Times {
    partition: i64,
    by_name: BTreeMap<String, i64>,
}

impl Times {
    /// `2 | i64 time | i32 count | { i32 length | name | i64 time }`, without the count if there
    /// is nothing to count. What stands behind it Kafka Streams does not read.
    fn read(metadata: &str) -> Self {
        let bytes = STANDARD.decode(metadata).expect("metadata is Base64");
        let mut rest = &bytes[..];
        assert_eq!(take::<1>(&mut rest), [2], "the form's number");
        let partition = i64::from_be_bytes(take(&mut rest));
        let mut by_name = BTreeMap::new();
        let count = if rest.is_empty() { 0 } else { i32::from_be_bytes(take(&mut rest)) };
        for _ in 0..count {
            let length = i32::from_be_bytes(take(&mut rest));
            let (name, behind) = rest.split_at(usize::try_from(length).expect("a length"));
            rest = behind;
            let name = String::from_utf8(name.to_vec()).expect("a name is text");
            by_name.insert(name, i64::from_be_bytes(take(&mut rest)));
        }
        Self { partition, by_name }
    }

    /// Whether everything that Kafka Streams would look up is there; behind it may stand more.
    fn hold(&self, theirs: &Self) -> Result<(), String> {
        same(self.partition, theirs.partition)?;
        theirs.by_name.iter().try_for_each(|(name, time)| {
            // Kafka Streams notes a time only when a window ends at it or before.
            let unit = if name == "closed" { 60_000 } else { 1 };
            let ours = self.by_name.get(name).map(|time| time / unit);
            same(ours, Some(time / unit)).map_err(|problem| format!("{name}: {problem}"))
        })
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    let (taken, behind) = rest.split_first_chunk::<N>().expect("the metadata is long enough");
    *rest = behind;
    *taken
}

/// The last record of each key that is not deleted.
fn rows(records: &[Logged]) -> BTreeMap<Vec<u8>, Logged> {
    let mut rows = BTreeMap::new();
    for record in records {
        match record.value {
            Some(_) => drop(rows.insert(record.key.clone(), record.clone())),
            None => drop(rows.remove(&record.key)),
        }
    }
    rows
}

/// The records of each key, in their order.
fn by_key(records: &[Logged]) -> BTreeMap<Vec<u8>, Vec<Logged>> {
    let mut by_key: BTreeMap<Vec<u8>, Vec<Logged>> = BTreeMap::new();
    for record in records {
        by_key.entry(record.key.clone()).or_default().push(record.clone());
    }
    by_key
}

/// Whether each key has nothing but some of their records, in their order: here a row goes to the
/// changelog once per commit, there at each update. The last ones are compared as rows.
fn is_thinned_out(
    ours: &BTreeMap<Vec<u8>, Vec<Logged>>,
    theirs: &BTreeMap<Vec<u8>, Vec<Logged>>,
) -> Result<(), String> {
    for (key, records) in ours {
        let mut all = theirs.get(key).into_iter().flatten();
        for record in records {
            if !all.any(|other| other == record) {
                return Err(format!("{record:?} is not in {:?}", theirs.get(key)));
            }
        }
    }
    Ok(())
}

/// The rows of a store that keeps equal keys side by side: `key | i64 time | i32 number`.
fn without_numbers(records: &[Logged]) -> Vec<Logged> {
    let without = |record: &Logged| {
        let length = record.key.len() - 4;
        Logged { key: record.key[..length].to_vec(), ..record.clone() }
    };
    records.iter().map(without).collect()
}

/// Whether each key was counted from one, without a gap and without a step back.
fn is_counted_up(records: &[Logged]) -> Result<(), String> {
    for (key, counts) in by_key(records) {
        for (count, expected) in counts.iter().zip(1_i64..) {
            same(count.value.as_deref(), Some(&expected.to_be_bytes()[..]))
                .map_err(|problem| format!("{}: {problem}", String::from_utf8_lossy(&key)))?;
        }
    }
    Ok(())
}

fn same<T: PartialEq + Debug>(ours: T, theirs: T) -> Result<(), String> {
    if ours == theirs {
        return Ok(());
    }
    Err(format!("\n  is        {ours:?}\n  should be {theirs:?}"))
}

/// Compares rows, and shows the first key that differs.
fn same_rows<V: PartialEq + Debug>(
    ours: &BTreeMap<Vec<u8>, V>,
    theirs: &BTreeMap<Vec<u8>, V>,
) -> Result<(), String> {
    let keys = ours.keys().chain(theirs.keys());
    let different: Vec<_> = keys.filter(|key| ours.get(*key) != theirs.get(*key)).collect();
    let Some(first) = different.first() else { return Ok(()) };
    same(ours.get(*first), theirs.get(*first))
        .map_err(|problem| format!("{} keys, {problem}", different.len()))
}

/// Compares records that come in any order, and shows those that are on one side alone.
fn same_records(ours: Vec<Logged>, theirs: Vec<Logged>) -> Result<(), String> {
    let mut counts: BTreeMap<Logged, i32> = BTreeMap::new();
    ours.into_iter().for_each(|record| *counts.entry(record).or_default() += 1);
    theirs.into_iter().for_each(|record| *counts.entry(record).or_default() -= 1);
    counts.retain(|_, count| *count != 0);
    if counts.is_empty() { Ok(()) } else { Err(format!("too many or too few: {counts:#?}")) }
}
