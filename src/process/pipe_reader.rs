//! The reading end of a child's output.
//!
//! Nothing is read before somebody asks: what the child says beyond that waits in the pipe, and then the child does. What
//! was read and not taken is kept here, so a read that is dropped has taken nothing.

use std::fmt;
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::rc::Rc;

use mio::Interest;
use mio::unix::pipe::Receiver;

use crate::error::LoopClosed;
use crate::kernel::io::Io;
use crate::kernel::loop_state::LoopHandle;
use crate::kernel::readiness::{Direction, Readiness};
use crate::stream::error::{IncompleteRead, LimitOverrun, ReadError};
use crate::stream::incoming::{Incoming, find_first, longest};

/// What the first reads ask for: most programs say a line or two.
const FEW: usize = 4 * 1024;

/// What a read asks for after one that was filled: all that a pipe holds.
pub(crate) const MANY: usize = 64 * 1024;

/// How long a line may be unless it is said, in bytes: asyncio's.
pub(crate) const LIMIT: NonZeroUsize = NonZeroUsize::new(64 * 1024).unwrap();

/// A pipe to be read, watched.
pub(crate) fn watched(handle: &LoopHandle, receiver: Receiver) -> io::Result<Io<Receiver>> {
    receiver.set_nonblocking(true)?;
    // A read that fills less than its buffer has emptied the pipe, and its end comes with an edge of its own.
    Io::new(
        handle,
        receiver,
        Interest::READABLE,
        Readiness::new(true, false),
    )
}

/// The reading end of a child's output, with the methods of a `StreamReader`. Dropping it closes it: a child that goes on
/// writing then gets SIGPIPE.
///
/// ```
/// use callsoon::process::{PIPE, create_subprocess_shell};
/// callsoon::run(async {
///     let mut process = create_subprocess_shell("echo one; echo two").stdout(PIPE).await?;
///     let stdout = process.stdout.as_mut().unwrap();
///     assert_eq!(stdout.readline().await?, b"one\n");
///     assert_eq!(stdout.readline().await?, b"two\n");
///     assert_eq!(stdout.readline().await?, b"");
///     process.wait().await
/// }).unwrap().unwrap();
/// ```
pub struct PipeReader {
    io: Io<Receiver>,
    incoming: Incoming,
    /// The child has closed its side, and everything it said has been read.
    eof: bool,
    limit: NonZeroUsize,
    /// What the next read asks for.
    ask: usize,
}

impl PipeReader {
    pub(crate) fn new(io: Io<Receiver>, limit: NonZeroUsize) -> Self {
        Self {
            io,
            incoming: Incoming::default(),
            eof: false,
            limit,
            ask: FEW,
        }
    }

    /// Reads once, behind what is kept.
    async fn fill(&mut self) -> io::Result<()> {
        let state = Rc::clone(&self.io.handle().state);
        if state.is_inherited() {
            // In a forked child the bytes are the parent's.
            return Err(LoopClosed.into());
        }
        // A loop on the virtual clock must not jump while the child has something to say.
        let _held = state.inhibit();
        let (incoming, ask) = (&mut self.incoming, self.ask);
        let read = |receiver: &Receiver| {
            let mut receiver = receiver;
            receiver.read(&mut incoming.room(ask)[..ask])
        };
        let short = |count: &usize| 0 < *count && *count < ask;
        let count = self.io.operate(Direction::Read, read, short).await?;
        self.incoming.advance(count);
        self.eof = count == 0;
        self.ask = if count < self.ask { FEW } else { MANY };
        Ok(())
    }

    /// Reads what is there: at least one byte unless the child has closed its side, and at most `n`.
    ///
    /// # Errors
    /// The system's.
    ///
    /// # Cancellation
    /// Dropped before it is done it has read nothing.
    ///
    /// ```
    /// # use callsoon::process::{PIPE, create_subprocess_shell};
    /// # callsoon::run(async {
    /// let mut process = create_subprocess_shell("printf hello").stdout(PIPE).await?;
    /// assert_eq!(process.stdout.as_mut().unwrap().read(100).await?, b"hello");
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn read(&mut self, n: usize) -> io::Result<Vec<u8>> {
        if n > 0 && self.incoming.len() == 0 && !self.eof {
            self.fill().await?;
        }
        Ok(self.incoming.take(n.min(self.incoming.len())))
    }

    /// [`read`](Self::read) into memory of the caller's, without an allocation; says how many bytes. 0 means that the
    /// child has closed its side, or that the buffer is empty.
    ///
    /// # Errors
    /// The system's.
    ///
    /// # Cancellation
    /// Dropped before it is done it has read nothing.
    ///
    /// ```
    /// # use callsoon::process::{PIPE, create_subprocess_shell};
    /// # callsoon::run(async {
    /// let mut process = create_subprocess_shell("printf hello").stdout(PIPE).await?;
    /// let (stdout, mut buffer) = (process.stdout.as_mut().unwrap(), [0; 3]);
    /// assert_eq!((stdout.read_into(&mut buffer).await?, &buffer), (3, b"hel"));
    /// assert_eq!(stdout.read_into(&mut buffer).await?, 2);
    /// assert_eq!(stdout.read_into(&mut buffer).await?, 0);
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn read_into(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !buffer.is_empty() && self.incoming.len() == 0 && !self.eof {
            self.fill().await?;
        }
        Ok(self.incoming.take_into(buffer))
    }

    /// Reads until the child has closed its side, and so has everybody to whom it has handed it.
    ///
    /// # Errors
    /// The system's.
    ///
    /// # Cancellation
    /// Dropped before it is done it has read nothing.
    ///
    /// ```
    /// # use callsoon::process::{PIPE, create_subprocess_shell};
    /// # callsoon::run(async {
    /// let mut process = create_subprocess_shell("seq 3").stdout(PIPE).await?;
    /// assert_eq!(process.stdout.as_mut().unwrap().read_to_end().await?, b"1\n2\n3\n");
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn read_to_end(&mut self) -> io::Result<Vec<u8>> {
        self.read_all().await?;
        Ok(self.take_all())
    }

    /// Reads to the end, and keeps it.
    pub(crate) async fn read_all(&mut self) -> io::Result<()> {
        while !self.eof {
            self.fill().await?;
        }
        Ok(())
    }

    pub(crate) fn take_all(&mut self) -> Vec<u8> {
        self.incoming.take(self.incoming.len())
    }

    /// Reads exactly `n` bytes; they may be more than the limit.
    ///
    /// # Errors
    /// [`ReadError::Incomplete`] if the child closes its side before, with what had come; the system's.
    ///
    /// # Cancellation
    /// Dropped before it is done it has read nothing.
    ///
    /// ```
    /// # use callsoon::process::{PIPE, create_subprocess_shell};
    /// # callsoon::run(async {
    /// let mut process = create_subprocess_shell("printf hello").stdout(PIPE).await?;
    /// let stdout = process.stdout.as_mut().unwrap();
    /// assert_eq!(stdout.readexactly(2).await?, b"he");
    /// assert_eq!(stdout.readexactly(10).await.unwrap_err().incomplete().unwrap().partial, b"llo");
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn readexactly(&mut self, n: usize) -> Result<Vec<u8>, ReadError> {
        while self.incoming.len() < n {
            if self.eof {
                return Err(self.incomplete(Some(n)));
            }
            self.fill().await?;
        }
        Ok(self.incoming.take(n))
    }

    /// Reads a line, with its `\n`. The last line may have none; after it, the line is empty.
    ///
    /// # Errors
    /// [`ReadError::LimitOverrun`] if there is no `\n` within the limit, and then nothing is taken out of the reader; the
    /// system's.
    ///
    /// # Cancellation
    /// Dropped before it is done it has read nothing.
    ///
    /// ```
    /// # use callsoon::process::{PIPE, create_subprocess_shell};
    /// # callsoon::run(async {
    /// let mut process = create_subprocess_shell("printf 'one\ntwo'").stdout(PIPE).await?;
    /// let stdout = process.stdout.as_mut().unwrap();
    /// assert_eq!(stdout.readline().await?, b"one\n");
    /// assert_eq!(stdout.readline().await?, b"two");
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
    /// # use callsoon::process::{PIPE, create_subprocess_shell};
    /// # callsoon::run(async {
    /// let mut process = create_subprocess_shell("seq 2").stdout(PIPE).await?;
    /// let stdout = process.stdout.as_mut().unwrap();
    /// let mut lines = Vec::new();
    /// while let Some(line) = stdout.next_line().await? {
    ///     lines.push(line);
    /// }
    /// assert_eq!(lines, [b"1\n", b"2\n"]);
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
    /// [`ReadError::Incomplete`] if the child closes its side before, with what had come; [`ReadError::LimitOverrun`] if
    /// there is no separator within the limit, and then nothing is taken out of the reader; the system's.
    ///
    /// # Panics
    /// If the separator is empty.
    ///
    /// # Cancellation
    /// Dropped before it is done it has read nothing.
    ///
    /// ```
    /// # use callsoon::process::{PIPE, create_subprocess_shell};
    /// # callsoon::run(async {
    /// let mut process = create_subprocess_shell("printf 'one, two'").stdout(PIPE).await?;
    /// assert_eq!(process.stdout.as_mut().unwrap().readuntil(b", ").await?, b"one, ");
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
    /// # use callsoon::process::{PIPE, create_subprocess_shell};
    /// # callsoon::run(async {
    /// let mut process = create_subprocess_shell("printf 'one;two,three'").stdout(PIPE).await?;
    /// let stdout = process.stdout.as_mut().unwrap();
    /// assert_eq!(stdout.readuntil_any(&[b",", b";"]).await?, b"one;");
    /// assert_eq!(stdout.readuntil_any(&[b",", b";"]).await?, b"two,");
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn readuntil_any(&mut self, separators: &[&[u8]]) -> Result<Vec<u8>, ReadError> {
        let longest = longest(separators);
        let limit = self.limit.get();
        // What lies before cannot be the beginning of a separator: no byte is looked at twice.
        let mut looked_at = 0;
        loop {
            if let Some(found) = find_first(self.incoming.bytes(), looked_at, separators) {
                if found.start > limit {
                    return Err(overrun(found.start));
                }
                return Ok(self.incoming.take(found.end));
            }
            looked_at = (self.incoming.len() + 1).saturating_sub(longest);
            if looked_at > limit {
                return Err(overrun(looked_at));
            }
            if self.eof {
                return Err(self.incomplete(None));
            }
            self.fill().await?;
        }
    }

    /// Whether the child has closed its side and everything has been read.
    ///
    /// ```
    /// # use callsoon::process::{PIPE, create_subprocess_shell};
    /// # callsoon::run(async {
    /// let mut process = create_subprocess_shell("echo hello").stdout(PIPE).await?;
    /// let stdout = process.stdout.as_mut().unwrap();
    /// assert!(!stdout.at_eof());
    /// stdout.read_to_end().await?;
    /// assert!(stdout.at_eof());
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn at_eof(&self) -> bool {
        self.eof && self.incoming.len() == 0
    }

    fn incomplete(&mut self, expected: Option<usize>) -> ReadError {
        ReadError::Incomplete(IncompleteRead {
            partial: self.take_all(),
            expected,
        })
    }
}

fn overrun(consumed: usize) -> ReadError {
    ReadError::LimitOverrun(LimitOverrun { consumed })
}

impl fmt::Debug for PipeReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PipeReader")
            .field("kept", &self.incoming.len())
            .field("eof", &self.eof)
            .field("limit", &self.limit)
            .finish()
    }
}
