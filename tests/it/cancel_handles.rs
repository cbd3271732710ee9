//! Tasks and futures that another thread cancels, and what has become of them by then.

use std::future::pending;
use std::panic::Location;
use std::thread;
use std::time::Duration;

use callsoon::{CancelHandle, EventLoop, LoopClosed, create_task, current_task, sleep, yield_now};

use crate::support::{
    DropProbe, Trace, on_real_time, on_virtual_time, one_turn, thread_id, wait_until_asleep,
};

/// Calls `f` with the handle on another thread, and waits for it.
fn elsewhere<T: Send + 'static>(
    handle: &CancelHandle,
    f: impl FnOnce(CancelHandle) -> T + Send + 'static,
) -> T {
    let handle = handle.clone();
    thread::spawn(move || f(handle)).join().unwrap()
}

#[test]
fn a_thread_cancels_a_task_and_its_message_and_place_arrive() {
    on_virtual_time(|trace, event_loop| {
        let probe = DropProbe::new(&trace, "future");
        let task = event_loop.create_task(async move {
            let _probe = probe;
            pending::<()>().await;
        });
        one_turn(&event_loop);
        let line = elsewhere(&task.cancel_handle(), |handle| {
            handle.cancel_with("enough").unwrap();
            Location::caller().line() - 1
        });
        trace.expect([]);
        assert!(!task.done());
        let error = event_loop.run_until_complete(task).unwrap().unwrap_err();
        trace.expect(["drop future"]);
        let cancellation = error.cancelled().unwrap();
        assert_eq!(cancellation.message(), Some("enough"));
        let location = cancellation.location().unwrap();
        assert_eq!((location.file(), location.line()), (file!(), line));
    });
}

#[test]
fn a_cancellation_wakes_a_loop_that_sleeps() {
    on_real_time(|_, event_loop| {
        let sleeper = thread_id();
        let error = event_loop.run_until_complete(async move {
            let handle = current_task().unwrap().cancel_handle();
            let worker = thread::spawn(move || {
                wait_until_asleep(sleeper);
                handle.cancel_with("wake up").unwrap();
            });
            let ended = callsoon::catch_cancelled(sleep(Duration::from_secs(3600))).await;
            worker.join().unwrap();
            ended.unwrap_err().resume().await
        });
        assert!(matches!(
            error,
            Err::<(), _>(callsoon::RunError::Cancelled(_))
        ));
    });
}

#[test]
fn on_the_loop_s_own_thread_a_cancellation_keeps_its_order_with_call_soon() {
    on_virtual_time(|trace, event_loop| {
        let future = event_loop.create_future::<()>();
        let note = |text: &'static str| {
            let (trace, future) = (trace.clone(), future.clone());
            move || trace.push(format!("{text}: {}", future.cancelled()))
        };
        event_loop.call_soon(note("before"));
        future.cancel_handle().cancel().unwrap();
        event_loop.call_soon(note("after"));
        assert!(!future.done());
        one_turn(&event_loop);
        trace.expect(["before: false", "after: true"]);
    });
}

#[test]
fn a_task_that_has_ended_is_left_alone_and_so_is_the_one_that_uses_its_slot() {
    on_virtual_time(|trace, event_loop| {
        let first = event_loop.create_task(async { 1 });
        let handle = first.cancel_handle();
        assert_eq!(event_loop.run_until_complete(first).unwrap().unwrap(), 1);
        // A key has 16 bits of a count: after 65,536 tasks in one slot the key of the first one is used again.
        let mut later = Vec::new();
        event_loop
            .run_until_complete(async {
                for number in 0..65_536_u32 + 64 {
                    let task = create_task(async {});
                    if number >= 65_536 - 64 {
                        later.push(task);
                    } else {
                        task.await.unwrap();
                    }
                }
            })
            .unwrap();
        elsewhere(&handle, |handle| handle.cancel()).unwrap();
        event_loop.run_until_complete(yield_now()).unwrap();
        for task in later {
            event_loop.run_until_complete(task).unwrap().unwrap();
        }
        trace.expect([]);
    });
}

#[test]
fn a_thread_cancels_a_future_and_all_who_await_it_are_told() {
    on_virtual_time(|trace, event_loop| {
        let future = event_loop.create_future::<u8>();
        for name in ["first", "second"] {
            let (future, trace) = (future.clone(), trace.clone());
            event_loop.create_task(async move {
                let error = future.await.unwrap_err();
                let message = error.cancelled().unwrap().message().map(str::to_owned);
                trace.push(format!("{name}: {}", message.unwrap()));
            });
        }
        one_turn(&event_loop);
        elsewhere(&future.cancel_handle(), |handle| {
            handle.cancel_with("host is gone").unwrap();
            // A second call finds the future done.
            handle.cancel_with("and again").unwrap();
        });
        trace.expect([]);
        one_turn(&event_loop);
        one_turn(&event_loop);
        trace.expect(["first: host is gone", "second: host is gone"]);
    });
}

#[test]
fn a_future_that_has_a_result_keeps_it() {
    on_virtual_time(|trace, event_loop| {
        let (set, later) = (event_loop.create_future(), event_loop.create_future());
        let before = later.cancel_handle();
        for future in [&set, &later] {
            future.set_result("here").unwrap();
        }
        for handle in [set.cancel_handle(), before] {
            elsewhere(&handle, |handle| handle.cancel()).unwrap();
        }
        one_turn(&event_loop);
        for future in [set, later] {
            assert_eq!(
                event_loop.run_until_complete(future).unwrap().unwrap(),
                "here"
            );
        }
        trace.expect([]);
    });
}

#[test]
fn a_handle_keeps_no_future_alive() {
    on_virtual_time(|trace, event_loop| {
        let future = event_loop.create_future::<()>();
        let probe = DropProbe::new(&trace, "callback");
        future.add_done_callback(move |_| drop(probe));
        let handle = future.cancel_handle();
        drop(future);
        trace.expect(["drop callback"]);
        elsewhere(&handle, |handle| handle.cancel()).unwrap();
        one_turn(&event_loop);
        trace.expect([]);
    });
}

#[test]
fn a_closed_loop_refuses_and_a_later_loop_is_left_alone() {
    on_virtual_time(|trace, event_loop| {
        let future = event_loop.create_future::<()>();
        let task = event_loop.create_task(async {});
        let handles = [future.cancel_handle(), task.cancel_handle()];
        event_loop.run_until_complete(task).unwrap().unwrap();
        drop(event_loop);
        // It uses the inbox of the former one.
        let event_loop = EventLoop::new().unwrap();
        let (other, task) = (
            event_loop.create_future::<()>(),
            event_loop.create_task(async { 2 }),
        );
        let _listed = other.cancel_handle();
        for handle in &handles {
            assert_eq!(elsewhere(handle, |handle| handle.cancel()), Err(LoopClosed));
        }
        assert_eq!(future.cancel_handle().cancel(), Err(LoopClosed));
        assert_eq!(event_loop.run_until_complete(task).unwrap().unwrap(), 2);
        assert!(!other.done() && !future.done());
        trace.expect([]);
    });
}

#[test]
fn a_future_is_forgotten_with_its_loop_although_it_has_a_handle() {
    on_virtual_time(|_, event_loop| {
        let trace = Trace::new();
        let future = event_loop.create_future::<DropProbe>();
        let handle = future.cancel_handle();
        future.set_result(DropProbe::new(&trace, "value")).unwrap();
        drop(event_loop);
        trace.expect([]);
        drop(future);
        trace.expect(["drop value"]);
        assert!(handle.cancel().is_err());
    });
}
