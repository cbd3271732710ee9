//! A one-waiter gate: how a row's main task learns that the last callback, task or post has run.
//!
//! The same type for every peer, so that none has a cheaper end than another. It is touched once per measured run (once
//! per batch in `callback_batch`), never per operation.

use std::future::{Future, poll_fn};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};

/// Cloning gives another handle on the same gate.
#[derive(Clone, Default)]
pub struct Gate(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// Opened and not yet passed.
    open: bool,
    /// The waiter.
    waiter: Option<Waker>,
}

impl Gate {
    /// Opens the gate for one pass and wakes the waiter, with nothing locked.
    pub fn open(&self) {
        let waiter = {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            state.open = true;
            state.waiter.take()
        };
        if let Some(waiter) = waiter {
            waiter.wake();
        }
    }

    /// Waits until the gate is open, and closes it again.
    pub fn pass(&self) -> impl Future<Output = ()> + 'static {
        let gate = self.clone();
        poll_fn(move |context| {
            let mut state = gate.0.lock().unwrap_or_else(PoisonError::into_inner);
            if std::mem::take(&mut state.open) {
                return Poll::Ready(());
            }
            state.waiter = Some(context.waker().clone());
            Poll::Pending
        })
    }
}
