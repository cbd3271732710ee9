//! `TaskRef`: a task without its result's type, which `current_task` and `all_tasks` return.

use std::borrow::Cow;
use std::fmt;
use std::panic::Location;
use std::rc::Rc;

use crate::error::{CancelOrigin, Cancellation};
use crate::kernel::callback::refuse;
use crate::kernel::callee::Callee;
use crate::kernel::context::Context;
use crate::kernel::handlers::ReportedTask;
use crate::kernel::loop_handle::LoopHandle;
use crate::kernel::loop_state::LoopState;
use crate::kernel::observation::rename_span;
use crate::kernel::report::ExceptionContext;
use crate::kernel::task::any_task::AnyTask;
use crate::kernel::task::header::Header;
use crate::kernel::task::key::{Identity, Key};
use crate::kernel::task::waker::wake_key;

/// Tells the tasks of a process apart, also those that have ended. Tasks of one loop are in the order of their
/// creation.
///
/// ```
/// # let event_loop = callsoon::doctest::event_loop();
/// let (a, b) = (event_loop.create_task(async {}), event_loop.create_task(async {}));
/// assert_ne!(a.id(), b.id());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct TaskId {
    /// The loop, which no other has the number of.
    epoch: u64,
    serial: u64,
}

impl TaskId {
    /// Names a task of a loop.
    pub(crate) fn of(state: &LoopState, serial: u64) -> Self {
        let epoch = state.epoch;
        Self { epoch, serial }
    }

    /// Returns the number of the task among all that its loop has created.
    pub(crate) fn serial(self) -> u64 {
        self.serial
    }
}

/// Shows the number of the task among all that its loop has created.
impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.serial)
    }
}

/// Names a done callback, so that it can be removed again.
///
/// ```
/// # let event_loop = callsoon::doctest::event_loop();
/// let task = event_loop.create_task(async {});
/// let id = task.add_done_callback(|_| unreachable!());
/// assert!(task.remove_done_callback(id));
/// assert!(!task.remove_done_callback(id));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct CallbackId {
    /// What no other callback of the loop has.
    pub(crate) number: u64,
    /// The loop's.
    epoch: u64,
}

impl CallbackId {
    /// Returns the id of a new callback.
    pub(crate) fn next(state: &LoopState) -> Self {
        let number = state.callbacks.get();
        state.callbacks.set(number + 1);
        let epoch = state.epoch;
        Self { number, epoch }
    }

    /// Returns the number, if this loop has given it: every loop counts from its own beginning.
    pub(crate) fn of(self, state: &LoopState) -> Option<u64> {
        (self.epoch == state.epoch).then_some(self.number)
    }
}

/// Some task, known by name and state but not by the type of its result.
///
/// It keeps the task's memory but not the task: dropping it never cancels anything. A result that nobody took, since the
/// [`Task`](crate::Task) was dropped, lives until the last `TaskRef` to it is dropped, as in an `Rc`: if its destructor
/// panics, that panic comes out of that drop.
///
/// ```
/// # let event_loop = callsoon::doctest::event_loop();
/// let name = event_loop.run_until_complete(async { callsoon::current_task().unwrap().name() }).unwrap();
/// assert_eq!(name, "Task-1");
/// ```
#[derive(Clone)]
pub struct TaskRef {
    pub(crate) task: AnyTask,
    pub(crate) state: Rc<LoopState>,
    pub(crate) key: Key,
}

impl TaskRef {
    /// Returns the task's id.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let task = event_loop.create_task(async {});
    /// assert_eq!(event_loop.all_tasks()[0].id(), task.id());
    /// ```
    pub fn id(&self) -> TaskId {
        TaskId::of(&self.state, self.task.header().serial.get())
    }

    /// Returns the name that the builder gave, or `Task-<n>`.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let task = event_loop.task_builder().name("janitor").spawn(async {});
    /// assert_eq!(event_loop.all_tasks()[0].name(), "janitor");
    /// ```
    pub fn name(&self) -> String {
        self.task.header().name()
    }

    /// Renames the task, and its span on a loop with [`Builder::task_spans`](crate::Builder::task_spans).
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let task = event_loop.create_task(async { callsoon::current_task().unwrap().set_name("second act") });
    /// event_loop.all_tasks()[0].set_name("first act");
    /// assert_eq!(task.name(), "first act");
    /// event_loop.run_until_complete(task).unwrap().unwrap();
    /// ```
    pub fn set_name(&self, name: impl Into<String>) {
        let name: String = name.into();
        self.task
            .header()
            .with_cold(|cold| cold.name = Some(name.into()));
        rename_span(&self.state, self.task.header());
    }

    /// Returns the context in which the task runs: that very context, so that what is set in it the task sees. An ended
    /// task has none, and the result is an empty one of its own.
    ///
    /// ```
    /// static USER: callsoon::ContextVar<&str> = callsoon::ContextVar::new("user");
    /// callsoon::run(async {
    ///     USER.set("ann");
    ///     let own = callsoon::current_task().unwrap().context();
    ///     assert_eq!(own.run(|| USER.get()), Some("ann"));
    /// }).unwrap();
    /// ```
    #[doc(alias = "get_context")]
    pub fn context(&self) -> Context {
        let header = self.task.header();
        let kept = header.peek_cold(|cold| cold.context.clone()).flatten();
        if let Some(context) = kept.filter(|_| !self.done()) {
            return context;
        }
        if self.done() {
            return Context::new();
        }
        if self.state.current_task.get() == self.key {
            return self.state.context_for_writing();
        }
        self.state.instrumented.set(true);
        let context = Context::new();
        header.with_cold(|cold| cold.context = Some(context.clone()));
        context
    }

    /// Returns the loop that runs the task.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// event_loop.create_task(async {}).detach();
    /// event_loop.all_tasks()[0].event_loop().stop();
    /// event_loop.run_forever().unwrap();
    /// ```
    #[doc(alias = "get_loop")]
    pub fn event_loop(&self) -> LoopHandle {
        LoopHandle::of(&self.state)
    }

    /// Returns where the task was created.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let task = event_loop.create_task(async {});
    /// assert!(event_loop.all_tasks()[0].location().file().ends_with(".rs"));
    /// ```
    pub fn location(&self) -> &'static Location<'static> {
        self.task.header().location()
    }

    /// Returns whether the task has ended, by a value, a panic or a cancellation.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let task = event_loop.create_task(async {});
    /// let reference = event_loop.all_tasks().remove(0);
    /// assert!(!reference.done());
    /// event_loop.run_until_complete(task).unwrap().unwrap();
    /// assert!(reference.done());
    /// ```
    pub fn done(&self) -> bool {
        self.task.header().state.is_done()
    }

    /// Returns whether the task has ended as cancelled.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let task = event_loop.create_task(async {});
    /// let reference = event_loop.all_tasks().remove(0);
    /// reference.cancel();
    /// assert!(!reference.cancelled(), "a request takes a turn of the loop");
    /// event_loop.run_until_complete(task).unwrap().unwrap_err();
    /// assert!(reference.cancelled());
    /// ```
    pub fn cancelled(&self) -> bool {
        self.task.header().state.is_cancelled()
    }

    /// Returns whether the task has ended by a panic of its future. Asking does not count as having seen it.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let task = event_loop.create_task(async { panic!("out of paper") });
    /// let ended = event_loop.create_future();
    /// let end = ended.clone();
    /// task.add_done_callback(move |task| end.set_result(task.panicked()).unwrap());
    /// assert!(event_loop.run_until_complete(ended)?.unwrap());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn panicked(&self) -> bool {
        self.task.header().state.is_panicked()
    }

    /// Asks the task to end; `false` where it has ended already.
    ///
    /// The request acts when the task next runs: its future is dropped and the task ends as cancelled. A task that was
    /// never polled never runs. A panic of a task that has ended already is then not reported, as in asyncio.
    ///
    /// One deviation from asyncio: there `cancel` cancels the [`Future`](crate::Future) that the task awaits at once.
    /// Here that future is pending, and accepts a result, until the task's next step. The result then stays in the
    /// future, and the task ends as cancelled all the same.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let task = event_loop.create_task(std::future::pending::<()>());
    /// assert!(event_loop.all_tasks()[0].cancel());
    /// assert!(event_loop.run_until_complete(task).unwrap().is_err());
    /// ```
    #[track_caller]
    pub fn cancel(&self) -> bool {
        self.request(None)
    }

    /// Does the same as [`cancel`](Self::cancel), with a message that the cancellation carries.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let task = event_loop.create_task(std::future::pending::<()>());
    /// event_loop.all_tasks()[0].cancel_with("too late");
    /// let error = event_loop.run_until_complete(task).unwrap().unwrap_err();
    /// assert_eq!(error.cancelled().unwrap().message(), Some("too late"));
    /// ```
    #[track_caller]
    pub fn cancel_with(&self, message: impl Into<Cow<'static, str>>) -> bool {
        self.request(Some(message.into()))
    }

    #[track_caller]
    pub(crate) fn request(&self, message: Option<Cow<'static, str>>) -> bool {
        let request = Cancellation::new(message, CancelOrigin::Task, Some(Location::caller()));
        let requested = self.task.header().request_cancel(request);
        if requested {
            wake_key(self.key);
        } else {
            // A caller that cancels a failed task does not need a report of its panic.
            self.task.header().state.note_taken();
        }
        requested
    }

    /// Returns how many requests to end are on their way to this task or at work in it: those made by
    /// [`cancel`](Self::cancel) that were not [taken back](Self::uncancel), and, if the task asks about itself, those
    /// of the timeouts and groups around the place where it asks. Deadlines and groups leave no trace in it once they
    /// are over.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let task = event_loop.create_task(std::future::pending::<()>());
    /// task.cancel();
    /// task.cancel();
    /// assert_eq!(task.as_ref().cancelling(), 2);
    /// ```
    pub fn cancelling(&self) -> u32 {
        let own = self.task.header().requests();
        own.saturating_add(self.requests_around())
    }

    /// Takes one request of [`cancel`](Self::cancel) back and returns how many are left, as
    /// [`cancelling`](Self::cancelling) counts them. Never below zero. Taking back the last one before it has reached
    /// the task withdraws it; later, it changes the count only.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let task = event_loop.create_task(async { "went on" });
    /// task.cancel();
    /// assert_eq!(task.as_ref().uncancel(), 0);
    /// assert_eq!(event_loop.run_until_complete(task).unwrap().unwrap(), "went on");
    /// ```
    pub fn uncancel(&self) -> u32 {
        let left = self.task.header().take_back_request();
        left.saturating_add(self.requests_around())
    }

    /// Requests of scopes around the caller, if the caller is this task.
    fn requests_around(&self) -> u32 {
        // The key of a task that has ended may be another's by now.
        if !self.done() && self.state.current_task.get() == self.key {
            self.state.requests_around()
        } else {
            0
        }
    }

    /// Calls `callback` through the queue once the task has ended; at once, through the queue too, where it has.
    /// Callbacks run in the order in which they were added.
    ///
    /// # Panics
    /// If the loop is closed.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let task = event_loop.create_task(async {});
    /// let seen = std::rc::Rc::new(std::cell::Cell::new(false));
    /// let flag = seen.clone();
    /// event_loop.all_tasks()[0].add_done_callback(move |task| flag.set(task.done()));
    /// event_loop.run_until_complete(async { task.await.unwrap(); callsoon::yield_now().await }).unwrap();
    /// assert!(seen.get());
    /// ```
    #[track_caller]
    pub fn add_done_callback(&self, callback: impl FnOnce(&TaskRef) + 'static) -> CallbackId {
        self.listen(self.state.copy_context(), callback)
    }

    /// Adds a done callback that runs in a given context.
    #[track_caller]
    #[inline(always)]
    pub(crate) fn listen(
        &self,
        context: Option<Context>,
        callback: impl FnOnce(&TaskRef) + 'static,
    ) -> CallbackId {
        let location = Location::caller();
        let header = self.task.header();
        let task = self.clone();
        let handle = LoopHandle::of(&self.state);
        let id = CallbackId::next(&self.state);
        if header.state.is_done() {
            handle.queue_call_in(context, move || callback(&task), Callee::Callback, location);
            return id;
        }
        if self.state.is_closed() {
            refuse(&self.state, "add_done_callback");
            return id;
        }
        let queue = move || {
            drop(handle.queue_call_in(context, move || callback(&task), Callee::Callback, location))
        };
        header.with_cold(|cold| cold.add_callback(id.number, Box::new(queue)));
        id
    }

    /// Removes a done callback; `false` where it was removed before or has been queued to run, or is none of this task.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let task = event_loop.create_task(async {});
    /// let reference = event_loop.all_tasks().remove(0);
    /// let id = reference.add_done_callback(|_| unreachable!());
    /// assert!(reference.remove_done_callback(id));
    /// ```
    pub fn remove_done_callback(&self, id: CallbackId) -> bool {
        let Some(number) = id.of(&self.state) else {
            return false;
        };
        let header = self.task.header();
        let removed = header.peek_cold(|cold| cold.callbacks.leave_number(number));
        removed.flatten().is_some()
    }
}

impl LoopState {
    /// Asks a task to end, if it has not.
    pub(crate) fn cancel_task(&self, task: Identity, request: &Cancellation) {
        if let Some(found) = self.find_task(task) {
            self.cancel_found(&found, task.key, request);
        }
    }

    /// Asks the task that is running to end.
    pub(crate) fn cancel_current(&self, request: &Cancellation) {
        let key = self.current_task.get();
        if let Some(task) = self.task(key) {
            self.cancel_found(&task, key, request);
        }
    }

    fn cancel_found(&self, task: &AnyTask, key: Key, request: &Cancellation) {
        if task.header().request_cancel(request.clone()) {
            // Not only queued: another loop may drive this one, and is to hear of it.
            wake_key(key);
        }
    }
}

impl ExceptionContext {
    /// Returns the task that failed, or that its loop's close has ended.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// # std::panic::set_hook(Box::new(|_| ()));
    /// event_loop.set_exception_handler(|_, context| assert!(context.task_ref().unwrap().panicked()));
    /// event_loop.create_task(async { panic!("oops") }).detach();
    /// event_loop.run_until_complete(callsoon::yield_now()).unwrap();
    /// ```
    pub fn task_ref(&self) -> Option<TaskRef> {
        let reported = self.about_task.as_ref()?.downcast_ref::<ReportedTask>()?;
        Some(TaskRef {
            task: reported.task.clone(),
            state: Rc::clone(&reported.state),
            key: reported.key,
        })
    }
}

impl PartialEq for TaskRef {
    fn eq(&self, other: &Self) -> bool {
        self.task == other.task
    }
}

impl Eq for TaskRef {}

impl fmt::Debug for TaskRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt_task(self.task.header(), f)
    }
}

/// Formats a task: name, state, where it was created.
pub(crate) fn fmt_task(header: &Header, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let state = match &header.state {
        state if state.is_cancelled() => "cancelled",
        state if state.is_done() => "finished",
        state if state.is_requested() => "cancelling",
        state if state.is_running() => "running",
        _ => "pending",
    };
    f.debug_struct("Task")
        .field("name", &header.name())
        .field("state", &format_args!("{state}"))
        .field("created_at", &format_args!("{}", header.location()))
        .finish()
}
