//! `get`, `put` and `join`: the operations of a queue that wait.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use crate::kernel::note_wait::{address, note_wait_anew};
use crate::kernel::task::waker::puts_off;
use crate::kernel::wait::list::{Awaiter, WaitList};
use crate::kernel::wait::wait_kind::WaitKind;
use crate::kernel::wait::waiters::WaiterId;
use crate::queue::base::Queue;
use crate::queue::error::ShutDown;
use crate::queue::store::QueueStore;
use crate::sync::acquire::{Acquire, Wait, poll_shut_down};

impl<T, S> Queue<T, S> {
    /// Waits until the work on all items that were put is [done](Self::task_done). If it is, this does not suspend.
    ///
    /// It does not wait for items that the store has dropped, or that a panic of the store has lost: the work is also
    /// done when the queue is empty and every item that was taken was reported.
    ///
    /// # Cancellation
    /// Dropping the future ends the wait.
    ///
    /// ```
    /// # callsoon::run(async {
    /// callsoon::Queue::<u8>::new(0).join().await;
    /// # }).unwrap();
    /// ```
    pub async fn join(&self) {
        Wait::new(&Join(self), ()).await;
        if self.shut_down.get() {
            poll_fn(|context| poll_shut_down(context)).await;
        }
    }
}

impl<T, S: QueueStore<T>> Queue<T, S> {
    /// Takes an item. If there is none for this caller and for every getter before it, this waits for one. Otherwise it
    /// does not suspend.
    ///
    /// # Errors
    /// [`ShutDown`] if the queue is shut down and has no items left.
    ///
    /// # Cancellation
    /// Dropping the future ends the wait. It holds no item, so none is lost.
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
        Get::new(self)
    }

    /// Puts an item into the queue. If there is no room for it and for the items of every putter before it, this waits
    /// for room. Otherwise it does not suspend.
    ///
    /// # Errors
    /// [`ShutDown`] with the item if the queue is shut down before there is room.
    ///
    /// # Cancellation
    /// Dropping the future ends the wait, and drops the item.
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
        // Not an async function, which would reserve space for the item twice.
        Put::new(self, item)
    }
}

/// The callers of `join`, as a primitive to wait for.
struct Join<'q, T, S>(&'q Queue<T, S>);

impl<T, S> Acquire for Join<'_, T, S> {
    const KIND: WaitKind = WaitKind::QueueJoin;

    type Amount = ();
    type Guard<'a>
        = ()
    where
        Self: 'a;

    fn wait_list(&self) -> &WaitList {
        &self.0.joiners
    }

    fn try_take(&self, (): ()) -> bool {
        self.0.is_done()
    }

    fn guard(&self, (): ()) {}
}

/// The future of [`Queue::get`].
#[must_use = "futures do nothing unless they are awaited"]
pub(crate) struct Get<'q, T, S: QueueStore<T>> {
    queue: &'q Queue<T, S>,
    id: Option<WaiterId>,
}

impl<'q, T, S: QueueStore<T>> Get<'q, T, S> {
    /// One that has returned an item may be polled for the next.
    #[inline]
    pub(crate) fn new(queue: &'q Queue<T, S>) -> Self {
        Self { queue, id: None }
    }
}

impl<T, S: QueueStore<T>> Future for Get<'_, T, S> {
    type Output = Result<T, ShutDown>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let queue = this.queue;
        if queue.shut_down.get() {
            ready!(poll_shut_down(context));
        }
        let condition = |id| match queue.qsize() {
            0 => queue.shut_down.get(),
            items => queue.getters.ahead(id) < items,
        };
        let is_new = this.id.is_none();
        let polled = queue
            .getters
            .poll_until(&mut this.id, (), context.waker(), condition);
        if polled.is_pending() {
            note_wait_anew(WaitKind::QueueGet, is_new, || address(&queue.getters));
            return Poll::Pending;
        }
        if puts_off(context.waker()) {
            return Poll::Pending;
        }
        let mut item = queue.pop();
        if item.is_none() && !queue.shut_down.get() {
            // The store counted an item that it does not return. The clone below may run user code, so the store is
            // asked once more after it.
            let awaiter = Awaiter::new(context.waker());
            item = queue.pop();
            if item.is_none() && !queue.shut_down.get() {
                queue.starved.set(true);
                let reidd = queue.getters.enqueue(&mut this.id, (), awaiter);
                drop(reidd);
                note_wait_anew(WaitKind::QueueGet, is_new, || address(&queue.getters));
                return Poll::Pending;
            }
        }
        let left = this.id.take().and_then(|id| queue.getters.leave(id));
        drop(left);
        Poll::Ready(item.ok_or(ShutDown(())))
    }
}

impl<T, S: QueueStore<T>> Drop for Get<'_, T, S> {
    #[inline]
    fn drop(&mut self) {
        if let Some(id) = self.id {
            let left = self.queue.getters.leave(id);
            self.queue.notify_getter();
            drop(left);
        }
    }
}

/// The future of [`Queue::put`].
#[must_use = "futures do nothing unless they are awaited"]
pub(crate) struct Put<'q, T, S: QueueStore<T>> {
    queue: &'q Queue<T, S>,
    /// `None` once it was put or given back.
    item: Option<T>,
    id: Option<WaiterId>,
}

impl<'q, T, S: QueueStore<T>> Put<'q, T, S> {
    #[inline]
    pub(crate) fn new(queue: &'q Queue<T, S>, item: T) -> Self {
        Self {
            queue,
            item: Some(item),
            id: None,
        }
    }
}

/// The item is never pinned.
impl<T, S: QueueStore<T>> Unpin for Put<'_, T, S> {}

impl<T, S: QueueStore<T>> Future for Put<'_, T, S> {
    type Output = Result<(), ShutDown<T>>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let queue = this.queue;
        if queue.shut_down.get() {
            ready!(poll_shut_down(context));
        }
        let condition = |id| {
            queue.maxsize == 0 || queue.shut_down.get() || queue.has_room(queue.putters.ahead(id))
        };
        let is_new = this.id.is_none();
        let polled = queue
            .putters
            .poll_until(&mut this.id, (), context.waker(), condition);
        if polled.is_pending() {
            note_wait_anew(WaitKind::QueuePut, is_new, || address(&queue.getters));
            return Poll::Pending;
        }
        if puts_off(context.waker()) {
            return Poll::Pending;
        }
        let left = this.id.take().and_then(|id| queue.putters.leave(id));
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

impl<T, S: QueueStore<T>> Drop for Put<'_, T, S> {
    #[inline]
    fn drop(&mut self) {
        if let Some(id) = self.id {
            let left = self.queue.putters.leave(id);
            self.queue.notify_putter();
            drop(left);
        }
    }
}
