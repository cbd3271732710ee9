//! A transport over a pair of sockets, and a peer that does anything. The calls of the protocol keep their order, bytes
//! come out as a beginning of those that went in, and all of them after an orderly end.
#![no_main]

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::panic::resume_unwind;
use std::rc::Rc;
use std::time::Duration;

use arbitrary::Arbitrary;
use callsoon::transport::{BufferedProtocol, Protocol, Transport};
use callsoon::{Clock, EventLoop};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input {
    /// Whether the protocol brings its own memory.
    buffered: bool,
    /// Whether the protocol keeps its side open after the peer's end.
    stays: bool,
    steps: Vec<Step>,
    /// What the protocol does when it is called, one a call.
    answers: Vec<Step>,
}

#[derive(Arbitrary, Clone, Debug)]
enum Step {
    Turn,
    Write(u16),
    TryWrite(u16),
    WriteLines(u8, u16),
    WriteEof,
    Close,
    Abort,
    PauseReading,
    ResumeReading,
    Limits(Option<u16>, Option<u16>),
    Panic,
    SetProtocol,
    PeerWrites(u16),
    PeerReads(u16),
    PeerEndsWriting,
    PeerEndsReading,
    PeerDrops,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    New,
    Made,
    Eof,
    Lost,
}

struct World {
    transport: RefCell<Option<Transport>>,
    peer: RefCell<Option<UnixStream>>,
    stage: Cell<Stage>,
    answers: RefCell<VecDeque<Step>>,
    stays: bool,
    reading_paused: Cell<bool>,
    writing_paused: Cell<bool>,
    sent_by_peer: Cell<usize>,
    received: Cell<usize>,
    /// What was written, and how much of it before the end of writing was asked for.
    written: Cell<usize>,
    promised: Cell<Option<usize>>,
    arrived: Cell<usize>,
    /// Something may be lost: an abort, a panic, or a peer that has gone.
    disturbed: Cell<bool>,
    buffer: RefCell<Vec<u8>>,
}

/// How much the peer reads at once in the end.
const MOST: usize = 16 * 1024;

/// The bytes from one position of a stream on.
fn pattern(from: usize, count: usize) -> Vec<u8> {
    (from..from + count).map(|n| (n % 251) as u8).collect()
}

impl World {
    fn transport(&self) -> Option<Transport> {
        self.transport.borrow().clone()
    }

    /// Called at the beginning of each call of the protocol.
    fn enter(&self, transport: &Transport, from: Stage) {
        let stage = self.stage.get();
        assert!(stage == from || (from == Stage::Made && stage == Stage::Eof));
        let mut known = self.transport.borrow_mut();
        known.get_or_insert_with(|| transport.clone());
    }

    fn answer(self: &Rc<Self>) {
        let answer = self.answers.borrow_mut().pop_front();
        match answer {
            Some(Step::Panic) => {
                self.disturbed.set(true);
                // Without the hook, which ends a fuzzer.
                resume_unwind(Box::new("on purpose"));
            }
            Some(step) => self.take(&step),
            None => {}
        }
    }

    fn receive(self: &Rc<Self>, transport: &Transport, data: &[u8]) {
        assert_eq!(self.stage.get(), Stage::Made);
        // After a write that has failed, what was received by then is delivered in any case.
        let paused = self.reading_paused.get() && !transport.is_closing();
        assert!(!paused, "data while reading is paused");
        assert!(transport.is_reading());
        assert!(!data.is_empty());
        assert_eq!(data, pattern(self.received.get(), data.len()));
        self.received.set(self.received.get() + data.len());
        self.answer();
    }

    fn end_of_writing(&self) {
        if self.promised.get().is_none() {
            self.promised.set(Some(self.written.get()));
        }
    }

    fn take(self: &Rc<Self>, step: &Step) {
        if let Some(transport) = self.transport() {
            self.call(&transport, step);
        }
        match *step {
            Step::PeerWrites(count) => self.peer_writes(usize::from(count)),
            Step::PeerReads(count) => {
                self.peer_reads(usize::from(count));
            }
            Step::PeerEndsWriting => self.shut_down(Shutdown::Write),
            Step::PeerEndsReading => {
                self.disturbed.set(true);
                self.shut_down(Shutdown::Read);
            }
            Step::PeerDrops => {
                self.disturbed.set(true);
                drop(self.peer.take());
            }
            _ => {}
        }
    }

    fn call(&self, transport: &Transport, step: &Step) {
        // What is written is counted before, since the protocol may be called within the call, and write too.
        let from = self.written.get();
        match *step {
            Step::Write(count) => {
                self.written.set(from + usize::from(count));
                transport.write(pattern(from, count.into()));
            }
            Step::TryWrite(count) => {
                self.written.set(from + usize::from(count));
                let tried = transport.try_write(pattern(from, count.into()));
                if tried.is_err() {
                    assert_eq!(self.written.get(), from + usize::from(count));
                    self.written.set(from);
                }
            }
            Step::WriteLines(lines, count) => {
                let (lines, count) = (usize::from(lines % 40), usize::from(count % 2048));
                self.written.set(from + lines * count);
                let lines: Vec<_> = (0..lines)
                    .map(|line| pattern(from + line * count, count))
                    .collect();
                transport.writelines(&lines);
            }
            Step::WriteEof => {
                self.end_of_writing();
                transport.write_eof();
            }
            Step::Close => {
                self.end_of_writing();
                transport.close();
                assert!(transport.is_closing());
            }
            Step::Abort => {
                self.disturbed.set(true);
                transport.abort();
                assert!(transport.is_closing());
            }
            // On a transport that is closing, both change nothing.
            Step::PauseReading if transport.is_closing() => transport.pause_reading(),
            Step::ResumeReading if transport.is_closing() => transport.resume_reading(),
            Step::PauseReading => {
                transport.pause_reading();
                self.reading_paused.set(true);
                assert!(!transport.is_reading());
            }
            Step::ResumeReading => {
                transport.resume_reading();
                self.reading_paused.set(false);
                assert!(transport.is_reading());
            }
            Step::Limits(high, low) => {
                let limits = (high.map(usize::from), low.map(usize::from));
                let set = transport.set_write_buffer_limits(limits.0, limits.1);
                if set.is_ok() {
                    let (low, high) = transport.write_buffer_limits();
                    assert!(low <= high);
                }
            }
            Step::SetProtocol => {
                if let Some(protocol) = transport.protocol() {
                    transport.set_protocol(protocol);
                }
            }
            _ => {}
        }
    }

    fn shut_down(&self, how: Shutdown) {
        if let Some(peer) = &*self.peer.borrow() {
            // The connection may be gone.
            let _ = peer.shutdown(how);
        }
    }

    fn peer_writes(&self, count: usize) {
        let from = self.sent_by_peer.get();
        let mut peer = self.peer.borrow_mut();
        let Some(peer) = peer.as_mut() else { return };
        match peer.write(&pattern(from, count)) {
            Ok(count) => self.sent_by_peer.set(from + count),
            Err(error) => assert_known(&error),
        }
    }

    /// Returns how many bytes the peer has read.
    fn peer_reads(&self, most: usize) -> usize {
        let mut peer = self.peer.borrow_mut();
        let Some(peer) = peer.as_mut() else { return 0 };
        let mut buffer = vec![0; most];
        match peer.read(&mut buffer) {
            Ok(count) => {
                let from = self.arrived.get();
                assert_eq!(buffer[..count], pattern(from, count));
                self.arrived.set(from + count);
                assert!(self.arrived.get() <= self.written.get());
                count
            }
            Err(error) => {
                assert_known(&error);
                0
            }
        }
    }
}

fn assert_known(error: &io::Error) {
    let known = [
        ErrorKind::WouldBlock,
        ErrorKind::BrokenPipe,
        ErrorKind::ConnectionReset,
    ];
    assert!(known.contains(&error.kind()), "{error}");
}

struct Watched {
    world: Rc<World>,
    buffered: bool,
}

impl Protocol for Watched {
    fn connection_made(&self, transport: &Transport) {
        self.world.enter(transport, Stage::New);
        self.world.stage.set(Stage::Made);
        self.world.answer();
    }

    fn data_received(&self, transport: &Transport, data: &[u8]) {
        self.world.enter(transport, Stage::Made);
        assert!(!self.buffered);
        self.world.receive(transport, data);
    }

    fn eof_received(&self, transport: &Transport) -> bool {
        self.world.enter(transport, Stage::Made);
        assert_eq!(self.world.stage.get(), Stage::Made, "two ends");
        self.world.stage.set(Stage::Eof);
        if !self.world.stays {
            self.world.end_of_writing();
        }
        self.world.answer();
        self.world.stays
    }

    fn connection_lost(&self, transport: &Transport, error: Option<io::Error>) {
        self.world.enter(transport, Stage::Made);
        self.world.stage.set(Stage::Lost);
        assert!(transport.is_closing());
        assert_eq!(transport.write_buffer_size(), 0);
        assert!(error.is_none() || self.world.disturbed.get(), "{error:?}");
        self.world.answer();
    }

    fn pause_writing(&self, transport: &Transport) {
        self.world.enter(transport, Stage::Made);
        assert!(!self.world.writing_paused.replace(true), "paused twice");
        self.world.answer();
    }

    fn resume_writing(&self, transport: &Transport) {
        self.world.enter(transport, Stage::Made);
        assert!(self.world.writing_paused.replace(false), "resumed twice");
        self.world.answer();
    }

    fn buffered(&self) -> Option<&dyn BufferedProtocol> {
        self.buffered.then_some(self)
    }
}

impl BufferedProtocol for Watched {
    fn get_buffer(&self, _: &Transport, hint: usize, receive: &mut dyn FnMut(&mut [u8])) {
        let mut buffer = self.world.buffer.borrow_mut();
        buffer.resize(hint.clamp(1, 300), 0);
        receive(&mut buffer);
    }

    fn buffer_updated(&self, transport: &Transport, count: usize) {
        self.world.enter(transport, Stage::Made);
        let data = self.world.buffer.borrow()[..count].to_vec();
        self.world.receive(transport, &data);
    }
}

/// Ends the connection in order, and compares what has arrived.
fn end(event_loop: &EventLoop, world: &Rc<World>) {
    let turn = || event_loop.turn(Some(Duration::ZERO)).unwrap();
    world.answers.borrow_mut().clear();
    while world.stage.get() == Stage::New {
        turn();
    }
    world.take(&Step::ResumeReading);
    world.take(&Step::Close);
    // Every turn sends something, as the peer makes room before it.
    let turns = 100 + world.written.get() / 100;
    for _ in 0..turns {
        if world.stage.get() == Stage::Lost && !event_loop.has_ready() {
            break;
        }
        world.peer_reads(MOST);
        turn();
    }
    assert_eq!(
        world.stage.get(),
        Stage::Lost,
        "the connection does not end"
    );
    assert!(!event_loop.has_ready(), "a lost connection goes on");
    while world.peer_reads(MOST) > 0 {}
    let promised = world.promised.get().unwrap();
    assert!(world.disturbed.get() || world.arrived.get() >= promised);
    assert!(world.received.get() <= world.sent_by_peer.get());
}

fuzz_target!(|input: Input| {
    let event_loop = EventLoop::builder().clock(Clock::Manual).build().unwrap();
    event_loop.set_exception_handler(|_, _| ());
    let (here, there) = UnixStream::pair().unwrap();
    there.set_nonblocking(true).unwrap();
    let world = Rc::new(World {
        transport: RefCell::default(),
        peer: RefCell::new(Some(there)),
        stage: Cell::new(Stage::New),
        answers: RefCell::new(input.answers.into()),
        stays: input.stays,
        reading_paused: Cell::default(),
        writing_paused: Cell::default(),
        sent_by_peer: Cell::default(),
        received: Cell::default(),
        written: Cell::default(),
        promised: Cell::default(),
        arrived: Cell::default(),
        disturbed: Cell::default(),
        buffer: RefCell::default(),
    });
    let watched = Watched {
        world: Rc::clone(&world),
        buffered: input.buffered,
    };
    let handle = event_loop.handle();
    let connecting = handle.clone().create_task(async move {
        let connecting = handle.connect_accepted_socket(|| watched, here);
        drop(connecting.await);
    });
    for step in input.steps {
        match step {
            Step::Turn => event_loop.turn(Some(Duration::ZERO)).unwrap(),
            Step::Panic => {}
            step => world.take(&step),
        }
    }
    end(&event_loop, &world);
    drop(connecting);
    event_loop.close().unwrap();
    // The transport knows its protocol, which knows it.
    drop(world.transport.take());
});
