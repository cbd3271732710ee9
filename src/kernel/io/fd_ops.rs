//! `add_reader` and its siblings, and operations on descriptors that the user keeps.
//!
//! An event pushes the callback's key to the ready queue. The callback then runs with nothing borrowed, and may remove,
//! replace or add any callback. An [`FdOperation`] waits for a descriptor that it borrows only for that time. Its drop
//! ends the wait at once, so that the next operation on the descriptor, or on another file with the same number, starts
//! from the beginning.

use std::future::Future;
use std::io;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use crate::error::LoopClosed;
use crate::kernel::callee::Callee;
use crate::kernel::context::Context as LoopContext;
use crate::kernel::enter::{Entry, InContext};
use crate::kernel::io::fd_table::{Callback, CallbackKey};
use crate::kernel::io::readiness::Direction;
use crate::kernel::loop_handle::LoopHandle;
use crate::kernel::loop_state::LoopState;
use crate::kernel::note_wait::note_wait_anew;
use crate::kernel::wait::waiters::WaiterId;
use crate::sys::epoll::Descriptor;

/// The message of the report of a panic in a removed callback's destructor.
const REMOVED: &str = "Exception in the destructor of a removed callback";

impl LoopHandle {
    #[track_caller]
    pub(crate) fn add_fd_callback(
        &self,
        fd: Descriptor,
        direction: Direction,
        context: Option<LoopContext>,
        callback: Box<dyn FnMut()>,
    ) -> io::Result<()> {
        let state = &self.state;
        let callback = Callback::new(callback, context, Location::caller());
        if state.is_closed() {
            state.catch_panic(REMOVED, || drop(callback));
            return Err(LoopClosed.into());
        }
        let set = state.reactor(|reactor| reactor.set_callback(fd, direction, callback))?;
        let (result, unused) = match set {
            Ok(replaced) => (Ok(()), replaced),
            Err((error, refused)) => (Err(error), Some(refused)),
        };
        state.catch_panic(REMOVED, || drop(unused));
        result
    }

    pub(crate) fn remove_fd_callback(&self, fd: Descriptor, direction: Direction) -> bool {
        let state = &self.state;
        if state.is_closed() {
            return false;
        }
        let removed = state.reactor(|reactor| reactor.remove_callback(fd, direction));
        let Ok(Some(removed)) = removed else {
            return false;
        };
        state.catch_panic(REMOVED, || drop(removed));
        true
    }

    /// Runs `op` now, and again whenever the direction is ready, until it does not block. The caller owns the
    /// descriptor and keeps it open meanwhile.
    ///
    /// # Cancellation
    /// Dropping it ends the wait and the registration. `op` has not succeeded then, so nothing is lost.
    pub(crate) fn fd_operation<R, Op>(
        &self,
        fd: Descriptor,
        direction: Direction,
        op: Op,
    ) -> FdOperation<Op>
    where
        Op: FnMut() -> io::Result<R> + Unpin,
    {
        FdOperation {
            state: Rc::clone(&self.state),
            fd,
            direction,
            waiting: None,
            op,
        }
    }
}

/// Phase 4: queues the callbacks whose descriptors are ready.
pub(crate) fn queue_fired(state: &LoopState) {
    // A closed loop has no events.
    let _ = state.reactor(|reactor| {
        if reactor.descriptors.has_fired() {
            state.queues(|queues| {
                let fired = reactor.descriptors.take_fired();
                fired.for_each(|key| queues.ready.push_fd_callback(key));
            });
        }
    });
}

/// Returns whether the last poll has found callbacks to be queued.
pub(crate) fn has_fired(state: &LoopState) -> bool {
    state.reactor(|reactor| reactor.descriptors.has_fired()) == Ok(true)
}

/// Phase 6: calls the callback of a key, unless it was removed since.
pub(crate) fn run_fd_callback(state: &LoopState, key: CallbackKey) {
    let Ok(Some(mut callback)) = state.reactor(|reactor| reactor.descriptors.start(key)) else {
        return;
    };
    let callee = match key.direction {
        Direction::Read => Callee::Reader,
        Direction::Write => Callee::Writer,
    };
    let location = callback.location;
    let entry = Entry {
        state,
        callee,
        location,
    };
    if let Some(call) = &mut callback.call {
        // Its panic is in the report.
        let _ = entry.run(InContext::Kept(&mut callback.context), call);
    }
    let unused = state.reactor(|reactor| reactor.descriptors.finish(key, callback));
    state.catch_panic(REMOVED, || drop(unused));
}

/// See [`LoopHandle::fd_operation`].
#[must_use]
pub(crate) struct FdOperation<Op> {
    state: Rc<LoopState>,
    fd: Descriptor,
    direction: Direction,
    /// The waiter of this operation, once it has waited.
    waiting: Option<WaiterId>,
    op: Op,
}

impl<R, Op> Future for FdOperation<Op>
where
    Op: FnMut() -> io::Result<R> + Unpin,
{
    type Output = io::Result<R>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<R>> {
        let this = &mut *self;
        ready!(this.state.poll_begin(context));
        let polled = this.attempt_or_wait(context);
        if polled.is_pending() {
            this.state.budget.give_back();
        }
        polled
    }
}

impl<R, Op> FdOperation<Op>
where
    Op: FnMut() -> io::Result<R> + Unpin,
{
    fn attempt_or_wait(&mut self, context: &Context<'_>) -> Poll<io::Result<R>> {
        if self.state.is_closed() {
            return Poll::Ready(Err(LoopClosed.into()));
        }
        loop {
            match (self.op)() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => {
                    self.leave();
                    return Poll::Ready(result);
                }
            }
        }
        // A descriptor that becomes ready from now on is reported after the registration, which is level-triggered.
        let mut waker = Some(context.waker().clone());
        let is_new = self.waiting.is_none();
        let waits = self.state.reactor(|reactor| {
            reactor.wait_for_fd(self.fd, self.direction, &mut self.waiting, &mut waker)
        });
        drop(waker);
        match waits {
            Ok(Ok(())) => {
                note_wait_anew(self.direction.kind(), is_new, || self.fd as u64);
                Poll::Pending
            }
            Ok(Err(error)) => Poll::Ready(Err(error)),
            Err(closed) => Poll::Ready(Err(closed.into())),
        }
    }
}

impl<Op> FdOperation<Op> {
    fn leave(&mut self) {
        let Some(id) = self.waiting.take() else {
            return;
        };
        if self.state.is_inherited() {
            // The set is shared with the parent, which still needs the descriptor's registration.
            return;
        }
        let left = self
            .state
            .reactor(|reactor| reactor.leave_fd(self.fd, self.direction, id));
        drop(left);
    }
}

impl<Op> Drop for FdOperation<Op> {
    fn drop(&mut self) {
        self.leave();
    }
}
