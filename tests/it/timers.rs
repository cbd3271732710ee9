//! Timers and sleeps: they run in the order of their deadlines, and never early.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use callsoon::{
    LoopHandle, TimerHandle, create_task, get_running_loop, sleep, sleep_until, yield_now,
};

use crate::support::{
    CountingWaker, DropProbe, Trace, audited, on_virtual_time, one_turn, virtual_loop,
};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// A callback that writes a line with the time since it was made.
fn timed(event_loop: &LoopHandle, trace: &Trace, line: &'static str) -> impl FnOnce() + 'static {
    let (event_loop, trace, start) = (event_loop.clone(), trace.clone(), event_loop.time());
    move || trace.push(format!("{:?}: {line}", event_loop.time() - start))
}

/// Runs the loop until `delay` from now, that moment's timers included.
fn run_for(event_loop: &callsoon::EventLoop, delay: Duration) {
    let handle = event_loop.handle();
    event_loop.call_later(delay, move || handle.stop());
    event_loop.run_forever().unwrap();
}

#[test]
fn timers_run_at_their_exact_times_in_the_order_of_their_deadlines() {
    on_virtual_time(|trace, event_loop| {
        let timer = |delay, line| event_loop.call_later(delay, timed(&event_loop, &trace, line));
        timer(HOUR, "an hour");
        timer(Duration::from_nanos(2), "two nanoseconds");
        timer(SECOND, "a second");
        timer(Duration::from_nanos(1), "one nanosecond");
        run_for(&event_loop, HOUR);
        trace.expect([
            "1ns: one nanosecond",
            "2ns: two nanoseconds",
            "1s: a second",
            "3600s: an hour",
        ]);
    });
}

#[test]
fn equal_deadlines_run_in_the_order_of_their_creation() {
    on_virtual_time(|trace, event_loop| {
        let when = event_loop.time() + SECOND;
        event_loop.call_at(when, trace.note("first"));
        event_loop.call_later(SECOND, trace.note("second"));
        let t = trace.clone();
        let sleeper = event_loop.create_task(async move {
            sleep_until(when).await;
            t.push("third, a sleeper");
        });
        one_turn(&event_loop);
        let fourth = event_loop.call_at(when, trace.note("never"));
        event_loop.call_at(when, trace.note("fifth"));
        // Its slot is free again and the next timer takes it, but not its place in the order.
        fourth.cancel();
        event_loop.call_at(when, trace.note("sixth"));
        run_for(&event_loop, SECOND);
        trace.expect(["first", "second", "third, a sleeper", "fifth", "sixth"]);
        drop(sleeper);
    });
}

#[test]
fn a_zero_delay_is_a_timer_behind_what_is_ready() {
    audited(|| {
        // CPython 3.11 gives the same: call_later(0, a); call_soon(b); run once → b, a.
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        event_loop.call_later(Duration::ZERO, trace.note("timer"));
        event_loop.call_soon(trace.note("callback"));
        one_turn(&event_loop);
        trace.expect(["callback", "timer"]);
    });
}

#[test]
fn deadlines_of_the_past_run_in_the_next_turn_in_their_order() {
    audited(|| {
        // call_later(-1, a); call_later(-2, b) runs b, a in asyncio.
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        let now = event_loop.time();
        event_loop.call_at(now, trace.note("now"));
        event_loop.call_at(now - SECOND, trace.note("a second ago"));
        event_loop.call_at(now - HOUR, trace.note("an hour ago"));
        event_loop.call_at(now - SECOND, trace.note("a second ago, too"));
        event_loop.call_soon(trace.note("ready"));
        one_turn(&event_loop);
        trace.expect([
            "ready",
            "an hour ago",
            "a second ago",
            "a second ago, too",
            "now",
        ]);
        assert_eq!(event_loop.time(), now);
    });
}

#[test]
fn a_due_timer_set_by_a_callback_waits_for_the_next_turn() {
    on_virtual_time(|trace, event_loop| {
        let (handle, note) = (event_loop.handle(), trace.note("timer"));
        let callback = trace.note("callback");
        event_loop.call_soon(move || {
            handle.call_later(Duration::ZERO, note);
            callback();
        });
        one_turn(&event_loop);
        trace.expect(["callback"]);
        // What became ready earlier still goes first.
        event_loop.call_soon(trace.note("ready"));
        one_turn(&event_loop);
        trace.expect(["ready", "timer"]);
    });
}

#[test]
fn all_timers_that_are_due_run_in_one_turn() {
    on_virtual_time(|trace, event_loop| {
        for _ in 0..3 {
            let (handle, t) = (event_loop.handle(), trace.clone());
            event_loop.call_later(SECOND, move || {
                t.push(format!("turn {}", handle.metrics().turns));
                // What a timer schedules runs one turn later.
                let (handle, t) = (handle.clone(), t.clone());
                let inner = handle.clone();
                handle.call_soon(move || t.push(format!("turn {}", inner.metrics().turns)));
            });
        }
        run_for(&event_loop, 2 * SECOND);
        trace.expect(["turn 1", "turn 1", "turn 1", "turn 2", "turn 2", "turn 2"]);
    });
}

#[test]
fn a_cancelled_timer_is_gone_at_once_and_wakes_no_task() {
    on_virtual_time(|trace, event_loop| {
        let probe = DropProbe::new(&trace, "first");
        let first = event_loop.call_later(SECOND, move || drop(probe));
        event_loop.call_later(HOUR, timed(&event_loop, &trace, "second"));
        assert_eq!(event_loop.metrics().timers, 2);
        first.cancel();
        trace.expect(["drop first"]);
        assert_eq!(event_loop.metrics().timers, 1);
        first.cancel();
        assert!(first.cancelled());
        // The loop does not wake up for it: one jump, one turn, an hour later.
        event_loop.turn(None).unwrap();
        trace.expect(["3600s: second"]);
        assert_eq!(event_loop.metrics().turns, 1);
    });
}

#[test]
fn a_due_timer_can_be_cancelled_until_its_turn_comes() {
    on_virtual_time(|trace, event_loop| {
        let victims = Rc::new(RefCell::new(Vec::<TimerHandle>::new()));
        let (armed, t) = (Rc::clone(&victims), trace.clone());
        event_loop.call_later(SECOND, move || {
            t.push("canceller");
            armed.borrow().iter().for_each(TimerHandle::cancel);
            t.push("cancelled");
        });
        for name in ["same deadline", "other deadline"] {
            let probe = DropProbe::new(&trace, name);
            let victim = event_loop.call_later(SECOND, move || unreachable!("{}", late(probe)));
            victims.borrow_mut().push(victim);
        }
        event_loop.call_later(SECOND, trace.note("bystander"));
        run_for(&event_loop, SECOND);
        trace.expect([
            "canceller",
            "drop same deadline",
            "drop other deadline",
            "cancelled",
            "bystander",
        ]);
    });
}

fn late(_: DropProbe) -> &'static str {
    "cancelled before"
}

#[test]
fn a_timer_that_cancels_itself_runs_to_its_end() {
    on_virtual_time(|trace, event_loop| {
        let slot = Rc::new(RefCell::new(None::<TimerHandle>));
        let (own, t) = (Rc::clone(&slot), trace.clone());
        let timer = event_loop.call_later(SECOND, move || {
            let own = own.take().unwrap();
            own.cancel();
            t.push(format!("cancelled: {}", own.cancelled()));
        });
        *slot.borrow_mut() = Some(timer);
        run_for(&event_loop, SECOND);
        trace.expect(["cancelled: true"]);
    });
}

#[test]
fn dropping_a_timer_handle_cancels_nothing() {
    on_virtual_time(|trace, event_loop| {
        drop(event_loop.call_later(SECOND, trace.note("runs")));
        run_for(&event_loop, SECOND);
        trace.expect(["runs"]);
    });
}

#[test]
fn a_panic_in_a_timer_is_reported_and_the_rest_of_its_batch_runs() {
    on_virtual_time(|trace, event_loop| {
        event_loop.call_later(SECOND, || panic!("on purpose: timer"));
        event_loop.call_later(SECOND, trace.note("next"));
        run_for(&event_loop, SECOND);
        trace.expect(["report: Exception in callback (on purpose: timer)", "next"]);
        assert_eq!(event_loop.metrics().timers, 0);
    });
}

#[test]
fn a_timer_handle_knows_its_deadline_before_and_after() {
    on_virtual_time(|_, event_loop| {
        let start = event_loop.time();
        let later = event_loop.call_later(HOUR, || ());
        let past = event_loop.call_at(start - HOUR, || ());
        let cancelled = event_loop.call_later(SECOND, || ());
        cancelled.cancel();
        run_for(&event_loop, HOUR);
        assert_eq!(later.when(), start + HOUR);
        assert_eq!(past.when(), start - HOUR);
        assert_eq!(cancelled.when(), start + SECOND);
        assert_eq!((later.cancelled(), cancelled.cancelled()), (false, true));
    });
}

#[test]
fn timer_handles_are_ordered_as_their_timers_fire_and_equal_to_themselves_only() {
    on_virtual_time(|_, event_loop| {
        let when = event_loop.time() + SECOND;
        let late = event_loop.call_at(when + SECOND, || ());
        let first = event_loop.call_at(when, || ());
        let second = event_loop.call_at(when, || ());
        assert!(first < late && second < late && late == late);
        // asyncio compares the callback too: two timers are never equal, or a set of handles would lose one of them.
        assert!(
            first != second,
            "two timers with one deadline are two timers"
        );
        assert!(first < second, "among equals the older one comes first");
    });
}

#[test]
fn a_timer_handle_prints_its_deadline_and_where_it_was_made() {
    on_virtual_time(|_, event_loop| {
        let line = line!() + 1;
        let never = event_loop.call_later(Duration::MAX, || ());
        let printed = format!("{never:?}");
        let start = "TimerHandle { cancelled: false, when: never, created_at: ";
        assert!(printed.starts_with(start), "{printed}");
        assert!(
            printed.contains(&format!("{}:{line}:", file!())),
            "{printed}"
        );
        let soon = event_loop.call_later(SECOND, || ());
        soon.cancel();
        let start = format!("TimerHandle {{ cancelled: true, when: {:?}, ", soon.when());
        assert!(format!("{soon:?}").starts_with(&start));
    });
}

#[test]
fn a_callback_that_reschedules_itself_each_second_ends_when_it_stops() {
    audited(|| {
        // The example of asyncio's documentation: display_date(end_time, loop).
        fn tick(handle: LoopHandle, trace: Trace, rounds: u32) {
            trace.push(format!("tick {rounds}"));
            if rounds == 3 {
                return handle.stop();
            }
            let next = handle.clone();
            handle.call_later(SECOND, move || tick(next, trace, rounds + 1));
        }
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        let start = event_loop.time();
        let (handle, t) = (event_loop.handle(), trace.clone());
        event_loop.call_soon(move || tick(handle, t, 0));
        event_loop.run_forever().unwrap();
        trace.expect(["tick 0", "tick 1", "tick 2", "tick 3"]);
        assert_eq!(event_loop.time() - start, 3 * SECOND);
    });
}

#[test]
fn timers_outlive_the_run_in_which_they_were_made() {
    on_virtual_time(|trace, event_loop| {
        event_loop.call_later(2 * SECOND, trace.note("timer"));
        run_for(&event_loop, SECOND);
        trace.expect([]);
        run_for(&event_loop, SECOND);
        trace.expect(["timer"]);
    });
}

#[test]
fn a_sleep_counts_from_its_call_and_not_from_its_first_poll() {
    on_virtual_time(|_, event_loop| {
        let start = event_loop.time();
        let outside = sleep(HOUR);
        event_loop
            .run_until_complete(async {
                let later = sleep(3 * SECOND);
                sleep(2 * SECOND).await;
                later.await;
                assert_eq!(get_running_loop().time() - start, 3 * SECOND);
                // One whose deadline has passed before its first poll.
                let passed = sleep(SECOND);
                sleep(2 * SECOND).await;
                passed.await;
                assert_eq!(get_running_loop().time() - start, 5 * SECOND);
                // Made outside of a running loop: from here on.
                outside.await;
            })
            .unwrap();
        assert_eq!(event_loop.time() - start, HOUR + 5 * SECOND);
    });
}

#[test]
fn a_sleep_of_zero_and_one_until_a_past_time_give_up_one_turn() {
    on_virtual_time(|_, event_loop| {
        let turns = |handle: &LoopHandle| handle.metrics().turns;
        event_loop
            .run_until_complete(async {
                let handle = get_running_loop();
                let before = turns(&handle);
                sleep(Duration::ZERO).await;
                assert_eq!(turns(&handle), before + 1);
                sleep_until(handle.time() - HOUR).await;
                assert_eq!(turns(&handle), before + 2);
                sleep_until(handle.time()).await;
                assert_eq!(turns(&handle), before + 3);
            })
            .unwrap();
    });
}

#[test]
fn a_dropped_sleep_disarms_its_timer() {
    on_virtual_time(|_, event_loop| {
        let handle = event_loop.handle();
        event_loop
            .run_until_complete(async {
                let mut one = Box::pin(sleep(HOUR));
                let mut two = Box::pin(sleep_until(handle.time() + HOUR));
                futures_lite::future::poll_once(&mut one).await;
                futures_lite::future::poll_once(&mut two).await;
                assert_eq!(handle.metrics().timers, 2);
                drop(one);
                assert_eq!(handle.metrics().timers, 1);
                drop(two);
                assert_eq!(handle.metrics().timers, 0);
            })
            .unwrap();
    });
}

#[test]
fn a_sleep_wakes_its_newest_waker_once() {
    on_virtual_time(|_, event_loop| {
        let (first, first_waker) = CountingWaker::new();
        let (second, second_waker) = CountingWaker::new();
        let done = Rc::new(Cell::new(false));
        let mut sleeping = Box::pin(sleep(SECOND));
        let flag = Rc::clone(&done);
        event_loop.call_soon(move || {
            for waker in [&first_waker, &second_waker] {
                let mut context = std::task::Context::from_waker(waker);
                assert!(sleeping.as_mut().poll(&mut context).is_pending());
            }
            let handle = get_running_loop();
            handle.call_later(SECOND, move || {
                let mut context = std::task::Context::from_waker(&first_waker);
                flag.set(sleeping.as_mut().poll(&mut context).is_ready());
            });
        });
        run_for(&event_loop, 2 * SECOND);
        assert!(done.get());
        assert_eq!((first.wakes(), second.wakes()), (0, 1));
    });
}

#[test]
fn sleeps_and_callbacks_of_one_deadline_run_in_the_order_in_which_they_were_armed() {
    on_virtual_time(|trace, event_loop| {
        let t = trace.clone();
        let sleeping = async move {
            let handle = get_running_loop();
            let when = handle.time() + SECOND;
            for (task, callback) in [("first task", "callback"), ("second task", "last callback")] {
                let note = t.note(task);
                let task = create_task(async move {
                    sleep_until(when).await;
                    note();
                });
                yield_now().await;
                task.detach();
                handle.call_at(when, t.note(callback));
            }
            // Armed last, and the sleep of no task but of the root.
            sleep_until(when).await;
            t.push("root");
        };
        event_loop.run_until_complete(sleeping).unwrap();
        trace.expect([
            "first task",
            "callback",
            "second task",
            "last callback",
            "root",
        ]);
    });
}

#[test]
fn a_sleep_of_one_loop_wakes_the_task_of_another_that_awaits_it() {
    on_virtual_time(|trace, event_loop| {
        let other = virtual_loop(&trace);
        let [sleeping] = event_loop
            .run_until_complete(async { [sleep(SECOND)] })
            .unwrap();
        let note = trace.note("woken");
        let task = other.create_task(async move {
            sleeping.await;
            note();
        });
        one_turn(&other);
        assert_eq!(
            (event_loop.metrics().timers, other.metrics().timers),
            (1, 0)
        );
        run_for(&event_loop, 2 * SECOND);
        assert_eq!(event_loop.metrics().timers, 0);
        trace.expect([]);
        other.run_until_complete(task).unwrap().unwrap();
        trace.expect(["woken"]);
    });
}

#[test]
fn a_sleep_whose_time_has_come_leaves_no_timer_behind_however_it_is_polled() {
    on_virtual_time(|trace, event_loop| {
        let t = trace.clone();
        let sleeping = async move {
            let handle = get_running_loop();
            let timers = {
                let handle = handle.clone();
                move || handle.metrics().timers
            };
            // Its timer is armed, and its time over, when it is polled again before the next turn.
            let mut past = Box::pin(sleep_until(handle.time() - SECOND));
            assert!(futures_lite::future::poll_once(&mut past).await.is_none());
            assert_eq!(timers(), 1);
            assert!(futures_lite::future::poll_once(&mut past).await.is_some());
            assert_eq!(timers(), 0);
            // It is not polled when its time comes.
            let mut set_aside = Box::pin(sleep(SECOND));
            assert!(
                futures_lite::future::poll_once(&mut set_aside)
                    .await
                    .is_none()
            );
            let counted = timers.clone();
            handle.call_later(SECOND, move || t.push(counted()));
            sleep(2 * SECOND).await;
            // A timer in the same place is not its own.
            let later = handle.call_later(HOUR, || ());
            assert!(
                futures_lite::future::poll_once(&mut set_aside)
                    .await
                    .is_some()
            );
            drop(set_aside);
            assert_eq!(timers(), 1);
            later.cancel();
        };
        event_loop.run_until_complete(sleeping).unwrap();
        // The long sleep of the task itself.
        trace.expect(["1"]);
    });
}

#[test]
fn a_sleep_prints_its_stage() {
    on_virtual_time(|_, event_loop| {
        event_loop
            .run_until_complete(async {
                let mut sleeping = Box::pin(sleep(SECOND));
                assert_eq!(format!("{sleeping:?}"), "Sleep(not polled yet)");
                futures_lite::future::poll_once(&mut sleeping).await;
                assert_eq!(format!("{sleeping:?}"), "Sleep(armed)");
                sleeping.as_mut().await;
                assert_eq!(format!("{sleeping:?}"), "Sleep(done)");
                assert_eq!(format!("{:?}", sleep(Duration::ZERO)), "Sleep(yields)");
            })
            .unwrap();
    });
}
