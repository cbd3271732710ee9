//! What a program asks of a transport besides writing: to pause, to tell its names, to serve another protocol.
//!
//! Ending a connection is `connection`'s part.

use std::fmt;
#[cfg(unix)]
use std::io;
use std::rc::Rc;

use crate::kernel::io::readiness::Direction;
#[cfg(unix)]
use crate::kernel::io::source::Io;
#[cfg(unix)]
use crate::net::unix::UCred;
use crate::socket::address::Address;
#[cfg(unix)]
use crate::socket::stream_socket::StreamSocket;
use crate::transport::hold::Hold;
use crate::transport::protocol::{Protocol, Transport};

impl Transport {
    /// Whether the writing side can be ended by itself: true for every transport there is, as long as there is no TLS.
    ///
    /// ```
    /// # use callsoon::transport::{Protocol, Transport};
    /// # struct Idle;
    /// # impl Protocol for Idle {}
    /// # callsoon::run(async {
    /// # let (here, there) = std::os::unix::net::UnixStream::pair()?;
    /// # let event_loop = callsoon::get_running_loop();
    /// # let (transport, _) = event_loop.connect_accepted_socket(|| Idle, here).await?;
    /// assert!(transport.can_write_eof());
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn can_write_eof(&self) -> bool {
        self.connection.pipe_direction() != Some(Direction::Read)
    }

    /// Whether the transport is closing or closed, whoever wanted that.
    ///
    /// ```
    /// # use callsoon::transport::{Protocol, Transport};
    /// # struct Idle;
    /// # impl Protocol for Idle {}
    /// # callsoon::run(async {
    /// # let (here, there) = std::os::unix::net::UnixStream::pair()?;
    /// # let event_loop = callsoon::get_running_loop();
    /// # let (transport, _) = event_loop.connect_accepted_socket(|| Idle, here).await?;
    /// assert!(!transport.is_closing());
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn is_closing(&self) -> bool {
        self.connection.closing.get()
    }

    /// Has nothing delivered until [`resume_reading`](Self::resume_reading); the peer is held up once the system's
    /// buffers are full. Calling it again, or on a transport that is closing, changes nothing.
    ///
    /// ```
    /// # use callsoon::transport::{Protocol, Transport};
    /// # struct Idle;
    /// # impl Protocol for Idle {}
    /// # callsoon::run(async {
    /// # let (here, there) = std::os::unix::net::UnixStream::pair()?;
    /// # let event_loop = callsoon::get_running_loop();
    /// # let (transport, _) = event_loop.connect_accepted_socket(|| Idle, here).await?;
    /// transport.pause_reading();
    /// assert!(!transport.is_reading());
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn pause_reading(&self) {
        if !self.connection.closing.get() {
            self.connection.holds.set(Hold::Paused);
        }
    }

    /// Has what comes delivered again. Nothing is delivered from within this call, and callbacks and tasks that are queued
    /// already run first.
    ///
    /// ```
    /// # use callsoon::transport::{Protocol, Transport};
    /// # struct Idle;
    /// # impl Protocol for Idle {}
    /// # callsoon::run(async {
    /// # let (here, there) = std::os::unix::net::UnixStream::pair()?;
    /// # let event_loop = callsoon::get_running_loop();
    /// # let (transport, _) = event_loop.connect_accepted_socket(|| Idle, here).await?;
    /// transport.pause_reading();
    /// transport.resume_reading();
    /// assert!(transport.is_reading());
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn resume_reading(&self) {
        let connection = &self.connection;
        if !connection.closing.get() && connection.holds.lift(Hold::Paused) {
            self.read_after_queued();
        }
    }

    /// Whether what comes is delivered: reading is not paused, and the transport not closing. Where it is closing since a
    /// write failed, what had come by then is delivered, and this is so until all of it is.
    ///
    /// ```
    /// # use callsoon::transport::{Protocol, Transport};
    /// # struct Idle;
    /// # impl Protocol for Idle {}
    /// # callsoon::run(async {
    /// # let (here, there) = std::os::unix::net::UnixStream::pair()?;
    /// # let event_loop = callsoon::get_running_loop();
    /// # let (transport, _) = event_loop.connect_accepted_socket(|| Idle, here).await?;
    /// assert!(transport.is_reading());
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn is_reading(&self) -> bool {
        let connection = &self.connection;
        let held = connection.holds.has(Hold::Paused) || connection.holds.has(Hold::ReaderBehind);
        let open = !connection.closing.get() && !held && !connection.sending_file.get();
        open || connection.delivers_rest.get()
    }

    /// The peer's name, also after the end of the connection.
    ///
    /// ```
    /// # use callsoon::transport::{Protocol, Transport};
    /// # struct Idle;
    /// # impl Protocol for Idle {}
    /// # callsoon::run(async {
    /// # let (here, there) = std::os::unix::net::UnixStream::pair()?;
    /// # let event_loop = callsoon::get_running_loop();
    /// # let (transport, _) = event_loop.connect_accepted_socket(|| Idle, here).await?;
    /// assert_eq!(transport.peername().unwrap().to_string(), "unnamed");
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    #[doc(alias = "get_extra_info")]
    pub fn peername(&self) -> Option<Address> {
        self.connection.peer.clone()
    }

    /// This end's name, until the connection is over.
    ///
    /// ```
    /// # use callsoon::transport::{Protocol, Transport};
    /// # struct Idle;
    /// # impl Protocol for Idle {}
    /// # callsoon::run(async {
    /// # let (here, there) = std::os::unix::net::UnixStream::pair()?;
    /// # let event_loop = callsoon::get_running_loop();
    /// # let (transport, _) = event_loop.connect_accepted_socket(|| Idle, here).await?;
    /// assert_eq!(transport.sockname().unwrap().to_string(), "unnamed");
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    #[doc(alias = "get_extra_info")]
    pub fn sockname(&self) -> Option<Address> {
        let local = self.connection.with_io(|io| io.source().local())?;
        Address::of(local)
    }

    /// Lends the socket, for options that the transport has no word for; `None` once the connection is over. It must not
    /// be closed, read, written or switched to blocking mode.
    ///
    /// ```
    /// # use callsoon::transport::{Protocol, Transport};
    /// # struct Idle;
    /// # impl Protocol for Idle {}
    /// # callsoon::run(async {
    /// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let address = listener.local_addr()?;
    /// let event_loop = callsoon::get_running_loop();
    /// let (transport, _) = event_loop.create_connection(|| Idle, address).await?;
    /// assert!(transport.socket(|socket| socket.tcp_nodelay()).unwrap()?, "on from the beginning");
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    #[doc(alias = "get_extra_info")]
    pub fn socket<R>(&self, f: impl FnOnce(&socket2::Socket) -> R) -> Option<R> {
        if self.connection.pipe_direction().is_some() {
            return None;
        }
        self.connection.with_io(|io| io.source().with(f))
    }

    /// Who the peer of a Unix socket was when it connected, by the system's word.
    ///
    /// # Errors
    /// What the system says; `InvalidInput` for another kind of socket, `NotConnected` for a pipe and once the connection
    /// is over, `Unsupported` outside Linux.
    ///
    /// ```
    /// # callsoon::run(async {
    /// let (here, there) = std::os::unix::net::UnixStream::pair()?;
    /// let (_reader, writer) = callsoon::open_connection(here).await?;
    /// assert_eq!(writer.transport().peer_cred()?.pid, Some(std::process::id() as i32));
    /// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let (_reader, writer) = callsoon::open_connection(listener.local_addr()?).await?;
    /// # let error = writer.transport().peer_cred().unwrap_err();
    /// # assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    /// # writer.transport().abort();
    /// # writer.wait_closed().await?;
    /// # let error = writer.transport().peer_cred().unwrap_err();
    /// # assert_eq!(error.kind(), std::io::ErrorKind::NotConnected);
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    #[doc(alias = "SO_PEERCRED")]
    #[cfg(unix)]
    pub fn peer_cred(&self) -> io::Result<UCred> {
        use std::os::fd::AsFd;
        let asked = self.socket(|socket| {
            if socket.local_addr()?.is_unix() {
                return UCred::of(socket.as_fd());
            }
            let text = "only a Unix socket knows who its peer is";
            Err(io::Error::new(io::ErrorKind::InvalidInput, text))
        });
        asked.unwrap_or_else(|| Err(io::ErrorKind::NotConnected.into()))
    }

    /// Calls `f` with the descriptor of a pipe; `None` if it is none, and when it is closed.
    ///
    /// ```
    /// # use callsoon::transport::Protocol;
    /// # struct Idle;
    /// # impl Protocol for Idle {}
    /// # callsoon::run(async {
    /// # let event_loop = callsoon::get_running_loop();
    /// use std::io::IsTerminal;
    /// let (output, _) = event_loop.connect_write_pipe(|| Idle, callsoon::transport::stdout()?).await?;
    /// let is_terminal = output.pipe(|pipe| pipe.is_terminal());
    /// # output.close();
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    #[doc(alias = "get_extra_info")]
    #[cfg(unix)]
    pub fn pipe<R>(&self, f: impl FnOnce(std::os::fd::BorrowedFd<'_>) -> R) -> Option<R> {
        use std::os::fd::AsFd;
        let with = |io: &Io<StreamSocket>| io.source().pipe().map(|pipe| f(pipe.as_fd()));
        self.connection.with_io(with).flatten()
    }

    /// Who is called; `None` once the connection is over.
    ///
    /// ```
    /// # use callsoon::transport::{Protocol, Transport};
    /// # struct Idle;
    /// # impl Protocol for Idle {}
    /// # callsoon::run(async {
    /// # let (here, there) = std::os::unix::net::UnixStream::pair()?;
    /// # let event_loop = callsoon::get_running_loop();
    /// # let (transport, _) = event_loop.connect_accepted_socket(|| Idle, here).await?;
    /// assert!(transport.get_protocol().is_some());
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn get_protocol(&self) -> Option<Rc<dyn Protocol>> {
        self.connection.protocol.borrow().clone()
    }

    /// Has another protocol called from the next callback on. `connection_made` is not called again, and what the former
    /// one was told of pausing is not repeated. Once the connection is over it changes nothing.
    ///
    /// ```
    /// # use callsoon::transport::{Protocol, Transport};
    /// # struct Idle;
    /// # impl Protocol for Idle {}
    /// # callsoon::run(async {
    /// # let (here, there) = std::os::unix::net::UnixStream::pair()?;
    /// # let event_loop = callsoon::get_running_loop();
    /// # let (transport, _) = event_loop.connect_accepted_socket(|| Idle, here).await?;
    /// struct Other;
    /// impl Protocol for Other {}
    /// transport.set_protocol(std::rc::Rc::new(Other));
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn set_protocol(&self, protocol: Rc<dyn Protocol>) {
        let former = match &mut *self.connection.protocol.borrow_mut() {
            Some(place) => std::mem::replace(place, protocol),
            None => protocol,
        };
        drop(former);
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport")
            .field("peername", &self.connection.peer)
            .field("closing", &self.connection.closing.get())
            .field("over", &self.connection.protocol.borrow().is_none())
            .field("buffered", &self.get_write_buffer_size())
            .finish()
    }
}
