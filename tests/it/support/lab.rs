//! One loop on the virtual clock and one trace, which everything in a test's thread can reach; for tests about scopes.

use std::cell::{Cell, RefCell};
use std::fmt::{Debug, Display};
use std::future::{Future, pending, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use callsoon::{EventLoop, LoopHandle, RunError, TaskError, catch_cancelled, sleep};

use super::{Trace, audited, virtual_loop};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

thread_local! {
    static BENCH: RefCell<Option<Bench>> = const { RefCell::new(None) };
}

struct Bench {
    trace: Trace,
    start: Instant,
    handle: LoopHandle,
}

/// Runs a test with a loop on the virtual clock. Afterwards no line of its trace is unread, and its loop holds neither
/// a task nor a scope.
pub(crate) fn lab(test: impl FnOnce(&EventLoop) + Send + 'static) {
    lab_box(Box::new(test));
}

/// One function for all tests, so that it is compiled once.
fn lab_box(test: Box<dyn FnOnce(&EventLoop) + Send>) {
    audited(|| {
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        let bench = Bench {
            trace: trace.clone(),
            start: event_loop.time(),
            handle: event_loop.handle(),
        };
        BENCH.set(Some(bench));
        test(&event_loop);
        trace.expect([]);
        let metrics = event_loop.metrics();
        assert_eq!(
            (metrics.tasks, metrics.scopes),
            (0, 0),
            "tasks and scopes left"
        );
        BENCH.set(None);
    });
}

fn bench<R>(f: impl FnOnce(&Bench) -> R) -> R {
    BENCH.with_borrow(|bench| f(bench.as_ref().unwrap()))
}

/// Writes a line, with the seconds since the test began in front.
pub(crate) fn say(what: impl Display) {
    bench(|bench| {
        let now = bench.handle.time() - bench.start;
        bench.trace.push(format!("{} {what}", now.as_secs_f64()));
    });
}

/// Compares all that was said since the last look, reports of the loop included.
#[track_caller]
pub(crate) fn said<const N: usize>(lines: [&str; N]) {
    let trace = bench(|bench| bench.trace.clone());
    trace.expect(lines);
}

/// Takes out all that was said since the last look.
pub(crate) fn heard() -> Vec<String> {
    bench(|bench| bench.trace.take())
}

/// Calls `f` so many seconds after the test began.
pub(crate) fn at(seconds: f64, f: impl FnOnce() + 'static) {
    at_box(seconds, Box::new(f));
}

/// One function for all callbacks, so that a timer's is compiled once.
fn at_box(seconds: f64, f: Box<dyn FnOnce()>) {
    let (handle, when) = bench(|bench| {
        let when = bench.start + Duration::from_secs_f64(seconds);
        (bench.handle.clone(), when)
    });
    handle.call_at(when, f);
}

/// Waits until so many seconds after the test began.
pub(crate) async fn until(seconds: f64) {
    callsoon::sleep_until(bench(|bench| {
        bench.start + Duration::from_secs_f64(seconds)
    }))
    .await;
}

/// Says when it is dropped.
pub(crate) struct Farewell(pub(crate) &'static str);

impl Drop for Farewell {
    fn drop(&mut self) {
        say(format!("{} is dropped", self.0));
    }
}

/// Waits for ever; cancelled, it cleans up for so many seconds and passes the cancellation on.
pub(crate) async fn tidy(name: &'static str, seconds: u32) {
    let cancelled = catch_cancelled(pending::<()>()).await.unwrap_err();
    say(format!("{name} cleans up"));
    sleep(SECOND * seconds).await;
    say(format!("{name} is clean"));
    cancelled.resume().await;
}

/// Waits for ever; cancelled, it thinks about it for so many seconds and goes on.
pub(crate) async fn stubborn(name: &'static str, seconds: u32) {
    let cancelled = catch_cancelled(pending::<()>()).await.unwrap_err();
    say(format!("{name} is asked"));
    sleep(SECOND * seconds).await;
    drop(cancelled);
    say(format!("{name} goes on"));
}

/// Waits for ever; cancelled, it goes on at once.
pub(crate) async fn unmoved(name: &'static str) {
    drop(catch_cancelled(pending::<()>()).await);
    say(format!("{name} goes on"));
}

/// Polls its future only while the gate is open; cancelled with its task, as any future.
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

/// How a task ended, in short.
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

/// Runs `future` as a task that is cancelled at each of these times, with the time as its message, and says how it ended.
/// More than an hour is for ever.
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
pub(crate) fn finish<T: Debug + 'static>(event_loop: &EventLoop, task: &mut callsoon::Task<T>) {
    let handle = event_loop.handle();
    let limit = event_loop.call_later(SECOND * 3600, move || handle.stop());
    // Awaited from behind a shield: the main task is not part of what is tested.
    match event_loop.run_until_complete(callsoon::shield(&mut *task)) {
        Ok(result) => say(ending(&result)),
        Err(RunError::Stopped) => panic!("it hangs: {:?}", bench(|bench| bench.trace.take())),
        Err(error) => panic!("the run failed: {error}"),
    }
    limit.cancel();
}
