//! Streams whose connection fails: the bytes first, then the error once, then the end.

use std::io::{ErrorKind, Write as _};
use std::net::TcpStream as StdStream;
use std::os::unix::net::UnixStream as StdUnix;
use std::time::Duration;

use callsoon::stream::{ReadError, StreamReader, StreamWriter, open_connection};
use callsoon::{create_task, get_running_loop, timeout, yield_now};

use crate::support::{Trace, complete, on_real_time, reset, std_pair, until};

fn run<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    on_real_time(|trace: Trace, event_loop| {
        complete(&event_loop, async {
            test().await;
            let event_loop = get_running_loop();
            until(|| event_loop.metrics().sources == 0).await;
        });
        assert_eq!(trace.take(), [""; 0], "unexpected");
    });
}

/// A stream that has received these bytes and whose connection was reset then.
async fn after_a_reset(bytes: &[u8]) -> (StreamReader, StreamWriter) {
    let (ours, mut peer): (StdStream, StdStream) = std_pair();
    let (reader, writer) = open_connection(ours).await.unwrap();
    peer.write_all(bytes).unwrap();
    let kept = format!("buffered: {},", bytes.len());
    until(|| format!("{reader:?}").contains(&kept)).await;
    reset(peer);
    until(|| writer.is_closing()).await;
    writer.wait_closed().await.unwrap_err();
    (reader, writer)
}

/// A stream whose peer has sent these bytes and gone, and whose own write has failed since.
async fn after_a_failed_write(bytes: &[u8]) -> (StreamReader, StreamWriter) {
    let (ours, mut peer) = StdUnix::pair().unwrap();
    let (reader, writer) = open_connection(ours).await.unwrap();
    peer.write_all(bytes).unwrap();
    drop(peer);
    writer.write(b"upload");
    assert!(writer.is_closing());
    let error = writer.drain().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    (reader, writer)
}

fn is_lost(error: impl Into<std::io::Error>) {
    let kind = error.into().kind();
    assert!([ErrorKind::ConnectionReset, ErrorKind::BrokenPipe].contains(&kind));
}

#[test]
fn readline_gives_the_line_before_the_reset_then_the_reset_then_the_end() {
    run(|| async {
        let (mut reader, writer) = after_a_reset(b"550 no\n").await;
        assert!(!reader.at_eof());
        assert_eq!(reader.readline().await.unwrap(), b"550 no\n");
        assert!(!reader.at_eof(), "there is the error still");
        is_lost(reader.readline().await.unwrap_err());
        assert!(reader.at_eof());
        assert_eq!(reader.readline().await.unwrap(), b"");
        assert_eq!(reader.next_line().await.unwrap(), None);
        // Writers get the error each time.
        is_lost(writer.drain().await.unwrap_err());
        is_lost(writer.drain().await.unwrap_err());
        is_lost(writer.wait_closed().await.unwrap_err());
    });
}

#[test]
fn an_early_answer_to_an_upload_is_read_though_the_write_failed_first() {
    run(|| async {
        let (mut reader, _writer) = after_a_failed_write(b"413 too large\nbye").await;
        assert_eq!(reader.readline().await.unwrap(), b"413 too large\n");
        assert_eq!(reader.readline().await.unwrap(), b"bye");
        is_lost(reader.readline().await.unwrap_err());
        assert_eq!(reader.readline().await.unwrap(), b"");
    });
}

#[test]
fn an_upload_in_many_writes_ends_with_the_answer_on_tcp() {
    run(|| async {
        let (ours, mut peer) = std_pair();
        let (mut reader, writer) = open_connection(ours).await.unwrap();
        peer.write_all(b"413\n").unwrap();
        let answered = std::cell::Cell::new(Some(peer));
        let error = loop {
            writer.write([0; 100_000]);
            if writer.transport().write_buffer_size() > 0 {
                // It closes with the upload unread, which resets the connection.
                drop(answered.take());
            }
            if let Err(error) = writer.drain().await {
                break error;
            }
        };
        is_lost(error);
        assert_eq!(reader.readline().await.unwrap(), b"413\n");
        is_lost(reader.readline().await.unwrap_err());
        assert_eq!(reader.readline().await.unwrap(), b"");
    });
}

#[test]
fn read_and_read_into_give_the_bytes_then_the_error_then_the_end() {
    run(|| async {
        let (mut reader, _writer) = after_a_reset(b"abcdef").await;
        assert_eq!(reader.read(2).await.unwrap(), b"ab");
        assert_eq!(reader.read(100).await.unwrap(), b"cdef");
        is_lost(reader.read(100).await.unwrap_err());
        assert_eq!(reader.read(100).await.unwrap(), b"");
        assert_eq!(reader.read_into(&mut [0; 4]).await.unwrap(), 0);

        let (mut reader, _writer) = after_a_failed_write(b"abcdef").await;
        let mut buffer = [0; 4];
        assert_eq!(reader.read_into(&mut buffer).await.unwrap(), 4);
        assert_eq!(&buffer, b"abcd");
        assert_eq!(reader.read_into(&mut buffer).await.unwrap(), 2);
        assert_eq!(&buffer[..2], b"ef");
        is_lost(reader.read_into(&mut buffer).await.unwrap_err());
        assert_eq!(reader.read_into(&mut buffer).await.unwrap(), 0);
        assert_eq!(reader.read(1).await.unwrap(), b"");
    });
}

#[test]
fn readexactly_and_readuntil_give_the_part_with_the_error() {
    run(|| async {
        let (mut reader, _writer) = after_a_reset(b"abcdef").await;
        assert_eq!(reader.readexactly(2).await.unwrap(), b"ab");
        let error = reader.readexactly(10).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "4 bytes read on a total of 10 expected: Connection reset by peer (os error 104)"
        );
        let ReadError::Failed(failed) = error else {
            panic!("{error:?}")
        };
        assert_eq!(
            (&failed.partial[..], failed.expected),
            (&b"cdef"[..], Some(10))
        );
        assert_eq!(failed.error.raw_os_error(), Some(libc::ECONNRESET));
        let ReadError::Io(error) = reader.readexactly(10).await.unwrap_err() else {
            panic!("the error by itself")
        };
        assert_eq!(error.raw_os_error(), Some(libc::ECONNRESET));
        let end = reader.readexactly(10).await.unwrap_err();
        let ReadError::Incomplete(end) = end else {
            panic!("{end:?}")
        };
        assert_eq!((&end.partial[..], end.expected), (&b""[..], Some(10)));

        let (mut reader, _writer) = after_a_failed_write(b"head\r\nbo").await;
        assert_eq!(reader.readuntil(b"\r\n").await.unwrap(), b"head\r\n");
        let error = reader.readuntil(b"\r\n").await.unwrap_err();
        let as_io = std::io::Error::from(error);
        assert_eq!(as_io.kind(), ErrorKind::BrokenPipe);
        let inside = as_io.get_ref().unwrap().downcast_ref();
        let inside: &callsoon::stream::FailedRead = inside.unwrap();
        assert_eq!((&inside.partial[..], inside.expected), (&b"bo"[..], None));
        is_lost(reader.readuntil(b"\r\n").await.unwrap_err());
        let end = reader.readuntil(b"\r\n").await.unwrap_err();
        assert!(end.incomplete().unwrap().partial.is_empty());
    });
}

#[test]
fn read_to_end_gives_the_error_and_leaves_the_bytes() {
    run(|| async {
        let (mut reader, _writer) = after_a_reset(b"not all of it").await;
        is_lost(reader.read_to_end().await.unwrap_err());
        assert_eq!(reader.read_to_end().await.unwrap(), b"not all of it");
        assert_eq!(reader.read_to_end().await.unwrap(), b"");
        assert!(reader.at_eof());
    });
}

#[test]
fn a_reader_that_is_behind_still_gets_everything_and_drain_does_not_wait_for_it() {
    run(|| async {
        let (ours, peer) = StdUnix::pair().unwrap();
        let limit = std::num::NonZeroUsize::new(1024).unwrap();
        let (mut reader, writer) = open_connection(ours).limit(limit).await.unwrap();
        peer.set_nonblocking(true).unwrap();
        let mut sent = 0;
        while let Ok(count) = (&peer).write(&[7; 4096]) {
            sent += count;
        }
        until(|| !writer.transport().is_reading()).await;
        assert!(sent > 100_000, "the system keeps much of it: {sent}");
        drop(peer);
        writer.write(b"upload");
        is_lost(writer.drain().await.unwrap_err());
        let mut got = 0;
        loop {
            match reader.read(10_000).await {
                Ok(bytes) => got += bytes.len(),
                Err(error) => break is_lost(error),
            }
        }
        assert_eq!(got, sent);
        assert_eq!(reader.read(1).await.unwrap(), b"");
    });
}

#[test]
fn a_read_that_waits_gets_the_bytes_and_the_next_one_the_error() {
    run(|| async {
        let (ours, mut peer) = StdUnix::pair().unwrap();
        let (mut reader, writer) = open_connection(ours).await.unwrap();
        let mut buffer = [0; 8];
        let mut waits = Box::pin(reader.read_into(&mut buffer));
        let pending = std::future::poll_fn(|context| {
            std::task::Poll::Ready(waits.as_mut().poll(context).is_pending())
        });
        assert!(pending.await);
        peer.write_all(b"413").unwrap();
        drop(peer);
        writer.write(b"upload");
        assert_eq!(waits.await.unwrap(), 3);
        assert_eq!(&buffer[..3], b"413");
        is_lost(reader.read_into(&mut buffer).await.unwrap_err());
        assert_eq!(reader.read_into(&mut buffer).await.unwrap(), 0);
    });
}

#[test]
fn a_reader_that_is_dropped_after_a_read_that_waited_does_not_stop_its_peer() {
    run(|| async {
        let (ours, peer) = StdUnix::pair().unwrap();
        let (mut reader, writer) = open_connection(ours).await.unwrap();
        peer.set_nonblocking(true).unwrap();
        let far = peer.try_clone().unwrap();
        create_task(async move { while (&far).write(&[7; 4096]).is_ok() {} }).detach();
        // It waits, takes two bytes of what fills the socket, and nothing is told of the rest.
        assert_eq!(reader.read_into(&mut [0; 2]).await.unwrap(), 2);
        drop(reader);
        let mut sent = 0;
        let written = async {
            while sent < 4 << 20 {
                match (&peer).write(&[7; 4096]) {
                    Ok(count) => sent += count,
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::WouldBlock);
                        yield_now().await;
                    }
                }
            }
        };
        timeout(Duration::from_secs(60), written).await.unwrap();
        drop((peer, writer));
    });
}
