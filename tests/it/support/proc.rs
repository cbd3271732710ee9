//! What `/proc` and `poll` report of a thread or a descriptor, for tests about sleeping.

#![allow(unsafe_code)]

use std::os::fd::AsRawFd;
use std::time::Duration;

use callsoon::EventLoop;

use super::Patience;

/// Returns the calling thread's number.
pub(crate) fn thread_id() -> i32 {
    // SAFETY: the call takes no arguments and cannot fail.
    unsafe { libc::gettid() }
}

/// Waits until a thread, of this process or another, sleeps in the kernel. `/proc` reports it, so this is a handshake
/// and no guess: a thread that never sleeps fails the test.
#[track_caller]
pub(crate) fn wait_until_asleep(thread_id: i32) {
    let mut patience = Patience::new();
    while state(thread_id) != 'S' {
        assert!(
            patience.lets_others_run(),
            "the thread does not fall asleep"
        );
    }
}

fn state(thread_id: i32) -> char {
    let stat = std::fs::read_to_string(format!("/proc/{thread_id}/task/{thread_id}/stat")).unwrap();
    // The name, in parentheses, may hold anything.
    let rest = &stat[stat.rfind(')').unwrap() + 2..];
    rest.chars().next().unwrap()
}

/// Returns how often a thread has given up the processor to wait, which is once for each system call that waits.
pub(crate) fn voluntary_switches(thread_id: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/self/task/{thread_id}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.unwrap().trim().parse().unwrap()
}

/// Returns how long a thread has been on a processor.
pub(crate) fn cpu_time(thread_id: i32) -> Duration {
    let schedstat =
        std::fs::read_to_string(format!("/proc/self/task/{thread_id}/schedstat")).unwrap();
    let nanos = schedstat.split_whitespace().next().unwrap();
    Duration::from_nanos(nanos.parse().unwrap())
}

/// How long the calling thread has been on a processor, to this moment; what other threads read is brought up to date
/// now and then only.
pub(crate) fn own_cpu_time() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the call fills the structure, which is initialised and outlives it.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    assert_eq!(result, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Waits until a descriptor is readable, at most for this time.
pub(crate) fn readable_within(descriptor: &impl AsRawFd, limit: Duration) -> bool {
    let mut polled = libc::pollfd {
        fd: descriptor.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: the pointer is to one initialised pollfd, which is what the count says, and it outlives the call.
    let ready = unsafe { libc::poll(&mut polled, 1, limit.as_millis() as libc::c_int) };
    ready == 1 && polled.revents & libc::POLLIN != 0
}

/// Waits until the system has an event for the loop: even on the loopback interface what is sent arrives a little later
/// than the call that sends it returns.
#[track_caller]
pub(crate) fn wait_for_an_event(event_loop: &EventLoop) {
    let told = readable_within(event_loop, Duration::from_secs(60));
    assert!(told, "nothing arrives");
}

/// Waits until no thread of the process has a name that begins with `prefix`.
#[track_caller]
pub(crate) fn wait_until_gone(prefix: &str) {
    let mut patience = Patience::new();
    while has_thread(prefix) {
        assert!(patience.lets_others_run(), "threads do not end");
    }
}

fn has_thread(prefix: &str) -> bool {
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    threads
        .flatten()
        .filter_map(|thread| std::fs::read_to_string(thread.path().join("comm")).ok())
        .any(|name| name.starts_with(prefix))
}
