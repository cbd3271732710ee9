//! O_NONBLOCK belongs to all who share an open file description: another process may switch it back at any time, and no
//! call may block the loop then; nor does the loop change a mode that other processes rely on.

#![allow(unsafe_code)]

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixStream as StdUnix;
use std::sync::mpsc;

use callsoon::stream::{StreamReader, StreamWriter, open_read_pipe, open_write_pipe};
use callsoon::{AsyncFd, EventLoop, get_running_loop, to_thread, yield_now};

use crate::support::{
    at_a_new_path, audited, complete, forbid, is_blocking, make_blocking, pipe, settling, terminal,
    until, watched,
};

/// More than any pipe, socket or terminal takes at once.
const MUCH: usize = 4 << 20;

/// Runs what is ready, several times over: a loop that blocks does not come back from here.
async fn turns() {
    for _ in 0..20 {
        yield_now().await;
    }
}

async fn until_only(sources: usize) {
    until(|| get_running_loop().metrics().sources == sources).await;
}

/// The reader and the writer of one end, which others have too.
async fn reader_and_writer(end: &File) -> (StreamReader, StreamWriter) {
    let reader = open_read_pipe(end.try_clone().unwrap()).await.unwrap();
    let writer = open_write_pipe(end.try_clone().unwrap()).await.unwrap();
    (reader, writer)
}

#[test]
fn who_shares_a_pipe_or_a_terminal_with_us_sees_no_change_of_its_mode() {
    settling(|_, _| async {
        let (reading, writing) = pipe().unwrap();
        let (master, slave) = terminal();
        let (shared_in, shared_out) = (reading.try_clone().unwrap(), writing.try_clone().unwrap());
        let unchanged =
            || is_blocking(&shared_in) && is_blocking(&shared_out) && is_blocking(&slave);
        let mut reader = open_read_pipe(reading).await.unwrap();
        let writer = open_write_pipe(writing).await.unwrap();
        let (mut typed, shown) = reader_and_writer(&slave).await;
        writer.write(b"piped");
        assert_eq!(reader.readexactly(5).await.unwrap(), b"piped");
        (&master).write_all(b"typed\n").unwrap();
        assert_eq!(typed.readline().await.unwrap(), b"typed\n");
        shown.write(b"shown");
        shown.drain().await.unwrap();
        turns().await;
        assert!(unchanged());
        drop((reader, writer, typed, shown));
        until_only(0).await;
        assert!(unchanged());
    });
}

#[test]
fn a_full_pipe_that_others_share_in_blocking_mode_does_not_block_the_writer() {
    settling(|_, _| async {
        let (mut reading, writing) = pipe().unwrap();
        let shared = writing.try_clone().unwrap();
        let writer = open_write_pipe(writing).await.unwrap();
        make_blocking(&shared);
        drop(shared);
        writer.write(vec![7; MUCH]);
        turns().await;
        writer.write_eof();
        let read = to_thread(move || {
            let mut come = Vec::new();
            reading.read_to_end(&mut come).map(|_| come)
        });
        assert_eq!(read.await.unwrap().unwrap(), vec![7; MUCH]);
        writer.wait_closed().await.unwrap();
    });
}

#[test]
fn the_end_of_one_of_two_who_share_a_terminal_leaves_the_other_its_mode() {
    settling(|_, _| async {
        let (master, mut slave) = terminal();
        // The writer goes first.
        let (mut reader, writer) = reader_and_writer(&master).await;
        assert!(!is_blocking(&master), "this side cannot be opened again");
        drop(writer);
        until_only(1).await;
        assert!(!is_blocking(&master));
        slave.write_all(b"prompt").unwrap();
        assert_eq!(reader.readexactly(6).await.unwrap(), b"prompt");
        turns().await;
        drop(reader);
        until_only(0).await;
        assert!(is_blocking(&master));
        // The reader goes first.
        let (reader, writer) = reader_and_writer(&master).await;
        drop(reader);
        until_only(1).await;
        assert!(!is_blocking(&master));
        writer.write(b"typed\n");
        writer.drain().await.unwrap();
        let mut typed = [0; 6];
        slave.read_exact(&mut typed).unwrap();
        assert_eq!(&typed, b"typed\n");
        drop(writer);
        until_only(0).await;
        assert!(is_blocking(&master));
    });
}

#[test]
fn two_loops_share_the_mode_of_a_terminal_as_well() {
    settling(|_, _| async {
        let (master, _slave) = terminal();
        let shared = master.try_clone().unwrap();
        let (opened, is_open) = mpsc::channel();
        let (end, ended) = mpsc::channel();
        let other_loop = std::thread::spawn(move || {
            let write = async {
                let writer = open_write_pipe(shared).await.unwrap();
                opened.send(()).unwrap();
                ended.recv().unwrap();
                writer.write(b"typed\n");
            };
            callsoon::run(write).unwrap();
        });
        to_thread(move || is_open.recv()).await.unwrap().unwrap();
        let reader = open_read_pipe(master.try_clone().unwrap()).await.unwrap();
        end.send(()).unwrap();
        to_thread(|| other_loop.join()).await.unwrap().unwrap();
        assert!(!is_blocking(&master));
        drop(reader);
        until_only(0).await;
        assert!(is_blocking(&master));
    });
}

#[test]
fn two_descriptions_of_one_device_have_two_modes() {
    settling(|_, _| async {
        let [one, other] = [(); 2].map(|()| File::open("/dev/zero").unwrap());
        let first = open_read_pipe(one.try_clone().unwrap()).await.unwrap();
        let second = open_read_pipe(other.try_clone().unwrap()).await.unwrap();
        assert!(!is_blocking(&one) && !is_blocking(&other));
        drop(first);
        until_only(1).await;
        assert!(is_blocking(&one) && !is_blocking(&other));
        drop(second);
        until_only(0).await;
        assert!(is_blocking(&other));
    });
}

#[test]
fn a_terminal_made_blocking_by_another_process_does_not_block_its_reader_and_writer() {
    settling(|_, _| async {
        let (master, mut slave) = terminal();
        let (mut reader, writer) = reader_and_writer(&master).await;
        for word in ["one", "two"] {
            make_blocking(&master);
            slave.write_all(word.as_bytes()).unwrap();
            assert_eq!(reader.readexactly(3).await.unwrap(), word.as_bytes());
            turns().await;
        }
        make_blocking(&master);
        // Nobody reads what is typed, and a terminal keeps little of it.
        writer.write("line\n".repeat(MUCH / 5).as_bytes());
        turns().await;
        assert!(!is_blocking(&master));
        drop((reader, writer));
        // What is not sent keeps the writer until no reader is left.
        drop(slave);
        until_only(0).await;
        assert!(is_blocking(&master));
    });
}

#[test]
fn a_socket_as_a_pipe_is_used_in_whatever_mode_it_is() {
    settling(|_, _| async {
        let (near, mut far) = StdUnix::pair().unwrap();
        let shared = near.try_clone().unwrap();
        let mut reader = open_read_pipe(near.try_clone().unwrap()).await.unwrap();
        let writer = open_write_pipe(near).await.unwrap();
        far.write_all(b"come").unwrap();
        assert_eq!(reader.readexactly(4).await.unwrap(), b"come");
        writer.write(vec![7; MUCH]);
        turns().await;
        assert!(is_blocking(&shared));
        let read = to_thread(move || far.read_exact(&mut vec![0; MUCH]).map(|()| far));
        let far = read.await.unwrap().unwrap();
        writer.drain().await.unwrap();
        drop(far);
        assert_eq!(reader.read_to_end().await.unwrap(), b"");
    });
}

#[test]
fn an_async_fd_made_blocking_by_another_process_does_not_block_the_loop() {
    settling(|_, _| async {
        let (near, mut far) = StdUnix::pair().unwrap();
        let shared = near.try_clone().unwrap();
        let near = AsyncFd::new(near).unwrap();
        for _ in 0..2 {
            make_blocking(&shared);
            let mut reading = crate::support::Waiting::begun(async {
                near.read_with(|mut near| near.read(&mut [0; 2])).await
            });
            turns().await;
            assert!(reading.poll().is_none());
            make_blocking(&shared);
            far.write_all(b"x").unwrap();
            until(|| reading.is_woken()).await;
            assert_eq!(reading.poll().unwrap().unwrap(), 1);
        }
        far.write_all(b"x").unwrap();
        let mut ready = near.readable().await.unwrap();
        make_blocking(&shared);
        let mut read = || ready.try_io(|mut near| near.read(&mut [0]));
        assert_eq!(read().unwrap(), 1);
        make_blocking(&shared);
        assert_eq!(read().unwrap_err().kind(), ErrorKind::WouldBlock);
    });
}

fn fifo() -> std::path::PathBuf {
    let make = |path: &std::path::Path| {
        let name = CString::new(path.as_os_str().as_encoded_bytes()).unwrap();
        // SAFETY: the name is live and ends with a NUL byte.
        match unsafe { libc::mkfifo(name.as_ptr(), 0o600) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    };
    at_a_new_path("fifo", make).0
}

fn fifo_reader(path: &std::path::Path) -> File {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(libc::O_NONBLOCK);
    options.open(path).unwrap()
}

#[test]
fn a_fifo_whose_writers_have_gone_before_is_at_its_end_and_another_waits_for_its_first() {
    settling(|_, _| async {
        let path = fifo();
        let open_writer = || OpenOptions::new().write(true).open(&path).unwrap();
        let gone = fifo_reader(&path);
        drop(open_writer());
        let mut gone = open_read_pipe(gone).await.unwrap();
        assert_eq!(gone.read_to_end().await.unwrap(), b"");
        drop(gone);
        let left = fifo_reader(&path);
        open_writer().write_all(b"left behind").unwrap();
        let mut left = open_read_pipe(left).await.unwrap();
        assert_eq!(left.read_to_end().await.unwrap(), b"left behind");
        drop(left);
        let mut first = open_read_pipe(fifo_reader(&path)).await.unwrap();
        turns().await;
        assert!(!first.at_eof());
        open_writer().write_all(b"the first").unwrap();
        assert_eq!(first.read_to_end().await.unwrap(), b"the first");
        std::fs::remove_file(&path).unwrap();
    });
}

#[test]
fn a_fifo_open_both_ways_has_no_end() {
    settling(|_, _| async {
        let path = fifo();
        let both = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .unwrap();
        let mut reader = open_read_pipe(both).await.unwrap();
        for word in ["one", "two"] {
            let mut writer = OpenOptions::new().write(true).open(&path).unwrap();
            writer.write_all(word.as_bytes()).unwrap();
            drop(writer);
            assert_eq!(reader.readexactly(3).await.unwrap(), word.as_bytes());
            turns().await;
        }
        assert!(!reader.at_eof());
        std::fs::remove_file(&path).unwrap();
    });
}

/// Reads and writes on a pipe that cannot be opened again, in a thread where these system calls fail.
fn with_calls_refused(refused: &'static [(libc::c_long, i32)], keeps_mode: bool) {
    audited(watched(move || {
        let test = move || {
            let event_loop = EventLoop::new().unwrap();
            let (reading, writing) = pipe().unwrap();
            let shared = [reading.try_clone().unwrap(), writing.try_clone().unwrap()];
            for &(call, errno) in refused {
                if !forbid(call, None, errno) {
                    return;
                }
            }
            let changed = || shared.iter().filter(|fd| !is_blocking(*fd)).count();
            complete(&event_loop, async {
                let mut reader = open_read_pipe(reading).await.unwrap();
                let writer = open_write_pipe(writing).await.unwrap();
                for word in ["one", "two"] {
                    shared.iter().for_each(make_blocking);
                    writer.write(word.as_bytes());
                    assert_eq!(reader.readexactly(3).await.unwrap(), word.as_bytes());
                    turns().await;
                }
                writer.write(vec![7; MUCH]);
                turns().await;
                assert_eq!(reader.readexactly(MUCH).await.unwrap(), vec![7; MUCH]);
                assert_eq!(changed(), if keeps_mode { 0 } else { 2 });
                drop((reader, writer));
                until_only(0).await;
                assert_eq!(changed(), 0);
            });
            event_loop.close().unwrap();
        };
        std::thread::spawn(test).join().unwrap();
    }));
}

/// Whether this kernel reads from pipes with a flag against waiting.
fn has_nowait() -> bool {
    let (reading, _writing) = pipe().unwrap();
    let mut byte = [0_u8];
    let piece = libc::iovec {
        iov_base: byte.as_mut_ptr().cast(),
        iov_len: 1,
    };
    // SAFETY: one live entry that names one writable byte; the descriptor is open.
    let count = unsafe { libc::preadv2(reading.as_raw_fd(), &piece, 1, -1, libc::RWF_NOWAIT) };
    count < 0 && std::io::Error::last_os_error().kind() == ErrorKind::WouldBlock
}

#[test]
fn a_pipe_of_another_user_is_read_and_written_without_a_change_of_its_mode() {
    with_calls_refused(&[(libc::SYS_openat, libc::EACCES)], has_nowait());
}

#[test]
fn a_pipe_that_offers_nothing_else_has_its_mode_checked_before_each_call() {
    let refused = &[
        (libc::SYS_openat, libc::EACCES),
        (libc::SYS_preadv2, libc::ENOSYS),
        (libc::SYS_pwritev2, libc::EOPNOTSUPP),
    ];
    with_calls_refused(refused, false);
}
