//! Errors of connecting, binding, sending and looking up name the place, and those of an open file its path. Kind, source and the system's number stay.

use std::cell::RefCell;
use std::error::Error;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::rc::Rc;

use callsoon::fs::{File, PathError};
use callsoon::net::{
    AddrInfoHints, ConnectError, ConnectOptions, ListenOptions, LookupError, SendError,
    TcpListener, TcpStream, UdpSocket, UnixDatagram, UnixListener, UnixStream, lookup_host,
};
use callsoon::transport::{BindError, DatagramProtocol, DatagramTransport, Protocol};
use callsoon::{open_connection, open_unix_connection};
use socket2::{Domain, Socket, Type};

use crate::support::{Scratch, loopback, os_error, refusing, settling};

struct Idle;
impl Protocol for Idle {}
impl DatagramProtocol for Idle {}

/// Keeps the last error.
struct Seen(Rc<RefCell<Option<io::Error>>>);
impl DatagramProtocol for Seen {
    fn error_received(&self, _: &DatagramTransport, error: io::Error) {
        *self.0.borrow_mut() = Some(error);
    }
}

const NOBODY: &str = "/nobody/is/here";

const REFUSED: &str = "Connection refused (os error 111)";
const NO_FILE: &str = "No such file or directory (os error 2)";
const IN_USE: &str = "Address already in use (os error 98)";
const NO_FAMILY: &str = "Address family not supported by protocol (os error 97)";

/// Checks the text, the kind and the system's error below, and returns what is inside.
fn checked(error: &io::Error, text: &str, number: i32) {
    assert_eq!(error.to_string(), text);
    let system = io::Error::from_raw_os_error(number);
    assert_eq!(error.kind(), system.kind(), "{text}");
    assert_eq!(os_error(error), Some(number), "{text}");
    let source: &io::Error = error.source().unwrap().downcast_ref().unwrap();
    assert_eq!(os_error(source), Some(number), "{text}");
}

fn not_connected<T>(result: io::Result<T>, place: &str, why: &str, number: i32) {
    let error = result.map(drop).unwrap_err();
    checked(&error, &format!("cannot connect to {place}: {why}"), number);
    let inside = ConnectError::of(&error).unwrap();
    assert_eq!(inside.raw_os_error(), Some(number));
    assert_eq!(inside.address(), place.parse::<SocketAddr>().ok());
    assert_eq!(inside.place().escape_debug().to_string(), place);
}

fn not_sent(result: io::Result<usize>, place: &str, why: &str, number: i32) {
    let error = result.unwrap_err();
    checked(&error, &format!("cannot send to {place}: {why}"), number);
    let inside = SendError::of(&error).unwrap();
    assert_eq!(inside.raw_os_error(), Some(number));
    assert_eq!(inside.place(), place);
}

fn not_bound<T>(result: io::Result<T>, place: &str, why: &str, number: i32) {
    let error = result.map(drop).unwrap_err();
    checked(&error, &format!("cannot bind to {place}: {why}"), number);
    let inside = BindError::of(&error).unwrap();
    assert_eq!(inside.raw_os_error(), Some(number));
    assert_eq!(inside.place().escape_debug().to_string(), place);
}

#[test]
fn connecting_over_tcp_names_the_address_at_every_entry_point() {
    settling(|event_loop, _| async move {
        let (_nobody, to) = refusing();
        let check = |error: io::Result<()>| {
            not_connected(error, &to.to_string(), REFUSED, libc::ECONNREFUSED);
        };
        check(open_connection(to).await.map(drop));
        check(open_connection(to.to_string()).await.map(drop));
        check(event_loop.create_connection(|| Idle, to).await.map(drop));
        check(TcpStream::connect(to).await.map(drop));
        check(TcpStream::connect([to]).await.map(drop));
        check(ConnectOptions::new().connect(to).await.map(drop));
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        check(event_loop.sock_connect(&socket, &to.into()).await);
        // A name: the address that was tried is the place.
        event_loop.set_resolver(move |_| Ok(vec![to.ip()]));
        check(open_connection(("db.internal", to.port())).await.map(drop));
        event_loop.reset_resolver();
    });
}

#[test]
fn connecting_to_a_unix_socket_names_the_path_at_every_entry_point() {
    settling(|event_loop, _| async move {
        let check = |error| not_connected(error, NOBODY, NO_FILE, libc::ENOENT);
        check(open_unix_connection(NOBODY).await.map(drop));
        let connecting = event_loop.create_unix_connection(|| Idle, NOBODY);
        check(connecting.await.map(drop));
        check(UnixStream::connect(NOBODY).await.map(drop));
        let address = std::os::unix::net::SocketAddr::from_pathname(NOBODY).unwrap();
        check(UnixStream::connect_addr(&address).await.map(drop));
        let datagrams = UnixDatagram::unbound().unwrap();
        check(datagrams.connect(NOBODY).await);
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        let address = socket2::SockAddr::unix(NOBODY).unwrap();
        check(event_loop.sock_connect(&socket, &address).await);
        let name = format!("\0callsoon-nobody-{}", std::process::id());
        let refused = UnixStream::connect(&name).await;
        let place = name.escape_debug().to_string();
        not_connected(refused, &place, REFUSED, libc::ECONNREFUSED);
        // The system was not asked.
        let error = UnixStream::connect("/long".repeat(40)).await.unwrap_err();
        let inside = ConnectError::of(&error).unwrap();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(inside.place(), "/long".repeat(40));
        assert_eq!(inside.raw_os_error(), None);
    });
}

#[test]
fn of_several_addresses_each_is_in_the_text() {
    settling(|event_loop, _| async move {
        let nobody = [refusing(), refusing()];
        let [one, other] = nobody.each_ref().map(|(_, address)| *address);
        // Alike: one error, for all of them.
        for error in [
            TcpStream::connect([one, other]).await.map(drop),
            open_connection([one, other]).await.map(drop),
            event_loop
                .create_connection(|| Idle, [one, other])
                .await
                .map(drop),
        ] {
            let error = error.unwrap_err();
            let text = format!("cannot connect to {one}, {other}: {REFUSED}");
            checked(&error, &text, libc::ECONNREFUSED);
            let inside = ConnectError::of(&error).unwrap();
            assert_eq!(inside.raw_os_error(), Some(libc::ECONNREFUSED));
            assert_eq!(inside.address(), None);
            let tried: Vec<_> = inside.attempts().iter().map(|(to, _)| *to).collect();
            assert_eq!(tried, [one, other]);
        }
        // Different: all of them, and no number in common.
        let local = ConnectOptions::new().local_addr(loopback());
        let six = "[::1]:9".parse().unwrap();
        let error = local.connect([one, six]).await.unwrap_err();
        let family = "the local address is of another family";
        assert_eq!(
            error.to_string(),
            format!("no address could be connected to: {one}: {REFUSED}; {six}: {family}")
        );
        assert_eq!(error.kind(), ErrorKind::Other);
        assert!(error.source().is_none());
        assert_eq!(ConnectError::of(&error).unwrap().raw_os_error(), None);
        // None at all: there is no place to name.
        let error = TcpStream::connect(Vec::new()).await.unwrap_err();
        assert_eq!(error.to_string(), "there is no address in the list");
        assert!(ConnectError::of(&error).is_none());
    });
}

#[test]
fn a_local_address_that_cannot_be_had_is_named_beside_the_target() {
    settling(|event_loop, _| async move {
        let (_nobody, to) = refusing();
        let (_holder, taken) = refusing();
        let text = format!("cannot connect to {to}: cannot bind to {taken}: {IN_USE}");
        let options = ConnectOptions::new().local_addr(taken);
        let connecting = event_loop.create_connection(|| Idle, to).local_addr(taken);
        for error in [
            options.connect(to).await.map(drop),
            connecting.await.map(drop),
        ] {
            let error = error.unwrap_err();
            assert_eq!(error.to_string(), text);
            assert_eq!(error.kind(), ErrorKind::AddrInUse);
            let inside = ConnectError::of(&error).unwrap();
            assert_eq!(inside.raw_os_error(), Some(libc::EADDRINUSE));
            assert_eq!(
                BindError::of(inside.error().unwrap()).unwrap().place(),
                taken.to_string()
            );
        }
    });
}

#[test]
fn binding_names_the_address_or_the_path_at_every_entry_point() {
    settling(|event_loop, _| async move {
        let listening = TcpListener::bind(loopback()).await.unwrap();
        let here = listening.local_addr().unwrap();
        let check = |error| not_bound(error, &here.to_string(), IN_USE, libc::EADDRINUSE);
        check(TcpListener::bind(here).await.map(drop));
        check(TcpListener::bind([here, here]).await.map(drop));
        check(ListenOptions::new().bind(here).map(drop));
        check(event_loop.create_server(|| Idle, here).await.map(drop));
        let datagrams = UdpSocket::bind(loopback()).await.unwrap();
        let here = datagrams.local_addr().unwrap();
        let check = |error| not_bound(error, &here.to_string(), IN_USE, libc::EADDRINUSE);
        check(UdpSocket::bind(here).await.map(drop));
        let endpoint = event_loop.create_datagram_endpoint(|| Idle);
        check(endpoint.local_addr(here).await.map(drop));
        let check = |error| not_bound(error, NOBODY, NO_FILE, libc::ENOENT);
        check(UnixListener::bind(NOBODY).await.map(drop));
        check(ListenOptions::new().bind_unix(NOBODY).map(drop));
        check(UnixDatagram::bind(NOBODY).await.map(drop));
        let serving = event_loop.create_unix_server(|| Idle, NOBODY);
        check(serving.await.map(drop));
    });
}

#[test]
fn the_peer_of_datagrams_is_named() {
    settling(|event_loop, _| async move {
        let six = "[::1]:9";
        let socket = UdpSocket::bind(loopback()).await.unwrap();
        let connected = socket.connect(six).await;
        not_connected(connected, six, NO_FAMILY, libc::EAFNOSUPPORT);
        // Only with SO_BROADCAST.
        let all: SocketAddr = "255.255.255.255:9".parse().unwrap();
        let endpoint = event_loop.create_datagram_endpoint(|| Idle);
        let error = endpoint.remote_addr(all).await.map(drop);
        let why = "Permission denied (os error 13)";
        not_connected(error, "255.255.255.255:9", why, libc::EACCES);
    });
}

#[test]
fn sending_a_message_names_its_address_at_every_entry_point() {
    settling(|event_loop, _| async move {
        let (long, to) = ([0; 70_000], SocketAddr::from(([127, 0, 0, 1], 9)));
        let too_long = "Message too long (os error 90)";
        let check = |sent| not_sent(sent, &to.to_string(), too_long, libc::EMSGSIZE);
        let socket = UdpSocket::bind(loopback()).await.unwrap();
        check(socket.send_to(&long, to).await);
        check(socket.try_send_to(&long, to));
        check(poll_fn(|context| socket.poll_send_to(context, &long, &to)).await);
        let theirs = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
        theirs.set_nonblocking(true).unwrap();
        check(event_loop.sock_sendto(&theirs, &long, &to.into()).await);
        let seen = Rc::new(RefCell::new(None));
        let endpoint = event_loop.create_datagram_endpoint(|| Seen(Rc::clone(&seen)));
        let (transport, _) = endpoint.local_addr(loopback()).await.unwrap();
        transport.sendto(&long, Some(to)).unwrap();
        check(Err(seen.take().unwrap()));
        transport.abort();
        // The peer of a connected one is known, and the number stays where programs look for it.
        socket.connect(to).await.unwrap();
        let error = socket.send(&long).await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EMSGSIZE));
        let check = |sent| not_sent(sent, NOBODY, NO_FILE, libc::ENOENT);
        let socket = UnixDatagram::unbound().unwrap();
        check(socket.send_to(b"x", NOBODY).await);
        check(socket.try_send_to(b"x", NOBODY));
        let address = std::os::unix::net::SocketAddr::from_pathname(NOBODY).unwrap();
        check(socket.send_to_addr(b"x", &address).await);
        check(poll_fn(|context| socket.poll_send_to(context, b"x", &address)).await);
        // The system was not asked.
        let error = socket.send_to(b"x", "/long".repeat(40)).await.unwrap_err();
        let inside = SendError::of(&error).unwrap();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(inside.place(), "/long".repeat(40));
        assert_eq!(inside.raw_os_error(), None);
    });
}

#[test]
fn calls_on_an_open_file_name_its_path() {
    settling(|_, _| async move {
        let scratch = Scratch::new(b"read only");
        let shown = scratch.path().to_owned();
        let mut file = File::open(scratch.path()).await.unwrap();
        file.write_all(b"x").await.unwrap();
        let bad = "Bad file descriptor (os error 9)";
        let invalid = "Invalid argument (os error 22)";
        for (result, verb, why, number) in [
            (file.flush().await, "write", bad, libc::EBADF),
            (file.write_at("x", 0).await, "write", bad, libc::EBADF),
            (
                file.set_len(0).await,
                "set the length of",
                invalid,
                libc::EINVAL,
            ),
        ] {
            let error = result.unwrap_err();
            checked(&error, &format!("cannot {verb} {shown}: {why}"), number);
            let inside: &PathError = error.get_ref().unwrap().downcast_ref().unwrap();
            assert_eq!(
                (inside.operation, inside.path.as_path()),
                (verb, std::path::Path::new(scratch.path()))
            );
        }
        // The end of the file is an error of no number.
        let error = file.read_exact_at(&mut [0; 99], 0).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
        let text = format!("cannot read {shown}: failed to fill whole buffer");
        assert_eq!(error.to_string(), text);
        // Of a folder there is nothing to read.
        let mut folder = File::open("/").await.unwrap();
        let is_folder = "Is a directory (os error 21)";
        let error = folder.read(&mut [0; 4]).await.unwrap_err();
        checked(&error, &format!("cannot read /: {is_folder}"), libc::EISDIR);
        let error = folder.read_at(&mut [0; 4], 0).await.unwrap_err();
        checked(&error, &format!("cannot read /: {is_folder}"), libc::EISDIR);
        // The path of one that was opened elsewhere is not known.
        let mut file = File::from_std(std::fs::File::open("/").unwrap());
        let error = file.read(&mut [0; 4]).await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EISDIR));
    });
}

#[test]
fn looking_up_names_the_host() {
    settling(|event_loop, _| async move {
        event_loop.set_resolver(|host| match host {
            "nothing.test" => Ok(vec![]),
            _ => Err(io::Error::from_raw_os_error(libc::EMFILE)),
        });
        let no_files = "Too many open files (os error 24)";
        for error in [
            lookup_host("db.internal:80").await.map(drop),
            open_connection("db.internal:80").await.map(drop),
            event_loop
                .create_connection(|| Idle, "db.internal:80")
                .await
                .map(drop),
            TcpStream::connect("db.internal:80").await.map(drop),
            TcpListener::bind("db.internal:80").await.map(drop),
            UdpSocket::bind("db.internal:80").await.map(drop),
            event_loop
                .create_server(|| Idle, "db.internal:80")
                .await
                .map(drop),
        ] {
            let error = error.unwrap_err();
            let text = format!("cannot look up db.internal: {no_files}");
            checked(&error, &text, libc::EMFILE);
            let inside = LookupError::of(&error).unwrap();
            assert_eq!(inside.raw_os_error(), Some(libc::EMFILE));
            assert_eq!((inside.host(), inside.gai_error()), ("db.internal", None));
        }
        let wanted = AddrInfoHints::default();
        for (error, text, kind) in [
            (
                lookup_host("nothing.test:80").await.map(drop),
                "cannot look up nothing.test: the host has no address",
                ErrorKind::NotFound,
            ),
            (
                lookup_host(("", 80)).await.map(drop),
                "cannot look up \"\": the host name is empty",
                ErrorKind::InvalidInput,
            ),
            (
                lookup_host("no port").await.map(drop),
                "cannot look up no port: a host and a port are wanted, as in host:80",
                ErrorKind::InvalidInput,
            ),
            (
                event_loop
                    .getaddrinfo(Some("nul\0"), None, wanted)
                    .await
                    .map(drop),
                "cannot look up nul\\0: a host name holds a NUL byte",
                ErrorKind::InvalidInput,
            ),
        ] {
            let error = error.unwrap_err();
            assert_eq!((error.to_string().as_str(), error.kind()), (text, kind));
        }
        event_loop.reset_resolver();
        let error = lookup_host(("1.2.3.4.5", 80)).await.unwrap_err();
        let inside = LookupError::of(&error).unwrap();
        let reason = inside.gai_error().unwrap();
        assert_eq!(
            error.to_string(),
            format!("cannot look up 1.2.3.4.5: {reason}")
        );
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert_eq!(reason.code(), libc::EAI_NONAME);
        assert_eq!(inside.raw_os_error(), None);
    });
}
