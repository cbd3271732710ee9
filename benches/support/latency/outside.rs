//! The other thread. It makes the requests that come from outside, and the requests of the load `sockets`.
//!
//! It is one thread that never sleeps, on a core of its own where there are two: a sleep would add its own lateness to
//! each request, and a second thread would compete with it for its core. Between two requests it looks at one connection
//! of the load at a time, without blocking. The load has a fixed rate, which every runtime here can serve: were each request
//! sent at once after the last answer, the fastest server would have the longest queue.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::super::pin::pin;
use super::arrivals::Arrivals;

/// Where the other thread runs; the loop has the first core.
const CORE: usize = 1;

/// How far apart the requests of the load are: 40,000 a second, about a third of what a core can answer.
const LOAD_EVERY: Duration = Duration::from_micros(25);

/// How many bytes a request of the load has, and its answer.
const MESSAGE: usize = 64;

/// What makes a request: it gets the request's number.
pub(crate) type Request = Box<dyn FnMut(usize) + Send>;

/// The running thread.
pub(crate) struct Outside {
    thread: JoinHandle<()>,
    stop: Arc<AtomicBool>,
}

impl Outside {
    /// Starts the thread: `request` is called once for each arrival, and one of `connections` after the other gets a
    /// request, if it has answered the one before.
    pub(crate) fn start(
        arrivals: Arrivals,
        request: Option<Request>,
        connections: Vec<TcpStream>,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            pin(CORE);
            run(&arrivals, request, connections, &stopped);
        });
        Self { thread, stop }
    }

    /// Ends the thread.
    pub(crate) fn stop(self) {
        self.stop.store(true, Relaxed);
        self.thread.join().expect("the other thread does not panic");
    }
}

fn run(
    arrivals: &Arrivals,
    mut request: Option<Request>,
    connections: Vec<TcpStream>,
    stop: &AtomicBool,
) {
    let mut connections: Vec<_> = connections.into_iter().map(Connection::new).collect();
    let (mut next, mut turn) = (0, 0);
    let mut load_due = Instant::now();
    while !stop.load(Relaxed) {
        if let Some(request) = &mut request {
            while arrivals.is_due(next, Instant::now()) {
                request(next);
                next += 1;
            }
        }
        if connections.is_empty() || Instant::now() < load_due {
            std::hint::spin_loop();
        } else {
            load_due += LOAD_EVERY;
            turn = (turn + 1) % connections.len();
            connections[turn].go_on();
        }
    }
}

/// A connection of the load, with one request under way.
struct Connection {
    stream: TcpStream,
    /// How much of the answer is missing.
    missing: usize,
}

impl Connection {
    fn new(stream: TcpStream) -> Self {
        let mut connection = Self { stream, missing: 0 };
        connection.ask();
        connection
    }

    /// Reads what there is of the answer; after its end comes the next request.
    fn go_on(&mut self) {
        let mut buffer = [0; MESSAGE];
        match self.stream.read(&mut buffer[..self.missing]) {
            Ok(count) => self.missing -= count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => panic!("the load lost a connection: {error}"),
        }
        if self.missing == 0 {
            self.ask();
        }
    }

    fn ask(&mut self) {
        // One message fits into the socket's buffer always.
        self.stream.write_all(&[7; MESSAGE]).expect("a connection");
        self.missing = MESSAGE;
    }
}

/// Two ends of a connection over loopback, ours and the loop's; ours does not block.
pub(crate) fn connected() -> std::io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let ours = TcpStream::connect(listener.local_addr()?)?;
    let (theirs, _) = listener.accept()?;
    for end in [&ours, &theirs] {
        end.set_nodelay(true)?;
    }
    ours.set_nonblocking(true)?;
    Ok((ours, theirs))
}
