//! What a program writes, a protocol, and what it is given for it, a transport.
//!
//! Both are named here since each names the other; what a transport does is in `connection` (what comes from the socket)
//! and `handle` (what the program asks for).

use std::cell::{Cell, RefCell};
use std::io;
use std::panic::Location;
use std::rc::Rc;

use crate::kernel::context::Context;
use crate::kernel::io::source::Io;
use crate::kernel::loop_handle::LoopHandle;
use crate::transport::address::Address;
use crate::transport::buffer::WriteBuffer;
use crate::transport::file_turn::FileTurn;
use crate::transport::flow::WaterMarks;
use crate::transport::hold::Holds;
use crate::transport::membership::Membership;
use crate::transport::socket::StreamSocket;

/// What a program does with a connection. Every method does nothing unless it is written.
///
/// The [module](crate::transport) says in which order they are called. They run in the loop's own line, like callbacks;
/// a panic in one goes to the exception handler and, but for [`pause_writing`](Self::pause_writing) and
/// [`resume_writing`](Self::resume_writing), ends the connection.
///
/// ```
/// use callsoon::transport::{Protocol, Transport};
///
/// struct Echo;
///
/// impl Protocol for Echo {
///     fn data_received(&self, transport: &Transport, data: &[u8]) {
///         transport.write(data);
///     }
/// }
///
/// callsoon::run(async {
///     let event_loop = callsoon::get_running_loop();
///     let anywhere: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
///     let server = event_loop.create_server(|| Echo, anywhere).await?;
///     let client = callsoon::net::TcpStream::connect(server.local_addr().unwrap()).await?;
///     client.write_all(b"hello").await?;
///     let mut echo = [0; 5];
///     client.read_exact(&mut echo).await?;
///     assert_eq!(&echo, b"hello");
///     Ok::<(), std::io::Error>(())
/// }).unwrap().unwrap();
/// ```
#[allow(
    unused_variables,
    reason = "a default does nothing with what it is given"
)]
pub trait Protocol: 'static {
    /// The connection stands. The first call, and the only one of its kind.
    fn connection_made(&self, transport: &Transport) {}

    /// Bytes have come, at least one. Where they are cut says nothing: TCP knows no messages.
    ///
    /// The bytes lie in a buffer that all connections of the loop share, so what is kept must be copied.
    fn data_received(&self, transport: &Transport, data: &[u8]) {}

    /// The peer has finished writing. `true` keeps this side open for writing; `false`, which is the default, closes the
    /// transport. One that was kept open stays so also when its own writing side has ended: somebody has to `close` it.
    fn eof_received(&self, transport: &Transport) -> bool {
        false
    }

    /// The connection is over: the last call. `error` is `None` where it ended as somebody wanted: after `close`,
    /// `abort`, or the peer's end of file.
    ///
    /// The transport knows its names still, and takes no bytes any more.
    fn connection_lost(&self, transport: &Transport, error: Option<io::Error>) {}

    /// More is buffered than the high-water mark allows: whoever writes should wait. Called from within the very
    /// `write`.
    fn pause_writing(&self, transport: &Transport) {}

    /// What is buffered has fallen to the low-water mark. Every `pause_writing` is followed by one such call, unless the
    /// connection is lost before.
    fn resume_writing(&self, transport: &Transport) {}

    /// A protocol that brings its own memory for what comes gives itself here: then `data_received` is not called.
    ///
    /// Asked before every read, so a protocol may change its mind.
    fn buffered(&self) -> Option<&dyn BufferedProtocol> {
        None
    }
}

/// The part of a protocol that receives into memory of its own, which saves a copy of what comes in bulk.
///
/// ```
/// use std::cell::{Cell, RefCell};
/// use callsoon::transport::{BufferedProtocol, Protocol, Transport};
///
/// #[derive(Default)]
/// struct Collect {
///     bytes: RefCell<Vec<u8>>,
///     filled: Cell<usize>,
/// }
///
/// impl Protocol for Collect {
///     fn buffered(&self) -> Option<&dyn BufferedProtocol> {
///         Some(self)
///     }
/// }
///
/// impl BufferedProtocol for Collect {
///     fn get_buffer(&self, _: &Transport, _: usize, receive: &mut dyn FnMut(&mut [u8])) {
///         let mut bytes = self.bytes.borrow_mut();
///         bytes.resize(self.filled.get() + 64, 0);
///         receive(&mut bytes[self.filled.get()..]);
///     }
///     fn buffer_updated(&self, transport: &Transport, count: usize) {
///         self.filled.set(self.filled.get() + count);
///         transport.close();
///     }
/// }
///
/// callsoon::run(async {
///     let (here, there) = std::os::unix::net::UnixStream::pair()?;
///     let event_loop = callsoon::get_running_loop();
///     let (_, collected) = event_loop.connect_accepted_socket(Collect::default, here).await?;
///     std::io::Write::write_all(&mut &there, b"in bulk")?;
///     while collected.filled.get() == 0 {
///         callsoon::yield_now().await;
///     }
///     assert_eq!(collected.bytes.borrow()[..7], *b"in bulk");
///     Ok::<(), std::io::Error>(())
/// }).unwrap().unwrap();
/// ```
pub trait BufferedProtocol {
    /// Lends memory: calls `receive` once, with a buffer that is not empty, and lends it for that call only. `hint` is
    /// how large a buffer is useful at most.
    ///
    /// A protocol that lends nothing has failed, and its connection is aborted.
    fn get_buffer(&self, transport: &Transport, hint: usize, receive: &mut dyn FnMut(&mut [u8]));

    /// The first `count` bytes of the buffer that was lent last have been filled; `count` is not 0.
    fn buffer_updated(&self, transport: &Transport, count: usize);

    /// Nothing came into the buffer that was lent last, which may be given back: nothing was there, or the end, or an error.
    /// By default it does nothing. asyncio has no such call.
    #[allow(
        unused_variables,
        reason = "a default does nothing with what it is given"
    )]
    fn buffer_unused(&self, transport: &Transport) {}
}

impl<P: Protocol + ?Sized> Protocol for Rc<P> {
    fn connection_made(&self, transport: &Transport) {
        (**self).connection_made(transport);
    }

    fn data_received(&self, transport: &Transport, data: &[u8]) {
        (**self).data_received(transport, data);
    }

    fn eof_received(&self, transport: &Transport) -> bool {
        (**self).eof_received(transport)
    }

    fn connection_lost(&self, transport: &Transport, error: Option<io::Error>) {
        (**self).connection_lost(transport, error);
    }

    fn pause_writing(&self, transport: &Transport) {
        (**self).pause_writing(transport);
    }

    fn resume_writing(&self, transport: &Transport) {
        (**self).resume_writing(transport);
    }

    fn buffered(&self) -> Option<&dyn BufferedProtocol> {
        (**self).buffered()
    }
}

/// One end of a connection, for its protocol and whoever else wants to write to it: clone it freely.
///
/// Dropping it changes nothing: the loop keeps the connection until [`close`](Self::close), [`abort`](Self::abort), the
/// peer or an error ends it, or the loop closes. After that every call is without effect.
///
/// ```
/// use callsoon::transport::{Protocol, Transport};
/// struct Greet;
/// impl Protocol for Greet {
///     fn connection_made(&self, transport: &Transport) {
///         transport.write(b"hello\n");
///         transport.close();
///     }
/// }
/// callsoon::run(async {
///     let event_loop = callsoon::get_running_loop();
///     let anywhere: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
///     let server = event_loop.create_server(|| Greet, anywhere).await?;
///     let client = callsoon::net::TcpStream::connect(server.local_addr().unwrap()).await?;
///     let mut greeting = [0; 6];
///     client.read_exact(&mut greeting).await?;
///     assert_eq!(&greeting, b"hello\n");
///     Ok::<(), std::io::Error>(())
/// }).unwrap().unwrap();
/// ```
#[derive(Clone)]
pub struct Transport {
    pub(crate) connection: Rc<Connection>,
}

/// One connection. Owned by its place in the reactor until it is lost.
pub(crate) struct Connection {
    pub(crate) handle: LoopHandle,
    /// The socket; `None` once the connection is lost.
    pub(crate) io: RefCell<Option<Io<StreamSocket>>>,
    /// Whom to call; `None` once the connection is lost.
    pub(crate) protocol: RefCell<Option<Rc<dyn Protocol>>>,
    /// What the system has not taken yet. While it is not empty nothing is sent past it.
    pub(crate) outgoing: RefCell<WriteBuffer>,
    pub(crate) marks: RefCell<WaterMarks>,
    /// Why nothing is read now, if anything holds it up.
    pub(crate) holds: Holds,
    /// The peer has finished writing: there is nothing to deliver any more.
    pub(crate) ended: Cell<bool>,
    /// The program wants no more to be written: the writing side ends when `outgoing` is empty.
    pub(crate) finishing: Cell<bool>,
    /// Nothing is delivered any more; when `outgoing` is empty the connection is lost.
    pub(crate) closing: Cell<bool>,
    /// `connection_lost` is in the line or has been called: nothing is sent any more.
    pub(crate) lost: Cell<bool>,
    /// Lost since a write failed: what the system has received is still delivered.
    pub(crate) delivers_rest: Cell<bool>,
    /// What the write failed with, until reading begins.
    pub(crate) failure: Cell<Option<io::Error>>,
    /// Writes since then.
    pub(crate) writes_refused: Cell<u32>,
    /// A file goes out: what is written waits behind it, and nothing is read.
    pub(crate) sending_file: Cell<bool>,
    pub(crate) file_turn: Cell<Option<Box<FileTurn>>>,
    /// The server's list that this connection is in.
    pub(crate) membership: Cell<Option<Membership>>,
    /// The values of context variables for its callbacks, as they were where it was made.
    pub(crate) context: Option<Context>,
    /// Where the program asked for it.
    pub(crate) location: &'static Location<'static>,
    /// The peer's name, asked once: a peer that is gone has none any more.
    pub(crate) peer: Option<Address>,
}
