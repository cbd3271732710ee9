//! Its own binary because it leaks on purpose, which a leak checker of the other tests must not see.

use std::future::{Future, poll_fn};
use std::mem::forget;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use callsoon::sync::{
    Barrier, BoundedSemaphore, Condition, Event, Lock, LockGuard, NotLocked, Semaphore,
};
use callsoon::{Clock, EventLoop, Queue, create_task, sleep, yield_now};

/// Polls a future once with a waker that does nothing; it must wait. It is forgotten, not dropped.
fn begin_and_forget(future: impl Future) {
    let mut future = Box::pin(future);
    let polled = future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()));
    assert!(polled.is_pending());
    forget(future);
}

/// The same with the running task's own waker; it need not wait.
async fn poll_and_forget<F: Future>(future: F) {
    let mut future = Box::pin(future);
    poll_fn(|context| {
        forget(future.as_mut().poll(context));
        Poll::Ready(())
    })
    .await;
    forget(future);
}

/// Polls a future once; `None` where it has to wait.
fn now<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = Box::pin(future);
    match future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

#[test]
fn k5_a_forgotten_guard_keeps_the_lock_and_its_value_for_ever() {
    let lock = Lock::new(1);
    forget(lock.try_acquire().unwrap());
    assert!(lock.locked() && lock.try_acquire().is_none());
    assert_eq!(lock.release(), Err(NotLocked));
    assert!(now(lock.acquire()).is_none());
    assert_eq!(lock.into_inner(), 1);
}

#[test]
fn k5_a_forgotten_waiter_is_given_the_lock_and_keeps_it() {
    let lock = Lock::new(());
    let guard = lock.try_acquire().unwrap();
    begin_and_forget(lock.acquire());
    drop(guard);
    assert!(!lock.locked() && lock.try_acquire().is_none());
    let condition = Condition::new();
    begin_and_forget(condition.wait(Lock::new(()).try_acquire().unwrap()));
    condition.notify_all();
    condition.notify(1);
}

#[test]
fn k5_forgotten_permits_are_gone_and_can_be_replaced() {
    let semaphore = Semaphore::new(2);
    forget(semaphore.try_acquire().unwrap());
    begin_and_forget(semaphore.acquire_many(2));
    semaphore.release().unwrap();
    assert_eq!(
        semaphore.available_permits(),
        0,
        "given to the forgotten one"
    );
    semaphore.add_permits(2).unwrap();
    assert!(now(semaphore.acquire_many(2)).is_some());
    let bounded = BoundedSemaphore::new(1);
    forget(bounded.try_acquire().unwrap());
    bounded.release().unwrap();
    assert!(bounded.try_acquire().is_some());
}

#[test]
fn k5_an_event_and_its_other_waiters_do_not_notice_a_forgotten_one() {
    let event = Event::new();
    begin_and_forget(event.wait());
    event.set();
    assert!(now(event.wait()).is_some());
}

#[test]
fn k5_a_barrier_with_a_forgotten_party_drains_for_ever_unless_it_is_aborted() {
    let barrier = Barrier::new(2);
    begin_and_forget(barrier.wait());
    assert_eq!(now(barrier.wait()), Some(Ok(1)));
    assert!(
        now(barrier.wait()).is_none(),
        "the forgotten one has not gone"
    );
    barrier.reset();
    assert!(now(barrier.wait()).is_none());
    barrier.abort();
    assert!(now(barrier.wait()).unwrap().is_err());
}

#[test]
fn k5_forgotten_getters_and_putters_starve_those_behind_and_nowait_helps_itself() {
    let queue = Queue::new(1);
    begin_and_forget(queue.get());
    queue.put_nowait(1).unwrap();
    assert!(
        now(queue.get()).is_none(),
        "the item is the forgotten one's"
    );
    begin_and_forget(queue.put(2));
    assert_eq!(queue.get_nowait(), Ok(1));
    assert!(
        now(queue.put(3)).is_none(),
        "the room is the forgotten one's"
    );
    queue.put_nowait(4).unwrap();
    begin_and_forget(queue.join());
    assert_eq!(queue.shutdown(true), [4]);
    assert!(now(queue.get()).unwrap().is_err());
}

#[test]
fn k5_primitives_outlive_the_loop_of_waiters_that_were_forgotten() {
    let (lock, queue) = (Rc::new(Lock::new(())), Rc::new(Queue::new(1)));
    let event_loop = EventLoop::builder().clock(Clock::Virtual).build().unwrap();
    event_loop
        .run_until_complete(async {
            let guard = lock.acquire().await;
            poll_and_forget(lock.acquire()).await;
            poll_and_forget(lock.acquire()).await;
            poll_and_forget(queue.get()).await;
            let l = Rc::clone(&lock);
            let starved = create_task(async move { drop(l.acquire().await) });
            yield_now().await;
            LockGuard::leak(guard);
            lock.release().unwrap();
            sleep(Duration::from_secs(1)).await;
            starved.cancel();
        })
        .unwrap();
    event_loop.close().unwrap();
    drop(event_loop);
    // Wakes a task of a loop that is no more.
    queue.put_nowait(1).unwrap();
    queue.shutdown(false);
    assert!(lock.try_acquire().is_none());
}
