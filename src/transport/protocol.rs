//! What a program writes, a protocol, and what its callbacks are given, a transport.
//!
//! The two name each other, so they are declared here together. The methods of a transport are in `transport.rs`.

use std::any::Any;
use std::fmt;
use std::io;
use std::rc::Rc;

use crate::kernel::callee::Reported;
use crate::kernel::report::ExceptionContext;
use crate::transport::connection::{Connection, State};

/// What a program does with a connection. Every method does nothing by default.
///
/// The [module](crate::transport) says in which order they are called. They run from the ready queue, like callbacks.
/// A panic in one goes to the exception handler and ends the connection; a panic in
/// [`pause_writing`](Self::pause_writing) or [`resume_writing`](Self::resume_writing) does not end it.
///
/// Unlike asyncio's, every method is given the transport, and takes `&self`: a call into a transport may call the
/// protocol back.
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
    /// Begins the connection. The first call, and the only one of its kind.
    fn connection_made(&self, transport: &Transport) {}

    /// Takes bytes that have arrived, at least one. Where they are cut says nothing: TCP knows no messages.
    ///
    /// The bytes lie in a buffer that all connections of the loop share, so a protocol copies what it keeps.
    fn data_received(&self, transport: &Transport, data: &[u8]) {}

    /// Notes that the peer has finished writing. `true` keeps this side open for writing; `false`, which is the
    /// default, closes the transport. A transport that was kept open stays so when its own writing side has ended
    /// too: the program has to `close` it. Over TLS the transport closes in either case, as in asyncio:
    /// at once after `false`, and after what is queued by then after `true`.
    fn eof_received(&self, transport: &Transport) -> bool {
        false
    }

    /// Ends the connection: the last call. `error` is `None` after `close`, `abort`, or the peer's end of file.
    ///
    /// The transport still knows its names, and drops what is written to it.
    fn connection_lost(&self, transport: &Transport, error: Option<io::Error>) {}

    /// Asks the program to stop writing: more is buffered than the high-water mark. Called from within the very
    /// `write`.
    fn pause_writing(&self, transport: &Transport) {}

    /// Asks the program to go on writing: no more is buffered than the low-water mark. Every `pause_writing` is
    /// followed by one such call, unless the connection is lost before.
    fn resume_writing(&self, transport: &Transport) {}

    /// Returns the protocol itself if it brings its own memory. Then `data_received` is not called. asyncio
    /// distinguishes by type instead.
    ///
    /// Called before every read, so a protocol may change its mind.
    fn buffered(&self) -> Option<&dyn BufferedProtocol> {
        None
    }
}

/// The part of a protocol that receives into its own memory, which saves a copy of data in bulk.
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
    /// Lends memory: calls `receive` once, with a buffer that is not empty, and lends it for that call only, where
    /// asyncio's returns it. `hint` is the largest size that is of use.
    ///
    /// If a protocol lends nothing, its connection is aborted, and the exception handler is told.
    fn get_buffer(&self, transport: &Transport, hint: usize, receive: &mut dyn FnMut(&mut [u8]));

    /// Takes the first `count` bytes of the buffer that was lent last. `count` is not 0.
    fn buffer_updated(&self, transport: &Transport, count: usize);

    /// Takes back the buffer that was lent last, since nothing was received: there was nothing, or the end, or an
    /// error. Does nothing by default. asyncio has no such call.
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

/// One end of a connection, for its protocol and for the rest of the program. Clone it freely.
///
/// Dropping it changes nothing: the loop keeps the connection until [`close`](Self::close), [`abort`](Self::abort),
/// the peer or an error ends it, or the loop closes. After that no call has an effect.
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
    pub(crate) connection: Rc<Connection<dyn Protocol>>,
}

impl Reported for Transport {
    #[cold]
    fn reported(&self) -> Rc<dyn Any> {
        Rc::new(self.clone())
    }
}

impl ExceptionContext {
    /// Returns the transport that the report is about: its protocol has panicked or lent no buffer, it was written to
    /// after `write_eof`, or the function that serves it as a stream has failed.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// event_loop.set_exception_handler(|_, context| {
    ///     if let Some(transport) = context.transport() {
    ///         eprintln!("{:?}: {context}", transport.peername());
    ///     }
    /// });
    /// ```
    pub fn transport(&self) -> Option<&Transport> {
        self.about_transport.as_ref()?.downcast_ref()
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport")
            .field("peername", &self.connection.peer)
            .field("closing", &self.connection.has_reached(State::Closing))
            .field("over", &self.connection.is(State::Closed))
            .field("buffered", &self.connection.buffered())
            .finish()
    }
}
