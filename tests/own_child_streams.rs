//! A process of its own, because children, and what a fork shares, belong to the whole process.
//!
//! A child's pipes as streams and transports: what they share with both, and where a child differs from a
//! peer.

#![allow(unsafe_code)]

#[expect(dead_code, unused_imports, reason = "a part of it is needed here")]
#[path = "it/support/mod.rs"]
mod support;

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::num::NonZeroUsize;
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use callsoon::process::{
    Command, DEVNULL, PIPE, SubprocessProtocol, SubprocessTransport, create_subprocess_shell,
};
use callsoon::stream::{StreamReader, StreamWriter};
use callsoon::{EventLoop, PollBufRead as _, PollRead as _, create_task, get_running_loop, sleep};

use support::{Trace, audited, complete, counted_fds, real_loop, until, virtual_loop, watched};

#[track_caller]
fn on_a_loop<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    audited(watched(move || {
        let trace = Trace::new();
        let event_loop = real_loop(&trace);
        complete(&event_loop, test());
        assert_eq!(trace.take(), [""; 0], "nothing was reported");
    }));
}

/// What one poll from outside any loop gives.
fn polled_once<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn a_child_s_pipes_are_streams_with_all_their_methods() {
    on_a_loop(async || {
        let mut cat = Command::new("cat").stdin(PIPE).stdout(PIPE).await.unwrap();
        let stdin: StreamWriter = cat.stdin.take().unwrap();
        let stdout: &mut StreamReader = cat.stdout.as_mut().unwrap();
        stdin.writelines(&["one;", "two,", "rest"]);
        stdin.write_eof();
        assert!(stdin.is_closing());
        let separators: [&[u8]; 2] = [b",", b";"];
        assert_eq!(stdout.readuntil_any(&separators).await.unwrap(), b"one;");
        assert_eq!(stdout.readuntil_any(&separators).await.unwrap(), b"two,");
        let mut rest = [0; 4];
        let mut come = 0;
        while come < 4 {
            come += stdout.read_into(&mut rest[come..]).await.unwrap();
        }
        assert_eq!(&rest, b"rest");
        assert_eq!(stdout.read_into(&mut rest).await.unwrap(), 0);
        assert!(stdin.peername().is_none() && stdin.sockname().is_none());
        assert!(cat.wait().await.unwrap().success());
    });
}

/// Writes 128 KiB as packets of 4 KiB, and each read ends with a packet.
fn packets() -> Command {
    let arguments = [
        "if=/dev/zero",
        "oflag=direct",
        "bs=131072",
        "count=1",
        "status=none",
    ];
    Command::new("dd").args(arguments)
}

#[test]
fn a_child_that_writes_packets_is_read_to_the_end() {
    on_a_loop(async || {
        let mut dd = packets().stdout(PIPE).await.unwrap();
        let output = dd.communicate(None).await.unwrap();
        assert!(output.status.success());
        assert_eq!(output.stdout, vec![0; 131_072]);
        let mut dd = packets().stdout(PIPE).await.unwrap();
        let stdout = dd.stdout.as_mut().unwrap();
        assert_eq!(stdout.readexactly(131_072).await.unwrap(), vec![0; 131_072]);
        assert_eq!(stdout.read_to_end().await.unwrap(), b"");
        assert!(dd.wait().await.unwrap().success());
        let heard = Rc::new(Heard::default());
        let factory = {
            let heard = Rc::clone(&heard);
            move || Listener(heard)
        };
        let starting = get_running_loop().subprocess_exec(factory, packets());
        starting.await.unwrap();
        until(|| heard.exited.get()).await;
        assert_eq!(heard.bytes.get(), 131_072);
    });
}

/// How much has come of a child's output, and whether it is over.
#[derive(Default)]
struct Heard {
    bytes: Cell<usize>,
    exited: Cell<bool>,
}

struct Listener(Rc<Heard>);

impl SubprocessProtocol for Listener {
    fn pipe_data_received(&self, _: &SubprocessTransport, fd: i32, data: &[u8]) {
        assert_eq!(fd, 1);
        self.0.bytes.set(self.0.bytes.get() + data.len());
    }

    fn connection_lost(&self, _: &SubprocessTransport, _: Option<io::Error>) {
        self.0.exited.set(true);
    }
}

#[test]
fn a_child_that_says_more_than_its_reader_keeps_has_to_wait() {
    on_a_loop(async || {
        let limit = NonZeroUsize::new(1000).unwrap();
        let shell = create_subprocess_shell("head -c 1000000 /dev/zero").limit(limit);
        let mut shell = shell.stdout(PIPE).await.unwrap();
        sleep(Duration::from_millis(50)).await;
        assert_eq!(shell.returncode(), None, "the pipe is full");
        let stdout = shell.stdout.as_mut().unwrap();
        assert_eq!(stdout.readexactly(10).await.unwrap(), [0; 10]);
        assert_eq!(stdout.read_to_end().await.unwrap().len(), 999_990);
        assert!(shell.wait().await.unwrap().success());
    });
}

#[test]
fn a_drain_fails_although_nothing_was_lost_when_the_child_went() {
    on_a_loop(async || {
        let cat = create_subprocess_shell("exec <&-; exec sleep 1000")
            .stdin(PIPE)
            .kill_on_drop(true);
        let cat = cat.await.unwrap();
        let stdin = cat.stdin.as_ref().unwrap();
        stdin.drain().await.unwrap();
        stdin.wait_closed().await.unwrap();
        let error = stdin.drain().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        cat.kill().unwrap();
        cat.wait().await.unwrap();
    });
}

#[test]
fn a_virtual_clock_does_not_jump_during_any_kind_of_read() {
    audited(watched(|| {
        let event_loop = virtual_loop(&Trace::new());
        let start = event_loop.time();
        let talk = async move {
            let hour = create_task(sleep(Duration::from_secs(3600)));
            let line =
                "sleep 0.05; echo one; sleep 0.05; echo two; sleep 0.05; echo three; sleep 0.05";
            let mut shell = create_subprocess_shell(line).stdout(PIPE).await.unwrap();
            let stdout = shell.stdout.as_mut().unwrap();
            assert_eq!(stdout.readline().await.unwrap(), b"one\n");
            assert_eq!(get_running_loop().time(), start);
            let mut two = [0; 100];
            let count = stdout.read_into(&mut two).await.unwrap();
            assert_eq!(&two[..count], b"two\n");
            assert_eq!(get_running_loop().time(), start);
            let polled = poll_fn(|context| stdout.poll_read(context, &mut two));
            assert_eq!(polled.await.unwrap(), 6);
            assert_eq!(get_running_loop().time(), start);
            // A poll that is not repeated holds the clock until the child ends, and no longer.
            let mut context = Context::from_waker(Waker::noop());
            assert!(stdout.poll_read(&mut context, &mut two).is_pending());
            shell.wait().await.unwrap();
            // A read that was given up holds nothing.
            hour.await.unwrap();
        };
        event_loop.run_until_complete(talk).unwrap();
    }));
}

/// Runs a test with a silent child's output and its input, then lets ten seconds pass, which nothing may hold up.
fn ten_seconds_after(test: impl AsyncFnOnce(&mut StreamReader, &StreamWriter) + Send + 'static) {
    audited(watched(|| {
        let event_loop = virtual_loop(&Trace::new());
        complete(&event_loop, async move {
            let mut cat = Command::new("cat").stdin(PIPE).stdout(PIPE).await.unwrap();
            let stdin = cat.stdin.take().unwrap();
            test(cat.stdout.as_mut().unwrap(), &stdin).await;
            sleep(Duration::from_secs(10)).await;
            drop(stdin);
            cat.wait().await.unwrap();
        });
    }));
}

#[test]
fn a_wait_for_a_line_that_is_given_up_holds_no_virtual_clock() {
    ten_seconds_after(async |stdout, _| {
        let mut lines = stdout.lines();
        let mut line = Box::pin(lines.next_line());
        assert!(support::poll_once(&mut line).await.is_none());
        drop(line);
        sleep(Duration::from_secs(10)).await;
        // Still the same lines.
        let mut line = Box::pin(lines.next_line());
        assert!(support::poll_once(&mut line).await.is_none());
    });
}

#[test]
fn a_poll_that_another_read_has_followed_holds_no_virtual_clock() {
    ten_seconds_after(async |stdout, stdin| {
        let pending = poll_fn(|context| Poll::Ready(stdout.poll_read(context, &mut [0; 9])));
        assert!(pending.await.is_pending());
        stdin.write(b"one");
        let mut bytes = [0; 9];
        assert_eq!(stdout.read_into(&mut bytes).await.unwrap(), 3);
    });
    ten_seconds_after(async |stdout, stdin| {
        let pending = poll_fn(|context| Poll::Ready(stdout.poll_fill_buf(context).is_pending()));
        assert!(pending.await);
        stdin.write(b"one");
        assert_eq!(stdout.readexactly(3).await.unwrap(), b"one");
    });
}

#[test]
fn on_a_closed_loop_no_task_waits_for_a_child() {
    audited(watched(|| {
        let event_loop = real_loop(&Trace::new());
        let mut cat = Command::new("cat")
            .stdin(PIPE)
            .stdout(PIPE)
            .spawn_on(&event_loop)
            .unwrap();
        cat.stdin.as_ref().unwrap().write(vec![0; 1_000_000]);
        event_loop.close().unwrap();
        let stdout = cat.stdout.as_mut().unwrap();
        assert!(matches!(
            polled_once(stdout.readline()),
            Poll::Ready(Err(_))
        ));
        let mut room = [0; 10];
        assert!(matches!(
            polled_once(stdout.read_into(&mut room)),
            Poll::Ready(Err(_))
        ));
        let stdin = cat.stdin.as_ref().unwrap();
        assert!(matches!(
            polled_once(stdin.wait_closed()),
            Poll::Ready(Ok(()))
        ));
        assert!(matches!(
            polled_once(cat.communicate(None)),
            Poll::Ready(Err(_))
        ));
        drop(cat);
    }));
}

#[test]
fn h9_a_forked_child_takes_nothing_of_what_its_sibling_says() {
    audited(watched(|| {
        let event_loop = EventLoop::new().unwrap();
        let limit = NonZeroUsize::new(10).unwrap();
        let mut head = create_subprocess_shell("exec head -c 1000000 /dev/zero")
            .limit(limit)
            .stdout(PIPE)
            .spawn_on(&event_loop)
            .unwrap();
        // It has begun, and more is on its way than its reader keeps.
        let said = || format!("{:?}", head.stdout.as_ref().unwrap());
        let has_come = || !said().starts_with("StreamReader { buffered: 0,");
        complete(&event_loop, until(has_come));
        // SAFETY: the child leaves by `_exit`, so that it never returns into the harness, and takes no lock that
        // another thread could have held. It drops nothing that the parent goes on using; memory is not shared.
        let status = unsafe {
            match libc::fork() {
                0 => {
                    let stdout = head.stdout.as_mut().unwrap();
                    let mut room = [0; 4096];
                    let mut come = 0;
                    // What the parent has read already is in this memory too.
                    while let Poll::Ready(Ok(count)) = polled_once(stdout.read_into(&mut room)) {
                        come += count;
                    }
                    let line = polled_once(stdout.readline());
                    let refused = matches!(line, Poll::Ready(Err(_)));
                    libc::_exit(i32::from(!refused || !(1..=64 * 1024).contains(&come)))
                }
                pid => {
                    let mut status = 0;
                    assert_eq!(libc::waitpid(pid, &mut status, 0), pid);
                    status
                }
            }
        };
        assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0);
        let output = complete(&event_loop, head.communicate(None)).unwrap();
        assert_eq!(output.stdout.len(), 1_000_000);
    }));
}

/// Holds the transport that holds it.
#[derive(Default)]
struct Cycle(RefCell<Option<SubprocessTransport>>);

impl SubprocessProtocol for Cycle {
    fn connection_made(&self, transport: &SubprocessTransport) {
        *self.0.borrow_mut() = Some(transport.clone());
    }
}

#[test]
fn a_protocol_that_holds_its_transport_goes_with_the_loop() {
    audited(watched(|| {
        let before = counted_fds();
        let event_loop = real_loop(&Trace::new());
        let mut cycles: Vec<Weak<Cycle>> = Vec::new();
        let sleeper = || Command::new("sleep").arg("1000");
        let mute = sleeper().stdin(DEVNULL).stdout(DEVNULL).stderr(DEVNULL);
        for sleeper in [sleeper(), mute] {
            let started = event_loop.subprocess_exec(Cycle::default, sleeper);
            let (_, cycle) = complete(&event_loop, started).unwrap();
            cycles.push(Rc::downgrade(&cycle));
        }
        // One that has exited, while another process holds its pipes.
        let line = "exec 3<&0; cat <&3 & exit 0";
        let started = event_loop.subprocess_shell(Cycle::default, line);
        let (transport, cycle) = complete(&event_loop, started).unwrap();
        complete(&event_loop, until(|| transport.returncode().is_some()));
        cycles.push(Rc::downgrade(&cycle));
        drop((transport, cycle));
        assert!(cycles.iter().all(|cycle| cycle.strong_count() > 0));
        drop(event_loop);
        assert!(cycles.iter().all(|cycle| cycle.strong_count() == 0));
        assert_eq!(counted_fds(), before);
    }));
}
