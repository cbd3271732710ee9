//! Transports, streams and servers by name: hosts that are looked up, several addresses, and their failures.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream as StdStream};
use std::rc::Rc;
use std::time::Duration;

use callsoon::net::ConnectError;
use callsoon::transport::{Protocol, Server, Transport};
use callsoon::{LoopHandle, create_task, get_running_loop, open_connection, sleep, start_server};
use socket2::{Domain, Socket, Type};

use crate::support::{
    Recorder, Trace, complete, counted_fds, loopback, on_real_time, os_error, refusing,
    refusing_at, settled, until, wait_until_queued,
};

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

struct Idle;

impl Protocol for Idle {}

/// Sends hello to each client, and closes.
struct Hello;

impl Protocol for Hello {
    fn connection_made(&self, transport: &Transport) {
        transport.write(b"hello");
        transport.close();
    }
}

/// A loop on which `both.test` is this machine in either family, `four.test` in one, `silent.test` first an address
/// that never answers, and no other name is known.
fn run<F: Future<Output = ()>>(test: impl FnOnce(LoopHandle) -> F + Send + 'static) {
    on_real_time(|trace, event_loop| {
        event_loop.set_resolver(|name| match name {
            "both.test" => Ok(vec![V6, V4]),
            "four.test" => Ok(vec![V4]),
            "silent.test" => Ok(vec!["127.0.0.77".parse().unwrap(), V4]),
            "absent.test" => Ok(vec!["192.0.2.1".parse().unwrap()]),
            "nothing.test" => Ok(vec![]),
            _ => Err(ErrorKind::NotFound.into()),
        });
        complete(&event_loop, async {
            test(get_running_loop()).await;
            settled().await;
        });
        assert_eq!(trace.take(), [""; 0], "unexpected");
    });
}

fn greeting(address: SocketAddr) -> impl FnOnce() -> String + Send {
    move || {
        let mut text = String::new();
        let mut client = StdStream::connect(address).unwrap();
        client.read_to_string(&mut text).unwrap();
        text
    }
}

fn ports(server: &Server) -> Vec<SocketAddr> {
    let sockets = server.sockets();
    sockets.iter().filter_map(|it| it.internet()).collect()
}

#[test]
fn a_connection_is_made_to_a_host_and_a_port() {
    run(|event_loop| async move {
        let (_nobody, listener) = port_of_one();
        let address = listener.local_addr().unwrap();
        let port = address.port();
        // Nobody listens on the first address, so the second is it.
        let by_tuple = event_loop.create_connection(|| Idle, ("both.test", port));
        let (transport, _) = by_tuple.await.unwrap();
        assert_eq!(transport.peername().unwrap().internet(), Some(address));
        transport.abort();
        let text = format!("both.test:{port}");
        let (transport, _) = event_loop
            .create_connection(|| Idle, &text[..])
            .await
            .unwrap();
        assert_eq!(transport.peername().unwrap().internet(), Some(address));
        transport.abort();
        let (_reader, writer) = open_connection((String::from("both.test"), port))
            .await
            .unwrap();
        assert_eq!(writer.peername().unwrap().internet(), Some(address));
    });
}

/// Returns a port where no socket listens in IPv6, for as long as the first socket lives, and one listens in IPv4.
fn port_of_one() -> (Socket, TcpListener) {
    loop {
        let (nobody, address) = refusing_at((V6, 0).into());
        if let Ok(four) = TcpListener::bind((V4, address.port())) {
            return (nobody, four);
        }
    }
}

/// A port that has a listener in either family: what is free in one may be taken in the other, so ports are gone
/// through.
fn port_of_both() -> (u16, [TcpListener; 2]) {
    loop {
        let four = TcpListener::bind(loopback()).unwrap();
        let port = four.local_addr().unwrap().port();
        if let Ok(six) = TcpListener::bind((V6, port)) {
            return (port, [four, six]);
        }
    }
}

#[test]
fn a_family_or_a_local_address_chooses_among_the_addresses() {
    run(|event_loop| async move {
        let (port, _listeners) = port_of_both();
        let to = ("both.test", port);
        let (_, writer) = open_connection(to).await.unwrap();
        assert!(writer.peername().unwrap().internet().unwrap().is_ipv6());
        let (_, writer) = open_connection(to).family(Domain::IPV4).await.unwrap();
        assert!(writer.peername().unwrap().internet().unwrap().is_ipv4());
        let own = ("four.test", 0);
        let (transport, _) = event_loop
            .create_connection(|| Idle, to)
            .local_addr(own)
            .await
            .unwrap();
        assert_eq!(transport.sockname().unwrap().internet().unwrap().ip(), V4);
        transport.abort();
        // All of the other family, where none fits.
        let six = ("four.test", port);
        let error = open_connection(six).family(Domain::IPV6).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        let error = open_connection(("::1", port))
            .local_addr(own)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    });
}

/// A socket on this address whose backlog is full, so that the next client is not answered, and the client that fills
/// it.
fn full_listener(address: SocketAddr) -> (Socket, StdStream) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&address.into()).unwrap();
    socket.listen(0).unwrap();
    let client = StdStream::connect(address).unwrap();
    wait_until_queued(&socket, 1);
    (socket, client)
}

#[test]
fn an_address_that_does_not_answer_does_not_hold_up_the_next() {
    run(|event_loop| async move {
        let listener = TcpListener::bind(loopback()).unwrap();
        let port = listener.local_addr().unwrap().port();
        let _listener = full_listener(([127, 0, 0, 77], port).into());
        let open = counted_fds();
        let begun = event_loop.time();
        let (transport, _) = event_loop
            .create_connection(|| Idle, ("silent.test", port))
            .happy_eyeballs_delay(Some(Duration::from_millis(20)))
            .await
            .unwrap();
        assert!(event_loop.time() - begun >= Duration::from_millis(20));
        assert_eq!(transport.peername().unwrap().internet().unwrap().ip(), V4);
        // The attempt that lost is closed before the caller gets the one that won.
        assert_eq!(counted_fds(), open + 1);
        transport.abort();
    });
}

#[test]
fn e2_a_connection_by_name_that_is_given_up_leaves_nothing() {
    run(|_| async {
        let listener = TcpListener::bind(loopback()).unwrap();
        let port = listener.local_addr().unwrap().port();
        let _listener = full_listener(([127, 0, 0, 77], port).into());
        for wait in [0, 1, 5, 30] {
            let open = counted_fds();
            let task = create_task(async move {
                let opening = open_connection(("silent.test", port)).happy_eyeballs_delay(None);
                opening.await.map(drop)
            });
            sleep(Duration::from_millis(wait)).await;
            task.cancel();
            assert!(task.await.is_err(), "given up after {wait} ms");
            assert_eq!(counted_fds(), open);
        }
    });
}

#[test]
fn of_several_failures_all_are_kept() {
    run(|event_loop| async move {
        let (_four, free) = refusing();
        // The socket that holds the port in the other family is tried, too; no other socket listens there.
        let _six = refusing_at((V6, free.port()).into());
        let targets = vec![free, "255.255.255.255:9".parse().unwrap()];
        let error = event_loop
            .create_connection(|| Idle, targets.clone())
            .await
            .map(drop)
            .unwrap_err();
        let all: &ConnectError = error.get_ref().unwrap().downcast_ref().unwrap();
        let tried: Vec<_> = all.attempts().iter().map(|(to, _)| *to).collect();
        assert_eq!(tried, targets);
        // What is said of every address alike is said once.
        let error = open_connection(("both.test", free.port()))
            .await
            .unwrap_err();
        assert_eq!(os_error(&error), Some(libc::ECONNREFUSED));
    });
}

#[test]
fn a_host_that_is_not_found_or_not_named_is_an_error_when_it_is_awaited() {
    run(|event_loop| async move {
        for (place, kind) in [
            ("nobody.test:80", ErrorKind::NotFound),
            ("nothing.test:80", ErrorKind::NotFound),
            ("no port", ErrorKind::InvalidInput),
            ("four.test:65536", ErrorKind::InvalidInput),
        ] {
            let error = open_connection(place).await.unwrap_err();
            assert_eq!(error.kind(), kind, "open_connection: {place}");
            let connecting = event_loop.create_connection(|| Idle, place);
            assert_eq!(connecting.await.map(drop).unwrap_err().kind(), kind);
            let serving = event_loop.create_server(|| Idle, place);
            assert_eq!(serving.await.unwrap_err().kind(), kind, "server: {place}");
            let serving = start_server(async |_, _| (), place);
            assert_eq!(serving.await.unwrap_err().kind(), kind);
        }
        // Nobody connects to all interfaces.
        let error = open_connection(("", 80)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn a_server_listens_on_every_address_of_every_host_once() {
    run(|event_loop| async move {
        let hosts = ["both.test", "four.test", "127.0.0.1"];
        let server = event_loop
            .create_server(|| Hello, (hosts, 0))
            .await
            .unwrap();
        let ips: Vec<_> = ports(&server).iter().map(SocketAddr::ip).collect();
        assert_eq!(ips, [V6, V4]);
        for address in ports(&server) {
            let text = callsoon::to_thread(greeting(address)).await.unwrap();
            assert_eq!(text, "hello", "{address}");
        }
        server.close();
        server.wait_closed().await;
    });
}

#[test]
fn the_empty_host_is_all_interfaces_and_no_port_a_free_one_for_each() {
    run(|event_loop| async move {
        let server = event_loop.create_server(|| Hello, ("", 0)).await.unwrap();
        let bound = ports(&server);
        let ips: Vec<_> = bound.iter().map(SocketAddr::ip).collect();
        let all: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
        assert_eq!(ips, all);
        for (ip, address) in [V4, V6].into_iter().zip(bound) {
            assert_ne!(address.port(), 0);
            let there = (ip, address.port()).into();
            let text = callsoon::to_thread(greeting(there)).await.unwrap();
            assert_eq!(text, "hello");
        }
        server.close();
        server.wait_closed().await;
        // A text with nothing before the colon is the same.
        let server = start_server(async |_, _| (), ":0").await.unwrap();
        assert_eq!(ports(&server).len(), 2);
        server.close();
    });
}

#[test]
fn a_server_binds_all_of_its_addresses_or_none() {
    run(|event_loop| async move {
        let taken = TcpListener::bind(loopback()).unwrap();
        let port = taken.local_addr().unwrap().port();
        let open = counted_fds();
        let serving = event_loop.create_server(|| Idle, (vec!["::1", "127.0.0.1"], port));
        let error = serving.await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        assert!(error.to_string().contains("127.0.0.1"), "{error}");
        assert_eq!(counted_fds(), open);
        // One that this machine does not have is left out, unless it is the only one.
        let hosts = (["absent.test", "four.test"], 0);
        let server = event_loop.create_server(|| Idle, hosts).await.unwrap();
        assert_eq!(ports(&server).len(), 1);
        server.close();
        let only = event_loop.create_server(|| Idle, ("absent.test", 0));
        assert_eq!(only.await.unwrap_err().kind(), ErrorKind::AddrNotAvailable);
        let none: [&str; 0] = [];
        let nowhere = event_loop.create_server(|| Idle, (none, 80));
        assert_eq!(nowhere.await.unwrap_err().kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn a_stream_server_and_its_client_meet_by_name() {
    run(|_| async {
        let server = start_server(
            async |mut reader: callsoon::stream::StreamReader, writer| {
                let line = reader.readline().await?;
                callsoon::stream::StreamWriter::write(&writer, &line);
                writer.drain().await?;
                Ok::<_, std::io::Error>(())
            },
            ("four.test", 0),
        )
        .await
        .unwrap();
        let port = ports(&server)[0].port();
        let (mut reader, writer) = open_connection(("four.test", port)).await.unwrap();
        writer.write(b"there and back\n");
        assert_eq!(reader.readline().await.unwrap(), b"there and back\n");
        server.close();
    });
}

#[test]
fn a_protocol_learns_nothing_of_attempts_that_failed() {
    run(|event_loop| async move {
        let trace = Trace::new();
        let (_nobody, listener) = port_of_one();
        let port = listener.local_addr().unwrap().port();
        let recorder = Recorder::new(&trace);
        let (_, recorder): (_, Rc<Recorder>) = event_loop
            .create_connection(|| recorder, ("both.test", port))
            .await
            .unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        peer.write_all(b"one").unwrap();
        drop(peer);
        until(|| recorder.lost.get()).await;
        trace.expect(["made", "data one", "eof", "lost"]);
    });
}
