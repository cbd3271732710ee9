//! In which order items come out: the one thing in which queues differ.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// Where a [`Queue`](crate::Queue) keeps its items: asyncio's `_put`, `_get` and `_qsize`, which subclasses override.
///
/// A `VecDeque` is first in first out, a `Vec` last in first out, a `BinaryHeap` of [`Reverse`] smallest first. The queue
/// is borrowed while it calls these methods; one that uses the queue itself panics. A panic in one of them goes to the
/// caller of `put`, `get` or `shutdown`, and leaves the queue usable.
///
/// `put` and `get` may change the length by any number: a store may drop what is stale or there already, or give what it
/// was given in other portions. All who wait are told. The length should change in these two methods only, for nobody is
/// told of a change in between. What a store drops need not be reported by [`task_done`](crate::Queue::task_done), and of
/// what it has made several, each has to be.
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
    /// How many items there are.
    fn len(&self) -> usize;

    /// Adds an item.
    fn put(&mut self, item: T);

    /// Takes the next item; `None` if there is none. A getter that is given `None` waits on, unless the queue is shut down.
    fn get(&mut self) -> Option<T>;

    /// Whether there is no item.
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
