//! `race`: the first value wins, and the losers lose nothing.

use std::future::{Future, IntoFuture, pending, poll_fn, ready};
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use callsoon::sync::{Lock, Semaphore};
use callsoon::{Queue, create_task, interval, race, sleep, sleep_with, to_thread, yield_now};

use crate::support::{
    DropProbe, Trace, audited, complete, on_virtual_time, panic_text, poll_once, quiet_panics,
    settling, stream_and_peer, stream_pair,
};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn the_first_value_wins_and_no_other_is_waited_for() {
    on_virtual_time(|trace, event_loop| {
        let began = event_loop.time();
        complete(&event_loop, async {
            let naps = [3, 1, 2].map(|n| sleep_with(SECOND * n, n));
            trace.push(race(naps).await);
            let text = race!(
                async { "ready" },
                sleep_with(SECOND, "late"),
                pending::<&str>()
            );
            trace.push(text.await);
        });
        trace.expect(["1", "ready"]);
        assert_eq!(event_loop.time() - began, SECOND);
    });
}

#[test]
fn futures_are_polled_in_order_and_none_behind_the_winner_is_polled() {
    on_virtual_time(|trace, event_loop| {
        let noting = |name: &'static str, polls: u32| {
            let trace = trace.clone();
            let mut left = polls;
            poll_fn(move |context| {
                trace.push(format!("poll {name}"));
                left -= 1;
                context.waker().wake_by_ref();
                if left == 0 {
                    Poll::Ready(name)
                } else {
                    Poll::Pending
                }
            })
        };
        let won = complete(
            &event_loop,
            race([noting("a", 9), noting("b", 2), noting("c", 2)]),
        );
        trace.push(won);
        let tuple = race!(noting("a", 9), noting("b", 2), noting("c", 2));
        trace.push(complete(&event_loop, tuple));
        let polls = ["poll a", "poll b", "poll c", "poll a", "poll b", "b"];
        assert_eq!(trace.take(), [polls, polls].concat());
    });
}

#[test]
fn losers_are_dropped_before_the_value_is_returned_and_unpolled_futures_with_a_dropped_race() {
    on_virtual_time(|trace, event_loop| {
        let holding = |name: &'static str| {
            let probe = DropProbe::new(&trace, name);
            async move {
                let _probe = probe;
                pending::<u8>().await
            }
        };
        complete(&event_loop, async {
            let (before, behind) = (holding("before"), holding("behind"));
            trace.push(race!(before, ready(1), behind).await);
            let mut list = race([holding("a"), holding("b")]);
            assert_eq!(poll_once(&mut list).await, None);
            drop(list);
            drop(race!(holding("unpolled")));
        });
        trace.expect([
            "drop before",
            "drop behind",
            "1",
            "drop a",
            "drop b",
            "drop unpolled",
        ]);
    });
}

#[test]
fn a_task_that_loses_runs_on_and_by_reference_its_result_is_kept() {
    on_virtual_time(|trace, event_loop| {
        complete(&event_loop, async {
            let work = |name: &'static str, seconds: u32| {
                let trace = trace.clone();
                create_task(async move {
                    sleep(SECOND * seconds).await;
                    trace.push(format!("{name} has ended"));
                    name
                })
            };
            let (mut slow, mut quick) = (work("slow", 3), work("quick", 1));
            let first = race([&mut slow, &mut quick]).await.unwrap();
            trace.push(format!("{first} won"));
            assert!(!slow.done() && slow.cancelling() == 0);
            assert_eq!(slow.await.unwrap(), "slow");
            // By value the handle is dropped, and the task still runs on.
            let timer = async {
                sleep(SECOND).await;
                Ok("timer")
            };
            trace.push(race!(work("detached", 2), timer).await.unwrap());
            sleep(SECOND * 5).await;
        });
        trace.expect([
            "quick has ended",
            "quick won",
            "slow has ended",
            "timer",
            "detached has ended",
        ]);
    });
}

#[test]
fn a_cancelled_race_cancels_the_tasks_that_it_awaits_and_waits_for_them() {
    on_virtual_time(|trace, event_loop| {
        complete(&event_loop, async {
            let cleaning = |name: &'static str| {
                let trace = trace.clone();
                create_task(async move {
                    let ended = callsoon::catch_cancelled(pending::<()>()).await;
                    sleep(SECOND).await;
                    trace.push(format!("{name} is clean"));
                    if let Err(cancelled) = ended {
                        cancelled.resume().await;
                    }
                })
            };
            let (one, other) = (cleaning("one"), cleaning("other"));
            let racing = create_task(async move { race([one, other]).await.map(drop) });
            yield_now().await;
            yield_now().await;
            racing.cancel();
            trace.push(racing.await.unwrap_err());
        });
        trace.expect(["one is clean", "other is clean", "the task was cancelled"]);
    });
}

#[test]
fn a_getter_that_loses_takes_no_item_even_if_one_was_granted_to_it() {
    on_virtual_time(|_, event_loop| {
        complete(&event_loop, async {
            let queue = Rc::new(Queue::<u32>::new(0));
            let putting = Rc::clone(&queue);
            let (open, opened) = (Rc::new(callsoon::sync::Event::new()), Rc::clone(&queue));
            let event = Rc::clone(&open);
            let racing = create_task(async move {
                let event = async {
                    event.wait().await;
                    None
                };
                // Both become ready in one turn, and the first of them wins.
                race!(event, async { opened.get().await.ok() }).await
            });
            yield_now().await;
            putting.put_nowait(7).unwrap();
            open.set();
            assert_eq!(racing.await.unwrap(), None);
            assert_eq!(queue.get_nowait().unwrap(), 7);
        });
    });
}

#[test]
fn a_waiter_for_a_lock_or_a_semaphore_that_loses_leaves_its_grant_to_the_next() {
    on_virtual_time(|_, event_loop| {
        complete(&event_loop, async {
            let lock = Rc::new(Lock::new(()));
            let semaphore = Rc::new(Semaphore::new(1));
            let (first, second) = (Rc::clone(&lock), Rc::clone(&semaphore));
            // The grants come in the turn of the race's timer, which is polled first.
            let granting = create_task(async move {
                let held = (first.acquire().await, second.acquire().await);
                sleep(SECOND).await;
                drop(held);
            });
            yield_now().await;
            let (one, other) = (Rc::clone(&lock), Rc::clone(&semaphore));
            let racing = create_task(async move {
                let until_later = sleep_with(SECOND, "timer");
                let locked = async {
                    let _guard = one.acquire().await;
                    "locked"
                };
                let acquired = async {
                    let _permit = other.acquire().await;
                    "acquired"
                };
                race!(until_later, locked, acquired).await
            });
            assert_eq!(racing.await.unwrap(), "timer");
            granting.await.unwrap();
            drop(lock.acquire().await);
            drop(semaphore.acquire().await);
        });
    });
}

#[test]
fn a_read_that_loses_has_read_nothing() {
    settling(|_, _| async {
        let (stream, mut peer) = stream_and_peer();
        let mut buffer = [0; 16];
        let timer = async {
            sleep(Duration::from_millis(1)).await;
            Ok(0)
        };
        assert_eq!(race!(stream.read(&mut buffer), timer).await.unwrap(), 0);
        peer.write_all(b"hello").unwrap();
        let nothing = async { Ok(100) };
        assert_eq!(race!(nothing, stream.read(&mut buffer)).await.unwrap(), 100);
        let count = race!(stream.read(&mut buffer), pending()).await.unwrap();
        assert_eq!(&buffer[..count], b"hello");

        // Of two streams the one with bytes wins, and the other one keeps its own.
        let ((one, one_peer), (other, other_peer)) = (stream_pair(), stream_pair());
        other_peer.write_all(b"other").await.unwrap();
        let (mut first, mut second) = ([0; 16], [0; 16]);
        let read = race!(
            async { one.read(&mut first).await.map(|n| ("one", n)) },
            async { other.read(&mut second).await.map(|n| ("other", n)) },
        );
        assert_eq!(read.await.unwrap(), ("other", 5));
        one_peer.write_all(b"kept").await.unwrap();
        assert_eq!(one.read(&mut first).await.unwrap(), 4);
    });
}

#[test]
fn timers_that_lose_are_removed_and_an_interval_keeps_its_tick() {
    on_virtual_time(|_, event_loop| {
        let began = event_loop.time();
        complete(&event_loop, async {
            let mut ticks = interval(SECOND * 2);
            ticks.tick().await;
            let tick = async {
                ticks.tick().await;
                "tick"
            };
            assert_eq!(race!(tick, sleep_with(SECOND, "timer")).await, "timer");
            let tick = async {
                ticks.tick().await;
                "tick"
            };
            assert_eq!(race!(tick, sleep_with(SECOND * 2, "timer")).await, "tick");
            let _ = race([sleep(SECOND), sleep(SECOND * 1000)]).await;
        });
        assert_eq!(event_loop.time() - began, SECOND * 3);
        assert_eq!(event_loop.metrics().timers, 0);
    });
}

#[test]
fn a_job_that_loses_runs_to_its_end() {
    settling(|_, _| async {
        let (send, receive) = std::sync::mpsc::channel();
        let (begun, begins) = std::sync::mpsc::channel();
        let mut job = Box::pin(to_thread(move || {
            begun.send(()).unwrap();
            receive.recv().unwrap();
        }));
        assert!(poll_once(&mut job).await.is_none());
        begins.recv().unwrap();
        let won = race!(async { job.await.unwrap() }, ready(()));
        won.await;
        // It still receives, so it was not ended.
        send.send(()).unwrap();
    });
}

#[test]
fn a_race_of_none_and_a_race_polled_after_its_end_say_so() {
    on_virtual_time(|_, event_loop| {
        quiet_panics();
        let text = panic_text(|| drop(race([(); 0].map(ready))));
        assert_eq!(text, "race: there is no future to wait for");
        complete(&event_loop, async {
            let mut over = race([ready(1)]);
            assert_eq!(poll_once(&mut over).await, Some(1));
            let again = catch_unwind(AssertUnwindSafe(|| {
                let mut context = std::task::Context::from_waker(std::task::Waker::noop());
                let _ = std::future::Future::poll(std::pin::Pin::new(&mut over), &mut context);
            }));
            assert!(again.is_err());
        });
    });
}

#[test]
fn a_panic_of_one_future_is_the_callers_and_the_others_are_dropped() {
    on_virtual_time(|trace, event_loop| {
        quiet_panics();
        let probe = DropProbe::new(&trace, "the other");
        let task = event_loop.create_task(async move {
            let holding = async move {
                let _probe = probe;
                pending().await
            };
            race!(holding, async { panic!("on purpose") }).await
        });
        let ended: Result<(), _> = complete(&event_loop, task);
        assert_eq!(
            ended.unwrap_err().panicked().unwrap().message(),
            "on purpose"
        );
        trace.expect(["drop the other"]);
    });
}

/// Loses, and panics when it is dropped.
struct BadLoser(&'static str);

impl Future for BadLoser {
    type Output = u8;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<u8> {
        Poll::Pending
    }
}

impl Drop for BadLoser {
    fn drop(&mut self) {
        panic!("{}", self.0);
    }
}

#[test]
fn losers_whose_destructors_panic_cost_no_value_and_are_reported() {
    on_virtual_time(|trace, event_loop| {
        quiet_panics();
        let reports = trace.clone();
        event_loop.set_exception_handler(move |_, context| {
            reports.push(context.panic.as_ref().unwrap().message());
        });
        complete(&event_loop, async {
            let queue = Queue::new(0);
            (7..=8).for_each(|item| queue.put_nowait(item).unwrap());
            let get = async { queue.get().await.unwrap() };
            trace.push(race!(BadLoser("a"), BadLoser("b"), get).await);
            let bad = |name| -> Pin<Box<dyn Future<Output = u8>>> { Box::pin(BadLoser(name)) };
            let get = async { queue.get().await.unwrap() };
            trace.push(race([bad("c"), Box::pin(get), bad("d")]).await);
        });
        trace.expect(["a", "b", "7", "c", "d", "8"]);
    });
}

#[test]
fn a_race_needs_no_loop_and_takes_what_becomes_a_future() {
    audited(|| {
        struct Later(u8);
        impl IntoFuture for Later {
            type Output = u8;
            type IntoFuture = std::future::Ready<u8>;
            fn into_future(self) -> Self::IntoFuture {
                ready(self.0)
            }
        }
        let trace = Trace::new();
        let first = futures_lite::future::block_on(race([Later(1), Later(2)]));
        trace.push(first);
        let first = futures_lite::future::block_on(race!(pending(), Later(3)));
        trace.push(first);
        let twelve = race!(
            pending(),
            pending(),
            pending(),
            pending(),
            pending(),
            pending(),
            pending(),
            pending(),
            pending(),
            pending(),
            pending(),
            ready(12),
        );
        trace.push(futures_lite::future::block_on(twelve));
        trace.expect(["1", "3", "12"]);
    });
}

#[test]
fn the_select_of_futures_util_works_on_every_await_of_the_loop() {
    use futures_util::FutureExt as _;
    on_virtual_time(|trace, event_loop| {
        complete(&event_loop, async {
            let queue = Queue::<u32>::new(0);
            queue.put_nowait(1).unwrap();
            let mut task = create_task(sleep_with(SECOND, "task"));
            for _ in 0..2 {
                let get = queue.get().fuse();
                let mut get = std::pin::pin!(get);
                futures_util::select_biased! {
                    item = get => trace.push(item.unwrap()),
                    name = (&mut task).fuse() => trace.push(name.unwrap()),
                }
            }
        });
        trace.expect(["1", "task"]);
    });
}
