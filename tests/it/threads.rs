//! What other threads may ask of a loop, and how a loop sleeps until they do.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::task::Waker;
use std::thread;
use std::time::{Duration, Instant};

use callsoon::{EventLoop, LoopClosed, create_task, get_running_loop, sleep, yield_now};

use crate::support::{
    Patience, SharedTrace, Trace, audited, complete, cpu_time, on_real_time, on_virtual_time,
    one_turn, real_loop, thread_id, virtual_loop, voluntary_switches, wait_until_asleep, watched,
};

#[test]
fn a_post_wakes_a_loop_that_sleeps_and_runs_on_its_thread() {
    on_real_time(|_, event_loop| {
        let (remote, sleeper) = (event_loop.remote(), thread_id());
        let (running, runs) = mpsc::channel();
        event_loop.call_soon(move || running.send(()).unwrap());
        let poster = thread::spawn(move || {
            runs.recv().unwrap();
            wait_until_asleep(sleeper);
            remote
                .call_soon_threadsafe(move || {
                    assert_eq!(thread_id(), sleeper);
                    get_running_loop().stop();
                })
                .unwrap();
        });
        event_loop.run_forever().unwrap();
        poster.join().unwrap();
    });
}

#[test]
fn a_post_before_the_run_is_there_when_it_begins() {
    audited(watched(|| {
        let trace = SharedTrace::new();
        let event_loop = real_loop(&Trace::new());
        let (remote, t) = (event_loop.remote(), trace.clone());
        thread::spawn(move || {
            remote.call_soon_threadsafe(t.note("first")).unwrap();
            remote.call_soon_threadsafe(t.note("second")).unwrap();
        })
        .join()
        .unwrap();
        assert!(event_loop.has_ready());
        trace.expect([]);
        one_turn(&event_loop);
        trace.expect(["first", "second"]);
    }));
}

#[test]
fn posts_of_the_loop_s_own_thread_keep_their_order_with_call_soon() {
    audited(watched(|| {
        let trace = SharedTrace::new();
        let event_loop = virtual_loop(&Trace::new());
        let remote = event_loop.remote();
        // Between runs.
        event_loop.call_soon(trace.note("1 soon"));
        remote.call_soon_threadsafe(trace.note("2 posted")).unwrap();
        event_loop.call_soon(trace.note("3 soon"));
        remote.call_soon_threadsafe(trace.note("4 posted")).unwrap();
        event_loop.create_task({
            let t = trace.clone();
            async move { t.push("5 task") }
        });
        remote.call_soon_threadsafe(trace.note("6 posted")).unwrap();
        one_turn(&event_loop);
        trace.expect([
            "1 soon", "2 posted", "3 soon", "4 posted", "5 task", "6 posted",
        ]);
        // And inside one.
        let t = trace.clone();
        event_loop.call_soon(move || {
            let handle = get_running_loop();
            handle.call_soon(t.note("1 soon"));
            remote.call_soon_threadsafe(t.note("2 posted")).unwrap();
            handle.call_soon(t.note("3 soon"));
            remote.call_soon_threadsafe(t.note("4 posted")).unwrap();
        });
        one_turn(&event_loop);
        trace.expect([]);
        one_turn(&event_loop);
        trace.expect(["1 soon", "2 posted", "3 soon", "4 posted"]);
    }));
}

#[test]
fn a_post_from_another_thread_runs_before_what_is_queued_after_it_between_runs() {
    audited(watched(|| {
        let trace = SharedTrace::new();
        let event_loop = virtual_loop(&Trace::new());
        event_loop.call_soon(trace.note("1 soon"));
        let (remote, t) = (event_loop.remote(), trace.clone());
        thread::spawn(move || remote.call_soon_threadsafe(t.note("2 posted")).unwrap())
            .join()
            .unwrap();
        event_loop.call_soon(trace.note("3 soon"));
        one_turn(&event_loop);
        trace.expect(["1 soon", "2 posted", "3 soon"]);
    }));
}

#[test]
fn a_wake_between_runs_is_queued_in_order() {
    on_virtual_time(|trace, event_loop| {
        let future = event_loop.create_future::<()>();
        let (awaited, t) = (future.clone(), trace.clone());
        event_loop.create_task(async move {
            awaited.await.unwrap();
            t.push("awaiter");
        });
        one_turn(&event_loop);
        event_loop.call_soon(trace.note("a"));
        future.set_result(()).unwrap();
        event_loop.call_soon(trace.note("b"));
        one_turn(&event_loop);
        trace.expect(["a", "awaiter", "b"]);
    });
}

#[test]
fn a_wake_of_an_idle_loop_in_a_callback_of_another_is_queued_in_order() {
    audited(watched(|| {
        let trace = Trace::new();
        let idle = virtual_loop(&trace);
        let busy = virtual_loop(&trace);
        let future = idle.create_future::<()>();
        let (awaited, t) = (future.clone(), trace.clone());
        idle.create_task(async move {
            awaited.await.unwrap();
            t.push("awaiter");
        });
        one_turn(&idle);
        let (handle, t) = (idle.handle(), trace.clone());
        busy.call_soon(move || {
            handle.call_soon(t.note("a"));
            future.set_result(()).unwrap();
            handle.call_soon(t.note("b"));
        });
        one_turn(&busy);
        trace.expect([]);
        one_turn(&idle);
        trace.expect(["a", "awaiter", "b"]);
    }));
}

#[test]
fn what_a_post_posts_runs_in_the_next_turn() {
    audited(watched(|| {
        let trace = SharedTrace::new();
        let event_loop = virtual_loop(&Trace::new());
        let (remote, t) = (event_loop.remote(), trace.clone());
        let inner = remote.clone();
        remote
            .call_soon_threadsafe(move || {
                t.push("outer");
                inner.call_soon_threadsafe(t.note("inner")).unwrap();
            })
            .unwrap();
        event_loop.call_soon(trace.note("soon"));
        one_turn(&event_loop);
        trace.expect(["outer", "soon"]);
        one_turn(&event_loop);
        trace.expect(["inner"]);
    }));
}

#[test]
fn a_panic_in_a_post_goes_to_the_handler_and_the_next_one_runs() {
    on_virtual_time(|trace, event_loop| {
        let ran = Arc::new(AtomicUsize::new(0));
        let (remote, counted) = (event_loop.remote(), Arc::clone(&ran));
        thread::spawn(move || {
            remote
                .call_soon_threadsafe(|| panic!("on purpose"))
                .unwrap();
            remote
                .call_soon_threadsafe(move || {
                    counted.fetch_add(1, Ordering::SeqCst);
                })
                .unwrap();
        })
        .join()
        .unwrap();
        one_turn(&event_loop);
        trace.expect(["report: Exception in callback (on purpose)"]);
        assert_eq!(ran.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn closures_of_every_size_arrive_whole() {
    fn post<const N: usize>(event_loop: &EventLoop, sum: &Arc<AtomicUsize>) {
        let (bytes, sum) = ([1_u8; N], Arc::clone(sum));
        event_loop
            .remote()
            .call_soon_threadsafe(move || {
                let total: usize = bytes.iter().map(|&byte| usize::from(byte)).sum();
                sum.fetch_add(total, Ordering::SeqCst);
            })
            .unwrap();
    }
    on_virtual_time(|_, event_loop| {
        let sum = Arc::new(AtomicUsize::new(0));
        post::<0>(&event_loop, &sum);
        post::<1>(&event_loop, &sum);
        post::<8>(&event_loop, &sum);
        post::<16>(&event_loop, &sum);
        post::<17>(&event_loop, &sum);
        post::<1000>(&event_loop, &sum);
        one_turn(&event_loop);
        assert_eq!(sum.load(Ordering::SeqCst), 1042);
        assert_eq!(Arc::strong_count(&sum), 1);
    });
}

#[test]
fn a_closed_loop_refuses_posts_and_drops_them_in_the_caller() {
    on_real_time(|_, event_loop| {
        let remote = event_loop.remote();
        assert!(!remote.is_closed());
        drop(event_loop);
        assert!(remote.is_closed());
        let captured = Arc::new(());
        let held = Arc::clone(&captured);
        let refused = thread::spawn(move || {
            let refused = remote.call_soon_threadsafe(move || drop(held));
            refused.map(drop)
        });
        assert_eq!(refused.join().unwrap(), Err(LoopClosed));
        assert_eq!(Arc::strong_count(&captured), 1);
    });
}

#[test]
fn a_remote_handle_never_reaches_the_loop_that_moved_into_its_place() {
    audited(watched(|| {
        let old = EventLoop::new().unwrap();
        let remote = old.remote();
        drop(old);
        // More loops than identities rest before one is used again.
        for _ in 0..200 {
            let successor = EventLoop::new().unwrap();
            assert_eq!(
                remote.call_soon_threadsafe(|| ()).map(drop),
                Err(LoopClosed)
            );
            assert!(remote.is_closed());
            assert_eq!(successor.metrics().ready, 0);
            assert!(!successor.has_ready());
        }
    }));
}

#[test]
fn a_post_can_be_taken_back_until_it_runs() {
    audited(watched(|| {
        let trace = SharedTrace::new();
        let event_loop = virtual_loop(&Trace::new());
        let remote = event_loop.remote();
        let first = remote.call_soon_threadsafe(trace.note("first")).unwrap();
        let second = remote.call_soon_threadsafe(trace.note("second")).unwrap();
        let third = remote.call_soon_threadsafe(trace.note("third")).unwrap();
        assert!(second.cancel());
        assert!(!second.clone().cancel());
        // From another thread, while the first is running: it is too late for that one, in time for the third.
        let t = trace.clone();
        let remote = event_loop.remote();
        let handles = Arc::new(Mutex::new(None));
        let own = Arc::clone(&handles);
        let running = remote
            .call_soon_threadsafe(move || {
                let (own, later) = own.lock().unwrap().take().unwrap();
                let cancelled = thread::spawn(move || {
                    let own: callsoon::ThreadsafeHandle = own;
                    let later: callsoon::ThreadsafeHandle = later;
                    (own.cancel(), later.cancel())
                });
                t.push(format!("{:?}", cancelled.join().unwrap()));
            })
            .unwrap();
        let later = remote.call_soon_threadsafe(trace.note("later")).unwrap();
        *handles.lock().unwrap() = Some((running.clone(), later.clone()));
        one_turn(&event_loop);
        trace.expect(["first", "third", "(false, true)"]);
        for handle in [first, second, third, running, later] {
            assert!(!handle.cancel());
        }
    }));
}

#[test]
fn a4_a_ping_pong_with_another_thread_never_loses_a_wake() {
    audited(watched(|| {
        const ROUNDS: u32 = 10_000;
        let event_loop = real_loop(&Trace::new());
        let (to_thread, at_thread) = mpsc::channel::<u32>();
        let (to_loop, at_loop) = async_channel::bounded::<u32>(1);
        let player = thread::spawn(move || {
            for number in at_thread {
                to_loop.send_blocking(number + 1).unwrap();
            }
        });
        complete(&event_loop, async move {
            for round in 0..ROUNDS {
                to_thread.send(round).unwrap();
                assert_eq!(at_loop.recv().await.unwrap(), round + 1);
            }
        });
        player.join().unwrap();
    }));
}

#[test]
fn a4_posts_to_a_loop_that_falls_asleep_after_each_never_get_lost() {
    on_real_time(|_, event_loop| {
        let remote = event_loop.remote();
        let poster = thread::spawn(move || {
            for _ in 0..10_000 {
                let (ran, runs) = mpsc::channel();
                remote
                    .call_soon_threadsafe(move || ran.send(()).unwrap())
                    .unwrap();
                runs.recv().unwrap();
            }
            remote
                .call_soon_threadsafe(|| get_running_loop().stop())
                .unwrap();
        });
        event_loop.run_forever().unwrap();
        poster.join().unwrap();
    });
}

#[test]
fn a4_posts_at_every_moment_of_falling_asleep_are_run() {
    on_real_time(|_, event_loop| {
        let remote = event_loop.remote();
        let (done, ended) = async_channel::bounded::<()>(1);
        let poster = thread::spawn(move || {
            for round in 0..50_000_u32 {
                let ran = Arc::new(AtomicBool::new(false));
                let flag = Arc::clone(&ran);
                remote
                    .call_soon_threadsafe(move || flag.store(true, Ordering::Release))
                    .unwrap();
                // Waiting in the kernel would always be too slow to meet the loop on its way to sleep. The processor
                // is given up now and then, for machines that have one only.
                let mut waited = 0_u32;
                while !ran.load(Ordering::Acquire) {
                    waited += 1;
                    if waited % 10_000 == 0 {
                        thread::yield_now();
                    }
                    std::hint::spin_loop();
                }
                for _ in 0..round % 256 {
                    std::hint::spin_loop();
                }
            }
            done.send_blocking(()).unwrap();
        });
        complete(&event_loop, async move { ended.recv().await.unwrap() });
        poster.join().unwrap();
    });
}

#[test]
fn a_waker_works_on_any_thread_and_after_its_task_and_loop_are_gone() {
    on_real_time(|_, event_loop| {
        let waker: Arc<Mutex<Option<Waker>>> = Arc::default();
        let task = event_loop.create_task({
            let waker = Arc::clone(&waker);
            let mut polls = 0;
            std::future::poll_fn(move |context| {
                polls += 1;
                *waker.lock().unwrap() = Some(context.waker().clone());
                if polls == 1 {
                    std::task::Poll::Pending
                } else {
                    std::task::Poll::Ready(polls)
                }
            })
        });
        one_turn(&event_loop);
        let (w, sleeper) = (Arc::clone(&waker), thread_id());
        let (running, runs) = mpsc::channel();
        event_loop.call_soon(move || running.send(()).unwrap());
        let thread = thread::spawn(move || {
            runs.recv().unwrap();
            wait_until_asleep(sleeper);
            let waker = w.lock().unwrap().clone().unwrap();
            waker.wake();
        });
        assert_eq!(complete(&event_loop, task).unwrap(), 2);
        thread.join().unwrap();
        let waker = waker.lock().unwrap().take().unwrap();
        waker.wake_by_ref();
        drop(event_loop);
        waker.wake_by_ref();
        thread::spawn(move || waker.wake()).join().unwrap();
    });
}

#[test]
fn each_thread_has_its_own_loop() {
    audited(watched(|| {
        let threads: Vec<_> = (0..8_u32)
            .map(|number| {
                thread::spawn(move || {
                    callsoon::run(async move {
                        let task = create_task(async move {
                            sleep(Duration::from_millis(1)).await;
                            number
                        });
                        yield_now().await;
                        task.await.unwrap()
                    })
                    .unwrap()
                })
            })
            .collect();
        let numbers: Vec<_> = threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect();
        assert_eq!(numbers, (0..8).collect::<Vec<_>>());
    }));
}

#[test]
fn two_loops_of_two_threads_call_each_other() {
    on_real_time(|_, event_loop| {
        let home = event_loop.remote();
        let (announce, announced) = mpsc::channel();
        let thread = thread::spawn(move || {
            let event_loop = EventLoop::new().unwrap();
            announce.send(event_loop.remote()).unwrap();
            event_loop.run_forever().unwrap();
        });
        let there = announced.recv().unwrap();
        fn bounce(left: u32, here: callsoon::RemoteHandle, there: callsoon::RemoteHandle) {
            let next = there.clone();
            there
                .call_soon_threadsafe(move || {
                    if left == 0 {
                        // Each loop is stopped from its own thread.
                        here.call_soon_threadsafe(|| get_running_loop().stop())
                            .unwrap();
                        get_running_loop().stop();
                    } else {
                        bounce(left - 1, next, here);
                    }
                })
                .unwrap();
        }
        event_loop.call_soon(move || bounce(1000, home, there));
        event_loop.run_forever().unwrap();
        thread.join().unwrap();
    });
}

#[test]
fn an_idle_loop_makes_no_system_call_and_uses_no_cpu() {
    on_real_time(|_, event_loop| {
        let listener = complete(
            &event_loop,
            callsoon::net::TcpListener::bind(crate::support::loopback()),
        )
        .unwrap();
        // A timer far away, a task that waits, a socket: what a loop is idle with.
        let far = event_loop.call_later(Duration::from_secs(3600), || ());
        let task = event_loop.create_task(async move { drop(listener.accept().await) });
        one_turn(&event_loop);
        let turns = event_loop.metrics().turns;
        let (remote, sleeper) = (event_loop.remote(), thread_id());
        let (running, runs) = mpsc::channel();
        event_loop.call_soon(move || running.send(voluntary_switches(sleeper)).unwrap());
        let observer = thread::spawn(move || {
            let awake = runs.recv().unwrap();
            // A thread is marked as asleep a moment before it gives the processor up.
            let mut patience = Patience::new();
            while voluntary_switches(sleeper) == awake {
                assert!(patience.lets_others_run(), "it does not fall asleep");
            }
            wait_until_asleep(sleeper);
            let before = (voluntary_switches(sleeper), cpu_time(sleeper));
            // Nothing is waited for here but time: it is what is measured.
            let (_alive, never) = mpsc::channel::<()>();
            assert!(never.recv_timeout(Duration::from_millis(500)).is_err());
            let after = (voluntary_switches(sleeper), cpu_time(sleeper));
            remote
                .call_soon_threadsafe(|| get_running_loop().stop())
                .unwrap();
            (before, after)
        });
        event_loop.run_forever().unwrap();
        let (before, after) = observer.join().unwrap();
        assert_eq!(before, after);
        // The one that fell asleep, and the one that was woken by the post.
        let turns = event_loop.metrics().turns - turns;
        assert!(turns <= 3, "{turns} turns");
        far.cancel();
        task.cancel();
        one_turn(&event_loop);
    });
}

#[test]
fn a_burst_of_wakes_from_another_thread_polls_a_task_once() {
    on_virtual_time(|_, event_loop| {
        let polls = Rc::new(Cell::new(0));
        let waker: Arc<Mutex<Option<Waker>>> = Arc::default();
        let task = event_loop.create_task({
            let (polls, waker) = (Rc::clone(&polls), Arc::clone(&waker));
            std::future::poll_fn(move |context| {
                polls.set(polls.get() + 1);
                *waker.lock().unwrap() = Some(context.waker().clone());
                std::task::Poll::<()>::Pending
            })
        });
        one_turn(&event_loop);
        let waker = waker.lock().unwrap().clone().unwrap();
        thread::spawn(move || {
            for _ in 0..100_000 {
                waker.wake_by_ref();
            }
        })
        .join()
        .unwrap();
        one_turn(&event_loop);
        assert_eq!(polls.get(), 2);
        one_turn(&event_loop);
        assert_eq!(polls.get(), 2);
        task.cancel();
        one_turn(&event_loop);
    });
}

#[test]
fn a_post_ends_a_long_sleep_without_disturbing_its_timer() {
    on_real_time(|_, event_loop| {
        let (remote, sleeper) = (event_loop.remote(), thread_id());
        let (running, runs) = mpsc::channel();
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        event_loop.call_soon(move || running.send(()).unwrap());
        let poster = thread::spawn(move || {
            runs.recv().unwrap();
            for _ in 0..20 {
                wait_until_asleep(sleeper);
                let counted = Arc::clone(&counted);
                remote
                    .call_soon_threadsafe(move || {
                        counted.fetch_add(1, Ordering::SeqCst);
                    })
                    .unwrap();
            }
        });
        let start = Instant::now();
        complete(&event_loop, sleep(Duration::from_millis(200)));
        assert!(start.elapsed() >= Duration::from_millis(200));
        poster.join().unwrap();
        one_turn(&event_loop);
        assert_eq!(count.load(Ordering::SeqCst), 20);
    });
}
