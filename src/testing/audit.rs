//! The audit at the end of a test: what ends by itself is given the time to do so, and what is left is listed.

use std::cell::RefCell;
use std::pin::pin;
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use crate::error::RunError;
use crate::event_loop::owner::EventLoop;
use crate::event_loop::pending::PendingKind;
use crate::kernel::loop_handle::LoopHandle;
use crate::kernel::report::ExceptionContext;
use crate::testing::leftover::Leftover;
use crate::testing::settle::settles;
#[cfg(target_os = "linux")]
use crate::testing::started::Started;
use crate::time::timeout::timeout;

/// How long clean-ups may take, on the loop's clock: as at the end of a program.
const CLEAN_UPS: Duration = Duration::from_secs(300);

/// How long what depends on the system may take, in real time: connections to close, threads and processes to end.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long to wait for an event between two looks at what is left.
const PAUSE: Duration = Duration::from_millis(1);

/// What is noted while a test runs.
pub(crate) struct Audit {
    failures: Rc<RefCell<Vec<String>>>,
    #[cfg(target_os = "linux")]
    started: Started,
}

impl Audit {
    /// Begins before the loop is made, whose threads count as well.
    pub(crate) fn begin() -> Self {
        Self {
            failures: Rc::default(),
            #[cfg(target_os = "linux")]
            started: Started::watch(),
        }
    }

    /// Notes the failures that are reported to a loop, unless the test sets a handler of its own.
    pub(crate) fn listen_to(&self, event_loop: &EventLoop) {
        let failures = Rc::clone(&self.failures);
        event_loop.set_exception_handler(move |_, context| {
            let text = describe(context);
            failures.borrow_mut().push(text);
        });
    }

    /// Ends the loop of a test whose future has ended, and lists what it has left.
    pub(crate) fn leftovers(self, event_loop: EventLoop) -> Result<Vec<Leftover>, RunError> {
        event_loop.state.is_ending.set(true);
        let jobs = end_helpers(&event_loop)?;
        event_loop.state.clock.set_jumps(false);
        let mut left = self.left_after_patience(&event_loop)?;
        if jobs > 0 {
            left.push(Leftover::Jobs(jobs));
        }
        let failures = self.failures.take();
        left.extend(failures.into_iter().map(Leftover::Failure));
        // What is pending is in the list. Its destruction is no further failure, but one in it is.
        event_loop.close()?;
        let late = self.failures.take();
        let late = late.into_iter().filter(|text| !text.starts_with(DESTROYED));
        left.extend(late.map(Leftover::Failure));
        // The loop's own threads end when it is closed.
        left.extend(self.threads_after_patience());
        Ok(left)
    }

    /// Runs turns until nothing is left, or until all that can end by itself has had its time.
    fn left_after_patience(&self, event_loop: &EventLoop) -> Result<Vec<Leftover>, RunError> {
        let began = Instant::now();
        loop {
            ignore_stop(event_loop, |handle| async move { settles(&handle).await })?;
            let mut left = of_loop(event_loop);
            let processes = self.processes();
            let may_end = event_loop.metrics().sources > 0
                || !processes.is_empty()
                || event_loop.state.is_inhibited();
            left.extend(processes);
            if left.is_empty() || !may_end || began.elapsed() >= PATIENCE {
                return Ok(left);
            }
            event_loop.turn(Some(PAUSE))?;
        }
    }

    /// Lists the threads that run still. One that was joined is in the list of the system for a moment longer.
    fn threads_after_patience(&self) -> Vec<Leftover> {
        let began = Instant::now();
        loop {
            #[cfg(target_os = "linux")]
            let (threads, undecided) = self.started.threads();
            #[cfg(not(target_os = "linux"))]
            let (threads, undecided) = (Vec::new(), false);
            if threads.is_empty() && !undecided || began.elapsed() >= PATIENCE {
                let threads = threads.into_iter();
                return threads
                    .map(|(id, name)| Leftover::Thread { id, name })
                    .collect();
            }
            thread::sleep(PAUSE);
        }
    }

    fn processes(&self) -> Vec<Leftover> {
        #[cfg(target_os = "linux")]
        let processes = self.started.children();
        #[cfg(not(target_os = "linux"))]
        let processes = Vec::new();
        let processes = processes.into_iter();
        processes
            .map(|(id, name)| Leftover::Process { id, name })
            .collect()
    }
}

/// How the report of a task begins that is pending when its loop closes.
const DESTROYED: &str = "Task was destroyed but it is pending!";

fn describe(context: &ExceptionContext) -> String {
    let mut text = context.message.clone();
    if let Some(panic) = &context.panic {
        text += &format!(" ({})", panic.message());
    }
    if let Some(exception) = &context.exception {
        text += &format!(" ({exception})");
    }
    if let Some(task) = &context.task {
        text += &format!(", {task}");
    }
    if let Some(location) = context.location {
        text += &format!(", created at {location}");
    }
    text
}

/// Runs the registered clean-ups, and ends the threads of the default executor. Returns how many of its jobs are stuck.
fn end_helpers(event_loop: &EventLoop) -> Result<usize, RunError> {
    ignore_stop(event_loop, |handle| async move {
        // Clean-ups that are not done by then are pending tasks, which are listed.
        let _ = timeout(CLEAN_UPS, handle.shutdown_async_drops()).await;
        let ended = handle.shutdown_default_executor(PATIENCE).await;
        ended.err().map_or(0, |stuck| stuck.jobs)
    })
}

/// Runs a future to its end. What the test has left may call `stop`, which is ignored.
fn ignore_stop<F: Future>(
    event_loop: &EventLoop,
    future: impl FnOnce(LoopHandle) -> F,
) -> Result<F::Output, RunError> {
    let mut future = pin!(future(event_loop.handle()));
    loop {
        match event_loop.run_until_complete(future.as_mut()) {
            Err(RunError::Stopped) => {}
            result => return result,
        }
    }
}

/// Lists what a loop holds.
fn of_loop(event_loop: &EventLoop) -> Vec<Leftover> {
    let tasks = event_loop.all_tasks().into_iter();
    let mut left: Vec<_> = tasks
        .map(|task| Leftover::Task {
            name: task.name(),
            location: task.location(),
        })
        .collect();
    let ready = event_loop.pending_callbacks().into_iter();
    let ready = ready.filter(|pending| pending.kind == PendingKind::Callback);
    let places = ready.filter_map(|pending| pending.location);
    left.extend(places.map(|location| Leftover::Callback { location }));
    let state = &event_loop.state;
    let now = state.clock.now();
    let mut deadlines = state.timers(|timers| {
        let callbacks = timers.each().filter(|(task, _)| task.is_none());
        callbacks.map(|(_, deadline)| deadline).collect::<Vec<_>>()
    });
    deadlines.sort_unstable();
    left.extend(deadlines.into_iter().map(|deadline| Leftover::Timer {
        due_in: (deadline != u64::MAX).then(|| Duration::from_nanos(deadline.saturating_sub(now))),
    }));
    let sources = event_loop.metrics().sources;
    if sources > 0 {
        left.push(Leftover::Sources(sources));
    }
    left
}
