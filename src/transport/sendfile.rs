//! `sendfile` over a transport.
//!
//! A file has its turn on the connection: it begins when everything that was written before has been sent, and what is
//! written meanwhile waits behind it, where asyncio refuses such a write. The protocol is paused for that time, so that
//! whoever heeds flow control writes nothing; nor is anything read. However the turn ends, also by being dropped, the
//! connection then goes on as if the file had been written, up to where it came.

use std::fs::File;
use std::future::poll_fn;
use std::io;
use std::os::fd::AsFd;
use std::task::{Context, Poll, ready};

use crate::kernel::io::readiness::Direction;
use crate::kernel::loop_handle::LoopHandle;
use crate::net::sendfile::{Transfer, invalid};
use crate::transport::file_turn::FileTurn;
use crate::transport::protocol::{Protocol, Transport};
use crate::transport::socket::StreamSocket;

impl LoopHandle {
    /// Sends `count` bytes of a file from `offset` on, or all up to its end, over a connection, and gives how many were
    /// sent. The file's position is then after the last of them, also when this fails or is dropped.
    ///
    /// What was written before goes first, what is written meanwhile goes behind. The protocol is asked to pause writing
    /// until the file is sent, and nothing is read meanwhile. A close waits for the file, an abort does not. The system
    /// copies by itself where it can; reading from a disk holds up the loop for as long as it takes, a megabyte at a time.
    ///
    /// # Errors
    /// What the system says of connection or file; after the former the connection is lost, after the latter it goes on.
    /// `InvalidInput` for a count of 0, one beyond the largest file, and a pipe; `NotConnected` on a connection that is
    /// closing or has ended its writing side; `ResourceBusy` while another file is sent; `ConnectionAborted` where the
    /// connection is lost meanwhile.
    ///
    /// # Cancellation
    /// Dropped before it is done it has sent what the file's position says, and the connection can be used on.
    ///
    /// ```
    /// # use callsoon::transport::Protocol;
    /// # struct Idle;
    /// # impl Protocol for Idle {}
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
        let turn = Turn::begin(transport)?;
        poll_fn(|context| turn.poll(&mut transfer, context)).await?;
        Ok(transfer.sent)
    }
}

/// A file's turn on a connection. Its end is the destructor.
struct Turn<'a> {
    transport: &'a Transport,
}

impl<'a> Turn<'a> {
    fn begin(transport: &'a Transport) -> io::Result<Self> {
        let connection = &transport.connection;
        if connection.pipe_direction().is_some() {
            return Err(invalid("a file is sent over a socket, not over a pipe"));
        }
        if connection.closing.get() || connection.finishing.get() {
            return Err(io::ErrorKind::NotConnected.into());
        }
        if connection.sending_file.replace(true) {
            return Err(io::Error::new(
                io::ErrorKind::ResourceBusy,
                "another file is being sent over this connection",
            ));
        }
        connection
            .file_turn
            .set(Some(Box::new(FileTurn::default())));
        connection.with_io(|io| io.set_writes(true));
        let turn = Self { transport };
        transport.pause_for_file();
        Ok(turn)
    }

    fn poll(&self, transfer: &mut Transfer<'_>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Before anything is looked at: cloning a foreign waker is foreign code.
        self.wake_later(context);
        let connection = &self.transport.connection;
        let budget = &connection.handle.state.budget;
        loop {
            if connection.lost.get() {
                return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
            }
            if !connection.outgoing.borrow().is_empty() {
                return Poll::Pending;
            }
            ready!(connection.handle.state.poll_begin(context));
            let step = |socket: &StreamSocket| transfer.step(socket.as_fd());
            let step = connection.with_io(|io| io.attempt(Direction::Write, step));
            match step.unwrap_or_else(|| Err(io::ErrorKind::ConnectionAborted.into())) {
                Ok(0) => return Poll::Ready(Ok(())),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    budget.give_back();
                    return Poll::Pending;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    if is_of_connection(&error) {
                        self.transport.fail_writing(error.kind().into());
                    }
                    return Poll::Ready(Err(error));
                }
            }
        }
    }

    fn wake_later(&self, context: &Context<'_>) {
        let waker = context.waker().clone();
        let former = self
            .transport
            .connection
            .file_turn
            .take()
            .and_then(|mut turn| {
                let former = turn.sender.replace(waker);
                self.transport.connection.file_turn.set(Some(turn));
                former
            });
        drop(former);
    }
}

/// Whether an error says that the connection is lost, and not that the file cannot be read.
fn is_of_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{
        BrokenPipe, ConnectionAborted, ConnectionReset, HostUnreachable, NetworkDown,
        NetworkUnreachable, NotConnected, TimedOut,
    };
    matches!(
        error.kind(),
        BrokenPipe
            | ConnectionAborted
            | ConnectionReset
            | HostUnreachable
            | NetworkDown
            | NetworkUnreachable
            | NotConnected
            | TimedOut
    )
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let connection = &self.transport.connection;
        connection.sending_file.set(false);
        let turn = connection.file_turn.take().map(|turn| *turn);
        let FileTurn { sender, behind } = turn.unwrap_or_default();
        drop(sender);
        if connection.lost.get() {
            return;
        }
        connection.outgoing.borrow_mut().append(behind);
        connection.with_io(|io| io.set_writes(false));
        if !connection.outgoing.borrow().is_empty() {
            connection.look_again_for_writing();
        } else if connection.closing.get() {
            self.transport.lose_soon(None);
        } else {
            if connection.finishing.get() {
                connection.end_writing();
            }
            self.transport.resume_after_file();
        }
        self.transport.read_after_queued();
    }
}

impl Transport {
    fn pause_for_file(&self) {
        if self.connection.marks.borrow_mut().pause() {
            // Its panic is reported, and costs it this call only.
            let _ = self.enter("pause_writing", |protocol| protocol.pause_writing(self));
        }
    }

    /// By way of the loop's line, since the turn may end in a destructor.
    fn resume_after_file(&self) {
        let connection = &self.connection;
        if connection.handle.is_closed() {
            return;
        }
        let transport = self.clone();
        let resume = move || {
            let connection = &transport.connection;
            if connection.lost.get() || connection.sending_file.get() {
                return;
            }
            let size = connection.outgoing.borrow().len();
            if connection.marks.borrow_mut().may_resume(size) {
                let resume = |protocol: &dyn Protocol| {
                    protocol.resume_writing(&transport);
                };
                let _ = transport.enter("resume_writing", resume);
            }
        };
        connection.handle.queue_call(resume, connection.location);
    }
}
