//! Queues as the `Stream` and the `Sink` of the futures crates.
//!
//! A stream or a sink waits in the queue's wait queue while it is pending, as a `get` or a `put` does, and keeps its place
//! there until it is polled again or dropped. Others behind it wait for it meanwhile. So drop what is not polled any more.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::{FusedStream, Stream};
use futures_sink::Sink;

use crate::queue::base::Queue;
use crate::queue::error::{PutError, ShutDown};
use crate::queue::store::QueueStore;
use crate::queue::waits::{Get, Put};

impl<T, S: QueueStore<T>> Queue<T, S> {
    /// Returns a stream of the items, which ends when the queue is shut down and empty. Several streams share the items.
    ///
    /// ```
    /// use futures_util::StreamExt as _;
    /// callsoon::run(async {
    ///     let queue = callsoon::Queue::new(0);
    ///     (0..3).for_each(|n| queue.put_nowait(n).unwrap());
    ///     queue.shutdown(false);
    ///     assert_eq!(queue.items().collect::<Vec<_>>().await, [0, 1, 2]);
    /// }).unwrap();
    /// ```
    pub fn items(&self) -> Items<'_, T, S> {
        Items {
            get: Get::new(self),
            ended: false,
        }
    }

    /// Returns a sink that puts items. It keeps one item that the queue has no room for yet; a flush waits until that is
    /// in the queue. Closing the sink flushes it, and does not shut the queue down.
    ///
    /// ```
    /// use futures_util::{SinkExt as _, stream};
    /// callsoon::run(async {
    ///     let queue = callsoon::Queue::new(0);
    ///     queue.puts().send_all(&mut stream::iter([Ok(1), Ok(2)])).await.unwrap();
    ///     assert_eq!(queue.qsize(), 2);
    /// }).unwrap();
    /// ```
    pub fn puts(&self) -> Puts<'_, T, S> {
        Puts {
            queue: self,
            put: None,
        }
    }
}

/// The items of a queue as a stream. Made by [`Queue::items`].
///
/// Dropped or set aside it loses no item. While it is set aside it keeps its place before other getters.
#[must_use = "streams do nothing unless they are polled"]
pub struct Items<'q, T, S: QueueStore<T> = VecDeque<T>> {
    get: Get<'q, T, S>,
    ended: bool,
}

impl<T, S: QueueStore<T>> Stream for Items<'_, T, S> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        let item = ready!(Pin::new(&mut self.get).poll(context)).ok();
        self.ended = item.is_none();
        Poll::Ready(item)
    }
}

impl<T, S: QueueStore<T>> FusedStream for Items<'_, T, S> {
    fn is_terminated(&self) -> bool {
        self.ended
    }
}

/// A queue as a sink. Made by [`Queue::puts`].
///
/// If it is dropped before it is flushed, an item that the queue had no room for is dropped with it.
#[must_use = "sinks do nothing unless they are polled"]
pub struct Puts<'q, T, S: QueueStore<T> = VecDeque<T>> {
    queue: &'q Queue<T, S>,
    /// The item that waits for room.
    put: Option<Put<'q, T, S>>,
}

impl<T, S: QueueStore<T>> Sink<T> for Puts<'_, T, S> {
    type Error = ShutDown<T>;

    fn poll_ready(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), ShutDown<T>>> {
        self.poll_flush(context)
    }

    fn start_send(mut self: Pin<&mut Self>, item: T) -> Result<(), ShutDown<T>> {
        match self.queue.put_nowait(item) {
            Ok(()) => Ok(()),
            Err(PutError::ShutDown(item)) => Err(ShutDown(item)),
            Err(PutError::Full(item)) => {
                assert!(self.put.is_none(), "start_send: the sink is not ready");
                self.put = Some(Put::new(self.queue, item));
                Ok(())
            }
        }
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), ShutDown<T>>> {
        let Some(put) = &mut self.put else {
            return Poll::Ready(Ok(()));
        };
        let done = ready!(Pin::new(put).poll(context));
        self.put = None;
        Poll::Ready(done)
    }

    fn poll_close(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), ShutDown<T>>> {
        self.poll_flush(context)
    }
}
