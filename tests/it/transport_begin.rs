//! When a connection begins to read, and when it goes on: `connection_made`, then the caller, then the bytes.

use std::cell::Cell;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener as StdListener};
use std::os::unix::net::UnixStream as StdUnix;
use std::rc::Rc;

use callsoon::net::{Unix, UnixDatagram};
use callsoon::transport::{DatagramProtocol, DatagramTransport, Protocol, Server, Transport};
use callsoon::{create_task, get_running_loop, yield_now};

use crate::support::{
    Recorder, Trace, complete, event_polls, loopback, on_real_time, pipe, std_pair, until,
    wait_until_queued,
};

fn run<F: Future<Output = ()>>(test: impl FnOnce(Trace) -> F + Send + 'static) {
    on_real_time(|trace, event_loop| {
        complete(&event_loop, async {
            test(trace.clone()).await;
            let event_loop = get_running_loop();
            until(|| event_loop.metrics().sources == 0).await;
        });
        assert_eq!(trace.take(), [""; 0], "unexpected");
    });
}

/// A Unix pair whose second end has written already.
fn greeted() -> (StdUnix, StdUnix) {
    let (ours, mut peer) = StdUnix::pair().unwrap();
    peer.write_all(b"early").unwrap();
    (ours, peer)
}

#[test]
fn bytes_that_wait_come_when_the_caller_has_its_connection() {
    run(|trace| async move {
        let (ours, peer) = greeted();
        let recorder = Recorder::new(&trace);
        let connecting = get_running_loop().connect_accepted_socket(|| recorder, ours);
        let (transport, recorder) = connecting.await.unwrap();
        trace.push("connected");
        drop(peer);
        until(|| recorder.lost.get()).await;
        trace.expect(["made", "connected", "data early", "eof", "lost"]);
        assert!(transport.is_closing());
    });
}

#[test]
fn a_peer_that_has_sent_and_closed_gives_no_transport_that_is_closing() {
    run(|trace| async move {
        let (ours, mut peer) = std_pair();
        peer.write_all(b"early").unwrap();
        drop(peer);
        let recorder = Recorder::new(&trace);
        let connecting = get_running_loop().connect_accepted_socket(|| recorder, ours);
        let (transport, recorder) = connecting.await.unwrap();
        trace.push(format!("closing: {}", transport.is_closing()));
        until(|| recorder.lost.get()).await;
        trace.expect(["made", "closing: false", "data early", "eof", "lost"]);
    });
}

#[test]
fn a_greeting_that_arrives_while_the_loop_is_busy_waits_for_the_caller() {
    run(|trace| async move {
        let listener = StdListener::bind(loopback()).unwrap();
        let address = listener.local_addr().unwrap();
        let recorder = Recorder::new(&trace);
        let t = trace.clone();
        let recorder = recorder.on("made", move |_| {
            // The loop is busy while the greeting and the end arrive.
            wait_until_queued(&listener, 1);
            let (mut peer, _) = listener.accept().unwrap();
            peer.write_all(b"early").unwrap();
            drop(peer);
            t.push("greeted");
        });
        let (transport, recorder) = get_running_loop()
            .create_connection(|| recorder, address)
            .await
            .unwrap();
        trace.push(format!("closing: {}", transport.is_closing()));
        until(|| recorder.lost.get()).await;
        trace.expect([
            "made",
            "greeted",
            "closing: false",
            "data early",
            "eof",
            "lost",
        ]);
    });
}

#[test]
fn a_protocol_set_right_after_the_await_gets_the_first_byte() {
    run(|trace| async move {
        let (ours, mut peer) = greeted();
        let first = Recorder::new(&Trace::new());
        let connecting = get_running_loop().connect_accepted_socket(|| first, ours);
        let (transport, _) = connecting.await.unwrap();
        let second = Rc::new(Recorder::new(&trace));
        transport.set_protocol(Rc::clone(&second) as Rc<dyn Protocol>);
        peer.write_all(b"late").unwrap();
        drop(peer);
        until(|| second.lost.get()).await;
        trace.expect(["data earlylate", "eof", "lost"]);
    });
}

#[test]
fn a_task_that_awaits_the_connecting_task_is_in_time_as_well() {
    run(|trace| async move {
        let (ours, peer) = greeted();
        let recorder = Recorder::new(&trace);
        let event_loop = get_running_loop();
        let connecting = event_loop.connect_accepted_socket(|| recorder, ours);
        let (transport, recorder) = create_task(async { connecting.await })
            .await
            .unwrap()
            .unwrap();
        trace.push(format!("connected {}", transport.is_closing()));
        drop(peer);
        until(|| recorder.lost.get()).await;
        trace.expect(["made", "connected false", "data early", "eof", "lost"]);
    });
}

#[test]
fn a_pause_right_after_the_await_holds_the_first_byte() {
    run(|trace| async move {
        let (ours, _peer) = greeted();
        let recorder = Recorder::new(&trace);
        let connecting = get_running_loop().connect_accepted_socket(|| recorder, ours);
        let (transport, recorder) = connecting.await.unwrap();
        transport.pause_reading();
        event_polls(5).await;
        trace.expect(["made"]);
        transport.resume_reading();
        until(|| recorder.received.get() == 5).await;
        trace.expect(["data early"]);
        transport.abort();
        until(|| recorder.lost.get()).await;
        trace.expect(["lost"]);
    });
}

#[test]
fn the_same_holds_for_unix_connections_and_pipes() {
    run(|trace| async move {
        let path = std::env::temp_dir().join(format!("callsoon-begin-{}", std::process::id()));
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let recorder = Recorder::new(&trace).on("made", move |_| {
            let (mut peer, _) = listener.accept().unwrap();
            peer.write_all(b"early").unwrap();
        });
        let event_loop = get_running_loop();
        let connecting = event_loop.create_unix_connection(|| recorder, &path);
        let (transport, recorder) = connecting.await.unwrap();
        std::fs::remove_file(&path).unwrap();
        trace.push(format!("connected {}", transport.is_closing()));
        until(|| recorder.lost.get()).await;
        trace.expect(["made", "connected false", "data early", "eof", "lost"]);

        let (reading, mut writing) = pipe().unwrap();
        writing.write_all(b"early").unwrap();
        drop(writing);
        let recorder = Recorder::new(&trace);
        let connecting = event_loop.connect_read_pipe(|| recorder, reading);
        let (transport, recorder) = connecting.await.unwrap();
        trace.push(format!("connected {}", transport.is_closing()));
        until(|| recorder.lost.get()).await;
        trace.expect(["made", "connected false", "data early", "eof", "lost"]);
    });
}

#[test]
fn a_pipe_that_nobody_reads_is_lost_when_the_caller_has_it() {
    run(|trace| async move {
        let (reading, writing) = pipe().unwrap();
        drop(reading);
        let recorder = Recorder::new(&trace);
        let connecting = get_running_loop().connect_write_pipe(|| recorder, writing);
        let (transport, recorder) = connecting.await.unwrap();
        trace.push(format!("connected {}", transport.is_closing()));
        until(|| recorder.lost.get()).await;
        trace.expect(["made", "connected false", "lost"]);
    });
}

#[test]
fn a_caller_that_gave_up_learns_of_the_end_all_the_same() {
    run(|trace| async move {
        let (ours, peer) = greeted();
        drop(peer);
        let write = |transport: &Transport| transport.write(b"to nobody");
        let recorder = Rc::new(Recorder::new(&trace).on("made", write));
        let theirs = Rc::clone(&recorder);
        let mut connecting = Box::pin(
            get_running_loop()
                .connect_accepted_socket(move || theirs, ours)
                .into_future(),
        );
        let polled = std::future::poll_fn(|context| {
            std::task::Poll::Ready(connecting.as_mut().poll(context).is_pending())
        });
        assert!(polled.await);
        until(|| trace.take().contains(&"made".to_owned())).await;
        drop(connecting);
        until(|| recorder.lost.get()).await;
        trace.expect(["lost: BrokenPipe"]);
    });
}

/// What was queued before reading was resumed runs before the bytes, also where an event came while reading was paused.
#[test]
fn what_was_queued_before_the_resume_runs_before_the_bytes() {
    run(|trace| async move {
        let (ours, mut peer) = StdUnix::pair().unwrap();
        let recorder = Recorder::new(&trace).on("made", Transport::pause_reading);
        let connecting = get_running_loop().connect_accepted_socket(|| recorder, ours);
        let (transport, recorder) = connecting.await.unwrap();
        event_polls(2).await;
        for round in 1..=20 {
            peer.write_all(b"bytes").unwrap();
            // The turn that has polled for events queues the connection behind this task.
            event_polls(1).await;
            get_running_loop().call_soon(trace.note("queued before"));
            transport.resume_reading();
            until(|| recorder.received.get() == 5 * round).await;
            transport.pause_reading();
        }
        let expected = ["queued before", "data bytes"].repeat(20);
        assert_eq!(trace.take(), [vec!["made"], expected].concat());
        transport.abort();
        until(|| recorder.lost.get()).await;
        trace.expect(["lost"]);
    });
}

#[test]
fn a_pause_after_a_resume_holds_whatever_was_queued_between() {
    run(|trace| async move {
        let (ours, mut peer) = StdUnix::pair().unwrap();
        let recorder = Recorder::new(&trace).on("made", Transport::pause_reading);
        let connecting = get_running_loop().connect_accepted_socket(|| recorder, ours);
        let (transport, recorder) = connecting.await.unwrap();
        event_polls(2).await;
        peer.write_all(b"bytes").unwrap();
        event_polls(1).await;
        transport.resume_reading();
        transport.pause_reading();
        event_polls(5).await;
        trace.expect(["made"]);
        transport.resume_reading();
        transport.pause_reading();
        transport.resume_reading();
        until(|| recorder.received.get() == 5).await;
        trace.expect(["data bytes"]);
        transport.abort();
        until(|| recorder.lost.get()).await;
        trace.expect(["lost"]);
    });
}

#[test]
fn what_a_servers_connection_made_queues_runs_before_the_bytes() {
    run(|trace| async move {
        let lost = Rc::new(Cell::new(false));
        let (t, over) = (trace.clone(), Rc::clone(&lost));
        let factory = move || {
            let (t, over) = (t.clone(), Rc::clone(&over));
            let queued = t.clone();
            Recorder::new(&t)
                .on("made", move |_| {
                    drop(get_running_loop().call_soon(queued.note("queued")))
                })
                .on("lost", move |_| over.set(true))
        };
        let event_loop = get_running_loop();
        let server: Server = event_loop.create_server(factory, loopback()).await.unwrap();
        let address: SocketAddr = server.local_addr().unwrap();
        let mut client = std::net::TcpStream::connect(address).unwrap();
        client.write_all(b"early").unwrap();
        drop(client);
        until(|| lost.get()).await;
        trace.expect(["made", "queued", "data early", "eof", "lost"]);
        server.close();
    });
}

struct Datagrams(Trace);

impl DatagramProtocol<Unix> for Datagrams {
    fn connection_made(&self, _: &DatagramTransport<Unix>) {
        self.0.push("made");
    }

    fn datagram_received(
        &self,
        transport: &DatagramTransport<Unix>,
        data: &[u8],
        _: std::os::unix::net::SocketAddr,
    ) {
        self.0.push(String::from_utf8_lossy(data));
        transport.abort();
    }
}

#[test]
fn a_datagram_that_waits_comes_when_the_caller_has_its_endpoint() {
    run(|trace| async move {
        let (ours, peer) = UnixDatagram::pair().unwrap();
        peer.send(b"early").await.unwrap();
        event_polls(2).await;
        let protocol = Datagrams(trace.clone());
        let event_loop = get_running_loop();
        let (endpoint, _) = event_loop.create_datagram_endpoint_on(ours, || protocol);
        trace.push(format!("connected {}", endpoint.is_closing()));
        drop(peer);
        until(|| endpoint.is_closing()).await;
        yield_now().await;
        trace.expect(["made", "connected false", "early"]);
    });
}

#[test]
fn a_greeting_reaches_a_stream_that_is_connected_late() {
    run(|trace| async move {
        let (ours, mut peer) = std_pair();
        peer.write_all(b"220 ready\n").unwrap();
        drop(peer);
        let (mut reader, writer) = callsoon::open_connection(ours).await.unwrap();
        assert!(!writer.is_closing());
        assert_eq!(reader.readline().await.unwrap(), b"220 ready\n");
        assert_eq!(reader.readline().await.unwrap(), b"");
        trace.expect([]);
    });
}

#[test]
fn a_factory_that_fails_closes_the_connection_and_its_error_is_the_caller_s() {
    run(|trace| async move {
        let event_loop = get_running_loop();
        let full = || Err::<Recorder, _>(io::Error::from(ErrorKind::StorageFull));
        let (ours, mut peer) = std_pair();
        let connecting = event_loop.try_connect_accepted_socket(full, ours);
        assert_eq!(
            connecting.await.map(drop).unwrap_err().kind(),
            ErrorKind::StorageFull
        );
        assert_eq!(peer.read(&mut [0]).unwrap(), 0);

        let listener = StdListener::bind(loopback()).unwrap();
        let address = listener.local_addr().unwrap();
        let unlicensed = || Err::<Recorder, _>("no licence");
        let failed = event_loop.try_create_connection(unlicensed, address).await;
        let error = failed.map(drop).unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string().as_str()),
            (ErrorKind::Other, "no licence")
        );
        let mut accepted = listener.accept().unwrap().0;
        assert_eq!(accepted.read(&mut [0]).unwrap(), 0);

        let (_reader, writing) = pipe().unwrap();
        let failed = event_loop.try_connect_write_pipe(unlicensed, writing).await;
        assert_eq!(failed.map(drop).unwrap_err().to_string(), "no licence");
        trace.expect([]);
    });
}

#[test]
fn write_takes_what_writelines_takes() {
    run(|trace| async move {
        let (ours, mut peer) = std_pair();
        let (_reader, writer) = callsoon::open_connection(ours).await.unwrap();
        let line = vec![b'a', b'b'];
        writer.write(&line);
        writer.write(b"cd");
        writer.write([]);
        writer.write([b'e'; 2]);
        writer.write("fg");
        writer.write(format!("{}", 12));
        writer.write(&line[1..]);
        writer.transport().write(String::from("h"));
        writer
            .transport()
            .try_write(Rc::<[u8]>::from(line))
            .unwrap();
        writer.write_eof();
        let mut text = String::new();
        peer.read_to_string(&mut text).unwrap();
        assert_eq!(text, "abcdeefg12bhab");
        drop(peer);
        writer.close();
        writer.wait_closed().await.unwrap();
        trace.expect([]);
    });
}
