//! One direction of an in-memory stream: a bounded queue of bytes, and who waits at its two sides.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::kernel::enter::{catch_panic, wake};

/// A queue that its two ends share.
#[derive(Default)]
pub(crate) struct ByteQueue {
    inner: RefCell<Inner>,
}

#[derive(Default)]
struct Inner {
    bytes: VecDeque<u8>,
    capacity: usize,
    /// How many bytes the reading end has looked at and not taken. They still use room.
    lent: usize,
    reader: Option<Waker>,
    writer: Option<Waker>,
    /// The writing end has finished.
    ended: bool,
    /// The reading end is gone.
    abandoned: bool,
    reset: bool,
}

impl ByteQueue {
    pub(crate) fn new(capacity: usize) -> Rc<Self> {
        let queue = Self::default();
        queue.inner.borrow_mut().capacity = capacity.max(1);
        Rc::new(queue)
    }

    /// Polls how many bytes can be read; 0 at the end.
    pub(crate) fn poll_readable(&self, context: &Context<'_>) -> Poll<io::Result<usize>> {
        self.poll_until(context, Inner::readable, |inner| &mut inner.reader)
    }

    /// Polls for how many bytes there is room: at least one.
    pub(crate) fn poll_writable(&self, context: &Context<'_>) -> Poll<io::Result<usize>> {
        self.poll_until(context, Inner::writable, |inner| &mut inner.writer)
    }

    /// Polls what `ready` gives, and has the context woken where that is nothing yet.
    fn poll_until(
        &self,
        context: &Context<'_>,
        ready: impl Fn(&Inner) -> Option<io::Result<usize>>,
        side: impl Fn(&mut Inner) -> &mut Option<Waker>,
    ) -> Poll<io::Result<usize>> {
        let mut cloned = None;
        loop {
            let mut inner = self.inner.borrow_mut();
            if let Some(result) = ready(&inner) {
                drop(inner);
                drop_waker(cloned);
                return Poll::Ready(result);
            }
            if let Some(waker) = cloned.take() {
                let former = side(&mut inner).replace(waker);
                drop(inner);
                drop_waker(former);
                return Poll::Pending;
            }
            drop(inner);
            // A clone is user code, which may have changed the queue: it is asked again.
            cloned = Some(context.waker().clone());
        }
    }

    /// Appends bytes for which there is room.
    pub(crate) fn push(&self, bytes: &[u8]) {
        self.change(|inner| inner.bytes.extend(bytes), true, false);
    }

    /// Takes bytes out, as many as the buffer has places, which are there.
    pub(crate) fn take(&self, buffer: &mut [u8]) {
        let take = |inner: &mut Inner| inner.take(buffer);
        self.change(take, false, true);
    }

    /// Takes bytes out that keep their room until they are [returned](Self::give_back).
    pub(crate) fn lend(&self, buffer: &mut [u8]) {
        let mut inner = self.inner.borrow_mut();
        inner.lent += buffer.len();
        inner.take(buffer);
    }

    /// Gives the room of bytes back that were lent.
    pub(crate) fn give_back(&self, count: usize) {
        self.change(|inner| inner.lent -= count.min(inner.lent), false, true);
    }

    /// The writing end has finished.
    pub(crate) fn end(&self) {
        self.change(|inner| inner.ended = true, true, false);
    }

    /// The reading end is gone.
    pub(crate) fn abandon(&self) {
        self.change(|inner| inner.abandoned = true, false, true);
    }

    /// Both ends fail from now on, and what was on its way is lost.
    pub(crate) fn reset(&self) {
        let reset = |inner: &mut Inner| {
            inner.reset = true;
            inner.bytes = VecDeque::new();
        };
        self.change(reset, true, true);
    }

    pub(crate) fn is_reset(&self) -> bool {
        self.inner.borrow().reset
    }

    /// Changes something, and wakes the tasks that wait at one side or both after the borrow has ended.
    fn change(&self, change: impl FnOnce(&mut Inner), wakes_reader: bool, wakes_writer: bool) {
        let mut inner = self.inner.borrow_mut();
        change(&mut inner);
        let reader = inner.reader.take_if(|_| wakes_reader);
        let writer = inner.writer.take_if(|_| wakes_writer);
        drop(inner);
        for waker in [reader, writer].into_iter().flatten() {
            wake(waker);
        }
    }
}

impl Inner {
    /// Returns how many bytes can be read, if a reader need not wait.
    fn readable(&self) -> Option<io::Result<usize>> {
        if self.reset {
            return Some(Err(io::ErrorKind::ConnectionReset.into()));
        }
        (!self.bytes.is_empty() || self.ended).then_some(Ok(self.bytes.len()))
    }

    /// Returns for how many bytes there is room, if a writer need not wait.
    fn writable(&self) -> Option<io::Result<usize>> {
        if self.reset {
            return Some(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if self.abandoned || self.ended {
            return Some(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = self.capacity - self.bytes.len() - self.lent;
        (room > 0).then_some(Ok(room))
    }

    fn take(&mut self, buffer: &mut [u8]) {
        let taken = self.bytes.drain(..buffer.len().min(self.bytes.len()));
        buffer
            .iter_mut()
            .zip(taken)
            .for_each(|(place, byte)| *place = byte);
    }
}

fn drop_waker(waker: Option<Waker>) {
    catch_panic("Exception in the destructor of a waker", || drop(waker));
}
