//! Files to sockets: by the system where it can, by reads and writes where it cannot.
//!
//! The number of bytes that were sent is exact, also after a failure: when the operation ends, is dropped or fails, the
//! file's position is at the first byte that was not sent. A file that shrinks meanwhile ends early; one that grows does
//! not go on.

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::os::unix::fs::FileExt as _;

use socket2::{Socket, Type};

use crate::error::invalid_input;
use crate::kernel::io::readiness::Direction;
use crate::kernel::loop_handle::LoopHandle;
use crate::kernel::proceed::proceed;
use crate::net::stream::SocketStream;
use crate::socket::nonblocking::send;
use crate::socket::stream_socket::StreamSocket;
use crate::sys::fd::is_blocking;
use crate::sys::sendfile::{is_impossible, sendfile};

/// The most that one call sends: a megabyte takes a fraction of a millisecond, then others may run.
const CHUNK: u64 = 1 << 20;

/// How much is read at once where the system cannot send by itself: asyncio's figure.
const BLOCK: usize = 16 * 1024;

/// One transfer, from its beginning to wherever it gets.
pub(crate) struct Transfer<'a> {
    file: &'a File,
    /// The first byte that was not sent.
    offset: u64,
    /// How many bytes are still to be sent at most.
    left: u64,
    pub(crate) sent: u64,
    /// The system has refused `sendfile`, or that call might block.
    by_reads: bool,
    /// What was read and not sent yet, of the bytes from `offset` on. Only used without `sendfile`.
    block: Vec<u8>,
}

impl<'a> Transfer<'a> {
    pub(crate) fn new(file: &'a File, offset: u64, count: Option<u64>) -> io::Result<Self> {
        if count == Some(0) {
            return Err(invalid_input("the count must be positive"));
        }
        let end = offset.checked_add(count.unwrap_or(0));
        if end.is_none_or(|end| end > i64::MAX as u64) {
            let why = "the offset and the count go beyond what a file can hold";
            return Err(invalid_input(why));
        }
        Ok(Self {
            file,
            offset,
            left: count.unwrap_or(i64::MAX as u64 - offset),
            sent: 0,
            by_reads: false,
            block: Vec::new(),
        })
    }

    /// Sends a part and returns its length. 0 is the end.
    pub(crate) fn step(&mut self, socket: BorrowedFd<'_>) -> io::Result<u64> {
        if self.left == 0 {
            return Ok(0);
        }
        // The call has no flag against blocking, and others may share the mode of the socket.
        self.by_reads |= is_blocking(socket)?;
        let count = if self.by_reads {
            self.step_by_reads(|block| send(&socket, block))?
        } else {
            let most = self.left.min(CHUNK) as usize;
            match sendfile(socket, self.file, self.offset, most) {
                // At the first call a failure may only mean that `sendfile` does not work here. Later it is a failure.
                Err(error) if self.sent == 0 && is_impossible(&error) => {
                    self.by_reads = true;
                    self.step_by_reads(|block| send(&socket, block))?
                }
                result => result?,
            }
        };
        Ok(self.note(count as u64))
    }

    /// Sends a part by a function, and returns its length. 0 is the end.
    pub(crate) fn step_through(
        &mut self,
        send: impl FnOnce(&[u8]) -> io::Result<usize>,
    ) -> io::Result<u64> {
        if self.left == 0 {
            return Ok(0);
        }
        let count = self.step_by_reads(send)?;
        Ok(self.note(count as u64))
    }

    fn note(&mut self, count: u64) -> u64 {
        self.offset += count;
        self.sent += count;
        self.left -= count;
        count
    }

    fn step_by_reads(
        &mut self,
        send: impl FnOnce(&[u8]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        if self.block.is_empty() {
            let room = self.left.min(BLOCK as u64) as usize;
            self.block.resize(room, 0);
            let read = self.file.read_at(&mut self.block, self.offset);
            self.block.truncate(*read.as_ref().unwrap_or(&0));
            if read? == 0 {
                return Ok(0);
            }
        }
        let count = send(&self.block)?;
        self.block.drain(..count);
        Ok(count)
    }
}

impl Drop for Transfer<'_> {
    fn drop(&mut self) {
        // A file without a position cannot be set to one.
        let _ = (&mut &*self.file).seek(SeekFrom::Start(self.offset));
    }
}

impl<K> SocketStream<K> {
    /// Sends `count` bytes of a file from `offset` on, or all up to its end, and returns how many were sent. Afterwards
    /// the file's position is behind the last of them, also when this fails or is dropped.
    ///
    /// Reading from a disk blocks the loop for as long as it takes, at most a megabyte at a time. Writes of other tasks
    /// may come in between.
    ///
    /// # Errors
    /// Those of the socket: `BrokenPipe` if either side has shut this direction down, `ConnectionReset` if the peer has
    /// reset the connection, `TimedOut` if it no longer answers. Those of reading the file. `InvalidInput` for a count
    /// of 0, or if offset and count go beyond the largest file. `NotConnected` if the loop is closed.
    ///
    /// # Cancellation
    /// If it is dropped before it is done, the file's position says how much was sent.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let (near, far) = callsoon::net::UnixStream::pair()?;
    /// let file = std::fs::File::open("/etc/hostname")?;
    /// let length = file.metadata()?.len();
    /// assert_eq!(near.sendfile(&file, 0, None).await?, length);
    /// # Ok(()) });
    /// ```
    pub async fn sendfile(&self, file: &File, offset: u64, count: Option<u64>) -> io::Result<u64> {
        proceed().await;
        let mut transfer = Transfer::new(file, offset, count)?;
        loop {
            let step = |socket: &StreamSocket| transfer.step(socket.as_fd());
            if self.io.operate(Direction::Write, step, |_| false).await? == 0 {
                return Ok(transfer.sent);
            }
        }
    }
}

impl LoopHandle {
    /// Sends `count` bytes of a file from `offset` on, or all up to its end, over a connected stream socket, and
    /// returns how many were sent. Afterwards the file's position is behind the last of them, also when this fails or
    /// is dropped.
    ///
    /// Reading from a disk blocks the loop, as in asyncio.
    ///
    /// # Errors
    /// Those of the socket: `BrokenPipe` if either side has shut this direction down, `ConnectionReset` if the peer has
    /// reset the connection, `TimedOut` if it no longer answers. Those of reading the file. `InvalidInput` for a count
    /// of 0, or if offset and count go beyond the largest file, or for a socket that is no stream; in debug mode also
    /// for one in blocking mode. `NotConnected` if the loop is closed.
    ///
    /// # Cancellation
    /// If it is dropped before it is done, the file's position says how much was sent. The socket is no longer watched.
    ///
    /// ```
    /// # use socket2::{Domain, Socket, Type};
    /// let (near, far) = Socket::pair(Domain::UNIX, Type::STREAM, None)?;
    /// near.set_nonblocking(true)?;
    /// let file = std::fs::File::open("/etc/hostname")?;
    /// callsoon::run(async {
    ///     let event_loop = callsoon::get_running_loop();
    ///     assert_eq!(event_loop.sock_sendfile(&near, &file, 0, Some(1)).await?, 1);
    ///     Ok::<(), std::io::Error>(())
    /// }).unwrap()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn sock_sendfile(
        &self,
        socket: &Socket,
        file: &File,
        offset: u64,
        count: Option<u64>,
    ) -> io::Result<u64> {
        self.check(socket).await?;
        proceed().await;
        if socket.r#type()? != Type::STREAM {
            return Err(invalid_input("only a stream socket can send a file"));
        }
        let mut transfer = Transfer::new(file, offset, count)?;
        loop {
            let step = || transfer.step(socket.as_fd());
            let number = socket.as_raw_fd();
            let step = self.fd_operation(number, Direction::Write, step);
            if step.await? == 0 {
                return Ok(transfer.sent);
            }
        }
    }
}
