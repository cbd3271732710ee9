//! Datagram endpoints whose sends fail again and again: fault E7.

use std::cell::Cell;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use callsoon::net::{Unix, UnixDatagram};
use callsoon::transport::{DatagramProtocol, DatagramTransport};
use callsoon::{get_running_loop, sleep, yield_now};

use crate::support::{Trace, audited, complete, loopback, on_real_time, real_loop, until, watched};

/// Sends once more whenever sending has failed, until the test stops it.
#[derive(Default)]
struct Stubborn {
    errors: Cell<usize>,
    /// How many of its calls are under way.
    depth: Cell<usize>,
    deepest: Cell<usize>,
    stop: Cell<bool>,
    lost: Cell<bool>,
}

impl Stubborn {
    fn again(&self, error: &io::Error, of: &[ErrorKind], send: impl FnOnce()) {
        assert!(of.contains(&error.kind()), "{error}");
        self.errors.set(self.errors.get() + 1);
        self.depth.set(self.depth.get() + 1);
        self.deepest.set(self.deepest.get().max(self.depth.get()));
        if !self.stop.get() {
            send();
        }
        self.depth.set(self.depth.get() - 1);
    }
}

/// The broadcast address. Sending there fails unless the socket has SO_BROADCAST set.
fn broadcast() -> SocketAddr {
    ([255, 255, 255, 255], 9).into()
}

impl DatagramProtocol for Stubborn {
    fn error_received(&self, transport: &DatagramTransport, error: io::Error) {
        self.again(&error, &[ErrorKind::PermissionDenied], || {
            transport.sendto(b"again", Some(broadcast())).unwrap();
        });
    }

    fn connection_lost(&self, _: &DatagramTransport, _: Option<io::Error>) {
        self.lost.set(true);
    }
}

#[test]
fn e7_who_sends_again_whenever_sending_fails_lets_others_run_and_fills_no_stack() {
    audited(watched(|| {
        let event_loop = real_loop(&Trace::new());
        complete(&event_loop, async {
            let endpoint = get_running_loop().create_datagram_endpoint(Stubborn::default);
            let (transport, protocol) = endpoint.local_addr(loopback()).await.unwrap();
            transport.sendto(b"once", Some(broadcast())).unwrap();
            assert_eq!(protocol.errors.get(), 1, "told at once");
            until(|| protocol.errors.get() > 10).await;
            protocol.stop.set(true);
            assert_eq!(protocol.deepest.get(), 1, "never from within itself");
            transport.close();
            until(|| protocol.lost.get()).await;
        });
    }));
}

impl DatagramProtocol<Unix> for Stubborn {
    fn error_received(&self, transport: &DatagramTransport<Unix>, error: io::Error) {
        // Refused once, the socket has no peer any more.
        let kinds = [ErrorKind::ConnectionRefused, ErrorKind::NotConnected];
        self.again(&error, &kinds, || {
            transport.sendto(b"again", None).unwrap();
        });
    }

    fn connection_lost(&self, _: &DatagramTransport<Unix>, _: Option<io::Error>) {
        self.lost.set(true);
    }
}

#[test]
fn e7_datagrams_that_wait_and_fail_are_reported_while_others_run() {
    audited(watched(|| {
        let event_loop = real_loop(&Trace::new());
        complete(&event_loop, async {
            let (near, far) = UnixDatagram::pair().unwrap();
            let event_loop = get_running_loop();
            let (transport, protocol) =
                event_loop.create_datagram_endpoint_on(near, Stubborn::default);
            while transport.write_buffer_size() < 1000 {
                transport.sendto(&[0; 100], None).unwrap();
            }
            // Nobody is there any more: each that waits fails, and each failure adds one.
            drop(far);
            until(|| protocol.errors.get() >= 10).await;
            protocol.stop.set(true);
            assert_eq!(protocol.deepest.get(), 1);
            until(|| transport.write_buffer_size() == 0).await;
            transport.close();
            until(|| protocol.lost.get()).await;
        });
    }));
}

/// Counts what comes, which must be in order.
#[derive(Default)]
struct InOrder {
    next: Cell<u32>,
    pauses: Cell<usize>,
    paused: Cell<bool>,
}

impl DatagramProtocol<Unix> for InOrder {
    fn datagram_received(
        &self,
        _: &DatagramTransport<Unix>,
        data: &[u8],
        _: std::os::unix::net::SocketAddr,
    ) {
        let next = self.next.get();
        assert_eq!(data[..4], next.to_be_bytes());
        assert_eq!(data.len(), size_of_number(next));
        self.next.set(next + 1);
    }

    fn error_received(&self, _: &DatagramTransport<Unix>, error: io::Error) {
        panic!("{error}");
    }

    fn pause_writing(&self, _: &DatagramTransport<Unix>) {
        assert!(!self.paused.replace(true));
        self.pauses.set(self.pauses.get() + 1);
    }

    fn resume_writing(&self, _: &DatagramTransport<Unix>) {
        assert!(self.paused.replace(false));
    }
}

fn size_of_number(number: u32) -> usize {
    4 + (number % 300) as usize
}

#[test]
fn e7_a_hundred_thousand_datagrams_through_small_buffers_all_come_and_are_accounted_for() {
    on_real_time(|trace, event_loop| {
        complete(&event_loop, async {
            let (near, far) = UnixDatagram::pair().unwrap();
            let small = socket2::SockRef::from(&near);
            small.set_send_buffer_size(4096).unwrap();
            let event_loop = get_running_loop();
            let (sender, told) = event_loop.create_datagram_endpoint_on(near, InOrder::default);
            let (receiver, came) = event_loop.create_datagram_endpoint_on(far, InOrder::default);
            for number in 0..100_000_u32 {
                let mut data = vec![0; size_of_number(number)];
                data[..4].copy_from_slice(&number.to_be_bytes());
                sender.sendto(&data, None).unwrap();
                while told.paused.get() {
                    yield_now().await;
                }
            }
            until(|| came.next.get() == 100_000).await;
            assert!(told.pauses.get() > 10);
            assert_eq!(sender.write_buffer_size(), 0);
            sender.close();
            receiver.close();
            until(|| get_running_loop().metrics().sources == 0).await;
        });
        trace.expect([]);
    });
}

#[test]
fn broadcast_must_be_allowed_first() {
    audited(watched(|| {
        let event_loop = real_loop(&Trace::new());
        complete(&event_loop, async {
            let endpoint = get_running_loop().create_datagram_endpoint(Stubborn::default);
            let allowed = endpoint.local_addr(loopback()).allow_broadcast(true);
            let (transport, protocol) = allowed.await.unwrap();
            // Whatever else may fail, this does not; the protocol would report it.
            protocol.stop.set(true);
            transport
                .sendto(b"hello", Some(([127, 255, 255, 255], 9).into()))
                .unwrap();
            sleep(Duration::from_millis(1)).await;
            assert_eq!(protocol.errors.get(), 0);
            transport.close();
            until(|| protocol.lost.get()).await;
        });
    }));
}

#[test]
fn an_endpoint_belongs_to_no_task() {
    audited(watched(|| {
        let event_loop = real_loop(&Trace::new());
        complete(&event_loop, async {
            let endpoint = get_running_loop().create_datagram_endpoint(Stubborn::default);
            let (transport, protocol) = endpoint.local_addr(loopback()).await.unwrap();
            yield_now().await;
            let others = get_running_loop().all_tasks().len();
            // The root alone.
            assert_eq!((others, get_running_loop().metrics().tasks), (1, 0));
            // Who ends all tasks at the end of a program ends no endpoint.
            assert!(!transport.is_closing() && !protocol.lost.get());
            transport.close();
            until(|| protocol.lost.get()).await;
        });
    }));
}

#[test]
fn an_endpoint_of_a_family_without_an_address_is_bound_when_it_sends() {
    audited(watched(|| {
        let event_loop = real_loop(&Trace::new());
        complete(&event_loop, async {
            let endpoint = get_running_loop().create_datagram_endpoint(Stubborn::default);
            let endpoint = endpoint.family(socket2::Domain::IPV4);
            let (transport, protocol) = endpoint.await.unwrap();
            let peer = std::net::UdpSocket::bind(loopback()).unwrap();
            transport.sendto(b"hello", peer.local_addr().ok()).unwrap();
            let (count, from) = peer.recv_from(&mut [0; 16]).unwrap();
            let port = transport.local_addr().unwrap().port();
            assert_eq!((count, from.port()), (5, port));
            transport.close();
            until(|| protocol.lost.get()).await;
        });
    }));
}

#[test]
fn the_marks_of_an_endpoint_can_be_set_and_are_heeded_at_once() {
    audited(watched(|| {
        let event_loop = real_loop(&Trace::new());
        complete(&event_loop, async {
            let (near, far) = UnixDatagram::pair().unwrap();
            let event_loop = get_running_loop();
            let (sender, told) = event_loop.create_datagram_endpoint_on(near, InOrder::default);
            assert!(sender.set_write_buffer_limits(Some(1), Some(2)).is_err());
            let limits = sender.set_write_buffer_limits(Some(usize::MAX), None);
            limits.unwrap();
            while sender.write_buffer_size() <= 70_000 {
                sender.sendto(&[0; 1000], None).unwrap();
            }
            assert!(!told.paused.get());
            sender.set_write_buffer_limits(Some(70_000), None).unwrap();
            assert!(told.paused.get());
            let mut buffer = [0; 2000];
            while told.paused.get() {
                let _ = far.recv(&mut buffer).await.unwrap();
            }
            assert!(sender.write_buffer_size() <= 17_500);
            sender.abort();
            until(|| get_running_loop().metrics().sources == 1).await;
        });
    }));
}
