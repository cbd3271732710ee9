//! Faults D1, D2, D5 and D6: descriptors that change under the reactor, that it refuses, and that
//! must be closed once.

#![allow(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream as StdStream;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use callsoon::net::{TcpListener, TcpStream};
use callsoon::{EventLoop, create_task, get_running_loop, sleep, yield_now};

use crate::support::{
    Polls, Recorder, Trace, audited, complete, counted_fds, event_polls, forbid, in_a_loop,
    loopback, on_real_time, one_turn, os_error, readable_within, real_loop, std_pair,
    stream_and_peer, turns_in, until, watched,
};

/// What the rows say of spinning is measured over this long.
const WINDOW: Duration = Duration::from_millis(200);

/// Makes `number` another name of what `descriptor` names, closing what it named before.
fn dup_onto(descriptor: &impl std::os::fd::AsRawFd, number: RawFd) {
    // SAFETY: the call takes numbers. The tests that use it replace only descriptors whose owners are written to cope:
    // that is the fault they are about.
    let result = unsafe { libc::dup2(descriptor.as_raw_fd(), number) };
    assert_eq!(result, number);
}

/// Takes the ownership of a number that `dup_onto` has just made.
fn own(number: RawFd) -> StdStream {
    // SAFETY: the caller has made the descriptor under this number and gives its only ownership away.
    StdStream::from(unsafe { OwnedFd::from_raw_fd(number) })
}

#[test]
fn d1_a_reused_descriptor_sees_no_stale_event() {
    in_a_loop(async || {
        let (stale, mut stale_peer) = std_pair();
        let (fresh, mut fresh_peer) = std_pair();
        // As long as this second name is open the poller keeps the registration, whatever happens to the number.
        let keeps_registration = stale.try_clone().unwrap();
        let number = stale.as_raw_fd();
        let stale = TcpStream::from_std(stale).unwrap();
        // Somebody closes the number and opens it as another socket; deregistering then finds another socket.
        dup_onto(&fresh, number);
        drop(stale);
        dup_onto(&fresh, number);
        drop(fresh);
        // The same number, and the same slot of the reactor, which is the last one freed.
        let stream = Rc::new(TcpStream::from_std(own(number)).unwrap());
        let polls = Polls::default();
        let reader = create_task(polls.clone().of({
            let stream = Rc::clone(&stream);
            async move {
                let mut byte = [0];
                stream.read_exact(&mut byte).await.unwrap();
                byte[0]
            }
        }));
        event_polls(2).await;
        assert_eq!(polls.get(), 1);
        for _ in 0..10 {
            stale_peer.write_all(b"stale").unwrap();
            event_polls(2).await;
        }
        assert_eq!(
            polls.get(),
            1,
            "an event of the former owner woke the new one"
        );
        fresh_peer.write_all(b"f").unwrap();
        assert_eq!(reader.await.unwrap(), b'f');
        drop(keeps_registration);
    });
}

#[test]
fn d1_a_socket_opened_by_a_handler_of_the_batch_does_not_get_its_predecessor_s_event() {
    in_a_loop(async || {
        let (first, mut first_peer) = stream_and_peer();
        let (second, mut second_peer) = std_pair();
        let number = second.as_raw_fd();
        let second = TcpStream::from_std(second).unwrap();
        let (third, third_peer) = std_pair();
        let second = Rc::new(RefCell::new(Some(second)));
        let handler = create_task({
            let second = Rc::clone(&second);
            async move {
                first.read_exact(&mut [0]).await.unwrap();
                // Its event is in the same batch as ours.
                let gone = second.borrow_mut().take().unwrap();
                let open = counted_fds();
                drop(gone);
                assert_eq!(counted_fds(), open - 1);
                dup_onto(&third, number);
                drop(third);
                let stream = TcpStream::from_std(own(number)).unwrap();
                let error = stream.try_read(&mut [0]).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                stream
            }
        });
        yield_now().await;
        first_peer.write_all(b"1").unwrap();
        second_peer.write_all(b"2").unwrap();
        let stream = handler.await.unwrap();
        let polls = Polls::default();
        let reader = create_task(polls.clone().of(async move {
            let _ = stream.read(&mut [0]).await;
        }));
        event_polls(2).await;
        assert_eq!(polls.get(), 1);
        drop(third_peer);
        reader.await.unwrap();
    });
}

#[test]
fn d2_a_duplicate_that_stays_open_is_nothing_to_the_loop() {
    on_real_time(|_, event_loop| {
        let (ours, mut peer) = std_pair();
        let duplicate = ours.try_clone().unwrap();
        complete(&event_loop, async move {
            let stream = TcpStream::from_std(ours).unwrap();
            event_polls(2).await;
            drop(stream);
        });
        assert_eq!(event_loop.metrics().sources, 0);
        event_loop.turn(Some(Duration::ZERO)).unwrap();
        for _ in 0..10 {
            peer.write_all(b"for the duplicate").unwrap();
            assert!(readable_within(&duplicate, Duration::from_secs(20)));
            assert!(!readable_within(&event_loop, Duration::ZERO));
        }
        let turns = turns_in(&event_loop, WINDOW);
        assert!(turns <= 5, "{turns} turns");
    });
}

#[test]
fn d2_a_registration_that_cannot_be_taken_back_does_not_spin() {
    on_real_time(|_, event_loop| {
        let (ours, mut peer) = std_pair();
        let (other, _other_peer) = std_pair();
        let duplicate = ours.try_clone().unwrap();
        complete(&event_loop, async {
            let number = ours.as_raw_fd();
            let stream = TcpStream::from_std(ours).unwrap();
            event_polls(2).await;
            dup_onto(&other, number);
            drop(stream);
        });
        assert_eq!(event_loop.metrics().sources, 0);
        peer.write_all(b"for nobody").unwrap();
        let turns = turns_in(&event_loop, WINDOW);
        assert!(turns <= 5, "{turns} turns");
        drop(duplicate);
    });
}

#[test]
fn d5_what_the_poller_refuses_is_an_error_and_leaves_no_entry_and_no_descriptor() {
    on_real_time(|_, event_loop| {
        let before = counted_fds();
        for _ in 0..10 {
            complete(&event_loop, async {
                let file = std::fs::File::open("/proc/self/exe").unwrap();
                let error = TcpStream::from_std(OwnedFd::from(file).into()).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::PermissionDenied);
            });
            assert_eq!(counted_fds(), before);
            assert_eq!(event_loop.metrics().sources, 0);
        }
        // The entry that was reserved and given back serves the next one.
        complete(&event_loop, async {
            let (stream, mut peer) = stream_and_peer();
            peer.write_all(b"x").unwrap();
            stream.read_exact(&mut [0]).await.unwrap();
        });
    });
}

#[test]
fn d5_a_poller_that_is_full_fails_the_operation_and_nothing_else() {
    on_real_time(|_, event_loop| {
        let listener = complete(&event_loop, TcpListener::bind(loopback())).unwrap();
        let address = listener.local_addr().unwrap();
        let client = StdStream::connect(address).unwrap();
        let (ours, _peer) = std_pair();
        let before = counted_fds();
        // This thread ends with the test, and the filter with it.
        if !forbid(libc::SYS_epoll_ctl, None, libc::ENOSPC) {
            eprintln!("skipped: this system has no system call filters");
            return;
        }
        complete(&event_loop, async {
            let full = |error: std::io::Error| {
                assert_eq!(os_error(&error), Some(libc::ENOSPC));
            };
            full(TcpListener::bind(loopback()).await.unwrap_err());
            full(TcpStream::connect(address).await.unwrap_err());
            full(TcpStream::from_std(ours).unwrap_err());
            full(listener.accept().await.unwrap_err());
            sleep(Duration::from_millis(1)).await;
        });
        // `from_std` closed what it was given.
        assert_eq!(counted_fds(), before - 1);
        assert_eq!(event_loop.metrics().sources, 1);
        drop(client);
    });
}

#[test]
fn d6_ten_thousand_sockets_come_and_go_beside_a_thread_that_reuses_their_numbers() {
    on_real_time(|_, event_loop| {
        let before = counted_fds();
        let ended = Arc::new(AtomicBool::new(false));
        let rounds = Arc::new(AtomicUsize::new(0));
        // A descriptor that we close twice would sooner or later be one of this thread's.
        let churn = thread::spawn({
            let (ended, rounds) = (Arc::clone(&ended), Arc::clone(&rounds));
            move || {
                while !ended.load(Ordering::SeqCst) {
                    let (mut reader, mut writer) = crate::support::pipe().unwrap();
                    writer.write_all(b"mine").unwrap();
                    let mut heard = [0; 4];
                    reader.read_exact(&mut heard).unwrap();
                    assert_eq!(&heard, b"mine");
                    rounds.fetch_add(1, Ordering::SeqCst);
                }
            }
        });
        complete(&event_loop, async {
            let listener = Rc::new(TcpListener::bind(loopback()).await.unwrap());
            let address = listener.local_addr().unwrap();
            for round in 0..2500 {
                let accept = create_task({
                    let listener = Rc::clone(&listener);
                    async move { listener.accept().await.unwrap().0 }
                });
                let client = TcpStream::connect(address).await.unwrap();
                let server = accept.await.unwrap();
                match round % 4 {
                    0 => drop((client, server)),
                    1 => {
                        let (reader, writer) = client.into_split();
                        drop(writer);
                        drop(server);
                        drop(reader);
                    }
                    2 => {
                        let reader =
                            create_task(async move { server.read(&mut [0]).await.map(drop) });
                        yield_now().await;
                        reader.cancel();
                        assert!(reader.await.is_err());
                    }
                    _ => {
                        let attempt = create_task(TcpStream::connect(address));
                        yield_now().await;
                        attempt.cancel();
                        drop(attempt.await);
                        // The attempt may have been connected, and waits to be accepted then: it is read to its end.
                        while let Ok(Some(stream)) = try_accept(&listener).await {
                            drop(stream);
                        }
                    }
                }
            }
        });
        ended.store(true, Ordering::SeqCst);
        churn.join().unwrap();
        assert!(rounds.load(Ordering::SeqCst) > 0);
        assert_eq!(event_loop.metrics().sources, 0);
        assert_eq!(counted_fds(), before);
    });
}

/// A client that is there already, if there is one.
async fn try_accept(listener: &Rc<TcpListener>) -> std::io::Result<Option<TcpStream>> {
    let accept = create_task({
        let listener = Rc::clone(listener);
        async move { listener.accept().await.map(|(stream, _)| stream) }
    });
    yield_now().await;
    accept.cancel();
    match accept.await {
        Ok(Ok(stream)) => Ok(Some(stream)),
        Ok(Err(error)) => Err(error),
        Err(_) => Ok(None),
    }
}

#[test]
fn d6_closing_the_loop_closes_the_sockets_of_its_tasks_once() {
    audited(watched(|| {
        let before = counted_fds();
        let event_loop = real_loop(&Trace::new());
        let mut peers = Vec::new();
        for _ in 0..50 {
            let (ours, peer) = std_pair();
            peers.push(peer);
            event_loop.create_task(async move {
                let stream = TcpStream::from_std(ours).unwrap();
                let _ = stream.read(&mut [0]).await;
            });
            event_loop.create_task(async move {
                let listener = TcpListener::bind(loopback()).await.unwrap();
                let _ = listener.accept().await;
            });
        }
        one_turn(&event_loop);
        assert_eq!(event_loop.metrics().sources, 100);
        event_loop.close().unwrap();
        for mut peer in peers {
            assert_eq!(peer.read(&mut [0]).unwrap(), 0);
        }
        assert_eq!(counted_fds(), before);
    }));
}

#[test]
fn d6_a_wait_on_a_stream_of_another_loop_ends_when_that_loop_closes() {
    audited(watched(|| {
        let owner = EventLoop::new().unwrap();
        let (stream, _peer) = complete(&owner, async { stream_and_peer() });
        let event_loop = EventLoop::new().unwrap();
        let reader = event_loop.create_task(async move { stream.read(&mut [0]).await });
        one_turn(&event_loop);
        assert!(!reader.done());
        drop(owner);
        let error = complete(&event_loop, reader).unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotConnected);
    }));
}

#[test]
fn a_stream_may_be_read_on_one_loop_while_another_one_of_the_thread_watches_it() {
    audited(watched(|| {
        let owner = EventLoop::new().unwrap();
        let (stream, mut peer) = complete(&owner, async { stream_and_peer() });
        let event_loop = EventLoop::new().unwrap();
        let reader = event_loop.create_task(async move {
            let mut byte = [0];
            stream.read_exact(&mut byte).await.unwrap();
            byte[0]
        });
        one_turn(&event_loop);
        peer.write_all(b"x").unwrap();
        // The owner sees the event and sends the wake to the other loop.
        while !event_loop.has_ready() {
            one_turn(&owner);
        }
        assert_eq!(complete(&event_loop, reader).unwrap(), b'x');
    }));
}

/// A protocol that calls a closure with what comes, and writes down its calls.
fn when_data(trace: &Trace, call: impl Fn() + 'static) -> Recorder {
    Recorder::new(trace).on("data", move |_| call())
}

#[test]
fn d1_a_transport_opened_by_a_handler_of_the_batch_does_not_see_its_predecessor_s_event() {
    audited(watched(|| {
        let (trace, first_trace) = (Trace::new(), Trace::new());
        let event_loop = real_loop(&trace);
        complete(&event_loop, async {
            let handle = get_running_loop();
            let (first, mut first_peer) = std_pair();
            let (second, mut second_peer) = std_pair();
            let (third, mut third_peer) = std_pair();
            let number = second.as_raw_fd();
            let quiet = Recorder::new(&Trace::new());
            let (second, _) = handle
                .connect_accepted_socket(|| quiet, second)
                .await
                .unwrap();
            let third = RefCell::new(Some(third));
            let reopened = Rc::new(Cell::new(false));
            let (t, flag) = (trace.clone(), Rc::clone(&reopened));
            let swap = move || {
                let Some(third) = third.borrow_mut().take() else {
                    return;
                };
                // The second's event is in this batch. It ends, and its number and its slot go to the third.
                second.abort();
                let (t, flag) = (t.clone(), Rc::clone(&flag));
                create_task(async move {
                    dup_onto(&third, number);
                    drop(third);
                    let recorder = Recorder::new(&t);
                    let connecting =
                        get_running_loop().connect_accepted_socket(|| recorder, own(number));
                    drop(connecting.await.unwrap());
                    flag.set(true);
                })
                .detach();
            };
            let recorder = when_data(&first_trace, swap);
            let (first, _) = handle
                .connect_accepted_socket(|| recorder, first)
                .await
                .unwrap();
            first_peer.write_all(b"1").unwrap();
            second_peer.write_all(b"2").unwrap();
            until(|| reopened.get()).await;
            event_polls(2).await;
            trace.expect(["made"]);
            third_peer.write_all(b"3").unwrap();
            drop(third_peer);
            until(|| get_running_loop().metrics().sources == 1).await;
            trace.expect(["data 3", "eof", "lost"]);
            first.abort();
            until(|| get_running_loop().metrics().sources == 0).await;
        });
        first_trace.expect(["made", "data 1", "lost"]);
    }));
}

#[test]
fn d2_a_copy_of_a_transport_s_socket_is_nothing_to_the_loop() {
    on_real_time(|trace, event_loop| {
        let (ours, mut peer) = std_pair();
        let copy = ours.try_clone().unwrap();
        complete(&event_loop, async {
            let recorder = Recorder::new(&trace);
            let handle = get_running_loop();
            let connecting = handle.connect_accepted_socket(|| recorder, ours);
            let (transport, recorder) = connecting.await.unwrap();
            transport.abort();
            until(|| recorder.lost.get()).await;
            yield_now().await;
        });
        assert_eq!(event_loop.metrics().sources, 0);
        for _ in 0..10 {
            peer.write_all(b"for the copy").unwrap();
            assert!(readable_within(&copy, Duration::from_secs(20)));
        }
        let turns = turns_in(&event_loop, WINDOW);
        assert!(turns <= 5, "{turns} turns");
        trace.expect(["made", "lost"]);
    });
}

#[test]
fn a_number_that_was_closed_behind_its_watcher_and_is_a_socket_s_now_stays_the_socket_s() {
    for by_removal in [true, false] {
        on_real_time(move |trace, event_loop| {
            complete(&event_loop, async {
                let handle = get_running_loop();
                let (watched, _watched_peer) = std_pair();
                let (ours, mut peer) = std_pair();
                let number = watched.as_raw_fd();
                let t = trace.clone();
                handle.add_reader(&number, move || t.push("never")).unwrap();
                // The number is closed and opened as another socket, and the loop does not learn of it.
                dup_onto(&ours, number);
                drop(ours);
                std::mem::forget(watched);
                let stream = TcpStream::from_std(own(number)).unwrap();
                if by_removal {
                    assert!(handle.remove_reader(&number));
                    assert!(!handle.remove_reader(&number));
                } else {
                    // Nor does a second callback take the place over.
                    let refused = handle.add_writer(&number, || ());
                    assert!(refused.is_err());
                }
                let reader = create_task(async move {
                    let mut bytes = [0; 3];
                    stream.read_exact(&mut bytes).await.unwrap();
                    bytes
                });
                yield_now().await;
                peer.write_all(b"abc").unwrap();
                assert_eq!(&reader.await.unwrap(), b"abc");
                assert_eq!(handle.remove_reader(&number), !by_removal);
            });
            assert_eq!(event_loop.metrics().sources, 0);
            trace.expect([]);
        });
    }
}
