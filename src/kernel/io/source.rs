//! A source that the loop watches, and operations on it that wait for readiness.
//!
//! [`Io`] is the one owner of a watched descriptor: its drop deregisters, then the field closes. An operation tries its
//! system call while the cached readiness says that it is worth it, and stands in line otherwise; dropping the operation
//! leaves the line. A task that has ended many operations in one poll is made to yield, however ready its sources, and also
//! where they fail.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use mio::Interest;

use crate::error::LoopClosed;
use crate::kernel::io::reactor::SourceKey;
use crate::kernel::io::readiness::Observer;
use crate::kernel::io::readiness::{Direction, Readiness};
use crate::kernel::loop_handle::LoopHandle;
use crate::kernel::loop_state::LoopState;
use crate::kernel::wait::waiters::WaiterId;
use crate::sys::epoll::Numbered;
use crate::sys::source::Pollable;

/// A watched source.
pub(crate) struct Io<S: Pollable> {
    state: Rc<LoopState>,
    key: SourceKey,
    /// `None` only after [`into_source`](Self::into_source), which consumes the whole.
    source: Option<S>,
}

impl<S: Pollable + Numbered> Io<S> {
    /// Registers `source`; on failure it is closed and nothing is left behind.
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

    /// Deregisters the source and gives it back, open.
    pub(crate) fn into_source(mut self) -> S {
        match self.release() {
            Some(source) => source,
            None => unreachable!("the source is taken out by value, with all of `self`"),
        }
    }

    /// Takes the source out of the poller, and out of here; wakes whoever waits for it.
    fn release(&mut self) -> Option<S> {
        let mut source = self.source.take()?;
        if self.state.is_inherited() {
            // The set is the parent's too, and so is the socket's place in it.
            return Some(source);
        }
        let mut woken = Vec::new();
        // On a closed loop there is no poller any more that could know the source. Nobody's observer is dropped here for
        // the last time: it is what owns this source.
        let observer = self
            .state
            .reactor(|reactor| reactor.deregister(&mut source, self.key, &mut woken));
        drop(observer);
        // Whoever waits on another handle of the same source finds it gone. Wakers of ours run no user code.
        for waker in woken {
            self.state.wake(waker);
        }
        Some(source)
    }

    pub(crate) fn handle(&self) -> LoopHandle {
        LoopHandle::of(&self.state)
    }

    /// From now on `observer` is called whenever the source becomes ready. It may have become so before: who watches from
    /// the beginning of a conversation calls [`queue`](Self::queue) once.
    pub(crate) fn observe(&self, observer: Rc<dyn Observer>) -> Result<(), LoopClosed> {
        self.state
            .reactor(|reactor| reactor.observe(self.key, observer))
    }

    /// Has the observer called in its turn, as if an event had come.
    pub(crate) fn queue(&self) {
        let queue = self.state.reactor(|reactor| reactor.enqueue(self.key));
        if queue == Ok(true) && self.state.admit().is_ok() {
            self.state
                .queues(|queues| queues.ready.push_source(self.key));
        }
    }

    /// Whether a call of the observer is queued.
    pub(crate) fn is_queued(&self) -> bool {
        self.state.reactor(|reactor| reactor.is_queued(self.key)) == Ok(true)
    }

    /// Notes whether the observer has something to write. While it has nothing, an event that wakes somebody who waits to
    /// read is not the observer's affair: whoever waits so looks to what has come, and asks for the observer's call if it
    /// goes without.
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

    /// One attempt without waiting; `WouldBlock` where the cached readiness says that it is not worth it.
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

    /// An operation that was tried elsewhere met `WouldBlock`.
    pub(crate) fn clear_ready(&self, direction: Direction) {
        // On a closed loop there is nothing to be remembered.
        let _ = self.readiness(|readiness| readiness.blocked(direction));
    }

    /// Waits until an operation in this direction is worth trying.
    pub(crate) async fn ready(&self, direction: Direction) -> io::Result<()> {
        self.operate(direction, |_| Ok(()), |()| false).await
    }

    /// Runs `op` as soon as the direction is ready, and again until it does not block. `drained` says whether a success
    /// was a short read.
    ///
    /// # Cancellation
    /// Dropped, it leaves the line; `op` has then not succeeded, so nothing is lost.
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
            waiting: None,
            op,
            short,
        }
    }
}

impl<S: Pollable> Drop for Io<S> {
    fn drop(&mut self) {
        drop(self.release());
    }
}

/// See [`Io::operate`].
#[must_use]
pub(crate) struct Operation<'a, S: Pollable, Op, Short> {
    io: &'a Io<S>,
    direction: Direction,
    /// The place in line, while there is one.
    waiting: Option<WaiterId>,
    op: Op,
    short: Short,
}

impl<S: Pollable, R, Op, Short> Future for Operation<'_, S, Op, Short>
where
    Op: FnMut(&S) -> io::Result<R> + Unpin,
    Short: Fn(&R) -> bool + Unpin,
{
    type Output = io::Result<R>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<R>> {
        let this = &mut *self;
        let state = &this.io.state;
        // Every way out of here but the last keeps what this takes.
        ready!(state.poll_begin(context));
        let mut waker = None;
        loop {
            while this
                .io
                .readiness(|readiness| readiness.is_ready(this.direction))?
            {
                match (this.op)(this.io.source()) {
                    Ok(value) => {
                        if (this.short)(&value) {
                            this.io.readiness(Readiness::short_read)?;
                        }
                        return Poll::Ready(Ok(value));
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        this.io
                            .readiness(|readiness| readiness.blocked(this.direction))?;
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Poll::Ready(Err(error)),
                }
            }
            if waker.is_none() {
                // Cloning another runtime's waker runs user code, which may let the loop hear of the very event: look
                // again.
                waker = Some(context.waker().clone());
                continue;
            }
            // What is in `waker` afterwards, the replaced one, is dropped with nothing borrowed.
            this.io.readiness(|readiness| {
                readiness.wait(this.direction, &mut this.waiting, &mut waker)
            })?;
            state.budget.give_back();
            return Poll::Pending;
        }
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
