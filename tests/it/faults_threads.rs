//! Rows I1 to I4 of the list of faults: posts that race with close, floods, evil destructors, and things that belong to
//! another loop or thread. What needs every interleaving is in `loom_inbox.rs`; here run real threads.

use std::cell::RefCell;
use std::future::{Future as _, pending};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Barrier};
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use callsoon::{
    EventLoop, FutureError, LoopClosed, LoopHandle, RemoteHandle, TaskError, get_running_loop,
    try_get_running_loop,
};

use crate::support::{
    CountingWaker, DropProbe, SharedTrace, Trace, audited, complete, counted_fds, on_real_time,
    one_turn, real_loop, virtual_loop, watched,
};

/// Counts what becomes of a closure: `ran`, or dropped without having run.
#[derive(Default)]
struct Fates {
    ran: AtomicUsize,
    dropped: AtomicUsize,
}

/// What a closure captures to take part in the count.
struct Fate {
    fates: Arc<Fates>,
    ran: bool,
}

impl Fate {
    fn of(fates: &Arc<Fates>) -> Self {
        Self {
            fates: Arc::clone(fates),
            ran: false,
        }
    }

    fn run(mut self) {
        self.ran = true;
    }
}

impl Drop for Fate {
    fn drop(&mut self) {
        let count = if self.ran {
            &self.fates.ran
        } else {
            &self.fates.dropped
        };
        count.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn i1_a_post_that_races_with_close_is_refused_or_comes_to_its_end() {
    audited(watched(|| {
        const ROUNDS: usize = 10_000;
        let fates = Arc::new(Fates::default());
        let (send, receive) = mpsc::channel::<(RemoteHandle, Arc<Barrier>)>();
        let counted = Arc::clone(&fates);
        let poster = thread::spawn(move || {
            let mut accepted = 0;
            let mut refused = 0;
            for (remote, start) in receive {
                start.wait();
                for _ in 0..3 {
                    let fate = Fate::of(&counted);
                    match remote.call_soon_threadsafe(move || fate.run()) {
                        Ok(_) => accepted += 1,
                        Err(LoopClosed) => refused += 1,
                    }
                }
            }
            (accepted, refused)
        });
        for round in 0..ROUNDS {
            let event_loop = EventLoop::new().unwrap();
            let start = Arc::new(Barrier::new(2));
            send.send((event_loop.remote(), Arc::clone(&start)))
                .unwrap();
            start.wait();
            // Every few rounds a turn comes before the close, so that some of them run.
            if round % 3 == 0 {
                one_turn(&event_loop);
            }
            event_loop.close().unwrap();
        }
        drop(send);
        let (accepted, refused) = poster.join().unwrap();
        let (ran, dropped) = (
            fates.ran.load(Ordering::SeqCst),
            fates.dropped.load(Ordering::SeqCst),
        );
        assert_eq!(accepted + refused, 3 * ROUNDS);
        // Each closure has come to exactly one end, and what was refused never ran.
        assert_eq!(ran + dropped, 3 * ROUNDS);
        assert!(ran <= accepted);
        assert!(dropped >= refused);
    }));
}

#[test]
fn i1_a_post_that_was_accepted_by_a_loop_that_runs_on_has_run() {
    on_real_time(|_, event_loop| {
        let fates = Arc::new(Fates::default());
        let (remote, counted) = (event_loop.remote(), Arc::clone(&fates));
        let poster = thread::spawn(move || {
            let mut accepted = 0;
            loop {
                let fate = Fate::of(&counted);
                if remote.call_soon_threadsafe(move || fate.run()).is_err() {
                    return accepted;
                }
                accepted += 1;
                if accepted == 1000 {
                    let _ = remote.call_soon_threadsafe(|| get_running_loop().stop());
                }
            }
        });
        event_loop.run_forever().unwrap();
        let ran_before_close = fates.ran.load(Ordering::SeqCst);
        assert!(ran_before_close >= 1000);
        event_loop.close().unwrap();
        let accepted = poster.join().unwrap();
        let ran = fates.ran.load(Ordering::SeqCst);
        assert_eq!(ran, ran_before_close, "a closed loop runs nothing");
        // The last attempt is the refused one.
        assert_eq!(
            ran + fates.dropped.load(Ordering::SeqCst),
            accepted + 1,
            "each came to one end"
        );
    });
}

#[test]
fn i1_a_late_post_does_not_write_to_the_descriptor_that_took_the_bell_s_number() {
    audited(watched(|| {
        let event_loop = EventLoop::new().unwrap();
        let remote = event_loop.remote();
        let task_waker = {
            let (send, receive) = mpsc::channel();
            event_loop.create_task(async move {
                std::future::poll_fn(|context| {
                    send.send(context.waker().clone()).unwrap();
                    std::task::Poll::Ready(())
                })
                .await;
                pending::<()>().await;
            });
            one_turn(&event_loop);
            receive.recv().unwrap()
        };
        let before = counted_fds();
        drop(event_loop);
        // The loop's descriptors are closed, whoever still holds a handle; pipes take their numbers.
        let freed = before - counted_fds();
        assert!(freed >= 2);
        let strangers: Vec<_> = (0..freed).map(|_| std::io::pipe().unwrap()).collect();
        for _ in 0..10 {
            assert!(remote.call_soon_threadsafe(|| ()).is_err());
            task_waker.wake_by_ref();
        }
        for (mut reader, writer) in strangers {
            drop(writer);
            let mut heard = Vec::new();
            std::io::Read::read_to_end(&mut reader, &mut heard).unwrap();
            assert!(heard.is_empty(), "somebody wrote {heard:?} to a stranger");
        }
    }));
}

#[test]
fn i2_sixteen_threads_post_ten_thousand_times_each_and_all_run_in_their_order() {
    audited(watched(|| {
        const THREADS: usize = 16;
        const POSTS: usize = 10_000;
        thread_local! {
            static NEXT: RefCell<[usize; THREADS]> = const { RefCell::new([0; THREADS]) };
        }
        let trace = Trace::new();
        let event_loop = real_loop(&trace);
        let left = Arc::new(AtomicUsize::new(THREADS));
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (remote, left) = (event_loop.remote(), Arc::clone(&left));
                thread::spawn(move || {
                    for number in 0..POSTS {
                        remote
                            .call_soon_threadsafe(move || {
                                NEXT.with_borrow_mut(|next| {
                                    assert_eq!(next[thread], number, "of thread {thread}");
                                    next[thread] += 1;
                                });
                            })
                            .unwrap();
                        // Every now and then the loop gets the time to fall asleep.
                        if number % 97 == 0 {
                            thread::yield_now();
                        }
                    }
                    remote
                        .call_soon_threadsafe(move || {
                            if left.fetch_sub(1, Ordering::SeqCst) == 1 {
                                get_running_loop().stop();
                            }
                        })
                        .unwrap();
                })
            })
            .collect();
        event_loop.run_forever().unwrap();
        for thread in threads {
            thread.join().unwrap();
        }
        // A failed assertion inside a post would be a report.
        trace.expect([]);
        NEXT.with_borrow(|next| assert_eq!(*next, [POSTS; THREADS]));
    }));
}

/// A way in which a loop comes to its end, and its name.
type ClosePath = (&'static str, fn(EventLoop));

/// Those that a loop with posts pending can take.
const CLOSE_PATHS: [ClosePath; 3] = [
    ("close", |event_loop| event_loop.close().unwrap()),
    ("drop", drop),
    ("unwinding", |event_loop| {
        let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let _dropped_by_the_panic = event_loop;
            panic!("on purpose: the loop is dropped by an unwinding");
        }));
        assert!(unwound.is_err());
    }),
];

/// Does something in its destructor.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// A closure that is never called, and whose capture does `evil` when it is dropped.
fn evil_closure(evil: impl FnMut() + Send + 'static) -> impl FnOnce() + Send + 'static {
    let captured = OnDrop(evil);
    move || {
        let _captured = &captured;
        unreachable!("a closed loop runs nothing");
    }
}

#[test]
fn i3_a_closure_that_posts_when_it_is_dropped_is_refused() {
    audited(watched(|| {
        for (path, close) in CLOSE_PATHS {
            let trace = SharedTrace::new();
            let event_loop = EventLoop::new().unwrap();
            let (remote, t) = (event_loop.remote(), trace.clone());
            let again = remote.clone();
            remote
                .call_soon_threadsafe(evil_closure(move || {
                    let refused = again.call_soon_threadsafe(t.note("ran"));
                    t.push(format!("{:?}, {}", refused.map(drop), again.is_closed()));
                }))
                .unwrap();
            close(event_loop);
            assert_eq!(trace.take(), ["Err(LoopClosed), true"], "{path}");
        }
    }));
}

#[test]
fn i3_a_closure_that_panics_when_it_is_dropped_does_not_keep_the_others() {
    audited(watched(|| {
        // Without an unwinding, in which a second panic ends the process by the language's own rule.
        for (path, close) in &CLOSE_PATHS[..2] {
            let trace = SharedTrace::new();
            let event_loop = EventLoop::new().unwrap();
            let t = trace.clone();
            event_loop
                .set_exception_handler(move |_, context| t.push(format!("report: {context}")));
            let remote = event_loop.remote();
            let t = trace.clone();
            remote
                .call_soon_threadsafe(evil_closure(|| panic!("on purpose")))
                .unwrap();
            remote
                .call_soon_threadsafe(evil_closure(move || t.push("second dropped")))
                .unwrap();
            close(event_loop);
            let lines = trace.take();
            assert_eq!(lines.len(), 2, "{path}: {lines:?}");
            assert!(lines[0].contains("on purpose"), "{path}: {}", lines[0]);
            assert_eq!(lines[1], "second dropped", "{path}");
        }
    }));
}

#[test]
fn i3_a_closure_that_uses_the_loop_when_it_is_dropped_gets_cancelled_handles() {
    thread_local! {
        static HANDLE: RefCell<Option<LoopHandle>> = const { RefCell::new(None) };
    }
    audited(watched(|| {
        for (path, close) in CLOSE_PATHS {
            let trace = SharedTrace::new();
            let event_loop = EventLoop::new().unwrap();
            HANDLE.set(Some(event_loop.handle()));
            let t = trace.clone();
            event_loop
                .remote()
                .call_soon_threadsafe(evil_closure(move || {
                    let handle = HANDLE.take().unwrap();
                    let soon = handle.call_soon(t.note("soon ran")).cancelled();
                    let later = handle
                        .call_later(Duration::ZERO, t.note("later ran"))
                        .cancelled();
                    let task = handle.create_task(pending::<()>()).cancelled();
                    handle.stop();
                    t.push(format!("{soon} {later} {task}"));
                }))
                .unwrap();
            close(event_loop);
            assert_eq!(trace.take(), ["true true true"], "{path}");
        }
    }));
}

#[test]
fn i3_a_closure_that_waits_for_another_thread_s_post_when_it_is_dropped_is_no_deadlock() {
    audited(watched(|| {
        for (path, close) in CLOSE_PATHS {
            let trace = SharedTrace::new();
            let event_loop = EventLoop::new().unwrap();
            let (remote, t) = (event_loop.remote(), trace.clone());
            let again = remote.clone();
            remote
                .call_soon_threadsafe(evil_closure(move || {
                    // If it were dropped under a lock, the other thread would wait for us for ever.
                    let (again, t) = (again.clone(), t.clone());
                    thread::spawn(move || {
                        t.push(again.call_soon_threadsafe(|| ()).is_err());
                    })
                    .join()
                    .unwrap();
                }))
                .unwrap();
            close(event_loop);
            assert_eq!(trace.take(), ["true"], "{path}");
        }
    }));
}

#[test]
fn i3_a_cancelled_closure_may_post_panic_or_wait_when_it_is_dropped() {
    audited(watched(|| {
        let trace = SharedTrace::new();
        let event_loop = real_loop(&Trace::new());
        let remote = event_loop.remote();
        let (again, t) = (remote.clone(), trace.clone());
        let posts = remote
            .call_soon_threadsafe(evil_closure(move || {
                again
                    .call_soon_threadsafe(t.note("posted by a destructor"))
                    .unwrap();
                let (again, t) = (again.clone(), t.clone());
                thread::spawn(move || again.call_soon_threadsafe(t.note("by its thread")).unwrap())
                    .join()
                    .unwrap();
            }))
            .unwrap();
        let panics = remote
            .call_soon_threadsafe(evil_closure(|| panic!("on purpose")))
            .unwrap();
        assert!(posts.cancel());
        // The destructor's panic is the canceller's, and the inbox works on.
        let panicked = thread::spawn(move || panics.cancel()).join();
        assert!(panicked.is_err());
        remote.call_soon_threadsafe(trace.note("last")).unwrap();
        one_turn(&event_loop);
        trace.expect(["posted by a destructor", "by its thread", "last"]);
    }));
}

#[test]
fn i3_a_refused_closure_that_panics_when_it_is_dropped_leaves_the_inbox_unharmed() {
    audited(watched(|| {
        let event_loop = EventLoop::new().unwrap();
        let remote = event_loop.remote();
        drop(event_loop);
        let again = remote.clone();
        let panicked = thread::spawn(move || {
            let _ = again.call_soon_threadsafe(evil_closure(|| panic!("on purpose")));
        })
        .join();
        assert!(panicked.is_err());
        assert!(remote.call_soon_threadsafe(|| ()).is_err());
        assert!(remote.is_closed());
    }));
}

#[test]
fn i4_a_post_that_is_cancelled_while_it_may_run_does_one_or_the_other() {
    audited(watched(|| {
        const ROUNDS: usize = 10_000;
        let event_loop = real_loop(&Trace::new());
        let remote = event_loop.remote();
        let canceller = thread::spawn(move || {
            let mut tally = (0, 0);
            for round in 0..ROUNDS {
                let ran = Arc::new(AtomicBool::new(false));
                let (done, ended) = mpsc::channel::<()>();
                let flag = Arc::clone(&ran);
                let handle = remote
                    .call_soon_threadsafe(move || {
                        flag.store(true, Ordering::SeqCst);
                        drop(done);
                    })
                    .unwrap();
                // A varying head start for the loop, which is running on the other core.
                for _ in 0..(round % 64) * 8 {
                    std::hint::spin_loop();
                }
                let cancelled = handle.cancel();
                // Either way the closure comes to its end, and its capture with it.
                assert!(ended.recv().is_err());
                assert_ne!(cancelled, ran.load(Ordering::SeqCst));
                assert!(!handle.cancel());
                if cancelled {
                    tally.0 += 1;
                } else {
                    tally.1 += 1;
                }
            }
            remote
                .call_soon_threadsafe(|| get_running_loop().stop())
                .unwrap();
            tally
        });
        event_loop.run_forever().unwrap();
        let (cancelled, ran) = canceller.join().unwrap();
        assert_eq!(cancelled + ran, ROUNDS);
    }));
}

#[test]
fn i4_a_task_of_one_loop_awaited_on_another_says_so() {
    audited(watched(|| {
        let owner = virtual_loop(&Trace::new());
        let other = virtual_loop(&Trace::new());
        let mut task = owner.create_task(async { 7 });
        let error = other.run_until_complete(&mut task).unwrap().unwrap_err();
        assert!(matches!(error, TaskError::OtherLoop), "{error}");
        // Also where it is awaited through a waker that is not ours.
        let (_, foreign) = CountingWaker::new();
        let refused = other.run_until_complete(async {
            Pin::new(&mut task).poll(&mut Context::from_waker(&foreign))
        });
        assert!(matches!(
            refused.unwrap(),
            Poll::Ready(Err(TaskError::OtherLoop))
        ));
        // Nothing has happened to it.
        assert_eq!(owner.run_until_complete(&mut task).unwrap().unwrap(), 7);
    }));
}

#[test]
fn i4_a_future_of_one_loop_awaited_on_another_says_so() {
    audited(watched(|| {
        let owner = virtual_loop(&Trace::new());
        let other = virtual_loop(&Trace::new());
        let future = owner.create_future::<u8>();
        let foreign = future.clone();
        // By a task, and by the main future.
        let awaiter = other.create_task(foreign);
        let error = other.run_until_complete(awaiter).unwrap().unwrap();
        assert!(matches!(error, Err(FutureError::OtherLoop)), "{error:?}");
        let error = other.run_until_complete(&future).unwrap().unwrap_err();
        assert!(matches!(error, FutureError::OtherLoop), "{error}");
        future.set_result(3).unwrap();
        assert_eq!(owner.run_until_complete(&future).unwrap().unwrap(), 3);
    }));
}

#[test]
fn i4_a_loop_in_a_thread_local_closes_when_its_thread_ends() {
    thread_local! {
        static LOOP: RefCell<Option<EventLoop>> = const { RefCell::new(None) };
    }
    audited(watched(|| {
        let before = counted_fds();
        let trace = SharedTrace::new();
        let t = trace.clone();
        let (announce, announced) = mpsc::channel();
        let thread = thread::spawn(move || {
            let event_loop = EventLoop::new().unwrap();
            announce.send(event_loop.remote()).unwrap();
            let (post_note, soon_note, timer_note) = (t.clone(), t.clone(), t.clone());
            event_loop
                .remote()
                .call_soon_threadsafe(evil_closure(move || post_note.push("post dropped")))
                .unwrap();
            event_loop.call_soon(evil_closure(move || soon_note.push("callback dropped")));
            event_loop.call_later(
                Duration::from_secs(1),
                evil_closure(move || timer_note.push("timer dropped")),
            );
            LOOP.set(Some(event_loop));
        });
        thread.join().unwrap();
        assert!(announced.recv().unwrap().is_closed());
        trace.expect(["post dropped", "callback dropped", "timer dropped"]);
        assert_eq!(counted_fds(), before);
    }));
}

#[test]
fn i4_a_loop_in_a_thread_local_ends_its_running_tasks_when_its_thread_ends() {
    thread_local! {
        static LOOP: RefCell<Option<EventLoop>> = const { RefCell::new(None) };
        static OTHER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    audited(watched(|| {
        let before = counted_fds();
        let trace = SharedTrace::new();
        let t = trace.clone();
        let thread = thread::spawn(move || {
            // Whichever of the two goes first, the destructor below must cope, and so must the loop.
            OTHER.with_borrow_mut(|other| other.push(0));
            let event_loop = EventLoop::new().unwrap();
            let handle = event_loop.handle();
            event_loop.create_task(async move {
                let _at_the_end = OnDrop(move || {
                    let _ = OTHER.try_with(|other| other.borrow_mut().push(1));
                    let current = try_get_running_loop().is_some();
                    let spawned = handle.create_task(pending::<()>()).cancelled();
                    t.push(format!("current {current}, spawned cancelled {spawned}"));
                });
                pending::<()>().await;
            });
            one_turn(&event_loop);
            LOOP.set(Some(event_loop));
        });
        thread.join().unwrap();
        trace.expect(["current true, spawned cancelled true"]);
        assert_eq!(counted_fds(), before);
    }));
}

#[test]
fn i4_wakers_and_remote_handles_are_usable_in_destructors_of_thread_locals() {
    thread_local! {
        static LATE: RefCell<Option<Late>> = const { RefCell::new(None) };
    }
    struct Late {
        remote: RemoteHandle,
        waker: std::task::Waker,
        trace: SharedTrace,
    }
    impl Drop for Late {
        fn drop(&mut self) {
            self.waker.wake_by_ref();
            self.remote
                .call_soon_threadsafe(self.trace.note("posted by a thread at its end"))
                .unwrap();
        }
    }
    on_real_time(|_, event_loop| {
        let trace = SharedTrace::new();
        let future = event_loop.create_future::<()>();
        let (send, receive) = mpsc::channel();
        let task = event_loop.create_task({
            let future = future.clone();
            async move {
                std::future::poll_fn(|context| {
                    send.send(context.waker().clone()).unwrap();
                    std::task::Poll::Ready(())
                })
                .await;
                future.await.unwrap();
            }
        });
        one_turn(&event_loop);
        let late = Late {
            remote: event_loop.remote(),
            waker: receive.recv().unwrap(),
            trace: trace.clone(),
        };
        thread::spawn(move || LATE.set(Some(late))).join().unwrap();
        one_turn(&event_loop);
        trace.expect(["posted by a thread at its end"]);
        future.set_result(()).unwrap();
        complete(&event_loop, task).unwrap();
    });
}

#[test]
fn i4_a_result_that_is_dropped_with_its_loop_is_dropped_on_the_loop_s_thread() {
    audited(watched(|| {
        let trace = Trace::new();
        let event_loop = EventLoop::new().unwrap();
        let probe = DropProbe::new(&trace, "pending task");
        event_loop.create_task(async move {
            let _probe = probe;
            pending::<()>().await;
        });
        one_turn(&event_loop);
        let waker = {
            let (send, receive) = mpsc::channel();
            event_loop.create_task(std::future::poll_fn(move |context| {
                send.send(context.waker().clone()).unwrap();
                std::task::Poll::<()>::Pending
            }));
            one_turn(&event_loop);
            receive.recv().unwrap()
        };
        // The last waker goes on another thread, while the loop closes: nothing of a task goes with it.
        let start = Arc::new(Barrier::new(2));
        let other = Arc::clone(&start);
        let thread = thread::spawn(move || {
            other.wait();
            waker.wake_by_ref();
            drop(waker);
        });
        start.wait();
        drop(event_loop);
        thread.join().unwrap();
        trace.expect(["drop pending task"]);
    }));
}
