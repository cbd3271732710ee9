//! What an interpreter's protocols ask of servers and transports: the sockets themselves, families, factories that fail, and
//! names and numbers that outlive what they belong to.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream as StdStream};
use std::os::fd::AsRawFd as _;
use std::rc::Rc;

use callsoon::get_running_loop;
use callsoon::transport::{BindError, Protocol, ServeError, Server};
use socket2::Domain;

use crate::support::{Recorder, Trace, loopback, quiet_panics, recorded, settling, until};

struct Idle;

impl Protocol for Idle {}

async fn idle_server() -> Server {
    let created = get_running_loop().create_server(|| Idle, loopback());
    created.await.unwrap()
}

fn number_is_open(number: i32) -> bool {
    std::fs::symlink_metadata(format!("/proc/self/fd/{number}")).is_ok()
}

#[test]
fn a_server_lends_its_sockets_before_it_listens_and_after() {
    settling(|event_loop, _| async move {
        let two = [loopback(), "127.0.0.2:0".parse::<SocketAddr>().unwrap()];
        let create = event_loop.create_server(|| Idle, &two[..]);
        let server = create.start_serving(false).await.unwrap();
        let listens = |server: &Server| server.with_sockets(|socket| socket.is_listener().unwrap());
        let numbers = server.with_sockets(|socket| socket.as_raw_fd());
        assert_eq!(listens(&server), [false, false]);
        server.with_sockets(|socket| socket.set_keepalive(true).unwrap());
        server.start_serving().unwrap();
        assert_eq!(listens(&server), [true, true]);
        assert_eq!(server.with_sockets(|socket| socket.as_raw_fd()), numbers);
        assert_eq!(
            server.with_sockets(|socket| socket.keepalive().unwrap()),
            [true, true]
        );
        let addresses: Vec<_> = server.sockets().iter().map(|a| a.internet()).collect();
        let asked = server.with_sockets(|socket| socket.local_addr().unwrap().as_socket());
        assert_eq!(asked, addresses);
        server.close();
        assert_eq!(server.with_sockets(|_| ()), []);
    });
}

#[test]
fn a_server_may_be_closed_asked_and_started_while_its_sockets_are_lent() {
    settling(|event_loop, _| async move {
        let server = Rc::new(idle_server().await);
        let lent = Rc::clone(&server);
        let numbers = server.with_sockets(|socket| {
            assert_eq!(lent.with_sockets(|_| ()), [], "inside");
            assert_eq!(lent.sockets().len(), 1);
            lent.start_serving().unwrap();
            lent.close();
            assert!(socket.is_listener().unwrap(), "it is still lent");
            socket.as_raw_fd()
        });
        assert!(!number_is_open(numbers[0]), "closed afterwards");
        server.wait_closed().await;

        let create = event_loop.create_server(|| Idle, loopback());
        let server = Rc::new(create.start_serving(false).await.unwrap());
        let lent = Rc::clone(&server);
        server.with_sockets(|_| match lent.start_serving() {
            Err(ServeError::Io(error)) => assert_eq!(error.kind(), ErrorKind::ResourceBusy),
            other => panic!("{other:?}"),
        });
        server.start_serving().unwrap();
        // A program that panics has given the sockets back.
        let lent = Rc::clone(&server);
        let panicking = std::panic::AssertUnwindSafe(|| {
            server.with_sockets(|_| {
                lent.close();
                panic!("on purpose")
            })
        });
        quiet_panics();
        assert!(std::panic::catch_unwind(panicking).is_err());
        assert_eq!(server.sockets(), []);
    });
}

#[test]
fn a_server_binds_to_one_family_if_it_is_told_to() {
    settling(|event_loop, _| async move {
        let everywhere = event_loop.create_server(|| Idle, ("", 0));
        let server = everywhere.family(Domain::IPV4).await.unwrap();
        let addresses = server.sockets();
        assert_eq!(addresses.len(), 1, "{addresses:?}");
        assert!(addresses[0].internet().unwrap().is_ipv4());
        let none = event_loop.create_server(|| Idle, loopback());
        let error = none.family(Domain::IPV6).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    });
}

#[test]
fn a_factory_that_fails_costs_its_client_and_nobody_else() {
    quiet_panics();
    settling(|event_loop, trace| async move {
        let t = trace.clone();
        let clients = std::cell::Cell::new(0);
        let factory = move || {
            clients.set(clients.get() + 1);
            match clients.get() {
                1 => Err("no room"),
                2 => panic!("on purpose"),
                _ => Ok(Recorder::new(&t)),
            }
        };
        let server = event_loop.try_create_server(factory, loopback());
        let server = server.await.unwrap();
        let address = server.local_addr().unwrap();
        for report in [
            "report: Exception in a protocol factory (no room)",
            "report: Exception in a protocol factory (on purpose)",
        ] {
            let mut refused = StdStream::connect(address).unwrap();
            let mut lines = Vec::new();
            until_lines(&trace, &mut lines, 1).await;
            assert_eq!(lines, [report]);
            assert_eq!(refused.read(&mut [0]).unwrap(), 0, "closed");
        }
        assert!(server.is_serving());
        let mut client = StdStream::connect(address).unwrap();
        client.write_all(b"hello").unwrap();
        let mut lines = Vec::new();
        until_lines(&trace, &mut lines, 2).await;
        assert_eq!(lines, ["made", "data hello"]);
        drop(client);
        server.close();
        server.wait_closed().await;
        trace.expect(["eof", "lost"]);
    });
}

/// Runs turns until so many lines were written.
async fn until_lines(trace: &Trace, lines: &mut Vec<String>, count: usize) {
    while lines.len() < count {
        callsoon::sleep(std::time::Duration::from_micros(200)).await;
        lines.extend(trace.take());
    }
}

#[test]
fn both_names_are_kept_after_the_loss() {
    settling(|_, trace| async move {
        let (transport, recorder, peer) = recorded(Recorder::new(&trace)).await;
        let names = (transport.sockname(), transport.peername());
        assert_eq!(
            names.0.as_ref().unwrap().internet(),
            Some(peer.peer_addr().unwrap())
        );
        drop(peer);
        until(|| recorder.lost.get()).await;
        assert!(transport.protocol().is_none());
        assert_eq!((transport.sockname(), transport.peername()), names);
        trace.expect(["made", "eof", "lost"]);
    });
}

#[test]
fn a_bind_error_has_the_number_and_the_place() {
    settling(|event_loop, _| async move {
        let first = idle_server().await;
        let taken = first.local_addr().unwrap();
        let error = event_loop.create_server(|| Idle, taken).await.unwrap_err();
        let inside = BindError::of(&error).unwrap();
        assert_eq!(inside.raw_os_error(), Some(libc::EADDRINUSE));
        assert_eq!(inside.place(), taken.to_string());
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        assert!(error.to_string().contains(&taken.to_string()), "{error}");
        let nowhere = event_loop.create_unix_server(|| Idle, "/nobody/is/here");
        let error = nowhere.await.unwrap_err();
        let inside = BindError::of(&error).unwrap();
        assert_eq!(inside.raw_os_error(), Some(libc::ENOENT));
        let other = event_loop.create_server(|| Idle, ("", 0));
        let error = other.family(Domain::UNIX).await.unwrap_err();
        assert!(BindError::of(&error).is_none());
    });
}

#[test]
fn an_abstract_name_is_bytes() {
    settling(|event_loop, _| async move {
        let name = format!("callsoon {} \u{e9}", std::process::id());
        let server = event_loop.create_unix_server(|| Idle, format!("\0{name}"));
        let server = server.await.unwrap();
        let address = &server.sockets()[0];
        assert_eq!(address.abstract_name(), Some(name.as_bytes()));
        assert_eq!((address.path(), address.internet()), (None, None));
        let client = event_loop.create_unix_connection(|| Idle, format!("\0{name}"));
        let (client, _) = client.await.unwrap();
        assert_eq!(
            client.peername().unwrap().abstract_name(),
            Some(name.as_bytes())
        );
        assert_eq!(client.sockname().unwrap().abstract_name(), None);
        let internet = callsoon::transport::Address::from(loopback());
        assert_eq!(internet.abstract_name(), None);
        client.close();
        server.close();
        server.wait_closed().await;
    });
}
