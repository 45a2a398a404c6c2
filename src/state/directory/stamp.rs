//! Whose is a directory? A file in it says so: the stamp.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::path::Path;

use super::private::create_private;
use super::{at, random_id};
use crate::state::StateError;

/// The version of everything below the directory.
const FORMAT: &str = "1";

/// Checks the stamp of a directory, or writes it; returns the process id.
pub(super) fn check_stamp(
    path: &Path,
    application: &str,
    cluster: &str,
    key: &str,
) -> Result<String, StateError> {
    let file = path.join("stamp");
    let text = match fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return write_stamp(path, application, cluster, key).map_err(|error| at(&file, error));
        }
        Err(error) => return Err(at(&file, error)),
    };
    let field = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        value.ok_or_else(|| {
            let path = path.display();
            StateError::Corrupt(format!(
                "`{path}/stamp` says no {name}; delete `{path}`, and state is restored from the \
                 changelogs"
            ))
        })
    };
    // Another format may still be state of this application; the others say that it is not.
    let first_fix = "run the version of millstream that wrote it, or ";
    let expected = [
        ("format", FORMAT, first_fix),
        ("application", application, ""),
        ("cluster", cluster, ""),
        ("key", key, ""),
    ];
    for (name, expected, first_fix) in expected {
        let found = field(name)?;
        if found != expected {
            let path = path.display();
            return Err(StateError::Occupied(format!(
                "the state directory `{path}` is of {name} `{found}`, not of {name} `{expected}`; \
                 {first_fix}choose another `state_dir`, or delete it if that state is not \
                 needed any more"
            )));
        }
    }
    field("process").map(str::to_owned)
}

fn write_stamp(path: &Path, application: &str, cluster: &str, key: &str) -> io::Result<String> {
    let process = random_id()?;
    let text = format!(
        "format: {FORMAT}\napplication: {application}\ncluster: {cluster}\nkey: {key}\n\
         process: {process}\n"
    );
    replace_stamp(path, &text)?;
    Ok(process)
}

/// Whole or not at all, whenever the machine dies.
pub(super) fn replace_stamp(path: &Path, text: &str) -> io::Result<()> {
    let draft = path.join("stamp.draft");
    let mut file = create_private(&draft, true)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&draft, path.join("stamp"))?;
    File::open(path)?.sync_all()
}
