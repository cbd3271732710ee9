//! The licences and sources of a dependency tree, as `cargo metadata` says it: each crate must offer an allowed licence, and
//! come from crates.io.

use serde_json::Value;

use crate::Failure;

/// Licences that ask no more of a program than to name the authors. `Unicode-3.0` is that of tables of characters.
const ALLOWED: &[&str] = &[
    "MIT",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// What Cargo calls crates.io.
const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Names each crate that is not allowed.
pub fn check(metadata: &Value) -> Result<(), Failure> {
    let packages = metadata["packages"].as_array().ok_or("no packages")?;
    let mut refused = Vec::new();
    for package in packages {
        let name = format!("{} {}", text(package, "name"), text(package, "version"));
        match package["license"].as_str() {
            Some(licence) if allows(licence).map_err(|why| format!("{name}: {why}"))? => {}
            Some(licence) => refused.push(format!("{name}: {licence}")),
            None => refused.push(format!("{name}: it states no SPDX expression")),
        }
    }
    refused.extend(packages.iter().filter_map(from_elsewhere));
    println!("{} crates, all features and all systems", packages.len());
    if refused.is_empty() {
        return Ok(());
    }
    Err(format!(
        "licences or sources that are not allowed:\n{}",
        refused.join("\n")
    )
    .into())
}

/// Says where a package comes from, unless that is crates.io or this repository.
fn from_elsewhere(package: &Value) -> Option<String> {
    let source = package["source"].as_str()?;
    (source != CRATES_IO).then(|| format!("{}: from {source}", text(package, "name")))
}

fn text<'a>(package: &'a Value, key: &str) -> &'a str {
    package[key].as_str().unwrap_or("?")
}

/// Whether an SPDX expression can be met by allowed licences. `A/B`, which crates.io once had, means `A OR B`.
fn allows(expression: &str) -> Result<bool, Failure> {
    let spaced = expression
        .replace('(', " ( ")
        .replace(')', " ) ")
        .replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = &words[..];
    let allowed = any(&mut rest)?;
    if rest.is_empty() {
        Ok(allowed)
    } else {
        Err(format!("{expression} is no SPDX expression").into())
    }
}

/// `all OR all OR …`
fn any(words: &mut &[&str]) -> Result<bool, Failure> {
    let mut allowed = all(words)?;
    while take(words, "OR") {
        allowed |= all(words)?;
    }
    Ok(allowed)
}

/// `one AND one AND …`
fn all(words: &mut &[&str]) -> Result<bool, Failure> {
    let mut allowed = one(words)?;
    while take(words, "AND") {
        allowed &= one(words)?;
    }
    Ok(allowed)
}

/// A licence, with its exception if it has one, or an expression in parentheses.
fn one(words: &mut &[&str]) -> Result<bool, Failure> {
    if take(words, "(") {
        let allowed = any(words)?;
        return if take(words, ")") {
            Ok(allowed)
        } else {
            Err("a parenthesis is not closed".into())
        };
    }
    let (licence, rest) = words.split_first().ok_or("an expression ends early")?;
    *words = rest;
    let mut licence = (*licence).to_owned();
    if take(words, "WITH") {
        let (exception, rest) = words.split_first().ok_or("an exception is missing")?;
        *words = rest;
        licence = format!("{licence} WITH {exception}");
    }
    Ok(ALLOWED.contains(&licence.as_str()))
}

fn take(words: &mut &[&str], word: &str) -> bool {
    let found = words.first() == Some(&word);
    if found {
        *words = &words[1..];
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{CRATES_IO, allows, check, from_elsewhere};

    #[test]
    fn an_expression_is_allowed_if_allowed_licences_meet_it() {
        for (expression, allowed) in [
            ("MIT", true),
            ("GPL-3.0-only", false),
            ("GPL-3.0-only OR MIT", true),
            ("GPL-3.0-only AND MIT", false),
            ("MIT/Apache-2.0", true),
            ("(MIT OR GPL-3.0-only) AND Unicode-3.0", true),
            ("(MIT OR Apache-2.0) AND GPL-3.0-only", false),
            ("Apache-2.0 WITH LLVM-exception", true),
            ("MIT WITH Classpath-exception-2.0", false),
            ("GPL-3.0-only OR MIT AND ISC", true),
            ("GPL-3.0-only AND MIT OR GPL-2.0-only", false),
        ] {
            assert_eq!(allows(expression).unwrap(), allowed, "{expression}");
        }
    }

    #[test]
    fn a_crate_comes_from_crates_io_or_this_repository() {
        let from =
            |source| json!({ "name": "a", "version": "1.0.0", "license": "MIT", "source": source });
        assert_eq!(from_elsewhere(&from(Some(CRATES_IO))), None);
        assert_eq!(from_elsewhere(&from(None)), None);
        let git = from(Some("git+https://example.com/a"));
        assert!(check(&json!({ "packages": [git] })).is_err());
        assert!(check(&json!({ "packages": [from(None)] })).is_ok());
    }

    #[test]
    fn what_is_no_expression_is_refused_with_its_reason() {
        for expression in ["", "MIT OR", "(MIT", "MIT MIT", "MIT WITH", "MIT)"] {
            assert!(allows(expression).is_err(), "{expression}");
        }
    }
}
