//! Coroutines that other threads start: how their results reach the waiting thread, and what ends the wait.

use std::cell::Cell;
use std::future::{Future as _, pending};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use callsoon::{
    EventLoop, LoopClosed, RemoteHandle, ThreadFuture, ThreadFutureError, create_task,
    current_task, get_running_loop, sleep, yield_now,
};

use crate::support::{
    SharedTrace, Trace, Waiting, audited, complete, on_real_time, on_virtual_time, one_turn,
    real_loop, thread_id, wait_until_asleep, watched,
};

const SECOND: Duration = Duration::from_secs(1);

/// Runs the loop while another thread does `work`, and gives what that returns.
fn beside<T: Send + 'static>(
    event_loop: &EventLoop,
    work: impl FnOnce(RemoteHandle) -> T + Send + 'static,
) -> T {
    let remote = event_loop.remote();
    let worker = thread::spawn(move || {
        let result = work(remote.clone());
        let _ = remote.call_soon_threadsafe(|| get_running_loop().stop());
        result
    });
    event_loop.run_forever().unwrap();
    worker.join().unwrap()
}

#[test]
fn a_thread_waits_for_a_coroutine_that_runs_on_the_loop_s_thread() {
    on_real_time(|_, event_loop| {
        let home = thread_id();
        let answer = beside(&event_loop, move |remote| {
            let future = remote.run_coroutine_threadsafe(move || {
                assert_eq!(thread_id(), home);
                // What it makes need not be `Send`.
                let local = Rc::new(Cell::new(1));
                async move {
                    for _ in 0..3 {
                        sleep(Duration::from_millis(1)).await;
                        local.set(local.get() * 2);
                    }
                    assert_eq!(thread_id(), home);
                    local.get()
                }
            });
            let future = future.unwrap();
            let answer = future.result(None).unwrap();
            assert!(future.done() && !future.cancelled() && !future.cancel());
            assert!(matches!(future.result(None), Err(ThreadFutureError::Taken)));
            answer
        });
        assert_eq!(answer, 8);
    });
}

#[test]
fn a_coroutine_is_a_task_of_the_loop_with_the_place_where_it_was_started() {
    on_virtual_time(|_, event_loop| {
        let line = line!() + 1;
        let future = event_loop.remote().run_coroutine_threadsafe(|| async {
            let task = current_task().unwrap();
            (task.location().line(), get_running_loop().all_tasks().len())
        });
        let (there, tasks) = complete(&event_loop, future.unwrap()).unwrap();
        assert_eq!((there, tasks), (line, 2));
    });
}

#[test]
fn a_panic_of_the_coroutine_or_of_what_makes_it_is_the_waiter_s() {
    on_real_time(|trace, event_loop| {
        let texts = beside(&event_loop, |remote| {
            let text = |future: Result<ThreadFuture<()>, LoopClosed>| {
                let error = future.unwrap().result(None).unwrap_err();
                let ThreadFutureError::Panicked(panicked) = error else {
                    panic!("{error}")
                };
                panicked.message().to_owned()
            };
            let maker = |fail: bool| {
                assert!(!fail, "on purpose: the maker");
                async {}
            };
            [
                text(remote.run_coroutine_threadsafe(move || maker(true))),
                text(remote.run_coroutine_threadsafe(|| async { panic!("on purpose: at once") })),
                text(remote.run_coroutine_threadsafe(|| async {
                    yield_now().await;
                    panic!("on purpose: later");
                })),
            ]
        });
        assert_eq!(
            texts,
            [
                "on purpose: the maker",
                "on purpose: at once",
                "on purpose: later"
            ]
        );
        trace.expect([]);
    });
}

#[test]
fn a_panic_that_nobody_reads_is_reported() {
    on_virtual_time(|trace, event_loop| {
        let remote = event_loop.remote();
        // Given up before, and after.
        let early = remote.run_coroutine_threadsafe(|| async { panic!("on purpose: early") });
        drop(early.map(|future: ThreadFuture<()>| future).unwrap());
        let late = remote.run_coroutine_threadsafe(|| async { panic!("on purpose: late") });
        let late: ThreadFuture<()> = late.unwrap();
        one_turn(&event_loop);
        one_turn(&event_loop);
        assert!(late.done());
        trace.expect(["report: Exception of a coroutine was never retrieved (on purpose: early)"]);
        event_loop.call_soon(move || drop(late));
        one_turn(&event_loop);
        trace.expect(["report: Exception of a coroutine was never retrieved (on purpose: late)"]);
    });
}

#[test]
fn result_with_a_timeout_gives_up_and_can_be_asked_again() {
    on_real_time(|_, event_loop| {
        beside(&event_loop, |remote| {
            let (open, gate) = async_channel::bounded::<()>(1);
            let future = remote
                .run_coroutine_threadsafe(move || async move { gate.recv().await.is_ok() })
                .unwrap();
            for limit in [Duration::ZERO, Duration::from_millis(20)] {
                let start = Instant::now();
                let result = future.result(Some(limit));
                assert!(matches!(result, Err(ThreadFutureError::TimedOut)));
                assert!(start.elapsed() >= limit);
            }
            assert!(!future.done());
            open.send_blocking(()).unwrap();
            assert!(future.result(Some(Duration::MAX)).unwrap());
        });
    });
}

#[test]
fn waiting_on_the_loop_s_own_thread_is_an_error_and_no_deadlock() {
    on_real_time(|_, event_loop| {
        let remote = event_loop.remote();
        let future = remote.run_coroutine_threadsafe(|| async { 7 }).unwrap();
        let own = |future: &ThreadFuture<i32>, limit| {
            matches!(future.result(limit), Err(ThreadFutureError::OwnThread))
        };
        // Between runs, and inside one, also that of another loop of this thread.
        assert!(own(&future, None) && own(&future, Some(SECOND)));
        let other = real_loop(&Trace::new());
        complete(&other, async { assert!(own(&future, None)) });
        let clone = future.clone();
        complete(&event_loop, async move {
            assert!(own(&clone, None));
            yield_now().await;
            yield_now().await;
            // There is nothing to wait for any more.
            assert_eq!(clone.result(None).unwrap(), 7);
        });
    });
}

#[test]
fn cancel_before_it_begins_takes_the_coroutine_back() {
    on_virtual_time(|_, event_loop| {
        let probe = Arc::new(());
        let captured = Arc::clone(&probe);
        let future = event_loop.remote().run_coroutine_threadsafe(move || {
            drop(captured);
            unreachable!("it was taken back");
            #[allow(unreachable_code, reason = "the closure's type needs a future")]
            async {}
        });
        let future = future.unwrap();
        let there = thread::spawn(move || {
            assert!(future.cancel());
            // Done, and its captures gone, when `cancel` returns.
            assert!(future.done() && future.cancelled() && !future.cancel());
            future.result(None)
        });
        let result = there.join().unwrap();
        assert!(matches!(result, Err(ThreadFutureError::Cancelled)));
        assert_eq!(Arc::strong_count(&probe), 1);
        one_turn(&event_loop);
    });
}

#[test]
fn cancel_of_a_coroutine_that_runs_asks_its_task_and_waits_for_its_end() {
    on_real_time(|_, event_loop| {
        let trace = SharedTrace::new();
        let t = trace.clone();
        beside(&event_loop, move |remote| {
            struct Ends(SharedTrace);
            impl Drop for Ends {
                fn drop(&mut self) {
                    self.0.push("the coroutine is dropped");
                }
            }
            let (begin, begun) = mpsc::channel();
            let t2 = t.clone();
            let future = remote
                .run_coroutine_threadsafe(move || async move {
                    let _ends = Ends(t2);
                    begin.send(()).unwrap();
                    pending::<()>().await;
                })
                .unwrap();
            begun.recv().unwrap();
            assert!(future.cancel());
            let result = future.result(None);
            t.push("the thread goes on");
            assert!(matches!(result, Err(ThreadFutureError::Cancelled)));
            assert!(future.cancelled());
        });
        trace.expect(["the coroutine is dropped", "the thread goes on"]);
    });
}

#[test]
fn a_cancel_that_meets_the_begin_is_not_lost() {
    on_real_time(|_, event_loop| {
        beside(&event_loop, |remote| {
            for round in 0..20_000_u32 {
                let future = remote.run_coroutine_threadsafe(pending::<()>).unwrap();
                for _ in 0..round % 512 {
                    std::hint::spin_loop();
                }
                assert!(future.cancel());
                let result = future.result(None);
                assert!(matches!(result, Err(ThreadFutureError::Cancelled)));
            }
        });
        assert_eq!(event_loop.all_tasks().len(), 0);
    });
}

#[test]
fn a_cancel_while_the_coroutine_is_being_made_is_not_lost() {
    on_real_time(|_, event_loop| {
        beside(&event_loop, |remote| {
            let ((making, made), (cancel, cancelled)) = (mpsc::channel(), mpsc::channel());
            let future = remote
                .run_coroutine_threadsafe(move || {
                    making.send(()).unwrap();
                    cancelled.recv().unwrap();
                    pending::<()>()
                })
                .unwrap();
            made.recv().unwrap();
            assert!(future.cancel() && !future.done());
            cancel.send(()).unwrap();
            let result = future.result(None);
            assert!(matches!(result, Err(ThreadFutureError::Cancelled)));
        });
    });
}

#[test]
fn a_late_cancel_harms_no_other_task() {
    on_real_time(|_, event_loop| {
        let remote = event_loop.remote();
        let future = remote
            .run_coroutine_threadsafe(|| async { yield_now().await })
            .unwrap();
        let clone = future.clone();
        complete(&event_loop, async move {
            yield_now().await;
            yield_now().await;
            // The request is on its way while the coroutine ends and another task gets its slot.
            thread::spawn(move || clone.cancel()).join().unwrap();
            let owner = create_task(async {
                yield_now().await;
                7
            });
            yield_now().await;
            assert_eq!(owner.await.unwrap(), 7);
        });
        assert!(future.done());
    });
}

#[test]
fn i1_a_loop_that_closes_ends_every_wait() {
    on_real_time(|_, event_loop| {
        let remote = event_loop.remote();
        // One that runs, one that has not begun, and one after the end.
        let running = remote.run_coroutine_threadsafe(pending::<()>).unwrap();
        one_turn(&event_loop);
        let waiting: Vec<_> = [
            running,
            remote.run_coroutine_threadsafe(pending::<()>).unwrap(),
        ]
        .into_iter()
        .map(|future| {
            let (announce, announced) = mpsc::channel();
            let waiter = thread::spawn(move || {
                announce.send(thread_id()).unwrap();
                future.result(None)
            });
            wait_until_asleep(announced.recv().unwrap());
            waiter
        })
        .collect();
        event_loop.close().unwrap();
        for waiter in waiting {
            let result = waiter.join().unwrap();
            assert!(matches!(result, Err(ThreadFutureError::LoopClosed)));
        }
        let refused = remote.run_coroutine_threadsafe(pending::<()>);
        assert!(matches!(refused, Err(LoopClosed)));
    });
}

#[test]
fn i1_coroutines_that_race_with_close_all_come_to_an_end() {
    audited(watched(|| {
        const ROUNDS: usize = 2000;
        let (send, receive) = mpsc::channel::<(RemoteHandle, Arc<Barrier>)>();
        let starter = thread::spawn(move || {
            let mut ends = [0; 3];
            for (remote, start) in receive {
                start.wait();
                for _ in 0..3 {
                    match remote.run_coroutine_threadsafe(|| async { 7 }) {
                        Err(LoopClosed) => ends[0] += 1,
                        Ok(future) => match future.result(None) {
                            Ok(7) => ends[1] += 1,
                            Err(ThreadFutureError::LoopClosed) => ends[2] += 1,
                            other => panic!("{other:?}"),
                        },
                    }
                }
            }
            ends
        });
        for round in 0..ROUNDS {
            let event_loop = EventLoop::new().unwrap();
            let start = Arc::new(Barrier::new(2));
            send.send((event_loop.remote(), Arc::clone(&start)))
                .unwrap();
            start.wait();
            for _ in 0..round % 4 {
                one_turn(&event_loop);
            }
            event_loop.close().unwrap();
        }
        drop(send);
        let ends = starter.join().unwrap();
        assert_eq!(ends.iter().sum::<usize>(), 3 * ROUNDS, "{ends:?}");
    }));
}

#[test]
fn any_loop_and_any_runtime_may_await_it() {
    on_real_time(|_, event_loop| {
        beside(&event_loop, |remote| {
            let start = || {
                remote
                    .run_coroutine_threadsafe(|| async { sleep(Duration::from_millis(1)).await })
                    .unwrap()
            };
            let other = real_loop(&Trace::new());
            complete(&other, start()).unwrap();
            futures_lite::future::block_on(start()).unwrap();
            // Two awaiters of one future: the first one gets the result.
            let (one, two) = (start(), start());
            let again = one.clone();
            futures_lite::future::block_on(async {
                one.await.unwrap();
                assert!(matches!(again.await, Err(ThreadFutureError::Taken)));
                two.await.unwrap();
            });
        });
    });
}

#[test]
fn the_newest_waker_is_woken_and_one_who_has_left_is_not() {
    on_virtual_time(|_, event_loop| {
        let future = event_loop
            .remote()
            .run_coroutine_threadsafe(|| async { 7 })
            .unwrap();
        let left = Waiting::begun(future.clone());
        let mut stays = Waiting::begun(future.clone());
        drop(left);
        let (newest, waker) = crate::support::CountingWaker::new();
        assert!(stays.poll_with(&waker).is_none());
        one_turn(&event_loop);
        one_turn(&event_loop);
        assert!(!stays.is_woken());
        assert_eq!(newest.wakes(), 1);
        assert_eq!(stays.poll().unwrap().unwrap(), 7);
    });
}

#[test]
fn done_callbacks_run_on_the_loop_s_thread_and_late_ones_at_once() {
    on_real_time(|trace, event_loop| {
        let home = thread_id();
        let shared = SharedTrace::new();
        let s = shared.clone();
        beside(&event_loop, move |remote| {
            let (open, gate) = async_channel::bounded::<()>(1);
            let future = remote
                .run_coroutine_threadsafe(move || async move { gate.recv().await.is_ok() })
                .unwrap();
            let note = |name: &'static str| {
                let s = s.clone();
                move |future: &ThreadFuture<bool>| {
                    let place = if thread_id() == home { "loop" } else { "adder" };
                    s.push(format!(
                        "{name} on the {place}'s thread, done: {}",
                        future.done()
                    ));
                }
            };
            future.add_done_callback(note("first"));
            future.add_done_callback(|_| panic!("on purpose"));
            let waited = s.clone();
            future.add_done_callback(move |future| {
                waited.push(format!("{:?}", future.result(None).unwrap()));
            });
            open.send_blocking(()).unwrap();
            while !future.done() {
                thread::yield_now();
            }
            // It is done before the callbacks are through: the last word of the loop comes after them.
            let last = remote.run_coroutine_threadsafe(|| async {}).unwrap();
            last.result(None).unwrap();
            future.add_done_callback(note("late"));
        });
        shared.expect([
            "first on the loop's thread, done: true",
            "true",
            "late on the adder's thread, done: true",
        ]);
        trace.expect(["report: Exception in a done callback (on purpose)"]);
    });
}

#[test]
fn i3_captures_with_destructors_that_use_the_loop_are_no_deadlock() {
    struct Starts(RemoteHandle, Arc<AtomicUsize>);
    impl Drop for Starts {
        fn drop(&mut self) {
            let (remote, count) = (self.0.clone(), Arc::clone(&self.1));
            let refused = thread::spawn(move || {
                remote
                    .run_coroutine_threadsafe(|| async {})
                    .map(drop)
                    .is_err()
            });
            self.1
                .fetch_add(1 + usize::from(refused.join().unwrap()), Ordering::SeqCst);
            drop(count);
        }
    }
    on_real_time(|_, event_loop| {
        let remote = event_loop.remote();
        let count = Arc::new(AtomicUsize::new(0));
        let start = || {
            let starts = Starts(remote.clone(), Arc::clone(&count));
            remote
                .run_coroutine_threadsafe(move || async move {
                    let _starts = starts;
                    pending::<()>().await;
                })
                .unwrap()
        };
        let (taken_back, running) = (start(), start());
        assert!(taken_back.cancel());
        assert_eq!(count.load(Ordering::SeqCst), 1);
        one_turn(&event_loop);
        one_turn(&event_loop);
        event_loop.close().unwrap();
        // While the loop closes, its inbox is closed already.
        assert_eq!(count.load(Ordering::SeqCst), 3);
        assert!(running.done());
    });
}

#[test]
fn a_result_goes_to_one_thread_of_many() {
    on_real_time(|_, event_loop| {
        let won = beside(&event_loop, |remote| {
            let future = remote
                .run_coroutine_threadsafe(|| async { sleep(Duration::from_millis(5)).await })
                .unwrap();
            let waiters: Vec<_> = (0..4)
                .map(|_| {
                    let future = future.clone();
                    thread::spawn(move || future.result(None).is_ok())
                })
                .collect();
            let results = waiters.into_iter().map(|waiter| waiter.join().unwrap());
            results.filter(|won| *won).count()
        });
        assert_eq!(won, 1);
    });
}

#[test]
fn a_future_that_is_polled_after_its_end_says_so() {
    on_virtual_time(|_, event_loop| {
        let mut future = event_loop
            .remote()
            .run_coroutine_threadsafe(|| async { 7 })
            .unwrap();
        assert_eq!(complete(&event_loop, &mut future).unwrap(), 7);
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let again = std::pin::Pin::new(&mut future).poll(&mut context);
        assert!(matches!(
            again,
            std::task::Poll::Ready(Err(ThreadFutureError::Taken))
        ));
    });
}

#[test]
fn a_cancel_that_comes_late_does_not_reach_the_next_task_in_the_same_slot() {
    // A key distinguishes this many tasks of one slot.
    const OWNERS: usize = 1 << 16;
    on_real_time(|_, event_loop| {
        let gate = event_loop.create_future::<()>();
        WAITS.with(|place| *place.borrow_mut() = Some(gate.clone()));
        let future: ThreadFuture<u8> = event_loop
            .remote()
            .run_coroutine_threadsafe(|| async {
                let gate = WAITS.with(|place| place.borrow_mut().take());
                gate.unwrap().await.unwrap();
                7
            })
            .unwrap();
        let victim = complete(&event_loop, async move {
            yield_now().await;
            yield_now().await;
            // In the ready queue, in this order: the coroutine's last step, what this task does next, the request to
            // end, which comes by way of the inbox.
            gate.set_result(()).unwrap();
            thread::spawn(move || future.cancel()).join().unwrap();
            yield_now().await;
            let handle = get_running_loop();
            for _ in 1..OWNERS {
                drop(handle.task_builder().eager(true).spawn(async {}));
            }
            let victim = handle.create_task(async {
                for _ in 0..5 {
                    yield_now().await;
                }
                "not disturbed"
            });
            victim.await
        });
        assert_eq!(victim.unwrap(), "not disturbed");
    });
}

std::thread_local! {
    static WAITS: std::cell::RefCell<Option<callsoon::Future<()>>> = const { std::cell::RefCell::new(None) };
}
