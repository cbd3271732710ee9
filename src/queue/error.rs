//! Errors of queues. An error of `put` gives the item back.

use std::error::Error;
use std::fmt;

/// The error of a queue that was shut down. That of `put` gives the item back.
///
/// ```
/// # callsoon::run(async {
/// let queue = callsoon::Queue::new(0);
/// queue.shutdown(false);
/// assert_eq!(queue.put("too late").await.unwrap_err().0, "too late");
/// assert!(queue.get().await.is_err());
/// # }).unwrap();
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ShutDown<T = ()>(
    /// The item that was to be put.
    pub T,
);

/// The error of [`put_nowait`](crate::Queue::put_nowait). It gives the item back.
///
/// ```
/// use callsoon::queue::PutError;
/// let queue = callsoon::Queue::new(1);
/// queue.put_nowait('a').unwrap();
/// assert_eq!(queue.put_nowait('b'), Err(PutError::Full('b')));
/// queue.shutdown(false);
/// assert_eq!(queue.put_nowait('c').unwrap_err().into_item(), 'c');
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum PutError<T> {
    /// There is no room now.
    Full(T),
    /// The queue was shut down.
    ShutDown(T),
}

impl<T> PutError<T> {
    /// Returns the item that was to be put.
    ///
    /// ```
    /// assert_eq!(callsoon::queue::PutError::Full(3).into_item(), 3);
    /// ```
    pub fn into_item(self) -> T {
        match self {
            Self::Full(item) | Self::ShutDown(item) => item,
        }
    }
}

/// The error of [`get_nowait`](crate::Queue::get_nowait).
///
/// ```
/// use callsoon::queue::GetError;
/// let queue = callsoon::Queue::<u8>::new(0);
/// assert_eq!(queue.get_nowait(), Err(GetError::Empty));
/// queue.shutdown(false);
/// assert_eq!(queue.get_nowait(), Err(GetError::ShutDown));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GetError {
    /// There is no item now.
    Empty,
    /// There is no item, and the queue was shut down.
    ShutDown,
}

/// The error of [`task_done`](crate::Queue::task_done): it was called more often than items were put.
///
/// ```
/// let queue = callsoon::Queue::<u8>::new(0);
/// assert_eq!(queue.task_done(), Err(callsoon::queue::TooManyTasksDone));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooManyTasksDone;

const SHUT_DOWN: &str = "the queue was shut down";

impl<T> fmt::Debug for ShutDown<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ShutDown")
    }
}

impl<T> fmt::Display for ShutDown<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SHUT_DOWN)
    }
}

impl<T> Error for ShutDown<T> {}

impl<T> fmt::Debug for PutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "Full",
            Self::ShutDown(_) => "ShutDown",
        })
    }
}

impl<T> fmt::Display for PutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "the queue is full",
            Self::ShutDown(_) => SHUT_DOWN,
        })
    }
}

impl<T> Error for PutError<T> {}

impl fmt::Display for GetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "the queue is empty",
            Self::ShutDown => SHUT_DOWN,
        })
    }
}

impl Error for GetError {}

impl fmt::Display for TooManyTasksDone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("task_done was called more often than items were put")
    }
}

impl Error for TooManyTasksDone {}
