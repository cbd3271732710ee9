//! Fault M1: calls without a running loop, or on a closed one. Misuse across threads does not compile;
//! `thread_affinity.rs` proves that.

use std::cell::RefCell;
use std::future::{Future, pending};
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Waker};
use std::time::Duration;

use callsoon::net::{ListenOptions, TcpListener, TcpStream};
use callsoon::{
    EventLoop, LoopClosed, LoopHandle, RunError, TaskError, all_tasks, create_task, current_task,
    get_running_loop, sleep, sleep_until, task_builder, try_get_running_loop, yield_now,
};

use crate::support::{
    Trace, audited, complete, counted_fds, loopback, on_real_time, on_virtual_time, one_turn,
    real_loop, std_pair, virtual_loop, watched,
};

/// The text of the panic of a call that has to panic. The panics of these tests are the library's own, so their texts
/// do not say that they are made on purpose; the hook learns it another way.
#[track_caller]
fn panic_of<R>(call: impl FnOnce() -> R) -> String {
    static HOOK: Mutex<()> = Mutex::new(());
    let _alone = HOOK.lock().unwrap_or_else(PoisonError::into_inner);
    let loud = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    let result = catch_unwind(AssertUnwindSafe(call));
    std::panic::set_hook(loud);
    let payload = match result {
        Ok(_) => panic!("the call did not panic"),
        Err(payload) => payload,
    };
    match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(payload) => (*payload.downcast::<&str>().unwrap()).to_owned(),
    }
}

/// Polls a future outside any loop.
fn poll_outside<F: Future>(future: F) {
    let future = pin!(future);
    let _ = future.poll(&mut Context::from_waker(Waker::noop()));
}

#[test]
fn m1_free_functions_outside_a_running_loop_panic_and_say_so() {
    audited(watched(|| {
        // A loop that is not running is not a running loop.
        let _idle = virtual_loop(&Trace::new());
        assert!(try_get_running_loop().is_none());
        let calls: [(&str, fn()); 12] = [
            ("get_running_loop", || drop(get_running_loop())),
            ("create_task", || drop(create_task(async {}))),
            ("task_builder", || drop(task_builder())),
            ("current_task", || drop(current_task())),
            ("all_tasks", || drop(all_tasks())),
            ("sleep", || poll_outside(sleep(Duration::from_secs(1)))),
            ("sleep of zero", || {
                poll_outside(sleep(Duration::ZERO));
            }),
            ("sleep_until", || {
                poll_outside(sleep_until(std::time::Instant::now()));
            }),
            ("yield_now", || poll_outside(yield_now())),
            ("connect", || {
                poll_outside(TcpStream::connect(loopback()));
            }),
            ("bind", || drop(ListenOptions::new().bind(loopback()))),
            ("listen", || {
                poll_outside(TcpListener::bind(loopback()));
            }),
        ];
        let before = counted_fds();
        for (name, call) in calls {
            let text = panic_of(call);
            assert!(text.contains("no running event loop"), "{name}: {text}");
        }
        assert_eq!(counted_fds(), before);
    }));
}

#[test]
fn m1_a_socket_that_is_adopted_outside_a_running_loop_is_closed() {
    audited(watched(|| {
        let (ours, mut peer) = std_pair();
        let text = panic_of(|| TcpStream::from_std(ours));
        assert!(text.contains("no running event loop"), "{text}");
        assert_eq!(std::io::Read::read(&mut peer, &mut [0]).unwrap(), 0);
    }));
}

#[test]
fn m1_futures_may_be_made_anywhere_and_are_bound_when_they_are_polled() {
    audited(watched(|| {
        let nap = sleep(Duration::from_secs(3600));
        let later = yield_now();
        let connect = TcpStream::connect(loopback());
        let event_loop = virtual_loop(&Trace::new());
        event_loop
            .run_until_complete(async {
                nap.await;
                later.await;
                let error = connect.await.unwrap_err();
                assert_ne!(error.kind(), ErrorKind::WouldBlock);
            })
            .unwrap();
    }));
}

#[test]
fn m1_calls_on_a_closed_loop_panic_and_say_so() {
    on_virtual_time(|_, event_loop| {
        let handle = event_loop.handle();
        drop(event_loop);
        type Call = (&'static str, fn(&LoopHandle));
        let calls: [Call; 5] = [
            ("call_soon", |handle| drop(handle.call_soon(|| ()))),
            ("call_later", |handle| {
                drop(handle.call_later(Duration::ZERO, || ()));
            }),
            ("call_at", |handle| {
                drop(handle.call_at(handle.time(), || ()));
            }),
            ("create_task", |handle| drop(handle.create_task(async {}))),
            ("create_task", |handle| {
                drop(handle.task_builder().name("late").spawn(async {}));
            }),
        ];
        for (name, call) in calls {
            let text = panic_of(|| call(&handle));
            assert_eq!(text, format!("{name}: the event loop is closed"));
        }
    });
}

#[test]
fn m1_questions_to_a_closed_loop_are_answered() {
    on_virtual_time(|_, event_loop| {
        let handle = event_loop.handle();
        let timer = event_loop.call_later(Duration::from_secs(1), || ());
        let soon = event_loop.call_soon(|| ());
        let task = event_loop.create_task(pending::<()>());
        let before = handle.time();
        event_loop.close().unwrap();
        event_loop.close().unwrap();
        assert!(handle.is_closed() && event_loop.is_closed());
        assert!(!handle.is_running() && !handle.has_ready());
        assert_eq!(handle.time(), before);
        assert!(handle.all_tasks().is_empty() && handle.current_task().is_none());
        assert_eq!(handle.metrics().sources, 0);
        assert_eq!(handle.metrics().tasks, 0);
        assert_eq!(handle.metrics().timers, 0);
        assert_eq!(handle.metrics().ready, 0);
        handle.stop();
        timer.cancel();
        soon.cancel();
        assert!(task.cancelled() && !task.cancel());
        let future = handle.create_future::<u8>();
        future.set_result(1).unwrap();
        assert_eq!(future.result().unwrap().unwrap(), 1);
        assert_eq!(
            handle.remote().call_soon_threadsafe(|| ()).map(drop),
            Err(LoopClosed)
        );
    });
}

#[test]
fn m1_runs_of_a_closed_loop_are_errors_and_drop_their_future() {
    on_real_time(|_, event_loop| {
        event_loop.close().unwrap();
        let kept = Rc::new(());
        let captured = Rc::clone(&kept);
        let result = event_loop.run_until_complete(async move { drop(captured) });
        assert!(matches!(result, Err(RunError::Closed)));
        assert_eq!(Rc::strong_count(&kept), 1);
        assert!(matches!(event_loop.run_forever(), Err(RunError::Closed)));
        assert!(matches!(event_loop.turn(None), Err(RunError::Closed)));
    });
}

#[test]
fn m1_awaiting_a_task_of_a_closed_loop_says_cancelled() {
    audited(watched(|| {
        let owner = virtual_loop(&Trace::new());
        let task = owner.create_task(pending::<()>());
        drop(owner);
        let event_loop = virtual_loop(&Trace::new());
        let error = event_loop.run_until_complete(task).unwrap().unwrap_err();
        assert!(matches!(error, TaskError::Cancelled(_)), "{error}");
    }));
}

#[test]
fn m1_a_task_awaited_outside_its_loop_wakes_its_awaiter_when_the_loop_closes() {
    audited(watched(|| {
        let owner = virtual_loop(&Trace::new());
        let mut task = pin!(owner.create_task(pending::<()>()));
        let (counter, waker) = crate::support::CountingWaker::new();
        let mut context = Context::from_waker(&waker);
        assert!(task.as_mut().poll(&mut context).is_pending());
        drop(owner);
        assert_eq!(counter.wakes(), 1);
        assert!(task.as_mut().poll(&mut context).is_ready());
    }));
}

#[test]
fn m1_a_nested_run_is_an_error_and_harms_neither_loop() {
    audited(watched(|| {
        let outer = Rc::new(real_loop(&Trace::new()));
        let inner = Rc::new(real_loop(&Trace::new()));
        let (same, other) = (Rc::clone(&outer), Rc::clone(&inner));
        complete(&outer, async move {
            for event_loop in [&same, &other] {
                assert!(matches!(
                    event_loop.run_until_complete(async {}),
                    Err(RunError::Nested)
                ));
                assert!(matches!(event_loop.run_forever(), Err(RunError::Nested)));
                assert!(matches!(event_loop.turn(None), Err(RunError::Nested)));
            }
            assert!(matches!(callsoon::run(async {}), Err(RunError::Nested)));
            // Closing the loop that runs is refused; closing another one is up to its owner.
            assert!(matches!(same.close(), Err(RunError::Nested)));
            sleep(Duration::from_millis(1)).await;
        });
        complete(&inner, sleep(Duration::from_millis(1)));
    }));
}

#[test]
fn m1_another_loop_may_be_closed_inside_a_callback() {
    audited(watched(|| {
        let outer = real_loop(&Trace::new());
        let inner = EventLoop::new().unwrap();
        let task = inner.create_task(pending::<()>());
        one_turn(&inner);
        complete(&outer, async move {
            drop(inner);
            // The destructor has left us where we were.
            assert!(get_running_loop().is_running());
            sleep(Duration::from_millis(1)).await;
        });
        assert!(task.cancelled());
    }));
}

#[test]
fn m1_a_socket_that_a_destructor_makes_while_its_loop_closes_is_closed_too() {
    struct AtTheEnd(Rc<RefCell<Option<TcpListener>>>);
    impl Drop for AtTheEnd {
        fn drop(&mut self) {
            *self.0.borrow_mut() = ListenOptions::new().bind(loopback()).ok();
        }
    }
    audited(watched(|| {
        let before = counted_fds();
        let made = Rc::new(RefCell::new(None));
        let event_loop = real_loop(&Trace::new());
        let at_the_end = AtTheEnd(Rc::clone(&made));
        event_loop.create_task(async move {
            let _at_the_end = at_the_end;
            pending::<()>().await;
        });
        one_turn(&event_loop);
        drop(event_loop);
        // It may be refused; if it is made it is of no use, but it is still its owner's to close.
        if let Some(listener) = made.take() {
            let other = real_loop(&Trace::new());
            let error = complete(&other, listener.accept()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotConnected);
        }
        assert_eq!(counted_fds(), before);
    }));
}
