//! The two queues that are not first in first out. Each is a [`Queue`] with another store, and dereferences to it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;
use std::ops::Deref;

use crate::queue::base::Queue;

/// A queue that returns the newest item first: asyncio's `LifoQueue`. It has all methods of [`Queue`].
///
/// ```
/// let queue = callsoon::LifoQueue::new(0);
/// queue.put_nowait("first").unwrap();
/// queue.put_nowait("second").unwrap();
/// assert_eq!(queue.get_nowait(), Ok("second"));
/// ```
pub struct LifoQueue<T>(Queue<T, Vec<T>>);

impl<T> LifoQueue<T> {
    /// Creates a queue for at most `maxsize` items; 0 means no limit.
    ///
    /// ```
    /// assert!(callsoon::LifoQueue::<u8>::new(2).is_empty());
    /// ```
    pub const fn new(maxsize: usize) -> Self {
        Self(Queue::empty(maxsize, Vec::new()))
    }
}

impl<T> Deref for LifoQueue<T> {
    type Target = Queue<T, Vec<T>>;

    #[inline]
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<T> fmt::Debug for LifoQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.describe("LifoQueue", f)
    }
}

/// A queue that returns the smallest item first: asyncio's `PriorityQueue`. It has all methods of [`Queue`].
///
/// Equal items come in any order. Put tuples such as `(2, "sweep")` to set priorities, with a sequence number if the
/// order of equal items matters. Put [`Reverse`] to get the largest first. An `Ord` implementation that uses the queue
/// panics.
///
/// ```
/// let queue = callsoon::PriorityQueue::new(0);
/// queue.put_nowait((2, "sweep")).unwrap();
/// queue.put_nowait((1, "put out the fire")).unwrap();
/// assert_eq!(queue.get_nowait().unwrap().1, "put out the fire");
/// ```
pub struct PriorityQueue<T: Ord>(Queue<T, BinaryHeap<Reverse<T>>>);

impl<T: Ord> PriorityQueue<T> {
    /// Creates a queue for at most `maxsize` items; 0 means no limit.
    ///
    /// ```
    /// assert!(callsoon::PriorityQueue::<u8>::new(2).is_empty());
    /// ```
    pub const fn new(maxsize: usize) -> Self {
        Self(Queue::empty(maxsize, BinaryHeap::new()))
    }
}

impl<T: Ord> Deref for PriorityQueue<T> {
    type Target = Queue<T, BinaryHeap<Reverse<T>>>;

    #[inline]
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<T: Ord> fmt::Debug for PriorityQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.describe("PriorityQueue", f)
    }
}
