//! A scenario: one loop on the virtual clock, and one trace whose lines begin with the seconds since the start.
//!
//! There are two ways to write one. [`run_scenario`] takes a whole program, an async function, and the lines that it
//! must write. [`in_scenario`] takes a function that has the loop and runs it as it likes; everything on the test's
//! thread reaches the scenario by free functions: [`say`] writes a line, [`said`] compares what was written so far.
//! Both leave nothing behind: no line that was not compared, no task, no scope.

use std::cell::{Cell, RefCell};
use std::fmt::{Debug, Display};
use std::future::{Future, pending, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use callsoon::{
    EventLoop, LoopHandle, RunError, Task, TaskError, catch_cancelled, shield, sleep, sleep_until,
};

use super::{Trace, audited, one_turn, virtual_loop, watched};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// Longer than any scenario: a program that has not ended by then hangs.
const FOR_EVER: Duration = Duration::from_secs(1 << 30);

thread_local! {
    static CURRENT: RefCell<Option<Scenario>> = const { RefCell::new(None) };
}

/// Where the lines of a scenario are written to.
#[derive(Clone)]
pub(crate) struct Scenario {
    trace: Trace,
    pub(crate) start: Instant,
    handle: LoopHandle,
}

impl Scenario {
    /// Writes a line, with the seconds since the start in front.
    pub(crate) fn say(&self, line: impl Display) {
        let time = self.handle.time().saturating_duration_since(self.start);
        self.trace.push(format!("{} {line}", time.as_secs_f64()));
    }

    /// Returns the time so many seconds after the start.
    pub(crate) fn at(&self, seconds: f64) -> Instant {
        self.start + Duration::from_secs_f64(seconds)
    }

    /// Sleeps, and writes lines at its begin and end. When it is cancelled it writes that, cleans up for so many
    /// seconds, and passes the request on.
    pub(crate) async fn worker(self, name: &'static str, work: f64, clean_up: f64) -> &'static str {
        match catch_cancelled(sleep(Duration::from_secs_f64(work))).await {
            Ok(()) => {
                self.say(format!("{name} is done"));
                name
            }
            Err(cancelled) => {
                self.say(format!("{name} is {cancelled}"));
                sleep(Duration::from_secs_f64(clean_up)).await;
                self.say(format!("{name} is clean"));
                cancelled.resume().await
            }
        }
    }

    /// [`worker`](Self::worker) that continues when it is cancelled: it gives its name all the same.
    pub(crate) async fn stubborn(self, name: &'static str, work: f64, more: f64) -> &'static str {
        if let Err(cancelled) = catch_cancelled(sleep(Duration::from_secs_f64(work))).await {
            self.say(format!("{name} ignores: {cancelled}"));
            drop(cancelled);
            sleep(Duration::from_secs_f64(more)).await;
        }
        name
    }
}

/// Runs a test that has a loop on the virtual clock.
#[track_caller]
pub(crate) fn in_scenario(test: impl FnOnce(&EventLoop) + Send + 'static) {
    set_up(Box::new(|event_loop, _| test(event_loop)));
}

type Main = Box<dyn for<'a> FnOnce(&'a Scenario) -> Pin<Box<dyn Future<Output = ()> + 'a>> + Send>;

/// Runs a program to its end and compares all its lines, reports included. A hang is an error, and so is a timer or an
/// entry of the queue that is left over a turn after the end.
#[track_caller]
pub(crate) fn run_scenario<const N: usize>(
    main: impl AsyncFnOnce(&Scenario) + Send + 'static,
    lines: [&'static str; N],
) {
    let main: Main = Box::new(|scenario| Box::pin(async move { main(scenario).await }));
    let lines = Vec::from(lines);
    set_up(Box::new(move |event_loop, scenario| {
        run_to_end(event_loop, scenario, main);
        assert_eq!(scenario.trace.take(), lines);
    }));
}

fn run_to_end(event_loop: &EventLoop, scenario: &Scenario, main: Main) {
    let handle = event_loop.handle();
    let hang = event_loop.call_later(FOR_EVER, move || handle.stop());
    if let Err(error) = event_loop.run_until_complete(main(scenario)) {
        panic!("{error}; so far: {:#?}", scenario.trace.take());
    }
    hang.cancel();
    one_turn(event_loop);
    let metrics = event_loop.metrics();
    assert_eq!((metrics.timers, metrics.ready), (0, 0), "timers, entries");
}

type Test = Box<dyn FnOnce(&EventLoop, &Scenario) + Send>;

/// One function for all scenarios, so that it is compiled once.
#[track_caller]
fn set_up(test: Test) {
    audited(watched(move || {
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        let scenario = Scenario {
            trace: trace.clone(),
            start: event_loop.time(),
            handle: event_loop.handle(),
        };
        CURRENT.set(Some(scenario.clone()));
        test(&event_loop, &scenario);
        trace.expect([]);
        let metrics = event_loop.metrics();
        let left = (metrics.tasks, metrics.scopes);
        assert_eq!(left, (0, 0), "tasks and scopes are left");
        CURRENT.set(None);
        drop(scenario);
        event_loop.close().unwrap();
        trace.expect([]);
    }));
}

fn current<R>(f: impl FnOnce(&Scenario) -> R) -> R {
    CURRENT.with_borrow(|scenario| f(scenario.as_ref().unwrap()))
}

/// Writes a line, with the seconds since the start in front.
pub(crate) fn say(what: impl Display) {
    current(|scenario| scenario.say(what));
}

/// Compares all lines since the last comparison, reports of the loop included.
#[track_caller]
pub(crate) fn said<const N: usize>(lines: [&str; N]) {
    let trace = current(|scenario| scenario.trace.clone());
    trace.expect(lines);
}

/// Takes out all lines since the last comparison.
pub(crate) fn take_lines() -> Vec<String> {
    current(|scenario| scenario.trace.take())
}

/// Calls `f` so many seconds after the start.
pub(crate) fn at(seconds: f64, f: impl FnOnce() + 'static) {
    at_box(seconds, Box::new(f));
}

/// One function for all callbacks, so that a timer's is compiled once.
fn at_box(seconds: f64, f: Box<dyn FnOnce()>) {
    let (handle, when) = current(|scenario| (scenario.handle.clone(), scenario.at(seconds)));
    handle.call_at(when, f);
}

/// Waits until so many seconds after the start.
pub(crate) async fn until(seconds: f64) {
    sleep_until(current(|scenario| scenario.at(seconds))).await;
}

/// Writes a line when it is dropped.
pub(crate) struct Farewell(pub(crate) &'static str);

impl Drop for Farewell {
    fn drop(&mut self) {
        say(format!("{} is dropped", self.0));
    }
}

/// Waits for ever. When it is cancelled it cleans up for so many seconds and passes the cancellation on.
pub(crate) async fn tidy(name: &'static str, seconds: u32) {
    let cancelled = catch_cancelled(pending::<()>()).await.unwrap_err();
    say(format!("{name} cleans up"));
    sleep(SECOND * seconds).await;
    say(format!("{name} is clean"));
    cancelled.resume().await;
}

/// Waits for ever. When it is cancelled it waits for so many seconds and then goes on.
pub(crate) async fn stubborn(name: &'static str, seconds: u32) {
    let cancelled = catch_cancelled(pending::<()>()).await.unwrap_err();
    say(format!("{name} is asked"));
    sleep(SECOND * seconds).await;
    drop(cancelled);
    say(format!("{name} goes on"));
}

/// Waits for ever. When it is cancelled it goes on at once.
pub(crate) async fn unmoved(name: &'static str) {
    drop(catch_cancelled(pending::<()>()).await);
    say(format!("{name} goes on"));
}

/// Polls its future only while the gate is open. It is cancelled with its task, as any future.
pub(crate) async fn gated<F: Future>(gate: Rc<Cell<bool>>, future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(move |context| {
        if gate.get() {
            future.as_mut().poll(context)
        } else {
            Poll::Pending
        }
    })
    .await
}

/// Returns how a task ended, in short.
pub(crate) fn ending<T: Debug>(result: &Result<T, TaskError>) -> String {
    match result {
        Ok(value) => format!("ended: {value:?}"),
        Err(TaskError::Cancelled(cancelled)) => {
            let message = cancelled.message().map(|text| format!(" {text:?}"));
            let origin = cancelled.origin();
            format!("cancelled by {origin:?}{}", message.unwrap_or_default())
        }
        Err(error) => error.to_string(),
    }
}

/// Returns how a task ended, in one line. The task must have ended.
pub(crate) fn ending_of<T: Debug + 'static>(task: &mut Task<T>) -> String {
    match task.result() {
        Ok(Ok(value)) => format!("{value:?}"),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "unfinished".to_owned(),
    }
}

/// Returns how an await of a task ended, in one line.
pub(crate) fn outcome<T: Debug>(outcome: Result<T, TaskError>) -> String {
    match outcome {
        Ok(value) => format!("{value:?}"),
        Err(error) => error.to_string(),
    }
}

/// Runs `future` as a task that is cancelled at each of these times, with the time as its message, and says how it
/// ended. More than an hour is for ever.
pub(crate) fn cancelled_at<T: Debug + 'static>(
    event_loop: &EventLoop,
    times: &[f64],
    future: impl Future<Output = T> + 'static,
) {
    cancelled_box_at(event_loop, times, Box::pin(future));
}

/// One function for all futures of a type, so that their task is compiled once.
fn cancelled_box_at<T: Debug + 'static>(
    event_loop: &EventLoop,
    times: &[f64],
    future: Pin<Box<dyn Future<Output = T>>>,
) {
    let mut task = event_loop.create_task(future);
    for time in times {
        let (task, message) = (task.as_ref(), time.to_string());
        at(*time, move || {
            task.cancel_with(message);
        });
    }
    finish(event_loop, &mut task);
}

/// Runs the loop until the task has ended, and says how. More than an hour is for ever.
pub(crate) fn finish<T: Debug + 'static>(event_loop: &EventLoop, task: &mut Task<T>) {
    let handle = event_loop.handle();
    let limit = event_loop.call_later(SECOND * 3600, move || handle.stop());
    // Awaited from behind a shield: the main task is not part of what is tested.
    match event_loop.run_until_complete(shield(&mut *task)) {
        Ok(result) => say(ending(&result)),
        Err(RunError::Stopped) => panic!("it hangs: {:?}", take_lines()),
        Err(error) => panic!("the run failed: {error}"),
    }
    limit.cancel();
}
