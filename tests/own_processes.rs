//! A process of its own, because children, their reaping and SIGCHLD belong to the whole process.
//!
//! Faults H1, H3 to H6 and H9.

#![allow(unsafe_code)]

#[expect(dead_code, unused_imports, reason = "a part of it is needed here")]
#[path = "it/support/mod.rs"]
mod support;

mod own {
    pub(crate) mod children;
}

use std::io::{self, BufRead as _, Write as _};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::ptr;
use std::rc::Rc;
use std::time::Duration;

use callsoon::process::{Process, spawn};
use callsoon::{EventLoop, create_task, get_running_loop, sleep, yield_now};

use own::children::{has_children, tested};
use support::descendants::descendants;
use support::{
    Patience, Trace, complete, counted_fds, forbid, one_turn, pipe, real_loop, virtual_loop,
};

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]).stdin(Stdio::null());
    command
}

/// A process that runs until it is killed.
fn endless() -> Command {
    let mut command = Command::new("sleep");
    command.arg("1000").stdin(Stdio::null());
    command
}

#[test]
fn the_audit_sees_a_grandchild_whose_parent_has_ended() {
    tested(|| {
        let line = "sleep 1000 >/dev/null 2>&1 & echo $!";
        let output = shell(line).output().unwrap();
        assert!(output.status.success() && !has_children());
        let pid = String::from_utf8(output.stdout).unwrap();
        let pid: u32 = pid.trim().parse().unwrap();
        assert!(descendants().contains_key(&pid));
        // SAFETY: the call takes numbers; the process was started by this test and lives for a thousand seconds.
        assert_eq!(unsafe { libc::kill(pid as i32, libc::SIGKILL) }, 0);
    });
}

/// The test below runs it in a process of its own.
#[test]
#[ignore = "it never ends by itself"]
fn a_test_with_children_that_is_killed() {
    tested(|| {
        let mut grandchild = shell("sleep 1000 >/dev/null 2>&1 & echo $! && exec sleep 1000");
        grandchild.spawn().unwrap().wait().unwrap();
    });
}

#[test]
fn a_test_that_is_killed_half_way_leaves_no_child_behind() {
    tested(|| {
        let program = std::env::current_exe().unwrap();
        let mut test = Command::new(program);
        test.args([
            "--exact",
            "a_test_with_children_that_is_killed",
            "--ignored",
            "--nocapture",
        ]);
        let mut test = test
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = io::BufReader::new(test.stdout.take().unwrap()).lines();
        let grandchild: u32 = lines
            .find_map(|line| line.unwrap().trim().parse().ok())
            .unwrap();
        test.kill().unwrap();
        test.wait().unwrap();
        let mut patience = Patience::new();
        while std::path::Path::new(&format!("/proc/{grandchild}")).exists() {
            assert!(patience.lets_others_run(), "the grandchild lives on");
        }
    });
}

#[test]
fn any_number_may_wait_and_all_get_the_same_status() {
    tested(|| {
        let event_loop = real_loop(&Trace::new());
        complete(&event_loop, async {
            // It ends when it is told to, and not by itself.
            let (reader, writer) = pipe().unwrap();
            let mut command = shell("read line; exit 7");
            let process = Rc::new(spawn(command.stdin(reader).stdout(Stdio::null())).unwrap());
            assert_eq!(process.returncode(), None);
            let waiters: Vec<_> = (0..10)
                .map(|_| {
                    let process = Rc::clone(&process);
                    create_task(async move { process.wait().await.unwrap().code() })
                })
                .collect();
            // One that gives up does nothing to the process, nor to the others.
            yield_now().await;
            waiters[3].cancel();
            drop(writer);
            for (number, waiter) in waiters.into_iter().enumerate() {
                let code = waiter.await.ok();
                assert_eq!(code, (number != 3).then_some(Some(7)));
            }
            assert_eq!(process.wait().await.unwrap().code(), Some(7));
            assert_eq!(process.returncode().unwrap().code(), Some(7));
        });
    });
}

#[test]
fn a_signal_reaches_the_process_and_later_ones_reach_no_process() {
    tested(|| {
        let event_loop = real_loop(&Trace::new());
        complete(&event_loop, async {
            for (signum, send) in [
                (libc::SIGTERM, Process::terminate as fn(&Process) -> _),
                (libc::SIGKILL, Process::kill),
            ] {
                let process = spawn(&mut endless()).unwrap();
                send(&process).unwrap();
                assert_eq!(process.wait().await.unwrap().signal(), Some(signum));
                let late = send(&process).unwrap_err();
                assert_eq!(late.raw_os_error(), Some(libc::ESRCH));
            }
        });
    });
}

#[test]
fn h1_five_hundred_children_that_exit_at_once_give_their_statuses() {
    const CHILDREN: usize = 500;
    tested(|| {
        let event_loop = real_loop(&Trace::new());
        complete(&event_loop, async {
            // Each waits for its line: all are given at once.
            let (reader, mut writer) = pipe().unwrap();
            let processes: Vec<_> = (0..CHILDREN)
                .map(|number| {
                    let mut command = shell(&format!("read line; exit {}", number % 200));
                    spawn(command.stdin(reader.try_clone().unwrap())).unwrap()
                })
                .collect();
            writer.write_all(&[b'\n'; CHILDREN]).unwrap();
            drop(writer);
            for (number, process) in processes.iter().enumerate() {
                let code = process.wait().await.unwrap().code();
                assert_eq!(code, Some((number % 200) as i32));
            }
        });
    });
}

#[test]
fn h3_a_child_that_other_code_has_reaped_is_an_error_at_once() {
    tested(|| {
        let event_loop = real_loop(&Trace::new());
        complete(&event_loop, async {
            let process = spawn(&mut shell("exit 3")).unwrap();
            let mut status = 0;
            // SAFETY: the pointer is to a writable integer, and may be reached for the time of the call.
            let thief = unsafe { libc::waitpid(process.pid() as i32, &mut status, 0) };
            assert_eq!(thief, process.pid() as i32);
            let error = process.wait().await.unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::ECHILD));
            assert_eq!(process.returncode(), None);
        });
    });
}

#[test]
fn h4_wait_ends_with_the_process_although_a_grandchild_holds_its_output() {
    tested(|| {
        let event_loop = real_loop(&Trace::new());
        complete(&event_loop, async {
            let mut process = spawn(shell("sleep 1000 & echo $!").stdout(Stdio::piped())).unwrap();
            assert!(process.wait().await.unwrap().success());
            let line = process.stdout.as_mut().unwrap().readline().await.unwrap();
            let line = String::from_utf8(line).unwrap();
            let grandchild: i32 = line.trim().parse().unwrap();
            // It lives still, which is what the wait has not waited for.
            // SAFETY: the call takes numbers; the grandchild was started by this test and lives for a thousand seconds.
            assert_eq!(unsafe { libc::kill(grandchild, libc::SIGKILL) }, 0);
        });
    });
}

#[test]
fn h5_processes_whose_handles_are_dropped_are_reaped_by_the_loop() {
    tested(|| {
        let event_loop = real_loop(&Trace::new());
        complete(&event_loop, async {
            for _ in 0..1_000 {
                drop(spawn(&mut Command::new("true")).unwrap());
            }
            // Nobody is a task for it.
            assert_eq!(get_running_loop().all_tasks().len(), 1);
            while has_children() {
                sleep(Duration::from_millis(1)).await;
            }
            assert_eq!(get_running_loop().metrics().sources, 0);
        });
    });
}

#[test]
fn h5_a_loop_that_closes_kills_and_reaps_what_still_runs() {
    tested(|| {
        let event_loop = real_loop(&Trace::new());
        let kept = event_loop.spawn_process(&mut endless()).unwrap();
        drop(event_loop.spawn_process(&mut endless()).unwrap());
        event_loop
            .create_task(async {
                let process = spawn(&mut endless()).unwrap();
                process.wait().await.unwrap();
            })
            .detach();
        one_turn(&event_loop);
        event_loop.close().unwrap();
        // The one that is still held lives as long as its handle.
        assert_eq!(kept.returncode(), None);
        drop(kept);
    });
}

#[test]
fn h6_what_cannot_be_started_leaves_nothing_behind() {
    tested(|| {
        let event_loop = real_loop(&Trace::new());
        let before = counted_fds();
        let mut missing = Command::new("/no/such/program");
        let error = event_loop.spawn_process(&mut missing).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        let mut directory = Command::new("/tmp");
        assert!(event_loop.spawn_process(&mut directory).is_err());
        // And what was started, but cannot be watched.
        if forbid(libc::SYS_pidfd_open, None, libc::EMFILE) {
            let error = event_loop.spawn_process(&mut endless()).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
        }
        assert_eq!(counted_fds(), before);
        assert_eq!(event_loop.metrics().sources, 0);
        event_loop.close().unwrap();
        assert!(event_loop.spawn_process(&mut endless()).is_err());
    });
}

#[test]
fn h9_a_forked_child_leaves_its_parent_s_children_alone() {
    tested(|| {
        let event_loop = EventLoop::new().unwrap();
        let process = event_loop.spawn_process(&mut endless()).unwrap();
        // SAFETY: the child drops two values and leaves by `_exit`, so that it never returns into the harness. What it
        // does takes no lock that another thread could have held.
        let status = unsafe {
            match libc::fork() {
                0 => {
                    drop(ptr::read(&process));
                    drop(ptr::read(&event_loop));
                    libc::_exit(0)
                }
                pid => {
                    let mut status = 0;
                    assert_eq!(libc::waitpid(pid, &mut status, 0), pid);
                    status
                }
            }
        };
        assert!(libc::WIFEXITED(status));
        assert_eq!(process.returncode(), None);
        process.kill().unwrap();
        let end = complete(&event_loop, process.wait()).unwrap();
        assert_eq!(end.signal(), Some(libc::SIGKILL));
    });
}

#[test]
fn a_virtual_clock_does_not_jump_while_a_task_waits_for_a_process() {
    tested(|| {
        let event_loop = virtual_loop(&Trace::new());
        let start = event_loop.time();
        event_loop
            .run_until_complete(async move {
                let hour = create_task(sleep(Duration::from_secs(3600)));
                let process = spawn(&mut shell("sleep 0.05")).unwrap();
                process.wait().await.unwrap();
                assert_eq!(get_running_loop().time(), start);
                hour.await.unwrap();
            })
            .unwrap();
    });
}
