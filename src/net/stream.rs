//! TCP connections: two system calls a message.
//!
//! A read that fills less than its buffer proves the socket drained, which saves the system call that would only say
//! so; `kernel/readiness.rs` says when the proof holds. A fresh connection is taken as writable.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr};

use mio::Interest;

use crate::event_loop::free::get_running_loop;
use crate::kernel::io::Io;
use crate::kernel::loop_state::LoopHandle;
use crate::kernel::readiness::{Direction, Readiness};

/// A TCP connection.
///
/// ```
/// use callsoon::net::{TcpListener, TcpStream};
/// callsoon::run(async {
///     let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).await?;
///     let client = TcpStream::connect(listener.local_addr()?).await?;
///     let (server, _) = listener.accept().await?;
///     client.write_all(b"ping").await?;
///     let mut buffer = [0; 4];
///     server.read_exact(&mut buffer).await?;
///     assert_eq!(&buffer, b"ping");
///     Ok::<(), std::io::Error>(())
/// }).unwrap()?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// It stays on its thread:
///
/// ```compile_fail,E0277
/// fn send<T: Send>() {}
/// send::<callsoon::net::TcpStream>();
/// ```
pub struct TcpStream {
    io: Io<mio::net::TcpStream>,
}

/// What a stream is registered for. An urgent mark spoils the proof by short reads, so the poller has to tell of it.
fn interest() -> Interest {
    let both = Interest::READABLE | Interest::WRITABLE;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let both = both | Interest::PRIORITY;
    both
}

impl TcpStream {
    /// Connects to `address`, without a thread and without a look-up.
    ///
    /// # Errors
    /// What the system says of the attempt: refused, unreachable, out of descriptors …
    ///
    /// # Panics
    /// Outside a running loop.
    ///
    /// # Cancellation
    /// Dropped before it is done it closes the socket.
    ///
    /// ```
    /// use callsoon::net::TcpStream;
    /// let error = callsoon::run(async { TcpStream::connect("127.0.0.1:1".parse().unwrap()).await });
    /// assert_eq!(error.unwrap().unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
    /// ```
    pub async fn connect(address: SocketAddr) -> io::Result<Self> {
        let handle = get_running_loop();
        let socket = mio::net::TcpStream::connect(address)?;
        // Not writable until the system says so: that is how a connection announces itself.
        let io = Io::new(&handle, socket, interest(), Readiness::new(true, false))?;
        io.operate(Direction::Write, connected, |_| false).await?;
        Ok(Self { io })
    }

    /// A connection that exists already, made by `accept` or by other means and switched to non-blocking mode.
    ///
    /// # Errors
    /// What the system says of switching the mode and of registering.
    ///
    /// # Panics
    /// Outside a running loop.
    ///
    /// ```
    /// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let socket = std::net::TcpStream::connect(listener.local_addr()?)?;
    /// callsoon::run(async {
    ///     let stream = callsoon::net::TcpStream::from_std(socket).unwrap();
    ///     stream.write_all(b"x").await.unwrap();
    /// }).unwrap();
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn from_std(socket: std::net::TcpStream) -> io::Result<Self> {
        let handle = get_running_loop();
        socket.set_nonblocking(true)?;
        Self::from_mio(&handle, mio::net::TcpStream::from_std(socket))
    }

    pub(super) fn from_mio(handle: &LoopHandle, socket: mio::net::TcpStream) -> io::Result<Self> {
        Ok(Self {
            io: Io::new(handle, socket, interest(), Readiness::new(true, true))?,
        })
    }

    /// Reads what is there, at least one byte and at most `buffer.len()`, and gives the number of bytes. 0 means that
    /// the peer has finished writing, or that the buffer is empty.
    ///
    /// # Errors
    /// What the system says: reset, timed out …
    ///
    /// # Cancellation
    /// Dropped before it is done it has read nothing.
    ///
    /// ```
    /// # use callsoon::net::{TcpListener, TcpStream};
    /// # callsoon::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).await?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (server, _) = listener.accept().await?;
    /// drop(client);
    /// assert_eq!(server.read(&mut [0; 16]).await?, 0);
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let room = buffer.len();
        let read = |mut socket: &mio::net::TcpStream| socket.read(buffer);
        self.io
            .operate(Direction::Read, read, |&count| 0 < count && count < room)
            .await
    }

    /// Reads without waiting.
    ///
    /// # Errors
    /// `WouldBlock` where nothing is there yet; else what the system says.
    ///
    /// ```
    /// # use callsoon::net::{TcpListener, TcpStream};
    /// # callsoon::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).await?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// let error = client.try_read(&mut [0; 16]).unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.io
            .attempt(Direction::Read, |mut socket| socket.read(buffer))
    }

    /// Fills the whole buffer.
    ///
    /// # Errors
    /// `UnexpectedEof` where the peer finishes writing first; else what the system says. The bytes read until then are in
    /// the buffer.
    ///
    /// # Cancellation
    /// Dropped before it is done it may have read a part, which is in the buffer but not counted.
    ///
    /// ```
    /// # use callsoon::net::{TcpListener, TcpStream};
    /// # callsoon::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).await?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (server, _) = listener.accept().await?;
    /// client.write_all(b"half").await?;
    /// drop(client);
    /// let error = server.read_exact(&mut [0; 8]).await.unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn read_exact(&self, buffer: &mut [u8]) -> io::Result<()> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.read(&mut buffer[filled..]).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => filled += count,
            }
        }
        Ok(())
    }

    /// Writes what the system takes, and gives the number of bytes.
    ///
    /// # Errors
    /// What the system says: broken pipe, reset …
    ///
    /// # Cancellation
    /// Dropped before it is done it has written nothing.
    ///
    /// ```
    /// # use callsoon::net::{TcpListener, TcpStream};
    /// # callsoon::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).await?;
    /// let client = TcpStream::connect(listener.local_addr()?).await?;
    /// assert_eq!(client.write(b"hello").await?, 5);
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let write = |mut socket: &mio::net::TcpStream| socket.write(bytes);
        self.io.operate(Direction::Write, write, |_| false).await
    }

    /// Writes without waiting.
    ///
    /// # Errors
    /// `WouldBlock` where the system takes nothing now; else what the system says.
    ///
    /// ```
    /// # use callsoon::net::{TcpListener, TcpStream};
    /// # callsoon::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).await?;
    /// let client = TcpStream::connect(listener.local_addr()?).await?;
    /// assert_eq!(client.try_write(b"hello")?, 5);
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.io
            .attempt(Direction::Write, |mut socket| socket.write(bytes))
    }

    /// Writes all bytes.
    ///
    /// # Errors
    /// What the system says; some of the bytes may have been written.
    ///
    /// # Cancellation
    /// Dropped before it is done it may have written a part.
    ///
    /// ```
    /// # use callsoon::net::{TcpListener, TcpStream};
    /// # callsoon::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).await?;
    /// let client = TcpStream::connect(listener.local_addr()?).await?;
    /// client.write_all(b"all of this").await?;
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.write(rest).await? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                count => rest = &rest[count..],
            }
        }
        Ok(())
    }

    /// Ends one direction or both. Data on its way still arrives.
    ///
    /// # Errors
    /// What the system says, `NotConnected` above all.
    ///
    /// ```
    /// # use callsoon::net::{TcpListener, TcpStream};
    /// # callsoon::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).await?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (server, _) = listener.accept().await?;
    /// client.shutdown(std::net::Shutdown::Write)?;
    /// assert_eq!(server.read(&mut [0; 1]).await?, 0);
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.io.source().shutdown(how)
    }

    /// The peer's address.
    ///
    /// # Errors
    /// What the system says, `NotConnected` above all.
    ///
    /// ```
    /// # use callsoon::net::{TcpListener, TcpStream};
    /// # callsoon::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).await?;
    /// let client = TcpStream::connect(listener.local_addr()?).await?;
    /// assert_eq!(client.peer_addr()?, listener.local_addr()?);
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.io.source().peer_addr()
    }

    /// The address of this end.
    ///
    /// # Errors
    /// What the system says.
    ///
    /// ```
    /// # use callsoon::net::{TcpListener, TcpStream};
    /// # callsoon::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).await?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// let (server, address) = listener.accept().await?;
    /// assert_eq!(client.local_addr()?, address);
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.source().local_addr()
    }

    /// Whether small writes are sent at once (`TCP_NODELAY`). Off until it is set.
    ///
    /// # Errors
    /// What the system says.
    ///
    /// ```
    /// # use callsoon::net::{TcpListener, TcpStream};
    /// # callsoon::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).await?;
    /// let client = TcpStream::connect(listener.local_addr()?).await?;
    /// client.set_nodelay(true)?;
    /// assert!(client.nodelay()?);
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn nodelay(&self) -> io::Result<bool> {
        self.io.source().nodelay()
    }

    /// Sets `TCP_NODELAY`. See [`nodelay`](Self::nodelay).
    ///
    /// # Errors
    /// What the system says.
    ///
    /// ```
    /// # use callsoon::net::{TcpListener, TcpStream};
    /// # callsoon::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).await?;
    /// let client = TcpStream::connect(listener.local_addr()?).await?;
    /// client.set_nodelay(true)?;
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.io.source().set_nodelay(nodelay)
    }
}

/// Whether a connection attempt has ended, and how.
fn connected(socket: &mio::net::TcpStream) -> io::Result<()> {
    if let Some(error) = socket.take_error()? {
        return Err(error);
    }
    match socket.peer_addr() {
        Ok(_) => Ok(()),
        // The event was not about the attempt: it goes on.
        Err(error) if error.kind() == io::ErrorKind::NotConnected => {
            Err(io::ErrorKind::WouldBlock.into())
        }
        Err(error) => Err(error),
    }
}

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.io.source().fmt(f)
    }
}
