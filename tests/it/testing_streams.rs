//! `testing::duplex`: a byte stream in memory, and what goes wrong on it.

use std::future::poll_fn;
use std::io::ErrorKind;
use std::time::Duration;

use callsoon::testing::{self, DuplexStream, Faults, Trace};
use callsoon::{PollBufRead, create_task, sleep, timeout};

use crate::support::{Waiting, audited, rounds_alone};

const SECOND: Duration = Duration::from_secs(1);

/// Runs a test with two ends, each direction with room for this many bytes.
fn with_ends(capacity: usize, test: impl AsyncFnOnce(DuplexStream, DuplexStream) + Send + 'static) {
    audited(move || {
        let (near, far) = testing::duplex(capacity);
        testing::run(test(near, far));
    });
}

/// The sizes of all reads to the end, and how they end: `0`, or the kind of the error.
async fn sizes(stream: &mut DuplexStream) -> Vec<String> {
    let mut sizes = Vec::new();
    loop {
        match stream.read(&mut [0; 64]).await {
            Ok(count) => sizes.push(count.to_string()),
            Err(error) => sizes.push(format!("{:?}", error.kind())),
        }
        if sizes
            .last()
            .is_some_and(|last| last == "0" || last.parse::<u8>().is_err())
        {
            return sizes;
        }
    }
}

#[test]
fn a_writer_waits_for_room_and_a_reader_for_bytes() {
    with_ends(3, async |mut near, mut far| {
        let trace = Trace::new();
        let t = trace.clone();
        let writing = create_task(async move {
            near.write_all(b"abcdefg").await.unwrap();
            t.push("written");
            near
        });
        testing::settle().await;
        for piece in ["abc", "def"] {
            trace.expect([]);
            let mut buffer = [0; 8];
            let count = far.read(&mut buffer).await.unwrap();
            assert_eq!(&buffer[..count], piece.as_bytes());
            testing::settle().await;
        }
        trace.expect(["written"]);
        let mut near = writing.await.unwrap();
        near.shutdown().await.unwrap();
        assert_eq!(sizes(&mut far).await, ["1", "0"]);
        // The other direction is open still.
        far.write_all(b"xyz").await.unwrap();
        drop(far);
        assert_eq!(sizes(&mut near).await, ["3", "0"]);
    });
}

#[test]
fn bytes_that_are_looked_at_use_room_until_they_are_taken() {
    with_ends(4, async |mut near, mut far| {
        far.write_all(b"abcd").await.unwrap();
        let there = poll_fn(|context| near.poll_fill_buf(context).map_ok(<[u8]>::to_vec)).await;
        assert_eq!(there.unwrap(), b"abcd");
        let mut writing = Waiting::begun(far.write(b"efgh"));
        near.consume(1);
        assert!(writing.is_woken());
        assert_eq!(writing.poll().unwrap().unwrap(), 1);
        let mut buffer = [0; 8];
        // First what was looked at, then the rest.
        assert_eq!(near.read(&mut buffer).await.unwrap(), 3);
        assert_eq!(&buffer[..3], b"bcd");
        assert_eq!(near.read(&mut buffer).await.unwrap(), 1);
        assert_eq!(&buffer[..1], b"e");
    });
}

#[test]
fn a_dropped_end_lets_the_other_fail_and_end() {
    with_ends(4, async |mut near, mut far| {
        far.write_all(b"abcd").await.unwrap();
        let failing = create_task(async move {
            let error = far.write_all(b"e").await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        });
        testing::settle().await;
        assert!(!failing.done());
        let mut reading = [0; 2];
        near.read(&mut reading).await.unwrap();
        drop(near);
        failing.await.unwrap();
    });
    with_ends(4, async |mut near, _far| {
        near.shutdown().await.unwrap();
        let error = near.write(b"x").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn sizes_of_reads_and_writes_follow_the_script() {
    with_ends(64, async |mut near, mut far| {
        near.set_faults(Faults::new().read_sizes([1, 0, 5]));
        far.set_faults(Faults::new().write_sizes([2, 7]));
        let mut written = Vec::new();
        let mut left: &[u8] = b"abcdefghijklmnop";
        while !left.is_empty() {
            let count = far.write(left).await.unwrap();
            written.push(count);
            left = &left[count..];
        }
        assert_eq!(written, [2, 7, 2, 5]);
        drop(far);
        assert_eq!(
            sizes(&mut near).await,
            ["1", "1", "5", "1", "1", "5", "1", "1", "0"]
        );
    });
}

#[test]
fn random_sizes_are_those_of_their_seed() {
    let sizes_of = |seed| {
        testing::run(async {
            let (mut near, mut far) = testing::duplex(64);
            near.set_faults(Faults::new().random_reads(seed, 4));
            far.write_all(&[0; 64]).await.unwrap();
            drop(far);
            sizes(&mut near).await
        })
    };
    audited(move || {
        let first = sizes_of(1);
        assert_eq!(first, sizes_of(1));
        assert_ne!(first, sizes_of(2));
        let counts: Vec<usize> = first.iter().map(|size| size.parse().unwrap()).collect();
        assert_eq!(counts.iter().sum::<usize>(), 64);
        assert!((1..=4).all(|size| counts.contains(&size)), "{counts:?}");
    });
}

#[test]
fn errors_and_ends_come_at_their_bytes_and_stay() {
    with_ends(64, async |mut near, mut far| {
        near.set_faults(Faults::new().fail_read_at(5, ErrorKind::TimedOut));
        far.set_faults(Faults::new().fail_write_at(7, ErrorKind::StorageFull));
        let error = far.write_all(b"abcdefgh").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull);
        assert_eq!(sizes(&mut near).await, ["5", "TimedOut"]);
        assert_eq!(sizes(&mut near).await, ["TimedOut"]);
        // Another script goes on where this one was.
        near.set_faults(Faults::new().eof_at(6));
        assert_eq!(sizes(&mut near).await, ["1", "0"]);
        near.set_faults(Faults::new());
        drop(far);
        assert_eq!(sizes(&mut near).await, ["1", "0"]);
    });
}

#[test]
fn a_reset_ends_both_directions_and_what_is_on_its_way_is_lost() {
    with_ends(4, async |mut near, mut far| {
        near.set_faults(Faults::new().reset_at(2));
        far.write_all(b"abcd").await.unwrap();
        let waiting = create_task(async move {
            let error = far.write(b"e").await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            sizes(&mut far).await
        });
        testing::settle().await;
        assert_eq!(near.read(&mut [0; 2]).await.unwrap(), 2);
        assert_eq!(sizes(&mut near).await, ["ConnectionReset"]);
        assert_eq!(
            near.shutdown().await.unwrap_err().kind(),
            ErrorKind::ConnectionReset
        );
        drop(near);
        // The room that the read has made lets one more write through.
        let ended = waiting.await;
        assert!(ended.is_err() || ended.unwrap() == ["ConnectionReset"]);
    });
}

#[test]
fn delays_are_on_the_clock_of_the_loop_and_go_on_when_a_read_is_given_up() {
    with_ends(64, async |mut near, mut far| {
        near.set_faults(Faults::new().short_reads(2).delay_reads(3 * SECOND));
        far.set_faults(Faults::new().delay_writes(SECOND));
        let start = testing::clock().now();
        let elapsed = || testing::clock().now() - start;
        far.write_all(b"abcd").await.unwrap();
        assert_eq!(elapsed(), SECOND);
        let mut buffer = [0; 8];
        assert!(timeout(2 * SECOND, near.read(&mut buffer)).await.is_err());
        assert_eq!(elapsed(), 3 * SECOND);
        assert_eq!(near.read(&mut buffer).await.unwrap(), 2);
        assert_eq!((elapsed(), &buffer[..2]), (4 * SECOND, &b"ab"[..]));
        assert_eq!(near.read(&mut buffer).await.unwrap(), 2);
        assert_eq!((elapsed(), &buffer[..2]), (7 * SECOND, &b"cd"[..]));
        // Nothing to give, so no delay begins.
        assert!(timeout(5 * SECOND, near.read(&mut buffer)).await.is_err());
        drop(far);
        assert_eq!(near.read(&mut buffer).await.unwrap(), 0);
        assert_eq!(elapsed(), 12 * SECOND);
    });
}

#[test]
fn a_read_and_a_write_that_are_given_up_have_moved_nothing() {
    with_ends(2, async |mut near, mut far| {
        assert!(timeout(SECOND, near.read(&mut [0; 8])).await.is_err());
        far.write_all(b"ab").await.unwrap();
        assert!(timeout(SECOND, far.write(b"cd")).await.is_err());
        drop(far);
        assert_eq!(sizes(&mut near).await, ["2", "0"]);
    });
}

#[test]
fn reads_and_writes_take_from_the_budget() {
    with_ends(1 << 16, async |mut near, mut far| {
        let written = rounds_alone(async || drop(near.write(b"x").await)).await;
        assert_eq!(written, Some(128));
        let read = rounds_alone(async || drop(far.read(&mut [0; 1]).await)).await;
        assert_eq!(read, Some(128));
        let failed = rounds_alone(async || drop(near.write(b"").await)).await;
        assert_eq!(failed, None, "an empty write does nothing");
    });
}

#[test]
fn copies_and_lines_work_on_it() {
    with_ends(5, async |mut near, far| {
        let (mut here, mut there) = testing::duplex(3);
        let copying = create_task(async move { callsoon::copy(far, &mut here).await });
        let writing = create_task(async move {
            near.write_all(b"one\ntwo\nthree").await.unwrap();
            sleep(SECOND).await;
        });
        there.set_faults(Faults::new().short_reads(1));
        let mut lines = callsoon::lines(there);
        for line in ["one\n", "two\n", "three"] {
            assert_eq!(lines.next_line().await.unwrap().unwrap(), line.as_bytes());
        }
        assert_eq!(lines.next_line().await.unwrap(), None);
        assert_eq!(copying.await.unwrap().unwrap(), 13);
        writing.await.unwrap();
    });
}

#[cfg(feature = "futures")]
#[test]
fn the_traits_of_futures_work_on_it() {
    use futures_lite::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt};
    with_ends(4, async |mut near, mut far| {
        let writing = create_task(async move {
            AsyncWriteExt::write_all(&mut near, b"one\ntwo")
                .await
                .unwrap();
            AsyncWriteExt::close(&mut near).await.unwrap();
        });
        let (mut line, mut rest) = (String::new(), String::new());
        far.read_line(&mut line).await.unwrap();
        far.read_to_string(&mut rest).await.unwrap();
        assert_eq!((line.as_str(), rest.as_str()), ("one\n", "two"));
        writing.await.unwrap();
    });
}

#[cfg(feature = "tokio-io")]
#[test]
fn the_traits_of_tokio_work_on_it() {
    use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt};
    with_ends(4, async |mut near, mut far| {
        let writing = create_task(async move {
            AsyncWriteExt::write_all(&mut near, b"one\ntwo")
                .await
                .unwrap();
            AsyncWriteExt::shutdown(&mut near).await.unwrap();
        });
        let (mut line, mut rest) = (String::new(), String::new());
        far.read_line(&mut line).await.unwrap();
        far.read_to_string(&mut rest).await.unwrap();
        assert_eq!((line.as_str(), rest.as_str()), ("one\n", "two"));
        writing.await.unwrap();
    });
}

#[cfg(feature = "hyper")]
#[test]
fn hyper_speaks_http_over_it() {
    use callsoon::interop::hyper::HyperIo;
    use http_body_util::{BodyExt as _, Empty, Full};
    use hyper::{Request, Response, body::Bytes, service::service_fn};

    with_ends(16, async |near, mut far| {
        // Neither side sees more than three bytes at a time.
        far.set_faults(Faults::new().short_reads(3).short_writes(3));
        let answer = async |request: Request<hyper::body::Incoming>| {
            let text = format!("you asked for {}", request.uri());
            Ok::<_, std::convert::Infallible>(Response::new(Full::new(Bytes::from(text))))
        };
        let serving = create_task(async move {
            let server = hyper::server::conn::http1::Builder::new();
            server
                .serve_connection(HyperIo::new(far), service_fn(answer))
                .await
                .unwrap();
        });
        let shaken = hyper::client::conn::http1::handshake(HyperIo::new(near)).await;
        let (mut client, connection) = shaken.unwrap();
        let connection = create_task(connection);
        let request = Request::get("/page").body(Empty::<Bytes>::new()).unwrap();
        let response = client.send_request(request).await.unwrap();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, "you asked for /page");
        drop(client);
        connection.await.unwrap().unwrap();
        serving.await.unwrap();
    });
}
