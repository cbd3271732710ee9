//! The channel of the `ping_pong` row: one value, one waiting receiver, no capacity to wait for.
//!
//! Written here so that every peer plays over the same channel and the row measures two wakes and two polls, not
//! somebody's queue.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::task::{Poll, Waker};

/// Cloning gives the other end.
pub struct OneSlot<T>(Rc<RefCell<Slot<T>>>);

struct Slot<T> {
    value: Option<T>,
    receiver: Option<Waker>,
}

impl<T> Clone for OneSlot<T> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<T> Default for OneSlot<T> {
    fn default() -> Self {
        Self(Rc::new(RefCell::new(Slot {
            value: None,
            receiver: None,
        })))
    }
}

impl<T> OneSlot<T> {
    /// Puts a value in and wakes the receiver. The players take turns, so the slot is empty.
    pub fn send(&self, value: T) {
        let receiver = {
            let mut slot = self.0.borrow_mut();
            let before = slot.value.replace(value);
            debug_assert!(before.is_none(), "the players take turns");
            slot.receiver.take()
        };
        if let Some(receiver) = receiver {
            receiver.wake();
        }
    }

    /// Waits for a value.
    pub fn receive(&self) -> impl Future<Output = T> + '_ {
        poll_fn(|context| {
            let mut slot = self.0.borrow_mut();
            if let Some(value) = slot.value.take() {
                return Poll::Ready(value);
            }
            slot.receiver = Some(context.waker().clone());
            Poll::Pending
        })
    }
}
