//! The floor: no runtime, no tasks, one edge-triggered epoll and two system calls a request.
//!
//! A read that does not fill the buffer has drained the socket, so there is no second read for EAGAIN.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};

use super::Work;
use super::epoll::Epoll;
use crate::support::rounds::Failure;

/// The listener's token; connections have their index.
const LISTENER: u64 = u64::MAX;

pub(crate) fn serve(work: Work) -> Result<(), Failure> {
    let listener = TcpListener::bind(super::ANYWHERE)?;
    listener.set_nonblocking(true)?;
    let mut epoll = Epoll::new()?;
    epoll.add(&listener, LISTENER, libc::EPOLLIN)?;
    super::announce(listener.local_addr()?);
    // Closed connections leave holes that nobody fills: a server lives for one row.
    let mut connections: Vec<Option<TcpStream>> = Vec::new();
    let mut buffer = match work {
        Work::Echo | Work::Lines => vec![0; super::BUFFER],
        Work::Sink => vec![0; super::BULK_BUFFER],
    };
    let mut events = Vec::new();
    loop {
        events.clear();
        events.extend_from_slice(epoll.wait(-1)?);
        for event in &events {
            let (token, bits) = (event.u64, event.events);
            if token == LISTENER {
                accept(&listener, &epoll, &mut connections)?;
                continue;
            }
            let slot = &mut connections[token as usize];
            let closing = bits & (libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR) as u32 != 0;
            let open = slot
                .as_mut()
                .is_some_and(|stream| answer(stream, &mut buffer, closing, work).unwrap_or(false));
            if !open {
                *slot = None;
            }
        }
    }
}

/// Accepts all that wait.
fn accept(
    listener: &TcpListener,
    epoll: &Epoll,
    connections: &mut Vec<Option<TcpStream>>,
) -> io::Result<()> {
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(true)?;
                let interest = libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLET;
                epoll.add(&stream, connections.len() as u64, interest)?;
                connections.push(Some(stream));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// Does the work until the socket is drained; `false` at its end. A socket that is `closing` is read to the end.
fn answer(
    stream: &mut TcpStream,
    buffer: &mut [u8],
    closing: bool,
    work: Work,
) -> io::Result<bool> {
    loop {
        match stream.read(buffer) {
            Ok(0) => return Ok(false),
            Ok(count) => {
                // A message of 64 bytes always fits the socket's buffer; a client that does not read is cut off.
                if work != Work::Sink {
                    stream.write_all(&buffer[..count])?;
                }
                if count < buffer.len() && !closing {
                    return Ok(true);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            Err(error) => return Err(error),
        }
    }
}
