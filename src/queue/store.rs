//! `QueueStore`: the order in which the items of a queue come out.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// The container of a [`Queue`](crate::Queue)'s items. It takes the place of asyncio's `_put`, `_get` and `_qsize`,
/// which subclasses override.
///
/// A `VecDeque` is first in first out, a `Vec` last in first out, and a `BinaryHeap` of [`Reverse`] smallest first. The
/// queue borrows the store while it calls these methods, so a store that uses its own queue panics. A panic in one of
/// them reaches the caller of `put`, `get` or `shutdown`, and the queue stays usable.
///
/// `put` and `get` may change the length by any number. A store may drop items that are stale or duplicates, or split
/// and merge them. The queue then wakes every waiter that may continue. The length should change in these two methods
/// only, because a change at any other time wakes no waiter. Items that the store drops need not be reported by
/// [`task_done`](crate::Queue::task_done). If it makes several items of one, each must be reported.
///
/// ```
/// use callsoon::queue::{Queue, QueueStore};
///
/// /// Keeps the newest item only.
/// struct Latest<T>(Option<T>);
///
/// impl<T> QueueStore<T> for Latest<T> {
///     fn len(&self) -> usize {
///         usize::from(self.0.is_some())
///     }
///     fn put(&mut self, item: T) {
///         self.0 = Some(item);
///     }
///     fn get(&mut self) -> Option<T> {
///         self.0.take()
///     }
/// }
///
/// let queue = Queue::with_store(0, Latest(None));
/// queue.put_nowait("yesterday's").unwrap();
/// queue.put_nowait("today's").unwrap();
/// assert_eq!(queue.get_nowait(), Ok("today's"));
/// assert!(queue.is_empty());
/// ```
pub trait QueueStore<T> {
    /// Returns the number of items.
    fn len(&self) -> usize;

    /// Adds an item.
    fn put(&mut self, item: T);

    /// Takes the next item; `None` if there is none. A getter that is given `None` continues to wait, unless the queue
    /// is shut down.
    fn get(&mut self) -> Option<T>;

    /// Returns whether there is no item.
    ///
    /// ```
    /// use callsoon::queue::QueueStore;
    /// assert!(QueueStore::is_empty(&Vec::<u8>::new()));
    /// ```
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T> QueueStore<T> for VecDeque<T> {
    #[inline]
    fn len(&self) -> usize {
        self.len()
    }

    #[inline]
    fn put(&mut self, item: T) {
        self.push_back(item);
    }

    #[inline]
    fn get(&mut self) -> Option<T> {
        self.pop_front()
    }
}

impl<T> QueueStore<T> for Vec<T> {
    #[inline]
    fn len(&self) -> usize {
        self.len()
    }

    #[inline]
    fn put(&mut self, item: T) {
        self.push(item);
    }

    #[inline]
    fn get(&mut self) -> Option<T> {
        self.pop()
    }
}

impl<T: Ord> QueueStore<T> for BinaryHeap<Reverse<T>> {
    fn len(&self) -> usize {
        self.len()
    }

    fn put(&mut self, item: T) {
        self.push(Reverse(item));
    }

    fn get(&mut self) -> Option<T> {
        self.pop().map(|Reverse(item)| item)
    }
}
