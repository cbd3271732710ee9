//! `Queue`, for items in any order.
//!
//! Getters and putters wait in two FIFO queues. One rule holds for both: a getter with `n` others before it may take an
//! item if there are more than `n` items; a putter with `n` others before it may put one if there is room for more than
//! `n`. When an item comes or goes, or a waiter leaves, exactly one waiter can become eligible by this rule, and that
//! one is notified. Nothing is ever reserved for a waiter, so a dropped waiter has nothing to give back.
//!
//! "Exactly one" is true while the length changes by one. A [`QueueStore`] is user code: it may change its length by
//! any number, count items that it does not return, and panic. So the length is measured after each call of the store,
//! and kept. If it has not changed by one, every eligible waiter is woken (`notify_eligible`). The code that runs after
//! a call, a panic or a dropped waiter uses the kept length, and runs no user code.
//!
//! `join` waits for one of two conditions. The first is asyncio's rule: as many calls of `task_done` as items were put.
//! The second: the queue is empty, and every item that was taken was reported. The second comes first only if items
//! have gone without being returned to a caller: the store dropped them, or a panic lost them.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::marker::PhantomData;

use crate::kernel::wait::list::WaitList;
use crate::queue::error::{GetError, PutError, TooManyTasksDone};
use crate::queue::store::QueueStore;

/// A queue between tasks, first in first out: asyncio's `Queue`.
///
/// # Differences from asyncio
/// - The order of the items is that of a [`QueueStore`], where asyncio's subclasses override `_put` and `_get`.
/// - A waiter keeps its position when another caller takes the item that it was woken for. In asyncio it goes to the
///   end.
/// - [`shutdown`](Self::shutdown)`(true)` returns the items that were left, where asyncio discards them.
/// - [`join`](Self::join) does not wait for items that a store has dropped.
///
/// ```
/// use std::rc::Rc;
/// use callsoon::Queue;
///
/// # callsoon::run(async {
/// let queue = Rc::new(Queue::new(2));
/// let consumer = callsoon::create_task({
///     let queue = Rc::clone(&queue);
///     async move {
///         let mut sum = 0;
///         while let Ok(number) = queue.get().await {
///             sum += number;
///         }
///         sum
///     }
/// });
/// for number in 1..=10 {
///     queue.put(number).await.unwrap();
/// }
/// queue.shutdown(false);
/// assert_eq!(consumer.await.unwrap(), 55);
/// # }).unwrap();
/// ```
///
/// It cannot be sent to another thread:
///
/// ```compile_fail,E0277
/// let queue = callsoon::Queue::new(0);
/// std::thread::spawn(move || queue.put_nowait(1));
/// ```
pub struct Queue<T, S = VecDeque<T>> {
    /// The largest number of items; 0 means no limit.
    pub(super) maxsize: usize,
    pub(super) items: RefCell<S>,
    /// The number of items after the last call of the store.
    pub(super) length: Cell<usize>,
    pub(super) getters: WaitList,
    pub(super) putters: WaitList,
    /// The number of items that were put and not yet reported by `task_done`.
    pub(super) unfinished: Cell<usize>,
    /// The number of unfinished items that have gone without being returned to a caller. They will not be reported.
    pub(super) lost: Cell<usize>,
    /// The callers of `join`. They are granted.
    pub(super) joiners: WaitList,
    pub(super) shut_down: Cell<bool>,
    /// A getter waits although the store counts an item for it, because the store did not return that item.
    pub(super) starved: Cell<bool>,
    item: PhantomData<T>,
}

impl<T> Queue<T> {
    /// Creates a queue for at most `maxsize` items; 0 means no limit.
    ///
    /// ```
    /// let queue = callsoon::Queue::new(1);
    /// queue.put_nowait("full now").unwrap();
    /// assert!(queue.is_full());
    /// ```
    pub const fn new(maxsize: usize) -> Self {
        Self::empty(maxsize, VecDeque::new())
    }
}

impl<T, S> Queue<T, S> {
    pub(crate) const fn empty(maxsize: usize, store: S) -> Self {
        Self {
            maxsize,
            items: RefCell::new(store),
            length: Cell::new(0),
            getters: WaitList::new(),
            putters: WaitList::new(),
            unfinished: Cell::new(0),
            lost: Cell::new(0),
            joiners: WaitList::new(),
            shut_down: Cell::new(false),
            starved: Cell::new(false),
            item: PhantomData,
        }
    }

    /// Returns the largest number of items; 0 means no limit.
    ///
    /// ```
    /// assert_eq!(callsoon::Queue::<u8>::new(3).maxsize(), 3);
    /// ```
    pub fn maxsize(&self) -> usize {
        self.maxsize
    }

    /// Reports that the work on one item is done. Once this was called for every item, the callers of
    /// [`join`](Self::join) continue.
    ///
    /// # Errors
    /// [`TooManyTasksDone`] if it was called for every item before. Nothing changes then.
    ///
    /// ```
    /// let queue = callsoon::Queue::new(0);
    /// queue.put_nowait("work").unwrap();
    /// queue.get_nowait().unwrap();
    /// assert!(queue.task_done().is_ok());
    /// assert!(queue.task_done().is_err());
    /// ```
    pub fn task_done(&self) -> Result<(), TooManyTasksDone> {
        let left = self.unfinished.get().checked_sub(1);
        let left = left.ok_or(TooManyTasksDone)?;
        self.unfinished.set(left);
        // A program that reports more items than it was given reports lost ones.
        self.lost.set(self.lost.get().min(left));
        self.grant_joiners();
        Ok(())
    }

    /// Returns whether all work is done.
    #[inline]
    pub(super) fn is_done(&self) -> bool {
        let unfinished = self.unfinished.get();
        unfinished == 0 || unfinished <= self.lost.get() && self.length.get() == 0
    }

    #[inline]
    pub(super) fn grant_joiners(&self) {
        if self.is_done() {
            self.joiners.grant(usize::MAX);
        }
    }
}

impl<T, S: QueueStore<T>> Queue<T, S> {
    /// Creates a queue that keeps its items in `store`. Items that the store already has count as put.
    ///
    /// ```
    /// use std::collections::VecDeque;
    /// let queue = callsoon::Queue::with_store(0, VecDeque::from([1, 2]));
    /// assert_eq!(queue.get_nowait(), Ok(1));
    /// ```
    pub fn with_store(maxsize: usize, store: S) -> Self {
        let unfinished = store.len();
        let queue = Self::empty(maxsize, store);
        queue.length.set(unfinished);
        queue.unfinished.set(unfinished);
        queue
    }

    /// Returns the number of items.
    ///
    /// ```
    /// let queue = callsoon::Queue::new(0);
    /// queue.put_nowait('a').unwrap();
    /// assert_eq!(queue.qsize(), 1);
    /// ```
    #[inline]
    pub fn qsize(&self) -> usize {
        self.items.borrow().len()
    }

    /// Returns whether there is no item: asyncio's `empty`.
    ///
    /// ```
    /// assert!(callsoon::Queue::<u8>::new(0).is_empty());
    /// ```
    #[doc(alias = "empty")]
    pub fn is_empty(&self) -> bool {
        self.qsize() == 0
    }

    /// Returns whether there is no room: asyncio's `full`. A queue without a limit is never full.
    ///
    /// ```
    /// let queue = callsoon::Queue::new(1);
    /// assert!(!queue.is_full());
    /// queue.put_nowait('a').unwrap();
    /// assert!(queue.is_full());
    /// ```
    #[doc(alias = "full")]
    pub fn is_full(&self) -> bool {
        !self.has_room(0)
    }

    /// Puts an item into the queue if there is room, even if other tasks wait for room.
    ///
    /// # Errors
    /// [`PutError::ShutDown`] after [`shutdown`](Self::shutdown), [`PutError::Full`] if there is no room. Both give the
    /// item back.
    ///
    /// ```
    /// let queue = callsoon::Queue::new(1);
    /// queue.put_nowait('a').unwrap();
    /// assert_eq!(queue.put_nowait('b').unwrap_err().into_item(), 'b');
    /// ```
    #[inline]
    pub fn put_nowait(&self, item: T) -> Result<(), PutError<T>> {
        if self.shut_down.get() {
            return Err(PutError::ShutDown(item));
        }
        if !self.has_room(0) {
            return Err(PutError::Full(item));
        }
        self.push(item);
        Ok(())
    }

    /// Takes an item if there is one, even if other tasks wait for one.
    ///
    /// # Errors
    /// [`GetError::Empty`] if there is no item; [`GetError::ShutDown`] instead after [`shutdown`](Self::shutdown).
    ///
    /// ```
    /// let queue = callsoon::Queue::new(0);
    /// queue.put_nowait(1).unwrap();
    /// assert_eq!(queue.get_nowait(), Ok(1));
    /// assert!(queue.get_nowait().is_err());
    /// ```
    #[inline]
    pub fn get_nowait(&self) -> Result<T, GetError> {
        self.pop().ok_or(if self.shut_down.get() {
            GetError::ShutDown
        } else {
            GetError::Empty
        })
    }

    /// Returns whether there is room for one more item after those of `ahead` other putters.
    #[inline]
    pub(super) fn has_room(&self, ahead: usize) -> bool {
        self.maxsize == 0 || self.qsize().saturating_add(ahead) < self.maxsize
    }

    pub(crate) fn describe(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(name)
            .field("maxsize", &self.maxsize)
            .field("qsize", &self.qsize())
            .field("getters", &self.getters.len())
            .field("putters", &self.putters.len())
            .field("unfinished", &self.unfinished.get())
            .field("shut_down", &self.shut_down.get())
            .finish_non_exhaustive()
    }
}

impl<T, S: QueueStore<T>> fmt::Debug for Queue<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.describe("Queue", f)
    }
}
