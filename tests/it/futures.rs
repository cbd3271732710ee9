//! `Future`: one result, set once, for any number of awaiters; asyncio's behaviour.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use callsoon::{Future, FutureError, InvalidState};

use crate::support::{
    DropProbe, PENDING, SharedTrace, Trace, audited, on_virtual_time, one_turn, panic_text,
    virtual_loop,
};

/// What a future is after an end, and that end.
type End = (&'static str, fn(&Future<u8>));

/// Everything that can be read of a future.
fn inspect(future: &Future<u8>) -> String {
    let result = match future.result() {
        Ok(Ok(value)) => format!("{value}"),
        Ok(Err(error)) => error.to_string(),
        Err(InvalidState(())) => "nothing yet".to_owned(),
    };
    format!(
        "{result}, done {}, cancelled {}",
        future.done(),
        future.cancelled()
    )
}

#[test]
fn m3_a_done_future_refuses_another_end_and_gives_back_what_it_was_given() {
    on_virtual_time(|_, event_loop| {
        let ends: [End; 4] = [
            ("1, done true, cancelled false", |future| {
                future.set_result(1).unwrap();
            }),
            ("first error, done true, cancelled false", |future| {
                future.set_exception("first error").unwrap();
            }),
            (
                "the future was cancelled, done true, cancelled true",
                |future| assert!(future.cancel()),
            ),
            (
                "the future was cancelled: why, done true, cancelled true",
                |future| assert!(future.cancel_with("why")),
            ),
        ];
        for (shown, end) in ends {
            let future = event_loop.create_future();
            assert_eq!(inspect(&future), "nothing yet, done false, cancelled false");
            end(&future);
            assert_eq!(inspect(&future), shown);
            assert_eq!(future.set_result(2).unwrap_err().0, 2);
            let refused = future.set_exception("second error").unwrap_err();
            assert_eq!(refused.0.to_string(), "second error");
            assert!(!future.cancel() && !future.cancel_with("again"));
            assert_eq!(inspect(&future), shown, "unchanged, and readable again");
        }
    });
}

#[test]
fn m3_a_callback_that_is_not_there_cannot_be_removed() {
    on_virtual_time(|trace, event_loop| {
        let (one, other) = (
            event_loop.create_future::<()>(),
            event_loop.create_future::<()>(),
        );
        let kept = trace.clone();
        let id = one.add_done_callback(move |_| kept.push("the callback runs"));
        assert!(!other.remove_done_callback(id), "not the other's");
        one.set_result(()).unwrap();
        assert!(!one.remove_done_callback(id), "queued already");
        one_turn(&event_loop);
        assert!(!one.remove_done_callback(id), "has run");
        let removed = other.add_done_callback(|_| unreachable!());
        assert!(other.remove_done_callback(removed));
        assert!(!other.remove_done_callback(removed), "removed before");
        other.cancel();
        one_turn(&event_loop);
        trace.expect(["the callback runs"]);
    });
}

#[test]
fn reading_a_pending_future_is_an_error_and_no_retrieval() {
    on_virtual_time(|trace, event_loop| {
        let future = event_loop.create_future::<u8>();
        assert!(future.result().is_err());
        assert!(future.exception().is_err());
        assert!(future.try_take().is_err());
        future.set_exception("unseen").unwrap();
        drop(future);
        trace.expect(["report: Future exception was never retrieved (unseen)"]);
    });
}

#[test]
fn exception_gives_what_ended_the_future_and_nothing_for_a_value() {
    on_virtual_time(|_, event_loop| {
        let future = event_loop.create_future::<u8>();
        future.set_result(1).unwrap();
        assert!(future.exception().unwrap().is_none());
        let future = event_loop.create_future::<u8>();
        future.set_exception("broken").unwrap();
        let exception = future.exception().unwrap().unwrap();
        assert!(
            matches!(exception, FutureError::Exception(error) if error.to_string() == "broken")
        );
        let future = event_loop.create_future::<u8>();
        future.cancel_with("enough");
        let line = line!() - 1;
        let exception = future.exception().unwrap().unwrap();
        let cancelled = exception.cancelled().unwrap();
        assert_eq!(cancelled.message(), Some("enough"));
        let place = cancelled.location().unwrap();
        assert_eq!((place.file(), place.line()), (file!(), line));
    });
}

#[test]
fn done_callbacks_run_through_the_queue_in_the_order_they_were_added() {
    on_virtual_time(|trace, event_loop| {
        let future = event_loop.create_future();
        for n in 1..=3 {
            let trace = trace.clone();
            future.add_done_callback(move |future| {
                trace.push(format!(
                    "callback {n} sees {}",
                    future.result().unwrap().unwrap()
                ));
            });
        }
        event_loop.call_soon(trace.note("queued before"));
        future.set_result("the value").unwrap();
        event_loop.call_soon(trace.note("queued after"));
        trace.push("set_result has returned");
        one_turn(&event_loop);
        trace.expect([
            "set_result has returned", // none ran inside it
            "queued before",
            "callback 1 sees the value",
            "callback 2 sees the value",
            "callback 3 sees the value",
            "queued after",
        ]);
    });
}

#[test]
fn a_callback_added_to_a_done_future_is_queued_at_once_and_not_run_inline() {
    on_virtual_time(|trace, event_loop| {
        let future = event_loop.create_future::<()>();
        future.cancel();
        event_loop.call_soon(trace.note("before"));
        let late = trace.clone();
        future.add_done_callback(move |future| {
            late.push(format!("cancelled {}", future.cancelled()))
        });
        event_loop.call_soon(trace.note("after"));
        one_turn(&event_loop);
        trace.expect(["before", "cancelled true", "after"]);
    });
}

#[test]
fn the_same_callback_added_twice_runs_twice_and_is_removed_one_by_one() {
    on_virtual_time(|trace, event_loop| {
        let future = event_loop.create_future::<()>();
        let shared = trace.clone();
        let callback = Rc::new(move |_: &Future<()>| shared.push("called"));
        let mut ids = Vec::new();
        for _ in 0..3 {
            let callback = Rc::clone(&callback);
            ids.push(future.add_done_callback(move |future| callback(future)));
        }
        assert!(future.remove_done_callback(ids[1]));
        future.set_result(()).unwrap();
        one_turn(&event_loop);
        trace.expect(["called", "called"]);
    });
}

#[test]
fn callbacks_may_add_and_remove_callbacks_of_the_same_future() {
    on_virtual_time(|trace, event_loop| {
        let future = event_loop.create_future::<()>();
        let second = Rc::new(RefCell::new(None));
        let (t, id) = (trace.clone(), Rc::clone(&second));
        future.add_done_callback(move |future| {
            let id = id.borrow_mut().take().unwrap();
            t.push(format!("removed: {}", future.remove_done_callback(id)));
            let inner = t.clone();
            future.add_done_callback(move |_| inner.push("added by the first"));
        });
        let t = trace.clone();
        *second.borrow_mut() = Some(future.add_done_callback(move |_| t.push("second")));
        future.set_result(()).unwrap();
        one_turn(&event_loop);
        trace.expect(["removed: false", "second"]); // it had been queued
        one_turn(&event_loop);
        trace.expect(["added by the first"]);
    });
}

#[test]
fn a_removed_callback_drops_what_it_holds_at_once() {
    on_virtual_time(|trace, event_loop| {
        let future = event_loop.create_future::<()>();
        let probe = DropProbe::new(&trace, "captured");
        let id = future.add_done_callback(move |_| drop(probe));
        trace.expect([]);
        assert!(future.remove_done_callback(id));
        trace.expect(["drop captured"]);
    });
}

#[test]
fn an_error_that_was_never_retrieved_is_reported_when_the_last_handle_is_dropped() {
    on_virtual_time(|trace, event_loop| {
        let t = trace.clone();
        event_loop.set_exception_handler(move |_, context| {
            let place = context.location.unwrap();
            t.push(format!(
                "{} at {}:{}",
                context.message,
                place.file(),
                place.line()
            ));
        });
        let future = event_loop.create_future::<()>();
        let line = line!() - 1;
        let other = future.clone();
        future.add_done_callback(|future| assert!(future.done()));
        future.set_exception("nobody cares").unwrap();
        one_turn(&event_loop);
        drop(future);
        trace.expect([]);
        drop(other);
        let report = format!("Future exception was never retrieved at {}:{line}", file!());
        trace.expect([report.as_str()]);
    });
}

#[test]
fn an_error_that_was_retrieved_a_cancellation_and_a_value_are_not_reported() {
    on_virtual_time(|trace, event_loop| {
        let failed = || {
            let future = event_loop.create_future::<u8>();
            future.set_exception("seen").unwrap();
            future
        };
        assert!(failed().result().unwrap().is_err());
        assert!(failed().exception().unwrap().is_some());
        assert!(failed().try_take().unwrap().is_err());
        assert!(event_loop.run_until_complete(failed()).unwrap().is_err());
        assert!(event_loop.create_future::<u8>().cancel());
        event_loop.create_future().set_result(1).unwrap();
        drop(event_loop.create_future::<u8>());
        trace.expect([]);
        drop(failed());
        trace.expect(["report: Future exception was never retrieved (seen)"]);
    });
}

#[test]
fn take_moves_a_value_out_once_and_leaves_an_error_where_it_is() {
    on_virtual_time(|trace, event_loop| {
        let future = event_loop.create_future();
        let first = event_loop.create_task(future.clone().take());
        let second = event_loop.create_task(future.clone().take());
        one_turn(&event_loop);
        // A probe cannot be cloned: it goes to one of them.
        assert!(future.set_result(DropProbe::new(&trace, "value")).is_ok());
        let value = event_loop.run_until_complete(first).unwrap().unwrap();
        let missed = event_loop.run_until_complete(second).unwrap().unwrap();
        assert!(matches!(missed, Err(FutureError::Taken)));
        assert!(matches!(future.exception(), Ok(Some(FutureError::Taken))));
        assert!(future.done() && !future.cancelled());
        trace.expect([]);
        drop(value);
        trace.expect(["drop value"]);
        let failed = event_loop.create_future::<DropProbe>();
        failed.set_exception("stays").unwrap();
        for _ in 0..2 {
            let error = failed.try_take().unwrap().err().unwrap();
            assert_eq!(error.to_string(), "stays");
        }
    });
}

#[test]
fn a_taker_that_is_dropped_takes_nothing() {
    on_virtual_time(|_, event_loop| {
        let future = event_loop.create_future();
        let taker = event_loop.create_task(future.clone().take());
        one_turn(&event_loop);
        future.set_result(Rc::new(())).unwrap();
        taker.cancel(); // in the same turn in which it would be resumed
        one_turn(&event_loop);
        assert!(taker.cancelled());
        assert!(future.try_take().unwrap().is_ok());
    });
}

#[test]
fn a_result_set_between_runs_wakes_in_the_order_of_the_ready_queue() {
    on_virtual_time(|trace, event_loop| {
        let future = event_loop.create_future::<()>();
        let (t, awaited) = (trace.clone(), future.clone());
        let awaiter = async move {
            awaited.await.unwrap();
            t.push("the awaiter");
        };
        event_loop.create_task(awaiter).detach();
        one_turn(&event_loop);
        event_loop.call_soon(trace.note("queued before"));
        future.set_result(()).unwrap();
        event_loop.call_soon(trace.note("queued after"));
        one_turn(&event_loop);
        trace.expect(["queued before", "the awaiter", "queued after"]);
    });
}

#[test]
fn what_is_set_or_posted_before_a_run_comes_before_its_main_future() {
    audited(|| {
        let trace = SharedTrace::new();
        let event_loop = virtual_loop(&Trace::new());
        let future = event_loop.create_future::<()>();
        let (t, awaited) = (trace.clone(), future.clone());
        let awaiter = async move {
            awaited.await.unwrap();
            t.push("the awaiter");
        };
        event_loop.create_task(awaiter).detach();
        one_turn(&event_loop);
        future.set_result(()).unwrap();
        event_loop
            .remote()
            .call_soon_threadsafe(trace.note("the post"))
            .unwrap();
        let t = trace.clone();
        event_loop
            .run_until_complete(async move { t.push("main") })
            .unwrap();
        trace.expect(["the awaiter", "the post", "main"]);
    });
}

#[test]
fn a_value_whose_clone_uses_the_future_finds_nothing_borrowed() {
    struct Nosy(RefCell<Option<Future<Nosy>>>, Trace);
    impl Clone for Nosy {
        fn clone(&self) -> Self {
            if let Some(future) = self.0.borrow().as_ref() {
                assert!(future.done() && !future.cancelled());
                assert!(
                    future
                        .set_result(Nosy(RefCell::default(), self.1.clone()))
                        .is_err()
                );
                assert!(!future.cancel());
                let id = future.add_done_callback(|_| ());
                assert!(!future.remove_done_callback(id));
                let _ = (future.exception(), future.try_take(), format!("{future:?}"));
                self.1.push("cloned");
            }
            Nosy(RefCell::default(), self.1.clone())
        }
    }
    on_virtual_time(|trace, event_loop| {
        let future = event_loop.create_future();
        let value = Nosy(RefCell::new(Some(future.clone())), trace.clone());
        assert!(future.set_result(value).is_ok());
        assert!(future.result().unwrap().is_ok());
        assert!(event_loop.run_until_complete(&future).unwrap().is_ok());
        trace.expect(["cloned", "cloned"]);
        let value = future.try_take().unwrap().ok().unwrap();
        value.0.take(); // the value held its own future
    });
}

#[test]
fn a_value_whose_clone_panics_stays_in_the_future() {
    #[derive(Debug)]
    struct Bad;
    impl Clone for Bad {
        fn clone(&self) -> Self {
            panic!("on purpose: clone");
        }
    }
    on_virtual_time(|_, event_loop| {
        let future = event_loop.create_future();
        future.set_result(Bad).unwrap();
        assert_eq!(panic_text(|| future.result()), "on purpose: clone");
        let task = event_loop.create_task(future.clone());
        let error = event_loop.run_until_complete(task).unwrap().unwrap_err();
        assert_eq!(error.panicked().unwrap().message(), "on purpose: clone");
        assert!(future.try_take().unwrap().is_ok());
    });
}

#[test]
fn a_future_outlives_its_loop_and_forgets_its_listeners() {
    on_virtual_time(|trace, event_loop| {
        let future = event_loop.create_future();
        let probe = DropProbe::new(&trace, "callback");
        future.add_done_callback(move |_| drop(probe));
        event_loop.create_task(future.clone()).detach();
        one_turn(&event_loop);
        drop(event_loop);
        trace.expect([PENDING]);
        future.set_result(4).unwrap();
        trace.expect(["drop callback"]); // nobody is left to run it
        assert_eq!(future.result().unwrap().unwrap(), 4);
        assert_eq!(
            panic_text(|| future.add_done_callback(|_| ())),
            "call_soon: the event loop is closed"
        );
    });
}

#[test]
fn a_future_shows_its_state_and_birthplace() {
    on_virtual_time(|_, event_loop| {
        let ends: [End; 4] = [
            ("pending", |_| ()),
            ("finished", |future| future.set_result(1).unwrap()),
            ("failed", |future| future.set_exception("x").unwrap()),
            ("cancelled", |future| assert!(future.cancel())),
        ];
        for (state, end) in ends {
            let future = event_loop.create_future::<u8>();
            let place = format!("{}:{}", file!(), line!() - 1);
            end(&future);
            let shown = format!("{future:?}");
            let expected = format!("Future {{ state: {state}, created_at: {place}:");
            assert!(shown.starts_with(&expected), "{shown}");
            let _ = future.exception();
        }
    });
}

#[test]
fn a_timer_may_set_a_future_that_was_cancelled_meanwhile() {
    on_virtual_time(|trace, event_loop| {
        let future = event_loop.create_future();
        let (setter, t) = (future.clone(), trace.clone());
        event_loop.call_later(Duration::from_secs(1), move || {
            t.push(format!("the timer's {:?}", setter.set_result(1)));
        });
        future.cancel();
        let error = event_loop.run_until_complete(&future).unwrap().unwrap_err();
        assert!(error.cancelled().is_some());
        event_loop
            .run_until_complete(callsoon::sleep(Duration::from_secs(2)))
            .unwrap();
        trace.expect(["the timer's Err(InvalidState)"]);
    });
}
