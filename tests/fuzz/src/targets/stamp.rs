//! The file that says whose a state directory is, which anything may have overwritten.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::sync::LazyLock;

use millstream::state::{StateDirectory, StateError};

/// This process's own, below the directory for temporary files.
static ROOT: LazyLock<PathBuf> = LazyLock::new(|| {
    let name = format!("millstream-fuzz-{}", std::process::id());
    std::env::temp_dir().join(name)
});

pub(crate) fn run(data: &[u8]) {
    let folder = ROOT.join("app");
    DirBuilder::new().recursive(true).mode(0o700).create(&folder).expect("it is ours");
    let stamp = folder.join("stamp");
    fs::write(&stamp, data).expect("the directory is ours");
    let opened = open();
    let text = String::from_utf8_lossy(data);
    if let Ok(directory) = &opened {
        directory.orphans(&["a"]).expect("the stamp is text");
        assert!(text.contains("application: app") && text.contains("cluster: cluster"));
    }
    assert_eq!(fs::read(&stamp).expect("it is still there"), data, "a stamp is kept as it is");
    drop(opened);
    fs::remove_dir_all(&*ROOT).expect("the directory is ours");
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let fields = ["format: 1", "application: app", "cluster: cluster", "key: none", "process: 1"];
    let mut seeds = vec![fields.join("\n").into_bytes(), b"stores: a b\nkinds: kv:a".to_vec()];
    seeds
        .push([fields.join("\n"), "\nstores: a b\nkinds: kv:a\n".to_owned()].concat().into_bytes());
    seeds
}

fn open() -> Result<StateDirectory, StateError> {
    StateDirectory::open(&ROOT, "app", "cluster")
}
