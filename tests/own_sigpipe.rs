//! A process of its own, because it restores SIGPIPE's default action, which ends the process.
//!
//! Fault E4: a write to a closed connection is an error under every disposition of SIGPIPE.

#![allow(unsafe_code)]

#[expect(dead_code, unused_imports, reason = "a part of it is needed here")]
#[path = "it/support/mod.rs"]
mod support;

use std::io::{ErrorKind, IoSlice, Read as _};
use std::net::Shutdown;
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::sync::Mutex;

use callsoon::net::{UnixDatagram, UnixStream};
use callsoon::process::{Command, PIPE};
use callsoon::stream::open_write_pipe;
use callsoon::{EventLoop, get_running_loop, yield_now};
use socket2::{SockRef, Socket};

use support::{
    Recorder, Scratch, Trace, audited, complete, reset, stream_and_peer, until, watched,
};

/// A transport whose peer, over a Unix socket, is gone before the first write.
async fn transport_without_peer(vectored: bool) {
    let trace = Trace::new();
    let (ours, peer) = std::os::unix::net::UnixStream::pair().unwrap();
    let recorder = Recorder::new(&trace).keep_open();
    let (transport, recorder) = get_running_loop()
        .connect_accepted_socket(|| recorder, ours)
        .await
        .unwrap();
    drop(peer);
    if vectored {
        transport.writelines(&["a", "b"]);
    } else {
        transport.write(b"x");
    }
    until(|| recorder.lost.get()).await;
    yield_now().await;
    assert_eq!(trace.take().last().unwrap(), "lost: BrokenPipe");
}

/// The two ends of a new pipe, reading end first.
fn pipe() -> (OwnedFd, OwnedFd) {
    let mut ends = [0; 2];
    // SAFETY: the call fills two numbers, which is what it is given; on success both are new descriptors that
    // nothing else owns.
    unsafe {
        assert_eq!(libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC), 0);
        (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1]))
    }
}

/// The same over a pipe, for which there is no flag that holds the signal off.
async fn pipe_without_reader(vectored: bool) {
    let trace = Trace::new();
    let (reading, writing) = pipe();
    let recorder = Recorder::new(&trace);
    let (transport, recorder) = get_running_loop()
        .connect_write_pipe(|| recorder, writing)
        .await
        .unwrap();
    drop(reading);
    if vectored {
        transport.writelines(&["a", "b"]);
    } else {
        transport.write(b"x");
    }
    until(|| recorder.lost.get()).await;
    trace.expect(["made", "lost: BrokenPipe"]);
}

/// SIGPIPE's disposition is the whole process's, so one test at a time has it.
static DISPOSITION: Mutex<()> = Mutex::new(());

/// While it lives SIGPIPE ends the process.
struct Deadly;

impl Deadly {
    fn new() -> Self {
        // SAFETY: restores what every process starts with; the caller has the disposition to itself.
        let former = unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
        assert_eq!(former, libc::SIG_IGN, "Rust programs start so");
        Self
    }
}

impl Drop for Deadly {
    fn drop(&mut self) {
        // SAFETY: as above, back to what the harness expects.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    }
}

fn on_a_loop(test: impl AsyncFnOnce() + Send + 'static) {
    audited(watched(move || {
        let _alone = DISPOSITION.lock().unwrap();
        let event_loop = EventLoop::new().unwrap();
        complete(&event_loop, test());
    }));
}

/// Blocks until a child has exited, and leaves it to be reaped.
fn wait_for_exit(pid: u32) {
    let how = libc::WEXITED | libc::WNOWAIT;
    // SAFETY: the pointer is to room for one siginfo, which the call may write; the rest are numbers.
    let result = unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        libc::waitid(libc::P_PID, pid, &mut info, how)
    };
    assert_eq!(result, 0);
}

#[test]
fn sigpipe_may_become_deadly_after_a_spawn() {
    on_a_loop(async || {
        let mut child = Command::new("true").stdin(PIPE).await.unwrap();
        let stdin = child.stdin.take().unwrap();
        let (reading, writing) = pipe();
        let connected = open_write_pipe(writing).await.unwrap();
        drop(reading);
        // Without a turn of the loop, which would notice that the reader is gone.
        wait_for_exit(child.pid());
        let _deadly = Deadly::new();
        for writer in [stdin, connected] {
            writer.write(b"x");
            let error = writer.drain().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        }
        child.wait().await.unwrap();
    });
}

#[test]
fn a_socket_that_is_closed_in_the_midst_of_a_sendfile_does_not_end_the_process() {
    on_a_loop(async || {
        let _deadly = Deadly::new();
        let scratch = Scratch::new(&vec![7; 1 << 20]);
        for round in 0..300 {
            let (near, mut far) = std::os::unix::net::UnixStream::pair().unwrap();
            let room = SockRef::from(&near);
            room.set_send_buffer_size(4 << 20).unwrap();
            let near = UnixStream::from_std(near).unwrap();
            let reading =
                std::thread::spawn(move || far.read_exact(&mut vec![0; 4096 * (round % 64 + 1)]));
            let error = loop {
                match near.sendfile(&scratch.file, 0, None).await {
                    Ok(_) => {}
                    Err(error) => break error,
                }
            };
            // The end of a peer that has not read everything is told once, whichever call comes upon it.
            let told = [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset];
            assert!(told.contains(&error.kind()), "{error:?}");
            reading.join().unwrap().unwrap();
        }
    });
}

#[test]
fn e4_a_write_to_a_connection_that_is_gone_is_an_error_and_not_the_end_of_the_process() {
    audited(watched(|| {
        let _alone = DISPOSITION.lock().unwrap();
        let _deadly = Deadly::new();
        let event_loop = EventLoop::new().unwrap();
        complete(&event_loop, async {
            let broken = |error: std::io::Error| {
                assert!(
                    matches!(
                        error.kind(),
                        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
                    ),
                    "{error}"
                );
            };
            let (stream, peer) = stream_and_peer();
            reset(peer);
            // The reset has come.
            stream.readable().await.unwrap();
            for _ in 0..3 {
                broken(stream.write(b"x").await.unwrap_err());
                broken(stream.try_write(b"x").unwrap_err());
                broken(stream.write_all(b"x").await.unwrap_err());
            }
            let (stream, _peer) = stream_and_peer();
            stream.shutdown(Shutdown::Write).unwrap();
            broken(stream.write(b"x").await.unwrap_err());
            let (stream, peer) = stream_and_peer();
            let (reader, writer) = stream.into_split();
            reset(peer);
            reader.stream().readable().await.unwrap();
            // The shutdown in the half's destructor meets a connection that is gone.
            drop(writer);
            for vectored in [false, true] {
                transport_without_peer(vectored).await;
            }
            for vectored in [false, true] {
                pipe_without_reader(vectored).await;
            }
            let vectored = [IoSlice::new(b"x")];
            let file = std::fs::File::open(std::env::current_exe().unwrap()).unwrap();
            let (stream, _peer) = stream_and_peer();
            stream.shutdown(Shutdown::Write).unwrap();
            broken(stream.write_vectored(&vectored).await.unwrap_err());
            broken(stream.sendfile(&file, 0, None).await.unwrap_err());
            let (near, far) = UnixStream::pair().unwrap();
            drop(far);
            broken(near.write(b"x").await.unwrap_err());
            broken(near.write_vectored(&vectored).await.unwrap_err());
            broken(near.sendfile(&file, 0, None).await.unwrap_err());
            let socket = Socket::from(near.into_std());
            let handle = callsoon::get_running_loop();
            broken(handle.sock_sendall(&socket, b"x").await.unwrap_err());
            let sent = handle.sock_sendfile(&socket, &file, 0, None).await;
            broken(sent.unwrap_err());
            let child = callsoon::process::Command::new("true").stdin(callsoon::process::PIPE);
            let child = child.await.unwrap();
            child.wait().await.unwrap();
            let stdin = child.stdin.as_ref().unwrap();
            stdin.write(b"x");
            broken(stdin.drain().await.unwrap_err());
            let (near, _far) = UnixDatagram::pair().unwrap();
            near.shutdown(Shutdown::Write).unwrap();
            broken(near.send(b"x").await.unwrap_err());
        });
    }));
}
