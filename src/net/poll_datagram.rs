//! Datagrams by poll functions.
//!
//! All poll functions of one direction of a socket share one waker, the last, as those of streams do.

use std::future::Future as _;
use std::io;
use std::os::fd::AsFd as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use crate::kernel::io::readiness::Direction;
use crate::net::datagram::{DatagramKind, DatagramSocket, unless_blocked};
use crate::socket::address::NetAddress as _;
use crate::socket::backoff::Backoff;
use crate::socket::nonblocking::{Watchable, receive, send};
use crate::socket::send_error::SendError;
use crate::time::sleep::Sleep;

impl<K: DatagramKind> DatagramSocket<K> {
    /// Polls whether receiving is worth trying. The answer may be wrong: try, and poll again on `WouldBlock`.
    ///
    /// Of all poll functions for one direction of a socket, only the last that was pending has its task woken.
    ///
    /// # Errors
    /// `NotConnected` if the loop is closed.
    ///
    /// ```
    /// # use std::future::poll_fn;
    /// # callsoon::doctest::run(async {
    /// let (near, far) = callsoon::net::UnixDatagram::pair()?;
    /// far.try_send(b"x")?;
    /// poll_fn(|context| near.poll_read_ready(context)).await?;
    /// assert_eq!(near.try_recv(&mut [0; 8])?, 1);
    /// # Ok(()) });
    /// ```
    pub fn poll_read_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_ready(Direction::Read, context)
    }

    /// Polls whether sending is worth trying. The answer may be wrong: try, and poll again on `WouldBlock`.
    ///
    /// Of all poll functions for one direction of a socket, only the last that was pending has its task woken.
    ///
    /// # Errors
    /// `NotConnected` if the loop is closed.
    ///
    /// ```
    /// # use std::future::poll_fn;
    /// # callsoon::doctest::run(async {
    /// let (near, _far) = callsoon::net::UnixDatagram::pair()?;
    /// poll_fn(|context| near.poll_write_ready(context)).await?;
    /// # Ok(()) });
    /// ```
    pub fn poll_write_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_ready(Direction::Write, context)
    }

    /// Receives a message as [`recv`](Self::recv) does.
    ///
    /// # Errors
    /// Those of [`recv`](Self::recv).
    ///
    /// ```
    /// # use std::future::poll_fn;
    /// # callsoon::doctest::run(async {
    /// let (near, far) = callsoon::net::UnixDatagram::pair()?;
    /// near.send(b"one").await?;
    /// let mut buffer = [0; 16];
    /// assert_eq!(poll_fn(|context| far.poll_recv(context, &mut buffer)).await?, 3);
    /// # Ok(()) });
    /// ```
    pub fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let recv = |socket: &Watchable<K::Std>| receive(socket, buffer);
        self.io
            .poll_operate(Direction::Read, context, recv, |_| false)
    }

    /// Receives a message and its sender as [`recv_from`](Self::recv_from) does.
    ///
    /// # Errors
    /// Those of [`recv`](Self::recv).
    ///
    /// ```
    /// # use std::future::poll_fn;
    /// # callsoon::doctest::run(async {
    /// let socket = callsoon::net::UdpSocket::bind("127.0.0.1:0").await?;
    /// let address = socket.local_addr()?;
    /// socket.send_to(b"to myself", address).await?;
    /// let mut buffer = [0; 16];
    /// let received = poll_fn(|context| socket.poll_recv_from(context, &mut buffer)).await?;
    /// assert_eq!(received, (9, address));
    /// # Ok(()) });
    /// ```
    pub fn poll_recv_from(
        &self,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<(usize, K::Address)>> {
        let recv = |socket: &Watchable<K::Std>| K::recv_from(&socket.0, buffer, 0);
        self.io
            .poll_operate(Direction::Read, context, recv, |_| false)
    }

    /// Sends a message as [`send`](Self::send) does.
    ///
    /// # Errors
    /// Those of [`send`](Self::send).
    ///
    /// ```
    /// # use std::future::poll_fn;
    /// # callsoon::doctest::run(async {
    /// let (near, far) = callsoon::net::UnixDatagram::pair()?;
    /// assert_eq!(poll_fn(|context| near.poll_send(context, b"one")).await?, 3);
    /// # Ok(()) });
    /// ```
    pub fn poll_send(&self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let send = |socket: &Watchable<K::Std>| send(socket, bytes);
        self.io
            .poll_operate(Direction::Write, context, send, |_| false)
    }

    /// Sends a message to an address.
    ///
    /// While the queue of a Unix receiver is full, this tries again after 1, 2, 4 … 64 ms, as `send_to` does. A socket has
    /// one such pause: a poll for another receiver waits for its end too.
    ///
    /// # Errors
    /// Those of `send_to`.
    ///
    /// ```
    /// # use std::future::poll_fn;
    /// # callsoon::doctest::run(async {
    /// let socket = callsoon::net::UdpSocket::bind("127.0.0.1:0").await?;
    /// let address = socket.local_addr()?;
    /// let sent = poll_fn(|context| socket.poll_send_to(context, b"to myself", &address));
    /// assert_eq!(sent.await?, 9);
    /// # Ok(()) });
    /// ```
    pub fn poll_send_to(
        &self,
        context: &mut Context<'_>,
        bytes: &[u8],
        address: &K::Address,
    ) -> Poll<io::Result<usize>> {
        let send = |socket: &Watchable<K::Std>| address.send(socket.as_fd(), bytes);
        if K::ROOM_IS_TOLD {
            let sent = self
                .io
                .poll_operate(Direction::Write, context, send, |_| false);
            return sent.map_err(SendError::to(address));
        }
        let mut backoff = match self.pause.take() {
            Some((sleep, backoff)) => {
                ready!(self.poll_pause(sleep, backoff, context));
                backoff
            }
            None => Backoff::new(),
        };
        loop {
            let send = |socket: &Watchable<K::Std>| unless_blocked(send(socket));
            let sent = self
                .io
                .poll_operate(Direction::Write, context, send, |_| false);
            if let Some(count) = ready!(sent).map_err(SendError::to(address))? {
                return Poll::Ready(Ok(count));
            }
            let sleep = Sleep::after(&self.io.handle(), backoff.pause());
            ready!(self.poll_pause(sleep, backoff, context));
        }
    }

    /// Polls a pause, and keeps it while it lasts. On a closed loop it would never end, and the next try fails.
    fn poll_pause(
        &self,
        mut sleep: Sleep,
        backoff: Backoff,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        if self.io.handle().is_closed() {
            return Poll::Ready(());
        }
        let polled = Pin::new(&mut sleep).poll(context);
        if polled.is_pending() {
            let former = self.pause.replace(Some((sleep, backoff)));
            drop(former);
        }
        polled
    }
}
