//! Every public operation of the network as a case: its preparation, and then the operation itself.
//!
//! The tests that run the cases drop them at each wait, take descriptors away, or have system calls fail. So what a
//! case sets up may fail, too, and a peer that could not do its part closes its end instead of staying silent.

use std::any::Any;
use std::cell::RefCell;
use std::future::Future;
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::path::PathBuf;
use std::pin::Pin;

use callsoon::net::{TcpListener, TcpStream, UdpSocket};
use callsoon::transport::{DatagramProtocol, Protocol};
use callsoon::{LoopHandle, get_running_loop, yield_now};
use socket2::{Domain, Socket, Type};

use crate::support::{Patience, Scratch, counted_fds, loopback};

/// An operation, ready to be polled.
pub(crate) type Operation = Pin<Box<dyn Future<Output = io::Result<()>>>>;

type Setup = Pin<Box<dyn Future<Output = io::Result<Operation>>>>;

/// One operation and what it needs.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) begin: fn() -> Setup,
}

/// Writes cases down: a name, and a block that sets up and gives the operation as a future.
macro_rules! cases {
    ($($name:literal => $body:block)*) => {
        vec![$($crate::operations::Case {
            name: $name,
            begin: || Box::pin(async {
                let operation = $body;
                Ok::<$crate::operations::Operation, std::io::Error>(Box::pin(operation))
            }),
        }),*]
    };
}
pub(crate) use cases as table;

/// The folder in which every path of a case lies.
pub(crate) fn folder() -> PathBuf {
    std::env::temp_dir().join(format!("callsoon-operations-{}", std::process::id()))
}

/// What the loop and the process hold: descriptors, sources, tasks, timers, and files in the folder of the cases.
pub(crate) type Holdings = (usize, usize, usize, usize, usize);

pub(crate) fn holdings() -> Holdings {
    let metrics = get_running_loop().metrics();
    let files = std::fs::read_dir(folder()).map_or(0, Iterator::count);
    (
        counted_fds(),
        metrics.sources,
        metrics.tasks,
        metrics.timers,
        files,
    )
}

/// Lets the loop turn until it holds what it held before, and not more: while the operation's peers are still there,
/// and when they are gone.
pub(crate) async fn settle(name: &str, before: Holdings) {
    let of_loop = |(_, sources, tasks, timers, _): Holdings| (sources, tasks, timers);
    settle_until(name, before, |now| of_loop(now) == of_loop(before)).await;
    let peers = PEERS.take();
    drop(peers);
    settle_until(name, before, |now| now == before).await;
}

async fn settle_until(name: &str, before: Holdings, is_so: impl Fn(Holdings) -> bool) {
    let mut patience = Patience::new();
    while !is_so(holdings()) {
        assert!(
            patience.lets_others_run(),
            "{name} leaves {:?} instead of {before:?}",
            holdings()
        );
        yield_now().await;
    }
}

/// A protocol that does nothing.
pub(crate) struct Idle;

impl Protocol for Idle {}
impl DatagramProtocol for Idle {}

/// More than the buffers of a connection take.
pub(crate) const MUCH: usize = 8 << 20;

pub(crate) fn event_loop() -> LoopHandle {
    get_running_loop()
}

/// Calls a closure in a later turn of the loop.
pub(crate) fn later(f: impl FnOnce() + 'static) {
    let handle = event_loop();
    handle.clone().call_soon(move || {
        handle.call_soon(f);
    });
}

/// Two connected sockets in blocking mode.
pub(crate) fn pair() -> io::Result<(StdStream, StdStream)> {
    let listener = StdListener::bind(loopback())?;
    let one = StdStream::connect(listener.local_addr()?)?;
    let (other, _) = listener.accept()?;
    Ok((one, other))
}

/// Has a peer send these words one after the other, each in a turn of its own, and close.
pub(crate) fn say(mut peer: impl io::Write + 'static, words: &'static [&'static [u8]]) {
    later(move || {
        if let [first, rest @ ..] = words {
            if peer.write_all(first).is_ok() {
                say(peer, rest);
            }
        }
    });
}

/// Has the peer read until the end, on a thread of its own.
pub(crate) fn swallow(mut peer: StdStream) {
    std::thread::spawn(move || io::copy(&mut peer, &mut io::sink()));
}

/// A stream to which its peer says something.
fn spoken_to(words: &'static [&'static [u8]]) -> io::Result<TcpStream> {
    let (ours, peer) = pair()?;
    say(peer, words);
    TcpStream::from_std(ours)
}

/// A stream whose peer reads all that comes.
fn with_reading_peer() -> io::Result<TcpStream> {
    let (ours, peer) = pair()?;
    swallow(peer);
    TcpStream::from_std(ours)
}

/// An address at which no socket listens.
pub(crate) fn refusing_address() -> io::Result<SocketAddr> {
    StdListener::bind(loopback())?.local_addr()
}

thread_local! {
    static PEERS: RefCell<Vec<Box<dyn Any>>> = const { RefCell::new(Vec::new()) };
}

/// Keeps a peer open until nothing of the operation is left: its end must not be what ends the operation.
pub(crate) fn keep(peer: impl Any) {
    PEERS.with_borrow_mut(|peers| peers.push(Box::new(peer)));
}

/// The address of a listener that stays open, and whose backlog takes the connection.
pub(crate) fn listening_address() -> io::Result<SocketAddr> {
    let listener = StdListener::bind(loopback())?;
    let address = listener.local_addr()?;
    keep(listener);
    Ok(address)
}

/// Resolves every name to this machine.
pub(crate) fn know_all_names() {
    event_loop().set_resolver(|_| Ok(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]));
}

pub(crate) fn cases() -> Vec<Case> {
    let mut all = of_tcp();
    all.extend(of_udp());
    all.extend(of_names());
    all.extend(of_plain_sockets());
    all
}

fn of_tcp() -> Vec<Case> {
    table! {
        "TcpStream::connect" => {
            let address = listening_address()?;
            async move { TcpStream::connect(address).await.map(drop) }
        }
        "TcpStream::connect to the second of two" => {
            let addresses = vec![refusing_address()?, listening_address()?];
            async move { TcpStream::connect(addresses).await.map(drop) }
        }
        "TcpStream::connect by name" => {
            let port = listening_address()?.port();
            know_all_names();
            async move { TcpStream::connect(("some.host", port)).await.map(drop) }
        }
        "TcpListener::bind" => { async { TcpListener::bind(loopback()).await.map(drop) } }
        "TcpListener::bind by name" => {
            know_all_names();
            async { TcpListener::bind(("some.host", 0)).await.map(drop) }
        }
        "TcpListener::accept of one who is there" => {
            let listener = TcpListener::bind(loopback()).await?;
            keep(StdStream::connect(listener.local_addr()?)?);
            async move { listener.accept().await.map(drop) }
        }
        "TcpListener::accept of one who comes" => {
            let listener = TcpListener::bind(loopback()).await?;
            let address = listener.local_addr()?;
            let client = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            later(move || drop(client.connect(&address.into())));
            async move { listener.accept().await.map(drop) }
        }
        "TcpStream::read" => {
            let stream = spoken_to(&[b"word"])?;
            async move { stream.read(&mut [0; 16]).await.map(drop) }
        }
        "TcpStream::read_vectored" => {
            let stream = spoken_to(&[b"word"])?;
            async move {
                let mut buffer = [0; 16];
                let mut buffers = [io::IoSliceMut::new(&mut buffer)];
                stream.read_vectored(&mut buffers).await.map(drop)
            }
        }
        "TcpStream::peek" => {
            let stream = spoken_to(&[b"word"])?;
            async move { stream.peek(&mut [0; 16]).await.map(drop) }
        }
        "TcpStream::read_exact" => {
            let stream = spoken_to(&[b"on", b"e w", b"ord"])?;
            async move { stream.read_exact(&mut [0; 8]).await }
        }
        "TcpStream::readable" => {
            let stream = spoken_to(&[b"word"])?;
            async move { stream.readable().await }
        }
        "TcpStream::write_all" => {
            let stream = with_reading_peer()?;
            async move { stream.write_all(&vec![0; MUCH]).await }
        }
        "TcpStream::write_all_vectored" => {
            let stream = with_reading_peer()?;
            async move {
                let much = vec![0; MUCH];
                let mut pieces = [io::IoSlice::new(b"first"), io::IoSlice::new(&much)];
                stream.write_all_vectored(&mut pieces).await
            }
        }
        "TcpStream::writable" => {
            let (ours, peer) = pair()?;
            let stream = TcpStream::from_std(ours)?;
            while stream.try_write(&[0; 4096]).is_ok() {}
            later(move || swallow(peer));
            async move { stream.writable().await }
        }
        "OwnedReadHalf::read_exact" => {
            let (read, write) = spoken_to(&[b"on", b"e word"])?.into_split();
            async move {
                let came = read.read_exact(&mut [0; 8]).await;
                drop(write);
                came
            }
        }
        "OwnedWriteHalf::write_all" => {
            let (read, write) = with_reading_peer()?.into_split();
            async move {
                let sent = write.write_all(&vec![0; MUCH]).await;
                drop(read);
                sent
            }
        }
        "TcpStream::sendfile" => {
            let stream = with_reading_peer()?;
            let scratch = Scratch::new(&vec![7; MUCH]);
            async move { stream.sendfile(&scratch.file, 0, None).await.map(drop) }
        }
    }
}

/// Two UDP sockets that are connected to each other; one is the loop's.
async fn udp_pair() -> io::Result<(UdpSocket, std::net::UdpSocket)> {
    let ours = UdpSocket::bind(loopback()).await?;
    let peer = std::net::UdpSocket::bind(loopback())?;
    peer.connect(ours.local_addr()?)?;
    ours.connect(peer.local_addr()?).await?;
    Ok((ours, peer))
}

/// A UDP socket to which its peer sends a datagram.
async fn sent_to() -> io::Result<UdpSocket> {
    let (ours, peer) = udp_pair().await?;
    later(move || drop(peer.send(b"datagram")));
    Ok(ours)
}

fn of_udp() -> Vec<Case> {
    table! {
        "UdpSocket::bind" => { async { UdpSocket::bind(loopback()).await.map(drop) } }
        "UdpSocket::bind by name" => {
            know_all_names();
            async { UdpSocket::bind(("some.host", 0)).await.map(drop) }
        }
        "UdpSocket::connect" => {
            let (ours, peer) = udp_pair().await?;
            let address = peer.local_addr()?;
            async move { ours.connect(address).await }
        }
        "UdpSocket::send" => {
            let (ours, peer) = udp_pair().await?;
            keep(peer);
            async move { ours.send(b"datagram").await.map(drop) }
        }
        "UdpSocket::send_to" => {
            let ours = UdpSocket::bind(loopback()).await?;
            let to = ours.local_addr()?;
            async move { ours.send_to(b"datagram", to).await.map(drop) }
        }
        "UdpSocket::connect by name" => {
            let (ours, peer) = udp_pair().await?;
            let port = peer.local_addr()?.port();
            know_all_names();
            async move { ours.connect(("some.host", port)).await }
        }
        "UdpSocket::send_to by name" => {
            let ours = UdpSocket::bind(loopback()).await?;
            let port = ours.local_addr()?.port();
            know_all_names();
            async move { ours.send_to(b"datagram", ("some.host", port)).await.map(drop) }
        }
        "UdpSocket::recv" => {
            let ours = sent_to().await?;
            async move { ours.recv(&mut [0; 16]).await.map(drop) }
        }
        "UdpSocket::recv_from" => {
            let ours = sent_to().await?;
            async move { ours.recv_from(&mut [0; 16]).await.map(drop) }
        }
        "UdpSocket::peek" => {
            let ours = sent_to().await?;
            async move { ours.peek(&mut [0; 16]).await.map(drop) }
        }
        "UdpSocket::peek_from" => {
            let ours = sent_to().await?;
            async move { ours.peek_from(&mut [0; 16]).await.map(drop) }
        }
        "UdpSocket::readable" => {
            let ours = sent_to().await?;
            async move { ours.readable().await }
        }
        "create_datagram_endpoint" => {
            async {
                let endpoint = event_loop().create_datagram_endpoint(|| Idle);
                let endpoint = endpoint.local_addr(loopback()).remote_addr("127.0.0.1:9");
                endpoint.await.map(|(transport, _)| transport.close())
            }
        }
        "create_datagram_endpoint by name" => {
            know_all_names();
            async {
                let endpoint = event_loop().create_datagram_endpoint(|| Idle);
                let endpoint = endpoint.remote_addr(("some.host", 9));
                endpoint.await.map(|(transport, _)| transport.close())
            }
        }
    }
}

fn of_names() -> Vec<Case> {
    table! {
        "lookup_host" => {
            know_all_names();
            async { callsoon::net::lookup_host(("some.host", 80)).await.map(drop) }
        }
        "getaddrinfo" => {
            async {
                let (handle, hints) = (event_loop(), callsoon::net::AddrInfoHints::default());
                let found = handle.getaddrinfo(Some("localhost"), Some("80"), hints);
                found.await.map(drop)
            }
        }
        "getnameinfo" => {
            async {
                let address = SocketAddr::from(([127, 0, 0, 1], 80)).into();
                event_loop().getnameinfo(&address, 0).await.map(drop)
            }
        }
    }
}

/// A socket that the user keeps, and its peer.
fn plain_pair() -> io::Result<(Socket, StdStream)> {
    let (ours, peer) = pair()?;
    ours.set_nonblocking(true)?;
    Ok((ours.into(), peer))
}

/// Two datagram sockets; the first, which the user keeps, is sent a datagram by the second.
fn plain_datagram() -> io::Result<Socket> {
    let ours = std::net::UdpSocket::bind(loopback())?;
    ours.set_nonblocking(true)?;
    let peer = std::net::UdpSocket::bind(loopback())?;
    let to = ours.local_addr()?;
    later(move || drop(peer.send_to(b"datagram", to)));
    Ok(ours.into())
}

fn unconnected() -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn of_plain_sockets() -> Vec<Case> {
    table! {
        "sock_recv" => {
            let (ours, peer) = plain_pair()?;
            say(peer, &[b"word"]);
            async move { event_loop().sock_recv(&ours, 16).await.map(drop) }
        }
        "sock_recv_into" => {
            let (ours, peer) = plain_pair()?;
            say(peer, &[b"word"]);
            async move { event_loop().sock_recv_into(&ours, &mut [0; 16]).await.map(drop) }
        }
        "sock_recvfrom" => {
            let ours = plain_datagram()?;
            async move { event_loop().sock_recvfrom(&ours, 16).await.map(drop) }
        }
        "sock_recvfrom_into" => {
            let ours = plain_datagram()?;
            async move { event_loop().sock_recvfrom_into(&ours, &mut [0; 16]).await.map(drop) }
        }
        "sock_sendall" => {
            let (ours, peer) = plain_pair()?;
            swallow(peer);
            async move { event_loop().sock_sendall(&ours, &vec![0; MUCH]).await }
        }
        "sock_sendto" => {
            let ours = plain_datagram()?;
            let to = ours.local_addr()?;
            async move { event_loop().sock_sendto(&ours, b"datagram", &to).await.map(drop) }
        }
        "sock_connect" => {
            let address = listening_address()?.into();
            let ours = unconnected()?;
            async move { event_loop().sock_connect(&ours, &address).await }
        }
        "sock_accept" => {
            let listener = StdListener::bind(loopback())?;
            let address = listener.local_addr()?;
            listener.set_nonblocking(true)?;
            let client = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            later(move || drop(client.connect(&address.into())));
            let listener = Socket::from(listener);
            async move { event_loop().sock_accept(&listener).await.map(drop) }
        }
        "sock_sendfile" => {
            let (ours, peer) = plain_pair()?;
            swallow(peer);
            let scratch = Scratch::new(&vec![7; MUCH]);
            async move {
                let handle = event_loop();
                let sent = handle.sock_sendfile(&ours, &scratch.file, 0, None);
                sent.await.map(drop)
            }
        }
        "AsyncFd::readable" => {
            let (ours, peer) = pair()?;
            say(peer, &[b"word"]);
            let ours = callsoon::AsyncFd::new(ours)?;
            async move { ours.readable().await.map(drop) }
        }
        "AsyncFd::read_with" => {
            let (ours, peer) = pair()?;
            say(peer, &[b"word"]);
            let ours = callsoon::AsyncFd::new(ours)?;
            async move {
                let read = |mut socket: &StdStream| io::Read::read(&mut socket, &mut [0; 16]);
                ours.read_with(read).await.map(drop)
            }
        }
        "AsyncFd::write_with" => {
            let (ours, peer) = pair()?;
            swallow(peer);
            let ours = callsoon::AsyncFd::new(ours)?;
            async move {
                for _ in 0..MUCH >> 16 {
                    let write = |mut socket: &StdStream| socket.write(&[0; 1 << 16]);
                    ours.write_with(write).await?;
                }
                Ok(())
            }
        }
    }
}
