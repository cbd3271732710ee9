//! The load generator for HTTP/1: a closed loop with one request outstanding on every connection, one thread, blocking
//! nowhere but in epoll.
//!
//! `load1 PORT CONNECTIONS MILLISECONDS` behaves as `echo`'s: it warms up for a tenth of the time, says `warm`, waits
//! for a line, runs for the whole time, and says `done REQUESTS WALL_NANOSECONDS P50_NANOSECONDS P99_NANOSECONDS` when
//! every answer is there. `upload` does the same with a body. `idle PORT CONNECTIONS` leaves connections open that have
//! had one answer each.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use super::ANSWER;
use crate::echo::epoll::Epoll;
use crate::support::rounds::Failure;
use crate::support::table::percentile;

/// A server that says nothing for so long is taken for dead.
const SILENCE: Duration = Duration::from_secs(5);
/// What part of the run warms up.
const WARM_UP: u32 = 10;
/// How many connections are there before idle ones are counted, so that what grows by doubling has grown.
const FIRST: usize = 100;

/// `--child load1|upload PORT CONNECTIONS MILLISECONDS`.
pub(crate) fn run(order: &[String], body: usize) -> Result<(), Failure> {
    let [port, connections, millis] = order else {
        return Err("load wants PORT CONNECTIONS MILLISECONDS".into());
    };
    let time = Duration::from_millis(millis.parse()?);
    let mut load = Load::connect(port.parse()?, connections.parse()?, body)?;
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

/// `--child idle PORT CONNECTIONS`.
pub(crate) fn idle(order: &[String]) -> Result<(), Failure> {
    let [port, connections] = order else {
        return Err("idle wants PORT CONNECTIONS".into());
    };
    let (port, count) = (port.parse()?, connections.parse()?);
    let first = Load::connect(port, FIRST, 0)?;
    println!("warm");
    std::io::stdin().read_line(&mut String::new())?;
    let counted = Load::connect(port, count, 0)?;
    println!("done {count}");
    std::io::stdin().read_line(&mut String::new())?;
    drop((first, counted));
    Ok(())
}

fn request(body: usize) -> Vec<u8> {
    let mut request = match body {
        0 => "GET / HTTP/1.1\r\nhost: bench\r\naccept: */*\r\n\r\n".into(),
        length => format!("POST / HTTP/1.1\r\nhost: bench\r\ncontent-length: {length}\r\n\r\n"),
    }
    .into_bytes();
    request.extend(std::iter::repeat_n(b'u', body));
    request
}

struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
    /// How much of the request is with the system.
    written: usize,
    sent: Instant,
}

struct Load {
    epoll: Epoll,
    connections: Vec<Connection>,
    request: Vec<u8>,
    /// How long an answer is; 0 before the first one.
    length: usize,
}

impl Load {
    /// Connects, one after another, each with its first answer before the next one is made.
    fn connect(port: u16, count: usize, body: usize) -> Result<Self, Failure> {
        let mut load = Self {
            epoll: Epoll::new()?,
            connections: Vec::with_capacity(count),
            request: request(body),
            length: 0,
        };
        for index in 0..count {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(SILENCE))?;
            stream.write_all(&load.request)?;
            let mut connection = Connection {
                stream,
                received: Vec::with_capacity(512),
                written: 0,
                sent: Instant::now(),
            };
            while !connection.receive(&mut load.length)? {}
            connection.stream.set_nonblocking(true)?;
            let events = libc::EPOLLIN
                | if body > 0 {
                    libc::EPOLLOUT | libc::EPOLLET
                } else {
                    0
                };
            load.epoll.add(&connection.stream, index as u64, events)?;
            load.connections.push(connection);
        }
        Ok(load)
    }

    /// Keeps a request outstanding on every connection for `time`, then waits for the answers; latencies in ns.
    fn drive(&mut self, time: Duration) -> Result<Vec<f64>, Failure> {
        let end = Instant::now() + time;
        let mut latencies = Vec::new();
        for connection in &mut self.connections {
            connection.begin(&self.request)?;
        }
        let mut outstanding = self.connections.len();
        while outstanding > 0 {
            let events = self.epoll.wait(SILENCE.as_millis() as libc::c_int)?;
            if events.is_empty() {
                return Err(format!("no answer in {SILENCE:?}").into());
            }
            for event in events {
                let connection = &mut self.connections[event.u64 as usize];
                connection.send(&self.request)?;
                if !connection.receive(&mut self.length)? {
                    continue;
                }
                let now = Instant::now();
                latencies.push((now - connection.sent).as_nanos() as f64);
                if now < end {
                    connection.begin(&self.request)?;
                } else {
                    outstanding -= 1;
                }
            }
        }
        Ok(latencies)
    }
}

impl Connection {
    fn begin(&mut self, request: &[u8]) -> Result<(), Failure> {
        (self.written, self.sent) = (0, Instant::now());
        self.send(request)
    }

    /// Writes what the system takes of the request.
    fn send(&mut self, request: &[u8]) -> Result<(), Failure> {
        while self.written < request.len() {
            match self.stream.write(&request[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Takes what has come; `true` when the answer is whole.
    fn receive(&mut self, length: &mut usize) -> Result<bool, Failure> {
        let mut buffer = [0; 512];
        match self.stream.read(&mut buffer) {
            Ok(0) => return Err("the server closed a connection".into()),
            Ok(count) => self.received.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(format!("no answer: {error}").into()),
        }
        if *length == 0 && self.received.ends_with(ANSWER) {
            *length = self.received.len();
        }
        if *length == 0 || self.received.len() < *length {
            return Ok(false);
        }
        let whole = self.received.len() == *length
            && self.received.starts_with(b"HTTP/1.1 200 OK\r\n")
            && self.received.ends_with(ANSWER);
        self.received.clear();
        match whole {
            true => Ok(true),
            false => Err("an answer differs from the first one".into()),
        }
    }
}
