//! Servers: what they listen on, how they end, and what goes on after that.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream as StdStream;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::rc::Rc;
use std::task::Context;
use std::time::Duration;

use callsoon::transport::{Protocol, ServeError, Server, Transport};
use callsoon::{create_task, get_running_loop, yield_now};

use crate::support::{
    HostileWaker, Recorder, Touch, Trace, Waiting, audited, complete, loopback, on_real_time,
    on_virtual_time, until, virtual_loop,
};

struct Echo;

impl Protocol for Echo {
    fn data_received(&self, transport: &Transport, data: &[u8]) {
        transport.write(data);
    }
}

fn run<F: Future<Output = ()>>(test: impl FnOnce(Trace) -> F + Send + 'static) {
    on_real_time(|trace, event_loop| {
        complete(&event_loop, test(trace.clone()));
        assert_eq!(event_loop.metrics().sources, 0, "a source is left");
        assert_eq!(trace.take(), [""; 0], "unexpected");
    });
}

async fn echo_server() -> Server {
    get_running_loop()
        .create_server(|| Echo, loopback())
        .await
        .unwrap()
}

fn connect(server: &Server) -> StdStream {
    let client = StdStream::connect(server.local_addr().unwrap()).unwrap();
    client.set_nonblocking(true).unwrap();
    client
}

/// Sends a byte and waits for its echo while the loop turns.
async fn ask(client: &mut (impl Read + Write)) {
    client.write_all(b"?").unwrap();
    loop {
        match client.read(&mut [0; 1]) {
            Ok(count) => return assert_eq!(count, 1),
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        yield_now().await;
    }
}

async fn is_at_end(client: &mut impl Read) -> bool {
    loop {
        match client.read(&mut [0; 1]) {
            Ok(count) => return count == 0,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return true,
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        yield_now().await;
    }
}

#[test]
fn closing_leaves_connections_alone_and_waiting_waits_for_them() {
    run(|_| async {
        let server = echo_server().await;
        let mut client = connect(&server);
        ask(&mut client).await;
        let address = server.local_addr().unwrap();
        server.close();
        server.close();
        assert!(!server.is_serving() && server.sockets().is_empty());
        assert_eq!(
            StdStream::connect(address).unwrap_err().kind(),
            ErrorKind::ConnectionRefused
        );
        let mut waiting = Waiting::begun(server.wait_closed());
        ask(&mut client).await;
        assert!(!waiting.is_woken());
        drop(client);
        until(|| waiting.is_woken()).await;
        assert!(waiting.poll().is_some());
        drop(waiting);
        server.wait_closed().await;
    });
}

#[test]
fn waiting_may_begin_before_closing_and_the_clients_may_be_gone_first() {
    run(|_| async {
        let server = Rc::new(echo_server().await);
        let waiting = {
            let server = server.clone();
            create_task(async move { server.wait_closed().await })
        };
        let mut client = connect(&server);
        ask(&mut client).await;
        drop(client);
        // The server has noticed.
        until(|| get_running_loop().metrics().sources == 1).await;
        assert!(!waiting.done());
        server.close();
        waiting.await.unwrap();
    });
}

#[test]
fn close_clients_sends_what_is_buffered_and_abort_clients_does_not_wait() {
    run(|_| async {
        for abort in [false, true] {
            let server = echo_server().await;
            let mut clients: Vec<_> = (0..3).map(|_| connect(&server)).collect();
            for client in &mut clients {
                ask(client).await;
            }
            server.close();
            if abort {
                server.abort_clients();
            } else {
                server.close_clients();
            }
            server.wait_closed().await;
            for client in &mut clients {
                assert!(is_at_end(client).await);
            }
        }
    });
}

#[test]
fn shutdown_waits_for_clients_until_its_deadline_and_aborts_the_rest() {
    // On the virtual clock, and over Unix sockets, which report an end at once: a client that leaves before the
    // deadline has left.
    on_virtual_time(|trace, event_loop| {
        complete(&event_loop, async {
            let path = SocketPath::new("shutdown");
            let serve = || get_running_loop().create_unix_server(|| Echo, &path.0);
            let connect = || {
                let client = UnixStream::connect(&path.0).unwrap();
                client.set_nonblocking(true).unwrap();
                client
            };
            let server = serve().await.unwrap();
            let (mut stays, mut goes) = (connect(), connect());
            ask(&mut stays).await;
            ask(&mut goes).await;
            let start = get_running_loop().time();
            get_running_loop().call_later(Duration::from_millis(5), move || drop(goes));
            assert_eq!(server.shutdown(Duration::from_millis(50)).await, 1);
            assert_eq!(get_running_loop().time() - start, Duration::from_millis(50));
            assert!(is_at_end(&mut stays).await);

            let server = serve().await.unwrap();
            let mut goes = connect();
            ask(&mut goes).await;
            let start = get_running_loop().time();
            get_running_loop().call_later(Duration::from_millis(5), move || drop(goes));
            assert_eq!(server.shutdown(Duration::from_secs(10)).await, 0);
            assert_eq!(get_running_loop().time() - start, Duration::from_millis(5));
        });
        assert_eq!(event_loop.metrics().sources, 0, "a source is left");
        trace.expect([]);
    });
}

#[test]
fn dropping_a_server_closes_it_and_a_detached_one_serves_on() {
    on_real_time(|_, event_loop| {
        complete(&event_loop, async {
            let server = echo_server().await;
            let address = server.local_addr().unwrap();
            let mut client = connect(&server);
            ask(&mut client).await;
            drop(server);
            assert!(StdStream::connect(address).is_err());
            ask(&mut client).await;

            let server = echo_server().await;
            let address = server.local_addr().unwrap();
            server.detach();
            let mut client = StdStream::connect(address).unwrap();
            client.set_nonblocking(true).unwrap();
            ask(&mut client).await;
        });
        // The listener, and perhaps connections whose clients have just gone.
        assert!(event_loop.metrics().sources >= 1);
    });
}

#[test]
fn serving_starts_when_it_is_asked_for_and_serve_forever_ends_with_close() {
    run(|_| async {
        let event_loop = get_running_loop();
        let server = event_loop
            .create_server(|| Echo, loopback())
            .start_serving(false)
            .await
            .unwrap();
        let address = server.local_addr().unwrap();
        assert!(!server.is_serving());
        assert!(
            StdStream::connect(address).is_err(),
            "it is bound and does not listen"
        );
        let server = Rc::new(server);
        let serving = {
            let server = server.clone();
            create_task(async move { server.serve_forever().await })
        };
        yield_now().await;
        assert!(server.is_serving());
        assert!(matches!(
            server.serve_forever().await,
            Err(ServeError::AlreadyServing)
        ));
        ask(&mut connect(&server)).await;
        server.start_serving().unwrap();
        server.close();
        serving.await.unwrap().unwrap();
        assert!(matches!(
            server.serve_forever().await,
            Err(ServeError::Closed)
        ));
        assert!(matches!(server.start_serving(), Err(ServeError::Closed)));
        server.wait_closed().await;
    });
}

#[test]
fn cancelling_serve_forever_closes_the_server() {
    run(|_| async {
        let server = echo_server().await;
        drop(Waiting::begun(server.serve_forever()));
        assert!(!server.is_serving());
        server.wait_closed().await;
    });
}

#[test]
fn several_addresses_have_a_socket_each_and_equal_ones_one() {
    run(|_| async {
        let event_loop = get_running_loop();
        let v6 = std::net::SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, 0));
        let has_v6 = std::net::TcpListener::bind(v6).is_ok();
        let mut addresses = vec![loopback(), loopback()];
        if has_v6 {
            addresses.push(v6);
        }
        let server = event_loop.create_server(|| Echo, addresses).await.unwrap();
        assert_eq!(server.sockets().len(), 1 + usize::from(has_v6));
        for address in server.sockets() {
            let mut client = StdStream::connect(address.internet().unwrap()).unwrap();
            client.set_nonblocking(true).unwrap();
            ask(&mut client).await;
        }
        server.close();
        server.wait_closed().await;
    });
}

#[test]
fn an_address_in_use_is_named_and_nothing_stays_bound() {
    run(|_| async {
        let event_loop = get_running_loop();
        let taken = std::net::TcpListener::bind(loopback()).unwrap();
        // Nobody gets its port from the system again so soon.
        let free = std::net::TcpListener::bind(loopback())
            .unwrap()
            .local_addr()
            .unwrap();
        let addresses = [free, taken.local_addr().unwrap()];
        let error = event_loop
            .create_server(|| Echo, addresses)
            .await
            .map(drop)
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        assert!(
            error.to_string().contains(&addresses[1].to_string()),
            "{error}"
        );
        drop(std::net::TcpListener::bind(free).unwrap());

        let nowhere = std::net::SocketAddr::from(([192, 0, 2, 1], 0));
        let server = event_loop
            .create_server(|| Echo, [nowhere, loopback()])
            .await
            .unwrap();
        assert_eq!(
            server.sockets().len(),
            1,
            "what this machine does not have is left out"
        );
        let error = event_loop
            .create_server(|| Echo, nowhere)
            .await
            .map(drop)
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrNotAvailable);
        let none: [std::net::SocketAddr; 0] = [];
        let error = event_loop
            .create_server(|| Echo, none)
            .await
            .map(drop)
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn an_existing_listener_is_served() {
    run(|_| async {
        let event_loop = get_running_loop();
        let listener = std::net::TcpListener::bind(loopback()).unwrap();
        let address = listener.local_addr().unwrap();
        let server = event_loop
            .create_server(|| Echo, listener)
            .keep_alive(true)
            .await
            .unwrap();
        assert_eq!(server.local_addr(), Some(address));
        ask(&mut connect(&server)).await;
        server.close();
        server.wait_closed().await;
        let datagrams = std::net::UdpSocket::bind(loopback()).unwrap();
        let refused = event_loop
            .create_server(|| Echo, socket2::Socket::from(datagrams))
            .await;
        assert_eq!(
            refused.map(drop).unwrap_err().kind(),
            ErrorKind::InvalidInput
        );
    });
}

#[test]
fn a_factory_that_panics_costs_one_client() {
    run(|trace| async move {
        let first = std::cell::Cell::new(true);
        let factory = move || {
            if first.replace(false) {
                panic!("on purpose");
            }
            Echo
        };
        let server = get_running_loop()
            .create_server(factory, loopback())
            .await
            .unwrap();
        let mut unlucky = connect(&server);
        assert!(is_at_end(&mut unlucky).await);
        ask(&mut connect(&server)).await;
        server.close();
        server.wait_closed().await;
        trace.expect(["report: Exception in a protocol factory (on purpose)"]);
    });
}

#[test]
fn a_server_that_is_closed_while_it_accepts_stops_at_once() {
    run(|_| async {
        let holder: Rc<std::cell::RefCell<Option<Server>>> = Rc::default();
        let inside = holder.clone();
        let factory = move || {
            if let Some(server) = &*inside.borrow() {
                server.close();
            }
            Echo
        };
        let server = get_running_loop()
            .create_server(factory, loopback())
            .await
            .unwrap();
        let clients: Vec<_> = (0..5).map(|_| connect(&server)).collect();
        *holder.borrow_mut() = Some(server);
        let is_open = || holder.borrow().as_ref().unwrap().is_serving();
        until(|| !is_open()).await;
        drop(clients);
        let server = holder.borrow_mut().take().unwrap();
        server.wait_closed().await;
    });
}

/// A path for a socket, which is removed at the end.
struct SocketPath(PathBuf);

impl SocketPath {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("callsoon-{name}-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        Self(path)
    }
}

impl Drop for SocketPath {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn e8_a_stale_file_is_taken_away_and_that_of_a_live_server_is_not() {
    run(|_| async {
        let event_loop = get_running_loop();
        let path = SocketPath::new("stale");
        drop(UnixListener::bind(&path.0).unwrap());
        assert!(path.0.exists());
        let server = event_loop
            .create_unix_server(|| Echo, &path.0)
            .await
            .unwrap();
        assert_eq!(server.sockets()[0].path(), Some(path.0.as_path()));
        assert_eq!(
            server.sockets()[0].to_string(),
            path.0.display().to_string()
        );
        let error = event_loop
            .create_unix_server(|| Echo, &path.0)
            .await
            .map(drop)
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        assert!(
            error.to_string().contains(&path.0.display().to_string()),
            "{error}"
        );
        let recorder = Recorder::new(&Trace::new()).on("data", Transport::close);
        let (client, recorder) = event_loop
            .create_unix_connection(|| recorder, &path.0)
            .await
            .unwrap();
        client.write(b"?");
        until(|| recorder.lost.get()).await;
        server.close();
        server.wait_closed().await;
        assert!(!path.0.exists(), "the server's own file is removed");
    });
}

#[test]
fn e8_what_is_no_socket_is_left_alone_and_so_is_another_servers_file() {
    run(|_| async {
        let event_loop = get_running_loop();
        let path = SocketPath::new("file");
        std::fs::write(&path.0, "precious").unwrap();
        let error = event_loop
            .create_unix_server(|| Echo, &path.0)
            .await
            .map(drop)
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        assert_eq!(std::fs::read_to_string(&path.0).unwrap(), "precious");
        std::fs::remove_file(&path.0).unwrap();

        let server = event_loop
            .create_unix_server(|| Echo, &path.0)
            .await
            .unwrap();
        std::fs::remove_file(&path.0).unwrap();
        let another = UnixListener::bind(&path.0).unwrap();
        server.close();
        assert!(path.0.exists(), "it is another's by now");
        drop(another);

        std::fs::remove_file(&path.0).unwrap();
        let server = event_loop
            .create_unix_server(|| Echo, &path.0)
            .cleanup_socket(false)
            .await
            .unwrap();
        server.close();
        assert!(path.0.exists());
    });
}

#[test]
fn e8_names_that_are_none_are_refused_and_abstract_ones_may_hold_zero_bytes() {
    run(|_| async {
        let event_loop = get_running_loop();
        let long = format!("/tmp/{}", "x".repeat(200));
        for path in ["", "/tmp/a\0b", &long] {
            let error = event_loop
                .create_unix_server(|| Echo, path)
                .await
                .map(drop)
                .unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{path:?}");
            let error = event_loop
                .create_unix_connection(|| Echo, path)
                .await
                .map(drop);
            assert_eq!(
                error.unwrap_err().kind(),
                ErrorKind::InvalidInput,
                "{path:?}"
            );
        }
        let name = format!("\0callsoon-{}\0\0x", std::process::id());
        let server = event_loop.create_unix_server(|| Echo, &name).await.unwrap();
        assert!(server.sockets()[0].to_string().starts_with("@callsoon-"));
        let (client, _) = event_loop
            .create_unix_connection(|| Echo, &name)
            .await
            .unwrap();
        client.close();
        server.close();
        server.wait_closed().await;
    });
}

#[test]
fn a_unix_server_whose_backlog_is_full_is_asked_again() {
    run(|_| async {
        let event_loop = get_running_loop();
        let path = SocketPath::new("full");
        let server = event_loop
            .create_unix_server(|| Echo, &path.0)
            .backlog(1)
            .await
            .unwrap();
        // Nobody accepts as long as this does not await.
        let probe = || {
            let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None);
            let socket = socket.unwrap();
            socket.set_nonblocking(true).unwrap();
            socket
                .connect(&socket2::SockAddr::unix(&path.0).unwrap())
                .map(|()| socket)
        };
        let mut waiting = Vec::new();
        while let Ok(socket) = probe() {
            waiting.push(socket);
        }
        let (client, _) = event_loop
            .create_unix_connection(|| Echo, &path.0)
            .await
            .unwrap();
        client.close();
        drop(waiting);
        server.close();
        server.wait_closed().await;
    });
}

#[test]
fn a_unix_stream_tells_its_unnamed_peer() {
    run(|_| async {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (transport, _) = get_running_loop()
            .connect_accepted_socket(|| Echo, ours)
            .await
            .unwrap();
        assert_eq!(transport.peername().unwrap().to_string(), "unnamed");
        drop(theirs);
        until(|| transport.protocol().is_none()).await;
    });
}

#[test]
fn a_waker_that_panics_when_a_server_closes_is_reported_to_the_server_s_own_loop() {
    audited(|| {
        let trace = Trace::new();
        let (event_loop, other) = (virtual_loop(&trace), virtual_loop(&Trace::new()));
        let server = event_loop.run_until_complete(echo_server()).unwrap();
        let hostile = HostileWaker::new(|touch| {
            if touch == Touch::Wake {
                panic!("on purpose");
            }
        });
        let waker = hostile.waker();
        let mut closed = Box::pin(server.wait_closed());
        let polled = closed.as_mut().poll(&mut Context::from_waker(&waker));
        assert!(polled.is_pending());
        other.run_until_complete(async { server.close() }).unwrap();
        assert_eq!(hostile.count(Touch::Wake), 1);
        trace.expect(["report: Exception in a waker (on purpose)"]);
    });
}
