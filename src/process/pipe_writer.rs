//! The writing end of a child's input.
//!
//! What the pipe does not take at once is kept, and goes as the child reads, whoever waits for it. The end of the child's
//! side is noticed when it comes, also while nothing is written.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::poll_fn;
use std::io::{self, Write};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use mio::Interest;
use mio::unix::pipe::Sender;

use crate::event_loop::free::yield_now;
use crate::kernel::io::Io;
use crate::kernel::loop_state::{BUDGET, LoopHandle};
use crate::kernel::readiness::{Direction, Readiness};
use crate::kernel::waiters::{WaiterId, Waiters};
use crate::kernel::watch::Watch;
use crate::sys::child_exit::sigpipe_is_deadly;
use crate::sys::sigpipe::without_sigpipe;
use crate::transport::buffer::WriteBuffer;
use crate::transport::flow::{InvalidLimits, WaterMarks};

/// Who hears of the pipe's fate by calls, and not by waiting.
pub(crate) trait Listener {
    fn lost(&self, error: Option<io::Error>);
    fn pause_writing(&self);
    fn resume_writing(&self);
}

/// The pipe itself; the loop keeps it until everything is written or the child has closed its side.
pub(crate) struct WritePipe {
    handle: LoopHandle,
    /// `None` once it is over.
    io: RefCell<Option<Io<Sender>>>,
    outgoing: RefCell<WriteBuffer>,
    marks: RefCell<WaterMarks>,
    /// More is kept than the high-water mark.
    full: Cell<bool>,
    /// Nothing more is written; what is kept still goes.
    closing: Cell<bool>,
    /// What it was lost to, if it was an error.
    error: Cell<Option<i32>>,
    waiters: RefCell<Waiters<Waker>>,
    listener: RefCell<Option<Rc<dyn Listener>>>,
    /// This process dies of SIGPIPE, as most programs do and Rust's do not.
    deadly: bool,
}

impl WritePipe {
    pub(crate) fn new(handle: &LoopHandle, sender: Sender) -> io::Result<Rc<Self>> {
        sender.set_nonblocking(true)?;
        let readiness = Readiness::new(false, true);
        let io = Io::new(handle, sender, Interest::WRITABLE, readiness)?;
        let pipe = Rc::new(Self {
            handle: handle.clone(),
            io: RefCell::new(Some(io)),
            outgoing: RefCell::default(),
            marks: RefCell::default(),
            full: Cell::new(false),
            closing: Cell::new(false),
            error: Cell::new(None),
            waiters: RefCell::new(Waiters::new()),
            listener: RefCell::new(None),
            deadly: sigpipe_is_deadly(),
        });
        let watcher = Rc::clone(&pipe);
        pipe.with_io(|io| io.watch(watcher)).unwrap_or(Ok(()))?;
        Ok(pipe)
    }

    pub(crate) fn listen(&self, listener: Rc<dyn Listener>) {
        *self.listener.borrow_mut() = Some(listener);
    }

    /// Borrows the pipe, while there is one. `f` runs nothing foreign.
    fn with_io<R>(&self, f: impl FnOnce(&Io<Sender>) -> R) -> Option<R> {
        self.io.borrow().as_ref().map(f)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.io.borrow().is_none()
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.get() || self.is_over()
    }

    pub(crate) fn kept(&self) -> usize {
        self.outgoing.borrow().len()
    }

    pub(crate) fn set_limits(
        &self,
        high: Option<usize>,
        low: Option<usize>,
    ) -> Result<(), InvalidLimits> {
        self.marks.borrow_mut().set(high, low)
    }

    /// Writes, or keeps what is not taken at once. What comes after the end is thrown away: [`failure`](Self::failure)
    /// tells.
    pub(crate) fn write(&self, bytes: &[u8]) {
        // On a closed loop nobody would write what is kept; in a forked child the pipe is the parent's.
        if self.is_closing() || self.handle.is_closed() {
            return;
        }
        let mut rest = bytes;
        if self.outgoing.borrow().is_empty() {
            match self.attempt(|mut sender| sender.write(rest)) {
                Ok(count) => rest = &rest[count..],
                Err(error) => return self.lose(Some(error)),
            }
        }
        if rest.is_empty() {
            return;
        }
        self.outgoing.borrow_mut().push(rest);
        let kept = self.kept();
        if self.marks.borrow_mut().must_pause(kept) {
            self.full.set(true);
            self.tell(|listener| listener.pause_writing());
        }
        self.look_again();
    }

    /// One write; 0 where the pipe takes nothing now.
    fn attempt(&self, write: impl Fn(&Sender) -> io::Result<usize>) -> io::Result<usize> {
        let once = |sender: &Sender| loop {
            let written = if self.deadly {
                without_sigpipe(|| write(sender))
            } else {
                write(sender)
            };
            match written {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        };
        match self.with_io(|io| io.attempt(Direction::Write, once)) {
            None => Ok(0),
            Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            Some(result) => result,
        }
    }

    /// Stands in line again if the pipe may take more. A pipe takes a part of what is offered while it has room for more:
    /// only EAGAIN says that it is full.
    fn look_again(&self) {
        self.with_io(|io| {
            if io.readiness(|readiness| readiness.is_ready(Direction::Write)) == Ok(true) {
                io.queue();
            }
        });
    }

    /// No more comes; what is kept still goes.
    pub(crate) fn close(&self) {
        if self.is_over() || self.closing.replace(true) {
            return;
        }
        if self.outgoing.borrow().is_empty() || self.handle.is_closed() {
            self.lose(None);
        }
    }

    /// The end, and what is kept is thrown away.
    pub(crate) fn lose(&self, error: Option<io::Error>) {
        let Some(io) = self.io.borrow_mut().take() else {
            return;
        };
        drop(io);
        self.closing.set(true);
        self.full.set(false);
        self.outgoing.borrow_mut().clear();
        let code = error.as_ref().and_then(io::Error::raw_os_error);
        self.error.set(code.or(error.as_ref().map(|_| libc::EIO)));
        self.wake();
        let listener = self.listener.borrow_mut().take();
        if let Some(listener) = listener {
            listener.lost(error);
        }
    }

    pub(crate) fn failure(&self) -> Option<io::Error> {
        self.error.get().map(io::Error::from_raw_os_error)
    }

    fn tell(&self, call: impl FnOnce(&dyn Listener)) {
        let listener = self.listener.borrow().clone();
        if let Some(listener) = listener {
            call(&*listener);
        }
    }

    fn wake(&self) {
        loop {
            let waker = self.waiters.borrow_mut().take_first();
            let Some(waker) = waker else { return };
            self.handle
                .state
                .shielded("Exception in a waker", || waker.wake());
        }
    }

    fn flush(&self) {
        let outcome = {
            let mut outgoing = self.outgoing.borrow_mut();
            let sent = match outgoing.only() {
                Some(bytes) => self.attempt(|mut sender| sender.write(bytes)),
                None => {
                    let pieces = outgoing.front();
                    self.attempt(|mut sender| sender.write_vectored(&pieces))
                }
            };
            sent.map(|count| {
                outgoing.consume(count);
                outgoing.len()
            })
        };
        let kept = match outcome {
            Ok(kept) => kept,
            Err(error) => return self.lose(Some(error)),
        };
        if self.marks.borrow_mut().may_resume(kept) {
            self.full.set(false);
            self.wake();
            self.tell(|listener| listener.resume_writing());
        }
        if self.kept() > 0 {
            self.look_again();
        } else if self.closing.get() {
            self.lose(None);
        }
    }

    /// Whether the child has closed its side: the poller reports it as an error of the pipe, in both directions.
    fn is_hung_up(&self) -> bool {
        let hung_up = |io: &Io<Sender>| io.readiness(|r| r.is_ready(Direction::Read)) == Ok(true);
        self.with_io(hung_up) == Some(true)
    }

    /// Waits until `is_so`, which changes with `full` and the end only.
    async fn wait_until(&self, is_so: impl Fn(&Self) -> bool) {
        let mut place = Place {
            pipe: self,
            id: None,
        };
        poll_fn(|context| {
            if !is_so(self) {
                place.wait(context);
            }
            // Cloning a foreign waker is foreign code: look again.
            if is_so(self) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }
}

impl Watch for WritePipe {
    fn ready(self: Rc<Self>) {
        if !self.outgoing.borrow().is_empty() {
            self.flush();
        } else if self.is_hung_up() {
            self.lose(None);
        }
    }

    fn abandon(self: Rc<Self>) {
        let listener = self.listener.borrow_mut().take();
        self.handle
            .state
            .shielded("Exception in the destructor of a protocol", || {
                drop(listener);
            });
        self.lose(None);
    }
}

/// A place among those who wait.
struct Place<'a> {
    pipe: &'a WritePipe,
    id: Option<WaiterId>,
}

impl Place<'_> {
    fn wait(&mut self, context: &Context<'_>) {
        let mut waker = context.waker().clone();
        let mut waiters = self.pipe.waiters.borrow_mut();
        let replaced = match self.id.and_then(|id| waiters.get_mut(id)) {
            Some(place) => {
                std::mem::swap(place, &mut waker);
                Some(waker)
            }
            None => {
                self.id = Some(waiters.join(waker));
                None
            }
        };
        drop(waiters);
        drop(replaced);
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            let left = self.pipe.waiters.borrow_mut().leave(id);
            drop(left);
        }
    }
}

/// The writing end of a child's input, with the methods of a `StreamWriter`. Dropping it closes it, after what was
/// written has gone.
///
/// ```
/// use callsoon::process::{PIPE, create_subprocess_exec};
/// callsoon::run(async {
///     let mut process = create_subprocess_exec("cat", [""; 0]).stdin(PIPE).stdout(PIPE).await?;
///     let stdin = process.stdin.take().unwrap();
///     stdin.write(b"hello");
///     stdin.drain().await?;
///     drop(stdin);
///     assert_eq!(process.stdout.as_mut().unwrap().read_to_end().await?, b"hello");
///     process.wait().await
/// }).unwrap().unwrap();
/// ```
pub struct PipeWriter {
    pipe: Rc<WritePipe>,
}

impl PipeWriter {
    pub(crate) fn new(pipe: Rc<WritePipe>) -> Self {
        Self { pipe }
    }

    /// Writes bytes, or keeps them until the child reads; [`drain`](Self::drain) should follow. After the end it does
    /// nothing.
    ///
    /// ```
    /// # use callsoon::process::{PIPE, create_subprocess_exec};
    /// # callsoon::run(async {
    /// let mut process = create_subprocess_exec("cat", [""; 0]).stdin(PIPE).stdout(PIPE).await?;
    /// process.stdin.take().unwrap().write(b"hello");
    /// assert_eq!(process.communicate(None).await?.stdout, b"hello");
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn write(&self, data: &[u8]) {
        self.pipe.write(data);
    }

    /// Writes several pieces of bytes as if they were one.
    ///
    /// ```
    /// # use callsoon::process::{PIPE, create_subprocess_exec};
    /// # callsoon::run(async {
    /// let mut process = create_subprocess_exec("cat", [""; 0]).stdin(PIPE).stdout(PIPE).await?;
    /// process.stdin.take().unwrap().writelines(&["one\n", "two\n"]);
    /// assert_eq!(process.communicate(None).await?.stdout, b"one\ntwo\n");
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn writelines<B: AsRef<[u8]>>(&self, lines: &[B]) {
        let lines: Vec<_> = lines.iter().map(AsRef::as_ref).collect();
        self.pipe.write(&lines.concat());
    }

    /// Waits while too much is kept, until the child has read enough of it. Several tasks may wait at a time.
    ///
    /// # Errors
    /// `BrokenPipe` once the child has closed its input or ended, or this end is closed.
    ///
    /// # Cancellation
    /// Dropped before it is done it changes nothing.
    ///
    /// ```
    /// # use callsoon::process::{PIPE, create_subprocess_exec};
    /// # callsoon::run(async {
    /// let process = create_subprocess_exec("true", [""; 0]).stdin(PIPE).await?;
    /// process.wait().await?;
    /// let stdin = process.stdin.as_ref().unwrap();
    /// stdin.write(b"is anybody there?");
    /// assert_eq!(stdin.drain().await.unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn drain(&self) -> io::Result<()> {
        let budget = &self.pipe.handle.state.budget;
        if budget.get() == 0 {
            // A child that takes everything at once must not keep the loop from others.
            budget.set(BUDGET);
            yield_now().await;
        } else {
            budget.set(budget.get() - 1);
        }
        self.pipe
            .wait_until(|pipe| !pipe.full.get() || pipe.is_over())
            .await;
        if let Some(error) = self.pipe.failure() {
            return Err(error);
        }
        if self.pipe.is_over() {
            return Err(io::Error::from_raw_os_error(libc::EPIPE));
        }
        Ok(())
    }

    /// Closes the pipe, after what was written has gone: the child then reads to its end.
    ///
    /// ```
    /// # use callsoon::process::{PIPE, create_subprocess_exec};
    /// # callsoon::run(async {
    /// let process = create_subprocess_exec("cat", [""; 0]).stdin(PIPE).await?;
    /// process.stdin.as_ref().unwrap().close();
    /// assert!(process.wait().await?.success());
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn close(&self) {
        self.pipe.close();
    }

    /// [`close`](Self::close): a pipe has one direction, so that its end is the end of it all.
    ///
    /// ```
    /// # use callsoon::process::{PIPE, create_subprocess_exec};
    /// # callsoon::run(async {
    /// let process = create_subprocess_exec("cat", [""; 0]).stdin(PIPE).await?;
    /// process.stdin.as_ref().unwrap().write_eof();
    /// assert!(process.wait().await?.success());
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn write_eof(&self) {
        self.pipe.close();
    }

    /// Whether it is closing or closed, by us or by the child.
    ///
    /// ```
    /// # use callsoon::process::{PIPE, create_subprocess_exec};
    /// # callsoon::run(async {
    /// let process = create_subprocess_exec("cat", [""; 0]).stdin(PIPE).await?;
    /// assert!(!process.stdin.as_ref().unwrap().is_closing());
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn is_closing(&self) -> bool {
        self.pipe.is_closing()
    }

    /// How many bytes are kept that the child has not made room for.
    ///
    /// ```
    /// # use callsoon::process::{PIPE, create_subprocess_exec};
    /// # callsoon::run(async {
    /// let process = create_subprocess_exec("cat", [""; 0]).stdin(PIPE).await?;
    /// assert_eq!(process.stdin.as_ref().unwrap().write_buffer_size(), 0);
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn write_buffer_size(&self) -> usize {
        self.pipe.kept()
    }

    /// Sets how many bytes may be kept before [`drain`](Self::drain) waits, and how few let it go on. See
    /// [`Transport::set_write_buffer_limits`](crate::transport::Transport::set_write_buffer_limits).
    ///
    /// # Errors
    /// Where the low limit would lie above the high one.
    ///
    /// ```
    /// # use callsoon::process::{PIPE, create_subprocess_exec};
    /// # callsoon::run(async {
    /// let process = create_subprocess_exec("cat", [""; 0]).stdin(PIPE).await?;
    /// process.stdin.as_ref().unwrap().set_write_buffer_limits(Some(1 << 20), None).unwrap();
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn set_write_buffer_limits(
        &self,
        high: Option<usize>,
        low: Option<usize>,
    ) -> Result<(), InvalidLimits> {
        self.pipe.set_limits(high, low)
    }

    /// Waits until the pipe is over: closed here and everything gone, or closed by the child.
    ///
    /// # Errors
    /// What it was lost to.
    ///
    /// # Cancellation
    /// Dropped before it is done it changes nothing.
    ///
    /// ```
    /// # use callsoon::process::{PIPE, create_subprocess_exec};
    /// # callsoon::run(async {
    /// let process = create_subprocess_exec("true", [""; 0]).stdin(PIPE).await?;
    /// process.stdin.as_ref().unwrap().wait_closed().await?;
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn wait_closed(&self) -> io::Result<()> {
        self.pipe.wait_until(WritePipe::is_over).await;
        self.pipe.failure().map_or(Ok(()), Err)
    }
}

impl Drop for PipeWriter {
    fn drop(&mut self) {
        self.pipe.close();
    }
}

impl fmt::Debug for PipeWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PipeWriter")
            .field("kept", &self.pipe.kept())
            .field("closing", &self.pipe.is_closing())
            .finish()
    }
}
