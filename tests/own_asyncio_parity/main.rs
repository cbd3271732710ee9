//! A process of its own, because it starts Python: the same programs for asyncio and for callsoon, told line by line.
//!
//! Each program is written twice, side by side; both run on a clock that jumps to the next deadline, and what they say,
//! and when, must be the same. Where Rust or this crate's rules force a difference, the program says why, and then the
//! two must differ: a reason that no longer holds fails the test too. Without a `python3` of 3.11 or newer it says so and
//! compares nothing.

use std::cell::{Cell, RefCell};
use std::fmt::Display;
use std::future::Future;
use std::pin::Pin;
use std::process::Command;
use std::rc::Rc;
use std::time::{Duration, Instant};

use callsoon::{
    Clock, EventLoop, FailureCause, GroupError, Outcome, Task, TaskError, TaskGroup, TimedOut,
    catch_cancelled, create_task, gather, get_running_loop, sleep, task_group, timeout,
};

/// What both sides have in common with the programs below.
const PRELUDE: &str = r#"
import asyncio, contextlib, sys
from asyncio import CancelledError, TaskGroup, create_task, current_task, gather, shield, sleep, timeout, wait_for

class Jumping(asyncio.SelectorEventLoop):
    def __init__(self):
        super().__init__()
        self.now = 0.0
        self._clock_resolution = 1e-9
        select = self._selector.select
        def jump(wait):
            if wait:
                self.now += wait
            return select(0)
        self._selector.select = jump
    def time(self):
        return self.now

def say(line):
    now = f"{asyncio.get_running_loop().time():.3f}".rstrip("0").rstrip(".")
    print(f"{now}: {line}")

async def worker(name, work, clean=0.0):
    try:
        await sleep(work)
        say(f"{name} done")
        return name
    except CancelledError:
        say(f"{name} cancelled")
        await sleep(clean)
        say(f"{name} clean")
        raise

async def stubborn(name, work, more):
    try:
        await sleep(work)
    except CancelledError:
        say(f"{name} keeps on")
        await sleep(more)
    return name

async def bad(after, text):
    await sleep(after)
    raise ValueError(text)

def texts(group):
    return ", ".join(f"[{texts(e)}]" if isinstance(e, BaseExceptionGroup) else str(e) for e in group.exceptions)

async def tell(awaitable):
    try:
        say(f"value {await awaitable}")
    except BaseExceptionGroup as group:
        say(f"group {texts(group)}")
    except CancelledError as error:
        say(" ".join(["cancelled", *error.args]))
    except TimeoutError:
        say("timed out")
    except ValueError as error:
        say(f"error {error}")

def run(program):
    loop = Jumping()
    loop.set_exception_handler(lambda loop, context: None)
    loop.run_until_complete(program())
    for task in asyncio.all_tasks(loop):
        say_left = f"left over: {task.get_name()}"
        print(say_left)
    loop.close()
"#;

fn secs(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// What the Rust side says.
#[derive(Clone)]
struct Log {
    lines: Rc<RefCell<Vec<String>>>,
    start: Instant,
}

impl Log {
    fn say(&self, line: impl Display) {
        let now = (get_running_loop().time() - self.start).as_secs_f64();
        let now = format!("{now:.3}");
        let now = now.trim_end_matches('0').trim_end_matches('.');
        self.lines.borrow_mut().push(format!("{now}: {line}"));
    }

    fn worker(
        &self,
        name: &'static str,
        work: f64,
        clean: f64,
    ) -> impl Future<Output = &'static str> + use<> {
        let log = self.clone();
        async move {
            match catch_cancelled(sleep(secs(work))).await {
                Ok(()) => log.say(format!("{name} done")),
                Err(cancelled) => {
                    log.say(format!("{name} cancelled"));
                    sleep(secs(clean)).await;
                    log.say(format!("{name} clean"));
                    cancelled.resume().await
                }
            }
            name
        }
    }

    /// A child of a group, which returns nothing.
    fn child(&self, name: &'static str, work: f64, clean: f64) -> impl Future<Output = ()> + use<> {
        let worker = self.worker(name, work, clean);
        async move {
            worker.await;
        }
    }

    fn stubborn(
        &self,
        name: &'static str,
        work: f64,
        more: f64,
    ) -> impl Future<Output = &'static str> + use<> {
        let log = self.clone();
        async move {
            if catch_cancelled(sleep(secs(work))).await.is_err() {
                log.say(format!("{name} keeps on"));
                sleep(secs(more)).await;
            }
            name
        }
    }

    /// Waits for two that clean up.
    fn holder(&self, settled: bool) -> impl Future<Output = ()> + use<> {
        let log = self.clone();
        async move {
            let all = [("a", 0.5), ("b", 1.0)].map(|(name, clean)| log.worker(name, 9.0, clean));
            if settled {
                drop(gather(all).settled().await);
            } else {
                gather(all).await.unwrap();
            }
        }
    }

    /// One limit inside another.
    fn nested(
        &self,
        outer: f64,
        inner: f64,
        clean: f64,
        late: &'static str,
    ) -> impl Future<Output = Result<(), TimedOut>> + use<> {
        let log = self.clone();
        timeout(secs(outer), async move {
            let inside = log.worker("a", 9.0, clean);
            if timeout(secs(inner), inside).await.is_err() {
                log.say(late);
            }
        })
    }

    /// Runs something as a task, cancels that after a second, and says how it ended.
    async fn cancelled<T: Told + 'static>(
        &self,
        future: impl Future<Output = T> + 'static,
        message: Option<&'static str>,
    ) {
        let task = create_task(future);
        sleep(secs(1.0)).await;
        match message {
            Some(message) => task.cancel_with(message),
            None => task.cancel(),
        };
        self.tell(task.await);
    }

    /// Runs a group and says how it ended.
    async fn group<R: Outcome<Value: Told>>(&self, body: impl AsyncFnOnce(&TaskGroup, Log) -> R) {
        let log = self.clone();
        let ended = task_group(async move |group| body(group, log).await);
        self.tell(ended.await);
    }

    fn tell(&self, ended: impl Told) {
        self.say(ended.told());
    }
}

async fn bad(after: f64, text: &'static str) -> Result<&'static str, &'static str> {
    sleep(secs(after)).await;
    Err(text)
}

/// A handle that goes back to whoever lent it.
struct Lent<T: 'static>(Option<Task<T>>, Rc<Cell<Option<Task<T>>>>);

impl<T> Drop for Lent<T> {
    fn drop(&mut self) {
        self.1.set(self.0.take());
    }
}

/// How something ended, in the words of the prelude's `tell`.
trait Told {
    fn told(self) -> String;
}

impl Told for () {
    fn told(self) -> String {
        "value None".into()
    }
}

impl Told for &'static str {
    fn told(self) -> String {
        format!("value {self}")
    }
}

impl<T: Told> Told for Result<T, TimedOut> {
    fn told(self) -> String {
        self.map_or_else(|_| "timed out".into(), Told::told)
    }
}

impl<T: Told> Told for Result<T, TaskError> {
    fn told(self) -> String {
        match self {
            Ok(value) => value.told(),
            Err(TaskError::Cancelled(request)) => match request.message() {
                Some(message) => format!("cancelled {message}"),
                None => "cancelled".into(),
            },
            Err(error) => error.to_string(),
        }
    }
}

impl<T: Told> Told for Result<T, GroupError> {
    fn told(self) -> String {
        match self {
            Ok(value) => value.told(),
            Err(error) => format!("group {}", texts(&error)),
        }
    }
}

fn texts(error: &GroupError) -> String {
    let texts = error
        .failures()
        .iter()
        .map(|failure| match failure.cause() {
            FailureCause::Error(error) => match error.downcast_ref::<GroupError>() {
                Some(inner) => format!("[{}]", texts(inner)),
                None => error.to_string(),
            },
            FailureCause::Panicked(panicked) => panicked.message().to_owned(),
        });
    texts.collect::<Vec<_>>().join(", ")
}

type Running = Pin<Box<dyn Future<Output = ()>>>;

/// One program, twice.
struct Program {
    name: &'static str,
    /// Why the two differ, where they do.
    differs: Option<&'static str>,
    python: &'static str,
    rust: fn(Log) -> Running,
}

/// Writes a program down: its name, why it differs if it does, asyncio's words, ours.
macro_rules! program {
    ($name:literal, $(differs: $why:literal,)? $python:literal, $rust:expr) => {
        Program {
            name: $name,
            differs: None$(.or(Some($why)))?,
            python: $python,
            rust: |log| Box::pin($rust(log)),
        }
    };
}

mod failing_groups;
mod gathers;
mod groups;
mod limits;

fn programs() -> Vec<Program> {
    let mut all = gathers::of_gather();
    all.extend(limits::of_timeout());
    all.extend(limits::of_wait_for());
    all.extend(groups::of_task_group());
    all.extend(failing_groups::of_failing_groups());
    all
}

/// What some programs share on Python's side.
const SHARED: &str = r#"
async def nested(outer, inner, clean, late):
    async with timeout(outer):
        try:
            async with timeout(inner):
                await worker("a", 9, clean)
        except TimeoutError:
            say(late)

async def cancelled(coroutine, *message):
    task = create_task(coroutine)
    await sleep(1)
    task.cancel(*message)
    await tell(task)

async def holder(settled):
    await gather(worker("a", 9, 0.5), worker("b", 9, 1), return_exceptions=settled)

async def stopped():
    current_task().cancel()
    await sleep(1)
"#;

/// The traces of all programs, by asyncio; `None` without a Python that has task groups.
fn by_asyncio(programs: &[Program]) -> Option<Vec<Vec<String>>> {
    let mut script = format!("{PRELUDE}{SHARED}");
    for (number, program) in programs.iter().enumerate() {
        script += &format!("async def program_{number}():\n");
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
    let output = Command::new("python3")
        .args(["-W", "error", "-c", &script])
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && errors.is_empty(), "{errors}");
    let text = String::from_utf8(output.stdout).unwrap();
    let traces = text.split("== ").skip(1);
    Some(
        traces
            .map(|trace| trace.lines().skip(1).map(str::to_owned).collect())
            .collect(),
    )
}

fn by_callsoon(program: &Program) -> Vec<String> {
    let event_loop = EventLoop::builder().clock(Clock::Virtual).build().unwrap();
    event_loop.set_exception_handler(|_, _| ());
    let log = Log {
        lines: Rc::default(),
        start: event_loop.time(),
    };
    let handle = event_loop.handle();
    event_loop.call_later(secs(1e6), move || handle.stop());
    // A task, as it is in asyncio: the root has no count of requests.
    let main = event_loop.create_task((program.rust)(log.clone()));
    let ended = event_loop.run_until_complete(main);
    ended
        .unwrap_or_else(|error| panic!("{}: {error}", program.name))
        .unwrap();
    for task in event_loop.all_tasks() {
        log.lines
            .borrow_mut()
            .push(format!("left over: {}", task.name()));
    }
    log.lines.take()
}

#[test]
fn the_same_programs_say_the_same_by_asyncio_and_by_callsoon() {
    let programs = programs();
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
