//! A process of its own for each test, because descriptor limits, descriptor counts and forks concern whole processes.

#![allow(unsafe_code)]

use std::cell::Cell;
use std::io;
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use callsoon::net::{TcpListener, TcpStream};
use callsoon::{Clock, EventLoop, RunError, get_running_loop, sleep, try_get_running_loop};

/// Set in the child, to the name of its test.
const CHILD: &str = "CALLSOON_OWN_PROCESS";

/// Runs `test` in a child process that does nothing else: this binary, started again for the one test.
fn in_a_child(name: &str, test: fn()) {
    if std::env::var(CHILD).is_ok_and(|child| child == name) {
        return test();
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD, name)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", output.status);
    assert!(
        said.contains("1 passed"),
        "the child ran another test: {said}"
    );
}

fn counted_fds() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn counted_threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

/// Resident memory, from the kernel's own books.
fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

fn descriptor_limit() -> libc::rlimit {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is a live, writable rlimit, the only memory that the call touches.
    let result = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
    assert_eq!(result, 0);
    limit
}

fn set_descriptor_limit(limit: libc::rlimit) {
    // SAFETY: `limit` is initialised, is only read, and outlives the call.
    let result = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) };
    assert_eq!(result, 0);
}

/// Calls `f` while only `more` descriptors can be opened. Below the limit there must be no gaps for that, so they are
/// filled first.
fn with_descriptors<R>(more: u64, f: impl FnOnce() -> R) -> R {
    let null = || std::fs::File::open("/dev/null").unwrap();
    let mut fillers = vec![null()];
    let highest = || {
        let names = std::fs::read_dir("/proc/self/fd").unwrap();
        let numbers = names.map(|name| name.unwrap().file_name().into_string().unwrap());
        numbers.map(|n| n.parse::<u64>().unwrap()).max().unwrap()
    };
    // Opened last, the directory itself is the highest as soon as there are no gaps; its number is free afterwards.
    while highest() != std::os::fd::AsRawFd::as_raw_fd(fillers.last().unwrap()) as u64 + 1 {
        fillers.push(null());
    }
    let before = descriptor_limit();
    set_descriptor_limit(libc::rlimit {
        rlim_cur: highest() + more,
        ..before
    });
    let result = f();
    set_descriptor_limit(before);
    result
}

#[test]
fn k4_a_loop_that_gets_no_descriptors_is_an_error_and_leaks_nothing() {
    in_a_child(
        "k4_a_loop_that_gets_no_descriptors_is_an_error_and_leaks_nothing",
        || {
            // The first loop of a process may keep something for all of them.
            drop(EventLoop::new().unwrap());
            let before = (counted_fds(), counted_threads());
            for more in 0..=4 {
                let made = with_descriptors(more, EventLoop::new);
                // A loop needs three: the poller, the notifier, the timerfd.
                match made {
                    Ok(event_loop) => {
                        assert!(more >= 3);
                        event_loop
                            .run_until_complete(sleep(Duration::from_micros(1)))
                            .unwrap();
                    }
                    Err(error) => {
                        assert!(more < 3, "{error}");
                        assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
                    }
                }
                assert_eq!((counted_fds(), counted_threads()), before, "{more}");
                let run = with_descriptors(more, || callsoon::run(async { 1 }));
                match run {
                    Ok(value) => assert!(more >= 3 && value == 1),
                    Err(RunError::Io(error)) => {
                        assert!(more < 3);
                        assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
                    }
                    Err(error) => panic!("{error}"),
                }
                assert_eq!((counted_fds(), counted_threads()), before, "{more}");
            }
            // And it was nothing that lasts.
            callsoon::run(async {}).unwrap();
        },
    );
}

/// One loop's life: a callback, a timer, a task, a post, a connection, and things that are left pending.
fn live_once(clock: Clock) {
    let event_loop = EventLoop::builder().clock(clock).build().unwrap();
    event_loop.call_soon(|| ());
    event_loop.call_later(Duration::from_nanos(1), || ());
    event_loop.call_later(Duration::MAX, || ());
    event_loop.remote().call_soon_threadsafe(|| ()).unwrap();
    event_loop
        .create_task(std::future::pending::<()>())
        .detach();
    let echoed = event_loop.run_until_complete(async {
        sleep(Duration::from_nanos(1)).await;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let client = TcpStream::connect(listener.local_addr()?).await?;
        let (server, _) = listener.accept().await?;
        client.write_all(b"x").await?;
        let mut byte = [0];
        server.read_exact(&mut byte).await?;
        Ok::<_, io::Error>(byte)
    });
    assert_eq!(echoed.unwrap().unwrap(), *b"x");
}

#[test]
fn k3_ten_thousand_loops_leave_no_descriptors_threads_or_memory() {
    in_a_child(
        "k3_ten_thousand_loops_leave_no_descriptors_threads_or_memory",
        || {
            let mut base = None;
            for n in 0..10_000 {
                // A connection each would use up the ports, which rest for a minute; every tenth loop has one.
                if n % 10 == 0 {
                    live_once(Clock::Monotonic);
                } else {
                    let event_loop = EventLoop::new().unwrap();
                    event_loop.call_soon(|| get_running_loop().stop());
                    event_loop.call_later(Duration::MAX, || ());
                    event_loop
                        .create_task(std::future::pending::<()>())
                        .detach();
                    event_loop.run_forever().unwrap();
                }
                // Its first thousand loops may warm a process up.
                if n == 1_000 {
                    base = Some((counted_fds(), counted_threads(), resident_bytes()));
                }
            }
            let (fds, threads, resident) = base.unwrap();
            assert_eq!((counted_fds(), counted_threads()), (fds, threads));
            let grown = resident_bytes().saturating_sub(resident);
            // A sanitizer keeps freed memory aside on purpose; what it finds leaked it says itself.
            let sanitized = std::env::var_os("CALLSOON_SANITIZED").is_some();
            assert!(
                sanitized || grown < 64 * 1024,
                "{grown} bytes over 9,000 loops"
            );
        },
    );
}

#[test]
fn k3_a_thousand_loops_live_side_by_side() {
    in_a_child("k3_a_thousand_loops_live_side_by_side", || {
        let limit = descriptor_limit();
        let many = (limit.rlim_max.min(4_096) - 96) / 4;
        set_descriptor_limit(libc::rlimit {
            rlim_cur: limit.rlim_max.min(4_096),
            ..limit
        });
        let before = counted_fds();
        let runs = Rc::new(Cell::new(0));
        let loops: Vec<_> = (0..many).map(|_| EventLoop::new().unwrap()).collect();
        for event_loop in &loops {
            let counter = Rc::clone(&runs);
            event_loop.call_soon(move || counter.set(counter.get() + 1));
        }
        for event_loop in loops.iter().rev() {
            event_loop.turn(Some(Duration::ZERO)).unwrap();
        }
        assert_eq!(runs.get(), many);
        drop(loops);
        assert_eq!(counted_fds(), before);
    });
}

/// Forks, runs `child` there, and gives its exit status: 0 where `child` ended well.
fn fork(child: impl FnOnce()) -> i32 {
    // SAFETY: the process has two threads, this one and the harness's, which waits; the child has this one only. It
    // allocates, which glibc allows after a fork, touches no lock that the waiting thread could hold, and ends by
    // `_exit`.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0);
    if pid == 0 {
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child));
        // SAFETY: the call takes no pointers and does not return.
        unsafe { libc::_exit(i32::from(ended.is_err())) };
    }
    let mut status = 0;
    // SAFETY: `status` is a live, writable integer, the only memory that the call touches.
    let waited = unsafe { libc::waitpid(pid, &mut status, 0) };
    assert_eq!(waited, pid);
    status
}

#[test]
fn h9_a_forked_child_sees_no_running_loop_and_can_run_its_own() {
    in_a_child(
        "h9_a_forked_child_sees_no_running_loop_and_can_run_its_own",
        || {
            let status = callsoon::run(async {
                fork(|| {
                    assert!(try_get_running_loop().is_none());
                    let value = callsoon::run(async {
                        sleep(Duration::from_micros(1)).await;
                        2
                    });
                    assert_eq!(value.unwrap(), 2);
                })
            });
            assert_eq!(status.unwrap(), 0);
        },
    );
}

#[test]
fn h9_a_forked_child_that_drops_the_loop_leaves_its_parent_unharmed() {
    in_a_child(
        "h9_a_forked_child_that_drops_the_loop_leaves_its_parent_unharmed",
        || {
            let event_loop = EventLoop::new().unwrap();
            let listening = TcpListener::bind("127.0.0.1:0");
            let listener = event_loop.run_until_complete(listening).unwrap().unwrap();
            let address = listener.local_addr().unwrap();
            let accepting = event_loop.create_task(async move { listener.accept().await.is_ok() });
            event_loop.turn(Some(Duration::ZERO)).unwrap();
            let mut slot = Some((event_loop, accepting));
            let status = fork(|| drop(slot.take()));
            assert_eq!(status, 0);
            // The child must not have taken the listener out of the poller, which both share.
            let (event_loop, mut accepting) = slot.unwrap();
            let client = std::net::TcpStream::connect(address).unwrap();
            let handle = event_loop.handle();
            // Until then at the latest the event should have come.
            event_loop.call_later(Duration::from_secs(60), move || handle.stop());
            let accepted = event_loop.run_until_complete(&mut accepting);
            assert!(accepted.expect("no event came").unwrap());
            drop(client);
        },
    );
}
