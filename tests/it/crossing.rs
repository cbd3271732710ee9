//! What goes from a loop to other threads and comes back: context variables that go with a job, and coroutines on
//! another thread's loop that end with their awaiter.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use callsoon::{
    ContextVar, EventLoop, RemoteHandle, ThreadFutureError, copy_context, create_task,
    get_running_loop, run_in_executor, sleep, timeout, to_thread, wrap_future, yield_now,
};

use crate::support::{
    Trace, audited, complete, end_default_executor, on_real_time, real_loop, watched,
};

static USER: ContextVar<String> = ContextVar::new("user").crossing();
static HOME: ContextVar<&str> = ContextVar::with_default("home", || "nowhere");

/// A test on a loop whose own threads are gone at its end.
#[track_caller]
fn on_a_loop(test: impl AsyncFnOnce() + Send + 'static) {
    on_real_time(move |trace, event_loop| {
        complete(&event_loop, async {
            test().await;
            end_default_executor().await;
        });
        assert_eq!(trace.take(), [""; 0]);
    });
}

fn user() -> Option<String> {
    USER.get()
}

#[test]
fn to_thread_takes_the_variables_along_that_cross_and_run_in_executor_none() {
    on_a_loop(async || {
        USER.set("ann".to_owned());
        HOME.set("here");
        let job = to_thread(|| (USER.get(), HOME.get()));
        // What counts is the context at the time when it is awaited first.
        USER.set("bob".to_owned());
        let seen = job.await.unwrap();
        assert_eq!(seen, (Some("bob".to_owned()), Some("nowhere")));
        assert_eq!(run_in_executor(None, user).await.unwrap(), None);
        // The thread that is used again has kept nothing.
        USER.set("eve".to_owned());
        assert_eq!(to_thread(user).await.unwrap().as_deref(), Some("eve"));
        assert_eq!(run_in_executor(None, user).await.unwrap(), None);
    });
}

#[test]
fn what_a_job_sets_is_its_own() {
    on_a_loop(async || {
        USER.set("ann".to_owned());
        let seen = to_thread(|| {
            let before = USER.set("job".to_owned());
            HOME.set("thread");
            let inside = (USER.get(), HOME.get(), copy_context().len());
            USER.reset(before);
            (inside, USER.get())
        });
        let (inside, after) = seen.await.unwrap();
        assert_eq!(inside, (Some("job".to_owned()), Some("thread"), 2));
        assert_eq!(after.as_deref(), Some("ann"));
        assert_eq!(
            (USER.get().as_deref(), HOME.get()),
            (Some("ann"), Some("nowhere"))
        );
        // A job that has nothing with it has the context of its thread.
        let alone = run_in_executor(None, || {
            let before = USER.set("the thread's".to_owned());
            let inside = USER.get();
            USER.reset(before);
            (inside, USER.get())
        });
        let alone = alone.await.unwrap();
        assert_eq!(alone, (Some("the thread's".to_owned()), None));
        assert_eq!(USER.get().as_deref(), Some("ann"));
    });
}

#[test]
fn a_loop_inside_a_job_begins_with_a_copy_of_the_job_s_context() {
    on_a_loop(async || {
        USER.set("ann".to_owned());
        let seen = to_thread(|| {
            let inner = callsoon::run(async {
                let before = USER.get();
                USER.set("inner".to_owned());
                before
            });
            (inner.unwrap(), USER.get())
        });
        let ann = || Some("ann".to_owned());
        assert_eq!(seen.await.unwrap(), (ann(), ann()));
    });
}

/// Counts how many live, and panics when one is dropped on a thread without a loop.
struct Hostile(&'static AtomicUsize);

impl Clone for Hostile {
    fn clone(&self) -> Self {
        self.0.fetch_add(1, Ordering::SeqCst);
        Self(self.0)
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
        if callsoon::try_get_running_loop().is_none() && !thread::panicking() {
            panic!("on purpose: dropped on another thread");
        }
    }
}

#[test]
fn b2_values_whose_destructors_panic_harm_no_job() {
    static LIVE: AtomicUsize = AtomicUsize::new(0);
    static HOSTILE: ContextVar<Hostile> = ContextVar::new("hostile").crossing();
    on_a_loop(async || {
        LIVE.fetch_add(1, Ordering::SeqCst);
        HOSTILE.set(Hostile(&LIVE));
        for _ in 0..3 {
            assert_eq!(to_thread(|| 7).await.unwrap(), 7);
            let failed = to_thread(|| panic!("on purpose: a job")).await;
            let failed = failed.unwrap_err();
            assert_eq!(failed.to_string(), "the job panicked: on purpose: a job");
        }
        while LIVE.load(Ordering::SeqCst) > 1 {
            yield_now().await;
        }
        // Dropped before it begins, it has cloned nothing.
        drop(to_thread(|| unreachable!()));
        assert_eq!(LIVE.load(Ordering::SeqCst), 1);
    });
}

/// Runs `test` beside a loop on another thread.
#[track_caller]
fn beside(test: impl AsyncFnOnce(RemoteHandle) + Send + 'static) {
    audited(watched(move || {
        let (sender, receiver) = mpsc::channel();
        let other = thread::spawn(move || {
            let event_loop = EventLoop::new().unwrap();
            sender.send(event_loop.remote()).unwrap();
            event_loop.run_forever().unwrap();
        });
        let remote = receiver.recv().unwrap();
        let event_loop = real_loop(&Trace::new());
        complete(&event_loop, test(remote.clone()));
        remote
            .call_soon_threadsafe(|| get_running_loop().stop())
            .unwrap();
        other.join().unwrap();
    }));
}

#[test]
fn a_wrapped_future_gives_what_the_coroutine_gives() {
    beside(async |remote| {
        let seven = remote.run_coroutine_threadsafe(|| async { 7 }).unwrap();
        assert_eq!(wrap_future(seven).await.unwrap(), 7);
        let failed = remote.run_coroutine_threadsafe(|| async { panic!("on purpose: there") });
        let failed = wrap_future::<()>(failed.unwrap()).await.unwrap_err();
        assert_eq!(
            failed.to_string(),
            "the coroutine panicked: on purpose: there"
        );
        let cancelled = remote.run_coroutine_threadsafe(|| sleep(Duration::from_secs(1000)));
        let cancelled = cancelled.unwrap();
        cancelled.cancel();
        let ended = wrap_future(cancelled).await;
        assert!(matches!(ended, Err(ThreadFutureError::Cancelled)));
    });
}

#[test]
fn a_coroutine_ends_with_the_task_that_awaits_it_wrapped() {
    beside(async |remote| {
        let (sender, receiver) = mpsc::channel();
        for turns in [0, 1, 5] {
            let sender = sender.clone();
            let there = remote
                .run_coroutine_threadsafe(move || async move {
                    let cut = callsoon::catch_cancelled(sleep(Duration::from_secs(1000))).await;
                    sender.send(cut.is_err()).unwrap();
                })
                .unwrap();
            let task = create_task(wrap_future(there.clone()));
            for _ in 0..turns {
                sleep(Duration::from_millis(1)).await;
            }
            task.cancel();
            assert!(task.await.is_err());
            // It is over there as well, by its own clean-up or before it began.
            let ended = there.await;
            match ended {
                Ok(()) => assert!(receiver.recv().unwrap()),
                Err(error) => assert!(matches!(error, ThreadFutureError::Cancelled)),
            }
        }
        // Unwrapped, it goes on.
        let (open, gate) = async_channel::bounded::<()>(1);
        let there = remote
            .run_coroutine_threadsafe(|| async move {
                gate.recv().await.unwrap();
                7
            })
            .unwrap();
        let soon = timeout(Duration::from_millis(1), there.clone()).await;
        assert!(soon.is_err());
        open.send(()).await.unwrap();
        assert_eq!(there.await.unwrap(), 7);
    });
}

#[test]
fn a_wrapped_future_that_is_done_cancels_nothing_when_it_is_dropped() {
    beside(async |remote| {
        let there = remote.run_coroutine_threadsafe(|| async {
            let seen = Rc::new(Cell::new(1));
            yield_now().await;
            seen.get()
        });
        let there = there.unwrap();
        let mut here = wrap_future(there.clone());
        assert_eq!((&mut here).await.unwrap(), 1);
        drop(here);
        assert!(there.done() && !there.cancelled());
    });
}
