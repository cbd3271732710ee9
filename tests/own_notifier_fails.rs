//! A process of its own for each test, because what is proven is a line on stderr, and a write that fails.
//!
//! Fault D8: the descriptor that wakes a sleeping loop cannot be written. That must be reported at once, and the next
//! sender must try again.

#[expect(dead_code, unused_imports, reason = "a part of it is needed here")]
#[path = "it/support/mod.rs"]
mod support;

use std::io::Write as _;
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use callsoon::get_running_loop;

use support::{
    SharedTrace, audited, forbid, loop_and_notifier, thread_id, wait_until_asleep, watched,
};

/// Set in the child.
const CHILD: &str = "CALLSOON_BELL_CHILD";

/// What the child prints if it cannot do what it is asked to do.
const SKIPPED: &str = "skipped: this system has no system call filters";

/// The report that must appear.
const ALARM: &str = "cannot be woken";

/// Runs `test` in a child process, and gives its stderr; `None`, with the reason printed, where it had to skip.
fn stderr_of_child(name: &str, test: fn()) -> Option<String> {
    if std::env::var_os(CHILD).is_some() {
        test();
        return None;
    }
    // The pipes to the child do not come from another test of this process.
    let _alone = support::audit::alone();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&child.stderr).into_owned();
    assert!(child.status.success(), "{}: {stderr}", child.status);
    if stderr.contains(SKIPPED) {
        eprintln!("{SKIPPED}");
        return None;
    }
    Some(stderr)
}

/// Writes to standard error directly, which the harness does not capture; the library does so too.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

#[test]
fn d8_a_notifier_that_fails_is_reported_and_notified_by_the_next_sender() {
    let Some(stderr) = stderr_of_child(
        "d8_a_notifier_that_fails_is_reported_and_notified_by_the_next_sender",
        || audited(watched(a_post_whose_notification_fails)),
    ) else {
        return;
    };
    let between = |from: &str, to: &str| {
        let (_, rest) = stderr.split_once(from).unwrap();
        rest.split_once(to).unwrap().0.to_owned()
    };
    let said = between("-- posting", "-- posted");
    assert!(said.contains(ALARM), "{stderr}");
    assert!(said.contains("Operation not permitted"), "{stderr}");
    let said = between("-- posted", "-- done");
    assert!(!said.contains(ALARM), "{stderr}");
}

fn a_post_whose_notification_fails() {
    let (event_loop, notifier) = loop_and_notifier();
    let trace = SharedTrace::new();
    let (remote, sleeper, t) = (event_loop.remote(), thread_id(), trace.clone());
    let (running, runs) = mpsc::channel();
    event_loop.call_soon(move || running.send(()).unwrap());
    let able = event_loop.remote();
    let poster = thread::spawn(move || {
        runs.recv().unwrap();
        wait_until_asleep(sleeper);
        // The filter is this inner thread's alone.
        let unable = thread::spawn(move || {
            if !forbid(libc::SYS_write, Some(notifier), libc::EPERM) {
                say(SKIPPED);
                return;
            }
            say("-- posting");
            remote.call_soon_threadsafe(t.note("first")).unwrap();
            say("-- posted");
        });
        unable.join().unwrap();
        able.call_soon_threadsafe(|| get_running_loop().stop())
            .unwrap();
    });
    event_loop.run_forever().unwrap();
    say("-- done");
    poster.join().unwrap();
    let lines = trace.take();
    assert!(lines.is_empty() || lines == ["first"], "{lines:?}");
}

#[test]
fn d8_a_guest_that_cannot_tell_its_host_reports_it_and_tries_again() {
    let Some(stderr) = stderr_of_child(
        "d8_a_guest_that_cannot_tell_its_host_reports_it_and_tries_again",
        || audited(watched(a_guest_whose_notification_fails)),
    ) else {
        return;
    };
    for callback in ["first", "second"] {
        let (_, rest) = stderr
            .split_once(&format!("-- queueing the {callback}"))
            .unwrap();
        let said = rest.split_once("-- queued").unwrap().0;
        assert!(said.contains(ALARM), "the {callback}: {stderr}");
    }
}

fn a_guest_whose_notification_fails() {
    let (event_loop, notifier) = loop_and_notifier();
    event_loop.turn(Some(Duration::ZERO)).unwrap();
    // This thread ends with the test, and the filter with it.
    if !forbid(libc::SYS_write, Some(notifier), libc::EPERM) {
        return say(SKIPPED);
    }
    let trace = SharedTrace::new();
    for callback in ["first", "second"] {
        say(&format!("-- queueing the {callback}"));
        event_loop.call_soon(trace.note(callback));
        say("-- queued");
    }
    event_loop.turn(Some(Duration::ZERO)).unwrap();
    trace.expect(["first", "second"]);
}

#[test]
fn d8_a_notifier_whose_counter_is_full_still_wakes() {
    audited(watched(|| {
        let (event_loop, notifier) = loop_and_notifier();
        // As many notifications as the counter holds: the next one would block.
        let most = (u64::MAX - 1).to_ne_bytes();
        write_to(notifier, &most);
        let (remote, sleeper) = (event_loop.remote(), thread_id());
        let (running, runs) = mpsc::channel();
        event_loop.call_soon(move || running.send(()).unwrap());
        let poster = thread::spawn(move || {
            runs.recv().unwrap();
            for _ in 0..10 {
                wait_until_asleep(sleeper);
                remote.call_soon_threadsafe(|| ()).unwrap();
            }
            remote
                .call_soon_threadsafe(|| get_running_loop().stop())
                .unwrap();
        });
        event_loop.run_forever().unwrap();
        poster.join().unwrap();
    }));
}

#[allow(unsafe_code)]
fn write_to(descriptor: i32, bytes: &[u8]) {
    // SAFETY: the pointer and the length are those of one live slice, which the call only reads.
    let written = unsafe { libc::write(descriptor, bytes.as_ptr().cast(), bytes.len()) };
    assert_eq!(written, bytes.len() as isize);
}
