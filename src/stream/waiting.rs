//! Reads that wait: for more than is kept, or to receive straight into their caller's memory.
//!
//! A read that is dropped has taken nothing. On a closed loop a read fails, since nobody would ever wake it.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use crate::kernel::inhibit::Inhibitor;
use crate::kernel::io::readiness::Direction;
use crate::kernel::io::source::own_waker;
use crate::kernel::proceed::Proceed;
use crate::kernel::wait::waiters::WaiterId;
use crate::stream::protocol::StreamProtocol;
use crate::transport::protocol::Transport;
use crate::transport::read::Fetched;

/// What both ends of a stream have.
pub(crate) struct Stream {
    pub(crate) protocol: Rc<StreamProtocol>,
    pub(crate) transport: Transport,
}

impl Stream {
    pub(crate) fn new(protocol: &Rc<StreamProtocol>, transport: &Transport) -> Self {
        Self {
            protocol: Rc::clone(protocol),
            transport: transport.clone(),
        }
    }

    /// Waits until more has arrived than is kept now, or nothing more can arrive.
    fn wait_for_more(&self) -> More<'_> {
        self.transport.resume_for_reader();
        More {
            before: self.kept(),
            held: self.protocol.hold_clock(),
            stream: self,
        }
    }

    /// Takes from the budget before an operation that may return at once, such as a read at the end of the stream.
    pub(crate) fn proceed(&self) -> Proceed<'_> {
        self.protocol.state().proceed()
    }

    /// Returns how many bytes are kept.
    pub(crate) fn length(&self) -> usize {
        self.protocol.incoming.borrow().len()
    }

    /// Returns what a waiting read depends on: how much is kept, and whether more can arrive.
    fn kept(&self) -> (usize, bool, bool) {
        let protocol = &self.protocol;
        (self.length(), protocol.eof.get(), protocol.is_lost())
    }

    /// Takes so many bytes of those that are kept.
    pub(crate) fn take(&self, count: usize) -> io::Result<Vec<u8>> {
        let taken = self.protocol.incoming.borrow_mut().take(count)?;
        self.after_taking();
        Ok(taken)
    }

    /// Acts on bytes that were taken out: reading may go on, and memory may be freed.
    #[inline]
    pub(crate) fn after_taking(&self) {
        let protocol = &self.protocol;
        let held = self.transport.is_paused_for_reader();
        if held && self.length() <= protocol.limit.get() {
            self.transport.resume_for_reader();
        }
        if self.length() == 0 {
            protocol.spare_memory(&self.transport);
        }
    }

    /// Receives straight into `buffer`, or takes what is kept.
    pub(crate) fn fetch<'a, 'b>(&'a self, buffer: &'b mut [u8]) -> Fetch<'a, 'b> {
        Fetch {
            held: self.protocol.hold_clock(),
            stream: self,
            buffer,
            waiting: None,
        }
    }
}

impl Stream {
    /// Polls for what `attempt` gives. It must not take anything out unless it returns something.
    pub(crate) fn poll_read<T, E: From<io::Error>>(
        &self,
        context: &mut Context<'_>,
        mut attempt: impl FnMut(&Self) -> Option<Result<T, E>>,
    ) -> Poll<Result<T, E>> {
        let state = self.protocol.state();
        ready!(state.poll_begin(context));
        loop {
            if let Some(read) = attempt(self) {
                self.protocol.end_polled_wait();
                return Poll::Ready(read);
            }
            let mut more = self.wait_for_more();
            if Pin::new(&mut more).poll(context)?.is_pending() {
                self.protocol.hold_clock_until_woken();
                state.budget.give_back();
                return Poll::Pending;
            }
        }
    }
}

/// A read that ends when `attempt` gives what it returns. It tries at once, and again whenever more has arrived.
pub(crate) struct Read<'a, F> {
    stream: &'a Stream,
    attempt: F,
    stage: Stage<'a>,
}

enum Stage<'a> {
    /// Nothing was taken from the budget.
    New,
    Begun,
    Waiting(More<'a>),
}

impl Stream {
    /// Reads as `attempt` says. It must not take anything out unless it returns something.
    pub(crate) fn read<T, E: From<io::Error>, F>(&self, attempt: F) -> Read<'_, F>
    where
        F: FnMut(&Self) -> Option<Result<T, E>> + Unpin,
    {
        Read {
            stream: self,
            attempt,
            stage: Stage::New,
        }
    }
}

impl<T, E: From<io::Error>, F> Future for Read<'_, F>
where
    F: FnMut(&Stream) -> Option<Result<T, E>> + Unpin,
{
    type Output = Result<T, E>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T, E>> {
        let this = &mut *self;
        loop {
            match &mut this.stage {
                // An operation that may return at once, such as a read at the end of the stream, takes from the budget.
                Stage::New => ready!(this.stream.protocol.state().poll_begin(context)),
                Stage::Begun => {}
                Stage::Waiting(more) => ready!(Pin::new(more).poll(context))?,
            }
            this.stage = Stage::Begun;
            if let Some(read) = (this.attempt)(this.stream) {
                this.stream.protocol.end_polled_wait();
                return Poll::Ready(read);
            }
            this.stage = Stage::Waiting(this.stream.wait_for_more());
        }
    }
}

/// See [`Stream::wait_for_more`].
struct More<'a> {
    stream: &'a Stream,
    before: (usize, bool, bool),
    #[expect(dead_code, reason = "it is held, and dropped when there is more")]
    held: Option<Box<Inhibitor>>,
}

impl Future for More<'_> {
    type Output = io::Result<()>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let is_more = || self.stream.kept() != self.before;
        if !is_more() {
            self.stream.protocol.wait_to_read(context)?;
        }
        // Cloning another runtime's waker is user code, so check again after it.
        if is_more() {
            return match self.stream.protocol.state().puts_off(context.waker()) {
                true => Poll::Pending,
                false => Poll::Ready(Ok(())),
            };
        }
        // A fetch that was forgotten, not dropped, may have consumed an event.
        self.stream.transport.requeue_if_readable();
        // The beginning of a message may be left of a burst, which is a small part of its memory.
        self.stream.protocol.spare_memory(&self.stream.transport);
        Poll::Pending
    }
}

/// A read that finds nothing kept: it receives straight into its caller's memory, as soon as bytes are there. So what
/// a waiting task reads is copied once, by the system.
pub(crate) struct Fetch<'a, 'b> {
    stream: &'a Stream,
    buffer: &'b mut [u8],
    /// Our place in the socket's wait queue, once there was nothing to receive.
    waiting: Option<WaiterId>,
    #[expect(dead_code, reason = "it is held, and dropped with the read")]
    held: Option<Box<Inhibitor>>,
}

impl Future for Fetch<'_, '_> {
    type Output = io::Result<usize>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        // A peer that sends without end must not keep the loop from others, nor must one that has finished.
        let stream = this.stream;
        let protocol = &stream.protocol;
        ready!(protocol.state().poll_begin(context));
        let polled = this.receive_or_wait(context);
        match polled.is_pending() {
            true => protocol.state().budget.give_back(),
            false => protocol.end_polled_wait(),
        }
        polled
    }
}

impl Fetch<'_, '_> {
    #[inline(always)]
    fn receive_or_wait(&mut self, context: &Context<'_>) -> Poll<io::Result<usize>> {
        let (protocol, transport) = (&self.stream.protocol, &self.stream.transport);
        if self.buffer.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let (mut waker, mut waits) = (None, false);
        while !waits {
            if protocol.is_readable() {
                return Poll::Ready(self.take_kept());
            }
            transport.resume_for_reader();
            let fetched = transport.fetch(self.buffer, |readiness| {
                waker = waker.take().or_else(|| own_waker(context));
                waits = waker.is_some();
                // Afterwards `waker` holds the replaced one, which is dropped with nothing borrowed.
                readiness.wait(Direction::Read, &mut self.waiting, &mut waker);
            });
            match fetched {
                Fetched::Bytes(count) => {
                    // A place in the wait queue was taken while nothing was there, and the wake has removed it since.
                    self.waiting = None;
                    return Poll::Ready(Ok(count));
                }
                Fetched::Ended if protocol.eof.get() => continue,
                // The call that resumes reading, or ends it, wakes the reader through the protocol.
                Fetched::Ended => break,
                // A peer that sends much that says nothing must not keep the loop from others.
                Fetched::Progress => {
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                // Cloning another runtime's waker is user code, so check again after it.
                Fetched::Nothing if !waits && own_waker(context).is_none() => {
                    waker = Some(context.waker().clone());
                }
                Fetched::Nothing => {}
            }
        }
        protocol.wait_to_read(context)?;
        // That has cloned the waker once more.
        if own_waker(context).is_none() && protocol.is_readable() {
            return Poll::Ready(self.take_kept());
        }
        Poll::Pending
    }

    fn take_kept(&mut self) -> io::Result<usize> {
        let taken = self.stream.protocol.take_into(self.buffer);
        self.stream.after_taking();
        if let Some(place) = self.waiting.take() {
            self.stream.transport.leave_fetching(place, false);
        }
        taken
    }
}

impl Drop for Fetch<'_, '_> {
    fn drop(&mut self) {
        if let Some(place) = self.waiting {
            self.stream.transport.leave_fetching(place, true);
        }
    }
}
