//! Faults I1 to I4: posts that race with close, floods, hostile destructors, and things that belong
//! to another loop or thread. What needs every interleaving is in `loom_inbox.rs`; here run real threads.

use std::cell::RefCell;
use std::future::pending;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use callsoon::{EventLoop, LoopClosed, LoopHandle, RemoteHandle, get_running_loop};

use crate::support::{
    SharedTrace, Trace, audited, counted_fds, loop_and_notifier, notifications, on_real_time,
    one_turn, real_loop, record_reports, thread_id, wait_until_asleep, watched,
};

/// Counts what becomes of a closure: `ran`, or dropped without having run.
#[derive(Default)]
struct Fates {
    ran: AtomicUsize,
    dropped: AtomicUsize,
}

/// A value that a closure captures to be counted.
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
fn i1_a_late_post_does_not_write_to_the_descriptor_that_took_the_notifier_s_number() {
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
        // The loop's descriptors are closed although handles are left; pipes take their numbers.
        let freed = before - counted_fds();
        assert!(freed >= 2);
        let strangers: Vec<_> = (0..freed)
            .map(|_| crate::support::pipe().unwrap())
            .collect();
        for _ in 0..10 {
            assert!(remote.call_soon_threadsafe(|| ()).is_err());
            task_waker.wake_by_ref();
        }
        for (mut reader, writer) in strangers {
            drop(writer);
            let mut heard = Vec::new();
            std::io::Read::read_to_end(&mut reader, &mut heard).unwrap();
            assert!(heard.is_empty(), "somebody wrote {heard:?} to another file");
        }
    }));
}

thread_local! {
    /// Which post of each thread has to run next.
    static NEXT: RefCell<[usize; SENDERS]> = const { RefCell::new([0; SENDERS]) };
}

const SENDERS: usize = 16;

/// How many posts each sender makes before all of them wait for the loop to fall asleep.
const VOLLEY: usize = 1000;

/// How many volleys there are: a million posts each. A build that checks everything takes ten times as long for a post,
/// and one with a sanitizer again several times.
fn volleys() -> usize {
    if std::env::var_os("CALLSOON_SANITIZED").is_some() {
        20
    } else if cfg!(debug_assertions) {
        100
    } else {
        1000
    }
}

/// One of the senders that post at the same time. The sender with `leads` waits for the loop to sleep before each
/// volley.
fn send_volleys(
    sender: usize,
    remote: &RemoteHandle,
    together: &Barrier,
    leads: Option<(mpsc::Receiver<()>, i32)>,
) {
    if let Some((started, _)) = &leads {
        started.recv().unwrap();
    }
    for number in 0..volleys() * VOLLEY {
        if number % VOLLEY == 0 {
            together.wait();
            if let Some((_, sleeper)) = leads {
                wait_until_asleep(sleeper);
            }
            together.wait();
        }
        let post = move || {
            NEXT.with_borrow_mut(|next| {
                assert_eq!(next[sender], number, "of sender {sender}");
                next[sender] += 1;
            });
        };
        remote.call_soon_threadsafe(post).unwrap();
    }
}

#[test]
fn i2_sixteen_threads_post_a_million_times_each_to_a_loop_that_is_notified_once_a_sleep() {
    audited(watched(|| {
        let trace = Trace::new();
        let (event_loop, notifier) = loop_and_notifier();
        record_reports(&event_loop, &trace);
        let (start, started) = mpsc::channel();
        event_loop.call_soon(move || start.send(()).unwrap());
        let mut leads = Some((started, thread_id()));
        let together = Arc::new(Barrier::new(SENDERS));
        let left = Arc::new(AtomicUsize::new(SENDERS));
        let senders: Vec<_> = (0..SENDERS)
            .map(|sender| {
                let (remote, leads) = (event_loop.remote(), leads.take());
                let (together, left) = (Arc::clone(&together), Arc::clone(&left));
                thread::spawn(move || {
                    send_volleys(sender, &remote, &together, leads);
                    let last = move || {
                        if left.fetch_sub(1, Ordering::SeqCst) == 1 {
                            get_running_loop().stop();
                        }
                    };
                    remote.call_soon_threadsafe(last).unwrap();
                })
            })
            .collect();
        event_loop.run_forever().unwrap();
        for sender in senders {
            sender.join().unwrap();
        }
        // A failed assertion inside a post would be a report.
        trace.expect([]);
        NEXT.with_borrow(|next| assert_eq!(*next, [volleys() * VOLLEY; SENDERS]));
        // Each volley found the loop asleep and notified it; and the loop sleeps at most once each time it polls for
        // events.
        let (notifications, polls) = (notifications(notifier), event_loop.metrics().event_polls);
        assert!(
            notifications >= volleys() as u64,
            "{notifications} notifications"
        );
        assert!(
            notifications <= polls,
            "{notifications} notifications, {polls} polls"
        );
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
pub(crate) struct OnDrop<F: FnMut()>(pub(crate) F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// A closure that is never called, and whose capture does `hostile` when it is dropped.
pub(crate) fn hostile_closure(
    hostile: impl FnMut() + Send + 'static,
) -> impl FnOnce() + Send + 'static {
    let captured = OnDrop(hostile);
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
                .call_soon_threadsafe(hostile_closure(move || {
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
                .call_soon_threadsafe(hostile_closure(|| panic!("on purpose")))
                .unwrap();
            remote
                .call_soon_threadsafe(hostile_closure(move || t.push("second dropped")))
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
                .call_soon_threadsafe(hostile_closure(move || {
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
                .call_soon_threadsafe(hostile_closure(move || {
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
            .call_soon_threadsafe(hostile_closure(move || {
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
            .call_soon_threadsafe(hostile_closure(|| panic!("on purpose")))
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
            let _ = again.call_soon_threadsafe(hostile_closure(|| panic!("on purpose")));
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
            let mut counts = (0, 0);
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
                    counts.0 += 1;
                } else {
                    counts.1 += 1;
                }
            }
            remote
                .call_soon_threadsafe(|| get_running_loop().stop())
                .unwrap();
            counts
        });
        event_loop.run_forever().unwrap();
        let (cancelled, ran) = canceller.join().unwrap();
        assert_eq!(cancelled + ran, ROUNDS);
    }));
}
