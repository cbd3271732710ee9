//! TCP connections and listeners, as their users see them.

use std::future::{Future, pending};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{
    Ipv6Addr, Shutdown, SocketAddr, TcpListener as StdListener, TcpStream as StdStream,
};
use std::pin::pin;
use std::rc::Rc;
use std::task::Context;
use std::thread;

use callsoon::net::{ListenOptions, TcpListener, TcpStream};
use callsoon::{EventLoop, Task, create_task, open_connection, yield_now};

use crate::support::{
    CountingWaker, audited, complete, counted_fds, fill, in_a_loop, loopback, on_real_time,
    refusing, std_pair, stream_and_peer, stream_pair, watched,
};

/// More than any socket buffer holds, so that both sides have to wait for each other.
const TEN_MEGABYTES: usize = 10_000_000;

/// The byte at a place of the test stream: a period that divides no power of two, so that shifted data does not match.
fn byte_at(place: usize) -> u8 {
    (place % 251) as u8
}

fn test_bytes(count: usize) -> Vec<u8> {
    (0..count).map(byte_at).collect()
}

/// Reads to the end and checks every byte.
async fn read_test_bytes(stream: &TcpStream, buffer_size: usize) -> usize {
    let mut buffer = vec![0; buffer_size];
    let mut total = 0;
    loop {
        let count = stream.read(&mut buffer).await.unwrap();
        if count == 0 {
            return total;
        }
        for (offset, &byte) in buffer[..count].iter().enumerate() {
            assert_eq!(byte, byte_at(total + offset), "at {}", total + offset);
        }
        total += count;
    }
}

#[test]
fn two_tasks_of_one_loop_talk_to_each_other() {
    on_real_time(|_, event_loop| {
        complete(&event_loop, async {
            let listener = TcpListener::bind(loopback()).await.unwrap();
            let address = listener.local_addr().unwrap();
            let server = create_task(async move {
                let (stream, peer) = listener.accept().await.unwrap();
                assert_eq!(peer, stream.peer_addr().unwrap());
                let mut buffer = [0; 64];
                while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                    stream.write_all(&buffer[..count]).await.unwrap();
                }
            });
            let client = TcpStream::connect(address).await.unwrap();
            assert_eq!(client.peer_addr().unwrap(), address);
            for round in 0..1000_u32 {
                client.write_all(&round.to_be_bytes()).await.unwrap();
                let mut answer = [0; 4];
                client.read_exact(&mut answer).await.unwrap();
                assert_eq!(u32::from_be_bytes(answer), round);
            }
            drop(client);
            server.await.unwrap();
        });
        assert_eq!(event_loop.metrics().sources, 0);
    });
}

/// Three tasks, in the order of their creation.
fn three<F: Future<Output = ()> + 'static>(task: impl Fn(&'static str) -> F) -> [Task<()>; 3] {
    ["first", "second", "third"].map(|name| create_task(task(name)))
}

#[test]
fn several_readers_of_one_socket_are_served_in_the_order_in_which_they_came() {
    on_real_time(|trace, event_loop| {
        let t = trace.clone();
        complete(&event_loop, async move {
            let (stream, mut peer) = stream_and_peer();
            let stream = Rc::new(stream);
            let readers = three(|name| {
                let (stream, t) = (Rc::clone(&stream), t.clone());
                async move {
                    let mut byte = [0];
                    stream.read_exact(&mut byte).await.unwrap();
                    t.push(format!("{name} reads {}", byte[0] as char));
                }
            });
            yield_now().await;
            peer.write_all(b"abc").unwrap();
            for reader in readers {
                reader.await.unwrap();
            }
        });
        trace.expect(["first reads a", "second reads b", "third reads c"]);
    });
}

#[test]
fn readers_who_find_nothing_left_wait_on_in_their_order() {
    on_real_time(|trace, event_loop| {
        let t = trace.clone();
        complete(&event_loop, async move {
            let (stream, mut peer) = stream_and_peer();
            let stream = Rc::new(stream);
            let readers = three(|name| {
                let (stream, t) = (Rc::clone(&stream), t.clone());
                async move {
                    let mut buffer = [0; 8];
                    let count = stream.read(&mut buffer).await.unwrap();
                    t.push(format!("{name} reads {count}"));
                }
            });
            yield_now().await;
            for reader in readers {
                peer.write_all(b"x").unwrap();
                reader.await.unwrap();
            }
        });
        trace.expect(["first reads 1", "second reads 1", "third reads 1"]);
    });
}

#[test]
fn several_acceptors_of_one_listener_get_one_client_each() {
    on_real_time(|trace, event_loop| {
        let t = trace.clone();
        complete(&event_loop, async move {
            let listener = Rc::new(TcpListener::bind(loopback()).await.unwrap());
            let address = listener.local_addr().unwrap();
            let acceptors = three(|name| {
                let (listener, t) = (Rc::clone(&listener), t.clone());
                async move {
                    let (stream, _) = listener.accept().await.unwrap();
                    let mut byte = [0];
                    stream.read_exact(&mut byte).await.unwrap();
                    t.push(format!("{name} serves {}", byte[0]));
                }
            });
            yield_now().await;
            for (number, acceptor) in acceptors.into_iter().enumerate() {
                let mut client = StdStream::connect(address).unwrap();
                client.write_all(&[number as u8]).unwrap();
                acceptor.await.unwrap();
            }
        });
        trace.expect(["first serves 0", "second serves 1", "third serves 2"]);
    });
}

#[test]
fn a_reader_that_gives_up_does_not_keep_the_others_waiting() {
    in_a_loop(async || {
        let (stream, mut peer) = stream_and_peer();
        let stream = Rc::new(stream);
        let reader = |stream: Rc<TcpStream>| async move {
            let mut byte = [0];
            stream.read_exact(&mut byte).await.unwrap();
            byte[0]
        };
        let first = create_task(reader(Rc::clone(&stream)));
        let second = create_task(reader(Rc::clone(&stream)));
        yield_now().await;
        peer.write_all(b"z").unwrap();
        // The event wakes both; the first is cancelled before it can use that.
        first.cancel();
        assert!(first.await.is_err());
        assert_eq!(second.await.unwrap(), b'z');
    });
}

#[test]
fn the_halves_of_a_stream_work_side_by_side() {
    in_a_loop(async || {
        let (near, far) = stream_pair();
        let echo = create_task(async move {
            let (reader, writer) = far.split();
            let mut buffer = [0; 1000];
            while let Ok(count @ 1..) = reader.read(&mut buffer).await {
                writer.write_all(&buffer[..count]).await.unwrap();
            }
            writer.shutdown().unwrap();
        });
        let (reader, writer) = near.into_split();
        let sender = create_task(async move {
            writer
                .write_all(&test_bytes(TEN_MEGABYTES / 10))
                .await
                .unwrap();
            // Dropping the half is what ends the writing, and with it the echo.
        });
        assert_eq!(
            read_test_bytes(reader.stream(), 4096).await,
            TEN_MEGABYTES / 10
        );
        sender.await.unwrap();
        echo.await.unwrap();
    });
}

#[test]
fn dropping_the_owned_write_half_ends_the_writing_and_nothing_else() {
    in_a_loop(async || {
        let (near, far) = stream_pair();
        let (reader, writer) = near.into_split();
        writer.write_all(b"last words").await.unwrap();
        drop(writer);
        let mut heard = [0; 10];
        far.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"last words");
        assert_eq!(far.read(&mut heard).await.unwrap(), 0);
        far.write_all(b"answer").await.unwrap();
        let mut answer = [0; 6];
        reader.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"answer");
    });
}

#[test]
fn dropping_the_owned_read_half_does_not_end_the_writing() {
    in_a_loop(async || {
        let (near, far) = stream_pair();
        let (reader, writer) = near.into_split();
        drop(reader);
        writer.write_all(b"still here").await.unwrap();
        let mut heard = [0; 10];
        far.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"still here");
    });
}

#[test]
fn read_exact_says_unexpected_eof_and_keeps_what_it_read() {
    in_a_loop(async || {
        let (stream, mut peer) = stream_and_peer();
        peer.write_all(b"half").unwrap();
        drop(peer);
        let mut buffer = *b"--------";
        let error = stream.read_exact(&mut buffer).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
        assert_eq!(&buffer, b"half----");
        stream.read_exact(&mut []).await.unwrap();
    });
}

#[test]
fn an_empty_read_gives_zero_at_once_and_is_no_end_of_file() {
    in_a_loop(async || {
        let (stream, mut peer) = stream_and_peer();
        assert_eq!(stream.read(&mut []).await.unwrap(), 0);
        peer.write_all(b"x").unwrap();
        let mut byte = [0];
        stream.read_exact(&mut byte).await.unwrap();
        assert_eq!(&byte, b"x");
        stream.write_all(b"").await.unwrap();
    });
}

#[test]
fn e3_ten_megabytes_go_both_ways_with_a_fin_at_the_end() {
    in_a_loop(async || {
        let (one, other) = stream_pair();
        let both_ways = |stream: TcpStream, buffer_size| async move {
            let (reader, writer) = stream.into_split();
            let sender = create_task(async move {
                writer.write_all(&test_bytes(TEN_MEGABYTES)).await.unwrap();
            });
            let received = read_test_bytes(reader.stream(), buffer_size).await;
            sender.await.unwrap();
            received
        };
        let one = create_task(both_ways(one, 65_536));
        let other = create_task(both_ways(other, 10_007));
        assert_eq!(one.await.unwrap(), TEN_MEGABYTES);
        assert_eq!(other.await.unwrap(), TEN_MEGABYTES);
    });
}

#[test]
fn e3_a_peer_that_has_finished_writing_still_gets_all_that_we_write() {
    in_a_loop(async || {
        let (stream, mut peer) = stream_and_peer();
        let listener = thread::spawn(move || {
            peer.shutdown(Shutdown::Write).unwrap();
            let mut heard = Vec::new();
            peer.read_to_end(&mut heard).unwrap();
            heard
        });
        assert_eq!(stream.read(&mut [0; 16]).await.unwrap(), 0);
        stream.write_all(&test_bytes(TEN_MEGABYTES)).await.unwrap();
        drop(stream);
        assert!(listener.join().unwrap() == test_bytes(TEN_MEGABYTES));
    });
}

#[test]
fn e3_writing_after_shutdown_is_an_error_and_a_second_shutdown_is_none() {
    in_a_loop(async || {
        let (stream, _peer) = stream_and_peer();
        stream.shutdown(Shutdown::Write).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let error = stream.write_all(b"too late").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        let error = stream.try_write(b"too late").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn e3_shutdown_ends_a_write_that_waits() {
    in_a_loop(async || {
        let (stream, _peer) = stream_and_peer();
        fill(&stream);
        let stream = Rc::new(stream);
        let writer = create_task({
            let stream = Rc::clone(&stream);
            async move { stream.write_all(b"no room").await }
        });
        yield_now().await;
        assert!(!writer.done());
        stream.shutdown(Shutdown::Both).unwrap();
        let error = writer.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn try_read_takes_what_is_there_and_never_waits() {
    in_a_loop(async || {
        let (stream, mut peer) = stream_and_peer();
        let mut buffer = [0; 8];
        let error = stream.try_read(&mut buffer).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        peer.write_all(b"abcd").unwrap();
        // Reading one byte the waiting way proves that the event is in.
        stream.read_exact(&mut buffer[..1]).await.unwrap();
        assert_eq!(stream.try_read(&mut buffer).unwrap(), 3);
        assert_eq!(&buffer[..3], b"bcd");
        let error = stream.try_read(&mut buffer).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        // What comes after a WouldBlock is a new event.
        peer.write_all(b"e").unwrap();
        assert_eq!(stream.read(&mut buffer).await.unwrap(), 1);
        drop(peer);
        assert_eq!(stream.read(&mut buffer).await.unwrap(), 0);
        assert_eq!(stream.try_read(&mut buffer).unwrap(), 0);
    });
}

#[test]
fn try_write_stops_at_a_full_buffer_and_goes_on_when_the_peer_reads() {
    in_a_loop(async || {
        let (stream, mut peer) = stream_and_peer();
        let total = fill(&stream);
        assert!(total > 0);
        let error = stream.try_write(b"x").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        let drain = thread::spawn(move || {
            let mut heard = vec![0; total + 1];
            peer.read_exact(&mut heard).unwrap();
            heard[total]
        });
        assert_eq!(stream.write(b"y").await.unwrap(), 1);
        assert_eq!(drain.join().unwrap(), b'y');
    });
}

#[test]
fn a_waker_of_another_runtime_is_woken_once_and_the_newest_one_wins() {
    in_a_loop(async || {
        let (stream, mut peer) = stream_and_peer();
        let (older, old_waker) = CountingWaker::new();
        let (newer, new_waker) = CountingWaker::new();
        let mut buffer = [0; 8];
        let mut read = pin!(stream.read(&mut buffer));
        assert!(
            read.as_mut()
                .poll(&mut Context::from_waker(&old_waker))
                .is_pending()
        );
        assert!(
            read.as_mut()
                .poll(&mut Context::from_waker(&new_waker))
                .is_pending()
        );
        peer.write_all(b"x").unwrap();
        while newer.wakes() == 0 {
            yield_now().await;
        }
        assert_eq!((older.wakes(), newer.wakes()), (0, 1));
        assert_eq!(read.await.unwrap(), 1);
    });
}

#[test]
fn a_blocking_socket_is_made_non_blocking() {
    in_a_loop(async || {
        let (ours, peer) = std_pair();
        ours.set_nonblocking(false).unwrap();
        let stream = TcpStream::from_std(ours).unwrap();
        // A blocking socket would hang here instead of filling up.
        fill(&stream);
        let error = stream.try_write(b"x").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        drop(peer);
    });
}

#[test]
fn data_that_came_before_the_registration_is_read() {
    in_a_loop(async || {
        let (ours, mut peer) = std_pair();
        peer.write_all(b"early").unwrap();
        drop(peer);
        let stream = TcpStream::from_std(ours).unwrap();
        let mut buffer = [0; 16];
        assert_eq!(stream.read(&mut buffer).await.unwrap(), 5);
        assert_eq!(stream.read(&mut buffer).await.unwrap(), 0);
    });
}

#[test]
fn a_second_listener_on_the_same_port_needs_reuse_port_on_both() {
    on_real_time(|_, event_loop| {
        complete(&event_loop, async {
            let plain = TcpListener::bind(loopback()).await.unwrap();
            let error = TcpListener::bind(plain.local_addr().unwrap())
                .await
                .unwrap_err();
            assert_eq!(error.kind(), ErrorKind::AddrInUse);
            let shared = ListenOptions::new().reuse_port(true);
            let first = shared.bind(loopback()).unwrap();
            let second = shared.bind(first.local_addr().unwrap()).unwrap();
            assert_eq!(first.local_addr().unwrap(), second.local_addr().unwrap());
        });
        assert_eq!(event_loop.metrics().sources, 0);
    });
}

#[test]
fn ipv6_works_and_takes_no_ipv4_clients() {
    in_a_loop(async || {
        let any = |port| SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
        if TcpListener::bind(any(0)).await.is_err() {
            eprintln!("skipped: this system has no IPv6");
            return;
        }
        // No other socket has the port in IPv4, where none listens. In IPv6 another process may have it, but not every
        // time.
        let mut nobody = Vec::new();
        let listener = loop {
            nobody.push(refusing());
            let (_, address) = nobody.last().unwrap();
            let bound = TcpListener::bind(any(address.port())).await;
            assert!(bound.is_ok() || nobody.len() < 20, "it takes IPv4's port");
            if let Ok(listener) = bound {
                break listener;
            }
        };
        let port = listener.local_addr().unwrap().port();
        let client = TcpStream::connect((Ipv6Addr::LOCALHOST, port))
            .await
            .unwrap();
        let (_, peer) = listener.accept().await.unwrap();
        assert_eq!(peer, client.local_addr().unwrap());
        let error = TcpStream::connect(("127.0.0.1", port)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn nodelay_is_the_socket_s_own() {
    in_a_loop(async || {
        let listener = TcpListener::bind(loopback()).await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        client.set_nodelay(true).unwrap();
        assert!(client.nodelay().unwrap());
        client.set_nodelay(false).unwrap();
        assert!(!client.nodelay().unwrap());
    });
}

#[test]
fn a_stream_outlives_its_loop_and_says_so() {
    audited(watched(|| {
        let before = counted_fds();
        let event_loop = EventLoop::new().unwrap();
        let (stream, listener, peer) = complete(&event_loop, async {
            let (stream, peer) = stream_and_peer();
            (stream, TcpListener::bind(loopback()).await.unwrap(), peer)
        });
        drop(event_loop);
        assert_eq!(counted_fds(), before + 3);
        let other = EventLoop::new().unwrap();
        complete(&other, async {
            let error = stream.read(&mut [0]).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotConnected);
            let error = stream.write(b"x").await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotConnected);
            let error = stream.try_read(&mut [0]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotConnected);
            let error = listener.accept().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotConnected);
        });
        drop((stream, listener, peer, other));
        assert_eq!(counted_fds(), before);
    }));
}

#[test]
fn a_closed_listener_refuses_clients_and_frees_its_entry() {
    on_real_time(|_, event_loop| {
        complete(&event_loop, async {
            let listener = TcpListener::bind(loopback()).await.unwrap();
            let address = listener.local_addr().unwrap();
            let acceptor = create_task(async move {
                let _ = listener.accept().await;
                pending::<()>().await;
            });
            yield_now().await;
            acceptor.cancel();
            assert!(acceptor.await.is_err());
            let error = StdStream::connect(address).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
            StdListener::bind(address).unwrap();
        });
        assert_eq!(event_loop.metrics().sources, 0);
    });
}

#[test]
fn a_connection_goes_on_as_a_reader_and_a_writer_with_what_has_arrived() {
    on_real_time(|_, event_loop| {
        complete(&event_loop, async {
            let (near, far) = stream_pair();
            near.write_all(b"question\n").await.unwrap();
            let mut word = [0; 4];
            far.read_exact(&mut word).await.unwrap();
            let (mut reader, writer) = open_connection(far).await.unwrap();
            assert_eq!(reader.readline().await.unwrap(), b"tion\n");
            writer.write(b"answer\n");
            writer.drain().await.unwrap();
            let mut answer = [0; 7];
            near.read_exact(&mut answer).await.unwrap();
            assert_eq!(&answer, b"answer\n");
            writer.close();
            writer.wait_closed().await.unwrap();
            assert_eq!(near.read(&mut answer).await.unwrap(), 0);
        });
    });
}
