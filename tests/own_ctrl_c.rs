//! A program of its own, without the test harness: Ctrl-C belongs to the main thread, where the harness runs no test.
//!
//! Each test is a scenario that this program runs in a child of itself; the test checks how the child ends. It knows
//! the arguments of the harness that test runners need: names to choose tests by, and `--list`.
#![cfg(unix)]
#![allow(unsafe_code)] // getpid and kill, to send the child's own process a signal; signal, for its disposition

mod own {
    pub(crate) mod arguments;
}

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use callsoon::{RunError, catch_cancelled, create_task, current_task, run, sleep, yield_now};

use own::arguments::is_asked_for;

const CHILD: &str = "CALLSOON_CTRL_C_CHILD";

/// A name, what the child does, and what must become of it: success, or death by Ctrl-C.
type Test = (&'static str, fn(), fn(ExitStatus, &str));

const TESTS: [Test; 6] = [
    (
        "the_first_ctrl_c_cancels_main_which_cleans_up",
        cleans_up,
        succeeds,
    ),
    (
        "a_main_that_handles_ctrl_c_gives_its_value",
        handles,
        succeeds,
    ),
    (
        "a_main_that_somebody_else_cancelled_as_well_is_cancelled_and_not_interrupted",
        is_cancelled_twice,
        succeeds,
    ),
    (
        "a_second_ctrl_c_ends_a_process_that_is_stuck",
        is_stuck,
        dies,
    ),
    (
        "after_the_run_ctrl_c_does_what_it_did_before",
        runs_and_ends,
        dies,
    ),
    (
        "a_ctrl_c_that_the_parent_had_ignored_stays_ignored",
        is_started_in_the_background,
        succeeds,
    ),
];

fn main() {
    if let Ok(name) = std::env::var(CHILD) {
        let test = TESTS.iter().find(|test| test.0 == name);
        // A shell that starts the tests in the background has them ignore Ctrl-C.
        set_disposition(libc::SIG_DFL);
        return test.expect("a test of this name").1();
    }
    for (name, _, judge) in TESTS {
        if !is_asked_for(name) {
            continue;
        }
        let mut child = Command::new(std::env::current_exe().unwrap());
        let output = child.env(CHILD, name).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        judge(output.status, &text);
        println!("test {name} ... ok");
    }
}

fn succeeds(status: ExitStatus, output: &str) {
    assert!(status.success(), "{status}: {output}");
}

/// By Ctrl-C, after having said how far it came.
fn dies(status: ExitStatus, output: &str) {
    assert_eq!(status.signal(), Some(libc::SIGINT), "{output}");
    assert_eq!(output, "so far, so good\n");
}

fn press_ctrl_c() {
    // SAFETY: both are plain system calls on numbers.
    let sent = unsafe { libc::kill(libc::getpid(), libc::SIGINT) };
    assert_eq!(sent, 0);
}

fn set_disposition(disposition: libc::sighandler_t) {
    // SAFETY: no handler is installed, and there is no other thread yet.
    let former = unsafe { libc::signal(libc::SIGINT, disposition) };
    assert_ne!(former, libc::SIG_ERR);
}

fn cleans_up() {
    let mut clean = false;
    let result: Result<(), _> = run(async {
        press_ctrl_c();
        let cancelled = catch_cancelled(sleep(Duration::from_secs(60)))
            .await
            .unwrap_err();
        assert_eq!(cancelled.message(), Some("interrupted by Ctrl-C"));
        sleep(Duration::from_millis(1)).await;
        clean = true;
        cancelled.resume().await
    });
    assert!(matches!(result, Err(RunError::Interrupted)), "{result:?}");
    assert!(clean);
}

fn handles() {
    let result = run(async {
        press_ctrl_c();
        drop(catch_cancelled(sleep(Duration::from_secs(60))).await);
        "saved"
    });
    assert_eq!(result.unwrap(), "saved");
}

fn is_cancelled_twice() {
    let result = run(async {
        let main = current_task().unwrap();
        press_ctrl_c();
        create_task(async move {
            main.cancel_with("by another");
        })
        .detach();
        sleep(Duration::from_secs(60)).await;
    });
    // The order of the two is the system's; the other one has asked before main runs again.
    assert!(matches!(result, Err(RunError::Cancelled(_))), "{result:?}");
}

fn is_stuck() {
    let _ = run(async {
        press_ctrl_c();
        drop(catch_cancelled(sleep(Duration::from_secs(60))).await);
        println!("so far, so good");
        press_ctrl_c();
        println!("not reached");
    });
}

fn runs_and_ends() {
    run(yield_now()).unwrap();
    println!("so far, so good");
    press_ctrl_c();
}

fn is_started_in_the_background() {
    set_disposition(libc::SIG_IGN);
    let result = run(async {
        press_ctrl_c();
        sleep(Duration::from_millis(1)).await;
        press_ctrl_c();
        "unimpressed"
    });
    assert_eq!(result.unwrap(), "unimpressed");
    press_ctrl_c();
}
