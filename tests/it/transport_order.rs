//! The promises of `transport`, in the order in which its page makes them.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::rc::Rc;

use callsoon::transport::{CannotWrite, Protocol, Transport};
use callsoon::{create_task, get_running_loop, yield_now};

use crate::support::{
    Recorder, Trace, complete, loopback, on_real_time, recorded, std_pair, until,
};

/// A transport with a recorder, and its peer in blocking mode.
fn run<F: Future<Output = ()>>(test: impl FnOnce(Trace) -> F + Send + 'static) {
    on_real_time(|trace, event_loop| {
        complete(&event_loop, test(trace.clone()));
        assert_eq!(event_loop.metrics().sources, 0, "a source is left");
        assert_eq!(trace.take(), [""; 0], "unexpected");
    });
}

#[test]
fn a_connection_is_made_has_data_ends_and_is_lost() {
    run(|trace| async move {
        let (_, recorder, mut peer) = recorded(Recorder::new(&trace)).await;
        trace.expect(["made"]);
        peer.write_all(b"hello").unwrap();
        until(|| recorder.received.get() == 5).await;
        drop(peer);
        until(|| recorder.lost.get()).await;
        trace.expect(["data hello", "eof", "lost"]);
    });
}

#[test]
fn what_came_before_connection_made_is_delivered_after_it() {
    run(|trace| async move {
        let (ours, mut peer) = std_pair();
        peer.write_all(b"early").unwrap();
        drop(peer);
        let recorder = Recorder::new(&trace);
        let (_, recorder) = get_running_loop()
            .connect_accepted_socket(|| recorder, ours)
            .await
            .unwrap();
        until(|| recorder.lost.get()).await;
        trace.expect(["made", "data early", "eof", "lost"]);
    });
}

#[test]
fn connection_lost_never_comes_from_within_a_call() {
    run(|trace| async move {
        let t = trace.clone();
        let recorder = Recorder::new(&trace).on("made", move |transport| {
            transport.close();
            t.push("closed");
            transport.abort();
            t.push("aborted");
        });
        let (transport, recorder, _peer) = recorded(recorder).await;
        get_running_loop().call_soon(trace.note("later"));
        until(|| recorder.lost.get()).await;
        yield_now().await;
        assert!(transport.is_closing() && !transport.is_reading());
        trace.expect(["made", "closed", "aborted", "lost", "later"]);
    });
}

#[test]
fn nothing_is_delivered_while_reading_is_paused_nor_is_anything_lost() {
    run(|trace| async move {
        let (transport, recorder, mut peer) =
            recorded(Recorder::new(&trace).on("data", Transport::pause_reading)).await;
        peer.write_all(b"one").unwrap();
        until(|| recorder.received.get() == 3).await;
        peer.write_all(b"two").unwrap();
        for _ in 0..100 {
            yield_now().await;
        }
        assert!(!transport.is_reading());
        trace.expect(["made", "data one"]);
        transport.resume_reading();
        trace.expect([]);
        until(|| recorder.received.get() == 6).await;
        transport.resume_reading();
        transport.close();
        peer.write_all(b"three").unwrap();
        until(|| recorder.lost.get()).await;
        trace.expect(["data two", "lost"]);
    });
}

#[test]
fn a_paused_connection_learns_of_the_end_when_it_reads_again() {
    run(|trace| async move {
        let (transport, recorder, peer) =
            recorded(Recorder::new(&trace).on("made", Transport::pause_reading)).await;
        drop(peer);
        for _ in 0..100 {
            yield_now().await;
        }
        trace.expect(["made"]);
        transport.resume_reading();
        until(|| recorder.lost.get()).await;
        trace.expect(["eof", "lost"]);
    });
}

#[test]
fn eof_may_keep_the_writing_side_open() {
    run(|trace| async move {
        let (transport, recorder, mut peer) = recorded(Recorder::new(&trace).keep_open()).await;
        peer.shutdown(Shutdown::Write).unwrap();
        until(|| trace.take().contains(&"eof".to_owned())).await;
        transport.write(b"still here");
        let mut answer = [0; 10];
        peer.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"still here");
        transport.resume_reading();
        transport.close();
        until(|| recorder.lost.get()).await;
        trace.expect(["lost"]);
    });
}

#[test]
fn write_eof_ends_the_writing_side_only() {
    run(|trace| async move {
        let (transport, recorder, mut peer) = recorded(Recorder::new(&trace)).await;
        transport.write(b"last");
        transport.write_eof();
        transport.write_eof();
        let mut all = String::new();
        peer.read_to_string(&mut all).unwrap();
        assert_eq!(all, "last");
        peer.write_all(b"answer").unwrap();
        until(|| recorder.received.get() == 6).await;
        let refused = Err(CannotWrite::AfterEof);
        assert_eq!(transport.try_write(b"more"), refused);
        assert_eq!(transport.try_writelines(&["more"]), refused);
        trace.expect(["made", "data answer"]);
        transport.write(b"more");
        transport.writelines(&["more"]);
        trace.expect([
            "report: write on a connection that takes no more (cannot write after write_eof())",
            "report: writelines on a connection that takes no more (cannot write after write_eof())",
        ]);
        transport.close();
        transport.try_write(b"closing: dropped").unwrap();
        transport.write(b"closing: dropped");
        until(|| recorder.lost.get()).await;
        trace.expect(["lost"]);
    });
}

#[test]
fn pausing_and_resuming_alternate_and_pausing_comes_from_within_write() {
    run(|trace| async move {
        let (transport, _recorder, mut peer) = recorded(Recorder::new(&trace)).await;
        transport
            .set_write_buffer_limits(Some(1000), Some(100))
            .unwrap();
        let chunk = vec![b'x'; 1 << 16];
        let mut written = 0;
        while transport.write_buffer_size() <= 1000 {
            trace.take();
            transport.write(&chunk);
            written += chunk.len();
        }
        trace.expect(["pause"]);
        transport.write(&chunk);
        written += chunk.len();
        trace.expect([]);
        let reader = std::thread::spawn(move || {
            let mut sink = vec![0; written];
            peer.read_exact(&mut sink).unwrap();
            peer
        });
        until(|| transport.write_buffer_size() == 0).await;
        trace.expect(["resume"]);
        drop(reader.join().unwrap());
        until(|| trace.take().contains(&"lost".to_owned())).await;
    });
}

#[test]
fn a_protocol_may_be_replaced_and_keeps_its_connection() {
    run(|trace| async move {
        let second = Rc::new(Recorder::new(&trace).on("data", |t| t.write(b"second")));
        let replacement = Rc::clone(&second);
        let recorder = Recorder::new(&trace).on("data", move |transport| {
            transport.set_protocol(replacement.clone());
        });
        let (transport, first, mut peer) = recorded(recorder).await;
        peer.write_all(b"one").unwrap();
        until(|| first.received.get() == 3).await;
        let now: Rc<dyn Protocol> = second.clone();
        assert!(Rc::ptr_eq(&transport.protocol().unwrap(), &now));
        peer.write_all(b"two").unwrap();
        until(|| second.received.get() == 3).await;
        // The answer is there and unread, which makes the end a reset.
        peer.peek(&mut [0; 6]).unwrap();
        drop(peer);
        until(|| second.lost.get()).await;
        assert!(!first.lost.get() && transport.protocol().is_none());
        trace.expect(["made", "data one", "data two", "lost: ConnectionReset"]);
    });
}

#[test]
fn a_transport_knows_both_names_and_lends_its_socket() {
    run(|trace| async move {
        let event_loop = get_running_loop();
        let (t, server_trace) = (trace.clone(), trace.clone());
        let server = event_loop
            .create_server(
                move || {
                    let t = t.clone();
                    Recorder::new(&server_trace).on("lost", move |transport| {
                        t.push(format!("{} is gone", transport.peername().is_some()));
                    })
                },
                loopback(),
            )
            .await
            .unwrap();
        let address = server.local_addr().unwrap();
        let recorder = Recorder::new(&trace);
        let (transport, recorder) = event_loop
            .create_connection(|| recorder, address)
            .await
            .unwrap();
        assert_eq!(transport.peername().unwrap().internet(), Some(address));
        let own = transport.sockname().unwrap();
        assert!(own.internet().is_some());
        assert!(
            transport
                .socket(|socket| socket.tcp_nodelay().unwrap())
                .unwrap()
        );
        transport.close();
        until(|| recorder.lost.get()).await;
        assert_eq!(transport.peername().unwrap().internet(), Some(address));
        assert_eq!(transport.sockname(), Some(own));
        assert!(transport.socket(|_| ()).is_none());
        server.close();
        server.wait_closed().await;
        let mut lines = trace.take();
        lines.sort();
        assert_eq!(
            lines,
            ["eof", "lost", "lost", "made", "made", "true is gone"]
        );
    });
}

#[test]
fn protocols_tasks_and_callbacks_share_one_queue() {
    run(|trace| async move {
        let t = trace.clone();
        let recorder = Recorder::new(&trace).on("data", move |_| {
            get_running_loop().call_soon(t.note("queued by the protocol"));
        });
        let (transport, recorder, mut peer) = recorded(recorder).await;
        trace.expect(["made"]);
        peer.write_all(b"x").unwrap();
        until(|| recorder.received.get() == 1).await;
        yield_now().await;
        trace.expect(["data x", "queued by the protocol"]);
        transport.abort();
        let t = trace.clone();
        create_task(async move { t.push("task") }).await.unwrap();
        trace.expect(["lost", "task"]);
    });
}

#[test]
fn a_connection_kept_open_that_has_ended_both_ways_lives_until_it_is_closed() {
    run(|trace| async move {
        let (transport, recorder, mut peer) = recorded(Recorder::new(&trace).keep_open()).await;
        transport.write_eof();
        assert_eq!(peer.read(&mut [0; 1]).unwrap(), 0);
        drop(peer);
        until(|| trace.take().contains(&"eof".to_owned())).await;
        yield_now().await;
        assert!(!transport.is_closing() && transport.peername().is_some());
        transport.close();
        until(|| recorder.lost.get()).await;
        trace.expect(["lost"]);
    });
}

#[test]
fn a_closing_loop_releases_its_connections_without_a_call() {
    on_real_time(|trace, event_loop| {
        let (transport, _recorder, mut peer) = complete(&event_loop, async {
            let (transport, recorder, peer) = recorded(Recorder::new(&trace)).await;
            transport.write(b"x");
            (transport, recorder, peer)
        });
        drop(event_loop);
        let mut rest = Vec::new();
        peer.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"x", "the socket is closed");
        transport.write(b"dropped");
        transport.close();
        transport.abort();
        transport.write_eof();
        transport.pause_reading();
        transport.resume_reading();
        assert!(transport.is_closing() && transport.protocol().is_none());
        assert!(format!("{transport:?}").contains("over: true"));
        trace.expect(["made"]);
    });
}

#[test]
fn what_came_with_the_news_of_the_connection_is_delivered_without_further_news() {
    run(|trace| async move {
        let listener = std::net::TcpListener::bind(loopback()).unwrap();
        let address = listener.local_addr().unwrap();
        let recorder = Recorder::new(&trace);
        let mut connecting = get_running_loop()
            .create_connection(|| recorder, address)
            .into_future();
        assert!(crate::support::poll_once(&mut connecting).await.is_none());
        // One event reports the connection and this.
        let (mut peer, _) = listener.accept().unwrap();
        peer.write_all(b"welcome").unwrap();
        let (transport, recorder) = connecting.await.unwrap();
        until(|| recorder.received.get() == 7).await;
        transport.close();
        until(|| recorder.lost.get()).await;
        trace.expect(["made", "data welcome", "lost"]);
    });
}
