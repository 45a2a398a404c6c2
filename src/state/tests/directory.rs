//! Whose is a state directory?

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::time::Duration;

use super::ScratchDir;
use crate::state::{StateDirectory, StateError};
use crate::time::Timestamp;

fn open(root: &ScratchDir) -> Result<StateDirectory, StateError> {
    StateDirectory::open(root.path(), "app", "cluster-a")
}

fn refusal(root: &ScratchDir) -> String {
    match open(root) {
        Err(StateError::Occupied(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn process_id_survives_a_restart_and_differs_between_directories() {
    let (a, b) = (ScratchDir::new(), ScratchDir::new());
    let first = open(&a).unwrap().process_id().to_owned();
    assert_eq!(first.len(), 32);
    assert_eq!(open(&a).unwrap().process_id(), first);
    assert_ne!(open(&b).unwrap().process_id(), first);
    assert_ne!(StateDirectory::in_memory().process_id(), first);
}

#[test]
fn stores_and_kinds_are_remembered_as_they_were_last() {
    let root = ScratchDir::new();
    let stamp = || fs::read_to_string(root.path().join("app/stamp")).unwrap();
    let first = open(&root).unwrap();
    assert!(first.kinds().unwrap().is_empty() && first.orphans(&[]).unwrap().is_empty());
    first.adopt(&["a"], &[("a", "window"), ("b", "session")]).unwrap();
    first.adopt(&["a"], &[("a", "key-value"), ("c", "session")]).unwrap();
    let (written, process_id) = (stamp(), first.process_id().to_owned());
    drop(first);
    let again = open(&root).unwrap();
    let kind = |store: &str, kind: &str| (store.to_owned(), kind.to_owned());
    let kinds: Vec<_> = again.kinds().unwrap().into_iter().collect();
    assert_eq!(kinds, [kind("a", "key-value"), kind("c", "session")]);
    assert_eq!(again.orphans(&["b"]).unwrap(), ["a"]);
    assert_eq!((again.process_id(), stamp()), (&*process_id, written));
}

#[test]
fn directory_and_files_are_the_owners_alone() {
    let root = ScratchDir::new();
    let _open = open(&root).unwrap();
    let mode = |path: &str| fs::metadata(root.path().join(path)).unwrap().mode() & 0o777;
    assert_eq!((mode("app"), mode("app/tasks")), (0o700, 0o700));
    assert_eq!((mode("app/lock"), mode("app/stamp")), (0o600, 0o600));
}

#[test]
fn second_user_of_a_directory_is_refused_until_the_first_is_gone() {
    let root = ScratchDir::new();
    let first = open(&root).unwrap();
    assert!(refusal(&root).contains("in use by another process"));
    drop(first);
    open(&root).unwrap();
}

#[test]
fn directory_of_another_cluster_or_application_is_refused_by_name() {
    let root = ScratchDir::new();
    drop(open(&root).unwrap());
    let other = StateDirectory::open(root.path(), "app", "cluster-b").unwrap_err().to_string();
    assert!(other.contains("`cluster-a`") && other.contains("`cluster-b`"), "{other}");
    fs::rename(root.path().join("app"), root.path().join("moved")).unwrap();
    let other = StateDirectory::open(root.path(), "moved", "cluster-a").unwrap_err().to_string();
    assert!(other.contains("`app`") && other.contains("`moved`"), "{other}");
}

#[test]
fn link_file_and_writable_directory_are_refused() {
    let root = ScratchDir::new();
    let path = root.path().join("app");
    fs::create_dir(root.path().join("elsewhere")).unwrap();
    symlink(root.path().join("elsewhere"), &path).unwrap();
    assert!(refusal(&root).contains("symbolic link"));
    fs::remove_file(&path).unwrap();
    fs::write(&path, "").unwrap();
    assert!(refusal(&root).contains("is no directory"));
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
    assert!(refusal(&root).contains("written to by others"));
}

#[test]
fn lock_and_stamp_are_never_written_through_a_link() {
    let root = ScratchDir::new();
    let path = root.path().join("app");
    fs::create_dir(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    let victim = root.path().join("victim");
    fs::write(&victim, "precious").unwrap();
    symlink(&victim, path.join("stamp.draft")).unwrap();
    assert!(matches!(open(&root), Err(StateError::Io(_))));
    assert_eq!(fs::read_to_string(victim).unwrap(), "precious");
}

#[test]
fn files_of_tasks_that_are_long_elsewhere_are_deleted() {
    let root = ScratchDir::new();
    let directory = open(&root).unwrap();
    for task in ["0_0", "0_1"] {
        fs::create_dir(root.path().join("app/tasks").join(task)).unwrap();
    }
    let day = Duration::from_secs(86_400);
    let remove = |now| directory.remove_unused(|task| task == "0_1", day, now).unwrap();
    assert!(remove(Timestamp::ZERO).is_empty());
    assert_eq!(remove(Timestamp::MAX), ["0_0"]);
    assert!(root.path().join("app/tasks/0_1").exists());
}
