//! Peers of Unix sockets under every name that the system lets them have.
//!
//! A path may fill `sun_path` to its last byte, without the NUL byte that usually ends it. The kernel then reports a
//! length beyond the address's type. A client chooses that name, so no server may fail because of it.

#![allow(unsafe_code)]

use std::cell::Cell;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram as StdDatagram, UnixStream as StdStream};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use callsoon::net::{Unix, UnixDatagram, UnixListener, UnixStream};
use callsoon::transport::{DatagramProtocol, DatagramTransport, Protocol, Transport};
use callsoon::{get_running_loop, start_unix_server};
use socket2::{Domain, Socket, Type};

use crate::support::{Trace, at_a_new_path, settling, until};

/// How many bytes `sun_path` holds.
const FULL: usize = 108;

/// A folder of the test's own, which goes with it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let (path, ()) = at_a_new_path("peers", |path| std::fs::create_dir(path));
        Self(path)
    }

    /// A path in it of so many bytes.
    fn path(&self, length: usize) -> PathBuf {
        let name = "n".repeat(length - self.0.as_os_str().len() - 1);
        self.0.join(name)
    }

    fn server(&self) -> PathBuf {
        self.0.join("s")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn raw_address(name: &[u8]) -> (libc::sockaddr_un, libc::socklen_t) {
    // SAFETY: zeros are a valid address.
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    for (place, byte) in address.sun_path.iter_mut().zip(name) {
        *place = *byte as libc::c_char;
    }
    (address, (2 + name.len()) as libc::socklen_t)
}

/// `bind(2)` without a NUL byte at the end.
fn bind(socket: BorrowedFd<'_>, name: &[u8]) {
    let (address, length) = raw_address(name);
    // SAFETY: `address` is initialised and at least as long as is said.
    let result = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

/// A socket with this name.
fn named(kind: Type, name: &[u8]) -> Socket {
    use std::os::fd::AsFd as _;
    let socket = Socket::new(Domain::UNIX, kind, None).unwrap();
    bind(socket.as_fd(), name);
    socket
}

/// A client with this name of the server at a path.
fn client(name: &[u8], server: &Path) -> StdStream {
    let socket = named(Type::STREAM, name);
    socket
        .connect(&socket2::SockAddr::unix(server).unwrap())
        .unwrap();
    StdStream::from(std::os::fd::OwnedFd::from(socket))
}

/// Paths of every length up to the longest, and an abstract name; each with what a server is to call it.
fn names(folder: &Folder) -> Vec<(Vec<u8>, String)> {
    let mut names = Vec::new();
    for length in [FULL - 2, FULL - 1, FULL] {
        let path = folder.path(length).into_os_string().into_encoded_bytes();
        let text = String::from_utf8(path.clone()).unwrap();
        names.push((path, text));
    }
    let name = format!("callsoon-peer-{}", std::process::id());
    let full = format!("{name:x<width$}", width = FULL - 1);
    for name in [name, full] {
        names.push((format!("\0{name}").into_bytes(), format!("@{name}")));
    }
    names
}

/// What the standard library's form says.
fn text(address: &SocketAddr) -> String {
    match (address.as_pathname(), address.as_abstract_name()) {
        (Some(path), _) => path.display().to_string(),
        (None, Some(name)) => format!("@{}", name.escape_ascii()),
        (None, None) => "unnamed".to_owned(),
    }
}

struct Greeter(Trace);

impl Protocol for Greeter {
    fn connection_made(&self, transport: &Transport) {
        let peer = transport.peername();
        self.0
            .push(peer.map_or("none".to_owned(), |peer| peer.to_string()));
        transport.write(b"!");
        transport.close();
    }
}

struct Idle;

impl Protocol for Idle {}

#[test]
fn a_client_whose_path_fills_the_address_does_not_end_a_server() {
    settling(async |event_loop, trace| {
        let folder = Folder::new();
        let greeter = trace.clone();
        let server = event_loop
            .create_unix_server(move || Greeter(greeter.clone()), folder.server())
            .await
            .unwrap();
        for (name, expected) in names(&folder) {
            let client = client(&name, &folder.server());
            client.set_nonblocking(true).unwrap();
            until(|| (&client).read(&mut [0; 1]).is_ok()).await;
            trace.expect([expected.as_str()]);
        }
        server.close();
        server.wait_closed().await;
    });
}

#[test]
fn a_listener_names_clients_by_paths_of_every_length_and_by_abstract_names() {
    settling(async |_, _| {
        let folder = Folder::new();
        let listener = UnixListener::bind(folder.server()).await.unwrap();
        for (name, expected) in names(&folder) {
            let client = client(&name, &folder.server());
            let (stream, address) = listener.accept().await.unwrap();
            assert_eq!(text(&address), expected);
            assert_eq!(text(&stream.peer_addr().unwrap()), expected);
            // The client may be gone by the time that it is asked for.
            drop(client);
            assert_eq!(text(&stream.peer_addr().unwrap()), expected);
        }
        let client = StdStream::connect(folder.server()).unwrap();
        let (_, address) = listener.accept().await.unwrap();
        assert!(address.is_unnamed());
        drop(client);
    });
}

#[test]
fn a_stream_that_is_bound_to_a_full_path_tells_its_own_name() {
    settling(async |event_loop, _| {
        let folder = Folder::new();
        let listener = UnixListener::bind(folder.server()).await.unwrap();
        let path = folder.path(FULL);
        let bound = client(path.as_os_str().as_bytes(), &folder.server());
        let stream = UnixStream::from_std(bound).unwrap();
        assert_eq!(stream.local_addr().unwrap().as_pathname(), Some(&*path));
        listener.accept().await.unwrap();
        drop(stream);

        std::fs::remove_file(&path).unwrap();
        let bound = client(path.as_os_str().as_bytes(), &folder.server());
        let (transport, _) = event_loop
            .connect_accepted_socket(|| Idle, bound)
            .await
            .unwrap();
        let name = transport.sockname().unwrap();
        assert_eq!(name.path(), Some(&*path));
        let peer = transport.peername().unwrap();
        assert_eq!(peer.path(), Some(&*folder.server()));
        transport.abort();
        until(|| transport.socket(|_| ()).is_none()).await;
    });
}

#[test]
fn clients_of_every_name_are_served_by_streams() {
    settling(async |_, _| {
        let folder = Folder::new();
        let served = Rc::new(Cell::new(0));
        let count = Rc::clone(&served);
        let server = start_unix_server(
            move |_, writer| {
                count.set(count.get() + 1);
                async move { drop(writer) }
            },
            folder.server(),
        );
        let server = server.await.unwrap();
        let names = names(&folder);
        for (at, (name, _)) in names.iter().enumerate() {
            let client = client(name, &folder.server());
            until(|| served.get() == at + 1).await;
            drop(client);
        }
        server.close();
        server.wait_closed().await;
    });
}

#[test]
fn a_datagram_from_a_full_path_is_received_and_answered() {
    settling(async |event_loop, _| {
        let folder = Folder::new();
        let receiver = UnixDatagram::bind(folder.server()).await.unwrap();
        for (name, expected) in names(&folder) {
            let sender = StdDatagram::from(std::os::fd::OwnedFd::from(named(Type::DGRAM, &name)));
            sender.send_to(b"one", folder.server()).unwrap();
            sender.send_to(b"two", folder.server()).unwrap();
            let mut buffer = [0; 8];
            let (count, from) = receiver.peek_from(&mut buffer).await.unwrap();
            assert_eq!(count, 3);
            // Only what takes the message can name such a sender.
            let peeked = match name.len() == FULL && name[0] != 0 {
                true => "unnamed",
                false => expected.as_str(),
            };
            assert_eq!(text(&from), peeked);
            let (count, from) = receiver.recv_from(&mut buffer).await.unwrap();
            assert_eq!((count, text(&from)), (3, expected.clone()));
            let (_, from) = receiver.try_recv_from(&mut buffer).unwrap();
            assert_eq!(text(&from), expected);
            receiver.send_to_addr(b"answer", &from).await.unwrap();
            assert_eq!(sender.recv(&mut buffer).unwrap(), 6);

            let raw = socket2::SockRef::from(&receiver).try_clone().unwrap();
            sender.send_to(b"raw", folder.server()).unwrap();
            let (message, from) = event_loop.sock_recvfrom(&raw, 8).await.unwrap();
            assert_eq!(message, b"raw");
            event_loop.sock_sendto(&raw, b"x", &from).await.unwrap();
            assert_eq!(sender.recv(&mut buffer).unwrap(), 1);
        }
        let sender = StdDatagram::unbound().unwrap();
        sender.send_to(b"?", folder.server()).unwrap();
        assert!(receiver.peek_from(&mut [0]).await.unwrap().1.is_unnamed());
        assert!(receiver.recv_from(&mut [0]).await.unwrap().1.is_unnamed());
    });
}

struct Answers(Trace);

impl DatagramProtocol<Unix> for Answers {
    fn datagram_received(
        &self,
        transport: &DatagramTransport<Unix>,
        data: &[u8],
        from: SocketAddr,
    ) {
        self.0.push(text(&from));
        transport.sendto(data, Some(from)).unwrap();
    }
}

#[test]
fn an_endpoint_answers_every_sender_and_knows_its_peer_by_a_full_path() {
    settling(async |event_loop, trace| {
        let folder = Folder::new();
        let socket = UnixDatagram::bind(folder.server()).await.unwrap();
        let (transport, _) =
            event_loop.create_datagram_endpoint_on(socket, || Answers(trace.clone()));
        for (name, expected) in names(&folder) {
            let sender = StdDatagram::from(std::os::fd::OwnedFd::from(named(Type::DGRAM, &name)));
            sender.set_nonblocking(true).unwrap();
            sender.send_to(b"?", folder.server()).unwrap();
            until(|| sender.recv(&mut [0; 8]).is_ok()).await;
            trace.expect([expected.as_str()]);
        }
        transport.close();
        until(|| transport.local_addr().is_err()).await;

        let path = folder.path(FULL);
        let _ = std::fs::remove_file(&path);
        let peer = named(Type::DGRAM, path.as_os_str().as_bytes());
        let socket = StdDatagram::unbound().unwrap();
        let (address, length) = raw_address(path.as_os_str().as_bytes());
        let number = socket.as_raw_fd();
        // SAFETY: `address` is initialised and at least as long as is said.
        let result = unsafe { libc::connect(number, (&raw const address).cast(), length) };
        assert_eq!(result, 0);
        let socket = UnixDatagram::from_std(socket).unwrap();
        assert_eq!(socket.peer_addr().unwrap().as_pathname(), Some(&*path));
        let (transport, _) =
            event_loop.create_datagram_endpoint_on(socket, || Answers(trace.clone()));
        let own = transport.peer_addr().cloned();
        transport.sendto(b"to its peer", own).unwrap();
        let mut buffer = [0; 16];
        assert_eq!((&peer).read(&mut buffer).unwrap(), 11);
        (&peer).flush().unwrap();
        transport.close();
    });
}

#[test]
fn sock_accept_gives_such_a_client_too() {
    settling(async |_, _| {
        let folder = Folder::new();
        let listener = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        let address = socket2::SockAddr::unix(folder.server()).unwrap();
        listener.bind(&address).unwrap();
        listener.listen(8).unwrap();
        listener.set_nonblocking(true).unwrap();
        let client = client(folder.path(FULL).as_os_str().as_bytes(), &folder.server());
        let (accepted, address) = get_running_loop().sock_accept(&listener).await.unwrap();
        assert_eq!(address.as_pathname(), Some(&*folder.path(FULL)));
        drop((accepted, client));
    });
}
