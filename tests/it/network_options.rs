//! Options of servers and connections, and whether the socket has them.

use std::cell::{Cell, RefCell};
use std::io::{ErrorKind, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;

use callsoon::stream::{StreamReader, StreamWriter, open_connection, start_server};
use callsoon::transport::{Address, BufferedProtocol, CreateServer, Protocol, Transport};
use callsoon::{get_running_loop, yield_now};

use crate::support::{Trace, complete, loopback, on_real_time, std_pair, until, wait_until_gone};

fn run<F: Future<Output = ()>>(test: impl FnOnce(Trace) -> F + Send + 'static) {
    on_real_time(|trace, event_loop| {
        complete(&event_loop, test(trace.clone()));
        assert_eq!(event_loop.metrics().sources, 0, "a source is left");
        // A resolver thread holds a descriptor of its loop until it ends.
        drop(event_loop);
        wait_until_gone("callsoon-dns");
        assert_eq!(trace.take(), [""; 0], "unexpected");
    });
}

/// Keeps the transport it was made with.
#[derive(Clone, Default)]
struct Keeper(Rc<RefCell<Option<Transport>>>);

impl Protocol for Keeper {
    fn connection_made(&self, transport: &Transport) {
        *self.0.borrow_mut() = Some(transport.clone());
    }
}

/// A server, set up as wanted, a client of it, and the transport that the server has for that one.
async fn served(
    on: SocketAddr,
    set: impl FnOnce(CreateServer) -> CreateServer,
) -> (callsoon::transport::Server, TcpStream, Transport) {
    let keeper = Keeper::default();
    let made = keeper.clone();
    let server = get_running_loop().create_server(move || made.clone(), on);
    let server = set(server).await.unwrap();
    let client = TcpStream::connect(server.local_addr().unwrap()).unwrap();
    until(|| keeper.0.borrow().is_some()).await;
    let transport = keeper.0.take().unwrap();
    (server, client, transport)
}

#[test]
fn a_server_s_clients_are_sent_small_writes_at_once_and_kept_alive_on_request() {
    run(|_| async {
        for keep_alive in [false, true] {
            let (server, _client, transport) =
                served(loopback(), |server| server.keep_alive(keep_alive)).await;
            let options = transport.socket(|socket| {
                let options = (socket.tcp_nodelay(), socket.keepalive());
                (options.0.unwrap(), options.1.unwrap())
            });
            assert_eq!(options, Some((true, keep_alive)));
            server.close();
            server.abort_clients();
            server.wait_closed().await;
        }
    });
}

#[test]
fn a_port_where_old_connections_linger_is_taken_again_unless_that_is_forbidden() {
    run(|_| async {
        let (server, client, transport) = served(loopback(), |server| server).await;
        let address = server.local_addr().unwrap();
        // Who closes first is the one whose address lingers.
        transport.close();
        server.close();
        server.wait_closed().await;
        drop(client);
        let again = |reuse| {
            let server = get_running_loop().create_server(Keeper::default, address);
            server.reuse_address(reuse)
        };
        let refused = again(false).await.map(drop).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::AddrInUse);
        drop(again(true).await.unwrap());
    });
}

#[test]
fn two_servers_share_a_port_only_if_both_ask_for_it() {
    run(|_| async {
        let serve = |on, reuse| {
            let server = get_running_loop().create_server(Keeper::default, on);
            server.reuse_port(reuse)
        };
        let first = serve(loopback(), true).await.unwrap();
        let address = first.local_addr().unwrap();
        let refused = serve(address, false).await.map(drop).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::AddrInUse);
        let second = serve(address, true).await.unwrap();
        assert_eq!(second.local_addr(), Some(address));
    });
}

#[test]
fn the_empty_host_means_all_interfaces_and_each_family_has_its_own_socket() {
    run(|_| async {
        let has_v6 = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
        let server = get_running_loop().create_server(Keeper::default, ("", 0));
        let server = server.await.unwrap();
        let sockets: Vec<_> = server
            .sockets()
            .iter()
            .map(|it| it.internet().unwrap())
            .collect();
        assert_eq!(sockets.len(), 1 + usize::from(has_v6));
        for address in &sockets {
            assert!(address.ip().is_unspecified());
            let local: IpAddr = match address {
                SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            };
            TcpStream::connect((local, address.port())).unwrap();
        }
        if let [SocketAddr::V4(four), SocketAddr::V6(six)] = sockets[..] {
            // A port of its own for each, and IPv6 is for IPv6 clients only.
            assert_ne!(four.port(), six.port());
            let refused = TcpStream::connect((Ipv4Addr::LOCALHOST, six.port()));
            assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionRefused);
        }
        server.close();
        server.wait_closed().await;
    });
}

#[test]
fn several_hosts_are_looked_up_and_all_are_listened_on() {
    run(|_| async {
        let event_loop = get_running_loop();
        event_loop.set_resolver(|name| {
            let last = if name == "one.test" { 1 } else { 2 };
            Ok(vec![Ipv4Addr::new(127, 0, 0, last).into()])
        });
        let hosts = ["one.test", "two.test", "one.test", "127.0.0.1"];
        let server = event_loop.create_server(Keeper::default, (hosts, 0));
        let server = server.await.unwrap();
        let hosts: Vec<_> = server
            .sockets()
            .iter()
            .filter_map(Address::internet)
            .collect();
        let hosts: Vec<_> = hosts
            .iter()
            .map(|address| address.ip().to_string())
            .collect();
        assert_eq!(hosts, ["127.0.0.1", "127.0.0.2"]);
        let empty: [&str; 0] = [];
        let nowhere = event_loop.create_server(Keeper::default, (empty, 0)).await;
        assert_eq!(
            nowhere.map(drop).unwrap_err().kind(),
            ErrorKind::InvalidInput
        );
    });
}

#[test]
fn a_connection_of_one_family_tries_that_one_only() {
    run(|_| async {
        let listener = TcpListener::bind(loopback()).unwrap();
        let port = listener.local_addr().unwrap().port();
        let event_loop = get_running_loop();
        event_loop
            .set_resolver(|_| Ok(vec![Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()]));
        let (_reader, writer) = open_connection(("some.host", port))
            .family(socket2::Domain::IPV4)
            .happy_eyeballs_delay(None)
            .await
            .unwrap();
        let peer = writer.peername().unwrap().internet();
        assert_eq!(peer, Some((Ipv4Addr::LOCALHOST, port).into()));
        let none = open_connection(("127.0.0.1", port)).family(socket2::Domain::IPV6);
        assert_eq!(none.await.unwrap_err().kind(), ErrorKind::NotFound);
        writer.transport().abort();
        yield_now().await;
    });
}

#[test]
fn a_client_s_function_that_is_cancelled_closes_its_connection_and_says_nothing() {
    run(|_| async {
        let serve = async |mut reader: StreamReader, _writer: StreamWriter| {
            let _ = reader.read(1).await;
        };
        let server = start_server(serve, loopback()).await.unwrap();
        let opening = open_connection(server.local_addr().unwrap());
        let (mut reader, writer) = opening.await.unwrap();
        let root = callsoon::current_task().unwrap().id();
        let others = || {
            let all = get_running_loop().all_tasks();
            all.into_iter()
                .filter(|task| task.id() != root)
                .collect::<Vec<_>>()
        };
        until(|| others().len() == 1).await;
        others()[0].cancel();
        assert_eq!(reader.read_to_end().await.unwrap(), b"");
        writer.close();
        writer.wait_closed().await.unwrap();
        server.close();
        server.wait_closed().await;
    });
}

/// Panics in one of the two callbacks of buffered receiving.
struct Clumsy {
    lends: bool,
    memory: RefCell<[u8; 16]>,
    lost: Cell<Option<ErrorKind>>,
}

impl Protocol for Clumsy {
    fn buffered(&self) -> Option<&dyn BufferedProtocol> {
        Some(self)
    }

    fn connection_lost(&self, _: &Transport, error: Option<std::io::Error>) {
        self.lost.set(error.map(|error| error.kind()));
    }
}

impl BufferedProtocol for Clumsy {
    fn get_buffer(&self, _: &Transport, _: usize, receive: &mut dyn FnMut(&mut [u8])) {
        assert!(self.lends, "on purpose");
        receive(&mut *self.memory.borrow_mut());
    }

    fn buffer_updated(&self, _: &Transport, _: usize) {
        panic!("on purpose");
    }
}

#[test]
fn a_panic_in_either_callback_of_a_buffered_protocol_is_reported_and_ends_its_connection() {
    run(|trace| async move {
        for (lends, call) in [(false, "get_buffer"), (true, "buffer_updated")] {
            let (ours, mut peer) = std_pair();
            let clumsy = move || Clumsy {
                lends,
                memory: RefCell::default(),
                lost: Cell::new(None),
            };
            let connecting = get_running_loop().connect_accepted_socket(clumsy, ours);
            let (_, clumsy) = connecting.await.unwrap();
            peer.write_all(b"x").unwrap();
            until(|| clumsy.lost.get().is_some()).await;
            assert_eq!(clumsy.lost.get(), Some(ErrorKind::Other));
            trace.expect([&*format!(
                "report: Exception in a protocol's {call} (on purpose)"
            )]);
        }
    });
}

/// Pauses or ends its transport when it is asked for memory, and lends some all the same.
struct Reluctant {
    act: fn(&Transport),
    asked: Cell<usize>,
    trace: Trace,
}

impl Protocol for Reluctant {
    fn buffered(&self) -> Option<&dyn BufferedProtocol> {
        Some(self)
    }

    fn connection_lost(&self, _: &Transport, error: Option<std::io::Error>) {
        self.trace.push(format!("lost {error:?}"));
    }
}

impl BufferedProtocol for Reluctant {
    fn get_buffer(&self, transport: &Transport, _: usize, receive: &mut dyn FnMut(&mut [u8])) {
        if self.asked.replace(self.asked.get() + 1) == 0 {
            (self.act)(transport);
        }
        receive(&mut [0; 16]);
    }

    fn buffer_updated(&self, _: &Transport, count: usize) {
        self.trace.push(format!("{count} bytes"));
    }
}

#[test]
fn f4_a_transport_that_is_paused_or_ended_when_memory_is_asked_for_delivers_nothing() {
    run(|trace| async move {
        for act in [Transport::pause_reading, Transport::close, Transport::abort] {
            let (ours, mut peer) = std_pair();
            let said = trace.clone();
            let reluctant = move || Reluctant {
                act,
                asked: Cell::new(0),
                trace: said,
            };
            let connecting = get_running_loop().connect_accepted_socket(reluctant, ours);
            let (transport, reluctant) = connecting.await.unwrap();
            peer.write_all(b"bytes").unwrap();
            until(|| reluctant.asked.get() > 0).await;
            yield_now().await;
            if !transport.is_closing() {
                trace.expect([]);
                transport.resume_reading();
                until(|| reluctant.asked.get() > 1).await;
                trace.expect(["5 bytes"]);
                transport.abort();
            }
            until(|| transport.protocol().is_none()).await;
            trace.expect(["lost None"]);
        }
    });
}

#[test]
fn a_server_s_limit_is_its_clients_readers() {
    run(|trace| async move {
        let said = trace.clone();
        let serve = async move |mut reader: StreamReader, _writer: StreamWriter| {
            let line = reader.readline().await;
            said.push(line.unwrap_err());
        };
        let limit = std::num::NonZeroUsize::new(10).unwrap();
        let server = start_server(serve, loopback()).limit(limit).await.unwrap();
        let opening = open_connection(server.local_addr().unwrap());
        let (mut reader, writer) = opening.await.unwrap();
        writer.write(b"eleven characters\n");
        assert_eq!(reader.read_to_end().await.unwrap(), b"");
        writer.close();
        writer.wait_closed().await.unwrap();
        server.close();
        server.wait_closed().await;
        trace.expect(["17 bytes without a separator are more than the reader's limit"]);
    });
}

#[test]
fn the_descriptor_of_a_transport_cannot_be_watched_by_others() {
    run(|_| async {
        let (ours, _peer) = std_pair();
        let event_loop = get_running_loop();
        let connecting = event_loop.connect_accepted_socket(Keeper::default, ours);
        let (transport, _) = connecting.await.unwrap();
        let refused = transport.socket(|socket| {
            let reader = event_loop.add_reader(socket, || ()).unwrap_err();
            let writer = event_loop.add_writer(socket, || ()).unwrap_err();
            assert!(!event_loop.remove_reader(socket));
            (reader.kind(), writer.kind())
        });
        let exists = ErrorKind::AlreadyExists;
        assert_eq!(refused, Some((exists, exists)));
        transport.abort();
        until(|| transport.protocol().is_none()).await;
    });
}

#[test]
fn e8_a_dead_datagram_socket_s_file_is_replaced() {
    run(|_| async {
        let name = format!("callsoon-stale-datagrams-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        drop(std::os::unix::net::UnixDatagram::bind(&path).unwrap());
        assert!(path.exists());
        let socket = callsoon::net::UnixDatagram::bind(&path).await.unwrap();
        let peer = std::os::unix::net::UnixDatagram::unbound().unwrap();
        peer.send_to(b"hello", &path).unwrap();
        assert_eq!(socket.recv(&mut [0; 16]).await.unwrap(), 5);
        // Now there is a client.
        let second = callsoon::net::UnixDatagram::bind(&path).await;
        assert_eq!(second.unwrap_err().kind(), ErrorKind::AddrInUse);
        drop(socket);
        assert!(!path.exists());
    });
}

#[test]
fn a_service_by_name_is_looked_up_and_one_by_number_is_not() {
    run(|_| async {
        let event_loop = get_running_loop();
        let hints = callsoon::net::AddrInfoHints {
            socktype: Some(socket2::Type::STREAM),
            ..callsoon::net::AddrInfoHints::default()
        };
        // Where this machine knows the name, it is port 80; where it does not, that is an error of the resolver's.
        let by_name = event_loop.getaddrinfo(Some("127.0.0.1"), Some("http"), hints);
        match by_name.await {
            Ok(found) => assert_eq!(found[0].sockaddr.as_socket().unwrap().port(), 80),
            Err(error) => assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}"),
        }
        let mut by_number = Box::pin(event_loop.getaddrinfo(Some("127.0.0.1"), Some("80"), hints));
        let found = crate::support::poll_once(&mut by_number).await;
        let found = found.expect("nothing to wait for").unwrap();
        assert_eq!(found[0].sockaddr.as_socket().unwrap().port(), 80);
    });
}
