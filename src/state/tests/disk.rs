//! The same promises over RocksDB, and those that only a disk can break.

use std::cell::RefCell;
use std::fs;
use std::ops::{Bound, ControlFlow};
use std::path::{Path, PathBuf};

use super::restore::{dump, spec};
use super::{INDEX, ScratchDir, key_value_model, restore, shared, timed_model};
use crate::state::backend::{RocksBackend, SharedCaches};
use crate::state::{
    Backend, Direction, MemoryBudget, SharedBackend, StateDirectory, StateError, StoreIndex,
    WriteBatch,
};
use crate::topology::{StoreKind, StoreSpec};

const OTHER: StoreIndex = StoreIndex(0);

fn named(name: &str, changelog: bool) -> StoreSpec {
    StoreSpec { name: name.into(), changelog, ..spec(StoreKind::KeyValue) }
}

fn specs() -> Vec<StoreSpec> {
    vec![named("other", true), named("rows", true)]
}

fn open(path: &Path) -> Result<RocksBackend, StateError> {
    RocksBackend::open(path, &specs(), &SharedCaches::new(MemoryBudget::new(0)))
}

/// Keeps one database and hands out a new store in it for each run.
struct Fresh {
    root: ScratchDir,
    count: RefCell<u32>,
}

impl Fresh {
    fn new() -> Self {
        Self { root: ScratchDir::new(), count: RefCell::new(0) }
    }

    fn backend(&self) -> Box<dyn Backend> {
        let mut count = self.count.borrow_mut();
        *count += 1;
        Box::new(open(&self.root.path().join(count.to_string())).unwrap())
    }

    fn shared(&self) -> SharedBackend {
        shared(self.backend())
    }
}

#[test]
fn stores_on_disk_equal_a_sorted_map() {
    let fresh = Fresh::new();
    key_value_model::check(0..10, || fresh.shared());
    timed_model::check(0..10, || fresh.shared());
}

#[test]
fn store_restored_to_disk_equals_the_one_that_wrote_the_changelog() {
    let fresh = Fresh::new();
    restore::check(0..5, || fresh.backend());
}

fn batch(from: u64, to: u64, offset: i64) -> WriteBatch {
    let mut batch = WriteBatch::default();
    for key in from..to {
        batch.put(INDEX, &key.to_be_bytes(), Some(b"value"));
        batch.put(OTHER, &key.to_be_bytes(), Some(b"value"));
    }
    batch.set_offset(INDEX, offset);
    batch.set_offset(OTHER, offset);
    batch
}

/// Name and length of each file.
fn listing(path: &Path) -> Vec<(PathBuf, u64)> {
    let files = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let sized = files.filter_map(|path| Some((path.clone(), fs::metadata(path).ok()?.len())));
    let mut files: Vec<_> = sized.collect();
    files.sort();
    files
}

/// Copies what a crash would leave: all files as they are at one moment. The database goes on
/// working meanwhile, so the copy is made again until nothing has moved.
fn copy(from: &Path, to: &Path) {
    loop {
        let before = listing(from);
        let _ = fs::remove_dir_all(to);
        fs::create_dir_all(to).unwrap();
        let copies =
            before.iter().map(|(path, _)| fs::copy(path, to.join(path.file_name().unwrap())));
        if copies.collect::<Result<Vec<_>, _>>().is_ok() && listing(from) == before {
            return;
        }
    }
}

#[test]
fn close_keeps_everything_and_a_crash_keeps_a_moment() {
    let root = ScratchDir::new();
    let live = root.path().join("live");
    let mut backend = open(&live).unwrap();
    let mut value = [0; 512];
    let mut random = super::Random(1);
    let mut survived = Vec::new();
    for step in 0..200_u64 {
        let mut batch = batch(step, step + 1, step as i64 + 1);
        for filler in 0..100_u64 {
            value.iter_mut().for_each(|byte| *byte = random.next() as u8);
            let key = (1_000_000 + step * 100 + filler).to_be_bytes();
            batch.put(INDEX, &key, Some(&value));
        }
        backend.write(&batch).unwrap();
        if step % 20 == 0 {
            let crashed = root.path().join(format!("crashed-{step}"));
            copy(&live, &crashed);
            let reopened = open(&crashed).unwrap();
            let offset = reopened.changelog_offset(INDEX).unwrap().unwrap_or(0);
            assert_eq!(reopened.changelog_offset(OTHER).unwrap().unwrap_or(0), offset);
            assert_eq!(dump(&reopened).len() as i64, offset * 101, "after step {step}");
            survived.push(offset);
        }
    }
    assert!(survived.iter().any(|offset| *offset > 0), "no crash found anything on disk");
    Box::new(backend).close().unwrap();
    let reopened = open(&live).unwrap();
    assert_eq!(reopened.changelog_offset(INDEX).unwrap(), Some(200));
    assert_eq!(dump(&reopened).len(), 200 * 101);
}

#[test]
fn crash_after_a_load_keeps_rows_and_offset() {
    let root = ScratchDir::new();
    let (live, crashed) = (root.path().join("live"), root.path().join("crashed"));
    let mut backend = open(&live).unwrap();
    backend.write(&batch(0, 3, 3)).unwrap();
    let rows: [(&[u8], Option<&[u8]>); 3] =
        [(&0_u64.to_be_bytes(), None), (&1_u64.to_be_bytes(), Some(b"new")), (b"x", Some(b"y"))];
    backend.load(INDEX, &mut rows.into_iter(), 9).unwrap();
    copy(&live, &crashed);
    for backend in [&backend, &open(&crashed).unwrap()] {
        assert_eq!(backend.changelog_offset(INDEX).unwrap(), Some(9));
        assert_eq!(backend.changelog_offset(OTHER).unwrap(), Some(3));
        let values: Vec<_> = dump(backend).into_iter().map(|(_, value)| value).collect();
        assert_eq!(values, [b"new".to_vec(), b"value".to_vec(), b"y".to_vec()]);
    }
}

#[test]
fn rows_of_a_first_load_that_did_not_end_are_dropped() {
    let root = ScratchDir::new();
    let mut rows_only = WriteBatch::default();
    rows_only.put(INDEX, b"a", Some(b"1"));
    let mut backend = open(root.path()).unwrap();
    backend.write(&rows_only).unwrap();
    Box::new(backend).close().unwrap();
    assert!(dump(&open(root.path()).unwrap()).is_empty());
}

#[test]
fn store_without_changelog_keeps_its_rows() {
    let root = ScratchDir::new();
    let specs = [named("other", true), named("rows", false)];
    let caches = SharedCaches::new(MemoryBudget::new(0));
    for expected in [0, 1] {
        let mut backend = RocksBackend::open(root.path(), &specs, &caches).unwrap();
        assert_eq!(dump(&backend).len(), expected);
        let mut row = WriteBatch::default();
        row.put(INDEX, b"a", Some(b"1"));
        backend.write(&row).unwrap();
        Box::new(backend).close().unwrap();
    }
}

#[test]
fn stores_keep_their_rows_when_others_come_and_go() {
    let root = ScratchDir::new();
    let caches = SharedCaches::new(MemoryBudget::new(0));
    let mut backend = open(root.path()).unwrap();
    backend.write(&batch(0, 3, 3)).unwrap();
    Box::new(backend).close().unwrap();
    let changed = [named("new", true), named("rows", true), named("last", true)];
    let backend = RocksBackend::open(root.path(), &changed, &caches).unwrap();
    assert_eq!(dump(&backend).len(), 3);
    assert_eq!(backend.changelog_offset(OTHER).unwrap(), None);
    Box::new(backend).close().unwrap();
    let backend = open(root.path()).unwrap();
    assert_eq!(backend.changelog_offset(OTHER).unwrap(), None, "it was dropped with its offset");
}

#[test]
fn cleared_store_is_empty_and_usable() {
    let root = ScratchDir::new();
    let mut backend = open(root.path()).unwrap();
    backend.write(&batch(0, 3, 3)).unwrap();
    backend.clear(INDEX).unwrap();
    assert!(dump(&backend).is_empty());
    assert_eq!(backend.changelog_offset(INDEX).unwrap(), None);
    backend.write(&batch(0, 1, 1)).unwrap();
    assert_eq!(dump(&backend).len(), 1);
}

/// A soak of twenty minutes found that a small state which is flushed every few seconds grows
/// without end: each flush adds to the manifest, which RocksDB lets grow to 1 GiB.
#[test]
fn many_flushes_of_a_small_state_leave_a_small_manifest() {
    let root = ScratchDir::new();
    let mut backend = open(root.path()).unwrap();
    for turn in 0..300 {
        backend.write(&batch(0, 1, turn)).unwrap();
        backend.flush().unwrap();
    }
    let files = listing(root.path());
    let is_manifest = |path: &Path| path.to_string_lossy().contains("MANIFEST");
    let bytes: u64 =
        files.iter().filter(|(path, _)| is_manifest(path)).map(|(_, bytes)| bytes).sum();
    assert!((1..64 * 1024).contains(&bytes), "{bytes} bytes of manifest");
}

/// A soak found windows that were over for long on disk: what deletes them is compacted away with
/// what it deletes only once four files have come together, however little lives.
#[test]
fn rows_that_come_and_go_do_not_stay_on_disk() {
    const ROWS: u64 = 20_000;
    let root = ScratchDir::new();
    let mut backend = open(root.path()).unwrap();
    backend.write(&batch(0, ROWS, 1)).unwrap();
    backend.flush().unwrap();
    let full = backend.size(INDEX).bytes;
    let mut gone = WriteBatch::default();
    (0..ROWS).for_each(|key| gone.put(INDEX, &key.to_be_bytes(), None));
    backend.write(&gone).unwrap();
    backend.flush().unwrap();
    backend.settle();
    let left = backend.size(INDEX).bytes;
    assert!(left < full / 4, "{left} bytes of {full} are left");
}

#[test]
fn second_open_is_refused() {
    let root = ScratchDir::new();
    let _backend = open(root.path()).unwrap();
    assert!(matches!(open(root.path()), Err(StateError::Occupied(_))));
}

fn write_task(directory: &StateDirectory) {
    let mut backend = directory.open_task("0_1", &specs()).unwrap();
    backend.write(&batch(0, 3, 3)).unwrap();
    backend.close().unwrap();
}

#[test]
fn damaged_task_is_set_aside_and_begins_empty() {
    for damage in ["CURRENT", "MANIFEST"] {
        let root = ScratchDir::new();
        let directory = StateDirectory::open(root.path(), "app", "cluster").unwrap();
        write_task(&directory);
        let task = root.path().join("app/tasks/0_1");
        let files = fs::read_dir(&task).unwrap().map(|entry| entry.unwrap().path());
        let is_hit = |path: &PathBuf| path.to_string_lossy().contains(damage);
        files.filter(is_hit).for_each(|path| fs::write(path, "rubbish").unwrap());
        let backend = directory.open_task("0_1", &specs()).unwrap();
        assert!(dump(&*backend).is_empty());
        assert!(root.path().join("app/damaged/0_1/LOCK").exists());
        drop(backend);
        write_task(&directory);
    }
}

/// The table files of a task, of which there is one at least.
fn tables(root: &ScratchDir) -> Vec<PathBuf> {
    let files = fs::read_dir(root.path().join("app/tasks/0_1")).unwrap();
    let files = files.map(|entry| entry.unwrap().path());
    let is_table = |path: &PathBuf| path.extension().is_some_and(|end| end == "sst");
    let tables: Vec<_> = files.filter(is_table).collect();
    assert!(!tables.is_empty());
    tables
}

#[test]
fn damage_that_shows_when_a_row_is_read_is_remembered_until_the_files_are_set_aside() {
    let root = ScratchDir::new();
    let directory = StateDirectory::open(root.path(), "app", "cluster").unwrap();
    let mut backend = directory.open_task("0_1", &specs()).unwrap();
    backend.write(&batch(0, 1_000, 3)).unwrap();
    backend.close().unwrap();
    let length = |table: &PathBuf| fs::metadata(table).unwrap().len();
    // The small one, of the offsets, is read when a task is opened.
    for rows in tables(&root).into_iter().filter(|table| length(table) > 5_000) {
        let mut bytes = fs::read(&rows).unwrap();
        bytes[5] ^= 1;
        fs::write(rows, bytes).unwrap();
    }
    for _ in 0..2 {
        let backend = directory.open_task("0_1", &specs()).unwrap();
        assert!(!backend.is_damaged(), "it does not show at once");
        let found = scanned(&*backend);
        assert!(matches!(found, Err(StateError::Corrupt(_))), "{found:?}");
        assert!(backend.is_damaged());
        backend.close().unwrap();
    }
    directory.set_aside_task("0_1").unwrap();
    assert!(dump(&*directory.open_task("0_1", &specs()).unwrap()).is_empty());
    assert!(root.path().join("app/damaged/0_1/CURRENT").exists());
}

/// How many rows can be read.
fn scanned(backend: &dyn Backend) -> Result<usize, StateError> {
    let (mut rows, all) = (0, (Bound::Unbounded, Bound::Unbounded));
    backend.scan(INDEX, all, Direction::Ascending, &mut |_, _| {
        rows += 1;
        ControlFlow::Continue(())
    })?;
    Ok(rows)
}

#[test]
fn missing_table_file_is_damage() {
    let root = ScratchDir::new();
    let directory = StateDirectory::open(root.path(), "app", "cluster").unwrap();
    write_task(&directory);
    tables(&root).iter().for_each(|path| fs::remove_file(path).unwrap());
    assert!(dump(&*directory.open_task("0_1", &specs()).unwrap()).is_empty());
}

#[test]
fn task_directory_keeps_removes_and_mixes_stores() {
    let root = ScratchDir::new();
    let directory = StateDirectory::open(root.path(), "app", "cluster").unwrap();
    write_task(&directory);
    assert_eq!(dump(&*directory.open_task("0_1", &specs()).unwrap()).len(), 3);
    let mut mixed = specs();
    mixed[0].in_memory = true;
    let mut backend = directory.open_task("0_1", &mixed).unwrap();
    assert_eq!(backend.changelog_offset(OTHER).unwrap(), None);
    backend.write(&batch(3, 5, 5)).unwrap();
    assert_eq!(backend.changelog_offset(OTHER).unwrap(), Some(5));
    backend.close().unwrap();
    let backend = directory.open_task("0_1", &mixed).unwrap();
    assert_eq!(backend.changelog_offset(OTHER).unwrap(), None);
    assert_eq!(backend.changelog_offset(INDEX).unwrap(), Some(5));
    assert_eq!(dump(&*backend).len(), 5);
    drop(backend);
    directory.remove_task("0_1").unwrap();
    assert!(dump(&*directory.open_task("0_1", &specs()).unwrap()).is_empty());
}
