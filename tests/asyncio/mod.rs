//! The same programs for asyncio and for callsoon, compared line by line.
//!
//! Each program is written twice, side by side. Where Rust or this crate's rules force a difference, the program says
//! why, and then the two must differ: a reason that no longer holds fails the test too. Without a `python3` of 3.11.7 or
//! newer the test says so and compares nothing: 3.11.2 still differs in a clean-up inside a timeout, and in a read that
//! never ends.

use std::future::Future;
use std::pin::Pin;
use std::process::Command;

pub(crate) type Running = Pin<Box<dyn Future<Output = ()>>>;

/// One program, twice. `L` is the loop that the Rust side uses.
pub(crate) struct Program<L> {
    pub(crate) name: &'static str,
    /// Why the two differ, where they do.
    pub(crate) differs: Option<&'static str>,
    pub(crate) python: &'static str,
    pub(crate) rust: fn(L) -> Running,
}

/// Writes a program down: its name, why it differs if it does, asyncio's words, ours.
macro_rules! program {
    ($name:literal, $(differs: $why:literal,)? $python:literal, $rust:expr $(,)?) => {
        $crate::asyncio::Program {
            name: $name,
            differs: None$(.or(Some($why)))?,
            python: $python,
            rust: |log| Box::pin($rust(log)),
        }
    };
}
pub(crate) use program;

/// A truth in Python's words.
pub(crate) fn python_bool(so: bool) -> &'static str {
    if so { "True" } else { "False" }
}

/// What `python3` does with a script, if there is one.
fn python(script: &str) -> std::io::Result<std::process::Output> {
    Command::new("python3")
        .args(["-W", "error", "-c", script])
        .output()
}

/// The traces of all programs, by asyncio; `None` without a Python whose asyncio is the one that is compared with.
fn by_asyncio<L>(prelude: &str, programs: &[Program<L>]) -> Option<Vec<Vec<String>>> {
    let mut script = prelude.to_owned();
    for (number, program) in programs.iter().enumerate() {
        script += &format!("async def program_{number}():\n");
        for line in program.python.lines() {
            script += &format!("    {line}\n");
        }
    }
    for number in 0..programs.len() {
        script += &format!("print('== {number}')\nrun(program_{number})\n");
    }
    if !python("import sys; assert sys.version_info >= (3, 11, 7)")
        .is_ok_and(|output| output.status.success())
    {
        return None;
    }
    let output = python(&script).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{errors}");
    let text = String::from_utf8(output.stdout).unwrap();
    let told = |trace: &str| trace.lines().skip(1).map(str::to_owned).collect();
    Some(text.split("== ").skip(1).map(told).collect())
}

/// Runs all programs on both sides: there by the `run` of the prelude, which knows how a program of its kind is run and
/// what they have in common, here by `by_callsoon`.
pub(crate) fn compare<L>(
    prelude: &str,
    programs: &[Program<L>],
    by_callsoon: impl Fn(&Program<L>) -> Vec<String>,
) {
    let Some(theirs) = by_asyncio(prelude, programs) else {
        println!("skipped: no python3 of version 3.11.7 or newer");
        return;
    };
    assert_eq!(theirs.len(), programs.len());
    let mut wrong = Vec::new();
    for (program, theirs) in programs.iter().zip(theirs) {
        assert!(!theirs.is_empty(), "{}: says nothing", program.name);
        let ours = by_callsoon(program);
        if (ours == theirs) == program.differs.is_some() {
            let why = program.differs.unwrap_or("they should not differ");
            let name = program.name;
            wrong.push(format!(
                "{name} ({why})\n  asyncio:  {theirs:?}\n  callsoon: {ours:?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
