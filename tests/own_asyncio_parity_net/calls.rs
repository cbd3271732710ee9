//! Which callbacks of a protocol are called, and in which order.

use std::cell::{Cell, RefCell};
use std::io::Write as _;
use std::net::Shutdown;
use std::rc::Rc;

use callsoon::transport::{BufferedProtocol, Protocol, Transport};

use super::asyncio::{Program, program, python_bool};
use super::support::{Recorder, Trace, recorded as connected, reset, until};
use super::{read_all, text};

pub(crate) fn programs() -> Vec<Program<Trace>> {
    vec![
        program!(
            "echo with a half close",
            r#"
transport, recorder, peer = await connected(Recorder(keep_open=True, data=lambda t: t.write(b"echo")))
peer.sendall(b"hello")
await until(lambda: recorder.received)
peer.shutdown(socket.SHUT_WR)
await until(lambda: "eof" in lines)
transport.write(b", and more")
say(transport.is_closing())
transport.write_eof()
say(text(read_all(peer)))
transport.close()
say(transport.is_closing())
await until(lambda: recorder.lost)
"#,
            async |trace: Trace| {
                let echo = Recorder::new(&trace).keep_open();
                let ended = Rc::new(Cell::new(false));
                let eof = Rc::clone(&ended);
                let echo = echo.on("eof", move |_| eof.set(true));
                let echo = echo.on("data", |t| t.write(b"echo"));
                let (transport, recorder, mut peer) = connected(echo).await;
                peer.write_all(b"hello").unwrap();
                until(|| recorder.received.get() > 0).await;
                peer.shutdown(Shutdown::Write).unwrap();
                until(|| ended.get()).await;
                transport.write(b", and more");
                trace.push(python_bool(transport.is_closing()));
                transport.write_eof();
                trace.push(text(&read_all(&mut peer)));
                transport.close();
                trace.push(python_bool(transport.is_closing()));
                until(|| recorder.lost.get()).await;
            }
        ),
        program!(
            "the peer's end closes, and what is written at it is still sent",
            r#"
transport, recorder, peer = await connected(Recorder(eof=lambda t: t.write(b"bye")))
peer.sendall(b"all")
peer.shutdown(socket.SHUT_WR)
await until(lambda: recorder.lost)
say(text(read_all(peer)))
"#,
            async |trace: Trace| {
                let polite = Recorder::new(&trace).on("eof", |t| t.write(b"bye"));
                let (_transport, recorder, mut peer) = connected(polite).await;
                peer.write_all(b"all").unwrap();
                peer.shutdown(Shutdown::Write).unwrap();
                until(|| recorder.lost.get()).await;
                trace.push(text(&read_all(&mut peer)));
            }
        ),
        program!(
            "close and abort say so at once, and the protocol hears of it later",
            r#"
for end in "close", "abort":
    transport, recorder, peer = await connected(Recorder())
    getattr(transport, end)()
    say(transport.is_closing(), recorder.lost)
    getattr(transport, end)()
    await until(lambda: recorder.lost)
    transport.write(b"too late")
    transport.pause_reading()
    transport.resume_reading()
    say(text(read_all(peer)))
"#,
            async |trace: Trace| {
                for end in [Transport::close, Transport::abort] {
                    let (transport, recorder, mut peer) = connected(Recorder::new(&trace)).await;
                    end(&transport);
                    let lost = python_bool(recorder.lost.get());
                    trace.push(format!("{} {lost}", python_bool(transport.is_closing())));
                    end(&transport);
                    until(|| recorder.lost.get()).await;
                    transport.write(b"too late");
                    transport.pause_reading();
                    transport.resume_reading();
                    trace.push(text(&read_all(&mut peer)));
                }
            }
        ),
        program!(
            "a reset is told as an error",
            r#"
transport, recorder, peer = await connected(Recorder())
reset(peer)
await until(lambda: recorder.lost)
"#,
            async |trace: Trace| {
                let (_transport, recorder, peer) = connected(Recorder::new(&trace)).await;
                reset(peer);
                until(|| recorder.lost.get()).await;
            }
        ),
        program!(
            "an exception in data_received is reported and ends the connection",
            r#"
def fail(transport): raise ValueError("on purpose")
transport, recorder, peer = await connected(Recorder(data=fail))
peer.sendall(b"x")
await until(lambda: recorder.lost)
"#,
            async |trace: Trace| {
                let failing = Recorder::new(&trace).on("data", |_| panic!("on purpose"));
                let (_transport, recorder, mut peer) = connected(failing).await;
                peer.write_all(b"x").unwrap();
                until(|| recorder.lost.get()).await;
            }
        ),
        program!(
            "connection_made comes before the connection is given, and may close it",
            r#"
transport, recorder, peer = await connected(Recorder(made=lambda t: (t.write(b"hello"), t.close())))
say("connected", transport.is_closing())
await until(lambda: recorder.lost)
say(text(read_all(peer)))
"#,
            async |trace: Trace| {
                let brief = Recorder::new(&trace).on("made", |t| {
                    t.write(b"hello");
                    t.close();
                });
                let (transport, recorder, mut peer) = connected(brief).await;
                trace.push(format!("connected {}", python_bool(transport.is_closing())));
                until(|| recorder.lost.get()).await;
                trace.push(text(&read_all(&mut peer)));
            }
        ),
        program!(
            "writing after write_eof is a mistake, a second write_eof is none",
            r#"
transport, recorder, peer = await connected(Recorder())
say(transport.can_write_eof())
transport.write_eof()
transport.write_eof()
try: transport.write(b"x")
except RuntimeError: say("a mistake")
transport.close()
transport.write_eof()
await until(lambda: recorder.lost)
"#,
            async |trace: Trace| {
                let (transport, recorder, _peer) = connected(Recorder::new(&trace)).await;
                trace.push(python_bool(transport.can_write_eof()));
                transport.write_eof();
                transport.write_eof();
                if transport.try_write(b"x").is_err() {
                    trace.push("a mistake");
                }
                transport.close();
                transport.write_eof();
                until(|| recorder.lost.get()).await;
            }
        ),
        program!(
            "a protocol is replaced by a buffered one in mid-stream",
            r#"
class Buffered(asyncio.BufferedProtocol):
    def __init__(self): self.memory, self.over = bytearray(4), False
    def get_buffer(self, hint): return self.memory
    def buffer_updated(self, count): say("updated", text(self.memory[:count]))
    def eof_received(self): say("its eof")
    def connection_lost(self, error): self.over = True
second = Buffered()
transport, recorder, peer = await connected(Recorder(data=lambda t: t.set_protocol(second)))
peer.sendall(b"first")
await until(lambda: recorder.received)
peer.sendall(b"abcdefghij")
peer.shutdown(socket.SHUT_WR)
await until(lambda: second.over)
"#,
            async |trace: Trace| {
                let second = Rc::new(Buffered {
                    trace: trace.clone(),
                    memory: Default::default(),
                    over: Cell::new(false),
                });
                let next = Rc::clone(&second);
                let first = Recorder::new(&trace).on("data", move |t| {
                    t.set_protocol(Rc::clone(&next) as Rc<dyn Protocol>)
                });
                let (_transport, recorder, mut peer) = connected(first).await;
                peer.write_all(b"first").unwrap();
                until(|| recorder.received.get() > 0).await;
                peer.write_all(b"abcdefghij").unwrap();
                peer.shutdown(Shutdown::Write).unwrap();
                until(|| second.over.get()).await;
            }
        ),
    ]
}

/// Receives four bytes at a time.
struct Buffered {
    trace: Trace,
    memory: RefCell<[u8; 4]>,
    over: Cell<bool>,
}

impl Protocol for Buffered {
    fn eof_received(&self, _: &Transport) -> bool {
        self.trace.push("its eof");
        false
    }

    fn connection_lost(&self, _: &Transport, _: Option<std::io::Error>) {
        self.over.set(true);
    }

    fn buffered(&self) -> Option<&dyn BufferedProtocol> {
        Some(self)
    }
}

impl BufferedProtocol for Buffered {
    fn get_buffer(&self, _: &Transport, _: usize, receive: &mut dyn FnMut(&mut [u8])) {
        receive(&mut *self.memory.borrow_mut());
    }

    fn buffer_updated(&self, _: &Transport, count: usize) {
        let line = format!("updated {}", text(&self.memory.borrow()[..count]));
        self.trace.push(line);
    }
}
