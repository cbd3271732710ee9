//! A process of its own, because children, limits and what a fork shares belong to the whole process.
//!
//! Pipes, streams and protocols of children; faults H2 and H4 to H9.

#![allow(unsafe_code)]

#[expect(dead_code, unused_imports, reason = "a part of it is needed here")]
#[path = "../it/support/mod.rs"]
mod support;

#[path = "../own"]
mod own {
    pub(crate) mod children;
}

mod by_protocol;
mod ending;
mod starting;

use std::future::Future;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::rc::Rc;
use std::time::Duration;

use callsoon::process::{
    Command, DEVNULL, PIPE, STDOUT, SubprocessProtocol, create_subprocess_shell,
};
use callsoon::{create_task, sleep, timeout, yield_now};

use own::children::{has_children, tested};
use support::{Trace, complete, real_loop};

struct Idle;
impl SubprocessProtocol for Idle {}

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

/// Bytes that show where they were cut.
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
        stdin.write(pattern(1_000_000));
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
        stdin.write(pattern(1_000_000));
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
