//! Datagram endpoints: protocols for UDP and Unix datagrams.

use std::cell::Cell;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket as StdSocket};
use std::rc::Rc;
use std::time::Duration;

use callsoon::net::{Unix, UnixDatagram};
use callsoon::transport::{DatagramProtocol, DatagramTransport};
use callsoon::{EventLoop, get_running_loop, sleep, yield_now};

use crate::support::{
    Trace, audited, complete, counted_fds, loopback, on_real_time, warnings_of, watched,
};

/// Records its calls.
struct Recorder {
    trace: Trace,
    panics: Cell<bool>,
}

impl Recorder {
    fn new(trace: &Trace) -> Self {
        Self {
            trace: trace.clone(),
            panics: Cell::new(false),
        }
    }
}

impl DatagramProtocol for Recorder {
    fn connection_made(&self, transport: &DatagramTransport) {
        assert!(transport.local_addr().is_ok());
        self.trace.push("made");
    }

    fn datagram_received(&self, _: &DatagramTransport, data: &[u8], _: SocketAddr) {
        self.trace.push(String::from_utf8_lossy(data));
        assert!(!self.panics.get(), "on purpose");
    }

    fn error_received(&self, _: &DatagramTransport, error: io::Error) {
        self.trace.push(error.kind());
    }

    fn connection_lost(&self, transport: &DatagramTransport, error: Option<io::Error>) {
        assert!(transport.is_closing());
        self.trace.push(format!("lost {error:?}"));
    }
}

/// Waits until the trace has so many lines.
async fn until(trace: &Trace, count: usize) -> Vec<String> {
    let mut lines = trace.take();
    while lines.len() < count {
        sleep(Duration::from_millis(1)).await;
        lines.extend(trace.take());
    }
    lines
}

#[test]
fn an_endpoint_s_life_has_a_beginning_datagrams_and_one_end() {
    on_real_time(|trace, event_loop| {
        let t = trace.clone();
        complete(&event_loop, async move {
            let open = counted_fds();
            let recorder = Recorder::new(&t);
            let endpoint = get_running_loop().create_datagram_endpoint(|| recorder);
            let (transport, _protocol) = endpoint.local_addr(loopback()).await.unwrap();
            t.expect(["made"]);
            let peer = StdSocket::bind(loopback()).unwrap();
            let address = transport.local_addr().unwrap();
            for text in ["one", "", "three"] {
                peer.send_to(text.as_bytes(), address).unwrap();
            }
            assert_eq!(until(&t, 3).await, ["one", "", "three"]);
            transport.close();
            transport.close();
            // What arrives now is delivered to no endpoint.
            peer.send_to(b"late", address).unwrap();
            assert_eq!(until(&t, 1).await, ["lost None"]);
            yield_now().await;
            assert_eq!(counted_fds(), open + 1);
            assert!(transport.local_addr().is_err());
            transport.abort();
        });
        trace.expect([]);
        assert_eq!(event_loop.metrics().tasks, 0);
    });
}

#[test]
fn a_connected_endpoint_sends_to_its_peer_only_and_receives_from_no_other() {
    on_real_time(|trace, event_loop| {
        let t = trace.clone();
        complete(&event_loop, async move {
            let peer = StdSocket::bind(loopback()).unwrap();
            let other = StdSocket::bind(loopback()).unwrap();
            let recorder = Recorder::new(&t);
            let endpoint = get_running_loop().create_datagram_endpoint(|| recorder);
            let endpoint = endpoint.local_addr("127.0.0.1:0");
            let address = peer.local_addr().unwrap();
            let (transport, _) = endpoint.remote_addr(address).await.unwrap();
            t.take();
            assert_eq!(transport.peer_addr(), Some(&address));
            transport.sendto(b"by no address", None).unwrap();
            transport.sendto(b"", Some(address)).unwrap();
            let error = transport.sendto(b"x", other.local_addr().ok());
            assert_eq!(error.unwrap_err().kind(), ErrorKind::InvalidInput);
            let mut buffer = [0; 64];
            assert_eq!(peer.recv(&mut buffer).unwrap(), 13);
            assert_eq!(peer.recv(&mut buffer).unwrap(), 0);
            let own = transport.local_addr().unwrap();
            other.send_to(b"psst", own).unwrap();
            peer.send_to(b"answer", own).unwrap();
            assert_eq!(until(&t, 1).await, ["answer"]);
            transport.close();
            until(&t, 1).await;
        });
    });
}

#[test]
fn e7_a_dead_port_is_an_error_received_and_the_endpoint_goes_on() {
    on_real_time(|trace, event_loop| {
        let t = trace.clone();
        complete(&event_loop, async move {
            // It receives from itself alone, and holds the port.
            let peer = StdSocket::bind(loopback()).unwrap();
            let address = peer.local_addr().unwrap();
            peer.connect(address).unwrap();
            let recorder = Recorder::new(&t);
            let endpoint = get_running_loop().create_datagram_endpoint(|| recorder);
            let (transport, _) = endpoint.remote_addr(address).await.unwrap();
            t.take();
            transport.sendto(b"anybody?", None).unwrap();
            assert_eq!(until(&t, 1).await, ["connection refused"]);
            // Too long for the protocol: said at once, and the endpoint lives.
            transport.sendto(&[0; 70_000], None).unwrap();
            assert_eq!(t.take().len(), 1);
            peer.connect(transport.local_addr().unwrap()).unwrap();
            peer.send(b"here now").unwrap();
            assert_eq!(until(&t, 1).await, ["here now"]);
            transport.abort();
            assert_eq!(until(&t, 1).await, ["lost None"]);
        });
    });
}

#[test]
fn b1_a_panic_of_the_protocol_is_reported_and_the_endpoint_goes_on() {
    on_real_time(|trace, event_loop| {
        let t = trace.clone();
        complete(&event_loop, async move {
            let recorder = Recorder::new(&t);
            let endpoint = get_running_loop().create_datagram_endpoint(|| recorder);
            let (transport, protocol) = endpoint.local_addr(loopback()).await.unwrap();
            t.take();
            let own = transport.local_addr().unwrap();
            protocol.panics.set(true);
            transport.sendto(b"bomb", Some(own)).unwrap();
            let report = "report: Exception in a protocol's datagram_received (on purpose)";
            assert_eq!(until(&t, 2).await, ["bomb", report]);
            protocol.panics.set(false);
            transport.sendto(b"fine", Some(own)).unwrap();
            assert_eq!(until(&t, 1).await, ["fine"]);
            transport.close();
            until(&t, 1).await;
        });
    });
}

/// Counts pauses, on a Unix socket, whose receiver can be slow.
struct Slow {
    trace: Trace,
}

impl DatagramProtocol<Unix> for Slow {
    fn pause_writing(&self, transport: &DatagramTransport<Unix>) {
        assert!(transport.write_buffer_size() > 64 * 1024);
        self.trace.push("pause");
    }

    fn resume_writing(&self, transport: &DatagramTransport<Unix>) {
        assert!(transport.write_buffer_size() <= 16 * 1024);
        self.trace.push("resume");
    }

    fn connection_lost(&self, _: &DatagramTransport<Unix>, _: Option<io::Error>) {
        self.trace.push("lost");
    }
}

#[test]
fn a_slow_receiver_pauses_the_writer_once_and_close_sends_what_waits() {
    on_real_time(|trace, event_loop| {
        let t = trace.clone();
        complete(&event_loop, async move {
            let (near, far) = UnixDatagram::pair().unwrap();
            let protocol = Slow { trace: t.clone() };
            let handle = get_running_loop();
            let (transport, _) = handle.create_datagram_endpoint_on(near, || protocol);
            let mut sent = 0_u16;
            while transport.write_buffer_size() <= 80 * 1024 {
                let mut data = [0; 1000];
                data[..2].copy_from_slice(&sent.to_be_bytes());
                transport.sendto(&data, None).unwrap();
                sent += 1;
            }
            t.expect(["pause"]);
            let before = transport.write_buffer_size();
            // An empty one counts too.
            transport.sendto(b"", None).unwrap();
            assert_eq!(transport.write_buffer_size(), before + 8);
            transport.close();
            let mut buffer = [0; 2000];
            for number in 0..sent {
                assert_eq!(far.recv(&mut buffer).await.unwrap(), 1000);
                assert_eq!(buffer[..2], number.to_be_bytes());
            }
            assert_eq!(far.recv(&mut buffer).await.unwrap(), 0);
            assert_eq!(until(&t, 2).await, ["resume", "lost"]);
            assert_eq!(transport.write_buffer_size(), 0);
        });
    });
}

#[test]
fn abort_drops_what_waits_and_later_datagrams_are_dropped_and_counted() {
    on_real_time(|trace, event_loop| {
        let t = trace.clone();
        let lines = warnings_of(|| {
            complete(&event_loop, async move {
                let (near, far) = UnixDatagram::pair().unwrap();
                let protocol = Slow { trace: t.clone() };
                let handle = get_running_loop();
                let (transport, _) = handle.create_datagram_endpoint_on(near, || protocol);
                while transport.write_buffer_size() == 0 {
                    transport.sendto(b"x", None).unwrap();
                }
                transport.abort();
                assert_eq!(transport.write_buffer_size(), 0);
                assert_eq!(until(&t, 1).await, ["lost"]);
                for _ in 0..5 {
                    transport.sendto(b"late", None).unwrap();
                }
                drop(far);
            });
        });
        assert_eq!(lines.len(), 1, "{lines:?}");
    });
}

#[test]
fn addresses_that_do_not_go_together_are_errors_and_leave_nothing_open() {
    on_real_time(|trace, event_loop| {
        let t = trace.clone();
        complete(&event_loop, async move {
            let open = counted_fds();
            let handle = get_running_loop();
            // The factory borrows, and is called by the endpoint that is made, no other.
            let made = Cell::new(0);
            let factory = || {
                made.set(made.get() + 1);
                Recorder::new(&t)
            };
            let endpoint = || handle.create_datagram_endpoint(factory);
            let invalid = |error: io::Error| assert_eq!(error.kind(), ErrorKind::InvalidInput);
            invalid(endpoint().await.err().unwrap());
            let both = endpoint().local_addr("127.0.0.1:0").remote_addr("[::1]:9");
            invalid(both.await.err().unwrap());
            invalid(endpoint().local_addr("no port").await.err().unwrap());
            let other = endpoint()
                .local_addr(loopback())
                .family(socket2::Domain::IPV6);
            assert_eq!(other.await.err().unwrap().kind(), ErrorKind::NotFound);
            let taken = StdSocket::bind(loopback()).unwrap();
            let again = endpoint().local_addr(taken.local_addr().unwrap()).await;
            assert_eq!(again.err().unwrap().kind(), ErrorKind::AddrInUse);
            drop(taken);
            assert_eq!((counted_fds(), made.get()), (open, 0));
            let everybody = endpoint().local_addr("0.0.0.0:0").allow_broadcast(true);
            let shared = everybody.reuse_port(true).await.unwrap().0;
            t.expect(["made"]);
            assert_eq!(made.get(), 1);
            shared.close();
            until(&t, 1).await;
        });
    });
}

#[test]
fn a_closed_loop_releases_an_open_endpoint() {
    audited(watched(|| {
        let trace = Trace::new();
        let event_loop = EventLoop::new().unwrap();
        let recorder = Recorder::new(&trace);
        let (transport, protocol) = complete(&event_loop, async move {
            let endpoint = get_running_loop().create_datagram_endpoint(|| recorder);
            endpoint.local_addr(loopback()).await.unwrap()
        });
        complete(&event_loop, yield_now());
        drop(event_loop);
        assert_eq!(Rc::strong_count(&protocol), 1);
        assert!(transport.is_closing());
        assert!(format!("{transport:?}").contains("closing: true"));
        transport.close();
    }));
}

/// Records the length of each datagram, over a Unix socket.
struct Lengths(Trace);

impl DatagramProtocol<Unix> for Lengths {
    fn datagram_received(
        &self,
        _: &DatagramTransport<Unix>,
        data: &[u8],
        _: std::os::unix::net::SocketAddr,
    ) {
        self.0.push(data.len());
    }

    fn error_received(&self, _: &DatagramTransport<Unix>, error: io::Error) {
        self.0.push(error.kind());
    }
}

#[test]
fn e7_a_datagram_that_is_cut_is_an_error_and_never_half_a_message() {
    on_real_time(|trace, event_loop| {
        complete(&event_loop, async {
            let (near, far) = UnixDatagram::pair().unwrap();
            let (transport, _) =
                get_running_loop().create_datagram_endpoint_on(near, || Lengths(trace.clone()));
            let far = socket2::SockRef::from(&far).try_clone().unwrap();
            far.set_send_buffer_size(1 << 20).unwrap();
            far.send(&vec![7; 200_000]).unwrap();
            assert_eq!(until(&trace, 1).await, ["200000"]);
            let too_long = far.send(&vec![7; 300_000]);
            if too_long.is_ok() {
                assert_eq!(until(&trace, 1).await, ["invalid data"]);
            } else {
                println!("skipped: this system sends no datagram that is long enough");
            }
            far.send(b"next").unwrap();
            assert_eq!(until(&trace, 1).await, ["4"]);
            transport.close();
        });
    });
}

/// Closes its endpoint when the third datagram arrives.
struct Three(Trace);

impl DatagramProtocol for Three {
    fn datagram_received(&self, transport: &DatagramTransport, data: &[u8], _: SocketAddr) {
        self.0.push(String::from_utf8_lossy(data));
        if data == b"3" {
            transport.close();
        }
    }

    fn connection_lost(&self, _: &DatagramTransport, _: Option<io::Error>) {
        self.0.push("lost");
    }
}

#[test]
fn an_endpoint_that_closes_itself_receives_nothing_more_of_what_has_come() {
    on_real_time(|trace, event_loop| {
        let t = trace.clone();
        complete(&event_loop, async move {
            let endpoint = get_running_loop().create_datagram_endpoint({
                let t = t.clone();
                move || Three(t)
            });
            let (transport, _) = endpoint.local_addr(loopback()).await.unwrap();
            let sender = StdSocket::bind(loopback()).unwrap();
            for number in 1..=5 {
                let data = number.to_string();
                let sent = sender.send_to(data.as_bytes(), transport.local_addr().unwrap());
                sent.unwrap();
            }
            assert_eq!(until(&t, 4).await, ["1", "2", "3", "lost"]);
        });
    });
}

#[test]
fn f1_a_flood_of_datagrams_lets_others_have_their_turn() {
    const FLOOD: usize = 200;
    on_real_time(|trace, event_loop| {
        let t = trace.clone();
        complete(&event_loop, async move {
            let endpoint = get_running_loop().create_datagram_endpoint({
                let t = t.clone();
                move || Recorder::new(&t)
            });
            let (transport, _) = endpoint.local_addr(loopback()).await.unwrap();
            t.expect(["made"]);
            let sender = StdSocket::bind(loopback()).unwrap();
            for _ in 0..FLOOD {
                let sent = sender.send_to(b"x", transport.local_addr().unwrap());
                sent.unwrap();
            }
            let mut received = Vec::new();
            while received.iter().sum::<usize>() < FLOOD {
                received.push(t.take().len());
                yield_now().await;
            }
            let most = received.into_iter().max().unwrap();
            assert!(
                (2..=129).contains(&most),
                "{most} of them between two turns of another task"
            );
            transport.close();
            assert_eq!(until(&t, 1).await, ["lost None"]);
        });
    });
}

#[test]
fn an_endpoint_whose_remote_is_any_address_may_be_given_that_address() {
    on_real_time(|_, event_loop| {
        complete(&event_loop, async move {
            let peer = StdSocket::bind(loopback()).unwrap();
            let port = peer.local_addr().unwrap().port();
            let asked = SocketAddr::from(([0, 0, 0, 0], port));
            let endpoint =
                get_running_loop().create_datagram_endpoint(|| Recorder::new(&Trace::new()));
            let (transport, _) = endpoint.remote_addr(asked).await.unwrap();
            let real = *transport.peer_addr().unwrap();
            let other = SocketAddr::from(([127, 0, 0, 1], port ^ 1));
            let mut buffer = [0; 16];
            // The system calls it by an address of this machine; both are its peer.
            for address in [Some(asked), Some(real), None] {
                transport.sendto(b"hello", address).unwrap();
                assert_eq!(peer.recv(&mut buffer).unwrap(), 5);
            }
            let error = transport.sendto(b"x", Some(other)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            transport.close();
        });
    });
}

#[test]
fn a_factory_that_fails_closes_the_socket_and_its_error_is_the_caller_s() {
    on_real_time(|trace, event_loop| {
        let t = trace.clone();
        complete(&event_loop, async move {
            let event_loop = get_running_loop();
            let open = counted_fds();
            let unlicensed = || Err::<Recorder, _>("no licence");
            let endpoint = event_loop.try_create_datagram_endpoint(unlicensed);
            let error = endpoint.local_addr(loopback()).await.map(drop).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Other);
            assert_eq!(error.to_string(), "no licence");
            let full = || Err::<Recorder, _>(io::Error::from(ErrorKind::StorageFull));
            let endpoint = event_loop.try_create_datagram_endpoint(full);
            let error = endpoint.local_addr(loopback()).await.map(drop).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::StorageFull);
            assert_eq!(counted_fds(), open);
            assert_eq!(event_loop.metrics().sources, 0);

            // An endpoint that cannot be made asks no factory.
            let never = || -> io::Result<Recorder> { unreachable!("there is no socket") };
            let nowhere = event_loop.try_create_datagram_endpoint(never).await;
            assert_eq!(
                nowhere.map(drop).unwrap_err().kind(),
                ErrorKind::InvalidInput
            );
            let fits = || Ok::<_, io::Error>(Recorder::new(&t));
            let endpoint = event_loop.try_create_datagram_endpoint(fits);
            let (transport, _) = endpoint.local_addr(loopback()).await.unwrap();
            t.expect(["made"]);
            transport.close();
            assert_eq!(until(&t, 1).await, ["lost None"]);
        });
        trace.expect([]);
    });
}
