//! A process of its own, because it runs out of descriptors on purpose.
//!
//! Fault L1: no descriptor is left for a waiting client, whose edge the poller has reported already. The loop does not
//! spin, reports once, serves all other tasks, and accepts soon after a descriptor is free, without a new edge.

#![allow(unsafe_code)]

#[path = "own/descriptors.rs"]
mod descriptors;
#[expect(dead_code, unused_imports, reason = "a part of it is needed here")]
#[path = "it/support/mod.rs"]
mod support;

use std::cell::Cell;
use std::future::poll_fn;
use std::net::TcpStream as StdStream;
use std::rc::Rc;
use std::time::Duration;

use callsoon::net::{TcpListener, TcpStream, UnixStream};
use callsoon::{EventLoop, get_running_loop, sleep};

use descriptors::{exhaust, limit_descriptors};
use support::{
    Recorder, audited, complete, counted_fds, loopback, on_real_time, on_virtual_time, os_error,
    turns_in, until, wait_for_an_event, wait_until_queued, watched,
};

/// A server that counts the clients that it has accepted, and keeps them.
fn serve(
    event_loop: &EventLoop,
    listener: &Rc<TcpListener>,
    accepted: &Rc<Cell<usize>>,
    polled: bool,
) -> callsoon::Task<()> {
    let (listener, accepted) = (Rc::clone(listener), Rc::clone(accepted));
    event_loop.create_task(async move {
        let mut clients = Vec::new();
        loop {
            let client = match polled {
                true => poll_fn(|context| listener.poll_accept(context)).await,
                false => listener.accept().await,
            };
            clients.push(client.unwrap());
            accepted.set(clients.len());
        }
    })
}

/// Waits until so many clients have been accepted, and returns how long it took on the loop's clock. That is the
/// virtual clock, on which the work of the machine takes no time.
fn time_until(event_loop: &EventLoop, accepted: &Rc<Cell<usize>>, count: usize) -> Duration {
    let start = event_loop.time();
    complete(event_loop, async {
        while accepted.get() < count {
            sleep(Duration::from_millis(5)).await;
        }
    });
    event_loop.time() - start
}

#[test]
fn l1_without_descriptors_accept_neither_spins_nor_fails_and_goes_on_without_a_new_edge() {
    accept_without_descriptors(false);
}

#[test]
fn l1_without_descriptors_a_polled_accept_does_the_same() {
    accept_without_descriptors(true);
}

fn accept_without_descriptors(polled: bool) {
    on_virtual_time(move |trace, event_loop| {
        let listener = Rc::new(complete(&event_loop, TcpListener::bind(loopback())).unwrap());
        let address = listener.local_addr().unwrap();
        // Made while there are descriptors: the waiting clients, and two that send all the time.
        let clients: Vec<_> = (0..3)
            .map(|_| StdStream::connect(address).unwrap())
            .collect();
        wait_until_queued(&*listener, 3);
        // Over a Unix socket, where nothing is ever on its way: a virtual clock does not wait for that.
        let (near, far) = event_loop
            .run_until_complete(async { UnixStream::pair().unwrap() })
            .unwrap();
        let before = counted_fds();
        let former = limit_descriptors(before as libc::rlim_t + 16);
        let mut files = exhaust();
        let accepted = Rc::new(Cell::new(0));
        let server = serve(&event_loop, &listener, &accepted, polled);

        let start = event_loop.metrics();
        turns_in(&event_loop, Duration::from_secs(1));
        let end = event_loop.metrics();
        let turns = end.turns - start.turns;
        assert!(turns <= 20, "{turns} turns in a second");
        trace.expect([
            "report: Out of system resources in accept; trying again every second \
             (Too many open files (os error 24))",
        ]);

        // Others are served meanwhile.
        complete(&event_loop, echo(&near, &far));
        trace.expect([]);

        // One descriptor is free: one client comes in, without any news of it from the poller.
        assert_eq!(accepted.get(), 0);
        drop(files.pop());
        let waited = time_until(&event_loop, &accepted, 1);
        assert!(waited <= Duration::from_secs(1), "{waited:?}");

        // Full again: that is news, since there was a success in between. Then all the rest come in.
        turns_in(&event_loop, Duration::from_millis(600));
        assert_eq!(trace.take().len(), 1);
        assert_eq!(accepted.get(), 1);
        drop(files);
        let waited = time_until(&event_loop, &accepted, 3);
        assert!(waited <= Duration::from_secs(1), "{waited:?}");
        trace.expect([]);
        limit_descriptors(former);
        server.cancel();
        drop(complete(&event_loop, server));
        drop(clients);
    });
}

/// A hundred messages there and back. It frees no descriptor.
async fn echo(near: &UnixStream, far: &UnixStream) {
    for round in 0..100_u32 {
        let mut message = round.to_be_bytes();
        near.write_all(&message).await.unwrap();
        far.read_exact(&mut message).await.unwrap();
        far.write_all(&message).await.unwrap();
        near.read_exact(&mut message).await.unwrap();
        assert_eq!(u32::from_be_bytes(message), round);
    }
}

#[test]
fn l1_several_acceptors_report_once_and_a_cancelled_one_loses_no_client() {
    on_real_time(|trace, event_loop| {
        let listener = Rc::new(complete(&event_loop, TcpListener::bind(loopback())).unwrap());
        let client = StdStream::connect(listener.local_addr().unwrap()).unwrap();
        let former = limit_descriptors(counted_fds() as libc::rlim_t + 16);
        let files = exhaust();
        let accepted = Rc::new(Cell::new(0));
        let acceptors: Vec<_> = (0..4)
            .map(|_| serve(&event_loop, &listener, &accepted, false))
            .collect();
        let turns = turns_in(&event_loop, Duration::from_secs(1));
        assert!(turns <= 20, "{turns} turns in a second");
        assert_eq!(trace.take().len(), 1);
        for acceptor in acceptors {
            acceptor.cancel();
            drop(complete(&event_loop, acceptor));
        }
        drop(files);
        limit_descriptors(former);
        let (_, peer) = complete(&event_loop, listener.accept()).unwrap();
        assert_eq!(peer, client.local_addr().unwrap());
        trace.expect([]);
    });
}

#[test]
fn l2_connect_without_descriptors_is_an_error_and_works_again_later() {
    audited(watched(|| {
        let event_loop = EventLoop::new().unwrap();
        let listener = complete(&event_loop, TcpListener::bind(loopback())).unwrap();
        let address = listener.local_addr().unwrap();
        let former = limit_descriptors(counted_fds() as libc::rlim_t + 16);
        let mut files = exhaust();
        complete(&event_loop, async move {
            for error in [
                TcpStream::connect(address).await.unwrap_err(),
                TcpListener::bind(loopback()).await.unwrap_err(),
            ] {
                assert_eq!(os_error(&error), Some(libc::EMFILE));
            }
            assert_eq!(get_running_loop().metrics().sources, 1);
            drop(files.pop());
            drop(TcpStream::connect(address).await.unwrap());
            drop(files);
        });
        limit_descriptors(former);
    }));
}

#[test]
fn l1_a_server_without_descriptors_pauses_for_a_second_and_says_so_once() {
    on_virtual_time(|trace, event_loop| {
        let (made, t) = (Rc::new(Cell::new(0)), trace.clone());
        let count = Rc::clone(&made);
        let factory = move || {
            count.set(count.get() + 1);
            Recorder::new(&t)
        };
        let serving = event_loop.create_server(factory, loopback());
        let server = complete(&event_loop, serving).unwrap();
        let address = server.local_addr().unwrap();
        let clients: Vec<_> = (0..3)
            .map(|_| StdStream::connect(address).unwrap())
            .collect();
        wait_for_an_event(&event_loop);
        let former = limit_descriptors(counted_fds() as libc::rlim_t + 16);
        let mut files = exhaust();
        let turns = turns_in(&event_loop, Duration::from_millis(2500));
        assert!(turns <= 20, "{turns} turns");
        trace.expect([
            "report: Out of system resources in accept; trying again every second \
             (Too many open files (os error 24))",
        ]);
        assert_eq!(made.get(), 0);
        drop(files.pop());
        let waited = time_until(&event_loop, &made, 1);
        assert!(waited <= Duration::from_millis(1100), "{waited:?}");
        drop(files);
        let waited = time_until(&event_loop, &made, 3);
        assert!(waited <= Duration::from_millis(1100), "{waited:?}");
        limit_descriptors(former);
        drop(clients);
        server.close();
        // Their ends may be on their way still, for which a virtual clock does not wait.
        server.abort_clients();
        complete(&event_loop, server.wait_closed());
    });
}

#[test]
fn l1_a_server_that_closes_while_it_pauses_is_not_taken_up_again() {
    on_real_time(|trace, event_loop| {
        let t = trace.clone();
        let serving = event_loop.create_server(move || Recorder::new(&t), loopback());
        let server = complete(&event_loop, serving).unwrap();
        let client = StdStream::connect(server.local_addr().unwrap()).unwrap();
        wait_for_an_event(&event_loop);
        let former = limit_descriptors(counted_fds() as libc::rlim_t + 16);
        let files = exhaust();
        turns_in(&event_loop, Duration::from_millis(10));
        assert_eq!(trace.take().len(), 1);
        server.close();
        drop(files);
        limit_descriptors(former);
        turns_in(&event_loop, Duration::from_millis(1200));
        assert_eq!(event_loop.metrics().timers, 0);
        trace.expect([]);
        drop(client);
        complete(&event_loop, async { until(|| !server.is_serving()).await });
    });
}
