//! Does each rule fire on what it forbids, and on nothing else?

use super::source::mask;
use super::*;

fn sample(path: &str, text: &str) -> Source {
    Source::new(path, text)
}

fn lines_found(found: impl IntoIterator<Item = Violation>) -> Vec<usize> {
    found.into_iter().map(|violation| violation.line).collect()
}

#[test]
fn mask_keeps_code_and_lines_only() {
    let text = "a /* b /* c */ \n d */ e // f\n\"g\\\"h\" 'i' '\\'' &'j k r#\"l\"m\"# n";
    assert_eq!(mask(text), "a              \n      e     \n______ ___ ____ &'j k ________ n");
}

#[test]
fn long_and_foreign_lines_are_found() {
    let text = format!("{}\n{}\nna\u{ef}ve\n", "x".repeat(100), "x".repeat(101));
    assert_eq!(lines_found(lines(&sample("src/a.rs", &text))), [2, 3]);
}

#[test]
fn banned_words_are_found_as_whole_words() {
    let bad: Vec<String> =
        BANNED_WORDS.iter().map(|word| format!("// {}", word.replace('#', "7"))).collect();
    let good = "// nothing for nowhere\n// MASTODON\n// Task a";
    let found = words(&sample("src/a.rs", &format!("{}\n{good}", bad.join("\n"))));
    assert_eq!(lines_found(found), [1, 2, 3, 4]);
}

#[test]
fn modules_without_a_subject_are_found() {
    let text = "mod commit;\n// mod utils;\nmod utils;\npub(crate) mod manager {}\n";
    assert_eq!(lines_found(module_names(&sample("src/a.rs", text))), [3, 4]);
}

fn function_of(lines: usize) -> String {
    let body = "    // why\n\n    step();\n".repeat(lines - 3);
    format!("fn long(f: fn(u8) -> [u8; 2])\n{{{}}}\n", body.trim_start())
}

#[test]
fn long_functions_are_found_and_comments_do_not_count() {
    let text = format!("trait T {{ fn a(&self); }}\n{}{}", function_of(70), function_of(71));
    let code = mask(&text);
    let found = functions(&code);
    assert_eq!(found.iter().map(|f| f.lines).collect::<Vec<_>>(), [70, 71]);
    assert_eq!(long_functions(&sample("src/a.rs", &text)).len(), 1);
}

#[test]
fn too_many_longer_functions_are_found() {
    let nine = "fn short() {}\n".repeat(9);
    let rare = sample("src/a.rs", &format!("{nine}{}", function_of(31)));
    assert!(usual_length(&[rare]).is_empty());
    let text = format!("{nine}{0}{0}", function_of(31));
    assert_eq!(usual_length(&[sample("src/a.rs", &text)]).len(), 2);
}

#[test]
fn long_files_are_found_without_their_tests() {
    let tests = format!("\n#[cfg(test)]\nmod tests {{\n{}}}\n", "a();\n".repeat(600));
    let fits = format!("{}{tests}", "a();\n// why\n\n".repeat(500));
    assert!(long_file(&sample("src/a.rs", &fits)).is_none());
    assert!(long_file(&sample("src/a.rs", &"a();\n".repeat(501))).is_some());
    assert!(long_file(&sample("src/a/tests.rs", &"a();\n".repeat(501))).is_some());
}

#[test]
fn owned_names_are_found_elsewhere() {
    let text = "use rdkafka::x;\nuse rocksdb::DB;\nuse self::rocksdb::Ours;\n// rdkafka\n\
                Instant::now();\nstd::thread::spawn(f);\nuse std::time::SystemTime;\n\
                let my_rdkafka = 1;\n";
    assert_eq!(lines_found(owners(&sample("src/task/a.rs", text))), [1, 2, 5, 6]);
    assert_eq!(lines_found(owners(&sample("src/kafka/a.rs", text))), [2, 5, 6]);
}

fn layer_lines(path: &str, text: &str) -> Vec<usize> {
    let names = root_names("pub use dsl::{KStream, KTable as Table};\npub use error::Error;");
    lines_found(layers(&sample(path, text), &names))
}

#[test]
fn a_use_of_a_layer_above_is_found() {
    let text = "use crate::state::Store;\nuse crate::dsl::X;\nuse crate::time::Clock;\n\
                use crate::{log::Log, runtime::{App, Turn}};\nfn f(x: crate::KStream) {}\n\
                fn g(e: crate::Error) {}\nuse super::super::query::Q;\nuse super::query::Q;\n";
    assert_eq!(layer_lines("src/task/active.rs", text), [2, 4, 5, 7]);
}

#[test]
fn dsl_and_task_do_not_meet() {
    assert_eq!(layer_lines("src/dsl/mod.rs", "use super::task::X;\n"), [1]);
    assert_eq!(layer_lines("src/task/mod.rs", "use crate::dsl::X;\n"), [1]);
}

#[test]
fn base_types_use_nothing_above_them() {
    assert_eq!(layer_lines("src/topic.rs", "use crate::serde::S;\nuse crate::log::L;\n"), [2]);
}

#[test]
fn modules_without_a_layer_are_found() {
    assert_eq!(layer_lines("src/novel.rs", "use crate::log::L;\n"), [1]);
    assert_eq!(layer_lines("src/state/mod.rs", "use crate::novel::N;\n"), [1]);
}

#[test]
fn tests_may_use_any_layer() {
    let text = "fn a() {}\n\n#[cfg(test)]\nmod tests {\n    use crate::testing::Driver;\n}\n";
    assert!(layer_lines("src/window/time.rs", text).is_empty());
    assert!(layer_lines("src/window/tests.rs", "use crate::testing::Driver;\n").is_empty());
}

#[test]
fn strangers_and_gaps_at_the_top_level_are_found() {
    let all = TOP_LEVEL.join("\n");
    assert!(top_level(&format!("{all}\n.ci/run\nsrc/lib.rs")).is_empty());
    assert_eq!(top_level(&format!("{all}\nnotes.md")).len(), 1);
    assert_eq!(top_level(&all.replace("README.md\n", "")).len(), 1);
}

#[test]
fn an_exception_spares_its_place_and_must_be_needed() {
    let exceptions = [("line", "src/a.rs", "why"), ("line", "src/b.rs", "why")];
    let long = sample("src/a.rs", &"x".repeat(101));
    let problems = after_exceptions("line", &exceptions, lines(&long));
    assert_eq!(problems, ["src/b.rs: needs no exception any more"]);
    assert_eq!(after_exceptions("line", &[], lines(&long)).len(), 1);
}
