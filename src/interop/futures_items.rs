//! futures-core's `Stream` for what gives one item after the other: ticks, clients, signals, lines, tasks that end. Queues
//! have theirs in `queue/items`.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use futures_core::{FusedStream, Stream};

use crate::bytes::lines::Lines;
use crate::combine::as_completed::AsCompleted;
use crate::kernel::task::handle::Task;
use crate::net::listener::SocketListener;
use crate::net::stream::{SocketStream, StreamKind};
use crate::poll_io::PollBufRead;
use crate::signal::stream::Signal;
use crate::stream::error::ReadError;
use crate::stream::lines::ReaderLines;
use crate::time::interval::Interval;

/// The ticks, without an end.
///
/// ```
/// use futures_util::StreamExt as _;
/// use std::time::Duration;
/// callsoon::run(async {
///     let ticks = callsoon::interval(Duration::from_millis(1));
///     assert_eq!(ticks.take(3).count().await, 3);
/// }).unwrap();
/// ```
impl Stream for Interval {
    type Item = Instant;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Instant>> {
        self.get_mut().poll_tick(context).map(Some)
    }
}

/// The clients, as [`accept`](SocketListener::accept) returns them. There is no end: an error does not end the stream.
///
/// ```
/// use callsoon::net::{TcpListener, TcpStream};
/// use futures_util::StreamExt as _;
/// callsoon::run(async {
///     let mut listener = TcpListener::bind("127.0.0.1:0").await?;
///     let _client = TcpStream::connect(listener.local_addr()?).await?;
///     let (_stream, _address) = listener.next().await.unwrap()?;
///     Ok::<(), std::io::Error>(())
/// }).unwrap()?;
/// # Ok::<(), std::io::Error>(())
/// ```
impl<K: StreamKind> Stream for SocketListener<K> {
    type Item = io::Result<(SocketStream<K>, K::Address)>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_accept(context).map(Some)
    }
}

impl<K: StreamKind> Stream for &SocketListener<K> {
    type Item = io::Result<(SocketStream<K>, K::Address)>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_accept(context).map(Some)
    }
}

/// One item for one or more arrivals since the last. The stream ends when the loop is closed.
///
/// ```
/// use futures_util::StreamExt as _;
/// # callsoon::run(async {
/// let mut usr1 = callsoon::signal(libc::SIGUSR1).unwrap();
/// # callsoon::doctest::kill("USR1");
/// usr1.next().await.unwrap();
/// # }).unwrap();
/// ```
impl Stream for Signal {
    type Item = ();

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<()>> {
        self.get_mut().poll_recv(context).map(Result::ok)
    }
}

/// The lines, each as [`next_line`](Lines::next_line) returns it. The stream ends after the last line and after an error:
/// a line over the limit would be the same error for ever.
///
/// ```
/// use futures_util::StreamExt as _;
/// # callsoon::doctest::with_stream(async |reader, writer, there| {
/// std::io::Write::write_all(&mut &there, b"one\ntwo")?;
/// drop(there);
/// let lines: Vec<_> = callsoon::lines(reader).map(Result::unwrap).collect().await;
/// assert_eq!(lines, [&b"one\n"[..], b"two"]);
/// # Ok(()) });
/// ```
impl<R: PollBufRead + Unpin> Stream for Lines<R> {
    type Item = Result<Vec<u8>, ReadError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.ended {
            return Poll::Ready(None);
        }
        this.poll_next_line(context).map(Result::transpose)
    }
}

impl<R: PollBufRead + Unpin> FusedStream for Lines<R> {
    fn is_terminated(&self) -> bool {
        self.ended
    }
}

/// The lines, each as [`next_line`](ReaderLines::next_line) returns it. The stream ends after the last line and after an
/// error.
///
/// ```
/// use futures_util::StreamExt as _;
/// # callsoon::doctest::with_stream(async |mut reader, writer, there| {
/// std::io::Write::write_all(&mut &there, b"one\ntwo")?;
/// drop(there);
/// let lines: Vec<_> = reader.lines().map(Result::unwrap).collect().await;
/// assert_eq!(lines, [&b"one\n"[..], b"two"]);
/// # Ok(()) });
/// ```
impl Stream for ReaderLines<'_> {
    type Item = Result<Vec<u8>, ReadError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.ended {
            return Poll::Ready(None);
        }
        this.poll_next_line(context).map(Result::transpose)
    }
}

impl FusedStream for ReaderLines<'_> {
    fn is_terminated(&self) -> bool {
        self.ended
    }
}

/// The tasks in the order of their ends.
///
/// ```
/// use futures_util::StreamExt as _;
/// callsoon::run(async {
///     let tasks = (0..3).map(|n| callsoon::create_task(async move { n }));
///     let ended = callsoon::as_completed(tasks).then(|task| task);
///     assert_eq!(ended.map(Result::unwrap).collect::<Vec<_>>().await, [0, 1, 2]);
/// }).unwrap();
/// ```
impl<T: 'static> Stream for AsCompleted<T> {
    type Item = Task<T>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Task<T>>> {
        self.get_mut().poll_next(context)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.len(), Some(self.len()))
    }
}

impl<T: 'static> FusedStream for AsCompleted<T> {
    fn is_terminated(&self) -> bool {
        self.is_empty()
    }
}
