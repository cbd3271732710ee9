//! Both ways between two byte streams, until both have ended: what a forwarder or a proxy does.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use crate::bytes::copy::Transfer;
use crate::poll_io::{PollRead, PollWrite};

/// Copies bytes from `a` to `b` and from `b` to `a`, until both have ended, and returns how many bytes went each way.
///
/// When one of them ends, the writing side of the other one is shut down, and the opposite direction goes on: a client that
/// has said all that it has to say still gets its answer. An error of either direction ends both. The streams are given by
/// value, and then closed at the end, or by `&mut`. Each direction holds at most 32 KiB.
///
/// # Errors
/// The first error of the four sides. [`CopyingBidirectional::copied`] tells then, too, how far both directions came.
///
/// # Cancellation
/// Dropped before it is done it has read at most 32 KiB from each side that are not written. To lose nothing, await it by
/// `&mut`: [`CopyingBidirectional::copied`] counts what was written, and [`CopyingBidirectional::unwritten`] returns the
/// rest.
///
/// ```
/// # callsoon::doctest::with_tcp(async |client, inside| {
/// use callsoon::net::{TcpListener, TcpStream};
/// let listener = TcpListener::bind("127.0.0.1:0").await?;
/// let outside = TcpStream::connect(listener.local_addr()?).await?;
/// let (server, _) = listener.accept().await?;
/// let forwarding = callsoon::create_task(callsoon::copy_bidirectional(inside, outside));
///
/// client.write_all(b"question").await?;
/// client.shutdown(std::net::Shutdown::Write)?;
/// let mut question = [0; 8];
/// server.read_exact(&mut question).await?;
/// assert_eq!(server.read(&mut [0]).await?, 0);
/// server.write_all(b"answer").await?;
/// drop(server);
/// assert_eq!(forwarding.await??, (8, 6));
/// # Ok(()) });
/// ```
pub fn copy_bidirectional<A, B>(a: A, b: B) -> CopyingBidirectional<A, B>
where
    A: PollRead + PollWrite,
    B: PollRead + PollWrite,
{
    CopyingBidirectional {
        a,
        b,
        to_b: OneWay::default(),
        to_a: OneWay::default(),
    }
}

/// The future of [`copy_bidirectional`].
///
/// ```
/// # callsoon::doctest::with_tcp(async |client, server| {
/// use std::time::Duration;
/// let mut forwarding = callsoon::copy_bidirectional(client, server);
/// if callsoon::timeout(Duration::from_millis(1), &mut forwarding).await.is_err() {
///     assert_eq!(forwarding.copied(), (0, 0));
/// }
/// # Ok(()) });
/// ```
#[must_use = "futures do nothing unless they are awaited"]
pub struct CopyingBidirectional<A, B> {
    a: A,
    b: B,
    to_b: OneWay,
    to_a: OneWay,
}

// Neither is ever pinned.
impl<A, B> Unpin for CopyingBidirectional<A, B> {}

impl<A, B> CopyingBidirectional<A, B> {
    /// Returns how many bytes of `a` were written to `b`, and how many of `b` to `a`.
    ///
    /// ```
    /// # callsoon::doctest::with_tcp(async |client, server| {
    /// assert_eq!(callsoon::copy_bidirectional(client, server).copied(), (0, 0));
    /// # Ok(()) });
    /// ```
    pub fn copied(&self) -> (u64, u64) {
        (self.to_b.transfer.copied(), self.to_a.transfer.copied())
    }

    /// Returns the bytes of `a` that were read and not written to `b`, and those of `b` that were not written to `a`.
    ///
    /// ```
    /// # callsoon::doctest::with_tcp(async |client, server| {
    /// assert_eq!(callsoon::copy_bidirectional(client, server).unwritten(), (&[][..], &[][..]));
    /// # Ok(()) });
    /// ```
    pub fn unwritten(&self) -> (&[u8], &[u8]) {
        (
            self.to_b.transfer.unwritten(),
            self.to_a.transfer.unwritten(),
        )
    }
}

impl<A, B> Future for CopyingBidirectional<A, B>
where
    A: PollRead + PollWrite,
    B: PollRead + PollWrite,
{
    type Output = io::Result<(u64, u64)>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let to_b = this.to_b.poll(context, &mut this.a, &mut this.b)?;
        let to_a = this.to_a.poll(context, &mut this.b, &mut this.a)?;
        ready!(to_b);
        ready!(to_a);
        Poll::Ready(Ok(this.copied()))
    }
}

impl<A, B> fmt::Debug for CopyingBidirectional<A, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CopyingBidirectional")
            .field("copied", &self.copied())
            .finish_non_exhaustive()
    }
}

/// One of the two directions, whose end is passed on.
#[derive(Default)]
struct OneWay {
    transfer: Transfer,
    /// The end was passed on.
    shut_down: bool,
}

impl OneWay {
    fn poll(
        &mut self,
        context: &mut Context<'_>,
        from: &mut impl PollRead,
        to: &mut impl PollWrite,
    ) -> Poll<io::Result<()>> {
        if self.shut_down {
            return Poll::Ready(Ok(()));
        }
        ready!(self.transfer.poll(context, from, to))?;
        ready!(to.poll_shutdown(context))?;
        self.shut_down = true;
        Poll::Ready(Ok(()))
    }
}
