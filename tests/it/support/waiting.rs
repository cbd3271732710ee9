//! A future that a test polls by hand.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::CountingWaker;

/// A future with a waker of its own, which remembers whether it was woken. Dropping it cancels.
pub(crate) struct Waiting<'a, T> {
    future: Pin<Box<dyn Future<Output = T> + 'a>>,
    counter: Arc<CountingWaker>,
    waker: Waker,
    /// Wakes before the last poll.
    seen: usize,
}

impl<'a, T> Waiting<'a, T> {
    pub(crate) fn new(future: impl Future<Output = T> + 'a) -> Self {
        Self::boxed(Box::pin(future))
    }

    fn boxed(future: Pin<Box<dyn Future<Output = T> + 'a>>) -> Self {
        let (counter, waker) = CountingWaker::new();
        Self {
            future,
            counter,
            waker,
            seen: 0,
        }
    }

    /// Returns a future that has been polled once and is pending.
    #[track_caller]
    pub(crate) fn begun(future: impl Future<Output = T> + 'a) -> Self {
        let mut waiting = Self::new(future);
        assert!(waiting.poll().is_none(), "it did not have to wait");
        waiting
    }

    pub(crate) fn poll(&mut self) -> Option<T> {
        let waker = self.waker.clone();
        self.poll_with(&waker)
    }

    pub(crate) fn poll_with(&mut self, waker: &Waker) -> Option<T> {
        self.seen = self.counter.wakes();
        match self.future.as_mut().poll(&mut Context::from_waker(waker)) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        }
    }

    /// Returns whether it was woken since its last poll.
    pub(crate) fn is_woken(&self) -> bool {
        self.counter.wakes() > self.seen
    }
}
