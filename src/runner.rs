//! `run` and `Runner`: a program's whole life on one loop.
//!
//! ```text
//! run(main)   the loop is created, main runs; Ctrl-C cancels main, a second one ends the process
//! close()     1 other tasks are cancelled and awaited    2 registered clean-ups run
//!             3 the default executor's jobs end          4 the loop is closed
//! ```
//! Steps 1 to 3 share one deadline. What has not ended by then is named in a report, and step 4 drops it. The steps are
//! taken in this order with any result of main, even if its panic unwinds through this module. The order in which the
//! caller drops its own values does not matter.

use std::cell::RefCell;
use std::fmt;
use std::future::IntoFuture;
use std::panic::Location;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::async_drop::{begin_end, is_clean_up};
use crate::combine::observer::TaskObserver;
use crate::error::RunError;
use crate::event_loop::builder::Builder;
use crate::event_loop::free::try_get_running_loop;
use crate::event_loop::owner::EventLoop;
use crate::kernel::context::Context;
use crate::kernel::enter::catch_panic;
use crate::kernel::loop_handle::LoopHandle;
use crate::kernel::report::ExceptionContext;
use crate::kernel::task::reference::TaskRef;
use crate::signal::interrupts::Interrupts;
use crate::sys::signal::is_main_thread;
use crate::time::timeout::timeout_at;

/// The default limit of the time that the end of a program takes: asyncio's limit for joining its executor's threads.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(300);

/// Creates a loop, runs `main` on it, ends everything that is left, and closes the loop: asyncio's `run`.
///
/// When `main` has ended, all other tasks are cancelled and awaited, registered [clean-ups](crate::defer_async_drop)
/// run, the jobs of the default executor are awaited, and the loop is closed. What has not ended after 300 seconds is
/// reported and dropped. A [`Runner`] sets other limits, and runs more than one future.
///
/// On the program's main thread, the first Ctrl-C cancels `main`, and a second one ends the process as it does by
/// default. If a handler for the signal is installed already, it is left alone.
///
/// # Differences from asyncio
/// - A second Ctrl-C ends the process. asyncio raises `KeyboardInterrupt` in the running code.
/// - The 300 seconds are one limit for tasks, clean-ups and jobs together. asyncio limits only the executor's threads.
/// - `main` may be any future, also one that is not `'static`.
///
/// # Errors
/// [`RunError::Nested`] inside a running loop. [`RunError::Io`] if the loop's descriptors cannot be created, or if
/// waiting for events fails. [`RunError::Interrupted`] if Ctrl-C ended `main`. [`RunError::Stopped`] and
/// [`RunError::Cancelled`] as for [`EventLoop::run_until_complete`].
///
/// # Panics
/// A panic of `main` resumes here, after everything else has ended.
///
/// ```
/// let answer = callsoon::run(async {
///     callsoon::sleep(std::time::Duration::from_millis(1)).await;
///     42
/// });
/// assert_eq!(answer.unwrap(), 42);
/// ```
#[track_caller]
pub fn run<F: IntoFuture>(main: F) -> Result<F::Output, RunError> {
    let mut runner = Runner::new();
    let result = runner.run(main);
    runner.close()?;
    result
}

/// Runs several futures one after the other on one loop, with everything that [`run`] does: asyncio's `Runner`.
///
/// The loop is created at the first use. Context variables that one future sets keep their values for the next.
/// Dropping the runner [closes](Self::close) it.
///
/// # Differences from asyncio
/// - [`with_builder`](Self::with_builder) takes the place of `loop_factory` and `debug`, and
///   [`event_loop`](Self::event_loop) that of `get_loop`.
/// - [`run`](Self::run) has no `context` argument. A task with a context of its own is made by
///   [`TaskBuilder::context`](crate::TaskBuilder::context).
/// - [`handle_ctrl_c`](Self::handle_ctrl_c) and [`shutdown_timeout`](Self::shutdown_timeout) have no counterpart.
/// - Those of [`run`].
///
/// ```
/// let mut runner = callsoon::Runner::new();
/// let half = runner.run(async { 21 }).unwrap();
/// let whole = runner.run(async move { half * 2 }).unwrap();
/// assert_eq!(whole, 42);
/// runner.close().unwrap();
/// ```
#[must_use = "it runs nothing by itself"]
pub struct Runner {
    stage: Stage,
    /// The context that one run leaves for the next.
    context: Option<Context>,
    ctrl_c: bool,
    shutdown_timeout: Duration,
}

enum Stage {
    /// The loop is created at the first use.
    New(Builder),
    Open(EventLoop),
    Closed,
}

impl Default for Runner {
    fn default() -> Self {
        Self::new()
    }
}

impl Runner {
    /// Creates a runner. Its loop is created at the first use.
    ///
    /// ```
    /// let mut runner = callsoon::Runner::new();
    /// runner.run(async {}).unwrap();
    /// ```
    pub fn new() -> Self {
        Self::with_builder(EventLoop::builder())
    }

    /// Creates a runner whose loop is built by `builder`: asyncio's `loop_factory` and `debug`.
    ///
    /// ```
    /// use callsoon::{Clock, EventLoop, Runner, sleep};
    /// use std::time::Duration;
    /// let mut runner = Runner::with_builder(EventLoop::builder().clock(Clock::Virtual));
    /// runner.run(sleep(Duration::from_secs(86_400))).unwrap();
    /// ```
    pub fn with_builder(builder: Builder) -> Self {
        Self {
            stage: Stage::New(builder),
            context: None,
            ctrl_c: true,
            shutdown_timeout: SHUTDOWN_TIMEOUT,
        }
    }

    /// Sets whether Ctrl-C cancels the main future; the default is `true`. This applies on the program's main thread
    /// only, and only if no handler for the signal is installed.
    ///
    /// ```
    /// let mut runner = callsoon::Runner::new().handle_ctrl_c(false);
    /// runner.run(async {}).unwrap();
    /// ```
    pub fn handle_ctrl_c(mut self, handle: bool) -> Self {
        self.ctrl_c = handle;
        self
    }

    /// Sets how long [`close`](Self::close) may wait for tasks, clean-ups and jobs together, on the loop's clock. The
    /// default is 300 seconds. [`Duration::MAX`] means no limit.
    ///
    /// ```
    /// use std::time::Duration;
    /// let mut runner = callsoon::Runner::new().shutdown_timeout(Duration::from_secs(5));
    /// runner.run(async {}).unwrap();
    /// ```
    pub fn shutdown_timeout(mut self, timeout: Duration) -> Self {
        self.shutdown_timeout = timeout;
        self
    }

    /// Returns the loop, and creates it if there is none yet: asyncio's `get_loop`.
    ///
    /// # Errors
    /// [`RunError::Io`] if the loop's descriptors cannot be created; [`RunError::Closed`] after [`close`](Self::close).
    ///
    /// ```
    /// let mut runner = callsoon::Runner::new();
    /// let handle = runner.event_loop().unwrap().handle();
    /// handle.call_soon(|| println!("runs before main"));
    /// runner.run(async {}).unwrap();
    /// ```
    #[doc(alias = "get_loop")]
    pub fn event_loop(&mut self) -> Result<&EventLoop, RunError> {
        if let Stage::New(builder) = &self.stage {
            self.stage = Stage::Open(builder.clone().build()?);
        }
        match &self.stage {
            Stage::Open(event_loop) => Ok(event_loop),
            Stage::New(_) | Stage::Closed => Err(RunError::Closed),
        }
    }

    /// Runs `main` until it has ended. Other tasks stay as they are, for the next call.
    ///
    /// # Errors
    /// [`RunError::Nested`] inside a running loop. [`RunError::Closed`] after [`close`](Self::close). [`RunError::Io`]
    /// if the loop's descriptors cannot be created, or if waiting for events fails. [`RunError::Interrupted`] if Ctrl-C
    /// ended `main`. [`RunError::Stopped`] and [`RunError::Cancelled`] as for [`EventLoop::run_until_complete`].
    ///
    /// # Panics
    /// A panic of `main` resumes here.
    ///
    /// ```
    /// let mut runner = callsoon::Runner::new();
    /// assert_eq!(runner.run(async { 6 * 7 }).unwrap(), 42);
    /// ```
    #[track_caller]
    pub fn run<F: IntoFuture>(&mut self, main: F) -> Result<F::Output, RunError> {
        let location = Location::caller();
        if try_get_running_loop().is_some() {
            return Err(RunError::Nested);
        }
        self.event_loop()?;
        let Stage::Open(event_loop) = &self.stage else {
            return Err(RunError::Closed);
        };
        let interrupted = CtrlC::watch(event_loop, self.ctrl_c);
        let keeper = ContextKeeper::new(event_loop, &mut self.context);
        let result = event_loop.run_root(main, keeper.context.clone(), location);
        drop(keeper);
        match result {
            Err(RunError::Cancelled(_)) if interrupted.ended_main() => Err(RunError::Interrupted),
            result => result,
        }
    }

    /// Ends everything, in this order. Tasks are cancelled and awaited, including those that are started meanwhile.
    /// Registered [clean-ups](crate::defer_async_drop) run. The jobs of the default executor are awaited. The loop is
    /// closed. A second call does nothing.
    ///
    /// A panic of a task that ends here goes to the exception handler. What has not ended in time is reported there
    /// too.
    ///
    /// # Errors
    /// [`RunError::Nested`] inside a running loop; the loop stays open then. [`RunError::Io`] if waiting for events
    /// fails; the loop is closed then.
    ///
    /// ```
    /// let mut runner = callsoon::Runner::new();
    /// runner.run(async { callsoon::create_task(std::future::pending::<()>()).detach() }).unwrap();
    /// runner.close().unwrap();
    /// assert!(matches!(runner.run(async {}), Err(callsoon::RunError::Closed)));
    /// ```
    pub fn close(&mut self) -> Result<(), RunError> {
        if try_get_running_loop().is_some() && matches!(self.stage, Stage::Open(_)) {
            return Err(RunError::Nested);
        }
        let Stage::Open(event_loop) = std::mem::replace(&mut self.stage, Stage::Closed) else {
            return Ok(());
        };
        let ended = end_all(&event_loop, self.shutdown_timeout);
        event_loop.close()?;
        let context = self.context.take();
        catch_panic("Exception in the destructor of a context", || drop(context));
        ended
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        // Errors were reported. Inside a running loop, dropping the `EventLoop` closes what can be closed.
        let _ = self.close();
    }
}

impl fmt::Debug for Runner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match &self.stage {
            Stage::New(_) => "new",
            Stage::Open(_) => "open",
            Stage::Closed => "closed",
        };
        f.debug_struct("Runner")
            .field("stage", &format_args!("{stage}"))
            .finish_non_exhaustive()
    }
}

/// Takes the context of a run's main task back into the runner when it is dropped. That also happens when a panic
/// unwinds through the run.
struct ContextKeeper<'a> {
    event_loop: &'a EventLoop,
    /// The context for the run; `None` if no variable was set.
    context: &'a mut Option<Context>,
}

impl<'a> ContextKeeper<'a> {
    fn new(event_loop: &'a EventLoop, context: &'a mut Option<Context>) -> Self {
        event_loop.state.root.keeps_context.set(true);
        Self {
            event_loop,
            context,
        }
    }
}

impl Drop for ContextKeeper<'_> {
    fn drop(&mut self) {
        let root = &self.event_loop.state.root;
        root.keeps_context.set(false);
        // A run that did not start leaves no context.
        if let Some(context) = root.context.take() {
            *self.context = Some(context);
        }
    }
}

/// The handling of Ctrl-C during one run.
struct CtrlC {
    /// Restores the signal's previous action when it is dropped.
    _interrupts: Option<Interrupts>,
    /// The main task, after a Ctrl-C has cancelled it.
    cancelled: Rc<RefCell<Option<TaskRef>>>,
}

impl CtrlC {
    fn watch(event_loop: &EventLoop, wanted: bool) -> Self {
        let cancelled = Rc::default();
        let interrupts = (wanted && is_main_thread()).then(|| {
            let (handle, cancelled) = (event_loop.handle(), Rc::clone(&cancelled));
            Interrupts::install(event_loop, move || interrupt(&handle, &cancelled))
        });
        Self {
            // If it cannot be installed, Ctrl-C ends the process, as it does by default.
            _interrupts: interrupts.and_then(|installed| installed.ok().flatten()),
            cancelled,
        }
    }

    /// Returns whether Ctrl-C was the only reason for which the main task was cancelled.
    fn ended_main(&self) -> bool {
        let main = self.cancelled.take();
        main.is_some_and(|main| main.uncancel() == 0)
    }
}

/// Handles the first Ctrl-C.
fn interrupt(handle: &LoopHandle, cancelled: &RefCell<Option<TaskRef>>) {
    let main = handle.main_task();
    if let Some(main) = &main {
        main.cancel_with("interrupted by Ctrl-C");
    }
    let former = cancelled.replace(main);
    drop(former);
}

/// Takes steps 1 to 3 of [`Runner::close`].
fn end_all(event_loop: &EventLoop, timeout: Duration) -> Result<(), RunError> {
    event_loop.state.is_ending.set(true);
    let clock = &event_loop.state.clock;
    // A deadline beyond the clock's range becomes the end of the range, which never comes.
    let deadline = clock.instant(clock.after(timeout));
    let handle = event_loop.handle();
    begin_end(&handle);
    let mut end = pin!(end_in_order(handle, deadline));
    loop {
        match event_loop.run_until_complete(end.as_mut()) {
            // A call of `stop` during the shutdown is ignored.
            Err(RunError::Stopped) => {}
            result => return result,
        }
    }
}

async fn end_in_order(handle: LoopHandle, deadline: Instant) {
    if timeout_at(deadline, end_tasks(&handle)).await.is_err() {
        report_unended(&handle, "tasks that were cancelled had not ended");
    }
    let clean_ups = handle.shutdown_async_drops();
    if timeout_at(deadline, clean_ups).await.is_err() {
        report_unended(&handle, "clean-ups had not ended");
    }
    // A clean-up may have started tasks.
    if timeout_at(deadline, end_tasks(&handle)).await.is_err() {
        report_unended(&handle, "tasks that were cancelled had not ended");
    }
    let left = deadline.saturating_duration_since(handle.time());
    if let Err(stuck) = handle.shutdown_default_executor(left).await {
        handle.call_exception_handler(&ExceptionContext {
            message: "The program ends while jobs of the default executor still run".to_owned(),
            exception: Some(Arc::new(stuck)),
            ..ExceptionContext::default()
        });
    }
}

/// Cancels all tasks and waits for them, until only clean-ups are left.
async fn end_tasks(handle: &LoopHandle) {
    loop {
        let own = handle.current_task();
        let mut tasks = handle.all_tasks();
        tasks.retain(|task| own.as_ref() != Some(task) && !is_clean_up(handle, task));
        if tasks.is_empty() {
            return;
        }
        for task in &tasks {
            task.cancel_with("the main task has ended");
        }
        TaskObserver::of(tasks.iter().cloned()).all_ended().await;
        for task in &tasks {
            let header = task.task.header();
            if let Some(panicked) = header.take_panic() {
                let message = "Unhandled exception during the end of run()";
                let state = &handle.state;
                state.report_in_context_of(&task.task, message, panicked);
            }
        }
    }
}

/// Reports the names of the tasks that are dropped unfinished.
fn report_unended(handle: &LoopHandle, what: &str) {
    let own = handle.current_task();
    let mut tasks = handle.all_tasks();
    tasks.retain(|task| own.as_ref() != Some(task));
    for task in &tasks {
        let header = task.task.header();
        header.with_cold(|cold| cold.named_unended = true);
    }
    let names: Vec<_> = tasks.iter().map(TaskRef::name).collect();
    let names = names.join(", ");
    let message = format!("The program ends although {what} by its deadline: {names}");
    handle.call_exception_handler(&ExceptionContext::new(message));
}
