//! What can be asked of a loop on its own thread.

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use crate::event_loop::remote::RemoteHandle;
use crate::kernel::callback::{Handle, TimerHandle};
use crate::kernel::context::Context;
use crate::kernel::future::Future as LoopFuture;
use crate::kernel::loop_handle::{ExceptionHandler, LoopHandle};
use crate::kernel::loop_state::{LoopState, Phase};
use crate::kernel::report::{ExceptionContext, default_handler};
use crate::kernel::task::handle::Task;
use crate::kernel::task::key::Key;
use crate::kernel::task::reference::TaskRef;
use crate::kernel::turn::start_eagerly;

impl LoopHandle {
    /// Queues a callback; it runs in the next turn, after everything that was queued before it.
    ///
    /// It never runs inside this call, and it runs once. Its panic goes to the exception handler. The handle can cancel
    /// it; ignoring the handle costs and cancels nothing.
    ///
    /// # Panics
    /// If the loop is closed; while it is closing, or the thread unwinds, the callback is dropped instead.
    ///
    /// ```
    /// # let event_loop = callsoon::EventLoop::new()?;
    /// let order = std::rc::Rc::new(std::cell::RefCell::new(vec![]));
    /// for n in 0..3 {
    ///     let order = order.clone();
    ///     event_loop.call_soon(move || order.borrow_mut().push(n));
    /// }
    /// event_loop.stop();
    /// event_loop.run_forever().unwrap();
    /// assert_eq!(*order.borrow(), [0, 1, 2]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    #[inline]
    pub fn call_soon(&self, callback: impl FnOnce() + 'static) -> Handle {
        self.queue_call(callback, Location::caller())
    }

    /// Queues a callback for `delay` from now. Never early; a delay too long for the clock never ends.
    ///
    /// # Panics
    /// If the loop is closed; while it is closing, or the thread unwinds, the callback is dropped instead.
    ///
    /// ```
    /// use std::time::Duration;
    /// # let event_loop = callsoon::EventLoop::new()?;
    /// let handle = event_loop.handle();
    /// event_loop.call_later(Duration::from_millis(2), move || handle.stop());
    /// event_loop.call_later(Duration::MAX, || unreachable!());
    /// event_loop.run_forever().unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    #[inline]
    pub fn call_later(&self, delay: Duration, callback: impl FnOnce() + 'static) -> TimerHandle {
        let state = &self.state;
        if delay.is_zero() {
            // Due already: the next turn has to look.
            state.event_polls.force();
        }
        self.queue_timer(
            state.clock.after(delay),
            callback,
            Location::caller(),
            "call_later",
        )
    }

    /// Queues a callback for `when`, on the clock of [`time`](Self::time). Timers run in the order of their deadlines;
    /// of equal ones, in the order of their creation. One in the past runs in the next turn.
    ///
    /// # Panics
    /// If the loop is closed; while it is closing, or the thread unwinds, the callback is dropped instead.
    ///
    /// ```
    /// use std::time::Duration;
    /// # let event_loop = callsoon::EventLoop::new()?;
    /// let handle = event_loop.handle();
    /// let timer = event_loop.call_at(event_loop.time() + Duration::from_millis(2), move || handle.stop());
    /// event_loop.run_forever().unwrap();
    /// assert!(event_loop.time() >= timer.when());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    #[inline]
    pub fn call_at(&self, when: Instant, callback: impl FnOnce() + 'static) -> TimerHandle {
        self.queue_timer(
            self.state.clock.raw(when),
            callback,
            Location::caller(),
            "call_at",
        )
    }

    /// The time on the loop's clock. On the monotonic clock it is live, not that of the turn's beginning.
    ///
    /// ```
    /// # let event_loop = callsoon::EventLoop::new()?;
    /// let start = event_loop.time();
    /// assert!(event_loop.time() >= start);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn time(&self) -> Instant {
        self.state.clock.instant(self.state.clock.now())
    }

    /// Ends the run after the current turn: what is queued already runs, what that schedules waits for the next run.
    /// Before a run it makes that run one turn long.
    ///
    /// ```
    /// # let event_loop = callsoon::EventLoop::new()?;
    /// event_loop.stop();
    /// event_loop.run_forever().unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn stop(&self) {
        self.state.stopping.set(true);
    }

    /// Whether the loop is inside `run_forever`, `run_until_complete` or `turn`.
    ///
    /// ```
    /// # let event_loop = callsoon::EventLoop::new()?;
    /// assert!(!event_loop.is_running());
    /// assert!(event_loop.run_until_complete(async { callsoon::get_running_loop().is_running() }).unwrap());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_running(&self) -> bool {
        self.state.phase.get() == Phase::Running
    }

    /// Whether the loop has been closed, or is being closed.
    ///
    /// ```
    /// # let event_loop = callsoon::EventLoop::new()?;
    /// let handle = event_loop.handle();
    /// drop(event_loop);
    /// assert!(handle.is_closed());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_closed(&self) -> bool {
        self.state.is_closed()
    }

    /// Whether something is queued that the next turn will run without waiting.
    ///
    /// ```
    /// # let event_loop = callsoon::EventLoop::new()?;
    /// assert!(!event_loop.has_ready());
    /// event_loop.call_soon(|| ());
    /// assert!(event_loop.has_ready());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn has_ready(&self) -> bool {
        self.state.inbox.has_posts() || self.state.queues(|queues| !queues.ready.is_empty())
    }

    /// Makes a task of a future; its first step is queued, like a callback.
    ///
    /// The loop owns the task from here on: it runs to its end whether or not the returned handle is kept.
    ///
    /// # Panics
    /// If the loop is closed; while it is closing, or the thread unwinds, the future is dropped instead and the task is
    /// cancelled.
    ///
    /// ```
    /// # let event_loop = callsoon::EventLoop::new()?;
    /// let local = std::rc::Rc::new(21);
    /// let task = event_loop.create_task(async move { *local * 2 });
    /// assert_eq!(event_loop.run_until_complete(task).unwrap().unwrap(), 42);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    #[inline]
    pub fn create_task<F: Future + 'static>(&self, future: F) -> Task<F::Output> {
        self.clone().into_task(future, Location::caller())
    }

    /// Makes a task with a name.
    ///
    /// ```
    /// # let event_loop = callsoon::EventLoop::new()?;
    /// let task = event_loop.task_builder().name("resolver").spawn(async {});
    /// assert_eq!(task.name(), "resolver");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn task_builder(&self) -> TaskBuilder {
        TaskBuilder {
            handle: self.clone(),
            name: None,
            context: None,
            eager: false,
        }
    }

    /// A future of this loop, whose result somebody will set.
    ///
    /// ```
    /// # let event_loop = callsoon::EventLoop::new()?;
    /// let future = event_loop.create_future::<u32>();
    /// assert!(!future.done());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn create_future<T>(&self) -> LoopFuture<T> {
        LoopFuture::new(self, Location::caller())
    }

    /// The task whose step is under way; `None` in callbacks and outside runs.
    ///
    /// ```
    /// # let event_loop = callsoon::EventLoop::new()?;
    /// assert!(event_loop.current_task().is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn current_task(&self) -> Option<TaskRef> {
        let key = self.state.current_task.get();
        if key == Key::NONE {
            return None;
        }
        self.reference(key)
    }

    /// The main task of the run that is under way.
    pub(crate) fn main_task(&self) -> Option<TaskRef> {
        self.reference(self.state.root_key())
    }

    fn reference(&self, key: Key) -> Option<TaskRef> {
        Some(TaskRef {
            task: self.state.task(key)?,
            state: Rc::clone(&self.state),
            key,
        })
    }

    /// All unfinished tasks, in the order of their creation, that of `run_until_complete` among them.
    ///
    /// ```
    /// # let event_loop = callsoon::EventLoop::new()?;
    /// event_loop.create_task(async {}).detach();
    /// event_loop.create_task(async {}).detach();
    /// let names: Vec<_> = event_loop.all_tasks().iter().map(|task| task.name()).collect();
    /// assert_eq!(names, ["Task-1", "Task-2"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn all_tasks(&self) -> Vec<TaskRef> {
        let state = &self.state;
        let mut all = state.queues(|queues| queues.tasks.all(state.id));
        let root = state.root.task.borrow().clone();
        all.extend(root.map(|root| (state.root_key(), root)));
        all.sort_by_key(|(_, task)| task.header().serial.get());
        all.retain(|(_, task)| !task.header().state.is_done());
        all.into_iter()
            .map(|(key, task)| TaskRef {
                task,
                state: Rc::clone(state),
                key,
            })
            .collect()
    }

    /// The loop's door for other threads.
    ///
    /// ```
    /// # let event_loop = callsoon::EventLoop::new()?;
    /// let remote = event_loop.remote();
    /// std::thread::spawn(move || remote.call_soon_threadsafe(|| callsoon::get_running_loop().stop()));
    /// event_loop.run_forever().unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn remote(&self) -> RemoteHandle {
        RemoteHandle::new(&self.state)
    }

    /// Whether debug mode is on.
    ///
    /// ```
    /// assert!(!callsoon::EventLoop::builder().debug(false).build()?.debug());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn debug(&self) -> bool {
        self.state.debug.get()
    }

    /// Switches debug mode. Callbacks that are queued already are not measured.
    ///
    /// ```
    /// # let event_loop = callsoon::EventLoop::new()?;
    /// event_loop.set_debug(true);
    /// assert!(event_loop.debug());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_debug(&self, debug: bool) {
        self.state.debug.set(debug);
        if debug {
            self.state.instrumented.set(true);
        }
    }

    /// From which duration on debug mode warns of a callback.
    ///
    /// ```
    /// # let event_loop = callsoon::EventLoop::new()?;
    /// assert_eq!(event_loop.slow_callback_duration().as_millis(), 100);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn slow_callback_duration(&self) -> Duration {
        self.state.slow_callback_duration.get()
    }

    /// Sets the duration from which on debug mode warns of a callback.
    ///
    /// ```
    /// # let event_loop = callsoon::EventLoop::new()?;
    /// event_loop.set_slow_callback_duration(std::time::Duration::from_millis(1));
    /// assert_eq!(event_loop.slow_callback_duration().as_millis(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_slow_callback_duration(&self, duration: Duration) {
        self.state.slow_callback_duration.set(duration);
    }

    /// Who is told of failures that nobody else can hear of: panics in callbacks and destructors, results that nobody
    /// retrieved. A handler that panics is survived: the default one is told instead, of both.
    ///
    /// ```
    /// # let event_loop = callsoon::EventLoop::new()?;
    /// event_loop.set_exception_handler(|_, context| eprintln!("log: {context}"));
    /// event_loop.call_exception_handler(&callsoon::ExceptionContext::new("disk is slow"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_exception_handler(
        &self,
        handler: impl Fn(&LoopHandle, &ExceptionContext) + 'static,
    ) {
        self.restore_exception_handler(Some(Rc::new(handler)));
    }

    /// The handler that is set; `None` for the default one. It can be called by another that wraps it, and put back.
    ///
    /// ```
    /// # let event_loop = callsoon::EventLoop::new()?;
    /// let former = event_loop.exception_handler();
    /// let inner = former.clone();
    /// event_loop.set_exception_handler(move |event_loop, context| {
    ///     eprintln!("in the backup: {context}");
    ///     match &inner {
    ///         Some(inner) => inner(event_loop, context),
    ///         None => event_loop.default_exception_handler(context),
    ///     }
    /// });
    /// assert!(event_loop.exception_handler().is_some());
    /// event_loop.restore_exception_handler(former);
    /// assert!(event_loop.exception_handler().is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "get_exception_handler")]
    pub fn exception_handler(&self) -> Option<ExceptionHandler> {
        self.stored_exception_handler()
    }

    /// Puts back the handler that [`exception_handler`](Self::exception_handler) gave: the very same one, with no layer
    /// around it. `None` is the default one. It may come from another loop.
    ///
    /// ```
    /// # let event_loop = callsoon::EventLoop::new()?;
    /// # let other_loop = callsoon::EventLoop::new()?;
    /// event_loop.restore_exception_handler(other_loop.exception_handler());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn restore_exception_handler(&self, handler: Option<ExceptionHandler>) {
        self.store_exception_handler(handler);
    }

    /// Goes back to the default handler: a `tracing` error, or a line on stderr where nobody subscribed.
    ///
    /// ```
    /// # let event_loop = callsoon::EventLoop::new()?;
    /// event_loop.set_exception_handler(|_, _| unreachable!());
    /// event_loop.reset_exception_handler();
    /// event_loop.call_exception_handler(&callsoon::ExceptionContext::new("to the default handler"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reset_exception_handler(&self) {
        self.restore_exception_handler(None);
    }

    /// Who is told of every new task, before its first step: what remains of asyncio's task factories, since in Rust no
    /// factory could make a task of every future. The hook may name the task, count it, or add a done callback. Its panic
    /// goes to the exception handler.
    ///
    /// ```
    /// # let event_loop = callsoon::EventLoop::new()?;
    /// let count = std::rc::Rc::new(std::cell::Cell::new(0));
    /// let counter = count.clone();
    /// event_loop.set_task_hook(move |_, task| {
    ///     counter.set(counter.get() + 1);
    ///     task.set_name(format!("job {}", counter.get()));
    /// });
    /// assert_eq!(event_loop.create_task(async {}).name(), "job 1");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "set_task_factory")]
    pub fn set_task_hook(&self, hook: impl Fn(&LoopHandle, &TaskRef) + 'static) {
        let weak: Weak<LoopState> = Rc::downgrade(&self.state);
        let former = self.state.replace_task_hook(Some(Rc::new(move |task, key| {
            if let Some(state) = weak.upgrade() {
                let reference = TaskRef {
                    task,
                    state: Rc::clone(&state),
                    key,
                };
                hook(&LoopHandle { state }, &reference);
            }
        })));
        drop(former);
    }

    /// Takes the task hook away.
    ///
    /// ```
    /// # let event_loop = callsoon::EventLoop::new()?;
    /// event_loop.set_task_hook(|_, _| unreachable!());
    /// event_loop.reset_task_hook();
    /// event_loop.create_task(async {}).detach();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reset_task_hook(&self) {
        drop(self.state.replace_task_hook(None));
    }

    /// Tells the exception handler.
    ///
    /// ```
    /// # let event_loop = callsoon::EventLoop::new()?;
    /// event_loop.call_exception_handler(&callsoon::ExceptionContext::new("out of paper"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn call_exception_handler(&self, context: &ExceptionContext) {
        self.state.call_handler(context);
    }

    /// What happens to a report where no handler is set; a handler may call it too.
    ///
    /// ```
    /// # let event_loop = callsoon::EventLoop::new()?;
    /// event_loop.set_exception_handler(|event_loop, context| event_loop.default_exception_handler(context));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn default_exception_handler(&self, context: &ExceptionContext) {
        default_handler(context);
    }
}

impl fmt::Debug for LoopHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoopHandle")
            .field("running", &self.is_running())
            .field("closed", &self.is_closed())
            .field("debug", &self.debug())
            .finish()
    }
}

/// Makes a task that has more than a future.
///
/// ```
/// # let event_loop = callsoon::EventLoop::new()?;
/// event_loop.run_until_complete(async {
///     let task = callsoon::task_builder().name("worker").spawn(async { callsoon::current_task().unwrap().name() });
///     assert_eq!(task.await.unwrap(), "worker");
/// }).unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a builder makes nothing until `spawn()`"]
pub struct TaskBuilder {
    handle: LoopHandle,
    name: Option<Rc<str>>,
    context: Option<Context>,
    eager: bool,
}

impl TaskBuilder {
    /// Names the task; without a name it is `Task-<n>`.
    ///
    /// ```
    /// # let event_loop = callsoon::EventLoop::new()?;
    /// let task = event_loop.task_builder().name(format!("client {}", 7)).spawn(async {});
    /// assert_eq!(task.name(), "client 7");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn name(mut self, name: impl Into<String>) -> Self {
        let name: String = name.into();
        self.name = Some(name.into());
        self
    }

    /// Runs the task in this very context, not in a copy of the current one: what it sets is seen by whoever holds it.
    ///
    /// ```
    /// static USER: callsoon::ContextVar<&str> = callsoon::ContextVar::new("user");
    /// callsoon::run(async {
    ///     let context = callsoon::Context::new();
    ///     let task = callsoon::task_builder().context(context.clone()).spawn(async { USER.set("ann"); });
    ///     task.await.unwrap();
    ///     assert_eq!(context.run(|| USER.get()), Some("ann"));
    /// }).unwrap();
    /// ```
    pub fn context(mut self, context: Context) -> Self {
        self.context = Some(context);
        self
    }

    /// Takes the first step inside `spawn`, and not in the next turn, if the loop is running: a task that never waits is
    /// done when `spawn` returns. Meanwhile it is the current task. Off by default, since the order in which tasks begin
    /// is then that of their creation no more.
    ///
    /// ```
    /// callsoon::run(async {
    ///     let cached = callsoon::task_builder().eager(true).spawn(async { "at hand" });
    ///     assert!(cached.done());
    /// }).unwrap();
    /// ```
    pub fn eager(mut self, eager: bool) -> Self {
        self.eager = eager;
        self
    }

    /// Makes the task. See [`LoopHandle::create_task`].
    ///
    /// # Panics
    /// If the loop is closed.
    ///
    /// ```
    /// # let event_loop = callsoon::EventLoop::new()?;
    /// let task = event_loop.task_builder().spawn(async { 1 });
    /// assert_eq!(event_loop.run_until_complete(task).unwrap().unwrap(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn spawn<F: Future + 'static>(self, future: F) -> Task<F::Output> {
        self.spawn_at(future, Location::caller())
    }

    /// [`spawn`](Self::spawn) for a caller's caller.
    pub(crate) fn spawn_at<F: Future + 'static>(
        self,
        future: F,
        location: &'static Location<'static>,
    ) -> Task<F::Output> {
        let task = self.handle.into_task(future, location);
        task.rename(self.name);
        task.enter_context(self.context);
        let reference = task.as_ref();
        if self.eager && reference.state.phase.get() == Phase::Running {
            start_eagerly(&reference.state, reference.key);
        }
        task
    }
}

impl fmt::Debug for TaskBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskBuilder")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
