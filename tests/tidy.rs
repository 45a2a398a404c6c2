//! Is the code in the style that it claims?
//!
//! What a reviewer would have to repeat is a test here: sizes, words, who may name what, and which
//! module may use which. A violation is printed with its place, its rule and the way out.
//!
//! The rules read text, not syntax trees: `source::mask` blanks comments and strings first, so a
//! rule on code does not fire on prose. `samples` shows each rule firing on a bad sample.
//!
//! # Invariants
//!
//! - A rule is loosened for one place only, by a line of [`EXCEPTIONS`] that says why.
//! - An exception that nothing needs any more is a violation itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::process::Command;

use source::{Source, code_lines, find_word, identifier, line_of, read_all};

#[path = "tidy/samples.rs"]
mod samples;
#[path = "tidy/source.rs"]
mod source;

const COLUMNS_MAX: usize = 100;
const FUNCTION_LINES_MAX: usize = 70;
const FUNCTION_LINES_USUAL: usize = 30;
const FUNCTIONS_USUAL_PERCENT: usize = 90;
const FILE_LINES_MAX: usize = 500;

/// Places that a rule spares: rule, path, reason.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("layer", "src/config.rs", "the group protocol is a setting, and the log port names it"),
    ("layer", "src/error.rs", "errors carry the partition and the window they speak of"),
    ("owner", "src/state/backend/mod.rs", "hands out the backend that its own submodule defines"),
];

/// Written in two halves, so that this file does not violate its own rule.
const BANNED_WORDS: &[&str] =
    &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("for", " now"), concat!("Task", " #")];

const BANNED_MODULES: &[&str] = &["util", "utils", "helper", "helpers", "manager", "misc"];

/// What only some places of `src` may name, the places, and the way out.
const OWNERS: &[(&str, &[&str], &str)] = &[
    ("rdkafka", &["src/kafka/", "src/kafka.rs"], "go through the ports of `log` and `group`"),
    ("rdkafka_sys", &["src/kafka/", "src/kafka.rs"], "go through the ports of `log` and `group`"),
    ("rocksdb::", &["src/state/backend/rocksdb.rs"], "go through the port in `state::backend`"),
    ("SystemTime::now", &["src/time.rs"], "take a `time::Clock`"),
    ("Instant::now", &["src/time.rs"], "take a `time::Clock`"),
    ("thread::spawn", &["src/spawn.rs"], "start it with `spawn::spawn_named`"),
    ("thread::Builder", &["src/spawn.rs"], "start it with `spawn::spawn_named`"),
    ("thread::scope", &["src/spawn.rs"], "start it with `spawn::spawn_named`"),
];

const BASE: &[&str] = &["record", "time", "serde", "topic", "error", "security", "config", "spawn"];

/// Which modules a module may use besides [`BASE`] and itself, from the bottom to the top.
///
/// What `runtime` may use, `query`, `testing` and `fuzzing` may use too; `lib.rs` may use
/// everything.
const LAYERS: &[(&str, &[&str])] = &[
    ("metrics", &[]),
    ("window", &[]),
    ("topology", &["log"]),
    ("log", &[]),
    ("state", &["window", "topology", "log"]),
    ("operator", &["window", "topology", "log", "state"]),
    ("processor", &["window", "topology", "log", "state", "operator"]),
    ("dsl", &["window", "topology", "state", "operator", "processor"]),
    ("task", &["window", "topology", "log", "metrics", "state", "operator"]),
    ("group", &["topology", "log"]),
    ("kafka", &["log"]),
    ("runtime", BELOW_RUNTIME),
    ("query", ALL_BUT_TESTING),
    ("testing", ALL_BUT_TESTING),
    ("fuzzing", ALL_BUT_TESTING),
];

#[rustfmt::skip]
const BELOW_RUNTIME: &[&str] = &[
    "window", "topology", "log", "metrics", "state", "operator", "processor", "dsl", "task",
    "group", "kafka",
];

#[rustfmt::skip]
const ALL_BUT_TESTING: &[&str] = &[
    "window", "topology", "log", "metrics", "state", "operator", "processor", "dsl", "task",
    "group", "kafka", "runtime", "query",
];

/// Besides hidden files, the top level holds exactly these.
#[rustfmt::skip]
const TOP_LEVEL: &[&str] = &[
    "CHANGELOG.md", "Cargo.lock", "Cargo.toml", "LICENSE", "README.md", "benches", "examples",
    "src", "tests",
];

// --- the rules as tests --------------------------------------------------------------------------

#[test]
fn lines_are_short_and_ascii() {
    assert_tidy("line", read_all(&["src", "tests", "examples", "benches"]).iter().flat_map(lines));
}

#[test]
fn nothing_is_left_for_another_day() {
    assert_tidy("word", read_all(&["src", "tests", "examples", "benches"]).iter().flat_map(words));
}

#[test]
fn modules_are_named_for_what_they_answer() {
    let sources = read_all(&["src", "tests", "examples", "benches"]);
    assert_tidy("module name", sources.iter().flat_map(module_names));
}

#[test]
fn functions_are_short() {
    let sources = read_all(&["src", "tests", "examples", "benches"]);
    assert_tidy("function length", sources.iter().flat_map(long_functions));
}

#[test]
fn most_functions_are_very_short() {
    assert_tidy("usual length", usual_length(&read_all(&["src"])));
}

#[test]
fn files_hold_one_idea() {
    assert_tidy("file length", read_all(&["src"]).iter().filter_map(long_file));
}

#[test]
fn only_the_owner_names_it() {
    assert_tidy("owner", read_all(&["src"]).iter().flat_map(owners));
}

#[test]
fn modules_use_only_layers_below() {
    let sources = read_all(&["src"]);
    let root = sources.iter().find(|source| source.path == "src/lib.rs");
    let names = root_names(&root.expect("a library has a root").code);
    assert_tidy("layer", sources.iter().flat_map(|source| layers(source, &names)));
}

#[test]
fn the_top_level_is_fixed() {
    let output = Command::new("git").args(["ls-files"]).output().expect("git is installed");
    assert!(output.status.success(), "git ls-files: {}", String::from_utf8_lossy(&output.stderr));
    assert_tidy("top level", top_level(&String::from_utf8_lossy(&output.stdout)));
}

// --- violations ----------------------------------------------------------------------------------

#[derive(Debug)]
struct Violation {
    path: String,
    line: usize,
    what: String,
    fix: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}; {}", self.path, self.line, self.what, self.fix)
    }
}

fn assert_tidy(rule: &str, found: impl IntoIterator<Item = Violation>) {
    let problems = after_exceptions(rule, EXCEPTIONS, found);
    assert!(
        problems.is_empty(),
        "{} violations of rule `{rule}`:\n{}",
        problems.len(),
        problems.join("\n")
    );
}

/// What stays of the violations of one rule, and the exceptions that have lost their reason.
fn after_exceptions(
    rule: &str,
    exceptions: &[(&str, &str, &str)],
    found: impl IntoIterator<Item = Violation>,
) -> Vec<String> {
    let mut unused: BTreeSet<&str> =
        exceptions.iter().filter(|(of, ..)| *of == rule).map(|(_, path, _)| *path).collect();
    let spared = unused.clone();
    let mut problems = Vec::new();
    for violation in found {
        unused.remove(violation.path.as_str());
        if !spared.contains(violation.path.as_str()) {
            problems.push(violation.to_string());
        }
    }
    problems.extend(unused.iter().map(|path| format!("{path}: needs no exception any more")));
    problems
}

// --- lines, words, names -------------------------------------------------------------------------

fn lines(source: &Source) -> Vec<Violation> {
    let mut found = Vec::new();
    for (number, line) in (1..).zip(source.text.lines()) {
        let columns = line.chars().count();
        if columns > COLUMNS_MAX {
            found.push(source.violation(number, format!("{columns} columns"), "break the line"));
        }
        if let Some(c) = line.chars().find(|c| !c.is_ascii()) {
            let what = format!("`{}` is not ASCII", c.escape_unicode());
            found.push(source.violation(number, what, "spell it in ASCII"));
        }
    }
    found
}

fn words(source: &Source) -> Vec<Violation> {
    let mut found = Vec::new();
    for (number, line) in (1..).zip(source.text.lines()) {
        // A number that stands for any number.
        let plain: String =
            line.chars().map(|c| if c.is_ascii_digit() { '#' } else { c }).collect();
        for word in BANNED_WORDS {
            if find_word(&plain, word).next().is_some() {
                let fix = "do it, or take it out: what stays must explain itself";
                found.push(source.violation(number, format!("says `{word}`"), fix));
            }
        }
    }
    found
}

fn module_names(source: &Source) -> Vec<Violation> {
    let mut found = Vec::new();
    for at in find_word(&source.code, "mod") {
        let name = identifier(source.code[at + 3..].trim_start());
        if BANNED_MODULES.contains(&name) {
            let fix = "name it for the question that it answers";
            let line = line_of(&source.code, at);
            found.push(source.violation(line, format!("module `{name}`"), fix));
        }
    }
    found
}

// --- sizes ---------------------------------------------------------------------------------------

struct Function<'a> {
    name: &'a str,
    line: usize,
    /// With its signature, without blank lines and comments.
    lines: usize,
}

fn functions(code: &str) -> Vec<Function<'_>> {
    let mut found = Vec::new();
    for at in find_word(code, "fn") {
        let name = identifier(code[at + 2..].trim_start());
        if name.is_empty() {
            continue;
        }
        if let Some(length) = function_length(&code[at..]) {
            let lines = code_lines(&code[at..at + length]);
            found.push(Function { name, line: line_of(code, at), lines });
        }
    }
    found
}

/// From `fn` to the brace that closes the body; `None` for a declaration.
fn function_length(code: &str) -> Option<usize> {
    let mut brackets = 0_i32;
    let mut braces = 0_i32;
    for (at, byte) in code.bytes().enumerate() {
        match byte {
            b'(' | b'[' => brackets += 1,
            b')' | b']' => brackets -= 1,
            b';' if brackets == 0 && braces == 0 => return None,
            b'{' if brackets == 0 || braces > 0 => braces += 1,
            b'}' if braces > 0 => {
                braces -= 1;
                if braces == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}

fn long_functions(source: &Source) -> Vec<Violation> {
    let mut found = Vec::new();
    for Function { name, line, lines } in functions(&source.code) {
        if lines > FUNCTION_LINES_MAX {
            let what = format!("`{name}` has {lines} lines, {FUNCTION_LINES_MAX} are allowed");
            found.push(source.violation(line, what, "split it at the idea"));
        }
    }
    found
}

/// Names the longer functions if there are too many of them; tests do not count.
fn usual_length(sources: &[Source]) -> Vec<Violation> {
    let mut count = 0;
    let mut longer = Vec::new();
    for source in sources {
        for Function { name, line, lines } in functions(source.production_code()) {
            count += 1;
            if lines > FUNCTION_LINES_USUAL {
                let what = format!("`{name}` has {lines} lines");
                longer.push(source.violation(line, what, "split it at the idea"));
            }
        }
    }
    let short_enough = (count - longer.len()) * 100 >= count * FUNCTIONS_USUAL_PERCENT;
    if short_enough { Vec::new() } else { longer }
}

fn long_file(source: &Source) -> Option<Violation> {
    let code = match source.production_code() {
        "" => &source.code,
        code => code,
    };
    let lines = code_lines(code);
    let what = format!("{lines} lines of code, {FILE_LINES_MAX} are allowed");
    (lines > FILE_LINES_MAX).then(|| source.violation(1, what, "give the second idea its own file"))
}

// --- who may name what ---------------------------------------------------------------------------

fn owners(source: &Source) -> Vec<Violation> {
    let mut found = Vec::new();
    for &(name, places, fix) in OWNERS {
        if places.iter().any(|place| source.path.starts_with(place)) {
            continue;
        }
        for at in find_word(&source.code, name) {
            // `self::rocksdb::` is our module, `rocksdb::` is the crate.
            let is_ours = name.ends_with("::") && source.code[..at].ends_with("self::");
            // `dep::rdkafka` in an attribute is a string, and masked.
            if !is_ours {
                let line = line_of(&source.code, at);
                let what = format!("`{name}` belongs to {}", places[0]);
                found.push(source.violation(line, what, fix));
            }
        }
    }
    found
}

// --- layers --------------------------------------------------------------------------------------

/// Which module each name comes from that `lib.rs` re-exports at the root.
fn root_names(code: &str) -> BTreeMap<&str, &str> {
    let mut names = BTreeMap::new();
    for at in find_word(code, "pub use") {
        let statement = &code[at + "pub use".len()..];
        let statement = &statement[..statement.find(';').unwrap_or(statement.len())];
        let mut parts = statement
            .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .filter(|part| !part.is_empty() && !["crate", "self"].contains(part));
        let Some(module) = parts.next() else { continue };
        names.extend(parts.map(|name| (name, module)));
    }
    names
}

/// What a file may not use, given what `lib.rs` re-exports; tests may use everything.
fn layers(source: &Source, root_names: &BTreeMap<&str, &str>) -> Vec<Violation> {
    let module = source.module();
    let Some(&own) = module.first() else { return Vec::new() };
    let code = source.production_code();
    let mut found = Vec::new();
    for (at, name) in root_uses(code, module.len()) {
        let used = root_names.get(name).copied().unwrap_or(name);
        if let Some((what, fix)) = layer_problem(own, used) {
            found.push(source.violation(line_of(code, at), what, fix));
        }
    }
    found
}

fn layer_problem(own: &str, used: &str) -> Option<(String, &'static str)> {
    let allowed = |module: &str| LAYERS.iter().find(|(name, _)| *name == module);
    if own == used || BASE.contains(&used) {
        return None;
    }
    match allowed(own) {
        _ if allowed(used).is_none() => {
            Some((format!("`crate::{used}` has no layer"), "place it in `LAYERS` of tests/tidy.rs"))
        }
        Some((_, modules)) if modules.contains(&used) => None,
        Some(_) => {
            Some((format!("`{own}` may not use `{used}`"), "turn it round, or through a port"))
        }
        None if BASE.contains(&own) => {
            Some((format!("`{own}` is a base type and uses `{used}`"), "move the code up"))
        }
        None => Some((format!("`{own}` has no layer"), "place it in `LAYERS` of tests/tidy.rs")),
    }
}

/// What is named below the root of the crate: `crate::a`, `crate::{a, b::c}`, and `super::a` in a
/// file as deep as there are `super`s.
fn root_uses(code: &str, depth: usize) -> Vec<(usize, &str)> {
    let upwards = "super::".repeat(depth);
    let from_root = find_word(code, "crate::").map(|at| (at, at + "crate::".len()));
    let from_here = find_word(code, &upwards)
        .filter(|&at| !code[..at].ends_with("::"))
        .map(|at| (at, at + upwards.len()))
        .filter(|&(_, end)| !code[end..].starts_with("super::"));
    let mut uses = Vec::new();
    for (at, end) in from_root.chain(from_here) {
        let names = first_names(&code[end..]);
        uses.extend(names.into_iter().map(|name| (at, name)));
    }
    uses
}

/// The first identifier of a path, or of each path of a group in braces.
fn first_names(path: &str) -> Vec<&str> {
    let Some(group) = path.strip_prefix('{') else { return vec![identifier(path)] };
    let mut names = Vec::new();
    let mut depth = 0_usize;
    let mut is_start = true;
    for (at, c) in group.char_indices() {
        match c {
            '}' if depth == 0 => break,
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => is_start = true,
            c if is_start && !c.is_whitespace() => {
                names.push(identifier(&group[at..]));
                is_start = false;
            }
            _ => {}
        }
    }
    names
}

// --- top level -----------------------------------------------------------------------------------

/// Compares what git tracks, one path per line, with [`TOP_LEVEL`].
fn top_level(tracked: &str) -> Vec<Violation> {
    let found: BTreeSet<&str> = tracked
        .lines()
        .map(|path| path.split('/').next().expect("splitting gives one part at least"))
        .filter(|name| !name.starts_with('.'))
        .collect();
    let wanted: BTreeSet<&str> = TOP_LEVEL.iter().copied().collect();
    let violation = |name: &&str, what: &str, fix: &str| Violation {
        path: (*name).into(),
        line: 1,
        what: what.into(),
        fix: fix.into(),
    };
    let unknown = found.difference(&wanted);
    let missing = wanted.difference(&found);
    unknown
        .map(|name| violation(name, "stands at the top level", "move it into a folder or hide it"))
        .chain(missing.map(|name| violation(name, "is missing at the top level", "add it")))
        .collect()
}
