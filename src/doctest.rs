//! What the examples of the documentation set up and do not show: a loop, a pair of sockets, a protocol that does nothing.
//!
//! Hidden lines of a doctest begin with one of these functions and end with `Ok(()) });`. Nothing here is for programs, and
//! nothing here keeps its name.

use std::error::Error;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::net::UnixStream;

use crate::event_loop::free::get_running_loop;
use crate::event_loop::owner::EventLoop;
use crate::kernel::loop_handle::LoopHandle;
use crate::net::tcp::{TcpListener, TcpStream};
#[cfg(target_os = "linux")]
use crate::process::command::Command;
#[cfg(target_os = "linux")]
use crate::process::protocol::{SubprocessProtocol, SubprocessTransport};
use crate::stream::open::open_connection;
use crate::stream::reader::StreamReader;
use crate::stream::writer::StreamWriter;
use crate::transport::datagram::datagram_protocol::DatagramProtocol;
use crate::transport::protocol::{Protocol, Transport};

/// What an example ends with.
type Ended = Result<(), Box<dyn Error>>;

/// Some free port of this machine.
#[allow(non_upper_case_globals, reason = "examples use it as a variable")]
pub const anywhere: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A protocol that does nothing.
#[derive(Clone, Copy, Debug)]
pub struct Idle;

impl Protocol for Idle {}

impl DatagramProtocol for Idle {}

#[cfg(target_os = "linux")]
impl SubprocessProtocol for Idle {}

/// Makes a loop of its own.
#[track_caller]
pub fn event_loop() -> EventLoop {
    EventLoop::new().expect("an example needs a loop")
}

/// Runs an example to its end; an error of it fails the example.
#[track_caller]
pub fn run(example: impl Future<Output = Ended>) {
    let ended = crate::runner::run(example).expect("the example was not stopped");
    ended.expect("the example has no error");
}

/// [`run`] for an example that uses the running loop.
#[track_caller]
pub fn with_loop(example: impl AsyncFnOnce(LoopHandle) -> Ended) {
    run(async { example(get_running_loop()).await });
}

/// [`run`] for an example that uses a listener.
#[track_caller]
pub fn with_listener(example: impl AsyncFnOnce(TcpListener) -> Ended) {
    run(async { example(TcpListener::bind(anywhere).await?).await });
}

/// [`run`] for an example that uses both ends of a TCP connection, the client's first.
#[track_caller]
pub fn with_tcp(example: impl AsyncFnOnce(TcpStream, TcpStream) -> Ended) {
    run(async {
        let listener = TcpListener::bind(anywhere).await?;
        let client = TcpStream::connect(listener.local_addr()?).await?;
        let (server, _) = listener.accept().await?;
        example(client, server).await
    });
}

/// [`run`] for an example that uses a stream; the peer's end is a blocking socket.
#[track_caller]
pub fn with_stream(example: impl AsyncFnOnce(StreamReader, StreamWriter, UnixStream) -> Ended) {
    run(async {
        let (here, there) = UnixStream::pair()?;
        let (reader, writer) = open_connection(here).await?;
        example(reader, writer, there).await
    });
}

/// [`run`] for an example that uses a transport; the peer's end is a blocking socket.
#[track_caller]
pub fn with_transport(example: impl AsyncFnOnce(Transport, UnixStream) -> Ended) {
    run(async {
        let (here, there) = UnixStream::pair()?;
        let event_loop = get_running_loop();
        let (transport, _idle) = event_loop.connect_accepted_socket(|| Idle, here).await?;
        example(transport, there).await
    });
}

/// [`run`] for an example that controls a child, which copies its input to its output.
#[cfg(target_os = "linux")]
#[track_caller]
pub fn with_child(example: impl AsyncFnOnce(SubprocessTransport) -> Ended) {
    run(async {
        let starting = get_running_loop().subprocess_exec(|| Idle, Command::new("cat"));
        example(starting.await?.0).await
    });
}

/// Sends this process a signal by its name, as another process does.
pub fn kill(signal: &str) {
    let (signal, own) = (format!("-{signal}"), std::process::id().to_string());
    let killed = std::process::Command::new("kill")
        .args([signal, own])
        .status();
    assert!(killed.expect("an example needs `kill`").success());
}
