//! A whole program as a test: one async function on the virtual clock, what it says and when.

use std::fmt::Display;
use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use callsoon::{Task, TaskError, catch_cancelled, get_running_loop, sleep};

use super::{Trace, audited, virtual_loop, watched};

/// Writes lines with the seconds since the start in front.
#[derive(Clone)]
pub(crate) struct Story {
    trace: Trace,
    pub(crate) start: Instant,
}

impl Story {
    pub(crate) fn say(&self, line: impl Display) {
        let time = get_running_loop()
            .time()
            .saturating_duration_since(self.start);
        self.trace.push(format!("{}: {line}", time.as_secs_f64()));
    }

    /// A time so many seconds after the start.
    pub(crate) fn at(&self, seconds: f64) -> Instant {
        self.start + Duration::from_secs_f64(seconds)
    }

    /// Sleeps and says so; when cancelled, says so too, cleans up for so many seconds, and passes the request on.
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

    /// [`worker`](Self::worker) that keeps on when it is cancelled: it gives its name all the same.
    pub(crate) async fn stubborn(self, name: &'static str, work: f64, more: f64) -> &'static str {
        if let Err(cancelled) = catch_cancelled(sleep(Duration::from_secs_f64(work))).await {
            self.say(format!("{name} ignores: {cancelled}"));
            drop(cancelled);
            sleep(Duration::from_secs_f64(more)).await;
        }
        name
    }
}

/// How a task ended, in one line; it must have.
pub(crate) fn ending<T: std::fmt::Debug + 'static>(task: &mut Task<T>) -> String {
    match task.result() {
        Ok(Ok(value)) => format!("{value:?}"),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "unfinished".to_owned(),
    }
}

/// How an await of a task ended, in one line.
pub(crate) fn outcome<T: std::fmt::Debug>(outcome: Result<T, TaskError>) -> String {
    match outcome {
        Ok(value) => format!("{value:?}"),
        Err(error) => error.to_string(),
    }
}

type Main = Box<dyn for<'a> FnOnce(&'a Story) -> Pin<Box<dyn Future<Output = ()> + 'a>> + Send>;

/// Runs a story to its end and compares all that was said, reports included. A hang is an error, and so is a task or a
/// timer that is left over a turn after the end.
#[track_caller]
pub(crate) fn told<const N: usize>(
    main: impl AsyncFnOnce(&Story) + Send + 'static,
    lines: [&'static str; N],
) {
    told_box(
        Box::new(|story| Box::pin(async move { main(story).await })),
        lines.into(),
    );
}

#[track_caller]
fn told_box(main: Main, lines: Vec<&'static str>) {
    audited(watched(move || {
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        let story = Story {
            trace: trace.clone(),
            start: event_loop.time(),
        };
        let handle = event_loop.handle();
        let hang = event_loop.call_later(Duration::from_secs(1 << 30), move || handle.stop());
        if let Err(error) = event_loop.run_until_complete(main(&story)) {
            panic!("{error}; so far: {:#?}", trace.take());
        }
        drop(hang);
        super::one_turn(&event_loop);
        let metrics = event_loop.metrics();
        // The timer against hangs is one; dropping its handle leaves it.
        let left = (metrics.tasks, metrics.timers, metrics.ready, metrics.scopes);
        let said = trace.take();
        assert_eq!(said, lines);
        assert_eq!(
            left,
            (0, 1, 0, 0),
            "tasks, timers, entries, scopes are left"
        );
        event_loop.close().unwrap();
        assert_eq!(trace.take(), Vec::<String>::new());
    }));
}
