//! Much data over transports: faults E3 and E6.

use std::cell::{Cell, RefCell};
use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::rc::Rc;

use callsoon::get_running_loop;
use callsoon::transport::{BufferedProtocol, Protocol, Transport};

use crate::support::{
    Recorder, Trace, audited, complete, on_real_time, real_loop, recorded, std_pair, until, watched,
};

const TEN_MEGABYTES: usize = 10_000_000;

fn test_bytes(count: usize) -> Vec<u8> {
    (0..count).map(|place| (place % 251) as u8).collect()
}

#[test]
fn e6_five_thousand_pieces_arrive_whole_and_in_order() {
    for (pieces, size) in [
        (5000, 2000),
        (5000, 1),
        (3, 0),
        (1025, 100_000 / 1025),
        (2, TEN_MEGABYTES / 2),
    ] {
        on_real_time(move |trace, event_loop| {
            complete(&event_loop, async {
                let (transport, recorder, mut peer) = recorded(Recorder::new(&trace)).await;
                let bytes = test_bytes(pieces * size);
                let mut lines: Vec<&[u8]> = Vec::new();
                for number in 0..pieces {
                    lines.push(&bytes[number * size..(number + 1) * size]);
                    // Pieces without bytes are in between.
                    lines.push(&[]);
                }
                let reader = std::thread::spawn(move || {
                    let mut all = Vec::new();
                    peer.read_to_end(&mut all).unwrap();
                    all
                });
                transport.write(b"");
                transport.writelines(&lines);
                transport.writelines::<&[u8]>(&[]);
                transport.writelines(&["tail", "!"]);
                transport.close();
                until(|| recorder.lost.get()).await;
                let all = reader.join().unwrap();
                assert_eq!(all.len(), bytes.len() + 5);
                assert!(all.starts_with(&bytes) && all.ends_with(b"tail!"));
            });
            trace.take();
        });
    }
}

#[test]
fn e3_ten_megabytes_each_way_survive_a_half_close_in_their_midst() {
    on_real_time(|trace, event_loop| {
        complete(&event_loop, async {
            let ended = Rc::new(Cell::new(false));
            let end = Rc::clone(&ended);
            let recorder = Recorder::new(&trace).quiet().keep_open();
            let recorder = recorder.on("eof", move |_| end.set(true));
            let (transport, recorder, mut peer) = recorded(recorder).await;
            let bytes = test_bytes(TEN_MEGABYTES);
            let expected = bytes.clone();
            let mut writing = peer.try_clone().unwrap();
            let writer = std::thread::spawn(move || {
                writing.write_all(&vec![1; TEN_MEGABYTES]).unwrap();
                writing.shutdown(Shutdown::Write).unwrap();
            });
            // Nobody reads yet, so that the system cannot take everything at once.
            transport.write(&bytes);
            transport.write_eof();
            let reader = std::thread::spawn(move || {
                let mut all = Vec::new();
                peer.read_to_end(&mut all).unwrap();
                assert!(all == expected);
            });
            until(|| recorder.received.get() == TEN_MEGABYTES && ended.get()).await;
            until(|| reader.is_finished() && writer.is_finished()).await;
            reader.join().unwrap();
            writer.join().unwrap();
            transport.close();
            until(|| recorder.lost.get()).await;
        });
        let mut lines = trace.take();
        assert_eq!(
            (lines.remove(0), lines.pop().unwrap()),
            ("made".to_owned(), "lost".to_owned())
        );
        // Which side is done first is the threads' affair.
        lines.sort();
        assert_eq!(lines, ["eof", "pause", "resume"]);
    });
}

/// Collects into a buffer of its own, of which it offers so much at a time.
struct Collect {
    bytes: RefCell<Vec<u8>>,
    filled: Cell<usize>,
    lend: usize,
    lost: Cell<bool>,
    trace: Trace,
}

impl Protocol for Collect {
    fn buffered(&self) -> Option<&dyn BufferedProtocol> {
        Some(self)
    }

    fn eof_received(&self, _: &Transport) -> bool {
        self.trace.push("eof");
        false
    }

    fn connection_lost(&self, _: &Transport, error: Option<std::io::Error>) {
        let how = error.map(|error| error.to_string());
        self.trace.push(format!("lost {how:?}"));
        self.lost.set(true);
    }
}

impl BufferedProtocol for Collect {
    fn get_buffer(&self, _: &Transport, _: usize, receive: &mut dyn FnMut(&mut [u8])) {
        let mut bytes = self.bytes.borrow_mut();
        bytes.resize(self.filled.get() + self.lend, 0);
        receive(&mut bytes[self.filled.get()..]);
        // A second call is without effect.
        receive(&mut bytes[self.filled.get()..]);
    }

    fn buffer_updated(&self, _: &Transport, count: usize) {
        assert!(count > 0);
        self.filled.set(self.filled.get() + count);
    }
}

fn collecting(lend: usize, size: usize) -> Vec<String> {
    let trace = Trace::new();
    let event_loop = real_loop(&trace);
    complete(&event_loop, async {
        let (ours, mut peer) = std_pair();
        let collect = Rc::new(Collect {
            bytes: RefCell::default(),
            filled: Cell::new(0),
            lend,
            lost: Cell::new(false),
            trace: trace.clone(),
        });
        let protocol = collect.clone();
        get_running_loop()
            .connect_accepted_socket(|| protocol, ours)
            .await
            .unwrap();
        let writer = std::thread::spawn(move || peer.write_all(&test_bytes(size)));
        until(|| collect.lost.get()).await;
        let written = writer.join().unwrap();
        if lend > 0 {
            written.unwrap();
            assert!(collect.bytes.borrow()[..collect.filled.get()] == test_bytes(size));
        }
    });
    trace.take()
}

#[test]
fn a_buffered_protocol_receives_into_its_own_memory() {
    audited(watched(|| {
        assert_eq!(collecting(7, 1000), ["eof", "lost None"]);
        assert_eq!(collecting(100_000, 3_000_000), ["eof", "lost None"]);
    }));
}

#[test]
fn a_buffered_protocol_that_lends_nothing_has_failed() {
    audited(watched(|| {
        let what = "a protocol's get_buffer lent no memory";
        let lost = format!("lost Some(\"{what}\")");
        assert_eq!(collecting(0, 1000), [format!("report: {what}"), lost]);
    }));
}
