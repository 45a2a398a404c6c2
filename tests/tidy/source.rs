//! What does a rule read? A file, and its code without comments and strings.

use std::fs;
use std::path::Path;

use super::Violation;

pub(crate) struct Source {
    /// From the top of the repository, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
    /// The text without comments and strings, line by line in the same place.
    pub(crate) code: String,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        Self { path: path.into(), text: text.into(), code: mask(text) }
    }

    pub(crate) fn violation(&self, line: usize, what: impl Into<String>, fix: &str) -> Violation {
        Violation { path: self.path.clone(), line, what: what.into(), fix: fix.into() }
    }

    /// The code up to a trailing test module; nothing of a file that holds only tests.
    pub(crate) fn production_code(&self) -> &str {
        if self.path.ends_with("/tests.rs") || self.path.contains("/tests/") {
            return "";
        }
        let tests = self.code.find("\n#[cfg(test)]\nmod tests {");
        tests.map_or(&*self.code, |start| &self.code[..=start])
    }

    /// The names of the modules from the root of the crate to this file.
    pub(crate) fn module(&self) -> Vec<&str> {
        let path = self.path.trim_start_matches("src/").trim_end_matches(".rs");
        let path = path.trim_end_matches("/mod");
        if path == "lib" { Vec::new() } else { path.split('/').collect() }
    }
}

pub(crate) fn read_all(folders: &[&str]) -> Vec<Source> {
    let mut sources = Vec::new();
    for folder in folders {
        read_folder(Path::new("."), folder, &mut sources);
    }
    sources
}

/// Reads the Rust files below a folder; there need not be such a folder.
fn read_folder(root: &Path, folder: &str, sources: &mut Vec<Source>) {
    let Ok(entries) = fs::read_dir(root.join(folder)) else { return };
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("a folder can be listed").file_name())
        .map(|name| name.into_string().expect("names of files are ASCII"))
        .collect();
    names.sort_unstable();
    for name in names {
        let path = format!("{folder}/{name}");
        if root.join(&path).is_dir() {
            read_folder(root, &path, sources);
        } else if Path::new(&name).extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(root.join(&path)).expect("a source is UTF-8");
            sources.push(Source::new(&path, &text));
        }
    }
}

/// Blanks comments, and turns literals of text into underscores; every newline stays.
pub(crate) fn mask(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (length, fill) = if rest.starts_with("//") {
            (rest.find('\n').unwrap_or(rest.len()), Some(' '))
        } else if rest.starts_with("/*") {
            (block_comment(rest), Some(' '))
        } else if let Some(length) = literal(rest) {
            (length, Some('_'))
        } else {
            (first.len_utf8(), None)
        };
        let (token, after) = rest.split_at(length);
        code.extend(token.chars().map(|c| if c == '\n' { c } else { fill.unwrap_or(c) }));
        rest = after;
    }
    code
}

/// The length of a block comment, which can hold others.
fn block_comment(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        let (step, change) = match rest {
            [b'/', b'*', ..] => (2, 1),
            [b'*', b'/', ..] => (2, -1),
            _ => (1, 0),
        };
        at += step;
        depth = depth.saturating_add_signed(change);
        if depth == 0 {
            break;
        }
    }
    at
}

/// The length of the string or character that starts here, if one does.
fn literal(text: &str) -> Option<usize> {
    match text.as_bytes() {
        [b'r', b'"' | b'#', ..] => raw_string(text),
        [b'"', ..] => Some(1 + quoted(&text[1..], '"')),
        [b'\'', b'\\', ..] => Some(1 + quoted(&text[1..], '\'')),
        // Else it is a lifetime.
        [b'\'', ..] => {
            let character = text[1..].chars().next()?.len_utf8();
            text[1 + character..].starts_with('\'').then_some(character + 2)
        }
        _ => None,
    }
}

fn raw_string(text: &str) -> Option<usize> {
    let hashes = text[1..].bytes().take_while(|&byte| byte == b'#').count();
    let body = text[1 + hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    Some(2 + hashes + body.find(&end).map_or(body.len(), |at| at + end.len()))
}

/// The length up to and with the closing quote.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The places where `word` stands and is not a part of a longer word.
pub(crate) fn find_word<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    text.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        let before = text[..at].bytes().next_back();
        let after = text[at + word.len()..].bytes().next();
        let last = word.bytes().next_back();
        let goes_on = last.is_some_and(is_word) && after.is_some_and(is_word);
        !before.is_some_and(is_word) && !goes_on
    })
}

pub(crate) fn identifier(text: &str) -> &str {
    &text[..text.bytes().take_while(|&byte| is_word(byte)).count()]
}

pub(crate) fn line_of(text: &str, at: usize) -> usize {
    1 + text[..at].bytes().filter(|&byte| byte == b'\n').count()
}

pub(crate) fn code_lines(code: &str) -> usize {
    code.lines().filter(|line| !line.trim().is_empty()).count()
}
