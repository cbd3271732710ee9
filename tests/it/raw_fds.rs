//! Callbacks for users' own descriptors, and `AsyncFd`.

#![allow(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, RawFd};
use std::os::unix::net::UnixStream as StdStream;
use std::rc::Rc;
use std::time::Duration;

use callsoon::net::UnixStream;
use callsoon::{AsyncFd, ContextVar, EventLoop, create_task, sleep, yield_now};

use crate::support::{
    DropProbe, audited, complete, in_a_loop, on_real_time, on_virtual_time, one_turn,
    readable_within, turns_in, warnings_of, watched,
};

/// The tests about spinning count turns during this time.
const WINDOW: Duration = Duration::from_millis(200);

/// Two connected sockets in non-blocking mode.
fn pair() -> (StdStream, StdStream) {
    let (one, other) = StdStream::pair().unwrap();
    one.set_nonblocking(true).unwrap();
    other.set_nonblocking(true).unwrap();
    (one, other)
}

/// Makes a closure hold a value.
fn holds<T>(_: &T) {}

/// Makes `number` another name of what `descriptor` names, closing what it named before.
fn dup_onto(descriptor: &impl std::os::fd::AsRawFd, number: RawFd) {
    // SAFETY: the call takes numbers. The tests that use it replace only descriptors whose owners are written to cope:
    // that is the fault they are about.
    let result = unsafe { libc::dup2(descriptor.as_raw_fd(), number) };
    assert_eq!(result, number);
}

#[test]
fn a_reader_is_called_in_every_turn_while_something_is_left() {
    on_real_time(|trace, event_loop| {
        let (near, mut far) = pair();
        far.write_all(b"abc").unwrap();
        let (t, near) = (trace.clone(), Rc::new(near));
        let reader = Rc::clone(&near);
        event_loop
            .add_reader(&*near, move || {
                let mut byte = [0];
                match (&*reader).read_exact(&mut byte) {
                    Ok(()) => t.push(format!("reads {}", byte[0] as char)),
                    Err(error) => t.push(error.kind()),
                }
            })
            .unwrap();
        for _ in 0..4 {
            one_turn(&event_loop);
        }
        // One byte a turn, and none where nothing is left.
        trace.expect(["reads a", "reads b", "reads c"]);
        far.write_all(b"d").unwrap();
        one_turn(&event_loop);
        trace.expect(["reads d"]);
        assert!(event_loop.remove_reader(&*near));
        far.write_all(b"e").unwrap();
        one_turn(&event_loop);
        trace.expect([]);
        assert_eq!(event_loop.metrics().sources, 0);
    });
}

#[test]
fn a_callback_keeps_its_place_among_the_others() {
    on_virtual_time(|trace, event_loop| {
        let (near, mut far) = pair();
        far.write_all(b"x").unwrap();
        let (t, handle, number) = (trace.clone(), event_loop.handle(), near.as_raw_fd());
        event_loop
            .add_reader(&near, move || {
                t.push("reader");
                handle.call_soon(t.note("queued by the reader"));
                handle.remove_reader(&number);
            })
            .unwrap();
        event_loop.call_soon(trace.note("queued before"));
        let timer = trace.note("timer");
        event_loop.call_later(Duration::ZERO, timer);
        one_turn(&event_loop);
        // What was ready, then I/O, then timers; what they queue is for the next turn.
        trace.expect(["queued before", "reader", "timer"]);
        one_turn(&event_loop);
        trace.expect(["queued by the reader"]);
        assert!(!event_loop.remove_reader(&near));
    });
}

#[test]
fn a_virtual_clock_does_not_jump_while_a_descriptor_is_ready() {
    on_virtual_time(|trace, event_loop| {
        let (near, _far) = pair();
        let (left, handle) = (Cell::new(3), event_loop.handle());
        let (t, number, start) = (trace.clone(), near.as_raw_fd(), event_loop.time());
        event_loop
            .add_writer(&near, move || {
                t.push(format!("{:?}", handle.time() - start));
                left.set(left.get() - 1);
                if left.get() == 0 {
                    handle.remove_writer(&number);
                }
            })
            .unwrap();
        event_loop
            .run_until_complete(sleep(Duration::from_secs(3600)))
            .unwrap();
        trace.expect(["0ns", "0ns", "0ns"]);
    });
}

#[test]
fn both_directions_of_a_descriptor_come_and_go_by_themselves() {
    on_real_time(|trace, event_loop| {
        let (near, mut far) = pair();
        let note = |text: &'static str| {
            let t = trace.clone();
            move || t.push(text)
        };
        event_loop.add_writer(&near, note("writer")).unwrap();
        one_turn(&event_loop);
        trace.expect(["writer"]);
        event_loop.add_reader(&near, note("reader")).unwrap();
        one_turn(&event_loop);
        trace.expect(["writer"]);
        far.write_all(b"x").unwrap();
        one_turn(&event_loop);
        trace.expect(["reader", "writer"]);
        assert_eq!(event_loop.metrics().sources, 1);
        assert!(event_loop.remove_writer(&near));
        assert!(!event_loop.remove_writer(&near));
        one_turn(&event_loop);
        trace.expect(["reader"]);
        assert!(event_loop.remove_reader(&near));
        one_turn(&event_loop);
        trace.expect([]);
    });
}

#[test]
fn adding_again_replaces_and_drops_the_former_callback() {
    on_real_time(|trace, event_loop| {
        let (near, mut far) = pair();
        far.write_all(b"x").unwrap();
        let (probe, t) = (DropProbe::new(&trace, "the first"), trace.clone());
        let first = move || {
            let _ = &probe;
            t.push("first");
        };
        event_loop.add_reader(&near, first).unwrap();
        let t = trace.clone();
        event_loop
            .add_reader(&near, move || t.push("second"))
            .unwrap();
        trace.expect(["drop the first"]);
        one_turn(&event_loop);
        trace.expect(["second"]);
        event_loop.remove_reader(&near);
    });
}

#[test]
fn a_callback_whose_event_has_come_is_not_called_once_it_is_removed_or_replaced() {
    on_real_time(|trace, event_loop| {
        let (one, _one_far) = pair();
        let (other, _other_far) = pair();
        let (one, other) = (Rc::new(one), Rc::new(other));
        // Both are ready in one batch; the callback that runs first removes the other.
        for (mine, its) in [(&one, &other), (&other, &one)] {
            let (t, handle, its) = (trace.clone(), event_loop.handle(), Rc::clone(its));
            event_loop
                .add_writer(&**mine, move || {
                    t.push(format!(
                        "removes the other: {}",
                        handle.remove_writer(&*its)
                    ));
                })
                .unwrap();
        }
        one_turn(&event_loop);
        trace.expect(["removes the other: true"]);
        event_loop.remove_writer(&*one);
        event_loop.remove_writer(&*other);
        // And the same with a replacement, which has had no event yet.
        let (t, handle, its) = (trace.clone(), event_loop.handle(), Rc::clone(&other));
        event_loop
            .add_writer(&*one, move || {
                let t2 = t.clone();
                let replaced = handle.add_writer(&*its, move || t2.push("the new one"));
                t.push(format!("replaces {replaced:?}"));
            })
            .unwrap();
        let (t, handle, its) = (trace.clone(), event_loop.handle(), Rc::clone(&one));
        event_loop
            .add_writer(&*other, move || {
                let t2 = t.clone();
                let replaced = handle.add_writer(&*its, move || t2.push("the new one"));
                t.push(format!("replaces {replaced:?}"));
            })
            .unwrap();
        one_turn(&event_loop);
        trace.expect(["replaces Ok(())"]);
        event_loop.remove_writer(&*one);
        event_loop.remove_writer(&*other);
    });
}

#[test]
fn b4_a_callback_may_remove_and_replace_itself_while_it_runs() {
    on_real_time(|trace, event_loop| {
        let (near, _far) = pair();
        let near = Rc::new(near);
        let (t, handle, its) = (trace.clone(), event_loop.handle(), Rc::clone(&near));
        let probe = DropProbe::new(&trace, "the first");
        event_loop
            .add_writer(&*near, move || {
                let _ = &probe;
                t.push(format!("removed: {}", handle.remove_writer(&*its)));
                let (t2, handle2, its2) = (t.clone(), handle.clone(), Rc::clone(&its));
                handle
                    .add_writer(&*its, move || {
                        t2.push("the second");
                        handle2.remove_writer(&*its2);
                    })
                    .unwrap();
                t.push("still running");
            })
            .unwrap();
        one_turn(&event_loop);
        trace.expect(["removed: true", "still running", "drop the first"]);
        one_turn(&event_loop);
        one_turn(&event_loop);
        trace.expect(["the second"]);
        assert_eq!(event_loop.metrics().sources, 0);
    });
}

#[test]
fn b1_a_panic_in_a_callback_is_reported_and_the_callback_stays() {
    on_real_time(|trace, event_loop| {
        let (near, _far) = pair();
        event_loop
            .add_writer(&near, || panic!("on purpose"))
            .unwrap();
        one_turn(&event_loop);
        one_turn(&event_loop);
        trace.expect([
            "report: Exception in callback (on purpose)",
            "report: Exception in callback (on purpose)",
        ]);
        event_loop.remove_writer(&near);
    });
}

#[test]
fn a_callback_runs_in_the_context_of_its_registration_and_keeps_what_it_sets() {
    static NAME: ContextVar<u32> = ContextVar::new("name");
    on_real_time(|trace, event_loop| {
        let (near, _far) = pair();
        let (handle, t) = (event_loop.handle(), trace.clone());
        complete(&event_loop, async {
            NAME.set(1);
            let near = near.as_raw_fd();
            handle
                .add_writer(&near, move || {
                    t.push(NAME.get().unwrap());
                    NAME.set(NAME.get().unwrap() + 10);
                })
                .unwrap();
            NAME.set(2);
        });
        one_turn(&event_loop);
        one_turn(&event_loop);
        event_loop.remove_writer(&near);
        // How often the run above has called it depends on the clock.
        let lines = trace.take();
        let expected = (0..lines.len()).map(|call| (1 + 10 * call).to_string());
        assert_eq!(lines, expected.collect::<Vec<_>>());
        assert!(lines.len() >= 2);
    });
}

#[test]
fn a_slow_callback_is_warned_of_in_debug_mode() {
    audited(watched(|| {
        let event_loop = EventLoop::builder()
            .debug(true)
            .slow_callback_duration(Duration::ZERO)
            .build()
            .unwrap();
        let (near, _far) = pair();
        event_loop.add_writer(&near, || ()).unwrap();
        let lines = warnings_of(|| one_turn(&event_loop));
        event_loop.remove_writer(&near);
        assert_eq!(lines.len(), 1);
        assert!(lines[0].contains("slow callback"), "{lines:?}");
        assert!(lines[0].contains("raw_fds.rs"), "{lines:?}");
    }));
}

#[test]
fn d4_a_peer_that_hangs_up_is_seen_by_readers_and_writers_alike() {
    on_real_time(|trace, event_loop| {
        let (near, far) = pair();
        // No room to write: only the hang-up can wake the writer.
        while (&near).write(&[0; 4096]).is_ok() {}
        let near = Rc::new(near);
        for writes in [false, true] {
            let (t, handle, its) = (trace.clone(), event_loop.handle(), Rc::clone(&near));
            if writes {
                let callback = move || {
                    t.push(format!(
                        "write: {:?}",
                        (&*its).write(b"x").unwrap_err().kind()
                    ));
                    handle.remove_writer(&*its);
                };
                event_loop.add_writer(&*near, callback).unwrap();
            } else {
                let callback = move || {
                    t.push(format!(
                        "read: {:?}",
                        (&*its).read(&mut [0]).map_err(|e| e.kind())
                    ));
                    handle.remove_reader(&*its);
                };
                event_loop.add_reader(&*near, callback).unwrap();
            }
        }
        one_turn(&event_loop);
        trace.expect([]);
        drop(far);
        one_turn(&event_loop);
        // What was never read at the other end makes it a reset.
        trace.expect(["read: Err(ConnectionReset)", "write: BrokenPipe"]);
        let turns = turns_in(&event_loop, WINDOW);
        assert!(turns <= 10, "{turns} turns");
    });
}

#[test]
fn d5_what_cannot_be_watched_is_refused_and_leaves_nothing_behind() {
    on_real_time(|trace, event_loop| {
        let refused = |fd: &RawFd| {
            let probe = DropProbe::new(&trace, "it");
            let error = event_loop
                .add_reader(fd, move || holds(&probe))
                .unwrap_err();
            trace.expect(["drop it"]);
            assert_eq!(event_loop.metrics().sources, 0);
            assert!(!event_loop.remove_reader(fd));
            error
        };
        let file = std::fs::File::open("/proc/self/exe").unwrap();
        let error = refused(&file.as_raw_fd());
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        assert_eq!(error.raw_os_error(), Some(libc::EPERM), "{error}");
        assert_eq!(refused(&-1).kind(), ErrorKind::InvalidInput);
        assert_eq!(refused(&1_000_000).raw_os_error(), Some(libc::EBADF));
    });
}

#[test]
fn a_socket_of_the_loop_is_not_taken_over() {
    in_a_loop(async || {
        let (near, far) = UnixStream::pair().unwrap();
        let handle = callsoon::get_running_loop();
        let error = handle.add_reader(&near, || ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        let error = AsyncFd::new(near.as_raw_fd_borrowed()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        // Its own registration is as it was.
        let reader = create_task(async move { near.read(&mut [0; 8]).await });
        yield_now().await;
        far.write_all(b"x").await.unwrap();
        assert_eq!(reader.await.unwrap().unwrap(), 1);
    });
}

/// Borrows a stream's descriptor for as long as the test wants.
trait Borrowed {
    fn as_raw_fd_borrowed(&self) -> std::os::fd::BorrowedFd<'_>;
}

impl Borrowed for UnixStream {
    fn as_raw_fd_borrowed(&self) -> std::os::fd::BorrowedFd<'_> {
        std::os::fd::AsFd::as_fd(self)
    }
}

#[test]
fn after_close_adding_fails_and_removing_finds_nothing() {
    on_real_time(|trace, event_loop| {
        let (near, _far) = pair();
        let probe = DropProbe::new(&trace, "at close");
        let handle = event_loop.handle();
        // A callback that holds its own loop is a cycle, which closing breaks.
        event_loop
            .add_writer(&near, move || holds(&(&probe, &handle)))
            .unwrap();
        event_loop.close().unwrap();
        trace.expect(["drop at close"]);
        assert!(!event_loop.remove_writer(&near));
        let probe = DropProbe::new(&trace, "it");
        let error = event_loop
            .add_reader(&near, move || holds(&probe))
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotConnected);
        trace.expect(["drop it"]);
    });
}

#[test]
fn b3_destructors_of_callbacks_may_call_the_loop() {
    struct Touches(callsoon::LoopHandle, RawFd);
    impl Drop for Touches {
        fn drop(&mut self) {
            self.0.remove_reader(&self.1);
            let _ = self.0.add_reader(&self.1, || ());
        }
    }
    on_real_time(|_, event_loop| {
        let (near, _far) = pair();
        let (other, _other_far) = pair();
        let touches = || Touches(event_loop.handle(), other.as_raw_fd());
        for _ in 0..3 {
            let touches = touches();
            event_loop
                .add_reader(&near, move || holds(&touches))
                .unwrap();
        }
        assert!(event_loop.remove_reader(&near));
        let touches = touches();
        event_loop
            .add_reader(&near, move || holds(&touches))
            .unwrap();
        drop(event_loop);
    });
}

#[test]
fn d1_a_number_that_was_closed_and_opened_again_is_watched_afresh() {
    on_real_time(|trace, event_loop| {
        let (near, mut far) = pair();
        let number = near.as_raw_fd();
        let t = trace.clone();
        event_loop
            .add_reader(&near, move || t.push("the first"))
            .unwrap();
        // Closed behind the loop's back; the number comes back as another socket.
        let (fresh, mut fresh_far) = pair();
        dup_onto(&fresh, number);
        drop(fresh);
        let t = trace.clone();
        event_loop
            .add_reader(&near, move || t.push("the second"))
            .unwrap();
        let _ = far.write_all(b"x");
        one_turn(&event_loop);
        trace.expect([]);
        fresh_far.write_all(b"x").unwrap();
        one_turn(&event_loop);
        trace.expect(["the second"]);
        assert!(event_loop.remove_reader(&near));
        assert_eq!(event_loop.metrics().sources, 0);
    });
}

#[test]
fn d2_a_copy_that_outlives_a_closed_descriptor_does_not_make_the_loop_spin() {
    on_real_time(|trace, event_loop| {
        let (near, mut far) = pair();
        let copy = near.try_clone().unwrap();
        let number = near.as_raw_fd();
        event_loop
            .add_reader(&near, || panic!("on purpose: the removed reader is called"))
            .unwrap();
        // Closed first, removed then: no call can take the place out of the set any more.
        drop(near);
        assert!(event_loop.remove_reader(&number));
        // Others keep their places: a socket of the loop, a reader, the notifier, the timerfd.
        let (other, mut other_far) = pair();
        let t = trace.clone();
        let seen = Rc::new(RefCell::new(other));
        let reader = Rc::clone(&seen);
        event_loop
            .add_reader(&*seen.borrow(), move || {
                let _ = reader.borrow_mut().read(&mut [0; 8]);
                t.push("the other is read");
            })
            .unwrap();
        let (ours, peer) = complete(&event_loop, async { UnixStream::pair().unwrap() });
        far.write_all(b"x").unwrap();
        let turns = turns_in(&event_loop, WINDOW);
        assert!(turns <= 5, "{turns} turns");
        other_far.write_all(b"x").unwrap();
        one_turn(&event_loop);
        trace.expect(["the other is read"]);
        complete(&event_loop, async {
            let task = create_task(async move { ours.read(&mut [0; 8]).await });
            yield_now().await;
            peer.write_all(b"y").await.unwrap();
            assert_eq!(task.await.unwrap().unwrap(), 1);
        });
        let remote = event_loop.remote();
        let handle = event_loop.handle();
        let thread = std::thread::spawn(move || {
            remote
                .call_soon_threadsafe(|| callsoon::get_running_loop().stop())
                .unwrap();
        });
        let deadline = handle.call_later(Duration::from_secs(20), || {
            panic!("the notifier does not work")
        });
        event_loop.run_forever().unwrap();
        deadline.cancel();
        thread.join().unwrap();
        assert!(event_loop.remove_reader(&*seen.borrow()));
        drop(copy);
    });
}

#[test]
fn d2_a_copy_alone_costs_nothing() {
    on_real_time(|_, event_loop| {
        let (near, mut far) = pair();
        let copy = near.try_clone().unwrap();
        event_loop.add_reader(&near, || ()).unwrap();
        assert!(event_loop.remove_reader(&near));
        drop(near);
        far.write_all(b"x").unwrap();
        let turns = turns_in(&event_loop, WINDOW);
        assert!(turns <= 5, "{turns} turns");
        drop(copy);
    });
}

#[test]
fn a_guest_loop_s_descriptor_tells_of_ready_callbacks() {
    on_real_time(|trace, event_loop| {
        event_loop.turn(Some(Duration::ZERO)).unwrap();
        let (near, mut far) = pair();
        let (t, handle, number) = (trace.clone(), event_loop.handle(), near.as_raw_fd());
        event_loop
            .add_reader(&near, move || {
                t.push("read");
                handle.remove_reader(&number);
            })
            .unwrap();
        far.write_all(b"x").unwrap();
        assert!(readable_within(&event_loop, WINDOW));
        event_loop.turn(Some(Duration::ZERO)).unwrap();
        trace.expect(["read"]);
    });
}

#[test]
fn f3_a_callback_that_is_always_ready_lets_timers_and_tasks_run() {
    on_real_time(|_, event_loop| {
        let (near, _far) = pair();
        let calls = Rc::new(Cell::new(0_u32));
        let count = Rc::clone(&calls);
        event_loop
            .add_writer(&near, move || count.set(count.get() + 1))
            .unwrap();
        complete(&event_loop, async {
            sleep(Duration::from_millis(5)).await;
            for _ in 0..1000 {
                yield_now().await;
            }
        });
        assert!(calls.get() > 0);
        event_loop.remove_writer(&near);
    });
}
