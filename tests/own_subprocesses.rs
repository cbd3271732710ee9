//! A process of its own, because children, limits and what a fork shares belong to the whole process.
//!
//! Pipes, streams and protocols of children; rows H2 and H4 to H9 of the list of faults.

#![allow(unsafe_code)]

#[expect(dead_code, unused_imports, reason = "a part of it is needed here")]
#[path = "it/support/mod.rs"]
mod support;

mod own {
    pub(crate) mod children;
}

use std::cell::{Cell, RefCell};
use std::fs;
use std::future::Future;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::rc::Rc;
use std::time::{Duration, Instant};

use callsoon::process::{
    Command, DEVNULL, PIPE, Process, STDOUT, SubprocessProtocol, SubprocessTransport,
    create_subprocess_shell,
};
use callsoon::{create_task, get_running_loop, sleep, timeout, yield_now};

use own::children::{has_children, tested};
use support::{Trace, complete, counted_fds, forbid, real_loop, until, virtual_loop};

/// The same on a loop.
#[track_caller]
fn on_a_loop<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    tested(move || {
        let trace = Trace::new();
        let event_loop = real_loop(&trace);
        complete(&event_loop, test());
        assert_eq!(trace.take(), [""; 0], "nothing was reported");
    });
}

fn endless() -> Command {
    Command::new("sleep").arg("1000").stdin(DEVNULL)
}

async fn until_no_child_is_left() {
    while has_children() {
        sleep(Duration::from_millis(1)).await;
    }
}

/// Bytes that tell where they were cut.
fn pattern(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at % 251) as u8).collect()
}

const LARGE: usize = 10 * 1024 * 1024;

#[test]
fn h4_communicate_moves_ten_megabytes_both_ways() {
    on_a_loop(async || {
        let mut cat = Command::new("cat").stdin(PIPE).stdout(PIPE).await.unwrap();
        let input = pattern(LARGE);
        let output = cat.communicate(Some(&input)).await.unwrap();
        assert!(output.status.success());
        assert!(output.stdout == input, "what came back is what went");
        assert_eq!(output.stderr, b"");
    });
}

#[test]
fn h4_communicate_reads_both_outputs_at_once() {
    on_a_loop(async || {
        // Either alone would fill its pipe and stop the child.
        let line = "head -c 3000000 /dev/zero >&2; head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2";
        let shell = create_subprocess_shell(line).stdin(DEVNULL);
        let mut shell = shell.stdout(PIPE).stderr(PIPE).await.unwrap();
        let output = shell.communicate(None).await.unwrap();
        assert_eq!(
            (output.stdout.len(), output.stderr.len()),
            (3_000_000, 6_000_000)
        );
    });
}

#[test]
fn h4_a_child_that_does_not_read_its_input_is_no_error() {
    on_a_loop(async || {
        for line in [
            "exit 4",
            "exec <&-; sleep 0.05; exit 4",
            "head -c 1 >&2; exit 4",
        ] {
            let shell = create_subprocess_shell(line)
                .stdin(PIPE)
                .stdout(PIPE)
                .stderr(PIPE);
            let mut shell = shell.await.unwrap();
            let output = shell.communicate(Some(&pattern(LARGE))).await.unwrap();
            assert_eq!(output.status.code(), Some(4), "{line}");
        }
    });
}

#[test]
fn a_cancelled_communicate_loses_nothing() {
    on_a_loop(async || {
        let line = "echo first; read line; echo \"$line\"; cat";
        let shell = create_subprocess_shell(line).stdin(PIPE).stdout(PIPE);
        let mut shell = shell.await.unwrap();
        let input = [b"second\n".to_vec(), pattern(LARGE)].concat();
        // Dropped half-way, with far more in flight than the pipes hold.
        let mut polls = 0;
        let mut talk = Box::pin(shell.communicate(Some(&input)));
        std::future::poll_fn(|context| {
            polls += 1;
            assert!(talk.as_mut().poll(context).is_pending());
            if polls == 5 {
                std::task::Poll::Ready(())
            } else {
                std::task::Poll::Pending
            }
        })
        .await;
        drop(talk);
        let output = shell.communicate(None).await.unwrap();
        assert!(output.status.success());
        assert!(output.stdout.starts_with(b"first\nsecond\n"));
        assert!(output.stdout[13..] == pattern(LARGE), "all of it came");
    });
}

#[test]
fn lines_come_as_the_child_says_them_and_a_read_that_is_dropped_takes_nothing() {
    on_a_loop(async || {
        let line = "while read line; do echo \"<$line>\"; done";
        let mut shell = create_subprocess_shell(line)
            .stdin(PIPE)
            .stdout(PIPE)
            .await
            .unwrap();
        let stdin = shell.stdin.take().unwrap();
        let stdout = shell.stdout.as_mut().unwrap();
        assert!(
            timeout(Duration::from_millis(5), stdout.readline())
                .await
                .is_err()
        );
        for word in ["one", "two", "three"] {
            stdin.write(format!("{word}\n").as_bytes());
            assert_eq!(
                stdout.readline().await.unwrap(),
                format!("<{word}>\n").as_bytes()
            );
        }
        stdin.close();
        stdin.wait_closed().await.unwrap();
        assert_eq!(stdout.readline().await.unwrap(), b"");
        assert!(stdout.at_eof());
        assert!(shell.wait().await.unwrap().success());
    });
}

#[test]
fn a_line_beyond_the_limit_is_left_where_it_is() {
    on_a_loop(async || {
        let limit = std::num::NonZeroUsize::new(10).unwrap();
        let shell = create_subprocess_shell("echo 0123456789; echo 01234567890").limit(limit);
        let mut shell = shell.stdout(PIPE).await.unwrap();
        let stdout = shell.stdout.as_mut().unwrap();
        assert_eq!(stdout.readline().await.unwrap(), b"0123456789\n");
        let overrun = stdout
            .readline()
            .await
            .unwrap_err()
            .limit_overrun()
            .unwrap();
        assert_eq!(overrun.consumed, 11);
        assert_eq!(stdout.readexactly(12).await.unwrap(), b"01234567890\n");
        assert_eq!(stdout.read(5).await.unwrap(), b"");
        shell.wait().await.unwrap();
    });
}

#[test]
fn drain_waits_for_a_slow_child_and_fails_for_one_that_is_gone() {
    on_a_loop(async || {
        let line = "read line; exec cat > /dev/null";
        let mut cat = create_subprocess_shell(line).stdin(PIPE).await.unwrap();
        let stdin = Rc::new(cat.stdin.take().unwrap());
        stdin.write(&pattern(1_000_000));
        assert!(stdin.write_buffer_size() > 500_000);
        let waits = {
            let stdin = Rc::clone(&stdin);
            create_task(async move { stdin.drain().await })
        };
        yield_now().await;
        assert!(!waits.done());
        stdin.write(b"\n");
        waits.await.unwrap().unwrap();
        assert!(stdin.write_buffer_size() <= 64 * 1024);
        stdin.write(&pattern(1_000_000));
        cat.kill().unwrap();
        assert_eq!(
            stdin.drain().await.unwrap_err().kind(),
            io::ErrorKind::BrokenPipe
        );
        stdin.write(b"nobody hears this");
        assert_eq!(
            stdin.drain().await.unwrap_err().kind(),
            io::ErrorKind::BrokenPipe
        );
        assert_eq!(
            stdin.wait_closed().await.unwrap_err().kind(),
            io::ErrorKind::BrokenPipe
        );
        cat.wait().await.unwrap();
    });
}

#[test]
fn a_child_that_closes_its_input_is_noticed_while_nothing_is_written() {
    on_a_loop(async || {
        let shell = create_subprocess_shell("exec <&-; exec sleep 1000")
            .stdin(PIPE)
            .kill_on_drop(true);
        let shell = shell.await.unwrap();
        shell.stdin.as_ref().unwrap().wait_closed().await.unwrap();
        assert!(shell.stdin.as_ref().unwrap().is_closing());
        drop(shell);
        until_no_child_is_left().await;
    });
}

#[test]
fn a_reader_that_is_dropped_ends_the_child_by_sigpipe() {
    on_a_loop(async || {
        let mut yes = Command::new("yes").stdout(PIPE).await.unwrap();
        assert_eq!(
            yes.stdout.as_mut().unwrap().readline().await.unwrap(),
            b"y\n"
        );
        yes.stdout = None;
        assert_eq!(yes.wait().await.unwrap().signal(), Some(libc::SIGPIPE));
    });
}

#[test]
fn a_child_s_descriptors_are_what_was_said() {
    on_a_loop(async || {
        let folder =
            std::env::temp_dir().join(format!("callsoon-subprocess-{}", std::process::id()));
        std::fs::write(&folder, "from a file\n").unwrap();
        let file = std::fs::File::open(&folder).unwrap();
        let mut cat = Command::new("cat").stdin(file).stdout(PIPE);
        let output = cat.spawn().unwrap().communicate(None).await.unwrap();
        assert_eq!(output.stdout, b"from a file\n");
        // A command may be started again; the file, whose position both share, is at its end.
        let output = cat.spawn().unwrap().communicate(None).await.unwrap();
        assert_eq!(output.stdout, b"");
        let line = "echo one; echo two >&2; echo three; readlink /proc/self/fd/0";
        let shell = create_subprocess_shell(line)
            .stdin(DEVNULL)
            .stdout(PIPE)
            .stderr(STDOUT);
        let mut shell = shell.await.unwrap();
        assert!(shell.stdin.is_none() && shell.stderr.is_none());
        let output = shell.communicate(None).await.unwrap();
        assert_eq!(output.stdout, b"one\ntwo\nthree\n/dev/null\n");
        let out = std::fs::File::create(&folder).unwrap();
        let shell = create_subprocess_shell("echo one; echo two >&2")
            .stdout(out)
            .stderr(STDOUT);
        shell.await.unwrap().wait().await.unwrap();
        assert_eq!(std::fs::read(&folder).unwrap(), b"one\ntwo\n");
        std::fs::remove_file(&folder).unwrap();
        let wrong = Command::new("true").stdout(STDOUT).spawn().unwrap_err();
        assert_eq!(wrong.kind(), io::ErrorKind::InvalidInput);
    });
}

/// How many descriptors beyond 2 this process would give to whatever it executes.
fn inheritable() -> usize {
    let all = std::fs::read_dir("/proc/self/fdinfo").unwrap().flatten();
    let infos = all.filter_map(|entry| {
        let number: i32 = entry.file_name().to_str()?.parse().ok()?;
        let info = std::fs::read_to_string(entry.path()).ok()?;
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"))?;
        Some((number, i32::from_str_radix(flags.trim(), 8).unwrap()))
    });
    infos
        .filter(|(number, flags)| *number > 2 && flags & libc::O_CLOEXEC == 0)
        .count()
}

/// A set of signals in a process's `status`.
fn signals(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    u64::from_str_radix(line.unwrap().trim(), 16).unwrap()
}

#[test]
fn h7_a_child_inherits_three_descriptors_no_mask_and_no_dispositions() {
    on_a_loop(async || {
        let sibling = Command::new("cat")
            .stdin(PIPE)
            .stdout(PIPE)
            .kill_on_drop(true);
        let sibling = sibling.await.unwrap();
        extern "C" fn handle(_: i32) {}
        // SAFETY: the handler does nothing. The set is initialised by the first call on it, and outlives all of them; the
        // mask is this thread's.
        unsafe {
            libc::signal(libc::SIGUSR1, handle as *const () as libc::sighandler_t);
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&mut set);
            libc::sigaddset(&mut set, libc::SIGUSR2);
            libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
        }
        // The shell's own glob has the folder open while it looks, and no more.
        let line = "cat /proc/self/status; ls -l /proc/self/fd | wc -l";
        let mut shell = create_subprocess_shell(line)
            .stdin(PIPE)
            .stdout(PIPE)
            .stderr(PIPE)
            .await
            .unwrap();
        let output = shell.communicate(None).await.unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let set = |name| signals(&text, name);
        assert_eq!(set("SigBlk:"), 0);
        // 32 and 33 are the C library's own, which no program can ask about. What whoever started this process had ignored
        // stays so, as under nohup; SIGPIPE, which Rust's own start ignores, does not.
        let own = fs::read_to_string("/proc/self/status").unwrap();
        let ignored = signals(&own, "SigIgn:") & !(1 << (libc::SIGPIPE - 1));
        assert_eq!(set("SigIgn:") & !(0b11 << 31), ignored & !(0b11 << 31));
        assert_eq!(set("SigCgt:"), 0);
        // 0 to 2, the folder itself, and the line that says how many blocks; and what this process was given by whoever
        // has started it.
        let expected = 5 + inheritable();
        assert_eq!(text.lines().last().unwrap().trim(), expected.to_string());
        // SAFETY: the default is what every process starts with.
        unsafe { libc::signal(libc::SIGUSR1, libc::SIG_DFL) };
        drop(sibling);
        until_no_child_is_left().await;
    });
}

#[test]
fn h6_what_cannot_be_started_is_the_caller_s_error_and_leaves_nothing() {
    on_a_loop(async || {
        let before = counted_fds();
        let nul = Command::new("true").arg("a\0b");
        let long = Command::new("true").arg("x".repeat(1 << 22));
        for (command, expected) in [
            (Command::new("/no/such/program"), io::ErrorKind::NotFound),
            (
                Command::new("no-such-program-anywhere"),
                io::ErrorKind::NotFound,
            ),
            (Command::new("/etc/passwd"), io::ErrorKind::PermissionDenied),
            (
                Command::new("true").current_dir("/no/such/folder"),
                io::ErrorKind::NotFound,
            ),
            (nul, io::ErrorKind::InvalidInput),
            (long, io::ErrorKind::ArgumentListTooLong),
        ] {
            let command = command.stdin(PIPE).stdout(PIPE).stderr(PIPE);
            assert_eq!(command.await.unwrap_err().kind(), expected);
        }
        let merged = Command::new("/no/such/program").stdout(PIPE).stderr(STDOUT);
        assert!(merged.await.is_err());
        assert_eq!(counted_fds(), before);
        assert!(!has_children());
        assert_eq!(get_running_loop().metrics().sources, 0);
        let made = get_running_loop().subprocess_exec(
            || -> Idle { unreachable!("no protocol is made for what does not start") },
            Command::new("/no/such/program"),
        );
        assert!(made.await.is_err());
    });
}

#[test]
fn h6_a_system_without_room_for_a_process_is_the_caller_s_error() {
    on_a_loop(async || {
        // Both, since the C library takes the one where it believes that there is no other.
        if !forbid(libc::SYS_clone3, None, libc::EAGAIN)
            || !forbid(libc::SYS_clone, None, libc::EAGAIN)
            || !forbid(libc::SYS_vfork, None, libc::EAGAIN)
        {
            return;
        }
        let before = counted_fds();
        let cat = Command::new("cat").stdin(PIPE).stdout(PIPE).stderr(PIPE);
        let error = cat.await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EAGAIN));
        assert_eq!(counted_fds(), before);
        assert_eq!(get_running_loop().metrics().sources, 0);
    });
}

#[test]
fn h2_children_that_a_tracer_holds_are_reaped_when_it_lets_go() {
    // Alone, for the tracer is a child.
    tested(|| {
        if std::env::var_os("CALLSOON_SANITIZED").is_some() {
            // The leak checker traces its own process, which one that is traced already cannot be.
            return;
        }
        let mut strace = std::process::Command::new("strace");
        if !strace
            .args(["-qq", "-e", "trace=none", "-o", "/dev/null", "true"])
            .output()
            .is_ok_and(|said| said.status.success())
        {
            // Where it is not installed, or may not trace, there is nothing to be seen.
            return;
        }
        // The exit of a traced child is its tracer's to see first: its descriptor is readable by then, and nobody may reap it.
        let traced = std::process::Command::new("strace")
            .args(["-f", "-qq", "-e", "trace=none", "-o", "/dev/null"])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "--test-threads", "1"])
            .args([
                "h5_kill_on_drop_kills_and_leaves_no_zombie",
                "a_cancelled_communicate_loses_nothing",
                "h2_a_stopped_child_has_not_exited",
                "a_protocol_of_a_child_without_pipes_hears_of_its_exit",
            ])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&traced.stdout);
        assert!(traced.status.success(), "{said}");
        assert!(said.contains("4 passed"), "{said}");
    });
}

/// The most descriptors that this process may open.
fn limit_descriptors(count: u64) -> u64 {
    // SAFETY: the pointers are to one limit each, which outlive the calls; all zeros is a valid one.
    unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit), 0);
        let before = std::mem::replace(&mut limit.rlim_cur, count);
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &limit), 0);
        before
    }
}

#[test]
fn h6_no_room_for_a_descriptor_at_any_step_leaves_nothing_behind() {
    on_a_loop(async || {
        let mut commands = [
            Command::new("cat").stdin(PIPE).stdout(PIPE).stderr(PIPE),
            Command::new("cat").stdin(PIPE).stdout(PIPE).stderr(STDOUT),
        ];
        for command in &mut commands {
            let before = counted_fds();
            let (mut failures, mut room) = (0, 3);
            let process = loop {
                let limit = limit_descriptors(room);
                let started = command.spawn();
                limit_descriptors(limit);
                match started {
                    Ok(process) => break process,
                    Err(error) => {
                        assert_eq!(error.raw_os_error(), Some(libc::EMFILE), "room for {room}");
                        failures += 1;
                    }
                }
                assert_eq!(counted_fds(), before, "room for {room}");
                assert!(!has_children(), "room for {room}");
                assert_eq!(get_running_loop().metrics().sources, 0);
                room += 1;
            };
            assert!(failures >= 5, "only {failures} steps have failed");
            drop(process);
            until_no_child_is_left().await;
        }
    });
}

#[test]
fn a_child_that_ignores_sigterm_is_killed() {
    on_a_loop(async || {
        let line = "trap '' TERM; echo ready; while :; do sleep 0.01; done";
        let mut shell = create_subprocess_shell(line).stdout(PIPE).await.unwrap();
        assert_eq!(
            shell.stdout.as_mut().unwrap().readline().await.unwrap(),
            b"ready\n"
        );
        shell.terminate().unwrap();
        assert!(
            timeout(Duration::from_millis(30), shell.wait())
                .await
                .is_err()
        );
        shell.kill().unwrap();
        assert_eq!(shell.wait().await.unwrap().signal(), Some(libc::SIGKILL));
    });
}

#[test]
fn h2_a_stopped_child_has_not_exited() {
    on_a_loop(async || {
        let process = endless().await.unwrap();
        for _ in 0..3 {
            process.send_signal(libc::SIGSTOP).unwrap();
            assert!(
                timeout(Duration::from_millis(10), process.wait())
                    .await
                    .is_err()
            );
            assert_eq!(process.returncode(), None);
            process.send_signal(libc::SIGCONT).unwrap();
            assert!(
                timeout(Duration::from_millis(10), process.wait())
                    .await
                    .is_err()
            );
        }
        process.terminate().unwrap();
        assert_eq!(process.wait().await.unwrap().signal(), Some(libc::SIGTERM));
    });
}

#[test]
fn h5_kill_on_drop_kills_and_leaves_no_zombie() {
    on_a_loop(async || {
        for _ in 0..100 {
            drop(endless().kill_on_drop(true).await.unwrap());
        }
        until_no_child_is_left().await;
        assert_eq!(get_running_loop().metrics().sources, 0);
        // Unless it is said, it runs on.
        let mut shell = create_subprocess_shell("echo $$; exec sleep 1000")
            .stdout(PIPE)
            .await
            .unwrap();
        let line = shell.stdout.as_mut().unwrap().readline().await.unwrap();
        let pid: i32 = String::from_utf8(line).unwrap().trim().parse().unwrap();
        drop(shell);
        sleep(Duration::from_millis(20)).await;
        // SAFETY: the calls take numbers; the child was started by this test and was not reaped.
        unsafe {
            assert_eq!(libc::kill(pid, 0), 0);
            assert_eq!(libc::kill(pid, libc::SIGKILL), 0);
        }
        until_no_child_is_left().await;
    });
}

#[test]
fn h5_a_loop_that_closes_while_pipes_are_full_leaves_nothing() {
    tested(|| {
        let event_loop = real_loop(&Trace::new());
        let mut kept = Command::new("cat")
            .stdin(PIPE)
            .stdout(PIPE)
            .spawn_on(&event_loop)
            .unwrap();
        kept.stdin.as_ref().unwrap().write(&pattern(LARGE));
        let taken = kept.stdin.take().unwrap();
        event_loop
            .create_task(async {
                let mut process = Command::new("cat").stdin(PIPE).stdout(PIPE).await.unwrap();
                process.communicate(Some(&pattern(LARGE))).await.unwrap();
            })
            .detach();
        let idle = event_loop.subprocess_exec(|| Idle, Command::new("cat"));
        let (transport, _) = complete(&event_loop, idle).unwrap();
        transport.pipe_transport(0).unwrap().write(&pattern(LARGE));
        event_loop.close().unwrap();
        taken.write(b"nobody");
        assert!(taken.is_closing());
        drop((kept, taken, transport));
    });
}

/// Every behaviour that stands on a pidfd, without one.
fn without_pidfds(test: impl AsyncFnOnce() + Send + 'static) {
    tested(move || {
        // A sandbox without filters is no failure of ours.
        if !forbid(libc::SYS_pidfd_open, None, libc::ENOSYS) {
            return;
        }
        let event_loop = real_loop(&Trace::new());
        complete(&event_loop, test());
        drop(event_loop);
        support::wait_until_gone("callsoon-child");
    });
}

#[test]
fn without_pidfds_children_are_awaited_by_threads() {
    without_pidfds(async || {
        let processes: Vec<_> = (0..100)
            .map(|number| {
                create_subprocess_shell(format!("exit {number}"))
                    .spawn()
                    .unwrap()
            })
            .collect();
        for (number, process) in processes.iter().enumerate() {
            assert_eq!(process.wait().await.unwrap().code(), Some(number as i32));
            let late = process.kill().unwrap_err();
            assert_eq!(late.raw_os_error(), Some(libc::ESRCH));
        }
    });
}

#[test]
fn without_pidfds_signals_drops_and_thieves_are_as_with_them() {
    without_pidfds(async || {
        let process = endless().await.unwrap();
        process.send_signal(libc::SIGSTOP).unwrap();
        assert!(
            timeout(Duration::from_millis(10), process.wait())
                .await
                .is_err()
        );
        process.send_signal(libc::SIGCONT).unwrap();
        process.terminate().unwrap();
        assert_eq!(process.wait().await.unwrap().signal(), Some(libc::SIGTERM));
        drop(endless().kill_on_drop(true).await.unwrap());
        until_no_child_is_left().await;
        let mut cat = Command::new("cat").stdin(PIPE).stdout(PIPE).await.unwrap();
        let output = cat.communicate(Some(b"hello")).await.unwrap();
        assert_eq!(output.stdout, b"hello");
        // The thread waits for this one already when another thread of the program takes it.
        let stolen = create_subprocess_shell("sleep 0.02").await.unwrap();
        let mut status = 0;
        // SAFETY: the pointer is to a writable integer, and may be reached for the time of the call.
        unsafe { libc::waitpid(stolen.id() as i32, &mut status, 0) };
        let error = stolen.wait().await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ECHILD));
        assert_eq!(stolen.kill().unwrap_err().raw_os_error(), Some(libc::ESRCH));
    });
}

#[test]
fn without_pidfds_a_loop_that_closes_kills_and_reaps() {
    without_pidfds(async || {
        let running = endless().await.unwrap();
        create_task(async move { running.wait().await }).detach();
        drop(endless().await.unwrap());
        yield_now().await;
    });
}

#[test]
fn a_virtual_clock_stands_still_while_a_child_is_read() {
    tested(|| {
        let event_loop = virtual_loop(&Trace::new());
        let start = event_loop.time();
        event_loop
            .run_until_complete(async move {
                let hour = create_task(sleep(Duration::from_secs(3600)));
                let mut shell = create_subprocess_shell("sleep 0.05; echo hi")
                    .stdout(PIPE)
                    .await
                    .unwrap();
                let output = shell.communicate(None).await.unwrap();
                assert_eq!(output.stdout, b"hi\n");
                assert_eq!(get_running_loop().time(), start);
                hour.await.unwrap();
            })
            .unwrap();
    });
}

struct Idle;
impl SubprocessProtocol for Idle {}

/// Notes every call.
struct Noted {
    trace: Trace,
    lost: Cell<bool>,
    output: RefCell<Vec<u8>>,
}

impl Noted {
    fn new(trace: &Trace) -> Self {
        Self {
            trace: trace.clone(),
            lost: Cell::new(false),
            output: RefCell::default(),
        }
    }
}

impl SubprocessProtocol for Noted {
    fn connection_made(&self, transport: &SubprocessTransport) {
        assert!(transport.pid() > 0);
        self.trace.push("made");
    }
    fn pipe_data_received(&self, _: &SubprocessTransport, fd: i32, data: &[u8]) {
        let mut output = self.output.borrow_mut();
        if output.is_empty() {
            self.trace.push(format!("data {fd}"));
        }
        output.extend(data);
    }
    fn pipe_connection_lost(&self, t: &SubprocessTransport, fd: i32, error: Option<io::Error>) {
        assert!(t.pipe_transport(fd).is_none());
        let error = error.map_or(String::new(), |error| format!(": {:?}", error.kind()));
        self.trace.push(format!("pipe {fd} lost{error}"));
    }
    fn process_exited(&self, transport: &SubprocessTransport) {
        let status = transport.returncode().unwrap();
        self.trace
            .push(format!("exited: {:?} {:?}", status.code(), status.signal()));
    }
    fn connection_lost(&self, _: &SubprocessTransport, error: Option<io::Error>) {
        assert!(error.is_none());
        self.trace.push("lost");
        self.lost.set(true);
    }
    fn pause_writing(&self, _: &SubprocessTransport) {
        self.trace.push("pause");
    }
    fn resume_writing(&self, _: &SubprocessTransport) {
        self.trace.push("resume");
    }
}

/// Runs a child under a `Noted` until everything is over; what was noted, sorted between its first and its last call
/// since the ends come in any order.
#[track_caller]
fn noted(
    command: Command,
    talk: impl FnOnce(&SubprocessTransport) + Send + 'static,
    expected: &'static [&str],
) {
    let command = std::sync::Mutex::new(command);
    tested(move || {
        let trace = Trace::new();
        let event_loop = real_loop(&trace);
        let noted = Noted::new(&trace);
        let command = command.into_inner().unwrap();
        let started = event_loop.subprocess_exec(|| noted, command);
        let (transport, protocol) = complete(&event_loop, started).unwrap();
        talk(&transport);
        complete(&event_loop, until(|| protocol.lost.get()));
        let mut calls = trace.take();
        let last = calls.len() - 1;
        calls[1..last].sort();
        assert_eq!(calls, expected);
        drop(transport);
        assert_eq!(event_loop.metrics().sources, 0);
    });
}

#[test]
fn a_protocol_hears_of_everything_once_and_of_the_end_last() {
    noted(
        create_subprocess_shell("read line; echo \"$line\"; exit 3"),
        |transport| {
            let stdin = transport.pipe_transport(0).unwrap();
            stdin.write(b"hello\n");
        },
        &[
            "made",
            "data 1",
            "exited: Some(3) None",
            "pipe 0 lost",
            "pipe 1 lost",
            "pipe 2 lost",
            "lost",
        ],
    );
}

#[test]
fn a_protocol_of_a_child_without_pipes_hears_of_its_exit() {
    noted(
        Command::new("true")
            .stdin(DEVNULL)
            .stdout(DEVNULL)
            .stderr(DEVNULL),
        |_| (),
        &["made", "exited: Some(0) None", "lost"],
    );
}

#[test]
fn closing_a_transport_kills_the_child_and_ends_its_pipes() {
    noted(
        Command::new("cat"),
        |transport| {
            transport.close();
            transport.close();
        },
        &[
            "made",
            "exited: None Some(9)",
            "pipe 0 lost",
            "pipe 1 lost",
            "pipe 2 lost",
            "lost",
        ],
    );
}

#[test]
fn a_protocol_is_paused_while_its_child_does_not_read() {
    noted(
        create_subprocess_shell("sleep 0.02; cat > /dev/null"),
        |transport| {
            let stdin = transport.pipe_transport(0).unwrap();
            stdin.write(&pattern(1_000_000));
            assert!(stdin.write_buffer_size() > 0);
            stdin.close();
        },
        &[
            "made",
            "exited: Some(0) None",
            "pause",
            "pipe 0 lost",
            "pipe 1 lost",
            "pipe 2 lost",
            "resume",
            "lost",
        ],
    );
}

#[test]
fn a_child_that_dies_with_input_left_is_a_broken_pipe_for_its_protocol() {
    noted(
        // It dies once the writing has begun.
        create_subprocess_shell("head -c 1 >/dev/null; exit 1"),
        |transport| {
            transport
                .pipe_transport(0)
                .unwrap()
                .write(&pattern(1_000_000))
        },
        &[
            "made",
            "exited: Some(1) None",
            "pause",
            "pipe 0 lost: BrokenPipe",
            "pipe 1 lost",
            "pipe 2 lost",
            "lost",
        ],
    );
}

#[test]
fn an_output_that_is_paused_waits_and_is_complete_afterwards() {
    tested(|| {
        let trace = Trace::new();
        let event_loop = real_loop(&trace);
        let command = create_subprocess_shell("head -c 1000000 /dev/zero")
            .stdin(DEVNULL)
            .stderr(DEVNULL);
        let started = event_loop.subprocess_exec(|| Noted::new(&trace), command);
        let (transport, protocol) = complete(&event_loop, async {
            let (transport, protocol) = started.await.unwrap();
            transport.pipe_transport(1).unwrap().pause_reading();
            (transport, protocol)
        });
        let stdout = transport.pipe_transport(1).unwrap();
        complete(&event_loop, sleep(Duration::from_millis(30)));
        assert_eq!(trace.take(), ["made"]);
        assert_eq!(transport.returncode(), None, "the pipe is full");
        stdout.resume_reading();
        complete(&event_loop, until(|| protocol.lost.get()));
        assert_eq!(protocol.output.borrow().len(), 1_000_000);
    });
}

#[test]
fn h4_an_exit_is_told_while_a_grandchild_holds_the_output() {
    #[derive(Default)]
    struct Exited {
        output: RefCell<Vec<u8>>,
        exited: Cell<bool>,
        lost: Cell<bool>,
    }
    impl SubprocessProtocol for Exited {
        fn pipe_data_received(&self, _: &SubprocessTransport, _: i32, data: &[u8]) {
            self.output.borrow_mut().extend(data);
        }
        fn process_exited(&self, _: &SubprocessTransport) {
            self.exited.set(true);
        }
        fn connection_lost(&self, _: &SubprocessTransport, _: Option<io::Error>) {
            self.lost.set(true);
        }
    }
    tested(|| {
        let event_loop = real_loop(&Trace::new());
        let started = event_loop.subprocess_shell(Exited::default, "sleep 1000 & echo $!");
        let begun = Instant::now();
        let (transport, protocol) = event_loop.run_until_complete(started).unwrap().unwrap();
        complete(&event_loop, until(|| protocol.exited.get()));
        let said = || protocol.output.borrow().ends_with(b"\n");
        complete(&event_loop, until(said));
        assert!(begun.elapsed() < Duration::from_secs(10));
        assert!(
            transport.pipe_transport(1).is_some(),
            "the grandchild holds it"
        );
        let text = String::from_utf8(protocol.output.borrow().clone()).unwrap();
        let grandchild: i32 = text.trim().parse().unwrap();
        // SAFETY: the call takes numbers; the grandchild was started by this test and lives for a thousand seconds.
        assert_eq!(unsafe { libc::kill(grandchild, libc::SIGKILL) }, 0);
        complete(&event_loop, until(|| protocol.lost.get()));
        assert!(transport.pipe_transport(1).is_none());
    });
}

#[test]
fn a_panic_of_a_protocol_is_reported_and_ends_nothing() {
    #[derive(Default)]
    struct Panics(Cell<bool>);
    impl SubprocessProtocol for Panics {
        fn pipe_data_received(&self, _: &SubprocessTransport, _: i32, _: &[u8]) {
            panic!("on purpose: data");
        }
        fn process_exited(&self, _: &SubprocessTransport) {
            panic!("on purpose: exit");
        }
        fn connection_lost(&self, _: &SubprocessTransport, _: Option<io::Error>) {
            self.0.set(true);
        }
    }
    tested(|| {
        let trace = Trace::new();
        let event_loop = real_loop(&trace);
        let started = event_loop.subprocess_shell(Panics::default, "echo hi; sleep 0.02");
        let (_, panics) = complete(&event_loop, started).unwrap();
        complete(&event_loop, until(|| panics.0.get()));
        assert_eq!(
            trace.take(),
            [
                "report: Exception in a subprocess protocol's pipe_data_received (on purpose: data)",
                "report: Exception in a subprocess protocol's process_exited (on purpose: exit)",
            ]
        );
    });
}

#[test]
fn h9_a_forked_child_sends_its_siblings_nothing() {
    tested(|| {
        let event_loop = real_loop(&Trace::new());
        let mut cat: Process = Command::new("cat")
            .stdin(PIPE)
            .stdout(PIPE)
            .spawn_on(&event_loop)
            .unwrap();
        // SAFETY: the child leaves by `_exit`, so that it never returns into the harness, and takes no lock that another
        // thread could have held. It drops what the parent goes on using; memory is not shared.
        let status = unsafe {
            match libc::fork() {
                0 => {
                    let error = cat.kill().unwrap_err().raw_os_error();
                    let refused = Command::new("true").spawn_on(&event_loop).is_err();
                    cat.stdin.as_ref().unwrap().write(b"from the child");
                    drop(std::ptr::read(&cat));
                    libc::_exit(i32::from(error != Some(libc::ESRCH) || !refused))
                }
                pid => {
                    let mut status = 0;
                    assert_eq!(libc::waitpid(pid, &mut status, 0), pid);
                    status
                }
            }
        };
        assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0);
        let output = complete(&event_loop, cat.communicate(Some(b"from the parent"))).unwrap();
        assert_eq!(output.stdout, b"from the parent");
    });
}
