//! Crates that ask for the traits of futures-io, futures-core and futures-sink run on this loop.

use std::io::{ErrorKind, Read as _, SeekFrom, Write as _};
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use async_tungstenite::tungstenite::Message;
use async_tungstenite::{accept_async, client_async};
use callsoon::fs::File;
use callsoon::net::{TcpListener, TcpStream, UnixStream};
use callsoon::stream::{ReadError, StreamReader, StreamWriter, join, open_connection};
use callsoon::{Queue, TaskError, create_task, get_running_loop, interval, sleep, yield_now};
use futures_lite::io::{self, AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use futures_rustls::rustls::pki_types::{PrivateKeyDer, ServerName};
use futures_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use futures_rustls::{TlsAcceptor, TlsConnector};
use futures_util::future::FusedFuture as _;
use futures_util::{SinkExt as _, StreamExt as _, stream};

use crate::support::{
    Scratch, complete, loopback, on_virtual_time, reset, settling, std_pair, stream_pair,
};

/// More than any socket buffer holds, so that both sides have to wait for each other.
const MUCH: usize = 5_000_000;

fn bytes() -> Vec<u8> {
    (0..MUCH).map(|place| (place % 251) as u8).collect()
}

/// The two ends of a connection as one stream, and the far socket.
async fn joined_and_stream() -> (callsoon::stream::Joined, TcpStream) {
    let (near, far) = std_pair();
    let (reader, writer) = open_connection(near).await.unwrap();
    (join(reader, writer), TcpStream::from_std(far).unwrap())
}

/// Sends much one way while it is sent back the other way, then closes.
async fn echoed_whole(
    near: impl AsyncRead + AsyncWrite + Unpin + 'static,
    far: impl AsyncRead + AsyncWrite + Unpin + 'static,
) {
    let echo = create_task(async move {
        let (reader, mut writer) = io::split(far);
        let count = io::copy(reader, &mut writer).await.unwrap();
        writer.close().await.unwrap();
        count
    });
    let (mut reader, mut writer) = io::split(near);
    let sending = create_task(async move {
        writer.write_all(&bytes()).await.unwrap();
        writer.close().await.unwrap();
    });
    let mut back = Vec::new();
    reader.read_to_end(&mut back).await.unwrap();
    assert!(back == bytes(), "{} bytes", back.len());
    sending.await.unwrap();
    assert_eq!(echo.await.unwrap(), MUCH as u64);
}

#[test]
fn sockets_and_joined_streams_echo_megabytes_by_futures_io() {
    settling(|_, _| async {
        let (near, far) = stream_pair();
        echoed_whole(near, far).await;
        let (near, far) = UnixStream::pair().unwrap();
        echoed_whole(near, far).await;
        let (near, far) = joined_and_stream().await;
        echoed_whole(near, far).await;
    });
}

#[test]
fn halves_and_references_read_parts_and_the_end_and_write_in_pieces() {
    async fn check(mut reader: impl AsyncRead + Unpin, mut writer: impl AsyncWrite + Unpin) {
        let pieces = [std::io::IoSlice::new(b"he"), std::io::IoSlice::new(b"llo")];
        assert_eq!(writer.write_vectored(&pieces).await.unwrap(), 5);
        writer.flush().await.unwrap();
        let mut part = [0; 3];
        reader.read_exact(&mut part).await.unwrap();
        assert_eq!(&part, b"hel");
        writer.close().await.unwrap();
        let mut rest = String::new();
        reader.read_to_string(&mut rest).await.unwrap();
        assert_eq!(rest, "lo");
        assert_eq!(reader.read(&mut part).await.unwrap(), 0);
        let late = writer.write(b"x").await;
        assert_eq!(late.unwrap_err().kind(), ErrorKind::BrokenPipe);
    }
    settling(|_, _| async {
        let (near, far) = stream_pair();
        check(&near, &far).await;
        let (near, far) = stream_pair();
        check(near.split().0, far.split().1).await;
        let (near, far) = stream_pair();
        let (reader, _writer) = near.into_split();
        check(reader, far.into_split().1).await;
        let (near, far) = std_pair();
        let (reader, _writer) = open_connection(near).await.unwrap();
        let (_reader, writer) = open_connection(far).await.unwrap();
        check(reader, writer).await;
    });
}

#[test]
fn a_reset_connection_is_an_error_of_both_directions() {
    settling(|_, _| async {
        let (near, far) = std_pair();
        let mut near = TcpStream::from_std(near).unwrap();
        reset(far);
        let read = AsyncReadExt::read(&mut near, &mut [0; 8]).await;
        assert_eq!(read.unwrap_err().kind(), ErrorKind::ConnectionReset);
        let written = AsyncWriteExt::write(&mut near, b"x").await;
        assert_eq!(written.unwrap_err().kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn lines_of_a_stream_are_read_by_its_buffer() {
    settling(|_, _| async {
        let (near, mut peer) = std_pair();
        let (reader, _writer) = open_connection(near).await.unwrap();
        peer.write_all(b"one\ntwo\nthree").unwrap();
        drop(peer);
        let lines: Vec<_> = AsyncBufReadExt::lines(reader)
            .map(Result::unwrap)
            .collect()
            .await;
        assert_eq!(lines, ["one", "two", "three"]);
    });
}

#[test]
fn copy_pumps_a_stream_into_a_slow_peer() {
    settling(|_, _| async {
        let (source, mut feed) = std_pair();
        let (drain, mut sink) = std_pair();
        let feeding = std::thread::spawn(move || feed.write_all(&bytes()).unwrap());
        let draining = std::thread::spawn(move || {
            let mut all = Vec::new();
            sink.read_to_end(&mut all).unwrap();
            all == bytes()
        });
        let (reader, _keeps): (StreamReader, StreamWriter) = open_connection(source).await.unwrap();
        let (_keeps_too, mut writer) = open_connection(drain).await.unwrap();
        assert_eq!(io::copy(reader, &mut writer).await.unwrap(), MUCH as u64);
        assert_eq!(writer.write_buffer_size(), 0, "copy flushes");
        AsyncWriteExt::close(&mut writer).await.unwrap();
        feeding.join().unwrap();
        assert!(draining.join().unwrap());
    });
}

#[test]
fn async_tungstenite_echoes_messages_of_all_sizes() {
    settling(|_, _| async {
        let listener = TcpListener::bind(loopback()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = create_task(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut socket = accept_async(stream).await.unwrap();
            let mut count = 0;
            while let Some(message) = socket.next().await {
                let message = message.unwrap();
                if message.is_text() || message.is_binary() {
                    count += 1;
                    socket.send(message).await.unwrap();
                }
            }
            count
        });
        let (reader, writer) = open_connection(address).await.unwrap();
        let stream = join(reader, writer);
        let (mut socket, _) = client_async("ws://localhost/echo", stream).await.unwrap();
        let large = vec![7; 1_000_000];
        for message in [
            Message::text("hello"),
            Message::text(""),
            Message::binary(large),
        ] {
            socket.send(message.clone()).await.unwrap();
            assert_eq!(socket.next().await.unwrap().unwrap(), message);
        }
        socket.close(None).await.unwrap();
        while let Some(message) = socket.next().await {
            assert!(message.unwrap().is_close());
        }
        assert_eq!(server.await.unwrap(), 3);
    });
}

/// A server's and a client's settings that trust each other.
fn tls() -> (TlsAcceptor, TlsConnector) {
    let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(issued.cert.der().clone()).unwrap();
    let key = PrivateKeyDer::try_from(issued.signing_key.serialize_der()).unwrap();
    let server = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![issued.cert.der().clone()], key)
        .unwrap();
    let client = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Arc::new(server).into(), Arc::new(client).into())
}

#[test]
fn futures_rustls_shakes_hands_and_echoes_megabytes() {
    settling(|_, _| async {
        let (acceptor, connector) = tls();
        let (near, far) = joined_and_stream().await;
        let name = ServerName::try_from("localhost").unwrap();
        let accepting = create_task(acceptor.accept(far));
        let client = connector.connect(name, near).await.unwrap();
        let server = accepting.await.unwrap().unwrap();
        echoed_whole(client, server).await;
    });
}

#[test]
fn futures_rustls_refuses_a_name_that_is_not_in_the_certificate() {
    settling(|_, _| async {
        let (acceptor, connector) = tls();
        let (near, far) = joined_and_stream().await;
        let name = ServerName::try_from("example.org").unwrap();
        let accepting = create_task(acceptor.accept(far));
        assert!(connector.connect(name, near).await.is_err());
        assert!(accepting.await.unwrap().is_err());
    });
}

#[test]
fn a_queue_is_a_stream_until_it_is_shut_down_and_a_sink_that_waits_for_room() {
    on_virtual_time(|_, event_loop| {
        complete(&event_loop, async {
            let queue = Rc::new(Queue::new(2));
            let putting = create_task({
                let queue = Rc::clone(&queue);
                async move {
                    let mut items = stream::iter(0..10).map(Ok);
                    queue.puts().send_all(&mut items).await.unwrap();
                    queue.shutdown(false);
                    queue.puts().send(10).await.unwrap_err().0
                }
            });
            yield_now().await;
            assert!(queue.is_full());
            let items: Vec<_> = queue.items().collect().await;
            assert_eq!(items, (0..10).collect::<Vec<_>>());
            assert_eq!(putting.await.unwrap(), 10, "the item comes back");
        });
    });
}

#[test]
fn a_stream_of_a_queue_that_is_dropped_loses_no_item() {
    on_virtual_time(|_, event_loop| {
        complete(&event_loop, async {
            let queue = Rc::new(Queue::new(0));
            let mut first = Box::pin(queue.items());
            let other = create_task({
                let queue = Rc::clone(&queue);
                async move { queue.get().await.unwrap() }
            });
            assert!(futures_util::poll!(first.next()).is_pending());
            yield_now().await;
            queue.put_nowait("item").unwrap();
            drop(first);
            assert_eq!(other.await.unwrap(), "item");
        });
    });
}

#[test]
fn ticks_and_items_are_one_stream_in_the_order_of_their_times() {
    on_virtual_time(|trace, event_loop| {
        complete(&event_loop, async {
            let queue = Rc::new(Queue::new(0));
            let clock = get_running_loop();
            let begin = clock.time();
            let putting = create_task({
                let queue = Rc::clone(&queue);
                async move {
                    for delay in [1_500, 1_000] {
                        callsoon::sleep(Duration::from_millis(delay)).await;
                        queue.put_nowait(delay).unwrap();
                    }
                    queue.shutdown(false);
                }
            });
            let ticks = interval(Duration::from_secs(1)).take(3);
            let ticks = ticks.map(|_| "tick".to_owned());
            let items = queue.items().map(|item| format!("item {item}"));
            let mut both = stream::select(ticks, items);
            while let Some(what) = both.next().await {
                trace.push(format!("{:?} {what}", clock.time() - begin));
            }
            putting.await.unwrap();
        });
        assert_eq!(
            trace.take(),
            [
                "0ns tick",
                "1s tick",
                "1.5s item 1500",
                "2s tick",
                "2.5s item 1000"
            ]
        );
    });
}

#[test]
fn a_listener_is_a_stream_of_clients() {
    settling(|_, _| async {
        let listener = TcpListener::bind(loopback()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let clients = [
            TcpStream::connect(address).await.unwrap(),
            TcpStream::connect(address).await.unwrap(),
        ];
        let accepted: Vec<_> = (&listener).take(2).map(Result::unwrap).collect().await;
        let names: Vec<_> = accepted.iter().map(|(_, peer)| *peer).collect();
        assert_eq!(names, clients.map(|client| client.local_addr().unwrap()));
    });
}

#[test]
fn streams_of_lines_end_after_the_last_line_and_after_one_that_is_too_long() {
    on_virtual_time(|_, event_loop| {
        complete(&event_loop, async {
            let text = |result: Result<Vec<u8>, ReadError>| match result {
                Ok(line) => String::from_utf8(line).unwrap(),
                Err(ReadError::LimitOverrun(_)) => "too long".to_owned(),
                Err(other) => panic!("{other}"),
            };
            let limit = NonZeroUsize::new(4).unwrap();

            let (mut reader, feeder) = StreamReader::unconnected(limit);
            feeder.feed_data(b"one\nmuch too long\nnever").unwrap();
            let lines = StreamReader::lines(&mut reader).map(text);
            assert_eq!(lines.collect::<Vec<_>>().await, ["one\n", "too long"]);

            let (reader, feeder) = StreamReader::unconnected(NonZeroUsize::MAX);
            feeder.feed_data(b"one\nmuch too long\nnever").unwrap();
            let lines = callsoon::lines(reader).limit(limit).map(text);
            assert_eq!(lines.collect::<Vec<_>>().await, ["one\n", "too long"]);

            let (reader, feeder) = StreamReader::unconnected(limit);
            feeder.feed_data(b"one\ntwo").unwrap();
            drop(feeder);
            let mut lines = callsoon::lines(reader).map(text);
            assert_eq!(lines.by_ref().collect::<Vec<_>>().await, ["one\n", "two"]);
            assert_eq!(lines.next().await, None);
        });
    });
}

#[test]
fn a_file_is_read_and_written_by_the_traits_of_futures_io() {
    settling(|_, _| async {
        let (source, target) = (Scratch::new(b"one\ntwo"), Scratch::new(b""));
        let mut options = std::fs::OpenOptions::new();
        let options = options.write(true).clone();
        let mut copy = File::open_with(target.path(), options).await.unwrap();
        let mut file = File::open(source.path()).await.unwrap();
        assert_eq!(io::copy(&mut file, &mut copy).await.unwrap(), 7);
        copy.close().await.unwrap();
        assert_eq!(std::fs::read(target.path()).unwrap(), b"one\ntwo");
        file.set_position(0);
        let end = io::AsyncSeekExt::seek(&mut file, SeekFrom::End(-3)).await;
        assert_eq!((end.unwrap(), file.position()), (4, 4));
        let begin = io::AsyncSeekExt::seek(&mut file, SeekFrom::Current(-4)).await;
        assert_eq!(begin.unwrap(), 0);
        let lines: Vec<_> = file.lines().map(Result::unwrap).collect().await;
        assert_eq!(lines, ["one", "two"]);
    });
}

#[test]
fn select_in_a_loop_takes_tasks_and_sleeps_as_they_are_and_polls_none_that_has_ended() {
    on_virtual_time(|trace, event_loop| {
        complete(&event_loop, async {
            let ms = Duration::from_millis;
            let mut quick = create_task(async { "no drop" });
            let mut slow = create_task(async move {
                sleep(ms(2)).await;
                String::from("drop")
            });
            let (mut now, mut later) = (sleep(Duration::ZERO), sleep(ms(3)));
            loop {
                futures_util::select! {
                    result = quick => trace.push(format!("quick: {}", result.unwrap())),
                    result = slow => trace.push(format!("slow: {}", result.unwrap())),
                    () = now => trace.push("now"),
                    () = later => trace.push("later"),
                    complete => break,
                }
            }
        });
        // The macro begins at a random branch, so what is ready at once comes in any order.
        let mut lines = trace.take();
        lines[..2].sort();
        assert_eq!(lines, ["now", "quick: no drop", "slow: drop", "later"]);
    });
}

#[test]
fn a_task_has_terminated_when_its_result_was_taken_and_not_when_it_was_only_given_up() {
    on_virtual_time(|_, event_loop| {
        complete(&event_loop, async {
            let mut failed = create_task(async { std::panic::resume_unwind(Box::new("no")) });
            let mut cancelled = create_task(std::future::pending::<()>());
            let mut read = create_task(async { 1 });
            cancelled.cancel();
            while !(failed.done() && cancelled.done() && read.done()) {
                yield_now().await;
            }
            // From here on nobody wants a report of the panic; the result is still there.
            assert!(!failed.cancel());
            let ended = [failed.is_terminated(), cancelled.is_terminated()];
            assert_eq!(ended, [false, false]);
            let result: Result<(), _> = (&mut failed).await;
            assert!(matches!(result, Err(TaskError::Panicked(_))));
            assert!(matches!(
                (&mut cancelled).await,
                Err(TaskError::Cancelled(_))
            ));
            assert_eq!(read.result().unwrap().unwrap(), 1);
            let ended = [failed.is_terminated(), cancelled.is_terminated()];
            assert_eq!(ended, [true, true]);
            assert!(read.is_terminated());
        });
    });
}

#[test]
fn an_owned_stream_of_a_queue_waits_in_its_place_loses_nothing_and_ends_with_it() {
    on_virtual_time(|trace, event_loop| {
        complete(&event_loop, async {
            let queue = Rc::new(Queue::new(0));
            let mut items = Rc::clone(&queue).into_items();
            let other = create_task({
                let queue = Rc::clone(&queue);
                async move { queue.get().await.unwrap() }
            });
            // It waits before the other getter, and is set aside meanwhile.
            assert!(crate::support::poll_once(&mut items.next()).await.is_none());
            yield_now().await;
            (1..5).for_each(|n| queue.put_nowait(n).unwrap());
            trace.push(items.next().await.unwrap());
            trace.push(other.await.unwrap());
            let given_up = Rc::clone(&queue).into_items();
            drop(given_up);
            trace.push(items.next().await.unwrap());
            drop(items);
            assert_eq!(queue.qsize(), 1);
            let mut items = queue.into_items();
            items.queue().shutdown(false);
            trace.push(items.next().await.unwrap());
            assert!(items.next().await.is_none() && items.next().await.is_none());
        });
        trace.expect(["1", "2", "3", "4"]);
    });
}

#[test]
fn the_items_of_a_queue_show_whether_they_have_ended() {
    on_virtual_time(|_, event_loop| {
        complete(&event_loop, async {
            let queue = Rc::new(Queue::new(2));
            queue.put_nowait(1).unwrap();
            queue.shutdown(false);
            let mut items = queue.into_items();
            assert_eq!(format!("{items:?}"), "OwnedItems { ended: false, .. }");
            assert_eq!(items.next().await, Some(1));
            assert_eq!(items.next().await, None);
            assert_eq!(format!("{items:?}"), "OwnedItems { ended: true, .. }");
        });
    });
}
