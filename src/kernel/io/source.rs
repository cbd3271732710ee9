//! A source that is registered with the loop, and operations on it that wait for readiness.
//!
//! [`Io`] is the one owner of a registered descriptor: its drop deregisters the descriptor and then closes it. An
//! operation tries its system call while the cached readiness says that it may succeed, and waits otherwise. Dropping
//! the operation ends its wait. A task in which many operations have ended in one poll has to yield, however ready its
//! sources are, and also if the operations fail.

use std::future::{Future, poll_fn};
use std::io;
use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use mio::Interest;

use crate::error::LoopClosed;
use crate::kernel::io::readiness::Observer;
use crate::kernel::io::readiness::{Direction, Readiness};
use crate::kernel::io::source_key::SourceKey;
use crate::kernel::loop_handle::LoopHandle;
use crate::kernel::loop_state::LoopState;
use crate::kernel::note_wait::note_wait_anew;
use crate::kernel::task::waker::{key_of, waker};
use crate::kernel::wait::waiters::WaiterId;
use crate::sys::epoll::Numbered;
use crate::sys::source::Pollable;

/// A registered source.
pub(crate) struct Io<S: Pollable> {
    state: Rc<LoopState>,
    key: SourceKey,
    /// `None` only after [`into_source`](Self::into_source), which consumes the whole.
    source: Option<S>,
}

impl<S: Pollable + Numbered> Io<S> {
    /// Registers `source`; on failure it is closed.
    ///
    /// # Errors
    /// [`LoopClosed`], and what the system reports.
    pub(crate) fn new(
        handle: &LoopHandle,
        mut source: S,
        interest: Interest,
        readiness: Readiness,
    ) -> io::Result<Self> {
        let state = Rc::clone(&handle.state);
        let key = state.reactor(|reactor| reactor.register(&mut source, interest, readiness))??;
        Ok(Self {
            state,
            key,
            source: Some(source),
        })
    }
}

impl<S: Pollable> Io<S> {
    pub(crate) fn source(&self) -> &S {
        match &self.source {
            Some(source) => source,
            None => unreachable!("the source is taken out by value, with all of `self`"),
        }
    }

    /// Deregisters the source and returns it, open.
    pub(crate) fn into_source(mut self) -> S {
        match self.release() {
            Some(source) => source,
            None => unreachable!("the source is taken out by value, with all of `self`"),
        }
    }

    /// Deregisters the source, wakes all that wait for it, and returns it.
    fn release(&mut self) -> Option<S> {
        let mut source = self.source.take()?;
        if self.state.is_inherited() {
            // The set is shared with the parent, which still needs the socket's registration.
            return Some(source);
        }
        let mut woken = Vec::new();
        // On a closed loop there is no poller any more. This never drops the last reference of the observer, since the
        // observer owns this source.
        let observer = self
            .state
            .reactor(|reactor| reactor.deregister(&mut source, self.key, &mut woken));
        drop(observer);
        // An operation that waits on another handle of the same source finds it closed.
        for waker in woken {
            self.state.wake(waker);
        }
        Some(source)
    }

    pub(crate) fn handle(&self) -> LoopHandle {
        LoopHandle::of(&self.state)
    }

    /// Sets the observer, which is called whenever the source becomes ready from now on. The source may have become
    /// ready before, so call [`queue`](Self::queue) once after this.
    pub(crate) fn observe(&self, observer: Rc<dyn Observer>) -> Result<(), LoopClosed> {
        self.state
            .reactor(|reactor| reactor.observe(self.key, observer))
    }

    /// Queues a call of the observer, as if an event had come.
    pub(crate) fn queue(&self) {
        let queue = self.state.reactor(|reactor| reactor.enqueue(self.key));
        if queue == Ok(true) && self.state.admit().is_ok() {
            self.state
                .queues(|queues| queues.ready.push_source(self.key));
        }
    }

    /// Returns whether a call of the observer is queued.
    pub(crate) fn is_queued(&self) -> bool {
        self.state.reactor(|reactor| reactor.is_queued(self.key)) == Ok(true)
    }

    /// Notes whether the observer has something to write. If it has nothing, it is not called for an event that wakes a
    /// waiting reader: that reader reads what has come, and queues a call of the observer if it does not.
    pub(crate) fn set_writes(&self, writes: bool) {
        // On a closed loop nothing is called any more.
        let _ = self
            .state
            .reactor(|reactor| reactor.set_writes(self.key, writes));
    }

    /// Borrows the cached readiness. `f` must not run user code.
    pub(crate) fn readiness<R>(
        &self,
        f: impl FnOnce(&mut Readiness) -> R,
    ) -> Result<R, LoopClosed> {
        self.state
            .reactor(|reactor| reactor.readiness(self.key).map(f))?
            .ok_or(LoopClosed)
    }

    /// Tries an operation once, without waiting. Returns `WouldBlock` without a system call if the cached readiness
    /// says that it would block.
    #[inline(always)]
    pub(crate) fn attempt<R>(
        &self,
        direction: Direction,
        op: impl FnOnce(&S) -> io::Result<R>,
    ) -> io::Result<R> {
        if !self.readiness(|readiness| readiness.is_ready(direction))? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let result = op(self.source());
        let blocked = |error: &io::Error| error.kind() == io::ErrorKind::WouldBlock;
        if result.as_ref().is_err_and(blocked) {
            self.readiness(|readiness| readiness.blocked(direction))?;
        }
        result
    }

    /// Notes that an operation that was tried elsewhere met `WouldBlock`.
    pub(crate) fn clear_ready(&self, direction: Direction) {
        // A closed loop has no readiness to update.
        let _ = self.readiness(|readiness| readiness.blocked(direction));
    }

    /// Waits until the direction is ready.
    pub(crate) async fn ready(&self, direction: Direction) -> io::Result<()> {
        self.operate(direction, |_| Ok(()), |()| false).await
    }

    /// Runs `op` as soon as the direction is ready, and again until it does not block. `short` says whether a success
    /// was a short read.
    ///
    /// # Cancellation
    /// Dropping it ends the wait. `op` has not succeeded then, so nothing is lost.
    pub(crate) fn operate<'a, R, Op, Short>(
        &'a self,
        direction: Direction,
        op: Op,
        short: Short,
    ) -> Operation<'a, S, Op, Short>
    where
        Op: FnMut(&S) -> io::Result<R> + Unpin,
        Short: Fn(&R) -> bool + Unpin,
    {
        Operation {
            io: self,
            direction,
            at_once: false,
            waiting: None,
            op,
            short,
        }
    }
}

/// Polling operations.
impl<S: Pollable> Io<S> {
    /// Does the same as [`operate`](Self::operate) as a poll function: the calls for one direction have one waiter
    /// together. It keeps the waker of the last call that was pending, until the direction becomes ready.
    pub(crate) fn poll_operate<R>(
        &self,
        direction: Direction,
        context: &mut Context<'_>,
        mut op: impl FnMut(&S) -> io::Result<R>,
        short: impl Fn(&R) -> bool,
    ) -> Poll<io::Result<R>> {
        let wait = |readiness: &mut Readiness, waker: &mut Option<Waker>| {
            readiness.wait_polled(direction, waker);
        };
        self.poll_until_done(direction, context, &mut op, &short, wait)
    }

    /// Does the same as [`ready`](Self::ready) as a poll function.
    pub(crate) fn poll_ready(
        &self,
        direction: Direction,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_operate(direction, context, |_| Ok(()), |()| false)
    }

    /// Runs `op` while the direction is ready, and has `wait` take the waker once it would block.
    #[inline(always)]
    fn poll_until_done<R>(
        &self,
        direction: Direction,
        context: &mut Context<'_>,
        op: &mut impl FnMut(&S) -> io::Result<R>,
        short: &impl Fn(&R) -> bool,
        mut wait: impl FnMut(&mut Readiness, &mut Option<Waker>),
    ) -> Poll<io::Result<R>> {
        // Each return but the last one keeps what this takes from the budget.
        ready!(self.state.poll_begin(context));
        let mut waker = None;
        loop {
            while self.readiness(|readiness| readiness.is_ready(direction))? {
                match op(self.source()) {
                    Ok(value) => {
                        if short(&value) {
                            self.readiness(Readiness::short_read)?;
                        }
                        return Poll::Ready(Ok(value));
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        self.readiness(|readiness| readiness.blocked(direction))?;
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Poll::Ready(Err(error)),
                }
            }
            if waker.is_none() {
                waker = own_waker(context);
            }
            if waker.is_none() {
                // Cloning another runtime's waker runs user code, which may poll the loop for this very event: check
                // again.
                waker = Some(context.waker().clone());
                continue;
            }
            // Afterwards `waker` holds the replaced one, which is dropped with nothing borrowed.
            self.readiness(|readiness| wait(readiness, &mut waker))?;
            // An event takes the waker that waits for it.
            note_wait_anew(direction.kind(), waker.is_none(), || self.key.number());
            self.state.budget.give_back();
            return Poll::Pending;
        }
    }
}

impl<S: Pollable> Drop for Io<S> {
    fn drop(&mut self) {
        drop(self.release());
    }
}

/// Returns a copy of the task's waker if it is one of ours: a word, whose copying runs no user code.
#[inline]
pub(crate) fn own_waker(context: &Context<'_>) -> Option<Waker> {
    key_of(context.waker()).map(|key| ManuallyDrop::into_inner(waker(key)))
}

/// See [`Io::operate`].
#[must_use]
pub(crate) struct Operation<'a, S: Pollable, Op, Short> {
    io: &'a Io<S>,
    direction: Direction,
    /// See [`at_once_if`](Self::at_once_if).
    at_once: bool,
    /// The waiter of this operation, while it waits.
    waiting: Option<WaiterId>,
    op: Op,
    short: Short,
}

impl<S: Pollable, Op, Short> Operation<'_, S, Op, Short> {
    /// If `so`, the operation has nothing to do: it ends at once, whatever the readiness is, and takes nothing from the
    /// budget.
    pub(crate) fn at_once_if(mut self, so: bool) -> Self {
        self.at_once = so;
        self
    }

    /// Repeats the operation until it returns 0, how much is left to be done. Each repetition is an operation by itself
    /// for the budget.
    pub(crate) fn until_nothing_is_left(mut self) -> impl Future<Output = io::Result<()>>
    where
        Op: FnMut(&S) -> io::Result<usize> + Unpin,
        Short: Fn(&usize) -> bool + Unpin,
    {
        poll_fn(move |context| {
            while ready!(Pin::new(&mut self).poll(context))? > 0 {}
            Poll::Ready(Ok(()))
        })
    }
}

impl<S: Pollable, R, Op, Short> Future for Operation<'_, S, Op, Short>
where
    Op: FnMut(&S) -> io::Result<R> + Unpin,
    Short: Fn(&R) -> bool + Unpin,
{
    type Output = io::Result<R>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<R>> {
        let this = &mut *self;
        if this.at_once {
            return Poll::Ready((this.op)(this.io.source()));
        }
        let (direction, waiting) = (this.direction, &mut this.waiting);
        let wait = |readiness: &mut Readiness, waker: &mut Option<Waker>| {
            readiness.wait(direction, waiting, waker);
        };
        this.io
            .poll_until_done(direction, context, &mut this.op, &this.short, wait)
    }
}

impl<S: Pollable, Op, Short> Drop for Operation<'_, S, Op, Short> {
    fn drop(&mut self) {
        if let Some(id) = self.waiting {
            let left = self
                .io
                .readiness(|readiness| readiness.leave(self.direction, id));
            drop(left);
        }
    }
}
