//! How children end, are awaited, killed and reaped: faults H2 and H5, with pidfds and without.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use callsoon::process::{Command, PIPE, SubprocessTransport, create_subprocess_shell};
use callsoon::{EventLoop, create_task, get_running_loop, sleep, timeout, yield_now};

use crate::own::children::tested;
use crate::support::{Trace, complete, forbid, real_loop, rounds_alone, virtual_loop, warnings_of};

use crate::*;

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
        kept.stdin.as_ref().unwrap().write(pattern(LARGE));
        let taken = kept.stdin.take().unwrap();
        event_loop
            .create_task(async {
                let mut process = Command::new("cat").stdin(PIPE).stdout(PIPE).await.unwrap();
                process.communicate(Some(&pattern(LARGE))).await.unwrap();
            })
            .detach();
        let idle = event_loop.subprocess_exec(|| Idle, Command::new("cat"));
        let (transport, _) = complete(&event_loop, idle).unwrap();
        transport.pipe_transport(0).unwrap().write(pattern(LARGE));
        event_loop.close().unwrap();
        taken.write(b"nobody");
        assert!(taken.is_closing());
        drop((kept, taken, transport));
    });
}

/// Every behaviour that uses a pidfd, without one.
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
        unsafe { libc::waitpid(stolen.pid() as i32, &mut status, 0) };
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
fn a_virtual_clock_does_not_jump_while_a_child_is_read() {
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

#[test]
fn h2_children_that_a_tracer_holds_are_reaped_when_it_detaches() {
    // Alone, for the tracer is a child.
    tested(|| {
        if std::env::var_os("CALLSOON_SANITIZED").is_some() {
            println!(
                "skipped: the leak checker traces its own process, which one that is traced cannot be"
            );
            return;
        }
        let mut strace = std::process::Command::new("strace");
        if !strace
            .args(["-qq", "-e", "trace=none", "-o", "/dev/null", "true"])
            .output()
            .is_ok_and(|said| said.status.success())
        {
            println!("skipped: strace is not there, or may not trace");
            return;
        }
        // The exit of a traced child is its tracer's to see first: its descriptor is readable by then, and no other
        // process may reap it.
        let traced = std::process::Command::new("strace")
            .args(["-f", "-qq", "-e", "trace=none", "-o", "/dev/null"])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "--test-threads", "1"])
            .args([
                "ending::h5_kill_on_drop_kills_and_leaves_no_zombie",
                "a_cancelled_communicate_loses_nothing",
                "ending::h2_a_stopped_child_has_not_exited",
                "by_protocol::a_protocol_of_a_child_without_pipes_is_called_at_its_exit",
            ])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&traced.stdout);
        assert!(traced.status.success(), "{said}");
        assert!(said.contains("4 passed"), "{said}");
    });
}

#[test]
fn a_child_that_has_ended_lets_others_run_however_often_it_is_asked() {
    on_a_loop(async || {
        let mut child = Command::new("true").stdout(PIPE).await.unwrap();
        assert!(child.wait().await.unwrap().success());
        let waits = async || assert!(child.wait().await.unwrap().success());
        assert_eq!(rounds_alone(waits).await, Some(128));
        child.communicate(None).await.unwrap();
        let communicates = async || drop(child.communicate(None).await.unwrap());
        assert!(rounds_alone(communicates).await.is_some_and(|n| n <= 128));
    });
}

#[test]
fn a_subprocess_transport_that_is_open_when_its_loop_closes_is_named_in_debug_mode() {
    tested(|| {
        let warned = |debug: bool, end: fn(&SubprocessTransport)| {
            warnings_of(|| {
                let event_loop = EventLoop::builder().debug(debug).build().unwrap();
                let opened = complete(&event_loop, async {
                    let command = endless().stdout(DEVNULL).stderr(DEVNULL);
                    let event_loop = callsoon::get_running_loop();
                    let started = event_loop.subprocess_exec(|| Idle, command).await;
                    let (transport, protocol) = started.unwrap();
                    end(&transport);
                    if transport.is_closing() {
                        until_no_child_is_left().await;
                    }
                    (transport, protocol)
                });
                drop(event_loop);
                drop(opened);
            })
        };
        assert_eq!(warned(true, SubprocessTransport::close), [""; 0]);
        assert_eq!(warned(false, |_| ()), [""; 0]);
        let lines = warned(true, |_| ());
        let [line] = &lines[..] else {
            panic!("{lines:?}")
        };
        let event =
            "WARN a resource was not closed before its loop resource=\"a subprocess transport\"";
        let (text, place) = line.split_once(" location=").unwrap();
        assert_eq!(text, event);
        assert!(place.contains("ending.rs"), "{place}");
    });
}
