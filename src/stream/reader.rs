//! The reading end of a stream.
//!
//! Every read looks at what has come, and where that is not enough waits for more. It takes bytes out when it has all
//! that it gives, in one go: a read that is dropped while it waits has taken nothing.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::kernel::loop_state::BUDGET;
use crate::kernel::task::waker::key_of;
use crate::kernel::waiters::WaiterId;
use crate::stream::error::{IncompleteRead, LimitOverrun, ReadError};
use crate::stream::incoming::{find_first, longest};
use crate::stream::protocol::StreamProtocol;
use crate::transport::protocol::Transport;
use crate::transport::ready::Fetched;

/// The reading end of a connection. Dropping it has what comes thrown away.
///
/// ```
/// callsoon::run(async {
///     let (here, there) = std::os::unix::net::UnixStream::pair()?;
///     let (mut reader, _writer) = callsoon::stream::open_connection(here).await?;
///     std::io::Write::write_all(&mut &there, b"one\ntwo\n")?;
///     drop(there);
///     assert_eq!(reader.readline().await?, b"one\n");
///     assert_eq!(reader.readline().await?, b"two\n");
///     assert_eq!(reader.readline().await?, b"");
///     Ok::<(), std::io::Error>(())
/// }).unwrap().unwrap();
/// ```
pub struct StreamReader {
    protocol: Rc<StreamProtocol>,
    transport: Transport,
}

impl StreamReader {
    pub(crate) fn new(protocol: &Rc<StreamProtocol>, transport: &Transport) -> Self {
        Self {
            protocol: Rc::clone(protocol),
            transport: transport.clone(),
        }
    }

    /// Reads what is there: at least one byte unless the peer has finished, and at most `n`.
    ///
    /// # Errors
    /// What the connection was lost to.
    ///
    /// # Cancellation
    /// Dropped before it is done it has read nothing.
    ///
    /// ```
    /// # callsoon::run(async {
    /// # let (here, there) = std::os::unix::net::UnixStream::pair()?;
    /// # let (mut reader, writer) = callsoon::stream::open_connection(here).await?;
    /// std::io::Write::write_all(&mut &there, b"hello")?;
    /// assert_eq!(reader.read(100).await?, b"hello");
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn read(&mut self, n: usize) -> io::Result<Vec<u8>> {
        if n == 0 {
            return Ok(Vec::new());
        }
        self.wait_for_bytes().await?;
        let taken = {
            let mut incoming = self.protocol.incoming.borrow_mut();
            let count = incoming.len().min(n);
            incoming.take(count)
        };
        self.resume_if_caught_up();
        Ok(taken)
    }

    /// [`read`](Self::read) into memory of the caller's, without an allocation; says how many bytes. 0 means that the
    /// peer has finished, or that the buffer is empty.
    ///
    /// # Errors
    /// What the connection was lost to.
    ///
    /// # Cancellation
    /// Dropped before it is done it has read nothing.
    ///
    /// ```
    /// # callsoon::run(async {
    /// # let (here, there) = std::os::unix::net::UnixStream::pair()?;
    /// # let (mut reader, writer) = callsoon::stream::open_connection(here).await?;
    /// std::io::Write::write_all(&mut &there, b"hello")?;
    /// let mut buffer = [0; 100];
    /// let count = reader.read_into(&mut buffer).await?;
    /// assert_eq!(&buffer[..count], b"hello");
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn read_into(&mut self, buffer: &mut [u8]) -> impl Future<Output = io::Result<usize>> {
        Fetch {
            reader: self,
            buffer,
            waiting: None,
            done: false,
        }
    }

    /// Reads until the peer has finished; the limit does not matter.
    ///
    /// # Errors
    /// What the connection was lost to.
    ///
    /// # Cancellation
    /// Dropped before it is done it has read nothing.
    ///
    /// ```
    /// # callsoon::run(async {
    /// # let (here, there) = std::os::unix::net::UnixStream::pair()?;
    /// # let (mut reader, writer) = callsoon::stream::open_connection(here).await?;
    /// std::io::Write::write_all(&mut &there, b"all of it")?;
    /// drop(there);
    /// assert_eq!(reader.read_to_end().await?, b"all of it");
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn read_to_end(&mut self) -> io::Result<Vec<u8>> {
        loop {
            self.check()?;
            if self.protocol.eof.get() {
                let mut incoming = self.protocol.incoming.borrow_mut();
                let count = incoming.len();
                return Ok(incoming.take(count));
            }
            self.wait_for_more().await;
        }
    }

    /// Reads exactly `n` bytes; they may be more than the limit.
    ///
    /// # Errors
    /// [`ReadError::Incomplete`] if the peer finishes before, with what had come; what the connection was lost to.
    ///
    /// # Cancellation
    /// Dropped before it is done it has read nothing.
    ///
    /// ```
    /// # callsoon::run(async {
    /// # let (here, there) = std::os::unix::net::UnixStream::pair()?;
    /// # let (mut reader, writer) = callsoon::stream::open_connection(here).await?;
    /// std::io::Write::write_all(&mut &there, b"hello")?;
    /// assert_eq!(reader.readexactly(2).await?, b"he");
    /// assert_eq!(reader.readexactly(3).await?, b"llo");
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn readexactly(&mut self, n: usize) -> Result<Vec<u8>, ReadError> {
        loop {
            self.check()?;
            let length = self.protocol.incoming.borrow().len();
            if length >= n {
                let taken = self.protocol.incoming.borrow_mut().take(n);
                self.resume_if_caught_up();
                return Ok(taken);
            }
            if self.protocol.eof.get() {
                return Err(self.incomplete(Some(n)));
            }
            self.wait_for_more().await;
        }
    }

    /// Reads a line, with its `\n`. The last line may have none; after it, the line is empty.
    ///
    /// # Errors
    /// [`ReadError::LimitOverrun`] if there is no `\n` within the limit, and then nothing is taken out of the reader;
    /// what the connection was lost to.
    ///
    /// # Cancellation
    /// Dropped before it is done it has read nothing.
    ///
    /// ```
    /// # callsoon::run(async {
    /// # let (here, there) = std::os::unix::net::UnixStream::pair()?;
    /// # let (mut reader, writer) = callsoon::stream::open_connection(here).await?;
    /// std::io::Write::write_all(&mut &there, b"one\ntwo")?;
    /// drop(there);
    /// assert_eq!(reader.readline().await?, b"one\n");
    /// assert_eq!(reader.readline().await?, b"two");
    /// assert_eq!(reader.readline().await?, b"");
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn readline(&mut self) -> Result<Vec<u8>, ReadError> {
        match self.readuntil(b"\n").await {
            Err(ReadError::Incomplete(incomplete)) => Ok(incomplete.partial),
            result => result,
        }
    }

    /// [`readline`](Self::readline) for loops: `None` after the last line.
    ///
    /// # Errors
    /// The same.
    ///
    /// # Cancellation
    /// The same.
    ///
    /// ```
    /// # callsoon::run(async {
    /// # let (here, there) = std::os::unix::net::UnixStream::pair()?;
    /// # let (mut reader, writer) = callsoon::stream::open_connection(here).await?;
    /// std::io::Write::write_all(&mut &there, b"one\ntwo\n")?;
    /// drop(there);
    /// let mut lines = Vec::new();
    /// while let Some(line) = reader.next_line().await? {
    ///     lines.push(line);
    /// }
    /// assert_eq!(lines, [b"one\n", b"two\n"]);
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn next_line(&mut self) -> Result<Option<Vec<u8>>, ReadError> {
        let line = self.readline().await?;
        Ok((!line.is_empty()).then_some(line))
    }

    /// Reads up to a separator, with it.
    ///
    /// # Errors
    /// [`ReadError::Incomplete`] if the peer finishes before, with what had come; [`ReadError::LimitOverrun`] if there is
    /// no separator within the limit, not counting the separator, and then nothing is taken out of the reader; what the
    /// connection was lost to.
    ///
    /// # Panics
    /// If the separator is empty.
    ///
    /// # Cancellation
    /// Dropped before it is done it has read nothing.
    ///
    /// ```
    /// # callsoon::run(async {
    /// # let (here, there) = std::os::unix::net::UnixStream::pair()?;
    /// # let (mut reader, writer) = callsoon::stream::open_connection(here).await?;
    /// std::io::Write::write_all(&mut &there, b"head\r\n\r\nbody")?;
    /// assert_eq!(reader.readuntil(b"\r\n\r\n").await?, b"head\r\n\r\n");
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn readuntil(&mut self, separator: impl AsRef<[u8]>) -> Result<Vec<u8>, ReadError> {
        self.readuntil_any(&[separator.as_ref()]).await
    }

    /// [`readuntil`](Self::readuntil) for several separators: up to the one that ends first.
    ///
    /// # Errors
    /// The same.
    ///
    /// # Panics
    /// If there is no separator, or an empty one.
    ///
    /// # Cancellation
    /// The same.
    ///
    /// ```
    /// # callsoon::run(async {
    /// # let (here, there) = std::os::unix::net::UnixStream::pair()?;
    /// # let (mut reader, writer) = callsoon::stream::open_connection(here).await?;
    /// std::io::Write::write_all(&mut &there, b"one;two,three")?;
    /// assert_eq!(reader.readuntil_any(&[b",", b";"]).await?, b"one;");
    /// assert_eq!(reader.readuntil_any(&[b",", b";"]).await?, b"two,");
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn readuntil_any(&mut self, separators: &[&[u8]]) -> Result<Vec<u8>, ReadError> {
        let longest = longest(separators);
        let limit = self.protocol.limit.get();
        // What lies before cannot be the beginning of a separator: no byte is looked at twice.
        let mut looked_at = 0;
        loop {
            self.check()?;
            {
                let mut incoming = self.protocol.incoming.borrow_mut();
                if let Some(found) = find_first(incoming.bytes(), looked_at, separators) {
                    if found.start > limit {
                        return Err(overrun(found.start));
                    }
                    let taken = incoming.take(found.end);
                    drop(incoming);
                    self.resume_if_caught_up();
                    return Ok(taken);
                }
                looked_at = (incoming.len() + 1).saturating_sub(longest);
            }
            if looked_at > limit {
                return Err(overrun(looked_at));
            }
            if self.protocol.eof.get() {
                return Err(self.incomplete(None));
            }
            self.wait_for_more().await;
        }
    }

    /// Whether the peer has finished and everything has been read.
    ///
    /// ```
    /// # callsoon::run(async {
    /// # let (here, there) = std::os::unix::net::UnixStream::pair()?;
    /// # let (mut reader, writer) = callsoon::stream::open_connection(here).await?;
    /// assert!(!reader.at_eof());
    /// drop(there);
    /// reader.read_to_end().await?;
    /// assert!(reader.at_eof());
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn at_eof(&self) -> bool {
        self.protocol.eof.get() && self.protocol.incoming.borrow().len() == 0
    }

    /// Fails where the connection was lost to an error: what had come before is of no use then, as in asyncio.
    fn check(&self) -> io::Result<()> {
        match self.protocol.failure() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    fn incomplete(&self, expected: Option<usize>) -> ReadError {
        let mut incoming = self.protocol.incoming.borrow_mut();
        let count = incoming.len();
        ReadError::Incomplete(IncompleteRead {
            partial: incoming.take(count),
            expected,
        })
    }

    /// Waits until there is something to read, or there never will be.
    async fn wait_for_bytes(&mut self) -> io::Result<()> {
        loop {
            self.check()?;
            if self.protocol.eof.get() || self.protocol.incoming.borrow().len() > 0 {
                return Ok(());
            }
            self.wait_for_more().await;
        }
    }

    /// Waits until more has come than there is, or never will.
    async fn wait_for_more(&mut self) {
        if self.protocol.behind.replace(false) {
            self.transport.resume_reading();
        }
        let (protocol, transport) = (&self.protocol, &self.transport);
        let before = (
            protocol.incoming.borrow().len(),
            protocol.eof.get(),
            protocol.is_lost(),
        );
        poll_fn(|context| {
            let now = (
                protocol.incoming.borrow().len(),
                protocol.eof.get(),
                protocol.is_lost(),
            );
            if now != before {
                return Poll::Ready(());
            }
            protocol.wait_to_read(context);
            // A fetch that was forgotten, not dropped, may have kept a delivery.
            transport.look_again();
            Poll::Pending
        })
        .await;
    }

    fn resume_if_caught_up(&self) {
        let protocol = &self.protocol;
        if protocol.behind.get() && protocol.incoming.borrow().len() <= protocol.limit.get() {
            protocol.behind.set(false);
            self.transport.resume_reading();
        }
    }
}

/// A read that finds nothing kept: it receives straight into its caller's memory, as soon as something is there. So what
/// a waiting task reads is copied once, by the system.
struct Fetch<'a, 'b> {
    reader: &'a mut StreamReader,
    buffer: &'b mut [u8],
    /// Our place in the socket's line, once there was nothing to receive.
    waiting: Option<WaiterId>,
    done: bool,
}

impl Future for Fetch<'_, '_> {
    type Output = io::Result<usize>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let (protocol, transport) = (&this.reader.protocol, &this.reader.transport);
        let budget = &protocol.state().budget;
        if budget.get() == 0 {
            // A peer that sends without end must not keep the loop from others. The next poll by the loop gets a new
            // budget, one by a foreign executor gets it here.
            budget.set(BUDGET);
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        if this.buffer.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let mut foreign = None;
        loop {
            if protocol.has_news() {
                let taken = protocol.take_into(this.buffer);
                this.reader.resume_if_caught_up();
                this.done = true;
                return Poll::Ready(taken);
            }
            if protocol.behind.replace(false) {
                transport.resume_reading();
            }
            match transport.fetch(this.buffer) {
                Fetched::Bytes(count) => {
                    // Whoever stood in the line did so while nothing was there, and was woken out of it since.
                    this.waiting = None;
                    budget.set(budget.get() - 1);
                    return Poll::Ready(Ok(count));
                }
                Fetched::Ended if protocol.eof.get() => continue,
                // The call that lets reading go on, or ends it, tells the protocol.
                Fetched::Ended => break,
                Fetched::Nothing => {}
            }
            // A waker of ours is a word. Cloning a foreign one is foreign code: look again.
            let waker = match foreign.take() {
                None if key_of(context.waker()).is_none() => {
                    foreign = Some(context.waker().clone());
                    continue;
                }
                None => context.waker().clone(),
                Some(waker) => waker,
            };
            transport.stand_in_line(&mut this.waiting, waker);
            break;
        }
        protocol.wait_to_read(context);
        Poll::Pending
    }
}

impl Drop for Fetch<'_, '_> {
    fn drop(&mut self) {
        if let Some(place) = self.waiting {
            self.reader.transport.leave_fetching(place, !self.done);
        }
    }
}

fn overrun(consumed: usize) -> ReadError {
    ReadError::LimitOverrun(LimitOverrun { consumed })
}

impl Drop for StreamReader {
    fn drop(&mut self) {
        self.protocol.deaf.set(true);
        self.protocol.incoming.borrow_mut().clear();
        if !self.transport.can_write_eof() {
            // A pipe, of which there is no writer that would close it.
            return self.transport.close();
        }
        // The end of the connection is still noticed, and what keeps coming until then is thrown away.
        if self.protocol.behind.replace(false) {
            self.transport.resume_reading();
        }
    }
}

impl fmt::Debug for StreamReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamReader")
            .field("buffered", &self.protocol.incoming.borrow().len())
            .field("eof", &self.protocol.eof.get())
            .field("limit", &self.protocol.limit)
            .field("transport", &self.transport)
            .finish()
    }
}
