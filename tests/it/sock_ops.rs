//! `sock_recv` and the other `sock_*`: operations on sockets that the user keeps.

#![allow(unsafe_code)]

use std::io::ErrorKind;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::AsRawFd as _;
use std::rc::Rc;
use std::time::Duration;

use callsoon::net::ConnectError;
use callsoon::{EventLoop, create_task, get_running_loop, yield_now};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::support::{
    Trace, Waiting, audited, complete, counted_fds, event_polls, in_a_loop, is_blocking, loopback,
    make_blocking, on_real_time, os_error, real_loop, refusing, turns_in, virtual_loop, watched,
};

fn pair_of(kind: Type) -> (Socket, Socket) {
    let (one, other) = Socket::pair(Domain::UNIX, kind, None).unwrap();
    one.set_nonblocking(true).unwrap();
    other.set_nonblocking(true).unwrap();
    (one, other)
}

fn pair() -> (Socket, Socket) {
    pair_of(Type::STREAM)
}

/// A listening socket and its address.
fn listening(backlog: i32) -> (Socket, SockAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket.bind(&loopback().into()).unwrap();
    socket.listen(backlog).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

fn client() -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

fn dup_onto(descriptor: &Socket, number: i32) {
    // SAFETY: the call takes numbers. The test that uses it replaces a descriptor whose owner copes: a socket that
    // stays a socket.
    let result = unsafe { libc::dup2(descriptor.as_raw_fd(), number) };
    assert_eq!(result, number);
}

#[test]
fn what_is_there_is_received_at_once_and_the_rest_is_waited_for() {
    in_a_loop(async || {
        let handle = get_running_loop();
        let (near, far) = pair();
        far.send(b"hello").unwrap();
        assert_eq!(handle.sock_recv(&near, 100).await.unwrap(), b"hello");
        let receiver = create_task(async move {
            let handle = get_running_loop();
            let mut buffer = [0; 3];
            let count = handle.sock_recv_into(&near, &mut buffer).await.unwrap();
            let rest = handle.sock_recv(&near, 100).await.unwrap();
            let end = handle.sock_recv(&near, 100).await.unwrap();
            (count, buffer, rest, end)
        });
        yield_now().await;
        assert_eq!(handle.metrics().sources, 1);
        far.send(b"later").unwrap();
        drop(far);
        let (count, buffer, rest, end) = receiver.await.unwrap();
        assert_eq!((count, &buffer), (3, b"lat"));
        assert_eq!((&rest[..], &end[..]), (&b"er"[..], &b""[..]));
        assert_eq!(handle.metrics().sources, 0);
    });
}

#[test]
fn ten_megabytes_go_through_and_the_socket_is_deregistered() {
    in_a_loop(async || {
        let (near, far) = pair();
        let bytes: Vec<u8> = (0..10_000_000_u32).map(|n| (n % 251) as u8).collect();
        let sent = bytes.clone();
        let sender = create_task(async move {
            let handle = get_running_loop();
            handle.sock_sendall(&near, &sent).await.unwrap();
        });
        let handle = get_running_loop();
        let mut got = Vec::new();
        loop {
            let part = handle.sock_recv(&far, 65_536).await.unwrap();
            if part.is_empty() {
                break;
            }
            got.extend(part);
        }
        sender.await.unwrap();
        assert!(got == bytes);
        assert_eq!(handle.metrics().sources, 0);
    });
}

#[test]
fn datagrams_come_with_their_senders() {
    in_a_loop(async || {
        let handle = get_running_loop();
        let udp = || {
            let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
            socket.set_nonblocking(true).unwrap();
            socket.bind(&loopback().into()).unwrap();
            let address = socket.local_addr().unwrap();
            (socket, address)
        };
        let ((one, one_address), (other, other_address)) = (udp(), udp());
        let receiver = create_task(async move {
            let handle = get_running_loop();
            let first = handle.sock_recvfrom(&other, 100).await.unwrap();
            let mut buffer = [0; 3];
            let second = handle.sock_recvfrom_into(&other, &mut buffer).await;
            (first, second.unwrap(), buffer)
        });
        yield_now().await;
        for text in [&b"first"[..], b"second"] {
            let sent = handle.sock_sendto(&one, text, &other_address).await;
            assert_eq!(sent.unwrap(), text.len());
        }
        let ((first, from), (count, _), buffer) = receiver.await.unwrap();
        assert_eq!((&first[..], from), (&b"first"[..], one_address));
        // What is longer than the buffer is cut.
        assert_eq!((count, &buffer), (3, b"sec"));
    });
}

#[test]
fn a_client_connects_and_is_accepted() {
    in_a_loop(async || {
        let handle = get_running_loop();
        let (listener, address) = listening(8);
        let acceptor =
            create_task(async move { get_running_loop().sock_accept(&listener).await.unwrap() });
        yield_now().await;
        let client = client();
        handle.sock_connect(&client, &address).await.unwrap();
        let (server, from) = acceptor.await.unwrap();
        assert_eq!(from, client.local_addr().unwrap());
        assert!(server.nonblocking().unwrap());
        handle.sock_sendall(&server, b"!").await.unwrap();
        assert_eq!(handle.sock_recv(&client, 8).await.unwrap(), b"!");
        // A loop's own connection from a connected socket.
        let stream = callsoon::net::TcpStream::from_std(client.into()).unwrap();
        stream.write_all(b"?").await.unwrap();
        assert_eq!(handle.sock_recv(&server, 8).await.unwrap(), b"?");
        assert_eq!(handle.metrics().sources, 1);
    });
}

#[test]
fn e2_a_refused_connection_is_an_error_and_leaves_nothing_registered() {
    in_a_loop(async || {
        let handle = get_running_loop();
        let (_nobody, address) = refusing();
        let client = client();
        let error = handle
            .sock_connect(&client, &address.into())
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        assert_eq!(handle.metrics().sources, 0);
    });
}

#[test]
fn e2_an_attempt_that_is_dropped_is_watched_no_longer() {
    in_a_loop(async || {
        let handle = get_running_loop();
        // A full backlog leaves further clients waiting.
        let (_listener, address) = listening(0);
        let mut pending = Vec::new();
        let client = loop {
            let client = client();
            let mut attempt = Waiting::new(handle.sock_connect(&client, &address));
            if attempt.poll().is_none() {
                event_polls(2).await;
                if attempt.poll().is_none() {
                    assert_eq!(handle.metrics().sources, 1);
                    drop(attempt);
                    break client;
                }
            }
            drop(attempt);
            pending.push(client);
            assert!(pending.len() < 100, "the backlog has no end");
        };
        assert_eq!(handle.metrics().sources, 0);
        let open = counted_fds();
        drop(client);
        assert_eq!(counted_fds(), open - 1);
    });
}

#[test]
fn a_dropped_operation_does_not_break_the_next_one() {
    in_a_loop(async || {
        let handle = get_running_loop();
        let (near, far) = pair();
        // Dropped while it waits.
        drop(Waiting::begun(handle.sock_recv(&near, 8)));
        assert_eq!(handle.metrics().sources, 0);
        // Dropped after its event has come, before it could use it: nothing is lost.
        let waiting = Waiting::begun(handle.sock_recv(&near, 8));
        far.send(b"kept").unwrap();
        while !waiting.is_woken() {
            yield_now().await;
        }
        drop(waiting);
        assert_eq!(handle.metrics().sources, 0);
        assert_eq!(handle.sock_recv(&near, 8).await.unwrap(), b"kept");
        // A second one in the same direction waits beside the first, which goes.
        let first = Waiting::begun(handle.sock_recv(&near, 8));
        let mut second = Waiting::begun(handle.sock_recv(&near, 8));
        drop(first);
        far.send(b"for the second").unwrap();
        while !second.is_woken() {
            yield_now().await;
        }
        assert_eq!(second.poll().unwrap().unwrap(), b"for the ");
        drop(second);
        assert_eq!(handle.metrics().sources, 0);
    });
}

#[test]
fn a_cancelled_task_s_operation_is_deregistered_at_once() {
    in_a_loop(async || {
        let handle = get_running_loop();
        let (near, far) = pair();
        let near = Rc::new(near);
        let task = create_task({
            let near = Rc::clone(&near);
            async move { get_running_loop().sock_recv(&near, 8).await }
        });
        yield_now().await;
        task.cancel();
        assert!(task.await.is_err());
        assert_eq!(handle.metrics().sources, 0);
        far.send(b"x").unwrap();
        assert_eq!(handle.sock_recv(&near, 8).await.unwrap(), b"x");
    });
}

#[test]
fn d1_after_close_and_reuse_of_the_number_the_next_operation_begins_afresh() {
    in_a_loop(async || {
        let handle = get_running_loop();
        let (near, stale_far) = pair();
        drop(Waiting::begun(handle.sock_recv(&near, 8)));
        // The same number as another socket, while a copy keeps the old one open.
        let copy = near.try_clone().unwrap();
        let (fresh, fresh_far) = pair();
        dup_onto(&fresh, near.as_raw_fd());
        drop(fresh);
        stale_far.send(b"stale").unwrap();
        let mut waiting = Waiting::begun(handle.sock_recv(&near, 8));
        event_polls(10).await;
        assert!(!waiting.is_woken());
        fresh_far.send(b"fresh").unwrap();
        while !waiting.is_woken() {
            yield_now().await;
        }
        assert_eq!(waiting.poll().unwrap().unwrap(), b"fresh");
        drop((waiting, copy));
    });
}

#[test]
fn one_who_was_woken_and_does_not_come_does_not_make_the_loop_spin() {
    on_real_time(|_, event_loop| {
        let (near, far) = pair();
        let handle = event_loop.handle();
        let mut waiting = complete(&event_loop, async {
            Waiting::begun(handle.sock_recv(&near, 8))
        });
        far.send(b"x").unwrap();
        // Its waker is not the loop's: nothing polls it again for a while.
        let turns = turns_in(&event_loop, Duration::from_millis(100));
        assert!(turns <= 10, "{turns} turns");
        assert!(waiting.is_woken());
        assert_eq!(waiting.poll().unwrap().unwrap(), b"x");
        let mut again = complete(&event_loop, async {
            Waiting::begun(handle.sock_recv(&near, 8))
        });
        far.send(b"y").unwrap();
        complete(&event_loop, async {
            while !again.is_woken() {
                yield_now().await;
            }
        });
        assert_eq!(again.poll().unwrap().unwrap(), b"y");
    });
}

#[test]
fn reading_and_writing_share_a_registration_and_a_reader_callback_stays_its_own() {
    on_real_time(|trace, event_loop| {
        let t = trace.clone();
        complete(&event_loop, async move {
            let handle = get_running_loop();
            let (near, far) = pair();
            while near.send(&[0; 65_536]).is_ok() {}
            let mut receiving = Waiting::begun(handle.sock_recv(&near, 8));
            let mut sending = Waiting::begun(handle.sock_sendall(&near, b"x"));
            assert_eq!(handle.metrics().sources, 1);
            far.send(b"y").unwrap();
            while !receiving.is_woken() {
                yield_now().await;
            }
            assert!(!sending.is_woken());
            assert_eq!(receiving.poll().unwrap().unwrap(), b"y");
            drop(receiving);
            let mut callback = 0;
            let note = t.clone();
            handle
                .add_reader(&near, move || {
                    callback += 1;
                    if callback == 1 {
                        note.push("the callback");
                    }
                })
                .unwrap();
            // What is there is taken out; the room is noticed when the loop next polls for events, some turns later
            // perhaps.
            let mut taken = [MaybeUninit::uninit(); 65_536];
            while !sending.is_woken() {
                while far.recv(&mut taken).is_ok() {}
                yield_now().await;
            }
            sending.poll().unwrap().unwrap();
            drop(sending);
            far.send(b"z").unwrap();
            assert_eq!(handle.sock_recv(&near, 8).await.unwrap(), b"z");
            far.send(b"z").unwrap();
            event_polls(2).await;
            t.push(handle.metrics().sources);
            assert!(handle.remove_reader(&near));
            t.push(handle.metrics().sources);
        });
        trace.expect(["the callback", "1", "0"]);
    });
}

#[test]
fn debug_mode_refuses_a_blocking_socket() {
    audited(watched(|| {
        let event_loop = EventLoop::builder().debug(true).build().unwrap();
        complete(&event_loop, async {
            let handle = get_running_loop();
            let (near, far) = Socket::pair(Domain::UNIX, Type::STREAM, None).unwrap();
            let address = near.local_addr().unwrap();
            far.send(b"x").unwrap();
            let refused = |error: std::io::Error| {
                assert_eq!(error.kind(), ErrorKind::InvalidInput);
                assert_eq!(error.to_string(), "the socket must be non-blocking");
            };
            refused(handle.sock_recv(&near, 1).await.unwrap_err());
            refused(handle.sock_recv_into(&near, &mut [0]).await.unwrap_err());
            refused(handle.sock_recvfrom(&near, 1).await.unwrap_err());
            let into = handle.sock_recvfrom_into(&near, &mut [0]).await;
            refused(into.unwrap_err());
            refused(handle.sock_sendall(&near, b"x").await.unwrap_err());
            let sent = handle.sock_sendto(&near, b"x", &address).await;
            refused(sent.unwrap_err());
            let error = handle.sock_connect(&near, &address).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            let inside = ConnectError::of(&error).unwrap();
            let why = inside.error().unwrap().to_string();
            assert_eq!(why, "the socket must be non-blocking");
            refused(handle.sock_accept(&near).await.unwrap_err());
            near.set_nonblocking(true).unwrap();
            assert_eq!(handle.sock_recv(&near, 1).await.unwrap(), b"x");
        });
    }));
}

#[test]
fn a_socket_that_others_make_blocking_while_it_waits_for_room_blocks_nothing() {
    audited(watched(|| {
        let event_loop = virtual_loop(&Trace::new());
        let connected = event_loop.run_until_complete(async {
            let listener = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
            let name = format!("\0callsoon-full-{}", std::process::id());
            listener.bind(&SockAddr::unix(&name).unwrap()).unwrap();
            listener.listen(0).unwrap();
            let address = listener.local_addr().unwrap();
            let socket = || {
                let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
                socket.set_nonblocking(true).unwrap();
                Rc::new(socket)
            };
            // One client fits in.
            let (first, second) = (socket(), socket());
            first.connect(&address).unwrap();
            let (client, handle) = (Rc::clone(&second), get_running_loop());
            let connecting =
                create_task(async move { handle.sock_connect(&client, &address).await });
            for _ in 0..3 {
                yield_now().await;
                make_blocking(&*second);
                // Several tries. One that blocks does not come back, since this thread alone accepts.
                callsoon::sleep(Duration::from_millis(200)).await;
                assert!(!connecting.done() && !is_blocking(&*second));
            }
            make_blocking(&*second);
            listener.accept().unwrap();
            connecting.await.unwrap()
        });
        connected.unwrap().unwrap();
    }));
}

#[test]
fn operations_on_a_closed_loop_and_absurd_sizes_are_errors() {
    on_real_time(|_, event_loop| {
        let handle = event_loop.handle();
        let (near, _far) = pair();
        complete(&event_loop, async {
            let error = handle.sock_recv(&near, usize::MAX).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::OutOfMemory);
        });
        drop(event_loop);
        let other = real_loop(&Trace::new());
        complete(&other, async {
            let error = handle.sock_recv(&near, 8).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotConnected);
        });
    });
}

#[test]
fn f3_a_socket_that_is_always_ready_lets_others_run() {
    in_a_loop(async || {
        let (near, far) = pair_of(Type::DGRAM);
        let others = create_task(async {
            let mut turns = 0_u32;
            loop {
                yield_now().await;
                turns += 1;
                if turns == 5 {
                    return;
                }
            }
        });
        let handle = get_running_loop();
        for _ in 0..1000 {
            handle.sock_sendall(&near, b"x").await.unwrap();
            handle.sock_recv(&far, 8).await.unwrap();
        }
        assert!(others.done());
    });
}

#[test]
fn a_server_s_address_family_must_be_the_socket_s() {
    in_a_loop(async || {
        let handle = get_running_loop();
        let address: SocketAddr = "[::1]:9".parse().unwrap();
        let error = handle
            .sock_connect(&client(), &address.into())
            .await
            .unwrap_err();
        assert_eq!(os_error(&error), Some(libc::EAFNOSUPPORT));
    });
}
