//! A future of this loop for a task of tokio's.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::task::{JoinError, JoinHandle};

/// A future that runs on the other runtime.
pub(crate) struct There<T>(JoinHandle<T>);

impl<T> There<T> {
    pub(crate) fn new(task: JoinHandle<T>) -> Self {
        Self(task)
    }
}

impl<T> Future for There<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context)
    }
}

impl<T> Drop for There<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
