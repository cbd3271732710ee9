//! The two queues that are not first in first out. They are a [`Queue`] with another store, and deref to it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;
use std::ops::Deref;

use crate::queue::base::Queue;

/// A queue that gives the newest item first: asyncio's `LifoQueue`. It has all methods of [`Queue`].
///
/// ```
/// let queue = callsoon::LifoQueue::new(0);
/// queue.put_nowait("first").unwrap();
/// queue.put_nowait("second").unwrap();
/// assert_eq!(queue.get_nowait(), Ok("second"));
/// ```
pub struct LifoQueue<T> {
    queue: Queue<T, Vec<T>>,
}

impl<T> LifoQueue<T> {
    /// A queue for at most `maxsize` items; 0 is no limit.
    ///
    /// ```
    /// assert!(callsoon::LifoQueue::<u8>::new(2).is_empty());
    /// ```
    pub const fn new(maxsize: usize) -> Self {
        Self {
            queue: Queue::empty(maxsize, Vec::new()),
        }
    }
}

impl<T> Deref for LifoQueue<T> {
    type Target = Queue<T, Vec<T>>;

    #[inline]
    fn deref(&self) -> &Self::Target {
        &self.queue
    }
}

impl<T> fmt::Debug for LifoQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.queue.describe("LifoQueue", f)
    }
}

/// A queue that gives the smallest item first: asyncio's `PriorityQueue`. It has all methods of [`Queue`].
///
/// Among equal items any may come first. For priorities put tuples, `(2, "sweep")`, and with them a running number if
/// the order among equals matters; for the largest first put [`Reverse`]. A comparison that uses the queue panics.
///
/// ```
/// let queue = callsoon::PriorityQueue::new(0);
/// queue.put_nowait((2, "sweep")).unwrap();
/// queue.put_nowait((1, "put out the fire")).unwrap();
/// assert_eq!(queue.get_nowait().unwrap().1, "put out the fire");
/// ```
pub struct PriorityQueue<T: Ord> {
    queue: Queue<T, BinaryHeap<Reverse<T>>>,
}

impl<T: Ord> PriorityQueue<T> {
    /// A queue for at most `maxsize` items; 0 is no limit.
    ///
    /// ```
    /// assert!(callsoon::PriorityQueue::<u8>::new(2).is_empty());
    /// ```
    pub const fn new(maxsize: usize) -> Self {
        Self {
            queue: Queue::empty(maxsize, BinaryHeap::new()),
        }
    }
}

impl<T: Ord> Deref for PriorityQueue<T> {
    type Target = Queue<T, BinaryHeap<Reverse<T>>>;

    #[inline]
    fn deref(&self) -> &Self::Target {
        &self.queue
    }
}

impl<T: Ord> fmt::Debug for PriorityQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.queue.describe("PriorityQueue", f)
    }
}
