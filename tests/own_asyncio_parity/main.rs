//! A process of its own, because it starts Python: the same programs for asyncio and for callsoon, compared line by
//! line.
//!
//! Both sides run on a clock that jumps to the next deadline, and their lines, with the times, must be the same. What
//! is compared, and what may differ, is in the module `asyncio`.

#[expect(dead_code, reason = "a part of it is needed here")]
#[path = "../asyncio/mod.rs"]
mod asyncio;

mod failing_groups;
mod gathers;
mod groups;
mod limits;

use std::cell::{Cell, RefCell};
use std::fmt::Display;
use std::future::Future;
use std::rc::Rc;
use std::time::{Duration, Instant};

use callsoon::{
    Clock, EventLoop, FailureCause, GroupError, Outcome, Task, TaskError, TaskGroup, TimedOut,
    catch_cancelled, create_task, gather, get_running_loop, sleep, task_group, timeout,
};

use asyncio::{Program, compare, program};

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
    async fn cancelled<T: InWords + 'static>(
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
    async fn group<R: Outcome<Value: InWords>>(
        &self,
        body: impl AsyncFnOnce(&TaskGroup, Log) -> R,
    ) {
        let log = self.clone();
        let ended = task_group(async move |group| body(group, log).await);
        self.tell(ended.await);
    }

    fn tell(&self, ended: impl InWords) {
        self.say(ended.in_words());
    }
}

async fn bad(after: f64, text: &'static str) -> Result<&'static str, &'static str> {
    sleep(secs(after)).await;
    Err(text)
}

/// A handle that goes back to its owner when it is dropped.
struct Lent<T: 'static>(Option<Task<T>>, Rc<Cell<Option<Task<T>>>>);

impl<T> Drop for Lent<T> {
    fn drop(&mut self) {
        self.1.set(self.0.take());
    }
}

/// How something ended, in the words of the prelude's `tell`.
trait InWords {
    fn in_words(self) -> String;
}

impl InWords for () {
    fn in_words(self) -> String {
        "value None".into()
    }
}

impl InWords for &'static str {
    fn in_words(self) -> String {
        format!("value {self}")
    }
}

impl<T: InWords> InWords for Result<T, TimedOut> {
    fn in_words(self) -> String {
        self.map_or_else(|_| "timed out".into(), InWords::in_words)
    }
}

impl<T: InWords> InWords for Result<T, TaskError> {
    fn in_words(self) -> String {
        match self {
            Ok(value) => value.in_words(),
            Err(TaskError::Cancelled(request)) => match request.message() {
                Some(message) => format!("cancelled {message}"),
                None => "cancelled".into(),
            },
            Err(error) => error.to_string(),
        }
    }
}

impl<T: InWords> InWords for Result<T, GroupError> {
    fn in_words(self) -> String {
        match self {
            Ok(value) => value.in_words(),
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

fn programs() -> Vec<Program<Log>> {
    let mut all = gathers::of_gather();
    all.extend(limits::of_timeout());
    all.extend(limits::of_wait_for());
    all.extend(groups::of_task_group());
    all.extend(failing_groups::of_failing_groups());
    all
}

fn by_callsoon(program: &Program<Log>) -> Vec<String> {
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
    compare(include_str!("prelude.py"), &programs(), by_callsoon);
}
