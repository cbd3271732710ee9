//! Every public future of locks, queues and the others is dropped at every one of its awaits, in a task beside others
//! (N1): whatever it had been given goes on, and the program ends.

use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use callsoon::sync::{Barrier, Condition, Event, Lock, Semaphore};
use callsoon::{Queue, create_task, yield_now};

use crate::support::{Trace, audited, virtual_loop};

/// When a future is dropped.
#[derive(Clone, Copy, Debug)]
struct Cut {
    polls: usize,
    /// Only when it is woken once more, not right after its last poll: then it has just been given what it waits for.
    woken: bool,
}

impl Cut {
    /// Whether the future was done.
    async fn short(self, future: impl Future) -> bool {
        let mut future = Box::pin(future);
        let mut left = self.polls;
        poll_fn(|context| {
            if left == 0 {
                return Poll::Ready(false);
            }
            left -= 1;
            match future.as_mut().poll(context) {
                Poll::Ready(_) => Poll::Ready(true),
                Poll::Pending if left == 0 && !self.woken => Poll::Ready(false),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }
}

/// Runs `scenario` with each cut until its victim survives; it must end each time.
fn dropped_at_every_await(scenario: impl AsyncFn(Cut) -> bool + Send + 'static) {
    audited(move || {
        for woken in [false, true] {
            let mut polls = 0;
            loop {
                let event_loop = virtual_loop(&Trace::new());
                let handle = event_loop.handle();
                event_loop.call_later(Duration::from_secs(1000), move || handle.stop());
                let cut = Cut { polls, woken };
                match event_loop.run_until_complete(scenario(cut)) {
                    Ok(true) => break,
                    Ok(false) => polls += 1,
                    Err(error) => panic!("hangs with {cut:?}: {error}"),
                }
            }
            assert!(polls > 1, "it never waited");
        }
    });
}

async fn a_few_turns() {
    for _ in 0..4 {
        yield_now().await;
    }
}

#[test]
fn n1_acquiring_a_lock_may_be_dropped_at_every_await() {
    dropped_at_every_await(async |cut| {
        let lock = Rc::new(Lock::new(()));
        let guard = lock.acquire().await;
        let (l, m) = (Rc::clone(&lock), Rc::clone(&lock));
        let victim = create_task(async move { cut.short(l.acquire()).await });
        let other = create_task(async move { drop(m.acquire().await) });
        a_few_turns().await;
        drop(guard);
        other.await.unwrap();
        assert!(lock.try_acquire().is_some());
        victim.await.unwrap()
    });
}

#[test]
fn n1_acquiring_permits_may_be_dropped_at_every_await() {
    for n in [1, 3] {
        dropped_at_every_await(async move |cut| {
            let semaphore = Rc::new(Semaphore::new(0));
            let (s, o) = (Rc::clone(&semaphore), Rc::clone(&semaphore));
            let victim = create_task(async move { cut.short(s.acquire_many(n)).await });
            let other = create_task(async move { drop(o.acquire().await) });
            a_few_turns().await;
            semaphore.add_permits(3).unwrap();
            other.await.unwrap();
            let ended = victim.await.unwrap();
            assert_eq!(semaphore.available_permits(), 3);
            ended
        });
    }
}

#[test]
fn n1_waiting_for_an_event_may_be_dropped_at_every_await() {
    dropped_at_every_await(async |cut| {
        let event = Rc::new(Event::new());
        let (e, f) = (Rc::clone(&event), Rc::clone(&event));
        let victim = create_task(async move { cut.short(e.wait()).await });
        let other = create_task(async move { f.wait().await });
        a_few_turns().await;
        event.set();
        other.await.unwrap();
        victim.await.unwrap()
    });
}

#[test]
fn n1_waiting_for_a_condition_may_be_dropped_at_every_await() {
    for with_predicate in [false, true] {
        dropped_at_every_await(async move |cut| {
            let shared = Rc::new((Lock::new(0), Condition::new()));
            let (s, o) = (Rc::clone(&shared), Rc::clone(&shared));
            let victim = create_task(async move {
                let (lock, condition) = &*s;
                let guard = lock.acquire().await;
                if with_predicate {
                    let wait = condition.wait_for(guard, |value| *value == 2);
                    cut.short(wait).await
                } else {
                    cut.short(condition.wait(guard)).await
                }
            });
            let other = create_task(async move {
                let (lock, condition) = &*o;
                drop(condition.wait(lock.acquire().await).await);
            });
            a_few_turns().await;
            let (lock, condition) = &*shared;
            for _ in 0..2 {
                let mut guard = lock.acquire().await;
                *guard += 1;
                condition.notify(2);
                // Both are notified and are in the lock's wait queue.
                a_few_turns().await;
                drop(guard);
                a_few_turns().await;
            }
            other.await.unwrap();
            assert!(lock.try_acquire().is_some());
            victim.await.unwrap()
        });
    }
}

#[test]
fn n1_meeting_at_a_barrier_may_be_dropped_at_every_await() {
    dropped_at_every_await(async |cut| {
        let barrier = Rc::new(Barrier::new(2));
        let pair = |barrier: &Rc<Barrier>| {
            [(); 2].map(|()| {
                let barrier = Rc::clone(barrier);
                create_task(async move { barrier.wait().await.unwrap() })
            })
        };
        let [one, two] = pair(&barrier);
        // It comes while the first two drain, so it waits to enter and is a party then.
        let b = Rc::clone(&barrier);
        let victim = create_task(async move { cut.short(b.wait()).await });
        assert_eq!(one.await.unwrap() + two.await.unwrap(), 1);
        a_few_turns().await;
        let b = Rc::clone(&barrier);
        let partner = create_task(async move { b.wait().await });
        a_few_turns().await;
        barrier.reset();
        a_few_turns().await;
        let _ = partner.await.unwrap();
        for task in pair(&barrier) {
            task.await.unwrap();
        }
        assert_eq!(barrier.n_waiting(), 0);
        victim.await.unwrap()
    });
}

#[test]
fn n1_putting_may_be_dropped_at_every_await() {
    dropped_at_every_await(async |cut| {
        let queue = Rc::new(Queue::new(1));
        queue.put_nowait(0).unwrap();
        let (q, r) = (Rc::clone(&queue), Rc::clone(&queue));
        let victim = create_task(async move { cut.short(q.put(1)).await });
        let other = create_task(async move { r.put(2).await.unwrap() });
        a_few_turns().await;
        assert_eq!(queue.get().await, Ok(0));
        let mut next = queue.get().await.unwrap();
        let ended = victim.await.unwrap();
        if ended {
            assert_eq!(next, 1);
            next = queue.get().await.unwrap();
        }
        assert_eq!(next, 2);
        other.await.unwrap();
        assert!(queue.is_empty());
        ended
    });
}

#[test]
fn n1_getting_may_be_dropped_at_every_await() {
    dropped_at_every_await(async |cut| {
        let queue = Rc::new(Queue::new(0));
        let (q, r) = (Rc::clone(&queue), Rc::clone(&queue));
        let victim = create_task(async move { cut.short(q.get()).await });
        let other = create_task(async move { r.get().await.unwrap() });
        a_few_turns().await;
        queue.put_nowait(1).unwrap();
        queue.put_nowait(2).unwrap();
        let got = other.await.unwrap();
        let ended = victim.await.unwrap();
        assert_eq!((got, queue.qsize()), if ended { (2, 0) } else { (1, 1) });
        ended
    });
}

#[test]
fn n1_joining_a_queue_may_be_dropped_at_every_await() {
    dropped_at_every_await(async |cut| {
        let queue = Rc::new(Queue::new(0));
        queue.put_nowait(1).unwrap();
        let (q, r) = (Rc::clone(&queue), Rc::clone(&queue));
        let victim = create_task(async move { cut.short(q.join()).await });
        let other = create_task(async move { r.join().await });
        a_few_turns().await;
        queue.task_done().unwrap();
        other.await.unwrap();
        victim.await.unwrap()
    });
}
