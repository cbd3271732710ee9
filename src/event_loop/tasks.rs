//! The tasks of a loop: how they are made, listed and observed.

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::rc::{Rc, Weak};

use crate::kernel::context::Context;
use crate::kernel::loop_state::{LoopHandle, LoopState, Phase};
use crate::kernel::task::handle::Task;
use crate::kernel::task::key::Key;
use crate::kernel::task::reference::TaskRef;
use crate::kernel::turn::start_eagerly;

impl LoopHandle {
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
