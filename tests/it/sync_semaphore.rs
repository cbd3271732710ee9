//! `Semaphore` and `BoundedSemaphore`: asyncio's behaviour, and permits that are many, none, or too many.

use std::cell::Cell;
use std::rc::Rc;

use callsoon::sync::{BoundedSemaphore, Semaphore, SemaphoreGuard, TooManyPermits};
use callsoon::{create_task, yield_now};

use crate::support::{HostileWaker, Waiting, audited, complete, on_virtual_time, panic_text};

#[test]
fn permits_are_taken_without_suspending_while_there_are_any() {
    audited(|| {
        let semaphore = Semaphore::new(2);
        let one = Waiting::new(semaphore.acquire()).poll().unwrap();
        assert!(!semaphore.locked());
        let two = Waiting::new(semaphore.acquire()).poll().unwrap();
        assert!(semaphore.locked() && semaphore.try_acquire().is_none());
        assert_eq!(
            format!("{semaphore:?}"),
            "Semaphore { locked: true, permits: 0, waiters: 0, .. }"
        );
        drop((one, two));
        assert_eq!(semaphore.available_permits(), 2);
    });
}

#[test]
fn waiters_get_permits_in_the_order_in_which_they_came() {
    on_virtual_time(|trace, event_loop| {
        let semaphore = Rc::new(Semaphore::new(2));
        let tasks: Vec<_> = (0..5)
            .map(|n| {
                let (semaphore, t) = (Rc::clone(&semaphore), trace.clone());
                event_loop.create_task(async move {
                    let _permit = semaphore.acquire().await;
                    t.push(format!("{n} in"));
                    yield_now().await;
                    t.push(format!("{n} out"));
                })
            })
            .collect();
        complete(&event_loop, async {
            for task in tasks {
                task.await.unwrap();
            }
        });
        trace.expect([
            "0 in", "1 in", // both permits
            "0 out", "1 out", // and two more in the next turn
            "2 in", "3 in", "2 out", "3 out", "4 in", "4 out",
        ]);
    });
}

#[test]
fn several_releases_wake_several_waiters_in_one_go() {
    audited(|| {
        let semaphore = Semaphore::new(0);
        let mut waiters: Vec<_> = (0..3)
            .map(|_| Waiting::begun(semaphore.acquire()))
            .collect();
        semaphore.release().unwrap();
        semaphore.release().unwrap();
        let woken: Vec<_> = waiters.iter().map(Waiting::is_woken).collect();
        assert_eq!(woken, [true, true, false]);
        assert_eq!(semaphore.available_permits(), 0, "they are given already");
        assert!(semaphore.try_acquire().is_none());
        SemaphoreGuard::leak(waiters[1].poll().unwrap());
        SemaphoreGuard::leak(waiters[0].poll().unwrap());
        assert!(waiters[2].poll().is_none());
    });
}

#[test]
fn a_semaphore_is_locked_while_a_task_waits_for_more_than_there_is() {
    audited(|| {
        let semaphore = Semaphore::new(2);
        let mut many = Waiting::begun(semaphore.acquire_many(3));
        assert!(semaphore.locked(), "two are free, but not for newcomers");
        assert!(semaphore.try_acquire().is_none());
        let mut few = Waiting::begun(semaphore.acquire());
        semaphore.release().unwrap();
        assert!(many.is_woken() && !few.is_woken());
        let permits = many.poll().unwrap();
        assert_eq!(permits.permits(), 3);
        drop(permits);
        assert!(few.is_woken() && few.poll().is_some());
    });
}

#[test]
fn n1_a_waiter_cancelled_after_it_was_given_permits_gives_them_on() {
    audited(|| {
        let semaphore = Semaphore::new(0);
        let first = Waiting::begun(semaphore.acquire_many(2));
        let mut second = Waiting::begun(semaphore.acquire());
        let mut third = Waiting::begun(semaphore.acquire());
        semaphore.add_permits(2).unwrap();
        assert!(first.is_woken() && !second.is_woken());
        drop(first);
        assert!(second.is_woken() && third.is_woken());
        SemaphoreGuard::leak(second.poll().unwrap());
        SemaphoreGuard::leak(third.poll().unwrap());
        assert_eq!(semaphore.available_permits(), 0);
    });
}

#[test]
fn n1_when_the_first_gives_up_those_behind_it_get_what_was_too_little_for_it() {
    audited(|| {
        let semaphore = Semaphore::new(1);
        let greedy = Waiting::begun(semaphore.acquire_many(5));
        let mut modest = Waiting::begun(semaphore.acquire());
        assert!(!modest.is_woken());
        drop(greedy);
        assert!(modest.is_woken() && modest.poll().is_some());
    });
}

#[test]
fn n1_cancelled_tasks_lose_no_permit() {
    on_virtual_time(|_, event_loop| {
        let semaphore = Rc::new(Semaphore::new(1));
        let s = Rc::clone(&semaphore);
        complete(&event_loop, async move {
            let permit = s.acquire().await;
            let tasks: Vec<_> = (0..4)
                .map(|_| {
                    let s = Rc::clone(&s);
                    create_task(async move { drop(s.acquire().await) })
                })
                .collect();
            yield_now().await;
            drop(permit);
            // The first has the permit already, the third not.
            tasks[0].cancel();
            tasks[2].cancel();
            for (n, task) in tasks.into_iter().enumerate() {
                assert_eq!(task.await.is_ok(), n % 2 == 1);
            }
        });
        assert_eq!(semaphore.available_permits(), 1);
    });
}

#[test]
fn m2_none_one_and_the_most_permits_mean_what_they_say() {
    audited(|| {
        let none = Semaphore::new(0);
        assert!(none.locked() && none.try_acquire().is_none());
        assert!(none.try_acquire_many(0).is_some());
        let mut waiter = Waiting::begun(none.acquire());
        assert_eq!(
            Waiting::new(none.acquire_many(0)).poll().unwrap().permits(),
            0
        );
        none.add_permits(0).unwrap();
        assert!(!waiter.is_woken());
        none.release().unwrap();
        assert!(waiter.poll().is_some());

        let most = Semaphore::new(usize::MAX);
        assert_eq!(most.release(), Err(TooManyPermits));
        let permit = most.try_acquire().unwrap();
        assert_eq!(most.add_permits(2), Err(TooManyPermits));
        assert_eq!(most.release(), Ok(()));
        drop(permit);
        assert_eq!(most.available_permits(), usize::MAX, "no wrapping");
        let all = most.try_acquire_many(usize::MAX).unwrap();
        assert!(most.locked());
        drop(all);
        assert_eq!(most.available_permits(), usize::MAX);
    });
}

#[test]
fn a_bounded_semaphore_refuses_to_have_more_than_it_began_with() {
    audited(|| {
        let semaphore = BoundedSemaphore::new(2);
        assert_eq!(semaphore.release(), Err(TooManyPermits));
        SemaphoreGuard::leak(semaphore.try_acquire().unwrap());
        assert_eq!(semaphore.add_permits(2), Err(TooManyPermits));
        assert_eq!(semaphore.available_permits(), 1, "none was added");
        assert_eq!(semaphore.release(), Ok(()));
        assert_eq!(semaphore.release(), Err(TooManyPermits));
        assert_eq!(
            TooManyPermits.to_string(),
            "the semaphore was released too many times"
        );
        assert_eq!(
            format!("{semaphore:?}"),
            "BoundedSemaphore { locked: false, permits: 2, limit: 2, waiters: 0, .. }"
        );
    });
}

#[test]
fn a_guard_that_outlives_a_release_too_many_adds_nothing() {
    audited(|| {
        let semaphore = BoundedSemaphore::new(1);
        let permit = semaphore.try_acquire().unwrap();
        semaphore.release().unwrap();
        drop(permit);
        assert_eq!(semaphore.available_permits(), 1);
    });
}

#[test]
fn m2_waiting_for_more_than_a_bounded_semaphore_can_have_panics_at_once() {
    audited(|| {
        let semaphore = BoundedSemaphore::new(2);
        let text = panic_text(|| drop(semaphore.acquire_many(3)));
        assert_eq!(
            text,
            "3 permits are more than this semaphore can ever have: 2"
        );
    });
}

#[test]
fn a5_wakers_that_use_the_semaphore_themselves_lose_no_permit() {
    audited(|| {
        let semaphore = Rc::new(Semaphore::new(0));
        let total = Rc::new(Cell::new(0));
        let (s, t) = (Rc::clone(&semaphore), Rc::clone(&total));
        let hostile = HostileWaker::new(move |_| {
            s.release().unwrap();
            t.set(t.get() + 1);
            drop(s.try_acquire());
            drop(Waiting::new(s.acquire_many(9)).poll());
            drop(Waiting::new(s.acquire()).poll());
        });
        for polls in 1..6 {
            let mut first = Waiting::new(semaphore.acquire_many(40));
            for _ in 0..polls {
                assert!(first.poll_with(&hostile.waker()).is_none());
            }
            let mut second = Waiting::begun(semaphore.acquire());
            semaphore.add_permits(40).unwrap();
            total.set(total.get() + 40);
            if polls % 2 == 0 {
                drop(first);
            } else {
                assert_eq!(first.poll_with(&hostile.waker()).unwrap().permits(), 40);
            }
            assert!(second.is_woken() && second.poll().is_some());
            assert_eq!(semaphore.available_permits(), total.get());
            SemaphoreGuard::leak(semaphore.try_acquire_many(total.take()).unwrap());
        }
    });
}
