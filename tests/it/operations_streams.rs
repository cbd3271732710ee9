//! The public operations of transports, servers, streams, pipes and Unix sockets, as cases.

use std::io::{self, Write as _};
use std::num::NonZeroUsize;
use std::os::unix::net::{UnixListener as StdListener, UnixStream as StdStream};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use callsoon::net::{Unix, UnixDatagram, UnixListener, UnixStream};
use callsoon::stream::{
    ReadError, StreamReader, StreamWriter, open_connection, open_read_pipe, open_unix_connection,
    open_write_pipe, start_server, start_unix_server,
};
use callsoon::transport::{DatagramProtocol, Server, Transport};

use crate::operations::{
    Case, Idle, MUCH, event_loop, folder, keep, know_all_names, later, listening_address, pair,
    refusing_address, say, swallow, table,
};
use crate::support::{Scratch, loopback, pipe};

/// A path at which nothing is.
fn path() -> io::Result<PathBuf> {
    static SERIAL: AtomicU32 = AtomicU32::new(0);
    std::fs::create_dir_all(folder())?;
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    Ok(folder().join(format!("socket-{serial}")))
}

/// A socket's file, which goes with the case.
struct Place(PathBuf);

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A listener at a path that stays open, and whose backlog takes the connection.
fn at_a_path() -> io::Result<PathBuf> {
    let path = path()?;
    keep(Place(path.clone()));
    keep(StdListener::bind(&path)?);
    Ok(path)
}

impl DatagramProtocol<Unix> for Idle {}

/// A timer that goes with its case.
struct Timer(callsoon::TimerHandle);

impl Drop for Timer {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

pub(crate) fn more_cases() -> Vec<Case> {
    let mut all = of_unix();
    all.extend(of_transports());
    all.extend(of_servers());
    all.extend(of_opening());
    all.extend(of_reading());
    all.extend(of_writing());
    all
}

fn of_unix() -> Vec<Case> {
    table! {
        "UnixStream::connect" => {
            let path = at_a_path()?;
            async move { UnixStream::connect(&path).await.map(drop) }
        }
        "UnixStream::connect to a full backlog" => {
            let place = Place(path()?);
            let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
            socket.bind(&socket2::SockAddr::unix(&place.0)?)?;
            socket.listen(0)?;
            let first = StdStream::connect(&place.0)?;
            let here = Rc::new(socket);
            let busy = Rc::clone(&here);
            let pause = Duration::from_millis(20);
            let accepting = event_loop().call_later(pause, move || drop((first, busy.accept())));
            let accepting = Timer(accepting);
            async move {
                let connected = UnixStream::connect(&place.0).await;
                drop((accepting, here));
                connected.map(drop)
            }
        }
        "UnixListener::bind" => {
            let path = path()?;
            async move { UnixListener::bind(&path).await.map(drop) }
        }
        "UnixListener::accept" => {
            let path = path()?;
            let listener = UnixListener::bind(&path).await?;
            later(move || drop(StdStream::connect(path)));
            async move { listener.accept().await.map(drop) }
        }
        "UnixStream::read_exact" => {
            let (ours, peer) = StdStream::pair()?;
            say(peer, &[b"on", b"e word"]);
            let ours = UnixStream::from_std(ours)?;
            async move { ours.read_exact(&mut [0; 8]).await }
        }
        "UnixDatagram::bind" => {
            let path = path()?;
            async move { UnixDatagram::bind(&path).await.map(drop) }
        }
        "UnixDatagram::connect" => {
            let there = Place(path()?);
            let peer = std::os::unix::net::UnixDatagram::bind(&there.0)?;
            let ours = UnixDatagram::unbound()?;
            async move {
                let connected = ours.connect(&there.0).await;
                drop(peer);
                connected
            }
        }
        "UnixDatagram::send to one who is slow" => {
            let (ours, slow) = std::os::unix::net::UnixDatagram::pair()?;
            slow.set_nonblocking(true)?;
            let (ours, slow) = (UnixDatagram::from_std(ours)?, Rc::new(slow));
            while ours.try_send(&[0; 1000]).is_ok() {}
            let reading = Rc::clone(&slow);
            later(move || while reading.recv(&mut [0; 1000]).is_ok() {});
            async move {
                let sent = ours.send(b"datagram").await;
                drop(slow);
                sent.map(drop)
            }
        }
        "UnixDatagram::recv_from" => {
            let (ours, peer) = std::os::unix::net::UnixDatagram::pair()?;
            let ours = UnixDatagram::from_std(ours)?;
            later(move || drop(peer.send(b"datagram")));
            async move { ours.recv_from(&mut [0; 16]).await.map(drop) }
        }
    }
}

/// Ends what an operation has opened.
fn end<P>((transport, _): (Transport, P)) {
    transport.abort();
}

fn of_transports() -> Vec<Case> {
    table! {
        "create_connection" => {
            let address = listening_address()?;
            async move { event_loop().create_connection(|| Idle, address).await.map(end) }
        }
        "create_connection to the second of two, from an address of one's own" => {
            let addresses = vec![refusing_address()?, listening_address()?];
            async move {
                let connecting = event_loop().create_connection(|| Idle, addresses);
                connecting.local_addr(loopback()).await.map(end)
            }
        }
        "create_connection by name" => {
            let to = ("some.host", listening_address()?.port());
            know_all_names();
            async move { event_loop().create_connection(|| Idle, to).await.map(end) }
        }
        "create_connection of a socket" => {
            let (ours, peer) = pair()?;
            keep(peer);
            async move { event_loop().create_connection(|| Idle, ours).await.map(end) }
        }
        "connect_accepted_socket" => {
            let (ours, peer) = pair()?;
            keep(peer);
            async move { event_loop().connect_accepted_socket(|| Idle, ours).await.map(end) }
        }
        "create_unix_connection" => {
            let path = at_a_path()?;
            async move { event_loop().create_unix_connection(|| Idle, &path).await.map(end) }
        }
        "connect_read_pipe" => {
            let (come, go) = pipe()?;
            keep(go);
            async move { event_loop().connect_read_pipe(|| Idle, come).await.map(end) }
        }
        "connect_write_pipe" => {
            let (come, go) = pipe()?;
            keep(come);
            async move { event_loop().connect_write_pipe(|| Idle, go).await.map(end) }
        }
        "LoopHandle::sendfile" => {
            let (ours, peer) = pair()?;
            swallow(peer);
            let scratch = Scratch::new(&vec![7; MUCH]);
            let made = event_loop().connect_accepted_socket(|| Idle, ours).await?;
            let transport = Closed(made.0);
            async move {
                let handle = event_loop();
                let sent = handle.sendfile(&transport.0, &scratch.file, 0, None);
                sent.await.map(drop)
            }
        }
        "create_datagram_endpoint_on" => {
            let (ours, peer) = std::os::unix::net::UnixDatagram::pair()?;
            keep(peer);
            let ours = UnixDatagram::from_std(ours)?;
            async move {
                event_loop().create_datagram_endpoint_on(ours, || Idle).0.close();
                Ok(())
            }
        }
    }
}

/// A transport that goes with its case.
struct Closed(Transport);

impl Drop for Closed {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A server with a client that stays connected.
async fn served() -> io::Result<(Server, std::net::TcpStream)> {
    let server = event_loop().create_server(|| Idle, loopback()).await?;
    let address = server.local_addr().ok_or(io::ErrorKind::NotFound)?;
    Ok((server, std::net::TcpStream::connect(address)?))
}

fn of_servers() -> Vec<Case> {
    table! {
        "create_server" => {
            async {
                let both = vec![loopback(), std::net::SocketAddr::from(([127, 0, 0, 2], 0))];
                event_loop().create_server(|| Idle, both).await.map(drop)
            }
        }
        "create_server by name" => {
            know_all_names();
            async { event_loop().create_server(|| Idle, ("some.host", 0)).await.map(drop) }
        }
        "create_unix_server" => {
            let path = path()?;
            async move { event_loop().create_unix_server(|| Idle, &path).await.map(drop) }
        }
        "Server::serve_forever" => {
            let (server, client) = served().await?;
            later(move || drop(client));
            async move {
                // `serve_forever` lasts as long as it is polled.
                let _ = callsoon::move_on_after(Duration::from_millis(20), server.serve_forever()).await;
                server.abort_clients();
                Ok(())
            }
        }
        "Server::wait_closed" => {
            let (server, client) = served().await?;
            later(move || drop(client));
            async move {
                server.close();
                server.wait_closed().await;
                Ok(())
            }
        }
        "Server::shutdown" => {
            let (server, client) = served().await?;
            async move {
                server.shutdown(Duration::from_millis(5)).await;
                drop(client);
                Ok(())
            }
        }
    }
}

async fn nothing(_: StreamReader, _: StreamWriter) {}

fn of_opening() -> Vec<Case> {
    table! {
        "open_connection" => {
            let address = listening_address()?;
            async move { open_connection(address).await.map(drop) }
        }
        "open_unix_connection" => {
            let path = at_a_path()?;
            async move { open_unix_connection(&path).await.map(drop) }
        }
        "start_server" => { async { start_server(nothing, loopback()).await.map(drop) } }
        "start_unix_server" => {
            let path = path()?;
            async move { start_unix_server(nothing, &path).await.map(drop) }
        }
        "open_read_pipe" => {
            let (come, go) = pipe()?;
            keep(go);
            async move { open_read_pipe(come).await.map(drop) }
        }
        "open_write_pipe" => {
            let (come, go) = pipe()?;
            keep(come);
            async move { open_write_pipe(go).await.map(drop) }
        }
    }
}

/// The two ends of a stream to which its peer says something.
async fn spoken_to(words: &'static [&'static [u8]]) -> io::Result<(StreamReader, StreamWriter)> {
    let (ours, peer) = pair()?;
    let limit = NonZeroUsize::new(64).unwrap_or(NonZeroUsize::MIN);
    let opened = open_connection(ours).limit(limit).await?;
    say(peer, words);
    Ok(opened)
}

fn plain(error: ReadError) -> io::Error {
    error.into()
}

fn of_reading() -> Vec<Case> {
    table! {
        "StreamReader::read" => {
            let (mut reader, writer) = spoken_to(&[b"word"]).await?;
            async move { and(reader.read(16).await.map(drop), writer) }
        }
        "StreamReader::read_into" => {
            let (mut reader, writer) = spoken_to(&[b"word"]).await?;
            async move { and(reader.read_into(&mut [0; 16]).await.map(drop), writer) }
        }
        "StreamReader::read_to_end" => {
            let (mut reader, writer) = spoken_to(&[b"wo", b"rd"]).await?;
            async move { and(reader.read_to_end().await.map(drop), writer) }
        }
        "StreamReader::readexactly" => {
            let (mut reader, writer) = spoken_to(&[b"on", b"e w", b"ord"]).await?;
            async move { and(reader.readexactly(8).await.map(drop).map_err(plain), writer) }
        }
        "StreamReader::readline" => {
            let (mut reader, writer) = spoken_to(&[b"a li", b"ne\n"]).await?;
            async move { and(reader.readline().await.map(drop).map_err(plain), writer) }
        }
        "StreamReader::readuntil_any" => {
            let (mut reader, writer) = spoken_to(&[b"a li", b"ne;"]).await?;
            async move {
                let came = reader.readuntil_any(&[b"\n", b";"]).await;
                and(came.map(drop).map_err(plain), writer)
            }
        }
    }
}

/// The outcome of an operation. What the operation needed is dropped now and not earlier.
fn and<R, N>(result: R, _needed: N) -> R {
    result
}

async fn with_reading_peer() -> io::Result<(StreamReader, StreamWriter)> {
    let (ours, peer) = pair()?;
    swallow(peer);
    open_connection(ours).await
}

fn of_writing() -> Vec<Case> {
    table! {
        "StreamWriter::drain" => {
            let (reader, writer) = with_reading_peer().await?;
            async move {
                writer.write(vec![0; MUCH]);
                let drained = writer.drain().await;
                drop(reader);
                writer.transport().abort();
                drained
            }
        }
        "StreamWriter::wait_closed" => {
            let (reader, writer) = with_reading_peer().await?;
            async move {
                writer.write(vec![0; MUCH]);
                writer.close();
                let closed = writer.wait_closed().await;
                drop(reader);
                closed
            }
        }
        "StreamWriter::sendfile" => {
            let (reader, writer) = with_reading_peer().await?;
            let scratch = Scratch::new(&vec![7; MUCH]);
            async move {
                let sent = writer.sendfile(&scratch.file, 0, None).await;
                drop(reader);
                sent.map(drop)
            }
        }
        "drain of a pipe" => {
            let (mut come, go) = pipe()?;
            let writer = open_write_pipe(go).await?;
            std::thread::spawn(move || io::copy(&mut come, &mut io::sink()));
            async move {
                writer.write(vec![0; MUCH]);
                writer.drain().await
            }
        }
        "a line through a pipe" => {
            let (come, mut go) = pipe()?;
            let mut reader = open_read_pipe(come).await?;
            later(move || drop(go.write_all(b"line\n")));
            async move { reader.readline().await.map(drop).map_err(plain) }
        }
    }
}
