//! This process's ends of a child's pipes: registered with the reactor, and connected to transports or streams.
//!
//! They differ from other pipes in two respects. This process created them, so no other process shares the non-blocking
//! mode of their open file descriptions. And a virtual clock does not advance while a program waits for output of a child.
//!
//! The other end belongs to the child, which decides what a read returns. If the child has set `O_DIRECT`, it writes
//! packets, and each read returns one packet. So a read that fills less than its buffer does not prove that the pipe is
//! empty. Only EAGAIN does.

use std::io;
use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::panic::Location;
use std::rc::Rc;

use crate::kernel::io::readiness::Direction;
use crate::kernel::io::source::Io;
use crate::kernel::loop_handle::LoopHandle;
use crate::socket::pipe_end::PipeEnd;
use crate::socket::stream_socket::StreamSocket;
use crate::stream::protocol::{LIMIT, StreamProtocol};
use crate::stream::reader::StreamReader;
use crate::stream::writer::StreamWriter;
use crate::transport::protocol::{Protocol, Transport};

/// One end that is registered with the reactor.
pub(crate) type PipeIo = Io<StreamSocket>;

/// The ends of the pipes of a child's descriptors 0, 1 and 2.
pub(crate) type Pipes = [Option<PipeIo>; 3];

/// Registers this process's end of a pipe that was created for a child.
pub(crate) fn register(
    handle: &LoopHandle,
    pipe: OwnedFd,
    direction: Direction,
) -> io::Result<PipeIo> {
    StreamSocket::Pipe(PipeEnd::own(pipe, direction)?).watched(handle)
}

/// Connects an end to a protocol, and calls `connection_made` at once.
pub(crate) fn connect(
    pipe: PipeIo,
    protocol: Rc<dyn Protocol>,
    location: &'static Location<'static>,
) -> io::Result<Transport> {
    let transport = Transport::new(pipe, protocol, None, location)?;
    transport.announce();
    transport.begin_reading();
    Ok(transport)
}

/// Connects an end to the protocol of a stream.
fn stream(
    pipe: PipeIo,
    limit: NonZeroUsize,
    location: &'static Location<'static>,
) -> io::Result<(Rc<StreamProtocol>, Transport)> {
    let protocol = StreamProtocol::new(&pipe.handle(), limit, None);
    protocol.child.set(true);
    let transport = connect(pipe, Rc::clone(&protocol) as Rc<dyn Protocol>, location)?;
    Ok((protocol, transport))
}

/// Returns a reader of a child's output.
pub(crate) fn reader(
    pipe: PipeIo,
    limit: NonZeroUsize,
    location: &'static Location<'static>,
) -> io::Result<StreamReader> {
    let (protocol, transport) = stream(pipe, limit, location)?;
    Ok(StreamReader::new(&protocol, &transport))
}

/// Returns a writer of a child's input.
pub(crate) fn writer(
    pipe: PipeIo,
    location: &'static Location<'static>,
) -> io::Result<StreamWriter> {
    let (protocol, transport) = stream(pipe, LIMIT, location)?;
    Ok(StreamWriter::new(&protocol, &transport))
}
