//! Polls of tasks, and their wakers: spurious polls, combinators of other crates, wakers of branches.

use std::cell::Cell;
use std::future::{Future, pending, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use callsoon::yield_now;

use crate::support::{Trace, audited, one_turn, virtual_loop};

/// Wakes its task and stays pending, `times` times: a future that is polled more often than it has progress to make.
async fn spurious(times: usize) {
    let mut left = times;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(());
        }
        left -= 1;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[test]
fn spurious_polls_make_no_future_of_the_crate_finish_early() {
    audited(|| {
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        let start = event_loop.time();
        let never = event_loop.create_future::<()>();
        let t = trace.clone();
        event_loop
            .run_until_complete(async move {
                let mut sleep = pin!(callsoon::sleep(Duration::from_secs(1)));
                let mut zero = pin!(callsoon::sleep(Duration::ZERO));
                let mut once = pin!(yield_now());
                let mut never = pin!(never);
                let mut task = pin!(callsoon::create_task(pending::<()>()));
                let turn = callsoon::get_running_loop().metrics().turns;
                poll_fn(|context| {
                    // Many polls in one step: none is a reason to be done.
                    for _ in 0..3 {
                        assert!(sleep.as_mut().poll(context).is_pending());
                        assert!(zero.as_mut().poll(context).is_pending());
                        assert!(once.as_mut().poll(context).is_pending());
                        assert!(never.as_mut().poll(context).is_pending());
                        assert!(task.as_mut().poll(context).is_pending());
                    }
                    Poll::Ready(())
                })
                .await;
                once.await;
                zero.await;
                assert_eq!(callsoon::get_running_loop().metrics().turns, turn + 1);
                // Many steps before the deadline.
                let polls = Cell::new(0);
                let counted = poll_fn(|context| {
                    polls.set(polls.get() + 1);
                    assert!(never.as_mut().poll(context).is_pending());
                    sleep.as_mut().poll(context)
                });
                futures_lite::future::zip(counted, spurious(10)).await;
                t.push(format!("{} polls", polls.get()));
                task.cancel();
            })
            .unwrap();
        assert_eq!(event_loop.time() - start, Duration::from_secs(1));
        trace.expect(["12 polls"]);
        one_turn(&event_loop);
        assert!(event_loop.all_tasks().is_empty());
    });
}

/// A waker of one branch of [`JoinTwo`].
struct Branch {
    woken: AtomicBool,
    task: Waker,
}

impl Wake for Branch {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Ordering::Relaxed);
        self.task.wake_by_ref();
    }
}

/// Polls a branch only when that branch's own waker was woken, as `FuturesUnordered` does.
pub(crate) struct JoinTwo<A, B> {
    a: Pin<Box<A>>,
    b: Pin<Box<B>>,
    branches: Option<[Arc<Branch>; 2]>,
    done: [bool; 2],
    polls: Rc<Cell<usize>>,
}

impl<A: Future, B: Future> JoinTwo<A, B> {
    pub(crate) fn new(a: A, b: B, polls: &Rc<Cell<usize>>) -> Self {
        Self {
            a: Box::pin(a),
            b: Box::pin(b),
            branches: None,
            done: [false; 2],
            polls: Rc::clone(polls),
        }
    }
}

impl<A: Future, B: Future> Future for JoinTwo<A, B> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let branches = this.branches.get_or_insert_with(|| {
            [(); 2].map(|()| {
                Arc::new(Branch {
                    woken: AtomicBool::new(true),
                    task: context.waker().clone(),
                })
            })
        });
        for (place, branch) in branches.iter().enumerate() {
            if this.done[place] || !branch.woken.swap(false, Ordering::Relaxed) {
                continue;
            }
            this.polls.set(this.polls.get() + 1);
            let waker = Waker::from(Arc::clone(branch));
            let mut context = Context::from_waker(&waker);
            this.done[place] = if place == 0 {
                this.a.as_mut().poll(&mut context).is_ready()
            } else {
                this.b.as_mut().poll(&mut context).is_ready()
            };
        }
        if this.done == [true; 2] {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

#[test]
fn every_future_of_the_crate_wakes_through_the_waker_of_a_combinator() {
    audited(|| {
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        let start = event_loop.time();
        let future = event_loop.create_future::<()>();
        let setter = future.clone();
        event_loop.call_later(Duration::from_secs(2), move || {
            setter.set_result(()).unwrap();
        });
        let polls = Rc::new(Cell::new(0));
        let inner = Rc::clone(&polls);
        event_loop
            .run_until_complete(async move {
                let task = callsoon::create_task(callsoon::sleep(Duration::from_secs(3)));
                let waits = JoinTwo::new(future, task, &inner);
                let sleeps =
                    JoinTwo::new(callsoon::sleep(Duration::from_secs(1)), yield_now(), &inner);
                JoinTwo::new(waits, sleeps, &inner).await;
            })
            .unwrap();
        assert_eq!(event_loop.time() - start, Duration::from_secs(3));
        // Each of the four leaves twice; each of the two inner joins first, then once for each of its leaves.
        assert_eq!(polls.get(), 4 * 2 + 2 + 4);
    });
}

#[test]
fn combinators_of_other_crates_work_on_tasks_and_sleeps() {
    audited(|| {
        let event_loop = virtual_loop(&Trace::new());
        let start = event_loop.time();
        let value = event_loop
            .run_until_complete(async {
                let slow = callsoon::create_task(async {
                    callsoon::sleep(Duration::from_secs(60)).await;
                    "slow"
                });
                let fast = callsoon::create_task(async { "fast" });
                let raced = futures_lite::future::or(slow, fast).await.unwrap();
                let (a, b) = futures_lite::future::zip(
                    callsoon::sleep(Duration::from_secs(1)),
                    callsoon::create_task(async { 1 }),
                )
                .await;
                let ((), 1) = (a, b.unwrap()) else {
                    unreachable!()
                };
                raced
            })
            .unwrap();
        assert_eq!(value, "fast");
        assert_eq!(event_loop.time() - start, Duration::from_secs(1));
        // The loser was not cancelled by being dropped.
        assert_eq!(event_loop.all_tasks().len(), 1);
        event_loop
            .run_until_complete(callsoon::sleep(Duration::from_secs(60)))
            .unwrap();
        assert!(event_loop.all_tasks().is_empty());
    });
}
