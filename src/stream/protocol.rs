//! The protocol between a transport and the two ends of a stream.
//!
//! It keeps what arrives for the reader, and pauses reading when that is more than twice the limit. It notes when the
//! transport pauses writing, and wakes the tasks that wait. A connection that receives little at a time uses the
//! loop's shared buffer. One that receives much at once is in bulk, and receives straight into the reader's memory.
//! When that has been read and nothing more is there, the memory is freed: an idle connection keeps 2 KiB at most.
//! While more is there the memory stays, so a transfer does not allocate for each read.

use std::cell::{Cell, OnceCell, RefCell};
use std::io;
use std::num::NonZeroUsize;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

use crate::error::LoopClosed;
use crate::kernel::inhibit::Inhibitor;
use crate::kernel::loop_handle::LoopHandle;
use crate::kernel::loop_state::LoopState;
use crate::kernel::note_wait::{address, note_wait, note_wait_anew};
use crate::kernel::wait::list::WaitList;
use crate::kernel::wait::wait_kind::WaitKind;
use crate::kernel::wait::waiters::WaiterId;
use crate::stream::incoming::Incoming;
use crate::transport::protocol::{BufferedProtocol, Protocol, Transport};
use crate::transport::tls::error::copy_of;

/// asyncio's 64 KiB.
pub(crate) const LIMIT: NonZeroUsize = NonZeroUsize::new(64 * 1024).unwrap();

/// As much as this at once is bulk: copying it costs as much as a small system call.
const BULK: usize = 8 * 1024;

/// How much a connection in bulk receives at a time: what stays in a processor's near cache until it is read.
const BULK_READ: usize = 64 * 1024;

/// What a server does with a client's connection.
pub(crate) type OnConnect = Rc<dyn Fn(Rc<StreamProtocol>, &Transport)>;

/// What `connection_made` needs.
struct Opening {
    this: Weak<StreamProtocol>,
    on_connect: OnConnect,
}

/// What a connection has on which somebody has waited to write, or polled a child's output.
struct Waiting {
    /// Tasks that wait for room, or for the end.
    writers: WaitList,
    /// The waiter of the poll functions among the writers, if it still waits.
    polled: Cell<WaiterId>,
    /// What the last poll of a child's output holds until its waker is woken. Nothing tells that such a poll is not going
    /// to be repeated, so it must not outlive the child.
    clock: Cell<Option<Box<Inhibitor>>>,
}

/// Every idle connection has one, so what few connections need is behind one word.
pub(crate) struct StreamProtocol {
    state: Rc<LoopState>,
    pub(crate) limit: NonZeroUsize,
    pub(crate) incoming: RefCell<Incoming>,
    /// Much has arrived at once.
    bulk: Cell<bool>,
    /// Nothing more arrives.
    pub(crate) eof: Cell<bool>,
    /// The reader was dropped: what arrives is dropped too.
    pub(crate) reader_dropped: Cell<bool>,
    /// The transport has paused writing.
    writing_paused: Cell<bool>,
    lost: Cell<bool>,
    /// The other end is a child's.
    pub(crate) child: Cell<bool>,
    /// What the connection was lost to.
    error: OnceCell<io::Error>,
    /// A read has returned that error.
    failure_taken: Cell<bool>,
    /// The task that waits to read. There is one reader, so there is one such task.
    reader: Cell<Option<Waker>>,
    /// Made by the first wait that needs it.
    waiting: OnceCell<Box<Waiting>>,
    /// Taken by `connection_made`.
    opening: Cell<Option<Box<Opening>>>,
}

impl StreamProtocol {
    pub(crate) fn new(
        handle: &LoopHandle,
        limit: NonZeroUsize,
        on_connect: Option<OnConnect>,
    ) -> Rc<Self> {
        let opening = |this: &Weak<Self>| {
            let this = Weak::clone(this);
            on_connect.map(|on_connect| Box::new(Opening { this, on_connect }))
        };
        Rc::new_cyclic(|this| Self {
            state: Rc::clone(&handle.state),
            limit,
            incoming: RefCell::new(Incoming::default()),
            bulk: Cell::new(false),
            eof: Cell::new(false),
            reader_dropped: Cell::new(false),
            failure_taken: Cell::new(false),
            writing_paused: Cell::new(false),
            lost: Cell::new(false),
            child: Cell::new(false),
            error: OnceCell::new(),
            reader: Cell::new(None),
            waiting: OnceCell::new(),
            opening: Cell::new(opening(this)),
        })
    }

    /// Returns a copy of what the connection was lost to.
    pub(crate) fn failure(&self) -> Option<io::Error> {
        if !self.lost.get() {
            return None;
        }
        self.error.get().map(copy_of)
    }

    /// Returns the error of a write after an end without an error.
    pub(crate) fn end_of_reader(&self) -> io::Error {
        if self.child.get() {
            io::ErrorKind::BrokenPipe.into()
        } else {
            io::ErrorKind::ConnectionReset.into()
        }
    }

    /// Holds a virtual clock while a child is waited for: the clock must not jump before the child has answered.
    #[inline]
    pub(crate) fn hold_clock(&self) -> Option<Box<Inhibitor>> {
        if self.child.get() {
            self.state.inhibit().map(Box::new)
        } else {
            None
        }
    }

    /// Returns whether a read need not wait: bytes are kept, or nothing more arrives.
    pub(crate) fn is_readable(&self) -> bool {
        self.eof.get() || self.incoming.borrow().len() > 0
    }

    /// Returns the failure, for the first read that finds nothing else to return. The next read finds the end.
    pub(crate) fn take_failure(&self) -> Option<io::Error> {
        if self.failure_taken.get() {
            return None;
        }
        let error = self.failure();
        self.failure_taken.set(error.is_some());
        error
    }

    /// Returns the failure if no read has returned it yet, and leaves it to a read.
    pub(crate) fn peek_failure(&self) -> Option<io::Error> {
        if self.failure_taken.get() {
            None
        } else {
            self.failure()
        }
    }

    /// Takes what has arrived, as much as fits. If nothing is left: the failure, once, or 0, the end.
    pub(crate) fn take_into(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.incoming.borrow_mut().take_into(buffer);
        match count {
            0 => self.take_failure().map_or(Ok(0), Err),
            _ => Ok(count),
        }
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.lost.get()
    }

    /// Returns whether the connection is lost, or its loop closed.
    pub(crate) fn is_over(&self) -> bool {
        self.lost.get() || self.state.is_closed()
    }

    /// Returns whether writing need not wait: it is not paused, and the connection is not lost.
    pub(crate) fn may_write(&self) -> bool {
        !self.writing_paused.get() && !self.lost.get()
    }

    pub(crate) fn is_writing_paused(&self) -> bool {
        self.writing_paused.get() && !self.lost.get()
    }

    pub(crate) fn state(&self) -> &Rc<LoopState> {
        &self.state
    }

    /// Frees memory that an idle connection does not need, once bytes were read or are waited for.
    #[inline]
    pub(crate) fn spare_memory(&self, transport: &Transport) {
        if self.incoming.borrow().is_large() {
            self.spare_large(transport);
        }
    }

    /// While more is going to be read the memory stays. That read comes here again, by `buffer_unused` if it brings
    /// nothing.
    #[cold]
    fn spare_large(&self, transport: &Transport) {
        if !transport.requeue_if_readable() {
            let memory = self.incoming.borrow_mut().spare();
            transport.give_read_buffer(memory);
        }
    }

    fn waiting(&self) -> &Waiting {
        self.waiting.get_or_init(|| {
            Box::new(Waiting {
                writers: WaitList::new(),
                polled: Cell::new(WaiterId::NONE),
                clock: Cell::new(None),
            })
        })
    }

    fn wake_reader(&self) {
        if let Some(waker) = self.reader.take() {
            self.state.wake(waker);
        }
        self.end_polled_wait();
    }

    fn wake_writers(&self) {
        if let Some(waiting) = self.waiting.get() {
            waiting.writers.grant_all_on(&self.state);
        }
    }

    /// Holds a virtual clock until the reader is woken. See [`hold_clock`](Self::hold_clock).
    pub(crate) fn hold_clock_until_woken(&self) {
        if let Some(held) = self.hold_clock() {
            self.waiting().clock.set(Some(held));
        }
    }

    /// Lets a virtual clock go on that a poll has held: a read has ended since, or the poll is not going to be repeated.
    #[inline]
    pub(crate) fn end_polled_wait(&self) {
        if self.child.get() {
            self.release_clock();
        }
    }

    /// Lets a virtual clock go on: the reader is woken, or gone.
    #[cold]
    pub(crate) fn release_clock(&self) {
        drop(self.waiting.get().and_then(|waiting| waiting.clock.take()));
    }

    /// Has the reader's task woken when bytes arrive, or nothing more will. On a closed loop nobody would wake it.
    pub(crate) fn wait_to_read(&self, context: &Context<'_>) -> Result<(), LoopClosed> {
        if self.state.is_closed() {
            return Err(LoopClosed);
        }
        // Reads of one task wait with one waker: it stays where it is.
        let former = self.reader.take();
        let is_new = former.is_none();
        let stays = former.filter(|waker| waker.will_wake(context.waker()));
        let replaced = match stays {
            Some(waker) => self.reader.replace(Some(waker)),
            None => self.reader.replace(Some(context.waker().clone())),
        };
        drop(replaced);
        note_wait_anew(WaitKind::Stream, is_new, || address(self));
        Ok(())
    }

    /// Waits until `is_so`, which changes with `writing_paused` and `lost` only, or the connection is over.
    pub(crate) async fn wait_to_write(&self, is_so: impl Fn(&Self) -> bool) {
        let is_so = || is_so(self) || self.is_over();
        self.waiting()
            .writers
            .wait_until(WaitKind::Stream, is_so)
            .await;
    }

    /// Polls for the same. The poll functions of a connection have one waiter together: it keeps the last waker.
    pub(crate) fn poll_to_write(
        &self,
        context: &Context<'_>,
        is_so: impl Fn(&Self) -> bool,
    ) -> Poll<()> {
        let Waiting {
            writers, polled, ..
        } = self.waiting();
        let mut id = Some(polled.get());
        let is_so = |_| is_so(self) || self.is_over();
        let result = writers.poll_until(&mut id, (), context.waker(), is_so);
        polled.set(id.unwrap_or(WaiterId::NONE));
        if result.is_pending() {
            note_wait(WaitKind::Stream, || address(self));
        }
        result
    }

    /// Acts on bytes that have arrived.
    pub(crate) fn after_receive(&self, transport: &Transport, count: usize) {
        self.bulk.set(count >= BULK);
        if self.reader_dropped.get() {
            self.incoming.borrow_mut().clear();
            return self.spare_memory(transport);
        }
        let length = self.incoming.borrow().len();
        if length > self.limit.get().saturating_mul(2) {
            transport.pause_for_reader();
        }
        self.wake_reader();
    }
}

impl Protocol for StreamProtocol {
    fn connection_made(&self, transport: &Transport) {
        if let Some(opening) = self.opening.take() {
            if let Some(this) = opening.this.upgrade() {
                (opening.on_connect)(this, transport);
            }
        }
    }

    fn data_received(&self, transport: &Transport, data: &[u8]) {
        let kept = self.incoming.borrow_mut().push(data);
        match kept {
            Ok(()) => self.after_receive(transport, data.len()),
            Err(error) => transport.fail(error.into()),
        }
    }

    fn eof_received(&self, transport: &Transport) -> bool {
        self.eof.set(true);
        self.spare_memory(transport);
        self.wake_reader();
        true
    }

    fn connection_lost(&self, transport: &Transport, error: Option<io::Error>) {
        self.spare_memory(transport);
        if let Some(error) = error {
            // It is lost once only.
            let _ = self.error.set(error);
        }
        self.eof.set(true);
        self.lost.set(true);
        self.wake_reader();
        self.wake_writers();
    }

    fn pause_writing(&self, _: &Transport) {
        self.writing_paused.set(true);
    }

    fn resume_writing(&self, _: &Transport) {
        self.writing_paused.set(false);
        self.wake_writers();
    }

    fn buffered(&self) -> Option<&dyn BufferedProtocol> {
        (self.bulk.get() || self.incoming.borrow().is_large()).then_some(self)
    }
}

impl BufferedProtocol for StreamProtocol {
    fn get_buffer(&self, transport: &Transport, hint: usize, receive: &mut dyn FnMut(&mut [u8])) {
        let count = hint.min(BULK_READ);
        let mut incoming = self.incoming.borrow_mut();
        if incoming.has_no_memory() {
            incoming.adopt(transport.take_read_buffer());
        }
        let error = match incoming.room(count) {
            Ok(room) => return receive(&mut room[..count]),
            Err(error) => error,
        };
        // The failure wakes a task that sends a file, and that may read.
        drop(incoming);
        transport.fail(error.into());
        // The connection has failed and receives nothing, but `get_buffer` has to lend something.
        receive(&mut [0]);
    }

    fn buffer_updated(&self, transport: &Transport, count: usize) {
        self.incoming.borrow_mut().advance(count);
        self.after_receive(transport, count);
    }

    fn buffer_unused(&self, transport: &Transport) {
        self.spare_memory(transport);
    }
}
