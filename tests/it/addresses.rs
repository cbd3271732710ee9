//! Sockets are bound to, connected to and sent to texts, names and lists, not to addresses only.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket as StdSocket};
use std::sync::mpsc;
use std::time::Duration;

use callsoon::net::{TcpListener, ToSocketAddrs, UdpSocket};
use callsoon::{EventLoop, get_running_loop};

use crate::support::{
    Waiting, complete, counted_fds, loopback, on_real_time, os_error, wait_until_gone,
};

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const NEXT: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
const SIX: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// An address of the documentation, which no machine has.
const NOT_OURS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 0);

/// A test inside a loop, which ends when no resolver thread is left, since such a thread may hold a descriptor of the
/// loop.
fn in_a_loop_with_names(test: impl AsyncFnOnce() + Send + 'static) {
    on_real_time(|_, event_loop| {
        complete(&event_loop, test());
        drop(event_loop);
        wait_until_gone("callsoon-dns");
    });
}

/// Resolves every name to these addresses.
fn names_are<const N: usize>(addresses: [IpAddr; N]) {
    get_running_loop().set_resolver(move |_| Ok(addresses.to_vec()));
}

fn no_name_is_asked_for() {
    get_running_loop().set_resolver(|host| panic!("on purpose: {host} is asked for"));
}

/// Binds both kinds of sockets, and returns their addresses.
async fn bound(place: impl ToSocketAddrs + Clone) -> io::Result<[SocketAddr; 2]> {
    let listener = TcpListener::bind(place.clone()).await?;
    let socket = UdpSocket::bind(place).await?;
    Ok([listener.local_addr()?, socket.local_addr()?])
}

/// The error of binding both kinds of sockets.
async fn refused(place: impl ToSocketAddrs + Clone) -> ErrorKind {
    let listener = TcpListener::bind(place.clone()).await.unwrap_err().kind();
    let socket = UdpSocket::bind(place).await.unwrap_err().kind();
    assert_eq!(listener, socket);
    socket
}

/// A port that both kinds of sockets hold, for as long as they live.
async fn taken() -> (TcpListener, UdpSocket, SocketAddr) {
    loop {
        let listener = TcpListener::bind(loopback()).await.unwrap();
        let address = listener.local_addr().unwrap();
        // Somebody else may have the port of the other protocol.
        if let Ok(socket) = UdpSocket::bind(address).await {
            return (listener, socket, address);
        }
    }
}

/// A socket for messages, in blocking mode, whose calls fail after a while instead of hanging.
fn hearer(ip: IpAddr, port: u16) -> io::Result<StdSocket> {
    let socket = StdSocket::bind((ip, port))?;
    socket.set_read_timeout(Some(Duration::from_secs(60)))?;
    Ok(socket)
}

#[test]
fn sockets_are_bound_to_anything_that_names_an_address_and_no_resolver_is_asked() {
    in_a_loop_with_names(async || {
        no_name_is_asked_for();
        let all = [
            bound("127.0.0.1:0").await,
            bound("127.0.0.1:0".to_owned()).await,
            bound(&"127.0.0.1:0".to_owned()).await,
            bound(("127.0.0.1", 0)).await,
            bound(("127.0.0.1".to_owned(), 0)).await,
            bound(("0x7f.1", 0)).await,
            bound((HERE, 0)).await,
            bound(loopback()).await,
            bound(&loopback()).await,
            bound([loopback()]).await,
            bound(&[loopback()]).await,
            bound(&[loopback()][..]).await,
            bound(&vec![loopback()]).await,
        ];
        for (number, found) in all.into_iter().enumerate() {
            for address in found.unwrap() {
                assert_eq!(address.ip(), HERE, "{number}");
                assert_ne!(address.port(), 0, "{number}");
            }
        }
    });
}

#[test]
fn messages_go_to_anything_that_names_an_address_and_no_resolver_is_asked() {
    in_a_loop_with_names(async || {
        no_name_is_asked_for();
        let (server, client) = (
            UdpSocket::bind("127.0.0.1:0").await.unwrap(),
            UdpSocket::bind("127.0.0.1:0").await.unwrap(),
        );
        let to = server.local_addr().unwrap();
        let text = to.to_string();
        client.send_to(b"1", to).await.unwrap();
        client.send_to(b"22", &to).await.unwrap();
        client.send_to(b"333", text.as_str()).await.unwrap();
        client.send_to(b"4444", &text).await.unwrap();
        let pair = ("127.0.0.1", to.port());
        client.send_to(b"55555", pair).await.unwrap();
        for length in 1..=5 {
            assert_eq!(server.recv(&mut [0; 8]).await.unwrap(), length);
        }
        client.connect(&text).await.unwrap();
        client.connect(pair).await.unwrap();
        assert_eq!(client.peer_addr().unwrap(), to);
    });
}

#[test]
fn a_name_is_looked_up_for_binding_connecting_and_sending() {
    in_a_loop_with_names(async || {
        names_are([NEXT]);
        for address in bound(("some.host", 0)).await.unwrap() {
            assert_eq!(address.ip(), NEXT);
        }
        for address in bound("some.host:0").await.unwrap() {
            assert_eq!(address.ip(), NEXT);
        }
        let server = UdpSocket::bind((NEXT, 0)).await.unwrap();
        let port = server.local_addr().unwrap().port();
        let client = UdpSocket::bind((HERE, 0)).await.unwrap();
        client.send_to(b"one", ("some.host", port)).await.unwrap();
        assert_eq!(server.recv(&mut [0; 8]).await.unwrap(), 3);
        client.connect(("some.host", port)).await.unwrap();
        client.send(b"four").await.unwrap();
        assert_eq!(server.recv(&mut [0; 8]).await.unwrap(), 4);
    });
}

#[test]
fn the_first_address_that_can_be_bound_is_bound() {
    in_a_loop_with_names(async || {
        let (_listener, _socket, taken) = taken().await;
        let free = SocketAddr::new(NEXT, 0);
        let open = counted_fds();
        for found in bound([taken, NOT_OURS, free, loopback()]).await.unwrap() {
            assert_eq!(found.ip(), NEXT);
        }
        names_are([HERE, NEXT]);
        for found in bound(("some.host", taken.port())).await.unwrap() {
            assert_eq!(found, SocketAddr::new(NEXT, taken.port()));
        }
        assert_eq!(counted_fds(), open);
        assert_eq!(get_running_loop().metrics().sources, 2);
    });
}

#[test]
fn where_no_address_can_be_bound_the_error_is_the_last_one_s() {
    in_a_loop_with_names(async || {
        let (_listener, _socket, taken) = taken().await;
        let open = counted_fds();
        assert_eq!(refused([NOT_OURS, taken]).await, ErrorKind::AddrInUse);
        assert_eq!(
            refused([taken, NOT_OURS]).await,
            ErrorKind::AddrNotAvailable
        );
        assert_eq!(refused(Vec::new()).await, ErrorKind::NotFound);
        assert_eq!(counted_fds(), open);
        assert_eq!(get_running_loop().metrics().sources, 2);
    });
}

#[test]
fn what_names_no_place_is_an_error_and_the_socket_stays_usable() {
    in_a_loop_with_names(async || {
        get_running_loop().set_resolver(|_| Ok(Vec::new()));
        let socket = UdpSocket::bind(loopback()).await.unwrap();
        for (place, kind) in [
            ("", ErrorKind::InvalidInput),
            ("host", ErrorKind::InvalidInput),
            ("host:65536", ErrorKind::InvalidInput),
            ("::1:0", ErrorKind::InvalidInput),
            ("a..b:0", ErrorKind::InvalidInput),
            (":0", ErrorKind::InvalidInput),
            ("1.2.3.4.5:0", ErrorKind::NotFound),
            ("has.none:0", ErrorKind::NotFound),
        ] {
            assert_eq!(refused(place).await, kind, "{place}");
            let error = socket.connect(place).await.unwrap_err();
            assert_eq!(error.kind(), kind, "{place}");
            let error = socket.send_to(b"x", place).await.unwrap_err();
            assert_eq!(error.kind(), kind, "{place}");
        }
        let empty: [SocketAddr; 0] = [];
        let error = socket.connect(empty).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        let error = socket.send_to(b"x", empty).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        let own = socket.local_addr().unwrap();
        socket.send_to(b"well", own).await.unwrap();
        assert_eq!(socket.recv(&mut [0; 8]).await.unwrap(), 4);
    });
}

#[test]
fn a_socket_is_connected_to_the_first_address_that_the_system_grants() {
    in_a_loop_with_names(async || {
        let socket = UdpSocket::bind(loopback()).await.unwrap();
        let port = socket.local_addr().unwrap().port();
        names_are([SIX, HERE, NEXT]);
        socket.connect(("some.host", port)).await.unwrap();
        assert_eq!(socket.peer_addr().unwrap(), SocketAddr::new(HERE, port));
        // All of another family: the error is the system's, and the peer stays the one before.
        let six = [SocketAddr::new(SIX, port), SocketAddr::new(SIX, 9)];
        let error = socket.connect(six).await.unwrap_err();
        assert_eq!(os_error(&error), Some(libc::EAFNOSUPPORT));
        assert_eq!(socket.peer_addr().unwrap(), SocketAddr::new(HERE, port));
    });
}

#[test]
fn a_message_goes_to_the_first_address_of_the_socket_s_family_and_to_no_other() {
    in_a_loop_with_names(async || {
        let first = hearer(HERE, 0).unwrap();
        let port = first.local_addr().unwrap().port();
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        names_are([SIX, HERE, NEXT]);
        socket.send_to(b"one", ("some.host", port)).await.unwrap();
        assert_eq!(first.recv(&mut [0; 8]).unwrap(), 3);
        if let Ok(second) = hearer(NEXT, port) {
            socket.send_to(b"four", ("some.host", port)).await.unwrap();
            assert_eq!(first.recv(&mut [0; 8]).unwrap(), 4);
            // The next that comes is this one: nothing came before it.
            socket.send_to(b"later", (NEXT, port)).await.unwrap();
            assert_eq!(second.recv(&mut [0; 8]).unwrap(), 5);
        }
        names_are([SIX]);
        let error = socket.send_to(b"x", ("some.host", port)).await.unwrap_err();
        assert_eq!(os_error(&error), Some(libc::EAFNOSUPPORT));
        let Ok(six) = UdpSocket::bind("[::1]:0").await else {
            eprintln!("skipped: this system has no IPv6");
            return;
        };
        names_are([HERE, SIX]);
        let port = six.local_addr().unwrap().port();
        six.send_to(b"own", ("some.host", port)).await.unwrap();
        assert_eq!(six.recv(&mut [0; 8]).await.unwrap(), 3);
    });
}

#[test]
fn giving_up_a_look_up_leaves_no_socket_and_changes_none() {
    in_a_loop_with_names(async || {
        let socket = UdpSocket::bind(loopback()).await.unwrap();
        let port = socket.local_addr().unwrap().port();
        let (open, gate) = mpsc::channel::<()>();
        let gate = std::sync::Mutex::new(gate);
        get_running_loop().set_resolver(move |_| {
            // Until the other end is dropped.
            let end = gate.lock().unwrap().recv();
            end.map_or(Ok(vec![HERE]), |()| unreachable!())
        });
        let before = counted_fds();
        drop(Waiting::begun(TcpListener::bind(("some.host", 0))));
        drop(Waiting::begun(UdpSocket::bind(("some.host", 0))));
        drop(Waiting::begun(socket.connect(("some.host", port))));
        drop(Waiting::begun(socket.send_to(b"x", ("some.host", port))));
        drop(open);
        // The first message that comes is the one that was not given up.
        socket.send_to(b"last", ("some.host", port)).await.unwrap();
        assert_eq!(socket.recv(&mut [0; 8]).await.unwrap(), 4);
        assert_eq!(counted_fds(), before);
        assert_eq!(
            socket.peer_addr().unwrap_err().kind(),
            ErrorKind::NotConnected
        );
    });
}

#[test]
fn a_socket_whose_loop_is_closed_finds_names_like_addresses_and_never_waits_for_ever() {
    on_real_time(|_, event_loop| {
        let closed = EventLoop::new().unwrap();
        let socket = complete(&closed, UdpSocket::bind(loopback())).unwrap();
        closed.close().unwrap();
        complete(&event_loop, async {
            let peer = UdpSocket::bind(loopback()).await.unwrap();
            let to = peer.local_addr().unwrap();
            let error = socket.send_to(b"x", to).await.unwrap_err();
            let by_name = socket.send_to(b"x", ("localhost", to.port())).await;
            assert_eq!(by_name.unwrap_err().to_string(), error.to_string());
            socket.connect(("localhost", to.port())).await.unwrap();
            assert_eq!(socket.peer_addr().unwrap(), to);
        });
        wait_until_gone("callsoon-dns");
    });
}
