//! A program of its own, without the test harness: workers are this program again, so `main` begins with the worker's
//! part.
//!
//! It knows the arguments of the harness that test runners need: names to choose tests by, and `--list`.

#![allow(unsafe_code)] // waitid and kill

#[expect(dead_code, unused_imports, reason = "a part of it is needed here")]
#[path = "it/support/mod.rs"]
mod support;

mod own {
    pub(crate) mod arguments;
    pub(crate) mod children;
}

use std::future::Future;
use std::io::Read as _;
use std::net::{Ipv4Addr, TcpListener as StdListener, TcpStream as StdStream};
use std::num::NonZero;
use std::os::unix::process::ExitStatusExt;
use std::thread;
use std::time::Duration;

use callsoon::net::{TcpListener, TcpStream};
use callsoon::process_pool::{Function, ProcessPoolError, ProcessPoolExecutor, worker};
use callsoon::{create_task, sleep, yield_now};
use futures_lite::future::or;

use own::arguments::is_asked_for;
use own::children::{has_children, tested};
use support::{
    Trace, Waiting, complete, loopback, poll_once, real_loop, rounds_alone, thread_id,
    virtual_loop, wait_until_asleep,
};

static ADD: Function<(u64, u64), u64> = Function::new("add", |(a, b)| a + b);
static PID: Function<(), u32> = Function::new("pid", |()| std::process::id());
static PANIC: Function<String, ()> = Function::new("panic", |text| {
    std::panic::set_hook(Box::new(|_| ()));
    panic!("{text}");
});
static ABORT: Function<(), ()> = Function::new("abort", |()| std::process::abort());
static EXIT: Function<i32, ()> = Function::new("exit", |code| std::process::exit(code));
/// Connects to a port, and goes on when the connection is closed.
static HOLD: Function<u16, ()> = Function::new("hold", |port| {
    let mut held = StdStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    assert_eq!(held.read(&mut [0]).unwrap(), 0);
});
static REVERSE: Function<Vec<u8>, Vec<u8>> =
    Function::new("reverse", |bytes| bytes.into_iter().rev().collect());
static READ_STDIN: Function<(), String> = Function::new("read_stdin", |()| {
    std::io::read_to_string(std::io::stdin()).unwrap()
});
static SUICIDE: Function<(), ()> = Function::new("suicide", |()| {
    // SAFETY: the call takes numbers, of which one is this process's own.
    unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
});
/// Leaves a process behind that holds whatever this one had open.
static GRANDCHILD: Function<(), u32> = Function::new("grandchild", |()| {
    let mut sleep = std::process::Command::new("sleep");
    sleep.arg("1000").spawn().unwrap().id()
});
/// Text travels in one piece, where a list is written and read element by element.
static ECHO: Function<String, String> = Function::new("echo", |text| text);
/// The worker writes what is no text, and the program cannot read it.
static GARBLED: Function<(), Garbled> = Function::new("garbled", |()| Garbled);
static NESTED: Function<(), String> = Function::new("nested", |()| {
    let inner = callsoon::run(async { pool_of(1).run(&ADD, (1, 2)).await });
    inner.unwrap().unwrap_err().to_string()
});
/// What serde refuses to write.
static REFUSED: Function<(), Refused> = Function::new("refused", |()| Refused);
static ABSENT: Function<(), ()> = Function::new("absent", |()| ());

struct Refused;

impl serde::Serialize for Refused {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("no"))
    }
}

impl<'de> serde::Deserialize<'de> for Refused {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("no"))
    }
}

#[derive(Debug)]
struct Garbled;

impl serde::Serialize for Garbled {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&[0xff, 0xfe])
    }
}

impl<'de> serde::Deserialize<'de> for Garbled {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|_| Self)
    }
}

type Test = (&'static str, fn());

const TESTS: [Test; 19] = [
    ("results_come_back_and_workers_are_used_again", results),
    ("as_many_jobs_run_at_once_as_there_are_workers", at_once),
    ("megabytes_travel_both_ways", megabytes),
    ("a_panic_is_an_error_and_the_worker_lives", panics),
    ("a_worker_that_dies_fails_its_job_and_is_replaced", deaths),
    (
        "a_worker_that_died_while_idle_is_nobody_s_error",
        idle_death,
    ),
    ("a_dropped_job_kills_its_worker", dropped),
    ("max_tasks_per_child_replaces_workers", max_tasks),
    ("a_shutdown_waits_for_jobs_and_refuses_others", shutdown),
    ("what_cannot_travel_is_an_error", refusals),
    ("a_loop_that_closes_leaves_no_worker", closing),
    (
        "sixty_four_megabytes_travel_both_ways",
        sixty_four_megabytes,
    ),
    ("what_a_job_leaves_behind_holds_up_nobody", left_behind),
    ("a_pool_outlives_its_loop_and_its_workers_do_not", two_loops),
    ("any_number_of_shutdowns_end", shutdowns),
    (
        "a_second_shutdown_waits_for_the_workers_that_the_first_has_given_up",
        given_up,
    ),
    ("a_shutdown_waits_for_workers_that_were_replaced", replaced),
    ("jobs_that_are_dropped_at_every_moment_leave_nothing", drops),
    ("a_worker_that_somebody_else_has_reaped_is_replaced", stolen),
];

fn main() {
    if std::env::var_os("UNREGISTERED").is_some() {
        return unregistered();
    }
    worker(&[
        &ADD,
        &PID,
        &PANIC,
        &ABORT,
        &EXIT,
        &HOLD,
        &REVERSE,
        &READ_STDIN,
        &REFUSED,
        &SUICIDE,
        &GRANDCHILD,
        &GARBLED,
        &NESTED,
        &ECHO,
    ]);
    for (name, test) in TESTS {
        if !is_asked_for(name) {
            continue;
        }
        tested(test);
        println!("test {name} ... ok");
    }
}

async fn until_no_worker_is_left() {
    while has_children() {
        sleep(Duration::from_millis(1)).await;
    }
}

fn pool_of(workers: usize) -> ProcessPoolExecutor {
    ProcessPoolExecutor::builder().max_workers(workers).build()
}

/// A listener to which each held job connects.
struct HeldJobs(TcpListener);

impl HeldJobs {
    async fn new() -> Self {
        Self(TcpListener::bind(loopback()).await.unwrap())
    }

    /// Runs a job that lasts until it is released.
    fn hold(
        &self,
        pool: &ProcessPoolExecutor,
    ) -> impl Future<Output = Result<(), ProcessPoolError>> + use<> {
        let (pool, port) = (pool.clone(), self.0.local_addr().unwrap().port());
        async move { pool.run(&HOLD, port).await }
    }

    /// Waits until one of them runs. Dropping the returned stream releases the job.
    async fn accept(&self) -> TcpStream {
        self.0.accept().await.unwrap().0
    }
}

fn on_a_loop(test: impl AsyncFnOnce()) {
    let trace = Trace::new();
    let event_loop = real_loop(&trace);
    complete(&event_loop, test());
    assert_eq!(trace.take(), [""; 0]);
}

fn results() {
    on_a_loop(async || {
        let pool = pool_of(2);
        for n in 0..20 {
            assert_eq!(pool.run(&ADD, (n, 1)).await.unwrap(), n + 1);
        }
        assert_eq!(pool.started(), 1);
        assert_ne!(pool.run(&PID, ()).await.unwrap(), std::process::id());
        assert_eq!(
            pool.run(&READ_STDIN, ()).await.unwrap(),
            "",
            "the jobs do not come there"
        );
        drop(pool);
        until_no_worker_is_left().await;
    });
    let listener = StdListener::bind(loopback()).unwrap();
    let (port, sleeper) = (listener.local_addr().unwrap().port(), thread_id());
    let releasing = thread::spawn(move || {
        let held = listener.accept().unwrap();
        // So long that a clock which may jump would have jumped.
        wait_until_asleep(sleeper);
        drop(held);
    });
    let event_loop = virtual_loop(&Trace::new());
    event_loop
        .run_until_complete(async {
            let hour = create_task(sleep(Duration::from_secs(3600)));
            let pool = pool_of(1);
            pool.run(&HOLD, port).await.unwrap();
            assert!(!hour.done(), "the clock does not jump");
            pool.shutdown().await;
        })
        .unwrap();
    releasing.join().unwrap();
}

fn at_once() {
    on_a_loop(async || {
        let (held_jobs, pool) = (HeldJobs::new().await, pool_of(3));
        let jobs: Vec<_> = (0..6)
            .map(|_| {
                let (held, pool) = (held_jobs.hold(&pool), pool.clone());
                create_task(async move {
                    held.await?;
                    pool.run(&PID, ()).await
                })
            })
            .collect();
        for _ in 0..2 {
            let mut at_once = Vec::new();
            for _ in 0..3 {
                at_once.push(held_jobs.accept().await);
            }
        }
        for job in jobs {
            job.await.unwrap().unwrap();
        }
        assert_eq!(pool.started(), 3);
        pool.shutdown().await;
    });
}

fn megabytes() {
    on_a_loop(async || {
        let pool = pool_of(1);
        let bytes: Vec<u8> = (0..5_000_000).map(|n| (n % 251) as u8).collect();
        let mut reversed = pool.run(&REVERSE, bytes.clone()).await.unwrap();
        reversed.reverse();
        assert!(reversed == bytes);
        pool.shutdown().await;
    });
}

fn panics() {
    on_a_loop(async || {
        let pool = pool_of(1);
        let before = pool.run(&PID, ()).await.unwrap();
        let error = pool
            .run(&PANIC, "out of paper".to_owned())
            .await
            .unwrap_err();
        assert_eq!(error.to_string(), "the job panic panicked: out of paper");
        assert_eq!(pool.run(&PID, ()).await.unwrap(), before);
        pool.shutdown().await;
    });
}

fn deaths() {
    on_a_loop(async || {
        let (held_jobs, pool) = (HeldJobs::new().await, pool_of(2));
        let quiet = create_task(held_jobs.hold(&pool));
        let held = held_jobs.accept().await;
        let Err(ProcessPoolError::WorkerDied { status, .. }) = pool.run(&ABORT, ()).await else {
            panic!("an abort is a death")
        };
        assert_eq!(status.signal(), Some(libc::SIGABRT));
        let Err(ProcessPoolError::WorkerDied { status, .. }) = pool.run(&EXIT, 7).await else {
            panic!("an exit is a death")
        };
        assert_eq!(status.code(), Some(7));
        let Err(ProcessPoolError::WorkerDied { status, .. }) = pool.run(&SUICIDE, ()).await else {
            panic!("being killed is a death")
        };
        assert_eq!(status.signal(), Some(libc::SIGKILL));
        assert_eq!(pool.run(&ADD, (1, 2)).await.unwrap(), 3);
        drop(held);
        quiet.await.unwrap().unwrap();
        pool.shutdown().await;
    });
}

fn idle_death() {
    on_a_loop(async || {
        let pool = pool_of(1);
        let worker = pool.run(&PID, ()).await.unwrap();
        // SAFETY: the call takes numbers; the worker is this process's child, and was not reaped.
        assert_eq!(unsafe { libc::kill(worker as i32, libc::SIGKILL) }, 0);
        until_a_zombie();
        let next = pool.run(&PID, ()).await.unwrap();
        assert_ne!(next, worker);
        pool.shutdown().await;
    });
}

/// Blocks until a child has exited, without reaping it.
fn until_a_zombie() {
    // SAFETY: all zeros is a valid siginfo; the call writes to it and otherwise takes numbers.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let options = libc::WEXITED | libc::WNOWAIT;
        assert_eq!(libc::waitid(libc::P_ALL, 0, &mut info, options), 0);
    }
}

fn dropped() {
    on_a_loop(async || {
        let (held_jobs, pool) = (HeldJobs::new().await, pool_of(1));
        let waits = {
            let pool = pool.clone();
            create_task(async move { pool.run(&ADD, (1, 2)).await })
        };
        waits.cancel();
        let ends = async {
            held_jobs.hold(&pool).await.unwrap();
            unreachable!("nobody lets it go");
        };
        let held = or(ends, held_jobs.accept()).await;
        until_no_worker_is_left().await;
        assert_eq!(pool.run(&ADD, (1, 2)).await.unwrap(), 3);
        // Only now would the job have ended by itself.
        drop(held);
        assert_eq!(
            pool.started(),
            2,
            "what was cancelled before its turn has started none"
        );
        pool.shutdown().await;
    });
}

fn max_tasks() {
    on_a_loop(async || {
        let two = NonZero::new(2).unwrap();
        let pool = ProcessPoolExecutor::builder()
            .max_workers(1)
            .max_tasks_per_child(two)
            .build();
        let mut pids = Vec::new();
        for _ in 0..6 {
            pids.push(pool.run(&PID, ()).await.unwrap());
        }
        assert!(
            pids[0] == pids[1] && pids[1] != pids[2] && pids[2] == pids[3] && pids[4] == pids[5]
        );
        assert_eq!(pool.started(), 3);
        pool.shutdown().await;
        until_no_worker_is_left().await;
    });
}

fn shutdown() {
    on_a_loop(async || {
        let (held_jobs, pool) = (HeldJobs::new().await, pool_of(1));
        let jobs = [(); 2].map(|()| create_task(held_jobs.hold(&pool)));
        let held = held_jobs.accept().await;
        let mut ending = Waiting::begun(pool.shutdown());
        assert!(!jobs[0].done());
        drop(held);
        while ending.poll().is_none() {
            yield_now().await;
        }
        assert!(!has_children());
        let mut ends = Vec::new();
        for job in jobs {
            ends.push(job.await.unwrap());
        }
        assert!(ends[0].is_ok());
        assert!(matches!(ends[1], Err(ProcessPoolError::ShutDown)));
        let late = pool.run(&ADD, (1, 2)).await;
        assert!(matches!(late, Err(ProcessPoolError::ShutDown)));
    });
}

fn refusals() {
    on_a_loop(async || {
        let pool = pool_of(1);
        let unknown = pool.run(&ABSENT, ()).await;
        assert!(matches!(
            unknown,
            Err(ProcessPoolError::UnknownFunction("absent"))
        ));
        assert_eq!(pool.started(), 0);
        let unreadable = pool.run(&GARBLED, ()).await.unwrap_err().to_string();
        assert!(unreadable.starts_with("the result of garbled: "));
        let nested = pool.run(&NESTED, ()).await.unwrap();
        assert!(nested.contains("has not called process_pool::worker"));
        let unwritable = pool.run(&REFUSED, ()).await;
        assert!(matches!(unwritable, Err(ProcessPoolError::Codec(_))));
        assert_eq!(pool.run(&ADD, (1, 2)).await.unwrap(), 3);
        pool.shutdown().await;
    });
    // A program that has not called `worker` must not start itself again and again.
    let this = std::env::current_exe().unwrap();
    let status = std::process::Command::new(this)
        .env("UNREGISTERED", "1")
        .status();
    assert!(status.unwrap().success());
}

/// What happens to a program that forgets the call in `main`.
fn unregistered() {
    on_a_loop(async || {
        let refused = pool_of(1).run(&ADD, (1, 2)).await;
        assert!(matches!(refused, Err(ProcessPoolError::NoWorkerEntry)));
        let pool = pool_of(1);
        let runs = async || drop(pool.run(&ADD, (1, 2)).await.unwrap_err());
        assert_eq!(rounds_alone(runs).await, Some(128));
        assert!(!has_children());
    });
}

fn closing() {
    let event_loop = real_loop(&Trace::new());
    let pool = pool_of(2);
    let held = complete(&event_loop, async {
        let held_jobs = HeldJobs::new().await;
        create_task(held_jobs.hold(&pool)).detach();
        assert_eq!(pool.run(&ADD, (1, 2)).await.unwrap(), 3);
        held_jobs.accept().await
    });
    event_loop.close().unwrap();
    drop((pool, held));
}

fn sixty_four_megabytes() {
    on_a_loop(async || {
        let pool = pool_of(1);
        let text = "0123456789abcdef".repeat(4 << 20);
        assert!(pool.run(&ECHO, text.clone()).await.unwrap() == text);
        pool.shutdown().await;
    });
}

fn left_behind() {
    on_a_loop(async || {
        let pool = pool_of(1);
        let grandchild = pool.run(&GRANDCHILD, ()).await.unwrap();
        // Neither the next job, nor a death, nor the end waits for it.
        assert_eq!(pool.run(&ADD, (1, 2)).await.unwrap(), 3);
        assert!(pool.run(&ABORT, ()).await.is_err());
        let other = pool.run(&GRANDCHILD, ()).await.unwrap();
        pool.shutdown().await;
        for orphan in [grandchild, other] {
            // SAFETY: the call takes numbers; the process was started by this test and lives for a thousand seconds.
            assert_eq!(unsafe { libc::kill(orphan as i32, libc::SIGKILL) }, 0);
        }
    });
}

fn two_loops() {
    let pool = pool_of(2);
    let first = real_loop(&Trace::new());
    complete(&first, pool.run(&ADD, (1, 2))).unwrap();
    // The first loop does not run, and could not receive its worker's answer.
    let second = real_loop(&Trace::new());
    assert_eq!(complete(&second, pool.run(&ADD, (3, 4))).unwrap(), 7);
    second.close().unwrap();
    assert_eq!(complete(&first, pool.run(&ADD, (5, 6))).unwrap(), 11);
    complete(&first, pool.shutdown());
    complete(&first, until_no_worker_is_left());
    let late = complete(&first, pool.run(&ADD, (1, 2)));
    assert!(matches!(late, Err(ProcessPoolError::ShutDown)));
}

fn shutdowns() {
    on_a_loop(async || {
        let (held_jobs, pool) = (HeldJobs::new().await, pool_of(2));
        let jobs = [(); 2].map(|()| create_task(held_jobs.hold(&pool)));
        let held = [held_jobs.accept().await, held_jobs.accept().await];
        let ends: Vec<_> = (0..5)
            .map(|_| {
                let pool = pool.clone();
                create_task(async move { pool.shutdown().await })
            })
            .collect();
        yield_now().await;
        ends[0].cancel();
        drop(held);
        for end in ends.into_iter().skip(1) {
            end.await.unwrap();
        }
        for job in jobs {
            job.await.unwrap().unwrap();
        }
        assert!(!has_children());
    });
}

fn given_up() {
    on_a_loop(async || {
        let pool = pool_of(2);
        let jobs = [(); 2].map(|()| pool.run(&ADD, (1, 2)));
        for job in jobs {
            assert_eq!(job.await.unwrap(), 3);
        }
        // Its workers have hardly ended when it is dropped.
        let _ = poll_once(&mut Box::pin(pool.shutdown())).await;
        pool.shutdown().await;
        assert!(!has_children());
    });
}

fn replaced() {
    on_a_loop(async || {
        let one = NonZero::new(1).unwrap();
        let pool = ProcessPoolExecutor::builder()
            .max_workers(1)
            .max_tasks_per_child(one)
            .build();
        for _ in 0..3 {
            assert_eq!(pool.run(&ADD, (1, 2)).await.unwrap(), 3);
        }
        assert_eq!(pool.started(), 3);
        pool.shutdown().await;
        assert!(!has_children());
    });
}

fn drops() {
    on_a_loop(async || {
        let pool = pool_of(2);
        for turns in 0..40 {
            let jobs: Vec<_> = (0..3)
                .map(|_| {
                    let pool = pool.clone();
                    create_task(async move { pool.run(&REVERSE, vec![1; 300_000]).await })
                })
                .collect();
            for _ in 0..turns {
                callsoon::yield_now().await;
            }
            for job in &jobs {
                job.cancel();
            }
            for job in jobs {
                // Done or cancelled, but never the death of a worker.
                match job.await {
                    Ok(done) => assert_eq!(done.unwrap().len(), 300_000),
                    Err(error) => assert!(matches!(error, callsoon::TaskError::Cancelled(_))),
                }
            }
            assert_eq!(pool.run(&ADD, (turns, 1)).await.unwrap(), turns + 1);
        }
        pool.shutdown().await;
        until_no_worker_is_left().await;
    });
}

fn stolen() {
    on_a_loop(async || {
        let pool = pool_of(1);
        let worker = pool.run(&PID, ()).await.unwrap();
        let mut status = 0;
        // SAFETY: the calls take numbers and a pointer to a writable integer; the worker is this process's child.
        unsafe {
            assert_eq!(libc::kill(worker as i32, libc::SIGKILL), 0);
            let thief = libc::waitpid(worker as i32, &mut status, 0);
            assert_eq!(thief, worker as i32);
        }
        assert_ne!(pool.run(&PID, ()).await.unwrap(), worker);
        pool.shutdown().await;
    });
}
