//! What an inspection tells of one task: plain values, which may go to another thread.

use std::fmt;
use std::panic::Location;
use std::time::Duration;

use crate::kernel::task::reference::TaskId;
use crate::kernel::wait::wait_kind::WaitKind;

/// Where a task is in its life. See [`TaskInfo`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum TaskState {
    /// It waits.
    Pending,
    /// It is in the ready queue: it begins, or was woken.
    Ready,
    /// Its step runs now.
    Running,
    /// It was asked to end, and has not ended.
    Cancelling,
}

impl TaskState {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Ready => "ready",
            Self::Running => "running",
            Self::Cancelling => "cancelling",
        }
    }
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One thing that a task waits for.
///
/// ```
/// use callsoon::{TaskInfo, WaitKind};
/// callsoon::run(async {
///     let child = callsoon::create_task(callsoon::sleep(std::time::Duration::from_millis(1)));
///     let parent = callsoon::create_task(async { child.await.unwrap() });
///     callsoon::yield_now().await;
///     let tasks = callsoon::get_running_loop().task_infos();
///     assert_eq!(tasks[2].waits[0].kind, WaitKind::Task);
///     assert_eq!(tasks[2].waits[0].task, Some(tasks[1].id));
///     parent.await.unwrap();
/// })
/// .unwrap();
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct WaitInfo {
    /// What kind of thing it is.
    pub kind: WaitKind,
    /// The task that is to end first; for a lock the task that holds it.
    pub task: Option<TaskId>,
    /// The name of that task.
    pub task_name: Option<String>,
    /// A number that distinguishes it from all of its kind: the descriptor of what is to become readable or writable,
    /// the process id of a child, or else the address of the future, the lock, the queue.
    pub object: Option<u64>,
    /// For how long a sleep still waits.
    pub left: Option<Duration>,
    /// For how long the task has waited; for a task, how long ago the last step of its awaiter was. Known on a loop with [`Builder::inspect`](crate::Builder::inspect) only.
    pub since: Option<Duration>,
}

impl fmt::Display for WaitInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind)?;
        match (self.kind, self.object) {
            (WaitKind::Sleep, _) => {}
            (WaitKind::Readable | WaitKind::Writable, Some(fd)) => write!(f, " fd={fd}")?,
            (WaitKind::Process, Some(pid)) => write!(f, " pid={pid}")?,
            (_, Some(object)) => write!(f, " {object:#x}")?,
            (_, None) => {}
        }
        if let Some(name) = &self.task_name {
            let held = if self.kind == WaitKind::Lock {
                " held by"
            } else {
                ""
            };
            write!(f, "{held} {name:?}")?;
        }
        if let Some(left) = self.left {
            write!(f, ", {} s left", seconds(left))?;
        }
        match self.since {
            Some(since) => write!(f, ", for {} s", seconds(since)),
            None => Ok(()),
        }
    }
}

/// Formats a duration as texts show it.
pub(crate) fn seconds(duration: Duration) -> String {
    format!("{:.3}", duration.as_secs_f64())
}

/// What is known of an unfinished task. Returned by [`LoopHandle::task_infos`](crate::LoopHandle::task_infos).
///
/// The ages, steps and times are known on a loop with [`Builder::inspect`](crate::Builder::inspect) only.
///
/// ```
/// use std::time::Duration;
/// let event_loop = callsoon::EventLoop::builder().clock(callsoon::Clock::Virtual).inspect(true).build()?;
/// let task = event_loop.task_builder().name("nap").spawn(callsoon::sleep(Duration::from_secs(9)));
/// event_loop.run_until_complete(callsoon::sleep(Duration::from_secs(2))).unwrap();
/// let info = &event_loop.task_infos()[0];
/// assert_eq!((info.name.as_str(), info.steps, info.age), ("nap", Some(1), Some(Duration::from_secs(2))));
/// assert_eq!(info.waits[0].to_string(), "sleep, 7.000 s left, for 2.000 s");
/// # task.cancel();
/// # event_loop.run_until_complete(callsoon::yield_now()).unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct TaskInfo {
    /// The task's id.
    pub id: TaskId,
    /// The task's name, or `Task-<n>`.
    pub name: String,
    /// Where the task is in its life.
    pub state: TaskState,
    /// Where the task was created.
    pub location: &'static Location<'static>,
    /// How long ago the task was created.
    pub age: Option<Duration>,
    /// How many steps it has made.
    pub steps: Option<u64>,
    /// How long its steps took together.
    pub time_in_steps: Option<Duration>,
    /// What it waits for; at most 16 notes, and all tasks that it awaits.
    pub waits: Vec<WaitInfo>,
    /// How many more waits there are, which were counted only.
    pub more_waits: usize,
    /// The tasks that await this one, or a lock that it holds.
    pub awaited_by: Vec<TaskId>,
}

impl TaskInfo {
    /// Formats the head of the task's entry in a call graph.
    pub(crate) fn title(&self) -> String {
        format!("Task(name='{}', id={})", self.name, self.id)
    }
}
