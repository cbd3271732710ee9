//! `Barrier`: asyncio's behaviour, the longer programs of its own test suite among them.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use callsoon::sync::{Barrier, BrokenBarrier};
use callsoon::{EventLoop, create_task, yield_now};

use crate::support::{
    HostileWaker, Touch, Waiting, audited, complete, on_virtual_time, panic_text,
};

/// Runs `n` tasks to their end.
fn in_tasks(event_loop: &EventLoop, n: usize, task: impl AsyncFn(usize) + Clone + 'static) {
    complete(event_loop, async {
        let tasks: Vec<_> = (0..n)
            .map(|n| {
                let task = task.clone();
                create_task(async move { task(n).await })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
}

#[test]
fn all_go_on_together_with_indices_in_the_order_in_which_they_came() {
    on_virtual_time(|trace, event_loop| {
        let barrier = Rc::new(Barrier::new(3));
        let (b, t) = (Rc::clone(&barrier), trace.clone());
        in_tasks(&event_loop, 3, async move |n| {
            t.push(format!("{n} comes, {} wait", b.n_waiting()));
            let index = b.wait().await.unwrap();
            t.push(format!("{n} goes as {index}, {} wait", b.n_waiting()));
        });
        trace.expect([
            "0 comes, 0 wait",
            "1 comes, 1 wait",
            "2 comes, 2 wait",
            "2 goes as 2, 0 wait", // the last one does not suspend
            "0 goes as 0, 0 wait",
            "1 goes as 1, 0 wait",
        ]);
        assert!(!barrier.broken() && barrier.parties() == 3);
    });
}

#[test]
fn a_barrier_of_one_never_waits() {
    audited(|| {
        let barrier = Barrier::new(1);
        for _ in 0..3 {
            assert_eq!(Waiting::new(barrier.wait()).poll(), Some(Ok(0)));
        }
    });
}

#[test]
fn m2_a_barrier_of_none_is_refused_and_one_of_very_many_waits() {
    audited(|| {
        assert_eq!(
            panic_text(|| Barrier::new(0)),
            "a barrier needs at least one party"
        );
        let barrier = Barrier::new(usize::MAX);
        let _waiter = Waiting::begun(barrier.wait());
        assert_eq!(barrier.n_waiting(), 1);
    });
}

#[test]
fn newcomers_wait_outside_until_the_last_one_has_gone() {
    audited(|| {
        let barrier = Barrier::new(2);
        let mut first = Waiting::begun(barrier.wait());
        assert_eq!(Waiting::new(barrier.wait()).poll(), Some(Ok(1)));
        // Draining: the first one has not run yet.
        let mut next: Vec<_> = (0..3).map(|_| Waiting::begun(barrier.wait())).collect();
        assert_eq!(barrier.n_waiting(), 0);
        assert!(next.iter().all(|waiter| !waiter.is_woken()));
        assert_eq!(first.poll(), Some(Ok(0)));
        let woken: Vec<_> = next.iter().map(Waiting::is_woken).collect();
        assert_eq!(woken, [true, true, false], "as many as there is room for");
        assert!(next[2].poll().is_none() && next[0].poll().is_none());
        assert_eq!(barrier.n_waiting(), 1);
        assert_eq!(next[1].poll(), Some(Ok(1)));
        assert_eq!(next[0].poll(), Some(Ok(0)));
        assert!(next[2].is_woken() && next[2].poll().is_none());
        assert_eq!(barrier.n_waiting(), 1);
    });
}

#[test]
fn n1_a_cancelled_party_is_one_less_and_the_barrier_is_not_broken() {
    audited(|| {
        let barrier = Barrier::new(3);
        let first = Waiting::begun(barrier.wait());
        let mut second = Waiting::begun(barrier.wait());
        drop(first);
        assert_eq!(barrier.n_waiting(), 1);
        let mut third = Waiting::begun(barrier.wait());
        assert_eq!(Waiting::new(barrier.wait()).poll(), Some(Ok(2)));
        // Unlike in asyncio, where both of these are 1.
        assert_eq!(second.poll(), Some(Ok(0)));
        assert_eq!(third.poll(), Some(Ok(1)));
        assert!(!barrier.broken());
    });
}

#[test]
fn n1_a_party_cancelled_after_it_was_let_through_does_not_keep_the_barrier_draining() {
    audited(|| {
        let barrier = Barrier::new(2);
        let first = Waiting::begun(barrier.wait());
        assert_eq!(Waiting::new(barrier.wait()).poll(), Some(Ok(1)));
        let mut next = Waiting::begun(barrier.wait());
        drop(first);
        assert!(next.is_woken() && next.poll().is_none());
        assert_eq!(barrier.n_waiting(), 1);
        assert_eq!(Waiting::new(barrier.wait()).poll(), Some(Ok(1)));
        assert_eq!(next.poll(), Some(Ok(0)));
    });
}

#[test]
fn n1_a_newcomer_cancelled_at_the_entrance_makes_room_for_the_one_behind() {
    audited(|| {
        let barrier = Barrier::new(2);
        let mut first = Waiting::begun(barrier.wait());
        assert!(Waiting::new(barrier.wait()).poll().is_some());
        let mut next: Vec<_> = (0..3).map(|_| Waiting::begun(barrier.wait())).collect();
        assert!(first.poll().is_some());
        assert!(!next[2].is_woken());
        drop(next.remove(0));
        assert!(next[1].is_woken());
        assert!(next[0].poll().is_none());
        assert_eq!(next[1].poll(), Some(Ok(1)));
        assert_eq!(next[0].poll(), Some(Ok(0)));
    });
}

#[test]
fn reset_sends_those_inside_away_and_the_barrier_is_usable_again() {
    audited(|| {
        let barrier = Barrier::new(3);
        barrier.reset();
        let mut waiters: Vec<_> = (0..2).map(|_| Waiting::begun(barrier.wait())).collect();
        barrier.reset();
        assert_eq!(barrier.n_waiting(), 0);
        assert!(!barrier.broken());
        let mut newcomer = Waiting::begun(barrier.wait());
        assert!(format!("{barrier:?}").contains("Resetting"));
        for waiter in &mut waiters {
            assert!(waiter.is_woken());
            assert_eq!(waiter.poll(), Some(Err(BrokenBarrier)));
        }
        assert!(newcomer.is_woken() && newcomer.poll().is_none());
        assert_eq!(
            format!("{barrier:?}"),
            "Barrier { state: Filling, waiters: 1, parties: 3, .. }"
        );
    });
}

#[test]
fn abort_reaches_those_inside_those_outside_and_those_who_come_until_a_reset() {
    audited(|| {
        let barrier = Barrier::new(2);
        let mut passed = Waiting::begun(barrier.wait());
        assert!(Waiting::new(barrier.wait()).poll().is_some());
        let mut outside = Waiting::begun(barrier.wait());
        barrier.abort();
        assert!(barrier.broken() && outside.is_woken());
        assert_eq!(
            Waiting::new(barrier.wait()).poll(),
            Some(Err(BrokenBarrier))
        );
        assert_eq!(outside.poll(), Some(Err(BrokenBarrier)));
        // It could have gone and had not: as in asyncio it learns that the meeting failed.
        assert_eq!(passed.poll(), Some(Err(BrokenBarrier)));
        assert!(barrier.broken());
        barrier.reset();
        let mut again = Waiting::begun(barrier.wait());
        assert_eq!(Waiting::new(barrier.wait()).poll(), Some(Ok(1)));
        assert_eq!(again.poll(), Some(Ok(0)));
    });
}

#[test]
fn a_broken_barrier_that_is_reset_with_parties_inside_waits_for_them_to_go() {
    audited(|| {
        let barrier = Barrier::new(2);
        let mut inside = Waiting::begun(barrier.wait());
        barrier.abort();
        barrier.reset();
        assert!(!barrier.broken());
        let mut newcomer = Waiting::begun(barrier.wait());
        assert_eq!(barrier.n_waiting(), 0);
        assert_eq!(inside.poll(), Some(Err(BrokenBarrier)));
        assert!(newcomer.is_woken() && newcomer.poll().is_none());
        assert_eq!(barrier.n_waiting(), 1);
    });
}

/// asyncio's `test_reset_barrier_when_tasks_half_draining`.
#[test]
fn reset_while_draining_sends_away_those_who_have_not_gone_yet() {
    on_virtual_time(|trace, event_loop| {
        let barrier = Rc::new(Barrier::new(5));
        let (b, t, gone) = (Rc::clone(&barrier), trace.clone(), Rc::new(Cell::new(0)));
        in_tasks(&event_loop, 5, async move |_| match b.wait().await {
            Err(BrokenBarrier) => t.push("broken"),
            Ok(_) => {
                gone.set(gone.get() + 1);
                if gone.get() == 3 {
                    b.reset();
                }
            }
        });
        trace.expect(["broken", "broken"]);
        assert!(!barrier.broken() && barrier.n_waiting() == 0);
    });
}

/// asyncio's `test_reset_barrier_while_tasks_draining`: the last one to go resets, and those who wait to enter
/// do not notice.
#[test]
fn reset_by_the_last_one_out_does_not_reach_those_who_wait_to_enter() {
    on_virtual_time(|trace, event_loop| {
        let barrier = Rc::new(Barrier::new(5));
        let (b, t, count) = (Rc::clone(&barrier), trace.clone(), Rc::new(Cell::new(0)));
        in_tasks(&event_loop, 5, async move |_| {
            b.wait().await.unwrap();
            count.set(count.get() + 1);
            if count.get() == 5 {
                b.reset();
            }
            b.wait().await.unwrap();
            b.wait().await.unwrap();
            t.push("through");
        });
        trace.expect(["through"; 5]);
        assert!(!barrier.broken() && barrier.n_waiting() == 0);
    });
}

/// asyncio's `test_reset_barrier_when_tasks_half_draining_half_blocking`.
#[test]
fn reset_while_draining_leaves_those_outside_to_the_next_meeting() {
    on_virtual_time(|trace, event_loop| {
        let barrier = Rc::new(Barrier::new(5));
        let (b, t, count) = (Rc::clone(&barrier), trace.clone(), Rc::new(Cell::new(0)));
        in_tasks(&event_loop, 5, async move |_| {
            match b.wait().await {
                Err(BrokenBarrier) => t.push("broken inside"),
                Ok(_) => {
                    count.set(count.get() + 1);
                    if count.get() == 3 {
                        b.reset();
                    }
                }
            }
            b.wait().await.unwrap();
        });
        trace.expect(["broken inside", "broken inside"]);
    });
}

/// asyncio's `test_abort_barrier_when_exception_then_resetting`.
#[test]
fn a_second_barrier_lets_all_agree_on_the_reset_of_a_broken_one() {
    on_virtual_time(|trace, event_loop| {
        let (one, two) = (Rc::new(Barrier::new(5)), Rc::new(Barrier::new(5)));
        let (b, t) = (Rc::clone(&one), trace.clone());
        in_tasks(&event_loop, 5, async move |_| {
            match b.wait().await {
                Ok(2) => b.abort(),
                Ok(_) if b.wait().await.is_ok() => t.push("not reached"),
                _ => t.push("broken"),
            }
            if two.wait().await.unwrap() == 2 {
                b.reset();
            }
            two.wait().await.unwrap();
            b.wait().await.unwrap();
            t.push("together again");
        });
        let lines = trace.take();
        assert_eq!(lines[..4], ["broken"; 4]);
        assert_eq!(lines[4..], ["together again"; 5]);
        assert!(!one.broken());
    });
}

#[test]
fn a5_wakers_that_use_the_barrier_themselves_find_it_in_order() {
    audited(|| {
        let barrier = Rc::new(Barrier::new(2));
        let results = Rc::new(RefCell::new(Vec::new()));
        let (b, r) = (Rc::clone(&barrier), Rc::clone(&results));
        let hostile = HostileWaker::new(move |touch| {
            if matches!(touch, Touch::Clone | Touch::Wake) {
                let polled = Waiting::new(b.wait()).poll();
                r.borrow_mut().push(polled);
            }
        });
        let mut first = Waiting::new(barrier.wait());
        // Its clone enters and leaves, then it is a party itself.
        assert!(first.poll_with(&hostile.waker()).is_none());
        assert_eq!(results.take(), [None]);
        // Waking it, while the barrier drains, another one comes and goes.
        assert_eq!(Waiting::new(barrier.wait()).poll(), Some(Ok(1)));
        assert_eq!(results.take(), [None]);
        assert_eq!(first.poll(), Some(Ok(0)));

        let mut first = Waiting::begun(barrier.wait());
        // This one's clone is the last party: the barrier drains, and it waits to enter.
        let mut second = Waiting::new(barrier.wait());
        assert!(second.poll_with(&hostile.waker()).is_none());
        assert_eq!(results.take(), [Some(Ok(1))]);
        assert_eq!(barrier.n_waiting(), 0);
        assert_eq!(first.poll(), Some(Ok(0)));
        assert!(second.poll().is_none());
        assert_eq!(barrier.n_waiting(), 1);
    });
}

#[test]
fn one_task_meets_itself_nowhere_and_a_second_one_is_enough() {
    on_virtual_time(|_, event_loop| {
        let barrier = Rc::new(Barrier::new(2));
        let rounds = Rc::new(Cell::new(0));
        let (b, r) = (barrier, Rc::clone(&rounds));
        in_tasks(&event_loop, 2, async move |n| {
            for _ in 0..100 {
                let index = b.wait().await.unwrap();
                r.set(r.get() + index);
                if n == 0 {
                    yield_now().await;
                }
            }
        });
        assert_eq!(rounds.get(), 100, "each round has a 0 and a 1");
    });
}
