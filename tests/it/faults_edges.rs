//! Faults D3, D4 and E4: edges that get lost, and conditions that never end.

use std::cell::Cell;
use std::future::Future;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpListener as StdListener, TcpStream as StdStream};
use std::rc::Rc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use callsoon::net::{TcpListener, TcpStream};
use callsoon::{Clock, EventLoop, create_task, get_running_loop, sleep, yield_now};

use crate::support::{
    Polls, audited, complete, fill, in_a_loop, loopback, on_real_time, one_turn, reset, std_pair,
    stream_and_peer, stream_pair, thread_id, turns_in, until, wait_until_asleep, watched,
};

/// What the rows say of spinning is measured over this long.
const WINDOW: Duration = Duration::from_millis(200);

/// A small deterministic sequence of numbers.
struct Sequence(u64);

impl Sequence {
    /// The next number below `limit`.
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

#[test]
fn d3_bytes_written_one_by_one_arrive_in_reads_of_any_size() {
    in_a_loop(async || {
        // Five microseconds each, most of them the system's; the size of the row where that is all they take.
        const ROUNDS: usize = if cfg!(debug_assertions) {
            100_000
        } else {
            1_000_000
        };
        let (stream, mut peer) = stream_and_peer();
        let writer = thread::spawn(move || {
            let mut random = Sequence(7);
            let mut sent = 0;
            let mut number = 0_u8;
            while sent < ROUNDS {
                for _ in 0..=random.below(3) {
                    peer.write_all(&[number]).unwrap();
                    number = number.wrapping_mul(31).wrapping_add(17);
                    sent += 1;
                }
                if random.below(4) == 0 {
                    thread::yield_now();
                }
            }
            sent
        });
        let mut random = Sequence(11);
        let mut expected = 0_u8;
        let mut received = 0;
        loop {
            let mut buffer = [0; 16];
            let size = 1 + random.below(16) as usize;
            let count = stream.read(&mut buffer[..size]).await.unwrap();
            if count == 0 {
                break;
            }
            for &byte in &buffer[..count] {
                assert_eq!(byte, expected, "after {received} bytes");
                expected = expected.wrapping_mul(31).wrapping_add(17);
                received += 1;
            }
        }
        assert_eq!(received, writer.join().unwrap());
    });
}

#[test]
fn d3_ping_pong_of_random_sizes_within_one_loop_never_stalls() {
    in_a_loop(async || {
        let (near, far) = stream_pair();
        let echo = create_task(async move {
            let mut random = Sequence(3);
            let mut buffer = [0; 64];
            loop {
                let size = 1 + random.below(64) as usize;
                match far.read(&mut buffer[..size]).await.unwrap() {
                    0 => break,
                    count => far.write_all(&buffer[..count]).await.unwrap(),
                }
            }
        });
        let mut random = Sequence(5);
        for round in 0..10_000_u32 {
            let sent: Vec<u8> = (0..=random.below(40))
                .map(|n| (n as u32 ^ round) as u8)
                .collect();
            near.write_all(&sent).await.unwrap();
            let mut received = vec![0; sent.len()];
            near.read_exact(&mut received).await.unwrap();
            assert_eq!(received, sent);
        }
        drop(near);
        echo.await.unwrap();
    });
}

/// Reads with a buffer that is never filled until `expected` has come.
async fn expect_bytes(stream: &TcpStream, expected: &[u8]) {
    let mut received = Vec::new();
    let mut buffer = [0; 256];
    while received.len() < expected.len() {
        let count = stream.read(&mut buffer).await.unwrap();
        assert_ne!(count, 0, "the end came after {received:?}");
        received.extend_from_slice(&buffer[..count]);
    }
    assert_eq!(received, expected);
}

fn send_urgent(peer: &StdStream, byte: u8) {
    assert_eq!(
        socket2::SockRef::from(peer)
            .send_out_of_band(&[byte])
            .unwrap(),
        1
    );
}

#[test]
fn d3_an_urgent_mark_in_the_data_does_not_strand_what_follows_it() {
    in_a_loop(async || {
        // A read stops at the mark, so it is short although there is more, and no further event comes.
        let (ours, mut peer) = std_pair();
        peer.write_all(b"before").unwrap();
        send_urgent(&peer, b'!');
        peer.write_all(b"after").unwrap();
        let stream = TcpStream::from_std(ours).unwrap();
        expect_bytes(&stream, b"beforeafter").await;
        // Once there was a mark, a peer may send more of them at any time.
        for _ in 0..20 {
            peer.write_all(b"x").unwrap();
            send_urgent(&peer, b'!');
            peer.write_all(b"y").unwrap();
            expect_bytes(&stream, b"xy").await;
        }
    });
}

#[test]
fn d3_an_urgent_mark_that_comes_between_the_event_and_the_read_does_not_strand_data() {
    on_real_time(|_, event_loop| {
        let (ours, mut peer) = std_pair();
        let stream = event_loop.run_until_complete(async { TcpStream::from_std(ours).unwrap() });
        let stream = stream.unwrap();
        let reader = event_loop.create_task(async move {
            expect_bytes(&stream, b"beforeafter").await;
        });
        one_turn(&event_loop);
        peer.write_all(b"before").unwrap();
        // It is in the ready queue before the reader, which the poll for events of the same turn wakes.
        event_loop.call_soon(move || {
            send_urgent(&peer, b'!');
            peer.write_all(b"after").unwrap();
            // Kept open: a FIN would be an event of its own.
            get_running_loop().call_later(Duration::from_secs(100), move || drop(peer));
        });
        complete(&event_loop, reader).unwrap();
    });
}

#[test]
fn d3_a_fin_behind_the_data_is_seen_after_a_short_read() {
    in_a_loop(async || {
        for _ in 0..100 {
            let (ours, mut peer) = std_pair();
            peer.write_all(b"last words").unwrap();
            peer.shutdown(Shutdown::Write).unwrap();
            let stream = TcpStream::from_std(ours).unwrap();
            expect_bytes(&stream, b"last words").await;
            assert_eq!(stream.read(&mut [0; 256]).await.unwrap(), 0);
        }
    });
}

#[test]
fn d3_a_fin_that_comes_between_the_event_and_the_read_is_seen() {
    on_real_time(|_, event_loop| {
        for _ in 0..100 {
            let (ours, mut peer) = std_pair();
            let stream =
                event_loop.run_until_complete(async { TcpStream::from_std(ours).unwrap() });
            let stream = stream.unwrap();
            let reader = event_loop.create_task(async move {
                expect_bytes(&stream, b"last words").await;
                stream.read(&mut [0; 256]).await.unwrap()
            });
            one_turn(&event_loop);
            peer.write_all(b"last words").unwrap();
            event_loop.call_soon(move || drop(peer));
            assert_eq!(complete(&event_loop, reader).unwrap(), 0);
        }
    });
}

#[test]
fn d3_data_that_comes_right_after_a_short_read_is_a_new_event() {
    in_a_loop(async || {
        let (stream, mut peer) = stream_and_peer();
        for round in 0..1000_u32 {
            peer.write_all(&round.to_be_bytes()).unwrap();
            expect_bytes(&stream, &round.to_be_bytes()).await;
        }
    });
}

#[test]
fn d3_a_read_that_fills_its_buffer_leaves_the_rest_readable() {
    in_a_loop(async || {
        let (stream, mut peer) = stream_and_peer();
        peer.write_all(&[7; 1000]).unwrap();
        for _ in 0..125 {
            let mut eight = [0; 8];
            assert_eq!(stream.read(&mut eight).await.unwrap(), 8);
        }
        let error = stream.try_read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
    });
}

/// Runs `operation` over and over in a task, and says how often it ran at most between two steps of another task, and
/// whether a timer ran before the end.
async fn longest_streak<F: Future<Output = bool>>(
    mut operation: impl FnMut() -> F,
) -> (usize, bool) {
    let streak = Rc::new(Cell::new(0));
    let other = create_task({
        let streak = Rc::clone(&streak);
        async move {
            loop {
                streak.set(0);
                yield_now().await;
            }
        }
    });
    let timer = Rc::new(Cell::new(false));
    let fired = Rc::clone(&timer);
    get_running_loop().call_later(Duration::ZERO, move || fired.set(true));
    let mut longest = 0;
    while operation().await {
        streak.set(streak.get() + 1);
        longest = longest.max(streak.get());
    }
    let timer = timer.get();
    other.cancel();
    (longest, timer)
}

#[test]
fn d3_a_socket_that_is_always_readable_yields_to_others_and_loses_nothing() {
    in_a_loop(async || {
        let (ours, mut peer) = std_pair();
        peer.write_all(&[1; 10_000]).unwrap();
        drop(peer);
        let stream = TcpStream::from_std(ours).unwrap();
        let read = Cell::new(0);
        let (longest, timer) = longest_streak(async || {
            let count = stream.read(&mut [0]).await.unwrap();
            read.set(read.get() + count);
            count > 0
        })
        .await;
        assert_eq!(read.get(), 10_000);
        assert!(longest <= 128, "{longest} reads in one step");
        assert!(timer, "no timer ran");
    });
}

#[test]
fn d3_a_socket_that_is_always_writable_yields_to_others() {
    in_a_loop(async || {
        let (stream, mut peer) = stream_and_peer();
        let drain = thread::spawn(move || {
            let mut heard = Vec::new();
            peer.read_to_end(&mut heard).unwrap();
            heard.len()
        });
        let written = Cell::new(0);
        let (longest, timer) = longest_streak(async || {
            written.set(written.get() + stream.write(b"w").await.unwrap());
            written.get() < 10_000
        })
        .await;
        drop(stream);
        assert_eq!(drain.join().unwrap(), 10_000);
        assert!(longest <= 128, "{longest} writes in one step");
        assert!(timer, "no timer ran");
    });
}

/// Starts a task that reads and one that writes, both of which have to wait, and says how often each was polled.
fn reader_and_writer(
    event_loop: &EventLoop,
) -> (
    StdStream,
    Polls,
    Polls,
    callsoon::Task<std::io::Result<usize>>,
    callsoon::Task<std::io::Result<usize>>,
) {
    let (ours, peer) = std_pair();
    let stream = event_loop.run_until_complete(async { TcpStream::from_std(ours).unwrap() });
    let stream = Rc::new(stream.unwrap());
    fill(&stream);
    let (reads, writes) = (Polls::default(), Polls::default());
    let reader = event_loop.create_task(reads.clone().of({
        let stream = Rc::clone(&stream);
        async move { stream.read(&mut [0; 16]).await }
    }));
    let writer = event_loop.create_task(writes.clone().of(async move { stream.write(b"w").await }));
    // Registering may report once what was writable at that moment.
    turns_in(event_loop, Duration::from_millis(20));
    assert!(!reader.done() && !writer.done());
    (peer, reads, writes, reader, writer)
}

#[test]
fn d4_a_reset_wakes_reader_and_writer_once_and_does_not_spin() {
    on_real_time(|_, event_loop| {
        let (peer, reads, writes, reader, writer) = reader_and_writer(&event_loop);
        let before = (reads.get(), writes.get());
        reset(peer);
        complete(&event_loop, until(|| reader.done() && writer.done()));
        let turns = turns_in(&event_loop, WINDOW);
        assert!(turns <= 10, "{turns} turns");
        assert_eq!((reads.get() - before.0, writes.get() - before.1), (1, 1));
        // The system reports a reset once; the next operation finds the stream closed.
        let read = complete(&event_loop, reader).unwrap();
        let written = complete(&event_loop, writer).unwrap().unwrap_err();
        let first = read.as_ref().err().map(std::io::Error::kind);
        assert_eq!(first, Some(ErrorKind::ConnectionReset));
        assert!(
            matches!(
                written.kind(),
                ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
            ),
            "{written}"
        );
    });
}

#[test]
fn d4_a_half_close_wakes_the_reader_and_leaves_the_full_writer_alone() {
    on_real_time(|_, event_loop| {
        let (mut peer, reads, writes, reader, writer) = reader_and_writer(&event_loop);
        let before = (reads.get(), writes.get());
        peer.shutdown(Shutdown::Write).unwrap();
        complete(&event_loop, until(|| reader.done()));
        let turns = turns_in(&event_loop, WINDOW);
        assert!(turns <= 10, "{turns} turns");
        assert_eq!(reads.get() - before.0, 1);
        // The poller says writable or not along with the FIN; a needless attempt would be harmless, a loop would not.
        assert!(writes.get() - before.1 <= 1, "{} polls", writes.get());
        assert_eq!(complete(&event_loop, reader).unwrap().unwrap(), 0);
        assert!(!writer.done());
        let drain = thread::spawn(move || peer.read_to_end(&mut Vec::new()).unwrap());
        assert_eq!(complete(&event_loop, writer).unwrap().unwrap(), 1);
        drain.join().unwrap();
    });
}

#[test]
fn d4_a_stream_that_nobody_reads_does_not_spin_after_the_end_or_a_reset() {
    on_real_time(|_, event_loop| {
        // What the peer does, and what is left of it.
        type HangUp = (&'static str, fn(StdStream) -> Option<StdStream>);
        let hang_ups: [HangUp; 4] = [
            ("close", |_peer| None),
            ("reset", |peer| {
                reset(peer);
                None
            }),
            ("half-close", |peer| {
                peer.shutdown(Shutdown::Write).unwrap();
                Some(peer)
            }),
            ("data and close", |mut peer| {
                peer.write_all(b"unread").unwrap();
                None
            }),
        ];
        for (name, hang_up) in hang_ups {
            let (ours, peer) = std_pair();
            let stream =
                event_loop.run_until_complete(async { TcpStream::from_std(ours).unwrap() });
            let left = hang_up(peer);
            let turns = turns_in(&event_loop, WINDOW);
            assert!(turns <= 10, "{name}: {turns} turns");
            drop((stream, left));
        }
    });
}

#[test]
fn d4_a_socket_that_was_never_connected_does_not_spin() {
    on_real_time(|_, event_loop| {
        // Its registration reports it closed in both directions at once.
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let stream = event_loop
            .run_until_complete(async { TcpStream::from_std(socket.unwrap().into()).unwrap() })
            .unwrap();
        let reader = event_loop.create_task(async move {
            let error = stream.read(&mut [0]).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotConnected);
            stream
        });
        let turns = turns_in(&event_loop, WINDOW);
        assert!(turns <= 10, "{turns} turns");
        complete(&event_loop, reader).unwrap();
    });
}

#[test]
fn d4_a_socket_that_is_connected_after_its_registration_waits_for_data() {
    on_real_time(|_, event_loop| {
        let listener = StdListener::bind(loopback()).unwrap();
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let socket = socket.unwrap();
        let copy = socket.try_clone().unwrap();
        let stream = event_loop
            .run_until_complete(async { TcpStream::from_std(socket.into()).unwrap() })
            .unwrap();
        // The poller reports the socket as closed in both directions, which is about to be wrong.
        turns_in(&event_loop, Duration::from_millis(1));
        let started = copy.connect(&listener.local_addr().unwrap().into());
        assert!(started.is_ok() || started.unwrap_err().raw_os_error() == Some(libc::EINPROGRESS));
        let (mut peer, _) = listener.accept().unwrap();
        let reader = event_loop.create_task(async move {
            let mut buffer = [0; 16];
            let count = stream.read(&mut buffer).await.unwrap();
            buffer[..count].to_vec()
        });
        let turns = turns_in(&event_loop, WINDOW);
        assert!(turns <= 10, "{turns} turns");
        assert!(!reader.done());
        peer.write_all(b"at last").unwrap();
        assert_eq!(complete(&event_loop, reader).unwrap(), b"at last");
    });
}

#[test]
fn e4_reading_and_writing_after_a_reset_are_errors_every_time() {
    in_a_loop(async || {
        let (stream, peer) = stream_and_peer();
        reset(peer);
        let error = stream.read(&mut [0]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        for _ in 0..3 {
            assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
            let error = stream.write(b"x").await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        }
    });
}

#[test]
fn a_timer_is_not_lost_when_the_alarm_of_a_cancelled_one_goes_off_while_the_loop_spins() {
    audited(watched(|| {
        let spin = Duration::from_millis(50);
        let event_loop = EventLoop::builder().spin(spin).build().unwrap();
        // 1. After its spin the loop sleeps, with the timerfd armed for a first timer.
        let first = event_loop.call_later(Duration::from_millis(200), || ());
        let asleep = another_thread_sees_us_sleep(event_loop.remote());
        // 2. It is woken and replaces that timer by a later one while a spin covers the old deadline.
        let when = first.when();
        complete_without_timers(&event_loop, async move {
            asleep.await;
            first.cancel();
            // Just before the old deadline, without giving the loop a chance to sleep and arm the timerfd anew.
            while Instant::now() + Duration::from_millis(20) < when {
                yield_now().await;
            }
            // 3. The old timerfd expires during the spin, and the new deadline still has to be armed.
            sleep(Duration::from_millis(300)).await;
        });
    }));
}

/// A future that is done once another thread has seen this one asleep.
fn another_thread_sees_us_sleep(remote: callsoon::RemoteHandle) -> impl Future<Output = ()> {
    let (done, seen) = async_channel::bounded::<()>(1);
    let sleeper = thread_id();
    async move {
        let thread = thread::spawn(move || {
            wait_until_asleep(sleeper);
            remote.call_soon_threadsafe(move || drop(done)).unwrap();
        });
        let _ = seen.recv().await;
        thread.join().unwrap();
    }
}

/// Like `complete`, for a test that no other timer may disturb: another thread wakes the loop if it sleeps for too
/// long, which is the failure.
fn complete_without_timers<F: Future>(event_loop: &EventLoop, future: F) -> F::Output {
    let (alive, ended) = mpsc::channel::<()>();
    let remote = event_loop.remote();
    let rescuer = thread::spawn(move || {
        // Second by second, so that a machine that is suspended uses up one of them and not all.
        let second = Duration::from_secs(1);
        let overslept =
            (0..10).all(|_| ended.recv_timeout(second) == Err(RecvTimeoutError::Timeout));
        if overslept {
            let _ = remote.call_soon_threadsafe(|| get_running_loop().stop());
        }
        overslept
    });
    let result = event_loop.run_until_complete(future);
    drop(alive);
    assert!(!rescuer.join().unwrap(), "hang: a timer was lost");
    result.unwrap()
}

#[test]
fn a_virtual_loop_with_nothing_to_do_sleeps_although_it_may_spin() {
    audited(watched(|| {
        let builder = EventLoop::builder().clock(Clock::Virtual);
        let event_loop = builder.spin(Duration::from_micros(1)).build().unwrap();
        let asleep = another_thread_sees_us_sleep(event_loop.remote());
        event_loop.run_until_complete(asleep).unwrap();
    }));
}

#[test]
fn a_listener_that_nobody_accepts_from_does_not_spin() {
    on_real_time(|_, event_loop| {
        let listener = complete(&event_loop, TcpListener::bind(loopback())).unwrap();
        let clients: Vec<_> = (0..20)
            .map(|_| StdStream::connect(listener.local_addr().unwrap()).unwrap())
            .collect();
        let turns = turns_in(&event_loop, WINDOW);
        assert!(turns <= 10, "{turns} turns");
        drop(clients);
    });
}
