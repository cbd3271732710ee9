//! Children by `SubprocessProtocol`.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use callsoon::process::{
    Command, DEVNULL, PIPE, Process, SubprocessProtocol, SubprocessTransport,
    create_subprocess_shell,
};
use callsoon::sleep;

use crate::own::children::tested;
use crate::support::{Trace, complete, real_loop, until};

use crate::*;

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
fn a_protocol_is_called_for_everything_once_and_for_the_end_last() {
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
fn a_protocol_of_a_child_without_pipes_is_called_at_its_exit() {
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
            stdin.write(pattern(1_000_000));
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
                .write(pattern(1_000_000))
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
        // It says nothing before its output is paused.
        let command = create_subprocess_shell("read line; head -c 1000000 /dev/zero");
        let command = command.stderr(DEVNULL);
        let started = event_loop.subprocess_exec(|| Noted::new(&trace), command);
        let (transport, protocol) = complete(&event_loop, async {
            let (transport, protocol) = started.await.unwrap();
            transport.pipe_transport(1).unwrap().pause_reading();
            transport.pipe_transport(0).unwrap().write(b"\n");
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
fn h4_an_exit_is_given_while_a_grandchild_holds_the_output() {
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
        let (transport, protocol) = event_loop.run_until_complete(started).unwrap().unwrap();
        complete(&event_loop, until(|| protocol.exited.get()));
        let said = || protocol.output.borrow().ends_with(b"\n");
        complete(&event_loop, until(said));
        assert!(
            transport.pipe_transport(1).is_some(),
            "the grandchild holds it"
        );
        let text = String::from_utf8(protocol.output.borrow().clone()).unwrap();
        let grandchild: i32 = text.trim().parse().unwrap();
        // It still runs, and nothing has waited for its end.
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
        // It ends when its output has been read.
        let started = event_loop.subprocess_shell(Panics::default, "echo hi; read line");
        let (transport, panics) = complete(&event_loop, started).unwrap();
        let reports = RefCell::new(Vec::new());
        let is_heard = || {
            reports.borrow_mut().extend(trace.take());
            !reports.borrow().is_empty()
        };
        complete(&event_loop, until(is_heard));
        transport.pipe_transport(0).unwrap().close();
        complete(&event_loop, until(|| panics.0.get()));
        reports.borrow_mut().extend(trace.take());
        assert_eq!(
            reports.into_inner(),
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
        // SAFETY: the child leaves by `_exit`, so that it never returns into the harness, and takes no lock that
        // another thread could have held. It drops what the parent goes on using; memory is not shared.
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

/// Has its child write and end before anybody can read.
struct Late(Noted);

impl SubprocessProtocol for Late {
    fn connection_made(&self, transport: &SubprocessTransport) {
        while transport.returncode().is_none() {
            std::thread::yield_now();
        }
        self.0.connection_made(transport);
    }
    fn pipe_data_received(&self, transport: &SubprocessTransport, fd: i32, data: &[u8]) {
        self.0.pipe_data_received(transport, fd, data);
    }
    fn connection_lost(&self, transport: &SubprocessTransport, error: Option<io::Error>) {
        self.0.connection_lost(transport, error);
    }
}

#[test]
fn what_a_child_has_written_comes_when_the_caller_has_its_transport() {
    tested(|| {
        let trace = Trace::new();
        let event_loop = real_loop(&trace);
        complete(&event_loop, async {
            let late = Late(Noted::new(&trace));
            let event_loop = callsoon::get_running_loop();
            let command = create_subprocess_shell("echo early");
            let starting = event_loop.subprocess_exec(|| late, command);
            let (_transport, protocol) = create_task(starting).await.unwrap().unwrap();
            trace.push("connected");
            until(|| protocol.0.lost.get()).await;
            trace.expect(["made", "connected", "data 1", "lost"]);
        });
        assert_eq!(event_loop.metrics().sources, 0);
    });
}

#[test]
fn a_factory_that_fails_leaves_no_child_and_its_error_is_the_caller_s() {
    tested(|| {
        let trace = Trace::new();
        let event_loop = real_loop(&trace);
        let unlicensed = || Err::<Noted, _>("no licence");
        let started = event_loop.try_subprocess_exec(unlicensed, Command::new("cat"));
        let error = complete(&event_loop, started).map(drop).unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string().as_str()),
            (io::ErrorKind::Other, "no licence")
        );
        let full = || Err::<Noted, _>(io::Error::from(io::ErrorKind::StorageFull));
        let started = event_loop.try_subprocess_shell(full, "exec sleep 1000");
        let error = complete(&event_loop, started).map(drop).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        // Killed, not asked; `tested` finds a child that is left.
        complete(&event_loop, until(|| event_loop.metrics().sources == 0));

        // A program that cannot be started asks no factory.
        let never = || -> io::Result<Noted> { unreachable!("nothing was started") };
        let started = event_loop.try_subprocess_exec(never, Command::new("/no/such/program"));
        let error = complete(&event_loop, started).map(drop).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        trace.expect([]);
    });
}
