//! The load generator: a closed loop with one request outstanding on every connection, one thread, blocking nowhere but
//! in epoll.
//!
//! `load PORT CONNECTIONS MILLISECONDS` connects, runs for a tenth of the time to warm both sides up, waits until every
//! reply is there, says `warm` and waits for a line. Then it runs for the whole time, waits for every reply again, and
//! says `done REQUESTS WALL_NANOSECONDS P50_NANOSECONDS P99_NANOSECONDS`. So the server is at rest when its parent asks
//! it for its processor time, and exactly REQUESTS lie between the two answers. Every byte of every reply is compared.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use super::epoll::Epoll;
use crate::support::rounds::Failure;
use crate::support::table::percentile;

/// A request and its reply: one line, its end included.
const MESSAGE: usize = 64;
/// A server that says nothing for so long is taken for dead.
const SILENCE: Duration = Duration::from_secs(5);
/// What part of the run warms up.
const WARM_UP: u32 = 10;

/// `--child load PORT CONNECTIONS MILLISECONDS`.
pub(crate) fn run(order: &[String]) -> Result<(), Failure> {
    let [port, connections, millis] = order else {
        return Err("load wants PORT CONNECTIONS MILLISECONDS".into());
    };
    let time = Duration::from_millis(millis.parse()?);
    let mut load = Load::connect(port.parse()?, connections.parse()?)?;
    load.drive(time / WARM_UP)?;
    println!("warm");
    std::io::stdin().read_line(&mut String::new())?;
    let began = Instant::now();
    let mut latencies = load.drive(time)?;
    let wall = began.elapsed().as_nanos();
    let (p50, p99) = (
        percentile(&mut latencies, 50),
        percentile(&mut latencies, 99),
    );
    println!("done {} {wall} {p50} {p99}", latencies.len());
    Ok(())
}

/// One connection and its outstanding request.
struct Connection {
    stream: TcpStream,
    /// What was sent and has to come back.
    message: [u8; MESSAGE],
    /// How much of it has come back.
    received: usize,
    /// When it was sent.
    sent: Instant,
}

/// All connections.
struct Load {
    epoll: Epoll,
    connections: Vec<Connection>,
    /// Requests so far; it goes into the messages, so that no two are equal.
    serial: u64,
}

impl Load {
    /// Connects, one after another. Each new connection has its first reply before the next one is made, so that the
    /// server's backlog never overflows, which would cost a second of waiting for a retransmission.
    fn connect(port: u16, count: usize) -> Result<Self, Failure> {
        let epoll = Epoll::new()?;
        let mut connections = Vec::with_capacity(count);
        for index in 0..count {
            let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(SILENCE))?;
            let mut connection = Connection {
                stream,
                message: [0; MESSAGE],
                received: 0,
                sent: Instant::now(),
            };
            connection.send(index as u64)?;
            while !connection.receive()? {}
            connection.stream.set_nonblocking(true)?;
            epoll.add(&connection.stream, index as u64, libc::EPOLLIN)?;
            connections.push(connection);
        }
        Ok(Self {
            epoll,
            connections,
            serial: count as u64,
        })
    }

    /// Keeps a request outstanding on every connection for `time`, then waits for the replies; latencies in ns.
    fn drive(&mut self, time: Duration) -> Result<Vec<f64>, Failure> {
        let end = Instant::now() + time;
        let mut latencies = Vec::new();
        for connection in &mut self.connections {
            self.serial += 1;
            connection.send(self.serial)?;
        }
        let mut outstanding = self.connections.len();
        while outstanding > 0 {
            let events = self.epoll.wait(SILENCE.as_millis() as libc::c_int)?;
            if events.is_empty() {
                return Err(format!("no reply in {SILENCE:?}").into());
            }
            for event in events {
                let connection = &mut self.connections[event.u64 as usize];
                if !connection.receive()? {
                    continue;
                }
                let now = Instant::now();
                latencies.push((now - connection.sent).as_nanos() as f64);
                if now < end {
                    self.serial += 1;
                    connection.send(self.serial)?;
                } else {
                    outstanding -= 1;
                }
            }
        }
        Ok(latencies)
    }
}

impl Connection {
    /// Sends the next request. It fits the socket's buffer, which is empty.
    fn send(&mut self, serial: u64) -> io::Result<()> {
        for (place, byte) in self.message.iter_mut().enumerate() {
            *byte = b'a' + ((serial >> (4 * (place % 16))) as u8 & 15);
        }
        self.message[MESSAGE - 1] = b'\n';
        self.received = 0;
        self.sent = Instant::now();
        self.stream.write_all(&self.message)
    }

    /// Takes what has come; `true` when the reply is whole.
    fn receive(&mut self) -> Result<bool, Failure> {
        let mut buffer = [0; MESSAGE + 1];
        let count = match self.stream.read(&mut buffer) {
            Ok(0) => return Err("the server closed a connection".into()),
            Ok(count) => count,
            Err(error) => return Err(format!("no reply: {error}").into()),
        };
        if self.message.get(self.received..self.received + count) != Some(&buffer[..count]) {
            return Err("a reply differs from its request".into());
        }
        self.received += count;
        Ok(self.received == MESSAGE)
    }
}
