//! The same programs for asyncio and for callsoon, told line by line: what is common to those about threads, processes
//! and signals.
//!
//! These keep no common clock, so nothing is said of times, and each program says only what must come in this order. Where
//! Rust or this crate's rules force a difference, the program says why, and then the two must differ. Without a `python3`
//! of 3.11 or newer it says so and compares nothing.

use std::fmt::Display;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use callsoon::{ExecutorError, TaskError, ThreadFutureError};

use crate::support::quiet_panics;

/// What Python's side has in common.
const PRELUDE: &str = r#"
import asyncio, contextvars, os, signal, sys, threading
from asyncio import CancelledError, create_subprocess_exec, create_subprocess_shell, create_task, get_running_loop
from asyncio import run_coroutine_threadsafe, sleep, to_thread, wrap_future
from asyncio.subprocess import PIPE, STDOUT
from concurrent.futures import CancelledError as OtherCancelled, ThreadPoolExecutor

signal.alarm(100)

def say(*words):
    print(*words, flush=True)

async def until(is_so):
    while not is_so():
        await sleep(0.001)

async def tell(awaitable):
    try:
        say("value", await awaitable)
    except CancelledError:
        say("cancelled")
    except ValueError as error:
        say("error", error)
    except RuntimeError:
        say("refused")

def fail():
    raise ValueError("on purpose: no")

async def failing():
    fail()

def outcome(future, timeout=None):
    try:
        say("value", future.result(timeout))
    except (CancelledError, OtherCancelled):
        say("cancelled")
    except TimeoutError:
        say("timed out")
    except ValueError as error:
        say("error", error)

def attempt(f):
    try:
        f()
        say("done")
    except ProcessLookupError:
        say("no such process")

var = contextvars.ContextVar("var", default="-")

class Gated:
    def __init__(self):
        self.pool, self.begun, self.gate = ThreadPoolExecutor(1), threading.Event(), threading.Event()
    def first(self):
        self.begun.set()
        self.gate.wait()
        say("the first ends")
        return 1

class Told(asyncio.SubprocessProtocol):
    def __init__(self):
        self.events, self.over = {}, get_running_loop().create_future()
    def tell(self, of, event):
        self.events.setdefault(of, []).append(event)
        self.events.setdefault("all", []).append(event)
    def connection_made(self, transport):
        self.transport = transport
        self.tell("child", "made")
    def pipe_data_received(self, fd, data):
        self.tell(fd, data.decode().strip())
    def pipe_connection_lost(self, fd, error):
        self.tell(fd, f"lost {fd}")
    def process_exited(self):
        self.tell("child", f"exited {self.transport.get_returncode()}")
    def connection_lost(self, error):
        self.tell("child", f"lost {error}")
        self.over.set_result(None)
"#;

/// What the Rust side says, on whatever thread.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    pub(crate) fn say(&self, line: impl Display) {
        self.0.lock().unwrap().push(line.to_string());
    }

    pub(crate) fn ended<T: Display>(&self, ended: Result<T, TaskError>) {
        match ended {
            Ok(value) => self.say(format!("value {value}")),
            Err(TaskError::Cancelled(_)) => self.say("cancelled"),
            Err(error) => self.say(format!("error {error}")),
        }
    }

    pub(crate) fn job<T: Display>(&self, ended: Result<T, ExecutorError>) {
        match ended {
            Ok(value) => self.say(format!("value {value}")),
            Err(ExecutorError::Cancelled) => self.say("cancelled"),
            Err(ExecutorError::ShutDown) => self.say("refused"),
            Err(ExecutorError::Panicked(panic)) => self.say(format!("error {}", panic.message())),
            Err(error) => self.say(error),
        }
    }

    pub(crate) fn outcome<T: Display>(&self, ended: Result<T, ThreadFutureError>) {
        match ended {
            Ok(value) => self.say(format!("value {value}")),
            Err(ThreadFutureError::Cancelled) => self.say("cancelled"),
            Err(ThreadFutureError::TimedOut) => self.say("timed out"),
            Err(ThreadFutureError::Panicked(panic)) => {
                self.say(format!("error {}", panic.message()));
            }
            Err(error) => self.say(error),
        }
    }

    pub(crate) fn attempt(&self, sent: io::Result<()>) {
        match sent {
            Ok(()) => self.say("done"),
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => self.say("no such process"),
            Err(error) => self.say(error),
        }
    }
}

pub(crate) fn python_bool(so: bool) -> &'static str {
    if so { "True" } else { "False" }
}

pub(crate) type Running = Pin<Box<dyn Future<Output = ()>>>;

/// One program, twice.
pub(crate) struct Program {
    pub(crate) name: &'static str,
    /// Why the two differ, where they do.
    pub(crate) differs: Option<&'static str>,
    pub(crate) python: &'static str,
    pub(crate) rust: fn(Log) -> Running,
}

pub(crate) fn same(name: &'static str, python: &'static str, rust: fn(Log) -> Running) -> Program {
    let differs = None;
    Program {
        name,
        differs,
        python,
        rust,
    }
}

/// The traces of all programs, by asyncio; `None` without a Python that is new enough.
fn by_asyncio(programs: &[Program]) -> Option<Vec<Vec<String>>> {
    let mut script = PRELUDE.to_owned();
    for (number, program) in programs.iter().enumerate() {
        script += &format!("async def program_{number}():\n");
        for line in program.python.lines() {
            script += &format!("    {line}\n");
        }
        script += &format!("print('== {number}')\nasyncio.run(program_{number}())\n");
    }
    let python = |script: &str| {
        let mut python = std::process::Command::new("python3");
        python.args(["-W", "error", "-c", script]).output()
    };
    if !python("import asyncio; asyncio.TaskGroup").is_ok_and(|output| output.status.success()) {
        return None;
    }
    let output = python(&script).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{errors}");
    let text = String::from_utf8(output.stdout).unwrap();
    let told = |trace: &str| trace.lines().skip(1).map(str::to_owned).collect();
    Some(text.split("== ").skip(1).map(told).collect())
}

/// Runs all programs on both sides.
pub(crate) fn compare(programs: &[Program]) {
    quiet_panics();
    let Some(theirs) = by_asyncio(programs) else {
        println!("skipped: no python3 of version 3.11 or newer");
        return;
    };
    assert_eq!(theirs.len(), programs.len());
    let mut wrong = Vec::new();
    for (program, theirs) in programs.iter().zip(theirs) {
        assert!(!theirs.is_empty(), "{}: says nothing", program.name);
        let log = Log::default();
        callsoon::run((program.rust)(log.clone())).unwrap();
        let ours = std::mem::take(&mut *log.0.lock().unwrap());
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
