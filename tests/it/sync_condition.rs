//! `Condition`: asyncio's behaviour, except that a cancelled waiter does not take the lock again.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use callsoon::sync::{Condition, Lock, LockGuard};
use callsoon::{create_task, sleep, yield_now};

use crate::support::{HostileWaker, Waiting, audited, complete, on_virtual_time};

/// A waiter that has released its lock and is in the condition's wait queue.
fn begun<'a>(condition: &'a Condition, lock: &'a Lock<u32>) -> Waiting<'a, LockGuard<'a, u32>> {
    Waiting::begun(condition.wait(lock.try_acquire().unwrap()))
}

#[test]
fn waiting_releases_the_lock_and_gets_it_back() {
    audited(|| {
        let (lock, condition) = (Lock::new(0), Condition::new());
        let mut waiter = begun(&condition, &lock);
        let mut guard = lock.try_acquire().unwrap();
        *guard = 5;
        condition.notify(1);
        assert!(waiter.is_woken());
        // Notified, but the notifier has the lock still.
        assert!(waiter.poll().is_none());
        drop(guard);
        assert!(waiter.is_woken());
        let guard = waiter.poll().unwrap();
        assert_eq!(*guard, 5);
        assert!(lock.locked());
    });
}

#[test]
fn notify_wakes_as_many_as_it_says_in_their_order_and_never_the_same_twice() {
    on_virtual_time(|trace, event_loop| {
        let (shared, t) = (Rc::new((Lock::new(()), Condition::new())), trace.clone());
        complete(&event_loop, async move {
            let tasks: Vec<_> = (0..5)
                .map(|n| {
                    let (shared, t) = (Rc::clone(&shared), t.clone());
                    create_task(async move {
                        let (lock, condition) = &*shared;
                        let _guard = condition.wait(lock.acquire().await).await;
                        t.push(n);
                    })
                })
                .collect();
            sleep(Duration::from_secs(1)).await;
            let (lock, condition) = &*shared;
            for n in [1, 0, 2, 9] {
                let guard = lock.acquire().await;
                condition.notify(n);
                t.push(format!("notify {n}"));
                drop(guard);
                sleep(Duration::from_secs(1)).await;
            }
            for task in tasks {
                task.await.unwrap();
            }
        });
        trace.expect([
            "notify 1", "0", "notify 0", "notify 2", "1", "2", "notify 9", "3", "4",
        ]);
    });
}

#[test]
fn notify_all_wakes_all_and_a_notification_without_waiters_is_not_remembered() {
    audited(|| {
        let (lock, condition) = (Lock::new(0), Condition::new());
        condition.notify_all();
        let mut waiters: Vec<_> = (0..3).map(|_| begun(&condition, &lock)).collect();
        assert_eq!(format!("{condition:?}"), "Condition { waiters: 3, .. }");
        assert!(waiters.iter().all(|waiter| !waiter.is_woken()));
        condition.notify_all();
        assert!(waiters.iter().all(Waiting::is_woken));
        for waiter in &mut waiters {
            assert!(waiter.poll().is_some());
        }
    });
}

#[test]
fn a_predicate_that_holds_at_once_does_not_wait() {
    audited(|| {
        let (lock, condition) = (Lock::new(3), Condition::new());
        let wait = condition.wait_for(lock.try_acquire().unwrap(), |value| *value == 3);
        assert!(Waiting::new(wait).poll().is_some());
    });
}

#[test]
fn wait_for_asks_again_after_each_notification_and_under_the_lock() {
    audited(|| {
        let (lock, condition) = (Lock::new(0), Condition::new());
        let asked = RefCell::new(Vec::new());
        let wait = condition.wait_for(lock.try_acquire().unwrap(), |value| {
            assert!(lock.locked());
            asked.borrow_mut().push(*value);
            *value >= 2
        });
        let mut waiter = Waiting::begun(wait);
        *lock.try_acquire().unwrap() = 1;
        condition.notify_all();
        assert!(waiter.poll().is_none());
        *lock.try_acquire().unwrap() = 2;
        condition.notify_all();
        assert_eq!(waiter.poll().map(|guard| *guard), Some(2));
        assert_eq!(asked.take(), [0, 1, 2]);
    });
}

#[test]
fn several_conditions_share_one_lock() {
    audited(|| {
        let lock = Lock::new(0);
        let (not_empty, not_full) = (Condition::new(), Condition::new());
        let mut consumer = begun(&not_empty, &lock);
        let mut producer = begun(&not_full, &lock);
        not_full.notify(1);
        assert!(producer.is_woken() && !consumer.is_woken());
        not_empty.notify(1);
        let guard = producer.poll().unwrap();
        assert!(consumer.poll().is_none(), "there is one lock");
        drop(guard);
        assert!(consumer.poll().is_some());
    });
}

#[test]
fn a_callback_notifies_without_the_lock() {
    on_virtual_time(|_, event_loop| {
        let shared = Rc::new((Lock::new(0), Condition::new()));
        let later = Rc::clone(&shared);
        event_loop.call_later(Duration::from_secs(1), move || later.1.notify(1));
        let value = complete(&event_loop, async {
            let (lock, condition) = &*shared;
            *condition.wait(lock.acquire().await).await
        });
        assert_eq!(value, 0);
    });
}

#[test]
fn a_wait_that_is_never_polled_releases_the_lock_when_it_is_dropped() {
    audited(|| {
        let (lock, condition) = (Lock::new(0), Condition::new());
        let wait = condition.wait(lock.try_acquire().unwrap());
        assert!(lock.locked());
        drop(wait);
        assert!(!lock.locked());
    });
}

#[test]
fn n1_a_waiter_dropped_in_the_wait_queue_is_not_counted_as_notified() {
    audited(|| {
        let (lock, condition) = (Lock::new(0), Condition::new());
        let first = begun(&condition, &lock);
        let mut second = begun(&condition, &lock);
        drop(first);
        assert!(!second.is_woken() && !lock.locked());
        condition.notify(1);
        assert!(second.is_woken() && second.poll().is_some());
    });
}

#[test]
fn n1_a_notified_waiter_that_is_dropped_notifies_the_next() {
    audited(|| {
        let (lock, condition) = (Lock::new(0), Condition::new());
        let first = begun(&condition, &lock);
        let mut second = begun(&condition, &lock);
        condition.notify(1);
        assert!(first.is_woken() && !second.is_woken());
        drop(first);
        assert!(second.is_woken() && second.poll().is_some());
    });
}

#[test]
fn n1_a_notified_waiter_that_is_dropped_while_it_waits_for_the_lock_notifies_the_next() {
    audited(|| {
        let (lock, condition) = (Lock::new(0), Condition::new());
        let mut first = begun(&condition, &lock);
        let mut second = begun(&condition, &lock);
        let guard = lock.try_acquire().unwrap();
        condition.notify(1);
        assert!(first.poll().is_none(), "now it waits for the lock");
        drop(guard);
        // It has been given both a notification and the lock.
        drop(first);
        assert!(second.is_woken());
        assert!(second.poll().is_some());
        assert!(lock.try_acquire().is_some());
    });
}

#[test]
fn n1_a_cancelled_task_does_not_hold_the_lock_and_others_go_on() {
    on_virtual_time(|trace, event_loop| {
        let (shared, t) = (Rc::new((Lock::new(()), Condition::new())), trace.clone());
        complete(&event_loop, async move {
            let waiter = |name: &'static str| {
                let (shared, t) = (Rc::clone(&shared), t.clone());
                create_task(async move {
                    let (lock, condition) = &*shared;
                    let _guard = condition.wait(lock.acquire().await).await;
                    t.push(name);
                })
            };
            let (one, two) = (waiter("one"), waiter("two"));
            yield_now().await;
            yield_now().await;
            shared.1.notify(1);
            one.cancel();
            assert!(one.await.unwrap_err().cancelled().is_some());
            two.await.unwrap();
            assert!(!shared.0.locked());
        });
        trace.expect(["two"]);
    });
}

#[test]
fn a5_wakers_that_use_the_condition_themselves_lose_no_notification() {
    audited(|| {
        let shared = Rc::new((Lock::new(0), Condition::new()));
        let s = Rc::clone(&shared);
        let hostile = HostileWaker::new(move |_| {
            let (lock, condition) = &*s;
            if let Some(guard) = lock.try_acquire() {
                drop(Waiting::new(condition.wait(guard)).poll());
            }
        });
        let (lock, condition) = &*shared;
        let mut first = Waiting::new(condition.wait(lock.try_acquire().unwrap()));
        assert!(first.poll_with(&hostile.waker()).is_none());
        assert!(first.poll_with(&hostile.waker()).is_none());
        let mut second = begun(condition, lock);
        condition.notify(1);
        assert!(!second.is_woken());
        drop(first);
        assert!(second.is_woken() && second.poll().is_some());
    });
}
