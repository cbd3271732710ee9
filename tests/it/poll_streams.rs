//! The two ends of a stream by their poll functions: what is buffered, shown, flushed and lost.

use std::future::poll_fn;
use std::io::{self, ErrorKind, IoSlice, Read as _, Write as _};
use std::net::{Shutdown, TcpStream as StdStream};
use std::os::unix::net::UnixStream as StdUnix;
use std::task::{Context, Poll};

use callsoon::stream::{StreamReader, StreamWriter, join, open_connection, open_write_pipe};
use callsoon::{PollBufRead, PollRead, PollWrite, get_running_loop, yield_now};

use crate::support::{
    CountingWaker, in_a_loop, pipe, reset, rounds_alone, settling, std_pair, until,
};

async fn stream() -> (StreamReader, StreamWriter, StdStream) {
    let (ours, peer) = std_pair();
    let (reader, writer) = open_connection(ours).await.unwrap();
    (reader, writer, peer)
}

async fn read(source: &mut impl PollRead, room: usize) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; room];
    let count = poll_fn(|context| source.poll_read(context, &mut buffer)).await?;
    buffer.truncate(count);
    Ok(buffer)
}

async fn shown(source: &mut impl PollBufRead) -> io::Result<Vec<u8>> {
    poll_fn(|context| source.poll_fill_buf(context).map_ok(<[u8]>::to_vec)).await
}

async fn flush(sink: &mut impl PollWrite) -> io::Result<()> {
    poll_fn(|context| sink.poll_flush(context)).await
}

#[test]
fn reads_give_what_is_there_in_parts_then_the_end_again_and_again() {
    settling(|_, _| async {
        let (mut reader, _writer, mut peer) = stream().await;
        peer.write_all(b"hello").unwrap();
        assert_eq!(read(&mut reader, 0).await.unwrap(), b"");
        assert_eq!(read(&mut reader, 2).await.unwrap(), b"he");
        assert_eq!(read(&mut reader, 9).await.unwrap(), b"llo");
        drop(peer);
        assert_eq!(read(&mut reader, 9).await.unwrap(), b"");
        assert_eq!(read(&mut reader, 9).await.unwrap(), b"");
        assert_eq!(shown(&mut reader).await.unwrap(), b"");
        assert!(reader.at_eof());
    });
}

#[test]
fn what_is_shown_is_read_by_every_other_read_until_it_is_consumed() {
    settling(|_, _| async {
        let (mut reader, _writer, mut peer) = stream().await;
        peer.write_all(b"one\ntwo\nthree").unwrap();
        assert_eq!(shown(&mut reader).await.unwrap(), b"one\ntwo\nthree");
        reader.consume(1);
        assert_eq!(shown(&mut reader).await.unwrap(), b"ne\ntwo\nthree");
        // More arrives behind what is shown.
        peer.write_all(b"\nfour\n").unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        until(|| format!("{reader:?}").contains("eof: true")).await;
        assert!(!reader.at_eof());
        assert_eq!(shown(&mut reader).await.unwrap(), b"ne\ntwo\nthree");
        assert_eq!(reader.readline().await.unwrap(), b"ne\n");
        assert_eq!(shown(&mut reader).await.unwrap(), b"two\nthree\nfour\n");
        assert_eq!(read(&mut reader, 3).await.unwrap(), b"two");
        assert_eq!(reader.readexactly(1).await.unwrap(), b"\n");
        assert_eq!(shown(&mut reader).await.unwrap(), b"three\nfour\n");
        reader.consume(100);
        assert!(reader.at_eof());
        assert_eq!(reader.read_to_end().await.unwrap(), b"");
    });
}

#[test]
fn a_failed_connection_gives_what_came_before_then_the_error_once_then_the_end() {
    settling(|_, _| async {
        for by_read in [true, false] {
            let (mut reader, mut writer, mut peer) = stream().await;
            peer.write_all(b"last words").unwrap();
            until(|| format!("{reader:?}").contains("buffered: 10")).await;
            reset(peer);
            until(|| writer.is_closing()).await;
            yield_now().await;
            let mut results = Vec::new();
            for _ in 0..3 {
                let result = match by_read {
                    true => read(&mut reader, 64).await,
                    false => shown(&mut reader).await,
                };
                reader.consume(64);
                results.push(result.map_err(|error| error.kind()));
            }
            let reset = ErrorKind::ConnectionReset;
            assert_eq!(
                results,
                [Ok(b"last words".to_vec()), Err(reset), Ok(Vec::new())]
            );
            let write = poll_fn(|context| writer.poll_write(context, b"x")).await;
            assert_eq!(write.unwrap_err().kind(), reset);
            assert_eq!(flush(&mut writer).await.unwrap_err().kind(), reset);
        }
    });
}

#[test]
fn writes_to_a_peer_that_reads_nothing_stop_at_a_bound_and_a_flush_waits_for_all() {
    settling(|_, _| async {
        let (_reader, mut writer, mut peer) = stream().await;
        let (counter, waker) = CountingWaker::new();
        let mut context = Context::from_waker(&waker);
        let much = vec![b'm'; 1 << 20];
        let mut taken = 0;
        loop {
            let pieces = [IoSlice::new(&[]), IoSlice::new(&much), IoSlice::new(&much)];
            let polled = match taken % 2 {
                0 => writer.poll_write(&mut context, &much),
                _ => writer.poll_write_vectored(&mut context, &pieces),
            };
            match polled {
                Poll::Ready(count) => taken += count.unwrap(),
                Poll::Pending => break,
            }
            // The system takes what it takes after the event, too.
            if writer.write_buffer_size() > 64 * 1024 {
                break;
            }
        }
        assert!(writer.write_buffer_size() <= 128 * 1024);
        assert!(writer.poll_flush(&mut context).is_pending());
        assert!(writer.poll_write(&mut context, b"x").is_pending());
        let reading = std::thread::spawn(move || {
            let mut rest = Vec::new();
            peer.read_to_end(&mut rest).unwrap();
            rest.len()
        });
        until(|| counter.wakes() > 0).await;
        assert_eq!(
            writer.write_buffer_size(),
            0,
            "the flush pauses until all is sent"
        );
        flush(&mut writer).await.unwrap();
        assert_eq!(
            poll_fn(|context| writer.poll_write(context, b"end"))
                .await
                .unwrap(),
            3
        );
        poll_fn(|context| writer.poll_shutdown(context))
            .await
            .unwrap();
        assert_eq!(reading.join().unwrap(), taken + 3);
        let late = poll_fn(|context| writer.poll_write(context, b"x")).await;
        assert_eq!(late.unwrap_err().kind(), ErrorKind::BrokenPipe);
        poll_fn(|context| writer.poll_shutdown(context))
            .await
            .unwrap();
    });
}

#[test]
fn a_shutdown_of_a_pipe_sends_all_and_closes_it() {
    settling(|_, _| async {
        let (mut reader, writer) = pipe().unwrap();
        let mut writer = open_write_pipe(writer).await.unwrap();
        let bytes = vec![b'p'; 300_000];
        let reading = std::thread::spawn(move || {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).unwrap();
            all.len()
        });
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let count = poll_fn(|context| writer.poll_write(context, rest))
                .await
                .unwrap();
            rest = &rest[count..];
        }
        poll_fn(|context| writer.poll_shutdown(context))
            .await
            .unwrap();
        assert_eq!(reading.join().unwrap(), bytes.len());
        poll_fn(|context| writer.poll_shutdown(context))
            .await
            .unwrap();
    });
}

#[test]
fn a_poll_that_is_not_repeated_keeps_nobody_from_noticing_the_end() {
    settling(|_, _| async {
        let (mut reader, writer, mut peer) = stream().await;
        let (counter, waker) = CountingWaker::new();
        let mut context = Context::from_waker(&waker);
        assert!(reader.poll_read(&mut context, &mut [0; 8]).is_pending());
        peer.write_all(b"kept").unwrap();
        reset(peer);
        assert!(writer.wait_closed().await.is_err());
        assert!(counter.wakes() > 0);
    });
}

#[test]
fn a_joined_stream_reads_from_the_one_and_writes_to_the_other() {
    settling(|_, _| async {
        let (reader, writer, mut peer) = stream().await;
        let mut joined = join(reader, writer);
        assert!(joined.is_write_vectored());
        assert_eq!(
            poll_fn(|context| joined.poll_write(context, b"ping"))
                .await
                .unwrap(),
            4
        );
        flush(&mut joined).await.unwrap();
        let mut asked = [0; 4];
        peer.read_exact(&mut asked).unwrap();
        peer.write_all(b"pong").unwrap();
        assert_eq!(shown(&mut joined).await.unwrap(), b"pong");
        joined.consume(1);
        assert_eq!(read(&mut joined, 9).await.unwrap(), b"ong");
        poll_fn(|context| joined.poll_shutdown(context))
            .await
            .unwrap();
        assert_eq!(peer.read(&mut asked).unwrap(), 0);
        let (_reader, writer) = joined.into_parts();
        assert!(!writer.is_closing());
    });
}

#[test]
fn polls_that_are_always_ready_let_others_run() {
    const BUDGET: usize = 128;
    in_a_loop(async || {
        let (here, there) = StdUnix::pair().unwrap();
        let (reader, writer) = open_connection(here).await.unwrap();
        there.shutdown(Shutdown::Both).unwrap();
        let mut reader = reader;
        assert_eq!(reader.read_to_end().await.unwrap(), b"");
        let ends = std::cell::RefCell::new((reader, writer));
        let reads = async || {
            let read = poll_fn(|context| ends.borrow_mut().0.poll_read(context, &mut [0; 8]));
            assert_eq!(read.await.unwrap(), 0);
        };
        assert_eq!(rounds_alone(reads).await, Some(BUDGET));
        let looks = async || {
            let look = poll_fn(|context| {
                let mut ends = ends.borrow_mut();
                ends.0.poll_fill_buf(context).map_ok(<[u8]>::len)
            });
            assert_eq!(look.await.unwrap(), 0);
        };
        assert_eq!(rounds_alone(looks).await, Some(BUDGET));
        ends.borrow().1.write_eof();
        let writes = async || {
            let write = poll_fn(|context| ends.borrow_mut().1.poll_write(context, b"x"));
            assert!(write.await.is_err());
        };
        assert_eq!(rounds_alone(writes).await, Some(BUDGET));
        drop(ends);
        let event_loop = get_running_loop();
        until(|| event_loop.metrics().sources == 0).await;
    });
}
