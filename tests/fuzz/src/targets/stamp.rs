//! The file that says whose a state directory is, which anything may have overwritten.

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use millstream::state::{StateDirectory, StateError};

/// This process's own, below the directory for temporary files.
static ROOT: LazyLock<PathBuf> = LazyLock::new(|| {
    let name = format!("millstream-fuzz-{}", std::process::id());
    std::env::temp_dir().join(name)
});

pub(crate) fn run(data: &[u8]) {
    drop(open());
    let stamp = ROOT.join("app/stamp");
    fs::write(&stamp, data).expect("the directory is ours");
    let opened = open();
    let text = String::from_utf8_lossy(data);
    if opened.is_ok() {
        assert!(text.contains("application: app") && text.contains("cluster: cluster"));
    }
    assert_eq!(fs::read(&stamp).expect("it is still there"), data, "a stamp is kept as it is");
    drop(opened);
    fs::remove_dir_all(&*ROOT).expect("the directory is ours");
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let fields = ["format: 1", "application: app", "cluster: cluster", "key: none", "process: 1"];
    let mut seeds = vec![fields.join("\n").into_bytes(), b"stores: 0_0 a,b\nkinds: a=kv".to_vec()];
    seeds.push([fields.join("\n"), "\nstores: a\nkinds: a\n".to_owned()].concat().into_bytes());
    seeds
}

fn open() -> Result<StateDirectory, StateError> {
    StateDirectory::open(&ROOT, "app", "cluster")
}
