//! `Event`: asyncio's behaviour.

use std::cell::Cell;
use std::rc::Rc;

use callsoon::sync::Event;
use callsoon::{create_task, yield_now};

use crate::support::{
    CountingWaker, HostileWaker, Touch, Waiting, audited, complete, on_virtual_time,
};

#[test]
fn a_set_event_is_passed_without_suspending() {
    audited(|| {
        let event = Event::new();
        assert!(!event.is_set());
        event.set();
        assert!(event.is_set());
        assert_eq!(Waiting::new(event.wait()).poll(), Some(()));
        event.clear();
        assert!(!event.is_set());
        drop(Waiting::begun(event.wait()));
    });
}

#[test]
fn set_wakes_all_who_wait_in_their_order_behind_what_was_queued_before() {
    on_virtual_time(|trace, event_loop| {
        let (event, t) = (Rc::new(Event::new()), trace.clone());
        complete(&event_loop, async move {
            let waiter = |name: &'static str| {
                let (event, t) = (Rc::clone(&event), t.clone());
                create_task(async move {
                    event.wait().await;
                    t.push(name);
                })
            };
            let (one, two) = (waiter("1"), waiter("2"));
            yield_now().await;
            // asyncio's [3, 1, 2]: a task that has not started yet is queued before those that are woken now.
            let three = waiter("3");
            event.set();
            for task in [one, two, three] {
                task.await.unwrap();
            }
        });
        trace.expect(["3", "1", "2"]);
    });
}

#[test]
fn set_and_clear_before_they_run_still_lets_the_waiters_through() {
    audited(|| {
        let event = Event::new();
        let mut early = Waiting::begun(event.wait());
        event.set();
        event.clear();
        let mut late = Waiting::begun(event.wait());
        assert!(early.is_woken() && early.poll().is_some());
        assert!(!late.is_woken() && late.poll().is_none());
        event.set();
        assert!(late.is_woken() && late.poll().is_some());
    });
}

#[test]
fn setting_twice_wakes_once() {
    audited(|| {
        let event = Event::new();
        let (counter, waker) = CountingWaker::new();
        let mut waiter = Waiting::new(event.wait());
        assert!(waiter.poll_with(&waker).is_none());
        event.set();
        event.set();
        assert_eq!(counter.wakes(), 1);
    });
}

#[test]
fn n1_cancelled_waiters_leave_and_the_others_are_woken() {
    audited(|| {
        let event = Event::new();
        let mut waiters: Vec<_> = (0..4).map(|_| Waiting::begun(event.wait())).collect();
        drop(waiters.remove(2));
        drop(waiters.remove(0));
        assert_eq!(format!("{event:?}"), "Event { set: false, waiters: 2, .. }");
        event.set();
        drop(waiters.remove(0));
        assert!(waiters[0].is_woken() && waiters[0].poll().is_some());
        assert_eq!(format!("{event:?}"), "Event { set: true, waiters: 0, .. }");
    });
}

#[test]
fn a5_a_waker_that_clears_sets_and_waits_again_ends() {
    audited(|| {
        let event = Rc::new(Event::new());
        let rounds = Rc::new(Cell::new(0));
        let (e, r) = (Rc::clone(&event), Rc::clone(&rounds));
        let hostile = HostileWaker::new(move |_| {
            r.set(r.get() + 1);
            e.clear();
            drop(Waiting::begun(e.wait()));
            e.set();
            e.clear();
        });
        let mut hostile_one = Waiting::new(event.wait());
        // Its clone sets the event and clears it, before it is in the wait queue: it has to wait.
        assert!(hostile_one.poll_with(&hostile.waker()).is_none());
        let mut other = Waiting::begun(event.wait());
        event.set();
        assert_eq!(rounds.get(), 2, "one clone, one wake");
        assert!(other.is_woken() && other.poll().is_some());
        assert!(hostile_one.poll().is_some());
    });
}

#[test]
fn a5_who_joins_while_a_set_wakes_is_not_meant_by_it() {
    audited(|| {
        let event = Rc::new(Event::new());
        let joined = Rc::new(Cell::new(None));
        let (e, j) = (Rc::clone(&event), Rc::clone(&joined));
        let hostile = HostileWaker::new(move |touch| {
            if touch == Touch::Wake {
                e.clear();
                let e = Rc::clone(&e);
                j.set(Some(Waiting::begun(async move { e.wait().await })));
            }
        });
        let mut waiter = Waiting::new(event.wait());
        assert!(waiter.poll_with(&hostile.waker()).is_none());
        event.set();
        let mut late = joined.take().unwrap();
        assert!(!late.is_woken() && late.poll().is_none());
        assert!(waiter.poll().is_some());
    });
}
