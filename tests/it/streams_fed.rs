//! Readers that a program feeds itself, and the lines of a reader.

use std::cell::Cell;
use std::future::Future as _;
use std::io::{ErrorKind, Write as _};
use std::num::NonZeroUsize;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use callsoon::stream::{ReadError, StreamFeeder, StreamReader, open_connection};
use callsoon::{PollBufRead as _, PollRead as _, create_task, sleep, timeout, yield_now};

use crate::support::{
    HostileWaker, Touch, complete, on_virtual_time, poll_once, settling, std_pair,
};

fn fed() -> (StreamReader, StreamFeeder) {
    StreamReader::unconnected(NonZeroUsize::new(16).unwrap())
}

#[test]
fn a_read_waits_for_what_is_fed_and_for_the_end() {
    on_virtual_time(|trace, event_loop| {
        complete(&event_loop, async {
            let (mut reader, feeder) = fed();
            let told = trace.clone();
            let reading = create_task(async move {
                told.push(reader.readexactly(4).await.unwrap().escape_ascii());
                told.push(reader.readuntil(b"--").await.unwrap().escape_ascii());
                let mut buffer = [0; 3];
                let count = reader.read_into(&mut buffer).await.unwrap();
                told.push(buffer[..count].escape_ascii());
                told.push(reader.read_to_end().await.unwrap().escape_ascii());
                assert!(reader.at_eof());
                told.push(reader.read(9).await.unwrap().escape_ascii());
            });
            for piece in ["ab", "c", "def-", "-x", "yz", "and the rest"] {
                sleep(Duration::from_secs(1)).await;
                trace.push(format!("feed {piece}"));
                feeder.feed_data(piece.as_bytes()).unwrap();
                yield_now().await;
                yield_now().await;
            }
            feeder.feed_eof();
            reading.await.unwrap();
        });
        trace.expect([
            "feed ab",
            "feed c",
            "feed def-",
            "abcd",
            "feed -x",
            "ef--",
            "x",
            "feed yz",
            "feed and the rest",
            "yzand the rest",
            "",
        ]);
    });
}

#[test]
fn what_was_fed_before_an_error_is_read_first_and_the_error_comes_once() {
    on_virtual_time(|_, event_loop| {
        complete(&event_loop, async {
            let (mut reader, feeder) = fed();
            feeder.feed_data(b"one\nha").unwrap();
            feeder.set_exception(ErrorKind::ConnectionAborted.into());
            feeder.set_exception(ErrorKind::TimedOut.into());
            assert_eq!(reader.readline().await.unwrap(), b"one\n");
            let Err(ReadError::Failed(failed)) = reader.readexactly(9).await else {
                panic!("no failed read")
            };
            assert_eq!(failed.partial, b"ha");
            assert_eq!(failed.error.kind(), ErrorKind::ConnectionAborted);
            let error = reader.read(1).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
            assert_eq!(reader.read(1).await.unwrap(), b"");

            // Of a read that waits already, and after the end of what is fed.
            let (mut reader, feeder) = fed();
            let waiting = create_task(async move { reader.read(1).await });
            yield_now().await;
            feeder.set_exception(ErrorKind::Other.into());
            assert_eq!(waiting.await.unwrap().unwrap_err().kind(), ErrorKind::Other);
        });
    });
}

#[test]
fn the_limit_is_that_of_a_line_and_the_reader_is_not_paused() {
    on_virtual_time(|_, event_loop| {
        complete(&event_loop, async {
            let (mut reader, feeder) = fed();
            feeder.feed_data(&[b'x'; 1000]).unwrap();
            let overrun = reader.readline().await.unwrap_err();
            assert_eq!(overrun.limit_overrun().unwrap().consumed, 1000);
            feeder.feed_data(b"\nshort\n").unwrap();
            assert_eq!(reader.readexactly(1001).await.unwrap().len(), 1001);
            assert_eq!(reader.readline().await.unwrap(), b"short\n");
        });
    });
}

#[test]
fn either_end_may_be_dropped_first_and_feeding_after_the_end_is_an_error() {
    on_virtual_time(|_, event_loop| {
        complete(&event_loop, async {
            let (reader, feeder) = fed();
            drop(reader);
            feeder.feed_data(&[0; 100_000]).unwrap();
            feeder.feed_eof();
            let error = feeder.feed_data(b"late").unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
            assert_eq!(error.to_string(), "feed_data after feed_eof");

            let (mut reader, feeder) = fed();
            let waiting = create_task(async move { reader.readline().await });
            yield_now().await;
            drop(feeder);
            assert_eq!(waiting.await.unwrap().unwrap(), b"");
        });
    });
}

#[test]
fn a_fed_reader_is_polled_and_given_up_like_any_other() {
    on_virtual_time(|_, event_loop| {
        complete(&event_loop, async {
            let (mut reader, feeder) = fed();
            let second = Duration::from_secs(1);
            assert!(timeout(second, reader.readexactly(2)).await.is_err());
            feeder.feed_data(b"abc").unwrap();
            let mut buffer = [0; 2];
            let polled = std::future::poll_fn(|context| reader.poll_read(context, &mut buffer));
            assert_eq!((polled.await.unwrap(), &buffer), (2, b"ab"));
            let shown = std::future::poll_fn(|context| {
                reader.poll_fill_buf(context).map_ok(<[u8]>::to_vec)
            });
            assert_eq!(shown.await.unwrap(), b"c");
            reader.consume(1);
            let mut next = Box::pin(reader.read(1));
            assert!(poll_once(&mut next).await.is_none());
            feeder.feed_eof();
            assert_eq!(next.await.unwrap(), b"");
        });
    });
}

#[test]
fn a_read_of_a_fed_reader_fails_when_the_loop_is_closed() {
    on_virtual_time(|_, event_loop| {
        let (mut reader, feeder) = complete(&event_loop, async { fed() });
        feeder.feed_data(b"kept").unwrap();
        event_loop.close().unwrap();
        let read = futures_lite::future::block_on(reader.read(100));
        assert_eq!(read.unwrap(), b"kept");
        let error = futures_lite::future::block_on(reader.read(1)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotConnected);
    });
}

#[test]
fn the_lines_of_a_reader_are_those_of_next_line_and_leave_what_has_not_ended_in_it() {
    settling(|_, trace| async move {
        let (near, mut far) = std_pair();
        let (mut reader, _writer) = open_connection(near).await.unwrap();
        far.write_all(b"one\ntwo\nhal").unwrap();
        {
            let mut lines = reader.lines();
            trace.push(lines.next_line().await.unwrap().unwrap().escape_ascii());
            trace.push(lines.next_line().await.unwrap().unwrap().escape_ascii());
            let late = timeout(Duration::from_millis(1), lines.next_line()).await;
            assert!(late.is_err());
        }
        assert_eq!(reader.readexactly(2).await.unwrap(), b"ha");
        far.write_all(b"f\nlast").unwrap();
        drop(far);
        let mut lines = reader.lines();
        while let Some(line) = lines.next_line().await.unwrap() {
            trace.push(line.escape_ascii());
        }
        assert!(reader.at_eof());
        trace.expect(["one\\n", "two\\n", "lf\\n", "last"]);
    });
}

#[test]
fn a_line_of_a_reader_that_comes_byte_by_byte_or_is_too_long() {
    on_virtual_time(|trace, event_loop| {
        complete(&event_loop, async {
            let (mut reader, feeder) = fed();
            let told = trace.clone();
            let reading = create_task(async move {
                let mut lines = reader.lines();
                loop {
                    match lines.next_line().await {
                        Ok(Some(line)) => told.push(line.escape_ascii()),
                        Ok(None) => return told.push("end"),
                        Err(ReadError::LimitOverrun(overrun)) => {
                            told.push(format!("too long: {}", overrun.consumed));
                            reader.readexactly(overrun.consumed).await.unwrap();
                            lines = reader.lines();
                        }
                        Err(error) => panic!("{error}"),
                    }
                }
            });
            for byte in b"a\nbc\n0123456789abcdefX\nend" {
                feeder.feed_data(&[*byte]).unwrap();
                yield_now().await;
                yield_now().await;
            }
            drop(feeder);
            reading.await.unwrap();
        });
        trace.expect(["a\\n", "bc\\n", "too long: 17", "\\n", "end", "end"]);
    });
}

/// Polls a read twice with a waker that feeds while it is cloned: the first time nothing is there. What was fed then
/// must be returned, at once or after the waker was woken.
fn read_fed_by_a_clone<T>(
    event_loop: &callsoon::EventLoop,
    poll: impl Fn(&mut StreamReader, &mut Context<'_>) -> Poll<T>,
) -> T {
    let (mut reader, feeder) = complete(event_loop, async { fed() });
    let once = Cell::new(false);
    let hostile = HostileWaker::new(move |touch| {
        if touch == Touch::Clone && !once.replace(true) {
            feeder.feed_data(b"line\n").unwrap();
        }
    });
    let waker = hostile.waker();
    let mut context = Context::from_waker(&waker);
    match poll(&mut reader, &mut context) {
        Poll::Ready(read) => read,
        Poll::Pending => panic!("bytes are there, and {} wakes", hostile.wakes()),
    }
}

#[test]
fn what_is_fed_while_a_waker_is_cloned_is_read_by_that_poll() {
    on_virtual_time(|_, event_loop| {
        let read = read_fed_by_a_clone(&event_loop, |reader, context| {
            pin!(reader.readexactly(5))
                .poll(context)
                .map(Result::unwrap)
        });
        assert_eq!(read, b"line\n");
        let read = read_fed_by_a_clone(&event_loop, |reader, context| {
            reader.lines().poll_next_line(context).map(Result::unwrap)
        });
        assert_eq!(read.unwrap(), b"line\n");
        let read = read_fed_by_a_clone(&event_loop, |reader, context| {
            pin!(reader.read_into(&mut [0; 9]))
                .poll(context)
                .map(Result::unwrap)
        });
        assert_eq!(read, 5);
        let read = read_fed_by_a_clone(&event_loop, |reader, context| {
            reader.poll_read(context, &mut [0; 9]).map(Result::unwrap)
        });
        assert_eq!(read, 5);
        let read = read_fed_by_a_clone(&event_loop, |reader, context| {
            reader
                .poll_fill_buf(context)
                .map(|shown| shown.unwrap().len())
        });
        assert_eq!(read, 5);
    });
}
