//! The handle of a task: awaits its result, asks it to end, and never kills it.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::error::{Cancellation, InvalidState, NoException, Panicked, TaskError};
use crate::kernel::callback::refuse;
use crate::kernel::cancel::node::NodeKey;
use crate::kernel::context::Context as LoopContext;
use crate::kernel::loop_handle::LoopHandle;
use crate::kernel::loop_state::LoopState;
use crate::kernel::task::cell::Joined;
use crate::kernel::task::header::Header;
use crate::kernel::task::key::{Identity, Key};
use crate::kernel::task::reference::{CallbackId, TaskId, TaskRef, fmt_task};
use crate::kernel::task::waker::key_of;

/// A task that the loop runs; await it for its result.
///
/// The loop owns the task. Dropping the handle lets the task run on, also if the handle was polled before: so a
/// `select!` that takes another branch does not end it. Only [`cancel`](Self::cancel) ends a task early.
///
/// Awaiting returns the future's value, or a [`TaskError`] that says how the task ended without one. A panic that is
/// never read is reported to the exception handler when the handle is dropped.
///
/// ```
/// let event_loop = callsoon::EventLoop::new()?;
/// let task = event_loop.create_task(async { 6 * 7 });
/// assert_eq!(event_loop.run_until_complete(task).unwrap().unwrap(), 42);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// It stays on its thread:
///
/// ```compile_fail,E0277
/// let event_loop = callsoon::EventLoop::new().unwrap();
/// let task = event_loop.create_task(async {});
/// std::thread::spawn(move || task.cancel());
/// ```
pub struct Task<T> {
    /// One word and nothing else.
    cell: Joined<T, Rc<LoopState>>,
}

/// A handle pins nothing, so it is `Unpin`.
impl<T> Unpin for Task<T> {}

impl LoopHandle {
    /// Makes a task of a future and queues its first step. On a closed loop the future is dropped.
    #[inline]
    pub(crate) fn into_task<F>(
        self,
        future: F,
        place: &'static Location<'static>,
    ) -> Task<F::Output>
    where
        F: Future + 'static,
    {
        let state = self.state;
        if state.admit().is_err() {
            return refuse_task(state, future, place);
        }
        let cell = Joined::new(future, place, state);
        let (task, state) = (cell.task(), cell.scheduler());
        let key = state.take_in(task.clone(), task.header());
        if state.instrumented.get() {
            prepare_instrumented(state, task.header(), key);
        }
        Task { cell }
    }
}

/// Gives a new task its context and calls the task hook, on an instrumented loop.
#[inline(never)]
fn prepare_instrumented(state: &LoopState, header: &Header, key: Key) {
    if let Some(inspection) = &state.inspection {
        inspection.create(header.serial.get(), state.clock.now());
    }
    if let Some(context) = state.peek_context() {
        header.with_cold(|cold| cold.context = Some(context.copy()));
    }
    if let Some(task) = state.task(key) {
        state.call_task_hook(&task, key);
    }
}

impl LoopHandle {
    /// Makes a task that was cancelled before it began; the future is dropped.
    #[cold]
    pub(crate) fn into_cancelled_task<F>(
        self,
        future: F,
        place: &'static Location<'static>,
        cancellation: Cancellation,
    ) -> Task<F::Output>
    where
        F: Future + 'static,
    {
        let cell = Joined::new(future, place, self.state);
        let _ = cell.task().header().request_cancel(cancellation);
        cell.task().kill();
        cell.scheduler().report_drop_panic(cell.task());
        Task { cell }
    }
}

/// Returns a task that was never started where a panic is not allowed, and panics otherwise.
#[cold]
#[inline(never)]
#[track_caller]
fn refuse_task<F>(
    state: Rc<LoopState>,
    future: F,
    location: &'static Location<'static>,
) -> Task<F::Output>
where
    F: Future + 'static,
{
    let cell = Joined::new(future, location, state);
    // The future is dropped first: its destructor may panic, and must not do so while the refusal unwinds.
    cell.task().kill();
    cell.scheduler().report_drop_panic(cell.task());
    refuse(cell.scheduler(), "create_task");
    Task { cell }
}

impl<T: 'static> Task<T> {
    /// The task without its result's type.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let task = event_loop.create_task(async {});
    /// assert_eq!(task.as_ref().id(), task.id());
    /// ```
    #[allow(
        clippy::should_implement_trait,
        reason = "it makes a new value, which AsRef cannot"
    )]
    pub fn as_ref(&self) -> TaskRef {
        let state = Rc::clone(self.cell.scheduler());
        let key = state.key_of(self.cell.task().header());
        TaskRef {
            task: self.cell.task().clone(),
            state,
            key,
        }
    }

    /// Asks the task to end; `false` where it has ended already. A future that it awaits accepts a result until the
    /// task's next step, unlike in asyncio: see [`TaskRef::cancel`].
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let mut task = event_loop.create_task(std::future::pending::<()>());
    /// assert!(task.cancel() && task.cancel(), "true for every request before the end");
    /// assert!(event_loop.run_until_complete(&mut task).unwrap().is_err());
    /// assert!(!task.cancel());
    /// ```
    #[track_caller]
    pub fn cancel(&self) -> bool {
        self.as_ref().request(None)
    }

    /// Does the same as [`cancel`](Self::cancel), with a message that the cancellation carries.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let task = event_loop.create_task(std::future::pending::<()>());
    /// task.cancel_with("no more");
    /// assert_eq!(event_loop.run_until_complete(task).unwrap().unwrap_err().to_string(), "the task was cancelled: no more");
    /// ```
    #[track_caller]
    pub fn cancel_with(&self, message: impl Into<Cow<'static, str>>) -> bool {
        self.as_ref().request(Some(message.into()))
    }

    /// Returns how many requests to end it are in progress. See [`TaskRef::cancelling`].
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let task = event_loop.create_task(std::future::pending::<()>());
    /// assert_eq!(task.cancelling(), 0);
    /// task.cancel();
    /// assert_eq!(task.cancelling(), 1);
    /// ```
    pub fn cancelling(&self) -> u32 {
        self.as_ref().cancelling()
    }

    /// Takes one request to end back and returns how many are left. See [`TaskRef::uncancel`].
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let task = event_loop.create_task(async { 4 });
    /// task.cancel();
    /// assert_eq!(task.uncancel(), 0);
    /// assert_eq!(event_loop.run_until_complete(task).unwrap().unwrap(), 4);
    /// ```
    pub fn uncancel(&self) -> u32 {
        self.as_ref().uncancel()
    }

    /// Lets the task run on without a handle to read its result. The same as dropping the handle, but explicit.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// event_loop.create_task(async { callsoon::get_running_loop().stop() }).detach();
    /// event_loop.run_forever().unwrap();
    /// ```
    pub fn detach(self) {}

    /// Returns whether the task has ended, by a value, a panic or a cancellation.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let mut task = event_loop.create_task(async {});
    /// assert!(!task.done());
    /// event_loop.run_until_complete(&mut task).unwrap().unwrap();
    /// assert!(task.done());
    /// ```
    pub fn done(&self) -> bool {
        self.cell.task().header().state.is_done()
    }

    /// Returns whether the task has ended as cancelled.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let mut task = event_loop.create_task(async {});
    /// task.cancel();
    /// event_loop.run_until_complete(&mut task).unwrap().unwrap_err();
    /// assert!(task.cancelled());
    /// ```
    pub fn cancelled(&self) -> bool {
        self.cell.task().header().state.is_cancelled()
    }

    /// Returns whether the task has ended by a panic of its future. Asking does not count as reading: the panic itself
    /// comes from awaiting or from [`result`](Self::result), and is reported if neither is done.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let mut task = event_loop.create_task(async { panic!("out of paper") });
    /// let error = event_loop.run_until_complete(&mut task)?.unwrap_err();
    /// assert!(task.panicked() && !task.cancelled());
    /// assert_eq!(error.panicked().unwrap().message(), "out of paper");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn panicked(&self) -> bool {
        self.cell.task().header().state.is_panicked()
    }

    /// Returns the panic that ended the task, or `None` if it ended by a value. Nothing is taken: an await still returns
    /// the panic. Asking counts as reading, so the panic is not reported any more.
    ///
    /// # Errors
    /// [`NoException`]: the task has not ended, or was cancelled, or its panic was moved out before.
    /// An `Err` that the future returns is a value, which [`result`](Self::result) gives.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let task = event_loop.create_task(async { panic!("out of paper") });
    /// assert_eq!(task.exception().unwrap_err(), callsoon::NoException::InvalidState);
    /// event_loop.run_until_complete(callsoon::yield_now()).unwrap();
    /// assert_eq!(task.exception().unwrap().unwrap().message(), "out of paper");
    /// ```
    pub fn exception(&self) -> Result<Option<Panicked>, NoException> {
        let header = self.cell.task().header();
        match &header.state {
            state if !state.is_done() => Err(NoException::InvalidState),
            state if state.is_cancelled() => Err(NoException::Cancelled),
            state if state.is_panicked() => {
                self.forgive();
                header.panicked().map(Some).ok_or(NoException::Taken)
            }
            _ => Ok(None),
        }
    }

    /// Moves the result out without awaiting. An await takes it too; [`wait`](Self::wait) leaves it here.
    ///
    /// # Errors
    /// [`InvalidState`] before the end; [`TaskError::Taken`] if an await or `run_until_complete(&mut task)` had it.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let mut task = event_loop.create_task(async { 5 });
    /// assert!(task.result().is_err());
    /// event_loop.run_until_complete(async { callsoon::yield_now().await }).unwrap();
    /// assert_eq!(task.result().unwrap().unwrap(), 5);
    /// assert!(matches!(task.result(), Ok(Err(callsoon::TaskError::Taken))));
    /// ```
    pub fn result(&mut self) -> Result<Result<T, TaskError>, InvalidState> {
        self.cell.take().ok_or(InvalidState(()))
    }

    /// Returns the task's id.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let task = event_loop.create_task(async { callsoon::current_task().unwrap().id() });
    /// let id = task.id();
    /// assert_eq!(event_loop.run_until_complete(task).unwrap().unwrap(), id);
    /// ```
    pub fn id(&self) -> TaskId {
        self.as_ref().id()
    }

    /// Returns the name that the builder gave, or `Task-<n>`.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// assert_eq!(event_loop.create_task(async {}).name(), "Task-1");
    /// ```
    pub fn name(&self) -> String {
        self.cell.task().header().name()
    }

    /// Renames the task. See [`TaskRef::set_name`].
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// event_loop.create_task(async {}).set_name("janitor");
    /// ```
    pub fn set_name(&self, name: impl Into<String>) {
        self.as_ref().set_name(name);
    }

    /// Returns the context in which the task runs. See [`TaskRef::context`].
    ///
    /// ```
    /// static USER: callsoon::ContextVar<&str> = callsoon::ContextVar::new("user");
    /// callsoon::run(async {
    ///     let task = callsoon::create_task(async { USER.get() });
    ///     task.context().run(|| { USER.set("ann"); });
    ///     assert_eq!(task.await.unwrap(), Some("ann"));
    /// }).unwrap();
    /// ```
    #[doc(alias = "get_context")]
    pub fn context(&self) -> LoopContext {
        self.as_ref().context()
    }

    /// Returns the loop that runs the task.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// assert!(!event_loop.create_task(async {}).event_loop().is_running());
    /// ```
    #[doc(alias = "get_loop")]
    pub fn event_loop(&self) -> LoopHandle {
        LoopHandle::of(self.cell.scheduler())
    }

    /// Gives the task a context, where the builder had one: that very context, not a copy.
    pub(crate) fn enter_context(&self, context: Option<LoopContext>) {
        if context.is_some() {
            self.cell.scheduler().instrumented.set(true);
            let former = self
                .cell
                .task()
                .header()
                .with_cold(|cold| std::mem::replace(&mut cold.context, context));
            drop(former);
        }
    }

    /// Gives the task a name, where the builder had one.
    pub(crate) fn rename(&self, name: Option<Rc<str>>) {
        if name.is_some() {
            self.cell.task().header().with_cold(|cold| cold.name = name);
        }
    }

    /// Calls `callback` through the queue once the task has ended. See [`TaskRef::add_done_callback`].
    ///
    /// # Panics
    /// If the loop is closed.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let task = event_loop.create_task(async {});
    /// task.add_done_callback(|_| callsoon::get_running_loop().stop());
    /// event_loop.run_forever().unwrap();
    /// ```
    #[track_caller]
    pub fn add_done_callback(&self, callback: impl FnOnce(&TaskRef) + 'static) -> CallbackId {
        self.as_ref().add_done_callback(callback)
    }

    /// Removes a done callback; `false` where it was removed before or has been queued to run.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let task = event_loop.create_task(async {});
    /// let id = task.add_done_callback(|_| unreachable!());
    /// assert!(task.remove_done_callback(id));
    /// ```
    pub fn remove_done_callback(&self, id: CallbackId) -> bool {
        self.as_ref().remove_done_callback(id)
    }

    /// Awaits the task from behind a shield: a cancellation of the awaiter does not reach the task.
    pub(crate) fn poll_shielded(&self, context: &Context<'_>) -> Poll<Result<T, TaskError>> {
        let waker = context.waker();
        let awaiting = key_of(waker).unwrap_or(Key::NONE);
        self.cell.join(awaiting, waker, true)
    }
}

impl<T> Task<T> {
    /// Returns the task's identity, for lists of tasks.
    pub(crate) fn identity(&self) -> Identity {
        self.cell.scheduler().identity_of(self.cell.task().header())
    }

    /// Returns whether the result was taken, so that another poll is an error.
    #[cfg(feature = "futures")]
    pub(crate) fn is_taken(&self) -> bool {
        self.cell.task().header().state.is_moved()
    }

    /// Forgets who awaits the handle, if it was polled.
    pub(crate) fn stop_waiting(&self) {
        self.stop_awaiting();
        let header = self.cell.task().header();
        let _ = header.take_waiter(self.cell.scheduler().id);
        drop(header.peek_cold(|cold| cold.waiter.take()));
    }

    /// Ends the await of a task whose handle is kept: a cancellation of its former awaiter does not reach it.
    pub(crate) fn stop_awaiting(&self) {
        let header = self.cell.task().header();
        self.cell.scheduler().drop_await(header.node());
        header.set_node(NodeKey::NONE);
    }

    /// Drops the node of the await and reports a panic that was not read.
    #[cold]
    #[inline(never)]
    fn give_up(&self) {
        self.stop_awaiting();
        let header = self.cell.task().header();
        if header.state.is_taken() {
            return;
        }
        if let Some(panicked) = header.take_panic() {
            let task = self.cell.task();
            self.cell
                .scheduler()
                .report_in_context_of(task, NEVER_RETRIEVED, panicked);
        }
    }

    /// Notes that a failure of the task need not be reported.
    pub(crate) fn forgive(&self) {
        self.cell.task().header().state.note_taken();
    }
}

impl<T: 'static> Future for Task<T> {
    type Output = Result<T, TaskError>;

    #[inline]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(output) = self.cell.take_plainly() {
            return Poll::Ready(output);
        }
        let waker = context.waker();
        let awaiting = key_of(waker);
        if awaiting.is_some_and(|awaiting| self.cell.wait_plainly(awaiting)) {
            return Poll::Pending;
        }
        self.cell.join(awaiting.unwrap_or(Key::NONE), waker, false)
    }
}

impl<T> Drop for Task<T> {
    #[inline]
    fn drop(&mut self) {
        let state = &self.cell.task().header().state;
        if !state.is_emptied() && state.abandon() {
            self.give_up();
        }
    }
}

/// The message of the report of a panic that was never read.
pub(crate) const NEVER_RETRIEVED: &str = "Task exception was never retrieved";

impl<T> fmt::Debug for Task<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt_task(self.cell.task().header(), f)
    }
}
