//! Fault I4: what belongs to one loop in the hands of another, and loops in thread-locals.

use std::cell::RefCell;
use std::future::{Future as _, pending};
use std::pin::Pin;
use std::sync::mpsc;
use std::sync::{Arc, Barrier};
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use callsoon::{EventLoop, FutureError, RemoteHandle, TaskError, try_get_running_loop};

use crate::faults_threads::{OnDrop, hostile_closure};
use crate::support::{
    CountingWaker, DropProbe, SharedTrace, Trace, audited, complete, counted_fds, on_real_time,
    one_turn, virtual_loop, watched,
};

#[test]
fn i4_a_task_of_one_loop_awaited_on_another_says_so() {
    audited(watched(|| {
        let owner = virtual_loop(&Trace::new());
        let other = virtual_loop(&Trace::new());
        let mut task = owner.create_task(async { 7 });
        let error = other.run_until_complete(&mut task).unwrap().unwrap_err();
        assert!(matches!(error, TaskError::OtherLoop), "{error}");
        // Also where it is awaited through a waker that is not ours.
        let (_, waker) = CountingWaker::new();
        let refused = other.run_until_complete(async {
            Pin::new(&mut task).poll(&mut Context::from_waker(&waker))
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
        let awaited = future.clone();
        // By a task, and by the main future.
        let awaiter = other.create_task(awaited);
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
                .call_soon_threadsafe(hostile_closure(move || post_note.push("post dropped")))
                .unwrap();
            event_loop.call_soon(hostile_closure(move || soon_note.push("callback dropped")));
            event_loop.call_later(
                Duration::from_secs(1),
                hostile_closure(move || timer_note.push("timer dropped")),
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
