//! What the page `docs::security` promises: how much one peer can make a program hold, and who can reach what it opens.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::future::pending;
use std::io::{ErrorKind, Read as _, Write as _};
use std::num::NonZeroUsize;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream as StdUnix;
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;
use std::time::Duration;

use callsoon::net::{
    ListenOptions, TcpListener, TcpStream, UdpSocket, UnixDatagram, UnixListener, UnixStream,
};
use callsoon::process::{Command, PIPE};
use callsoon::stream::{
    open_connection, open_read_pipe, open_unix_connection, open_write_pipe, start_server,
    start_unix_server,
};
use callsoon::transport::DatagramProtocol;
use callsoon::{
    AsyncFd, Clock, EventLoop, Runner, ThreadPoolExecutor, catch_cancelled, fs as async_fs,
    get_running_loop, lines, signal, sleep, task_builder, yield_now,
};

use crate::support::audit::alone;
use crate::support::{
    Scratch, at_a_new_path, audited, event_polls, loopback, most_queued, pipe, settling, until,
    wait_until_gone,
};

/// What a peer is ready to send.
const FLOOD: usize = 100_000_000;

/// The default length of a line, and of what a stream keeps, half of it.
const LIMIT: usize = 64 * 1024;

/// The most that one receive takes.
const ONE_RECEIVE: usize = 64 * 1024;

/// How many bytes of a flood a stream keeps that nobody reads.
async fn kept_of_a_flood(limit: Option<usize>) -> usize {
    let (ours, mut peer) = StdUnix::pair().unwrap();
    let mut same = ours.try_clone().unwrap();
    peer.set_nonblocking(true).unwrap();
    let mut opening = open_connection(ours);
    if let Some(limit) = limit {
        opening = opening.limit(NonZeroUsize::new(limit).unwrap());
    }
    let (reader, writer) = opening.await.unwrap();
    let chunk = vec![7; 1 << 16];
    let mut sent = 0;
    while sent < FLOOD {
        match peer.write(&chunk) {
            Ok(count) => sent += count,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                // Neither the stream nor the system takes more.
                if !writer.transport().is_reading() {
                    break;
                }
                event_polls(1).await;
            }
        }
    }
    drop(peer);
    // What the stream has not taken is in the system.
    let mut left = Vec::new();
    same.read_to_end(&mut left).unwrap();
    drop((reader, writer));
    sent - left.len()
}

#[test]
fn a_flood_that_nobody_reads_is_kept_up_to_twice_the_limit_and_one_receive() {
    settling(|_, _| async {
        for (limit, bytes) in [
            (None, LIMIT),
            (Some(1), 1),
            (Some(1024), 1024),
            (Some(1 << 20), 1 << 20),
        ] {
            let kept = kept_of_a_flood(limit).await;
            assert!(kept > 2 * bytes, "{kept} of {bytes}");
            assert!(kept <= 2 * bytes + ONE_RECEIVE, "{kept} of {bytes}");
        }
    });
}

#[test]
fn a_line_that_never_ends_is_kept_up_to_the_limit_and_one_receive() {
    settling(|_, _| async {
        let mut endless = lines(async_fs::File::open("/dev/zero").await.unwrap());
        let error = endless.next_line().await.unwrap_err();
        assert!(error.limit_overrun().is_some());
        let begun = endless.into_parts().1.len();
        assert!((LIMIT..=LIMIT + ONE_RECEIVE).contains(&begun), "{begun}");

        let (ours, mut peer) = StdUnix::pair().unwrap();
        let (mut reader, writer) = open_connection(ours).await.unwrap();
        let sending = std::thread::spawn(move || {
            let chunk = vec![7; 1 << 16];
            let mut sent = 0;
            while sent < FLOOD {
                match peer.write(&chunk) {
                    Ok(count) => sent += count,
                    Err(_) => break,
                }
            }
            sent
        });
        let overrun = reader.readline().await.unwrap_err().limit_overrun();
        assert!(overrun.unwrap().consumed > LIMIT);
        drop((reader, writer));
        until(|| sending.is_finished()).await;
        assert!(sending.join().unwrap() < FLOOD);
    });
}

#[test]
fn a_listener_lets_1024_clients_wait_unless_it_is_told_otherwise() {
    settling(|event_loop, _| async move {
        let most = fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
        let most: u32 = most.trim().parse().unwrap();
        let listener = TcpListener::bind(loopback()).await.unwrap();
        assert_eq!(most_queued(&listener), most.min(1024));
        let listener = ListenOptions::new().backlog(7).bind(loopback()).unwrap();
        assert_eq!(most_queued(&listener), 7);
        for (backlog, expected) in [(None, 1024), (Some(9), 9)] {
            let mut creating = event_loop.create_server(|| Idle, loopback());
            if let Some(clients) = backlog {
                creating = creating.backlog(clients);
            }
            let server = creating.await.unwrap();
            let queued = server.with_sockets(most_queued);
            assert_eq!(queued, [most.min(expected)]);
            server.close();
            server.wait_closed().await;
        }
    });
}

/// A protocol for streams and datagrams that does nothing.
struct Idle;

impl callsoon::transport::Protocol for Idle {}
impl DatagramProtocol for Idle {}

#[test]
fn a_pool_has_as_many_threads_as_there_are_cores_and_four_more_and_32_at_most() {
    let cores = available_parallelism().unwrap().get();
    assert_eq!(ThreadPoolExecutor::new().max_workers(), 32.min(cores + 4));
}

#[test]
fn a_program_ends_300_seconds_after_its_main_whatever_its_tasks_do() {
    audited(|| {
        let mut runner = Runner::with_builder(EventLoop::builder().clock(Clock::Virtual));
        let event_loop = runner.event_loop().unwrap();
        event_loop.set_exception_handler(|_, _| ());
        let handle = event_loop.handle();
        let main = async {
            let stubborn = async {
                loop {
                    drop(catch_cancelled(sleep(Duration::from_secs(7))).await);
                }
            };
            task_builder().spawn(stubborn).detach();
            yield_now().await;
        };
        runner.run(main).unwrap();
        let end = handle.time();
        runner.close().unwrap();
        assert_eq!(handle.time() - end, Duration::from_secs(300));
    });
}

fn free_path(name: &str) -> PathBuf {
    let free = |path: &Path| match path.exists() {
        true => Err(ErrorKind::AlreadyExists.into()),
        false => Ok(()),
    };
    at_a_new_path(name, free).0
}

#[test]
fn the_mode_of_a_unix_socket_is_the_umask_s() {
    settling(|event_loop, _| async move {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let umask = status.lines().find_map(|line| line.strip_prefix("Umask:"));
        let umask = u32::from_str_radix(umask.unwrap().trim(), 8).unwrap();
        let path = free_path("mode");
        let check = |what| {
            let mode = fs::symlink_metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o777 & !umask, "{what}");
        };
        let listener = UnixListener::bind(&path).await.unwrap();
        check("a listener");
        drop(listener);
        let server = event_loop.create_unix_server(|| Idle, &path).await.unwrap();
        check("a server");
        server.close();
        server.wait_closed().await;
        let _ = fs::remove_file(&path);
        let datagrams = UnixDatagram::bind(&path).await.unwrap();
        check("datagrams");
        drop(datagrams);
        let _ = fs::remove_file(&path);
    });
}

/// The open descriptors, each with what it is.
fn descriptors() -> BTreeMap<String, String> {
    let entries = fs::read_dir("/proc/self/fd").unwrap().flatten();
    let named = entries.filter_map(|entry| {
        let file = fs::read_link(entry.path()).ok()?.display().to_string();
        Some((entry.file_name().into_string().unwrap(), file))
    });
    // The folder that is being read.
    named.filter(|(_, file)| !file.ends_with("/fd")).collect()
}

/// The descriptors that a program would inherit that another thread starts now.
fn inheritable() -> BTreeSet<String> {
    const CLOSE_ON_EXEC: u32 = 0o2_000_000;
    let mut numbers: BTreeSet<_> = descriptors().into_keys().collect();
    numbers.retain(|number| {
        let Ok(info) = fs::read_to_string(format!("/proc/self/fdinfo/{number}")) else {
            return false;
        };
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
        u32::from_str_radix(flags.unwrap().trim(), 8).unwrap() & CLOSE_ON_EXEC == 0
    });
    numbers
}

/// Has the crate open one descriptor of each kind, and returns when all are open, with what keeps them so.
async fn one_of_each(paths: [&Path; 3]) -> Vec<Box<dyn Any>> {
    let event_loop = get_running_loop();
    let mut kept: Vec<Box<dyn Any>> = Vec::new();
    // By `net`.
    let listener = TcpListener::bind(loopback()).await.unwrap();
    let connecting = TcpStream::connect(listener.local_addr().unwrap());
    kept.push(Box::new(connecting.await.unwrap()));
    kept.push(Box::new(listener.accept().await.unwrap()));
    kept.push(Box::new(listener));
    kept.push(Box::new(UdpSocket::bind(loopback()).await.unwrap()));
    let listener = UnixListener::bind(paths[0]).await.unwrap();
    kept.push(Box::new(UnixStream::connect(paths[0]).await.unwrap()));
    kept.push(Box::new(listener.accept().await.unwrap()));
    kept.push(Box::new(listener));
    kept.push(Box::new(UnixStream::pair().unwrap()));
    kept.push(Box::new(UnixDatagram::pair().unwrap()));
    // By streams and transports: the other ends are those of the servers.
    let server = start_server(async |_reader, _writer| pending::<()>().await, loopback());
    let server = server.await.unwrap();
    let address = server.local_addr().unwrap();
    kept.push(Box::new(open_connection(address).await.unwrap()));
    kept.push(Box::new(server));
    let server = start_unix_server(async |_reader, _writer| pending::<()>().await, paths[1]);
    kept.push(Box::new(server.await.unwrap()));
    kept.push(Box::new(open_unix_connection(paths[1]).await.unwrap()));
    let endpoint = event_loop.create_datagram_endpoint(|| Idle);
    kept.push(Box::new(endpoint.local_addr(loopback()).await.unwrap()));
    // Pipes, a descriptor of the program's own, and a file.
    let (reading, writing) = pipe().unwrap();
    kept.push(Box::new(open_read_pipe(reading).await.unwrap()));
    kept.push(Box::new(open_write_pipe(writing).await.unwrap()));
    let (here, there) = StdUnix::pair().unwrap();
    here.set_nonblocking(true).unwrap();
    kept.push(Box::new((AsyncFd::new(here).unwrap(), there)));
    kept.push(Box::new(callsoon::transport::stdin().unwrap()));
    kept.push(Box::new(async_fs::File::open(paths[2]).await.unwrap()));
    // A child with its pipes, and a signal.
    let child = Command::new("cat").stdin(PIPE).stdout(PIPE).stderr(PIPE);
    kept.push(Box::new(child.kill_on_drop(true).await.unwrap()));
    kept.push(Box::new(signal(libc::SIGUSR2).unwrap()));
    kept
}

#[test]
fn nothing_that_the_crate_opens_is_inherited_by_other_programs() {
    // The descriptor by which signals arrive is opened once in a process, so not by the audited part.
    let others = alone();
    callsoon::run(async { drop(signal(libc::SIGUSR2).unwrap()) }).unwrap();
    let given = inheritable();
    assert!(given.contains("0"), "standard input is inherited");
    drop(others);
    audited(move || {
        let [inspector, listener, server] = ["inspector", "net", "server"].map(free_path);
        let file = Scratch::new(b"file");
        let before = descriptors();
        let event_loop = EventLoop::builder().inspector(&inspector).build().unwrap();
        let asks = StdUnix::connect(&inspector).unwrap();
        let main = async {
            let kept = one_of_each([&listener, &server, Path::new(file.path())]).await;
            // The servers have accepted their clients.
            until(|| callsoon::all_tasks().len() == 3).await;
            let mut opened = descriptors();
            opened.retain(|number, file| before.get(number) != Some(file));
            let of = |kind| opened.values().filter(|file| file.contains(kind)).count();
            // The watcher accepts the inspector's client when it comes to it, which is the 23rd.
            assert!(of("socket:") >= 22, "{opened:?}");
            assert_eq!(of("pipe:"), 5, "{opened:?}");
            for kind in ["[eventpoll]", "[eventfd]", "[timerfd]", "[pidfd]", "test-"] {
                assert!(of(kind) >= 1, "{kind} is missing: {opened:?}");
            }
            assert_eq!(inheritable(), given);
            let own = callsoon::current_task().unwrap().id();
            for task in callsoon::all_tasks().iter().filter(|task| task.id() != own) {
                task.cancel();
            }
            drop(kept);
            until(|| callsoon::all_tasks().len() == 1).await;
        };
        event_loop.run_until_complete(main).unwrap();
        drop((asks, event_loop));
        wait_until_gone("callsoon-watch");
    });
}

/// The tests that the page names, each in backquotes in the last column of a table.
fn named_by_the_page() -> Vec<String> {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/src/docs/security.rs");
    let page = fs::read_to_string(page).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("//! | "));
    let last = rows.filter_map(|row| row.strip_suffix(" |")?.rsplit(" | ").next());
    let named = last.filter_map(|cell| cell.strip_prefix('`')?.strip_suffix('`'));
    named
        .flat_map(|cell| cell.split("`, `"))
        .map(str::to_owned)
        .collect()
}

/// The files of the folder and those below it.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let below = folders.iter().flat_map(|folder| sources(folder));
    files.into_iter().chain(below).collect()
}

#[test]
fn every_test_that_the_page_of_limits_names_exists() {
    // Files that are open would be taken for another test's.
    let _others = alone();
    let tests = sources(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests")));
    let tests = tests
        .into_iter()
        .filter(|path| path.extension().is_some_and(|end| end == "rs"));
    let tests: String = tests
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    let named = named_by_the_page();
    assert!(named.len() >= 20, "{named:?}");
    let missing: Vec<_> = named
        .iter()
        .filter(|name| !tests.contains(&format!("fn {name}() {{")))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}
