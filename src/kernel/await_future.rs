//! Awaiting a [`Future`]: how a handle waits among the listeners, and how a cancellation of its awaiter reaches it.

use std::future::IntoFuture;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::error::FutureError;
use crate::kernel::cancel::awaits::Duty;
use crate::kernel::cancel::node::NodeKey;
use crate::kernel::future::{Future, Listener};
use crate::kernel::note_wait::{address, note_wait};
use crate::kernel::task::key::Identity;
use crate::kernel::task::reference::CallbackId;
use crate::kernel::task::waker::{key_of, with_current};
use crate::kernel::wait::wait_kind::WaitKind;

impl<T> Future<T> {
    /// Waits for the result and moves it out.
    ///
    /// # Errors
    /// The future's error, [`FutureError::OtherLoop`], and [`FutureError::Taken`] if another caller took the value
    /// first.
    ///
    /// # Cancellation
    /// Dropping it before it is done takes nothing. A cancellation of the awaiter cancels the future.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// struct Unique;
    /// let future = event_loop.create_future();
    /// let setter = future.clone();
    /// event_loop.call_soon(move || drop(setter.set_result(Unique)));
    /// let Unique = event_loop.run_until_complete(future.take()).unwrap().unwrap();
    /// ```
    pub async fn take(self) -> Result<T, FutureError> {
        let mut this = self;
        std::future::poll_fn(move |context| match this.wait(context)? {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) => Poll::Ready(this.try_take().unwrap_or(Err(FutureError::Taken))),
        })
        .await
    }

    /// Returns `Ready` once there is a result. Until then this handle waits among the listeners with the context's
    /// waker. A cancellation of the awaiter cancels the future.
    fn wait(&mut self, context: &Context<'_>) -> Result<Poll<()>, FutureError> {
        let done = self.done();
        if done && self.node == NodeKey::NONE {
            return Ok(Poll::Ready(()));
        }
        let state = &self.shared.state;
        let (node, duty) = state.visit_await(
            self.node,
            context.waker(),
            Identity::NONE,
            done,
            self.cancelled(),
        );
        self.node = node;
        match duty {
            Duty::Nothing if done => {
                state.complete_await(node);
                self.node = NodeKey::NONE;
                return Ok(Poll::Ready(()));
            }
            Duty::Nothing => {}
            // Only the await of a task gives up; an await that has passed stays pending until it is dropped.
            Duty::Hold | Duty::GiveUp => return Ok(Poll::Pending),
            Duty::Cancel { .. } => {
                let request = state.tree(|tree| tree.request_to(node));
                // The visit has cloned the waker: another runtime's may have set the result meanwhile.
                if !self.done() {
                    self.finish(Err(FutureError::Cancelled(request)));
                }
                self.shared.state.pass_await(node);
                return Ok(Poll::Pending);
            }
        }
        let polled = self.wait_for_result(context);
        if !matches!(polled, Ok(Poll::Pending)) {
            self.shared.state.complete_await(self.node);
            self.node = NodeKey::NONE;
        }
        polled
    }

    /// Does the same as [`wait`](Self::wait) from behind a shield: a cancellation of the awaiter does not cancel the
    /// future.
    pub(crate) fn wait_shielded(&mut self, context: &Context<'_>) -> Result<Poll<()>, FutureError> {
        if self.node != NodeKey::NONE {
            self.shared.state.drop_await(self.node);
            self.node = NodeKey::NONE;
        }
        self.wait_for_result(context)
    }

    fn wait_for_result(&mut self, context: &Context<'_>) -> Result<Poll<()>, FutureError> {
        if self.done() {
            return Ok(Poll::Ready(()));
        }
        let same_loop = match key_of(context.waker()) {
            Some(key) => key.loop_id() == self.shared.state.id,
            None => with_current(|state| state.id == self.shared.state.id).unwrap_or(true),
        };
        if !same_loop {
            return Err(FutureError::OtherLoop);
        }
        // Cloning another runtime's waker runs user code, which may set the result.
        let awaiter = Listener::Awaiter(context.waker().clone());
        if self.done() {
            return Ok(Poll::Ready(()));
        }
        let mut listeners = self.shared.listeners.borrow_mut();
        listeners.number_from(CallbackId::next(&self.shared.state).number);
        let replaced = listeners.wait(&mut self.waiting, awaiter);
        drop(listeners);
        drop(replaced);
        note_wait(WaitKind::Future, || address(&*self.shared));
        Ok(Poll::Pending)
    }
}

impl<T: Clone> std::future::Future for Future<T> {
    type Output = Result<T, FutureError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.wait(context) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(())) => Poll::Ready(self.result().unwrap_or(Err(FutureError::Taken))),
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

impl<T: Clone> IntoFuture for &Future<T> {
    type Output = Result<T, FutureError>;
    type IntoFuture = Future<T>;

    fn into_future(self) -> Future<T> {
        self.clone()
    }
}

impl<T> Drop for Future<T> {
    fn drop(&mut self) {
        if let Some(id) = self.waiting {
            let left = self.shared.listeners.borrow_mut().leave(id);
            drop(left);
        }
        self.shared.state.drop_await(self.node);
    }
}
