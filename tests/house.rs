//! A process of its own because it tests the source, not the library: modules keep to the order that `lib.rs` states,
//! `unsafe` stays at its addresses, files stay short.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The files that may hold `unsafe`, besides everything in `sys/`.
const UNSAFE: [&str; 3] = ["kernel/inline_fn", "kernel/task/cell", "kernel/task/waker"];

/// The most lines that a file may have, documentation and all.
const HARD_CAP: usize = 600;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn source() -> PathBuf {
    root().join("src")
}

/// Every Rust file below a folder: its path there without the extension, and its text.
fn files(below: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![below.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(below).unwrap().with_extension("");
                found.insert(
                    name.to_str().unwrap().to_owned(),
                    fs::read_to_string(path).unwrap(),
                );
            }
        }
    }
    found
}

/// Every source file: its module's path, as in `kernel/turn`, and its text.
fn modules() -> BTreeMap<String, String> {
    let found = files(&source());
    assert!(found.len() > 30, "the source was not found");
    found
}

/// The list in `lib.rs`.
fn order() -> Vec<String> {
    let lib = fs::read_to_string(source().join("lib.rs")).unwrap();
    let list = lib.split("//! order of modules\n").nth(1).unwrap();
    list.lines()
        .take_while(|line| !line.contains("```"))
        .map(|line| {
            line.trim_start_matches("//!")
                .split_whitespace()
                .next()
                .unwrap()
                .to_owned()
        })
        .collect()
}

/// A front page: essay, `mod` lines, re-exports.
fn is_front_page(module: &str) -> bool {
    module == "lib" || module.ends_with("/mod")
}

/// Code without comments and without its unit tests.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    text.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// The crate's modules that a file names, by `crate::` or `super::`.
fn named(module: &str, text: &str, order: &[String]) -> Vec<String> {
    let parent = module.rsplit_once('/').map_or("", |(parent, _)| parent);
    let code = code(text);
    let mut named = Vec::new();
    for (prefix, base) in [
        ("crate::", String::new()),
        ("super::", parent.replace('/', "::")),
    ] {
        for (position, _) in code.match_indices(prefix) {
            let preceded = code[..position].chars().next_back();
            if preceded.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '$') {
                continue;
            }
            let rest: String = code[position + prefix.len()..]
                .chars()
                .take_while(|&c| c.is_alphanumeric() || c == '_' || c == ':')
                .collect();
            let full = if base.is_empty() {
                rest
            } else {
                format!("{base}::{rest}")
            };
            let full = full.replace("::", "/");
            let target = order
                .iter()
                .filter(|known| full == **known || full.starts_with(&format!("{known}/")));
            let target = target.max_by_key(|known| known.len());
            named.push(target.cloned().unwrap_or_else(|| format!("?{full}")));
        }
    }
    named
}

#[test]
fn every_module_stands_in_the_order_once_and_nothing_else_does() {
    let mut listed = order();
    listed.sort();
    let existing: Vec<_> = modules()
        .into_keys()
        .filter(|module| !is_front_page(module))
        .collect();
    assert_eq!(listed, existing);
}

#[test]
fn a_module_imports_only_from_those_before_it() {
    let order = order();
    let place = |module: &str| order.iter().position(|known| known == module);
    let mut imports = 0;
    for (module, text) in modules()
        .iter()
        .filter(|(module, _)| !is_front_page(module))
    {
        for target in named(module, text, &order) {
            imports += 1;
            let Some(before) = place(&target) else {
                panic!("{module} names {target}, which is not in the order")
            };
            assert!(
                before < place(module).unwrap(),
                "{module} imports from {target}, which stands after it"
            );
        }
    }
    assert!(
        imports > 100,
        "only {imports} imports were found: the parser is blind"
    );
}

#[test]
fn front_pages_hold_no_logic() {
    for (module, text) in modules().iter().filter(|(module, _)| is_front_page(module)) {
        for word in ["fn ", "impl ", "static ", "let "] {
            let found = code(text)
                .lines()
                .any(|line| line.trim_start().starts_with(word));
            assert!(!found, "{module} holds a line that starts with `{word}`");
        }
        assert!(text.starts_with("//! "), "{module} has no essay");
    }
}

#[test]
fn every_module_begins_with_a_paragraph() {
    for (module, text) in modules() {
        let first = text.lines().next().unwrap();
        assert!(
            first.starts_with("//! ") && first.len() > 20,
            "{module} does not say why it exists"
        );
    }
}

#[test]
fn unsafe_code_stays_at_its_addresses() {
    for (module, text) in modules() {
        let allowed = module.starts_with("sys/") || UNSAFE.contains(&module.as_str());
        let has = ["unsafe {", "unsafe fn", "unsafe impl", "allow(unsafe_code)"]
            .iter()
            .any(|form| code(&text).contains(form));
        assert!(allowed || !has, "{module} holds unsafe code");
    }
}

#[test]
fn no_file_grows_beyond_the_hard_cap() {
    for folder in ["src", "tests", "benches", "examples"] {
        let files = files(&root().join(folder));
        assert!(files.len() > 5, "{folder} was not found");
        for (file, text) in files {
            let lines = text.lines().count();
            assert!(lines <= HARD_CAP, "{folder}/{file} has {lines} lines");
        }
    }
}

/// The files of tests that have each fault's id in a test's name, as `c4` and `p2` in `fn c4_p2_…`.
fn tests_by_fault() -> BTreeMap<String, BTreeSet<String>> {
    let mut found = BTreeMap::<_, BTreeSet<_>>::new();
    for (file, text) in files(&root().join("tests")) {
        let names = text.lines().filter_map(|line| {
            let line = line.trim_start();
            line.strip_prefix("fn ")
                .or_else(|| line.strip_prefix("async fn "))
        });
        for id in names.flat_map(|name| name.split('_').take_while(|part| is_fault_id(part))) {
            found.entry(id.to_owned()).or_default().insert(file.clone());
        }
    }
    found
}

/// A letter and a number.
fn is_fault_id(part: &str) -> bool {
    let (letter, number) = part.split_at_checked(1).unwrap_or(("", ""));
    letter.chars().all(|letter| letter.is_ascii_lowercase())
        && (1..=2).contains(&number.len())
        && number.chars().all(|digit| digit.is_ascii_digit())
}

#[test]
fn every_fault_in_a_test_s_name_stands_in_the_list_with_its_files() {
    let list = fs::read_to_string(root().join("tests/it/faults.md")).unwrap();
    let mut listed = BTreeMap::new();
    for entry in list.split("\n- **").skip(1) {
        let (id, text) = entry.split_once("**").unwrap();
        let (_, tests) = text.split_once("Tests:").expect(id);
        let files: BTreeSet<_> = tests.split('`').skip(1).step_by(2).collect();
        let again = listed.insert(id, files);
        assert!(again.is_none(), "tests/it/faults.md has {id} twice");
    }
    let tests = tests_by_fault();
    assert!(tests.len() > 50, "the tests were not found");
    for (id, files) in &tests {
        let files: BTreeSet<_> = files.iter().map(String::as_str).collect();
        let entry = listed.remove(id.as_str());
        assert_eq!(entry, Some(files), "left: the files of {id} in faults.md");
    }
    assert!(listed.is_empty(), "no test has these ids: {listed:?}");
}
