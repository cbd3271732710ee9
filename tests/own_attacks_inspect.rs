//! A process of its own because `tracing` keeps for the whole process which events a subscriber wants: attacks on what
//! measures and inspects a loop.

#[expect(dead_code, unused_imports, reason = "a part of it is needed here")]
#[path = "it/support/mod.rs"]
mod support;

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use callsoon::sync::Lock;
use callsoon::{
    AsyncFd, Clock, EventLoop, LoopHandle, LoopMetrics, WaitEnd, WaitHooks, create_task,
    get_running_loop, task_builder, yield_now,
};

use support::{audited, own_cpu_time, warnings_of};

/// How long this thread works to describe so many tasks that wait for one lock.
fn work_for(tasks: usize) -> Duration {
    let builder = EventLoop::builder().clock(Clock::Virtual);
    let event_loop = builder.inspect(true).build().unwrap();
    let lock = Rc::new(Lock::new(()));
    event_loop
        .run_until_complete(async {
            let guard = lock.acquire().await;
            let waiters: Vec<_> = (0..tasks)
                .map(|_| {
                    let lock = Rc::clone(&lock);
                    create_task(async move { drop(lock.acquire().await) })
                })
                .collect();
            yield_now().await;
            let began = own_cpu_time();
            let infos = get_running_loop().task_infos();
            let took = own_cpu_time() - began;
            let root = infos.iter().find(|info| info.awaited_by.len() == tasks);
            assert!(root.is_some(), "all wait for the holder");
            drop(guard);
            for waiter in waiters {
                waiter.await.unwrap();
            }
            took
        })
        .unwrap()
}

#[test]
fn tasks_that_all_wait_for_one_are_described_in_a_time_that_grows_with_their_number() {
    audited(|| {
        let (few, many) = (work_for(10_000), work_for(40_000));
        // Four times as many: sixteen times as long, if each were compared with all others.
        assert!(many < few * 10, "{few:?}, {many:?}");
    });
}

/// A waker of another runtime, which switches debug mode on.
struct SwitchesOn(Waker);

impl Wake for SwitchesOn {
    fn wake(self: Arc<Self>) {
        get_running_loop().set_debug(true);
        self.0.wake_by_ref();
    }
}

/// Hooks that end each sleep by an event, and switch debug mode off.
struct SwitchesOff(LoopHandle, UnixStream);

impl WaitHooks for SwitchesOff {
    fn before_wait(&self) {
        (&self.1).write_all(b"x").unwrap();
    }

    fn after_wait(&self, _: WaitEnd) {
        self.0.set_debug(false);
    }
}

#[test]
fn a_poll_in_which_debug_mode_is_switched_off_and_on_is_not_slow() {
    audited(|| {
        let lines = warnings_of(|| {
            let event_loop = EventLoop::builder().debug(true).build().unwrap();
            let (ours, peer) = UnixStream::pair().unwrap();
            ours.set_nonblocking(true).unwrap();
            let hooks = SwitchesOff(event_loop.handle(), peer);
            event_loop.set_wait_hooks(Some(Rc::new(hooks)));
            event_loop
                .run_until_complete(async {
                    let ours = AsyncFd::new(ours).unwrap();
                    poll_fn(|context| {
                        let waker = SwitchesOn(context.waker().clone());
                        let waker = Waker::from(Arc::new(waker));
                        let mut context = Context::from_waker(&waker);
                        ours.poll_read_ready(&mut context).map(drop)
                    })
                    .await;
                })
                .unwrap();
            event_loop.set_wait_hooks(None);
            assert!(event_loop.debug());
        });
        // A busy machine may make a poll slow, but not for as long as the machine is up.
        let polls = lines.iter().filter(|line| line.contains("slow poll"));
        for line in polls {
            let took = line.split("took=").nth(1).unwrap();
            assert!(took.parse::<f64>().unwrap() < 30.0, "{line}");
        }
    });
}

/// Asserts that no counter has gone below zero, which it would show as a very large number.
fn assert_small(metrics: LoopMetrics) {
    let counts = [
        metrics.turns,
        metrics.event_polls,
        metrics.callbacks,
        metrics.task_steps,
        metrics.wakes,
        metrics.posts,
        metrics.timers_fired,
        metrics.tasks_created,
        metrics.sources_registered,
        metrics.ready as u64,
        metrics.ready_max as u64,
        metrics.timers as u64,
        metrics.tasks as u64,
        metrics.sources as u64,
        metrics.scopes as u64,
    ];
    assert!(counts.iter().all(|&count| count < 1_000), "{metrics:?}");
}

/// Reads the counters when it is dropped, which may be while its loop closes.
struct Reads(LoopHandle, Rc<RefCell<Vec<LoopMetrics>>>);

impl Drop for Reads {
    fn drop(&mut self) {
        self.1.borrow_mut().push(self.0.metrics());
    }
}

/// A step that uses each way by which an entry leaves the ready queue without being run.
async fn odd_entries(handle: LoopHandle, read: Rc<RefCell<Vec<LoopMetrics>>>) {
    let reads = || Reads(handle.clone(), Rc::clone(&read));
    for _ in 0..3 {
        let cancelled = handle.call_soon(|| unreachable!());
        cancelled.cancel();
        let kept = reads();
        task_builder()
            .eager(true)
            .spawn(async move {
                yield_now().await;
                drop(kept);
            })
            .detach();
        let kept = reads();
        let never = handle.create_task(async move { drop(kept) });
        never.cancel();
        handle.call_later(Duration::ZERO, || ()).cancel();
        handle
            .remote()
            .call_soon_threadsafe(|| ())
            .unwrap()
            .cancel();
        drop(reads());
        yield_now().await;
    }
    let kept = reads();
    handle.call_soon(move || drop(kept));
    let kept = reads();
    handle.create_task(async move { drop(kept) }).detach();
    handle.stop_now();
    let _kept = reads();
    std::future::pending::<()>().await;
}

#[test]
fn no_counter_goes_below_zero_whatever_leaves_the_queue() {
    audited(|| {
        for seed in [None, Some(1), Some(2)] {
            let read = Rc::<RefCell<Vec<LoopMetrics>>>::default();
            let mut builder = EventLoop::builder().clock(Clock::Virtual).metrics(true);
            if let Some(seed) = seed {
                builder = builder.shuffle(seed);
            }
            let event_loop = builder.build().unwrap();
            event_loop.set_exception_handler(|_, _| ());
            let handle = event_loop.handle();
            for _ in 0..2 {
                let odd = odd_entries(handle.clone(), Rc::clone(&read));
                assert!(event_loop.run_until_complete(odd).is_err());
                assert_small(handle.metrics());
            }
            let odd = odd_entries(handle.clone(), Rc::clone(&read));
            event_loop.create_task(odd).detach();
            for _ in 0..3 {
                event_loop.turn(Some(Duration::ZERO)).unwrap();
                assert_small(handle.metrics());
            }
            drop(event_loop);
            assert_small(handle.metrics());
            let read = read.take();
            assert!(read.len() > 20, "{}", read.len());
            read.into_iter().for_each(assert_small);
        }
    });
}
