//! Faults J1 to J4: threads that the system refuses, jobs that are stuck, ends with a deadline, and
//! threads that go when they are not needed.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::time::{Duration, Instant};

use callsoon::{
    EventLoop, ExecutorError, ExecutorFuture, ThreadPoolExecutor, create_task, run_in_executor,
    to_thread, yield_now,
};

use crate::support::{
    Patience, Trace, audited, complete, forbid, on_real_time, on_virtual_time, real_loop,
    wait_until_gone, watched,
};

const SECOND: Duration = Duration::from_secs(1);

/// A stack that no machine has room for: the system refuses the thread.
const TOO_LARGE: usize = 1 << 46;

/// A job that runs until the sender is dropped; it has begun when this returns.
fn stuck(
    event_loop: &EventLoop,
    pool: Option<&ThreadPoolExecutor>,
) -> (ExecutorFuture<()>, mpsc::Sender<()>) {
    let (release, held) = mpsc::channel();
    let begun = Arc::new(Barrier::new(2));
    let begins = Arc::clone(&begun);
    let pool = pool.map(|pool| pool as &dyn callsoon::Executor);
    let job = event_loop.run_in_executor(pool, move || {
        begins.wait();
        let _ = held.recv();
    });
    begun.wait();
    (job, release)
}

fn end(pool: &ThreadPoolExecutor) {
    pool.shutdown();
    pool.join(20 * SECOND).unwrap();
    assert_eq!((pool.workers(), pool.jobs()), (0, 0));
}

#[test]
fn j1_a_first_thread_that_the_system_refuses_is_an_error_at_once() {
    on_real_time(|_, event_loop| {
        let pool = ThreadPoolExecutor::builder().stack_size(TOO_LARGE).build();
        for _ in 0..3 {
            let job = event_loop.run_in_executor(Some(&pool), || ());
            assert!(job.done(), "nobody would ever run it");
            let result = complete(&event_loop, job);
            assert!(matches!(result, Err(ExecutorError::Io(_))), "{result:?}");
            assert_eq!((pool.workers(), pool.jobs()), (0, 0));
        }
        end(&pool);
    });
}

#[test]
fn j1_a_further_thread_that_the_system_refuses_leaves_the_job_to_those_there_are() {
    on_real_time(|_, event_loop| {
        let pool = ThreadPoolExecutor::builder().max_workers(4).build();
        let (job, release) = stuck(&event_loop, Some(&pool));
        for call in [libc::SYS_clone3, libc::SYS_clone] {
            if !forbid(call, None, libc::EAGAIN) {
                return;
            }
        }
        let queued: Vec<_> = (0..3)
            .map(|number| event_loop.run_in_executor(Some(&pool), move || number))
            .collect();
        assert_eq!((pool.workers(), pool.jobs()), (1, 4));
        drop(release);
        complete(&event_loop, job).unwrap();
        for (job, number) in queued.into_iter().zip(0..) {
            assert_eq!(complete(&event_loop, job).unwrap(), number);
        }
        end(&pool);
    });
}

#[test]
fn j2_a_pool_full_of_stuck_jobs_holds_up_no_other_pool_and_no_loop() {
    on_real_time(|_, event_loop| {
        let pool = ThreadPoolExecutor::builder().max_workers(4).build();
        let held: Vec<_> = (0..4).map(|_| stuck(&event_loop, Some(&pool))).collect();
        let behind = event_loop.run_in_executor(Some(&pool), || "behind");
        complete(&event_loop, async {
            assert_eq!(to_thread(|| "default").await.unwrap(), "default");
        });
        assert!(!behind.done());
        for (job, release) in held {
            drop(release);
            complete(&event_loop, job).unwrap();
        }
        assert_eq!(complete(&event_loop, behind).unwrap(), "behind");
        complete(
            &event_loop,
            event_loop.shutdown_default_executor(20 * SECOND),
        )
        .unwrap();
        end(&pool);
    });
}

#[test]
fn j2_a_default_pool_full_of_stuck_jobs_does_not_hold_up_a_look_up_of_a_name() {
    on_real_time(|_, event_loop| {
        let pool = ThreadPoolExecutor::builder().max_workers(2).build();
        event_loop.set_default_executor(pool.clone());
        let (release, stuck) = std::sync::mpsc::channel::<()>();
        let stuck = std::sync::Arc::new(std::sync::Mutex::new(stuck));
        let jobs: Vec<_> = (0..4)
            .map(|_| {
                let stuck = std::sync::Arc::clone(&stuck);
                // Until the sender is gone.
                event_loop.run_in_executor(None, move || stuck.lock().unwrap().recv().is_err())
            })
            .collect();
        complete(&event_loop, async {
            let found = callsoon::net::lookup_host(("localhost", 80)).await.unwrap();
            assert!(found.into_iter().next().is_some());
        });
        assert_eq!(pool.jobs(), 4, "nothing was done meanwhile");
        drop(release);
        complete(&event_loop, async move {
            for job in jobs {
                assert!(job.await.unwrap());
            }
        });
        end(&pool);
    });
}

#[test]
fn j2_a_hundred_thousand_jobs_that_are_taken_back_leave_nothing_in_the_queue() {
    on_real_time(|_, event_loop| {
        let pool = ThreadPoolExecutor::builder().max_workers(1).build();
        let (job, release) = stuck(&event_loop, Some(&pool));
        let mut jobs: Vec<_> = (0..100_000)
            .map(|_| event_loop.run_in_executor(Some(&pool), || unreachable!("taken back")))
            .collect();
        let kept = event_loop.run_in_executor(Some(&pool), || 7);
        // From the back, from the middle, from the front.
        jobs.truncate(50_000);
        jobs.drain(20_000..40_000).for_each(drop);
        drop(jobs);
        assert_eq!(pool.jobs(), 2);
        // What is left of the others is less than what is wanted.
        let text = format!("{pool:?}");
        assert!(
            (1..=2).any(|left| text.contains(&format!("queue: {left},"))),
            "{text}"
        );
        drop(release);
        complete(&event_loop, job).unwrap();
        assert_eq!(complete(&event_loop, kept).unwrap(), 7);
        end(&pool);
    });
}

#[test]
fn j3_a_shutdown_with_a_stuck_job_ends_by_its_deadline_and_says_how_many() {
    on_real_time(|_, event_loop| {
        let pool = ThreadPoolExecutor::builder().max_workers(2).build();
        event_loop.set_default_executor(pool.clone());
        let held: Vec<_> = (0..2).map(|_| stuck(&event_loop, Some(&pool))).collect();
        let queued = event_loop.run_in_executor(None, || unreachable!("dropped at the deadline"));
        let start = Instant::now();
        let deadline = Duration::from_millis(100);
        let left = complete(&event_loop, event_loop.shutdown_default_executor(deadline));
        let took = start.elapsed();
        assert_eq!(left.unwrap_err().jobs(), 3);
        // The jobs go on until they are released below: nothing but the deadline has ended it.
        assert!(took >= deadline, "{took:?}");
        let dropped = complete(&event_loop, queued);
        assert!(matches!(dropped, Err(ExecutorError::Cancelled)));
        let late = complete(&event_loop, async { to_thread(|| ()).await });
        assert!(matches!(late, Err(ExecutorError::ShutDown)));
        // A second time there is nothing to wait for.
        complete(&event_loop, event_loop.shutdown_default_executor(deadline)).unwrap();
        for (job, release) in held {
            drop(release);
            complete(&event_loop, job).unwrap();
        }
        pool.join(20 * SECOND).unwrap();
    });
}

#[test]
fn j3_a_shutdown_does_not_block_the_loop_and_ends_with_the_last_job() {
    on_real_time(|trace, event_loop| {
        let (job, release) = stuck(&event_loop, None);
        let handle = event_loop.handle();
        let t = trace.clone();
        complete(&event_loop, async move {
            let t2 = t.clone();
            let shutdown = create_task(async move {
                handle.shutdown_default_executor(20 * SECOND).await.unwrap();
                t2.push("shut down");
            });
            // The shutdown begins in this turn.
            yield_now().await;
            let refused = to_thread(|| ()).await;
            assert!(matches!(refused, Err(ExecutorError::ShutDown)));
            t.push("the loop goes on");
            drop(release);
            job.await.unwrap();
            shutdown.await.unwrap();
        });
        trace.expect(["the loop goes on", "shut down"]);
    });
}

#[test]
fn j3_a_shutdown_on_a_virtual_clock_keeps_to_real_time() {
    on_virtual_time(|_, event_loop| {
        let (job, release) = stuck(&event_loop, None);
        drop(job);
        let before = event_loop.time();
        let shutdown = event_loop.shutdown_default_executor(Duration::from_millis(50));
        let left = event_loop.run_until_complete(shutdown).unwrap();
        assert_eq!(left.unwrap_err().jobs(), 1);
        assert_eq!(event_loop.time(), before);
        drop(release);
        wait_until_gone("callsoon_");
    });
}

#[test]
fn j3_a_loop_that_closes_waits_for_no_job_and_leaves_no_idle_thread() {
    on_real_time(|_, event_loop| {
        let pool = ThreadPoolExecutor::builder().max_workers(2).build();
        event_loop.set_default_executor(pool);
        complete(&event_loop, async { to_thread(|| ()).await }).unwrap();
        let dropped_on = Arc::new(AtomicUsize::new(0));
        struct Result(Arc<AtomicUsize>);
        impl Drop for Result {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }
        let (release, held) = mpsc::channel::<()>();
        let (ended, ends) = mpsc::channel::<()>();
        let begun = Arc::new(Barrier::new(2));
        let (begins, result) = (Arc::clone(&begun), Result(Arc::clone(&dropped_on)));
        event_loop
            .create_task(to_thread(move || {
                let _ended = ended;
                begins.wait();
                let _ = held.recv();
                result
            }))
            .detach();
        crate::support::one_turn(&event_loop);
        begun.wait();
        // The job ends only after that.
        event_loop.close().unwrap();
        assert_eq!(dropped_on.load(Ordering::SeqCst), 0);
        drop(release);
        assert!(ends.recv().is_err());
        // The job's captures are gone, then its result, then its thread.
        wait_until_gone("callsoon_");
        assert_eq!(dropped_on.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn j3_after_close_jobs_are_refused() {
    on_real_time(|_, event_loop| {
        let pool = ThreadPoolExecutor::new();
        event_loop.close().unwrap();
        let other = real_loop(&Trace::new());
        let jobs = [
            event_loop.run_in_executor(None, || ()),
            event_loop.run_in_executor(Some(&pool), || ()),
        ];
        complete(&other, async move {
            for job in jobs {
                assert!(matches!(job.await, Err(ExecutorError::ShutDown)));
            }
        });
        assert_eq!(pool.workers(), 0);
        let shutdown = event_loop.shutdown_default_executor(SECOND);
        complete(&other, shutdown).unwrap();
    });
}

#[test]
fn j4_idle_threads_go_and_come_again() {
    on_real_time(|_, event_loop| {
        let pool = ThreadPoolExecutor::builder()
            .max_workers(8)
            .keep_alive(Duration::from_millis(1))
            .build();
        for _ in 0..20 {
            let jobs: Vec<_> = (0..8)
                .map(|_| event_loop.run_in_executor(Some(&pool), || ()))
                .collect();
            complete(&event_loop, async move {
                for job in jobs {
                    job.await.unwrap();
                }
            });
            let mut patience = Patience::new();
            while pool.workers() > 0 {
                assert!(patience.lets_others_run(), "{pool:?}");
            }
        }
        end(&pool);
    });
}

#[test]
fn j4_threads_that_give_up_at_every_moment_leave_no_job_behind() {
    on_real_time(|_, event_loop| {
        // They are always just about to end.
        let pool = ThreadPoolExecutor::builder()
            .max_workers(2)
            .keep_alive(Duration::from_micros(20))
            .build();
        let p = pool.clone();
        complete(&event_loop, async move {
            for round in 0..20_000_u32 {
                let job = run_in_executor(Some(&p), move || round);
                assert_eq!(job.await.unwrap(), round);
                for _ in 0..round % 512 {
                    std::hint::spin_loop();
                }
            }
        });
        end(&pool);
    });
}

#[test]
fn j4_a_thousand_loops_each_with_a_pool_leave_no_thread() {
    audited(watched(|| {
        for _ in 0..1000 {
            let event_loop = EventLoop::new().unwrap();
            let pool = ThreadPoolExecutor::builder()
                .thread_name_prefix("j4")
                .build();
            event_loop.set_default_executor(pool);
            complete(&event_loop, async { to_thread(|| ()).await }).unwrap();
        }
        wait_until_gone("j4_");
    }));
}
