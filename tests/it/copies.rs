//! `copy`, `copy_bidirectional` and `lines` over any byte stream: what is counted arrives, ends are passed on.

use std::cell::Cell;
use std::collections::VecDeque;
use std::future::Future;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::Shutdown;
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use callsoon::net::TcpStream;
use callsoon::stream::{ReadError, open_connection};
use callsoon::{
    PollBufRead, PollRead, PollWrite, copy, copy_bidirectional, create_task, lines, timeout,
    yield_now,
};

use crate::support::{
    Trace, complete, fill, on_virtual_time, poll_once, reset, settling, std_pair, stream_and_peer,
    stream_pair,
};

/// Reads what it was given, piece by piece; `None` is a pause of one poll, then the end.
#[derive(Default)]
struct Source {
    pieces: VecDeque<Option<&'static [u8]>>,
    /// What it fails with at its end.
    error: Option<ErrorKind>,
}

fn source(pieces: &[Option<&'static [u8]>]) -> Source {
    Source {
        pieces: pieces.iter().copied().collect(),
        error: None,
    }
}

impl PollRead for Source {
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let piece = match self.poll_fill_buf(context) {
            Poll::Ready(Ok(piece)) => piece,
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => return Poll::Pending,
        };
        let count = piece.len().min(buffer.len());
        buffer[..count].copy_from_slice(&piece[..count]);
        self.consume(count);
        Poll::Ready(Ok(count))
    }
}

impl PollBufRead for Source {
    fn poll_fill_buf(&mut self, context: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        match self.pieces.front() {
            Some(Some(piece)) => Poll::Ready(Ok(piece)),
            Some(None) => {
                self.pieces.pop_front();
                context.waker().wake_by_ref();
                Poll::Pending
            }
            None => Poll::Ready(self.error.take().map_or(Ok(&[]), |kind| Err(kind.into()))),
        }
    }

    fn consume(&mut self, count: usize) {
        let Some(Some(piece)) = self.pieces.front_mut() else {
            assert_eq!(count, 0);
            return;
        };
        *piece = &piece[count..];
        if piece.is_empty() {
            self.pieces.pop_front();
        }
    }
}

/// Notes its calls, and takes at most so many bytes at a time.
struct Sink {
    trace: Trace,
    most: usize,
}

impl PollWrite for Sink {
    fn poll_write(&mut self, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let taken = &bytes[..bytes.len().min(self.most)];
        self.trace.push(format!("write {}", taken.escape_ascii()));
        Poll::Ready(Ok(taken.len()))
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.trace.push("flush");
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.trace.push("shutdown");
        Poll::Ready(Ok(()))
    }
}

#[test]
fn a_copy_writes_all_that_is_read_flushes_before_it_waits_and_leaves_the_writer_open() {
    on_virtual_time(|trace, event_loop| {
        let reader = source(&[Some(b"one, "), Some(b"two"), None, Some(b"three")]);
        let sink = Sink {
            trace: trace.clone(),
            most: 4,
        };
        let copied = complete(&event_loop, copy(reader, sink)).unwrap();
        assert_eq!(copied, 13);
        trace.expect([
            "write one,",
            "write  ",
            "write two",
            "flush",
            "write thre",
            "write e",
            "flush",
        ]);
    });
}

#[test]
fn a_copy_that_fails_or_is_given_up_tells_what_was_written_and_what_was_not() {
    on_virtual_time(|trace, event_loop| {
        complete(&event_loop, async {
            let mut reader = source(&[Some(b"all of it")]);
            reader.error = Some(ErrorKind::ConnectionReset);
            let sink = Sink {
                trace: trace.clone(),
                most: 100,
            };
            let mut copying = copy(&mut reader, sink);
            let error = (&mut copying).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            assert_eq!((copying.copied(), copying.unwritten()), (9, &b""[..]));
            trace.expect(["write all of it"]);

            // It takes nothing although it was given something.
            let broken = Sink {
                trace: trace.clone(),
                most: 0,
            };
            let mut copying = copy(source(&[Some(b"rest")]), broken);
            let error = (&mut copying).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::WriteZero);
            assert_eq!((copying.copied(), copying.unwritten()), (0, &b"rest"[..]));
            trace.expect(["write "]);
        });
    });
}

#[test]
fn a_copy_to_a_full_socket_that_is_cancelled_loses_nothing_that_it_counted() {
    settling(|_, _| async {
        let (stream, mut peer) = stream_and_peer();
        let filled = fill(&stream);
        let mut reader = source(&[Some(b"does not fit")]);
        let mut copying = copy(&mut reader, &stream);
        let late = timeout(Duration::from_millis(1), &mut copying).await;
        assert!(late.is_err());
        assert_eq!(copying.copied(), 0);
        assert_eq!(copying.unwritten(), b"does not fit");
        let reading = std::thread::spawn(move || {
            let mut bytes = vec![0; filled + 12];
            peer.read_exact(&mut bytes).unwrap();
            bytes.split_off(filled)
        });
        // Awaited again it goes on where it was.
        assert_eq!(copying.await.unwrap(), 12);
        assert_eq!(reading.join().unwrap(), b"does not fit");
    });
}

#[test]
fn streams_that_are_always_ready_let_other_tasks_run() {
    struct Zeros;
    impl PollRead for Zeros {
        fn poll_read(&mut self, _: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(buffer.len()))
        }
    }
    struct Nowhere;
    impl PollWrite for Nowhere {
        fn poll_write(&mut self, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(bytes.len()))
        }
        fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
        fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }
    on_virtual_time(|_, event_loop| {
        complete(&event_loop, async {
            let endless = create_task(async { copy(Zeros, Nowhere).await });
            for _ in 0..10 {
                yield_now().await;
            }
            endless.cancel();
            assert!(endless.await.is_err());
        });
    });
}

/// A forwarder between the two inner ends of two connections; the outer ends are blocking sockets.
fn forwarded() -> (
    callsoon::Task<io::Result<(u64, u64)>>,
    std::net::TcpStream,
    std::net::TcpStream,
) {
    let ((inner_a, outer_a), (inner_b, outer_b)) = (std_pair(), std_pair());
    let inner_a = TcpStream::from_std(inner_a).unwrap();
    let inner_b = TcpStream::from_std(inner_b).unwrap();
    let forwarding = create_task(copy_bidirectional(inner_a, inner_b));
    (forwarding, outer_a, outer_b)
}

#[test]
fn the_end_of_one_direction_is_passed_on_and_the_other_one_goes_on() {
    settling(|_, _| async {
        let (forwarding, mut a, mut b) = forwarded();
        let peers = std::thread::spawn(move || {
            let mut text = String::new();
            a.write_all(b"a question").unwrap();
            a.shutdown(Shutdown::Write).unwrap();
            b.read_to_string(&mut text).unwrap();
            assert_eq!(text, "a question");
            // The end has come, and an answer still goes back.
            b.write_all(b"a long answer").unwrap();
            drop(b);
            text.clear();
            a.read_to_string(&mut text).unwrap();
            assert_eq!(text, "a long answer");
        });
        assert_eq!(forwarding.await.unwrap().unwrap(), (10, 13));
        peers.join().unwrap();
    });
}

#[test]
fn megabytes_go_both_ways_at_once_and_arrive_whole() {
    settling(|_, _| async {
        const SIZE: usize = 3_000_000;
        let (forwarding, a, b) = forwarded();
        let sent = |seed: usize| (0..SIZE).map(move |n| (n * 7 + seed) as u8);
        let threads = [(a, 1, 2), (b, 2, 1)].map(|(socket, own, others)| {
            std::thread::spawn(move || {
                let mut writing = socket.try_clone().unwrap();
                let writer = std::thread::spawn(move || {
                    writing.write_all(&sent(own).collect::<Vec<_>>()).unwrap();
                    writing.shutdown(Shutdown::Write).unwrap();
                });
                let mut received = Vec::new();
                (&socket).read_to_end(&mut received).unwrap();
                assert!(received.iter().copied().eq(sent(others)));
                writer.join().unwrap();
            })
        });
        let counts = forwarding.await.unwrap().unwrap();
        assert_eq!(counts, (SIZE as u64, SIZE as u64));
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

#[test]
fn an_error_of_one_direction_ends_both() {
    settling(|_, _| async {
        let (forwarding, a, mut b) = forwarded();
        reset(a);
        let error = forwarding.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        // The other connection was closed with the future.
        assert_eq!(b.read(&mut [0]).unwrap(), 0);
    });
}

#[test]
fn streams_that_are_lent_are_the_callers_again_when_a_forwarder_is_given_up() {
    settling(|_, _| async {
        let ((inner_a, a), (inner_b, b)) = (stream_pair(), stream_pair());
        a.write_all(b"one").await.unwrap();
        let mut forwarding = copy_bidirectional(&inner_a, &inner_b);
        let mut text = [0; 3];
        let read = async {
            b.read_exact(&mut text).await.unwrap();
            Ok((0, 0))
        };
        assert_eq!(
            callsoon::race!(&mut forwarding, read).await.unwrap(),
            (0, 0)
        );
        assert_eq!(forwarding.copied(), (3, 0));
        assert_eq!(forwarding.unwritten(), (&b""[..], &b""[..]));
        drop(forwarding);
        a.write_all(b"two").await.unwrap();
        inner_a.read_exact(&mut text).await.unwrap();
        assert_eq!(&text, b"two");
        inner_b.write_all(b"end").await.unwrap();
        b.read_exact(&mut text).await.unwrap();
        assert_eq!(&text, b"end");
    });
}

#[test]
fn a_stream_and_a_socket_are_copied_between_like_two_sockets() {
    settling(|_, _| async {
        let ((near, mut far), (out, mut end)) = (std_pair(), std_pair());
        let (mut reader, _writer) = open_connection(near).await.unwrap();
        let (_, mut writer) = open_connection(out).await.unwrap();
        far.write_all(b"head\nbody").unwrap();
        far.shutdown(Shutdown::Write).unwrap();
        assert_eq!(reader.readline().await.unwrap(), b"head\n");
        assert_eq!(copy(&mut reader, &mut writer).await.unwrap(), 4);
        writer.write_eof();
        let mut text = String::new();
        end.read_to_string(&mut text).unwrap();
        assert_eq!(text, "body");
    });
}

#[test]
fn lines_end_where_they_end_however_the_pieces_fall() {
    on_virtual_time(|trace, event_loop| {
        complete(&event_loop, async {
            let pieces = [
                Some(&b"on"[..]),
                None,
                Some(b"e\ntwo\n\nth"),
                Some(b"ree\n"),
                None,
                Some(b"last"),
            ];
            let mut lines = lines(source(&pieces));
            while let Some(line) = lines.next_line().await.unwrap() {
                trace.push(line.escape_ascii());
            }
            assert_eq!(lines.next_line().await.unwrap(), None);
        });
        trace.expect(["one\\n", "two\\n", "\\n", "three\\n", "last"]);
    });
}

#[test]
fn a_wait_for_a_line_that_is_given_up_keeps_its_beginning() {
    on_virtual_time(|_, event_loop| {
        complete(&event_loop, async {
            let mut lines = lines(source(&[Some(b"be"), None, Some(b"gun\nrest")]));
            assert!(poll_once(&mut Box::pin(lines.next_line())).await.is_none());
            assert_eq!(lines.next_line().await.unwrap().unwrap(), b"begun\n");
            let (reader, begun) = lines.into_parts();
            assert!(begun.is_empty());
            assert_eq!(reader.pieces, [Some(&b"rest"[..])]);
        });
    });
}

#[test]
fn a_line_beyond_the_limit_is_an_error_that_takes_no_more_and_an_error_comes_after_the_bytes() {
    on_virtual_time(|_, event_loop| {
        complete(&event_loop, async {
            let limit = NonZeroUsize::new(4).unwrap();
            let long = source(&[Some(b"four\nfi"), Some(b"ve5\nnext\n")]);
            let mut cut = lines(long).limit(limit);
            assert_eq!(cut.next_line().await.unwrap().unwrap(), b"four\n");
            for _ in 0..2 {
                let error = cut.next_line().await.unwrap_err();
                assert_eq!(error.limit_overrun().unwrap().consumed, 5);
            }
            let (reader, begun) = cut.into_parts();
            assert_eq!(begun, b"five5");
            assert_eq!(reader.pieces, [Some(&b"\nnext\n"[..])]);

            let mut failing = source(&[Some(b"half a li")]);
            failing.error = Some(ErrorKind::TimedOut);
            let mut failing = lines(failing);
            assert_eq!(failing.next_line().await.unwrap().unwrap(), b"half a li");
            let Err(ReadError::Io(error)) = failing.next_line().await else {
                panic!("the error was lost")
            };
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            assert_eq!(failing.next_line().await.unwrap(), None);
        });
    });
}

#[test]
fn a_reader_that_never_ends_a_line_lets_other_tasks_run() {
    struct Endless(Rc<Cell<u32>>);
    impl PollRead for Endless {
        fn poll_read(&mut self, _: &mut Context<'_>, _: &mut [u8]) -> Poll<io::Result<usize>> {
            unreachable!("lines use poll_fill_buf")
        }
    }
    impl PollBufRead for Endless {
        fn poll_fill_buf(&mut self, _: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
            Poll::Ready(Ok(b"\n"))
        }
        fn consume(&mut self, count: usize) {
            assert_eq!(count, 1);
            self.0.set(self.0.get() + 1);
        }
    }
    on_virtual_time(|_, event_loop| {
        complete(&event_loop, async {
            let taken = Rc::new(Cell::new(0));
            let mut endless = lines(Endless(Rc::clone(&taken)));
            let task =
                create_task(async move { while let Ok(Some(_)) = endless.next_line().await {} });
            yield_now().await;
            yield_now().await;
            task.cancel();
            assert!(task.await.is_err());
            let taken = taken.get();
            assert!((128..=384).contains(&taken), "{taken} lines");
        });
    });
}

#[test]
fn a_line_without_any_limit_ends_where_it_ends() {
    on_virtual_time(|_, event_loop| {
        complete(&event_loop, async {
            let reader = source(&[Some(b"on"), Some(b"e\ntwo")]);
            let mut lines = lines(reader).limit(NonZeroUsize::MAX);
            assert_eq!(lines.next_line().await.unwrap().unwrap(), b"one\n");
            assert_eq!(lines.next_line().await.unwrap().unwrap(), b"two");
            assert_eq!(lines.next_line().await.unwrap(), None);
        });
    });
}

/// Counts its calls, and always goes on by one byte.
struct OneByOne(Rc<Cell<u32>>);

impl OneByOne {
    fn take(&self) -> usize {
        self.0.set(self.0.get() + 1);
        1
    }
}

impl PollRead for OneByOne {
    fn poll_read(&mut self, _: &mut Context<'_>, _: &mut [u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(self.take()))
    }
}

impl PollBufRead for OneByOne {
    fn poll_fill_buf(&mut self, _: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        Poll::Ready(Ok(b"x"))
    }
    fn consume(&mut self, count: usize) {
        assert_eq!(count, self.take());
    }
}

impl PollWrite for OneByOne {
    fn poll_write(&mut self, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(self.take()))
    }
    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Returns how many bytes go through in one poll of what is made for a stream.
async fn in_one_poll<F: Future + 'static>(make: impl FnOnce(OneByOne) -> F) -> u32 {
    let taken = Rc::new(Cell::new(0));
    let task = create_task(make(OneByOne(Rc::clone(&taken))));
    yield_now().await;
    let in_one_poll = taken.get();
    task.cancel();
    assert!(task.await.is_err());
    in_one_poll
}

#[test]
fn streams_that_go_on_byte_by_byte_let_other_tasks_run() {
    struct Full;
    impl PollRead for Full {
        fn poll_read(&mut self, _: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(buffer.len()))
        }
    }
    on_virtual_time(|_, event_loop| {
        complete(&event_loop, async {
            let polled = in_one_poll(|stream| async { copy(Full, stream).await }).await;
            assert!((1..=128).contains(&polled), "{polled} writes");
            let polled = in_one_poll(|stream| async {
                lines(stream).limit(NonZeroUsize::MAX).next_line().await
            });
            let polled = polled.await;
            assert!((1..=128).contains(&polled), "{polled} pieces");
        });
    });
}

/// Says that it has moved more bytes than it was given, or room for.
struct Liar;

impl PollRead for Liar {
    fn poll_read(&mut self, _: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buffer.len() + 1))
    }
}

impl PollWrite for Liar {
    fn poll_write(&mut self, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len() + 1))
    }
    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[test]
fn a_stream_that_says_it_has_moved_more_than_it_could_is_an_error() {
    on_virtual_time(|trace, event_loop| {
        complete(&event_loop, async {
            let sink = Sink {
                trace: trace.clone(),
                most: 100,
            };
            let mut copying = copy(Liar, sink);
            let error = (&mut copying).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidData);
            assert_eq!((copying.copied(), copying.unwritten()), (0, &b""[..]));

            let mut copying = copy(source(&[Some(b"rest")]), Liar);
            let error = (&mut copying).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidData);
            assert_eq!((copying.copied(), copying.unwritten()), (0, &b"rest"[..]));
        });
    });
}

#[cfg(feature = "tokio-io")]
#[test]
fn a_reader_that_says_it_has_read_more_than_it_could_is_an_error_of_tokios_read() {
    use tokio::io::{AsyncRead as _, ReadBuf};
    let mut joined = callsoon::stream::join(Liar, Liar);
    let mut memory = [0; 8];
    let mut buffer = ReadBuf::new(&mut memory);
    let mut context = Context::from_waker(std::task::Waker::noop());
    match std::pin::Pin::new(&mut joined).poll_read(&mut context, &mut buffer) {
        Poll::Ready(Err(error)) => assert_eq!(error.kind(), ErrorKind::InvalidData),
        other => panic!("{other:?}"),
    }
    assert!(buffer.filled().is_empty());
}
