//! Pages of the documentation that list something are complete: every public error has its row, and the tests that a page
//! names exist. `events_listed` holds the page of events.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the text of every file of Rust below `folder`.
fn texts(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            found.extend(texts(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(fs::read_to_string(&path).unwrap());
        }
    }
    found
}

#[test]
fn every_public_error_is_on_its_page() {
    let api = fs::read_to_string(root().join("tests/api.txt")).unwrap();
    let page = fs::read_to_string(root().join("src/docs/errors.rs")).unwrap();
    let names = api.lines().filter_map(|line| {
        let (_, name) = line.split_once("core::error::Error for callsoon::")?;
        name.split('<').next()?.rsplit("::").next()
    });
    let names: BTreeSet<_> = names.collect();
    assert!(names.len() > 30, "the errors were not found: {names:?}");
    let left = names.iter().filter(|name| {
        !page.contains(&format!("`{name}`")) && !page.contains(&format!("::{name}`"))
    });
    let left: Vec<_> = left.collect();
    assert!(left.is_empty(), "not in docs/errors: {left:?}");
}

#[test]
fn every_test_that_the_page_of_system_errors_names_is_there() {
    let page = fs::read_to_string(root().join("src/docs/system_errors.rs")).unwrap();
    let tests = texts(&root().join("tests"));
    let rows = page.lines().filter(|line| line.starts_with("//! | "));
    let named: BTreeSet<_> = rows
        .skip(1)
        .filter_map(|row| row.trim_end_matches(" |").rsplit_once("| "))
        .filter_map(|(_, last)| last.strip_prefix('`')?.strip_suffix('`'))
        .collect();
    assert!(named.len() > 10, "the page was not understood");
    for name in named {
        let there = |text: &String| text.contains(&format!("fn {name}("));
        assert!(tests.iter().any(there), "no test is called {name}");
    }
}
