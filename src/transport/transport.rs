//! What a program asks of a transport. The work is done in `write.rs`, `read.rs` and `lifecycle.rs`.

use std::io;
use std::os::fd::AsFd as _;
use std::rc::Rc;

use socket2::Socket;

use crate::kernel::io::readiness::Direction;
use crate::net::unix::UCred;
use crate::socket::address::Address;
use crate::transport::buffer::InvalidLimits;
use crate::transport::connection::{Pause, State};
use crate::transport::protocol::{Protocol, Transport};
use crate::transport::write::CannotWrite;

impl Transport {
    /// Sends bytes. What the system does not take at once is copied, and sent as soon as the system takes more.
    ///
    /// On a connection that is lost this does nothing, and from the fifth such write on it logs a warning. On one
    /// that is closing and still has something to send, the bytes are sent after that. Where there is no memory for
    /// the copy, the connection is lost to an error of kind `OutOfMemory`.
    ///
    /// After [`write_eof`](Self::write_eof), and on the reading end of a pipe, the bytes cannot be sent: the exception handler
    /// is told of a [`CannotWrite`], unless the connection is closing. asyncio raises
    /// `RuntimeError`. [`try_write`](Self::try_write) returns the error instead.
    ///
    /// ```
    /// # callsoon::doctest::with_transport(async |transport, there| {
    /// // What `writelines` takes: slices, arrays, vectors and strings.
    /// transport.write(b"he");
    /// transport.write("llo");
    /// let mut hello = [0; 5];
    /// std::io::Read::read_exact(&mut &there, &mut hello)?;
    /// assert_eq!(&hello, b"hello");
    /// # Ok(()) });
    /// ```
    #[track_caller]
    pub fn write(&self, data: impl AsRef<[u8]>) {
        self.write_bytes(data.as_ref());
    }

    /// Sends several pieces of bytes as if they were one, without joining them first.
    ///
    /// After [`write_eof`](Self::write_eof) it does what [`write`](Self::write) does.
    ///
    /// ```
    /// # callsoon::doctest::with_transport(async |transport, there| {
    /// transport.writelines(&["hel", "", "lo"]);
    /// let mut hello = [0; 5];
    /// std::io::Read::read_exact(&mut &there, &mut hello)?;
    /// assert_eq!(&hello, b"hello");
    /// # Ok(()) });
    /// ```
    #[track_caller]
    pub fn writelines<B: AsRef<[u8]>>(&self, lines: &[B]) {
        self.write_pieces(lines);
    }

    /// Does the same as [`write`](Self::write), or returns why it cannot.
    ///
    /// # Errors
    /// [`CannotWrite`] after [`write_eof`](Self::write_eof) and on the reading end of a pipe, unless the connection is closing or
    /// lost. Then nothing was written, and nothing is reported.
    ///
    /// ```
    /// # callsoon::doctest::with_transport(async |transport, there| {
    /// transport.try_write(b"all I have to say").unwrap();
    /// transport.write_eof();
    /// assert!(transport.try_write(b"and one more thing").is_err());
    /// assert_eq!(std::io::read_to_string(&there)?, "all I have to say");
    /// # Ok(()) });
    /// ```
    #[track_caller]
    pub fn try_write(&self, data: impl AsRef<[u8]>) -> Result<(), CannotWrite> {
        let data = data.as_ref();
        self.may_write()?;
        self.write_bytes(data);
        Ok(())
    }

    /// Does the same as [`writelines`](Self::writelines), or returns why it cannot.
    ///
    /// # Errors
    /// Those of [`try_write`](Self::try_write).
    ///
    /// ```
    /// # callsoon::doctest::with_transport(async |transport, there| {
    /// transport.try_writelines(&["one", "two"]).unwrap();
    /// # Ok(()) });
    /// ```
    #[track_caller]
    pub fn try_writelines<B: AsRef<[u8]>>(&self, lines: &[B]) -> Result<(), CannotWrite> {
        self.may_write()?;
        self.write_pieces(lines);
        Ok(())
    }

    /// Returns whether the writing side has ended or will end when everything is sent: [`write_eof`](Self::write_eof) was
    /// called. True from the beginning for the reading end of a pipe.
    ///
    /// ```
    /// # callsoon::doctest::with_transport(async |transport, there| {
    /// assert!(!transport.wrote_eof());
    /// transport.write_eof();
    /// assert!(transport.wrote_eof());
    /// # Ok(()) });
    /// ```
    pub fn wrote_eof(&self) -> bool {
        self.connection.write_ended.get()
    }

    /// Ends the writing side, after what is buffered has been sent. The peer reads to its end and may go on writing.
    ///
    /// Calling it again, or on a transport that is closing, changes nothing. It does not close the connection, which
    /// ends by the peer's end of file or by [`close`](Self::close). A pipe's writing end closes. Over TLS this sends a
    /// close_notify, upon which a peer may well close its side too.
    /// ```
    /// # callsoon::doctest::with_transport(async |transport, there| {
    /// transport.write(b"all I have to say");
    /// transport.write_eof();
    /// assert_eq!(std::io::read_to_string(&there)?, "all I have to say");
    /// # Ok(()) });
    /// ```
    pub fn write_eof(&self) {
        let connection = &self.connection;
        if connection.has_reached(State::Closing) || connection.write_ended.get() {
            return;
        }
        match connection.pipe_direction() {
            Some(_) => self.close(),
            None => self.end_writing_soon(),
        }
    }

    /// Returns whether the writing side can be ended by itself: false for the reading end of a pipe, and for an encrypted
    /// connection, whose peer may end it then.
    ///
    /// ```
    /// # callsoon::doctest::with_transport(async |transport, there| {
    /// assert!(transport.can_write_eof());
    /// # Ok(()) });
    /// ```
    pub fn can_write_eof(&self) -> bool {
        if self.connection.encrypted.get() {
            return false;
        }
        self.connection.pipe_direction() != Some(Direction::Read)
    }

    /// Stops reading, sends what is buffered, and then loses the connection. Calling it again changes nothing.
    ///
    /// ```
    /// # callsoon::doctest::with_transport(async |transport, there| {
    /// transport.write(b"the last words");
    /// transport.close();
    /// assert!(transport.is_closing());
    /// # Ok(()) });
    /// ```
    pub fn close(&self) {
        self.after_close(self.connection.begin_close(), None);
        self.watch_shutdown();
    }

    /// Drops what is buffered and queues `connection_lost`. Calling it again changes nothing.
    ///
    /// ```
    /// # callsoon::doctest::with_transport(async |transport, there| {
    /// transport.abort();
    /// assert!(transport.is_closing());
    /// # Ok(()) });
    /// ```
    pub fn abort(&self) {
        self.connection.end_failing();
        self.force_close(None);
    }

    /// Returns whether the transport is closing or closed, whether the program, the peer or an error caused that.
    ///
    /// ```
    /// # callsoon::doctest::with_transport(async |transport, there| {
    /// assert!(!transport.is_closing());
    /// # Ok(()) });
    /// ```
    pub fn is_closing(&self) -> bool {
        self.connection.has_reached(State::Closing)
    }

    /// Delivers nothing until [`resume_reading`](Self::resume_reading). The peer cannot send more once the system's
    /// buffers are full. Calling it again, or on a transport that is closing, changes nothing.
    ///
    /// ```
    /// # callsoon::doctest::with_transport(async |transport, there| {
    /// transport.pause_reading();
    /// assert!(!transport.is_reading());
    /// # Ok(()) });
    /// ```
    pub fn pause_reading(&self) {
        if !self.is_closing() {
            self.connection.pauses.set(Pause::ByProgram);
        }
    }

    /// Delivers what arrives again. Nothing is delivered from within this call, and callbacks and tasks that are
    /// queued already run first. Calling it again, or on a transport that is closing, changes nothing.
    ///
    /// ```
    /// # callsoon::doctest::with_transport(async |transport, there| {
    /// transport.pause_reading();
    /// transport.resume_reading();
    /// assert!(transport.is_reading());
    /// # Ok(()) });
    /// ```
    pub fn resume_reading(&self) {
        if !self.is_closing() && self.connection.pauses.lift(Pause::ByProgram) {
            self.read_after_queued();
        }
    }

    /// Returns whether what arrives is delivered: reading is not paused, and the transport is not closing. If a write
    /// has failed, the transport is closing, and this is true until what was received by then is delivered.
    ///
    /// ```
    /// # callsoon::doctest::with_transport(async |transport, there| {
    /// assert!(transport.is_reading());
    /// # Ok(()) });
    /// ```
    pub fn is_reading(&self) -> bool {
        let connection = &self.connection;
        let pauses = &connection.pauses;
        let paused = pauses.has(Pause::ByProgram) || pauses.has(Pause::ForReader);
        let open = !self.is_closing() && !paused && !connection.sending_file.get();
        open || connection.is(State::Failing)
    }

    /// Returns how many bytes are written and not yet taken by the system.
    ///
    /// ```
    /// # callsoon::doctest::with_transport(async |transport, there| {
    /// transport.write(b"taken at once");
    /// assert_eq!(transport.write_buffer_size(), 0);
    /// # Ok(()) });
    /// ```
    #[doc(alias = "get_write_buffer_size")]
    pub fn write_buffer_size(&self) -> usize {
        self.connection.buffered()
    }

    /// Returns the low-water and the high-water mark in bytes, in this order.
    ///
    /// ```
    /// # callsoon::doctest::with_transport(async |transport, there| {
    /// assert_eq!(transport.write_buffer_limits(), (16 * 1024, 64 * 1024));
    /// # Ok(()) });
    /// ```
    #[doc(alias = "get_write_buffer_limits")]
    pub fn write_buffer_limits(&self) -> (usize, usize) {
        self.connection.marks.borrow().limits()
    }

    /// Sets the water marks, in bytes. The protocol is asked to pause when more than `high` are buffered, and to
    /// resume when at most `low` are.
    ///
    /// If only one is given, high is four times low; if none is, they are 64 KiB and 16 KiB. With a high mark of 0
    /// every byte that is buffered pauses.
    ///
    /// # Errors
    /// [`InvalidLimits`] if `low` is higher than `high`. Then nothing changes.
    ///
    /// ```
    /// # callsoon::doctest::with_transport(async |transport, there| {
    /// transport.set_write_buffer_limits(Some(1_000_000), None).unwrap();
    /// assert_eq!(transport.write_buffer_limits(), (250_000, 1_000_000));
    /// # Ok(()) });
    /// ```
    pub fn set_write_buffer_limits(
        &self,
        high: Option<usize>,
        low: Option<usize>,
    ) -> Result<(), InvalidLimits> {
        self.connection.marks.borrow_mut().set(high, low)?;
        self.pause_if_full(self.connection.buffered());
        Ok(())
    }

    /// Sets how many bytes may be buffered at all. `None`, which is the default, sets no bound. asyncio has no such
    /// bound.
    ///
    /// The water marks only ask: what a program writes nevertheless is buffered, however much it is. With a cap, the
    /// write that exceeds it ends the connection, which is then lost to an error of kind `QuotaExceeded`, and what
    /// was buffered is dropped. So a peer that reads nothing costs at most the cap and one write.
    ///
    /// ```
    /// # callsoon::doctest::with_transport(async |transport, there| {
    /// transport.set_write_buffer_cap(Some(1 << 20));
    /// transport.write(&vec![0; 3 << 20]);
    /// assert!(transport.is_closing());
    /// # Ok(()) });
    /// ```
    pub fn set_write_buffer_cap(&self, bytes: Option<usize>) {
        let cap = bytes.unwrap_or(usize::MAX);
        self.connection.marks.borrow_mut().set_cap(cap);
        self.check_cap(self.connection.buffered());
    }

    /// Returns the peer's name, also after the connection has closed.
    ///
    /// ```
    /// # callsoon::doctest::with_transport(async |transport, there| {
    /// assert_eq!(transport.peername().unwrap().to_string(), "unnamed");
    /// # Ok(()) });
    /// ```
    #[doc(alias = "get_extra_info")]
    pub fn peername(&self) -> Option<Address> {
        self.connection.peer.clone()
    }

    /// Returns this end's name, also after the connection has closed. `None` for a pipe.
    ///
    /// ```
    /// # callsoon::doctest::with_transport(async |transport, there| {
    /// assert_eq!(transport.sockname().unwrap().to_string(), "unnamed");
    /// # Ok(()) });
    /// ```
    #[doc(alias = "get_extra_info")]
    pub fn sockname(&self) -> Option<Address> {
        self.connection.name()
    }

    /// Calls `f` with the socket, for options that the transport has no method for. `None` for a pipe, and once the
    /// connection has closed. `f` must not close, read or write the socket, nor switch it to blocking mode.
    ///
    /// ```
    /// # use callsoon::doctest::Idle;
    /// # callsoon::doctest::run(async {
    /// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let address = listener.local_addr()?;
    /// let event_loop = callsoon::get_running_loop();
    /// let (transport, _) = event_loop.create_connection(|| Idle, address).await?;
    /// assert!(transport.socket(|socket| socket.tcp_nodelay()).unwrap()?, "on from the beginning");
    /// # Ok(()) });
    /// ```
    #[doc(alias = "get_extra_info")]
    pub fn socket<R>(&self, f: impl FnOnce(&Socket) -> R) -> Option<R> {
        if self.connection.pipe_direction().is_some() {
            return None;
        }
        self.connection.with_io(|io| io.source().with(f))
    }

    /// Returns who the peer of a Unix socket was when it connected, as the system knows it. asyncio has none.
    ///
    /// # Errors
    /// `InvalidInput` for another kind of socket, `NotConnected` for a pipe and once the connection has closed,
    /// `Unsupported` outside Linux.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
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
    /// # Ok(()) });
    /// ```
    #[doc(alias = "SO_PEERCRED")]
    pub fn peer_cred(&self) -> io::Result<UCred> {
        let asked = self.socket(|socket| {
            if socket.local_addr()?.is_unix() {
                return UCred::of(socket.as_fd());
            }
            let text = "only a Unix socket knows who its peer is";
            Err(io::Error::new(io::ErrorKind::InvalidInput, text))
        });
        asked.unwrap_or_else(|| Err(io::ErrorKind::NotConnected.into()))
    }

    /// Calls `f` with the descriptor of a pipe. `None` for a socket, and once the connection has closed.
    ///
    /// ```
    /// # use callsoon::doctest::Idle;
    /// # callsoon::doctest::with_loop(async |event_loop| {
    /// use std::io::IsTerminal;
    /// let (output, _) = event_loop.connect_write_pipe(|| Idle, callsoon::transport::stdout()?).await?;
    /// let is_terminal = output.pipe(|pipe| pipe.is_terminal());
    /// # output.close();
    /// # Ok(()) });
    /// ```
    #[doc(alias = "get_extra_info")]
    pub fn pipe<R>(&self, f: impl FnOnce(std::os::fd::BorrowedFd<'_>) -> R) -> Option<R> {
        let lent = self
            .connection
            .with_io(|io| io.source().pipe().map(|pipe| f(pipe.as_fd())));
        lent.flatten()
    }

    /// Returns the protocol, or `None` once the connection has closed.
    ///
    /// ```
    /// # callsoon::doctest::with_transport(async |transport, there| {
    /// assert!(transport.protocol().is_some());
    /// # Ok(()) });
    /// ```
    #[doc(alias = "get_protocol")]
    pub fn protocol(&self) -> Option<Rc<dyn Protocol>> {
        self.connection.protocol.borrow().clone()
    }

    /// Replaces the protocol: the next callback is called on the new one. `connection_made` is not called again, and
    /// a `pause_writing` that the former protocol was told is not repeated. Once the connection has closed this
    /// changes nothing.
    ///
    /// ```
    /// # use callsoon::transport::Protocol;
    /// # callsoon::doctest::with_transport(async |transport, there| {
    /// struct Other;
    /// impl Protocol for Other {}
    /// transport.set_protocol(std::rc::Rc::new(Other));
    /// # Ok(()) });
    /// ```
    pub fn set_protocol(&self, protocol: Rc<dyn Protocol>) {
        let former = match &mut *self.connection.protocol.borrow_mut() {
            Some(place) => std::mem::replace(place, protocol),
            None => protocol,
        };
        drop(former);
    }
}
