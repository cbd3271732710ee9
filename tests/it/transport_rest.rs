//! What a peer had sent before a write to it failed: it is delivered before `connection_lost`.

use std::cell::{Cell, RefCell};
use std::io::{ErrorKind, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream as StdUnix;
use std::rc::Rc;

use callsoon::transport::{BufferedProtocol, Protocol, Transport};
use callsoon::{create_task, get_running_loop, net, yield_now};

use crate::support::{
    Recorder, Scratch, Trace, complete, on_real_time, recorded, reset, stream_and_peer, until,
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

/// A connection of the running loop's on a Unix pair, and its peer.
async fn on_unix(recorder: Recorder) -> (Transport, Rc<Recorder>, StdUnix) {
    let (ours, peer) = StdUnix::pair().unwrap();
    let connecting = get_running_loop().connect_accepted_socket(|| recorder, ours);
    let (transport, recorder) = connecting.await.unwrap();
    // Until reading has begun.
    yield_now().await;
    yield_now().await;
    (transport, recorder, peer)
}

/// Writes as much as the system takes, and says how much that was.
fn stuff(peer: &StdUnix) -> usize {
    peer.set_nonblocking(true).unwrap();
    let mut sent = 0;
    while let Ok(count) = (&mut &*peer).write(&[b'x'; 4096]) {
        sent += count;
    }
    sent
}

#[test]
fn an_early_answer_is_delivered_though_the_write_fails_first() {
    run(|trace| async move {
        let (transport, recorder, mut peer) = on_unix(Recorder::new(&trace)).await;
        peer.write_all(b"413 too large").unwrap();
        drop(peer);
        transport.write(b"more of the upload");
        assert!(transport.is_closing() && transport.is_reading());
        trace.expect(["made"]);
        transport.write(b"and more");
        until(|| recorder.lost.get()).await;
        assert!(!transport.is_reading());
        trace.expect(["data 413 too large", "lost: BrokenPipe"]);
    });
}

#[test]
fn an_answer_before_a_reset_is_delivered_on_tcp() {
    run(|trace| async move {
        let (transport, recorder, mut peer) = recorded(Recorder::new(&trace)).await;
        peer.write_all(b"413 too large").unwrap();
        reset(peer);
        // Without a turn between: the reset has arrived, and the poller has reported nothing.
        transport.write(b"more of the upload");
        until(|| recorder.lost.get()).await;
        trace.expect(["made", "data 413 too large", "lost: ConnectionReset"]);
    });
}

#[test]
fn a_long_answer_is_delivered_whole_though_what_was_kept_cannot_be_sent() {
    run(|trace| async move {
        let (transport, recorder, peer) = on_unix(Recorder::new(&trace).quiet()).await;
        while transport.write_buffer_size() == 0 {
            transport.write([0; 100_000]);
        }
        let sent = stuff(&peer);
        assert!(sent > 100_000, "more than one read takes: {sent}");
        drop(peer);
        until(|| recorder.lost.get()).await;
        assert_eq!(recorder.received.get(), sent);
        let lines = trace.take();
        assert_eq!(lines[0], "made");
        assert!(lines.last().unwrap().starts_with("lost: "), "{lines:?}");
    });
}

#[test]
fn others_have_their_turn_between_two_parts_of_the_rest() {
    run(|trace| async move {
        let (transport, recorder, peer) = on_unix(Recorder::new(&trace).quiet()).await;
        let sent = stuff(&peer);
        drop(peer);
        transport.write(b"x");
        let mut steps = Vec::new();
        while !recorder.lost.get() {
            steps.push(recorder.received.get());
            yield_now().await;
        }
        assert_eq!(recorder.received.get(), sent);
        steps.dedup();
        let largest = steps.windows(2).map(|pair| pair[1] - pair[0]).max();
        assert!(largest <= Some(64 * 1024), "one read a turn: {steps:?}");
        trace.take();
    });
}

#[derive(Default)]
struct Lending {
    trace: Trace,
    memory: RefCell<[u8; 4]>,
    lost: Cell<bool>,
}

impl Protocol for Lending {
    fn connection_lost(&self, _: &Transport, error: Option<std::io::Error>) {
        self.trace
            .push(format!("lost: {:?}", error.map(|it| it.kind())));
        self.lost.set(true);
    }

    fn buffered(&self) -> Option<&dyn BufferedProtocol> {
        Some(self)
    }
}

impl BufferedProtocol for Lending {
    fn get_buffer(&self, _: &Transport, _: usize, receive: &mut dyn FnMut(&mut [u8])) {
        receive(&mut *self.memory.borrow_mut());
    }

    fn buffer_updated(&self, _: &Transport, count: usize) {
        let memory = self.memory.borrow();
        self.trace.push(String::from_utf8_lossy(&memory[..count]));
    }

    fn buffer_unused(&self, _: &Transport) {
        self.trace.push("unused");
    }
}

#[test]
fn a_protocol_that_lends_its_memory_receives_the_rest_there() {
    run(|trace| async move {
        let (ours, mut peer) = StdUnix::pair().unwrap();
        let lending = Lending {
            trace: trace.clone(),
            ..Lending::default()
        };
        let connecting = get_running_loop().connect_accepted_socket(|| lending, ours);
        let (transport, lending) = connecting.await.unwrap();
        peer.write_all(b"in parts!").unwrap();
        until(|| trace.take().contains(&"unused".to_owned())).await;
        peer.write_all(b"the rest").unwrap();
        drop(peer);
        transport.write(b"x");
        until(|| lending.lost.get()).await;
        trace.expect(["the ", "rest", "lost: Some(BrokenPipe)"]);
    });
}

#[test]
fn nothing_is_delivered_while_reading_is_paused_nor_after_a_close_or_an_abort() {
    for call in ["pause_reading", "close", "abort"] {
        run(move |trace| async move {
            let (transport, recorder, mut peer) = on_unix(Recorder::new(&trace)).await;
            peer.write_all(b"unwanted").unwrap();
            drop(peer);
            if call == "pause_reading" {
                transport.pause_reading();
            }
            transport.write(b"x");
            match call {
                "close" => transport.close(),
                "abort" => transport.abort(),
                _ => {}
            }
            until(|| recorder.lost.get()).await;
            trace.expect(["made", "lost: BrokenPipe"]);
        });
    }
}

#[test]
fn a_close_from_within_the_rest_ends_it() {
    run(|trace| async move {
        let recorder = Recorder::new(&trace).quiet().on("data", Transport::close);
        let (transport, recorder, peer) = on_unix(recorder).await;
        let sent = stuff(&peer);
        drop(peer);
        transport.write(b"x");
        until(|| recorder.lost.get()).await;
        assert!(recorder.received.get() < sent);
        trace.take();
    });
}

#[test]
fn a_peer_that_goes_on_sending_cannot_put_off_the_end() {
    run(|trace| async move {
        let other = Rc::new(RefCell::new(None::<StdUnix>));
        let peer_of = Rc::clone(&other);
        let recorder = Recorder::new(&trace).on("data", move |_| {
            let peer = peer_of.borrow();
            peer.as_ref().unwrap().write_all(b"again").unwrap();
        });
        let (transport, recorder, peer) = on_unix(recorder).await;
        peer.shutdown(Shutdown::Read).unwrap();
        (&peer).write_all(b"first").unwrap();
        *other.borrow_mut() = Some(peer);
        transport.write(b"x");
        until(|| recorder.lost.get()).await;
        trace.expect(["made", "data first", "lost: BrokenPipe"]);
        other.borrow_mut().take();
    });
}

#[test]
fn a_panic_in_the_rest_is_reported_and_the_end_still_comes_once() {
    run(|trace| async move {
        let recorder = Recorder::new(&trace).on("data", |_| panic!("on purpose"));
        let (transport, recorder, mut peer) = on_unix(recorder).await;
        peer.write_all(b"rest").unwrap();
        drop(peer);
        transport.write(b"x");
        until(|| recorder.lost.get()).await;
        trace.expect([
            "made",
            "data rest",
            "report: Exception in a protocol's data_received (on purpose)",
            "lost: BrokenPipe",
        ]);
    });
}

#[test]
fn the_rest_comes_after_the_caller_has_its_connection() {
    run(|trace| async move {
        let (ours, mut peer) = StdUnix::pair().unwrap();
        peer.write_all(b"421 busy").unwrap();
        drop(peer);
        let recorder = Recorder::new(&trace).on("made", |transport| transport.write(b"hello"));
        let connecting = get_running_loop().connect_accepted_socket(|| recorder, ours);
        let (transport, recorder) = connecting.await.unwrap();
        trace.push(format!("connected {}", transport.is_closing()));
        until(|| recorder.lost.get()).await;
        trace.expect([
            "made",
            "connected true",
            "data 421 busy",
            "lost: BrokenPipe",
        ]);
    });
}

#[test]
fn an_early_answer_to_a_file_is_delivered() {
    run(|trace| async move {
        let scratch = Scratch::new(&[0; 2_000_000]);
        let file = std::fs::File::open(scratch.path()).unwrap();
        let (transport, recorder, mut peer) = on_unix(Recorder::new(&trace)).await;
        let event_loop = get_running_loop();
        let sender = transport.clone();
        let sending =
            create_task(async move { event_loop.sendfile(&sender, &file, 0, None).await });
        yield_now().await;
        yield_now().await;
        peer.write_all(b"413").unwrap();
        drop(peer);
        sending.await.unwrap().unwrap_err();
        until(|| recorder.lost.get()).await;
        let lines = trace.take();
        assert_eq!(lines[..3], ["made", "pause", "data 413"]);
        assert!(lines[3].starts_with("lost: "), "{lines:?}");
        assert_eq!(lines.len(), 4);
    });
}

#[test]
fn a_loop_that_closes_during_the_rest_releases_everything() {
    on_real_time(|trace, event_loop| {
        let (transport, peer) = complete(&event_loop, async {
            let (transport, _, peer) = on_unix(Recorder::new(&trace).quiet()).await;
            stuff(&peer);
            peer.shutdown(Shutdown::Both).unwrap();
            transport.write(b"x");
            (transport, peer)
        });
        drop(event_loop);
        assert!(transport.protocol().is_none());
        drop(peer);
        trace.expect(["made"]);
    });
}

#[test]
fn a_socket_of_net_gives_what_came_before_a_failed_write() {
    run(|_| async {
        let (stream, mut peer) = stream_and_peer();
        peer.write_all(b"413").unwrap();
        reset(peer);
        // The reset may be on its way still.
        while stream.write(b"upload").await.is_ok() {
            yield_now().await;
        }
        let mut buffer = [0; 8];
        assert_eq!(stream.read(&mut buffer).await.unwrap(), 3);
        assert_eq!(&buffer[..3], b"413");
        let (near, far) = net::UnixStream::pair().unwrap();
        far.write_all(b"413").await.unwrap();
        drop(far);
        let error = near.write(b"upload").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        assert_eq!(near.read(&mut buffer).await.unwrap(), 3);
        assert_eq!(near.read(&mut buffer).await.unwrap(), 0);
    });
}
