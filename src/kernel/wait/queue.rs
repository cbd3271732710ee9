//! Those who wait until something is so, and are all woken whenever it may be.
//!
//! A condition is looked at before waiting and again after the waker has been cloned: cloning a foreign waker is foreign
//! code, which may bring about the very thing. Nobody is handed anything, so whoever is woken looks again, and a wait that
//! is dropped leaves the line and changes nothing.

use std::cell::RefCell;
use std::future::poll_fn;
use std::task::{Context, Poll, Waker};

use crate::kernel::loop_state::LoopState;
use crate::kernel::wait::waiters::{WaiterId, Waiters};

/// The wakers of those who wait.
pub(crate) struct WaitQueue(RefCell<Waiters<Waker>>);

impl WaitQueue {
    pub(crate) const fn new() -> Self {
        Self(RefCell::new(Waiters::new()))
    }

    /// Waits until `is_so`, which changes only where [`wake_all`](Self::wake_all) is called after it.
    pub(crate) async fn wait_until(&self, is_so: impl Fn() -> bool) {
        let mut place = Place {
            queue: self,
            id: None,
        };
        poll_fn(|context| {
            if is_so() {
                return Poll::Ready(());
            }
            place.wait(context);
            if is_so() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    /// Wakes all who wait now, in order. A foreign waker may wait again from within: that is not now.
    pub(crate) fn wake_all(&self, state: &LoopState) {
        let end = self.0.borrow().end();
        loop {
            let mut waiters = self.0.borrow_mut();
            if waiters.first().is_none_or(|(id, _)| id >= end) {
                return;
            }
            let waker = waiters.take_first();
            drop(waiters);
            if let Some(waker) = waker {
                state.wake(waker);
            }
        }
    }
}

/// One's place in the line.
struct Place<'a> {
    queue: &'a WaitQueue,
    id: Option<WaiterId>,
}

impl Place<'_> {
    fn wait(&mut self, context: &Context<'_>) {
        let waker = context.waker().clone();
        let mut waiters = self.queue.0.borrow_mut();
        let replaced = waiters.wait(&mut self.id, waker);
        drop(waiters);
        drop(replaced);
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            let left = self.queue.0.borrow_mut().leave(id);
            drop(left);
        }
    }
}
