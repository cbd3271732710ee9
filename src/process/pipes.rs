//! This process's ends of a child's pipes, watched: what transports and streams of children stand on.
//!
//! Each is a pipe like any other, but for two things. It was made here, so that its mode is nobody else's. And what comes
//! from it is made outside the loop's time: a virtual clock stands still while a child is listened to.
//!
//! The other end is the child's, and the child decides what a read gives: one that has set `O_DIRECT` on its end writes
//! packets, and each read ends with a packet. So a read that fills less than its buffer does not prove the pipe empty. Only
//! EAGAIN does.

use std::io;
use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::panic::Location;
use std::rc::Rc;

use crate::kernel::io::readiness::{Direction, Readiness};
use crate::kernel::io::source::Io;
use crate::kernel::loop_handle::LoopHandle;
use crate::stream::protocol::{LIMIT, StreamProtocol};
use crate::stream::reader::StreamReader;
use crate::stream::writer::StreamWriter;
use crate::transport::pipe_end::PipeEnd;
use crate::transport::protocol::{Protocol, Transport};
use crate::transport::socket::StreamSocket;

/// One end, watched.
pub(crate) type Watched = Io<StreamSocket>;

/// What a child's descriptors 0, 1 and 2 are connected to here.
pub(crate) type Pipes = [Option<Watched>; 3];

/// Watches an end of a pipe that was made for a child.
pub(crate) fn watch(
    handle: &LoopHandle,
    pipe: OwnedFd,
    direction: Direction,
) -> io::Result<Watched> {
    let end = StreamSocket::Pipe(PipeEnd::own(pipe, direction)?);
    let interest = end.interest();
    Io::new(handle, end, interest, Readiness::new(false, true))
}

/// Connects an end to a protocol, whose `connection_made` runs at once.
pub(crate) fn connect(
    pipe: Watched,
    protocol: Rc<dyn Protocol>,
    location: &'static Location<'static>,
) -> io::Result<Transport> {
    let transport = Transport::new(pipe, protocol, None, location)?;
    transport.announce();
    transport.begin_reading();
    Ok(transport)
}

fn stream(
    pipe: Watched,
    limit: NonZeroUsize,
    location: &'static Location<'static>,
) -> io::Result<(Rc<StreamProtocol>, Transport)> {
    let protocol = StreamProtocol::new(&pipe.handle(), limit, None);
    protocol.child.set(true);
    let transport = connect(pipe, Rc::clone(&protocol) as Rc<dyn Protocol>, location)?;
    Ok((protocol, transport))
}

/// A reader of what a child says.
pub(crate) fn reader(
    pipe: Watched,
    limit: NonZeroUsize,
    location: &'static Location<'static>,
) -> io::Result<StreamReader> {
    let (protocol, transport) = stream(pipe, limit, location)?;
    Ok(StreamReader::new(&protocol, &transport))
}

/// A writer of what a child is told.
pub(crate) fn writer(
    pipe: Watched,
    location: &'static Location<'static>,
) -> io::Result<StreamWriter> {
    let (protocol, transport) = stream(pipe, LIMIT, location)?;
    Ok(StreamWriter::new(&protocol, &transport))
}
