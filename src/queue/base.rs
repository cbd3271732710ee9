//! `Queue`, whatever the order of its items.
//!
//! Two lines and one rule. The getter with `n` others before it may take an item while there are more than `n`, the
//! putter with `n` others before it may put one while there is room for more than `n`. Whenever an item comes or goes,
//! or somebody leaves a line, exactly one waiter can get to the right side of this rule, and that one is notified. Nothing
//! is ever set aside for a waiter, so there is nothing to give back when it is dropped.
//!
//! "Exactly one" holds while the length changes by one. A [`QueueStore`] is user code: it may change its length by any
//! number, count items that it does not give, and panic. So the length is measured after each call of the store and kept.
//! Where it has not changed by one, every waiter on the right side of the rule is woken (`settle`). What follows
//! a call, a panic or a dropped waiter goes by the length that was kept, and runs no user code.
//!
//! `join` waits for one of two things: as many `task_done` as items were put, which is asyncio's rule; or an empty queue
//! of which every item that was taken was reported. The second comes first only where items have gone without having
//! been given to anybody: dropped by the store, or lost to a panic.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, poll_fn};
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use crate::kernel::task::waker::puts_off;
use crate::kernel::wait::waiters::WaiterId;
use crate::queue::error::{GetError, PutError, ShutDown, TooManyTasksDone};
use crate::queue::store::QueueStore;
use crate::sync::wait_list::{Acquire, Awaiter, Wait, WaitList, poll_shut_down};

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
    joiners: WaitList,
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
        self.call_joiners();
        Ok(())
    }

    /// Whether all work is done.
    #[inline]
    fn is_done(&self) -> bool {
        let unfinished = self.unfinished.get();
        unfinished == 0 || unfinished <= self.lost.get() && self.length.get() == 0
    }

    #[inline]
    pub(super) fn call_joiners(&self) {
        if self.is_done() {
            self.joiners.call(usize::MAX);
        }
    }

    /// Waits until the work on all items that were put is [done](Self::task_done). If it is, this does not suspend.
    ///
    /// Items that the store has dropped, or that a panic of the store has lost, are not waited for: the work is also done
    /// when the queue is empty and every item that was taken was reported.
    ///
    /// # Cancellation
    /// Dropped, it leaves the line.
    ///
    /// ```
    /// # callsoon::run(async {
    /// callsoon::Queue::<u8>::new(0).join().await;
    /// # }).unwrap();
    /// ```
    pub async fn join(&self) {
        Wait::new(&Joining(self), ()).await;
        if self.shut_down.get() {
            poll_fn(|context| poll_shut_down(context)).await;
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

    /// Puts an item in, as soon as there is room for it and for all who wait with theirs. If there is, this does not
    /// suspend.
    ///
    /// # Errors
    /// [`ShutDown`] with the item if the queue is shut down before there is room.
    ///
    /// # Cancellation
    /// Dropped, it leaves the line, and the item is dropped with it.
    ///
    /// ```
    /// # callsoon::run(async {
    /// let queue = callsoon::Queue::new(1);
    /// queue.put("hello").await.unwrap();
    /// assert_eq!(queue.get().await.unwrap(), "hello");
    /// # }).unwrap();
    /// ```
    #[inline]
    pub fn put(&self, item: T) -> impl Future<Output = Result<(), ShutDown<T>>> {
        // Not an async function: that would keep a second place for the item.
        Putting {
            queue: self,
            item: Some(item),
            place: None,
        }
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

    /// Takes an item, as soon as there is one for this and for all who wait for theirs. If there is, this does not
    /// suspend.
    ///
    /// # Errors
    /// [`ShutDown`] if the queue is shut down and has no more items.
    ///
    /// # Cancellation
    /// Dropped, it leaves the line. It has no item then, so none is lost.
    ///
    /// ```
    /// # callsoon::run(async {
    /// let queue = callsoon::Queue::new(0);
    /// queue.put_nowait(1).unwrap();
    /// assert_eq!(queue.get().await, Ok(1));
    /// # }).unwrap();
    /// ```
    #[inline]
    pub fn get(&self) -> impl Future<Output = Result<T, ShutDown>> {
        Getting {
            queue: self,
            place: None,
        }
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
    fn has_room(&self, ahead: usize) -> bool {
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

/// The line of those who wait for all work to be done.
struct Joining<'q, T, S>(&'q Queue<T, S>);

impl<T, S> Acquire for Joining<'_, T, S> {
    type Amount = ();
    type Pass<'g>
        = ()
    where
        Self: 'g;

    fn wait_list(&self) -> &WaitList {
        &self.0.joiners
    }

    fn try_enter(&self, (): ()) -> bool {
        self.0.is_done()
    }

    fn pass(&self, (): ()) {}

    /// All are called at once, so nobody has to be told.
    fn abandoned(&self, (): (), _called: bool) {}
}

/// See [`Queue::get`].
#[must_use = "futures do nothing unless they are awaited"]
struct Getting<'q, T, S: QueueStore<T>> {
    queue: &'q Queue<T, S>,
    place: Option<WaiterId>,
}

impl<T, S: QueueStore<T>> Future for Getting<'_, T, S> {
    type Output = Result<T, ShutDown>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let queue = this.queue;
        if queue.shut_down.get() {
            ready!(poll_shut_down(context));
        }
        let may = |place| match queue.qsize() {
            0 => queue.shut_down.get(),
            items => queue.getters.ahead(place) < items,
        };
        let polled = queue
            .getters
            .poll_until(&mut this.place, (), context.waker(), may);
        if polled.is_pending() || puts_off(context.waker()) {
            return Poll::Pending;
        }
        let mut item = queue.pop();
        if item.is_none() && !queue.shut_down.get() {
            // The store had counted an item that it does not give. Cloning a foreign waker is foreign code: a last try.
            let awaiter = Awaiter::new(context.waker());
            item = queue.pop();
            if item.is_none() && !queue.shut_down.get() {
                queue.starved.set(true);
                let replaced = queue.getters.stand(&mut this.place, (), awaiter);
                drop(replaced);
                return Poll::Pending;
            }
        }
        let place = this.place.take();
        let left = place.and_then(|place| queue.getters.leave(place));
        drop(left);
        Poll::Ready(item.ok_or(ShutDown(())))
    }
}

impl<T, S: QueueStore<T>> Drop for Getting<'_, T, S> {
    #[inline]
    fn drop(&mut self) {
        if let Some(place) = self.place {
            let left = self.queue.getters.leave(place);
            self.queue.nudge_getter();
            drop(left);
        }
    }
}

/// See [`Queue::put`].
#[must_use = "futures do nothing unless they are awaited"]
struct Putting<'q, T, S: QueueStore<T>> {
    queue: &'q Queue<T, S>,
    /// `None` once it was put or given back.
    item: Option<T>,
    place: Option<WaiterId>,
}

/// The item is never pinned.
impl<T, S: QueueStore<T>> Unpin for Putting<'_, T, S> {}

impl<T, S: QueueStore<T>> Future for Putting<'_, T, S> {
    type Output = Result<(), ShutDown<T>>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let queue = this.queue;
        if queue.shut_down.get() {
            ready!(poll_shut_down(context));
        }
        let may = |place| {
            queue.maxsize == 0
                || queue.shut_down.get()
                || queue.has_room(queue.putters.ahead(place))
        };
        let polled = queue
            .putters
            .poll_until(&mut this.place, (), context.waker(), may);
        if polled.is_pending() || puts_off(context.waker()) {
            return Poll::Pending;
        }
        let place = this.place.take();
        let left = place.and_then(|place| queue.putters.leave(place));
        let put = match this.item.take() {
            Some(item) if queue.shut_down.get() => Err(ShutDown(item)),
            item => {
                item.into_iter().for_each(|item| queue.push(item));
                Ok(())
            }
        };
        drop(left);
        Poll::Ready(put)
    }
}

impl<T, S: QueueStore<T>> Drop for Putting<'_, T, S> {
    #[inline]
    fn drop(&mut self) {
        if let Some(place) = self.place {
            let left = self.queue.putters.leave(place);
            self.queue.nudge_putter();
            drop(left);
        }
    }
}
