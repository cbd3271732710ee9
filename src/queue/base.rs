//! `Queue`, whatever the order of its items.
//!
//! Two lines and one rule. The getter with `n` others before it may take an item while there are more than `n`, the
//! putter with `n` others before it may put one while there is room for more than `n`. Whenever an item comes or goes,
//! or somebody leaves a line, exactly one waiter can get to the right side of this rule, and that one is notified. Nothing
//! is ever set aside for a waiter, so there is nothing to give back when it is dropped.
//!
//! "Exactly one" holds while the length changes by one. A [`QueueStore`] is user code: it may change its length by any
//! number, count items that it does not give, and panic. So the length is measured after each call of the store and kept.
//! Where it has not changed by one, every waiter on the right side of the rule is woken (`notify_eligible`). What follows
//! a call, a panic or a dropped waiter goes by the length that was kept, and runs no user code.
//!
//! `join` waits for one of two things: as many `task_done` as items were put, which is asyncio's rule; or an empty queue
//! of which every item that was taken was reported. The second comes first only where items have gone without having
//! been given to anybody: dropped by the store, or lost to a panic.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::marker::PhantomData;

use crate::queue::error::{GetError, PutError, TooManyTasksDone};
use crate::queue::store::QueueStore;
use crate::sync::wait_list::WaitList;

/// A queue between tasks, first in first out: asyncio's `Queue`.
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
/// It stays on its thread:
///
/// ```compile_fail,E0277
/// let queue = callsoon::Queue::new(0);
/// std::thread::spawn(move || queue.put_nowait(1));
/// ```
pub struct Queue<T, S = VecDeque<T>> {
    /// The most items; 0 is no limit.
    pub(super) maxsize: usize,
    pub(super) items: RefCell<S>,
    /// How many items there were after the last call of the store.
    pub(super) length: Cell<usize>,
    pub(super) getters: WaitList,
    pub(super) putters: WaitList,
    /// Items put and not yet reported by `task_done`.
    pub(super) unfinished: Cell<usize>,
    /// So many of those have gone without having been given to anybody, and nobody will report them.
    pub(super) lost: Cell<usize>,
    /// Those who wait for all work to be done. They are called.
    pub(super) joiners: WaitList,
    pub(super) shut_down: Cell<bool>,
    /// A getter waits although the store counts an item for it: the store has given it none.
    pub(super) starved: Cell<bool>,
    item: PhantomData<T>,
}

impl<T> Queue<T> {
    /// A queue for at most `maxsize` items; 0 is no limit.
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

    /// The most items that there may be; 0 is no limit.
    ///
    /// ```
    /// assert_eq!(callsoon::Queue::<u8>::new(3).maxsize(), 3);
    /// ```
    pub fn maxsize(&self) -> usize {
        self.maxsize
    }

    /// Says that the work on one item that was got is done. When it has been said for every item, those who
    /// [`join`](Self::join) go on.
    ///
    /// # Errors
    /// [`TooManyTasksDone`] if there is no such item; then nothing happens.
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
        // A program that reports more than it was given reports what was lost.
        self.lost.set(self.lost.get().min(left));
        self.grant_joiners();
        Ok(())
    }

    /// Whether all work is done.
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
    /// A queue that keeps its items in a store of your own. What is in it already counts as put.
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

    /// How many items there are.
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

    /// Whether there is no item: asyncio's `empty`.
    ///
    /// ```
    /// assert!(callsoon::Queue::<u8>::new(0).is_empty());
    /// ```
    #[doc(alias = "empty")]
    pub fn is_empty(&self) -> bool {
        self.qsize() == 0
    }

    /// Whether there is no room: asyncio's `full`. Never, where there is no limit.
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

    /// Puts an item in if there is room, also where others wait for room.
    ///
    /// # Errors
    /// [`PutError::Full`] or [`PutError::ShutDown`], with the item.
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

    /// Takes an item if there is one, also where others wait for one.
    ///
    /// # Errors
    /// [`GetError::Empty`], or [`GetError::ShutDown`] where there will be none any more.
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

    /// Whether there is room for one more item and for so many others before it.
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
