//! A process of its own because it tests the repository, not the library: the page of tutorials and the README name the
//! examples that exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The programs of the folder: its files, and its folders with a `main.rs`.
fn programs(below: &Path) -> BTreeSet<String> {
    let paths = fs::read_dir(below)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.is_file() || path.join("main.rs").is_file())
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect()
}

/// The names in backticks after "example" or "examples", in text such as "examples `a`, `b`".
fn named_examples(text: &str) -> BTreeSet<&str> {
    let mut names = BTreeSet::new();
    for after in text.split("example").skip(1) {
        let mut rest = after.trim_start_matches('s').trim_start_matches(' ');
        while let Some((name, behind)) = rest.strip_prefix('`').and_then(|at| at.split_once('`')) {
            names.insert(name);
            rest = behind.strip_prefix(", ").unwrap_or_default();
        }
    }
    names
}

#[test]
fn the_page_of_tutorials_and_the_readme_name_examples_that_exist_and_the_readme_names_all() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let programs = programs(&root.join("examples"));
    let page = fs::read_to_string(root.join("src/docs/tutorials.rs")).unwrap();
    let named = named_examples(&page);
    assert!(named.len() > 40, "the names were not found: {named:?}");
    let missing: Vec<_> = named
        .iter()
        .filter(|name| !programs.contains(**name))
        .collect();
    assert!(
        missing.is_empty(),
        "docs/tutorials names {missing:?}, which examples/ has not"
    );

    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let section = readme
        .split("\n## ")
        .find(|part| part.starts_with("Examples\n"))
        .unwrap();
    let unnamed: Vec<_> = programs
        .iter()
        .filter(|program| !section.contains(&format!("`{program}`")))
        .collect();
    assert!(
        unnamed.is_empty(),
        "the README's list of examples has no {unnamed:?}"
    );
}
