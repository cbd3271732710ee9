//! Unix datagrams to an address whose owner's queue is full: no event reports room there, and waiting costs nothing.

use std::cell::RefCell;
use std::io::{self, ErrorKind};
use std::os::unix::net::UnixDatagram as StdDatagram;
use std::rc::Rc;
use std::time::Duration;

use callsoon::net::{Unix, UnixDatagram};
use callsoon::transport::{DatagramProtocol, DatagramTransport};
use callsoon::{create_task, get_running_loop, sleep};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::support::{Trace, settling, until};

/// How long a full queue is left full.
const WINDOW: Duration = Duration::from_millis(400);

/// Pauses of 1, 2, 4, … 64 ms: so many turns, and a few besides, are plenty for it. A busy loop has a hundred times
/// more.
const TURNS: u64 = 60;

/// Returns a receiver that is never read, whose queue is full, and its name.
fn full(which: &str) -> (StdDatagram, String, usize) {
    use std::os::linux::net::SocketAddrExt as _;
    let name = format!("callsoon-full-{which}-{}", std::process::id());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let receiver = StdDatagram::bind_addr(&address).unwrap();
    receiver.set_nonblocking(true).unwrap();
    let filler = StdDatagram::unbound().unwrap();
    filler.set_nonblocking(true).unwrap();
    let mut count = 0;
    loop {
        match filler.send_to_addr(b"filler", &address) {
            Ok(_) => count += 1,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                return (receiver, format!("\0{name}"), count);
            }
        }
    }
}

/// Turns of the loop while the queue stays full.
async fn turns() -> u64 {
    let event_loop = get_running_loop();
    let before = event_loop.metrics().turns;
    sleep(WINDOW).await;
    event_loop.metrics().turns - before
}

/// Reads what was filled in, and then one message more as soon as it is there.
async fn next(receiver: &StdDatagram, filled: usize) -> Vec<u8> {
    for _ in 0..filled {
        assert_eq!(receiver.recv(&mut [0; 16]).unwrap(), 6);
    }
    let message = RefCell::new(None);
    until(|| {
        let mut buffer = [0; 16];
        let count = receiver.recv(&mut buffer).ok();
        *message.borrow_mut() = count.map(|count| buffer[..count].to_vec());
        count.is_some()
    })
    .await;
    message.take().unwrap()
}

#[test]
fn send_to_a_full_receiver_waits_without_spinning_and_arrives() {
    settling(async |_, _| {
        let (receiver, name, filled) = full("send_to");
        let sender = Rc::new(UnixDatagram::unbound().unwrap());
        let other = Rc::clone(&sender);
        let to = name.clone();
        let sends = create_task(async move { other.send_to(b"late", &to).await });
        let turns = turns().await;
        assert!(turns < TURNS, "{turns} turns");
        assert!(!sends.done());
        // Another receiver has room, and is not kept waiting for the first.
        let error = sender.try_send_to(b"x", &name).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        let (free, free_name, free_filled) = full("free");
        for _ in 0..free_filled {
            free.recv(&mut [0; 16]).unwrap();
        }
        assert_eq!(sender.try_send_to(b"x", &free_name).unwrap(), 1);
        assert_eq!(sender.send_to(b"y", &free_name).await.unwrap(), 1);
        assert_eq!(next(&receiver, filled).await, b"late");
        assert_eq!(sends.await.unwrap().unwrap(), 4);
    });
}

#[test]
fn a_send_to_a_full_receiver_that_is_cancelled_has_sent_nothing() {
    settling(async |_, _| {
        let (receiver, name, filled) = full("cancelled");
        let sends = create_task(async move {
            let sender = UnixDatagram::unbound().unwrap();
            sender.send_to(b"late", &name).await
        });
        sleep(Duration::from_millis(5)).await;
        sends.cancel();
        assert!(sends.await.is_err());
        for _ in 0..filled {
            assert_eq!(receiver.recv(&mut [0; 16]).unwrap(), 6);
        }
        let error = receiver.recv(&mut [0; 16]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
    });
}

#[test]
fn sock_sendto_a_full_receiver_waits_without_spinning_and_arrives() {
    settling(async |event_loop, _| {
        let (receiver, name, filled) = full("sock_sendto");
        let sends = create_task(async move {
            let sender = Socket::new(Domain::UNIX, Type::DGRAM, None).unwrap();
            sender.set_nonblocking(true).unwrap();
            let address = SockAddr::unix(&name).unwrap();
            event_loop.sock_sendto(&sender, b"late", &address).await
        });
        let turns = turns().await;
        assert!(turns < TURNS, "{turns} turns");
        assert_eq!(next(&receiver, filled).await, b"late");
        assert_eq!(sends.await.unwrap().unwrap(), 4);
    });
}

struct Recorder(Trace);

impl DatagramProtocol<Unix> for Recorder {
    fn error_received(&self, _: &DatagramTransport<Unix>, error: io::Error) {
        self.0.push(format!("error {:?}", error.kind()));
    }

    fn pause_writing(&self, _: &DatagramTransport<Unix>) {
        self.0.push("pause");
    }

    fn resume_writing(&self, _: &DatagramTransport<Unix>) {
        self.0.push("resume");
    }

    fn connection_lost(&self, _: &DatagramTransport<Unix>, error: Option<io::Error>) {
        self.0.push(format!("lost {error:?}"));
    }
}

#[test]
fn an_endpoint_that_sends_to_a_full_receiver_waits_without_spinning() {
    settling(async |event_loop, trace| {
        let (receiver, name, filled) = full("endpoint");
        let address = receiver.local_addr().unwrap();
        let socket = UnixDatagram::unbound().unwrap();
        let (transport, _) =
            event_loop.create_datagram_endpoint_on(socket, || Recorder(trace.clone()));
        transport.set_write_buffer_limits(Some(10), None).unwrap();
        transport.sendto(b"late", Some(address.clone())).unwrap();
        transport.sendto(b"later", Some(address)).unwrap();
        trace.expect(["pause"]);
        assert_eq!(transport.write_buffer_size(), 4 + 5 + 16);
        let turns = turns().await;
        assert!(turns < TURNS, "{turns} turns to {name:?}");
        // It is closed, and sends what waits before it ends.
        transport.close();
        assert_eq!(next(&receiver, filled).await, b"late");
        assert_eq!(next(&receiver, 0).await, b"later");
        until(|| transport.local_addr().is_err()).await;
        trace.expect(["resume", "lost None"]);
    });
}

#[test]
fn an_endpoint_that_is_aborted_while_a_receiver_is_full_leaves_no_timer() {
    settling(async |event_loop, trace| {
        let (receiver, _, _) = full("aborted");
        let address = receiver.local_addr().unwrap();
        let socket = UnixDatagram::unbound().unwrap();
        let (transport, _) =
            event_loop.create_datagram_endpoint_on(socket, || Recorder(trace.clone()));
        let before = event_loop.metrics().timers;
        transport.sendto(b"late", Some(address)).unwrap();
        assert_eq!(event_loop.metrics().timers, before + 1);
        transport.abort();
        until(|| transport.local_addr().is_err()).await;
        assert_eq!(event_loop.metrics().timers, before);
        trace.expect(["lost None"]);
    });
}

/// Aborts its endpoint in `error_received`.
struct Aborts(Recorder);

impl DatagramProtocol<Unix> for Aborts {
    fn error_received(&self, transport: &DatagramTransport<Unix>, error: io::Error) {
        self.0.error_received(transport, error);
        transport.abort();
    }

    fn pause_writing(&self, transport: &DatagramTransport<Unix>) {
        self.0.pause_writing(transport);
    }

    fn resume_writing(&self, transport: &DatagramTransport<Unix>) {
        self.0.resume_writing(transport);
    }

    fn connection_lost(&self, transport: &DatagramTransport<Unix>, error: Option<io::Error>) {
        self.0.connection_lost(transport, error);
    }
}

#[test]
fn an_endpoint_that_aborts_when_a_buffered_datagram_fails_is_not_asked_to_resume() {
    settling(async |event_loop, trace| {
        let (receiver, name, _) = full("aborts");
        let socket = UnixDatagram::unbound().unwrap();
        socket.connect(&name).await.unwrap();
        let recorder = Aborts(Recorder(trace.clone()));
        let (transport, _) = event_loop.create_datagram_endpoint_on(socket, || recorder);
        transport.set_write_buffer_limits(Some(10), None).unwrap();
        transport.sendto(b"late", None).unwrap();
        transport.sendto(b"later", None).unwrap();
        trace.expect(["pause"]);
        // What waits can never be sent now.
        drop(receiver);
        until(|| transport.local_addr().is_err()).await;
        let lines = trace.take();
        assert!(lines[0].starts_with("error Connection"), "{lines:?}");
        assert_eq!(lines[1..], ["lost None"]);
    });
}
