//! What is this user's alone? Directories and files with no rights for others.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use super::at;
use crate::state::StateError;

const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
/// Mode bits by which others than the owner could change state.
const FOREIGN_WRITE: u32 = 0o022;

/// Makes a directory this user's alone, or finds that it is.
pub(super) fn own_directory(path: &Path) -> Result<(), StateError> {
    match DirBuilder::new().mode(DIRECTORY_MODE).create(path) {
        Ok(()) => return set_mode(path, DIRECTORY_MODE),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(at(path, error)),
    }
    let metadata = fs::symlink_metadata(path).map_err(|error| at(path, error))?;
    let refused = |why: &str| {
        let path = path.display();
        Err(StateError::Occupied(format!("the state directory `{path}` {why}")))
    };
    if metadata.is_symlink() {
        return refused("is a symbolic link; name the directory that it points to");
    }
    if !metadata.is_dir() {
        return refused("is no directory");
    }
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return refused("belongs to another user; choose another `state_dir`");
    }
    if metadata.mode() & FOREIGN_WRITE != 0 {
        return refused("can be written to by others; take that right from them (`chmod 700`)");
    }
    set_mode(path, DIRECTORY_MODE)
}

/// Takes the lock of an application's directory.
pub(super) fn lock(path: &Path) -> Result<File, StateError> {
    let file = path.join("lock");
    let lock = create_private(&file, false).map_err(|error| at(&file, error))?;
    flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|error| {
        if error == rustix::io::Errno::WOULDBLOCK {
            let path = path.display();
            StateError::Occupied(format!(
                "the state directory `{path}` is in use by another process; give each process of \
                 the application on this machine a `state_dir` of its own"
            ))
        } else {
            at(&file, io::Error::from(error))
        }
    })?;
    Ok(lock)
}

/// Creates, or opens, a file that only its owner may read.
pub(super) fn create_private(path: &Path, truncate: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(truncate).mode(FILE_MODE);
    options.custom_flags(rustix::fs::OFlags::NOFOLLOW.bits() as i32);
    let file = options.open(path)?;
    file.set_permissions(fs::Permissions::from_mode(FILE_MODE))?;
    Ok(file)
}

fn set_mode(path: &Path, mode: u32) -> Result<(), StateError> {
    let set = fs::set_permissions(path, fs::Permissions::from_mode(mode));
    set.map_err(|error| at(path, error))
}
