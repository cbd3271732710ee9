//! A protocol that records its calls, and does what the test wants at each of them.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::net::TcpStream;
use std::rc::Rc;

use callsoon::transport::{Protocol, Transport};
use callsoon::{get_running_loop, yield_now};

use super::{Trace, std_pair};

type Hook = Box<dyn Fn(&Transport)>;

/// Writes `made`, `data <bytes>`, `eof`, `lost`, `pause` and `resume`, and runs the hook of that name.
#[derive(Default)]
pub(crate) struct Recorder {
    trace: Trace,
    hooks: RefCell<Vec<(&'static str, Hook)>>,
    /// What `eof_received` returns.
    keep_open: Cell<bool>,
    /// Counts data instead of recording it.
    quiet: Cell<bool>,
    /// Returns how many bytes were received.
    pub(crate) received: Cell<usize>,
    pub(crate) lost: Cell<bool>,
}

impl Recorder {
    pub(crate) fn new(trace: &Trace) -> Self {
        Self {
            trace: trace.clone(),
            ..Self::default()
        }
    }

    pub(crate) fn on(self, call: &'static str, hook: impl Fn(&Transport) + 'static) -> Self {
        self.hooks.borrow_mut().push((call, Box::new(hook)));
        self
    }

    pub(crate) fn keep_open(self) -> Self {
        self.keep_open.set(true);
        self
    }

    pub(crate) fn quiet(self) -> Self {
        self.quiet.set(true);
        self
    }

    fn note(&self, call: &str, line: String, transport: &Transport) {
        self.trace.push(line);
        self.run(call, transport);
    }

    fn run(&self, call: &str, transport: &Transport) {
        for (of, hook) in &*self.hooks.borrow() {
            if *of == call {
                hook(transport);
            }
        }
    }
}

impl Protocol for Recorder {
    fn connection_made(&self, transport: &Transport) {
        self.note("made", "made".to_owned(), transport);
    }

    fn data_received(&self, transport: &Transport, data: &[u8]) {
        self.received.set(self.received.get() + data.len());
        if self.quiet.get() {
            return self.run("data", transport);
        }
        let line = format!("data {}", String::from_utf8_lossy(data));
        self.note("data", line, transport);
    }

    fn eof_received(&self, transport: &Transport) -> bool {
        self.note("eof", "eof".to_owned(), transport);
        self.keep_open.get()
    }

    fn connection_lost(&self, transport: &Transport, error: Option<io::Error>) {
        self.lost.set(true);
        let line = match error {
            None => "lost".to_owned(),
            Some(error) => format!("lost: {:?}", error.kind()),
        };
        self.note("lost", line, transport);
    }

    fn pause_writing(&self, transport: &Transport) {
        self.note("pause", "pause".to_owned(), transport);
    }

    fn resume_writing(&self, transport: &Transport) {
        self.note("resume", "resume".to_owned(), transport);
    }
}

/// Returns a connection of the running loop, the trace of its protocol, and the other end in blocking mode.
pub(crate) async fn recorded(recorder: Recorder) -> (Transport, Rc<Recorder>, TcpStream) {
    let (ours, peer) = std_pair();
    let connecting = get_running_loop().connect_accepted_socket(|| recorder, ours);
    let (transport, recorder) = connecting.await.unwrap();
    (transport, recorder, peer)
}

/// Runs turns until `condition` holds; `complete` ends the test if it never does.
pub(crate) fn until<'a>(is_so: impl Fn() -> bool + 'a) -> impl Future<Output = ()> + 'a {
    until_box(Box::new(is_so))
}

/// One future for all conditions, so that it is compiled once.
async fn until_box(is_so: Box<dyn Fn() -> bool + '_>) {
    while !is_so() {
        callsoon::sleep(std::time::Duration::from_micros(200)).await;
        yield_now().await;
    }
}

/// Waits until the loop has polled for events this many times. The first answer may have been on its way already;
/// what local sockets and pipes have done by now is in the second.
pub(crate) async fn event_polls(count: u64) {
    let handle = get_running_loop();
    let last = handle.metrics().event_polls + count;
    while handle.metrics().event_polls < last {
        yield_now().await;
    }
}
