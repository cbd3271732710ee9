//! Reads JSON on stdin and holds the crate to it; `.ci/run` calls it in the steps `api` and `licences`.
//!
//! - `api`: the public API, one item a line, against a snapshot
//! - `render`: types and generics as text
//! - `licences`: the licences of a dependency tree

mod api;
mod licences;
mod render;

use std::io::Read;
use std::process::ExitCode;

use serde_json::Value;

/// Why the program ends early.
type Failure = Box<dyn std::error::Error>;

const USAGE: &str = "\
audit api SNAPSHOT            rustdoc's JSON on stdin: compares the public API with the file
audit api SNAPSHOT --write    writes the file
audit licences                `cargo metadata` on stdin: names each crate whose licence is not allowed
";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("audit: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["api", snapshot] => api::compare(&input()?, snapshot),
        ["api", snapshot, "--write"] => api::write(&input()?, snapshot),
        ["licences"] => licences::check(&input()?),
        _ => Err(USAGE.into()),
    }
}

fn input() -> Result<Value, Failure> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    Ok(serde_json::from_str(&text)?)
}
