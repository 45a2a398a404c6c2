//! What can be read of sealed state, and by whom.

use std::cell::RefCell;
use std::fs;
use std::path::Path;

use super::restore::{dump, spec};
use super::{INDEX, ScratchDir, key_value_model, restore, shared, timed_model};
use crate::security::StateEncryption;
use crate::state::{Backend, MemoryBudget, SharedBackend, StateDirectory, StateError, WriteBatch};
use crate::topology::{StoreKind, StoreSpec};

const SECRET: &[u8] = b"the value that nobody is to see";

fn specs() -> Vec<StoreSpec> {
    let named = |name: &str| StoreSpec { name: name.into(), ..spec(StoreKind::KeyValue) };
    vec![named("other"), named("rows")]
}

fn open(root: &Path, key: Option<u8>) -> Result<StateDirectory, StateError> {
    let encryption = key.map(|key| StateEncryption::new(move || Ok([key; 32])));
    let budget = MemoryBudget::new(0);
    StateDirectory::open_with(root, "app", "cluster", budget, encryption.as_ref())
}

/// Hands out the stores of a task that did not exist before, for each run.
struct Fresh {
    _root: ScratchDir,
    directory: StateDirectory,
    count: RefCell<u32>,
}

impl Fresh {
    fn new() -> Self {
        let root = ScratchDir::new();
        let directory = open(root.path(), Some(1)).unwrap();
        Self { _root: root, directory, count: RefCell::new(0) }
    }

    fn backend(&self) -> Box<dyn Backend> {
        let mut count = self.count.borrow_mut();
        *count += 1;
        self.directory.open_task(&format!("0_{count}"), &specs()).unwrap()
    }

    fn shared(&self) -> SharedBackend {
        shared(self.backend())
    }
}

#[test]
fn sealed_stores_equal_a_sorted_map() {
    let fresh = Fresh::new();
    key_value_model::check(0..5, || fresh.shared());
    timed_model::check(0..5, || fresh.shared());
    restore::check(0..5, || fresh.backend());
}

/// Whether any file below a directory holds these bytes.
fn is_anywhere(path: &Path, bytes: &[u8]) -> bool {
    fs::read_dir(path).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return is_anywhere(&path, bytes);
        }
        fs::read(path).unwrap().windows(bytes.len()).any(|part| part == bytes)
    })
}

fn write(directory: &StateDirectory) {
    let mut backend = directory.open_task("0_1", &specs()).unwrap();
    let mut batch = WriteBatch::default();
    batch.put(INDEX, b"key", Some(SECRET));
    batch.set_offset(INDEX, 1);
    backend.write(&batch).unwrap();
    backend.close().unwrap();
}

#[test]
fn no_file_holds_a_value_that_was_sealed() {
    for (key, is_seen) in [(None, true), (Some(1), false)] {
        let root = ScratchDir::new();
        write(&open(root.path(), key).unwrap());
        assert_eq!(is_anywhere(root.path(), SECRET), is_seen, "with key {key:?}");
        assert!(is_anywhere(root.path(), b"key"), "rows are found by their keys");
    }
}

#[test]
fn a_directory_is_refused_with_another_key_and_none_and_opened_with_its_own() {
    for own in [None, Some(1)] {
        let root = ScratchDir::new();
        write(&open(root.path(), own).unwrap());
        for other in [None, Some(1), Some(2)].into_iter().filter(|key| *key != own) {
            let refused = open(root.path(), other).unwrap_err().to_string();
            assert!(refused.contains("is of key"), "{refused}");
            assert!(!refused.contains("0101"), "{refused}");
        }
        let directory = open(root.path(), own).unwrap();
        let rows = dump(&*directory.open_task("0_1", &specs()).unwrap());
        assert_eq!(rows, [(b"key".to_vec(), SECRET.to_vec())]);
    }
}

#[test]
fn a_start_without_the_key_says_why() {
    let root = ScratchDir::new();
    let encryption = StateEncryption::new(|| Err("the key service is down".into()));
    let budget = MemoryBudget::new(0);
    let opened =
        StateDirectory::open_with(root.path(), "app", "cluster", budget, Some(&encryption));
    let why = opened.unwrap_err().to_string();
    assert!(why.contains("no key") && why.contains("the key service is down"), "{why}");
}
