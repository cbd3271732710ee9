//! Executors: jobs on other threads, and how their results come back.

use std::future::Future as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::thread::{self, ThreadId};
use std::time::Duration;

use callsoon::{
    ContextVar, EventLoop, Executor, ExecutorError, Job, ThreadPoolExecutor, create_task,
    run_in_executor, sleep, to_thread, yield_now,
};

use crate::support::{
    CountingWaker, SharedTrace, Trace, Waiting, audited, complete, on_real_time, one_turn,
    real_loop, wait_until_gone, watched,
};

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const HOUR: Duration = Duration::from_secs(3600);

/// Returns a pool of one thread, whose job waits until the sender is dropped or sends, and that sender.
fn held_pool() -> (ThreadPoolExecutor, mpsc::Sender<()>) {
    let pool = ThreadPoolExecutor::builder().max_workers(1).build();
    let (release, held) = mpsc::channel();
    let begun = Arc::new(Barrier::new(2));
    let started = Arc::clone(&begun);
    struct Detached(Mutex<mpsc::Receiver<()>>, Arc<Barrier>);
    let job = Detached(Mutex::new(held), started);
    let event_loop = EventLoop::new().unwrap();
    let future = event_loop.run_in_executor(Some(&pool), move || {
        let job = job;
        job.1.wait();
        let _ = job.0.lock().unwrap().recv();
    });
    begun.wait();
    // Running: its result is dropped.
    drop(future);
    (pool, release)
}

/// Shuts a pool down and waits for its threads, so that the audit finds none.
fn end(pool: &ThreadPoolExecutor) {
    pool.shutdown();
    pool.join(20 * SECOND).unwrap();
    assert_eq!((pool.workers(), pool.jobs()), (0, 0));
}

/// Shuts the loop's own pool down.
pub(crate) fn end_default(event_loop: &EventLoop) {
    complete(
        event_loop,
        event_loop.shutdown_default_executor(20 * SECOND),
    )
    .unwrap();
}

#[test]
fn a_job_runs_on_another_thread_and_its_result_comes_back_to_the_loop_s() {
    on_real_time(|_, event_loop| {
        let home = thread::current().id();
        let id: ThreadId = complete(&event_loop, async move {
            let id = to_thread(|| thread::current().id()).await.unwrap();
            assert_eq!(thread::current().id(), home);
            id
        });
        assert_ne!(id, home);
        end_default(&event_loop);
    });
}

#[test]
fn a_job_and_the_loop_go_on_side_by_side() {
    on_real_time(|_, event_loop| {
        let (send, receive) = mpsc::channel();
        complete(&event_loop, async move {
            // The job ends only because the loop goes on meanwhile.
            let job = create_task(to_thread(move || receive.recv().unwrap()));
            sleep(Duration::from_millis(1)).await;
            assert!(!job.done());
            send.send(7).unwrap();
            assert_eq!(job.await.unwrap().unwrap(), 7);
        });
        end_default(&event_loop);
    });
}

#[test]
fn run_in_executor_begins_at_once_and_to_thread_when_it_is_awaited() {
    audited(watched(|| {
        let trace = SharedTrace::new();
        let event_loop = real_loop(&Trace::new());
        let pool = ThreadPoolExecutor::new();
        event_loop.set_default_executor(pool.clone());
        let eager = event_loop.run_in_executor(None, trace.note("eager"));
        let lazy = to_thread(trace.note("lazy"));
        pool.join(20 * SECOND).unwrap();
        trace.expect(["eager"]);
        complete(&event_loop, async move {
            lazy.await.unwrap();
            eager.await.unwrap();
        });
        trace.expect(["lazy"]);
        end_default(&event_loop);
    }));
}

#[test]
fn a_thread_that_is_idle_is_used_again_and_a_new_one_made_where_none_is() {
    on_real_time(|_, event_loop| {
        let pool = ThreadPoolExecutor::builder().max_workers(3).build();
        assert_eq!(pool.workers(), 0);
        let p = pool.clone();
        complete(&event_loop, async move {
            for _ in 0..20 {
                run_in_executor(Some(&p), || ()).await.unwrap();
                // A thread says that its job is over as it goes to sleep, and not before.
                p.join(20 * SECOND).unwrap();
            }
            assert_eq!(p.workers(), 1);
            // All at once, which needs all.
            let meet = Arc::new(Barrier::new(3));
            let jobs: Vec<_> = (0..3)
                .map(|_| {
                    let meet = Arc::clone(&meet);
                    run_in_executor(Some(&p), move || meet.wait().is_leader())
                })
                .collect();
            for job in jobs {
                job.await.unwrap();
            }
            assert_eq!(p.workers(), 3);
        });
        end(&pool);
    });
}

#[test]
fn there_are_never_more_threads_than_allowed_and_jobs_begin_in_their_order() {
    on_real_time(|_, event_loop| {
        let (pool, release) = held_pool();
        let trace = SharedTrace::new();
        let jobs: Vec<_> = (0..5)
            .map(|number| event_loop.run_in_executor(Some(&pool), trace.note(number)))
            .collect();
        assert_eq!((pool.workers(), pool.jobs()), (1, 6));
        trace.expect([]);
        drop(release);
        complete(&event_loop, async move {
            for job in jobs {
                job.await.unwrap();
            }
        });
        trace.expect(["0", "1", "2", "3", "4"]);
        assert_eq!(pool.workers(), 1);
        end(&pool);
    });
}

#[test]
fn a_job_whose_future_is_dropped_before_it_begins_never_runs() {
    on_real_time(|_, event_loop| {
        let (pool, release) = held_pool();
        let probe = Arc::new(());
        let captured = Arc::clone(&probe);
        let job = event_loop.run_in_executor(Some(&pool), move || {
            drop(captured);
            unreachable!("it was taken back");
        });
        assert_eq!(pool.jobs(), 2);
        drop(job);
        // Its captures are gone at once, and its place in the queue.
        assert_eq!(Arc::strong_count(&probe), 1);
        assert_eq!(pool.jobs(), 1);
        drop(release);
        end(&pool);
    });
}

#[test]
fn a_task_that_is_cancelled_takes_its_job_back() {
    on_real_time(|_, event_loop| {
        let (pool, release) = held_pool();
        event_loop.set_default_executor(pool.clone());
        complete(&event_loop, async {
            let task = create_task(to_thread(|| unreachable!("it was taken back")));
            yield_now().await;
            task.cancel();
            task.await.unwrap_err();
        });
        assert_eq!(pool.jobs(), 1);
        drop(release);
        end_default(&event_loop);
    });
}

#[test]
fn cancel_takes_back_what_has_not_begun_and_nothing_else() {
    on_real_time(|_, event_loop| {
        let (pool, release) = held_pool();
        let queued = event_loop.run_in_executor(Some(&pool), || unreachable!("it was taken back"));
        assert!(queued.cancel());
        assert!(!queued.cancel() && queued.done());
        let result = complete(&event_loop, queued);
        assert!(matches!(result, Err(ExecutorError::Cancelled)));
        let begun = Arc::new(Barrier::new(2));
        let begins = Arc::clone(&begun);
        let running = event_loop.run_in_executor(Some(&pool), move || begins.wait().is_leader());
        drop(release);
        begun.wait();
        assert!(!running.cancel());
        complete(&event_loop, running).unwrap();
        end(&pool);
    });
}

#[test]
fn an_awaiter_is_woken_when_its_job_is_cancelled() {
    on_real_time(|_, event_loop| {
        let (pool, release) = held_pool();
        let job = event_loop.run_in_executor(Some(&pool), || ());
        let job = std::cell::RefCell::new(job);
        let mut waiting = Waiting::begun(std::future::poll_fn(|context| {
            std::pin::Pin::new(&mut *job.borrow_mut()).poll(context)
        }));
        assert!(job.borrow().cancel());
        assert!(waiting.is_woken());
        assert!(matches!(
            waiting.poll(),
            Some(Err(ExecutorError::Cancelled))
        ));
        // And what was read is not there a second time.
        assert!(matches!(waiting.poll(), Some(Err(ExecutorError::Taken))));
        drop(release);
        end(&pool);
    });
}

#[test]
fn the_result_of_a_job_that_nobody_wants_is_dropped_quietly() {
    on_real_time(|trace, event_loop| {
        let pool = ThreadPoolExecutor::new();
        for panics in [false, true] {
            let (release, held) = mpsc::channel::<()>();
            let begun = Arc::new(Barrier::new(2));
            let begins = Arc::clone(&begun);
            let result = Arc::new(());
            let value = Arc::clone(&result);
            let job = event_loop.run_in_executor(Some(&pool), move || {
                begins.wait();
                let _ = held.recv();
                assert!(!panics, "on purpose");
                value
            });
            begun.wait();
            drop(job);
            drop(release);
            pool.join(20 * SECOND).unwrap();
            assert_eq!(Arc::strong_count(&result), 1);
        }
        one_turn(&event_loop);
        trace.expect([]);
        end(&pool);
    });
}

#[test]
fn a_panic_is_the_awaiter_s_and_the_thread_goes_on() {
    on_real_time(|trace, event_loop| {
        let pool = ThreadPoolExecutor::builder().max_workers(1).build();
        let p = pool.clone();
        complete(&event_loop, async move {
            let error = run_in_executor::<()>(Some(&p), || panic!("on purpose: a job")).await;
            let error: ExecutorError = error.unwrap_err();
            assert!(
                matches!(&error, ExecutorError::Panicked(panicked) if panicked.message() == "on purpose: a job")
            );
            let name = || thread::current().name().map(str::to_owned);
            let name = run_in_executor(Some(&p), name).await.unwrap();
            assert_eq!(name.as_deref(), Some("callsoon_0"));
        });
        trace.expect([]);
        end(&pool);
    });
}

#[test]
fn a_panic_that_nobody_reads_although_it_was_there_is_reported() {
    on_real_time(|trace, event_loop| {
        let pool = ThreadPoolExecutor::new();
        let p = pool.clone();
        complete(&event_loop, async move {
            let job = run_in_executor(Some(&p), || panic!("on purpose"));
            p.join(20 * SECOND).unwrap();
            assert!(job.done());
        });
        trace.expect(["report: Exception of a job was never retrieved (on purpose)"]);
        end(&pool);
    });
}

#[test]
fn captures_and_results_whose_destructors_panic_do_no_harm() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("on purpose: a destructor");
        }
    }
    on_real_time(|_, event_loop| {
        let (pool, release) = held_pool();
        let bomb = Bomb;
        let capture = event_loop.run_in_executor(Some(&pool), move || {
            let _bomb = bomb;
        });
        drop(capture);
        let begun = Arc::new(Barrier::new(2));
        let begins = Arc::clone(&begun);
        let (finish, held) = mpsc::channel::<()>();
        let result = event_loop.run_in_executor(Some(&pool), move || {
            begins.wait();
            let _ = held.recv();
            Bomb
        });
        drop(release);
        begun.wait();
        drop(result);
        drop(finish);
        assert!(complete(&event_loop, event_loop.run_in_executor(Some(&pool), || 7)).is_ok());
        end(&pool);
    });
}

#[test]
fn any_runtime_may_await_a_job() {
    on_real_time(|_, event_loop| {
        let pool = ThreadPoolExecutor::new();
        let job = event_loop.run_in_executor(Some(&pool), || 7);
        drop(event_loop);
        let elsewhere = thread::spawn(|| futures_lite::future::block_on(job).unwrap());
        assert_eq!(elsewhere.join().unwrap(), 7);
        // On another loop of this thread.
        let other = real_loop(&Trace::new());
        let job = other.run_in_executor(Some(&pool), || 8);
        let third = real_loop(&Trace::new());
        assert_eq!(complete(&third, job).unwrap(), 8);
        end(&pool);
    });
}

#[test]
fn the_newest_waker_is_the_one_that_is_woken() {
    on_real_time(|_, event_loop| {
        let (pool, release) = held_pool();
        let mut waiting = Waiting::begun(event_loop.run_in_executor(Some(&pool), || 1));
        let (newest, waker) = CountingWaker::new();
        assert!(waiting.poll_with(&waker).is_none());
        drop(release);
        pool.join(20 * SECOND).unwrap();
        assert!(!waiting.is_woken());
        assert_eq!(newest.wakes(), 1);
        assert_eq!(waiting.poll().unwrap().unwrap(), 1);
        end(&pool);
    });
}

#[test]
fn any_pool_can_be_an_executor() {
    /// Keeps jobs until it is asked, and then runs or drops them.
    #[derive(Default)]
    struct Later(Mutex<Vec<Job>>);
    impl Executor for Later {
        fn execute(&self, job: Job) -> Result<(), ExecutorError> {
            let mut jobs = self.0.lock().unwrap();
            if jobs.len() == 3 {
                return Err(ExecutorError::ShutDown);
            }
            jobs.push(job);
            Ok(())
        }
    }
    on_real_time(|_, event_loop| {
        let later = Later::default();
        let ran = event_loop.run_in_executor(Some(&later), || 1);
        let dropped = event_loop.run_in_executor(Some(&later), || 2);
        let unwanted = event_loop.run_in_executor(Some(&later), || unreachable!("taken back"));
        let refused = event_loop.run_in_executor(Some(&later), || 4);
        drop(unwanted);
        let wanted: Vec<_> = {
            let jobs = later.0.lock().unwrap();
            jobs.iter().map(Job::is_wanted).collect()
        };
        assert_eq!(wanted, [true, true, false]);
        let mut jobs = later.0.into_inner().unwrap();
        jobs.pop().unwrap().run();
        drop(jobs.pop());
        jobs.pop().unwrap().run();
        complete(&event_loop, async move {
            assert_eq!(ran.await.unwrap(), 1);
            assert!(matches!(dropped.await, Err(ExecutorError::Cancelled)));
            assert!(matches!(refused.await, Err(ExecutorError::ShutDown)));
        });
    });
}

#[test]
fn context_variables_do_not_cross() {
    static USER: ContextVar<&str> = ContextVar::with_default("user", || "-");
    on_real_time(|_, event_loop| {
        complete(&event_loop, async {
            USER.set("ann");
            assert_eq!(to_thread(|| USER.get()).await.unwrap(), Some("-"));
            assert_eq!(USER.get(), Some("ann"));
        });
        end_default(&event_loop);
    });
}

#[test]
fn an_initializer_runs_first_on_each_thread_and_its_panic_breaks_the_pool() {
    on_real_time(|_, event_loop| {
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        let pool = ThreadPoolExecutor::builder()
            .max_workers(2)
            .initializer(move || {
                counted.fetch_add(1, Ordering::SeqCst);
            })
            .build();
        let meet = Arc::new(Barrier::new(2));
        let jobs = [(); 2].map(|()| {
            let meet = Arc::clone(&meet);
            event_loop.run_in_executor(Some(&pool), move || meet.wait().is_leader())
        });
        complete(&event_loop, async move {
            for job in jobs {
                job.await.unwrap();
            }
        });
        assert_eq!(count.load(Ordering::SeqCst), 2);
        end(&pool);
        let broken = ThreadPoolExecutor::builder()
            .initializer(|| panic!("on purpose"))
            .build();
        for _ in 0..2 {
            let job = event_loop.run_in_executor(Some(&broken), || ());
            let result = complete(&event_loop, job);
            assert!(matches!(result, Err(ExecutorError::Broken)), "{result:?}");
        }
        end(&broken);
    });
}

#[test]
fn a_set_default_executor_is_used_and_the_former_one_finishes_its_jobs() {
    on_real_time(|_, event_loop| {
        let named = |prefix| {
            ThreadPoolExecutor::builder()
                .thread_name_prefix(prefix)
                .build()
        };
        let pools = [named("first"), named("second")];
        let name = || thread::current().name().map(str::to_owned);
        event_loop.set_default_executor(pools[0].clone());
        let first = event_loop.run_in_executor(None, name);
        event_loop.set_default_executor(pools[1].clone());
        let second = event_loop.run_in_executor(None, name);
        complete(&event_loop, async move {
            assert_eq!(first.await.unwrap().as_deref(), Some("first_0"));
            assert_eq!(second.await.unwrap().as_deref(), Some("second_0"));
        });
        pools.iter().for_each(end);
    });
}

#[test]
fn a_pool_that_is_dropped_finishes_its_jobs() {
    on_real_time(|_, event_loop| {
        let (pool, release) = held_pool();
        let job = event_loop.run_in_executor(Some(&pool), || 7);
        drop(pool);
        drop(release);
        assert_eq!(complete(&event_loop, job).unwrap(), 7);
        wait_until_gone("callsoon_");
    });
}

#[test]
fn a_job_may_submit_further_jobs() {
    on_real_time(|_, event_loop| {
        let pool = ThreadPoolExecutor::builder().max_workers(1).build();
        let (inner, remote) = (pool.clone(), event_loop.remote());
        let (send, receive) = mpsc::channel();
        let outer = event_loop.run_in_executor(Some(&pool), move || {
            // Jobs are made by loops, and this one asks its own for another.
            remote
                .call_soon_threadsafe(move || {
                    let job = run_in_executor(Some(&inner), || 7);
                    create_task(async move { send.send(job.await.unwrap()).unwrap() }).detach();
                })
                .unwrap();
        });
        complete(&event_loop, async move {
            outer.await.unwrap();
            while receive.try_recv().is_err() {
                sleep(Duration::from_millis(1)).await;
            }
        });
        end(&pool);
    });
}
