//! Listeners, datagrams, descriptors and ticks by their poll functions.

use std::future::poll_fn;
use std::io::{ErrorKind, Write as _};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram as StdDatagram, UnixStream as StdUnix};
use std::task::{Context, Poll};
use std::time::Duration;

use callsoon::net::{TcpListener, TcpStream, UdpSocket, UnixDatagram};
use callsoon::{AsyncFd, EventLoop, interval};

use crate::support::{
    CountingWaker, audited, complete, loopback, on_virtual_time, settling, until, watched,
};

#[test]
fn a_listener_gives_its_clients_in_order_and_wakes_the_last_who_polled() {
    settling(|_, _| async {
        let listener = TcpListener::bind(loopback()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let counters = [CountingWaker::new(), CountingWaker::new()];
        for (_, waker) in &counters {
            let mut context = Context::from_waker(waker);
            assert!(listener.poll_accept(&mut context).is_pending());
        }
        let mut clients = Vec::new();
        for _ in 0..3 {
            clients.push(TcpStream::connect(address).await.unwrap());
        }
        until(|| counters[1].0.wakes() == 1).await;
        assert_eq!(counters[0].0.wakes(), 0);
        for client in &clients {
            let accepted = poll_fn(|context| listener.poll_accept(context));
            let (_, peer) = accepted.await.unwrap();
            assert_eq!(peer, client.local_addr().unwrap());
        }
    });
}

#[test]
fn datagrams_that_are_polled_arrive_whole_with_their_sender() {
    settling(|_, _| async {
        let near = UdpSocket::bind(loopback()).await.unwrap();
        let far = UdpSocket::bind(loopback()).await.unwrap();
        let (here, there) = (near.local_addr().unwrap(), far.local_addr().unwrap());
        let mut buffer = [0; 64];
        let (counter, waker) = CountingWaker::new();
        let mut context = Context::from_waker(&waker);
        assert!(far.poll_recv_from(&mut context, &mut buffer).is_pending());
        poll_fn(|context| near.poll_write_ready(context))
            .await
            .unwrap();
        let sent = poll_fn(|context| near.poll_send_to(context, b"to an address", &there));
        assert_eq!(sent.await.unwrap(), 13);
        until(|| counter.wakes() == 1).await;
        let received = far.poll_recv_from(&mut context, &mut buffer);
        assert!(matches!(received, Poll::Ready(Ok(it)) if it == (13, here)));
        near.connect(there).await.unwrap();
        let sent = poll_fn(|context| near.poll_send(context, b""));
        assert_eq!(sent.await.unwrap(), 0);
        poll_fn(|context| far.poll_read_ready(context))
            .await
            .unwrap();
        let received = poll_fn(|context| far.poll_recv(context, &mut buffer));
        assert_eq!(received.await.unwrap(), 0, "an empty message is a message");
    });
}

#[test]
fn a_polled_message_to_a_full_receiver_is_tried_again_by_timer() {
    settling(|event_loop, _| async move {
        let name = format!("callsoon-polled-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let receiver = StdDatagram::bind_addr(&address).unwrap();
        receiver.set_nonblocking(true).unwrap();
        let sender = UnixDatagram::unbound().unwrap();
        let to = address;
        let mut filled = 0;
        let (_, waker) = CountingWaker::new();
        let mut context = Context::from_waker(&waker);
        while let Poll::Ready(sent) = sender.poll_send_to(&mut context, b"filler", &to) {
            assert_eq!(sent.unwrap(), 6);
            filled += 1;
        }
        let turns = event_loop.metrics().turns;
        let mut sending = Box::pin(poll_fn(|context| {
            sender.poll_send_to(context, b"last", &to)
        }));
        callsoon::timeout(Duration::from_millis(200), &mut sending)
            .await
            .unwrap_err();
        assert!(event_loop.metrics().turns - turns < 60, "it spins");
        let mut buffer = [0; 16];
        for _ in 0..filled {
            assert_eq!(receiver.recv(&mut buffer).unwrap(), 6);
        }
        assert_eq!(sending.await.unwrap(), 4);
        assert_eq!(receiver.recv(&mut buffer).unwrap(), 4);
    });
}

#[test]
fn a_descriptor_that_is_polled_is_ready_until_an_operation_would_block() {
    settling(|_, _| async {
        let (near, mut far) = StdUnix::pair().unwrap();
        let near = AsyncFd::new(near).unwrap();
        let (counter, waker) = CountingWaker::new();
        let mut context = Context::from_waker(&waker);
        assert!(near.poll_read_ready(&mut context).is_pending());
        assert!(near.poll_write_ready(&mut context).is_ready());
        far.write_all(b"x").unwrap();
        until(|| counter.wakes() > 0).await;
        let read = |mut near: &StdUnix| std::io::Read::read(&mut near, &mut [0; 8]);
        let guard = poll_fn(|context| near.poll_read_ready(context)).await;
        let mut guard = guard.unwrap();
        assert_eq!(guard.try_io(read).unwrap(), 1);
        let error = guard.try_io(read).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        assert!(near.poll_read_ready(&mut context).is_pending());
        far.write_all(b"yz").unwrap();
        let guard = poll_fn(|context| near.poll_read_ready(context)).await;
        assert_eq!(guard.unwrap().try_io(read).unwrap(), 2);
    });
}

#[test]
fn ticks_that_are_polled_come_at_their_times() {
    on_virtual_time(|_, event_loop| {
        complete(&event_loop, async {
            let clock = callsoon::get_running_loop();
            let begin = clock.time();
            let mut ticks = interval(Duration::from_secs(2));
            let mut times = Vec::new();
            for _ in 0..3 {
                poll_fn(|context| ticks.poll_tick(context)).await;
                times.push(clock.time() - begin);
            }
            assert_eq!(times, [0, 2, 4].map(Duration::from_secs));
        });
    });
}

#[test]
fn what_is_polled_on_a_closed_loop_fails() {
    audited(watched(|| {
        let event_loop = EventLoop::new().unwrap();
        let (listener, datagrams, near) = complete(&event_loop, async {
            let listener = TcpListener::bind(loopback()).await.unwrap();
            let datagrams = UdpSocket::bind(loopback()).await.unwrap();
            let (near, _far) = StdUnix::pair().unwrap();
            (listener, datagrams, AsyncFd::new_readable(near).unwrap())
        });
        let (counter, waker) = CountingWaker::new();
        let mut context = Context::from_waker(&waker);
        assert!(listener.poll_accept(&mut context).is_pending());
        assert!(datagrams.poll_recv(&mut context, &mut [0]).is_pending());
        event_loop.close().unwrap();
        assert_eq!(counter.wakes(), 2);
        let failed = |polled: Poll<std::io::Result<()>>| match polled {
            Poll::Ready(Err(error)) => assert_eq!(error.kind(), ErrorKind::NotConnected),
            other => panic!("{other:?}"),
        };
        failed(listener.poll_accept(&mut context).map_ok(drop));
        failed(datagrams.poll_recv(&mut context, &mut [0]).map_ok(drop));
        failed(datagrams.poll_send(&mut context, b"x").map_ok(drop));
        failed(near.poll_read_ready(&mut context).map_ok(drop));
    }));
}
