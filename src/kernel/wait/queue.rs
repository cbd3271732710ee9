//! A queue of tasks that wait for a condition, and are all woken whenever it may have become true.
//!
//! A wait checks its condition before it clones the waker and again afterwards: cloning another runtime's waker runs
//! user code, which may make the condition true. A wake grants nothing, so a woken task checks the condition again, and
//! a dropped wait only leaves the queue.

use std::cell::RefCell;
use std::future::poll_fn;
use std::task::{Context, Poll, Waker};

use crate::kernel::loop_state::LoopState;
use crate::kernel::wait::waiters::{WaiterId, Waiters};

/// The wakers of the waiting tasks.
pub(crate) struct WaitQueue(RefCell<Waiters<Waker>>);

impl WaitQueue {
    pub(crate) const fn new() -> Self {
        Self(RefCell::new(Waiters::new()))
    }

    /// Waits until `is_so` returns true. Code that changes its value calls [`wake_all`](Self::wake_all) afterwards.
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

    /// Wakes all that wait now, in order. Another runtime's waker may start to wait again while it is called; it is not
    /// woken twice.
    pub(crate) fn wake_all(&self, state: &LoopState) {
        let end = self.0.borrow().end();
        let next = || self.0.borrow_mut().take_first_before(end);
        while let Some(waker) = next() {
            state.wake(waker);
        }
    }
}

/// The place of one wait in the queue.
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
