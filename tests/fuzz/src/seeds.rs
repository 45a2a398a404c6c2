//! Names the targets, or writes the seeds of one: `seeds`, `seeds TARGET FOLDER`.

use std::path::Path;
use std::process::ExitCode;

use millstream_fuzz::{TARGETS, Target, target};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [] => TARGETS.iter().for_each(|target| println!("{}", target.name)),
        [name, folder] => {
            let written = target(name)
                .ok_or_else(|| format!("no target is called {name}"))
                .and_then(|target| write(target, Path::new(folder)).map_err(|e| e.to_string()));
            if let Err(error) = written {
                eprintln!("{error}");
                return ExitCode::FAILURE;
            }
        }
        _ => return ExitCode::FAILURE,
    }
    ExitCode::SUCCESS
}

fn write(target: &Target, folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    for (number, seed) in (target.seeds)().into_iter().enumerate() {
        std::fs::write(folder.join(format!("seed-{number}")), seed)?;
    }
    Ok(())
}
