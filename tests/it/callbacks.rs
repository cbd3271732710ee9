//! Callbacks and their handles.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc;

use callsoon::net::TcpListener;
use callsoon::{Handle, LoopHandle, RemoteHandle, ThreadsafeHandle};

use crate::support::{
    DropProbe, Trace, audited, on_virtual_time, one_turn, panic_text, virtual_loop,
    wait_for_an_event, watched,
};

/// A callback that writes a line with the number of the turn in which it runs.
fn numbered(event_loop: &LoopHandle, trace: &Trace, line: &'static str) -> impl FnOnce() + 'static {
    let (event_loop, trace) = (event_loop.clone(), trace.clone());
    move || trace.push(format!("turn {}: {line}", event_loop.metrics().turns))
}

#[test]
fn callbacks_run_once_each_in_the_order_of_their_calls_and_never_inside_them() {
    on_virtual_time(|trace, event_loop| {
        for name in ["a", "b", "c"] {
            event_loop.call_soon(trace.note(name));
        }
        trace.expect([]);
        one_turn(&event_loop);
        trace.expect(["a", "b", "c"]);
        one_turn(&event_loop);
        trace.expect([]);
    });
}

#[test]
fn what_a_callback_schedules_runs_in_the_next_turn() {
    on_virtual_time(|trace, event_loop| {
        let handle = event_loop.handle();
        let t = trace.clone();
        event_loop.call_soon(move || {
            numbered(&handle, &t, "first")();
            handle.call_soon(numbered(&handle, &t, "scheduled by first"));
        });
        event_loop.call_soon(numbered(&event_loop, &trace, "second"));
        one_turn(&event_loop);
        one_turn(&event_loop);
        trace.expect([
            "turn 1: first",
            "turn 1: second",
            "turn 2: scheduled by first",
        ]);
    });
}

#[test]
fn a_callback_that_reschedules_itself_starves_neither_events_nor_due_timers() {
    audited(watched(|| {
        fn again(handle: LoopHandle, rounds: Rc<Cell<u32>>) {
            rounds.set(rounds.get() + 1);
            let next = handle.clone();
            handle.call_soon(move || again(next, rounds));
        }
        let event_loop = virtual_loop(&Trace::new());
        let rounds = Rc::new(Cell::new(0));
        let (handle, counter) = (event_loop.handle(), Rc::clone(&rounds));
        event_loop.call_soon(move || again(handle, counter));
        let listener = TcpListener::bind("127.0.0.1:0");
        let listener = event_loop.run_until_complete(listener).unwrap().unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        wait_for_an_event(&event_loop);
        // The loop never idles from here on. It polls for events after 64 entries at the latest, whatever the interval
        // was.
        rounds.set(0);
        let accepted = event_loop.run_until_complete(listener.accept());
        assert!(accepted.unwrap().is_ok() && rounds.get() <= 130);
        rounds.set(0);
        let now = event_loop.time();
        event_loop
            .run_until_complete(callsoon::sleep_until(now))
            .unwrap();
        // A timer that is due already forces a poll for events, in the next turn.
        assert!(rounds.get() <= 4, "{rounds:?}");
        drop(client);
    }));
}

#[test]
fn cancel_drops_the_callback_at_once_and_the_others_keep_their_places() {
    on_virtual_time(|trace, event_loop| {
        let handles: Vec<Handle> = ["a", "b", "c", "d"]
            .into_iter()
            .map(|name| {
                let probe = DropProbe::new(&trace, name);
                let note = trace.note(name);
                event_loop.call_soon(move || {
                    note();
                    drop(probe);
                })
            })
            .collect();
        handles[1].cancel();
        trace.expect(["drop b"]);
        handles[1].cancel();
        handles[3].cancel();
        trace.expect(["drop d"]);
        one_turn(&event_loop);
        trace.expect(["a", "drop a", "c", "drop c"]);
        let cancelled: Vec<_> = handles.iter().map(Handle::cancelled).collect();
        assert_eq!(cancelled, [false, true, false, true]);
    });
}

#[test]
fn a_callback_can_cancel_one_of_its_own_batch_and_itself_to_no_effect() {
    on_virtual_time(|trace, event_loop| {
        let handles = Rc::new(RefCell::new(Vec::<Handle>::new()));
        let (own, t) = (Rc::clone(&handles), trace.clone());
        let first = event_loop.call_soon(move || {
            for handle in own.borrow().iter() {
                handle.cancel();
            }
            t.push("first runs to its end");
        });
        let second = event_loop.call_soon(trace.note("second"));
        event_loop.call_soon(trace.note("third"));
        handles.borrow_mut().extend([first, second]);
        one_turn(&event_loop);
        trace.expect(["first runs to its end", "third"]);
        assert!(handles.borrow().iter().all(Handle::cancelled));
    });
}

#[test]
fn a_stale_handle_cancels_no_later_callback() {
    on_virtual_time(|trace, event_loop| {
        let stale = event_loop.call_soon(trace.note("old"));
        one_turn(&event_loop);
        event_loop.call_soon(trace.note("new"));
        stale.cancel();
        one_turn(&event_loop);
        trace.expect(["old", "new"]);
        assert!(stale.cancelled());
    });
}

#[test]
fn dropping_a_handle_cancels_nothing() {
    on_virtual_time(|trace, event_loop| {
        drop(event_loop.call_soon(trace.note("soon")));
        let lines = Lines::default();
        let _ = post(&event_loop.remote(), &lines, "posted");
        one_turn(&event_loop);
        trace.expect(["soon"]);
        assert_eq!(taken(&lines), ["posted"]);
    });
}

#[test]
fn a_cancelled_callback_may_use_the_loop_in_its_destructor() {
    audited(|| {
        struct Replacing(LoopHandle, Trace, Rc<RefCell<Option<Handle>>>);
        impl Drop for Replacing {
            fn drop(&mut self) {
                if let Some(other) = self.2.borrow_mut().take() {
                    other.cancel();
                }
                self.0.call_soon(self.1.note("replacement"));
            }
        }
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        let other = event_loop.call_soon(trace.note("other"));
        let slot = Rc::new(RefCell::new(Some(other)));
        let replacing = Replacing(event_loop.handle(), trace.clone(), slot);
        event_loop.call_soon(move || drop(replacing)).cancel();
        one_turn(&event_loop);
        trace.expect(["replacement"]);
    });
}

#[test]
fn what_a_callback_captured_is_dropped_before_the_next_one_runs() {
    on_virtual_time(|trace, event_loop| {
        let (probe, note) = (DropProbe::new(&trace, "captured"), trace.note("first"));
        event_loop.call_soon(move || {
            let _until_the_end = &probe;
            note();
        });
        event_loop.call_soon(trace.note("second"));
        one_turn(&event_loop);
        trace.expect(["first", "drop captured", "second"]);
    });
}

#[test]
fn a_panic_in_a_callback_is_reported_and_the_loop_goes_on() {
    on_virtual_time(|trace, event_loop| {
        let t = trace.clone();
        event_loop.set_exception_handler(move |event_loop, context| {
            // The handler gets the loop, the place and the payload; it may schedule.
            event_loop.call_soon(t.note("queued by the handler"));
            assert!(context.task.is_none() && context.exception.is_none());
            let place = context.location.unwrap();
            let panic = context.panic.as_ref().unwrap();
            let (file, line) = (place.file(), place.line());
            t.push(format!(
                "{}: {} {file}:{line}",
                context.message,
                panic.message()
            ));
        });
        let line = line!() + 1;
        event_loop.call_soon(|| panic!("on purpose: one"));
        event_loop.call_soon(trace.note("next"));
        one_turn(&event_loop);
        let report = format!("Exception in callback: on purpose: one {}:{line}", file!());
        trace.expect([report.as_str(), "next"]);
        one_turn(&event_loop);
        trace.expect(["queued by the handler"]);
    });
}

#[test]
fn a_panicking_destructor_of_a_cancelled_callback_is_the_cancellers() {
    audited(|| {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("on purpose: in a destructor");
            }
        }
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        let slot = Rc::new(RefCell::new(None::<Handle>));
        let (victim, after) = (Rc::clone(&slot), trace.note("never"));
        event_loop.call_soon(move || {
            victim.take().unwrap().cancel();
            after();
        });
        let bomb = Bomb;
        *slot.borrow_mut() = Some(event_loop.call_soon(move || drop(bomb)));
        event_loop.call_soon(trace.note("next"));
        one_turn(&event_loop);
        trace.expect([
            "report: Exception in callback (on purpose: in a destructor)",
            "next",
        ]);
    });
}

#[test]
fn a_callback_is_not_a_task() {
    on_virtual_time(|trace, event_loop| {
        let (handle, t) = (event_loop.handle(), trace.clone());
        event_loop.call_soon(move || t.push(format!("{:?}", handle.current_task().is_some())));
        one_turn(&event_loop);
        trace.expect(["false"]);
    });
}

#[test]
fn a_handle_prints_where_its_callback_was_queued() {
    on_virtual_time(|_, event_loop| {
        let line = line!() + 1;
        let handle = event_loop.call_soon(|| ());
        let text = |cancelled| {
            let place = format!("{}:{line}:", file!());
            (
                format!("Handle {{ cancelled: {cancelled}, created_at: "),
                place,
            )
        };
        for cancelled in [false, true] {
            let printed = format!("{handle:?}");
            let (start, place) = text(cancelled);
            assert!(
                printed.starts_with(&start) && printed.contains(&place),
                "{printed}"
            );
            // The place is still known after the callback itself is gone.
            handle.cancel();
        }
    });
}

#[test]
fn remote_handles_change_threads() {
    const fn any_thread<T: Send + Sync>() {}
    const _: () = any_thread::<RemoteHandle>();
    const _: () = any_thread::<ThreadsafeHandle>();
}

/// Lines that closures of other threads may write.
type Lines = Arc<std::sync::Mutex<Vec<String>>>;

fn post(remote: &RemoteHandle, lines: &Lines, line: impl ToString) -> ThreadsafeHandle {
    let (lines, line) = (Arc::clone(lines), line.to_string());
    let posted = remote.call_soon_threadsafe(move || lines.lock().unwrap().push(line));
    posted.unwrap()
}

fn soon(event_loop: &LoopHandle, lines: &Lines, line: &'static str) {
    let lines = Arc::clone(lines);
    event_loop.call_soon(move || lines.lock().unwrap().push(line.to_owned()));
}

fn taken(lines: &Lines) -> Vec<String> {
    std::mem::take(&mut *lines.lock().unwrap())
}

#[test]
fn posts_run_in_the_order_of_their_arrival() {
    on_virtual_time(|_, event_loop| {
        let lines = Lines::default();
        soon(&event_loop, &lines, "here");
        for thread in ["one", "two"] {
            // Each thread is joined before the next posts, so the order of arrival is known.
            let (remote, lines) = (event_loop.remote(), Arc::clone(&lines));
            let posting = std::thread::spawn(move || {
                for n in 0..3 {
                    post(&remote, &lines, format!("{thread} {n}"));
                }
            });
            posting.join().unwrap();
        }
        soon(&event_loop, &lines, "here again");
        one_turn(&event_loop);
        let expected = [
            "here",
            "one 0",
            "one 1",
            "one 2",
            "two 0",
            "two 1",
            "two 2",
            "here again",
        ];
        assert_eq!(taken(&lines), expected);
    });
}

#[test]
fn a_post_is_taken_back_from_any_thread_until_it_runs() {
    audited(|| {
        struct Told(mpsc::Sender<std::thread::ThreadId>);
        impl Drop for Told {
            fn drop(&mut self) {
                self.0.send(std::thread::current().id()).unwrap();
            }
        }
        let event_loop = virtual_loop(&Trace::new());
        let (sender, dropped) = mpsc::channel();
        let told = Told(sender);
        let posted = event_loop
            .remote()
            .call_soon_threadsafe(move || drop(told))
            .unwrap();
        let canceller = std::thread::spawn(move || {
            assert!(posted.cancel(), "the first to ask takes it");
            assert!(!posted.cancel(), "the second finds nothing");
        });
        let id = canceller.thread().id();
        canceller.join().unwrap();
        // Dropped at once, by the canceller; it never runs.
        assert_eq!(dropped.try_recv(), Ok(id));
        one_turn(&event_loop);
    });
}

#[test]
fn a_post_that_runs_or_has_run_cannot_be_taken_back() {
    on_virtual_time(|_, event_loop| {
        let lines = Lines::default();
        let slot = Arc::new(std::sync::Mutex::new(None::<ThreadsafeHandle>));
        let (own, l) = (Arc::clone(&slot), Arc::clone(&lines));
        let posted = event_loop.remote().call_soon_threadsafe(move || {
            let own = own.lock().unwrap().take().unwrap();
            l.lock()
                .unwrap()
                .push(format!("while it runs: {}", own.cancel()));
        });
        let posted = posted.unwrap();
        *slot.lock().unwrap() = Some(posted.clone());
        one_turn(&event_loop);
        assert_eq!(taken(&lines), ["while it runs: false"]);
        assert!(!posted.cancel());
    });
}

#[test]
fn a_post_that_was_taken_back_says_so_to_every_clone_on_every_thread() {
    on_virtual_time(|_, event_loop| {
        let lines = Lines::default();
        let remote = event_loop.remote();
        let (first, second) = (
            post(&remote, &lines, "first"),
            post(&remote, &lines, "second"),
        );
        let early = first.clone();
        assert!(!first.cancelled() && !early.cancelled());
        let canceller = std::thread::spawn({
            let handles = (first.clone(), second.clone());
            move || {
                assert!(handles.0.cancel());
                assert!(handles.0.cancelled() && !handles.1.cancelled());
            }
        });
        canceller.join().unwrap();
        one_turn(&event_loop);
        assert_eq!(taken(&lines), ["second"]);
        // Long after its entry has left the ready queue, and from other threads too.
        for _ in 0..3 {
            post(&remote, &lines, "later");
            one_turn(&event_loop);
        }
        let late = first.clone();
        assert!(first.cancelled() && early.cancelled() && late.cancelled());
        let elsewhere = std::thread::spawn(move || late.clone().cancelled());
        assert!(elsewhere.join().unwrap());
        // Asking in vain changes nothing.
        assert!(!second.cancel() && !first.cancel());
        assert!(!second.cancelled() && first.cancelled());
    });
}

#[test]
fn a_post_is_not_cancelled_by_asking_while_it_runs_nor_by_the_close_of_its_loop() {
    audited(|| {
        let event_loop = virtual_loop(&Trace::new());
        let lines = Lines::default();
        let slot = Arc::new(std::sync::Mutex::new(None::<ThreadsafeHandle>));
        let (own, l) = (Arc::clone(&slot), Arc::clone(&lines));
        let running = event_loop.remote().call_soon_threadsafe(move || {
            let own = own.lock().unwrap().take().unwrap();
            let asked = (own.cancel(), own.cancelled());
            l.lock().unwrap().push(format!("{asked:?}"));
        });
        let running = running.unwrap();
        *slot.lock().unwrap() = Some(running.clone());
        one_turn(&event_loop);
        assert_eq!(taken(&lines), ["(false, false)"]);
        let (kept, taken_back) = (
            post(&event_loop.remote(), &lines, "kept"),
            post(&event_loop.remote(), &lines, "taken back"),
        );
        assert!(taken_back.cancel());
        drop(event_loop);
        for handle in [&running, &kept] {
            assert!(!handle.cancelled());
            assert!(!handle.cancel());
            assert!(!handle.cancelled());
        }
        assert!(taken_back.cancelled() && !taken_back.cancel());
        let elsewhere = std::thread::spawn(move || (taken_back.cancelled(), kept.cancelled()));
        assert_eq!(elsewhere.join().unwrap(), (true, false));
        assert!(taken(&lines).is_empty());
    });
}

#[test]
fn a_post_that_was_taken_back_is_cancelled_while_its_destructor_runs_and_after_it_panicked() {
    audited(|| {
        struct Asks(Arc<std::sync::Mutex<Option<ThreadsafeHandle>>>, Lines);
        impl Drop for Asks {
            fn drop(&mut self) {
                let own = self.0.lock().unwrap().take().unwrap();
                let told = format!("{} {}", own.cancelled(), own.cancel());
                self.1.lock().unwrap().push(told);
                panic!("on purpose: destructor");
            }
        }
        let event_loop = virtual_loop(&Trace::new());
        let (slot, lines) = (Arc::default(), Lines::default());
        let asks = Asks(Arc::clone(&slot), Arc::clone(&lines));
        let posted = event_loop.remote().call_soon_threadsafe(move || drop(asks));
        let posted = posted.unwrap();
        *slot.lock().unwrap() = Some(posted.clone());
        let text = panic_text(|| posted.cancel());
        assert_eq!(text, "on purpose: destructor");
        assert_eq!(taken(&lines), ["true false"]);
        assert!(posted.cancelled());
        one_turn(&event_loop);
    });
}

#[test]
fn of_many_cancels_of_a_post_one_succeeds_and_all_learn_which() {
    on_virtual_time(|_, event_loop| {
        let remote = event_loop.remote();
        for _ in 0..200 {
            let posted = remote.call_soon_threadsafe(|| unreachable!()).unwrap();
            let start = std::sync::Barrier::new(3);
            // By clones, while others are made, and by the handle itself.
            let cancel = |by_clone: bool| {
                start.wait();
                let taken = match by_clone {
                    true => posted.clone().cancel(),
                    false => posted.cancel(),
                };
                assert!(posted.cancelled(), "also after a second cancel");
                usize::from(taken)
            };
            let taken: usize = std::thread::scope(|scope| {
                let others = [false, true].map(|by_clone| scope.spawn(move || cancel(by_clone)));
                let own = cancel(true);
                let others = others.map(|other| other.join().unwrap());
                own + others.iter().sum::<usize>()
            });
            assert_eq!(taken, 1);
            assert!(posted.cancelled() && posted.clone().cancelled());
        }
        one_turn(&event_loop);
    });
}

#[test]
fn a_post_cancelled_by_an_earlier_callback_of_its_batch_does_not_run() {
    on_virtual_time(|_, event_loop| {
        let lines = Lines::default();
        let slot = Rc::new(RefCell::new(None::<ThreadsafeHandle>));
        let victim = Rc::clone(&slot);
        event_loop.call_soon(move || assert!(victim.take().unwrap().cancel()));
        *slot.borrow_mut() = Some(post(&event_loop.remote(), &lines, "victim"));
        post(&event_loop.remote(), &lines, "next");
        one_turn(&event_loop);
        assert_eq!(taken(&lines), ["next"]);
    });
}

#[test]
fn posts_that_close_finds_are_dropped_on_the_loops_thread_and_never_run() {
    audited(|| {
        struct AtHome(std::thread::ThreadId, Arc<std::sync::Mutex<u32>>);
        impl Drop for AtHome {
            fn drop(&mut self) {
                assert_eq!(std::thread::current().id(), self.0);
                *self.1.lock().unwrap() += 1;
            }
        }
        let event_loop = virtual_loop(&Trace::new());
        let drops = Arc::new(std::sync::Mutex::new(0));
        let home = AtHome(std::thread::current().id(), Arc::clone(&drops));
        let remote = event_loop.remote();
        let posting = std::thread::spawn(move || {
            let posted = remote.call_soon_threadsafe(move || {
                drop(home);
                unreachable!();
            });
            posted.unwrap()
        });
        let posted = posting.join().unwrap();
        drop(event_loop);
        assert_eq!(*drops.lock().unwrap(), 1);
        assert!(!posted.cancel());
    });
}
