//! A process of its own, because it forks, and what a fork copies is the whole process.
//!
//! Fault H9: a forked child that does not execute another program has a copy of its parent's loop,
//! whose poller and notifiers are not copies. Whatever it does with that loop is an error; a loop of its own works.

#![allow(unsafe_code)]

#[expect(dead_code, unused_imports, reason = "a part of it is needed here")]
#[path = "it/support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use callsoon::process::{Command, PIPE};
use callsoon::{
    EventLoop, ExecutorError, LoopHandle, ThreadFutureError, ThreadPoolExecutor, run_in_executor,
    sleep, to_thread,
};

use support::{Trace, audited, complete, real_loop, stream_and_peer, until, watched};

/// How long threads are waited for that end at once: what does not is a hang, and a watchdog's affair.
const LONG: Duration = Duration::from_secs(3600);

/// Forks; the child runs `child` and exits with 0 if it comes to its end, the parent waits for it.
#[track_caller]
fn in_a_forked_child(child: impl FnOnce()) {
    // SAFETY: the child does what the test says and leaves by `_exit`, so that it never returns into the harness. It
    // uses no lock that another thread may have held: the allocator's are taken care of by the C library, and no other
    // test runs meanwhile.
    let status = unsafe {
        match libc::fork() {
            0 => {
                let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child));
                libc::_exit(i32::from(done.is_err()))
            }
            pid => {
                assert!(pid > 0);
                let mut status = 0;
                assert_eq!(libc::waitpid(pid, &mut status, 0), pid);
                status
            }
        }
    };
    assert!(
        libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0,
        "the child failed: {status}"
    );
}

/// What every poller of this process watches, and what every notifier has counted.
fn pollers_and_notifiers() -> BTreeMap<String, Vec<String>> {
    let all = std::fs::read_dir("/proc/self/fdinfo").unwrap().flatten();
    let of_interest = all.filter_map(|entry| {
        let info = std::fs::read_to_string(entry.path()).ok()?;
        let mut lines: Vec<_> = info
            .lines()
            .filter(|line| line.starts_with("tfd:") || line.starts_with("eventfd-count:"))
            .map(str::to_owned)
            .collect();
        lines.sort();
        let name = entry.file_name().into_string().ok()?;
        (!lines.is_empty()).then_some((name, lines))
    });
    of_interest.collect()
}

/// Everything that might reach the parent's poller, or its notifier.
fn use_the_parents_loop(handle: &LoopHandle, pool: &ThreadPoolExecutor) {
    let remote = handle.remote();
    assert!(remote.is_closed());
    assert!(remote.call_soon_threadsafe(|| ()).is_err());
    assert!(remote.run_coroutine_threadsafe(|| async {}).is_err());
    assert!(handle.add_signal_handler(libc::SIGUSR1, || ()).is_err());
    let (near, _far) = std::os::unix::net::UnixStream::pair().unwrap();
    assert!(handle.add_reader(&near, || ()).is_err());
    assert!(handle.add_writer(&near, || ()).is_err());
    let mut command = Command::new("true").stdin(PIPE);
    assert!(command.spawn_on(handle).is_err());
    let std_command = &mut std::process::Command::new("true");
    assert!(handle.spawn_process(std_command).is_err());
    // The awaiters of these are polled by a loop of the child's own.
    let fresh = EventLoop::new().unwrap();
    let inherited = handle.run_in_executor(None, || ());
    let by_the_pool = fresh.run_in_executor(Some(pool), || ());
    let ends = complete(&fresh, async { (inherited.await, by_the_pool.await) });
    assert!(matches!(ends.0, Err(ExecutorError::ShutDown)), "{ends:?}");
    assert!(matches!(ends.1, Err(ExecutorError::ShutDown)), "{ends:?}");
    assert_eq!(pool.join(LONG), Ok(()));
}

/// A loop of the child's own, with threads, a child, a signal and sockets.
fn use_a_fresh_loop() {
    let fresh = real_loop(&Trace::new());
    complete(&fresh, async {
        sleep(Duration::from_millis(1)).await;
        assert_eq!(to_thread(|| 6 * 7).await.unwrap(), 42);
        let pool = ThreadPoolExecutor::builder().max_workers(1).build();
        assert_eq!(run_in_executor(Some(&pool), || 1).await.unwrap(), 1);
        let mut cat = Command::new("cat").stdin(PIPE).stdout(PIPE).await.unwrap();
        let output = cat.communicate(Some(b"hello")).await.unwrap();
        assert_eq!(output.stdout, b"hello");
        let (stream, mut peer) = stream_and_peer();
        stream.write_all(b"x").await.unwrap();
        peer.read_exact(&mut [0]).unwrap();
        let mut signal = callsoon::signal(libc::SIGUSR2).unwrap();
        // SAFETY: the call takes a number, and the signal is caught.
        unsafe { libc::raise(libc::SIGUSR2) };
        signal.recv().await.unwrap();
    });
}

#[test]
fn h9_a_forked_child_cannot_use_its_parents_loop_and_has_no_use_for_it() {
    audited(watched(|| {
        let event_loop = real_loop(&Trace::new());
        let pool = ThreadPoolExecutor::builder().max_workers(2).build();
        let (stream, mut peer) = complete(&event_loop, async { stream_and_peer() });
        complete(&event_loop, async {
            to_thread(|| ()).await.unwrap();
            run_in_executor(Some(&pool), || ()).await.unwrap();
        });
        let mut cat = Command::new("cat")
            .stdin(PIPE)
            .stdout(PIPE)
            .spawn_on(&event_loop)
            .unwrap();
        let before = pollers_and_notifiers();
        assert!(
            before
                .values()
                .flatten()
                .any(|line| line.starts_with("tfd:"))
        );
        let handle = event_loop.handle();
        in_a_forked_child(|| {
            use_the_parents_loop(&handle, &pool);
            use_a_fresh_loop();
        });
        assert_eq!(pollers_and_notifiers(), before);
        // And the parent's is as it was.
        complete(&event_loop, async {
            for _ in 0..1000 {
                peer.write_all(b"x").unwrap();
                stream.read_exact(&mut [0]).await.unwrap();
            }
            assert_eq!(run_in_executor(Some(&pool), || 7).await.unwrap(), 7);
            assert_eq!(to_thread(|| 8).await.unwrap(), 8);
            let output = cat.communicate(Some(b"still here")).await.unwrap();
            assert_eq!(output.stdout, b"still here");
        });
        pool.shutdown();
        pool.join(LONG).unwrap();
        let ended = event_loop.shutdown_default_executor(LONG);
        complete(&event_loop, ended).unwrap();
    }));
}

#[test]
fn h9_a_forked_child_that_drops_everything_takes_nothing_from_its_parent() {
    audited(watched(|| {
        let event_loop = real_loop(&Trace::new());
        let pool = ThreadPoolExecutor::builder().max_workers(1).build();
        let (stream, mut peer) = complete(&event_loop, async { stream_and_peer() });
        complete(&event_loop, run_in_executor_on(&pool));
        let mut cat = Command::new("cat")
            .stdin(PIPE)
            .stdout(PIPE)
            .spawn_on(&event_loop)
            .unwrap();
        let before = pollers_and_notifiers();
        in_a_forked_child(|| {
            // SAFETY: copies of the parent's values, in memory of the child's own, of which the originals are never
            // used or dropped here: the child leaves by `_exit`.
            unsafe {
                drop(std::ptr::read(&cat));
                drop(std::ptr::read(&stream));
                drop(std::ptr::read(&pool));
                drop(std::ptr::read(&event_loop));
            }
            use_a_fresh_loop();
        });
        assert_eq!(pollers_and_notifiers(), before);
        complete(&event_loop, async {
            peer.write_all(b"x").unwrap();
            stream.read_exact(&mut [0]).await.unwrap();
            let output = cat.communicate(Some(b"still here")).await.unwrap();
            assert_eq!(output.stdout, b"still here");
        });
        complete(&event_loop, run_in_executor_on(&pool));
        pool.shutdown();
        pool.join(LONG).unwrap();
    }));
}

#[test]
fn k5_what_was_under_way_at_a_fork_has_ended_in_the_child_and_goes_on_in_its_parent() {
    audited(watched(|| {
        let event_loop = real_loop(&Trace::new());
        let remote = event_loop.remote();
        let pool = ThreadPoolExecutor::builder().max_workers(1).build();
        let mut done = remote.run_coroutine_threadsafe(|| async { 6 }).unwrap();
        let (open, gate) = async_channel::bounded::<()>(1);
        let mut running = remote
            .run_coroutine_threadsafe(|| async move { gate.recv().await.unwrap() })
            .unwrap();
        let mut done_job = event_loop.run_in_executor(Some(&pool), || 7);
        complete(&event_loop, until(|| done.done() && done_job.done()));
        let mut queued = remote.run_coroutine_threadsafe(|| async { 8 }).unwrap();
        let (ready, go) = std::sync::mpsc::channel::<()>();
        let mut running_job = event_loop.run_in_executor(Some(&pool), move || go.recv().is_ok());
        let mut queued_job = event_loop.run_in_executor(Some(&pool), || 9);
        in_a_forked_child(|| {
            for future in [&running.clone(), &running] {
                assert!(future.done() && !future.cancelled() && !future.cancel());
                let ended = future.result(None);
                assert!(matches!(
                    ended,
                    Err(ThreadFutureError::LoopClosed | ThreadFutureError::Taken)
                ));
            }
            assert!(!queued.cancel());
            let (sender, receiver) = std::sync::mpsc::channel();
            queued.add_done_callback(move |_| sender.send(()).unwrap());
            receiver.recv().unwrap();
            assert_eq!(done.result(None).unwrap(), 6, "it was there before");
            assert_eq!((pool.workers(), pool.jobs()), (0, 0));
            assert!(format!("{pool:?}").contains("ThreadPoolExecutor"));
            assert!(running_job.done() && !queued_job.cancel());
            let fresh = EventLoop::new().unwrap();
            complete(&fresh, async {
                let ended = (&mut queued).await;
                assert!(matches!(ended, Err(ThreadFutureError::LoopClosed)));
                let shut = (&mut running_job).await;
                assert!(matches!(shut, Err(ExecutorError::ShutDown)));
                let shut = (&mut queued_job).await;
                assert!(matches!(shut, Err(ExecutorError::ShutDown)));
                assert_eq!((&mut done_job).await.unwrap(), 7, "it was there before");
            });
        });
        ready.send(()).unwrap();
        open.send_blocking(()).unwrap();
        complete(&event_loop, async {
            (&mut running).await.unwrap();
            assert_eq!((&mut queued).await.unwrap(), 8);
            assert_eq!((&mut done).await.unwrap(), 6);
            assert!((&mut running_job).await.unwrap());
            assert_eq!((&mut queued_job).await.unwrap(), 9);
            assert_eq!((&mut done_job).await.unwrap(), 7);
        });
        pool.shutdown();
        pool.join(LONG).unwrap();
    }));
}

/// Forks while other threads do what `busy` says, which takes locks, and has each child do the same.
fn forked_in_the_midst_of(busy: fn()) {
    audited(watched(move || {
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !over.load(Relaxed) {
                        busy();
                    }
                });
            }
            let forks = std::panic::catch_unwind(|| {
                for _ in 0..300 {
                    in_a_forked_child(|| {
                        // SAFETY: the call takes a number. A child that hangs is ended, by a signal that nobody
                        // handles.
                        unsafe { libc::alarm(300) };
                        busy();
                    });
                }
            });
            over.store(true, Relaxed);
            if let Err(failed) = forks {
                std::panic::resume_unwind(failed);
            }
        });
    }));
}

#[test]
fn h9_a_fork_while_other_threads_make_and_close_loops_leaves_the_child_a_fresh_one() {
    forked_in_the_midst_of(|| drop(EventLoop::new().unwrap()));
}

#[test]
fn h9_a_fork_while_other_threads_listen_for_signals_leaves_the_child_its_own() {
    // What the process makes once for all, at the first handler, while no test counts descriptors.
    let alone = support::audit::alone();
    let event_loop = EventLoop::new().unwrap();
    event_loop.add_signal_handler(libc::SIGUSR2, || ()).unwrap();
    drop((event_loop, alone));
    forked_in_the_midst_of(|| {
        let event_loop = EventLoop::new().unwrap();
        for _ in 0..20 {
            event_loop.add_signal_handler(libc::SIGUSR1, || ()).unwrap();
            event_loop.remove_signal_handler(libc::SIGUSR1);
        }
    });
}

#[test]
fn h9_a_fork_while_other_threads_share_terminals_leaves_the_child_its_own() {
    forked_in_the_midst_of(|| {
        let event_loop = EventLoop::new().unwrap();
        for _ in 0..5 {
            let (master, slave) = support::terminal();
            let opened = event_loop.run_until_complete(async {
                // A terminal's master cannot be opened again: its mode is shared with all who have it.
                callsoon::stream::open_read_pipe(master).await
            });
            drop((opened.unwrap().unwrap(), slave));
        }
    });
}

async fn run_in_executor_on(pool: &ThreadPoolExecutor) {
    assert_eq!(run_in_executor(Some(pool), || 7).await.unwrap(), 7);
}
