//! A process of its own, because it installs a signal handler.
//!
//! A signal that ends a sleep is told to the host, which runs its own handlers then, and may leave the run.

#![allow(unsafe_code)]

#[expect(dead_code, unused_imports, reason = "a part of it is needed here")]
#[path = "it/support/mod.rs"]
mod support;

use std::cell::Cell;
use std::ptr;
use std::rc::Rc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use callsoon::{LoopHandle, WaitEnd, WaitHooks, get_running_loop};

use support::{Trace, audited, real_loop, thread_id, wait_until_asleep, watched};

extern "C" fn nothing(_: libc::c_int) {}

/// Makes SIGUSR1 interrupt system calls, and do nothing else.
fn install() {
    // SAFETY: all zeros is a valid `sigaction`: no flags, so no restart, and an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = nothing as extern "C" fn(libc::c_int) as usize;
    // SAFETY: `action` is initialised and only read; the null pointer means that the old one is not wanted. The handler does
    // nothing.
    let result = unsafe { libc::sigaction(libc::SIGUSR1, &action, ptr::null_mut()) };
    assert_eq!(result, 0);
}

/// Sends the signal to this thread as soon as it sleeps.
fn interrupt_when_asleep() -> JoinHandle<()> {
    let sleeper = thread_id();
    thread::spawn(move || {
        wait_until_asleep(sleeper);
        // SAFETY: the call takes numbers. The thread lives: it joins this one.
        let result =
            unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), sleeper, libc::SIGUSR1) };
        assert_eq!(result, 0);
    })
}

/// What an interpreter does: it looks for signals after each interrupted sleep, and its handler may end the program.
struct Host {
    trace: Trace,
    handle: LoopHandle,
    /// After so many interruptions it leaves.
    patience: Cell<u32>,
    next: Cell<Option<JoinHandle<()>>>,
}

impl WaitHooks for Host {
    fn before_wait(&self) {
        self.trace.push("before");
        let former = self.next.replace(Some(interrupt_when_asleep()));
        assert!(former.is_none());
    }

    fn after_wait(&self, end: WaitEnd) {
        self.trace.push(format!("after: {end:?}"));
        self.next.take().unwrap().join().unwrap();
        let left = self.patience.get() - 1;
        self.patience.set(left);
        if left == 0 {
            self.handle.stop_now();
        }
    }
}

#[test]
fn a_host_is_told_of_a_signal_in_a_run_and_in_a_turn() {
    audited(watched(|| {
        install();
        let trace = Trace::new();
        let event_loop = real_loop(&trace);
        let host = Rc::new(Host {
            trace: trace.clone(),
            handle: event_loop.handle(),
            patience: Cell::new(3),
            next: Cell::new(None),
        });
        event_loop.set_wait_hooks(Some(host.clone()));
        event_loop.call_later(Duration::from_secs(3600), || unreachable!());
        // The run goes on after the first two, and the third is the one that leaves.
        event_loop.run_forever().unwrap();
        let wait = ["before", "after: Interrupted"];
        assert_eq!(trace.take(), [wait, wait, wait].concat());
        // A turn returns by itself.
        host.patience.set(10);
        event_loop.turn(None).unwrap();
        trace.expect(wait);
        // Without hooks the same signal changes nothing in a run, and ends a turn.
        event_loop.set_wait_hooks(None);
        let interrupter = interrupt_when_asleep();
        event_loop.turn(None).unwrap();
        interrupter.join().unwrap();
        let interrupter = interrupt_when_asleep();
        let (remote, sleeper) = (event_loop.remote(), thread_id());
        let poster = thread::spawn(move || {
            interrupter.join().unwrap();
            wait_until_asleep(sleeper);
            let stop = || get_running_loop().stop();
            remote.call_soon_threadsafe(stop).unwrap();
        });
        event_loop.run_forever().unwrap();
        poster.join().unwrap();
        trace.expect([]);
    }));
}
