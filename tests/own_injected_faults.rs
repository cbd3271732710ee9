//! A process of its own for each scenario, because it runs under a tracer that makes system calls fail, or in a
//! process namespace of its own, where it decides the numbers of processes.
//!
//! Faults H2, H3, H6 and J1: whatever the system refuses while children, signals and threads are
//! set up is the caller's error, leaves nothing behind, and is forgotten the next time. Where there is no tracer, or no
//! such world, the reason is printed.

#![allow(unsafe_code)]

#[expect(dead_code, unused_imports, reason = "a part of it is needed here")]
#[path = "it/support/mod.rs"]
mod support;

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command as StdCommand, Output, Stdio};
use std::time::Duration;

use callsoon::process::{Command, DEVNULL, PIPE, Process, STDOUT, SubprocessProtocol};
use callsoon::{
    EventLoop, ExecutorError, RunError, SignalError, ThreadPoolExecutor, run_in_executor, sleep,
};

use support::descendants::has_children;
use support::{
    Scratch, Trace, audited, complete, counted_fds, forbid, os_error, real_loop, watched,
};

/// Says in the child which scenario it is to run.
const SCENARIO: &str = "CALLSOON_SCENARIO";

/// The error that is injected there, and how often it was met.
const ERRNO: &str = "CALLSOON_ERRNO";
const MET: &str = "met: ";

/// What runs in the child. Without a name it is nothing.
#[test]
fn scenario() {
    let Ok(name) = std::env::var(SCENARIO) else {
        return;
    };
    // SAFETY: the call takes a number. A child that hangs is ended, by a signal that nobody handles.
    unsafe { libc::alarm(100) };
    match name.as_str() {
        "spawn" => attempts(0, || {
            spawned(Command::new("cat").stdin(PIPE).stdout(PIPE).stderr(PIPE))
        }),
        "merged" => attempts(0, || {
            spawned(Command::new("cat").stdin(PIPE).stdout(PIPE).stderr(STDOUT))
        }),
        "protocol" => attempts(0, protocol),
        "signal" => attempts(1, signal),
        "job" => attempts(0, job),
        "run" => attempts(1, run),
        "gone" => attempts(0, || {
            gone(1);
            Ok(())
        }),
        "ignored" => attempts(0, || {
            gone(200);
            Ok(())
        }),
        "kills" => attempts(0, || {
            kills();
            Ok(())
        }),
        "recycled" => recycled(),
        "late" => late(),
        other => unreachable!("no scenario is called {other}"),
    }
}

/// This binary, about to run a scenario: by itself, or as an argument of `by`.
fn child(by: &[&str], scenario: &str) -> StdCommand {
    let this = std::env::current_exe().unwrap();
    let mut command = match by {
        [] => StdCommand::new(&this),
        [program, arguments @ ..] => {
            let mut command = StdCommand::new(program);
            command.args(arguments).arg(&this);
            command
        }
    };
    command.args(["--exact", "scenario", "--nocapture", "--test-threads=1"]);
    command.env(SCENARIO, scenario);
    command
}

/// Runs a child to its end, while no test of this process counts descriptors.
fn ended(mut child: StdCommand) -> io::Result<Output> {
    let _alone = support::audit::alone();
    child.output()
}

/// What a child says, which must end well.
#[track_caller]
fn said(child: StdCommand, what: &str) -> String {
    text_of(&ended(child).unwrap(), what)
}

/// Runs a scenario under a tracer to its end, which must be a good one, and gives the tracer's log. The log is a
/// descriptor of this process: no test counts them meanwhile.
#[track_caller]
fn traced(scenario: &str, rules: &[&str]) -> String {
    let _alone = support::audit::alone();
    let log = Scratch::new(b"");
    let output = child(&tracer(log.path(), rules), scenario)
        .output()
        .unwrap();
    text_of(&output, scenario);
    std::fs::read_to_string(log.path()).unwrap()
}

/// What a child has said, which must have ended well.
#[track_caller]
fn text_of(output: &Output, what: &str) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{what}: {}\n{text}{errors}",
        output.status
    );
    text
}

/// Whether system calls can be traced here.
fn has_tracer() -> bool {
    if std::env::var_os("CALLSOON_SANITIZED").is_some() {
        eprintln!(
            "skipped: the leak checker traces its own process, which one that is traced cannot be"
        );
        return false;
    }
    let mut strace = StdCommand::new("strace");
    strace.args(["-qq", "-e", "trace=none", "-o", "/dev/null", "true"]);
    let works = ended(strace).is_ok_and(|output| output.status.success());
    if !works {
        eprintln!("skipped: strace is not installed, or may not trace");
    }
    works
}

/// A tracer with these rules. What a child becomes by executing a program is none of its business.
fn tracer<'a>(log: &'a str, rules: &[&'a str]) -> Vec<&'a str> {
    let mut tracer = vec!["strace", "-f", "-qq", "-b", "execve", "-o", log];
    for rule in rules {
        tracer.extend(["-e", rule]);
    }
    tracer
}

/// Runs a scenario in which the `nth` call of a kind fails; how often it has met the error.
#[track_caller]
fn injected(scenario: &str, call: &str, errno: (&str, i32), nth: usize) -> usize {
    let (trace, inject) = (
        format!("trace={call}"),
        format!("inject={call}:error={}:when={nth}", errno.0),
    );
    let mut child = child(&tracer("/dev/null", &[&trace, &inject]), scenario);
    child.env(ERRNO, errno.1.to_string());
    let what = format!("{scenario}, {call} {nth}: {}", errno.0);
    let text = said(child, &what);
    let met = text
        .lines()
        .find_map(|line| line.split_once(MET))
        .map(|(_, met)| met);
    met.unwrap_or_else(|| panic!("{what}: {text}"))
        .trim()
        .parse()
        .unwrap()
}

/// Fails each call of a kind in its turn, until there is none left to fail; how many there were.
#[track_caller]
fn each_injected(scenario: &str, call: &str, errno: (&str, i32)) -> usize {
    let mut nth = 1;
    while injected(scenario, call, errno, nth) > 0 {
        nth += 1;
        assert!(nth < 40, "{scenario}: {call} does not end");
    }
    nth - 1
}

/// Tries until nothing fails any more. Each failure is the injected one, and leaves nothing but so many descriptors,
/// which the process keeps for ever.
fn attempts(kept: usize, attempt: impl Fn() -> io::Result<()>) {
    let expected = std::env::var(ERRNO)
        .ok()
        .map(|errno| errno.parse().unwrap());
    // The first thread that a thread starts is the harness's test. This is it for the test's own thread.
    std::thread::spawn(|| ()).join().unwrap();
    let mut met = 0;
    let before = counted_fds();
    loop {
        let ended = attempt();
        assert!(!has_children(), "a child was left behind");
        match ended {
            Ok(()) => break,
            Err(error) => {
                assert_eq!(os_error(&error), expected, "{error}");
                assert!(counted_fds() <= before + kept, "after {error}");
                met += 1;
                assert!(met < 10, "it does not end: {error}");
            }
        }
    }
    assert!(counted_fds() <= before + kept);
    println!("{MET}{met}");
}

fn endless() -> Command {
    Command::new("sleep").arg("1000").stdin(DEVNULL)
}

fn spawned(mut command: Command) -> io::Result<()> {
    let event_loop = EventLoop::new()?;
    let mut process = command.spawn_on(&event_loop)?;
    let output = complete(&event_loop, process.communicate(Some(b"hello")))?;
    assert!(output.status.success());
    assert_eq!(output.stdout, b"hello");
    Ok(())
}

struct Idle;
impl SubprocessProtocol for Idle {}

fn protocol() -> io::Result<()> {
    let event_loop = EventLoop::new()?;
    let started = event_loop.subprocess_exec(|| Idle, Command::new("cat"));
    let (transport, _idle) = complete(&event_loop, started)?;
    transport.close();
    complete(&event_loop, async {
        while transport.returncode().is_none() {
            sleep(Duration::from_millis(1)).await;
        }
    });
    Ok(())
}

fn signal() -> io::Result<()> {
    let event_loop = EventLoop::new()?;
    let handle = event_loop.handle();
    let added = event_loop.add_signal_handler(libc::SIGUSR1, move || handle.stop());
    added.map_err(|error| match error {
        SignalError::Io(error) => error,
        other => io::Error::other(other),
    })?;
    // SAFETY: the call takes a number, and the signal is caught.
    unsafe { libc::raise(libc::SIGUSR1) };
    event_loop.run_forever().unwrap();
    assert!(event_loop.remove_signal_handler(libc::SIGUSR1));
    Ok(())
}

fn job() -> io::Result<()> {
    let event_loop = EventLoop::new()?;
    let pool = ThreadPoolExecutor::builder().max_workers(2).build();
    let ended = complete(&event_loop, async {
        run_in_executor(Some(&pool), || 7).await
    });
    pool.shutdown();
    pool.join(Duration::from_secs(3600)).unwrap();
    match ended {
        Ok(seven) => assert_eq!(seven, 7),
        Err(ExecutorError::Io(error)) => return Err(error),
        Err(other) => return Err(io::Error::other(other)),
    }
    Ok(())
}

fn run() -> io::Result<()> {
    match callsoon::run(async { 7 }) {
        Ok(seven) => assert_eq!(seven, 7),
        Err(RunError::Io(error)) => return Err(error),
        Err(other) => return Err(io::Error::other(other)),
    }
    Ok(())
}

/// A timer for which the loop sleeps, and one that is due when the loop comes to its sleep; without debug mode too.
fn late() {
    for debug in [true, false] {
        let event_loop = EventLoop::builder().debug(debug).build().unwrap();
        eprintln!("asleep");
        complete(&event_loop, sleep(Duration::from_millis(20)));
        eprintln!("due");
        complete(&event_loop, async {
            let timer = callsoon::create_task(sleep(Duration::from_millis(20)));
            callsoon::yield_now().await;
            std::thread::sleep(Duration::from_millis(30));
            timer.await.unwrap();
        });
    }
}

#[test]
fn a_loop_that_the_system_wakes_late_says_so_and_one_that_was_busy_does_not() {
    if !has_tracer() {
        return;
    }
    // Longer than the threshold and the time of the timer.
    let rules = ["trace=epoll_wait", "inject=epoll_wait:delay_exit=150000"];
    let output = ended(child(&tracer("/dev/null", &rules), "late")).unwrap();
    text_of(&output, "late");
    let errors = String::from_utf8_lossy(&output.stderr);
    let lines = errors
        .lines()
        .map(|line| line.split_once("; ").unwrap_or((line, "")).0);
    let late = "callsoon: the loop woke up late for a timer";
    let lines: Vec<_> = lines
        .filter(|line| ["asleep", "due", late].contains(line))
        .collect();
    assert_eq!(lines, ["asleep", late, "due", "asleep", "due"], "{errors}");
}

#[test]
fn h6_every_call_by_which_a_child_is_started_and_watched_may_fail() {
    if !has_tracer() {
        return;
    }
    let emfile = ("EMFILE", libc::EMFILE);
    let enomem = ("ENOMEM", libc::ENOMEM);
    assert!(each_injected("spawn", "pipe2", emfile) >= 3);
    assert!(each_injected("merged", "pipe2", emfile) >= 2);
    assert!(each_injected("protocol", "pipe2", emfile) >= 3);
    assert_eq!(each_injected("spawn", "pidfd_open", emfile), 1);
    assert_eq!(each_injected("spawn", "pidfd_open", enomem), 1);
    assert_eq!(each_injected("protocol", "pidfd_open", emfile), 1);
    // The loop's own two or three, the pidfd and three pipes.
    let no_room = ("ENOSPC", libc::ENOSPC);
    assert!(each_injected("spawn", "epoll_ctl", no_room) >= 6);
    assert!(each_injected("protocol", "epoll_ctl", no_room) >= 6);
    assert!(each_injected("merged", "fcntl", emfile) >= 1);
    // A kernel without it, or a sandbox that forbids it, is no failure: then a thread waits.
    for errno in [("ENOSYS", libc::ENOSYS), ("EPERM", libc::EPERM)] {
        assert_eq!(injected("spawn", "pidfd_open", errno, 1), 0);
    }
}

#[test]
fn h6_a_system_without_room_for_processes_and_threads_is_an_error() {
    if !has_tracer() {
        return;
    }
    let again = ("EAGAIN", libc::EAGAIN);
    for scenario in ["spawn", "protocol", "job"] {
        // Whichever of them the C library takes; the first is the test harness's.
        let calls = ["clone3", "clone", "vfork"].into_iter();
        let met = calls.map(|call| injected(scenario, call, again, 2));
        assert_eq!(met.sum::<usize>(), 1, "{scenario}");
    }
}

#[test]
fn h6_a_signal_that_the_system_refuses_to_give_is_an_error_and_others_are_received() {
    // What the process makes once for all, at the first handler, while no test counts descriptors.
    let alone = support::audit::alone();
    let first = EventLoop::new().unwrap();
    first.add_signal_handler(libc::SIGUSR2, || ()).unwrap();
    drop((first, alone));
    audited(watched(|| {
        let event_loop = real_loop(&Trace::new());
        event_loop.add_signal_handler(libc::SIGUSR2, || ()).unwrap();
        let before = (counted_fds(), event_loop.metrics().sources);
        if !forbid(libc::SYS_rt_sigaction, Some(libc::SIGUSR1), libc::EINVAL) {
            eprintln!("skipped: this system has no system call filters");
            return;
        }
        let error = event_loop.add_signal_handler(libc::SIGUSR1, || unreachable!());
        assert!(matches!(error, Err(SignalError::Io(_))), "{error:?}");
        assert!(event_loop.signal(libc::SIGUSR1).is_err());
        assert_eq!((counted_fds(), event_loop.metrics().sources), before);
        assert!(!event_loop.remove_signal_handler(libc::SIGUSR1));
        let handle = event_loop.handle();
        event_loop
            .add_signal_handler(libc::SIGUSR2, move || handle.stop())
            .unwrap();
        // SAFETY: the call takes a number, and the signal is caught.
        unsafe { libc::raise(libc::SIGUSR2) };
        event_loop.run_forever().unwrap();
    }));
}

#[test]
fn h6_every_call_by_which_a_loop_receives_signals_may_fail() {
    if !has_tracer() {
        return;
    }
    // The loop's notifier and the signals'.
    assert_eq!(
        each_injected("signal", "eventfd2", ("EMFILE", libc::EMFILE)),
        2
    );
    assert!(each_injected("signal", "epoll_ctl", ("ENOSPC", libc::ENOSPC)) >= 2);
    for call in ["epoll_create1", "eventfd2"] {
        assert_eq!(injected("run", call, ("EMFILE", libc::EMFILE), 1), 1);
    }
}

/// Children that cannot be waited for, since the system reaps them by itself.
fn gone(children: usize) {
    let before = set_disposition(libc::SIGCHLD, libc::SIG_IGN);
    let event_loop = real_loop(&Trace::new());
    complete(&event_loop, async {
        for _ in 0..children {
            let process = Command::new("true").spawn().unwrap();
            let error = process.wait().await.unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::ECHILD));
            assert_eq!(process.returncode(), None);
            let late = process.kill().unwrap_err();
            assert_eq!(late.raw_os_error(), Some(libc::ESRCH));
            drop(Command::new("true").kill_on_drop(true).spawn().unwrap());
        }
        let idle = event_loop.subprocess_exec(|| Idle, Command::new("true"));
        let (transport, _) = idle.await.unwrap();
        transport.close();
    });
    event_loop.close().unwrap();
    while has_children() {
        std::thread::yield_now();
    }
    set_disposition(libc::SIGCHLD, before);
}

fn set_disposition(signum: i32, action: usize) -> usize {
    // SAFETY: the action is the default, or "ignore", or what stood there before.
    unsafe { libc::signal(signum, action) }
}

#[test]
fn h3_where_sigchld_is_ignored_a_child_ends_with_an_error_at_once() {
    said(child(&[], "ignored"), "ignored");
}

#[test]
fn h3_a_child_that_is_gone_before_it_can_be_watched_has_ended_and_is_sent_nothing() {
    if !has_tracer() {
        return;
    }
    // Long enough for any child to end meanwhile.
    let delay = "inject=pidfd_open:delay_enter=300000";
    let calls = "trace=pidfd_open,kill,tgkill,pidfd_send_signal";
    let calls = traced("gone", &[calls, delay]);
    assert!(calls.contains("ESRCH"), "the child was there: {calls}");
    assert!(!calls.contains("kill("), "{calls}");
}

/// Everything by which a signal is sent to a child.
fn kills() {
    let event_loop = real_loop(&Trace::new());
    complete(&event_loop, async {
        for send in [Process::terminate as fn(&Process) -> _, Process::kill] {
            let process = endless().spawn().unwrap();
            send(&process).unwrap();
            assert!(process.wait().await.unwrap().signal().is_some());
            assert!(send(&process).is_err());
        }
        drop(endless().kill_on_drop(true).spawn().unwrap());
        let idle = event_loop.subprocess_exec(|| Idle, Command::new("cat"));
        let (transport, _) = idle.await.unwrap();
        transport.send_signal(libc::SIGTERM).unwrap();
        drop(endless().spawn().unwrap());
    });
    drop(event_loop);
    assert!(!has_children());
}

#[test]
fn h2_children_are_sent_signals_by_descriptor_alone() {
    if !has_tracer() {
        return;
    }
    let calls = traced(
        "kills",
        &["trace=kill,tkill,pidfd_send_signal,rt_sigqueueinfo"],
    );
    let calls: Vec<_> = calls.lines().filter(|line| line.contains('(')).collect();
    assert!(calls.len() >= 5, "{calls:#?}");
    assert!(
        calls.iter().all(|call| call.contains("pidfd_send_signal(")),
        "{calls:#?}"
    );
}

/// Starts a process that is no child of this one, and has this number.
fn other_process(pid: u32) -> std::process::Child {
    // The shell has the number before, and what it starts has this one.
    last_number(pid - 2);
    let mut shell = StdCommand::new("sh");
    let line = "sleep 1000 >/dev/null & echo $!; exec >/dev/null; wait";
    let mut shell = shell
        .args(["-c", line])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let text = io::read_to_string(shell.stdout.take().unwrap()).unwrap();
    assert_eq!(text.trim(), pid.to_string(), "the number is used again");
    shell
}

#[track_caller]
fn lives(pid: u32) {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let after_name = stat.rsplit_once(") ").unwrap().1;
    assert!(!after_name.starts_with('Z'), "the other process was killed");
    assert!(stat.contains("(sleep)"), "{stat}");
}

/// In a process namespace of its own: numbers of children that have ended are given to other processes.
fn recycled() {
    let event_loop = real_loop(&Trace::new());
    complete(&event_loop, numbers_of_other_processes());
    // The same where the system has no descriptors for children.
    if forbid(libc::SYS_pidfd_open, None, libc::ENOSYS) {
        complete(&event_loop, numbers_of_other_processes());
    }
    event_loop.close().unwrap();
    support::wait_until_gone("callsoon-child");
}

/// The next process has the number after this one.
fn last_number(pid: u32) {
    std::fs::write("/proc/sys/kernel/ns_last_pid", pid.to_string()).unwrap();
}

async fn numbers_of_other_processes() {
    for stolen in [false, true] {
        // Far from all numbers that are in use, and far from each other.
        last_number(5000);
        let process = Command::new("true").kill_on_drop(true).spawn().unwrap();
        last_number(6000);
        let idle = callsoon::get_running_loop().subprocess_exec(|| Idle, Command::new("true"));
        let (transport, _) = idle.await.unwrap();
        if stolen {
            for pid in [process.pid(), transport.pid()] {
                let mut status = 0;
                // SAFETY: the pointer is to a writable integer, and may be reached for the time of the call.
                let thief = unsafe { libc::waitpid(pid as i32, &mut status, 0) };
                assert_eq!(thief, pid as i32);
            }
        } else {
            process.wait().await.unwrap();
            while transport.returncode().is_none() {
                sleep(Duration::from_millis(1)).await;
            }
        }
        let pids = [process.pid(), transport.pid()];
        let mut others = pids.map(other_process);
        for signum in [libc::SIGTERM, libc::SIGKILL] {
            let late = process.send_signal(signum).unwrap_err();
            assert_eq!(late.raw_os_error(), Some(libc::ESRCH));
            let late = transport.send_signal(signum).unwrap_err();
            assert_eq!(late.raw_os_error(), Some(libc::ESRCH));
        }
        drop(process);
        transport.close();
        sleep(Duration::from_millis(5)).await;
        for (pid, shell) in pids.into_iter().zip(&mut others) {
            lives(pid);
            // SAFETY: the call takes numbers, of which one belongs to the other process, which still runs.
            unsafe { libc::kill(pid as i32, libc::SIGKILL) };
            shell.wait().unwrap();
        }
    }
}

#[test]
fn h2_no_signal_reaches_another_process_that_has_the_number_by_now() {
    let world = ["unshare", "--pid", "--fork", "--mount-proc"];
    let mut unshare = StdCommand::new(world[0]);
    let write = "echo 100 >/proc/sys/kernel/ns_last_pid";
    unshare.args(&world[1..]).args(["sh", "-c", write]);
    if !ended(unshare).is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: this process may not make a world of its own for process numbers");
        return;
    }
    said(child(&world, "recycled"), "recycled");
}
