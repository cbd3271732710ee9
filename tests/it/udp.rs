//! UDP sockets, as their users see them.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket as StdSocket};
use std::rc::Rc;
use std::time::Duration;

use callsoon::net::UdpSocket;
use callsoon::{create_task, yield_now};

use crate::support::{
    Polls, Waiting, complete, in_a_loop, loopback, on_real_time, turns_in, until,
};

async fn bound() -> UdpSocket {
    UdpSocket::bind(loopback()).await.unwrap()
}

/// An address where nothing is received, so that the sender gets an error. The system gives the port to no other
/// socket: a socket has it that is connected to itself, and therefore receives from no other sender.
fn without_receiver() -> (StdSocket, SocketAddr) {
    let socket = StdSocket::bind(loopback()).unwrap();
    let address = socket.local_addr().unwrap();
    socket.connect(address).unwrap();
    (socket, address)
}

/// Two sockets that are connected to each other.
async fn connected() -> (UdpSocket, UdpSocket) {
    let (one, other) = (bound().await, bound().await);
    one.connect(other.local_addr().unwrap()).await.unwrap();
    other.connect(one.local_addr().unwrap()).await.unwrap();
    (one, other)
}

#[test]
fn messages_arrive_whole_and_one_at_a_time() {
    on_real_time(|_, event_loop| {
        complete(&event_loop, async {
            let (one, other) = connected().await;
            for message in [&b"first"[..], b"", b"third"] {
                assert_eq!(one.send(message).await.unwrap(), message.len());
            }
            let mut buffer = [0; 64];
            assert_eq!(other.recv(&mut buffer).await.unwrap(), 5);
            // e6: an empty message is a message and no end.
            assert_eq!(other.recv(&mut buffer).await.unwrap(), 0);
            assert_eq!(other.recv(&mut buffer).await.unwrap(), 5);
            assert_eq!(&buffer[..5], b"third");
        });
        assert_eq!(event_loop.metrics().sources, 0);
    });
}

#[test]
fn a_receiver_waits_for_the_message_and_learns_who_sent_it() {
    in_a_loop(async || {
        let (server, client) = (bound().await, bound().await);
        let address = server.local_addr().unwrap();
        let echo = create_task(async move {
            let mut buffer = [0; 64];
            let (count, sender) = server.recv_from(&mut buffer).await.unwrap();
            server.send_to(&buffer[..count], sender).await.unwrap();
            sender
        });
        yield_now().await;
        client.send_to(b"ping", address).await.unwrap();
        assert_eq!(echo.await.unwrap(), client.local_addr().unwrap());
        let mut buffer = [0; 64];
        let (count, sender) = client.recv_from(&mut buffer).await.unwrap();
        assert_eq!((&buffer[..count], sender), (&b"ping"[..], address));
    });
}

#[test]
fn peeking_leaves_the_message_also_when_the_buffer_is_smaller() {
    in_a_loop(async || {
        let (one, other) = connected().await;
        one.send(b"whole").await.unwrap();
        let mut buffer = [0; 64];
        assert_eq!(other.peek(&mut buffer[..2]).await.unwrap(), 2);
        let (count, sender) = other.peek_from(&mut buffer).await.unwrap();
        assert_eq!((count, sender), (5, one.local_addr().unwrap()));
        assert_eq!(other.recv(&mut buffer).await.unwrap(), 5);
        let error = other.try_recv(&mut buffer).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
    });
}

#[test]
fn e7_a_message_longer_than_the_buffer_is_cut_and_the_next_one_is_whole() {
    in_a_loop(async || {
        let (one, other) = connected().await;
        one.send(b"longer than four").await.unwrap();
        one.send(b"next").await.unwrap();
        let mut buffer = [0; 4];
        assert_eq!(other.recv(&mut buffer).await.unwrap(), 4);
        assert_eq!(&buffer, b"long");
        assert_eq!(other.recv(&mut buffer).await.unwrap(), 4);
        assert_eq!(&buffer, b"next");
    });
}

#[test]
fn e7_a_message_too_long_for_the_protocol_is_an_error_and_the_socket_lives() {
    in_a_loop(async || {
        let (one, other) = connected().await;
        let error = one.send(&vec![0; 70_000]).await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EMSGSIZE));
        one.send(b"short").await.unwrap();
        assert_eq!(other.recv(&mut [0; 8]).await.unwrap(), 5);
    });
}

#[test]
fn e7_a_port_where_nobody_is_refuses_and_the_socket_stays_usable() {
    in_a_loop(async || {
        let (socket, (nobody, address)) = (bound().await, without_receiver());
        socket.connect(address).await.unwrap();
        socket.send(b"anybody?").await.unwrap();
        let error = socket.recv(&mut [0; 8]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        nobody.connect(socket.local_addr().unwrap()).unwrap();
        let peer = UdpSocket::from_std(nobody).unwrap();
        socket.send(b"now?").await.unwrap();
        assert_eq!(peer.recv(&mut [0; 8]).await.unwrap(), 4);
        peer.send(b"yes").await.unwrap();
        assert_eq!(socket.recv(&mut [0; 8]).await.unwrap(), 3);
    });
}

#[test]
fn e7_a_refusal_wakes_both_waiters_and_does_not_spin() {
    on_real_time(|_, event_loop| {
        let socket = complete(&event_loop, async {
            let socket = bound().await;
            let (_nobody, gone) = without_receiver();
            socket.connect(gone).await.unwrap();
            socket.send(b"anybody?").await.unwrap();
            let error = socket.recv(&mut [0; 8]).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
            Rc::new(socket)
        });
        let reader = event_loop.create_task({
            let socket = Rc::clone(&socket);
            async move { socket.recv(&mut [0; 8]).await }
        });
        let turns = turns_in(&event_loop, Duration::from_millis(100));
        assert!(turns <= 10, "{turns} turns");
        reader.cancel();
        complete(&event_loop, async { assert!(reader.await.is_err()) });
    });
}

#[test]
fn e9_a_receiver_that_is_dropped_leaves_the_wait_queue_and_loses_no_message() {
    in_a_loop(async || {
        let (one, other) = connected().await;
        let mut buffer = [0; 8];
        {
            let waiting = Waiting::begun(other.recv(&mut buffer));
            one.send(b"late").await.unwrap();
            until(|| waiting.is_woken()).await;
        }
        assert_eq!(other.recv(&mut buffer).await.unwrap(), 4);
    });
}

#[test]
fn several_messages_before_the_first_wait_are_all_received_though_reads_are_short() {
    in_a_loop(async || {
        let peer = StdSocket::bind(loopback()).unwrap();
        let socket = StdSocket::bind(loopback()).unwrap();
        peer.connect(socket.local_addr().unwrap()).unwrap();
        for number in 0..100_u8 {
            peer.send(&[number]).unwrap();
        }
        let socket = UdpSocket::from_std(socket).unwrap();
        for number in 0..100_u8 {
            let mut buffer = [0; 64];
            assert_eq!(socket.recv(&mut buffer).await.unwrap(), 1);
            assert_eq!(buffer[0], number);
        }
    });
}

#[test]
fn a_flooded_socket_lets_other_tasks_run() {
    in_a_loop(async || {
        let (one, other) = connected().await;
        let polls = Polls::default();
        create_task(polls.clone().of(async {
            loop {
                yield_now().await;
            }
        }));
        for _ in 0..500 {
            one.send(b"x").await.unwrap();
            other.recv(&mut [0; 8]).await.unwrap();
        }
        assert!(polls.get() >= 1000 / 128, "{} polls", polls.get());
    });
}

#[test]
fn try_forms_never_wait() {
    in_a_loop(async || {
        let (one, other) = connected().await;
        let mut buffer = [0; 8];
        let error = other.try_recv_from(&mut buffer).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        assert_eq!(one.try_send(b"a").unwrap(), 1);
        other.readable().await.unwrap();
        let from = one.local_addr().unwrap();
        assert_eq!(other.try_recv_from(&mut buffer).unwrap(), (1, from));
        one.writable().await.unwrap();
    });
}

#[test]
fn broadcast_must_be_allowed_first() {
    in_a_loop(async || {
        let socket = UdpSocket::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)))
            .await
            .unwrap();
        // Of the loopback network, which every machine has.
        let everybody = SocketAddr::from(([127, 255, 255, 255], 9));
        let error = socket.send_to(b"x", everybody).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        assert!(!socket.broadcast().unwrap());
        socket.set_broadcast(true).unwrap();
        assert!(socket.broadcast().unwrap());
    });
}

#[test]
fn a_group_on_the_loopback_interface_receives_from_its_member() {
    in_a_loop(async || {
        let group = Ipv4Addr::new(224, 0, 0, 251);
        let member = UdpSocket::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)))
            .await
            .unwrap();
        if member
            .join_multicast_v4(group, Ipv4Addr::LOCALHOST)
            .is_err()
        {
            eprintln!("skipped: this system has no interface for groups");
            return;
        }
        member.set_multicast_loop_v4(true).unwrap();
        let sender = StdSocket::bind(loopback()).unwrap();
        socket2::SockRef::from(&sender)
            .set_multicast_if_v4(&Ipv4Addr::LOCALHOST)
            .unwrap();
        let port = member.local_addr().unwrap().port();
        sender.send_to(b"all", (group, port)).unwrap();
        assert_eq!(member.recv(&mut [0; 8]).await.unwrap(), 3);
        member
            .leave_multicast_v4(group, Ipv4Addr::LOCALHOST)
            .unwrap();
    });
}

#[test]
fn a_socket_goes_out_of_the_loop_and_comes_back() {
    on_real_time(|_, event_loop| {
        complete(&event_loop, async {
            let (one, other) = connected().await;
            let std = other.into_std();
            one.send(b"meanwhile").await.unwrap();
            let other = UdpSocket::from_std(std).unwrap();
            assert_eq!(other.recv(&mut [0; 16]).await.unwrap(), 9);
        });
        assert_eq!(event_loop.metrics().sources, 0);
    });
}
