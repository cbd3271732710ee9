//! Streams: readers, writers, and servers that run a function for each client.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream as StdStream;
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::time::Duration;

use callsoon::stream::{ReadError, StreamReader, StreamWriter, open_connection, start_server};
use callsoon::{create_task, get_running_loop, yield_now};

use crate::support::{
    Trace, Waiting, complete, forget, loopback, on_real_time, own_cpu_time, reset, std_pair, until,
};

fn run<F: Future<Output = ()>>(test: impl FnOnce(Trace) -> F + Send + 'static) {
    on_real_time(|trace, event_loop| {
        complete(&event_loop, async {
            test(trace.clone()).await;
            let event_loop = get_running_loop();
            until(|| event_loop.metrics().sources == 0).await;
        });
        assert_eq!(trace.take(), [""; 0], "unexpected");
    });
}

async fn stream() -> (StreamReader, StreamWriter, StdStream) {
    limited(1 << 16).await
}

async fn limited(limit: usize) -> (StreamReader, StreamWriter, StdStream) {
    let (ours, peer) = std_pair();
    let limit = NonZeroUsize::new(limit).unwrap();
    let (reader, writer) = open_connection(ours).limit(limit).await.unwrap();
    (reader, writer, peer)
}

#[test]
fn read_gives_what_is_there_and_nothing_at_the_end() {
    run(|_| async {
        let (mut reader, _writer, mut peer) = stream().await;
        assert_eq!(reader.read(0).await.unwrap(), b"");
        peer.write_all(b"hello").unwrap();
        assert_eq!(reader.read(2).await.unwrap(), b"he");
        let mut buffer = [0; 8];
        assert_eq!(reader.read_into(&mut []).await.unwrap(), 0);
        assert_eq!(reader.read_into(&mut buffer).await.unwrap(), 3);
        assert_eq!(&buffer[..3], b"llo");
        peer.write_all(b"rest").unwrap();
        drop(peer);
        assert!(!reader.at_eof());
        assert_eq!(reader.read_to_end().await.unwrap(), b"rest");
        assert!(reader.at_eof());
        assert_eq!(reader.read(1).await.unwrap(), b"");
        assert_eq!(reader.read_into(&mut buffer).await.unwrap(), 0);
        assert_eq!(reader.read_to_end().await.unwrap(), b"");
    });
}

#[test]
fn readexactly_gives_what_came_where_it_was_too_little() {
    run(|_| async {
        let (mut reader, _writer, mut peer) = limited(10).await;
        peer.write_all(&[7; 1000]).unwrap();
        peer.write_all(b"abc").unwrap();
        drop(peer);
        assert_eq!(reader.readexactly(0).await.unwrap(), b"");
        assert_eq!(
            reader.readexactly(1000).await.unwrap(),
            [7; 1000],
            "the limit does not matter"
        );
        let error = reader.readexactly(4).await.unwrap_err();
        assert_eq!(error.to_string(), "3 bytes read on a total of 4 expected");
        let incomplete = error.incomplete().unwrap();
        assert_eq!(
            (incomplete.partial, incomplete.expected),
            (b"abc".to_vec(), Some(4))
        );
        assert!(reader.at_eof(), "they are not in the reader any more");
    });
}

#[test]
fn lines_end_with_their_newline_except_the_last() {
    run(|_| async {
        let (mut reader, _writer, mut peer) = stream().await;
        peer.write_all(b"one\n\ntwo\nthree").unwrap();
        drop(peer);
        let mut lines = Vec::new();
        while let Some(line) = reader.next_line().await.unwrap() {
            lines.push(String::from_utf8(line).unwrap());
        }
        assert_eq!(lines, ["one\n", "\n", "two\n", "three"]);
        assert_eq!(reader.readline().await.unwrap(), b"");
    });
}

#[test]
fn a_line_over_the_limit_is_refused_and_stays_where_it_is() {
    run(|_| async {
        let (mut reader, _writer, mut peer) = limited(4).await;
        peer.write_all(b"1234\n12345\n").unwrap();
        assert_eq!(
            reader.readline().await.unwrap(),
            b"1234\n",
            "the newline does not count"
        );
        let overrun = reader
            .readline()
            .await
            .unwrap_err()
            .limit_overrun()
            .unwrap();
        assert_eq!(overrun.consumed, 5);
        let overrun = reader
            .readline()
            .await
            .unwrap_err()
            .limit_overrun()
            .unwrap();
        assert_eq!(overrun.consumed, 5, "nothing was taken out");
        assert_eq!(reader.readexactly(5).await.unwrap(), b"12345");
        assert_eq!(reader.readline().await.unwrap(), b"\n");
        peer.write_all(b"without end").unwrap();
        let error = reader.readline().await.unwrap_err();
        assert!(matches!(error, ReadError::LimitOverrun(_)));
        assert_eq!(std::io::Error::from(error).kind(), ErrorKind::InvalidData);
        drop(peer);
        assert_eq!(reader.read_to_end().await.unwrap(), b"without end");
    });
}

#[test]
fn a_separator_is_found_wherever_it_is_cut() {
    run(|_| async {
        let (mut reader, _writer, mut peer) = stream().await;
        for byte in b"head\r\r\n\r\nbody" {
            peer.write_all(&[*byte]).unwrap();
            yield_now().await;
        }
        assert_eq!(
            reader.readuntil(b"\r\n\r\n").await.unwrap(),
            b"head\r\r\n\r\n"
        );
        drop(peer);
        let incomplete = reader
            .readuntil("\r\n")
            .await
            .unwrap_err()
            .incomplete()
            .unwrap();
        assert_eq!(
            (&incomplete.partial[..], incomplete.expected),
            (&b"body"[..], None)
        );
    });
}

#[test]
fn of_several_separators_the_one_that_ends_first_wins() {
    run(|_| async {
        let (mut reader, _writer, mut peer) = stream().await;
        peer.write_all(b"some data; more, and").unwrap();
        let separators: [&[u8]; 3] = [b", and", b";", b"ata"];
        assert_eq!(
            reader.readuntil_any(&separators).await.unwrap(),
            b"some data"
        );
        assert_eq!(reader.readuntil_any(&separators).await.unwrap(), b";");
        assert_eq!(
            reader.readuntil_any(&separators).await.unwrap(),
            b" more, and"
        );
    });
}

#[test]
fn f2_a_long_line_is_searched_once_however_it_comes() {
    run(|_| async {
        let (mut reader, _writer, mut peer) = limited(4 << 20).await;
        let writer = std::thread::spawn(move || {
            let line = vec![b'x'; 2 << 20];
            for piece in line.chunks(64) {
                peer.write_all(piece).unwrap();
            }
            peer.write_all(b"\n").unwrap();
            peer
        });
        let started = own_cpu_time();
        assert_eq!(reader.readline().await.unwrap().len(), (2 << 20) + 1);
        assert!(
            own_cpu_time() - started < Duration::from_secs(15),
            "the search is quadratic"
        );
        drop(writer.join().unwrap());
    });
}

#[test]
fn a_read_that_is_dropped_has_taken_nothing() {
    run(|_| async {
        let (mut reader, _writer, mut peer) = stream().await;
        peer.write_all(b"half a li").unwrap();
        drop(Waiting::begun(reader.readline()));
        yield_now().await;
        drop(Waiting::begun(reader.readexactly(100)));
        drop(Waiting::begun(reader.read_to_end()));
        peer.write_all(b"ne\n").unwrap();
        assert_eq!(reader.readline().await.unwrap(), b"half a line\n");
        drop(peer);
    });
}

#[test]
fn a_reader_that_is_behind_holds_its_peer_up_and_loses_nothing() {
    run(|_| async {
        let (mut reader, writer, mut peer) = limited(1000).await;
        let sender = std::thread::spawn(move || {
            let bytes: Vec<_> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
            peer.write_all(&bytes).unwrap();
            bytes
        });
        until(|| !writer.transport().is_reading()).await;
        let mut all = reader.read(7).await.unwrap();
        loop {
            let some = reader.read(100_000).await.unwrap();
            if some.is_empty() {
                break;
            }
            all.extend(some);
        }
        assert!(all == sender.join().unwrap());
    });
}

#[test]
fn drain_waits_for_a_slow_peer_and_several_may_wait() {
    run(|_| async {
        let (_reader, writer, mut peer) = stream().await;
        let writer = Rc::new(writer);
        writer.write(b"x");
        writer.drain().await.unwrap();
        let mut written = 1;
        while writer.transport().write_buffer_size() <= 1 << 16 {
            writer.writelines(&[[0; 50_000], [1; 50_000]]);
            written += 100_000;
        }
        let mut drains: Vec<_> = (0..3).map(|_| Waiting::begun(writer.drain())).collect();
        drop(drains.remove(1));
        assert!(drains.iter().all(|drain| !drain.is_woken()));
        let reader = std::thread::spawn(move || {
            peer.read_exact(&mut vec![0; written]).unwrap();
            peer
        });
        for drain in &mut drains {
            until(|| drain.is_woken()).await;
            drain.poll().unwrap().unwrap();
        }
        drop(reader.join().unwrap());
    });
}

#[test]
fn a_lost_connection_fails_every_call_and_wakes_every_waiter() {
    run(|_| async {
        let (mut reader, writer, mut peer) = stream().await;
        peer.write_all(b"unread").unwrap();
        while writer.transport().write_buffer_size() <= 1 << 16 {
            writer.write([0; 100_000]);
        }
        let mut drain = Waiting::begun(writer.drain());
        let mut closed = Waiting::begun(writer.wait_closed());
        until(|| reader.at_eof() || format!("{reader:?}").contains("buffered: 6")).await;
        reset(peer);
        until(|| drain.is_woken() && closed.is_woken()).await;
        let is_reset = |error: std::io::Error| {
            assert!([ErrorKind::ConnectionReset, ErrorKind::BrokenPipe].contains(&error.kind()));
        };
        is_reset(drain.poll().unwrap().unwrap_err());
        is_reset(closed.poll().unwrap().unwrap_err());
        assert_eq!(reader.read(1).await.unwrap(), b"u");
        assert_eq!(reader.readline().await.unwrap(), b"nread");
        is_reset(reader.readexactly(1).await.unwrap_err().into());
        assert_eq!(
            reader.read_to_end().await.unwrap(),
            b"",
            "the end is after that"
        );
        is_reset(writer.drain().await.unwrap_err());
        is_reset(writer.wait_closed().await.unwrap_err());
    });
}

#[test]
fn closing_ends_the_reader_and_drain_says_so() {
    run(|_| async {
        let (mut reader, writer, mut peer) = stream().await;
        writer.write(b"bye");
        writer.close();
        assert!(writer.is_closing());
        assert_eq!(
            writer.drain().await.unwrap_err().kind(),
            ErrorKind::ConnectionReset
        );
        writer.wait_closed().await.unwrap();
        assert_eq!(reader.read(1).await.unwrap(), b"");
        let mut all = Vec::new();
        peer.read_to_end(&mut all).unwrap();
        assert_eq!(all, b"bye");
    });
}

#[test]
fn a_writer_that_is_dropped_sends_what_it_has_and_closes() {
    run(|_| async {
        let (_reader, writer, mut peer) = stream().await;
        writer.write(vec![b'x'; 5_000_000]);
        drop(writer);
        let reader = std::thread::spawn(move || {
            let mut all = Vec::new();
            peer.read_to_end(&mut all).unwrap();
            all.len()
        });
        until(|| reader.is_finished()).await;
        assert_eq!(reader.join().unwrap(), 5_000_000);
    });
}

#[test]
fn a_reader_that_is_dropped_has_the_rest_thrown_away() {
    run(|_| async {
        let (reader, writer, mut peer) = limited(100).await;
        drop(reader);
        let sender = std::thread::spawn(move || {
            peer.write_all(&[0; 1_000_000]).unwrap();
            peer
        });
        until(|| sender.is_finished()).await;
        drop(sender.join().unwrap());
        writer.write_eof();
    });
}

#[test]
fn a_server_runs_its_function_for_each_client() {
    run(|_| async {
        let server = start_server(
            async |mut reader, writer| {
                while let Some(line) = reader.next_line().await? {
                    writer.writelines(&[b"> ", &line[..]]);
                    writer.drain().await?;
                }
                Ok::<(), ReadError>(())
            },
            loopback(),
        )
        .options(|server| server.backlog(10))
        .await
        .unwrap();
        let address = server.local_addr().unwrap();
        let clients: Vec<_> = (0..10)
            .map(|number| {
                create_task(async move {
                    let (mut reader, writer) = open_connection(address).await.unwrap();
                    for round in 0..20 {
                        writer.write(format!("{number}.{round}\n").as_bytes());
                        let answer = reader.readline().await.unwrap();
                        assert_eq!(answer, format!("> {number}.{round}\n").as_bytes());
                    }
                    writer.write_eof();
                    assert!(reader.read_to_end().await.unwrap().is_empty());
                })
            })
            .collect();
        for client in clients {
            client.await.unwrap();
        }
        server.close();
        server.wait_closed().await;
    });
}

#[test]
fn a_client_function_that_fails_or_panics_is_reported_and_its_connection_closed() {
    run(|trace| async move {
        let server = start_server(
            async |mut reader: StreamReader, _writer| match &reader.readline().await?[..] {
                b"panic\n" => panic!("on purpose"),
                line => Err(std::io::Error::other(format!("{} bytes", line.len()))),
            },
            loopback(),
        )
        .await
        .unwrap();
        for order in ["panic\n", "fail\n"] {
            let (mut reader, writer) = open_connection(server.local_addr().unwrap()).await.unwrap();
            writer.write(order.as_bytes());
            assert_eq!(reader.read_to_end().await.unwrap(), b"");
        }
        server.close();
        server.wait_closed().await;
        let message = "report: Unhandled exception in client_connected_cb";
        assert_eq!(
            trace.take(),
            [
                format!("{message} (on purpose)"),
                format!("{message} (5 bytes)")
            ]
        );
    });
}

#[test]
fn unix_streams_do_the_same() {
    run(|_| async {
        let path = std::env::temp_dir().join(format!("callsoon-streams-{}", std::process::id()));
        let server = callsoon::start_unix_server(
            async |mut reader: StreamReader, writer: StreamWriter| {
                let all = reader.read_to_end().await?;
                writer.write(&all);
                writer.drain().await
            },
            &path,
        )
        .await
        .unwrap();
        let (mut reader, writer) = callsoon::open_unix_connection(&path).await.unwrap();
        assert_eq!(writer.peername().unwrap().path(), Some(path.as_path()));
        let bytes: Vec<_> = (0..2_000_000_u32).map(|n| (n % 251) as u8).collect();
        writer.write(&bytes);
        writer.write_eof();
        assert!(reader.read_to_end().await.unwrap() == bytes);
        server.close();
        server.wait_closed().await;
        assert!(!path.exists());
    });
}

#[test]
fn f3_a_writer_whose_peer_takes_everything_lets_others_run() {
    run(|_| async {
        let (_reader, writer, mut peer) = stream().await;
        let sink = std::thread::spawn(move || {
            let mut buffer = vec![0; 1 << 16];
            while peer.read(&mut buffer).is_ok_and(|count| count > 0) {}
        });
        let others = Rc::new(std::cell::Cell::new(false));
        let flag = others.clone();
        get_running_loop().call_soon(move || flag.set(true));
        let mut rounds = 0;
        while !others.get() {
            writer.write(b"x");
            writer.drain().await.unwrap();
            rounds += 1;
            assert!(rounds < 10_000, "nobody else runs");
        }
        drop(writer);
        until(|| sink.is_finished()).await;
        sink.join().unwrap();
    });
}

#[test]
fn a_fetch_that_is_given_up_after_it_was_woken_keeps_nothing_from_the_next_read() {
    run(|_| async {
        for forgotten in [false, true] {
            let (mut reader, _writer, mut peer) = stream().await;
            let mut buffer = [0; 8];
            let fetch = Waiting::begun(reader.read_into(&mut buffer));
            peer.write_all(b"line\n").unwrap();
            until(|| fetch.is_woken()).await;
            if forgotten {
                // What it has on the heap is lost, nothing else.
                forget(fetch);
            } else {
                drop(fetch);
            }
            assert_eq!(reader.readline().await.unwrap(), b"line\n");
            drop(peer);
            assert_eq!(reader.read_into(&mut [0; 8]).await.unwrap(), 0);
        }
    });
}

#[test]
fn fetching_and_deliveries_take_turns_and_no_byte_is_lost_or_moved() {
    run(|_| async {
        let (mut reader, _writer, mut peer) = stream().await;
        let expected: Vec<_> = (0..4_000_000_u32).map(|n| (n % 251) as u8).collect();
        let bytes = expected.clone();
        let sender = std::thread::spawn(move || {
            for piece in bytes.chunks(30_011) {
                peer.write_all(piece).unwrap();
            }
        });
        let mut all = Vec::new();
        let mut buffer = vec![0; 70_001];
        for round in 0_usize.. {
            let before = all.len();
            match round % 4 {
                0 => all.extend(reader.read(5000).await.unwrap()),
                1 => {
                    let mut fetch = Waiting::new(reader.read_into(&mut buffer));
                    let done = fetch.poll();
                    drop(fetch);
                    if let Some(count) = done {
                        all.extend(&buffer[..count.unwrap()]);
                    }
                    continue;
                }
                _ => {
                    let size = [1, 100, 70_001][round % 3];
                    let count = reader.read_into(&mut buffer[..size]).await.unwrap();
                    all.extend(&buffer[..count]);
                }
            }
            if all.len() == before {
                break;
            }
        }
        assert!(all == expected);
        sender.join().unwrap();
    });
}

#[test]
fn a_read_that_is_dropped_after_its_event_leaves_what_came_to_the_next() {
    run(|_| async {
        let (mut reader, _writer, mut peer) = stream().await;
        for round in 0..20_u8 {
            let mut buffer = [0; 8];
            let reading = Waiting::begun(reader.read_into(&mut buffer));
            peer.write_all(&[b'a' + round, b'\n']).unwrap();
            while !reading.is_woken() {
                yield_now().await;
            }
            drop(reading);
            assert_eq!(reader.readline().await.unwrap(), [b'a' + round, b'\n']);
        }
    });
}

#[test]
fn a_reader_waits_while_another_task_writes_more_than_the_peer_takes() {
    run(|_| async {
        let (mut reader, writer, mut peer) = stream().await;
        let big = vec![7; 8 << 20];
        let length = big.len();
        let reading = create_task(async move {
            let mut buffer = [0; 64];
            let mut got = Vec::new();
            while got.len() < 10 {
                let count = reader.read_into(&mut buffer).await.unwrap();
                got.extend_from_slice(&buffer[..count]);
            }
            got
        });
        yield_now().await;
        writer.write(&big);
        peer.write_all(b"01234").unwrap();
        let far = std::thread::spawn(move || {
            let mut rest = vec![0; length];
            peer.read_exact(&mut rest).unwrap();
            peer.write_all(b"56789").unwrap();
            peer
        });
        writer.drain().await.unwrap();
        assert_eq!(reading.await.unwrap(), b"0123456789");
        drop(far.join().unwrap());
    });
}
