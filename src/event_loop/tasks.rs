//! The tasks of a loop: how they are created, listed and observed.

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::rc::{Rc, Weak};

use crate::kernel::context::Context;
use crate::kernel::loop_handle::LoopHandle;
use crate::kernel::loop_state::{LoopState, Phase};
use crate::kernel::task::handle::Task;
use crate::kernel::task::key::Key;
use crate::kernel::task::reference::TaskRef;
use crate::kernel::turn::start_eagerly;

impl LoopHandle {
    /// Creates a task that runs `future`. Its first step is queued like a callback.
    ///
    /// The loop owns the task: it runs to its end whether or not the returned handle is kept.
    ///
    /// # Panics
    /// If the loop is closed. While the loop is closing or the thread unwinds, there is no panic: the future is dropped and
    /// the task is cancelled.
    ///
    /// # Differences from asyncio
    /// In asyncio a task to which nobody holds a reference may be garbage-collected before it has ended.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let local = std::rc::Rc::new(21);
    /// let task = event_loop.create_task(async move { *local * 2 });
    /// assert_eq!(event_loop.run_until_complete(task).unwrap().unwrap(), 42);
    /// ```
    #[track_caller]
    #[inline]
    pub fn create_task<F: Future + 'static>(&self, future: F) -> Task<F::Output> {
        self.clone().into_task(future, Location::caller())
    }

    /// Returns a builder for a task with a name, a context, or an eager first step.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let task = event_loop.task_builder().name("resolver").spawn(async {});
    /// assert_eq!(task.name(), "resolver");
    /// ```
    pub fn task_builder(&self) -> TaskBuilder {
        TaskBuilder {
            handle: self.clone(),
            name: None,
            context: None,
            eager: false,
        }
    }

    /// Returns the task whose step is running, or `None` in callbacks and outside runs.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// assert!(event_loop.current_task().is_none());
    /// ```
    pub fn current_task(&self) -> Option<TaskRef> {
        let key = self.state.current_task.get();
        if key == Key::NONE {
            return None;
        }
        self.reference(key)
    }

    /// Returns the main task of the current run.
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

    /// Returns all unfinished tasks, in the order of their creation, including the one of `run_until_complete`.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// event_loop.create_task(async {}).detach();
    /// event_loop.create_task(async {}).detach();
    /// let names: Vec<_> = event_loop.all_tasks().iter().map(|task| task.name()).collect();
    /// assert_eq!(names, ["Task-1", "Task-2"]);
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

    /// Sets a function that is called for every new task, before the task's first step.
    ///
    /// The hook may name the task, count it, or add a done callback. If it panics, the panic is reported to the exception
    /// handler.
    ///
    /// # Differences from asyncio
    /// asyncio has `set_task_factory`, which makes the task itself. In Rust no one function could make a task of a future of
    /// every type.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let count = std::rc::Rc::new(std::cell::Cell::new(0));
    /// let counter = count.clone();
    /// event_loop.set_task_hook(move |_, task| {
    ///     counter.set(counter.get() + 1);
    ///     task.set_name(format!("job {}", counter.get()));
    /// });
    /// assert_eq!(event_loop.create_task(async {}).name(), "job 1");
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

    /// Removes the task hook.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// event_loop.set_task_hook(|_, _| unreachable!());
    /// event_loop.reset_task_hook();
    /// event_loop.create_task(async {}).detach();
    /// ```
    pub fn reset_task_hook(&self) {
        drop(self.state.replace_task_hook(None));
    }
}

/// Creates a task with a name, a context, or an eager first step.
///
/// ```
/// # let event_loop = callsoon::doctest::event_loop();
/// event_loop.run_until_complete(async {
///     let task = callsoon::task_builder().name("worker").spawn(async { callsoon::current_task().unwrap().name() });
///     assert_eq!(task.await.unwrap(), "worker");
/// }).unwrap();
/// ```
#[must_use = "a builder makes nothing until `spawn()`"]
pub struct TaskBuilder {
    handle: LoopHandle,
    name: Option<Rc<str>>,
    context: Option<Context>,
    eager: bool,
}

impl TaskBuilder {
    /// Sets the name of the task. The default is `Task-<n>`.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let task = event_loop.task_builder().name(format!("client {}", 7)).spawn(async {});
    /// assert_eq!(task.name(), "client 7");
    /// ```
    pub fn name(mut self, name: impl Into<String>) -> Self {
        let name: String = name.into();
        self.name = Some(name.into());
        self
    }

    /// Runs the task in `context` itself instead of a copy of the current context.
    ///
    /// Variables that the task sets are then visible through every handle of that context.
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

    /// Runs the first step inside `spawn` if the loop is running, and not in the next turn. Off by default.
    ///
    /// A task that never suspends is done when `spawn` returns. During the step it is the current task. Eager tasks begin
    /// before all tasks that wait in the ready queue, so tasks no longer begin in the order of their creation.
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

    /// Creates the task. See [`LoopHandle::create_task`].
    ///
    /// What a builder makes may have any output. So an `Err` that no code reads is reported if
    /// [`report_errors`](Self::report_errors) is called before, or on the task.
    ///
    /// # Panics
    /// If the loop is closed.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let task = event_loop.task_builder().spawn(async { 1 });
    /// assert_eq!(event_loop.run_until_complete(task).unwrap().unwrap(), 1);
    /// ```
    #[track_caller]
    pub fn spawn<F: Future + 'static>(self, future: F) -> Task<F::Output> {
        self.spawn_at(future, Location::caller())
    }

    /// [`spawn`](Self::spawn) with the location that the task is to report as its creation.
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
