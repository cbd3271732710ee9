//! A process of its own, because it installs a signal handler, and a signal comes a thousand times a second.
//!
//! Fault D7: system calls are interrupted all the time. No error escapes, no timer is early, and the loop does not turn
//! more often than it is interrupted.

#![allow(unsafe_code)]

#[expect(dead_code, unused_imports, reason = "a part of it is needed here")]
#[path = "it/support/mod.rs"]
mod support;

use std::mem;
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use callsoon::net::{TcpListener, TcpStream};
use callsoon::{EventLoop, create_task, sleep};

use support::{audited, complete, loopback, thread_id, watched};

/// The thread that is to be interrupted, by its number; 0 while there is none.
static TARGET: AtomicI32 = AtomicI32::new(0);

/// How often it was interrupted.
static INTERRUPTIONS: AtomicU64 = AtomicU64::new(0);

/// A signal to the process goes to any of its threads, so the thread that receives it passes it on to the one that it
/// is meant for.
extern "C" fn interrupted(signal: libc::c_int) {
    let target = TARGET.load(Ordering::Relaxed);
    if target == thread_id() {
        INTERRUPTIONS.fetch_add(1, Ordering::Relaxed);
    } else if target != 0 {
        // SAFETY: the call takes numbers, and may be made in a signal handler. At worst the thread is gone, which it
        // says by an error that nobody needs; `errno` may change under a thread that is not under test.
        unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), target, signal) };
    }
}

/// While it lives, SIGALRM interrupts the thread that made it a thousand times a second, without `SA_RESTART`.
struct Noise;

impl Noise {
    fn new() -> Self {
        // SAFETY: all zeros is a valid `sigaction`: no flags, so no restart, and an empty mask.
        let mut action: libc::sigaction = unsafe { mem::zeroed() };
        action.sa_sigaction = interrupted as extern "C" fn(libc::c_int) as usize;
        // SAFETY: `action` is initialised and only read; the null pointer means that the old one is not wanted. The
        // handler touches atomics and makes system calls that are allowed in one.
        let result = unsafe { libc::sigaction(libc::SIGALRM, &action, ptr::null_mut()) };
        assert_eq!(result, 0);
        TARGET.store(thread_id(), Ordering::Relaxed);
        set_interval(1000);
        Self
    }
}

impl Drop for Noise {
    fn drop(&mut self) {
        set_interval(0);
        TARGET.store(0, Ordering::Relaxed);
    }
}

fn set_interval(microseconds: libc::suseconds_t) {
    let interval = libc::timeval {
        tv_sec: 0,
        tv_usec: microseconds,
    };
    let timer = libc::itimerval {
        it_interval: interval,
        it_value: interval,
    };
    // SAFETY: `timer` is initialised and only read; the null pointer means that the old one is not wanted.
    let result = unsafe { libc::setitimer(libc::ITIMER_REAL, &timer, ptr::null_mut()) };
    assert_eq!(result, 0);
}

#[test]
fn d7_interrupted_system_calls_are_not_seen_by_the_program() {
    audited(watched(|| {
        let event_loop = EventLoop::new().unwrap();
        let noise = Noise::new();
        let before = event_loop.metrics().turns;
        let mut entries = complete(&event_loop, sleeps_and_echo());
        // The loop has nothing to do here but sleep; on a busy machine, until it has been interrupted often enough.
        loop {
            complete(&event_loop, sleep(Duration::from_millis(300)));
            entries += 4;
            if INTERRUPTIONS.load(Ordering::Relaxed) >= 100 {
                break;
            }
        }
        drop(noise);
        let interrupted = INTERRUPTIONS.load(Ordering::Relaxed);
        let turns = event_loop.metrics().turns - before;
        assert!(
            turns <= interrupted + entries,
            "{turns} turns for {interrupted} interruptions and {entries} events"
        );
    }));
}

/// Sleeps two hundred times, never early, beside a thousand messages back and forth. Gives a generous count of the
/// turns that this takes without interruptions.
async fn sleeps_and_echo() -> u64 {
    const SLEEPS: u32 = 200;
    const MESSAGES: u32 = 1000;
    let sleeper = create_task(async {
        for round in 0..SLEEPS {
            let delay = Duration::from_micros(u64::from(200 + 13 * round));
            let start = Instant::now();
            sleep(delay).await;
            let took = start.elapsed();
            assert!(took >= delay, "{took:?} instead of {delay:?}");
        }
    });
    let listener = TcpListener::bind(loopback()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = create_task(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut buffer = [0; 64];
        loop {
            match stream.read(&mut buffer).await.unwrap() {
                0 => break,
                count => stream.write_all(&buffer[..count]).await.unwrap(),
            }
        }
    });
    let client = TcpStream::connect(address).await.unwrap();
    for round in 0..MESSAGES {
        client.write_all(&round.to_be_bytes()).await.unwrap();
        let mut answer = [0; 4];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(u32::from_be_bytes(answer), round);
    }
    drop(client);
    server.await.unwrap();
    sleeper.await.unwrap();
    u64::from(4 * (SLEEPS + MESSAGES))
}
