//! `sendfile` over a transport.
//!
//! A file begins when everything that was written before has been sent. What is written meanwhile is sent after it, where
//! asyncio refuses such a write. The protocol is paused for that time, so that a program that heeds flow control writes
//! nothing, and nothing is read either. However sending ends, also by being dropped, the connection then goes on as if the
//! file had been written, up to the byte that was sent last.

use std::fs::File;
use std::future::poll_fn;
use std::io;
use std::os::fd::AsFd;
use std::task::{Context, Poll, ready};

use crate::error::invalid_input;
use crate::kernel::io::readiness::Direction;
use crate::kernel::loop_handle::LoopHandle;
use crate::net::sendfile::Transfer;
use crate::socket::stream_socket::StreamSocket;
use crate::transport::any_layer::AnyLayer;
use crate::transport::buffer::FileInProgress;
use crate::transport::connection::State;
use crate::transport::layer::Layer;
use crate::transport::protocol::Transport;

impl LoopHandle {
    /// Sends `count` bytes of a file from `offset` on, or all up to its end, over a connection, and returns how many
    /// were sent. The file's position is then after the last of them, also when this fails or is dropped.
    ///
    /// What was written before is sent before the file, what is written meanwhile after it, where asyncio refuses
    /// such a write. The protocol is told to pause writing until the file is sent, and nothing is read meanwhile. A
    /// close waits for the file, an abort does not. The system copies by itself where it can, but over TLS the file is
    /// read. Reading from a disk blocks the loop for as long as it takes, a megabyte at a time.
    ///
    /// # Errors
    /// `InvalidInput` for a count of 0, one beyond the largest file, and a pipe; `NotConnected` on a connection that
    /// is closing or has ended its writing side; `ResourceBusy` while another file is sent; `ConnectionAborted` if
    /// the connection is lost meanwhile. Those of reading the file, after which the connection goes on; those of the
    /// socket, such as `BrokenPipe`, to which the connection is lost.
    ///
    /// # Cancellation
    /// Dropped before it is done it has sent as much as the file's position says, and the connection goes on.
    ///
    /// ```
    /// # use callsoon::doctest::Idle;
    /// let (here, there) = std::os::unix::net::UnixStream::pair()?;
    /// callsoon::run(async move {
    ///     let event_loop = callsoon::get_running_loop();
    ///     let (transport, _) = event_loop.connect_accepted_socket(|| Idle, here).await?;
    ///     let file = std::fs::File::open("/etc/hostname")?;
    ///     transport.write(b"before ");
    ///     event_loop.sendfile(&transport, &file, 0, None).await?;
    ///     transport.write(b" after");
    ///     transport.close();
    ///     Ok::<(), std::io::Error>(())
    /// }).unwrap()?;
    /// let hostname = std::fs::read_to_string("/etc/hostname")?;
    /// assert_eq!(std::io::read_to_string(&there)?, format!("before {hostname} after"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn sendfile(
        &self,
        transport: &Transport,
        file: &File,
        offset: u64,
        count: Option<u64>,
    ) -> io::Result<u64> {
        self.state.proceed().await;
        let mut transfer = Transfer::new(file, offset, count)?;
        let sending = SendFile::begin(transport)?;
        poll_fn(|context| sending.poll(&mut transfer, context)).await?;
        Ok(transfer.sent)
    }
}

/// A file that is being sent. Its destructor lets the connection go on.
struct SendFile<'a> {
    transport: &'a Transport,
}

impl<'a> SendFile<'a> {
    fn begin(transport: &'a Transport) -> io::Result<Self> {
        let connection = &transport.connection;
        if connection.pipe_direction().is_some() {
            return Err(invalid_input(
                "a file is sent over a socket, not over a pipe",
            ));
        }
        if connection.has_reached(State::Closing) || connection.write_ended.get() {
            return Err(io::ErrorKind::NotConnected.into());
        }
        if connection.sending_file.replace(true) {
            let why = "another file is being sent over this connection";
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, why));
        }
        connection.file.set(Some(Box::default()));
        connection.with_io(|io| io.set_writes(true));
        let sending = Self { transport };
        if connection.marks.borrow_mut().pause() {
            transport.pause_writing();
        }
        Ok(sending)
    }

    fn poll(&self, transfer: &mut Transfer<'_>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Before anything is checked: cloning the waker of another runtime is user code.
        self.wake_later(context);
        let connection = &self.transport.connection;
        let budget = &connection.handle.state.budget;
        loop {
            if connection.has_reached(State::Failing) {
                return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
            }
            if connection.has_unsent() {
                return Poll::Pending;
            }
            ready!(connection.handle.state.poll_begin(context));
            let step = connection.with_layer(|layer| step(layer, transfer));
            match step.unwrap_or_else(|| Err(io::ErrorKind::ConnectionAborted.into())) {
                Ok(0) => return Poll::Ready(Ok(())),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    budget.give_back();
                    return Poll::Pending;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    if OF_CONNECTION.contains(&error.kind()) {
                        self.transport.fail_writing(error.kind().into());
                    }
                    return Poll::Ready(Err(error));
                }
            }
        }
    }

    fn wake_later(&self, context: &Context<'_>) {
        let waker = context.waker().clone();
        let place = &self.transport.connection.file;
        let former = place.take().and_then(|mut file| {
            let former = file.sender.replace(waker);
            place.set(Some(file));
            former
        });
        drop(former);
    }
}

/// Sends a part of the file: past the layer, or through it if it changes bytes.
fn step(layer: &AnyLayer, transfer: &mut Transfer<'_>) -> io::Result<u64> {
    if let Some(layer) = layer.encrypted() {
        return transfer.step_through(|bytes| match layer.send(bytes)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            count => Ok(count),
        });
    }
    let step = |socket: &StreamSocket| transfer.step(socket.as_fd());
    layer.io().attempt(Direction::Write, step)
}

/// What says that the connection is lost, and not that the file cannot be read.
const OF_CONNECTION: &[io::ErrorKind] = &[
    io::ErrorKind::BrokenPipe,
    io::ErrorKind::ConnectionAborted,
    io::ErrorKind::ConnectionReset,
    io::ErrorKind::HostUnreachable,
    io::ErrorKind::NetworkDown,
    io::ErrorKind::NetworkUnreachable,
    io::ErrorKind::NotConnected,
    io::ErrorKind::TimedOut,
];

impl Drop for SendFile<'_> {
    fn drop(&mut self) {
        let connection = &self.transport.connection;
        connection.sending_file.set(false);
        let file = connection.file.take().map(|file| *file);
        let FileInProgress { sender, after } = file.unwrap_or_default();
        drop(sender);
        if connection.has_reached(State::Failing) {
            return;
        }
        connection.outgoing.borrow_mut().append(after);
        connection.with_io(|io| io.set_writes(false));
        if connection.has_unsent() {
            connection.queue_for_writing();
        } else {
            self.after_last_byte();
        }
        self.transport.read_after_queued();
    }
}

impl SendFile<'_> {
    /// Everything is sent: closes if that was asked for meanwhile, and otherwise lets the protocol write again.
    fn after_last_byte(&self) {
        let connection = &self.transport.connection;
        self.transport.after_close(connection.finish_close(), None);
        if connection.has_reached(State::Closing) {
            return;
        }
        if connection.write_ended.get() {
            connection.with_layer(AnyLayer::end_writing);
        }
        // By way of the ready queue, since a file may end in a destructor.
        self.transport.call_soon(|transport| {
            let connection = &transport.connection;
            if !connection.has_reached(State::Failing) && !connection.sending_file.get() {
                let size = connection.unsent();
                transport.resume_writing_if_low(size);
            }
        });
    }
}
