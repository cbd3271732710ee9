//! `Lock`: asyncio's behaviour, and locks whose waiters are cancelled.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use callsoon::sync::{Lock, LockGuard, NotLocked};
use callsoon::{create_task, yield_now};

use crate::support::{
    HostileWaker, Touch, Trace, Waiting, audited, complete, on_virtual_time, virtual_loop,
};

#[test]
fn a_free_lock_is_acquired_without_suspending_and_needs_no_loop() {
    audited(|| {
        let lock = Lock::new(1);
        let mut guard = Waiting::new(lock.acquire()).poll().unwrap();
        *guard += 1;
        assert!(lock.locked());
        drop(guard);
        assert!(!lock.locked());
        assert_eq!(lock.into_inner(), 2);
    });
}

#[test]
fn waiters_get_the_lock_in_the_order_in_which_they_came() {
    on_virtual_time(|trace, event_loop| {
        let lock = Rc::new(Lock::new(()));
        let tasks: Vec<_> = (0..3)
            .map(|n| {
                let (lock, t) = (Rc::clone(&lock), trace.clone());
                event_loop.create_task(async move {
                    let guard = lock.acquire().await;
                    t.push(format!("{n} has it"));
                    yield_now().await;
                    t.push(format!("{n} releases"));
                    drop(guard);
                })
            })
            .collect();
        complete(&event_loop, async {
            for task in tasks {
                task.await.unwrap();
            }
        });
        trace.expect([
            "0 has it",
            "0 releases",
            "1 has it",
            "1 releases",
            "2 has it",
            "2 releases",
        ]);
    });
}

#[test]
fn who_releases_and_acquires_again_goes_behind_those_who_wait() {
    on_virtual_time(|trace, event_loop| {
        let lock = Rc::new(Lock::new(()));
        let (l, t) = (Rc::clone(&lock), trace.clone());
        complete(&event_loop, async move {
            let guard = l.acquire().await;
            let other = create_task({
                let (l, t) = (Rc::clone(&l), t.clone());
                async move {
                    let _guard = l.acquire().await;
                    t.push("the waiter");
                }
            });
            yield_now().await;
            drop(guard);
            assert!(l.try_acquire().is_none());
            let _again = l.acquire().await;
            t.push("the one that came again");
            other.await.unwrap();
        });
        trace.expect(["the waiter", "the one that came again"]);
    });
}

#[test]
fn a_released_lock_is_not_locked_until_its_waiter_runs_but_no_other_task_gets_it() {
    audited(|| {
        let lock = Lock::new(());
        let guard = lock.try_acquire().unwrap();
        let mut first = Waiting::begun(lock.acquire());
        drop(guard);
        // asyncio: `locked` returns whether a task holds it.
        assert!(!lock.locked());
        assert!(lock.try_acquire().is_none());
        let mut newcomer = Waiting::begun(lock.acquire());
        assert!(first.is_woken() && !newcomer.is_woken());
        let guard = first.poll().unwrap();
        assert!(lock.locked() && newcomer.poll().is_none());
        drop(guard);
        assert!(newcomer.is_woken() && newcomer.poll().is_some());
    });
}

#[test]
fn m3_releasing_what_is_not_locked_by_a_leaked_guard_is_an_error_and_changes_nothing() {
    audited(|| {
        let lock = Lock::new(());
        assert_eq!(lock.release(), Err(NotLocked));
        let guard = lock.try_acquire().unwrap();
        let mut waiter = Waiting::begun(lock.acquire());
        assert_eq!(lock.release(), Err(NotLocked));
        assert!(lock.locked() && !waiter.is_woken());
        drop(guard);
        assert_eq!(lock.release(), Err(NotLocked), "it is on its way");
        assert!(waiter.poll().is_some());
        assert_eq!(
            NotLocked.to_string(),
            "the lock is not locked by a leaked guard"
        );
    });
}

#[test]
fn a_leaked_guard_is_released_by_anybody_and_the_value_stays_usable() {
    audited(|| {
        let lock = Lock::new(vec![1]);
        LockGuard::leak(lock.try_acquire().unwrap());
        assert!(lock.locked());
        let mut waiter = Waiting::begun(lock.acquire());
        assert_eq!(lock.release(), Ok(()));
        waiter.poll().unwrap().push(2);
        assert_eq!(*lock.try_acquire().unwrap(), [1, 2]);
    });
}

#[test]
fn a_panic_releases_the_lock() {
    audited(|| {
        let lock = Lock::new(0);
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            *lock.try_acquire().unwrap() = 7;
            let _guard = lock.try_acquire().unwrap();
            panic!("on purpose");
        }));
        assert!(panicked.is_err());
        assert_eq!(*lock.try_acquire().unwrap(), 7);
    });
}

#[test]
fn n1_a_waiter_cancelled_after_the_lock_was_given_to_it_gives_it_to_the_next() {
    audited(|| {
        let lock = Lock::new(());
        let guard = lock.try_acquire().unwrap();
        let first = Waiting::begun(lock.acquire());
        let mut second = Waiting::begun(lock.acquire());
        let mut third = Waiting::begun(lock.acquire());
        drop(guard);
        assert!(first.is_woken() && !second.is_woken());
        drop(first);
        assert!(second.is_woken() && !third.is_woken());
        assert!(third.poll().is_none(), "no double grant");
        let guard = second.poll().unwrap();
        drop(third);
        drop(guard);
        assert!(lock.try_acquire().is_some());
    });
}

#[test]
fn n1_a_waiter_cancelled_in_the_wait_queue_is_passed_over() {
    audited(|| {
        let lock = Lock::new(());
        let guard = lock.try_acquire().unwrap();
        let mut waiters: Vec<_> = (0..5).map(|_| Waiting::begun(lock.acquire())).collect();
        drop(waiters.remove(3));
        drop(waiters.remove(0));
        drop(guard);
        for mut waiter in waiters {
            assert!(waiter.is_woken());
            assert!(waiter.poll().is_some());
        }
        assert!(!lock.locked() && lock.try_acquire().is_some());
    });
}

#[test]
fn n1_cancelled_tasks_lose_no_lock_whether_granted_or_not() {
    on_virtual_time(|trace, event_loop| {
        let lock = Rc::new(Lock::new(()));
        let (l, t) = (Rc::clone(&lock), trace.clone());
        complete(&event_loop, async move {
            let guard = l.acquire().await;
            let task = |name: &'static str| {
                let (l, t) = (Rc::clone(&l), t.clone());
                create_task(async move {
                    let _guard = l.acquire().await;
                    t.push(name);
                })
            };
            let (a, b, c) = (task("a"), task("b"), task("c"));
            yield_now().await;
            // a is granted and cancelled in the same turn, b before anything was granted.
            b.cancel();
            drop(guard);
            a.cancel();
            assert!(a.await.unwrap_err().cancelled().is_some());
            assert!(b.await.unwrap_err().cancelled().is_some());
            c.await.unwrap();
        });
        trace.expect(["c"]);
        assert!(lock.try_acquire().is_some());
    });
}

#[test]
fn a_future_that_was_never_polled_is_not_in_the_wait_queue() {
    audited(|| {
        let lock = Lock::new(());
        let guard = lock.try_acquire().unwrap();
        let mut idle = Waiting::new(lock.acquire());
        let mut waiter = Waiting::begun(lock.acquire());
        drop(guard);
        assert!(idle.poll().is_none(), "it comes second");
        drop(waiter.poll().unwrap());
        assert!(idle.is_woken() && idle.poll().is_some());
    });
}

#[test]
fn a5_the_newest_waker_is_the_one_that_is_woken() {
    audited(|| {
        let lock = Lock::new(());
        let guard = lock.try_acquire().unwrap();
        let mut waiter = Waiting::begun(lock.acquire());
        let hostile = HostileWaker::new(|_| ());
        assert!(waiter.poll_with(&hostile.waker()).is_none());
        drop(guard);
        assert!(!waiter.is_woken());
        assert_eq!(hostile.wakes(), 1);
        assert!(waiter.poll().is_some());
    });
}

#[test]
fn a5_wakers_that_use_the_lock_themselves_find_it_usable_and_lose_nothing() {
    audited(|| {
        let lock = Rc::new(Lock::new(0));
        let l = Rc::clone(&lock);
        let hostile = HostileWaker::new(move |_| {
            assert!(!format!("{l:?}").is_empty());
            let _ = l.release();
            if let Some(mut guard) = l.try_acquire() {
                *guard += 1;
            }
            drop(Waiting::new(l.acquire()).poll());
        });
        for polls in 0..4 {
            let guard = lock.try_acquire().unwrap();
            let mut waiter = Waiting::new(lock.acquire());
            for _ in 0..polls {
                assert!(waiter.poll_with(&hostile.waker()).is_none());
            }
            let mut second = Waiting::begun(lock.acquire());
            drop(guard);
            if polls % 2 == 0 {
                drop(waiter);
            } else {
                assert!(waiter.poll_with(&hostile.waker()).is_some());
                drop(waiter);
            }
            assert!(second.is_woken() && second.poll().is_some());
        }
        assert!(!lock.locked());
    });
}

#[test]
fn a5_a_waker_whose_clone_releases_the_lock_finds_its_owner_holding_it() {
    audited(|| {
        let lock = Rc::new(Lock::new(()));
        LockGuard::leak(lock.try_acquire().unwrap());
        let l = Rc::clone(&lock);
        let hostile = HostileWaker::new(move |_| {
            let _ = l.release();
        });
        let mut waiter = Waiting::new(lock.acquire());
        assert!(waiter.poll_with(&hostile.waker()).is_some());
    });
}

#[test]
fn a5_a_waker_that_panics_goes_to_the_exception_handler_and_not_to_who_releases() {
    on_virtual_time(|trace, event_loop| {
        let lock = Rc::new(Lock::new(()));
        let hostile = HostileWaker::new(|touch| {
            assert!(touch != Touch::Wake, "on purpose");
        });
        let guard = lock.try_acquire().unwrap();
        let mut waiter = Waiting::new(lock.acquire());
        assert!(waiter.poll_with(&hostile.waker()).is_none());
        complete(&event_loop, async { drop(guard) });
        trace.expect(["report: Exception in a waker (on purpose)"]);
        assert!(waiter.poll().is_some());
    });
}

#[test]
fn tasks_of_two_loops_of_one_thread_share_a_lock() {
    audited(|| {
        let trace = Trace::new();
        let (one, two) = (virtual_loop(&trace), virtual_loop(&trace));
        let lock = Rc::new(Lock::new(()));
        let guard = lock.try_acquire().unwrap();
        let l = Rc::clone(&lock);
        let waiter = one.create_task(async move { drop(l.acquire().await) });
        complete(&one, yield_now());
        complete(&two, async { drop(guard) });
        complete(&one, waiter).unwrap();
        assert!(lock.try_acquire().is_some());
    });
}

#[test]
fn a_closed_loop_gives_back_what_its_tasks_held_and_waited_for() {
    on_virtual_time(|_, event_loop| {
        let lock = Rc::new(Lock::new(()));
        for _ in 0..3 {
            let l = Rc::clone(&lock);
            let holder = async move {
                let _guard = l.acquire().await;
                std::future::pending::<()>().await;
            };
            event_loop.create_task(holder).detach();
        }
        complete(&event_loop, yield_now());
        assert!(lock.locked());
        event_loop.close().unwrap();
        assert!(!lock.locked() && lock.try_acquire().is_some());
    });
}

#[test]
fn debug_says_whether_it_is_locked_and_how_many_wait() {
    audited(|| {
        let lock = Lock::new("secret");
        assert_eq!(
            format!("{lock:?}"),
            "Lock { locked: false, waiters: 0, .. }"
        );
        let guard = lock.try_acquire().unwrap();
        let _waiter = Waiting::begun(lock.acquire());
        assert_eq!(format!("{lock:?}"), "Lock { locked: true, waiters: 1, .. }");
        assert_eq!(format!("{guard:?}"), "LockGuard(\"secret\")");
    });
}
