//! A process of its own, because it starts Python: the same network programs for asyncio and for callsoon, told line by line.
//!
//! Each program is written twice, side by side; its peer is a plain blocking socket on both sides, so that what is said is
//! what this end is told. Where Rust or this crate's rules force a difference, the program says why, and then the two must
//! differ. Without a `python3` of 3.11 or newer it says so and compares nothing.

#[expect(dead_code, unused_imports, reason = "a part of it is needed here")]
#[path = "../it/support/mod.rs"]
mod support;

mod calls;
mod ends;
mod flow;

use std::future::Future;
use std::io::Read as _;
use std::net::TcpStream as StdStream;
use std::pin::Pin;
use std::process::Command;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use callsoon::get_running_loop;
use callsoon::transport::Transport;

use support::{Recorder, Trace, audited, complete, std_pair, watched};

/// What both sides have in common with the programs below.
const PRELUDE: &str = include_str!("prelude.py");

type Running = Pin<Box<dyn Future<Output = ()>>>;

/// One program, twice.
struct Program {
    name: &'static str,
    /// Why the two differ, where they do.
    differs: Option<&'static str>,
    python: &'static str,
    rust: fn(Trace) -> Running,
}

/// Writes a program down: its name, why it differs if it does, asyncio's words, ours.
macro_rules! program {
    ($name:literal, $python:literal, $rust:expr) => {
        $crate::Program {
            name: $name,
            differs: None,
            python: $python,
            rust: |trace| Box::pin($rust(trace)),
        }
    };
    ($name:literal, differs: $why:literal, $python:literal, $rust:expr) => {
        $crate::Program {
            name: $name,
            differs: Some($why),
            python: $python,
            rust: |trace| Box::pin($rust(trace)),
        }
    };
}
pub(crate) use program;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A truth in Python's words.
fn capital(is_so: bool) -> &'static str {
    if is_so { "True" } else { "False" }
}

/// A transport of the recorder's, and its peer in blocking mode.
async fn connected(recorder: Recorder) -> (Transport, Rc<Recorder>, StdStream) {
    let (ours, peer) = std_pair();
    let event_loop = get_running_loop();
    let connecting = event_loop.connect_accepted_socket(|| recorder, ours);
    let (transport, recorder) = connecting.await.unwrap();
    (transport, recorder, peer)
}

fn read_all(peer: &mut StdStream) -> Vec<u8> {
    let mut all = Vec::new();
    peer.read_to_end(&mut all).unwrap();
    all
}

/// The traces of all programs, by asyncio; `None` without a Python that is new enough.
fn by_asyncio(programs: &[Program]) -> Option<Vec<Vec<String>>> {
    let mut script = PRELUDE.to_owned();
    for (number, program) in programs.iter().enumerate() {
        script += &format!("async def program_{number}():\n");
        script += "    loop = asyncio.get_running_loop()\n";
        for line in program.python.lines() {
            script += &format!("    {line}\n");
        }
    }
    for number in 0..programs.len() {
        script += &format!("print('== {number}')\nrun(program_{number})\n");
    }
    let version = Command::new("python3")
        .args(["-c", "import asyncio; asyncio.TaskGroup"])
        .output();
    if !version.is_ok_and(|output| output.status.success()) {
        return None;
    }
    let output = Command::new("python3").args(["-c", &script]).output();
    let output = output.unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && errors.is_empty(), "{errors}");
    let text = String::from_utf8(output.stdout).unwrap();
    let traces = text.split("== ").skip(1);
    let lines = |trace: &str| trace.lines().skip(1).map(str::to_owned).collect();
    Some(traces.map(lines).collect())
}

fn by_callsoon(program: &Program) -> Vec<String> {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let (rust, said) = (program.rust, Arc::clone(&lines));
    audited(watched(move || {
        let trace = Trace::new();
        let event_loop = callsoon::EventLoop::new().unwrap();
        let t = trace.clone();
        event_loop.set_exception_handler(move |_, _| t.push("report"));
        complete(&event_loop, rust(trace.clone()));
        drop(event_loop);
        *said.lock().unwrap() = trace.take();
    }));
    lines.lock().unwrap().drain(..).collect()
}

#[test]
fn the_same_network_programs_say_the_same_by_asyncio_and_by_callsoon() {
    let mut programs = calls::programs();
    programs.extend(flow::programs());
    programs.extend(ends::programs());
    let Some(theirs) = by_asyncio(&programs) else {
        println!("skipped: no python3 of version 3.11 or newer");
        return;
    };
    assert_eq!(theirs.len(), programs.len());
    let mut wrong = Vec::new();
    for (program, theirs) in programs.iter().zip(theirs) {
        assert!(!theirs.is_empty(), "{}: says nothing", program.name);
        let ours = by_callsoon(program);
        if (ours == theirs) == program.differs.is_some() {
            let why = program.differs.unwrap_or("they should not differ");
            wrong.push(format!(
                "{} ({why})\n  asyncio:  {theirs:?}\n  callsoon: {ours:?}",
                program.name
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
