//! A process of its own, because it starts Python: the same programs for asyncio and for callsoon, told line by line.
//!
//! Each program is written twice, side by side; both run on a clock that jumps to the next deadline, and what they say,
//! and when, must be the same. Where Rust or this crate's rules force a difference, the program says why, and then the
//! two must differ: a reason that no longer holds fails the test too. Without a `python3` of 3.11 or newer it says so and
//! compares nothing.

use std::cell::{Cell, RefCell};
use std::fmt::Display;
use std::future::{Future, pending};
use std::pin::Pin;
use std::process::Command;
use std::rc::Rc;
use std::time::{Duration, Instant};

use callsoon::{
    Clock, EventLoop, FailureCause, GroupError, Outcome, Task, TaskError, TaskGroup, TimedOut,
    Timeout, TryGatherError, catch_cancelled, create_task, current_task, gather, get_running_loop,
    shield, sleep, task_builder, task_group, timeout, wait_for, yield_now,
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

fn programs() -> Vec<Program> {
    let mut all = of_gather();
    all.extend(of_timeout());
    all.extend(of_wait_for());
    all.extend(of_task_group());
    all.extend(of_failing_groups());
    all
}

fn of_gather() -> Vec<Program> {
    vec![
        program!(
            "gather: order of arguments",
            r#"
say(" ".join(await gather(worker("a", 3), worker("b", 1), worker("c", 2))))
"#,
            async |log: Log| {
                let all = [("a", 3.0), ("b", 1.0), ("c", 2.0)]
                    .map(|(name, work)| log.worker(name, work, 0.0));
                log.say(gather(all).await.unwrap().join(" "));
            }
        ),
        program!(
            "gather: of nothing",
            r#"
say(len(await gather()))
"#,
            async |log: Log| {
                log.say(
                    gather(Vec::<std::future::Ready<()>>::new())
                        .await
                        .unwrap()
                        .len(),
                );
            }
        ),
        program!(
            "gather: the first error at once, the others run on",
            r#"
await tell(gather(worker("a", 2), bad(1, "no"), bad(1.5, "unheard")))
await sleep(5)
"#,
            async |log: Log| {
                let l = log.clone();
                let all = (0..3).map(|n| {
                    let l = l.clone();
                    async move {
                        match n {
                            0 => Ok(l.worker("a", 2.0, 0.0).await),
                            1 => bad(1.0, "no").await,
                            _ => bad(1.5, "unheard").await,
                        }
                    }
                });
                if let Err(TryGatherError::Failed { error, .. }) = gather(all).fail_fast().await {
                    log.say(format!("error {error}"));
                }
                sleep(secs(5.0)).await;
            }
        ),
        program!(
            "gather: return_exceptions",
            r#"
a, b, c = await gather(worker("a", 2), bad(1, "no"), stopped(), return_exceptions=True)
say(f"{a} {b} {type(c).__name__}")
"#,
            async |log: Log| {
                let (a, b, c) =
                    callsoon::gather!(log.worker("a", 2.0, 0.0), bad(1.0, "no"), async {
                        current_task().unwrap().cancel();
                        sleep(secs(1.0)).await;
                    })
                    .settled()
                    .await;
                let c = if c.unwrap_err().cancelled().is_some() {
                    "CancelledError"
                } else {
                    ""
                };
                log.say(format!("{} {} {c}", a.unwrap(), b.unwrap().unwrap_err()));
            }
        ),
        program!(
            "gather: cancelled, return_exceptions",
            r#"
await cancelled(holder(True))
await sleep(5)
"#,
            async |log: Log| {
                log.cancelled(log.holder(true), None).await;
                sleep(secs(5.0)).await;
            }
        ),
        program!(
            "gather: cancelled",
            differs: "without return_exceptions asyncio's gather ends with the first child that ends as cancelled, and the \
                others outlive it; here it waits for all of them",
            r#"
await cancelled(holder(False))
await sleep(5)
"#,
            async |log: Log| {
                log.cancelled(log.holder(false), None).await;
                sleep(secs(5.0)).await;
            }
        ),
        program!(
            "gather: one child is cancelled",
            r#"
child = create_task(worker("a", 9))
both = gather(child, worker("b", 2))
await sleep(1)
child.cancel()
try:
    await both
except CancelledError:
    say(f"cancelled, and {current_task().cancelling()} requests to me")
await sleep(5)
"#,
            async |log: Log| {
                let child = create_task(log.worker("a", 9.0, 0.0));
                let canceller = child.as_ref();
                let both = callsoon::gather!(
                    async move {
                        match child.await {
                            Err(TaskError::Cancelled(request)) => request.resume().await,
                            other => other.unwrap(),
                        }
                    },
                    log.worker("b", 2.0, 0.0)
                );
                sleep(secs(1.0)).await;
                canceller.cancel();
                assert!(both.await.unwrap_err().error.cancelled().is_some());
                log.say(format!(
                    "cancelled, and {} requests to me",
                    current_task().unwrap().cancelling()
                ));
                sleep(secs(5.0)).await;
            }
        ),
        program!(
            "gather: in a shield",
            r#"
inner = gather(worker("a", 2), worker("b", 3))
async def outside():
    await shield(inner)
await cancelled(outside())
say(" ".join(await inner))
"#,
            async |log: Log| {
                let l = log.clone();
                let inner = create_task(async move {
                    let all = [l.worker("a", 2.0, 0.0), l.worker("b", 3.0, 0.0)];
                    gather(all).await.unwrap()
                });
                let inner = Rc::new(Cell::new(Some(inner)));
                let kept = Rc::clone(&inner);
                let outside = async move {
                    // Whoever is cancelled puts the handle back.
                    let mut lent = Lent(kept.take(), kept);
                    drop(shield(lent.0.as_mut().unwrap()).await);
                };
                log.cancelled(outside, None).await;
                log.say(inner.take().unwrap().await.unwrap().join(" "));
            }
        ),
    ]
}

fn of_timeout() -> Vec<Program> {
    vec![
        program!(
            "timeout: in time, and late",
            r#"
async def limited(limit, work):
    async with timeout(limit):
        return await worker("a", work, 0.5)
await tell(limited(2, 1))
await tell(limited(2, 9))
say(current_task().cancelling())
"#,
            async |log: Log| {
                log.tell(timeout(secs(2.0), log.worker("a", 1.0, 0.5)).await);
                log.tell(timeout(secs(2.0), log.worker("a", 9.0, 0.5)).await);
                log.say(current_task().unwrap().cancelling());
            }
        ),
        program!(
            "timeout: zero",
            r#"
async def limited():
    async with timeout(0):
        say("begins")
        await sleep(0)
        say("not reached")
await tell(limited())
"#,
            async |log: Log| {
                let l = log.clone();
                let late = timeout(Duration::ZERO, async move {
                    l.say("begins");
                    yield_now().await;
                    l.say("not reached");
                });
                log.tell(late.await);
            }
        ),
        program!(
            "timeout: nested, the outer one first",
            r#"
await tell(nested(1, 2, 0.5, "not reached"))
"#,
            async |log: Log| log.tell(log.nested(1.0, 2.0, 0.5, "not reached").await)
        ),
        program!(
            "timeout: nested, the inner one first",
            r#"
await tell(nested(2, 1, 0.5, "inner"))
"#,
            async |log: Log| log.tell(log.nested(2.0, 1.0, 0.5, "inner").await)
        ),
        program!(
            "timeout: nested, at the same time",
            r#"
await tell(nested(1, 1, 0.5, "not reached"))
"#,
            async |log: Log| log.tell(log.nested(1.0, 1.0, 0.5, "not reached").await)
        ),
        program!(
            "timeout: the outer one during the clean-up of the inner one",
            r#"
await tell(nested(2, 1, 5, "not reached"))
"#,
            async |log: Log| log.tell(log.nested(2.0, 1.0, 5.0, "not reached").await)
        ),
        program!(
            "timeout: what keeps on gives its value",
            r#"
async def limited():
    async with timeout(1) as limit:
        value = await stubborn("a", 9, 0.5)
    say(f"expired: {int(limit.expired())}")
    return value
await tell(limited())
"#,
            async |log: Log| {
                let limit = Timeout::after(secs(1.0));
                let value = limit.run(log.stubborn("a", 9.0, 0.5)).await;
                log.say(format!("expired: {}", u8::from(limit.expired())));
                log.tell(value);
            }
        ),
        program!(
            "timeout: cancelled from outside",
            r#"
async def limited():
    async with timeout(5):
        await worker("a", 9, 0.5)
await cancelled(limited(), "enough")
"#,
            async |log: Log| {
                let limited = timeout(secs(5.0), log.worker("a", 9.0, 0.5));
                log.cancelled(limited, Some("enough")).await;
            }
        ),
        program!(
            "timeout: during the clean-up after a cancellation",
            r#"
async def limited():
    try:
        await sleep(9)
    except CancelledError:
        try:
            async with timeout(1):
                await sleep(9)
        except TimeoutError:
            say(f"clean-up was too slow, {current_task().cancelling()}")
        raise
await cancelled(limited(), "enough")
"#,
            async |log: Log| {
                let l = log.clone();
                let limited = async move {
                    if let Err(cancelled) = catch_cancelled(sleep(secs(9.0))).await {
                        if timeout(secs(1.0), sleep(secs(9.0))).await.is_err() {
                            let count = current_task().unwrap().cancelling();
                            l.say(format!("clean-up was too slow, {count}"));
                        }
                        cancelled.resume().await
                    }
                };
                log.cancelled(limited, Some("enough")).await;
            }
        ),
        program!(
            "timeout: rescheduled",
            r#"
async def limited(first, second):
    now = asyncio.get_running_loop().time()
    async with timeout(first) as limit:
        await sleep(0.5)
        limit.reschedule(None if second is None else now + second)
        await worker("a", 3)
for first, second in [(1, 2), (5, 1), (1, 0.25), (1, None)]:
    await tell(limited(first, second))
"#,
            async |log: Log| {
                for (first, second) in [
                    (1.0, Some(2.0)),
                    (5.0, Some(1.0)),
                    (1.0, Some(0.25)),
                    (1.0, None),
                ] {
                    let now = get_running_loop().time();
                    let limit = Timeout::after(secs(first));
                    let body = limit.run(async {
                        sleep(secs(0.5)).await;
                        limit
                            .reschedule(second.map(|second| now + secs(second)))
                            .unwrap();
                        log.worker("a", 3.0, 0.0).await;
                    });
                    log.tell(body.await);
                }
            }
        ),
    ]
}

fn of_wait_for() -> Vec<Program> {
    vec![
        program!(
            "wait_for: cancels a task and waits for it",
            r#"
task = create_task(worker("a", 9, 0.5))
await tell(wait_for(task, 1))
say(int(task.cancelled()))
"#,
            async |log: Log| {
                let mut task = create_task(log.worker("a", 9.0, 0.5));
                log.tell(wait_for(&mut task, secs(1.0)).await);
                log.say(u8::from(task.cancelled()));
            }
        ),
        program!(
            "wait_for: a shielded task",
            r#"
task = create_task(worker("a", 2))
await tell(wait_for(shield(task), 1))
await tell(task)
"#,
            async |log: Log| {
                let mut task = create_task(log.worker("a", 2.0, 0.0));
                log.tell(wait_for(shield(&mut task), secs(1.0)).await);
                log.tell(task.await);
            }
        ),
        program!(
            "wait_for: a value in spite of the deadline",
            r#"
await tell(wait_for(stubborn("a", 9, 0.5), 1))
"#,
            async |log: Log| log.tell(wait_for(log.stubborn("a", 9.0, 0.5), secs(1.0)).await)
        ),
        program!(
            "wait_for: no limit",
            r#"
await tell(wait_for(worker("a", 1000), None))
"#,
            async |log: Log| log.tell(wait_for(log.worker("a", 1000.0, 0.0), None).await)
        ),
        program!(
            "wait_for: zero, a task that has not begun, one that runs, one that has ended",
            r#"
await tell(wait_for(create_task(worker("a", 1)), 0))
task = create_task(worker("b", 9, 0.5))
await sleep(1)
await tell(wait_for(task, 0))
task = create_task(worker("c", 1))
await sleep(2)
await tell(wait_for(task, 0))
"#,
            async |log: Log| {
                let mut task = create_task(log.worker("a", 1.0, 0.0));
                log.tell(wait_for(&mut task, Duration::ZERO).await);
                let mut task = create_task(log.worker("b", 9.0, 0.5));
                sleep(secs(1.0)).await;
                log.tell(wait_for(&mut task, Duration::ZERO).await);
                let mut task = create_task(log.worker("c", 1.0, 0.0));
                sleep(secs(2.0)).await;
                log.tell(wait_for(&mut task, Duration::ZERO).await);
            }
        ),
        program!(
            "wait_for: zero, a coroutine",
            differs: "a Rust future that is ready at once is what a finished one is in Python, and nobody can tell without a \
                poll: so it is polled once",
            r#"
async def quick():
    say("begins")
await tell(wait_for(quick(), 0))
"#,
            async |log: Log| {
                let l = log.clone();
                log.tell(wait_for(async move { l.say("begins") }, Duration::ZERO).await);
            }
        ),
        program!(
            "wait_for: an error during the clean-up goes before the deadline",
            r#"
async def broken():
    try:
        await sleep(9)
    except CancelledError:
        raise ValueError("could not save")
await tell(wait_for(broken(), 1))
"#,
            async |log: Log| {
                let broken = wait_for(
                    async {
                        drop(catch_cancelled(sleep(secs(9.0))).await);
                        "could not save"
                    },
                    secs(1.0),
                );
                log.say(format!("error {}", broken.await.unwrap()));
            }
        ),
        program!(
            "wait_for: cancelled from outside",
            r#"
inner = create_task(worker("a", 9, 0.5))
async def waiting():
    await wait_for(inner, 5)
await cancelled(waiting(), "enough")
say(int(inner.cancelled()))
"#,
            async |log: Log| {
                let mut inner = create_task(log.worker("a", 9.0, 0.5));
                let watched = inner.as_ref();
                let waiting = async move { drop(wait_for(&mut inner, secs(5.0)).await) };
                log.cancelled(waiting, Some("enough")).await;
                log.say(u8::from(watched.cancelled()));
            }
        ),
    ]
}

fn of_task_group() -> Vec<Program> {
    vec![
        program!(
            "group: waits for all, those too that come later",
            r#"
async def whole():
    async with TaskGroup() as group:
        async def parent():
            await sleep(1)
            group.create_task(worker("grandchild", 2))
        group.create_task(worker("a", 2))
        group.create_task(parent())
        say("the body is done")
await tell(whole())
"#,
            async |log: Log| {
                log.group(async move |group, l| {
                    group.create_task(l.child("a", 2.0, 0.0));
                    let (g, m) = (group.clone(), l.clone());
                    group.create_task(async move {
                        sleep(secs(1.0)).await;
                        g.create_task(m.child("grandchild", 2.0, 0.0));
                    });
                    l.say("the body is done");
                })
                .await;
            }
        ),
        program!(
            "group: a child is cancelled by itself",
            r#"
async def whole():
    async with TaskGroup() as group:
        alone = group.create_task(worker("a", 9))
        group.create_task(worker("b", 2))
        await sleep(1)
        alone.cancel()
await tell(whole())
"#,
            async |log: Log| {
                log.group(async move |group, l| {
                    let alone = group.create_task(l.child("a", 9.0, 0.0));
                    group.create_task(l.child("b", 2.0, 0.0));
                    sleep(secs(1.0)).await;
                    alone.cancel();
                })
                .await;
            }
        ),
        program!(
            "group: the parent is cancelled in its body",
            r#"
async def whole():
    async with TaskGroup() as group:
        group.create_task(worker("a", 9, 1))
        group.create_task(worker("b", 9, 2))
        await worker("body", 9, 0.5)
await cancelled(whole(), "enough")
"#,
            async |log: Log| {
                let l = log.clone();
                let whole = task_group(async move |group| {
                    group.create_task(l.child("a", 9.0, 1.0));
                    group.create_task(l.child("b", 9.0, 2.0));
                    l.child("body", 9.0, 0.5).await;
                });
                log.cancelled(whole, Some("enough")).await;
            }
        ),
        program!(
            "group: the parent is cancelled while it waits, and again",
            r#"
async def whole():
    async with TaskGroup() as group:
        group.create_task(worker("a", 9, 2))
task = create_task(whole())
await sleep(1)
task.cancel()
await sleep(1)
task.cancel()
await tell(task)
"#,
            async |log: Log| {
                let l = log.clone();
                let task = create_task(async move {
                    let whole = task_group(async |group| {
                        group.create_task(l.child("a", 9.0, 2.0));
                    });
                    whole.await.unwrap();
                });
                sleep(secs(1.0)).await;
                task.cancel();
                sleep(secs(1.0)).await;
                task.cancel();
                log.tell(task.await);
            }
        ),
        program!(
            "group: in a timeout",
            r#"
async def whole():
    async with timeout(1):
        async with TaskGroup() as group:
            group.create_task(worker("a", 9, 1))
            await sleep(5)
await tell(whole())
"#,
            async |log: Log| {
                let l = log.clone();
                let late = timeout(
                    secs(1.0),
                    task_group(async move |group| {
                        group.create_task(l.child("a", 9.0, 1.0));
                        sleep(secs(5.0)).await;
                    }),
                );
                log.say(match late.await {
                    Ok(ended) => ended.told(),
                    Err(late) => Err::<(), _>(late).told(),
                });
            }
        ),
        program!(
            "group: names",
            r#"
async def named():
    say(current_task().get_name())
async with TaskGroup() as group:
    group.create_task(named(), name="scout")
"#,
            async |log: Log| {
                let l = log.clone();
                task_group(async move |group| {
                    group.create_task_with(task_builder().name("scout"), async move {
                        l.say(current_task().unwrap().name());
                    });
                })
                .await
                .unwrap();
            }
        ),
    ]
}

fn of_failing_groups() -> Vec<Program> {
    vec![
        program!(
            "group: a child fails, the others and the body are cancelled",
            r#"
async def whole():
    async with TaskGroup() as group:
        group.create_task(worker("a", 9, 1))
        group.create_task(bad(1, "no"))
        await worker("body", 9, 0.5)
await tell(whole())
say(current_task().cancelling())
"#,
            async |log: Log| {
                log.group(async move |group, l| {
                    group.create_task(l.child("a", 9.0, 1.0));
                    group.create_task(bad(1.0, "no"));
                    l.child("body", 9.0, 0.5).await;
                })
                .await;
                log.say(current_task().unwrap().cancelling());
            }
        ),
        program!(
            "group: a child fails after the body has ended",
            r#"
async def whole():
    async with TaskGroup() as group:
        group.create_task(worker("a", 9, 1))
        group.create_task(bad(1, "no"))
await tell(whole())
"#,
            async |log: Log| {
                log.group(async move |group, l| {
                    group.create_task(l.child("a", 9.0, 1.0));
                    group.create_task(bad(1.0, "no"));
                })
                .await;
            }
        ),
        program!(
            "group: the body fails",
            r#"
async def whole():
    async with TaskGroup() as group:
        group.create_task(worker("a", 9, 1))
        await bad(1, "the body")
await tell(whole())
"#,
            async |log: Log| {
                log.group(async move |group, l| {
                    group.create_task(l.child("a", 9.0, 1.0));
                    bad(1.0, "the body").await
                })
                .await;
            }
        ),
        program!(
            "group: several fail in one turn, and one while it cleans up",
            r#"
async def late():
    try:
        await sleep(9)
    except CancelledError:
        await bad(1, "late")
async def whole():
    async with TaskGroup() as group:
        group.create_task(late())
        for text in "abc":
            group.create_task(bad(1, text))
await tell(whole())
"#,
            async |log: Log| {
                log.group(async move |group, _| {
                    group.create_task(async {
                        drop(catch_cancelled(sleep(secs(9.0))).await);
                        bad(1.0, "late").await
                    });
                    for text in ["a", "b", "c"] {
                        group.create_task(bad(1.0, text));
                    }
                })
                .await;
            }
        ),
        program!(
            "group: the body awaits the child that fails",
            r#"
async def whole():
    async with TaskGroup() as group:
        child = group.create_task(bad(1, "no"))
        try:
            await child
        except ValueError:
            say("the error itself")
            await sleep(5)
            say("not reached")
await tell(whole())
"#,
            async |log: Log| {
                log.group(async move |group, l| {
                    let child = group.create_task(async {
                        sleep(secs(1.0)).await;
                        Err::<(), _>("no")
                    });
                    drop(child.await);
                    l.say("not reached");
                })
                .await;
            }
        ),
        program!(
            "group: a group in a child of a group",
            r#"
async def inner():
    async with TaskGroup() as group:
        group.create_task(worker("a", 9, 0.5))
        group.create_task(bad(1, "deep"))
async def whole():
    async with TaskGroup() as group:
        group.create_task(worker("b", 9, 0.5))
        group.create_task(inner())
await tell(whole())
"#,
            async |log: Log| {
                log.group(async move |group, l| {
                    group.create_task(l.child("b", 9.0, 0.5));
                    group.create_task(async move {
                        task_group(async |group| {
                            group.create_task(l.child("a", 9.0, 0.5));
                            group.create_task(bad(1.0, "deep"));
                        })
                        .await
                    });
                })
                .await;
            }
        ),
        program!(
            "group: a group in the body of a group, both fail at once",
            r#"
async def whole():
    async with TaskGroup() as outer:
        outer.create_task(bad(1, "outer"))
        async with TaskGroup() as inner:
            inner.create_task(bad(1, "inner"))
            await sleep(9)
await tell(whole())
say(current_task().cancelling())
"#,
            async |log: Log| {
                log.group(async move |outer, _| {
                    outer.create_task(bad(1.0, "outer"));
                    task_group(async |inner| {
                        inner.create_task(bad(1.0, "inner"));
                        sleep(secs(9.0)).await;
                    })
                    .await
                })
                .await;
                log.say(current_task().unwrap().cancelling());
            }
        ),
        program!(
            "group: errors go before the cancellation of the parent",
            r#"
async def broken():
    try:
        await sleep(9)
    except CancelledError:
        raise ValueError("could not save")
async def whole():
    async with TaskGroup() as group:
        group.create_task(broken())
await cancelled(whole())
"#,
            async |log: Log| {
                let whole = task_group(async |group| {
                    group.create_task(async {
                        drop(catch_cancelled(pending::<()>()).await);
                        Err::<(), _>("could not save")
                    });
                });
                log.cancelled(whole, None).await;
            }
        ),
        program!(
            "group: one that shuts down takes no children",
            r#"
async def whole():
    async with TaskGroup() as group:
        group.create_task(bad(1, "no"))
        try:
            await sleep(9)
        except CancelledError:
            coroutine = worker("never", 1)
            try:
                group.create_task(coroutine)
            except RuntimeError:
                coroutine.close()
                say("refused")
            raise
await tell(whole())
"#,
            async |log: Log| {
                log.group(async move |group, l| {
                    group.create_task(bad(1.0, "no"));
                    if let Err(cancelled) = catch_cancelled(sleep(secs(9.0))).await {
                        if group.try_create_task(l.child("never", 1.0, 0.0)).is_err() {
                            l.say("refused");
                        }
                        cancelled.resume().await;
                    }
                })
                .await;
            }
        ),
        program!(
            "group: the body keeps on when a child fails",
            r#"
async def whole():
    async with TaskGroup() as group:
        group.create_task(bad(1, "no"))
        say(await stubborn("body", 9, 1))
await tell(whole())
say(current_task().cancelling())
"#,
            async |log: Log| {
                log.group(async move |group, l| {
                    group.create_task(bad(1.0, "no"));
                    l.say(l.stubborn("body", 9.0, 1.0).await);
                })
                .await;
                log.say(current_task().unwrap().cancelling());
            }
        ),
    ]
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
