//! Bursts, forks, and a handler that runs while everything else is going on: faults H8, H9 and I1.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use callsoon::{EventLoop, SignalError};
use libc::{SIGHUP, SIGTERM, SIGUSR1, SIGUSR2};

use crate::support::{
    Trace, forbid, one_turn, real_loop, thread_id, virtual_loop, wait_until_asleep,
};

use crate::*;

#[test]
fn h8_a_hundred_thousand_signals_beside_posts_lose_no_kind() {
    const KINDS: [i32; 3] = [SIGHUP, SIGUSR1, SIGUSR2];
    const EACH: usize = 25_000;
    tested(|| {
        let trace = Trace::new();
        let event_loop = real_loop(&trace);
        let calls: [Rc<Cell<usize>>; 3] = Default::default();
        for (signum, calls) in KINDS.into_iter().zip(&calls) {
            let calls = Rc::clone(calls);
            event_loop
                .add_signal_handler(signum, move || calls.set(calls.get() + 1))
                .unwrap();
        }
        let handle = event_loop.handle();
        event_loop
            .add_signal_handler(SIGTERM, move || handle.stop())
            .unwrap();
        let posted = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                let (remote, posted) = (event_loop.remote(), Arc::clone(&posted));
                thread::spawn(move || {
                    for number in 0..EACH {
                        // The handler interrupts this thread, also while it holds a lock of the inbox.
                        raise(KINDS[(thread + number) % 3]);
                        if number % 5 == 0 {
                            let posted = Arc::clone(&posted);
                            remote
                                .call_soon_threadsafe(move || {
                                    posted.fetch_add(1, Ordering::Relaxed);
                                })
                                .unwrap();
                        }
                    }
                })
            })
            .collect();
        let waiter = thread::spawn(move || {
            for thread in threads {
                thread.join().unwrap();
            }
            // The very last, and once.
            kill(SIGTERM);
        });
        event_loop.run_forever().unwrap();
        waiter.join().unwrap();
        one_turn(&event_loop);
        assert_eq!(posted.load(Ordering::Relaxed), 4 * EACH / 5);
        for calls in calls {
            assert!((1..=2 * EACH).contains(&calls.get()), "{}", calls.get());
        }
        trace.expect([]);
    });
}

#[test]
fn h8_a_burst_while_the_loop_does_not_poll_fills_the_pipe_and_loses_no_kind() {
    tested(|| {
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        for (signum, name) in [(SIGHUP, "hup"), (SIGTERM, "term")] {
            let t = trace.clone();
            event_loop
                .add_signal_handler(signum, move || t.push(name))
                .unwrap();
        }
        // More than any pipe holds, and then the one that matters.
        for _ in 0..100_000 {
            raise(SIGHUP);
        }
        raise(SIGTERM);
        one_turn(&event_loop);
        trace.expect(["hup", "term"]);
        raise(SIGTERM);
        one_turn(&event_loop);
        trace.expect(["term"]);
    });
}

#[test]
fn h8_a_handler_leaves_errno_alone() {
    /// The number of the only eventfd there is, which is the notifier while there is no loop.
    fn notifier() -> i32 {
        let fds = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
        let mut notifiers = fds.filter(|fd| {
            std::fs::read_link(fd.path()).is_ok_and(|to| to.ends_with("anon_inode:[eventfd]"))
        });
        let notifier = notifiers.next().unwrap();
        assert!(notifiers.next().is_none());
        notifier.file_name().to_str().unwrap().parse().unwrap()
    }
    tested(|| {
        let notifier = notifier();
        let event_loop = virtual_loop(&Trace::new());
        event_loop.add_signal_handler(SIGUSR1, || ()).unwrap();
        let after = thread::spawn(move || {
            // The handler's write fails, which would show in `errno`.
            if !forbid(libc::SYS_write, Some(notifier), libc::EPERM) {
                return 77;
            }
            // SAFETY: the address is that of this thread's own variable, and nothing between the two accesses touches
            // it but the signal handler.
            unsafe {
                let errno = libc::__errno_location();
                *errno = 77;
                libc::raise(SIGUSR1);
                *errno
            }
        });
        assert_eq!(after.join().unwrap(), 77);
    });
}

#[test]
fn a_blocking_read_is_restarted() {
    tested(|| {
        let event_loop = virtual_loop(&Trace::new());
        let heard = Rc::new(Cell::new(false));
        let note = Rc::clone(&heard);
        event_loop
            .add_signal_handler(SIGUSR1, move || note.set(true))
            .unwrap();
        let (reader, writer) = crate::support::pipe().unwrap();
        let (announce, announced) = mpsc::channel();
        let blocked = thread::spawn(move || {
            announce.send(thread_id()).unwrap();
            let mut byte = [0_u8];
            let fd = std::os::fd::AsRawFd::as_raw_fd(&reader);
            // Not by std, which would try again by itself.
            // SAFETY: the buffer is one writable byte, as the count says, and the descriptor is open.
            unsafe { libc::read(fd, byte.as_mut_ptr().cast(), 1) }
        });
        let thread = announced.recv().unwrap();
        wait_until_asleep(thread);
        // SAFETY: the call takes numbers; the thread is alive, since it waits for us.
        unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, SIGUSR1) };
        while !heard.get() {
            one_turn(&event_loop);
        }
        wait_until_asleep(thread);
        std::io::Write::write_all(&mut &writer, b"x").unwrap();
        assert_eq!(blocked.join().unwrap(), 1);
    });
}

#[test]
fn i1_signals_that_arrive_while_loops_open_and_close_are_delivered_or_ignored() {
    tested(|| {
        set_disposition(SIGUSR1, libc::SIG_IGN);
        let over = Arc::new(AtomicBool::new(false));
        let storm = Arc::clone(&over);
        let sender = thread::spawn(move || {
            while !storm.load(Ordering::Relaxed) {
                kill(SIGUSR1);
            }
        });
        let heard = Rc::new(Cell::new(0));
        let mut round = 0;
        // On a busy machine the sender may have hardly begun after a thousand rounds.
        while round < 1000 || heard.get() == 0 {
            round += 1;
            let event_loop = EventLoop::new().unwrap();
            let note = Rc::clone(&heard);
            event_loop
                .add_signal_handler(SIGUSR1, move || note.set(note.get() + 1))
                .unwrap();
            if round % 3 == 0 {
                one_turn(&event_loop);
            }
            drop(event_loop);
        }
        over.store(true, Ordering::Relaxed);
        sender.join().unwrap();
        assert_eq!(disposition(SIGUSR1), libc::SIG_IGN);
        set_disposition(SIGUSR1, libc::SIG_DFL);
    });
}

/// Forks; the child runs `child` and exits with what it gives, the parent waits and gives the status.
fn forked(child: impl FnOnce() -> i32) -> libc::c_int {
    // SAFETY: the child calls what the test says and then `_exit`, so that it never returns into the harness. It uses
    // no lock that another thread may have held: the allocator's are taken care of by the C library.
    unsafe {
        match libc::fork() {
            0 => libc::_exit(child()),
            pid => {
                assert!(pid > 0);
                let mut status = 0;
                assert_eq!(libc::waitpid(pid, &mut status, 0), pid);
                status
            }
        }
    }
}

#[test]
fn h9_a_forked_child_has_the_dispositions_from_before_and_leaves_its_parent_s_notifier_alone() {
    tested(|| {
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        let t = trace.clone();
        event_loop
            .add_signal_handler(SIGTERM, move || t.push("handler"))
            .unwrap();
        let handle = event_loop.handle();
        let status = forked(|| {
            let refused = handle.add_signal_handler(SIGUSR1, || ());
            assert!(matches!(refused, Err(SignalError::Closed)));
            raise(SIGTERM);
            0
        });
        assert!(libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == SIGTERM);
        let polls = event_loop.metrics().event_polls;
        one_turn(&event_loop);
        assert_eq!(event_loop.metrics().event_polls, polls + 1);
        trace.expect([]);
        raise(SIGTERM);
        one_turn(&event_loop);
        trace.expect(["handler"]);
    });
}

#[test]
fn h9_a_fresh_loop_in_a_forked_child_receives_the_child_s_signals_alone() {
    tested(|| {
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        let t = trace.clone();
        event_loop
            .add_signal_handler(SIGUSR1, move || t.push("parent"))
            .unwrap();
        let status = forked(|| {
            let fresh = EventLoop::new().unwrap();
            let heard = Rc::new(Cell::new(0));
            let note = Rc::clone(&heard);
            fresh
                .add_signal_handler(SIGUSR1, move || note.set(note.get() + 1))
                .unwrap();
            raise(SIGUSR1);
            one_turn(&fresh);
            drop(fresh);
            assert_eq!(disposition(SIGUSR1), libc::SIG_DFL);
            heard.get()
        });
        assert!(
            libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 1,
            "{status}"
        );
        one_turn(&event_loop);
        trace.expect([]);
        // And the parent's still works.
        raise(SIGUSR1);
        one_turn(&event_loop);
        trace.expect(["parent"]);
    });
}

#[test]
fn a_virtual_clock_waits_for_a_signal_where_it_has_no_deadline() {
    tested(|| {
        let event_loop = virtual_loop(&Trace::new());
        let sleeper = thread_id();
        // It is listened for before it can come: a thread may sleep for a moment anywhere.
        let mut stream = event_loop.signal(SIGUSR1).unwrap();
        let sender = thread::spawn(move || {
            wait_until_asleep(sleeper);
            kill(SIGUSR1);
        });
        let before = event_loop.time();
        event_loop
            .run_until_complete(stream.recv())
            .unwrap()
            .unwrap();
        assert_eq!(event_loop.time() - before, Duration::ZERO);
        sender.join().unwrap();
    });
}
