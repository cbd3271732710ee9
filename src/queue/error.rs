//! Why a queue did not take or give an item. An item that was not taken comes back.

use std::error::Error;
use std::fmt;

/// The queue was shut down; `put` gives its item back.
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
    /// What was to be put, unchanged.
    pub T,
);

/// Why `put_nowait` did not take an item, which comes back.
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
    /// The item that was not taken.
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

/// Why `get_nowait` gave no item.
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
    /// There is no item and the queue was shut down.
    ShutDown,
}

/// `task_done` was called more often than items were put.
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
