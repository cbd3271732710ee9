//! `run` and `Runner`: a program's whole life on one loop.
//!
//! ```text
//! run(main)   the loop is made, main runs; Ctrl-C cancels main, a second one ends the process
//! close()     1 what is left is cancelled and awaited    2 deposited clean-ups run
//!             3 the default executor's jobs end          4 the loop is closed
//! ```
//! Steps 1 to 3 share one deadline: what has not ended by then is named in a report and dropped by step 4. They happen in
//! this order whatever became of main, also when its panic unwinds through here, and nothing depends on the order in
//! which the caller drops its own things.

use std::cell::RefCell;
use std::fmt;
use std::future::IntoFuture;
use std::panic::Location;
use std::pin::pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::async_drop::{begin_end, is_clean_up};
use crate::combine::observer::TaskObserver;
use crate::error::RunError;
use crate::event_loop::builder::Builder;
use crate::event_loop::free::try_get_running_loop;
use crate::event_loop::owner::EventLoop;
use crate::kernel::context::Context;
use crate::kernel::loop_handle::LoopHandle;
use crate::kernel::report::ExceptionContext;
use crate::kernel::task::reference::TaskRef;
#[cfg(unix)]
use crate::signal::interrupts::Interrupts;
#[cfg(unix)]
use crate::sys::signal::is_main_thread;
use crate::time::timeout::timeout_at;

/// How long the end of a program may take: asyncio's limit for joining its executor's threads.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(300);

/// Makes a loop, runs `main` on it, ends what is left, closes the loop: asyncio's `run`.
///
/// When `main` is done, all other tasks are cancelled and awaited, [clean-ups](crate::defer_async_drop) that were deposited
/// run, the default executor's jobs are waited for, and the loop is closed. What has not ended after 300 seconds is
/// reported and dropped. A [`Runner`] sets other limits, and runs more than once.
///
/// On the program's main thread, and unless somebody else handles the signal, the first Ctrl-C cancels `main`; a second
/// one ends the process as if nobody handled it.
///
/// # Errors
/// [`RunError::Io`] where the system refuses the loop its descriptors, [`RunError::Nested`] inside a running loop,
/// [`RunError::Interrupted`] where Ctrl-C ended `main`, and what [`EventLoop::run_until_complete`] gives.
///
/// # Panics
/// A panic of `main` resumes here, after everything else was ended.
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
/// The loop is made at the first use. Context variables that one future sets are there for the next. Dropping the runner
/// [closes](Self::close) it.
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
    /// What one future has set is there for the next.
    context: Option<Context>,
    ctrl_c: bool,
    shutdown_timeout: Duration,
}

enum Stage {
    /// The loop is made at the first use.
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
    /// A runner whose loop is made at the first use.
    ///
    /// ```
    /// let mut runner = callsoon::Runner::new();
    /// runner.run(async {}).unwrap();
    /// ```
    pub fn new() -> Self {
        Self::with_builder(EventLoop::builder())
    }

    /// A runner whose loop is built so: asyncio's `loop_factory` and `debug`.
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

    /// Whether Ctrl-C cancels the main future; it does unless this says no. Only on the program's main thread, and where
    /// nobody else handles the signal.
    ///
    /// ```
    /// let mut runner = callsoon::Runner::new().handle_ctrl_c(false);
    /// runner.run(async {}).unwrap();
    /// ```
    pub fn handle_ctrl_c(mut self, handle: bool) -> Self {
        self.ctrl_c = handle;
        self
    }

    /// How long [`close`](Self::close) may wait for tasks, clean-ups and jobs altogether; 300 seconds unless this says
    /// otherwise, on the loop's clock. [`Duration::MAX`] is no limit.
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

    /// The loop, made if there is none yet: asyncio's `get_loop`.
    ///
    /// # Errors
    /// [`RunError::Io`] where the system refuses the loop its descriptors, [`RunError::Closed`] after
    /// [`close`](Self::close).
    ///
    /// ```
    /// let mut runner = callsoon::Runner::new();
    /// let handle = runner.event_loop().unwrap().handle();
    /// handle.call_soon(|| println!("stands in line before main"));
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

    /// Runs `main` until it is done. Other tasks stay as they are, for the next call.
    ///
    /// # Errors
    /// [`RunError::Nested`] inside a running loop, [`RunError::Closed`] after [`close`](Self::close),
    /// [`RunError::Interrupted`] where Ctrl-C ended `main`, and what [`EventLoop::run_until_complete`] gives.
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

    /// Ends everything, in this order: tasks are cancelled and awaited, also those that are started meanwhile; deposited
    /// [clean-ups](crate::defer_async_drop) run; the default executor's jobs are waited for; the loop is closed. A second
    /// call does nothing.
    ///
    /// A panic of a task that ends here goes to the exception handler, and so does what has not ended in time.
    ///
    /// # Errors
    /// [`RunError::Nested`] inside a running loop, [`RunError::Io`] where the system refuses to wait: the loop is closed
    /// then too.
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
        drop(self.context.take());
        ended
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        // What could go wrong has been reported; inside a running loop the owner closes what it can when it is dropped.
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

/// During one run: the context of its main task is put back in the runner's place when this is dropped, however the run
/// ends, also when a panic unwinds through it.
struct ContextKeeper<'a> {
    event_loop: &'a EventLoop,
    /// The context of the run; `None` while no variable was set.
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
        // A run that was refused has left none.
        if let Some(context) = root.context.take() {
            *self.context = Some(context);
        }
    }
}

/// Ctrl-C during one run.
struct CtrlC {
    /// Restores the signal's former action when it is dropped.
    #[cfg(unix)]
    _interrupts: Option<Interrupts>,
    /// The main task, once it was cancelled for a Ctrl-C.
    cancelled: Rc<RefCell<Option<TaskRef>>>,
}

impl CtrlC {
    #[cfg(unix)]
    fn watch(event_loop: &EventLoop, wanted: bool) -> Self {
        let cancelled = Rc::default();
        let interrupts = (wanted && is_main_thread()).then(|| {
            let (handle, cancelled) = (event_loop.handle(), Rc::clone(&cancelled));
            Interrupts::install(event_loop, move || interrupt(&handle, &cancelled))
        });
        Self {
            // Where the system has no room for it, Ctrl-C ends the process, as it does by default.
            _interrupts: interrupts.and_then(|installed| installed.ok().flatten()),
            cancelled,
        }
    }

    /// Elsewhere Ctrl-C does what it does by default.
    #[cfg(not(unix))]
    fn watch(_: &EventLoop, _: bool) -> Self {
        Self {
            cancelled: Rc::default(),
        }
    }

    /// Whether nobody but Ctrl-C had asked the main task to end.
    fn ended_main(&self) -> bool {
        let main = self.cancelled.take();
        main.is_some_and(|main| main.uncancel() == 0)
    }
}

/// The first Ctrl-C.
#[cfg(unix)]
fn interrupt(handle: &LoopHandle, cancelled: &RefCell<Option<TaskRef>>) {
    let main = handle.main_task();
    if let Some(main) = &main {
        main.cancel_with("interrupted by Ctrl-C");
    }
    let former = cancelled.replace(main);
    drop(former);
}

/// Steps 1 to 3 of [`Runner::close`].
fn end_all(event_loop: &EventLoop, timeout: Duration) -> Result<(), RunError> {
    let clock = &event_loop.state.clock;
    // What is beyond the clock's end becomes that end, which never comes.
    let deadline = clock.instant(clock.after(timeout));
    let handle = event_loop.handle();
    begin_end(&handle);
    let mut end = pin!(end_in_order(handle, deadline));
    loop {
        match event_loop.run_until_complete(end.as_mut()) {
            // Whoever stops the loop now has not heard that it is ending.
            Err(RunError::Stopped) => {}
            result => return result,
        }
    }
}

async fn end_in_order(handle: LoopHandle, deadline: Instant) {
    if timeout_at(deadline, end_tasks(&handle)).await.is_err() {
        report_unended(&handle, "tasks that were cancelled had not ended");
    }
    if timeout_at(deadline, handle.shutdown_async_drops())
        .await
        .is_err()
    {
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
            exception: Some(Rc::new(stuck)),
            ..ExceptionContext::default()
        });
    }
}

/// Cancels all tasks and waits for them, until there are none left but clean-ups.
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
            if let Some(panicked) = task.task.take_panic() {
                let message = "Unhandled exception during the end of run()";
                let header = task.task.header();
                handle.state.report_in_context_of(header, message, panicked);
            }
        }
    }
}

/// Names what is dropped unfinished.
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
