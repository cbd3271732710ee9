//! A process of its own, because it starts Python and children and catches signals: both beside asyncio's.

#![allow(unsafe_code)] // raise

#[expect(dead_code, unused_imports, reason = "a part of it is needed here")]
#[path = "it/support/mod.rs"]
mod support;

mod asyncio;

#[expect(dead_code, reason = "a part of it is needed here")]
#[path = "asyncio/real_time.rs"]
mod real_time;

use std::cell::RefCell;
use std::fmt::Display;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::Duration;

use asyncio::{Program, program, python_bool};
use callsoon::process::{
    Command, PIPE, Process, STDOUT, SubprocessProtocol, SubprocessTransport,
    create_subprocess_shell,
};
use callsoon::{SignalError, create_task, get_running_loop, sleep};
use real_time::{Log, compare};

/// asyncio's `returncode`.
fn code(status: ExitStatus) -> i32 {
    let signal = status.signal().map(|signum| -signum);
    status.code().or(signal).unwrap()
}

fn known(process: &Process) -> String {
    process
        .returncode()
        .map_or_else(|| "None".to_owned(), |status| code(status).to_string())
}

fn of_processes() -> Vec<Program<Log>> {
    vec![
        program!(
            "Process: communicate, wait, returncode",
            "\
p = await create_subprocess_exec('cat', stdin=PIPE, stdout=PIPE)
say(p.returncode, p.stderr)
out, err = await p.communicate(b'hello' * 50000)
say(len(out), err, p.returncode, await p.wait(), await p.wait())
p = await create_subprocess_shell('echo one; echo two >&2; exit 3', stdout=PIPE, stderr=STDOUT)
out, err = await p.communicate()
say(out.split(), err, p.returncode)
p = await create_subprocess_shell('exit 4', stdin=PIPE)
say(await p.communicate(b'x' * 1000000), p.returncode)
",
            async |log: Log| {
                let mut p = Command::new("cat").stdin(PIPE).stdout(PIPE).await.unwrap();
                log.say(format!("{} None", known(&p)));
                assert!(p.stderr.is_none());
                let out = p.communicate(Some(&b"hello".repeat(50_000))).await.unwrap();
                let (one, two) = (p.wait().await.unwrap(), p.wait().await.unwrap());
                let codes = format!("{} {} {}", known(&p), code(one), code(two));
                log.say(format!("{} None {codes}", out.stdout.len()));
                let shell = create_subprocess_shell("echo one; echo two >&2; exit 3");
                let mut p = shell.stdout(PIPE).stderr(STDOUT).await.unwrap();
                let out = p.communicate(None).await.unwrap();
                assert_eq!(out.stdout, b"one\ntwo\n");
                log.say(format!("[b'one', b'two'] None {}", known(&p)));
                let mut p = create_subprocess_shell("exit 4").stdin(PIPE).await.unwrap();
                p.communicate(Some(&[b'x'; 1_000_000])).await.unwrap();
                log.say(format!("(None, None) {}", known(&p)));
            }
        ),
        program!(
            "Process: terminate, send_signal, kill, and the dead",
            "\
for signum in [None, signal.SIGUSR2, signal.SIGKILL]:
    p = await create_subprocess_exec('sleep', '1000')
    attempt(p.terminate if signum is None else lambda: p.send_signal(signum))
    say(await p.wait())
    for late in [p.terminate, p.kill, lambda: p.send_signal(signal.SIGUSR2)]:
        attempt(late)
",
            async |log: Log| {
                for signum in [libc::SIGTERM, libc::SIGUSR2, libc::SIGKILL] {
                    let p = Command::new("sleep").arg("1000").await.unwrap();
                    log.attempt(p.send_signal(signum));
                    log.say(code(p.wait().await.unwrap()));
                    log.attempt(p.terminate());
                    log.attempt(p.kill());
                    log.attempt(p.send_signal(libc::SIGUSR2));
                }
            }
        ),
        program!(
            "Process: one who waits and gives up does nothing to it",
            "\
p = await create_subprocess_exec('sleep', '1000')
waits = [create_task(p.wait()) for _ in range(3)]
await sleep(0.01)
waits[1].cancel()
await tell(waits[1])
say(p.returncode)
p.kill()
await tell(waits[0])
await tell(waits[2])
",
            async |log: Log| {
                let p = Command::new("sleep").arg("1000").await.unwrap();
                let p = std::rc::Rc::new(p);
                let [a, b, c] = [(); 3].map(|()| {
                    let p = std::rc::Rc::clone(&p);
                    create_task(async move { code(p.wait().await.unwrap()) })
                });
                sleep(Duration::from_millis(10)).await;
                b.cancel();
                log.ended(b.await);
                log.say(known(&p));
                p.kill().unwrap();
                log.ended(a.await);
                log.ended(c.await);
            }
        ),
        program!(
            "create_subprocess_shell: exit codes, of pipelines too",
            "\
for line in ['false | true', 'true | exit 3', 'no-such-command', 'kill -9 $$', 'exit 300']:
    p = await create_subprocess_shell(line, stderr=PIPE)
    await p.communicate()
    say(p.returncode)
try:
    await create_subprocess_exec('/no/such/program')
except FileNotFoundError:
    say('not found')
",
            async |log: Log| {
                for line in [
                    "false | true",
                    "true | exit 3",
                    "no-such-command",
                    "kill -9 $$",
                    "exit 300",
                ] {
                    let mut p = create_subprocess_shell(line).stderr(PIPE).await.unwrap();
                    p.communicate(None).await.unwrap();
                    log.say(known(&p));
                }
                let missing = Command::new("/no/such/program").await;
                if missing.is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
                    log.say("not found");
                }
            }
        ),
        program!(
            "SubprocessProtocol: the order of its calls",
            "\
line = 'read word; echo out $word; echo err >&2; exit 3'
transport, told = await get_running_loop().subprocess_shell(Told, line)
transport.get_pipe_transport(0).write(b'x\\n')
await told.over
say(told.events['all'][0], told.events['all'][-1])
say(*told.events['child'])
for fd in range(3):
    say(*told.events[fd])
say(transport.get_returncode())
attempt(transport.kill)
transport.close()
",
            async |log: Log| {
                let line = "read word; echo out $word; echo err >&2; exit 3";
                let started = get_running_loop().subprocess_shell(Told::default, line);
                let (transport, told) = started.await.unwrap();
                transport.pipe_transport(0).unwrap().write(b"x\n");
                while !told
                    .0
                    .borrow()
                    .iter()
                    .any(|(_, event)| event == "lost None")
                {
                    sleep(Duration::from_millis(1)).await;
                }
                let events = told.0.borrow().clone();
                log.say(format!("{} {}", events[0].1, events[events.len() - 1].1));
                for of in ["child", "0", "1", "2"] {
                    let its = events.iter().filter(|(whose, _)| whose == of);
                    let its: Vec<_> = its.map(|(_, event)| event.as_str()).collect();
                    log.say(its.join(" "));
                }
                log.say(code(transport.returncode().unwrap()));
                log.attempt(transport.kill());
            }
        ),
    ]
}

/// Whose an event is, and what it is.
#[derive(Default)]
struct Told(RefCell<Vec<(String, String)>>);

impl Told {
    fn tell(&self, of: impl Display, event: impl Display) {
        self.0
            .borrow_mut()
            .push((of.to_string(), event.to_string()));
    }
}

impl SubprocessProtocol for Told {
    fn connection_made(&self, _: &SubprocessTransport) {
        self.tell("child", "made");
    }
    fn pipe_data_received(&self, _: &SubprocessTransport, fd: i32, data: &[u8]) {
        self.tell(fd, String::from_utf8_lossy(data).trim());
    }
    fn pipe_connection_lost(&self, _: &SubprocessTransport, fd: i32, _: Option<io::Error>) {
        self.tell(fd, format!("lost {fd}"));
    }
    fn process_exited(&self, transport: &SubprocessTransport) {
        self.tell(
            "child",
            format!("exited {}", code(transport.returncode().unwrap())),
        );
    }
    fn connection_lost(&self, _: &SubprocessTransport, error: Option<io::Error>) {
        let error = error.map_or_else(|| "None".to_owned(), |error| error.to_string());
        self.tell("child", format!("lost {error}"));
    }
}

fn raise(signum: i32) {
    // SAFETY: the call takes a number, and the signal is handled.
    assert_eq!(unsafe { libc::raise(signum) }, 0);
}

fn of_signals() -> Vec<Program<Log>> {
    vec![
        program!(
            "add_signal_handler: in the ready queue, replaced, removed, refused",
            "\
loop, usr1 = get_running_loop(), signal.SIGUSR1
loop.add_signal_handler(usr1, say, 'one')
os.kill(os.getpid(), usr1)
say('raised')
await sleep(0.02)
loop.add_signal_handler(usr1, say, 'two')
os.kill(os.getpid(), usr1)
await sleep(0.02)
say(loop.remove_signal_handler(usr1), loop.remove_signal_handler(usr1))
for signum in [0, 1000, signal.SIGKILL, signal.SIGSTOP]:
    try:
        loop.add_signal_handler(signum, say)
    except ValueError:
        say('unknown')
    except RuntimeError:
        say('uncatchable')
",
            async |log: Log| {
                let event_loop = get_running_loop();
                let (one, two) = (log.clone(), log.clone());
                event_loop
                    .add_signal_handler(libc::SIGUSR1, move || one.say("one"))
                    .unwrap();
                raise(libc::SIGUSR1);
                log.say("raised");
                sleep(Duration::from_millis(20)).await;
                event_loop
                    .add_signal_handler(libc::SIGUSR1, move || two.say("two"))
                    .unwrap();
                raise(libc::SIGUSR1);
                sleep(Duration::from_millis(20)).await;
                let removed = [(); 2].map(|()| event_loop.remove_signal_handler(libc::SIGUSR1));
                log.say(removed.map(python_bool).join(" "));
                for signum in [0, 1000, libc::SIGKILL, libc::SIGSTOP] {
                    match event_loop.add_signal_handler(signum, || ()) {
                        Err(SignalError::Unknown(_)) => log.say("unknown"),
                        Err(SignalError::Uncatchable(_)) => log.say("uncatchable"),
                        other => log.say(format!("{other:?}")),
                    }
                }
            }
        ),
        program!(
            "add_signal_handler: two of a kind before the loop looks",
            differs: "asyncio calls its handler once for each byte in its pipe; here a burst of a kind is one call",
            "\
loop, usr1 = get_running_loop(), signal.SIGUSR1
loop.add_signal_handler(usr1, say, 'called')
for _ in range(2):
    signal.raise_signal(usr1)
await sleep(0.02)
loop.remove_signal_handler(usr1)
say('end')
",
            async |log: Log| {
                let event_loop = get_running_loop();
                let l = log.clone();
                event_loop
                    .add_signal_handler(libc::SIGUSR1, move || l.say("called"))
                    .unwrap();
                raise(libc::SIGUSR1);
                raise(libc::SIGUSR1);
                sleep(Duration::from_millis(20)).await;
                event_loop.remove_signal_handler(libc::SIGUSR1);
                log.say("end");
            }
        ),
    ]
}

#[test]
fn processes_and_signals_are_as_asyncio_s() {
    let mut programs = of_processes();
    programs.extend(of_signals());
    compare(&programs);
}
