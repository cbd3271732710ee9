//! A queue's items as a `Stream` that owns the queue, or shares it, and so may leave the function that made it.

use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures_core::{FusedStream, Stream};

use crate::queue::base::Queue;
use crate::queue::store::QueueStore;

impl<T: 'static, S: QueueStore<T> + 'static> Queue<T, S> {
    /// Returns a stream of the items that keeps the queue alive, and is `'static`: [`items`](Self::items) for a stream that
    /// is returned or given to a task. It ends when the queue is shut down and empty. Several streams share the items.
    ///
    /// It costs one allocation.
    ///
    /// ```
    /// use futures_util::{Stream, StreamExt as _};
    /// use std::rc::Rc;
    ///
    /// fn numbers() -> impl Stream<Item = u32> {
    ///     let queue = Rc::new(callsoon::Queue::new(1));
    ///     let items = Rc::clone(&queue).into_items();
    ///     callsoon::create_task(async move {
    ///         for n in 0..3 {
    ///             queue.put(n).await.unwrap();
    ///         }
    ///         queue.shutdown(false);
    ///     });
    ///     items
    /// }
    ///
    /// callsoon::run(async {
    ///     assert_eq!(numbers().collect::<Vec<_>>().await, [0, 1, 2]);
    /// }).unwrap();
    /// ```
    pub fn into_items(self: Rc<Self>) -> OwnedItems<T, S> {
        let item = Rc::new(Cell::new(None));
        let queue = Rc::clone(&self);
        let gets = gets(self, Rc::clone(&item));
        OwnedItems {
            gets: Some(Box::pin(gets)),
            item,
            queue,
        }
    }
}

/// Gets items until the queue is shut down and empty. After each it is pending once, so that its stream can hand the item
/// out. A `get` would borrow the queue that the stream owns; here the borrow is inside one future.
async fn gets<T, S: QueueStore<T>>(queue: Rc<Queue<T, S>>, item: Rc<Cell<Option<T>>>) {
    while let Ok(next) = queue.get().await {
        item.set(Some(next));
        let mut given = false;
        poll_fn(|_| match std::mem::replace(&mut given, true) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
    }
}

/// The items of a queue as a stream that owns the queue. Made by [`Queue::into_items`].
///
/// Dropped or set aside it loses no item. While it is set aside it keeps its place before other getters.
#[must_use = "streams do nothing unless they are polled"]
pub struct OwnedItems<T, S: QueueStore<T> = VecDeque<T>> {
    /// `None` after the end.
    gets: Option<Pin<Box<dyn Future<Output = ()>>>>,
    /// Set by `gets`, and taken in the same poll.
    item: Rc<Cell<Option<T>>>,
    queue: Rc<Queue<T, S>>,
}

impl<T, S: QueueStore<T>> OwnedItems<T, S> {
    /// Returns the queue.
    ///
    /// ```
    /// use std::rc::Rc;
    /// let items = Rc::new(callsoon::Queue::new(0)).into_items();
    /// items.queue().put_nowait(1).unwrap();
    /// assert_eq!(items.queue().qsize(), 1);
    /// ```
    pub fn queue(&self) -> &Rc<Queue<T, S>> {
        &self.queue
    }
}

/// Nothing in it is pinned but what is in the box.
impl<T, S: QueueStore<T>> Unpin for OwnedItems<T, S> {}

impl<T, S: QueueStore<T>> Stream for OwnedItems<T, S> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        let Some(gets) = &mut self.gets else {
            return Poll::Ready(None);
        };
        if gets.as_mut().poll(context).is_ready() {
            self.gets = None;
            return Poll::Ready(None);
        }
        match self.item.take() {
            Some(item) => Poll::Ready(Some(item)),
            None => Poll::Pending,
        }
    }
}

impl<T, S: QueueStore<T>> FusedStream for OwnedItems<T, S> {
    fn is_terminated(&self) -> bool {
        self.gets.is_none()
    }
}

impl<T, S: QueueStore<T>> fmt::Debug for OwnedItems<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedItems")
            .field("ended", &self.gets.is_none())
            .finish_non_exhaustive()
    }
}
