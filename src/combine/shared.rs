//! `SharedTask`: a task that several places await, each with a result of its own.
//!
//! A task's result is moved out once. A shared task keeps it: the notice among the task's done callbacks takes it as soon
//! as the task has ended, and then ends a future that all awaiters wait for, from behind a shield. Like the notice of
//! `combine/observer` it does its work when it is dropped, so a loop that closes wakes the awaiters too.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};

use crate::error::{InvalidState, NoException, Panicked, TaskError};
use crate::kernel::future::Future as LoopFuture;
use crate::kernel::loop_handle::LoopHandle;
use crate::kernel::task::handle::{NEVER_RETRIEVED, Task};
use crate::kernel::task::reference::{CallbackId, TaskRef};
use crate::kernel::task::waker::key_of;

impl<T: 'static> Task<T> {
    /// Turns the handle into one that can be cloned, so that several places await the task and each gets a clone of its
    /// result.
    ///
    /// ```
    /// callsoon::run(async {
    ///     let answer = callsoon::create_task(async { 6 * 7 }).shared();
    ///     let other = callsoon::create_task(answer.clone());
    ///     assert_eq!(answer.clone().await.unwrap(), 42);
    ///     assert_eq!(other.await.unwrap().unwrap(), 42);
    ///     assert_eq!(answer.await.unwrap(), 42, "it is read as often as one likes");
    /// }).unwrap();
    /// ```
    #[track_caller]
    pub fn shared(mut self) -> SharedTask<T> {
        self.stop_waiting();
        let task = self.as_ref();
        let ended = LoopFuture::new(&task.event_loop(), Location::caller());
        // An ended task keeps its result for the handle alone.
        let result = self.result().ok().map(Rc::new);
        let done = result.is_some();
        let shared = Rc::new(Shared {
            handle: Cell::new((!done).then_some(self)),
            task,
            result: RefCell::new(result),
            retrieved: Cell::new(false),
            ended: ended.clone(),
        });
        if done {
            // It was made here, so nobody has set it.
            let _ = ended.set_result(());
        } else {
            let notice = Notice(Rc::downgrade(&shared));
            let task = &shared.task;
            let id = CallbackId::next(&task.state);
            let announce = Box::new(move || drop(notice));
            let header = task.task.header();
            header.with_cold(|cold| cold.add_callback(id.number, announce));
        }
        SharedTask { shared, ended }
    }
}

/// A task that several places await: see [`Task::shared`]. Clones are handles of the same task.
///
/// Each await gives a clone of the result. A result that cannot be cloned is shared as an `Rc`. Like every handle this
/// one can be dropped: the loop owns the task. A panic that no clone has read is reported when the last one is dropped.
///
/// # Errors
/// [`TaskError`], the same for every awaiter. [`TaskError::AwaitsItself`] if the task awaits its own shared handle; a
/// circle of several tasks is not noticed, but ends when one of them is cancelled.
///
/// # Cancellation
/// Dropping or cancelling an awaiter ends that await and nothing else: the task runs on for the others, even if there are
/// none. [`cancel`](Self::cancel) ends the task, and every awaiter gets [`TaskError::Cancelled`].
///
/// # Differences from asyncio
/// There any task can be awaited from several places, and cancelling one awaiter cancels the task for all of them. Here
/// an await of the plain [`Task`] does so, for its one awaiter. A shared task behaves like `shield(task)` in asyncio, in
/// each of its awaits. [`shield`](crate::shield()) itself is for one await of a handle that is not shared.
///
/// ```
/// use std::time::Duration;
/// callsoon::testing::run(async {
///     let page = callsoon::create_task(callsoon::sleep_with(Duration::from_millis(2), "page")).shared();
///     let impatient = callsoon::timeout(Duration::from_millis(1), page.clone()).await;
///     assert!(impatient.is_err());
///     assert_eq!(page.await.unwrap(), "page");
/// });
/// ```
#[must_use = "futures do nothing unless awaited; the task runs on without it"]
pub struct SharedTask<T: 'static> {
    shared: Rc<Shared<T>>,
    /// This handle's place among those that wait for the end.
    ended: LoopFuture<()>,
}

struct Shared<T: 'static> {
    /// The handle that owns the result, until the task has ended.
    handle: Cell<Option<Task<T>>>,
    task: TaskRef,
    /// Set before `ended`.
    result: RefCell<Option<Rc<Result<T, TaskError>>>>,
    /// A clone has read the result, so a panic need not be reported.
    retrieved: Cell<bool>,
    /// Done once the result is there.
    ended: LoopFuture<()>,
}

/// The done callback of a shared task, which is dropped exactly once: after its call, or by a closing loop.
struct Notice<T: 'static>(Weak<Shared<T>>);

impl<T> Drop for Notice<T> {
    fn drop(&mut self) {
        let Some(shared) = self.0.upgrade() else {
            return;
        };
        if let Some(mut handle) = shared.handle.take() {
            let result = handle.result().unwrap_or(Err(TaskError::Taken));
            *shared.result.borrow_mut() = Some(Rc::new(result));
        }
        // Nobody else sets it.
        let _ = shared.ended.set_result(());
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        let unread = !self.retrieved.get() && self.task.done();
        let result = self.result.get_mut().as_deref();
        if let (true, Some(Err(TaskError::Panicked(panicked)))) = (unread, result) {
            let (state, panicked) = (&self.task.state, panicked.clone());
            state.report_in_context_of(&self.task.task, NEVER_RETRIEVED, panicked);
        }
    }
}

impl<T: 'static> SharedTask<T> {
    /// Returns the result, which counts as reading it.
    fn read(&self) -> Option<Rc<Result<T, TaskError>>> {
        let result = self.shared.result.borrow().clone();
        if result.is_some() {
            self.shared.retrieved.set(true);
        }
        result
    }

    /// Returns the task without its result's type: its name, its context, its done callbacks.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let task = event_loop.task_builder().name("page").spawn(async {}).shared();
    /// assert_eq!(task.as_ref().name(), "page");
    /// ```
    #[allow(
        clippy::should_implement_trait,
        reason = "it makes a new value, which AsRef cannot"
    )]
    pub fn as_ref(&self) -> TaskRef {
        self.shared.task.clone()
    }

    /// Returns whether the task has ended.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let task = event_loop.create_task(async {}).shared();
    /// assert!(!task.done());
    /// event_loop.run_until_complete(task.clone()).unwrap().unwrap();
    /// assert!(task.done());
    /// ```
    pub fn done(&self) -> bool {
        self.shared.task.done()
    }

    /// Asks the task to end, for all of its awaiters; `false` if it has ended already. See [`TaskRef::cancel`].
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let task = event_loop.create_task(std::future::pending::<()>()).shared();
    /// let other = task.clone();
    /// task.cancel();
    /// assert!(event_loop.run_until_complete(other).unwrap().unwrap_err().cancelled().is_some());
    /// ```
    #[track_caller]
    pub fn cancel(&self) -> bool {
        self.request(None)
    }

    /// Does the same as [`cancel`](Self::cancel), with a message that the cancellation carries.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let task = event_loop.create_task(std::future::pending::<()>()).shared();
    /// task.cancel_with("no more");
    /// let error = event_loop.run_until_complete(task).unwrap().unwrap_err();
    /// assert_eq!(error.cancelled().unwrap().message(), Some("no more"));
    /// ```
    #[track_caller]
    pub fn cancel_with(&self, message: impl Into<Cow<'static, str>>) -> bool {
        self.request(Some(message.into()))
    }

    #[track_caller]
    fn request(&self, message: Option<Cow<'static, str>>) -> bool {
        let requested = self.shared.task.request(message);
        if !requested {
            // As for a plain task: its caller does not need a report of its panic.
            self.shared.retrieved.set(true);
        }
        requested
    }

    /// Returns the panic that ended the task, or `None` if it ended by a value. See [`Task::exception`].
    ///
    /// # Errors
    /// [`NoException`] if the task has not ended or was cancelled.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let task = event_loop.create_task(async { panic!("out of paper") }).shared();
    /// event_loop.run_until_complete(callsoon::yield_now()).unwrap();
    /// for _ in 0..2 {
    ///     assert_eq!(task.exception().unwrap().unwrap().message(), "out of paper");
    /// }
    /// ```
    pub fn exception(&self) -> Result<Option<Panicked>, NoException> {
        match self.read().as_deref() {
            None => Err(NoException::InvalidState),
            Some(Ok(_)) => Ok(None),
            Some(Err(TaskError::Panicked(panicked))) => Ok(Some(panicked.clone())),
            Some(Err(TaskError::Cancelled(_))) => Err(NoException::Cancelled),
            Some(Err(_)) => Err(NoException::Taken),
        }
    }

    /// Returns the loop that runs the task.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let task = event_loop.create_task(async {}).shared();
    /// assert!(!task.event_loop().is_running());
    /// ```
    pub fn event_loop(&self) -> LoopHandle {
        self.shared.task.event_loop()
    }
}

impl<T: Clone + 'static> SharedTask<T> {
    /// Returns a clone of the result without awaiting, as often as it is asked.
    ///
    /// # Errors
    /// [`InvalidState`] while the task is unfinished.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let task = event_loop.create_task(async { 5 }).shared();
    /// assert!(task.result().is_err());
    /// event_loop.run_until_complete(callsoon::yield_now()).unwrap();
    /// assert_eq!((task.result().unwrap().unwrap(), task.result().unwrap().unwrap()), (5, 5));
    /// ```
    pub fn result(&self) -> Result<Result<T, TaskError>, InvalidState> {
        // Cloning runs user code: nothing is borrowed, since the result has a reference of its own.
        let result = self.read().ok_or(InvalidState(()))?;
        Ok((*result).clone())
    }
}

impl<T: Clone + 'static> Future for SharedTask<T> {
    type Output = Result<T, TaskError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if !this.done() && key_of(context.waker()) == Some(this.shared.task.key) {
            return Poll::Ready(Err(TaskError::AwaitsItself));
        }
        match this.ended.wait_shielded(context) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(())) => Poll::Ready(this.result().unwrap_or(Err(TaskError::Taken))),
            Err(_) => Poll::Ready(Err(TaskError::OtherLoop)),
        }
    }
}

/// A handle pins nothing, so it is `Unpin`.
impl<T> Unpin for SharedTask<T> {}

impl<T> Clone for SharedTask<T> {
    fn clone(&self) -> Self {
        Self {
            shared: Rc::clone(&self.shared),
            ended: self.ended.clone(),
        }
    }
}

impl<T> fmt::Debug for SharedTask<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SharedTask")
            .field(&self.shared.task)
            .finish()
    }
}
