//! Faults E1, E2 and E9 for TCP: connects, floods of clients, and operations that are dropped.

use std::future::Future as _;
use std::io::{ErrorKind, Write as _};
use std::net::{TcpListener as StdListener, TcpStream as StdStream};
use std::pin::pin;
use std::rc::Rc;
use std::task::Context;
use std::time::Duration;

use callsoon::net::{ListenOptions, TcpListener, TcpStream};
use callsoon::{create_task, sleep};

use crate::support::{
    CountingWaker, complete, counted_fds, event_polls, in_a_loop, loopback, on_real_time, one_turn,
    poll_once, refusing, reset, stream_and_peer, wait_until_queued,
};

#[test]
fn e2_a_refused_connect_gives_the_error_and_leaves_nothing() {
    on_real_time(|_, event_loop| {
        let (_nobody, address) = refusing();
        let before = counted_fds();
        let error = complete(&event_loop, TcpStream::connect(address)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        assert_eq!(counted_fds(), before);
        assert_eq!(event_loop.metrics().sources, 0);
    });
}

#[test]
fn e2_a_connect_that_is_cancelled_in_mid_flight_closes_its_socket_once() {
    on_real_time(|_, event_loop| {
        let listener = StdListener::bind(loopback()).unwrap();
        let address = listener.local_addr().unwrap();
        let before = counted_fds();
        for _ in 0..100 {
            let attempt = event_loop.create_task(TcpStream::connect(address));
            // The turn makes the system call and queues the task; the next poll for events finds the answer.
            one_turn(&event_loop);
            assert!(!attempt.done());
            assert_eq!(counted_fds(), before + 1);
            assert_eq!(event_loop.metrics().sources, 1);
            attempt.cancel();
            assert!(complete(&event_loop, attempt).is_err());
            assert_eq!(counted_fds(), before);
            assert_eq!(event_loop.metrics().sources, 0);
        }
    });
}

#[test]
fn e2_connects_to_a_full_backlog_wait_and_are_cancelled_without_a_trace() {
    on_real_time(|_, event_loop| {
        let before = counted_fds();
        complete(&event_loop, async {
            let listener = ListenOptions::new().backlog(0).bind(loopback()).unwrap();
            let address = listener.local_addr().unwrap();
            // One client fits; the others get no answer for a second, and then none again.
            let first = TcpStream::connect(address).await.unwrap();
            wait_until_queued(&listener, 1);
            let attempts: Vec<_> = (0..8)
                .map(|_| create_task(TcpStream::connect(address)))
                .collect();
            event_polls(2).await;
            let waiting = attempts.iter().filter(|attempt| !attempt.done()).count();
            assert_eq!(waiting, 8);
            drop(first);
            for attempt in &attempts {
                attempt.cancel();
            }
            for attempt in attempts {
                drop(attempt.await);
            }
        });
        assert_eq!(counted_fds(), before);
        assert_eq!(event_loop.metrics().sources, 0);
    });
}

#[test]
fn e9_an_accept_that_is_dropped_when_its_client_is_there_leaves_it_to_the_next() {
    in_a_loop(async || {
        let listener = TcpListener::bind(loopback()).await.unwrap();
        let address = listener.local_addr().unwrap();
        for round in 0..100 {
            let mut accept = Box::pin(listener.accept());
            assert!(poll_once(&mut accept).await.is_none());
            let client = StdStream::connect(address).unwrap();
            // Half of them are dropped after the loop has woken them, half before.
            if round % 2 == 0 {
                sleep(Duration::from_micros(1)).await;
            }
            drop(accept);
            let (_, peer) = listener.accept().await.unwrap();
            assert_eq!(peer, client.local_addr().unwrap());
        }
    });
}

#[test]
fn e9_an_accept_task_that_is_cancelled_in_the_turn_of_its_client_loses_no_client() {
    on_real_time(|_, event_loop| {
        let listener = Rc::new(complete(&event_loop, TcpListener::bind(loopback())).unwrap());
        let address = listener.local_addr().unwrap();
        for _ in 0..100 {
            let acceptor = event_loop.create_task({
                let listener = Rc::clone(&listener);
                async move { listener.accept().await.unwrap().1 }
            });
            one_turn(&event_loop);
            let client = StdStream::connect(address).unwrap();
            acceptor.cancel();
            let accepted = match complete(&event_loop, acceptor) {
                Ok(peer) => peer,
                Err(_) => complete(&event_loop, listener.accept()).unwrap().1,
            };
            assert_eq!(accepted, client.local_addr().unwrap());
        }
    });
}

#[test]
fn e9_a_read_that_is_dropped_at_each_wait_loses_no_byte() {
    in_a_loop(async || {
        let (stream, mut peer) = stream_and_peer();
        let mut dropped = 0;
        for round in 0..1000_u16 {
            let mut buffer = [0; 16];
            {
                let mut read = Box::pin(stream.read(&mut buffer));
                assert!(poll_once(&mut read).await.is_none());
                peer.write_all(&round.to_be_bytes()).unwrap();
                // Half of them are dropped before the loop can have polled for events, half after.
                if round % 2 == 0 {
                    sleep(Duration::from_micros(1)).await;
                }
                dropped += 1;
            }
            let mut number = [0; 2];
            stream.read_exact(&mut number).await.unwrap();
            assert_eq!(u16::from_be_bytes(number), round);
        }
        assert_eq!(dropped, 1000);
    });
}

#[test]
fn e9_a_read_that_is_dropped_leaves_the_wait_queue() {
    in_a_loop(async || {
        let (stream, mut peer) = stream_and_peer();
        let (counter, waker) = CountingWaker::new();
        let mut buffer = [0];
        {
            let read = pin!(stream.read(&mut buffer));
            assert!(read.poll(&mut Context::from_waker(&waker)).is_pending());
        }
        peer.write_all(b"x").unwrap();
        stream.read_exact(&mut buffer).await.unwrap();
        assert_eq!(counter.wakes(), 0);
    });
}

#[test]
fn e1_clients_that_reset_before_they_are_accepted_do_not_end_the_server() {
    in_a_loop(async || {
        let listener = TcpListener::bind(loopback()).await.unwrap();
        let address = listener.local_addr().unwrap();
        for _ in 0..50 {
            reset(StdStream::connect(address).unwrap());
        }
        let mut last = StdStream::connect(address).unwrap();
        last.write_all(b"!").unwrap();
        // Clients that are gone are skipped, or give an error or an end when they are read.
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let mut byte = [0];
            if matches!(stream.read(&mut byte).await, Ok(1)) {
                assert_eq!(&byte, b"!");
                break;
            }
        }
    });
}
