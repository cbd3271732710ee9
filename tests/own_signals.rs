//! A process of its own, because signals and their dispositions belong to the whole process.
//!
//! Chapter "signals" of what asyncio promises, and rows H8 and H9 of the list of faults: bursts, forks, and a handler
//! that runs while everything else is going on.

#![allow(unsafe_code)]

#[expect(dead_code, unused_imports, reason = "a part of it is needed here")]
#[path = "it/support/mod.rs"]
mod support;

use std::cell::Cell;
use std::mem;
use std::ptr;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Once, mpsc};
use std::thread;
use std::time::Duration;

use callsoon::{
    ContextVar, EventLoop, LoopClosed, SignalError, create_task, ctrl_c, get_running_loop, signal,
    yield_now,
};
use libc::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};

use support::{
    DropProbe, Trace, Waiting, audited, complete, counted_fds, forbid, one_turn, real_loop,
    thread_id, virtual_loop, wait_until_asleep, watched,
};

/// A test under audit. What the process makes once for all, at the first handler, is made before.
#[track_caller]
fn tested(test: impl FnOnce() + Send + 'static) {
    static BELL: Once = Once::new();
    BELL.call_once(|| {
        // Whoever started this process may have had some ignored.
        for signum in [SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2] {
            set_disposition(signum, libc::SIG_DFL);
        }
        let event_loop = EventLoop::new().unwrap();
        event_loop.add_signal_handler(SIGUSR1, || ()).unwrap();
    });
    audited(watched(test));
}

fn raise(signum: i32) {
    // SAFETY: the call takes a number; whoever calls this has seen to it that the signal is handled or ignored.
    assert_eq!(unsafe { libc::raise(signum) }, 0);
}

/// Sends a signal to the process: any of its threads may get it.
fn kill(signum: i32) {
    // SAFETY: as in `raise`.
    assert_eq!(unsafe { libc::kill(libc::getpid(), signum) }, 0);
}

/// What a signal does now.
fn disposition(signum: i32) -> usize {
    // SAFETY: all zeros is a valid `sigaction`, and it is writable; the null pointer changes nothing.
    unsafe {
        let mut present: libc::sigaction = mem::zeroed();
        assert_eq!(libc::sigaction(signum, ptr::null(), &mut present), 0);
        present.sa_sigaction
    }
}

fn set_disposition(signum: i32, action: usize) {
    // SAFETY: the action is one of the system's constants or a handler below, which touches atomics alone.
    assert_ne!(unsafe { libc::signal(signum, action) }, libc::SIG_ERR);
}

#[test]
fn a_handler_runs_in_the_loop_and_stands_in_line() {
    tested(|| {
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        let t = trace.clone();
        event_loop
            .add_signal_handler(SIGUSR1, move || {
                t.push("handler");
                get_running_loop().call_soon(t.note("by the handler"));
            })
            .unwrap();
        event_loop.call_soon(trace.note("before"));
        raise(SIGUSR1);
        trace.expect([]);
        event_loop.call_soon(trace.note("after"));
        one_turn(&event_loop);
        // The loop looks for events when its turn begins, and hears of it then.
        trace.expect(["before", "after", "handler"]);
        one_turn(&event_loop);
        trace.expect(["by the handler"]);
        one_turn(&event_loop);
        trace.expect([]);
    });
}

#[test]
fn a_burst_is_one_call_and_the_next_arrival_another() {
    tested(|| {
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        for (signum, name) in [(SIGUSR1, "usr1"), (SIGUSR2, "usr2"), (SIGHUP, "hup")] {
            let t = trace.clone();
            event_loop
                .add_signal_handler(signum, move || t.push(name))
                .unwrap();
        }
        for _ in 0..3 {
            raise(SIGHUP);
            raise(SIGUSR1);
        }
        one_turn(&event_loop);
        trace.expect(["usr1", "hup"]);
        raise(SIGUSR2);
        one_turn(&event_loop);
        trace.expect(["usr2"]);
    });
}

#[test]
fn a_loop_that_sleeps_is_woken() {
    tested(|| {
        let event_loop = real_loop(&Trace::new());
        let handle = event_loop.handle();
        event_loop
            .add_signal_handler(SIGTERM, move || handle.stop())
            .unwrap();
        let sleeper = thread_id();
        let (running, runs) = mpsc::channel();
        event_loop.call_soon(move || running.send(()).unwrap());
        let sender = thread::spawn(move || {
            runs.recv().unwrap();
            wait_until_asleep(sleeper);
            // To this very thread, which is not the loop's.
            raise(SIGTERM);
        });
        event_loop.run_forever().unwrap();
        sender.join().unwrap();
    });
}

#[test]
fn a_new_handler_replaces_the_old_one_and_drops_it() {
    tested(|| {
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        for number in 1..=2 {
            let (t, probe) = (trace.clone(), DropProbe::new(&trace, number));
            event_loop
                .add_signal_handler(SIGUSR1, move || {
                    let _probe = &probe;
                    t.push(number);
                })
                .unwrap();
        }
        trace.expect(["drop 1"]);
        raise(SIGUSR1);
        one_turn(&event_loop);
        trace.expect(["2"]);
        assert!(event_loop.remove_signal_handler(SIGUSR1));
        trace.expect(["drop 2"]);
        assert!(!event_loop.remove_signal_handler(SIGUSR1));
    });
}

#[test]
fn what_the_old_handler_has_not_heard_the_new_one_hears() {
    tested(|| {
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        event_loop
            .add_signal_handler(SIGUSR1, || unreachable!("it was replaced"))
            .unwrap();
        raise(SIGUSR1);
        let t = trace.clone();
        event_loop
            .add_signal_handler(SIGUSR1, move || t.push("new"))
            .unwrap();
        one_turn(&event_loop);
        trace.expect(["new"]);
        // Also where it was replaced in the very turn in which it was to be called.
        let (handle, t) = (event_loop.handle(), trace.clone());
        event_loop
            .add_signal_handler(SIGHUP, move || {
                let t = t.clone();
                handle
                    .add_signal_handler(SIGUSR1, move || t.push("newest"))
                    .unwrap();
            })
            .unwrap();
        event_loop
            .add_signal_handler(SIGUSR1, || unreachable!("it was replaced"))
            .unwrap();
        raise(SIGHUP);
        raise(SIGUSR1);
        one_turn(&event_loop);
        trace.expect(["newest"]);
    });
}

#[test]
fn a_handler_that_was_removed_is_not_called_any_more() {
    tested(|| {
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        let handle = event_loop.handle();
        event_loop
            .add_signal_handler(SIGHUP, move || {
                assert!(handle.remove_signal_handler(SIGUSR1));
            })
            .unwrap();
        event_loop
            .add_signal_handler(SIGUSR1, || unreachable!("it was removed"))
            .unwrap();
        raise(SIGHUP);
        raise(SIGUSR1);
        one_turn(&event_loop);
        one_turn(&event_loop);
        trace.expect([]);
    });
}

#[test]
fn a_handler_may_remove_or_replace_itself() {
    tested(|| {
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        let (handle, t) = (event_loop.handle(), trace.clone());
        let probe = DropProbe::new(&trace, "first");
        event_loop
            .add_signal_handler(SIGUSR1, move || {
                let (inner, t2) = (handle.clone(), t.clone());
                handle
                    .add_signal_handler(SIGUSR1, move || {
                        assert!(inner.remove_signal_handler(SIGUSR1));
                        t2.push("second");
                    })
                    .unwrap();
                let _probe = &probe;
                t.push("first, replaced");
            })
            .unwrap();
        for _ in 0..2 {
            raise(SIGUSR1);
            one_turn(&event_loop);
        }
        trace.expect(["first, replaced", "drop first", "second"]);
        assert!(!event_loop.remove_signal_handler(SIGUSR1));
    });
}

#[test]
fn b1_a_handler_that_panics_is_reported_and_called_again() {
    tested(|| {
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        event_loop
            .add_signal_handler(SIGUSR1, || panic!("on purpose"))
            .unwrap();
        for _ in 0..2 {
            raise(SIGUSR1);
            one_turn(&event_loop);
            trace.expect(["report: Exception in callback (on purpose)"]);
        }
    });
}

#[test]
fn b2_handlers_whose_destructors_panic_do_not_keep_a_loop_from_closing() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("on purpose: a destructor");
        }
    }
    tested(|| {
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        for signum in [SIGUSR1, SIGUSR2] {
            let bomb = Bomb;
            event_loop
                .add_signal_handler(signum, move || {
                    let _bomb = &bomb;
                })
                .unwrap();
        }
        event_loop.close().unwrap();
        assert_eq!(trace.take().len(), 2);
        assert_eq!(disposition(SIGUSR2), libc::SIG_DFL);
    });
}

#[test]
fn numbers_that_cannot_be_handled_are_errors() {
    tested(|| {
        let event_loop = virtual_loop(&Trace::new());
        for signum in [0, -1, 65, i32::MAX, i32::MIN] {
            let refused = event_loop.add_signal_handler(signum, || ());
            assert!(matches!(refused, Err(SignalError::Unknown(number)) if number == signum));
            assert!(!event_loop.remove_signal_handler(signum));
        }
        for signum in [
            libc::SIGKILL,
            libc::SIGSTOP,
            libc::SIGSEGV,
            libc::SIGBUS,
            libc::SIGFPE,
            libc::SIGILL,
        ] {
            let refused = event_loop.signal(signum).map(drop);
            assert!(matches!(refused, Err(SignalError::Uncatchable(number)) if number == signum));
        }
        // Those that the C library keeps for itself are refused by the system.
        let refused = event_loop.add_signal_handler(32, || ());
        assert!(matches!(refused, Err(SignalError::Io(_))), "{refused:?}");
        assert_eq!(event_loop.metrics().sources, 0);
    });
}

#[test]
fn a_closed_loop_refuses_and_its_close_puts_everything_back() {
    tested(|| {
        set_disposition(SIGHUP, libc::SIG_IGN);
        let event_loop = virtual_loop(&Trace::new());
        event_loop.add_signal_handler(SIGUSR1, || ()).unwrap();
        event_loop.add_signal_handler(SIGHUP, || ()).unwrap();
        assert_ne!(disposition(SIGUSR1), libc::SIG_DFL);
        let mut stream = event_loop.signal(SIGHUP).unwrap();
        let mut waiting = Waiting::begun(stream.recv());
        event_loop.close().unwrap();
        assert_eq!(disposition(SIGUSR1), libc::SIG_DFL);
        assert_eq!(disposition(SIGHUP), libc::SIG_IGN);
        assert!(waiting.is_woken());
        assert_eq!(waiting.poll(), Some(Err(LoopClosed)));
        let refused = event_loop.add_signal_handler(SIGUSR1, || ());
        assert!(matches!(refused, Err(SignalError::Closed)));
        assert!(!event_loop.remove_signal_handler(SIGUSR1));
        drop(waiting);
        drop(stream);
        set_disposition(SIGHUP, libc::SIG_DFL);
    });
}

static FORMER_HANDLER_RAN: AtomicUsize = AtomicUsize::new(0);

extern "C" fn former_handler(_: libc::c_int) {
    FORMER_HANDLER_RAN.fetch_add(1, Ordering::SeqCst);
}

#[test]
fn the_disposition_from_before_is_put_back_by_the_last_of_all_listeners() {
    tested(|| {
        let former = former_handler as extern "C" fn(libc::c_int) as usize;
        set_disposition(SIGUSR2, former);
        let one = virtual_loop(&Trace::new());
        let other = virtual_loop(&Trace::new());
        one.add_signal_handler(SIGUSR2, || ()).unwrap();
        let stream = other.signal(SIGUSR2).unwrap();
        raise(SIGUSR2);
        drop(one);
        raise(SIGUSR2);
        assert_eq!(FORMER_HANDLER_RAN.load(Ordering::SeqCst), 0);
        drop(stream);
        assert_eq!(disposition(SIGUSR2), former);
        raise(SIGUSR2);
        assert_eq!(FORMER_HANDLER_RAN.load(Ordering::SeqCst), 1);
        set_disposition(SIGUSR2, libc::SIG_DFL);
    });
}

#[test]
fn h1_a_handler_that_somebody_else_has_installed_meanwhile_stands() {
    tested(|| {
        let event_loop = virtual_loop(&Trace::new());
        event_loop.add_signal_handler(SIGUSR2, || ()).unwrap();
        set_disposition(SIGUSR2, libc::SIG_IGN);
        assert!(event_loop.remove_signal_handler(SIGUSR2));
        assert_eq!(disposition(SIGUSR2), libc::SIG_IGN);
        set_disposition(SIGUSR2, libc::SIG_DFL);
    });
}

#[test]
fn a_signal_reaches_every_loop_that_listens_on_whatever_thread() {
    tested(|| {
        let trace = Trace::new();
        let here: Vec<_> = (0..2).map(|_| virtual_loop(&trace)).collect();
        for (event_loop, number) in here.iter().zip(1..) {
            let t = trace.clone();
            event_loop
                .add_signal_handler(SIGUSR1, move || t.push(number))
                .unwrap();
        }
        let ready = Arc::new(Barrier::new(4));
        let abroad: Vec<_> = (0..3)
            .map(|_| {
                let ready = Arc::clone(&ready);
                thread::spawn(move || {
                    let event_loop = EventLoop::new().unwrap();
                    let mut stream = event_loop.signal(SIGUSR1).unwrap();
                    ready.wait();
                    complete(&event_loop, stream.recv()).unwrap();
                })
            })
            .collect();
        ready.wait();
        kill(SIGUSR1);
        for thread in abroad {
            thread.join().unwrap();
        }
        // All three have heard of it, so it has arrived.
        here.iter().for_each(one_turn);
        trace.expect(["1", "2"]);
        here.iter().for_each(one_turn);
        trace.expect([]);
    });
}

#[test]
fn a_stream_counts_what_came_between_as_one_and_loses_nothing() {
    tested(|| {
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        let t = trace.clone();
        complete(&event_loop, async move {
            let mut first = signal(SIGUSR1).unwrap();
            raise(SIGUSR1);
            raise(SIGUSR1);
            let mut late = signal(SIGUSR1).unwrap();
            first.recv().await.unwrap();
            t.push("first");
            // One that was made later has heard nothing.
            let mut waiting = Waiting::begun(late.recv());
            let task = create_task({
                let t = t.clone();
                async move {
                    first.recv().await.unwrap();
                    t.push("first again");
                }
            });
            yield_now().await;
            assert!(!waiting.is_woken());
            raise(SIGUSR1);
            task.await.unwrap();
            assert!(waiting.is_woken());
            assert_eq!(waiting.poll(), Some(Ok(())));
        });
        trace.expect(["first", "first again"]);
        assert_eq!(disposition(SIGUSR1), libc::SIG_DFL);
    });
}

#[test]
fn ctrl_c_is_awaited_once_and_has_its_former_effect_again() {
    tested(|| {
        let event_loop = real_loop(&Trace::new());
        complete(&event_loop, async {
            let pressed = create_task(ctrl_c());
            yield_now().await;
            assert_ne!(disposition(SIGINT), libc::SIG_DFL);
            kill(SIGINT);
            pressed.await.unwrap().unwrap();
            assert_eq!(disposition(SIGINT), libc::SIG_DFL);
            let cancelled = create_task(ctrl_c());
            yield_now().await;
            cancelled.cancel();
            cancelled.await.unwrap_err();
            assert_eq!(disposition(SIGINT), libc::SIG_DFL);
        });
    });
}

#[test]
fn a_handler_keeps_no_program_alive_and_is_no_task() {
    tested(|| {
        callsoon::run(async {
            let handle = get_running_loop();
            handle.add_signal_handler(SIGUSR1, || ()).unwrap();
            assert_eq!(handle.all_tasks().len(), 1);
        })
        .unwrap();
        assert_eq!(disposition(SIGUSR1), libc::SIG_DFL);
    });
}

#[test]
fn a_loop_without_handlers_has_no_descriptor_and_no_source_for_them() {
    tested(|| {
        let event_loop = EventLoop::new().unwrap();
        let before = counted_fds();
        assert_eq!(event_loop.metrics().sources, 0);
        event_loop.add_signal_handler(SIGUSR1, || ()).unwrap();
        let stream = event_loop.signal(SIGUSR2).unwrap();
        // The bell is the process's.
        assert_eq!(counted_fds(), before);
        assert_eq!(event_loop.metrics().sources, 1);
        drop(stream);
    });
}

#[test]
fn a_handler_runs_in_the_context_in_which_it_was_added() {
    static USER: ContextVar<&str> = ContextVar::new("user");
    tested(|| {
        let event_loop = real_loop(&Trace::new());
        let seen = Rc::new(Cell::new(None));
        let note = Rc::clone(&seen);
        complete(&event_loop, async move {
            create_task(async move {
                USER.set("ann");
                let add = move || note.set(USER.get());
                get_running_loop().add_signal_handler(SIGUSR1, add).unwrap();
            })
            .await
            .unwrap();
            USER.set("bob");
            let mut stream = signal(SIGUSR1).unwrap();
            raise(SIGUSR1);
            stream.recv().await.unwrap();
            yield_now().await;
        });
        one_turn(&event_loop);
        assert_eq!(seen.get(), Some("ann"));
    });
}

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
fn h8_a_burst_while_the_loop_does_not_look_fills_the_pipe_and_loses_no_kind() {
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
    /// The number of the only eventfd there is, which is the bell while there is no loop.
    fn bell() -> i32 {
        let fds = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
        let mut bells = fds.filter(|fd| {
            std::fs::read_link(fd.path()).is_ok_and(|to| to.ends_with("anon_inode:[eventfd]"))
        });
        let bell = bells.next().unwrap();
        assert!(bells.next().is_none());
        bell.file_name().to_str().unwrap().parse().unwrap()
    }
    tested(|| {
        let bell = bell();
        let event_loop = virtual_loop(&Trace::new());
        event_loop.add_signal_handler(SIGUSR1, || ()).unwrap();
        let after = thread::spawn(move || {
            // The handler's write fails, which would show in `errno`.
            if !forbid(libc::SYS_write, Some(bell), libc::EPERM) {
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
        let (reader, writer) = std::io::pipe().unwrap();
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
fn i1_signals_that_arrive_while_loops_open_and_close_are_heard_or_ignored() {
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
fn h9_a_forked_child_has_the_dispositions_from_before_and_leaves_its_parent_s_bell_alone() {
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
        let looks = event_loop.metrics().looks;
        one_turn(&event_loop);
        assert_eq!(event_loop.metrics().looks, looks + 1);
        trace.expect([]);
        raise(SIGTERM);
        one_turn(&event_loop);
        trace.expect(["handler"]);
    });
}

#[test]
fn h9_a_fresh_loop_in_a_forked_child_hears_the_child_s_signals_alone() {
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
        let sender = thread::spawn(move || {
            wait_until_asleep(sleeper);
            kill(SIGUSR1);
        });
        let mut stream = event_loop.signal(SIGUSR1).unwrap();
        let before = event_loop.time();
        event_loop
            .run_until_complete(stream.recv())
            .unwrap()
            .unwrap();
        assert_eq!(event_loop.time() - before, Duration::ZERO);
        sender.join().unwrap();
    });
}
