//! What a task may wait for, as those who inspect a loop are told.

use std::fmt;

/// What a task waits for. See [`WaitInfo`](crate::WaitInfo).
///
/// ```
/// assert_eq!(callsoon::WaitKind::QueueGet.to_string(), "Queue.get");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum WaitKind {
    /// The end of a task.
    Task,
    /// The end of a child of `gather` or `try_gather`.
    Gather,
    /// The end of a child of a task group.
    TaskGroup,
    /// The end of one of the tasks given to `wait` or `as_completed`.
    Wait,
    /// The result of a [`Future`](crate::Future).
    Future,
    /// A deadline: `sleep`, an interval, or a timeout around something else.
    Sleep,
    /// A [`Lock`](crate::sync::Lock).
    Lock,
    /// An [`Event`](crate::sync::Event).
    Event,
    /// A [`Condition`](crate::sync::Condition).
    Condition,
    /// A [`Semaphore`](crate::sync::Semaphore).
    Semaphore,
    /// A [`Barrier`](crate::sync::Barrier).
    Barrier,
    /// An item of a queue.
    QueueGet,
    /// Room in a queue.
    QueuePut,
    /// The end of the work that was put into a queue.
    QueueJoin,
    /// A socket or another descriptor becomes readable, or there is a connection to accept.
    Readable,
    /// A socket or another descriptor becomes writable, or is connected.
    Writable,
    /// The bytes of a stream, or the end of its connection.
    Stream,
    /// A job of an executor.
    Executor,
    /// A coroutine that another thread has started, or that runs on another loop.
    ThreadFuture,
    /// The exit of a child process.
    Process,
    /// A signal.
    Signal,
    /// Room among the children of a task group with a limit.
    Vacancy,
    /// The end of a server, or of its connections.
    Server,
}

impl WaitKind {
    /// Returns the name that texts and JSON show.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Task => "Task",
            Self::Gather => "gather",
            Self::TaskGroup => "TaskGroup",
            Self::Wait => "wait",
            Self::Future => "Future",
            Self::Sleep => "sleep",
            Self::Lock => "Lock.acquire",
            Self::Event => "Event.wait",
            Self::Condition => "Condition.wait",
            Self::Semaphore => "Semaphore.acquire",
            Self::Barrier => "Barrier.wait",
            Self::QueueGet => "Queue.get",
            Self::QueuePut => "Queue.put",
            Self::QueueJoin => "Queue.join",
            Self::Readable => "readable",
            Self::Writable => "writable",
            Self::Stream => "stream",
            Self::Executor => "run_in_executor",
            Self::ThreadFuture => "ThreadFuture",
            Self::Process => "Process.wait",
            Self::Signal => "signal",
            Self::Vacancy => "TaskGroup.wait_vacancy",
            Self::Server => "Server",
        }
    }
}

impl fmt::Display for WaitKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
