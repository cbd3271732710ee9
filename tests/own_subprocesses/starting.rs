//! What a child inherits, and what happens if it cannot be started: faults H6 and H7.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt as _;

use callsoon::get_running_loop;
use callsoon::process::{Command, PIPE, STDOUT, create_subprocess_shell};

use crate::own::children::has_children;
use crate::support::{counted_fds, forbid, rounds_alone};

use crate::*;

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
        // SAFETY: the handler does nothing. The set is initialised by the first call on it, and outlives all of them;
        // the mask is this thread's.
        unsafe {
            libc::signal(libc::SIGUSR1, handle as *const () as libc::sighandler_t);
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&mut set);
            libc::sigaddset(&mut set, libc::SIGUSR2);
            libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
        }
        // The shell's own glob has the folder open while it expands, and no more.
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
        // 32 and 33 are the C library's own, which no program can ask about. What the parent of this process had
        // ignored stays so, as under nohup; SIGPIPE, which Rust's own start ignores, does not.
        let own = fs::read_to_string("/proc/self/status").unwrap();
        let ignored = signals(&own, "SigIgn:") & !(1 << (libc::SIGPIPE - 1));
        assert_eq!(set("SigIgn:") & !(0b11 << 31), ignored & !(0b11 << 31));
        assert_eq!(set("SigCgt:"), 0);
        // 0 to 2, the folder itself, and the line that says how many blocks; and what this process was given by the one
        // that has started it.
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
        let mut nobody = Command::new("true");
        nobody.as_std_mut().uid(u32::MAX);
        for (command, expected) in [
            (nobody, io::ErrorKind::InvalidInput),
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
fn programs_that_cannot_be_started_let_others_run() {
    on_a_loop(async || {
        let starts = async || assert!(Command::new("/nonexistent/program").await.is_err());
        assert_eq!(rounds_alone(starts).await, Some(128));
        let handle = get_running_loop();
        let starts = async || {
            let program = Command::new("/nonexistent/program");
            assert!(handle.subprocess_exec(|| Idle, program).await.is_err());
        };
        assert_eq!(rounds_alone(starts).await, Some(128));
        assert!(!has_children());
    });
}
