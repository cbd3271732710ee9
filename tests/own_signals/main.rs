//! A process of its own, because signals and their dispositions belong to the whole process.
//!
//! What asyncio promises of signal handlers, and faults H8 and H9: bursts, forks, and a handler
//! that runs while everything else is going on.

#![allow(unsafe_code)]

#[expect(dead_code, unused_imports, reason = "a part of it is needed here")]
#[path = "../it/support/mod.rs"]
mod support;

mod under_fire;

use std::cell::Cell;
use std::mem;
use std::ptr;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Once, mpsc};
use std::thread;

use callsoon::{
    ContextVar, EventLoop, LoopClosed, SignalError, create_task, ctrl_c, get_running_loop, signal,
    yield_now,
};
use libc::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};

use support::{
    DropProbe, Trace, Waiting, audited, complete, counted_fds, one_turn, real_loop, rounds_alone,
    thread_id, virtual_loop, wait_until_asleep, watched,
};

/// A test under audit. What the process makes once for all, at the first handler, is made before.
#[track_caller]
fn tested(test: impl FnOnce() + Send + 'static) {
    static PREPARED: Once = Once::new();
    PREPARED.call_once(|| {
        // The parent process may have had some ignored.
        for signum in [SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2] {
            set_disposition(signum, libc::SIG_DFL);
        }
        let event_loop = EventLoop::new().unwrap();
        event_loop.add_signal_handler(SIGUSR1, || ()).unwrap();
    });
    audited(watched(test));
}

fn raise(signum: i32) {
    // SAFETY: the call takes a number, and the caller has made sure that the signal is handled or ignored.
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
fn a_handler_runs_in_the_loop_and_is_queued() {
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
        // The loop polls for events when its turn begins, and receives the signal then.
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
fn what_the_old_handler_has_not_received_the_new_one_receives() {
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
fn h1_a_handler_that_other_code_has_installed_meanwhile_stays() {
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
        let others: Vec<_> = (0..3)
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
        for thread in others {
            thread.join().unwrap();
        }
        // All three have received it, so it has arrived.
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
            // One that was made later has received nothing.
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
        // The notifier is the process's.
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
fn a_signal_stream_of_a_closed_loop_lets_others_run() {
    tested(|| {
        let other = virtual_loop(&Trace::new());
        let mut stream = other.signal(SIGHUP).unwrap();
        other.close().unwrap();
        let event_loop = real_loop(&Trace::new());
        complete(&event_loop, async {
            let receives = async || assert_eq!(stream.recv().await, Err(LoopClosed));
            assert_eq!(rounds_alone(receives).await, Some(128));
        });
    });
}
