//! The structured futures are dropped at every one of their awaits (N1), polled with wakers of another runtime and with
//! wakers that panic, and nested very deeply: nothing is left, and nothing hangs.

use std::cell::Cell;
use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use callsoon::{
    Clock, EventLoop, Timeout, catch_cancelled, create_task, for_each_limit, gather,
    get_running_loop, move_on_after, sleep, task_group, timeout, try_gather, wait_for, yield_now,
};

use crate::support::{CountingWaker, HostileWaker, Touch, Trace, audited, virtual_loop, watched};

const SECOND: Duration = Duration::from_secs(1);

type Boxed = Pin<Box<dyn Future<Output = ()>>>;

/// Counts live values.
#[derive(Clone, Default)]
struct Alive(Rc<Cell<usize>>);

struct One(Alive);

impl Alive {
    fn one(&self) -> One {
        self.0.set(self.0.get() + 1);
        One(self.clone())
    }
}

impl Drop for One {
    fn drop(&mut self) {
        self.0.0.set(self.0.0.get() - 1);
    }
}

/// Works in several steps, and cleans up in several when it is cancelled.
fn steps(alive: &Alive, n: u32) -> impl Future<Output = u32> + use<> {
    let one = alive.one();
    async move {
        let work = async {
            yield_now().await;
            sleep(SECOND).await;
            get_running_loop().create_task(yield_now()).await.unwrap();
        };
        if let Err(cancelled) = catch_cancelled(work).await {
            yield_now().await;
            sleep(SECOND).await;
            drop(one);
            cancelled.resume().await
        }
        drop(one);
        n
    }
}

async fn fails(alive: Alive, n: u32) -> Result<u32, &'static str> {
    let n = steps(&alive, n).await;
    if n == 1 { Err("one") } else { Ok(n) }
}

/// Every public future of this kind, each with something inside that has several awaits of its own.
fn all(alive: &Alive) -> Vec<(&'static str, Boxed)> {
    let a = alive.clone();
    let s = |n| steps(&a, n);
    let b = alive.clone();
    let (c, d, e, f, g, h) = (
        alive.clone(),
        alive.clone(),
        alive.clone(),
        alive.clone(),
        alive.clone(),
        alive.clone(),
    );
    vec![
        ("timeout", Box::pin(ignore(timeout(9 * SECOND, s(0))))),
        (
            "a late timeout",
            Box::pin(ignore(timeout(SECOND / 2, s(0)))),
        ),
        (
            "nothing in time",
            Box::pin(ignore(timeout(Duration::ZERO, s(0)))),
        ),
        ("wait_for a task", {
            let mut task = get_running_loop().create_task(s(0));
            Box::pin(async move { ignore(wait_for(&mut task, SECOND / 2)).await })
        }),
        (
            "move_on_after",
            Box::pin(ignore(move_on_after(SECOND / 2, s(0)))),
        ),
        ("Timeout", {
            let limit = Timeout::after(9 * SECOND);
            let mover = limit.clone();
            let soon = get_running_loop().time() + SECOND / 2;
            let late = limit.run(async move {
                mover.reschedule(Some(soon)).unwrap();
                steps(&h, 0).await
            });
            Box::pin(ignore(late))
        }),
        ("gather", Box::pin(ignore(gather([s(0), s(1)])))),
        ("settled", Box::pin(ignore(gather([s(0), s(1)]).settled()))),
        (
            "gather!",
            Box::pin(ignore(callsoon::gather!(s(0), async {}))),
        ),
        ("try_gather", {
            let children = [0, 1, 2].map(|n| fails(b.clone(), n));
            Box::pin(ignore(try_gather(children)))
        }),
        ("fail_fast", {
            let children = [0, 1, 2].map(|n| fails(c.clone(), n));
            Box::pin(ignore(gather(children).fail_fast()))
        }),
        ("task_group", {
            Box::pin(ignore(task_group(async move |group| {
                let _one = d.one();
                for n in 0..3 {
                    group.create_task(fails(d.clone(), n));
                    yield_now().await;
                }
                steps(&d, 0).await;
            })))
        }),
        ("a group with a limit", {
            Box::pin(ignore(task_group(async move |group| {
                group.set_limit(1);
                for n in [0, 2, 3] {
                    group.wait_vacancy().await;
                    group.create_task(fails(e.clone(), n));
                    group.create_task(fails(e.clone(), n));
                }
                group.cancel();
                sleep(SECOND).await;
            })))
        }),
        ("for_each_limit", {
            Box::pin(ignore(for_each_limit(0..5, 2, move |n| {
                fails(f.clone(), n)
            })))
        }),
        ("groups in a limit", {
            Box::pin(ignore(timeout(
                SECOND / 2,
                task_group(async move |group| {
                    let inner = g.clone();
                    group.create_task(async move {
                        let children = [inner.clone(), inner];
                        ignore(gather(children.map(|alive| steps(&alive, 0)))).await;
                    });
                    ignore(task_group(async |inner| {
                        inner.create_task(fails(g.clone(), 1));
                        pending::<()>().await;
                    }))
                    .await;
                }),
            )))
        }),
    ]
}

async fn ignore<F: Future>(future: F) {
    drop(future.await);
}

/// How the future is polled.
#[derive(Clone, Copy, PartialEq, Debug)]
enum By {
    /// With the task's own waker.
    Task,
    /// With a waker that wakes the task's own.
    Wrapper,
    /// With a waker that counts and wakes no task, whenever the task is polled.
    AnotherWaker,
    /// With a waker that panics when it is woken.
    Panicking,
}

/// Polls `victim` `polls` times and drops it; returns whether it was done.
async fn cut_short(mut victim: Boxed, polls: usize, by: By) -> bool {
    let mut left = polls;
    let (_counter, counting) = CountingWaker::new();
    // Not when woken by reference, as `yield_now` does within the poll: that panic is the victim's own.
    let hostile = HostileWaker::new(|touch| assert!(touch != Touch::Wake, "on purpose"));
    poll_fn(move |context| {
        if left == 0 {
            return Poll::Ready(false);
        }
        left -= 1;
        let task = context.waker().clone();
        let waker = match by {
            By::Task => task.clone(),
            By::Wrapper => Waker::from(std::sync::Arc::new(Passing(task.clone()))),
            By::AnotherWaker => counting.clone(),
            By::Panicking => hostile.waker(),
        };
        let polled = victim.as_mut().poll(&mut Context::from_waker(&waker));
        if matches!(by, By::AnotherWaker | By::Panicking) && polled.is_pending() {
            // Nothing wakes this task: it is polled again a little later.
            get_running_loop().call_later(SECOND / 4, move || task.wake());
        }
        polled.map(|()| true)
    })
    .await
}

struct Passing(Waker);

impl std::task::Wake for Passing {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.wake_by_ref();
    }
}

/// How the victim's task goes on after, or during, the polls.
#[derive(Clone, Copy, PartialEq, Debug)]
enum End {
    Dropped,
    /// The task is cancelled when the victim was polled so often, while it is still there.
    Cancelled,
    /// The same, and again in the next turn.
    CancelledTwice,
}

fn rehearse(index: usize, polls: usize, by: By, end: End) -> bool {
    let trace = Trace::new();
    let event_loop = virtual_loop(&trace);
    let alive = Alive::default();
    let a = alive.clone();
    let handle = event_loop.handle();
    let hang = event_loop.call_later(1000 * SECOND, move || handle.stop());
    let scenario = async {
        let task = create_task(async move {
            let (_, victim) = all(&a).swap_remove(index);
            if end == End::Dropped {
                return cut_short(victim, polls, by).await;
            }
            let mut left = polls;
            let me = callsoon::current_task().unwrap();
            let watched = cut_short(victim, usize::MAX, by);
            let mut watched = Box::pin(watched);
            let ended = poll_fn(move |context| {
                let polled = watched.as_mut().poll(context);
                if left == 0 {
                    return polled;
                }
                left -= 1;
                if left == 0 && polled.is_pending() {
                    me.cancel();
                    if end == End::CancelledTwice {
                        let me = me.clone();
                        get_running_loop().call_soon(move || {
                            me.cancel();
                        });
                    }
                }
                polled
            });
            ended.await
        });
        let ended = task.await;
        // What was asked to end and could not be waited for.
        sleep(20 * SECOND).await;
        ended
    };
    let ended = event_loop.run_until_complete(scenario);
    let name = format!("victim {index}, {polls} polls, by {by:?}, {end:?}");
    let ended = ended.unwrap_or_else(|error| panic!("{name}: {error}"));
    hang.cancel();
    let metrics = event_loop.metrics();
    let left = (metrics.tasks, metrics.timers, metrics.scopes, alive.0.get());
    assert_eq!(
        left,
        (0, 0, 0, 0),
        "{name}: tasks, timers, scopes, futures are left"
    );
    event_loop.close().unwrap();
    for line in trace.take() {
        assert_eq!(line, "report: Exception in a waker (on purpose)", "{name}");
        assert_eq!(by, By::Panicking, "{name}");
    }
    match ended {
        Ok(survived) => survived,
        Err(error) => {
            assert!(error.cancelled().is_some(), "{name}: {error}");
            assert!(end != End::Dropped, "{name}");
            false
        }
    }
}

fn at_every_await(by: By, end: End) {
    audited(watched(move || {
        let count = {
            let event_loop = virtual_loop(&Trace::new());
            let count = async { all(&Alive::default()).len() };
            event_loop.run_until_complete(count).unwrap()
        };
        for index in 0..count {
            let mut polls = 1;
            while !rehearse(index, polls, by, end) {
                polls += 1;
                assert!(polls < 500, "victim {index} never ends, by {by:?}, {end:?}");
            }
            assert!(polls > 1, "victim {index} never waited");
        }
    }));
}

#[test]
fn n1_structured_futures_may_be_dropped_at_every_await() {
    at_every_await(By::Task, End::Dropped);
}

#[test]
fn n1_the_same_through_a_waker_of_a_combinator() {
    at_every_await(By::Wrapper, End::Dropped);
}

#[test]
fn n1_the_same_through_a_waker_of_another_runtime() {
    at_every_await(By::AnotherWaker, End::Dropped);
}

#[test]
fn n1_the_same_through_a_waker_that_panics() {
    at_every_await(By::Panicking, End::Dropped);
}

#[test]
fn n1_their_task_may_be_cancelled_at_every_await() {
    at_every_await(By::Task, End::Cancelled);
    at_every_await(By::Task, End::CancelledTwice);
}

#[test]
fn n1_their_task_may_be_cancelled_at_every_await_through_a_waker_of_a_combinator() {
    at_every_await(By::Wrapper, End::Cancelled);
    at_every_await(By::Wrapper, End::CancelledTwice);
}

/// Runs `test` on a stack on which nothing can recurse far.
fn on_a_small_stack(test: impl FnOnce() + Send + 'static) {
    audited(watched(move || {
        let small = thread::Builder::new().stack_size(256 * 1024);
        small.spawn(test).unwrap().join().unwrap();
    }));
}

const DEPTH: u32 = 100_000;

/// A task in a group in a task in a group, and so on.
fn groups(depth: u32, reached: Rc<Cell<u32>>) -> Boxed {
    Box::pin(async move {
        reached.set(reached.get() + 1);
        if depth == 0 {
            return pending().await;
        }
        let ended = task_group(async move |group| {
            group.create_task(groups(depth - 1, reached));
        });
        ended.await.unwrap();
    })
}

fn gathers(depth: u32, reached: Rc<Cell<u32>>) -> Boxed {
    Box::pin(async move {
        reached.set(reached.get() + 1);
        if depth == 0 {
            return pending().await;
        }
        gather([gathers(depth - 1, reached)]).await.unwrap();
    })
}

#[test]
fn b6_a_hundred_thousand_groups_in_one_another_are_cancelled_and_dropped_without_recursion() {
    on_a_small_stack(|| {
        for nested in [groups, gathers] {
            for cancelled in [true, false] {
                let event_loop = EventLoop::builder().clock(Clock::Virtual).build().unwrap();
                let reached = Rc::new(Cell::new(0));
                let outermost = event_loop.create_task(nested(DEPTH, Rc::clone(&reached)));
                event_loop.run_until_complete(sleep(SECOND)).unwrap();
                assert_eq!(reached.get(), DEPTH + 1);
                if cancelled {
                    outermost.cancel();
                    let ended = event_loop.run_until_complete(outermost).unwrap();
                    assert!(ended.unwrap_err().cancelled().is_some());
                    assert_eq!(event_loop.metrics().tasks, 0);
                }
                event_loop.close().unwrap();
            }
        }
    });
}

#[test]
fn b6_a_failure_at_the_bottom_of_many_groups_comes_up_without_recursion() {
    type Failing =
        Pin<Box<dyn Future<Output = Result<(), Box<dyn std::error::Error + Send + Sync>>>>>;
    fn failing(depth: u32) -> Failing {
        Box::pin(async move {
            if depth == 0 {
                return Err("at the bottom".into());
            }
            let ended = task_group(async move |group| {
                group.create_task(failing(depth - 1));
            });
            // One error a level would be a list of that depth, whose own destructor recurses.
            ended
                .await
                .map_err(|error| error.failures().len().to_string().into())
        })
    }
    on_a_small_stack(|| {
        let event_loop = EventLoop::builder().clock(Clock::Virtual).build().unwrap();
        let ended = event_loop.run_until_complete(failing(DEPTH)).unwrap();
        assert_eq!(ended.unwrap_err().to_string(), "1");
    });
}
